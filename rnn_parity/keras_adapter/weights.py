"""From a Keras layer to data: its weights, read from the cell by name, and its activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError, one_line
from rnn_parity.keras_adapter.runtime import keras_major, tensorflow_module
from rnn_parity.recurrence.activations import CATALOGUE, Activation, custom
from rnn_parity.recurrence.cells import KERAS_CELLS, WEIGHTS, Cell, described
from rnn_parity.recurrence.formula import ACTIVATIONS


def layer_weights(layer: Any) -> Cell:
    """The weights and options of a built Keras layer whose recurrence is replayed.

    That is `SimpleRNN`, `LSTM` and `GRU`, those of `tf.compat.v1` included, and `RNN` around one of
    their cells; subclasses count as long as they keep Keras's own `call`. Weights are rounded to
    the layer's compute dtype. Raises `UnsupportedError`, naming the class, for any other, and
    `InputError` for one without weights.
    """
    reason = unsupported(layer)
    if reason is not None:
        raise UnsupportedError(reason)
    if not layer.cell.built:
        raise InputError(f"layer {layer.name!r}: it has no weights yet; call it once, or build it")
    return cell_weights(layer.cell, layer.go_backwards, layer.zero_output_for_mask)


def cell_weights(cell: Any, go_backwards: bool = False, zero_output_for_mask: bool = False) -> Cell:
    """The recurrence of a built cell that is replayed, in a layer with these options."""
    kind: Any = _kind_of(cell)
    assert kind is not None, "see unsupported_cell"
    variables = {name: getattr(cell, name, None) for name in (*WEIGHTS, *kind.vector_names())}
    weights = {n: None if v is None else np.asarray(v.numpy()) for n, v in variables.items()}
    options = {name: getattr(cell, name) for name in kind.OPTIONS if hasattr(cell, name)}
    for name in {*ACTIVATIONS.values()} & options.keys():
        options[name] = _activation(options[name])
    layer: Cell = kind(
        **weights,
        go_backwards=go_backwards,
        zero_output_for_mask=zero_output_for_mask,
        dtype=cell.compute_dtype,
        **options,
    )
    return layer


def unsupported(layer: Any) -> str | None:
    """Why this layer is not replayed, in one sentence naming its class; None if it is."""
    layers = tensorflow_module().keras.layers
    name = type(layer).__name__
    if isinstance(layer, (layers.Bidirectional, layers.TimeDistributed)):
        return f"{name} is replayed in parts alone: check it, or replay the layers inside it"
    kinds = [kind for kind in map(_generations, KERAS_CELLS) if isinstance(layer, kind)]
    if not kinds and type(layer) is not layers.RNN:
        return f"{name} is not replayed"
    reason = unsupported_cell(layer, layer.cell)
    if reason is not None:
        return reason
    for method in ("call", "__call__") if kinds else ():
        if getattr(type(layer), method) not in [getattr(kind, method) for kind in kinds[0]]:
            return f"{name} overrides {kinds[0][0].__name__}'s {method} and is not replayed"
    return None


def unsupported_cell(layer: Any, cell: Any) -> str | None:
    """Why a cell that this layer runs is not replayed; None if it is."""
    name = type(layer).__name__
    if _kind_of(cell) is None:
        return f"{name} with the cell {type(cell).__name__} is not replayed"
    if cell.compute_dtype != layer.compute_dtype:
        return (
            f"{name} computes in {layer.compute_dtype} around a cell that uses {cell.compute_dtype}"
        )
    return None


def _kind_of(cell: Any) -> type[Cell] | None:
    """The class that describes what a cell computes; None for a cell that nobody described."""
    for kind in KERAS_CELLS.values():
        if type(cell) in _generations(f"{kind.__name__}Cell"):
            return kind
    return next((kind for kind in described() if kind.keras_class is type(cell)), None)


def _generations(name: str) -> tuple[Any, ...]:
    """The class of this name, and the one of TensorFlow 1, which Keras 2 keeps for LSTM and GRU."""
    tf = tensorflow_module()
    return getattr(tf.keras.layers, name), getattr(tf.compat.v1.keras.layers, name)


def _activation(function: Callable[..., Any]) -> Activation:
    """Keras's own functions by name; anything else evaluated through TensorFlow in float64."""
    name = getattr(function, "__name__", None) or type(function).__name__
    if name in CATALOGUE and _is_keras_own(function, name):
        if name == "hard_sigmoid" and keras_major() == 2:
            name = "hard_sigmoid_keras2"
        return CATALOGUE[name]
    evaluate = _through_tensorflow(function, name)
    evaluate(np.zeros((1, 1)))  # what cannot be evaluated is refused now, by name
    return custom(evaluate, name)


def _is_keras_own(function: Callable[..., Any], name: str) -> bool:
    """Whether Keras means this very function by `name` or an alias, and no user took the name."""
    home = getattr(function, "__module__", None) or ""
    if home.split(".")[0] not in ("keras", "tf_keras", "tensorflow"):
        return False
    aliases = [alias for alias, known in CATALOGUE.items() if known is CATALOGUE[name]]
    return any(_same(function, known) for known in map(_meant_by, aliases) if known is not None)


def _meant_by(name: str) -> Any:
    try:
        return tensorflow_module().keras.activations.get(name)
    except ValueError:
        return None


def _same(function: Any, known: Any) -> bool:
    """Whether two are one function; or equal layers, which Keras 2 makes of "LeakyReLU"."""
    if type(known) is not type(function) or not hasattr(known, "get_config"):
        return known is function
    configs = (layer.get_config() for layer in (function, known))
    ours, theirs = ({**config, "name": None} for config in configs)
    return bool(ours == theirs)


def _through_tensorflow(
    function: Callable[..., Any], name: str
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    tf = tensorflow_module()
    # Called as a layer it would first cast to its own dtype, float32.
    compute = function.call if isinstance(function, tf.keras.layers.Layer) else function

    def evaluate(z: NDArray[np.float64]) -> NDArray[np.float64]:
        try:
            result = tf.cast(compute(tf.constant(z, tf.float64)), tf.float64)
            return np.asarray(result)
        except Exception as error:
            raise UnsupportedError(
                f"the activation {name} cannot be evaluated in float64: {one_line(error)}"
            ) from error

    return evaluate
