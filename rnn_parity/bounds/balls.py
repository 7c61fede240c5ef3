"""Mid-radius arithmetic: where the result of correct arithmetic can lie, whatever its order.

A `Ball` is `value` (float64) and `radius`: the exact value of what the observed arithmetic computes
lies within `radius` of `value`. A `Sum` is an addition that is not finished yet; rounding it to a
ball covers every order of its terms, with or without fused multiply-add (Higham, "Accuracy and
Stability of Numerical Algorithms", 2nd ed., section 3.1). `u` is the unit roundoff,
`eta` the smallest normal number, below which implementations may flush to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.magnitudes import gamma, narrow
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Array
from rnn_parity.recurrence.formula import Bias, Lettered

SLACK = 1 + 2.0**-18
"""Radii are computed in float32: each formula's few roundings (2**-24 each) stay far below this."""


@dataclass(frozen=True, eq=False)
class Ball(Lettered):
    """`value +- radius`, elementwise; operations round as `arithmetic` does, each one once.

    An implementation that rounds less often, by fused multiply-add, lies within as well.
    """

    value: Array
    radius: NDArray[Any]
    arithmetic: Arithmetic

    @classmethod
    def exact(cls, value: Array, arithmetic: Arithmetic) -> Ball:
        """A number that is known."""
        return cls(value, np.zeros((), arithmetic.radius_dtype), arithmetic)

    def ball(self) -> Ball:
        """Itself: a `Sum` that is finished already."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """That of `value`."""
        return self.value.shape

    @property
    def spread_out(self) -> Ball:
        """The same ball, with a radius for each number."""
        if self.radius.ndim:
            return self
        return Ball(self.value, np.full(self.shape, self.radius), self.arithmetic)

    def __getitem__(self, part: Any) -> Ball:
        radius = self.radius[part] if self.radius.ndim else self.radius
        return Ball(self.value[part], radius, self.arithmetic)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, (Sum, Bias)):
            return self.term() + other
        ball = self._other(other)
        if ball is None:
            return NotImplemented
        return self._rounded(self.value + ball.value, self.radius + ball.radius, ball)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __neg__(self) -> Ball:
        return Ball(-self.value, self.radius, self.arithmetic)

    def __mul__(self, factor: Any) -> Any:
        other = self._other(factor.ball() if isinstance(factor, Sum) else factor)
        if other is None:
            return NotImplemented
        x, y = (narrow(ball.value, self.arithmetic.radius_dtype) for ball in (self, other))
        radius = x * other.radius
        radius = radius + (y + other.radius) * self.radius
        return self._rounded(self.value * other.value, radius, other)

    __rmul__ = __mul__

    def _other(self, number: Any) -> Ball | None:
        """The other number of an operation; None for one that knows better how it is done."""
        if isinstance(number, Ball):
            return number
        return constant(number, self.arithmetic) if isinstance(number, (int, float)) else None

    def _rounded(self, value: Array, radius: NDArray[Any], other: Ball) -> Ball:
        """The result of an operation on this ball and `other`, rounded once."""
        results = self.arithmetic.results
        size = narrow(value, self.arithmetic.radius_dtype)
        radius = radius * SLACK + (size + radius) * (self.arithmetic.unit * SLACK)
        radius += results.smallest_normal
        if not float(size.max()) + float(radius.max()) < results.largest:
            radius[~(size + radius < results.largest)] = np.inf
        if not np.isfinite(value).all():
            for_sure = False
            for ball in (self, other):
                for_sure = for_sure | (np.isnan(ball.value) & (ball.radius == 0))
            radius[~np.isfinite(value)] = np.inf
            radius[np.isnan(value) & for_sure] = 0
        return Ball(value, radius, self.arithmetic)

    def term(self) -> Sum:
        """One more addend of a sum, of whatever order."""
        size = narrow(self.value, self.arithmetic.radius_dtype) + self.radius
        return Sum.of(self.arithmetic, self.value, size, 1, self.radius)

    def where(self, keep: NDArray[np.bool_], other: Ball) -> Ball:
        """This ball where `keep`, `other` elsewhere."""
        return Ball(
            np.where(keep, self.value, other.value),
            np.where(keep, self.radius, other.radius),
            self.arithmetic,
        )

    @property
    def vacuous(self) -> bool:
        """Whether some radius is infinite: anything could be right there."""
        return bool(np.isinf(self.radius).any())


@dataclass(frozen=True, eq=False)
class Sum(Lettered):
    """An addition that is not rounded yet: `terms` numbers, a product counted as one of them.

    `value` is its float64 value, `magnitude` at least the sum of its terms' absolute values.
    `parts` bounds any partial result of its `count` separately computed parts (`x U`, `b`, `h W`),
    and `spread` is what the radii of the terms add up to; both are 0 where they do not matter.
    """

    arithmetic: Arithmetic
    value: Array
    magnitude: NDArray[Any]
    terms: int
    parts: Array | float = 0.0
    spread: NDArray[Any] | float = 0.0
    count: int = 1

    @classmethod
    def of(
        cls,
        arithmetic: Arithmetic,
        value: Array,
        magnitude: NDArray[Any],
        products: int,
        spread: NDArray[Any] | float = 0.0,
    ) -> Sum:
        """The sum of so many products, computed as one part."""
        parts = np.abs(value) + spread if arithmetic.narrow else 0.0
        return cls(arithmetic, value, magnitude, products, parts, spread)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of `value`."""
        return self.value.shape

    def __getitem__(self, part: Any) -> Sum:
        own = np.asarray(self.parts), np.asarray(self.spread)
        parts, spread = (a[part] if a.ndim else float(a) for a in own)
        value, magnitude = self.value[part], self.magnitude[part]
        return Sum(self.arithmetic, value, magnitude, self.terms, parts, spread, self.count)

    def __add__(self, addend: Any) -> Any:
        if isinstance(addend, Bias):
            return self.with_bias(addend)
        if isinstance(addend, (int, float)):
            addend = constant(addend, self.arithmetic)
        other = addend.term() if isinstance(addend, Ball) else addend
        if not isinstance(other, Sum):
            return NotImplemented
        return Sum(
            self.arithmetic,
            self.value + other.value,
            self.magnitude + other.magnitude,
            self.terms + other.terms,
            self.parts + other.parts,
            self.spread + other.spread,
            self.count + other.count,
        )

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __neg__(self) -> Sum:
        return replace(self, value=-self.value)

    def __mul__(self, factor: Any) -> Any:
        return self.ball() * factor

    __rmul__ = __mul__

    def with_bias(self, bias: Bias) -> Sum:
        """This sum and a bias, `(N,)`, which may be added in several parts."""
        total = self
        for addend in bias.addends:
            size = np.abs(addend)
            total = replace(
                total,
                magnitude=total.magnitude + size.astype(total.magnitude.dtype),
                terms=total.terms + 1,
                parts=total.parts + size if self.arithmetic.narrow else 0.0,
                count=total.count + 1,
            )
        return total if bias.array is None else replace(total, value=total.value + bias.array)

    def ball(self) -> Ball:
        """Rounded, for any order: `gamma(n) magnitude + (1 + gamma(n)) spread + n eta`.

        Where results are narrower than sums, every part and every sum of parts (one rounding more
        than there are parts at most, of numbers not above `parts`) is rounded once more.
        """
        sums, results = self.arithmetic.sums, self.arithmetic.results
        g = gamma(self.terms, self.arithmetic.unit_sum) * SLACK
        if not np.isfinite(g):
            return Ball(self.value, np.full_like(self.magnitude, np.inf), self.arithmetic)
        radius = self.magnitude * g
        if np.ndim(self.spread) or self.spread:
            radius += (1 + g) * self.spread
        if results != sums:
            roundings = self.count + 1
            radius += gamma(roundings, self.arithmetic.unit) * SLACK * (self.parts + radius)
            radius += roundings * results.smallest_normal
        radius += self.terms * sums.smallest_normal
        # Beyond the largest number some order of the terms overflows: nothing can be proven there.
        if not self.magnitude.max() < results.largest:
            radius[~(self.magnitude < results.largest)] = np.inf
        if not np.isfinite(self.value).all():
            radius[~np.isfinite(self.value) & np.isfinite(radius)] = 0  # infinity or NaN for sure
        return Ball(self.value, radius, self.arithmetic)


