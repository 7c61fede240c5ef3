"""Peepholes and `clip` of ONNX's operators: by hand, and as ONNX Runtime computes them."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_models import B, F, H, T, arrays, model, node, run, saved  # noqa: E402

import rnn_parity as rp  # noqa: E402
from rnn_parity.api.functions import check_onnx  # noqa: E402
from rnn_parity.errors import InputError  # noqa: E402
from rnn_parity.implementations.onnx.operators import directions, operator_layers  # noqa: E402

CLIP = 0.75


def peepholes(count=1, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3 * H)).astype(np.float32)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_by_hand(given, x, clip=np.inf, last=np.tanh):
    """The equations of ONNX's LSTM, in float64, gates in the order i, o, f, c."""
    W, R, (Wb, Rb) = given["W"][0].T, given["R"][0].T, np.split(given["B"][0], 2)
    p_i, p_o, p_f = np.split(given.get("P", np.zeros((1, 3 * H)))[0], 3)

    def bounded(z):
        return np.clip(z, -clip, clip)

    h = c = np.zeros((x.shape[1], H))
    outputs, clipped = [], 0
    for row in x.astype(np.float64):
        i, o, f, g = np.split(row @ W + h @ R + (Wb + Rb), 4, axis=1)
        clipped += sum(np.sum(np.abs(z) > clip) for z in (i, o, f, g))
        new = sigmoid(bounded(f + p_f * c)) * c + sigmoid(bounded(i + p_i * c)) * np.tanh(
            bounded(g)
        )
        h, c = sigmoid(bounded(o + p_o * new)) * last(new), new
        outputs.append(h)
    return np.stack(outputs), clipped


@pytest.mark.parametrize("attributes", [{}, {"clip": CLIP}], ids=["peepholes", "and clip"])
@pytest.mark.parametrize("last", ["Tanh", "Relu", "Affine"])
def test_an_lstm_by_hand(attributes, last):
    """Random weights: another activation for c, or none, beside peepholes and clip."""
    given = {**arrays("LSTM"), "P": peepholes()}
    x = np.random.default_rng(2).normal(size=(T, B, F)).astype(np.float32)
    function = {"Tanh": np.tanh, "Relu": lambda z: np.maximum(z, 0), "Affine": lambda z: z}[last]
    outputs, clipped = lstm_by_hand(given, x, attributes.get("clip", np.inf), function)
    assert (clipped > T * B * H) == bool(attributes)
    named = {"activations": ["Sigmoid", "Tanh", last]}
    if last == "Affine":
        named |= {"activation_alpha": [1.0], "activation_beta": [0.0]}
    found = {"X": x, "Y": outputs[:, np.newaxis].astype(np.float32), **given}
    (call,) = directions("LSTM", {**attributes, **named}, found)
    trace = rp.replay(call.weights, call.inputs)
    assert np.abs(trace.outputs - outputs.swapaxes(0, 1)).max() < 1e-14
    assert rp.compare(call.weights, call.inputs, call.outputs)
    for name in ("W", "P"):  # what is left out, or in another order, shows
        wrong = {**found, name: np.roll(found[name], H, axis=1)}
        (call,) = directions("LSTM", {**attributes, **named}, wrong)
        assert rp.compare(call.weights, call.inputs, call.outputs).verdict == "diverged"
    if attributes:
        (call,) = directions("LSTM", named, found)
        assert rp.compare(call.weights, call.inputs, call.outputs).verdict == "diverged"


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("clip", [None, CLIP])
@pytest.mark.parametrize(
    ("op_type", "more"),
    [("RNN", {}), ("LSTM", {}), ("LSTM", "P"), ("GRU", {}), ("GRU", {"linear_before_reset": 1})],
)
def test_what_onnx_runtime_computes(tmp_path, op_type, more, clip, direction):
    directions = 2 if direction == "bidirectional" else 1
    given = arrays(op_type, directions, lengths=[T, 2, 1])
    attributes = {"direction": direction} | ({} if clip is None else {"clip": clip})
    if more == "P":
        given["P"] = peepholes(directions)
    else:
        attributes |= more
    cell = node(op_type, given, **attributes)
    made = model([cell], given, outputs=cell.output)
    report = check_onnx(saved(made, tmp_path / "model.onnx"))
    assert len(report.checks) == directions
    assert report.verdict == "parity", str(report)
    x = np.random.default_rng(3).normal(size=(T, B, F)).astype(np.float32)
    if clip is not None:  # it bites
        del attributes["clip"]
        plain = run(model([node(op_type, given, **attributes)], given, outputs=cell.output), X=x)
        assert np.abs(run(made, X=x)["Y"] - plain["Y"]).max() > 0.01


@pytest.mark.parametrize("clip", [0.0, -1.0, np.inf])
def test_a_clip_that_bounds_nothing_is_refused(clip):
    with pytest.raises(InputError, match="clip of RNN: expected a finite number above 0"):
        operator_layers("RNN", {"clip": clip}, arrays("RNN"))
