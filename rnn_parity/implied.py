"""The weights that observed numbers imply: what a nearly right implementation really used.

For unit j and every step, `r = f'(z_j) (x dU[:, j] + h dW[:, j] + db_j)` to first order, where r is
the signed step residual: weighted least squares in `F + H + 1` unknowns, one problem for each unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import screen
from rnn_parity.derivatives import Derivatives, useful
from rnn_parity.equations import Rows, joined
from rnn_parity.fit import observed_steps, part
from rnn_parity.inverse import inverse_activation
from rnn_parity.layers import Array, Layer, SimpleRNN
from rnn_parity.leastsquares import certain, selected, serial_variance, solve
from rnn_parity.results import ImpliedWeight
from rnn_parity.sequences import Sequences
from rnn_parity.stack import stacked, value, where

CERTAIN = 7.0
"""Standard errors from which on a difference is real."""
PICKED = 8.0
"""The same for a cell with gates, whose few differences are picked out of thousands of weights."""
SCREEN = 5.5
"""The score from which on a cell with gates gets a closer look: none may score `CERTAIN` there, for
slopes that vary much are as heavy a tail as a few large residuals.
"""
SCREENED = 64
"""So many entries, those of the highest scores, get a closer look first."""
RELATIVE = 8
"""An implementation's own systematic rounding may look like so many u of the largest weight."""
MOST_SHOWN = 20
EXPLAINED = 0.01
"""Other weights fit when they leave so small a part of the residuals."""
MOST_UNITS = 64
"""Weights are estimated for so many units at most, those that are furthest off."""
FEW = 8
"""So many units with gates, whose columns are long, and so many single entries of one."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Differences of the weights `(F + H + 1, H)` and their standard errors.

    A standard error is infinite where the data do not determine the entry.
    """

    difference: Array
    error: Array


