"""Load a saved Keras model, or say in one line why not.

Keras turns a description into objects by the names in it. Some of its classes hold Python code or
read other files, and Keras 2 imports whatever module the description names and calls what it finds
there; its own safe mode stops some of this in some versions. So names are let through by a list,
before Keras sees the file: Keras's own classes and functions, what was registered with Keras in
this process, and TensorFlow's operations on numbers. Nothing is imported by what is decided here.

An HDF5 file is looked at before anything in it is used, too: a dataset takes what its shape says,
however little of it the file holds (chunks are compressed or missing), and it may lie in another
file: in external storage, behind a link, or as a virtual one.
"""

from __future__ import annotations

import builtins
import io
import json
import mmap
import os
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rnn_parity.errors import InputError, one_line
from rnn_parity.keras_adapter import old_files
from rnn_parity.keras_adapter.old_files import objects_in
from rnn_parity.keras_adapter.runtime import keras_major, quiet, tensorflow_module
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
HEAP = b"GCOL\x01\0\0\0"
"""How a heap of texts begins, in the file format's version 1 of it, the only one."""
RUNS_CODE = {
    "Lambda": "a Lambda layer",
    "__lambda__": "a lambda",
    "ClassMethod": "a layer that calls a method of any class",
    "TensorFlowOpLayer": "a layer of an unknown operation",
    "TFSMLayer": "a layer that runs another file",
    "TorchModuleWrapper": "a pickled PyTorch module",
    "FlaxLayer": "a layer of Python code",
    "JaxLayer": "a layer of Python code",
}
"""Keras's own classes whose description holds code, or says where code is."""
OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
"""Keras 2's layers of one operation of TensorFlow's each, which they name."""
METHODS = ("InstanceMethod", "InstanceProperty")
"""Keras 2's layers of one method or property of a tensor each."""
FAMILIES = ("__operators__.", "math.", "nn.", "linalg.", "bitwise.", "signal.", "strings.")
"""Beginnings of the names of TensorFlow's operations on tensors alone: nothing is read or written.

`compat.v1.` may stand before them.
"""
READS_FILE = "sampler"
"""In the names of the operations of `FAMILIES` that read a vocabulary."""
PLAIN_TEXT = """
abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space
bitcast boolean_mask broadcast_to cast clip_by_norm clip_by_value complex concat constant
convert_to_tensor cos cosh cumsum divide einsum ensure_shape equal exp expand_dims eye fill
floor gather gather_nd greater greater_equal identity less less_equal linspace logical_and
logical_not logical_or matmul maximum meshgrid minimum multiply negative norm not_equal one_hot
ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max
reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse reverse_sequence roll round
scatter_nd searchsorted sequence_mask shape sigmoid sign sin sinh size slice sort space_to_batch
split sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh tensordot tile
transpose truediv unique unstack where zeros zeros_like image.resize random.normal
random.uniform random.stateless_normal random.stateless_uniform keras.activations.relu
keras.backend.batch_dot keras.backend.concatenate keras.backend.dot keras.backend.expand_dims
keras.backend.mean keras.backend.permute_dimensions keras.backend.repeat keras.backend.reshape
keras.backend.reverse keras.backend.softmax keras.backend.squeeze keras.backend.stack
keras.backend.sum keras.backend.tanh
"""
PLAIN = frozenset(PLAIN_TEXT.split())
"""TensorFlow's other operations on tensors alone, by their whole names."""
PACKAGES = ("keras", "tf_keras")
CLASS_ROOMS_TEXT = """
activations backend constraints dtype_policies engine initializers layers legacy losses metrics
mixed_precision models operations ops optimizer_v2 optimizers quantizers random regularizers
"""
CLASS_ROOMS = frozenset(CLASS_ROOMS_TEXT.split())
"""Where Keras has the classes that a description may name."""
FUNCTION_ROOMS = frozenset(
    ("activations", "constraints", "initializers", "losses", "metrics", "ops")
)
"""Where Keras has functions of tensors."""
TENSOR_SPECS = ("TensorSpec", "RaggedTensorSpec", "SparseTensorSpec")


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

    With `safe_mode`, a file that holds or names code which is not Keras's (`safety`) is refused
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


