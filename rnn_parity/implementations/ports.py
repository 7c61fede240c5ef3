"""The inputs and outputs of an exported model: which takes or gives what of a layer's call.

Shapes tell, in ONNX and LiteRT models alike.

A name decides only between an LSTM's h and c, which have the same shape; where it does not, a final
h is the last output, and else the order is taken for that of h and c, which a note says. NumPy
alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.implementations.request import Answer, Request

Array = NDArray[Any]

CELL = re.compile(r"(^|[^a-z])c(ell|n)?([^a-z]|$)", re.IGNORECASE)
"""The name of a cell state: c, c0, c_0, cn, Y_c, initial_c, cell_state."""
HIDDEN = re.compile(r"(^|[^a-z])h(idden|n)?([^a-z]|$)", re.IGNORECASE)
"""The name of the other: h, h0, h_0, hn, Y_h, initial_h, hidden_state."""

LAST_ONLY = (
    "only the last output is exported: export the whole sequence (return_sequences=True, ONNX's Y, "
    "PyTorch's output) for a verdict on every step"
)
FILLED = "beyond the lengths of the sequences, ONNX's zeros are filled as Keras fills masked steps"
IN_ORDER = (
    "the {} {} and {} are taken as the states h and c: their names do not tell which is which"
)
NO_MASK = "the model has no input for the mask, which was not passed on"


@dataclass(frozen=True)
class Port:
    """An input of a model: its name, its shape (None where open), its dtype (None: no tensor)."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any] | None

    def __str__(self) -> str:
        return f"{self.name} {str(self.shape).replace('None', 'any')}"

    def takes(self, shape: tuple[int, ...], kinds: str = "f") -> bool:
        """Whether an array of `shape` fits, and the dtype is of one of these kinds."""
        return (
            self.dtype is not None
            and self.dtype.kind in kinds
            and len(shape) == len(self.shape)
            and all(n in (None, size) for n, size in zip(self.shape, shape, strict=True))
        )


@dataclass(frozen=True)
class Feeds:
    """The arrays for a model's inputs, by name.

    `time_first` where X goes in as `(T, B, F)`, `by_length` where the mask goes in as the lengths
    of the sequences.
    """

    arrays: dict[str, Array]
    time_first: bool
    by_length: bool
    notes: tuple[str, ...] = ()


def feeds(request: Request, ports: Sequence[Port], hint: Mapping[str, bool]) -> Feeds | None:
    """What each of the inputs `ports` is given; None where they are not those of the layer.

    `hint` says of an input whether it is time first, where its shape leaves that open. A state that
    the model takes and the request leaves open is zeros. A mask that the model does not take is not
    passed on, and a note says so.
    """
    x, notes = np.asarray(request.inputs), []
    port = next((port for port in ports if orders(port, x.shape)), None)
    if port is None:
        return None
    time_first, *open_ = orders(port, x.shape)
    if open_ and port.name in hint:
        time_first = hint[port.name]
    elif open_:
        notes.append(f"input {port.name} is taken as (batch, timesteps, features)")
    arrays = {port.name: x.swapaxes(0, 1) if time_first else x}
    states = state_feeds(request, [p for p in ports if p.name not in arrays])
    if states is None:
        return None
    if request.initial_state is not None and not is_told(list(states)):
        notes.append(IN_ORDER.format("inputs", *states))
    arrays |= states
    masks = mask_feeds(request, [p for p in ports if p.name not in arrays])
    by_length = any(array.ndim == 1 for array in masks.values())
    if request.mask is not None and not masks:
        notes.append(NO_MASK)
    arrays |= masks
    if len(arrays) < len(ports):
        return None
    cast = {port.name: np.ascontiguousarray(arrays[port.name], port.dtype) for port in ports}
    return Feeds(cast, time_first, by_length, tuple(notes))


def orders(port: Port, shape: tuple[int, ...]) -> list[bool]:
    """How inputs of `shape` `(B, T, F)` fit: as they are (False), time first (True), or both."""
    batch, timesteps, features = shape
    ways = {False: shape, True: (timesteps, batch, features)}
    return [time_first for time_first, way in ways.items() if port.takes(way)]


