"""Mistakes of layers with gates: their order, and their activation. See `cells` for the letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, permutations

import numpy as np

from rnn_parity.diagnosis.faults.common import DISTINCT, activations, single_step
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.recurrence.layers import GRU, LSTM, Array, Layer

WEIGHTS = ("kernel", "recurrent_kernel", "bias")
OTHER_ORDERS = {
    LSTM: (("i", "o", "f", "c"), ("i", "c", "f", "o")),
    GRU: (("r", "z", "h"), ("z", "h", "r")),
}
"""ONNX's and TensorFlow 1's order of an LSTM's gates; PyTorch's of a GRU's, and one more."""


def reordered(layer: Layer, weights: Array, order: Sequence[str]) -> Array:
    """The weights as an implementation takes them that expects the gates in `order`."""
    gates = weights.reshape(*weights.shape[:-1], len(order), layer.units)
    found: Array = gates[..., [order.index(gate) for gate in layer.GATES], :]
    return found.reshape(weights.shape)


def moved(layer: Layer, order: Sequence[str]) -> dict[str, Array]:
    """Those of the weights that another order of the gates changes."""
    own = {name: getattr(layer, name) for name in WEIGHTS}
    other = {n: reordered(layer, w, order) for n, w in own.items() if w is not None}
    return {name: w for name, w in other.items() if not np.array_equal(w, own[name])}


def permuted(c: Computation, orders: Iterable[Sequence[str]]) -> Variants:
    for order in orders:
        changes = moved(c.layer, order)
        yield c.layer_but(f"they are taken in the order {', '.join(order)}", **changes)


def usual_orders(c: Computation) -> Variants:
    return permuted(c, OTHER_ORDERS[type(c.layer)])


def other_orders(layer: Layer) -> list[tuple[str, ...]]:
    return [order for order in permutations(layer.GATES) if order != layer.GATES]


def all_orders(c: Computation, outputs: Outputs) -> Variants:
    return permuted(c, other_orders(c.layer))


def equal_gates(c: Computation) -> str | None:
    equal = any(not moved(c.layer, order) for order in OTHER_ORDERS[type(c.layer)])
    return "gates have equal weights" if equal else None


def misaligned(c: Computation, orders: Iterable[Sequence[str]]) -> Variants:
    """Some of the weights in another order, and the others not."""
    for order in orders:
        changes = moved(c.layer, order)
        for count in range(1, len(changes)):
            for names in combinations(changes, count):
                which = " and ".join(name.replace("_", " ") for name in names)
                detail = f"those of the {which} are taken in the order {', '.join(order)}"
                yield c.layer_but(detail, **{name: changes[name] for name in names})


def usually_misaligned(c: Computation) -> Variants:
    return misaligned(c, OTHER_ORDERS[type(c.layer)][:1])


def all_misaligned(c: Computation, outputs: Outputs) -> Variants:
    return misaligned(c, other_orders(c.layer))


def unseen_misaligned(c: Computation) -> str | None:
    unused = "one timestep: the recurrent kernel is never used" if single_step(c) else None
    return unused or equal_gates(c)


USUAL = ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras2", "tanh")


def usual_gate_activations(c: Computation) -> Variants:
    return activations(c, "recurrent_activation", USUAL)


def all_gate_activations(c: Computation, outputs: Outputs) -> Variants:
    return activations(c, "recurrent_activation", DISTINCT)


def columns(layer: Layer, gate: str) -> slice:
    """Where a gate's weights stand along the last axis."""
    g = layer.GATES.index(gate)
    return slice(g * layer.units, (g + 1) * layer.units)


BOTH = ("LSTM", "GRU")
FAULTS = (
    Fault(
        "gates-permuted",
        "the gates stand in another order",
        "put the gates in Keras's order: i, f, c, o of an LSTM, z, r, h of a GRU",
        usual_orders,
        equal_gates,
        all_orders,
        layers=BOTH,
    ),
    Fault(
        "gates-misaligned",
        "some of the weights have their gates in another order",
        "put the gates of kernel, recurrent kernel and bias in one order",
        usually_misaligned,
        unseen_misaligned,
        all_misaligned,
        alone=True,
        layers=BOTH,
    ),
    Fault(
        "recurrent-activation-swapped",
        "another activation is applied to the gates",
        "apply the recurrent activation of the layer's configuration",
        usual_gate_activations,
        candidates=all_gate_activations,
        last=True,
        layers=BOTH,
    ),
)
