"""A recurrent layer as data: its weights and the options that change what it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.errors import InputError
from rnn_parity.recurrence.activation import Activation
from rnn_parity.recurrence.activations import named
from rnn_parity.recurrence.precision import Precision, precision_of, real, weight

Array = NDArray[np.float64]
Named = str | Callable[..., object] | Activation | None
Self = TypeVar("Self", bound="Layer")


@dataclass(frozen=True, eq=False, init=False)
class Layer:
    """What the recurrent layers have in common; with G gates, in Keras's order.

    `kernel` is U, `(features, G units)`; `recurrent_kernel` is W, `(units, G units)`; `bias` is b,
    `(G units,)`, or None. They are kept in float64, after rounding to `dtype`, the layer's compute
    dtype: when not given it is the dtype of `kernel` (float32 for integers and lists).

    An activation is a Keras name, None (linear) or an `Activation`. `go_backwards` takes the inputs
    and the mask in reverse. `zero_output_for_mask` makes the output of a masked step zeros instead
    of the previous output. Raises `InputError` when a shape, a dtype or a name does not fit.
    """

    GATES: ClassVar[tuple[str, ...]]
    STATES: ClassVar[tuple[str, ...]] = ("h",)
    """The states that a step hands on to the next, `(units,)` each; the first is the output."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    activation: Activation
    go_backwards: bool
    zero_output_for_mask: bool
    precision: Precision
    operands: Precision | None
    """The format to which a faulty implementation rounds the operands of its matrix products."""
    addends: tuple[Array, ...]
    """The biases `(G units,)` of an implementation that has two where Keras has their sum."""

    def _set(
        self,
        kernel: ArrayLike,
        recurrent_kernel: ArrayLike,
        bias: ArrayLike | None,
        dtype: str | None,
        bias_rows: tuple[int, ...] = (),
        **options: Any,
    ) -> None:
        """Check the weights and set all fields; `bias_rows` are the axes before the bias's last."""
        gates, shape = len(self.GATES), real(kernel, "kernel").shape
        if len(shape) == 2 and shape[1] % gates:
            raise InputError(
                f"kernel: expected {gates} gates of equal size along the last axis of a "
                f"{type(self).__name__}'s, received shape {shape}"
            )
        units = shape[1] // gates or None if len(shape) == 2 else None
        width = None if units is None else gates * units
        precision = precision_of(np.asarray(kernel).dtype if dtype is None else dtype)
        fields = {
            "kernel": weight("kernel", kernel, (None, width), precision),
            "recurrent_kernel": weight(
                "recurrent_kernel", recurrent_kernel, (units, width), precision
            ),
            "bias": None if bias is None else weight("bias", bias, (*bias_rows, width), precision),
            "precision": precision,
            "operands": None,
            "addends": (),
            **options,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def changed(self: Self, **changes: object) -> Self:
        """This layer with other attributes, taken as they are: weights are not rounded again.

        Another bias is not the sum of the same two.
        """
        other = object.__new__(type(self))
        if "bias" in changes:
            changes = {"addends": (), **changes}
        vars(other).update(vars(self) | changes)
        return other

    @property
    def features(self) -> int:
        """The number of input features, F."""
        return int(self.kernel.shape[0])

    @property
    def units(self) -> int:
        """The number of units, H."""
        return int(self.recurrent_kernel.shape[0])

    @property
    def width(self) -> int:
        """The numbers that a step computes from products for each sample, G H."""
        return int(self.kernel.shape[1])

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activation, and that of the gates where there are gates."""
        return (self.activation,)

    @property
    def input_bias(self) -> Array | None:
        """What is added to `x_t U`, `(G units,)`."""
        return self.bias

    @property
    def input_addends(self) -> tuple[Array, ...]:
        """What an implementation adds to `x_t U`, one after the other, `(G units,)` each."""
        return () if self.input_bias is None else self.addends or (self.input_bias,)

    @property
    def recurrent_bias(self) -> Array | None:
        """What is added to `h_{t-1} W`, `(G units,)`."""
        return None


@dataclass(frozen=True, eq=False, init=False)
class SimpleRNN(Layer):
    """`h_t = f(x_t U + h_{t-1} W + b)`, with row vectors, as Keras's `SimpleRNN` defines it."""

    GATES: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        kernel: ArrayLike,
        recurrent_kernel: ArrayLike,
        bias: ArrayLike | None = None,
        activation: Named = "tanh",
        *,
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        dtype: str | None = None,
    ) -> None:
        self._set(
            kernel,
            recurrent_kernel,
            bias,
            dtype,
            activation=named(activation),
            go_backwards=bool(go_backwards),
            zero_output_for_mask=bool(zero_output_for_mask),
        )


@dataclass(frozen=True, eq=False, init=False)
class Gated(Layer):
    """A layer with gates, which have an activation of their own."""

    recurrent_activation: Activation

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activation and that of the gates."""
        return self.activation, self.recurrent_activation


@dataclass(frozen=True, eq=False, init=False)
class LSTM(Gated):
    """Keras's `LSTM`, gates i, f, c, o: see `cells.lstm`. A state is a pair `(h, c)`."""

    GATES: ClassVar[tuple[str, ...]] = ("i", "f", "c", "o")
    STATES: ClassVar[tuple[str, ...]] = ("h", "c")

    def __init__(
        self,
        kernel: ArrayLike,
        recurrent_kernel: ArrayLike,
        bias: ArrayLike | None = None,
        activation: Named = "tanh",
        recurrent_activation: Named = "sigmoid",
        *,
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        dtype: str | None = None,
    ) -> None:
        self._set(
            kernel,
            recurrent_kernel,
            bias,
            dtype,
            activation=named(activation),
            recurrent_activation=named(recurrent_activation),
            go_backwards=bool(go_backwards),
            zero_output_for_mask=bool(zero_output_for_mask),
        )


@dataclass(frozen=True, eq=False, init=False)
class GRU(Gated):
    """Keras's `GRU`, gates z, r, h: see `cells.gru`, and `cells.gru_reset_before` without
    `reset_after`. With it the bias is `(2, 3 units)`: the input's row and the recurrent one.
    """

    GATES: ClassVar[tuple[str, ...]] = ("z", "r", "h")

    reset_after: bool

    def __init__(
        self,
        kernel: ArrayLike,
        recurrent_kernel: ArrayLike,
        bias: ArrayLike | None = None,
        activation: Named = "tanh",
        recurrent_activation: Named = "sigmoid",
        *,
        reset_after: bool = True,
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        dtype: str | None = None,
    ) -> None:
        self._set(
            kernel,
            recurrent_kernel,
            bias,
            dtype,
            (2,) * bool(reset_after),
            activation=named(activation),
            recurrent_activation=named(recurrent_activation),
            reset_after=bool(reset_after),
            go_backwards=bool(go_backwards),
            zero_output_for_mask=bool(zero_output_for_mask),
        )

    @property
    def input_bias(self) -> Array | None:
        """What is added to `x_t U`, `(3 units,)`."""
        return self.bias[0] if self.reset_after and self.bias is not None else self.bias

    @property
    def recurrent_bias(self) -> Array | None:
        """What is added to `h_{t-1} W`, `(3 units,)`."""
        return self.bias[1] if self.reset_after and self.bias is not None else None


LAYERS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (SimpleRNN, LSTM, GRU)}
