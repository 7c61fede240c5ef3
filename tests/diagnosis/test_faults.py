"""The catalogue: every fault is recognised in what a hand-written wrong loop computes."""

from itertools import permutations

import numpy as np
import pytest
from corpus import GATED, LSTM, call_of, every_kind, examined, right_run, simulate
from mistakes import EVERY_MISTAKE, MISTAKES, OF_GRU, gate_block

import rnn_parity as rp
from rnn_parity.diagnosis.catalogue import CATALOGUE
from rnn_parity.diagnosis.faults import FAULTS, STALE, Computation, faults_of
from rnn_parity.diagnosis.faults.states import state_causes

SMALL = (2, 5, 3, 4)
SIZES = {kind: [SMALL, (16, 20, 12, 8)] for kind in GATED}
SIZES["SimpleRNN"] = [SMALL, (32, 28, 32, 16), (4, 200, 48, 64)]


def named(run, outputs, final_state=None):
    check = examined(run, outputs, final_state)
    assert check.verdict == "diverged"
    return check.causes


@pytest.mark.parametrize(("kind", "mistake"), EVERY_MISTAKE)
def test_every_mistake_is_named_and_nothing_else(kind, mistake):
    for size in SIZES[kind]:
        run = mistake.right_run(kind, size)
        (cause,) = named(run, mistake.observed(run))
        assert cause.fault == mistake.fault, size
        assert mistake.detail in cause.explanation
        assert cause.effective_bits > (5 if mistake.fault == "lower-precision" else 20)


OTHER_OPTIONS = [
    {"go_backwards": True, "state": True},
    {"mask": True},
    {"mask": True, "state": True, "go_backwards": True},
    {"mask": True, "zero_output_for_mask": True, "recurrent_activation": "hard_sigmoid"},
    {"activation": "relu", "state": True},
]
HARD = {"hard_sigmoid", "hard_sigmoid_keras2"}


@pytest.mark.parametrize("options", OTHER_OPTIONS, ids=str)
@every_kind
def test_under_other_options(kind, options):
    if kind == "SimpleRNN":
        options = {n: option for n, option in options.items() if n != "recurrent_activation"}
    wrong = []
    for seed, mistake in enumerate(m for m in MISTAKES if kind in m.kinds):
        run = mistake.right_run(kind, (8, 9, 5, 6), seed, **options)
        outputs = mistake.observed(run)
        # Another activation may be the layer's own; the bound of bfloat16 may be too wide for such
        # small numbers to be of use.
        if (
            np.array_equal(outputs, simulate(run))
            or mistake.detail == "computed, or stored, in bfloat16"
        ):
            continue
        own = {getattr(run, "recurrent_activation", None), mistake.detail}
        fault = "hard-sigmoid-slope" if own == HARD else mistake.fault
        found = [cause.fault for cause in named(run, outputs)]
        wrong += [(fault, mistake.detail, found)] if found != [fault] else []
    assert wrong == []


@every_kind
def test_the_corpus_has_every_fault_and_the_catalogue_no_other(kind):
    layer = right_run(SMALL, kind=kind).layer()
    known = {fault.id for fault in faults_of(layer)}
    # In what is here nothing is dropped, and nothing is the half of a Bidirectional.
    elsewhere = {STALE.id, "dropout-ignored", "backward-output-misplaced"}
    if kind == "GRU, reset before":
        elsewhere |= {"recurrent-bias-dropped", "recurrent-bias-not-reset"}
    assert {m.fault for m in MISTAKES if kind in m.kinds} | elsewhere == known
    assert len(known) == {"SimpleRNN": 32, "LSTM": 39, "GRU": 39}[type(layer).__name__]
    assert len({fault.id for fault in FAULTS}) == len(FAULTS)
    assert [fault.id for fault in FAULTS] == [text.id for text in CATALOGUE]


@pytest.mark.parametrize("kind", GATED)
def test_every_order_of_the_gates_is_told(kind):
    run = right_run((4, 5, 3, 4), kind=kind, mask=True)
    for order in permutations(run.ORDER):
        outputs = simulate(run.but(order="".join(order)))
        if "".join(order) == run.ORDER:
            assert examined(run, outputs).verdict == "parity"
            continue
        (cause,) = named(run, outputs)
        assert cause.explanation.endswith(f"in the order {', '.join(order)}")


def test_gates_in_another_order_without_a_bias():
    run = right_run((4, 5, 3, 4), kind="LSTM", bias=False)
    (cause,) = named(run, simulate(run.but(order="iofc")))
    assert cause.fault == "gates-permuted"


