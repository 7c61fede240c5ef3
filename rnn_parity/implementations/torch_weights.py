"""PyTorch itself with the weights in a `.safetensors` file: a `state_dict` of a recurrent module.

PyTorch computes from column vectors, so that its weights are transposed, `(G H, F)`; the gates are
in the order i, f, g, o (LSTM) and r, z, n (GRU), and there are two biases. Its GRU computes
`n = tanh(W_in x + b_in + r (W_hn h + b_hn))`, `h' = (1 - z) n + z h`, which is Keras's with
`reset_after`. Source: the documentation of `torch.nn.RNN`, `LSTM` and `GRU`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, MissingPackageError, UnsupportedError, one_line
from rnn_parity.implementations.request import (
    Answer,
    Implementation,
    Request,
    keras_class,
    path_and_part,
)
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.system.environment import version_of
from rnn_parity.system.files import plain_file, readable

CELL = re.compile(r"(.*?)\.?(?:(?:weight|bias)_[ih]h|recurrent_(?:kernel|bias)|weight_hr)")
"""A tensor of an `nn.RNNCell`, an `nn.LSTMCell` or an `nn.GRUCell`, or of a Keras layer."""
MOST_NAMED = 5
"""How many tensors of other layers a note names: enough to recognise the file."""
MODULES = {"SimpleRNN": "RNN", "LSTM": "LSTM", "GRU": "GRU"}
GATES = {"SimpleRNN": (0,), "LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2)}
"""Where PyTorch has each of Keras's gates: its GRU's come as r, z, n."""
KEY = re.compile(
    r"(?P<prefix>.*?)(?P<name>(?:weight|bias)_[ih]h|weight_hr)(?P<end>_l\d+(_reverse)?)"
)
EXTENSIONS = ("safetensors", "pt", "pth", "bin", "ckpt", "pkl", "pickle")
"""How files of PyTorch end; all but the first are pickled."""
PART = re.compile(r"(?P<prefix>.*?)\*?(?P<end>(?:_|(?<![^.*]))l\d+(?:_reverse)?)?")
"""How the user names layers: by what their tensors' names begin with, end with, or both."""
DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, eq=False)
class StoredModule:
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
    def number(self) -> int:
        """Which layer of its module it is, from 0."""
        return int(self.end.removeprefix("_l").removesuffix("_reverse"))

    @property
    def is_reverse(self) -> bool:
        """Whether it takes the inputs in reverse."""
        return self.end.endswith("_reverse")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: tuple(tensor.shape) for name, tensor in sorted(self.tensors.items())}


def implementation(source: str) -> Implementation:
    """PyTorch's module for the layer, with the weights in a file, on the CPU in their own dtype.

    `source` is its path, followed by `#PART` where it holds several layers: what the names of one
    layer's tensors begin with, end with, or both, such as `#encoder.`, `#_l0` or `#encoder.*_l0`.
    Those that are not run are named in the answer, unless the part leaves them out. Raises
    `InputError` for a file that is no such `state_dict` (a pickled one is not even opened),
    `MissingPackageError` without PyTorch or safetensors.
    """
    path, part = path_and_part(source, *EXTENSIONS)
    tensors = read_tensors(path)
    modules = stored_modules(path, tensors)
    candidates = named_modules(path, modules, part)
    cells = cells_among(tensors) if part is None else ()
    others = other_tensors(tensors)

    def compute(request: Request) -> Answer:
        keras_class(request.layer, repr(path))
        asked = {**request.asked, request.layer_name: request.layer}
        taken = modules_for(path, candidates, asked)
        chosen = taken[request.layer_name]
        outputs, states = run_module(path, chosen, request)
        return Answer(
            outputs,
            states,
            tuple(notes(chosen, request, others)),
            with_both_biases(chosen, request.layer),
            left_out=(*(f"the layer {m.name}" for m in left_of(candidates, taken)), *cells),
            part=f"{path}#{chosen.name}",
        )

    return compute


def notes(chosen: StoredModule, request: Request, others: str) -> Iterator[str]:
    """What ran, whether its weights are the layer's, and what else is in the file."""
    dtype = str(chosen.tensors["weight_ih"].dtype).removeprefix("torch.")
    kind = f"nn.{MODULES[type(request.layer).__name__]}"
    yield f"PyTorch {version_of('torch')}, {kind} with {chosen.name}, {dtype}"
    yield agreement(chosen, request.layer)
    if request.mask is not None:
        yield "PyTorch's padding is filled as Keras fills masked steps"
    if others:
        yield f"the file holds other tensors, too: {others}"


def cells_among(tensors: Mapping[str, Any]) -> tuple[str, ...]:
    """The recurrent cells among tensors that no `nn.RNN`, `nn.LSTM` or `nn.GRU` has, by name."""
    found = (CELL.match(name) for name in tensors if KEY.fullmatch(name) is None)
    return tuple(dict.fromkeys(f"the cell {match[1] or match[0]}" for match in found if match))


