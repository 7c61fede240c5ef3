"""The first step of a few samples, as thousands of candidates compute it: it refutes nearly all.

That step starts from a known state, h and an LSTM's c alike. Candidates share most of their arrays
and activations, and what is made of the same ones is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Lettered, Matrix, bound
from rnn_parity.recurrence.products import Product
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import layer_inputs, project
from rnn_parity.verdict.printed import Print

T = TypeVar("T")

KEPT = 64
"""Results that are kept. A candidate needs three, and two faults that are tried together change a
few of them in turn, so that a quarter would do; many more would fill the memory where a layer has
millions of weights.
"""

WITH_LANES = 4
"""The axes of numbers that belong to several activations, `(L, 1, n, H)`."""


@dataclass(frozen=True, eq=False)
class FirstRows:
    """One timestep of each of some samples: `steps` `(n,)` of `samples` `(n,)`."""

    samples: NDArray[np.intp]
    steps: NDArray[np.intp]

    def taken(self, array: NDArray[Any]) -> NDArray[Any]:
        """These rows of an array `(B, T, N)`, `(1, n, N)`."""
        return array[self.samples, self.steps][np.newaxis]


class Shared(Lettered):
    """A number of a cell's formula that several candidates have, with all that they make of it."""

    def __init__(self, value: Array) -> None:
        self.value = value
        self.made: dict[Any, tuple[Any, Any]] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `value`."""
        return self.value.shape

    def once(self, key: Any, other: Any, make: Callable[[], T]) -> T:
        """What `make` makes of this and of `other`, whose id the key has and which stays alive."""
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = other, make()
        result: T = found[1]
        return result

    def __getitem__(self, part: Any) -> Shared:
        columns = part[-1]
        key = columns.start, columns.stop
        return self.once(key, None, lambda: Shared(self.value[part]))

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Bias):
            if other.array is None:
                return self
            key = "b", id(other.whole), other.row, other.columns.start, other.columns.stop
            return self.once(key, other.whole, lambda: Shared(self.value + other.array))
        if isinstance(other, Shared):
            return self.once(id(other), other, lambda: Shared(self.value + other.value))
        return self.value + other

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self.value - (other.value if isinstance(other, Shared) else other)

    def __rsub__(self, other: Any) -> Array:
        difference: Array = other - self.value
        return difference

    def __neg__(self) -> Array:
        return -self.value

    def __mul__(self, factor: Any) -> Array:
        product: Array = self.value * (factor.value if isinstance(factor, Shared) else factor)
        return product

    __rmul__ = __mul__

    def under(self, activation: Activation) -> Array:
        """`f(z)`, of which nobody may change a number."""
        return self.once(("f", id(activation)), activation, lambda: activation(self.value))


def applied(activations: Sequence[Activation], z: Shared | Array) -> Array:
    """`f(z)`, or `(L, 1, n, H)` for L of them: each its own of z where z has that axis already."""
    alone = all(one is activations[0] for one in activations)
    if isinstance(z, Shared):
        found = [z.under(one) for one in activations[: 1 if alone else None]]
    elif alone:
        found = [activations[0](z)]
    else:
        parts = z if z.ndim == WITH_LANES else [z] * len(activations)
        found = [one(part) for one, part in zip(activations, parts, strict=True)]
    return found[0] if alone else np.stack(found)


@dataclass(frozen=True, eq=False)
class Start:
    """Before that step: the `states` `(S, n, H)`. After it: what was `seen`, `(1, n, H)`."""

    rows: FirstRows
    states: Array
    seen: Array


@dataclass(frozen=True, eq=False)
class FirstInputs:
    """The inputs `(1, n, F)` as a layer takes them, and their projection."""

    inputs: Array
    projection: Shared


class FirstStep:
    """The first unmasked timestep of each of some `samples`.

    Where every state is observed, the first of `steps` serves as well. Of `printed` numbers the
    last digit is unsure.
    """

    def __init__(
        self, samples: NDArray[np.intp], steps: slice, printed: Print | None = None
    ) -> None:
        self.samples, self.steps, self.printed = samples, steps, printed
        self.kept: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}

    def once(self, name: str, make: Callable[[], T], *given: Any) -> T:
        """What `make` makes of the objects `given`, which stay alive as long as it is kept."""
        key = name, *map(id, given)
        found = self.kept.pop(key, None)
        if found is None:
            if len(self.kept) >= KEPT:
                del self.kept[next(iter(self.kept))]  # the one that was needed longest ago
            found = given, make()
        self.kept[key] = found
        result: T = found[1]
        return result

    @np.errstate(all="ignore")
    def far_off(
        self, layers: Sequence[Cell], sequences: Sequences, outputs: NDArray[Any]
    ) -> list[bool]:
        """Whether `outputs` `(B, T, H)` are wrong in half of their digits in that step already.

        No bound is asked: one that wide would be of no use. The `layers` differ by their
        activations alone.
        """
        layer = layers[0]
        hidden = sequences.mask is not None or bool(layer.hidden)
        later = self.steps.start > 0 and self.steps.stop <= outputs.shape[1] and not hidden
        given = sequences.mask, sequences.initial_state, outputs
        start = self.once("start", lambda: self.start(sequences, outputs, later), *given)
        if not len(start.rows.samples):
            return [False] * len(layers)
        projected = self.projected(layer, sequences, start.rows)
        expected = self.step(layers, sequences, start, projected.projection)
        off = start.seen - expected
        if self.printed is not None:
            # Through the state before, too, which is multiplied by the recurrent kernel.
            times = 2 + float(np.abs(layer.recurrent_kernel).sum(axis=0).max()) * later
            off = np.maximum(np.abs(off) - times * self.printed.unsure(start.seen), 0)
        errors, sizes = ((a**2).sum(axis=(1, 2, 3)) for a in (off, expected))
        far: list[bool] = (errors > layer.precision.unit_roundoff * sizes).tolist()
        for i in np.flatnonzero(~np.isfinite(errors + sizes)).tolist():
            far[i] = far_where_finite(start, projected, expected[i], layer.precision.unit_roundoff)
        return far

    def rows(self, sequences: Sequences, later: bool) -> FirstRows:
        """The rows that are computed: none of samples that are masked throughout."""
        samples = self.samples[self.samples < len(sequences.inputs)]
        if sequences.mask is None:
            return FirstRows(samples, np.full(len(samples), self.steps.start if later else 0))
        mask = sequences.mask[samples]
        some = mask.any(axis=1)
        return FirstRows(samples[some], mask[some].argmax(axis=1))

    def start(self, s: Sequences, outputs: NDArray[Any], later: bool) -> Start:
        """What the step starts from: where it is a `later` one, from the observed state."""
        rows = self.rows(s, later)
        states = s.initial_state[:, rows.samples]
        if later:
            states = outputs[np.newaxis, rows.samples, rows.steps - 1].astype(np.float64)
        return Start(rows, states, rows.taken(outputs).astype(np.float64))

    def projected(self, layer: Cell, s: Sequences, rows: FirstRows) -> FirstInputs:
        """The inputs of the step and their projection."""

        def make() -> FirstInputs:
            x = rows.taken(s.inputs).swapaxes(0, 1)
            x = layer_inputs(layer, x, slice(None), np.empty((1, len(x), layer.features)))
            p = np.empty((1, len(rows.samples), layer.width))
            return FirstInputs(x, Shared(project(layer, x, p, s.dropout.samples(rows.samples))))

        given = rows, s.inputs, layer.kernel, layer.precision, layer.operands, s.dropout
        return self.once("projection", make, *given)

    def step(self, layers: Sequence[Cell], s: Sequences, start: Start, projection: Shared) -> Array:
        """The outputs of the step, `(L, 1, n, H)`."""
        layer, masks = layers[0], s.dropout.samples(start.rows.samples).state
        states = [start.states[k : k + 1] for k in range(len(start.states))]
        every = slice(0, layer.width)
        times_w = Product(layer, layer.recurrent_kernel, masks)

        def product(h: Array, columns: slice) -> Shared | Array:
            if h is not states[0]:
                return times_w(h.value if isinstance(h, Shared) else h, columns)
            given = start.states, layer.recurrent_kernel, layer.operands, s.dropout
            return self.once(f"product of {columns}", lambda: Shared(times_w(h, columns)), *given)

        letters: dict[str, Any] = {
            "U": Matrix(lambda x, columns: x if columns == every else x[..., columns], every),
            "W": Matrix(product, every),
            "b": Bias(layer.bias, every),
            **layer.vectors,
            **{a: partial(applied, [one.letters[a] for one in layers]) for a in layer.letters},
        }
        outputs = bound(layer.formula, letters)(projection, *states)[0]
        outputs = outputs.value if isinstance(outputs, Shared) else outputs
        return np.broadcast_to(outputs, (len(layers), *start.seen.shape))


def far_where_finite(start: Start, projected: FirstInputs, expected: Array, unit: float) -> bool:
    """Whether numbers are far off as far as there are numbers, or stand where a NaN is certain."""
    if not_a_number(start, projected, expected):
        return True
    off = start.seen - expected
    known = np.isfinite(off)
    return bool((off[known] ** 2).sum() > unit * (expected[known] ** 2).sum())


def not_a_number(start: Start, projected: FirstInputs, expected: Array) -> bool:
    """Whether a number was seen where inputs or a state that are none make a NaN for certain."""
    p = projected.projection.value
    infinite = ~np.isfinite(projected.inputs).all(axis=-1, keepdims=True)
    of_inputs = infinite & np.isnan(p.reshape(*p.shape[:2], -1, expected.shape[-1])).any(axis=2)
    of_states = np.isnan(start.states).any(axis=(0, 2)).reshape(-1, 1)
    sure = np.isnan(expected) & (of_inputs | of_states)
    return bool((sure & np.isfinite(start.seen)).any())
