"""A cell's plan on numbers near the replay's, as float32 NumPy calls on buffers made beforehand.

Each `Number` is the replay's own number v, what moves it when the step starts from the observed
state (`moved`, to first order), and the radius that correct arithmetic makes. What is left out, of
second order, and float32's roundings are bounded for each unit (`Limits`), from the largest and
smallest of some numbers of a block: they hold for every block whose numbers are within these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import SLACK, constant
from rnn_parity.bounds.magnitudes import Magnitudes, gamma, in_range, norms
from rnn_parity.bounds.observed import Observed
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.precision import FLOAT32
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
from rnn_parity.recurrence.time_loop import Block

Float32 = NDArray[np.float32]
Numbers = Callable[[], Array]
"""Numbers that are known when limits are worked out, in float64."""

SMALL = 2.0**-14
"""How large D, and what it moves an argument by, may be; above it, the general way is taken."""
ROUNDING = 2.0**-20
"""More than the error of f' and of the few operations on `moved` in float32, and than ten of its
unit roundoffs, the most that an allowance changes by when its number moves."""
WIDEST = 2.0**-6
"""How wide the radius of a sum or of an argument may be. The general way takes the spread of an
activation from its slope or from its ends, which differ by `L r / 2` of it at most."""
LEFT_OUT = 0.125
"""The share of a radius that may be left out."""
ROUNDED_UP = 1 + 2.0**-13
"""More than the rounding of a radius in float32, 2**-24 in each operation, and than the `SLACK` in
each that the general way takes for it."""
ASSUMED = 2.0**-5
"""The share of a hidden state's largest radius that may be left out of it. Chosen: right layers
need up to a half of that."""
CURVATURE = {"tanh": 4 / (3 * sqrt(3)), "sigmoid": 1 / (6 * sqrt(3)), "linear": 0.0}
"""The suprema of `|f''|` of the activations that the quick way knows: their slope is a polynomial
of the output, at most 1, so that float32 does for it too."""
STEEPER = 1.1
"""More than `1 / (1 - L r / 2)**2`, as a bound by the slope (`Activation.by_slope`) has it."""
ROOM = 1.5
"""How much further than seen so far a number may go before limits are worked out again. Measured:
of 128 tiles of an LSTM of 256 units 28 need new ones, 123 with 1.25; what limits add to a radius,
0.2 to 0.7 % of layers of that size, is up to a half more."""


class NotNearError(Exception):
    """The quick way does not do: D is not small, a bound not narrow, or the formula another."""


class OtherMagnitudesError(Exception):
    """The general way takes the magnitudes of this block's inputs or states in the other way."""

    def __init__(self, operand: int) -> None:
        super().__init__(operand)
        self.operand = operand


@dataclass(frozen=True, eq=False)
class Limits:
    """For each unit of some gates, `(g, H)`, bounds over all steps and samples: of a number's size
    and radius, of how far it is moved, and of what is left out of both: `off`, and beside that a
    `share` of each number's own radius.
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


class Tape:
    """NumPy calls on float32 buffers `(g, t, B, H)`, or such as broadcast to that.

    A buffer of None is 0 throughout. `highs` are the largest numbers of some buffers, of the block
    that was run last, `seen` those that were asked for last; limits rest on the `assumed` ones.
    """

    seen: Float32

    def __init__(self, steps: int, batch: int, units: int, extremes: int) -> None:
        self.shape = (steps, batch, units)
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.highs, self.count = np.zeros(extremes, np.float32), 0
        self.assumed: Array = np.full(extremes, -np.inf)

    def run(self) -> None:
        """All calls."""
        for function, arguments in self.calls:
            function(*arguments)

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """One more call."""
        self.calls.append((function, arguments))

    def new(self, gates: int) -> Float32:
        """A buffer of so many gates."""
        return np.empty((gates, *self.shape), np.float32)

    def do(self, function: Callable[..., Any], a: Any, b: Any, out: Any = None) -> Any:
        """`function(a, b)` of buffers and numbers, in `out` or a new buffer."""
        a, b = float32(a), float32(b)
        out = np.empty(np.broadcast(a, b).shape, np.float32) if out is None else out
        self.call(function, a, b, out)
        return out

    def plus(self, a: Any, b: Any, function: Callable[..., Any] = np.add) -> Any:
        """`a + b`, or `a - b` by np.subtract."""
        if b is None:
            return a
        if a is None:
            return b if function is np.add else self.negative(b)
        return self.do(function, a, b)

    def negative(self, a: Any) -> Any:
        """`-a`."""
        return None if a is None else self.do(np.multiply, a, -1.0)

    def size(self, a: Any) -> Any:
        """`|a|`."""
        out = np.empty_like(a)
        self.call(np.abs, a, out)
        return out

    def rows(self, a: Any) -> Any:
        """A buffer of one gate as rows `(t B, H)`."""
        if a.shape[1:] != self.shape:
            out = self.new(1)
            self.call(np.copyto, out, a)
            a = out
        return a.reshape(-1, self.shape[-1])

    def slot(self, shape: tuple[int, int]) -> tuple[Float32, Numbers]:
        """Where largest numbers of a block stand, and the assumed ones."""
        start, self.count = self.count, self.count + shape[0] * shape[1]
        stop = self.count
        if stop > len(self.highs):
            raise NotNearError
        seen = self.highs[start:stop].reshape(shape)
        return seen, lambda: self.assumed[start:stop].reshape(shape)

    def highest(self, a: Any) -> Numbers:
        """The largest number of each column of `(g, ..., N)`, `(g, N)`."""
        self.seen, found = self.slot((a.shape[0], a.shape[-1]))
        self.call(np.maximum.reduce, by_columns(a), 1, None, self.seen)
        return found

    def furthest(self, a: Any) -> Numbers:
        """The largest number of all, `(1, 1)`: of noise, the largest in one unit varies more."""
        return self.highest(a.reshape(1, -1, 1))

    def reduced(self, function: np.ufunc, a: Any) -> Float32:
        """Where the largest or smallest number of the last block stands, `(g, N)`."""
        out = np.empty((a.shape[0], a.shape[-1]), np.float32)
        self.call(function.reduce, by_columns(a), 1, None, out)
        return out

    @property
    def within(self) -> bool:
        """Whether the last block's numbers are within the assumed ones."""
        return bool((self.highs <= self.assumed).all())


