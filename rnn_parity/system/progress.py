"""Long work seen from outside: it calls back for each thing done, and shows nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tick = Callable[[], object]

PATIENCE = 1.0
"""Seconds before anything is shown: what is done by then needs no progress."""


def unseen() -> None:
    """The callback where nobody looks."""


@contextmanager
def on_terminal(what: str) -> Iterator[Tick]:
    """A callback that counts in a line on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield unseen
        return
    from tqdm import tqdm

    with tqdm(desc=what, delay=PATIENCE, leave=False, unit="", file=sys.stderr) as bar:
        yield bar.update
