"""How well a computation explains what was observed: a sequence of outputs, or the last one alone.

Of a sequence every step starts from the observed state, so that all steps of all samples are
independent: a few rows can refute a computation, and only what survives is held against all of
them. A last output alone is held against a bound that is carried over all timesteps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.observed import observed_part
from rnn_parity.bounds.step_bound import final_balls, free_running_balls
from rnn_parity.diagnosis.faults.fault import Computation
from rnn_parity.diagnosis.first_step import FirstStep
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.verdict.printed import Print, steps_as_written
from rnn_parity.verdict.resolution import Widths, resolution, state_resolution
from rnn_parity.verdict.results import Divergence

SAMPLES, STEPS = 3, 16
"""Samples, and timesteps around the first divergence, on which a candidate is tried first. Chosen:
they refute nearly all and cost little; what they leave is tried on all rows.
"""
NEAR = 64
"""Timesteps before the first rows that are cheap enough to go through for every candidate. Chosen:
four times `STEPS`; a hidden state is known at the beginning of a sequence alone.
"""
FAR_OFF = 0.05
"""A replayed last output that is off by this share of its size is not the observed one. Chosen:
bounds that reach so far prove nothing; at a tenth of it, printed digits could be so far off.
"""
PROOF = 24.0
"""Bits by which numbers must tell a computation from the right one: each number adds the logarithm
of how far the two are apart over the radius within which the observed number agrees. Chosen: by
chance one in 16 million agrees so well; at half, one of a thousand wrong arrays would be explained
by one of the thousands of candidates, and at double single float32 numbers would never tell.
"""


@dataclass(frozen=True, eq=False)
class Fit:
    """The largest ratio of a deviation to its bound, and whether that proves nothing."""

    max_ratio: float
    useless: bool

    @property
    def explains(self) -> bool:
        """Whether everything is within rounding, by a bound that could have refuted it."""
        return self.max_ratio <= 1 and not self.useless


NO_FIT = Fit(np.inf, True)


class Evidence(Protocol):
    """What was observed, which computations explain or not."""

    @property
    def outputs(self) -> NDArray[Any]:
        """`(B, T, H)`, or the last one of each sample, `(B, H)`."""
        ...

    def fits_of(self, variants: Sequence[Computation]) -> list[Fit]:
        """How well variants explain it that differ by their activations alone."""
        ...


@dataclass(frozen=True, eq=False)
class SequenceEvidence:
    """Observed outputs, `(B, T, H)`, and the few rows on which candidates are tried first."""

    reference: Computation
    outputs: NDArray[Any]
    samples: NDArray[np.intp]
    steps: slice

    @classmethod
    def around(
        cls, reference: Computation, outputs: NDArray[Any], first: Divergence | None
    ) -> SequenceEvidence:
        """With the rows around the first divergence."""
        return cls(reference, outputs, *first_rows(reference.layer, outputs, first))

    @cached_property
    def first(self) -> FirstStep:
        """The first step of these rows, which refutes nearly every candidate."""
        return FirstStep(self.samples, self.steps, self.reference.printed)

    def fits_of(self, variants: Sequence[Computation]) -> list[Fit]:
        """How well variants explain the outputs: a few of them, which refute most, first."""
        layers = [variant.layer for variant in variants]
        sequences, outputs = variants[0].undone(self.outputs)
        if outputs.shape != (*sequences.shape, layers[0].units) or 0 in outputs.shape:
            return [NO_FIT] * len(variants)
        far = self.first.far_off(layers, sequences, outputs)
        return [
            NO_FIT if off else self.proven(self.fit_of(layer, sequences, outputs))
            for layer, off in zip(layers, far, strict=True)
        ]

    def fit_of(self, layer: Cell, sequences: Sequences, outputs: NDArray[Any]) -> Fit:
        """How well a layer explains outputs: a few of them, which refute most, first."""
        samples = self.samples[self.samples < len(outputs)]
        steps = self.steps if self.steps.stop <= outputs.shape[1] else slice(0, STEPS)
        printed = self.reference.printed
        part = observed_part(layer, sequences, outputs, samples, steps)
        found = closest_fit(layer, *part, printed)
        return closest_fit(layer, sequences, outputs, printed) if found.max_ratio <= 1 else found

    def proven(self, fit: Fit) -> Fit:
        """The fit; useless where printed numbers hardly refute the right computation."""
        printed = self.reference.printed is not None
        return Fit(fit.max_ratio, True) if printed and self.refuting_bits <= PROOF else fit

    @cached_property
    def refuting_bits(self) -> float:
        """By how many bits the outputs refute the reference computation."""
        layer, sequences = self.reference.layer, self.reference.sequences
        if self.outputs.shape != (*sequences.shape, layer.units):
            return np.inf
        data = (layer, sequences, self.outputs, arithmetics(layer.precision)[0])
        return sum(
            bits_of(distance(observed.outputs, ball.value), ball.radius)
            for _, observed, ball in steps_as_written(*data, self.reference.printed)
        )


def first_rows(
    layer: Cell, outputs: NDArray[Any], first: Divergence | None
) -> tuple[NDArray[np.intp], slice]:
    """The samples and the timesteps around the first divergence."""
    batch, timestep = (first.batch, first.timestep) if first else (0, 0)
    samples = np.unique([batch, *np.linspace(0, len(outputs) - 1, SAMPLES - 1).astype(int)])
    start = max(0, min(timestep - STEPS // 4, outputs.shape[1] - STEPS))
    if layer.hidden and start > NEAR:
        start = 0  # what is hidden is known there alone, and later steps need all before them
    return samples, slice(start, start + STEPS)


def closest_fit(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any], printed: Print | None = None
) -> Fit:
    """The fit in the sharpest arithmetic that explains the outputs."""
    for arithmetic in arithmetics(layer.precision):
        found = fit_in(arithmetic, layer, sequences, outputs, printed)
        if found.max_ratio <= 1:
            break
    return found


@np.errstate(all="ignore")
def fit_in(
    arithmetic: Arithmetic,
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    printed: Print | None = None,
) -> Fit:
    """How well `layer` on `sequences` explains `outputs` `(B, T, H)`; stops once it does not."""
    worst, widths = 0.0, Widths.none(layer.units, sequences.shape[0])
    for _, observed, ball in steps_as_written(layer, sequences, outputs, arithmetic, printed):
        largest = float(ratios(distance(observed.outputs, ball.value), ball).max())
        # A ratio that is not a number fits nothing.
        worst = np.inf if np.isnan(largest) else max(worst, largest)
        if worst > 1 or ball.vacuous:
            return Fit(worst, True)
        size = np.abs(ball.value)
        widths = widths.and_then(Widths.of(ball.radius, size, observed.keep))
    return Fit(worst, not resolution("outputs", widths).resolved)


@np.errstate(all="ignore")
def bits_of(moved: NDArray[Any], radius: NDArray[Any]) -> float:
    """By how many bits numbers tell a computation from another, from which they are `moved`.

    One number tells as much as a float32 holds at most, as where both are exact zeros.
    """
    beyond = np.isfinite(moved) & (moved > radius)
    each = np.log2(np.where(beyond, moved, 1.0) / np.where(beyond, radius, 1.0))
    return float(np.minimum(each, FLOAT32.digits).sum())


# A last output alone.


@dataclass(frozen=True, eq=False)
class LastOutputEvidence:
    """The last outputs `(B, H)`, and the final states that were observed, `(B, H)` each."""

    reference: Computation
    outputs: NDArray[Any]
    final_state: tuple[NDArray[Any], ...] = ()

    def fits_of(self, variants: Sequence[Computation]) -> list[Fit]:
        """How well variants explain the last outputs: by their replay, then by their bounds."""
        return [NO_FIT if self.far_off(one) else self.fit_of(one) for one in variants]

    @np.errstate(all="ignore")
    def far_off(self, variant: Computation) -> bool:
        """Whether a few samples' replayed last outputs are nowhere near the observed ones."""
        samples = np.arange(min(SAMPLES, len(self.outputs)))
        seen = self.outputs[samples].astype(np.float64)
        if variant.rearrange is None:
            found = replay(variant.layer, variant.sequences.samples(samples)).outputs[:, -1]
        else:
            found = variant.computed()[: len(samples), -1]
        if found.shape != seen.shape:
            return True
        how = self.reference.printed
        unsure = 0.0 if how is None else 2 * how.unsure(seen)
        off = np.maximum(np.abs(seen - found) - unsure, 0)
        return not (off**2).sum() <= FAR_OFF**2 * (found**2).sum()

    @np.errstate(all="ignore")
    def fit_of(self, variant: Computation) -> Fit:
        """The fit in the sharpest arithmetic that explains the last outputs."""
        for arithmetic in arithmetics(variant.layer.precision):
            found = self.fit_in(arithmetic, variant)
            if found.max_ratio <= 1:
                break
        return found

    def fit_in(self, arithmetic: Arithmetic, variant: Computation) -> Fit:
        """How well a variant explains the last outputs and, unless it rearranges, the states."""
        output, *states = last_balls(variant, arithmetic)
        if output.shape != self.outputs.shape:
            return NO_FIT
        seen = [self.outputs, *self.final_state[: len(states)]]
        balls = [self.as_printed(*pair) for pair in zip(seen, [output, *states], strict=False)]
        worst = [
            ratios(distance(array.astype(np.float64), ball.value), ball).max()
            for array, ball in zip(seen, balls, strict=True)
        ]
        moved = [distance(b.value, right) for b, right in zip(balls, self.right, strict=False)]
        bits = variant.bits
        bits += sum(bits_of(far, b.radius) for far, b in zip(moved, balls, strict=True))
        resolved = state_resolution("output", balls[0], balls[0].value).resolved
        largest = float(np.max(worst))
        return Fit(np.inf if np.isnan(largest) else largest, not (resolved and bits > PROOF))

    def as_printed(self, array: NDArray[Any], ball: Ball) -> Ball:
        """A ball, with half a unit of the last digit where the numbers were printed."""
        how = self.reference.printed
        return ball if how is None else how.around(array, ball)

    @cached_property
    def right(self) -> list[Array]:
        """The last output and the final states of the reference computation."""
        trace = replay(self.reference.layer, self.reference.sequences)
        return [trace.outputs[:, -1], *trace.states]


@np.errstate(all="ignore")
def last_balls(variant: Computation, arithmetic: Arithmetic) -> list[Ball]:
    """Where the last output of a variant must lie and, unless it rearranges, its final states."""
    layer, sequences = variant.layer, variant.sequences
    if variant.rearrange is None:
        output, states = final_balls(layer, sequences, arithmetic)
        return [output, *states]
    every = [output for output, _ in free_running_balls(layer, sequences, arithmetic)]
    value, radius = (
        variant.rearrange(np.stack([getattr(one, name) for one in every], axis=1))[:, -1]
        for name in ("value", "radius")
    )
    return [Ball(value, radius, arithmetic)]
