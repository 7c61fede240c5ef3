"""A verdict that can say no: `parity` only where the bound could have told other numbers."""

import json
import re

import numpy as np
import pytest
from helpers import random_layer, rounded

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.recurrence.precision import FLOAT32, FORMATS
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.comparison import compare_outputs
from rnn_parity.verdict.judge import Observations, concluded, judge
from rnn_parity.verdict.resolution import EXACT, Widths, resolution, state_resolution
from rnn_parity.verdict.results import Check, StateRow, Subject
from rnn_parity.verdict.sentences import unresolved, wide_bounds

pytestmark = pytest.mark.filterwarnings("error")

IN_FLOAT32 = Arithmetic(FLOAT32, FLOAT32)
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def keras_like(rng, kind, features, units, dtype, gain=1.0):
    """Weights as Keras makes them, with a small random bias, `(kernel, recurrent_kernel, bias)`."""
    width = GATES[kind] * units
    limit = gain * np.sqrt(6 / (features + width))
    kernel = rng.uniform(-limit, limit, (features, width))
    square = rng.normal(size=(max(width, units), units))
    recurrent = gain * np.linalg.qr(square)[0].T
    bias = 0.05 * rng.normal(size=(2, width) if kind == "GRU" else width)
    if kind == "LSTM":
        bias[units : 2 * units] += 1
    return [rounded(a, dtype) for a in (kernel, recurrent, bias)]


def right_run(kind, weights, x, dtype):
    """The textbook loop with every result rounded to `dtype`: outputs and final states."""
    U, W, b = weights
    units, batch = W.shape[0], len(x)
    h = c = np.zeros((batch, units))
    outputs = []
    for t in range(x.shape[1]):
        xu = rounded(x[:, t] @ U, dtype)
        if kind == "SimpleRNN":
            h = rounded(np.tanh(rounded(rounded(xu + b, dtype) + h @ W, dtype)), dtype)
        elif kind == "LSTM":
            z = rounded(rounded(xu + b, dtype) + rounded(h @ W, dtype), dtype)
            i, f, g, o = np.split(z, 4, axis=1)
            i, f, o = (rounded(sigmoid(v), dtype) for v in (i, f, o))
            new = rounded(i * rounded(np.tanh(g), dtype), dtype)
            c = rounded(rounded(f * c, dtype) + new, dtype)
            h = rounded(o * rounded(np.tanh(c), dtype), dtype)
        else:
            X, R = rounded(xu + b[0], dtype), rounded(rounded(h @ W, dtype) + b[1], dtype)
            (xz, xr, xh), (rz, rr, rh) = np.split(X, 3, axis=1), np.split(R, 3, axis=1)
            z, r = (rounded(sigmoid(rounded(v, dtype)), dtype) for v in (xz + rz, xr + rr))
            hh = rounded(np.tanh(rounded(xh + rounded(r * rh, dtype), dtype)), dtype)
            one = rounded(rounded(1 - z, dtype) * hh, dtype)
            h = rounded(rounded(z * h, dtype) + one, dtype)
        outputs.append(h)
    return np.stack(outputs, axis=1), (h, c) if kind == "LSTM" else h


def a_check(rng, kind, features, units, batch, timesteps, dtype, gain=1.0):
    """A layer, its inputs, and a right run's outputs and final states."""
    weights = keras_like(rng, kind, features, units, dtype, gain)
    x = rounded(rng.normal(size=(batch, timesteps, features)), dtype)
    outputs, state = right_run(kind, weights, x, dtype)
    return getattr(rp, kind)(*weights, dtype=dtype), x, outputs, state


# Bounds that pass anything.


def centred_bfloat16():
    """8 features around 128, and a bias that takes their mean off again: rounding is all there is.

    In bfloat16 a feature of 128 has a neighbour 1 away, so that sums of 8 are 100 units wide.
    """
    rng = np.random.default_rng(0)
    kernel = rounded(np.abs(rng.normal(size=(8, 4))) * 0.1, "bfloat16")
    recurrent = rounded(rng.normal(size=(4, 4)) * 0.3, "bfloat16")
    x = rounded(128 + 3 * rng.normal(size=(8, 12, 8)), "bfloat16")
    bias = rounded(-128 * kernel.sum(axis=0), "bfloat16")
    return rp.SimpleRNN(kernel, recurrent, bias, dtype="bfloat16"), x


