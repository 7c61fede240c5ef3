"""A ball holds whatever correct arithmetic can compute, in any order: exact fractions say so."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import FUNCTIONS, random_weights, rounded, shuffled_loop
from hypothesis import example, given, settings
from hypothesis import strategies as st

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball, Sum, apply, concatenated, constant, copied
from rnn_parity.bounds.magnitudes import Magnitudes
from rnn_parity.recurrence.activations import named
from rnn_parity.recurrence.formula import Bias
from rnn_parity.recurrence.precision import FORMATS

SINGLE = arithmetics(FORMATS["float32"])[0]

pytestmark = pytest.mark.filterwarnings("error")
seeds = st.integers(0, 2**32 - 1)
KINDS = [
    ("float64", "float64"),
    ("float32", "float32"),
    ("float32", "float16"),
    ("float16", "float16"),
    ("float32", "bfloat16"),
    ("bfloat16", "bfloat16"),
]


def arithmetic_of(kind):
    return Arithmetic(FORMATS[kind[0]], FORMATS[kind[1]])


def test_the_arithmetics_of_a_layer():
    names = {
        d: [a.name for a in arithmetics(FORMATS[d])] for d in ("float16", "float32", "float64")
    }
    assert names == {
        "float16": ["float16, sums in float32", "float16"],
        "float32": ["float32"],
        "float64": ["float64"],
    }


def sum_of_products(arithmetic, a, m):
    """The unfinished sum `a m`, `(K,)` by `(K,)`, as a caller would make it."""
    dtype = arithmetic.radius_dtype
    bound = Magnitudes(dtype, m[:, None])(np.abs(a)[None].astype(dtype))
    return Sum.of(arithmetic, np.array([[a @ m]]), bound, len(a))


@pytest.mark.parametrize("kind", KINDS[:4:3], ids="/".join)
@settings(max_examples=60, deadline=None)
@given(seed=seeds, count=st.integers(1, 40), spread=st.integers(0, 12), fused=st.booleans())
def test_a_sum_holds_every_order_of_its_terms(kind, seed, count, spread, fused):
    rng, dtype = np.random.default_rng(seed), kind[0]
    a, m = rounded(rng.normal(size=(2, count)) * 2.0 ** rng.integers(-spread, 1, count), dtype)
    ball = sum_of_products(arithmetic_of(kind), a, m).ball()
    exact = sum(Fraction(p) * Fraction(q) for p, q in zip(a, m, strict=True))
    assert abs(exact - Fraction(float(ball.value[0, 0]))) <= Fraction(float(ball.radius[0, 0]))
    terms = list(a * m if fused else rounded(a * m, dtype))
    while len(terms) > 1:
        p, q = (terms.pop(rng.integers(len(terms))) for _ in range(2))
        terms.append(rounded(np.float64(p + q), dtype))
    computed = Fraction(float(rounded(np.float64(terms[0]), dtype)))
    assert abs(computed - Fraction(float(ball.value[0, 0]))) <= Fraction(float(ball.radius[0, 0]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[1:], ids="/".join)
@pytest.mark.parametrize("activation", FUNCTIONS)
@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    features=st.integers(1, 6),
    units=st.integers(1, 6),
    size=st.sampled_from([1e-3, 1.0, 30.0]),
    fused=st.booleans(),
    bias=st.booleans(),
)
@example(seed=0, features=1, units=1, size=1.0, fused=False, bias=False)
def test_no_correct_implementation_leaves_its_bound(
    kind, activation, seed, features, units, size, fused, bias
):
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, features, units, kind[1], bias=bias)
    x = rounded(size * rng.normal(size=(100, 4, features)), kind[1])
    outputs = shuffled_loop(rng, weights, x, *kind, fused, activation)
    check = rp.compare(rp.SimpleRNN(**weights, activation=activation), x, outputs).checks[0]
    assert check.max_ratio <= 1
    # Few and small numbers in 16 bits may leave nothing to prove.
    assert check.verdict == "parity" or (kind[1] != "float32" and check.verdict == "inconclusive")


@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("gain", [0.8, 1.3])
def test_a_float64_loop_stays_in_its_bound(activation, gain):
    rng = np.random.default_rng(7)
    weights = random_weights(rng, 3, 8, "float64", gain=gain)
    x = rng.normal(size=(16, 120, 3))
    outputs = shuffled_loop(rng, weights, x, "float64", "float64", False, activation)
    assert rp.compare(rp.SimpleRNN(**weights, activation=activation), x, outputs)


@pytest.mark.parametrize("scale", [1e-35, 1e-30, 1e-20, 1e15])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bound_holds_far_from_1(dtype, scale):
    rng = np.random.default_rng(8)
    weights = random_weights(rng, 3, 5, dtype, gain=1.2, bias=False)
    x = rounded(scale * rng.normal(size=(4, 60, 3)), dtype)
    outputs = shuffled_loop(rng, weights, x, dtype, dtype, False, "linear")
    assert rp.compare(rp.SimpleRNN(**weights, activation="linear"), x, outputs)


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e-3, 1.0, 1e12])
@pytest.mark.parametrize("features", [4, 80])
def test_the_bound_is_as_small_as_the_numbers(features, unit):
    """Three times the right outputs are wrong, whatever the unit they are measured in."""
    rng = np.random.default_rng(9)
    kernel = unit * rng.normal(size=(features, 5))
    layer = rp.SimpleRNN(kernel, np.zeros((5, 5)), None, "linear", dtype="float32")
    x = rng.normal(size=(2, 3, features))
    right = rp.replay(layer, x).outputs
    assert rp.compare(layer, x, right)
    assert rp.compare(layer, x, 3 * right).verdict == "diverged"


def numbers(draw_from):
    return st.lists(draw_from, min_size=1, max_size=200).map(np.array)


wide = st.one_of(
    st.just(0.0), st.floats(0, 1), st.floats(-30, 15).map(lambda e: 10.0**e), st.floats(0, 1e-38)
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, deadline=None)
@given(a=numbers(wide), seed=seeds, size=st.sampled_from([1e-30, 1e-12, 1.0, 1e12]))
def test_magnitudes_are_never_too_small(dtype, a, seed, size):
    m = size * np.random.default_rng(seed).normal(size=(len(a), 2))
    a = a.astype(dtype).astype(np.float64)
    found = Magnitudes(dtype, m)(a[None].astype(dtype))[0]
    # a product below the normal range may vanish, which the bound's own n eta is for
    lost = len(a) * Fraction(float(np.finfo(dtype).smallest_normal))
    for column, bound in zip(m.T, found, strict=True):
        exact = sum(Fraction(p) * abs(Fraction(q)) for p, q in zip(a, column, strict=True))
        assert Fraction(float(bound)) + lost >= exact


@pytest.mark.parametrize("width", [1, 3, 63, 64, 65, 130, 200])
def test_magnitudes_are_at_most_twice_too_large(width):
    rng = np.random.default_rng(width)
    a, m = rng.normal(size=(5, width)), rng.normal(size=(width, 7))
    found = Magnitudes(np.float32, m)(np.abs(a).astype(np.float32))
    assert np.all(found <= 2.001 * np.abs(a) @ np.abs(m))


def test_a_copied_number_is_rounded_once():
    ball = copied(np.array([1.0, 0.0, -4.0]), arithmetic_of(("float32", "float16")))
    # 2**-11 relative, and a flush below 2**-14
    np.testing.assert_allclose(ball.radius, [2**-11 + 2**-14, 2**-14, 2**-9 + 2**-14], rtol=1e-6)


@pytest.mark.parametrize("value", [3.0, -3.0])
def test_a_ball_is_one_more_term(value):
    """Its magnitude is the largest that it may have, and its radius spreads the sum."""
    ball = Ball(np.array([[value]]), vector([0.25]), arithmetic_of(("float32", "float16")))
    term = ball.term()
    assert (term.value.tolist(), term.terms) == ([[value]], 1)
    assert (term.magnitude.tolist(), term.spread.tolist()) == ([[3.25]], [[0.25]])
    assert np.asarray(term.parts).tolist() == [[3.25]]
    assert term.magnitude.dtype == np.float32
    # In a sum of 2 with 5: u (8.25 + 2 roundings of it), and the ball's own radius.
    known = Sum.of(SINGLE, np.array([[5.0]]), vector([5.0]), 1)
    ball = Ball(np.array([[value]]), vector([0.25]), SINGLE)
    total = (known + ball).ball()
    assert total.value.tolist() == [[5 + value]]
    assert total.radius[0, 0] == pytest.approx(0.25 + 2 * 2.0**-24 * 8.5, rel=1e-5)


def test_a_ball_where():
    a = Ball(np.array([1.0, 2.0]), np.array([0.1, 0.2]), SINGLE)
    b = Ball(np.array([3.0, 4.0]), np.array([0.3, 0.4]), SINGLE)
    mixed = a.where(np.array([True, False]), b)
    assert mixed.value.tolist() == [1.0, 4.0]
    assert mixed.radius.tolist() == [0.1, 0.4]


def vector(values, dtype=np.float32):
    return np.array([values], dtype)


@pytest.mark.parametrize("count", [255, 256, 1000])
def test_too_many_terms_prove_nothing(count):
    arithmetic = arithmetic_of(("bfloat16", "bfloat16"))
    ball = Sum.of(arithmetic, np.ones((1, 1)), vector([1.0]), count).ball()
    assert ball.vacuous == (count >= 256)
    assert ball.arithmetic == arithmetic
    assert apply(named("relu"), Sum.of(arithmetic, np.ones((1, 1)), vector([1.0]), 256)).vacuous


def test_what_can_overflow_proves_nothing():
    arithmetic = arithmetic_of(("float32", "float16"))
    values, sizes = [1.0, 60000.0, 70000.0, 65504.0], [1, 66000, 70000, 65504]
    sums = Sum.of(arithmetic, np.array([values]), vector(sizes), 2)
    radius = sums.ball().radius[0]
    assert np.isfinite(radius[0])
    assert np.isinf(radius[1:]).all()
    assert Sum.of(arithmetic, np.array([[65504.0]]), vector([65504]), 2).ball().vacuous


def test_what_has_overflowed_is_known():
    arithmetic = arithmetic_of(("float32", "float32"))
    infinite = Sum.of(arithmetic, np.array([[np.inf]]), vector([0.0]), 2)
    ball = apply(named("linear"), infinite)
    assert ball.value == np.inf
    assert not ball.vacuous
    both = Sum.of(arithmetic, np.array([[-np.inf, 3.0]]), vector([0.0, 3.0]), 2).ball()
    assert both.radius[0, 0] == 0
    assert 0 < both.radius[0, 1] < 1e-6


@pytest.mark.parametrize("spread", [0.25, 100.0])
def test_a_wide_argument_of_tanh_spreads_no_further_than_tanh(spread):
    arithmetic = arithmetic_of(("float32", "float32"))
    z = Sum.of(arithmetic, np.array([[200.0]]), vector([200.0]), 1, vector([spread]))
    # tanh is 1 to the last digit between 100 and 300: only tanh's own rounding is left
    assert apply(named("tanh"), z).radius[0, 0] < 1e-6


# The operations of balls and sums, by hand: at least the formula's exact value, hardly more.

DOUBLE = arithmetic_of(("float64", "float64"))
HALF = arithmetic_of(("float32", "float16"))
ETA = {SINGLE: 2.0**-126, DOUBLE: 2.0**-1022, HALF: 2.0**-14}
U = {SINGLE: 2.0**-24, DOUBLE: 2.0**-52, HALF: 2.0**-11}
"""Unit roundoffs; in float64 that of the replay comes on top of the implementation's."""


