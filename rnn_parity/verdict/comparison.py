"""Observed outputs held against the replay: deviation, step residual, bound, ratio, per timestep.

What comes out is numbers, which `judge` judges. Long sequences go by in blocks, large batches over
threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball, concatenated
from rnn_parity.bounds.distance import distance, ratios, ulps
from rnn_parity.bounds.near import SURE, Near, NearSteps
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.precision import FLOAT32, Precision
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import Block, blocks, multiplications
from rnn_parity.system.threads import over_batch
from rnn_parity.verdict.resolution import Widths
from rnn_parity.verdict.results import Divergence, HeatMap, Timesteps

COLUMNS = [f.name for f in fields(Timesteps)]
OF_THE_WORST = ("batch", "unit", "bound")
"""The columns that tell about the largest ratio of a timestep."""
WORTH = 1 << 22
"""Multiplications from which on the quick way is tried. Measured: the general way takes 0.6 of the
time of a SimpleRNN of (4, 10, 5, 6), which has 2,600, 0.8 to 0.97 of (32, 28, 32, 16), up to 2.8
million, and 1.2 of an LSTM of (32, 28, 64, 64), 29 million."""


@dataclass(frozen=True, eq=False)
class Last:
    """Around the last timestep: the observed states h `(2, B, H)`, where the final states must lie,
    and the final states of the replay, `(B, H)` each, in the order of the layer's states.
    """

    states: Array
    balls: tuple[Ball, ...]
    replayed: tuple[Array, ...]
    own_output: bool = False
    """Whether the output is none of the states."""

    def balls_of(self, states: Sequence[NDArray[Any]]) -> list[Ball]:
        """Where each of the final `states` must lie. An h that is the last output is handed on,
        whatever that output is; any other is one more result of the last step.
        """
        if not states:
            return []
        if self.own_output:
            return [*self.balls]
        ball, last = self.balls[0], self.states[1]
        same = (states[0] == last) | (np.isnan(states[0]) & np.isnan(last))
        return [
            Ball(np.where(same, last, ball.value), ball.radius, ball.arithmetic),
            *self.balls[1:],
        ]


AXES = ("timestep", "sample", "unit")
Beyond = dict[str, NDArray[np.float64]]
"""Along each of the `AXES` the largest ratio of a step to its bound, where that is above 1; 0 where
every step is within its bound, and infinite where a ratio is no number.
"""


def nothing_beyond(batch: int, timesteps: int, units: int) -> Beyond:
    """Every step is within its bound."""
    return dict(zip(AXES, map(np.zeros, (timesteps, batch, units)), strict=True))


def note_beyond(beyond: Beyond, steps: slice, samples: Any, ratio: NDArray[Any]) -> None:
    """Enter the ratios `(t, b, H)` of some timesteps and samples."""
    by_unit = ratio.max(axis=1)
    if by_unit.max(initial=0) <= 1:
        return
    largest = by_unit.max(axis=1), ratio.max(axis=0).max(axis=1), by_unit.max(axis=0)
    for name, part, worst in zip(AXES, (steps, samples, slice(None)), largest, strict=True):
        new = np.where(np.isnan(worst), np.inf, np.where(worst > 1, worst, 0))
        beyond[name][part] = np.maximum(beyond[name][part], new)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The numbers of one comparison: a row per timestep, and the state that was observed last.

    `last` is what is known of the states around the last timestep, None unless final states will be
    asked for: of a large batch it takes more memory than all the rest. `finite` tells whether any
    expected number was finite, so that there was something to compare; `widths`, how wide the
    bounds were beside the numbers. `blank` `(B, H)` counts the expected numbers of unmasked
    timesteps that are not finite; None where all are. Which steps are `beyond` their bounds is told
    along each axis.
    """

    timesteps: Timesteps
    first_divergence: Divergence | None
    last: Last | None
    finite: bool
    widths: Widths
    heat_map: HeatMap
    beyond: Beyond
    blank: NDArray[np.int64] | None = None


def compare_outputs(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    arithmetic: Arithmetic,
    final_states: int = 0,
) -> Comparison:
    """Hold `outputs` `(B, T, H)`, in processing order, against the replay of `sequences`.

    `final_states` is how many of the layer's states will be asked for afterwards.
    """
    found = over_batch(
        len(sequences.inputs),
        multiplications(layer, sequences),
        lambda part: compare_samples(layer, sequences, outputs, arithmetic, part, final_states),
    )
    return found[0] if len(found) == 1 else merge(found)


