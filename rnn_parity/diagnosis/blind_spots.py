"""What a passing check could not have seen: every fault injected into the reference computation.

A fault is visible when the very run that has it would have been `diverged`: its outputs and states,
rounded to the layer's precision, are judged as any others are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from threading import RLock
from typing import Any, TypeAlias
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.step_bound import final_balls
from rnn_parity.diagnosis.faults import STALE, Computation, Fault, faults_of
from rnn_parity.diagnosis.first_look import diverging, in_groups, lanes
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import final_states, replay
from rnn_parity.system.files import is_mapped
from rnn_parity.system.progress import Tick, on_terminal
from rnn_parity.system.threads import one_thread
from rnn_parity.verdict.comparison import Last
from rnn_parity.verdict.judge import Observations, held_states, judge
from rnn_parity.verdict.results import BlindSpot, LaterSensitivity, Sensitivity, Subject

SAMPLES = 4
"""Samples in which nearly every fault shows already; only what hides there is tried on all. Chosen.
"""
FIRST, STEPS = 3, 32
"""First timesteps in which nearly every fault shows, and in which most others do. Chosen: from
zeros, another recurrent kernel shows in the second one."""
BOUNDED = {"tanh", "sigmoid", "softsign", "hard_tanh"}
"""Activations whose outputs saturate at their limits."""
MOST_KEPT, MOST_OF_ONE = 1 << 28, 1 << 26
"""Bytes of inputs and outputs that all reports together keep, to work out blind spots when somebody
looks at them, and those of one check: 256 and 64 MiB. Of what would be more, and of memory maps,
nothing is copied and the blind spots are worked out at once. Chosen.
"""


@dataclass(frozen=True, eq=False)
class PassedCheck:
    """A check that passed: the `reference` computation, and what was observed of it.

    `last` is what is known of the states around the last timestep in that `arithmetic`, None where
    no final state was observed.
    """

    reference: Computation
    observed: Observations
    last: Last | None
    arithmetic: Arithmetic

    @property
    def around_last(self) -> Last:
        """What is known of the states around the last timestep, of which some were observed."""
        assert self.last is not None
        return self.last

    def copied(self) -> PassedCheck:
        """This check on arrays that nobody else has: what they hold later must not matter."""
        reference, observed = copies(self.reference, self.observed)
        return replace(self, reference=reference, observed=observed)

    def shown_early(self, variants: Sequence[Computation]) -> list[bool]:
        """Whether a few samples of faulty runs diverge in their first timesteps already."""
        reference, outputs = self.reference, self.observed.outputs
        shown = [False] * len(variants)
        for count in (FIRST, STEPS):
            left = [i for i, one in enumerate(shown) if not one]
            samples = few_samples(reference.sequences, count)
            data = reference, outputs, samples, count
            for i, one in zip(left, diverging([variants[i] for i in left], *data), strict=True):
                shown[i] = one
        return shown

    def hides(self, variant: Computation) -> bool:
        """Whether the run of a faulty computation would not have been `diverged`."""
        return not diverged(self.reference, whole_run(variant, self))

    def unseen_state(self) -> str | None:
        """Why a stale final state does not show."""
        return unseen_state(self)


@dataclass(frozen=True, eq=False)
class PassedLast:
    """A check of a last output alone that passed, with the final states that were observed."""

    reference: Computation
    observed: Observations

    def copied(self) -> PassedLast:
        """This check on arrays that nobody else has."""
        return PassedLast(*copies(self.reference, self.observed))

    @cached_property
    def balls(self) -> list[list[Ball]]:
        """Where right last outputs and final states lie, in each arithmetic of the verdict."""
        layer, sequences = self.reference.layer, self.reference.sequences
        found = (final_balls(layer, sequences, one) for one in arithmetics(layer.precision))
        return [[output, *states] for output, states in found]

    def shown_early(self, variants: Sequence[Computation]) -> list[bool]:
        """None of them: there is no early output."""
        return [False] * len(variants)

    def hides(self, variant: Computation) -> bool:
        """Whether the run of a faulty computation would not have been `diverged`."""
        states = self.observed.final_state
        if variant.rearrange is not None:
            return self.holds([rounded(variant, variant.computed()[:, -1]), *states])
        trace = replay(variant.layer, variant.sequences)
        found = [trace.outputs[:, -1], *trace.states[: len(states)]]
        return self.holds([rounded(variant, one) for one in found])

    def holds(self, arrays: Sequence[Array]) -> bool:
        """Whether a last output and final states are within rounding in some arithmetic."""
        return any(
            all(
                array.shape == ball.shape
                and bool((ratios(distance(array, ball.value), ball) <= 1).all())
                for array, ball in zip(arrays, balls, strict=False)
            )
            for balls in self.balls
        )

    def unseen_state(self) -> str | None:
        """Why a stale final state does not show."""
        states, steps = self.observed.final_state, self.reference.sequences.shape[1]
        if not states:
            return "no final state was observed"
        before = tuple(self.reference.sequences.initial_state)
        if steps > 1:
            first = self.reference.sequences.first(steps - 1)
            before = tuple(final_states(self.reference.layer, first))
        stale = [rounded(self.reference, state) for state in before[: len(states)]]
        near = "the state before the last timestep is within rounding of the one after it"
        return near if self.holds([self.observed.outputs, *stale]) else None


def copies(reference: Computation, observed: Observations) -> tuple[Computation, Observations]:
    """A computation and what was observed of it, on arrays that nobody else has."""
    s = reference.sequences
    arrays = {n: a.copy() for n, a in vars(reference.layer).items() if isinstance(a, np.ndarray)}
    own = replace(
        reference,
        layer=reference.layer.changed(**arrays),
        sequences=replace(s, inputs=np.array(s.inputs)),
    )
    states = tuple(np.array(state) for state in observed.final_state)
    return own, Observations(np.array(observed.outputs), states)


@dataclass(eq=False)
class Room:
    """How many bytes of checks are kept, all together."""

    taken: int = 0
    lock: Any = field(default_factory=RLock)

    def take(self, size: int) -> bool:
        """Take room for so many bytes; False if there is not enough of it."""
        with self.lock:
            if size > MOST_OF_ONE or self.taken + size > MOST_KEPT:
                return False
            self.taken += size
            return True

    def give_back(self, size: int) -> None:
        """What was kept there is gone."""
        with self.lock:
            self.taken -= size


ROOM = Room()


def later(passed: PassedCheck | PassedLast) -> Sensitivity:
    """The sensitivity of a check: worked out when somebody looks, where there is room to keep its
    data until then.
    """
    arrays = passed.reference.sequences.inputs, passed.observed.outputs
    size = sum(array.nbytes for array in arrays)
    if any(map(is_mapped, arrays)) or not ROOM.take(size):
        return sensitivity(passed, {})
    kept = passed.copied()
    finalize(kept, ROOM.give_back, size)
    return LaterSensitivity(WorkOut(kept))


FaultyRuns: TypeAlias = dict[int, bool]
"""Which faulty runs of a computation would be `diverged`, by the number of the run: those of them
that have nothing of what was observed of the right one.
"""


@dataclass(eq=False)
class WorkOut:
    """Works out the sensitivity of a check. `runs` is what is known of faulty runs already."""

    passed: PassedCheck | PassedLast
    runs: FaultyRuns = field(default_factory=dict)

    def __call__(self) -> Sensitivity:
        """The sensitivity."""
        return sensitivity(self.passed, self.runs)


def share_runs(one: Sensitivity | None, other: Sensitivity | None) -> None:
    """Have the faulty runs judged once for two checks of one computation, on the same data.

    Both checks observed the same states. Nothing is shared by what is worked out already.
    """
    first, second = (getattr(each, "work_out", None) for each in (one, other))
    if isinstance(first, WorkOut) and isinstance(second, WorkOut):
        second.runs = first.runs


@np.errstate(all="ignore")
def sensitivity(passed: PassedCheck | PassedLast, runs: FaultyRuns) -> Sensitivity:
    """Which faults this check would have called `diverged`, and which not, with the reason.

    What is not known of `runs` yet is added.
    """
    visible, blind = [], []
    with one_thread(), on_terminal("looking for blind spots") as tick:
        reasons = {STALE: passed.unseen_state(), **unseen_faults(passed, runs, tick)}
    for fault in faults_of(passed.reference.layer):
        reason = reasons.get(fault, NOT_POSSIBLE)
        if reason is None:
            visible.append(fault.id)
        elif reason != NOT_POSSIBLE:
            blind.append(BlindSpot(fault.id, reason))
    return Sensitivity(tuple(visible), tuple(blind))


NOT_POSSIBLE = ""
"""Stands for a fault that the options of the layer rule out."""


def unseen_faults(
    passed: PassedCheck | PassedLast, runs: FaultyRuns, tick: Tick
) -> dict[Fault, str | None]:
    """Why each fault that the layer can have would not show; None where all its variants would."""
    reasons: dict[Fault, str | None] = {}
    hidden: dict[Fault, list[str]] = {}
    together = lanes(passed.reference, SAMPLES, STEPS)
    numbered = enumerate(told_by_the_run(passed.reference, reasons))
    for some in in_groups(numbered, together):
        tick()
        own = shown(passed, {i: variant for i, (_, variant) in some if i not in runs})
        # A variant that rearranges takes what was observed, which another check need not share.
        runs.update({i: own[i] for i, (_, one) in some if i in own and not one.rearrange})
        for i, (fault, variant) in some:
            if not own.get(i, runs.get(i)):
                hidden.setdefault(fault, []).append(variant.detail)
    return reasons | {fault: unseen(passed, details) for fault, details in hidden.items()}


def shown(passed: PassedCheck | PassedLast, variants: Mapping[int, Computation]) -> dict[int, bool]:
    """Whether the run of each of the variants would have been `diverged`, by their numbers."""
    early = passed.shown_early(list(variants.values()))
    return {
        i: is_early or not passed.hides(variant)
        for (i, variant), is_early in zip(variants.items(), early, strict=True)
    }


def told_by_the_run(
    reference: Computation, reasons: dict[Fault, str | None]
) -> Iterator[tuple[Fault, Computation]]:
    """The variants of all faults that the data alone do not hide; `reasons` is told why they do."""
    for fault in faults_of(reference.layer):
        variants = fault.variants(reference)
        first = next(variants, None)
        if first is not None:
            reasons[fault] = fault.blind(reference)
            for variant in () if reasons[fault] else chain([first], variants):
                yield fault, variant


def few_samples(sequences: Sequences, count: int = STEPS) -> NDArray[np.intp]:
    """The first samples; under a mask, those with the most masked ones of the first timesteps, and
    those with the fewest.
    """
    if sequences.mask is None:
        return np.arange(min(SAMPLES, sequences.shape[0]))
    order = np.argsort(sequences.mask[:, :count].sum(axis=1), kind="stable")
    half = SAMPLES // 2
    return np.unique(np.concatenate([order[:half], order[-half:]]))


def whole_run(variant: Computation, passed: PassedCheck) -> Observations:
    """All that the faulty run puts out, with its final states where such were observed."""
    seen = passed.observed
    if variant.rearrange is not None and variant.sequences is passed.reference.sequences:
        return Observations(variant.rearrange(seen.outputs), seen.final_state)
    trace = replay(variant.layer, variant.sequences)
    if variant.rearrange is not None:
        return Observations(rounded(variant, variant.rearrange(trace.outputs)))
    found = tuple(rounded(variant, state) for state in trace.states)
    return Observations(rounded(variant, trace.outputs), found[: len(seen.final_state)])


def rounded(variant: Computation, numbers: Array) -> Array:
    """Numbers as a layer returns them."""
    return variant.layer.precision.round(numbers)


def diverged(reference: Computation, observed: Observations) -> bool:
    """The verdict on what a faulty run puts out."""
    found = judge(reference.layer, reference.sequences, observed, Subject())
    return found.check.verdict == "diverged"


def unseen(passed: PassedCheck | PassedLast, hidden: list[str]) -> str:
    """Why variants of a fault do not show although nothing forbids it, in a person's words."""
    layer, few = passed.reference.layer, few_samples(passed.reference.sequences)
    seen = passed.observed.outputs[few]
    outputs = (seen if seen.ndim == 2 else seen[:, :STEPS]).astype(np.float64)
    bounded = {one.name for one in layer.activations[:1]} <= BOUNDED
    if not outputs.any():
        return "all outputs are zeros"
    if bounded and np.median(np.abs(outputs)) > 1 - 1e-4:
        return "the outputs are saturated at their limits"
    which = "; ".join(filter(None, hidden))
    return "its outputs would be within rounding of the right ones" + (f" ({which})" * bool(which))


