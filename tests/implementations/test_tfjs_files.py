"""Models of TensorFlow.js in files: what is read of them, and what is refused. Without Node."""

import json

import numpy as np
import pytest
from tfjs_models import quantize, write

from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.tfjs.files import read_model

RNG = np.random.default_rng(0)


def f32(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, "units": 2, **config}}


def sequential(*layers, name="model"):
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


WEIGHTS = {"lstm/lstm_cell/kernel": f32(3, 8), "lstm/lstm_cell/recurrent_kernel": f32(2, 8)}
WEIGHTS["lstm/lstm_cell/bias"] = f32(8)
MODEL = sequential(layer("LSTM", "lstm", recurrent_activation="hard_sigmoid", activation="relu"))


@pytest.mark.parametrize("shards", [1, 3])
def test_a_model_is_read(tmp_path, shards):
    path = write(tmp_path, MODEL, WEIGHTS, shards)
    for where in (path, str(tmp_path)):
        model = read_model(where)
        (entry,) = model.entries
        cell = model.layer(entry)
        assert (entry.path, type(cell).__name__) == ("lstm", "LSTM")
        assert np.array_equal(cell.kernel, WEIGHTS["lstm/lstm_cell/kernel"])
        assert np.array_equal(cell.bias, WEIGHTS["lstm/lstm_cell/bias"])
        # Its hard_sigmoid has the slope of Keras 2.
        assert cell.recurrent_activation.name == "hard_sigmoid_keras2"
        assert (cell.activation.name, model.notes) == ("relu", ())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_quantized_weights_are_read_as_tensorflow_js_does(tmp_path, dtype):
    model = read_model(write(tmp_path, MODEL, WEIGHTS, quantized=dtype))
    for name, array in WEIGHTS.items():
        meta, steps = quantize(array, dtype)
        expected = steps.astype(np.float64)
        if dtype != "float16":
            expected = expected * meta["scale"] + meta["min"]
        assert np.array_equal(model.weights[name], expected.astype(np.float32))
    assert model.notes[0].startswith(f"weights are stored as {dtype}")


def test_layers_are_found_in_models_and_wrappers(tmp_path):
    inner = sequential(layer("GRU", "gru", reset_after=False), name="inner")
    both = {"class_name": "Bidirectional", "config": {"name": "both", "merge_mode": "sum"}}
    both["config"]["layer"] = layer("SimpleRNN", "rnn", use_bias=False, go_backwards=True)
    cells = {"class_name": "RNN", "config": {"name": "stack", "cell": {}}}
    wrapped = {"class_name": "TimeDistributed", "config": {"name": "each", **{"layer": inner}}}
    each = {**wrapped, "config": {"name": "each", "layer": layer("LSTM", "lstm")}}
    convolution = layer("ConvLSTM2D", "convolution")
    topology = sequential(inner, both, cells, each, convolution, layer("Dense", "dense"))
    weights = {
        "both/forward_rnn/kernel": f32(3, 2),
        "both/forward_rnn/recurrent_kernel": f32(2, 2),
        "both/backward_rnn/kernel": f32(3, 2),
        "both/backward_rnn/recurrent_kernel": f32(2, 2),
    }
    model = read_model(write(tmp_path, topology, weights))
    paths = ["inner/gru", "both/forward", "both/backward", "stack", "each", "convolution"]
    assert [entry.path for entry in model.entries] == paths
    _, forward, backward, *others = model.entries
    assert [model.layer(one).go_backwards for one in (forward, backward)] == [True, False]
    assert np.array_equal(model.layer(backward).kernel, weights["both/backward_rnn/kernel"])
    for entry in others:
        with pytest.raises(UnsupportedError, match="is not replayed"):
            model.layer(entry)


