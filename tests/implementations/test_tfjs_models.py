"""Whole models in TensorFlow.js: run there, and each recurrent layer judged on what reached it."""

import json
from pathlib import Path

import keras_layers
import numpy as np
import pytest
import tfjs_models
from tfjs_models import saved_again, topology, weights_of, write, written

import rnn_parity as rp
from rnn_parity.api.functions import check_tfjs
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError
from rnn_parity.implementations.tfjs.model import layer_values

keras = keras_layers.keras
L = keras.layers
tfjs_models.found()
if not keras.__version__.startswith("3"):
    pytest.skip("the topologies are written from models of Keras 3", allow_module_level=True)

PLAIN = {"use_bias": False, "activation": "linear"}


def randomised(model, seed=3):
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        layer.set_weights(
            [0.4 * rng.normal(size=w.shape).astype(np.float32) for w in layer.get_weights()]
        )
    return model


def stack():
    """Layers of every kind, in both directions, with a Dense layer and states between."""
    x = given = keras.Input((6, 3), name="given")
    x = L.LSTM(4, return_sequences=True, name="lstm")(x)
    x = L.Dense(3, activation="relu", name="dense")(x)
    x = L.Bidirectional(L.SimpleRNN(2, return_sequences=True, name="rnn"), name="both")(x)
    x, h = L.GRU(5, return_sequences=True, return_state=True, reset_after=False, name="gru")(x)
    x = L.SimpleRNN(5, go_backwards=True, name="last")(x, initial_state=h)
    return randomised(keras.Model(given, x))


