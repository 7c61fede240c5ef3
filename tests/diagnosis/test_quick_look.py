"""The quick look: the scores of the equations, by the formula backwards; where it has no way."""

from dataclasses import replace

import numpy as np
import pytest
from corpus import call_of, every_kind, right_run, simulate
from own_cells import Averaged, Leaky, Minimal, Three, layer_of

import rnn_parity as rp
from rnn_parity.diagnosis import causes
from rnn_parity.diagnosis import implied_weights as implied
from rnn_parity.diagnosis.faults import Computation
from rnn_parity.diagnosis.quick_look import NoQuickLookError, Values, squared_scores
from rnn_parity.recurrence.cells import GRU, LSTM, PeepholeLSTM, SimpleRNN
from rnn_parity.recurrence.precision import FORMATS
from rnn_parity.recurrence.sequences import Dropout, Sequences

KINDS = {
    **{kind.__name__: (kind, {}) for kind in (SimpleRNN, LSTM, GRU)},
    **{kind.__name__: (kind, {}) for kind in (Minimal, Three)},
    "GRU before": (GRU, {"reset_after": False}),
}


def quiet(layer, sequences, outputs):
    """Whether a quick look shows no weight, so that the equations need not be set up."""
    count = implied.quick_count(layer, sequences)
    found = implied.loud_units(layer, sequences, outputs, count)
    return found is not None and not found.size


def observed(kind, options, mask):
    """A layer, what it is given, and its outputs with errors of a few roundings."""
    rng = np.random.default_rng(5)
    layer = layer_of(kind, rng, dtype="float32", **options)
    keep = rng.random((6, 40)) > 0.2 if mask else None
    states = rng.uniform(-1, 1, (len(layer.STATES), 6, layer.units))
    state = list(states) if len(states) > 1 else states[0]
    sequences = Sequences.of(layer, rng.normal(size=(6, 40, 3)), keep, state)
    outputs = rp.replay(layer, sequences.inputs, keep, state).outputs
    shown = keep if mask else np.ones((6, 40), bool)
    unit = layer.precision.unit_roundoff
    outputs += unit * rng.normal(size=outputs.shape) * np.abs(outputs) * shown[..., np.newaxis]
    return layer, sequences, outputs


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_the_scores_are_those_of_the_equations(name, mask):
    """By first-order numbers forwards, each step over the same bound."""
    layer, sequences, outputs = observed(*KINDS[name], mask)
    with np.errstate(all="ignore"):
        values = Values(layer, sequences, outputs)
        bound = np.broadcast_to(values.error(values.roots[0]), values.residual.shape)
        even = implied.all_rows(layer, sequences, outputs).even(bound.reshape(40, 6, -1))
        expected = np.sort(implied.scores(even).ravel())
        squares = squared_scores(layer, sequences, outputs)
        found = np.sort(np.sqrt(np.concatenate([one.ravel() for one in squares])))
    # A bias may be among them for x and for h: the same numbers, as a set.
    assert expected.max() > 1
    for some, others in ((expected, found), (found, expected)):
        distance = np.abs(some[:, np.newaxis] - others).min(axis=1)
        assert distance.max() < 2e-3, distance.max()


@every_kind
def test_the_bounds_are_about_those_of_the_steps(kind):
    """But for a factor of each unit, which scores do not know."""
    run = right_run((4, 30, 20, 16), kind=kind)
    layer, sequences = call_of(run)
    outputs = simulate(run)
    with np.errstate(all="ignore"):
        values = Values(layer, sequences, outputs)
        about = values.error(values.roots[0]).reshape(30, 4, 16)
        share = about / implied.step_bounds(layer, sequences, outputs)
    share /= np.median(share, axis=(0, 1))
    assert np.std(share) < 0.25


def test_there_is_no_quick_look_at_everything():
    run = right_run((2, 6, 3, 2), kind="LSTM")
    layer, sequences = call_of(run)
    y = simulate(run)
    squared_scores(layer, sequences, y)
    dropout = Dropout(np.ones((4, 2, 3)), None)
    narrow = layer.changed(operands=FORMATS["bfloat16"])
    x, rng = np.ones((2, 6, 3)), np.random.default_rng(0)
    others = [(layer, replace(sequences, dropout=dropout), y), (narrow, sequences, y)]
    for kind in (PeepholeLSTM, Averaged, Leaky):  # their hidden states are no `p c + q`, or used
        own = layer_of(kind, rng)
        others.append((own, Sequences.of(own, x), rp.replay(own, x).outputs))
    for one in others:
        with pytest.raises(NoQuickLookError):
            squared_scores(*one)
        assert not quiet(*one)


@every_kind
def test_a_right_run_is_quiet_and_others_are_not(kind):
    run = right_run((8, 60, 16, 16), 1, kind=kind)
    layer, sequences = call_of(run)
    assert quiet(layer, sequences, simulate(run))
    kernel = run.kernel.copy()
    kernel[3, 5] += np.float32(1e-5)
    assert not quiet(layer, sequences, simulate(run.but(kernel=kernel)))
    rounded = run.but(kernel=run.kernel.round(5), recurrent_kernel=run.recurrent_kernel.round(5))
    assert not quiet(layer, sequences, simulate(rounded))


@every_kind
def test_what_is_no_number_is_not_quiet(kind):
    run = right_run((8, 60, 16, 16), kind=kind)
    layer, sequences = call_of(run)
    y = simulate(run)
    x = run.x.copy()
    x[0, 5, 0] = np.nan
    assert not quiet(layer, replace(sequences, inputs=x), y)


@every_kind
def test_a_large_layer_is_looked_at_in_part(kind, monkeypatch):
    """Where it would cost much: one step in 16, and no fewer than 96."""
    run = right_run((8, 60, 16, 16), kind=kind)
    layer, sequences = call_of(run)
    seen = []
    monkeypatch.setattr(implied, "CHEAP_WORK", 0)
    monkeypatch.setattr(
        implied, "squared_scores", lambda *a: (seen.append(a[2].shape[:2]), squared_scores(*a))[1]
    )
    assert quiet(layer, sequences, simulate(run))
    monkeypatch.setattr(implied, "QUICK_SHARE", 4)
    assert quiet(layer, sequences, simulate(run))
    assert seen == [(8, 12), (8, 15)]


@every_kind
def test_few_steps_are_not_quiet(kind):
    """Whether all weights are rounded, the scores of so few do not tell."""
    for size, enough in (((4, 31, 3, 3), False), ((4, 32, 3, 3), True)):
        run = right_run(size, kind=kind)
        layer, sequences = call_of(run)
        assert quiet(layer, sequences, simulate(run)) is enough
    copies = run.but(x=np.repeat(run.x[:1], 4, axis=0))
    assert not quiet(*call_of(copies), simulate(copies))


@pytest.mark.parametrize(
    ("steps", "looked_at"), [(3, 256), (31, 256), (32, 256), (40, 320), (41, 256)]
)
def test_all_steps_are_looked_at_where_these_are_hardly_more(steps, looked_at):
    layer, sequences = call_of(right_run((8, steps, 3, 3)))
    assert implied.quick_count(layer, sequences) == looked_at
    assert implied.quick_steps(layer, sequences) == looked_at


def test_nobody_confirms_one_sample(monkeypatch):
    """Without a probe, nothing is asked of it."""
    run = right_run((1, 200, 8, 8))
    layer, sequences = call_of(run)
    reference = Computation(layer, sequences, stateful=False)
    monkeypatch.setattr(implied, "doubtful_units", None)
    assert causes.suspicion(reference, simulate(run)) is None
