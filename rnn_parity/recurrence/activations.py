"""The activations: each function, its value, its spread over an interval, its rounding allowance.

The functions are those that Keras names, in float64. Each takes an array `(..., units)` and returns
one of the same shape, accurate to a few float64 ULPs (absolute ones where the formula itself
cancels), so that float64 layers can be judged too. Source: Keras 3.15's
`keras/src/activations/activations.py` unless said otherwise, rewritten where the textbook form
overflows or cancels. They may warn about overflow; `Activation` silences that. Functions of the
whole unit axis have their spread, and what their sums cost, beside them. What a bound needs to know
stands in one table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError, misspelt
from rnn_parity.recurrence.erf import erfc
from rnn_parity.recurrence.precision import real

Array = NDArray[np.float64]
# Radii may be float32: they bound errors, and half the bytes are half the time.
Radius = NDArray[Any]

NARROW = 2.0**-12
"""Formats of 16 bits have a larger unit roundoff: float16's is 2**-11."""
WIDE = 2.0**-7
"""From this radius on, the spread is taken at the ends of the interval; below it, a bound by the
slope is wider than that by 1/60 of itself at most."""


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
    """`f'(z)` from `z` and `y = f(z)`, a new array, where `log |f'|` is Lipschitz continuous."""
    steepening: float = inf
    """The Lipschitz constant of `log |f'|` (the supremum of `|f'' / f'|`); goes with `derivative`.
    """
    turning_points: tuple[float, ...] = ()
    """Where an elementwise `f` that is not monotone changes direction."""
    coupling: Callable[[Array, Array, Radius], Radius] | None = None
    """The spread, from `(z, y, rad)`, of a function of the whole unit axis."""
    extra: Callable[[Array, Radius], Array] | None = None
    """From `(z, |y|)`: rounding that grows with the size of `z` or with the number of units."""
    writes: bool = False
    """Whether `function` takes `out=`, as NumPy's own do."""
    quiet: Callable[[Array, Array], Array] | None = None
    """`function` for who has silenced warnings, where it would take the time to silence them."""
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

    def __reduce__(self) -> Any:
        """Pickled by name where the catalogue has it; its functions cannot be."""
        if CATALOGUE.get(self.name) is self:
            return named, (self.name,)
        return object.__reduce_ex__(self, 2)

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
            # Where the slope changes much within the radius, the ends are sharper.
            if self.derivative is not None and (not self.steepening or rad.max() < WIDE):
                return self.by_slope(self.derivative(z, y), rad)
            return self._at_ends(z, y, rad)

    def by_slope(self, slope: NDArray[Any], rad: Radius) -> Radius:
        """The spread from the slope `f'(z)`, which is written over where it has rad's dtype.

        Within d of z, `|f'|` grows to `|f'(z)| exp(L d)` at most, L being `steepening`. Integrated:
        `|f(z + d) - f(z)| <= |f'(z)| (exp(L d) - 1) / L <= |f'(z)| d / (1 - L d / 2)`.
        """
        result: Radius = np.abs(slope, out=slope).astype(rad.dtype, copy=False)
        result *= rad
        if self.steepening:
            # A scalar of their dtype keeps float32 arrays float32.
            result /= 1 - rad * rad.dtype.type(0.5 * self.steepening)
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


# The functions.

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
    with np.errstate(over="ignore", under="ignore"):
        return quiet_sigmoid(z, np.empty_like(z) if out is None else out)


def quiet_sigmoid(z: Array, out: Array) -> Array:
    """`sigmoid`, which may warn of overflow."""
    np.negative(z, out)
    np.exp(out, out)
    np.add(out, 1.0, out)
    return np.reciprocal(out, out)


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
    """The sum of n terms in any order, as an absolute error of its logarithm: n roundings."""
    return np.full_like(z, z.shape[-1])


def sparsemax_sum(z: Array, size: Radius) -> Array:
    """`n` numbers between `max z - 1` and `max z` are summed twice: for support and threshold."""
    largest = np.abs(z.max(axis=-1, keepdims=True)) + 1.0
    return np.broadcast_to(2.0 * z.shape[-1] * largest, z.shape)


# What a bound needs to know about each.

