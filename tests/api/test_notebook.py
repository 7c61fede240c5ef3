"""The experiment that this project starts from: a Keras SimpleRNN and its replay by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import copied
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.verdict.judge import state_row

PRINTED = json.loads((Path(__file__).parents[2] / "fixtures/notebook.json").read_text())


def against_the_last_output(name):
    """The row of a printed state held against the last output that Keras printed."""
    state, last = np.array(PRINTED[name]), np.array(PRINTED["keras_last_output"])
    return state_row("h", state, copied(last, Arithmetic(FLOAT32, FLOAT32)), FLOAT32)


def test_the_two_printed_outputs_are_equal():
    row = against_the_last_output("replayed_last_output")
    assert row.max_ratio <= 1
    assert (row.max_deviation, row.max_ulp) == (0, 0)


def test_the_printed_state_is_stale():
    row = against_the_last_output("final_state")
    assert row.max_ratio > 1e5
    # by hand: 0.7152646 + 0.30021602 in unit 8 of sample 0; 0.27696374 - 0.00388835 in unit 12 of
    # sample 1, where neighbours are 2**-32 apart
    assert row.max_deviation == pytest.approx(1.01548062, abs=1e-12)
    assert row.max_ulp == pytest.approx(0.27307539 * 2**32, abs=1)
    assert (row.batch, row.unit) == (1, 12)


def test_the_experiment_itself():
    tf = pytest.importorskip("tensorflow")
    tf.keras.utils.set_random_seed(0)
    inputs = np.random.default_rng(0).random((32, 28, 32)).astype(np.float32)
    layer = tf.keras.layers.SimpleRNN(
        16, activation="tanh", return_sequences=True, return_state=True
    )
    outputs, state = (tensor.numpy() for tensor in layer(inputs))
    report = rp.check(layer, inputs)
    check = report.checks[0]
    assert (report.verdict, report.exit_code, bool(report)) == ("parity", 0, True)
    assert [row.timestep for row in check.timesteps] == list(range(28))
    assert 0 < check.max_deviation < 1e-5
    assert [row.name for row in check.final_state] == ["h"]
    assert not np.any(layer.cell.bias.numpy())
    # what Keras returned when it was called without this tool
    weights = [w.numpy() for w in (layer.cell.kernel, layer.cell.recurrent_kernel)]
    assert rp.compare(rp.SimpleRNN(*weights), inputs, outputs, state)
    np.testing.assert_allclose(rp.replay(layer, inputs).outputs, outputs, atol=1e-5)
    assert rp.compare(rp.SimpleRNN(*weights), inputs, outputs, outputs[:, -2]).exit_code == 1


def test_a_notebook_shows_the_picture_of_a_report():
    weights = rp.SimpleRNN([[0.5, 0.25]], np.eye(2) / 2, [0.1, 0.2], dtype="float32")
    x = np.random.default_rng(0).normal(size=(2, 9, 1)).astype(np.float32)
    y = rp.replay(weights, x).outputs.astype(np.float32)
    right = rp.compare(weights, x, y)
    y[1, 4, 1] += 0.5
    wrong = rp.compare(weights, x, y)
    for report, word in ((right, "PARITY"), (wrong, "DIVERGED")):
        shown = report._repr_html_()
        assert shown.startswith("<svg ")
        assert word in shown
        assert "<details><summary>All numbers</summary><pre>rnn-parity " in shown
        assert "<script" not in shown
    assert "first: timestep 4, sample 1, unit 1" in wrong._repr_html_()


def test_where_nothing_was_checked_a_notebook_shows_the_text():
    report = rp.Report((), notes=("<b>nothing</b> was checked",))
    assert report._repr_html_().startswith("<pre>rnn-parity ")
    assert "<b>" not in report._repr_html_()
