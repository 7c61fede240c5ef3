"""A layer in another of Keras's backends: `keras:jax`, `torch`, `numpy`, `openvino`.

A process has one backend, so each runs in a process of its own, which is started at the first
request and ends with this one: it reads from a pipe that closes then, whatever ends it. The data
goes through pipes as well; no file stays behind. A message, both ways, is its length in 8 bytes and
a `.npz` archive; nothing is unpickled.

That process is `python -m rnn_parity.implementations.keras_backend`, with KERAS_BACKEND set: this
file from `main` on. Keras is imported there and not by `keras_adapter`, which is the door to the
Keras of TensorFlow: a process can have one backend only, so that one has nothing but Keras.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

import rnn_parity
from rnn_parity.cases.case import SEQUENCE_OPTIONS
from rnn_parity.errors import (
    InputError,
    MissingPackageError,
    SourceFailedError,
    nearest,
    one_line,
)
from rnn_parity.implementations.request import Answer, Implementation, Request, keras_class
from rnn_parity.recurrence.activations import CATALOGUE, Activation
from rnn_parity.recurrence.cells import WEIGHTS
from rnn_parity.system.environment import version_of
from rnn_parity.system.processes import TIME_LIMIT, end, ending, time_limit

BACKENDS = {"jax": "jax", "torch": "torch", "numpy": "jax", "openvino": "openvino"}
"""Keras's backends, which are the names of the extras too, and the package that each needs (that of
NumPy uses some of JAX)."""
Message = dict[str, NDArray[Any]]
OPTION, STATE, BACKWARD = "option_", "state_", "backward_"
"""What the names of the constructor's arguments, of the states, and of all that belongs to the
second layer of a `Bidirectional` begin with."""


def installed() -> list[str]:
    """The backends whose packages are installed; none without Keras 3."""
    return [name for name, needed in BACKENDS.items() if has_keras_3() and version_of(needed)]


def implementation(backend: str) -> Implementation:
    """Keras on `backend`, in a process that may take 60 seconds for each request.

    RNN_PARITY_TIME_LIMIT in the environment sets another time limit. Raises `InputError` for an
    unknown backend, `MissingPackageError` for one that is not installed.
    """
    if backend not in BACKENDS:
        known = (*BACKENDS, "all")
        near = nearest(backend, known).replace("did you mean ", "did you mean keras:")
        said = f"no such backend{near} " if near else ""
        expected = ", ".join(f"keras:{name}" for name in known)
        raise InputError(f"keras:{backend}: {said}expected one of {expected}")
    if not has_keras_3():
        raise MissingPackageError(
            f"keras:{backend} needs Keras 3, found {version_of('keras') or 'none'}; install it "
            "with: pip install 'keras>=3'"
        )
    if version_of(BACKENDS[backend]) is None:
        raise MissingPackageError(
            f"keras:{backend} needs {BACKENDS[backend]}; install it with: "
            f"pip install 'rnn-parity[{backend}]'"
        )
    child = Child(backend, time_limit())

    def compute(request: Request) -> Answer:
        found = child.ask(question(request, child.name))
        states = sorted(name for name in found if name.startswith(STATE))
        return Answer(
            found["outputs"],
            tuple(found[name] for name in states),
            notes(backend, request.layer.precision.name),
        )

    return compute


def has_keras_3() -> bool:
    """Whether `keras` is the generation that has backends."""
    return int((version_of("keras") or "0").split(".")[0]) >= 3


def notes(backend: str, dtype: str) -> tuple[str, ...]:
    """What ran, and what is known about it."""
    ran = f"Keras {version_of('keras')} on {backend} {version_of(backend)}"
    if dtype == "float64":
        # Its table of result types, `BIT64_TO_BIT32_DTYPE`, makes float32 of float64 there.
        return ran, "on all backends but TensorFlow, Keras computes float64 layers in float32"
    return (ran,)


def question(request: Request, name: str) -> dict[str, ArrayLike]:
    """The request as a message. Numbers are rounded here: no backend can do it in another way."""
    if request.side_by_side:
        alone = (replace(request, layer=one, side_by_side=()) for one in request.side_by_side)
        forward, backward = (question(one, name) for one in alone)
        del backward["inputs"]
        return forward | {BACKWARD + n: value for n, value in backward.items()}
    layer = request.layer
    message: dict[str, ArrayLike] = {
        "layer_class": keras_class(layer, name),
        "dtype": layer.precision.name,
        "inputs": layer.precision.round(request.inputs, "inputs"),
    }
    message |= {n: w for n in WEIGHTS if (w := getattr(layer, n)) is not None}
    options = {n: getattr(layer, n) for n in (*SEQUENCE_OPTIONS, "units", *layer.OPTIONS)}
    for n, value in options.items():
        options[n] = keras_name(value, name) if isinstance(value, Activation) else value
    options |= {"use_bias": layer.bias is not None, "unroll": bool(request.config.get("unroll"))}
    message |= {OPTION + n: value for n, value in options.items()}
    if request.mask is not None:
        message["mask"] = request.mask
    for i, state in enumerate(request.initial_state or ()):
        message[f"{STATE}{i}"] = layer.precision.round(state, "initial_state")
    return message


def keras_name(activation: Activation, name: str) -> str:
    """Keras's name of `activation`; raises `InputError` for a function of the user's own."""
    if CATALOGUE.get(activation.name) is not activation:
        raise InputError(
            f"{name}: expected an activation of Keras's own, received {activation.name}, a "
            "function that another process does not have"
        )
    return activation.name.removesuffix("_keras2")


class Child:
    """One process with one Keras backend; it is started when it is first asked.

    It is ended, and anew started, after a request that it did not answer. Raises `InputError`, one
    line, when Keras refuses, `SourceFailedError` when the process crashes or takes longer than
    `limit` seconds.
    """

    def __init__(self, backend: str, limit: float) -> None:
        self.name = f"keras:{backend}"
        self.backend, self.limit = backend, limit
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, message: Mapping[str, ArrayLike]) -> Message:
        """The answer to `message`."""
        process, log = self._started()
        expired = threading.Event()
        timer = threading.Timer(self.limit, expire, (process, expired))
        timer.start()
        try:
            answer = exchange(process, message)
        except BaseException:  # an interrupted process could answer the next request with this one
            self._end()
            raise
        finally:
            timer.cancel()
        if answer is None:
            self._end()
            how, last = ending(process.returncode), last_line(log)
            raise SourceFailedError(
                f"{self.name}: no answer within {self.limit:g} seconds; {TIME_LIMIT} allows more"
                if expired.is_set()
                else f"{self.name}: its process {how}{last}"
            )
        if "error" in answer:
            raise InputError(f"{self.name}: Keras refused: {answer['error']}")
        return answer

    def _started(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        if self.process is None:
            # It is open as long as the process may write to it.
            self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
            self.process = self._start(self.log)
            self._end_it = weakref.finalize(self, close, self.process)
        return self.process, self.log

    def _start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """A new process, which writes what it says to `log`."""
        return start(self.backend, log)

    def _end(self) -> None:
        self._end_it()
        self.process = None

    def end(self) -> None:
        """End the process, if one runs."""
        if self.process is not None:
            self._end()


def start(backend: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A new process; what it says goes to `log`."""
    return subprocess.Popen(
        [sys.executable, "-m", "rnn_parity.implementations.keras_backend"],
        # There `-m` finds this very package, and nothing of the user's in place of Keras.
        cwd=Path(rnn_parity.__file__).parent.parent,
        env={**os.environ, "KERAS_BACKEND": backend},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )


