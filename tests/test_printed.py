"""Numbers that were printed with few decimals."""

import numpy as np
import pytest
from helpers import loop, random_weights

import rnn_parity as rp
from rnn_parity.printed import decimals

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    ("numbers", "dtype", "expected"),
    [
        ([0.25, -1.5, 3.0], "float64", 2),
        ([0.12345, 0.5, -0.00001], "float64", 5),
        ([0.12345, 0.5, -0.00001], "float32", 5),
        ([-0.25664946, -0.7416231, 0.88940847], "float64", 8),
        ([1.0, 2.0, -3.0], "float64", None),
        ([1 / 3, 2 / 3, 1 / 7], "float64", None),
        ([0.1234567, 0.7654321], "float32", None),  # float32 itself has no more digits
        ([0.5, np.nan], "float64", None),
    ],
)
def test_decimals(numbers, dtype, expected):
    assert decimals(np.array(numbers, dtype)) == expected


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


def test_enough_decimals_prove_parity():
    layer, x, outputs = case(10)
    assert rp.compare(layer, x, outputs)


def test_what_is_beyond_the_print_has_diverged():
    layer, x, outputs = case(4)
    outputs[2, 7, 1] += 0.01
    assert rp.compare(layer, x, outputs).verdict == "diverged"
