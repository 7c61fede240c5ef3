"""Mistakes of what reaches a layer, its order, masks and dropout; and of the order of outputs.

Which order the units or features have is read off what was observed. A kernel with other rows is
not near the right one, so that it is approached step by step, to first order each time (Gauss and
Newton; damped as Levenberg and Marquardt do).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.observed import observed_part
from rnn_parity.diagnosis.equations import Rows, has_equations, pieces
from rnn_parity.diagnosis.faults.fault import (
    INPUTS,
    OUTPUTS,
    UNITS,
    Computation,
    Fault,
    Outputs,
    Variants,
)
from rnn_parity.diagnosis.few_units import Units, by_themselves, cut
from rnn_parity.diagnosis.implied_weights import all_rows, few_rows, rows, rows_of_units
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences
from rnn_parity.recurrence.time_loop import Trace, first_step, replay
from rnn_parity.system.files import room_for

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
RIGHT = 16.0
"""Unit roundoffs, as a share of the outputs, that right steps are off by at most. Chosen: what is
off by more is looked at more closely."""
SCREENED, SCREENING, SCREENING_ONE = 2, 2, 4
"""Units that are approached before others, and equations for each number of the kernel that such a
unit has; of a single gate, where they cost little. Measured: where features are permuted, at most
0.02 of the squares are left by `TELLING_STEPS`, and 0.4 or more where something else is wrong; at
4, 0.002 and about as much. Of a SimpleRNN of 128 features, 0.18 are left where samples are others
at 2, and 0.35 at 4.
"""


# Timesteps and batch.


def backwards(array: NDArray[Any] | None) -> Any:
    """`(B, T, ...)` in the other order of time."""
    return None if array is None else array[:, ::-1]


def inputs_reversed(c: Computation) -> Variants:
    x, mask = c.sequences.inputs, c.sequences.mask
    yield c.sequences_but(inputs=backwards(x), mask=backwards(mask))


def outputs_not_reversed(c: Computation) -> Variants:
    yield c.but(rearrange=backwards, undo=lambda c, y: (c.sequences, backwards(y)))


def reversed_sequence(c: Computation, outputs: Outputs) -> Variants:
    """The last output of a backward half is a fault of its own."""
    if outputs.ndim == 3 or not c.backward_half:
        yield from outputs_not_reversed(c)


def output_at_the_wrong_end(c: Computation, outputs: Outputs) -> Variants:
    if outputs.ndim == 2 and c.backward_half:
        yield from outputs_not_reversed(c)


def inputs_shifted(c: Computation) -> Variants:
    """Inputs late: step t gets what belongs to t - 1; and early: what belongs to t + 1."""
    x = c.sequences.inputs
    if x.shape[1] > 1:
        late = room_for(x)
        late[:, 1:] = x[:, :-1]
        yield c.sequences_but("one step late", inputs=late)
        early = room_for(x)
        early[:, :-1] = x[:, 1:]
        yield c.sequences_but("one step early", inputs=early)


RESHAPED = {"features": (0, 2, 1), "timesteps": (1, 0, 2)}
"""What stands first, before an axis that it should stand behind, and the order of the axes."""


def inputs_reshaped(c: Computation) -> Variants:
    """The numbers of the inputs stand as those of an array with other axes, or are read as such."""
    order = slice(None, None, -1 if c.layer.go_backwards else 1)
    x = c.sequences.inputs[:, order]
    for first, axes in RESHAPED.items():
        written = x.transpose(axes)
        read = x.reshape(written.shape).transpose(axes)
        stood = room_for(x)
        stood.reshape(written.shape)[...] = written
        for detail, found in (
            (f"they stand {first} first and are reshaped", stood),
            (f"they are reshaped to stand {first} first, and transposed", read),
        ):
            if not (np.array_equal(found[:1], x[:1]) and np.array_equal(found, x)):
                yield c.sequences_but(detail, inputs=found[:, order])


def one_timestep(c: Computation) -> str | None:
    return "there is one timestep" if c.sequences.shape[1] == 1 else None


def time_shifted(c: Computation) -> Variants:
    """Outputs early: observed[t] is output t + 1; and late: observed[t] is output t - 1."""

    def early(c: Computation, outputs: Outputs) -> tuple[Sequences, Outputs]:
        s, count = c.sequences, c.sequences.shape[1]
        # Output 0 was not observed; the replayed one stands in for it.
        step = first_step if s.mask is None else replay
        first, rest = step(c.layer, s.first(1)), outputs[:, : count - 1]
        if s.mask is None and not c.layer.hidden and count > 2 and follows(c, first, rest):
            # Its rounding is not known, and may have grown in what is exact from there on.
            state = outputs[np.newaxis, :, 0].astype(np.float64)
            later = Sequences(s.inputs[:, 2:], None, state, s.dropout)
            return later, outputs[:, 1 : count - 1]
        if s.mask is None:
            state = np.stack(first.states)
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
        yield c.but("one step early", rearrange=pulled, undo=early, by_sample=True)
        yield c.but("one step late", rearrange=pushed, undo=late)


def follows(c: Computation, first: Trace, rest: Outputs) -> bool:
    """Whether `rest` begins with what the replayed first step leads to, in half of its digits."""
    s = c.sequences
    state = np.stack(first.states)
    step = first_step(c.layer, Sequences(s.inputs[:, 1:2], None, state, s.dropout))
    if step.outputs.shape != rest[:, :1].shape:
        return False
    near = np.sqrt(c.layer.precision.unit_roundoff) * (1 + np.abs(step.outputs))
    unsure = 0.0 if c.printed is None else 2 * c.printed.unsure(step.outputs)
    return bool((np.abs(step.outputs - rest[:, :1]) <= near + unsure).all())


def pulled(outputs: Array) -> Array:
    """Each output one timestep early; nobody knows what is last, which is left as it is."""
    return np.concatenate([outputs[:, 1:], outputs[:, -1:]], axis=1)


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


def batch_time_mixed(c: Computation, outputs: Outputs) -> Variants:
    """Also outputs of the right shape whose rows stand time first, as a table may have them."""
    yield from batch_time_swapped(c)
    batch, timesteps = c.sequences.shape
    if batch == timesteps or 1 in (batch, timesteps):
        return

    def read(y: NDArray[Any]) -> Any:
        return y.swapaxes(0, 1).reshape(y.shape)

    def undo(c: Computation, y: Outputs) -> tuple[Sequences, Outputs]:
        right = y.shape[:2] == (batch, timesteps)
        return c.sequences, y.reshape(timesteps, batch, -1).swapaxes(0, 1) if right else y

    yield c.but("the rows of the outputs stand time first", rearrange=read, undo=undo)


def one_by_one(c: Computation) -> str | None:
    return "there is one sample and one timestep" if c.sequences.shape == (1, 1) else None


DIRECTION_FAULTS = (
    Fault(
        "inputs-reversed",
        "take the inputs last to first where go_backwards is set, only there",
        inputs_reversed,
        one_timestep,
        reach=INPUTS,
    ),
    Fault(
        "outputs-not-reversed",
        "keep the outputs in the order in which they are computed",
        outputs_not_reversed,
        one_timestep,
        reversed_sequence,
        reach=OUTPUTS,
    ),
    Fault(
        "backward-output-misplaced",
        "the backward layer's last output belongs to the first timestep: take that of timestep 0",
        lambda c: iter(()),
        candidates=output_at_the_wrong_end,
    ),
)
SHIFT_FAULTS = (
    Fault(
        "time-shifted",
        "store output t at index t: append it after the step, not before",
        time_shifted,
        one_timestep,
        reach=OUTPUTS,
    ),
    Fault(
        "batch-time-swapped",
        "bring inputs and outputs to (batch, timesteps, ...)",
        batch_time_swapped,
        one_by_one,
        batch_time_mixed,
        reach=OUTPUTS,
    ),
    Fault(
        "inputs-shifted",
        "feed input t to step t: look for a buffer that is filled after the step, or before it",
        inputs_shifted,
        one_timestep,
        reach=INPUTS,
    ),
    Fault(
        "inputs-reshaped",
        "bring the inputs to (batch, timesteps, features) by transpose, not by reshape",
        inputs_reshaped,
        one_by_one,
        reach=INPUTS,
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
    """The order that maps the replayed first outputs, or the last ones, to those observed."""
    few = c.sequences.samples(slice(TELLING))
    if outputs.ndim == 3:
        if few.mask is None and no_order_fits(c, few, outputs[: len(few.inputs), 0]):
            return
        found = replay(c.layer, few.first(TELLING)).outputs, outputs[:TELLING, :TELLING]
    else:
        found = replay(c.layer, few).outputs[:, -1], outputs[:TELLING]
    right, seen = (y.reshape(-1, c.layer.units).T.astype(np.float64) for y in found)
    order = matching(seen, right)
    if order is not None:
        yield permuted_units(c, order)


@np.errstate(all="ignore")
def no_order_fits(c: Computation, few: Sequences, seen: Outputs) -> bool:
    """Whether the outputs `(B, H)` of the first timestep, in any order, are wrong in half of their
    digits.
    """
    right = first_step(c.layer, few).outputs[:, 0]
    observed = seen.astype(np.float64)
    off = np.abs(np.sort(observed, axis=1) - np.sort(right, axis=1))
    if c.printed is not None:
        off = np.maximum(off - 2 * c.printed.unsure(observed).max(), 0)
    return bool((off**2).sum() > c.layer.precision.unit_roundoff * (right**2).sum())


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
    elif outputs.ndim == 3 and features <= MOST_FEATURES and has_equations(c.layer):
        if by_themselves(c.layer) and not kernel_comes_near(c, outputs):
            return
        order = before = np.arange(features)
        for _ in range(RESTARTS):
            order, before = implied_order(c, outputs, order), order
            if np.array_equal(order, before):
                break
        if not np.array_equal(order, np.arange(features)):
            yield permuted_features(c, order)


@np.errstate(all="ignore")
def kernel_comes_near(c: Computation, outputs: Outputs) -> bool:
    """Whether another kernel comes near the outputs of a few units, by a few equations."""
    layer, off = c.layer, list[float]()
    equations = few_rows(layer, c.sequences, outputs)
    within = (RIGHT * layer.precision.unit_roundoff) ** 2 * (equations.observed**2).sum()
    if (equations.residual**2).sum() <= within:
        return False  # the first steps are right: no kernel brings them nearer
    units = np.argsort(-(equations.residual**2).sum((0, 1)))[:SCREENED]
    count = layer.features * max(SCREENING * len(layer.GATES), SCREENING_ONE)
    part = cut(layer, units)
    for damping in DAMPING[:TELLING_STEPS]:
        equations = rows_of_units(part, c.sequences, outputs, count, units)
        off.append(float((equations.residual**2).sum()))
        if len(off) == TELLING_STEPS:
            break
        kernel = part.kernel.copy()
        for j in range(len(units)):
            kernel[:, j :: len(units)] += correction(part, equations, j, damping)
        part = part.changed(kernel=kernel)
    return off[-1] < NEARER * off[0]


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


def correction(layer: Cell, equations: Rows, j: int, damping: float) -> Array:
    """What is missing in unit j's columns of the kernel, `(F, G)`."""
    of_kernel = equations.with_rows(slice(0, layer.features))
    matrix, residual = of_kernel.of_unit(j)
    starts = np.cumsum([0, *of_kernel.sizes])
    met = [p for p, one in enumerate(pieces(layer)) if one.inputs and p not in equations.mixed]
    a = np.concatenate([matrix[:, starts[p] : starts[p + 1]] for p in met], axis=1)
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
        "order the units as in the columns of the kernel",
        swapped_units,
        candidates=unit_orders,
    ),
)
FEATURE_FAULTS = (
    Fault(
        "features-permuted",
        "feed the features in the order of the kernel's rows",
        swapped_features,
        candidates=feature_orders,
        alone=True,
    ),
)


