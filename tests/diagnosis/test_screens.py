"""What rules causes out early, or makes something once: it changes nothing that is named."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from corpus import call_of, every_kind, examined, right_run, simulate
from own_cells import Three, layer_of, loop

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.diagnosis import evidence as how
from rnn_parity.diagnosis.causes import StepResiduals, explained_share, tried
from rnn_parity.diagnosis.evidence import SequenceEvidence
from rnn_parity.diagnosis.faults import Computation, faults_of, states
from rnn_parity.diagnosis.faults.fault import UNITS, Fault
from rnn_parity.diagnosis.glance import Glance
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.formula import split
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.comparison import AXES, compare_outputs

# Hidden states that the first outputs imply, unit by unit.


class Mixed(Cell):
    """Its hidden state goes through W, and so into all units."""

    GATES = ("i", "g")
    STATES = ("h", "c")

    @staticmethod
    def formula(x, h, c, U, W, b, a, s):
        i, g = split(x @ U + b, 2)
        W_i, W_g = split(W, 2)
        c = s(i + h @ W_i) * c + a(g + c @ W_g)
        return a(c), c

    @staticmethod
    def step(n, x, h, c):
        i, g = (x @ U + b for U, b in zip(n.U, n.b, strict=True))
        c = n.s(i + h @ n.W[0]) * c + n.a(g + c @ n.W[1])
        return n.a(c), n.a(c), c


def hidden_states(kind, seed=3):
    """A layer, its sequences from a known h and hidden states of zeros, what it puts out from
    others, and these `(S, B, H)`."""
    rng = np.random.default_rng(seed)
    layer = layer_of(kind, rng, units=7)
    first = rng.normal(size=(len(kind.STATES), 3, 7)) * 0.4
    x = rng.normal(size=(3, 12, 3))
    known = first * (np.arange(len(first)) == 0)[:, None, None]
    if kind is rp.LSTM:
        outputs = rp.replay(layer, x, initial_state=tuple(first)).outputs
    else:
        outputs, _ = loop(layer, x, [*first], dtype="float64")
    return layer, Sequences(x, None, known), outputs, first


@pytest.mark.parametrize("kind", [rp.LSTM, Three])
def test_hidden_states_of_each_unit_by_itself_are_those_of_all_together(kind, monkeypatch):
    layer, sequences, outputs, first = hidden_states(kind)
    alone = states.implied_states(layer, sequences, outputs, first=1)
    np.testing.assert_allclose(alone.states, first, atol=1e-7)
    monkeypatch.setattr(states, "by_themselves", lambda layer: False)
    together = states.implied_states(layer, sequences, outputs, first=1)
    np.testing.assert_allclose(alone.states, together.states, atol=1e-7)
    assert alone.determined.tolist() == together.determined.tolist() == [True] * 3


def test_hidden_states_that_show_in_all_units_are_implied_together():
    layer, sequences, outputs, first = hidden_states(Mixed)
    found = states.implied_states(layer, sequences, outputs, first=1)
    np.testing.assert_allclose(found.states, first, atol=1e-7)


def test_an_unknown_h_shows_in_all_units():
    layer, sequences, outputs, first = hidden_states(rp.LSTM)
    unknown = replace(sequences, initial_state=first + 0.01 * np.cos(40 * first))
    found = states.implied_states(layer, unknown, outputs)
    # From there, that of the first sample takes more steps than are made.
    assert found.determined[1:].all()
    np.testing.assert_allclose(found.states[:, 1:], first[:, 1:], atol=1e-6)


def test_a_state_of_one_unit_that_shows_nowhere_is_not_determined():
    layer, sequences, outputs, _ = hidden_states(rp.LSTM)
    bias = layer.bias.copy()
    bias[7 + 2] = -800.0  # the forget gate of unit 2 lets nothing through
    layer = layer.changed(bias=bias)
    outputs = rp.replay(layer, sequences.inputs, initial_state=tuple(sequences.initial_state))
    found = states.implied_states(layer, sequences, outputs.outputs, first=1)
    assert not found.determined.any()


# Inputs in another order, which are made once.


def of_inputs(kind="LSTM", **options):
    run = right_run((6, 8, 5, 4), kind=kind, **options)
    reference = Computation(*call_of(run))
    seen = SequenceEvidence(reference, simulate(run), np.arange(3), slice(0, 8))
    return reference, seen, [f for f in faults_of(reference.layer) if f.reach == "inputs"]


def arrays_of(variants):
    """What variants are made of: their details, and all of their arrays."""
    own = [vars(v.sequences) for v in variants]
    return [v.detail for v in variants], [[s["inputs"], s["mask"], s["initial_state"]] for s in own]


def assert_alike(variants, others):
    (details, arrays), (as_well, expected) = map(arrays_of, (variants, others))
    assert details == as_well
    for own, other in zip(arrays, expected, strict=True):
        for a, b in zip(own, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", [{}, {"mask": True, "state": True, "go_backwards": True}])
@every_kind
def test_what_is_kept_of_the_inputs_is_what_is_made_for_other_weights(kind, options):
    reference, seen, faults = of_inputs(kind, **options)
    changed = reference.layer_but("its bias", bias=2 * reference.layer.bias)
    made = 0
    for fault in faults:
        kept = [*tried(fault, changed, seen)]
        assert_alike(kept, [*fault.tried(changed, seen.outputs, True)])
        assert all(one.layer is changed.layer for one in kept)
        again = [*tried(fault, reference, seen)]
        assert all(a.sequences is b.sequences for a, b in zip(kept, again, strict=True))
        made += len(kept)
    assert made > 4


def test_of_other_inputs_nothing_is_kept():
    reference, seen, faults = of_inputs()
    backwards = reference.sequences_but("", inputs=reference.sequences.inputs[:, ::-1])
    for fault in faults:
        [*tried(fault, reference, seen)]
        own = [*tried(fault, backwards, seen)]
        assert_alike(own, [*fault.tried(backwards, seen.outputs, True)])


def test_of_a_stateful_layer_its_own_mistakes_are_tried():
    reference, seen, faults = of_inputs(state=True)
    stateful = replace(reference, stateful=True)
    for fault in faults:
        [*tried(fault, reference, seen)]
        own = [*tried(fault, stateful, seen)]
        assert_alike(own, [*fault.tried(stateful, seen.outputs, True)])


def test_large_inputs_are_not_kept(monkeypatch):
    monkeypatch.setattr(how, "KEPT_INPUTS", 6 * 8 * 5 * 4 - 1)
    reference, seen, faults = of_inputs()
    assert reference.sequences.inputs.dtype == np.float32
    assert sum(len([*tried(fault, reference, seen)]) for fault in faults) > 4
    assert not seen.kept


# Another bias, by a few units.


@pytest.mark.parametrize("which", ["all of it", "that of unit 17"])
@every_kind
def test_another_bias_of_many_units_is_named(kind, which):
    run = right_run((8, 30, 6, 24), kind=kind)
    bias = run.bias.copy()
    units = slice(None) if which == "all of it" else slice(17, None, 24)
    bias[..., units] += (0.2 * np.cos(9 * bias))[..., units].astype(np.float32)
    check = examined(run, simulate(run.but(bias=bias)))
    assert "bias-differs" in [cause.fault for cause in check.causes]


# What steps follow, and which of them are off.


def shared_of(given, residual):
    return explained_share(StepResiduals(residual, residual, given, {}))


def test_the_share_of_residuals_that_is_explained():
    rng = np.random.default_rng(0)
    given = rng.normal(size=(40, 5, 6)) * [1e-9, 1, 1, 1e9, 1, 1]
    given[..., 4] = given[..., 1]  # twice the same
    given[..., 2] = 0
    noise = rng.normal(size=(40, 5, 3))
    law = given[..., [0, 1, 3]] @ np.diag([1e9, 2, 1e-9])
    assert shared_of(given, law) == pytest.approx(1, abs=1e-9)
    assert shared_of(given, noise) == pytest.approx(0, abs=0.05)
    r = (law + noise).reshape(200, 3)
    q, _ = np.linalg.qr(given.reshape(200, 6)[:, [0, 1, 3, 5]] / [1e-9, 1, 1e9, 1])
    left = r - q @ (q.T @ r)
    expected = 1 - (left**2).sum() / (r**2).sum() * 200 / (200 - 6)
    assert shared_of(given, law + noise) == pytest.approx(expected, abs=1e-9)


def one_wrong_sample(kind):
    run = right_run((20, 12, 5, 24), kind=kind)
    outputs = simulate(run)
    outputs[7, 9:] = outputs[6, 9:]
    return run, outputs


@every_kind
def test_of_printed_numbers_what_is_off_is_beyond_their_digits(kind):
    run, outputs = one_wrong_sample(kind)
    check = examined(run, outputs.astype(np.float64).round(4))
    assert any("in 1 of 20 samples (7)" in note for note in check.notes)


@every_kind
def test_what_is_off_is_told_of_the_finite_part(kind):
    run, outputs = one_wrong_sample(kind)
    outputs[3, 11, 2] = np.nan
    check = examined(run, outputs)
    assert any("in 1 of 20 samples (7), in 2 of 11 timesteps" in note for note in check.notes)


@pytest.mark.parametrize("mask", [False, True])
@every_kind
def test_residuals_of_some_units_are_those_of_the_whole_layer(kind, mask):
    run = right_run((3, 7, 4, 80), kind=kind, mask=mask)
    reference = Computation(*call_of(run))
    outputs = np.random.default_rng(0).permutation(simulate(run))
    arithmetic = arithmetics(reference.layer.precision)[-1]
    beyond = compare_outputs(reference.layer, reference.sequences, outputs, arithmetic).beyond
    whole = StepResiduals.of(reference, outputs)
    part = StepResiduals.of(reference, outputs, beyond)
    for name in AXES:
        np.testing.assert_array_equal(part.off[name], whole.off[name])
    some = np.linspace(0, 79, part.residual.shape[2]).astype(int)
    assert len(some) == (80 if mask or "before" in kind else 64)
    np.testing.assert_allclose(part.residual, whole.residual[..., some], atol=1e-12)
    np.testing.assert_allclose(part.size, whole.size[..., some], atol=1e-12)
    np.testing.assert_array_equal(part.given, whole.given)


# Pairs of mistakes, of all variants of one of them at once.


@pytest.mark.parametrize("options", [{}, {"mask": True, "state": True}])
@every_kind
def test_all_variants_at_once_are_ruled_out_as_each_of_them_is(kind, options, monkeypatch):
    run = right_run((6, 8, 5, 20), kind=kind, **options)
    reference = Computation(*call_of(run))
    outputs = np.roll(simulate(run), 1, axis=0)
    seen = SequenceEvidence(reference, outputs, np.arange(3), slice(0, 8))
    known = partial(tried, evidence=seen)
    at_once, by_itself = (Glance(reference, outputs, seen.first, known) for _ in range(2))
    monkeypatch.setattr(by_itself, "all_with", lambda one, later: {})
    faults = [fault for fault in faults_of(reference.layer) if not fault.alone]
    faults.sort(key=lambda fault: (not fault.first, fault.last))
    for i, one in enumerate(faults):
        for changed in tried(one, reference, seen):
            others = faults[i + 1 :]
            expected = by_itself.left(one, changed, others)
            assert at_once.left(one, changed, others) == expected, (one.id, changed.detail)
    assert at_once.of_variants or "before" in kind


def test_variants_of_one_name_are_told_apart():
    run = right_run((6, 8, 5, 20), kind="LSTM")
    reference = Computation(*call_of(run))

    def variants(c):
        return (c.layer_but("larger", kernel=times * c.layer.kernel) for times in (2, 3))

    larger, (twice, thrice) = Fault("larger", "", variants, reach=UNITS), variants(reference)
    (dropped,) = (fault for fault in faults_of(reference.layer) if fault.id == "bias-dropped")
    outputs = simulate(run.but(kernel=2 * run.kernel, bias=0 * run.bias))
    seen = SequenceEvidence(reference, outputs, np.arange(3), slice(0, 8))
    glance = Glance(reference, outputs, seen.first, partial(tried, evidence=seen))
    assert glance.left(larger, twice, [dropped]) == [(dropped, set())]
    assert glance.left(larger, thrice, [dropped]) == []
