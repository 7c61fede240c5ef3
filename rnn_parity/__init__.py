"""Proves or refutes that a Keras recurrent layer computes its recurrence.

    import rnn_parity as rp

    report = rp.check(layer_or_model, inputs)
    trace = rp.replay(layer_or_weights, inputs)
    report = rp.compare(rp.SimpleRNN(kernel, recurrent_kernel, bias), inputs, outputs)

Importing this package imports neither TensorFlow nor NumPy; the names below are found on first use.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnn_parity.check import check, compare, replay
    from rnn_parity.errors import InputError, RnnParityError
    from rnn_parity.layers import GRU, LSTM, SimpleRNN
    from rnn_parity.report import Report
    from rnn_parity.results import Check, Verdict

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
    "check": "rnn_parity.check",
    "compare": "rnn_parity.check",
    "replay": "rnn_parity.check",
    "SimpleRNN": "rnn_parity.layers",
    "LSTM": "rnn_parity.layers",
    "GRU": "rnn_parity.layers",
    "Report": "rnn_parity.report",
    "Check": "rnn_parity.results",
    "Verdict": "rnn_parity.results",
    "InputError": "rnn_parity.errors",
    "RnnParityError": "rnn_parity.errors",
}


def __getattr__(name: str) -> Any:
    """The public names, each imported from its module on first use (PEP 562)."""
    if name == "__version__":
        from rnn_parity.environment import own_version

        return own_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What a person may use."""
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package, whose functions `check`, `compare` and `replay` are also modules of it."""

    def __setattr__(self, name: str, value: object) -> None:
        # Importing a submodule sets it as an attribute of its package: the functions come first.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
