"""Inverse activations: the argument that an observed output tells, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnn_parity.recurrence.layers import Array

INVERSES: dict[str, Callable[[Array], Array]] = {
    "linear": lambda y: y,
    # Near a limit, one rounding of y would move z by much.
    "tanh": lambda y: np.where(np.abs(y) < 1 - 1e-4, np.arctanh(y), np.nan),
    "sigmoid": lambda y: np.where(np.abs(y - 0.5) < 0.4999, np.log(y / (1 - y)), np.nan),
    "relu": lambda y: np.where(y > 0, y, np.nan),
    "relu6": lambda y: np.where((y > 0) & (y < 6), y, np.nan),
    "leaky_relu": lambda y: np.where(y > 0, y, y / 0.2),
    "elu": lambda y: np.where(y > 0, y, np.where(y > -0.9999, np.log1p(y), np.nan)),
    "softsign": lambda y: np.where(np.abs(y) < 1 - 1e-4, y / (1 - np.abs(y)), np.nan),
    "softplus": lambda y: np.where(y > 1e-4, y + np.log(-np.expm1(-y)), np.nan),
    "exponential": lambda y: np.where(y > 0, np.log(y), np.nan),
    "hard_tanh": lambda y: np.where(np.abs(y) < 1, y, np.nan),
    "hard_sigmoid": lambda y: np.where(np.abs(y - 0.5) < 0.5, 6 * y - 3, np.nan),
    "hard_sigmoid_keras2": lambda y: np.where(np.abs(y - 0.5) < 0.5, 5 * y - 2.5, np.nan),
}


@np.errstate(all="ignore")
def inverse_activation(name: str, y: Array) -> Array | None:
    """`z` with `f(z) = y`, NaN where y tells no z; None for an activation that tells none."""
    return INVERSES[name](y) if name in INVERSES else None
