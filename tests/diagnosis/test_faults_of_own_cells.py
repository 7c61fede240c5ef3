"""Diagnosis of cells of one's own, against float32 loops by hand: general faults, blind spots."""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.recurrence.formula import split
from rnn_parity.recurrence.layers import Layer

B, T, F, H = 6, 30, 5, 5


class Minimal(Layer):
    """A minimal gated unit."""

    GATES = ("f", "h")

    @staticmethod
    def formula(x, h, U, W, b, a, s):
        x_f, x_h = split(x @ U + b, 2)
        W_f, W_h = split(W, 2)
        f = s(x_f + h @ W_f)
        return (1 - f) * h + f * a(x_h + (f * h) @ W_h)


class Averages(Layer):
    """Three states: h, and averages of it on two scales."""

    GATES = ("h", "m")
    STATES = ("h", "m", "n")

    @staticmethod
    def formula(x, h, m, n, U, W, b, a, s):
        z, g = split(x @ U + h @ W + b, 2)
        m = s(g) * m + (1 - s(g)) * a(z)
        n = 0.5 * n + 0.5 * m
        return a(m + n), m, n


class Readout(Layer):
    """Its output is not its state."""

    GATES = ("c", "o")
    STATES = ("c",)

    @staticmethod
    def formula(x, c, U, W, b, a, s):
        z, o = split(x @ U + c @ W + b, 2)
        c = 0.5 * c + 0.5 * a(z)
        return s(o) * c, c


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def minimal(r, x, h):
    f = sigmoid(x @ r["U"][:, :H] + r["b"][:H] + h @ r["W"][:, :H])
    candidate = np.tanh(x @ r["U"][:, H:] + r["b"][H:] + (f * h) @ r["W"][:, H:])
    h = (1 - f) * h + f * candidate
    return h, h


def averages(r, x, h, m, n):
    z, g = np.split(x @ r["U"] + h @ r["W"] + r["b"], 2, axis=1)
    m = sigmoid(g) * m + (1 - sigmoid(g)) * np.tanh(z)
    n = np.float32(0.5) * n + np.float32(0.5) * m
    h = np.tanh(m + n)
    return h, h, m, n


def readout(r, x, c):
    z, o = np.split(x @ r["U"] + c @ r["W"] + r["b"], 2, axis=1)
    c = np.float32(0.5) * c + np.float32(0.5) * np.tanh(z)
    return sigmoid(o) * c, c


CELLS = {Minimal: minimal, Averages: averages, Readout: readout}
every_cell = pytest.mark.parametrize("cell", CELLS)


def given(cell, samples=B, timesteps=T):
    rng = np.random.default_rng(0)
    arrays = {
        "U": rng.normal(size=(F, 2 * H)) / 4,
        "W": rng.normal(size=(H, 2 * H)) / 4,
        "b": rng.normal(size=2 * H) / 4,
        "x": rng.normal(size=(samples, timesteps, F)),
        "states": rng.uniform(-1, 1, (len(cell.STATES), samples, H)),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def computed(cell, r):
    """The outputs of the loop, and its final states."""
    states, outputs = tuple(r["states"]), []
    for t in range(r["x"].shape[1]):
        y, *states = CELLS[cell](r, r["x"][:, t], *states)
        outputs.append(y)
    return np.stack(outputs, axis=1), list(states)


def checked(cell, right, wrong=None, final=True):
    """The check of a loop that was given other numbers, against the layer as it should be."""
    layer = cell(right["U"], right["W"], right["b"])
    outputs, states = computed(cell, {**right, **(wrong or {})})
    several = len(states) > 1
    final = (states if several else states[0]) if final else None
    initial = list(right["states"]) if several else right["states"][0]
    (check,) = rp.compare(layer, right["x"], outputs, final, initial_state=initial).checks
    return check


def turned(w):
    return np.concatenate([block.T for block in np.split(w, 2, axis=1)], axis=1)


@every_cell
def test_a_right_run_is_in_parity_and_says_what_it_would_have_seen(cell):
    check = checked(cell, given(cell))
    assert (check.verdict, check.causes) == ("parity", ())
    visible = {"bias-dropped", "kernel-transposed", "recurrent-kernel-transposed"}
    visible |= {
        "initial-state-ignored",
        "activation-swapped",
        "final-state-stale",
        "weights-differ",
    }
    assert visible <= set(check.sensitivity.visible)
    blind = {spot.fault: spot.reason for spot in check.sensitivity.blind}
    assert blind == {"mask-ignored": "no timestep is masked"}


@every_cell
@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("bias-dropped", lambda r: {"b": 0 * r["b"]}),
        ("kernel-transposed", lambda r: {"U": turned(r["U"])}),
        ("recurrent-kernel-transposed", lambda r: {"W": turned(r["W"])}),
        ("initial-state-ignored", lambda r: {"states": 0 * r["states"]}),
        ("inputs-reversed", lambda r: {"x": r["x"][:, ::-1]}),
        ("weights-rounded", lambda r: {n: np.round(r[n], 3) for n in "UWb"}),
    ],
)
def test_general_faults_are_named(cell, fault, change):
    right = given(cell)
    check = checked(cell, right, change(right), final=False)
    assert check.verdict == "diverged"
    assert [cause.fault for cause in check.causes] == [fault]


@every_cell
def test_outputs_one_step_early(cell):
    right = given(cell)
    layer, (y, _) = cell(right["U"], right["W"], right["b"]), computed(cell, right)
    initial = list(right["states"]) if len(cell.STATES) > 1 else right["states"][0]
    for outputs in (np.roll(y, -1, axis=1), np.concatenate([0 * y[:, :1], y[:, :-1]], axis=1)):
        check = rp.compare(layer, right["x"], outputs, initial_state=initial).checks[0]
        assert [cause.fault for cause in check.causes] == ["time-shifted"]


@every_cell
def test_stale_states_are_told(cell):
    right = given(cell)
    layer, (outputs, _) = cell(right["U"], right["W"], right["b"]), computed(cell, right)
    _, states = computed(cell, {**right, "x": right["x"][:, :-2]})
    several = len(states) > 1
    initial = list(right["states"]) if several else right["states"][0]
    final = states if several else states[0]
    check = rp.compare(layer, right["x"], outputs, final, initial_state=initial).checks[0]
    (cause,) = check.causes
    assert cause.fault == "final-state-stale"
    assert f"timestep {T - 3}" in cause.explanation


@every_cell
def test_one_weight_that_is_another(cell):
    right = given(cell, 16, 100)
    kernel = right["U"].copy()
    kernel[3, 2] += np.float32(8e-7)
    check = checked(cell, right, {"U": kernel})
    assert check.verdict == "suspect"
    assert [(w.weight, w.index) for w in check.implied_weights] == [("kernel", (3, 2))]
