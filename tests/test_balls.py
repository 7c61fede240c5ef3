"""A ball holds whatever correct arithmetic can compute, in any order: exact fractions say so."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import FUNCTIONS, random_weights, rounded, shuffled_loop
from hypothesis import example, given, settings
from hypothesis import strategies as st

import rnn_parity as rp
from rnn_parity.activations import named
from rnn_parity.arithmetic import Arithmetic, arithmetics
from rnn_parity.balls import Ball, Sum, apply, copied
from rnn_parity.magnitudes import Magnitudes, gamma
from rnn_parity.precision import FORMATS

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


def test_gamma_by_hand():
    assert gamma(1, 0.25) == 0.25 / 0.75
    assert gamma(3, 0.125) == 0.375 / 0.625
    assert gamma(4, 0.25) == gamma(5, 0.25) == np.inf


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
    assert apply(named("relu"), Sum.of(arithmetic, np.ones((1, 1)), vector([1.0]), 256)).vacuous


def test_what_can_overflow_proves_nothing():
    arithmetic = arithmetic_of(("float32", "float16"))
    sums = Sum.of(arithmetic, np.array([[1.0, 60000.0, 70000.0]]), vector([1, 66000, 70000]), 2)
    radius = sums.ball().radius[0]
    assert np.isfinite(radius[0])
    assert np.isinf(radius[1:]).all()


def test_what_has_overflowed_is_known():
    arithmetic = arithmetic_of(("float32", "float32"))
    infinite = Sum.of(arithmetic, np.array([[np.inf]]), vector([0.0]), 2)
    ball = apply(named("linear"), infinite)
    assert ball.value == np.inf
    assert not ball.vacuous


@pytest.mark.parametrize("spread", [0.25, 100.0])
def test_a_wide_argument_of_tanh_spreads_no_further_than_tanh(spread):
    arithmetic = arithmetic_of(("float32", "float32"))
    z = Sum.of(arithmetic, np.array([[200.0]]), vector([200.0]), 1, vector([spread]))
    # tanh is 1 to the last digit between 100 and 300: only tanh's own rounding is left
    assert apply(named("tanh"), z).radius[0, 0] < 1e-6
