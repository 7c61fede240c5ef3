"""The recurrent operators in an ONNX graph: where they are, and how to see what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.onnx.model import brief, package, subgraphs
from rnn_parity.implementations.onnx.operators import INPUTS, OUTPUTS, directions
from rnn_parity.recurrence.layer_call import LayerCall

LOOPS = {"Loop": 1, "Scan": 0}
"""The operators with a body, and how many outputs it has before those that are carried."""
RANKS = {"sequence_lens": 1, "B": 2, "P": 2, "Y": 4}
"""How many axes the tensors of a recurrent operator have, where not three."""
FAMILIES = ("RNN", "LSTM", "GRU")
"""What is in the names of recurrent operators, other libraries' too."""


@dataclass(frozen=True)
class Operator:
    """A recurrent operator; `tensors` says which of the model's outputs each of its tensors is.

    It has none where `not_compared` gives a reason.
    """

    op_type: str
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    not_compared: str | None = None


def exposed(model: Any, where: str) -> tuple[Any, list[Operator]]:
    """A copy of `model` whose outputs are the tensors of its recurrent operators, and these.

    Its functions are inlined already. What is recurrent and not ONNX's own operator at the top of
    the graph is among them, as not compared. Raises `InputError` for an invalid model.
    """
    copy = package("onnx").ModelProto()
    copy.CopyFrom(model)
    inferred = accepted(package("onnx.shape_inference").infer_shapes, copy, where)
    kinds = element_types(inferred.graph)
    del copy.graph.output[:]
    operators: list[Operator] = []
    with readable_names(where):
        for k, node in enumerate(list(copy.graph.node)):
            if is_standard(node):
                operators.append(expose(copy.graph, node, k, kinds))
            else:
                operators += not_compared(node, node.name or f"{node.op_type}_{k}")
    if copy.graph.output:
        accepted(package("onnx.checker").check_model, copy, where)
    return copy, operators


@contextmanager
def readable_names(where: str) -> Iterator[None]:
    """Names of a damaged model that are no text, met in this block, as an `InputError`."""
    try:
        yield
    except (UnicodeDecodeError, TypeError):  # protobuf gives bytes where there is no text
        raise InputError(
            f"{where}: its names are no text: it is damaged; export it again"
        ) from None


def tapped(model: Any) -> Any:
    """A copy of `model` that has an output for every tensor at its top.

    Its functions are inlined already. What a loop carries from one iteration to the next is stacked
    along a first axis, as a tensor "LOOP/each/NAME".
    """
    copy = package("onnx").ModelProto()
    copy.CopyFrom(model)
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


def accepted(job: Callable[[Any], Any], model: Any, where: str) -> Any:
    """What a function of ONNX's makes of `model`; `InputError` when it refuses it."""
    try:
        return job(model)
    except Exception as error:  # of many classes, for whatever a file may hold
        raise InputError(f"{where}: ONNX refuses it: {brief(error)}") from None


def is_standard(node: Any) -> bool:
    """Whether it is one of ONNX's own recurrent operators."""
    return node.op_type in INPUTS and node.domain in ("", "ai.onnx")


def operator_types(graph: Any) -> Iterator[str]:
    """The types of the recurrent operators in a graph and in the bodies of its nodes."""
    for node in graph.node:
        if is_standard(node):
            yield node.op_type
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                yield from operator_types(inner)


def attributes_of(node: Any) -> dict[str, Any]:
    """The attributes of a node, text decoded."""
    value = package("onnx").helper.get_attribute_value
    found = {attribute.name: value(attribute) for attribute in node.attribute}
    return {name: decoded(value) for name, value in found.items()}


