"""The products `x U` and `h W`; with dropout, gate by gate, each gate on its own masked operand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.cells import Array, Cell

PANEL = 32
"""The columns of a panel. Of 16, 32 and 64 the best on average, beside one product."""
PANEL_ROWS, PANEL_NUMBERS, PANEL_WORK = 32, 1 << 14, 10**6
"""Panels pay for at most so many rows and numbers in them, and more multiplications than these, up
to which BLAS takes the short way by itself. Measured with OpenBLAS 0.3.31: 8 to 32 rows by matrices
of 128 to 1024 rows take 0.5 to 0.9 of the time with AVX-512, 0.8 to 1.1 without.
"""
CACHE_LINE = 64


def operand(layer: Cell, a: Array) -> Array:
    """An operand of a matrix product, as the layer takes it."""
    return a if layer.operands is None else layer.operands.round(a)


def rows_by(a: NDArray[Any], matrix: NDArray[Any]) -> NDArray[Any]:
    """`a M` for `(..., K)` by `(K, N)` as one matrix product, not one for each leading index."""
    if a.ndim == 2:
        return np.asarray(np.dot(a, matrix))
    product: NDArray[Any] = np.dot(a.reshape(-1, a.shape[-1]), matrix)
    return product.reshape(*a.shape[:-1], matrix.shape[1])


def panels(matrix: Array, rows: int) -> Array | None:
    """A matrix `(K, N)` as panels `(N / 32, K, 32)`, if a few rows are multiplied faster by these.

    BLAS copies a large matrix to a form that suits it whenever it multiplies, which takes longer
    than to multiply few rows by it. A matrix as small as a panel it takes as it is.
    """
    depth, width = matrix.shape
    few = rows <= PANEL_ROWS and rows * depth <= PANEL_NUMBERS
    if width % PANEL or not few or rows * depth * width <= PANEL_WORK:
        return None
    found = aligned((width // PANEL, depth, PANEL))
    found[...] = matrix.reshape(depth, -1, PANEL).swapaxes(0, 1)
    return found


def aligned(shape: tuple[int, ...]) -> Array:
    """An empty array that begins with a line of the cache."""
    size = math.prod(shape)
    found = np.empty(size + CACHE_LINE // 8)
    start = -found.ctypes.data % CACHE_LINE // 8
    return found[start : start + size].reshape(shape)


class Product:
    """`a M` for a kernel M `(K, G H)` of a layer; `(a * mask) M` with `masks` `(G, B, K)`."""

    def __init__(self, layer: Cell, matrix: Array, masks: Array | None = None) -> None:
        self.layer, self.matrix, self.masks = layer, matrix, masks
        self.parts: dict[tuple[int, int], Array] = {}

    def __call__(self, a: Array, columns: slice) -> Array:
        """The product of `a` `(..., B, K)` with these columns of M."""
        if self.masks is None:
            return rows_by(operand(self.layer, a), self.part(columns))
        parts = [
            rows_by(operand(self.layer, a * self.masks[gate]), self.part(part))
            for gate, part in self.gates(columns)
        ]
        return np.concatenate(parts, axis=-1)

    @property
    def plain(self) -> bool:
        """Whether it is a matrix product and nothing more."""
        return self.masks is None and self.layer.operands is None

    def part(self, columns: slice) -> Array:
        """These columns of M; a time loop asks for the same ones in every step."""
        key = columns.start, columns.stop
        if key not in self.parts:
            self.parts[key] = self.matrix[:, columns]
        return self.parts[key]

    def gates(self, columns: slice) -> list[tuple[int, slice]]:
        """The gates that these columns belong to, with their own columns."""
        units = self.layer.units
        first, last = columns.start // units, columns.stop // units
        return [(gate, slice(gate * units, (gate + 1) * units)) for gate in range(first, last)]
