"""Weights alone: what layers are rebuilt from them, and what is refused.

The files are those of Keras 1.2 to 2.15 in fixtures/old_models.zip, with what these computed, and
such as the Keras here writes.
"""

import h5py
import numpy as np
import pytest
from keras_layers import F, H, X, functional, keras, layers, randomised
from old_models import recorded, unpacked

from rnn_parity import keras_adapter as ka
from rnn_parity.api.functions import check_model
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.weight_files import found_layers, weight_calls
from rnn_parity.system.limits import VARIABLE

pytestmark = pytest.mark.skipif(not hasattr(keras, "ops"), reason="Keras 2 writes other names")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return unpacked(tmp_path_factory.mktemp("old"))


def calls(path, inputs=None, layer_name=None, mode="graph", **arguments):
    return weight_calls(path, arguments, inputs, None, layer_name, mode, (2, 5, 0))


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_weights_of_keras_1(folder, kind):
    """Three arrays for each gate, and an LSTM's gates in another order."""
    path = folder / f"weights_{kind}-1.2.2.h5"
    inputs, (expected,) = recorded(path)
    (seen,) = calls(path, inputs)
    np.testing.assert_allclose(seen.outputs[:, -1], expected, atol=1e-6)
    assert seen.layer_class == kind.upper()
    assert getattr(seen.weights, "reset_after", False) is False


@pytest.mark.parametrize("version", ["2.0.8", "2.3.1", "2.15.0"])
def test_weights_of_keras_2(folder, version):
    path = folder / f"weights-{version}.h5"
    inputs, (expected,) = recorded(path)
    first, second = (one.name for one in found_layers(path))
    (seen,) = calls(path, inputs, first)
    (last,) = calls(path, seen.outputs, second, go_backwards=True)
    np.testing.assert_allclose(last.outputs[:, -1], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "top"),
    [("archive_weights-2.15.0.weights.h5", "lstm"), ("cudnn_weights-2.15.0.h5", "first")],
)
def test_two_directions(folder, name, top):
    """The first two layers of a model, the second one a `Bidirectional`."""
    model = name.replace("_weights", "").replace(".weights.h5", ".keras")
    inputs, (expected,) = recorded(folder / model)
    (first,) = calls(folder / name, inputs, top)
    both = "both" if top == "first" else "bidirectional"
    parts = calls(folder / name, first.outputs, both)
    forward, backward = sorted(parts, key=lambda one: one.config["go_backwards"])
    assert [one.layer_name.split("/")[1] for one in (forward, backward)] == ["forward", "backward"]
    merged = np.concatenate([forward.outputs, backward.outputs[:, ::-1]], axis=-1)
    if "cudnn" in name:
        (last,) = calls(folder / name, merged, "last")
        merged = last.outputs[:, -1]
    np.testing.assert_allclose(merged, expected, atol=1e-6)


def test_the_default_of_old_is_told(folder):
    (told, warned) = calls(folder / "weights_gru-1.2.2.h5")[0].notes
    assert told.startswith("rebuilt from its weights alone as GRU of 3 units, told by their shapes")
    assert "activation tanh, recurrent_activation sigmoid, go_backwards False" in told
    assert warned.startswith("Keras 1 wrote these weights, whose recurrent_activation was hard_sig")
    hard = calls(folder / "weights-2.0.8.h5", recurrent_activation="hard_sigmoid")[0].notes
    assert hard[1].startswith("OTHER NUMBERS THAN IN KERAS 2.0.8")
    (told,) = calls(folder / "weights_gru-1.2.2.h5", recurrent_activation="softsign")[0].notes
    assert "recurrent_activation softsign" in told
    assert [len(one.notes) for one in calls(folder / "weights-2.3.1.h5")] == [1, 1]


def saved(tmp_path, *stack):
    path = tmp_path / "m.weights.h5"
    for layer in stack:
        if isinstance(layer, layers.RNN):
            randomised(layer, (None, None, layer_features(stack, layer)))
    functional(*stack).save_weights(path)
    return path


def layer_features(stack, layer):
    before = stack[: stack.index(layer)]
    return before[-1].units if before else F


