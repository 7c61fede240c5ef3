"""Files that Keras 1.2 to 2.15 wrote, under Keras 3; what these computed themselves is the oracle.

`tests/record_old_models.py` recorded them.
"""

import json
import shutil

import h5py
import numpy as np
import pytest
from keras_layers import H, X, functional, keras, layers
from old_models import recorded, unpacked

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.api.functions import check_model
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.old_files import modern_arrays, of_cudnn
from rnn_parity.recurrence.activations import CATALOGUE

pytestmark = pytest.mark.skipif(not hasattr(keras, "ops"), reason="Keras 2 reads its own files")

ALIKE = (
    *("simplernn-2.0.8.h5", "simplernn-2.3.1.h5", "simplernn-2.15.0.h5"),
    *("lstm-2.3.1.h5", "lstm-2.15.0.h5", "gru-2.3.1.h5", "gru-2.15.0.h5"),
    *("tagger-2.0.8.h5", "tagger-2.3.1.h5", "tagger-2.15.0.h5"),
    *("nested-2.0.8.h5", "nested-2.3.1.h5", "nested-2.15.0.h5", "archive_nested-2.15.0.keras"),
    *("translator-2.0.8.h5", "translator-2.3.1.h5", "translator-2.15.0.h5"),
    *("cells-2.3.1.h5", "cells-2.15.0.h5", "cudnn-2.15.0.h5", "archive-2.15.0.keras"),
)
"""Models that compute the same in every Keras."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return unpacked(tmp_path_factory.mktemp("old"))


@pytest.mark.parametrize("name", ALIKE)
def test_an_old_model_computes_what_its_own_keras_did(folder, name):
    inputs, expected = recorded(folder / name)
    outputs = ka.load_model(folder / name)(inputs)
    found = outputs if isinstance(outputs, list) else [outputs]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), other, atol=1e-6)


@pytest.mark.parametrize("name", ["tagger-2.0.8.h5", "cells-2.3.1.h5", "cudnn-2.15.0.h5"])
def test_all_its_layers_are_checked(folder, name):
    report = check_model(str(folder / name), batch=4)
    assert report
    assert len(report.checks) >= 2


@pytest.mark.parametrize(("kind", "cell"), [("lstm", rp.LSTM), ("gru", rp.GRU)])
def test_hard_sigmoid_is_that_of_keras_3_and_said_so(folder, kind, cell):
    """What the file means is not what Keras 3 computes: the note says so, and how they differ."""
    path = folder / f"{kind}-2.0.8.h5"
    report = check_model(str(path), batch=4)
    assert report
    (told,) = report.notes
    assert told.startswith("OTHER NUMBERS THAN IN KERAS 2.0.8")
    assert f"('{kind}_1', '{kind}_2') was clip(0.2 x + 0.5, 0, 1) there and is clip(x / 6" in told
    assert all(told[:30] in check.notes[0] for check in report.checks)
    # The weights are in their places: replayed with the other slope, they give the old outputs.
    inputs, (expected,) = recorded(path)
    for one in ka.load_model(path).layers:
        found = ka.layer_weights(one)
        assert found.recurrent_activation is CATALOGUE["hard_sigmoid"]
        options = {"reset_after": False} if cell is rp.GRU else {}
        old = cell(
            found.kernel,
            found.recurrent_kernel,
            found.bias,
            recurrent_activation="hard_sigmoid_keras2",
            go_backwards=found.go_backwards,
            dtype="float32",
            **options,
        )
        inputs = rp.replay(old, inputs).outputs
    np.testing.assert_allclose(inputs[:, -1], expected, atol=1e-6)


def test_the_notes_of_a_model_that_computes_the_same_are_none(folder):
    assert check_model(str(folder / "lstm-2.3.1.h5"), batch=2).notes == ()


def test_a_fused_layer_is_told(folder):
    notes = check_model(str(folder / "cudnn-2.15.0.h5"), batch=2).notes
    assert notes[0] == "'first' was a CuDNNLSTM, which is gone: LSTM ran with its weights"
    assert len(notes) == 3


def changed(folder, tmp_path, change, name="lstm-2.3.1.h5"):
    """The model with another description, or other arrays."""
    path = tmp_path / name
    shutil.copy(folder / name, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config, file["model_weights"])
        file.attrs["model_config"] = json.dumps(config)
    return path


def refusal(path):
    with pytest.raises(InputError) as caught:
        ka.load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def replaced(group, name, change):
    array = group[name][()]
    del group[name]
    group[name] = change(array)


LAST = "lstm_2/lstm_2/kernel:0"


def layer(config, **changes):
    """Change the first layer in a description."""
    config["config"]["layers"][0].update(changes)


def options(config, **changes):
    """Change the options of that layer."""
    config["config"]["layers"][0]["config"].update(changes)


DAMAGED = {
    "a row of a kernel": (
        lambda c, w: replaced(w, LAST, lambda a: a[:2]),
        "layer 'lstm_2': expected weights of shapes",
    ),
    "a group": (lambda c, w: w.pop("lstm_2"), "lstm_2"),
    "a layer": (lambda c, w: c["config"]["layers"].pop(), "expected weights of 1 layers, received"),
    "all layers": (lambda c, w: c["config"].pop("layers"), "cannot load it"),
    "a layer's description": (
        lambda c, w: c["config"]["layers"].insert(0, 3),
        "its description is",
    ),
    "a class": (
        lambda c, w: layer(c, class_name="Gone"),
        "uses 'Gone', which Keras 3 does not have",
    ),
    "units": (lambda c, w: options(c, units=-3), "cannot load it: "),
    "Keras 1": (lambda c, w: options(c, inner_init="zero"), "of Keras 1; load it with Keras 2.0"),
    "a model": (lambda c, w: c.update(class_name="Graph"), "Graph"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_is_one_line(folder, tmp_path, what):
    change, said = DAMAGED[what]
    assert said in refusal(changed(folder, tmp_path, change))


def test_weights_are_found_by_names_and_otherwise_in_order(folder, tmp_path):
    def swap(config, weights):
        weights.attrs["layer_names"] = weights.attrs["layer_names"][::-1]

    inputs, (expected,) = recorded(folder / "lstm-2.3.1.h5")
    outputs = ka.load_model(changed(folder, tmp_path, swap))(inputs)
    np.testing.assert_allclose(np.asarray(outputs), expected, atol=1e-6)

    def rename(config, weights):
        swap(config, weights)
        options(config, name="other")

    assert "expected weights of shapes [(4, 12)" in refusal(changed(folder, tmp_path, rename))


def test_what_trained_a_model_is_no_reason_to_refuse_it(folder, tmp_path):
    def train(config, weights):
        own = config["config"]["layers"][0]["config"]
        own["kernel_initializer"] = {"class_name": "OfMyOwn", "config": {"a": 1}}
        own["recurrent_regularizer"] = {"class_name": "Cheap", "config": {}}
        weights.parent.attrs["training_config"] = json.dumps(
            {"loss": "gone", "metrics": ["f1"], "optimizer_config": {"class_name": "TFOptimizer"}}
        )

    assert ka.load_model(changed(folder, tmp_path, train))


def test_the_default_of_a_gru_was_to_reset_before(folder, tmp_path):
    def forget(config, weights):
        for one in config["config"]["layers"]:
            del one["config"]["reset_after"]

    path = changed(folder, tmp_path, forget, "gru-2.3.1.h5")
    assert [one.reset_after for one in ka.load_model(path).layers] == [False, False]


def test_a_model_that_does_not_say_what_it_takes(folder, tmp_path):
    """As Keras 2.2 and 2.3 wrote one that begins with an `InputLayer`."""

    def forget(config, weights):
        del config["config"]["layers"][0]["config"]["batch_input_shape"]
        config["config"].pop("build_input_shape", None)

    model = ka.load_model(changed(folder, tmp_path, forget))
    assert model.inputs[0].shape == (None, None, 4)


def test_layer_names_with_slashes(folder, tmp_path):
    def rename(config, weights):
        config["config"]["layers"][0]["config"]["name"] = "a/b"

    assert ka.load_model(changed(folder, tmp_path, rename)).layers[0].name == "a_b"


def test_code_in_an_old_file_is_refused_before_keras_sees_it(folder, tmp_path):
    def harm(config, weights):
        config["config"]["layers"].append(
            {"class_name": "Lambda", "config": {"name": "l", "function": ["x", None, None]}}
        )

    assert "holds code (a Lambda layer)" in refusal(changed(folder, tmp_path, harm))

    def name(config, weights):
        config["config"]["layers"][0].update(class_name="Popen", module="subprocess")

    assert "uses 'Popen', which is not registered" in refusal(changed(folder, tmp_path, name))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_code_in_an_old_file_runs_for_who_trusts_it(tmp_path):
    path = tmp_path / "lambda.h5"
    functional(layers.Lambda(lambda x: 2.0 * x), layers.SimpleRNN(H)).save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = "2.15.0"
    assert "holds code (a Lambda layer)" in refusal(path)
    (seen,) = ka.observe_model(ka.load_model(path, safe_mode=False), X)
    assert np.array_equal(seen.inputs, 2.0 * X)


# The layouts of arrays. That they are right, outputs of Keras 2.15 show above: so mistakes would.


def cudnn_arrays(folder):
    with h5py.File(folder / "cudnn-2.15.0.h5") as file:
        group = file["model_weights/first"]
        return [group[name][()] for name in group.attrs["weight_names"]]


def lstm_outputs(arrays, inputs):
    return rp.replay(rp.LSTM(*arrays), inputs).outputs


def test_each_step_of_the_conversion_matters(folder):
    """A gate that is not turned, or only transposed, or a bias that is halved: other outputs."""
    kernel, recurrent, bias = cudnn_arrays(folder)
    inputs, _ = recorded(folder / "cudnn-2.15.0.h5")
    right = lstm_outputs(of_cudnn(kernel, recurrent, bias), inputs)
    both = bias.reshape(2, -1)
    gates = np.split(kernel, 4, axis=1)
    reshaped = np.concatenate([g.T.reshape(g.shape) for g in gates], axis=1)
    for wrong in (
        (kernel, of_cudnn(kernel, recurrent, bias)[1], both.sum(axis=0)),
        (reshaped, of_cudnn(kernel, recurrent, bias)[1], both.sum(axis=0)),
        (of_cudnn(kernel, recurrent, bias)[0], recurrent, both.sum(axis=0)),
        (*of_cudnn(kernel, recurrent, bias)[:2], both[0]),
    ):
        assert abs(lstm_outputs(wrong, inputs) - right).max() > 1e-3


def test_arrays_of_today_stay_as_they_are():
    arrays = [np.ones((4, 12)), np.ones((3, 12)), np.ones(12)]
    described = {"class_name": "LSTM", "config": {"name": "CuDNNLSTM"}}
    assert [*map(id, modern_arrays(arrays, described))] == [*map(id, arrays)]


def test_a_layer_of_somebody_else_by_keras_s_name(folder, tmp_path):
    """It is not taken for Keras's, in whatever way it says whose it is."""

    def take(**own):
        return lambda config, weights: layer(config, **own)

    theirs = {"module": "theirs", "registered_name": "their>LSTM"}
    for own in ({"class_name": "their>LSTM"}, theirs, {**theirs, "registered_name": "LSTM"}):
        refusal(changed(folder, tmp_path, take(**own)))
    with pytest.raises(InputError, match="expected another name than 'LSTM', which Keras has"):
        ka.load_model(folder / "lstm-2.3.1.h5", custom_objects={"LSTM": Doubled})


class Doubled(layers.Layer):
    def call(self, x):
        return 2.0 * x


def test_a_layer_of_the_users_own_in_an_old_file(folder, tmp_path):
    def insert(config, weights):
        config["config"]["layers"].insert(
            1, {"class_name": "Doubled", "config": {"name": "d", "trainable": True}}
        )

    path = changed(folder, tmp_path, insert)
    assert "uses 'Doubled', which Keras 3 does not have and --custom does" in refusal(path)
    model = ka.load_model(path, custom_objects={"Doubled": Doubled})
    assert [type(one).__name__ for one in model.layers] == ["LSTM", "Doubled", "LSTM"]
