"""The step residual of many timesteps at once, and the bound that correct arithmetic keeps.

`residual[t] = |observed[t] - step(inputs[t], observed[t-1])|`: each step starts from the *observed*
state, so nothing accumulates and all steps are independent of each other.

A hidden state, such as an LSTM's c, is not observed: it is carried as a ball from step to step.
Where a formula makes of it `c_t = p c_{t-1} + q`, with p and q from what was observed, all steps
are evaluated at once; otherwise one after the other. While p is near 1, the radius grows with every
step. But what the step puts out was observed, and tells c: the carried ball is cut into pieces, and
those whose output is not the observed one are left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import SLACK, Ball, Sum, apply, concatenated, constant
from rnn_parity.bounds.magnitudes import BoundedProduct, narrow
from rnn_parity.bounds.observed import Observed, latest, observed_steps
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Lettered, Matrix, bound
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import Block, blocks

Mask = NDArray[np.bool_]
WIDE = 2.0**-10
"""A radius from which on, as a share of the state, a look is due. Chosen: a float32 layer's stays
far below it; printed outputs and 16 bits reach it in a few steps."""


class Steps:
    """The steps of a layer on balls: what a correct implementation can make of known states.

    Blocks must follow each other from the first timestep on: `hidden` holds the states `(B, H)`
    after the last one that are not observed but carried along, such as an LSTM's c. A look at what
    the outputs tell of them is taken after every `SEGMENT` of timesteps, after the last one, and
    after a block where they are known badly.
    """

    is_whole = False
    """Whether all samples must be looked at together: masks of dropout are those of all."""

    def __init__(self, layer: Cell, arithmetic: Arithmetic, sequences: Sequences) -> None:
        self.layer, self.arithmetic = layer, arithmetic
        self.dtype = arithmetic.radius_dtype
        dropout, facts = sequences.dropout, layer.facts
        self.every = slice(0, layer.width)
        whole = (0, len(layer.GATES))
        self.inputs, self.state = (
            BoundedProduct(layer, matrix, masks, parts, self.dtype)
            for matrix, masks, parts in (
                (layer.kernel, dropout.inputs, {whole}),
                (layer.recurrent_kernel, dropout.state, {whole, *facts.recurrent_parts}),
            )
        )
        states = sequences.initial_state[len(layer.STATES) - len(layer.hidden) :]
        self.hidden: Balls = tuple(Ball.exact(state, arithmetic) for state in states)
        self.at_once, self.is_whole = True, self.state.masks is not None
        self.unlooked = 0
        self.left: float = sequences.shape[1]

    @property
    def step(self) -> Step:
        """The formula on balls. It refers to this object, which would wait for the garbage
        collector, with all that it has computed, if it kept the formula.
        """
        return bound(self.layer.formula, self.letters())

    def letters(self) -> dict[str, Any]:
        """What the letters of the formula mean on balls; x is the sum `x U`."""
        vectors = {n: Ball.exact(v, self.arithmetic) for n, v in self.layer.vectors.items()}
        return {
            "U": Matrix(lambda x, columns: x[..., columns], self.every),
            "W": Matrix(self.product, self.every),
            "b": Bias(self.layer.bias, self.every, addends=self.layer.addends),
            **vectors,
            **{letter: applied(one) for letter, one in self.layer.letters.items()},
        }

    def observed(self, block: Block, observed: Observed) -> Ball:
        """Where the outputs of a block must lie, each step started from the observed state."""
        before = Ball.exact(observed.states[:-1], self.arithmetic)
        seen = Ball.exact(observed.outputs, self.arithmetic)
        ball = self.outputs(block, before, observed.keep, seen)
        return observed.masked(ball, self.arithmetic)

    def outputs(
        self, block: Block, before: Ball, keep: Mask | None = None, seen: Ball | None = None
    ) -> Ball:
        """The outputs that follow the states `before` `(t, B, H)` each of the block's steps.

        `keep` `(t, B, 1)` is False where a timestep is masked; the outputs are those of others.
        `seen` `(t, B, H)` are the observed outputs, which tell something of hidden states; None
        where they are not known.
        """
        x = self.projected(block)
        if not self.hidden:
            output: Ball = self.step(x, before)[0].ball()
            return output.spread_out
        given = Given(x, () if self.layer.facts.own_output else (before,), keep)
        count = len(x.value)
        length = count if seen is None else SEGMENT
        cuts = [slice(start, start + length) for start in range(0, count, length)]
        parts = [self.segment(given[cut], None if seen is None else seen[cut]) for cut in cuts]
        return parts[0].spread_out if len(parts) == 1 else concatenated(parts)

    def segment(self, given: Given, seen: Ball | None) -> Ball:
        """The outputs of some steps; `hidden` is carried on."""
        before = self.hidden
        if self.at_once:
            try:
                output, after = at_once(self.step, given, before)
            except NotAtOnceError:
                self.at_once = False
        if not self.at_once:
            output, after = one_by_one(self.step, given, before)
        self.hidden = tuple(one[-1] for one in after)
        self.unlooked, self.left = self.unlooked + len(output.value), self.left - len(output.value)
        due = self.unlooked >= SEGMENT or not self.left or any(map(wide, self.hidden))
        if seen is not None and due:
            self.hidden, self.unlooked = self.looked_at(given, before, after, seen), 0
        return output

    def looked_at(self, given: Given, before: Balls, after: Balls, seen: Ball) -> Balls:
        """The hidden states after a segment, cut down by the output of each sample's last step that
        no mask hid.
        """
        count, keep = len(given.x.value), given.keep
        last = np.full(given.x.shape[1], count - 1)
        some = np.ones((len(last), 1), bool)
        if keep is not None:
            last -= keep[::-1, :, 0].argmax(axis=0)
            some = np.any(keep, axis=0)
        steps = last[np.newaxis], np.arange(len(last))[np.newaxis]
        old = tuple(
            concatenated([one[np.newaxis], new])[steps]
            for one, new in zip(before, after, strict=True)
        )
        new = tuple(one[steps] for one in after)
        cut = self.in_turn(given[steps], old, new, seen[steps])
        return tuple(c.where(some, one) for c, one in zip(cut, self.hidden, strict=True))

    def in_turn(self, given: Given, before: Balls, after: Balls, seen: Ball) -> list[Ball]:
        """`looked_at`, a few samples at a time: the hidden states `(B, H)`."""
        _, batch, units = seen.shape
        count = batch if self.is_whole else max(1, AT_A_TIME // (PIECES * units))
        parts = []
        for start in range(0, batch, count):
            some = slice(None), slice(start, start + count)
            old, new = (tuple(one[some] for one in balls) for balls in (before, after))
            parts.append(looked_at(self.step, given[some], old, new, seen[some]))
        return [concatenated([ball[0] for ball in balls]) for balls in zip(*parts, strict=True)]

    def projected(self, block: Block) -> Sum:
        """The products `x U` of a block, as a sum that is not finished."""
        magnitude = self.inputs.magnitude(narrow(block.inputs, self.dtype), self.every)
        masked = self.of_masks(self.inputs, magnitude)
        count = len(self.layer.kernel)
        return Sum.of(self.arithmetic, block.projection, magnitude, count, masked)

    def product(self, h: Any, columns: slice) -> Sum:
        """`h W` for these columns of W."""
        spread: NDArray[Any] | float = 0.0
        h = self.operand(h.ball())
        if h.value.ndim == IN_PIECES:
            raise UnknownPieceError
        size = narrow(h.value, self.dtype)
        if h.radius.ndim:
            spread = self.state.magnitude(h.radius, columns)
            size += h.radius
        magnitude = self.state.magnitude(size, columns)
        value = self.state(h.value, columns)
        spread = spread + self.of_masks(self.state, magnitude)
        count = len(self.layer.recurrent_kernel)
        return Sum.of(self.arithmetic, value, magnitude, count, spread)

    def operand(self, h: Ball) -> Ball:
        """`h` as the layer takes it: next to a tie it may be rounded either way."""
        p = self.layer.operands
        if p is None:
            return h
        value = p.round(h.value)
        least, most = p.round(h.value - h.radius), p.round(h.value + h.radius)
        radius = np.maximum(value - least, most - value) if h.radius.ndim else h.radius
        return Ball(value, radius.astype(self.dtype), self.arithmetic)

    def of_masks(self, product: BoundedProduct, magnitude: NDArray[Any]) -> NDArray[Any] | float:
        """How far a product may be off because each operand was rounded on its dropout mask."""
        return 0.0 if product.masks is None else self.arithmetic.unit * magnitude


def wide(state: Ball) -> bool:
    """Whether a hidden state is known badly: its largest radius is beside its largest number."""
    largest = float(np.abs(state.value).max(initial=0.0))
    return not float(state.radius.max(initial=0.0)) <= WIDE * largest


def applied(activation: Activation) -> Any:
    """An activation as a formula applies it to balls."""

    def result(z: Any) -> Ball:
        argument = z.ball()
        alone = activation.proven and activation.coupling is None
        if not alone and argument.value.ndim == IN_PIECES:
            raise UnknownPieceError
        return apply(activation, argument)

    return result


def free_running_balls(
    layer: Cell, sequences: Sequences, arithmetic: Arithmetic
) -> Iterator[tuple[Ball, tuple[Ball, ...]]]:
    """The output and the states `(B, H)` after each timestep, when nothing in between was observed.

    The radius grows from step to step along the whole sequence, from the known initial state.
    """
    steps = Steps(layer, arithmetic, sequences)
    zeros = np.zeros_like(sequences.initial_state[0])
    nothing = output = Ball(zeros, zeros.astype(arithmetic.radius_dtype), arithmetic)
    state = Ball(sequences.initial_state[0], nothing.radius, arithmetic)
    for block in blocks(layer, sequences):
        block.projection  # noqa: B018 - of all timesteps at once
        for t in range(len(block.outputs)):
            now = block.part(slice(t, t + 1))
            before = Ball(now.states[0, :1], state.radius[np.newaxis], arithmetic)
            if sequences.mask is None:
                output = state = steps.outputs(now, before)[0]
            else:
                keep = sequences.mask[:, block.steps.start + t, np.newaxis]
                ball = steps.outputs(now, before, keep[np.newaxis])[0]
                hidden = nothing if layer.zero_output_for_mask else output
                output, state = ball.where(keep, hidden), ball.where(keep, state)
            yield output, steps.hidden if layer.facts.own_output else (state, *steps.hidden)


@np.errstate(all="ignore")
def final_balls(
    layer: Cell, sequences: Sequences, arithmetic: Arithmetic
) -> tuple[Ball, tuple[Ball, ...]]:
    """The last output and the final states, `(B, H)` each, when nothing in between was observed."""
    return deque(free_running_balls(layer, sequences, arithmetic), maxlen=1)[0]


@np.errstate(all="ignore")
def handed_on_radii(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any]
) -> tuple[NDArray[Any], ...]:
    """How far from observed `outputs` `(B, T, H)`, and from each final state `(B, H)`, may lie what
    a compiled program hands on to what comes next.

    XLA may compute a step once for the output and once more for what takes it, its last product
    fused with that: then both are within the step's radius.
    """
    arithmetic = arithmetics(layer.precision)[0]
    steps = Steps(layer, arithmetic, sequences)
    found = np.zeros(outputs.shape, arithmetic.radius_dtype)
    last = np.zeros((len(outputs), layer.units), arithmetic.radius_dtype)
    for block, observed in observed_steps(layer, sequences, outputs):
        radius = latest(2 * steps.observed(block, observed).radius, observed.keep, last)
        found[:, block.steps], last = radius.swapaxes(0, 1), radius[-1]
    states = () if layer.facts.own_output else (last,)
    return found, *states, *(2 * state.radius for state in steps.hidden)


# Hidden states.


SEGMENT = 256
"""Timesteps between two looks at the observed output. Chosen: of a small layer with an open forget
gate a look costs as much as 200 steps, and in 256 steps float32's radius grows by some 2**-14."""
GROWN = 8
"""A look is taken where the radius is more than 8 steps' own. Chosen: a look leaves some 4 of them,
and where the forget gate is below 7/8 the radius stays below 8 without it."""
PIECES = 32
"""Each look leaves at most one of 32 pieces of the carried ball beyond what the output allows."""
AT_A_TIME = 1 << 17
"""Numbers of the pieces of those samples that are looked at together. Chosen: there are dozens of
such arrays, and so they stay in the cache and together below 32 MiB."""

