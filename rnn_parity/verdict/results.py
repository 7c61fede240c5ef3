"""What a check found: frozen data with the names of the JSON document, and no formatting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from rnn_parity.verdict.order import Verdict
from rnn_parity.verdict.plain_data import LATE, PlainData


@dataclass(frozen=True, eq=False)
class Subject(PlainData):
    """What was checked: `kind` is "generated", "model", "case" or "layer"."""

    kind: str = "layer"
    path: str | None = None
    layer_class: str = ""
    layer_name: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    mode: str | None = None
    against: str | None = None
    call: int | None = None
    """Which call of the layer this is, from 0; None for a layer that was called once."""
    kernel: str | None = None
    """What computed it, one of the names in `keras_adapter.kernel`; None where nobody knows."""


@dataclass(frozen=True)
class Shape:
    """The sizes of one check."""

    batch: int
    timesteps: int
    features: int
    units: int


@dataclass(frozen=True)
class Mask:
    """How many of all `steps`, timesteps of a sample, are `masked`, and where these stand in it.

    `pattern` is "right" where each sample is masked at its end or not at all, "left" at its
    beginning, "scattered" for any other, "none" where nothing is masked and "all" where all is.
    """

    pattern: str
    masked: int
    steps: int

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Mask:
        """Of a mask `(B, T)` in the order of the inputs, True where a step counts."""
        masked = int(mask.size - np.count_nonzero(mask))
        ends = {"none": not masked, "all": masked == mask.size}
        ends |= {"right": bool((mask[:, 1:] <= mask[:, :-1]).all())}
        ends |= {"left": bool((mask[:, 1:] >= mask[:, :-1]).all())}
        pattern = next((name for name, is_so in ends.items() if is_so), "scattered")
        return cls(pattern, masked, mask.size)


@dataclass(frozen=True, eq=False)
class TimestepRow(PlainData):
    """The largest numbers of one timestep; `batch` and `unit` point at its largest ratio, whose
    bound is `bound`.
    """

    timestep: int
    max_deviation: float
    max_ulp: int
    max_residual: float
    max_ratio: float
    batch: int
    unit: int
    bound: float


@dataclass(frozen=True, eq=False)
class ModelOutput(PlainData):
    """One output of a whole model beside that of its export, reported as it is.

    `tensor` is the export's output (None where none has its shape). `effective_bits` are the
    leading bits that the two have in common, on the scale of the whole output. It `differs` where
    those are fewer than rounding leaves; `first_layer` is then the first one after which nothing in
    the export is what the model computes. No bound is proven for what is around recurrent layers.
    """

    name: str
    tensor: str | None
    max_deviation: float
    effective_bits: float
    differs: bool
    first_layer: str | None
    path: str | None = None
    against: str | None = None


@dataclass(frozen=True, eq=False)
class StateRow(PlainData):
    """One final state ("h", an LSTM's "c", or the separately returned last "output")."""

    name: str
    max_deviation: float
    max_ulp: int
    max_ratio: float
    batch: int
    unit: int


@dataclass(frozen=True, eq=False)
class Timesteps(PlainData, Sequence[TimestepRow]):
    """The rows of all timesteps, kept as columns (each `(T,)`): a million steps stay small."""

    max_deviation: NDArray[np.float64]
    max_ulp: NDArray[np.float64]
    max_residual: NDArray[np.float64]
    max_ratio: NDArray[np.float64]
    batch: NDArray[np.int64]
    unit: NDArray[np.int64]
    bound: NDArray[np.float64]

    @classmethod
    def empty(cls, count: int) -> Timesteps:
        """`count` rows to be filled in."""
        return cls(*(np.zeros(count, kind) for kind in (float,) * 4 + (int,) * 2 + (float,)))

    def __len__(self) -> int:
        return len(self.max_ratio)

    @overload
    def __getitem__(self, t: int) -> TimestepRow: ...
    @overload
    def __getitem__(self, t: slice) -> list[TimestepRow]: ...
    def __getitem__(self, t: int | slice) -> TimestepRow | list[TimestepRow]:
        if isinstance(t, slice):
            return [self[i] for i in range(*t.indices(len(self)))]
        t = range(len(self))[t]
        return TimestepRow(
            t,
            float(self.max_deviation[t]),
            whole(self.max_ulp[t]),
            float(self.max_residual[t]),
            float(self.max_ratio[t]),
            int(self.batch[t]),
            int(self.unit[t]),
            float(self.bound[t]),
        )

    def __repr__(self) -> str:
        return f"Timesteps({len(self)})"

    def __iter__(self) -> Iterator[TimestepRow]:
        return (self[t] for t in range(len(self)))


def whole(ulps: float) -> int:
    """A distance in ULPs as an integer; what none can hold (infinity, NaN) is 2**63 - 1."""
    return int(ulps) if ulps < 2.0**63 else 2**63 - 1


MOST_CELLS = 96
"""The most rows and columns of a heat map. Chosen: of twice as many a picture shows no more, and
takes four times the room."""
NOT_WRITTEN: Mapping[str, bool] = {"document": False}
"""The metadata of a field that is too large for the JSON document, which leaves it out."""


@dataclass(frozen=True, eq=False)
class HeatMap(PlainData):
    """The largest ratio to the bound in each cell of a grid, timesteps by units, over all samples.

    `ratio` is `(R, C)`; cell `[i, j]` holds the timesteps from `timesteps[i]` up to
    `timesteps[i + 1]` and the units from `units[j]` up to `units[j + 1]`. The largest is taken, and
    NaN for larger than any number: however many cells fall together, none above its bound is lost.
    """

    ratio: NDArray[np.float64]
    timesteps: NDArray[np.int64]
    units: NDArray[np.int64]

    @classmethod
    def empty(cls, timesteps: int, units: int) -> HeatMap:
        """A heat map of so many timesteps and units, to be filled in."""
        edges = [
            np.linspace(0, count, min(count, MOST_CELLS) + 1).astype(np.int64)
            for count in (timesteps, units)
        ]
        return cls(np.zeros([len(one) - 1 for one in edges]), *edges)

    def include(self, first: int, ratio: NDArray[Any]) -> None:
        """Enter the largest ratios `(t, H)` of the timesteps from `first` on."""
        last = first + len(ratio)
        start, stop = np.searchsorted(self.timesteps, (first, last - 1), "right")
        rows = slice(start - 1, stop)
        cells = largest(ratio, np.maximum(self.timesteps[rows] - first, 0), 0)
        cells = largest(cells, self.units[:-1], 1)
        np.maximum(self.ratio[rows], cells, out=self.ratio[rows])

    def coarser(self, timesteps: int, units: int) -> HeatMap:
        """This heat map with at most so many rows and columns, again by maximum."""
        rows, columns = (
            np.linspace(0, count, min(count, most) + 1).astype(np.int64)
            for count, most in zip(self.ratio.shape, (timesteps, units), strict=True)
        )
        ratio = largest(largest(self.ratio, rows[:-1], 0), columns[:-1], 1)
        return HeatMap(ratio, self.timesteps[rows], self.units[columns])

    def beside(self, other: HeatMap) -> HeatMap:
        """This heat map, and that of further samples."""
        return replace(self, ratio=np.maximum(self.ratio, other.ratio))

    def __repr__(self) -> str:
        return "HeatMap({} x {})".format(*self.ratio.shape)


def largest(array: NDArray[Any], starts: NDArray[np.int64], axis: int) -> NDArray[Any]:
    """The largest numbers of the parts of an axis that begin at `starts`."""
    alone = len(starts) == array.shape[axis]
    return array if alone else np.maximum.reduceat(array, starts, axis)


@dataclass(frozen=True, eq=False)
class Divergence(PlainData):
    """The first element beyond its bound, in timestep, then batch, then unit order."""

    origin: ClassVar[str] = "one step from the observed state before"
    """How the expected number was found."""
    included: ClassVar[str] = ""
    """What is part of the bound beside rounding, as a clause."""

    timestep: int
    batch: int
    unit: int
    observed: float
    expected: float
    bound: float


class MergeDivergence(Divergence):
    """The first of a `Bidirectional`'s merged outputs that is beyond its bound."""

    origin: ClassVar[str] = "from what the two layers returned"


class PrintedDivergence(Divergence):
    """The first of printed numbers that is further off than rounding and its printed digits."""

    included: ClassVar[str] = ", the printed digits included"


@dataclass(frozen=True)
class Cause:
    """A known mistake that reproduces the observed numbers within rounding, and what to do."""

    fault: str
    explanation: str
    effective_bits: float | None
    remedy: str = ""


@dataclass(frozen=True)
class BlindSpot:
    """A mistake that this very check could not have shown, and why."""

    fault: str
    reason: str


@dataclass(frozen=True)
class Sensitivity:
    """Which faults a passing check would have shown."""

    visible: tuple[str, ...]
    blind: tuple[BlindSpot, ...]

    def __eq__(self, other: object) -> bool:
        """Equal to one that says the same, and to one that will, which is worked out for this."""
        if self is other:
            return True
        if not isinstance(other, Sensitivity):
            return NotImplemented
        return (self.visible, self.blind) == (other.visible, other.blind)


class LaterSensitivity(Sensitivity):
    """A sensitivity that is worked out when somebody looks at it."""

    def __init__(self, work_out: Callable[[], Sensitivity]) -> None:
        object.__setattr__(self, "work_out", work_out)

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet."""
        if name not in ("visible", "blind"):
            raise AttributeError(name)
        found = object.__getattribute__(self, "work_out")()
        object.__setattr__(self, "visible", found.visible)
        object.__setattr__(self, "blind", found.blind)
        object.__delattr__(self, "work_out")
        return getattr(found, name)

    def __reduce__(self) -> tuple[type[Sensitivity], tuple[Any, ...]]:
        """Pickled and copied as what it turns out to be."""
        return Sensitivity, (self.visible, self.blind)

    def __repr__(self) -> str:
        """What is not worked out yet is not worked out for this."""
        known = is_known(self)
        return repr(Sensitivity(self.visible, self.blind)) if known else "Sensitivity(...)"


def is_known(sensitivity: Sensitivity) -> bool:
    """Whether a sensitivity has been worked out already."""
    return not isinstance(sensitivity, LaterSensitivity) or "visible" in vars(sensitivity)


@dataclass(frozen=True, eq=False)
class ImpliedWeight(PlainData):
    """One weight entry as the observed numbers imply it; `sigma` counts standard errors."""

    weight: str
    index: tuple[int, ...]
    expected: float
    implied: float
    sigma: float


@dataclass(frozen=True, eq=False)
class Check(PlainData):
    """One layer call held against its replay.

    `shape`, `effective_bits`, `max_deviation`, `max_ratio` and `resolution` are None when nothing
    was compared. `resolution` is how wide the widest bound of a unit is beside its own numbers.
    `mask` is None where there was none.
    `notes` are sentences that qualify the result (an estimated bound, an unusual arithmetic).
    `heat_map` is None where no sequence was compared.
    """

    subject: Subject
    verdict: Verdict
    summary: str
    shape: Shape | None = None
    dtype: str | None = None
    arithmetic: str | None = None
    effective_bits: float | None = None
    max_deviation: float | None = None
    max_ratio: float | None = None
    resolution: float | None = None
    timesteps: Sequence[TimestepRow] = ()
    final_state: tuple[StateRow, ...] = ()
    first_divergence: Divergence | None = None
    causes: tuple[Cause, ...] = ()
    implied_weights: tuple[ImpliedWeight, ...] | None = None
    sensitivity: Sensitivity | None = field(default=None, metadata=LATE)
    notes: tuple[str, ...] = ()
    mask: Mask | None = None
    heat_map: HeatMap | None = field(default=None, repr=False, metadata=NOT_WRITTEN)


@dataclass(frozen=True, eq=False)
class Change(PlainData):
    """How one check differs from what it was: `kind` is "gone", "worse", "new" or "better".

    `before` and `now` are its verdicts, None where there was, or is, no such check; the same with
    its effective bits.
    """

    kind: str
    check: str
    before: str | None
    bits_before: float | None
    now: str | None
    bits_now: float | None
    summary: str


@dataclass(frozen=True, eq=False)
class Baseline(PlainData):
    """What differs from the earlier report in the file `path`, and how many checks do not."""

    path: str
    changes: tuple[Change, ...]
    unchanged: int


@dataclass(frozen=True)
class TargetError:
    """A target that could not be checked: its path as it was given, and why, in one line.

    Or one of several other implementations that could not be compared with a target, by its name in
    `against`; the path is None where the target is no file. `exit_code` is 2, or 1 where another
    implementation crashed.
    """

    path: str | None
    message: str
    exit_code: int = 2
    against: str | None = None

    @property
    def has_failed(self) -> bool:
        """Whether another implementation crashed, which is no refusal and never passes."""
        return self.exit_code == 1
