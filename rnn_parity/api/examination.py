"""One layer call, examined whole: the verdict, why it diverged, and what it could not have seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis import implied_weights as implied
from rnn_parity.diagnosis.blind_spots import Passed, later
from rnn_parity.diagnosis.causes import causes
from rnn_parity.diagnosis.equations import Rows
from rnn_parity.diagnosis.faults import Computation, faults_of
from rnn_parity.diagnosis.faults.final import state_causes
from rnn_parity.diagnosis.faults.weights import DIFFERENT, FEW, ROUNDED, rounded_weights
from rnn_parity.diagnosis.probe import Probe
from rnn_parity.diagnosis.stack import split_bias, stacked
from rnn_parity.diagnosis.suspicion import SCREEN, explains, other_weights
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.system.progress import Tick, on_terminal, unseen
from rnn_parity.system.threads import one_thread
from rnn_parity.verdict.judge import Judged, Observations, judge
from rnn_parity.verdict.results import Cause, Check, ImpliedWeight, Subject

SAMPLE_UNITS = 8
"""So many units tell whether other weights would fit."""
ROUNDING_SHOWS = 128
"""In so many steps the rounding of all weights shows, if it does."""
LOUD = 2.0
"""Chance makes the squares of all scores 1 on average."""


@np.errstate(all="ignore")
def examine(
    layer: Layer,
    sequences: Sequences,
    observed: Observations,
    subject: Subject,
    stateful: bool = False,
    why: bool = True,
    probe: Probe | None = None,
) -> Check:
    """Judge what was observed, then say why it diverged, or what the check is blind to.

    Without `why` no cause is looked for, which may take a hundred times as long as the verdict.
    `probe` runs the very implementation on other data, to settle a suspicion about its weights.
    """
    judged = judge(layer, sequences, observed, subject)
    right = Computation(layer, sequences, stateful)
    if judged.check.verdict == "diverged":
        if not why:
            return judged.check
        with one_thread(), on_terminal("diagnosis") as tick:
            return diagnosed(judged, right, observed, tick)
    if judged.check.verdict != "parity" or judged.found is None:
        return judged.check
    with one_thread():
        check = doubted(judged.check, right, observed.outputs, probe)
    if check.verdict != "parity":
        return check
    passed = Passed(right, observed, judged.found.last, judged.arithmetic)
    return replace(check, sensitivity=later(passed))


def diagnosed(
    judged: Judged, right: Computation, observed: Observations, tick: Tick = unseen
) -> Check:
    """The check with its causes, or with a summary that says what was ruled out."""
    check, outputs = judged.check, observed.outputs
    if outputs.ndim != 3:
        return check
    if judged.found is None:
        # No known mistake loses units, or all numbers.
        known = outputs.shape[2] == right.layer.units and outputs.size
        return replace(check, causes=causes(right, outputs, None, tick)) if known else check
    if check.first_divergence is None:
        return replace(check, causes=state_causes(right, outputs, observed.final_state))
    right, outputs = finite_part(right, outputs)
    if not outputs.size:
        return check
    found = causes(right, outputs, check.first_divergence, tick)
    if found:
        return replace(check, causes=found)
    hint, weights = suggestion(right, outputs)
    known = len(faults_of(right.layer))
    summary = f"{check.summary}; none of the {known} known mistakes explains it{hint}"
    return replace(check, summary=summary, implied_weights=weights)


def finite_part(right: Computation, outputs: NDArray[Any]) -> tuple[Computation, NDArray[Any]]:
    """What was observed before the first number that is not finite; the numbers tell what they can.

    Where that is in the first timestep, the samples that are finite throughout.
    """
    finite = np.all(np.isfinite(outputs.astype(np.float64)), axis=2)
    if finite.all():
        return right, outputs
    count = int(np.all(finite, axis=0).argmin())
    if count:
        return right.but(sequences=right.sequences.first(count)), outputs[:, :count]
    samples = np.flatnonzero(np.all(finite, axis=1))
    return right.but(sequences=right.sequences.samples(samples)), outputs[samples]


def suggestion(
    right: Computation, outputs: NDArray[Any]
) -> tuple[str, tuple[ImpliedWeight, ...] | None]:
    """What the weights that diverged outputs imply hint at, and those weights where they fit."""
    equations = implied.total_rows(right.layer, right.sequences, outputs)
    if equations is None:
        return "", None
    found = implied.estimate(equations, SAMPLE_UNITS)
    fits = implied.fits(equations, found)
    if fits is None:
        return "", None
    if not fits:
        return ", and no other weights would: the formula or its data are others", None
    weights = implied.differences(right.layer, found)
    names = sorted({w.weight for w in weights})
    hint = f", but other values in {' and '.join(names)} would" if names else ""
    return hint, weights[: implied.MOST_SHOWN] or None


def doubted(
    check: Check, right: Computation, outputs: NDArray[Any], probe: Probe | None = None
) -> Check:
    """`suspect` when the outputs imply other weights, within rounding as they are: confirmed by
    samples that did not raise them, or by a `probe`.
    """
    layer, now = right.layer, stacked(right.layer)
    coupled = any(activation.coupling for activation in layer.activations)
    if coupled or layer.precision.digits < FLOAT32.digits:
        return check  # the errors of narrow formats are no noise: they depend on the numbers
    quick = implied.quick_rows(layer, right.sequences, outputs).even(now)
    scores = implied.scores(quick)
    # Rounding changes every weight a little; of few equations no single score can be high.
    hidden = quick.count < ROUNDING_SHOWS or np.mean(scores**2) > LOUD
    rounding = likeliest_rounding(right, quick) if hidden else None
    weights: tuple[ImpliedWeight, ...] = ()
    if scores.max() > SCREEN:
        equations = implied.rows(layer, right.sequences, outputs).even(now)
        weights = implied.differences(layer, other_weights(layer, equations, probe))
        if rounding is not None:  # a single weight that is off by more may pass for a rounding
            rest = equations.but_weights(stacked(rounding.layer) - now)
            rounding = None if other_weights(layer, rest).difference.any() else rounding
    if not weights and rounding is None:
        return check
    which = f": {len(weights)} of them, {name_of(weights[0])} first" if weights else ""
    return replace(
        check,
        verdict="suspect",
        summary=f"every step is within rounding, yet the outputs imply other weights{which}",
        implied_weights=weights[: implied.MOST_SHOWN] or None,
        causes=weight_causes(layer, rounding, weights),
    )


def name_of(w: ImpliedWeight) -> str:
    """A weight's entry as one writes it: kernel[3, 7]."""
    return f"{w.weight}{list(w.index)}"


