"""States that nobody observes, such as an LSTM's c: their balls, and what an output tells."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import rounded

import rnn_parity as rp
from rnn_parity.bounds import step_bound
from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball, Sum
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import (
    AT_A_TIME,
    GROWN,
    PIECES,
    SEGMENT,
    Given,
    NotAtOnceError,
    Steps,
    applied,
    at_once,
    looked_at,
    one_by_one,
    own_radii,
    possible_pieces,
    recurrence,
    scan,
)
from rnn_parity.recurrence import sequences as sequences_of
from rnn_parity.recurrence.activations import named
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.formula import split
from rnn_parity.recurrence.precision import FLOAT32, FLOAT64, FORMATS
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import blocks

BFLOAT16 = Arithmetic(FLOAT32, FORMATS["bfloat16"])
IN_FLOAT32 = Arithmetic(FLOAT32, FLOAT32)
IN_FLOAT64 = Arithmetic(FLOAT64, FLOAT64)


def ball(value, radius, arithmetic=IN_FLOAT32):
    value = np.asarray(value, np.float64)
    return Ball(value, np.full(value.shape, radius, arithmetic.radius_dtype), arithmetic)


def test_the_product_is_rounded_at_the_factors_upper_end():
    """p = 1.75 is in its ball: 1.75 1.15625 = 2.0234375 rounds to 2.03125, and that plus 2.015625
    is 4.046875, which rounds to 4.0625: two ties of bfloat16, whose neighbours are 1/64 and 1/32
    apart there."""
    p, q = ball([[[1.2069]]], 0.5431, BFLOAT16), ball([[[2.015625]]], 0, BFLOAT16)
    c = recurrence(p, q, ball([[1.15625]], 0, BFLOAT16), None)
    assert abs(4.0625 - c.value[0, 0, 0]) <= c.radius[0, 0, 0]


@pytest.mark.parametrize("arithmetic", [BFLOAT16, IN_FLOAT32, IN_FLOAT64])
def test_the_recurrence_is_that_of_balls(arithmetic):
    """Step by step `p c + q` on balls gives radii at most a little smaller."""
    rng = np.random.default_rng(0)
    p, q = (
        Ball(
            rng.normal(size=(20, 3, 5)),
            (10 ** rng.uniform(-8, 0, (20, 3, 5))).astype(arithmetic.radius_dtype),
            arithmetic,
        )
        for _ in range(2)
    )
    before = ball(rng.normal(size=(3, 5)), 1e-5, arithmetic)
    found, c = recurrence(p, q, before, None), before
    for t in range(20):
        c = p[t] * c + q[t]
        assert found.value[t] == pytest.approx(c.value, rel=1e-12)
        assert np.all(found.radius[t] >= c.radius * (1 - 3e-4))
        assert np.all(found.radius[t] <= c.radius * 1.02)


def open_lstm(units=6, features=3, seed=0):
    """A forget gate at 1 - 1e-6, a small input gate, and a candidate that pulls back: c stays
    within 1, but what rounding adds to it stays, too."""
    rng = np.random.default_rng(seed)
    kernel = 0.3 * rng.normal(size=(features, 4 * units))
    recurrent = 0.2 * rng.normal(size=(units, 4 * units))
    bias = 0.1 * rng.normal(size=4 * units)
    i, f, g, _ = (slice(n * units, (n + 1) * units) for n in range(4))
    bias[i] -= 5
    bias[f] += 14
    recurrent[:, g] -= 2 * np.eye(units)
    return rp.LSTM(kernel, recurrent, bias, dtype="float32")


def float32_run(layer, x, fused):
    """The textbook loop in float32; `fused` recomputes the c of the output with one rounding."""
    U, W, b = (a.astype(np.float32) for a in (layer.kernel, layer.recurrent_kernel, layer.bias))
    one = np.float32(1)
    h = c = np.zeros((len(x), layer.units), np.float32)
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ U + h @ W + b, 4, axis=1)
        i, f, o = (one / (one + np.exp(-z)) for z in (i, f, o))
        new = i * np.tanh(g)
        shown = (f.astype(np.float64) * c + new).astype(np.float32)
        c = f * c + new
        h = o * np.tanh(shown if fused else c)
        outputs.append(h)
    return np.stack(outputs, axis=1), h, c


def radii(layer, x, outputs, seen):
    """The largest radius of c after each block, with or without what the outputs tell."""
    sequences = Sequences.of(layer, x)
    steps, found = Steps(layer, arithmetics(layer.precision)[0], sequences), []
    for block, observed in observed_steps(layer, sequences, outputs):
        if seen:
            steps.observed(block, observed)
        else:
            steps.outputs(block, Ball.exact(observed.states[:-1], steps.arithmetic))
        found.append(float(steps.hidden[0].radius.max()))
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
def test_the_radius_of_c_stays_bounded_where_the_outputs_tell_it(fused, monkeypatch):
    monkeypatch.setattr(sequences_of, "BLOCK_ELEMENTS", 1 << 15)  # so that there are several
    layer = open_lstm()
    x = np.random.default_rng(1).normal(size=(1, 9000, 3)).astype(np.float32)
    outputs, h, c = float32_run(layer, x, fused)
    assert 0.05 < np.abs(c).max() < 2
    with_outputs, without = (radii(layer, x, outputs, seen) for seen in (True, False))
    assert without[-1] > 3 * without[len(without) // 4]  # grows and grows
    assert with_outputs[-1] < without[-1] / 50
    assert with_outputs[len(without) // 2 :].max() < 3 * with_outputs[: len(without) // 2].max()
    report = rp.compare(layer, x, outputs, (h, c))
    assert report.verdict == "parity", report.summary
    report = rp.compare(layer, x, outputs, (h, c * np.float32(1.001)))
    assert report.verdict == "diverged"


class Known(Steps):
    """Steps `c = p c + q`, `h = o a(c)` of known balls `(t, B, H)`, which are side by side in x."""

    def __init__(self, p, q, o, before, activation="tanh"):
        value, radius = (
            np.concatenate([getattr(one, name) for one in (p, q, o)], axis=-1)
            for name in ("value", "radius")
        )
        self.layer = rp.LSTM(np.zeros((1, 4)), np.zeros((1, 4)))
        self.x = Sum(p.arithmetic, value, np.zeros_like(radius), 0, spread=radius)
        self.hidden, self.at_once, self.activation = (before,), True, applied(named(activation))
        self.before = Ball.exact(np.zeros(p.shape), p.arithmetic)
        self.unlooked, self.left = 0, len(p.value)

    def step(self, x, h, c):
        p, q, o = split(x, 3)
        c = p * c + q.ball()
        return o * self.activation(c), c

    def projected(self, block):
        return self.x

    def given(self, keep=None):
        return Given(self.x, (self.before,), keep)

    def walk(self, keep, seen):
        """The balls of all outputs; `hidden` is the state after them."""
        return self.outputs(SimpleNamespace(projection=self.x.value), self.before, keep, seen)


def looked(steps, after, seen):
    """What a look leaves of the state `after` one step, `(1, B, H)`."""
    (before,) = steps.hidden
    found = looked_at(steps.step, steps.given(), (before[np.newaxis],), (after,), seen)[0]
    return found


ELEMENTWISE = ["tanh", "linear", "relu", "sigmoid", "silu", "softsign", "gelu", "hard_sigmoid"]


@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax", "squareplus", "mish"])
@pytest.mark.parametrize("arithmetic", [IN_FLOAT32, BFLOAT16])
@pytest.mark.filterwarnings("ignore")
def test_a_look_leaves_every_c_that_could_have_been_carried(name, arithmetic):
    """The step is computed twice from one c, for what is carried and for the output, each time with
    p, q and o anywhere in their balls and with every rounding anywhere; gates of either sign."""
    rng = np.random.default_rng(2)
    shape, u, f = (1, 4000, 3), arithmetic.unit, named(name)

    def anywhere(one):
        return one.value + 0.999 * one.radius * rng.uniform(-1, 1, shape)

    def rounding(value):
        return value * (1 + 0.999 * u * rng.choice([-1, 1], shape) * rng.random(shape))

    def balls(size, least, most):
        radius = (10 ** rng.uniform(least, most, shape)).astype(np.float32)
        return Ball(size * rng.uniform(-1, 1, shape), radius, arithmetic)

    p, q, o = balls(1.2, -7, -1), balls(1, -7, -2), balls(1, -7, -2)
    before = balls(2, -5, 0.3)
    steps = Known(p, q, o, before[0], name)
    after = recurrence(p, q, before[0], None)
    c = anywhere(before)
    carried, shown = (rounding(rounding(anywhere(p) * c) + anywhere(q)) for _ in range(2))
    assert np.all(np.abs(carried - after.value) <= after.radius)
    y = f(shown)
    y += 0.999 * f.allowance(shown, np.abs(y), u) * rng.uniform(-1, 1, shape)
    seen = rounding(anywhere(o) * y)
    found = looked(steps, after, Ball.exact(seen, arithmetic))
    assert np.all(np.abs(carried - found.value) <= found.radius)
    assert np.all(found.radius <= after.radius * (1 + 1e-5))
    # And it does cut, but where an output depends on all units.
    cut = np.mean(found.radius < 0.5 * after.radius)
    assert cut == 0 if name == "softmax" else cut > (0.1 if arithmetic is IN_FLOAT32 else 0.01)


def test_a_look_in_float64_loses_no_unit_in_the_last_place():
    """c is 1 and some 16 units in the last place, on float64's grid; exact fractions say so."""
    rng, u = np.random.default_rng(5), 2.0**-52
    n = 300
    for name in ("linear", "tanh"):
        one, none = (
            ball(np.ones((1, 1, n)), 0, IN_FLOAT64),
            ball(np.zeros((1, 1, n)), 0, IN_FLOAT64),
        )
        counts = rng.integers(8, 60, n)
        before = Ball(np.ones((1, n)), counts * u, IN_FLOAT64)
        steps = Known(one, none, one, before, name)
        after = recurrence(one, none, before, None)
        c = 1 + u * rng.integers(-counts, counts + 1)
        carried, shown = (c + u * rng.integers(-1, 2, n) for _ in range(2))
        seen = Ball.exact(named(name)(shown)[np.newaxis, np.newaxis], IN_FLOAT64)
        found = looked(steps, after, seen)
        assert np.any(found.radius < 0.7 * after.radius)
        for x, value, radius in zip(carried, found.value[0, 0], found.radius[0, 0], strict=True):
            assert abs(Fraction(x) - Fraction(value)) <= Fraction(radius)


