"""What a passing check could not have seen: every fault injected into the right computation.

A fault is visible when the very run that has it would have been `diverged`: its outputs and states,
rounded to the layer's precision, are judged as any others are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.diagnosis.faults import STALE, Computation, Fault, faults_of
from rnn_parity.diagnosis.fit import fit
from rnn_parity.recurrence.layers import Array, Layer
from rnn_parity.recurrence.replay import replay
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.system.threads import one_thread
from rnn_parity.verdict.comparison import Last
from rnn_parity.verdict.judge import Observations, held_states, judge
from rnn_parity.verdict.printed import prints
from rnn_parity.verdict.results import BlindSpot, LaterSensitivity, Sensitivity, Subject

SAMPLES, STEPS = 4, 32
"""Rows on which nearly every fault shows already; only what hides there is tried on all."""
CLEARLY = 1.05
"""A ratio from which on a few rows prove what the whole run would show. The quick way that whole
runs are judged by has bounds that are wider by less than that.
"""
MOST_KEPT = 1 << 26
"""Bytes of inputs and outputs that a report keeps, to work out the blind spots when somebody looks
at them: 64 MiB. Of more, a memory map of gigabytes among them, nothing is copied and the blind
spots are worked out at once.
"""


@dataclass(frozen=True, eq=False)
class Passed:
    """A check that passed: the `right` computation, and what was observed of it.

    `last` is what is known of the states around the last timestep in that `arithmetic`.
    """

    right: Computation
    observed: Observations
    last: Last
    arithmetic: Arithmetic

    def copied(self) -> Passed:
        """This check on arrays that nobody else has: what they hold later must not matter."""
        s, seen = self.right.sequences, self.observed
        arrays = {
            n: a.copy() for n, a in vars(self.right.layer).items() if isinstance(a, np.ndarray)
        }
        right = replace(
            self.right,
            layer=self.right.layer.changed(**arrays),
            sequences=replace(s, inputs=np.array(s.inputs)),
        )
        states = tuple(np.array(state) for state in seen.final_state)
        observed = Observations(np.array(seen.outputs), states)
        return replace(self, right=right, observed=observed)


def later(passed: Passed) -> Sensitivity:
    """The sensitivity of a check: worked out when somebody looks, where its data are small."""
    size = passed.right.sequences.inputs.nbytes + passed.observed.outputs.nbytes
    if size > MOST_KEPT:
        return sensitivity(passed)
    kept = passed.copied()
    return LaterSensitivity(lambda: sensitivity(kept))


@np.errstate(all="ignore")
def sensitivity(passed: Passed) -> Sensitivity:
    """Which faults this check would have called `diverged`, and which not, with the reason."""
    with one_thread():
        return seen_of(passed)


def seen_of(passed: Passed) -> Sensitivity:
    """Fault by fault."""
    right = passed.right
    visible, blind = [], []
    for fault in faults_of(right.layer):
        if fault is STALE:
            reason = unseen_state(passed)
        elif next(fault.variants(right), None) is None:
            continue
        else:
            reason = fault.blind(right) or hiding(fault, passed)
        if reason is None:
            visible.append(fault.id)
        else:
            blind.append(BlindSpot(fault.id, reason))
    return Sensitivity(tuple(visible), tuple(blind))


def hiding(fault: Fault, passed: Passed) -> str | None:
    """Why some variant of a fault would not have been `diverged`; None if all would."""
    hidden = [variant.detail for variant in fault.variants(passed.right) if hides(variant, passed)]
    return unseen(passed, hidden) if hidden else None


def hides(variant: Computation, passed: Passed) -> bool:
    """Whether the run of a faulty computation would not have been `diverged`."""
    return not (shows_early(variant, passed) or diverged(passed.right, whole_run(variant, passed)))


def shows_early(variant: Computation, passed: Passed) -> bool:
    """Whether a few samples of the faulty run diverge in its first timesteps already.

    Outputs whose digits are few, or whose axes are swapped, tell nothing of the whole run.
    """
    right, samples = passed.right, few_samples(passed.right.sequences)
    outputs = first_outputs(variant, passed, samples)
    layer, sequences = right.layer, right.sequences.first(STEPS).samples(samples)
    if outputs.shape != (*sequences.shape, layer.units) or prints(outputs):
        return False
    return all(
        fit(layer, sequences, outputs, arithmetic).max_ratio > CLEARLY
        for arithmetic in arithmetics(layer.precision)
    )


def few_samples(sequences: Sequences) -> NDArray[np.intp]:
    """The first samples; under a mask, those with the most masked timesteps among the first."""
    if sequences.mask is None:
        return np.arange(min(SAMPLES, sequences.shape[0]))
    return np.argsort(sequences.mask[:, :STEPS].sum(axis=1), kind="stable")[:SAMPLES]


def first_outputs(variant: Computation, passed: Passed, samples: NDArray[np.intp]) -> NDArray[Any]:
    """What a faulty run puts out for these samples in its first timesteps."""
    s, right = variant.sequences, passed.right
    if variant.rearrange is None:
        return rounded(variant, replay(variant.layer, s.first(STEPS).samples(samples)).outputs)
    if s is right.sequences:
        # Both ends of the right outputs are all that can come first in any other order of time.
        y = passed.observed.outputs
        if y.shape[1] > 2 * STEPS + 2:
            ends = (y[samples, : STEPS + 1], y[samples, -STEPS - 1 :])
            return variant.rearrange(np.concatenate(ends, axis=1))[:, :STEPS]
        return variant.rearrange(y[samples])[:, :STEPS]
    # The recurrence ran along the batch: its samples are the timesteps.
    part = s.samples(slice(STEPS)).first(len(samples))
    return rounded(variant, variant.rearrange(replay(variant.layer, part).outputs))


def whole_run(variant: Computation, passed: Passed) -> Observations:
    """All that the faulty run puts out, with its final states where such were observed."""
    seen = passed.observed
    if variant.rearrange is not None and variant.sequences is passed.right.sequences:
        return Observations(variant.rearrange(seen.outputs), seen.final_state)
    trace = replay(variant.layer, variant.sequences)
    if variant.rearrange is not None:
        return Observations(rounded(variant, variant.rearrange(trace.outputs)))
    states = trace.final_state if len(variant.layer.STATES) > 1 else (trace.final_state,)
    found = tuple(rounded(variant, state) for state in states)
    return Observations(rounded(variant, trace.outputs), found[: len(seen.final_state)])


def rounded(variant: Computation, numbers: Array) -> Array:
    """Numbers as a layer returns them."""
    return variant.layer.precision.round(numbers)


def diverged(right: Computation, observed: Observations) -> bool:
    """The verdict on what a faulty run puts out."""
    found = judge(right.layer, right.sequences, observed, Subject())
    return found.check.verdict == "diverged"


def unseen(passed: Passed, hidden: list[str]) -> str:
    """Why variants of a fault do not show although nothing forbids it, in a person's words."""
    layer, few = passed.right.layer, few_samples(passed.right.sequences)
    outputs = passed.observed.outputs[few, :STEPS].astype(np.float64)
    bounded = layer.activation.name in ("tanh", "sigmoid", "softsign", "hard_tanh")
    if not outputs.any():
        return "all outputs are zeros"
    if bounded and np.median(np.abs(outputs)) > 1 - 1e-4:
        return "the outputs are saturated at their limits"
    which = "; ".join(filter(None, hidden))
    return "its outputs would be within rounding of the right ones" + (f" ({which})" * bool(which))


