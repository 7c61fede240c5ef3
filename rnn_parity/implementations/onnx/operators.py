"""ONNX's operators RNN, LSTM and GRU as layers: their weights, options, masks and states.

Source: https://onnx.ai/onnx/operators, `RNN`, `LSTM` and `GRU`, versions 7 to 22. With D directions
(1 or 2), G gates and H units: `W` is `(D, G H, F)`, `R` `(D, G H, H)`, and `B` `(D, 2 G H)` holds
the input's bias and the recurrent one. The gates of an LSTM stand in the order i, o, f, c, those of
a GRU in z, r, h. `Ht = (1 - zt) (.) ht + zt (.) Ht-1`, as in Keras. The values in
`activation_alpha` and `activation_beta` are consumed in the order of the activations that use them;
names are compared without case, as ONNX Runtime does for LSTM and GRU. NumPy alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.recurrence.activations import Activation, clipped, named
from rnn_parity.recurrence.cells import GRU, LSTM, Cell, PeepholeLSTM, SimpleRNN
from rnn_parity.recurrence.formula import ACTIVATIONS
from rnn_parity.recurrence.layer_call import LayerCall

_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h")
INPUTS = {"RNN": _INPUTS, "GRU": _INPUTS, "LSTM": (*_INPUTS, "initial_c", "P")}
OUTPUTS = {"RNN": ("Y", "Y_h"), "GRU": ("Y", "Y_h"), "LSTM": ("Y", "Y_h", "Y_c")}
"""The names that ONNX gives to the inputs and the outputs of each operator, in order."""

DIRECTIONS = {
    "forward": ("forward",),
    "reverse": ("backward",),
    "bidirectional": ("forward", "backward"),
}
REPLAYED = {"activations", "activation_alpha", "activation_beta", "direction", "hidden_size"}
REPLAYED |= {"layout", "linear_before_reset", "clip"}
GATES = {"RNN": (0,), "LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2)}
"""Where each of Keras's gates stands among ONNX's."""
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


OPERATORS = {"SimpleRNN": "RNN", "LSTM": "LSTM", "PeepholeLSTM": "LSTM", "GRU": "GRU"}
"""ONNX's name of each layer."""
LOSES = {"RNN": {"tanh": 4, "softplus": 2}, "LSTM": {"softplus": 2}, "GRU": {"softplus": 2}}
"""How many units of roundoff ONNX Runtime's operators lose near 0, where the catalogue allows none.

They compute softplus as `log(1 + exp x)` and RNN tanh as `2 sigmoid(2 x) - 1`: 1.2 and 2.2 on 1.32,
as `tests/benchmarks/measure_allowances.py` measured, rounded up.
"""
LOSS = "the bound allows for what ONNX Runtime's {} loses of {} near 0: {} units of roundoff"


def refuse(op_type: str, attributes: Mapping[str, Any]) -> None:
    """Raise `UnsupportedError` for what an operator does and the replay does not."""
    for name, value in attributes.items():
        if name not in REPLAYED and (name, value) != ("input_forget", 0):
            raise UnsupportedError(f"the attribute {name}={value} of {op_type} is not replayed")
    check_clip(op_type, attributes)
    direction = attributes.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise UnsupportedError(
            f"direction: expected one of {', '.join(DIRECTIONS)}, received {direction!r}"
        )


def check_clip(op_type: str, attributes: Mapping[str, Any]) -> None:
    """Raise `InputError` for a `clip` that bounds nothing, or leaves nothing."""
    clip = attributes.get("clip", 1.0)
    if not 0 < clip < np.inf:
        raise InputError(f"clip of {op_type}: expected a finite number above 0, received {clip}")


def operator_layers(
    op_type: str, attributes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Cell]:
    """The layer of each direction ("forward", "backward"), from the arrays W, R and B.

    A layer gives zeros for masked steps, as the operators do beyond `sequence_lens`. Raises
    `UnsupportedError` for what is not replayed and `InputError` for weights that do not fit.
    """
    refuse(op_type, attributes)
    W, R, B, P = arrays["W"], arrays["R"], arrays.get("B"), arrays.get("P")
    names, gates = DIRECTIONS[attributes.get("direction", "forward")], len(GATES[op_type])
    units = R.shape[-1]
    shapes = {"W": (gates * units, W.shape[-1]), "R": (gates * units, units)}
    for name, shape in {**shapes, "B": (2 * gates * units,), "P": (3 * units,)}.items():
        if name in arrays and arrays[name].shape != (len(names), *shape):
            raise InputError(
                f"{name} of {op_type}: expected shape {(len(names), *shape)}, received "
                f"{arrays[name].shape}"
            )
    functions = activations(op_type, attributes, exact=W.dtype == np.float64)
    options = {"dtype": W.dtype.name, "zero_output_for_mask": True}
    if op_type == "GRU":
        options["reset_after"] = bool(attributes.get("linear_before_reset", 0))
    return {
        name: direction_layer(
            op_type,
            (W[d], R[d], None if B is None else B[d], None if P is None else P[d]),
            functions[d],
            {**options, "go_backwards": name == "backward"},
        )
        for d, name in enumerate(names)
    }


