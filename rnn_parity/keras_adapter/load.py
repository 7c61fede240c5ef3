"""Load a saved Keras model, or say in one line why not."""

from __future__ import annotations

import io
import json
import mmap
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rnn_parity.errors import InputError, one_line
from rnn_parity.keras_adapter.hdf5 import check_arrays, check_heaps
from rnn_parity.keras_adapter.runtime import keras_major, quiet, tensorflow_module
from rnn_parity.keras_adapter.safety import parts, runs_code, unregistered
from rnn_parity.system.files import ENCRYPTED, plain_file
from rnn_parity.system.limits import SHARE_OF_TEXT, check_content

MAGIC = {"Keras": b"PK\x03\x04", "HDF5": b"\x89HDF\r\n\x1a\n"}
FREE_WEIGHTS = 10**6
"""How many weights are made without asking: 4 MB of them, in less than a second."""
SHARED_WEIGHTS = 4
"""How often weights may be described that are stored once, since layers share them."""
SUFFIXES = {".keras": "Keras", ".h5": "HDF5", ".hdf5": "HDF5"}

# How older files name a function, and how the versions of Keras then complain.
UNKNOWN = re.compile(r"(?:Unknown [a-z ]+|Could not locate [a-z]+):? '(\w+)'")
NAMESPACES = ("layers", "models", "initializers", "regularizers", "constraints", "activations")


class Saved(NamedTuple):
    """What a file says about itself: the version of Keras that wrote it, and the model's config.

    `stored` counts the numbers in its arrays, `pickles` says whether those may be pickled.
    """

    version: str
    config: Any
    stored: int
    pickles: bool = False


def load_model(
    path: str | os.PathLike[str],
    safe_mode: bool = True,
    custom_objects: Mapping[str, Any] | None = None,
) -> Any:
    """The Keras model in a `.keras`, `.h5` or `.hdf5` file, not compiled.

    With `safe_mode`, a file that holds or names code which is not Keras's (`safety`) is refused
    before Keras sees it: several versions of Keras would run it all the same. Raises `InputError`
    for everything that is not a model which this Keras can load.
    """
    path = Path(path)
    saved = _describe(path, _kind(path))
    tf = tensorflow_module()
    if safe_mode:
        _refuse_code(path, saved, custom_objects)
    _check_weights_fit(path, saved)
    try:
        with quiet():
            model = tf.keras.models.load_model(
                str(path), custom_objects=custom_objects, compile=False, safe_mode=safe_mode
            )
    except Exception as error:  # whatever is wrong with a model surfaces as any exception
        raise InputError(_reason(path, saved, error, custom_objects)) from error
    if not isinstance(model, tf.keras.Model):  # Keras 2 returns what it finds no class in
        raise InputError(f"{path}: expected a model, received the description of something else")
    return model


def _refuse_code(path: Path, saved: Saved, custom_objects: Mapping[str, Any] | None) -> None:
    """Raise `InputError` for a description that holds or names code which is not Keras's."""
    known = {*(custom_objects or ()), *tensorflow_module().keras.utils.get_custom_objects()}
    if saved.pickles:  # Keras 2.15 unpickles what such a file holds
        raise InputError(_unsafe(path, "weights in a .npz file"))
    if what := runs_code(saved.config, known):
        raise InputError(_unsafe(path, what))
    if name := unregistered(saved.config, known):
        raise InputError(_unknown_to_keras(path, name))


def _check_weights_fit(path: Path, saved: Saved) -> None:
    """Raise `InputError` where a description asks for far more weights than the file holds.

    Keras makes room for them, and random numbers, before it looks for those in the file.
    """
    asked = sum(map(_weights_of, parts(saved.config)))
    if asked > max(FREE_WEIGHTS, SHARED_WEIGHTS * saved.stored):
        raise InputError(
            f"{path}: damaged: its layers have at least {asked} weights by their description, and "
            f"{saved.stored} numbers are in the file; save the model again"
        )


def _weights_of(own: Mapping[str, Any]) -> int:
    """At least so many weights a layer has that is described by `own`; 0 for anything else."""
    units, rows, columns = (
        abs(value) if isinstance(value := own.get(key), int) else 0
        for key in ("units", "input_dim", "output_dim")
    )
    gates = 4 if "unit_forget_bias" in own else 3 if "reset_after" in own else 1
    return units * (gates * units if "recurrent_initializer" in own else 1) + rows * columns


def _kind(path: Path) -> str:
    """ "Keras" or "HDF5", after a look at the name and the first bytes."""
    if (path / "saved_model.pb").exists():
        raise InputError(
            f"{path}: expected a .keras or .h5 file, received a SavedModel folder, which Keras 3 "
            "cannot load as layers; load it with the TensorFlow that wrote it and save it as .keras"
        )
    if path.is_dir():
        raise InputError(f"{path}: expected a .keras or .h5 file, received a directory")
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path}: expected a model file ({', '.join(SUFFIXES)}), received the extension "
            f"{path.suffix!r}"
        )
    try:
        with plain_file(path, str(path)) as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not start:
        raise InputError(f"{path}: expected a saved model, received an empty file")
    if not start.startswith(MAGIC[kind]):
        other = [name for name, magic in MAGIC.items() if start.startswith(magic)]
        content = f"{other[0]} content; give it its own extension" if other else "something else"
        raise InputError(f"{path}: expected {kind} content by the extension, received {content}")
    return kind


