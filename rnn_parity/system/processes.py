"""Processes of other programs: how long they may take, how they ended, and that they end.

A program is run to its end, or ended with all its children, and what it said last is kept.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from types import FrameType

from rnn_parity.errors import InputError, SourceFailedError, Terminated
from rnn_parity.system.files import reason

TIME_LIMIT = "RNN_PARITY_TIME_LIMIT"
"""The environment variable with the seconds that a program may take."""
SECONDS = "60"
"""The time limit unless it is set: chosen, far beyond what a call of a layer takes anywhere."""
KEPT = 4096
"""How many bytes of what a program said last are kept: enough for `LINES` long lines."""
LINES = 3
"""How many of the last lines that a program said are shown: chosen, the end of a traceback."""


def time_limit() -> float:
    """The seconds that a program may take."""
    given = os.environ.get(TIME_LIMIT, SECONDS)
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise InputError(f"{TIME_LIMIT}: expected seconds, received {given!r}")
    return seconds


def end(process: subprocess.Popen[bytes]) -> None:
    """End everything that is left of the program's process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ending(code: int) -> str:
    """How a program ended, from what `Popen` calls its return code."""
    if code > 0:
        return f"ended with exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"crashed with {names.get(-code, f'signal {-code}')}"


class Unwinding:
    """In a block with this, a signal that asks this process to end waits for a good moment.

    `pause` and the end of the block then raise `KeyboardInterrupt` or `Terminated`, so that
    everything is tidied up: raised in the middle of `subprocess`, it could leave a lock taken or a
    program unknown. Signals arrive in the main thread only, and those that somebody else handles
    are left alone.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> Unwinding:
        usual = (signal.SIG_DFL, signal.default_int_handler)
        is_main = threading.current_thread() is threading.main_thread()
        ours = [n for n in self.SIGNALS if is_main and signal.getsignal(n) in usual]
        self.waiting = 0
        self.before = {number: signal.signal(number, self._arrive) for number in ours}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self._unwind()

    def pause(self, seconds: float) -> None:
        """Sleep, unless a signal has arrived."""
        self._unwind()
        time.sleep(seconds)

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        self.waiting = number

    def _unwind(self) -> None:
        if self.waiting == signal.SIGINT:
            raise KeyboardInterrupt
        if self.waiting:
            raise Terminated(128 + self.waiting)


def run_program(arguments: Sequence[str], limit: float, where: str, signals: Unwinding) -> None:
    """Run the program `arguments`, without a shell, in a process group of its own.

    Whatever ends this (its success, the limit of `limit` seconds, one of the `signals`), nothing of
    the group goes on. Raises `InputError` when it cannot be started, and `SourceFailedError`, with
    the last lines that the program wrote, when it takes too long, crashes, or ends with another
    exit code than 0.
    """
    process = started(arguments, where)
    said = Listener(process)
    try:
        code = waited(process, limit, signals)
    finally:
        end(process)
    if code is None:
        raise SourceFailedError(
            f"{where}: it was still running after {limit:g} seconds and was ended; "
            f"{TIME_LIMIT} allows more{said.last()}"
        )
    if code:
        raise SourceFailedError(f"{where}: it {ending(code)}{said.last()}")


def waited(process: subprocess.Popen[bytes], limit: float, signals: Unwinding) -> int | None:
    """What `Popen` calls its return code, once it has one; None after `limit` seconds."""
    until, pause = time.monotonic() + limit, 0.001
    while (code := process.poll()) is None and time.monotonic() < until:
        signals.pause(pause)
        pause = min(2 * pause, 0.05)
    return code


def started(arguments: Sequence[str], where: str) -> subprocess.Popen[bytes]:
    """The program, with nothing to read and its words in one pipe."""
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(f"{where}: cannot be started: {reason(error)}") from None


class Listener:
    """Reads what a program says as it says it, so that it never waits, and keeps the end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.pipe, self.tail = process.stdout, b""
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        with self.pipe:
            while said := os.read(self.pipe.fileno(), KEPT):
                self.tail = (self.tail + said)[-KEPT:]

    def last(self) -> str:
        """The last lines of a program that has ended, as the end of a message; empty without any.

        A child that left the process group may still hold the pipe: it is not waited for.
        """
        self.thread.join(1)
        lines = [line.strip() for line in self.tail.decode(errors="replace").split("\n")]
        shown = [line for line in lines if line][-LINES:]
        return f": {' / '.join(shown)}" if shown else ""
