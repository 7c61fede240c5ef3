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
    from rnn_parity.recurrence.cells import GRU, LSTM, Cell, SimpleRNN
    from rnn_parity.recurrence.formula import split
    from rnn_parity.recurrence.time_loop import Trace
    from rnn_parity.report.report import Report
    from rnn_parity.verdict.order import Verdict
    from rnn_parity.verdict.results import (
        BlindSpot,
        Cause,
        Check,
        Divergence,
        HeatMap,
        ImpliedWeight,
        Sensitivity,
        Shape,
        StateRow,
        Subject,
        TimestepRow,
    )

    __version__: str

__all__ = [
    "GRU",
    "LSTM",
    "BlindSpot",
    "Cause",
    "Cell",
    "Check",
    "Divergence",
    "HeatMap",
    "ImpliedWeight",
    "InputError",
    "Report",
    "RnnParityError",
    "Sensitivity",
    "Shape",
    "SimpleRNN",
    "StateRow",
    "Subject",
    "TimestepRow",
    "Trace",
    "Verdict",
    "__version__",
    "check",
    "compare",
    "replay",
    "split",
]

_NAMES_BY_MODULE = {
    "api.functions": ("check", "compare", "replay"),
    "errors": ("InputError", "RnnParityError"),
    "recurrence.formula": ("split",),
    "recurrence.cells": ("Cell", "GRU", "LSTM", "SimpleRNN"),
    "recurrence.time_loop": ("Trace",),
    "report.report": ("Report",),
    "verdict.results": (
        *("BlindSpot", "Cause", "Check", "Divergence", "HeatMap", "ImpliedWeight"),
        *("Sensitivity", "Shape", "StateRow", "Subject", "TimestepRow"),
    ),
    "verdict.order": ("Verdict",),
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, imported from its module on first use (PEP 562)."""
    if name == "__version__":
        from rnn_parity.system.environment import own_version

        return own_version()
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The public names alone: completion shows what is for people."""
    return sorted(__all__)
