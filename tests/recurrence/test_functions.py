"""The activation functions against Keras's documentation, mpmath and numbers worked by hand."""

import mpmath as mp
import numpy as np
import pytest

from rnn_parity.recurrence.activations import CATALOGUE, WIDE
from rnn_parity.recurrence.erf import erfc

COUPLED = ["softmax", "log_softmax", "sparsemax"]
# The definitions, typed from Keras's documentation, on mpmath numbers.
half = mp.mpf(1) / 2
SCALE, ALPHA = mp.mpf("1.0507009873554804934193"), mp.mpf("1.6732632423543772848170")


def clip(x, low, high):
    return min(max(x, mp.mpf(low)), mp.mpf(high))


DEFINITION = {
    "linear": lambda x: x,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "relu": lambda x: max(x, mp.mpf(0)),
    "relu6": lambda x: clip(x, 0, 6),
    "ThresholdedReLU": lambda x: x if x > 1 else mp.mpf(0),
    "leaky_relu": lambda x: x if x > 0 else x / 5,
    "LeakyReLU": lambda x: x if x > 0 else 3 * x / 10,
    "hard_tanh": lambda x: clip(x, -1, 1),
    "hard_sigmoid": lambda x: clip(x / 6 + half, 0, 1),
    "hard_sigmoid_keras2": lambda x: clip(x / 5 + half, 0, 1),
    "hard_silu": lambda x: x * clip(x / 6 + half, 0, 1),
    "hard_shrink": lambda x: x if abs(x) > half else mp.mpf(0),
    "soft_shrink": lambda x: mp.sign(x) * max(abs(x) - half, mp.mpf(0)),
    "softsign": lambda x: x / (1 + abs(x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)),
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "celu": lambda x: x if x > 0 else mp.expm1(x),
    "selu": lambda x: SCALE * (x if x > 0 else ALPHA * mp.expm1(x)),
    "exponential": mp.exp,
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "gelu": lambda x: x * mp.ncdf(x),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "tanh_shrink": lambda x: x - mp.tanh(x),
    "squareplus": lambda x: (x + mp.sqrt(x * x + 4)) / 2,
    "sparse_plus": lambda x: x if x >= 1 else max(x + 1, mp.mpf(0)) ** 2 / 4,
    "sparse_sigmoid": lambda x: clip((x + 1) / 2, 0, 1),
}
# From the docstrings of `keras.ops` and of Keras 2.15's `activations`: input, output as printed.
DOCUMENTED = {
    "relu": ([-10, -5, 0.0, 5, 10], [0, 0, 0, 5, 10]),
    "relu6": ([-3.0, -2.0, 0.1, 0.2, 6.0, 8.0], [0.0, 0.0, 0.1, 0.2, 6.0, 6.0]),
    "sigmoid": ([-6.0, 1.0, 0.0, 1.0, 6.0], [0.00247262, 0.7310586, 0.5, 0.7310586, 0.9975274]),
    "tanh": ([-3.0, -1.0, 0.0, 1.0, 3.0], [-0.9950547, -0.7615942, 0, 0.7615942, 0.9950547]),
    "sparse_sigmoid": ([-6.0, 1.0, 0.0, 1.0, 6.0], [0, 1, 0.5, 1, 1]),
    "softplus": ([-0.555, 0.0, 0.555], [0.45366603, 0.6931472, 1.008666]),
    "softsign": ([-0.1, -10.0, 1.0, 0.0, 100.0], [-0.09090909, -0.90909094, 0.5, 0.0, 0.990099]),
    "soft_shrink": ([-1.0, 0.0, 1.0], [-0.5, 0.0, 0.5]),
    "sparse_plus": ([-1.0, 0.0, 1.0], [0.0, 0.25, 1.0]),
    "silu": ([-6.0, 1.0, 0.0, 1.0, 6.0], [-0.0148357, 0.7310586, 0.0, 0.7310586, 5.9851646]),
    "squareplus": ([-1.0, 0.0, 1.0], [0.6180, 1.0, 1.6180]),
    "log_sigmoid": ([-0.541391, 0.0, 0.5, 5.0], [-1.0000418, -0.6931472, -0.474077, -0.00671535]),
    "leaky_relu": ([-1.0, 0.0, 1.0], [-0.2, 0.0, 1.0]),
    "hard_sigmoid": ([-1.0, 0.0, 1.0], [1 / 3, 0.5, 2 / 3]),  # printed as 0.3 and 0.7
    "hard_sigmoid_keras2": ([-3.0, -1.0, 0.0, 1.0, 3.0], [0, 0.3, 0.5, 0.7, 1]),
    "hard_silu": ([-3.0, -1.0, 0.0, 1.0, 3.0], [0, -0.3333333, 0.0, 0.6666667, 3.0]),
    "elu": ([-1.0, 0.0, 1.0], [-0.63212055, 0.0, 1.0]),
    "selu": ([-1.0, 0.0, 1.0], [-1.11133055, 0.0, 1.05070098]),
    "gelu": ([-3.0, -1.0, 0.0, 1.0, 3.0], [-0.00404951, -0.15865529, 0, 0.8413447, 2.9959507]),
    "celu": ([-1.0, 0.0, 1.0], [-0.63212056, 0.0, 1.0]),
    "tanh_shrink": ([-1.0, 0.0, 1.0], [-0.23840584, 0.0, 0.23840584]),
    "hard_tanh": ([-2.0, -1.0, 0.0, 1.0, 2.0], [-1, -1, 0, 1, 1]),
    "hard_shrink": ([-0.5, 0.0, 1.0], [0, 0, 1]),
    "mish": ([-3.0, -1.0, 0.0, 1.0], [-0.14564745, -0.30340144, 0.0, 0.86509836]),
    "exponential": ([-3.0, -1.0, 0.0, 1.0], [0.04978707, 0.36787945, 1.0, 2.7182817]),
    "linear": ([-3.0, -1.0, 0.0, 1.0, 3.0], [-3, -1, 0, 1, 3]),
    "softmax": ([-1.0, 0.0, 1.0], [0.09003057, 0.24472847, 0.66524096]),
    "log_softmax": ([-1.0, 0.0, 1.0], [-2.40760596, -1.40760596, -0.40760596]),
    "sparsemax": ([-1.0, 0.0, 1.0], [0, 0, 1]),
    # Worked by hand from the layer's documentation: slope 0.3; zero up to 1.
    "LeakyReLU": ([-2.0, 0.0, 2.0], [-0.6, 0, 2]),
    "ThresholdedReLU": ([-2.0, 1.0, 1.5], [0, 0, 1.5]),
}


