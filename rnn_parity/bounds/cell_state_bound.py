"""A state that nobody observed, carried as a ball along `c_t = p_t c_{t-1} + q_t`: an LSTM's.

While the forget gate is open, the radius grows with every step. But the output `h_t = o_t a(c_t)`
was observed, and tells c wherever the output gate is open and the activation is not saturated: at
the end of every `SEGMENT` of steps the carried ball is cut down to what the output allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.balls import SLACK, Ball, apply, concatenated
from rnn_parity.bounds.magnitudes import narrow
from rnn_parity.recurrence.activation import Activation
from rnn_parity.recurrence.cells import lstm_output
from rnn_parity.recurrence.layers import Array

SEGMENT = 256
"""Timesteps between two looks at the observed output. Chosen: of a small layer with an open forget
gate a look costs as much as 200 steps, and in 256 steps float32's radius grows by some 2**-14."""
GROWN = 8
"""A look is taken where the radius is more than 8 steps' own. Chosen: a look leaves some 4 of them,
and where the forget gate is below 7/8 the radius stays below 8 without it."""
HALVINGS = 6
"""Each look leaves at most 2**-6 of the carried ball's width beyond what the output allows."""

Keep = NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class Output:
    """How a cell state shows: `h_t = o_t a(c_t)`, all `(t, B, H)`.

    `o` is the output gate; `seen` the observed output, with a radius where it was printed.
    """

    activation: Activation
    o: Ball
    seen: Ball

    def of(self, steps: Any) -> Output:
        """That of these timesteps, `steps` an index of the first axes."""
        return Output(self.activation, self.o[steps], self.seen[steps])


@dataclass(frozen=True, eq=False)
class Segment:
    """Some steps of the recurrence: `c` `(t, B, H)`, and the radius that each step adds alone.

    `own` bounds how far two correct computations of one step, from one c before it, lie from what
    exact arithmetic makes of that c.
    """

    c: Ball
    own: NDArray[Any]


def carried(p: Ball, q: Ball, before: Ball, keep: Keep, output: Output | None) -> tuple[Ball, Ball]:
    """All of `c_1 ... c_t` for `p` and `q` `(t, B, H)`, from `c_0` = `before` `(B, H)`; and the
    last one `(B, H)` with what `output` tells of it, None where nothing was observed.

    Where `keep` `(t, B, 1)` is False, the timestep is masked and the state stays.
    """
    count = len(q.value)
    told = output if output is not None and tells(output.activation, p) else None
    length = count if told is None else SEGMENT
    parts = []
    for start in range(0, count, length):
        steps = slice(start, min(start + length, count))
        kept = None if keep is None else keep[steps]
        segment = recurrence(p[steps], q[steps], before, kept)
        parts.append(segment.c)
        before = segment.c[-1]
        if told is not None:
            before = looked_at(segment, told.of(steps), kept)
    return parts[0] if len(parts) == 1 else concatenated(parts), before


def recurrence(p: Ball, q: Ball, before: Ball, keep: Keep) -> Segment:
    """The steps of `carried` without a look at the outputs.

    The radius obeys a recurrence of the same kind, `rad_t = grow_t rad_{t-1} + add_t`, with one
    rounding of the product and one of the sum, as the operations of `Ball` have them.
    """
    dtype, arithmetic = p.arithmetic.radius_dtype, p.arithmetic
    factor, addend = p.value, q.value
    if keep is not None:
        factor, addend = np.where(keep, factor, 1.0), np.where(keep, addend, 0.0)
    values = scan(factor, addend, before.value)
    old = np.concatenate([before.value[np.newaxis], values[:-1]])
    u, eta = arithmetic.unit * SLACK, arithmetic.results.smallest_normal
    size, last = narrow(p.value, dtype), narrow(old, dtype)
    widest = size + p.radius
    grow = widest * (SLACK * (1 + u) ** 2)
    add = (last * (p.radius + u * widest) + eta) * (SLACK * (1 + u))
    add += (q.radius + u * (narrow(values, dtype) + q.radius) + eta) * SLACK
    if keep is not None:
        grow, add = np.where(keep, grow, dtype(1)), np.where(keep, add, dtype(0))
        size = np.where(keep, size, dtype(1))
    first = np.broadcast_to(before.radius, before.shape)
    radii = scan(grow, add, first)
    known = np.concatenate([first[np.newaxis], radii[:-1]])
    # The product overflows before an addend of the other sign could bring it back.
    largest = np.maximum(grow * (last + known), narrow(values, dtype) + radii)
    radii[~np.isfinite(values) | ~(largest < arithmetic.results.largest)] = np.inf
    return Segment(Ball(values, radii, arithmetic), add + (grow - size) * known)


