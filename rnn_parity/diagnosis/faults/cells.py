"""Mistakes of a cell's formula: its activations, the order of its gates, and those that an LSTM or
a GRU alone can have. See `recurrence.cells` for the letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, permutations

import numpy as np

from rnn_parity.diagnosis.faults.fault import (
    INPUTS,
    UNITS,
    Computation,
    Fault,
    Variants,
    are_equal,
)
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.cells import GRU, LSTM, WEIGHTS, Array, Cell
from rnn_parity.recurrence.formula import ACTIVATIONS

# Activations.

USUAL = ("linear", "relu", "sigmoid", "tanh")
HARD = {"hard_sigmoid": 3, "hard_sigmoid_keras2": 2}
"""hard_sigmoid by the version of Keras whose slope it has."""
OTHER_HARD = dict(zip(HARD, reversed(HARD), strict=True))
DISTINCT = tuple(name for name, activation in CATALOGUE.items() if name == activation.name)
"""Every activation once: an alias has another's name."""


def own_activations(layer: Cell) -> dict[str, str]:
    """The names of the activations that the formula applies, by what they are of."""
    return {ACTIVATIONS[letter]: one.name for letter, one in layer.letters.items()}


def activations(c: Computation, which: str, names: Iterable[str]) -> Variants:
    """The layer's `activation` or `recurrent_activation` replaced by others."""
    own = own_activations(c.layer).get(which)
    for name in names if own else ():
        # The other version of hard_sigmoid is a fault of its own.
        if name != own and not {name, own} <= set(HARD):
            detail = f"the {which.replace('_', ' ')} is {name}"
            yield c.layer_but(detail, **{which: CATALOGUE[name]})


def hard_sigmoid_slope(c: Computation) -> Variants:
    """The other hard_sigmoid wherever a layer has one; then, of several, in each place alone."""
    own = own_activations(c.layer)
    hard = {which: OTHER_HARD[name] for which, name in own.items() if name in HARD}
    for some in (list(hard), *([which] for which in hard if len(hard) > 1)):
        if some:
            detail = f"the slope is that of Keras {HARD[hard[some[0]]]}"
            alone = f", of the {some[0].replace('_', ' ')} alone" if len(some) < len(hard) else ""
            yield c.layer_but(detail + alone, **{which: CATALOGUE[hard[which]] for which in some})


ACTIVATION_FAULTS = (
    Fault(
        "activation-swapped",
        "apply the activation of the layer's configuration",
        lambda c: activations(c, "activation", USUAL),
        candidates=lambda c, outputs: activations(c, "activation", DISTINCT),
        last=True,
        reach=UNITS,
    ),
    Fault(
        "hard-sigmoid-slope",
        "0.2 x + 0.5 is Keras 2's hard_sigmoid, x / 6 + 0.5 is Keras 3's",
        hard_sigmoid_slope,
        last=True,
        reach=UNITS,
    ),
)


# LSTM and GRU: the gates.

OTHER_ORDERS = {
    LSTM: (("i", "o", "f", "c"), ("i", "c", "f", "o")),
    GRU: (("r", "z", "h"), ("z", "h", "r")),
}
"""ONNX's and TensorFlow 1's order of an LSTM's gates; PyTorch's of a GRU's, and one more."""


def reordered(layer: Cell, weights: Array, order: Sequence[str]) -> Array:
    """The weights as an implementation takes them that expects the gates in `order`."""
    gates = weights.reshape(*weights.shape[:-1], len(order), layer.units)
    found: Array = gates[..., [order.index(gate) for gate in layer.GATES], :]
    return found.reshape(weights.shape)


def moved(layer: Cell, order: Sequence[str]) -> dict[str, Array]:
    """The weights that another order of the gates changes."""
    own = {name: getattr(layer, name) for name in WEIGHTS}
    other = {n: reordered(layer, w, order) for n, w in own.items() if w is not None}
    return {name: w for name, w in other.items() if not are_equal(w, own[name])}


def permuted(c: Computation, orders: Iterable[Sequence[str]]) -> Variants:
    for order in orders:
        changes = moved(c.layer, order)
        yield c.layer_but(f"they are taken in the order {', '.join(order)}", **changes)


