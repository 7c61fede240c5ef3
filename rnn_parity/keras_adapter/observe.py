"""Run a layer or a model in one of Keras's modes and bring back what its recurrent layers did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.build import is_time_major
from rnn_parity.keras_adapter.modes import runner
from rnn_parity.keras_adapter.observation import Observation, not_seen, observation
from rnn_parity.keras_adapter.recorder import Recorder
from rnn_parity.keras_adapter.runtime import refusals, tensorflow_module


def observe_layer(
    layer: Any,
    inputs: ArrayLike | Sequence[ArrayLike],
    mask: ArrayLike | Sequence[ArrayLike] | None = None,
    initial_state: Any = None,
    mode: str = "graph",
) -> list[Observation]:
    """One observation per call of a Keras recurrent layer.

    `inputs` is `(B, T, F)` for one call; a list of such arrays or an array `(calls, B, T, F)` for
    consecutive calls. `mask` is `(B, T)`, the same for every call, or one per call in the same two
    ways. `initial_state`, `(B, H)` (a list of them for a layer with several states), is given to
    the first call only. A layer that is not built yet is built, with Keras's initial weights.
    Raises `InputError` for what is no layer of `tf.keras` and for what Keras refuses.
    """
    _check_kind(layer, "Layer")
    calls = list(_per_call(inputs, 3))
    masks = [mask] * len(calls) if mask is None or not _is_per_call(mask, 2) else list(mask)  # type: ignore[arg-type]
    if len(masks) != len(calls):
        raise InputError(f"mask: expected {len(calls)}, one per call, received {len(masks)}")
    recorder = Recorder({layer.name: layer})
    found: list[Observation] = []
    with refusals(f"layer {layer.name!r} in mode {mode}"), recorder.attached():
        run = runner(recorder.program(partial(_call_layer, layer)), layer, mode)
        for i, (x, m) in enumerate(zip(calls, masks, strict=True)):
            data = _layer_data(layer, x, m, initial_state if i == 0 else None)
            arrays = _by_call(run(data))
            number = i if len(calls) > 1 else None
            found.append(observation(recorder.calls[0], mode, number, arrays[0]))
    return found


def observe_model(
    model: Any,
    inputs: Any,
    mode: str = "graph",
    layer_name: str | None = None,
    mask: ArrayLike | None = None,
) -> list[Observation]:
    """One observation per call of every recurrent layer in a Keras model, in the order they ran.

    `inputs` is what the model takes: an array, a list or a dictionary; `mask` goes to the model as
    its own. Layers of nested models are named "inner/simple_rnn"; `Bidirectional` and
    `TimeDistributed` are reported as a whole, and so is a layer that was not seen to run.
    `layer_name` selects one layer by its full or its own name. Raises `InputError` for an unknown
    name, for what is no model of `tf.keras` and for what Keras refuses.
    """
    _check_kind(model, "Model")
    layers = dict(_recurrent_layers(model, "", set()))
    if layer_name is not None:
        layers = _selected(layers, layer_name)
    if not layers:
        return []
    recorder = Recorder(layers)
    data = {"inputs": tensorflow_module().nest.map_structure(np.asarray, inputs)}
    if mask is not None:
        data["mask"] = np.asarray(mask, dtype=bool)
    with refusals(f"model {model.name!r} in mode {mode}"), recorder.attached():
        run = runner(recorder.program(partial(_call_model, model)), model, mode)
        arrays = _by_call(run(data))
    names = [call.name for call in recorder.calls]
    numbers = [
        names[:i].count(name) if names.count(name) > 1 else None for i, name in enumerate(names)
    ]
    found = [
        observation(call, mode, number, arrays[i])
        for i, (call, number) in enumerate(zip(recorder.calls, numbers, strict=True))
    ]
    silent = [name for name in layers if name not in names]
    return found + [not_seen(layers[name], name, mode) for name in silent]


def _call_layer(layer: Any, data: Mapping[str, Any]) -> None:
    tf = tensorflow_module()
    inputs, options = data["inputs"], {}
    if not inputs.dtype.is_floating:  # Keras casts real numbers only
        inputs = tf.cast(inputs, layer.compute_dtype)
    if "mask" in data:
        options["mask"] = data["mask"]
    if is_time_major(layer):
        swap = partial(tf.experimental.numpy.swapaxes, axis1=0, axis2=1)
        inputs, options = swap(inputs), {name: swap(value) for name, value in options.items()}
    if "initial_state" in data:
        # Keras 3 casts it to the compute dtype itself, Keras 2 does when the layer is stateful.
        dtype = layer.variable_dtype if layer.stateful else layer.compute_dtype
        options["initial_state"] = [tf.cast(state, dtype) for state in data["initial_state"]]
    layer(inputs, **options)


def _call_model(model: Any, data: Mapping[str, Any]) -> None:
    model(data["inputs"], **({"mask": data["mask"]} if "mask" in data else {}))


def _layer_data(layer: Any, inputs: Any, mask: Any, initial_state: Any) -> dict[str, Any]:
    """The arrays of one call; builds the layer for them where that has not happened."""
    data: dict[str, Any] = {"inputs": np.asarray(inputs)}
    if mask is not None:
        data["mask"] = np.asarray(mask, dtype=bool)
    if initial_state is not None:
        states = initial_state if isinstance(initial_state, (list, tuple)) else [initial_state]
        data["initial_state"] = [np.asarray(state) for state in states]
    if not layer.built:
        shape = data["inputs"].shape
        layer.build((shape[1], shape[0], *shape[2:]) if is_time_major(layer) else shape)
    return data


def _is_per_call(value: Any, rank: int) -> bool:
    return isinstance(value, (list, tuple)) or np.ndim(value) == rank + 1


def _per_call(value: Any, rank: int) -> Sequence[Any]:
    return list(value) if _is_per_call(value, rank) else [value]


def _by_call(results: Mapping[str, NDArray[Any]]) -> dict[int, dict[str, NDArray[Any]]]:
    """From the keys "number/field" of a recorder's program to one dictionary per call."""
    arrays: dict[int, dict[str, NDArray[Any]]] = {}
    for key, value in results.items():
        number, _, name = key.partition("/")
        if name:
            arrays.setdefault(int(number), {})[name] = value
    return arrays


