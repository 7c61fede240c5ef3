"""Why it diverged: which known mistakes reproduce the observed numbers within rounding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.diagnosis.faults import Computation, Fault, faults_of
from rnn_parity.diagnosis.first_step import FirstStep
from rnn_parity.diagnosis.fit import Fit, fit, part
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.system.progress import Tick, unseen
from rnn_parity.verdict.judge import effective_bits
from rnn_parity.verdict.results import Cause, Divergence

SAMPLES, STEPS = 3, 16
"""So many rows refute most candidates; what they leave is tried on all rows."""
NEAR = 64
"""Up to so many timesteps before the few rows are cheap enough to go through again and again."""
CLOSER = 4.0
"""A fit that is so many times as close makes another one that is within the bounds a chance."""

Candidate = tuple[tuple[Fault, ...], Computation, tuple[str, ...]]
"""Faults, the computation that has them, and the details of each of them."""
Candidates = Iterator[Candidate]
NO_FIT = Fit(np.inf, True)


@dataclass(frozen=True, eq=False)
class Seen:
    """What was observed, `(B, T, H)`, and the few rows on which candidates are tried first."""

    outputs: NDArray[Any]
    samples: NDArray[np.intp]
    steps: slice

    @cached_property
    def first(self) -> FirstStep:
        """The first step of these rows, which refutes nearly every candidate."""
        return FirstStep(self.samples, self.steps)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Faults whose computation explains what was observed."""

    faults: tuple[Fault, ...]
    variant: Computation
    fit: Fit
    detail: str


@np.errstate(all="ignore")
def causes(
    right: Computation, outputs: NDArray[Any], first: Divergence | None, tick: Tick = unseen
) -> tuple[Cause, ...]:
    """Every fault that explains `outputs`; where none does alone, every pair that does.

    `tick` is called for every candidate.
    """
    seen = Seen(outputs, *first_rows(right.layer, outputs, first))
    if explained(right, seen).explains:
        return ()
    alone: dict[Fault, float] = {}
    for tries in (singles(right, seen), singles(right, seen, general=True), pairs(right, seen)):
        found = explaining(tries, seen, alone, tick)
        if found:
            return merged(found)
    return ()


