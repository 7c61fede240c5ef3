"""One layer call: from arrays to a verdict, and the sentence that says why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball, copied
from rnn_parity.bounds.distance import distance, ratios, ulps
from rnn_parity.bounds.step_bound import final_balls
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.precision import Precision, precision_of, real
from rnn_parity.recurrence.sequences import Sequences, states
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.verdict.blanks import Blanks, notes_on_blanks
from rnn_parity.verdict.comparison import Comparison, compare_outputs
from rnn_parity.verdict.order import Verdict
from rnn_parity.verdict.printed import CHANCE, Print, beyond_print, prints
from rnn_parity.verdict.resolution import Resolution, resolution, state_resolution
from rnn_parity.verdict.results import (
    Check,
    Mask,
    PrintedDivergence,
    Shape,
    StateRow,
    Subject,
    whole,
)
from rnn_parity.verdict.sentences import (
    ALL_MASKED,
    GROWN,
    NAN_WEIGHTS,
    NOTHING_FINITE,
    enough_digits,
    faint_units,
    last_output_beyond,
    misfit,
    printed,
    printed_note,
    printed_step_beyond,
    ratio,
    rounding_alone,
    state_beyond,
    step_beyond,
    units_told,
    unresolved,
    vacuous,
    wide_bounds,
)

OUTPUTS = "outputs"


@dataclass(frozen=True, eq=False)
class Observations:
    """What an implementation computed: outputs `(B, T, H)` in processing order, or the last one.

    `final_state` holds one `(B, H)` array for each state that was observed, h before c.
    `last_output` `(B, H)` is what a run that returned no sequence gave, beside the `outputs` of one
    that did.
    """

    outputs: NDArray[Any]
    final_state: tuple[NDArray[Any], ...] = ()
    last_output: NDArray[Any] | None = None

    @classmethod
    def of(cls, layer: Cell, outputs: ArrayLike, final_state: Any = None) -> Observations:
        """From anything array-like; raises `InputError` for what does not hold real numbers."""
        state = () if final_state is None else states(layer, final_state, "observed final state")
        return cls(real(outputs, "observed outputs"), tuple(state))


@dataclass(frozen=True, eq=False)
class Judged:
    """A verdict, the arithmetic it was reached in, and the numbers it rests on.

    `found` is None where no sequence could be compared.
    """

    check: Check
    arithmetic: Arithmetic
    found: Comparison | None = None


def judge(layer: Cell, sequences: Sequences, observed: Observations, subject: Subject) -> Judged:
    """Hold what was observed against the replay, in the sharpest arithmetic that explains it."""
    batch, timesteps = sequences.shape
    shape = Shape(batch, timesteps, layer.features, layer.units)
    mask = None if sequences.mask is None else mask_of(layer, sequences.mask)
    check = Check(subject, "inconclusive", "", shape, layer.precision.name, mask=mask)
    for activation in layer.activations:
        if not activation.proven:
            note = f"the bound of the custom activation {activation.name} is estimated, not proven"
            check = replace(check, notes=(*check.notes, note))
    wrong = wrong_shape(observed, shape)
    sharpest, *others = arithmetics(layer.precision)
    if wrong:
        wrong += units_found(observed.outputs, layer, sequences)
        return Judged(replace(check, verdict="diverged", summary=wrong), sharpest)
    judged = judge_in(sharpest, layer, sequences, observed, check)
    for arithmetic in others:
        if judged.check.verdict == "diverged":
            judged = judge_in(arithmetic, layer, sequences, observed, check)
    return as_printed(judged, layer, sequences, observed)


def mask_of(layer: Cell, mask: NDArray[np.bool_]) -> Mask:
    """What a report says of a mask `(B, T)` in processing order: it is told as the inputs stand."""
    return Mask.of(mask[:, ::-1] if layer.go_backwards else mask)


def as_printed(judged: Judged, layer: Cell, sequences: Sequences, observed: Observations) -> Judged:
    """What diverged, with the radius of the printed digits where the numbers were printed with few:
    `inconclusive` where that explains the difference, and otherwise the first step beyond it.
    """
    if observed.outputs.ndim == 2:
        return last_as_printed(judged, layer, sequences, observed)
    if judged.found is None or judged.check.first_divergence is None:
        return judged
    data = (layer, sequences, observed.outputs, judged.arithmetic)
    held = [(how, *beyond_print(*data, how)) for how in prints(observed.outputs)]
    if not held:
        return judged
    how, largest, first = min(held, key=lambda one: (one[2] is not None, one[1]))
    if first is None:
        return excused(judged, how, layer)
    if how.count >= enough_digits(layer.precision):
        return judged
    check = replace(
        judged.check,
        summary=printed_step_beyond(largest, first, how),
        first_divergence=PrintedDivergence(**vars(first)),
        notes=(
            *judged.check.notes,
            printed_note(how, layer.precision),
            rounding_alone(how),
        ),
    )
    return replace(judged, check=check)


def last_as_printed(
    judged: Judged, layer: Cell, sequences: Sequences, observed: Observations
) -> Judged:
    """A last output alone, with a note where more digits would show more: `inconclusive` where it
    diverged and its few printed digits explain that.
    """
    diverged = judged.check.verdict == "diverged"
    how = explaining_print(judged, layer, sequences, observed) if diverged else None
    if how is not None:
        return excused(judged, how, layer)
    ways, notes = prints(observed.outputs), judged.check.notes
    if ways and ways[0].count < enough_digits(layer.precision):
        notes = (*notes, printed_note(ways[0], layer.precision))
    return replace(judged, check=replace(judged.check, notes=notes))


@np.errstate(all="ignore")
def explaining_print(
    judged: Judged,
    layer: Cell,
    sequences: Sequences,
    observed: Observations,
    chance: float = CHANCE,
) -> Print | None:
    """How outputs that diverged look printed, where that explains it; None where it does not.

    `chance` is how rarely numbers must look so that were not printed.
    """
    shape = judged.check.shape
    if shape is None or wrong_shape(observed, shape):
        return None
    ways = prints(observed.outputs, chance)
    if observed.outputs.ndim == 3:
        data = (layer, sequences, observed.outputs, judged.arithmetic)
        step_off = judged.check.first_divergence is not None
        held = (how for how in ways if beyond_print(*data, how)[1] is None)
        return next(held, None) if step_off else None
    if not ways:
        return None
    output, balls = final_balls(layer, sequences, judged.arithmetic)
    seen = [(observed.outputs, output), *zip(observed.final_state, balls, strict=False)]
    fits = (how for how in ways if all(within(a, how.around(a, ball)) for a, ball in seen))
    return next(fits, None)


def within(array: NDArray[Any], ball: Ball) -> bool:
    """Whether all numbers are in the ball."""
    return bool((ratios(distance(array.astype(np.float64), ball.value), ball) <= 1).all())


def excused(judged: Judged, how: Print, layer: Cell) -> Judged:
    """`inconclusive` instead of `diverged`: too few printed digits explain the difference."""
    check = replace(
        judged.check,
        verdict="inconclusive",
        summary=printed(how, layer.precision),
        effective_bits=how.count * math.log2(10),
        first_divergence=None,
        notes=(*judged.check.notes, rounding_alone(how)),
    )
    return replace(judged, check=check)


def wrong_shape(observed: Observations, shape: Shape) -> str | None:
    """What does not have the layer's shape, as a sentence; None when everything fits."""
    one = (shape.batch, shape.units)
    whole_sequence = (shape.batch, shape.timesteps, shape.units)
    for name, array, accepted in (
        ("observed outputs", observed.outputs, (whole_sequence, one)),
        *(("observed final state", state, (one,)) for state in observed.final_state),
        ("observed last output", observed.last_output, (one,)),
    ):
        if array is not None and array.shape not in accepted:
            # Rows that are no samples, as a text file has them, are meant for all timesteps.
            like = one if array.ndim == 2 and array.shape[:1] == one[:1] else accepted[0]
            return misfit(name, array.shape, like, shape)
    return None