def by_columns(a: Any) -> Any:
    """`(g, ..., N)` as `(g, n, N)`."""
    return a.reshape(a.shape[0], -1, a.shape[-1])


def float32(a: Any) -> Any:
    """An array in float32."""
    return np.asarray(a, np.float32)


def members(a: Any, part: slice) -> Any:
    """Some gates of a buffer; of one that stands for all of them, itself."""
    return a if a is None or a.shape[0] == 1 else a[part]


class Number:
    """A number that is rounded: buffers, of which the value may be a function that makes it.

    The value of an argument of an activation is not needed, and None. Of a `positive` number the
    value is its size. `limits` are set when they are worked out.
    """

    limits: Limits

    def __init__(
        self, tape: Tape, value: Any, moved: Any, radius: Any, positive: bool = False
    ) -> None:
        self.tape, self.made, self.moved, self.radius = tape, value, moved, radius
        self.positive, self.made_size = positive, None

    @property
    def value(self) -> Any:
        """`v`, on the tape when it is first asked for."""
        if callable(self.made):
            self.made = self.made()
        return self.made

    @property
    def size(self) -> Any:
        """`|v|`, on the tape when it is first asked for."""
        if self.positive:
            return self.value
        if self.made_size is None:
            self.made_size = self.tape.size(self.value)
        return self.made_size


class Sum:
    """An addition that is not rounded yet, for each of its gates.

    The sum of its `terms` absolute values is at most what some of the block's `coefficients` make,
    multiplied by matrices `(g, K, H)` (`columns`: the first coefficient, and the matrix), and other
    `sizes` beside that; `spreads` add up to the radii of its terms. `excess` `(g, H)` is by how
    much the magnitude may differ from the general way's. The limits have no value, and the radius
    of the spreads.
    """

    limits: Limits
    excess: Array

    def __init__(
        self,
        moved: Any,
        columns: list[tuple[int, Array]],
        terms: tuple[int, ...],
        sizes: list[Any] | None = None,
        spreads: list[Any] | None = None,
    ) -> None:
        self.moved, self.columns, self.terms = moved, columns, terms
        self.sizes, self.spreads = sizes or [], spreads or []


@dataclass(frozen=True, eq=False)
class Pending:
    """`p c_{t-1}`, of the k-th hidden state: to be a part of `p c_{t-1} + q`."""

    k: int
    p: Number


@dataclass(eq=False)
class Carried:
    """A hidden state `(B, H)` after some steps, off the replay by `moved` and within `radius`.

    `added` is what the last step of the tile alone made of the radius. Of c and of its radius, no
    more than a `share` `(H,)` of the radius is left out and, `each` `(H,)` in each step, what has
    `gathered` `(B, H)` of that.
    """

    moved: Float32
    radius: Float32
    gathered: Float32
    added: Float32
    share: Array
    each: Array


class NearBlock:
    """What is computed of a whole block, where matrix products are fast: D, what it moves products
    with W by, and magnitudes.

    These are matrices times the `coefficients` `(n, K)` of the block's n rows: those of the inputs,
    a 1, and those of the observed states. They are norms over four columns where `grouped` says so
    of one of the two, sizes otherwise; `Magnitudes` decides that by the numbers.
    """

    def __init__(self, layer: Cell, shape: tuple[int, int], grouped: tuple[bool, bool]) -> None:
        (steps, batch), rows = shape, shape[0] * shape[1]
        around = (steps + 1, batch, layer.units)
        self.wide, self.difference = np.empty(around), np.empty(around, np.float32)
        self.x = np.empty((rows, layer.features), np.float32)
        self.before = np.empty((rows, layer.units), np.float32)
        self.grouped, self.may_group = grouped, [False, False]
        widths = [columns(a, g) for a, g in zip((self.x, self.before), grouped, strict=True)]
        self.one, second = widths[0], widths[0] + 1
        self.parts = [slice(0, self.one), slice(second, second + widths[1])]
        self.coefficients = np.ones((rows, second + widths[1]), np.float32)
        self.largest = np.empty(self.coefficients.shape[1], np.float32)
        self.squares, self.ones = np.empty_like(self.before), np.ones(layer.units, np.float32)
        self.furthest = np.zeros((1, 2))
        self.products: list[tuple[Float32, Float32, Float32]] = []
        self.asked = 0
        self.bounds: dict[tuple[int, ...], Magnitudes] = {}
        self.weights: dict[tuple[int, ...], tuple[Float32, Array, Array]] = {}

    def product(self, rows: Float32, matrix: Callable[[], Any]) -> tuple[Float32, Float32]:
        """A matrix `(g, K, H)` in float32, and where `rows` `(n, K)` times that will stand,
        `(g, n, H)`. Tiles of another length ask for the same products again, in the same order.
        """
        self.asked += 1
        if self.asked > len(self.products):
            narrow = np.ascontiguousarray(matrix(), np.float32)
            out = np.empty((len(narrow), len(rows), narrow.shape[-1]), np.float32)
            self.products.append((rows, narrow, out))
        _, narrow, out = self.products[self.asked - 1]
        return narrow, out

    def moved(self, matrix: Float32) -> Float32:
        """Where `D W` will stand, W being `(g, H, H)`."""
        rows = self.difference[:-1].reshape(len(self.before), -1)
        return self.product(rows, lambda: matrix)[1]

    def run(self, block: Block, observed: Observed) -> None:
        """Take a block. Raises `NotNearError` where D is not small, and `OtherMagnitudesError`."""
        steps, count = len(block.outputs), block.outputs[..., 0].size
        wide, difference = self.wide[: steps + 1], self.difference[: steps + 1]
        np.subtract(observed.states, block.states[0], wide)
        np.copyto(difference, wide, "same_kind")
        self.take_difference(difference[:-1].reshape(count, -1), difference)
        before, x = self.before[:count], self.x[:count]
        np.copyto(before, observed.states[:-1].reshape(before.shape), "same_kind")
        np.copyto(x, block.inputs.reshape(x.shape), "same_kind")
        for a, part, by_norms in zip((x, before), self.parts, self.grouped, strict=True):
            out = self.coefficients[:count, part]
            np.copyto(out, norms(a)) if by_norms else np.abs(a, out)
        self.coefficients[:count].max(axis=0, out=self.largest)
        self.check()
        for rows, matrix, out in self.products:
            np.matmul(rows[np.newaxis, :count], matrix, out[:, :count])

    def take_difference(self, before: Float32, around: Float32) -> None:
        """The largest D `around` the steps, and the largest norm of those `before` a step."""
        squares = np.square(before, self.squares[: len(before)])
        largest = max(around.max(), -around.min())
        if not largest <= SMALL:
            raise NotNearError
        # Squares below the normal range vanish; of such D, the largest tells more than the norm.
        units, most = len(self.ones), float(np.dot(squares, self.ones).max())
        norm = sqrt(most + units * FLOAT32.smallest_normal) * (1 + gamma(units + 4, 2.0**-24))
        self.furthest[...] = largest, min(norm, sqrt(units) * float(largest) * SLACK)

    def check(self) -> None:
        """Raise `OtherMagnitudesError` unless the general way groups the block's numbers alike."""
        for k, part in enumerate(self.parts):
            largest = float(self.largest[part].max())
            # A norm of four numbers is at most twice the largest of them.
            alike = 4e-9 < largest < 5e14 if self.grouped[k] else not in_range(largest)
            if self.may_group[k] and not alike:
                raise OtherMagnitudesError(k)


