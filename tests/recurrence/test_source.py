"""The source text of formulas and activations: run by itself, it computes what the package does."""

import math

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.recurrence.activations import CATALOGUE, named
from rnn_parity.recurrence.layers import PeepholeLSTM
from rnn_parity.sweep.bug_report import activation_source, formula_source

Z = np.array([[-3.0, -1.0, -0.25, 0.0, 0.75, 1.0, 2.5]])
FORMULAS = {
    "SimpleRNN": (rp.SimpleRNN.formula, 1, 1, ()),
    "LSTM": (rp.LSTM.formula, 4, 2, ()),
    "GRU": (rp.GRU.formula_of(), 3, 1, (2,)),
    "GRU, reset before": (rp.GRU.formula_of(reset_after=False), 3, 1, ()),
    "LSTM with peepholes": (PeepholeLSTM.formula, 4, 2, ()),
}


def defined(text):
    """What a text defines, given NumPy and `math` alone."""
    names = {"np": np, "math": math}
    exec(text, names)
    return names


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_activation_by_itself(name):
    text = activation_source(named(name), "a")
    assert "rnn_parity" not in text
    assert "Array" not in text
    assert defined(text)["a"](Z) == pytest.approx(CATALOGUE[name].function(Z), abs=1e-14)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_by_itself(name):
    formula, gates, states, rows = FORMULAS[name]
    rng = np.random.default_rng(0)
    text = formula_source(formula)
    assert "Any" not in text
    step = defined(text)["step"]
    letters = {
        "U": rng.normal(size=(3, gates * 2)),
        "W": rng.normal(size=(2, gates * 2)),
        "b": rng.normal(size=(*rows, gates * 2)),
        "a": np.tanh,
    }
    if gates > 1:
        letters["s"] = lambda z: 1 / (1 + np.exp(-z))
    if "peepholes" in name:
        letters |= {"p": rng.normal(size=6), "v": np.arctan}
    given = [rng.normal(size=(4, size)) for size in (3, *(2,) * states)]
    for a, b in zip(step(*given, **letters), formula(*given, **letters), strict=True):
        assert np.array_equal(a, b)