def state_feeds(request: Request, ports: Sequence[Port]) -> dict[str, Array] | None:
    """The layer's states for those of `ports` that take them; None when some states have none."""
    names, size = request.layer.STATES, (len(request.inputs), request.layer.units)
    shapes = (size, (1, *size), (size[0], 1, size[1]))
    fits = {port: [shape for shape in shapes if port.takes(shape)] for port in ports}
    takers = [port for port in ports if fits[port]][: len(names)]
    if len(takers) < len(names):
        return {} if request.initial_state is None else None
    states = request.initial_state or (np.zeros(size),) * len(names)
    found = {port.name: fits[port][0] for port in takers}
    return {
        name: np.reshape(state, found[name])
        for name, state in zip(cell_last(list(found)), states, strict=True)
    }


def cell_of(names: Sequence[str]) -> str | None:
    """The one of several states that is c: named so, or the only one not named h; or None."""
    named = [name for name in names if CELL.search(name)]
    others = [name for name in names if not HIDDEN.search(name)]
    return next((found[0] for found in (named, others) if len(found) == 1), None)


def cell_last(names: Sequence[str]) -> list[str]:
    """The names of states with c at the end, if they tell which it is."""
    cell = cell_of(names)
    return sorted(names, key=lambda name: name == cell)


def is_told(names: Sequence[str]) -> bool:
    """Whether the names of states tell which is c, if there are several at all."""
    return len(names) < 2 or cell_of(names) is not None


def mask_feeds(request: Request, ports: Sequence[Port]) -> dict[str, Array]:
    """The mask, or the lengths of the sequences, for the input that takes it, if one does."""
    shape = request.inputs.shape[:2]
    mask = np.ones(shape, bool) if request.mask is None else request.mask
    lengths = mask.sum(axis=1)
    for port in ports:
        if port.takes(shape, "biuf"):
            return {port.name: mask}
        if port.takes(shape[:1], "iu") and (mask == (np.arange(shape[1]) < lengths[:, None])).all():
            return {port.name: lengths}
    return {}


def answer_from_outputs(
    request: Request, outputs: Mapping[str, Array], time_first: bool
) -> Answer | None:
    """The layer's outputs and final states among those of a model; None where nobody can tell them.

    The only output of a model is what it computed, whatever its shape.

    A sequence is `(B, T, H)` or `(T, B, H)`, a state or a last output `(B, H)`; any of them may
    have an axis of 1 before B or H. The output comes first, then h, then c. Beside a sequence there
    may be outputs of other shapes, which the answer names as left out.
    """
    batch, timesteps, _ = request.inputs.shape
    count, shape = len(request.layer.STATES), (batch, timesteps, request.units)
    sequences = {name: as_sequence(array, shape, time_first) for name, array in outputs.items()}
    first = next((name for name, found in sequences.items() if found is not None), None)
    sequence = None if first is None else sequences[first]
    found = {
        name: as_state(outputs[name], (batch, request.units))
        for name in cell_last([name for name in outputs if name != first])
    }
    names = [name for name, state in found.items() if state is not None]
    states = tuple(state for state in found.values() if state is not None)
    rest = tuple(name for name, state in found.items() if state is None)
    if first is not None and sequence is not None:
        if len(states) > count or any(sequences[name] is not None for name in rest):
            return None
        left_out = [f"the output {name}" for name in rest]
        if len(states) == 1 < count and CELL.search(names[0]):
            left_out, states = [*left_out, f"{names[0]}, a state c without its h"], ()
        final, notes = hidden_first(names, states, sequence[:, -1])
        return Answer(sequence, final, notes, left_out=tuple(left_out), part=first)
    if len(outputs) == len(rest) == 1:
        return of_other_shape(request, outputs)
    if rest or len(states) not in (1, count, count + 1):
        return None
    if len(states) == 1 < count and CELL.search(names[0]):
        return None  # a state c is no output
    # A last output of its own, or an h that is the last output as well.
    last = states[0] if len(states) > count else None
    final, notes = hidden_first(names[-count:], states[-count:], last)
    return Answer(
        final[0] if last is None else last, final if len(states) > 1 else (), (LAST_ONLY, *notes)
    )