def ball_of(values, radii, arithmetic=SINGLE):
    return Ball(np.array([values]), np.array([radii], arithmetic.radius_dtype), arithmetic)


def assert_just_above(ball, values, radii, arithmetic):
    """The radii are not below the exact ones, and at most 2^-16 above; in the radii's own dtype."""
    assert ball.value[0].tolist() == values
    assert ball.arithmetic == arithmetic
    assert ball.radius.dtype == arithmetic.radius_dtype
    for found, exact in zip(ball.radius[0].tolist(), radii, strict=True):
        assert exact <= found <= exact * (1 + 2.0**-16)


def once_rounded(size, radius, arithmetic):
    """`radius` of a number of this size, widened by one rounding and a flush to zero."""
    return radius + (size + radius) * U[arithmetic] + ETA[arithmetic]


@pytest.mark.parametrize("arithmetic", [SINGLE, DOUBLE, HALF])
def test_the_operations_of_balls(arithmetic):
    x, y = (
        ball_of([3.0, -2.0], [0.25, 0.5], arithmetic),
        ball_of([-5.0, 4.0], [0.5, 0.125], arithmetic),
    )
    # Radii of the sum: 1/4 + 1/2 and 1/2 + 1/8, beside sizes of 2.
    expected = [once_rounded(2, 0.75, arithmetic), once_rounded(2, 0.625, arithmetic)]
    assert_just_above(x + y, [-2, 2], expected, arithmetic)
    # 3/2 + 5/4 + 1/8 and 2/8 + 4/2 + 1/16, beside 15 and 8.
    expected = [once_rounded(15, 2.875, arithmetic), once_rounded(8, 2.3125, arithmetic)]
    assert_just_above(x * y, [-15, -8], expected, arithmetic)
    expected = [once_rounded(2, 0.25, arithmetic), once_rounded(3, 0.5, arithmetic)]
    assert_just_above(1 - x, [-2, 3], expected, arithmetic)


