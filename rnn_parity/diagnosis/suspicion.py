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

from rnn_parity.diagnosis.equations import Rows
from rnn_parity.diagnosis.implied_weights import CERTAIN, MOST_UNITS, Estimate, scores
from rnn_parity.diagnosis.least_squares import NormalEquations
from rnn_parity.diagnosis.probe import Probe, probed
from rnn_parity.recurrence.layers import Array, Layer

SCREEN = 5.5
"""Standard errors of an entry alone from which on its unit gets a closer look: what a part of the
equations shows of `CERTAIN`. Chosen: at half, every check takes the time; at double, half of what
could be found is not.
"""
PARTS = 4
"""Into so many parts samples are split, of which all but one raise an entry that is to be confirmed
by the one. Chosen: of two, half of the samples must raise it; of eight, an eighth must confirm it.
"""
SHARE = 4
"""Equations for each unknown. Where there are too many unknowns, those that alone explain least are
left out.
"""


@np.errstate(all="ignore")
def other_weights(layer: Layer, equations: Rows, probe: Probe | None = None) -> Estimate:
    """The differences that are confirmed, and their errors; 0 and infinite for all other entries.

    Unit by unit, the one that explains most first: its changes are taken out of the residuals of
    all, which the reset gate of a GRU without `reset_after` reaches.
    """
    found = Estimate(*(np.full((len(equations.in_mixed), layer.units), x) for x in (0.0, np.inf)))
    untried, rest = np.ones(found.error.shape, bool), equations
    score, explained = scores(rest), rest.explained
    for _ in range(MOST_UNITS):
        open_ = untried & (score > SCREEN)
        if not open_.any():
            break
        k, j = (int(i) for i in np.unravel_index(np.argmax(explained * open_), open_.shape))
        mixed = bool(equations.in_mixed[k])
        place = equations.in_mixed == mixed
        untried[place, j] = False
        change, error = of_unit(layer, rest, j, mixed, probe)
        if change.any():
            found.difference[place, j], found.error[place, j] = change[place], error[place]
            rest = equations.but_weights(found.difference)
            score, explained = scores(rest), rest.explained
    return found


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
    raised = np.abs(change) > CERTAIN * error
    real = raised & agreed(parts, whole, equations.biases) if raised.any() else raised
    if probe is not None:
        for k in np.flatnonzero(raised).tolist():
            answer = probed(layer, k, j, float(change[k]), probe)
            if answer is not None:  # what it refutes is taken out of the residuals and not named
                real[k], error[k] = True, error[k] if answer else np.inf
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


def explains(predicted: Array, residual: Array) -> bool:
    """Whether each part of the samples shows the whole change `predicted` `(t, B, H)`.

    Of each unit without the mean, which may be what an activation always errs by.
    """
    predicted, residual = (a - a.mean((0, 1)) for a in (predicted, residual))
    parts = by_samples(predicted[..., np.newaxis], residual)
    solved = [part.solve() for part in parts]
    return len(parts) > 1 and all(
        abs(one[0] - 1) < 0.5 and one[0] > CERTAIN * error[0] for one, error in solved
    )
