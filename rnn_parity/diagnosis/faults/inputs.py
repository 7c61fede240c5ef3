"""Mistakes of what the kernels meet: features in another order, dropout where there is none.

Which order, and which inputs are dropped, is read off what was observed. Neither is near the right
computation, so they are approached step by step, to first order each time (Gauss and Newton; damped
as Levenberg and Marquardt do).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.equations import Rows
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.diagnosis.faults.units import TELLING, first_and_last
from rnn_parity.diagnosis.fit import part
from rnn_parity.diagnosis.implied_weights import all_rows, rows
from rnn_parity.diagnosis.stack import pieces
from rnn_parity.recurrence.layers import Array, Layer
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences

Order = NDArray[np.intp]
FEW_FEATURES, MOST_FEATURES = 5, 128
"""Every order of a few features is tried; that of too many would take long to find."""
DAMPING = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 0.0, 0.0, 0.0)
RESTARTS = 3
TELLING_STEPS, NEARER = 6, 0.3
"""By this step less than that share of the squares is left, or it leads nowhere: up to 0.08 where
features are permuted, 0.4 to 1 where something else is wrong.
"""
ROUNDS = 8
"""After so many steps they have arrived, or will not."""


def permuted_features(c: Computation, order: Order) -> Computation:
    """An implementation whose kernel row k is the right one's row `order[k]`."""
    detail = f"the order of the kernel's rows is {order.tolist()}"
    return c.layer_but(detail, kernel=c.layer.kernel[order])


def swapped_features(c: Computation) -> Variants:
    if c.layer.features > 1:
        yield permuted_features(c, first_and_last(c.layer.features))


@np.errstate(all="ignore")
def feature_orders(c: Computation, outputs: Outputs) -> Variants:
    """Every order of a few features; of more, the one of the kernel that the outputs imply."""
    features = c.layer.features
    if features <= FEW_FEATURES:
        for one in list(permutations(range(features)))[1:]:
            yield permuted_features(c, np.array(one))
    elif features <= MOST_FEATURES:
        order = before = np.arange(features)
        for _ in range(RESTARTS):
            order, before = implied_order(c, outputs, order), order
            if np.array_equal(order, before):
                break
        if not np.array_equal(order, np.arange(features)):
            yield permuted_features(c, order)


def implied_order(c: Computation, outputs: Outputs, order: Order) -> Order:
    """For each feature, the kernel's row that is most like the one it meets; `order` is a guess.

    The columns of a few units tell it: they follow from the outputs of each unit alone. The guess
    itself is returned where no kernel comes near those outputs.
    """
    kernel, units, off = c.layer.kernel[order], np.empty(0, np.intp), []
    for damping in DAMPING:
        equations = rows(c.layer.changed(kernel=kernel), c.sequences, outputs)
        if not len(units):
            units = np.argsort(-(equations.residual**2).sum((0, 1)))[:TELLING]
        off.append(float((equations.residual[..., units] ** 2).sum()))
        if len(off) == TELLING_STEPS and not off[-1] < NEARER * off[0]:
            return order
        for j in units.tolist():
            kernel[:, j :: c.layer.units] += correction(c.layer, equations, j, damping)
    told = np.concatenate([np.arange(j, c.layer.width, c.layer.units) for j in units])
    far = np.abs(kernel[:, np.newaxis, told] - c.layer.kernel[:, told]).sum(axis=2)
    return nearest(far)


def correction(layer: Layer, equations: Rows, j: int, damping: float) -> Array:
    """What is missing in unit j's columns of the kernel, `(F, G)`."""
    matrix, residual = equations.of_unit(j)
    starts = np.cumsum([0, *(design.shape[2] for design in equations.designs)])
    met = [p for p, one in enumerate(pieces(layer)) if one.inputs and p != equations.mixed]
    a = np.concatenate([matrix[:, starts[p] : starts[p] + layer.features] for p in met], axis=1)
    gram = a.T @ a
    gram[np.diag_indices(len(gram))] *= 1 + damping
    change = np.zeros((layer.features, len(layer.GATES)))
    try:
        solution = np.linalg.solve(gram, a.T @ residual)
    except np.linalg.LinAlgError:  # a unit that never changes tells nothing
        return change
    gates = [pieces(layer)[p].gate for p in met]
    change[:, gates] = solution.reshape(len(met), -1).T
    return change


