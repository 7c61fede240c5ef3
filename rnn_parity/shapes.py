"""An array of another shape than the layer's: which of its axes fit what, and what would help."""

from __future__ import annotations

import math
from itertools import permutations

from rnn_parity.results import Shape


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
    for order in permutations(range(len(received))):
        if tuple(received[i] for i in order) == expected:
            return f"transpose({', '.join(map(str, order))}) would help"
    if math.prod(received) == math.prod(expected):
        return f"reshape{expected} would help, if the order is batch, timesteps, units"
    return ""
