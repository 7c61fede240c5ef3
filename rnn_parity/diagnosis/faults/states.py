"""Mistakes of the states: the initial ones, and those that are returned.

Which initial state an implementation started from is read off the first timesteps that no mask
hides, sample by sample: by Newton's method on `observed[t] - step(inputs[t], observed[t-1])`, in
which the unknown state stands before step 0 and, where states are hidden, is carried on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball, copied
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import Steps, final_balls
from rnn_parity.diagnosis.faults.cells import STATES_MIXED, STATES_SWAPPED
from rnn_parity.diagnosis.faults.fault import INPUTS, OUTPUTS, Computation, Fault, Outputs, Variants
from rnn_parity.diagnosis.few_units import by_themselves
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.sequences import NO_DROPOUT, Dropout, Sequences
from rnn_parity.recurrence.time_loop import blocks, final_states, first_step
from rnn_parity.verdict.printed import steps_as_written
from rnn_parity.verdict.results import Cause

# The given initial states.


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


def where_stateful_is(stateful: bool, variants: Callable[[Computation], Variants]) -> Any:
    """Variants, or what is worth trying on outputs, of stateful layers alone, or of the others."""
    return lambda c, *outputs: variants(c) if c.stateful == stateful else iter(())


def zero_state(c: Computation) -> str | None:
    zeros = [not state.any() for state in c.sequences.initial_state]
    if all(zeros):
        return "the initial state is zeros"
    names = [name for name, zero in zip(c.layer.STATES, zeros, strict=True) if zero]
    return f"the initial state {names[0]} is zeros" if names else None


INITIAL_STATE_FAULTS = (
    Fault(
        "initial-state-ignored",
        "start the loop from the given initial state",
        where_stateful_is(False, without_states),
        zero_state,
        where_stateful_is(False, without_given_states),
        reach=INPUTS,
    ),
    Fault(
        "state-not-carried",
        "start a stateful layer's call from the last state of the call before",
        where_stateful_is(True, without_states),
        zero_state,
        where_stateful_is(True, without_given_states),
        reach=INPUTS,
    ),
)
# Initial states from the wrong place.


def leaked_between_samples(c: Computation) -> Variants:
    """Every sample but the first starts from the final state of the right run before it."""
    if len(c.sequences.inputs) > 1:
        state = c.sequences.initial_state.copy()
        state[:, 1:] = final_states(c.layer, c.sequences)[:, :-1]
        yield c.sequences_but(ONE_BEFORE, initial_state=state)


ONE_BEFORE = "a sample starts from the final state of the one before"


def leaked(c: Computation, outputs: Outputs) -> Variants:
    """All samples as one long sequence; or this call as the continuation of the one before."""
    s, (batch, timesteps) = c.sequences, c.sequences.shape
    if s.dropout is not NO_DROPOUT:
        return
    if batch > 1 and outputs.ndim == 2 and s.mask is None and len(s.initial_state) == 1:
        state = s.initial_state.copy()
        state[0, 1:] = outputs[:-1]
        yield c.sequences_but(ONE_BEFORE, initial_state=state)
    if batch > 1:
        yield c.but(
            ONE_BEFORE,
            sequences=Sequences(
                s.inputs.reshape(1, batch * timesteps, -1),
                None if s.mask is None else s.mask.reshape(1, -1),
                s.initial_state[:, :1],
            ),
            rearrange=lambda y: y.reshape(batch, timesteps, -1),
            undo=lambda c, y: (c.sequences, y.reshape(1, batch * timesteps, -1)),
        )
    if c.earlier is not None and not c.stateful:
        before, seen = c.earlier
        yield c.but(
            "the call starts from the final state of the call before",
            sequences=after(before, s),
            rearrange=lambda y: y[:, before.shape[1] :],
            undo=lambda c, y: (c.sequences, np.concatenate([seen, y], axis=1)),
        )


def after(before: Sequences, later: Sequences) -> Sequences:
    """Sequences that go on where others end."""
    mask = None
    if before.mask is not None or later.mask is not None:
        mask = np.concatenate([unmasked(before), unmasked(later)], axis=1)
    inputs = np.concatenate([before.inputs, later.inputs], axis=1)
    return Sequences(inputs, mask, before.initial_state)


def one_sample(c: Computation) -> str | None:
    return "there is one sample" if c.sequences.shape[0] == 1 else None


def other_first_state(c: Computation) -> Variants:
    """Every number of the initial states is a tenth more."""
    yield c.sequences_but(initial_state=c.sequences.initial_state + 0.1)


def implied_first_state(c: Computation, outputs: Outputs) -> Variants:
    """Only the first step of a sample is off, and later ones, which start from its output, are
    right; a hidden state is implied by those that follow.
    """
    layer, hidden = c.layer, bool(c.layer.hidden)
    if outputs.ndim != 3 or layer.facts.own_output:
        return
    near = float(np.sqrt(layer.precision.unit_roundoff)) + c.unsure_step(outputs)
    right = FirstSteps.of(c.sequences, outputs, 1).off(layer, c.sequences.initial_state) <= near
    if (unmasked(c.sequences).sum(axis=1)[~right] < CONFIRMING[hidden]).any():
        return
    if right.all() and starts_right(c, outputs):
        return
    # Some samples, which cost little, rule out nearly all that is something else.
    few = np.flatnonzero(~right)[:FEW]
    for part in (*few[:, np.newaxis], slice(None)):
        some = c.but(sequences=c.sequences.samples(part))
        later, seen = after_the_first_step(some, outputs[part])
        states = later.initial_state
        if hidden:
            states = implied_states(layer, later, seen, first=1).states
        if not (FirstSteps.of(later, seen, IMPLYING).off(layer, states) <= near).all():
            return
    told = told_of(layer, implied_states(layer, c.sequences, outputs), right)
    own = replace(later, initial_state=states)
    yield c.but(told, undo=lambda c, y: (own, after_the_first_step(c, y)[1]))


def starts_right(c: Computation, outputs: Outputs) -> bool:
    """Whether all of the first timesteps, which imply hidden states, are within rounding."""
    part = c.layer, c.sequences.first(IMPLYING), outputs[:, :IMPLYING]
    if c.sequences.mask is not None:
        return False
    return any(
        all(
            ratios(distance(seen.outputs, ball.value), ball).max() <= 1
            for _, seen, ball in steps_as_written(*part, arithmetic, c.printed)
        )
        for arithmetic in arithmetics(c.layer.precision)
    )


def unmasked(s: Sequences) -> NDArray[np.bool_]:
    """Which timesteps count, `(B, T)`."""
    return np.ones(s.shape, bool) if s.mask is None else s.mask


def after_the_first_step(c: Computation, outputs: Outputs) -> tuple[Sequences, Outputs]:
    """The first step that no mask hides as if one did: what follows starts from its output.

    Then zeros are due there, and in masked steps that repeat it. Hidden states are zeros.
    """
    s, mask = c.sequences, unmasked(c.sequences)
    first, counted = mask.argmax(axis=1), np.cumsum(mask, axis=1)
    shown = outputs[np.arange(len(outputs)), first]
    repeated = 0.0 if c.layer.zero_output_for_mask else shown[:, np.newaxis]
    as_due = np.all(outputs == repeated, axis=2)
    own = (counted == 1) & (mask | as_due)
    state = np.zeros_like(s.initial_state)
    state[0] = shown
    seen = np.where(own[..., np.newaxis], outputs.dtype.type(0), outputs)
    return Sequences(s.inputs, mask & (counted > 1), state, s.dropout), seen


CONFIRMING = {False: 2, True: 3}
"""The fewest timesteps that confirm another first state, without and with hidden states: the first
is off, where states are hidden the second implies them, and the last must be right."""
FEW = 2
"""Samples whose first step is off that are tried, one by one, before all of them. Chosen: one could
be right by chance, and each more takes the time of one."""
IMPLYING = 8
"""Timesteps from which hidden states are implied. Chosen: of two states, twice what determines
them is four."""
NEWTON_STEPS = 20
"""Steps of Newton's method. Chosen: one state takes about five; two of an LSTM may take hundreds,
and are not told then."""
PROGRESS = 0.99
"""A step that leaves more than this share of the squares is the last. Chosen."""
DAMPING = (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0)
"""Damping that is tried in each step, of which the best counts for each sample. Chosen."""
DIFFERENCE = 1e-6
"""By this a state is changed for a derivative, half of float64's digits."""
MOST_NUMBERS = 1 << 25
"""Numbers of a step's pre-activations, of all changed states at once, up to which states are
implied: 256 MiB. Chosen."""
DETERMINED = 1e-4
"""The share of the largest singular value that the smallest must have for a state to be told."""
BOUNDED = {"tanh", "sigmoid", "softsign", "hard_tanh", "hard_sigmoid", "hard_sigmoid_keras2"}
"""Activations whose results, and so the outputs of every layer with them, are within [-1, 1]."""
SHOWN = 4
"""Numbers of an implied state that are told."""


