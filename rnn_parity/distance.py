"""How far two numbers are apart: absolutely, in ULPs, and against a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.balls import Ball
from rnn_parity.layers import Array
from rnn_parity.precision import Precision


@np.errstate(all="ignore")
def distance(a: Array, b: Array) -> Array:
    """`|a - b|`; 0 where both are the same infinity or both NaN, infinite where only one is."""
    d = np.abs(a - b)
    if not np.isfinite(d.max()):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        d = np.where(same, 0.0, np.where(np.isfinite(d), d, np.inf))
    return d


@np.errstate(all="ignore")
def ulps(distances: Array, x: Array, precision: Precision) -> Array:
    """`distances` in units of the distance between neighbours of that format at `|x|`."""
    # A float64 whose biased exponent is 2046 less that of x is 2**-floor(log2 |x|).
    inverse = (0x7FE0000000000000 - (x.view(np.int64) & 0x7FF0000000000000)).view(np.float64)
    np.clip(inverse, 0.0, 2.0**-precision.min_exponent, out=inverse)
    inverse *= distances
    inverse *= 2.0 ** (precision.digits - 1)
    return inverse


@np.errstate(all="ignore")
def ratios(residual: NDArray[Any], ball: Ball) -> NDArray[Any]:
    """`residual / radius`; what is not a number in the ball is judged by `residual` alone."""
    ratio: NDArray[Any] = residual / ball.radius
    if not np.isfinite(ratio.max()):
        ratio[np.isinf(ball.radius)] = 0
        odd = ~np.isfinite(ball.value)
        ratio[odd] = residual[odd]
    return ratio
