"""The mistakes that can be written down beforehand, whatever was observed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.activations import CATALOGUE
from rnn_parity.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.layers import Array
from rnn_parity.sequences import Sequences


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


def backwards(array: NDArray[Any] | None) -> Any:
    """`(B, T, ...)` in the other order of time."""
    return None if array is None else array[:, ::-1]


def inputs_reversed(c: Computation) -> Variants:
    x, mask = c.sequences.inputs, c.sequences.mask
    yield c.sequences_but(inputs=backwards(x), mask=backwards(mask))


def outputs_not_reversed(c: Computation) -> Variants:
    yield c.but(rearrange=backwards, undo=lambda s, outputs: (s, backwards(outputs)))


def one_timestep(c: Computation) -> str | None:
    return "there is one timestep" if c.sequences.shape[1] == 1 else None


def mask_ignored(c: Computation) -> Variants:
    yield c.sequences_but(mask=None)


def nothing_masked(c: Computation) -> str | None:
    mask = c.sequences.mask
    return "no timestep is masked" if mask is None or mask.all() else None


def mask_not_reversed(c: Computation) -> Variants:
    if c.layer.go_backwards and c.sequences.mask is not None:
        yield c.sequences_but(mask=backwards(c.sequences.mask))


def mask_symmetric(c: Computation) -> str | None:
    mask = c.sequences.mask
    same = mask is not None and np.array_equal(mask, backwards(mask))
    return nothing_masked(c) or ("the mask is the same backwards" if same else None)


def masked_output_not_zeroed(c: Computation) -> Variants:
    if c.layer.zero_output_for_mask:
        yield c.layer_but(zero_output_for_mask=False)


def activation_swapped(c: Computation) -> Variants:
    for name, other in CATALOGUE.items():
        # An alias, the right one, or a fault of its own.
        if (
            name == other.name
            and other != c.layer.activation
            and not name.startswith("hard_sigmoid")
        ):
            yield c.layer_but(f"the activation that fits is {name}", activation=other)


def hard_sigmoid_slope(c: Computation) -> Variants:
    versions = {"hard_sigmoid": 3, "hard_sigmoid_keras2": 2}
    if c.layer.activation.name in versions:
        for name, version in versions.items():
            if name != c.layer.activation.name:
                detail = f"the slope is that of Keras {version}"
                yield c.layer_but(detail, activation=CATALOGUE[name])


def time_shifted(c: Computation) -> Variants:
    """Early: observed[t] is output t + 1. Late: observed[t] is output t - 1, and 0 first."""

    def early(s: Sequences, outputs: Outputs) -> tuple[Sequences, Outputs]:
        # Output 1 stands first, and no state before it is known: it becomes the initial state.
        mask = None if s.mask is None else s.mask[:, 2:]
        state = outputs[:, 0].astype(np.float64)
        return Sequences(s.inputs[:, 2:], mask, state), outputs[:, 1:-1]

    def late(s: Sequences, outputs: Outputs) -> tuple[Sequences, Outputs]:
        mask = None if s.mask is None else s.mask[:, :-1]
        return Sequences(s.inputs[:, :-1], mask, s.initial_state), outputs[:, 1:]

    timesteps = c.sequences.shape[1]
    if timesteps > 2:
        yield c.but("one step early", rearrange=lambda y: np.roll(y, -1, axis=1), undo=early)
    if timesteps > 1:
        yield c.but("one step late", rearrange=pushed, undo=late)


def pushed(outputs: Array) -> Array:
    late = np.zeros_like(outputs)
    late[:, 1:] = outputs[:, :-1]
    return late


def batch_time_swapped(c: Computation) -> Variants:
    """The outputs stand time first; or the recurrence itself ran along the batch."""

    def swapped(array: NDArray[Any]) -> Any:
        return array.swapaxes(0, 1)

    yield c.but(
        "the outputs stand time first", rearrange=swapped, undo=lambda s, y: (s, swapped(y))
    )
    s = c.sequences
    if s.mask is None and not s.initial_state.any():
        along = Sequences(swapped(s.inputs), None, np.zeros((s.shape[1], c.layer.units)))
        yield c.but(
            "the recurrence ran along the batch",
            sequences=along,
            rearrange=swapped,
            undo=lambda s, y: (s, swapped(y)),
        )


def one_by_one(c: Computation) -> str | None:
    return "there is one sample and one timestep" if c.sequences.shape == (1, 1) else None


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
        "inputs-reversed",
        "the inputs are taken in the other order: go_backwards not honoured, or twice",
        inputs_reversed,
        one_timestep,
    ),
    Fault(
        "outputs-not-reversed",
        "the outputs stand in the other order of time",
        outputs_not_reversed,
        one_timestep,
    ),
    Fault(
        "mask-ignored", "masked timesteps are computed like others", mask_ignored, nothing_masked
    ),
    Fault(
        "mask-not-reversed",
        "the inputs are reversed and the mask is not",
        mask_not_reversed,
        mask_symmetric,
    ),
    Fault(
        "masked-output-not-zeroed",
        "the output of a masked timestep repeats the one before instead of zeros",
        masked_output_not_zeroed,
        nothing_masked,
    ),
    Fault("activation-swapped", "another activation is applied", activation_swapped),
    Fault(
        "hard-sigmoid-slope",
        "hard_sigmoid has the slope of the other Keras version",
        hard_sigmoid_slope,
    ),
    Fault(
        "time-shifted", "the outputs stand one timestep early or late", time_shifted, one_timestep
    ),
    Fault(
        "batch-time-swapped",
        "the batch axis and the time axis are swapped",
        batch_time_swapped,
        one_by_one,
    ),
)
