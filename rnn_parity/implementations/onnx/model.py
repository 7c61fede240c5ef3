"""An ONNX file, read and run: what ONNX Runtime says is passed on in one line.

Needs the extra `onnx`. Everything runs on the CPU.
"""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, MissingPackageError
from rnn_parity.system.files import content, readable
from rnn_parity.system.limits import check_content, check_numbers

PROTOBUF = 2**31 - 1
"""What a protocol buffer, and so a model in memory, can hold."""
MOST_NODES = 10**6
"""The nodes of a model with its functions inlined; unrolled models of others have thousands."""
LONGEST = 300
"""How many characters of a message of ONNX or its runtime are shown: three lines of a terminal."""


def package(name: str) -> Any:
    """The module `name` of the extra; raises `MissingPackageError`."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPackageError(
            f"an ONNX model needs the package {name.partition('.')[0]}: "
            "pip install 'rnn-parity[onnx]'"
        ) from None


def runtime_name() -> str:
    """The runtime and its version."""
    return f"ONNX Runtime {package('onnxruntime').__version__}"


def read_model(path: str) -> Any:
    """The `onnx.ModelProto` in the file `path`, with its external data in it.

    External data is read from the model's own folder alone. Raises `InputError` for a file that
    cannot be read, is no ONNX model, or is one beyond the limit of one file.
    """
    onnx, where = package("onnx"), f"ONNX model {path!r}"
    try:
        with readable(where):
            model = onnx.ModelProto.FromString(content(path, where, "a .onnx file"))
            if not model.opset_import or not model.graph.node:
                raise ValueError("it holds no graph")
            check_nodes(model, where)
            embed(tensors(model), Path(path).parent, where)
    except InputError:
        raise
    except Exception:  # protobuf's own class of errors has moved between its releases
        raise InputError(
            f"{where}: expected an ONNX model, received another kind of file, or a truncated or "
            "damaged one; export it again"
        ) from None
    return model


def read_tensor(path: str, name: str) -> tuple[NDArray[Any], str]:
    """The real numbers in the file `path`, a `TensorProto` as ONNX's test data have them.

    And the tensor's own name. `name` is what the messages call the file. Raises `InputError` for a
    file that cannot be read or is no such tensor.
    """
    onnx, where = package("onnx"), f"{name} {path!r}"
    try:
        with readable(where):
            tensor = onnx.TensorProto.FromString(content(path, where, "a .pb file"))
            if tensor.external_data or not tensor.data_type:
                raise ValueError("its numbers are elsewhere, or there are none")
            check_numbers(math.prod(tensor.dims), where, "name a smaller file", "an array")
            array: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    except InputError:
        raise
    except Exception:  # protobuf's own class of errors has moved between its releases
        raise InputError(
            f"{where}: expected one tensor of ONNX (a TensorProto), received another kind of file, "
            "or a truncated or damaged one; save it with onnx.save_tensor"
        ) from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{where}: expected real numbers, received dtype {array.dtype}")
    return array, str(tensor.name)


def check_nodes(model: Any, where: str) -> None:
    """Raise `InputError` for functions that call each other so often that they cannot be inlined.

    Each of thirty functions that calls the next one twice takes some bytes, and a billion nodes.
    """
    functions = {(one.domain, one.name): one for one in model.functions}
    known: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[Any]) -> int:
        inner = (graph for node in nodes for one in node.attribute for graph in subgraphs(one))
        called = ((node.domain, node.op_type) for node in nodes)
        sizes = (size(key) for key in called if key in functions)
        return len(list(nodes)) + sum(count(graph.node) for graph in inner) + sum(sizes)

    def size(key: tuple[str, str]) -> int:
        if key not in known:
            known[key] = MOST_NODES  # what calls itself has no end
            known[key] = count(functions[key].node)
        return known[key]

    if count(model.graph.node) >= MOST_NODES:
        raise InputError(
            f"{where}: expected at most {MOST_NODES} nodes, its functions inlined, received more; "
            "export the recurrent part alone"
        )


def tensors(model: Any) -> Iterator[Any]:
    """Every tensor in a model: initializers and attributes, in subgraphs and functions too."""
    yield from tensors_of_graph(model.graph)
    for function in model.functions:
        yield from tensors_of_nodes(function.node)


def tensors_of_graph(graph: Any) -> Iterator[Any]:
    """Every tensor in a graph and the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from tensors_of_nodes(graph.node)


