"""A quick look at step residuals: whether any weight shows in them enough for the whole estimate.

The nodes of a cell's plan are evaluated on all rows at once, and gone through backwards once: then
each weight's score is a product of what it multiplies and of what the residuals owe to its gate.
The scores are those of the equations (`implied_weights.scores`), but for how the steps are weighed:
here by about their bounds, with norms in place of sums. So the look never names a weight. It says
that none shows, or that the equations must be set up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.observed import latest
from rnn_parity.bounds.step_bound import scan
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.program import (
    ACTIVATION,
    ADD,
    BIAS,
    CONSTANT,
    INPUT,
    LEAVES,
    MULTIPLY,
    NEGATIVE,
    PRODUCT,
    STATE,
    SUBTRACT,
    UFUNCS,
    VECTOR,
    Node,
    in_order,
    plan_for,
)
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences, time_major
from rnn_parity.recurrence.time_loop import layer_inputs

Float32 = NDArray[np.float32]

FLUSHED = np.float32(2.0**-102)
"""What is added to each bound for numbers that are flushed to zero, in float32's roundoffs."""
TINY = np.float32(2.0**-120)
"""Less than any variance of columns that are 1 at most, and show."""
SUMS = (INPUT, PRODUCT, BIAS)
"""What is added up without a rounding of its own: the length of the sum counts for all of it."""


class NoQuickLookError(Exception):
    """A formula, or a call, that the quick look has no way for."""


def squared_scores(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any]
) -> list[NDArray[np.float32]]:
    """How many standard errors each weight alone is off, squared, by the steps of whole `sequences`
    and their `outputs` `(B, T, H)`: one array for all weights that are multiplied by the same.

    Raises `NoQuickLookError` for a layer that computes with dropout or narrower operands, and for a
    formula whose hidden states are used in other ways than `p c + q`.
    """
    if layer.operands is not None or sequences.dropout is not NO_DROPOUT:
        raise NoQuickLookError
    values = Values(layer, sequences, outputs)
    return Backwards(values).squared_scores()


