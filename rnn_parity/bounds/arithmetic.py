"""How an implementation may compute: the precision of its sums and that of its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_parity.recurrence.precision import FLOAT32, FLOAT64, Precision


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
    def narrow(self) -> bool:
        """Whether results are narrower than sums."""
        return self.results != self.sums

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


def arithmetics(precision: Precision) -> tuple[Arithmetic, ...]:
    """The arithmetics that are legitimate for a layer of this precision, the sharpest first."""
    if precision.digits >= FLOAT32.digits:
        return (Arithmetic(precision, precision),)
    return Arithmetic(FLOAT32, precision), Arithmetic(precision, precision)
