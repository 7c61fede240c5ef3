"""Check the recurrent operators of an ONNX model against their own weights, without Keras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from rnn_parity.api.examination import examine
from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.onnx.graph import Operator, complete_feeds, exposed
from rnn_parity.implementations.onnx.model import (
    check_sizes,
    read_model,
    run_session,
    runtime_name,
    session,
)
from rnn_parity.implementations.onnx.operators import Direction, as_runtime_computes, directions
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.report.report import Report
from rnn_parity.verdict.judge import Observations
from rnn_parity.verdict.results import Check, Subject


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
    return Report(tuple(check for one in chosen for check in checks(one, arrays, path)))


def checks(operator: Operator, arrays: Mapping[str, NDArray[Any]], path: str) -> Iterator[Check]:
    """One check for each direction of an operator; or why there is none."""
    own = {name: arrays[tensor] for name, tensor in operator.tensors.items()}
    reason, parts = operator.not_compared, []
    if reason is None:
        try:
            parts = directions(operator.op_type, operator.attributes, own)
        except UnsupportedError as error:
            reason = str(error)
    subject = Subject(
        kind="model",
        path=path,
        layer_class=operator.op_type,
        layer_name=operator.name,
        config=operator.attributes,
        against=runtime_name(),
    )
    if reason is not None:
        yield Check(subject, "inconclusive", f"not compared: {reason}")
    for part in parts:
        name = f"{operator.name}/{part.name}" if len(parts) > 1 else operator.name
        yield direction_check(part, replace(subject, layer_name=name))


def direction_check(part: Direction, subject: Subject) -> Check:
    """One direction held against its replay."""
    layer, notes = as_runtime_computes(part.layer, {subject.layer_class})
    sequences = Sequences.of(layer, part.inputs, part.mask, part.initial_state)
    check = examine(layer, sequences, Observations(part.outputs, part.final_state), subject)
    return replace(check, notes=(*check.notes, *notes))