def test_the_permutations_are_the_true_ones():
    run = right_run((8, 9, 4, 5))
    order = [3, 0, 4, 2, 1]
    (cause,) = named(run, simulate(run)[..., order])
    assert f"{order}" in cause.explanation
    order = [2, 0, 3, 1]
    (cause,) = named(run, simulate(run.but(kernel=run.kernel[order])))
    assert f"{order}" in cause.explanation


@every_kind
def test_the_order_of_many_features_is_the_true_one(kind):
    run = right_run((16, 20, 12, 8), kind=kind, activation="relu", mask=True)
    order = [5, 0, 11, 3, 2, 1, 10, 7, 6, 4, 9, 8]
    (cause,) = named(run, simulate(run.but(kernel=run.kernel[order])))
    assert cause.fault == "features-permuted"
    assert f"{order}" in cause.explanation


def test_the_one_that_keras_adds_to_the_forget_gates_bias():
    run = right_run((4, 9, 3, 4), kind="LSTM")
    bias = np.zeros_like(run.bias)
    bias[gate_block(run, "f")] = 1
    run = run.but(bias=bias)
    for factor, faults in (
        (0, {"forget-bias-missing", "bias-dropped"}),
        (2, {"forget-bias-doubled", "bias-doubled"}),
    ):
        causes = named(run, simulate(run.but(bias=factor * bias)))
        assert {cause.fault for cause in causes} == faults


@pytest.mark.parametrize("s", ["sigmoid", "hard_sigmoid", "hard_sigmoid_keras2"])
@pytest.mark.parametrize("kind", OF_GRU)
def test_an_inverted_update_gate_of_other_activations(kind, s):
    run = right_run((4, 9, 3, 4), kind=kind, recurrent_activation=s, state=True)
    (cause,) = named(run, simulate(run.but(inverted=True)))
    assert cause.fault == "update-gate-inverted"


# Final states.


@every_kind
@pytest.mark.parametrize("options", [{}, {"state": True}], ids=str)
def test_a_stale_final_state(kind, options):
    run = right_run((3, 9, 4, 5), kind=kind, **options)
    outputs = simulate(run)
    for back in (1, 2, 5):
        (cause,) = (
            named(run, outputs, outputs[:, -1 - back])
            if kind != "LSTM"
            else state_causes(Computation(*call_of(run)), outputs, (outputs[:, -1 - back],))
        )
        assert cause.fault == STALE.id
        assert f"timestep {8 - back}" in cause.explanation


def test_the_initial_state_returned_and_a_state_from_nowhere():
    run = right_run((3, 9, 4, 5), state=True)
    outputs = simulate(run)
    (cause,) = named(run, outputs, run.state)
    assert "initial state" in cause.explanation
    assert named(run, outputs, outputs[:, -1] + np.float32(1e-3)) == ()


def test_final_states_that_are_not_those_of_the_last_output():
    run = right_run((3, 9, 4, 5), kind="LSTM", state=True)
    found = []

    class Kept(LSTM):
        def step(self, x, states):
            found.append(np.stack(LSTM.step(self, x, states)))
            return found[-1]

    y, states = simulate(Kept(**vars(run))), np.stack(found)
    h, c = states[-1]

    def returned(*states):
        causes = state_causes(Computation(*call_of(run)), y, states)
        return [(cause.fault, cause.explanation.partition(": ")[2]) for cause in causes]

    assert returned(h, c) == []
    assert returned(c, h) == [("states-swapped", "")]
    assert returned(h, states[6, 1]) == [(STALE.id, "c is that of timestep 6")]
    both = "h is that of timestep 4 and c is that of timestep 4"
    assert returned(*states[4]) == [(STALE.id, both)]
    assert returned(states[7, 0]) == [(STALE.id, "h is that of timestep 7")]
    assert returned(h, run.state[1]) == [(STALE.id, "c is the initial state")]
    assert returned(h, c + np.float32(1e-3)) == []
    assert returned(h, states[6, 1] + np.float32(1e-3)) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_every_fault_has_a_sentence(fault):
    layer = rp.SimpleRNN([[1.0]], [[1.0]])
    assert fault.id == fault.id.lower().replace("_", "-")
    assert fault.meaning[0].islower()
    assert not (fault.meaning + fault.advice(layer)).endswith(".")
    assert set(fault.layers) <= {"SimpleRNN", "LSTM", "GRU"}
