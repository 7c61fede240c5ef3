"""What an ONNX model is given: arrays by name, and random ones that fit for the other inputs.

Sizes that the file fixes are used, those of constant states and lengths of sequences too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.implementations.onnx.graph import (
    is_batch_first,
    is_standard,
    nodes_inside,
    origins,
    time_first,
)
from rnn_parity.implementations.onnx.model import dtype_of, inferred_sizes, package, subgraphs
from rnn_parity.implementations.onnx.operators import INPUTS

Array = NDArray[Any]
Given = Array | Mapping[str, Array] | None
LIKE = {"batch": "batch", "timesteps": "timesteps"}
"""What an open axis counts, by its name."""
LENGTHS, STATES = INPUTS["RNN"].index("sequence_lens"), ("initial_h", "initial_c")


def complete_feeds(
    model: Any,
    inputs: Sequence[Any],
    given: Given,
    batch: int,
    timesteps: int,
    seed: int,
    check: Callable[[Mapping[str, Sequence[int]]], None] = lambda shapes: None,
) -> dict[str, Array]:
    """An array for each of a session's `inputs`, by name; what is not `given` is random.

    `given` holds arrays by name, or is the array for the only input. `batch` and `timesteps` fill
    the open axes that neither the model nor anything given settles; axes of one name have one size.
    `check` is given the shapes of all of them before anything is made up. Raises `InputError` for
    an unknown name, an array that does not fit, one without a name where there are several inputs,
    and for what cannot be made up.
    """
    graph = model.graph
    arrays = given_arrays(inputs, given)
    shapes, like = named_axes(graph, inputs)
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        for axis, n in zip(shapes[name], array.shape, strict=True):
            if not isinstance(axis, int):
                sizes |= {axis: n, like[axis]: n}
    settle(graph, shapes, arrays, sizes, timesteps)
    sizes = {"batch": batch, "timesteps": timesteps} | sizes
    settled = {
        name: [a if isinstance(a, int) else sizes.get(a, sizes[like[a]]) for a in axes]
        for name, axes in shapes.items()
    }
    check(settled)
    known = inferred_sizes(model, settled)
    rng = np.random.default_rng(seed)
    for value in inputs:
        if value.name not in arrays:
            longest = steps_of(graph, value.name, known, sizes["timesteps"])
            arrays[value.name] = random_array(graph, value, settled[value.name], longest, rng)
    return arrays


def given_arrays(inputs: Sequence[Any], given: Given) -> dict[str, Array]:
    """What is given by name, each in the dtype of its input; raises as `complete_feeds` does."""
    if given is not None and not isinstance(given, Mapping):
        if len(inputs) > 1:
            raise InputError(
                f"inputs: the model takes {described(inputs)}; say which one it is for"
            )
        given = {value.name: given for value in inputs}
    known = {value.name: value for value in inputs}
    for name in given or ():
        if name not in known:
            raise InputError(f"inputs: expected some of {described(inputs)}, received {name!r}")
    return {name: fitting(known[name], array) for name, array in (given or {}).items()}


def described(inputs: Sequence[Any]) -> str:
    """The inputs of a session in words: names, types and shapes."""
    return ", ".join(f"{value.name} {value.type} {tuple(value.shape)}" for value in inputs)


def settle(
    graph: Any,
    shapes: Mapping[str, Sequence[int | str]],
    arrays: Mapping[str, Array],
    sizes: dict[str, int],
    timesteps: int,
) -> None:
    """Add to `sizes` those of open axes that a recurrent operator must have as others have them.

    Its inputs, its initial states and the lengths of its sequences have one number of samples;
    there are `timesteps`, or as many as the longest of known lengths.
    """
    before = None
    while before != sizes:
        before = dict(sizes)
        for axes, longest in operator_axes(graph, shapes, arrays):
            for what, labels in axes.items():
                found = [n for n in (sizes.get(str(a), a) for a in labels) if isinstance(n, int)]
                if not found and what == "timesteps" and longest > timesteps:
                    found = [longest]
                for label in (*labels, what) if found else ():
                    if not isinstance(label, int):
                        sizes.setdefault(label, found[0])


def operator_axes(
    graph: Any, shapes: Mapping[str, Sequence[int | str]], arrays: Mapping[str, Array]
) -> Iterator[tuple[dict[str, list[int | str]], int]]:
    """Of every recurrent operator, what is known of its numbers of samples and timesteps.

    The sizes, or the names of the axes of the model's inputs that have them; and the longest of the
    lengths of its sequences, 0 where they are not known.
    """
    known, fixed = origins(graph), constants(graph)
    for node in filter(is_standard, nodes_inside(graph)):
        axes: dict[str, list[int | str]] = {"batch": [], "timesteps": []}
        longest = 0
        for role, tensor in zip(INPUTS[node.op_type], node.input, strict=False):
            places = counted(role, is_batch_first(node))
            name, moved = known.get(tensor, ("", ()))
            shape = [shapes[name][i] for i in moved] if name in shapes else fixed.get(tensor, ())
            for what, place in places.items():
                axes[what] += list(shape[place : place + 1])
            if role == "sequence_lens":
                lengths = arrays.get(name, constant(graph, tensor) if tensor in fixed else ())
                longest = int(max(np.ravel(lengths), default=0))
        yield axes, longest


def counted(role: str, batch_first: bool) -> dict[str, int]:
    """Which axis of an input of a recurrent operator counts samples, and which timesteps."""
    if role == "X":
        return {"batch": 0 if batch_first else 1, "timesteps": 1 if batch_first else 0}
    if role in STATES:
        return {"batch": 0 if batch_first else 1}
    return {"batch": 0} if role == "sequence_lens" else {}


def constant_tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    """The tensors that a graph and its bodies hold, by the names under which they are read."""
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                yield node.output[0], attribute.t
            for inner in subgraphs(attribute):
                yield from constant_tensors(inner)


def constants(graph: Any) -> dict[str, list[int]]:
    """The shape of every tensor that a graph and its bodies hold."""
    return {name: list(tensor.dims) for name, tensor in constant_tensors(graph)}


def constant(graph: Any, name: str) -> Array:
    """The tensor `name` that a graph or one of its bodies holds."""
    found = next(tensor for own, tensor in constant_tensors(graph) if own == name)
    array: Array = package("onnx").numpy_helper.to_array(found)
    return array


def steps_of(
    graph: Any, name: str, known: Mapping[str, Sequence[int]], timesteps: int
) -> int | None:
    """How many timesteps there are where the input `name` is the lengths of the sequences.

    `known` are the sizes of tensors, 0 where a size is open. None where it is something else.
    """
    moved, found = origins(graph), []
    for node in filter(is_standard, nodes_inside(graph)):
        lengths = next(iter(node.input[LENGTHS : LENGTHS + 1]), "")
        if moved.get(lengths, ("",))[0] == name:
            place = counted("X", is_batch_first(node))["timesteps"]
            found += [*known.get(node.input[0], ())][place : place + 1] or [0]
    return min((n or timesteps for n in found), default=None)


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
    graph: Any, value: Any, shape: Sequence[int], longest: int | None, rng: np.random.Generator
) -> Array:
    """Normal numbers; for integers what a table has room for, else 0 and 1.

    For lengths of sequences, numbers up to `longest`, which is None for anything else.
    """
    dtype = dtype_of(value.type)
    if dtype is None or dtype.kind not in "fiub":
        raise InputError(
            f"input {value.name!r}: cannot make up values of {value.type}; pass them by its name"
        )
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if longest is not None:
        return rng.integers(1, longest + 1, shape).astype(dtype)
    return rng.integers(0, table_size(graph, value.name), shape).astype(dtype)


def table_size(graph: Any, name: str) -> int:
    """The rows of the smallest table in which the input is looked up; 2 without one."""
    rows = {tensor: shape[0] for tensor, shape in constants(graph).items() if shape}
    readers = (
        node for node in nodes_inside(graph) if node.op_type == "Gather" and node.input[1] == name
    )
    return int(min((rows[node.input[0]] for node in readers if node.input[0] in rows), default=2))
