"""Units in another order, which is read off what was observed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.recurrence.layers import Array
from rnn_parity.recurrence.replay import replay

Order = NDArray[np.intp]
TELLING = 8
"""An order shows in so many samples, timesteps and units."""


def first_and_last(count: int) -> Order:
    """The order that swaps the first and the last."""
    order = np.arange(count)
    order[[0, -1]] = order[[-1, 0]]
    return order


def matching(seen: Array, right: Array) -> Order | None:
    """The order with the row `seen[i]` nearest to `right[order[i]]`; None if nothing moved."""
    order = np.array([np.abs(row - right).max(axis=1).argmin() for row in seen])
    straight = np.arange(len(order))
    moved = np.array_equal(np.sort(order), straight) and not np.array_equal(order, straight)
    return order if moved else None


def permuted_units(c: Computation, order: Order) -> Computation:
    """Outputs whose unit j is the right one's unit `order[j]`."""
    back = np.argsort(order)
    return c.but(
        f"the unit order is {order.tolist()}",
        rearrange=lambda y: y[..., order],
        undo=lambda c, y: (c.sequences, y[..., back]),
    )


def swapped_units(c: Computation) -> Variants:
    if c.layer.units > 1:
        yield permuted_units(c, first_and_last(c.layer.units))


def unit_orders(c: Computation, outputs: Outputs) -> Variants:
    """The order that maps the replayed first outputs to the observed ones, if it is one."""
    few = c.sequences.samples(slice(TELLING)).first(TELLING)
    right, seen = (
        y.reshape(-1, c.layer.units).T
        for y in (replay(c.layer, few).outputs, outputs[:TELLING, :TELLING].astype(np.float64))
    )
    order = matching(seen, right)
    if order is not None:
        yield permuted_units(c, order)


FAULTS = (
    Fault(
        "units-permuted",
        "the units stand in another order",
        "order the units as in the columns of the kernel",
        swapped_units,
        candidates=unit_orders,
    ),
)
