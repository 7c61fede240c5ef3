"""What came back from one call of one recurrent layer, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import UnsupportedError
from rnn_parity.keras_adapter.recorder import Call
from rnn_parity.keras_adapter.weights import layer_weights
from rnn_parity.layers import Layer

STATES = ("initial_state", "final_state")
"""Each is several arrays, "initial_state_0" and so on: h before an LSTM's c."""


@dataclass(frozen=True, eq=False)
class Observation:
    """One call of one recurrent layer, as it ran; `call` counts from 0 when there are several.

    `inputs` is `(B, T, F)` and `mask` `(B, T)` as they reached the layer's `call`, after its own
    cast to its compute dtype; `initial_state` holds a `(B, H)` for each state, h before an
    LSTM's c, or is None for zeros. `outputs` is `(B, T, H)`,
    the whole sequence in processing order; `last_output` `(B, H)` what the layer returned where it
    returns no sequence; `final_state` `(B, H)` the returned state, or what a stateful layer stored.

    When `weights` is None, `not_compared` is the reason, and only `inputs` and `outputs` are there:
    the first tensor that the layer was given and the first that it returned, of whatever shape
    (empty for a layer that was not seen to run). `notes` are sentences about what Keras did on the
    way to this call.
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
    notes: tuple[str, ...] = ()


def observation(
    call: Call, mode: str, number: int | None, arrays: Mapping[str, NDArray[Any]]
) -> Observation:
    """The observation of `call`; `arrays` holds the values of its tensors, by their names."""
    weights, reason = None, call.not_compared
    fields: dict[str, Any] = {n: a for n, a in arrays.items() if not n.startswith(STATES)}
    for name in STATES:
        states = tuple(arrays[key] for key in sorted(arrays) if key.startswith(name))
        if states:
            fields[name] = states
    if reason is None:
        try:
            weights = layer_weights(call.layer)
        except UnsupportedError as error:  # its activation cannot be evaluated
            reason = str(error)
    return Observation(
        layer_class=type(call.layer).__name__,
        layer_name=call.name,
        config=_config(call.layer),
        mode=mode,
        call=number,
        weights=weights,
        not_compared=reason,
        notes=call.notes,
        **fields,
    )


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


def _config(layer: Any) -> dict[str, Any]:
    """The layer's own description of itself in JSON's types; what has none becomes a string."""
    try:
        config = layer.get_config()
    except Exception:  # a user's own class need not describe itself
        return {}
    plain: dict[str, Any] = json.loads(json.dumps(config, default=str, skipkeys=True))
    return plain
