"""Observed outputs, block by block: the states they stand for, and what a masked step must show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.arithmetic import Arithmetic
from rnn_parity.balls import Ball, copied
from rnn_parity.layers import Layer
from rnn_parity.sequences import Sequences, time_major


class Observed:
    """Walks through observed outputs `(B, T, H)`, in processing order.

    After `advance(steps)`, `outputs` `(t, B, H)` are these timesteps' outputs and `states`
    `(t + 1, B, H)` the observed states around them. The state is the last output that no mask hid.
    `spread` `(t, B, H)` is how far from it may lie what a step hands on; `hand_on` sets it.
    """

    def __init__(self, layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> None:
        self.layer, self.sequences, self.source = layer, sequences, outputs
        first = next(iter(sequences.blocks(layer.width)))
        shape = (first.stop + 1, *sequences.initial_state.shape[1:])
        self.buffer = np.empty(shape)
        # Without a mask, outputs and states are the same numbers.
        self.state_buffer = self.buffer if sequences.mask is None else np.empty(shape)
        self.state_buffer[-1] = sequences.initial_state[0]
        self.previous_output = np.zeros(shape[1:])
        self.states = self.state_buffer[-1:]
        self.outputs = self.buffer[:0]
        self.keep: NDArray[np.bool_] | None = None
        self.spread: NDArray[Any] = np.zeros((1, *shape[1:]), np.float32)

    def advance(self, steps: slice) -> None:
        """Read the outputs of `steps`, which must follow those read before."""
        n = steps.stop - steps.start
        if len(self.outputs):
            self.previous_output[...] = self.outputs[-1]
        self.state_buffer[0] = self.states[-1]
        self.states = self.state_buffer[: n + 1]
        self.outputs = time_major(self.source, steps, self.buffer[1 : n + 1])
        self.keep = None
        if self.sequences.mask is not None:
            self.keep = self.sequences.mask[:, steps].T[:, :, np.newaxis]
            for t, keep in enumerate(self.keep):
                self.states[t + 1] = np.where(keep, self.outputs[t], self.states[t])

    def hand_on(self, radius: NDArray[Any]) -> None:
        """Take note of the steps' `radius` `(t, B, H)`.

        XLA may compute a step once for the output and once more for what is handed on, products
        fused with sums in one of them alone: then both are within the step's radius.
        """
        self.spread = latest(2 * radius, self.keep, self.spread[-1])

    def masked(self, ball: Ball, arithmetic: Arithmetic) -> Ball:
        """`ball`, with what a masked step shows where one is: zeros or the previous output."""
        self.hand_on(ball.radius)
        if self.keep is None:
            return ball
        repeated = np.zeros_like(self.outputs)
        if not self.layer.zero_output_for_mask:
            repeated[0], repeated[1:] = self.previous_output, self.outputs[:-1]
        hidden = copied(repeated, arithmetic)
        if not self.layer.zero_output_for_mask:
            hidden = Ball(repeated, hidden.radius + self.spread, arithmetic)
        return ball.where(self.keep, hidden)


def latest(
    radius: NDArray[Any], keep: NDArray[np.bool_] | None, before: NDArray[Any]
) -> NDArray[Any]:
    """`radius` `(t, B, H)`, at a masked step that of the last step which was not."""
    if keep is None:
        return radius
    found = np.empty_like(radius)
    for t, one in enumerate(keep):
        found[t] = before = np.where(one, radius[t], before)
    return found
