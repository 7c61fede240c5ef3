"""The step residual of many timesteps at once, and the bound that correct arithmetic keeps.

`residual[t] = |observed[t] - step(inputs[t], observed[t-1])|`: each step starts from the *observed*
state, so nothing accumulates and all steps are independent of each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import cells
from rnn_parity.balls import Arithmetic, Ball, Magnitudes, Sum, apply, narrow, rows_by
from rnn_parity.layers import Array, SimpleRNN
from rnn_parity.replay import Block, blocks, operand
from rnn_parity.sequences import Sequences


class Step:
    """One step of a layer on balls: what a correct implementation can make of a known state."""

    def __init__(self, layer: SimpleRNN, arithmetic: Arithmetic) -> None:
        self.layer, self.arithmetic = layer, arithmetic
        self.dtype = arithmetic.radius_dtype
        self.kernel = Magnitudes(self.dtype, layer.kernel)
        self.recurrent_kernel = Magnitudes(self.dtype, layer.recurrent_kernel)

    def from_state(self, block: Block, state: Array, radius: NDArray[Any] | None = None) -> Ball:
        """The outputs that follow `state` `(t, B, H)`, the state before each of the block's steps.

        `radius` is that of the state, `(t, B, H)`, where it is not known exactly.
        """
        product = rows_by(operand(self.layer, state), self.layer.recurrent_kernel)
        magnitude = self.recurrent_kernel(narrow(state, self.dtype))
        spread = 0.0 if radius is None else self.recurrent_kernel(radius)
        recurrent = self.arithmetic.sum_of(product, magnitude, self.layer.units, spread)
        return self.apply(block, recurrent)

    def apply(self, block: Block, recurrent: Sum) -> Ball:
        """`f(x U + b + r)` on balls, in the cell's own formula."""
        magnitude = self.kernel(narrow(block.inputs, self.dtype))
        x = self.arithmetic.sum_of(block.projection, magnitude, self.layer.features)
        if self.layer.bias is not None:
            x = x.known_part(np.abs(self.layer.bias))
        return cells.simple_rnn(lambda z: apply(self.layer.activation, z), x, recurrent)


@np.errstate(all="ignore")
def final_balls(
    layer: SimpleRNN, sequences: Sequences, arithmetic: Arithmetic
) -> tuple[Ball, Ball]:
    """The last output and the final state, `(B, H)` each, when nothing in between was observed.

    The radius grows from step to step along the whole sequence, from the known initial state.
    """
    step = Step(layer, arithmetic)
    radius = np.zeros((1, *sequences.initial_state.shape), arithmetic.radius_dtype)
    output = Ball(np.zeros_like(sequences.initial_state), radius[0])
    state = Ball(sequences.initial_state, radius[0])
    for block in blocks(layer, sequences):
        for t in range(len(block.outputs)):
            now = block.only(t)
            ball = step.from_state(now, now.states[:1], state.radius[np.newaxis])
            ball = Ball(ball.value[0], ball.radius[0])
            if sequences.mask is None:
                output = state = ball
                continue
            keep = sequences.mask[:, block.steps.start + t, np.newaxis]
            hidden = (
                Ball(np.zeros_like(ball.value), radius[0]) if layer.zero_output_for_mask else output
            )
            output, state = ball.where(keep, hidden), ball.where(keep, state)
    return output, state
