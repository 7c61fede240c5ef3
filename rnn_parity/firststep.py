"""The first step of a few samples, as thousands of candidates compute it: it refutes nearly all.

That step starts from a known state, h and an LSTM's c alike. Candidates share most of their arrays,
and what is made of the same arrays is made once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnn_parity.layers import Array, Layer
from rnn_parity.replay import Block, layer_inputs, project, run
from rnn_parity.sequences import Sequences

T = TypeVar("T")

KEPT = 64
"""Results that are kept. A candidate needs four, and two faults that are tried together change a
few of them in turn, so that a quarter would do; many more would fill the memory where a layer has
millions of weights.
"""


@dataclass(frozen=True, eq=False)
class Rows:
    """One timestep of each of some samples: `steps` `(n,)` of `samples` `(n,)`."""

    samples: NDArray[np.intp]
    steps: NDArray[np.intp]

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """These rows of an array `(B, T, N)`, `(1, n, N)`."""
        return array[self.samples, self.steps][np.newaxis]


class FirstStep:
    """The first unmasked timestep of each of some `samples`.

    Where every state is observed, the first of `steps` serves as well.
    """

    def __init__(self, samples: NDArray[np.intp], steps: slice) -> None:
        self.samples, self.steps = samples, steps
        self.kept: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}

    def once(self, name: str, make: Callable[[], T], *of: Any) -> T:
        """What `make` makes of the objects `of`, which stay alive as long as the result is kept."""
        key = name, *map(id, of)
        found = self.kept.pop(key, None)
        if found is None:
            if len(self.kept) >= KEPT:
                del self.kept[next(iter(self.kept))]  # the one that was needed longest ago
            found = of, make()
        self.kept[key] = found
        result: T = found[1]
        return result

    @np.errstate(all="ignore")
    def far_off(self, layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> bool:
        """Whether `outputs` `(B, T, H)` are wrong in half of their digits in that step already.

        No bound is asked: one that wide would be of no use.
        """
        hidden = sequences.mask is not None or len(layer.STATES) > 1
        later = self.steps.start > 0 and self.steps.stop <= outputs.shape[1] and not hidden
        rows = self.once("rows", lambda: self.rows(sequences, later), sequences.mask, outputs)
        if not len(rows.samples):
            return False
        seen = self.once("seen", lambda: rows.of(outputs).astype(np.float64), rows, outputs)
        block = self.block(layer, sequences, rows, outputs if later else None)
        run(layer, block, None, block.outputs[0], sequences.dropout.samples(rows.samples))
        off = seen - block.outputs
        error, size = float(np.vdot(off, off)), float(np.vdot(block.outputs, block.outputs))
        if not np.isfinite((error, size)).all():
            if not_a_number(block, seen):
                return True
            known = np.isfinite(off)
            error, size = ((a[known] ** 2).sum() for a in (off, block.outputs))
        return bool(error > layer.precision.unit_roundoff * size)

    def rows(self, sequences: Sequences, later: bool) -> Rows:
        """The rows that are computed: none of samples that are masked throughout."""
        samples = self.samples[self.samples < len(sequences.inputs)]
        if sequences.mask is None:
            return Rows(samples, np.full(len(samples), self.steps.start if later else 0))
        mask = sequences.mask[samples]
        some = mask.any(axis=1)
        return Rows(samples[some], mask[some].argmax(axis=1))

    def block(self, layer: Layer, s: Sequences, rows: Rows, outputs: NDArray[Any] | None) -> Block:
        """That step, ready to be computed: from the observed state before it, given `outputs`."""

        def inputs() -> Array:
            x = rows.of(s.inputs).swapaxes(0, 1)
            return layer_inputs(layer, x, slice(None), np.empty((1, len(x), layer.features)))

        def projection() -> Array:
            p = np.empty((1, len(rows.samples), layer.width))
            return project(layer, x, p, s.dropout.samples(rows.samples))

        def before() -> Array:
            if outputs is None:
                return s.initial_state[:, rows.samples]
            return outputs[np.newaxis, rows.samples, rows.steps - 1].astype(np.float64)

        x = self.once("inputs", inputs, rows, s.inputs, layer.precision, layer.operands)
        p = self.once(
            "projection", projection, x, layer.kernel, layer.bias, layer.operands, s.dropout
        )
        known = self.once("states", before, rows, s.initial_state, outputs)
        states = np.empty((len(known), 2, *known.shape[1:]))
        states[:, 0] = known
        return Block(slice(0, 1), x, p, states[0, 1:], *states)


def not_a_number(block: Block, seen: Array) -> bool:
    """Whether a number was seen where inputs or a state that are none make a NaN for certain."""
    expected, p = block.outputs, block.projection
    infinite = ~np.isfinite(block.inputs).all(axis=-1, keepdims=True)
    of_inputs = infinite & np.isnan(p.reshape(*p.shape[:2], -1, expected.shape[-1])).any(axis=2)
    states = [s for s in (block.states, block.cell_states) if s is not None]
    of_states = np.any([np.isnan(s[:1]).any(axis=-1, keepdims=True) for s in states], axis=0)
    sure = np.isnan(expected) & (of_inputs | of_states)
    return bool((sure & np.isfinite(seen)).any())