def left(middle, radius, gate, seen, own=1e-9, off=1e-9, activation="tanh", half=0.0):
    """The ends of what a look leaves of c = `middle +- radius`, by `gate +- off` times tanh(c)."""
    p, q, o = ball([[[1.0]]], 0), ball([[[0.0]]], own), ball([[[gate]]], off)
    steps = Known(p, q, o, ball([[middle]], radius), activation)
    found = looked(steps, ball([[[middle]]], radius), ball([[[seen]]], half))
    value, reach = float(found.value[0, 0, 0]), float(found.radius[0, 0, 0])
    return value - reach, value + reach


def whole(middle, radius):
    return pytest.approx((middle - radius, middle + radius), abs=1e-5)


PIECE = 2 / PIECES
"""The width of a piece, of a ball of radius 1: a look leaves two more than it must at most."""


def test_an_output_that_fits_no_c_leaves_the_ball_as_it_is():
    assert left(0.5, 0.1, 0.9, -0.7) == whole(0.5, 0.1)


def test_a_saturated_output_leaves_a_half_line():
    """tanh is 1 to a rounding from 9 on: c = 12 +- 11 may be anything above, and below it what the
    widest of balls around tanh, of a piece of 11/16, still holds."""
    low, high = left(12, 11, 1.0, 1.0)
    assert high == pytest.approx(23, abs=1e-3)
    assert 5 < low < 9


