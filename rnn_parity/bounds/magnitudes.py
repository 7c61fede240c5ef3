"""Upper bounds of sums of absolute products, which rounding bounds rest on. NumPy alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.products import Product, rows_by


def gamma(n: int, u: float) -> float:
    """`n u / (1 - n u)`: the relative error of n roundings; infinite when the bound is vacuous."""
    return n * u / (1 - n * u) if n * u < 1 else np.inf


class Magnitudes:
    """Upper bounds of `|a| |M|` for many blocks of rows a and one matrix M, `(K, N)`.

    Wide matrices go by groups of four, `sum |a_k| |M_k| <= sum_groups ||a_g|| ||M_g||` (Cauchy and
    Schwarz): a quarter of the work, for a bound that is at most twice, typically 1.2 times as wide.
    """

    GROUPED_FROM = 64

    def __init__(self, dtype: type[np.floating[Any]], matrix: Array) -> None:
        # The product's own relative error, and those of the conversion and of the norms.
        rounded_up = dtype(1 + gamma(len(matrix) + 12, float(np.finfo(dtype).eps)))
        self.absolute = np.abs(matrix.astype(dtype)) * rounded_up
        self.grouped = None
        columns = self.absolute.max(axis=0)
        if len(matrix) >= self.GROUPED_FROM and in_range(columns[columns > 0]):
            self.grouped = norms(self.absolute.T).T

    def __call__(self, a: NDArray[Any]) -> NDArray[Any]:
        """`a` is `(..., K)`, not negative; the result is `(..., N)`."""
        if self.grouped is None or not in_range(a.max()):
            return rows_by(a, self.absolute)
        return rows_by(norms(a), self.grouped)


def in_range(a: Any) -> bool:
    """Whether float32 holds the squares of these numbers."""
    return bool(np.all((a > 1e-9) & (a < 1e15)))


def norms(a: NDArray[Any]) -> NDArray[Any]:
    """Euclidean norms over four columns each, `(..., K)` to `(..., ceil(K / 4))`, rounded up."""
    width = -(-a.shape[-1] // 4)
    total = np.square(a[..., :width])
    for start in range(width, a.shape[-1], width):
        part = a[..., start : start + width]
        total[..., : part.shape[-1]] += np.square(part)
    # Squares below the normal range vanish; this is above all of them.
    total += 8 * np.finfo(a.dtype).tiny
    root: NDArray[Any] = np.sqrt(total, out=total)
    return root


def narrow(a: Array, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """`|a|` in the dtype of radii; the rounding is part of `Magnitudes`' allowance.

    Infinite where a is beyond the range of that dtype; 0 where a itself is infinite or NaN: such a
    term decides the result without any rounding.
    """
    size: NDArray[Any] = np.asarray(np.abs(a, dtype=dtype, casting="same_kind"))
    if not np.isfinite(size.max()):
        size[~np.isfinite(a)] = 0
    return size


class BoundedProduct(Product):
    """The products of a kernel M, and upper bounds of `|a| |M|` for some of its parts.

    `parts` are those that are asked for, as gates `(first, last + 1)`.
    """

    def __init__(
        self,
        layer: Cell,
        matrix: Array,
        masks: Array | None,
        parts: Iterable[tuple[int, int]],
        dtype: type[np.floating[Any]],
    ) -> None:
        super().__init__(layer, matrix, masks)
        if masks is not None:
            parts = [(gate, gate + 1) for gate in range(len(layer.GATES))]
        cuts = [(first * layer.units, last * layer.units) for first, last in parts]
        self.bounds = {cut: Magnitudes(dtype, matrix[:, slice(*cut)]) for cut in cuts}

    def magnitude(self, a: NDArray[Any], columns: slice) -> NDArray[Any]:
        """At least `|a| |M|` for these columns; `a` is not negative, `(..., B, K)`."""
        if self.masks is None:
            return self.bounds[columns.start, columns.stop](a)
        masks = self.masks.astype(a.dtype)
        parts = [
            self.bounds[part.start, part.stop](a * masks[gate])
            for gate, part in self.gates(columns)
        ]
        return np.concatenate(parts, axis=-1)
