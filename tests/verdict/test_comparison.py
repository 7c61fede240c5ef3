"""Every number of a comparison by hand, in both ways of computing it and in parts put together."""

import numpy as np
import pytest
from corpus import call_of, right_run, simulate
from helpers import in_blocks_of

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.near import NearSteps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import Block, multiplications
from rnn_parity.verdict import comparison
from rnn_parity.verdict.comparison import (
    Comparison,
    Found,
    Last,
    compare_outputs,
    compare_samples,
    first_beyond,
    merge,
    note_beyond,
    nothing_beyond,
)
from rnn_parity.verdict.resolution import Widths
from rnn_parity.verdict.results import Divergence, HeatMap, Timesteps

pytestmark = pytest.mark.filterwarnings("error")
SINGLE = Arithmetic(FLOAT32, FLOAT32)
U = 2.0**-24
# Linear goes the quick way where observed numbers are near, relu the general one.
WAYS = ["linear", "relu"]


@pytest.fixture(autouse=True)
def small_problems(monkeypatch):
    """Go the quick way."""
    monkeypatch.setattr(comparison, "WORTH", 0)


def halving(activation="linear"):
    """h = x (1, 2) + h / 2 for x = 1, 2, 4 and, in a second sample, for x = 2, 4, 8."""
    layer = rp.SimpleRNN([[1.0, 2.0]], np.eye(2) / 2, activation=activation, dtype="float32")
    x = np.array([[[1.0], [2.0], [4.0]], [[2.0], [4.0], [8.0]]])
    one = np.array([[1.0, 2.0], [2.5, 5.0], [5.25, 10.5]])
    return layer, Sequences.of(layer, x), np.stack([one, 2 * one])


