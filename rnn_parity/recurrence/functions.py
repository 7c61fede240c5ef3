"""The activation functions that Keras names, in float64. NumPy alone.

Each takes an array `(..., units)` and returns one of the same shape, accurate to a few float64
ULPs (absolute ones where the formula itself cancels), so that float64 layers can be judged too.
Source: `keras/src/activations/activations.py` of Keras 3.15 unless said otherwise, rewritten where
the textbook form overflows or cancels. They may warn about overflow; `Activation` silences that.
Functions of the whole unit axis have their spread, and what their sums cost, beside them.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.erf import erfc

Array = NDArray[np.float64]
# Radii may be float32: they bound errors, and half the bytes are half the time.
Radius = NDArray[Any]

# Klambauer et al. 2017, arXiv:1706.02515, with the digits that TensorFlow and PyTorch use.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def linear(z: Array, out: Array | None = None) -> Array:
    """The identity: `z` itself when there is no `out`."""
    return z if out is None else np.positive(z, out=out)


def relu(z: Array, out: Array | None = None) -> Array:
    """`max(z, 0)`."""
    result: Array = np.maximum(z, 0.0, out=out)
    return result


def sigmoid(z: Array, out: Array | None = None) -> Array:
    """`1 / (1 + exp(-z))`, relatively accurate in both tails (0 where `exp(-z)` overflows)."""
    out = np.empty_like(z) if out is None else out
    np.negative(z, out=out)
    with np.errstate(over="ignore", under="ignore"):
        np.exp(out, out=out)
        out += 1.0
        return np.reciprocal(out, out=out)


def leaky_relu(z: Array) -> Array:
    """`z` above 0, `0.2 z` below."""
    return np.maximum(z, 0.2 * z)


def leaky_relu_layer(z: Array) -> Array:
    """Keras 2's `LeakyReLU` layer, whose name it takes as an activation: slope 0.3 below 0."""
    return np.maximum(z, 0.3 * z)


def thresholded_relu(z: Array) -> Array:
    """Keras 2's `ThresholdedReLU` layer with its default: `z` above 1, else 0."""
    return z * (z > 1.0)


def relu6(z: Array) -> Array:
    """`min(max(z, 0), 6)`."""
    return np.clip(z, 0.0, 6.0)


def hard_tanh(z: Array) -> Array:
    """`min(max(z, -1), 1)`."""
    return np.clip(z, -1.0, 1.0)


def hard_sigmoid(z: Array) -> Array:
    """Keras 3: `clip(z / 6 + 1/2, 0, 1)`."""
    return np.clip((z + 3.0) / 6.0, 0.0, 1.0)


def hard_sigmoid_keras2(z: Array) -> Array:
    """Keras 2: `clip(0.2 z + 0.5, 0, 1)`."""
    return np.clip(0.2 * z + 0.5, 0.0, 1.0)


def hard_silu(z: Array) -> Array:
    """`z hard_sigmoid(z)`."""
    return z * hard_sigmoid(z)


def hard_shrink(z: Array) -> Array:
    """0 within [-1/2, 1/2], `z` outside."""
    return np.where(np.abs(z) > 0.5, z, 0.0)


def soft_shrink(z: Array) -> Array:
    """0 within [-1/2, 1/2], moved towards 0 by 1/2 outside."""
    return z - np.clip(z, -0.5, 0.5)


def softsign(z: Array) -> Array:
    """`z / (1 + |z|)`, 1 or -1 at infinity."""
    z = np.clip(z, -1e300, 1e300)
    return z / (1.0 + np.abs(z))


def softplus(z: Array) -> Array:
    """`log(1 + exp(z))`."""
    return np.logaddexp(0.0, z)


def log_sigmoid(z: Array) -> Array:
    """`log(sigmoid(z)) = -softplus(-z)`."""
    return -np.logaddexp(0.0, -z)


def elu(z: Array) -> Array:
    """`z` above 0, `exp(z) - 1` below. Keras's `celu` with its default is the same function."""
    return np.maximum(z, 0.0) + np.expm1(np.minimum(z, 0.0))


def selu(z: Array) -> Array:
    """`scale z` above 0, `scale alpha (exp(z) - 1)` below."""
    return SELU_SCALE * (np.maximum(z, 0.0) + SELU_ALPHA * np.expm1(np.minimum(z, 0.0)))


def silu(z: Array) -> Array:
    """`z sigmoid(z)`."""
    return z / (1.0 + np.exp(-z))


