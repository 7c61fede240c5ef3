"""A Keras layer from options, with weights that hide nothing: random, distinct and non-zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, one_line
from rnn_parity.keras_adapter.parts import cells_of
from rnn_parity.keras_adapter.runtime import quiet, refusals, tensorflow_module
from rnn_parity.keras_adapter.wrapped import LAYER_CLASSES, WRAPPERS

POLICIES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")

# The recurrent kernel is this times an orthogonal matrix: the state neither dies nor explodes.
RECURRENT_GAIN = 0.9


def build_layer(
    layer_class: str,
    units: int,
    features: int,
    arguments: Mapping[str, Any],
    dtype: str | None,
    seed: int,
    batch: int | None,
) -> Any:
    """A built Keras layer whose weights come from `np.random.default_rng(seed)`.

    `layer_class` is a key of `LAYER_CLASSES` or `WRAPPERS`, `arguments` what its constructor takes,
    `dtype` one of `POLICIES` or None (Keras's default), `batch` the batch size, which a stateful
    layer needs. A weight whose initializer is named in `arguments` keeps what Keras initialised.
    Raises `InputError` for an unknown name and for whatever Keras refuses.
    """
    kinds = (*LAYER_CLASSES, *WRAPPERS)
    if layer_class not in kinds:
        raise InputError(f"layer: expected one of {', '.join(kinds)}, received {layer_class!r}")
    if dtype is not None and dtype not in POLICIES:
        raise InputError(f"dtype: expected one of {', '.join(POLICIES)}, received {dtype!r}")
    make = WRAPPERS.get(layer_class)
    if make is None:
        make = getattr(tensorflow_module().keras.layers, LAYER_CLASSES[layer_class])
    layer = _construct(make, units, arguments, dtype)
    shape = (None, batch, features) if is_time_major(layer) else (batch, None, features)
    rng = np.random.default_rng(seed)
    with refusals(f"{make.__name__} with {units} units and {features} features"):
        _build(layer, shape, arguments)
        for cell in cells_of(layer):
            _randomise(cell, arguments, rng)
    return layer


def is_time_major(layer: Any) -> bool:
    """Whether the layer takes `(timesteps, batch, features)`, an option of Keras 2 alone."""
    return bool(getattr(getattr(layer, "forward_layer", layer), "time_major", False))


def _build(layer: Any, shape: tuple[int | None, ...], arguments: Mapping[str, Any]) -> None:
    """`layer.build` without Keras's default for the recurrent kernel, which is replaced anyway.

    That default is orthogonal and needs a QR decomposition, which TensorFlow lacks for bfloat16.
    """
    cells = cells_of(layer)
    kept = [cell.recurrent_initializer for cell in cells]
    for cell in cells if "recurrent_initializer" not in arguments else ():
        cell.recurrent_initializer = tensorflow_module().keras.initializers.get("zeros")
    layer.build(shape)
    for cell, initializer in zip(cells, kept, strict=True):
        cell.recurrent_initializer = initializer


def _construct(
    make: Callable[..., Any], units: int, arguments: Mapping[str, Any], dtype: str | None
) -> Any:
    for name, flag in (("units", "--units"), ("dtype", "--dtype")):
        if name in arguments and (name == "units" or dtype is not None):
            raise InputError(f"argument {name}: given twice; use {flag} alone")
    policy = {} if dtype is None else {"dtype": dtype}
    try:
        with quiet():
            return make(units, **arguments, **policy)
    except Exception as error:  # Keras refuses with whatever exception the argument provokes
        name = _culprit(make, units, arguments)
        raise InputError(
            f"argument {name}: {make.__name__} refused it: {one_line(error)}"
        ) from error


def _culprit(make: Callable[..., Any], units: int, arguments: Mapping[str, Any]) -> str:
    """The first argument that is refused on its own, since Keras's message may not name it."""
    for name, value in arguments.items():
        try:
            with quiet():
                make(units, **{name: value})
        except Exception:
            return f"{name}={value!r}"
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or f"units={units}"


def _randomise(cell: Any, arguments: Mapping[str, Any], rng: np.random.Generator) -> None:
    """Set kernel, recurrent kernel and bias, gate by gate for layers that have gates."""
    features, width = cell.kernel.shape
    units = cell.units
    values: dict[str, NDArray[np.float64]] = {
        "kernel": rng.normal(scale=np.sqrt(2.0 / (features + units)), size=(features, width)),
        "recurrent_kernel": RECURRENT_GAIN
        * np.concatenate([_orthogonal(units, rng) for _ in range(width // units)], axis=1),
    }
    if cell.bias is not None:
        shape = tuple(cell.bias.shape)
        values["bias"] = rng.uniform(0.1, 0.5, shape) * rng.choice([-1.0, 1.0], shape)
        if getattr(cell, "unit_forget_bias", False):
            values["bias"][units : 2 * units] += 1.0  # gates i, f, c, o
    if getattr(cell.activation, "__name__", "") == "exponential":
        # exp of a sum that feeds itself grows beyond every bound; of a negative one it cannot,
        # and of a small one not soon, whatever gates make of it.
        values["recurrent_kernel"] = -np.abs(values["recurrent_kernel"])
        if width > units:
            values = {name: value / 8 for name, value in values.items()}
    for name, value in values.items():
        initializer = "recurrent_initializer" if name[0] == "r" else f"{name}_initializer"
        if initializer not in arguments:
            getattr(cell, name).assign(value)


def _orthogonal(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random orthogonal matrix `(n, n)`: every direction keeps its length."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    orthogonal: NDArray[np.float64] = q * np.sign(np.diagonal(r))
    return orthogonal
