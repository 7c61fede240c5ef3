"""How well a computation explains outputs, and the parts of a call that tell."""

import numpy as np
import pytest
from helpers import in_blocks_of

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.observed import observed_part, observed_steps
from rnn_parity.diagnosis import evidence
from rnn_parity.diagnosis.evidence import Fit, fit_in
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.sequences import Dropout, Sequences

pytestmark = pytest.mark.filterwarnings("error")
SINGLE = Arithmetic(FLOAT32, FLOAT32)
U = 2.0**-24


@pytest.mark.parametrize(
    ("ratio", "useless", "explains"),
    [(0.5, False, True), (1.0, False, True), (1.5, False, False), (0.5, True, False)],
)
def test_what_explains(ratio, useless, explains):
    assert Fit(ratio, useless).explains is explains


def halving(timesteps=3, **options):
    """h = x + h / 2 for x = 1, 2, 4, …: 1, 2.5, 5.25, …"""
    layer = rp.SimpleRNN([[1.0]], [[0.5]], activation="linear", dtype="float32")
    sequences = Sequences.of(layer, 2.0 ** np.arange(timesteps).reshape(1, -1, 1), **options)
    outputs = [[[1.0], [2.5], [5.25], [10.625]][:timesteps]]
    return layer, sequences, np.array(outputs)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_ratio_by_hand(size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    layer, sequences, outputs = halving()
    right = fit_in(SINGLE, layer, sequences, outputs)
    assert (right.max_ratio, right.useless) == (0, False)
    for t, terms in ((0, 1.0), (1, 2.5), (2, 5.25)):
        wrong = outputs.copy()
        wrong[0, t] += 0.125
        found = fit_in(SINGLE, layer, sequences, wrong)
        # Of two terms: 2 u (x + h / 2). What follows is off by half as much, beside twice as much.
        if size == 1 or t == 2:
            assert found.max_ratio == pytest.approx(0.125 / (2 * U * terms), rel=1e-3)
        assert found.max_ratio > 1
        assert found.useless
        near = outputs.copy()
        near[0, t] += U * terms
        found = fit_in(SINGLE, layer, sequences, near)
        assert found.max_ratio == pytest.approx(0.5, rel=1e-3)
        assert found.explains
        near[0, t] += 2 * U * terms
        found = fit_in(SINGLE, layer, sequences, near)
        assert found.max_ratio == pytest.approx(1.5, rel=1e-3)
        assert found.useless


def test_what_is_no_number_fits_nothing(monkeypatch):
    layer, sequences, outputs = halving()
    for value in (np.nan, np.inf):
        wrong = outputs.copy()
        wrong[0, 1] = value
        assert fit_in(SINGLE, layer, sequences, wrong).max_ratio == np.inf
    monkeypatch.setattr(evidence, "ratios", lambda residual, ball: np.nan * residual)
    found = fit_in(SINGLE, layer, sequences, outputs)
    assert (found.max_ratio, found.useless) == (np.inf, True)


def test_a_ratio_of_one_fits(monkeypatch):
    monkeypatch.setattr(evidence, "ratios", lambda residual, ball: np.ones_like(residual))
    found = fit_in(SINGLE, *halving())
    assert (found.max_ratio, found.useless) == (1, False)


def test_a_vacuous_bound_is_useless():
    layer = rp.SimpleRNN([[1e19]], [[0.0]], activation="linear", dtype="float32")
    sequences = Sequences.of(layer, [[[1.0], [1e20]]])
    found = fit_in(SINGLE, layer, sequences, np.array([[[layer.kernel.item()], [np.inf]]]))
    assert (found.max_ratio, found.useless) == (0, True)


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize(("timesteps", "useless"), [(7, False), (8, True)])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_unit_whose_bound_is_wider_than_its_numbers(batch, timesteps, useless, size, monkeypatch):
    """2^24 - (2^24 - 1) = 1 within 3 u 2^25 = 6, beside 50: few numbers are held against both."""
    in_blocks_of(monkeypatch, size)
    kernel = [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0]]
    layer = rp.SimpleRNN(kernel, np.zeros((2, 2)), activation="linear", dtype="float32")
    x = np.full((batch, timesteps, 3), [2.0**24, 2.0**24 - 1, 50.0])
    outputs = np.full((batch, timesteps, 2), [50.0, 1.0])
    found = fit_in(SINGLE, layer, Sequences.of(layer, x), outputs)
    assert (found.max_ratio, found.useless) == (0, useless)


