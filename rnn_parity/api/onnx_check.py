"""Check the recurrent operators of an ONNX model against their own weights, without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from rnn_parity.api.judging import judged_call, subject_of
from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.onnx.graph import Operator, complete_feeds, exposed
from rnn_parity.implementations.onnx.model import (
    check_sizes,
    read_model,
    run_session,
    runtime_name,
    session,
)
from rnn_parity.implementations.onnx.operators import as_runtime_computes, directions
from rnn_parity.recurrence.layer_call import LayerCall, not_compared
from rnn_parity.report.report import Report


def check_onnx(
    path: str,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]] | None = None,
    *,
    layer_name: str | None = None,
    seed: int = 0,
    batch: int = 32,
    timesteps: int = 28,
) -> Report:
    """Hold what ONNX Runtime computes in every RNN, LSTM and GRU against the replay.

    `inputs` is the array for the model's first input, in the model's own order of axes, or arrays
    by name; the others are random, with `batch` and `timesteps` for their open axes. `layer_name`
    selects one operator. A bidirectional operator gives two checks; what is not replayed is named
    as not compared. Raises `InputError` for a file that is no model or cannot be run, and
    `MissingPackageError` without the extra `onnx`.
    """
    where = f"ONNX model {path!r}"
    model, operators = exposed(read_model(path), where)
    chosen = [operator for operator in operators if layer_name in (None, operator.name)]
    if not operators:
        return Report((), notes=(f"{path} has no recurrent operator",))
    if not chosen:
        names = ", ".join(operator.name for operator in operators)
        raise InputError(f"--layer-name: expected one of {names}, received {layer_name!r}")
    arrays: dict[str, NDArray[Any]] = {}
    if model.graph.output:
        loaded = session(model, where)
        check = partial(check_sizes, model, where=where)
        feeds = complete_feeds(
            model.graph, loaded.get_inputs(), inputs, batch, timesteps, seed, check
        )
        outputs = [value.name for value in loaded.get_outputs()]
        arrays = dict(zip(outputs, run_session(loaded, feeds, where), strict=True))
    calls = (call for one in chosen for call in operator_calls(one, arrays))
    return Report(
        tuple(judged_call(one, subject_of(one, "model", path, runtime_name())) for one in calls)
    )


def operator_calls(operator: Operator, arrays: Mapping[str, NDArray[Any]]) -> list[LayerCall]:
    """The call of each direction of an operator; one that is not compared where it is refused."""
    name, op_type, attributes = operator.name, operator.op_type, operator.attributes
    if operator.not_compared is not None:
        return [not_compared(op_type, name, attributes, operator.not_compared)]
    own = {name: arrays[tensor] for name, tensor in operator.tensors.items()}
    try:
        parts = directions(op_type, attributes, own)
    except UnsupportedError as error:
        return [not_compared(op_type, name, attributes, str(error))]
    calls = []
    for part in parts:
        assert part.weights is not None
        weights, notes = as_runtime_computes(part.weights, {op_type})
        own_name = f"{name}/{part.layer_name}" if len(parts) > 1 else name
        calls.append(replace(part, layer_name=own_name, weights=weights, notes=notes))
    return calls
