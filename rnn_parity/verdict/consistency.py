"""Whether a document's numbers fit together: what a program is given back may have been changed.

A baseline and the results file of a sweep are believed in the end: their verdicts decide about an
exit code. So every number of a check is held against the others before it is used.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from json import loads
from typing import Any

from rnn_parity.recurrence.precision import FORMATS, LAYER_DTYPES
from rnn_parity.verdict.order import WORST_FIRST, decisive
from rnn_parity.verdict.resolution import LIMIT

VERDICTS: tuple[str, ...] = tuple(verdict for verdict in WORST_FIRST if verdict != "failed")
"""The verdicts on one check; a source that failed decides about a whole sweep alone."""
WORDS = ("nan", "inf", "-inf")
"""What JSON has no numbers for."""
SAME_BITS = 0.01
"""Effective bits are computed from the ratio: this is a hundredth of what a baseline forgives."""
SLACK = 1e-6
"""A ratio may be above 1 by the rounding of float32 alone, in which some bounds are held."""
NUMBERS = ("max_ratio", "effective_bits", "max_deviation")
ROW_NUMBERS = ("max_deviation", "max_residual", "max_ratio", "max_ulp")
"""What is never negative in the row of a timestep or of a state."""


def parsed(text: str | bytes) -> Any:
    """The JSON document in `text`; raises `ValueError` for what is none, and says why.

    No key may be there twice, and no number may be infinite or none, as Python's own reader allows.
    """
    document = loads(text, object_pairs_hook=unique)
    for where, value in leaves(document):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which is no number in JSON")
    return document


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these pairs; raises `ValueError` where two have one key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} stands there twice")
    return found


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """All that is neither an object nor a list, and where: `checks[0].max_ratio`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, f"{where}[{i}]")
    else:
        yield where or "the document", value


def document_contradiction(document: Mapping[str, Any]) -> str | None:
    """What of a whole report contradicts its checks or itself, in words; None where nothing does.

    Its checks fit together each by itself, see `contradiction`.
    """
    checks, verdict, code = document["checks"], document.get("verdict"), document.get("exit_code")
    verdicts = [check["verdict"] for check in checks]
    is_sweep = "sweep" in document
    if verdict not in (WORST_FIRST if is_sweep else VERDICTS):
        return f"its verdict is {verdict!r:.40}"
    worst = decisive(verdicts)
    if WORST_FIRST.index(verdict) > WORST_FIRST.index(worst):
        return f"its verdict is {verdict}, that of one of its checks {worst}"
    if code not in (0, 1, 2, 3) or not is_whole(code):
        return f"its exit_code is {code!r:.40}"
    if document.get("errors") and (code == 0 or verdict == "parity"):
        return f"its exit_code is {code} and its verdict {verdict} beside errors"
    # What is known may be allowed: in a sweep, or where every divergence has its cause.
    known = all(check.get("causes") for check in checks if check["verdict"] == "diverged")
    allowed = is_sweep or verdict == "parity" or (verdict == "diverged" and known)
    if code == 0 and not allowed:
        return f"its exit_code is 0 beside the verdict {verdict}"
    return miscounted(document["sweep"], verdicts) if is_sweep else None


def miscounted(sweep: Any, verdicts: Sequence[str]) -> str | None:
    """How the counts of a sweep differ from its checks, in words."""
    if not isinstance(sweep, dict) or not isinstance(sweep.get("verdicts"), dict):
        return "its sweep has no verdicts"
    lists = {name: sweep.get(name, []) for name in ("refused", "failed")}
    found = {name: verdicts.count(name) for name in VERDICTS}
    found |= {name: len(rows) if isinstance(rows, list) else -1 for name, rows in lists.items()}
    for name, count in found.items():
        claimed = sweep["verdicts"].get(name, 0)
        if not is_whole(claimed) or claimed != count:
            return f"it counts {claimed!r:.40} {name} and holds {count}"
    if sweep.get("count") != sum(found.values()):
        return f"its count is {sweep.get('count')!r:.40} and it holds {sum(found.values())}"
    return None


