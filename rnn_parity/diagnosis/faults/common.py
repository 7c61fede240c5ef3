"""Mistakes of the layer: its bias, kernels, initial state and activations."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np

from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.layers import Array, Layer


def bias_dropped(c: Computation) -> Variants:
    """Of two rows, also that of the inputs alone; the other one is a GRU's fault of its own."""
    bias, row = c.layer.bias, c.layer.input_bias
    if bias is None:
        return
    yield c.layer_but(bias=None)
    if row is not bias and row is not None and row.any() and bias[1].any():
        yield c.layer_but("that of the inputs", bias=np.stack([0 * row, bias[1]]))


def bias_doubled(c: Computation) -> Variants:
    if c.layer.bias is not None:
        yield c.layer_but(bias=2 * c.layer.bias)


def zero_bias(c: Computation) -> str | None:
    return None if c.layer.bias is None or c.layer.bias.any() else "the bias is all zeros"


def transposed(layer: Layer, weights: Array) -> Array:
    """Each gate's square block, transposed."""
    gates = np.split(weights, len(layer.GATES), axis=1)
    return np.concatenate([gate.T for gate in gates], axis=1)


def misread(weights: Array) -> Array:
    """The numbers of the transposed matrix, read as if they were those of the matrix itself."""
    read: Array = weights.T.reshape(weights.shape)
    return read


MISREAD = "its numbers stand in memory as those of the transposed matrix"


def kernel_transposed(c: Computation) -> Variants:
    if c.layer.features == c.layer.units > 1:
        yield c.layer_but(kernel=transposed(c.layer, c.layer.kernel))


def kernel_misread(c: Computation, outputs: Outputs) -> Variants:
    yield from kernel_transposed(c)
    if len(c.layer.GATES) > 1 or c.layer.features != c.layer.units:
        yield c.layer_but(MISREAD, kernel=misread(c.layer.kernel))


def symmetric_kernel(c: Computation) -> str | None:
    square = c.layer.features == c.layer.units
    symmetric = square and np.array_equal(c.layer.kernel, transposed(c.layer, c.layer.kernel))
    return "the kernel is symmetric" if symmetric else None


def recurrent_kernel_transposed(c: Computation) -> Variants:
    if c.layer.units > 1:
        yield c.layer_but(recurrent_kernel=transposed(c.layer, c.layer.recurrent_kernel))


def recurrent_kernel_misread(c: Computation, outputs: Outputs) -> Variants:
    yield from recurrent_kernel_transposed(c)
    if len(c.layer.GATES) > 1:
        yield c.layer_but(MISREAD, recurrent_kernel=misread(c.layer.recurrent_kernel))


def single_step(c: Computation) -> bool:
    """Whether every sample has one timestep at most that counts, from a state h of zeros."""
    mask = c.sequences.mask
    steps = c.sequences.shape[1] if mask is None else mask.sum(axis=1).max()
    return bool(steps <= 1 and not c.sequences.initial_state[0].any())


def unused_recurrent_kernel(c: Computation) -> str | None:
    if single_step(c):
        return "one timestep: the recurrent kernel is never used"
    w = c.layer.recurrent_kernel
    return (
        "the recurrent kernel is symmetric" if np.array_equal(w, transposed(c.layer, w)) else None
    )


def without_states(c: Computation) -> Variants:
    """All states as zeros; then, where there are several, each alone."""
    state = c.sequences.initial_state
    yield c.sequences_but(initial_state=np.zeros_like(state))
    for s in range(len(state)) if len(state) > 1 else ():
        others = state.copy()
        others[s] = 0
        yield c.sequences_but(f"{c.layer.STATES[s]} alone", initial_state=others)


def without_given_states(c: Computation) -> Variants:
    """Variants without the given states; one by one only where several of them are not zeros."""
    several = sum(state.any() for state in c.sequences.initial_state) > 1
    return without_states(c) if several else islice(without_states(c), 1)


def initial_state_ignored(c: Computation) -> Variants:
    if not c.stateful:
        yield from without_states(c)


def state_not_carried(c: Computation) -> Variants:
    if c.stateful:
        yield from without_states(c)


