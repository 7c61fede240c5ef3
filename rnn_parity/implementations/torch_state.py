"""The `state_dict` of a PyTorch `nn.RNN`, `nn.LSTM` or `nn.GRU`, and its weights as Keras has them.

PyTorch computes from column vectors, so that its weights are transposed, `(G H, F)`; the gates are
in the order i, f, g, o (LSTM) and r, z, n (GRU), and there are two biases. Source: PyTorch's
documentation of these three modules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_parity.errors import InputError, MissingPackageError, UnsupportedError, one_line
from rnn_parity.recurrence.layers import Array, Layer
from rnn_parity.system.files import plain_file, reason

MODULES = {"SimpleRNN": "RNN", "LSTM": "LSTM", "GRU": "GRU"}
GATES = {"SimpleRNN": (0,), "LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2)}
"""Where PyTorch has each of Keras's gates: its GRU's come as r, z, n."""
KEY = re.compile(
    r"(?P<prefix>.*?)(?P<name>(?:weight|bias)_[ih]h|weight_hr)(?P<end>_l\d+(_reverse)?)"
)
SOURCE = re.compile(
    r"(?P<path>.+?\.(?:safetensors|pt|pth|bin|ckpt|pkl|pickle))(?:#(?P<part>.+))?", re.IGNORECASE
)
PART = re.compile(r"(?P<prefix>.*?)\*?(?P<end>(?:_|(?<![^.*]))l\d+(?:_reverse)?)?")
"""How the user names layers: by what their tensors' names begin with, end with, or both."""
DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, eq=False)
class Stored:
    """One layer and direction of a module: its tensors by their names, without "_l0" and the like.

    `weight_ih` is `(G H, F)`, `weight_hh` `(G H, H)`; `bias_ih` and `bias_hh` are `(G H,)`, both or
    none. `end` is "_l0", or "_l0_reverse" for the direction that takes the inputs in reverse.
    """

    prefix: str
    end: str
    tensors: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the names of its tensors have in common."""
        return f"{self.prefix}*{self.end}"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: tuple(tensor.shape) for name, tensor in sorted(self.tensors.items())}


def read(path: str) -> dict[str, Any]:
    """The tensors in a `.safetensors` file."""
    try:
        import torch  # noqa: F401  # safetensors makes the tensors
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingPackageError(
            f"{path!r} needs PyTorch and safetensors ({one_line(error)}); install them with: "
            "pip install 'rnn-parity[torch]'"
        ) from error
    try:
        plain_file(path, repr(path), "a .safetensors file").close()
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
    except OSError as error:
        raise InputError(f"{path!r} cannot be read: {reason(error)}") from None
    except SafetensorError as error:
        raise InputError(
            f"{path!r}: expected a .safetensors file, received a damaged one or another kind "
            f"({one_line(error)}); save it again"
        ) from None


def stored(path: str, tensors: Mapping[str, Any]) -> list[Stored]:
    """The recurrent layers among `tensors`; others, such as a Dense layer's, are left alone."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for key, tensor in tensors.items():
        match = KEY.fullmatch(key)
        if match is None:
            continue
        if match["name"] == "weight_hr":
            raise UnsupportedError(f"{path!r}: {key}: a projection (proj_size) is not supported")
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise InputError(f"{path!r}: {key}: expected {', '.join(DTYPES)}, received {dtype}")
        found.setdefault((match["prefix"], match["end"]), {})[match["name"]] = tensor
    if not found:
        names = ", ".join(list(tensors)[:8]) or "none"
        raise InputError(
            f"{path!r}: expected weight_ih_l0, weight_hh_l0, ... as in the state_dict of an "
            f"nn.RNN, nn.LSTM or nn.GRU, received {names}"
        )
    return [Stored(prefix, end, parts) for (prefix, end), parts in found.items()]


def named(path: str, modules: Sequence[Stored], part: str | None) -> list[Stored]:
    """Those of `modules` that `part` names: "encoder.", "_l0_reverse" or "encoder.*_l1"."""
    if part is None:
        return [*modules]
    match = PART.fullmatch(part)
    assert match is not None  # the prefix may be anything
    prefix, end = match["prefix"], match["end"]
    ends = (end, f"_{end}")  # "l0" is short for "_l0"
    found = [m for m in modules if m.prefix.startswith(prefix) and (not end or m.end in ends)]
    if not found:
        names = ", ".join(m.name for m in modules)
        raise InputError(f"{path!r}: expected one of {names} after #, received {part!r}")
    return found


