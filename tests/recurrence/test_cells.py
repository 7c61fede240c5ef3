"""Each cell's formula on plain numbers, by hand; and that it is the only place where it stands."""

import inspect
import linecache
import textwrap

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.diagnosis.equations import Equations, joined
from rnn_parity.recurrence import cells
from rnn_parity.recurrence.cells import PeepholeLSTM
from rnn_parity.recurrence.formula import letters_of
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.sweep.bug_report import formula_source
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

pytestmark = pytest.mark.filterwarnings("error")


def hard(z):
    return np.clip(z / 6 + 0.5, 0, 1)


def row(*numbers):
    return np.array([numbers], float)


def test_simple_rnn_by_hand():
    """2 (3 1 - 2 2 + 1/4)."""
    x, h, b = row(1.0), row(2.0), np.array([0.25])
    found = rp.SimpleRNN.formula(x, h, row(3.0), row(-2.0), b, lambda z: 2 * z)
    assert found.tolist() == [[-1.5]]
    assert (x.tolist(), h.tolist(), b.tolist()) == ([[1.0]], [[2.0]], [0.25])


def test_lstm_by_hand():
    """z = (4 - 1, 0, 3/2 + 1/2, -2 + 1/2) and b: i = 1, f = 1/2, g = 2, o = 1/4: c = 4 / 2 + 2."""
    U, W, b = row(4, 0, 1, -2), row(-2, 0, 1, 1), np.array([0, 0, 0.5, 0])
    h, c = rp.LSTM.formula(row(1), row(0.5), row(4), U, W, b, lambda z: z, hard)
    assert (h.tolist(), c.tolist()) == ([[1.0]], [[4.0]])


def test_peephole_lstm_by_hand():
    """From c = 4: i = hard(1 + 4 / 2) = 1, f = hard(2 - 4 / 2) = 1/2, g = 2, c = 4 / 2 + 2 = 4;
    o = hard(-2.5 + 4 / 4) = 1/4, h = 3 c / 4."""
    U, W, b = row(1, 1, 1, -3), row(0, 2, 2, 1), np.zeros(4)
    peephole = np.array([0.5, -0.5, 0.25])
    activations = (lambda z: z, hard, lambda z: 3 * z)
    found = PeepholeLSTM.formula(row(1), row(0.5), row(4), U, W, b, peephole, *activations)
    assert [one.tolist() for one in found] == [[[3.0]], [[4.0]]]


def test_gru_by_hand():
    """z = 1/2, r = 1/4, hh = 2 + 8 / 4 = 4: h = 6 / 2 + 4 / 2 = 5."""
    U, W, b = row(1, -2, 1), row(-1 / 6, 0, 1), np.array([[0, 0, 1], [0, 0.5, 2]])
    h = rp.GRU.reset_after_formula(row(1), row(6), U, W, b, lambda z: z, hard)
    assert h.tolist() == [[5.0]]


def test_gru_reset_before_by_hand():
    """z = 1/2, r = 1/4, hh = 2 + 3 (6 / 4) = 6.5: h = 6 / 2 + 6.5 / 2 = 6.25."""
    U, W, b = row(1, -2, 1), row(-1 / 6, 1 / 12, 3), np.array([0, 0, 1])
    h = rp.GRU.reset_before_formula(row(1), row(6), U, W, b, lambda z: z, hard)
    assert h.tolist() == [[6.25]]


# One line changed: everything that is made of the formula changes with it.

CHANGES = {
    "SimpleRNN: no bias": (rp.SimpleRNN, "formula", "a(x @ U + h @ W + b)", "a(x @ U + h @ W)"),
    "SimpleRNN: h subtracted": (rp.SimpleRNN, "formula", "+ h @ W", "- h @ W"),
    "LSTM: i and f exchanged": (rp.LSTM, "formula", "i, f, g, o = split", "f, i, g, o = split"),
    "LSTM: c forgotten": (rp.LSTM, "formula", "s(f) * c + s(i)", "s(i)"),
    "LSTM: the output without a(c)": (rp.LSTM, "formula", "s(o) * a(c)", "s(o) * c"),
    "GRU: 1 + z": (rp.GRU, "reset_after_formula", "(1 - z)", "(1 + z)"),
    "GRU: one bias twice": (rp.GRU, "reset_after_formula", " + b[0]", " + b[1]"),
    "GRU: r left out": (rp.GRU, "reset_after_formula", "r * r_h", "r_h"),
    "GRU before: h for r h": (rp.GRU, "reset_before_formula", "(r * h)", "h"),
    "GRU before: z and r exchanged": (rp.GRU, "reset_before_formula", "z, x_r, x_h", "r, x_z, x_h"),
    "Peephole: another sign": (PeepholeLSTM, "formula", "f + p_f * c", "f - p_f * c"),
    "Peephole: o sees nothing": (PeepholeLSTM, "formula", "s(o + p_o * c)", "s(o)"),
}


