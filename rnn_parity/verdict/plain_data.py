"""When results are equal: NaN equals NaN, and arrays are compared entry by entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

LATE: Mapping[str, bool] = {"late": True}
"""The metadata of a field that is compared last, because looking at it may take work."""


class PlainData:
    """A dataclass (with `eq=False`) that equals another of its class where all their fields do.

    Unlike tuples of floats, it equals its own copy where a number is NaN, and it may hold arrays.
    It cannot be hashed.
    """

    __hash__ = None  # type: ignore[assignment]  # how Python spells that there is none

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        own: tuple[Any, ...] = fields(self)  # type: ignore[arg-type]  # of a subclass
        compared = [one for one in own if one.compare]
        compared.sort(key=lambda one: "late" in one.metadata)
        return all(same(getattr(self, one.name), getattr(other, one.name)) for one in compared)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same data: of one shape and dtype, NaN where the other has it."""
    if one is other:
        return True
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and all_same(one, other)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return False
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and type(one) is type(other):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


def all_same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays of one shape have equal entries, or NaN in both."""
    return bool(((one == other) | ((one != one) & (other != other))).all())
