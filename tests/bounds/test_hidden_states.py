"""An LSTM's c, which nobody observes: its ball, and what the observed output tells of it."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from helpers import rounded

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.hidden_states import (
    GROWN,
    SEGMENT,
    Output,
    Segment,
    allowed,
    carried,
    looked_at,
    recurrence,
    scan,
    tells,
)
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.activations import named
from rnn_parity.recurrence.precision import FLOAT32, FLOAT64, FORMATS
from rnn_parity.recurrence.replay import blocks
from rnn_parity.recurrence.sequences import Sequences

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
    c = recurrence(p, q, ball([[1.15625]], 0, BFLOAT16), None).c
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
    found, c = recurrence(p, q, before, None).c, before
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
        found.append(float(steps.cell_state.radius.max()))
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
def test_the_radius_of_c_stays_bounded_where_the_outputs_tell_it(fused):
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


def test_what_an_output_allows_encloses_every_c_that_could_have_shown_it():
    """c' + p, q within their balls once for the carried c and once for the output's: both lie
    within `own`; the gate, tanh and the product err as float32 may."""
    rng = np.random.default_rng(2)
    n, u = 20_000, 2.0**-24
    middle = rng.uniform(-3, 3, (1, n))
    wide, own = 10 ** rng.uniform(-5, -1, (2, 1, n))
    c = middle + wide * rng.uniform(-1, 1, (1, n))
    # The output's c lies in the carried ball, too.
    shown = np.clip(c + 2 * own * rng.uniform(-1, 1, (1, n)), middle - wide, middle + wide)
    gate, off = rng.uniform(-1, 1, (1, n)), 10 ** rng.uniform(-7, -3, (1, n))
    true_gate = gate + off * rng.uniform(-1, 1, (1, n))
    seen = true_gate * np.tanh(shown) * (1 + 8 * u * rng.uniform(-1, 1, (1, n)))
    o = Ball(gate, off.astype(np.float32), IN_FLOAT32)
    output = Output(named("tanh"), o, Ball.exact(seen, IN_FLOAT32))
    before = Ball(middle, (wide * (1 + 1e-6)).astype(np.float32), IN_FLOAT32)
    found = allowed(before, own.astype(np.float32), output)
    assert np.all(np.abs(c - found.value) <= found.radius)
    assert np.all(found.radius <= before.radius * (1 + 1e-5))
    assert np.mean(found.radius < 0.5 * before.radius) > 0.2  # and it does cut


def allowed_one(middle, radius, gate, seen, own=1e-9, off=1e-9, activation="tanh"):
    output = Output(
        named(activation), ball([[gate]], off), Ball.exact(np.array([[float(seen)]]), IN_FLOAT32)
    )
    found = allowed(ball([[middle]], radius), np.array([[own]], np.float32), output)
    return float(found.value[0, 0]), float(found.radius[0, 0])


def test_an_output_that_fits_no_c_leaves_the_ball_as_it_is():
    assert allowed_one(0.5, 0.1, 0.9, -0.7) == (0.5, pytest.approx(0.1))


def test_a_saturated_output_leaves_a_half_line():
    """tanh is 1 to a rounding from 9 on: c = 12 +- 11 cannot be less, and may be anything above."""
    value, radius = allowed_one(12, 11, 1.0, 1.0)
    assert value + radius == pytest.approx(23, abs=1e-3)
    assert 7 < value - radius < 9


@pytest.mark.parametrize(("gate", "off"), [(1e-3, 1e-3), (0.0, 1e-9), (1e-3, 6e-4)])
def test_a_gate_that_may_be_closed_tells_nothing(gate, off):
    assert allowed_one(0.5, 0.4, gate, gate * 0.4, off=off) == (0.5, pytest.approx(0.4))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gate_of_either_sign_tells_c(sign):
    value, radius = allowed_one(0.5, 0.4, 0.5 * sign, sign * 0.5 * np.tanh(0.6))
    assert value == pytest.approx(0.6, abs=0.01)
    assert radius < 0.02


def test_a_radius_of_few_steps_is_left_alone():
    assert allowed_one(0.5, 0.4, 0.5, 0.5 * np.tanh(0.6), own=0.4 / GROWN) == (
        0.5,
        pytest.approx(0.4),
    )


def test_a_printed_output_tells_less():
    told = [
        allowed(
            ball([[0.5]], 0.4),
            np.full((1, 1), 1e-9, np.float32),
            Output(named("tanh"), ball([[0.5]], 1e-9), ball([[0.5 * np.tanh(0.6)]], half)),
        ).radius[0, 0]
        for half in (0.0, 0.01)
    ]
    # 0.01 of h is 0.01 / (0.5 (1 - tanh(0.6)^2)) = 0.028 of c
    assert told[1] - told[0] == pytest.approx(0.028, abs=0.01)


@pytest.mark.parametrize("steps", [SEGMENT, SEGMENT + 44])
@pytest.mark.parametrize("name", ["silu", "softmax", "squareplus"])
def test_activations_that_do_not_only_rise_tell_nothing(name, steps):
    assert not named(name).rises
    # c is (1, 1/2) and becomes wide in unit 0; the outputs fit.
    c, wide = np.tile([1.0, 0.5], (steps, 1, 1)), np.tile([1e-2, 1e-6], (steps, 1, 1))
    p = ball(np.ones((steps, 1, 2)), 0)
    q = replace(ball(np.zeros((steps, 1, 2)), 0), radius=wide.astype(np.float32))
    output = Output(
        named(name), ball(np.ones((steps, 1, 2)), 0), Ball.exact(named(name)(c), IN_FLOAT32)
    )
    c, last = carried(p, q, ball([[1.0, 0.5]], 0), None, output)
    assert np.array_equal(last.radius, c.radius[-1])


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


def test_the_replay_and_the_bound_share_the_formula_of_the_output():
    """One block of the replay gives the outputs `o tanh(c)` of its own c."""
    layer = open_lstm()
    x = np.random.default_rng(5).normal(size=(2, 7, 3))
    block = next(iter(blocks(layer, Sequences.of(layer, x))))
    z = block.projection + block.states[:-1] @ layer.recurrent_kernel
    o = 1 / (1 + np.exp(-z[..., 3 * layer.units :]))
    assert block.outputs == pytest.approx(o * np.tanh(block.cell_states[1:]), rel=1e-12)


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
    segment = recurrence(p, q, before, None)
    assert segment.c.value.tolist() == [[[1.0]]]
    assert segment.c.arithmetic == arithmetic
    assert segment.c.radius.dtype == segment.own.dtype == arithmetic.radius_dtype
    # 3/8 + 2/4 + 1/32 of the product, of which 3/8 is not the step's own.
    product = roundings(6, 0.90625, arithmetic)
    assert just_above(segment.c.radius[0, 0, 0], roundings(1, product + 0.5, arithmetic))
    own = roundings(1, product + 0.5, arithmetic) - 0.375
    assert just_above(segment.own[0, 0, 0], own)


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
    segment = recurrence(
        Ball(p[None, None], radii[0][None, None], arithmetic),
        Ball(q[None, None], radii[1][None, None], arithmetic),
        Ball(c[None], radii[2][None], arithmetic),
        None,
    )
    r = [radius.astype(np.longdouble) for radius in radii]
    product = roundings(
        np.abs(p * c), np.abs(p) * r[2] + np.abs(c) * r[0] + r[0] * r[2], arithmetic
    )
    exact = roundings(np.abs(segment.c.value[0, 0]), product + r[1], arithmetic)
    assert np.all(segment.c.radius[0, 0] >= exact)


def test_the_smallest_radius_is_what_two_flushes_to_zero_may_lose():
    zero = Ball.exact(np.zeros((1, 1, 1)), IN_FLOAT32)
    zero = replace(zero, radius=np.zeros((1, 1, 1), np.float32))
    segment = recurrence(zero, zero, Ball.exact(np.zeros((1, 1)), IN_FLOAT32), None)
    assert just_above(segment.c.radius[0, 0, 0], 2 * 2.0**-126)
    assert just_above(segment.own[0, 0, 0], 2 * 2.0**-126)


@pytest.mark.parametrize("arithmetic", [BFLOAT16, IN_FLOAT32, IN_FLOAT64])
def test_masked_steps_leave_c_as_it_is(arithmetic):
    """Sample 0 is masked at step 1, sample 1 at steps 0 and 2: by hand, c' = 2 c + 1."""
    p, q = (ball(np.full((3, 2, 1), value), 0.25, arithmetic) for value in (2.0, 1.0))
    keep = np.array([[True, False], [False, True], [True, False]])[:, :, np.newaxis]
    before = ball([[1.0], [5.0]], 0.5, arithmetic)
    segment = recurrence(p, q, before, keep)
    c, radius = segment.c.value[..., 0], segment.c.radius[..., 0]
    assert c.tolist() == [[3, 5], [3, 11], [7, 11]]
    assert c.tolist()[1][0] == 3
    assert (radius[0, 1], radius[1, 0], radius[2, 1]) == (0.5, radius[0, 0], radius[1, 1])
    assert segment.own[..., 0][~keep[..., 0]].tolist() == [0, 0, 0]
    assert radius.dtype == segment.own.dtype == arithmetic.radius_dtype

    # 2/2 + 1/4 + 1/8, then 1/4 more; of sample 1 2/2 + 5/4 + 1/8.
    first = roundings(3, roundings(2, 1.375, arithmetic) + 0.25, arithmetic)
    assert just_above(radius[0, 0], first)
    product = roundings(10, 2.375, arithmetic)
    assert just_above(radius[1, 1], roundings(11, product + 0.25, arithmetic))
    product = roundings(6, 2 * first + 3 * 0.25 + first * 0.25, arithmetic)
    third = roundings(7, product + 0.25, arithmetic)
    assert just_above(radius[2, 0], third)
    assert just_above(segment.own[2, 0, 0], third - 2 * first)


