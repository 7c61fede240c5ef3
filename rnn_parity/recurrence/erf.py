"""The complementary error function in float64; NumPy has none."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969)
# 631-637, with the coefficients of his CALERF (netlib specfun), highest power first.
_ERF = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_ERFC = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)  # fmt: skip
_ERFC_TAIL = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


def erfc(x: Array) -> Array:
    """`erfc(x) = 1 - erf(x)`, the same shape, within 7 ULPs and within 2**-51, down to underflow.

    NaN stays NaN. `x` has at least one axis.
    """
    t = np.minimum(np.abs(x), 30.0)  # zero from 27 on
    pieces = [lambda t: 1.0 - t * _ratio(_ERF, t * t), _erfc_tail, _erfc_middle]
    right: Array = np.piecewise(t, [t <= 0.46875, t > 4.0], pieces)
    return np.where(x < 0.0, 2.0 - right, right)


def _erfc_middle(t: Array) -> Array:
    return _exp_of_minus_square(t) * _ratio(_ERFC, t)


def _erfc_tail(t: Array) -> Array:
    w = 1.0 / (t * t)
    return _exp_of_minus_square(t) * ((1.0 / sqrt(pi) - w * _ratio(_ERFC_TAIL, w)) / t)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    numerator, denominator = coefficients
    ratio: Array = np.polyval(numerator, x) / np.polyval(denominator, x)
    return ratio


def _exp_of_minus_square(t: Array) -> Array:
    """`exp(-t^2)`; Cody splits `t` at 1/16 so that the exponent's large part is exact."""
    s = np.trunc(16.0 * t) / 16.0
    return np.exp(-s * s) * np.exp(-(t - s) * (t + s))
