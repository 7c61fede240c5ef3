"""The fault catalogue. A new cell adds its own faults in a module beside these."""

from rnn_parity.faults import common, orders, timing, weights
from rnn_parity.faults.fault import Computation, Fault

STALE = Fault(
    "final-state-stale",
    "the returned final state is not that of the last output",
    lambda c: iter(()),
)
FAULTS: tuple[Fault, ...] = (*common.FAULTS, *timing.FAULTS, STALE, *orders.FAULTS, *weights.FAULTS)

__all__ = ["FAULTS", "STALE", "Computation", "Fault"]
