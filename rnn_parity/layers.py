"""A recurrent layer as data: its weights and the options that change what it computes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.activations import Activation, named
from rnn_parity.errors import InputError
from rnn_parity.precision import Precision, precision_of, real

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SimpleRNN:
    """`h_t = f(x_t U + h_{t-1} W + b)`, with row vectors, as Keras's `SimpleRNN` defines it.

    `kernel` is U, `(features, units)`; `recurrent_kernel` is W, `(units, units)`; `bias` is b,
    `(units,)`, or None. They are kept in float64, after rounding to `dtype`, the layer's compute
    dtype: when not given it is the dtype of `kernel` (float32 for integers and lists).

    `activation` is a Keras name, None (linear) or an `Activation`. `go_backwards` takes the inputs
    and the mask in reverse. `zero_output_for_mask` makes the output of a masked step zeros instead
    of the previous output. Raises `InputError` when a shape, a dtype or a name does not fit.
    """

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    activation: Activation
    go_backwards: bool
    zero_output_for_mask: bool
    precision: Precision
    operands: Precision | None = None
    """The format to which a faulty implementation rounds the operands of its matrix products."""

    def __init__(
        self,
        kernel: ArrayLike,
        recurrent_kernel: ArrayLike,
        bias: ArrayLike | None = None,
        activation: str | Callable[..., object] | Activation | None = "tanh",
        *,
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        dtype: str | None = None,
    ) -> None:
        shape = real(kernel, "kernel").shape
        units = shape[1] or None if len(shape) == 2 else None
        precision = precision_of(np.asarray(kernel).dtype if dtype is None else dtype)
        weights = {
            "kernel": weight("kernel", kernel, (None, units), precision),
            "recurrent_kernel": weight(
                "recurrent_kernel", recurrent_kernel, (units,) * 2, precision
            ),
            "bias": None if bias is None else weight("bias", bias, (units,), precision),
        }
        options = {
            "activation": named(activation),
            "go_backwards": bool(go_backwards),
            "zero_output_for_mask": bool(zero_output_for_mask),
            "precision": precision,
        }
        for name, value in {**weights, **options}.items():
            object.__setattr__(self, name, value)

    def changed(self, **changes: object) -> SimpleRNN:
        """This layer with other attributes, taken as they are: weights are not rounded again."""
        other = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(other, name, value)
        return other

    @property
    def features(self) -> int:
        """The number of input features, F."""
        return int(self.kernel.shape[0])

    @property
    def units(self) -> int:
        """The number of units, H."""
        return int(self.kernel.shape[1])


def weight(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], precision: Precision
) -> Array:
    """`value` in float64, rounded to `precision`; None in `shape` stands for any size >= 1."""
    array = np.asarray(value)
    wanted = str(shape).replace("None", "any")
    fits = array.ndim == len(shape) and all(
        size >= 1 and n in (None, size) for size, n in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise InputError(f"{name}: expected shape {wanted}, received {array.shape}")
    # The order in which BLAS multiplies a few rows by a matrix fastest.
    return np.asfortranarray(precision.round(array, name))