def contradiction(check: Mapping[str, Any]) -> str | None:
    """What of one check is no number, or contradicts the rest, in words; None where nothing does.

    `check` has the names of the JSON document; beside `verdict`, `max_ratio` and `effective_bits`
    anything may be missing.
    """
    for name in NUMBERS:
        value = check.get(name)
        if name not in check and name != "max_deviation":
            return f"it has no {name}"
        if value is not None and number(value) is None:
            return f"its {name} is {value!r:.40}, which is no number"
    if check.get("verdict") not in VERDICTS:
        return f"its verdict is {check.get('verdict')!r:.40}"
    for name in ("max_ratio", "max_deviation"):
        if (value := number(check.get(name))) is not None and value < 0:
            return f"its {name} is negative, {value:g}"
    rules = (wrong_verdict, wrong_resolution, wrong_bits, wrong_shape, wrong_divergence, wrong_rows)
    return next((found for rule in rules if (found := rule(check))), None)


def number(value: Any) -> float | None:
    """The number that a JSON value stands for; None for anything else."""
    if isinstance(value, str):
        return float(value) if value in WORDS else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None  # else an integer without end


def is_whole(value: Any) -> bool:
    """Whether a JSON value is a whole number that is not negative."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def wrong_verdict(check: Mapping[str, Any]) -> str | None:
    """What the verdict contradicts: a pass is within every bound, a divergence beyond one."""
    verdict, ratio, bits = check["verdict"], number(check["max_ratio"]), check["effective_bits"]
    its = f"its verdict is {verdict} beside"
    if verdict != "parity" and check.get("sensitivity") is not None:
        return f"{its} a sensitivity, which only parity has"
    if verdict == "inconclusive":
        return None
    if verdict == "diverged":
        within = ratio is not None and ratio <= 1 and bits is not None
        return f"{its} a max_ratio of {ratio:g}" if within else None
    if ratio is None or not ratio <= 1:
        return f"{its} {'no max_ratio' if ratio is None else f'a max_ratio of {ratio:g}'}"
    if bits is None or math.isnan(number(bits) or 0.0):
        return f"{its} no effective_bits"
    return f"{its} a first_divergence" if check.get("first_divergence") is not None else None


def wrong_resolution(check: Mapping[str, Any]) -> str | None:
    """A pass rests on bounds that resolve; documents of older versions do not say how well."""
    if check.get("resolution") is None:
        return None
    value = number(check["resolution"])
    if value is None or not value >= 0:
        return f"its resolution is {check['resolution']!r:.40}"
    if check["verdict"] in ("parity", "suspect") and value > LIMIT:
        return f"its verdict is {check['verdict']} beside a resolution of {value:g}"
    return None


def wrong_bits(check: Mapping[str, Any]) -> str | None:
    """Effective bits are `-log2(u max_ratio)`, with the unit roundoff of the check's dtype."""
    ratio, bits = number(check["max_ratio"]), number(check["effective_bits"])
    if check["verdict"] == "inconclusive" or bits is None:
        return None
    if ratio is None:
        return f"its effective_bits are {bits:g} beside no max_ratio"
    # A sweep does not say in which dtype it was computed, only which policy was asked for.
    dtype = None if "configuration" in check else check.get("dtype")
    if dtype is not None and dtype not in LAYER_DTYPES:
        return f"its dtype is {dtype!r:.40}"
    for name in LAYER_DTYPES if dtype is None else (dtype,):
        expected = bits_of(ratio, FORMATS[name].unit_roundoff)
        both_nan = math.isnan(bits) and math.isnan(expected)
        if both_nan or bits == expected or abs(bits - expected) <= SAME_BITS:
            return None
    return f"its effective_bits are {bits:g} beside a max_ratio of {ratio:g}"


