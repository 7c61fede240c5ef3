"""Names that fit a column: without their middle, where they stay distinguishable."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

GAP = "..."
SHARES = (1 / 2, 2 / 3, 1 / 3, 5 / 6, 1 / 6)
"""How much of what is kept of a name is its end, in the order in which these are tried: chosen."""


def fitted(names: Sequence[str], room: int, among: Sequence[object] = ()) -> list[str]:
    """Each name in lines of at most `room` columns: one line without the middle of a long name.

    It is cut where all names that differ still differ; where that is nowhere, the long names are
    whole, over several lines. Given `among`, an object for each name, names need to differ only
    among those with equal objects.
    """
    found = cut(names, room, among or [None] * len(names))
    if found is not None:
        return found
    return ["\n".join(textwrap.wrap(name, room, break_on_hyphens=False)) for name in names]


def least_room(names: Sequence[str], least: int, among: Sequence[object] = ()) -> int:
    """The least room, from `least` on, in which every name has a line that tells it apart."""
    longest = max(map(len, names), default=0)
    among = among or [None] * len(names)
    rooms = range(least, longest)
    return next((room for room in rooms if cut(names, room, among) is not None), longest)


def cut(names: Sequence[str], room: int, among: Sequence[object]) -> list[str] | None:
    """The names in `room` columns, long ones without their middle; None where some become equal."""
    distinct, kept = len(set(zip(among, names, strict=True))), room - len(GAP)
    for share in SHARES:
        found = [without_middle(name, room, round(kept * share)) for name in names]
        if len(set(zip(among, found, strict=True))) == distinct:
            return found
    return None


def without_middle(name: str, room: int, end: int) -> str:
    """`name` in `room` columns, with the last `end` of its characters."""
    if len(name) <= room:
        return name
    return f"{name[: room - len(GAP) - end]}{GAP}{name[len(name) - end :]}"
