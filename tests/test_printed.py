"""Numbers that were printed with few decimals."""

import numpy as np
import pytest
from helpers import loop, random_weights
from measure_printed import by_chance

import rnn_parity as rp
from rnn_parity.printed import prints

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    ("numbers", "dtype", "expected"),
    [
        ([0.21, -1.53, 3.0], "float64", ["2 decimals", "3 significant digits"]),
        ([0.12345, 0.5, -0.00001], "float64", ["5 decimals", "5 significant digits"]),
        (
            [0.12345, 0.5, -0.00001, 0.54321, 0.98765, 0.13579],
            "float32",
            ["5 decimals", "5 significant digits"],
        ),
        ([-0.25664946, -0.7416231], "float64", ["8 decimals", "8 significant digits"]),
        ([0.123457, 0.00123457, 0.0], "float64", ["8 decimals", "6 significant digits"]),
        ([0.123457, 1.23457e-09, 12.3457], "float64", ["6 significant digits"]),
        ([123.21, 0.53], "float64", ["2 decimals", "5 significant digits"]),
        ([1.0, 2.0, -3.0], "float64", []),
        ([1 / 3, 2 / 3, 1 / 7], "float64", []),
        ([0.1234567, 0.7654321], "float32", []),  # float32 itself has no more digits
        ([0.5, np.nan], "float64", []),
        # Limits, and 8-bit integers over 128, have few decimals without having been printed.
        ([0.0, 0.5, 1.0, -1.0], "float64", []),
        ([0.0, 0.5, 1.0, -1.0], "float32", []),
        ((np.arange(-128, 128) / 128).tolist(), "float32", []),
    ],
)
def test_digits(numbers, dtype, expected):
    assert [str(one) for one in prints(np.array(numbers, dtype))] == expected


def test_half_a_unit_of_the_last_digit():
    decimals, significant = prints(np.array([0.123, 20.6]))
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


def small_case():
    """Outputs of about 0.03, of which 7 decimals are far fewer digits than float32 has."""
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 3, 5)
    weights["bias"] *= np.float32(0.03)
    x = (0.03 * rng.normal(size=(4, 30, 3))).astype("float32")
    return rp.SimpleRNN(**weights), x, loop(weights, x)


@pytest.mark.parametrize("decimals", range(3, 8))
def test_few_decimals_in_float32_prove_nothing_either(decimals):
    """NumPy rounds float32 in float32: the product and the quotient are rounded, too."""
    layer, x, outputs = small_case()
    stored = np.round(outputs, decimals)
    assert stored.dtype == np.float32
    for array in (stored, stored.astype(float), np.round(outputs.astype(float), decimals)):
        check = rp.compare(layer, x, array).checks[0]
        assert check.verdict == "inconclusive"
        assert f"printed with {decimals} decimals" in check.summary
    stored[2, 7, 1] += np.float32(0.1)
    assert rp.compare(layer, x, stored).verdict == "diverged"


@pytest.mark.parametrize("form", ["%.4g", "%.5g"])
def test_significant_digits_in_float32(form):
    layer, x, outputs = small_case()
    text = np.array([float(form % number) for number in outputs.ravel()], np.float32)
    check = rp.compare(layer, x, text.reshape(outputs.shape)).checks[0]
    assert check.verdict == "inconclusive"
    assert f"printed with {form[2]} significant digits" in check.summary


def test_float32_numbers_do_not_look_printed_by_chance():
    assert [str(how) for how in by_chance(120, 1)] == []


@pytest.mark.parametrize("decimals", [5, 6, 7])
def test_nearly_all_float32_numbers_that_were_rounded_are_recognised(decimals):
    found = 0
    for seed in range(20):
        numbers = np.random.default_rng(seed).uniform(-1, 1, (4, 20, 6)).astype(np.float32)
        found += decimals in {how.count for how in prints(np.round(numbers, decimals))}
    assert found == 20
