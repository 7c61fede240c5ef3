"""A few units of a layer, by which most of what is wrong with the others is refuted as well.

In nearly all formulas a unit's output depends on its own columns of the weights, on the inputs and
on the states before the step, which are observed. So a layer that is cut to a few units computes
what the whole one does in these, at their share of the cost: all features and states are given, and
W keeps all of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball, Sum
from rnn_parity.bounds.first_order import derivative
from rnn_parity.bounds.observed import Observed, observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.diagnosis.equations import small
from rnn_parity.errors import UnsupportedError
from rnn_parity.recurrence.cells import WEIGHTS, Array, Cell
from rnn_parity.recurrence.products import Product
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import Block

Units = NDArray[np.intp]

BY_ITSELF: dict[Callable[..., Any], bool] = {}
"""Whether the formulas that were asked for compute each unit by itself."""


def by_themselves(layer: Cell) -> bool:
    """Whether a layer computes each unit by itself from the inputs and the states before a step."""
    formula = layer.formula
    if formula not in BY_ITSELF:
        BY_ITSELF[formula] = only_h_by_w(layer)
    return BY_ITSELF[formula] and not any(one.coupling for one in layer.activations)


def only_h_by_w(layer: Cell) -> bool:
    """Whether nothing is multiplied by W but the state h before the step, which is observed."""
    if layer.facts.own_output:
        return False
    one = small(layer)
    h, projection = np.zeros((1, 1, 1)), np.zeros((1, 1, one.width))
    hidden = tuple(np.zeros((1, 1, 1)) for _ in layer.hidden)
    try:
        found = derivative(one, projection, h, hidden, Product(one, one.recurrent_kernel))
    except UnsupportedError:
        return False
    return all(multiplied is h for multiplied in found.operands.values())


def cut(layer: Cell, units: Units) -> Cell:
    """The layer with the columns of some units alone; W, `(H, G n)`, keeps its rows."""
    names = (*WEIGHTS, *layer.vector_names())
    arrays = {name: getattr(layer, name) for name in names}
    own = {n: None if a is None else columns(a, layer.units, units) for n, a in arrays.items()}
    addends = tuple(columns(addend, layer.units, units) for addend in layer.addends)
    return layer.changed(**own, addends=addends)


def columns(array: Array, count: int, units: Units) -> Array:
    """Of `(..., G H)`, gate by gate, the columns of some of `count` units."""
    gates = array.reshape(*array.shape[:-1], -1, count)
    found: Array = gates[..., units].reshape(*array.shape[:-1], -1)
    return found


# The bound of a few units.


@dataclass(frozen=True, eq=False)
class OwnState(Ball):
    """The state h of a few units, `(t, B, J)`; the `whole` one `(t, B, H)` is what W multiplies."""

    whole: Ball

    def __getitem__(self, part: Any) -> OwnState:
        own = super().__getitem__(part)
        return OwnState(own.value, own.radius, own.arithmetic, self.whole[part])


class StepsOfUnits(Steps):
    """The steps of a layer that is cut: it multiplies nothing by W but h."""

    def product(self, h: Any, columns: slice) -> Sum:
        """`h W` for these columns of W."""
        return super().product(h.whole, columns)


def steps_of_units(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    units: Units,
    arithmetic: Arithmetic,
) -> Iterator[tuple[Block, Observed, Ball]]:
    """Where the outputs of a few `units` must lie, `(t, B, J)`, each step started from the observed
    state; block by block, with what was observed of all units.

    Of a layer whose units are `by_themselves`, without a mask. How the bounds of products are
    grouped depends on the units: these differ a little from those of the whole layer.
    """
    part = cut(layer, units)
    own = replace(sequences, initial_state=sequences.initial_state[..., units])
    steps = StepsOfUnits(part, arithmetic, own)
    for block, observed in observed_steps(part, sequences, outputs):
        whole = Ball.exact(observed.states[:-1], arithmetic)
        before = OwnState(whole.value[..., units], whole.radius, arithmetic, whole)
        seen = Ball.exact(observed.outputs[..., units], arithmetic)
        yield block, observed, steps.outputs(block, before, None, seen)