# Masks and dropout.


STEPS = 8
"""First-order steps after which the scales of the inputs have arrived, or will not. Chosen."""
FEW_DROPPED = 2
"""Samples that are tried before all of them: nearly all that is no dropout is ruled out by them.
Chosen."""
EQUATIONS, SCREENING_STEPS, NEAR = 8, 4, 0.1
"""Equations for each scale of those samples, and the share of the squares that is left by that step
where inputs were dropped. Measured: 1e-6 at most, 0.4 where samples are others.
"""
FIRST_TIMESTEPS = 8
"""Timesteps that tell which inputs were dropped, and as many more for each feature per unit."""


def mask_ignored(c: Computation) -> Variants:
    yield c.sequences_but(mask=None)


def nothing_masked(c: Computation) -> str | None:
    mask = c.sequences.mask
    return "no timestep is masked" if mask is None or mask.all() else None


def mask_not_reversed(c: Computation) -> Variants:
    if c.layer.go_backwards and c.sequences.mask is not None:
        yield c.sequences_but(mask=backwards(c.sequences.mask))


def mask_symmetric(c: Computation) -> str | None:
    mask = c.sequences.mask
    same = mask is not None and np.array_equal(mask, backwards(mask))
    return nothing_masked(c) or ("the mask is the same backwards" if same else None)


