"""A model file that only Keras 2 can load: `tf_keras` runs it, in a process of its own.

A process has one Keras behind `tf.keras`. So this very package is started once more, with
TF_USE_LEGACY_KERAS=1, loads the model with the same checks of what is in the file, and observes
what passed through its recurrent layers. That comes back through a pipe as data, arrays and JSON
(`keras_backend.send`); nothing is unpickled. It is judged here, as anything else is.

That process is `python -m rnn_parity.implementations.legacy_keras`: this file from `main` on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import rnn_parity
from rnn_parity.cases.case import DATA, SEQUENCE_OPTIONS, activations_of
from rnn_parity.errors import InputError, one_line
from rnn_parity.implementations.keras_backend import (
    Child,
    Message,
    receive,
    send,
    storable,
)
from rnn_parity.implementations.python_function import custom_objects
from rnn_parity.keras_adapter.inputs import Given, data_of_calls, masks_for, refuse_fixed_sizes
from rnn_parity.keras_adapter.loading import load_model
from rnn_parity.keras_adapter.observing import (
    handed_arrays,
    observe_calls,
    reset_states,
    with_parts,
)
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.cells import KERAS_CELLS, WEIGHTS
from rnn_parity.recurrence.layer_call import LayerCall, Merge
from rnn_parity.system.environment import version_of
from rnn_parity.system.processes import time_limit

NAME = "tf_keras"
EXTRA = "pip install 'rnn-parity[legacy]'"
STATES = ("initial_state", "final_state")
SIDES = ("whole", "forward", "backward")
TEXTS = ("layer_class", "layer_name", "config", "mode", "call", "not_compared", "kernel", "notes")
"""What a call says beside its arrays, its weights and its merge."""
HIDDEN = "its {} is code, which cannot be handed over from the process of tf_keras"


@dataclass(frozen=True)
class Job:
    """A model file, and how to run it.

    `modes` are those in which it runs, `layer_name` picks a layer. `batch`, `timesteps` and `seed`
    make inputs up where none are given, for each of `calls`; `asked` are the batch and timesteps
    that a person asked for, None for others. `custom` names objects as "module:Name", which are
    imported from `folder` as well; with `safe_mode` nothing else that the file names is run.
    """

    path: str
    modes: Sequence[str]
    layer_name: str | None
    batch: int
    timesteps: int
    asked: Sequence[int | None]
    seed: int
    calls: int
    safe_mode: bool
    training: bool
    custom: Sequence[str]
    folder: str


def installed() -> str | None:
    """The version of tf_keras; None where it is not installed."""
    return version_of("tf_keras", "tf-keras")


def legacy_calls(job: Job, inputs: Given, mask: Given) -> list[LayerCall]:
    """What passed through the recurrent layers of a model that tf_keras runs.

    `inputs` and `mask` are what the model takes, by name where it takes several. Raises
    `InputError` with what tf_keras says where it refuses, `SourceFailedError` where its process
    crashes.
    """
    message: dict[str, ArrayLike] = {"job": json.dumps(vars(job))}
    for what, given in (("inputs", inputs), ("mask", mask)):
        named = given if isinstance(given, Mapping) else {} if given is None else {"": given}
        message |= {f"{what}/{name}": array for name, array in named.items()}
    child = LegacyChild(NAME, time_limit())
    try:
        answer = child.ask(message)
    finally:
        child.end()
    if "refused" in answer:
        raise InputError(str(answer["refused"]))
    return unpacked(answer)


class LegacyChild(Child):
    """The process with tf_keras."""

    def _start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "rnn_parity.implementations.legacy_keras"],
            cwd=Path(rnn_parity.__file__).parent.parent,
            env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )


def packed(calls: Sequence[LayerCall]) -> dict[str, ArrayLike]:
    """Calls as a message."""
    ready = [_without_code(call) for call in calls]
    message: dict[str, ArrayLike] = {"calls": json.dumps([_described(call) for call in ready])}
    for i, call in enumerate(ready):
        message |= {f"{i}/{name}": storable(a) for name, a in _arrays(call).items()}
    return message


def unpacked(message: Message) -> list[LayerCall]:
    """The calls in a message."""
    found = []
    for i, described in enumerate(json.loads(str(message["calls"]))):
        start = f"{i}/"
        own = {n.removeprefix(start): a for n, a in message.items() if n.startswith(start)}
        found.append(_call(described, own))
    return [one if one.merge is None else with_parts(one, found) for one in found]


def _without_code(call: LayerCall) -> LayerCall:
    """The call, not compared where a function of the user's own is part of what it computes."""
    if call.weights is None:
        return call
    hidden = [
        name
        for name, activation in activations_of(call.weights).items()
        if CATALOGUE.get(activation.name) is not activation
    ]
    if type(call.weights) not in KERAS_CELLS.values():
        hidden = ["cell"]
    if not hidden:
        return call
    return replace(call, weights=None, not_compared=HIDDEN.format(hidden[0]))