@pytest.mark.parametrize(("gate", "off"), [(1e-3, 1e-3), (0.0, 1e-9)])
def test_a_gate_that_may_be_closed_tells_nothing(gate, off):
    assert left(0.5, 0.4, gate, gate * 0.05, off=off) == whole(0.5, 0.4)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gate_of_either_sign_tells_c(sign):
    low, high = left(0.5, 0.4, 0.5 * sign, sign * 0.5 * np.tanh(0.6))
    assert 0.6 - 2 * 0.4 * PIECE <= low <= 0.6 <= high <= 0.6 + 2 * 0.4 * PIECE


def test_a_users_own_activation_tells_nothing():
    """Its spread over a piece is an estimate."""
    steps = Known(*(ball([[[v]]], 0) for v in (1.0, 0.0, 0.5)), ball([[0.5]], 0.4))
    seen = ball([[[0.5 * np.tanh(0.6)]]], 0)
    assert looked(steps, ball([[[0.5]]], 0.4), seen).radius < 0.1
    steps.activation = applied(named(np.tanh))
    assert looked(steps, ball([[[0.5]]], 0.4), seen).radius == np.float32(0.4)


def test_an_activation_that_falls_and_rises_leaves_both_sides():
    """silu is -0.2 at -0.52 and at -2.27, and -0.2785 at least, between them."""
    low, high = left(0.0, 4.0, 1.0, -0.2, activation="silu")
    assert -2.27 - 4 * PIECE <= low <= -2.26
    assert -0.53 <= high <= -0.51 + 4 * PIECE


def test_a_radius_of_few_steps_is_left_alone():
    told = 0.5 * np.tanh(0.6)
    assert left(0.5, 0.4, 0.5, told, own=0.4 / GROWN) == whole(0.5, 0.4)
    assert left(0.5, 0.4, 0.5, told, own=0.39 / GROWN) != whole(0.5, 0.4)


def test_both_ends_are_widened_by_two_steps():
    """tanh says 0.6: 2 / 100 on either side, and two pieces besides."""
    low, high = left(0.5, 0.4, 0.5, 0.5 * np.tanh(0.6), own=0.01)
    assert 0.6 - 0.02 - 2 * 0.4 * PIECE <= low <= 0.6 - 0.02
    assert 0.6 + 0.02 <= high <= 0.6 + 0.02 + 2 * 0.4 * PIECE


