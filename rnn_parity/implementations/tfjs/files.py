"""Models of TensorFlow.js in files: `model.json`, and its weights in binary files beside it.

Source: `tfjs-core/src/io/types.ts` for the format, `io_utils.ts` for how quantized weights are
read: `float32(q scale + min)`. The format "layers-model" keeps the names and options of layers;
"graph-model" holds operations alone, and is refused. Nothing outside the folder is read, and no
size is believed before it is held against another. NumPy alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.recurrence.cells import KERAS_CELLS, WEIGHTS, Cell
from rnn_parity.system.files import content, readable
from rnn_parity.system.limits import check_content, check_numbers

FILE = "model.json"
CONTAINERS = ("Sequential", "Model", "Functional")
"""The classes that hold layers: a model in a model."""
FAMILIES = ("RNN", "LSTM", "GRU")
"""What is in the names of recurrent layers, of those too that are not replayed."""
DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "?"}
STORED = {"uint8": "<u1", "uint16": "<u2", "float16": "<f2"}
"""The dtypes of weights, and of quantized ones."""
NESTED_MASKS = "it is in a model within the model, where masks are not followed"
DEFAULTS = {"activation": "tanh", "recurrent_activation": "hard_sigmoid"}
"""The activations that TensorFlow.js documents for a layer that names none."""
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A recurrent layer in the topology: its path, such as "inner/lstm" or "both/forward".

    `parts` are what stands in the names of its weights: its own name, or that of a `Bidirectional`
    and a side. `wrapper` is the configuration of the `Bidirectional` that it is one half of.
    `not_replayed` is the reason where it is none of the three layers that are.
    """

    path: str
    layer_class: str
    config: Json
    parts: tuple[str, ...] = ()
    wrapper: Json | None = None
    not_replayed: str = ""


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model as it is stored: its topology, what its weights are, and their bytes."""

    path: str
    topology: Json
    specs: Sequence[Json]
    data: bytes

    @property
    def where(self) -> str:
        """What messages begin with."""
        return where_of(self.path)

    @cached_property
    def weights(self) -> dict[str, NDArray[Any]]:
        """The weights by their names, quantized ones as TensorFlow.js reads them."""
        found, offset = {}, 0
        for spec in self.specs:
            count, shape = prod(spec["shape"]), spec["shape"]
            array = np.frombuffer(self.data, stored_dtype(spec), count, offset).reshape(shape)
            offset += array.nbytes
            found[spec["name"]] = dequantized(array, spec.get("quantization"))
        return found

    @cached_property
    def entries(self) -> list[Entry]:
        """Its recurrent layers, those in nested models and wrappers too."""
        with understood(self.where):
            masked = makes_masks(self.topology)
            return list(recurrent_entries(self.topology, "", masked))

    @property
    def notes(self) -> tuple[str, ...]:
        """How weights are stored, where they are quantized."""
        found = {spec["quantization"]["dtype"] for spec in self.specs if spec.get("quantization")}
        return tuple(
            f"weights are stored as {name}; they are judged as TensorFlow.js reads them"
            for name in sorted(found)
        )

    def layer(self, entry: Entry) -> Cell:
        """A recurrent layer as data. Raises `UnsupportedError` for what is not replayed."""
        if entry.not_replayed:
            raise UnsupportedError(entry.not_replayed)
        with understood(self.where):
            return cell_of(entry, [self._weight(entry, name) for name in WEIGHTS])

    def _weight(self, entry: Entry, name: str) -> NDArray[Any] | None:
        """The one array of this name that belongs to the layer; None for no bias."""
        if name == "bias" and not entry.config.get("use_bias", True):
            return None
        found = [full for full in self.weights if belongs(full, entry.parts, name)]
        if len(found) != 1:
            raise InputError(
                f"{self.where}: expected one {name} of the layer {entry.path}, received "
                f"{', '.join(found) or 'none'} among its weights; save the model again"
            )
        return self.weights[found[0]]


def where_of(path: str) -> str:
    """What messages about the model in the file `path` begin with."""
    return f"TensorFlow.js model {path!r}"


@contextlib.contextmanager
def understood(where: str) -> Iterator[None]:
    """What is not as the format says, in this block, as an `InputError` that begins with `where`.

    A file can hold anything anywhere, and fails wherever something else was expected.
    """
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError, OverflowError):
        raise InputError(
            f"{where}: expected a model in the format layers-model, received a damaged or another "
            "file; save it with model.save of TensorFlow.js, or convert it again"
        ) from None


# The files.


def read_model(path: str) -> StoredModel:
    """The model in the file `path`, or in the folder `path` as `model.json`.

    Raises `InputError` for what is no such model, `UnsupportedError` for a graph-model.
    """
    file = os.path.join(path, FILE) if os.path.isdir(path) else path
    where = where_of(path)
    with readable(where):
        text = content(file, where, "a model.json", share=4)
    with understood(where):
        document = json.loads(text, parse_constant=refused_constant)
        refuse_graph(document, where)
        specs = [checked(one, where) for g in document["weightsManifest"] for one in g["weights"]]
        names = [name for group in document["weightsManifest"] for name in group["paths"]]
        topology = document["modelTopology"]
        topology = topology.get("model_config") or topology
        if not isinstance(topology["config"], (dict, list)):
            raise TypeError
    check_numbers(
        sum(prod(spec["shape"]) for spec in specs), where, "name a smaller one", "weights"
    )
    data = weight_data(Path(file).parent, names, where)
    expected = sum(prod(spec["shape"]) * np.dtype(stored_dtype(spec)).itemsize for spec in specs)
    if len(data) != expected:
        raise InputError(
            f"{where}: expected {expected} bytes of weights, received {len(data)} in "
            f"{', '.join(names[:3]) or 'no file'}; save or convert it again"
        )
    return StoredModel(path, topology, specs, data)


def refused_constant(name: str) -> float:
    """NaN and Infinity are no JSON, and TensorFlow.js does not read them."""
    raise ValueError(name)


def refuse_graph(document: Json, where: str) -> None:
    """Raise `UnsupportedError` for a model that is a graph of operations."""
    if "class_name" in document and "weightsManifest" not in document:
        raise UnsupportedError(
            f"{where}: describes a Keras model (to_json) and holds no weights; name the file with "
            "its weights (.h5), or the whole model"
        )
    topology = document.get("modelTopology") or {}
    if document.get("format") == "graph-model" or "node" in topology:
        raise UnsupportedError(
            f"{where}: its format is graph-model, which has no layers; convert the Keras model "
            "with --output_format=tfjs_layers_model"
        )


def checked(spec: Json, where: str) -> Json:
    """What the manifest says of one weight; raises `InputError` for what is not read."""
    shape, name = spec["shape"], spec["name"]
    if not isinstance(name, str) or not all(type(n) is int and n >= 0 for n in shape):
        raise TypeError
    quantization = spec.get("quantization") or {}
    kinds = (spec["dtype"] in DTYPES, quantization.get("dtype", "uint8") in STORED)
    numbers = [float(quantization[key]) for key in ("scale", "min") if key in quantization]
    if not all(kinds) or not np.isfinite(numbers).all():
        raise UnsupportedError(
            f"{where}: expected weights of {', '.join(DTYPES)}, as they are or quantized to "
            f"{', '.join(STORED)}, received {name} of {quantization.get('dtype', spec['dtype'])}"
        )
    if quantization.get("dtype") in ("uint8", "uint16") and len(numbers) != 2:
        raise KeyError
    return spec


def stored_dtype(spec: Json) -> str:
    """The dtype of a weight in the file."""
    quantization = spec.get("quantization")
    return STORED[quantization["dtype"]] if quantization else DTYPES[spec["dtype"]]


def dequantized(array: NDArray[Any], quantization: Json | None) -> NDArray[Any]:
    """The numbers that quantized ones stand for, in float32."""
    if not quantization or quantization["dtype"] == "float16":
        return array.astype(np.float32) if quantization else array
    scale, least = float(quantization["scale"]), float(quantization["min"])
    numbers: NDArray[Any] = (array.astype(np.float64) * scale + least).astype(np.float32)
    return numbers


def weight_data(folder: Path, names: Sequence[str], where: str) -> bytes:
    """The bytes of the weight files, one after the other; all of them lie in `folder`."""
    root, paths = os.path.realpath(folder), []
    for name in names:
        path = os.path.realpath(os.path.join(root, str(name)))
        if os.path.commonpath([root, path]) != root:
            raise InputError(
                f"{where}: expected weight files in its folder, received {name!r}; put them there"
            )
        paths.append(path)
    with readable(where):
        check_content(sum(os.stat(path).st_size for path in paths), where, "weights")
        return b"".join(content(path, where, "a file of weights") for path in paths)


# The topology.


def makes_masks(topology: Any) -> bool:
    """Whether anything in a model makes a mask."""
    if isinstance(topology, list):
        return any(map(makes_masks, topology))
    if not isinstance(topology, dict):
        return False
    makes = topology.get("class_name") == "Masking" or topology.get("mask_zero")
    return bool(makes) or any(map(makes_masks, topology.values()))


def recurrent_entries(model: Json, prefix: str, masked: bool) -> Iterator[Entry]:
    """The recurrent layers of a model, in the order of its layers.

    Those of a model in it, whose paths begin with `prefix`, are not replayed where the whole has
    masks: nothing tells there which of them a layer's input carries.
    """
    reason = NESTED_MASKS if prefix and masked else ""
    config = model["config"]
    for layer in config if isinstance(config, list) else config["layers"]:
        kind, own = str(layer["class_name"]), layer["config"]
        name = str(own.get("name") or layer.get("name") or kind)
        path = prefix + name
        if kind in CONTAINERS:
            yield from recurrent_entries(layer, f"{path}/", masked)
        elif kind == "Bidirectional":
            yield from halves(own, path, name, reason)
        elif kind in KERAS_CELLS:
            yield Entry(path, kind, own, (name,), None, reason or ignored(own))
        elif is_recurrent(kind, own):
            yield Entry(path, kind, own, (), None, f"{kind} of TensorFlow.js is not replayed")


def is_recurrent(kind: str, config: Json) -> bool:
    """Whether a layer is recurrent, or wraps one that is."""
    inner = config.get("layer")
    kinds = [kind, str(inner["class_name"])] if inner else [kind]
    return any(family in one for family in FAMILIES for one in kinds)


def halves(config: Json, path: str, name: str, not_replayed: str) -> Iterator[Entry]:
    """The two layers of a `Bidirectional`."""
    forward = config["layer"]
    own = forward["config"]
    mirrored = {**forward, "config": {**own, "go_backwards": not own.get("go_backwards")}}
    backward = config.get("backward_layer") or mirrored
    if without_names(backward) != without_names(mirrored):
        not_replayed = "TensorFlow.js ignores the backward_layer of a Bidirectional"
    for side, layer in (("forward", forward), ("backward", backward)):
        kind, options = str(layer["class_name"]), layer["config"]
        reason = ignored(options) if kind in KERAS_CELLS else f"{kind} in it is not replayed"
        parts = (name, f"{side}_{own['name']}")
        yield Entry(f"{path}/{side}", kind, options, parts, config, not_replayed or reason)


def without_names(layer: Json) -> tuple[str, dict[str, Any]]:
    """The class and the options of a layer, but for its name."""
    return layer["class_name"], {k: v for k, v in layer["config"].items() if k != "name"}


def ignored(config: Json) -> str:
    """Why a layer with this option is not replayed: TensorFlow.js ignores it, and takes no notice.

    Empty for a layer that is.
    """
    given = [name for name in ("time_major",) if config.get(name)]
    return f"TensorFlow.js ignores {given[0]}=True" if given else ""


def belongs(full: str, parts: Sequence[str], name: str) -> bool:
    """Whether the weight `full` is the weight `name` of the layer with these parts in its name.

    Between them may stand the name of the cell, and before them that of a model.
    """
    own = "/".join(map(re.escape, parts))
    return re.fullmatch(rf"(?:.*/)?{own}/(?:[^/]+/)?{name}", full) is not None


def cell_of(entry: Entry, weights: Sequence[NDArray[Any] | None]) -> Cell:
    """The layer of an entry with the arrays kernel, recurrent_kernel and bias."""
    kind, config = KERAS_CELLS[entry.layer_class], entry.config
    options: dict[str, Any] = {
        name: activation_of(config.get(name, DEFAULTS[name]))
        for name in DEFAULTS
        if name in kind.OPTIONS
    }
    if "reset_after" in kind.OPTIONS:
        options["reset_after"] = bool(config.get("reset_after", False))
    for name in ("go_backwards", "zero_output_for_mask"):
        options[name] = bool(config.get(name, False))
    kernel, recurrent, bias = weights
    assert kernel is not None and recurrent is not None  # noqa: PT018  # only a bias may be None
    return kind(kernel, recurrent, bias, **options, dtype="float32")


def activation_of(name: str | None) -> str | None:
    """The activation that TensorFlow.js calls so: its hard_sigmoid is that of Keras 2."""
    return "hard_sigmoid_keras2" if name == "hard_sigmoid" else name
