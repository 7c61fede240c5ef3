"""Mistakes whose order or pattern is read off what was observed: permutations and dropout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnn_parity.equations import flattened
from rnn_parity.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.implied import total_rows
from rnn_parity.inverse import inverse_activation
from rnn_parity.layers import Array
from rnn_parity.replay import replay
from rnn_parity.stack import stacked

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


def permuted_features(c: Computation, order: Order) -> Computation:
    """An implementation whose kernel row k is the right one's row `order[k]`."""
    detail = f"the order of the kernel's rows is {order.tolist()}"
    return c.layer_but(detail, kernel=c.layer.kernel[order])


def swapped_features(c: Computation) -> Variants:
    if c.layer.features > 1:
        yield permuted_features(c, first_and_last(c.layer.features))


@np.errstate(all="ignore")
def feature_orders(c: Computation, outputs: Outputs) -> Variants:
    """The order that maps the kernel's rows to those that the outputs imply, if it is one."""
    found = total_rows(c.layer, c.sequences, outputs)
    if found is None or c.layer.features < 2:
        return
    # Nothing but the kernel differs: `z - h W - b`, where z is known, is `x U`.
    x = flattened(found.designs[0])[:, : c.layer.features]
    product = flattened(found.residual / found.slopes[0]) + x @ c.layer.kernel
    count = np.isfinite(product).sum(axis=0)
    telling = [j for j in np.argsort(-count)[:TELLING] if count[j] >= c.layer.features]
    if not telling:
        return
    seen = np.empty((c.layer.features, len(telling)))
    for i, j in enumerate(telling):
        known = np.isfinite(product[:, j])
        seen[:, i] = np.linalg.lstsq(x[known], product[known, j], rcond=None)[0]
    order = matching(seen, c.layer.kernel[:, telling])
    if order is not None:
        yield permuted_features(c, order)


def every_second_input(c: Computation) -> Variants:
    keep = np.arange(c.layer.features) % 2
    yield c.sequences_but("inputs are dropped", inputs=c.sequences.inputs * (2.0 * keep))


@np.errstate(all="ignore")
def dropouts(c: Computation, outputs: Outputs) -> Variants:
    """Input dropout: each sample has one mask of zeros and 1 / (1 - rate) for all its timesteps."""
    layer, s = c.layer, c.sequences
    steps = TELLING + 8 * layer.features // layer.units
    seen = outputs[:, :steps].astype(np.float64)
    z = inverse_activation(layer.activation.name, seen)
    if z is None or s.mask is not None:
        return
    states = np.concatenate([s.initial_state[0][:, np.newaxis], seen[:, :-1]], axis=1)
    rest = z - states @ layer.recurrent_kernel - stacked(layer)[-1]
    scales = np.array(
        [kept(x[:steps], layer.kernel, r) for x, r in zip(s.inputs, rest, strict=True)]
    )
    used = scales[scales > 0.5]
    scale = np.median(used) if len(used) else 0.0
    if not scale > 1.001:
        return
    rate = round(1 - 1 / float(scale), 3)
    factor = layer.precision.round(np.where(scales > scale / 2, 1 / (1 - rate), 0.0))
    inputs = layer.precision.round(s.inputs * factor[:, np.newaxis])
    yield c.sequences_but(f"inputs are dropped at a rate of {rate}", inputs=inputs)


def kept(x: Array, kernel: Array, product: Array) -> Array:
    """What each feature `(F,)` of one sample was multiplied with, from `(x * scale) U`."""
    known = np.isfinite(product)
    design = (x[:, np.newaxis, :] * kernel.T)[known]
    try:
        scale: Array = np.linalg.solve(design.T @ design, design.T @ product[known])
    except np.linalg.LinAlgError:
        return np.full(len(kernel), np.nan)
    return scale


FAULTS = (
    Fault(
        "features-permuted",
        "the features stand in another order",
        "feed the features in the order of the kernel's rows",
        swapped_features,
        candidates=feature_orders,
        alone=True,
    ),
    Fault(
        "units-permuted",
        "the units stand in another order",
        "order the units as in the columns of the kernel",
        swapped_units,
        candidates=unit_orders,
    ),
    Fault(
        "dropout-active",
        "dropout is applied, as in training",
        "run the layer with training=False",
        every_second_input,
        candidates=dropouts,
        alone=True,
        layers=("SimpleRNN",),
    ),
)