@pytest.mark.parametrize("side", [1, -1])
def test_no_end_goes_beyond_the_ball_before(side):
    """Just within the ball's end, wider by 2 own: the ball's own end is nearer."""
    told = side * 0.5 * np.tanh(0.395)
    low, high = sorted(side * end for end in left(0, 0.4, 0.5, told, 0.04))
    assert high == pytest.approx(0.4, rel=1e-5)
    assert high >= np.float32(0.4)
    assert 0.395 - 0.08 - 2 * 0.4 * PIECE <= low <= 0.395 - 0.08


def test_a_printed_output_tells_less_at_both_ends():
    """0.5 tanh(c) is 0.2 +- 0.05, so that c is between artanh 0.3 and artanh 0.5."""
    low, high = left(0.5, 0.4, 0.5, 0.2, off=0, half=0.05)
    assert np.arctanh(0.3) - 2 * 0.4 * PIECE <= low <= np.arctanh(0.3)
    assert np.arctanh(0.5) <= high <= np.arctanh(0.5) + 2 * 0.4 * PIECE


def test_a_gate_that_is_wide_tells_less():
    """Between 0.3 and 0.7: tanh(c) is between s / 0.7 and s / 0.3, and c from -1.5 to 2.5."""
    seen = 0.5 * np.tanh(0.6)
    low, high = left(0.5, 2.0, 0.5, seen, off=0.2)
    assert np.arctanh(seen / 0.7) - 2 * 2.0 * PIECE <= low <= np.arctanh(seen / 0.7)
    assert np.arctanh(seen / 0.3) <= high <= np.arctanh(seen / 0.3) + 2 * 2.0 * PIECE


def test_an_infinite_radius_is_left_as_it_is():
    one, none, half = (ball(np.full((1, 1, 2), v), 1e-9) for v in (1.0, 0.0, 0.5))
    c = Ball(np.full((1, 1, 2), 0.5), np.float32([[[np.inf, 0.4]]]), IN_FLOAT32)
    seen = Ball.exact(np.full((1, 1, 2), 0.5 * np.tanh(0.6)), IN_FLOAT32)
    with np.errstate(all="ignore"):
        found = looked(Known(one, none, half, c[0]), c, seen)
    assert (found.value[0, 0, 0], found.radius[0, 0, 0]) == (0.5, np.inf)
    assert found.value[0, 0, 1] == pytest.approx(0.6, abs=0.03)
    assert (found.radius.dtype, found.arithmetic) == (np.float32, IN_FLOAT32)


def test_under_a_mask_the_last_step_that_counts_tells_c():
    """Sample 0 ends after 40 steps, sample 1 is masked throughout: its c is what it was."""
    rng = np.random.default_rng(3)
    layer = open_lstm(seed=4)
    x = rng.normal(size=(3, 60, 3)).astype(np.float32)
    mask = np.ones((3, 60), bool)
    mask[0, 40:], mask[1] = False, False
    seen = np.zeros((3, 60, layer.units), np.float32)
    final, c = np.zeros((2, 3, layer.units), np.float32)
    for sample, length in ((0, 40), (2, 60)):
        outputs, h, last = float32_run(layer, x[[sample], :length], False)
        seen[sample, :length], seen[sample, length:] = outputs[0], h[0]
        final[sample], c[sample] = h[0], last[0]
    report = rp.compare(layer, x, seen, (final, c), mask)
    assert report.verdict == "parity", report.summary
    moved = c.copy()
    moved[0] *= 1.01
    assert rp.compare(layer, x, seen, (final, moved), mask).verdict == "diverged"


def test_numbers_of_another_format_round_as_they_should():
    """By hand: 2.0234375 is halfway between neighbours that are 2^-6 apart."""
    assert rounded(np.array([2.0234375, 4.046875]), "bfloat16").tolist() == [2.03125, 4.0625]


# The recurrence by hand, beside the exact radii of its operations.


def roundings(size, radius, arithmetic):
    """`radius` of a number of this size, once rounded and possibly flushed to zero."""
    return radius + (size + radius) * arithmetic.unit + arithmetic.results.smallest_normal


def just_above(found, exact):
    return exact <= found <= exact * (1 + 2.0**-14)


@pytest.mark.parametrize("arithmetic", [BFLOAT16, IN_FLOAT32, IN_FLOAT64])
@pytest.mark.parametrize("factor", [3.0, -3.0])
def test_one_step_by_hand(arithmetic, factor):
    """3 +- 1/4 times 2 +- 1/8, and -5 +- 1/2 to it."""
    before = ball([[2.0 * factor / 3]], 0.125, arithmetic)
    p, q = ball([[[factor]]], 0.25, arithmetic), ball([[[-5.0]]], 0.5, arithmetic)
    c = recurrence(p, q, before, None)
    assert c.value.tolist() == [[[1.0]]]
    assert (c.arithmetic, c.radius.dtype) == (arithmetic, arithmetic.radius_dtype)
    # 3/8 + 2/4 + 1/32 of the product.
    product = roundings(6, 0.90625, arithmetic)
    assert just_above(c.radius[0, 0, 0], roundings(1, product + 0.5, arithmetic))
    # Of the step's own, the most is at the far end: 2.125 / 4 and the roundings of 6.375 and 1.375.
    given = Known(p, q, q, before).given()
    (own,) = own_radii(lambda x, h, c: (h, p * c + q), given, (before[np.newaxis],))
    product = roundings(6.375, 0.25 * 2.125, arithmetic)
    assert just_above(own[0, 0, 0], roundings(1.375, product + 0.5, arithmetic))


