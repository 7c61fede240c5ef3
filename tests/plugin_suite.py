"""Test suites that use the pytest plugin, for the tests of it.

The numbers are worked out by hand: one unit, h[t] = x[t] + h[t-1] / 2 + 1/4, from x = 1, 2, 3.
"""

import json
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]
SETUP = """
    import pytest
    import rnn_parity as rp

    WEIGHTS = rp.SimpleRNN([[1.0]], [[0.5]], [0.25], activation=None)
    INPUTS = [[[1], [2], [3]], [[0], [0], [0]]]
    RIGHT = [[[1.25], [2.875], [4.6875]], [[0.25], [0.375], [0.4375]]]
    WITHOUT_BIAS = [[[1], [2.5], [4.25]], [[0], [0], [0]]]
"""
PASSES = """
    def test_right(rnn_parity):
        rnn_parity.compare(WEIGHTS, INPUTS, RIGHT, [[4.6875], [0.4375]])
"""
FAILS = """
    def test_wrong(rnn_parity):
        rnn_parity.compare(WEIGHTS, INPUTS, WITHOUT_BIAS)
"""


def runner(pytester, monkeypatch):
    """A function that runs a test suite in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Only what is named is loaded, whether this package is installed or not.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(source, *arguments, setup=SETUP):
        pytester.makepyfile(test_suite=dedent(setup) + dedent(source))
        return pytester.runpytest_subprocess("-p", "rnn_parity.pytest_plugin", *arguments)

    return run


def section(result):
    """The lines of the plugin's part of the terminal summary, but for the one that counts them."""
    lines = result.outlines
    start = next(i for i, line in enumerate(lines) if line.strip("= ") == "rnn-parity")
    end = next(i for i in range(start + 1, len(lines)) if lines[i].startswith("==="))
    return [line for line in lines[start + 1 : end] if not line.startswith("rnn-parity: ")]


def said(result):
    """What the plugin says of the whole session."""
    start = "rnn-parity: "
    return [line.removeprefix(start) for line in result.outlines if line.startswith(start)]


def document(pytester):
    return json.loads((pytester.path / "report.json").read_text(encoding="utf-8"))
