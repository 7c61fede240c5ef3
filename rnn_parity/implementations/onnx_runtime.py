"""A layer that was exported to ONNX, run by ONNX Runtime."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_parity.errors import InputError
from rnn_parity.implementations.onnx_activations import of_runtime
from rnn_parity.implementations.onnx_graph import operators, other_parts, time_first
from rnn_parity.implementations.onnx_match import (
    FILLED,
    Port,
    answer,
    feeds,
    filled,
    named,
    orders,
)
from rnn_parity.implementations.onnx_model import (
    dtype_of,
    package,
    read_model,
    run,
    runtime_name,
    session,
)
from rnn_parity.implementations.request import Answer, Implementation, Request

SOURCE = re.compile(r"(?P<path>.+?\.onnx)(?:#(?P<part>.+))?", re.IGNORECASE)


def implementation(source: str) -> Implementation:
    """The model in an `.onnx` file as an implementation of one layer.

    `source` is its path, followed by `#NAME` for the only one of its outputs that is to be
    compared, or `#NAME,NAME`. Its inputs are the layer's inputs, batch first or time first, and
    where it takes them the initial states and the mask (or the lengths of the sequences); its
    outputs the sequence or the last output, and any final states. Raises `InputError` for a file
    that ONNX Runtime cannot load, and when called for inputs and outputs that are not the layer's;
    `MissingPackageError` without the extra `onnx`.
    """
    match = SOURCE.fullmatch(source)
    path, part = match.group("path", "part") if match else (source, None)
    return of_model(read_model(path), f"ONNX model {path!r}", path, part)


def of_content(content: bytes, where: str) -> Implementation:
    """The same of a model in memory, which has all of its data in it; `where` begins messages."""
    return of_model(package("onnx").ModelProto.FromString(content), where)


def required(where: str) -> None:
    """Raise `MissingPackageError` without ONNX Runtime and `onnx`."""
    package("onnx")
    package("onnxruntime")


def of_model(model: Any, where: str, path: str = "", part: str | None = None) -> Implementation:
    """An `onnx.ModelProto` as an implementation of one layer; its output `part` alone, if given."""
    loaded, hint = session(model, where), time_first(model.graph)
    ports = [port_of(value) for value in loaded.get_inputs()]
    names = [value.name for value in loaded.get_outputs()]
    runtime, inside = f"{runtime_name()} on the CPU", set(operators(model.graph))

    def compute(request: Request) -> Answer:
        fed = feeds(request, ports, hint)
        if fed is None:
            raise InputError(f"{where}: {misfit(request, ports)}")
        computed = dict(zip(names, run(loaded, fed.arrays, where), strict=True))
        found = answer(request, named(computed, part, where), fed.time_first)
        if found is None:
            raise InputError(f"{where}: {others(request, computed)}")
        if part is None:
            beside = other_parts(model.graph, both=bool(request.side_by_side))
            chosen = f"{path}#{found.part}" if path and found.part else ""
            found = replace(found, left_out=(*found.left_out, *beside), part=chosen)
        layer, losses = of_runtime(request.layer, inside)
        notes = (runtime, *losses, *fed.notes, *found.notes)
        if fed.by_length and found.outputs.ndim == 3:
            whole = filled(request, found.outputs)
            if whole is not None:
                found, notes = replace(found, outputs=whole), (*notes, FILLED)
        return replace(found, notes=notes, layer=layer)

    return compute


def port_of(value: Any) -> Port:
    """An input as ONNX Runtime describes it."""
    shape = tuple(n if isinstance(n, int) else None for n in value.shape or ())
    return Port(value.name, shape, dtype_of(value.type))


def misfit(request: Request, ports: list[Port]) -> str:
    """What the layer is given and what the model takes, side by side."""
    shape = request.inputs.shape
    states = request.layer.STATES if request.initial_state is not None else ()
    state = f"({shape[0]}, {request.layer.units})"
    wanted = ", ".join((f"inputs {shape}", *(f"initial {name} {state}" for name in states)))
    received = ", ".join(map(str, ports)) or "none"
    advice = "export the layer alone, with its states as inputs where it is given any"
    sized = (port for port in ports if len(port.shape) == 3 and port.shape[2] in (None, shape[2]))
    if any(not orders(port, shape) for port in sized):
        advice = "export it with open batch and time axes, or check with --batch and --timesteps"
    return f"expected the layer's inputs, {wanted}, received {received}; {advice}"


def others(request: Request, outputs: dict[str, Any]) -> str:
    """What the layer gives and what the model gave, side by side."""
    batch, timesteps, _ = request.inputs.shape
    state = f"({batch}, {request.units})"
    received = ", ".join(f"{name} {np.shape(array)}" for name, array in outputs.items())
    return (
        f"expected the layer's outputs ({batch}, {timesteps}, {request.units}), or the last "
        f"one {state}, and final states {state}, received {received}; export the layer alone, or "
        "name its output: FILE#NAME"
    )
