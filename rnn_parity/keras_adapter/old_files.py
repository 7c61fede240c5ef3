"""Model files of Keras 2 in the words of Keras 3: their descriptions and their arrays.

Keras 3 reads descriptions that Keras 3 wrote. Those of Keras 2.0 to 2.15 name options that are
gone, list the layers of a `Sequential` bare, leave out what was the default then, and count the
calls of a nested model from 1. What is said here of them was learnt from files that these releases
wrote (`tests/record_old_models.py`), and from Keras's own reader of old weights, in Keras 2.15
`saving/legacy/hdf5_format.py`.

How weights began, what regularizes them and what holds them in place is left out: the arrays of the
file replace the first, and only training uses the others. So none of them is a reason to refuse.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import keras_major, tensorflow_module
from rnn_parity.system.limits import check_content

Description = dict[str, Any]
"""A JSON object: of a layer with its `class_name` and its `config`, or of anything else."""
Array = NDArray[Any]

NETWORKS = {
    "Sequential": "keras",
    "Functional": "keras.src.models.functional",
    "Model": "keras.src.models.functional",
}
"""Keras's models that hold layers, and where Keras 3 has them; `Model` was a functional one."""
HOMES = ("keras", "tf_keras", "tensorflow")
"""The packages that Keras 2 was in."""
ROOMS = ("layers", "activations")
"""Where Keras 3 has what the entries of a layer describe."""
FUSED: Mapping[str, tuple[str, Description]] = {
    "CuDNNLSTM": ("LSTM", {"recurrent_activation": "sigmoid"}),
    "CuDNNGRU": ("GRU", {"recurrent_activation": "sigmoid", "reset_after": True}),
}
"""The layers of NVIDIA's kernel alone, which are gone, and those that compute the same."""
RENAMED = dict.fromkeys(("BatchNormalizationV1", "BatchNormalizationV2"), "BatchNormalization")
HARD = "hard_sigmoid"
"""The activation that has another slope since Keras 3."""
OF_MASKS = re.compile(r"(concatenate|reshape)(_\d+)?")
"""What Keras 3 calls its operations on masks. It did so in Keras 2 with some of its layers, and
refuses a model in which a name is there twice."""
RECURRENT = ("SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional")
"""Layers that were given their initial state among their inputs."""
UNUSED = {"_initializer": "zeros", "_regularizer": None, "_constraint": None}
"""What replaces the entries of these endings, which change no output once weights are loaded."""
HOW_ALONE = (
    *("implementation", "batch_input_shape", "input_dtype", "trainable"),
    *("query_shape", "key_shape", "value_shape", "groups"),
)
"""Entries, unknown today, of how a layer computes or trains, or of what else is in the file."""
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
KERAS_1_ORDER = {"LSTM": (0, 2, 1, 3), "GRU": (0, 1, 2)}
"""Where Keras 1, which had three arrays for each gate, kept the gates of today's order.

LSTM: i, c, f, o there, and i, f, c, o today. GRU: z, r, h.
"""


def is_old(version: str) -> bool:
    """Whether another generation of Keras than the one here wrote a file, and this can translate.

    `version` is what the file says of it, "" where it says nothing, as the oldest do.
    """
    return keras_major() == 3 and not version.startswith("3")


def translated(description: Mapping[str, Any]) -> Description:
    """What Keras 3 would have written of the same model.

    Names that are not Keras's own are left alone, with all that they hold. Raises `InputError` for
    a model of Keras 1.
    """
    if not _is_kerass(description):
        return dict(description)
    name, own = description["class_name"], description["config"]
    if name in NETWORKS:
        layers = own if isinstance(own, list) else own.get("layers", [])
        _refuse_keras_1(layers)
        made = _sequential(own, layers) if name == "Sequential" else _functional(own, layers)
        return {
            "module": NETWORKS[name],
            "class_name": name if name == "Sequential" else "Functional",
            "config": made,
            "registered_name": None,
        }
    if name == "Lambda":  # its code Keras 3 finds itself, where no module is named
        return {"class_name": name, "config": own}
    is_layer = name in FUSED or is_own_class(RENAMED.get(name, name))
    return _layer(name, own) if is_layer and isinstance(own, Mapping) else dict(description)


