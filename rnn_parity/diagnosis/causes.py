"""Why a check diverged: which known mistakes reproduce the observed numbers within rounding, and
what remains to be said where none does. And what makes one suspect that is within rounding: other
weights, single ones or all of them rounded.

A mistake explains them when its own step residuals are within rounding. Every step starts from the
observed state, so that all steps of all samples are independent: a part of the rows can refute a
mistake, and only what survives is tried on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.distance import ratios
from rnn_parity.bounds.observed import Observed, observed_part
from rnn_parity.diagnosis import implied_weights as implied
from rnn_parity.diagnosis.equations import Rows, has_equations, stacked
from rnn_parity.diagnosis.evidence import Evidence, Fit, SequenceEvidence
from rnn_parity.diagnosis.faults import Computation, Fault, faults_of
from rnn_parity.diagnosis.faults.fault import INPUTS
from rnn_parity.diagnosis.faults.weights import DIFFERENT, FEW, ROUNDED, rounded_weights
from rnn_parity.diagnosis.few_units import Units, by_themselves, steps_of_units
from rnn_parity.diagnosis.first_look import Samples
from rnn_parity.diagnosis.glance import Glance
from rnn_parity.diagnosis.probe import Probe
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.time_loop import Block
from rnn_parity.system.progress import Tick, unseen
from rnn_parity.verdict.comparison import AXES, Beyond, note_beyond, nothing_beyond
from rnn_parity.verdict.judge import effective_bits
from rnn_parity.verdict.printed import steps_as_written
from rnn_parity.verdict.results import Cause, ImpliedWeight
from rnn_parity.verdict.sentences import number, other_value

CLOSER = 4.0
"""An explanation that is this many times as close as another makes the other one, though it is
within the bounds, a chance. Chosen.
"""
NO_NEARER = 5.0
"""What a rounding of the weights predicts explains none of the residuals once its squares are more
than this many times theirs. Derived: 4, by the triangle inequality; the rest is for rounding.
"""
Candidate = tuple[tuple[Fault, ...], Computation, tuple[str, ...]]
"""Faults, the computation that has them, and the details of each of them."""
Candidates = Iterator[Candidate]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Faults whose computation explains what was observed."""

    faults: tuple[Fault, ...]
    variant: Computation
    fit: Fit
    detail: str


@np.errstate(all="ignore")
def causes(
    reference: Computation,
    evidence: Evidence,
    tick: Tick = unseen,
    untold: list[Fit] | None = None,
) -> tuple[Cause, ...]:
    """Every fault that explains the `evidence`; where none does alone, every pair that does, if the
    evidence is enough to tell pairs.

    `tick` is called for every candidate; `untold` is told the fits that prove nothing.
    """
    if evidence.fits_of([reference])[0].explains:
        return ()
    alone: dict[Fault, float] = {}
    steps = [singles(reference, evidence), singles(reference, evidence, general=True)]
    if evidence.tells_pairs:
        steps.append(pairs(reference, evidence))
    untold = [] if untold is None else untold
    for candidates in steps:
        found = explaining(candidates, evidence, alone, tick, untold)
        if found:
            return merged(found)
    return ()


def singles(reference: Computation, evidence: Evidence, general: bool = False) -> Candidates:
    """Every fault alone; the general ones, which could stand for others, apart."""
    for fault in (fault for fault in faults_of(reference.layer) if fault.general == general):
        for variant in tried(fault, reference, evidence):
            yield (fault,), variant, (variant.detail,)


def tried(fault: Fault, c: Computation, evidence: Evidence) -> Iterator[Computation]:
    """The variants of a fault of a computation that are worth trying.

    Those of the inputs are the same whatever the weights are, and made once.
    """
    if fault is DIFFERENT and too_many_units(c.layer, evidence):
        return iter(())
    batch, timesteps = c.sequences.shape
    as_expected = evidence.outputs.shape in (
        (batch, timesteps, c.layer.units),
        (batch, c.layer.units),
    )
    if fault.reach == INPUTS and isinstance(evidence, SequenceEvidence) and evidence.keeps(c):
        if fault not in evidence.kept:
            every = fault.tried(evidence.reference, evidence.outputs, as_expected)
            evidence.kept[fault] = [(one.detail, one.sequences) for one in every]
        return (c.but(detail, sequences=own) for detail, own in evidence.kept[fault])
    return fault.tried(c, evidence.outputs, as_expected)


