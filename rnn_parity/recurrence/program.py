"""A cell's formula as a program: a short list of NumPy calls on buffers that are made beforehand.

The formula is traced once: every number of one gate's width becomes a `Node`. Nodes that are
computed alike from neighbours, as the sigmoids of several gates, stand side by side in a `Group`
and are computed by one call. `x U` and the biases beside it are taken of many timesteps at once.
What is computed is the formula's own; only the order in which a sum's terms are added is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Lettered, Matrix, bound
from rnn_parity.recurrence.products import PANEL, Product, panels
from rnn_parity.recurrence.sequences import Dropout

# What a node may be: a leaf,
INPUT, BIAS, VECTOR, STATE, CONSTANT = "input", "bias", "vector", "state", "constant"
# or the result of an operation.
PRODUCT, ADD, SUBTRACT, MULTIPLY = "product", "add", "subtract", "multiply"
NEGATIVE, ACTIVATION, COPY = "negative", "activation", "copy"
UFUNCS: dict[str, Callable[..., Any]] = {
    ADD: np.add,
    SUBTRACT: np.subtract,
    MULTIPLY: np.multiply,
    NEGATIVE: np.negative,
    COPY: np.positive,
}
LEAVES = (INPUT, BIAS, VECTOR, STATE, CONSTANT)
PATH = 8
"""How many operations ahead are looked at to see which gates go the same way. Chosen."""


@dataclass(frozen=True, eq=False)
class Node:
    """One number of a formula, of one gate's width.

    `detail` is, of an input, its gate and the rows of the bias that are added to it, -1 for a bias
    of one axis; of a bias, that row and its gate; of a vector, its letter and its gate; of a state,
    which one; of a product with W, the gate; of a constant, the number; of an activation, its
    letter.
    """

    op: str
    operands: tuple[Node, ...] = ()
    detail: Any = None


class Tracer:
    """Makes nodes, the same one for the same number."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[Any, ...], Node] = {}

    def node(self, op: str, *operands: Node, detail: Any = None) -> Node:
        """The node of this operation."""
        return self.nodes.setdefault((op, operands, detail), Node(op, operands, detail))

    def sum(self, a: Node, b: Node) -> Node:
        """`a + b`, with the biases beside `x U` added to that, which is done once for all steps."""
        if b.op == INPUT or (b.op == ADD and b.operands[0].op == INPUT and a.op != INPUT):
            a, b = b, a
        first, rest = (a, ()) if a.op != ADD else (a.operands[0], a.operands[1:])
        if first.op != INPUT or b.op == INPUT:
            return self.node(ADD, a, b)
        if b.op == ADD and b.operands[1].op == BIAS:
            return self.sum(self.sum(a, b.operands[1]), b.operands[0])
        if b.op == BIAS:
            gate, rows = first.detail
            first = self.node(INPUT, detail=(gate, (*rows, b.detail[0])))
            return self.node(ADD, first, *rest) if rest else first
        return self.node(ADD, first, reduce(self.sum, (*rest, b)))