def columns(found):
    rows = found.timesteps
    return {name: getattr(rows, name).tolist() for name in ("max_deviation", "max_residual")}


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("activation", WAYS)
def test_equal_numbers(activation, size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    layer, sequences, outputs = halving(activation)
    found = compare_outputs(layer, sequences, outputs, SINGLE, 1)
    rows = found.timesteps
    for name in ("max_deviation", "max_ulp", "max_residual", "max_ratio", "batch", "unit"):
        assert getattr(rows, name).tolist() == [0, 0, 0]
    assert found.first_divergence is None
    assert found.finite
    assert found.last.states.tolist() == outputs.swapaxes(0, 1)[1:].tolist()
    assert [one.tolist() for one in found.last.replayed] == [outputs[:, 2].tolist()]
    (ball,) = found.last.balls
    assert ball.value.tolist() == outputs[:, 2].tolist()
    assert ball.arithmetic is SINGLE
    # Of x U and h W with three terms: 3 u |y|.
    np.testing.assert_allclose(ball.radius, 3 * U * outputs[:, 2], rtol=1e-3)
    assert (found.widths.count, found.widths.samples, found.widths.hidden) == (6, 2, 0)
    squares = (outputs**2).sum(axis=(0, 1))
    np.testing.assert_allclose(found.widths.replayed, squares, rtol=1e-6)
    np.testing.assert_allclose(found.widths.expected, squares, rtol=1e-6)
    wider = 1.5 if activation == "linear" else 1 + 1e-3
    assert (found.widths.radius >= (3 * U) ** 2 * squares).all()
    assert (found.widths.radius <= (wider * 3 * U) ** 2 * squares + 1e-30).all()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("activation", WAYS)
@pytest.mark.parametrize(("off", "diverged"), [(2.0**-22, False), (2.0**-16, True), (0.125, True)])
def test_one_number_that_is_off(off, diverged, activation, size, monkeypatch):
    """Sample 1, timestep 1, unit 0: 5 + off, from which the next step makes half of it."""
    in_blocks_of(monkeypatch, size)
    layer, sequences, outputs = halving(activation)
    outputs[1, 1, 0] += off
    found = compare_outputs(layer, sequences, outputs, SINGLE)
    rows = found.timesteps
    assert columns(found) == {"max_deviation": [0, off, 0], "max_residual": [0, off, off / 2]}
    # 5 is in [4, 8), where an ULP is 2^-21.
    assert rows.max_ulp.tolist() == [0, off * 2**21, 0]
    assert rows.batch.tolist() == [0, 1, 1]
    assert rows.unit.tolist() == [0, 0, 0]
    bounds = np.array([3 * U * 5, 3 * U * 10.5])
    np.testing.assert_allclose(rows.bound[1:], bounds, rtol=0.2)
    np.testing.assert_allclose(rows.bound[1:], [off, off / 2] / rows.max_ratio[1:], rtol=1e-6)
    assert found.heat_map.ratio.max(axis=1).tolist() == rows.max_ratio.tolist()
    np.testing.assert_allclose(rows.max_ratio[1:], [off, off / 2] / bounds, rtol=0.2)
    assert (found.first_divergence is not None) is diverged
    if diverged:
        first = found.first_divergence
        assert (first.timestep, first.batch, first.unit) == (1, 1, 0)
        assert (first.observed, first.expected) == (5 + off, 5)
        assert first.bound == pytest.approx(3 * U * 5, rel=1e-3)


def test_the_replay_is_told_beside_what_was_observed():
    layer, sequences, outputs = halving("relu")
    outputs[:, 2] += 0.5
    found = compare_outputs(layer, sequences, outputs, SINGLE, 1)
    assert found.last.states[1].tolist() == outputs[:, 2].tolist()
    assert found.last.replayed[0].tolist() == (outputs[:, 2] - 0.5).tolist()
    assert found.last.balls[0].value.tolist() == (outputs[:, 2] - 0.5).tolist()


def test_what_is_around_the_last_timestep_is_kept_for_final_states():
    layer, sequences, outputs = halving("relu")
    assert compare_outputs(layer, sequences, outputs, SINGLE).last is None
    assert compare_outputs(layer, sequences, outputs, SINGLE, 1).last is not None


def test_the_states_of_a_layer_with_a_cell():
    # h = 2 c, c = c + x of x = 1, 2, 4 from 10 on.
    layer = rp.LSTM(
        [[0.0, 0.0, 1.0, 0.0]],
        [[0.0] * 4],
        [1.0, 1.0, 0.0, 2.0],
        "linear",
        "linear",
        dtype="float32",
    )
    x = np.array([[[1.0], [2.0], [4.0]]])
    sequences = Sequences.of(layer, x, None, [[[5.0]], [[10.0]]])
    found = compare_outputs(layer, sequences, np.array([[[22.0], [26.0], [34.0]]]), SINGLE, 2)
    assert [one.tolist() for one in found.last.replayed] == [[[34]], [[17]]]
    assert [ball.value.tolist() for ball in found.last.balls] == [[[34]], [[17]]]
    assert found.last.states.tolist() == [[[26]], [[34]]]


def test_expected_numbers_are_those_from_the_observed_states():
    layer, sequences, outputs = halving("relu")
    outputs[:, 1] += 0.5
    widths = compare_outputs(layer, sequences, outputs, SINGLE).widths
    # 1, 2.5, 5.25 and twice them are replayed; from 3 and 5.5 on, 5.5 and 10.75 are expected.
    assert widths.replayed[0] == 5 * (1 + 2.5**2 + 5.25**2)
    assert widths.expected[0] == 5 * (1 + 2.5**2) + 5.5**2 + 10.75**2


@pytest.mark.parametrize("activation", WAYS)
def test_samples_in_parts_give_the_same_numbers(activation, monkeypatch):
    layer, sequences, outputs = halving(activation)
    outputs[1, 1, 1] += 0.5
    whole = compare_outputs(layer, sequences, outputs, SINGLE, 1)
    parts = [slice(0, 1), slice(1, 2)]
    monkeypatch.setattr(comparison, "over_batch", lambda _, __, work: list(map(work, parts)))
    found = compare_outputs(layer, sequences, outputs, SINGLE, 1)
    assert columns(found) == columns(whole)
    np.testing.assert_allclose(found.heat_map.ratio, whole.heat_map.ratio, rtol=1e-3)
    np.testing.assert_allclose(found.timesteps.bound[1:], whole.timesteps.bound[1:], rtol=1e-3)
    assert found.timesteps.batch.tolist() == whole.timesteps.batch.tolist()
    assert found.first_divergence == whole.first_divergence
    assert found.last.states.tolist() == whole.last.states.tolist()
    assert (found.widths.count, found.widths.samples) == (6, 2)


def test_near_numbers_go_the_quick_way(monkeypatch):
    def refused(*_):
        raise AssertionError("the general way")

    monkeypatch.setattr(Steps, "observed", refused)
    found = compare_outputs(*halving("linear"), SINGLE)
    assert found.timesteps.max_ratio.tolist() == [0, 0, 0]
    with pytest.raises(AssertionError, match="the general way"):
        compare_outputs(*halving("relu"), SINGLE)


@pytest.mark.parametrize(("more", "taken"), [(0, True), (1, False)])
def test_what_is_small_goes_the_general_way(more, taken, monkeypatch):
    data, seen = halving("linear"), []
    monkeypatch.setattr(comparison, "WORTH", multiplications(*data[:2]) + more)
    take = Found.take_quick
    monkeypatch.setattr(Found, "take_quick", lambda *a: (seen.append(1), take(*a))[1])
    assert compare_outputs(*data, SINGLE).timesteps.max_ratio.tolist() == [0, 0, 0]
    assert bool(seen) == taken


@pytest.mark.parametrize(
    ("ratio", "taken"), [(0.25, True), (0.5, True), (0.75, False), (1.5, False)]
)
def test_the_quick_way_passes_what_is_within_half_of_its_bounds(ratio, taken):
    one = np.ones((1, 1, 1), np.float32)
    block = Block(slice(0, 1), one, one, 4 * np.ones((1, 1, 1)), np.ones((2, 1, 1)))
    found = Found.nothing((1, 1), 1)
    near = NearSteps(2 * one, ratio * one, one, 4 * one, 3 * one)
    assert found.take_quick(block, near) is taken
    assert found.finite is taken
    assert found.rows.max_ratio.tolist() == [ratio * taken]
    # An ULP at 4 is 2^-21.
    assert found.rows.max_ulp.tolist() == [2.0**22 * taken]
    assert found.widths.replayed.tolist() == [16 * taken]
    assert found.widths.expected.tolist() == [9 * taken]


def test_of_a_part_samples_are_counted_from_the_first_of_all():
    layer, sequences, outputs = halving("relu")
    outputs[1, 1, 1] += 0.5
    found = compare_samples(layer, sequences, outputs, SINGLE, slice(1, 2))
    assert found.timesteps.batch.tolist() == [1, 1, 1]
    assert (found.first_divergence.batch, found.first_divergence.unit) == (1, 1)
    assert found.widths.samples == 1
    assert compare_samples(layer, sequences, outputs, SINGLE, slice(0, 1)).first_divergence is None


def test_masked_steps_do_not_count_as_numbers():
    layer, sequences, _ = halving("linear")
    masked = Sequences.of(layer, sequences.inputs, [[True, False, True], [True, True, True]])
    one = [[1.0, 2.0], [1.0, 2.0], [4.5, 9.0]]
    outputs = np.array([one, [[2.0, 4.0], [5.0, 10.0], [10.5, 21.0]]])
    found = compare_outputs(layer, masked, outputs, SINGLE)
    assert found.widths.count == 5
    assert found.timesteps.max_deviation.tolist() == [0, 0, 0]


@pytest.mark.parametrize("activation", WAYS)
def test_nothing_finite(activation):
    layer = rp.SimpleRNN([[1.0]], [[1.0]], activation=activation, dtype="float32")
    sequences = Sequences.of(layer, [[[np.nan], [1.0]]])
    found = compare_outputs(layer, sequences, np.full((1, 2, 1), np.nan), SINGLE)
    assert not found.finite
    sequences = Sequences.of(layer, [[[1.0], [np.nan]]])
    found = compare_outputs(layer, sequences, np.array([[[1.0], [np.nan]]]), SINGLE)
    assert found.finite


def test_what_was_finite_in_an_earlier_block_is_known_later(monkeypatch):
    in_blocks_of(monkeypatch, 1)
    test_nothing_finite("relu")
    test_nothing_finite("linear")


def test_the_first_of_several_that_are_off(monkeypatch):
    in_blocks_of(monkeypatch, 1)
    layer, sequences, outputs = halving("relu")
    outputs[1, 1, 0] += 0.5
    outputs[0, 2, 0] += 0.5
    first = compare_outputs(layer, sequences, outputs, SINGLE).first_divergence
    assert (first.timestep, first.batch, first.unit) == (1, 1, 0)


# The order of what is beyond its bound.


def test_the_first_ratio_that_is_not_at_most_one():
    ratio = np.zeros((2, 2, 3))
    ratio[0, 1, 2], ratio[1, 0, 1], ratio[1, 1, 0], ratio[1, 1, 2] = 1, np.nan, 2, 3
    value = np.arange(12.0).reshape(2, 2, 3)
    ball = Ball(value, value + 100, SINGLE)
    first = first_beyond(7, value + 200, ball, ratio)
    assert first == Divergence(8, 0, 1, 207, 7, 107)
    assert [type(n) for n in vars(first).values()] == [int] * 3 + [float] * 3


def test_a_ratio_of_one_is_no_divergence(monkeypatch):
    ratios = np.ones((3, 2, 2))
    monkeypatch.setattr(comparison, "ratios", lambda residual, ball: ratios)
    layer, sequences, outputs = halving("relu")
    assert compare_outputs(layer, sequences, outputs, SINGLE).first_divergence is None
    ratios[1, 0, 1] = 1.5
    first = compare_outputs(layer, sequences, outputs, SINGLE).first_divergence
    assert (first.timestep, first.batch, first.unit) == (1, 0, 1)


def test_rows_of_a_block():
    found = Found.nothing((2, 4), 3)
    deviation, far, residual, ratio = (
        n * np.arange(12.0).reshape(2, 2, 3) for n in (1, 10, 100, 1000)
    )
    ratio[0, 1, 0] = 9000
    found.enter(slice(1, 3), deviation, far, residual, ratio, deviation / 2)
    rows = found.rows
    assert rows.max_deviation.tolist() == [0, 5, 11, 0]
    assert rows.max_ulp.tolist() == [0, 50, 110, 0]
    assert rows.max_residual.tolist() == [0, 500, 1100, 0]
    assert rows.max_ratio.tolist() == [0, 9000, 11000, 0]
    assert rows.batch.tolist() == [0, 1, 1, 0]
    assert rows.unit.tolist() == [0, 0, 2, 0]
    assert rows.bound.tolist() == [0, 1.5, 5.5, 0]
    assert found.heat_map.ratio.tolist() == [
        [0, 0, 0],
        [9000, 4000, 5000],
        [9000, 10000, 11000],
        [0, 0, 0],
    ]
    assert (found.finite, found.first) == (False, None)
    assert (found.widths.samples, len(found.widths.radius)) == (2, 3)


def test_what_is_beyond_its_bound_along_each_axis():
    found = nothing_beyond(3, 5, 2)
    ratio = np.array([[[1.0, 0.5], [0.5, 1.5]], [[0.0, 0.0], [3.0, np.nan]]])
    note_beyond(found, slice(1, 3), np.array([0, 2]), ratio)
    note_beyond(found, slice(3, 5), slice(None), np.ones((2, 3, 2)))
    told = {name: worst.tolist() for name, worst in found.items()}
    assert told == {
        "timestep": [0, 1.5, np.inf, 0, 0],
        "sample": [0, 0, np.inf],
        "unit": [3, np.inf],
    }


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("size", [(4, 6, 3, 5), (48, 64, 16, 32)])
def test_what_is_beyond_its_bound_is_what_was_changed(kind, size):
    run = right_run(size, kind=kind)
    layer, sequences = call_of(run)
    outputs = simulate(run)
    outputs[2, -1, 3] += 0.01
    outputs[3, -1, 1] += 0.01
    beyond = compare_outputs(layer, sequences, outputs, SINGLE).beyond
    places = {name: np.flatnonzero(worst).tolist() for name, worst in beyond.items()}
    assert places == {"timestep": [size[1] - 1], "sample": [2, 3], "unit": [1, 3]}


# Parts of the batch put together.


def a_part(numbers, first, states, finite, samples):
    rows = Timesteps(*(np.array(column) for column in numbers))
    value = np.array(states)
    ball = Ball(value, np.float32(value / 8), SINGLE)
    last = Last(np.stack([value - 1, value]), (ball, ball), (value + 1, value + 2))
    one = np.full(2, float(samples))
    widths = Widths(one, 2 * one, 3 * one, 4 * samples, samples, samples)
    heat_map = HeatMap.empty(len(rows), 2)
    heat_map.include(0, np.tile(rows.max_ratio[:, np.newaxis], 2))
    beyond = nothing_beyond(samples, len(rows), 2)
    note_beyond(beyond, slice(None), slice(None), np.full((len(rows), samples, 2), samples))
    return Comparison(rows, first, last, finite, widths, heat_map, beyond)


def test_parts_put_together():
    early, late = Divergence(1, 5, 0, 1.0, 2.0, 0.5), Divergence(2, 0, 0, 1.0, 2.0, 0.5)
    a = [[1.0, 6.0], [10.0, 60.0], [3.0, 2.0], [4.0, 5.0], [0, 1], [0, 0], [0.5, 9.0]]
    b = [[2.0, 5.0], [20.0, 50.0], [1.0, 4.0], [3.0, 7.0], [2, 3], [1, 1], [8.0, 0.25]]
    first = a_part(a, late, [[1.0, 2.0], [3.0, 4.0]], False, 2)
    second = a_part(b, early, [[5.0, 6.0]], True, 1)
    found = merge([first, second])
    rows = found.timesteps
    assert rows.max_deviation.tolist() == [2, 6]
    assert rows.max_ulp.tolist() == [20, 60]
    assert rows.max_residual.tolist() == [3, 4]
    assert rows.max_ratio.tolist() == [4, 7]
    # Where the largest ratio is, whatever the other numbers are.
    assert rows.batch.tolist() == [0, 3]
    assert rows.unit.tolist() == [0, 1]
    assert rows.bound.tolist() == [0.5, 0.25]
    assert found.heat_map.ratio.tolist() == [[4, 4], [7, 7]]
    # Of two samples each ratio is 2 in the first part, of one it is 1 in the second.
    beyond = {name: worst.tolist() for name, worst in found.beyond.items()}
    assert beyond == {"timestep": [2, 2], "sample": [2, 2, 0], "unit": [2, 2]}
    assert found.first_divergence is early
    assert found.finite
    assert not merge([first, first]).finite
    every = [[1, 2], [3, 4], [5, 6]]
    assert found.last.states[1].tolist() == every
    assert found.last.states[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert [ball.value.tolist() for ball in found.last.balls] == [every, every]
    assert found.last.balls[0].radius.tolist() == (np.array(every) / 8).tolist()
    assert found.last.replayed[0].tolist() == [[2, 3], [4, 5], [6, 7]]
    assert found.last.replayed[1].tolist() == [[3, 4], [5, 6], [7, 8]]
    widths = found.widths
    assert (widths.count, widths.samples, widths.hidden) == (12, 3, 3)
    assert widths.radius.tolist() == [3, 3]


def test_of_parts_the_first_divergence_in_time_then_in_the_batch():
    numbers, states = [[1.0]] * 4 + [[0]] * 2 + [[1.0]], [[1.0, 2.0]]
    parts = [
        a_part(numbers, first and Divergence(*first, 0, 1.0, 2.0, 0.5), states, True, 1)
        for first in ((3, 0), None, (2, 7), (2, 4), None)
    ]
    first = merge(parts).first_divergence
    assert (first.timestep, first.batch) == (2, 4)
    assert merge([parts[1], parts[4]]).first_divergence is None


# Final states.


def test_a_final_state_that_is_the_last_output_is_handed_on():
    states = np.array([[[0.0, 0.0, 0.0]], [[1.0, 2.0, np.nan]]])
    ball = Ball(np.array([[1.5, 2.5, 3.5]]), np.float32([[0.25, 0.5, 0.75]]), SINGLE)
    cell = Ball(np.array([[7.0]]), np.float32([[1.0]]), SINGLE)
    last = Last(states, (ball, cell), ())
    assert last.balls_of(()) == []
    h, c = last.balls_of([np.array([[1.0, 3.0, np.nan]]), np.array([[9.0]])])
    np.testing.assert_array_equal(h.value, [[1.0, 2.5, np.nan]])
    assert h.radius is ball.radius
    assert h.arithmetic is SINGLE
    assert c is cell
    h, _ = last.balls_of([np.array([[np.nan, 2.0, 3.0]])])
    assert h.value.tolist() == [[1.5, 2.0, 3.5]]