def tensors_of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """Every tensor in the attributes of `nodes`."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in subgraphs(attribute):
            yield from tensors_of_graph(graph)


def subgraphs(attribute: Any) -> list[Any]:
    """The graphs that an attribute holds."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def embed(found: Iterable[Any], folder: Path, where: str) -> None:
    """Read the data of external tensors from files in `folder` into the tensors themselves."""
    total = 0
    for tensor in found:
        if not tensor.external_data:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        file = inside(folder, entries.get("location", ""), where)
        offset = int(entries.get("offset", 0))
        size = file.stat().st_size
        length = int(entries.get("length", size - offset))
        if offset < 0 or length < 0 or offset + length > size:
            raise InputError(
                f"{where}: expected external data up to byte {offset + length} of {file.name!r}, "
                f"received a file of {size} bytes; copy it again"
            )
        total += length
        check_content(total, where, "external data")
        if total > PROTOBUF:
            raise InputError(f"{where}: expected at most 2 GiB with its external data")
        with file.open("rb") as data:
            data.seek(offset)
            tensor.raw_data = data.read(length)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def inside(folder: Path, location: str, where: str) -> Path:
    """The file of external data, which must lie in the model's folder, links followed."""
    root = os.path.realpath(folder)
    file = os.path.realpath(os.path.join(root, location))
    if os.path.isabs(location) or os.path.commonpath((root, file)) != root:
        raise InputError(
            f"{where}: expected external data in the model's own folder, received {location!r}"
        )
    if not os.path.isfile(file):
        raise InputError(f"{where}: its external data {location!r} is missing; put it beside it")
    return Path(file)


def check_sizes(model: Any, shapes: Mapping[str, Sequence[int]], where: str) -> None:
    """Raise `InputError` where a run of `model` on inputs of these `shapes` would take too much.

    What the shape of a tensor depends on is followed as far as ONNX can; the others are left out.
    """
    known = inferred_sizes(model, shapes)
    sizes = {name: math.prod(dims) for name, dims in known.items() if all(n > 0 for n in dims)}
    largest = max(sizes, key=lambda name: sizes[name], default="")
    advice = "export it with open batch and time axes and make --batch or --timesteps smaller"
    check_numbers(sum(sizes.values()), where, f"the largest is {largest!r}; {advice}")


def inferred_sizes(model: Any, shapes: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """The sizes of tensors in a run of `model` on inputs of these `shapes`; 0 where one is open."""
    copy = package("onnx").ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name in shapes:
            del value.type.tensor_type.shape.dim[:]
            for size in shapes[value.name]:
                value.type.tensor_type.shape.dim.add().dim_value = size
    try:
        graph = package("onnx.shape_inference").infer_shapes(copy, data_prop=True).graph
    except Exception:  # what is wrong with it is said when it is loaded
        graph = copy.graph
    known = [(one.name, dims_of(one)) for one in (*graph.input, *graph.value_info, *graph.output)]
    known += [(one.values.name, list(one.dims)) for one in graph.sparse_initializer]
    return dict(known)


def dims_of(value: Any) -> list[int]:
    """The sizes of a tensor; 0 where it is open."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def session(model: Any, where: str) -> Any:
    """A session of ONNX Runtime that runs `model`; `InputError` for what it cannot load."""
    check_sizes(model, {}, where)  # the runtime computes what is constant as it loads it
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception too
    try:
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise InputError(f"{where}: ONNX Runtime cannot load it: {brief(error)}") from None


def run_session(loaded: Any, feeds: Mapping[str, NDArray[Any]], where: str) -> list[Any]:
    """What the session computes from `feeds`; `InputError` when it fails."""
    try:
        results: list[Any] = loaded.run(None, dict(feeds))
    except Exception as error:
        raise InputError(f"{where}: ONNX Runtime cannot run it: {brief(error)}") from None
    return results


def brief(error: Exception) -> str:
    """The message of an error of ONNX or its runtime, on one line and without its codes."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    text = text.rpartition(" , Error ")[2]  # before it, the whole node with all its names
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def dtype_of(kind: str) -> np.dtype[Any] | None:
    """The NumPy dtype of ONNX Runtime's type `kind`, such as "tensor(float)"; None without one."""
    names = {"float": "float32", "double": "float64"}
    name = kind.removeprefix("tensor(").removesuffix(")")
    try:
        return np.dtype(names.get(name, name))
    except TypeError:
        return None