class Traced(Lettered):
    """A number of some gates while a formula is traced."""

    def __init__(self, tracer: Tracer, gates: Sequence[Node]) -> None:
        self.tracer, self.gates = tracer, tuple(gates)

    @property
    def shape(self) -> tuple[int]:
        """How many gates it has: as many numbers, were a unit alone."""
        return (len(self.gates),)

    def __getitem__(self, part: Any) -> Traced:
        return Traced(self.tracer, self.gates[part[-1]])

    def combined(self, op: str, a: Any, b: Any) -> Traced:
        """The results of an operation on two numbers, gate by gate."""
        gates = zip(self.nodes(a), self.nodes(b), strict=True)
        return Traced(self.tracer, [self.tracer.node(op, *pair) for pair in gates])

    def nodes(self, number: Any) -> Sequence[Node]:
        """The gates of a number, or a constant for each gate."""
        if isinstance(number, Traced):
            return number.gates
        return [self.tracer.node(CONSTANT, detail=float(number))] * len(self.gates)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, TracedBias):
            other = other.added(len(self.gates))
        if other is None:
            return self
        gates = zip(self.gates, self.nodes(other), strict=True)
        return Traced(self.tracer, [self.tracer.sum(*pair) for pair in gates])

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self.combined(SUBTRACT, self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.combined(SUBTRACT, other, self)

    def __mul__(self, other: Any) -> Any:
        return self.combined(MULTIPLY, self, other)

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return Traced(self.tracer, [self.tracer.node(NEGATIVE, one) for one in self.gates])

    def __matmul__(self, matrix: Any) -> Any:
        return matrix.product(self, matrix.columns)

    def times_w(self, columns: slice) -> Traced:
        """Its products with gates of W."""
        (one,) = self.gates
        if one.op in (VECTOR, CONSTANT):
            one = self.tracer.node(COPY, one)
        gates = range(columns.start, columns.stop)
        return Traced(self.tracer, [self.tracer.node(PRODUCT, one, detail=g) for g in gates])


class TracedBias(Lettered):
    """The bias while a formula is traced, or a row of it, or some gates; nothing if not `there`."""

    def __init__(self, tracer: Tracer, there: bool, gates: Sequence[int], row: int = -1) -> None:
        self.tracer, self.there, self.gates, self.row = tracer, there, gates, row

    @property
    def shape(self) -> tuple[int]:
        """How many gates it has."""
        return (len(self.gates),)

    def __getitem__(self, part: Any) -> TracedBias:
        if isinstance(part, int):
            return TracedBias(self.tracer, self.there, self.gates, part)
        return TracedBias(self.tracer, self.there, self.gates[part[-1]], self.row)

    def __add__(self, other: Any) -> Any:
        return other + self

    def added(self, gates: int) -> Traced | None:
        """What is added to a number of so many gates."""
        if not self.there:
            return None
        assert gates == len(self.gates)
        return Traced(
            self.tracer, [self.tracer.node(BIAS, detail=(self.row, g)) for g in self.gates]
        )


def traced(
    formula: Callable[..., Any],
    gates: int,
    states: int,
    vectors: tuple[tuple[str, int], ...],
    letters: tuple[str, ...],
    biased: bool,
) -> tuple[Node, ...]:
    """The results of a formula as nodes. `letters` are those of the activations."""
    tracer, every = Tracer(), slice(0, gates)

    def inputs(x: Any, columns: slice) -> Traced:
        of_gates = range(columns.start, columns.stop)
        return Traced(tracer, [tracer.node(INPUT, detail=(g, ())) for g in of_gates])

    def activated(letter: str) -> Callable[[Traced], Traced]:
        return lambda z: Traced(
            tracer, [tracer.node(ACTIVATION, g, detail=letter) for g in z.gates]
        )

    known: dict[str, Any] = {
        "U": Matrix(inputs, every),
        "W": Matrix(lambda z, columns: z.times_w(columns), every),
        "b": TracedBias(tracer, biased, range(gates)),
        **{
            name: Traced(tracer, [tracer.node(VECTOR, detail=(name, g)) for g in range(width)])
            for name, width in vectors
        },
        **{letter: activated(letter) for letter in letters},
    }
    numbers = [Traced(tracer, [tracer.node(STATE, detail=k)]) for k in range(states)]
    found = bound(formula, known)(Traced(tracer, ()), *numbers)
    return tuple(one.gates[0] for one in found)


@dataclass(frozen=True)
class Place:
    """Where numbers stand: the members `start` to `stop` of a group."""

    group: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Group:
    """Nodes that stand side by side: what one call may compute."""

    op: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """One call: an operation on places, of which one that stands for all members may be a single
    number, and where its results go.
    """

    op: str
    detail: Any
    operands: tuple[Place, ...]
    out: Place


@dataclass(frozen=True, eq=False)
class Plan:
    """A formula's groups, the calls that compute them in order, and where its results are.

    `uses` says how many calls and results use each member of a group.
    """

    groups: tuple[Group, ...]
    calls: tuple[Call, ...]
    results: tuple[Place, ...]
    uses: Counter[tuple[int, int]]

    @cached_property
    def kept(self) -> frozenset[int]:
        """The groups of activations and of what is multiplied, leaves left out."""
        factors = {p.group for c in self.calls if c.op in (MULTIPLY, PRODUCT) for p in c.operands}
        return frozenset(
            g
            for g, group in enumerate(self.groups)
            if group.op == ACTIVATION or (g in factors and group.op not in LEAVES)
        )


@cache
def plan_of(
    formula: Callable[..., Any],
    gates: int,
    states: int,
    vectors: tuple[tuple[str, int], ...],
    letters: tuple[tuple[str, bool], ...],
    biased: bool,
) -> Plan:
    """The plan of a formula. `letters` are those of the activations, and whether each takes many
    gates at once.
    """
    names = tuple(letter for letter, _ in letters)
    roots = traced(formula, gates, states, vectors, names, biased)
    nodes = in_order(roots)
    groups = grouped(nodes, roots, {letter for letter, together in letters if together})
    place = {
        node: Place(g, i, i + 1) for g, one in enumerate(groups) for i, node in enumerate(one.nodes)
    }
    calls = tuple(chain.from_iterable(calls_of(one, place) for one in groups))
    results = tuple(place[root] for root in roots)
    used = [place for call in calls for place in call.operands] + [*results]
    uses = Counter((p.group, i) for p in used for i in range(p.start, p.stop))
    return Plan(groups, calls, results, uses)


def plan_for(layer: Cell) -> Plan:
    """The plan of a layer's formula."""
    letters = tuple((letter, one.writes) for letter, one in layer.letters.items())
    vectors = tuple((letter, width) for letter, (_, width) in layer.VECTORS.items())
    gates, states = len(layer.GATES), len(layer.STATES)
    return plan_of(layer.formula, gates, states, vectors, letters, layer.bias is not None)


def in_order(roots: Iterable[Node]) -> list[Node]:
    """All nodes that these rest on, operands first."""
    found: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node not in found:
            for operand in node.operands:
                visit(operand)
            found[node] = None

    for root in roots:
        visit(root)
    return [*found]


def grouped(nodes: list[Node], roots: Sequence[Node], together: set[str]) -> tuple[Group, ...]:
    """The nodes in groups, those that other groups rest on first.

    In a group stand nodes of one operation on the same groups, by what becomes of them: neighbours
    that go the same way are neighbours there as well.
    """
    users: dict[Node, Node] = {}
    for node in nodes:
        for operand in node.operands:
            users.setdefault(operand, node)

    def path(node: Node) -> tuple[str, ...]:
        found: list[str] = []
        while node in users and len(found) < PATH:
            node = users[node]
            found.append(f"{node.op} {node.detail if node.op == ACTIVATION else ''}")
        return tuple(found)

    order = {node: i for i, node in enumerate(sorted(nodes, key=path))}
    depth: dict[Node, int] = {}
    members: dict[tuple[Any, ...], list[Node]] = {}
    home: dict[Node, tuple[Any, ...]] = {}
    for node in nodes:
        depth[node] = 1 + max((depth[one] for one in node.operands), default=-1)
        alone = node.op in (STATE, CONSTANT, VECTOR) or node in roots
        alone |= node.op == ACTIVATION and node.detail not in together
        which = node.operands if node.op == PRODUCT else tuple(home[n] for n in node.operands)
        letter = node.detail if node.op == ACTIVATION else None
        home[node] = (depth[node], node.op, letter, which, node if alone else None)
        members.setdefault(home[node], []).append(node)
    by_depth = sorted(members, key=lambda key: key[0])
    return tuple(
        Group(key[1], tuple(sorted(members[key], key=order.__getitem__))) for key in by_depth
    )


def calls_of(group: Group, place: dict[Node, Place]) -> Iterator[Call]:
    """The calls that compute a group: one for each run of members with neighbouring operands."""
    if group.op in LEAVES:
        return
    here, count = place[group.nodes[0]].group, len(group.nodes)
    start = 0
    while start < count:
        stop = start + 1
        while stop < count and joined(group.nodes[start : stop + 1], place):
            stop += 1
        run = group.nodes[start:stop]
        operands = tuple(
            Place(first.group, first.start, place[last].stop)
            for first, last in zip(
                (place[one] for one in run[0].operands), run[-1].operands, strict=True
            )
        )
        yield Call(group.op, run[0].detail, operands, Place(here, start, stop))
        start = stop


def joined(run: Sequence[Node], place: dict[Node, Place]) -> bool:
    """Whether each operand of these nodes is the same, or the next one in the same group."""
    for operands in zip(*(node.operands for node in run), strict=True):
        places = [place[one] for one in operands]
        first = places[0]
        same = all(one == first for one in places)
        if not same and places != [
            Place(first.group, first.start + i, first.start + i + 1) for i in range(len(places))
        ]:
            return False
    return True


class Program:
    """A layer's plan on buffers for blocks of up to `size` timesteps of `batch` samples.

    `states` is `(S, size + 1, B, H)` and `outputs` `(size, B, H)`; `run` fills them, from the
    states at 0 and the `inputs` `(size, B, F)` on. With `masked`, `hide` `(size, B, 1)` is True
    where a step is masked, and `before` `(B, H)` is the output before the first step. With
    `recorded`, what activations give and what products are made of is kept for all timesteps of a
    block, `(size, g, B, H)` for each of these groups.
    """

    def __init__(
        self,
        layer: Cell,
        dropout: Dropout,
        size: int,
        batch: int,
        *,
        masked: bool = False,
        recorded: bool = False,
    ) -> None:
        self.layer, self.dropout, self.plan = layer, dropout, plan_for(layer)
        self.size, self.batch = size, batch
        self.kept = self.plan.kept if recorded else frozenset[int]()
        units = layer.units
        self.states = np.empty((len(layer.STATES), size + 1, batch, units))
        self.hide = np.zeros((size, batch, 1), bool) if masked else None
        # Without a mask, an output that is a state is stored once.
        self.separate = masked or layer.facts.own_output
        shown = np.zeros((size + 1, batch, units)) if self.separate else self.states[0]
        self.before, self.outputs = shown[0], shown[1:]
        self.homes: dict[int, Array] = {}
        # A one beside the inputs of each step takes the bias, as the last row of the kernel.
        self.ones = np.ones((size, batch, layer.features + 1))
        self.inputs = self.ones[..., :-1]
        for g, group in enumerate(self.plan.groups):
            self.homes[g] = self.home(g, group)
        self.write_results()
        self.overwrite()
        self.calls: list[tuple[Any, ...]] = []
        self.of_step = 0

    def home(self, g: int, group: Group) -> Array:
        """Where the numbers of a group are: `(g, B, H)`, or `(size, g, B, H)` for each timestep."""
        units, count, one = self.layer.units, len(group.nodes), group.nodes[0]
        if group.op == INPUT:
            return self.input_home(group)
        if group.op == STATE:
            return self.states[one.detail, :-1, np.newaxis]
        if group.op == CONSTANT:
            return np.full((1, 1, 1), one.detail)
        if group.op == VECTOR:
            letter, g = one.detail
            vector: Array = self.layer.vectors[letter][g * units : (g + 1) * units]
            return vector[np.newaxis, np.newaxis]
        if group.op == BIAS:
            parts = [self.bias_row(row, gate) for row, gate in (n.detail for n in group.nodes)]
            return np.asarray(np.stack(parts)[:, np.newaxis])
        steps = (self.size,) if g in self.kept else ()
        if group.op == PRODUCT:  # as the product has it, row by row
            return np.asarray(np.empty((*steps, self.batch, count, units)).swapaxes(-3, -2))
        return np.empty((*steps, count, self.batch, units))

    def bias_row(self, row: int, gate: int) -> Array:
        """A gate's part of a row of the bias, `(H,)`."""
        bias, units = self.layer.bias, self.layer.units
        assert bias is not None
        found: Array = bias if row < 0 else bias[row]
        return found[gate * units : (gate + 1) * units]

    def input_home(self, group: Group) -> Array:
        """Where `x U` with its biases goes, `(size, g, B, H)`."""
        gates, units = [node.detail[0] for node in group.nodes], self.layer.units
        zero = np.zeros(units)
        self.input_bias = np.concatenate(
            [
                sum((self.bias_row(row, gate) for row in rows), zero)
                for gate, rows in (node.detail for node in group.nodes)
            ]
        )
        self.kernel = self.product(self.layer.kernel, self.dropout.inputs, gates, self.input_bias)
        self.sums = np.empty((self.size, self.batch, len(self.input_bias)))
        by_gates = self.sums.reshape(self.size, self.batch, len(gates), units)
        return np.asarray(by_gates.swapaxes(1, 2))

    def product(
        self, matrix: Array, masks: Array | None, gates: list[int], last: Array | None = None
    ) -> Product:
        """The products with these gates of a kernel, in this order; `last` is one more row."""
        units, every = self.layer.units, range(self.layer.width // self.layer.units)
        if last is not None or gates != [*every]:
            found = np.empty((len(matrix) + (last is not None), len(gates) * units))
            for i, g in enumerate(gates):
                found[: len(matrix), i * units : (i + 1) * units] = matrix[:, g * units :][
                    :, :units
                ]
            found[len(matrix) :] = last
            matrix = found
        return Product(self.layer, matrix, None if masks is None else masks[gates])

    def write_results(self) -> None:
        """Let results be written where they are wanted; what is a result twice is copied."""
        own = self.layer.facts.own_output
        wanted = [self.outputs] * own + [one[1:] for one in self.states]
        self.copies: list[tuple[Array, Place]] = []
        taken: set[int] = set()
        for place, target in zip(self.plan.results, wanted, strict=True):
            op = self.plan.groups[place.group].op
            if op in LEAVES or op == PRODUCT or place.group in taken:
                self.copies.append((target, place))
                continue
            taken.add(place.group)
            self.homes[place.group] = target[:, np.newaxis]
        self.given = taken

    def overwrite(self) -> None:
        """Let elementwise results take the place of an operand that nothing else uses."""
        for call in self.plan.calls:
            out, nodes = call.out, self.plan.groups[call.out.group].nodes
            whole = out.stop - out.start == len(nodes)
            own = call.op == PRODUCT or out.group in self.kept or out.group in self.given
            if own or not whole:
                continue
            for place in filter(self.free, call.operands):
                part = self.homes[place.group][place.start : place.stop]
                if len(part) == len(nodes):
                    self.homes[out.group] = part

    def free(self, place: Place) -> bool:
        """Whether what stands there is used once only, and where anything may be written."""
        once = all(self.plan.uses[place.group, i] == 1 for i in range(place.start, place.stop))
        scratch = self.plan.groups[place.group].op not in (*LEAVES, PRODUCT)
        return once and scratch and self.homes[place.group].ndim == 3

    def run(self, x: Array) -> None:
        """Take the steps of x `(t, B, F)`: `inputs`, or what the layer makes of them."""
        count = len(x)
        with np.errstate(all="ignore"):  # infinities and NaN are results like others
            self.project(x)
            if not self.calls:
                self.bind(count if count < self.size else self.size)
            for function, operands in self.calls[: count * self.of_step]:
                function(*operands)

    def project(self, x: Array) -> None:
        """`x U` and the biases beside it, of all timesteps."""
        sums = self.sums[: len(x)]
        if self.kernel.plain:
            rows = self.ones[: len(x)].reshape(-1, self.ones.shape[-1])
            np.dot(rows, self.kernel.matrix, sums.reshape(len(rows), -1))
        else:
            weights = Product(self.layer, self.kernel.matrix[:-1], self.kernel.masks)
            np.add(weights(x, slice(0, sums.shape[-1])), self.input_bias, out=sums)

    def bind(self, size: int) -> None:
        """The calls of each step on their arrays, one step after the other."""
        steps = [self.bound(call, size) for call in self.plan.calls]
        steps += [
            in_steps(np.copyto, target, self.views(place, size)) for target, place in self.copies
        ]
        if self.separate and not self.layer.facts.own_output:
            steps.append(in_steps(np.copyto, self.outputs, self.states[0, 1:]))
        if self.hide is not None:
            steps += self.hiding(self.hide)
        self.of_step = len(steps)
        self.calls = [*chain.from_iterable(zip(*steps, strict=False))]

    def hiding(self, hide: NDArray[np.bool_]) -> Iterator[Iterator[tuple[Any, ...]]]:
        """A masked step keeps the states and repeats the output, or shows zeros."""
        shown = repeat(0.0) if self.layer.zero_output_for_mask else [self.before, *self.outputs]
        pairs = [*((one[1:], one) for one in self.states), (self.outputs, shown)]
        for target, hidden in pairs:
            yield in_steps(np.copyto, target, hidden, repeat("same_kind"), hide)

    def bound(self, call: Call, size: int) -> Iterator[tuple[Any, ...]]:
        """A call in every step."""
        operands = [self.views(place, size) for place in call.operands]
        out = self.views(call.out, size)
        if call.op == PRODUCT:
            return self.bound_product(call, operands)
        if call.op == ACTIVATION:
            return in_steps(written(self.layer.letters[call.detail]), *operands, out)
        return in_steps(UFUNCS[call.op], *operands, out)

    def bound_product(
        self, call: Call, operands: list[Iterable[Array]]
    ) -> Iterator[tuple[Any, ...]]:
        """A product with gates of W in every step."""
        gates = [node.detail for node in self.plan.groups[call.out.group].nodes]
        product = self.product(self.layer.recurrent_kernel, self.dropout.state, gates)
        home = self.homes[call.out.group].swapaxes(-3, -2)
        rows = home.reshape(*home.shape[:-2], -1)
        if not product.plain:
            return in_steps(filled(product), *operands, by_step(rows, 2))
        by_panels = panels(product.matrix, self.batch)
        if by_panels is not None:
            out = rows.reshape(*rows.shape[:-1], -1, PANEL).swapaxes(-3, -2)
            return in_steps(np.matmul, *operands, repeat(by_panels), by_step(out, 3))
        # BLAS multiplies a few rows, or one, by a matrix faster in this order.
        matrix = np.asarray(product.matrix, order="C" if self.batch > 1 else "F")
        return in_steps(np.dot, *operands, repeat(matrix), by_step(rows, 2))

    def views(self, place: Place, size: int) -> Iterable[Array]:
        """The numbers at a place, in every step: `(B, H)` of one member, `(g, B, H)` of several."""
        home, part = self.homes[place.group], slice(place.start, place.stop)
        single = place.stop - place.start == 1
        if home.ndim == 3:
            return repeat(home[place.start] if single else home[part], size)
        return iter(home[:size, place.start] if single else home[:size, part])

    def record(self, count: int) -> dict[int, Array]:
        """What was kept of the first `count` steps, by groups, `(t, g, B, H)`."""
        return {g: self.homes[g][:count] for g in self.kept}


def in_steps(function: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """The function with its arguments in each step; what is the same in all may go on for ever."""
    return zip(repeat(function), zip(*arguments, strict=False), strict=False)


def by_step(array: Array, axes: int) -> Iterable[Array]:
    """An array in every step: the one that there is, or one for each, along a further axis."""
    return repeat(array) if array.ndim == axes else array


def filled(product: Product) -> Callable[[Array, Array], None]:
    """A product that is written to its second argument."""

    def function(a: Array, rows: Array) -> None:
        rows[...] = product(a, slice(0, rows.shape[-1]))

    return function


def written(activation: Activation) -> Callable[[NDArray[Any], NDArray[Any]], Any]:
    """An activation that writes where it is told."""
    if activation.quiet is not None:
        return activation.quiet
    return activation.function if activation.writes else activation.__call__