def _is_kerass(description: Mapping[str, Any]) -> bool:
    """Whether an object says that it is of Keras, and not of somebody else by the same name."""
    if not isinstance(description.get("class_name"), str) or "config" not in description:
        return False
    module = description.get("module") or "keras"
    known = str(module).split(".")[0] in HOMES
    return known and description.get("registered_name") in (None, description["class_name"])


def objects_in(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every JSON object in `config`, in the order of the file, however deep."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield value
            waiting += reversed(list(value.values()))
        elif isinstance(value, list):
            waiting += reversed(value)


def unlike_today(description: Any, version: str) -> Iterator[str]:
    """Sentences on what layers compute here otherwise than in the Keras that described them.

    `version` is that of the Keras which wrote the file, "" where that is not known.
    """
    who = f"Keras {version}" if version else "the Keras"
    objects = [one for one in objects_in(description) if isinstance(one.get("config"), Mapping)]
    hard = [one["config"].get("name") for one in objects if HARD in one["config"].values()]
    if hard:
        names = ", ".join(repr(name) for name in dict.fromkeys(hard) if name)
        yield (
            f"OTHER NUMBERS THAN IN {who.upper()}, which wrote the file: hard_sigmoid "
            f"({names or 'of a layer'}) was clip(0.2 x + 0.5, 0, 1) there and is clip(x / 6 + 0.5, "
            "0, 1) in Keras 3, which ran it and is what was checked; with tf_keras installed, "
            "TF_USE_LEGACY_KERAS=1 runs and checks the other one"
        )
    for one in objects:
        kind = str(one.get("class_name"))
        if kind in FUSED:
            name = one["config"].get("name")
            yield f"{name!r} was a {kind}, which is gone: {FUSED[kind][0]} ran with its weights"


def _refuse_keras_1(layers: Sequence[Any]) -> None:
    for layer in layers:
        own = layer.get("config") if isinstance(layer, Mapping) else None
        if isinstance(own, Mapping) and "inner_init" in own:
            raise InputError(
                f"expected a model of Keras 2 or 3, received the layer {own.get('name')!r} of "
                "Keras 1; load it with Keras 2.0 to 2.2, which reads it, and save it again"
            )


def _layer(name: str, own: Mapping[str, Any]) -> Description:
    """A layer, a cell or an activation of Keras's own."""
    kind, settled = FUSED.get(name, (RENAMED.get(name, name), {}))
    config = {key: _entry(key, value) for key, value in own.items()}
    config |= settled
    if kind in ("GRU", "GRUCell"):
        config.setdefault("reset_after", False)  # there was no other before 2.1.3
    if kind == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config["batch_input_shape"]
    known = _parameters(kind)
    kept = {key: value for key, value in config.items() if key in known or not _is_off(key, value)}
    return {
        "module": f"keras.{_room(kind)}",
        "class_name": kind,
        "config": kept,
        "registered_name": None,
    }


def _is_off(key: str, value: Any) -> bool:
    """Whether an entry that Keras 3 does not know would change no output."""
    unused = key in HOW_ALONE or key.endswith(tuple(UNUSED))
    return unused or value is None or value is False


def _entry(key: str, value: Any) -> Any:
    """One entry of a layer's config."""
    for ending, replacement in UNUSED.items():
        if key.endswith(ending):
            return replacement
    if key == "name" and isinstance(value, str):
        return _name(value)
    if key == "dtype" and isinstance(value, Mapping):  # a policy, whose classes were renamed
        return value.get("config", {}).get("name", "float32")
    if key == "axis" and isinstance(value, list) and len(value) == 1:
        return value[0]
    if isinstance(value, list):
        return [translated(one) if isinstance(one, Mapping) else one for one in value]
    return translated(value) if isinstance(value, Mapping) else value


def _name(name: str) -> str:
    """A layer's name as Keras 3 takes it, and as it calls no operation on masks of its own."""
    return name.replace("/", "_") + "_layer" * bool(OF_MASKS.fullmatch(name))


def is_own_class(name: Any) -> bool:
    """Whether Keras has a layer, or an activation that is a class, of this name."""
    return isinstance(name, str) and _room(name) is not None


def _room(name: str) -> str | None:
    """The part of Keras that has a class of this name; None where it has none."""
    keras = tensorflow_module().keras
    return next((r for r in ROOMS if inspect.isclass(getattr(getattr(keras, r), name, None))), None)


@cache
def _parameters(name: str) -> frozenset[str]:
    """The names of all arguments that a layer's constructor takes, and hands on to its bases."""
    known: set[str] = set()
    for base in inspect.getmro(getattr(tensorflow_module().keras.layers, name)):
        if maker := vars(base).get("__init__"):
            taken = inspect.signature(maker).parameters
            known |= taken.keys()
            if all(one.kind is not one.VAR_KEYWORD for one in taken.values()):
                break
    return frozenset(known)


# Models: the layers of a `Sequential`, the calls in a functional one.


def _sequential(own: Any, layers: Sequence[Any]) -> Description:
    """The config of a `Sequential`, which begins with an input where the file says what it is."""
    made = [translated(layer) for layer in layers]
    if not made or made[0].get("class_name") != "InputLayer":
        build_shape = own.get("build_input_shape") if isinstance(own, Mapping) else None
        shape, dtype = _input_of(layers[0]) if layers else (None, None)
        if shape or build_shape:
            config = {"batch_shape": shape or build_shape, "dtype": dtype or "float32"}
            made.insert(0, _layer("InputLayer", config))
    name = own.get("name") if isinstance(own, Mapping) else None
    return {"name": _name(name or "sequential"), "layers": made}


def _input_of(layer: Any) -> tuple[Any, Any]:
    """The shape and the dtype of what a layer, or a model of one input, takes; None if unsaid."""
    own = layer.get("config") if isinstance(layer, Mapping) else None
    inside = own if isinstance(own, list) else own.get("layers") if isinstance(own, Mapping) else []
    if inside:
        return _input_of(inside[0])
    own = own if isinstance(own, Mapping) else {}
    dtype = own.get("dtype")
    plain = dtype if isinstance(dtype, str) and not dtype.startswith("mixed") else None
    return own.get("batch_input_shape") or own.get("batch_shape"), plain


def _functional(own: Mapping[str, Any], layers: Sequence[Any]) -> Description:
    """The config of a functional model."""
    kinds = {layer["name"]: layer["class_name"] for layer in layers}
    made = []
    for layer in layers:
        one = translated(layer)
        name = _name(layer["name"])
        if layer["class_name"] in NETWORKS:
            one["config"]["name"] = name
        nodes = [_call(node, layer["class_name"], kinds) for node in layer["inbound_nodes"]]
        made.append({**one, "name": name, "inbound_nodes": nodes})
    is_trained = own.get("trainable") is not False
    ends = {key: _ends(own[key], kinds) for key in ("input_layers", "output_layers")}
    return {
        "name": _name(own.get("name") or "model"),
        "trainable": is_trained,
        "layers": made,
        **ends,
    }


def _call(node: Any, kind: str, kinds: Mapping[str, str]) -> Any:
    """One call of a layer of the class `kind`, in the form of Keras 3."""
    if isinstance(node, Mapping):
        return node
    entries = [node] if _is_tensor(node, kinds) else node
    first, *rest = [_tensor(entry, kinds) for entry in entries]
    keywords = entries[0][3] if len(entries[0]) > 3 else {}
    keywords = {k: _argument(value, kinds) for k, value in keywords.items() if value is not None}
    if rest and FUSED.get(kind, (kind,))[0] in RECURRENT:
        keywords, rest = {**keywords, "initial_state": rest}, []
    return {"args": [[first, *rest] if rest else first], "kwargs": keywords}


def _argument(value: Any, kinds: Mapping[str, str]) -> Any:
    """An argument of a call, with the tensors in it."""
    if _is_tensor(value, kinds):
        return _tensor(value, kinds)
    return [_argument(one, kinds) for one in value] if isinstance(value, list) else value


def _is_tensor(value: Any, kinds: Mapping[str, str]) -> bool:
    """Whether it names a tensor: a layer, which of its calls, which of its outputs."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] in kinds
    )


def _tensor(entry: Sequence[Any], kinds: Mapping[str, str]) -> Description:
    """A tensor as Keras 3 names it, of whatever shape: only where it comes from is read."""
    name, call, output = entry[:3]
    # A model's call 0 was the one that it is made of.
    history = [_name(name), call - (kinds.get(name) in NETWORKS), output]
    config = {"shape": [], "dtype": "float32", "keras_history": history}
    return {"class_name": "__keras_tensor__", "config": config}


def _ends(entries: Any, kinds: Mapping[str, str]) -> Any:
    """The inputs or the outputs of a model."""
    if _is_tensor(entries, kinds):
        name, call, output = entries[:3]
        # Keras 3 itself takes 1 from the call of a functional one.
        return [_name(name), call - (kinds[name] == "Sequential"), output]
    if isinstance(entries, Mapping):
        return {key: _ends(value, kinds) for key, value in entries.items()}
    # One alone stands for itself there, and in a list of one in Keras 3.
    ends = [_ends(one, kinds) for one in entries]
    return ends[0] if len(ends) == 1 and _is_tensor(entries[0], kinds) else ends


# Arrays: what an HDF5 file holds for each layer, in the order of its weights.


def attribute(group: Any, name: str) -> list[str]:
    """A list of names among the attributes of a group, which long ones are split over."""
    found = group.attrs[name] if name in group.attrs else _parts(group, name)
    return [text(one) for one in found]


def text(value: Any) -> str:
    """A text as files of all ages hold it: in bytes, or as what it is."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _parts(group: Any, name: str) -> list[Any]:
    parts: list[Any] = []
    while (key := f"{name}{len(parts)}") in group.attrs:
        parts.append(group.attrs[key])
    return [one for part in parts for one in part]


def named_arrays(group: Any) -> dict[str, Array]:
    """The arrays in the group of one layer, by their names, in the order of the weights."""
    return {name: np.asarray(group[name]) for name in attribute(group, "weight_names")}


def check_listed(group: Any, where: str) -> None:
    """Raise `InputError` where the arrays that a file lists take more than may be read.

    One array may be listed often, under one name or several.
    """
    layers = [group[name] for name in attribute(group, "layer_names")]
    listed = [one[name] for one in layers for name in attribute(one, "weight_names")]
    check_content(sum(one.size * one.dtype.itemsize for one in listed), where, "listed arrays")


def assign(model: Any, group: Any, description: Mapping[str, Any]) -> None:
    """Give a model the weights in the group of an HDF5 file that Keras 2 wrote for it.

    Layers are found by their names, or, where the file has others, by their order, as Keras does.
    Raises `InputError`, naming the layer, where its weights are not those that it takes.
    """
    check_listed(group, "its weights")
    described = {one["name"]: one for one in _layers_of(description)}
    stored = [(name, named_arrays(group[name])) for name in attribute(group, "layer_names")]
    stored = [(name, arrays) for name, arrays in stored if arrays]
    if stored and not model.built:
        _build(model, *stored[0][1].values())
    wanted = [layer for layer in model.layers if layer.weights]
    if len(stored) != len(wanted):
        raise InputError(
            f"expected weights of {len(wanted)} layers, received those of {len(stored)}; save the "
            "model again"
        )
    named = {layer.name: layer for layer in wanted}
    if named.keys() == {_name(name) for name, _ in stored}:
        wanted = [named[_name(name)] for name, _ in stored]
    for layer, (name, arrays) in zip(wanted, stored, strict=True):
        _assign_layer(layer, modern_arrays(list(arrays.values()), described.get(name, {})))


def _build(model: Any, first: Array, *_: Array) -> None:
    """Build a `Sequential` that says nowhere what it takes, by the `first` array in its file."""
    layers = [layer for layer in model.layers if type(layer).__name__ not in ("Dropout", "Masking")]
    kind = type(layers[0]).__name__
    if kind == "Embedding":
        model.build((None, None))
    elif kind in RECURRENT and first.ndim == 2:
        model.build((None, None, first.shape[0]))


def _assign_layer(layer: Any, arrays: Sequence[Array]) -> None:
    variables = [*layer.trainable_weights, *layer.non_trainable_weights]
    wanted, received = ([tuple(one.shape) for one in some] for some in (variables, arrays))
    if wanted != received:
        raise InputError(
            f"layer {layer.name!r}: expected weights of shapes {wanted}, received {received}; save "
            "the model again"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _layers_of(description: Mapping[str, Any]) -> Iterator[Description]:
    """The layers of the outermost model in a file, each with its name beside its class."""
    own = description.get("config")
    for layer in own if isinstance(own, list) else own.get("layers", []):  # type: ignore[union-attr]
        config = layer.get("config")
        name = layer.get("name") or (config.get("name") if isinstance(config, Mapping) else None)
        yield {**layer, "name": name}


def modern_arrays(arrays: Sequence[Array], description: Mapping[str, Any]) -> list[Array]:
    """The arrays of a layer as its class of today keeps them.

    `description` is the file's own, of the layer or of the model that they belong to.
    """
    kind = description.get("class_name")
    if kind in KERAS_1_ORDER and len(arrays) == 3 * GATES[kind]:
        return of_keras_1(kind, arrays)
    if not any(one.get("class_name") in FUSED for one in objects_in(description)):
        return list(arrays)
    found = list(arrays)
    for i in range(len(found) - 2):
        kernel, recurrent, bias = found[i : i + 3]
        if is_fused(kernel, recurrent, bias):
            found[i : i + 3] = of_cudnn(kernel, recurrent, bias)
    return found


def is_fused(kernel: Array, recurrent: Array, bias: Array) -> bool:
    """Whether these are the weights of NVIDIA's kernel, with two biases for every gate in a row."""
    shapes = kernel.ndim == recurrent.ndim == 2 and bias.ndim == 1
    return bool(shapes and len(bias) == 2 * recurrent.shape[1] == 2 * kernel.shape[1])


def of_cudnn(kernel: Array, recurrent: Array, bias: Array) -> list[Array]:
    """The weights of NVIDIA's kernel, with gates of `(F, H)` and `(H, H)`, as Keras's layers have.

    NVIDIA multiplies the inputs from the left. So it reads the numbers of a gate, row after row, as
    a matrix `(H, F)`, whatever shape Keras gave them. It has a bias for the inputs and another for
    the state, `(2 G H,)`: an LSTM adds them; a GRU keeps them in two rows, `(2, G H)`.
    """
    units = recurrent.shape[0]
    gates = recurrent.shape[1] // units
    two = bias.reshape(2, gates * units)
    return [
        *(
            np.concatenate([_turned(one) for one in np.split(matrix, gates, axis=1)], axis=1)
            for matrix in (kernel, recurrent)
        ),
        two.sum(axis=0) if gates == GATES["LSTM"] else two,
    ]


def _turned(gate: Array) -> Array:
    """The same numbers, read as a matrix of the transposed shape, transposed."""
    turned: Array = gate.ravel().reshape(gate.shape[::-1]).T
    return turned


def of_keras_1(kind: str, arrays: Sequence[Array]) -> list[Array]:
    """The kernel, the recurrent kernel and the bias of a layer of Keras 1, with `arrays` by gate.

    A GRU of it resets before it multiplies, as one without `reset_after` does.
    """
    order = KERAS_1_ORDER[kind]
    return [np.concatenate([arrays[3 * gate + i] for gate in order], axis=-1) for i in range(3)]