@pytest.mark.parametrize("arithmetic", [BFLOAT16, IN_FLOAT32, IN_FLOAT64])
@pytest.mark.parametrize("wide", [0.0, 1e-3])
def test_no_radius_is_too_small_for_the_roundings_of_a_step(arithmetic, wide):
    """Not even by what computing it in its own dtype may lose."""
    rng = np.random.default_rng(6)
    dtype = arithmetic.radius_dtype
    (p, q, c), sizes = rng.normal(size=(3, 4000)), 10 ** rng.uniform(-3, 3, (3, 4000))
    p, q, c = (a * size for a, size in zip((p, q, c), sizes, strict=True))
    p, q, c = (a.astype(dtype).astype(np.float64) for a in (p, q, c))
    radii = [(wide * sizes[i] * rng.uniform(size=4000)).astype(dtype) for i in range(3)]
    found = recurrence(
        Ball(p[None, None], radii[0][None, None], arithmetic),
        Ball(q[None, None], radii[1][None, None], arithmetic),
        Ball(c[None], radii[2][None], arithmetic),
        None,
    )
    r = [radius.astype(np.longdouble) for radius in radii]
    product = roundings(
        np.abs(p * c), np.abs(p) * r[2] + np.abs(c) * r[0] + r[0] * r[2], arithmetic
    )
    exact = roundings(np.abs(found.value[0, 0]), product + r[1], arithmetic)
    assert np.all(found.radius[0, 0] >= exact)


def test_the_smallest_radius_is_what_two_flushes_to_zero_may_lose():
    zero = Ball.exact(np.zeros((1, 1, 1)), IN_FLOAT32)
    zero = replace(zero, radius=np.zeros((1, 1, 1), np.float32))
    found = recurrence(zero, zero, Ball.exact(np.zeros((1, 1)), IN_FLOAT32), None)
    assert just_above(found.radius[0, 0, 0], 2 * 2.0**-126)


@pytest.mark.parametrize("arithmetic", [BFLOAT16, IN_FLOAT32, IN_FLOAT64])
def test_masked_steps_leave_c_as_it_is(arithmetic):
    """Sample 0 is masked at step 1, sample 1 at steps 0 and 2: by hand, c' = 2 c + 1."""
    p, q = (ball(np.full((3, 2, 1), value), 0.25, arithmetic) for value in (2.0, 1.0))
    keep = np.array([[True, False], [False, True], [True, False]])[:, :, np.newaxis]
    before = ball([[1.0], [5.0]], 0.5, arithmetic)
    found = recurrence(p, q, before, keep)
    c, radius = found.value[..., 0], found.radius[..., 0]
    assert c.tolist() == [[3, 5], [3, 11], [7, 11]]
    assert c.tolist()[1][0] == 3
    assert (radius[0, 1], radius[1, 0], radius[2, 1]) == (0.5, radius[0, 0], radius[1, 1])
    assert radius.dtype == arithmetic.radius_dtype

    # 2/2 + 1/4 + 1/8, then 1/4 more; of sample 1 2/2 + 5/4 + 1/8.
    first = roundings(3, roundings(2, 1.375, arithmetic) + 0.25, arithmetic)
    assert just_above(radius[0, 0], first)
    product = roundings(10, 2.375, arithmetic)
    assert just_above(radius[1, 1], roundings(11, product + 0.25, arithmetic))
    product = roundings(6, 2 * first + 3 * 0.25 + first * 0.25, arithmetic)
    third = roundings(7, product + 0.25, arithmetic)
    assert just_above(radius[2, 0], third)


def test_a_known_state_under_a_mask():
    keep = np.array([[[True], [False]]])
    p, q = ball(np.full((1, 2, 1), 2.0), 0), ball(np.full((1, 2, 1), 1.0), 0)
    found = recurrence(p, q, Ball.exact(np.ones((2, 1)), IN_FLOAT32), keep)
    assert found.value[0].tolist() == [[3.0], [1.0]]
    assert found.radius[0, 1, 0] == 0
    assert just_above(found.radius[0, 0, 0], 5 * IN_FLOAT32.unit)  # of 2, and of 3


