"""A recurrent layer alone in a functional model, exported to ONNX or converted to LiteRT."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rnn_parity.errors import InputError, MissingPackageError
from rnn_parity.keras_adapter.building import rebuild_layer
from rnn_parity.keras_adapter.runtime import refusals, tensorflow_module
from rnn_parity.recurrence.layers import Layer

OPTIONS = {"stateful": False, "time_major": False, "return_sequences": True}
"""The states are inputs of the model, all that it takes is batch first, and it hides no output."""


@dataclass(frozen=True)
class Sizes:
    """What the model takes: inputs `(batch, timesteps, F)`, and a mask and states if it does."""

    batch: int
    timesteps: int
    mask: bool
    states: bool


def exported(format: str, layer: Layer, config: Mapping[str, Any], sizes: Sizes) -> bytes:
    """The layer that `config` describes, with these weights, as "onnx" or "litert" writes it.

    The model's inputs are named inputs, h, c and mask, and all of its sizes are fixed. Raises
    `InputError` for what the exporter refuses, `MissingPackageError` where it is not installed.
    """
    kind = type(layer).__name__
    built = rebuild_layer(kind, {**config, **OPTIONS}, layer, sizes.batch)
    with refusals(f"{format}: {kind}"), redirect_stdout(io.StringIO()):
        return WRITERS[format](alone(built, layer, sizes))


def alone(built: Any, layer: Layer, sizes: Sizes) -> Any:
    """A functional model of the built Keras layer, called once."""
    keras = tensorflow_module().keras

    def port(name: str, *shape: int, dtype: str | None = None) -> Any:
        dtype = dtype or built.compute_dtype
        return keras.Input(shape, batch_size=sizes.batch, name=name, dtype=dtype)

    inputs, options = [port("inputs", sizes.timesteps, layer.features)], {}
    if sizes.states:
        options["initial_state"] = [port(name, layer.units) for name in layer.STATES]
        inputs += options["initial_state"]
    if sizes.mask:
        options["mask"] = port("mask", sizes.timesteps, dtype="bool")
        inputs.append(options["mask"])
    model = keras.Model(inputs, built(inputs[0], **options))
    zeros = [np.zeros(one.shape, keras.backend.standardize_dtype(one.dtype)) for one in inputs]
    model(zeros)  # only what was called can be exported
    return model


def onnx(model: Any) -> bytes:
    """Keras 3's own export, through tf2onnx."""
    if find_spec("tf2onnx") is None:
        raise MissingPackageError(
            "onnx: exporting a layer needs tf2onnx; install it with: "
            "pip install 'rnn-parity[export]'"
        )
    if not hasattr(model, "export") or not hasattr(tensorflow_module().keras, "ops"):
        raise InputError("onnx: expected Keras 3.8 or later, which exports to ONNX")
    with TemporaryDirectory(prefix="rnn-parity-") as folder:
        path = os.path.join(folder, "model.onnx")
        model.export(path, format="onnx", verbose=False)
        return Path(path).read_bytes()


def litert(model: Any) -> bytes:
    """TensorFlow's converter to LiteRT, in float32 throughout."""
    content: bytes = tensorflow_module().lite.TFLiteConverter.from_keras_model(model).convert()
    return content


WRITERS: Mapping[str, Callable[[Any], bytes]] = {"onnx": onnx, "litert": litert}
