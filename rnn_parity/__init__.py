"""Proves or refutes that a Keras recurrent layer computes its recurrence.

    import rnn_parity as rp

    report = rp.check(layer_or_model, inputs)
    trace = rp.replay(layer_or_weights, inputs)
    report = rp.compare(rp.SimpleRNN(kernel, recurrent_kernel, bias), inputs, outputs)

Importing this package imports neither TensorFlow nor NumPy; the names below are found on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnn_parity.api.functions import check, compare, replay
    from rnn_parity.errors import InputError, RnnParityError
    from rnn_parity.recurrence.layers import GRU, LSTM, SimpleRNN
    from rnn_parity.report.report import Report
    from rnn_parity.verdict.order import Verdict
    from rnn_parity.verdict.results import Check

    __version__: str

__all__ = [
    "GRU",
    "LSTM",
    "Check",
    "InputError",
    "Report",
    "RnnParityError",
    "SimpleRNN",
    "Verdict",
    "__version__",
    "check",
    "compare",
    "replay",
]

_HOMES = {
    "check": "rnn_parity.api.functions",
    "compare": "rnn_parity.api.functions",
    "replay": "rnn_parity.api.functions",
    "SimpleRNN": "rnn_parity.recurrence.layers",
    "LSTM": "rnn_parity.recurrence.layers",
    "GRU": "rnn_parity.recurrence.layers",
    "Report": "rnn_parity.report.report",
    "Check": "rnn_parity.verdict.results",
    "Verdict": "rnn_parity.verdict.order",
    "InputError": "rnn_parity.errors",
    "RnnParityError": "rnn_parity.errors",
}


def __getattr__(name: str) -> Any:
    """The public names, each imported from its module on first use (PEP 562)."""
    if name == "__version__":
        from rnn_parity.system.environment import own_version

        return own_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What a person may use."""
    return sorted({*globals(), *__all__})
