"""Pairs of mistakes at a glance: what made the outputs is left, nearly all else is ruled out."""

import numpy as np
import pytest
from corpus import call_of, every_kind, right_run, simulate

from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.diagnosis.causes import tried
from rnn_parity.diagnosis.equations import stacked
from rnn_parity.diagnosis.evidence import FirstStep, SequenceEvidence
from rnn_parity.diagnosis.faults import Computation, faults_of
from rnn_parity.diagnosis.few_units import by_themselves, cut, steps_of_units
from rnn_parity.diagnosis.glance import Glance
from rnn_parity.diagnosis.implied_weights import all_rows
from rnn_parity.verdict.printed import steps_as_written

SIZE = (5, 7, 4, 6)
FEW = np.array([0, 2, 4])
SOME = np.array([1, 4])


def glance_at(reference, outputs, start=0):
    evidence = SequenceEvidence(reference, outputs, FEW, slice(start, start + 2))
    first = FirstStep(FEW, slice(start, start + 2))
    return Glance(reference, outputs, first, lambda f, c: tried(f, c, evidence))


def sociable(reference):
    """The faults in the order of pairs, with what they make of the reference."""
    faults = [fault for fault in faults_of(reference.layer) if not fault.alone]
    return sorted(faults, key=lambda fault: (not fault.first, fault.last))


@every_kind
def test_a_cut_layer_has_the_equations_of_its_units(kind):
    layer, sequences = call_of(right_run(SIZE, kind=kind, state=True))
    if not by_themselves(layer):
        pytest.skip("units depend on each other within a step")
    outputs = np.random.default_rng(1).normal(size=(*sequences.shape, layer.units))
    whole = all_rows(layer, sequences, outputs)
    part = all_rows(cut(layer, SOME), sequences, outputs, SOME)
    np.testing.assert_array_equal(stacked(cut(layer, SOME)), stacked(layer)[:, SOME])
    for i, j in enumerate(SOME.tolist()):
        for a, b in zip(whole.of_unit(j), part.of_unit(i), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@every_kind
def test_units_that_need_each_other_within_a_step_are_known(kind):
    layer = right_run(SIZE, kind=kind).layer()
    assert by_themselves(layer) == (kind != "GRU, reset before")
    softmax = right_run(SIZE, kind=kind, activation="softmax").layer()
    assert not by_themselves(softmax)


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("mask", [False, True])
@every_kind
def test_no_pair_is_ruled_out_that_made_the_outputs(kind, mask, start):
    layer, sequences = call_of(right_run(SIZE, kind=kind, state=True, mask=mask))
    reference = Computation(layer, sequences)
    faults, looked_at = sociable(reference), 0
    for i, one in enumerate(faults):
        for changed in [*one.variants(reference)][-1:]:
            for other in faults[i + 1 :]:
                for both in [*other.variants(changed)][-1:]:
                    if changed.undo is not None and both.undo is not changed.undo:
                        continue
                    outputs = both.computed().astype(np.float32)
                    if not np.isfinite(outputs).all():
                        continue
                    looked_at += 1
                    left = dict(glance_at(reference, outputs, start).left(one, changed, [other]))
                    refuted = left.get(other)
                    assert refuted is not None, (one.id, other.id)
                    assert both.detail not in refuted, (one.id, other.id)
    assert looked_at > 100


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_nearly_all_pairs_are_ruled_out_by_other_outputs(kind):
    run = right_run(SIZE, kind=kind, state=True)
    reference = Computation(*call_of(run))
    outputs = simulate(run)[np.array([1, 2, 3, 4, 0])].astype(np.float32)
    glance, faults = glance_at(reference, outputs), sociable(reference)
    pairs = refuted = 0
    for i, one in enumerate(faults):
        told = [other for other in faults[i + 1 :] if glance.tells(one, other)]
        for changed in one.variants(reference):
            left = dict(glance.left(one, changed, told))
            for other in told:
                details = [both.detail for both in other.variants(changed)]
                pairs += len(details)
                refuted += sum(other not in left or d in left[other] for d in details)
    assert pairs > 100
    assert refuted > 0.8 * pairs


@every_kind
def test_a_cut_layer_has_about_the_bounds_of_its_units(kind):
    layer, sequences = call_of(right_run((3, 9, 70, 80), kind=kind, state=True))
    if not by_themselves(layer):
        pytest.skip("units depend on each other within a step")
    outputs = np.random.default_rng(1).normal(size=(*sequences.shape, layer.units))
    (arithmetic, *_), some = arithmetics(layer.precision), np.array([1, 4, 77])
    whole = steps_as_written(layer, sequences, outputs, arithmetic, None)
    part = steps_of_units(layer, sequences, outputs, some, arithmetic)
    for (block, observed, ball), (same, as_well, own) in zip(whole, part, strict=True):
        assert block.steps == same.steps
        np.testing.assert_array_equal(as_well.outputs, observed.outputs)
        np.testing.assert_allclose(own.value, ball.value[..., some], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(own.radius, ball.radius[..., some], rtol=0.2)
