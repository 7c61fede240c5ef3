"""An array of another shape than the layer's: which of its axes fit what, and what would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.verdict.results import Shape

MOST_LISTED = 8
"""How many units a sentence names."""


def misfit(name: str, received: tuple[int, ...], expected: tuple[int, ...], shape: Shape) -> str:
    """One sentence: expected, received, which axes fit which sizes, whether a transpose helps."""
    sizes = {
        "batch": shape.batch,
        "timesteps": shape.timesteps,
        "units": shape.units,
        "features": shape.features,
    }
    axes = [
        f"axis {i} ({size}) fits {' or '.join(n for n in sizes if sizes[n] == size) or 'nothing'}"
        for i, size in enumerate(received)
    ]
    parts = [f"expected shape {expected}, received {received}", *axes, remedy(received, expected)]
    return f"{name}: {'; '.join(filter(None, parts))}"


def remedy(received: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What would make the shapes equal, when something simple does."""
    orders = permutations(range(len(received))) if len(received) == len(expected) else ()
    for order in orders:
        if tuple(received[i] for i in order) == expected:
            return f"transpose({', '.join(map(str, order))}) would help"
    if math.prod(received) == math.prod(expected):
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
