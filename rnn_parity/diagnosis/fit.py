"""How well a computation explains observed outputs: its step residuals alone, without a replay.

Every step starts from the observed state, so all steps of all samples are independent: a part of
the rows can refute a computation, and only what survives need be tried on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.replay import Block, layer_inputs, project
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.resolution import Widths, resolution


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
    layer: Layer, sequences: Sequences, outputs: NDArray[Any]
) -> Iterator[tuple[Block, Observed]]:
    """Block by block, time first: the steps from observed states, and what was observed."""
    observed = Observed(layer, sequences, outputs)
    for steps in sequences.blocks(layer.width):
        observed.advance(steps)
        count, batch = observed.outputs.shape[:2]
        x = np.empty((count, batch, layer.features))
        x = layer_inputs(layer, sequences.inputs, steps, x)
        p = np.empty((count, batch, layer.width))
        projection = project(layer, x, p, sequences.dropout)
        yield Block(steps, x, projection, observed.outputs, observed.states[np.newaxis]), observed


@np.errstate(all="ignore")
def fit(layer: Layer, sequences: Sequences, outputs: NDArray[Any], arithmetic: Arithmetic) -> Fit:
    """How well `layer` on `sequences` explains `outputs` `(B, T, H)`; stops once it does not."""
    worst, widths = 0.0, Widths.none(layer.units, sequences.shape[0])
    steps = Steps(layer, arithmetic, sequences)
    for block, observed in observed_steps(layer, sequences, outputs):
        ball = steps.observed(block, observed)
        largest = float(ratios(distance(observed.outputs, ball.value), ball).max())
        # A ratio that is not a number fits nothing.
        worst = np.inf if np.isnan(largest) else max(worst, largest)
        if worst > 1 or ball.vacuous:
            return Fit(worst, True)
        size = np.abs(ball.value)
        widths = widths.and_then(Widths.of(ball.radius, size, observed.keep))
    return Fit(worst, not resolution("outputs", widths).resolved)


def part(
    sequences: Sequences, outputs: NDArray[Any], samples: NDArray[Any] | slice, steps: slice
) -> tuple[Sequences, NDArray[Any]]:
    """Some samples and timesteps, from the observed state before the first of `steps` on.

    Where states are hidden, by a mask or in an LSTM, all timesteps before `steps` are kept.
    """
    # The timesteps first: of a memory map, these samples alone may be more than fits in memory.
    s, seen = sequences.first(steps.stop).samples(samples), outputs[:, : steps.stop][samples]
    if s.mask is not None or len(s.initial_state) > 1 or not steps.start:
        return s, seen
    state = seen[:, steps.start - 1].astype(np.float64)
    return Sequences(s.inputs[:, steps], None, state[np.newaxis], s.dropout), seen[:, steps]
