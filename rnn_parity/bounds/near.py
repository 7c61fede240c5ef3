"""The quick way of the step bound, where the observed numbers are near the replayed ones.

A cell's plan is evaluated on first-order numbers in float32: each is the replay's own number v,
what moves it when the step starts from the observed state (`moved`, to first order), and the radius
that correct arithmetic makes. Let D be observed minus replayed. Then an argument is moved by `D W`,
`f(z)` by `f'(z)` times what z is, and a product by `x m_y + y m_x`; no second float64 product and
no second activation is needed. What is left out, of second order, and float32's roundings are
bounded for each unit over all steps and samples of a block (`off`): by so much may the general
way's value and radius differ. It is added to the radius.

The quick way never refutes, and what it passes the general way would have passed: it gives up
where `off` is not small beside the radius, and passes what is within half of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.balls import SLACK, Ball, constant
from rnn_parity.bounds.magnitudes import Magnitudes, gamma, narrow
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import GROWN, SEGMENT, Steps
from rnn_parity.bounds.step_bound import WIDE as WIDE_STATE
from rnn_parity.recurrence.activations import CATALOGUE, WIDE, Activation
from rnn_parity.recurrence.cells import Array
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.products import rows_by
from rnn_parity.recurrence.program import (
    ACTIVATION,
    ADD,
    BIAS,
    CONSTANT,
    COPY,
    INPUT,
    MULTIPLY,
    NEGATIVE,
    PRODUCT,
    STATE,
    SUBTRACT,
    VECTOR,
    Call,
    Group,
    Place,
    plan_for,
)
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences
from rnn_parity.recurrence.time_loop import Block

Float32 = NDArray[np.float32]

SMALL = 2.0**-14
"""How large D, and what it moves an argument by, may be; above it, the general way is taken."""
ROUNDING = 2.0**-20
"""More than the error of f' and of the few operations on `moved` in float32, and than ten of its
unit roundoffs, the most that an allowance changes by when its number moves."""
SURE = 0.5
"""The ratio up to which the quick way passes. With `LEFT_OUT` it follows that the general way does:
a residual of 1/2 + 1/8 of the quick radius at most, and a radius of 1 - 2/8 of it at least."""
LEFT_OUT = 0.125
"""The share of a radius that may be `off`."""
ROUNDED_UP = 1 + 2.0**-13
"""More than the rounding of a radius in float32, 2**-24 in each operation, and than the `SLACK` in
each that the general way takes for it."""
ASSUMED = 2.0**-7
"""The share of a hidden state's radius that is first taken for `off`; it is more than what is."""
CURVATURE = {"tanh": 4 / (3 * sqrt(3)), "sigmoid": 1 / (6 * sqrt(3)), "linear": 0.0}
"""The suprema of `|f''|` of the activations that the quick way knows: their slope is a polynomial
of the output, at most 1, so that float32 does for it too."""
STEEPER = 1.1
"""More than `1 / (1 - L r / 2)**2`, as a bound by the slope (`Activation.by_slope`) has it."""


class NotNearError(Exception):
    """The quick way does not do: D is not small, a bound not narrow, or the formula another."""


@dataclass(frozen=True, eq=False)
class NearSteps:
    """Absolute deviation and residual, the residual's bound, and the sizes of the replayed numbers
    and of those `expected` of steps from the observed states, all `(t, B, H)`.
    """

    deviation: Float32
    residual: Float32
    radius: Float32
    size: Float32
    expected: Float32


@dataclass(frozen=True, eq=False)
class Limits:
    """For each unit of some gates, `(g, H)`, bounds over all steps and samples: of a number's size
    and radius, of how far it is moved, and of what is left out of both: `off`, and beside that a
    `share` of each number's own radius, which a hidden state has gathered.
    """

    value: Array
    moved: Array
    radius: Array
    off: Array
    share: Array

    def __getitem__(self, part: slice) -> Limits:
        value, moved, radius = self.value[part], self.moved[part], self.radius[part]
        return Limits(value, moved, radius, self.off[part], self.share[part])

    @property
    def most_off(self) -> Array:
        """More than is left out of any number."""
        total: Array = self.off + self.share * self.radius
        return total

    @property
    def around(self) -> Array:
        """More than the size of any number that is possible, and of its radius."""
        total: Array = self.value + self.moved + 2 * (self.radius + self.most_off)
        return total


