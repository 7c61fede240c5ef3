"""The activations that Keras names, and what a bound needs to know about each.

The functions themselves stand in `functions`. NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.recurrence import functions as f
from rnn_parity.recurrence.activation import Activation
from rnn_parity.recurrence.functions import Array
from rnn_parity.recurrence.precision import real

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
    Activation("linear", f.linear, 0, 0, None, lambda z, y: np.ones_like(y), 0.0, writes=True),
    Activation(
        "tanh", np.tanh, 8, 0, (2, 0), lambda z, y: 1.0 - y * y, 4 / (3 * sqrt(3)), writes=True
    ),
    Activation(
        "sigmoid", f.sigmoid, 10, 4, (4, 1), lambda z, y: y - y * y, 1 / (6 * sqrt(3)), writes=True
    ),
    Activation("relu", f.relu, 0, 0, writes=True),
    Activation("relu6", f.relu6, 0, 0),
    Activation("ThresholdedReLU", f.thresholded_relu, 0, 0),
    Activation("leaky_relu", f.leaky_relu, 2, 0),
    Activation("LeakyReLU", f.leaky_relu_layer, 2, 0),
    Activation("hard_tanh", f.hard_tanh, 0, 0),
    Activation("hard_sigmoid", f.hard_sigmoid, 2, 2),
    Activation("hard_sigmoid_keras2", f.hard_sigmoid_keras2, 2, 2),
    Activation("hard_silu", f.hard_silu, 4, 4, turning_points=(-1.5,), limits=False),
    Activation("hard_shrink", f.hard_shrink, 0, 0),
    Activation("soft_shrink", f.soft_shrink, 1, 0),
    Activation(
        "softsign",
        f.softsign,
        5,
        0,
        None,
        lambda z, y: np.square(1.0 - np.abs(y)),
        2.0,
        limits=False,
    ),
    Activation("softplus", f.softplus, 10, 0, None, lambda z, y: -np.expm1(-y), 0.25),
    Activation("log_sigmoid", f.log_sigmoid, 10, 0, None, lambda z, y: -np.expm1(y), 0.25),
    Activation("elu", f.elu, 2, 4),
    Activation("celu", f.elu, 2, 4),
    Activation("selu", f.selu, 3, 6),
    Activation("exponential", np.exp, 7, 0),
    # The turning points of silu, gelu and mish: where f' = 0.
    Activation("silu", f.silu, 10, 2, turning_points=(-1.2784645427610738,), limits=False),
    Activation(
        "gelu",
        f.gelu,
        relative=4,
        absolute=22,
        turning_points=(-0.7517915246935646,),
        extra=lambda z, size: 2.0 * np.abs(z),
        limits=False,
    ),
    Activation("mish", f.mish, 16, 20, turning_points=(-1.1924312145154955,), limits=False),
    Activation("tanh_shrink", f.tanh_shrink, 2, 10),
    Activation(
        "squareplus",
        f.squareplus,
        relative=4,
        absolute=2,
        derivative=lambda z, y: 1.0 / (2.0 - z / y),
        curvature=0.25,
        extra=lambda z, size: np.abs(z),
        limits=False,
    ),
    Activation("sparse_plus", f.sparse_plus, 4, 1),
    Activation("sparse_sigmoid", f.sparse_sigmoid, 1, 0),
    Activation(
        "softmax",
        f.softmax,
        relative=10,
        absolute=1,
        coupling=f.softmax_spread,
        extra=f.softmax_sum,
        limits=False,
    ),
    Activation(
        "log_softmax", f.log_softmax, 4, 6, coupling=f.reach, extra=f.log_softmax_sum, limits=False
    ),
    Activation(
        "sparsemax", f.sparsemax, 2, 1, coupling=f.reach, extra=f.sparsemax_sum, limits=False
    ),
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
        raise InputError(
            f"activation: expected one of {', '.join(CATALOGUE)}, or a callable, received {name!r}"
        )
    return CATALOGUE[name]


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
