"""The recurrent operators in an ONNX graph: where they are, and how to see what they compute.

What a model's inputs are given, where nothing else is, is random and fits them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.onnx.model import brief, dtype_of, package, subgraphs
from rnn_parity.implementations.onnx.operators import INPUTS, OUTPUTS, directions
from rnn_parity.recurrence.layer_call import LayerCall

LOOPS = {"Loop": 1, "Scan": 0}
"""The operators with a body, and how many outputs it has before those that are carried."""
RANKS = {"sequence_lens": 1, "B": 2, "P": 2, "Y": 4}
"""How many axes the tensors of a recurrent operator have, where not three."""
FAMILIES = ("RNN", "LSTM", "GRU")
"""What is in the names of recurrent operators, other libraries' too."""
Array = NDArray[Any]
Given = Array | Mapping[str, Array] | None
LIKE = {"batch": "batch", "timesteps": "timesteps"}
"""What an open axis counts, by its name."""


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

    What is recurrent and not ONNX's own operator at the top of the graph is among them, as not
    compared. Raises `InputError` for an invalid model.
    """
    copy = accepted(package("onnx.inliner").inline_local_functions, model, where)
    inferred = accepted(package("onnx.shape_inference").infer_shapes, copy, where)
    kinds = element_types(inferred.graph)
    del copy.graph.output[:]
    operators: list[Operator] = []
    try:
        for k, node in enumerate(list(copy.graph.node)):
            if is_standard(node):
                operators.append(expose(copy.graph, node, k, kinds))
            else:
                operators += not_compared(node, node.name or f"{node.op_type}_{k}")
    except (UnicodeDecodeError, TypeError):  # protobuf gives bytes where there is no text
        raise InputError(
            f"{where}: its names are no text: it is damaged; export it again"
        ) from None
    if copy.graph.output:
        accepted(package("onnx.checker").check_model, copy, where)
    return copy, operators


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


def time_first(graph: Any) -> dict[str, bool]:
    """Whether the first axis is time, for every input that reaches X of a recurrent operator.

    Followed through nodes that only move axes.
    """
    found = {}
    for name in (value.name for value in graph.input):
        axes: dict[str, tuple[int, ...]] = {name: (0, 1, 2)}
        for node in graph.node:
            source = axes.get(node.input[0]) if node.input else None
            if source is None:
                continue
            if is_standard(node):
                found[name] = source[1 if attributes_of(node).get("layout") else 0] == 0
            elif node.op_type in ("Identity", "Cast"):
                axes[node.output[0]] = source
            elif node.op_type == "Transpose":
                order = attributes_of(node).get("perm", (2, 1, 0))
                axes[node.output[0]] = tuple(source[i] for i in order if i < 3)
    return found


def complete_feeds(
    graph: Any,
    inputs: Sequence[Any],
    given: Given,
    batch: int,
    timesteps: int,
    seed: int,
    check: Callable[[Mapping[str, Sequence[int]]], None] = lambda shapes: None,
) -> dict[str, Array]:
    """An array for each of a session's `inputs`, by name; what is not `given` is random.

    `given` holds arrays by name, or is the array for the only input. `batch` and `timesteps` fill
    the open axes that nothing given settles; axes of one name have one size. `check` is given the
    shapes of all of them before anything is made up. Raises `InputError` for an unknown name, an
    array that does not fit, one without a name where there are several inputs, and for what cannot
    be made up.
    """
    if given is not None and not isinstance(given, Mapping):
        if len(inputs) > 1:
            raise InputError(
                f"inputs: the model takes {described(inputs)}; say which one it is for"
            )
        given = {value.name: given for value in inputs}
    given, known = dict(given or {}), [value.name for value in inputs]
    for name in given:
        if name not in known:
            raise InputError(f"inputs: expected some of {described(inputs)}, received {name!r}")
    shapes, like = named_axes(graph, inputs)
    sizes = {"batch": batch, "timesteps": timesteps}
    arrays = {}
    for value in (value for value in inputs if value.name in given):
        array = arrays[value.name] = fitting(value, given[value.name])
        for axis, n in zip(shapes[value.name], array.shape, strict=True):
            if not isinstance(axis, int):
                sizes |= {axis: n, like[axis]: n}
    rng = np.random.default_rng(seed)
    settled = {
        name: [a if isinstance(a, int) else sizes.get(a, sizes[like[a]]) for a in axes]
        for name, axes in shapes.items()
    }
    check(settled)
    for value in inputs:
        if value.name not in arrays:
            shape = settled[value.name]
            arrays[value.name] = random_array(graph, value, shape, sizes["timesteps"], rng)
    return arrays


def described(inputs: Sequence[Any]) -> str:
    """The inputs of a session in words: names, types and shapes."""
    return ", ".join(f"{value.name} {value.type} {tuple(value.shape)}" for value in inputs)


def named_axes(
    graph: Any, inputs: Sequence[Any]
) -> tuple[dict[str, list[int | str]], dict[str, str]]:
    """The axes of every input, sizes or names; and what each name counts, "batch" or "timesteps".

    The first open axis counts samples and the others timesteps, unless the input is time first.
    """
    starts_with_time, shapes, like = time_first(graph), {}, dict(LIKE)
    for value in inputs:
        shape: list[int | str] = list(value.shape)
        open_ = [i for i, axis in enumerate(shape) if not isinstance(axis, int)]
        counts = ["batch", *["timesteps"] * len(open_)]
        if starts_with_time.get(value.name) and 0 in open_:
            counts = ["timesteps", "batch"]
        if len(open_) > len(counts):
            raise InputError(
                f"input {value.name!r}: expected timesteps and batch to be open alone, received "
                f"shape {tuple(shape)}; export it with its features"
            )
        for i, what in zip(open_, counts, strict=False):
            shape[i] = shape[i] or what
            like.setdefault(str(shape[i]), what)
        shapes[value.name] = shape
    return shapes, like


def fitting(value: Any, array: Array) -> Array:
    """`array` in the dtype of the input `value`; `InputError` when its shape is another."""
    dtype, shape = dtype_of(value.type), value.shape
    fits = len(shape) == np.ndim(array) and all(
        n == axis or not isinstance(axis, int)
        for n, axis in zip(np.shape(array), shape, strict=True)
    )
    if dtype is None or not fits:
        raise InputError(
            f"input {value.name!r}: expected {value.type} of shape {tuple(shape)}, received shape "
            f"{np.shape(array)}"
        )
    with np.errstate(invalid="ignore"):  # NaN is no integer, which is said below
        found = np.ascontiguousarray(array, dtype)
    if dtype.kind in "iub" and not np.array_equal(found, array):
        raise InputError(
            f"input {value.name!r}: expected whole numbers, as {value.type} holds them"
        )
    return found


def random_array(
    graph: Any, value: Any, shape: Sequence[int], timesteps: int, rng: np.random.Generator
) -> Array:
    """Normal numbers; for integers what a table or a sequence has room for, else 0 and 1."""
    dtype = dtype_of(value.type)
    if dtype is None or dtype.kind not in "fiub":
        raise InputError(
            f"input {value.name!r}: cannot make up values of {value.type}; pass them by its name"
        )
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if is_length(graph, value.name):
        return rng.integers(1, timesteps + 1, shape).astype(dtype)
    return rng.integers(0, table_size(graph, value.name), shape).astype(dtype)


def is_length(graph: Any, name: str) -> bool:
    """Whether the input goes to a recurrent operator as the lengths of the sequences."""
    place = INPUTS["RNN"].index("sequence_lens")
    return any(is_standard(node) and name in node.input[place : place + 1] for node in graph.node)


def table_size(graph: Any, name: str) -> int:
    """The rows of the smallest table in which the input is looked up; 2 without one."""
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    readers = (node for node in graph.node if node.op_type == "Gather" and node.input[1] == name)
    return int(min((rows[node.input[0]] for node in readers if node.input[0] in rows), default=2))
