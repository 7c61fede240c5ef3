"""A PyTorch `state_dict` that is checked itself: PyTorch runs each layer and direction in it.

`weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0` and `bias_hh_l0` are the first layer of an `nn.RNN`,
`nn.LSTM` or `nn.GRU`, told by one, four or three gates; `_l1` is the next layer, `_reverse` the
direction that takes the inputs in reverse. What a `state_dict` does not hold are arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, one_line
from rnn_parity.implementations.sources import Source
from rnn_parity.implementations.torch_weights import (
    MODULES,
    StoredModule,
    biases,
    cells_among,
    in_order,
    other_tensors,
    read_tensors,
    right_padded,
    stored_modules,
)
from rnn_parity.recurrence.cells import KERAS_CELLS, Cell
from rnn_parity.recurrence.layer_call import LayerCall, not_compared
from rnn_parity.recurrence.precision import real
from rnn_parity.recurrence.sequences import Sequences, boolean
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.system.environment import version_of
from rnn_parity.system.limits import check_numbers

KINDS = {1: "SimpleRNN", 3: "GRU", 4: "LSTM"}
"""What has so many gates, by the names of Keras's classes."""
DEFAULTS = {"nonlinearity": "tanh", "batch_first": True, "dropout": 0.0}
"""What a `state_dict` does not hold; `batch_first` is this program's default, not PyTorch's."""
HELD = ("input_size", "hidden_size", "num_layers", "bias", "bidirectional", "proj_size")
"""Arguments of PyTorch's modules that a `state_dict` tells."""
CELL = "a cell alone does not tell what its inputs are: check it with --against a layer of Keras"


@dataclass(frozen=True, eq=False)
class Stack:
    """An `nn.RNN`, an `nn.LSTM` or an `nn.GRU`: its layers, each of one or two directions.

    `kind` is the name of Keras's class. `prefix` is what the names of its tensors begin with.
    """

    prefix: str
    kind: str
    layers: tuple[tuple[StoredModule, ...], ...]

    @property
    def directions(self) -> int:
        """One, or two of a bidirectional module."""
        return len(self.layers[0])

    @property
    def units(self) -> int:
        """The units of one direction."""
        return int(self.layers[0][0].shapes["weight_hh"][1])

    @property
    def features(self) -> int:
        """The features of its inputs."""
        return int(self.layers[0][0].shapes["weight_ih"][1])

    @property
    def names(self) -> list[str]:
        """What each layer is called."""
        return [f"{self.prefix}l{k}" for k in range(len(self.layers))]

    def names_of(self, k: int) -> list[str]:
        """What the calls of layer `k` are called, one for each direction."""
        name = self.names[k]
        return [f"{name}/forward", f"{name}/backward"] if self.directions > 1 else [name]


@dataclass(frozen=True, eq=False)
class ObservedStateDict:
    """The calls of the layers and directions of a file, and notes on the run.

    `last` are those of the last layer, where there is one module and none of its layers was chosen;
    empty otherwise. `ran` are all calls of the modules that were run, chosen or not.
    """

    calls: tuple[LayerCall, ...]
    ran: tuple[LayerCall, ...]
    notes: tuple[str, ...] = ()
    last: tuple[LayerCall, ...] = ()

    def asked_of(self, source: Source) -> tuple[list[LayerCall], list[LayerCall]]:
        """What `source` is asked for; and the other calls, which are not compared.

        Numbers are those of the last layer, where nobody named another.
        """
        calls, last = [*self.calls], [*self.last]
        if source.scope != "call" or len(last) in (0, len(calls)):
            return calls, []
        where = last[0].whole
        note = (
            f"the numbers are taken for those of the last layer, {where}, and what reaches it is "
            "what PyTorch computes in the layers below"
        )
        reason = (
            f"the numbers are those of the last layer; if that is all that is meant, name it: "
            f"--layer-name {where}"
        )
        below = [
            replace(one, weights=None, not_compared=one.not_compared or reason)
            for one in calls
            if one not in last
        ]
        return [replace(one, notes=(*one.notes, note)) for one in last], below


def moved_by_layers_below(ran: Sequence[LayerCall]) -> dict[str, float]:
    """How far apart right computations of the layers below may move each layer's gates, by name.

    A lower estimate, by two of them: PyTorch's, and the replay in float64; 0 for a first layer.
    """
    found: dict[str, float] = {}
    wholes = dict.fromkeys(call.whole for call in ran)
    below: NDArray[Any] | None = None
    for parts in ([call for call in ran if call.whole == whole] for whole in wholes):
        is_first = parts[0].whole.endswith("l0")
        x = parts[0].inputs if is_first or below is None else below
        outputs = []
        for part in parts:
            assert part.weights is not None
            moved = float(np.abs(part.inputs - x).max())
            found[part.layer_name] = moved * float(np.abs(part.weights.kernel).sum(axis=0).max())
            own = replay(part.weights, Sequences.of(part.weights, x, part.mask)).outputs
            outputs.append(own[:, ::-1] if part.weights.go_backwards else own)
        below = np.concatenate(outputs, axis=-1)
    return found