def expire(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
    """Kill the process, which ends the wait for its answer, and say so."""
    expired.set()
    process.kill()


def exchange(process: subprocess.Popen[bytes], message: Mapping[str, ArrayLike]) -> Message | None:
    """The process's answer to `message`, or None when it has ended."""
    try:
        send(cast(BinaryIO, process.stdin), message)
    except OSError:  # it no longer reads
        return None
    return receive(cast(BinaryIO, process.stdout))


def close(process: subprocess.Popen[bytes]) -> None:
    """End the process, which keeps nothing, and close its pipes."""
    end(process)
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what it did not read cannot be flushed
            cast(BinaryIO, pipe).close()


def last_line(log: IO[bytes]) -> str:
    """The last line that a process wrote to `log`, as the end of a message."""
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").split("\n")]
    return next((f": {line:.300}" for line in reversed(lines) if line), "")


def send(stream: BinaryIO, message: Mapping[str, ArrayLike]) -> None:
    """Write arrays, texts and numbers to `stream`."""
    buffer = io.BytesIO()
    # C order: OpenVINO misreads others as float16.
    arrays: dict[str, Any] = {n: np.asarray(value, order="C") for n, value in message.items()}
    np.savez(buffer, **arrays)
    stream.write(len(buffer.getbuffer()).to_bytes(8, "big"))
    stream.write(buffer.getbuffer())
    stream.flush()


def receive(stream: BinaryIO) -> Message | None:
    """The next message, or None where `stream` ends before it is complete."""
    header = stream.read(8)
    size = int.from_bytes(header, "big")
    data = stream.read(size) if len(header) == 8 else b""
    if not data or len(data) < size:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return dict(archive)


def main() -> None:
    """Answer requests until standard input ends."""
    # What a backend prints must not get among the answers.
    with os.fdopen(0, "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        while (request := receive(requests)) is not None:
            try:
                answer: Mapping[str, ArrayLike] = computed(request)
            except Exception as error:  # Keras and its backends refuse with any exception
                answer = {"error": one_line(error)}
            send(answers, answer)


def computed(request: Message) -> dict[str, ArrayLike]:
    """The outputs `(B, T, H)` in processing order, and the last states `(B, H)`.

    Of a `Bidirectional`, its outputs `(B, T, H + H)` alone.
    """
    from keras import layers, ops

    dtype = str(request["dtype"])
    second = {n.removeprefix(BACKWARD): a for n, a in request.items() if n.startswith(BACKWARD)}
    layer = layer_described(request, return_state=not second)
    if second:
        other = layer_described(second, return_state=False)
        layer = layers.Bidirectional(layer, "concat", backward_layer=other, dtype=dtype)
    layer.build(request["inputs"].shape)
    if second:
        assign_weights(layer.forward_layer, request)
        assign_weights(layer.backward_layer, second)
    else:
        assign_weights(layer, request)
    options: dict[str, Any] = {}
    if "mask" in request:
        options["mask"] = ops.convert_to_tensor(request["mask"], "bool")
    states = sorted(name for name in request if name.startswith(STATE))
    if states:
        options["initial_state"] = [ops.convert_to_tensor(request[n], dtype) for n in states]
    found = layer(ops.convert_to_tensor(request["inputs"], dtype), **options)
    results = [ops.convert_to_numpy(one) for one in ([found] if second else found)]
    names = ("outputs", *(f"{STATE}{i}" for i in range(len(results) - 1)))
    return {name: storable(array) for name, array in zip(names, results, strict=True)}


def layer_described(request: Message, return_state: bool) -> Any:
    """Keras's layer that a message describes, without its weights."""
    from keras import layers

    arguments = {
        name.removeprefix(OPTION): value.item()
        for name, value in request.items()
        if name.startswith(OPTION)
    }
    # Zeros, because Keras's default for the recurrent kernel does not exist in all dtypes.
    zeros = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
    returned = {"return_sequences": True, "return_state": return_state}
    kind = getattr(layers, str(request["layer_class"]))
    return kind(**arguments, **zeros, **returned, dtype=str(request["dtype"]))


def assign_weights(layer: Any, request: Message) -> None:
    """Give a layer the weights that a message holds."""
    for name in request.keys() & set(WEIGHTS):
        getattr(layer.cell, name).assign(request[name])


def storable(array: NDArray[Any]) -> NDArray[Any]:
    """`array` in a dtype that a `.npz` archive knows; float32 has all numbers of bfloat16."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


if __name__ == "__main__":
    main()
