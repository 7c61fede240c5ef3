"""Saved models, and the many files that are none: each refused in one line."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from keras_layers import H, X, functional, keras, layers, tf

from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError
from rnn_parity.system.limits import VARIABLE

KERAS_3 = hasattr(keras, "ops")

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")

DAMAGED = Path(__file__).parents[2] / "fixtures" / "damaged"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The same model in both formats."""
    folder = tmp_path_factory.mktemp("models")
    model = functional(layers.SimpleRNN(H, name="rnn"), layers.Dense(2))
    for suffix in ("keras", "h5"):
        model.save(folder / f"model.{suffix}")
    return model, folder


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_saved_model_gives_the_same_numbers(saved, suffix):
    model, folder = saved
    (expected,) = ka.observe_model(model, X)
    (seen,) = ka.observe_model(ka.load_model(folder / f"model.{suffix}"), X)
    assert seen.layer_name == "rnn"
    assert np.array_equal(seen.outputs, expected.outputs)


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        ka.load_model(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.keras", None, "cannot be read: No such file or directory"),
        ("empty.h5", b"", "expected a saved model, received an empty file"),
        ("text.keras", b"hello, world", "expected Keras content by the extension, received some"),
        (
            "hdf5.keras",
            b"\x89HDF\r\n\x1a\n12345",
            "received HDF5 content; give it its own extension",
        ),
        ("model.onnx", b"x", "expected a model file (.keras, .h5, .hdf5), received the extension"),
    ],
)
def test_files_that_are_no_models(tmp_path, name, content, expected):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert expected in refusal(tmp_path / name)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_truncated_files(saved, tmp_path, suffix):
    content = (saved[1] / f"model.{suffix}").read_bytes()
    path = tmp_path / f"half.{suffix}"
    path.write_bytes(content[: len(content) // 2])
    assert "truncated or damaged (" in refusal(path)


def test_directories(tmp_path):
    assert "received a directory" in refusal(tmp_path)
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"x")
    assert "received a SavedModel folder, which Keras 3 cannot load as layers" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\x03\x04")
    path.chmod(0)
    assert "cannot be read: Permission denied" in refusal(path)


def test_other_zip_and_weights_alone(saved, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "a")
    path = tmp_path / "zip.keras"
    path.write_bytes(buffer.getvalue())
    assert "expected a whole model, received one without 'metadata.json'" in refusal(path)
    weights = tmp_path / "model.weights.h5"
    saved[0].save_weights(weights)
    assert "received one without 'model_config'; save it with model.save()" in refusal(weights)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_lambda_is_refused_until_allowed(tmp_path, suffix):
    path = tmp_path / f"lambda.{suffix}"
    doubled = layers.Lambda(lambda x: 2.0 * x)
    functional(doubled, layers.SimpleRNN(H)).save(path)
    assert "holds code (a Lambda layer)" in refusal(path)
    assert "pass --unsafe to allow it, only for a file that you trust" in refusal(path)
    (seen,) = ka.observe_model(ka.load_model(path, safe_mode=False), X)
    assert np.array_equal(seen.inputs, 2.0 * X)


class Scale(layers.Layer):
    def call(self, x):
        return 2.0 * x


def bent(x):
    return tf.tanh(x) + 0.1 * x


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("custom", [Scale, bent], ids=["layer", "activation"])
def test_unregistered_objects_are_named(tmp_path, suffix, custom):
    path = tmp_path / f"custom.{suffix}"
    stack = [Scale()] if custom is Scale else []
    activation = {} if custom is Scale else {"activation": bent}
    functional(*stack, layers.SimpleRNN(H, **activation)).save(path)
    name = custom.__name__
    assert f"uses {name!r}, which is not registered with Keras" in refusal(path)
    if suffix == "h5" and custom is bent and not KERAS_3:
        return  # Keras 2 cannot read this file of its own
    model = ka.load_model(path, custom_objects={name: custom})
    assert ka.observe_model(model, X)[0].weights is not None


def test_file_of_another_keras(saved, tmp_path):
    """A model as the other generation writes it: its classes live in other modules."""
    source, path = saved[1] / "model.keras", tmp_path / "old.keras"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "metadata.json":
                content = b'{"keras_version": "%d.1.0"}' % (2 if KERAS_3 else 3)
            if name == "config.json":
                content = content.replace(b"Functional", b"Gone")
            new.writestr(name, content)
    other, here = ("2.1.0", "3") if KERAS_3 else ("3.1.0", "2")
    said = refusal(path)
    assert f"written by Keras {other}, and Keras {here} cannot load it: " in said
    assert "Gone" in said  # what Keras itself complains of


def test_damaged_and_encrypted_files():
    assert "truncated or damaged (Can't " in refusal(DAMAGED / "h5-attr.h5")
    # A heap of texts with an object of no size, which HDF5 would read for ever.
    assert "truncated or damaged (a heap of texts is damaged)" in refusal(DAMAGED / "h5-heap.h5")
    assert refusal(DAMAGED / "encrypted-flag.keras").endswith(
        "'metadata.json' is encrypted; save the model without a password"
    )


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_pipe_is_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"m.{suffix}")
    assert "something that is not a plain file" in refusal(tmp_path / f"m.{suffix}")