def runtime_name() -> str:
    """The runtime and its version."""
    return f"PyTorch {version_of('torch')}"


def observed_state_dict(
    path: str,
    inputs: NDArray[Any] | None = None,
    mask: NDArray[Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    layer_name: str | None = None,
    batch: int = 32,
    timesteps: int = 28,
    seed: int = 0,
) -> ObservedStateDict:
    """Run the modules in a `.safetensors` file, and tell what passed through each layer.

    `inputs` `(B, T, F)` are those of the one module that is run, random ones otherwise; `mask` is
    `(B, T)`, right-padded. `layer_name` selects a module ("encoder"), a layer ("encoder.l1") or a
    direction of it ("encoder.l1/backward" or "encoder.l1_reverse"). Raises `InputError` for a file,
    arguments or data that do not fit, `MissingPackageError` without PyTorch.
    """
    tensors = read_tensors(path)
    found = stacks(path, stored_modules(path, tensors))
    options = checked_arguments(arguments or {}, found)
    chosen = chosen_stacks(found, layer_name, inputs is not None)
    rng = np.random.default_rng(seed)
    calls: list[LayerCall] = []
    ran: list[LayerCall] = []
    for one, names in chosen:
        x = module_inputs(one, inputs, options, (batch, timesteps), rng)
        ran += stack_calls(path, one, x, mask, options)
        calls += [call for call in ran if call.whole in one.names and call.layer_name in names]
    is_one = layer_name is None and len(chosen) == 1
    last = [call for call in calls if is_one and call.whole == chosen[0][0].names[-1]]
    if layer_name is None:
        cells = (cell.removeprefix("the cell ") for cell in cells_among(tensors))
        calls += [not_compared("cell", cell, {}, CELL) for cell in cells]
    notes = [*assumed([one for one, _ in chosen], inputs, arguments or {})]
    if others := other_tensors(tensors):
        notes.append(f"the file holds other tensors, too: {others}")
    return ObservedStateDict(tuple(calls), tuple(ran), tuple(notes), tuple(last))


def chosen_stacks(
    found: Sequence[Stack], layer_name: str | None, is_given: bool
) -> list[tuple[Stack, set[str]]]:
    """The modules in which `layer_name` selects something, and the names of the calls.

    Raises `InputError` where there is none, and for several where inputs are given.
    """
    pairs = [(one, chosen_names(one, layer_name)) for one in found]
    chosen = [(one, names) for one, names in pairs if names]
    if not chosen:
        raise InputError(f"--layer-name: expected one of {listed(found)}, received {layer_name!r}")
    if is_given and len(chosen) > 1:
        names = ", ".join(one.prefix.rstrip(".") or "one without a name" for one, _ in chosen)
        raise InputError(
            f"--input: expected one module to take it, received {names}; name one (--layer-name)"
        )
    return chosen


def stacks(path: str, modules: Sequence[StoredModule]) -> list[Stack]:
    """The modules of PyTorch that layers and directions are of; `InputError` for what is none."""
    prefixes = dict.fromkeys(one.prefix for one in modules)
    return [
        stack(path, prefix, [one for one in modules if one.prefix == prefix]) for prefix in prefixes
    ]


def stack(path: str, prefix: str, modules: Sequence[StoredModule]) -> Stack:
    """The module whose layers and directions are `modules`, all there are of it, in order."""
    numbers = [one.number for one in modules if not one.is_reverse]
    reverse = [one.number for one in modules if one.is_reverse]
    if numbers != [*range(len(numbers))] or reverse not in ([], numbers):
        received = ", ".join(one.name for one in modules)
        raise InputError(
            f"{path!r}: expected the layers l0, l1, ... of {prefix or 'a module'} without a gap, "
            f"each of the same directions, received {received}"
        )
    first = modules[0]
    gates, units = gates_and_units(path, first)
    directions = 1 + bool(reverse)
    for one in modules:
        features = first.shapes["weight_ih"][1] if one.number == 0 else directions * units
        check_shapes(path, one, gates, units, features, "bias_ih" in first.tensors)
    if len({str(tensor.dtype) for one in modules for tensor in one.tensors.values()}) > 1:
        raise InputError(f"{path!r}: expected one dtype in {prefix}*, received several")
    layers = tuple(tuple(m for m in modules if m.number == k) for k in numbers)
    return Stack(prefix, KINDS[gates], layers)


def gates_and_units(path: str, module: StoredModule) -> tuple[int, int]:
    """How many gates and units a layer has, by its `weight_hh`, `(G H, H)`."""
    shape = module.shapes.get("weight_hh", ())
    gates = shape[0] // shape[1] if len(shape) == 2 and shape[1] else 0
    if gates not in KINDS or shape[0] != gates * shape[1] or "weight_ih" not in module.tensors:
        raise InputError(
            f"{path!r}: {module.name}: expected weight_ih, and a weight_hh of shape (H, H), "
            f"(3 H, H) or (4 H, H), as in an nn.RNN, nn.GRU or nn.LSTM, received {module.shapes}"
        )
    return gates, shape[1]


def check_shapes(
    path: str, module: StoredModule, gates: int, units: int, features: int, biased: bool
) -> None:
    """Raise `InputError` unless the tensors of one layer and direction are those of its module."""
    wide = gates * units
    shapes: dict[str, tuple[int, ...]] = {"weight_hh": (wide, units)}
    shapes["weight_ih"] = (wide, features)
    if biased:
        shapes |= {"bias_hh": (wide,), "bias_ih": (wide,)}
    if module.shapes != shapes or not features:
        raise InputError(
            f"{path!r}: {module.name}: expected {dict(sorted(shapes.items()))}, received "
            f"{module.shapes}"
        )


def checked_arguments(given: Mapping[str, Any], found: Sequence[Stack]) -> dict[str, Any]:
    """All arguments that a `state_dict` does not hold; `InputError` for others, and for values."""
    for name, value in given.items():
        if name in HELD:
            raise InputError(f"--arg {name}: told by the file itself; leave it out")
        if name not in DEFAULTS:
            known = ", ".join(DEFAULTS)
            raise InputError(f"--arg {name}: expected one of {known} for PyTorch's weights")
        allowed = {
            "nonlinearity": value in ("tanh", "relu"),
            "batch_first": isinstance(value, bool),
            "dropout": isinstance(value, (int, float)) and 0 <= value <= 1,
        }[name]
        if not allowed:
            wanted = {"nonlinearity": "tanh or relu", "batch_first": "True or False"}
            raise InputError(
                f"--arg {name}: expected {wanted.get(name, 'a rate from 0 to 1')}, received {value}"
            )
    if "nonlinearity" in given and all(one.kind != "SimpleRNN" for one in found):
        raise InputError("--arg nonlinearity: expected an nn.RNN to have it, the file holds none")
    return DEFAULTS | dict(given)


def listed(found: Sequence[Stack]) -> str:
    """All names that select something, of layers and directions."""
    return ", ".join(
        name for one in found for k in range(len(one.layers)) for name in one.names_of(k)
    )


def chosen_names(stack: Stack, layer_name: str | None) -> set[str]:
    """The names of the calls that `layer_name` selects; all for None."""
    found = set()
    for k, name in enumerate(stack.names):
        own = stack.names_of(k)
        if layer_name in (None, name) or (layer_name and layer_name == stack.prefix.rstrip(".")):
            found |= {*own}
        elif layer_name in own:
            found |= {str(layer_name)}
        elif layer_name == f"{name}_reverse" and len(own) > 1:
            found |= {own[1]}
    return found


def assumed(
    running: Sequence[Stack], inputs: NDArray[Any] | None, given: Mapping[str, Any]
) -> Iterator[str]:
    """What a `state_dict` does not hold and nobody said, in sentences."""
    if any(one.kind == "SimpleRNN" for one in running) and "nonlinearity" not in given:
        yield (
            "a state_dict does not hold the nonlinearity of an nn.RNN: PyTorch's default tanh is "
            "assumed; if it is relu: --arg nonlinearity=relu"
        )
    if inputs is not None and "batch_first" not in given:
        yield (
            "the inputs are taken as (batch, timesteps, features); if timesteps come first: "
            "--arg batch_first=False"
        )
    if given.get("dropout"):
        yield "PyTorch runs in evaluation mode, in which dropout does nothing"


def module_inputs(
    stack: Stack,
    inputs: NDArray[Any] | None,
    options: Mapping[str, Any],
    sizes: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Inputs `(B, T, F)` for a module: those that were given, or random ones of these `sizes`."""
    shape = inputs.shape if inputs is not None else (*sizes, stack.features)
    if len(shape) != 3 or shape[2] != stack.features:
        order = "batch, timesteps" if options["batch_first"] else "timesteps, batch"
        raise InputError(
            f"--input: expected ({order}, {stack.features}), which {stack.prefix}* takes, received "
            f"shape {shape}"
        )
    wide = stack.features + len(stack.layers) * stack.directions * stack.units
    smaller = "make --batch or --timesteps smaller"
    check_numbers(shape[0] * shape[1] * wide, "inputs and outputs", smaller)
    if inputs is None:
        return rng.standard_normal(shape)
    found = real(inputs, "--input")
    return found if options["batch_first"] else found.swapaxes(0, 1)


def stack_calls(
    path: str,
    stack: Stack,
    x: NDArray[Any],
    mask: NDArray[Any] | None,
    options: Mapping[str, Any],
) -> Iterator[LayerCall]:
    """What passed through each layer and direction of a module as PyTorch ran it on `x`.

    What reaches a layer is what the module gives that ends with the layer below; the final states
    are those of the module as a whole.
    """
    counts = None if mask is None else boolean(mask, x.shape[:2])
    lengths = None if counts is None else right_padded(counts)
    runs = [run_stack(path, stack, k, x, lengths, options) for k in range(len(stack.layers) + 1)]
    whole, units = runs[-1], stack.units
    for k, layer in enumerate(stack.layers):
        for d, module in enumerate(layer):
            outputs = runs[k + 1][0][..., d * units : (d + 1) * units]
            yield LayerCall(
                layer_class=f"nn.{MODULES[stack.kind]}",
                layer_name=stack.names_of(k)[d],
                config=config_of(stack, options),
                mode="",
                call=None,
                weights=cell_of(module, stack.kind, options),
                not_compared=None,
                inputs=runs[k][0],
                outputs=outputs[:, ::-1] if module.is_reverse else outputs,
                mask=counts,
                final_state=tuple(state[k * stack.directions + d] for state in whole[1]),
                whole=stack.names[k],
            )


def config_of(stack: Stack, options: Mapping[str, Any]) -> dict[str, Any]:
    """PyTorch's arguments of a module."""
    return {
        "input_size": stack.features,
        "hidden_size": stack.units,
        "num_layers": len(stack.layers),
        "bias": "bias_ih" in stack.layers[0][0].tensors,
        "bidirectional": stack.directions > 1,
        **({"nonlinearity": options["nonlinearity"]} if stack.kind == "SimpleRNN" else {}),
    }


def cell_of(module: StoredModule, kind: str, options: Mapping[str, Any]) -> Cell:
    """One layer and direction as a layer of this package; zeros stand for masked steps."""
    pair = biases(module, kind)
    bias = None if not pair else np.stack(pair) if kind == "GRU" else pair[0] + pair[1]
    found = KERAS_CELLS[kind](
        in_order(module, kind, "weight_ih"),
        in_order(module, kind, "weight_hh"),
        bias,
        options["nonlinearity"] if kind == "SimpleRNN" else "tanh",
        go_backwards=module.is_reverse,
        zero_output_for_mask=True,
        dtype=str(module.tensors["weight_ih"].dtype).removeprefix("torch."),
    )
    return found if kind == "GRU" else found.changed(addends=pair)


def run_stack(
    path: str,
    stack: Stack,
    depth: int,
    x: NDArray[Any],
    lengths: NDArray[np.int64] | None,
    options: Mapping[str, Any],
) -> tuple[NDArray[Any], tuple[NDArray[Any], ...]]:
    """The outputs `(B, T, D H)` of a module's first layers, `depth` of them, and h_n (and c_n).

    These are `(depth D, B, H)`. With a depth of 0, the inputs in the module's dtype.
    """
    import torch

    dtype = stack.layers[0][0].tensors["weight_ih"].dtype
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    inputs = torch.from_numpy(np.array(x)).to(dtype)  # a copy: a mapped file is read-only
    if depth == 0:
        return inputs.to(wide).numpy(), ()
    made = getattr(torch.nn, MODULES[stack.kind])(
        **config_of(stack, options) | {"num_layers": depth}, batch_first=True, dtype=dtype
    )
    stored = (module for layer in stack.layers[:depth] for module in layer)
    made.load_state_dict(
        {f"{name}{m.end}": tensor for m in stored for name, tensor in m.tensors.items()}
    )
    if lengths is not None:
        inputs = torch.nn.utils.rnn.pack_padded_sequence(
            inputs, torch.from_numpy(lengths), True, enforce_sorted=False
        )
    try:
        with torch.no_grad():
            y, last = made.eval()(inputs)
    except RuntimeError as error:  # such as a dtype that a kernel lacks
        raise InputError(f"{path!r}: PyTorch refused: {one_line(error)}") from error
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, True, total_length=x.shape[1])
    states = last if isinstance(last, tuple) else (last,)
    return y.to(wide).numpy(), tuple(state.to(wide).numpy() for state in states)
