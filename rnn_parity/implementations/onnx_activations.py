"""The activations of ONNX's recurrent operators, and what Keras calls the same functions.

Source: https://onnx.ai/onnx/operators, `LSTM`: the values in `activation_alpha` and
`activation_beta` are consumed in the order of the activations that use them. Names are compared
without case, as ONNX Runtime does for LSTM and GRU.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_parity.errors import UnsupportedError
from rnn_parity.recurrence.layers import Layer

DEFAULTS = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}
"""The activations f, g, h of one direction, when none are given."""

SAME = {
    ("relu", ()): "relu",
    ("tanh", ()): "tanh",
    ("sigmoid", ()): "sigmoid",
    ("softsign", ()): "softsign",
    ("softplus", ()): "softplus",
    ("affine", (1.0, 0.0)): "linear",
    ("scaledtanh", (1.0, 1.0)): "tanh",
    ("elu", (1.0,)): "elu",
    ("thresholdedrelu", (1.0,)): "ThresholdedReLU",
    ("leakyrelu", (0.2,)): "leaky_relu",
    ("leakyrelu", (0.3,)): "LeakyReLU",
    ("hardsigmoid", (0.2, 0.5)): "hard_sigmoid_keras2",
    ("hardsigmoid", (1 / 6, 0.5)): "hard_sigmoid",
}
"""A name with the alpha, or the alpha and the beta, that it uses: what Keras calls it."""
USED = {name: len(values) for name, values in SAME}
OPERATOR_DEFAULTS = {
    "elu": (1.0,),
    "thresholdedrelu": (1.0,),
    "leakyrelu": (0.01,),
    "hardsigmoid": (0.2, 0.5),
}
"""The defaults of the operators of the same names; Affine and ScaledTanh are none (any more)."""


OPERATORS = {"SimpleRNN": "RNN", "LSTM": "LSTM", "GRU": "GRU"}
"""ONNX's name of each layer."""
LOSES = {"RNN": {"tanh": 4, "softplus": 2}, "LSTM": {"softplus": 2}, "GRU": {"softplus": 2}}
"""How many units of roundoff ONNX Runtime's operators lose near 0, where the catalogue allows none.

They compute softplus as `log(1 + exp x)` and RNN tanh as `2 sigmoid(2 x) - 1`: 1.2 and 2.2 on 1.32,
as `tests/benchmarks/measure_allowances.py` measured, rounded up.
"""
LOSS = "the bound allows for what ONNX Runtime's {} loses of {} near 0: {} units of roundoff"


def of_runtime(layer: Layer, inside: Container[str]) -> tuple[Layer, tuple[str, ...]]:
    """`layer` as accurate as ONNX Runtime's operator, and notes on what that loses.

    As it is where no such operator is among the types `inside` the model: a loop computes its
    activations as accurately as others do.
    """
    kind = OPERATORS[type(layer).__name__]
    changes, notes = {}, []
    for field in ("activation", "recurrent_activation"):
        function = getattr(layer, field, None)
        if function and kind in inside and function.name in LOSES[kind]:
            lost = LOSES[kind][function.name]
            changes[field] = replace(function, absolute=lost)
            notes.append(LOSS.format(kind, function.name, lost))
    return layer.changed(**changes), tuple(dict.fromkeys(notes))


def activations(op_type: str, attributes: Mapping[str, Any], exact: bool) -> list[list[str]]:
    """Keras's names of the activations f (g, h), for each direction.

    `exact` is for float64, in which an alpha of 0.2 is not 0.2: an attribute is a float32. Raises
    `UnsupportedError` for an activation that Keras has no name for.
    """
    count = len(DEFAULTS[op_type])
    directions = 2 if attributes.get("direction", "forward") == "bidirectional" else 1
    given = attributes.get("activations") or DEFAULTS[op_type] * directions
    if len(given) != count * directions:
        raise UnsupportedError(
            f"activations: expected {count * directions} of them for {op_type}, received "
            f"{', '.join(given)}"
        )
    alphas = iter(attributes.get("activation_alpha", ()))
    betas = iter(attributes.get("activation_beta", ()))
    names = [keras_name(name, (alphas, betas), exact) for name in given]
    if [*alphas, *betas]:
        raise UnsupportedError(
            "activation_alpha and activation_beta: expected as many as the activations use, "
            "received more"
        )
    return [names[i : i + count] for i in range(0, len(names), count)]


def keras_name(name: str, given: Sequence[Iterator[float]], exact: bool) -> str:
    """What Keras calls one activation, which uses the next of the `given` alphas and betas."""
    function = name.lower()
    defaults = OPERATOR_DEFAULTS.get(function, (None, None))
    used = range(USED.get(function, 0))
    values = [next(given[i], defaults[i]) for i in used]
    for (known, wanted), keras in SAME.items():
        if known == function and all(
            equal(value, w, exact) for value, w in zip(values, wanted, strict=True)
        ):
            return keras
    said = "".join(f" {'alpha' if i == 0 else 'beta'}={values[i]}" for i in used)
    raise UnsupportedError(f"the activation {name}{said} is not replayed: Keras has none like it")


def equal(value: float | None, wanted: float, exact: bool) -> bool:
    """Whether an attribute or a default, which is a float32, says `wanted`."""
    if value is None:
        return False
    return float(np.float32(value)) == (wanted if exact else float(np.float32(wanted)))