def test_a_state_that_may_overflow_is_not_known():
    """float16 ends at 65504. Unit 0: the product is 80000, and a sum of 50000 comes too late; unit
    1: 61000 may reach it; unit 2 may not; unit 3: the product of 2 and 28000 +- 5000 may; unit 4:
    60000 +- 6000 may; the others are not finite or no numbers."""
    half = Arithmetic(FLOAT32, FORMATS["float16"])
    inf, nan = np.inf, np.nan
    p, q, before = (
        Ball(np.array(value), np.array(radius, np.float32), half)
        for value, radius in (
            ([[[2.0, 2, 2, 2, 0, 2, inf, nan]]], [[[0, 0.3, 0, 0, 0, 0, 0, 0]]]),
            ([[[-3e4, 1e3, 1e3, -3e4, 6e4, inf, 1, 1]]], [[[0, 0, 0, 0, 6e3, 0, 0, 0]]]),
            ([[4e4, 3e4, 3e4, 2.8e4, 0, 1, 1, 1]], [[0, 0, 0, 5e3, 0, 0, 0, 0]]),
        )
    )
    with np.errstate(all="ignore"):
        c = recurrence(p, q, before, None)
    assert np.isfinite(c.radius[0, 0]).tolist() == [False, False, True, *[False] * 5]
    assert c.value[0, 0, :5].tolist() == [50000, 61000, 61000, 26000, 60000]


def test_a_recurrence_from_nothing():
    assert scan(np.array([[2.0], [3.0]]), np.array([[1.0], [10.0]])).tolist() == [[1], [13]]


def test_a_state_at_the_end_of_the_range_is_not_known():
    """Two units in the last place below float64's largest number a rounding may be beyond it."""
    largest = np.finfo(np.float64).max
    zero, q = ball([[[0.0]]], 0, IN_FLOAT64), ball([[[largest - 2.0**972]]], 0, IN_FLOAT64)
    with np.errstate(all="ignore"):
        assert recurrence(zero, q, ball([[0.0]], 0, IN_FLOAT64), None).vacuous


# What the outputs tell, by hand.


def growing(steps, radius=2.0**-10):
    """c is 1/2 throughout, each step may be off by 2^-10, and the output is c; what is seen."""
    one = ball(np.ones((steps, 2, 1)), 0)
    q = ball(np.zeros((steps, 2, 1)), radius)
    seen = Ball.exact(np.full((steps, 2, 1), 0.5), IN_FLOAT32)
    return Known(one, q, one, ball(np.full((2, 1), 0.5), 0), "linear"), seen


@pytest.mark.parametrize("steps", [1, 3, SEGMENT])
def test_without_outputs_the_radius_grows(steps):
    known, _ = growing(steps)
    output = known.walk(None, None)
    assert output.shape == (steps, 2, 1)
    assert output.radius[:, 0, 0] == pytest.approx(np.arange(1, steps + 1) * 2.0**-10, rel=1e-2)
    (last,) = known.hidden
    assert last.value.tolist() == output.value[-1].tolist()
    assert last.radius == pytest.approx(output.radius[-1], rel=1e-2)


@pytest.mark.parametrize("steps", [SEGMENT, 2 * SEGMENT, 2 * SEGMENT + 100])
def test_a_look_after_each_segment(steps):
    """From 256 2^-10 and what was left before, a look leaves 2 2^-10 on either side, and two
    pieces."""
    known, seen = growing(steps)
    output = known.walk(None, seen)
    (last,) = known.hidden
    assert output.shape == (steps, 2, 1)
    in_steps = output.radius[:, 0, 0] * 2.0**10
    assert in_steps[SEGMENT - 1] == pytest.approx(SEGMENT, rel=1e-3)
    for after in range(SEGMENT, steps, SEGMENT):
        assert 3 <= in_steps[after] <= 3 + (SEGMENT + 20) * PIECE + 0.1
    assert np.all(last.radius * 2.0**10 >= 2)
    assert np.all(last.radius * 2.0**10 <= 2 + (SEGMENT + 20) * PIECE + 0.1)
    assert np.abs(last.value - 0.5).max() < SEGMENT * PIECE * 2.0**-10


def test_looks_under_a_mask():
    """Sample 0 is masked from step 200 on, sample 1 throughout the first segment."""
    steps = SEGMENT + 50
    known, seen = growing(steps)
    keep = np.ones((steps, 2, 1), bool)
    keep[200:, 0], keep[:SEGMENT, 1] = False, False
    seen.value[200:, 0] = 0.25  # what a masked step shows says nothing
    seen.value[:SEGMENT, 1] = 0.25
    output = known.walk(keep, seen)
    (last,) = known.hidden
    in_steps = output.radius[..., 0] * 2.0**10
    assert in_steps[199, 0] == pytest.approx(200, rel=1e-3)
    assert in_steps[SEGMENT - 1, 0] == in_steps[199, 0]
    assert 2 <= in_steps[SEGMENT, 0] <= 2 + 200 * PIECE + 0.1
    assert in_steps[SEGMENT - 1, 1] < 1e-2
    assert in_steps[-1, 1] == pytest.approx(50, rel=1e-3)
    # The second segment hides sample 0 altogether, and ends with a look at sample 1.
    assert last.radius[0, 0] == pytest.approx(output.radius[-1, 0, 0], rel=1e-3)
    assert last.radius[1, 0] * 2.0**10 <= 2 + 50 * PIECE + 0.1


