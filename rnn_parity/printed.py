"""Observed numbers that were printed with few decimals: what they can still prove.

Each carries half a unit of its last printed digit as a radius of its own, on both sides of a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.balls import Arithmetic, Ball
from rnn_parity.distance import distance, ratios
from rnn_parity.layers import Layer
from rnn_parity.observed import Observed
from rnn_parity.replay import blocks
from rnn_parity.residual import Steps
from rnn_parity.sequences import Sequences

MOST_DECIMALS = 12
FEW = 4096


def decimals(outputs: NDArray[Any]) -> int | None:
    """With how many decimals all of these numbers were printed; None when they were not.

    Whole numbers alone tell nothing, and so do decimals that the array's own dtype cannot hold.
    """
    if outputs.size > 2 * FEW and decimals(outputs.ravel()[:FEW]) is None:
        return None  # a few numbers refute it already
    x = outputs.astype(np.float64)
    eps = np.finfo(outputs.dtype).eps if outputs.dtype.kind == "f" else 2.0**-8
    if not np.isfinite(x).all() or np.array_equal(x, np.rint(x)):
        return None
    for k in range(1, MOST_DECIMALS + 1):
        scaled = x * 10.0**k
        error = np.abs(scaled) * eps
        if np.median(error) > 0.02:
            return None
        if (np.abs(scaled - np.rint(scaled)) <= error).all():
            return k
    return None


@np.errstate(all="ignore")
def within_print(
    layer: Layer,
    sequences: Sequences,
    outputs: NDArray[Any],
    arithmetic: Arithmetic,
    printed: int,
) -> bool:
    """Whether all steps are within rounding and half a unit of the last printed decimal."""
    half = 0.5 * 10.0**-printed
    steps = Steps(layer, arithmetic, sequences)
    observed = Observed(layer, sequences, outputs)
    for block in blocks(layer, sequences):
        observed.advance(block.steps)
        before = observed.states[:-1]
        unsure = np.full(before.shape, half, arithmetic.radius_dtype)
        ball = steps.outputs(block, Ball(before, unsure, arithmetic), observed.keep)
        ball = observed.masked(ball, arithmetic)
        # A masked step repeats a printed number, and is printed itself: twice half a unit.
        wide = Ball(ball.value, ball.radius + ball.radius.dtype.type(2 * half), arithmetic)
        if not ratios(distance(observed.outputs, wide.value), wide).max() <= 1:
            return False
    return True
