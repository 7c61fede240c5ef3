"""The recurrences: each cell's formula, gates, states and weights. Read this page first.

Row vectors: `x` is `(F,)`, a state `h` is `(H,)`; U is the kernel, W the recurrent kernel, b the
bias; `a` is the activation, `s` the recurrent activation (of the gates). G gates stand side by side
along the last axis of U, W and b. A formula is evaluated on plain arrays (the replay), on balls
(the bound) and on first-order numbers (what the weights imply); nothing in the package repeats it.
Source: the documentation of `keras.layers.SimpleRNN`, `LSTM` and `GRU`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.errors import InputError
from rnn_parity.recurrence.activations import Activation, named
from rnn_parity.recurrence.formula import (
    ACTIVATIONS,
    BIAS,
    INPUTS,
    KERNEL,
    RECURRENT_KERNEL,
    Facts,
    facts,
    letters_of,
    split,
)
from rnn_parity.recurrence.precision import Precision, precision_of, real, weight

Array = NDArray[np.float64]
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
"""The weights that every cell has; the bias may be None."""
KNOWN_LETTERS = (INPUTS, KERNEL, RECURRENT_KERNEL, BIAS, *ACTIVATIONS)
"""The letters that stand for the same in every formula."""
Named = str | Callable[..., object] | Activation | None
Self = TypeVar("Self", bound="Cell")


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Cell:
    """A cell with its weights and the options of the layer that runs it: a layer as data.

    `kernel` is U, `(features, G units)`; `recurrent_kernel` is W, `(units, G units)`; `bias` is b,
    `(G units,)`, or `(n, G units)` where the formula takes its rows `b[0]` to `b[n - 1]`, or None;
    a vector is `(g units,)`, zeros unless given. They are kept in float64, after rounding to
    `dtype`, the layer's compute dtype: when not given it is the dtype of `kernel` (float32 for
    integers).

    An activation is a Keras name, None (linear) or an `Activation`. `go_backwards` takes the inputs
    and the mask in reverse. `zero_output_for_mask` makes the output of a masked step zeros instead
    of the previous output. Raises `InputError` when a shape, a dtype or a name does not fit.

    A cell of your own is a subclass that says its `GATES`, its `STATES` where it has others than
    one `h`, and its `formula`, a static method; with `keras_class`, the class of a Keras cell whose
    weights have these names, `rnn_parity.check` replays it in a `keras.layers.RNN`.
    """

    GATES: ClassVar[tuple[str, ...]]
    STATES: ClassVar[tuple[str, ...]] = ("h",)
    """The states that a step hands on to the next, `(units,)` each."""
    VECTORS: ClassVar[dict[str, tuple[str, int]]] = {}
    """Weights beside the kernels and the bias: the letter of each, its name, and how many gates
    wide it is."""
    formula: ClassVar[Any]
    """From the cell's letters to its new states, the first being the output; or to its output and
    then the states, where it is none of them."""
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """The names of the arguments that change what is computed, beside the weights and the dtype:
    those of the activations that the formula applies, and more where a class says so."""
    keras_class: ClassVar[Any] = None
    """The class of the Keras cell that computes this; Keras's own are found by their names."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    activation: Activation
    recurrent_activation: Activation
    go_backwards: bool
    zero_output_for_mask: bool
    precision: Precision
    operands: Precision | None
    """The format to which a faulty implementation rounds the operands of its matrix products."""
    addends: tuple[Array, ...]
    """The biases `(G units,)` of an implementation that has two where Keras has their sum."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        try:
            check_description(cls)
            if inspect.isfunction(vars(cls).get("formula")):
                cls.formula = staticmethod(cls.formula)
            if "OPTIONS" not in vars(cls):
                found = read(cls, cls.formula_of())
                cls.OPTIONS = tuple(ACTIVATIONS[letter] for letter in found.activations)
        except InputError as error:
            raise InputError(f"{cls.__name__}: {error}") from None

    def __init__(
        self,
        kernel: ArrayLike,
        recurrent_kernel: ArrayLike | None,
        bias: ArrayLike | None = None,
        activation: Named = "tanh",
        recurrent_activation: Named = "sigmoid",
        *,
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        dtype: str | None = None,
        **options: Any,
    ) -> None:
        for name in options.keys() - {*self.OPTIONS, *self.vector_names()}:
            raise InputError(f"{type(self).__name__}: unknown option {name!r}; leave it out")
        usual = {"activation": "tanh", "recurrent_activation": "sigmoid"}
        for name, given in zip(usual, (activation, recurrent_activation), strict=True):
            if name not in self.OPTIONS and given != usual[name]:
                raise InputError(f"{name}: the formula applies none; leave it out")
        options |= {"recurrent_activation": recurrent_activation, "activation": activation}
        vars(self).update(
            go_backwards=bool(go_backwards),
            zero_output_for_mask=bool(zero_output_for_mask),
            precision=precision_of(real(kernel, "kernel").dtype if dtype is None else dtype),
            operands=None,
            addends=(),
            **{name: options.get(name, activation) for name in self.OPTIONS},
        )
        vars(self).update({ACTIVATIONS[a]: named(vars(self)[ACTIVATIONS[a]]) for a in self.letters})
        vars(self).update(self._weights(kernel, recurrent_kernel, bias))
        for name, width in self.VECTORS.values():
            shape = (width * self.units,)
            if name not in options:
                raise InputError(f"{name}: expected a vector of shape {shape}, or None for zeros")
            value = np.zeros(shape) if options[name] is None else options[name]
            vars(self)[name] = weight(name, value, shape, self.precision)

    def __repr__(self) -> str:
        names = ", ".join(activation.name for activation in self.activations)
        sizes = f"features={self.features}, units={self.units}"
        return f"<{type(self).__name__}: {sizes}, {names or 'linear'}, {self.precision.name}>"

    def _weights(
        self, kernel: ArrayLike, recurrent_kernel: ArrayLike | None, bias: ArrayLike | None
    ) -> dict[str, Array | None]:
        """The kernels and the bias, checked and rounded."""
        if bias is not None and not self.uses("bias"):
            raise InputError(f"bias: expected None, for the formula has no {BIAS}")
        gates, shape = len(self.GATES), real(kernel, "kernel").shape
        if len(shape) == 2 and shape[1] % gates:
            raise InputError(
                f"kernel: expected {gates} gates of equal size along the last axis of a "
                f"{type(self).__name__}'s, received shape {shape}"
            )
        units = shape[1] // gates or None if len(shape) == 2 else None
        width = None if units is None else gates * units
        if recurrent_kernel is None:
            if self.uses("recurrent_kernel"):
                raise InputError("recurrent_kernel: expected an array, received None")
            recurrent_kernel = np.zeros((units or 1, width or gates))
        rows = (self.facts.bias_rows,) if self.facts.bias_rows else ()
        return {
            name: None if value is None else weight(name, value, shape, self.precision)
            for name, value, shape in (
                ("kernel", kernel, (None, width)),
                ("recurrent_kernel", recurrent_kernel, (units, width)),
                ("bias", bias, (*rows, width)),
            )
        }

    @classmethod
    def vector_names(cls) -> list[str]:
        """The names of the vectors."""
        return [name for name, _ in cls.VECTORS.values()]

    @classmethod
    def uses(cls, weight: str) -> bool:
        """Whether the formula has the letter of the weight of this name."""
        letters = dict(zip(WEIGHTS, (KERNEL, RECURRENT_KERNEL, BIAS), strict=True))
        letters |= {name: letter for letter, (name, _) in cls.VECTORS.items()}
        return letters[weight] in letters_of(cls.formula_of())

    @classmethod
    def formula_of(cls, **options: Any) -> Callable[..., Any]:
        """The formula of a layer with these options."""
        formula: Callable[..., Any] = cls.formula
        return formula

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
        return self.width // len(self.GATES)

    @property
    def width(self) -> int:
        """The numbers that a step computes from products for each sample, G H."""
        return int(self.kernel.shape[1])

    @property
    def facts(self) -> Facts:
        """What the formula does."""
        return read(type(self), self.formula)

    @property
    def letters(self) -> dict[str, Activation]:
        """The activations by their letters in the formula."""
        return {letter: getattr(self, ACTIVATIONS[letter]) for letter in self.facts.activations}

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activations that the formula applies."""
        return tuple(self.letters.values())

    @property
    def vectors(self) -> dict[str, Array]:
        """The vectors by their letters in the formula, `(g units,)` each."""
        return {letter: getattr(self, name) for letter, (name, _) in self.VECTORS.items()}

    @property
    def hidden(self) -> tuple[str, ...]:
        """The states that are not the output, so that nobody observes them."""
        return self.STATES if self.facts.own_output else self.STATES[1:]

    @property
    def input_bias(self) -> Array | None:
        """What is added to `x_t U`, `(G units,)`."""
        return self.bias if self.bias is None or self.bias.ndim == 1 else self.bias[0]

    @property
    def input_addends(self) -> tuple[Array, ...]:
        """What an implementation adds to `x_t U`, one after the other, `(G units,)` each."""
        return () if self.input_bias is None else self.addends or (self.input_bias,)

    @property
    def recurrent_bias(self) -> Array | None:
        """What is added to `h_{t-1} W`, `(G units,)`."""
        return None if self.bias is None or self.bias.ndim == 1 else self.bias[1]