def _describe(path: Path, kind: str) -> Saved:
    try:
        return _describe_keras(path) if kind == "Keras" else _describe_hdf5(path)
    except InputError:
        raise
    # A damaged file fails in the directory, the decompression, HDF5 or the text.
    except Exception as error:
        raise InputError(
            f"{path}: truncated or damaged ({one_line(error)}); save the model again"
        ) from error


def _describe_keras(path: Path) -> Saved:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        for name in ("metadata.json", "config.json"):
            if name not in names:
                raise _not_whole(path, name)
        for entry in entries:
            if entry.flag_bits & ENCRYPTED:
                raise InputError(
                    f"{path}: {entry.filename!r} is encrypted; save the model without a password"
                )
            if names.count(entry.filename) > 1:
                raise InputError(f"{path}: holds {entry.filename!r} twice; save the model again")
            share = SHARE_OF_TEXT if entry.filename.endswith(".json") else 1
            check_content(entry.file_size, str(path), repr(entry.filename), share)
        check_content(sum(entry.file_size for entry in entries), str(path), "content")
        stored = sum(_stored(path, archive, name) for name in names)
        pickles = any(name.endswith(".npz") for name in names)
        version = str(json.loads(archive.read("metadata.json"))["keras_version"])
        return Saved(version, _loaded(archive.read("config.json")), stored, pickles)


def _loaded(text: bytes) -> Any:
    """The part of a description that is used: how the model was compiled is not."""
    config = json.loads(text)
    return {name: value for name, value in config.items() if name != "compile_config"}


def _stored(path: Path, archive: zipfile.ZipFile, name: str) -> int:
    """How many numbers an entry of an archive holds.

    Raises `InputError` for weights that take too much, or lie elsewhere.
    """
    import h5py  # type: ignore[import-untyped]  # comes with TensorFlow, without types

    if not name.endswith(".h5"):
        return archive.getinfo(name).file_size // 2  # numbers of 2 bytes, at most
    content = archive.read(name)
    check_heaps(content)
    with h5py.File(io.BytesIO(content), "r") as file:
        return check_arrays(file, f"{path}: {name}")


def _describe_hdf5(path: Path) -> Saved:
    import h5py

    with path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
        check_heaps(content)
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise _not_whole(path, "model_config")
        size = file.attrs.get_id("model_config").get_storage_size()
        check_content(size, str(path), "'model_config'", SHARE_OF_TEXT)
        stored = check_arrays(file, str(path))
        version = file.attrs.get("keras_version", "")  # bytes in older files
        version = version.decode() if isinstance(version, bytes) else str(version)
        return Saved(version, json.loads(file.attrs["model_config"]), stored)


def _not_whole(path: Path, missing: str) -> InputError:
    return InputError(
        f"{path}: expected a whole model, received one without {missing!r}; save it with "
        "model.save(), not save_weights()"
    )


def _unsafe(path: Path, what: str = "a Lambda layer") -> str:
    return (
        f"{path}: holds code ({what}), which runs when it is loaded; pass --unsafe to allow it, "
        "only for a file that you trust"
    )


def _unknown_to_keras(path: Path, name: str) -> str:
    return (
        f"{path}: uses {name}, which is not registered with Keras; pass it in custom_objects or "
        "decorate it with keras.saving.register_keras_serializable()"
    )


def _reason(
    path: Path, saved: Saved, error: Exception, custom_objects: Mapping[str, Any] | None
) -> str:
    text = str(error)
    if "safe_mode=False" in text:
        return _unsafe(path)
    here = str(keras_major())
    if saved.version[:1] not in ("", here):
        return (
            f"{path}: written by Keras {saved.version}, and Keras {here} cannot load it; "
            "use the TensorFlow that wrote it"
            + (", or install tf_keras and set TF_USE_LEGACY_KERAS=1" if here == "3" else "")
        )
    names = _unregistered(saved.config, _known(custom_objects)) or _unknown(text)
    if names:
        return _unknown_to_keras(path, repr(names[0]))
    return f"{path}: Keras cannot load it: {one_line(error)}"


def _unknown(message: str) -> list[str]:
    # Keras 2 complains of 'function' when it cannot read what it wrote itself.
    return [name for name in UNKNOWN.findall(message) if name != "function"]


def _known(custom_objects: Mapping[str, Any] | None) -> set[str]:
    """Every class and function name that Keras could resolve."""
    keras = tensorflow_module().keras
    known = {"Functional", *(custom_objects or ()), *keras.utils.get_custom_objects()}
    return known.union(*(dir(getattr(keras, name)) for name in NAMESPACES))


def _unregistered(config: Any, known: set[str]) -> list[str]:
    """The names in a model's config that are neither Keras's nor known, in the file's order."""
    found = []
    for part in parts(config):
        name = part.get("class_name")
        registered = part.get("registered_name", name)
        if name == "function":  # one of a user's own; `config` is what it is called
            name = registered = part.get("config")
        # Keras 3 writes null where the class is its own.
        if not isinstance(name, str) or not isinstance(registered, str):
            continue
        if not {name, registered} & known and not name.startswith("__"):
            found.append(name)
    return found