def first_rows(
    layer: Layer, outputs: NDArray[Any], first: Divergence | None
) -> tuple[NDArray[np.intp], slice]:
    """The samples and the timesteps around the first divergence."""
    batch, timestep = (first.batch, first.timestep) if first else (0, 0)
    samples = np.unique([batch, *np.linspace(0, len(outputs) - 1, SAMPLES - 1).astype(int)])
    start = max(0, min(timestep - STEPS // 4, outputs.shape[1] - STEPS))
    if len(layer.STATES) > 1 and start > NEAR:
        start = 0  # what is hidden is known there alone, and later steps need all before them
    return samples, slice(start, start + STEPS)


def singles(right: Computation, seen: Seen, general: bool = False) -> Candidates:
    """Every fault alone; the general ones, which could stand for others, apart."""
    for fault in (fault for fault in faults_of(right.layer) if fault.general == general):
        for variant in tried(fault, right, seen):
            yield (fault,), variant, (variant.detail,)


def tried(fault: Fault, right: Computation, seen: Seen) -> Iterator[Computation]:
    """The variants of a fault that are worth trying."""
    as_expected = seen.outputs.shape == (*right.sequences.shape, right.layer.units)
    if fault.candidates is None or not as_expected:
        return fault.variants(right)
    return fault.candidates(right, seen.outputs)


def pairs(right: Computation, seen: Seen) -> Candidates:
    """Every two faults together, unless both rearrange the outputs or neither changes anything."""
    sociable = [fault for fault in faults_of(right.layer) if not fault.alone]
    blind = {fault for fault in sociable if fault.blind(right)}
    order = sorted(sociable, key=lambda fault: (not fault.first, fault.last))
    for i, one in enumerate(order):
        for changed in tried(one, right, seen):
            for other in order[i + 1 :]:
                if one in blind and other in blind:
                    continue
                faults = one, other
                swapped = sociable.index(other) < sociable.index(one)
                for both in tried(other, changed, seen):
                    if changed.undo is None or both.undo is changed.undo:
                        details = changed.detail, both.detail
                        if swapped:
                            yield faults[::-1], both, details[::-1]
                        else:
                            yield faults, both, details


def explaining(
    candidates: Candidates, seen: Seen, alone: dict[Fault, float], tick: Tick = unseen
) -> list[Explanation]:
    """The candidates whose own step residuals are within rounding of what was observed.

    `alone` remembers the largest ratio of each fault by itself: a second one must be closer by far,
    or it is a chance.
    """
    found = []
    for group in alike(candidates):
        fits = how_well([variant for _, variant, _ in group], seen)
        for (faults, variant, details), fitted in zip(group, fits, strict=True):
            tick()
            if len(faults) == 1:
                alone[faults[0]] = min(fitted.max_ratio, alone.get(faults[0], np.inf))
            if fitted.explains and not by_chance(faults, fitted, alone):
                told = "; ".join(filter(None, details))
                found.append(Explanation(faults, variant, fitted, told))
    return found


def by_chance(faults: tuple[Fault, ...], fitted: Fit, alone: dict[Fault, float]) -> bool:
    """Whether two faults fit hardly better than one of them does by itself."""
    several = len(faults) > 1
    return several and CLOSER * fitted.max_ratio > min(alone.get(f, np.inf) for f in faults)


def alike(candidates: Candidates) -> Iterator[list[Candidate]]:
    """Candidates that follow each other and differ by the activations of their layers alone."""
    for _, group in groupby(candidates, lambda candidate: all_but_activations(candidate[1])):
        yield list(group)


def all_but_activations(variant: Computation) -> tuple[int, ...]:
    """What variants have in common that differ by their activations alone.

    Where the outputs are brought into another form first, that may depend on all of the layer.
    """
    if variant.undo is not None:
        return (id(variant),)
    own = {**vars(variant.layer), "activation": None, "recurrent_activation": None}
    return (id(variant.sequences), id(type(variant.layer)), *map(id, own.values()))


def explained(variant: Computation, seen: Seen) -> Fit:
    """How well a variant explains the observed outputs."""
    return how_well([variant], seen)[0]


def how_well(variants: Sequence[Computation], seen: Seen) -> list[Fit]:
    """How well variants explain the observed outputs that differ by their activations alone."""
    layers = [variant.layer for variant in variants]
    sequences, outputs = variants[0].undone(seen.outputs)
    if outputs.shape != (*sequences.shape, layers[0].units) or 0 in outputs.shape:
        return [NO_FIT] * len(variants)
    far = seen.first.far_off(layers, sequences, outputs)
    return [
        NO_FIT if off else closely(layer, sequences, outputs, seen)
        for layer, off in zip(layers, far, strict=True)
    ]


def closely(layer: Layer, sequences: Sequences, outputs: NDArray[Any], seen: Seen) -> Fit:
    """How well a layer explains outputs: a few of them, which refute most, first."""
    samples = seen.samples[seen.samples < len(outputs)]
    steps = seen.steps if seen.steps.stop <= outputs.shape[1] else slice(0, STEPS)
    found = closest_fit(layer, *part(sequences, outputs, samples, steps))
    return closest_fit(layer, sequences, outputs) if found.max_ratio <= 1 else found


def closest_fit(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Fit:
    """The fit in the sharpest arithmetic that explains the outputs."""
    for arithmetic in arithmetics(layer.precision):
        found = fit(layer, sequences, outputs, arithmetic)
        if found.max_ratio <= 1:
            break
    return found


def merged(found: list[Explanation]) -> tuple[Cause, ...]:
    """One cause for each fault or pair of faults, whose equal fits stand together."""
    closest = min((one.fit.max_ratio for one in found), default=0.0)
    close = [one for one in found if one.fit.max_ratio <= CLOSER * closest]
    groups: dict[tuple[Fault, ...], list[Explanation]] = {}
    for one in close:
        groups.setdefault(one.faults, []).append(one)
    return tuple(cause(faults, group) for faults, group in groups.items())


def cause(faults: tuple[Fault, ...], group: list[Explanation]) -> Cause:
    """A fault with the numbers that support it."""
    meaning = " and ".join(fault.meaning for fault in faults)
    details = " or ".join(one.detail for one in group if one.detail)
    best = min(group, key=lambda one: one.fit.max_ratio)
    bits = effective_bits(best.fit.max_ratio, best.variant.layer.precision.name)
    return Cause(
        "+".join(fault.id for fault in faults),
        f"{meaning}: {details}" if details else meaning,
        bits,
        "; ".join(fault.remedy for fault in faults),
    )