def constant(number: float, arithmetic: Arithmetic) -> Ball:
    """A number in a formula, which an implementation may have to round."""
    results, size = arithmetic.results, abs(number)
    radius = 0.0 if float(results.round(number)) == number else size * arithmetic.unit
    if 0 < size < results.smallest_normal:
        radius = size  # it may be flushed to zero
    if size > results.largest:
        radius = np.inf
    radii = np.full((), radius * SLACK, arithmetic.radius_dtype)
    return Ball(np.full((), float(number)), radii, arithmetic)


def concatenated(balls: Sequence[Ball]) -> Ball:
    """Balls of one arithmetic, one after the other along the first axis."""
    value = np.concatenate([ball.value for ball in balls])
    radius = np.concatenate([np.broadcast_to(ball.radius, ball.shape) for ball in balls])
    return Ball(value, radius, balls[0].arithmetic)


def copied(value: Array, arithmetic: Arithmetic) -> Ball:
    """A number that is only handed on: one rounding, and a flush to zero. What is not finite stays
    what it is.
    """
    size = np.where(np.isfinite(value), np.abs(value), 0.0)
    radius = size * arithmetic.unit + arithmetic.results.smallest_normal
    return Ball(value, radius.astype(arithmetic.radius_dtype), arithmetic)


@np.errstate(all="ignore")
def apply(activation: Activation, z: Any) -> Ball:
    """`f(z)`: what z's radius becomes under f, and f's own allowance."""
    argument = z.ball()
    y = activation(argument.value)
    before = np.broadcast_to(argument.radius, argument.shape)
    radius = activation.spread(argument.value, y, before)
    radius *= SLACK
    size = narrow(y, radius.dtype.type)
    arithmetic = argument.arithmetic
    radius += activation.allowance(argument.value, size, arithmetic.unit * SLACK)
    radius += arithmetic.results.smallest_normal
    largest = arithmetic.results.largest
    if not float(size.max()) + float(radius.max()) < largest:
        radius[size + radius >= largest] = np.inf
    if np.isinf(before).any():  # then it may be NaN, which no activation mends
        radius[np.isinf(before)] = np.inf
    if not np.isfinite(y).all():
        radius = np.where(np.isfinite(y), radius, np.where(before == 0, 0, np.inf))
    if not activation.limits and np.isinf(argument.value).any():
        unknown = np.isinf(argument.value)
        radius[unknown if activation.coupling is None else unknown.any(axis=-1)] = np.inf
    return Ball(y, radius, arithmetic)
