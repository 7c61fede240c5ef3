"""Load a saved Keras model, or say in one line why not.

What a file says about itself is read and checked before Keras sees it: the sizes of its arrays
(`hdf5`), and in safe mode the names in its description (`safe_names`).
"""

from __future__ import annotations

import io
import json
import mmap
import os
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rnn_parity.errors import InputError, one_line
from rnn_parity.keras_adapter import old_files
from rnn_parity.keras_adapter.hdf5 import check_arrays, check_heaps
from rnn_parity.keras_adapter.old_files import objects_in
from rnn_parity.keras_adapter.runtime import keras_major, quiet, tensorflow_module
from rnn_parity.keras_adapter.safe_names import runs_code, unregistered
from rnn_parity.system.files import ENCRYPTED, plain_file
from rnn_parity.system.limits import SHARE_OF_TEXT, check_content

MAGIC = {"Keras": b"PK\x03\x04", "HDF5": b"\x89HDF\r\n\x1a\n"}
FREE_WEIGHTS = 10**6
"""How many weights are made without asking: 4 MB of them, in less than a second."""
SHARED_WEIGHTS = 4
"""How often weights may be described that are stored once, since layers share them."""
SUFFIXES = {".keras": "Keras", ".h5": "HDF5", ".hdf5": "HDF5"}

UNKNOWN = re.compile(r"(?:Unknown [a-z ]+|Could not locate [a-z]+):? '(\w+)'")
"""How the versions of Keras complain of a name that they do not know, in files of older ones."""
BESIDE_THE_REASON = (" Full object config:", " Please ensure", " Make sure", "\n\nconfig=")
"""Where Keras goes on to what it was given, or to advice for whoever wrote the code."""
NAMESPACES = ("layers", "models", "initializers", "regularizers", "constraints", "activations")


class Saved(NamedTuple):
    """What a file says about itself: the version of Keras that wrote it, and the model's config.

    `config` is None where the file holds weights alone. `stored` counts the numbers in its arrays,
    `pickles` says whether those may be pickled.
    """

    version: str
    config: Any
    stored: int
    pickles: bool = False


class OldKerasNeededError(InputError):
    """A model file of Keras 2 that Keras 3 cannot load, even in its own words."""


def load_model(
    path: str | os.PathLike[str],
    safe_mode: bool = True,
    custom_objects: Mapping[str, Any] | None = None,
) -> Any:
    """The Keras model in a `.keras`, `.h5` or `.hdf5` file, not compiled.

    With `safe_mode`, a file that holds or names code which is not Keras's (`safe_names`) is refused
    before Keras sees it: several versions of Keras would run it all the same. A file of Keras 2 is
    translated for Keras 3 (`old_files`). Raises `OldKerasNeededError` where that does not help, and
    `InputError` for everything else that is not a model which this Keras can load.
    """
    path = Path(path)
    return load_described(path, describe(path), safe_mode, custom_objects)


def describe(path: Path) -> Saved:
    """What a model file says about itself.

    Raises `InputError` for one that is damaged, too large or of another kind.
    """
    return _describe(path, _kind(path))


def load_described(
    path: Path, saved: Saved, safe_mode: bool, custom_objects: Mapping[str, Any] | None
) -> Any:
    """The model in a file that was described already; raises as `load_model` does."""
    if saved.config is None:
        raise _not_whole(path, "model_config")
    tf, is_old = tensorflow_module(), old_files.is_old(saved.version)
    readable = _readable(path, saved, custom_objects or ()) if is_old else saved
    if safe_mode:
        _refuse_code(path, readable, custom_objects)
    _check_weights_fit(path, readable)
    options = {"custom_objects": custom_objects, "safe_mode": safe_mode}
    try:
        with quiet():
            if is_old:
                model = _load_translated(path, saved, readable.config, options)
            else:
                model = tf.keras.models.load_model(str(path), compile=False, **options)
    except Exception as error:  # whatever is wrong with a model surfaces as any exception
        kind = OldKerasNeededError if is_old else InputError
        raise kind(_reason(path, saved, error, custom_objects)) from error
    if not isinstance(model, tf.keras.Model):  # Keras 2 returns what it finds no class in
        raise InputError(f"{path}: expected a model, received the description of something else")
    return model


