"""Other weights within rounding: raised by some samples, confirmed by others or by a probe.

A trained layer's states are slow, saturated and alike, and its rounding errors go together in time:
least squares then name wrong entries with small standard errors, other ones for other data. Samples
are independent of each other. So what all parts of the samples but one raise, that one must
confirm, for each of the parts: the same entry, the same sign, about the same size.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from rnn_parity.equations import Rows
from rnn_parity.implied import MOST_UNITS, Estimate, named, scores, smallest_changes
from rnn_parity.layers import Array, Layer
from rnn_parity.leastsquares import NormalEquations
from rnn_parity.probe import Probe, probed
from rnn_parity.results import ImpliedWeight

SCREEN = 5.5
"""Standard errors of an entry alone from which on its unit gets a closer look. Chosen: what most
samples raise by 5 standard errors has as many in all; at half, every check takes the time.
"""
RAISED = 5.0
"""Standard errors of an entry beside all others from which on samples raise it. Chosen: noise does
in one layer of ten thousand weights in two hundred; at half, in every layer.
"""
CONFIRMED = 4.0
"""Standard errors that it has by samples that did not raise it. Chosen: noise confirms one entry in
thirty thousand; each of four parts has half the standard errors that all samples have.
"""
PARTS = 4
"""Into so many parts samples are split. Chosen: of two, half of the samples must raise an entry; of
eight, an eighth must confirm it.
"""
SHARE = 4
"""Equations for each unknown. Where there are too many unknowns, those that alone explain least are
left out.
"""


@np.errstate(all="ignore")
def other_weights(
    layer: Layer, equations: Rows, probe: Probe | None = None
) -> tuple[ImpliedWeight, ...]:
    """The entries that differ and are confirmed, most certain first.

    Unit by unit, the one that is furthest off first: its changes are taken out of the residuals of
    all, which the reset gate of a GRU without `reset_after` reaches.
    """
    score = scores(equations)
    untried, units = np.ones(score.shape, bool), np.arange(layer.units)
    found = Estimate(np.zeros(score.shape), np.full(score.shape, np.inf))
    for _ in range(MOST_UNITS):
        k, j = (int(i) for i in np.unravel_index(np.argmax(score * untried), score.shape))
        if not score[k, j] * untried[k, j] > SCREEN:
            break
        mixed = equations.in_mixed == equations.in_mixed[k]
        untried[mixed, j] = False
        change, error = of_unit(layer, equations, j, bool(equations.in_mixed[k]), probe)
        if change.any():
            found.difference[:, j] += change
            found.error[change != 0, j] = error[change != 0]
            equations = equations.but_weights(np.where(units == j, change[:, np.newaxis], 0.0))
            score = scores(equations)
    return named(layer, found, np.argwhere(found.difference))


def of_unit(
    layer: Layer, equations: Rows, j: int, mixed: bool, probe: Probe | None
) -> tuple[Array, Array]:
    """The confirmed differences of unit j's weights `(P,)`, 0 for all others, and their errors."""
    matrix, residual = equations.of_unit(j, mixed)
    sides = matrix.reshape(*equations.good.shape, -1), residual.reshape(*equations.good.shape, 1)
    own = slice(j, j + 1)
    parts = by_samples(equations.news(sides[0], own), equations.news(sides[1], own))
    whole = reduce(add, parts)
    change, error = jointly(whole, equations.biases)
    raised = np.abs(change) > np.maximum(RAISED * error, smallest_changes(layer)[j])
    real = raised & agreed(parts, whole, equations.biases) if raised.any() else raised
    if probe is not None:
        for k in np.flatnonzero(raised).tolist():
            answer = probed(layer, k, j, float(change[k]), probe)
            real[k] = real[k] if answer is None else answer
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
    found = np.full(len(whole.gram), len(parts) > 1)
    for part in parts:
        change, error = jointly(whole - part, biases)
        found &= np.abs(change) > RAISED * error
        alone, error = part.solve(np.union1d(np.flatnonzero(found), biases))
        # At the least of both, the joint error of the two is a third of the size.
        found &= (np.abs(alone) > CONFIRMED * error) & (np.abs(alone - change) < np.abs(change) / 2)
        if not found.any():
            break
    return found


def explains(predicted: Array, residual: Array) -> bool:
    """Whether each part of the samples shows the whole change `predicted` `(t, B, H)`."""
    parts = by_samples(predicted[..., np.newaxis], residual)
    solved = [part.solve() for part in parts]
    return len(parts) > 1 and all(
        abs(one[0] - 1) < 0.5 and one[0] > CONFIRMED * error[0] for one, error in solved
    )