def _described(call: LayerCall) -> dict[str, Any]:
    """All of a call but its arrays, in JSON's types."""
    found = {name: getattr(call, name) for name in TEXTS}
    if call.weights is not None:
        activations = {n: one.name for n, one in activations_of(call.weights).items()}
        options = {name: getattr(call.weights, name) for name in call.weights.OPTIONS}
        sequence = {name: getattr(call.weights, name) for name in SEQUENCE_OPTIONS}
        found["cell"] = {
            "kind": type(call.weights).__name__,
            "options": {**options, **sequence, **activations, "dtype": call.weights.precision.name},
        }
    if call.merge is not None:
        found["merge"] = [call.merge.mode, call.merge.sequences, list(call.merge.states)]
    return found


def _arrays(call: LayerCall) -> dict[str, NDArray[Any]]:
    """All arrays of a call; several of one name are numbered."""
    found = {name: getattr(call, name) for name in DATA}
    if call.weights is not None:
        found |= {name: getattr(call.weights, name) for name in WEIGHTS}
    for name in STATES:
        found |= _numbered(name, getattr(call, name) or ())
    if call.merge is not None:
        for side in SIDES:
            handed = getattr(call.merge, side)
            found |= {f"{side}/{name}": getattr(handed, name) for name in ("inputs", "mask")}
            found |= _numbered(f"{side}/initial_state", handed.initial_state)
            found |= _numbered(f"{side}/returned", handed.returned)
    return {name: np.asarray(array) for name, array in found.items() if array is not None}


def _numbered(name: str, arrays: Iterable[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{name}_{i}": array for i, array in enumerate(arrays)}


def _call(described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LayerCall:
    """The call that `described` and its arrays say."""
    fields: dict[str, Any] = {name: described[name] for name in TEXTS}
    fields |= {name: arrays[name] for name in DATA if name in arrays}
    for name in STATES:
        states = tuple(arrays[f"{name}_{i}"] for i in range(2) if f"{name}_{i}" in arrays)
        fields |= {name: states} if states else {}
    weights, merge = None, None
    if cell := described.get("cell"):
        kind: Any = KERAS_CELLS[cell["kind"]]
        weights = kind(*(arrays.get(name) for name in WEIGHTS), **cell["options"])
    if found := described.get("merge"):
        merge = Merge(*found, *(handed_arrays(arrays, side) for side in SIDES))
    notes = tuple(described["notes"])
    return LayerCall(**{**fields, "notes": notes}, weights=weights, merge=merge)


def main() -> None:
    """Answer the one request on standard input."""
    # What Keras prints must not get among the answers.
    with os.fdopen(0, "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        request = receive(requests)
        if request is None:
            return
        try:
            answer: Mapping[str, ArrayLike] = packed(observed(request))
        except Exception as error:  # Keras refuses with any exception
            answer = {"refused": str(error) if isinstance(error, InputError) else one_line(error)}
        send(answers, answer)


def observed(request: Message) -> list[LayerCall]:
    """What the request asks for, in the Keras of this process."""
    job = Job(**json.loads(str(request["job"])))
    os.chdir(job.folder)
    model = load_model(job.path, job.safe_mode, custom_objects(job.custom))
    refuse_fixed_sizes(model, *job.asked)
    given = handed(request, "inputs")
    data = data_of_calls(model, given, job.batch, job.timesteps, job.seed, job.calls)
    mask, calls = masks_for(model, handed(request, "mask"), data), []
    for mode in job.modes:
        reset_states(model)
        calls += observe_calls(model, data.calls, mode, job.layer_name, mask, job.training)
    return calls


def handed(request: Message, what: str) -> Any:
    """The inputs or masks in a request: one array, arrays by name, or None."""
    start = f"{what}/"
    found = {n.removeprefix(start): a for n, a in request.items() if n.startswith(start)}
    return found.get("", found or None)


if __name__ == "__main__":
    main()