@pytest.fixture(scope="module")
def model():
    return stack()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(size=(4, 6, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    return written(model, tmp_path_factory.mktemp("written"), shards=2)


@pytest.fixture(scope="module")
def own(path, tmp_path_factory):
    """The same model, as TensorFlow.js itself saves it."""
    return saved_again(path, tmp_path_factory.mktemp("own"))


def verdicts(report):
    return {check.subject.layer_name: check.verdict for check in report.checks}


def faults(report, name):
    (check,) = [check for check in report.checks if check.subject.layer_name == name]
    return [cause.fault for cause in check.causes]


PARTS = ["lstm", "both/forward", "both/backward", "both/merge", "gru", "last"]


def test_a_model_is_checked_against_its_own_weights(path, own):
    for one in (path, own):
        report = check_tfjs(one, batch=4)
        assert verdicts(report) == dict.fromkeys(PARTS, "parity"), report.summary
        assert report.checks[0].subject.against.startswith("TensorFlow.js 4.")
        assert report.checks[0].shape.batch == 4


def test_inputs_of_a_sequential_model_of_an_older_keras_have_no_names(tmp_path):
    model = keras.Sequential([keras.Input((4, 3)), L.LSTM(2, name="rnn"), L.Dense(1, name="out")])
    randomised(model)
    layers = topology(model)["config"]["layers"]
    layers = [one for one in layers if one["class_name"] != "InputLayer"]
    layers[0]["config"]["batch_input_shape"] = [None, 4, 3]
    plain = [{name: one[name] for name in ("class_name", "config")} for one in layers]
    path = write(tmp_path, {"class_name": "Sequential", "config": plain}, weights_of(model))
    assert verdicts(check_tfjs(path, batch=4)) == {"rnn": "parity"}
    x = np.random.default_rng(1).normal(size=(4, 4, 3)).astype("float32")
    assert rp.check(model, x, against=path)


def test_layer_values_are_those_of_keras(model, path, x):
    found = layer_values(path, {"given": x})
    for layer in model.layers[1:]:
        output = layer.output[0] if isinstance(layer.output, (list, tuple)) else layer.output
        expected = keras.Model(model.inputs, output).predict(x, verbose=0)
        assert found[layer.name] == pytest.approx(expected, abs=1e-6), layer.name


def test_a_keras_model_against_it(model, path, own, x):
    for one in (path, own):
        report = rp.check(model, x, against=one)
        names = ["lstm", "both/forward/rnn", "both/backward/rnn", "gru", "last"]
        assert verdicts(report) == dict.fromkeys(names, "parity"), report.summary
        assert report
        assert any("away from what reached it in Keras" in note for note in report.checks[1].notes)


def test_the_command_line(model, path, tmp_path, capsys):
    file = str(tmp_path / "model.keras")
    model.save(file)
    folder = path.removesuffix("/model.json")
    assert cli.main(["check", file, "--against", folder, "--batch", "3", "-q"]) == 0
    assert cli.main(["check", folder, "--batch", "3", "--layer-name", "both", "-q"]) == 0
    np.save(tmp_path / "x.npy", np.ones((2, 6, 3), np.float32))
    assert cli.main(["check", path, "--input", str(tmp_path / "x.npy"), "-q"]) == 0
    capsys.readouterr()
    assert cli.main(["check", path, "--layer-name", "other"]) == 2
    assert "--layer-name: expected one of lstm, both/forward" in capsys.readouterr().err
    np.save(tmp_path / "x.npy", np.ones((2, 6, 4), np.float32))
    assert cli.main(["check", path, "--input", str(tmp_path / "x.npy")]) == 2
    assert "shape ('any', 6, 3) for its input given, received (2, 6, 4)" in capsys.readouterr().err


def test_a_layer_alone_against_it(model, path, x):
    report = rp.check(model.get_layer("lstm"), x, against=path)
    assert verdicts(report) == {"lstm": "parity"}
    assert "the layer ran by itself in TensorFlow.js" in report.checks[0].notes[1]
    with pytest.raises(InputError, match="expected a recurrent layer 'other', received lstm, both"):
        rp.check(L.LSTM(4, name="other"), x, against=path)


def test_words_masks_several_inputs_and_a_model_within(tmp_path):
    words, more = keras.Input((5,), name="words"), keras.Input((5, 2), name="more")
    y = L.Embedding(7, 3, mask_zero=True, name="table")(words)
    y = L.LSTM(4, name="encoder")(y)
    given = keras.Input((5, 2))
    inner = keras.Model(given, L.GRU(3, reset_after=False, name="gru")(given), name="inner")
    z = L.Bidirectional(L.LSTM(2, name="rnn"), merge_mode="ave", name="both")(more)
    joined = L.Concatenate(name="joined")([y, inner(more), z])
    model = randomised(keras.Model([words, more], joined))
    path = written(model, tmp_path)
    report = check_tfjs(path, batch=5)
    expected = {"encoder": "parity", "both/forward": "parity", "both/backward": "parity"}
    expected |= {"both/merge": "parity", "inner/gru": "inconclusive"}
    assert verdicts(report) == expected, report.summary
    rng = np.random.default_rng(0)
    data = [rng.integers(0, 7, (4, 5)), rng.normal(size=(4, 5, 2)).astype(np.float32)]
    assert (data[0] == 0).any()
    against = rp.check(model, data, against=path)
    assert verdicts(against)["encoder"] == verdicts(against)["inner/gru"] == "parity"


# Mistakes in the file, found in the right layer.


def gates(name, order):
    def change(topology, weights):
        for own in (key for key in weights if key.startswith(f"{name}/")):
            parts = np.split(weights[own], len(order), axis=-1)
            weights[own] = np.concatenate([parts[i] for i in order], axis=-1)

    return change


def bias(name):
    def change(topology, weights):
        weights[f"{name}/bias"] = 0 * weights[f"{name}/bias"]

    return change


def option(name, **changes):
    def change(topology, weights):
        (layer,) = [one for one in topology["config"]["layers"] if one["name"] == name]
        layer["config"].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "wrong", "fault"),
    [
        (gates("gru", (1, 0, 2)), "gru", "gates-permuted"),
        (bias("lstm"), "lstm", "bias-dropped"),
        (option("last", go_backwards=False), "last", "inputs-reversed"),
        (option("lstm", recurrent_activation="hard_sigmoid"), "lstm", None),
        (bias("both/backward_forward_rnn"), "both/backward/rnn", "bias-dropped"),
    ],
    ids=["gates", "bias", "direction", "activation", "one half"],
)
def test_a_mistake_is_found_in_its_layer_and_named(model, x, tmp_path, change, wrong, fault):
    described, weights = topology(model), weights_of(model)
    change(described, weights)
    report = rp.check(model, x, against=write(tmp_path, described, weights))
    assert [name for name, verdict in verdicts(report).items() if verdict == "diverged"] == [wrong]
    found = faults(report, wrong)
    assert fault in found if fault else found


def test_quantized_weights_are_judged_as_they_are_read(model, tmp_path, x):
    for dtype in ("float16", "uint8"):
        path = written(model, tmp_path / dtype, quantized=dtype)
        report = check_tfjs(path, x)
        assert report.verdict == "parity", report.summary
        assert f"weights are stored as {dtype}" in " ".join(report.checks[0].notes)
        assert rp.check(model, x, against=path).verdict == "diverged"


# What TensorFlow.js computes otherwise, each with the smallest model that shows it.


def masked(*layers):
    """A model of linear units behind a mask, all of whose weights are 1."""
    made = keras.Sequential([keras.Input((2, 1)), L.Masking(), *layers])
    made.set_weights([np.ones_like(w) for w in made.get_weights()])
    return made


