"""`cmd:PROGRAM ARGS {input} {output}`: any program that reads the inputs and writes the outputs.

`{input}` and `{output}` become the names of `.npy` files, `{input}.csv` and `{output}.csv` those of
text files with one row per timestep, sample after sample; a `{output}.npz` may hold final states,
too. `{mask}`, `{initial_state_h}` and `{initial_state_c}` are there for a program that wants them.
A program is run to its end, or ended with all its children, and what it said last is kept.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.implementations import numbers
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.system.files import reason
from rnn_parity.system.processes import TIME_LIMIT, end, ending, time_limit

PLACE = re.compile(r"\{(input|output|mask|initial_state_h|initial_state_c)\}(\.\w+)?")
"""A file's place in the command, with the extension that says its format."""
FORMATS = {"output": (".npy", ".npz", ".csv")}
KEPT = 4096
"""How many bytes of what a program said last are kept: enough for `LINES` long lines."""
LINES = 3
"""How many of the last lines that a program said are shown: chosen, the end of a traceback."""


def implementation(command: str) -> Implementation:
    """The program that `command` starts, without a shell; it may run for 60 seconds.

    RNN_PARITY_TIME_LIMIT in the environment sets another time limit. Raises `InputError` for a
    command that cannot be run, and when asked `SourceFailedError` where it fails or writes nothing
    that can be read.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"against 'cmd:{command}': cannot be split into words: {error}") from None
    where = f"against 'cmd:{words[0] if words else ''}'"
    places = {match[1]: match[2] or ".npy" for word in words for match in PLACE.finditer(word)}
    for name in ("input", "output"):
        if name not in places:
            raise InputError(f"{where}: expected {{{name}}} among the arguments; say where it goes")
    for name, extension in places.items():
        known = FORMATS.get(name, (".npy", ".csv"))
        if extension not in known:
            forms = ", ".join(f"{{{name}}}{one}" for one in known)
            raise InputError(f"{where}: expected {forms}, received {{{name}}}{extension}")
    if shutil.which(words[0]) is None:
        raise InputError(f"{where}: expected a program that can be run, found none of that name")
    return partial(answer_of_program, words, time_limit(), where)


def answer_of_program(words: Sequence[str], limit: float, where: str, request: Request) -> Answer:
    """Run the program on the inputs of `request`, in files of a folder that is removed again."""
    removed = TemporaryDirectory(prefix="rnn-parity-", ignore_cleanup_errors=True)
    with Unwinding() as signals, removed as name:
        folder, given = Path(name), handed_over(request)
        placed: dict[str, Path] = {}

        def place(match: re.Match[str]) -> str:
            path = placed[match[1]] = folder / f"{match[1]}{match[2] or '.npy'}"
            if match[1] in given:
                path.write_bytes(numbers.encoded(given[match[1]], path.suffix))
            elif match[1] != "output":
                raise InputError(f"{where}: there is no {{{match[1]}}}: the layer has none")
            return str(path)

        try:
            arguments = [PLACE.sub(place, word) for word in words]
        except OSError as error:
            raise InputError(f"{where}: the inputs cannot be written: {reason(error)}") from None
        run_program(arguments, limit, where, signals)
        found = answer_in_file(placed["output"], where, request)
    return replace(found, notes=(*found.notes, *kept_back(request, placed)))


def answer_in_file(path: Path, where: str, request: Request) -> Answer:
    """What the program wrote to `path`, read whole before that is removed."""
    if not path.exists():
        raise SourceFailedError(f"{where}: it ended well and wrote no {{output}}{path.suffix}")
    try:
        found = numbers.implementation(str(path))(request)
    except InputError as error:
        said = str(error).replace(f"{path.parent}{os.sep}", "").removeprefix("against ")
        raise SourceFailedError(f"{where}: {said}") from None
    return replace(found, outputs=np.array(found.outputs), part="")


def handed_over(request: Request) -> dict[str, NDArray[Any]]:
    """What a program can be given, by the names of the places."""
    batch, timesteps, _ = request.inputs.shape
    mask = np.ones((batch, timesteps), bool) if request.mask is None else request.mask
    zeros = np.zeros((batch, request.layer.units), np.float32)
    names = request.layer.STATES
    states = request.initial_state or (zeros,) * len(names)
    given = {f"initial_state_{name}": state for name, state in zip(names, states, strict=True)}
    return {"input": request.inputs, "mask": mask, **given}


def kept_back(request: Request, placed: dict[str, Path]) -> list[str]:
    """Notes on what the program was not given."""
    notes = []
    if request.mask is not None and "mask" not in placed:
        notes.append("the mask is not handed over: the command has no {mask}")
    if request.initial_state is not None and "initial_state_h" not in placed:
        notes.append("the initial state is not handed over: the command has no {initial_state_h}")
    return notes


class Unwinding:
    """In a block with this, a signal that asks this process to end waits for a good moment.

    `pause` and the end of the block then raise `KeyboardInterrupt` or `SystemExit`, so that
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
            raise SystemExit(128 + self.waiting)


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
