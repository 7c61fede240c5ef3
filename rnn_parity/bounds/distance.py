"""How far two numbers are apart: absolutely, in ULPs, and against a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.balls import Ball
from rnn_parity.recurrence.cells import Array
from rnn_parity.recurrence.precision import Precision

# For each dtype: the integer of its size, its exponent bits, and the exponent 2 times its bias.
EXPONENTS: dict[type, tuple[type, Any, Any]] = {
    np.float64: (np.int64, np.int64(0x7FF0000000000000), np.int64(0x7FE0000000000000)),
    np.float32: (np.int32, np.int32(0x7F800000), np.int32(0x7F000000)),
}


@np.errstate(all="ignore")
def distance(a: Array, b: Array) -> Array:
    """`|a - b|`; 0 where both are the same infinity or both NaN, infinite where only one is."""
    d = np.abs(a - b)
    if not np.isfinite(d.max()):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        d = np.where(same, 0.0, np.where(np.isfinite(d), d, np.inf))
    return d


@np.errstate(all="ignore")
def ulps(distances: NDArray[Any], x: NDArray[Any], precision: Precision) -> NDArray[Any]:
    """`distances` in units of the distance between neighbours of that format at `|x|`.

    Both are float64, or float32 for a float32 layer.
    """
    integer, exponent, double_bias = EXPONENTS[x.dtype.type]
    # A number whose biased exponent is that much less is 2**-floor(log2 |x|).
    bits = np.bitwise_and(x.view(integer), exponent)
    inverse: NDArray[Any] = np.subtract(double_bias, bits, out=bits).view(x.dtype)
    np.clip(inverse, 0, x.dtype.type(2.0**-precision.min_exponent), out=inverse)
    inverse *= distances
    inverse *= x.dtype.type(2.0 ** (precision.digits - 1))
    return inverse


@np.errstate(all="ignore")
def ratios(residual: NDArray[Any], ball: Ball) -> NDArray[Any]:
    """`residual / radius`, 0 for `0 / 0`; what is not a number in the ball is judged by `residual`
    alone.
    """
    ratio: NDArray[Any] = residual / ball.radius
    if not np.isfinite(ratio.max()):
        ratio[(residual == 0) & (ball.radius == 0)] = 0
        odd = ~np.isfinite(ball.value)
        ratio[odd] = residual[odd]
        ratio[np.isinf(ball.radius)] = 0
    return ratio
