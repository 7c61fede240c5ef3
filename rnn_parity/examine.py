"""One layer call, examined whole: the verdict, why it diverged, and what it could not have seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnn_parity import implied
from rnn_parity.diagnose import causes
from rnn_parity.faults import FAULTS, STALE, Computation
from rnn_parity.faults.estimated import FEW, weights_rounded
from rnn_parity.judge import Judged, Observations, judge
from rnn_parity.layers import Array, SimpleRNN
from rnn_parity.precision import FLOAT32
from rnn_parity.results import Cause, Check, ImpliedWeight, LaterSensitivity, Subject
from rnn_parity.sensitivity import sensitivity
from rnn_parity.sequences import Sequences

LIKELIER = 50.0
"""The gain in log-likelihood from which on rounded weights are named."""


@np.errstate(all="ignore")
def examine(
    layer: SimpleRNN,
    sequences: Sequences,
    observed: Observations,
    subject: Subject,
    stateful: bool = False,
) -> Check:
    """Judge what was observed, then say why, or what the check is blind to."""
    judged = judge(layer, sequences, observed, subject)
    right = Computation(layer, sequences, stateful)
    if judged.check.verdict == "diverged":
        return diagnosed(judged, right, observed)
    if judged.check.verdict != "parity" or judged.found is None:
        return judged.check
    check = doubted(judged, right, observed)
    if check.verdict != "parity":
        return check
    states = None if observed.final_state is None else judged.found.last_states.swapaxes(0, 1)
    return replace(
        check,
        sensitivity=LaterSensitivity(lambda: sensitivity(right, judged.arithmetic, states)),
    )


def diagnosed(judged: Judged, right: Computation, observed: Observations) -> Check:
    """The check with its causes, or with a summary that says what was ruled out."""
    check, outputs = judged.check, observed.outputs
    steps_are_right = judged.found is not None and check.first_divergence is None
    if outputs.ndim != 3:
        return check
    if steps_are_right:
        stale = stale_state(right, observed)
        return replace(check, causes=(stale,)) if stale else check
    finite = np.isfinite(outputs.astype(np.float64)).all(axis=(0, 2))
    if judged.found is not None and not finite.all():
        # The numbers before the first that is not finite still tell what went wrong.
        count = int(finite.argmin())
        if count == 0:
            return check
        outputs, right = outputs[:, :count], right.but(sequences=right.sequences.first(count))
    found = causes(right, outputs, check.first_divergence)
    if found or judged.found is None:
        return replace(check, causes=found)
    ruled_out = f"{check.summary}; none of the {len(FAULTS)} known mistakes explains it"
    weights = implied_weights(right, outputs)
    return replace(check, summary=ruled_out + suggestion(weights), implied_weights=weights)


def stale_state(right: Computation, observed: Observations) -> Cause | None:
    """The cause when every output is right and the returned state is another."""
    if observed.final_state is None:
        return None
    state = observed.final_state.astype(np.float64)
    outputs = observed.outputs.astype(np.float64)
    same = np.flatnonzero((outputs == state[:, np.newaxis]).all(axis=(0, 2)))
    if len(same):
        which = f"it is the output of timestep {same[-1]}"
    elif np.array_equal(state, right.sequences.initial_state):
        which = "it is the initial state"
    else:
        which = "it is no output of this run"
    return Cause(STALE.id, f"{STALE.meaning}: {which}", None)


def implied_weights(right: Computation, outputs: Array) -> tuple[ImpliedWeight, ...] | None:
    """The weights that diverged outputs imply; None where they imply none."""
    found = implied.total_weights(right.layer, right.sequences, outputs)
    if found is None or not found.determined:
        return None
    return implied.differences(right.layer, found)[: implied.MOST_SHOWN] or None


def suggestion(weights: tuple[ImpliedWeight, ...] | None) -> str:
    """What the implied weights hint at, without naming a cause."""
    if not weights:
        return ""
    names = sorted({w.weight for w in weights})
    return f"; if the formula is right, other values stand in {' and '.join(names)}"


def doubted(judged: Judged, right: Computation, observed: Observations) -> Check:
    """`suspect` when the outputs imply other weights beyond doubt, within rounding as they are."""
    check, layer = judged.check, right.layer
    rows = judged.found.first_rows if judged.found else None
    if rows is None or layer.activation.coupling or layer.precision.digits < FLOAT32.digits:
        return check  # the errors of narrow formats are no noise: they depend on the numbers
    if not implied.suspicious(rows):
        return check
    equations = implied.rows(layer, right.sequences, observed.outputs, judged.arithmetic)
    weights = implied.differences(layer, implied.estimate(equations))
    causes = weight_causes(right, equations, weights)
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
    right: Computation, equations: implied.Rows, weights: tuple[ImpliedWeight, ...]
) -> tuple[Cause, ...]:
    """Rounded weights where those make the residuals likelier; else a few single entries."""
    best, explanation = LIKELIER, ""
    for variant in weights_rounded(right):
        other = implied.with_weights(equations, right.layer, variant.layer)
        gain = implied.likelihood_gain(equations, other)
        if gain > best and not implied.suspicious(other):
            best, explanation = gain, variant.detail
    if explanation:
        return (Cause("weights-rounded", explanation, None),)
    if not 0 < len(weights) <= FEW:
        return ()
    names = [f"{name_of(w)} is {w.implied:.9g} instead of {w.expected:.9g}" for w in weights]
    return (Cause("weights-differ", "; ".join(names), None),)
