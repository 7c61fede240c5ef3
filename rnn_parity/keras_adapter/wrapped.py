"""Wrappers and stacks from the arguments of what is inside them, as Keras's own layers are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import tensorflow_module

LAYER_CLASSES = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
OF_RNN = (
    "go_backwards",
    "return_sequences",
    "return_state",
    "stateful",
    "time_major",
    "unroll",
    "zero_output_for_mask",
)
"""The arguments that `RNN` takes; the others are its cells'."""


def rnn(units: int, cell: str = "lstm", dtype: str | None = None, **options: Any) -> Any:
    """`RNN` around one cell; `options` are the arguments of both."""
    return _around(_cells([cell], units, dtype, options)[0], dtype, options)


def stacked(
    units: int, cells: Sequence[str] = ("lstm", "gru"), dtype: str | None = None, **options: Any
) -> Any:
    """`RNN` around a stack of cells with so many units each.

    An option that not every cell knows goes to those that do.
    """
    inside = _cells([cells] if isinstance(cells, str) else cells, units, dtype, options)
    stack = tensorflow_module().keras.layers.StackedRNNCells(inside, **_policy(dtype))
    return _around(stack, dtype, options)


def bidirectional(
    units: int,
    layer: str = "lstm",
    merge_mode: str | None = "concat",
    backward_layer: str | None = None,
    dtype: str | None = None,
    **options: Any,
) -> Any:
    """`Bidirectional` around a layer, or around two; `options` are the arguments of both."""
    layers = tensorflow_module().keras.layers
    arguments = {**options, **_policy(dtype)}
    forward = getattr(layers, _class_of("layer", layer))(units, **arguments)
    backward = None
    if backward_layer is not None:
        arguments["go_backwards"] = not options.get("go_backwards", False)
        backward = getattr(layers, _class_of("backward_layer", backward_layer))(units, **arguments)
    return layers.Bidirectional(forward, merge_mode, backward_layer=backward, **_policy(dtype))


WRAPPERS: Mapping[str, Callable[..., Any]] = {
    make.__name__: make for make in (rnn, stacked, bidirectional)
}


def _around(cell: Any, dtype: str | None, options: Mapping[str, Any]) -> Any:
    own = {name: value for name, value in options.items() if name in OF_RNN}
    return tensorflow_module().keras.layers.RNN(cell, **own, **_policy(dtype))


def _cells(
    names: Sequence[str], units: int, dtype: str | None, options: Mapping[str, Any]
) -> list[Any]:
    """The cells, each with those of the options that it knows; what none knows, Keras refuses."""
    layers = tensorflow_module().keras.layers
    makers = [getattr(layers, f"{_class_of('cell', name)}Cell") for name in names]
    known = [inspect.signature(make.__init__).parameters for make in makers]
    given = {name: value for name, value in options.items() if name not in OF_RNN}
    everywhere = {name for name in given if not any(name in one for one in known)}
    return [
        make(units, **{n: given[n] for n in given if n in own or n in everywhere}, **_policy(dtype))
        for make, own in zip(makers, known, strict=True)
    ]


def _class_of(argument: str, name: Any) -> str:
    """Keras's name of a layer class; raises `InputError` for one that is not replayed."""
    if name not in LAYER_CLASSES:
        expected = ", ".join(LAYER_CLASSES)
        raise InputError(f"argument {argument}: expected one of {expected}, received {name!r}")
    return LAYER_CLASSES[name]


def _policy(dtype: str | None) -> dict[str, str]:
    return {} if dtype is None else {"dtype": dtype}
