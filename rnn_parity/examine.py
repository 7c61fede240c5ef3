"""One layer call, examined whole: the verdict, why it diverged, and what it could not have seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import implied, screen
from rnn_parity.diagnose import causes
from rnn_parity.equations import Rows
from rnn_parity.faults import Computation, faults_of
from rnn_parity.faults.final import state_causes
from rnn_parity.faults.weights import FEW, rounded_weights
from rnn_parity.judge import Judged, Observations, judge
from rnn_parity.layers import Layer
from rnn_parity.precision import FLOAT32
from rnn_parity.results import Cause, Check, ImpliedWeight, LaterSensitivity, Subject
from rnn_parity.sensitivity import sensitivity
from rnn_parity.sequences import Sequences
from rnn_parity.stack import stacked
from rnn_parity.threads import one_thread

SAMPLE_UNITS = 8
"""So many units tell whether other weights would fit."""
ROUNDING_SHOWS = 128
"""In so many steps the rounding of all weights shows, if it does."""
LOUD = 2.0
"""Chance makes the squares of all scores 1 on average."""
LIKELIER = 50.0
"""The gain in log-likelihood from which on rounded weights are named."""


@np.errstate(all="ignore")
def examine(
    layer: Layer,
    sequences: Sequences,
    observed: Observations,
    subject: Subject,
    stateful: bool = False,
    why: bool = True,
) -> Check:
    """Judge what was observed, then say why it diverged, or what the check is blind to.

    Without `why` no cause is looked for, which may take a hundred times as long as the verdict.
    """
    judged = judge(layer, sequences, observed, subject)
    right = Computation(layer, sequences, stateful)
    if judged.check.verdict == "diverged":
        if not why:
            return judged.check
        with one_thread():
            return diagnosed(judged, right, observed)
    if judged.check.verdict != "parity" or judged.found is None:
        return judged.check
    with one_thread():
        check = doubted(judged, right, observed)
    if check.verdict != "parity":
        return check
    states = judged.found.last.states.swapaxes(0, 1) if observed.final_state else None
    return replace(
        check,
        sensitivity=LaterSensitivity(lambda: sensitivity(right, states)),
    )


def diagnosed(judged: Judged, right: Computation, observed: Observations) -> Check:
    """The check with its causes, or with a summary that says what was ruled out."""
    check, outputs = judged.check, observed.outputs
    if outputs.ndim != 3:
        return check
    if judged.found is None:
        # No known mistake loses units, or all numbers.
        known = outputs.shape[2] == right.layer.units and outputs.size
        return replace(check, causes=causes(right, outputs, None)) if known else check
    if check.first_divergence is None:
        return replace(check, causes=state_causes(right, outputs, observed.final_state))
    right, outputs = finite_part(right, outputs)
    if not outputs.size:
        return check
    found = causes(right, outputs, check.first_divergence)
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
    weights = implied.differences(right.layer, equations, found)
    names = sorted({w.weight for w in weights})
    hint = f", but other values in {' and '.join(names)} would" if names else ""
    return hint, weights[: implied.MOST_SHOWN] or None


def doubted(judged: Judged, right: Computation, observed: Observations) -> Check:
    """`suspect` when the outputs imply other weights beyond doubt, within rounding as they are."""
    check, layer = judged.check, right.layer
    weights_now = stacked(layer)
    rows = judged.found.first_rows if judged.found else None
    coupled = any(activation.coupling for activation in layer.activations)
    if rows is None or coupled or layer.precision.digits < FLOAT32.digits:
        return check  # the errors of narrow formats are no noise: they depend on the numbers
    rows = rows.even(weights_now)
    scores = screen.scores(rows)
    units = implied.suspects(layer, rows, scores)
    # Rounding changes every weight a little; of few equations no single score can be high.
    hidden = rows.count < ROUNDING_SHOWS or np.mean(scores**2) > LOUD
    rounded = hidden and likeliest_rounding(right, rows.some(ROUNDING_SHOWS)) is not None
    if not (rounded or units.size):
        return check
    equations = implied.rows(layer, right.sequences, observed.outputs)
    equations = (equations if rounded else equations.of_units(units)).even(weights_now)
    weights = implied.differences(layer, equations, implied.estimate(equations))
    causes = weight_causes(right, equations, weights) if rounded or weights else ()
    if not weights and not causes:
        return check
    which = f": {len(weights)} of them, {name_of(weights[0])} first" if weights else ""
    return replace(
        check,
        verdict="suspect",
        summary=f"every step is within rounding, yet the outputs imply other weights{which}",
        implied_weights=weights[: implied.MOST_SHOWN] or None,
        causes=causes,
    )


def name_of(w: ImpliedWeight) -> str:
    """A weight's entry as one writes it: kernel[3, 7]."""
    return f"{w.weight}{list(w.index)}"


def weight_causes(
    right: Computation, equations: Rows, weights: tuple[ImpliedWeight, ...]
) -> tuple[Cause, ...]:
    """Rounded weights where those make the residuals likelier; else a few single entries."""
    rounding = likeliest_rounding(right, equations)
    if rounding is not None:
        return (Cause("weights-rounded", rounding, None),)
    if not 0 < len(weights) <= FEW:
        return ()
    names = [f"{name_of(w)} is {w.implied:.9g} instead of {w.expected:.9g}" for w in weights]
    return (Cause("weights-differ", "; ".join(names), None),)


def likeliest_rounding(right: Computation, equations: Rows) -> str | None:
    """The rounding of all weights that explains the residuals best, if any does beyond doubt."""
    best, detail = LIKELIER, None
    weights, units = stacked(right.layer), equations.units
    gradient = equations.gradient
    noise = float((equations.residual**2).sum()) / max(1, equations.count * len(units))
    for variant in rounded_weights(right):
        change = stacked(variant.layer) - weights
        # The gain is never more than this first term of it, which costs little.
        if not np.vdot(change[:, units], gradient) > LIKELIER * noise:
            continue
        other = equations.but_weights(change)
        gain = implied.likelihood_gain(equations, other)
        if gain > best and not implied.differences(right.layer, other, implied.estimate(other, 8)):
            best, detail = gain, variant.detail
    return detail
