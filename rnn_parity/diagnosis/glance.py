"""Pairs of mistakes at a glance: one timestep of a few samples and units, many pairs side by side.

Few numbers rule out a pair for good, and most of thousands of pairs can be made in these alone: a
mistake of each unit's weights does the same to a layer that is cut to a few units, and one of the
inputs puts others before the same layer. So the mistake that needs the whole layer, or all steps,
is made first, and cut; the other one is made of what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.evidence import FirstStep, quietly
from rnn_parity.diagnosis.faults.fault import INPUTS, ORDER, OUTPUTS, UNITS, Computation, Fault
from rnn_parity.diagnosis.few_units import Units, by_themselves, cut
from rnn_parity.diagnosis.first_look import in_groups
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Matrix, bound
from rnn_parity.recurrence.products import operand
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences
from rnn_parity.recurrence.time_loop import layer_inputs

MOST_UNITS = 16
"""Units that are looked at. Chosen: with three samples, some fifty numbers refute nearly all."""
CLEARLY = 16.0
"""By how much more, in squares, a few units must be off than a whole layer: some may be further off
than all of them are on average. Chosen."""
LANES = 128
"""Computations that are looked at side by side. Chosen: more take no less time each."""

Details = tuple[str, str]
Tried = Callable[[Fault, Computation], Iterable[Computation]]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Seen:
    """What was observed of the few units after one timestep, `(n, J)`, and the mean square of all
    units.
    """

    outputs: Array
    size: float


@dataclass(frozen=True, eq=False)
class Part:
    """A computation of one timestep: its layer cut, its sequences `(n, 1, F)` from the known states
    `(S, n, H)` of all units on. What was `seen` after it is None where the whole outputs have
    another shape; `usual` says whether they have that of the computation's own ones.
    """

    computation: Computation
    seen: Seen | None
    usual: bool

    @property
    def data(self) -> tuple[Any, ...]:
        """The inputs, the states and what was seen."""
        sequences = self.computation.sequences
        return sequences.inputs, sequences.initial_state, self.seen


class Glance:
    """A few units in the first step of a few samples of `outputs` `(B, T, H)`."""

    def __init__(self, whole: Computation, outputs: NDArray[Any], first: FirstStep) -> None:
        self.whole, self.outputs, self.first = whole, outputs, first
        count = whole.layer.units
        self.units = np.unique(np.linspace(0, count - 1, min(count, MOST_UNITS)).astype(int))
        self.kept: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self.made: dict[Fault, list[Part | None]] = {}

    @cached_property
    def reference(self) -> Part | None:
        """The reference computation."""
        return self.part(self.whole)

    @np.errstate(all="ignore")
    def left(
        self, one: Fault, others: Sequence[Fault], tried: Tried
    ) -> list[tuple[Fault, set[Details]]]:
        """Those of the `others` that `one` before them is not ruled out with, each with the details
        of the variants that are.
        """
        open_ = {other for other in others if not self.tells(one, other)}
        ruled_out, rest = ({other: set[Details]() for other in others} for _ in range(2))
        pairs = chain.from_iterable(
            self.both(one, other, tried) for other in others if other not in open_
        )
        for group in in_groups(pairs, LANES):
            far = self.far_off([part for *_, part in group])
            for (other, details, _), off in zip(group, far, strict=True):
                if details is not None:
                    (ruled_out if off else rest)[other].add(details)
                if not off:
                    open_.add(other)
        return [(other, ruled_out[other] - rest[other]) for other in others if other in open_]

    def tells(self, one: Fault, other: Fault) -> bool:
        """Whether a few units tell what two faults do, `one` before the `other`."""
        base, then, _ = in_order(one, other)
        known = base.reach and then.reach in (UNITS, INPUTS, OUTPUTS)
        return bool(self.reference and known)

    def both(
        self, one: Fault, other: Fault, tried: Tried
    ) -> Iterator[tuple[Fault, Details | None, Part | None]]:
        """The variants of `one`, and each of them with those of the `other`, with their details.

        What changes nothing in a few units may be no variant of them: then it is the first alone.
        """
        base, then, swapped = in_order(one, other)
        for first in self.parts(base, tried):
            if first is None or then.reach == UNITS:
                yield other, None, first
            if first is not None:
                for detail, part in self.and_then(first, then, tried, swapped):
                    details = first.computation.detail, detail
                    yield other, details[::-1] if swapped else details, part

    def and_then(
        self, first: Part, then: Fault, tried: Tried, swapped: bool
    ) -> Iterator[tuple[str, Part | None]]:
        """A part with each variant of another fault, and the details of these."""
        assert self.reference is not None
        if then.reach in (INPUTS, OUTPUTS):
            for second in self.parts(then, tried):
                detail = "" if second is None else second.computation.detail
                yield detail, None if second is None else self.joined(first, second)
            return
        usual = self.reference.usual if swapped else first.usual
        for changed in then.tried(first.computation, self.outputs, usual):
            told = by_themselves(changed.layer)
            yield changed.detail, replace(first, computation=changed) if told else None

    def joined(self, first: Part, second: Part) -> Part | None:
        """A part with the inputs, states and outputs of two; None where both have others."""
        assert self.reference is not None
        both: list[Any] = []
        for usual, *own in zip(*(one.data for one in (self.reference, first, second)), strict=True):
            others = [value for value in own if value is not usual]
            if len(others) > 1:
                return None
            both.append(others[0] if others else usual)
        inputs, states, seen = both
        sequences = Sequences(inputs, None, states)
        return replace(first, computation=first.computation.but(sequences=sequences), seen=seen)

    def parts(self, fault: Fault, tried: Tried) -> list[Part | None]:
        """The variants of a fault, cut; None for one that cannot be."""
        if fault not in self.made:
            self.made[fault] = [self.part(variant) for variant in tried(fault, self.whole)]
        return self.made[fault]

    def part(self, variant: Computation) -> Part | None:
        """A variant, cut; None where a few units, or the first step, would not tell of it."""
        layer = variant.layer
        if not by_themselves(layer) or variant.sequences.dropout is not NO_DROPOUT:
            return None
        usual = self.outputs.shape == (*variant.sequences.shape, layer.units)
        sequences, outputs = variant.undone(self.outputs)
        own = variant.but(variant.detail, layer=cut(layer, self.units), undo=None, rearrange=None)
        if outputs.shape != (*sequences.shape, layer.units) or not outputs.size:
            return Part(own, None, usual)
        few, seen = self.first_step(layer, sequences, outputs)
        return Part(replace(own, sequences=few), seen, usual) if len(seen.outputs) else None

    def first_step(
        self, layer: Cell, s: Sequences, outputs: NDArray[Any]
    ) -> tuple[Sequences, Seen]:
        """The step alone as sequences, and what was observed after it."""
        later = self.first.is_later(layer, s, outputs)
        rows = self.first.rows(s, later)

        def inputs() -> NDArray[Any]:
            return rows.taken(s.inputs).swapaxes(0, 1)

        def states() -> Array:
            return self.first.start(s, outputs, later).states

        def seen() -> Seen:
            found = rows.taken(outputs)[0].astype(np.float64)
            return Seen(found[:, self.units], float((found**2).mean()))

        x = self.once(inputs, s.inputs, s.mask, later)
        known = self.once(states, s.initial_state, s.mask, outputs if later else None)
        return Sequences(x, None, known), self.once(seen, s.mask, outputs)

    def once(self, make: Callable[[], T], *given: Any) -> T:
        """What `make` makes of the objects `given`, once: they stay alive."""
        key = make.__name__, *map(id, given)
        if key not in self.kept:
            self.kept[key] = given, make()
        result: T = self.kept[key][1]
        return result

    def far_off(self, parts: Sequence[Part | None]) -> list[bool]:
        """Whether each part is wrong in half of its digits, as `FirstStep.far_off` has it; False
        for None.
        """
        far = [part is not None and part.seen is None for part in parts]
        alike: dict[Any, list[tuple[int, Computation, Seen]]] = {}
        for i, part in enumerate(parts):
            if part is not None and part.seen is not None:
                layer = part.computation.layer
                key = layer.formula, layer.precision, layer.operands, len(part.seen.outputs)
                alike.setdefault(key, []).append((i, part.computation, part.seen))
        for group in alike.values():
            places, computations, seen = zip(*group, strict=True)
            for i, off in zip(places, self.all_off(computations, seen), strict=True):
                far[i] = off
        return far

    def all_off(self, computations: Sequence[Computation], seen: Sequence[Seen]) -> list[bool]:
        """`far_off` of computations that share a formula."""
        layer, printed = computations[0].layer, self.first.printed
        observed = np.stack([one.outputs for one in seen])
        expected = side_by_side(computations, self.units)
        off = np.abs(observed - expected)
        if printed is not None:
            kernels = {id(c.layer.recurrent_kernel): c.layer.recurrent_kernel for c in computations}
            most = max(float(np.abs(w).sum(axis=0).max()) for w in kernels.values())
            off = np.maximum(off - (2 + most) * printed.unsure(observed), 0)
        errors, sizes = ((a**2).mean(axis=(1, 2)) for a in (off, expected))
        sizes = np.maximum(sizes, [one.size for one in seen])
        far: list[bool] = (errors > CLEARLY * layer.precision.unit_roundoff * sizes).tolist()
        known: list[bool] = np.isfinite(errors + sizes).tolist()
        return [one and sure for one, sure in zip(far, known, strict=True)]


def in_order(one: Fault, other: Fault) -> tuple[Fault, Fault, bool]:
    """Which of two faults needs the whole layer first, and whether that is the `other`, where it
    makes no difference which of the two comes first.
    """
    if one.reach == UNITS and other.reach == ORDER:
        return other, one, True
    return one, other, False


# One step of many computations.


def side_by_side(computations: Sequence[Computation], units: Units) -> Array:
    """The outputs `(L, n, J)` of the few `units` after one step of L computations."""
    made: dict[Any, Array] = {}

    def product(c: Computation, a: NDArray[Any], matrix: Array, inputs: bool) -> Array:
        key = id(a), id(matrix)
        if key not in made:
            made[key] = taken(c.layer, a, inputs) @ matrix
        return made[key]

    every = [(c, c.sequences.inputs, c.sequences.initial_state) for c in computations]
    times_u = np.stack([product(c, x, c.layer.kernel, True) for c, x, _ in every])
    times_w = np.stack([product(c, s, c.layer.recurrent_kernel, False) for c, _, s in every])
    own = np.stack([s[..., units] for *_, s in every], axis=1)
    layers = [c.layer for c in computations]
    found = bound(layers[0].formula, letters(layers, times_w))(times_u, *own)[0]
    outputs: Array = np.broadcast_to(found, (len(layers), *own.shape[2:]))
    return outputs


def taken(layer: Cell, a: NDArray[Any], inputs: bool) -> Array:
    """The inputs `(n, 1, F)`, or the states `(S, n, H)`, as a layer multiplies them: `(n, K)`."""
    if inputs:
        return layer_inputs(layer, a, slice(0, 1), np.empty((1, len(a), a.shape[2])))[0]
    return operand(layer, a[0])


def letters(layers: Sequence[Cell], times_w: Array) -> dict[str, Any]:
    """What the letters of the formula mean for all layers together."""
    layer, every = layers[0], slice(0, layers[0].width)
    none = np.zeros((*[layer.facts.bias_rows] * bool(layer.facts.bias_rows), layer.width))
    bias = np.stack([none if one.bias is None else one.bias for one in layers])
    return {
        "U": Matrix(lambda x, columns: x[..., columns], every),
        "W": Matrix(lambda h, columns: times_w[..., columns], every),
        "b": Bias(np.moveaxis(bias[..., np.newaxis, :], 0, -3), every),
        **{v: np.stack([one.vectors[v] for one in layers])[:, np.newaxis] for v in layer.vectors},
        **{a: partial(each_its_own, [one.letters[a] for one in layers]) for a in layer.letters},
    }


def each_its_own(activations: Sequence[Activation], z: Array) -> Array:
    """`f(z)` `(L, n, J)`, of each layer its own f."""
    alike: dict[int, list[int]] = {}
    for i, activation in enumerate(activations):
        alike.setdefault(id(activation), []).append(i)
    if len(alike) == 1:
        return quietly(activations[0], z)
    found = np.empty_like(z)
    for some in alike.values():
        found[some] = quietly(activations[some[0]], z[some])
    return found
