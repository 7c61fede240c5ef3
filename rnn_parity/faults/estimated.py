"""The mistakes whose size or order must be estimated from what was observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rnn_parity.balls import Arithmetic
from rnn_parity.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.implied import differences, inverse_activation, solve, stacked, total_weights
from rnn_parity.layers import Array, SimpleRNN
from rnn_parity.precision import FLOAT32, FORMATS, Precision
from rnn_parity.replay import replay

Order = NDArray[np.intp]
DECIMALS = range(1, 9)
NARROW = ("tfloat32", "float16", "bfloat16")


def narrower(layer: SimpleRNN) -> list[Precision]:
    """The formats with fewer digits than the layer's own."""
    return [FORMATS[name] for name in NARROW if FORMATS[name].digits < layer.precision.digits]


def with_weights(c: Computation, f: Callable[[Array], Array], detail: str) -> Computation:
    """Every weight through f."""
    layer = c.layer
    bias = None if layer.bias is None else f(layer.bias)
    return c.layer_but(
        detail, kernel=f(layer.kernel), recurrent_kernel=f(layer.recurrent_kernel), bias=bias
    )


def printed_and_read(precision: Precision, decimals: int, w: Array) -> Array:
    """A weight that was printed with some decimals and read in the layer's own precision again."""
    return precision.round(np.round(w, decimals))


def weights_rounded(c: Computation) -> Variants:
    for p in narrower(c.layer):
        yield with_weights(c, p.round, f"all weights are rounded to {p.name}")
    for k in DECIMALS:
        printed = partial(printed_and_read, c.layer.precision, k)
        yield with_weights(c, printed, f"all weights are rounded to {k} decimals")


def lower_precision(c: Computation) -> Variants:
    for p in narrower(c.layer):
        yield c.layer_but(
            f"matrix products take their operands in {p.name}",
            kernel=p.round(c.layer.kernel),
            recurrent_kernel=p.round(c.layer.recurrent_kernel),
            operands=p,
        )


def lower_precisions(c: Computation, outputs: Outputs) -> Variants:
    """Also results in a narrower format, where every observed number is one of its numbers."""
    yield from lower_precision(c)
    observed = outputs.astype(np.float64)
    for p in narrower(c.layer):
        if np.array_equal(p.round(observed), observed):
            detail = f"results are rounded to {p.name}"
            yield c.but(detail, arithmetic=Arithmetic(FLOAT32, p))


def swapped_pair(count: int) -> Order:
    """A permutation that swaps the first and the last."""
    order = np.arange(count)
    order[[0, -1]] = order[[-1, 0]]
    return order


def permuted_units(c: Computation, order: Order) -> Computation:
    """Outputs whose unit j is the right one's unit `order[j]`."""
    back = np.argsort(order)
    return c.but(
        f"the unit order is {order.tolist()}",
        rearrange=lambda y: y[..., order],
        undo=lambda s, y: (s, y[..., back]),
    )


def units_permuted(c: Computation) -> Variants:
    if c.layer.units > 1:
        yield permuted_units(c, swapped_pair(c.layer.units))


def unit_orders(c: Computation, outputs: Outputs) -> Variants:
    """The order that maps the replayed first outputs to the observed ones, if it is one."""
    if c.layer.units < 2 or outputs.shape != (*c.sequences.shape, c.layer.units):
        return
    few = c.sequences.first(8)
    right, seen = replay(c.layer, few).outputs, outputs[:, : few.shape[1]]
    right, seen = right.reshape(-1, c.layer.units), seen.reshape(-1, c.layer.units)
    apart = np.array(
        [np.abs(seen[:, j, np.newaxis] - right).max(axis=0) for j in range(len(right.T))]
    )
    order = apart.argmin(axis=1)
    if (np.sort(order) == np.arange(len(order))).all() and (order != np.arange(len(order))).any():
        yield permuted_units(c, order)


def permuted_features(c: Computation, order: Order) -> Computation:
    """An implementation whose kernel row k is the right one's row `order[k]`."""
    return c.layer_but(
        f"the order of the kernel's rows is {order.tolist()}", kernel=c.layer.kernel[order]
    )


def features_permuted(c: Computation) -> Variants:
    if c.layer.features > 1:
        yield permuted_features(c, swapped_pair(c.layer.features))