def changed_class(kind, name, before, after):
    """The class with one piece of the text of its formula replaced."""
    source = textwrap.dedent(inspect.getsource(vars(kind)[name].__func__))
    assert source.count(before) == 1, source
    text, file, found = source.replace(before, after), f"<{after}>", {}
    exec(compile(text, file, "exec"), vars(cells), found)
    # For `inspect`, which a script's text comes from.
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    return type(kind)("Changed", (kind,), {name: found[name], "OPTIONS": kind.OPTIONS})


def call_of(kind, name):
    """A layer of this class, and data for it as `compare` takes them, with a place for outputs."""
    rng = np.random.default_rng(0)
    width, after = 3 * len(kind.GATES), name == "reset_after_formula"
    own = {name: rng.normal(size=3 * gates) for name, gates in kind.VECTORS.values()}
    if "reset_after" in kind.OPTIONS:
        own["reset_after"] = after
    kernel, recurrent = rng.normal(size=(2, width)), rng.normal(size=(3, width))
    layer = kind(kernel, recurrent, rng.normal(size=(2, width) if after else width), **own)
    states = rng.uniform(-1, 1, (len(kind.STATES), 2, 3))
    return layer, rng.normal(size=(2, 6, 2)), list(states) if len(states) > 1 else states[0]


def by_script(layer, x, states):
    """The outputs of a loop around the text that a script for a bug report has."""
    names = {"np": np}
    exec(formula_source(layer.formula), names)
    letters = {"U": layer.kernel, "W": layer.recurrent_kernel, "b": layer.bias, **layer.vectors}
    letters |= {letter: one.function for letter, one in layer.letters.items()}
    given = {name: letters[name] for name in letters_of(names["step"]) if name in letters}
    states, outputs = states if isinstance(states, list) else [states], []
    for t in range(x.shape[1]):
        found = names["step"](x[:, t], *states, **given)
        states = list(found) if isinstance(found, tuple) else [found]
        outputs.append(states[0])
    return np.stack(outputs, axis=1)


def what_it_makes(layer, x, states, outputs):
    """The steps from these outputs: the middles of their balls, and a derivative."""
    sequences = Sequences.of(layer, x, None, states)
    steps = Steps(layer, arithmetics(layer.precision)[0], sequences)
    equations, balls, rows = Equations(layer, sequences), [], []
    for block, observed in observed_steps(layer, sequences, outputs):
        balls.append(steps.observed(block, observed).value)
        rows.append(equations.of_block(block, observed))
    change = np.random.default_rng(1).normal(size=joined(rows).gradient.shape)
    return np.concatenate(balls), joined(rows).changed(change)


@pytest.mark.parametrize("change", CHANGES)
def test_one_changed_line_changes_everything(change):
    kind, name, before, after = CHANGES[change]
    right, x, states = call_of(kind, name)
    wrong, _, _ = call_of(changed_class(kind, name, before, after), name)
    outputs, others = (rp.replay(one, x, None, states).outputs for one in (right, wrong))
    assert np.abs(outputs - others).max() > 0.01
    pairs = (what_it_makes(one, x, states, outputs) for one in (right, wrong))
    for one, other in zip(*pairs, strict=True):
        assert np.abs(one - other).max() > 0.01
    for one, expected in ((right, outputs), (wrong, others)):
        assert np.abs(by_script(one, x, states) - expected).max() < 1e-12
    # Each is right by its own formula: what it replays is what its steps are, and no other's.
    for layer, own, foreign in ((right, outputs, others), (wrong, others, outputs)):
        sequences = Sequences.of(layer, x, None, states)
        assert judge(layer, sequences, Observations(own), Subject()).check.max_ratio <= 1
        assert judge(layer, sequences, Observations(foreign), Subject()).check.max_ratio > 1