def direction_layer(
    op_type: str,
    weights: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, NDArray[Any] | None],
    functions: Sequence[Activation],
    options: dict[str, Any],
) -> Cell:
    """One direction's layer, from W `(G H, F)`, R `(G H, H)`, and B `(2 G H,)` and P `(3 H,)`, or
    None for each of these two.
    """
    W, R, B, P = weights
    kernel, recurrent_kernel, bias = in_order(op_type, W), in_order(op_type, R), None
    addends: tuple[NDArray[Any], ...] = ()
    if B is not None:
        # In float64: the sum of the two biases is rounded once, by the constructor.
        both = np.stack([in_order(op_type, b) for b in np.split(B.astype(np.float64), 2)])
        addends = () if options.get("reset_after") else tuple(both)
        bias = both.sum(axis=0) if addends else both
    if op_type == "RNN":
        made = SimpleRNN(kernel, recurrent_kernel, bias, functions[0], **options)
        return made.changed(addends=addends)
    f, g, *h = functions
    kind: type[Cell] = GRU if op_type == "GRU" else LSTM
    if P is not None or h not in ([], [g]):
        kind, options = PeepholeLSTM, {**options, "output_activation": h[0]}
        options["peephole"] = None if P is None else peephole(P)
    return kind(kernel, recurrent_kernel, bias, g, f, **options).changed(addends=addends)


def peephole(P: NDArray[Any]) -> NDArray[Any]:
    """ONNX's peepholes `(3 H,)` of i, o, f in the order i, f, o."""
    of_i, of_o, of_f = np.split(P, 3)
    return np.concatenate([of_i, of_f, of_o])


def in_order(op_type: str, weights: NDArray[Any]) -> NDArray[Any]:
    """Weights `(G H, ...)` of an operator with Keras's order of gates, along the last axis."""
    gates = np.split(weights, len(GATES[op_type]))
    found: NDArray[Any] = np.concatenate([gates[g] for g in GATES[op_type]]).T
    return found


def directions(
    op_type: str, attributes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> list[LayerCall]:
    """The call of each direction, from an operator's inputs and outputs by the names of ONNX.

    An input or output that the operator does not have is not among `arrays`, Y or Y_h is. A call is
    named "forward" or "backward"; without a Y its outputs are h, `(B, H)`, the last output where no
    step is masked. Raises as `operator_layers` does.
    """
    batch_first = bool(attributes.get("layout", 0))
    x = arrays["X"] if batch_first else arrays["X"].swapaxes(0, 1)
    mask = None
    if "sequence_lens" in arrays:
        mask = np.arange(x.shape[1]) < arrays["sequence_lens"][:, np.newaxis]

    def state(name: str, d: int) -> NDArray[Any]:
        """One direction of a state, `(B, H)`."""
        return arrays[name][:, d] if batch_first else arrays[name][d]

    found = []
    for d, (name, one) in enumerate(operator_layers(op_type, attributes, arrays).items()):
        final = tuple(state(f"Y_{s}", d) for s in one.STATES if f"Y_{s}" in arrays)
        given = [f"initial_{s}" for s in one.STATES]
        zeros = np.zeros((len(x), one.units))
        start = [state(key, d) if key in arrays else zeros for key in given]
        call = LayerCall(
            layer_class=op_type,
            layer_name=name,
            config=dict(attributes),
            mode="",
            call=None,
            weights=one,
            not_compared=None,
            inputs=x,
            outputs=sequence_outputs(arrays, d, batch_first, one) if "Y" in arrays else final[0],
            mask=mask,
            initial_state=tuple(start) if any(key in arrays for key in given) else None,
            final_state=final,
        )
        found.append(call)
    return found


def sequence_outputs(
    arrays: Mapping[str, NDArray[Any]], d: int, batch_first: bool, layer: Cell
) -> NDArray[Any]:
    """The outputs `(B, T, H)` of direction `d` in Y, in the processing order of its `layer`."""
    Y = arrays["Y"]
    outputs = Y[:, :, d] if batch_first else Y[:, d].swapaxes(0, 1)
    return outputs[:, ::-1] if layer.go_backwards else outputs


def as_runtime_computes(layer: Cell, inside: Container[str]) -> tuple[Cell, tuple[str, ...]]:
    """`layer` as accurate as ONNX Runtime's operator, and notes on what that loses.

    As it is where no such operator is among the types `inside` the model: a loop computes its
    activations as accurately as others do.
    """
    kind = OPERATORS.get(type(layer).__name__, "")
    changes, notes = {}, []
    for letter, function in layer.letters.items():
        name = function.name.partition(" clipped")[0]
        if kind in inside and name in LOSES[kind]:
            lost = LOSES[kind][name]
            changes[ACTIVATIONS[letter]] = replace(function, absolute=lost)
            notes.append(LOSS.format(kind, name, lost))
    return layer.changed(**changes), tuple(dict.fromkeys(notes))


def activations(op_type: str, attributes: Mapping[str, Any], exact: bool) -> list[list[Activation]]:
    """The activations f (g, h) of each direction; `clip` bounds the arguments of f and g.

    ONNX Runtime leaves the argument of h, which is c, as it is.
    """
    found = [[named(name) for name in one] for one in activation_names(op_type, attributes, exact)]
    if "clip" in attributes:
        limit = float(attributes["clip"])
        found = [[clipped(one, limit) for one in names[:2]] + names[2:] for names in found]
    return found


def activation_names(op_type: str, attributes: Mapping[str, Any], exact: bool) -> list[list[str]]:
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
