"""The derivative of each cell's step in its weights, at observed states: what `equations` hold.

The letters are those of `cells`. Estimates only: no verdict of `diverged` rests on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.cell_state_bound import scan
from rnn_parity.bounds.observed import Observed
from rnn_parity.diagnosis.equations import Rows
from rnn_parity.diagnosis.stack import pieces
from rnn_parity.recurrence.activation import Activation
from rnn_parity.recurrence.cells import split
from rnn_parity.recurrence.layers import GRU, LSTM, Array, Layer
from rnn_parity.recurrence.products import Product
from rnn_parity.recurrence.replay import Block
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences


@dataclass(frozen=True, eq=False)
class Slopes:
    """A step `(t, B, H)`: its output and the slopes of its pieces.

    `ways` are `Rows`'s fields for pieces that reach the output on another way; `reset` is what a
    candidate multiplies with its weights in the place of h.
    """

    y: Array
    slopes: tuple[Array, ...]
    ways: dict[str, Any] = field(default_factory=dict)
    reset: Array | None = None


@dataclass(frozen=True, eq=False)
class Value:
    """An activation at z: `y`, and the slope `d`."""

    y: Array
    d: Array

    @classmethod
    def of(cls, f: Activation, z: Array) -> Value:
        """Both at once."""
        return cls(f(z), f.slope(z))


class Derivatives:
    """The equations of a layer, block after block: an LSTM's c is carried along."""

    def __init__(self, layer: Layer, sequences: Sequences) -> None:
        self.layer = layer
        self.cell_state, self.dropout = sequences.initial_state[-1], sequences.dropout
        self.times_w = Product(layer, layer.recurrent_kernel, sequences.dropout.state)

    @np.errstate(all="ignore")
    def equations(self, block: Block, observed: Observed) -> Rows:
        """The equations of a block's timesteps."""
        h, seen, keep = observed.states[:-1], observed.outputs, observed.keep
        x = block.projection
        if isinstance(self.layer, LSTM):
            found = self.lstm(self.layer, x, h, keep)
        elif isinstance(self.layer, GRU):
            found = self.gru(self.layer, x, h)
        else:
            found = self.simple_rnn(x, h)
        good = np.asarray(np.isfinite(seen + found.y).all(axis=2))
        if keep is not None:
            good &= keep[..., 0]
        every = good[..., np.newaxis]
        inputs, states = (np.where(every, a, 0.0) for a in (block.inputs, h))
        reset = states if found.reset is None else np.where(every, found.reset, 0.0)
        ways = dict(found.ways)
        for name, otherwise in (("gain", 0.0), ("forget", 1.0)):
            if name in ways:
                ways[name] = np.where(every, ways[name], otherwise)
        return Rows(
            designs=self.designs(inputs, states, reset),
            slopes=tuple(np.where(every, s, 0.0) for s in found.slopes),
            residual=np.where(every, seen - found.y, 0.0),
            observed=np.where(every, seen, 0.0),
            good=good,
            **ways,
        )

    def designs(self, x: Array, h: Array, reset: Array) -> tuple[Array, ...]:
        """What stands before the weights of each piece: x, h (`reset` in a candidate), and 1."""
        one = np.ones((*x.shape[:2], 1))
        whole = np.concatenate([x, h, one], axis=2)
        parts = []
        for piece in pieces(self.layer):
            candidate, dropped = piece.gate == 2 and reset is not h, self.dropout is not NO_DROPOUT
            if piece.inputs and piece.state and not candidate and not dropped:
                parts.append(whole)
                continue
            xs = [masked(x, self.dropout.inputs, piece.gate)] * piece.inputs
            hs = [masked(reset if candidate else h, self.dropout.state, piece.gate)] * piece.state
            parts.append(np.concatenate([*xs, *hs, one], axis=2))
        return tuple(parts)

    def product(self, h: Array, gates: slice = slice(None)) -> Array:
        """`h W` plus a recurrent bias, `(t, B, G H)`, or of some gates."""
        first, last, _ = gates.indices(len(self.layer.GATES))
        columns = slice(first * self.layer.units, last * self.layer.units)
        product, bias = self.times_w(h, columns), self.layer.recurrent_bias
        return product if bias is None else product + bias[columns]

    def simple_rnn(self, x: Array, h: Array) -> Slopes:
        """`h_t = a(z)`."""
        a = Value.of(self.layer.activation, x + self.product(h))
        return Slopes(a.y, (a.d,))

    def lstm(self, layer: LSTM, x: Array, h: Array, keep: NDArray[np.bool_] | None) -> Slopes:
        """`c_t = f c_{t-1} + i g`; `h_t = o a(c_t)`."""
        zi, zf, zg, zo = split(x + self.product(h), 4)
        s, activation = layer.recurrent_activation, layer.activation
        i, f, o = (Value.of(s, z) for z in (zi, zf, zo))
        g = Value.of(activation, zg)
        forget, new = f.y, i.y * g.y
        if keep is not None:
            forget, new = np.where(keep, forget, 1.0), np.where(keep, new, 0.0)
        c = scan(forget, new, self.cell_state)
        before = np.concatenate([self.cell_state[np.newaxis], c[:-1]])
        self.cell_state = c[-1]
        a = Value.of(activation, c)
        slopes = (g.y * i.d, before * f.d, i.y * g.d, a.y * o.d)
        return Slopes(o.y * a.y, slopes, {"carried": 3, "forget": forget, "gain": o.y * a.d})

    def gru(self, layer: GRU, x: Array, h: Array) -> Slopes:
        """`h_t = z h_{t-1} + (1 - z) hh`; `hh = a(X_h + r R_h)`, or `a(X_h + (r h) W_h)`."""
        xz, xr, xh = split(x, 3)
        rz, rr = split(self.product(h, slice(2)), 2)
        z, r = (Value.of(layer.recurrent_activation, v) for v in (xz + rz, xr + rr))
        last = slice(2, 3)
        of_state = self.product(h if layer.reset_after else r.y * h, last)
        a = Value.of(layer.activation, xh + (r.y * of_state if layer.reset_after else of_state))
        y, ch = z.y * h + (1 - z.y) * a.y, (1 - z.y) * a.d
        cz = (h - a.y) * z.d
        if layer.reset_after:
            return Slopes(y, (cz, ch * of_state * r.d, ch, ch * r.y))
        kernel = layer.recurrent_kernel[:, 2 * layer.units :]
        ways = {"mixed": 1, "mixing": kernel, "gain": ch}
        return Slopes(y, (cz, h * r.d, ch), ways, r.y * h)


def masked(a: Array, masks: Array | None, gate: int) -> Array:
    """`a` `(t, B, K)` as dropout leaves it for one gate."""
    return a if masks is None else a * masks[gate]
