"""`cmd:PROGRAM ARGS {input} {output}`: any program that reads the inputs and writes the outputs.

`{input}` and `{output}` become the names of `.npy` files, `{input}.csv` and `{output}.csv` those of
text files with one row per timestep, sample after sample; a `{output}.npz` may hold final states,
too. `{mask}`, `{initial_state_h}` and `{initial_state_c}` are there for a program that wants them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.implementations import numbers
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.system.files import reason
from rnn_parity.system.processes import Unwinding, run_program, time_limit

PLACE = re.compile(r"\{(input|output|mask|initial_state_h|initial_state_c)\}(\.\w+)?")
"""A file's place in the command, with the extension that says its format."""
FORMATS = {"output": (".npy", ".npz", ".csv")}


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
