"""Cells of one's own in `rp.replay` and `rp.compare`, against loops by hand."""

import numpy as np
import pytest
from own_cells import Averaged, Leaky, Minimal, Three, layer_of, loop

import rnn_parity as rp
from rnn_parity.recurrence.cells import PeepholeLSTM
from rnn_parity.recurrence.sequences import NO_DROPOUT, Dropout, Sequences
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

pytestmark = pytest.mark.filterwarnings("error")
KINDS = (Minimal, Three, Averaged, Leaky)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_case = pytest.mark.parametrize(
    ("masked", "options"),
    [
        (False, {}),
        (True, {}),
        (True, {"zero_output_for_mask": True}),
        (True, {"go_backwards": True}),
        (False, {"go_backwards": True}),
    ],
)


class Case:
    """A random layer of a kind, its data in float32, and what its loop computes."""

    def __init__(self, kind, masked=False, dtype="float32", samples=4, steps=30, **options):
        rng = np.random.default_rng(1)
        self.layer = layer_of(kind, rng, dtype=dtype, **options)
        self.x = rng.normal(size=(samples, steps, 3)).astype(np.float32)
        self.mask = rng.random((samples, steps)) < 0.7 if masked else None
        self.states = list(rng.uniform(-1, 1, (len(kind.STATES), samples, 4)).astype(np.float32))

    def computed(self, dtype="float32", **others):
        return loop(self.layer, self.x, self.states, self.mask, dtype, **others)

    def compared(self, outputs, states=None):
        """The report of these outputs; a single state is given as such."""
        alone = len(self.states) == 1
        states = states[0] if alone and states is not None else states
        initial = self.states[0] if alone else self.states
        return rp.compare(self.layer, self.x, outputs, states, self.mask, initial)


@every_kind
@every_case
def test_the_replay_is_the_loop(kind, masked, options):
    case = Case(kind, masked, "float64", **options)
    outputs, states = case.computed("float64")
    initial = case.states if len(states) > 1 else case.states[0]
    trace = rp.replay(case.layer, case.x, case.mask, initial)
    np.testing.assert_allclose(trace.outputs, outputs, rtol=0, atol=1e-13)
    final = trace.final_state if len(states) > 1 else [trace.final_state]
    assert len(final) == len(states)
    for mine, theirs in zip(final, states, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-13)


@every_kind
@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loop_is_in_parity_and_a_wrong_number_is_not(kind, masked, options, dtype):
    case = Case(kind, masked, dtype, **options)
    outputs, states = case.computed(dtype)
    report = case.compared(outputs, states)
    assert report.verdict == "parity"
    assert bool(report)
    assert [row.name for row in report.checks[0].final_state] == list(kind.STATES)
    counted = np.ones((4, 30), bool) if case.mask is None else case.mask
    if "go_backwards" in options:
        counted = counted[:, ::-1]
    t = 10 + int(counted[2, 10:].argmax())  # one that no mask hides
    outputs[2, t, 1] += 1e-4
    report = case.compared(outputs)
    check = report.checks[0]
    assert not bool(report)
    first = check.first_divergence
    assert (check.verdict, first.timestep, first.batch, first.unit) == ("diverged", t, 2, 1)


@every_kind
def test_each_final_state_is_held_against_its_own(kind):
    case = Case(kind)
    outputs, states = case.computed()
    for k, name in enumerate(kind.STATES):
        wrong = [state.copy() for state in states]
        wrong[k][3, 2] += np.float32(1e-4)
        check = case.compared(outputs, wrong).checks[0]
        assert check.verdict == "diverged"
        beyond = [row for row in check.final_state if row.max_ratio > 1]
        assert [(row.name, row.batch, row.unit) for row in beyond] == [(name, 3, 2)]


@every_kind
@pytest.mark.parametrize("masked", [False, True])
def test_the_last_output_alone(kind, masked):
    case = Case(kind, masked, steps=12)
    outputs, states = case.computed()
    assert case.compared(outputs[:, -1], states)
    wrong = outputs[:, -1].copy()
    wrong[1, 0] += np.float32(1e-3)
    assert case.compared(wrong, states).verdict == "diverged"
    moved = [state + np.float32(1e-3) for state in states]
    assert case.compared(outputs[:, -1], moved).verdict == "diverged"


@every_kind
def test_dropout_is_a_kernel_with_some_rows_left_out(kind):
    """Of one sample, a mask of 0 and 2 for a gate is a mask of the rows of that gate's kernels."""
    case, rng = Case(kind, samples=1), np.random.default_rng(3)
    masks = [2.0 * (rng.random((len(kind.GATES), 1, n)) < 0.5) for n in (3, 4)]
    rows = [np.repeat(one[:, 0].T, 4, axis=1) for one in masks]
    layer = case.layer
    left_out = {
        "kernel": rows[0] * layer.kernel,
        "recurrent_kernel": rows[1] * layer.recurrent_kernel,
    }
    outputs, states = case.computed(**left_out)
    initial = case.states if len(states) > 1 else case.states[0]
    observed = Observations(outputs, tuple(states))
    for dropout, verdict in ((Dropout(*masks), "parity"), (NO_DROPOUT, "diverged")):
        sequences = Sequences.of(layer, case.x, None, initial, dropout)
        assert judge(layer, sequences, observed, Subject()).check.verdict == verdict


def test_a_long_run_is_in_parity_where_the_output_tells_the_states():
    """Averages that forget little: what rounding adds to them stays, unless outputs tell them."""
    case = Case(Averaged, samples=1, steps=3000)
    case.layer = case.layer.changed(decay=np.float64(np.float32([1, 0.9999, 0.999, 0.5])))
    outputs, states = case.computed()
    check = case.compared(outputs, states).checks[0]
    assert check.verdict == "parity"


def test_peepholes():
    """Those of zeros are an LSTM's; others are told from them, and from each other's gates."""
    rng = np.random.default_rng(2)
    layer = layer_of(PeepholeLSTM, rng, dtype="float32")
    x = rng.normal(size=(3, 20, 3)).astype(np.float32)
    outputs = rp.replay(layer, x).outputs.astype(np.float32)
    assert rp.compare(layer, x, outputs)
    lstm = rp.LSTM(layer.kernel, layer.recurrent_kernel, layer.bias, dtype="float32")
    weights = layer.kernel, layer.recurrent_kernel, layer.bias
    none = PeepholeLSTM(*weights, dtype="float32", peephole=None)
    np.testing.assert_array_equal(rp.replay(lstm, x).outputs, rp.replay(none, x).outputs)
    for other in (np.zeros(12), np.roll(layer.peephole, 4)):
        wrong = rp.replay(layer.changed(peephole=other), x).outputs.astype(np.float32)
        assert rp.compare(layer, x, wrong).verdict == "diverged"