def units_found(outputs: NDArray[Any], layer: Cell, sequences: Sequences) -> str:
    """Which units are missing from outputs that have fewer, or are too many, to end a sentence."""
    batch, timesteps = sequences.shape
    if outputs.shape[:-1] not in ((batch, timesteps), (batch,)):
        return ""
    if outputs.shape[-1] == layer.units:
        return ""
    right = replay(layer, sequences).outputs
    right = right if outputs.ndim == 3 else right[:, -1]
    rows = math.prod(right.shape[:-1])
    seen = np.asarray(outputs, np.float64).reshape(rows, outputs.shape[-1]).T
    right = right.reshape(rows, layer.units).T
    # Half of the digits: far beyond what rounding does, and far below other numbers.
    near = math.sqrt(layer.precision.unit_roundoff)
    return f"; {units_told(seen, right, near)}"


def judge_in(
    arithmetic: Arithmetic,
    layer: Cell,
    sequences: Sequences,
    observed: Observations,
    check: Check,
) -> Judged:
    """The verdict in one arithmetic."""
    check = replace(check, arithmetic=arithmetic.name)
    if observed.outputs.ndim == 2:
        return Judged(judge_last(arithmetic, layer, sequences, observed, check), arithmetic)
    states = len(observed.final_state)
    found = compare_outputs(layer, sequences, observed.outputs, arithmetic, states)
    held = held_last_output(arithmetic, layer, sequences, observed)
    if states:
        assert found.last is not None
        balls = found.last.balls_of(observed.final_state)
        held = [*held, *held_states(layer, observed.final_state, balls, found.last.replayed)]
    check = replace(
        check,
        timesteps=found.timesteps,
        heat_map=found.heat_map,
        final_state=tuple(one.row for one in held),
        first_divergence=found.first_divergence,
        max_deviation=float(found.timesteps.max_deviation.max()),
    )
    of_outputs = resolution(OUTPUTS, found.widths)
    resolutions = [of_outputs, *(one.resolution for one in held)]
    blanks = blanks_of(sequences, found, held)
    why = unproven(layer, sequences, blanks, resolutions, arithmetic)
    ratio = float(found.timesteps.max_ratio.max())
    check = concluded(check, ratio, why, resolutions, blanks)
    return Judged(check, arithmetic, found)