def nearest(far: Array) -> Order:
    """One row for each feature from the distances `(F, F)`: the nearest pair that is left first."""
    order, left = np.zeros(len(far), np.intp), np.nan_to_num(far, nan=np.inf)
    for _ in order:
        feature, row = np.unravel_index(int(left.argmin()), left.shape)
        order[feature] = row
        left[feature], left[:, row] = np.inf, np.inf
    return order


def every_second_input(c: Computation) -> Variants:
    """As if those rows of the kernel were zeros, and the others doubled."""
    keep = np.arange(c.layer.features) % 2
    kernel = c.layer.kernel * (2.0 * keep)[:, np.newaxis]
    yield c.layer_but("inputs are dropped", kernel=kernel)


@np.errstate(all="ignore")
def dropouts(c: Computation, outputs: Outputs) -> Variants:
    """Input dropout: each sample has one mask of zeros and 1 / (1 - rate) for all its timesteps."""
    layer, s = c.layer, c.sequences
    if s.dropout is not NO_DROPOUT:
        return
    few = part(s, outputs, slice(None), slice(0, TELLING + 8 * layer.features // layer.units))
    scales = np.ones((s.shape[0], layer.features))
    for _ in range(ROUNDS):
        scales = np.clip(scales + missing(layer, scales, *few), -1.0, 8.0)
    used = scales[scales > 0.5]
    scale = np.median(used) if len(used) else 0.0
    if not scale > 1.001:
        return
    rate = round(1 - 1 / float(scale), 3)
    factor = layer.precision.round(np.where(scales > scale / 2, 1 / (1 - rate), 0.0))
    inputs = layer.precision.round(s.inputs * factor[:, np.newaxis])
    yield c.sequences_but(f"inputs are dropped at a rate of {rate}", inputs=inputs)


def missing(layer: Layer, scales: Array, sequences: Sequences, outputs: Outputs) -> Array:
    """What is missing in the `scales` `(B, F)` that the inputs seem to be multiplied with."""
    scaled = replace(sequences, inputs=sequences.inputs * scales[:, np.newaxis])
    equations = all_rows(layer, scaled, outputs)
    x = sequences.inputs.swapaxes(0, 1)[..., np.newaxis]
    owed = []
    for feature, row in enumerate(layer.kernel):
        products = np.split(x[:, :, feature] * row, len(layer.GATES), axis=-1)
        changes = [products[one.gate] if one.inputs else None for one in pieces(layer)]
        owed.append(equations.shown(changes))
    design = np.stack(owed, axis=-1)
    change = np.zeros_like(scales)
    for b in range(len(change)):
        a, r = design[:, b].reshape(-1, layer.features), equations.residual[:, b].ravel()
        if np.isfinite(a).all():
            change[b] = np.linalg.lstsq(a, r, rcond=None)[0]
    return change


def without_dropout(c: Computation) -> Variants:
    """Without any of it; then, where inputs and state have some, without that of each alone."""
    masks = c.sequences.dropout
    if masks is NO_DROPOUT:
        return
    yield c.sequences_but(dropout=NO_DROPOUT)
    if masks.inputs is not None and masks.state is not None:
        yield c.sequences_but("that of the inputs", dropout=replace(masks, inputs=None))
        yield c.sequences_but("that of the state", dropout=replace(masks, state=None))


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
        "dropout-active",
        "dropout is applied, as in training",
        "run the layer with training=False",
        every_second_input,
        candidates=dropouts,
        alone=True,
    ),
    Fault(
        "dropout-ignored",
        "dropout is left out in training",
        "multiply inputs and state with the masks of a call in training",
        without_dropout,
    ),
)
