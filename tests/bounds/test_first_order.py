"""A formula on first-order numbers: its own derivative, of every cell and of one's own."""

from dataclasses import replace

import numpy as np
import pytest
from own_cells import Averaged, Leaky, Minimal, Three, layer_of

import rnn_parity as rp
from rnn_parity.bounds.first_order import derivative
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.diagnosis.equations import Equations, changed_at, joined, stacked, value
from rnn_parity.errors import UnsupportedError
from rnn_parity.recurrence.cells import GRU, LSTM, Cell, PeepholeLSTM, SimpleRNN
from rnn_parity.recurrence.formula import split
from rnn_parity.recurrence.products import Product
from rnn_parity.recurrence.sequences import Sequences

pytestmark = pytest.mark.filterwarnings("error")
KINDS = {
    **{kind.__name__: (kind, {}) for kind in (SimpleRNN, LSTM, GRU, PeepholeLSTM)},
    **{kind.__name__: (kind, {}) for kind in (Minimal, Three, Averaged, Leaky)},
    "GRU before": (GRU, {"reset_after": False}),
}
every_kind = pytest.mark.parametrize("name", KINDS)
STEP = 1e-6


class Around:
    """A random layer of a kind, and its equations around its own outputs."""

    def __init__(self, name):
        kind, options = KINDS[name]
        self.rng = np.random.default_rng(0)
        self.layer = layer_of(kind, self.rng, **options)
        mask = self.rng.random((2, 12)) > 0.2
        self.sequences = Sequences.of(self.layer, self.rng.normal(size=(2, 12, 3)), mask)
        self.outputs = rp.replay(self.layer, self.sequences.inputs, mask).outputs

    def rows(self, layer):
        equations = Equations(layer, self.sequences)
        steps = observed_steps(layer, self.sequences, self.outputs)
        return joined([equations.of_block(*one) for one in steps])

    def moved(self, direction):
        """The layer whose weights are others by `STEP * direction`."""
        places = np.ndindex(*direction.shape)
        new = {(k, j): value(self.layer, k, j) + STEP * direction[k, j] for k, j in places}
        return changed_at(self.layer, new)


@every_kind
def test_the_derivative_is_that_of_the_formula(name):
    """Where all weights move at once, the outputs move as it says, but for the step squared."""
    around = Around(name)
    right = around.rows(around.layer)
    assert np.abs(right.residual).max() < 1e-14
    direction = around.rng.normal(size=stacked(around.layer).shape)
    found = around.rows(around.moved(direction)).residual / -STEP
    expected = right.changed(direction)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@every_kind
def test_the_gradient_goes_the_same_way_back(name):
    """`<w, A d> = <A' w, d>` for every residual w and every change d of the weights."""
    around = Around(name)
    right = around.rows(around.layer)
    direction = around.rng.normal(size=stacked(around.layer).shape)
    rows = replace(right, residual=around.rng.normal(size=right.residual.shape))
    forwards = np.vdot(rows.residual, rows.changed(direction))
    assert np.vdot(rows.gradient, direction) == pytest.approx(forwards, rel=1e-9)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (lambda x, h, U, W, b: x @ U + h @ W + (h * h) @ W, "a gate of W by several numbers"),
        (lambda x, h, U, W, b: x @ U + (h @ W) @ W, "a gate of W by several numbers"),
        (lambda x, h, U, W, a: split(x @ U, 1)[0] + a(a(h @ W) @ W), "by several numbers"),
    ],
)
def test_what_has_more_parts_than_an_equation_is_told(formula, message):
    mine = type("Mine", (Cell,), {"GATES": ("h",), "formula": staticmethod(formula)})
    layer = mine([[0.5, 1.0]], np.eye(2), dtype="float64")
    times_w = Product(layer, layer.recurrent_kernel)
    number = np.ones((1, 1, 2))
    with pytest.raises(UnsupportedError, match=message):
        derivative(layer, number, number, (), times_w)
