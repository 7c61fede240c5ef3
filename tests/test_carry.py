"""An LSTM's c, which nobody observes: its ball, and what the observed output tells of it."""

import numpy as np
import pytest
from helpers import rounded

import rnn_parity as rp
from rnn_parity.activations import named
from rnn_parity.arithmetic import Arithmetic, arithmetics
from rnn_parity.balls import Ball
from rnn_parity.carry import GROWN, Output, allowed, carried, recurrence
from rnn_parity.fit import observed_steps
from rnn_parity.precision import FLOAT32, FLOAT64, FORMATS
from rnn_parity.replay import blocks
from rnn_parity.residual import Steps
from rnn_parity.sequences import Sequences

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
    output = Output(named("tanh"), Ball(gate, off, IN_FLOAT64), Ball.exact(seen, IN_FLOAT32))
    output = Output(named("tanh"), Ball(gate, off.astype(np.float32), IN_FLOAT32), output.seen)
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


@pytest.mark.parametrize("name", ["silu", "softmax", "squareplus"])
def test_activations_that_do_not_only_rise_tell_nothing(name):
    assert not named(name).rises
    p, q = ball(np.full((300, 1, 2), 0.99), 1e-3), ball(np.full((300, 1, 2), 0.01), 1e-3)
    seen = Ball.exact(np.full((300, 1, 2), 0.1), IN_FLOAT32)
    output = Output(named(name), ball(np.full((300, 1, 2), 0.5), 0), seen)
    c, last = carried(p, q, ball(np.zeros((1, 2)), 0), None, output)
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
    """The helper of the first test, by hand: 2.0234375 is halfway between neighbours of 2^-6."""
    assert rounded(np.array([2.0234375, 4.046875]), "bfloat16").tolist() == [2.03125, 4.0625]