def too_many_units(layer: Cell, evidence: Evidence) -> bool:
    """Whether more units are off than a few other weights can change."""
    if not isinstance(evidence, SequenceEvidence):
        return False
    return evidence.units_off > FEW and by_themselves(layer)


def pairs(reference: Computation, evidence: Evidence) -> Candidates:
    """Every two faults together, unless both rearrange the outputs or neither changes anything."""
    sociable = [fault for fault in faults_of(reference.layer) if not fault.alone]
    blind = {fault for fault in sociable if fault.blind(reference)}
    order = sorted(sociable, key=lambda fault: (not fault.first, fault.last))
    glance = None
    if isinstance(evidence, SequenceEvidence):
        known = partial(tried, evidence=evidence)
        glance = Glance(reference, evidence.outputs, evidence.first, known)
    for i, one in enumerate(order):
        others = [other for other in order[i + 1 :] if not {one, other} <= blind]
        for changed in tried(one, reference, evidence):
            if changed.is_like(reference):
                continue  # what the other one does then was tried alone
            every = [(other, set[str]()) for other in others]
            for other, refuted in glance.left(one, changed, others) if glance else every:
                faults = one, other
                swapped = sociable.index(other) < sociable.index(one)
                for both in tried(other, changed, evidence):
                    if both.detail in refuted or both.is_like(changed):
                        continue
                    if changed.undo is None or both.undo is changed.undo:
                        details = changed.detail, both.detail
                        if swapped:
                            yield faults[::-1], both, details[::-1]
                        else:
                            yield faults, both, details


def explaining(
    candidates: Candidates,
    evidence: Evidence,
    alone: dict[Fault, float],
    tick: Tick = unseen,
    untold: list[Fit] | None = None,
) -> list[Explanation]:
    """The candidates whose own step residuals are within rounding of what was observed.

    `alone` remembers the largest ratio of each fault by itself: a second one must be closer by far,
    or it is a chance. `untold` remembers the fits that prove nothing.
    """
    found, untold = [], [] if untold is None else untold
    for group in alike(candidates):
        fits = evidence.fits_of([variant for _, variant, _ in group])
        for (faults, variant, details), fit in zip(group, fits, strict=True):
            tick()
            if len(faults) == 1:
                alone[faults[0]] = min(fit.max_ratio, alone.get(faults[0], np.inf))
            if fit.untold:
                untold.append(fit)
            if fit.explains and not by_chance(faults, fit, alone):
                told = "; ".join(filter(None, details))
                found.append(Explanation(faults, variant, fit, told))
    return found


def by_chance(faults: tuple[Fault, ...], fit: Fit, alone: dict[Fault, float]) -> bool:
    """Whether two faults fit hardly better than one of them does by itself."""
    several = len(faults) > 1
    return several and CLOSER * fit.max_ratio > min(alone.get(f, np.inf) for f in faults)


def alike(candidates: Candidates) -> Iterator[list[Candidate]]:
    """Candidates that follow each other and differ by the activations of their layers alone."""
    for _, group in groupby(candidates, lambda candidate: all_but_activations(candidate[1])):
        yield list(group)


def all_but_activations(variant: Computation) -> tuple[int, ...]:
    """What variants have in common that differ by their activations alone.

    Where the outputs are brought into another form first, that may depend on all of the layer.
    """
    if variant.undo is not None:
        return (id(variant),)
    own = {**vars(variant.layer), "activation": None, "recurrent_activation": None}
    return (id(variant.sequences), id(type(variant.layer)), *map(id, own.values()))


def merged(found: list[Explanation]) -> tuple[Cause, ...]:
    """One cause for each fault or pair of faults, whose equal fits stand together."""
    closest = min((one.fit.max_ratio for one in found), default=0.0)
    close = [one for one in found if one.fit.max_ratio <= CLOSER * closest]
    groups: dict[tuple[Fault, ...], list[Explanation]] = {}
    for one in close:
        groups.setdefault(one.faults, []).append(one)
    return tuple(cause(faults, group) for faults, group in groups.items())


