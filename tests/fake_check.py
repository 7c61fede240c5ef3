"""A check that answers at once, in place of the one that runs TensorFlow."""

import importlib

from sample_checks import PARITY

from rnn_parity.cli import main as cli
from rnn_parity.report.report import Report


def run(line: str = "") -> int:
    """`rnn-parity check` with the options in `line`, in this process."""
    return cli.main(["check", *line.split()])


def answer_with(monkeypatch, function) -> None:
    # The package's attribute of this name is the function, not the module.
    module = importlib.import_module("rnn_parity.api.functions")
    monkeypatch.setattr(module, "check_generated", function)
    monkeypatch.setattr(module, "check_model", function)


def recorded(monkeypatch) -> list[tuple]:
    """The calls that the command line makes from now on; each is answered with parity."""
    asked: list[tuple] = []

    def answer(*args, **kwargs):
        asked.append((*args, kwargs))
        return Report((PARITY,))

    answer_with(monkeypatch, answer)
    return asked
