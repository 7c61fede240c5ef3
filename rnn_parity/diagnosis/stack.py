"""All weights of a unit as one column: the unknowns of the equations that outputs give.

The columns of all units side by side are `(P, H)`. Gate by gate there stand the rows of the
kernel, of the recurrent kernel, and one of the bias. Where a GRU's candidate adds `r` times its
recurrent part, that part is a piece of its own, with its own row of the bias; the gates z and r see
the sum of both rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnn_parity.recurrence.layers import GRU, Array, Layer


@dataclass(frozen=True)
class Piece:
    """What is added up in one argument of a gate: `inputs U + b`, `h W + b`, or both."""

    gate: int
    inputs: bool = True
    state: bool = True

    def rows(self, layer: Layer) -> int:
        """How many rows of a column it has."""
        return layer.features * self.inputs + layer.units * self.state + 1


def pieces(layer: Layer) -> tuple[Piece, ...]:
    """The pieces of a column, from the top."""
    every = [Piece(gate) for gate in range(len(layer.GATES))]
    if split_bias(layer):
        every[2:] = [Piece(2, state=False), Piece(2, inputs=False)]
    return tuple(every)


def split_bias(layer: Layer) -> bool:
    """Whether the bias has a row for the inputs and one for the state."""
    return isinstance(layer, GRU) and layer.reset_after


def stacked(layer: Layer) -> Array:
    """The weights of all units, `(P, H)`; zeros for no bias."""
    parts = []
    for piece in pieces(layer):
        columns = slice(piece.gate * layer.units, (piece.gate + 1) * layer.units)
        bias = np.zeros((1, layer.units))
        for used, row in ((piece.inputs, layer.input_bias), (piece.state, layer.recurrent_bias)):
            if used and row is not None:
                bias += row[columns]
        parts += [layer.kernel[:, columns]] * piece.inputs
        parts += [layer.recurrent_kernel[:, columns]] * piece.state
        parts.append(bias)
    return np.concatenate(parts)


def where(layer: Layer, k: int, j: int) -> tuple[str, tuple[int, ...]]:
    """The name and the index of a weight from its place in `stacked`."""
    for piece in pieces(layer):
        if k < piece.rows(layer):
            break
        k -= piece.rows(layer)
    column = piece.gate * layer.units + j
    if piece.inputs and k < layer.features:
        return "kernel", (k, column)
    k -= layer.features * piece.inputs
    if piece.state and k < layer.units:
        return "recurrent_kernel", (k, column)
    return "bias", ((0 if piece.inputs else 1, column) if split_bias(layer) else (column,))


def value(layer: Layer, k: int, j: int) -> float:
    """The weight at that place, 0 for no bias."""
    name, index = where(layer, k, j)
    array = getattr(layer, name)
    return 0.0 if array is None else float(array[index])


def told(layer: Layer, k: int, j: int, implied: float) -> str:
    """What one weight is, in words, from its place in `stacked`."""
    name, index = where(layer, k, j)
    return f"{name}{list(index)} is {implied:.9g} instead of {value(layer, k, j):.9g}"


def changed_at(layer: Layer, values: dict[tuple[int, int], float]) -> Layer:
    """The layer with other values at these places of `stacked`."""
    arrays: dict[str, Array] = {}
    for (k, j), new in values.items():
        name, index = where(layer, k, j)
        if name not in arrays:
            old = getattr(layer, name)
            empty = np.zeros((2, layer.width) if split_bias(layer) else layer.width)
            arrays[name] = empty if old is None else old.copy(order="K")
        arrays[name][index] = new
    return layer.changed(**arrays)