@pytest.mark.parametrize("masked", [True, False])
def test_one_sample_at_a_time_shows_what_all_show_together(masked, monkeypatch):
    steps, found = SEGMENT + 50, []
    keep = np.ones((steps, 2, 1), bool) if masked else None
    if masked:
        keep[200:, 0] = False
    for at_a_time in (AT_A_TIME, 1):
        monkeypatch.setattr(step_bound, "AT_A_TIME", at_a_time)
        known, seen = growing(steps)
        known.walk(keep, seen)
        found.append(known.hidden[0])
    assert found[0].shape == (2, 1)
    assert np.array_equal(found[0].value, found[1].value)
    assert np.array_equal(found[0].radius, found[1].radius)


@pytest.mark.parametrize("masked", [True, False])
def test_the_look_is_at_the_last_step_that_counts(masked):
    """Sample 0 counts up to step 1 of 3, sample 1 to step 0, sample 2 never; or all to step 2."""
    keep = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)[:, :, np.newaxis]
    own = np.float32([[9, 1e-3, 1e-3], [1e-3, 9, 1e-3], [9, 9, 1e-3]])[:, :, np.newaxis]
    told = np.array([[0.1, 0.6, 0.1], [0.6, 0.1, 0.1], [0.1, 0.1, 0.1]])
    if not masked:
        keep, told, own[2] = None, np.full((3, 3), 0.1), 1e-3
        own[:2], told[2] = 9, 0.6
    one, q, half = (ball(np.full((3, 3, 1), v), 0) for v in (1.0, 0.0, 0.5))
    middle = ball(np.full((3, 1), 0.5), 0.4)
    known = Known(one, replace(q, radius=own), half, middle)
    known.hidden = (middle,)
    seen = Ball.exact(0.5 * np.tanh(told)[:, :, np.newaxis], IN_FLOAT32)
    after = ball(np.full((3, 3, 1), 0.5), 0.4)
    (found,) = known.looked_at(known.given(keep), (middle,), (after,), seen)
    counting = slice(0, 2) if masked else slice(0, 3)
    assert found.value[counting, 0] == pytest.approx(0.6, abs=0.03)
    assert found.radius[counting, 0].max() < 0.03
    if masked:
        assert (found.value[2, 0], found.radius[2, 0]) == (0.5, np.float32(0.4))


# All steps at once, or one after the other.

SIGMOID, TANH = applied(named("sigmoid")), applied(named("tanh"))


def several(x, h, c, d, e):
    """d reads the new c, and e both; constants, differences and sums that are used twice."""
    p, q, o = split(x, 3)
    gate = SIGMOID(p)
    c = gate * c + (1 - gate) * TANH(q)
    d = d * 0.5 + 0.25 * TANH(c)
    e = gate * e + (q - o).ball()
    return TANH(c + d) * o - 0.5 * e.ball(), c, d, e


def with_a_vector(x, h, c):
    """A decay of each unit's own, which has no axes of time and samples."""
    decay = Ball.exact(np.array([0.5, -0.25, 1.0, 0.125]), x.arithmetic)
    c = decay * c + split(x, 3)[1].ball()
    return TANH(c), c


def some_steps(arithmetic, count, keep=None, steps=3):
    """Three steps of two samples with random x and h, and `count` states before them."""
    rng = np.random.default_rng(3)
    value = rng.normal(size=(steps, 2, 12))
    x = Sum.of(arithmetic, value, np.abs(value).astype(arithmetic.radius_dtype), 3)
    given = Given(x, (Ball.exact(rng.normal(size=(steps, 2, 4)), arithmetic),), keep)
    return given, tuple(ball(rng.normal(size=(2, 4)), 1e-3, arithmetic) for _ in range(count))


@pytest.mark.parametrize("arithmetic", [BFLOAT16, IN_FLOAT32, IN_FLOAT64])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("formula", "count"), [(several, 3), (with_a_vector, 1)])
def test_at_once_or_one_after_the_other(arithmetic, masked, formula, count):
    keep = np.array([[1, 0], [0, 1], [1, 1]], bool)[..., np.newaxis] if masked else None
    given, before = some_steps(arithmetic, count, keep)
    quick, plain = (way(formula, given, before) for way in (at_once, one_by_one))
    used = np.ones((3, 2, 4), bool) if keep is None else np.broadcast_to(keep, (3, 2, 4))
    for one, other in zip((quick[0], *quick[1]), (plain[0], *plain[1]), strict=True):
        np.testing.assert_allclose(one.value[used], other.value[used], rtol=1e-12, atol=1e-15)
        assert np.all(one.radius[used] >= other.radius[used] * (1 - 3e-4))
        assert np.all(one.radius[used] <= other.radius[used] * 1.02)


