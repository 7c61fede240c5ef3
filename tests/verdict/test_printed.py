"""Numbers that were printed with few decimals."""

from importlib import import_module

import ml_dtypes
import numpy as np
import pytest
from helpers import in_blocks_of, loop, random_weights
from measure_printed import by_chance

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.printed import Print, beyond_print, magnitude, nearest, prints


def within_print(*data):
    return beyond_print(*data)[1] is None


SINGLE = Arithmetic(FLOAT32, FLOAT32)

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
        ([0.123457, 0.00123457, 0.0], "float64", ["6 significant digits", "8 decimals"]),
        ([0.123457, 1.23457e-09, 12.3457], "float64", ["6 significant digits"]),
        ([123.21, 0.53], "float64", ["2 decimals", "5 significant digits"]),
        # Limits say nothing of it.
        ([1.0, 1.0, 1.0, 0.0123, 0.4567], "float64", ["4 decimals", "4 significant digits"]),
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
    significant, decimals = prints(np.array([0.123, 20.6]))
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
    assert check.max_ratio > 1
    assert check.notes == (
        f"the ratios of the table are those to rounding alone, without the {printed} decimals with "
        "which the numbers were printed",
    )
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
    check = rp.compare(layer, x, outputs).checks[0]
    assert check.verdict == "diverged"
    # What is beyond the digits is told with them, the ratios of the table are not.
    first = check.first_divergence
    assert abs(first.observed - first.expected) > first.bound > 5e-5 > check.timesteps[7].bound
    assert first.included == ", the printed digits included"
    assert any("those to rounding alone, without the 4 decimals" in note for note in check.notes)


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


# Each step of it by hand.


def test_the_digits_before_the_point():
    x = np.array([123.4, 10.0, 9.99, 0.5, 0.05, -0.001, 0.0])
    assert magnitude(x).tolist() == [3, 2, 1, 0, -1, -2, 1]


def test_the_nearest_number_of_so_many_decimals():
    x, decimals = np.array([0.126, 0.125, -1.26, 1234.0, 1.0]), np.array([2.0, 2, 1, -2, 0])
    assert nearest(x, decimals).tolist() == [0.13, 0.12, -1.3, 1200, 1]


def test_how_far_a_printed_and_stored_number_may_be_off():
    x = np.array([-2.0, 0.0])
    assert Print(3).unsure(x).tolist() == [0.0005, 0.0005]
    stored = 2 * 2.0**-24
    assert Print(3, False, 2.0**-24).unsure(x).tolist() == [0.0005 + 2 * stored, 0.0005]
    assert Print(3, True, 2.0**-24).unsure(x).tolist() == [0.005 + 2 * stored, 0]


def test_what_a_print_was_stored_in():
    three = [0.21, -1.53, 3.0]
    assert prints(np.array(three)) == [Print(2), Print(3, True)]
    single = np.float32([0.12345, 0.5, -0.00001, 0.54321, 0.98765, 0.13579])
    expected = [Print(5, False, 2.0**-24), Print(5, True, 2.0**-24)]
    assert prints(single) == prints(single.astype(float)) == expected
    thousandths = (np.arange(1, 32) / 1000).astype(ml_dtypes.bfloat16)
    assert prints(thousandths) == [Print(3, False, 2.0**-8), Print(2, True, 2.0**-8)]


def test_twelve_digits_are_few_and_thirteen_are_not():
    x = np.array([0.123456789012, 0.987654321098, 0.246813579135, 0.864297531086])
    assert [str(one) for one in prints(x)] == ["12 decimals", "12 significant digits"]
    assert prints(x + 1e-13) == []


def test_of_most_numbers_the_print_must_tell():
    """7 decimals are all that float32 has from 1 on, however many tell of smaller numbers."""
    rng = np.random.default_rng(0)
    large, small = rng.uniform(1, 2, 60), rng.uniform(0.01, 0.015, 40)
    few = [str(how) for how in prints(np.round([*small, *large[:30]], 7).astype(np.float32))]
    assert "7 decimals" in few
    assert prints(np.round([*small, *large], 7).astype(np.float32)) == []


@pytest.mark.parametrize("count", [5, 8192, 8193, 20000])
def test_all_of_many_numbers_must_have_been_printed(count):
    x = np.round(np.random.default_rng(0).uniform(-1, 1, (count, 1)), 3)
    assert "3 decimals" in [str(one) for one in prints(x)]
    x[-2] += 1e-15  # one that a few evenly spread ones leave out
    assert "3 decimals" not in [str(one) for one in prints(x)]


def exact(**options):
    """h = x + h / 2, and the numbers of a run, in which every step is exact."""
    layer = rp.SimpleRNN([[1.0]], [[0.5]], activation="linear", dtype="float32", **options)
    x = np.array([[[0.125], [0.5], [0.25]]])
    return layer, x, np.array([[[0.125], [0.5625], [0.53125]]])