@np.errstate(all="ignore")
def rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows:
    """The equations of as many steps as an estimate can use, the first ones."""
    batch, timesteps = sequences.shape
    enough = max(2048, 8 * len(stacked(layer)))
    steps = slice(0, min(timesteps, max(2, enough // batch)))
    return all_rows(layer, *part(sequences, outputs, slice(0, enough // steps.stop + 1), steps))


def all_rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows:
    """The equations of all steps."""
    derivatives = Derivatives(layer, sequences)
    return joined([derivatives.equations(*o) for o in observed_steps(layer, sequences, outputs)])


@np.errstate(all="ignore")
def total_rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows | None:
    """The same without the first-order step, for weights of a SimpleRNN that differ by much.

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
    slope = np.where(known, useful(layer.activation.slope(np.where(known, z, 0.0))), 0.0)
    residual = np.where(known, z - equations.designs[0] @ stacked(layer), 0.0) * slope
    return replace(equations, residual=residual, slopes=(slope,))


def gated(layer: Layer) -> bool:
    """Whether a unit has more than one gate's weights."""
    return len(layer.GATES) > 1


@np.errstate(all="ignore")
def suspects(layer: Layer, equations: Rows, scores: Array) -> NDArray[np.intp]:
    """The units of which any single entry would explain the residuals better than chance."""
    if not gated(layer):
        return np.flatnonzero((scores > CERTAIN).any(axis=0))
    # Noise that goes together makes scores smaller, but for the mean that it is taken without.
    entries = np.stack(np.nonzero(scores > 0.9 * SCREEN))
    if entries.shape[1] > SCREENED:
        entries = entries[:, np.argpartition(-scores[tuple(entries)], SCREENED)[:SCREENED]]
    off, score = screen.alone(equations, entries)
    far = score > certain(SCREEN, equations.count, equations.together)
    entries, off = entries[:, far], off[far]
    return np.unique(entries[1, off > smallest_changes(layer, equations, entries)])


def smallest_changes(layer: Layer, equations: Rows, entries: NDArray[np.intp]) -> Array:
    """An implementation's own rounding may look like so large a change of the weights at `entries`
    `(2, N)`: what is not above that is no difference.
    """
    if not entries.size:
        return np.empty(0)
    weights = stacked(layer)
    largest = max(np.abs(array).max() for array in (weights, *layer.input_addends))
    floor = RELATIVE * layer.precision.unit_roundoff * largest
    columns, place = np.unique(entries[1], return_inverse=True)
    found: Array = np.maximum(
        screen.systematic(equations, weights, columns)[entries[0], place], floor
    )
    return found


@np.errstate(all="ignore")
def estimate(equations: Rows, units: int = MOST_UNITS) -> Estimate:
    """Least squares for the `units` that are furthest off; too few equations say nothing.

    Of the many weights that a unit with gates has, for the few that explain most.
    """
    scores = screen.scores(equations)
    found = Estimate(np.zeros(scores.shape), np.full(scores.shape, np.inf))
    several, mixed = len(equations.designs) > 1, screen.mostly_mixed(equations, scores)
    if not several and equations.count < 2 * len(scores):
        return found
    for j in np.argsort(-scores.max(axis=0))[: FEW if several else units]:
        solved = of_one_unit(equations, int(j), mixed)
        if solved is not None:
            found.difference[:, j], found.error[:, j] = solved
    return found


def of_one_unit(equations: Rows, j: int, mixed: bool) -> tuple[Array, Array] | None:
    """The differences of one unit's weights and their errors, `(P,)` each."""
    matrix, residual = equations.of_unit(j, mixed)
    if len(equations.designs) == 1:
        return solve(matrix, residual)
    rows = np.cumsum([design.shape[2] for design in equations.designs]) - 1
    biases = [int(row) for row in rows if matrix[:, row].any()]
    batch = equations.good.shape[1]
    return selected(matrix, residual, batch, equations.together, biases, PICKED, FEW)


@np.errstate(all="ignore")
def fits(equations: Rows, found: Estimate) -> bool | None:
    """Whether weights of the same formula fit, judged by the units estimated; None if by none."""
    units = np.isfinite(found.error).any(axis=0)
    if not units.any():
        return None
    rest = equations.but_weights(found.difference).residual[..., units]
    return bool(np.std(rest) <= EXPLAINED * np.std(equations.residual[..., units]))


@np.errstate(all="ignore")
def differences(layer: Layer, equations: Rows, found: Estimate) -> tuple[ImpliedWeight, ...]:
    """The entries that differ beyond doubt, most certain first."""
    sigma = np.abs(found.difference) / found.error
    sure = np.stack(np.nonzero(sigma > (PICKED if gated(layer) else CERTAIN)))
    large = np.abs(found.difference[tuple(sure)]) > smallest_changes(layer, equations, sure)
    units = equations.units.tolist()
    order = sorted(sure[:, large].T.tolist(), key=lambda kj: -sigma[kj[0], kj[1]])
    return tuple(
        ImpliedWeight(
            *where(layer, k, units[j]),
            expected=value(layer, k, units[j]),
            implied=value(layer, k, units[j]) + float(found.difference[k, j]),
            sigma=float(sigma[k, j]),
        )
        for k, j in order
    )


@np.errstate(all="ignore")
def likelihood_gain(equations: Rows, other: Rows) -> float:
    """How much likelier the residuals are in `other`, as a logarithm; not at all where noise, which
    may go together in timesteps near each other, could have made them so, nor where a weight of
    `other` is infinite: rounded to a format that cannot hold it, it would have been seen.
    """
    # A mean may be what an activation always errs by.
    ours, theirs = (r.residual - r.residual.mean((0, 1)) for r in (equations, other))
    gained = ours * (ours - theirs)
    noise = serial_variance(gained - gained.mean((0, 1)), equations.together).sum()
    if not gained.sum() > CERTAIN * np.sqrt(noise):
        return -np.inf
    numbers = equations.count * equations.residual.shape[2]
    return float(0.5 * numbers * np.log((ours**2).sum() / (theirs**2).sum()))