def test_a_known_state_under_a_mask():
    keep = np.array([[[True], [False]]])
    p, q = ball(np.full((1, 2, 1), 2.0), 0), ball(np.full((1, 2, 1), 1.0), 0)
    found = recurrence(p, q, Ball.exact(np.ones((2, 1)), IN_FLOAT32), keep).c
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
        c = recurrence(p, q, before, None).c
    assert np.isfinite(c.radius[0, 0]).tolist() == [False, False, True, *[False] * 5]
    assert c.value[0, 0, :5].tolist() == [50000, 61000, 61000, 26000, 60000]


def test_a_recurrence_from_nothing():
    assert scan(np.array([[2.0], [3.0]]), np.array([[1.0], [10.0]])).tolist() == [[1], [13]]


def test_a_state_at_the_end_of_the_range_is_not_known():
    """Two units in the last place below float64's largest number a rounding may be beyond it."""
    largest = np.finfo(np.float64).max
    zero, q = ball([[[0.0]]], 0, IN_FLOAT64), ball([[[largest - 2.0**972]]], 0, IN_FLOAT64)
    with np.errstate(all="ignore"):
        assert recurrence(zero, q, ball([[0.0]], 0, IN_FLOAT64), None).c.vacuous


# What the outputs tell, by hand.


def test_an_activation_tells_c_where_its_rounding_is_small():
    """A quarter of the slope at most: 63 units of 2^-8, but not 65."""
    p = ball([[[0.5]]], 0, BFLOAT16)
    for relative, expected in ((0, True), (63, True), (65, False), (1000, False)):
        activation = replace(named("tanh"), relative=relative)
        assert tells(activation, p) == expected
    assert tells(named("tanh"), ball([[[0.5]]], 0))
    assert not tells(named("silu"), ball([[[0.5]]], 0))