# Half a hundredth of the state before, which a step halves, and twice half a hundredth around what
# it shows: 0.0025 + 0.01.
DOUBTFUL = [(0.0, True), (0.0124, True), (0.0126, False), (-0.0124, True), (-0.0126, False)]


@pytest.mark.parametrize(("off", "within"), DOUBTFUL)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_steps_within_half_a_unit_on_both_sides(off, within, size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    layer, x, outputs = exact()
    # The last output alone: what came before it is right.
    outputs[0, 2] += off
    sequences = Sequences.of(layer, x)
    assert within_print(layer, sequences, outputs, SINGLE, Print(2)) is within


@pytest.mark.parametrize(("off", "within"), [(0.0124, True), (0.0126, False)])
@pytest.mark.parametrize("size", [1, 2])
def test_a_masked_step_repeats_a_printed_number(off, within, size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    layer, x, _ = exact()
    outputs = np.array([[[0.125], [0.125 + off], [0.3125]]])
    sequences = Sequences.of(layer, x, [[True, False, True]])
    assert within_print(layer, sequences, outputs, SINGLE, Print(2)) is within


def test_one_decimal_and_multiples_of_a_small_power_of_two():
    assert prints(np.array([0.3, -1.7])) == [Print(1), Print(2, True)]
    # They have 12 decimals and were not printed.
    multiples = np.arange(1, 400, 2) / 4096
    assert prints(multiples) == []
    # Nor does the one number beside them that float32 has not: one of a thousand is so by chance.
    assert prints(np.array([0.123456789012, *multiples])) == []


def test_thirteen_decimals_are_no_print():
    text = "0.1234567890123 0.9876543210987 0.2468135791357 0.8642975310869 0.1928374655647"
    assert prints(np.array([float(one) for one in text.split()])) == []
    fewer = [float(one[:-1]) for one in text.split()]
    assert "12 decimals" in [str(how) for how in prints(np.array(fewer))]


def test_numbers_that_tell_nothing_do_not_count_against_others():
    """Six numbers below 1/64 look printed less often than 2^-40 by chance, whatever others do."""
    small = [0.0100001, 0.0110003, 0.0120007, 0.0130009, 0.0140001, 0.0150003]
    large = [1.0000001, 1.2000003, 1.4000007, 1.6000009, 1.8000003]
    assert "7 decimals" in [str(how) for how in prints(np.float32([*small, *large]))]
    assert prints(np.float32(small[1:])) == []


def following(timesteps, mask=None):
    """c = c + x - h / 2 and h = 2 c, so that c = x: an LSTM whose gates are 1, 1 and 2."""
    kernel, recurrent = [[0.0, 0.0, 1.0, 0.0]], [[0.0, 0.0, -0.5, 0.0]]
    bias = [1.0, 1.0, 0.0, 2.0]
    layer = rp.LSTM(kernel, recurrent, bias, "linear", "linear", dtype="float32")
    x = 0.5 + np.arange(timesteps).reshape(1, -1, 1) % 7 / 8
    return layer, Sequences.of(layer, x, mask), 2 * x


@pytest.mark.parametrize("size", [1, 7])
def test_a_cell_state_is_known_from_printed_outputs(size, monkeypatch):
    """By the steps alone c would be known less by 0.0025 after each of them: by 0.1 after 40."""
    in_blocks_of(monkeypatch, size)
    layer, sequences, outputs = following(40)
    assert within_print(layer, sequences, outputs, SINGLE, Print(2))
    outputs[0, -1] += 0.02
    assert within_print(layer, sequences, outputs, SINGLE, Print(2))
    outputs[0, -1] += 0.06
    assert not within_print(layer, sequences, outputs, SINGLE, Print(2))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_masked_step_leaves_the_cell_state_alone(size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    layer, sequences, outputs = following(4, [[True, False, True, True]])
    # h repeats 1 where c stays 1/2; then c = x again.
    outputs[0, 1] = outputs[0, 0]
    assert within_print(layer, sequences, outputs, SINGLE, Print(2))
    outputs[0, 3] += 0.1
    assert not within_print(layer, sequences, outputs, SINGLE, Print(2))


def test_a_ratio_of_one_is_within_the_print(monkeypatch):
    layer, x, outputs = exact()
    for ratio, within in ((1.0, True), (1.5, False)):
        module = import_module("rnn_parity.verdict.printed")
        monkeypatch.setattr(module, "ratios", lambda off, ball, r=ratio: np.full(off.shape, r))
        assert within_print(layer, Sequences.of(layer, x), outputs, SINGLE, Print(2)) is within
