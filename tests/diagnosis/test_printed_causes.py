"""Causes of printed numbers: half a unit of the last digit is part of every bound."""

import numpy as np
import pytest
from corpus import KINDS, examined, right_run, simulate
from mistakes import transposed

THREE = {
    "bias-dropped": lambda run: run.but(bias=None),
    "recurrent-kernel-transposed": lambda run: transposed("recurrent_kernel")(run, None),
    "inputs-reversed": lambda run: run.but(go_backwards=True),
}
SIZE = (16, 20, 8, 12)


def decimals(y, digits, dtype):
    """As a CSV has them, in float64, or rounded and stored in float32."""
    return np.round(y.astype(float), digits).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("digits", [9, 7, 6, 5, 4, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", THREE)
def test_faults_are_named_with_any_digits(fault, kind, digits, dtype):
    for seed in range(3):
        run = right_run(SIZE, seed, kind=kind)
        check = examined(run, decimals(simulate(THREE[fault](run)), digits, dtype))
        assert check.verdict == "diverged"
        assert [cause.fault for cause in check.causes] == [fault]


@pytest.mark.parametrize("digits", [6, 4, 3])
def test_the_report_says_how_many_digits_it_saw(digits):
    run = right_run(SIZE)
    check = examined(run, decimals(simulate(run.but(bias=None)), digits, float))
    assert f"rounding and {digits} decimals" in check.summary
    assert check.notes == (
        f"the observed numbers were printed with {digits} decimals: %.9g would show more",
        "the ratios of the table are those to rounding alone, without the "
        f"{digits} decimals with which the numbers were printed",
    )


def test_the_first_divergence_is_the_first_beyond_the_printed_digits():
    run = right_run(SIZE)
    wrong = simulate(run)
    wrong[5, 7:, 3] += np.float32(0.01)
    check = examined(run, decimals(wrong, 4, float))
    first = check.first_divergence
    assert (first.timestep, first.batch, first.unit) == (7, 5, 3)
    assert first.bound > 0.5e-4
    assert "4 decimals can explain, first at timestep 7" in check.summary


@pytest.mark.parametrize("kind", ["SimpleRNN", "GRU"])
def test_rounded_weights_are_recognised_in_printed_outputs(kind):
    run = right_run(SIZE, kind=kind)
    short = {
        n: np.round(getattr(run, n).astype(float), 2).astype(np.float32)
        for n in ("kernel", "recurrent_kernel", "bias")
    }
    check = examined(run, decimals(simulate(run.but(**short)), 6, float))
    (cause,) = check.causes
    assert cause.fault == "weights-rounded"
    assert "2 decimals" in cause.explanation


def test_other_weights_are_found_in_printed_outputs():
    run = right_run(SIZE)
    kernel = run.kernel.copy()
    kernel[3, 5] += np.float32(0.25)
    check = examined(run, decimals(simulate(run.but(kernel=kernel)), 6, float))
    (cause,) = check.causes
    assert cause.fault == "weights-differ"
    assert "kernel[3, 5] is" in cause.explanation


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_below_the_digits_is_not_named(kind):
    """What is off by little is explained by everything: nothing is named then."""
    run = right_run((4, 6, 4, 4), kind=kind)
    wrong = decimals(simulate(run), 3, float)
    wrong[1, 2, 0] += 0.002
    check = examined(run, wrong)
    assert check.causes == ()