def growing(steps, radius=2.0**-10):
    """c is 1/2 throughout, and each step may be off by 2^-10; its output, which says so."""
    p, q = ball(np.ones((steps, 2, 1)), 0), ball(np.zeros((steps, 2, 1)), radius)
    seen = Ball.exact(np.full((steps, 2, 1), 0.25 * np.tanh(0.5)), IN_FLOAT32)
    return p, q, Output(named("tanh"), ball(np.full((steps, 2, 1), 0.25), 0), seen)


@pytest.mark.parametrize("steps", [1, 3, SEGMENT])
def test_without_outputs_the_radius_grows(steps):
    p, q, _ = growing(steps)
    c, last = carried(p, q, ball(np.full((2, 1), 0.5), 0), None, None)
    assert c.shape == (steps, 2, 1)
    assert c.radius[:, 0, 0] == pytest.approx(np.arange(1, steps + 1) * 2.0**-10, rel=1e-2)
    assert (last.value.tolist(), last.radius.tolist()) == (
        c.value[-1].tolist(),
        c.radius[-1].tolist(),
    )


@pytest.mark.parametrize("steps", [SEGMENT, 2 * SEGMENT, 2 * SEGMENT + 100])
def test_a_look_after_each_segment(steps):
    """From 256 2^-10 a look leaves 2 2^-10 on either side, and 1/64 of the width before it."""
    p, q, output = growing(steps)
    c, last = carried(p, q, ball(np.full((2, 1), 0.5), 0), None, output)
    assert c.shape == (steps, 2, 1)
    in_steps = c.radius[:, 0, 0] * 2.0**10
    assert in_steps[SEGMENT - 1] == pytest.approx(SEGMENT, rel=1e-3)
    for after in range(SEGMENT, steps, SEGMENT):
        assert 3 <= in_steps[after] <= 3 + 2 * SEGMENT / 64 + 0.5
    assert np.all(last.radius * 2.0**10 >= 2)
    assert np.all(last.radius * 2.0**10 <= 2 + 2 * SEGMENT / 64 + 0.5)
    assert np.abs(last.value - 0.5).max() < 2 * SEGMENT / 64 * 2.0**-10