def test_zeros_are_no_parity_in_16_bits_beside_large_inputs():
    layer, x = centred_bfloat16()
    right = rp.replay(layer, x).outputs
    assert np.abs(right).max() > 0.9  # not what zeros are
    report = rp.compare(layer, x, np.zeros(right.shape))
    assert (report.verdict, report.exit_code) == ("inconclusive", 3)
    assert "so that others would pass as well" in report.summary
    assert report.checks[0].resolution > 0.75


def test_a_sum_of_200_000_terms_proves_nothing():
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(200_000, 2)).astype(np.float32) * np.float32(0.002)
    layer = rp.SimpleRNN(kernel, np.eye(2, dtype=np.float32) * 0.5, np.float32([0.1, -0.2]))
    x = rng.normal(size=(2, 3, 200_000)).astype(np.float32)
    for wrong in (np.zeros((2, 3, 2)), rng.uniform(-1, 1, (2, 3, 2))):
        assert rp.compare(layer, x, wrong).verdict in ("inconclusive", "diverged")
    assert rp.compare(layer, x, np.zeros((2, 3, 2))).checks[0].effective_bits is None


@pytest.mark.parametrize("units", [5, 512])
def test_one_unit_that_is_not_resolved_is_named(units):
    """Unit 3 adds 1e6 and takes it off again: its sum is known to 0.2 at best, the others' fine."""
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(4, units)) * 0.3
    kernel[0, 3], kernel[1, 3] = 1e7, -1e7
    recurrent = rng.normal(size=(units, units)) * 0.3 / np.sqrt(units)
    layer = rp.SimpleRNN(kernel, recurrent, rng.normal(size=units) * 0.1, dtype="float32")
    x = rng.normal(size=(3, 10, 4)).astype(np.float32)
    x[..., 1] = x[..., 0]
    right = rp.replay(layer, x).outputs.astype(np.float32)
    report = rp.compare(layer, x, right)
    assert report.verdict == "inconclusive"
    assert "the bound of unit 3 of the outputs is" in report.summary
    resolved = np.delete(np.arange(units), 3)
    layer = rp.SimpleRNN(
        kernel[:, resolved],
        recurrent[np.ix_(resolved, resolved)],
        layer.bias[resolved],
        dtype="float32",
    )
    assert rp.compare(layer, x, rp.replay(layer, x).outputs.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("kind", GATES)
def test_zeros_negated_and_random_numbers_are_never_parity(kind, dtype):
    rng = np.random.default_rng(3)
    for _ in range(12):
        features, units = (int(n) for n in rng.integers(1, 30, 2))
        batch, timesteps = (int(n) for n in rng.integers(1, 9, 2))
        gain, scale = 10 ** rng.uniform(-1.5, 1), 10 ** rng.uniform(-2, 2)
        layer, x, _, _ = a_check(rng, kind, features, units, batch, timesteps, dtype, gain)
        x = rounded(scale * (x + 30 * rng.integers(0, 2)), dtype)
        right = rp.replay(layer, x)
        outputs, state = right.outputs, right.final_state
        size = np.sqrt(np.mean(outputs**2))
        if not np.abs(outputs).max() > 2 * FORMATS[dtype].smallest_normal:
            continue  # zeros are right
        for wrong in (0 * outputs, -outputs, size * rng.normal(size=outputs.shape)):
            for seen in (wrong, wrong[:, -1]):
                assert verdict(layer, x, rounded(seen, dtype)) in ("diverged", "inconclusive")
        if kind == "LSTM":
            zero = (state[0], 0 * state[1])
            assert verdict(layer, x, rounded(outputs, dtype), zero) != "parity"


def verdict(layer, x, outputs, state=None):
    """The verdict alone, without looking for a cause."""
    observed = Observations.of(layer, outputs, state)
    return judge(layer, Sequences.of(layer, x), observed, Subject()).check.verdict


def test_zeros_are_no_parity_where_only_the_recurrence_makes_numbers_large():
    """x U is 6e-5 +- 4e-4, and a step is ten times the one before: so the replay comes to 1,
    while zeros stay where they are, each of them within rounding."""
    layer = rp.SimpleRNN([[1.0], [1.0]], [[10.0]], dtype="float32")
    x = np.full((1, 20, 2), 1000, np.float32)
    x[..., 1] = -np.float32(1000) + np.float32(2.0**-14)
    right = rp.replay(layer, x).outputs
    assert np.abs(right[0, -1]) > 0.99
    assert rp.compare(layer, x, right.astype(np.float32))
    zeros = rp.compare(layer, x, np.zeros(right.shape))
    assert zeros.verdict == "inconclusive"
    assert zeros.checks[0].max_ratio < 1


def test_a_cell_state_of_zeros_is_no_parity():
    rng = np.random.default_rng(4)
    layer, x, outputs, (h, c) = a_check(rng, "LSTM", 3, 4, 2, 6, "float32")
    assert rp.compare(layer, x, outputs, (h, c))
    assert rp.compare(layer, x, outputs, (h, 0 * c)).verdict == "diverged"
    assert rp.compare(layer, x, outputs, (h, -c)).verdict == "diverged"


# Right runs stay parity.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("shape", [(32, 28), (1, 1), (32, 1), (4, 9)])
def test_right_runs_of_default_layers_are_parity(kind, dtype, shape):
    rng = np.random.default_rng(5)
    layer, x, outputs, state = a_check(rng, kind, 32, 16, *shape, dtype)
    report = rp.compare(layer, x, outputs, state)
    assert report.verdict == "parity", report.summary
    assert report.checks[0].resolution <= 0.75


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_equal_samples_are_parity(kind, dtype):
    rng = np.random.default_rng(6)
    weights = keras_like(rng, kind, 8, 16, dtype)
    x = np.repeat(rounded(rng.normal(size=(1, 28, 8)), dtype), 5, axis=0)
    outputs, state = right_run(kind, weights, x, dtype)
    assert rp.compare(getattr(rp, kind)(*weights, dtype=dtype), x, outputs, state)


@pytest.mark.slow
@pytest.mark.parametrize("kind", GATES)
def test_wide_layers_are_parity(kind):
    rng = np.random.default_rng(7)
    layer, x, outputs, state = a_check(rng, kind, 32, 512, 2, 12, "float32")
    report = rp.compare(layer, x, outputs, state)
    assert report.verdict == "parity", report.summary
    assert report.checks[0].resolution < 0.01


def test_a_unit_that_never_fires_is_parity():
    rng = np.random.default_rng(8)
    layer = random_layer(rng, features=3, units=4, activation="relu")
    kernel, bias = layer.kernel.copy(), layer.bias.copy()
    kernel[:, 2], bias[2] = 0, -50
    layer = layer.changed(kernel=kernel, bias=bias)
    x = rng.normal(size=(3, 10, 3)).astype(np.float32)
    outputs = rp.replay(layer, x).outputs.astype(np.float32)
    assert not outputs[..., 2].any()
    assert rp.compare(layer, x, outputs, outputs[:, -1])
    outputs[1, 4, 2] = 0.2
    assert rp.compare(layer, x, outputs).verdict == "diverged"


def test_a_gate_that_is_nearly_closed_is_parity_and_noted():
    """The sigmoid may err by 4 u absolutely: 1e-9 is nothing beside the other units."""
    rng = np.random.default_rng(9)
    U, W, b = keras_like(rng, "LSTM", 3, 4, "float32")
    b[12 + 1] = -21  # the output gate of unit 1
    U[:, 12 + 1], W[:, 12 + 1] = 0, 0
    x = rounded(rng.normal(size=(3, 10, 3)), "float32")
    outputs, state = right_run("LSTM", (U, W, b), x, "float32")
    assert 0 < np.abs(outputs[..., 1]).max() < 1e-8
    report = rp.compare(rp.LSTM(U, W, b, dtype="float32"), x, outputs, state)
    assert report.verdict == "parity", report.summary
    assert any("unit 1 of the outputs: next to nothing" in n for n in report.checks[0].notes)


# The numbers themselves, by hand.


def test_the_resolution_of_units_by_hand():
    """Unit 0: radii 3 and 4 (root mean square 5 / sqrt 2) beside 6 and 8: 1/2; unit 1: 1/4."""
    radius = np.array([[[3.0, 0.5]], [[4.0, 0.5]]])
    size = np.array([[[6.0, 2.0]], [[8.0, 2.0]]])
    widths = Widths.of(np.tile(radius, (4, 1, 1)), np.tile(size, (4, 1, 1)), None)
    found = resolution("outputs", widths)
    assert found.of_unit == pytest.approx([0.5, 0.25])
    assert (found.worst, found.resolved, found.share) == (pytest.approx(0.5), True, 0)


RADIUS = np.array([[[1.0, 2.0], [3.0, 4.0]]])
SIZE = np.array([[[1.0, 3.0], [5.0, 1.0]]])
EXPECTED = np.array([[[2.0, 1.0], [3.0, 2.0]]])


def test_sums_of_one_timestep_by_hand():
    found = Widths.of(RADIUS, SIZE, None, EXPECTED)
    assert (found.radius.tolist(), found.replayed.tolist()) == ([10, 20], [26, 10])
    assert (found.expected.tolist(), found.count, found.samples) == ([13, 5], 2, 2)
    assert found.hidden == 2  # 1 of 1, and 4 of 1
    assert Widths.of(RADIUS, SIZE, None).expected.tolist() == [26, 10]
    for sums in (found.radius, found.replayed, found.expected):
        assert sums.dtype == np.float64


def test_sums_under_a_mask_by_hand():
    found = Widths.of(RADIUS, SIZE, np.array([[[True], [False]]]), EXPECTED)
    assert (found.radius.tolist(), found.replayed.tolist()) == ([1, 4], [1, 9])
    assert (found.expected.tolist(), found.count, found.samples) == ([4, 1], 1, 2)
    assert found.hidden == 1
    assert Widths.of(RADIUS, SIZE, np.array([[[True], [False]]])).expected.tolist() == [1, 9]


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_sums_where_the_replay_is_not_finite(wrong):
    """Only an infinite radius counts there, and none where a mask hides it."""
    size, expected, radius = SIZE.copy(), EXPECTED.copy(), RADIUS.copy()
    size[0, 0, 0] = expected[0, 0, 0] = wrong
    found = Widths.of(radius, size, None, expected)
    assert (found.radius.tolist(), found.replayed.tolist()) == ([9, 20], [25, 10])
    assert (found.expected.tolist(), found.count, found.hidden) == ([9, 5], 2, 1)
    radius[0, 0, 0] = np.inf
    for keep, of_radius in (
        (None, [np.inf, 20]),
        (np.array([[[True], [False]]]), [np.inf, 4]),
        (np.array([[[False], [True]]]), [9, 16]),
    ):
        assert Widths.of(radius, size, keep, expected).radius.tolist() == of_radius


def test_an_infinite_radius_of_a_number_is_infinite():
    radius = RADIUS.copy()
    radius[0, 1, 1] = np.inf
    for keep, of_radius in (
        (None, [10, np.inf]),
        (np.array([[[True], [True]]]), [10, np.inf]),
        (np.array([[[True], [False]]]), [1, 4]),
    ):
        assert Widths.of(radius, SIZE, keep).radius.tolist() == of_radius


def test_no_timestep_adds_nothing():
    none, widths = Widths.none(2, 5), Widths.of(RADIUS, SIZE, None, EXPECTED)
    assert (none.count, none.samples, none.hidden) == (0, 5, 0)
    for sums in (none.radius, none.replayed, none.expected):
        assert sums.tolist() == [0, 0]
    both = none.and_then(widths)
    assert (both.count, both.samples, both.hidden) == (2, 5, 2)
    assert (both.radius.tolist(), both.replayed.tolist()) == ([10, 20], [26, 10])
    assert both.expected.tolist() == [13, 5]
    beside = widths.beside(widths)
    assert (beside.count, beside.samples, beside.hidden) == (4, 4, 4)
    found = resolution("outputs", none)
    assert (found.name, found.of_unit.tolist(), found.share) == ("outputs", [0, 0], 0)
    assert found.resolved


def constant(radii, sizes, expected=None, steps=9, samples=2):
    """Widths of units whose radii and numbers are the same throughout."""
    radius, size, other = (
        None if a is None else np.tile(np.array(a, float), (steps, samples, 1))
        for a in (radii, sizes, expected)
    )
    return Widths.of(radius, size, None, other)


def test_a_unit_is_resolved_up_to_three_quarters():
    assert resolution("h", constant([0.75, 0.1], [1, 1])).resolved
    assert not resolution("h", constant([0.76, 0.1], [1, 1])).resolved
    assert resolution("h", constant([0.76, 0.1], [1, 1])).worst == pytest.approx(0.76)


def test_the_smaller_of_the_replayed_and_the_expected_numbers_counts():
    found = resolution("h", constant([0.1, 0.1], [1, 0.4], [0.5, 2]))
    assert found.of_unit == pytest.approx([0.2, 0.25])


@pytest.mark.parametrize(("replayed", "expected"), [([0, 0], [1, 1]), ([1, 1], [0, 0])])
def test_zeros_that_only_the_replay_or_only_the_steps_have_prove_nothing(replayed, expected):
    found = resolution("h", constant([0.1, 0.1], replayed, expected))
    assert found.of_unit.tolist() == [np.inf, np.inf]


def test_nothing_but_zeros_is_held_against_what_activations_may_give():
    """An eighth of 1: 0.1 is 0.8 of that, and 1e-9 next to nothing."""
    found = resolution("h", constant([0.1, 1e-9], [0, 0]))
    assert found.of_unit == pytest.approx([0.8, 8e-9])
    assert found.faint.tolist() == [True, True]
    assert found.share == 1
    assert resolution("h", constant([0, 0], [0, 0])).of_unit.tolist() == [0, 0]


def test_a_faint_unit_is_held_against_an_eighth_of_the_others():
    """1 and 1/200, whose root mean square is 1 / sqrt 2, hardly more."""
    found = resolution("h", constant([0.01, 0.01], [1, 0.005]))
    assert found.faint.tolist() == [False, True]
    assert found.of_unit == pytest.approx([0.01, 0.08 * np.sqrt(2)], rel=1e-4)
    assert found.share == 0.5
    # Not faint: 0.005 is above its own radius, 2^-8 not below it, and 0.02 no hundredth.
    for radius, size, expected in ((0.001, 0.005, 0.2), (2.0**-8, 2.0**-8, 1.0), (0.1, 0.02, 5.0)):
        found = resolution("h", constant([0.01, radius], [1, size]))
        assert found.faint.tolist() == [False, False]
        assert found.of_unit[1] == pytest.approx(expected)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("steps", "expected"), [(7, 0.1), (8, 1.0)])