@dataclass(frozen=True, eq=False)
class Number:
    """A number that is rounded: arrays are `(t, g, B, H)` in float32, or such as broadcast to that.

    `moved` and `radius` are None where they are 0 throughout. The value of an argument of an
    activation is not needed, and None. Of a `positive` number the value is its size.
    """

    value: Any
    moved: Any
    radius: Any
    limits: Limits
    positive: bool = False

    def __getitem__(self, part: slice) -> Number:
        value, moved, radius = (members(a, part) for a in (self.value, self.moved, self.radius))
        return Number(value, moved, radius, self.limits[part], self.positive)

    @property
    def size(self) -> Any:
        """`|v|`."""
        return self.value if self.positive else np.abs(self.value)

    @property
    def negative(self) -> Number:
        """`-x`."""
        moved = None if self.moved is None else -self.moved
        return Number(-self.value, moved, self.radius, self.limits)


@dataclass(frozen=True, eq=False)
class Sum:
    """An addition that is not rounded yet: `magnitude` bounds the sum of its `terms` absolute
    values; `spread` is what the radii of its terms add up to. `terms` is for each of its gates.

    `limits` has no value; its radius is that of the spread, and `excess` `(g, H)` is by how much
    `magnitude` may differ from the general way's.
    """

    moved: Any
    magnitude: Any
    terms: tuple[int, ...]
    limits: Limits
    excess: Array
    spread: Any = None

    def __getitem__(self, part: slice) -> Sum:
        moved, magnitude, spread = (
            members(a, part) for a in (self.moved, self.magnitude, self.spread)
        )
        limits, excess = self.limits[part], self.excess[part]
        return Sum(moved, magnitude, self.terms[part], limits, excess, spread)

    @property
    def negative(self) -> Sum:
        """`-x`."""
        return replace(self, moved=None if self.moved is None else -self.moved)


@dataclass(frozen=True, eq=False)
class Pending:
    """`p c_{t-1}`, of the k-th hidden state: to be a part of `p c_{t-1} + q`."""

    k: int
    p: Number


def members(a: Any, part: slice) -> Any:
    """Some gates of an array `(t, g, B, H)`; of one that stands for all of them, itself."""
    return a if a is None or a.shape[1] == 1 else a[:, part]