def scan(p: NDArray[Any], q: NDArray[Any], before: NDArray[Any] | float = 0.0) -> NDArray[Any]:
    """`c_t = p_t c_{t-1} + q_t` for every t, in the dtype and the shape of q."""
    c = np.empty_like(q)
    for t in range(len(q)):
        np.multiply(p[t], before, out=c[t])
        c[t] += q[t]
        before = c[t]
    return c


def tells(activation: Activation, p: Ball) -> bool:
    """Whether an output `o a(c)` can tell c: it must rise with c, whatever its own rounding."""
    return activation.rises and activation.relative * p.arithmetic.unit < 0.25


def looked_at(segment: Segment, output: Output, keep: Keep) -> Ball:
    """The ball of c after a segment, cut down by each sample's last output that no mask hid."""
    c = segment.c[-1]
    if keep is None:
        return allowed(c, segment.own[-1], output.of(-1))
    count, samples = len(keep), np.arange(keep.shape[1])
    last = count - 1 - keep[::-1, :, 0].argmax(axis=0)
    looked = allowed(c, segment.own[last, samples], output.of((last, samples)))
    return looked.where(np.any(keep, axis=0), c)


def allowed(c: Ball, own: NDArray[Any], output: Output) -> Ball:
    """What is left of the ball `c` `(B, H)` where its output was observed.

    The step may have been computed once for the output and once for what is carried: both are
    within `own` of what exact arithmetic makes of the c before. What lies above the carried ball's
    new upper end would show a greater output than was seen; the end is found by bisection on the
    formula itself. Nothing is cut where the gate is not known to be open, nor where nothing would
    be left: then the output itself is beyond its bound.
    """
    sign, o = np.sign(output.o.value), output.o
    gate = Ball(np.abs(o.value), o.radius, o.arithmetic)
    least, most = (sign * output.seen.value + way * output.seen.radius for way in (-1.0, 1.0))

    def beyond(x: Array) -> NDArray[np.bool_]:
        """Whether x[0] is too large a c, and x[1] too small a one."""
        h = lstm_output(lambda z: apply(output.activation, z), gate, Ball.exact(x, o.arithmetic))
        return np.stack(
            [h.value[0] - h.radius[0] > most, h.value[1] + h.radius[1] < least],
        )

    reach = c.radius.astype(np.float64)
    worth = np.isfinite(reach) & (reach > GROWN * own) & (gate.value > 2 * gate.radius)
    if not worth.any():
        return c
    outer = np.stack([c.value + reach, c.value - reach])
    inner = outer[::-1].copy()
    cut = beyond(outer) & ~beyond(inner).any(axis=0) & worth
    for _ in range(HALVINGS):
        middle = 0.5 * (inner + outer)
        out = beyond(middle)
        outer = np.where(cut & out, middle, outer)
        inner = np.where(cut & ~out, middle, inner)
    high = np.minimum(c.value + reach, outer[0] + 2.0 * own)
    low = np.maximum(c.value - reach, outer[1] - 2.0 * own)
    middle = 0.5 * (high + low)
    radius = (0.5 * (high - low) + np.abs(middle) * 2.0**-52) * SLACK
    left = cut.any(axis=0) & (low <= high)
    return Ball(middle, radius.astype(c.radius.dtype), c.arithmetic).where(left, c)