def bits_of(ratio: float, u: float) -> float:
    """The effective bits of a largest ratio."""
    if ratio == 0 or not math.isfinite(ratio):
        return math.inf if ratio == 0 else -ratio
    return -math.log2(u * ratio)


def wrong_shape(check: Mapping[str, Any]) -> str | None:
    """Sizes are whole numbers, and there is a row for every timestep."""
    shape, rows = check.get("shape"), check.get("timesteps") or ()
    if shape is None:
        return "it has timesteps and no shape" if rows else None
    if not isinstance(shape, dict) or not all(map(is_whole, shape.values())):
        return "its shape is none"
    if rows and len(rows) != shape.get("timesteps"):
        return f"it has {len(rows)} rows of timesteps in a shape of {shape.get('timesteps')}"
    return None


def wrong_divergence(check: Mapping[str, Any]) -> str | None:
    """The first divergence lies beyond its bound."""
    first = check.get("first_divergence")
    if first is None:
        return None
    if not isinstance(first, dict):
        return "its first_divergence is none"
    values = [number(first.get(name)) for name in ("observed", "expected", "bound")]
    places = ("batch", "unit", *(["timestep"] if "state" not in first else []))
    if not all(is_whole(first.get(name)) for name in places) or None in values:
        return "its first_divergence has no place or no numbers"
    observed, expected, bound = (value or 0.0 for value in values)
    if abs(observed - expected) <= bound * (1 - SLACK):
        return f"its first_divergence, {observed:g} for {expected:g}, is within its bound {bound:g}"
    return None


def wrong_rows(check: Mapping[str, Any]) -> str | None:
    """The largest numbers are those of the rows, which are in order and within the shape."""
    timesteps, states = (check.get(name) or [] for name in ("timesteps", "final_state"))
    rows = [*timesteps, *states]
    for i, row in enumerate(rows):
        where = f"timestep {i}" if i < len(timesteps) else f"final state {i - len(timesteps)}"
        if (found := wrong_row(row, i if i < len(timesteps) else None, check)) is not None:
            return f"its row of {where} {found}"
    if not rows:
        return None
    # The deviation is that of the outputs, of a Bidirectional that of its states, too.
    parts = {"max_ratio": [rows], "max_deviation": [rows, timesteps or rows]}
    for name, of_rows in parts.items():
        claimed = number(check.get(name))
        largest = [max(size(row[name]) for row in some) for some in of_rows]
        if claimed is not None and size(claimed) not in largest:
            return f"its {name} is {claimed:g}, that of its rows {largest[0]:g}"
    return None


def size(value: Any) -> float:
    """A number for its size; what is not a number is as large as infinity."""
    found = number(str(value) if isinstance(value, float) and math.isnan(value) else value)
    return math.inf if found is None or math.isnan(found) else found


def wrong_row(row: Any, timestep: int | None, check: Mapping[str, Any]) -> str | None:
    """What is wrong with one row, in words."""
    if not isinstance(row, dict):
        return "is none"
    for name in ROW_NUMBERS:
        value = number(row.get(name))
        if (name in row or name in ("max_ratio", "max_deviation")) and (value is None or value < 0):
            return f"has the {name} {row.get(name)!r:.40}"
    if timestep is not None and row.get("timestep") != timestep:
        return f"is that of timestep {row.get('timestep')!r:.40}"
    shape = check.get("shape") or {}
    for name, axis in (("batch", "batch"), ("unit", "units")):
        most = shape.get(axis, math.inf) if timestep is not None else math.inf
        if not is_whole(row.get(name)) or row[name] >= most:
            return f"has the {name} {row.get(name)!r:.40}"
    ratio = number(row["max_ratio"])
    if check["verdict"] in ("parity", "suspect") and not (ratio is not None and ratio <= 1):
        return f"has a max_ratio of {ratio:g} beside the verdict {check['verdict']}"
    return None
