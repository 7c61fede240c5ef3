"""Diagnosis of cells of one's own, against float32 loops by hand: general faults, blind spots."""

import numpy as np
import pytest
from own_cells import Minimal, loop

import rnn_parity as rp
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.formula import split

B, T, F, H = 6, 30, 5, 5
WEIGHTS = ("kernel", "recurrent_kernel", "bias")


class Averages(Cell):
    """Three states: h, and averages of it on two scales."""

    GATES = ("h", "m")
    STATES = ("h", "m", "n")

    @staticmethod
    def formula(x, h, m, n, U, W, b, a, s):
        z, g = split(x @ U + h @ W + b, 2)
        m = s(g) * m + (1 - s(g)) * a(z)
        n = 0.5 * n + 0.5 * m
        return a(m + n), m, n

    @staticmethod
    def step(n, x, h, m, slow):
        z, g = (x @ U + h @ W + b for U, W, b in zip(n.U, n.W, n.b, strict=True))
        m = n.s(g) * m + (1 - n.s(g)) * n.a(z)
        slow = slow / 2 + m / 2
        h = n.a(m + slow)
        return h, h, m, slow


class Readout(Cell):
    """Its output is not its state."""

    GATES = ("c", "o")
    STATES = ("c",)

    @staticmethod
    def formula(x, c, U, W, b, a, s):
        z, o = split(x @ U + c @ W + b, 2)
        c = 0.5 * c + 0.5 * a(z)
        return s(o) * c, c

    @staticmethod
    def step(n, x, c):
        z, o = (x @ U + c @ W + b for U, W, b in zip(n.U, n.W, n.b, strict=True))
        c = c / 2 + n.a(z) / 2
        return n.s(o) * c, c


every_cell = pytest.mark.parametrize("cell", [Minimal, Averages, Readout])


def given(cell, samples=B, timesteps=T):
    rng = np.random.default_rng(0)
    arrays = {
        "kernel": rng.normal(size=(F, 2 * H)) / 4,
        "recurrent_kernel": rng.normal(size=(H, 2 * H)) / 4,
        "bias": rng.normal(size=2 * H) / 4,
        "x": rng.normal(size=(samples, timesteps, F)),
        "states": rng.uniform(-1, 1, (len(cell.STATES), samples, H)),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def layer_of(cell, r):
    return cell(r["kernel"], r["recurrent_kernel"], r["bias"])


def computed(cell, r):
    """The outputs of the cell's float32 loop, and its final states."""
    return loop(layer_of(cell, r), r["x"], r["states"])


def checked(cell, right, wrong=None, final=True):
    """The check of a loop that was given other numbers, against the layer as it should be."""
    layer = layer_of(cell, right)
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
    masks = ("mask-ignored", "masked-output-zeroed")
    assert blind == dict.fromkeys(masks, "no timestep is masked")


@every_cell
@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("bias-dropped", lambda r: {"bias": 0 * r["bias"]}),
        ("kernel-transposed", lambda r: {"kernel": turned(r["kernel"])}),
        (
            "recurrent-kernel-transposed",
            lambda r: {"recurrent_kernel": turned(r["recurrent_kernel"])},
        ),
        ("initial-state-ignored", lambda r: {"states": 0 * r["states"]}),
        ("inputs-reversed", lambda r: {"x": r["x"][:, ::-1]}),
        ("weights-rounded", lambda r: {name: np.round(r[name], 3) for name in WEIGHTS}),
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
    layer, (y, _) = layer_of(cell, right), computed(cell, right)
    initial = list(right["states"]) if len(cell.STATES) > 1 else right["states"][0]
    for outputs in (np.roll(y, -1, axis=1), np.concatenate([0 * y[:, :1], y[:, :-1]], axis=1)):
        check = rp.compare(layer, right["x"], outputs, initial_state=initial).checks[0]
        assert [cause.fault for cause in check.causes] == ["time-shifted"]


@every_cell
def test_stale_states_are_told(cell):
    right = given(cell)
    layer, (outputs, _) = layer_of(cell, right), computed(cell, right)
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
    kernel = right["kernel"].copy()
    kernel[3, 2] += np.float32(8e-7)
    check = checked(cell, right, {"kernel": kernel})
    assert check.verdict == "suspect"
    assert [(w.weight, w.index) for w in check.implied_weights] == [("kernel", (3, 2))]
