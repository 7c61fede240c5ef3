"""What passed through a recurrent layer or a `Bidirectional` in one call, whoever computed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.cells import Cell


@dataclass(frozen=True, eq=False)
class Handed:
    """What a layer was given, and all that it returned: outputs before states, batch first.

    `inputs` is `(B, T, ...)`, `mask` `(B, T)` or None. `initial_state` is empty where none was
    given.
    """

    inputs: NDArray[Any]
    mask: NDArray[np.bool_] | None
    initial_state: Sequence[NDArray[Any]]
    returned: Sequence[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Merge:
    """One call of a `Bidirectional` and of its two layers.

    `mode` is its merge mode; `sequences` tells whether the layers return sequences `(B, T, ...)`.
    `states` names the states that one of the two returns (none where they are not returned).
    """

    mode: str | None
    sequences: bool
    states: Sequence[str]
    whole: Handed
    forward: Handed
    backward: Handed

    @property
    def parts(self) -> dict[str, Handed]:
        """The two layers."""
        return {"forward": self.forward, "backward": self.backward}


@dataclass(frozen=True, eq=False)
class LayerCall:
    """What passed through one recurrent layer in one call, as it ran, or as it is to be computed.

    `call` counts from 0 when there are several. `inputs` is `(B, T, F)` and `mask` `(B, T)` as they
    reached the layer's `call`, after its own cast to its compute dtype; `initial_state` holds a
    `(B, H)` for each state, h before an LSTM's c, or is None for zeros. `outputs` is `(B, T, H)`,
    the whole sequence in processing order; `last_output` `(B, H)` what the layer returned where it
    returns no sequence; `final_state` `(B, H)` the returned state, or what a stateful layer stored.
    `dropout_inputs` `(G, B, F)` and `dropout_recurrent` `(G, B, H)` are what a layer in training
    multiplied its inputs and its state with, for each of G gates; None for no dropout there.

    When `weights` is None, `not_compared` is the reason, and only `inputs` and `outputs` are there:
    the first tensor that the layer was given and the first that it returned, of whatever shape
    (empty for a layer that was not seen to run). `merge` is what a `Bidirectional` did beside its
    two layers, which have calls of their own: `parts`, those of the forward layer's cells and those
    of the backward layer's. It is Keras's, and compared with nobody else's. `kernel` is which of
    Keras's implementations ran, by its documented conditions. `notes` are sentences about what
    happened on the way to this call. `probe` runs the layer itself once more, from inputs
    `(B, T, F)` and states `(B, H)` in processing order to outputs `(B, T, H)`, or to None where
    Keras refuses; it is None where another call would change the layer or run another computation.
    `unproven` says why the numbers alone do not prove that another implementation, who computed
    them, is this layer; empty where they do. `model_inputs` is what the whole model was given, by
    the names of its inputs, where a model ran. `made_by` is the kind of implementation that
    computed the call, as known differences name it; empty where its name is that. `whole` names the
    operator or the module of another framework that gives the outputs of this layer, side by side
    with those of its other direction, all of them in the order of time; empty for a layer of Keras.
    """

    layer_class: str
    layer_name: str
    config: dict[str, Any]
    mode: str
    call: int | None
    weights: Cell | None
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
    parts: tuple[tuple[LayerCall, ...], ...] = ()
    kernel: str | None = None
    probe: Callable[..., NDArray[Any] | None] | None = None
    unproven: str = ""
    model_inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    made_by: str = ""
    whole: str = ""

    @property
    def in_bidirectional(self) -> bool:
        """Whether this is a layer of a `Bidirectional`, by its name in it: "both/forward/lstm"."""
        return not {"forward", "backward"}.isdisjoint(self.layer_name.split("/")[1:-1])


def not_compared(
    layer_class: str, layer_name: str, config: dict[str, Any], reason: str, mode: str = ""
) -> LayerCall:
    """A call of which nothing was seen, and why."""
    nothing = np.zeros((0, 0, 0))
    return LayerCall(
        layer_class=layer_class,
        layer_name=layer_name,
        config=config,
        mode=mode,
        call=None,
        weights=None,
        not_compared=reason,
        inputs=nothing,
        outputs=nothing,
    )
