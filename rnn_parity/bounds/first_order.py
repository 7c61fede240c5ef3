"""First-order numbers: a value, and how it changes; a cell's formula on them is its derivative.

`FirstOrder` numbers have slopes in the arguments of the gates: the terms of sums, which are `x U`,
`h W` and the rows of b, gate by gate, and the hidden states of the step before. Terms that reach a
number by the same way are one `Key`. Estimates rest on these, no verdict of `diverged` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rnn_parity.errors import UnsupportedError
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Lettered, Matrix, bound

KERNEL, RECURRENT, STATE = "U", "W", "state"
Term = tuple[str, int]
"""What may change: ("U", gate), ("W", gate), ("b0", gate), or ("state", k), a hidden state."""
Key = frozenset[Term]


@dataclass(frozen=True, eq=False)
class Mixed:
    """A change that goes through W: `gain * ((slope * change) @ matrix)`, the matrix `(H, G H)` for
    a number of G gates; only one of a single gate has a gain.
    """

    key: Key
    slope: Array
    matrix: Array
    gain: Array | None = None

    def times(self, factor: Any) -> Mixed:
        """This, multiplied by an array."""
        return replace(self, gain=factor if self.gain is None else self.gain * factor)


@dataclass(frozen=True, eq=False)
class FirstOrder(Lettered):
    """A number of some gates, `(t, B, G H)`, with its derivatives.

    Of `plain` terms it is the sum; `slopes` `(t, B, H)` are the derivatives in others, and `mixed`
    what goes through W. A number of several gates has no slopes.
    """

    value: Any
    plain: tuple[Key, ...]
    """The plain terms of each gate."""
    slopes: Mapping[Key, Any] = field(default_factory=dict)
    mixed: tuple[Mixed, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """That of `value`."""
        return tuple(self.value.shape)

    def __getitem__(self, part: Any) -> FirstOrder:
        if len(self.plain) == 1:
            return self
        units = self.shape[-1] // len(self.plain)
        start, stop, _ = part[-1].indices(self.shape[-1])
        mixed = tuple(replace(one, matrix=one.matrix[:, start:stop]) for one in self.mixed)
        return FirstOrder(self.value[part], self.plain[start // units : stop // units], {}, mixed)

    def __add__(self, other: Any) -> FirstOrder:
        if isinstance(other, Bias):
            array = 0.0 if other.array is None else other.array
            other = FirstOrder(array, bias_terms(self, other))
        if not isinstance(other, FirstOrder):
            return replace(self, value=self.value + other)
        plain = tuple(a | b for a, b in zip(self.plain, other.plain, strict=True))
        return FirstOrder(
            self.value + other.value,
            plain,
            summed(self.slopes, other.slopes),
            self.mixed + other.mixed,
        )

    __radd__ = __add__

    def __neg__(self) -> FirstOrder:
        return self.scaled(-self.value, -1.0)

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> FirstOrder:
        if not isinstance(other, FirstOrder):
            return self.scaled(self.value * other, other)
        product, both = self.value * other.value, self.scaled(0.0, other.value)
        found = both + other.scaled(0.0, self.value)
        return replace(found, value=product)

    __rmul__ = __mul__

    def scaled(self, value: Any, factor: Any) -> FirstOrder:
        """A number with this `value`, whose derivatives are those of this times `factor`."""
        slopes = {key: slope * factor for key, slope in self.slopes.items()}
        if self.plain[0]:
            ones = factor if np.ndim(factor) else np.full(self.shape, factor)
            slopes = summed(slopes, {self.plain[0]: ones})
        mixed = tuple(one.times(factor) for one in self.mixed)
        return FirstOrder(value, (frozenset(),) * len(self.plain), slopes, mixed)

    def under(self, activation: Activation) -> FirstOrder:
        """`f` of this number."""
        return self.scaled(activation(self.value), activation.slope(self.value))


def bias_terms(number: FirstOrder, bias: Bias) -> tuple[Key, ...]:
    """The terms that a bias adds to each gate of a number."""
    units = bias.shape[0] // len(number.plain)
    first = bias.columns.start // units
    return tuple(frozenset({(f"b{bias.row}", first + g)}) for g in range(len(number.plain)))


def summed(a: Mapping[Key, Any], b: Mapping[Key, Any]) -> dict[Key, Any]:
    """The sums of derivatives."""
    total = dict(a)
    for key, slope in b.items():
        total[key] = total[key] + slope if key in total else slope
    return total


@dataclass(frozen=True, eq=False)
class Derivative:
    """A formula's output and hidden states as first-order numbers.

    `operands` are, by gate, what W's columns were multiplied by.
    """

    output: FirstOrder
    hidden: tuple[FirstOrder, ...]
    operands: Mapping[int, Array]


def derivative(
    layer: Cell, projection: Array, h: Array | None, hidden: tuple[Array, ...], times_w: Any
) -> Derivative:
    """The formula at `x U` `(t, B, G H)` and the states `(t, B, H)` before each step.

    `h` is the observed state, None where none is; `times_w(a, columns)` multiplies by W. Raises
    `UnsupportedError` for a formula whose derivative has more parts than these numbers.
    """
    units, operands = layer.units, dict[int, Array]()

    def gates(columns: slice) -> range:
        return range(columns.start // units, columns.stop // units)

    def from_inputs(x: Array, columns: slice) -> FirstOrder:
        return FirstOrder(x[..., columns], tuple(frozenset({(KERNEL, g)}) for g in gates(columns)))

    def from_state(a: Any, columns: slice) -> FirstOrder:
        keys: tuple[Key, ...] = tuple(frozenset({(RECURRENT, g)}) for g in gates(columns))
        number = a if isinstance(a, FirstOrder) else FirstOrder(a, (frozenset(),))
        if any(operands.setdefault(g, number.value) is not number.value for g in gates(columns)):
            raise UnsupportedError("formula: multiplies a gate of W by several numbers")
        moved = number.scaled(0.0, 1.0).slopes
        if number.mixed:
            raise UnsupportedError("formula: multiplies by W what W has made of other than h")
        matrix = layer.recurrent_kernel[:, columns]
        mixed = tuple(Mixed(key, slope, matrix) for key, slope in moved.items())
        return FirstOrder(times_w(number.value, columns), keys, {}, mixed)

    every = slice(0, layer.width)
    letters: dict[str, Any] = {
        "U": Matrix(from_inputs, every),
        "W": Matrix(from_state, every),
        "b": Bias(layer.bias, every),
        **layer.vectors,
        **{letter: applied(one) for letter, one in layer.letters.items()},
    }
    states = [FirstOrder(value, (frozenset({(STATE, k)}),)) for k, value in enumerate(hidden)]
    observed = () if h is None else (h,)
    shape = (*projection.shape[:2], units)

    def number(found: Any) -> FirstOrder:
        """What a formula returned: a state that it only hands on has no derivative."""
        if isinstance(found, FirstOrder):
            return found
        return FirstOrder(np.broadcast_to(found, shape), (frozenset(),))

    found = bound(layer.formula, letters)(projection, *observed, *states)
    output, *new = map(number, found)
    return Derivative(output, tuple(new), operands)


def applied(activation: Activation) -> Any:
    """An activation as a formula applies it to first-order numbers."""
    return lambda z: z.under(activation)