IN_PIECES = 4
"""The axes of a number that has an axis of pieces, `(PIECES, 1, B, H)`."""

Keep = NDArray[np.bool_] | None
Step = Callable[..., tuple[Any, ...]]


class NotAtOnceError(Exception):
    """A formula uses a hidden state in a way that needs one timestep after the other."""


class UnknownPieceError(Exception):
    """Nobody knows what a piece of one unit's state gives: other units, whose pieces go their own
    ways, are mixed with it, or an activation is a user's own, whose spread is an estimate."""


class HiddenState(Lettered):
    """A hidden state in a formula: `c_{t-1}`, or `p c_{t-1}`, or `p c_{t-1} + q`.

    `number` tells what ball stands for it in any other operation.
    """

    def __init__(
        self,
        number: Callable[[HiddenState], Ball],
        p: Ball | float | None = None,
        q: Ball | None = None,
    ) -> None:
        self.number, self.p, self.q = number, p, q

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the ball that stands for it."""
        return self.number(self).shape

    def ball(self) -> Ball:
        """The ball that stands for it."""
        return self.number(self)

    def __mul__(self, factor: Any) -> Any:
        if self.p is None and isinstance(factor, (Ball, Sum, int, float)):
            p = factor if isinstance(factor, (int, float)) else factor.ball()
            return HiddenState(self.number, p)
        return self.number(self) * factor

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Any:
        if self.p is not None and self.q is None and isinstance(other, Ball):
            return HiddenState(self.number, self.p, other)
        return self.number(self) + other

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self.number(self) + other

    def __neg__(self) -> Ball:
        return -self.number(self)

    def __getitem__(self, part: Any) -> Ball:
        return self.number(self)[part]

    def __matmul__(self, matrix: Any) -> Any:
        return matrix.product(self.number(self), matrix.columns)


@dataclass(frozen=True, eq=False)
class Given:
    """What some steps start from: the sums `x U` and the balls of the observed state before each.

    Both are `(t, B, ...)`. `keep` `(t, B, 1)` is False where a timestep is masked and the states
    stay; None without a mask.
    """

    x: Sum
    h: tuple[Ball, ...]
    keep: Keep

    def __getitem__(self, steps: Any) -> Given:
        keep = None if self.keep is None else self.keep[steps]
        return Given(self.x[steps], tuple(one[steps] for one in self.h), keep)


Balls = tuple[Ball, ...]


def at_once(step: Step, given: Given, before: Balls) -> tuple[Ball, Balls]:
    """The output and the hidden states `(t, B, H)` after all steps, from those `before` `(B, H)`.

    Raises `NotAtOnceError` unless each new state is `p c_{t-1} + q`, and nothing else is made of
    `c_{t-1}`.
    """
    used: dict[int, tuple[HiddenState, Ball]] = {}

    def standing_for(k: int) -> Callable[[HiddenState], Ball]:
        def number(one: HiddenState) -> Ball:
            if k not in used:
                if one.p is None or one.q is None:
                    raise NotAtOnceError
                p = one.p if isinstance(one.p, Ball) else constant(one.p, one.q.arithmetic)
                q, shape = one.q, (*given.x.shape[:2], before[k].shape[-1])
                used[k] = one, recurrence(over(shape, p), over(shape, q), before[k], given.keep)
            if used[k][0] is not one:
                raise NotAtOnceError
            return used[k][1]

        return number

    letters = [HiddenState(standing_for(k)) for k in range(len(before))]
    output, *states = step(given.x, *given.h, *letters)
    if not all(isinstance(one, HiddenState) for one in states):
        raise NotAtOnceError
    after = tuple(one.ball() for one in states)
    # Another state's object in this one's place would be another recurrence.
    if any(used.get(k, (None,))[0] is not one for k, one in enumerate(states)):
        raise NotAtOnceError
    result = output.ball(), after
    used.clear()  # which the letters refer to, and which refers to them: memory is let go at once
    return result


def over(shape: tuple[int, ...], ball: Ball) -> Ball:
    """A ball that may have fewer axes, such as that of a vector, as one of this shape."""
    return Ball(
        np.broadcast_to(ball.value, shape), np.broadcast_to(ball.radius, shape), ball.arithmetic
    )


def one_by_one(step: Step, given: Given, before: Balls) -> tuple[Ball, Balls]:
    """The output and the hidden states `(t, B, H)` after each step, one step after the other."""
    outputs, history = [], []
    states = tuple(one[np.newaxis] for one in before)
    for t in range(len(given.x.value)):
        now = given[t : t + 1]
        output, *found = (one.ball() for one in step(now.x, *now.h, *states))
        outputs.append(output)
        if now.keep is not None:
            found = [new.where(now.keep, old) for new, old in zip(found, states, strict=True)]
        states = tuple(found)
        history.append(states)
    return concatenated(outputs), tuple(map(concatenated, zip(*history, strict=True)))


def recurrence(p: Ball, q: Ball, before: Ball, keep: Keep) -> Ball:
    """All of `c_1 ... c_t` of `c_t = p_t c_{t-1} + q_t`, `p` and `q` `(t, B, H)`, `c_0` `(B, H)`.

    The radius obeys a recurrence of the same kind, `rad_t = grow_t rad_{t-1} + add_t`, with one
    rounding of the product and one of the sum, as the operations of `Ball` have them.
    """
    dtype, arithmetic = p.arithmetic.radius_dtype, p.arithmetic
    factor, addend = p.value, q.value
    if keep is not None:
        factor, addend = np.where(keep, factor, 1.0), np.where(keep, addend, 0.0)
    values = scan(factor, addend, before.value)
    old = np.concatenate([before.value[np.newaxis], values[:-1]])
    u, eta = arithmetic.unit * SLACK, arithmetic.results.smallest_normal
    last = narrow(old, dtype)
    widest = narrow(p.value, dtype) + p.radius
    grow = widest * (SLACK * (1 + u) ** 2)
    add = (last * (p.radius + u * widest) + eta) * (SLACK * (1 + u))
    add += (q.radius + u * (narrow(values, dtype) + q.radius) + eta) * SLACK
    if keep is not None:
        grow, add = np.where(keep, grow, dtype(1)), np.where(keep, add, dtype(0))
    first = np.broadcast_to(before.radius, before.shape)
    radii = scan(grow, add, first)
    known = np.concatenate([first[np.newaxis], radii[:-1]])
    # The product overflows before an addend of the other sign could bring it back.
    largest = np.maximum(grow * (last + known), narrow(values, dtype) + radii)
    radii[~np.isfinite(values) | ~(largest < arithmetic.results.largest)] = np.inf
    return Ball(values, radii, arithmetic)


def scan(p: NDArray[Any], q: NDArray[Any], before: NDArray[Any] | float = 0.0) -> NDArray[Any]:
    """`c_t = p_t c_{t-1} + q_t` for every t, in the dtype and the shape of q."""
    c = np.empty_like(q)
    for t in range(len(q)):
        np.multiply(p[t], before, out=c[t])
        c[t] += q[t]
        before = c[t]
    return c


def looked_at(step: Step, given: Given, before: Balls, after: Balls, seen: Ball) -> Balls:
    """The hidden states `after` one step `(1, B, H)`, cut down to what was `seen` of its output.

    `given` and the states `before` are of that step alone. The step may have been computed once for
    the output and once for what is carried: both are within its own radius of what exact arithmetic
    makes of the states before. Where no piece would be left, nothing is cut: then the output itself
    is beyond its bound.
    """
    cut = list(after)
    for k, (ball, own) in enumerate(zip(after, own_radii(step, given, before), strict=True)):
        worth = np.isfinite(ball.radius) & (ball.radius > GROWN * own)
        if worth.any():
            possible = possible_pieces(step, given, before, after, k, seen)
            cut[k] = ball if possible is None else hull(ball, possible & worth, own)
    return tuple(cut)


def own_radii(step: Step, given: Given, before: Balls) -> list[NDArray[Any]]:
    """How far from exact arithmetic one step may be, `(1, B, H)` for each state, whatever state
    within the balls `before` it starts from.

    Of `p c + q` alone it is convex in c, and so the largest at an end of the ball; otherwise it is
    asked of each piece, whose width is then counted as well.
    """
    trials = [pieces(one) for one in before]
    if len(before) == 1 and made_at_once(step, given, before):
        (one,) = before
        ends = np.concatenate([one.value - one.radius, one.value + one.radius])
        trials = [Ball.exact(ends, one.arithmetic)]
    found = []
    for k, trial in enumerate(trials):
        states = [trial if j == k else one for j, one in enumerate(before)]
        try:
            radius = step(given.x, *given.h, *states)[1 + k].ball().radius
        except UnknownPieceError:
            radius = step(given.x, *given.h, *before)[1 + k].ball().radius
        found.append(radius.reshape(-1, *radius.shape[-2:]).max(axis=0, keepdims=True))
    return found


def made_at_once(step: Step, given: Given, before: Balls) -> bool:
    """Whether each new state is `p c_{t-1} + q`, and nothing else is made of `c_{t-1}`."""
    try:
        at_once(step, given, tuple(one[0] for one in before))
    except NotAtOnceError:
        return False
    return True


def pieces(ball: Ball) -> Ball:
    """The PIECES of a ball `(1, B, H)`, `(PIECES, 1, B, H)`, that cover it."""
    middle = ball.value + offsets() * ball.radius
    radius = ball.radius * (SLACK / PIECES) + np.abs(middle) * 2.0**-51
    return Ball(middle, radius.astype(ball.radius.dtype), ball.arithmetic)


def possible_pieces(
    step: Step, given: Given, before: Balls, after: Balls, k: int, seen: Ball
) -> NDArray[np.bool_] | None:
    """Which pieces `(PIECES, 1, B, H)` of the k-th state may have put out what was seen.

    None where the formula does not make the output of `p c_{t-1} + q`, so that it tells nothing.
    """
    trial = pieces(after[k])
    new = {j: trial if j == k else one for j, one in enumerate(after)}
    used: dict[int, HiddenState] = {}

    def standing_for(j: int) -> Callable[[HiddenState], Ball]:
        def number(one: HiddenState) -> Ball:
            if one.p is None:
                return before[j]
            if one.q is None:
                product: Ball = before[j] * one.p
                return product
            if used.setdefault(j, one) is not one:
                raise NotAtOnceError
            return new[j]

        return number

    letters = [HiddenState(standing_for(j)) for j in range(len(before))]
    try:
        output, *states = step(given.x, *given.h, *letters)
        output = output.ball()
        told = k in used and all(states[j] is one for j, one in used.items())
    except (NotAtOnceError, UnknownPieceError):
        return None
    finally:
        used.clear()  # what it holds holds it, and large arrays: nothing is left to the collector
    if not told:
        return None
    apart = np.abs(output.value - seen.value) > output.radius + seen.radius
    return ~np.broadcast_to(apart, trial.shape)


def offsets() -> Array:
    """The middles of the pieces of a ball of radius 1 around 0, `(PIECES, 1, 1, 1)`."""
    return ((2 * np.arange(PIECES) + 1) / PIECES - 1).reshape(-1, 1, 1, 1)


def hull(ball: Ball, possible: NDArray[np.bool_], own: NDArray[Any]) -> Ball:
    """The `ball` `(1, B, H)` cut down to its `possible` pieces and twice the radius `own`."""
    first = possible.argmax(axis=0)
    last = PIECES - 1 - possible[::-1].argmax(axis=0)
    reach, wider = ball.radius.astype(np.float64), 2.0 * own
    low = ball.value + (2 * first / PIECES - 1) * reach * SLACK - wider
    high = ball.value + (2 * (last + 1) / PIECES - 1) * reach * SLACK + wider
    low, high = np.maximum(low, ball.value - reach), np.minimum(high, ball.value + reach)
    middle = 0.5 * (high + low)
    radius = (0.5 * (high - low) + np.abs(middle) * 2.0**-51) * SLACK
    left = possible.any(axis=0) & (low <= high)
    return Ball(middle, radius.astype(ball.radius.dtype), ball.arithmetic).where(left, ball)
