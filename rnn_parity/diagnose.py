"""Why it diverged: which known mistakes reproduce the observed numbers within rounding."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.balls import arithmetics
from rnn_parity.faults import Computation, Fault, faults_of
from rnn_parity.fit import Fit, fit, part
from rnn_parity.judge import effective_bits
from rnn_parity.results import Cause, Divergence

SAMPLES, STEPS = 3, 16
"""So many rows refute most candidates; what they leave is tried on all rows."""
CLOSER = 4.0
"""A fit that is so many times as close makes another one that is within the bounds a chance."""

Candidates = Iterator[tuple[tuple[Fault, ...], Computation]]


@dataclass(frozen=True, eq=False)
class Seen:
    """What was observed, `(B, T, H)`, and the few rows on which candidates are tried first."""

    outputs: NDArray[Any]
    samples: NDArray[np.intp]
    steps: slice


@dataclass(frozen=True, eq=False)
class Explanation:
    """Faults whose computation explains what was observed."""

    faults: tuple[Fault, ...]
    variant: Computation
    fit: Fit


def causes(
    right: Computation, outputs: NDArray[Any], first: Divergence | None
) -> tuple[Cause, ...]:
    """Every fault that explains `outputs`; where none does alone, every pair that does."""
    seen = Seen(outputs, *first_rows(outputs, first))
    if explained(right, seen).explains:
        return ()
    for tries in (singles(right, seen), singles(right, seen, general=True), pairs(right, seen)):
        found = explaining(tries, seen)
        if found:
            return merged(found)
    return ()


def first_rows(outputs: NDArray[Any], first: Divergence | None) -> tuple[NDArray[np.intp], slice]:
    """The samples and the timesteps around the first divergence."""
    batch, timestep = (first.batch, first.timestep) if first else (0, 0)
    samples = np.unique([batch, *np.linspace(0, len(outputs) - 1, SAMPLES - 1).astype(int)])
    start = max(0, min(timestep - STEPS // 4, outputs.shape[1] - STEPS))
    return samples, slice(start, start + STEPS)


def singles(right: Computation, seen: Seen, general: bool = False) -> Candidates:
    """Every fault alone; the general ones, which could stand for others, apart."""
    for fault in (fault for fault in faults_of(right.layer) if fault.general == general):
        for variant in tried(fault, right, seen):
            yield (fault,), variant


def tried(fault: Fault, right: Computation, seen: Seen) -> Iterator[Computation]:
    """The variants of a fault that are worth trying."""
    if fault.candidates is None:
        return fault.variants(right)
    if seen.outputs.shape != (*right.sequences.shape, right.layer.units):
        return iter(())
    return fault.candidates(right, seen.outputs)


def pairs(right: Computation, seen: Seen) -> Candidates:
    """Every two faults together, unless both rearrange the outputs or neither changes anything."""
    sociable = [fault for fault in faults_of(right.layer) if not fault.alone]
    for i, one in enumerate(sociable):
        for changed in tried(one, right, seen):
            for other in sociable[i + 1 :]:
                if one.blind(right) and other.blind(right):
                    continue
                for both in tried(other, changed, seen):
                    if changed.undo is None or both.undo is changed.undo:
                        detail = "; ".join(filter(None, (changed.detail, both.detail)))
                        yield (one, other), both.but(detail)


def explaining(candidates: Candidates, seen: Seen) -> list[Explanation]:
    """The candidates whose own step residuals are within rounding of what was observed."""
    from tqdm import tqdm

    found = []
    bar = tqdm(
        candidates, "diagnosis", delay=1, leave=False, disable=not sys.stderr.isatty(), unit=""
    )
    for faults, variant in bar:
        if explained(variant, seen, few=True).max_ratio <= 1:
            full = explained(variant, seen)
            if full.explains:
                found.append(Explanation(faults, variant, full))
    return found


def explained(variant: Computation, seen: Seen, few: bool = False) -> Fit:
    """How well a variant explains the observed outputs, in the sharpest arithmetic that does."""
    sequences, outputs = variant.undone(seen.outputs)
    if outputs.shape != (*sequences.shape, variant.layer.units) or 0 in outputs.shape:
        return Fit(np.inf, True)
    if few:
        samples = seen.samples[seen.samples < len(outputs)]
        steps = seen.steps if seen.steps.stop <= outputs.shape[1] else slice(0, STEPS)
        sequences, outputs = part(sequences, outputs, samples, steps)
    for arithmetic in arithmetics(variant.layer.precision):
        found = fit(variant.layer, sequences, outputs, arithmetic)
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
    details = " or ".join(one.variant.detail for one in group if one.variant.detail)
    best = min(group, key=lambda one: one.fit.max_ratio)
    bits = effective_bits(best.fit.max_ratio, best.variant.layer.precision.name)
    return Cause(
        "+".join(fault.id for fault in faults),
        f"{meaning}: {details}" if details else meaning,
        bits,
    )
