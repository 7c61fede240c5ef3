"""One call examined whole: which verdict gets a cause, which a sensitivity, which neither."""

import json

import numpy as np
import pytest
from corpus import examined, right_run, simulate

import rnn_parity as rp

SIZE = (8, 9, 5, 6)


def test_parity_has_a_sensitivity_and_no_cause():
    run = right_run(SIZE)
    check = examined(run, simulate(run))
    assert (check.verdict, check.causes, check.implied_weights) == ("parity", (), None)
    assert check.sensitivity.visible


def test_diverged_has_a_cause_in_report_and_json():
    run = right_run(SIZE)
    report = rp.compare(run.layer(), run.x, simulate(run.but(bias=None)))
    assert (report.verdict, report.exit_code) == ("diverged", 1)
    assert "bias-dropped" in str(report)
    (check,) = json.loads(report.to_json())["checks"]
    (cause,) = check["causes"]
    assert cause["fault"] == "bias-dropped"
    assert cause["explanation"] == "the bias is left out"
    assert cause["effective_bits"] > 22
    assert check["sensitivity"] is None


def test_suspect_is_no_success():
    run = right_run((4, 200, 64, 64))
    kernel = run.kernel.copy()
    kernel[3, 7] += np.float32(1e-6)
    report = rp.compare(run.layer(), run.x, simulate(run.but(kernel=kernel)))
    assert report.verdict == "suspect"
    assert "kernel[3, 7]" in str(report)
    check = report.checks[0]
    assert check.max_ratio < 1
    assert check.sensitivity is None


def test_a_state_row_of_right_outputs_is_the_only_stale_one():
    run = right_run(SIZE)
    wrong = simulate(run.but(bias=None))
    check = examined(run, wrong, wrong[:, -2])
    assert [cause.fault for cause in check.causes] == ["bias-dropped"]


def test_the_last_output_alone_gets_a_cause():
    run = right_run(SIZE)
    check = examined(run, simulate(run.but(bias=None))[:, -1])
    assert (check.verdict, check.first_divergence) == ("diverged", None)
    assert [cause.fault for cause in check.causes] == ["bias-dropped"]
    assert "outputs say" not in check.summary


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_layers_are_examined_too(dtype):
    rng = np.random.default_rng(0)
    layer = rp.SimpleRNN(
        rng.normal(size=(5, 6)), rng.normal(size=(6, 6)) / 3, rng.normal(size=6), dtype=dtype
    )
    x = rng.normal(size=(8, 9, 5))
    outputs = layer.precision.round(rp.replay(layer, x).outputs)
    # Steps of the replay are exact; rounding them once is the least that the format does.
    check = rp.compare(layer, x, outputs).checks[0]
    assert check.verdict == "parity"
    assert "bias-dropped" in check.sensitivity.visible
    without = rp.SimpleRNN(layer.kernel, layer.recurrent_kernel, dtype=dtype)
    wrong = layer.precision.round(rp.replay(without, x).outputs)
    check = rp.compare(layer, x, wrong).checks[0]
    assert [cause.fault for cause in check.causes] == ["bias-dropped"]


def test_arrays_are_left_as_they_were():
    run = right_run(SIZE, mask=True, state=True)
    outputs = simulate(run.but(bias=None))
    before = [a.copy() for a in (outputs, run.x, run.mask, run.state)]
    examined(run, outputs)
    for old, new in zip(before, (outputs, run.x, run.mask, run.state), strict=True):
        assert np.array_equal(old, new)


def test_one_number_names_no_mistake_and_rules_none_out():
    run = right_run((1, 1, 1, 1))
    check = examined(run, simulate(run.but(bias=None)))
    assert (check.verdict, check.causes) == ("diverged", ())
    assert check.summary.endswith("; the numbers are too few to name a mistake")
    check = examined(run, np.full((1, 1, 1), 0.123456789))
    assert "none of the" in check.summary
    last = examined(run, simulate(run.but(bias=None))[:, -1])
    assert last.summary.endswith("; the numbers are too few to name a mistake")


def test_a_last_output_whose_bound_is_wide_names_no_mistake():
    """A recurrence that grows: after 150 timesteps the bound of the last output says little."""
    rng = np.random.default_rng(0)
    kernel, recurrent, bias = rng.normal(size=(2, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    recurrent *= 1.3 / np.abs(np.linalg.eigvals(recurrent)).max()
    x = rng.normal(size=(2, 150, 2))
    wrong = rp.replay(rp.SimpleRNN(kernel, recurrent, dtype="float32"), x).outputs[:, -1]
    wrong[0, 0] = 1.5
    layer = rp.SimpleRNN(kernel, recurrent, bias, dtype="float32")
    report = rp.compare(layer, x, wrong)
    assert report.verdict == "diverged"
    assert "; the bound is too wide to name a mistake" in report.summary
    report = rp.compare(layer, x[:, :3], wrong)
    assert "none of the 32 mistakes known for SimpleRNN explains it" in report.summary