@pytest.mark.parametrize("arithmetic", [SINGLE, DOUBLE, HALF])
def test_known_numbers_are_rounded_all_the_same(arithmetic):
    x, y = (Ball.exact(np.array([value]), arithmetic) for value in ([3.0, 0.0], [-5.0, 0.0]))
    assert x.arithmetic == arithmetic
    assert (x.radius.dtype, x.radius.shape, float(x.radius)) == (arithmetic.radius_dtype, (), 0)
    for result, sizes in ((x + y, [-2, 0]), (x * y, [-15, 0]), (1 - x, [-2, 1])):
        expected = [once_rounded(abs(size), 0, arithmetic) for size in sizes]
        assert_just_above(result, sizes, expected, arithmetic)


def test_a_product_below_the_normal_range_may_vanish():
    tiny = ball_of([2.0**-64], [0.0])
    assert (tiny * tiny).radius[0, 0] >= 2.0**-128


def test_a_ball_times_an_unfinished_sum():
    total = Sum.of(SINGLE, np.array([[3.0]]), vector([5.0]), 2)
    radius = 2 * U[SINGLE] / (1 - 2 * U[SINGLE]) * 5 + 2 * ETA[SINGLE]
    expected = once_rounded(6, 2 * radius, SINGLE)
    assert_just_above(ball_of([2.0], [0.0]) * total, [6], [expected], SINGLE)


