"""Observed outputs, block by block: the states they stand for, and what a masked step must show."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball, copied
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.sequences import Sequences, time_major
from rnn_parity.recurrence.time_loop import Block, layer_inputs, project


class Observed:
    """Walks through observed outputs `(B, T, H)`, in processing order.

    After `advance(steps)`, `outputs` `(t, B, H)` are these timesteps' outputs and `states`
    `(t + 1, B, H)` the observed states around them. The state is the last output that no mask hid.
    After `masked`, `state` `(B, H)` is where the state must lie that a step hands on. It may have
    been computed once more than the output, with products fused otherwise: then it is not the
    output, but lies in that step's ball as well.

    At most `count` timesteps are read at once, by default those of a usual block.
    """

    def __init__(
        self,
        layer: Cell,
        sequences: Sequences,
        outputs: NDArray[Any],
        count: int | None = None,
    ) -> None:
        self.layer, self.sequences, self.source = layer, sequences, outputs
        count = count or next(sequences.blocks(layer.width)).stop
        shape = (count + 1, *sequences.initial_state.shape[1:])
        self.buffer = np.empty(shape)
        # Without a mask, outputs and states are the same numbers.
        self.state_buffer = self.buffer if sequences.mask is None else np.empty(shape)
        self.state_buffer[-1] = sequences.initial_state[0]
        self.states = self.state_buffer[-1:]
        self.outputs = self.buffer[:0]
        self.keep: NDArray[np.bool_] | None = None
        self.state: Ball | None = None
        self.repeated = np.zeros((2, *shape[1:]))

    def advance(self, steps: slice) -> None:
        """Read the outputs of `steps`, which must follow those read before."""
        n = steps.stop - steps.start
        self.state_buffer[0] = self.states[-1]
        self.states = self.state_buffer[: n + 1]
        self.outputs = time_major(self.source, steps, self.buffer[1 : n + 1])
        self.keep = None
        if self.sequences.mask is not None:
            self.keep = self.sequences.mask[:, steps].T[:, :, np.newaxis]
            for t, keep in enumerate(self.keep):
                self.states[t + 1] = np.where(keep, self.outputs[t], self.states[t])

    def part(self, t: slice) -> Observed:
        """Some of the timesteps that were read last, of which none is masked."""
        found = copy(self)
        found.outputs, found.states = self.outputs[t], self.states[t.start : t.stop + 1]
        return found

    def masked(self, ball: Ball, arithmetic: Arithmetic) -> Ball:
        """`ball` of the steps, with what a masked step shows where one is: zeros, or the output of
        the last step that was not masked, which is zeros before the first one.
        """
        if self.keep is None:
            self.state = ball[-1]
            return ball
        before = (
            copied(self.sequences.initial_state[0], arithmetic)
            if self.state is None
            else self.state
        )
        value, radius = (
            latest(array, self.keep, first)
            for array, first in ((ball.value, before.value), (ball.radius, before.radius))
        )
        self.state = Ball(value[-1], radius[-1], arithmetic)
        return ball.where(self.keep, self.hidden(ball, arithmetic))

    def hidden(self, ball: Ball, arithmetic: Arithmetic) -> Ball:
        """What masked steps show, `(t, B, H)`; numbers below the normal range may become zero."""
        assert self.keep is not None
        if self.layer.zero_output_for_mask:
            return copied(np.zeros_like(self.outputs), arithmetic)
        value, radius = (
            latest(array, self.keep, first)
            for array, first in zip((ball.value, ball.radius), self.repeated, strict=True)
        )
        self.repeated[...] = value[-1], radius[-1]
        radius = radius + ball.radius.dtype.type(arithmetic.results.smallest_normal)
        return Ball(value, radius, arithmetic)


def latest(
    array: NDArray[Any], keep: NDArray[np.bool_] | None, before: NDArray[Any]
) -> NDArray[Any]:
    """`array` `(t, B, H)`, at a masked step that of the last step which was not."""
    if keep is None:
        return array
    found = np.empty_like(array)
    for t, one in enumerate(keep):
        found[t] = before = np.where(one, array[t], before)
    return found


def observed_steps(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any]
) -> Iterator[tuple[Block, Observed]]:
    """The steps from observed states, block by block and time first, with what was observed."""
    observed = Observed(layer, sequences, outputs)
    for steps in sequences.blocks(layer.width):
        observed.advance(steps)
        count, batch = observed.outputs.shape[:2]
        x = np.empty((count, batch, layer.features))
        x = layer_inputs(layer, sequences.inputs, steps, x)
        p = np.empty((count, batch, layer.width))
        projection = project(layer, x, p, sequences.dropout)
        states = observed.states[np.newaxis]
        yield Block(steps, x, projection, observed.outputs, states), observed


def observed_part(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    samples: NDArray[Any] | slice,
    steps: slice,
) -> tuple[Sequences, NDArray[Any]]:
    """Some samples and timesteps, from the observed state before the first of `steps` on.

    Where states are hidden, by a mask or as an LSTM's c, all timesteps before `steps` are kept.
    """
    # The timesteps first: of a memory map, these samples alone may be more than fits in memory.
    s, seen = sequences.first(steps.stop).samples(samples), outputs[:, : steps.stop][samples]
    if s.mask is not None or layer.hidden or not steps.start:
        return s, seen
    state = seen[:, steps.start - 1].astype(np.float64)
    return Sequences(s.inputs[:, steps], None, state[np.newaxis], s.dropout), seen[:, steps]
