"""Inputs that fit an ONNX model: those that are given, and random ones for the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.implementations.onnx_graph import is_standard, time_first
from rnn_parity.implementations.onnx_model import dtype_of
from rnn_parity.implementations.onnx_weights import INPUTS

Array = NDArray[Any]
Given = Array | Mapping[str, Array] | None
LIKE = {"batch": "batch", "timesteps": "timesteps"}
"""What an open axis counts, by its name."""


def complete(
    graph: Any,
    inputs: Sequence[Any],
    given: Given,
    batch: int,
    timesteps: int,
    seed: int,
    check: Callable[[Mapping[str, Sequence[int]]], None] = lambda shapes: None,
) -> dict[str, Array]:
    """An array for each of a session's `inputs`, by name; what is not `given` is random.

    `given` holds arrays by name, or is the array for the first input. `batch` and `timesteps` fill
    the open axes that nothing given settles; axes of one name have one size. `check` is given the
    shapes of all of them before anything is made up. Raises `InputError` for an unknown name, an
    array that does not fit, and for what cannot be made up.
    """
    if given is not None and not isinstance(given, Mapping):
        given = {value.name: given for value in inputs[:1]}
    given, known = dict(given or {}), [value.name for value in inputs]
    for name in given:
        if name not in known:
            raise InputError(f"inputs: expected some of {', '.join(known)}, received {name!r}")
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
    return np.ascontiguousarray(array, dtype)


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
