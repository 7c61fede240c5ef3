"""`If` in an ONNX graph: the branch that is taken in a run, in place of the node.

So that what is recurrent in a branch is seen like anything else. The condition is computed first,
by a run of its own; a branch in a branch is taken in the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.implementations.onnx.graph import not_compared
from rnn_parity.implementations.onnx.model import package, subgraphs

BRANCHES = {True: "then_branch", False: "else_branch"}
Run = Callable[[Any], Mapping[str, NDArray[Any]]]
"""From a model to what it computes, by the names of its outputs; always of the same inputs."""


def with_taken_branches(model: Any, run: Run) -> tuple[Any, tuple[str, ...]]:
    """`model` without the `If` nodes in whose branches something is recurrent, and what was taken.

    Its functions are inlined already. Each such node is replaced by the nodes of the branch that
    `run` takes.
    """
    notes: list[str] = []
    for depth in count():
        if not (choices := recurrent_choices(model.graph)):
            break
        conditions = run(with_conditions(model, choices))
        taken = {k: bool(np.all(conditions[condition(k)])) for k in choices}
        notes += [told(choices[k], model.graph.node[k], taken[k]) for k in choices]
        model = inlined(model, choices, taken, f"rnn_parity_branch_{depth}")
    return model, tuple(notes)


def recurrent_choices(graph: Any) -> dict[int, str]:
    """The places of the `If` nodes of a graph in which something is recurrent, and their names."""
    named = {k: node.name or f"If_{k}" for k, node in enumerate(graph.node) if is_choice(node)}
    return {k: name for k, name in named.items() if any(not_compared(graph.node[k], name))}


def is_choice(node: Any) -> bool:
    """Whether it is an `If` of ONNX's own, with both branches."""
    names = {attribute.name for attribute in node.attribute if attribute.HasField("g")}
    return node.op_type == "If" and node.domain in ("", "ai.onnx") and {*BRANCHES.values()} <= names


def condition(k: int) -> str:
    """The name of the output that is the condition of the node at place `k`."""
    return f"rnn_parity_condition_{k}"


def with_conditions(model: Any, choices: Mapping[int, str]) -> Any:
    """A copy of `model` whose outputs are the conditions of these nodes."""
    onnx, copy = package("onnx"), package("onnx").ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for k in choices:
        source = copy.graph.node[k].input[:1]
        copy.graph.node.append(onnx.helper.make_node("Identity", source, [condition(k)]))
        kind = onnx.TensorProto.BOOL
        copy.graph.output.append(onnx.helper.make_tensor_value_info(condition(k), kind, None))
    return copy


def told(name: str, node: Any, taken: bool) -> str:
    """A sentence on the branch that was taken, and on what is recurrent in the other one."""
    other = [one.name for one in not_compared(branch(node, not taken, alone=True), name)]
    rest = f"; not run in its {BRANCHES[not taken]}: {', '.join(other)}" if other else ""
    return f"If {name}: its condition was {taken}, so that its {BRANCHES[taken]} ran{rest}"


def branch(node: Any, taken: bool, alone: bool = False) -> Any:
    """One branch of an `If`: its graph, or the node itself with that branch `alone`."""
    attribute = next(one for one in node.attribute if one.name == BRANCHES[taken])
    if not alone:
        return attribute.g
    copy = package("onnx").NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    copy.attribute.append(attribute)
    return copy


def inlined(model: Any, choices: Mapping[int, str], taken: Mapping[int, bool], prefix: str) -> Any:
    """A copy of `model` with the nodes of the branches that were `taken` in place of the `If`s.

    Names of tensors that come from a branch begin with `prefix`.
    """
    copy = package("onnx").ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    for k, node in enumerate(nodes):
        if k in choices:
            body = branch(node, taken[k])
            names = {own: f"{prefix}_{k}_{own}" for own in defined(body)}
            add_constants(copy.graph, body, names)
            copy.graph.node.extend(moved_up(body, node, choices[k], names))
        else:
            copy.graph.node.append(node)
    return copy


def add_constants(graph: Any, body: Any, names: Mapping[str, str]) -> None:
    """Add the constants of a branch to `graph`, with other names."""
    for tensor in body.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = names[tensor.name]
    for sparse in body.sparse_initializer:
        graph.sparse_initializer.add().CopyFrom(sparse)
        graph.sparse_initializer[-1].values.name = names[sparse.values.name]


def moved_up(body: Any, node: Any, name: str, names: Mapping[str, str]) -> Iterator[Any]:
    """The nodes of the branch `body` of `node`, the `If` called `name`, for the graph around it.

    What the branch defines gets other names, since a branch of another `If` may use the same; what
    it reads from the graph around it keeps its name.
    """
    for j, inner in enumerate(body.node):
        copy = renamed(inner, names)
        copy.name = f"{name}/{inner.name or f'{inner.op_type}_{j}'}"
        yield copy
    for value, target in zip(body.output, node.output, strict=False):
        if target:
            source = names.get(value.name, value.name)
            yield package("onnx").helper.make_node("Identity", [source], [target])


def defined(graph: Any) -> set[str]:
    """The names of the tensors that a graph defines itself."""
    own = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    return own | {name for node in graph.node for name in node.output if name}


def renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A copy of `node`, in its bodies too, with other names of tensors."""
    copy = package("onnx").NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for attribute in copy.attribute:
        for graph in subgraphs(attribute):
            rename_inside(graph, names)
    return copy


def rename_inside(graph: Any, names: Mapping[str, str]) -> None:
    """Rename what the body `graph` reads from outside; what it defines itself keeps its name."""
    own = defined(graph)
    outer = {old: new for old, new in names.items() if old not in own}
    nodes = [renamed(node, outer) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in graph.output:
        value.name = outer.get(value.name, value.name)