def judge_last(
    arithmetic: Arithmetic,
    layer: Cell,
    sequences: Sequences,
    observed: Observations,
    check: Check,
) -> Check:
    """Only the last output was observed: hold it against a bound carried over all timesteps."""
    output, balls = final_balls(layer, sequences, arithmetic)
    held = [
        held_state("output", observed.outputs, output, output.value, layer.precision),
        *held_states(layer, observed.final_state, balls, [ball.value for ball in balls]),
    ]
    rows, resolutions = [one.row for one in held], [one.resolution for one in held]
    check = replace(
        check, final_state=tuple(rows), max_deviation=max(row.max_deviation for row in rows)
    )
    blanks = blanks_of(sequences, None, held)
    why = unproven(layer, sequences, blanks, resolutions, arithmetic)
    if why and sequences.shape[1] > 1 and not resolutions[0].resolved:
        why = f"{why}; {GROWN}"
    return concluded(check, None, why, resolutions, blanks)


@dataclass(frozen=True, eq=False)
class Held:
    """A final state, or the last output, held against where it must lie; which of its expected
    numbers are `finite` `(B, H)`.
    """

    row: StateRow
    resolution: Resolution
    finite: NDArray[np.bool_]


def blanks_of(sequences: Sequences, found: Comparison | None, held: Sequence[Held]) -> list[Blanks]:
    """The numbers that are not finite: of the whole sequence, if it was `found`, and of each
    array that was `held`.
    """
    batch, timesteps = sequences.shape
    steps = np.full(batch, timesteps)
    if sequences.mask is not None:
        steps = np.count_nonzero(sequences.mask, axis=1)
    beside = found is not None
    blanks = [Blanks.of_one(one.row.name, one.finite, steps > 0, beside) for one in held]
    if found is not None and found.blank is not None:
        blanks.insert(0, Blanks(OUTPUTS, found.blank, steps))
    return blanks


def held_last_output(
    arithmetic: Arithmetic, layer: Cell, sequences: Sequences, observed: Observations
) -> list[Held]:
    """What a run that returned no sequence gave as its output, if there was one."""
    if observed.last_output is None:
        return []
    data = "output", observed.last_output
    last = np.ascontiguousarray(observed.outputs[:, -1], np.float64)
    held = held_state(*data, copied(last, arithmetic), last, layer.precision)
    if held.row.max_ratio <= 1:
        return [held]
    # Another run, whose rounding may differ: only its own whole way can be judged.
    ball, _ = final_balls(layer, sequences, arithmetic)
    return [held_state(*data, ball, ball.value, layer.precision)]


