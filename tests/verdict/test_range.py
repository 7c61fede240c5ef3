"""Where numbers leave the range of their format nothing is proven, and nobody is accused."""

import numpy as np
import pytest

import rnn_parity as rp

ONE = np.ones((1, 1, 1))
INFINITE = np.array([[[np.inf]]])
NOTHING = np.full((1, 1, 1), np.nan)


def one_step(weights, observed, x=ONE, **state):
    return rp.compare(weights, x, observed, **state).verdict


def lstm(dtype, **options):
    """c = 2 c and h = c: all gates linear, of bias 2 (forget), 1 (output) and 0."""
    options = {"activation": None, "recurrent_activation": None, **options}
    return rp.LSTM(np.zeros((1, 4)), np.zeros((1, 4)), [0, 2, 0, 1], dtype=dtype, **options)


def test_within_the_range_the_cell_state_is_judged():
    state = ([[0.0]], [[10.0]])
    assert one_step(lstm("float16"), 20 * ONE, initial_state=state) == "parity"
    assert one_step(lstm("float16"), 21 * ONE, initial_state=state) == "diverged"


@pytest.mark.parametrize("observed", [INFINITE, NOTHING])
def test_a_product_that_overflows_before_the_addend_brings_it_back(observed):
    """2 * 40000 is infinite in float16; with i g = -30000 the sum would not be."""
    weights = lstm("float16")
    weights = weights.changed(bias=np.array([-100.0, 2, 300, 1]))
    state = ([[0.0]], [[40000.0]])
    assert rp.replay(weights, ONE, initial_state=state).final_state[1].item() == 50000
    assert one_step(weights, observed, initial_state=state) == "inconclusive"


def test_what_may_be_no_number_is_not_mended_by_an_activation():
    """c is beyond the range either way, so tanh(c) may be that of no number."""
    weights = lstm("float16", activation="tanh")
    state = ([[0.0]], [[60000.0]])
    assert one_step(weights, NOTHING, initial_state=state) == "inconclusive"


def test_sums_that_overflow_in_some_order():
    weights = rp.SimpleRNN([[2.0], [-2.0]], [[0.0]], activation="tanh", dtype="float16")
    assert one_step(weights, NOTHING, np.full((1, 1, 2), 60000.0)) == "inconclusive"


def gru(*gates):
    """z, r and hh without weights, of these biases."""
    kernel = np.zeros((1, 3))
    return rp.GRU(kernel, kernel, gates, None, None, reset_after=False, dtype="float32")


@pytest.mark.parametrize("observed", [-INFINITE, NOTHING])
def test_a_result_beyond_float32_is_not_taken_for_zero(observed):
    """(1 - z) hh = -1e40, which no float32 holds."""
    assert one_step(gru(1e20, 0.0, 1e20), observed) == "inconclusive"


def test_infinity_times_zero_is_no_number():
    """r h = 1e40 times a recurrent kernel of 0."""
    assert one_step(gru(0.0, 1e20, 1.0), NOTHING, initial_state=[[1e20]]) == "inconclusive"


@pytest.mark.parametrize(
    ("x", "observed", "words"),
    [
        ([1.0, 1.0], [1.0, 1.5], "times as far off as rounding can explain, first at timestep 1"),
        ([1.0, 1.0], [1.0, np.nan], "a step is infinity or no number, first at timestep 1"),
        ([1.0, np.inf], [1.0, 0.0], "a step is a number where inf is right, first at timestep 1"),
        ([np.nan, 1.0], [0.0, 1.0], "a step is a number where nan is right, first at timestep 0"),
        # The first is half of what is right; only the second is no number.
        ([1.0, 1.0], [0.5, np.nan], "a step is further off than rounding can explain, first at ti"),
    ],
)
def test_what_is_infinitely_far_off_is_told_by_its_kind(x, observed, words):
    weights = rp.SimpleRNN([[1.0]], [[0.0]], activation=None, dtype="float32")
    report = rp.compare(weights, np.reshape(x, (1, 2, 1)), np.reshape(observed, (1, 2, 1)))
    assert report.verdict == "diverged"
    assert words in report.summary


def test_a_masked_step_that_should_be_zero_is_a_number_nevertheless():
    # 5 over the smallest normal float32, 1.2e-38, is more than a float32 holds.
    weights = rp.SimpleRNN([[1.0]], [[0.0]], zero_output_for_mask=True, dtype="float32")
    report = rp.compare(weights, ONE, 5 * ONE, mask=[[False]])
    assert report.checks[0].summary.startswith("a step is 5.00 where only 0 is right, first at t")


@pytest.mark.parametrize("last", [1.0, np.nan])
@pytest.mark.parametrize(
    ("activation", "first"),
    [("softsign", 0.5), ("softmax", 1.0), (lambda z: z / (1 + abs(z)), 0.5)],
    ids=["softsign", "softmax", "custom"],
)
def test_at_infinity_a_formula_may_give_its_limit_or_no_number(activation, first, last):
    """z / (1 + |z|) is infinity over infinity there, unless somebody divides by |z| first."""
    weights = rp.SimpleRNN([[1.0]], [[0.0]], activation=activation, dtype="float32")
    x = np.reshape([1.0, np.inf], (1, 2, 1))
    assert one_step(weights, np.reshape([first, last], (1, 2, 1)), x) == "inconclusive"


@pytest.mark.parametrize(("last", "verdict"), [(1.0, "parity"), (np.nan, "diverged")])
def test_at_infinity_other_functions_have_one_value(last, verdict):
    weights = rp.SimpleRNN([[1.0]], [[0.0]], activation="hard_tanh", dtype="float32")
    x = np.reshape([0.5, np.inf], (1, 2, 1))
    assert one_step(weights, np.reshape([0.5, last], (1, 2, 1)), x) == verdict