def check_heaps(data: bytes | mmap.mmap) -> None:
    """Raise `ValueError` for a damaged heap of texts, which the HDF5 library may read for ever.

    Source: the HDF5 file format specification, "Global Heap": after the signature the size of the
    heap, 8 bytes, then objects, each with 16 bytes of header (an index, 2; 6 others; its size, 8)
    and padded to a multiple of 8. Index 0 is the free space, whose size includes the header. The
    library takes what follows from the sizes, a step of zero among them.
    """
    start = data.find(HEAP)
    while start >= 0:
        end = start + int.from_bytes(data[start + 8 : start + 16], "little")
        at = start + 16
        while at + 16 <= min(end, len(data)):
            size = int.from_bytes(data[at + 8 : at + 16], "little")
            is_free = data[at : at + 2] == b"\0\0"
            step = size if is_free else 16 + -(-size // 8) * 8
            if step < 16 or at + step > end:
                raise ValueError("a heap of texts is damaged")
            at += step
        start = data.find(HEAP, start + 8)


def check_arrays(file: Any, where: str) -> int:
    """How many numbers the arrays in an `h5py.File` hold.

    Raises `InputError` for more than may be read, and for arrays in other files; what is damaged
    may raise anything.
    """
    numbers = total = 0
    for name, dataset in datasets(file, where):
        if dataset.external or dataset.is_virtual:
            raise elsewhere(where, name)
        size = (dataset.size or 0) * dataset.dtype.itemsize
        held = min(dataset.id.get_storage_size(), file.id.get_filesize())
        if dataset.chunks is None and size > held:
            raise ValueError(f"{name!r} has a larger shape than its numbers")
        numbers += dataset.size or 0
        total += size
    check_content(total, where, "arrays")
    return numbers


def datasets(file: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every dataset in a file, once, with its name."""
    import h5py

    waiting, seen = [("", file)], set()
    while waiting:
        place, group = waiting.pop()
        for name in group:
            full, link = f"{place}/{name}", group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise elsewhere(where, full)
            if isinstance(link, h5py.SoftLink):
                continue  # what it leads to is in the file, and met there
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:  # a group may hold the one that it is in
                continue
            seen.add(address)
            if isinstance(found, h5py.Dataset):
                yield full, found
            elif isinstance(found, h5py.Group):
                waiting.append((full, found))


def elsewhere(where: str, name: str) -> InputError:
    """An array that is not in the file itself."""
    return InputError(
        f"{where}: {name!r} lies in another file, which is not read; save the model whole"
    )


def runs_code(config: Any, known: Collection[str] = ()) -> str | None:
    """What in a model's description would run code or read other files when it is loaded.

    None where there is nothing of that kind; `known` names what was registered with Keras.
    """
    return next((what for part in objects_in(config) if (what := code_in(part, known))), None)


def unregistered(config: Any, known: Collection[str] = ()) -> str | None:
    """The first name, quoted, that is neither Keras's nor `known`; None where there is none."""
    return next((name for part in objects_in(config) if (name := foreign(part, known))), None)


def names_of(part: Mapping[str, Any]) -> list[str]:
    """The names by which Keras would look for what `part` describes."""
    keys = ("class_name", "registered_name", "spec_name")
    found = [part.get(key) for key in keys]
    found += [part.get("config")] if part.get("class_name") == "function" else []
    return [name for name in found if isinstance(name, str)]


def is_known(part: Mapping[str, Any], known: Collection[str]) -> bool:
    """Whether Keras finds it among what was registered, and looks nowhere else."""
    key = "config" if part.get("class_name") == "function" else "registered_name"
    name = part.get(key, part.get("class_name"))
    return isinstance(name, str) and name in known


def code_in(part: Mapping[str, Any], known: Collection[str]) -> str | None:
    """What in one object of a description runs code or reads other files."""
    if any(key.endswith("_type") and part[key] in ("lambda", "function") for key in part):
        return RUNS_CODE["Lambda"]  # of a Lambda layer's function, mask or output shape
    for name in names_of(part):
        if name in known:
            continue
        last = name.replace(">", ".").rpartition(".")[2]
        if last in RUNS_CODE:
            return RUNS_CODE[last]
        own = part.get("config")
        if isinstance(own, Mapping) and (what := code_of_layer(last, own)):
            return what
    return None


def code_of_layer(name: str, config: Mapping[str, Any]) -> str | None:
    """What a layer of the class `name` runs or reads because of its own entries."""
    if name in OPERATIONS and not is_operation(config.get("function")):
        return f"the operation {config.get('function')!r:.80}, not on the list of safe ones"
    attribute = config.get("attr_name")
    is_public = isinstance(attribute, str) and attribute.isidentifier() and attribute[0] != "_"
    if name in METHODS and not is_public:
        return f"a layer of the method {attribute!r:.80}"
    if isinstance(config.get("vocabulary"), str):
        return "a layer that reads its vocabulary from another file"
    return None


def is_operation(name: Any) -> bool:
    """Whether it names one of TensorFlow's public operations on tensors alone."""
    if not isinstance(name, str):
        return False
    plain = name.removeprefix("compat.v1.")
    if plain in PLAIN:
        return True
    family = next((one for one in FAMILIES if plain.startswith(one)), None)
    return (
        family is not None and READS_FILE not in plain and plain.removeprefix(family).isidentifier()
    )


def foreign(part: Mapping[str, Any], known: Collection[str]) -> str | None:
    """The name in one object of a description, quoted, if it is not Keras's."""
    module = part.get("module")
    described = "class_name" in part or "spec_name" in part
    if module is None or not described or is_known(part, known):
        return None
    names = names_of(part)
    is_function = part.get("class_name") == "function"
    kept = isinstance(module, str) and all(
        is_kerass(module, name, is_function) for name in names if name != "function"
    )
    if kept or is_tensor_spec(part):
        return None
    name = part.get("config") if is_function else part.get("class_name")
    return f"{name!r:.80}"


def is_kerass(module: str, name: str, is_function: bool) -> bool:
    """Whether Keras would find `name` in a part of its own that computes."""
    if module == "builtins":  # Keras looks among its own functions first, then really there
        return is_function and name.isidentifier() and not hasattr(builtins, name)
    package, *rooms = module.split(".")
    rooms = [room for room in rooms if room != "src" and not room.startswith("_")]
    if package not in PACKAGES or not name.isidentifier():
        return False
    if is_function:
        return bool(rooms) and rooms[0] in FUNCTION_ROOMS
    return name[:1].isupper() and (not rooms or rooms[0] in CLASS_ROOMS)


def is_tensor_spec(part: Mapping[str, Any]) -> bool:
    """Whether it describes the type of one of TensorFlow's tensors."""
    return (
        part.get("class_name") == "__typespec__"
        and part.get("spec_name") in TENSOR_SPECS
        and part.get("registered_name") is None
        and str(part.get("module")).startswith("tensorflow.python.")
    )
