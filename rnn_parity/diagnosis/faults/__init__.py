"""The fault catalogue, by what the mistakes are about; what a cell alone can have is in `cells`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from rnn_parity.diagnosis.faults import cells, sequences, states, weights
from rnn_parity.diagnosis.faults.fault import Computation, Fault
from rnn_parity.diagnosis.faults.states import STALE
from rnn_parity.errors import InputError, nearest
from rnn_parity.recurrence.cells import Cell

FAULTS: tuple[Fault, ...] = (
    *weights.BIAS_AND_KERNEL_FAULTS,
    *states.INITIAL_STATE_FAULTS,
    *states.OTHER_STATE_FAULTS,
    *cells.ACTIVATION_FAULTS,
    *cells.GATE_FAULTS,
    *cells.LSTM_FAULTS,
    *cells.GRU_FAULTS,
    *sequences.DIRECTION_FAULTS,
    *sequences.MASK_FAULTS,
    *sequences.SHIFT_FAULTS,
    STALE,
    *sequences.UNIT_FAULTS,
    *sequences.FEATURE_FAULTS,
    *sequences.DROPOUT_FAULTS,
    *weights.NUMBER_FAULTS,
)
"""Every fault, in the order in which causes and blind spots are listed."""


def faults_of(layer: Cell) -> list[Fault]:
    """The faults of the catalogue that a layer of this class can have."""
    return [fault for fault in FAULTS if fault.applies_to(layer)]


def no_fault(word: str, ids: Sequence[str]) -> str:
    """What is said of a word that names no fault."""
    if "," in word:
        first = word.partition(",")[0].strip()
        return (
            "expected one fault, received several with commas; name each by itself: --ignore "
            f"{first} --ignore ..., or ignore=[{first!r}, ...]"
        )
    near = nearest(word, ids)
    expected = "expected the id of a fault, or a pattern with *, such as mask-*"
    return f"{f'no such fault{near} ' if near else ''}{expected}; rnn-parity faults lists them"


def named_faults(patterns: Iterable[str], where: str) -> tuple[str, ...]:
    """The ids of the faults that one of the patterns names, in which * stands for any letters.

    Raises `InputError`, which begins with `where`, for a pattern that names none.
    """
    ids = [fault.id for fault in FAULTS]
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for one in patterns:
        if not isinstance(one, str) or not any(fnmatchcase(id, one) for id in ids):
            raise InputError(f"{where} {one!r}: {no_fault(str(one), ids)}")
    return tuple(id for id in ids if any(fnmatchcase(id, one) for one in patterns))


__all__ = ["FAULTS", "STALE", "Computation", "Fault", "faults_of", "named_faults"]
