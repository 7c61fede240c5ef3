"""The step residual of many timesteps at once, and the bound that correct arithmetic keeps.

`residual[t] = |observed[t] - step(inputs[t], observed[t-1])|`: each step starts from the *observed*
state, so nothing accumulates and all steps are independent of each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball, Sum, apply
from rnn_parity.bounds.cell_state_bound import Output, carried
from rnn_parity.bounds.magnitudes import narrow
from rnn_parity.bounds.observed import Observed, latest, observed_steps
from rnn_parity.recurrence import cells
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.products import BoundedProduct
from rnn_parity.recurrence.replay import Block, blocks
from rnn_parity.recurrence.sequences import Sequences

Mask = NDArray[np.bool_]


class Steps:
    """The steps of a layer on balls: what a correct implementation can make of known states.

    Blocks must follow each other from the first timestep on: `cell_state` `(B, H)` is an LSTM's c
    after the last one, which is not observed but carried along; None for other layers.
    """

    def __init__(self, layer: Layer, arithmetic: Arithmetic, sequences: Sequences) -> None:
        self.layer, self.arithmetic = layer, arithmetic
        self.dtype = arithmetic.radius_dtype
        dropout, cuts = sequences.dropout, cells.recurrent_cuts(layer)
        self.every = slice(0, layer.width)
        self.inputs, self.state = (
            BoundedProduct(layer, matrix, masks, parts, self.dtype)
            for matrix, masks, parts in (
                (layer.kernel, dropout.inputs, [0, layer.width]),
                (layer.recurrent_kernel, dropout.state, cuts),
            )
        )
        cell_states = sequences.initial_state[1:]
        self.cell_state = Ball.exact(cell_states[0], arithmetic) if len(cell_states) else None
        self.keep: Mask | None = None
        self.seen: Ball | None = None
        self.step = cells.cell_of(layer, apply, self.product, self.carry)

    def observed(self, block: Block, observed: Observed) -> Ball:
        """Where the outputs of a block must lie, each step started from the observed state."""
        before = Ball.exact(observed.states[:-1], self.arithmetic)
        seen = Ball.exact(observed.outputs, self.arithmetic)
        ball = self.outputs(block, before, observed.keep, seen)
        return observed.masked(ball, self.arithmetic)

    def outputs(
        self, block: Block, before: Ball, keep: Mask | None = None, seen: Ball | None = None
    ) -> Ball:
        """The outputs that follow the states `before` `(t, B, H)` each of the block's steps.

        `keep` `(t, B, 1)` is False where a timestep is masked; the outputs are those of others.
        `seen` `(t, B, H)` are the observed outputs, which tell something of an LSTM's c; None where
        they are not known.
        """
        self.keep, self.seen = keep, seen
        magnitude = self.inputs.magnitude(narrow(block.inputs, self.dtype), self.every)
        masked = self.of_masks(self.inputs, magnitude)
        x = Sum.of(self.arithmetic, block.projection, magnitude, len(self.layer.kernel), masked)
        for addend in self.layer.input_addends:
            x = x.known_part(np.abs(addend))
        ball: Ball = self.step(x, before)
        return ball

    def product(self, h: Ball, columns: slice) -> Sum:
        """`h W` plus a recurrent bias, for these columns of W."""
        spread: NDArray[Any] | float = 0.0
        h = self.operand(h)
        size = narrow(h.value, self.dtype)
        if h.radius.ndim:
            spread = self.state.magnitude(h.radius, columns)
            size += h.radius
        magnitude = self.state.magnitude(size, columns)
        value = self.state(h.value, columns)
        spread = spread + self.of_masks(self.state, magnitude)
        product = Sum.of(self.arithmetic, value, magnitude, self.layer.units, spread)
        bias = self.layer.recurrent_bias
        if bias is None:
            return product
        product.value[...] += bias[columns]
        return product.known_part(np.abs(bias[columns]))

    def operand(self, h: Ball) -> Ball:
        """`h` as the layer takes it: next to a tie it may be rounded either way."""
        p = self.layer.operands
        if p is None:
            return h
        value = p.round(h.value)
        least, most = p.round(h.value - h.radius), p.round(h.value + h.radius)
        radius = np.maximum(value - least, most - value) if h.radius.ndim else h.radius
        return Ball(value, radius.astype(self.dtype), self.arithmetic)

    def of_masks(self, product: BoundedProduct, magnitude: NDArray[Any]) -> NDArray[Any] | float:
        """How far a product may be off because each operand was rounded on its dropout mask."""
        return 0.0 if product.masks is None else self.arithmetic.unit * magnitude

    def carry(self, p: Ball, q: Ball, o: Ball) -> Ball:
        """An LSTM's c after each step."""
        assert self.cell_state is not None
        output = None if self.seen is None else Output(self.layer.activation, o, self.seen)
        c, self.cell_state = carried(p, q, self.cell_state, self.keep, output)
        return c


@np.errstate(all="ignore")
def final_balls(
    layer: Layer, sequences: Sequences, arithmetic: Arithmetic
) -> tuple[Ball, tuple[Ball, ...]]:
    """The last output and the final states, `(B, H)` each, when nothing in between was observed.

    The radius grows from step to step along the whole sequence, from the known initial state.
    """
    steps = Steps(layer, arithmetic, sequences)
    zeros = np.zeros_like(sequences.initial_state[0])
    nothing = output = Ball(zeros, zeros.astype(arithmetic.radius_dtype), arithmetic)
    state = Ball(sequences.initial_state[0], nothing.radius, arithmetic)
    for block in blocks(layer, sequences):
        for t in range(len(block.outputs)):
            now = block.only(t)
            before = Ball(now.states[:1], state.radius[np.newaxis], arithmetic)
            if sequences.mask is None:
                output = state = steps.outputs(now, before)[0]
                continue
            keep = sequences.mask[:, block.steps.start + t, np.newaxis]
            ball = steps.outputs(now, before, keep[np.newaxis])[0]
            hidden = nothing if layer.zero_output_for_mask else output
            output, state = ball.where(keep, hidden), ball.where(keep, state)
    cell_states = () if steps.cell_state is None else (steps.cell_state,)
    return output, (state, *cell_states)


@np.errstate(all="ignore")
def handed_on_radii(
    layer: Layer, sequences: Sequences, outputs: NDArray[Any]
) -> tuple[NDArray[Any], ...]:
    """How far from observed `outputs` `(B, T, H)`, and from each final state `(B, H)`, may lie what
    a compiled program hands on to what comes next.

    XLA may compute a step once for the output and once more for what takes it, its last product
    fused with that: then both are within the step's radius.
    """
    arithmetic = arithmetics(layer.precision)[0]
    steps = Steps(layer, arithmetic, sequences)
    found = np.zeros(outputs.shape, arithmetic.radius_dtype)
    last = np.zeros((len(outputs), layer.units), arithmetic.radius_dtype)
    for block, observed in observed_steps(layer, sequences, outputs):
        radius = latest(2 * steps.observed(block, observed).radius, observed.keep, last)
        found[:, block.steps], last = radius.swapaxes(0, 1), radius[-1]
    cell_states = () if steps.cell_state is None else (2 * steps.cell_state.radius,)
    return found, last, *cell_states
