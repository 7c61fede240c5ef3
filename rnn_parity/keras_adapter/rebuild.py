"""A Keras layer from its own description: the options that change what it computes, its weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.build import is_time_major
from rnn_parity.keras_adapter.runtime import refusals, tensorflow_module
from rnn_parity.recurrence.layers import Layer

OF_EVERY_CELL = ("units", "activation", "use_bias", "dropout", "recurrent_dropout", "dtype")
OF_CELL = {
    "SimpleRNN": OF_EVERY_CELL,
    "LSTM": (*OF_EVERY_CELL, "recurrent_activation"),
    "GRU": (*OF_EVERY_CELL, "recurrent_activation", "reset_after"),
}
OF_SEQUENCE = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
    "time_major",
    "dtype",
)
HARMLESS = (
    "name",
    "trainable",
    "seed",
    "implementation",
    "ragged",
    "batch_input_shape",
    "unit_forget_bias",
)
"""Entries that change nothing in a layer whose weights and dropout masks are given."""
HARMLESS_ENDINGS = ("_initializer", "_regularizer", "_constraint")


def rebuild_layer(
    layer_class: str,
    config: Mapping[str, Any],
    weights: Layer,
    batch: int,
    dropout: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> Any:
    """The layer that `config` describes, in the Keras installed now, with these weights.

    `layer_class` "RNN" stands for one around a cell, whose entries are among the others; every
    other class computes what Keras's own layer for these weights does. It is built for `batch`
    samples; where the masks of `dropout`, `(G, B, F)` and `(G, B, H)`, are not the same for all
    gates, so that each gate takes one of its own. Raises `InputError` for an entry that is not
    known to change nothing, and for what this Keras refuses.
    """
    kind = type(weights).__name__
    arguments = options(layer_class, kind, config)
    if any((masks != masks[0]).any() for masks in dropout.values()):
        arguments["implementation"] = 1
    with refusals(f"{layer_class} rebuilt from its config"):
        layer = construct(layer_class, kind, arguments)
        shape = (batch, None, weights.features)
        layer.build((None, batch, weights.features) if is_time_major(layer) else shape)
        for name in ("kernel", "recurrent_kernel", "bias"):
            if getattr(weights, name) is not None:
                getattr(layer.cell, name).assign(getattr(weights, name))
    return layer


def options(layer_class: str, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor arguments among the entries of `config`."""
    names = {*OF_CELL[kind], *OF_SEQUENCE}
    known = {name: value for name, value in config.items() if name in names}
    for name in config.keys() - known.keys():
        if name not in HARMLESS and not name.endswith(HARMLESS_ENDINGS):
            raise InputError(
                f"{layer_class}: cannot be rebuilt with {name}={config[name]!r:.40}, which is not "
                f"an option of Keras's {kind}; leave Keras out with --no-keras"
            )
    if not known.get("time_major"):
        known.pop("time_major", None)  # an option of Keras 2 alone
    if "dtype" in known:
        known["dtype"] = policy_name(known["dtype"])
    for name, value in known.items():
        # Keras would make an object of whatever a mapping describes.
        if not isinstance(value, (str, int, float, type(None))):
            raise InputError(
                f"{layer_class}: expected a word or a number for {name}, received {value!r:.40}; "
                "leave Keras out with --no-keras"
            )
    return known


def construct(layer_class: str, kind: str, arguments: Mapping[str, Any]) -> Any:
    """The layer, not built yet."""
    # Keras's orthogonal default would need what TensorFlow lacks in bfloat16.
    zeros = dict.fromkeys(("kernel_initializer", "recurrent_initializer"), "zeros")
    layers = tensorflow_module().keras.layers
    if layer_class != "RNN":
        return getattr(layers, kind)(**arguments, **zeros)
    make = getattr(layers, f"{kind}Cell")
    of_cell = (*OF_CELL[kind], "implementation")
    cell = make(**{n: arguments[n] for n in of_cell if n in arguments}, **zeros)
    return layers.RNN(cell, **{n: arguments[n] for n in OF_SEQUENCE if n in arguments})


def policy_name(dtype: Any) -> Any:
    """The name of a dtype policy, which both generations of Keras may describe as an object."""
    config = dtype.get("config") if isinstance(dtype, Mapping) else None
    return config.get("name") if isinstance(config, Mapping) else dtype
