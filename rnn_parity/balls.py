"""Mid-radius arithmetic: where the result of correct arithmetic can lie, whatever its order.

A `Ball` is `value` (float64) and `radius`: the exact value of what the observed arithmetic computes
lies within `radius` of `value`. A `Sum` is an addition that is not finished yet; rounding it to a
ball covers every order of its terms, with or without fused multiply-add (Higham, "Accuracy and
Stability of Numerical Algorithms", 2nd ed., section 3.1). `u` is the unit roundoff,
`eta` the smallest normal number, below which implementations may flush to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.activations import Activation
from rnn_parity.layers import Array
from rnn_parity.precision import FLOAT32, FLOAT64, Precision

SLACK = 1 + 2.0**-18
"""Radii are computed in float32: each formula's few roundings (2**-24 each) stay far below this."""


def gamma(n: int, u: float) -> float:
    """`n u / (1 - n u)`: the relative error of n roundings; infinite when the bound is vacuous."""
    return n * u / (1 - n * u) if n * u < 1 else np.inf


@dataclass(frozen=True)
class Arithmetic:
    """How an implementation computes: sums in `sums`, every result rounded to `results`."""

    sums: Precision
    results: Precision

    @property
    def name(self) -> str:
        """Short name for the report."""
        if self.sums == self.results:
            return self.results.name
        return f"{self.results.name}, sums in {self.sums.name}"

    @property
    def unit_sum(self) -> float:
        """Unit roundoff of sums; float64's is added because the replay itself rounds."""
        return self.sums.unit_roundoff + FLOAT64.unit_roundoff

    @property
    def unit(self) -> float:
        """Unit roundoff of results, likewise."""
        return self.results.unit_roundoff + FLOAT64.unit_roundoff

    @property
    def radius_dtype(self) -> type[np.floating[Any]]:
        """What radii are kept in: float32, unless float64 is under test."""
        return np.float64 if self.results == FLOAT64 else np.float32

    def sum_of(
        self,
        value: Array,
        magnitude: NDArray[Any],
        products: int,
        spread: NDArray[Any] | float = 0.0,
    ) -> Sum:
        """The sum of so many products, computed as one part."""
        parts = np.abs(value) + spread if self.results != self.sums else 0.0
        return Sum(self, value, magnitude, products, parts, spread)


def arithmetics(precision: Precision) -> tuple[Arithmetic, ...]:
    """The arithmetics that are legitimate for a layer of this precision, the sharpest first."""
    if precision.digits >= FLOAT32.digits:
        return (Arithmetic(precision, precision),)
    return Arithmetic(FLOAT32, precision), Arithmetic(precision, precision)


@dataclass(frozen=True, eq=False)
class Ball:
    """`value +- radius`, elementwise."""

    value: Array
    radius: NDArray[Any]

    def where(self, keep: NDArray[np.bool_], other: Ball) -> Ball:
        """This ball where `keep`, `other` elsewhere."""
        return Ball(
            np.where(keep, self.value, other.value), np.where(keep, self.radius, other.radius)
        )

    def squares(self) -> tuple[float, float]:
        """The sums of the squares of the radii and of the values, where both are finite."""
        radius, value = self.radius.ravel(), self.value.ravel()
        sums = float(np.vdot(radius, radius)), float(np.vdot(value, value))
        if np.isfinite(sums).all():
            return sums
        known = np.isfinite(value) & np.isfinite(radius)
        radius, value = radius[known].astype(np.float64), value[known]
        return float(np.vdot(radius, radius)), float(np.vdot(value, value))

    @property
    def vacuous(self) -> bool:
        """Whether some radius is infinite: anything could be right there."""
        return bool(np.isinf(self.radius).any())


