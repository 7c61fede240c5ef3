"""What a `Bidirectional` does beside its two recurrences: it hands inputs on and merges outputs.

Both layers get its inputs and its mask, and half of its initial states each; the outputs of the
backward layer are reversed in time, and the two are put side by side (`concat`, None), added
(`sum`), multiplied (`mul`) or averaged (`ave`). The final states are handed on as they are. Source:
the documentation of `keras.layers.Bidirectional`. NumPy alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.distance import distance, ratios, ulps
from rnn_parity.recurrence.cells import Array
from rnn_parity.recurrence.layer_call import Merge
from rnn_parity.recurrence.precision import precision_of
from rnn_parity.verdict.blanks import Blanks, notes_on_blanks
from rnn_parity.verdict.comparison import Found, first_beyond
from rnn_parity.verdict.judge import effective_bits, held_state, state_row
from rnn_parity.verdict.resolution import (
    Resolution,
    Widths,
    resolution,
)
from rnn_parity.verdict.results import (
    Check,
    Mask,
    MergeDivergence,
    Shape,
    StateRow,
    Subject,
    TimestepRow,
)
from rnn_parity.verdict.sentences import number, ratio, unresolved

MEANINGS = {
    "concat": "the parts' outputs side by side",
    None: "the parts' outputs",
    "sum": "the sum of the parts' outputs",
    "mul": "the product of the parts' outputs",
    "ave": "the mean of the parts' outputs",
}


@np.errstate(all="ignore")  # infinities and NaN are judged, not warned of
def judge_merge(
    merge: Merge, subject: Subject, radii: Sequence[Sequence[NDArray[Any]]] = ()
) -> Check:
    """Hold the merged outputs, the states and what was handed on against the two layers' own.

    `radii` tell, for each array that a layer returned, how far from it the wrapper's copy may lie;
    by default both are equal.
    """
    outputs, states = returned_by(merge)
    arithmetic = arithmetics(precision_of(outputs.dtype))[0]
    radii = radii or [[np.zeros(y.shape) for y in one.returned] for one in merge.parts.values()]
    ball = merged(merge, arithmetic, [of_outputs for of_outputs, *_ in radii])
    batch, timesteps, *features = merge.whole.inputs.shape
    shape = Shape(batch, timesteps, math.prod(features), ball.shape[-1])
    check = Check(subject, "parity", "", shape, arithmetic.results.name, arithmetic.name)
    if merge.whole.mask is not None:
        check = replace(check, mask=Mask.of(merge.whole.mask))
    expected = [state for part in merge.parts.values() for state in part.returned[1:]]
    received = [outputs.shape, *(state.shape for state in states)]
    wanted = [ball.shape, *(state.shape for state in expected)]
    if received != wanted:
        summary = f"merged outputs and states: expected shapes {wanted}, received {received}"
        return replace(check, verdict="diverged", summary=summary)
    of_states = [radius for _, *of_one in radii for radius in of_one]
    check = replace(check, final_state=state_rows(merge.states, states, expected, of_states))
    check, width = compared(check, outputs, ball, merge.sequences)
    return concluded(check, merge, width, blanks_of(ball))


def blanks_of(ball: Ball) -> Blanks:
    """The merged numbers that are not finite, `(B, T, ...)`, or `(B, ...)` of a last output."""
    blank = ~np.isfinite(ball.value)
    if blank.ndim == 2:
        return Blanks.of_one("output", ~blank, np.ones(len(blank), bool), beside=False)
    count = np.count_nonzero(blank, axis=1).reshape(len(blank), -1)
    return Blanks("outputs", count, np.full(len(blank), blank.shape[1]))


def returned_by(merge: Merge) -> tuple[NDArray[Any], Sequence[NDArray[Any]]]:
    """What the wrapper returned as outputs, side by side where there are two, and the states."""
    count = 2 if merge.mode is None else 1
    returned = merge.whole.returned
    return np.concatenate(returned[:count], axis=-1), returned[count:]


def merged(merge: Merge, arithmetic: Arithmetic, radii: Sequence[NDArray[Any]]) -> Ball:
    """Where the merged outputs must lie; the shape is theirs.

    The parts' outputs are rounded to the wrapper's format first. What is put side by side is exact.
    """
    forward, backward = (
        around(arithmetic.results.round(part.returned[0]), radius, arithmetic)
        for part, radius in zip(merge.parts.values(), radii, strict=True)
    )
    if merge.sequences:
        backward = backward[:, ::-1]
    if merge.mode in ("concat", None):
        value = np.concatenate([forward.value, backward.value], axis=-1)
        radius = np.concatenate([forward.radius, backward.radius], axis=-1)
        return unchanged(value, radius, arithmetic)
    merged: Ball = forward * backward if merge.mode == "mul" else forward + backward
    return 0.5 * merged if merge.mode == "ave" else merged


def around(value: Array, radius: NDArray[Any], arithmetic: Arithmetic) -> Ball:
    """Numbers that lie within `radius` of `value`."""
    return Ball(value, radius.astype(arithmetic.radius_dtype), arithmetic)


def unchanged(value: Array, radius: NDArray[Any], arithmetic: Arithmetic) -> Ball:
    """Numbers that are handed on as they are; one below the normal range may become zero."""
    return around(value, radius + arithmetic.results.smallest_normal, arithmetic)


def state_rows(
    names: Sequence[str],
    states: Sequence[NDArray[Any]],
    expected: Sequence[NDArray[Any]],
    radii: Sequence[NDArray[Any]],
) -> tuple[StateRow, ...]:
    """Each returned state held against that of the layer it comes from."""
    named = [f"{side} {name}" for side in ("forward", "backward") for name in names]
    rows = []
    for name, state, own, radius in zip(named, states, expected, radii, strict=True):
        precision = precision_of(state.dtype)
        value = by_sample(precision.round(own))
        ball = unchanged(value, by_sample(radius), arithmetics(precision)[0])
        rows.append(state_row(name, by_sample(state), ball, precision))
    return tuple(rows)


def compared(
    check: Check, outputs: NDArray[Any], ball: Ball, sequences: bool
) -> tuple[Check, Resolution]:
    """The check with a row for each timestep, or one for the last output, and its largest numbers;
    and how well the bounds of the merged outputs resolve.
    """
    precision = ball.arithmetic.results
    if not sequences:
        flat = Ball(by_sample(ball.value), by_sample(ball.radius), ball.arithmetic)
        held = held_state("output", by_sample(outputs), flat, flat.value, precision)
        check, width = replace(check, final_state=(held.row, *check.final_state)), held.resolution
    else:
        y, value, radius = map(by_timestep, (outputs.astype(np.float64), ball.value, ball.radius))
        where = Ball(value, radius, ball.arithmetic)
        deviation = distance(y, value)
        ratio = ratios(deviation, where)
        found = Found.nothing((y.shape[1], len(y)), y.shape[2])
        far = ulps(deviation, value, precision)
        finite = np.isfinite(value)
        found.enter(slice(0, len(y)), deviation, far, deviation, ratio, radius, finite)
        check = replace(check, timesteps=found.rows, heat_map=found.heat_map)
        if not ratio.max() <= 1:
            first = first_beyond(0, y, where, ratio)
            check = replace(check, first_divergence=MergeDivergence(**vars(first)))
        widths = Widths.of(radius, np.abs(value), None, eta=precision.smallest_normal)
        width = resolution("outputs", widths)
    rows: list[TimestepRow | StateRow] = [*check.timesteps, *check.final_state]
    check = replace(
        check,
        max_deviation=float(np.max([row.max_deviation for row in rows])),
        max_ratio=float(np.max([row.max_ratio for row in rows])),
        resolution=width.worst,
    )
    return check, width


def by_sample(array: NDArray[Any]) -> NDArray[Any]:
    """`(B, ...)` as `(B, H)`."""
    return array.reshape(len(array), -1)


def by_timestep(array: NDArray[Any]) -> NDArray[Any]:
    """`(B, T, ...)` as `(T, B, H)`."""
    return np.ascontiguousarray(array.reshape(*array.shape[:2], -1).swapaxes(0, 1))


def concluded(check: Check, merge: Merge, width: Resolution, blanks: Blanks) -> Check:
    """The verdict, and the sentence that says why."""
    meaning, worst = MEANINGS[merge.mode], check.max_ratio or 0.0
    wrong = [*handed_on(merge), *wrong_numbers(check, meaning)]
    if wrong:
        return replace(
            check,
            verdict="diverged",
            summary="; ".join(wrong),
            effective_bits=effective_bits(worst, check.dtype or "") if worst > 1 else None,
        )
    check = replace(check, notes=(*check.notes, *notes_on_blanks([blanks])))
    why = blanks.unproven()
    if not why and not width.resolved:
        why = unresolved(width, check.arithmetic or "")
    if why:
        return replace(check, verdict="inconclusive", summary=why)
    how = f"within rounding, the largest at {ratio(worst)} of its bound" if worst else "exactly"
    return replace(
        check,
        summary=f"what is returned is {meaning}, {how}",
        effective_bits=effective_bits(worst, check.dtype or ""),
    )


def wrong_numbers(check: Check, meaning: str) -> list[str]:
    """What of the returned numbers is not what the parts returned, in words."""
    found = []
    if check.first_divergence is not None:
        off = number(max(row.max_deviation for row in check.timesteps))
        where = f"first at timestep {check.first_divergence.timestep}"
        found.append(f"the merged outputs are not {meaning}: off by {off}, {where}")
    for row in check.final_state:
        if not row.max_ratio <= 1:
            last = f"the last output is not {meaning}"
            what = last if row.name == "output" else f"the {row.name} returned is not the layer's"
            found.append(f"{what}: off by {number(row.max_deviation)}")
    return found


def handed_on(merge: Merge) -> list[str]:
    """What one of the two layers was not given as it should be, in words."""
    whole, found = merge.whole, []
    half = len(whole.initial_state) // 2
    halves = {"forward": whole.initial_state[:half], "backward": whole.initial_state[half:]}
    for side, part in merge.parts.items():
        if not equal(part.inputs, whole.inputs):
            found.append(f"the {side} layer was given other inputs than the wrapper")
        masks = [mask for mask in (part.mask, whole.mask) if mask is not None]
        if len(masks) == 1 or not np.array_equal(masks[:1], masks[1:]):
            found.append(f"the {side} layer was given another mask than the wrapper")
        states = halves[side]
        if len(states) != len(part.initial_state) or not all(
            map(equal, part.initial_state, states)
        ):
            found.append(f"the {side} layer was not given its half of the initial states")
    return found


def equal(received: NDArray[Any], given: NDArray[Any]) -> bool:
    """Whether the same numbers arrived, once rounded to the format they arrived in."""
    wanted = precision_of(received.dtype).round(given)
    return np.array_equal(received.astype(np.float64), wanted, equal_nan=True)