def test_part_of_a_ball():
    known = Ball.exact(np.array([[1.0, 2.0]]), SINGLE)[..., 1:]
    assert (known.value.tolist(), known.radius.shape) == ([[2.0]], ())
    ball = ball_of([1.0, 2.0], [0.5, 0.25])
    part = ball[..., 1:]
    assert (part.value.tolist(), part.radius.tolist()) == ([[2.0]], [[0.25]])
    assert (part.arithmetic, part.shape, ball.shape) == (SINGLE, (1, 1), (1, 2))


@pytest.mark.parametrize("way", [1, -1])
def test_an_operation_that_may_overflow_proves_nothing(way):
    """float16 ends at 65504: 30000 + 30000 +- 6000 may be beyond; 60000 + 1 +- 1/2 may not."""
    x = ball_of([way * 30000.0, way * 60000.0, 1.0], [3000.0, 0.5, 0.0], HALF)
    y = ball_of([way * 30000.0, way * 1.0, 1.0], [3000.0, 0.0, 0.0], HALF)
    found = x + y
    assert np.isinf(found.radius[0]).tolist() == [True, False, False]
    assert found.vacuous
    assert not found[..., 1:].vacuous
    assert np.isinf((x * y).radius[0]).tolist() == [True, False, False]


def test_at_the_end_of_the_range_a_rounding_may_be_beyond_it():
    largest = np.finfo(np.float64).max
    with np.errstate(all="ignore"):
        near = ball_of([largest - 2.0**972], [0.0], DOUBLE) + ball_of([0.0], [0.0], DOUBLE)
    assert near.vacuous
    for arithmetic in (HALF, SINGLE):
        end = arithmetic.results.largest
        for name in ("relu", "linear"):
            assert apply(named(name), ball_of([end], [0.0], arithmetic)).vacuous
            assert not apply(named(name), ball_of([0.99 * end], [0.0], arithmetic)).vacuous


