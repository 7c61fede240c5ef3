"""Numbers that were printed with few decimals."""

import numpy as np
import pytest
from helpers import loop, random_weights

import rnn_parity as rp
from rnn_parity.printed import prints

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    ("numbers", "dtype", "expected"),
    [
        ([0.25, -1.5, 3.0], "float64", ["2 decimals", "2 significant digits"]),
        ([0.12345, 0.5, -0.00001], "float64", ["5 decimals", "5 significant digits"]),
        ([0.12345, 0.5, -0.00001], "float32", ["5 decimals", "5 significant digits"]),
        ([-0.25664946, -0.7416231], "float64", ["8 decimals", "8 significant digits"]),
        ([0.123457, 0.00123457, 0.0], "float64", ["8 decimals", "6 significant digits"]),
        ([0.123457, 1.23457e-09, 12.3457], "float64", ["6 significant digits"]),
        ([123.25, 0.5], "float64", ["2 decimals", "5 significant digits"]),
        ([1.0, 2.0, -3.0], "float64", []),
        ([1 / 3, 2 / 3, 1 / 7], "float64", []),
        ([0.1234567, 0.7654321], "float32", []),  # float32 itself has no more digits
        ([0.5, np.nan], "float64", []),
    ],
)
def test_digits(numbers, dtype, expected):
    assert [str(one) for one in prints(np.array(numbers, dtype))] == expected


def test_half_a_unit_of_the_last_digit():
    decimals, significant = prints(np.array([0.125, 20.5]))
    assert decimals.half(np.array([0.125, 20.5])).tolist() == [0.0005, 0.0005]
    assert significant.half(np.array([0.125, 20.5, -0.0])).tolist() == [0.0005, 0.05, 0]


def case(printed):
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 3, 5, "float32")
    x = rng.normal(size=(4, 30, 3)).astype("float32")
    return rp.SimpleRNN(**weights), x, np.round(loop(weights, x).astype(float), printed)


@pytest.mark.parametrize("printed", [2, 4, 5])
def test_few_decimals_prove_nothing(printed):
    check = rp.compare(*case(printed)).checks[0]
    assert check.verdict == "inconclusive"
    assert f"printed with {printed} decimals" in check.summary
    assert "%.9g" in check.summary
    assert check.effective_bits == pytest.approx(3.3219 * printed, abs=0.01)


@pytest.mark.parametrize(
    ("form", "verdict"),
    [("%.5g", "inconclusive"), ("%.3e", "inconclusive"), ("%.9g", "parity"), ("%.8e", "parity")],
)
def test_significant_digits_as_other_programs_print_them(form, verdict):
    def printed(numbers):
        return np.array([float(form % number) for number in numbers.ravel()]).reshape(numbers.shape)

    layer, x, outputs = case(17)
    check = rp.compare(layer, x, printed(outputs)).checks[0]
    assert check.verdict == verdict
    if verdict == "inconclusive":
        assert "significant digits, within which they neither prove" in check.summary
    outputs[2, 7] *= 1.01
    assert rp.compare(layer, x, printed(outputs)).verdict == "diverged"


def test_enough_decimals_prove_parity():
    layer, x, outputs = case(10)
    assert rp.compare(layer, x, outputs)


def test_what_is_beyond_the_print_has_diverged():
    layer, x, outputs = case(4)
    outputs[2, 7, 1] += 0.01
    assert rp.compare(layer, x, outputs).verdict == "diverged"
