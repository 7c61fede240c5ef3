"""First-order numbers: a value, and how it changes; a cell's formula on them is its derivative.

`FirstOrder` numbers have slopes in the arguments of the gates: the terms of sums, which are `x U`,
`h W` and the rows of b, gate by gate, and the hidden states of the step before. Terms that reach a
number by the same way are one `Key`. Estimates rest on these, no verdict of `diverged` does.

`Argument` numbers have a deviation and a remainder, in float32: the quick way of the step bound,
where the observed numbers are near the replayed ones. Let D be observed minus replayed, and R the
replayed output. The replay has `R = f(z)` already; a step from the observed state has `z + D W`
instead, so by Taylor it is `R + f'(z) (D W)` up to `sup|f''| (D W)^2 / 2`. With D small, float32
does for all of this, and no second float64 matrix product or activation is needed. The remainder
and float32's roundings are added to the bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.balls import SLACK
from rnn_parity.bounds.magnitudes import gamma, narrow
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.errors import UnsupportedError
from rnn_parity.recurrence.activations import CATALOGUE, WIDE, Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Lettered, Matrix, bound
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.products import rows_by
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences
from rnn_parity.recurrence.time_loop import Block

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


# The quick way: what a small deviation of the state does to a step, in float32.


Float32 = NDArray[np.float32]

SMALL = 2.0**-14
"""How large D and D W may be; above it, the general way is taken."""
ROUNDING = 2.0**-21
"""More than the error of f' in float32, and of the few operations on D and D W."""
ACTIVATIONS = [CATALOGUE[name] for name in ("tanh", "sigmoid", "linear")]
"""Those whose slope is a polynomial of the output, at most 1, so that float32 does for it too."""


@dataclass(frozen=True, eq=False)
class NearSteps:
    """Absolute deviation and residual, the residual's bound, and the size `|y|` of the replayed
    numbers, all `(t, B, H)`.
    """

    deviation: Float32
    residual: Float32
    radius: Float32
    size: Float32


class NotNearError(Exception):
    """The quick way does not do: D is not small, a bound not narrow, or the formula another."""


@dataclass(frozen=True, eq=False)
class Argument(Lettered):
    """A sum, by how far it is moved and rounded: to first order, in float32, `(t, B, G H)`.

    `moved` is what D changes in it, None for nothing; `magnitude` bounds the sum of its `terms`
    absolute values.
    """

    moved: Float32 | None
    magnitude: Float32
    terms: int

    def __add__(self, other: Any) -> Argument:
        if isinstance(other, Bias):
            magnitude = self.magnitude
            for addend in other.addends:
                magnitude = magnitude + np.abs(addend).astype(np.float32)
            return replace(self, magnitude=magnitude, terms=self.terms + len(other.addends))
        if not isinstance(other, Argument):
            raise NotNearError
        moves = [a.moved for a in (self, other) if a.moved is not None]
        moved = sum(moves[1:], moves[0]) if moves else None
        return Argument(moved, self.magnitude + other.magnitude, self.terms + other.terms)

    __radd__ = __add__

    def not_near(self, *others: Any) -> Any:
        """Refuses an operation."""
        raise NotNearError

    __mul__ = __rmul__ = __sub__ = __rsub__ = __neg__ = __getitem__ = not_near


class NearState(Lettered):
    """The state h, which may be multiplied by W alone."""

    def not_near(self, *others: Any) -> Any:
        """Refuses an operation."""
        raise NotNearError

    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __neg__ = not_near


class NearOutput(NearState):
    """What `Near.output` found: how far D moves the output, its radius, and its size; nothing can
    be computed with it."""

    def __init__(self, moved: Float32, radius: Float32, size: Float32) -> None:
        self.moved, self.radius, self.size = moved, radius, size


class Near:
    """The quick way for one layer that computes in float32."""

    def __init__(self, steps: Steps) -> None:
        self.layer, self.bounds = steps.layer, steps
        self.matrix = steps.layer.recurrent_kernel.astype(np.float32)

    @staticmethod
    def applies(steps: Steps, sequences: Sequences) -> bool:
        """Whether the layer may have a quick way."""
        layer = steps.layer
        plain = sequences.mask is None and sequences.dropout is NO_DROPOUT and not layer.hidden
        plain &= steps.arithmetic.results == FLOAT32 and layer.operands is None
        known = all(activation in ACTIVATIONS for activation in layer.activations)
        return plain and len(layer.GATES) == 1 and known

    def steps(self, block: Block, observed: Observed) -> NearSteps | None:
        """The steps of a block; None where D is not small or a bound not narrow."""
        difference = (observed.states - block.states[0]).astype(np.float32)
        size = np.abs(difference)
        if not size.max() <= SMALL:
            return None
        try:
            found = self.evaluated(block, observed, difference, size)
        except NotNearError:
            return None
        residual = np.subtract(difference[1:], found.moved, out=found.moved)
        return NearSteps(size[1:], np.abs(residual, out=residual), found.radius, found.size)

    def evaluated(
        self, block: Block, observed: Observed, difference: Float32, size: Float32
    ) -> NearOutput:
        """The formula on first-order numbers, where h is moved by `difference`."""
        inputs = self.bounds.inputs.magnitude(narrow(block.inputs, np.float32), self.bounds.every)

        def product(h: Any, columns: slice) -> Argument:
            if h is not near_h:
                raise NotNearError
            # |D| among the magnitudes counts the error of the product D W.
            state = narrow(observed.states[:-1], np.float32)
            state += size[:-1]
            magnitude = self.bounds.state.magnitude(state, columns)
            moved = rows_by(difference[:-1], self.matrix[:, columns])
            return Argument(moved, magnitude, self.layer.units)

        def applied(activation: Activation) -> Any:
            return lambda z: self.output(activation, z, block, float(size.max()))

        letters = {
            "U": Matrix(lambda x, columns: x, self.bounds.every),
            "W": Matrix(product, self.bounds.every),
            "b": Bias(self.layer.bias, self.bounds.every, addends=self.layer.addends),
            **self.layer.vectors,
            **{letter: applied(one) for letter, one in self.layer.letters.items()},
        }
        near_h, x = NearState(), Argument(None, inputs, len(self.layer.kernel))
        (output,) = bound(self.layer.formula, letters)(x, near_h)
        if not isinstance(output, NearOutput):
            raise NotNearError
        return output

    def output(self, activation: Activation, z: Any, block: Block, largest: float) -> NearOutput:
        """The activation of an argument, which must be the output: its number is the replay's."""
        if not isinstance(z, Argument) or z.moved is None:
            raise NotNearError
        arithmetic, moved = self.bounds.arithmetic, z.moved
        radius: Float32 = z.magnitude * np.float32(gamma(z.terms, arithmetic.unit_sum) * SLACK)
        radius += z.terms * FLOAT32.smallest_normal
        most = float(max(moved.max(), -moved.min()))
        if not (most <= SMALL and radius.max() < WIDE):
            raise NotNearError
        # What is left out of D - f' (D W), and rounded in it.
        curvature = 0.5 * activation.curvature
        left_out = curvature * most**2 + ROUNDING * (most + largest + float(radius.max()))
        assert activation.derivative is not None
        y: NDArray[Any] = block.outputs.astype(np.float32)
        slope = activation.derivative(y, y)
        radius *= slope + radius * np.float32(curvature)
        np.abs(y, out=y)
        radius += activation.allowance(y, y, arithmetic.unit * SLACK)
        radius += left_out + FLOAT32.smallest_normal
        return NearOutput(moved * np.asarray(slope, np.float32), radius, y)