def test_infinite_and_invalid_operations():
    """NaN stays NaN whatever the other number is; infinity minus infinity may be any of two orders,
    and infinity itself may come from a sum in another order that does not overflow."""
    inf, nan = np.inf, np.nan
    x = ball_of([nan, nan, 1.0, inf, inf, 1.0, inf], [0, 0.5, 0, 0, 0, 0.5, 0.5])
    y = ball_of([1.0, 1.0, nan, -inf, 2.0, 2.0, -inf], [0.5, 0, 0, 0, 0, 0, 0])
    with np.errstate(all="ignore"):
        total, swapped = x + y, y + x
    for found in (total, swapped):
        finite = found.radius[0, 5]
        assert found.radius[0].tolist() == [0, inf, 0, inf, inf, finite, inf]
        assert 0.5 < finite < 0.51
    with np.errstate(all="ignore"):
        assert (1 - x).radius[0, :2].tolist() == [0, inf]
        assert (x * y).radius[0, :5].tolist() == [0, inf, 0, inf, inf]


def test_concatenated_balls():
    whole = concatenated([ball_of([1.0], [0.5], HALF), ball_of([2.0], [0.25], HALF)])
    assert (whole.value.tolist(), whole.radius.tolist()) == ([[1.0], [2.0]], [[0.5], [0.25]])
    assert whole.arithmetic == HALF
    assert concatenated([whole]).value.tolist() == [[1.0], [2.0]]


def test_a_ball_where_keeps_its_arithmetic():
    mixed = ball_of([1.0], [0.5], HALF).where(np.array([[True]]), ball_of([2.0], [0.25], HALF))
    assert mixed.arithmetic == HALF


def test_what_is_copied_and_not_finite_stays_what_it_is():
    ball = copied(np.array([np.inf, np.nan, -np.inf, 2.0]), HALF)
    assert ball.radius.tolist() == pytest.approx([2**-14, 2**-14, 2**-14, 2**-10 + 2**-14])
    assert [str(value) for value in ball.value] == ["inf", "nan", "-inf", "2.0"]
    assert (ball.radius.dtype, ball.arithmetic) == (np.float32, HALF)
    assert copied(np.array([1.0]), DOUBLE).radius.dtype == np.float64


def gamma_by_hand(n, u):
    return n * u / (1 - n * u)


