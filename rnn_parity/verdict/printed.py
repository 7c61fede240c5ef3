"""Observed numbers that were printed with few digits: what they can still prove.

Each carries half a unit of its last printed digit as a radius of its own, on both sides of a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.observed import Observed, observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import Block
from rnn_parity.verdict.comparison import first_beyond
from rnn_parity.verdict.results import Divergence

MOST_DIGITS = 12
"""How many digits are tried. Chosen between the 9 that hold any float32 and the 17 of a float64."""
FEW = 4096
"""How many numbers, evenly spread, are tried first: they refute nearly every print, and what they
leave is tried on all."""
CHANCE = 2.0**-40
"""Numbers were printed when chance makes all of them look so less often than this. At 2**-20 one
in a few thousand arrays of half a dozen numbers would; at 2**-80 fifty numbers with 7 decimals in
float32 would no longer be enough.
"""
PERHAPS = 2.0**-9
"""Numbers may have been printed when chance makes them look so less often than this. Chosen: one of
float32 with 4 decimals, or one with 6 in float64, does."""
FIXED_POINT = 2.0**12
"""Multiples of its inverse tell nothing: limits such as 1 and 0.5, or 8-bit integers over 128, have
few decimals and were not printed.
"""


@dataclass(frozen=True)
class Print:
    """How numbers were printed: with `count` decimals, or with `count` significant digits.

    `stored` is the unit roundoff of the format that they are stored in, 0 where it adds nothing.
    """

    count: int
    significant: bool = False
    stored: float = 0.0

    def __str__(self) -> str:
        return f"{self.count} {'significant digits' if self.significant else 'decimals'}"

    def half(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half a unit of the last printed digit of each number; nothing for a printed 0."""
        if not self.significant:
            return np.full(x.shape, 0.5 * 10.0**-self.count)
        return np.where(x == 0, 0.0, 0.5 * 10.0 ** (magnitude(x) - self.count))

    def unsure(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far each number may be from what it was before it was printed and stored.

        Rounded in a narrow format, it is multiplied and divided there: two roundings more.
        """
        return self.half(x) + 2 * self.stored * np.abs(x)

    def around(self, x: NDArray[Any], ball: Ball) -> Ball:
        """Where the printed numbers `x` lie if those that were printed lie in `ball`."""
        unsure = self.unsure(x.astype(np.float64)).astype(ball.radius.dtype)
        return Ball(ball.value, ball.radius + unsure, ball.arithmetic)


def magnitude(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many digits stand before the point: 3 for 123.4, 0 for 0.5, -1 for 0.05."""
    whole: NDArray[np.float64] = np.floor(np.log10(np.where(x == 0, 1.0, np.abs(x))))
    return whole + 1


def prints(outputs: NDArray[Any], chance: float = CHANCE) -> list[Print]:
    """The ways in which all of these numbers may have been printed, the likeliest first; none where
    they were not.

    A number is of k decimals when the number of k decimals next to it is stored as that very
    number. Of the numbers around it, whose neighbours are `spacing` apart, a share of
    `spacing * 10**k` is so by chance: float32 tells 7 decimals from none by many numbers only.
    """
    if outputs.size > 2 * FEW and not prints(outputs.flat[:: outputs.size // FEW], chance):
        return []
    x = outputs.astype(np.float64)
    if not np.isfinite(x).all():
        return []
    dtype: Any = outputs.dtype
    if dtype == np.float64 and np.array_equal(x, x.astype(np.float32)):
        dtype = np.dtype(np.float32)  # a wider array holds the same numbers
    eps = np.finfo(dtype).eps if dtype.kind == "f" else 2.0**-7
    found = [fewest(x, before, dtype, eps, chance) for before in (np.zeros(x.shape), magnitude(x))]
    stored = 0.0 if dtype == np.float64 else float(eps) / 2
    ways = [Print(k, bool(i), stored) for i, k in enumerate(found) if k is not None]
    some = x[x * FIXED_POINT % 1 != 0]  # limits such as 1 have few digits in any print
    # By chance numbers are rather of the finer ones, such as the 7 decimals of 0.0012345.
    return sorted(ways, key=lambda way: -float(np.log(way.half(some)).sum()))


@np.errstate(all="ignore")
def maybe_printed(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether all numbers of each row `(L, N)` may have few digits, by a look that costs little.

    False is certain: of each way to print some number is further from the nearest one of so few
    digits than half a unit of the format that it is stored in, unless that says nothing of them.
    """
    in_float32 = np.all((x == x.astype(np.float32)) | np.isnan(x), axis=1, keepdims=True)
    half = np.where(in_float32, 2.0**-24, 2.0**-53) + 2.0**-52
    before, telling = magnitude(x), x * FIXED_POINT % 1 != 0
    found: NDArray[np.bool_] = ~np.any(telling, axis=1)
    rows, middle = np.arange(len(x)), np.count_nonzero(telling, axis=1) // 2
    for k in range(1, MOST_DIGITS + 1):
        for decimals in (np.full_like(before, k), k - before):
            units = x * 10.0**decimals
            share = half * np.abs(units)
            off = np.abs(units - np.rint(units)) > share
            median = np.sort(np.where(telling, share, np.inf), axis=1)[rows, middle]
            found |= (median < 1) & ~np.any(off, axis=1)
    return found


@np.errstate(all="ignore")
def fewest(
    x: NDArray[np.float64], before: NDArray[np.float64], dtype: Any, eps: float, chance: float
) -> int | None:
    """The fewest digits that hold every number, `before` of them standing before the point."""
    spacing = eps * 2.0 ** np.floor(np.log2(np.abs(x)))
    telling = np.unique(np.abs(x), return_index=True)[1]
    telling = telling[np.ravel(x * FIXED_POINT % 1 != 0)[telling]]
    for k in range(1, MOST_DIGITS + 1):
        share = np.ravel(spacing * 10.0 ** (k - before))[telling]
        if not len(share) or not np.median(share) < 1:
            return None
        if (nearest(x, k - before).astype(dtype) == x).all():
            return k if np.log(np.minimum(share, 1.0)).sum() < np.log(chance) else None
    return None


def nearest(x: NDArray[np.float64], decimals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The number with this many `decimals` that is nearest to each of `x`, rounded once."""
    up, down = 10.0 ** np.maximum(decimals, 0), 10.0 ** np.maximum(-decimals, 0)
    found: NDArray[np.float64] = np.rint(x * up / down) * down / up
    return found


def steps_as_written(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    arithmetic: Arithmetic,
    how: Print | None,
) -> Iterator[tuple[Block, Observed, Ball]]:
    """Where the outputs of each block must lie, each step started from the observed state.

    Of printed numbers, with half a unit of the last printed digit on both sides of a step.
    """
    steps = Steps(layer, arithmetic, sequences)
    for block, observed in observed_steps(layer, sequences, outputs):
        if how is None:
            yield block, observed, steps.observed(block, observed)
            continue
        before = observed.states[:-1]
        unsure = how.unsure(before).astype(arithmetic.radius_dtype)
        printed = Ball(observed.outputs, how.unsure(observed.outputs), arithmetic)
        ball = steps.outputs(block, Ball(before, unsure, arithmetic), observed.keep, printed)
        ball = observed.masked(ball, arithmetic)
        # A masked step repeats a printed number, and is printed itself: twice half a unit.
        width = 2 * printed.radius.astype(ball.radius.dtype)
        yield block, observed, Ball(ball.value, ball.radius + width, arithmetic)


@np.errstate(all="ignore")
def beyond_print(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    arithmetic: Arithmetic,
    how: Print,
) -> tuple[float, Divergence | None]:
    """The largest ratio of a step to rounding and half a unit of the last printed digit, and the
    first number that is beyond; None where all are within.
    """
    largest, first = 0.0, None
    for block, observed, ball in steps_as_written(layer, sequences, outputs, arithmetic, how):
        found = ratios(distance(observed.outputs, ball.value), ball)
        largest = float(np.max([largest, found.max()]))
        if first is None and not found.max() <= 1:
            first = first_beyond(block.steps.start, observed.outputs, ball, found)
    return largest, first
