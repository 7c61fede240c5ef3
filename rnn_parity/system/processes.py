"""Processes of other programs: how long they may take, how they ended, and that they end."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from math import inf

from rnn_parity.errors import InputError

TIME_LIMIT = "RNN_PARITY_TIME_LIMIT"
"""The environment variable with the seconds that a program may take."""
SECONDS = "60"
"""The time limit unless it is set: chosen, far beyond what a call of a layer takes anywhere."""


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