def test_few_timesteps_are_held_against_the_whole_array(steps, expected, samples):
    """Unit 0 is 0.1 +- 0.1, unit 1 is sqrt(2 - 0.01): the whole has the root mean square 1."""
    widths = constant([0.1, 0.1], [0.1, np.sqrt(2 - 0.01)], steps=steps, samples=samples)
    assert resolution("h", widths).of_unit[0] == pytest.approx(expected)


def test_numbers_whose_squares_overflow_prove_nothing():
    found = resolution("h", constant([1e-3, 1e-3], [1e200, 1.0]))
    assert np.isinf(found.of_unit).tolist() == [True, False]
    assert not found.resolved


def test_the_resolution_of_a_state_by_hand():
    """Radii 3 and 4, replayed -1 and 7, where steps expect 5 and -5: 1 and 5 count, whose root
    mean square is sqrt 13."""
    ball = Ball(np.array([[5.0, -5.0]]), np.array([[3.0, 4.0]]), IN_FLOAT32)
    found = state_resolution("c", ball, np.array([[-1.0, 7.0]]))
    assert (found.name, found.share) == ("c", 0.5)  # 3 hides 1, but 4 not 7
    assert found.of_unit == pytest.approx([3 / np.sqrt(13), 4 / 5])


def test_masked_steps_do_not_count():
    radius = np.array([[[1.0]], [[100.0]]] * 8)
    size = np.array([[[4.0]], [[1.0]]] * 8)
    keep = np.array([[[True]], [[False]]] * 8)
    assert resolution("outputs", Widths.of(radius, size, keep)).worst == 0.25


