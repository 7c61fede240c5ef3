"""A layer that was exported to ONNX, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.implementations.onnx.branches import with_taken_branches
from rnn_parity.implementations.onnx.calls import Runs
from rnn_parity.implementations.onnx.graph import (
    accepted,
    operator_calls,
    operator_types,
    other_parts,
    readable_names,
    tapped,
    time_first,
)
from rnn_parity.implementations.onnx.model import (
    dtype_of,
    package,
    read_model,
    run_session,
    runtime_name,
    session,
)
from rnn_parity.implementations.onnx.operators import as_runtime_computes
from rnn_parity.implementations.ports import (
    FILLED,
    Port,
    answer_from_outputs,
    feeds,
    filled,
    inputs_misfit,
    named_outputs,
    outputs_misfit,
)
from rnn_parity.implementations.request import Answer, Implementation, Request, path_and_part
from rnn_parity.implementations.tensors import Tensors, nearness_of
from rnn_parity.implementations.whole_model import Export, Run


def implementation(source: str) -> Implementation:
    """The model in an `.onnx` file as an implementation of one layer.

    `source` is its path, followed by `#NAME` for the only one of its outputs that is to be
    compared, or `#NAME,NAME`. Its inputs are the layer's inputs, batch first or time first, and
    where it takes them the initial states and the mask (or the lengths of the sequences); its
    outputs the sequence or the last output, and any final states. Raises `InputError` for a file
    that ONNX Runtime cannot load, and when called for inputs and outputs that are not the layer's;
    `MissingPackageError` without the extra `onnx`.
    """
    path, part = path_and_part(source, "onnx")
    return of_model(read_model(path), f"ONNX model {path!r}", path, part)


def export(source: str) -> Export | None:
    """The model in an `.onnx` file as the export of a whole Keras model.

    None where one of its outputs is named, which is that of a single layer.
    """
    path, part = path_and_part(source, "onnx")
    where = f"ONNX model {path!r}"
    model = read_model(path)
    own = session(model, where)
    names = [value.name for value in own.get_outputs()]

    def run(arrays: Mapping[str, NDArray[Any]]) -> Run:
        runs = Runs(where, arrays, 1, 1, 0)
        plain = accepted(package("onnx.inliner").inline_local_functions, model, where)
        with readable_names(where):
            branched, _ = with_taken_branches(plain, runs)
            copy, inside = tapped(branched), set(operator_types(branched.graph))
        found = {**arrays, **arrays_alone(runs(copy))}
        to_array = package("onnx").numpy_helper.to_array
        weights = {one.name: to_array(one) for one in copy.graph.initializer}
        operators = list(operator_calls(copy, {**weights, **found}))
        return Run(
            Tensors(found, nearness_of((str(w.dtype), w.size) for w in weights.values())),
            {name: found[name] for name in names if name in found},
            operators,
            partial(as_runtime_computes, inside=inside),
        )

    ports = [port_of(value) for value in own.get_inputs()]
    return None if part else Export(where, ports, run, (f"{runtime_name()} on the CPU",))


def arrays_alone(computed: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The tensors among what a model computed: ONNX has sequences of them, and nothing, too."""
    return {name: value for name, value in computed.items() if isinstance(value, np.ndarray)}


def of_content(content: bytes, where: str) -> Implementation:
    """A model in memory, its data in it, as an implementation; `where` begins its messages."""
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
    runtime, inside = f"{runtime_name()} on the CPU", set(operator_types(model.graph))

    def compute(request: Request) -> Answer:
        fed = feeds(request, ports, hint)
        if fed is None:
            raise InputError(f"{where}: {inputs_misfit(request, ports)}")
        computed = dict(zip(names, run_session(loaded, fed.arrays, where), strict=True))
        found = answer_from_outputs(request, named_outputs(computed, part, where), fed.time_first)
        if found is None:
            raise InputError(f"{where}: {outputs_misfit(request, computed)}")
        if part is None:
            beside = other_parts(model.graph, both=bool(request.side_by_side))
            chosen = f"{path}#{found.part}" if path and found.part else ""
            found = replace(found, left_out=(*found.left_out, *beside), part=chosen)
        layer, losses = as_runtime_computes(request.layer, inside)
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