def of_other_shape(request: Request, outputs: Mapping[str, Array]) -> Answer | None:
    """The only output of a model, which has not the layer's shape; None for a c, and for integers.

    A note says what would fit.
    """
    ((name, array),) = outputs.items()
    if CELL.search(name) or array.dtype.kind != "f":
        return None
    return Answer(array, notes=(outputs_misfit(request, outputs),))


def named_outputs(outputs: Mapping[str, Array], part: str | None, where: str) -> dict[str, Array]:
    """Those of a model's outputs that `part` names, one or several with commas; all for None."""
    wanted = [*outputs] if part is None else [part] if part in outputs else part.split(",")
    for name in wanted:
        if name not in outputs:
            raise InputError(f"{where}: expected some of {', '.join(outputs)}, received #{part}")
    return {name: outputs[name] for name in wanted}


def hidden_first(
    names: Sequence[str], states: tuple[Array, ...], last: Array | None
) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    """The final states, h before c: by name, by what equals the last output, or with a note."""
    if is_told(names) or len(states) < 2:
        return states, ()
    told = [i for i, state in enumerate(states) if last is not None and np.array_equal(state, last)]
    if len(told) != 1:
        return states, (IN_ORDER.format("outputs", *names),)
    return (states[told[0]], states[1 - told[0]]), ()


def filled(request: Request, outputs: Array) -> Array | None:
    """Outputs `(B, T, H)` with Keras's in place of the zeros that ONNX gives beyond a length.

    None where the layer has none of its own for masked steps, or where they come first.
    """
    layer, mask = request.layer, request.mask
    if mask is None or mask.all() or layer.zero_output_for_mask or layer.go_backwards:
        return None
    if outputs.shape[:2] != mask.shape:
        return None
    # Of an empty sequence it is the end of the zeros.
    last = outputs[np.arange(len(outputs)), mask.sum(axis=1) - 1]
    return np.where(mask[:, :, np.newaxis] | (outputs != 0), outputs, last[:, np.newaxis])


def as_sequence(array: Array, shape: tuple[int, int, int], time_first: bool) -> Array | None:
    """`array` as `(B, T, H)`; where its shape leaves the order open, `time_first` decides."""
    batch, timesteps, units = shape
    ways = {
        False: (shape, (batch, timesteps, 1, units)),
        True: ((timesteps, batch, units), (timesteps, 1, batch, units)),
    }
    for swapped in (time_first, not time_first):
        if array.shape in ways[swapped]:
            found = array.reshape(ways[swapped][0])
            return found.swapaxes(0, 1) if swapped else found
    return None


def as_state(array: Array, shape: tuple[int, int]) -> Array | None:
    """`array` as `(B, H)`."""
    batch, units = shape
    ways = (shape, (1, batch, units), (batch, 1, units))
    return array.reshape(shape) if array.shape in ways else None


def inputs_misfit(request: Request, ports: list[Port]) -> str:
    """What the layer is given and what the model takes, side by side."""
    shape = request.inputs.shape
    states = request.layer.STATES if request.initial_state is not None else ()
    state = f"({shape[0]}, {request.layer.units})"
    wanted = ", ".join((f"inputs {shape}", *(f"initial {name} {state}" for name in states)))
    received = ", ".join(map(str, ports)) or "none"
    advice = "export the layer alone, with its states as inputs where it is given any"
    sized = (port for port in ports if len(port.shape) == 3 and port.shape[2] in (None, shape[2]))
    if any(not orders(port, shape) for port in sized):
        advice = "export it with open batch and time axes, or check with --batch and --timesteps"
    return f"expected the layer's inputs, {wanted}, received {received}; {advice}"


def outputs_misfit(request: Request, outputs: Mapping[str, Any]) -> str:
    """What the layer gives and what the model gave, side by side."""
    batch, timesteps, _ = request.inputs.shape
    state = f"({batch}, {request.units})"
    received = ", ".join(f"{name} {np.shape(array)}" for name, array in outputs.items())
    return (
        f"expected the layer's outputs ({batch}, {timesteps}, {request.units}), or the last "
        f"one {state}, and final states {state}, received {received}; export the layer alone, or "
        "name its output: FILE#NAME"
    )