def columns(a: Float32, grouped: bool) -> int:
    """How many coefficients an operand `(n, N)` has."""
    count = int(a.shape[1])
    return -(-count // 4) if grouped else count


class NearFormula:
    """A layer's plan on near numbers, for some timesteps of a block: a tile, which the cache holds.

    `grouped` says for the inputs and for the states whether their magnitudes go by groups. After
    `run`, `moved`, `radius`, `residual` and `expected` `(t, B, H)` are those of the output, and
    `hidden` has the hidden states. Raises `NotNearError` for a formula that has no quick way.
    """

    def __init__(
        self, layer: Cell, arithmetic: Arithmetic, block: NearBlock, shape: tuple[int, int]
    ) -> None:
        self.layer, self.arithmetic, self.plan = layer, arithmetic, plan_for(layer)
        self.unit, self.eta = arithmetic.unit, FLOAT32.smallest_normal
        self.block, block.asked = block, 0
        self.first_hidden = len(layer.STATES) - len(layer.hidden)
        nodes = sum(len(group.nodes) for group in self.plan.groups)
        extremes = (4 * nodes + 8) * layer.units + len(block.largest)
        self.tape = Tape(*shape, layer.units, extremes)
        self.loads: list[tuple[Any, Callable[[Block, slice, slice], Any]]] = []
        self.given(*shape)
        self.found: dict[int, list[tuple[Place, Any]]] = {}
        self.leaves: dict[int, Any] = {}
        self.kept: dict[int, Float32] = {}
        self.hidden: dict[int, Hidden] = {}
        self.late: list[Callable[[], None]] = []
        self.checks: list[Callable[[], None]] = []
        for call in self.plan.calls:
            self.found.setdefault(call.out.group, []).append((call.out, self.called(call)))
        self.result()

    def given(self, steps: int, batch: int) -> None:
        """The replayed states h and D around each step, and extremes of the block's numbers."""
        tape, around = self.tape, (steps + 1, batch, self.layer.units)
        self.difference, self.replayed, self.deviation = np.empty((3, *around), np.float32)
        self.load(self.difference, lambda _, t, __: self.block.difference[t.start : t.stop + 1])
        self.load(self.replayed, lambda block, t, _: block.states[0, t.start : t.stop + 1])
        tape.call(np.abs, self.difference, self.deviation)
        self.seen_different, self.most_different = tape.slot((1, 2))
        self.seen_coefficients, self.coefficients = tape.slot((1, len(self.block.largest)))

    def load(self, out: Float32, source: Callable[[Block, slice, slice], Any]) -> None:
        """Let a buffer hold what is made of a replayed block for some timesteps and rows."""
        self.loads.append((out, source))

    def from_block(self, numbers: Float32) -> Float32:
        """Some rows of what was computed of the whole block, `(g, n, H)`."""
        out = self.tape.new(len(numbers))
        self.load(by_columns(out), lambda _, __, rows: numbers[:, rows])
        return out

    def result(self) -> None:
        """The output, and buffers for what is asked of it."""
        number = self.at(self.plan.results[0])
        number = self.rounded(number) if isinstance(number, Sum) else number
        whole = isinstance(number, Number) and number.radius is not None
        if not whole or len(self.hidden) < len(self.layer.hidden):
            raise NotNearError
        moved = np.zeros_like(self.tape.new(1)) if number.moved is None else number.moved
        self.moved = np.broadcast_to(moved[0], self.tape.shape)
        radius = self.tape.rows(number.radius)
        self.number, self.own_radius = number, radius.reshape(self.tape.shape)
        self.size = self.tape.size(self.replayed[1:])
        self.least = self.tape.reduced(np.minimum, radius[np.newaxis])
        self.radius, self.residual, self.expected = np.empty((3, *self.tape.shape), np.float32)

    @property
    def states(self) -> list[Hidden]:
        """The hidden states, in order."""
        return [self.hidden[k] for k in range(len(self.hidden))]

    def close(self) -> None:
        """Forget what refers to this: buffers shall not wait for the garbage collector."""
        for one in (self.late, self.checks, self.loads, self.found, self.leaves):
            one.clear()

    # A tile.

    def run(self, block: Block, t: slice, carried: list[Carried]) -> None:
        """Some timesteps of the block that was taken last, from the hidden states that were carried
        on; raises `NotNearError` where a bound is not narrow.
        """
        batch = block.outputs.shape[1]
        rows = slice(t.start * batch, t.stop * batch)
        for out, source in self.loads:
            np.copyto(out, source(block, t, rows), "same_kind")
        for state, before in zip(self.states, carried, strict=True):
            state.go_on(before)
        self.seen_different[...] = self.block.furthest
        self.seen_coefficients[...] = self.block.largest
        self.tape.run()
        for check in self.checks:
            check()
        if self.vanished(block.outputs[t]):
            raise NotNearError
        if not (self.tape.within and self.narrow):
            self.work_out_limits()
        self.finish()

    def vanished(self, outputs: Array) -> bool:
        """Whether some output that is not 0 is 0 in float32: a right zero is judged otherwise."""
        some = self.size.min() == 0
        return bool(some and np.count_nonzero(self.size) < np.count_nonzero(outputs))

    @property
    def narrow(self) -> bool:
        """Whether what is left out is small beside the radii of the last block."""
        least = (LEFT_OUT / (1 + LEFT_OUT) - self.share) * self.least
        return all(one.narrow for one in self.states) and bool((self.off <= least).all())

    def work_out_limits(self) -> None:
        """The limits: with some room where there were others before, or of this block alone."""
        tape, before = self.tape, self.tape.assumed
        exact = tape.highs.astype(np.float64)
        further = np.maximum(before, ROOM * exact)
        known = np.isfinite(before).all()
        for assumed, room in [(further, ROOM), (exact, 1.0)] if known else [(exact, 1.0)]:
            tape.assumed = assumed
            try:
                return self.limit(room)
            except NotNearError:
                tape.assumed = np.full_like(before, -np.inf)  # nothing is known
        raise NotNearError

    def limit(self, room: float) -> None:
        """The limits of all numbers, and from them the output's."""
        for one in self.states:
            one.room = room
        for work_out in self.late:
            work_out()
        limits = self.number.limits
        self.share, self.off = limits.share, limits.off + 2.0**-24 * self.most_different()[:, :1]
        if not self.narrow:
            raise NotNearError
        self.scale, self.addend = float32(ROUNDED_UP * (1 + self.share)), float32(self.off * SLACK)

    def finish(self) -> None:
        """What is asked of the output."""
        np.multiply(self.own_radius, self.scale, self.radius)
        np.add(self.radius, self.addend, self.radius)
        np.add(self.replayed[1:], self.moved, self.expected)
        np.abs(self.expected, self.expected)
        np.subtract(self.difference[1:], self.moved, self.residual)
        np.abs(self.residual, self.residual)

    # Where numbers are.

    def at(self, place: Place) -> Any:
        """The number at a place."""
        group = self.plan.groups[place.group]
        if group.op in (INPUT, STATE, VECTOR, CONSTANT, BIAS):
            if place.group not in self.leaves:
                self.leaves[place.group] = self.leaf(group)
            found = self.leaves[place.group]
            return found if isinstance(found, int) else self.part(found, place.start, place.stop)
        for where, number in self.found[place.group]:
            if where.start <= place.start and place.stop <= where.stop:
                if where == place or isinstance(number, Pending):
                    return number
                return self.part(number, place.start - where.start, place.stop - where.start)
        raise NotNearError

    def part(self, whole: Any, start: int, stop: int) -> Any:
        """Some gates of a number, of a sum, or of a list."""
        some = slice(start, stop)
        if isinstance(whole, list):
            return whole[some]
        moved = members(whole.moved, some)
        if isinstance(whole, Number):
            radius = members(whole.radius, some)
            number = Number(
                self.tape, lambda: members(whole.value, some), moved, radius, whole.positive
            )
            return self.limited(number, lambda: whole.limits[some])
        columns = [(first, matrix[some]) for first, matrix in whole.columns]
        sizes, spreads = (
            [members(a, some) for a in arrays] for arrays in (whole.sizes, whole.spreads)
        )
        found = Sum(moved, columns, whole.terms[some], sizes, spreads)
        return self.limited_sum(found, lambda: (whole.limits[some], whole.excess[some]))

    def limited(self, number: Number, limits: Callable[[], Limits]) -> Number:
        """A number, whose limits are worked out when those of its operands are."""

        def work_out() -> None:
            number.limits = limits()

        self.late.append(work_out)
        return number

    def limited_sum(self, found: Sum, limits: Callable[[], tuple[Limits, Array]]) -> Sum:
        """A sum, whose limits and excess are worked out when those of its terms are."""

        def work_out() -> None:
            found.limits, found.excess = limits()

        self.late.append(work_out)
        return found

    def leaf(self, group: Group) -> Any:
        """A number that is given."""
        one, layer = group.nodes[0], self.layer
        if group.op == INPUT:
            return self.inputs(group)
        if group.op == STATE:
            k = one.detail - self.first_hidden
            return self.state() if k < 0 else k
        if group.op == BIAS:
            return [self.addends(*node.detail) for node in group.nodes]
        if group.op == VECTOR:
            letter, g = one.detail
            return self.known(layer.vectors[letter][g * layer.units :][: layer.units], 0.0)
        ball = constant(one.detail, self.arithmetic)
        return self.known(np.full(layer.units, one.detail), float(ball.radius))

    def known(self, value: Array, radius: float) -> Number:
        """A number `(H,)` that is the same in all steps."""
        one = value[np.newaxis]
        zero = np.zeros_like(one)
        limits = Limits(np.abs(one), zero, zero + radius, 2.0**-46 * np.abs(one), zero)
        wide = np.full((1, 1, 1, 1), radius, np.float32) if radius else None
        number = Number(self.tape, float32(value)[np.newaxis, np.newaxis, np.newaxis], None, wide)
        return self.limited(number, lambda: limits)

    def state(self) -> Number:
        """The observed state, which is known: the replayed one, moved by D."""
        value, moved = self.replayed[np.newaxis, :-1], self.difference[np.newaxis, :-1]
        number = Number(self.tape, value, moved, None)
        uses = [c.op for c in self.plan.calls for p in c.operands if self.is_state(p)]
        # Of a product with W, the size of what is multiplied does not matter.
        size = self.tape.highest(number.size) if {*uses} != {PRODUCT} else None

        def limits() -> Limits:
            largest = self.most_different()[:, :1]
            zero = 0 * largest
            return Limits(zero if size is None else size(), largest, zero, 2.0**-24 * largest, zero)

        return self.limited(number, limits)

    def is_state(self, place: Place) -> bool:
        """Whether the observed state stands there."""
        group = self.plan.groups[place.group]
        return group.op == STATE and group.nodes[0].detail < self.first_hidden

    def addends(self, row: int, gate: int) -> list[Array]:
        """What an implementation adds for a gate of a row of the bias, `(H,)` each."""
        layer = self.layer
        assert layer.bias is not None
        whole = layer.bias if row < 0 else layer.bias[row]
        parts = layer.addends if row < 0 and layer.addends else (whole,)
        return [np.abs(part[gate * layer.units :][: layer.units]) for part in parts]

    # Sums.

    def inputs(self, group: Group) -> Sum:
        """`x U` and the biases beside it, which D does not move."""
        layer, details = self.layer, [node.detail for node in group.nodes]
        gates = [gate for gate, _ in details]
        biases = [[a for row in rows for a in self.addends(row, gate)] for gate, rows in details]
        terms = tuple(len(layer.kernel) + len(parts) for parts in biases)
        found = Sum(None, [self.bounding(0, layer.kernel, gates), self.bias_column(biases)], terms)
        zero = np.zeros((len(terms), layer.units))
        return self.limited_sum(found, lambda: (Limits(zero, zero, zero, zero, zero), zero))

    def bounding(self, operand: int, kernel: Array, gates: list[int]) -> tuple[int, Array]:
        """What the coefficients of an operand are multiplied by to bound `|a| |M|`, `(g, K, H)`,
        and the first of them; M are some gates of a kernel.
        """
        magnitudes, block = self.magnitudes(kernel, gates), self.block
        block.may_group[operand] |= magnitudes.grouped is not None
        if block.grouped[operand] and magnitudes.grouped is None:
            raise OtherMagnitudesError(operand)
        found = magnitudes.grouped if block.grouped[operand] else magnitudes.absolute
        return block.parts[operand].start, by_gates(found, self.layer.units)

    def bias_column(self, biases: list[list[Array]]) -> tuple[int, Array]:
        """What the coefficient 1 is multiplied by to be the sizes of biases, `(g, 1, H)`."""
        zero = np.zeros(self.layer.units)
        sizes = [np.sum([zero, *parts], axis=0) for parts in biases]
        return self.block.one, np.stack(sizes)[:, np.newaxis]

    def product(self, call: Call) -> Sum:
        """`a W` for some gates."""
        units, tape, exact = self.layer.units, self.tape, self.is_state(call.operands[0])
        gates = [node.detail for node in self.plan.groups[call.out.group].nodes]
        a = self.ball(call.operands[0])
        weights, lengths, sums = self.weights(gates)
        found = Sum(None, [], (units,) * len(gates))
        if exact:
            found.columns.append(self.bounding(1, self.layer.recurrent_kernel, gates))
        else:
            self.sizes_of(a, gates, found)
        far = None
        if exact:
            found.moved = self.from_block(self.block.moved(weights))
            far = lambda: self.most_different()[:, 1:]  # noqa: E731
        elif a.moved is not None:
            found.moved, largest = self.times(a.moved, weights), tape.furthest(tape.size(a.moved))
            far = lambda: np.sqrt(units) * largest()  # noqa: E731
        g, zero = gamma(units, self.arithmetic.unit_sum), np.zeros((len(gates), units))
        widest = [tape.highest(spread) for spread in found.spreads]

        def limits() -> tuple[Limits, Array]:
            reach = (float(a.limits.moved.max()) + 2 * float(a.limits.most_off.max())) * sums
            off = float(a.limits.off.max()) * sums + 2 * g * reach
            # A share of a's radius is that share of the spread.
            share = zero + float(a.limits.share.max())
            most = zero
            if far is not None:
                most = far() * lengths * SLACK + off
            radius = sum((one() for one in widest), zero)
            return Limits(
                zero, most + share * radius, radius, off, share
            ), 0 * reach if exact else reach

        return self.limited_sum(found, limits)

    def weights(self, gates: list[int]) -> tuple[Float32, Array, Array]:
        """Gates of W in float32 `(g, H, H)`, and for each column `(g, H)` its length and the sum of
        its sizes, once for all tiles.
        """
        known, key = self.block.weights, tuple(gates)
        if key not in known:
            units = self.layer.units
            matrix = by_gates(gates_of(self.layer.recurrent_kernel, gates, units), units)
            lengths = np.sqrt(np.einsum("gkn,gkn->gn", matrix, matrix))
            sums = np.abs(matrix).sum(axis=1) * SLACK
            known[key] = np.ascontiguousarray(matrix, np.float32), lengths, sums
        return known[key]

    def times(self, a: Any, matrix: Any) -> Float32:
        """`a M` of rows or of one gate, M being `(g, K, H)`, `(g, t, B, H)`."""
        weights, out = np.ascontiguousarray(matrix, np.float32), self.tape.new(len(matrix))
        rows = a if a.ndim == 2 else self.tape.rows(a)
        self.tape.call(np.matmul, rows[np.newaxis], weights, by_columns(out))
        return out

    def magnitudes(self, kernel: Array, gates: list[int]) -> Magnitudes:
        """Those of some gates of a kernel, once for all tiles."""
        known, which, units = self.block.bounds, kernel is self.layer.kernel, self.layer.units
        every = [[gate] for gate in range(len(self.layer.GATES))]
        found: list[Magnitudes] = []
        for some in (gates, *every) if len(kernel) >= Magnitudes.GROUPED_FROM else (gates,):
            key = (which, *some)
            if key not in known:
                known[key] = Magnitudes(np.float32, gates_of(kernel, some, units))
            found.append(known[key])
        if len({one.grouped is None for one in found}) > 1:
            raise NotNearError  # the general way may take these gates together with others
        return found[0]

    def sizes_of(self, a: Number, gates: list[int], found: Sum) -> None:
        """The magnitude and the spread of `a W`, a being more than the observed state."""
        tape, magnitudes = self.tape, self.magnitudes(self.layer.recurrent_kernel, gates)
        size = tape.rows(tape.plus(a.size, a.radius))
        tape.highest(size[np.newaxis])
        seen = tape.seen

        def check() -> None:
            # Otherwise the general way may take other groups.
            if not 2.0**-19 < seen.max() < 2.0**19:
                raise NotNearError

        self.checks.append(check)
        found.sizes.append(self.bounded(magnitudes, size))
        if a.radius is not None:
            found.spreads.append(self.bounded(magnitudes, tape.rows(a.radius)))

    def bounded(self, magnitudes: Magnitudes, rows: Float32) -> Float32:
        """Where `|a| |M|` of rows a is bounded, `(g, t, B, H)`."""
        if magnitudes.grouped is None:
            return self.times(rows, by_gates(magnitudes.absolute, self.layer.units))
        found = np.empty((len(rows), columns(rows, True)), np.float32)
        self.tape.call(lambda: np.copyto(found, norms(rows)))
        return self.times(found, by_gates(magnitudes.grouped, self.layer.units))

    def term(self, number: Number) -> Sum:
        """A number as an addend of a sum."""
        spreads = [] if number.radius is None else [number.radius]
        size, gates = number.size, 1 if number.moved is None else len(number.moved)
        gates = max(gates, len(size), *(len(one) for one in spreads), 1)
        found = Sum(number.moved, [], (1,) * gates, [size, *spreads], spreads)

        def limits() -> tuple[Limits, Array]:
            own = number.limits
            zero = 0 * own.value
            excess = own.moved + 2 * own.most_off
            return Limits(zero, own.moved, own.radius, own.off, own.share), excess

        return self.limited_sum(found, limits)

    def total(self, a: Any, b: Any, function: Callable[..., Any]) -> Sum:
        """The sum or difference of two numbers, of which one is no ball."""
        a, b = (self.term(one) if isinstance(one, Number) else one for one in (a, b))
        found = Sum(
            self.tape.plus(a.moved, b.moved, function),
            a.columns + b.columns,
            tuple(np.add(a.terms, b.terms).tolist()),
            a.sizes + b.sizes,
            a.spreads + b.spreads,
        )

        def limits() -> tuple[Limits, Array]:
            one, two = a.limits, b.limits
            off = one.off + two.off + 2.0**-22 * (one.moved + two.moved)
            most = one.moved + two.moved + off
            share = np.maximum(one.share, two.share)
            radius = one.radius + two.radius
            return Limits(0 * off, most, radius, off, share), a.excess + b.excess

        return self.limited_sum(found, limits)

    def with_bias(self, number: Any, rows: list[list[Array]]) -> Sum:
        """A sum and a bias."""
        a: Sum = self.term(number) if isinstance(number, Number) else number
        terms = tuple(np.add(a.terms, [len(parts) for parts in rows]).tolist())
        found = Sum(a.moved, [*a.columns, self.bias_column(rows)], terms, a.sizes, a.spreads)
        return self.limited_sum(found, lambda: (a.limits, a.excess))

    def rounded(self, a: Sum, value: Any = None) -> Number:
        """A sum that is finished, as `Sum.ball` of the general way has it."""
        tape, unit = self.tape, self.arithmetic.unit_sum
        terms = np.array(a.terms)[:, np.newaxis]
        g = np.array([gamma(n, unit) for n in a.terms])[:, np.newaxis] * SLACK
        each = g[..., np.newaxis, np.newaxis]
        radius, widest = self.magnitude(a, g, terms * self.eta)
        for sizes in a.sizes:
            tape.do(np.add, radius, tape.do(np.multiply, sizes, each), radius)
        for spread in a.spreads:
            tape.do(np.add, radius, tape.do(np.multiply, spread, 1 + each), radius)
        if a.sizes or a.spreads:
            widest = tape.highest(radius)
        number = Number(tape, value, a.moved, radius)
        size = None if value is None else tape.highest(number.size)

        def limits() -> Limits:
            most = widest()
            if not most.max() < WIDEST:
                raise NotNearError
            off = a.limits.off + g * a.excess + (1 + g) * a.limits.off
            largest = np.zeros_like(off) if size is None else size()
            return Limits(largest, a.limits.moved + off, most, off, a.limits.share)

        return self.limited(number, limits)

    def magnitude(self, a: Sum, factor: Array, eta: Array) -> tuple[Float32, Numbers]:
        """`factor` times what the columns of a sum add up to, and eta, both `(g, 1)`, in a buffer
        of its own; and its largest numbers.
        """
        block, gates = self.block, len(a.terms)
        first = min([block.one, *(start for start, _ in a.columns)])
        last = max([block.one + 1, *(start + m.shape[1] for start, m in a.columns)])

        def factors() -> Array:
            found = np.zeros((gates, last - first, self.layer.units))
            for start, one in a.columns:
                found[:, start - first : start - first + one.shape[1]] += one
            found *= factor[..., np.newaxis] * (1 + gamma(last - first + 4, 2.0**-23))
            found[:, block.one - first] += eta
            return found

        some = slice(first, last)
        matrix, out = block.product(block.coefficients[:, some], factors)
        largest = self.coefficients
        return self.from_block(out), lambda: np.matmul(largest()[:, some], matrix)[:, 0] * SLACK

    # Operations.

    def called(self, call: Call) -> Any:
        """The number that a call makes."""
        if call.op == PRODUCT:
            return self.product(call)
        if call.op == ACTIVATION:
            argument = self.at(call.operands[0])
            return self.activated(self.layer.letters[call.detail], argument, call.out)
        if call.op == MULTIPLY:
            return self.multiplied(call)
        if call.op in (ADD, SUBTRACT):
            return self.added(call)
        number = self.at(call.operands[0])
        if call.op == NEGATIVE and isinstance(number, (Number, Sum)):
            return self.negative(number)
        if call.op == COPY and isinstance(number, Number):
            return number
        raise NotNearError

    def negative(self, a: Number | Sum) -> Number | Sum:
        """`-x`."""
        moved = self.tape.negative(a.moved)
        if isinstance(a, Number):
            number = Number(self.tape, lambda: self.tape.negative(a.value), moved, a.radius)
            return self.limited(number, lambda: a.limits)
        found = Sum(moved, a.columns, a.terms, a.sizes, a.spreads)
        return self.limited_sum(found, lambda: (a.limits, a.excess))

    def ball(self, place: Place) -> Number:
        """The number at a place, finished, with its value."""
        number = self.at(place)
        if isinstance(number, Sum):
            return self.rounded(number, self.recorded(place))
        if not isinstance(number, Number) or number.made is None:
            raise NotNearError
        return number

    def recorded(self, out: Place) -> Any:
        """What the replay has there, None where it was not kept."""
        if out == self.plan.results[0]:
            return self.replayed[np.newaxis, 1:]
        g = out.group
        if g not in self.plan.kept:
            return None
        if g not in self.kept:
            self.kept[g] = self.tape.new(len(self.plan.groups[g].nodes))
            self.load(self.kept[g].swapaxes(0, 1), lambda block, t, _: block.record[g][t])
        return self.kept[g][out.start : out.stop]

    def added(self, call: Call) -> Any:
        """`a + b` or `a - b`."""
        a, b = (self.at(place) for place in call.operands)
        function = np.subtract if call.op == SUBTRACT else np.add
        for one, other in ((a, b), (b, a)):
            if isinstance(one, Pending):
                if function is np.subtract or not isinstance(other, Number):
                    raise NotNearError
                if call.out != self.plan.results[self.first_hidden + one.k]:
                    raise NotNearError  # that of another state, or of none
                return self.recurrence(one, other)
            if isinstance(one, list) and isinstance(other, (Number, Sum)):
                if function is np.subtract and one is a:
                    other = self.negative(other)
                return self.with_bias(other, one)
        if not (isinstance(a, (Number, Sum)) and isinstance(b, (Number, Sum))):
            raise NotNearError
        if isinstance(a, Sum) or isinstance(b, Sum):
            return self.total(a, b, function)
        return self.sum_of(a, b, function, call.out)

    def sum_of(self, a: Number, b: Number, function: Callable[..., Any], out: Place) -> Number:
        """The sum or difference of two balls, rounded once."""
        tape, value = self.tape, self.recorded(out)
        value = tape.do(function, a.value, b.value) if value is None else value
        number = Number(tape, value, tape.plus(a.moved, b.moved, function), None)
        radius = tape.do(np.multiply, number.size, self.unit)
        for one in (a.radius, b.radius):
            radius = tape.plus(radius, one)
        number.radius = radius

        def limits() -> Limits:
            one, two = a.limits, b.limits
            off = (one.off + two.off) * SLACK + 2.0**-22 * (one.moved + two.moved)
            off = off + 2.0**-46 * (one.value + two.value) + 2 * self.eta
            size = one.value + two.value
            widest = (one.radius + two.radius + self.unit * size) * SLACK + 2 * self.eta
            share = np.maximum(one.share, two.share)
            return Limits(size, one.moved + two.moved + off, widest, off, share)

        return self.limited(number, limits)

    def multiplied(self, call: Call) -> Any:
        """`x y`, rounded once; or `p c` of a hidden state c."""
        operands = [self.at(place) for place in call.operands]
        for one, place in zip(operands, reversed(call.operands), strict=True):
            if isinstance(one, int):
                if call.out.stop - call.out.start > 1:  # two uses of a hidden state
                    raise NotNearError
                return Pending(one, self.ball(place))
        x, y = (self.ball(place) for place in call.operands)
        tape, value = self.tape, self.recorded(call.out)
        moved = None if y.moved is None else tape.do(np.multiply, x.value, y.moved)
        if x.moved is not None:
            moved = tape.plus(moved, tape.do(np.multiply, y.value, x.moved))
        # u |x y| + |x| r_y + |y| r_x + r_x r_y
        radius = tape.plus(tape.do(np.multiply, y.size, self.unit), y.radius)
        radius = tape.do(np.multiply, x.size, radius)
        if x.radius is not None:
            around = tape.plus(y.size, y.radius)
            radius = tape.plus(radius, tape.do(np.multiply, around, x.radius))
        made = (lambda: tape.do(np.multiply, x.value, y.value)) if value is None else value
        number = Number(tape, made, moved, radius, x.positive and y.positive)
        return self.limited(number, lambda: self.product_limits(x.limits, y.limits))

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

    def activated(self, activation: Activation, argument: Any, out: Place) -> Number:
        """`f(z)`, whose value is the replay's."""
        z = self.rounded(argument) if isinstance(argument, Sum) else argument
        if not isinstance(z, Number):
            raise NotNearError
        tape, y = self.tape, self.recorded(out)
        number = Number(tape, y, z.moved, z.radius, activation.name == "sigmoid")
        if activation.name != "linear":
            slope = tape.do(np.multiply, y, y)
            tape.do(np.subtract, 1.0 if activation.name == "tanh" else y, slope, slope)
            if z.radius is not None:
                # The radius of a sum is nobody else's.
                own = z.radius if isinstance(argument, Sum) else None
                number.radius = tape.do(np.multiply, slope, z.radius, own)
            if z.moved is not None:
                number.moved = tape.do(np.multiply, slope, z.moved, slope)
            allowance = tape.do(np.multiply, number.size, activation.relative * self.unit)
            if activation.absolute:
                tape.do(np.add, allowance, activation.absolute * self.unit, allowance)
            number.radius = tape.plus(number.radius, allowance)
        most = None if activation.name != "linear" else tape.highest(number.size)

        def limits() -> Limits:
            size = np.ones_like(z.limits.off) if most is None else most()
            return self.limits_of(activation, z.limits, size)

        return self.limited(number, limits)

    def limits_of(self, activation: Activation, z: Limits, size: Array) -> Limits:
        """The limits of `f(z)`, whose size is at most `size`."""
        small = (z.moved - z.share * z.radius).max() <= SMALL
        if not (small and (z.radius + z.most_off).max() < WIDEST):
            raise NotNearError
        bend, near = STEEPER * CURVATURE[activation.name], z.moved + z.off
        steepening = STEEPER * activation.steepening
        off = z.off * (2 + steepening * (z.radius + z.most_off))
        off = off + bend * near * (0.5 * near + (1 + z.share) * z.radius)
        off = (off + ROUNDING * (near + z.radius)) * SLACK + 2 * self.eta
        widest = z.radius * (1 + steepening * z.radius)
        widest = widest + (activation.relative * size + activation.absolute) * self.unit
        widest = widest * SLACK + 2 * self.eta
        # That the slope grows within the radius is a share of it as well.
        share = z.share * (1 + steepening * z.radius)
        share = share + 0.5 * steepening * z.radius * (1 + z.share)
        return Limits(size, near + off, widest, off, share)

    # Hidden states.

    def recurrence(self, pending: Pending, q: Number) -> Number:
        """`c_t = p_t c_{t-1} + q_t` of all steps, from what was carried on."""
        k, p, tape = pending.k, pending.p, self.tape
        if q.radius is None or p.radius is None:
            raise NotNearError
        c, one = np.empty_like(self.replayed), self.first_hidden + k
        self.load(c, lambda block, t, _: block.states[one, t.start : t.stop + 1])
        state = self.hidden[k] = Hidden(tape, c, p, q, self.unit)

        def limits() -> Limits:
            return state.limits(self.eta)

        moved, radius = state.states[:1], state.states[1:2]
        return self.limited(Number(tape, state.c[np.newaxis, 1:], moved, radius), limits)


class Hidden:
    """A hidden state c, `p_t c_{t-1} + q_t`, on the tape.

    `c` `(t + 1, B, H)` are the replay's. `states` `(3, t, B, H)` are by how much c is moved, its
    radius, and what has `gathered` (`Carried`), after each step; `start` `(3, B, H)` before the
    first. A `share` `(H,)` of the radius and `each` `(H,)` times what has gathered are left out.
    """

    def __init__(self, tape: Tape, c: Float32, p: Number, q: Number, unit: float) -> None:
        self.tape, self.c, self.unit, self.p, self.q = tape, c, unit, p, q
        steps, self.start = tape.shape[0], tape.new(3)[:, 0].copy()
        self.room = 1.0
        factor, self.states = tape.new(3), tape.new(3)
        self.moving(factor[:1])
        self.growing(factor[1:2])
        tape.call(np.copyto, factor[2:], factor[1:2])
        tape.call(self.states[2].fill, 1.0)
        before, work = self.start, np.empty_like(self.start)
        for t in range(steps):
            tape.call(np.multiply, factor[:, t], before, work)
            before = self.states[:, t]
            tape.call(np.add, before, work, before)
        sizes = [tape.size(moved[np.newaxis]) for moved in (self.states[0], self.start[0])]
        self.furthest = [tape.furthest(one) for one in sizes]
        ratio = tape.do(np.divide, self.states[2:], self.states[1:2])
        self.most_gathered = tape.reduced(np.maximum, ratio)
        self.widest = [tape.highest(one[np.newaxis]) for one in (self.states[1], self.start[1])]

    def moving(self, factor: Float32) -> None:
        """What c is moved by is multiplied by, and what is added to it."""
        tape, moved = self.tape, self.states[:1]
        tape.call(np.copyto, factor, self.p.value)
        by_p = 0.0 if self.p.moved is None else self.p.moved
        tape.do(np.multiply, self.c[np.newaxis, :-1], by_p, moved)
        tape.do(np.add, moved, 0.0 if self.q.moved is None else self.q.moved, moved)

    def growing(self, factor: Float32) -> None:
        """What the radius of c is multiplied by, and what is added to it."""
        tape, unit, added = self.tape, self.unit, self.states[1:2]
        size = tape.size(self.c[np.newaxis])
        self.most = tape.highest(size)
        tape.do(np.add, self.p.size, self.p.radius, factor)
        tape.do(np.multiply, factor, unit, added)
        tape.do(np.add, added, self.p.radius, added)
        tape.do(np.multiply, added, size[:, :-1], added)
        tape.do(np.add, added, self.q.radius, added)
        tape.do(np.add, added, tape.do(np.multiply, size[:, 1:], unit), added)
        tape.do(np.multiply, added, 1 + 2 * unit, added)
        tape.do(np.multiply, factor, SLACK * (1 + unit) ** 2, factor)
        self.added = np.empty_like(added[0, -1])
        tape.call(np.copyto, self.added, added[0, -1])

    def go_on(self, carried: Carried) -> None:
        """Start from what was carried on."""
        self.start[0], self.start[1] = carried.moved, carried.radius
        self.start[2] = carried.gathered
        self.before = carried

    def limits(self, eta: float) -> Limits:
        """The limits of c, which hold as long as what is left out is `narrow`.

        A step adds to the radius `r_p |c_{t-1}| + r_q` and more, and leaves out shares of these,
        and `each` beside them. What was left out before, and the radius, are multiplied by the same
        `|p| + r_p`, so that a share stays one.
        """
        p, q, u = self.p.limits, self.q.limits, self.unit
        own = np.maximum(*(one() for one in self.furthest))
        radius, most = np.maximum(*(one() for one in self.widest)), self.most()
        # What is left out of c turns out to be no more than that share of its largest radius.
        moved, apart = own + ASSUMED * radius, p.moved + 2 * p.most_off
        off = (1 + ASSUMED) * apart * radius + moved * (apart + p.radius + u) + q.off
        off = off + u * q.moved + 2.0**-22 * (p.value * moved + q.moved) + 4 * eta
        off = off + (2 * p.off + u * apart + 2.0**-22 * p.moved) * most
        self.each = np.maximum(self.before.each, off[0] * SLACK)
        self.share = np.maximum(self.before.share, np.maximum(2 * p.share, q.share)[0])
        self.most_share = np.full_like(self.share, min(self.room * self.left_out.max(), ASSUMED))
        if not self.narrow:
            raise NotNearError
        share, rounded = self.most_share[np.newaxis], 2.0**-22 * own
        return Limits(most, own + share * radius, radius, rounded, share)

    @property
    def left_out(self) -> Array:
        """What is left out of c in the block, as a share of its radius."""
        found: Array = self.share + self.each * self.most_gathered[0]
        return found * SLACK

    @property
    def narrow(self) -> bool:
        """Whether what is left out is at most what the limits take for granted."""
        share = (self.left_out <= self.most_share) & (self.before.share <= self.share)
        return bool((share & (self.before.each <= self.each)).all())

    def end(self, t: int) -> Carried:
        """The hidden state after the last step (-1), or the one before (-2)."""
        # A copy: the next tile, which may fail, is written over these.
        found = self.states[:, t] if -t <= self.states.shape[1] else self.start
        moved, radius, gathered = found.copy()
        return Carried(moved, radius, gathered, self.added.copy(), self.share, self.each)


def by_gates(matrix: Any, units: int) -> Array:
    """A kernel `(K, g H)` as `(g, K, H)`."""
    found: Array = matrix.reshape(len(matrix), -1, units).swapaxes(0, 1)
    return found


def gates_of(matrix: Array, gates: list[int], units: int) -> Array:
    """These gates of a kernel, side by side."""
    return np.concatenate([matrix[:, g * units : (g + 1) * units] for g in gates], axis=1)
