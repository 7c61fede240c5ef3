"""A few units of a layer, by which most of what is wrong with the others is refuted as well.

In nearly all formulas a unit's output depends on its own columns of the weights, on the inputs and
on the states before the step, which are observed. So a layer that is cut to a few units computes
what the whole one does in these, at their share of the cost: all features and states are given, and
W keeps all of its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.first_order import derivative
from rnn_parity.diagnosis.equations import small
from rnn_parity.errors import UnsupportedError
from rnn_parity.recurrence.cells import WEIGHTS, Array, Cell
from rnn_parity.recurrence.products import Product

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