KINDS = {
    "simple_rnn": lambda: layers.SimpleRNN(H, return_sequences=True, name="layer"),
    "lstm": lambda: layers.LSTM(H, return_sequences=True, name="layer"),
    "gru": lambda: layers.GRU(H, return_sequences=True, name="layer"),
    "gru_before": lambda: layers.GRU(H, return_sequences=True, reset_after=False, name="layer"),
    "no_bias": lambda: layers.LSTM(H, return_sequences=True, use_bias=False, name="layer"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_keras_here_writes(tmp_path, kind):
    layer = KINDS[kind]()
    (seen,) = calls(saved(tmp_path, layer), X)
    np.testing.assert_allclose(seen.outputs, np.asarray(layer(X)), atol=1e-6)
    assert seen.layer_class == type(layer).__name__


def test_a_layer_by_name_and_the_options_of_one(tmp_path):
    """An option that some layer has goes to that one alone."""
    path = saved(
        tmp_path, layers.LSTM(4, return_sequences=True), layers.SimpleRNN(3), layers.Dense(2)
    )
    lstm, simple = calls(path, recurrent_activation="relu", activation="softsign")
    assert (lstm.weights.recurrent_activation.name, lstm.weights.activation.name) == (
        "relu",
        "softsign",
    )
    assert simple.weights.activation.name == "softsign"
    (only,) = calls(path, layer_name="simple_rnn")
    assert only.weights.units == 3


def test_the_report(tmp_path):
    path = saved(tmp_path, layers.GRU(4, return_sequences=True), layers.LSTM(3))
    report = check_model(str(path), batch=4, timesteps=6, arguments={"go_backwards": True})
    assert report
    assert [check.subject.layer_class for check in report.checks] == ["GRU", "LSTM"]
    assert all(check.shape.timesteps == 6 for check in report.checks)
    assert report.notes == ()
    wrong = check_model(
        str(path), batch=4, against=lambda x: np.zeros((4, 28, 4)), layer_name="gru"
    )
    assert wrong.verdict == "diverged"


def test_what_is_not_checked_is_named(folder, tmp_path):
    path = saved(tmp_path, layers.Dense(4), layers.GRU(4), layers.Dense(2))
    (told,) = check_model(str(path), batch=2).notes
    assert told.endswith("has weights of other layers, too, which are not checked: dense, dense_1")
    with h5py.File(folder / "tagger-2.3.1.h5") as model, h5py.File(tmp_path / "w.h5", "w") as file:
        for name in model["model_weights"]:
            model.copy(f"model_weights/{name}", file)
        file.attrs.update(model["model_weights"].attrs)
    report = check_model(str(tmp_path / "w.h5"), batch=2)
    names = [check.subject.layer_name for check in report.checks]
    assert [name.rstrip("_0123456789") for name in names] == [
        *("bidirectional_1/forward", "bidirectional_1/backward", "gru"),
    ]
    assert report.notes[0].endswith("not checked: embedding_1, time_distributed_1")


def test_a_file_without_a_recurrent_layer(tmp_path):
    report = check_model(str(saved(tmp_path, layers.Dense(2))))
    assert not report
    assert report.notes[0].endswith("has no recurrent layer")


# What is refused.


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        check_model(str(path), batch=2, timesteps=3, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def written(tmp_path, *arrays, path="layers/lstm/cell/vars"):
    file = tmp_path / "w.weights.h5"
    with h5py.File(file, "w") as h5:
        for i, array in enumerate(arrays):
            h5[f"{path}/{i}"] = array
    return file


def ones(*shape):
    return np.ones(shape, "float32")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ([ones(4, 12)], "layer 'lstm': expected a kernel (features, gates x units), a recurrent"),
        ([ones(4, 12), ones(3, 12), ones(12), ones(3)], "only SimpleRNN, LSTM and GRU can be told"),
        ([ones(3, 3, 4, 12), ones(3, 3, 3, 12)], "received arrays of shapes [(3, 3, 4, 12)"),
        ([ones(4, 6), ones(3, 6)], "expected a recurrent kernel (units, 1, 3 or 4 x units)"),
        ([ones(4, 8), ones(3, 8)], "as wide, received shapes (3, 8) and (4, 8)"),
        ([ones(4, 12), ones(3, 9)], "as wide, received shapes (3, 9) and (4, 12)"),
        ([ones(4, 0), ones(0, 0)], "as wide, received shapes (0, 0) and (4, 0)"),
        ([ones(0, 12), ones(3, 12)], "as wide, received shapes (3, 12) and (0, 12)"),
        ([ones(4, 12), ones(3, 12), ones(11)], "expected a bias of LSTM of shape (12,), received"),
        ([ones(4, 9), ones(3, 9), ones(3, 9)], "a bias of GRU of shape (9,) or (2, 9), received"),
        ([ones(4, 3), ones(3, 3), ones(6)], "a bias of SimpleRNN of shape (3,), received (6,)"),
        ([np.ones((4, 12), int), np.ones((3, 12), int)], "float64, received int64"),
    ],
)
def test_arrays_that_are_those_of_no_layer(tmp_path, arrays, said):
    assert said in refusal(written(tmp_path, *arrays))


def test_a_layer_beside_one_that_cannot_be_told(tmp_path):
    path = written(tmp_path, ones(4, 12), ones(3, 12), ones(12))
    with h5py.File(path, "a") as file:
        file["layers/odd/cell/vars/0"] = ones(4, 12)
    assert "layer 'odd': expected a kernel" in refusal(path)
    assert refusal(path, layer_name="odd") == refusal(path)
    assert check_model(str(path), batch=4, layer_name="lstm").checks[0].verdict != "diverged"


def test_nan_among_the_weights_is_no_parity(tmp_path):
    kernel = ones(4, 12)
    kernel[1, 2] = np.nan
    report = check_model(str(written(tmp_path, kernel, ones(3, 12), ones(12))), batch=2)
    assert not report


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_weights(tmp_path, share):
    path = saved(tmp_path, layers.LSTM(3))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated or damaged (" in refusal(path)


def test_groups_that_hold_something_else(tmp_path):
    file = tmp_path / "a.h5"
    with h5py.File(file, "w") as h5:
        h5["x"] = 3
    assert "neither: it has no 'model_config', no 'layer_names' and no 'layers'" in refusal(file)
    with h5py.File(file, "w") as h5:
        h5.attrs["layer_names"] = [b"lstm"]
    assert "truncated or damaged (" in refusal(file)
    with h5py.File(file, "w") as h5:
        h5.create_group("layers/lstm/cell/vars")
    assert not check_model(str(file))
    with h5py.File(file, "w") as h5:
        h5["layers/lstm/cell/vars/kernel"] = ones(3, 3)
    assert "truncated or damaged (" in refusal(file)


def test_an_array_that_is_listed_often(tmp_path, monkeypatch):
    file = tmp_path / "a.h5"
    with h5py.File(file, "w") as h5:
        h5.attrs["layer_names"] = [b"lstm"] * 1000
        group = h5.create_group("lstm")
        group.attrs["weight_names"] = [b"lstm/recurrent_kernel:0"] * 50
        group["lstm/recurrent_kernel:0"] = ones(64, 256)
    monkeypatch.setenv(VARIABLE, "1")
    assert "expected at most 256 MiB, received listed arrays of 3.05 GiB" in refusal(file)


def test_names_with_slashes(tmp_path):
    """As Keras 2 writes those of a layer called "a/b"."""
    file = tmp_path / "a.h5"
    names = [f"a/b/lstm_cell/{role}:0" for role in ("kernel", "recurrent_kernel", "bias")]
    with h5py.File(file, "w") as h5:
        h5.attrs.update(layer_names=[b"a/b"], keras_version=b"2.15.0")
        group = h5.create_group("a/b")
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, shape in zip(names, ((4, 12), (3, 12), (12,)), strict=True):
            group[name] = np.random.default_rng(0).normal(size=shape).astype("float32")
    (found,) = found_layers(file)
    assert found.kind == "LSTM"
    assert check_model(str(file), batch=4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"arguments": {"units": 3}}, "--arg units: expected one of activation, recurrent_activ"),
        ({"arguments": {"reset_after": True}}, "--arg reset_after: expected one of activation"),
        ({"arguments": {"activation": 3}}, "--arg activation: expected the name of an activ"),
        ({"arguments": {"unroll": "no"}}, "--arg unroll: expected True or False, received 'no'"),
        ({"arguments": {"activation": "gone"}}, "LSTM rebuilt from its config: Keras refused: "),
        ({"layer_name": "gru"}, "layer name: expected one of lstm, received 'gru'"),
        ({"inputs": np.ones((2, 3, 5))}, "--input: expected (batch, timesteps, 4) by the weights"),
        ({"custom": ["a:B"]}, "holds weights alone, which name no code; leave it out"),
    ],
)
def test_options_that_the_weights_refute(tmp_path, options, said):
    path = written(tmp_path, ones(4, 12), ones(3, 12), ones(12))
    with pytest.raises(InputError) as caught:
        check_model(str(path), **options)
    assert said in str(caught.value)


def test_a_whole_model_takes_no_options_of_layers(tmp_path):
    path = tmp_path / "m.h5"
    functional(layers.LSTM(3)).save(path)
    assert "--arg: only for weights alone or a generated layer" in refusal(
        path, arguments={"activation": "relu"}
    )


def test_weights_are_no_model_for_who_asks_for_one(tmp_path):
    with pytest.raises(InputError, match="received one without 'model_config'"):
        ka.load_model(saved(tmp_path, layers.LSTM(3)))
