"""The step of a cell to first order in its weights: one equation for every observed output.

All weights of a unit stand in one column, the unknowns; the columns of all units side by side are
`(P, H)`. A column is made of pieces: what is added up in one argument of a gate, `x U + h W + b`,
or one part of that where the formula does something else with each. To first order, a step residual
is `sum over pieces of slope * (design @ change)`, with the slopes that the formula itself gives on
first-order numbers. What changes a hidden state stays in it: `m_t = injected + forget m_{t-1}`, for
an LSTM's c off by `m_t`. What reaches the outputs through W, as the reset gate of a GRU without
`reset_after`, reaches every unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.first_order import STATE, Derivative, FirstOrder, Key, Term, derivative
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import scan
from rnn_parity.errors import UnsupportedError
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.products import Product, rows_by
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences
from rnn_parity.recurrence.time_loop import Block, step_on_arrays

Columns = tuple[Array, ...]


@dataclass(frozen=True)
class Piece:
    """What is added up in one argument of a gate: `inputs U`, `h W`, and the rows of the bias."""

    gate: int
    inputs: bool
    state: bool
    bias: tuple[int, ...]

    def rows(self, layer: Cell) -> int:
        """How many rows of a column it has."""
        states = len(layer.recurrent_kernel) * self.state
        return layer.features * self.inputs + states + bool(self.bias)

    @property
    def terms(self) -> Key:
        """The terms whose derivative is that of the piece."""
        parts = ["U"] * self.inputs + ["W"] * self.state + [f"b{row}" for row in self.bias]
        return frozenset((part, self.gate) for part in parts)


PIECES: dict[Callable[..., Any], tuple[Piece, ...]] = {}
"""The pieces of each formula that was asked for."""


def pieces(layer: Cell) -> tuple[Piece, ...]:
    """The pieces of a column, from the top: gate by gate, those with inputs first.

    Raises `UnsupportedError` for a formula whose derivative has more parts than an equation has.
    """
    formula = layer.formula
    if formula not in PIECES:
        PIECES[formula] = tuple(pieces_of(layer))
    return PIECES[formula]


def has_equations(layer: Cell) -> bool:
    """Whether a formula's derivative has no more parts than an equation has."""
    try:
        return bool(pieces(layer))
    except UnsupportedError:
        return False


def pieces_of(layer: Cell) -> Iterator[Piece]:
    """The pieces of a formula, from its derivative in a layer of one unit."""
    one = small(layer)
    number, projection = np.zeros((1, 1, 1)), np.zeros((1, 1, one.width))
    hidden = (number,) * len(layer.hidden)
    h = None if layer.facts.own_output else number
    found = derivative(one, projection, h, hidden, Product(one, one.recurrent_kernel))
    keys = [key for key in keys_of(found) if not any(kind == STATE for kind, _ in key)]
    for gate in range(len(layer.GATES)):
        groups: dict[frozenset[int], list[str]] = {}
        for term in sorted({term for key in keys for term in key if term[1] == gate}):
            within = frozenset(i for i, key in enumerate(keys) if term in key)
            groups.setdefault(within, []).append(term[0])
        for names in sorted(groups.values(), key=lambda names: "U" not in names):
            rows = tuple(int(name[1:]) for name in names if name[0] == "b")
            yield Piece(gate, "U" in names, "W" in names, rows)


def small(layer: Cell) -> Cell:
    """A layer of one unit and one feature with this formula."""
    ones = np.ones((1, len(layer.GATES)))
    rows = (layer.facts.bias_rows,) * bool(layer.facts.bias_rows)
    vectors = {name: np.ones(width) for name, width in layer.VECTORS.values()}
    bias = np.zeros((*rows, len(layer.GATES)))
    return layer.changed(kernel=ones, recurrent_kernel=ones, bias=bias, **vectors)


def keys_of(found: Derivative) -> list[Key]:
    """All keys of a derivative."""
    keys: dict[Key, None] = {}
    for number in (found.output, *found.hidden):
        keys.update(dict.fromkeys([*number.plain, *number.slopes]))
        keys.update(dict.fromkeys(one.key for one in number.mixed))
    return [*keys]


