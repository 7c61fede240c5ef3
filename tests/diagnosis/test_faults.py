"""The catalogue: every fault is recognised in what a hand-written wrong loop computes."""

import numpy as np
import pytest
from corpus import SIZES, Run, examined, right_run, simulate, weights_of
from corpus_gated import GRU, LSTM
from mistakes import MISTAKES

from rnn_parity.diagnosis.faults import FAULTS, STALE, Computation, faults_of
from rnn_parity.recurrence.sequences import Sequences


def run_for(mistake, size, seed=0, **options):
    size = (*size[:2], size[3], size[3]) if mistake.square else size
    return right_run(size, seed, **{**options, **mistake.options})


def name_of(mistake):
    return f"{mistake.fault} {mistake.detail}"


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("mistake", MISTAKES, ids=name_of)
def test_every_mistake_is_named_and_nothing_else(mistake, size):
    run = run_for(mistake, size)
    check = examined(run, mistake.observed(run))
    assert check.verdict == "diverged"
    assert [cause.fault for cause in check.causes] == [mistake.fault]
    assert mistake.detail in check.causes[0].explanation
    assert check.causes[0].effective_bits > (5 if mistake.fault == "lower-precision" else 20)


@pytest.mark.parametrize("mistake", MISTAKES, ids=name_of)
@pytest.mark.parametrize("options", [{"go_backwards": True, "state": True}, {"mask": True}])
def test_under_other_options(mistake, options):
    run = run_for(mistake, (8, 9, 5, 6), seed=2, **options)
    check = examined(run, mistake.observed(run))
    assert check.verdict == "diverged"
    assert [cause.fault for cause in check.causes] == [mistake.fault]


def test_the_corpus_has_every_fault_and_the_catalogue_no_other():
    own = [fault.id for fault in FAULTS if "SimpleRNN" in fault.layers]
    elsewhere = {STALE.id, "dropout-ignored"}  # in what is here nothing is dropped
    assert {m.fault for m in MISTAKES} | elsewhere == set(own)
    assert len(own) == 23
    assert len({fault.id for fault in FAULTS}) == len(FAULTS)


def test_the_permutations_are_the_true_ones():
    run = right_run((8, 9, 4, 5))
    order = [3, 0, 4, 2, 1]
    check = examined(run, simulate(run)[..., order])
    assert f"{order}" in check.causes[0].explanation
    order = [2, 0, 3, 1]
    check = examined(run, simulate(run.but(kernel=run.kernel[order])))
    assert f"{order}" in check.causes[0].explanation


@pytest.mark.parametrize("kind", [Run, LSTM, GRU])
def test_the_order_of_many_features_is_the_true_one(kind):
    run = right_run((16, 20, 12, 8), kind=kind, activation="relu", mask=True)
    order = [5, 0, 11, 3, 2, 1, 10, 7, 6, 4, 9, 8]
    (cause,) = examined(run, simulate(run.but(kernel=run.kernel[order]))).causes
    assert cause.fault == "features-permuted"
    assert f"{order}" in cause.explanation


def test_a_kernel_whose_numbers_stand_in_the_other_order_of_memory():
    run = right_run((8, 9, 4, 5))
    read = np.ravel(run.kernel, order="F").reshape(run.kernel.shape)
    (cause,) = examined(run, simulate(run.but(kernel=read))).causes
    assert cause.fault == "kernel-transposed"
    assert "in memory" in cause.explanation


def test_weights_that_differ_are_told_with_their_values():
    run = right_run((8, 9, 4, 5))
    bias = run.bias.copy()
    bias[3] = 0.75
    (cause,) = examined(run, simulate(run.but(bias=bias))).causes
    assert cause.fault == "weights-differ"
    told = cause.explanation.partition("bias[3] is ")[2].split()
    assert abs(float(told[0]) - 0.75) < 1e-6
    assert abs(float(told[-1]) - run.bias[3]) < 1e-6


@pytest.mark.parametrize("back", [1, 2, 5])
@pytest.mark.parametrize("options", [{}, {"state": True}], ids=str)
def test_a_stale_final_state(back, options):
    run = right_run((3, 9, 4, 5), **options)
    outputs = simulate(run)
    check = examined(run, outputs, outputs[:, -1 - back])
    assert check.verdict == "diverged"
    assert [cause.fault for cause in check.causes] == ["final-state-stale"]
    assert f"timestep {8 - back}" in check.causes[0].explanation


def test_the_initial_state_returned_and_a_state_from_nowhere():
    run = right_run((3, 9, 4, 5), state=True)
    outputs = simulate(run)
    (cause,) = examined(run, outputs, run.state).causes
    assert "initial state" in cause.explanation
    assert examined(run, outputs, outputs[:, -1] + 1e-3).causes == ()


def test_faults_apply_only_where_the_options_let_them():
    def applicable(**options):
        run = right_run((2, 5, 3, 4), **options)
        layer = weights_of(run)
        sequences = Sequences.of(layer, run.x, run.mask, run.state)
        right = Computation(layer, sequences, run.stateful)
        return {fault.id for fault in faults_of(layer) if next(fault.variants(right), None)}

    plain = applicable()
    assert not plain & {"kernel-transposed", "state-not-carried", "mask-not-reversed"}
    assert {"bias-dropped", "initial-state-ignored", "mask-ignored"} <= plain
    assert not applicable(bias=False) & {"bias-dropped", "bias-doubled"}
    assert "masked-output-not-zeroed" in applicable(zero_output_for_mask=True)
    stateful = applicable(stateful=True)
    assert "state-not-carried" in stateful
    assert "initial-state-ignored" not in stateful
    assert "mask-not-reversed" in applicable(go_backwards=True, mask=True)
    assert "hard-sigmoid-slope" in applicable(activation="hard_sigmoid")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_every_fault_has_a_sentence(fault):
    assert fault.id == fault.id.lower().replace("_", "-")
    assert fault.meaning[0].islower()
    assert not (fault.meaning + fault.remedy).endswith(".")
    assert set(fault.layers) <= {"SimpleRNN", "LSTM", "GRU"}