@np.errstate(all="ignore")  # infinities and NaN are judged, not warned of
def compare_samples(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    arithmetic: Arithmetic,
    part: slice,
    final_states: int = 0,
) -> Comparison:
    """Hold the outputs of the samples `part` against the replay of these samples."""
    sequences = sequences.samples(part)
    observed = Observed(layer, sequences, outputs[part])
    steps = Steps(layer, arithmetic, sequences)
    if final_states <= len(layer.STATES) - len(layer.hidden):
        steps.left = math.inf  # none that the last output would tell more about
    worth = multiplications(layer, sequences) >= WORTH
    near = Near(steps, sequences) if worth and Near.applies(steps, sequences) else None
    found = Found.nothing(sequences.shape, layer.units)
    for block in blocks(layer, sequences, recorded=near is not None):
        observed.advance(block.steps)
        if near is None:
            found.take(block, observed, steps.observed(block, observed), layer.precision)
            continue
        for t in near.tiles(block, observed):
            tile, quick = block.part(t), near.steps(t)
            if quick is not None and found.take_quick(tile, quick):
                near.passed(tile, observed.part(t))
                continue
            # What the quick way cannot pass is judged again, in float64.
            near.settle(tile.states[:, 0])
            seen = observed.part(t)
            found.take(tile, seen, steps.observed(tile, seen), layer.precision)
            observed.state = seen.state
            near.resume(tile)
    last = last_of(block, observed, steps, near) if final_states else None
    if near:
        near.close()
    return found.comparison(last, part.start)


def last_of(block: Block, observed: Observed, steps: Steps, near: Near | None) -> Last:
    """What is known around the last timestep, that of the last `block`."""
    state = observed.state if near is None or near.shown is None else near.shown
    assert state is not None
    if near:
        near.settle(block.states[:, -1])
    replayed = tuple(states[-1].copy() for states in block.states)
    own_output = steps.layer.facts.own_output
    balls = steps.hidden if own_output else (state, *steps.hidden)
    return Last(observed.states[-2:].copy(), balls, replayed, own_output)


@dataclass(eq=False)
class Found:
    """What the blocks so far have shown."""

    rows: Timesteps
    widths: Widths
    heat_map: HeatMap
    beyond: Beyond
    first: Divergence | None = None
    finite: bool = False
    blank: NDArray[np.int64] | None = None

    @classmethod
    def nothing(cls, shape: tuple[int, int], units: int) -> Found:
        """What no block has shown, of `(batch, timesteps)`."""
        batch, timesteps = shape
        heat_map = HeatMap.empty(timesteps, units)
        beyond = nothing_beyond(batch, timesteps, units)
        return cls(Timesteps.empty(timesteps), Widths.none(units, batch), heat_map, beyond)

    def take_quick(self, block: Block, quick: NearSteps) -> bool:
        """Enter a block that was judged in the quick way; False if it is not within the bounds."""
        ratio = quick.residual / quick.radius
        if not ratio.max() <= SURE:
            return False
        far = ulps(quick.deviation, quick.size, FLOAT32)
        self.enter(block.steps, quick.deviation, far, quick.residual, ratio, quick.radius)
        widths = Widths.of(quick.radius, quick.size, None, quick.expected, FLOAT32.smallest_normal)
        self.widths = self.widths.and_then(widths)
        self.finite = True
        return True

    def take(self, block: Block, observed: Observed, ball: Ball, precision: Precision) -> None:
        """Enter a block, given where its outputs must lie."""
        seen, replayed = observed.outputs, block.outputs
        deviation = distance(seen, replayed)
        residual = distance(seen, ball.value).astype(ball.radius.dtype)
        ratio = ratios(residual, ball)
        far = ulps(deviation, replayed, precision)
        finite = np.isfinite(ball.value)
        self.enter(block.steps, deviation, far, residual, ratio, ball.radius, finite)
        self.finite = self.finite or bool(finite.any())
        if not finite.all():
            blank = ~finite if observed.keep is None else ~finite & observed.keep
            count = np.count_nonzero(blank, axis=0)
            self.blank = count if self.blank is None else self.blank + count
        sizes = np.abs(replayed), np.abs(ball.value)
        eta = ball.arithmetic.results.smallest_normal
        widths = Widths.of(ball.radius, sizes[0], observed.keep, sizes[1], eta)
        self.widths = self.widths.and_then(widths)
        note_beyond(self.beyond, block.steps, slice(None), ratio)
        if self.first is None and not ratio.max() <= 1:
            self.first = first_beyond(block.steps.start, seen, ball, ratio)

    def enter(
        self,
        steps: slice,
        deviation: NDArray[Any],
        far: NDArray[Any],
        residual: NDArray[Any],
        ratio: NDArray[Any],
        radius: NDArray[Any],
        finite: NDArray[np.bool_] | None = None,
    ) -> None:
        """Fill in the rows of `steps`, and the heat map; arrays are `(t, B, H)`.

        `finite` tells where a number was expected, by default everywhere. The bound of a timestep
        without any is NaN.
        """
        count, rows = len(ratio), self.rows
        rows.max_deviation[steps] = deviation.reshape(count, -1).max(axis=1)
        rows.max_ulp[steps] = far.reshape(count, -1).max(axis=1)
        rows.max_residual[steps] = residual.reshape(count, -1).max(axis=1)
        if finite is not None and not finite.all():
            radius = np.where(finite, radius, np.nan)
            ratio = behind(ratio, radius)
        by_unit, each = ratio.max(axis=1), np.arange(count)
        unit = by_unit.argmax(axis=1)
        batch = ratio[each, :, unit].argmax(axis=1)
        by_unit = np.maximum(by_unit, 0)
        rows.max_ratio[steps] = by_unit[each, unit]
        rows.batch[steps], rows.unit[steps] = batch, unit
        rows.bound[steps] = radius[each, batch, unit]
        self.heat_map.include(steps.start, by_unit)

    def comparison(self, last: Last | None, first_sample: int) -> Comparison:
        """The finished numbers; samples were counted from 0, here they are from `first_sample`."""
        self.rows.batch[:] += first_sample
        first = self.first
        if first is not None:
            first = replace(first, batch=first.batch + first_sample)
        found = self.finite, self.widths, self.heat_map, self.beyond, self.blank
        return Comparison(self.rows, first, last, *found)