# Allowances, in units of u. Exact, or one rounding: 0, or 1 relative. The others were measured by
# `tests/benchmarks/measure_allowances.py` (TensorFlow 2.21 with Keras 3.15 eager, graph and XLA,
# PyTorch 2.13, ONNX Runtime 1.32, NumPy 2.4, on x86-64 with AVX-512; float32, float16, bfloat16,
# float64) and rounded up. Largest errors, relative; or relative where |y| >= 1/4 and absolute where
# it is less:
#
#   tanh         7.4 (float32 5.5)            sigmoid      8.2; absolute 2.7 (ONNX Runtime's tail)
#   softplus     8.0, and log_sigmoid         exponential  5.2 (XLA near overflow; others 3.3)
#   elu, celu    5.5; 1.3                     selu         8.0; 2.0
#   silu         6.9; 1.6                     softsign     4.0 (ONNX Runtime; others 2.0)
#   gelu         2.7; 1.4 (PyTorch 5.8; 17.6; TensorFlow 2.15's XLA 1.5 |z| absolute)
#   mish         8.6; 1.8 (TensorFlow in graph mode, fused by oneDNN: 13.5; 16.6)
#   tanh_shrink  9.9; 2.6                     squareplus   13; for z < 0 it cancels: |z| absolute
#   hard_sigmoid 2.0; 0.3                     hard_silu    4.1; 1.0
#   leaky_relu   1.6                          sparse_plus  3.9; 0.5
#   softmax      4.9; 0.9 (2 to 512 units)    log_softmax  10; 4.5
#
# Of float16 and bfloat16 all 65,536 numbers were measured. Where Keras's defaults are more accurate
# there, the bound of an LSTM in bfloat16 needs it: tanh 1.0 relative, sigmoid 2.2 (`narrow`).
#
# Not allowed for, being another function in float64: TensorFlow's leaky_relu and gelu, whose
# constants are float32's (1e8 units), and PyTorch's softplus, which is z above 20 (1e6 units).
_ALL = (
    Activation("linear", linear, 0, 0, None, lambda z, y: np.ones_like(y), 0.0, writes=True),
    Activation("tanh", np.tanh, 8, 0, (2, 0), lambda z, y: 1.0 - y * y, 2.0, writes=True),
    Activation(
        "sigmoid",
        sigmoid,
        10,
        4,
        (4, 1),
        lambda z, y: y - y * y,
        1.0,
        writes=True,
        quiet=quiet_sigmoid,
    ),
    Activation("relu", relu, 0, 0, writes=True),
    Activation("relu6", relu6, 0, 0),
    Activation("ThresholdedReLU", thresholded_relu, 0, 0),
    Activation("leaky_relu", leaky_relu, 2, 0),
    Activation("LeakyReLU", leaky_relu_layer, 2, 0),
    Activation("hard_tanh", hard_tanh, 0, 0),
    Activation("hard_sigmoid", hard_sigmoid, 2, 2),
    Activation("hard_sigmoid_keras2", hard_sigmoid_keras2, 2, 2),
    Activation("hard_silu", hard_silu, 4, 4, turning_points=(-1.5,), limits=False),
    Activation("hard_shrink", hard_shrink, 0, 0),
    Activation("soft_shrink", soft_shrink, 1, 0),
    Activation(
        "softsign",
        softsign,
        5,
        0,
        None,
        lambda z, y: np.square(1.0 - np.abs(y)),
        2.0,
        limits=False,
    ),
    Activation("softplus", softplus, 10, 0, None, lambda z, y: -np.expm1(-y), 1.0),
    Activation("log_sigmoid", log_sigmoid, 10, 0, None, lambda z, y: -np.expm1(y), 1.0),
    Activation("elu", elu, 2, 4),
    Activation("celu", elu, 2, 4),
    Activation("selu", selu, 3, 6),
    Activation("exponential", np.exp, 7, 0),
    # The turning points of silu, gelu and mish: where f' = 0.
    Activation("silu", silu, 10, 2, turning_points=(-1.2784645427610738,), limits=False),
    Activation(
        "gelu",
        gelu,
        relative=4,
        absolute=22,
        turning_points=(-0.7517915246935646,),
        extra=lambda z, size: 2.0 * np.abs(z),
        limits=False,
    ),
    Activation("mish", mish, 16, 20, turning_points=(-1.1924312145154955,), limits=False),
    Activation("tanh_shrink", tanh_shrink, 2, 10),
    Activation(
        "squareplus",
        squareplus,
        relative=4,
        absolute=2,
        derivative=lambda z, y: 1.0 / (2.0 - z / y),
        steepening=3 * sqrt(3) / 8,
        extra=lambda z, size: np.abs(z),
        limits=False,
    ),
    Activation("sparse_plus", sparse_plus, 4, 1),
    Activation("sparse_sigmoid", sparse_sigmoid, 1, 0),
    Activation(
        "softmax",
        softmax,
        relative=10,
        absolute=1,
        coupling=softmax_spread,
        extra=softmax_sum,
        limits=False,
    ),
    Activation(
        "log_softmax", log_softmax, 4, 6, coupling=reach, extra=log_softmax_sum, limits=False
    ),
    Activation("sparsemax", sparsemax, 2, 1, coupling=reach, extra=sparsemax_sum, limits=False),
)
CATALOGUE: dict[str, Activation] = {activation.name: activation for activation in _ALL}
CATALOGUE.update(swish=CATALOGUE["silu"], hard_swish=CATALOGUE["hard_silu"])
# Layer classes that Keras 2 takes for a name, with their default arguments.
CATALOGUE.update(ELU=CATALOGUE["elu"], ReLU=CATALOGUE["relu"], Softmax=CATALOGUE["softmax"])
REFUSED = {
    "glu": "it halves the number of units",
    "threshold": "it needs two arguments of its own",
    "PReLU": "it has weights of its own",
}


