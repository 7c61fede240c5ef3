"""What a sweep found: frozen data on every configuration, and on the causes of what failed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnn_parity.verdict.configuration import Configuration
from rnn_parity.verdict.order import Status
from rnn_parity.verdict.plain_data import PlainData
from rnn_parity.verdict.results import Cause, Divergence

NOT_COMPARED = ("refused", "failed")
"""What is said of a configuration that has no verdict, and so no numbers."""


@dataclass(frozen=True)
class DifferenceText:
    """What is said of a known difference: its id, where it was seen, and what would be right.

    `keras` names the versions, of Keras or of another `program`; `wrong` and `right` are sentences
    without their full stop.
    """

    id: str
    keras: str = field(kw_only=True)
    wrong: str = field(kw_only=True)
    right: str = field(kw_only=True)
    program: str = field(default="Keras", kw_only=True)

    @property
    def seen_in(self) -> str:
        """The program and its versions."""
        return f"{self.program} {self.keras}"

    @property
    def versions(self) -> str:
        """The versions, of Keras where no other program is named."""
        return self.keras if self.program == "Keras" else self.seen_in


Array = NDArray[np.float64]
Kind: TypeAlias = tuple[Status, bool]
"""A verdict, and whether numbers are behind it: outputs of another shape have none."""


@dataclass(frozen=True, eq=False)
class Outcome(PlainData):
    """What came of one configuration: the verdict on the worst of its calls, or why there is none.

    The rest is as in a report's check; what was not compared is None or empty.
    """

    verdict: Status
    summary: str
    seconds: float = 0.0
    max_ratio: float | None = None
    effective_bits: float | None = None
    arithmetic: str | None = None
    call: int | None = None
    max_deviation: float | None = None
    first_divergence: Divergence | None = None

    @property
    def kind(self) -> Kind:
        """What failures have in common that may have one cause."""
        return self.verdict, self.max_ratio is not None


@dataclass(frozen=True, eq=False)
class CallNumbers(PlainData):
    """One call: what went in, what came out, and the replay; states h before an LSTM's c."""

    inputs: Array
    mask: NDArray[np.bool_] | None
    initial_state: tuple[Array, ...]
    outputs: Array
    final_state: tuple[Array, ...]
    expected: Array
    expected_state: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Numbers(PlainData):
    """The weights of a layer, and its calls.

    Of a `Bidirectional` those of its backward layer; `forward` are the other one's. `zeroed` tells
    whether masked outputs are zeros, which a `Bidirectional` decides by itself.
    """

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    calls: tuple[CallNumbers, ...]
    forward: Numbers | None = None
    zeroed: bool = False


@dataclass(frozen=True, eq=False)
class Finding(PlainData):
    """One cause of failures: the simplest configuration that shows it, what came of that, and who
    else in the sweep shows it. `known` is the mistake of Keras's that it proves to be, if any.

    A failure in the sweep is a member of one finding. `behind` are those that show this one, too,
    once an option of what they fail by is taken away. `causes` are those that a check of
    `configuration` names; `numbers` are None where nothing was compared.
    """

    configuration: Configuration
    outcome: Outcome
    causes: tuple[Cause, ...]
    numbers: Numbers | None
    members: tuple[Configuration, ...]
    known: DifferenceText | None
    behind: tuple[Configuration, ...] = ()

    @property
    def verdict(self) -> Status:
        """What it and its members have in common: anything but "parity"."""
        return self.outcome.verdict


@dataclass(frozen=True, eq=False)
class Swept(PlainData):
    """What a sweep found: the outcome of every configuration, in order, and the causes behind them.

    `new` counts what was checked now and not read from a file, in `seconds`, by `workers`.
    `unexplained` failed, but there were too many causes to look into them all. `scripts` are the
    files that show the findings of some configurations. `looked_into` counts the checks that made
    small what failed, none of which is among the outcomes; these and the search for causes took
    `seconds_of_looking`. `not_handed_over` are the options that were left out because a function's
    signature does not have what they are about, by its name. `left_out` is what Keras refuses, one
    example each, and nothing was asked for.
    """

    environment: Mapping[str, str | None]
    outcomes: Mapping[Configuration, Outcome]
    findings: tuple[Finding, ...]
    unexplained: tuple[Configuration, ...]
    new: int
    seconds: float
    workers: int
    scripts: Mapping[Configuration, str] = field(default_factory=dict)
    looked_into: int = 0
    seconds_of_looking: float = 0.0
    not_handed_over: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: tuple[Finding, ...] = ()

    @property
    def checked(self) -> dict[Configuration, Outcome]:
        """What came to a check: nobody refused it, and no source failed."""
        return {c: o for c, o in self.outcomes.items() if o.verdict not in NOT_COMPARED}

    @property
    def speeds(self) -> dict[str, float]:
        """Checks per second of one worker, by mode."""
        seconds: dict[str, float] = defaultdict(float)
        number = Counter[str]()
        for configuration, outcome in self.outcomes.items():
            seconds[str(configuration["mode"])] += outcome.seconds
            number[str(configuration["mode"])] += 1
        return {mode: number[mode] / total for mode, total in seconds.items() if total}