def _readable(path: Path, saved: Saved, custom: Collection[str]) -> Saved:
    """What a file says about itself, with the description that Keras 3 would have written."""
    for name in filter(old_files.is_own_class, custom):
        raise InputError(
            f"{path}: expected another name than {name!r}, which Keras has, for a layer of your "
            "own in a file of Keras 2; rename the class, and save the model with Keras 3"
        )
    try:
        return saved._replace(config=old_files.translated(saved.config))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # it may lack anything, or have it in another shape
        raise InputError(
            f"{path}: damaged: its description is none of a model of Keras ({one_line(error)}); "
            "save the model again"
        ) from error


def _load_translated(
    path: Path, saved: Saved, config: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    """The model that `config` describes, with the weights that Keras 2 wrote into the file."""
    import h5py  # type: ignore[import-untyped]  # comes with TensorFlow, without types

    model = tensorflow_module().keras.utils.deserialize_keras_object(config, **options)
    if path.suffix.lower() == ".keras":
        model.load_weights(str(path))
        return model
    with h5py.File(path, "r") as file:
        old_files.assign(model, file["model_weights"], saved.config)
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
    asked = sum(map(_weights_of, objects_in(saved.config)))
    if asked > max(FREE_WEIGHTS, SHARED_WEIGHTS * saved.stored):
        raise InputError(
            f"{path}: damaged: its layers have at least {asked} weights by their description, and "
            f"{saved.stored} numbers are in the file; save the model again"
        )


def _weights_of(own: Mapping[str, Any]) -> int:
    """The least number of weights of a layer that `own` describes; 0 for anything else."""
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
    """What a file says about itself; raises `InputError` for one that is damaged."""
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
        config = json.loads(archive.read("config.json"))
        config.pop("compile_config", None)  # how the model was compiled is not used
        return Saved(version, config, stored, pickles)


def _stored(path: Path, archive: zipfile.ZipFile, name: str) -> int:
    """How many numbers an entry of an archive holds.

    Raises `InputError` for weights that take too much, or lie elsewhere.
    """
    import h5py

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
        stored = check_arrays(file, str(path))
        version = old_files.text(file.attrs.get("keras_version", ""))
        if "model_config" not in file.attrs:
            return Saved(version, None, stored)
        size = file.attrs.get_id("model_config").get_storage_size()
        check_content(size, str(path), "'model_config'", SHARE_OF_TEXT)
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
        f"{path}: uses {name}, which is not registered with Keras; name it with --custom "
        "module:Name, or decorate it with keras.saving.register_keras_serializable()"
    )


def _reason(
    path: Path, saved: Saved, error: Exception, custom_objects: Mapping[str, Any] | None
) -> str:
    text = str(error)
    if "safe_mode=False" in text:
        return _unsafe(path)
    # Keras 2 complains of 'function' when it cannot read what it wrote itself.
    complained_of = [name for name in UNKNOWN.findall(text) if name != "function"]
    unresolved = _unresolved(saved.config, _known(custom_objects))
    is_nameless = "'function'" in text
    named = [name for name in unresolved if is_nameless or f"'{name}'" in text]
    names = [*named, *complained_of]
    here = str(keras_major())
    if saved.version[:1] in ("", here):
        own = f"{path}: Keras cannot load it: {_own_words(error)}"
        return _unknown_to_keras(path, repr(names[0])) if names else own
    why = _own_words(error)
    if names:
        why = f"it uses {names[0]!r}, which Keras {here} does not have and --custom does not name"
    return f"{path}: written by Keras {saved.version}, and Keras {here} cannot load it: {why}"


def _own_words(error: Exception) -> str:
    """The innermost thing that Keras complains of, without the object and without its advice."""
    text = str(error).rpartition("Exception encountered: ")[2]
    for mark in BESIDE_THE_REASON:
        text = text.partition(mark)[0]
    return one_line(ValueError(text.strip().rstrip(".") or type(error).__name__))


def _known(custom_objects: Mapping[str, Any] | None) -> set[str]:
    """Every class and function name that Keras could resolve."""
    keras = tensorflow_module().keras
    known = {"Functional", *(custom_objects or ()), *keras.utils.get_custom_objects()}
    return known.union(*(dir(getattr(keras, name)) for name in NAMESPACES))


def _unresolved(config: Any, known: set[str]) -> list[str]:
    """The names in a model's config that are neither Keras's nor known, in the file's order."""
    found = []
    for part in objects_in(config):
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
