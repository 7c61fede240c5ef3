"""A state that nobody observed, carried as a ball along `c_t = p_t c_{t-1} + q_t`: an LSTM's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.balls import SLACK, Ball
from rnn_parity.magnitudes import narrow


def carried(p: Ball, q: Ball, before: Ball, keep: NDArray[np.bool_] | None) -> Ball:
    """All of `c_1 ... c_t` for `p` and `q` `(t, B, H)`, from `c_0` = `before` `(B, H)`.

    Where `keep` `(t, B, 1)` is False, the timestep is masked and the state stays. The radius obeys
    a recurrence of the same kind, `rad_t = grow_t rad_{t-1} + add_t`, with one rounding of the
    product and one of the sum.
    """
    dtype, arithmetic = p.arithmetic.radius_dtype, p.arithmetic
    factor, addend = p.value, q.value
    if keep is not None:
        factor, addend = np.where(keep, factor, 1.0), np.where(keep, addend, 0.0)
    values = scan(factor, addend, before.value)
    old = np.concatenate([before.value[np.newaxis], values[:-1]])
    u, eta = arithmetic.unit * SLACK, arithmetic.results.smallest_normal
    size, last = narrow(p.value, dtype), narrow(old, dtype)
    grow = (size + p.radius) * (SLACK * (1 + u) ** 2)
    add = (last * p.radius + u * (size * last) + eta) * (SLACK * (1 + u))
    add += (q.radius + u * (narrow(values, dtype) + q.radius) + eta) * SLACK
    if keep is not None:
        grow, add = np.where(keep, grow, dtype(1)), np.where(keep, add, dtype(0))
    first = np.broadcast_to(before.radius, before.shape)
    radii = scan(grow, add, first)
    # The product overflows before an addend of the other sign could bring it back.
    product = grow * (last + np.concatenate([first[np.newaxis], radii[:-1]]))
    largest = np.maximum(product, narrow(values, dtype) + radii)
    radii[~np.isfinite(values) | ~(largest < arithmetic.results.largest)] = np.inf
    return Ball(values, radii, arithmetic)


def scan(p: NDArray[Any], q: NDArray[Any], before: NDArray[Any] | float = 0.0) -> NDArray[Any]:
    """`c_t = p_t c_{t-1} + q_t` for every t, in the dtype and the shape of q."""
    c = np.empty_like(q)
    for t in range(len(q)):
        np.multiply(p[t], before, out=c[t])
        c[t] += q[t]
        before = c[t]
    return c