def test_looks_under_a_mask():
    """Sample 0 is masked from step 200 on, sample 1 throughout the first segment."""
    steps = SEGMENT + 50
    p, q, output = growing(steps)
    keep = np.ones((steps, 2, 1), bool)
    keep[200:, 0], keep[:SEGMENT, 1] = False, False
    output.seen.value[200:, 0] = 0.25  # what a masked step shows says nothing
    output.seen.value[:SEGMENT, 1] = 0.25
    c, last = carried(p, q, ball(np.full((2, 1), 0.5), 0), keep, output)
    in_steps = c.radius[..., 0] * 2.0**10
    assert in_steps[199, 0] == pytest.approx(200, rel=1e-3)
    assert in_steps[SEGMENT - 1, 0] == in_steps[199, 0]
    assert 2 <= in_steps[SEGMENT, 0] <= 2 + 2 * 200 / 64 + 0.1
    assert in_steps[SEGMENT - 1, 1] == 0
    assert in_steps[-1, 1] == pytest.approx(50, rel=1e-3)
    # The second segment hides sample 0 altogether, and ends with a look at sample 1.
    assert last.radius[0, 0] == c.radius[-1, 0, 0]
    assert last.radius[1, 0] * 2.0**10 <= 2 + 2 * 50 / 64 + 0.1


def test_the_look_is_at_the_last_step_that_counts():
    """Sample 0 counts up to step 1 of 3, sample 1 to step 0, sample 2 never."""
    keep = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)[:, :, np.newaxis]
    own = np.float32([[9, 1e-3, 1e-3], [1e-3, 9, 1e-3], [9, 9, 1e-3]])[:, :, np.newaxis]
    told = [[0.1, 0.6, 0.1], [0.6, 0.1, 0.1], [0.1, 0.1, 0.1]]
    seen = Ball.exact(0.5 * np.tanh(told)[:, :, np.newaxis], IN_FLOAT32)
    output = Output(named("tanh"), ball(np.full((3, 3, 1), 0.5), 0), seen)
    found = looked_at(Segment(ball(np.full((3, 3, 1), 0.5), 0.4), own), output, keep)
    assert found.value[:, 0] == pytest.approx([0.6, 0.6, 0.5], abs=0.01)
    assert found.radius[:2, 0].max() < 0.015
    assert found.radius[2, 0] == np.float32(0.4)


def test_without_a_mask_the_look_is_at_the_last_step():
    own, told = np.float32([9, 9, 1e-3]).reshape(3, 1, 1), np.reshape([0.1, 0.2, 0.6], (3, 1, 1))
    seen = Ball.exact(0.5 * np.tanh(told), IN_FLOAT32)
    output = Output(named("tanh"), ball(np.full((3, 1, 1), 0.5), 0), seen)
    found = looked_at(Segment(ball(np.full((3, 1, 1), 0.5), 0.4), own), output, None)
    assert found.value[0, 0] == pytest.approx(0.6, abs=0.01)
    assert found.radius[0, 0] < 0.015


def ends(*arguments, **options):
    value, radius = allowed_one(*arguments, **options)
    return value - radius, value + radius


def test_both_ends_are_widened_by_two_steps():
    """tanh says 0.6: 2 / 100 on either side, and up to 1/64 of the width 0.8 besides."""
    low, high = ends(0.5, 0.4, 0.5, 0.5 * np.tanh(0.6), own=0.01)
    assert 0.6 - 0.02 - 0.0126 <= low <= 0.6 - 0.02
    assert 0.6 + 0.02 <= high <= 0.6 + 0.02 + 0.0126


