"""LSTM and GRU by the textbook: a matrix for every gate, one sample and one timestep at a time.

Nothing here comes from the package. `exact` is done in fractions of whole numbers where the
activations allow it, `rough` in a narrow format, with every sum taken in an order of its own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from helpers import FUNCTIONS, rounded

import rnn_parity as rp

GATES = {"LSTM": ("i", "f", "g", "o"), "GRU": ("z", "r", "h")}


@dataclass
class Cell:
    """Weights by gate: `U[gate]` `(F, H)`, `W[gate]` `(H, H)`, `b[gate]`, `rb[gate]` `(H,)`."""

    kind: str
    U: dict
    W: dict
    b: dict
    rb: dict
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    reset_after: bool = True

    def layer(self, **options: Any):
        """The package's layer with these weights."""
        kernel, recurrent = (np.concatenate(list(m.values()), axis=-1) for m in (self.U, self.W))
        bias = np.concatenate(list(self.b.values()))
        options |= {n: getattr(self, n) for n in ("activation", "recurrent_activation")}
        if self.kind == "LSTM":
            return rp.LSTM(kernel, recurrent, bias, **options)
        if self.reset_after:
            bias = np.stack([bias, np.concatenate(list(self.rb.values()))])
        return rp.GRU(kernel, recurrent, bias, reset_after=self.reset_after, **options)


def random_cell(rng, kind, features, units, gain=1.0, dtype="float32", **options):
    """Distinct random weights for every gate, representable in `dtype`."""
    shapes = {"U": (features, units), "W": (units, units), "b": (units,), "rb": (units,)}
    scales = {"U": gain, "W": gain / np.sqrt(units), "b": 0.3, "rb": 0.3}
    gates = GATES[kind]
    weights = {
        n: {g: rounded(scales[n] * rng.normal(size=shapes[n]), dtype) for g in gates}
        for n in shapes
    }
    if options.get("reset_after") is False or kind == "LSTM":
        weights["rb"] = {g: np.zeros(units) for g in gates}
    return Cell(kind, **weights, **options)


class Exact:
    """Sums and functions in float64."""

    def sum(self, terms):
        return np.sum(terms)

    def apply(self, name, z):
        return FUNCTIONS[name](z)

    def result(self, a):
        return a


@dataclass
class Rough:
    """A narrow format: sums in pairs chosen at random, products rounded unless they are fused."""

    rng: Any
    dtype: str
    fused: bool = False

    def sum(self, terms):
        terms = [t if self.fused else rounded(np.asarray(t), self.dtype) for t in terms]
        while len(terms) > 1:
            a, b = (terms.pop(self.rng.integers(len(terms))) for _ in range(2))
            terms.append(rounded(np.asarray(a + b), self.dtype))
        return rounded(np.asarray(terms[0]), self.dtype)

    def apply(self, name, z):
        return rounded(np.asarray(FUNCTIONS[name](z)), self.dtype)

    def result(self, a):
        return rounded(np.asarray(a), self.dtype)


def step(cell, numbers, x, h, c, j):
    """Unit j of one step of one sample: h, and c of an LSTM (None for a GRU)."""
    q, s, a = numbers.result, cell.recurrent_activation, cell.activation

    def inputs(g):
        return [*(x * cell.U[g][:, j]), cell.b[g][j]]

    def recurrent(g):
        return [*(h * cell.W[g][:, j]), cell.rb[g][j]]

    def gate(g, name):
        return numbers.apply(name, numbers.sum([*inputs(g), *recurrent(g)]))

    if cell.kind == "LSTM":
        i, f, g, o = gate("i", s), gate("f", s), gate("g", a), gate("o", s)
        c = q(q(f * c[j]) + q(i * g))
        return q(o * numbers.apply(a, c)), c
    z, r = gate("z", s), gate("r", s)
    if cell.reset_after:
        part = q(r * numbers.sum(recurrent("h")))
        hh = numbers.apply(a, q(numbers.sum(inputs("h")) + part))
    else:
        # r of every unit is needed for r h.
        every = [numbers.apply(s, numbers.sum(gates(cell, x, h, k))) for k in range(len(h))]
        reset = [q(p * v) for p, v in zip(every, h, strict=True)]
        terms = [*inputs("h"), *(np.array(reset) * cell.W["h"][:, j])]
        hh = numbers.apply(a, numbers.sum(terms))
    return q(q(z * h[j]) + q(q(1 - z) * hh)), None


def gates(cell, x, h, k):
    """The terms of the reset gate of unit k."""
    return [*(x * cell.U["r"][:, k]), cell.b["r"][k], *(h * cell.W["r"][:, k])]


def run(cell, numbers, x, h0=None, c0=None, mask=None):
    """Outputs `(B, T, H)` and the final states h and c (None for a GRU)."""
    batch, units = len(x), len(next(iter(cell.b.values())))
    h = np.zeros((batch, units)) if h0 is None else np.array(h0, float)
    c = np.zeros((batch, units)) if c0 is None else np.array(c0, float)
    outputs = np.zeros((batch, x.shape[1], units))
    for b in range(batch):
        for t in range(x.shape[1]):
            if mask is not None and not mask[b, t]:
                outputs[b, t] = outputs[b, t - 1] if t else 0
                continue
            new = [step(cell, numbers, x[b, t], h[b], c[b], j) for j in range(units)]
            h[b] = outputs[b, t] = [n[0] for n in new]
            if cell.kind == "LSTM":
                c[b] = [n[1] for n in new]
    return outputs, h, c if cell.kind == "LSTM" else None
