"""The products `x U` and `h W`; with dropout, gate by gate, each gate on its own masked operand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.magnitudes import Magnitudes, rows_by
from rnn_parity.recurrence.layers import Array, Layer


def operand(layer: Layer, a: Array) -> Array:
    """An operand of a matrix product, as the layer takes it."""
    return a if layer.operands is None else layer.operands.round(a)


class Product:
    """`a M` for a kernel M `(K, G H)` of a layer; `(a * mask) M` with `masks` `(G, B, K)`."""

    def __init__(self, layer: Layer, matrix: Array, masks: Array | None = None) -> None:
        self.layer, self.matrix, self.masks = layer, matrix, masks

    def __call__(self, a: Array, columns: slice) -> Array:
        """The product of `a` `(..., B, K)` with these columns of M."""
        if self.masks is None:
            return rows_by(operand(self.layer, a), self.matrix[:, columns])
        parts = [
            rows_by(operand(self.layer, a * self.masks[gate]), self.matrix[:, part])
            for gate, part in self.gates(columns)
        ]
        return np.concatenate(parts, axis=-1)

    def gates(self, columns: slice) -> list[tuple[int, slice]]:
        """The gates that these columns belong to, with their own columns."""
        units = self.layer.units
        first, last = columns.start // units, columns.stop // units
        return [(gate, slice(gate * units, (gate + 1) * units)) for gate in range(first, last)]


class BoundedProduct(Product):
    """The same, with upper bounds of `|a| |M|` for columns that are cut at `cuts`."""

    def __init__(
        self,
        layer: Layer,
        matrix: Array,
        masks: Array | None,
        cuts: list[int],
        dtype: type[np.floating[Any]],
    ) -> None:
        super().__init__(layer, matrix, masks)
        if masks is not None:
            cuts = [*range(0, layer.width + 1, layer.units)]
        self.bounds = {a: Magnitudes(dtype, matrix[:, a:b]) for a, b in pairwise(cuts)}

    def magnitude(self, a: NDArray[Any], columns: slice) -> NDArray[Any]:
        """At least `|a| |M|` for these columns; `a` is not negative, `(..., B, K)`."""
        if self.masks is None:
            return self.bounds[columns.start](a)
        masks = self.masks.astype(a.dtype)
        parts = [self.bounds[part.start](a * masks[g]) for g, part in self.gates(columns)]
        return np.concatenate(parts, axis=-1)