@dataclass(frozen=True, eq=False)
class ImpliedStates:
    """The initial `states` `(S, B, H)` that the first outputs imply, and whether those determine
    them, `(B,)`.
    """

    states: Array
    determined: NDArray[np.bool_]


@np.errstate(all="ignore")
def implied_states(
    layer: Cell, sequences: Sequences, outputs: Outputs, first: int = 0
) -> ImpliedStates:
    """By Newton's method, damped, on the states from the `first` one on.

    Where h is known and units are computed by themselves, each unit of a sample is a problem of its
    own; otherwise each sample is one.
    """
    states = sequences.initial_state.copy()
    number, batch, units = states[first:].shape
    each = units if first and by_themselves(layer) else 1
    start = FirstSteps.of(sequences, outputs, IMPLYING if layer.hidden else 1, each)
    residual = start.residual(layer, states)
    known: NDArray[Any] = np.zeros((batch * each, 1, 1))
    affordable = states.size * number * layer.width // each <= MOST_NUMBERS
    for _ in range(NEWTON_STEPS if affordable else 0):
        slopes = start.slopes(layer, states, residual, first)
        if not np.isfinite(slopes).all():
            break
        known = slopes
        before = float((residual**2).sum())
        for damping in DAMPING:
            step = damped(slopes, residual, damping).reshape(batch, each, number, -1)
            trial = states.copy()
            trial[first:] -= step.transpose(2, 0, 1, 3).reshape(number, batch, units)
            new = start.residual(layer, trial)
            better = (new**2).sum(axis=1) < (residual**2).sum(axis=1)
            of_unit = np.repeat(better.reshape(batch, each), units // each, axis=1)
            states = np.where(of_unit, trial, states)
            residual = np.where(better[:, np.newaxis], new, residual)
        if not float((residual**2).sum()) < PROGRESS * before:
            break
    singular = np.linalg.svd(known, compute_uv=False).reshape(batch, -1)
    fits = np.abs(residual).reshape(batch, -1).max(axis=1) <= np.sqrt(layer.precision.unit_roundoff)
    if layer.activations[0].name in BOUNDED:  # no such layer hands on an h beyond 1
        fits &= np.all(np.abs(states[0]) <= 1, axis=1)
    determined = (singular.min(axis=1) > DETERMINED * singular.max(axis=1)) & fits
    return ImpliedStates(states, determined)


def damped(slopes: Array, residual: Array, damping: float) -> Array:
    """The step `(B, M)` of least squares on `slopes` `(B, N, M)`, damped as Levenberg and Marquardt
    do; without damping the shortest of those that fit best.
    """
    if not damping:
        found: Array = np.einsum("bmn,bn->bm", np.linalg.pinv(slopes, rcond=1e-9), residual)
        return found
    gram = slopes.swapaxes(1, 2) @ slopes
    sizes = np.einsum("bmm->b", gram)[:, np.newaxis, np.newaxis] / gram.shape[1]
    gram = gram + damping * (sizes + 1e-12) * np.eye(gram.shape[1])
    moment = np.einsum("bnm,bn->bm", slopes, residual)
    solved: Array = np.linalg.solve(gram, moment[..., np.newaxis])[..., 0]
    return solved


@dataclass(frozen=True, eq=False)
class FirstSteps:
    """The first unmasked timesteps of each sample: inputs `(B, t, F)`, outputs `(B, t, H)`, and
    which of them there are, `(B, t)`. A sample is a problem of its own, or, with as many `each` as
    it has units, each unit of it is.
    """

    inputs: NDArray[Any]
    outputs: Array
    known: NDArray[np.bool_]
    dropout: Dropout
    each: int = 1

    @classmethod
    def of(cls, s: Sequences, outputs: Outputs, count: int, each: int = 1) -> FirstSteps:
        """Of sequences and what was observed of them."""
        mask = unmasked(s)
        at = np.argsort(~mask, axis=1, kind="stable")[:, :count]
        rows = np.arange(len(at))[:, np.newaxis]
        seen = outputs[rows, at].astype(np.float64)
        return cls(s.inputs[rows, at], seen, mask[rows, at], s.dropout, each)

    def off(self, layer: Cell, states: Array) -> Array:
        """How far each sample is off at most, `(B,)`."""
        found: Array = np.abs(self.residual(layer, states)).max(axis=1)
        return np.nan_to_num(found, nan=np.inf)

    def residual(self, layer: Cell, states: Array, times: int = 1) -> Array:
        """What a step makes of the observed state before, less what was observed: `(B, t H)`, or
        `(B H, t)` of units by themselves.

        Of `times` states for each sample, the samples of one after those of another.
        """
        x, seen = (np.tile(a, (times, 1, 1)) for a in (self.inputs, self.outputs))
        dropout = self.dropout.samples(np.tile(np.arange(len(self.inputs)), times))
        found = []
        for t in range(x.shape[1]):
            trace = first_step(layer, Sequences(x[:, t : t + 1], None, states, dropout))
            found.append(trace.outputs[:, 0] - seen[:, t])
            states = np.stack([seen[:, t], *trace.states[1:]])
        known = np.tile(self.known, (times, 1)).T[..., np.newaxis]
        every = np.where(known, np.stack(found), 0.0).swapaxes(0, 1)
        by_problem: Array = every.reshape(len(x), -1, self.each).swapaxes(1, 2)
        return by_problem.reshape(len(x) * self.each, -1)

    def slopes(self, layer: Cell, states: Array, residual: Array, first: int) -> Array:
        """How the residual `(P, N)` of each of P problems changes with each number of its states
        from the `first` one on, `(P, N, M)`.
        """
        number, batch, units = states[first:].shape
        count = units // self.each
        changed = np.tile(states, (1, number * count, 1))
        for k in range(number * count):
            s, j = divmod(k, count)
            changed[first + s, k * batch : (k + 1) * batch, j::count] += DIFFERENCE
        off = self.residual(layer, changed, number * count).reshape(number * count, *residual.shape)
        slopes: Array = ((off - residual) / DIFFERENCE).transpose(1, 2, 0)
        return slopes


def told_of(layer: Cell, implied: ImpliedStates, right: NDArray[np.bool_]) -> str:
    """The first sample that is not `right` and whose implied state is determined, in words; nothing
    where none is.
    """
    known = implied.determined & ~right
    if not known.any():
        return ""
    b = int(known.argmax())
    told = []
    for name, state in zip(layer.STATES, implied.states[:, b], strict=True):
        more = ", ..." if len(state) > SHOWN else ""
        numbers = ", ".join(f"{number:.6g}" for number in state[:SHOWN])
        told.append(f"{name} = [{numbers}{more}]")
    return f"sample {b} starts as if from {' and '.join(told)}"


OTHER_STATE_FAULTS = (
    Fault(
        "state-leaked",
        "reset the states before every sample and every call",
        leaked_between_samples,
        one_sample,
        leaked,
        reach=OUTPUTS,
    ),
    Fault(
        "first-state-differs",
        "look at what the first step starts from; the later steps prove the weights right",
        other_first_state,
        candidates=implied_first_state,
        alone=True,
        general=True,
    ),
)


# The returned states.


STALE = Fault(
    "final-state-stale",
    "return the state after the last timestep",
    lambda c: iter(()),
)


def state_causes(
    reference: Computation, outputs: Outputs, final_state: tuple[NDArray[Any], ...]
) -> tuple[Cause, ...]:
    """Why returned states `(B, H)` are not those of right `outputs`: swapped, or of other steps."""
    layer, last = reference.layer, outputs.shape[1]
    given = [state.astype(np.float64) for state in final_state]
    confused = confused_states(
        layer, given, lambda name, state: is_state(reference, outputs, state, name, last)
    )
    if confused:
        return confused
    found = []
    for name, state in zip(layer.STATES, given, strict=False):
        count = likeliest(reference, state, name)
        if not is_state(reference, outputs, state, name, count):
            return ()
        if count < last:
            found.append(f"{name} is {f'that of timestep {count - 1}' if count else INITIAL}")
    return (STALE.cause(f"{STALE.meaning}: {' and '.join(found)}", layer),) if found else ()


INITIAL = "the initial state"


def last_state_causes(
    reference: Computation, final_state: tuple[NDArray[Any], ...]
) -> tuple[Cause, ...]:
    """Why final states `(B, H)` are not right beside a right last output, all that is known."""
    layer, sequences = reference.layer, reference.sequences
    given = [state.astype(np.float64) for state in final_state]
    balls = [final_balls(layer, sequences, a)[1] for a in arithmetics(layer.precision)]

    def is_right(name: str, state: Array) -> bool:
        return any(within(state, of_one[layer.STATES.index(name)]) for of_one in balls)

    confused = confused_states(layer, given, is_right)
    if confused:
        return confused
    found = []
    for name, state, first in zip(layer.STATES, given, sequences.initial_state, strict=False):
        if not is_right(name, state):
            if not np.array_equal(state, first):
                return ()
            found.append(f"{name} is {INITIAL}")
    return (STALE.cause(f"{STALE.meaning}: {' and '.join(found)}", layer),) if found else ()


def confused_states(
    layer: Cell, given: list[Array], is_right: Callable[[str, Array], bool]
) -> tuple[Cause, ...]:
    """Whether two returned states are swapped, or one of them stands for both."""
    if len(given) != 2 or not STATES_SWAPPED.applies_to(layer):
        return ()
    if all(map(is_right, reversed(layer.STATES), given)):
        return (STATES_SWAPPED.cause(f"{STATES_SWAPPED.meaning}, as they are returned", layer),)
    for name in layer.STATES:
        if all(is_right(name, state) for state in given):
            return (STATES_MIXED.cause(f"{name} is returned for both states", layer),)
    return ()


def within(given: Array, ball: Ball) -> bool:
    """Whether all numbers lie in the ball."""
    return bool((ratios(distance(given, ball.value), ball) <= 1).all())


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
        if within(given, ball):
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
