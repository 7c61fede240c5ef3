"""Mistakes of an LSTM alone: the forget gate's bias, and its two states."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnn_parity.diagnosis.faults.common import single_step
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Variants
from rnn_parity.diagnosis.faults.gates import columns
from rnn_parity.recurrence.layers import Array


def but_forget_bias(c: Computation, detail: str, change: Callable[[Array], Array]) -> Computation:
    assert c.layer.bias is not None
    bias, f = c.layer.bias.copy(), columns(c.layer, "f")
    bias[f] = c.layer.precision.round(change(bias[f]))
    return c.layer_but(detail, bias=bias)


def forget_bias_missing(c: Computation) -> Variants:
    """Without the 1 of `unit_forget_bias`; and, where that is not all of it, without any of it."""
    if c.layer.bias is None:
        return
    yield but_forget_bias(c, "it is 1 less", lambda b: b - 1)
    if not (c.layer.bias[columns(c.layer, "f")] == 1).all():
        yield but_forget_bias(c, "it is zeros", lambda b: 0 * b)


def forget_bias_doubled(c: Computation) -> Variants:
    if c.layer.bias is None:
        return
    yield but_forget_bias(c, "it is 1 more", lambda b: b + 1)
    if not (c.layer.bias[columns(c.layer, "f")] == 1).all():
        yield but_forget_bias(c, "it is added twice", lambda b: 2 * b)


def unused_forget_bias(c: Computation) -> str | None:
    if single_step(c) and not c.sequences.initial_state[1].any():
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


SWAPPED = Fault(
    "states-swapped",
    "the states h and c are swapped",
    "pass and return the states in the order h, c",
    states_swapped,
    equal_states,
    layers=("LSTM",),
)
FAULTS = (
    Fault(
        "forget-bias-missing",
        "the forget gate's bias is left out",
        "take the bias as it is: the 1 of unit_forget_bias is in it",
        forget_bias_missing,
        unused_forget_bias,
        layers=("LSTM",),
    ),
    Fault(
        "forget-bias-doubled",
        "the forget gate's bias is added twice",
        "add nothing to the bias: the 1 of unit_forget_bias is in it",
        forget_bias_doubled,
        unused_forget_bias,
        layers=("LSTM",),
    ),
    SWAPPED,
)
