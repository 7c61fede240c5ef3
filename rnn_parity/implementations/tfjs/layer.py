"""`tfjs`: the layer itself in TensorFlow.js, built from its options and given its weights.

TensorFlow.js writes its layers anew, after those of Keras 2. What it does not have is refused by
name. Its one hard_sigmoid is that of Keras 2, `clip(0.2 z + 0.5, 0, 1)`: a layer of Keras 3 with
that name gets it, as a converted model would, and diverges.
"""

from __future__ import annotations

from typing import Any

from rnn_parity.errors import UnsupportedError
from rnn_parity.implementations.request import Answer, Implementation, Request, keras_class
from rnn_parity.implementations.tfjs.node import (
    NAME,
    SHOWN,
    Runtime,
    call_arrays,
    runtime,
    states_in,
)
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import WEIGHTS, Cell

KINDS = {"SimpleRNN": "simpleRNN", "LSTM": "lstm", "GRU": "gru"}
"""The functions of TensorFlow.js that make the layers."""
SAME = (
    *("linear", "tanh", "sigmoid", "relu", "relu6", "elu", "selu", "softplus", "softsign"),
    *("softmax", "gelu", "mish"),
)
ACTIVATIONS = {name: name for name in SAME} | {
    "silu": "swish",
    "log_softmax": "logSoftmax",
    "hard_sigmoid": "hardSigmoid",
    "hard_sigmoid_keras2": "hardSigmoid",
}
"""What TensorFlow.js calls the activations that it has."""


def implementation(argument: str) -> Implementation:
    """The layer in TensorFlow.js, on its CPU backend, in float32.

    Raises `MissingPackageError` without Node or TensorFlow.js; when asked, `UnsupportedError` for
    an option that TensorFlow.js does not have.
    """
    found = runtime(f"against {NAME!r}")

    def compute(request: Request) -> Answer:
        return answered(found, request)

    return compute


def answered(found: Runtime, request: Request) -> Answer:
    """What TensorFlow.js computes for one call of a layer, or of a `Bidirectional` as a whole."""
    layers = request.side_by_side or (request.layer,)
    kind = KINDS[keras_class(request.layer, NAME)]
    refuse_unlike(layers)
    if request.mask is not None and request.layer.zero_output_for_mask:
        raise UnsupportedError(
            f"{NAME}: TensorFlow.js has no zero_output_for_mask; leave it out, or the mask"
        )
    weights = {
        f"{i}/{name}": weight
        for i, layer in enumerate(layers)
        for name in WEIGHTS
        if (weight := getattr(layer, name)) is not None
    }
    question = {
        "task": "layer",
        "kind": kind,
        "config": {**options(layers[0]), "returnState": not request.side_by_side},
        "bidirectional": bool(request.side_by_side),
        "weights": list(weights),
    }
    _, computed = found.ask(NAME, question, {**call_arrays(request), **weights})
    return Answer(computed["outputs"], states_in(computed, "state/"), notes_on(found, request))


def notes_on(found: Runtime, request: Request) -> tuple[str, ...]:
    """What ran, and what is known to differ in such a call."""
    masked = request.mask is not None and not request.mask.all()
    started = any(state.any() for state in (request.initial_state or ())[:1])
    return (found.name, SHOWN) if masked and started else (found.name,)


def options(layer: Cell) -> dict[str, Any]:
    """The options of a layer as TensorFlow.js takes them; refuses those that it does not have."""
    if layer.precision.name != "float32":
        raise UnsupportedError(
            f"{NAME}: expected a float32 layer, received {layer.precision.name}: TensorFlow.js "
            "computes in float32 alone"
        )
    if getattr(layer, "reset_after", False):
        raise UnsupportedError(f"{NAME}: TensorFlow.js has no reset_after=True; set it to False")
    names = {"activation": "activation", "recurrent_activation": "recurrentActivation"}
    used = {names[name]: tfjs_name(getattr(layer, name)) for name in names if name in layer.OPTIONS}
    return used | {
        "units": layer.units,
        "useBias": layer.bias is not None,
        "goBackwards": layer.go_backwards,
        "returnSequences": True,
    }


def tfjs_name(activation: Activation) -> str:
    """What TensorFlow.js calls an activation; raises `UnsupportedError` where it has none."""
    if activation.name not in ACTIVATIONS:
        raise UnsupportedError(
            f"{NAME}: TensorFlow.js has no activation {activation.name}; it has "
            f"{', '.join(sorted(ACTIVATIONS.keys() - {'hard_sigmoid_keras2'}))}"
        )
    return ACTIVATIONS[activation.name]


def refuse_unlike(layers: tuple[Cell, ...]) -> None:
    """Raise `UnsupportedError` for a backward layer that is not the forward one reversed."""
    if len(layers) == 1:
        return
    forward, backward = (options(layer) for layer in layers)
    mirrored = {**forward, "goBackwards": not forward["goBackwards"]}
    if type(layers[0]) is not type(layers[1]) or backward != mirrored:
        raise UnsupportedError(
            f"{NAME}: TensorFlow.js has no backward_layer of its own in a Bidirectional; leave it "
            "out, or name one of the two layers (--layer-name)"
        )
