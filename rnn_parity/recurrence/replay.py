"""The free-running replay: the recurrence by hand, in float64, from the inputs and initial state.

Works through a sequence in blocks of timesteps, so that a million steps need little memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence import cells
from rnn_parity.recurrence.activation import Activation
from rnn_parity.recurrence.layers import Array, Layer
from rnn_parity.recurrence.products import Product, operand
from rnn_parity.recurrence.sequences import NO_DROPOUT, Dropout, Sequences, time_major
from rnn_parity.system.threads import over_batch


@dataclass(frozen=True, eq=False)
class Trace:
    """A replayed sequence: `outputs` `(B, T, H)` in processing order, `final_state` `(B, H)`.

    An LSTM's `final_state` is a pair of them, `(h, c)`.
    """

    outputs: Array
    final_state: Any


@dataclass(frozen=True, eq=False)
class Block:
    """Some timesteps of a replay, time first; valid until the next block is asked for.

    `inputs` is `(t, B, F)`, rounded to the layer's precision; `projection` is `x U + b`,
    `(t, B, G H)`, `outputs` are the outputs, `(t, B, H)`. `states` is `(t + 1, B, H)`: the state h
    before the first of these steps, and after each of them; `cell_states` the same for an LSTM's c.
    """

    steps: slice
    inputs: Array
    projection: Array
    outputs: Array
    states: Array
    cell_states: Array | None = None

    def only(self, t: int) -> Block:
        """One of these timesteps as a block."""
        one = slice(t, t + 1)
        start = self.steps.start + t
        return Block(
            slice(start, start + 1),
            self.inputs[one],
            self.projection[one],
            self.outputs[one],
            self.states[t : t + 2],
            None if self.cell_states is None else self.cell_states[t : t + 2],
        )


def replay(layer: Layer, sequences: Sequences) -> Trace:
    """Replay a whole sequence; outputs and states as documented in `cells`."""
    outputs = np.empty((*sequences.shape, layer.units))

    @np.errstate(all="ignore")  # infinities and NaN are results like others
    def of(samples: slice) -> list[Array]:
        for block in blocks(layer, sequences.samples(samples)):
            outputs[samples, block.steps] = block.outputs.swapaxes(0, 1)
        every = (block.states, block.cell_states)
        return [states[-1].copy() for states in every if states is not None]

    parts = over_batch(len(sequences.inputs), multiplications(layer, sequences), of)
    h, *c = (np.concatenate(states) for states in zip(*parts, strict=True))
    return Trace(outputs, (h, *c) if c else h)


def multiplications(layer: Layer, sequences: Sequences) -> int:
    """How many multiplications the matrix products of a whole replay take."""
    batch, timesteps = sequences.shape
    return batch * timesteps * layer.width * (layer.features + layer.units)


def blocks(layer: Layer, sequences: Sequences) -> Iterator[Block]:
    """Replay block by block; the buffers are used again for every block."""
    steps = list(sequences.blocks(layer.width))
    size, batch = steps[0].stop, sequences.shape[0]
    inputs = np.empty((size, batch, layer.features))
    projections = np.empty((size, batch, layer.width))
    states = np.empty((len(layer.STATES), size + 1, batch, layer.units))
    outputs = states[0, 1:] if sequences.mask is None else np.empty_like(states[0, 1:])
    states[:, 0] = sequences.initial_state
    previous = np.zeros((batch, layer.units))
    for part in steps:
        n = part.stop - part.start
        x = layer_inputs(layer, sequences.inputs, part, inputs[:n])
        p = project(layer, x, projections[:n], sequences.dropout)
        block = Block(part, x, p, outputs[:n], *states[:, : n + 1])
        mask = None if sequences.mask is None else sequences.mask[:, part].T
        run(layer, block, mask, previous, sequences.dropout)
        yield block
        states[:, 0] = states[:, n]
        previous[...] = outputs[n - 1]


def layer_inputs(layer: Layer, inputs: NDArray[Any], steps: slice, out: Array) -> Array:
    """These timesteps of the inputs as the layer sees them: rounded to its compute dtype."""
    x = time_major(inputs, steps, out)
    if inputs.dtype.name != layer.precision.name:
        x[...] = layer.precision.round(x)
    return operand(layer, x)


def project(layer: Layer, x: Array, out: Array, dropout: Dropout = NO_DROPOUT) -> Array:
    """The input projection `x U + b` of all timesteps at once."""
    out[...] = Product(layer, layer.kernel, dropout.inputs)(x, slice(0, layer.width))
    if layer.input_bias is not None:
        out += layer.input_bias
    return out


def run(
    layer: Layer,
    block: Block,
    mask: NDArray[np.bool_] | None,
    previous: Array,
    dropout: Dropout = NO_DROPOUT,
) -> None:
    """The time loop: fills the outputs and states of `block`."""
    states, outputs, c = block.states, block.outputs, block.cell_states
    times_w, bias = Product(layer, layer.recurrent_kernel, dropout.state), layer.recurrent_bias

    def product(h: Array, columns: slice) -> Array:
        r = times_w(h, columns)
        if bias is not None:
            r += bias[columns]
        return r

    def carry(p: Array, q: Array, o: Array) -> Array:
        assert c is not None
        p *= c[t]
        p += q
        c[t + 1] = p if mask is None else np.where(mask[t, :, np.newaxis], p, c[t])
        return p

    step = cells.cell_of(layer, in_place, product, carry)
    for t, x in enumerate(block.projection):
        h = step(x, states[t])
        if mask is None:  # the output is the next state
            states[t + 1] = h
            continue
        # A masked step keeps the state and repeats the output, which before the first is zeros.
        keep = mask[t, :, np.newaxis]
        states[t + 1] = np.where(keep, h, states[t])
        outputs[t] = previous = np.where(keep, h, 0.0 if layer.zero_output_for_mask else previous)


def in_place(activation: Activation, z: Array) -> Array:
    """`f(z)` over `z`, which no formula uses again."""
    return activation(z, out=z)
