"""The sentences of a verdict: why a check has it, and how its numbers or shapes do not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.precision import FLOAT64, Precision
from rnn_parity.verdict.resolution import LIMIT, MOST_HIDDEN, WIDE, Resolution
from rnn_parity.verdict.results import Divergence, Shape, StateRow

NAN_WEIGHTS = "some weights are no numbers (NaN), so that nothing is known of what depends on them"
NOTHING_FINITE = "no expected number is finite, so that there was nothing to compare"
ALL_MASKED = "every timestep is masked, so that there was nothing to compare"
GROWN = (
    "only the last output was observed, and the bound grows with every timestep: observe the whole "
    "sequence of outputs"
)
NAMES = {"outputs": "the outputs", "output": "the last output"}
"""What arrays are called in a sentence; any other is a final state."""
UNITS_SHOWN = 3
"""How many units are named where a bound is too wide."""
COUNTLESS = 1e20
"""As many times as its bound, as where a zero is right for sure, says nothing more. Chosen."""
MOST_LISTED = 8
"""How many units are named where some are missing."""


def number(x: float) -> str:
    """`x` with 3 significant digits: 0.0123, 1.50, 12300, 4.77e-07, nan."""
    if x == 0 or not math.isfinite(x):
        return "0" if x == 0 else str(float(x))
    x = float(f"{x:.2e}")
    if 1e-3 <= abs(x) < 1e3:
        return f"{x:#.3g}".rstrip(".")
    return f"{x:.0f}" if 1e3 <= abs(x) < 1e6 else f"{x:.2e}"


def ratio(x: float) -> str:
    """A ratio with 2 decimals up to 1, and always on the side of 1 where it really is."""
    if x == 0 or x >= 1.005 or math.isnan(x):
        return number(x)
    if x < 0.01:
        return "<0.01"
    text = f"{x:.2f}"
    return text if text != "1.00" or x == 1 else "<1.00" if x < 1 else ">1.00"


def other_value(weight: str, index: Sequence[int], expected: float, implied: float) -> str:
    """Which number of a weight has another value than expected."""
    return f"{weight}{list(index)} is {implied:.9g} instead of {expected:.9g}"


def step_beyond(times: float, first: Divergence | None) -> str:
    """How far off the worst step is, in multiples of its bound, and where the first one is."""
    off = "further off than rounding can explain"
    if times < COUNTLESS:
        off = f"{number(times)} times as far off as rounding can explain"
    elif first is not None and not math.isfinite(first.observed):
        off = "infinity or no number"
    elif first is not None and not math.isfinite(first.expected):
        off = f"a number where {number(first.expected)} is right"
    elif first is not None and abs(first.observed - first.expected) >= COUNTLESS * first.bound:
        off = f"off by {number(abs(first.observed - first.expected))} where rounding moves nothing"
        if first.expected == 0:
            off = f"{number(first.observed)} where only 0 is right"
    return f"a step is {off}" + (f", first at timestep {first.timestep}" if first else "")


def state_beyond(row: StateRow) -> str:
    """How far off a final state, or the last output, is."""
    what = "last output" if row.name == "output" else f"final state {row.name}"
    return f"the {what} is off by {number(row.max_deviation)} from what the outputs say"


def last_output_beyond(row: StateRow) -> str:
    """How far off the last output, or a final state, is where no other output was observed."""
    what = "last output" if row.name == "output" else f"final state {row.name}"
    if not math.isfinite(row.max_deviation):
        return f"the {what} is infinity or no number, or is finite where it should not be"
    times = "further than rounding can explain"
    if row.max_ratio < COUNTLESS:
        times = f"{number(row.max_ratio)} times as far as rounding over all timesteps can explain"
    return f"the {what} is off by {number(row.max_deviation)}, {times}"


def enough_digits(precision: Precision) -> int:
    """How many significant digits hold any number of a format."""
    return 17 if precision == FLOAT64 else 9


def printed(how: object, precision: Precision) -> str:
    """Why numbers that were printed, and `how`, neither prove nor refute parity."""
    digits = enough_digits(precision)
    return (
        f"the observed numbers were printed with {how}, within which they neither prove nor refute "
        f"parity in {precision.name}: print {digits} significant digits (%.{digits}g)"
    )


def perhaps_printed(how: object) -> str:
    """What few numbers may be that look printed, and would be right within that."""
    return f"printed with {how} they would be right, and are too few to tell whether they were"


def printed_step_beyond(times: float, first: Divergence, how: object) -> str:
    """How far off the worst step is, in multiples of rounding and of the printed digits."""
    off = "further off than rounding and the printed digits can explain"
    if times < COUNTLESS:
        off = f"{number(times)} times as far off as rounding and {how} can explain"
    return f"a step is {off}, first at timestep {first.timestep}"


def rounding_alone(how: object) -> str:
    """What the ratios of a table say of printed numbers."""
    return (
        f"the ratios of the table are those to rounding alone, without the {how} with which the "
        "numbers were printed"
    )


def printed_note(how: object, precision: Precision) -> str:
    """What more digits of printed numbers would be good for."""
    digits = enough_digits(precision)
    return f"the observed numbers were printed with {how}: %.{digits}g would show more"


def vacuous(arithmetic: str) -> str:
    """Why a bound that is infinite proves nothing."""
    return (
        f"the rounding bound is vacuous in {arithmetic}: the sums are too long, or the "
        "numbers too near the ends of its range, to prove anything"
    )


def unresolved(wide: Resolution, arithmetic: str) -> str:
    """Which units of an array are not resolved, and what that means."""
    units = np.flatnonzero(~(wide.of_unit <= LIMIT))
    where = place(wide.name, units, len(wide.of_unit))
    return (
        f"the bound of {where} is as wide as {number(wide.worst)} times the numbers "
        f"themselves in {arithmetic} (more than {LIMIT}), so that others would pass as well"
    )


def place(name: str, units: NDArray[np.intp], count: int) -> str:
    """Some units of an array that has `count`, in words."""
    if len(units) == count > 1:
        return f"every unit of {array_name(name)}"
    return f"{some('unit', units)} of {array_name(name)}"


def array_name(name: str) -> str:
    """The name of an array in a sentence."""
    return NAMES.get(name, f"final state {name}")


def some(what: str, places: NDArray[np.intp]) -> str:
    """The first of some units or samples, by number."""
    more = f" and {len(places) - UNITS_SHOWN} more" * (len(places) > UNITS_SHOWN)
    numbers = ", ".join(map(str, places[:UNITS_SHOWN]))
    return f"{what}{'s' * (len(places) > 1)} {numbers}{more}"


def wide_bounds(found: Sequence[Resolution]) -> list[str]:
    """What a wide bound leaves open although it is resolved, in words; nothing for narrow ones."""
    widest = max(found, key=lambda one: one.worst)
    if widest.worst <= WIDE:
        widest = max(found, key=lambda one: one.share)
        if widest.share < MOST_HIDDEN:
            return []
    percent = 100 * widest.share
    share = f"{percent:.2g} %" if 0.01 <= percent < 99.5 else "all" if percent > 1 else "few"
    return [
        f"a divergence could hide in {share} of the numbers, whose bound is as wide as they are"
    ]


def faint_units(found: Sequence[Resolution]) -> list[str]:
    """A note on units whose numbers are next to nothing, for each array that has some:
    none where all of it are zeros, as they should be.
    """
    return [
        f"{place(one.name, np.flatnonzero(one.faint), len(one.faint))}: next to nothing beside the "
        "others, and held against an eighth of their size"
        for one in found
        if one.faint.any() and not one.faint.all()
    ]


def blank_units(units: NDArray[np.intp], name: str, count: int) -> str:
    """Why nothing is proven where nothing could be compared in `units` of an array, of `count`."""
    where = array_name(name) if len(units) == count else place(name, units, count)
    return f"no expected number of {where} is finite, so that nothing was compared there"


def blank_samples(samples: NDArray[np.intp]) -> str:
    """Why nothing is proven where nothing could be compared in some `samples`."""
    where = some("sample", samples)
    return f"no expected number of {where} is finite, so that nothing was compared there"


def mostly_blank(count: int, total: int, name: str) -> str:
    """How many numbers of an array could not be compared."""
    return f"{count} of {total} numbers of {array_name(name)} are not finite"


def blank_note(count: int, total: int, name: str) -> str:
    """A note on numbers of an array that could not be compared."""
    return f"{mostly_blank(count, total, name)}, in both: they prove nothing"


def misfit(name: str, received: tuple[int, ...], expected: tuple[int, ...], shape: Shape) -> str:
    """One sentence: expected, received, which axes fit which sizes, whether a transpose helps.

    Of an axis that could be several things, or is as long as another one, nothing is said.
    """
    sizes = {
        "batch": shape.batch,
        "timesteps": shape.timesteps,
        "units": shape.units,
        "features": shape.features,
    }
    axes = []
    for i, size in enumerate(received):
        fitting = [word for word in sizes if sizes[word] == size] or ["nothing"]
        # Features stand last; elsewhere it is an accident that there are as many.
        by_accident = fitting == ["features"] and i + 1 < len(received)
        if len(fitting) == received.count(size) == 1 and not by_accident:
            axes.append(f"axis {i} ({size}) fits {fitting[0]}")
    parts = [f"expected shape {expected}, received {received}", *axes, remedy(received, expected)]
    return f"{name}: {'; '.join(filter(None, parts))}"


def remedy(received: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What would make the shapes equal, when something simple does, in one way alone."""
    orders = permutations(range(len(received))) if len(received) == len(expected) else ()
    fitting = [order for order in orders if tuple(received[i] for i in order) == expected]
    if len(fitting) == 1:
        return f"transpose({', '.join(map(str, fitting[0]))}) would help"
    if not fitting and math.prod(received) == math.prod(expected):
        return f"reshape{expected} would help, if the order is batch, timesteps, units"
    return ""


