"""Which verdict decides about a report, and its exit code: for checks and sweeps alike."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

Verdict = Literal["parity", "suspect", "diverged", "inconclusive"]
Status = Literal["diverged", "failed", "suspect", "inconclusive", "parity", "refused"]
"""The verdict on one configuration of a sweep, or why there is none: another implementation
crashed, or somebody refused."""

WORST_FIRST: tuple[Status, ...] = ("diverged", "failed", "suspect", "inconclusive", "parity")
"""The first of these that occurs is the verdict of a report; "refused" decides nothing."""
STATUSES: tuple[Status, ...] = (*WORST_FIRST, "refused")

EXIT_CODES = {"diverged": 1, "failed": 1, "suspect": 1, "inconclusive": 3, "parity": 0}
CODES_WORST_FIRST = (1, 2, 3, 0)


def decisive(found: Collection[str]) -> Status:
    """The verdict that decides of those `found`; nothing proven where there is none."""
    return next((verdict for verdict in WORST_FIRST if verdict in found), "inconclusive")


def exit_code(found: Collection[str]) -> int:
    """0 where all are parity, 1 where anything is wrong, 3 where something or all is not proven."""
    return decisive_code({EXIT_CODES[verdict] for verdict in found if verdict in EXIT_CODES})


def decisive_code(codes: Collection[int]) -> int:
    """The exit code that decides of several."""
    return next((code for code in CODES_WORST_FIRST if code in codes), 3)
