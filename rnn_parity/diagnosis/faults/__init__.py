"""The fault catalogue, by what the mistakes are about; what a cell alone can have is in `cells`."""

from __future__ import annotations

from rnn_parity.diagnosis.catalogue import named_faults
from rnn_parity.diagnosis.faults import cells, sequences, states, weights
from rnn_parity.diagnosis.faults.fault import Computation, Fault
from rnn_parity.diagnosis.faults.states import STALE
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


__all__ = ["FAULTS", "STALE", "Computation", "Fault", "faults_of", "named_faults"]