def test_masked_steps_are_no_numbers_of_a_unit():
    """The same of eight timesteps, of which one is masked: seven are few."""
    kernel = [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0]]
    layer = rp.SimpleRNN(kernel, np.zeros((2, 2)), activation="linear", dtype="float32")
    x = np.full((1, 8, 3), [2.0**24, 2.0**24 - 1, 50.0])
    outputs = np.full((1, 8, 2), [50.0, 1.0])
    for masked, useless in ((True, True), (False, False)):
        sequences = Sequences.of(layer, x, [[True] * 4 + [masked] + [True] * 3])
        assert fit_in(SINGLE, layer, sequences, outputs).useless is useless


def test_masked_steps_do_not_widen():
    """A masked step of 2^24 - (2^24 - 1) repeats the output; its bound is that of the output."""
    layer = rp.SimpleRNN([[1.0], [-1.0]], [[0.0]], activation="linear", dtype="float32")
    x = np.array([[[3.0, 1.0], [2.0**24, 2.0**24 - 1]]])
    outputs = np.array([[[2.0], [2.0]]])
    found = fit_in(SINGLE, layer, Sequences.of(layer, x, [[True, False]]), outputs)
    assert (found.max_ratio, found.useless) == (0, False)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_steps_from_observed_states(size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    dropout = Dropout(np.full((1, 1, 1), 4.0))
    layer, sequences, outputs = halving(initial_state=[[8.0]], dropout=dropout)
    seen = outputs + 1
    found = []
    for block, observed in observed_steps(layer, sequences, seen):
        assert np.shares_memory(block.states, observed.states)
        assert block.outputs is observed.outputs
        assert block.inputs.shape == block.projection.shape
        for t in range(len(block.outputs)):
            found.append(
                (
                    block.steps.start + t,
                    block.inputs[t].item(),
                    block.projection[t].item(),
                    block.states[0, t].item(),
                    block.outputs[t].item(),
                )
            )
    # The projection is that of inputs times 4.
    assert found == [(0, 1, 4, 8, 2), (1, 2, 8, 2, 3.5), (2, 4, 16, 3.5, 6.25)]


def numbers(*shape):
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


def call(kind=rp.SimpleRNN, mask=None):
    """Three samples of four timesteps."""
    width = len(kind.GATES)
    layer = kind(numbers(2, width), numbers(1, width), dtype="float64")
    states = [numbers(3, 1), 10 * numbers(3, 1)][: len(layer.STATES)]
    dropout = Dropout(numbers(1, 3, 2), None)
    state = states if len(states) > 1 else states[0]
    return layer, Sequences.of(layer, numbers(3, 4, 2), mask, state, dropout), numbers(3, 4, 1)


def test_some_samples_from_the_start():
    layer, sequences, outputs = call()
    s, seen = observed_part(layer, sequences, outputs, np.array([2, 0]), slice(0, 2))
    assert s.inputs.tolist() == [[[17, 18], [19, 20]], [[1, 2], [3, 4]]]
    assert s.initial_state.tolist() == [[[3], [1]]]
    assert s.dropout.inputs.tolist() == [[[5, 6], [1, 2]]]
    assert seen.tolist() == [[[9], [10]], [[1], [2]]]
    assert s.mask is None


def test_some_timesteps_start_from_what_was_observed_before():
    layer, sequences, outputs = call()
    s, seen = observed_part(layer, sequences, outputs.astype(np.float32), slice(1, 3), slice(2, 3))
    assert s.inputs.tolist() == [[[13, 14]], [[21, 22]]]
    assert s.initial_state.tolist() == [[[6], [10]]]
    assert s.initial_state.dtype == np.float64
    assert seen.tolist() == [[[7]], [[11]]]
    assert s.mask is None
    assert s.dropout.inputs.tolist() == [[[3, 4], [5, 6]]]
    s, seen = observed_part(layer, sequences, outputs, slice(0, 1), slice(1, 4))
    assert s.inputs.tolist() == [[[3, 4], [5, 6], [7, 8]]]
    assert s.initial_state.tolist() == [[[1]]]
    assert seen.tolist() == [[[2], [3], [4]]]


@pytest.mark.parametrize(
    ("kind", "mask"), [(rp.LSTM, None), (rp.SimpleRNN, [[True, False, True, True]] * 3)]
)
def test_where_states_are_hidden_the_timesteps_before_are_kept(kind, mask):
    layer, sequences, outputs = call(kind, mask)
    s, seen = observed_part(layer, sequences, outputs, slice(1, 2), slice(2, 3))
    assert s.inputs.tolist() == [[[9, 10], [11, 12], [13, 14]]]
    assert s.initial_state.tolist() == [[[2]], [[20]]][: len(s.initial_state)]
    assert (None if s.mask is None else s.mask.tolist()) == (mask and [mask[0][:3]])
    assert seen.tolist() == [[[5], [6], [7]]]
