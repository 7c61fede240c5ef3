"""The tensors of one run of an exported model, and which of them is what a layer computed.

A tensor is looked for by its numbers, in any order of its axes and with axes of 1 anywhere. That
two tensors are near each other proves nothing: it says where to look. NumPy alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NEAR = 2.0**-8
"""How far a tensor may be from the one that is looked for, to be taken for it: root mean squares.

Right float32 models are within 2**-16 of each other even after many layers, and a layer that was
left out or replaced is hardly ever within 2**-4. Chosen between the two; at 2**-4 a normalisation
that changes little is mistaken for its input, at 2**-16 a long network in float32 is not found.
"""
NEAR_8_BIT = 2.0**-4
"""How near is near in a model with weights in 8 bits, which move outputs by 2**-5 to 2**-9."""


@dataclass(frozen=True)
class Nearness:
    """How far tensors of an export may be from those of the model, as root mean squares.

    `near` is for one that is looked for, `same` for a unit of an output of the whole model: right
    float32 exports were within 2**-20 (`tests/measure_exports.py`), half precision within 2**-11,
    8 bits within 2**-8. Chosen with a margin for deeper networks; what a model differs by below
    that is not seen in its outputs.
    """

    near: float
    same: float


FULL = Nearness(NEAR, 2.0**-16)
HALF = Nearness(NEAR, 2.0**-9)
EIGHT_BITS = Nearness(NEAR_8_BIT, 2.0**-5)


@dataclass(frozen=True, eq=False)
class Match:
    """A tensor of the run as an array of the shape that was looked for, and how far it is.

    `distance` is the root mean square of what it differs by, over that of what was looked for.
    """

    tensor: str
    array: Array
    distance: float

    @property
    def bits(self) -> float:
        """How many leading bits the two have in common, on the scale of the whole array."""
        return bits(self.distance)


def bits(distance: float) -> float:
    """A relative distance in bits: 0 where it is as large as the numbers, infinite where none."""
    return float(-np.log2(distance)) if distance > 0 else np.inf


@dataclass(frozen=True, eq=False)
class Tensors:
    """All tensors of one run by their names, in the order in which they were computed."""

    arrays: Mapping[str, Array]
    nearness: Nearness = FULL

    @cached_property
    def _by_sizes(self) -> dict[tuple[int, ...], list[str]]:
        """The names of the tensors that have these axes, in whatever order."""
        found = defaultdict(list)
        for name, array in self.arrays.items():
            if array.dtype.kind in "fiub":
                found[sizes(array.shape)].append(name)
        return found

    def matches(self, wanted: Array, reversed_too: bool = False) -> list[Match]:
        """Every tensor that could be `wanted` by its shape, in its nearest order, nearest first.

        With `reversed_too`, one whose second axis runs backwards counts as well.
        """
        found = [
            min(
                (
                    Match(name, one, distance(one, wanted))
                    for one in views(self.arrays[name], wanted.shape, reversed_too)
                ),
                key=lambda match: match.distance,
            )
            for name in self._by_sizes.get(sizes(wanted.shape), [])
        ]
        return sorted(found, key=lambda match: match.distance)

    def match(self, wanted: Array, reversed_too: bool = False) -> Match | None:
        """The tensor that is `wanted`; None where none is near enough.

        Numbers that are all the same, such as zeros, tell no tensor from another.
        """
        if not np.ptp(wanted.astype(np.float64)) > 0:
            return None
        nearest = next(iter(self.matches(wanted, reversed_too)), None)
        return nearest if nearest is not None and nearest.distance <= self.nearness.near else None


def nearness_of(weights: Iterable[tuple[str, int]]) -> Nearness:
    """What is near in a model, from the dtypes of its weights and how many numbers each has."""
    counts: Counter[str] = Counter()
    for dtype, count in weights:
        counts[dtype] += count
    narrow = {"int8": EIGHT_BITS, "uint8": EIGHT_BITS, "float16": HALF, "bfloat16": HALF}
    wide = counts["float32"] + counts["float64"]
    most = max(narrow, key=lambda name: counts[name])
    return narrow[most] if counts[most] > wide else FULL


def sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a shape without their order, those of 1 left out."""
    return tuple(sorted(n for n in shape if n != 1))


def views(array: Array, shape: tuple[int, ...], reversed_too: bool = False) -> Iterator[Array]:
    """`array` in every order of its axes in which it has the `shape`, but for axes of 1."""
    plain = array.squeeze()
    wanted = tuple(n for n in shape if n != 1)
    for order in permutations(range(plain.ndim)):
        if tuple(plain.shape[i] for i in order) == wanted:
            one = plain.transpose(order).reshape(shape)
            yield one
            if reversed_too and one.ndim > 1:
                yield one[:, ::-1]


def distance(one: Array, wanted: Array) -> float:
    """The root mean square of `one - wanted` over that of `wanted`; infinite where not finite."""
    with np.errstate(all="ignore"):
        a, b = one.astype(np.float64), wanted.astype(np.float64)
        difference, scale = np.sqrt(np.mean((a - b) ** 2)), np.sqrt(np.mean(b**2))
    if difference == 0:
        return 0.0
    found = difference / scale if scale else np.inf
    return float(found) if np.isfinite(found) else np.inf


def unit_distance(one: Array, wanted: Array) -> float:
    """The largest distance of a unit, along the last axis, on its own scale.

    That of a unit of next to nothing is 2**-10 of the whole array's.
    """
    a, b = (x.astype(np.float64).reshape(-1, x.shape[-1] if x.ndim else 1) for x in (one, wanted))
    with np.errstate(all="ignore"):
        scale = np.sqrt(np.mean(b**2, axis=0))
        least = 2.0**-10 * np.sqrt(np.mean(b**2))
        far = np.sqrt(np.mean((a - b) ** 2, axis=0)) / np.maximum(scale, least)
    if np.array_equal(a, b):
        return 0.0
    return float(far.max()) if np.isfinite(far).all() else np.inf
