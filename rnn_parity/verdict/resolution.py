"""Whether a bound is narrow against the numbers that it bounds, so that it could refute others.

A bound as wide as the numbers passes anything, zeros included. The resolution of a unit is the root
mean square of its radii over that of its own numbers, as the replay has them or as the steps from
the observed states do, whichever are smaller. Below 1, zeros are beyond the bound somewhere in that
unit: had they passed, every number of the steps would be within its radius of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.balls import Ball
from rnn_parity.recurrence.cells import Array

LIMIT = 0.75
"""A unit is resolved up to here. Chosen between what was measured of right default layers in their
sharpest arithmetic (at most 0.54, an LSTM in bfloat16) and 1, where zeros pass."""
FAINT = 0.01
"""Numbers below this share of the array's, and below their own radius, are next to nothing: a relu
that never fires, a gate that stays closed. Zeros are nearly right there."""
FAINT_SCALE = 0.125
"""A unit whose numbers are next to nothing is held against this share of the array's: then what
passes in it is at most 3/32 of the numbers beside it."""
FEW = 8
"""With fewer timesteps than this a unit's own numbers may be small by chance, and the scale is that
of the whole array. Below a tenth of its usual size is one normal number with a chance of 8 %, the
root mean square of eight with 1e-7."""
WIDE = 0.125
"""From this resolution on, a report says in how many of the numbers a divergence could hide."""
MOST_HIDDEN = 0.25
"""Where a divergence could hide in this share of the numbers a report says so, too: a few large
numbers may hide that the bounds of all others are wide. Measured of right default layers: at most
0.08, an LSTM in bfloat16."""
LEAST_SQUARED = 1e-15
"""Squares of smaller numbers may vanish in float32, and those of larger ones than its reciprocal
overflow; in between, a sum of some thousands is right to 1e-4."""
EXACT = 8
"""A radius of up to 8 smallest normal numbers is that of a zero which is right for sure, such as a
relu's: a cell adds the smallest normal number at most that often to what was zero before."""


@dataclass(frozen=True, eq=False)
class Widths:
    """Sums over samples and unmasked timesteps: squares of radii, of the replayed numbers and of
    those `expected` of steps from the observed states, `(H,)` each.

    `count` is how many numbers each unit has, of `samples` samples; `hidden` how many of all have a
    radius that is not below their own size, zeros for sure left out. Numbers that are exactly 0, by
    the replay and by a step, are among the `zeros` instead, whose largest radius is `zero_radius`.
    """

    radius: Array
    replayed: Array
    expected: Array
    count: int
    samples: int
    hidden: int
    zeros: int = 0
    zero_radius: float = 0.0

    @classmethod
    def none(cls, units: int, samples: int) -> Widths:
        """The widths of no timestep."""
        zeros = np.zeros(units)
        return cls(zeros, zeros, zeros, 0, samples, 0)

    @classmethod
    def of(
        cls,
        radius: NDArray[Any],
        size: NDArray[Any],
        keep: NDArray[np.bool_] | None,
        expected: NDArray[Any] | None = None,
        eta: float = 0.0,
    ) -> Widths:
        """The widths of radii, sizes of replayed numbers and of expected ones, all `(t, B, H)`.

        `keep` `(t, B, 1)` is False where a timestep is masked; without `expected`, the expected
        numbers are about the replayed ones; `eta` is the smallest normal number. Where the replay
        is infinite or no number, only an infinite radius counts.
        """
        count = size.shape[0] * size.shape[1] if keep is None else int(np.count_nonzero(keep))
        known: Any = True
        if keep is not None or not np.isfinite(size.max()):
            known = np.isfinite(size) if keep is None else np.isfinite(size) & keep
            unknown = ~known & np.isinf(radius) & (True if keep is None else keep)
            radius = np.where(known, radius, np.where(unknown, np.inf, 0.0))
            size = np.where(known, size, 0.0)
            expected = None if expected is None else np.where(known, expected, 0.0)
        hides, hidden, of_zeros = radius >= size, 0, np.zeros(0)
        if hides.any():
            hides &= (radius > EXACT * eta) & known
            hidden = int(np.count_nonzero(hides))
            zero = hides & (size == 0) & (True if expected is None else expected == 0)
            of_zeros = radius[zero]
        replayed = squares(size)
        steps = replayed if expected is None else squares(expected)
        sums = squares(radius), replayed, steps
        zeros, largest = len(of_zeros), float(of_zeros.max(initial=0.0))
        return cls(*sums, count, size.shape[1], hidden - zeros, zeros, largest)

    def and_then(self, later: Widths) -> Widths:
        """These widths, and those of `later` timesteps of the same samples."""
        return self.plus(later, self.samples)

    def beside(self, others: Widths) -> Widths:
        """These widths, and those of `others`, which are further samples."""
        return self.plus(others, self.samples + others.samples)

    def plus(self, other: Widths, samples: int) -> Widths:
        """The sums of both, over this many `samples`."""
        return Widths(
            self.radius + other.radius,
            self.replayed + other.replayed,
            self.expected + other.expected,
            self.count + other.count,
            samples,
            self.hidden + other.hidden,
            self.zeros + other.zeros,
            float(np.maximum(self.zero_radius, other.zero_radius)),
        )


