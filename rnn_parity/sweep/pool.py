"""What workers of every kind can be asked.

An item whose worker died is run once more; when that one dies too it is given up, with None as its
result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool(Protocol):
    """Workers that take one item at a time."""

    @property
    def count(self) -> int:
        """So many of them work at the same time."""

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        """`function(item)` for every item, in any order; everything can be pickled."""