def stacked(layer: Cell) -> Array:
    """The weights of all units, `(P, H)`; zeros for no bias."""
    parts = []
    for piece in pieces(layer):
        columns = slice(piece.gate * layer.units, (piece.gate + 1) * layer.units)
        parts += [layer.kernel[:, columns]] * piece.inputs
        parts += [layer.recurrent_kernel[:, columns]] * piece.state
        if piece.bias:
            parts.append(sum_of_rows(layer, piece.bias, columns))
    return np.concatenate(parts)


def sum_of_rows(layer: Cell, rows: tuple[int, ...], columns: slice) -> Array:
    """What these rows of the bias add up to, `(1, H)`."""
    if layer.bias is None:
        return np.zeros((1, layer.units))
    bias = layer.bias[..., columns]
    total: Array = bias[np.newaxis] if bias.ndim == 1 else bias[list(rows)].sum(0, keepdims=True)
    return total


def where(layer: Cell, k: int, j: int) -> tuple[str, tuple[int, ...]]:
    """The name and the index of a weight from its place in `stacked`."""
    for piece in pieces(layer):
        if k < piece.rows(layer):
            break
        k -= piece.rows(layer)
    column = piece.gate * layer.units + j
    if piece.inputs and k < layer.features:
        return "kernel", (k, column)
    k -= layer.features * piece.inputs
    if piece.state and k < layer.units:
        return "recurrent_kernel", (k, column)
    return "bias", (piece.bias[0], column) if layer.facts.bias_rows else (column,)


def value(layer: Cell, k: int, j: int) -> float:
    """The weight at that place, 0 for no bias."""
    name, index = where(layer, k, j)
    array = getattr(layer, name)
    return 0.0 if array is None else float(array[index])


def changed_at(layer: Cell, values: dict[tuple[int, int], float]) -> Cell:
    """The layer with other values at these places of `stacked`."""
    arrays: dict[str, Array] = {}
    for (k, j), new in values.items():
        name, index = where(layer, k, j)
        if name not in arrays:
            old, rows = getattr(layer, name), layer.facts.bias_rows
            empty = np.zeros((rows, layer.width) if rows else layer.width)
            arrays[name] = empty if old is None else old.copy(order="K")
        arrays[name][index] = new
    return layer.changed(**arrays)


@dataclass(frozen=True, eq=False)
class ThroughW:
    """What goes through W: `gain * ((slope * change) @ matrix)`, arrays `(t, B, H)` and `(H, H)`.

    The change is that of piece `source`, or of hidden state `source` in the step before; what it
    changes is hidden state `target`, or the output, which is -1.
    """

    target: int
    source: int
    slope: Array
    matrix: Array
    gain: Array

    def forward(self, t: Any, change: Array, sign: Callable[[Any], Any] = np.positive) -> Array:
        """What a change makes of the target in the timesteps t."""
        inside = (sign(self.slope[t]) * change) @ sign(self.matrix)
        found: Array = sign(self.gain[t]) * inside
        return found

    def backward(self, t: Any, owed: Array) -> Array:
        """What the source owes, where the target owes that much."""
        found: Array = ((owed * self.gain[t]) @ self.matrix.T) * self.slope[t]
        return found

    def own(self) -> Array:
        """How a unit moves itself, `(t, B, H)`."""
        found: Array = self.gain * self.slope * np.diag(self.matrix)
        return found


def joined_through(parts: Sequence[tuple[ThroughW, ...]]) -> tuple[ThroughW, ...]:
    """What goes through W in timesteps that follow each other."""
    return tuple(
        replace(
            one[0],
            slope=np.concatenate([part.slope for part in one]),
            gain=np.concatenate([part.gain for part in one]),
        )
        for one in zip(*parts, strict=True)
    )


