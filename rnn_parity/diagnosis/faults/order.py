"""Mistakes of order: timesteps, batch, units or features stand elsewhere than they should.

Which order the units or features have is read off what was observed. A kernel with other rows is
not near the right one, so that it is approached step by step, to first order each time (Gauss and
Newton; damped as Levenberg and Marquardt do).
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.equations import Rows, has_equations, pieces
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants, backwards
from rnn_parity.diagnosis.implied_weights import rows
from rnn_parity.recurrence.layers import Array, Layer
from rnn_parity.recurrence.replay import replay
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences

Order = NDArray[np.intp]
TELLING = 8
"""Samples, timesteps and units in which an order shows. Chosen."""
FEW_FEATURES, MOST_FEATURES = 5, 128
"""Every order of few features is tried; that of too many would take long to find. Chosen: 5 have
120 orders, 6 would have 720.
"""
DAMPING = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 0.0, 0.0, 0.0)
"""The damping of each step towards the kernel that the outputs imply. Chosen."""
RESTARTS = 3
"""Times that the approach starts, each time from the order that it found before. Chosen."""
TELLING_STEPS, NEARER = 6, 0.3
"""By this step less than that share of the squares is left, or the approach leads nowhere.
Measured: up to 0.08 where features are permuted, 0.4 to 1 where something else is wrong.
"""


# Timesteps and batch.


def inputs_reversed(c: Computation) -> Variants:
    x, mask = c.sequences.inputs, c.sequences.mask
    yield c.sequences_but(inputs=backwards(x), mask=backwards(mask))


def outputs_not_reversed(c: Computation) -> Variants:
    yield c.but(rearrange=backwards, undo=lambda c, y: (c.sequences, backwards(y)))


def one_timestep(c: Computation) -> str | None:
    return "there is one timestep" if c.sequences.shape[1] == 1 else None


def time_shifted(c: Computation) -> Variants:
    """Early: observed[t] is output t + 1. Late: observed[t] is output t - 1."""

    def early(c: Computation, outputs: Outputs) -> tuple[Sequences, Outputs]:
        s, count = c.sequences, c.sequences.shape[1]
        if s.mask is None and not c.layer.hidden and count > 2:
            state = outputs[np.newaxis, :, 0].astype(np.float64)
            later = Sequences(s.inputs[:, 2:], None, state, s.dropout)
            return later, outputs[:, 1 : count - 1]
        # Output 0 was not observed; the replayed one stands in for it.
        first, rest = replay(c.layer, s.first(1)), outputs[:, : count - 1]
        if s.mask is None:
            state = np.reshape(first.final_state, (len(c.layer.STATES), -1, c.layer.units))
            return Sequences(s.inputs[:, 1:], None, state, s.dropout), rest
        if rest.shape[::2] != first.outputs.shape[::2]:
            return s, outputs
        zero = first.outputs
        if not c.layer.zero_output_for_mask:
            # But it was, where the next timestep is masked and repeats it.
            zero = np.where(s.mask[:, 1, np.newaxis, np.newaxis], zero, rest[:, :1])
        return s, np.concatenate([zero, rest], axis=1)

    def late(c: Computation, outputs: Outputs) -> tuple[Sequences, Outputs]:
        return c.sequences.first(outputs.shape[1] - 1), outputs[:, 1:]

    if c.sequences.shape[1] > 1:
        yield c.but("one step early", rearrange=lambda y: np.roll(y, -1, axis=1), undo=early)
        yield c.but("one step late", rearrange=pushed, undo=late)


def pushed(outputs: Array) -> Array:
    late = np.zeros_like(outputs)
    late[:, 1:] = outputs[:, :-1]
    return late


def batch_time_swapped(c: Computation) -> Variants:
    """The outputs stand time first; or the recurrence itself ran along the batch."""

    def swapped(array: NDArray[Any]) -> Any:
        return array.swapaxes(0, 1)

    yield c.but(
        "the outputs stand time first",
        rearrange=swapped,
        undo=lambda c, y: (c.sequences, swapped(y)),
    )
    s = c.sequences
    if s.mask is None and not s.initial_state.any() and s.dropout is NO_DROPOUT:
        zeros = np.zeros((len(s.initial_state), s.shape[1], c.layer.units))
        along = Sequences(swapped(s.inputs), None, zeros)
        yield c.but(
            "the recurrence ran along the batch",
            sequences=along,
            rearrange=swapped,
            undo=lambda c, y: (c.sequences, swapped(y)),
        )


def one_by_one(c: Computation) -> str | None:
    return "there is one sample and one timestep" if c.sequences.shape == (1, 1) else None


DIRECTION_FAULTS = (
    Fault(
        "inputs-reversed",
        "the inputs are taken in the other order: go_backwards not honoured, or twice",
        "take the inputs last to first where go_backwards is set, only there",
        inputs_reversed,
        one_timestep,
    ),
    Fault(
        "outputs-not-reversed",
        "the outputs stand in the other order of time",
        "keep the outputs in the order in which they are computed",
        outputs_not_reversed,
        one_timestep,
    ),
)
SHIFT_FAULTS = (
    Fault(
        "time-shifted",
        "the outputs stand one timestep early or late",
        "store output t at index t: append it after the step, not before",
        time_shifted,
        one_timestep,
    ),
    Fault(
        "batch-time-swapped",
        "the batch axis and the time axis are swapped",
        "bring inputs and outputs to (batch, timesteps, ...)",
        batch_time_swapped,
        one_by_one,
    ),
)


# Units and features.


def first_and_last(count: int) -> Order:
    """The order that swaps the first and the last."""
    order = np.arange(count)
    order[[0, -1]] = order[[-1, 0]]
    return order


def matching(seen: Array, expected: Array) -> Order | None:
    """The order with the row `seen[i]` nearest to `expected[order[i]]`; None if nothing moved."""
    order = np.array([np.abs(row - expected).max(axis=1).argmin() for row in seen])
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


def feature_orders(c: Computation, outputs: Outputs) -> Variants:
    """Every order of a few features; of more, the one of the kernel that the outputs imply."""
    features = c.layer.features
    if features <= FEW_FEATURES:
        for one in list(permutations(range(features)))[1:]:
            yield permuted_features(c, np.array(one))
    elif features <= MOST_FEATURES and has_equations(c.layer):
        order = before = np.arange(features)
        for _ in range(RESTARTS):
            order, before = implied_order(c, outputs, order), order
            if np.array_equal(order, before):
                break
        if not np.array_equal(order, np.arange(features)):
            yield permuted_features(c, order)


@np.errstate(all="ignore")
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
    met = [p for p, one in enumerate(pieces(layer)) if one.inputs and p not in equations.mixed]
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


UNIT_FAULTS = (
    Fault(
        "units-permuted",
        "the units stand in another order",
        "order the units as in the columns of the kernel",
        swapped_units,
        candidates=unit_orders,
    ),
)
FEATURE_FAULTS = (
    Fault(
        "features-permuted",
        "the features stand in another order",
        "feed the features in the order of the kernel's rows",
        swapped_features,
        candidates=feature_orders,
        alone=True,
    ),
)
