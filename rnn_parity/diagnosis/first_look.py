"""A first look at faulty runs, many at a time: which of them diverge in their first timesteps.

Variants of a computation that share a formula differ by their arrays alone: by weights, inputs,
masks and initial states. So one pass of the formula over arrays with one axis more, `(L, ...)` of
L variants, computes the first timesteps of all of them. All are held against the reference's bound
in one go, as further samples of it; and what is beyond it for sure needs no other look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.diagnosis.faults.fault import Computation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Matrix, bound
from rnn_parity.recurrence.products import operand
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences
from rnn_parity.recurrence.time_loop import layer_inputs, replay
from rnn_parity.verdict.printed import maybe_printed

Samples = NDArray[np.intp]
T = TypeVar("T")

CLEARLY = 2.0
"""The ratio from which on a few rows prove what the whole run would show. Derived: how bounds of
products are grouped depends on the rows that are judged together, and changes them by a factor of 2
at most; the quick way that whole runs are judged by has bounds that are wider by less.
"""
USUAL = 1e9
"""Outputs beyond this are not judged beside others, whose bounds they could change. Chosen."""
DIGITS = 64
"""Numbers of each run whose digits are counted. Chosen: one with many digits is enough."""
BYTES = 1 << 25
"""Bytes of the arrays of all variants that are looked at together: 32 MiB. Chosen."""


def lanes(reference: Computation, samples: int, steps: int) -> int:
    """How many variants may be looked at together."""
    layer = reference.layer
    own = layer.kernel.nbytes + layer.recurrent_kernel.nbytes + reference.sequences.inputs.nbytes
    return max(1, BYTES // (own + 8 * samples * steps * (layer.features + 4 * layer.width)))


def in_groups(items: Iterable[T], count: int) -> Iterator[list[T]]:
    """`items`, in lists of `count` at most."""
    rest = iter(items)
    while group := list(islice(rest, count)):
        yield group


@np.errstate(all="ignore")
def diverging(
    variants: Sequence[Computation],
    reference: Computation,
    outputs: NDArray[Any],
    samples: Samples,
    count: int,
) -> list[bool]:
    """Whether a variant's run diverges for sure in the first `count` timesteps of some `samples`.

    `outputs` `(B, T, H)` are those that were observed of the reference. False where only the whole
    run would tell: where its digits are few, or its axes others.
    """
    sequences = reference.sequences.first(count).samples(samples)
    shape = (*sequences.shape, reference.layer.units)
    found = first_outputs(variants, reference, outputs, samples, count)
    fit = [i for i, y in enumerate(found) if y.shape == shape and np.abs(y).max() < USUAL]
    off = [False] * len(found)
    if fit:
        seen = np.stack([found[i] for i in fit])
        layer = reference.layer
        worst = [worst_ratios(a, layer, sequences, seen) for a in arithmetics(layer.precision)]
        least = np.min(worst, axis=0)
        numbers = seen.reshape(len(fit), -1)
        few = numbers[:, :: -(-numbers.shape[1] // DIGITS)]
        beyond = (least > CLEARLY) & ~maybe_printed(few)
        for i, one in zip(fit, beyond.tolist(), strict=True):
            off[i] = one
    return off


def worst_ratios(
    arithmetic: Arithmetic, layer: Cell, sequences: Sequences, outputs: Array
) -> NDArray[np.float64]:
    """The largest ratio of each of L runs, `(L,)`; `outputs` are `(L, B, T, H)`.

    All go by as the samples of one batch.
    """
    many = len(outputs)
    every, worst = repeated(sequences, many), np.zeros(many)
    seen = outputs.reshape(-1, *outputs.shape[2:])
    steps = Steps(layer, arithmetic, every)
    for block, observed in observed_steps(layer, every, seen):
        ball = steps.observed(block, observed)
        ratio = ratios(distance(observed.outputs, ball.value), ball)
        of_run = ratio.reshape(len(ratio), many, -1).max(axis=(0, 2))
        worst = np.fmax(worst, np.where(np.isnan(of_run), np.inf, of_run))
    return worst


def repeated(s: Sequences, times: int) -> Sequences:
    """All samples, as many `times`."""
    return s.samples(np.tile(np.arange(len(s.inputs)), times))


# What the variants put out.


def first_outputs(
    variants: Sequence[Computation],
    reference: Computation,
    outputs: NDArray[Any],
    samples: Samples,
    count: int,
) -> list[NDArray[Any]]:
    """What each variant puts out for these samples in its first `count` timesteps, rounded."""
    alike: dict[Any, list[int]] = {}
    found: list[Any] = [None] * len(variants)
    for i, variant in enumerate(variants):
        if variant.rearrange is not None:
            found[i] = rearranged(variant, reference, outputs, samples, count)
        elif variant.sequences.dropout is not NO_DROPOUT:
            part = variant.sequences.first(count).samples(samples)
            found[i] = variant.layer.precision.round(replay(variant.layer, part).outputs)
        else:
            alike.setdefault(kind(variant), []).append(i)
    for group in alike.values():
        computed = side_by_side([variants[i] for i in group], samples, count)
        for i, one in zip(group, computed, strict=True):
            found[i] = variants[i].layer.precision.round(one)
    return found


def rearranged(
    variant: Computation,
    reference: Computation,
    outputs: NDArray[Any],
    samples: Samples,
    count: int,
) -> NDArray[Any]:
    """The first outputs of a variant that puts outputs into another order."""
    assert variant.rearrange is not None
    if variant.sequences is reference.sequences:
        # Both ends of the right outputs are all that can come first in any other order of time.
        if outputs.shape[1] > 2 * count + 2:
            ends = (outputs[samples, : count + 1], outputs[samples, -count - 1 :])
            return variant.rearrange(np.concatenate(ends, axis=1))[:, :count]
        return variant.rearrange(outputs[samples])[:, :count]
    # The recurrence ran along the batch: its samples are the timesteps.
    part = variant.sequences.samples(slice(count)).first(len(samples))
    return variant.layer.precision.round(variant.rearrange(replay(variant.layer, part).outputs))


def kind(variant: Computation) -> tuple[Any, ...]:
    """What variants have in common that go side by side."""
    layer = variant.layer
    options = layer.precision, layer.operands, layer.zero_output_for_mask
    return (
        layer.formula,
        layer.kernel.shape,
        variant.sequences.shape,
        *map(id, layer.activations),
        *options,
    )


@np.errstate(all="ignore")
def side_by_side(group: Sequence[Computation], samples: Samples, count: int) -> Array:
    """The outputs `(L, B, t, H)` of L variants whose layers share a formula and its activations."""
    layer = group[0].layer
    sequences = shared([c.sequences for c in group], lambda s: s.first(count).samples(samples))
    x = stacked(shared([s.inputs for s in sequences], lambda inputs: taken(layer, inputs)))
    kernel = operand(layer, stacked([c.layer.kernel for c in group]))
    projection = np.matmul(x.reshape(len(x), -1, layer.features), kernel)
    projection = projection.reshape(len(projection), *x.shape[1:3], layer.width)
    step = bound(layer.formula, letters(group))
    initial = stacked([s.initial_state for s in sequences])
    states = [initial[:, i] for i in range(len(layer.STATES))]
    keep, previous, found = kept(sequences), np.zeros_like(states[0]), []
    for t in range(x.shape[1]):
        output, *new = step(projection[:, t], *states)
        new = new if layer.facts.own_output else [output, *new]
        if keep is not None:
            now = keep[:, t]
            new = [np.where(now, one, old) for one, old in zip(new, states, strict=True)]
            hidden = 0.0 if layer.zero_output_for_mask else previous
            output = previous = np.where(now, output, hidden)
        states = new
        found.append(np.broadcast_to(output, (len(group), *output.shape[1:])))
    return np.stack(found, axis=2)


def letters(group: Sequence[Computation]) -> dict[str, Any]:
    """What the letters of the formula mean for the layers of a group together."""
    layer, every = group[0].layer, slice(0, group[0].layer.width)
    kernel = operand(layer, stacked([c.layer.recurrent_kernel for c in group]))
    rows = (layer.facts.bias_rows,) if layer.facts.bias_rows else ()
    none = np.zeros((*rows, layer.width))
    bias = stacked([none if c.layer.bias is None else c.layer.bias for c in group])
    vectors = {
        letter: stacked([c.layer.vectors[letter] for c in group])[:, np.newaxis]
        for letter in layer.vectors
    }
    return {
        "U": Matrix(lambda x, columns: x[..., columns], every),
        "W": Matrix(lambda h, c: np.matmul(operand(layer, h), kernel[..., c]), every),
        "b": Bias(np.moveaxis(bias[..., np.newaxis, :], 0, -3), every),
        **vectors,
        **layer.letters,
    }


def taken(layer: Cell, inputs: NDArray[Any]) -> Array:
    """The inputs `(B, t, F)` as the layer takes them, time first."""
    batch, steps, features = inputs.shape
    return layer_inputs(layer, inputs, slice(None), np.empty((steps, batch, features)))


def kept(sequences: Sequence[Sequences]) -> NDArray[np.bool_] | None:
    """Which timesteps count, `(L, t, B, 1)`; None where all do."""
    if all(s.mask is None for s in sequences):
        return None
    masks = [np.ones(s.shape, bool) if s.mask is None else s.mask for s in sequences]
    keep: NDArray[np.bool_] = np.stack(masks).swapaxes(1, 2)[..., np.newaxis]
    return keep


def shared(objects: Sequence[Any], make: Callable[[Any], T]) -> list[T]:
    """What `make` makes of each object, made once of each."""
    made: dict[int, T] = {}
    for one in objects:
        if id(one) not in made:
            made[id(one)] = make(one)
    return [made[id(one)] for one in objects]


def stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The arrays along a first axis, which has length 1 where all of them are the same one."""
    if all(array is arrays[0] for array in arrays):
        return arrays[0][np.newaxis]
    return np.stack(arrays)