@pytest.mark.parametrize("side", [1, -1])
def test_no_end_goes_beyond_the_ball_before(side):
    """Just within the ball's end, wider by 2 own: the ball's own end is nearer."""
    low, high = sorted(side * end for end in ends(0, 0.4, 0.5, side * 0.5 * np.tanh(0.395), 0.04))
    assert high == pytest.approx(0.4, rel=1e-5)
    assert high >= np.float32(0.4)
    assert 0.395 - 0.08 - 0.0126 <= low <= 0.395 - 0.08


def test_a_printed_output_tells_less_at_both_ends():
    """0.5 tanh(c) is 0.2 +- 0.05, so that c is between artanh 0.3 and artanh 0.5."""
    output = Output(named("tanh"), ball([[0.5]], 0), ball([[0.2]], 0.05))
    found = allowed(ball([[0.5]], 0.4), np.full((1, 1), 1e-9, np.float32), output)
    low, high = found.value[0, 0] - found.radius[0, 0], found.value[0, 0] + found.radius[0, 0]
    assert np.arctanh(0.3) - 0.0126 <= low <= np.arctanh(0.3)
    assert np.arctanh(0.5) <= high <= np.arctanh(0.5) + 0.0126


def test_a_gate_that_is_wide_tells_less():
    """Between 0.3 and 0.7: tanh(c) is between s / 0.7 and s / 0.3, and c from -1.5 to 2.5 before;
    a bisection leaves 4/64."""
    seen = 0.5 * np.tanh(0.6)
    low, high = ends(0.5, 2.0, 0.5, seen, off=0.2)
    assert np.arctanh(seen / 0.7) - 0.0626 <= low <= np.arctanh(seen / 0.7)
    assert np.arctanh(seen / 0.3) <= high <= np.arctanh(seen / 0.3) + 0.0626


def test_a_gate_that_may_be_half_as_open_is_not_known_to_be_open():
    assert allowed_one(0.5, 0.4, 0.5, 0.5 * np.tanh(0.6), off=0.25) == (0.5, pytest.approx(0.4))


def test_an_infinite_radius_is_left_as_it_is():
    c = Ball(np.array([[0.5, 0.5]]), np.float32([[np.inf, 0.4]]), IN_FLOAT32)
    seen = Ball.exact(np.full((1, 2), 0.5 * np.tanh(0.6)), IN_FLOAT32)
    output = Output(named("tanh"), ball([[0.5, 0.5]], 1e-9), seen)
    with np.errstate(all="ignore"):
        found = allowed(c, np.full((1, 2), 1e-9, np.float32), output)
    assert (found.value[0, 0], found.radius[0, 0]) == (0.5, np.inf)
    assert found.value[0, 1] == pytest.approx(0.6, abs=0.01)
    assert (found.radius.dtype, found.arithmetic) == (np.float32, IN_FLOAT32)


def test_in_float64_radii_stay_float64():
    seen = Ball.exact(np.array([[0.5 * np.tanh(0.6)]]), IN_FLOAT64)
    output = Output(named("tanh"), ball([[0.5]], 0, IN_FLOAT64), seen)
    found = allowed(ball([[0.6]], 1e-11, IN_FLOAT64), np.full((1, 1), 1e-15), output)
    assert (found.radius.dtype, found.arithmetic) == (np.float64, IN_FLOAT64)
    assert 2e-15 < found.radius[0, 0] < 1e-12


@pytest.mark.parametrize("side", [1, -1])
def test_the_end_of_a_narrow_ball_in_float64_is_kept(side):
    """The middle of two neighbours is rounded, and the radius covers that: exact fractions say so.

    c is 1 and some 16 units in the last place; what it shows is one unit off the end of that."""
    ulp = 2.0**-52
    for count, own in itertools.product(range(16, 32), (0.0, ulp)):
        end, seen = (1 + side * number * ulp for number in (count, count - 1))
        output = Output(
            named("linear"),
            ball([[1.0]], 0, IN_FLOAT64),
            Ball.exact(np.array([[seen]]), IN_FLOAT64),
        )
        before = ball([[1.0]], count * ulp, IN_FLOAT64)
        found = allowed(before, np.full((1, 1), own), output)
        value, radius = (Fraction(float(a[0, 0])) for a in (found.value, found.radius))
        assert radius < count * Fraction(ulp)
        assert abs(Fraction(end) - value) <= radius
