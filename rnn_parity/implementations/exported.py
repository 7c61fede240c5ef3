"""`onnx`, `litert`: the layer itself, exported by Keras or TensorFlow and run by that runtime.

A cell in an `RNN` becomes the layer that computes the same, and so do weights alone. It is exported
anew for every call, with its sizes, and with a mask and states as inputs of the model where there
are any: that takes a second or more each.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from rnn_parity.cases.case import flat
from rnn_parity.implementations.request import Answer, Implementation, Request, keras_class

RUNTIMES = {"onnx": ".onnx.runtime", "litert": ".litert"}


def implementation(format: str) -> Implementation:
    """The layer as `format` ("onnx" or "litert") writes it, run by ONNX Runtime or LiteRT.

    Raises `MissingPackageError` without that runtime, and when asked `InputError` for what the
    exporter or the runtime refuses.
    """
    runtime = import_module(RUNTIMES[format], __package__)
    run: Callable[[bytes, str], Implementation] = runtime.of_content
    runtime.required(format)

    def compute(request: Request) -> Answer:
        from rnn_parity.keras_adapter.building import Sizes, exported

        layer = request.layer
        keras_class(layer, format)
        config = {"dtype": layer.precision.name, **flat(request.config, layer)}
        batch, timesteps, _ = request.inputs.shape
        mask, states = request.mask is not None, request.initial_state is not None
        sizes = Sizes(batch, timesteps, mask, states)
        content = exported(format, layer, config, sizes)
        return run(content, format)(request)

    return compute