@pytest.mark.parametrize("kind", [("float32", "float32"), ("float64", "float64")])
def test_the_radius_of_a_sum(kind):
    """Three products of magnitude 7 with radii that spread it by 1/2, and a bias of 2."""
    arithmetic = arithmetic_of(kind)
    # Spreads come rounded up, from `Magnitudes` or the radius of a ball.
    spread = vector([0.5 * (1 + 2.0**-20)], arithmetic.radius_dtype)
    magnitude = vector([7.0], arithmetic.radius_dtype)
    bias = Bias(np.array([2.0]), slice(0, 1))
    total = Sum.of(arithmetic, np.array([[-5.0]]), magnitude, 3, spread) + bias
    assert total.magnitude.dtype == arithmetic.radius_dtype
    g = gamma_by_hand(4, U[arithmetic])
    expected = g * 9 + (1 + g) * 0.5 + 4 * ETA[arithmetic]
    assert_just_above(total.ball(), [-3], [expected], arithmetic)
    assert_just_above(total[..., :1].ball(), [-3], [expected], arithmetic)
    # Nothing spreads it: roundings alone.
    plain = Sum.of(arithmetic, np.array([[-3.0]]), magnitude, 3)
    assert (plain.parts, plain.spread) == (0.0, 0.0)
    g = gamma_by_hand(3, U[arithmetic])
    assert_just_above(plain.ball(), [-3], [7 * g], arithmetic)
    assert_just_above(plain[..., :1].ball(), [-3], [7 * g], arithmetic)
    plain, g = bias + plain, gamma_by_hand(4, U[arithmetic])
    assert_just_above(plain.ball(), [-1], [9 * g], arithmetic)
    # Terms of magnitude 0 leave what a flush to zero makes of it.
    none = Sum.of(arithmetic, np.array([[0.0]]), 0 * magnitude, 2)
    assert_just_above(none.ball(), [0], [2 * ETA[arithmetic]], arithmetic)
    # Two sums: terms, magnitudes and spreads together.
    g = gamma_by_hand(8, U[arithmetic])
    expected = g * 18 + (1 + g) * 1.0 + 8 * ETA[arithmetic]
    assert_just_above((total + total).ball(), [-6], [expected], arithmetic)


def test_the_radius_of_a_sum_in_two_precisions():
    """Sums in float32, parts rounded to float16: of 3 parts 4 roundings of what they may be.

    x U = -3 of magnitude 7, a bias of 2, and h W = 4 of magnitude 6, with spreads of their own."""
    x = Sum.of(HALF, np.array([[-3.0]]), vector([7.0]), 3, vector([0.5]))
    x = x + Bias(np.array([2.0]), slice(0, 1))
    h = Sum.of(HALF, np.array([[4.0]]), vector([6.0]), 2, vector([0.25]))
    for total in (x + h, (x + h)[..., :1], x[..., :1] + h[..., :1]):
        g = gamma_by_hand(6, 2.0**-24)
        radius = g * (7 + 2 + 6) + (1 + g) * 0.75
        parts = (3 + 0.5) + 2 + (4 + 0.25)
        radius += gamma_by_hand(4, 2.0**-11) * (parts + radius)
        radius += 4 * 2.0**-14 + 6 * 2.0**-126
        assert_just_above(total.ball(), [3], [radius], HALF)
    assert (x + h).shape == (1, 1)


@pytest.mark.parametrize("arithmetic", [SINGLE, HALF])
def test_part_of_a_sum(arithmetic):
    total = Sum.of(arithmetic, np.array([[-1.0, 2.0]]), vector([7, 5]), 3, vector([0.5, 0.25]))
    for whole in (total, total + Bias(np.array([0.0, 0.0]), slice(0, 2))):
        part = whole[..., 1:]
        assert (part.shape, part.terms, part.arithmetic) == ((1, 1), whole.terms, arithmetic)
        assert part.ball().radius.tolist() == whole.ball()[..., 1:].radius.tolist()
        assert part.ball().value.tolist() == [[2.0]]
        for name in ("magnitude", "spread"):
            assert getattr(part, name).tolist() == getattr(whole, name)[..., 1:].tolist()


