"""What a passing check could not have seen: every fault injected into the right computation."""

from __future__ import annotations

import numpy as np

from rnn_parity.arithmetic import arithmetics
from rnn_parity.faults import STALE, Computation, Fault, faults_of
from rnn_parity.fit import fit
from rnn_parity.layers import Array
from rnn_parity.results import BlindSpot, Sensitivity

SAMPLES, STEPS = 4, 32
"""Rows on which nearly every fault shows already; only what hides there is tried on all."""


@np.errstate(all="ignore")
def sensitivity(right: Computation, states: Array | None) -> Sensitivity:
    """Which faults this check would have called `diverged`, and which not, with the reason.

    `states` `(B, 2, H)` are the observed states before and after the last step that counts, None
    when no final state was observed.
    """
    few = fewer(right)
    visible, blind = [], []
    for fault in faults_of(right.layer):
        variants = [*fault.variants(right)]
        if fault is STALE:
            reason = unseen_state(states)
        elif not variants:
            continue
        else:
            reason = fault.blind(right) or hiding(fault, right, few)
        if reason is None:
            visible.append(fault.id)
        else:
            blind.append(BlindSpot(fault.id, reason))
    return Sensitivity(tuple(visible), tuple(blind))


def hiding(fault: Fault, right: Computation, few: Computation) -> str | None:
    """Why some variant of a fault would not have been beyond the bound; None if all would."""
    pairs = zip(fault.variants(right), fault.variants(few), strict=True)
    hidden = [
        whole.detail
        for whole, part in pairs
        if not differs(part, few) and not differs(whole, right)
    ]
    return unseen(few, hidden) if hidden else None


def fewer(right: Computation) -> Computation:
    """The same on a few samples and on the first timesteps."""
    s = right.sequences
    samples = np.arange(min(SAMPLES, s.shape[0]))
    if s.mask is not None:
        # Those with the most masked timesteps among the first.
        samples = np.argsort(s.mask[:, :STEPS].sum(axis=1))[:SAMPLES]
    return right.but(sequences=s.samples(samples).first(STEPS))


def differs(variant: Computation, right: Computation) -> bool:
    """Whether the outputs of a faulty computation are no right steps, in any arithmetic."""
    layer, outputs = right.layer, right.layer.precision.round(variant.computed())
    if outputs.shape != (*right.sequences.shape, layer.units):
        return True
    return all(
        fit(layer, right.sequences, outputs, arithmetic).max_ratio > 1
        for arithmetic in arithmetics(layer.precision)
    )


def unseen(right: Computation, hidden: list[str]) -> str:
    """Why variants of a fault do not show although nothing forbids it, in a person's words."""
    outputs = right.computed()
    bounded = right.layer.activation.name in ("tanh", "sigmoid", "softsign", "hard_tanh")
    if not outputs.any():
        return "all outputs are zeros"
    if bounded and np.median(np.abs(outputs)) > 1 - 1e-4:
        return "the outputs are saturated at their limits"
    which = "; ".join(filter(None, hidden))
    return "its outputs would be within rounding of the right ones" + (f" ({which})" * bool(which))


def unseen_state(states: Array | None) -> str | None:
    """Why a stale final state does not show."""
    if states is None:
        return "no final state was observed"
    same = np.array_equal(states[:, 0], states[:, 1])
    return "the state did not change in the last timestep" if same else None