def check_description(kind: type[Cell]) -> None:
    """Raise `InputError` for a class that does not say what a cell is, or says it twice."""
    for name in ("GATES", "formula"):
        if not hasattr(kind, name):
            raise InputError(f"expected {name}; see rnn-parity explain cells")
    for name in ("GATES", "STATES"):
        value = getattr(kind, name)
        names = list(value) if isinstance(value, (tuple, list, str)) else []
        plain = all(isinstance(one, str) and one.isidentifier() for one in names)
        if not names or not plain or len(set(names)) < len(names):
            raise InputError(f"{name}: expected a tuple of different names, received {value!r}")
        setattr(kind, name, tuple(names))
    if not isinstance(kind.VECTORS, dict):
        raise InputError(f"VECTORS: expected a dict, received {kind.VECTORS!r}")
    taken = {*KNOWN_LETTERS, *kind.STATES}
    if clash := set(kind.STATES) & {*KNOWN_LETTERS}:
        raise InputError(f"STATES: {', '.join(sorted(clash))} is the letter of something else")
    for letter, described in kind.VECTORS.items():
        pair = isinstance(described, tuple) and len(described) == 2
        name, gates = described if pair else ("", 0)
        if not isinstance(name, str) or not name.isidentifier() or type(gates) is not int:
            raise InputError(
                f"VECTORS[{letter!r}]: expected a name and a number of gates, such as "
                f"('peephole', 3), received {described!r}"
            )
        if gates < 1 or letter in taken or hasattr(Cell, name) or name in Cell.__annotations__:
            raise InputError(
                f"VECTORS[{letter!r}]: expected a letter and a name of its own and at least one "
                f"gate, received {described!r}"
            )
        if letter not in letters_of(kind.formula_of()):
            raise InputError(f"VECTORS[{letter!r}]: the formula does not use it")
        taken |= {letter}
    names = kind.vector_names()
    if len(set(names)) < len(names):
        raise InputError(f"VECTORS: expected different names, received {', '.join(names)}")