def cause(faults: tuple[Fault, ...], group: list[Explanation]) -> Cause:
    """A fault with the numbers that support it."""
    meaning = " and ".join(fault.meaning for fault in faults)
    details = " or ".join(dict.fromkeys(one.detail for one in group if one.detail))
    best = min(group, key=lambda one: one.fit.max_ratio)
    bits = effective_bits(best.fit.max_ratio, best.variant.layer.precision.name)
    return Cause(
        "+".join(fault.id for fault in faults),
        f"{meaning}: {details}" if details else meaning,
        bits,
        "; ".join(fault.advice(best.variant.layer) for fault in faults),
    )


# Other weights, within rounding.


@dataclass(frozen=True)
class Suspicion:
    """The weights that outputs within rounding imply beyond doubt, and what may have caused it."""

    weights: tuple[ImpliedWeight, ...]
    causes: tuple[Cause, ...]


@np.errstate(all="ignore")
def suspicion(
    reference: Computation, outputs: NDArray[Any], probe: Probe | None = None
) -> Suspicion | None:
    """Other weights than the layer's, confirmed by samples that did not raise them or by a `probe`;
    None where the outputs imply none.
    """
    layer = reference.layer
    coupled = any(activation.coupling for activation in layer.activations)
    if coupled or layer.precision.digits < FLOAT32.digits:
        return None  # the errors of narrow formats are no noise: they depend on the numbers
    if not has_equations(layer):
        return None
    if reference.sequences.shape[0] == 1 and probe is None:
        return None  # there is nobody to confirm what one sample raises
    units = implied.doubtful_units(layer, reference.sequences, outputs)
    if units is not None and not units.size:
        return None
    equations, units, rounding = doubtful_equations(reference, outputs, units)
    weights: tuple[ImpliedWeight, ...] = ()
    if equations is not None:
        # A single sample is confirmed by the probe.
        varied = implied.varied(outputs) if len(outputs) > 1 else np.ones(layer.units, bool)
        telling = varied if by_themselves(layer) else None
        found = implied.confirmed(layer, equations, probe, units, telling)
        weights = implied.differences(layer, found)
        if not varied.all():
            weights = tuple(one for one in weights if varied[one.index[-1] % layer.units])
        if rounding is not None:  # a single weight that is off by more may pass for a rounding
            rest = equations.but_weights(stacked(rounding.layer) - stacked(layer))
            rounding = None if implied.confirmed(layer, rest).difference.any() else rounding
    if not weights and rounding is None:
        return None
    return Suspicion(weights, weight_causes(layer, rounding, weights))


def doubtful_equations(
    reference: Computation, outputs: NDArray[Any], units: Units | None
) -> tuple[Rows | None, Units | None, Computation | None]:
    """The equations of the `units` that are to be looked at closely, and these units.

    Where a quick look did not tell which, or has few equations to go by: those of all, if they show
    any weight, and the rounding of all weights that may be why.
    """
    layer, sequences = reference.layer, reference.sequences
    if units is not None:
        equations = implied.rows(layer, sequences, outputs, even=True, units=units)
        if equations.count >= implied.FEWEST_ROWS:
            return equations, units, None
    quick = implied.quick_rows(layer, sequences, outputs)
    scores = implied.scores(quick)
    # Rounding changes every weight a little; of few equations no single score can be high.
    hidden = quick.count < implied.FEWEST_ROWS or np.mean(scores**2) > implied.LOUD
    rounding = likeliest_rounding(reference, quick) if hidden else None
    if not scores.max() > implied.SCREEN:
        return None, None, rounding
    if implied.quick_steps(layer, sequences) >= implied.most_steps(layer, sequences):
        return quick, None, rounding
    return implied.rows(layer, sequences, outputs, even=True), None, rounding


def implied_causes(
    reference: Computation, found: Suspicion | None, evidence: Evidence
) -> tuple[Cause, ...]:
    """Of a `suspicion` of outputs beyond their bounds: where the layer with the few weights that
    they imply is within rounding of all that was observed, that as the cause.

    Where steps are hardly beyond their bounds, least squares on all of them tell more than the
    steps that are.
    """
    if found is None or not found.weights or not found.causes:
        return ()
    variant = reference.but("", layer=with_weights(reference.layer, found.weights))
    (fit,) = evidence.fits_of([variant])
    if not fit.explains:
        return ()
    bits = effective_bits(fit.max_ratio, reference.layer.precision.name)
    return tuple(replace(one, effective_bits=bits) for one in found.causes)


