"""Why it diverged: which known mistakes reproduce the observed numbers within rounding."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.balls import arithmetics
from rnn_parity.faults import FAULTS, Computation, Fault
from rnn_parity.fit import Fit, fit, part
from rnn_parity.judge import effective_bits
from rnn_parity.results import Cause, Divergence

SAMPLES, STEPS = 4, 48
"""So many rows refute most candidates; what they leave is tried on all rows."""

Candidates = Iterator[tuple[tuple[Fault, ...], Computation]]


@dataclass(frozen=True, eq=False)
class Seen:
    """What was observed, `(B, T, H)`, and the few rows on which candidates are tried first."""

    outputs: NDArray[Any]
    samples: NDArray[np.intp]
    steps: slice


def causes(
    right: Computation, outputs: NDArray[Any], first: Divergence | None
) -> tuple[Cause, ...]:
    """Every fault that explains `outputs`; where none does alone, every pair that does."""
    seen = Seen(outputs, *first_rows(outputs, first))
    return explaining(right, singles(right, seen), seen) or explaining(
        right, pairs(right, seen), seen
    )


def first_rows(outputs: NDArray[Any], first: Divergence | None) -> tuple[NDArray[np.intp], slice]:
    """The samples and the timesteps around the first divergence."""
    batch, timestep = (first.batch, first.timestep) if first else (0, 0)
    samples = np.unique([batch, *np.linspace(0, len(outputs) - 1, SAMPLES - 1).astype(int)])
    start = max(0, timestep - STEPS // 4)
    return samples, slice(start, start + STEPS)


def singles(right: Computation, seen: Seen) -> Candidates:
    """Every fault alone."""
    for fault in FAULTS:
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
    """Every two faults together, unless both rearrange the outputs or one changes nothing."""
    for i, one in enumerate(FAULTS):
        if one.candidates is not None:
            continue
        for changed in one.variants(right):
            for other in FAULTS[i + 1 :]:
                if other.alone or (one.blind(right) and other.blind(right)):
                    continue
                for both in tried(other, changed, seen):
                    if changed.undo is None or both.undo is changed.undo:
                        detail = "; ".join(filter(None, (changed.detail, both.detail)))
                        yield (one, other), both.but(detail)


def explaining(right: Computation, candidates: Candidates, seen: Seen) -> tuple[Cause, ...]:
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
                found.append(cause(faults, variant, full, right))
    return tuple(found)


def explained(variant: Computation, seen: Seen, few: bool = False) -> Fit:
    """How well a variant explains the observed outputs, in the sharpest arithmetic that does."""
    sequences, outputs = variant.undone(seen.outputs)
    if outputs.shape != (*sequences.shape, variant.layer.units) or 0 in outputs.shape:
        return Fit(np.inf, True)
    if few:
        samples = seen.samples[seen.samples < len(outputs)]
        start = min(seen.steps.start, max(0, outputs.shape[1] - STEPS))
        sequences, outputs = part(sequences, outputs, samples, slice(start, start + STEPS))
    own = arithmetics(variant.layer.precision)
    for arithmetic in own if variant.arithmetic is None else (variant.arithmetic,):
        found = fit(variant.layer, sequences, outputs, arithmetic)
        if found.max_ratio <= 1:
            break
    return found


def cause(faults: tuple[Fault, ...], variant: Computation, found: Fit, right: Computation) -> Cause:
    """A fault, or two joined by "+", with the numbers that support it."""
    meaning = " and ".join(fault.meaning for fault in faults)
    explanation = f"{meaning}: {variant.detail}" if variant.detail else meaning
    bits = effective_bits(found.max_ratio, right.layer.precision.name)
    return Cause("+".join(fault.id for fault in faults), explanation, bits)
