"""How far from what was observed may lie what a compiled program hands on to what comes next.

XLA may compute a step once for the output and once more for what takes it, its last product fused
with that: then both are within the step's radius.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.observed import latest
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.diagnosis.fit import observed_steps
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.sequences import Sequences

Spreads = tuple[NDArray[Any], ...]
"""Of the outputs `(B, T, H)`, and of each final state `(B, H)`."""


@np.errstate(all="ignore")
def spreads(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Spreads:
    """The spreads of a layer that gave `outputs` `(B, T, H)`."""
    arithmetic = arithmetics(layer.precision)[0]
    steps = Steps(layer, arithmetic, sequences)
    found = np.zeros(outputs.shape, arithmetic.radius_dtype)
    last = np.zeros((len(outputs), layer.units), arithmetic.radius_dtype)
    for block, observed in observed_steps(layer, sequences, outputs):
        radius = latest(2 * steps.observed(block, observed).radius, observed.keep, last)
        found[:, block.steps], last = radius.swapaxes(0, 1), radius[-1]
    return found, last, *(2 * state.radius for state in steps.hidden)
