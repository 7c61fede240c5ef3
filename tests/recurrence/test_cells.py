"""One step of a cell, on plain arrays and on balls."""

import numpy as np
import pytest

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Sum, apply
from rnn_parity.recurrence import cells
from rnn_parity.recurrence.activations import named
from rnn_parity.recurrence.precision import FLOAT32

pytestmark = pytest.mark.filterwarnings("error")


def test_simple_rnn_adds_and_applies():
    x, r = np.array([[1.0, -2.0]]), np.array([[0.5, 0.25]])
    assert cells.simple_rnn(lambda z: 2 * z, x, r).tolist() == [[3.0, -3.5]]


def test_simple_rnn_leaves_its_arguments_alone():
    x, r = np.array([[1.0, -2.0]]), np.array([[0.5, 0.25]])
    cells.simple_rnn(named("tanh"), x, r)
    assert x.tolist() == [[1.0, -2.0]]
    assert r.tolist() == [[0.5, 0.25]]


@pytest.mark.parametrize("name", ["linear", "relu", "tanh"])
def test_the_same_formula_serves_balls(name):
    x, r = np.array([[1.0, -2.0]]), np.array([[0.5, 0.25]])
    arithmetic = Arithmetic(FLOAT32, FLOAT32)
    sums = [Sum.of(arithmetic, v, np.abs(v).astype(np.float32), 1) for v in (x, r)]
    ball = cells.simple_rnn(lambda z: apply(named(name), z), *sums)
    np.testing.assert_array_equal(ball.value, cells.simple_rnn(named(name), x, r))
    # two terms: two roundings of at most 1.5 and 2.25, tanh's own few, each 2**-24
    assert np.all(ball.radius < 30 * 2.0**-24)
    assert np.all(ball.radius > 0)
