"""The free-running replay: the recurrence by hand, in float64, from the inputs and initial state.

Works through a sequence in blocks of timesteps, so that a million steps need little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Lettered, Matrix, bound
from rnn_parity.recurrence.products import Product, operand
from rnn_parity.recurrence.sequences import NO_DROPOUT, Dropout, Sequences, time_major
from rnn_parity.system.threads import over_batch


@dataclass(frozen=True, eq=False)
class Trace:
    """A replayed sequence: `outputs` `(B, T, H)` in processing order, `final_state` `(B, H)`.

    Where a cell has several states, as an LSTM's h and c, `final_state` is a tuple of them.
    """

    outputs: Array
    final_state: Any

    @property
    def states(self) -> tuple[Array, ...]:
        """The final states, `(B, H)` each, however many there are."""
        return self.final_state if isinstance(self.final_state, tuple) else (self.final_state,)


@dataclass(frozen=True, eq=False)
class Block:
    """Some timesteps of a replay, time first; valid until the next block is asked for.

    `inputs` is `(t, B, F)`, rounded to the layer's precision; `projection` is `x U`,
    `(t, B, G H)`, `outputs` are the outputs, `(t, B, H)`. `states` is `(S, t + 1, B, H)`: each of
    the S states before the first of these steps, and after each of them.
    """

    steps: slice
    inputs: Array
    projection: Array
    outputs: Array
    states: Array

    def part(self, t: slice) -> Block:
        """Some of these timesteps."""
        first = self.steps.start
        return Block(
            slice(first + t.start, first + t.stop),
            self.inputs[t],
            self.projection[t],
            self.outputs[t],
            self.states[:, t.start : t.stop + 1],
        )


def replay(layer: Cell, sequences: Sequences) -> Trace:
    """Replay a whole sequence."""
    outputs = np.empty((*sequences.shape, layer.units))

    @np.errstate(all="ignore")  # infinities and NaN are results like others
    def last_states(samples: slice) -> Array:
        for block in blocks(layer, sequences.samples(samples)):
            outputs[samples, block.steps] = block.outputs.swapaxes(0, 1)
        last: Array = block.states[:, -1].copy()
        return last

    parts = over_batch(len(sequences.inputs), multiplications(layer, sequences), last_states)
    final = np.concatenate(parts, axis=1)
    return Trace(outputs, tuple(final) if len(final) > 1 else final[0])


def multiplications(layer: Cell, sequences: Sequences) -> int:
    """How many multiplications the matrix products of a whole replay take."""
    batch, timesteps = sequences.shape
    return batch * timesteps * layer.width * (layer.features + layer.units)


def blocks(layer: Cell, sequences: Sequences) -> Iterator[Block]:
    """Replay block by block; the buffers are used again for every block."""
    steps = list(sequences.blocks(layer.width))
    size, batch = steps[0].stop, sequences.shape[0]
    inputs = np.empty((size, batch, layer.features))
    projections = np.empty((size, batch, layer.width))
    states = np.empty((len(layer.STATES), size + 1, batch, layer.units))
    # Without a mask, an output that is a state is stored once.
    separate = sequences.mask is not None or layer.facts.own_output
    outputs = np.empty_like(states[0, 1:]) if separate else states[0, 1:]
    states[:, 0] = sequences.initial_state
    previous = np.zeros((batch, layer.units))
    step = step_on_arrays(layer, sequences.dropout)
    for part in steps:
        n = part.stop - part.start
        x = layer_inputs(layer, sequences.inputs, part, inputs[:n])
        p = project(layer, x, projections[:n], sequences.dropout)
        block = Block(part, x, p, outputs[:n], states[:, : n + 1])
        mask = None if sequences.mask is None else sequences.mask[:, part].T
        run_steps(layer, step, block, mask, previous)
        yield block
        states[:, 0] = states[:, n]
        previous[...] = outputs[n - 1]


def layer_inputs(layer: Cell, inputs: NDArray[Any], steps: slice, out: Array) -> Array:
    """These timesteps of the inputs as the layer sees them: rounded to its compute dtype."""
    x = time_major(inputs, steps, out)
    if inputs.dtype.name != layer.precision.name:
        x[...] = layer.precision.round(x)
    return operand(layer, x)


def project(layer: Cell, x: Array, out: Array, dropout: Dropout = NO_DROPOUT) -> Array:
    """The products `x U` of all timesteps at once."""
    out[...] = Product(layer, layer.kernel, dropout.inputs)(x, slice(0, layer.width))
    return out


def run_steps(
    layer: Cell,
    step: Callable[..., tuple[Any, ...]],
    block: Block,
    mask: NDArray[np.bool_] | None,
    previous: Array,
) -> None:
    """The time loop: fills the outputs and states of `block`."""
    states, outputs = block.states, block.outputs
    own_output, count = layer.facts.own_output, len(states)
    for t, x in enumerate(input_sums(layer, block.projection)):
        found = step(x, *states[:, t])
        output, new = found[0], found[own_output:]
        if mask is None:
            for i in range(count):
                states[i, t + 1] = new[i]
            if own_output:
                outputs[t] = output
            continue
        # A masked step keeps the state and repeats the output, which before the first is zeros.
        keep = mask[t, :, np.newaxis]
        for i in range(count):
            states[i, t + 1] = np.where(keep, new[i], states[i, t])
        hidden = 0.0 if layer.zero_output_for_mask else previous
        outputs[t] = previous = np.where(keep, output, hidden)


def input_sums(layer: Cell, projection: Array) -> Iterator[InputSum]:
    """The inputs x of each timestep, from the products `x U` `(t, B, G H)` of all of them."""
    bias, every = layer.input_bias, slice(0, layer.width)
    biased = projection if bias is None else projection + bias
    return map(InputSum, projection, biased, repeat(every))


def step_on_arrays(layer: Cell, dropout: Dropout = NO_DROPOUT) -> Callable[..., tuple[Any, ...]]:
    """The formula on plain arrays: a function of `InputSum` inputs and the states `(B, H)`."""
    every = slice(0, layer.width)
    letters: dict[str, Any] = {
        "U": Matrix(lambda x, columns: x if columns is every else x.part(columns), every),
        "W": Matrix(Product(layer, layer.recurrent_kernel, dropout.state), every),
        "b": Bias(layer.bias, every),
        **layer.vectors,
        **{letter: applied(activation) for letter, activation in layer.letters.items()},
    }
    return bound(layer.formula, letters)


def applied(activation: Activation) -> Callable[[Any], Array]:
    """An activation as a formula applies it."""

    def apply(z: Any) -> Array:
        return activation(z if type(z) is np.ndarray else z.value())

    return apply


class InputSum(Lettered):
    """A sum with `x U` in it, of some columns of U; `biased` is `x U` with the bias of the inputs,
    which is added to all timesteps at once. `rest` is what else has been added so far.

    It stands for the inputs x as well, with which a formula can do nothing but `x @ U`.
    """

    __slots__ = ("biased", "columns", "plain", "rest")

    def __init__(
        self, plain: Array, biased: Array, columns: slice, rest: Array | None = None
    ) -> None:
        self.plain, self.biased, self.columns, self.rest = plain, biased, columns, rest

    def part(self, columns: slice) -> InputSum:
        """`x U` for these columns of U."""
        return InputSum(self.plain[..., columns], self.biased[..., columns], columns)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the sum."""
        return self.plain.shape

    def value(self) -> Array:
        """The sum, without the bias of the inputs."""
        return self.plain if self.rest is None else self.plain + self.rest

    def __array__(self, *args: Any, **kwargs: Any) -> Array:  # of a formula that ends in a sum
        return self.value()

    def __add__(self, other: Any) -> Any:
        rest = self.rest
        if type(other) is np.ndarray:
            rest = other if rest is None else rest + other
            return InputSum(self.plain, self.biased, self.columns, rest)
        if isinstance(other, InputSum):
            return self + other.value()
        if isinstance(other, Bias) and other.of_inputs and other.columns == self.columns:
            return self.biased if rest is None else self.biased + rest
        return self.value() + other

    __radd__ = __add__

    def __getitem__(self, part: Any) -> Any:
        return self.value()[part]

    def __sub__(self, other: Any) -> Any:
        return self.value() - other

    def __rsub__(self, other: Any) -> Any:
        return other - self.value()

    def __mul__(self, other: Any) -> Any:
        return self.value() * other

    __rmul__ = __mul__

    def __neg__(self) -> Array:
        return -self.value()
