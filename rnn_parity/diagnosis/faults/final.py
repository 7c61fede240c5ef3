"""Mistakes of the returned state alone, where every output is right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball, copied
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs
from rnn_parity.diagnosis.faults.lstm import SWAPPED
from rnn_parity.diagnosis.fit import observed_steps
from rnn_parity.recurrence.layers import Array
from rnn_parity.recurrence.replay import blocks
from rnn_parity.verdict.results import Cause

STALE = Fault(
    "final-state-stale",
    "the returned final state is not that of the last output",
    "return the state after the last timestep",
    lambda c: iter(()),
)


def state_causes(
    right: Computation, outputs: Outputs, final_state: tuple[NDArray[Any], ...]
) -> tuple[Cause, ...]:
    """Why returned states `(B, H)` are not those of right `outputs`: swapped, or of other steps."""
    names, last = right.layer.STATES, outputs.shape[1]
    given = [state.astype(np.float64) for state in final_state]
    swapped = len(given) == 2 and all(
        is_state(right, outputs, state, name, last)
        for name, state in zip(reversed(names), given, strict=True)
    )
    if swapped:
        return (Cause(SWAPPED.id, f"{SWAPPED.meaning}, as they are returned", None),)
    found = []
    for name, state in zip(names, given, strict=False):
        count = likeliest(right, state, name)
        if not is_state(right, outputs, state, name, count):
            return ()
        if count < last:
            which = f"that of timestep {count - 1}" if count else "the initial state"
            found.append(f"{name} is {which}")
    return (Cause(STALE.id, f"{STALE.meaning}: {' and '.join(found)}", None),) if found else ()


def likeliest(right: Computation, given: Array, name: str) -> int:
    """After how many timesteps the replayed state is nearest to `given`."""
    index = right.layer.STATES.index(name)
    nearest, least = 0, np.abs(right.sequences.initial_state[index] - given).max()
    for block in blocks(right.layer, right.sequences):
        apart = np.abs(block.states[index, 1:] - given).max(axis=(1, 2))
        # The last one of those that a mask repeats.
        n = len(apart) - int(apart[::-1].argmin())
        if apart[n - 1] <= least:
            nearest, least = block.steps.start + n, apart[n - 1]
    return nearest


def is_state(right: Computation, outputs: Outputs, given: Array, name: str, count: int) -> bool:
    """Whether `given` is that state after so many timesteps, within rounding."""
    for arithmetic in arithmetics(right.layer.precision):
        ball = state_ball(right, outputs[:, :count], name, arithmetic)
        if (ratios(distance(given, ball.value), ball) <= 1).all():
            return True
    return False


def state_ball(right: Computation, outputs: Outputs, name: str, arithmetic: Arithmetic) -> Ball:
    """Where that state must lie after `outputs`."""
    index, sequences = right.layer.STATES.index(name), right.sequences.first(outputs.shape[1])
    if not outputs.shape[1]:
        return copied(sequences.initial_state[index], arithmetic)
    steps, hidden = Steps(right.layer, arithmetic, sequences), name in right.layer.hidden
    for block, observed in observed_steps(right.layer, sequences, outputs):
        if hidden:
            steps.observed(block, observed)
        state = observed.states[-1]
    if hidden:
        return steps.hidden[right.layer.hidden.index(name)]
    return copied(state, arithmetic)