@dataclass(frozen=True, eq=False)
class Memory:
    """Hidden states to first order, K of them: `m_t = injected_t + forget_t m_{t-1}`.

    `slopes` `(K, t, B, H)` are, for each piece, what its change injects; `forget` is
    `(K, K, t, B, H)`, `shows` `(K, t, B, H)` what the output owes to the states before a step.
    """

    slopes: Columns
    forget: Array
    shows: Array
    through: tuple[ThroughW, ...] = ()

    def carried(self, t: int, m: Array) -> Any:
        """What is left of `m` `(K, B, H)` after timestep t."""
        left = np.asarray((self.forget[:, :, t] * m).sum(axis=1))
        for one in self.through:
            if one.target >= 0:
                left[one.target] += one.forward(t, m[one.source])
        return np.asarray(left)

    def shown(self, injected: Array) -> Any:
        """How the outputs change, `(t, B, H)`, when `injected` `(K, t, B, H)` is in the states."""
        m, found = np.zeros_like(injected[:, 0]), np.empty_like(injected[0])
        for t in range(len(found)):
            found[t] = (self.shows[:, t] * m).sum(axis=0)
            for one in self.through:
                if one.target < 0:
                    found[t] += one.forward(t, m[one.source])
            m = injected[:, t] + self.carried(t, m)
        return found

    def owed(self, residual: Array) -> Array:
        """What the later outputs owe to each injection, `(K, t, B, H)`: backwards in time."""
        found = np.empty_like(self.shows)
        later = np.zeros_like(found[:, 0])
        for t in range(len(residual))[::-1]:
            found[:, t] = later
            before = (self.forget[:, :, t] * later[:, np.newaxis]).sum(axis=0)
            before += self.shows[:, t] * residual[t]
            for one in self.through:
                owing = residual[t] if one.target < 0 else later[one.target]
                before[one.source] += one.backward(t, owing)
            later = before
        return found

    def column(self, injected: Array, j: int) -> Any:
        """How unit j's output changes, `(t, B, N)`, by what N columns inject `(K, t, B, N)`."""
        forget, shows = self.forget[..., [j]].copy(), self.shows[..., [j]].copy()
        for one in self.through:
            to = shows if one.target < 0 else forget[one.target]
            to[one.source] += one.own()[..., [j]]
        m = np.zeros_like(injected)  # before each timestep
        if len(m) == 1:
            m[0, 1:] = scan(forget[0, 0, :-1], injected[0, :-1])
        else:
            for t in range(m.shape[1] - 1):
                m[:, t + 1] = injected[:, t] + (forget[:, :, t] * m[:, t]).sum(axis=1)
        return (shows * m).sum(axis=0)

    @cached_property
    def kept(self) -> Any:
        """What is left of a residual in the next step's, `(t - 1, B, H)`, of one state alone."""
        if len(self.shows) > 1 or self.through:
            return None
        forget, shows = self.forget[0, 0], self.shows[0]
        kept = shows[1:] * forget[:-1] / shows[:-1]
        return np.asarray(np.clip(np.nan_to_num(kept, posinf=0, neginf=0), -1, 1))

    def joined(self, others: Sequence[Memory]) -> Memory:
        """This and what follows it in time."""
        every = (self, *others)
        slopes = zip(*(m.slopes for m in every), strict=True)
        return Memory(
            tuple(np.concatenate(parts, axis=1) for parts in slopes),
            np.concatenate([m.forget for m in every], axis=2),
            np.concatenate([m.shows for m in every], axis=1),
            joined_through([m.through for m in every]),
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """The equations of some timesteps, time first: arrays are `(t, B, ...)`.

    `designs` `(t, B, K)` and `slopes` `(t, B, H)` stand in the order of the pieces; `residual` and
    the `observed` outputs are `(t, B, H)`. What pieces change through W is in `through`, and what
    they change in hidden states in the `memory`. A timestep that is masked or not finite gives
    equations of zeros.
    """

    designs: Columns
    slopes: Columns
    residual: Array
    observed: Array
    good: NDArray[np.bool_]
    through: tuple[ThroughW, ...] = ()
    memory: Memory | None = None

    @property
    def count(self) -> int:
        """The number of timesteps, of all samples, that give equations."""
        return int(self.good.sum())

    @property
    def sizes(self) -> list[int]:
        """How many weights of a unit each piece has."""
        return [design.shape[2] for design in self.designs]

    @property
    def biases(self) -> NDArray[np.intp]:
        """The places of the pieces' last weights in a column: the biases, where they have one."""
        return np.cumsum(self.sizes) - 1

    @property
    def mixed(self) -> frozenset[int]:
        """The pieces that reach the outputs of all units."""
        return frozenset(one.source for one in self.through)

    @property
    def groups(self) -> NDArray[np.intp]:
        """For each place of a column, `(P,)`: 0, or, in a mixed piece p, p + 1."""
        return np.repeat([(p + 1) * (p in self.mixed) for p in range(len(self.sizes))], self.sizes)

    def once(self) -> Rows:
        """Without steps that were computed before, from the same input and state: they err alike.

        Where a memory is not observed, no two steps are known to be the same.
        """
        if self.memory is not None or different(self.observed[..., 0]):
            return self
        designs = {id(design): design for design in self.designs}
        given = np.concatenate([flattened(a) for a in (*designs.values(), self.observed)], axis=1)
        first = {hash(row.tobytes()): i for i, row in reversed([*enumerate(given)])}
        new = np.isin(np.arange(len(given)), [*first.values()]).reshape(self.good.shape)
        return replace(self.scaled(new[..., np.newaxis] * 1.0), good=self.good & new)

    @property
    def beginning(self) -> Rows:
        """The equations of the first timestep, before which a memory has kept nothing."""
        through = tuple(replace(o, slope=o.slope[:1], gain=o.gain[:1]) for o in self.through)
        return Rows(
            tuple(design[:1] for design in self.designs),
            tuple(slope[:1] for slope in self.slopes),
            self.residual[:1],
            self.observed[:1],
            self.good[:1],
            through,
        )

    def scaled(self, factor: NDArray[Any]) -> Rows:
        """Both sides of each equation, times a factor `(t, B, H)` or `(t, B, 1)`."""
        through = tuple(replace(one, gain=one.gain * factor) for one in self.through)
        memory = self.memory
        if memory is not None:
            inside = tuple(
                replace(one, gain=one.gain * factor) if one.target < 0 else one
                for one in memory.through
            )
            memory = replace(memory, shows=memory.shows * factor, through=inside)
        return replace(
            self,
            residual=self.residual * factor,
            slopes=tuple(slope * factor for slope in self.slopes),
            through=through,
            memory=memory,
        )

    def of_biases(self, layer: Cell) -> Rows:
        """These equations with one unknown for each piece, its bias; zeros where it has none."""
        designs = tuple(
            design[..., -1:] * bool(piece.bias)
            for design, piece in zip(self.designs, pieces(layer), strict=True)
        )
        return replace(self, designs=designs)

    def parts(self, columns: Array) -> list[Array]:
        """Columns `(P, H)` piece by piece."""
        return np.split(columns, np.cumsum(self.sizes)[:-1])

    @np.errstate(all="ignore")
    def even(self, bound: Array) -> Rows:
        """These equations, each over its step's bound `(t, B, H)`: otherwise large numbers decide
        alone, or a handful of subnormal ones.
        """
        good = np.isfinite(bound) & (bound > 0)
        return self.scaled(np.divide(1.0, bound, out=np.zeros_like(self.residual), where=good))

    def size(self, weights: Array) -> Array:
        """The absolute terms of each step, times the slopes: what its rounding grows with."""
        designs = {id(design): np.abs(design).astype(np.float32) for design in self.designs}
        terms = [
            rows_by(designs[id(design)], weight.astype(np.float32)).astype(np.float64)
            for design, weight in zip(self.designs, self.parts(np.abs(weights)), strict=True)
        ]
        return self.in_the_step(terms, np.abs)

    def in_the_step(
        self, changes: Sequence[Array | None], sign: Callable[[Any], Any] = np.positive
    ) -> Array:
        """What changes of the pieces' arguments are in the output of the same step."""
        found: Array = np.zeros_like(self.residual)
        for slope, change in zip(self.slopes, changes, strict=True):
            if change is not None:
                found += sign(slope) * change
        for one in self.through:
            change = changes[one.source]
            if change is not None:
                found += one.forward(slice(None), change, sign)
        return found

    def but_weights(self, change: Array) -> Rows:
        """These equations, had the weights been others by `change`, to first order."""
        if not change.any():
            return self
        return replace(self, residual=self.residual - self.changed(change))

    def changed(self, change: Array) -> Array:
        """How the outputs would change, `(t, B, H)`, were the weights others by `change`."""
        pairs = zip(self.designs, self.parts(change), strict=True)
        return self.shown([rows_by(d, w) for d, w in pairs])

    def shown(self, changes: Sequence[Array | None]) -> Array:
        """How the outputs change, `(t, B, H)`, when the pieces' arguments change by so much."""
        found = self.in_the_step(changes)
        if self.memory is not None:
            injected = np.zeros_like(self.memory.shows)
            for slopes, change in zip(self.memory.slopes, changes, strict=True):
                if change is not None:
                    injected += slopes * change
            found += self.memory.shown(injected)
        return found

    def weighted(self) -> Columns:
        """Each residual times what its output owes to a piece's argument, `(t, B, H)`."""
        every = [self.residual * slope for slope in self.slopes]
        for one in self.through:
            every[one.source] = every[one.source] + one.backward(slice(None), self.residual)
        if self.memory is not None:
            owed = self.memory.owed(self.residual)
            every = [
                shown + (slopes * owed).sum(axis=0)
                for shown, slopes in zip(every, self.memory.slopes, strict=True)
            ]
        return tuple(every)

    @property
    def gradient(self) -> Array:
        """How the weights would have to change for smaller residuals, `(P, H)`."""
        pairs = zip(self.designs, self.weighted(), strict=True)
        return np.concatenate([flattened(d).T @ flattened(w) for d, w in pairs])

    @property
    def explained(self) -> Array:
        """How much of the squares of all residuals each weight alone would explain, `(P, H)`.

        Of a memory only what shows in the first step is counted.
        """
        shows = [slope**2 for slope in self.slopes]
        for one in self.through:
            squared = one.slope**2 * (one.gain**2 @ (one.matrix**2).T)
            shows[one.source] = shows[one.source] + squared
        pairs = zip(self.designs, shows, strict=True)
        sizes = np.concatenate([flattened(d**2).T @ flattened(s) for d, s in pairs])
        explained: Array = np.nan_to_num(self.gradient**2 / sizes, posinf=0.0)
        return explained

    def with_rows(self, rows: slice) -> Rows:
        """The equations for some rows of each piece alone, such as those of the inputs."""
        part = {id(design): design[..., rows] for design in self.designs}
        return replace(self, designs=tuple(part[id(design)] for design in self.designs))

    def of_unit(self, j: int, group: int = 0) -> tuple[Array, Array]:
        """The equations for unit j's column alone: a matrix `(N, P)` and a right-hand side `(N,)`.

        Of `group` 0, one for each output of the unit, without the mixed pieces, whose unit j
        reaches the outputs of all units; of group p + 1, the mixed piece p alone, with one equation
        for all outputs of a timestep.
        """
        columns = [np.zeros((self.good.size, design.shape[2])) for design in self.designs]
        if group:
            columns[group - 1], residual = self.of_mixed(j, group - 1)
            return np.concatenate(columns, axis=1), residual
        for p, (design, slopes) in enumerate(zip(self.designs, self.slopes, strict=True)):
            if p in self.mixed:
                continue
            column = slopes[..., [j]] * design
            if self.memory is not None and self.memory.slopes[p][..., j].any():
                column += self.memory.column(self.memory.slopes[p][..., [j]] * design, j)
            columns[p] = flattened(column)
        return np.concatenate(columns, axis=1), self.residual[..., j].ravel()

    def of_mixed(self, j: int, p: int) -> tuple[Array, Array]:
        """The columns of unit j in the mixed piece p, and the residuals that they show in."""
        factor = np.zeros_like(self.residual)
        factor[..., j] = self.slopes[p][..., j]
        for one in self.through:
            if one.source == p:
                factor += one.slope[..., [j]] * one.matrix[j] * one.gain
        size = np.sqrt((factor**2).sum(axis=2))
        total = (factor * self.residual).sum(axis=2)
        residual = np.divide(total, size, out=np.zeros_like(size), where=size > 0)
        return flattened(size[..., np.newaxis] * self.designs[p]), residual.ravel()

    def news(self, a: Array, units: slice = slice(None)) -> Array:
        """`a` `(t, B, H)`, on either side of the equations, less what a memory kept of the step
        before: what c was off by it stays off by, so that errors go together in time.
        """
        kept = None if self.memory is None else self.memory.kept
        if kept is None:
            return a
        found: Array = a.copy()
        found[1:] -= kept[..., units] * a[:-1]
        return found

    @property
    def of_news(self) -> Rows:
        """The equations whose `weighted` and `gradient` are those of the news on both sides."""
        kept = None if self.memory is None else self.memory.kept
        if kept is None:
            return self
        residual = self.news(self.residual)
        return replace(
            self, residual=np.concatenate([residual[:-1] - kept * residual[1:], residual[-1:]])
        )


def different(a: Array) -> bool:
    """Whether all are numbers, and none is there twice."""
    ordered = np.sort(a, axis=None)
    return bool((ordered[1:] > ordered[:-1]).all())


def flattened(a: Array) -> Array:
    """`(t, B, K)` as `(t B, K)`."""
    return a.reshape(-1, a.shape[-1])


def joined(rows: list[Rows]) -> Rows:
    """The equations of timesteps that follow each other."""
    first = rows[0]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(r, name) for r in rows])
        for name in ("residual", "observed", "good")
    }
    slopes = zip(*(r.slopes for r in rows), strict=True)
    joined["slopes"] = tuple(np.concatenate(arrays) for arrays in slopes)
    joined["through"] = joined_through([r.through for r in rows])
    if first.memory is not None:
        joined["memory"] = first.memory.joined([r.memory for r in rows[1:] if r.memory])
    # Most pieces have the same design: one copy does.
    designs: dict[int, Array] = {}
    for p, design in enumerate(first.designs):
        if id(design) not in designs:
            designs[id(design)] = np.concatenate([r.designs[p] for r in rows])
    joined["designs"] = tuple(designs[id(design)] for design in first.designs)
    return replace(first, **joined)


