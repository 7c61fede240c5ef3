"""What a model takes, and inputs made to fit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import tensorflow_module

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
    return [
        InputSpec(tensor.name, tuple(tensor.shape), _dtype_name(tensor))
        for tensor in _input_tensors(model)
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
    arrays = []
    for tensor, spec in zip(_input_tensors(model), input_signature(model), strict=True):
        sizes = (spec.shape[0] or batch, *(size or timesteps for size in spec.shape[1:]))
        arrays.append(_generate(tensor, spec, sizes, rng))
    return arrays[0] if len(arrays) == 1 else arrays


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


def _dtype_name(tensor: Any) -> str:
    """Keras 3 has names, Keras 2 TensorFlow's dtypes."""
    return str(getattr(tensor.dtype, "name", tensor.dtype))