def other_tensors(tensors: Mapping[str, Any]) -> str:
    """The names of the tensors that are no recurrent layer's, a few of them."""
    names = [name for name in tensors if KEY.fullmatch(name) is None]
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ", ".join([*names[:MOST_NAMED], *more])


def run_module(
    path: str, stored: StoredModule, request: Request
) -> tuple[NDArray[Any], tuple[NDArray[Any], ...]]:
    """Outputs `(B, T, H)` in processing order and the final states `(B, H)`."""
    import torch

    layer, dtype = request.layer, stored.tensors["weight_ih"].dtype
    order = slice(None, None, -1 if layer.go_backwards else 1)

    def tensor(array: NDArray[Any]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(layer.precision.round(array))).to(dtype)

    x = tensor(request.inputs[:, order])
    mask = None if request.mask is None else request.mask[:, order]
    if mask is not None:
        lengths = torch.from_numpy(right_padded(mask))
        x = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
    states = tuple(tensor(state)[None] for state in request.initial_state or ())
    try:
        with torch.no_grad():
            y, last = module_of(torch, stored, layer)(x, *pair_or_one(states))
    except RuntimeError as error:  # such as a dtype that a kernel lacks
        raise InputError(f"{path!r}: PyTorch refused: {one_line(error)}") from error
    if mask is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, True, total_length=mask.shape[1])
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    last = last if isinstance(last, tuple) else (last,)
    outputs, *final = (array.to(wide).numpy() for array in (y, *(part[0] for part in last)))
    if mask is not None and not layer.zero_output_for_mask:
        outputs = np.where(mask[..., None], outputs, final[0][:, None])
    return outputs, tuple(final)


def pair_or_one(states: tuple[Any, ...]) -> tuple[Any, ...]:
    """The argument for the initial state: a pair for `nn.LSTM`, none where it is zeros."""
    return (states,) if len(states) > 1 else states


def module_of(torch: Any, stored: StoredModule, layer: Cell) -> Any:
    """PyTorch's module for `layer`, with the stored weights."""
    options = {"nonlinearity": nonlinearity(layer)} if type(layer).__name__ == "SimpleRNN" else {}
    made = getattr(torch.nn, MODULES[type(layer).__name__])(
        layer.features,
        layer.units,
        bias="bias_ih" in stored.tensors,
        batch_first=True,
        dtype=stored.tensors["weight_ih"].dtype,
        **options,
    )
    made.load_state_dict({f"{name}_l0": tensor for name, tensor in stored.tensors.items()})
    return made.eval()


def nonlinearity(layer: Cell) -> str:
    """The layer's activation, which a `state_dict` does not tell, if `nn.RNN` has it."""
    name = layer.activation.name
    if name not in ("tanh", "relu"):
        raise InputError(f"activation: expected tanh or relu, which nn.RNN has, received {name}")
    return name


