"""What ONNX Runtime computes otherwise: the smallest configurations, and what is right, by hand.

Each was seen in ONNX Runtime 1.32 on the CPU. A release that computes one of them right skips it.
"""

import numpy as np
import pytest
from onnx_models import (
    FLOAT,
    B,
    F,
    T,
    arrays,
    helper,
    model,
    node,
    numpy_helper,
    onnx,
    run,
    saved,
    single,
)

import rnn_parity as rp
from rnn_parity.api.functions import check_onnx
from rnn_parity.implementations.onnx.operators import as_runtime_computes


def one_unit(path, x, more=None, **attributes):
    """An RNN of one unit, `h_t = f(x_t)`, on one sample of one feature: its outputs, its report."""
    given = {"W": [[[1.0]]], "R": [[[0.0]]], **(more or {})}
    kinds = {name: np.int32 if name == "sequence_lens" else np.float32 for name in given}
    order = ("X", "W", "R", "B", "sequence_lens", "initial_h")
    inputs = [name if name == "X" or name in given else "" for name in order]
    cell = helper.make_node("RNN", inputs, ["Y", "Y_h"], hidden_size=1, **attributes)
    values = [helper.make_tensor_value_info("X", FLOAT, [len(x), 1, 1])]
    outputs = [helper.make_tensor_value_info(name, FLOAT, None) for name in cell.output]
    constants = [numpy_helper.from_array(np.array(v, kinds[n]), n) for n, v in given.items()]
    graph = helper.make_graph([cell], "graph", values, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=10)
    onnx.save(made, path)
    X = np.array(x, np.float32).reshape(-1, 1, 1)
    report = check_onnx(str(path), X)
    return {name: array.ravel() for name, array in run(made, X=X).items()}, report


def test_the_tanh_of_an_rnn_loses_what_is_small(tmp_path):
    # 2 sigmoid(2 x) - 1 in float32. sigmoid(2e-6) = 0.5 + 5e-7, and from 0.5 on float32 has steps
    # of 2**-24 = 5.96e-8; of which 9 are seen, and 2 * 9 * 2**-24 = 1.0728836e-06 is off by 7%.
    outputs, report = one_unit(tmp_path / "m.onnx", [1e-6])
    if np.isclose(outputs["Y"][0], 1e-6, rtol=1e-6):
        pytest.skip("mended in this release")
    assert outputs["Y"][0] == np.float32(2 * 9 * 2.0**-24)
    (check,) = report.checks
    # 1.22 units of roundoff, of which 4 are allowed to this runtime, and none to others.
    assert (check.verdict, check.max_ratio) == ("parity", pytest.approx(1.22 / 4, rel=0.01))
    loss = "the bound allows for what ONNX Runtime's RNN loses of tanh near 0: 4 units of roundoff"
    assert check.notes == (loss,)
    seen = outputs["Y"].reshape(1, 1, 1)
    others = rp.compare(rp.SimpleRNN([[1.0]], [[0.0]], dtype="float32"), [[[1e-6]]], seen)
    # tanh(x) = x - x**3 / 3 + ...
    assert others.verdict == "diverged"
    assert others.checks[0].first_divergence.expected == pytest.approx(1e-6, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1e-3, 1e-2, 1e-1, 1.0])
@pytest.mark.parametrize(
    ("op_type", "functions"),
    [
        ("RNN", ["Tanh"]),
        ("RNN", ["Softplus"]),
        ("GRU", ["Sigmoid", "Softplus"]),
        ("LSTM", ["Sigmoid", "Softplus", "Softplus"]),
    ],
)
def test_what_is_lost_near_zero_is_no_divergence(tmp_path, op_type, functions, scale, seed):
    given = {name: (scale * w).astype("f") for name, w in arrays(op_type, seed=seed).items()}
    cell = node(op_type, given, ["Y"], activations=functions)
    X = scale * np.random.default_rng(seed).normal(size=(T, B, F)).astype("f")
    report = check_onnx(saved(model([cell], given), str(tmp_path / "m.onnx")), X)
    assert report.verdict == "parity", report.summary


def test_a_loop_loses_nothing_that_is_allowed_for():
    layer = rp.SimpleRNN([[1.0]], [[0.0]], activation="tanh")
    assert as_runtime_computes(layer, {"LSTM"})[0].activation == layer.activation
    assert as_runtime_computes(layer, {"RNN"})[0].activation != layer.activation
    gated = rp.LSTM(np.ones((1, 4)), np.ones((1, 4)), None, "softplus", "softplus")
    found, notes = as_runtime_computes(gated, {"RNN", "LSTM"})
    assert [f.absolute for f in found.activations] == [2, 2]
    assert len(notes) == 1