@dataclass(frozen=True, eq=False)
class Sum:
    """An addition that is not rounded yet: `terms` numbers, a product counted as one of them.

    `value` is its float64 value, `magnitude` at least the sum of its terms' absolute values.
    `parts` bounds any partial result between separately computed parts (`x U`, `b`, `h W`), and
    `spread` is what the radii of the terms add up to; both are 0 where they do not matter.
    """

    arithmetic: Arithmetic
    value: Array
    magnitude: NDArray[Any]
    terms: int
    parts: Array | float = 0.0
    spread: NDArray[Any] | float = 0.0

    def __add__(self, other: Sum) -> Sum:
        return Sum(
            self.arithmetic,
            self.value + other.value,
            self.magnitude + other.magnitude,
            self.terms + other.terms,
            self.parts + other.parts,
            self.spread + other.spread,
        )

    def known_part(self, magnitude: Array) -> Sum:
        """This sum, whose value already holds one more addend `(N,)` of that magnitude: a bias."""
        wider = self.magnitude + magnitude.astype(self.magnitude.dtype)
        return Sum(self.arithmetic, self.value, wider, self.terms + 1, self.parts + 2 * magnitude)

    def ball(self) -> Ball:
        """Rounded, for any order: `gamma(n) magnitude + (1 + gamma(n)) spread + n eta`.

        Where results are narrower than sums, every part and every sum of parts (four roundings at
        most, of numbers not above `parts`) is rounded once more.
        """
        sums, results = self.arithmetic.sums, self.arithmetic.results
        g = gamma(self.terms, self.arithmetic.unit_sum) * SLACK
        if not np.isfinite(g):
            return Ball(self.value, np.full_like(self.magnitude, np.inf))
        radius = self.magnitude * g
        if not isinstance(self.spread, float):
            radius += (1 + g) * self.spread
        if results != sums:
            radius += gamma(4, self.arithmetic.unit) * SLACK * (self.parts + radius)
            radius += 4 * results.smallest_normal
        radius += self.terms * sums.smallest_normal
        # Beyond the largest number some order of the terms overflows: nothing can be proven there.
        if not self.magnitude.max() < results.largest:
            radius[self.magnitude >= results.largest] = np.inf
        if not np.isfinite(self.value).all():
            radius[~np.isfinite(self.value) & np.isfinite(radius)] = 0  # infinity or NaN for sure
        return Ball(self.value, radius)


def copied(value: Array, arithmetic: Arithmetic) -> Ball:
    """A number that is only handed on: one rounding, and a flush to zero."""
    radius = np.abs(value) * arithmetic.unit + arithmetic.results.smallest_normal
    return Ball(value, radius.astype(arithmetic.radius_dtype))


def coarse(radius_squares: float, value_squares: float) -> bool:
    """Whether radii exceed half of the values, in the root mean square.

    Numbers that have nothing to do with the right ones would pass then: nothing useful is proven.
    """
    return 4 * radius_squares > value_squares


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


def rows_by(a: NDArray[Any], matrix: NDArray[Any]) -> NDArray[Any]:
    """`a M` for `(..., K)` by `(K, N)` as one matrix product, not one for each leading index."""
    product: NDArray[Any] = np.dot(a.reshape(-1, a.shape[-1]), matrix)
    return product.reshape(*a.shape[:-1], matrix.shape[1])


def narrow(a: Array, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """`|a|` in the dtype of radii; the rounding is part of `Magnitudes`' allowance.

    0 where a is infinite or NaN: such a term decides the result without any rounding.
    """
    size: NDArray[Any] = np.abs(a, dtype=dtype, casting="same_kind")
    if not np.isfinite(size.max()):
        size[~np.isfinite(size)] = 0
    return size


@np.errstate(all="ignore")
def apply(activation: Activation, z: Sum) -> Ball:
    """`f(z)`: what z's radius becomes under f, and f's own allowance."""
    argument = z.ball()
    y = activation(argument.value)
    radius = activation.spread(argument.value, y, argument.radius)
    radius *= SLACK
    size = narrow(y, radius.dtype.type)
    radius += activation.allowance(argument.value, size, z.arithmetic.unit * SLACK)
    radius += z.arithmetic.results.smallest_normal
    largest = z.arithmetic.results.largest
    if not float(size.max()) + float(radius.max()) < largest:
        radius[size + radius >= largest] = np.inf
    if not np.isfinite(y).all():
        radius = np.where(np.isfinite(y), radius, np.where(argument.radius == 0, 0, np.inf))
    return Ball(y, radius)