def test_a_state_is_held_against_the_whole_array_or_its_own_larger_numbers():
    ball = Ball(np.array([[1.0, 7.0]]), np.array([[2.0, 2.0]]), IN_FLOAT32)
    found = state_resolution("h", ball, ball.value)
    assert found.of_unit == pytest.approx([2 / 5, 2 / 7])  # 5 is the root mean square of 1 and 7


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_an_infinite_radius_is_not_resolved(wrong):
    radius = np.full((9, 2, 2), 1e-3)
    radius[4, 1, 1] = wrong
    found = resolution("outputs", Widths.of(radius, np.ones((9, 2, 2)), None))
    assert (found.of_unit[0], found.of_unit[1]) == (pytest.approx(1e-3), np.inf)
    assert not found.resolved


def test_numbers_that_are_not_finite_do_not_count():
    size = np.ones((9, 1, 1))
    size[3] = np.inf
    size[4] = np.nan
    radius = np.full((9, 1, 1), 0.25)
    radius[[3, 4]] = 0  # known for sure
    found = resolution("outputs", Widths.of(radius, size, None))
    assert found.worst == pytest.approx(0.25)


def test_tiny_numbers_do_not_vanish_when_squared():
    size = np.full((9, 1, 1), 1e-30)
    found = resolution("outputs", Widths.of((2 * size).astype(np.float32), size, None))
    assert found.worst == pytest.approx(2)