def masked_output_not_zeroed(c: Computation) -> Variants:
    if c.layer.zero_output_for_mask:
        yield c.layer_but(zero_output_for_mask=False)


def masked_output_zeroed(c: Computation) -> Variants:
    if not c.layer.zero_output_for_mask:
        yield c.layer_but(zero_output_for_mask=True)


def keep_the_state(layer: Cell) -> str:
    """What an implementation does in a masked timestep."""
    shown = "write zeros" if layer.zero_output_for_mask else "repeat the output"
    return f"where the mask is false, keep the state and {shown}"


MASK_FAULTS = (
    Fault(
        "mask-ignored",
        keep_the_state,
        mask_ignored,
        nothing_masked,
        reach=INPUTS,
    ),
    Fault(
        "mask-not-reversed",
        "reverse the mask together with the inputs",
        mask_not_reversed,
        mask_symmetric,
        reach=INPUTS,
    ),
    Fault(
        "masked-output-not-zeroed",
        "write zeros for masked timesteps (zero_output_for_mask)",
        masked_output_not_zeroed,
        nothing_masked,
        reach=UNITS,
    ),
    Fault(
        "masked-output-zeroed",
        "repeat the last output for masked timesteps, or set zero_output_for_mask in Keras",
        masked_output_zeroed,
        nothing_masked,
        reach=UNITS,
    ),
)


