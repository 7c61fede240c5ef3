"""Models whose files hold or name code: none of it runs, or is imported, unless it is allowed.

The code writes a file into the test's own folder. Each generation of Keras runs what it can.
"""

import json
import sys
import zipfile

import numpy as np
import pytest
from keras_layers import F, H, T, X, functional, keras, layers, tf

from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError

KERAS_3 = hasattr(keras, "ops")

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
only_keras_2 = pytest.mark.skipif(KERAS_3, reason="Keras 3 writes no such layers")

MODULE = "rnn_parity_payload"


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """The file that the code writes; the module of that code can be imported."""
    path = tmp_path / "it ran"
    source = f"from pathlib import Path\nPath({str(path)!r}).touch()\n"
    source += "def f(x):\n    return x\nclass Thing:\n    pass\n"
    (tmp_path / f"{MODULE}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop(MODULE, None)


def unchanged(x, mask=None):
    return x


def payload(marker):
    """A lambda, as it is written into a file, with the path in it."""
    return eval(f"lambda x, mask=None: __import__('pathlib').Path({str(marker)!r}).touch()")


def edited(path, change):
    """Apply `change` to the description in a saved model."""
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
        return
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    config = json.loads(entries["config.json"])
    change(config)
    entries["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in entries.items():
            new.writestr(name, content)


def layer_config(config, class_name):
    """The entries of the only layer of a class."""
    (found,) = (one for one in config["config"]["layers"] if one["class_name"] == class_name)
    return found["config"]


def refusal(path, marker, **options):
    with pytest.raises(InputError) as caught:
        ka.load_model(path, **options)
    assert not marker.exists()
    assert MODULE not in sys.modules
    assert "\n" not in str(caught.value)
    return str(caught.value)


LAMBDA = "holds code (a Lambda layer), which runs when it is loaded; pass --unsafe to allow it"


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("where", ["function", "mask", "output_shape"])
def test_code_in_a_lambda_layer(tmp_path, marker, suffix, where):
    path = tmp_path / f"m.{suffix}"
    layer = layers.Lambda(unchanged, output_shape=(T, F))
    model = functional(layer, layers.SimpleRNN(H))  # it would run here, too
    setattr(layer, "_output_shape" if where == "output_shape" else where, payload(marker))
    model.save(path)
    assert LAMBDA in refusal(path, marker)


@only_keras_2
def test_keras_2_runs_the_mask_where_it_is_allowed(tmp_path, marker):
    """Else the tests before would show nothing."""
    path = tmp_path / "m.h5"
    layer = layers.Lambda(unchanged)
    model = functional(layer, layers.SimpleRNN(H))
    layer.mask = payload(marker)
    model.save(path)
    assert LAMBDA in refusal(path, marker)
    ka.load_model(path, safe_mode=False)
    assert marker.exists()


IMPORTED = {"module": MODULE, "class_name": "function", "config": "f", "registered_name": "f"}
THING = {"module": MODULE, "class_name": "Thing", "config": {}, "registered_name": "Thing"}


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_lambda_layer_that_names_a_function(tmp_path, marker, suffix):
    path = tmp_path / f"m.{suffix}"
    functional(layers.Lambda(unchanged), layers.SimpleRNN(H)).save(path)

    def change(config):
        own = layer_config(config, "Lambda")
        # As this Keras writes one, of a module that can be imported.
        if isinstance(own["function"], dict) and "module" in own["function"]:
            own["function"] = IMPORTED
        own["module"] = MODULE

    edited(path, change)
    assert LAMBDA in refusal(path, marker)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(
    ("entry", "value", "name"),
    [
        ("activation", IMPORTED, "'f'"),
        ("kernel_initializer", THING, "'Thing'"),
        ("kernel_regularizer", THING, "'Thing'"),
        ("recurrent_constraint", IMPORTED, "'f'"),
        ("dtype", THING, "'Thing'"),
    ],
)
def test_what_a_layer_names(tmp_path, marker, suffix, entry, value, name):
    path = tmp_path / f"m.{suffix}"
    functional(layers.SimpleRNN(H)).save(path)
    edited(path, lambda config: layer_config(config, "SimpleRNN").update({entry: value}))
    assert f"uses {name}, which is not registered with Keras" in refusal(path, marker)


def test_a_layer_of_another_module(tmp_path, marker):
    path = tmp_path / "m.keras"
    functional(layers.SimpleRNN(H)).save(path)
    edited(path, lambda config: config["config"]["layers"].append({**THING, "name": "x"}))
    assert "uses 'Thing', which is not registered with Keras" in refusal(path, marker)
    # The class that the caller means is that of the caller, whatever module the file names.
    assert "'Thing'" not in refusal(path, marker, custom_objects={"Thing": layers.Dense})


class Pickled:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_that_are_pickled(tmp_path, marker):
    """Keras 2.15 reads weights from a `.npz`, too, and unpickles what is in it."""
    path, weights = tmp_path / "m.keras", tmp_path / "w.npz"
    functional(layers.SimpleRNN(H)).save(path)
    np.savez(weights, __root__=np.array({"x": Pickled(marker)}, object))
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist() if not name.endswith(".h5")}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in {**entries, "model.weights.npz": weights.read_bytes()}.items():
            new.writestr(name, content)
    assert "holds code (weights in a .npz file), which runs when it is loaded" in refusal(
        path, marker
    )


def test_how_a_model_was_compiled_is_not_used(tmp_path):
    path = tmp_path / "m.keras"
    model = functional(layers.SimpleRNN(H))
    model.compile("sgd", loss=lambda true, predicted: predicted - true)
    model.save(path)
    (seen,) = ka.observe_model(ka.load_model(path), X)
    assert seen.weights is not None


def computed(x):
    """Operations of TensorFlow's, as people write them between layers."""
    x = tf.math.multiply(x, 2.0) + 1.0
    x = tf.concat([x[:, 1:], tf.nn.relu(x[:, :1])], 1)
    return tf.transpose(tf.reshape(tf.cast(x, "float32"), [-1, T, F]), [0, 1, 2])


@only_keras_2
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_operations_of_tensorflow(tmp_path, marker, suffix):
    path = tmp_path / f"m.{suffix}"
    inputs = keras.Input((T, F))
    model = keras.Model(inputs, layers.SimpleRNN(H)(computed(inputs)))
    model.save(path)
    (expected,), (seen,) = (ka.observe_model(m, X) for m in (model, ka.load_model(path)))
    assert np.array_equal(seen.outputs, expected.outputs)
    assert np.array_equal(seen.inputs, computed(tf.constant(X)))

    def change(config):
        own = next(
            one["config"]
            for one in config["config"]["layers"]
            if one["config"].get("function") == "math.multiply"
        )
        own["function"] = "io.write_file"

    edited(path, change)
    said = "holds code (the operation 'io.write_file', not on the list of safe ones)"
    assert said in refusal(path, marker)
