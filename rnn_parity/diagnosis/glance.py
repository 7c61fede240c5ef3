"""Pairs of mistakes at a glance: a timestep of a few samples and units, many pairs side by side.

Few numbers rule out a pair for good, and most of thousands of pairs can be made in these alone: a
mistake of each unit's weights does the same to a layer that is cut to a few units, and one of the
inputs puts others before the same layer. So the mistake that needs the whole layer, or all steps,
is made first, and cut; the other one is made of what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
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
CLEARLY = 4.0
"""By how much more, in squares, a few units must be off than a whole layer: some may be further off
than all of them are on average. Chosen: of right computations they are off by a few roundings, in
squares below a hundredth of that even in 16 bits; at 16, noise of a thousandth of the outputs
would leave nearly all pairs to the whole layer."""
LANES = 512
"""Computations that are looked at side by side. Chosen: more take no less time each."""

Tried = Callable[[Fault, Computation], Iterable[Computation]]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Seen:
    """What was observed after one timestep, or after each of two, and the mean squares of that:
    `outputs` `(t, n, H)` and `sizes` `(t,)`.
    """

    outputs: Array
    sizes: Array


@dataclass(frozen=True, eq=False)
class Part:
    """A computation of one timestep, or of two where states are hidden: its layer cut, its
    sequences `(n, t, F)` from the known states `(S, n, H)` of all units on; the `mask` is that of
    all steps. What was `seen` is None where the whole outputs have another shape; `usual` says
    whether they have that of the computation's own ones.
    """

    computation: Computation
    mask: NDArray[np.bool_] | None
    seen: Seen | None
    usual: bool

    @property
    def data(self) -> tuple[Any, ...]:
        """The inputs, the mask of all steps, the states and what was seen."""
        sequences = self.computation.sequences
        return sequences.inputs, self.mask, sequences.initial_state, self.seen


@dataclass
class Told:
    """The details of variants that are `far` off, and of those that may be `near`; whether what
    they are variants of is far off `alone`.
    """

    far: set[str] = field(default_factory=set)
    near: set[str] = field(default_factory=set)
    alone: bool = True

    def add(self, detail: str | None, off: bool) -> None:
        """A variant, or, without a detail, what it is one of."""
        if detail is None:
            self.alone &= off
        else:
            (self.far if off else self.near).add(detail)

    @property
    def open(self) -> bool:
        """Whether not all variants are ruled out."""
        return bool(self.near) or not self.alone


class Glance:
    """A few units in the first step of a few samples of `outputs` `(B, T, H)`."""

    def __init__(
        self, whole: Computation, outputs: NDArray[Any], first: FirstStep, tried: Tried
    ) -> None:
        self.whole, self.outputs, self.first, self.tried = whole, outputs, first, tried
        self.second = FirstStep(first.samples, slice(1, 2), first.printed)
        count = whole.layer.units
        self.units = np.unique(np.linspace(0, count - 1, min(count, MOST_UNITS)).astype(int))
        self.kept: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self.made: dict[Fault, list[Part | None]] = {}
        self.of_variants: dict[tuple[Fault, tuple[Fault, ...]], dict[str, dict[Fault, Told]]] = {}
        self.pairs: dict[tuple[Fault, Fault], list[tuple[str, Told]]] = {}

    @cached_property
    def reference(self) -> Part | None:
        """The reference computation."""
        return self.part(self.whole)

    @np.errstate(all="ignore")
    def left(
        self, one: Fault, changed: Computation, others: Sequence[Fault]
    ) -> list[tuple[Fault, set[str]]]:
        """Those of the `others` that `changed`, a variant of `one`, is not ruled out with, each
        with the details of the variants that are.
        """
        told = [other for other in others if self.tells(one, other)]
        later = tuple(other for other in told if not made_first(other, one))
        found = {other: Told() for other in told}
        if later:
            every = self.all_with(one, later)
            found |= every.get(changed.detail) or self.with_others([self.part(changed)], later)[0]
        for other in set(told) - set(later):
            for detail, of_one in self.exchanged(one, other):
                found[other].add(detail, changed.detail not in of_one.near)
                found[other].alone &= of_one.alone
        return [
            (other, found[other].far - found[other].near if other in found else set())
            for other in others
            if other not in found or found[other].open
        ]

    def tells(self, one: Fault, other: Fault) -> bool:
        """Whether a few units tell what two faults do, `one` before the `other`."""
        then = one if made_first(other, one) else other
        known = one.reach and then.reach in (UNITS, INPUTS, OUTPUTS)
        return bool(self.reference and known)

    def all_with(self, one: Fault, later: tuple[Fault, ...]) -> dict[str, dict[Fault, Told]]:
        """What a few units tell of every variant of `one` that is `later` changed by others, by its
        detail: many more go side by side than of each variant alone.
        """
        if (one, later) not in self.of_variants:
            parts = self.parts(one)
            if one.reach == UNITS and self.reference is not None:
                own = self.and_then(self.reference, one, self.reference.usual)
                parts = [part for detail, part in own if detail is not None]
            known = [part for part in parts if part is not None]
            details = [part.computation.detail for part in known]
            of_all = self.with_others(known, later)
            alone = zip(details, of_all, strict=True)
            self.of_variants[one, later] = {d: told for d, told in alone if details.count(d) == 1}
        return self.of_variants[one, later]

    def with_others(
        self, parts: Sequence[Part | None], later: Sequence[Fault]
    ) -> list[dict[Fault, Told]]:
        """What a few units tell of each part with each of the `later` faults."""
        found = [{other: Told() for other in later} for _ in parts]
        pairs = (
            ((i, other), *one)
            for i, part in enumerate(parts)
            for other in later
            for one in self.and_then(part, other, part is not None and part.usual)
        )
        for (i, other), detail, off in self.results(pairs):
            found[i][other].add(detail, off)
        return found

    def exchanged(self, one: Fault, other: Fault) -> list[tuple[str, Told]]:
        """What a few units tell of all variants of `one`, for each variant of the `other`, which is
        made first.
        """
        if (one, other) not in self.pairs:
            assert self.reference is not None
            parts, usual = self.parts(other), self.reference.usual
            told = [Told() for _ in parts]
            for i, detail, off in self.results(
                (i, *pair)
                for i, part in enumerate(parts)
                for pair in self.and_then(part, one, usual)
            ):
                told[i].add(detail, off)
            details = ("" if part is None else part.computation.detail for part in parts)
            self.pairs[one, other] = [*zip(details, told, strict=True)]
        return self.pairs[one, other]

    def results(
        self, pairs: Iterable[tuple[T, str | None, Part | None]]
    ) -> Iterator[tuple[T, str | None, bool]]:
        """Whether each part is far off, many side by side."""
        for group in in_groups(pairs, LANES):
            far = self.far_off([part for *_, part in group])
            for (key, detail, _), off in zip(group, far, strict=True):
                yield key, detail, off

    def and_then(
        self, first: Part | None, then: Fault, usual: bool
    ) -> Iterator[tuple[str | None, Part | None]]:
        """A part with each variant of another fault, and the details of these.

        What changes nothing in a few units may be no variant of them: then it is the part alone.
        """
        if first is None or then.reach == UNITS:
            yield None, first
        if first is None:
            return
        if then.reach == UNITS:
            for changed in then.tried(first.computation, self.outputs, usual):
                told = by_themselves(changed.layer)
                yield changed.detail, replace(first, computation=changed) if told else None
            return
        if not self.same_variants(first, then):
            yield None, None
        for second in self.parts(then):
            detail = None if second is None else second.computation.detail
            yield detail, None if second is None else self.joined(first, second)

    def same_variants(self, first: Part, then: Fault) -> bool:
        """Whether a fault of sequences has the same variants after `first` as of the reference."""
        assert self.reference is not None
        usual = zip(first.data, self.reference.data, strict=True)
        inputs, mask, states, _ = (own is one for own, one in usual)
        # The order of the outputs may depend on whether there is a state; no input does.
        known = states or (then.reach == INPUTS and len(self.parts(then)) > 0)
        return inputs and mask and known

    def joined(self, first: Part, second: Part) -> Part | None:
        """A part with the inputs, states and outputs of two; None where both have others.

        Where outputs have another shape than one of them, they have another than both.
        """
        assert self.reference is not None
        if self.reference.seen and not (first.seen and second.seen):
            return replace(first, seen=None)
        usual, changed = self.reference.data, []
        for one in (first, second):
            changed.append([own is not known for own, known in zip(one.data, usual, strict=True)])
        # Which steps come first depends on the mask.
        masked, many = any(one[1] for one in changed), all(any(one) for one in changed)
        if (masked and many) or any(all(both) for both in zip(*changed, strict=True)):
            return None
        data = zip(changed[0], first.data, second.data, strict=True)
        inputs, mask, states, seen = (a if own else b for own, a, b in data)
        computation = first.computation.but(sequences=Sequences(inputs, None, states))
        return replace(first, computation=computation, mask=mask, seen=seen)

    def parts(self, fault: Fault) -> list[Part | None]:
        """The variants of a fault, cut; None for one that cannot be."""
        if fault not in self.made:
            self.made[fault] = [self.part(variant) for variant in self.tried(fault, self.whole)]
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
            return Part(own, sequences.mask, None, usual)
        # Of what the layer itself says where to start from, another layer has only later steps.
        first = self.second if variant.by_sample else self.first
        if variant.by_sample and not first.is_later(layer, sequences, outputs):
            return None
        few, seen = self.first_step(first, layer, sequences, outputs)
        if not seen.outputs.size:
            return None
        return Part(replace(own, sequences=few), sequences.mask, seen, usual)

    def first_step(
        self, first: FirstStep, layer: Cell, s: Sequences, outputs: NDArray[Any]
    ) -> tuple[Sequences, Seen]:
        """The step alone as sequences, or with the one after it, and what was observed."""
        later = first.is_later(layer, s, outputs)
        rows = first.rows(s, later)
        every = [rows, rows.next] if first.goes_on(layer, s, outputs) else [rows]

        def inputs() -> NDArray[Any]:
            taken: NDArray[Any] = np.concatenate([one.taken(s.inputs) for one in every], axis=0)
            found: NDArray[Any] = taken.swapaxes(0, 1)
            return found

        def states() -> Array:
            return first.start(s, outputs, later).states

        def seen() -> Seen:
            found = np.concatenate([one.taken(outputs) for one in every]).astype(np.float64)
            return Seen(found, (found**2).mean(axis=(1, 2)) if found.size else np.zeros(len(found)))

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
                count = min(part.computation.sequences.shape[1], len(part.seen.outputs))
                rows = part.seen.outputs.shape[1]
                key = layer.formula, layer.precision, layer.operands, rows, count
                alike.setdefault(key, []).append((i, part.computation, part.seen))
        for key, group in alike.items():
            *_, count = key
            near, hidden = group, list[Array]()
            for t in range(count):
                places, computations, seen = zip(*near, strict=True)
                expected, hidden = side_by_side(computations, seen, t, hidden, self.units)
                off = self.all_off(computations, seen, t, expected)
                for i, one in zip(places, off, strict=True):
                    far[i] = one
                left = [i for i, one in enumerate(off) if not one]
                near, hidden = [near[i] for i in left], [state[left] for state in hidden]
                if not near:
                    break
        return far

    def all_off(
        self, computations: Sequence[Computation], seen: Sequence[Seen], t: int, expected: Array
    ) -> list[bool]:
        """`far_off` of computations that share a formula, by what they make of step t."""
        layer, printed = computations[0].layer, self.first.printed
        observed = np.stack([one.outputs[t][:, self.units] for one in seen])
        off = np.abs(observed - expected)
        if printed is not None:
            kernels = {id(c.layer.recurrent_kernel): c.layer.recurrent_kernel for c in computations}
            most = max(float(np.abs(w).sum(axis=0).max()) for w in kernels.values())
            off = np.maximum(off - (2 + most) * printed.unsure(observed), 0)
        errors, sizes = ((a**2).mean(axis=(1, 2)) for a in (off, expected))
        sizes = np.maximum(sizes, [one.sizes[t] for one in seen])
        far: list[bool] = (errors > CLEARLY * layer.precision.unit_roundoff * sizes).tolist()
        known: list[bool] = np.isfinite(errors + sizes).tolist()
        return [one and sure for one, sure in zip(far, known, strict=True)]


def made_first(other: Fault, one: Fault) -> bool:
    """Whether the `other` fault, which comes after `one`, can be made before it, and must be: to
    take numbers from elsewhere it needs the whole layer.
    """
    return one.reach == UNITS and other.reach == ORDER


# One step of many computations.


def side_by_side(
    computations: Sequence[Computation],
    seen: Sequence[Seen],
    t: int,
    hidden: Sequence[Array],
    units: Units,
) -> tuple[Array, list[Array]]:
    """The outputs of the few `units` after step t of L computations, and the hidden states, all
    `(L, n, J)`: a later step starts from what was seen before it, and from the `hidden` states.
    """
    made: dict[Any, Array] = {}

    def product(c: Computation, a: NDArray[Any], matrix: Array, inputs: bool) -> Array:
        key = id(a), id(matrix)
        if key not in made:
            made[key] = taken(c.layer, a, t, inputs) @ matrix
        return made[key]

    pairs = [*zip(computations, seen, strict=True)]
    # What came out of the step before is the first state in this one.
    before = [s.outputs if t else c.sequences.initial_state for c, s in pairs]
    times_u = np.stack([product(c, c.sequences.inputs, c.layer.kernel, True) for c, _ in pairs])
    ws = [(c, a, c.layer.recurrent_kernel) for (c, _), a in zip(pairs, before, strict=True)]
    times_w = np.stack([product(c, a, w, False) for c, a, w in ws])
    if t:
        own = [np.stack([a[t - 1][:, units] for a in before]), *hidden]
    else:
        own = [*np.stack([states[..., units] for states in before], axis=1)]
    layers = [c.layer for c in computations]
    found = bound(layers[0].formula, letters(layers, times_w))(times_u, *own)
    outputs, *after = (np.broadcast_to(a, own[0].shape) for a in found)
    return outputs, after


def taken(layer: Cell, a: NDArray[Any], t: int, inputs: bool) -> Array:
    """The inputs `(n, t, F)`, or the first state, as a layer multiplies them in step t: `(n, K)`.

    Of the states `(S, n, H)`, or of what was seen in each step before.
    """
    if not inputs:
        return operand(layer, a[max(0, t - 1)])
    room = np.empty((1, len(a), a.shape[2]))
    found: Array = layer_inputs(layer, a, slice(t, t + 1), room)[0]
    return found


def letters(layers: Sequence[Cell], times_w: Array) -> dict[str, Any]:
    """What the letters of the formula mean for all layers together."""
    layer, every = layers[0], slice(0, layers[0].width)
    none = np.zeros((*[layer.facts.bias_rows] * bool(layer.facts.bias_rows), layer.width))
    bias = np.stack([none if one.bias is None else one.bias for one in layers])
    activations = [one.letters for one in layers]
    return {
        "U": Matrix(lambda x, columns: x[..., columns], every),
        "W": Matrix(lambda h, columns: times_w[..., columns], every),
        "b": Bias(np.moveaxis(bias[..., np.newaxis, :], 0, -3), every),
        **{v: np.stack([one.vectors[v] for one in layers])[:, np.newaxis] for v in layer.vectors},
        **{a: partial(each_its_own, [one[a] for one in activations]) for a in activations[0]},
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