def may_imply(layer: Cell, off: dict[str, NDArray[np.bool_]]) -> bool:
    """Whether as few other weights as can be implied may be what is `off`, by the units that are:
    each weight changes its own unit alone, where units are computed by themselves.
    """
    few = np.count_nonzero(off["unit"]) <= implied.MOST_UNITS
    return bool(few) or not by_themselves(layer)


def with_weights(layer: Cell, weights: tuple[ImpliedWeight, ...]) -> Cell:
    """The layer with these entries in place of its own."""
    arrays = {one.weight: getattr(layer, one.weight).copy() for one in weights}
    for one in weights:
        arrays[one.weight][one.index] = one.implied
    return layer.changed(**arrays)


def weight_causes(
    layer: Cell, rounding: Computation | None, weights: tuple[ImpliedWeight, ...]
) -> tuple[Cause, ...]:
    """Rounded weights where those explain the residuals; else a few single entries."""
    if rounding is not None:
        return (ROUNDED.cause(rounding.detail, layer),)
    if len(weights) > FEW:
        return ()
    values = [other_value(w.weight, w.index, w.expected, w.implied) for w in weights]
    return (DIFFERENT.cause("; ".join(values) + of_a_sum(layer, weights), layer),)


def of_a_sum(layer: Cell, weights: tuple[ImpliedWeight, ...]) -> str:
    """What outputs cannot tell of a GRU's two biases, as a clause."""
    summed = any(w.weight == "bias" and w.index[-1] < 2 * layer.units for w in weights)
    if not (summed and layer.facts.bias_rows):
        return ""
    return "; of the gates z and r only the sum of bias[0] and bias[1] shows"


def likeliest_rounding(reference: Computation, equations: Rows) -> Computation | None:
    """The layer with that rounding of all weights which explains the residuals best, shown by every
    part of the samples; None where there is none.
    """
    residual, found = equations.news(equations.residual), None
    least = float((residual**2).sum())
    weights, gradient = stacked(reference.layer), equations.of_news.gradient
    noise = least / max(1, equations.count * reference.layer.units)
    beginning = equations.beginning
    for variant in rounded_weights(reference):
        change = stacked(variant.layer) - weights
        # What it explains, and more than that, costs little; a quarter of it leaves room.
        if not np.vdot(change, gradient) > implied.CERTAIN**2 / 4 * noise:
            continue
        # Only what is at most twice as large as the residuals can leave less of them.
        if float((beginning.changed(change) ** 2).sum()) > NO_NEARER * least:
            continue
        predicted = equations.news(equations.changed(change))
        left = float(((residual - predicted) ** 2).sum())
        if left < least and implied.shown_by_all_parts(predicted, residual):
            least, found = left, variant
    return found


# What remains to be said where no known mistake explains the numbers.

FEW_PLACES = 6
"""Units or samples that are named where not all are off. Chosen."""
LONG = 8
"""Timesteps from which on it is told how a deviation grows. Chosen: of fewer, no law shows."""
STEADY = 3.0
"""A deviation whose last quarter is no further from its first than this factor is about constant.
Chosen: the largest of some hundred numbers varies by less."""
FEWEST_BITS = 3
"""Noise that leaves fewer bits is no rounding. Chosen."""
NOISE, LAW = 0.2, 0.5
"""Shares of the residuals' squares, after the chance of fitting them, that inputs and states
explain linearly: below the first they look like noise, above the second like another formula.
Measured: rounding in 8 to 11 bits at most 0.06, formulas outside the catalogue at least 0.3."""


FEWEST_SAMPLES, EQUATIONS = 8, 8
"""Samples, and steps for each number that a residual may follow, by which it is told what residuals
look like; as many first timesteps of all samples are looked at next. Chosen."""


MOST_UNITS = 64
"""Units, evenly spread, by which it is told where no more has to be found out. Chosen."""


