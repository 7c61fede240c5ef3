"""An ONNX model whose every tensor is an output, and what its loops carry in each iteration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from rnn_parity.errors import UnsupportedError
from rnn_parity.implementations.onnx.graph import accepted, attributes_of, is_standard
from rnn_parity.implementations.onnx.model import package, subgraphs
from rnn_parity.implementations.onnx.operators import INPUTS, OUTPUTS, directions
from rnn_parity.recurrence.layer_call import LayerCall

LOOPS = {"Loop": 1, "Scan": 0}
"""The operators with a body, and how many outputs it has before those that are carried."""


def tapped(model: Any, where: str) -> Any:
    """A copy of `model` that has an output for every tensor at its top.

    Functions are inlined. What a loop carries from one iteration to the next is stacked along a
    first axis, as a tensor "LOOP/each/NAME". Raises `InputError` for an invalid model.
    """
    copy = accepted(package("onnx.inliner").inline_local_functions, model, where)
    graph, value = copy.graph, package("onnx").ValueInfoProto
    for k, node in enumerate(graph.node):
        if node.op_type in LOOPS:
            stack_carried(node, node.name or f"{node.op_type}_{k}")
    known = {one.name for one in graph.output}
    for node in graph.node:
        for name in node.output:
            if name and name not in known:
                known.add(name)
                graph.output.append(value(name=name))  # the runtime knows its type
    return copy


def stack_carried(node: Any, name: str) -> None:
    """Let a loop return, for every iteration, what it changes and carries on."""
    (body,) = (graph for attribute in node.attribute for graph in subgraphs(attribute))
    first = LOOPS[node.op_type]
    carried = len(body.input) - (2 if node.op_type == "Loop" else scanned(node))
    helper, same = package("onnx").helper, handed_through(body)
    for old in list(body.output)[first : first + carried]:
        if old.name in same:
            continue
        new = package("onnx").ValueInfoProto()
        new.CopyFrom(old)
        new.name = f"{name}/each/{old.name}"
        body.node.append(helper.make_node("Identity", [old.name], [new.name]))
        body.output.append(new)
        node.output.append(new.name)


def handed_through(body: Any) -> set[str]:
    """What a body only hands on, such as weights, which are the same in every iteration."""
    same = {value.name for value in body.input}
    for node in body.node:
        if node.op_type == "Identity" and node.input[0] in same:
            same.update(node.output)
    return same


def scanned(node: Any) -> int:
    """How many inputs of a Scan are sequences."""
    return int(attributes_of(node)["num_scan_inputs"])


def operator_calls(model: Any, arrays: Mapping[str, NDArray[Any]]) -> Iterator[LayerCall]:
    """What each direction of the recurrent operators at the top of `model` computed.

    `arrays` are its tensors by name, those that are constant among them. An operator that is not
    replayed gives none.
    """
    for k, node in enumerate(model.graph.node):
        if is_standard(node):
            name = node.name or f"{node.op_type}_{k}"
            own = dict(zip(INPUTS[node.op_type], node.input, strict=False))
            own |= dict(zip(OUTPUTS[node.op_type], node.output, strict=False))
            try:
                found = directions(
                    node.op_type,
                    attributes_of(node),
                    {key: arrays[tensor] for key, tensor in own.items() if tensor in arrays},
                )
            except (UnsupportedError, KeyError):
                continue
            for call in found:
                side = f"/{call.layer_name}" if len(found) > 1 else ""
                yield LayerCall(**{**vars(call), "layer_name": f"{name}{side}"})
