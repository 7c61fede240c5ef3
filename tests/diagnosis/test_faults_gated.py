"""The catalogue for LSTM and GRU: every fault is recognised in what a wrong loop computes."""

from itertools import permutations

import numpy as np
import pytest
from corpus import examined, right_run, simulate
from corpus_gated import GRU, LSTM
from mistakes_gated import AFTER, BEFORE, KINDS

from rnn_parity.diagnosis.faults import STALE, Computation, faults_of
from rnn_parity.diagnosis.faults.states import state_causes
from rnn_parity.recurrence.sequences import Sequences

SIZES = [(2, 5, 3, 4), (16, 20, 12, 8)]
CASES = [
    pytest.param(kind, options, mistake, id=f"{name}: {mistake.fault} {mistake.detail}")
    for name, (kind, options, mistakes, _) in KINDS.items()
    for mistake in mistakes
]


def run_for(kind, mistake, size, seed=0, **options):
    size = (*size[:2], size[3], size[3]) if mistake.square else size
    return right_run(size, seed, kind=kind, **{**options, **mistake.options})


def named(run, outputs):
    check = examined(run, outputs)
    assert check.verdict == "diverged"
    return check.causes


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("kind", "options", "mistake"), CASES)
def test_every_mistake_is_named_and_nothing_else(kind, options, mistake, size):
    run = run_for(kind, mistake, size, **options)
    causes = named(run, mistake.observed(run))
    assert [cause.fault for cause in causes] == [mistake.fault]
    assert mistake.detail in causes[0].explanation
    assert causes[0].effective_bits > (5 if mistake.fault == "lower-precision" else 20)


OTHER_OPTIONS = [
    {"mask": True, "state": True, "go_backwards": True},
    {"mask": True, "zero_output_for_mask": True, "recurrent_activation": "hard_sigmoid"},
    {"activation": "relu", "state": True},
]


@pytest.mark.parametrize("others", OTHER_OPTIONS, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_under_other_options(name, others):
    kind, options, mistakes, _ = KINDS[name]
    wrong = []
    for seed, mistake in enumerate(mistakes):
        run = run_for(kind, mistake, (8, 9, 5, 6), seed, **options, **others)
        outputs = mistake.observed(run)
        # Another activation may be the layer's own; the bound of bfloat16 may be too wide for such
        # small numbers to be of use.
        if np.array_equal(outputs, simulate(run)) or mistake.detail == "computed in bfloat16":
            continue
        fault = mistake.fault
        if {run.recurrent_activation, mistake.detail} == {"hard_sigmoid", "hard_sigmoid_keras2"}:
            fault = "hard-sigmoid-slope"
        found = [cause.fault for cause in named(run, outputs)]
        wrong += [(fault, mistake.detail, found)] if found != [fault] else []
    assert wrong == []


@pytest.mark.parametrize("name", KINDS)
def test_the_corpus_has_every_fault_and_the_catalogue_no_other(name):
    kind, options, mistakes, _ = KINDS[name]
    known = {fault.id for fault in faults_of(right_run((2, 3, 4, 5), kind=kind, **options).layer())}
    only_after = {"recurrent-bias-dropped", "recurrent-bias-not-reset"} & known
    found = {m.fault for m in mistakes} | {STALE.id, "dropout-ignored"}
    assert found | (only_after if options == BEFORE else set()) == known


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_every_order_of_the_gates_is_told(kind):
    run = right_run((4, 5, 3, 4), kind=kind, mask=True)
    for order in permutations(kind.ORDER):
        outputs = simulate(run.but(order="".join(order)))
        if "".join(order) == kind.ORDER:
            assert examined(run, outputs).verdict == "parity"
            continue
        (cause,) = named(run, outputs)
        assert cause.explanation.endswith(f"in the order {', '.join(order)}")


def test_gates_in_another_order_without_a_bias():
    run = right_run((4, 5, 3, 4), kind=LSTM, bias=False)
    (cause,) = named(run, simulate(run.but(order="iofc")))
    assert cause.fault == "gates-permuted"


def test_the_one_that_keras_adds_to_the_forget_gates_bias():
    run = right_run((4, 9, 3, 4), kind=LSTM)
    bias = np.zeros_like(run.bias)
    bias[4:8] = 1
    run = run.but(bias=bias)
    assert {cause.fault for cause in named(run, simulate(run.but(bias=0 * bias)))} == {
        "forget-bias-missing",
        "bias-dropped",
    }
    assert {cause.fault for cause in named(run, simulate(run.but(bias=2 * bias)))} == {
        "forget-bias-doubled",
        "bias-doubled",
    }


@pytest.mark.parametrize("s", ["sigmoid", "hard_sigmoid", "hard_sigmoid_keras2"])
@pytest.mark.parametrize("options", [AFTER, BEFORE], ids=str)
def test_an_inverted_update_gate_of_other_activations(s, options):
    run = right_run((4, 9, 3, 4), kind=GRU, recurrent_activation=s, state=True, **options)
    (cause,) = named(run, simulate(run.but(inverted=True)))
    assert cause.fault == "update-gate-inverted"


def test_a_reset_gate_on_the_other_side_without_a_bias():
    for options in (AFTER, BEFORE):
        run = right_run((4, 9, 3, 4), kind=GRU, bias=False, **options)
        flipped = run.but(reset_after=not run.reset_after)
        (cause,) = named(run, simulate(flipped))
        assert cause.fault == "reset-after-flipped"


def last_states(run):
    """The states `(T, 2, B, H)` after each timestep, h as it was observed."""
    found = []

    class Kept(LSTM):
        def step(self, x, states):
            found.append(np.stack(LSTM.step(self, x, states)))
            return found[-1]

    outputs = simulate(Kept(**vars(run)))
    return outputs, np.stack(found)


def returned(run, outputs, *states):
    layer = run.layer()
    right = Computation(layer, Sequences.of(layer, run.x, run.mask, run.state))
    found = state_causes(right, outputs, states)
    return [(cause.fault, cause.explanation.partition(": ")[2]) for cause in found]


def test_final_states_that_are_not_those_of_the_last_output():
    run = right_run((3, 9, 4, 5), kind=LSTM, state=True)
    y, states = last_states(run)
    h, c = states[-1]
    assert returned(run, y, h, c) == []
    assert returned(run, y, c, h) == [("states-swapped", "")]
    assert returned(run, y, h, states[6, 1]) == [(STALE.id, "c is that of timestep 6")]
    both = "h is that of timestep 4 and c is that of timestep 4"
    assert returned(run, y, *states[4]) == [(STALE.id, both)]
    assert returned(run, y, states[7, 0]) == [(STALE.id, "h is that of timestep 7")]
    assert returned(run, y, h, run.state[1]) == [(STALE.id, "c is the initial state")]
    assert returned(run, y, h, c + np.float32(1e-3)) == []
    assert returned(run, y, h, states[6, 1] + np.float32(1e-3)) == []
