"""What passed through the recurrent operators of an ONNX model when ONNX Runtime ran it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.onnx.branches import with_taken_branches
from rnn_parity.implementations.onnx.feeds import Given, complete_feeds
from rnn_parity.implementations.onnx.graph import (
    Operator,
    accepted,
    exposed,
    in_layout_0,
    is_standard,
    operator_types,
    readable_names,
)
from rnn_parity.implementations.onnx.model import (
    check_sizes,
    package,
    read_model,
    run_session,
    session,
)
from rnn_parity.implementations.onnx.operators import (
    DIRECTIONS,
    as_runtime_computes,
    check_clip,
    directions,
)
from rnn_parity.recurrence.layer_call import LayerCall, not_compared

LAYOUT = "ONNX Runtime has no layout 1: it ran the operators in layout 0, between transpositions"


class Runs:
    """Runs of a model and of what is made of it, all of them from the same inputs.

    Inputs that are not `given` are random, as in `complete_feeds`, and made once.
    """

    def __init__(self, where: str, given: Given, batch: int, timesteps: int, seed: int) -> None:
        self.where, self.given, self.sizes = where, given, (batch, timesteps, seed)
        self.feeds: dict[str, NDArray[Any]] | None = None

    def __call__(self, model: Any) -> dict[str, NDArray[Any]]:
        """The outputs of `model` by name; raises `InputError` where it cannot be run."""
        loaded = session(in_layout_0(model), self.where)
        if self.feeds is None:
            check = partial(check_sizes, model, where=self.where)
            self.feeds = complete_feeds(model, loaded.get_inputs(), self.given, *self.sizes, check)
        names = [value.name for value in loaded.get_outputs()]
        return dict(zip(names, run_session(loaded, self.feeds, self.where), strict=True))


@dataclass(frozen=True, eq=False)
class ObservedModel:
    """The calls of a model's recurrent operators, two of a bidirectional one; notes on the run.

    `names` are those of all calls in the model, in their order, chosen or not. `inputs` is what the
    model was given, by name; empty where nothing was run.
    """

    calls: tuple[LayerCall, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def observed_model(
    path: str,
    inputs: Given = None,
    layer_name: str | None = None,
    batch: int = 32,
    timesteps: int = 28,
    seed: int = 0,
) -> ObservedModel:
    """Run the model in the file `path`; `inputs` and sizes are as in `complete_feeds`.

    `layer_name` selects an operator, or one direction of it, "cell/backward". Raises `InputError`
    for a file that is no model or cannot be run, and for a name that nothing has.
    """
    where = f"ONNX model {path!r}"
    run = Runs(where, inputs, batch, timesteps, seed)
    model = accepted(package("onnx.inliner").inline_local_functions, read_model(path), where)
    with readable_names(where):
        model, notes = with_taken_branches(model, run)
    model, operators = exposed(model, where)
    chosen = [one for one in operators if layer_name in (None, one.name, *names_of(one))]
    names = tuple(name for one in operators for name in names_of(one))
    if operators and not chosen:
        known = ", ".join(dict.fromkeys(names))
        raise InputError(f"--layer-name: expected one of {known}, received {layer_name!r}")
    for one in chosen:
        check_clip(one.op_type, one.attributes)
    arrays = run(model) if model.graph.output else {}
    calls = [call for one in chosen for call in operator_calls(one, arrays)]
    if layer_name in {call.layer_name for call in calls}:
        calls = [call for call in calls if call.layer_name == layer_name]
    if isinstance(inputs, Mapping) and (rest := [n for n in run.feeds or () if n not in inputs]):
        notes += (f"{path}: not given, and random: {', '.join(rest)}",)
    notes += (LAYOUT,) if any(one.attributes.get("layout") for one in chosen) else ()
    return ObservedModel(tuple(calls), names, notes, run.feeds or {})


def has_operators(path: str) -> bool:
    """Whether one of ONNX's recurrent operators is anywhere in the model in the file `path`."""
    model = read_model(path)
    inside = (node for one in model.functions for node in one.node)
    return any(map(is_standard, inside)) or any(True for _ in operator_types(model.graph))