def every_second_input(c: Computation) -> Variants:
    """Every second row of the kernel as zeros, the others doubled: what dropout would do."""
    keep = np.arange(c.layer.features) % 2
    kernel = c.layer.kernel * (2.0 * keep)[:, np.newaxis]
    yield c.layer_but("inputs are dropped", kernel=kernel)


def dropouts(c: Computation, outputs: Outputs) -> Variants:
    """Input dropout: each sample has one mask of zeros and 1 / (1 - rate) for all its timesteps."""
    layer, s = c.layer, c.sequences
    if outputs.ndim != 3 or s.dropout is not NO_DROPOUT or not has_equations(layer):
        return
    if (
        s.shape[0] > FEW_DROPPED
        and s.shape[1] >= FIRST_TIMESTEPS
        and not scales_come_near(c, outputs)
    ):
        return
    scales = implied_scales(c, outputs)
    used = scales[scales > 0.5]
    scale = np.median(used) if len(used) else 0.0
    if not scale > 1.001:
        return
    rate = round(1 - 1 / float(scale), 3)
    kept = scales > scale / 2
    # Inputs that are merely scaled drop nothing; five standard deviations leave room for chance.
    usual, spread = rate * kept.size, np.sqrt(rate * (1 - rate) * kept.size)
    if kept.all() or abs(np.count_nonzero(~kept) - usual) > 5 * spread:
        return
    factor = layer.precision.round(np.where(kept, 1 / (1 - rate), 0.0))
    inputs = layer.precision.round(s.inputs * factor[:, np.newaxis])
    yield c.sequences_but(f"inputs are dropped at a rate of {rate}", inputs=inputs)


