"""One activation function: its value, its spread over an interval, and its rounding allowance.

NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import inf

import numpy as np

from rnn_parity.recurrence.functions import Array, Radius

NARROW = 2.0**-12
"""Formats of 16 bits have a larger unit roundoff: float16's is 2**-11."""
WIDE = 2.0**-8
"""From this radius on, the spread is taken at the ends of the interval."""


@dataclass(frozen=True)
class Activation:
    """One activation function and what a bound needs to know about it.

    An implementation may err by `u (relative |y| + absolute + extra(z, |y|))` plus the smallest
    normal number, with `u` the unit roundoff and `y` the exact value at its own `z`.
    """

    name: str
    """Keras's name; "hard_sigmoid_keras2" is Keras 2's slope under Keras 2's name."""
    function: Callable[..., Array]
    """float64 `(..., units)` -> the same shape."""
    relative: float
    absolute: float
    narrow: tuple[float, float] | None = None
    """`relative` and `absolute` where results have 16 bits, if they are others there."""
    derivative: Callable[[Array, Array], Array] | None = None
    """`f'(z)` from `z` and `y = f(z)`, a new array, where `f'` is Lipschitz continuous."""
    curvature: float = inf
    """The Lipschitz constant of `f'` (the supremum of `|f''|`); goes with `derivative`."""
    turning_points: tuple[float, ...] = ()
    """Where an elementwise `f` that is not monotone changes direction."""
    coupling: Callable[[Array, Array, Radius], Radius] | None = None
    """The spread, from `(z, y, rad)`, of a function of the whole unit axis."""
    extra: Callable[[Array, Radius], Array] | None = None
    """From `(z, |y|)`: rounding that grows with the size of `z` or with the number of units."""
    writes: bool = False
    """Whether `function` takes `out=`, as NumPy's own do."""
    limits: bool = True
    """False where formulas of the same function may give its limit at infinity or NaN."""
    proven: bool = True
    """False for a user's own callable: its spread and its allowance are estimates."""

    def __call__(self, z: Array, out: Array | None = None) -> Array:
        """`f(z)`, written to `out` (which may be `z`) if given. Linear returns `z` itself."""
        if self.writes:
            return self.function(z, out=out)
        with np.errstate(all="ignore"):
            y = self.function(z)
        if out is None:
            return y
        np.copyto(out, y)
        return out

    @property
    def rises(self) -> bool:
        """Whether `f` never falls, elementwise, and its allowance depends on `|y|` alone."""
        falls = bool(self.turning_points) or self.coupling is not None
        return self.proven and not falls and self.extra is None

    def slope(self, z: Array) -> Array:
        """`f'(z)`, by a central difference where no formula is known, for estimates."""
        if self.derivative is not None:
            return self.derivative(z, self(z))
        step = 2.0**-20
        slope: Array = (self(z + step) - self(z - step)) / (2 * step)
        return slope

    def allowance(self, z: Array, size: Radius, unit_roundoff: float) -> Radius:
        """`u (relative |y| + absolute + extra)`: how far a correct value may be from `y = f(z)`.

        `size` is `|y|`, float32 or float64, which is the result's dtype. The caller adds underflow.
        """
        relative, absolute = self.relative, self.absolute
        if self.narrow is not None and unit_roundoff > NARROW:
            relative, absolute = self.narrow
        bound: Radius = size * (relative * unit_roundoff)
        bound += absolute * unit_roundoff
        if self.extra is not None:
            bound += self.extra(z, size) * unit_roundoff
        return bound

    def spread(self, z: Array, y: Array, rad: Radius) -> Radius:
        """Upper bound of `|f(z') - y|` over all `|z' - z| <= rad`, with `y = f(z)`.

        `z`, `y`: `(..., units)` float64; `rad`: the same shape, float32 or float64, which is the
        result's dtype. In float32 it may be low by a few roundings (2**-22 relative in all): the
        caller rounds up. An infinite `rad` gives a bound or infinity, NaN gives NaN.
        """
        with np.errstate(all="ignore"):
            if self.coupling is not None:
                return self.coupling(z, y, rad)
            # Where Taylor's second term would matter, the ends are sharper.
            if self.derivative is not None and (not self.curvature or rad.max() < WIDE):
                return self._first_order(self.derivative(z, y), rad)
            return self._at_ends(z, y, rad)

    def _first_order(self, slope: Array, rad: Radius) -> Radius:
        """Taylor: `|f(z + d) - f(z)| <= |f'(z)| |d| + sup|f''| d^2 / 2`."""
        result: Radius = np.abs(slope, out=slope).astype(rad.dtype, copy=False)
        if self.curvature:
            # The curvature first: a scalar keeps float32 arrays float32.
            result += rad * rad.dtype.type(0.5 * self.curvature)
        result *= rad
        return result

    def _at_ends(self, z: Array, y: Array, rad: Radius) -> Radius:
        """The largest difference at the ends and at the turning points between them.

        Exact where `f` is monotone between turning points, jumps included.
        """
        # A little further, for in float64 layers the rounding of `z + rad` could rival `rad`.
        reach = np.abs(z) + rad
        reach *= 2.0**-51
        reach += rad
        low, high = z - reach, np.add(z, reach, out=reach)
        points = [low, high, *(np.clip(point, low, high) for point in self.turning_points)]
        for point in points:
            self(point, out=point)
            point -= y
            np.abs(point, out=point)
        # fmax: a NaN such as -inf * 0 at one end must not hide infinity at the other.
        largest: Array = reduce(np.fmax, points)
        np.copyto(largest, np.nan, where=np.isnan(rad))
        return largest.astype(rad.dtype, copy=False)