def right_padded(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many steps of each sample count, `(B,)`; masked ones may only follow them."""
    lengths: NDArray[np.int64] = mask.sum(axis=1)
    if not np.array_equal(mask, np.arange(mask.shape[1]) < lengths[:, None]) or not lengths.all():
        raise InputError(
            "mask: expected one that PyTorch's packed sequences can express: in processing order "
            "at least one step, then the masked ones; received another; pad on the right (on the "
            "left with go_backwards)"
        )
    return lengths


def read_tensors(path: str) -> dict[str, Any]:
    """The tensors in a `.safetensors` file; raises `InputError` for others, which are pickled."""
    if not path.lower().endswith(".safetensors"):
        raise InputError(
            f"{path!r}: a pickled checkpoint runs code of its own and is never loaded; save it "
            "with: safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')"
        )
    try:
        import torch  # noqa: F401  # safetensors makes the tensors
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingPackageError(
            f"{path!r} needs PyTorch and safetensors ({one_line(error)}); install them with: "
            "pip install 'rnn-parity[torch]'"
        ) from error
    try:
        with readable(repr(path)):
            plain_file(path, repr(path), "a .safetensors file").close()
            with safe_open(path, framework="pt") as file:
                names = file.keys()  # it is no dictionary
                return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise InputError(
            f"{path!r}: expected a .safetensors file, received a damaged one or another kind "
            f"({one_line(error)}); save it again"
        ) from None


def stored_modules(path: str, tensors: Mapping[str, Any]) -> list[StoredModule]:
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
    modules = [StoredModule(prefix, end, parts) for (prefix, end), parts in found.items()]
    places = {prefix: i for i, (prefix, _) in enumerate(reversed([*found]))}
    return sorted(modules, key=lambda m: (-places[m.prefix], m.number, m.is_reverse))


def named_modules(
    path: str, modules: Sequence[StoredModule], part: str | None
) -> list[StoredModule]:
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


def left_of(
    modules: Sequence[StoredModule], taken: Mapping[str, StoredModule]
) -> list[StoredModule]:
    """Those of `modules` that no layer was given."""
    return [m for m in modules if all(m is not one for one in taken.values())]


def modules_for(
    path: str, modules: Sequence[StoredModule], layers: Mapping[str, Cell]
) -> dict[str, StoredModule]:
    """The one of `modules` that each of `layers` is, by the layer's name; each is that of one.

    By its shapes, then its direction, then equal weights; those of other weights are taken in their
    order where they are layers of one module, as many as are left. Raises `InputError` where none
    fits, and where several could be the layer.
    """
    fitting = {name: fitting_modules(path, modules, layer) for name, layer in layers.items()}
    found: dict[str, StoredModule] = {}
    equal = {n: [m for m in fitting[n] if not differences(m, layers[n])] for n in layers}
    for options in (equal, fitting):
        left = left_of(modules, found)
        groups: dict[tuple[str, ...], list[str]] = {}
        for name in (name for name in layers if name not in found):
            own = tuple(m.name for m in options[name] if m in left)
            groups.setdefault(own, []).append(name)
        for own, names in groups.items():
            if own or options is fitting:
                found |= zip(names, in_their_order(path, left, own, names), strict=True)
    return found


def in_their_order(
    path: str, modules: Sequence[StoredModule], options: Sequence[str], names: Sequence[str]
) -> list[StoredModule]:
    """Those of `modules` that are named in `options`, one for each of the layers `names`.

    Raises `InputError` unless these are all, and layers of one module where they are several.
    """
    found = [m for m in modules if m.name in options]
    if len(found) == len(names) and len({m.prefix for m in found}) == 1:
        return found
    if len(found) < len(names):
        raise InputError(
            f"{path!r}: expected as many layers of this shape as {', '.join(names)}, received "
            f"{', '.join(options) or 'none that is left'}; name one that is there (--layer-name)"
        )
    raise InputError(
        f"{path!r}: expected one layer of this shape, received {', '.join(options)}; name one of "
        f"them: {path}#{options[0]}"
    )


def fitting_modules(path: str, modules: Sequence[StoredModule], layer: Cell) -> list[StoredModule]:
    """Those that can be `layer` by their shapes; of these, if there are any, by their direction."""
    wide, units, features = layer.width, layer.units, layer.features
    weights = {"weight_hh": (wide, units), "weight_ih": (wide, features)}
    shapes = [weights, {"bias_hh": (wide,), "bias_ih": (wide,), **weights}]
    fitting = [m for m in modules if m.shapes in shapes]
    if not fitting:
        kind = f"nn.{MODULES[type(layer).__name__]}"
        listed = "; ".join(f"{m.name} {m.shapes}" for m in modules)
        raise InputError(
            f"{path!r}: expected an {kind} with {features} features and {units} units, {weights}, "
            f"received {listed}"
        )
    return [m for m in fitting if m.is_reverse == layer.go_backwards] or fitting


def in_order(module: StoredModule, kind: str, name: str) -> Array:
    """One of the tensors, exactly, with the gates of `kind` in Keras's order along its last axis.

    `kind` is the name of Keras's class, "LSTM".
    """
    order = GATES[kind]
    blocks = np.split(module.tensors[name].double().numpy(), len(order))
    found: Array = np.concatenate([blocks[gate] for gate in order]).T
    return found


def biases(module: StoredModule, kind: str) -> tuple[Array, ...]:
    """Both biases; none where there are none."""
    names = [name for name in ("bias_ih", "bias_hh") if name in module.tensors]
    return tuple(in_order(module, kind, name) for name in names)


def with_both_biases(module: StoredModule, layer: Cell) -> Cell:
    """The layer as PyTorch computes it, which adds two biases where Keras has their sum."""
    if getattr(layer, "reset_after", False):
        return layer
    return layer.changed(addends=biases(module, type(layer).__name__))


def as_keras(module: StoredModule, layer: Cell) -> dict[str, Array]:
    """The weights as Keras has them, rounded to the layer's precision; no bias where none is."""
    names, kind = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh"}, type(layer).__name__
    weights = {keras: in_order(module, kind, name) for keras, name in names.items()}
    if pair := biases(module, kind):
        two = getattr(layer, "reset_after", False)
        weights["bias"] = np.stack(pair) if two else pair[0] + pair[1]
    return {name: layer.precision.round(weight) for name, weight in weights.items()}


def differences(module: StoredModule, layer: Cell) -> list[tuple[float, str]]:
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


def agreement(module: StoredModule, layer: Cell) -> str:
    """A sentence on whether the weights, mapped to Keras's order and biases, are the layer's."""
    found = differences(module, layer)
    if not found:
        return "its weights are the layer's exactly"
    _, where = max(found, key=lambda pair: pair[0])
    return f"its weights are not the layer's: {where}"
