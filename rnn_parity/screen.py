"""Which weights might be others: quick looks at all entries of `equations`, each one alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnn_parity.equations import Rows, flattened
from rnn_parity.layers import Array
from rnn_parity.leastsquares import serial_variance


@np.errstate(all="ignore")
def scores(equations: Rows) -> Array:
    """How many standard errors each entry alone is off, `(P, H)`: a cheap screen.

    Correlated entries show together, and an entry that differs shows whatever the others do.
    """
    found = []
    designs = {id(design): scaled(flattened(design)) for design in equations.designs}
    for design, weighted in zip(equations.designs, equations.weighted(), strict=True):
        d, w = designs[id(design)], scaled(flattened(weighted))
        found.append(np.abs(d.T @ w) / np.sqrt((d * d).T @ (w * w)))
    scores: Array = np.nan_to_num(np.concatenate(found))
    return scores


@np.errstate(all="ignore")
def alone(equations: Rows, entries: NDArray[np.intp]) -> tuple[Array, Array]:
    """For each of `entries` `(2, N)`: by how much it alone would be off, and its score.

    The noise of timesteps near each other may go together here, and what the bias would explain as
    well is left to it: an activation that always errs to one side is no weight of another kind. Of
    what stays in a memory, only the first step counts, so that it may seem further off than it is.
    """
    off, found = np.zeros(entries.shape[1]), np.zeros(entries.shape[1])
    start = 0
    pairs = zip(equations.designs, equations.weighted(), strict=True)
    for p, (design, weighted) in enumerate(pairs):
        here = (entries[0] >= start) & (entries[0] < start + design.shape[2])
        k, j = entries[0, here] - start, entries[1, here]
        shows = response(equations, p, j)[0].reshape(*design.shape[:2], -1) ** 2
        varies = design[..., k]
        mean = (varies * shows).sum((0, 1)) / shows.sum((0, 1))
        varies = varies - np.where(k < design.shape[2] - 1, mean, 0.0) * equations.good[..., None]
        terms = varies * weighted[..., j]
        off[here] = terms.sum((0, 1)) / (varies**2 * shows).sum((0, 1))
        noise = serial_variance(terms - terms.mean((0, 1)), equations.together)
        found[here] = np.abs(terms.sum((0, 1))) / np.sqrt(noise)
        start += design.shape[2]
    return np.abs(off), found


@np.errstate(all="ignore")
def systematic(equations: Rows, weights: Array, columns: NDArray[np.intp]) -> Array:
    """So large a change of weights, `(P, N)`, may be the implementation's own errors, in N columns.

    An activation errs the same way wherever its argument is the same, which is no noise. A weight
    takes that on itself in proportion to its share of the argument; a bias, all of it.
    """
    found, parts = [], equations.parts(weights[:, equations.units[columns]])
    for p, (design, weight) in enumerate(zip(equations.designs, parts, strict=True)):
        d, (s, own) = np.abs(flattened(design)), response(equations, p, columns)
        error = d.T @ (s * own) / ((d * d).T @ (s * s))
        terms = (d * d).sum(axis=0)[:, np.newaxis] * weight**2
        share = np.sqrt(terms / terms.sum(axis=0))
        share[-1] = 1
        found.append(error * share)
    changes: Array = np.nan_to_num(np.concatenate(found))
    return changes


def response(equations: Rows, p: int, columns: NDArray[np.intp]) -> tuple[Array, Array]:
    """How a piece's argument shows in the equations of `of_unit`, and what errs in those.

    Both are `(t B, N)`, absolute; the latter `(t B, 1)` where all outputs are in one equation.
    """
    slope = equations.slopes[p]
    if p == equations.mixed and equations.mixing is not None and equations.gain is not None:
        size = np.abs(slope) * np.sqrt(equations.gain**2 @ (equations.mixing**2).T)
        # The outputs err independently: in any combination of them, by the mean square.
        total = np.sqrt((equations.own**2).mean(axis=2, keepdims=True))
        return flattened(size)[:, columns], flattened(total)
    reached = np.abs(flattened(equations.reach(p, slope)))
    return reached[:, columns], flattened(equations.own)[:, columns]


def mostly_mixed(equations: Rows, scores: Array) -> bool:
    """Whether the highest score is that of a weight in the mixed piece."""
    highest = [part.max() for part in equations.parts(scores)]
    return int(np.argmax(highest)) == equations.mixed


def scaled(a: Array) -> NDArray[np.float32]:
    """Columns that are 1 at most: then float32 holds their squares, at half the cost."""
    most = np.abs(a).max(axis=0)
    shares: Array = np.divide(a, most, where=most > 0, out=np.zeros_like(a))
    return shares.astype(np.float32)