def mish(z: Array) -> Array:
    """`z tanh(softplus(z))`; with `e = exp(z)` the tangent is `e (e + 2) / (e (e + 2) + 2)`."""
    e = np.exp(np.minimum(z, 20.0))  # beyond 20 the fraction is 1 in float64
    n = e * (e + 2.0)
    return z * (n / (n + 2.0))


def gelu(z: Array) -> Array:
    """`z Phi(z)` with the normal distribution function `Phi(z) = erfc(-z / sqrt(2)) / 2`."""
    return 0.5 * z * erfc(z / -sqrt(2.0))


def tanh_shrink(z: Array) -> Array:
    """`z - tanh(z)`, absolutely accurate only, like every implementation of it."""
    return z - np.tanh(z)


def squareplus(z: Array) -> Array:
    """`(z + sqrt(z^2 + 4)) / 2`, without the cancellation for `z < 0` and without overflow."""
    root = np.hypot(z, 2.0)
    return np.where(z > 0.0, 0.5 * (z + root), 2.0 / (root - z))


def sparse_plus(z: Array) -> Array:
    """0 up to -1, `(z + 1)^2 / 4` up to 1, `z` beyond."""
    return np.where(z < 1.0, 0.25 * np.square(np.clip(z, -1.0, 1.0) + 1.0), z)


def sparse_sigmoid(z: Array) -> Array:
    """`clip((z + 1) / 2, 0, 1)`."""
    return np.clip(0.5 * (z + 1.0), 0.0, 1.0)


def softmax(z: Array) -> Array:
    """`exp(z) / sum(exp(z))` over the last axis."""
    e = np.exp(_below_largest(z))
    total: Array = e.sum(axis=-1, keepdims=True)
    return e / total


def log_softmax(z: Array) -> Array:
    """`z - log(sum(exp(z)))` over the last axis."""
    shifted = _below_largest(z)
    total: Array = np.exp(shifted).sum(axis=-1, keepdims=True)
    return shifted - np.log(total)


def sparsemax(z: Array) -> Array:
    """`max(z - tau, 0)` over the last axis, with `tau` such that the sum is 1.

    Martins and Astudillo 2016, arXiv:1602.02068: `tau` is the largest of `(S_k - 1) / k`, where
    `S_k` is the sum of the k largest entries. Shifted by the maximum first, so that it is accurate.
    """
    shifted = _below_largest(z)
    largest = -np.sort(-shifted, axis=-1)
    k = np.arange(1, z.shape[-1] + 1)
    tau: Array = ((np.cumsum(largest, axis=-1) - 1.0) / k).max(axis=-1, keepdims=True)
    return np.maximum(shifted - tau, 0.0)


def _below_largest(z: Array) -> Array:
    shifted: Array = z - z.max(axis=-1, keepdims=True)
    return shifted


def reach(z: Array, y: Array, rad: Radius) -> Radius:
    """The spread of log_softmax and sparsemax: `rad_i + max_j rad_j`.

    Both are `z_i - t(z)`, or the positive part of that. The log-sum-exp and the threshold `t` rise
    with every `z_j` and move by `c` when all do, so `t` moves by at most `max_j rad_j`.
    """
    result: Radius = rad + rad.max(axis=-1, keepdims=True)
    return result


def softmax_spread(z: Array, y: Array, rad: Radius) -> Radius:
    """`log y_i` moves by at most the reach `r`, so `y_i` by at most `y_i (e^r - 1)`, and by 1."""
    grown = np.expm1(reach(z, y, rad))
    grown *= y.astype(rad.dtype, copy=False)
    # fmin also turns 0 * infinity into 1.
    return np.where(np.isnan(rad), rad, np.fmin(grown, rad.dtype.type(1.0)))


def softmax_sum(z: Array, size: Radius) -> Array:
    """The sum of n terms in any order: up to n roundings, relative to `size = |y|`."""
    return np.multiply(size, z.shape[-1])


def log_softmax_sum(z: Array, size: Radius) -> Array:
    """The same as an absolute error: of the sum's logarithm."""
    return np.full_like(z, z.shape[-1])


def sparsemax_sum(z: Array, size: Radius) -> Array:
    """`n` numbers between `max z - 1` and `max z` are summed twice: for support and threshold."""
    largest = np.abs(z.max(axis=-1, keepdims=True)) + 1.0
    return np.broadcast_to(2.0 * z.shape[-1] * largest, z.shape)
