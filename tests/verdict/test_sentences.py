"""Numbers in words, and what is said of an array of another shape, which is `diverged`."""

import math

import numpy as np
import pytest
from helpers import loop, random_weights
from hypothesis import given
from hypothesis import strategies as st

import rnn_parity as rp
from rnn_parity.verdict.results import Divergence, Shape
from rnn_parity.verdict.sentences import misfit, number, ratio, step_beyond, units_told

SHAPE = Shape(batch=4, timesteps=9, features=3, units=5)


@pytest.mark.parametrize(
    ("received", "expected", "said"),
    [
        (
            (9, 4, 5),
            (4, 9, 5),
            "axis 0 (9) fits timesteps; axis 1 (4) fits batch; axis 2 (5) fits units; "
            "transpose(1, 0, 2) would help",
        ),
        (
            (4, 9, 3),
            (4, 9, 5),
            "axis 0 (4) fits batch; axis 1 (9) fits timesteps; axis 2 (3) fits features",
        ),
        (
            (36, 5),
            (4, 9, 5),
            "axis 0 (36) fits nothing; axis 1 (5) fits units; "
            "reshape(4, 9, 5) would help, if the order is batch, timesteps, units",
        ),
        (
            (5, 4),
            (4, 5),
            "axis 0 (5) fits units; axis 1 (4) fits batch; transpose(1, 0) would help",
        ),
        # Two axes of one length, and an accident: none of them is a hint.
        ((4, 4), (4, 5), ""),
        ((9, 9, 9), (4, 9, 5), ""),
        ((4, 3, 5), (4, 9, 5), "axis 0 (4) fits batch; axis 2 (5) fits units"),
        ((), (4, 5), ""),
    ],
)
def test_misfit(received, expected, said):
    start = f"outputs: expected shape {expected}, received {received}"
    assert misfit("outputs", received, expected, SHAPE) == "; ".join(filter(None, (start, said)))


def test_nothing_is_said_of_what_could_be_several_things():
    shape = Shape(batch=4, timesteps=4, features=3, units=4)
    start = "y: expected shape (4, 4, 4), received"
    for received in ((4, 3, 4), (3, 4, 4), (4,), (4, 4)):
        assert misfit("y", received, (4, 4, 4), shape) == f"{start} {received}"
    two = Shape(batch=4, timesteps=9, features=3, units=4)
    # Two orders would give the shape: which one is right nobody can tell.
    assert "transpose" not in misfit("y", (9, 4, 4), (4, 9, 4), two)
    assert misfit("y", (2, 9, 4), (4, 9, 4), two).endswith(
        "axis 0 (2) fits nothing; axis 1 (9) fits timesteps"
    )


def test_many_axes_are_not_tried_in_every_order():
    received = (1,) * 30
    said = misfit("y", received, (4, 9, 5), SHAPE)
    assert said.startswith(f"y: expected shape (4, 9, 5), received {received}")


RIGHT = np.array([[1.0, 2, 3], [-1, 0, 1], [4, 5, -6], [2, 2, 7]])
"""Four units, of which three numbers each are known."""


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (RIGHT[:2], "missing: units 2, 3"),
        (RIGHT[[3, 1]], "missing: units 0, 2"),
        (RIGHT[:3] * (1 + 1e-7), "missing: unit 3"),
        (RIGHT[:0], "missing: units 0, 1, 2, 3"),
        (RIGHT[[0, 1, 2, 3, 0]], "too many: unit 4 of what was received"),
        (RIGHT[[0, 0, 1, 2, 3, 3]], "too many: units 1, 5 of what was received"),
        (RIGHT[:2] + 0.01, "2 units for 4; recognised by their numbers: none"),
        (RIGHT[:2] * [[1], [np.nan]], "2 units for 4; recognised by their numbers: unit 0"),
        (np.zeros((2, 3)), "2 units for 4; recognised by their numbers: none"),
    ],
)
def test_which_units_are_missing(seen, words):
    assert units_told(seen, RIGHT, near=1e-6) == words


def test_a_sentence_names_few_of_many_units():
    right = np.arange(40.0).reshape(20, 2)
    assert units_told(right[:1], right, 1e-6) == "missing: units 1, 2, 3, 4, 5, 6, 7, 8 and 11 more"


H, F, B, T = 5, 3, 2, 4