def behind(ratio: NDArray[Any], radius: NDArray[Any]) -> NDArray[Any]:
    """The ratios, those of 0 without a bound behind all others: NaN that should be NaN."""
    return np.where((ratio == 0) & np.isnan(radius), ratio.dtype.type(-1), ratio)


def first_beyond(start: int, observed: Array, ball: Ball, ratio: NDArray[Any]) -> Divergence:
    """The first ratio that is not at most 1, in timestep, batch, unit order."""
    t, b, j = np.argwhere(~(ratio <= 1))[0]
    return Divergence(
        timestep=int(start + t),
        batch=int(b),
        unit=int(j),
        observed=float(observed[t, b, j]),
        expected=float(ball.value[t, b, j]),
        bound=float(ball.radius[t, b, j]),
    )


def merge(parts: list[Comparison]) -> Comparison:
    """One comparison from those of the slices of the batch."""
    columns = [np.stack([getattr(p.timesteps, name) for p in parts]) for name in COLUMNS]
    ratio, bound = (columns[COLUMNS.index(name)] for name in ("max_ratio", "bound"))
    worst = behind(ratio, bound).argmax(axis=0)
    picked = [
        np.take_along_axis(c, worst[np.newaxis], 0)[0] if name in OF_THE_WORST else c.max(0)
        for name, c in zip(COLUMNS, columns, strict=True)
    ]
    firsts = [p.first_divergence for p in parts if p.first_divergence]
    return Comparison(
        Timesteps(*picked),
        min(firsts, key=lambda d: (d.timestep, d.batch), default=None),
        merged_last([p.last for p in parts if p.last is not None]),
        any(p.finite for p in parts),
        reduce(Widths.beside, [p.widths for p in parts]),
        reduce(HeatMap.beside, [p.heat_map for p in parts]),
        merged_beyond([p.beyond for p in parts]),
        merged_blank(parts),
    )


def merged_beyond(parts: list[Beyond]) -> Beyond:
    """What is beyond its bound, from the slices of the batch."""
    merged: Beyond = {name: np.max([part[name] for part in parts], axis=0) for name in AXES[::2]}
    return merged | {"sample": np.concatenate([part["sample"] for part in parts])}


def merged_blank(parts: list[Comparison]) -> NDArray[np.int64] | None:
    """How many numbers of each sample and unit are not finite, from the slices of the batch."""
    if all(part.blank is None for part in parts):
        return None
    found = [
        np.zeros((part.widths.samples, len(part.widths.radius)), np.int64)
        if part.blank is None
        else part.blank
        for part in parts
    ]
    return np.concatenate(found)


def merged_last(parts: list[Last]) -> Last | None:
    """What is known of the whole batch, from what is known of its slices."""
    if not parts:
        return None
    return Last(
        np.concatenate([p.states for p in parts], axis=1),
        tuple(concatenated(balls) for balls in zip(*(p.balls for p in parts), strict=True)),
        tuple(np.concatenate(r) for r in zip(*(p.replayed for p in parts), strict=True)),
        parts[0].own_output,
    )