def unseen_state(passed: PassedCheck) -> str | None:
    """Why a stale final state does not show."""
    if not passed.observed.final_state:
        return "no final state was observed"
    if stale_shows(passed):
        return None
    before, after = passed.around_last.states
    if passed.around_last.own_output:
        before, after = stale_states(passed)[0], passed.observed.final_state[0]
    same = "the state did not change in the last timestep"
    near = "the state before the last timestep is within rounding of the one after it"
    return same if np.array_equal(before, after) else near


def stale_shows(passed: PassedCheck) -> bool:
    """Whether the states before the last timestep, returned as the final ones, would diverge."""
    reference, seen = passed.reference, passed.observed
    only = passed.arithmetic == arithmetics(reference.layer.precision)[-1]
    if only and beyond(reference.layer, known_stale(passed), passed):
        return True
    stale = stale_states(passed)
    if not beyond(reference.layer, stale, passed):
        return False
    return only or diverged(reference, replace(seen, final_state=stale))


def known_stale(passed: PassedCheck) -> tuple[Array, ...]:
    """Those of the states before the last timestep that were observed and returned: h, or none."""
    last, count = passed.around_last, len(passed.observed.final_state)
    return () if last.own_output else (last.states[0],)[:count]


def stale_states(passed: PassedCheck) -> tuple[Array, ...]:
    """The states before the last timestep; an LSTM's c, which nobody observed, as replayed."""
    reference, count = passed.reference, len(passed.observed.final_state)
    known = known_stale(passed)
    if count <= len(known):
        return known
    before = reference.sequences.shape[1] - 1
    states = tuple(reference.sequences.initial_state)
    if before:
        found = final_states(reference.layer, reference.sequences.first(before))
        states = tuple(rounded(reference, state) for state in found)
    return (*known, *states[len(known) : count])


def beyond(layer: Cell, states: tuple[Array, ...], passed: PassedCheck) -> bool:
    """Whether some returned state is beyond its bound in the arithmetic that explains the run."""
    last = passed.around_last
    held = held_states(layer, states, last.balls_of(states), last.replayed)
    return any(not one.row.max_ratio <= 1 for one in held)
