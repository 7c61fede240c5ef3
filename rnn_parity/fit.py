"""How well a computation explains observed outputs: its step residuals alone, without a replay.

Every step starts from the observed state, so all steps of all samples are independent: a part of
the rows can refute a computation, and only what survives need be tried on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.balls import Arithmetic, Ball, coarse
from rnn_parity.distance import distance, ratios
from rnn_parity.layers import SimpleRNN
from rnn_parity.observed import Observed
from rnn_parity.replay import Block, layer_inputs, project
from rnn_parity.residual import Step
from rnn_parity.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Fit:
    """The largest ratio of step residual to bound, and whether the bound was too wide to matter."""

    max_ratio: float
    useless: bool

    @property
    def explains(self) -> bool:
        """Whether the residuals are within rounding, by a bound that could have refuted it."""
        return self.max_ratio <= 1 and not self.useless


def observed_steps(
    layer: SimpleRNN, sequences: Sequences, outputs: NDArray[Any], arithmetic: Arithmetic
) -> Iterator[tuple[Block, Observed, Ball]]:
    """Block by block: the steps from observed states, what was observed, and where it may lie."""
    step = Step(layer, arithmetic)
    observed = Observed(layer, sequences, outputs)
    for steps in sequences.blocks(layer.units):
        observed.advance(steps)
        count, batch = observed.outputs.shape[:2]
        x = np.empty((count, batch, layer.features))
        x = layer_inputs(layer, sequences.inputs, steps, x)
        projection = project(layer, x, np.empty(observed.outputs.shape))
        block = Block(steps, x, projection, observed.outputs, observed.states)
        ball = step.from_state(block, observed.states[:-1])
        yield block, observed, observed.masked(ball, arithmetic)


@np.errstate(all="ignore")
def fit(
    layer: SimpleRNN, sequences: Sequences, outputs: NDArray[Any], arithmetic: Arithmetic
) -> Fit:
    """How well `layer` on `sequences` explains `outputs` `(B, T, H)`; stops once it does not."""
    worst, squares = 0.0, np.zeros(2)
    for _, observed, ball in observed_steps(layer, sequences, outputs, arithmetic):
        ratio = ratios(distance(observed.outputs, ball.value), ball)
        worst = max(worst, float(ratio.max()))
        squares += ball.squares()
        if worst > 1 or ball.vacuous:
            return Fit(worst, True)
    return Fit(worst, coarse(squares[0], squares[1]))


def part(
    sequences: Sequences, outputs: NDArray[Any], samples: NDArray[Any] | slice, steps: slice
) -> tuple[Sequences, NDArray[Any]]:
    """Some samples, from the first of `steps` on: the observed state before it comes first.

    Without a mask only; with one, all timesteps are kept.
    """
    inputs, seen = sequences.inputs[samples], outputs[samples]
    state = sequences.initial_state[samples]
    if sequences.mask is not None:
        return replace(
            sequences, inputs=inputs, mask=sequences.mask[samples], initial_state=state
        ), seen
    if steps.start:
        state = seen[:, steps.start - 1].astype(np.float64)
    return Sequences(inputs[:, steps], None, state), seen[:, steps]
