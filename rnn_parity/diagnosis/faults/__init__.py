"""The fault catalogue. A new cell adds its own faults in a module beside these."""

from rnn_parity.diagnosis.faults import common, gates, gru, inputs, lstm, timing, units, weights
from rnn_parity.diagnosis.faults.fault import Computation, Fault
from rnn_parity.diagnosis.faults.final import STALE
from rnn_parity.recurrence.layers import Layer

FAULTS: tuple[Fault, ...] = (
    *common.FAULTS,
    *gates.FAULTS,
    *lstm.FAULTS,
    *gru.FAULTS,
    *timing.FAULTS,
    STALE,
    *units.FAULTS,
    *inputs.FAULTS,
    *weights.FAULTS,
)


def faults_of(layer: Layer) -> list[Fault]:
    """Those of the catalogue that a layer of this class can have."""
    return [fault for fault in FAULTS if type(layer).__name__ in fault.layers]


__all__ = ["FAULTS", "STALE", "Computation", "Fault", "faults_of"]
