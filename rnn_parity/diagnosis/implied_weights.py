"""The weights that observed numbers imply: what a nearly right implementation really used.

For unit j and every step, `r = f'(z_j) (x dU[:, j] + h dW[:, j] + db_j)` to first order, where r is
the signed step residual: least squares in `F + H + 1` unknowns, one problem for each unit. Rounding
goes together in time, and trained layers have states that are slow, saturated and alike, so that a
small standard error proves nothing: `suspicion` asks other samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.derivatives import Derivatives
from rnn_parity.diagnosis.equations import Rows, flattened, joined
from rnn_parity.diagnosis.fit import observed_steps, part
from rnn_parity.diagnosis.least_squares import NormalEquations
from rnn_parity.diagnosis.stack import stacked, value, where
from rnn_parity.recurrence.inverse import inverse_activation
from rnn_parity.recurrence.layers import Array, Layer, SimpleRNN
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.results import ImpliedWeight

CERTAIN = 7.0
"""Standard errors from which on a difference is real, of all samples together; a part of them shows
as many times the square root of its share. Chosen: the largest of 8,256 estimates of a right layer
was 5.3, and noise that goes together has more; at double, one entry in four is missed.
"""
RELATIVE = 16
"""No change is another weight that is below so many u of its unit's largest weight. Measured: an
activation that errs by 4 u at every argument, half of tanh's allowance, looks like changes of up to
15. At half that would be suspect; at double, changes of a millionth would be missed.
"""
MOST_SHOWN = 20
EXPLAINED = 0.01
"""Other weights fit when they leave so small a part of the residuals."""
MOST_UNITS = 9
"""Weights are estimated for so many units at most, those that are furthest off: one more than there
may be single differences.
"""
SHARE = 4
"""Equations for each unknown: of more unknowns than that allows, the most telling are looked at."""
QUICK_ROWS = 256
"""Equations for each gate that show whether a closer look is due."""
QUICK_WORK = 1 << 28
"""Of many weights with gates fewer do: the product of all equations and weights."""
FEWEST_SAMPLES = 8
"""Equations are taken from so many samples at least, where there are as many: `suspicion` splits
them into four parts.
"""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Differences of the weights `(F + H + 1, H)` and their standard errors.

    A standard error is infinite where the data do not determine the entry.
    """

    difference: Array
    error: Array


def rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows:
    """The equations of as many steps as an estimate can use."""
    return some_rows(layer, sequences, outputs, max(2048, 2 * SHARE * len(stacked(layer))))


def quick_rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows:
    """The equations of few steps, for a look at every weight that costs little."""
    affordable = QUICK_WORK // (layer.width * (layer.features + layer.units))
    count = int(np.clip(affordable, QUICK_ROWS, QUICK_ROWS * len(layer.GATES)))
    return some_rows(layer, sequences, outputs, count)


def some_rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any], count: int) -> Rows:
    """About `count` equations for each unit: the first steps of evenly spaced samples.

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
    own = part(sequences, outputs, samples, slice(0, min(steps, timesteps)))
    different = distinct(own[0])
    return all_rows(layer, own[0].samples(different), own[1][different]).once()


def distinct(sequences: Sequences) -> NDArray[np.intp]:
    """The first of all samples that have the same inputs, mask, initial state and dropout."""
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
def all_rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows:
    """The equations of all steps."""
    derivatives = Derivatives(layer, sequences)
    return joined([derivatives.equations(*o) for o in observed_steps(layer, sequences, outputs)])


@np.errstate(all="ignore")
def total_rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows | None:
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
def differences(layer: Layer, found: Estimate) -> tuple[ImpliedWeight, ...]:
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


def smallest_changes(layer: Layer) -> Array:
    """For each unit `(H,)`, how large a change of its weights activations may pass for."""
    largest = np.abs(np.concatenate([stacked(layer), *unit_addends(layer)])).max(axis=0)
    smallest: Array = RELATIVE * layer.precision.unit_roundoff * largest
    return smallest


def unit_addends(layer: Layer) -> list[Array]:
    """Biases that an implementation has beside Keras's, `(G, H)` each."""
    return [addend.reshape(-1, layer.units) for addend in layer.input_addends]
