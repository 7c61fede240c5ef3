"""How well a computation explains what was observed: a sequence of outputs, or the last one alone.

Of a sequence every step starts from the observed state, so that all steps of all samples are
independent: a few rows can refute a computation, and only what survives is held against all of
them. A last output alone is held against a bound that is carried over all timesteps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic, arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.distance import distance, ratios
from rnn_parity.bounds.observed import observed_part
from rnn_parity.bounds.step_bound import final_balls, free_running_balls
from rnn_parity.diagnosis.faults.fault import Computation, Fault
from rnn_parity.diagnosis.first_look import CLEARLY
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.formula import Bias, Lettered, Matrix, bound
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.products import Product
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import layer_inputs, project, replay
from rnn_parity.verdict.comparison import Beyond
from rnn_parity.verdict.printed import Print, steps_as_written
from rnn_parity.verdict.resolution import Widths, resolution, state_resolution
from rnn_parity.verdict.results import Divergence

SAMPLES, STEPS = 3, 16
"""Samples, and timesteps around the first divergence, on which a candidate is tried first. Chosen:
they refute nearly all and cost little; what they leave is tried on all rows.
"""
NEAR = 64
"""Timesteps before the first rows that are cheap enough to go through for every candidate. Chosen:
four times `STEPS`; a hidden state is known at the beginning of a sequence alone.
"""
KEPT_INPUTS = 1 << 26
"""Bytes of inputs, 64 MiB, up to which copies in another order are kept: four of them. Chosen: of
more, disks may have no room."""
FAR_OFF = 0.05
"""A replayed last output that is off by this share of its size is not the observed one. Chosen:
bounds that reach so far prove nothing; at a tenth of it, printed digits could be so far off.
"""
PROOF = 24.0
"""Bits by which numbers must tell a computation from others: each number adds the logarithm of its
size, or of how far it is from the right one, over the radius within which the observed one agrees.
Chosen: by chance one in 16 million agrees so well; at half, one of a thousand wrong arrays would be
explained by one of the thousands of candidates, and at double two float32 numbers would not tell.
"""


@dataclass(frozen=True, eq=False)
class Fit:
    """The largest ratio of a deviation to its bound, and whether that proves nothing: because the
    bound is as `wide` as the numbers, or because these are too few.
    """

    max_ratio: float
    useless: bool
    wide: bool = False

    @property
    def explains(self) -> bool:
        """Whether everything is within rounding, by a bound that could have refuted it."""
        return self.max_ratio <= 1 and not self.useless

    @property
    def untold(self) -> bool:
        """Whether everything is within rounding, and that proves nothing."""
        return self.max_ratio <= 1 and self.useless


NO_FIT = Fit(np.inf, True)
TOO_WIDE = Fit(np.inf, True, True)
"""What no candidate has to be tried for: whatever fits would prove nothing."""


class Evidence(Protocol):
    """What was observed, which computations explain or not."""

    @property
    def outputs(self) -> NDArray[Any]:
        """`(B, T, H)`, or the last one of each sample, `(B, H)`."""
        ...

    @property
    def tells_pairs(self) -> bool:
        """Whether it tells thousands of pairs of mistakes apart."""
        ...

    def fits_of(self, variants: Sequence[Computation]) -> list[Fit]:
        """How well variants explain it that differ by their activations alone."""
        ...


@dataclass(frozen=True, eq=False)
class SequenceEvidence:
    """Observed outputs, `(B, T, H)`, and the few rows on which candidates are tried first: those
    `steps` of some `samples`, then, where the first `diverging` step is later, those up to it. What
    is `beyond` the reference's bounds may be known.
    """

    reference: Computation
    outputs: NDArray[Any]
    samples: NDArray[np.intp]
    steps: slice
    diverging: Divergence | None = None
    beyond: Beyond | None = None

    @cached_property
    def tells_pairs(self) -> bool:
        """Whether some row has an input: where all are infinite or NaN, no first step refutes one
        of thousands of pairs, and to judge all of them takes most of a minute.
        """
        inputs = self.reference.sequences.inputs
        given = inputs[self.samples[self.samples < len(inputs)], self.steps]
        return not given.size or bool(np.isfinite(given).all(axis=-1).any())

    @classmethod
    def around(
        cls,
        reference: Computation,
        outputs: NDArray[Any],
        first: Divergence | None,
        beyond: Beyond | None = None,
    ) -> SequenceEvidence:
        """With the rows around the first divergence."""
        return cls(reference, outputs, *first_rows(reference.layer, outputs, first), first, beyond)

    @cached_property
    def kept(self) -> dict[Fault, list[tuple[str, Sequences]]]:
        """What faults of the inputs make of the reference's sequences, with the details."""
        return {}

    def keeps(self, c: Computation) -> bool:
        """Whether that is kept for a computation: its sequences are the reference's, and small."""
        own = c.sequences is self.reference.sequences and c.stateful == self.reference.stateful
        return own and c.sequences.inputs.nbytes <= KEPT_INPUTS

    @property
    def units_off(self) -> int:
        """How many units are clearly off, as far as that is known: what changes fewer of them does
        not explain the others.
        """
        return 0 if self.beyond is None else int((self.beyond["unit"] > CLEARLY).sum())

    @cached_property
    def first(self) -> FirstStep:
        """The first step of these rows, which refutes nearly every candidate."""
        return FirstStep(self.samples, self.steps, self.reference.printed)

    def fits_of(self, variants: Sequence[Computation]) -> list[Fit]:
        """How well variants explain the outputs: a few of them, which refute most, first."""
        if all(variant.is_like(self.reference) for variant in variants):
            return [self.of_reference] * len(variants)
        return self.looked_at(variants)

    @cached_property
    def of_reference(self) -> Fit:
        """How well the reference computation explains the outputs."""
        return self.looked_at([self.reference])[0]

    def looked_at(self, variants: Sequence[Computation]) -> list[Fit]:
        """`fits_of` variants, whatever they are."""
        layers = [variant.layer for variant in variants]
        if self.far_off_in_few(variants[0]):
            return [NO_FIT] * len(variants)
        sequences, outputs = variants[0].undone(self.outputs)
        if outputs.shape != (*sequences.shape, layers[0].units) or 0 in outputs.shape:
            return [NO_FIT] * len(variants)
        far = self.first.far_off(layers, sequences, outputs)
        return [
            NO_FIT if off else self.proven(self.fit_of(layer, sequences, outputs))
            for layer, off in zip(layers, far, strict=True)
        ]

    def far_off_in_few(self, variant: Computation) -> bool:
        """Whether a variant that does the same to each sample is wrong in a few of them already, so
        that what was observed need not be brought into its form.
        """
        if not variant.by_sample or len(variant.sequences.inputs) != len(self.outputs):
            return False
        some = variant.sequences_but(
            variant.detail, **vars(variant.sequences.samples(self.samples))
        )
        sequences, outputs = some.undone(self.outputs[self.samples])
        if outputs.shape != (*sequences.shape, some.layer.units) or not outputs.size:
            return False
        every = FirstStep(np.arange(len(outputs)), self.steps, self.reference.printed)
        return every.far_off([some.layer], sequences, outputs)[0]

    def fit_of(self, layer: Cell, sequences: Sequences, outputs: NDArray[Any]) -> Fit:
        """How well a layer explains outputs: a few of them, which refute most, first."""
        printed = self.reference.printed
        for rows in self.few_rows(outputs):
            found = closest_fit(layer, *observed_part(layer, sequences, outputs, *rows), printed)
            if not found.max_ratio <= 1:
                return found
        return closest_fit(layer, sequences, outputs, printed)

    def few_rows(self, outputs: NDArray[Any]) -> Iterator[tuple[NDArray[np.intp], slice]]:
        """Samples and timesteps on which computations are tried before all rows of `outputs`."""
        batch, timesteps = outputs.shape[:2]
        steps = self.steps if self.steps.stop <= timesteps else slice(0, STEPS)
        yield self.samples[self.samples < batch], steps
        late = self.diverging
        if late and late.batch < batch and steps.stop <= late.timestep < timesteps:
            yield np.array([late.batch]), slice(0, min(late.timestep + STEPS, timesteps))

    def proven(self, fit: Fit) -> Fit:
        """The fit; useless where printed numbers hardly refute the right computation."""
        printed = self.reference.printed is not None
        return Fit(fit.max_ratio, True) if printed and self.refuting_bits <= PROOF else fit

    @cached_property
    def refuting_bits(self) -> float:
        """By how many bits the outputs refute the reference computation."""
        layer, sequences = self.reference.layer, self.reference.sequences
        if self.outputs.shape != (*sequences.shape, layer.units):
            return np.inf
        data = (layer, sequences, self.outputs, arithmetics(layer.precision)[0])
        return sum(
            bits_of(distance(observed.outputs, ball.value), ball.radius)
            for _, observed, ball in steps_as_written(*data, self.reference.printed)
        )


