"""Long work seen from outside: it calls back for each thing done, and shows nothing itself.

On a terminal a line says what is being done, and for how long. It is there for a person who waits,
and gone when the work is done.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from shutil import get_terminal_size

Tick = Callable[[], object]

PATIENCE = 1.0
"""Seconds before anything is shown: what is done by then needs no progress."""
PERIOD = 0.5
"""Seconds between two looks at the clock. Chosen: seconds are shown."""
ERASE = "\r\033[K"


def unseen() -> None:
    """The callback where nobody looks."""


@contextmanager
def on_terminal(what: str) -> Iterator[Tick]:
    """A callback that counts in a line on stderr, where that is a terminal.

    Of work inside other work, the innermost is shown. Worker processes show nothing.
    """
    if sys.stderr is None or not sys.stderr.isatty() or multiprocessing.parent_process():
        yield unseen
        return
    line = Line(what)
    try:
        yield line.tick
    finally:
        line.end()


class Line:
    """A line on the terminal that says what is being done, from when it took a while on."""

    innermost: Line | None = None

    def __init__(self, what: str) -> None:
        self.what, self.count, self.start = what, 0, time.monotonic()
        self.outer, Line.innermost = Line.innermost, self
        self.terminal, self.shown, self.done = own_stderr(), False, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def tick(self) -> None:
        """One more thing is done."""
        self.count += 1

    def watch(self) -> None:
        """Show the line, again and again, until the work is done."""
        if self.done.wait(PATIENCE):
            return
        while True:
            if Line.innermost is self:
                self.write(ERASE + self.text())
                self.shown = True
            if self.done.wait(PERIOD):
                return

    def text(self) -> str:
        """What is being done, how many things are done, and how long it has taken."""
        done = f"{self.count} done, " * bool(self.count)
        text = f"rnn-parity: {self.what} ({done}{time.monotonic() - self.start:.0f} s)"
        return text[: get_terminal_size().columns - 1]

    def end(self) -> None:
        """Take the line away; work around it is shown again."""
        self.done.set()
        self.thread.join()
        Line.innermost = self.outer
        if self.shown:
            self.write(ERASE)
        if self.terminal is not None:
            os.close(self.terminal)

    def write(self, text: str) -> None:
        """To the terminal, whatever becomes of it."""
        with suppress(OSError, ValueError):
            if self.terminal is None:
                sys.stderr.write(text)
                sys.stderr.flush()
            else:
                os.write(self.terminal, text.encode("utf-8", "replace"))


def own_stderr() -> int | None:
    """A descriptor of stderr that stays open when others close theirs; None where it has none.

    TensorFlow is silenced by closing the file descriptor 2 while it works.
    """
    try:
        return os.dup(sys.stderr.fileno())
    except (OSError, ValueError):
        return None
