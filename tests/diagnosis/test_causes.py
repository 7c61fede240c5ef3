"""Diagnosis: pairs of faults, odd shapes and numbers, and silence where nothing explains them."""

import numpy as np
import pytest
from corpus import NARROW, SIZES, examined, right_run, simulate
from mistakes import MISTAKES, OUTSIDE, Mistake, late

from rnn_parity.diagnosis.causes import Evidence, explaining
from rnn_parity.diagnosis.faults import Computation, faults_of
from rnn_parity.recurrence.sequences import Sequences

SIZE = (8, 9, 5, 6)


def causes(run, outputs):
    check = examined(run, outputs)
    assert check.verdict == "diverged"
    return [cause.fault for cause in check.causes]


PAIRS = {
    "bias-dropped+recurrent-kernel-transposed": lambda r: simulate(
        r.but(bias=None, recurrent_kernel=r.recurrent_kernel.T)
    ),
    "bias-dropped+outputs-not-reversed": lambda r: simulate(r.but(bias=None))[:, ::-1],
    "recurrent-kernel-transposed+initial-state-ignored": lambda r: simulate(
        r.but(recurrent_kernel=r.recurrent_kernel.T, state=None)
    ),
    "bias-doubled+activation-swapped": lambda r: simulate(
        r.but(bias=2 * r.bias, activation="relu")
    ),
    "initial-state-ignored+time-shifted": lambda r: late(simulate(r.but(state=None))),
    "recurrent-kernel-transposed+batch-time-swapped": lambda r: simulate(
        r.but(recurrent_kernel=r.recurrent_kernel.T)
    ).swapaxes(0, 1),
    "bias-dropped+units-permuted": lambda r: simulate(r.but(bias=None))[..., [3, 0, 1, 2, 5, 4]],
    "bias-dropped+weights-rounded": lambda r: simulate(
        r.but(
            bias=None,
            kernel=NARROW["bfloat16"](r.kernel),
            recurrent_kernel=NARROW["bfloat16"](r.recurrent_kernel),
        )
    ),
    "recurrent-kernel-transposed+lower-precision": lambda r: simulate(
        r.but(recurrent_kernel=r.recurrent_kernel.T, operand=NARROW["tfloat32"])
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("size", [(8, 9, 5, 6), (4, 40, 12, 6)], ids=str)
def test_two_faults_at_once(pair, size):
    run = right_run(size, state=True)
    found = causes(run, PAIRS[pair](run))
    # TF32 and float16 have the same digits.
    assert {"+".join(sorted(f.split("+"))) for f in found} == {"+".join(sorted(pair.split("+")))}


@pytest.mark.parametrize("size", [SIZE, (9, 9, 5, 6)], ids=str)
def test_swapped_axes_of_any_shape(size):
    run = right_run(size)
    assert causes(run, simulate(run).swapaxes(0, 1)) == ["batch-time-swapped"]


@pytest.mark.parametrize("shape", [(8, 9, 7), (9, 9, 6), (8, 10, 6), (3,), (), (8, 9, 6, 1)])
def test_shapes_that_nothing_explains(shape):
    assert causes(right_run(SIZE), np.ones(shape, np.float32)) == []


def test_an_output_too_many_and_one_too_few():
    run = right_run(SIZE, state=True)
    outputs = simulate(run)
    with_state = np.concatenate([run.state[:, None], outputs], axis=1)
    assert causes(run, with_state) == ["time-shifted"]
    assert causes(run, outputs[:, 1:]) == ["time-shifted"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(value):
    run = right_run(SIZE)
    wrong = simulate(run.but(bias=None))
    wrong[2, 6, 1] = value
    check = examined(run, wrong)
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 0)
    assert [cause.fault for cause in check.causes] == ["bias-dropped"]
    wrong[3, 0, 1] = value  # from the first timestep on: the other samples tell
    assert causes(run, wrong) == ["bias-dropped"]
    wrong[:, 0] = value
    assert causes(run, wrong) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_right_up_to_a_number_that_is_not_finite_has_no_cause(value):
    run = right_run(SIZE)
    outputs = simulate(run)
    outputs[2, 6, 1] = value
    check = examined(run, outputs)
    first = check.first_divergence
    assert (check.verdict, check.causes) == ("diverged", ())
    assert (first.timestep, first.batch, first.unit) == (6, 2, 1)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", OUTSIDE)
def test_mistakes_outside_the_catalogue_have_no_cause(name, size):
    run = right_run(size)
    check = examined(run, Mistake("", OUTSIDE[name]).observed(run))
    assert check.verdict == "diverged"
    assert check.causes == ()
    assert "none of the" in check.summary


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softplus"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_the_same_of_other_activations(name, activation):
    run = right_run((8, 30, 10, 12), 1, activation, mask=name != "other batch")
    if name == "one timestep skipped":
        run = run.but(mask=None)
    outputs = Mistake("", OUTSIDE[name]).observed(run)
    if np.abs(outputs - simulate(run)).max() > 1e-4:
        assert causes(run, outputs) == []


def test_what_other_weights_would_fit_is_said():
    run = right_run((32, 28, 32, 16))
    scaled = examined(run, simulate(run.but(kernel=run.kernel * np.float32(0.999))))
    assert "other values in kernel would" in scaled.summary
    assert {w.weight for w in scaled.implied_weights} == {"kernel"}
    for w in scaled.implied_weights:
        assert abs(w.implied - 0.999 * w.expected) < 1e-6
    noisy = examined(run, Mistake("", OUTSIDE["noise of 1e-2"]).observed(run))
    assert "no other weights would" in noisy.summary
    assert noisy.implied_weights is None


def test_equal_fits_of_one_fault_stand_together():
    run = right_run((4, 9, 5, 6), activation="tanh")
    (cause,) = examined(run, simulate(run.but(activation="relu"))).causes
    assert cause.fault == "activation-swapped"
    # No argument reaches 6 here.
    assert "relu" in cause.explanation
    assert "relu6" in cause.explanation


def test_no_cause_of_a_right_run():
    for mistake in MISTAKES:
        run = right_run((4, 9, 5, 5), **mistake.options)
        check = examined(run, simulate(run))
        assert (check.verdict, check.causes) == ("parity", ())


@pytest.mark.parametrize(("alone", "count"), [(0.4, 0), (100.0, 1)])
def test_a_second_fault_must_be_closer_by_far(alone, count):
    run = right_run(SIZE)
    layer = run.layer()
    right = Computation(layer, Sequences.of(layer, run.x))
    seen = Evidence(simulate(run), np.arange(3), slice(0, 9))
    one, other, *_ = faults_of(layer)
    pair = iter([((one, other), right, ("", ""))])
    assert len(explaining(pair, seen, {one: alone, other: 1e6})) == count