def read(kind: type[Cell], formula: Callable[..., Any]) -> Facts:
    """What a formula of this class does; raises `InputError` for what is not allowed in one."""
    vectors = tuple((letter, width) for letter, (_, width) in kind.VECTORS.items())
    return facts(formula, len(kind.GATES), kind.STATES, vectors)


class SimpleRNN(Cell):
    """Keras's `SimpleRNN`: `h_t = a(x_t U + h_{t-1} W + b)`."""

    GATES = ("h",)

    @staticmethod
    def formula(x: Any, h: Any, U: Any, W: Any, b: Any, a: Any) -> Any:
        """`h_t = a(x_t U + h_{t-1} W + b)`."""
        return a(x @ U + h @ W + b)

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
        super().__init__(
            kernel,
            recurrent_kernel,
            bias,
            activation,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
            dtype=dtype,
        )


class LSTM(Cell):
    """Keras's `LSTM`. A state is a pair `(h, c)`.

    `i, f, g, o = split(x_t U + h_{t-1} W + b)`; `c_t = s(f) c_{t-1} + s(i) a(g)`;
    `h_t = s(o) a(c_t)`.
    """

    GATES = ("i", "f", "c", "o")
    STATES = ("h", "c")

    @staticmethod
    def formula(x: Any, h: Any, c: Any, U: Any, W: Any, b: Any, a: Any, s: Any) -> Any:
        """`c_t = s(f) c_{t-1} + s(i) a(g)`; `h_t = s(o) a(c_t)`."""
        i, f, g, o = split(x @ U + h @ W + b, 4)
        c = s(f) * c + s(i) * a(g)
        return s(o) * a(c), c