def ignored_states(c: Computation, outputs: Outputs) -> Variants:
    return iter(()) if c.stateful else without_given_states(c)


def states_not_carried(c: Computation, outputs: Outputs) -> Variants:
    return without_given_states(c) if c.stateful else iter(())


def zero_state(c: Computation) -> str | None:
    zeros = [not state.any() for state in c.sequences.initial_state]
    if all(zeros):
        return "the initial state is zeros"
    names = [name for name, zero in zip(c.layer.STATES, zeros, strict=True) if zero]
    return f"the initial state {names[0]} is zeros" if names else None


USUAL = ("linear", "relu", "sigmoid", "tanh")
HARD = {"hard_sigmoid": 3, "hard_sigmoid_keras2": 2}
"""hard_sigmoid by the version of Keras whose slope it has."""
OTHER_HARD = dict(zip(HARD, reversed(HARD), strict=True))
DISTINCT = tuple(name for name, activation in CATALOGUE.items() if name == activation.name)
"""Every activation once: an alias has another's name."""


def usual_activations(c: Computation) -> Variants:
    return activations(c, "activation", USUAL)


def all_activations(c: Computation, outputs: Outputs) -> Variants:
    return activations(c, "activation", DISTINCT)


def activations(c: Computation, which: str, names: Iterable[str]) -> Variants:
    """The layer's `activation` or `recurrent_activation` replaced by others."""
    own = getattr(c.layer, which).name
    for name in names:
        # The other version of hard_sigmoid is a fault of its own.
        if name != own and not {name, own} <= set(HARD):
            detail = f"the {which.replace('_', ' ')} is {name}"
            yield c.layer_but(detail, **{which: CATALOGUE[name]})


def hard_sigmoid_slope(c: Computation) -> Variants:
    """The other version wherever the layer has one; then, where it has several, in each alone."""
    own = {which: getattr(c.layer, which, None) for which in ("activation", "recurrent_activation")}
    hard = {which: OTHER_HARD[a.name] for which, a in own.items() if a and a.name in HARD}
    for some in (list(hard), *([which] for which in hard if len(hard) > 1)):
        if some:
            detail = f"the slope is that of Keras {HARD[hard[some[0]]]}"
            alone = f", of the {some[0].replace('_', ' ')} alone" if len(some) < len(hard) else ""
            yield c.layer_but(detail + alone, **{which: CATALOGUE[hard[which]] for which in some})


FAULTS = (
    Fault(
        "bias-dropped",
        "the bias is left out",
        "add the bias to every step",
        bias_dropped,
        zero_bias,
    ),
    Fault(
        "bias-doubled",
        "the bias is added twice",
        "add the bias once: is it in the input projection and in the step?",
        bias_doubled,
        zero_bias,
    ),
    Fault(
        "kernel-transposed",
        "the kernel is transposed",
        "multiply x @ kernel, the kernel stored as (features, units)",
        kernel_transposed,
        symmetric_kernel,
        kernel_misread,
    ),
    Fault(
        "recurrent-kernel-transposed",
        "the recurrent kernel is transposed",
        "multiply h @ recurrent_kernel, h from the left",
        recurrent_kernel_transposed,
        unused_recurrent_kernel,
        recurrent_kernel_misread,
    ),
    Fault(
        "initial-state-ignored",
        "the initial state is taken as zeros",
        "start the loop from the given initial state",
        initial_state_ignored,
        zero_state,
        ignored_states,
    ),
    Fault(
        "state-not-carried",
        "a stateful layer starts each call from zeros",
        "start a stateful layer's call from the last state of the call before",
        state_not_carried,
        zero_state,
        states_not_carried,
    ),
    Fault(
        "activation-swapped",
        "another activation is applied",
        "apply the activation of the layer's configuration",
        usual_activations,
        candidates=all_activations,
        last=True,
    ),
    Fault(
        "hard-sigmoid-slope",
        "hard_sigmoid has the slope of the other Keras version",
        "0.2 x + 0.5 is Keras 2's hard_sigmoid, x / 6 + 0.5 is Keras 3's",
        hard_sigmoid_slope,
        last=True,
    ),
)