def units_told(seen: NDArray[Any], right: NDArray[Any], near: float) -> str:
    """Which of the units `right` `(H, N)` is missing among those `seen` `(K, N)`, in words.

    A unit is recognised by its numbers, all within `near` of their size; of one that is not, only
    the number is told.
    """
    size = max(float(np.abs(right).max(initial=0)), np.finfo(float).tiny)
    ours: dict[int, int] = {}
    for k, row in enumerate(seen):
        off = np.nan_to_num(np.abs(right - row), nan=np.inf).max(axis=1, initial=0)
        j = int(off.argmin())
        if off[j] <= near * size and j not in ours.values():
            ours[k] = j
    missing = [j for j in range(len(right)) if j not in ours.values()]
    extra = [k for k in range(len(seen)) if k not in ours]
    if len(missing) + len(ours) == len(right) and len(ours) == len(seen):
        return f"missing: {listed(missing)}"
    if not missing:
        return f"too many: {listed(extra)} of what was received"
    there = listed(sorted(ours.values())) if ours else "none"
    return f"{len(seen)} units for {len(right)}; recognised by their numbers: {there}"


def listed(units: Sequence[int]) -> str:
    """The first of several units, by number."""
    more = f" and {len(units) - MOST_LISTED} more" if len(units) > MOST_LISTED else ""
    names = ", ".join(map(str, units[:MOST_LISTED]))
    return f"unit{'s' * (len(units) > 1)} {names}{more}"