def plus(a: Any, b: Any) -> Any:
    """The sum of arrays, of which None is 0."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def highest(a: Any) -> Array:
    """The largest number of each unit and gate, `(g, H)`, of `(t, g, B, H)`."""
    found: Array = a.max(axis=0).max(axis=1).astype(np.float64)
    return found


def lowest(a: Any) -> Array:
    """The smallest number of each unit and gate, `(g, H)`, of `(t, g, B, H)`."""
    found: Array = a.min(axis=0).min(axis=1).astype(np.float64)
    return found


def float32(a: Any) -> Float32:
    """An array in float32."""
    return np.asarray(a, np.float32)


@dataclass(eq=False)
class Carried:
    """A hidden state `(B, H)` after some steps, off the replay by `moved` and within `radius`.

    `off` `(H,)` is what both may be off by, as a share of the radius; `added` is what the last step
    alone made of the radius.
    """

    moved: Float32
    radius: Float32
    off: Array
    added: Float32

    def ball(self, replayed: Array, steps: Steps) -> Ball:
        """As a ball around the replayed state `(B, H)`."""
        radius = self.radius * (1 + self.off) * ROUNDED_UP + FLOAT32.smallest_normal
        value = replayed + self.moved
        return Ball(value, radius.astype(np.float32), steps.arithmetic)


class Near:
    """The quick way for one layer that computes in float32, block after block.

    A block is evaluated by `steps`, and `passed` goes on from it: then `shown` is where the last
    output must lie `(B, H)`. Where a block was judged in the general way, `resume` goes on from it.
    The hidden states of `bounds` are always those after the last block.
    """

    def __init__(self, steps: Steps, sequences: Sequences) -> None:
        self.layer, self.bounds = steps.layer, steps
        self.plan = plan_for(self.layer)
        self.first_hidden = len(self.layer.STATES) - len(self.layer.hidden)
        zeros = np.zeros(sequences.initial_state.shape[1:], np.float32)
        share = np.zeros(self.layer.units)
        self.hidden = [Carried(zeros, zeros, share, zeros) for _ in self.layer.hidden]
        self.before = self.hidden
        self.next: NearOutput | None = None
        self.shown: Ball | None = None
        self.constants: dict[int, Any] = {}

    @staticmethod
    def applies(steps: Steps, sequences: Sequences) -> bool:
        """Whether the layer may have a quick way."""
        layer = steps.layer
        plain = sequences.mask is None and sequences.dropout is NO_DROPOUT
        plain &= steps.arithmetic.results == FLOAT32 and layer.operands is None
        known = all(CATALOGUE.get(one.name) is one for one in layer.activations)
        known &= CURVATURE.keys() >= {one.name for one in layer.activations}
        return plain and known and not layer.facts.own_output

    def steps(self, block: Block, observed: Observed) -> NearSteps | None:
        """The steps of a block; None where D is not small or a bound not narrow."""
        difference = (observed.states - block.states[0]).astype(np.float32)
        size = np.abs(difference)
        if not size.max() <= SMALL:
            return None
        try:
            found = Evaluation(self, block, observed, difference, size).output()
        except NotNearError:
            return None
        self.next = found
        residual = np.subtract(difference[1:], found.moved)
        expected = observed.states[1:].astype(np.float32)
        expected -= residual
        np.abs(expected, out=expected)
        np.abs(residual, out=residual)
        return NearSteps(size[1:], residual, found.radius, found.size, expected)

    def passed(self, block: Block, observed: Observed) -> None:
        """Go on from a block that was passed in the quick way."""
        assert self.next is not None
        value = block.outputs[-1] + self.next.moved[-1]
        self.shown = Ball(value, self.next.radius[-1], self.bounds.arithmetic)
        if not self.hidden:
            return
        steps, count = self.bounds, len(block.outputs)
        self.before = [before for before, _ in self.next.hidden]
        self.hidden = [after for _, after in self.next.hidden]
        steps.unlooked, steps.left = steps.unlooked + count, steps.left - count
        if steps.unlooked >= SEGMENT or not steps.left or self.wide(block):
            # Where the radius is no more than so many steps' own, a look cuts nothing.
            if any((one.radius > GROWN * one.added).any() for one in self.hidden):
                self.shown = self.look(block, observed)
            steps.unlooked = 0
        steps.hidden = self.balls(self.hidden, block.states[self.first_hidden :, -1])

    def wide(self, block: Block) -> bool:
        """Whether a hidden state is known badly after a block."""
        pairs = zip(self.hidden, block.states[self.first_hidden :, -1], strict=True)
        return any(
            not float(one.radius.max()) <= WIDE_STATE * float(np.abs(c).max()) for one, c in pairs
        )

    def balls(self, hidden: list[Carried], replayed: Array) -> tuple[Ball, ...]:
        """Hidden states as balls around the replayed ones `(K, B, H)`."""
        pairs = zip(hidden, replayed, strict=True)
        return tuple(one.ball(c, self.bounds) for one, c in pairs)

    def look(self, block: Block, observed: Observed) -> Ball:
        """Take the last step of a block again, in the general way, with a look at its output."""
        steps, last = self.bounds, slice(len(block.outputs) - 1, len(block.outputs))
        steps.hidden = self.balls(self.before, block.states[self.first_hidden :, -2])
        steps.unlooked, steps.left = SEGMENT, steps.left + 1
        before = Ball.exact(observed.states[-2:-1], steps.arithmetic)
        seen = Ball.exact(observed.outputs[-1:], steps.arithmetic)
        output = steps.outputs(block.part(last), before, None, seen)
        self.resume(block)
        return output[0]

    def resume(self, block: Block) -> None:
        """Go on from where the general way has come, the end of a block."""
        self.shown = None
        self.hidden = []
        replayed = block.states[self.first_hidden :, -1]
        for ball, c in zip(self.bounds.hidden, replayed, strict=True):
            moved = (ball.value - c).astype(np.float32)
            radius = ball.radius.astype(np.float32)
            rounded = 2.0**-24 * np.abs(moved) + FLOAT32.smallest_normal
            share = np.divide(rounded, radius, where=radius > 0, out=np.full_like(radius, np.inf))
            self.hidden.append(Carried(moved, radius, highest(share[None, None])[0], radius))


@dataclass(frozen=True, eq=False)
class NearOutput:
    """How far D moves the output, its radius and its size, `(t, B, H)`, and each hidden state
    before and after the last step.
    """

    moved: Float32
    radius: Float32
    size: Float32
    hidden: list[tuple[Carried, Carried]]


class Evaluation:
    """A plan on first-order numbers, for one block."""

    def __init__(
        self, near: Near, block: Block, observed: Observed, difference: Float32, size: Float32
    ) -> None:
        self.near, self.block, self.observed = near, block, observed
        self.difference, self.deviation = difference, size
        self.unit, self.eta = near.bounds.arithmetic.unit, FLOAT32.smallest_normal
        self.found: dict[int, list[tuple[Place, Any]]] = {}
        self.leaves: dict[int, Any] = {}
        self.hidden: dict[int, tuple[Carried, Carried]] = {}

    def output(self) -> NearOutput:
        """All calls, one after the other."""
        for call in self.near.plan.calls:
            self.found.setdefault(call.out.group, []).append((call.out, self.called(call)))
        number = self.at(self.near.plan.results[0])
        number = self.rounded(number) if isinstance(number, Sum) else number
        if not isinstance(number, Number) or number.radius is None:
            raise NotNearError
        if len(self.hidden) < len(self.near.hidden):
            raise NotNearError
        off = number.limits.off + 2.0**-24 * highest(self.deviation[1:, np.newaxis])
        radius = np.broadcast_to(number.radius, (len(self.block.outputs), 1, *off_shape(self)))
        share = number.limits.share
        if not (off <= (LEFT_OUT / (1 + LEFT_OUT) - share) * lowest(radius)).all():
            raise NotNearError
        radius = radius[:, 0] * float32(ROUNDED_UP * (1 + share)) + float32(off * SLACK)
        moved = np.float32(0) if number.moved is None else number.moved[:, 0]
        size = np.abs(self.block.outputs.astype(np.float32))
        hidden = [self.hidden[k] for k in range(len(self.near.hidden))]
        return NearOutput(moved, radius, size, hidden)

    # Where numbers are.

    def at(self, place: Place) -> Any:
        """The number at a place."""
        group = self.near.plan.groups[place.group]
        if group.op in (INPUT, STATE, VECTOR, CONSTANT, BIAS):
            if place.group not in self.leaves:
                self.leaves[place.group] = self.leaf(group)
            found = self.leaves[place.group]
            return found[place.start : place.stop] if isinstance(found, (Number, Sum)) else found
        for where, number in self.found[place.group]:
            if where.start <= place.start and place.stop <= where.stop:
                if where == place or isinstance(number, Pending):
                    return number
                return number[place.start - where.start : place.stop - where.start]
        raise NotNearError

    def leaf(self, group: Group) -> Any:
        """A number that is given."""
        one, layer = group.nodes[0], self.near.layer
        if group.op == INPUT:
            return self.inputs(group)
        if group.op == STATE:
            k = one.detail - self.near.first_hidden
            return self.state() if k < 0 else k
        if group.op == BIAS:
            return [self.addends(*node.detail) for node in group.nodes]
        if group.op == VECTOR:
            letter, g = one.detail
            value = layer.vectors[letter][g * layer.units :][: layer.units]
            return self.known(value[np.newaxis], 0.0)
        ball = constant(one.detail, self.near.bounds.arithmetic)
        return self.known(np.full((1, layer.units), one.detail), float(ball.radius))

    def known(self, value: Array, radius: float) -> Number:
        """A number `(g, H)` that is the same in all steps."""
        zero = np.zeros_like(value)
        limits = Limits(np.abs(value), zero, zero + radius, 2.0**-46 * np.abs(value), zero)
        array = None if not radius else np.full((1, 1, 1, 1), radius, np.float32)
        return Number(float32(value)[np.newaxis, :, np.newaxis], None, array, limits)

    def state(self) -> Number:
        """The observed state, which is known: the replayed one, moved by D."""
        value = self.block.states[0, :-1].astype(np.float32)[:, np.newaxis]
        moved = self.difference[:-1, np.newaxis]
        largest = highest(self.deviation[:-1, np.newaxis])
        zero = 0 * largest
        limits = Limits(highest(np.abs(value)), largest, zero, 2.0**-24 * largest, zero)
        return Number(value, moved, None, limits)

    def addends(self, row: int, gate: int) -> list[Array]:
        """What an implementation adds for a gate of a row of the bias, `(H,)` each."""
        layer = self.near.layer
        assert layer.bias is not None
        whole = layer.bias if row < 0 else layer.bias[row]
        parts = layer.addends if row < 0 and layer.addends else (whole,)
        return [np.abs(part[gate * layer.units :][: layer.units]) for part in parts]

    def constant_of(self, key: Any, make: Any) -> Any:
        """What is the same for all blocks."""
        constants = self.near.constants
        if key not in constants:
            constants[key] = make()
        return constants[key]

    # Sums.

    def inputs(self, group: Group) -> Sum:
        """`x U` and the biases beside it, which D does not move."""
        units = self.near.layer.units
        magnitudes, addends, terms = self.constant_of("U", lambda: self.of_inputs(group))
        rows = magnitudes(narrow(self.block.inputs, np.float32))
        rows += addends
        zero = np.zeros((len(group.nodes), units))
        limits = Limits(zero, zero, zero, zero, zero)
        return Sum(None, by_gates(rows, units), terms, limits, zero)

    def of_inputs(self, group: Group) -> tuple[Magnitudes, Float32, tuple[int, ...]]:
        """The magnitudes of U, those of the biases, and the number of terms of each gate."""
        layer = self.near.layer
        details = [node.detail for node in group.nodes]
        biases = [[a for row in rows for a in self.addends(row, gate)] for gate, rows in details]
        matrix = gates_of(layer.kernel, [gate for gate, _ in details], layer.units)
        zero = np.zeros(layer.units)
        sizes = np.concatenate([np.sum([zero, *parts], axis=0) for parts in biases])
        terms = tuple(len(layer.kernel) + len(parts) for parts in biases)
        return Magnitudes(np.float32, matrix), float32(sizes), terms

    def product(self, call: Call) -> Sum:
        """`a W` for some gates."""
        layer, units = self.near.layer, self.near.layer.units
        nodes = self.near.plan.groups[call.out.group].nodes
        a = self.ball(call.operands[0])
        matrix, magnitudes, lengths, sums = self.constant_of(
            call.out, lambda: self.of_state([node.detail for node in nodes])
        )
        exact = self.near.plan.groups[call.operands[0].group].op == STATE
        if exact:
            size = narrow(self.observed.states[:-1], np.float32)
        else:
            largest = float(a.limits.around.max())
            if not 2.0**-20 < largest < 2.0**20:  # otherwise the general way may take other groups
                raise NotNearError
            size = plus(a.size, a.radius)
            size = np.broadcast_to(size, (len(self.block.outputs), 1, *off_shape(self)))[:, 0]
        magnitude = magnitudes(size)
        count = len(nodes)
        g = gamma(layer.units, self.near.bounds.arithmetic.unit_sum)
        left_out = float(a.limits.most_off.max())
        reach = (float(a.limits.moved.max()) + 2 * left_out) * sums
        excess = 0 * reach if exact else reach
        off = left_out * sums + 2 * g * reach
        spread, widest = None, np.zeros((count, units))
        if a.radius is not None:
            wide = np.broadcast_to(a.radius, (len(self.block.outputs), 1, *off_shape(self)))[:, 0]
            spread = by_gates(magnitudes(wide), units)
            widest = highest(spread)
        moved, most = None, np.zeros((count, units))
        if a.moved is not None:
            shift = np.broadcast_to(a.moved, (len(self.block.outputs), 1, *off_shape(self)))[:, 0]
            moved = by_gates(rows_by(shift, matrix), units)
            far = float(np.sqrt(np.einsum("tbh,tbh->tb", shift, shift).max()))
            most = far * lengths * SLACK + off
        terms = (layer.units,) * count
        zero = np.zeros((count, units))
        limits = Limits(zero, most, widest, off, zero)
        return Sum(moved, by_gates(magnitude, units), terms, limits, excess, spread)

    def of_state(self, gates: list[int]) -> tuple[Float32, Magnitudes, Array, Array]:
        """Gates of W in float32, their magnitudes, and for each column `(g, H)` its length and the
        sum of its sizes.
        """
        matrix = gates_of(self.near.layer.recurrent_kernel, gates, self.near.layer.units)
        lengths = np.sqrt(np.einsum("kn,kn->n", matrix, matrix)).reshape(len(gates), -1)
        sums = np.abs(matrix).sum(axis=0).reshape(len(gates), -1) * SLACK
        return float32(matrix), Magnitudes(np.float32, matrix), lengths, sums

    def term(self, number: Number) -> Sum:
        """One more addend of a sum."""
        size, limits = plus(number.size, number.radius), number.limits
        limits = replace(limits, value=0 * limits.value)
        excess = number.limits.moved + 2 * number.limits.most_off
        terms = (1,) * len(limits.value)
        return Sum(number.moved, size, terms, limits, excess, number.radius)

    def total(self, a: Any, b: Any) -> Sum:
        """The sum of two numbers, of which one is no ball."""
        a, b = (self.term(one) if isinstance(one, Number) else one for one in (a, b))
        magnitude = np.add(a.magnitude, b.magnitude, order="C")
        one, two = a.limits, b.limits
        off = one.off + two.off + 2.0**-22 * (one.moved + two.moved)
        most = one.moved + two.moved + off
        share = np.maximum(one.share, two.share)
        limits = Limits(one.value + two.value, most, one.radius + two.radius, off, share)
        terms = tuple(np.add(a.terms, b.terms).tolist())
        spread = plus(a.spread, b.spread)
        return Sum(plus(a.moved, b.moved), magnitude, terms, limits, a.excess + b.excess, spread)

    def with_bias(self, number: Any, rows: list[list[Array]]) -> Sum:
        """A sum and a bias."""
        a: Sum = self.term(number) if isinstance(number, Number) else number
        sizes = np.stack([np.sum(parts, axis=0) for parts in rows])
        terms = tuple(np.add(a.terms, [len(parts) for parts in rows]).tolist())
        magnitude = np.add(a.magnitude, float32(sizes)[:, np.newaxis], order="C")
        return replace(a, magnitude=magnitude, terms=terms)

    def rounded(self, a: Sum, value: Any = None) -> Number:
        """A sum that is finished, as `Sum.ball` of the general way has it."""
        terms = max(a.terms)
        g = gamma(terms, self.near.bounds.arithmetic.unit_sum) * SLACK
        radius = np.multiply(a.magnitude, np.float32(g), order="C")
        if a.spread is not None:
            radius += (1 + g) * a.spread
        radius += np.float32(terms * self.eta)
        widest = highest(radius)
        if not widest.max() < WIDE:
            raise NotNearError
        off = a.limits.off + g * a.excess + (1 + g) * a.limits.off
        size = np.zeros_like(off) if value is None else highest(np.abs(value))
        limits = Limits(size, a.limits.moved + off, widest, off, a.limits.share)
        return Number(value, a.moved, radius, limits)

    # Operations.

    def called(self, call: Call) -> Any:
        """The number that a call makes."""
        if call.op == PRODUCT:
            return self.product(call)
        if call.op == ACTIVATION:
            argument = self.at(call.operands[0])
            argument = self.rounded(argument) if isinstance(argument, Sum) else argument
            return self.activated(self.near.layer.letters[call.detail], argument, call.out)
        if call.op == MULTIPLY:
            return self.multiplied(call)
        if call.op in (ADD, SUBTRACT):
            return self.added(call)
        number = self.at(call.operands[0])
        if call.op == NEGATIVE and isinstance(number, (Number, Sum)):
            return number.negative
        if call.op == COPY and isinstance(number, Number):
            return number
        raise NotNearError

    def ball(self, place: Place) -> Number:
        """The number at a place, finished, with its value."""
        number = self.at(place)
        if isinstance(number, Sum):
            record = self.block.record[place.group][:, place.start : place.stop]
            return self.rounded(number, record.astype(np.float32))
        if not isinstance(number, Number) or number.value is None:
            raise NotNearError
        return number

    def added(self, call: Call) -> Any:
        """`a + b` or `a - b`."""
        a, b = (self.at(place) for place in call.operands)
        if call.op == SUBTRACT:
            if not isinstance(b, (Number, Sum)):
                raise NotNearError
            b = b.negative
        for one, other in ((a, b), (b, a)):
            if isinstance(one, Pending):
                if not isinstance(other, Number):
                    raise NotNearError
                if call.out != self.near.plan.results[self.near.first_hidden + one.k]:
                    raise NotNearError  # that of another state, or of none
                return self.recurrence(one, other)
            if isinstance(one, list):
                return self.with_bias(other, one)
        if not (isinstance(a, (Number, Sum)) and isinstance(b, (Number, Sum))):
            raise NotNearError
        if isinstance(a, Sum) or isinstance(b, Sum):
            return self.total(a, b)
        return self.sum_of(a, b, call.out)

    def sum_of(self, a: Number, b: Number, out: Place) -> Number:
        """The sum of two balls, rounded once."""
        value = self.recorded(out)
        value = a.value + b.value if value is None else value
        radius = self.once(np.abs(value), plus(a.radius, b.radius))
        one, two = a.limits, b.limits
        off = (one.off + two.off) * SLACK + 2.0**-22 * (one.moved + two.moved)
        off += 2.0**-46 * (one.value + two.value) + 2 * self.eta
        size = one.value + two.value
        widest = (one.radius + two.radius + self.unit * size) * SLACK + 2 * self.eta
        share = np.maximum(one.share, two.share)
        limits = Limits(size, one.moved + two.moved + off, widest, off, share)
        return Number(value, plus(a.moved, b.moved), radius, limits)

    def once(self, size: Any, radius: Any) -> Any:
        """A radius, and one rounding of a number of this size; `off` has what may be flushed to
        zero, and `ROUNDED_UP` the rounding of the radius itself.
        """
        total = size * np.float32(self.unit)
        if radius is not None:
            total += radius
        return total

    def recorded(self, out: Place) -> Any:
        """What the replay has there, None where it was not kept."""
        record = self.block.record.get(out.group)
        return None if record is None else record[:, out.start : out.stop].astype(np.float32)

    def multiplied(self, call: Call) -> Any:
        """`x y`, rounded once; or `p c` of a hidden state c."""
        hidden = [self.at(place) for place in call.operands]
        if any(isinstance(one, int) for one in hidden):
            if call.out.stop - call.out.start > 1:  # two uses of a hidden state
                raise NotNearError
            (k,) = (one for one in hidden if isinstance(one, int))
            (p,) = (
                self.ball(place)
                for place, one in zip(call.operands, hidden, strict=True)
                if not isinstance(one, int)
            )
            return Pending(k, p)
        x, y = (self.ball(place) for place in call.operands)
        value = self.recorded(call.out)
        value = x.value * y.value if value is None else value
        positive = x.positive and y.positive
        moved = None if y.moved is None else x.value * y.moved
        moved = plus(moved, None if x.moved is None else y.value * x.moved)
        radius = None if y.radius is None else x.size * y.radius
        if x.radius is not None:
            own = (y.size if y.radius is None else y.size + y.radius) * x.radius
            radius = plus(radius, own)
        radius = self.once(value if positive else np.abs(value), radius)
        return Number(value, moved, radius, self.product_limits(x.limits, y.limits), positive)

    def product_limits(self, x: Limits, y: Limits) -> Limits:
        """The limits of `x y`."""
        # A share of x's radius, times |y|, is that share of what makes the radius of the product.
        off = x.off * y.around + y.off * x.around
        off = off + x.share * x.radius * (y.around - y.value)
        off = off + y.share * y.radius * (x.around - x.value)
        off = off + x.moved * y.moved + x.moved * y.radius + y.moved * x.radius
        off = (off + 2.0**-22 * (x.value * y.moved + y.value * x.moved)) * SLACK + 2 * self.eta
        size = x.value * y.value
        moved = (x.value * y.moved + y.value * x.moved) * SLACK + off
        radius = x.value * y.radius + (y.value + y.radius) * x.radius + self.unit * size
        share = np.maximum(x.share, y.share)
        return Limits(size, moved, radius * SLACK + 2 * self.eta, off, share)

    def activated(self, activation: Activation, z: Any, out: Place) -> Number:
        """`f(z)`, whose value is the replay's."""
        if not isinstance(z, Number):
            raise NotNearError
        limits = z.limits
        if not (limits.moved.max() <= SMALL and (limits.radius + limits.most_off).max() < WIDE):
            raise NotNearError
        assert activation.derivative is not None
        y, bounded = self.recorded(out), activation.name != "linear"
        positive = activation.name == "sigmoid"
        slope = float32(activation.derivative(y, y))
        moved = None if z.moved is None else slope * z.moved
        size = y if positive else np.abs(y)
        radius = size * np.float32(activation.relative * self.unit)
        radius += np.float32(activation.absolute * self.unit + self.eta)
        if z.radius is not None:
            radius += activation.by_slope(slope, z.radius)
        bend, near = STEEPER * CURVATURE[activation.name], limits.moved + limits.most_off
        steepening = STEEPER * activation.steepening
        off = limits.off * (2 + steepening * (limits.radius + limits.most_off))
        off = off + bend * near * (0.5 * near + (1 + limits.share) * limits.radius)
        off = (off + ROUNDING * (near + limits.radius)) * SLACK
        most = np.ones_like(off) if bounded else highest(size)
        widest = limits.radius * (1 + steepening * limits.radius)
        widest = widest + (activation.relative * most + activation.absolute) * self.unit
        widest = widest * SLACK + 2 * self.eta
        share = limits.share * (1 + steepening * limits.radius)
        found = Limits(most, near + off, widest, off, share)
        return Number(y, moved, radius, found, positive)

    # Hidden states.

    def recurrence(self, pending: Pending, q: Number) -> Number:
        """`c_t = p_t c_{t-1} + q_t` of all steps, from what was carried on."""
        k, p, near = pending.k, pending.p, self.near
        if q.radius is None or p.radius is None:
            raise NotNearError
        c = self.block.states[near.first_hidden + k].astype(np.float32)
        sizes, carried = np.abs(c), near.hidden[k]
        shape = (len(c) - 1, 2, *c.shape[1:])
        factor, addend = np.empty(shape, np.float32), np.empty(shape, np.float32)
        factor[:, 0] = p.value[:, 0]
        if p.moved is None:
            addend[:, 0] = 0.0
        else:
            np.multiply(c[:-1], p.moved[:, 0], out=addend[:, 0])
        if q.moved is not None:
            addend[:, 0] += q.moved[:, 0]
        grow, added = factor[:, 1], addend[:, 1]
        np.add(p.size[:, 0], p.radius[:, 0], out=grow)
        np.multiply(grow, np.float32(self.unit), out=added)
        added += p.radius[:, 0]
        of_c = lowest(added[:, np.newaxis])
        added *= sizes[:-1]
        added += q.radius[:, 0]
        added += sizes[1:] * np.float32(self.unit)
        added *= np.float32(1 + 2 * self.unit)
        grow *= np.float32(SLACK * (1 + self.unit) ** 2)
        least, last = lowest(q.radius), added[-2:].copy()
        own = added[SEGMENT - 1 : -1 : SEGMENT].copy()
        states = scanned(factor, addend, np.stack([carried.moved, carried.radius]))
        # The general way looks at the outputs within a long block, where that may cut something.
        if (states[SEGMENT - 1 : -1 : SEGMENT, 1] > GROWN * own).any():
            raise NotNearError
        limits, share = self.carried_limits(p.limits, q.limits, sizes, states, of_c, least, carried)
        ends = [carried]
        for one, radius in zip(states[-2:], last, strict=True):
            ends.append(Carried(one[0], one[1], share, radius))
        self.hidden[k] = ends[-2], ends[-1]
        return Number(c[1:, np.newaxis], states[:, :1], states[:, 1:], limits)

    def carried_limits(
        self,
        p: Limits,
        q: Limits,
        sizes: Float32,
        states: Float32,
        of_c: Array,
        least: Array,
        carried: Carried,
    ) -> tuple[Limits, Array]:
        """The limits of a hidden state, and what it may be off by as a share of its radius.

        A step adds to the radius at least `of_c |c_{t-1}| + least`, and to what it is off by a
        share of that; both are then multiplied by the same p, so that the share stays.
        """
        most = highest(sizes[:, np.newaxis])
        before = np.stack([np.abs(carried.moved), carried.radius])[np.newaxis]
        own, radius = np.maximum(highest(np.abs(states)), highest(before))[:, np.newaxis]
        assumed = np.maximum(2 * carried.off, ASSUMED)  # what it will turn out to be at most
        moved, u = own + assumed * radius, self.unit
        p_off, q_off = p.most_off, q.most_off
        apart = p.moved + 2 * p_off
        times_c = 2 * p_off + u * apart + 2.0**-22 * p.moved
        off = 2 * apart * radius + moved * (apart + p.radius + u) + q_off + u * q.moved
        off = off + 2.0**-22 * (p.value * moved + q.moved) + 4 * self.eta
        share = np.maximum(times_c / of_c, off / least)[0] * SLACK
        share = np.maximum(carried.off, share)
        if not (share <= np.minimum(assumed, LEFT_OUT)).all():
            raise NotNearError
        rounded = 2.0**-22 * own
        return Limits(most, own + share * radius, radius, rounded, share[np.newaxis]), share


def off_shape(evaluation: Evaluation) -> tuple[int, int]:
    """`(B, H)`."""
    found: tuple[int, int] = evaluation.difference.shape[1:]
    return found


def scanned(factor: Float32, addend: Float32, before: Float32) -> Float32:
    """`s_t = factor_t s_{t-1} + addend_t` for every t, written over `addend`."""
    work = np.empty_like(before)
    for f, a in zip(factor, addend, strict=True):
        np.multiply(f, before, work)
        np.add(a, work, a)
        before = a
    return addend


def by_gates(rows: Any, units: int) -> Any:
    """`(t, B, g H)` as `(t, g, B, H)`."""
    return rows.reshape(*rows.shape[:2], -1, units).swapaxes(1, 2)


def gates_of(matrix: Array, gates: list[int], units: int) -> Array:
    """These gates of a kernel, side by side."""
    return np.concatenate([matrix[:, g * units : (g + 1) * units] for g in gates], axis=1)