class Values:
    """The nodes of a layer's plan at all steps: arrays are `(N, H)`, step after step.

    `residual` is what the outputs are off by, 0 where a mask hides them or a number is not finite.
    """

    def __init__(self, layer: Cell, sequences: Sequences, outputs: NDArray[Any]) -> None:
        self.layer, self.sequences, self.letters = layer, sequences, layer.letters
        batch, timesteps = sequences.shape
        self.steps, every = (timesteps, batch, layer.units), slice(0, timesteps)
        x = np.empty((timesteps, batch, layer.features))
        self.x = flat(layer_inputs(layer, sequences.inputs, every, x))
        seen = time_major(outputs, every, np.empty(self.steps))
        self.keep = None if sequences.mask is None else sequences.mask.T[..., np.newaxis]
        self.before = np.empty(self.steps)
        self.before[0] = sequences.initial_state[0]
        self.before[1:] = latest(seen, self.keep, self.before[0])[:-1]
        plan = plan_for(layer)
        self.roots = [plan.groups[p.group].nodes[p.start] for p in plan.results]
        self.first_hidden = len(layer.STATES) - len(layer.hidden)
        self.hidden = {root: k for k, root in enumerate(self.roots[1:])}
        self.factors = [self.factor(k) for k in range(len(self.hidden))]
        self.order = in_order(self.roots)
        self.found: dict[Node, Array] = {}
        self.narrow: dict[Node, Float32] = {}
        self.errors: dict[Node, Any] = {}
        self.slopes: dict[Node, Float32] = {}
        self.lengths: dict[Node | None, Float32] = {}
        self.terms = np.float32(layer.features + layer.units + 1)
        self.residual = flat(seen) - self.of(self.roots[0])
        for node in [one for one in self.found if one.op in SUMS]:
            del self.found[node]  # nobody asks for terms of sums again, which take half the memory
        good = np.isfinite(self.residual).all(axis=1, keepdims=True)
        if self.keep is not None:
            good &= flat(self.keep)
        self.residual = np.where(good, self.residual, 0.0)

    def factor(self, k: int) -> tuple[Node, Node]:
        """The nodes p and q of a hidden state that becomes `p c + q`."""
        root, state = self.roots[1 + k], (STATE, self.first_hidden + k)
        for product, q in (root.operands, root.operands[::-1]) if root.op == ADD else ():
            if product.op != MULTIPLY:
                continue
            for p, c in (product.operands, product.operands[::-1]):
                if (c.op, c.detail) == state:
                    return p, q
        raise NoQuickLookError

    def of(self, node: Node) -> Array:
        """The values of a node."""
        if node not in self.found:
            k = self.hidden.get(node)
            self.found[node] = self.value(node) if k is None else self.after(k)
        return self.found[node]

    def float32(self, node: Node) -> Float32:
        """The values of a node in float32, where that is enough."""
        if node not in self.narrow:
            self.narrow[node] = self.of(node).astype(np.float32)
        return self.narrow[node]

    def value(self, node: Node) -> Any:
        """The values of a node that were not asked for before."""
        if node.op == INPUT:
            gate, rows = node.detail
            found = self.x @ self.kernel(gate)
            for row in rows:
                found += self.bias(row, gate)
            return found
        if node.op == PRODUCT:
            return self.of(node.operands[0]) @ self.recurrent(node.detail)
        if node.op == BIAS:
            return self.bias(*node.detail)
        if node.op == CONSTANT:
            return np.full(1, node.detail)
        if node.op == VECTOR:
            letter, gate = node.detail
            return self.layer.vectors[letter][self.columns(gate)]
        if node.op == STATE:
            if node.detail >= self.first_hidden:
                raise NoQuickLookError  # in other ways than `p c + q`
            return flat(self.before)
        operands = [self.of(one) for one in node.operands]
        if node.op == ACTIVATION:
            activation, (z,) = self.letters[node.detail], operands
            quiet = activation.quiet
            return activation(z) if quiet is None else quiet(z, np.empty_like(z))
        return UFUNCS[node.op](*operands)

    def after(self, k: int) -> Array:
        """A hidden state after each step."""
        p, q = (self.whole(self.of(one)) for one in self.factors[k])
        if self.keep is not None:
            p, q = np.where(self.keep, p, 1.0), np.where(self.keep, q, 0.0)
        first = self.sequences.initial_state[self.first_hidden + k]
        return flat(scan(p, q, first))

    def whole(self, a: NDArray[Any]) -> NDArray[Any]:
        """An array of all steps, or one that stands for all of them, as `(t, B, H)`."""
        if a.ndim == 1:
            return np.broadcast_to(a, self.steps)
        return a.reshape(self.steps)

    def columns(self, gate: int) -> slice:
        """The columns of a gate."""
        return slice(gate * self.layer.units, (gate + 1) * self.layer.units)

    def kernel(self, gate: int) -> Array:
        """U's columns of a gate."""
        return self.layer.kernel[:, self.columns(gate)]

    def recurrent(self, gate: int) -> Array:
        """W's columns of a gate."""
        return self.layer.recurrent_kernel[:, self.columns(gate)]

    def bias(self, row: int, gate: int) -> Array:
        """A gate of a row of the bias, -1 for a bias of one axis."""
        assert self.layer.bias is not None
        whole: Array = self.layer.bias if row < 0 else self.layer.bias[row]
        return whole[self.columns(gate)]

    # About how far each may be off, in the layer's roundoffs.

    def error(self, node: Node) -> Any:
        """About the bound of a node, in the layer's unit roundoffs; 0 for what is known."""
        if node not in self.errors:
            k = self.hidden.get(node)
            self.errors[node] = self.error_of(node) if k is None else self.error_after(k)
        return self.errors[node]

    def error_of(self, node: Node) -> Any:
        """About the bound of a node that was not asked for before."""
        if node.op in (INPUT, PRODUCT):
            return self.error_of_product(node)
        if node.op == BIAS:
            return self.terms * np.abs(self.bias(*node.detail)).astype(np.float32)
        if node.op in LEAVES:
            return 0
        errors = [self.error(one) for one in node.operands]
        if node.op == ACTIVATION:
            activation = self.letters[node.detail]
            allowance = activation.relative * self.size(node)
            if activation.absolute:
                allowance += np.float32(activation.absolute)
            allowance += np.abs(self.slope(node)) * errors[0]
            return allowance
        if node.op == MULTIPLY:
            a, b = (self.size(one) for one in node.operands)
            return a * errors[1] + b * errors[0] + self.size(node)
        total = errors[0] if len(errors) == 1 else errors[0] + errors[1]
        rounded = node.op in (ADD, SUBTRACT) and not any(one.op in SUMS for one in node.operands)
        return total + self.size(node) if rounded else total

    def error_of_product(self, node: Node) -> Float32:
        """About the bound of a product of x, with its biases, or of a state."""
        a = None if node.op == INPUT else node.operands[0]
        if a not in self.lengths:
            length = self.terms * norms(self.x if a is None else self.of(a), 1)
            spread = 0 if a is None else self.error(a)
            if isinstance(spread, np.ndarray):
                length += norms(spread, 1)
            self.lengths[a] = length[:, np.newaxis]
        if a is not None:
            found: Float32 = self.lengths[a] * norms(self.recurrent(node.detail), 0)
            return found
        gate, rows = node.detail
        found = self.lengths[a] * norms(self.kernel(gate), 0)
        for row in rows:
            found += self.terms * np.abs(self.bias(row, gate)).astype(np.float32)
        return found

    def error_after(self, k: int) -> Any:
        """About the bound of a hidden state after each step."""
        p, q = self.factors[k]
        c, factor = self.size(self.roots[1 + k]), self.size(p)
        add = np.abs(self.past(k)) * (self.error(p) + factor)
        add += self.error(q)
        add += c
        grow, add = self.whole(np.broadcast_to(factor, c.shape)), self.whole(add)
        if self.keep is not None:
            grow = np.where(self.keep, grow, np.float32(1))
            add = np.where(self.keep, add, np.float32(0))
        return flat(scan(grow, add, np.zeros(self.steps[1:], np.float32)))

    def past(self, k: int) -> Float32:
        """A hidden state before each step."""
        first = self.sequences.initial_state[self.first_hidden + k].astype(np.float32)
        after = self.whole(self.float32(self.roots[1 + k]))
        return flat(np.concatenate([first[np.newaxis], after[:-1]]))

    def size(self, node: Node) -> Float32:
        """The absolute values of a node."""
        found: Float32 = np.abs(self.float32(node))
        return found

    def slope(self, node: Node) -> Float32:
        """The slope of an activation at each of its arguments."""
        if node not in self.slopes:
            activation, (z,) = self.letters[node.detail], node.operands
            if activation.derivative is None:
                slope: NDArray[Any] = activation.slope(self.of(z))
            else:  # for a formula, float32 is enough
                narrow: tuple[Any, Any] = self.float32(z), self.float32(node)
                slope = activation.derivative(*narrow)
            self.slopes[node] = slope.astype(np.float32, copy=False)
        return self.slopes[node]