def test_what_tensorflow_js_ignores_is_not_replayed(tmp_path):
    both = {"class_name": "Bidirectional", "config": {"name": "both"}}
    both["config"]["layer"] = layer("SimpleRNN", "rnn")
    both["config"]["backward_layer"] = layer("SimpleRNN", "other", activation="relu")
    masking = {"class_name": "Masking", "config": {"name": "masking"}}
    inner = sequential(layer("GRU", "gru"), name="inner")
    topology = sequential(layer("LSTM", "lstm", time_major=True), both, masking, inner)
    model = read_model(write(tmp_path, topology, {}))
    reasons = [entry.not_replayed for entry in model.entries]
    assert reasons[0] == "TensorFlow.js ignores time_major=True"
    assert "ignores the backward_layer" in reasons[1]
    assert "ignores the backward_layer" in reasons[2]
    assert "masks are not followed" in reasons[3]


def test_weights_that_are_missing_or_twofold_are_refused(tmp_path):
    twice = {**WEIGHTS, "other/lstm/kernel": f32(3, 8)}
    model = read_model(write(tmp_path, MODEL, twice))
    said = r"one kernel of the layer lstm, received lstm/lstm_cell/kernel, other/lstm/kernel"
    with pytest.raises(InputError, match=said):
        model.layer(model.entries[0])
    model = read_model(write(tmp_path, MODEL, {}))
    with pytest.raises(InputError, match="one kernel of the layer lstm, received none"):
        model.layer(model.entries[0])


def test_a_graph_model_is_refused_by_name(tmp_path):
    for document in ({"format": "graph-model"}, {"modelTopology": {"node": []}}):
        path = write(tmp_path, MODEL, WEIGHTS, **document)
        with pytest.raises(UnsupportedError, match="graph-model, which has no layers"):
            read_model(path)


def manifest(**changes):
    return lambda document: document["weightsManifest"][0].update(changes)


def weight(**changes):
    return lambda document: document["weightsManifest"][0]["weights"][0].update(changes)


def without(key):
    return lambda document: document.pop(key)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("weightsManifest"), "damaged or another file"),
        (without("modelTopology"), "damaged or another file"),
        (manifest(paths=None), "damaged or another file"),
        (manifest(paths=["missing.bin"]), "cannot be read: No such file"),
        (manifest(paths=["../outside.bin"]), r"files in its folder, received '\.\./outside"),
        (manifest(paths=["/etc/hostname"]), "files in its folder, received '/etc/hostname'"),
        (manifest(paths=["link.bin"]), r"files in its folder, received 'link\.bin'"),
        (manifest(paths=[]), "expected 192 bytes of weights, received 0 in no file"),
        (weight(shape=[3, 9]), "expected 204 bytes of weights, received 192"),
        (weight(shape=[3, -8]), "damaged or another file"),
        (weight(shape=[3, 2.5]), "damaged or another file"),
        (weight(shape=[10**6, 10**6]), "expected weights of at most"),
        (weight(dtype="complex64"), "received lstm/lstm_cell/kernel of complex64"),
        (weight(quantization={"dtype": "uint4"}), "of uint4"),
        (weight(quantization={"dtype": "uint8"}), "damaged or another file"),
        (weight(quantization={"dtype": "uint8", "scale": 1e999, "min": 0}), "damaged"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, change, said):
    path = write(tmp_path / "model", MODEL, WEIGHTS)
    (tmp_path / "outside.bin").write_bytes(bytes(192))
    (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "outside.bin")
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    change(document)
    (tmp_path / "model" / "model.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=said):
        read_model(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "[" * 5000, "\udcff", '{"format": NaN}'])
def test_what_is_no_document_is_one_line(tmp_path, text):
    path = tmp_path / "model.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="damaged or another file"):
        read_model(str(path))


def test_the_limit_of_sizes_holds(tmp_path, monkeypatch):
    path = write(tmp_path, MODEL, WEIGHTS)
    (tmp_path / "group1-shard1of1.bin").write_bytes(bytes(2**20))
    monkeypatch.setenv("RNN_PARITY_MOST_GIB", "0.0001")
    with pytest.raises(InputError, match="expected at most"):
        read_model(path)


@pytest.mark.parametrize("option", [["--unsafe"], ["--mode", "xla"], ["--against", "tfjs"]])
def test_options_that_mean_nothing_are_refused(tmp_path, option, capsys):
    path = write(tmp_path, MODEL, WEIGHTS)
    assert cli.main(["check", path, *option]) == 2
    assert "runs by itself; leave it out" in capsys.readouterr().err