def is_model(value: Any) -> bool:
    """Whether `value` is a model of `tf.keras`, which holds layers, and not a layer by itself."""
    return isinstance(value, tensorflow_module().keras.Model)


def _check_kind(value: Any, kind: str) -> None:
    keras = tensorflow_module().keras
    expected = keras.Model if kind == "Model" else keras.layers.Layer
    if not isinstance(value, expected):
        raise InputError(
            f"expected a {kind.lower()} of tf.keras, which is {expected.__module__.split('.')[0]} "
            f"here, received {type(value).__module__}.{type(value).__qualname__}"
        )


def _recurrent_layers(parent: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """The recurrent layers below `parent` with their paths; each layer once."""
    keras = tensorflow_module().keras
    children = (
        parent.layers
        if isinstance(parent, keras.Model)
        else parent._flatten_layers(include_self=False, recursive=False)
    )
    for child in children:
        if id(child) in seen:
            continue
        seen.add(id(child))
        if _is_recurrent(child):
            yield path + child.name, child
        else:
            yield from _recurrent_layers(child, f"{path}{child.name}/", seen)


def _is_recurrent(layer: Any) -> bool:
    layers = tensorflow_module().keras.layers
    if isinstance(layer, layers.TimeDistributed):
        return any(isinstance(inner, layers.RNN) for inner in layer._flatten_layers())
    return isinstance(layer, (layers.RNN, layers.Bidirectional))


def _selected(layers: Mapping[str, Any], wanted: str) -> dict[str, Any]:
    chosen = {
        name: layer for name, layer in layers.items() if wanted in (name, name.rsplit("/", 1)[-1])
    }
    if not chosen:
        raise InputError(
            f"layer name: expected one of {', '.join(layers) or '(no recurrent layer)'}, "
            f"received {wanted!r}"
        )
    return chosen
