"""What came back from one call of one recurrent layer, as data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import UnsupportedError
from rnn_parity.keras_adapter.calls import Call
from rnn_parity.keras_adapter.dropout import MASKS
from rnn_parity.keras_adapter.kernel import CUDNN, kernel_of
from rnn_parity.keras_adapter.parts import is_bidirectional
from rnn_parity.keras_adapter.runtime import device
from rnn_parity.keras_adapter.weights import cell_weights, layer_weights
from rnn_parity.recurrence.bidirectional import Handed, Merge
from rnn_parity.recurrence.layers import Layer

STATES = ("initial_state", "final_state")
"""Each is several arrays, "initial_state_0" and so on: h before an LSTM's c."""
FUSED = "Keras ran cuDNN's fused kernel in place of its own loop"
MERGED_BY_KERAS = "the merge of a Bidirectional is Keras's own, and no other implementation's"


@dataclass(frozen=True, eq=False)
class Observation:
    """One call of one recurrent layer, as it ran; `call` counts from 0 when there are several.

    `inputs` is `(B, T, F)` and `mask` `(B, T)` as they reached the layer's `call`, after its own
    cast to its compute dtype; `initial_state` holds a `(B, H)` for each state, h before an
    LSTM's c, or is None for zeros. `outputs` is `(B, T, H)`,
    the whole sequence in processing order; `last_output` `(B, H)` what the layer returned where it
    returns no sequence; `final_state` `(B, H)` the returned state, or what a stateful layer stored.
    `dropout_inputs` `(G, B, F)` and `dropout_recurrent` `(G, B, H)` are what a layer in training
    multiplied its inputs and its state with, for each of G gates; None for no dropout there.

    When `weights` is None, `not_compared` is the reason, and only `inputs` and `outputs` are there:
    the first tensor that the layer was given and the first that it returned, of whatever shape
    (empty for a layer that was not seen to run). `merge` is what a `Bidirectional` did beside its
    two layers, which have observations of their own: `parts`, those of the forward layer's cells
    and those of the backward layer's. It is Keras's, and compared with nobody else's. `kernel` is
    which of Keras's implementations ran, by its documented conditions. `notes` are sentences about
    what Keras did on the way to this call. `probe` runs the layer itself once more, from inputs
    `(B, T, F)` and states `(B, H)` in processing order to outputs `(B, T, H)`, or to None where
    Keras refuses; it is None where another call would change the layer or run another computation.
    `unproven` says why the numbers alone do not prove that another implementation, who computed
    them, is this layer; empty where they do.
    """

    layer_class: str
    layer_name: str
    config: dict[str, Any]
    mode: str
    call: int | None
    weights: Layer | None
    not_compared: str | None
    inputs: NDArray[Any]
    outputs: NDArray[Any]
    mask: NDArray[np.bool_] | None = None
    initial_state: tuple[NDArray[Any], ...] | None = None
    last_output: NDArray[Any] | None = None
    final_state: tuple[NDArray[Any], ...] = ()
    dropout_inputs: NDArray[Any] | None = None
    dropout_recurrent: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    merge: Merge | None = None
    parts: tuple[tuple[Observation, ...], ...] = ()
    kernel: str | None = None
    probe: Callable[..., NDArray[Any] | None] | None = None
    unproven: str = ""


def observation(
    call: Call, mode: str, number: int | None, arrays: Mapping[str, NDArray[Any]]
) -> Observation:
    """The observation of `call`; `arrays` holds the values of its tensors, by their names."""
    weights, reason, merge = None, call.not_compared, None
    if is_bidirectional(call.layer):
        whole = handed(arrays, "whole")
        fields: dict[str, Any] = {"inputs": whole.inputs, "outputs": whole.returned[0]}
        if reason is None:
            merge, reason = merge_of(call.layer, arrays), MERGED_BY_KERAS
    else:
        names = [name for name in arrays if not name.startswith(STATES)]
        fields = {name: arrays[name] for name in names}
        # Gates first, where `predict` and a loop over slices want the batch.
        fields |= {name: arrays[name].swapaxes(0, 1) for name in MASKS if name in arrays}
        fields |= {name: found for name in STATES if (found := numbered(arrays, name))}
    if reason is None:
        try:
            weights = _weights(call)
        except UnsupportedError as error:  # its activation cannot be evaluated
            reason = str(error)
    kernel = None
    if weights is not None:
        kernel = kernel_of(call.layer, mode, fields.get("mask"), device() != "cpu")
    return Observation(
        layer_class=type(call.layer if call.cell is None else call.cell).__name__,
        layer_name=call.name,
        config=_config(call.layer, call.cell),
        mode=mode,
        call=number,
        weights=weights,
        not_compared=reason,
        notes=call.notes + (FUSED,) * (kernel == CUDNN),
        merge=merge,
        kernel=kernel,
        **fields,
    )


def merge_of(layer: Any, arrays: Mapping[str, NDArray[Any]]) -> Merge:
    """What a `Bidirectional` did, from the arrays of its call."""
    parts = {side: handed(arrays, side) for side in ("whole", "forward", "backward")}
    count = len(parts["forward"].returned) - 1
    names = {1: ("h",), 2: ("h", "c")}.get(count, tuple(f"state {i}" for i in range(count)))
    return Merge(layer.merge_mode, bool(layer.return_sequences), names, **parts)


def with_parts(merge: Observation, found: Sequence[Observation]) -> Observation:
    """What a `Bidirectional` did, with what its two layers did in the same call."""
    whole = merge.layer_name.removesuffix("/merge")
    call = [one for one in found if one.call == merge.call]
    sides = (f"{whole}/forward/", f"{whole}/backward/")
    parts = [tuple(one for one in call if one.layer_name.startswith(side)) for side in sides]
    return replace(merge, parts=tuple(parts))


def handed(arrays: Mapping[str, NDArray[Any]], side: str) -> Handed:
    """What passed through the wrapper, or through one of its layers."""
    own = {
        name.removeprefix(f"{side}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{side}/")
    }
    return Handed(
        own["inputs"], own.get("mask"), numbered(own, "initial_state"), numbered(own, "returned")
    )


def numbered(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[NDArray[Any], ...]:
    """The arrays "name_0", "name_1" and so on."""
    keys = (f"{name}_{i}" for i in range(len(arrays)))
    return tuple(arrays[key] for key in keys if key in arrays)


def not_seen(layer: Any, name: str, mode: str) -> Observation:
    """A recurrent layer of the model whose calls, if any, could not be observed."""
    nothing = np.zeros((0, 0, 0))
    return Observation(
        layer_class=type(layer).__name__,
        layer_name=name,
        config=_config(layer),
        mode=mode,
        call=None,
        weights=None,
        not_compared=(
            f"{type(layer).__name__} {name!r} was not seen to run: the model does not call it, or "
            "calls it inside a tf.function or loop of its own"
        ),
        inputs=nothing,
        outputs=nothing,
    )


def _weights(call: Call) -> Layer:
    if call.cell is None:
        return layer_weights(call.layer)
    return cell_weights(call.cell, call.layer.go_backwards, call.layer.zero_output_for_mask)


def _config(layer: Any, cell: Any = None) -> dict[str, Any]:
    """The layer's own description of itself in JSON's types; what has none becomes a string.

    Of a stack of cells, that of a layer around this `cell` alone.
    """
    try:
        config = layer.get_config()
        if cell is not None:
            config["cell"] = {"class_name": type(cell).__name__, "config": cell.get_config()}
    except Exception:  # a user's own class need not describe itself
        return {}
    plain: dict[str, Any] = json.loads(json.dumps(config, default=str, skipkeys=True))
    return plain
