"""The command line in this process, and a check that answers at once in place of a real one."""

import importlib

from sample_checks import PARITY

from rnn_parity.cli import main as cli
from rnn_parity.report.report import Report


def run(line: str = "") -> int:
    """`rnn-parity check` with the options in `line`, in this process."""
    return cli.main(["check", *line.split()])


def command(*arguments: object) -> int:
    """`rnn-parity` with these arguments, split at blanks; the exit code."""
    return cli.main([part for text in arguments for part in str(text).split(" ")])


def refused(capsys, *arguments: object) -> str:
    """What is said of bad usage or bad input: one line, and no answer."""
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("rnn-parity: error: ")
    return err


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
