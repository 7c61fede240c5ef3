"""Numbers that are not finite: infinities and NaN that are right prove nothing.

A number that should be NaN, and is, was not compared with anything: one NaN hides whatever a
computation does with the numbers behind it. So a check needs finite numbers, in every unit, in
every sample, and in at least half of all places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnn_parity.verdict.sentences import (
    blank_note,
    blank_samples,
    blank_units,
    mostly_blank,
)


@dataclass(frozen=True, eq=False)
class Blanks:
    """How many of the expected numbers of one array are not finite.

    `count` `(B, H)` is how many of the `steps` `(B,)` of a sample that no mask hides; `name` says
    which array: "outputs", "output" (the last one) or a state's name. It is `beside` outputs where
    the whole sequence of these was compared, too.
    """

    name: str
    count: NDArray[np.int64]
    steps: NDArray[np.int64]
    beside: bool = False

    @classmethod
    def of_one(
        cls, name: str, finite: NDArray[np.bool_], counts: NDArray[np.bool_], beside: bool
    ) -> Blanks:
        """Of a state or a last output, `finite` `(B, H)`; `counts` `(B,)` tells which samples do,
        those that are not wholly masked.
        """
        count = (~finite & counts[:, np.newaxis]).astype(np.int64)
        return cls(name, count, counts.astype(np.int64), beside)

    @property
    def blank(self) -> int:
        """How many numbers are not finite."""
        return int(self.count.sum())

    @property
    def total(self) -> int:
        """How many numbers there are."""
        return int(self.steps.sum()) * int(self.count.shape[1])

    @property
    def nothing_finite(self) -> bool:
        """Whether no number is finite, of outputs or of a last output alone."""
        return self.blank == self.total and not self.beside

    def unproven(self) -> str:
        """Why the numbers that are finite are too few to prove anything; empty where they are not.

        Samples of a state are not asked for where their outputs were compared.
        """
        if not self.blank:
            return ""
        units = np.flatnonzero(self.count.sum(axis=0) == self.steps.sum())
        if len(units):
            return blank_units(units, self.name, self.count.shape[1])
        samples = (self.count.sum(axis=1) == self.steps * self.count.shape[1]) & (self.steps > 0)
        if samples.any() and not self.beside:
            return blank_samples(np.flatnonzero(samples))
        if 2 * self.blank > self.total:
            return f"{mostly_blank(self.blank, self.total, self.name)}, more than half of them"
        return ""


def notes_on_blanks(arrays: Sequence[Blanks]) -> list[str]:
    """A note on the numbers that are not finite, for each array that has some; where outputs have,
    a state beside them has those that follow, and no note of its own.
    """
    some = [one for one in arrays if one.blank]
    first = [one for one in some if not one.beside] or some
    return [blank_note(one.blank, one.total, one.name) for one in first]
