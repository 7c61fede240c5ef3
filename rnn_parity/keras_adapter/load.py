"""Load a saved Keras model, or say in one line why not."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import keras_major, one_line, quiet, tensorflow_module

MAGIC = {"Keras": b"PK\x03\x04", "HDF5": b"\x89HDF\r\n\x1a\n"}
SUFFIXES = {".keras": "Keras", ".h5": "HDF5", ".hdf5": "HDF5"}

# How older files name a function, and how the versions of Keras then complain.
UNKNOWN = re.compile(r"(?:Unknown [a-z ]+|Could not locate [a-z]+):? '(\w+)'")
NAMESPACES = ("layers", "models", "initializers", "regularizers", "constraints", "activations")


class Saved(NamedTuple):
    """What a file says about itself: the version of Keras that wrote it, and the model's config."""

    version: str
    config: Any


def load_model(
    path: str | os.PathLike[str],
    safe_mode: bool = True,
    custom_objects: Mapping[str, Any] | None = None,
) -> Any:
    """The Keras model in a `.keras`, `.h5` or `.hdf5` file, not compiled.

    With `safe_mode`, a file that holds Python code (a `Lambda` layer's) is refused before Keras
    sees it: for HDF5 files some versions of Keras would run the code all the same. Raises
    `InputError` for everything that is not a model which this Keras can load.
    """
    path = Path(path)
    saved = _describe(path, _kind(path))
    if safe_mode and _holds_code(saved.config):
        raise InputError(_unsafe(path))
    tf = tensorflow_module()
    try:
        with quiet():
            return tf.keras.models.load_model(
                str(path), custom_objects=custom_objects, compile=False, safe_mode=safe_mode
            )
    except Exception as error:  # whatever is wrong with a model surfaces as any exception
        raise InputError(_reason(path, saved, error, custom_objects)) from error


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
        with path.open("rb") as file:
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
    except KeyError as error:
        raise InputError(
            f"{path}: expected a whole model, received one without {error}; save it with "
            "model.save(), not save_weights()"
        ) from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: truncated or damaged ({one_line(error)}); save the model again"
        ) from error


def _describe_keras(path: Path) -> Saved:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        for name in ("metadata.json", "config.json"):
            if name not in names:
                raise KeyError(name)
        metadata = json.loads(archive.read("metadata.json"))
        return Saved(str(metadata["keras_version"]), json.loads(archive.read("config.json")))


def _describe_hdf5(path: Path) -> Saved:
    import h5py  # type: ignore[import-untyped]  # comes with TensorFlow, without types

    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise KeyError("model_config")
        version = file.attrs.get("keras_version", "")  # bytes in older files
        version = version.decode() if isinstance(version, bytes) else str(version)
        return Saved(version, json.loads(file.attrs["model_config"]))


def _holds_code(config: Any) -> bool:
    """Whether Python code is anywhere in a model's config, as Keras 3 or as Keras 2 writes it."""
    if isinstance(config, list):
        return any(map(_holds_code, config))
    if not isinstance(config, dict):
        return False
    if config.get("class_name") == "__lambda__" or config.get("function_type") == "lambda":
        return True
    return any(map(_holds_code, config.values()))


def _unsafe(path: Path) -> str:
    return (
        f"{path}: holds Python code (a Lambda layer), which runs when it is loaded; pass --unsafe "
        "to allow it, only for a file that you trust"
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
    unregistered = _unregistered(saved.config, _known(custom_objects)) or _unknown(text)
    if unregistered:
        return (
            f"{path}: uses {unregistered[0]!r}, which is not registered with Keras; pass it in "
            "custom_objects or decorate it with keras.saving.register_keras_serializable()"
        )
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
    if isinstance(config, list):
        return [name for value in config for name in _unregistered(value, known)]
    if not isinstance(config, dict):
        return []
    inner = _unregistered(list(config.values()), known)
    name = config.get("class_name")
    registered = config.get("registered_name", name)
    if name == "function":  # one of a user's own; `config` is what it is called
        name = registered = config.get("config")
    # Keras 3 writes null where the class is its own.
    if not isinstance(name, str) or registered is None or {name, registered} & known:
        return inner
    return inner if name.startswith("__") else [name, *inner]
