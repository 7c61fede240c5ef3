"""Observed numbers that were printed with few digits: what they can still prove.

Each carries half a unit of its last printed digit as a radius of its own, on both sides of a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.arithmetic import Arithmetic
from rnn_parity.balls import Ball
from rnn_parity.distance import distance, ratios
from rnn_parity.layers import Layer
from rnn_parity.observed import Observed
from rnn_parity.replay import blocks
from rnn_parity.residual import Steps
from rnn_parity.sequences import Sequences

MOST_DIGITS = 12
FEW = 4096


@dataclass(frozen=True)
class Print:
    """How numbers were printed: with so many decimals, or with so many significant digits."""

    count: int
    significant: bool = False

    def __str__(self) -> str:
        return f"{self.count} {'significant digits' if self.significant else 'decimals'}"

    def half(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half a unit of the last printed digit of each number; nothing for a printed 0."""
        if not self.significant:
            return np.full(x.shape, 0.5 * 10.0**-self.count)
        return np.where(x == 0, 0.0, 0.5 * 10.0 ** (magnitude(x) - self.count))


def magnitude(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many digits stand before the point: 3 for 123.4, 0 for 0.5, -1 for 0.05."""
    whole: NDArray[np.float64] = np.floor(np.log10(np.where(x == 0, 1.0, np.abs(x))))
    return whole + 1


def prints(outputs: NDArray[Any]) -> list[Print]:
    """The ways in which all of these numbers may have been printed; none where they were not.

    Whole numbers alone tell nothing, and so do digits that the array's own dtype cannot hold.
    """
    if outputs.size > 2 * FEW and not prints(outputs.ravel()[:FEW]):
        return []  # a few numbers refute it already
    x = outputs.astype(np.float64)
    eps = np.finfo(outputs.dtype).eps if outputs.dtype.kind == "f" else 2.0**-8
    if not np.isfinite(x).all() or np.array_equal(x, np.rint(x)):
        return []
    found = [fewest(x, np.zeros(x.shape), eps), fewest(x, magnitude(x), eps)]
    return [Print(k, bool(i)) for i, k in enumerate(found) if k is not None]


def fewest(x: NDArray[np.float64], before: NDArray[np.float64], eps: float) -> int | None:
    """The fewest digits that hold every number, `before` of them standing before the point."""
    for k in range(1, MOST_DIGITS + 1):
        scaled = x * 10.0 ** (k - before)
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
    how: Print,
) -> bool:
    """Whether all steps are within rounding and half a unit of the last printed digit."""
    steps = Steps(layer, arithmetic, sequences)
    observed = Observed(layer, sequences, outputs)
    for block in blocks(layer, sequences):
        observed.advance(block.steps)
        before = observed.states[:-1]
        unsure = how.half(before).astype(arithmetic.radius_dtype)
        ball = steps.outputs(block, Ball(before, unsure, arithmetic), observed.keep)
        ball = observed.masked(ball, arithmetic)
        # A masked step repeats a printed number, and is printed itself: twice half a unit.
        width = 2 * how.half(observed.outputs).astype(ball.radius.dtype)
        wide = Ball(ball.value, ball.radius + width, arithmetic)
        if not ratios(distance(observed.outputs, wide.value), wide).max() <= 1:
            return False
    return True