def decoded(value: Any) -> Any:
    """An attribute's value, with text for bytes."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [decoded(one) for one in value]
    return value


def element_types(graph: Any) -> dict[str, int]:
    """ONNX's element type of every tensor whose type is known."""
    values = (*graph.input, *graph.value_info, *graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    return kinds | {tensor.name: tensor.data_type for tensor in graph.initializer}


def expose(graph: Any, node: Any, k: int, kinds: dict[str, int]) -> Operator:
    """Make every tensor of `node` an output of `graph`, by an Identity."""
    onnx, names = package("onnx"), OUTPUTS[node.op_type]
    node.output.extend([""] * (len(names) - len(node.output)))
    for i, name in enumerate(names):
        node.output[i] = node.output[i] or f"rnn_parity_{k}_own_{name}"
    own = dict(zip(INPUTS[node.op_type], node.input, strict=False))
    own |= dict(zip(names, node.output, strict=False))
    own = {name: tensor for name, tensor in own.items() if tensor}
    number = next(filter(None, (kinds.get(own[name]) for name in "XWR")), onnx.TensorProto.FLOAT)
    tensors = {}
    for name, tensor in own.items():
        kind = onnx.TensorProto.INT32 if name == "sequence_lens" else number
        tensors[name] = f"rnn_parity_{k}_{name}"
        graph.node.append(onnx.helper.make_node("Identity", [tensor], [tensors[name]]))
        shape = [None] * RANKS.get(name, 3)
        graph.output.append(onnx.helper.make_tensor_value_info(tensors[name], kind, shape))
    name = node.name or f"{node.op_type}_{k}"
    return Operator(node.op_type, name, attributes_of(node), tensors)


def in_layout_0(model: Any) -> Any:
    """A copy of `model` that computes the same, without operators of layout 1 at its top.

    Each of them, which has samples first, is one of layout 0 between transpositions.
    """
    copy = package("onnx").ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    for k, node in enumerate(nodes):
        is_other = is_standard(node) and is_batch_first(node)
        copy.graph.node.extend(transposed(node, k) if is_other else [node])
    return copy


def transposed(node: Any, k: int) -> list[Any]:
    """An operator of layout 1, at place `k`, as one of layout 0 between transpositions."""
    make, copy = package("onnx").helper.make_node, package("onnx").NodeProto()
    copy.CopyFrom(node)
    kept = [attribute for attribute in node.attribute if attribute.name != "layout"]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    before, after = [], []
    for i, (role, name) in enumerate(zip(INPUTS[node.op_type], node.input, strict=False)):
        if name and role in ("X", "initial_h", "initial_c"):
            copy.input[i] = f"rnn_parity_{k}_layout_0_{role}"
            before.append(make("Transpose", [name], [copy.input[i]], perm=(1, 0, 2)))
    for i, (role, name) in enumerate(zip(OUTPUTS[node.op_type], node.output, strict=False)):
        if name:
            copy.output[i] = f"rnn_parity_{k}_layout_0_{role}"
            perm = (2, 0, 1, 3) if role == "Y" else (1, 0, 2)
            after.append(make("Transpose", [copy.output[i]], [name], perm=perm))
    return [*before, copy, *after]


def not_compared(node: Any, name: str) -> Iterator[Operator]:
    """What is recurrent in `node`, no recurrent operator of ONNX's own, and in its body."""
    found = []
    for attribute in node.attribute:
        for inner in (inner for graph in subgraphs(attribute) for inner in graph.node):
            inner_name = f"{name}/{inner.name or inner.op_type}"
            if is_standard(inner):
                why = f"it is in the body of {node.op_type} {name}, whose steps are not seen"
                found.append(Operator(inner.op_type, inner_name, not_compared=why))
            else:
                found += not_compared(inner, inner_name)
    yield from found
    if any(family in node.op_type for family in FAMILIES):
        why = f"{node.domain or 'onnx'}.{node.op_type} is not one of ONNX's own operators"
        yield Operator(node.op_type, name, not_compared=why)
    if node.op_type in LOOPS and not found:
        why = "the weights in a loop have no names: check it against its Keras layer with --against"
        yield Operator(node.op_type, name, not_compared=why)


def other_parts(graph: Any, both: bool) -> Iterator[str]:
    """What is recurrent in a graph and does not reach what it computes as the answer, in words.

    That is an operator that no output is computed from; and unless `both` directions are asked for,
    one of those of a bidirectional operator.
    """
    needed = {value.name for value in graph.output}
    for k, node in reversed(list(enumerate(graph.node))):
        own = node.name or f"{node.op_type}_{k}"
        recurrent = is_standard(node) or any(
            True
            for attribute in node.attribute
            for g in subgraphs(attribute)
            for _ in operator_types(g)
        )
        if not needed.isdisjoint(node.output):
            needed.update(read_by(node))
            if is_standard(node) and not both and is_bidirectional(node):
                yield f"one direction of the operator {own}"
        elif recurrent:
            yield f"the operator {own}, which reaches no output"


def is_bidirectional(node: Any) -> bool:
    """Whether a recurrent operator runs in both directions."""
    return attributes_of(node).get("direction") == "bidirectional"


def read_by(node: Any) -> Iterator[str]:
    """The names of all tensors that a node reads, those of its bodies too."""
    yield from node.input
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from read_by(inner)


def nodes_inside(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and those of their bodies, in the order in which they run."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                yield from nodes_inside(inner)


def origins(graph: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The input of the graph, and its axes, that each tensor is, where only axes were moved."""
    found = {
        value.name: (value.name, tuple(range(len(value.type.tensor_type.shape.dim))))
        for value in graph.input
    }
    for node in nodes_inside(graph):
        if not node.input or node.input[0] not in found:
            continue
        name, axes = found[node.input[0]]
        if node.op_type in ("Identity", "Cast"):
            found[node.output[0]] = name, axes
        elif node.op_type == "Transpose":
            order = attributes_of(node).get("perm") or range(len(axes))[::-1]
            if sorted(order) == [*range(len(axes))]:
                found[node.output[0]] = name, tuple(axes[i] for i in order)
    return found


def time_first(graph: Any) -> dict[str, bool]:
    """Whether the first axis is time, for every input that reaches X of a recurrent operator.

    Followed through nodes that only move axes.
    """
    found, known = {}, origins(graph)
    for node in filter(is_standard, nodes_inside(graph)):
        name, axes = known.get(node.input[0], ("", ()))
        if len(axes) == 3:
            found[name] = axes[1 if is_batch_first(node) else 0] == 0
    return found


def is_batch_first(node: Any) -> bool:
    """Whether the samples are the first axis of a recurrent operator's tensors."""
    return bool(attributes_of(node).get("layout"))
