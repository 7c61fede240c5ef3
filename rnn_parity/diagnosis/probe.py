"""A probe of one suspected weight: a step in which it multiplies the only number there is.

Where the implementation itself can be run, that settles a suspicion. All inputs and states are 0
but the one that the weight multiplies, and the unit's own state and c, without which some gates
show nothing. Products with 0 are exact, so that the bound is that of a layer of one or two units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.diagnosis.equations import changed_at, value, where
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.sequences import Sequences

Probe: TypeAlias = Callable[[Array, tuple[Array, ...]], NDArray[Any] | None]
"""The layer under test, run: from inputs `(B, 1, F)` and states `(B, H)` to outputs `(B, 1, H)`, or
to None where it cannot be.
"""

SIZES = np.array([sign * 2.0**e for e in range(-3, 8) for sign in (1, -1)])
"""What the weight multiplies: where it moves the output most against the bound depends on the
other gates. Powers of two make the product exact.
"""
TELLING = 4.0
"""Bounds by which the entry must move the output. Derived: the output is within one bound of what
either weight gives, so that half the way tells the two apart with one bound to spare.
"""


@np.errstate(all="ignore")
def probed(layer: Cell, k: int, j: int, change: float, probe: Probe) -> bool | None:
    """Whether the weight at `(k, j)` of `stack` is off by about `change`; None if that cannot tell.

    What the output does is nearer to the other weight's, or nearer to the layer's own.
    """
    other = changed_at(layer, {(k, j): value(layer, k, j) + change})
    inputs, states, unit, cut = alone(layer, k, j)
    expected, moved = (one_step(*cut(one))[:, unit] for one in (layer, other))
    way = moved.value - expected.value
    clear = np.abs(way) / np.maximum(expected.radius, moved.radius)
    best = int(np.argmax(np.nan_to_num(clear, nan=0.0)))
    if not clear[best] > TELLING:
        return None
    outputs = probe(inputs, states)
    if outputs is None:
        return None
    share = (float(outputs[best, 0, j]) - expected.value[best]) / way[best]
    return bool(share > 0.5) if np.isfinite(share) else None


def alone(
    layer: Cell, k: int, j: int
) -> tuple[Array, tuple[Array, ...], int, Callable[[Cell], tuple[Cell, Sequences]]]:
    """Inputs and states that show the weight at `(k, j)`; the small layer that they leave of one,
    with its own inputs and states, and the unit of it that is unit j.
    """
    name, index = where(layer, k, j)
    x = np.zeros((len(SIZES), 1, layer.features))
    states = np.zeros((len(layer.STATES), len(SIZES), layer.units))
    states[:, :, j] = 1
    feature, units = 0, [j]
    if name == "kernel":
        feature = index[0]
        x[:, 0, feature] = SIZES
    elif name == "recurrent_kernel":
        units = sorted({index[0], j})
        states[0, :, index[0]] = SIZES

    def cut(one: Cell) -> tuple[Cell, Sequences]:
        small = small_layer(one, feature, units)
        return small, Sequences(x[:, :, [feature]], None, states[:, :, units])

    return x, tuple(states), units.index(j), cut


def small_layer(layer: Cell, feature: int, units: list[int]) -> Cell:
    """What the outputs of `units` depend on when all other features and states are 0."""
    columns = [g * layer.units + j for g in range(len(layer.GATES)) for j in units]
    return layer.changed(
        kernel=layer.kernel[np.ix_([feature], columns)],
        recurrent_kernel=layer.recurrent_kernel[np.ix_(units, columns)],
        bias=None if layer.bias is None else layer.bias[..., columns],
        addends=tuple(addend[columns] for addend in layer.addends),
    )


def one_step(layer: Cell, sequences: Sequences) -> Ball:
    """Where the outputs `(B, H)` of the first step must lie."""
    steps = Steps(layer, arithmetics(layer.precision)[0], sequences)
    nothing = np.zeros((*sequences.shape, layer.units))
    (block, observed), *_ = observed_steps(layer, sequences, nothing)
    return steps.observed(block, observed)[0]
