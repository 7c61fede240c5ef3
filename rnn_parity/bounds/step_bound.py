"""The step residual of many timesteps at once, and the bound that correct arithmetic keeps.

`residual[t] = |observed[t] - step(inputs[t], observed[t-1])|`: each step starts from the *observed*
state, so nothing accumulates and all steps are independent of each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball, Sum, apply, concatenated
from rnn_parity.bounds.hidden_states import (
    IN_PIECES,
    SEGMENT,
    Balls,
    Given,
    NotAtOnceError,
    UnknownPieceError,
    at_once,
    looked_at,
    one_by_one,
)
from rnn_parity.bounds.magnitudes import BoundedProduct, narrow
from rnn_parity.bounds.observed import Observed, latest, observed_steps
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.formula import Bias, Matrix, bound
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.replay import Block, blocks
from rnn_parity.recurrence.sequences import Sequences

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

    def __init__(self, layer: Layer, arithmetic: Arithmetic, sequences: Sequences) -> None:
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
        self.at_once = True
        self.unlooked, self.left = 0, sequences.shape[1]
        self.step = bound(layer.formula, self.letters())

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
            return output
        given = Given(x, () if self.layer.facts.own_output else (before,), keep)
        count = len(block.projection)
        length = count if seen is None else SEGMENT
        cuts = [slice(start, start + length) for start in range(0, count, length)]
        parts = [self.segment(given[cut], None if seen is None else seen[cut]) for cut in cuts]
        return parts[0] if len(parts) == 1 else concatenated(parts)

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
        cut = looked_at(self.step, given[steps], old, new, seen[steps])
        return tuple(c[0].where(some, one) for c, one in zip(cut, self.hidden, strict=True))

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
        return Sum.of(self.arithmetic, value, magnitude, self.layer.units, spread)

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


@np.errstate(all="ignore")
def final_balls(
    layer: Layer, sequences: Sequences, arithmetic: Arithmetic
) -> tuple[Ball, tuple[Ball, ...]]:
    """The last output and the final states, `(B, H)` each, when nothing in between was observed.

    The radius grows from step to step along the whole sequence, from the known initial state.
    """
    steps = Steps(layer, arithmetic, sequences)
    zeros = np.zeros_like(sequences.initial_state[0])
    nothing = output = Ball(zeros, zeros.astype(arithmetic.radius_dtype), arithmetic)
    state = Ball(sequences.initial_state[0], nothing.radius, arithmetic)
    for block in blocks(layer, sequences):
        for t in range(len(block.outputs)):
            now = block.part(slice(t, t + 1))
            before = Ball(now.states[0, :1], state.radius[np.newaxis], arithmetic)
            if sequences.mask is None:
                output = state = steps.outputs(now, before)[0]
                continue
            keep = sequences.mask[:, block.steps.start + t, np.newaxis]
            ball = steps.outputs(now, before, keep[np.newaxis])[0]
            hidden = nothing if layer.zero_output_for_mask else output
            output, state = ball.where(keep, hidden), ball.where(keep, state)
    return output, steps.hidden if layer.facts.own_output else (state, *steps.hidden)


@np.errstate(all="ignore")
def handed_on_radii(
    layer: Layer, sequences: Sequences, outputs: NDArray[Any]
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
