"""Mistakes of the states: the initial one not taken, the final one of another timestep."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball, copied
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.diagnosis.faults.cells import STATES_SWAPPED
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.recurrence.layers import Array
from rnn_parity.recurrence.replay import blocks
from rnn_parity.verdict.results import Cause


def without_states(c: Computation) -> Variants:
    """All states as zeros; then, where there are several, each alone."""
    state = c.sequences.initial_state
    yield c.sequences_but(initial_state=np.zeros_like(state))
    for s in range(len(state)) if len(state) > 1 else ():
        others = state.copy()
        others[s] = 0
        yield c.sequences_but(f"{c.layer.STATES[s]} alone", initial_state=others)


def without_given_states(c: Computation) -> Variants:
    """Variants without the given states; one by one only where several of them are not zeros."""
    several = sum(state.any() for state in c.sequences.initial_state) > 1
    return without_states(c) if several else islice(without_states(c), 1)


def initial_state_ignored(c: Computation) -> Variants:
    if not c.stateful:
        yield from without_states(c)


def state_not_carried(c: Computation) -> Variants:
    if c.stateful:
        yield from without_states(c)


def ignored_states(c: Computation, outputs: Outputs) -> Variants:
    return iter(()) if c.stateful else without_given_states(c)


def states_not_carried(c: Computation, outputs: Outputs) -> Variants:
    return without_given_states(c) if c.stateful else iter(())


def zero_state(c: Computation) -> str | None:
    zeros = [not state.any() for state in c.sequences.initial_state]
    if all(zeros):
        return "the initial state is zeros"
    names = [name for name, zero in zip(c.layer.STATES, zeros, strict=True) if zero]
    return f"the initial state {names[0]} is zeros" if names else None


INITIAL_STATE_FAULTS = (
    Fault(
        "initial-state-ignored",
        "the initial state is taken as zeros",
        "start the loop from the given initial state",
        initial_state_ignored,
        zero_state,
        ignored_states,
    ),
    Fault(
        "state-not-carried",
        "a stateful layer starts each call from zeros",
        "start a stateful layer's call from the last state of the call before",
        state_not_carried,
        zero_state,
        states_not_carried,
    ),
)
STALE = Fault(
    "final-state-stale",
    "the returned final state is not that of the last output",
    "return the state after the last timestep",
    lambda c: iter(()),
)


def state_causes(
    reference: Computation, outputs: Outputs, final_state: tuple[NDArray[Any], ...]
) -> tuple[Cause, ...]:
    """Why returned states `(B, H)` are not those of right `outputs`: swapped, or of other steps."""
    names, last = reference.layer.STATES, outputs.shape[1]
    given = [state.astype(np.float64) for state in final_state]
    swapped = STATES_SWAPPED.applies_to(reference.layer) and len(given) == 2
    swapped = swapped and all(
        is_state(reference, outputs, state, name, last)
        for name, state in zip(reversed(names), given, strict=True)
    )
    if swapped:
        return (STATES_SWAPPED.cause(f"{STATES_SWAPPED.meaning}, as they are returned"),)
    found = []
    for name, state in zip(names, given, strict=False):
        count = likeliest(reference, state, name)
        if not is_state(reference, outputs, state, name, count):
            return ()
        if count < last:
            which = f"that of timestep {count - 1}" if count else "the initial state"
            found.append(f"{name} is {which}")
    return (STALE.cause(f"{STALE.meaning}: {' and '.join(found)}"),) if found else ()


def likeliest(reference: Computation, given: Array, name: str) -> int:
    """After how many timesteps the replayed state is nearest to `given`."""
    index = reference.layer.STATES.index(name)
    nearest, least = 0, np.abs(reference.sequences.initial_state[index] - given).max()
    for block in blocks(reference.layer, reference.sequences):
        apart = np.abs(block.states[index, 1:] - given).max(axis=(1, 2))
        # The last one of those that a mask repeats.
        n = len(apart) - int(apart[::-1].argmin())
        if apart[n - 1] <= least:
            nearest, least = block.steps.start + n, apart[n - 1]
    return nearest


def is_state(reference: Computation, outputs: Outputs, given: Array, name: str, count: int) -> bool:
    """Whether `given` is the state called `name` after `count` timesteps, within rounding."""
    for arithmetic in arithmetics(reference.layer.precision):
        ball = state_ball(reference, outputs[:, :count], name, arithmetic)
        if (ratios(distance(given, ball.value), ball) <= 1).all():
            return True
    return False


def state_ball(reference: Computation, outputs: Outputs, name: str, arithmetic: Arithmetic) -> Ball:
    """Where the state called `name` must lie after `outputs`."""
    layer, sequences = reference.layer, reference.sequences.first(outputs.shape[1])
    if not outputs.shape[1]:
        return copied(sequences.initial_state[layer.STATES.index(name)], arithmetic)
    steps = Steps(layer, arithmetic, sequences)
    for block, observed in observed_steps(layer, sequences, outputs):
        if name in layer.hidden:
            steps.observed(block, observed)
        state = observed.states[-1]
    if name in layer.hidden:
        return steps.hidden[layer.hidden.index(name)]
    return copied(state, arithmetic)