def feature_orders(c: Computation, outputs: Outputs) -> Variants:
    """The order that maps the kernel's rows to those that the outputs imply, if it is one."""
    found = total_weights(c.layer, c.sequences, outputs)
    if found is None or c.layer.features < 2 or not np.isfinite(found.error).all():
        return
    kernel = (stacked(c.layer) + found.difference)[: c.layer.features]
    apart = np.abs(kernel[:, np.newaxis] - c.layer.kernel).max(axis=2)
    order = apart.argmin(axis=1)
    if (np.sort(order) == np.arange(len(order))).all() and (order != np.arange(len(order))).any():
        yield permuted_features(c, order)


FEW = 8
"""So many entries at most are single differences; more of them are another mistake."""


def weights_differ(c: Computation) -> Variants:
    kernel = c.layer.kernel.copy()
    k, j = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    kernel[k, j] *= 1.01
    yield c.layer_but(f"kernel[{k}, {j}] is 1% larger", kernel=kernel)


def differing_weights(c: Computation, outputs: Outputs) -> Variants:
    """The layer with the few entries that the outputs imply, where there are only a few."""
    found = total_weights(c.layer, c.sequences, outputs)
    if found is None:
        return
    real = differences(c.layer, found)
    if 0 < len(real) <= FEW:
        weights = stacked(c.layer)
        names = []
        for w in real:
            k = w.index[0] + {"kernel": 0, "recurrent_kernel": c.layer.features}.get(w.weight, 0)
            row = -1 if w.weight == "bias" else k
            weights[row, w.index[-1]] = w.implied
            names.append(
                f"{w.weight}{list(w.index)} is {w.implied:.9g} instead of {w.expected:.9g}"
            )
        f, h = c.layer.features, c.layer.units
        yield c.layer_but(
            "; ".join(names),
            kernel=weights[:f],
            recurrent_kernel=weights[f : f + h],
            bias=weights[-1],
        )


def dropout_active(c: Computation) -> Variants:
    keep = np.arange(c.layer.features) % 2
    yield c.sequences_but("inputs are dropped", inputs=c.sequences.inputs * (2.0 * keep))


JUDGED_SAMPLES = 4


def dropouts(c: Computation, outputs: Outputs) -> Variants:
    """Input dropout: each sample has one mask of zeros and 1 / (1 - rate) for all its timesteps."""
    s = c.sequences.samples(slice(0, JUDGED_SAMPLES))
    z = inverse_activation(c.layer.activation.name, outputs[:JUDGED_SAMPLES].astype(np.float64))
    if z is None or s.mask is not None:
        return
    states = np.concatenate([s.initial_state[:, np.newaxis], outputs[:JUDGED_SAMPLES, :-1]], axis=1)
    rest = z - states @ c.layer.recurrent_kernel
    rest -= 0.0 if c.layer.bias is None else c.layer.bias
    masks = np.empty((len(z), c.layer.features))
    for i, x in enumerate(s.inputs):
        good = np.isfinite(rest[i])
        design = (x[:, np.newaxis, :] * c.layer.kernel.T)[good]
        found = solve(design, rest[i][good])
        if found is None:
            return
        masks[i] = found[0]
    scale = np.median(masks[masks > 0.5]) if (masks > 0.5).any() else 0.0
    if not scale > 1.001:
        return
    rate = round(1 - 1 / scale, 3)
    dropped = np.where(masks > scale / 2, 1 / (1 - rate), 0.0)[:, np.newaxis]
    inputs = c.layer.precision.round(s.inputs * c.layer.precision.round(dropped))
    yield c.but(
        f"inputs are dropped at a rate of {rate}",
        undo=lambda _, y: (replace(s, inputs=inputs), y[:JUDGED_SAMPLES]),
    )


FAULTS = (
    Fault(
        "features-permuted",
        "the features stand in another order",
        features_permuted,
        candidates=feature_orders,
        alone=True,
    ),
    Fault(
        "units-permuted", "the units stand in another order", units_permuted, candidates=unit_orders
    ),
    Fault(
        "dropout-active",
        "dropout is applied, as in training",
        dropout_active,
        candidates=dropouts,
        alone=True,
    ),
    Fault(
        "weights-rounded",
        "the weights were rounded: printed with few decimals, or kept in a narrower format",
        weights_rounded,
    ),
    Fault(
        "lower-precision",
        "the arithmetic is narrower than the layer's",
        lower_precision,
        candidates=lower_precisions,
    ),
    Fault(
        "weights-differ",
        "some weights have other values",
        weights_differ,
        candidates=differing_weights,
        alone=True,
    ),
)