@dataclass(frozen=True, eq=False)
class StepResiduals:
    """Steps from observed states. Of some samples and units, what each step is off by `(T, B, J)`
    and how large it should be; `given` `(T, B, F + H + 1)` are its input, state and 1. And which
    units, samples and timesteps have steps beyond their bound.
    """

    residual: Array
    size: Array
    given: Array
    off: dict[str, NDArray[np.bool_]]

    @classmethod
    @np.errstate(all="ignore")
    def of(
        cls, c: Computation, outputs: NDArray[Any], beyond: Beyond | None = None
    ) -> StepResiduals:
        """From whole sequences of outputs; what is `beyond` its bound may be known.

        Where it is not, what is off in a part of them is off: all are looked at where parts do not
        show all off.
        """
        batch, timesteps = c.sequences.shape
        found = nothing_beyond(batch, timesteps, c.layer.units)
        unknowns = c.layer.features + c.layer.units + 1
        count = min(batch, max(FEWEST_SAMPLES, -(-EQUATIONS * unknowns // timesteps)))
        some = np.linspace(0, batch - 1, count).astype(int)
        known, few = beyond is not None, c.layer.units <= MOST_UNITS
        if known and not few and c.sequences.mask is None and by_themselves(c.layer):
            kept = [*residuals_of_units(c, outputs, some)]
        else:
            kept = [*residuals_of(c, outputs, some, timesteps, found)]
        for steps in () if known or count == batch else (FEWEST_SAMPLES, timesteps):
            left = still_open(found)
            for _ in residuals_of(c, outputs, left, min(steps, timesteps), found):
                pass
        residual, size, given = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        off = {name: worst > 1 for name, worst in (beyond or found).items()}
        return cls(residual, size, given, off)


def still_open(beyond: Beyond) -> NDArray[np.intp]:
    """The samples that may show more of what is off: all of them, or those not off themselves."""
    known = beyond["timestep"].all() and beyond["unit"].all()
    return np.flatnonzero((beyond["sample"] == 0) | (not known))


def residuals_of(
    c: Computation,
    outputs: NDArray[Any],
    samples: Samples,
    timesteps: int,
    beyond: Beyond,
) -> Iterator[tuple[Array, Array, Array]]:
    """Of some samples and first timesteps, what steps are off by, their sizes and what they were
    given, block by block; `beyond` is told which of them are beyond their bound.
    """
    if not len(samples):
        return
    arithmetic = arithmetics(c.layer.precision)[-1]
    part = observed_part(c.layer, c.sequences, outputs, samples, slice(0, timesteps))
    for block, observed, ball in steps_as_written(c.layer, *part, arithmetic, c.printed):
        residual = observed.outputs - ball.value
        note_beyond(beyond, block.steps, samples, ratios(np.abs(residual), ball))
        yield residual, np.abs(ball.value), given_to(block, observed)


def residuals_of_units(
    c: Computation, outputs: NDArray[Any], samples: Samples
) -> Iterator[tuple[Array, Array, Array]]:
    """Of some samples, what some units of the steps are off by, as `residuals_of` has it."""
    layer, units = c.layer, np.linspace(0, c.layer.units - 1, MOST_UNITS).astype(int)
    part = observed_part(layer, c.sequences, outputs, samples, slice(0, outputs.shape[1]))
    arithmetic = arithmetics(layer.precision)[-1]
    for block, observed, ball in steps_of_units(layer, *part, units, arithmetic):
        residual = observed.outputs[..., units] - ball.value
        yield residual, np.abs(ball.value), given_to(block, observed)


def given_to(block: Block, observed: Observed) -> Array:
    """What each step of a block was given: its input, state and 1."""
    one = np.ones((*block.inputs.shape[:2], 1))
    return np.concatenate([block.inputs, observed.states[:-1], one], axis=2)


@np.errstate(all="ignore")
def clues(steps: StepResiduals, deviation: Array, noise: Callable[[], bool]) -> tuple[str, ...]:
    """Sentences on what is off, how it grows and what it looks like: of `noise` only where that may
    be, as where no other weights are implied beyond doubt.

    None where every step is right: of a run that ends in numbers that are not finite, those before
    were observed. `deviation` `(T,)` is the largest one from the replay at each timestep.
    """
    if not steps.off["unit"].any():
        return ()
    told = where_off(steps.off), growth(deviation, steps.off), looks_like(steps, noise)
    return tuple(filter(None, told))


def where_off(off: dict[str, NDArray[np.bool_]]) -> str:
    """Which units, samples and timesteps have steps beyond their bound."""
    parts = [places(name, off[name]) for name in reversed(AXES) if len(off[name]) > 1]
    return f"off by more than rounding: {', in '.join(parts)}" if parts else ""


def places(name: str, off: NDArray[Any]) -> str:
    """Which of the units, samples or timesteps are off, at least one, in words."""
    count, wrong, right = len(off), np.flatnonzero(off), np.flatnonzero(~off)
    if not len(right):
        return f"all {count} {name}s"
    start = f"{len(wrong)} of {count} {name}s"
    if len(right) <= FEW_PLACES and len(right) < len(wrong):
        return f"{start} (all but {name}{'s' * (len(right) > 1)} {', '.join(map(str, right))})"
    more = ", ..." if len(wrong) > FEW_PLACES else ""
    return f"{start} ({', '.join(map(str, wrong[:FEW_PLACES]))}{more})"


def growth(deviation: Array, off: dict[str, NDArray[np.bool_]]) -> str:
    """How the deviation from the replay goes on from the first step that is off."""
    first = int(off["timestep"].argmax())
    d = deviation[first:]
    if len(d) < LONG or not (np.isfinite(d).all() and (d > 0).all()):
        return ""
    quarter = max(1, len(d) // 4)
    before, after = float(np.median(d[:quarter])), float(np.median(d[-quarter:]))
    since = f"the deviation from the replay, from timestep {first} on,"
    if before / STEADY <= after <= before * STEADY:
        return f"{since} stays about constant ({number(float(np.median(d)))})"
    t = np.arange(len(d))
    linear, exponential = (abs(float(np.corrcoef(t, a)[0, 1])) for a in (d, np.log(d)))
    how = "grows" if after > before else "shrinks"
    ends = f"({number(before)} at first, {number(after)} at last)"
    if linear >= exponential:
        return f"{since} {how} about linearly {ends}"
    rate = abs(float(np.polyfit(t, np.log2(d), 1)[0]))
    times = "doubles" if after > before else "halves"
    return f"{since} {how} exponentially: it {times} every {number(1 / rate)} timesteps {ends}"


def looks_like(steps: StepResiduals, noise: Callable[[], bool]) -> str:
    """Whether the residuals look like noise of a narrower arithmetic, which is not said unless they
    may be `noise`, or like another formula.
    """
    share = explained_share(steps)
    squares, sizes = float((steps.residual**2).sum()), float((steps.size**2).sum())
    if share is None or not (0 < squares < math.inf and 0 < sizes < math.inf):
        return ""
    bits = -math.log2(math.sqrt(3 * squares / sizes))
    if share < NOISE and bits > FEWEST_BITS and noise():
        return (
            f"the step residuals look like noise, that of an arithmetic of about {bits:.0f} bits: "
            "they follow neither the inputs nor the states"
        )
    if share > LAW:
        return (
            "the step residuals look like another formula or other weights: "
            f"{100 * share:.0f} % of their squares follow the inputs and the states linearly"
        )
    return ""


def explained_share(steps: StepResiduals) -> float | None:
    """The share of the residuals' squares that input and state explain linearly beyond chance; None
    where too few steps would tell.
    """
    given = steps.given.reshape(-1, steps.given.shape[2])
    residual = steps.residual.reshape(len(given), -1)
    known = np.isfinite(given).all(axis=1) & np.isfinite(residual).all(axis=1)
    count, unknowns = int(known.sum()), given.shape[1]
    if count < 2 * unknowns:
        return None
    given, residual = given[known], residual[known]
    sizes = np.sqrt((given**2).sum(axis=0))
    given = given / np.where(sizes > 0, sizes, 1)
    moment = given.T @ residual
    solution = np.linalg.lstsq(given.T @ given, moment, rcond=None)[0]
    rest = 1 - float((solution * moment).sum() / (residual**2).sum())
    return min(1.0, max(0.0, 1 - rest * count / (count - unknowns)))
