"""The recurrences: one step of each cell, beside its formula. Read this page first.

Row vectors: `x_t` is `(F,)`, `h_t` is `(H,)`; U is the kernel, W the recurrent kernel, b the bias;
`a` is the activation, `s` the recurrent activation (of the gates). A step gets the input projection
`x = x_t U + b` and the recurrent product `r = h_{t-1} W`, both for a whole batch, `(..., G H)`,
with the G gates side by side along the last axis. The formulas serve plain arrays (the replay) and
balls (the bound) alike. Source: the documentation of `keras.layers.SimpleRNN`, `LSTM` and `GRU`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from rnn_parity.recurrence.layers import GRU, LSTM, Gated, Layer

F = Callable[[Any], Any]


def simple_rnn(a: F, x: Any, r: Any) -> Any:
    """SimpleRNN: `h_t = a(x_t U + h_{t-1} W + b)`."""
    return a(x + r)


def lstm(s: F, a: F, x: Any, r: Any, carry: Callable[[Any, Any, Any], Any]) -> Any:
    """LSTM: `i, f, g, o = split(x_t U + h_{t-1} W + b)`; `h_t = s(o) a(c_t)`, with
    `c_t = s(f) c_{t-1} + s(i) a(g)`.

    `carry(p, q, s(o))` is `c_t = p c_{t-1} + q`: the caller keeps c, which is not an output, and
    may learn from an observed output what c was.
    """
    i, f, g, o = split(x + r, 4)
    o = s(o)
    c = carry(s(f), s(i) * a(g), o)
    return lstm_output(a, o, c)


def lstm_output(a: F, o: Any, c: Any) -> Any:
    """An LSTM's output `h_t = s(o) a(c_t)`, from the output gate's value and c."""
    return o * a(c)


def gru(s: F, a: F, x: Any, r: Any, h: Any) -> Any:
    """GRU, `reset_after`: `X = x_t U + b[0]`, `R = h_{t-1} W + b[1]`; `z = s(X_z + R_z)`,
    `r = s(X_r + R_r)`, `hh = a(X_h + r R_h)`; `h_t = z h_{t-1} + (1 - z) hh`.
    """
    x_z, x_r, x_h = split(x, 3)
    r_z, r_r, r_h = split(r, 3)
    z = s(x_z + r_z)
    hh = a(x_h + s(x_r + r_r) * r_h)
    return z * h + (1 - z) * hh


def gru_reset_before(s: F, a: F, x: Any, r: Any, h: Any, times_w_h: F) -> Any:
    """GRU without `reset_after`: `z` and `r` as above; `hh = a(x_t U_h + (r h_{t-1}) W_h + b_h)`;
    `h_t = z h_{t-1} + (1 - z) hh`. `r` holds `h_{t-1} W` of the gates z and r alone.
    """
    x_z, x_r, x_h = split(x, 3)
    r_z, r_r = split(r, 2)
    z = s(x_z + r_z)
    hh = a(x_h + times_w_h(s(x_r + r_r) * h))
    return z * h + (1 - z) * hh


def split(x: Any, gates: int) -> list[Any]:
    """The parts of the last axis, one for each gate."""
    units = x.shape[-1] // gates
    return [x[..., g * units : (g + 1) * units] for g in range(gates)]


def cell_of(
    layer: Layer,
    apply: Callable[[Any, Any], Any],
    product: Callable[[Any, slice], Any],
    carry: Callable[[Any, Any, Any], Any],
) -> Callable[[Any, Any], Any]:
    """The step of the layer's own cell: from `x` and the state `h` before it to the output.

    `apply(f, z)` is `f(z)` in the number system of the arguments; `product(h, columns)` is `h W`
    (plus a recurrent bias) for these columns of W; `carry` is explained in `lstm`.
    """

    a = partial(apply, layer.activation)
    first, *rest = (slice(*cut) for cut in pairwise(recurrent_cuts(layer)))
    if not isinstance(layer, Gated):
        return lambda x, h: simple_rnn(a, x, product(h, first))
    s = partial(apply, layer.recurrent_activation)
    if isinstance(layer, LSTM):
        return lambda x, h: lstm(s, a, x, product(h, first), carry)
    if not rest:
        return lambda x, h: gru(s, a, x, product(h, first), h)
    return lambda x, h: gru_reset_before(
        s, a, x, product(h, first), h, lambda rh: product(rh, rest[0])
    )


def recurrent_cuts(layer: Layer) -> list[int]:
    """Where the recurrent kernel's columns are cut into the parts that `product` is asked for."""
    middle = [2 * layer.units] * (isinstance(layer, GRU) and not layer.reset_after)
    return [0, *middle, layer.width]