class Backwards:
    """What the residuals owe to each node, `(N, H)` in float32, from the outputs to the gates."""

    def __init__(self, values: Values) -> None:
        self.values, self.layer = values, values.layer
        self.owed: dict[Node, Float32] = {}
        self.gates: dict[Node | str, dict[int, Float32]] = {}
        """What each gate is owed, by what its weights are multiplied by: x, 1, or a node."""

    def squared_scores(self) -> list[Float32]:
        """The squared scores of all weights."""
        values = self.values
        self.owed[values.roots[0]] = self.seed()
        for node in reversed(values.order):
            owing = self.owed.pop(node, None)
            if owing is None:
                continue
            if node in values.hidden:
                self.through_time(values.hidden[node], owing)
            elif node.op in SUMS:
                self.to_weights(node, owing)
            else:
                for operand, part in self.parts(node, owing):
                    self.owe(operand, part)
        # Without dropout, most gates owe the same to x and to h: one product does for both.
        alike: dict[tuple[int, ...], list[Node | str]] = {}
        for multiplied, gates in self.gates.items():
            alike.setdefault(tuple(map(id, gates.values())), []).append(multiplied)
        return [self.scores_of(one) for one in alike.values()]

    def owe(self, node: Node, owing: Float32) -> None:
        """Add to what a node is owed."""
        if node.op not in (STATE, CONSTANT, VECTOR):
            self.owed[node] = self.owed[node] + owing if node in self.owed else owing

    def parts(self, node: Node, owing: Any) -> Iterator[tuple[Node, Any]]:
        """What a node hands on to its operands of what it is owed."""
        first, *second = node.operands
        if node.op == MULTIPLY:
            for one, other in ((first, second[0]), (second[0], first)):
                if one.op not in (STATE, CONSTANT, VECTOR):
                    yield one, owing * self.values.float32(other)
        elif node.op == ACTIVATION:
            yield first, owing * self.values.slope(node)
        else:
            yield first, -owing if node.op == NEGATIVE else owing
            for one in second:
                yield one, -owing if node.op == SUBTRACT else owing

    def to_weights(self, node: Node, owing: Float32) -> None:
        """Where a gate gets what it is owed."""
        multiplied: Node | str
        if node.op == PRODUCT:
            multiplied, gate = node.operands[0], node.detail
        else:  # of an input the gate stands first, of a bias last
            multiplied, gate = node.op, node.detail[node.op == BIAS]
        self.gates.setdefault(multiplied, {})[gate] = owing
        if node.op == PRODUCT and node.operands[0].op not in (STATE, CONSTANT, VECTOR):
            matrix = self.values.recurrent(gate).astype(np.float32)
            self.owe(node.operands[0], owing @ matrix.T)

    def through_time(self, k: int, owing: Float32) -> None:
        """What a hidden state `p c + q` is owed, by its own step and by the later ones."""
        values = self.values
        (p, q), keep = values.factors[k], values.keep
        factor = values.whole(values.float32(p))
        if keep is not None:
            factor = np.where(keep, factor, np.float32(1))
        later = np.concatenate([factor[1:], factor[:1]])
        nothing = np.zeros(values.steps[1:], np.float32)
        total = scan(later[::-1], values.whole(owing)[::-1], nothing)[::-1]
        total = flat(total if keep is None else np.where(keep, total, np.float32(0)))
        self.owe(p, total * values.past(k))
        self.owe(q, total)

    def scores_of(self, multiplied: Sequence[Node | str]) -> Float32:
        """The squared scores of the weights of some gates, and of their bias."""
        designs = [design for one in multiplied for design in self.design(one)]
        one = np.ones((len(self.values.x), 1), np.float32)
        d = scaled(np.concatenate([*designs, one], axis=1))
        w = scaled(np.concatenate([*self.gates[multiplied[0]].values()], axis=1))
        found: Float32 = d.T @ w
        found *= found
        variance = np.multiply(d, d, out=d).T @ np.multiply(w, w, out=w)
        # What is never multiplied scores nothing.
        found /= np.maximum(variance, TINY, out=variance)
        return found

    def design(self, multiplied: Node | str) -> list[Float32]:
        """What weights are multiplied by, beside the 1 of their bias."""
        if isinstance(multiplied, Node):
            return [self.values.float32(multiplied)]
        return [self.values.x.astype(np.float32)] * (multiplied == INPUT)

    def seed(self) -> Float32:
        """What the outputs are owed: the residuals over their bounds, less what a memory kept of
        the step before, as the equations' `of_news` has them, over the bound of the step once more.
        """
        values = self.values
        bound = values.error(values.roots[0]) + FLUSHED
        usable = np.isfinite(bound)
        # The scores stay the same whatever all of it is multiplied by.
        least = bound.min(where=usable, initial=np.inf)
        weight = np.where(usable, least / bound, np.float32(0))
        unit = self.layer.precision.unit_roundoff
        residual = (values.residual / unit / bound).astype(np.float32)
        residual = np.where(usable, residual, np.float32(0))
        if len(values.hidden) == 1:
            residual = self.news(residual, weight)
        owed: Float32 = residual * weight
        return owed

    def news(self, residual: Float32, weight: Float32) -> Float32:
        """The residuals whose products with slopes are those of the news on both sides."""
        values = self.values
        whole, ((p, _),), (root,) = values.whole, values.factors, values.hidden
        shows = whole(self.shown(root) * weight)
        factor = whole(values.float32(p))[1:]
        if values.keep is not None:
            shows = np.where(values.keep, shows, np.float32(0))
            factor = np.where(values.keep[1:], factor, np.float32(1))
        kept = shows[1:] * factor / shows[:-1]
        kept[~np.isfinite(kept)] = 0
        np.maximum(np.minimum(kept, 1, out=kept), -1, out=kept)
        news = whole(residual).copy()
        news[1:] -= kept * whole(residual)[:-1]
        news[:-1] -= kept * news[1:]
        return flat(news)

    def shown(self, target: Node) -> Any:
        """How the output of a step changes with a node of the same step."""
        values, above = self.values, {target}
        for node in values.order:
            if above.intersection(node.operands):
                above.add(node)
        owed: dict[Node, Any] = {values.roots[0]: np.float32(1)}
        for node in reversed(values.order):
            if node is not target and node in above and node in owed:
                if node.op == PRODUCT:
                    raise NoQuickLookError
                for operand, part in self.parts(node, owed.pop(node)):
                    if operand in above:
                        owed[operand] = owed[operand] + part if operand in owed else part
        return owed.get(target, np.zeros(1, np.float32))


def flat(a: NDArray[Any]) -> NDArray[Any]:
    """`(t, B, N)` as `(t B, N)`."""
    return a.reshape(-1, a.shape[-1])


def norms(a: NDArray[Any], axis: int) -> Float32:
    """The lengths of rows (axis 1) or columns (axis 0)."""
    squares = np.einsum("ij,ij->i" if axis else "ij,ij->j", a, a)
    lengths: Float32 = np.sqrt(squares).astype(np.float32)
    return lengths


def scaled(a: Float32) -> Float32:
    """Columns that are 1 at most, so that float32 holds their squares."""
    most = np.abs(a).max(axis=0)
    most[most == 0] = 1
    found: Float32 = a / most
    return found
