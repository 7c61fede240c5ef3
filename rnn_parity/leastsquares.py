"""Least squares with standard errors that need no model of the noise; NumPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnn_parity.layers import Array

FREEDOM = 8
"""So many equations more than unknowns, or the errors themselves are too uncertain to use."""


def solve(a: Array, r: Array, batch: int = 1, together: int = 1) -> tuple[Array, Array] | None:
    """`min |a d - r|`: the solution and its standard errors, infinite where a leaves it open.

    The rows are `(t, batch)`; the noise of so many timesteps of a sample may go `together`.
    """
    scale = np.sqrt((a * a).sum(axis=0))
    used = np.flatnonzero(scale > 1e-9 * scale.max(initial=0))
    informative = a[:, used].any(axis=1)
    if len(used) == 0 or np.count_nonzero(informative) < len(used) + FREEDOM:
        return None
    if together == 1:
        a, r, batch = a[informative], r[informative], 1
    a = a[:, used] / scale[used]
    inverse, open_ = inverted(a.T @ a)
    solution = inverse @ (a.T @ r)
    projected = a @ inverse
    # Errors that do not rely on equal noise in all rows (MacKinnon and White 1985, HC3).
    leverage = np.minimum((projected * a).sum(axis=1), 0.99)
    noise = (r - a @ solution) / (1 - leverage)
    projected *= noise[:, np.newaxis]
    variance = serial_variance(projected.reshape(-1, batch, len(used)), together)
    errors = np.where(open_, np.inf, np.sqrt(variance))
    difference, error = np.zeros(len(scale)), np.full(len(scale), np.inf)
    difference[used], error[used] = np.where(open_, 0, solution) / scale[used], errors / scale[used]
    return difference, error


def serial_variance(noise: Array, together: int) -> Array:
    """The variance of the sum of `noise` `(t, B, K)`, `(K,)`: so much of a sample goes `together`.

    From the sums over all windows of that many timesteps (Newey and West 1987, with Bartlett's
    weights), and never less than that of independent noise.
    """
    independent: Array = np.einsum("tbk,tbk->k", noise, noise)
    if together == 1:
        return independent
    pad = np.zeros((together, *noise.shape[1:]))
    total = np.cumsum(np.concatenate([pad, noise, pad]), axis=0)
    windows = total[together:] - total[:-together]
    serial: Array = np.einsum("tbk,tbk->k", windows, windows) / together
    return np.maximum(independent, serial, out=serial)


def certain(sigma: float, rows: int, together: int) -> float:
    """How many standard errors are as rare as `sigma` are when the error is known exactly.

    Bartlett's windows leave 3/2 degrees of freedom for each; Student's quantile from the normal one
    after Wallace 1959.
    """
    freedom = 1.5 * rows / together
    return float(np.sqrt(freedom * np.expm1(sigma**2 / freedom)))


def inverted(gram: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The (pseudo-)inverse of a Gram matrix with ones on its diagonal, and what it leaves open."""
    try:
        root = np.linalg.inv(np.linalg.cholesky(gram))
        inverse = root.T @ root
        if np.abs(inverse).max() < 1e6:
            return inverse, np.zeros(len(gram), bool)
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-9 * values[-1]
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    # An entry is determined when no direction that was left out moves it.
    return inverse, (vectors[:, ~kept] ** 2).sum(axis=1) > 1e-6


def selected(
    a: Array, r: Array, batch: int, together: int, biases: list[int], least: float, most: int
) -> tuple[Array, Array]:
    """The same where few unknowns are not 0, and equations are too few for all of them.

    Forward selection: the column that explains most of what is left beside the `biases`, as long as
    it is `least` standard errors from 0. The errors of all others are infinite.
    """
    difference, error = np.zeros(a.shape[1]), np.full(a.shape[1], np.inf)
    size = np.sqrt((a * a).sum(axis=0))
    chosen, rest = list(biases), r
    solved = solve(a[:, chosen], r, batch, together)
    while solved is not None:
        difference[chosen], error[chosen] = solved
        rest = r - a[:, chosen] @ difference[chosen]
        if len(chosen) == most + len(biases):
            break
        score = np.divide(np.abs(rest @ a), size, out=np.zeros(len(size)), where=size > 0)
        score[chosen] = -1
        chosen = [*chosen, int(score.argmax())]
        solved = solve(a[:, chosen], r, batch, together)
        if solved is not None and not abs(solved[0][-1]) > least * solved[1][-1]:
            break
    return difference, error