def by_two_rules(x, h, c):
    p, q, o = (one.ball() for one in split(x, 3))
    first, second = p * c + q, o * c + q
    return TANH(first) + TANH(second), second


def exchanged(x, h, c, d):
    p, q, _ = (one.ball() for one in split(x, 3))
    c, d = p * c + q, p * d + q
    return TANH(c), d, c


NOT_AT_ONCE = {
    "another rule for the output": (by_two_rules, 1),
    "states change places": (exchanged, 2),
    "the old state is shown": (lambda x, h, c: (TANH(c), split(x, 3)[0].ball() * c + h), 1),
    "the old state is in a gate": (lambda x, h, c: (h, SIGMOID(split(x, 3)[0] + c) * c + h), 1),
    "nothing is added": (lambda x, h, c: (h, h * c), 1),
    "no factor": (lambda x, h, c: (h, c + h), 1),
    "a sum that is not finished": (lambda x, h, c: (h, h * c + split(x, 3)[0]), 1),
    "the state is not used": (lambda x, h, c: (h, h), 1),
    "the state stays": (lambda x, h, c: (h, c), 1),
    "a square": (lambda x, h, c: (h, c * c + h), 1),
    "a difference": (lambda x, h, c: (h, h - c), 1),
    "the other sign": (lambda x, h, c: (h, -c), 1),
}


@pytest.mark.parametrize("name", NOT_AT_ONCE)
def test_what_is_not_at_once(name):
    """One after the other by hand: the balls of a step are those of the step before."""
    formula, count = NOT_AT_ONCE[name]
    given, before = some_steps(IN_FLOAT32, count)
    with pytest.raises(NotAtOnceError):
        at_once(formula, given, before)
    _, after = one_by_one(formula, given, before)
    states = before
    for t in range(3):
        x = given.x[t]
        _, *states = (one.ball() for one in formula(x, given.h[0][t], *states))
        for one, state in zip(after, states, strict=True):
            assert one.value[t].tolist() == state.value.tolist()
            assert np.broadcast_to(state.radius, (2, 4)).tolist() == one.radius[t].tolist()
    # Such an output tells nothing of a state, unless it is made of the new one alone.
    given, before = some_steps(IN_FLOAT32, count, steps=1)
    _, after = one_by_one(formula, given, before)
    old = tuple(one[np.newaxis] for one in before)
    assert possible_pieces(formula, given, old, after, 0, given.h[0]) is None


def test_a_step_from_a_state_within_a_wide_ball():
    """How far it may be off is counted at every state: of a gate that reads c, too."""
    for formula in (several, lambda x, h, c: (h, SIGMOID(split(x, 3)[0] + 3 * c) * c + h)):
        count = 3 if formula is several else 1
        given, before = some_steps(IN_FLOAT32, count, steps=1)
        wide = tuple(replace(one, radius=one.radius * 500)[np.newaxis] for one in before)
        found = own_radii(formula, given, wide)
        for way in np.linspace(-1, 1, 41):
            known = [Ball.exact(one.value + way * one.radius, IN_FLOAT32) for one in wide]
            _, *states = (one.ball() for one in formula(given.x, *given.h, *known))
            for one, radius in zip(states, found, strict=True):
                assert np.all(one.radius <= radius)


def test_units_that_are_mixed_tell_nothing():
    """An output of the new c through W, or of a step through W: no piece of a unit stands alone."""
    rng = np.random.default_rng(7)

    class Mixed(Cell):
        GATES, STATES = ("f", "o"), ("h", "c")

        def formula(x, h, c, U, W, b, a, s):  # noqa: N805
            x_f, x_o = split(x @ U + b, 2)
            W_f, W_o = split(W, 2)
            c = s(x_f) * c + a(h @ W_f)
            return a(x_o + c @ W_o), c

    layer = Mixed(rng.normal(size=(2, 8)), rng.normal(size=(4, 8)), dtype="float32")
    sequences = Sequences.of(layer, rng.normal(size=(3, 40, 2)))
    outputs = rp.replay(layer, sequences.inputs).outputs
    steps = Steps(layer, IN_FLOAT32, sequences)
    steps.hidden = (ball(np.zeros((3, 4)), 0.5),)
    for block, observed in observed_steps(layer, sequences, outputs):
        steps.observed(block, observed)
        assert np.all(steps.hidden[0].radius > 0)
        exact = next(iter(blocks(layer, sequences))).states[1, -1]
        assert np.all(np.abs(exact - steps.hidden[0].value) <= steps.hidden[0].radius)
    assert rp.compare(layer, sequences.inputs, outputs.astype(np.float32))
