"""Mistakes of a GRU alone: its gates z and r, and its two biases."""

from __future__ import annotations

import numpy as np

from rnn_parity.diagnosis.faults.common import single_step
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Variants
from rnn_parity.diagnosis.faults.gates import WEIGHTS, columns
from rnn_parity.recurrence.layers import GRU, Array, Layer

MIRRORED = ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras2", "sparse_sigmoid")
"""Those with `1 - s(x) = s(-x)`."""


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


def two_biases(layer: Layer) -> tuple[Array, Array] | None:
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
    """Two biases become their sum; one becomes the inputs', or for the candidate the recurrent."""
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
        inside = np.stack([bias, 0 * bias])
        h = columns(c.layer, "h")
        inside[:, h] = inside[::-1, h]
        yield c.layer_but(f"{after} and the bias", reset_after=True, bias=inside)


def unused_reset_gate(c: Computation) -> str | None:
    if zero_candidate_bias(c) is None and two_biases(c.layer):
        return None
    if single_step(c):
        return "one timestep from a state of zeros: nothing is there to reset"
    one = c.layer.units == 1
    return "of one unit, the order of product and gate does not matter" if one else None


FAULTS = (
    Fault(
        "update-gate-inverted",
        "the update gate keeps what it should replace",
        "h_t = z h_{t-1} + (1 - z) hh: z is the share of the old state",
        update_gate_inverted,
        last=True,  # of the activation that the gates really have
        layers=("GRU",),
    ),
    Fault(
        "reset-after-flipped",
        "the reset gate is applied on the other side of the recurrent product",
        "r * (h @ W + b) with reset_after, (r * h) @ W without",
        reset_after_flipped,
        unused_reset_gate,
        layers=("GRU",),
    ),
    Fault(
        "recurrent-bias-dropped",
        "the recurrent bias is left out",
        "add the second row of the bias to h @ recurrent_kernel",
        recurrent_bias_dropped,
        zero_recurrent_bias,
        layers=("GRU",),
    ),
    Fault(
        "recurrent-bias-not-reset",
        "the recurrent bias of the candidate is added outside the reset gate",
        "r * (h @ W + b): do not sum the two rows of the bias beforehand",
        biases_summed,
        zero_candidate_bias,
        layers=("GRU",),
    ),
)
