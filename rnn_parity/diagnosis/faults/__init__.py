"""The fault catalogue, by what the mistakes are about; what a cell alone can have is in `cells`."""

from rnn_parity.diagnosis.faults import cells, masks, order, states, weights
from rnn_parity.diagnosis.faults.fault import EVERY_LAYER, Computation, Fault
from rnn_parity.diagnosis.faults.states import STALE
from rnn_parity.recurrence.layers import Layer

FAULTS: tuple[Fault, ...] = (
    *weights.BIAS_AND_KERNEL_FAULTS,
    *states.INITIAL_STATE_FAULTS,
    *cells.ACTIVATION_FAULTS,
    *cells.GATE_FAULTS,
    *cells.LSTM_FAULTS,
    *cells.GRU_FAULTS,
    *order.DIRECTION_FAULTS,
    *masks.MASK_FAULTS,
    *order.SHIFT_FAULTS,
    STALE,
    *order.UNIT_FAULTS,
    *order.FEATURE_FAULTS,
    *masks.DROPOUT_FAULTS,
    *weights.NUMBER_FAULTS,
)
"""Every fault, in the order in which causes and blind spots are listed."""


def faults_of(layer: Layer) -> list[Fault]:
    """Those of the catalogue that a layer of this class can have; of a user's own, general ones."""
    name = type(layer).__name__
    own = name not in EVERY_LAYER
    return [f for f in FAULTS if name in f.layers or (own and f.layers == EVERY_LAYER)]


__all__ = ["FAULTS", "STALE", "Computation", "Fault", "faults_of"]
