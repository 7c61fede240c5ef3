"""Observed outputs held against the replay: deviation, step residual, bound, ratio, per timestep.

The answer is numbers; `judge` judges them. Long sequences go by in blocks, large batches over
threads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.arithmetic import Arithmetic
from rnn_parity.balls import Ball, copied
from rnn_parity.distance import distance, ratios, ulps
from rnn_parity.layers import Array, Layer
from rnn_parity.near import Near, NearSteps
from rnn_parity.observed import Observed
from rnn_parity.precision import FLOAT32, Precision
from rnn_parity.replay import Block, blocks
from rnn_parity.residual import Steps
from rnn_parity.results import Divergence, Timesteps
from rnn_parity.sequences import Sequences
from rnn_parity.threads import over_batch

COLUMNS = [f.name for f in fields(Timesteps)]


@dataclass(frozen=True, eq=False)
class Last:
    """Around the last timestep: the observed states h `(2, B, H)`, and where c `(B, H)` must lie.

    `spread` `(B, H)` is how far the final h may be from the last of `states`; `cell_state` is None
    for a layer that has no c.
    """

    states: Array
    spread: NDArray[Any]
    cell_state: Ball | None

    def state(self, arithmetic: Arithmetic) -> Ball:
        """Where the final h must lie: it is the last state, handed on."""
        ball = copied(self.states[1], arithmetic)
        return Ball(ball.value, ball.radius + self.spread, arithmetic)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The numbers of one comparison: a row per timestep, and the state that was observed last.

    `last` is what is known of the states around the last timestep. `vacuous` tells if
    some bound was infinite, so that nothing is proven there; `finite`, whether any expected number
    was finite, so that there was something to compare. `squares` are the sums of the squares of
    bounds and of expected numbers, without blocks whose bounds are narrow.
    """

    timesteps: Timesteps
    first_divergence: Divergence | None
    last: Last
    vacuous: bool
    finite: bool
    squares: tuple[float, float]


def compare_outputs(
    layer: Layer, sequences: Sequences, outputs: NDArray[Any], arithmetic: Arithmetic
) -> Comparison:
    """Hold `outputs` `(B, T, H)`, in processing order, against the replay of `sequences`."""
    found = over_batch(
        layer, sequences, lambda part: compare_samples(layer, sequences, outputs, arithmetic, part)
    )
    return found[0] if len(found) == 1 else merge(found)


@np.errstate(all="ignore")  # infinities and NaN are judged, not warned of
def compare_samples(
    layer: Layer,
    sequences: Sequences,
    outputs: NDArray[Any],
    arithmetic: Arithmetic,
    part: slice,
) -> Comparison:
    """The same for some of the samples."""
    sequences = sequences.samples(part)
    observed = Observed(layer, sequences, outputs[part])
    steps = Steps(layer, arithmetic, sequences)
    near = Near(steps) if Near.applies(steps, sequences) else None
    found = Found(Timesteps.empty(sequences.shape[1]))
    for block in blocks(layer, sequences):
        observed.advance(block.steps)
        quick = near.steps(block, observed) if near else None
        if quick is not None and found.take_quick(block, quick):
            observed.hand_on(quick.radius)
        else:  # what the quick way cannot pass is judged again, in float64
            ball = steps.observed(block, observed)
            found.take(block, observed.outputs, ball, layer.precision)
    last = Last(observed.states[-2:].copy(), observed.spread[-1], steps.cell_state)
    return found.comparison(last, part.start)


@dataclass(eq=False)
class Found:
    """What the blocks so far have shown."""

    rows: Timesteps
    first: Divergence | None = None
    vacuous: bool = False
    finite: bool = False
    squares: tuple[float, float] = (0.0, 0.0)

    def take_quick(self, block: Block, quick: NearSteps) -> bool:
        """Enter a block that was judged in the quick way; False if it is not within the bounds."""
        ratio = quick.residual / quick.radius
        if not ratio.max() <= 1:
            return False
        far = ulps(quick.deviation, block.outputs.astype(np.float32), FLOAT32)
        self.enter(block.steps, quick.deviation, far, quick.residual, ratio)
        self.finite = True
        return True

    def take(self, block: Block, observed: Array, ball: Ball, precision: Precision) -> None:
        """Enter a block, given where its outputs must lie."""
        deviation = distance(observed, block.outputs)
        residual = distance(observed, ball.value).astype(ball.radius.dtype)
        ratio = ratios(residual, ball)
        far = ulps(deviation, block.outputs, precision)
        self.enter(block.steps, deviation, far, residual, ratio)
        self.vacuous = self.vacuous or ball.vacuous
        self.finite = self.finite or bool(np.isfinite(ball.value).any())
        radius, value = ball.squares()
        self.squares = self.squares[0] + radius, self.squares[1] + value
        if self.first is None and ratio.max() > 1:
            self.first = first_beyond(block.steps.start, observed, ball, ratio)

    def enter(
        self,
        steps: slice,
        deviation: NDArray[Any],
        far: NDArray[Any],
        residual: NDArray[Any],
        ratio: NDArray[Any],
    ) -> None:
        """Fill in the rows of `steps`; arrays are `(t, B, H)`."""
        count, units = len(ratio), ratio.shape[2]
        rows, flat = self.rows, ratio.reshape(count, -1)
        rows.max_deviation[steps] = deviation.reshape(count, -1).max(axis=1)
        rows.max_ulp[steps] = far.reshape(count, -1).max(axis=1)
        rows.max_residual[steps] = residual.reshape(count, -1).max(axis=1)
        worst = flat.argmax(axis=1)
        rows.max_ratio[steps] = flat[np.arange(count), worst]
        rows.batch[steps], rows.unit[steps] = np.divmod(worst, units)

    def comparison(self, last: Last, first_sample: int) -> Comparison:
        """The finished numbers; samples were counted from 0, here they are from `first_sample`."""
        self.rows.batch[:] += first_sample
        first = self.first
        if first is not None:
            first = replace(first, batch=first.batch + first_sample)
        return Comparison(self.rows, first, last, self.vacuous, self.finite, self.squares)


def first_beyond(start: int, observed: Array, ball: Ball, ratio: NDArray[Any]) -> Divergence:
    """The first ratio above 1, in timestep, batch, unit order."""
    t, b, j = np.argwhere(ratio > 1)[0]
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
    worst = columns[COLUMNS.index("max_ratio")].argmax(axis=0)
    picked = [
        np.take_along_axis(c, worst[np.newaxis], 0)[0] if name in ("batch", "unit") else c.max(0)
        for name, c in zip(COLUMNS, columns, strict=True)
    ]
    firsts = [p.first_divergence for p in parts if p.first_divergence]
    return Comparison(
        Timesteps(*picked),
        min(firsts, key=lambda d: (d.timestep, d.batch), default=None),
        merged_last([p.last for p in parts]),
        any(p.vacuous for p in parts),
        any(p.finite for p in parts),
        (sum(p.squares[0] for p in parts), sum(p.squares[1] for p in parts)),
    )


def merged_last(parts: list[Last]) -> Last:
    """The same of the whole batch, from those of its slices."""
    states = np.concatenate([p.states for p in parts], axis=1)
    spread = np.concatenate([p.spread for p in parts])
    balls = [p.cell_state for p in parts if p.cell_state is not None]
    if not balls:
        return Last(states, spread, None)
    value, radius = (np.concatenate([getattr(b, n) for b in balls]) for n in ("value", "radius"))
    return Last(states, spread, Ball(value, radius, balls[0].arithmetic))