def names_of(operator: Operator) -> list[str]:
    """What the calls of an operator are named; one for each direction of a bidirectional one."""
    found = DIRECTIONS.get(operator.attributes.get("direction", "forward"), ())  # or refused later
    return [f"{operator.name}/{one}" for one in found] if len(found) > 1 else [operator.name]


def operator_calls(operator: Operator, arrays: Mapping[str, NDArray[Any]]) -> list[LayerCall]:
    """The call of each direction of an operator; one that is not compared where it is refused."""
    op_type, attributes, names = operator.op_type, operator.attributes, names_of(operator)
    reason, parts = operator.not_compared, []
    if reason is None:
        own = {name: arrays[tensor] for name, tensor in operator.tensors.items()}
        try:
            parts = directions(op_type, attributes, own)
        except UnsupportedError as error:
            reason = str(error)
    if reason is not None:
        return [not_compared(op_type, name, attributes, reason) for name in names]
    return [
        replace(part, layer_name=name, whole=operator.name)
        for name, part in zip(names, parts, strict=True)
    ]


def computed_by_runtime(call: LayerCall) -> LayerCall:
    """A call as ONNX Runtime computed it: its weights allow for what its operators lose."""
    if call.weights is None:
        return call
    weights, notes = as_runtime_computes(call.weights, {call.layer_class})
    return replace(call, weights=weights, notes=(*call.notes, *notes))


def counterparts(own: ObservedModel, path: str) -> Iterator[LayerCall]:
    """What the model in the file `path` computes from the inputs of `own`, as the calls of `own`.

    Operators that have the same names in both are counterparts, otherwise those at the same place.
    Each is judged by the weights in `own`, on what reached it in the other model. Raises
    `InputError` where the two models, or two counterparts, do not fit.
    """
    other = observed_model(path, inputs_of(path, own.inputs))
    if set(own.names) != set(other.names) and len(own.names) != len(other.names):
        ours, theirs = ", ".join(own.names), ", ".join(other.names) or "none"
        raise InputError(
            f"against {path!r}: expected the recurrent operators {ours}, received {theirs}; name "
            f"one of each: --layer-name, and an output as in --against {path}#NAME"
        )
    by_name = dict(zip(other.names, other.calls, strict=True))
    if set(own.names) != set(other.names):
        by_name = dict(zip(own.names, other.calls, strict=True))
    for call in own.calls:
        yield call if call.weights is None else counterpart(call, by_name[call.layer_name], path)


def inputs_of(path: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The `inputs` of one model as those of the model in `path`: by their names, or in order."""
    graph = read_model(path).graph
    constant = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in constant]
    if set(names) <= set(inputs):
        return {name: inputs[name] for name in names}
    if len(names) != len(inputs):
        raise InputError(
            f"against {path!r}: expected the inputs {', '.join(inputs)}, received "
            f"{', '.join(names) or 'none'}"
        )
    return dict(zip(names, inputs.values(), strict=True))


def counterpart(own: LayerCall, other: LayerCall, path: str) -> LayerCall:
    """The call `other`, to be judged by the weights of `own`."""
    ours, theirs = own.weights, other.weights
    if ours is None or theirs is None:
        reason = f"{other.layer_name} of {path}: {other.not_compared}"
        return replace(own, weights=None, not_compared=reason)
    if (ours.STATES, ours.features, ours.units) != (theirs.STATES, theirs.features, theirs.units):
        raise InputError(
            f"against {path!r}: expected for {own.layer_name} {described(own)}, received "
            f"{other.layer_name}, {described(other)}"
        )
    notes = [f"its counterpart in {path} is {other.layer_name}"]
    if own.inputs.shape == other.inputs.shape and own.inputs.size:
        moved = float(np.abs(own.inputs - other.inputs).max())
        notes += [f"what reached it there differs by at most {moved:.3g}"] if moved else []
    weights, losses = as_runtime_computes(ours, {other.layer_class})
    return replace(
        other,
        layer_class=own.layer_class,
        layer_name=own.layer_name,
        config=own.config,
        weights=weights,
        outputs=other.outputs[:, :: 1 if ours.go_backwards == theirs.go_backwards else -1],
        notes=(*notes, *losses),
    )


def described(call: LayerCall) -> str:
    """An operator's kind and sizes, in words."""
    layer = call.weights
    assert layer is not None
    return f"{call.layer_class} of {layer.features} features and {layer.units} units"