def named(activation: str | Callable[..., Any] | Activation | None) -> Activation:
    """The activation that Keras calls by this name; None is linear, a callable `custom`.

    Raises `UnsupportedError` for names of Keras's that are no activation of a recurrent layer, and
    `InputError` for anything unknown.
    """
    if isinstance(activation, Activation):
        return activation
    if callable(activation):
        return custom(activation)
    name = "linear" if activation is None else activation
    if isinstance(name, str) and name in REFUSED:
        raise UnsupportedError(
            f"activation: {name!r} cannot be a recurrent layer's, because {REFUSED[name]}; "
            "pass a callable that keeps the shape of its argument"
        )
    if not isinstance(name, str) or name not in CATALOGUE:
        raise InputError(unknown(name))
    return CATALOGUE[name]


def unknown(value: object) -> str:
    """What is said of a value that is no activation."""
    if isinstance(value, str):
        expected = f"expected one of {', '.join(CATALOGUE)}, or a callable"
        return f"activation: {misspelt(value, CATALOGUE, expected)}"
    expected = "activation: expected a name, such as tanh, or a callable"
    shape = getattr(value, "shape", None)
    if shape is None:
        return f"{expected}, received {value!r:.40}"
    return (
        f"{expected}, received an array of shape {tuple(shape)}; layer.variables of Keras holds "
        "the state of a seed generator after the weights: take layer.get_weights()"
    )


def clipped(activation: Activation, limit: float) -> Activation:
    """`f(clip(z, -limit, limit))`, as ONNX's `clip` bounds the arguments of the gates.

    Clipping moves no two numbers further apart, so that the spread at the ends of an interval is
    that of the clipped ends. Raises `UnsupportedError` for a function of the whole unit axis.
    """
    if activation.coupling is not None:
        raise UnsupportedError(f"clip: the activation {activation.name} is not replayed with it")
    extra = activation.extra

    def within(z: Array) -> Array:
        return np.clip(z, -limit, limit)

    return replace(
        activation,
        name=f"{activation.name} clipped at {limit:g}",
        function=lambda z: activation(within(z)),
        derivative=None,
        steepening=inf,
        turning_points=tuple(point for point in activation.turning_points if abs(point) < limit),
        extra=None if extra is None else lambda z, size: extra(within(z), size),
        writes=False,
        quiet=None,
    )


def custom(function: Callable[..., Any], name: str | None = None) -> Activation:
    """A user's own activation: `function` maps an array `(..., units)` to one of the same shape.

    Nothing is known about it, so its allowance is more than that of any named activation and its
    spread is what the ends of the interval show; it is marked as not proven. Calling it raises
    `InputError` when the result has another shape or is not made of real numbers.
    """
    label = name or str(getattr(function, "__name__", type(function).__name__))

    def evaluate(z: Array) -> Array:
        y = real(function(z), f"activation {label}")
        if y.shape != z.shape:
            raise InputError(
                f"activation {label}: expected a result of shape {z.shape} like its argument, "
                f"received {y.shape}"
            )
        return y.astype(np.float64)

    return Activation(label, evaluate, relative=20, absolute=40, limits=False, proven=False)


# Inverses: the argument that an observed output tells.

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
