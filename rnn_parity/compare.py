"""Observed outputs held against the replay: deviation, step residual, bound, ratio, per timestep.

The answer is numbers; `judge` judges them. Long sequences go by in blocks, large batches over
threads.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rnn_parity.balls import Arithmetic, Ball
from rnn_parity.distance import distance, ratios, ulps
from rnn_parity.implied import Rows, equations
from rnn_parity.layers import Array, SimpleRNN
from rnn_parity.observed import Observed
from rnn_parity.precision import Precision
from rnn_parity.replay import blocks
from rnn_parity.residual import Step
from rnn_parity.results import Divergence, Timesteps
from rnn_parity.sequences import Sequences

COLUMNS = [f.name for f in fields(Timesteps)]

THREADED_WORK = 1 << 27
"""From this many multiplications on, splitting the batch over threads pays."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The numbers of one comparison: a row per timestep, and the state that was observed last.

    `last_states` are the observed states around the last timestep, `(2, B, H)`. `vacuous` tells whether
    some bound was infinite, so that nothing is proven there; `finite`, whether any expected number
    was finite, so that there was something to compare. `squares` are the sums of the squares of
    all bounds and of all expected numbers. `first_rows` are some equations for the weights that
    the outputs imply, enough to see whether to look closer.
    """

    timesteps: Timesteps
    first_divergence: Divergence | None
    last_states: Array
    vacuous: bool
    finite: bool
    squares: tuple[float, float]
    first_rows: Rows


def compare_outputs(
    layer: SimpleRNN, sequences: Sequences, outputs: NDArray[Any], arithmetic: Arithmetic
) -> Comparison:
    """Hold `outputs` `(B, T, H)`, in processing order, against the replay of `sequences`."""
    parts = batch_parts(layer, sequences)
    if len(parts) == 1:
        return compare_samples(layer, sequences, outputs, arithmetic, parts[0])
    # One BLAS thread in each of ours: the products of single timesteps are too small to share.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(len(parts)) as pool:
        found = pool.map(
            lambda part: compare_samples(layer, sequences, outputs, arithmetic, part), parts
        )
        return merge(list(found))


def batch_parts(layer: SimpleRNN, sequences: Sequences) -> list[slice]:
    """The batch in as many slices as there are processors, or in one when the work is small."""
    batch, timesteps = sequences.shape
    work = batch * timesteps * layer.units * (layer.features + layer.units)
    threads = min(processors(), batch) if work >= THREADED_WORK else 1
    edges = np.linspace(0, batch, threads + 1, dtype=int)
    return [slice(a, b) for a, b in pairwise(edges)]


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@np.errstate(all="ignore")  # infinities and NaN are judged, not warned of
def compare_samples(
    layer: SimpleRNN,
    sequences: Sequences,
    outputs: NDArray[Any],
    arithmetic: Arithmetic,
    part: slice,
) -> Comparison:
    """The same for some of the samples."""
    sequences = sequences.samples(part)
    step = Step(layer, arithmetic)
    observed = Observed(layer, sequences, outputs[part])
    rows = Timesteps.empty(sequences.shape[1])
    first, vacuous, finite = None, False, False
    squares = np.zeros(2)
    for block in blocks(layer, sequences):
        observed.advance(block.steps)
        ball = observed.masked(step.from_state(block, observed.states[:-1]), arithmetic)
        ratio = measure(rows, block.steps, observed.outputs, block.outputs, ball, layer.precision)
        vacuous = vacuous or ball.vacuous
        finite = finite or bool(np.isfinite(ball.value).any())
        squares += ball.squares()
        if block.steps.start == 0:
            first_rows = equations(layer, block, observed)
        if first is None and rows.max_ratio[block.steps].max() > 1:
            first = first_beyond(block.steps.start, part.start, observed.outputs, ball, ratio)
    rows.batch[:] += part.start
    return Comparison(
        rows,
        first,
        observed.states[-2:].copy(),
        vacuous,
        finite,
        (squares[0], squares[1]),
        first_rows,
    )


def measure(
    rows: Timesteps,
    steps: slice,
    observed: Array,
    replayed: Array,
    ball: Ball,
    precision: Precision,
) -> NDArray[Any]:
    """Fill the rows of `steps`; arrays are `(t, B, H)`. Returns the ratios."""
    count = len(observed)
    deviation = distance(observed, replayed)
    rows.max_deviation[steps] = deviation.reshape(count, -1).max(axis=1)
    far = ulps(deviation, replayed, precision)
    rows.max_ulp[steps] = far.reshape(count, -1).max(axis=1)
    residual = distance(observed, ball.value).astype(ball.radius.dtype)
    rows.max_residual[steps] = residual.reshape(count, -1).max(axis=1)
    ratio = ratios(residual, ball)
    flat = ratio.reshape(count, -1)
    worst = flat.argmax(axis=1)
    rows.max_ratio[steps] = flat[np.arange(count), worst]
    rows.batch[steps], rows.unit[steps] = np.divmod(worst, observed.shape[2])
    return ratio


def first_beyond(
    start: int, first_sample: int, observed: Array, ball: Ball, ratio: NDArray[Any]
) -> Divergence:
    """The first ratio above 1, in timestep, batch, unit order."""
    t, b, j = np.argwhere(ratio > 1)[0]
    return Divergence(
        timestep=int(start + t),
        batch=int(first_sample + b),
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
        np.concatenate([p.last_states for p in parts], axis=1),
        any(p.vacuous for p in parts),
        any(p.finite for p in parts),
        (sum(p.squares[0] for p in parts), sum(p.squares[1] for p in parts)),
        parts[0].first_rows,
    )