class Equations:
    """The equations of a layer, block after block: its hidden states are carried along.

    Of a layer that is cut to some `units` of its own, where W multiplies the states of all.
    """

    def __init__(
        self, layer: Cell, sequences: Sequences, units: NDArray[np.intp] | slice = slice(None)
    ) -> None:
        self.layer, self.dropout, self.units = layer, sequences.dropout, units
        initial = sequences.initial_state[..., units]
        self.hidden = initial[len(layer.STATES) - len(layer.hidden) :]
        self.times_w = Product(layer, layer.recurrent_kernel, sequences.dropout.state)

    @np.errstate(all="ignore")
    def of_block(self, block: Block, observed: Observed) -> Rows:
        """The equations of a block's timesteps."""
        every_h, keep = observed.states[:-1], observed.keep
        h, seen = every_h[..., self.units], observed.outputs[..., self.units]
        given = None if self.layer.facts.own_output else h
        hidden = self.walked(block, every_h, keep)
        found = derivative(self.layer, block.projection, given, hidden, self.by_w(every_h, h))
        operands = {g: every_h if a is h else a for g, a in found.operands.items()}
        good = np.asarray(np.isfinite(seen + found.output.value).all(axis=2))
        if keep is not None:
            good &= keep[..., 0]
        every = good[..., np.newaxis]

        def kept(a: Array) -> Array:
            return np.where(every, a, 0.0)

        parts = pieces(self.layer)
        return Rows(
            designs=self.designs(block.inputs, operands, every),
            slopes=tuple(kept(slope_of(found.output, piece.terms)) for piece in parts),
            residual=kept(seen - found.output.value),
            observed=kept(seen),
            good=good,
            through=tuple(self.through(found.output, -1, parts, every)),
            memory=self.memory(found, parts, every) if hidden else None,
        )

    def by_w(self, every: Array, own: Array) -> Callable[[Array, slice], Array]:
        """How a formula multiplies by W: its `own` state stands for that of all units."""
        return lambda a, columns: self.times_w(every if a is own else a, columns)

    def walked(
        self, block: Block, every_h: Array, keep: NDArray[np.bool_] | None
    ) -> tuple[Array, ...]:
        """The hidden states `(t, B, H)` before each step, which start from the observed h."""
        if not len(self.hidden):
            return ()
        before = []
        own_output = self.layer.facts.own_output
        for t, x in enumerate(block.projection):
            before.append(self.hidden)
            own = every_h[t][..., self.units]
            step = step_on_arrays(self.layer, self.dropout, self.by_w(every_h[t], own))
            given = () if own_output else (own,)
            new = np.stack(step(x, *given, *self.hidden)[1:])
            self.hidden = new if keep is None else np.where(keep[t], new, self.hidden)
        return tuple(np.stack(before).swapaxes(0, 1))

    def designs(
        self, x: Array, multiplied: Mapping[int, Array], every: NDArray[np.bool_]
    ) -> Columns:
        """What stands before the weights of each piece: x, what W is multiplied by, and 1."""
        one = np.ones((*x.shape[:2], 1))
        x = np.where(every, x, 0.0)
        operands = {id(a): np.where(every, a, 0.0) for a in multiplied.values()}
        made: dict[tuple[Any, ...], Array] = {}
        parts = []
        for piece in pieces(self.layer):
            gate, whose = piece.gate, id(multiplied.get(piece.gate))
            # Without dropout, most gates have the same design.
            own = None if self.dropout is NO_DROPOUT else gate
            key = piece.inputs, piece.state and whose, bool(piece.bias), own
            if key not in made:
                xs = [masked(x, self.dropout.inputs, gate)] * piece.inputs
                hs = [masked(operands[whose], self.dropout.state, gate)] if piece.state else []
                made[key] = np.concatenate([*xs, *hs, *[one] * bool(piece.bias)], axis=2)
            parts.append(made[key])
        return tuple(parts)

    def through(
        self,
        number: FirstOrder,
        target: int,
        parts: Sequence[Piece],
        every: NDArray[np.bool_],
        states: bool = False,
    ) -> Iterator[ThroughW]:
        """What goes through W into a number: of the pieces, or of the hidden states."""
        terms = [frozenset({(STATE, k)}) for k in range(len(self.layer.hidden))]
        sources = terms if states else [piece.terms for piece in parts]
        for one in number.mixed:
            gain = np.ones(number.shape) if one.gain is None else one.gain
            for source, wanted in enumerate(sources):
                if wanted and wanted <= one.key:
                    gained = np.where(every, gain, 0.0)
                    slope = np.where(every, one.slope, 0.0)
                    yield ThroughW(target, source, slope, one.matrix, gained)

    def memory(self, found: Derivative, parts: Sequence[Piece], every: NDArray[np.bool_]) -> Memory:
        """How the hidden states change, and show."""
        count = len(found.hidden)
        states = [frozenset({(STATE, k)}) for k in range(count)]
        slopes = tuple(
            np.stack([np.where(every, slope_of(m, piece.terms), 0.0) for m in found.hidden])
            for piece in parts
        )
        forget = np.stack(
            [np.stack([np.where(every, slope_of(m, s), 0.0) for s in states]) for m in found.hidden]
        )
        for k in range(count):
            forget[k, k] = np.where(every, forget[k, k], 1.0)
        shows = np.stack([np.where(every, slope_of(found.output, s), 0.0) for s in states])
        through = [
            one
            for target, number in ((-1, found.output), *enumerate(found.hidden))
            for one in self.through(number, target, parts, every, states=True)
        ]
        return Memory(slopes, forget, shows, tuple(through))


def slope_of(number: FirstOrder, terms: frozenset[Term]) -> Any:
    """The derivative of a number in a change of these terms, but for what goes through W."""
    slope: Any = np.zeros(number.shape)
    for key, one in number.slopes.items():
        if terms <= key:
            slope = slope + one
    if terms <= number.plain[0]:
        slope = slope + 1.0
    return slope


def masked(a: Array, masks: Array | None, gate: int) -> Array:
    """`a` `(t, B, K)` as dropout leaves it for one gate."""
    return a if masks is None else a * masks[gate]