def test_parts_of_a_batch_and_of_a_sequence_add_up():
    rng = np.random.default_rng(10)
    radius, size = rng.uniform(size=(2, 12, 6, 3))
    whole = resolution("outputs", Widths.of(radius, size, None))
    halves = [
        Widths.of(radius[:5, s], size[:5, s], None).and_then(
            Widths.of(radius[5:, s], size[5:, s], None)
        )
        for s in (slice(0, 2), slice(2, 6))
    ]
    parts = resolution("outputs", halves[0].beside(halves[1]))
    assert parts.of_unit == pytest.approx(whole.of_unit)
    assert parts.share == whole.share == np.mean(radius >= size)


def test_what_is_said_of_wide_bounds():
    radius, size = np.full((9, 1, 4), 1.0), np.full((9, 1, 4), 4.0)
    size[:3, 0, 1] = 0.5  # root mean square 3.28
    found = resolution("outputs", Widths.of(radius, size, None))
    assert wide_bounds([found]) == [
        "a divergence could hide in 8.3 % of the numbers, whose bound is as wide as they are"
    ]
    assert wide_bounds([resolution("h", Widths.of(radius, 9 * size, None))]) == []
    wide = resolution("h", Widths.of(4 * radius, size, None))
    assert unresolved(wide, "float32").startswith("the bound of every unit of final state h is")


