"""What a model takes, and inputs made to fit it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import tensorflow_module
from rnn_parity.system.limits import check_numbers

# One element in four, so that a mask has runs of every kind.
MASKED_SHARE = 0.25


@dataclass(frozen=True)
class InputSpec:
    """One input of a model; None in `shape` stands for a size that the caller chooses."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


def input_signature(model: Any) -> list[InputSpec]:
    """The inputs of a functional or built sequential model, in order.

    Raises `InputError` for a model that does not know them (a subclassed one).
    """
    # Keras 3 has names of dtypes, Keras 2 TensorFlow's dtypes.
    return [
        InputSpec(one.name, tuple(one.shape), str(getattr(one.dtype, "name", one.dtype)))
        for one in _input_tensors(model)
    ]


def generate_inputs(
    model: Any, batch: int, timesteps: int, seed: int
) -> NDArray[Any] | list[NDArray[Any]]:
    """Random inputs that fit `input_signature`; one array, or a list where the model takes several.

    Open sizes become `batch` on the first axis and `timesteps` on the others. Inputs that an
    `Embedding` reads, and those of an integer dtype, are integers that it accepts, zeros among
    them; the others are normal, with whole timesteps at a `Masking` layer's value where it reads
    them directly. Raises `InputError` for what cannot be made up.
    """
    rng = np.random.default_rng(seed)
    tensors, specs = _input_tensors(model), input_signature(model)
    _check_sizes(model, [*(spec.shape for spec in specs), *_output_shapes(model)], batch, timesteps)
    arrays = []
    for tensor, spec in zip(tensors, specs, strict=True):
        arrays.append(_generate(tensor, spec, _filled(spec.shape, batch, timesteps), rng))
    return arrays[0] if len(arrays) == 1 else arrays


def named_inputs(model: Any, inputs: Any) -> dict[str, NDArray[Any]]:
    """What a model is given, by the names of its inputs; nothing where it does not know them."""
    try:
        names = [spec.name for spec in input_signature(model)]
        if isinstance(inputs, dict):
            return {name: np.asarray(inputs[name]) for name in names if name in inputs}
        arrays = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        return dict(zip(names, map(np.asarray, arrays), strict=False))
    except (InputError, TypeError, ValueError):  # or they are no arrays, such as ragged ones
        return {}


def _filled(shape: Sequence[int | None], batch: int, timesteps: int) -> tuple[int, ...]:
    """`shape` with its open sizes settled."""
    first = [size or batch for size in shape[:1]]
    return (*first, *(size or timesteps for size in shape[1:]))


def _check_sizes(
    model: Any, shapes: Iterable[Sequence[int | None]], batch: int, timesteps: int
) -> None:
    """Raise `InputError` where a call of `model` would take more than may be computed."""
    known = [tuple(shape) for shape in shapes]
    sizes = [_filled(shape, batch, timesteps) for shape in known]
    largest = max(sizes, key=math.prod)
    advice = "make --batch or --timesteps smaller"
    if None not in known[sizes.index(largest)][:1]:
        advice = "the file sets its batch: save the model with an open one, or pass --input"
    total = sum(map(math.prod, sizes))
    check_numbers(total, f"model {model.name!r}", f"the largest is {largest}; {advice}")


def _output_shapes(model: Any) -> Iterator[Sequence[int | None]]:
    """The shapes of what the layers of a functional model compute, as far as they are known."""
    computing = (one for one in model.layers if type(one).__name__ != "InputLayer")
    for layer in computing:
        try:
            outputs = layer.output
        except (AttributeError, RuntimeError, ValueError):  # called never, or several times
            continue
        for output in outputs if isinstance(outputs, (list, tuple)) else [outputs]:
            shape = getattr(output, "shape", ())
            if all(isinstance(size, (int, type(None))) for size in shape):
                yield tuple(shape)


def _generate(
    tensor: Any, spec: InputSpec, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[Any]:
    layers = tensorflow_module().keras.layers
    readers = _readers(tensor)
    limits = [reader.input_dim for reader in readers if isinstance(reader, layers.Embedding)]
    if limits or spec.dtype.startswith(("int", "uint")):
        integers = rng.integers(0, min(limits, default=2), shape)
        integers[rng.random(shape) < MASKED_SHARE] = 0
        return integers.astype(spec.dtype)
    if not spec.dtype.startswith(("float", "bfloat")):
        raise InputError(
            f"input {spec.name!r}: cannot make up values of dtype {spec.dtype}; pass --input"
        )
    # 16-bit types are left to Keras's own cast: NumPy alone has no bfloat16.
    values = rng.normal(size=shape).astype("float64" if spec.dtype == "float64" else "float32")
    masking = [reader.mask_value for reader in readers if isinstance(reader, layers.Masking)]
    if masking and len(shape) > 2:
        values[rng.random(shape[:2]) < MASKED_SHARE] = masking[0]
    return values


def _input_tensors(model: Any) -> list[Any]:
    try:
        tensors = model.inputs
    except (AttributeError, ValueError):  # Keras 3 raises one or the other for an unbuilt model
        tensors = None
    if not tensors:
        raise InputError(
            f"model {model.name!r} does not say which inputs it takes: pass them with --input"
        )
    return list(tensors)


def _readers(tensor: Any) -> list[Any]:
    """The layers that an input goes to, with all that they contain where they are models."""
    found = []
    for node in tensor._keras_history[0]._outbound_nodes:
        reader = getattr(node, "operation", None) or node.layer
        if hasattr(reader, "_flatten_layers"):
            found += reader._flatten_layers()
    return found
