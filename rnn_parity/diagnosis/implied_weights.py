"""The weights that observed numbers imply: what a nearly right implementation really used.

For unit j and every step, `r = f'(z_j) (x dU[:, j] + h dW[:, j] + db_j)` to first order, where r is
the signed step residual: least squares in `F + H + 1` unknowns, one problem for each unit.

Rounding goes together in time, and a trained layer's states are slow, saturated and alike: least
squares then name wrong entries with small standard errors, other ones for other data. Samples are
independent of each other. So what all parts of the samples but one raise, that one must confirm,
for each of the parts: the same entry, the same sign, about the same size. A probe, where the layer
itself can be run, settles it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.observed import observed_part, observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.diagnosis.equations import (
    Equations,
    Rows,
    different,
    flattened,
    joined,
    stacked,
    value,
    where,
)
from rnn_parity.diagnosis.few_units import OwnState, StepsOfUnits, Units, by_themselves, cut
from rnn_parity.diagnosis.probe import Probe, probed
from rnn_parity.diagnosis.quick_look import NoQuickLookError, squared_scores
from rnn_parity.recurrence.activations import inverse_activation
from rnn_parity.recurrence.cells import Array, Cell, SimpleRNN
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.results import ImpliedWeight

CERTAIN = 7.0
"""Standard errors from which on a difference is real, of all samples together; a part of them shows
as many times the square root of its share. Chosen: the largest of 8,256 estimates of a right layer
was 5.3, and noise that goes together has more; at double, one entry in four is missed.
"""
SCREEN = 5.5
"""Standard errors of an entry alone from which on its unit gets a closer look: what a part of the
equations shows of `CERTAIN`. Chosen: at half, every check takes the time; at double, half of what
could be found is not.
"""
RELATIVE = 16
"""Units in the last place of a unit's largest weight below which no change is another weight.
Measured: an activation that errs by 4 u at every argument, half of tanh's allowance, looks like
changes of up to 15. At half that would be suspect; at double, changes of a millionth are missed.
"""
PARTS = 4
"""Parts into which samples are split: all but one raise an entry, and that one is to confirm it.
Chosen: of two, half of the samples must raise it; of eight, an eighth must confirm it.
"""
FEWEST_SAMPLES = 2 * PARTS
"""Samples that equations are taken from at least, where there are as many. Chosen: two a part."""
SHARE = 4
"""Equations for each unknown; where that leaves too many unknowns, those that alone explain least
are left out. Chosen.
"""
SINGULAR = 1e6
"""A number in the inverse of a Gram matrix with ones on its diagonal from which on it is looked at
what directions the equations leave open. Chosen: half of the digits are left."""
FREEDOM = 8
"""Equations beyond the unknowns that an error needs: by fewer it is itself unsure by a quarter."""
QUICK_ROWS = 256
"""Equations for each gate that show whether a closer look is due. Chosen."""
QUICK_WORK = 1 << 28
"""The product of equations and weights that a first look may cost: of many weights, fewer equations
do. Chosen.
"""
FEWEST_ROWS = 128
"""Equations from which on the scores of single weights tell whether all are rounded. Chosen."""
CHEAP_WORK = 1 << 26
"""The product of steps and weights that a quick look may cost in any case. Chosen: on one core,
some ten milliseconds."""
QUICK_SHARE = 16
"""Where it would cost more, one step in 16 is looked at. Chosen: that takes about a tenth of the
time of the replay; half as many steps show changes of 1.4 times the size."""
FEWEST_LOOKED_AT = 96
"""Steps that a quick look takes, however much they cost. Chosen: of (16, 100, 512, 512), one in
16."""
HARDLY_MORE = 1.25
"""As many times the steps are looked at, where these are all that an estimate takes: then they need
not be looked at again. Chosen."""
VARIED = 0.125
"""The share of its size by which a unit has to vary over the samples, at the same timestep. Where
it varies by less, an activation's errors are nearly the same function of the inputs in all samples,
which then confirm each other's noise. Measured on 400 right SimpleRNNs for each size of the inputs:
16, 22, 15, 0 and 0 suspect where units varied by about 0.006, 0.02, 0.06, 0.2 and 0.6.
"""
LOUD = 2.0
"""Mean square of all scores from which on all weights may be rounded. Chosen: by chance it is 1."""
NEARLY = 0.9
"""The share of `SCREEN` and `LOUD` up to which a quick look is quiet: its scores are not those of
the equations, as its steps are weighed by about their bounds. Measured: of 834 largest scores near
`SCREEN`, one in 20 was lower by more than 7 %; of 3,323 mean squares none by more than 10 %."""
MANY = 1 << 16
"""Weights of a layer from which on scores must reach `SCREEN` itself: among so many, chance alone
comes near it. Chosen."""
EXPLAINED = 0.01
"""The share of the residuals that other weights may leave where they fit. Chosen."""
MOST_UNITS = 9
"""Units whose weights are estimated at most, those that are furthest off. Derived: one more than
there may be single differences (`faults.weights.FEW`).
"""
SAMPLE_UNITS = 8
"""Units that tell whether other weights would fit diverged outputs. Chosen."""
MOST_SHOWN = 20
"""Implied weights that a report lists at most. Chosen."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Differences of the weights `(F + H + 1, H)` and their standard errors.

    A standard error is infinite where the data do not determine the entry.
    """

    difference: Array
    error: Array


# The equations.


def rows(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    *,
    even: bool = False,
    units: Units | None = None,
) -> Rows:
    """The equations of as many steps as an estimate can use; `even` if each counts alike, and of
    some `units` alone if these are given.
    """
    return some_rows(layer, sequences, outputs, most_rows(layer), even, units)


def most_rows(layer: Cell) -> int:
    """How many steps an estimate takes at most."""
    return max(2048, 2 * SHARE * len(stacked(layer)))


def most_steps(layer: Cell, sequences: Sequences) -> int:
    """How many steps of these sequences an estimate takes."""
    return min(math.prod(sequences.shape), most_rows(layer))


def few_rows(layer: Cell, sequences: Sequences, outputs: NDArray[Any]) -> Rows:
    """The equations of so few steps that they determine the biases alone."""
    return some_rows(layer, sequences, outputs, QUICK_ROWS, False)


def rows_of_units(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any], count: int, units: Units
) -> Rows:
    """About `count` equations for each unit of a layer that is `cut` to these `units`."""
    part, seen = some_part(layer, sequences, outputs, count)
    return all_rows(layer, part, seen, units).once()


def quick_rows(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any], units: Units | None = None
) -> Rows:
    """The even equations of few steps, for a look at every weight, or at those of some `units`,
    that costs little.
    """
    return some_rows(layer, sequences, outputs, quick_steps(layer, sequences), True, units)


def quick_steps(layer: Cell, sequences: Sequences) -> int:
    """How many steps these are."""
    return or_all(most_quick_rows(layer), layer, sequences)


def or_all(count: int, layer: Cell, sequences: Sequences) -> int:
    """`count` steps, or all that an estimate takes where these are hardly more."""
    most = most_steps(layer, sequences)
    return most if count <= most <= HARDLY_MORE * count else count


def most_quick_rows(layer: Cell) -> int:
    """How many steps a first look at every weight takes at most."""
    affordable = QUICK_WORK // (layer.width * (layer.features + layer.units))
    return int(np.clip(affordable, QUICK_ROWS, QUICK_ROWS * len(layer.GATES)))


def doubtful_units(layer: Cell, sequences: Sequences, outputs: NDArray[Any]) -> Units | None:
    """The units whose weights are to be estimated, by a quick look at a bounded number of steps;
    None where it cannot tell, or where units are not computed by themselves.

    Where one shows, all steps that an estimate takes are looked at: they may show more.
    """
    count = quick_count(layer, sequences)
    units = loud_units(layer, sequences, outputs, count)
    if units is None or not units.size:
        return units
    if not by_themselves(layer):
        return None
    if count < most_steps(layer, sequences):
        quick = quick_rows(layer, sequences, outputs, units)
        if quick.count < FEWEST_ROWS:
            return None
        if scores(quick).max() <= SCREEN:
            return units[:0]
        units = loud_units(layer, sequences, outputs, most_rows(layer))
    return units


def loud_units(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any], count: int
) -> Units | None:
    """The units that have weights which show in a quick look at about `count` steps; None where it
    cannot tell, or where all weights show together.
    """
    part, seen = some_part(layer, sequences, outputs, count)
    steps = seen.shape[0] * seen.shape[1] if part.mask is None else int(part.mask.sum())
    if steps < min(count, FEWEST_ROWS):
        return None
    try:
        squares = squared_scores(layer, part, seen)
    except NoQuickLookError:
        return None
    weights = sum(one.size for one in squares)
    # What is no number is neither quiet nor low.
    if not sum(float(one.sum()) for one in squares) <= NEARLY * LOUD * weights:
        return None
    limit = SCREEN if weights > MANY else NEARLY * SCREEN
    highest = [one.reshape(-1, layer.units).max(axis=0) for one in squares]
    return np.flatnonzero(~(np.max(highest, axis=0) <= limit**2))


def quick_count(layer: Cell, sequences: Sequences) -> int:
    """How many steps a quick look takes: as many as the equations of `quick_rows`, where that is a
    small share of all.
    """
    batch, timesteps = sequences.shape
    work = layer.width * (layer.features + layer.units)
    affordable = max(CHEAP_WORK // work, batch * timesteps // QUICK_SHARE, FEWEST_LOOKED_AT)
    return or_all(min(most_quick_rows(layer), affordable), layer, sequences)


def some_rows(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    count: int,
    even: bool,
    units: Units | None = None,
) -> Rows:
    """About `count` equations for each unit, or for some `units` of a layer whose units are
    `by_themselves`, of `some_part`; `even` if each counts alike.
    """
    part, seen = some_part(layer, sequences, outputs, count)
    if units is None:
        found = all_rows(layer, part, seen).once()
    else:
        layer = cut(layer, units)
        found = all_rows(layer, part, seen, units).once()
    return found.even(step_bounds(layer, part, seen, units)) if even else found


def some_part(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any], count: int
) -> tuple[Sequences, NDArray[Any]]:
    """About `count` steps, and what was observed: the first steps of evenly spaced samples.

    Few samples in full tell more than the first steps of many. Masked steps do not count, nor do
    samples that are given what another one is: they err alike, and confirm nothing.
    """
    batch, timesteps = sequences.shape
    samples = slice(0, batch, max(1, batch // max(FEWEST_SAMPLES, -(-count // timesteps))))
    taken = len(range(batch)[samples])
    seen = np.full(timesteps, taken)
    if sequences.mask is not None:
        seen = sequences.mask[samples].sum(axis=0)
    steps = int(np.searchsorted(np.cumsum(seen), count)) + 1
    part, seen = observed_part(layer, sequences, outputs, samples, slice(0, min(steps, timesteps)))
    different = distinct(part)
    return part.samples(different), seen[different]


def distinct(sequences: Sequences) -> NDArray[np.intp]:
    """The first of all samples that have the same inputs, mask, initial state and dropout."""
    if different(sequences.inputs[:, 0, 0]):  # most often
        return np.arange(len(sequences.inputs))
    dropout = [
        d.swapaxes(0, 1)
        for d in (sequences.dropout.inputs, sequences.dropout.state)
        if d is not None
    ]
    mask = [] if sequences.mask is None else [sequences.mask]
    given = [sequences.inputs, sequences.initial_state.swapaxes(0, 1), *mask, *dropout]
    rows = np.concatenate([a.reshape(len(a), -1).astype(np.float64) for a in given], axis=1)
    first = {row.tobytes(): i for i, row in reversed([*enumerate(rows)])}
    return np.array(sorted(first.values()))


@np.errstate(all="ignore")
def all_rows(
    layer: Cell,
    sequences: Sequences,
    outputs: NDArray[Any],
    units: Units | slice = slice(None),
) -> Rows:
    """The equations of all steps; of a layer that is cut, its `units` of those observed."""
    equations = Equations(layer, sequences, units)
    return joined([equations.of_block(*o) for o in observed_steps(layer, sequences, outputs)])


@np.errstate(all="ignore")
def step_bounds(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any], units: Units | None = None
) -> Array:
    """The bound of every step residual that no mask hides, `(T, B, H)`; of a layer that is cut, its
    `units` of those observed.
    """
    arithmetic, own, kind = arithmetics(layer.precision)[0], sequences, Steps
    if units is not None:
        own = replace(sequences, initial_state=sequences.initial_state[..., units])
        kind = StepsOfUnits
    steps, radii = kind(layer, arithmetic, own), []
    for block, observed in observed_steps(layer, sequences, outputs):
        before = Ball.exact(observed.states[:-1], arithmetic)
        if units is not None:
            before = OwnState(before.value[..., units], before.radius, arithmetic, before)
        radii.append(steps.outputs(block, before, observed.keep).radius)
    return np.concatenate(radii)


@np.errstate(all="ignore")
def total_rows(layer: Cell, sequences: Sequences, outputs: NDArray[Any]) -> Rows | None:
    """The equations without the first-order step, for weights of a SimpleRNN that differ by much.

    `z = x U + h W + b` is read off the outputs through the inverse activation; None where that
    cannot be. A slope of 0 marks an output that tells nothing.
    """
    if not isinstance(layer, SimpleRNN):
        return None
    equations = rows(layer, sequences, outputs)
    z = inverse_activation(layer.activation.name, equations.observed)
    if z is None:
        return None
    known = np.isfinite(z) & equations.good[..., np.newaxis]
    # An error of the output is an error of z over the slope: weights as in the residual's problem.
    slope = np.where(known, layer.activation.slope(np.where(known, z, 0.0)), 0.0)
    residual = np.where(known, z - equations.designs[0] @ stacked(layer), 0.0) * slope
    return replace(equations, residual=residual, slopes=(slope,))


# Least squares from normal equations, which add up over groups of samples.


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """What `min |A d - r|` is solved from: `A^T A` `(P, P)`, `A^T r` `(P,)`, `r^T r`, and how many
    of A's rows say anything.

    Those of several samples together are the sum of theirs, those of all but one the difference.
    """

    gram: Array
    moment: Array
    squares: float
    count: int

    @classmethod
    def of(cls, a: Array, r: Array) -> NormalEquations:
        """From the matrix `(N, P)` and the right-hand side `(N,)`."""
        return cls(a.T @ a, a.T @ r, float(r @ r), int(np.count_nonzero(a.any(axis=1))))

    def __add__(self, other: NormalEquations) -> NormalEquations:
        return NormalEquations(
            self.gram + other.gram,
            self.moment + other.moment,
            self.squares + other.squares,
            self.count + other.count,
        )

    def __sub__(self, other: NormalEquations) -> NormalEquations:
        return NormalEquations(
            self.gram - other.gram,
            self.moment - other.moment,
            self.squares - other.squares,
            self.count - other.count,
        )

    @property
    def sizes(self) -> Array:
        """The length of each column of A; what a difference of two leaves of nothing is nothing."""
        squares = np.diag(self.gram)
        return np.sqrt(np.where(squares > 1e-12 * squares.max(initial=0.0), squares, 0.0))

    def solve(self, unknowns: NDArray[np.intp] | None = None) -> tuple[Array, Array]:
        """The `unknowns` (by default all), the others being 0: `(P,)`, and their standard errors.

        An error is infinite where the equations leave the unknown open.
        """
        difference, error = np.zeros(len(self.gram)), np.full(len(self.gram), np.inf)
        scale = self.sizes
        used = np.arange(len(scale)) if unknowns is None else unknowns
        used = used[scale[used] > 0]
        freedom = self.count - len(used)
        if not len(used) or freedom < FREEDOM:
            return difference, error
        gram = self.gram[np.ix_(used, used)] / np.outer(scale[used], scale[used])
        moment = self.moment[used] / scale[used]
        solution, spread, open_ = solved(gram, moment)
        # What is left of r, which is no less than the rounding of the difference.
        rest = max(self.squares - float(solution @ moment), 2.0**-52 * self.squares)
        errors = np.sqrt(rest / freedom * spread)
        difference[used] = np.where(open_, 0.0, solution / scale[used])
        error[used] = np.where(open_, np.inf, errors / scale[used])
        return difference, error

    def telling(self, count: int) -> NDArray[np.intp]:
        """The unknowns, `count` at most, each of which alone would explain most of r."""
        sizes = self.sizes
        score = np.divide(np.abs(self.moment), sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        return np.sort(np.argsort(-score, kind="stable")[:count])


def solved(gram: Array, moment: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """`G^-1 m` of a Gram matrix with ones on its diagonal, the diagonal of its (pseudo-)inverse,
    and what it leaves open.
    """
    try:
        factor: Array = np.linalg.cholesky(gram).astype(np.float64, copy=False)
        # The inverse has no larger number than on its diagonal, and there at least these.
        if np.diag(factor).min() ** 2 > 1 / SINGULAR:
            root = inverse_of_lower(factor)
            spread = np.einsum("ij,ij->j", root, root)
            if spread.max() < SINGULAR:
                return root.T @ (root @ moment), spread, np.zeros(len(gram), bool)
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-9 * values[-1]
    # An entry is determined when no direction that was left out moves it.
    open_ = (vectors[:, ~kept] ** 2).sum(axis=1) > 1e-6
    values, vectors = values[kept], vectors[:, kept]
    return vectors @ ((moment @ vectors) / values), (vectors**2 / values).sum(axis=1), open_


def inverse_of_lower(matrix: Array) -> Array:
    """The inverse of a lower triangular matrix, by halves: most of it are products, which are
    faster than what NumPy does, for whom it is a matrix like any other.
    """
    half = len(matrix) // 2
    if half < 16:
        return np.asarray(np.linalg.inv(matrix), np.float64)
    found, first, last = np.zeros_like(matrix), slice(half), slice(half, None)
    for part in (first, last):
        found[part, part] = inverse_of_lower(matrix[part, part])
    found[last, first] = -found[last, last] @ (matrix[last, first] @ found[first, first])
    return found


# What differs, by all samples.


@np.errstate(all="ignore")
def scores(equations: Rows) -> Array:
    """How many standard errors each entry alone is off, `(P, H)`: a cheap screen.

    Correlated entries show together, and an entry that differs shows whatever the others do.
    """
    found = []
    designs = {id(design): scaled(flattened(design)) for design in equations.designs}
    for design, weighted in zip(equations.designs, equations.of_news.weighted(), strict=True):
        d, w = designs[id(design)], scaled(flattened(weighted))
        found.append(np.abs(d.T @ w) / np.sqrt((d * d).T @ (w * w)))
    scores: Array = np.nan_to_num(np.concatenate(found))
    return scores


def scaled(a: Array) -> NDArray[np.float32]:
    """Columns that are 1 at most: then float32 holds their squares, at half the cost."""
    most = np.abs(a).max(axis=0)
    shares: Array = np.divide(a, most, where=most > 0, out=np.zeros_like(a))
    return shares.astype(np.float32)


@np.errstate(all="ignore")
def estimate(equations: Rows, units: int = MOST_UNITS) -> Estimate:
    """Least squares for the `units` that are furthest off; too few equations say nothing."""
    score = scores(equations)
    found = Estimate(np.zeros(score.shape), np.full(score.shape, np.inf))
    if equations.count < 2 * len(score):
        return found
    for j in np.argsort(-score.max(axis=0))[:units]:
        solved = NormalEquations.of(*equations.of_unit(int(j))).solve()
        found.difference[:, j], found.error[:, j] = solved
    return found


@np.errstate(all="ignore")
def fits(equations: Rows, found: Estimate) -> bool | None:
    """Whether weights of the same formula fit, judged by the units estimated; None if by none."""
    units = np.isfinite(found.error).any(axis=0)
    if not units.any():
        return None
    rest = equations.but_weights(found.difference).residual[..., units]
    return bool(np.std(rest) <= EXPLAINED * np.std(equations.residual[..., units]))


@np.errstate(all="ignore")
def differences(layer: Cell, found: Estimate) -> tuple[ImpliedWeight, ...]:
    """The entries that differ beyond doubt, most certain first."""
    sigma = np.abs(found.difference) / found.error
    real = (sigma > CERTAIN) & (np.abs(found.difference) > smallest_changes(layer))
    weights = [
        ImpliedWeight(
            *where(layer, k, j),
            expected=value(layer, k, j),
            implied=value(layer, k, j) + float(found.difference[k, j]),
            sigma=float(sigma[k, j]),
        )
        for k, j in np.argwhere(real).tolist()
    ]
    return tuple(sorted(weights, key=lambda w: -w.sigma))


def varied(outputs: NDArray[Any]) -> NDArray[np.bool_]:
    """For each unit `(H,)`, whether samples differ in it by enough to confirm each other."""
    spread = np.sqrt((np.std(outputs, axis=0, dtype=np.float64) ** 2).mean(axis=0))
    size = np.sqrt(np.mean(np.square(outputs, dtype=np.float64), axis=(0, 1)))
    enough: NDArray[np.bool_] = spread >= VARIED * size
    return enough


def smallest_changes(layer: Cell) -> Array:
    """For each unit `(H,)`, how large a change of its weights activations may pass for."""
    # An implementation may have biases beside Keras's, `(G, H)` each.
    addends = [addend.reshape(-1, layer.units) for addend in layer.input_addends]
    largest = np.abs(np.concatenate([stacked(layer), *addends])).max(axis=0)
    smallest: Array = RELATIVE * layer.precision.unit_roundoff * largest
    return smallest


# What some samples raise and others confirm.


@np.errstate(all="ignore")
def confirmed(
    layer: Cell,
    equations: Rows,
    probe: Probe | None = None,
    units: Units | None = None,
    varied: NDArray[np.bool_] | None = None,
) -> Estimate:
    """The differences that are confirmed, and their errors; 0 and infinite for all other entries.

    Unit by unit, the one that explains most first: its changes are taken out of the residuals of
    all, which the reset gate of a GRU without `reset_after` reaches. Given `units`, the equations
    are those of these alone. Units that are not `varied` `(H,)` are not looked at, though each
    counts as one that was.
    """
    found = Estimate(*(np.full((len(equations.groups), layer.units), x) for x in (0.0, np.inf)))
    own = np.arange(layer.units) if units is None else units
    score, explained, rest = scores(equations), equations.explained, equations
    untried = np.ones(score.shape, bool)
    for _ in range(MOST_UNITS):
        open_ = untried & (score > SCREEN)
        if not open_.any():
            break
        k, j = (int(i) for i in np.unravel_index(np.argmax(explained * open_), open_.shape))
        group = int(equations.groups[k])
        place = equations.groups == group
        untried[place, j] = False
        unit = int(own[j])
        if varied is not None and not varied[unit]:
            continue
        change, error = confirmed_in_unit(layer, rest, j, group, probe, unit)
        if change.any():
            found.difference[place, unit], found.error[place, unit] = change[place], error[place]
            rest = equations.but_weights(found.difference[:, own])
            score, explained = scores(rest), rest.explained
    return found


def confirmed_in_unit(
    layer: Cell, equations: Rows, j: int, group: int, probe: Probe | None, unit: int
) -> tuple[Array, Array]:
    """The confirmed differences of the weights `(P,)` of the equations' unit j, 0 for all others,
    and their errors; in the layer it is `unit`.
    """
    matrix, residual = equations.of_unit(j, group)
    sides = matrix.reshape(*equations.good.shape, -1), residual.reshape(*equations.good.shape, 1)
    own = slice(j, j + 1)
    matrix, residual = (equations.news(side, own) for side in sides)
    whole = NormalEquations.of(flattened(matrix), residual.ravel())
    change, error = jointly(whole, equations.biases)
    raised = np.abs(change) > CERTAIN * error
    real = raised
    if raised.any():
        real = raised & agreed(by_samples(matrix, residual), whole, equations.biases)
    if probe is not None:
        for k in np.flatnonzero(raised).tolist():
            settled = probed(layer, k, unit, float(change[k]), probe)
            if settled is not None:  # what it refutes is taken out of the residuals and not named
                real[k], error[k] = True, error[k] if settled else np.inf
    return np.where(real, change, 0.0), error


def by_samples(matrix: Array, residual: Array) -> list[NormalEquations]:
    """The equations of each part of the samples, from `(t, B, ...)` on either side."""
    count, unknowns = min(matrix.shape[1], PARTS), matrix.shape[-1]
    return [
        NormalEquations.of(matrix[:, i::count].reshape(-1, unknowns), residual[:, i::count].ravel())
        for i in range(count)
    ]


def jointly(equations: NormalEquations, biases: NDArray[np.intp]) -> tuple[Array, Array]:
    """All unknowns together, or as many of the most telling as the equations allow."""
    return equations.solve(np.union1d(equations.telling(equations.count // SHARE), biases))


def agreed(
    parts: list[NormalEquations], whole: NormalEquations, biases: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Which unknowns `(P,)` each part confirms, alone, as all others raise them together."""
    found, share = np.full(len(whole.gram), len(parts) > 1), 1 / len(parts)
    for part in parts:
        change, error = jointly(whole - part, biases)
        found &= np.abs(change) > CERTAIN * np.sqrt(1 - share) * error
        alone, error = part.solve(np.union1d(np.flatnonzero(found), biases))
        # Where both are at their least, the joint error of the two is a third of the size.
        found &= np.abs(alone) > CERTAIN * np.sqrt(share) * error
        found &= np.abs(alone - change) < np.abs(change) / 2
        if not found.any():
            break
    return found


def shown_by_all_parts(predicted: Array, residual: Array) -> bool:
    """Whether each part of the samples shows the whole change `predicted` `(t, B, H)`.

    Of each unit without the mean, which may be what an activation always errs by.
    """
    predicted, residual = (a - a.mean((0, 1)) for a in (predicted, residual))
    parts = by_samples(predicted[..., np.newaxis], residual)
    solved = [part.solve() for part in parts]
    return len(parts) > 1 and all(
        abs(one[0] - 1) < 0.5 and one[0] > CERTAIN * error[0] for one, error in solved
    )


# What diverged outputs hint at.


def suggestion(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any]
) -> tuple[str, tuple[ImpliedWeight, ...] | None]:
    """What the weights that diverged outputs imply hint at, and those weights where they fit."""
    equations = total_rows(layer, sequences, outputs)
    if equations is None:
        return "", None
    found = estimate(equations, SAMPLE_UNITS)
    fit = fits(equations, found)
    if fit is None:
        return "", None
    if not fit:
        return ", and no other weights would: the formula or its data are others", None
    weights = differences(layer, found)
    names = sorted({w.weight for w in weights})
    hint = f", but other values in {' and '.join(names)} would" if names else ""
    return hint, weights[:MOST_SHOWN] or None