def other_orders(layer: Cell) -> list[tuple[str, ...]]:
    return [order for order in permutations(layer.GATES) if order != layer.GATES]


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


def unseen_misaligned(c: Computation) -> str | None:
    unused = "one timestep: the recurrent kernel is never used" if c.single_step else None
    return unused or equal_gates(c)


USUAL_OF_GATES = ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras2", "tanh")


def columns(layer: Cell, gate: str) -> slice:
    """Where a gate's weights stand along the last axis."""
    g = layer.GATES.index(gate)
    return slice(g * layer.units, (g + 1) * layer.units)


GATE_FAULTS = (
    Fault(
        "gates-permuted",
        "put the gates in Keras's order: i, f, c, o of an LSTM, z, r, h of a GRU",
        lambda c: permuted(c, OTHER_ORDERS[type(c.layer)]),
        equal_gates,
        lambda c, outputs: permuted(c, other_orders(c.layer)),
        reach=UNITS,
    ),
    Fault(
        "gates-misaligned",
        "put the gates of kernel, recurrent kernel and bias in one order",
        lambda c: misaligned(c, OTHER_ORDERS[type(c.layer)][:1]),
        unseen_misaligned,
        lambda c, outputs: misaligned(c, other_orders(c.layer)),
        alone=True,
    ),
    Fault(
        "recurrent-activation-swapped",
        "apply the recurrent activation of the layer's configuration",
        lambda c: activations(c, "recurrent_activation", USUAL_OF_GATES),
        candidates=lambda c, outputs: activations(c, "recurrent_activation", DISTINCT),
        last=True,
        reach=UNITS,
    ),
)


# LSTM alone: the forget gate's bias, and the two states.


def other_forget_bias(
    c: Computation, plus: tuple[float, str], times: tuple[float, str]
) -> Variants:
    """The bias plus a number; and, unless it is 1 throughout, times another one as well."""
    if c.layer.bias is None:
        return
    f = columns(c.layer, "f")
    own = c.layer.bias[f]
    values = [(own + plus[0], plus[1])]
    if not (own == 1).all():
        values.append((own * times[0], times[1]))
    for changed, detail in values:
        bias = c.layer.bias.copy()
        bias[f] = c.layer.precision.round(changed)
        yield c.layer_but(detail, bias=bias)


def unused_forget_bias(c: Computation) -> str | None:
    if c.single_step and not c.sequences.initial_state[1].any():
        return "one timestep from a state c of zeros: nothing is there to forget"
    bias = c.layer.bias
    zero = bias is not None and not bias[columns(c.layer, "f")].any()
    return "the forget gate's bias is all zeros" if zero else None


def states_swapped(c: Computation) -> Variants:
    yield c.sequences_but(initial_state=c.sequences.initial_state[::-1])


def equal_states(c: Computation) -> str | None:
    h, cell = c.sequences.initial_state
    if not (h.any() or cell.any()):
        return "the initial state is zeros"
    return "the initial states h and c are equal" if np.array_equal(h, cell) else None


STATES_SWAPPED = Fault(
    "states-swapped",
    "pass and return the states in the order h, c",
    states_swapped,
    equal_states,
    reach=INPUTS,
)


def states_mixed(c: Computation) -> Variants:
    """One of the two initial states stands for both."""
    for name, state in zip(c.layer.STATES, c.sequences.initial_state, strict=True):
        yield c.sequences_but(f"{name} is taken for both", initial_state=np.stack([state, state]))


STATES_MIXED = Fault(
    "state-mixed",
    "keep h and c apart: each is given and returned by itself",
    states_mixed,
    equal_states,
    reach=INPUTS,
)


LSTM_FAULTS = (
    Fault(
        "forget-bias-missing",
        "take the bias as it is: the 1 of unit_forget_bias is in it",
        lambda c: other_forget_bias(c, (-1, "it is 1 less"), (0, "it is zeros")),
        unused_forget_bias,
        reach=UNITS,
    ),
    Fault(
        "forget-bias-doubled",
        "add nothing to the bias: the 1 of unit_forget_bias is in it",
        lambda c: other_forget_bias(c, (1, "it is 1 more"), (2, "it is added twice")),
        unused_forget_bias,
        reach=UNITS,
    ),
    STATES_SWAPPED,
    STATES_MIXED,
)


