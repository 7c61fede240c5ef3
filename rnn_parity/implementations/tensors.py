"""The tensors of one run of an exported model, and which of them is what a layer computed.

A tensor is looked for by its numbers, in any order of its axes and with axes of 1 anywhere. That
two tensors are near each other proves nothing: it says where to look. NumPy alone.
"""

from __future__ import annotations

from collections import defaultdict
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
SAME = 2.0**-12
"""How far the outputs of a whole model may be from those of its export, to be called the same.

Right float32 exports were within 2**-20 (tests/implementations/test_whole_model.py), and a deep
network may lose some bits more.
"""
NEAR_NARROW = 2.0**-3
"""The same for a model that holds numbers in 8 or 16 bits: 8-bit weights move outputs by 2**-5."""


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
    near: float = NEAR

    @property
    def same(self) -> float:
        """How far the outputs of the whole model may be from these."""
        return SAME if self.near == NEAR else self.near

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
        """The tensor that is `wanted`; None where none is near enough."""
        nearest = next(iter(self.matches(wanted, reversed_too)), None)
        return nearest if nearest is not None and nearest.distance <= self.near else None


def near_of(stored: Iterable[Array]) -> float:
    """How near is near for a model that holds these numbers."""
    narrow = any(one.dtype.kind in "iu" and one.dtype.itemsize == 1 for one in stored)
    half = any(one.dtype.kind == "f" and one.dtype.itemsize == 2 for one in stored)
    return NEAR_NARROW if narrow or half else NEAR


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
