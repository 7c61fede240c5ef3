"""Keras layers that are exported on the way to ONNX Runtime and LiteRT."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError, MissingPackageError
from rnn_parity.implementations.exported import implementation
from rnn_parity.implementations.request import Request
from rnn_parity.keras_adapter import building

KERAS_3 = hasattr(ka.tensorflow_module().keras, "ops")
ABLE = {
    "onnx": KERAS_3 and all(map(find_spec, ("onnx", "onnxruntime", "tf2onnx"))),
    "litert": bool(find_spec("ai_edge_litert")),
}
B, T, F, H = 2, 3, 2, 3
X = np.random.default_rng(1).normal(size=(B, T, F)).astype(np.float32)
MASK = np.array([[True, True, False], [True, False, False]])


@pytest.fixture(params=ABLE)
def run(request):
    if not ABLE[request.param]:
        pytest.skip(f"no export to {request.param} here")
    return implementation(request.param)


def asked(layer, state=None, mask=None):
    """The request that a built Keras layer stands for."""
    return Request(ka.layer_weights(layer), X, mask, state, layer.name, layer.get_config())


def built(kind, **options):
    return ka.build_layer(kind, H, F, {"return_state": True, **options}, None, 0, B)


@pytest.mark.parametrize(("kind", "count"), [("simple_rnn", 1), ("lstm", 2)])
def test_a_layer_with_a_mask_and_states(run, kind, count):
    states = tuple(np.full((B, H), 0.25 * (i + 1), np.float32) for i in range(count))
    request = asked(built(kind), states, MASK)
    answer = run(request)
    assert answer.outputs.shape == (B, T, H)
    assert len(answer.final_state) == count
    state = states if count > 1 else states[0]
    final = answer.final_state if count > 1 else answer.final_state[0]
    given = {"mask": MASK, "initial_state": state}
    report = rp.compare(request.layer, X, answer.outputs, final, **given)
    assert report.verdict == "parity", report
    right = request.layer
    wrong = type(right)(right.kernel * 1.01, right.recurrent_kernel, right.bias)
    assert rp.compare(wrong, X, answer.outputs, final, **given).verdict == "diverged"


def test_a_gru_backwards_whose_own_sequence_stays_inside(run):
    request = asked(built("gru", go_backwards=True, return_sequences=False, stateful=True))
    answer = run(request)
    report = rp.compare(request.layer, X, answer.outputs, answer.final_state[0])
    assert report.verdict == "parity", report
    assert len(report.checks[0].timesteps) == T


def test_weights_alone_are_a_layer(run):
    """relu(1 + 0.5 h), exactly."""
    one = np.ones((1, 1), np.float32)
    weights = rp.SimpleRNN(one, one / 2, activation="relu")
    answer = run(Request(weights, np.ones((1, 3, 1), np.float32)))
    assert answer.outputs.ravel().tolist() == [1, 1.5, 1.75]


def test_a_cell_is_the_layer_that_computes_the_same(run):
    layer = ka.build_layer("rnn", H, F, {"cell": "gru", "reset_after": False}, None, 0, B)
    (seen,) = ka.observe_layer(layer, X)
    answer = run(Request(seen.weights, seen.inputs, None, None, "", seen.config))
    report = rp.compare(seen.weights, X, answer.outputs)
    assert report.verdict == "parity", report


def test_on_the_command_line(run, capsys):
    from rnn_parity.cli import main as cli

    source = next(name for name in ABLE if ABLE[name])
    sizes = ["--batch", "2", "--timesteps", "3", "--features", "2", "--units", "2"]
    options = ["--layer", "bidirectional", "--against", source, "--format", "json"]
    assert cli.main(["check", *options, *sizes]) == 0
    out = capsys.readouterr().out
    # Both directions are exported; the merge is Keras's own, and said to be.
    assert out.count('"verdict": "parity"') == 3
    assert out.count(f'"against": "{source}"') == 2
    assert out.count("how the Bidirectional merges its two layers is no part of this check") == 2


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnx"), ("litert", "ai_edge_litert")])
def test_a_missing_runtime_is_named(format, package, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'rnn-parity\[{format}\]'"):
        implementation(format)


@pytest.mark.skipif(KERAS_3, reason="Keras 3 exports to ONNX")
def test_keras_2_has_no_export_to_onnx(monkeypatch):
    monkeypatch.setattr(building, "find_spec", lambda name: True)
    with pytest.raises(InputError, match=r"expected Keras 3\.8 or later, which exports to ONNX"):
        building.as_onnx(None)