def test_one_loud_sample_does_not_hide_how_wide_the_others_bounds_are():
    """Its numbers are 10^4 times as large, and make the root mean square of every unit."""
    rng = np.random.default_rng(0)
    kernel = rounded(0.1 * np.abs(rng.normal(size=(8, 4))), "bfloat16")
    recurrent, bias = rounded(0.01 * rng.normal(size=(4, 4)), "bfloat16"), -128 * kernel.sum(axis=0)
    x = 128 + 3 * rng.normal(size=(16, 40, 8))
    x[0] *= 50
    layer = rp.SimpleRNN(kernel, recurrent, bias, activation="relu", dtype="bfloat16")
    outputs = rounded(rp.replay(layer, rounded(x, "bfloat16")).outputs, "bfloat16")
    check = rp.compare(layer, rounded(x, "bfloat16"), outputs).checks[0]
    assert check.resolution < 0.125
    found = re.search(r"a divergence could hide in (\d+) % of the numbers", check.summary)
    assert found
    assert int(found[1]) > 50


@pytest.mark.parametrize("kind", [rp.SimpleRNN, rp.LSTM, rp.GRU])
def test_nothing_hides_in_the_zeros_of_a_relu(kind):
    gates = len(kind.GATES)
    bias = np.full((2, gates) if kind is rp.GRU else gates, -2.0)
    layer = kind([[0.5] * gates], [[0.25] * gates], bias, activation="relu", dtype="float32")
    x = np.tile([[[16.0]], [[-16.0]]], (1, 8, 1))
    outputs = rounded(rp.replay(layer, x).outputs, "float32")
    assert outputs[0].all()
    assert not outputs[1].any()
    found = compare_outputs(layer, Sequences.of(layer, x), outputs, arithmetics(layer.precision)[0])
    assert found.widths.hidden == 0


def test_the_resolution_is_in_the_document():
    rng = np.random.default_rng(11)
    layer, x, outputs, state = a_check(rng, "LSTM", 8, 8, 4, 9, "bfloat16")
    report = rp.compare(layer, x, outputs, state)
    document = json.loads(report.to_json())["checks"][0]
    assert document["resolution"] == report.checks[0].resolution
    assert 0.125 < document["resolution"] < 0.75
    assert "a divergence could hide in" in report.summary
    assert "times the numbers" not in report.summary


# Open on NaN.