def test_softplus_overflows(tmp_path):
    # log(1 + exp(x)) as it stands: exp(100) = 2.7e43 is more than float32 holds. Right is
    # 100 + log(1 + exp(-100)) = 100.
    activations = {"activations": ["Softplus"]}
    outputs, report = one_unit(tmp_path / "m.onnx", [1.0, 100.0], **activations)
    if np.isfinite(outputs["Y"][1]):
        pytest.skip("mended in this release")
    (check,) = report.checks
    assert check.verdict == "diverged"
    assert check.first_divergence.timestep == 1
    assert check.first_divergence.expected == 100


def test_softplus_below_zero_is_zero(tmp_path):
    # 1 + exp(-20) = 1 + 2.06e-9 is 1 in float32, and its logarithm 0. Right is 2.06e-9, and
    # 2.06e-9 is 0.035 / 2**24.
    outputs, report = one_unit(tmp_path / "m.onnx", [-20.0, 2.0], activations=["Softplus"])
    if outputs["Y"].ravel()[0] > 2e-9:
        pytest.skip("mended in this release")
    assert outputs["Y"].ravel()[0] == 0
    # Beside a number of the usual size; alone, zero would prove nothing.
    assert report.verdict == "parity"
    assert report.checks[0].timesteps[0].max_ratio == pytest.approx(0.0346 / 2, rel=0.01)
    layer = rp.SimpleRNN([[1.0]], [[0.0]], activation="softplus", dtype="float32")
    others = rp.compare(layer, [[[-20.0]]], [[[0.0]]])
    assert others.verdict == "diverged"
    assert others.checks[0].first_divergence.expected == pytest.approx(2.0611537e-9, rel=1e-6)


def test_the_threshold_of_thresholded_relu_is_zero(tmp_path):
    # The operator ThresholdedRelu has alpha = 1 by default, and so f(0.5) = 0.
    numbers = [0.5, 0.25, 0.375]
    outputs, report = one_unit(tmp_path / "m.onnx", numbers, activations=["ThresholdedRelu"])
    if outputs["Y"][0] == 0:
        pytest.skip("mended in this release")
    assert outputs["Y"][0] == 0.5
    (check,) = report.checks
    assert check.verdict == "diverged"
    (cause,) = [cause for cause in check.causes if "relu" in cause.explanation]
    assert cause.fault == "activation-swapped"


def test_an_empty_sequence_forgets_its_initial_state(tmp_path):
    # No step is taken, so that the state at the sequence's end is the one at its start.
    more = {"sequence_lens": [0], "initial_h": [[[0.5]]]}
    outputs, report = one_unit(tmp_path / "m.onnx", [1.0, 2.0], more)
    if outputs["Y_h"][0] == 0.5:
        pytest.skip("mended in this release")
    assert outputs["Y_h"][0] == 0
    (check,) = report.checks
    assert check.verdict == "diverged"
    assert [row.max_deviation for row in check.final_state] == [0.5]


@pytest.mark.parametrize("op_type", ["LSTM", "GRU"])
def test_no_number_comes_out_as_a_number(tmp_path, op_type):
    # Every gate is a sum with NaN in it, and so NaN, and so is every output from there on.
    X = np.ones((T, B, F), np.float32)
    X[1, 0, 0] = np.nan
    made = single(op_type)
    outputs = run(made, X=X)["Y"][:, 0]
    if np.isnan(outputs[1:, 0]).all():
        pytest.skip("mended in this release")
    assert np.isfinite(outputs).all()
    (check,) = check_onnx(saved(made, str(tmp_path / "m.onnx")), X).checks
    assert check.verdict == "diverged"
    first = check.first_divergence
    assert (first.timestep, first.batch) == (1, 0)
    assert np.isnan(first.expected)


@pytest.mark.parametrize("seed", [5, 6])
def test_small_errors_of_the_gates_imply_no_other_bias(tmp_path, seed):
    # The state hardly varies, so that what an activation errs by is the same in every step; before
    # the reset gate's bias shows, it is multiplied by a state of 0.03 and weights of 0.06.
    given = {name: w * np.float32(0.1) for name, w in arrays("GRU", seed=seed).items()}
    cell = node("GRU", given, ["Y"])
    X = 0.01 * np.random.default_rng(seed).normal(size=(12, 4, F)).astype("f")
    made = model([cell], given, inputs={"X": X.shape})
    assert check_onnx(saved(made, str(tmp_path / "m.onnx")), X).verdict == "parity"
