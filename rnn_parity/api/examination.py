"""One layer call, examined whole: the verdict, why it diverged, and what it could not have seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.blind_spots import PassedCheck, PassedLast, later
from rnn_parity.diagnosis.causes import (
    StepResiduals,
    Suspicion,
    causes,
    clues,
    implied_causes,
    may_imply,
    suspicion,
)
from rnn_parity.diagnosis.evidence import TOO_WIDE, Fit, LastOutputEvidence, SequenceEvidence
from rnn_parity.diagnosis.faults import Computation, faults_of
from rnn_parity.diagnosis.faults.states import last_state_causes, state_causes
from rnn_parity.diagnosis.implied_weights import MOST_SHOWN, suggestion
from rnn_parity.diagnosis.probe import Probe
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.system.progress import Tick, on_terminal, unseen
from rnn_parity.system.threads import one_thread
from rnn_parity.verdict.judge import Judged, Observations, explaining_print, judge
from rnn_parity.verdict.printed import PERHAPS, prints
from rnn_parity.verdict.results import Cause, Check, Subject
from rnn_parity.verdict.sentences import perhaps_printed

FEW_NUMBERS = 8
"""Up to as many outputs are called too few where they cannot confirm a mistake. Chosen: of more, it
is the numbers themselves, such as zeros, that tell too little."""


@np.errstate(all="ignore")
def examine(
    layer: Cell,
    sequences: Sequences,
    observed: Observations,
    subject: Subject,
    stateful: bool = False,
    why: bool = True,
    probe: Probe | None = None,
    earlier: tuple[Sequences, NDArray[Any]] | None = None,
    backward_half: bool = False,
    known: Callable[[Check], Cause | None] = lambda check: None,
) -> Check:
    """Judge what was observed, then say why it diverged, or what the check is blind to.

    Without `why` no cause is looked for, which may take a hundred times as long as the verdict.
    `probe` runs the very implementation on other data, to settle a suspicion about its weights.
    `earlier` and `backward_half` are as in `Computation`; `known` gives the known difference that
    explains a check, which goes before all other causes.
    """
    with on_terminal("comparing with the replay"):
        judged = judge(layer, sequences, observed, subject)
    reference = Computation(
        layer, sequences, stateful, earlier=earlier, backward_half=backward_half
    )
    if judged.check.verdict == "diverged":
        if not why:
            return judged.check
        with one_thread(), on_terminal("looking for the cause") as tick:
            found = diagnosed(judged, reference, observed, tick)
            cause = known(judged.check)
        if cause is None:
            return found
        # What nothing of the catalogue explains is explained: no more is to be said of it.
        base = found if found.causes else judged.check
        return replace(base, causes=(cause, *found.causes))
    if judged.check.verdict == "parity" and judged.found is None:
        return replace(judged.check, sensitivity=later(PassedLast(reference, observed)))
    if judged.check.verdict != "parity" or judged.found is None:
        cause = known(judged.check) if why else None
        return judged.check if cause is None else replace(judged.check, causes=(cause,))
    with one_thread(), on_terminal("asking what weights the outputs imply"):
        check = doubted(judged.check, reference, observed.outputs, probe)
    if check.verdict != "parity":
        return check
    passed = PassedCheck(reference, observed, judged.found.last, judged.arithmetic)
    return replace(check, sensitivity=later(passed))


def diagnosed(
    judged: Judged, reference: Computation, observed: Observations, tick: Tick = unseen
) -> Check:
    """The check with its causes, or with a summary that says what was ruled out."""
    check, outputs = judged.check, observed.outputs
    perhaps = explaining_print(judged, reference.layer, reference.sequences, observed, PERHAPS)
    if perhaps is not None:
        return replace(check, summary=f"{check.summary}; {perhaps_printed(perhaps)}")
    reference = replace(reference, printed=next(iter(prints(outputs)), None))
    if outputs.ndim == 2:
        return diagnosed_last(check, reference, observed, tick)
    if outputs.ndim != 3:
        return check
    if judged.found is None:
        # No known mistake loses units, or all numbers.
        if outputs.shape[2] != reference.layer.units or not outputs.size:
            return check
        evidence = SequenceEvidence.around(reference, outputs, None)
        return replace(check, causes=causes(reference, evidence, tick))
    if check.first_divergence is None:
        return replace(check, causes=state_causes(reference, outputs, observed.final_state))
    reference, outputs = finite_part(reference, outputs)
    if not outputs.size:
        return check
    # The verdict says nothing of a part, or of numbers within the last digit that was printed.
    whole = outputs is observed.outputs and reference.printed is None
    beyond = judged.found.beyond if whole else None
    evidence = SequenceEvidence.around(reference, outputs, check.first_divergence, beyond)
    untold: list[Fit] = []
    known = causes(reference, evidence, tick, untold)
    if known:
        return replace(check, causes=known)
    suspected: Callable[[], Suspicion | None] = cache(lambda: suspicion(reference, outputs))
    steps = StepResiduals.of(reference, outputs, beyond)
    if may_imply(reference.layer, steps.off):
        found = suspected()
        known = implied_causes(reference, found, evidence)
        if found is not None and known:
            return replace(check, causes=known, implied_weights=found.weights[:MOST_SHOWN])
    hint, weights = suggestion(reference.layer, reference.sequences, outputs)
    deviation = np.array([row.max_deviation for row in check.timesteps[: outputs.shape[1]]])
    told = clues(steps, deviation, lambda: not getattr(suspected(), "weights", ()))
    return replace(
        check,
        summary=f"{unexplained(check, reference, outputs, untold)}{hint}",
        implied_weights=weights,
        notes=(*check.notes, *told),
    )


def diagnosed_last(
    check: Check, reference: Computation, observed: Observations, tick: Tick
) -> Check:
    """The check of a last output alone, with its causes."""
    if observed.outputs.shape != (reference.sequences.shape[0], reference.layer.units):
        return check
    if all(row.max_ratio <= 1 for row in check.final_state if row.name == "output"):
        return replace(check, causes=last_state_causes(reference, observed.final_state))
    untold: list[Fit] = []
    evidence = LastOutputEvidence(reference, observed.outputs, observed.final_state)
    found = causes(reference, evidence, tick, untold)
    if found:
        return replace(check, causes=found)
    untold += [TOO_WIDE] if evidence.too_wide else []
    return replace(check, summary=unexplained(check, reference, observed.outputs, untold))


def unexplained(
    check: Check, reference: Computation, outputs: NDArray[Any], untold: Sequence[Fit]
) -> str:
    """The summary of a check that no known mistake explains: what that is worth.

    Where some are `untold`, they would explain numbers that prove nothing.
    """
    if untold:
        few = "are too few" if outputs.size <= FEW_NUMBERS else "tell too little"
        wide = any(fit.wide for fit in untold)
        why = "the bound is too wide" if wide else f"the numbers {few}"
        return f"{check.summary}; {why} to name a mistake"
    known, layer = len(faults_of(reference.layer)), type(reference.layer).__name__
    return f"{check.summary}; none of the {known} mistakes known for {layer} explains it"


def finite_part(reference: Computation, outputs: NDArray[Any]) -> tuple[Computation, NDArray[Any]]:
    """What was observed before the first number that is not finite; the numbers tell what they can.

    Where that is in the first timestep, the samples that are finite throughout.
    """
    finite = np.all(np.isfinite(outputs), axis=2)
    if finite.all():
        return reference, outputs
    count = int(np.all(finite, axis=0).argmin())
    s = reference.sequences
    if count:
        return reference.but(sequences=s.first(count)), outputs[:, :count]
    samples = np.flatnonzero(np.all(finite, axis=1))
    return reference.but(sequences=s.samples(samples)), outputs[samples]


def doubted(
    check: Check, reference: Computation, outputs: NDArray[Any], probe: Probe | None = None
) -> Check:
    """`suspect` when the outputs, within rounding as they are, imply other weights beyond doubt."""
    found = suspicion(reference, outputs, probe)
    if found is None:
        return check
    which = ""
    if found.weights:
        first = found.weights[0]
        which = f": {len(found.weights)} of them, {first.weight}{list(first.index)} first"
    return replace(
        check,
        verdict="suspect",
        summary=f"every step is within rounding, yet the outputs imply other weights{which}",
        implied_weights=found.weights[:MOST_SHOWN] or None,
        causes=found.causes,
    )