def unseen_state(passed: Passed) -> str | None:
    """Why a stale final state does not show."""
    if not passed.observed.final_state:
        return "no final state was observed"
    before, after = passed.last.states
    if stale_shows(passed):
        return None
    same = "the state did not change in the last timestep"
    near = "the state before the last timestep is within rounding of the one after it"
    return same if np.array_equal(before, after) else near


def stale_shows(passed: Passed) -> bool:
    """Whether the states before the last timestep, returned as the final ones, would diverge."""
    right, seen = passed.right, passed.observed
    stale = stale_states(passed)
    if not beyond(right.layer, stale, passed):
        return False
    if passed.arithmetic == arithmetics(right.layer.precision)[-1]:
        return True
    return diverged(right, replace(seen, final_state=stale))


def stale_states(passed: Passed) -> tuple[Array, ...]:
    """The states before the last timestep; an LSTM's c, which nobody observed, as replayed."""
    h, right = passed.last.states[0], passed.right
    if len(passed.observed.final_state) == 1:
        return (h,)
    before = right.sequences.shape[1] - 1
    if not before:
        return (h, right.sequences.initial_state[1])
    return (h, rounded(right, replay(right.layer, right.sequences.first(before)).final_state[1]))


def beyond(layer: Layer, states: tuple[Array, ...], passed: Passed) -> bool:
    """Whether some returned state is beyond its bound in the arithmetic that explains the run."""
    last = passed.last
    held = held_states(layer, states, last.balls_of(states), last.replayed)
    return any(not one.row.max_ratio <= 1 for one in held)
