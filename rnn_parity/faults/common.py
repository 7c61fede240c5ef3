"""Mistakes of the layer: its bias, kernels, initial state and activation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rnn_parity.activations import CATALOGUE
from rnn_parity.faults.fault import Computation, Fault, Outputs, Variants


def bias_dropped(c: Computation) -> Variants:
    if c.layer.bias is not None:
        yield c.layer_but(bias=None)


def bias_doubled(c: Computation) -> Variants:
    if c.layer.bias is not None:
        yield c.layer_but(bias=2 * c.layer.bias)


def zero_bias(c: Computation) -> str | None:
    return None if c.layer.bias is None or c.layer.bias.any() else "the bias is all zeros"


def kernel_transposed(c: Computation) -> Variants:
    if c.layer.features == c.layer.units > 1:
        yield c.layer_but(kernel=c.layer.kernel.T)


def symmetric_kernel(c: Computation) -> str | None:
    kernel = c.layer.kernel
    symmetric = len(kernel) == c.layer.units and np.array_equal(kernel, kernel.T)
    return "the kernel is symmetric" if symmetric else None


def recurrent_kernel_transposed(c: Computation) -> Variants:
    if c.layer.units > 1:
        yield c.layer_but(recurrent_kernel=c.layer.recurrent_kernel.T)


def unused_recurrent_kernel(c: Computation) -> str | None:
    if c.sequences.shape[1] == 1 and not c.sequences.initial_state.any():
        return "one timestep: the recurrent kernel is never used"
    symmetric = np.array_equal(c.layer.recurrent_kernel, c.layer.recurrent_kernel.T)
    return "the recurrent kernel is symmetric" if symmetric else None


def without_state(c: Computation) -> Computation:
    return c.sequences_but(initial_state=np.zeros_like(c.sequences.initial_state))


def initial_state_ignored(c: Computation) -> Variants:
    if not c.stateful:
        yield without_state(c)


def state_not_carried(c: Computation) -> Variants:
    if c.stateful:
        yield without_state(c)


def zero_state(c: Computation) -> str | None:
    return None if c.sequences.initial_state.any() else "the initial state is zeros"


USUAL = ("linear", "relu", "sigmoid", "tanh")


def usual_activations(c: Computation) -> Variants:
    return activations(c, USUAL)


def all_activations(c: Computation, outputs: Outputs) -> Variants:
    # An alias has another's name; hard_sigmoid's versions are a fault of their own.
    names = [n for n, a in CATALOGUE.items() if n == a.name and not n.startswith("hard_sigmoid")]
    return activations(c, names)


def activations(c: Computation, names: Iterable[str]) -> Variants:
    for name in names:
        if name != c.layer.activation.name:
            yield c.layer_but(f"the activation is {name}", activation=CATALOGUE[name])


def hard_sigmoid_slope(c: Computation) -> Variants:
    versions = {"hard_sigmoid": 3, "hard_sigmoid_keras2": 2}
    if c.layer.activation.name in versions:
        for name, version in versions.items():
            if name != c.layer.activation.name:
                detail = f"the slope is that of Keras {version}"
                yield c.layer_but(detail, activation=CATALOGUE[name])


FAULTS = (
    Fault("bias-dropped", "the bias is left out", bias_dropped, zero_bias),
    Fault("bias-doubled", "the bias is added twice", bias_doubled, zero_bias),
    Fault("kernel-transposed", "the kernel is transposed", kernel_transposed, symmetric_kernel),
    Fault(
        "recurrent-kernel-transposed",
        "the recurrent kernel is transposed",
        recurrent_kernel_transposed,
        unused_recurrent_kernel,
    ),
    Fault(
        "initial-state-ignored",
        "the initial state is taken as zeros",
        initial_state_ignored,
        zero_state,
    ),
    Fault(
        "state-not-carried",
        "a stateful layer starts each call from zeros",
        state_not_carried,
        zero_state,
    ),
    Fault(
        "activation-swapped",
        "another activation is applied",
        usual_activations,
        candidates=all_activations,
    ),
    Fault(
        "hard-sigmoid-slope",
        "hard_sigmoid has the slope of the other Keras version",
        hard_sigmoid_slope,
    ),
)