def first_rows(
    layer: Cell, outputs: NDArray[Any], first: Divergence | None
) -> tuple[NDArray[np.intp], slice]:
    """The samples and the timesteps around the first divergence."""
    batch, timestep = (first.batch, first.timestep) if first else (0, 0)
    samples = np.unique([batch, *np.linspace(0, len(outputs) - 1, SAMPLES - 1).astype(int)])
    start = max(0, min(timestep - STEPS // 4, outputs.shape[1] - STEPS))
    if layer.hidden and start > NEAR:
        start = 0  # what is hidden is known there alone, and later steps need all before them
    return samples, slice(start, start + STEPS)


def closest_fit(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any], printed: Print | None = None
) -> Fit:
    """The fit in the sharpest arithmetic that explains the outputs."""
    for arithmetic in arithmetics(layer.precision):
        found = fit_in(arithmetic, layer, sequences, outputs, printed)
        if found.max_ratio <= 1:
            break
    return found


@np.errstate(all="ignore")
def fit_in(
    arithmetic: Arithmetic,
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    printed: Print | None = None,
) -> Fit:
    """How well `layer` on `sequences` explains `outputs` `(B, T, H)`; stops once it does not."""
    worst, bits, widths = 0.0, 0.0, Widths.none(layer.units, sequences.shape[0])
    for _, observed, ball in steps_as_written(layer, sequences, outputs, arithmetic, printed):
        largest = float(ratios(distance(observed.outputs, ball.value), ball).max())
        # A ratio that is not a number fits nothing.
        worst = np.inf if np.isnan(largest) else max(worst, largest)
        if worst > 1 or ball.vacuous:
            return Fit(worst, True, ball.vacuous)
        size = np.abs(ball.value)
        widths = widths.and_then(Widths.of(ball.radius, size, observed.keep))
        bits += bits_of(size, ball.radius) if bits <= PROOF else 0.0
    wide = not resolution("outputs", widths).resolved
    return Fit(worst, wide or not bits > PROOF, wide)


@np.errstate(all="ignore")
def bits_of(moved: NDArray[Any], radius: NDArray[Any]) -> float:
    """By how many bits numbers tell a computation from another, from which they are `moved`.

    One number tells as much as a float32 holds at most, as where both are exact zeros.
    """
    beyond = np.isfinite(moved) & (moved > radius)
    each = np.log2(np.where(beyond, moved, 1.0) / np.where(beyond, radius, 1.0))
    return float(np.minimum(each, FLOAT32.digits).sum())


# A last output alone.


@dataclass(frozen=True, eq=False)
class LastOutputEvidence:
    """The last outputs `(B, H)`, and the final states that were observed, `(B, H)` each."""

    reference: Computation
    outputs: NDArray[Any]
    final_state: tuple[NDArray[Any], ...] = ()
    tells_pairs: ClassVar[bool] = False
    """Each pair would take a replay of all timesteps; and an order of the inputs together with one
    of the outputs makes any timestep the last."""

    def fits_of(self, variants: Sequence[Computation]) -> list[Fit]:
        """How well variants explain the last outputs: by their replay, then by their bounds."""
        return [NO_FIT if self.far_off(one) else self.fit_of(one) for one in variants]

    @np.errstate(all="ignore")
    def far_off(self, variant: Computation) -> bool:
        """Whether a few samples' replayed last outputs are nowhere near the observed ones."""
        samples = np.arange(min(SAMPLES, len(self.outputs)))
        seen = self.outputs[samples].astype(np.float64)
        if variant.rearrange is None:
            found = replay(variant.layer, variant.sequences.samples(samples)).outputs[:, -1]
        else:
            found = variant.computed()[: len(samples), -1]
        if found.shape != seen.shape:
            return True
        how = self.reference.printed
        unsure = 0.0 if how is None else 2 * how.unsure(seen)
        off = np.maximum(np.abs(seen - found) - unsure, 0)
        return not (off**2).sum() <= FAR_OFF**2 * (found**2).sum()

    @np.errstate(all="ignore")
    def fit_of(self, variant: Computation) -> Fit:
        """The fit in the sharpest arithmetic that explains the last outputs."""
        for arithmetic in arithmetics(variant.layer.precision):
            found = self.fit_in(arithmetic, variant)
            if found.max_ratio <= 1:
                break
        return found

    def fit_in(self, arithmetic: Arithmetic, variant: Computation) -> Fit:
        """How well a variant explains the last outputs and the final states."""
        found = [
            self.fit_to(*balls, bits=variant.bits) for balls in last_balls(variant, arithmetic)
        ]
        return min(found, key=lambda fit: (not fit.explains, fit.max_ratio))

    def fit_to(self, output: Ball, *states: Ball, bits: float) -> Fit:
        """How well the last outputs and the final states lie in their balls; `bits` are what the
        form of the numbers says.
        """
        seen = [self.outputs, *self.final_state]
        found = [*zip(seen, (output, *states), strict=False)]
        if any(array.shape != ball.shape for array, ball in found):
            return NO_FIT  # such as samples and timesteps swapped, in the states alone
        balls = [self.as_printed(*pair) for pair in found]
        worst = [
            ratios(distance(array.astype(np.float64), ball.value), ball).max()
            for array, ball in zip(seen, balls, strict=True)
        ]
        pairs = zip(balls, self.right, strict=False)
        bits += sum(bits_of(distance(ball.value, right), ball.radius) for ball, right in pairs)
        wide = not state_resolution("output", balls[0], balls[0].value).resolved
        largest = float(np.max(worst))
        useless = wide or not bits > PROOF
        return Fit(np.inf if np.isnan(largest) else largest, useless, wide)

    @cached_property
    def too_wide(self) -> bool:
        """Whether the bound of the reference computation is as wide as the numbers.

        Candidates are refuted by their replay first, which is no proof then.
        """
        layer, sequences = self.reference.layer, self.reference.sequences
        output, _ = final_balls(layer, sequences, arithmetics(layer.precision)[0])
        return not state_resolution("output", output, output.value).resolved

    def as_printed(self, array: NDArray[Any], ball: Ball) -> Ball:
        """A ball, with half a unit of the last digit where the numbers were printed."""
        how = self.reference.printed
        return ball if how is None else how.around(array, ball)

    @cached_property
    def right(self) -> list[Array]:
        """The last output and the final states of the reference computation."""
        trace = replay(self.reference.layer, self.reference.sequences)
        return [trace.outputs[:, -1], *trace.states]


@np.errstate(all="ignore")
def last_balls(variant: Computation, arithmetic: Arithmetic) -> list[list[Ball]]:
    """Where the last output and the final states of a variant must lie.

    What rearranges outputs may do the same to the states, or leave them as they are.
    """
    layer, sequences, rearrange = variant.layer, variant.sequences, variant.rearrange
    if rearrange is None:
        output, states = final_balls(layer, sequences, arithmetic)
        return [[output, *states]]

    def rearranged(balls: Sequence[Ball]) -> Ball:
        value, radius = (
            rearrange(np.stack([getattr(ball, name) for ball in balls], axis=1))[:, -1]
            for name in ("value", "radius")
        )
        return Ball(value, radius, arithmetic)

    every = [*free_running_balls(layer, sequences, arithmetic)]
    output, states = rearranged([output for output, _ in every]), every[-1][1]
    if output.shape != states[0].shape:
        return [[output, *states]]
    return [[output, *states], [output, *(rearranged([state]) for state in states)]]


# The first step of a few samples, as thousands of candidates compute it: it refutes nearly all.
# That step starts from a known state, h and an LSTM's c alike. Candidates share most of their
# arrays and activations, and what is made of the same ones is made once.

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

    @property
    def next(self) -> FirstRows:
        """The timesteps after these."""
        return FirstRows(self.samples, self.steps + 1)

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
        return self.once(("f", id(activation)), activation, lambda: quietly(activation, self.value))


def quietly(activation: Activation, z: Array) -> Array:
    """`f(z)`, where warnings are silenced already."""
    if activation.quiet is not None:
        return activation.quiet(z, np.empty_like(z))
    return activation.function(z)


def applied(activations: Sequence[Activation], z: Shared | Array) -> Array:
    """`f(z)`, or `(L, 1, n, H)` for L of them: each its own of z where z has that axis already."""
    first = activations[0]
    if len(activations) == 1 or all(one is first for one in activations):
        return z.under(first) if isinstance(z, Shared) else quietly(first, z)
    if isinstance(z, Shared):
        return np.stack([z.under(one) for one in activations])
    parts = z if z.ndim == WITH_LANES else [z] * len(activations)
    return np.stack([quietly(one, part) for one, part in zip(activations, parts, strict=True)])


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
    """The first unmasked timestep of each of some `samples`, and where states are hidden the one
    after it.

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
        """Whether `outputs` `(B, T, H)` are wrong in half of their digits in such a step already.

        No bound is asked: one that wide would be of no use. The `layers` differ by their
        activations alone.
        """
        layer = layers[0]
        later = self.is_later(layer, sequences, outputs)
        given = sequences.mask, sequences.initial_state, outputs
        start = self.once("start", lambda: self.start(sequences, outputs, later), *given)
        if not len(start.rows.samples):
            return [False] * len(layers)
        far, after = self.compared(layers, sequences, start, later)
        if all(far) or not self.goes_on(layer, sequences, outputs):
            return far
        second = self.once("second", lambda: self.second(start, outputs), start, outputs)
        further, _ = self.compared(layers, sequences, second, True, after)
        return [one or two for one, two in zip(far, further, strict=True)]

    def goes_on(self, layer: Cell, sequences: Sequences, outputs: NDArray[Any]) -> bool:
        """Whether a second step is looked at: a first one from states of zeros shows nothing of W,
        and of hidden states all that is known is what it makes of them.
        """
        plain = sequences.mask is None and self.printed is None and not layer.facts.own_output
        return bool(layer.hidden) and plain and outputs.shape[1] > 1

    def second(self, start: Start, outputs: NDArray[Any]) -> Start:
        """The step after a first one, from the h that was seen; hidden states are not known."""
        rows = start.rows.next
        return Start(rows, start.seen, rows.taken(outputs).astype(np.float64))

    def compared(
        self,
        layers: Sequence[Cell],
        sequences: Sequences,
        start: Start,
        later: bool,
        hidden: Sequence[Array] = (),
    ) -> tuple[list[bool], list[Array]]:
        """Whether a step is wrong in half of its digits, and the hidden states after it; what is
        not known of those before it is given as `hidden`, `(1, n, H)` or `(L, 1, n, H)`.
        """
        layer = layers[0]
        projected = self.projected(layer, sequences, start.rows)
        expected, after = self.step(layers, sequences, start, projected.projection, hidden)
        off = start.seen - expected
        if self.printed is not None:
            # Through the state before, too, which is multiplied by the recurrent kernel.
            times = 2 + float(np.abs(layer.recurrent_kernel).sum(axis=0).max()) * later
            off = np.maximum(np.abs(off) - times * self.printed.unsure(start.seen), 0)
        errors, sizes = ((a**2).sum(axis=(1, 2, 3)) for a in (off, expected))
        far: list[bool] = (errors > layer.precision.unit_roundoff * sizes).tolist()
        for i in np.flatnonzero(~np.isfinite(errors + sizes)).tolist():
            far[i] = far_where_finite(start, projected, expected[i], layer.precision.unit_roundoff)
        return far, after

    def is_later(self, layer: Cell, sequences: Sequences, outputs: NDArray[Any]) -> bool:
        """Whether it is the first of `steps`: every state is observed there."""
        hidden = sequences.mask is not None or bool(layer.hidden)
        return self.steps.start > 0 and self.steps.stop <= outputs.shape[1] and not hidden

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

    def step(
        self,
        layers: Sequence[Cell],
        s: Sequences,
        start: Start,
        projection: Shared,
        hidden: Sequence[Array],
    ) -> tuple[Array, list[Array]]:
        """The outputs of the step, `(L, 1, n, H)`, and the hidden states after it."""
        layer, masks = layers[0], s.dropout.samples(start.rows.samples).state
        states = [*(start.states[k : k + 1] for k in range(len(start.states))), *hidden]
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
            **{a: partial(applied, of_all) for a, of_all in activations_of(layers).items()},
        }
        found = bound(layer.formula, letters)(projection, *states)
        outputs, *after = (a.value if isinstance(a, Shared) else a for a in found)
        return np.broadcast_to(outputs, (len(layers), *start.seen.shape)), after


def activations_of(layers: Sequence[Cell]) -> dict[str, list[Activation]]:
    """What each letter of an activation means in each of the layers."""
    letters = [layer.letters for layer in layers]
    return {letter: [one[letter] for one in letters] for letter in letters[0]}


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