@np.errstate(all="ignore")
def scales_come_near(c: Computation, outputs: Outputs) -> bool:
    """Whether scaled inputs come near the outputs of the first few samples."""
    few, units = slice(0, FEW_DROPPED), np.arange(c.layer.units)
    part, seen = telling_part(c, outputs, few)
    if by_themselves(c.layer):
        enough = EQUATIONS * c.layer.features // seen.shape[1] + 1
        units = np.linspace(0, units[-1], min(len(units), enough)).astype(int)
    scales = implied_scales(c, outputs, few, units, SCREENING_STEPS)
    layer = cut(c.layer, units)
    before, after = (
        float((all_rows(layer, one, seen, units).residual ** 2).sum())
        for one in (part, scaled(scales, part))
    )
    return after < NEAR * before


@np.errstate(all="ignore")
def implied_scales(
    c: Computation,
    outputs: Outputs,
    samples: slice = slice(None),
    units: Units | None = None,
    steps: int = STEPS,
) -> Array:
    """What the inputs of some samples seem to be multiplied with, `(B, F)`, by some units or all:
    approached step by step.
    """
    part, seen = telling_part(c, outputs, samples)
    scales = np.ones((len(seen), c.layer.features))
    for _ in range(steps):
        more = missing(c.layer, scales, part, seen, units)
        scales = np.clip(scales + more, -1.0, 8.0)
    return scales


def telling_part(c: Computation, outputs: Outputs, samples: slice) -> tuple[Sequences, Outputs]:
    """The first timesteps of some samples, as many as tell what was dropped."""
    count = FIRST_TIMESTEPS + FIRST_TIMESTEPS * c.layer.features // c.layer.units
    return observed_part(c.layer, c.sequences, outputs, samples, slice(0, count))


def scaled(scales: Array, sequences: Sequences) -> Sequences:
    """The sequences with the inputs of each sample multiplied with its `scales` `(B, F)`."""
    return replace(sequences, inputs=sequences.inputs * scales[:, np.newaxis])


def missing(
    layer: Cell,
    scales: Array,
    sequences: Sequences,
    outputs: Outputs,
    units: Units | None = None,
) -> Array:
    """What is missing in the `scales` `(B, F)` that the inputs seem to be multiplied with, by some
    units or all.
    """
    units = np.arange(layer.units) if units is None else units
    layer = cut(layer, units)
    equations = all_rows(layer, scaled(scales, sequences), outputs, units)
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
    """No dropout; then, where inputs and state have some, none of each alone."""
    masks = c.sequences.dropout
    if masks is NO_DROPOUT:
        return
    yield c.sequences_but(dropout=NO_DROPOUT)
    if masks.inputs is not None and masks.state is not None:
        yield c.sequences_but("that of the inputs", dropout=replace(masks, inputs=None))
        yield c.sequences_but("that of the state", dropout=replace(masks, state=None))


DROPOUT_FAULTS = (
    Fault(
        "dropout-active",
        "run the layer with training=False",
        every_second_input,
        candidates=dropouts,
        alone=True,
    ),
    Fault(
        "dropout-ignored",
        "multiply inputs and state with the masks of a call in training",
        without_dropout,
        reach=INPUTS,
    ),
)