def test_every_entry_has_a_definition_and_a_documented_value():
    entries = {activation.name for activation in CATALOGUE.values()}
    assert set(DEFINITION) | set(COUPLED) == entries == set(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_values(name):
    z, y = DOCUMENTED[name]
    # They were printed in float32, with its rounding (selu and gelu: 2e-7); squareplus in 4 digits.
    tolerance = 5e-5 if name == "squareplus" else 2e-7
    np.testing.assert_allclose(CATALOGUE[name](np.array(z)), y, rtol=1.5e-7, atol=tolerance)


@pytest.mark.parametrize("name", DEFINITION)
def test_values_are_those_of_the_definition(name):
    magnitudes = np.geomspace(1e-8, 700, 60)
    z = np.concatenate([-magnitudes, magnitudes, [0.0, 0.5, 1.0, -1.0, 2.5, -2.5, 3.0, -3.0, 6.0]])
    with mp.workdps(400):  # exp(-700) beside 1
        exact = np.array([float(DEFINITION[name](mp.mpf(x))) for x in z])
    # gelu's erfc gets -z / sqrt(2) rounded, and its far tail is tiny.
    np.testing.assert_allclose(CATALOGUE[name](z), exact, rtol=2e-15, atol=4e-16)


def test_functions_of_the_whole_unit_axis():
    z = np.array([[0.0, np.log(2), np.log(5)], [1000.0, 1000.0, -1000.0]])
    np.testing.assert_allclose(CATALOGUE["softmax"](z), [[1 / 8, 1 / 4, 5 / 8], [0.5, 0.5, 0]])
    expected = [-np.log([8, 4, 1.6]), [-np.log(2), -np.log(2), -2000 - np.log(2)]]
    np.testing.assert_allclose(CATALOGUE["log_softmax"](z), expected)


@pytest.mark.parametrize(
    ("z", "y"),
    [
        # Projections on the simplex, worked by hand. Keras 3.15 sums the wrong cumulative sums
        # when several entries stay positive; its documentation means this.
        ([0.0, 0.5, 1.0], [0.0, 0.25, 0.75]),
        ([1.0, 1.0], [0.5, 0.5]),
        ([0.1, 0.2, 0.3, 0.4, 0.5], [0.0, 0.1, 0.2, 0.3, 0.4]),
        ([1e6, 1e6 + 0.5], [0.25, 0.75]),
    ],
)
def test_sparsemax_projects_on_the_simplex(z, y):
    np.testing.assert_allclose(CATALOGUE["sparsemax"](np.array(z)), y, atol=1e-15)


def test_erfc():
    edges = [0.0, 0.46875, np.nextafter(0.46875, 1), 4.0, np.nextafter(4.0, 5), 26.0, 1e-300]
    x = np.concatenate([np.linspace(-6, 6, 1201), np.geomspace(0.3, 26, 400), edges])
    exact = np.array([mp.erfc(mp.mpf(v)) for v in x])
    error = np.array([abs(float(a - mp.mpf(b))) for a, b in zip(exact, erfc(x), strict=True)])
    assert np.all(error <= 2.0**-51)
    assert np.all(error <= 7 * np.spacing(exact.astype(float)))
    np.testing.assert_array_equal(
        erfc(np.array([np.inf, 40.0, -40.0, -np.inf, np.nan])), [0, 0, 2, 2, np.nan]
    )


@pytest.mark.parametrize("name", [n for n in DEFINITION if CATALOGUE[n].derivative])
def test_derivative_and_steepening(name):
    activation = CATALOGUE[name]
    # Off zero, where softsign's f'' jumps. Squareplus is steepest at 2 sinh(-atanh(1/2)).
    steepest = [-1e-3, 1e-3, -1.1547, -12.3, 12.3]
    z = np.concatenate([np.arange(-12, 12) + 0.37, steepest])
    with mp.workdps(60):
        first = np.array([float(mp.diff(DEFINITION[name], mp.mpf(x))) for x in z])
        second = np.array([float(mp.diff(DEFINITION[name], mp.mpf(x), 2)) for x in z])
    np.testing.assert_allclose(activation.derivative(z, activation(z)), first, atol=1e-15)
    # Among the points is one near the largest: the constant is right, not only safe.
    most = np.abs(second / first).max()
    assert activation.steepening * 0.99 <= most <= activation.steepening * (1 + 1e-12)


@pytest.mark.parametrize("name", [n for n in DEFINITION if CATALOGUE[n].derivative])
def test_a_bound_by_the_slope_is_hardly_wider_than_the_values(name):
    """Where tanh is saturated, too: Taylor's bound is 1,000 times wider there."""
    activation, r = CATALOGUE[name], WIDE * (1 - 1e-6)
    z = np.linspace(-9, 9, 721)
    y, rad = activation(z), np.full(721, r)
    moved = np.maximum(np.abs(activation(z + r) - y), np.abs(activation(z - r) - y))
    spread = activation.spread(z, y, rad)
    assert np.all(moved <= spread * (1 + 1e-12) + 1e-15)
    assert np.all(spread <= (1 + 1 / 60) * moved + 1e-14)