@pytest.mark.parametrize("where", ["step", "state"])
def test_a_ratio_that_is_no_number_is_no_pass(where):
    fine = resolution("outputs", Widths.of(np.full((9, 1, 1), 0.1), np.ones((9, 1, 1)), None))
    ratio = {"step": 0.5, "state": 0.5, where: float("nan")}
    row = StateRow("h", 0.0, 0, ratio["state"], 0, 0)
    check = Check(Subject(), "parity", "", dtype="float32", final_state=(row,))
    for given, verdict in (
        (ratio["step"], "diverged"),
        (0.5, "parity" if where == "step" else "diverged"),
    ):
        assert concluded(check, given, "", [fine]).verdict == verdict


def test_the_arithmetics_are_tried_until_one_explains_the_numbers():
    """A bound that resolves nothing in the sharper arithmetic does not in the wider one either."""
    sharp, wide = arithmetics(FORMATS["bfloat16"])
    layer, x = centred_bfloat16()
    check = rp.compare(layer, x, rp.replay(layer, x).outputs).checks[0]
    assert check.arithmetic == sharp.name != wide.name


def test_numbers_that_are_known_but_for_a_flush_to_zero_hide_nothing():
    """Zeros with the radius that an exact step has, at most: no divergence hides there."""
    eta = 2.0**-126
    for radius, share in ((EXACT * eta, 0.5), (2 * EXACT * eta, 1.0)):
        ball = Ball(np.array([[0.0, 1.0]]), np.array([[radius, 2.0]]), IN_FLOAT32)
        assert state_resolution("h", ball, ball.value).share == share


@pytest.mark.parametrize(("radius", "share"), [(1e-6, 0.0), (0.09, 0.0), (0.1, 0.5), (np.inf, 0.5)])
def test_exact_zeros_hide_nothing_where_their_bound_is_narrow_beside_the_others(radius, share):
    """Half of the numbers are 1.4, the others 0: the root mean square is 1, of which 3/32 count."""
    value = np.array([[0.0, 2**0.5], [2**0.5, 0.0]])
    ball = Ball(value, np.where(value == 0, radius, 1e-6), IN_FLOAT32)
    assert state_resolution("h", ball, ball.value).share == share


def test_zeros_of_the_replay_alone_are_numbers_like_any_other():
    size, expected = np.zeros((9, 1, 1)), np.full((9, 1, 1), 1e-3)
    widths = Widths.of(np.full((9, 1, 1), 1e-2), size, None, expected)
    assert (widths.hidden, widths.zeros) == (9, 0)
    assert widths.and_then(Widths.of(np.full((9, 1, 1), 0.5), size, None)).zero_radius == 0.5


def test_what_hides_beside_exact_zeros_is_a_share_of_the_other_numbers():
    value = np.array([[0.0, 0.0, 1.0, 1e-4]])
    ball = Ball(value, np.full((1, 4), 1e-3), IN_FLOAT32)
    assert state_resolution("h", ball, ball.value).share == 0.5


def test_closed_gates_of_a_right_lstm_hide_nothing():
    """A closed hard sigmoid gives exact zeros, whose bound has its allowance all the same."""
    rng = np.random.default_rng(1)
    bias = rng.uniform(-0.5, 0.5, 24)
    layer = rp.LSTM(
        *(rng.normal(size=(5, 24)), rng.normal(size=(6, 24)) * 0.2, bias),
        activation="relu",
        recurrent_activation="hard_sigmoid",
        dtype="float32",
    )
    x = 5 * rng.normal(size=(4, 9, 5)).astype(np.float32)
    outputs = rounded(rp.replay(layer, x).outputs, "float32")
    assert np.mean(outputs == 0) > 0.25
    report = rp.compare(layer, x, outputs)
    assert report.verdict == "parity"
    assert "hide" not in report.summary


def test_zeros_are_no_parity_where_the_right_numbers_are_next_to_nothing():
    # Two products cancel but for 1e-6; a step from zeros gives less than the replay has gathered.
    inputs = np.full((1, 200, 2), 10, np.float32)
    inputs[..., 1] -= np.float32(1e-6)
    one = np.float32([[1], [-1]]), np.float32([[0.85]])
    layer = rp.SimpleRNN(*one, None, activation="linear")
    report = rp.compare(layer, inputs, np.zeros((1, 200, 1), np.float32))
    assert (report.verdict, bool(report)) == ("inconclusive", False)
