"""The words that reports on checks and on sweeps share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from rnn_parity.errors import shown
from rnn_parity.verdict.results import Cause

MORE = "more"
"""The heading of where one reads more."""
MOST_CAUSES = 2
"""How many causes stand in a sentence; the report lists all."""


def bits(x: float) -> str:
    """A number of effective bits: all when every number is equal, none when nothing fits."""
    return "all" if x == math.inf else f"{x:.1f}" if x > 0 else "0.0"


def sentence(
    verdict: str, summary: str, effective_bits: float | None = None, cause: str = ""
) -> str:
    """The verdict, its cause where one is known, and why, as one plain sentence on one line."""
    head = f"{verdict.upper()} ({cause})" if cause else verdict.upper()
    end = f" ({bits(effective_bits)} effective bits)" if effective_bits is not None else ""
    text = shown(" ".join(summary.split()))
    return f"{head}: {text.removesuffix('.')}{end}."


def environment_line(environment: Mapping[str, str | None]) -> str:
    """The versions that the numbers depend on; what is not installed is left out."""
    names = {"python": "Python", "numpy": "NumPy", "tensorflow": "TensorFlow", "keras": "Keras"}
    found = [f"{name} {environment[key]}" for key, name in names.items() if environment[key]]
    return ", ".join([*found, str(environment["device"])])


def digits(dtype: object) -> str:
    """The format of a number of this dtype with all of its digits."""
    return ".17g" if dtype == "float64" else ".9g"


def caused(causes: Iterable[Cause]) -> list[tuple[str, str]]:
    """The mistakes that explain the numbers, each with where one reads more on it."""
    found = []
    for cause in causes:
        fit = cause.effective_bits
        bits_of = "" if fit is None else f" ({bits(fit)} effective bits)"
        found += [("cause", f"{cause.fault}: {cause.explanation}{bits_of}"), more(cause.fault)]
    return found


def either(causes: Iterable[Cause]) -> str:
    """The ids of mistakes each of which explains the numbers, in a few words; empty for none."""
    ids = list(dict.fromkeys(cause.fault for cause in causes))
    if len(ids) > MOST_CAUSES:
        ids = [", ".join(ids[:MOST_CAUSES]), f"{len(ids) - MOST_CAUSES} more"]
    return " or ".join(ids)


def more(topic: str, on: str = "") -> tuple[str, str]:
    """Where one reads more on a fault or a known difference."""
    return MORE, f"rnn-parity explain {topic}{on}"
