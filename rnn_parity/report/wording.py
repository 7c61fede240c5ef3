"""The numbers, names and sentences of a report: what every form of it says in the same words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import shown
from rnn_parity.verdict.resolution import LIMIT, MOST_HIDDEN, WIDE, Resolution
from rnn_parity.verdict.results import (
    BlindSpot,
    Cause,
    Check,
    Divergence,
    ImpliedWeight,
    MergeDivergence,
    Sensitivity,
    Subject,
)

UNITS_SHOWN = 3
"""How many units are named where a bound is too wide."""
MOST_WEIGHTS = 5
"""So many implied weights are shown; the JSON document has more."""


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


def ulps(n: int) -> str:
    """A whole number of ULPs; the largest stands for what no integer holds."""
    if n >= 2**63 - 1:
        return "inf"
    return str(n) if n < 10**6 else number(float(n))


def bits(x: float) -> str:
    """A number of effective bits: all when every number is equal, none when nothing fits."""
    return "all" if x == math.inf else f"{x:.1f}" if x > 0 else "0.0"


def label(subject: Subject) -> str:
    """The name of a layer with everything that tells two checks of one report apart."""
    details = [subject.layer_class] if subject.layer_name and subject.layer_class else []
    details += [f"mode {subject.mode}"] if subject.mode else []
    details += [f"call {subject.call}"] if subject.call is not None else []
    if subject.against:
        details.append("then" if is_recorded(subject) else f"against {subject.against}")
    name = subject.layer_name or subject.layer_class or "layer"
    return f"{name} ({', '.join(details)})" if details else name


def is_recorded(subject: Subject) -> bool:
    """Whether these are the outputs recorded in a case, as opposed to another implementation's."""
    return subject.kind == "case" and subject.mode is not None and subject.against is not None


def is_compared(check: Check) -> bool:
    """Whether there was anything to compare."""
    return check.shape is not None or check.verdict != "inconclusive"


def word(check: Check) -> str:
    """The verdict of one check, as a word in a table."""
    return check.verdict if is_compared(check) else "not compared"


def sentence(verdict: str, summary: str, effective_bits: float | None = None) -> str:
    """The verdict and why, as one plain sentence on one line."""
    end = f" ({bits(effective_bits)} effective bits)" if effective_bits is not None else ""
    text = shown(" ".join(summary.split()))
    return f"{verdict.upper()}: {text.removesuffix('.')}{end}."


def verdict_of(check: Check) -> str:
    """The sentence of one check."""
    return sentence(check.verdict, check.summary, check.effective_bits)


def overall(checks: tuple[Check, ...]) -> str:
    """How many checks found what, with the names of those that did not pass; no verdict word."""
    kinds = ("diverged", "suspect", "inconclusive", "not compared", "parity")
    groups = {kind: [label(c.subject) for c in checks if word(c) == kind] for kind in kinds}
    parts = [
        f"{len(names)} in parity" if kind == "parity" else f"{len(names)} {kind}: {some(names)}"
        for kind, names in groups.items()
        if names
    ]
    if len(groups["parity"]) == len(checks):
        return f"all {len(checks)} checks are in parity"
    return f"of {len(checks)} checks, {'; '.join(parts)}"


def some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    return ", ".join(names[:3] + more)


def findings(check: Check) -> list[tuple[str, str]]:
    """What follows the verdict, each with its heading, in the order in which a person needs it."""
    place = []
    if check.verdict == "diverged":
        place = divergence(check.first_divergence, check.dtype) or state_beyond(check)
    causes = [explain(cause) for cause in check.causes]
    weights = implied(check.implied_weights or (), check.dtype)
    return [*place, *causes, *weights, *remedy(check), *seen(check.sensitivity)]


def divergence(first: Divergence | None, dtype: str | None) -> list[tuple[str, str]]:
    """Where it first diverged, and how far beyond the bound."""
    if first is None:
        return []
    digits = ".17g" if dtype == "float64" else ".9g"
    gap = abs(first.observed - first.expected)
    times = gap / first.bound if first.bound > 0 else math.inf
    return [
        ("first at", f"timestep {first.timestep}, batch {first.batch}, unit {first.unit}"),
        ("observed", f"{first.observed:{digits}}"),
        ("expected", f"{first.expected:{digits}} ({first.origin})"),
        ("off by", f"{number(gap)}, {beyond(times)} the bound {number(first.bound)}"),
    ]


def state_beyond(check: Check) -> list[tuple[str, str]]:
    """The final states beyond their bound (NaN included)."""
    return [
        item
        for row in check.final_state
        if not row.max_ratio <= 1
        for item in (
            ("first at", f"final {row.name}, batch {row.batch}, unit {row.unit}"),
            ("off by", f"{number(row.max_deviation)}, {beyond(row.max_ratio)} the bound"),
        )
    ]


def step_beyond(times: float, first: Divergence | None) -> str:
    """How far off the worst step is, in multiples of its bound, and where the first one is."""
    off = "further off than rounding can explain"
    if math.isfinite(times):
        off = f"{number(times)} times as far off as rounding can explain"
    elif first is not None and not math.isfinite(first.observed):
        off = "infinity or no number"
    elif first is not None and not math.isfinite(first.expected):
        off = f"a number where {number(first.expected)} is right"
    return f"a step is {off}" + (f", first at timestep {first.timestep}" if first else "")