@pytest.mark.parametrize("arithmetic", [SINGLE, HALF, DOUBLE])
def test_no_radius_is_too_small_for_what_computing_it_loses(arithmetic):
    """Radii have roundings of their own, which thousands of numbers would show."""
    rng, dtype = np.random.default_rng(12), arithmetic.radius_dtype
    x, y = rng.normal(size=(2, 4000)).astype(np.float32).astype(float)
    p, q = (10 ** rng.uniform(-6, 0, (2, 4000))).astype(dtype)
    a, b = Ball(x, p, arithmetic), Ball(y, q, arithmetic)
    p, q = p.astype(np.longdouble), q.astype(np.longdouble)
    product = np.abs(x) * q + np.abs(y) * p + p * q
    for found, exact in ((a + b, p + q), (a * b, product), (1 - a, p)):
        assert np.all(found.radius >= once_rounded(np.abs(found.value), exact, arithmetic))
    g = gamma_by_hand(5, U[SINGLE])
    found = Sum.of(SINGLE, x, np.abs(x).astype(np.float32), 5).ball()
    assert np.all(found.radius >= g * np.abs(x))


@pytest.mark.parametrize("arithmetic", [SINGLE, HALF, DOUBLE])
def test_a_bias_that_is_added_in_two_parts(arithmetic):
    """9 and -8 where the bias is 1: two terms more, of magnitude 17, and two parts more."""
    total = Sum.of(arithmetic, np.array([[3.0]]), vector([3.0], arithmetic.radius_dtype), 1)
    addends = np.array([9.0]), np.array([-8.0])
    bias = Bias(np.array([1.0]), slice(0, 1), addends=addends)
    radius = gamma_by_hand(3, 2.0**-24 if arithmetic is HALF else U[arithmetic]) * 20
    if arithmetic is HALF:
        radius += gamma_by_hand(4, U[HALF]) * (20 + radius) + 4 * ETA[HALF]
    assert_just_above((total + bias).ball(), [4], [radius], arithmetic)
    assert (total + Bias(None, slice(0, 1))).ball().radius.tolist() == total.ball().radius.tolist()


def test_sums_that_are_subtracted_and_used_twice():
    """A sum keeps its terms, its magnitude and its spread, whatever its sign."""
    a = Sum.of(SINGLE, np.array([[3.0]]), vector([5.0]), 2, vector([0.5 * (1 + 2.0**-20)]))
    b = Sum.of(SINGLE, np.array([[-1.0]]), vector([1.0]), 1)
    known = ball_of([2.0], [0.25 * (1 + 2.0**-20)])  # radii come rounded up
    for total, value, terms, magnitude, spread in (
        (a - b, 4, 3, 6, 0.5),
        (b - a, -4, 3, 6, 0.5),
        (-a, -3, 2, 5, 0.5),
        (a + a, 6, 4, 10, 1.0),
        (a - a, 0, 4, 10, 1.0),
        (a - known, 1, 3, 7.25, 0.75),
        (known - a, -1, 3, 7.25, 0.75),
        (a + 0.5, 3.5, 3, 5.5, 0.5),
        (0.5 - a, -2.5, 3, 5.5, 0.5),
    ):
        g = gamma_by_hand(terms, U[SINGLE])
        expected = g * magnitude + (1 + g) * spread
        assert_just_above(total.ball(), [value], [expected], SINGLE)


@pytest.mark.parametrize("arithmetic", [SINGLE, HALF, DOUBLE])
def test_constants(arithmetic):
    """1/2 is known; 0.1 may be rounded, but to float64 it was; what is tiny may be flushed away."""
    x = ball_of([3.0], [0.25], arithmetic)
    expected = once_rounded(1.5, 0.125, arithmetic)
    for product in (0.5 * x, x * 0.5):
        assert_just_above(product, [1.5], [expected], arithmetic)
    assert_just_above(x - 1, [2], [once_rounded(2, 0.25, arithmetic)], arithmetic)
    tenth = constant(0.1, arithmetic)
    assert tenth.radius == pytest.approx(0 if arithmetic is DOUBLE else 0.1 * U[arithmetic], 1e-4)
    assert tenth.radius >= (0 if arithmetic is DOUBLE else 0.1 * U[arithmetic])
    assert constant(ETA[arithmetic] / 3, arithmetic).radius >= ETA[arithmetic] / 3
    if arithmetic is not DOUBLE:
        assert constant(2 * arithmetic.results.largest, arithmetic).vacuous
    # A sum of 8 numbers, with such a constant in each, is split into gates all the same.
    size = np.full((1, 8), 2.0, arithmetic.radius_dtype)
    whole = Sum.of(arithmetic, np.full((1, 8), 2.0), size, 1) + 0.1
    part = whole[..., 2:4].ball()
    assert part.shape == (1, 2)
    assert part.radius.tolist() == whole.ball()[..., 2:4].radius.tolist()
    assert np.all(part.radius >= tenth.radius)