def squares(a: NDArray[Any]) -> Array:
    """The sums of squares of `(t, B, H)`, not negative, for each unit."""
    if not (a.min() > LEAST_SQUARED and a.max() < 1 / LEAST_SQUARED):
        a = a.astype(np.float64, copy=False)
    total: Array = np.einsum("tbh,tbh->h", a, a).astype(np.float64, copy=False)
    return total


@dataclass(frozen=True, eq=False)
class Resolution:
    """How well the bounds of one array resolve: `of_unit` `(H,)`, and which units are `faint`.

    `name` says which array: "outputs", "output" (the last one) or a state's name. `share` is the
    part of its numbers whose own bound is as wide as they are. Any bound is as wide as a number
    that is exactly 0: where these bounds are as narrow as a faint unit's must be, the share is that
    of the other numbers.
    """

    name: str
    of_unit: Array
    faint: NDArray[np.bool_]
    share: float

    @property
    def worst(self) -> float:
        """The largest resolution of all units."""
        return float(self.of_unit.max())

    @property
    def resolved(self) -> bool:
        """Whether every unit is resolved."""
        return bool((self.of_unit <= LIMIT).all())


@np.errstate(all="ignore")
def resolution(name: str, widths: Widths) -> Resolution:
    """The resolution of an array with these widths.

    A unit's scale is that of its own numbers; where they are few, at least that of the whole
    array. What overflows or is no number is not resolved.
    """
    count = max(widths.count, 1)
    radius = np.sqrt(widths.radius / count)
    numbers = np.fmin(widths.replayed, widths.expected)
    whole = np.sqrt(numbers.mean() / count)
    scale = np.sqrt(numbers / count)
    if not widths.replayed.any() and not widths.expected.any():
        whole = 1.0  # nothing but zeros, which are right: held against what activations may give
    elif count < FEW * widths.samples:
        scale = np.maximum(scale, whole)
    faint = (scale < FAINT * whole) & (scale < radius)
    scale = np.where(faint, FAINT_SCALE * whole, scale)
    ratio = np.where(radius == 0, 0.0, radius / scale)
    of_unit = np.where(np.isfinite(scale) & ~np.isnan(ratio), ratio, np.inf)
    narrow = widths.zero_radius <= LIMIT * FAINT_SCALE * whole
    apart, numbers_seen = widths.zeros if narrow else 0, count * len(radius)
    share = (widths.hidden + widths.zeros - apart) / max(numbers_seen - apart, 1)
    return Resolution(name, of_unit, faint, share)


@np.errstate(all="ignore")
def state_resolution(name: str, ball: Ball, replayed: Array) -> Resolution:
    """The resolution of a final state or a last output `(B, H)`: few numbers for each unit."""
    sizes = np.abs(replayed[np.newaxis]), np.abs(ball.value[np.newaxis])
    eta = ball.arithmetic.results.smallest_normal
    widths = Widths.of(ball.radius[np.newaxis], sizes[0], None, sizes[1], eta)
    return resolution(name, widths)
