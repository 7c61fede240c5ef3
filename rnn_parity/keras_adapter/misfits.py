"""Why Keras refused what a layer or a model was given, in plain words where these are known.

Keras and TensorFlow name what went wrong in their own graphs: "list index out of range" for an LSTM
with one state, the sizes of a matrix product for inputs with other features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.keras_adapter.inputs import input_signature, named_inputs
from rnn_parity.keras_adapter.parts import (
    cells_of,
    directions,
    is_bidirectional,
    is_time_major,
    state_structure,
)
from rnn_parity.keras_adapter.runtime import tensorflow_module
from rnn_parity.recurrence.cells import KERAS_CELLS

MODEL_AXES = 3
"""From so many axes on, the last one of a model's input has a fixed size that Keras insists on."""


@contextmanager
def in_plain_words(misfit: Callable[[], str]) -> Iterator[None]:
    """Raises `InputError` with what `misfit` says in place of a refusal, where it says anything."""
    try:
        yield
    except UnsupportedError:
        raise
    except InputError as error:
        said = misfit()
        if not said:
            raise
        raise InputError(said) from error


def of_layer(layer: Any, data: Mapping[str, Any], was_built: bool = True) -> str:
    """What does not fit a recurrent layer of the inputs and states of a call; empty if nothing.

    One that was not built before the call took the number of features from it. Nothing is said of a
    layer with cells of somebody's own, which may take what they like.
    """
    if not has_known_cells(layer):
        return ""
    return of_inputs(layer, data["inputs"].shape, was_built) or of_states(
        layer, data.get("initial_state"), data["inputs"].shape
    )


def has_known_cells(layer: Any) -> bool:
    """Whether all cells in a layer are Keras's own, so that it is known what they take."""
    layers = tensorflow_module().keras.layers
    if not is_bidirectional(layer) and not hasattr(layer, "cell"):
        return False
    known = tuple(getattr(layers, f"{kind}Cell") for kind in KERAS_CELLS)
    return all(isinstance(cell, known) for cell in cells_of(layer))


def of_inputs(layer: Any, shape: tuple[int, ...], was_built: bool) -> str:
    """What does not fit of the inputs of this shape."""
    kernel = getattr(cells_of(layer)[0], "kernel", None) if was_built else None
    features = shape[-1] if kernel is None else int(kernel.shape[0])
    if len(shape) == 3 and shape[2] == features:
        return ""
    first = "timesteps, batch" if is_time_major(layer) else "batch, timesteps"
    last = "features" if kernel is None else features
    return f"inputs: expected shape ({first}, {last}), received {shape}"


def of_states(layer: Any, given: Any, inputs: tuple[int, ...]) -> str:
    """What does not fit of the initial states that are given beside inputs of this shape."""
    if given is None:
        return ""
    nest = tensorflow_module().nest
    sizes, found = nest.flatten(state_structure(layer)), nest.flatten(given)
    batch = inputs[1] if is_time_major(layer) else inputs[0]
    shapes = [(batch, int(size)) for size in sizes]
    if [tuple(one.shape) for one in found] == shapes:
        return ""
    each, kind = "each " * (len(shapes) > 1), type(layer).__name__
    sizes_of = " or ".join(map(str, dict.fromkeys(shapes)))
    received = f"{len(found)} state{'s' * (len(found) > 1)}"
    if len(found) == len(shapes):
        received = f"shape {', '.join(map(str, dict.fromkeys(tuple(one.shape) for one in found)))}"
    return (
        f"initial_state: expected {states_of(layer)} for {kind}, {each}of shape {sizes_of}, "
        f"received {received}"
    )


def states_of(layer: Any) -> str:
    """The states that a layer takes, as a person writes them: `(h, c)` for an LSTM."""
    if is_bidirectional(layer):
        return ", ".join(f"{side} {states_of(one)}" for side, one in directions(layer).items())
    return ", ".join(map(states_of_cell, cells_of(layer)))


def states_of_cell(cell: Any) -> str:
    """The states of a cell of Keras's own."""
    names = KERAS_CELLS[type(cell).__name__.removesuffix("Cell")].STATES
    return f"({', '.join(names)})" if len(names) > 1 else names[0]


def of_model(model: Any, inputs: Any, masks: Sequence[NDArray[np.bool_] | None]) -> str:
    """What does not fit a model of its inputs and of their masks; empty if nothing is known to."""
    given = named_inputs(model, inputs)
    specs = input_signature(model) if given else []
    for spec in specs:
        shape = given[spec.name].shape if spec.name in given else spec.shape
        wrong = len(shape) != len(spec.shape) or (
            len(shape) >= MODEL_AXES and spec.shape[-1] not in (None, shape[-1])
        )
        if wrong:
            return (
                f"inputs: expected shape {spec.shape} for {spec.name!r} (None is any size), "
                f"received {shape}"
            )
    for array, mask in zip(given.values(), masks, strict=False):
        if mask is not None and mask.shape != array.shape[:2]:
            return (
                f"mask: expected shape {array.shape[:2]}, the batch and timesteps of the inputs, "
                f"received {mask.shape}"
            )
    return ""