# GRU alone: the gates z and r, and the two biases.

MIRRORED = ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras2", "sparse_sigmoid")
"""Activations with `1 - s(x) = s(-x)`."""


def update_gate_inverted(c: Computation) -> Variants:
    """`(1 - z) h + z hh` is what negated weights of z give. Other gates have no such weights."""
    assert isinstance(c.layer, GRU)
    if c.layer.recurrent_activation.name not in MIRRORED:
        return
    z, changes = columns(c.layer, "z"), {}
    for name in WEIGHTS:
        weights = getattr(c.layer, name)
        if weights is not None:
            changes[name] = weights.copy()
            changes[name][..., z] *= -1
    yield c.layer_but(**changes)


def two_biases(layer: Cell) -> tuple[Array, Array] | None:
    """A GRU's bias of the inputs and its recurrent one, where it has both."""
    first, second = layer.input_bias, layer.recurrent_bias
    return None if first is None or second is None else (first, second)


def recurrent_bias_dropped(c: Computation) -> Variants:
    both = two_biases(c.layer)
    if both:
        yield c.layer_but(bias=np.stack([both[0], 0 * both[1]]))


def zero_recurrent_bias(c: Computation) -> str | None:
    both = two_biases(c.layer)
    return "the recurrent bias is all zeros" if both and not both[1].any() else None


def biases_summed(c: Computation) -> Variants:
    both = two_biases(c.layer)
    if both:
        total = c.layer.precision.round(both[0] + both[1])
        yield c.layer_but(bias=np.stack([total, 0 * total]))


def zero_candidate_bias(c: Computation) -> str | None:
    both = two_biases(c.layer)
    zero = both and not both[1][columns(c.layer, "h")].any()
    return "the recurrent bias of the candidate is all zeros" if zero else None


def reset_after_flipped(c: Computation) -> Variants:
    """The other formula: two biases become their sum, one the inputs' or the recurrent one."""
    assert isinstance(c.layer, GRU)
    bias, both = c.layer.bias, two_biases(c.layer)
    if c.layer.reset_after:
        total = c.layer.precision.round(both[0] + both[1]) if both else None
        yield c.layer_but("the gate is applied before the product", reset_after=False, bias=total)
        return
    after = "the gate is applied after the product"
    none = None if bias is None else np.stack([bias, 0 * bias])
    yield c.layer_but(after, reset_after=True, bias=none)
    if bias is not None and bias[columns(c.layer, "h")].any():
        # Of the gates z and r only the sum of both rows shows.
        inside = np.stack([0 * bias, bias])
        yield c.layer_but(f"{after} and the bias", reset_after=True, bias=inside)


def unused_reset_gate(c: Computation) -> str | None:
    if zero_candidate_bias(c) is None and two_biases(c.layer):
        return None
    if c.single_step:
        return "one timestep from a state of zeros: nothing is there to reset"
    one = c.layer.units == 1
    return "of one unit, the order of product and gate does not matter" if one else None


GRU_FAULTS = (
    Fault(
        "update-gate-inverted",
        "h_t = z h_{t-1} + (1 - z) hh: z is the share of the old state",
        update_gate_inverted,
        last=True,  # of the activation that the gates really have
    ),
    Fault(
        "reset-after-flipped",
        "r * (h @ W + b) with reset_after, (r * h) @ W without",
        reset_after_flipped,
        unused_reset_gate,
        reach=UNITS,
    ),
    Fault(
        "recurrent-bias-dropped",
        "add the second row of the bias to h @ recurrent_kernel",
        recurrent_bias_dropped,
        zero_recurrent_bias,
        reach=UNITS,
    ),
    Fault(
        "recurrent-bias-not-reset",
        "r * (h @ W + b): do not sum the two rows of the bias beforehand",
        biases_summed,
        zero_candidate_bias,
        reach=UNITS,
    ),
)
