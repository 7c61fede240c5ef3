"""What a fault is: a known mistake as a small transformation of the reference computation.

A fault makes variants of a computation. Each variant serves both directions: `computed` is what a
faulty implementation outputs (would this check have seen it?), and `undo` brings observed numbers
into the form in which they are the variant's own steps (does it explain them?).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.catalogue import EVERY_LAYER, TEXTS
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.verdict.printed import Print
from rnn_parity.verdict.results import Cause

Outputs = NDArray[Any]

UNITS, ORDER, INPUTS, OUTPUTS = "units", "order", "inputs", "outputs"
"""What a fault reaches. The weights and options of each unit by themselves; the order of numbers
within a kernel, whatever they are; the sequences, or the order of the outputs, whatever the weights
are.
"""


@dataclass(frozen=True, eq=False)
class Computation:
    """What an implementation computes: `layer` on `sequences`, then `rearrange` on the outputs.

    `undo`, from this computation and what was observed, gives the sequences and outputs of the
    steps that can be judged. `detail` says which variant of a fault it is. `printed` tells with how
    few digits the observed outputs were written; `earlier` is what reached the layer in the call
    before this one, and what was observed of that; `backward_half` marks the backward layer of a
    `Bidirectional` whose two halves were observed as a whole. With `by_sample`, `undo` asks the
    layer what each sample starts from, and does to each what it would do to that one alone. `bits`
    are what the form of the observed numbers alone says for this variant, as that all of them are
    numbers of a format.
    """

    layer: Cell
    sequences: Sequences
    stateful: bool = False
    detail: str = ""
    rearrange: Callable[[Array], Array] | None = None
    undo: Callable[[Computation, Outputs], tuple[Sequences, Outputs]] | None = None
    printed: Print | None = None
    earlier: tuple[Sequences, Outputs] | None = None
    backward_half: bool = False
    by_sample: bool = False
    bits: float = 0.0

    @property
    def single_step(self) -> bool:
        """Whether every sample has one timestep at most that counts, from a state h of zeros."""
        mask = self.sequences.mask
        steps = self.sequences.shape[1] if mask is None else mask.sum(axis=1).max()
        return bool(steps <= 1 and not self.sequences.initial_state[0].any())

    def is_like(self, other: Computation) -> bool:
        """Whether both surely compute the same: with the very same objects, or equal states."""
        mine, theirs = self.parts(), other.parts()
        same = mine.keys() == theirs.keys() and all(mine[name] is theirs[name] for name in mine)
        states = self.sequences.initial_state, other.sequences.initial_state
        return same and np.array_equal(*states)

    def parts(self) -> dict[str, Any]:
        """All that the computation is made of but for its states, by names."""
        s, own = self.sequences, {**vars(self), "class": type(self.layer)}
        of_layer = vars(self.layer)
        if s.mask is None and self.earlier is None:  # nobody writes anything for masked steps
            of_layer = {**of_layer, "zero_output_for_mask": None}
        own |= {"inputs": s.inputs, "mask": s.mask, "dropout": s.dropout, **of_layer}
        return {k: v for k, v in own.items() if k not in ("layer", "sequences", "detail")}

    def unsure_step(self, outputs: Outputs) -> float:
        """How far printed digits on both sides of a step may move its residual, about; 0 where the
        numbers were not printed.
        """
        if self.printed is None:
            return 0.0
        times = 1 + float(np.abs(self.layer.recurrent_kernel).sum(axis=0).max())
        return times * float(self.printed.unsure(outputs.astype(np.float64)).max(initial=0))

    def computed(self) -> Array:
        """The outputs of this computation, `(B, T, H)`."""
        outputs = replay(self.layer, self.sequences).outputs
        return outputs if self.rearrange is None else self.rearrange(outputs)

    def undone(self, outputs: Outputs) -> tuple[Sequences, Outputs]:
        """The sequences, and what was observed as this computation's own outputs on them."""
        return (self.sequences, outputs) if self.undo is None else self.undo(self, outputs)

    def but(self, detail: str = "", **changes: Any) -> Computation:
        """This computation with other attributes."""
        return replace(self, detail=detail, **changes)

    def layer_but(self, detail: str = "", **changes: Any) -> Computation:
        """This computation with other weights or options of its layer."""
        return replace(self, detail=detail, layer=self.layer.changed(**changes))

    def sequences_but(self, detail: str = "", **changes: Any) -> Computation:
        """This computation on other inputs, mask or initial state."""
        return replace(self, detail=detail, sequences=replace(self.sequences, **changes))


def are_equal(one: Array, other: Array) -> bool:
    """Whether two arrays of one shape are equal, by their first columns where these tell."""
    return np.array_equal(one[..., :1], other[..., :1]) and np.array_equal(one, other)


Variants = Iterator[Computation]


@dataclass(frozen=True)
class Fault:
    """One known mistake: a stable id, what to do, and its variants of a computation.

    What is wrong stands in `diagnosis.catalogue`, with the classes that can have it. The `remedy`
    may depend on the options of the layer. `variants` are those that a sensitive check shows; it
    gives nothing where the fault does not apply to a layer's options. `blind` says in a person's
    words why given data cannot show it, or None. `candidates` gives what is worth trying on
    observed outputs, where that depends on them or is more than the variants. `alone` faults are
    not tried together with others: their candidates are too many, or take an estimate each. Where
    two are tried together, a `first` one comes first: it is of the weights as they are stored; and
    a `last` one last: it changes no array, so that all its variants go by quickly. A `general` one
    could stand for others, and is tried where none of them fits. `reach` is one of the four above
    where a fault keeps within it, so that a few units tell what two of them do together.
    """

    id: str
    remedy: str | Callable[[Cell], str]
    variants: Callable[[Computation], Variants]
    blind: Callable[[Computation], str | None] = lambda c: None
    candidates: Callable[[Computation, Outputs], Variants] | None = None
    alone: bool = False
    first: bool = False
    last: bool = False
    general: bool = False
    reach: str | None = None

    def tried(self, c: Computation, outputs: Outputs, usual: bool) -> Variants:
        """The variants that are worth trying on outputs, of which `usual` says whether they have
        the shape of the computation's own.
        """
        if self.candidates is None or not usual:
            return self.variants(c)
        return self.candidates(c, outputs)

    @property
    def meaning(self) -> str:
        """What is wrong, as a clause."""
        return TEXTS[self.id].meaning

    @property
    def layers(self) -> tuple[str, ...]:
        """The classes of layers that can have it."""
        return TEXTS[self.id].layers

    def applies_to(self, layer: Cell) -> bool:
        """Whether a layer of this class can have it."""
        return self.layers == EVERY_LAYER or type(layer).__name__ in self.layers

    def advice(self, layer: Cell) -> str:
        """What to do about it in a layer."""
        return self.remedy if isinstance(self.remedy, str) else self.remedy(layer)

    def cause(self, explanation: str, layer: Cell) -> Cause:
        """This fault as the cause of what was observed, where no fit was measured."""
        return Cause(self.id, explanation, None, self.advice(layer))
