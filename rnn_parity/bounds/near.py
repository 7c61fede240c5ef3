"""The quick way of the step bound, where the observed numbers are near the replayed ones.

A cell's plan is evaluated on first-order numbers in float32 (`near_numbers`): each is the
replay's own number v, what moves it when the step starts from the observed state (`moved`, to first
order), and the radius that correct arithmetic makes. Let D be observed minus replayed. Then an
argument is moved by `D W`, `f(z)` by `f'(z)` times what z is, and a product by `x m_y + y m_x`; no
second float64 product and no second activation is needed. What is left out, of second order, and
float32's roundings are bounded for each unit: by so much may the general way's value and radius
differ. It is added to the radius.

The quick way never refutes, and what it passes the general way would have passed: it gives up
where what is left out is not small beside the radius, and passes what is within half of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.magnitudes import Magnitudes
from rnn_parity.bounds.near_numbers import (
    CURVATURE,
    ROUNDED_UP,
    Carried,
    Float32,
    NearBlock,
    NearFormula,
    NotNearError,
    OtherMagnitudesError,
)
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import GROWN, SEGMENT, WIDE, Steps
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.cells import Array
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences
from rnn_parity.recurrence.time_loop import Block

FEW_GROWN = 2.0**-4
"""A share of the numbers for which a look does not pay before it is due by the timesteps: it costs
as much for one unit as for all. Chosen."""
TILE = 1 << 16
"""Numbers of the output that go together. Measured: with half as many the calls of two threads wait
for each other at the interpreter, with twice as many the buffers leave the cache."""
SURE = 0.5
"""The ratio up to which the quick way passes. With `LEFT_OUT` it follows that the general way does:
a residual of 1/2 + 1/8 of the quick radius at most, and a radius of 1 - 2/8 of it at least."""


@dataclass(frozen=True, eq=False)
class NearSteps:
    """Absolute deviation and residual, the residual's bound, and the sizes of the replayed numbers
    and of those `expected` of steps from the observed states, all `(t, B, H)`; valid until the next
    block.
    """

    deviation: Float32
    residual: Float32
    radius: Float32
    size: Float32
    expected: Float32


class Near:
    """The quick way for one layer that computes in float32, block after block of at most `count`
    timesteps, by default those of a usual one.

    A block is divided into `tiles`. Each is evaluated by `steps`, and `passed` goes on from it:
    then `shown` is where the last output must lie `(B, H)`. Where a tile is to be judged in the
    general way, `settle` gives the hidden states to `bounds`, and `resume` goes on from there.
    """

    def __init__(self, steps: Steps, sequences: Sequences, count: int | None = None) -> None:
        self.layer, self.bounds, units = steps.layer, steps, steps.layer.units
        self.first_hidden = len(self.layer.STATES) - len(self.layer.hidden)
        none, exact = np.zeros_like(sequences.initial_state[0], np.float32), np.zeros(units)
        start = Carried(none, none, none, none, exact, exact)
        self.hidden = [start for _ in self.layer.hidden]
        self.settled = True  # whether `bounds` has the latest hidden states, which are not rounded
        self.shown: Ball | None = None
        many = Magnitudes.GROUPED_FROM
        self.grouped = self.layer.features >= many, units >= many
        batch = sequences.shape[0]
        self.shape = count or next(sequences.blocks(self.layer.width)).stop, batch
        self.length = min(max(1, TILE // (batch * units)), self.shape[0])
        self.wholes: dict[tuple[bool, bool], NearBlock] = {}
        self.formulas: dict[tuple[int, bool, bool], NearFormula | None] = {}
        self.last: NearFormula | None = None
        self.taken = False

    @staticmethod
    def applies(steps: Steps, sequences: Sequences) -> bool:
        """Whether the layer may have a quick way."""
        layer = steps.layer
        plain = sequences.mask is None and sequences.dropout is NO_DROPOUT
        plain &= steps.arithmetic.results == FLOAT32 and layer.operands is None
        known = all(CATALOGUE.get(one.name) is one for one in layer.activations)
        known &= CURVATURE.keys() >= {one.name for one in layer.activations}
        return plain and known and not layer.facts.own_output

    def tiles(self, block: Block, observed: Observed) -> list[slice]:
        """Take a block: its timesteps, in parts for `steps`."""
        self.block, count = block, len(block.outputs)
        self.taken = self.take(block, observed)
        length = self.length if self.taken else count
        return [slice(t, min(t + length, count)) for t in range(0, count, length)]

    def take(self, block: Block, observed: Observed) -> bool:
        """Whether the quick way does for a block as far as can be said of the whole."""
        for _ in range(3):  # either operand may change its groups
            try:
                self.formula(self.length).block.run(block, observed)
            except NotNearError:
                return False
            except OtherMagnitudesError as error:
                x, h = self.grouped
                self.grouped = (not x, h) if error.operand == 0 else (x, not h)
            else:
                return True
        return False

    def steps(self, t: slice) -> NearSteps | None:
        """Some timesteps of the block; None where a bound is not narrow."""
        if not self.taken:
            return None
        try:
            found = self.formula(t.stop - t.start)
            found.run(self.block, t, self.hidden)
        except NotNearError:
            return None
        self.last, deviation = found, found.deviation[1:]
        return NearSteps(deviation, found.residual, found.radius, found.size, found.expected)

    def formula(self, steps: int) -> NearFormula:
        """The layer's formula for so many timesteps; raises `NotNearError` where it has none."""
        key = (steps, *self.grouped)
        if key not in self.formulas:
            self.formulas[key] = None  # unless it can be made
            whole = self.wholes.setdefault(key[1:], NearBlock(self.layer, self.shape, key[1:]))
            shape = (steps, self.shape[1])
            self.formulas[key] = NearFormula(self.layer, self.bounds.arithmetic, whole, shape)
        found = self.formulas[key]
        if found is None:
            raise NotNearError
        return found

    def passed(self, block: Block, observed: Observed) -> None:
        """Go on from a block that was passed in the quick way."""
        assert self.last is not None
        value = block.outputs[-1] + self.last.moved[-1]
        self.shown = Ball(value, self.last.radius[-1].copy(), self.bounds.arithmetic)
        if not self.hidden:
            return
        steps, count = self.bounds, len(block.outputs)
        self.hidden, self.settled = self.ends(-1), False
        steps.unlooked, steps.left = steps.unlooked + count, steps.left - count
        due = steps.unlooked >= SEGMENT or not steps.left
        at_end = block.steps.stop == self.block.steps.stop
        if due or (at_end and self.wide()):
            # Where the radius is no more than so many steps' own, a look cuts nothing.
            grown = max(float(np.mean(one.radius > GROWN * one.added)) for one in self.hidden)
            if grown > (0 if due else FEW_GROWN):
                self.shown, due = self.look(block, observed), True
            steps.unlooked = 0 if due else steps.unlooked

    def close(self) -> None:
        """Free the buffers; no block may follow."""
        for formula in self.formulas.values():
            if formula is not None:
                formula.close()

    def ends(self, t: int) -> list[Carried]:
        """The hidden states after a step of the last block, -1 or -2."""
        assert self.last is not None
        return [state.end(t) for state in self.last.states]

    def wide(self) -> bool:
        """Whether a hidden state is known badly after the last block."""
        assert self.last is not None
        pairs = zip(self.hidden, self.last.states, strict=True)
        return any(
            not float(one.radius.max()) <= WIDE * float(np.abs(state.c[-1]).max())
            for one, state in pairs
        )

    def settle(self, states: Array) -> None:
        """Give the hidden states to `bounds`, beside those of the replay `(S, B, H)`."""
        if not self.settled:
            self.bounds.hidden, self.settled = self.balls(self.hidden, states), True

    def balls(self, hidden: list[Carried], states: Array) -> tuple[Ball, ...]:
        """Hidden states as balls around those of the replay `(S, B, H)`."""
        pairs = zip(hidden, states[self.first_hidden :], strict=True)
        return tuple(self.ball(one, c) for one, c in pairs)

    def ball(self, one: Carried, replayed: Array) -> Ball:
        """A hidden state as a ball around the replayed one `(B, H)`."""
        radius = one.radius * (1 + one.share) + one.each * one.gathered
        radius = radius * ROUNDED_UP + FLOAT32.smallest_normal
        return Ball(replayed + one.moved, radius.astype(np.float32), self.bounds.arithmetic)

    def look(self, block: Block, observed: Observed) -> Ball:
        """Take the last step of a block again, in the general way, with a look at its output."""
        steps, last = self.bounds, slice(len(block.outputs) - 1, len(block.outputs))
        steps.hidden = self.balls(self.ends(-2), block.states[:, -2])
        steps.unlooked, steps.left = SEGMENT, steps.left + 1
        before = Ball.exact(observed.states[-2:-1], steps.arithmetic)
        seen = Ball.exact(observed.outputs[-1:], steps.arithmetic)
        output = steps.outputs(block.part(last), before, None, seen)
        self.resume(block)
        return output[0]

    def resume(self, block: Block) -> None:
        """Go on from where the general way has come, the end of a block."""
        self.shown, self.settled = None, True
        self.hidden = []
        replayed = block.states[self.first_hidden :, -1]
        for ball, c in zip(self.bounds.hidden, replayed, strict=True):
            moved = (ball.value - c).astype(np.float32)
            radius = ball.radius.astype(np.float32)
            rounded = 2.0**-24 * np.maximum(np.abs(moved), radius) + FLOAT32.smallest_normal
            share = np.divide(rounded, radius, where=radius > 0, out=np.full_like(radius, np.inf))
            none, each = np.zeros_like(moved), np.zeros(self.layer.units)
            self.hidden.append(Carried(moved, radius, none, radius, share.max(axis=0), each))
