"""The quick way of the step bound, where the observed numbers are near the replayed ones.

A cell's plan is evaluated on first-order numbers in float32 (`near_numbers`): each is the replay's
own number v, what moves it when the step starts from the observed state (`moved`, to first order),
and the radius that correct arithmetic makes. Let D be observed minus replayed. Then an argument is
moved by `D W`, `f(z)` by `f'(z)` times what z is, and a product by `x m_y + y m_x`; no second float64
product and no second activation is needed. What is left out, of second order, and float32's
roundings are bounded for each unit: by so much may the general way's value and radius differ. It is
added to the radius.

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
    """The quick way for one layer that computes in float32, block after block.

    A block is evaluated by `steps`, and `passed` goes on from it: then `shown` is where the last
    output must lie `(B, H)`. Where a block was judged in the general way, `resume` goes on from it.
    The hidden states of `bounds` are always those after the last block.
    """

    def __init__(self, steps: Steps, sequences: Sequences) -> None:
        self.layer, self.bounds = steps.layer, steps
        self.first_hidden = len(self.layer.STATES) - len(self.layer.hidden)
        zeros = np.zeros(sequences.initial_state.shape[1:], np.float32)
        exact = np.zeros(self.layer.units)
        self.hidden = [Carried(*[zeros] * 4, exact, exact) for _ in self.layer.hidden]
        self.before = self.hidden
        self.shown: Ball | None = None
        self.grouped = [n >= Magnitudes.GROUPED_FROM for n in (self.layer.features, self.layer.units)]
        self.formulas: dict[tuple[int, ...], NearFormula | None] = {}
        self.last: NearFormula | None = None

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
        self.last = found = self.evaluated(block, observed)
        if found is None:
            return None
        deviation, size = found.deviation[1:], found.size
        return NearSteps(deviation, found.residual, found.radius, size, found.expected)

    def evaluated(self, block: Block, observed: Observed) -> NearFormula | None:
        """The layer's formula, run on a block; None where it does not do."""
        for _ in range(3):  # either operand may change its groups
            try:
                formula = self.formula(block)
                if formula is not None:
                    formula.run(block, observed, self.hidden)
            except NotNearError:
                return None
            except OtherMagnitudesError as error:
                self.grouped[error.operand] ^= True
            else:
                return formula
        return None

    def formula(self, block: Block) -> NearFormula | None:
        """The layer's formula for as many steps as a block has, None where it has no quick way."""
        steps, batch = block.outputs.shape[:2]
        key = (steps, *self.grouped)
        if key not in self.formulas:
            self.formulas[key] = None  # unless it can be made
            arithmetic = self.bounds.arithmetic
            self.formulas[key] = NearFormula(
                self.layer, arithmetic, (steps, batch), [*self.grouped]
            )
        return self.formulas[key]

    def passed(self, block: Block, observed: Observed) -> None:
        """Go on from a block that was passed in the quick way."""
        assert self.last is not None
        value = block.outputs[-1] + self.last.moved[-1]
        self.shown = Ball(value, self.last.radius[-1].copy(), self.bounds.arithmetic)
        if not self.hidden:
            return
        steps, count = self.bounds, len(block.outputs)
        ends = [state.ends() for _, state in sorted(self.last.hidden.items())]
        self.before, self.hidden = ([one[k] for one in ends] for k in (0, 1))
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
            not float(one.radius.max()) <= WIDE * float(np.abs(c).max()) for one, c in pairs
        )

    def balls(self, hidden: list[Carried], replayed: Array) -> tuple[Ball, ...]:
        """Hidden states as balls around the replayed ones `(K, B, H)`."""
        pairs = zip(hidden, replayed, strict=True)
        return tuple(self.ball(one, c) for one, c in pairs)

    def ball(self, one: Carried, replayed: Array) -> Ball:
        """A hidden state as a ball around the replayed one `(B, H)`."""
        radius = one.radius * (1 + one.share) + one.each * one.gathered
        radius = radius * ROUNDED_UP + FLOAT32.smallest_normal
        return Ball(replayed + one.moved, radius.astype(np.float32), self.bounds.arithmetic)

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
            rounded = 2.0**-24 * np.maximum(np.abs(moved), radius) + FLOAT32.smallest_normal
            share = np.divide(rounded, radius, where=radius > 0, out=np.full_like(radius, np.inf))
            none, each = np.zeros_like(moved), np.zeros(self.layer.units)
            self.hidden.append(Carried(moved, radius, none, radius, share.max(axis=0), each))