def unresolved(wide: Resolution, arithmetic: str) -> str:
    """Which units of an array are not resolved, and what that means."""
    units = np.flatnonzero(~(wide.of_unit <= LIMIT))
    return (
        f"the bound of {place(wide, units)} is as wide as {number(wide.worst)} times the numbers "
        f"themselves in {arithmetic} (more than {LIMIT}), so that others would pass as well"
    )


def place(wide: Resolution, units: NDArray[np.intp]) -> str:
    """Some units of an array, in words."""
    names = {"outputs": "the outputs", "output": "the last output"}
    of = names.get(wide.name, f"final state {wide.name}")
    if len(units) == len(wide.of_unit) > 1:
        return f"every unit of {of}"
    more = f" and {len(units) - UNITS_SHOWN} more" * (len(units) > UNITS_SHOWN)
    listed = ", ".join(map(str, units[:UNITS_SHOWN]))
    return f"unit{'s' * (len(units) > 1)} {listed}{more} of {of}"


def wide_bounds(found: Sequence[Resolution]) -> list[str]:
    """What a wide bound leaves open although it is resolved, in words; nothing for narrow ones."""
    widest = max(found, key=lambda one: one.worst)
    if widest.worst <= WIDE:
        widest = max(found, key=lambda one: one.share)
        if widest.share < MOST_HIDDEN:
            return []
    share = f"{100 * widest.share:.2g} %" if widest.share >= 1e-4 else "few"
    return [
        f"a divergence could hide in {share} of the numbers, whose bound is as wide as they are"
    ]


def faint_units(found: Sequence[Resolution]) -> list[str]:
    """A note on units whose numbers are next to nothing, for each array that has some."""
    return [
        f"{place(one, np.flatnonzero(one.faint))}: next to nothing beside the others, and held "
        "against an eighth of their size"
        for one in found
        if one.faint.any()
    ]


def beyond(times: float) -> str:
    """How far beyond, as a multiple where it is a number."""
    return f"{ratio(times)} x" if math.isfinite(times) else "beyond"


def explain(cause: Cause) -> tuple[str, str]:
    """One mistake that explains the numbers."""
    fit = "" if cause.effective_bits is None else f" ({bits(cause.effective_bits)} effective bits)"
    return "cause", f"{cause.fault}: {cause.explanation}{fit}"


def implied(weights: Sequence[ImpliedWeight], dtype: str | None) -> list[tuple[str, str]]:
    """The weights that the outputs imply, the most certain ones."""
    digits = ".17g" if dtype == "float64" else ".9g"
    found = [
        f"{w.weight}{list(w.index)}: expected {w.expected:{digits}}, implied {w.implied:{digits}} "
        f"({number(w.sigma)} standard errors)"
        for w in weights[:MOST_WEIGHTS]
    ]
    hidden = len(weights) - MOST_WEIGHTS
    found += [f"{hidden} more in --format json"] if hidden > 0 else []
    return [("weights", text) for text in found]


def remedy(check: Check) -> list[tuple[str, str]]:
    """What to change: by cause, else as far as the place tells; nothing where it does not."""
    if check.causes:
        from rnn_parity.diagnosis.faults import FAULTS

        remedies = {fault.id: fault.remedy for fault in FAULTS}
        faults = dict.fromkeys(id for cause in check.causes for id in cause.fault.split("+"))
        known = [(fault, remedies[fault]) for fault in faults if fault in remedies]
        return [("to do", text if len(known) == 1 else f"{id}: {text}") for id, text in known]
    if check.verdict == "suspect":
        return [("to do", "compare the weights bit by bit: were they printed, cast or retrained?")]
    first = check.first_divergence
    if first is None:
        stale = "look at which state is returned: every output is within its bound"
        return [("to do", stale)] if state_beyond(check) else []
    if isinstance(first, MergeDivergence):
        return [("to do", "look at the wrapper itself: its two layers are checked on their own")]
    if not math.isfinite(first.observed):
        origin = "an overflow, a division by zero, or memory that was never written"
        return [("to do", f"look for what gives {first.observed} there: {origin}")]
    if first.timestep == 0:
        return [("to do", "look at the inputs, the kernel, the bias and the initial state first")]
    before = f"the timesteps before {first.timestep} are within their bounds"
    return [("to do", f"look at the recurrent kernel, the state and the mask first: {before}")]


def seen(sensitivity: Sensitivity | None) -> list[tuple[str, str]]:
    """Which mistakes a passing check could have shown."""
    if sensitivity is None:
        return []
    visible, blind = len(sensitivity.visible), sensitivity.blind
    spots = "; blind to " + "; ".join(f"{s.fault} ({s.reason})" for s in blind) if blind else ""
    return [("sees", f"{visible} of {visible + len(blind)} faults{spots}")]


def blind_spots(check: Check) -> tuple[BlindSpot, ...]:
    """What a passing check could not have seen; nothing for any other check."""
    return () if check.sensitivity is None else check.sensitivity.blind


def strictness(checks: Sequence[Check]) -> str:
    """Why `--strict` does not accept checks that passed; nothing when it does."""
    faults = list(dict.fromkeys(spot.fault for check in checks for spot in blind_spots(check)))
    return f"With --strict, nothing is proven about {', '.join(faults)}." if faults else ""