def weight_causes(
    layer: Layer, rounding: Computation | None, weights: tuple[ImpliedWeight, ...]
) -> tuple[Cause, ...]:
    """Rounded weights where those explain the residuals; else a few single entries."""
    if rounding is not None:
        return (ROUNDED.cause(rounding.detail),)
    if len(weights) > FEW:
        return ()
    names = [f"{name_of(w)} is {w.implied:.9g} instead of {w.expected:.9g}" for w in weights]
    return (DIFFERENT.cause("; ".join(names) + of_a_sum(layer, weights)),)


def of_a_sum(layer: Layer, weights: tuple[ImpliedWeight, ...]) -> str:
    """What outputs cannot tell of a GRU's two biases, as a clause."""
    summed = any(w.weight == "bias" and w.index[-1] < 2 * layer.units for w in weights)
    if not (summed and split_bias(layer)):
        return ""
    return "; of the gates z and r only the sum of bias[0] and bias[1] shows"


def likeliest_rounding(right: Computation, equations: Rows) -> Computation | None:
    """The layer with that rounding of all weights which explains the residuals best, shown by every
    part of the samples; None where there is none.
    """
    residual, found = equations.news(equations.residual), None
    least = float((residual**2).sum())
    weights, gradient = stacked(right.layer), equations.of_news.gradient
    noise = least / max(1, equations.count * right.layer.units)
    for variant in rounded_weights(right):
        change = stacked(variant.layer) - weights
        # What it explains, and more than that, costs little; a quarter of it leaves room.
        if not np.vdot(change, gradient) > implied.CERTAIN**2 / 4 * noise:
            continue
        predicted = equations.news(equations.changed(change))
        left = float(((residual - predicted) ** 2).sum())
        if left < least and explains(predicted, residual):
            least, found = left, variant
    return found