HALF = np.float32([[[1], [0]]])
"""Two timesteps, of which the second is masked."""


def test_a_mask_reaches_layers_behind_one_that_ends_it(tmp_path):
    layers = L.SimpleRNN(1, name="first", **PLAIN), L.RepeatVector(2)
    model = masked(*layers, L.SimpleRNN(1, name="second", **PLAIN))
    path = written(model, tmp_path)
    # The second layer counts 1, 2; its input carries no mask.
    assert model.predict(HALF, verbose=0).tolist() == [[2]]
    assert layer_values(path, {"x": HALF})["second"].tolist() == [[1]]
    for report in (check_tfjs(path, HALF), rp.check(model, HALF, against=path)):
        assert verdicts(report) == {"first": "parity", "second": "diverged"}
        assert "mask that its input does not carry" in " ".join(report.checks[1].notes)


def test_masked_outputs_of_a_bidirectional_are_not_zeroed(tmp_path):
    inner = L.SimpleRNN(1, return_sequences=True, name="rnn", **PLAIN)
    model = masked(L.Bidirectional(inner, name="both"))
    path = written(model, tmp_path)
    assert model.predict(HALF, verbose=0).tolist() == [[[1, 1], [0, 0]]]
    assert layer_values(path, {"x": HALF})["both"].tolist() == [[[1, 1], [1, 0]]]
    report = rp.check(model, HALF, against=path)
    assert "masked-output-not-zeroed" in faults(report, "both/forward/rnn")


def test_a_stateful_layer_is_called_for_each_of_its_outputs(tmp_path):
    given = keras.Input(batch_shape=(1, 2, 1))
    outputs = L.SimpleRNN(1, stateful=True, return_state=True, name="kept", **PLAIN)(given)
    model = keras.Model(given, outputs)
    model.set_weights([np.ones((1, 1))] * 2)
    path = written(model, tmp_path)
    ones = np.float32([[[1], [1]]])
    assert [y.tolist() for y in model.predict(ones, verbose=0)] == [[[2]], [[2]]]
    report = check_tfjs(path, ones)
    assert verdicts(report) == {"kept": "diverged"}
    assert "once for each of its outputs" in " ".join(report.checks[0].notes)


def test_a_mask_and_an_initial_state_leave_no_room_for_another_layer(tmp_path):
    given = keras.Input((2, 1))
    y, h = L.GRU(1, return_sequences=True, return_state=True, reset_after=False)(L.Masking()(given))
    y = L.SimpleRNN(1, return_sequences=True)(y, initial_state=h)
    path = written(keras.Model(given, L.SimpleRNN(1)(y)), tmp_path)
    with pytest.raises(InputError, match=r"TensorFlow\.js refused: When inputs is an array"):
        check_tfjs(path, HALF)


def test_no_activation_is_tanh_in_a_simple_rnn(tmp_path):
    model = keras.Sequential([keras.Input((2, 1)), L.SimpleRNN(1, name="rnn", **PLAIN)])
    model.set_weights([np.ones((1, 1))] * 2)
    described = topology(model)
    option("rnn", activation=None)(described, {})
    report = check_tfjs(write(tmp_path, described, weights_of(model)), batch=4)
    assert faults(report, "rnn") == ["activation-swapped"]


# What cannot be run.


def test_a_gru_that_resets_after_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((2, 1)), L.GRU(1)])
    with pytest.raises(InputError, match="GRUCell does not support reset_after"):
        check_tfjs(written(model, tmp_path))


def test_a_layer_of_another_name_is_refused(tmp_path, path, x):
    other = keras.Sequential([keras.Input((6, 3)), L.LSTM(4, name="other")])
    with pytest.raises(
        InputError, match="one call of a recurrent layer 'other', received 0, of ls"
    ):
        rp.check(other, x, against=path)


def test_a_model_without_recurrent_layers(tmp_path):
    model = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    report = check_tfjs(written(model, tmp_path))
    assert (report.checks, report.exit_code) == ((), 3)
    assert "has no recurrent layer" in report.notes[0]


def test_a_topology_that_tensorflow_js_does_not_read_is_one_line(path, tmp_path):
    document = json.loads(Path(path).read_text())
    first = document["modelTopology"]["model_config"]["config"]["layers"][0]["config"]
    del first["batch_input_shape"]
    described = document["modelTopology"]["model_config"]
    with pytest.raises(InputError, match=r"TensorFlow\.js refused: "):
        check_tfjs(write(tmp_path, described, {}))