def held_states(
    layer: Cell,
    states: Sequence[NDArray[Any]],
    balls: Sequence[Ball],
    replayed: Sequence[Array],
) -> list[Held]:
    """Every observed final state held against where it must lie."""
    return [
        held_state(name, state, ball, right, layer.precision)
        for name, state, ball, right in zip(layer.STATES, states, balls, replayed, strict=False)
    ]


def held_state(
    name: str, state: NDArray[Any], ball: Ball, replayed: Array, precision: Precision
) -> Held:
    """One final state `(B, H)` held against `ball`; its right numbers are about `replayed`."""
    row = state_row(name, state, ball, precision)
    return Held(row, state_resolution(name, ball, replayed), np.isfinite(ball.value))


@np.errstate(all="ignore")
def state_row(name: str, state: NDArray[Any], ball: Ball, precision: Precision) -> StateRow:
    """Hold a returned state (or last output) `(B, H)` against where it must lie."""
    deviation = distance(state.astype(np.float64), ball.value)
    ratio = ratios(deviation, ball)
    batch, unit = np.unravel_index(int(ratio.argmax()), ratio.shape)
    return StateRow(
        name=name,
        max_deviation=float(deviation.max()),
        max_ulp=whole(float(ulps(deviation, ball.value, precision).max())),
        max_ratio=float(ratio.max()),
        batch=int(batch),
        unit=int(unit),
    )


def unproven(
    layer: Cell,
    sequences: Sequences,
    blanks: Sequence[Blanks],
    resolutions: Sequence[Resolution],
    arithmetic: Arithmetic,
) -> str:
    """Why nothing is proven although no number is beyond its bound; empty where something is."""
    if sequences.mask is not None and not sequences.mask.any():
        return ALL_MASKED
    if any(one.nothing_finite for one in blanks):
        return NOTHING_FINITE
    if any(math.isinf(one.worst) for one in resolutions):
        weights = [array for array in vars(layer).values() if isinstance(array, np.ndarray)]
        nan = any(np.isnan(array).any() for array in weights)
        return NAN_WEIGHTS if nan else vacuous(arithmetic.name)
    if too_few := next(filter(None, (one.unproven() for one in blanks)), ""):
        return too_few
    wide = [one for one in resolutions if not one.resolved]
    return unresolved(wide[0], arithmetic.name) if wide else ""


def concluded(
    check: Check,
    step_ratio: float | None,
    unproven: str,
    resolutions: Sequence[Resolution],
    blanks: Sequence[Blanks] = (),
) -> Check:
    """The verdict on the numbers in `check`, and the sentence that says why.

    `step_ratio` is None where no step was observed, the last output alone. `unproven` says why
    nothing is proven although no number is beyond its bound; empty otherwise. Every ratio must be
    at most 1, which one that is no number is not.
    """
    beyond = [row for row in check.final_state if not row.max_ratio <= 1]
    of_steps = 0.0 if step_ratio is None else step_ratio
    max_ratio = float(np.max([of_steps, *(row.max_ratio for row in check.final_state)]))
    verdict: Verdict = "parity"
    if not of_steps <= 1:
        verdict, summary = "diverged", step_beyond(of_steps, check.first_divergence)
    elif beyond:
        of_last = step_ratio is None
        verdict = "diverged"
        summary = last_output_beyond(beyond[0]) if of_last else state_beyond(beyond[0])
    elif unproven:
        verdict, summary = "inconclusive", unproven
    else:
        at = f"{ratio(max_ratio)} of its bound"
        largest = f"every step is within rounding, the largest at {at}"
        if step_ratio is None:
            largest = f"the last output is within rounding, at {at}"
        summary = "; ".join([largest, *wide_bounds(resolutions)])
    # Behind a number that is wrong, what is not finite is not known to be right.
    notes = [] if verdict == "diverged" else notes_on_blanks(blanks)
    bits = None if verdict == "inconclusive" else effective_bits(max_ratio, check.dtype or "")
    return replace(
        check,
        verdict=verdict,
        summary=summary,
        max_ratio=max_ratio,
        effective_bits=bits,
        resolution=max(one.worst for one in resolutions),
        notes=(*check.notes, *faint_units(resolutions), *notes),
    )


def effective_bits(max_ratio: float, dtype: str) -> float:
    """`-log2(u max_ratio)`: a lower estimate of the precision that explains the numbers."""
    if max_ratio == 0:
        return math.inf
    return -math.log2(precision_of(dtype).unit_roundoff * max_ratio)