def drawn(kind, gates, **options):
    rng = np.random.default_rng(gates)
    n = [rng.normal(size=size) for size in ((F, gates * H), (H, gates * H), (gates * H,))]
    return kind(*n, dtype="float32", **options)


@pytest.mark.parametrize(
    "layer",
    [
        drawn(rp.SimpleRNN, 1),
        drawn(rp.SimpleRNN, 1, go_backwards=True),
        drawn(rp.LSTM, 4),
        drawn(rp.GRU, 3, reset_after=False),
    ],
    ids=["simple_rnn", "backwards", "lstm", "gru"],
)
@pytest.mark.parametrize("last", [False, True])
def test_outputs_of_other_units_diverge_and_the_units_are_named(layer, last):
    x = np.random.default_rng(0).normal(size=(B, T, F)).astype(np.float32)
    right = rp.replay(layer, x).outputs.astype(np.float32)
    right = right[:, -1] if last else right
    for units, end in (
        ([0, 1, 2, 3], "; missing: unit 4"),
        ([4, 1], "; missing: units 0, 2, 3"),
        ([], "; missing: units 0, 1, 2, 3, 4"),
        ([0, 1, 2, 3, 4, 2], "; too many: unit 5 of what was received"),
    ):
        (check,) = rp.compare(layer, x, right[..., units]).checks
        assert (check.verdict, check.causes) == ("diverged", ())
        shape, received = (B, H) if last else (B, T, H), (*right.shape[:-1], len(units))
        start = f"observed outputs: expected shape {shape}, received {received}; "
        assert check.summary.startswith(start)
        assert check.summary.endswith(end)
        (other,) = rp.check(layer, x, against=right[..., units]).checks
        assert (other.verdict, other.summary) == (check.verdict, check.summary)


@pytest.mark.parametrize("shape", [(B, 0, H), (0, T, H), (0, 0, 0), (B, T, H, 1), (B, 0), (0,)])
def test_outputs_without_numbers_diverge(shape):
    layer, x = drawn(rp.LSTM, 4), np.ones((B, T, F), np.float32)
    (check,) = rp.compare(layer, x, np.zeros(shape)).checks
    assert check.verdict == "diverged"
    assert f"received {shape}" in check.summary


def test_units_are_found_in_numbers_of_another_program():
    weights = random_weights(np.random.default_rng(1), F, H)
    x = np.random.default_rng(2).normal(size=(B, T, F)).astype(np.float32)
    outputs = loop(weights, x)[..., [0, 2, 3]]
    (check,) = rp.compare(rp.SimpleRNN(**weights), x, outputs).checks
    assert check.summary.endswith("; missing: units 1, 4")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1.00"),
        (0.5, "0.500"),
        (0.0012345, "0.00123"),
        (0.00099951, "0.00100"),
        (9.999, "10.0"),
        (100.0, "100"),
        (999.7, "1000"),
        (12345.0, "12300"),
        (999_999.0, "1.00e+06"),
        (4.768e-7, "4.77e-07"),
        (5e-324, "4.94e-324"),
        (-0.0625, "-0.0625"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert number(value) == text


@given(st.floats(-1e307, 1e307))
def test_a_number_reads_back_within_half_a_unit_of_its_third_digit(x):
    assert float(number(x)) == pytest.approx(x, rel=0.5001e-2, abs=5e-324)
    assert len(number(x)) <= 10


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1e-9, "<0.01"),
        (0.296, "0.30"),
        (0.994, "0.99"),
        (0.9999999, "<1.00"),
        (1.0, "1.00"),
        (1.0000001, ">1.00"),
        (1.006, "1.01"),
        (12.34, "12.3"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_ratio_never_reads_as_the_other_side_of_one(value, text):
    assert ratio(value) == text


@pytest.mark.parametrize(
    ("expected", "bound", "said"),
    [
        (0.0, 1e-38, "a step is 0.500 where only 0 is right, first at timestep 3"),
        (0.25, 1e-38, "a step is off by 0.250 where rounding moves nothing, first at timestep 3"),
        # Another step has that bound, and the first one has not.
        (0.0, 1e-6, "a step is further off than rounding can explain, first at timestep 3"),
    ],
)
def test_a_bound_of_nothing_is_told_in_words(expected, bound, said):
    assert step_beyond(8e37, Divergence(3, 0, 0, 0.5, expected, bound)) == said
