"""Mistakes of order and masking: timesteps, samples and the mask taken in another way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.recurrence.layers import Array
from rnn_parity.recurrence.replay import replay
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences


def backwards(array: NDArray[Any] | None) -> Any:
    """`(B, T, ...)` in the other order of time."""
    return None if array is None else array[:, ::-1]


def inputs_reversed(c: Computation) -> Variants:
    x, mask = c.sequences.inputs, c.sequences.mask
    yield c.sequences_but(inputs=backwards(x), mask=backwards(mask))


def outputs_not_reversed(c: Computation) -> Variants:
    yield c.but(rearrange=backwards, undo=lambda c, y: (c.sequences, backwards(y)))


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


def time_shifted(c: Computation) -> Variants:
    """Early: observed[t] is output t + 1. Late: observed[t] is output t - 1."""

    def early(c: Computation, outputs: Outputs) -> tuple[Sequences, Outputs]:
        s, count = c.sequences, c.sequences.shape[1]
        if s.mask is None and len(c.layer.STATES) == 1 and count > 2:
            state = outputs[np.newaxis, :, 0].astype(np.float64)
            later = Sequences(s.inputs[:, 2:], None, state, s.dropout)
            return later, outputs[:, 1 : count - 1]
        # Output 0 was not observed; the replayed one stands in for it.
        first, rest = replay(c.layer, s.first(1)), outputs[:, : count - 1]
        if s.mask is None:
            state = np.reshape(first.final_state, (len(c.layer.STATES), -1, c.layer.units))
            return Sequences(s.inputs[:, 1:], None, state, s.dropout), rest
        if rest.shape[::2] != first.outputs.shape[::2]:
            return s, outputs
        zero = first.outputs
        if not c.layer.zero_output_for_mask:
            # But it was, where the next timestep is masked and repeats it.
            zero = np.where(s.mask[:, 1, np.newaxis, np.newaxis], zero, rest[:, :1])
        return s, np.concatenate([zero, rest], axis=1)

    def late(c: Computation, outputs: Outputs) -> tuple[Sequences, Outputs]:
        return c.sequences.first(outputs.shape[1] - 1), outputs[:, 1:]

    if c.sequences.shape[1] > 1:
        yield c.but("one step early", rearrange=lambda y: np.roll(y, -1, axis=1), undo=early)
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
        "the outputs stand time first",
        rearrange=swapped,
        undo=lambda c, y: (c.sequences, swapped(y)),
    )
    s = c.sequences
    if s.mask is None and not s.initial_state.any() and s.dropout is NO_DROPOUT:
        zeros = np.zeros((len(s.initial_state), s.shape[1], c.layer.units))
        along = Sequences(swapped(s.inputs), None, zeros)
        yield c.but(
            "the recurrence ran along the batch",
            sequences=along,
            rearrange=swapped,
            undo=lambda c, y: (c.sequences, swapped(y)),
        )


def one_by_one(c: Computation) -> str | None:
    return "there is one sample and one timestep" if c.sequences.shape == (1, 1) else None


FAULTS = (
    Fault(
        "inputs-reversed",
        "the inputs are taken in the other order: go_backwards not honoured, or twice",
        "take the inputs last to first where go_backwards is set, only there",
        inputs_reversed,
        one_timestep,
    ),
    Fault(
        "outputs-not-reversed",
        "the outputs stand in the other order of time",
        "keep the outputs in the order in which they are computed",
        outputs_not_reversed,
        one_timestep,
    ),
    Fault(
        "mask-ignored",
        "masked timesteps are computed like others",
        "where the mask is false, keep the state and repeat the output",
        mask_ignored,
        nothing_masked,
    ),
    Fault(
        "mask-not-reversed",
        "the inputs are reversed and the mask is not",
        "reverse the mask together with the inputs",
        mask_not_reversed,
        mask_symmetric,
    ),
    Fault(
        "masked-output-not-zeroed",
        "the output of a masked timestep repeats the one before instead of zeros",
        "write zeros for masked timesteps (zero_output_for_mask)",
        masked_output_not_zeroed,
        nothing_masked,
    ),
    Fault(
        "time-shifted",
        "the outputs stand one timestep early or late",
        "store output t at index t: append it after the step, not before",
        time_shifted,
        one_timestep,
    ),
    Fault(
        "batch-time-swapped",
        "the batch axis and the time axis are swapped",
        "bring inputs and outputs to (batch, timesteps, ...)",
        batch_time_swapped,
        one_by_one,
    ),
)
