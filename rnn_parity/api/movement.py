"""What changed since a case was recorded: how far the numbers moved, and what they prove."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.distance import distance, ulps
from rnn_parity.cases.case import Case, versions_now
from rnn_parity.keras_adapter import Observation
from rnn_parity.recurrence.precision import precision_of
from rnn_parity.verdict.results import Check
from rnn_parity.verdict.sentences import number


def versions_of(found: Mapping[str, str | None]) -> str:
    """The versions that numbers depend on most."""
    return f"TensorFlow {found.get('tensorflow')}, Keras {found.get('keras')}"


def change(case: Case, old: Check, new: Check, now: Observation) -> str:
    """What changed since `case` was recorded: the numbers, and what they were held to prove."""
    since = f"recorded with {versions_of(case.versions)}, now {versions_of(versions_now())}"
    moved_by = movement(case, now)
    if old.verdict == new.verdict:
        verdicts = f"{new.verdict} with the replay then and now"
    else:
        verdicts = f"{old.verdict} with the replay then, {new.verdict} now"
    kind = ""
    if moved_by and old.verdict == new.verdict == "parity":
        kind = ", within rounding"
    elif new.verdict == "diverged" != old.verdict:
        kind = ", a real change"
    return f"{since}: {moved_by or 'the outputs are the same, bit for bit'}{kind}; {verdicts}"


def movement(case: Case, now: Observation) -> str:
    """How far the outputs and states moved since they were recorded; empty when they did not."""
    pairs = [
        ("outputs", case.outputs, now.outputs),
        ("last output", case.last_output, now.last_output),
        *(
            (f"final state {name}", then, found)
            for name, then, found in zip_longest("hc", case.final_state, now.final_state)
        ),
    ]
    return " and ".join(filter(None, (moved(*pair) for pair in pairs)))


def moved(name: str, then: NDArray[Any] | None, now: NDArray[Any] | None) -> str:
    """How far one array moved, empty for not at all, or that only one side has it."""
    if then is None or now is None:
        return "" if then is now else f"the {name} {'appeared' if then is None else 'disappeared'}"
    if then.shape != now.shape:
        return f"the {name} took shape {now.shape} instead of {then.shape}"
    before, after = then.astype(np.float64), now.astype(np.float64)
    if np.array_equal(before, after, equal_nan=True):
        return ""
    deviation = distance(after, before)
    precision = precision_of(now.dtype.name)
    far = float(ulps(deviation, before, precision).max())
    # From a number next to zero, any distance is as many units as the format has numbers.
    units = f" ({far:.0f} ULP)" if far < 2.0**precision.digits else ""
    return f"the {name} moved by at most {number(float(deviation.max()))}{units}"