def test_what_an_activation_makes_of_a_ball():
    """relu keeps a radius, tanh adds 8 u |y|; each number may be flushed to zero."""
    z = ball_of([2.0, -3.0], [0.25, 0.5])
    assert_just_above(apply(named("relu"), z), [2, 0], [0.25 + 2.0**-126, 2.0**-126], SINGLE)
    known = ball_of([0.5], [0.0])
    y = float(np.tanh(0.5))
    assert_just_above(apply(named("tanh"), known), [y], [8 * 2.0**-24 * y + 2.0**-126], SINGLE)
    y = float(np.tanh(2.0))
    ball = apply(named("tanh"), ball_of([2.0], [1.0]))
    # tanh falls faster below 2 than it rises above.
    expected = y - np.tanh(1.0) + 8 * 2.0**-24 * y
    assert_just_above(ball, [y], [expected], SINGLE)


def test_an_activation_that_may_overflow_proves_nothing():
    """exp(11) is 59874 and exp(11.1) 66171, which is beyond float16's 65504."""
    z = ball_of([11.0, 11.0, 0.0], [0.1, 0.01, 0.0], HALF)
    found = apply(named("exponential"), z)
    assert np.isinf(found.radius[0]).tolist() == [True, False, False]
    # Both numbers are within the range, and 11.5 is not, whose exponential is 98716.
    found = apply(named("exponential"), ball_of([11.5, 1.0], [0.0, 0.0], HALF))
    assert np.isinf(found.radius[0]).tolist() == [True, False]


def test_an_activation_of_what_is_not_finite():
    inf, nan = np.inf, np.nan
    z = ball_of([inf, inf, nan, nan, 1000.0, 1000.0, 1.0], [0, 1, 0, 1, 0, 1, 0], DOUBLE)
    found = apply(named("exponential"), z).radius[0]
    assert found[:6].tolist() == [0, inf, 0, inf, 0, inf]
    assert 0 < found[6] < 1e-14
    known = Ball.exact(np.array([[1.0, 2.0]]), SINGLE)  # of one radius for all
    for name in ("tanh", "relu", "silu", "softmax", "log_softmax", "sparsemax"):
        assert apply(named(name), known).radius.shape == (1, 2)
    # A bounded function does not mend an argument that may be NaN.
    assert apply(named("tanh"), ball_of([1.0, 1.0], [inf, 0])).radius[0, 0] == inf
    assert apply(named("tanh"), ball_of([1.0, 1.0], [inf, 0])).radius[0, 1] < 1


@np.errstate(all="ignore")
def test_limits_that_formulas_may_miss():
    """silu at -inf is 0, but -inf * 0 is NaN; softmax takes the whole row with it."""
    z = ball_of([-np.inf, 1.0], [0.0, 0.0])
    assert np.isinf(apply(named("silu"), z).radius[0]).tolist() == [True, False]
    assert not apply(named("tanh"), z).vacuous
    rows = Ball(np.array([[-np.inf, 1.0], [2.0, 1.0]]), np.zeros((2, 2), np.float32), SINGLE)
    found = apply(named("softmax"), rows)
    assert np.isinf(found.radius).tolist() == [[True, True], [False, False]]
