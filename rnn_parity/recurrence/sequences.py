"""Inputs, mask and initial state of one layer call: checked, and put into processing order."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as TypingSequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.errors import InputError
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.precision import real

BLOCK_ROWS, BLOCK_ELEMENTS = 256, 1 << 15
"""A block has so many rows (timesteps times samples) that matrix products are fast, or, of few
units, so many elements that calls cost little; a handful of its arrays stays in the cache."""


# glibc gives freed arrays back to the kernel, and every new block would be zeroed page by page
# (up to three times slower), until a larger array than them has been freed once: this one, whose
# pages are never touched.
np.empty(31 << 20, np.uint8)


@dataclass(frozen=True, eq=False)
class Dropout:
    """What a layer in training multiplies its inputs and its state with, the same in every step.

    `inputs` is `(G, B, F)` and `state` `(G, B, H)`, with a mask of zeros and `1 / (1 - rate)` for
    each of G gates, or None for no dropout there.
    """

    inputs: Array | None = None
    state: Array | None = None

    @classmethod
    def of(cls, inputs: NDArray[Any] | None, state: NDArray[Any] | None) -> Dropout:
        """From masks in the dtype that they came in."""
        if inputs is None and state is None:
            return NO_DROPOUT
        return cls(*(None if m is None else m.astype(np.float64) for m in (inputs, state)))

    def samples(self, part: slice | NDArray[Any]) -> Dropout:
        """The dropout masks of some of the samples."""
        if self is NO_DROPOUT:
            return self
        return Dropout(*(None if m is None else m[:, part] for m in (self.inputs, self.state)))


NO_DROPOUT = Dropout()


@dataclass(frozen=True, eq=False)
class Sequences:
    """What reaches a layer, in processing order: step 0 is the last input with `go_backwards`.

    `inputs` is `(B, T, F)` in the dtype it came in (a memory map stays one), `mask` `(B, T)` of
    bool or None, `initial_state` `(S, B, H)` in float64, with S states: h before an LSTM's c.
    """

    inputs: NDArray[Any]
    mask: NDArray[np.bool_] | None
    initial_state: Array
    dropout: Dropout = NO_DROPOUT

    @classmethod
    def of(
        cls,
        layer: Cell,
        inputs: ArrayLike,
        mask: ArrayLike | None = None,
        initial_state: ArrayLike | TypingSequence[ArrayLike] | None = None,
        dropout: Dropout = NO_DROPOUT,
    ) -> Sequences:
        """Check the shapes against `layer`; raises `InputError` with what was expected."""
        x = real(inputs, "inputs")
        if x.ndim != 3 or x.shape[2] != layer.features or 0 in x.shape:
            raise InputError(
                f"inputs: expected shape (batch, timesteps, {layer.features}), all at least 1, "
                f"received {x.shape}"
            )
        batch, timesteps, _ = x.shape
        m = None if mask is None else boolean(mask, (batch, timesteps))
        state = np.zeros((len(layer.STATES), batch, layer.units))
        if initial_state is not None:
            for i, one in enumerate(states(layer, initial_state, "initial_state")):
                expect_shape("initial_state", one, (batch, layer.units))
                state[i] = layer.precision.round(one)
        if layer.go_backwards:
            x, m = x[:, ::-1], None if m is None else m[:, ::-1]
        return cls(x, m, state, dropout)

    @property
    def shape(self) -> tuple[int, int]:
        """`(batch, timesteps)`."""
        return self.inputs.shape[0], self.inputs.shape[1]

    def samples(self, part: slice | NDArray[Any]) -> Sequences:
        """The sequences of some of the samples."""
        mask = None if self.mask is None else self.mask[part]
        dropout = self.dropout.samples(part)
        return Sequences(self.inputs[part], mask, self.initial_state[:, part], dropout)

    def first(self, timesteps: int) -> Sequences:
        """The sequences up to their first `timesteps`."""
        mask = None if self.mask is None else self.mask[:, :timesteps]
        return replace(self, inputs=self.inputs[:, :timesteps], mask=mask)

    def blocks(self, width: int, times: int = 1) -> Iterator[slice]:
        """Slices of timesteps that cover the sequence, each small enough for the cache.

        They are of one length, but for the last one. `width` is how many numbers a step computes
        for each sample. Of few units, blocks have so many `times` the usual number of elements.
        """
        batch, timesteps = self.shape
        most = max(1, max(BLOCK_ROWS, times * BLOCK_ELEMENTS // width) // batch)
        step = -(-timesteps // -(-timesteps // most))
        return (slice(t, min(t + step, timesteps)) for t in range(0, timesteps, step))


def states(layer: Cell, value: Any, name: str) -> list[NDArray[Any]]:
    """One array `(B, H)` for each state of the layer: from a list of them, or from the only one."""
    count, expected = len(layer.STATES), ", ".join(layer.STATES)
    expected = f"({expected}), each" if count > 1 else expected
    if count > 1 and isinstance(value, (list, tuple)):
        found = [real(one, name) for one in value]
    else:
        array = real(value, name)
        found = list(array) if array.ndim == 3 else [array]
    if len(found) != count:
        raise InputError(
            f"{name}: expected {expected} of shape (batch, {layer.units}) for "
            f"{type(layer).__name__}, received {len(found)} state{'s' * (len(found) != 1)}"
        )
    return found


def boolean(mask: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """`mask` as booleans; numbers are accepted when all of them are 0 or 1."""
    m = real(mask, "mask")
    expect_shape("mask", m, shape)
    if m.dtype != bool and not np.isin(m, (0, 1)).all():
        raise InputError("mask: expected booleans (or only 0 and 1), received other numbers")
    return m.astype(bool)


def expect_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise `InputError` unless `array` has `shape`."""
    if array.shape != shape:
        raise InputError(f"{name}: expected shape {shape}, received {array.shape}")


def time_major(array: NDArray[Any], steps: slice, out: Array) -> Array:
    """`array[:, steps]`, `(B, t, N)`, copied to `out`, `(t, B, N)`, as float64."""
    np.copyto(out, array[:, steps].swapaxes(0, 1))
    return out
