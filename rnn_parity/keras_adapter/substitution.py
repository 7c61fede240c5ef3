"""A model run layer by layer, in which others may replace what each layer hands on.

So a layer can be given what reached it in another program, with Keras's own masks and states around
it, and without taking the model apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnn_parity.keras_adapter.parts import directions, is_bidirectional, is_time_distributed
from rnn_parity.keras_adapter.runtime import instead, tensorflow_module

HandOn: TypeAlias = "Callable[[str, Sequence[NDArray[Any]]], Sequence[NDArray[Any]]]"
"""From a layer's name and all that it returned in one call, flat, to what it hands on instead."""


def computing_layers(root: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The layers in a model that compute something, inner ones before what holds them.

    They are named as in `watched_layers`. Nested models hand on what their last layers do, and a
    recurrent layer or a `TimeDistributed` is one layer, whatever it holds.
    """
    keras = tensorflow_module().keras
    children = root.layers if isinstance(root, keras.Model) else sublayers(root)
    for child in children:
        name = path + child.name
        if isinstance(child, keras.Model):
            yield from computing_layers(child, f"{name}/")
        elif is_bidirectional(child):
            for side, inner in directions(child).items():
                yield f"{name}/{side}/{inner.name.removeprefix(f'{side}_')}", inner
            yield name, child
        else:
            whole = isinstance(child, keras.layers.RNN) or is_time_distributed(child)
            if not whole:
                yield from computing_layers(child, f"{name}/")
            if not isinstance(child, keras.layers.InputLayer):
                yield name, child


def recurrent_alone(model: Any) -> tuple[bool, bool]:
    """Whether a model is one recurrent layer and nothing else, and whether it has several of them.

    A `Bidirectional` is one.
    """
    keras = tensorflow_module().keras
    layers = [(name, layer) for name, layer in computing_layers(model)]
    wrappers = {name for name, layer in layers if is_bidirectional(layer)}
    outer = [
        (name, layer)
        for name, layer in layers
        if not any(name.startswith(f"{wrapper}/") for wrapper in wrappers)
    ]
    recurrent = [one for one in outer if one[0] in wrappers or isinstance(one[1], keras.layers.RNN)]
    return len(outer) == len(recurrent) == 1, len(recurrent) > 1


def sublayers(layer: Any) -> Sequence[Any]:
    """The layers that another one, no model, holds directly."""
    if hasattr(layer, "state_size"):  # a cell: its inner layers run in a loop
        return []
    return list(layer._flatten_layers(include_self=False, recursive=False))


@contextmanager
def substituted(model: Any, hand_on: HandOn) -> Iterator[None]:
    """In this block every layer of `model` hands on what `hand_on` makes of what it returned.

    So does the model itself, whose name is empty.
    That holds for calls outside any graph alone: in a graph there are no numbers yet.
    """
    with ExitStack() as replaced:
        seen = set()
        for name, layer in (*computing_layers(model), ("", model)):
            if id(layer) not in seen:
                seen.add(id(layer))
                replaced.enter_context(instead(layer, partial(_handing_on, name, hand_on)))
        yield


def _handing_on(name: str, hand_on: HandOn, call: Callable[..., Any]) -> Callable[..., Any]:
    tf = tensorflow_module()

    def changed(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        flat = tf.nest.flatten(result)
        if not flat or not all(
            isinstance(one, tf.Tensor) and hasattr(one, "numpy") for one in flat
        ):
            return result
        handed = hand_on(name, [one.numpy() for one in flat])
        tensors = [
            tf.convert_to_tensor(np.asarray(new).astype(old.dtype.as_numpy_dtype))
            for new, old in zip(handed, flat, strict=True)
        ]
        return tf.nest.pack_sequence_as(result, tensors)

    return changed
