"""What a passing check could not have seen: every fault injected into the right computation."""

from __future__ import annotations

import numpy as np

from rnn_parity.balls import Arithmetic
from rnn_parity.faults import FAULTS, STALE, Computation, Fault
from rnn_parity.fit import fit
from rnn_parity.layers import Array
from rnn_parity.results import BlindSpot, Sensitivity
from rnn_parity.sequences import Sequences

SAMPLES, STEPS = 4, 32
"""Rows on which nearly every fault shows already; only what hides there is tried on all."""


@np.errstate(all="ignore")
def sensitivity(right: Computation, arithmetic: Arithmetic, states: Array | None) -> Sensitivity:
    """Which faults this check would have called `diverged`, and which not, with the reason.

    `states` `(B, 2, H)` are the observed states before and after the last step that counts, None
    when no final state was observed.
    """
    few = fewer(right)
    visible, blind = [], []
    for fault in FAULTS:
        if fault is STALE:
            reason = unseen_state(states)
        elif next(fault.variants(right), None) is None:
            continue
        else:
            reason = fault.blind(right)
            if reason is None and not (
                shows(fault, few, arithmetic) or shows(fault, right, arithmetic)
            ):
                reason = unseen(right, few)
        if reason is None:
            visible.append(fault.id)
        else:
            blind.append(BlindSpot(fault.id, reason))
    return Sensitivity(tuple(visible), tuple(blind))


def fewer(right: Computation) -> Computation:
    """The same on a few samples and on the first timesteps."""
    s = right.sequences
    samples = np.arange(min(SAMPLES, s.shape[0]))
    if s.mask is not None:
        # Those with the most masked timesteps among the first.
        samples = np.argsort(s.mask[:, :STEPS].sum(axis=1))[:SAMPLES]
    mask = None if s.mask is None else s.mask[samples]
    some = Sequences(s.inputs[samples], mask, s.initial_state[samples]).first(STEPS)
    return right.but(sequences=some)


def shows(fault: Fault, right: Computation, arithmetic: Arithmetic) -> bool:
    """Whether every variant of the fault would have been beyond the bound."""
    return all(differs(variant, right, arithmetic) for variant in fault.variants(right))


def differs(variant: Computation, right: Computation, arithmetic: Arithmetic) -> bool:
    """Whether the outputs of a faulty computation are no right steps."""
    outputs = right.layer.precision.round(variant.computed())
    if outputs.shape != (*right.sequences.shape, right.layer.units):
        return True
    return fit(right.layer, right.sequences, outputs, arithmetic).max_ratio > 1


def unseen(right: Computation, few: Computation) -> str:
    """Why a fault does not show although nothing forbids it, in a person's words."""
    outputs = few.computed()
    bounded = right.layer.activation.name in ("tanh", "sigmoid", "softsign", "hard_tanh")
    if bounded and np.median(np.abs(outputs)) > 1 - 1e-4:
        return "the outputs are saturated"
    return "on these data its outputs are within rounding of the right ones"


def unseen_state(states: Array | None) -> str | None:
    """Why a stale final state does not show."""
    if states is None:
        return "no final state was observed"
    same = np.array_equal(states[:, 0], states[:, 1])
    return "the state did not change in the last timestep" if same else None