def choose(path: str, modules: list[Stored], layer: Layer) -> Stored:
    """The one that can be `layer`: by its shapes, then its direction, then equal weights."""
    wide, units, features = layer.width, layer.units, layer.features
    weights = {"weight_hh": (wide, units), "weight_ih": (wide, features)}
    shapes = [weights, {"bias_hh": (wide,), "bias_ih": (wide,), **weights}]
    fitting = [m for m in modules if m.shapes in shapes]
    listed = "; ".join(f"{m.name} {m.shapes}" for m in modules)
    if not fitting:
        kind = f"nn.{MODULES[type(layer).__name__]}"
        raise InputError(
            f"{path!r}: expected an {kind} with {features} features and {units} units, {weights}, "
            f"received {listed}"
        )
    for better in (
        [m for m in fitting if m.end.endswith("_reverse") == layer.go_backwards],
        [m for m in fitting if not differences(m, layer)],
    ):
        narrowed = [m for m in fitting if m in better]
        fitting = narrowed or fitting
    if len(fitting) > 1:
        names = ", ".join(m.name for m in fitting)
        raise InputError(
            f"{path!r}: expected one layer of this shape, received {names}; name one of them: "
            f"{path}#{fitting[0].name}"
        )
    return fitting[0]


def in_order(module: Stored, layer: Layer, name: str) -> Array:
    """One of the tensors, exactly, with the gates in Keras's order along its last axis."""
    order = GATES[type(layer).__name__]
    blocks = np.split(module.tensors[name].double().numpy(), len(order))
    found: Array = np.concatenate([blocks[gate] for gate in order]).T
    return found


def biases(module: Stored, layer: Layer) -> tuple[Array, ...]:
    """Both biases; none where there are none."""
    names = [name for name in ("bias_ih", "bias_hh") if name in module.tensors]
    return tuple(in_order(module, layer, name) for name in names)


def with_both_biases(module: Stored, layer: Layer) -> Layer:
    """The layer as PyTorch computes it, which adds two biases where Keras has their sum."""
    if getattr(layer, "reset_after", False):
        return layer
    return layer.changed(addends=biases(module, layer))


def as_keras(module: Stored, layer: Layer) -> dict[str, Array]:
    """The weights as Keras has them, rounded to the layer's precision; no bias where none is."""
    names = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh"}
    weights = {keras: in_order(module, layer, name) for keras, name in names.items()}
    if pair := biases(module, layer):
        two = getattr(layer, "reset_after", False)
        weights["bias"] = np.stack(pair) if two else pair[0] + pair[1]
    return {name: layer.precision.round(weight) for name, weight in weights.items()}


def differences(module: Stored, layer: Layer) -> list[tuple[float, str]]:
    """For each weight that is not the layer's: by how much, and a sentence about where most."""
    found = []
    theirs = as_keras(module, layer)
    if ("bias" in theirs) != (layer.bias is not None):
        whose = "the file has a bias and the layer none"
        found.append((np.inf, whose if layer.bias is None else "the file has no bias"))
    for name, weight in theirs.items():
        ours = getattr(layer, name)
        if ours is None or np.array_equal(ours, weight, equal_nan=True):
            continue
        distance = np.abs(weight - ours)
        index = np.unravel_index(np.argmax(distance), distance.shape)
        where = f"{name}[{', '.join(map(str, index))}]"
        there, here = weight[index], ours[index]
        found.append(
            (float(distance[index]), f"{where} is {there:.9g} there and {here:.9g} in the layer")
        )
    return found


def agreement(module: Stored, layer: Layer) -> str:
    """A sentence on whether the weights, mapped to Keras's order and biases, are the layer's."""
    found = differences(module, layer)
    if not found:
        return "its weights are the layer's exactly"
    _, where = max(found, key=lambda pair: pair[0])
    return f"its weights are not the layer's: {where}"
