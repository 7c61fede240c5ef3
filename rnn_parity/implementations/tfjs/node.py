"""Node with TensorFlow.js: found on this machine, and asked a question in files of one folder.

`run.js`, beside this module, is the program that Node runs. It needs no package but TensorFlow.js,
which the user installs, and computes on its CPU backend: plain JavaScript, in float32.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, MissingPackageError, SourceFailedError
from rnn_parity.implementations.request import Request
from rnn_parity.system.files import content, reason
from rnn_parity.system.processes import Unwinding, run_program, time_limit

NAME = "tfjs"
"""What the source is called, and who makes its mistakes among the known differences."""
PROGRAM = Path(__file__).with_name("run.js")
LEAST = 16
"""The oldest major version of Node that is run: its syntax is that of `run.js`."""
INSTALL = "install it with: npm install @tensorflow/tfjs"
FINDING = 30
"""The seconds in which Node and npm must say what they are: chosen, far beyond a second."""
TYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "bool": np.dtype(np.bool_)}
"""TensorFlow.js's names of the types of numbers that come back."""
SHOWN = (
    "where a timestep is masked before any other, TensorFlow.js shows the initial state and Keras "
    "zeros: see rnn-parity explain tfjs-shows-the-initial-state"
)
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Runtime:
    """A program of Node's, and the file and the version of TensorFlow.js that it finds."""

    node: str
    main: str
    version: str
    limit: float

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"TensorFlow.js {self.version}"

    def ask(
        self, where: str, question: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, Any], Arrays]:
        """The answer to a question, and the arrays that belong to it.

        `where` begins the messages. Raises `InputError` where TensorFlow.js refuses,
        `SourceFailedError` where Node crashes or takes longer than the limit.
        """
        removed = TemporaryDirectory(prefix="rnn-parity-", ignore_cleanup_errors=True)
        with Unwinding() as signals, removed as name:
            folder = Path(name)
            try:
                write_question(folder, {**question, "tfjs": self.main}, arrays)
            except OSError as error:
                raise InputError(
                    f"{where}: the inputs cannot be written: {reason(error)}"
                ) from None
            program = [self.node, str(PROGRAM), "answer", str(folder)]
            run_program(program, self.limit, where, signals)
            answer, found = read_answer(folder, where)
        if "error" in answer:
            said = " ".join(str(answer["error"]).split())
            raise InputError(f"{where}: TensorFlow.js refused: {said:.300}")
        return answer, found


def runtime(where: str) -> Runtime:
    """Node and TensorFlow.js as they are installed; RNN_PARITY_TIME_LIMIT sets the time limit.

    Node is the program that the environment variable NODE names, or `node` on PATH; TensorFlow.js
    is looked for in `node_modules` of the current folder and those above it, in NODE_PATH, and
    where npm puts what is installed for everybody. Raises `MissingPackageError`, one line, without
    them; `where` begins it.
    """
    node, limit = node_program(where), time_limit()
    found = tfjs_of(node, {}) or tfjs_of(node, everywhere())
    if found is None:
        raise MissingPackageError(
            f"{where} needs TensorFlow.js, which Node finds neither here nor for all; {INSTALL}"
        )
    return Runtime(node, str(found["main"]), str(found["version"]), limit)


def node_program(where: str) -> str:
    """The path of a Node that is new enough."""
    given = os.environ.get("NODE") or "node"
    path = shutil.which(given)
    said = said_by([path, "--version"]) if path else ""
    version = re.fullmatch(r"v(\d+)\.\S+", said)
    if path is None or version is None or int(version[1]) < LEAST:
        kind = said.removeprefix("v") if version else f"no {given!r} that is Node"
        raise MissingPackageError(
            f"{where} needs Node {LEAST} or later, found {kind:.200}; install it from "
            "https://nodejs.org, then: npm install @tensorflow/tfjs"
        )
    return path


def everywhere() -> dict[str, str]:
    """The environment in which Node also sees what npm has installed for everybody."""
    npm = shutil.which("npm")
    root = said_by([npm, "root", "-g"]) if npm else ""
    known = os.environ.get("NODE_PATH")
    return {"NODE_PATH": os.pathsep.join(filter(None, (known, root)))}


def tfjs_of(node: str, more: Mapping[str, str]) -> dict[str, Any] | None:
    """The file and the version of TensorFlow.js that Node finds with `more` in its environment."""
    said = said_by([node, str(PROGRAM), "find"], more)
    try:
        found = json.loads(said or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() >= {"main", "version"} else None


def said_by(program: list[str], more: Mapping[str, str] | None = None) -> str:
    """What a program prints, without the white space around; nothing where it fails."""
    try:
        done = subprocess.run(
            program,
            env={**os.environ, **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=FINDING,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


# Files to arrays and back.


def write_question(
    folder: Path, question: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """The question as JSON, and its arrays one after the other, little-endian."""
    places, offset = {}, 0
    with (folder / "question.bin").open("wb") as file:
        for name, array in arrays.items():
            data = storable(array)
            shape, dtype = list(data.shape), data.dtype.name
            places[name] = {"dtype": dtype, "shape": shape, "offset": offset}
            file.write(data.tobytes())
            offset += data.nbytes
    text = json.dumps({**question, "arrays": places})
    (folder / "question.json").write_text(text, encoding="utf-8")


def storable(array: NDArray[Any]) -> NDArray[Any]:
    """`array` in one of the types that TensorFlow.js computes with, or as bytes."""
    kinds = {"f": np.float32, "b": np.bool_, "i": np.int32}
    wide = {"u": np.uint8 if array.dtype == np.uint8 else np.int32}
    kind = np.dtype({**kinds, **wide}[array.dtype.kind]).newbyteorder("<")
    return np.ascontiguousarray(array, kind).reshape(array.shape)


def read_answer(folder: Path, where: str) -> tuple[dict[str, Any], Arrays]:
    """What the program answered; raises `SourceFailedError` for what is no answer."""
    try:
        answer = json.loads(content(folder / "answer.json", where))
        data = content(folder / "answer.bin", where)
        places = answer.pop("arrays")
        arrays = {name: array_at(data, **place) for name, place in places.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise SourceFailedError(f"{where}: its program ended well and gave no answer") from None
    return answer, arrays


def array_at(data: bytes, dtype: str, shape: list[int], offset: int) -> NDArray[Any]:
    """One of the arrays that stand one after the other in `data`."""
    found = np.frombuffer(data, TYPES[dtype], prod(shape), offset)
    return found.reshape(shape)


# Calls of layers.


def call_arrays(request: Request) -> dict[str, NDArray[Any]]:
    """What the layer is called with. Numbers are rounded here, in one way."""
    rounded = request.layer.precision.round
    arrays: dict[str, NDArray[Any]] = {"inputs": rounded(request.inputs, "inputs")}
    if request.mask is not None:
        arrays["mask"] = np.asarray(request.mask, bool)
    for i, state in enumerate(request.initial_state or ()):
        arrays[f"state/{i}"] = rounded(state, "initial_state")
    return arrays


def states_in(computed: dict[str, NDArray[Any]], prefix: str) -> tuple[NDArray[Any], ...]:
    """The states among arrays, h before c."""
    return tuple(computed[name] for name in sorted(computed) if name.startswith(prefix))