def rewritten(saved, tmp_path, **changes):
    """The saved `.keras` model with other contents in it, compressed."""
    path = tmp_path / "changed.keras"
    with (
        zipfile.ZipFile(saved[1] / "model.keras") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            content = changes.get(name.replace(".", "_"), old.read(name))
            new.writestr(name, content)
    return path


def test_what_inflates_is_refused_before_it_is_read(saved, tmp_path, monkeypatch):
    path = rewritten(saved, tmp_path, config_json=b" " * 10**6)
    monkeypatch.setenv(VARIABLE, "0.0625")  # 64 MiB: 16 for a file, 512 KiB for its description
    said = "expected at most 512 KiB, received 'config.json' of 977 KiB; name a smaller one"
    assert f"{said}, or set {VARIABLE}=1" in refusal(path)


def deep(depth):
    return b'{"a": ' * depth + b"0" + b"}" * depth


def test_a_description_that_is_nested_too_deeply(saved, tmp_path):
    assert "truncated or damaged (" in refusal(rewritten(saved, tmp_path, config_json=deep(10**5)))
    refusal(rewritten(saved, tmp_path, config_json=deep(400)))


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b"{}", b'{"class_name": 3}', b"\xff"])
def test_a_description_of_something_else(saved, tmp_path, content):
    refusal(rewritten(saved, tmp_path, config_json=content))
    refusal(rewritten(saved, tmp_path, metadata_json=content))


def test_a_part_that_is_there_twice(saved, tmp_path):
    path = rewritten(saved, tmp_path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", "{}")
    assert "holds 'config.json' twice; save the model again" in refusal(path)


def changed_hdf5(saved, tmp_path, change):
    import h5py

    path = tmp_path / "changed.h5"
    path.write_bytes((saved[1] / "model.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        change(h5py, file)
    return path


def test_weights_that_claim_too_much_or_lie_elsewhere(saved, tmp_path):
    """A dataset without chunks takes a few bytes, whatever its shape says."""

    def huge(h5py, file):
        file.create_dataset("huge", (10**9, 10), "f4", chunks=(1000, 10), compression="gzip")

    def outside(h5py, file):
        file["link"] = h5py.ExternalLink("/etc/hostname", "/")

    def virtual(h5py, file):
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
        file.create_virtual_dataset("virtual", layout)

    def stored(h5py, file):
        file.create_dataset("raw", (3,), "f4", external=[("/etc/hostname", 0, 12)])

    def unwritten(h5py, file):
        file.create_dataset("none", (10**4, 10**4), "f4")

    assert "'/none' has a larger shape than" in refusal(changed_hdf5(saved, tmp_path, unwritten))
    said = "expected at most 2 GiB, received arrays of 37.3 GiB; name a smaller one, or set"
    assert said in refusal(changed_hdf5(saved, tmp_path, huge))
    for change, name in ((outside, "/link"), (virtual, "/virtual"), (stored, "/raw")):
        path = changed_hdf5(saved, tmp_path, change)
        assert f"'{name}' lies in another file, which is not read" in refusal(path)


def test_a_group_that_holds_itself(saved, tmp_path):
    def loop(h5py, file):
        file["loop"] = file["/"]
        file["soft"] = h5py.SoftLink("/nowhere")

    assert ka.load_model(changed_hdf5(saved, tmp_path, loop))


def test_a_layer_of_a_million_units(saved, tmp_path):
    with zipfile.ZipFile(saved[1] / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    (rnn,) = (one for one in config["config"]["layers"] if one["class_name"] == "SimpleRNN")
    rnn["config"]["units"] = 10**6
    path = rewritten(saved, tmp_path, config_json=json.dumps(config).encode())
    assert "damaged: its layers have at least 1000000000002 weights by their" in refusal(path)
