"""Least squares from normal equations, which add up over groups of samples; NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.layers import Array

FREEDOM = 8
"""Equations beyond the unknowns that an error needs: by fewer it is itself unsure by a quarter."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Those of `min |A d - r|`: `A^T A` `(P, P)`, `A^T r` `(P,)`, `r^T r`, and how many of A's rows
    say anything.

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
        inverse, open_ = inverted(
            self.gram[np.ix_(used, used)] / np.outer(scale[used], scale[used])
        )
        moment = self.moment[used] / scale[used]
        solution = inverse @ moment
        # What is left of r, which is no less than the rounding of the difference.
        rest = max(self.squares - float(solution @ moment), 2.0**-52 * self.squares)
        errors = np.sqrt(rest / freedom * np.diag(inverse))
        difference[used] = np.where(open_, 0.0, solution / scale[used])
        error[used] = np.where(open_, np.inf, errors / scale[used])
        return difference, error

    def telling(self, count: int) -> NDArray[np.intp]:
        """The unknowns, `count` at most, each of which alone would explain most of r."""
        sizes = self.sizes
        score = np.divide(np.abs(self.moment), sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        return np.sort(np.argsort(-score, kind="stable")[:count])


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
