"""An ONNX file, read and run: what ONNX Runtime says is passed on in one line.

Needs the extra `onnx`. Everything runs on the CPU.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, MissingPackageError

MOST_BYTES = 2**31 - 1
"""What a protocol buffer, and so a model in memory, can hold."""
LONGEST = 300
"""So many characters of somebody else's message are shown."""


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
    cannot be read, is no ONNX model, or is one of more than 2 GiB.
    """
    onnx, where = package("onnx"), f"ONNX model {path!r}"
    file = Path(path)
    if file.exists() and not file.is_file():
        raise InputError(f"{where}: expected a file, received something else; name a .onnx file")
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"{where}: expected at most 2 GiB, received more")
        model = onnx.ModelProto.FromString(file.read_bytes())
        if not model.opset_import or not model.graph.node:
            raise ValueError("it holds no graph")
        embed(tensors(model), file.parent, where)
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror or error}") from None
    except InputError:
        raise
    except Exception:  # protobuf's own class of errors has moved between its releases
        raise InputError(
            f"{where}: expected an ONNX model, received another kind of file, or a truncated or "
            "damaged one; export it again"
        ) from None
    return model


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
    room = MOST_BYTES
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
        room -= length
        if room < 0:
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


def session(model: Any, where: str) -> Any:
    """A session of ONNX Runtime that runs `model`; `InputError` for what it cannot load."""
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception too
    try:
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise InputError(f"{where}: ONNX Runtime cannot load it: {brief(error)}") from None


def run(loaded: Any, feeds: Mapping[str, NDArray[Any]], where: str) -> list[Any]:
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