class GRU(Cell):
    """Keras's `GRU`. With `reset_after` the bias is `(2, 3 units)`: the input's row and the
    recurrent one; `X = x_t U + b[0]`, `R = h_{t-1} W + b[1]`; `z = s(X_z + R_z)`,
    `r = s(X_r + R_r)`, `hh = a(X_h + r R_h)`. Without it, it is `(3 units,)`, and
    `hh = a(x_t U_h + (r h_{t-1}) W_h + b_h)`. Both: `h_t = z h_{t-1} + (1 - z) hh`.
    """

    GATES = ("z", "r", "h")
    OPTIONS = ("activation", "recurrent_activation", "reset_after")

    reset_after: bool

    @staticmethod
    def reset_after_formula(x: Any, h: Any, U: Any, W: Any, b: Any, a: Any, s: Any) -> Any:
        """`hh = a(X_h + r R_h)`."""
        x_z, x_r, x_h = split(x @ U + b[0], 3)
        r_z, r_r, r_h = split(h @ W + b[1], 3)
        z = s(x_z + r_z)
        r = s(x_r + r_r)
        return z * h + (1 - z) * a(x_h + r * r_h)

    @staticmethod
    def reset_before_formula(x: Any, h: Any, U: Any, W: Any, b: Any, a: Any, s: Any) -> Any:
        """`hh = a(x_t U_h + (r h_{t-1}) W_h + b_h)`."""
        x_z, x_r, x_h = split(x @ U + b, 3)
        W_z, W_r, W_h = split(W, 3)
        z = s(x_z + h @ W_z)
        r = s(x_r + h @ W_r)
        return z * h + (1 - z) * a(x_h + (r * h) @ W_h)

    @classmethod
    def formula_of(cls, **options: Any) -> Callable[..., Any]:
        """The formula with or without `reset_after`, which is the default."""
        after = options.get("reset_after", True)
        return cls.reset_after_formula if after else cls.reset_before_formula

    @property
    def formula(self) -> Callable[..., Any]:
        """The formula of this layer's `reset_after`."""
        return self.formula_of(reset_after=self.reset_after)

    def __init__(
        self,
        kernel: ArrayLike,
        recurrent_kernel: ArrayLike,
        bias: ArrayLike | None = None,
        activation: Named = "tanh",
        recurrent_activation: Named = "sigmoid",
        *,
        reset_after: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel,
            recurrent_kernel,
            bias,
            activation,
            recurrent_activation,
            reset_after=bool(reset_after),
            **options,
        )


class PeepholeLSTM(Cell):
    """An LSTM whose gates see c, as ONNX defines it; the peephole `(3 units,)` is that of i, f, o.

    `i` and `f` see `c_{t-1}`, `o` sees `c_t`; `v`, the output activation, is applied to `c_t`.
    """

    GATES = LSTM.GATES
    STATES = LSTM.STATES
    VECTORS: ClassVar[dict[str, tuple[str, int]]] = {"p": ("peephole", 3)}

    @staticmethod
    def formula(
        x: Any, h: Any, c: Any, U: Any, W: Any, b: Any, p: Any, a: Any, s: Any, v: Any
    ) -> Any:
        """`c_t = s(f + p_f c_{t-1}) c_{t-1} + s(i + p_i c_{t-1}) a(g)`;
        `h_t = s(o + p_o c_t) v(c_t)`.
        """
        i, f, g, o = split(x @ U + h @ W + b, 4)
        p_i, p_f, p_o = split(p, 3)
        c = s(f + p_f * c) * c + s(i + p_i * c) * a(g)
        return s(o + p_o * c) * v(c), c


def described(kind: type[Cell] = Cell) -> Iterator[type[Cell]]:
    """All classes of layers, those of a user's own cells among them."""
    for one in kind.__subclasses__():
        yield from (one, *described(one))


KERAS_CELLS: dict[str, type[Cell]] = {kind.__name__: kind for kind in (SimpleRNN, LSTM, GRU)}
