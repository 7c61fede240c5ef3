"""The free-running replay: the recurrence by hand, in float64, from the inputs and initial state.

Works through a sequence in blocks of timesteps, so that a million steps need little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Matrix, bound
from rnn_parity.recurrence.products import Product, operand
from rnn_parity.recurrence.program import Program
from rnn_parity.recurrence.sequences import NO_DROPOUT, Dropout, Sequences, time_major
from rnn_parity.system.threads import over_batch


@dataclass(frozen=True, eq=False)
class Trace:
    """A replayed sequence: `outputs` `(B, T, H)` in processing order, `final_state` `(B, H)`.

    Where a cell has several states, as an LSTM's h and c, `final_state` is a tuple of them.
    """

    outputs: Array
    final_state: Any

    @property
    def states(self) -> tuple[Array, ...]:
        """The final states, `(B, H)` each, however many there are."""
        return self.final_state if isinstance(self.final_state, tuple) else (self.final_state,)


@dataclass(frozen=True, eq=False)
class Block:
    """Some timesteps of a replay, time first; valid until the next block is asked for.

    `inputs` is `(t, B, F)`, rounded to the layer's precision; `projected` are the products `x U`,
    `(t, B, G H)`, or a function that makes them of the inputs; `outputs` are the outputs,
    `(t, B, H)`. `states` is `(S, t + 1, B, H)`: each of the S states before the first of these
    steps, and after each of them. `record` is what activations gave and what was multiplied, by
    groups of the layer's plan, `(t, g, B, H)`, where that was asked for.
    """

    steps: slice
    inputs: Array
    projected: Array | Callable[[Array], Array]
    outputs: Array
    states: Array
    record: dict[int, Array] = field(default_factory=dict)

    @cached_property
    def projection(self) -> Array:
        """The products `x U`, `(t, B, G H)`."""
        return self.projected(self.inputs) if callable(self.projected) else self.projected

    def part(self, t: slice) -> Block:
        """Some of these timesteps."""
        first = self.steps.start
        made = "projection" in vars(self) or not callable(self.projected)
        return Block(
            slice(first + t.start, first + t.stop),
            self.inputs[t],
            self.projection[t] if made else self.projected,
            self.outputs[t],
            self.states[:, t.start : t.stop + 1],
        )


def replay(layer: Cell, sequences: Sequences) -> Trace:
    """Replay a whole sequence."""
    outputs = np.empty((*sequences.shape, layer.units))
    final = final_states(layer, sequences, outputs)
    return Trace(outputs, tuple(final) if len(final) > 1 else final[0])


def final_states(layer: Cell, sequences: Sequences, outputs: Array | None = None) -> Array:
    """The states `(K, B, H)` after a whole sequence, whose `outputs` `(B, T, H)` are filled in."""

    @np.errstate(all="ignore")  # infinities and NaN are results like others
    def last_states(samples: slice) -> Array:
        for block in blocks(layer, sequences.samples(samples)):
            if outputs is not None:
                outputs[samples, block.steps] = block.outputs.swapaxes(0, 1)
        last: Array = block.states[:, -1].copy()
        return last

    parts = over_batch(len(sequences.inputs), multiplications(layer, sequences), last_states)
    return np.concatenate(parts, axis=1)


def multiplications(layer: Cell, sequences: Sequences) -> int:
    """How many multiplications the matrix products of a whole replay take."""
    batch, timesteps = sequences.shape
    return batch * timesteps * layer.width * (layer.features + layer.units)


def blocks(
    layer: Cell,
    sequences: Sequences,
    steps: Sequence[slice] | None = None,
    *,
    recorded: bool = False,
) -> Iterator[Block]:
    """Replay block by block, of the usual `steps` unless others are given; the buffers are used
    again for every block.

    With `recorded`, a block has a `record`.
    """
    steps = steps or list(sequences.blocks(layer.width))
    mask, batch = sequences.mask, sequences.shape[0]
    how = {"masked": mask is not None, "recorded": recorded}
    program = Program(layer, sequences.dropout, steps[0].stop, batch, **how)
    states, outputs = program.states, program.outputs
    states[:, 0] = sequences.initial_state
    made = partial(projected, layer, sequences.dropout)
    for part in steps:
        n = part.stop - part.start
        x = layer_inputs(layer, sequences.inputs, part, program.inputs[:n])
        if mask is not None and program.hide is not None:
            np.logical_not(mask[:, part].T[..., np.newaxis], out=program.hide[:n])
        program.run(x)
        yield Block(part, x, made, outputs[:n], states[:, : n + 1], program.record(n))
        states[:, 0] = states[:, n]
        if program.separate:
            program.before[...] = outputs[n - 1]


def projected(layer: Cell, dropout: Dropout, x: Array) -> Array:
    """The products `x U` of some timesteps, in an array of their own."""
    return project(layer, x, np.empty((*x.shape[:2], layer.width)), dropout)


def layer_inputs(layer: Cell, inputs: NDArray[Any], steps: slice, out: Array) -> Array:
    """These timesteps of the inputs as the layer sees them: rounded to its compute dtype."""
    x = time_major(inputs, steps, out)
    if inputs.dtype.name != layer.precision.name:
        x[...] = layer.precision.round(x)
    return operand(layer, x)


def project(layer: Cell, x: Array, out: Array, dropout: Dropout = NO_DROPOUT) -> Array:
    """The products `x U` of all timesteps at once."""
    out[...] = Product(layer, layer.kernel, dropout.inputs)(x, slice(0, layer.width))
    return out


def first_step(layer: Cell, sequences: Sequences) -> Trace:
    """The first timestep alone, which no mask hides: without what many of them would pay for."""
    x = np.empty((1, len(sequences.inputs), layer.features))
    x = layer_inputs(layer, sequences.inputs, slice(0, 1), x)
    products = project(layer, x, np.empty((*x.shape[:2], layer.width)), sequences.dropout)
    step = step_on_arrays(layer, sequences.dropout)
    output, *states = step(products[0], *sequences.initial_state)
    if not layer.facts.own_output:
        states = [output, *states]
    shape = sequences.initial_state.shape[1:]
    return Trace(
        np.broadcast_to(output, shape)[:, np.newaxis],
        tuple(np.broadcast_to(state, shape) for state in states),
    )


def step_on_arrays(
    layer: Cell,
    dropout: Dropout = NO_DROPOUT,
    times_w: Callable[[Array, slice], Array] | None = None,
) -> Callable[..., tuple[Any, ...]]:
    """The formula on plain arrays: a function of the products `x U` and the states `(B, H)`.

    `times_w(a, columns)` multiplies by W, as the layer's own does.
    """
    every = slice(0, layer.width)
    times_w = times_w or Product(layer, layer.recurrent_kernel, dropout.state)
    letters: dict[str, Any] = {
        "U": Matrix(lambda x, columns: x[..., columns], every),
        "W": Matrix(times_w, every),
        "b": Bias(layer.bias, every),
        **layer.vectors,
        **layer.letters,
    }
    return bound(layer.formula, letters)
