"""Verdicts: what is proven to be within rounding, what is proven not to be, and what is neither."""

import json

import numpy as np
import pytest
from helpers import loop, random_layer, random_weights, rounded, shuffled_loop

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball
from rnn_parity.errors import InputError
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict import comparison
from rnn_parity.verdict.judge import Observations, concluded, held_state, judge
from rnn_parity.verdict.resolution import Resolution
from rnn_parity.verdict.results import Check, Mask, StateRow, Subject
from rnn_parity.verdict.sentences import wide_bounds

pytestmark = pytest.mark.filterwarnings("error")


def case(seed=0, batch=4, timesteps=9, features=3, units=5, dtype="float32", gain=0.8, **options):
    """A layer, inputs, and the outputs of a loop in the layer's own dtype."""
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, features, units, dtype, gain)
    x = rounded(rng.normal(size=(batch, timesteps, features)), dtype)
    outputs = loop(weights, x, options.get("activation", "tanh"))
    return rp.SimpleRNN(**weights, dtype=dtype, **options), x, outputs.astype(np.float64)


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["111", "110", "100"], ("right", 3, 9)),
        (["111", "011", "000"], ("left", 4, 9)),
        (["011", "110"], ("scattered", 2, 6)),
        (["101"], ("scattered", 1, 3)),
        (["111"], ("none", 0, 3)),
        (["000", "000"], ("all", 6, 6)),
        (["0", "1"], ("right", 1, 2)),
    ],
)
def test_what_was_masked_is_told_in_the_order_of_the_inputs(rows, expected, go_backwards):
    mask = np.array([[letter == "1" for letter in row] for row in rows])
    rng = np.random.default_rng(0)
    layer = rp.SimpleRNN(**random_weights(rng, 3, 5), go_backwards=go_backwards)
    x = rng.normal(size=(*mask.shape, 3))
    outputs = rp.replay(layer, x, mask).outputs
    report = rp.compare(layer, x, outputs, mask=mask)
    assert report.checks[0].mask == Mask(*expected)
    document = json.loads(report.to_json())["checks"][0]["mask"]
    assert document == dict(zip(("pattern", "masked", "steps"), expected, strict=True))
    assert rp.compare(layer, x, outputs).checks[0].mask is None


def test_parity():
    layer, x, outputs = case()
    report = rp.compare(layer, x, outputs, outputs[:, -1])
    check = report.checks[0]
    assert (report.verdict, report.exit_code, bool(report)) == ("parity", 0, True)
    assert (check.dtype, check.arithmetic) == ("float32", "float32")
    assert (check.shape.batch, check.shape.timesteps) == (4, 9)
    assert (check.shape.features, check.shape.units) == (3, 5)
    assert check.first_divergence is None
    assert 24 <= check.effective_bits <= 31
    assert check.max_deviation < 1e-6
    assert json.loads(report.to_json())["exit_code"] == 0


def test_diverged():
    layer, x, outputs = case()
    outputs[1, 3, 2] += 1e-4
    report = rp.compare(layer, x, outputs)
    assert (report.verdict, report.exit_code, bool(report)) == ("diverged", 1, False)
    assert "timestep 3" in report.summary
    assert report.checks[0].effective_bits < 20
    assert json.loads(report.to_json())["checks"][0]["first_divergence"]["timestep"] == 3


def test_a_stale_final_state():
    layer, x, outputs = case()
    report = rp.compare(layer, x, outputs, outputs[:, -2])
    assert (report.verdict, report.exit_code) == ("diverged", 1)
    assert "final state" in report.summary
    check = report.checks[0]
    assert check.first_divergence is None
    assert max(row.max_ratio for row in check.timesteps) <= 1
    row = check.final_state[0]
    apart = np.abs(outputs[:, -1] - outputs[:, -2])
    assert row.name == "h"
    assert row.max_deviation == pytest.approx(apart.max(), abs=1e-6)  # from the step's own number
    assert check.max_ratio == row.max_ratio > 1


@pytest.mark.parametrize("activation", ["linear", "relu"])  # the quick way, and the general one
@pytest.mark.parametrize(("ulps", "verdict"), [(0, "parity"), (1, "parity"), (2, "diverged")])
def test_a_state_may_have_been_computed_once_more(ulps, verdict, activation, monkeypatch):
    monkeypatch.setattr(comparison, "WORTH", 0)
    # 3 = 2 + 1/2 2, from two terms: within 2 u 3, however often it is computed. An ULP is 4 u.
    layer = rp.SimpleRNN([[1.0]], [[0.5]], activation=activation, dtype="float32")
    state = np.float32([[3 + ulps * 2.0**-22]])
    report = rp.compare(layer, np.full((1, 2, 1), 2.0), np.float32([[[2], [3]]]), state)
    assert report.verdict == verdict
    (row,) = report.checks[0].final_state
    assert row.max_ratio == pytest.approx(4 * ulps / 6, rel=1e-3)


@pytest.mark.parametrize("units", [30, 128, 300])
def test_a_bound_that_cannot_fail_proves_nothing(units):
    """bfloat16 throughout: with so many terms any numbers in [-1, 1] are within the bound."""
    layer, x, outputs = case(units=units, features=units, dtype="bfloat16")
    rng = np.random.default_rng(3)
    wrong = rounded(rng.uniform(-1, 1, outputs.shape), "bfloat16")
    report = rp.compare(layer, x, wrong)
    assert report.verdict in ("diverged", "inconclusive")
    assert (report.exit_code, bool(report)) in ((1, False), (3, False))


def test_sums_in_float32_are_still_proven_where_bfloat16_sums_are_not():
    layer, x, _ = case(units=300, dtype="bfloat16")
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 3, 300, "bfloat16")
    right = shuffled_loop(rng, weights, x, "float32", "bfloat16", True)
    check = rp.compare(layer, x, right).checks[0]
    assert (check.verdict, check.arithmetic) == ("parity", "bfloat16, sums in float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_arithmetic_that_explains_the_numbers_is_named(dtype):
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 12, 2, dtype, gain=0.1)
    weights["kernel"] = np.abs(weights["kernel"])
    x = rounded(rng.uniform(0.5, 1.5, size=(20, 9, 12)), dtype)
    # Where large terms cancel, the rounding of the sums shows in a small result.
    x[-1, :, ::2] *= -1
    layer = rp.SimpleRNN(**weights, activation="linear")
    for sums, name in (("float32", f"{dtype}, sums in float32"), (dtype, dtype)):
        outputs = shuffled_loop(rng, weights, x, sums, dtype, False, "linear")
        check = rp.compare(layer, x, outputs).checks[0]
        assert (check.verdict, check.arithmetic) == ("parity", name)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite(value):
    layer, x, _ = case(activation="linear")
    x[1, 3, 2] = value
    right = rp.replay(layer, x).outputs.astype(np.float32)
    assert not np.isfinite(right[1, 3]).any()
    assert np.isfinite(right[[0, 2, 3]]).all()
    assert rp.compare(layer, x, right, right[:, -1])
    for wrong in (0.5, np.nan, np.inf, -np.inf):
        if not np.array_equal(right[1, 3, 2], wrong, equal_nan=True):
            changed = right.copy()
            changed[1, 3, 2] = wrong
            first = rp.compare(layer, x, changed).checks[0].first_divergence
            assert (first.timestep, first.batch, first.unit) == (3, 1, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_only_the_observed_has(value):
    layer, x, outputs = case()
    outputs[1, 3:, 2] = value
    report = rp.compare(layer, x, outputs)
    assert (report.verdict, report.checks[0].first_divergence.timestep) == ("diverged", 3)
    assert f'"observed":"{value}"' in report.to_json().replace(" ", "")
    layer, x, outputs = case()
    state = outputs[:, -1].copy()
    state[0, 0] = value
    assert rp.compare(layer, x, outputs, state).verdict == "diverged"


@pytest.mark.parametrize("scale", [1e4, 1e10, 1e30])
def test_a_saturated_layer(scale):
    """Where tanh is 1 whatever the rounding of its argument, another number is wrong."""
    layer = rp.SimpleRNN([[1.0, -1.0]], np.eye(2) / 2, dtype="float32")
    x = np.full((1, 3, 1), scale)
    right = np.array([[[1.0, -1.0]] * 3])
    assert rp.compare(layer, x, right)
    assert rp.compare(layer, x, 0.5 * right).verdict == "diverged"


def test_numbers_that_may_overflow_prove_nothing():
    layer = rp.SimpleRNN([[1e19]], [[0.0]], activation="linear", dtype="float32")
    x = np.float32([[[1e20], [1.0]]])
    for outputs in ([[[np.inf], [1e19]]], [[[1e39], [1e19]]]):
        report = rp.compare(layer, x, outputs)
        assert report.verdict == "inconclusive"
        assert report.checks[0].summary == (
            "the rounding bound is vacuous in float32: the sums are too long, or the numbers too "
            "near the ends of its range, to prove anything"
        )


def test_weights_that_are_no_numbers_prove_nothing():
    layer = rp.SimpleRNN([[np.nan, 1.0]], np.zeros((2, 2)), dtype="float32")
    report = rp.compare(layer, np.ones((1, 1, 1)), np.tanh([[[np.nan, 1.0]]]))
    assert report.verdict == "inconclusive"
    assert "some weights are no numbers (NaN)" in report.summary


def test_an_exploding_recurrence_is_no_error():
    with np.errstate(all="ignore"):
        layer, x, outputs = case(gain=40.0, timesteps=300, activation="linear")
    assert not np.isfinite(outputs).all()
    check = rp.compare(layer, x, outputs).checks[0]
    assert check.verdict in ("inconclusive", "parity")
    assert check.first_divergence is None


# Only the last output.


@pytest.mark.parametrize("timesteps", [1, 2, 9, 40])
def test_the_last_output_alone(timesteps):
    layer, x, outputs = case(timesteps=timesteps)
    report = rp.compare(layer, x, outputs[:, -1], outputs[:, -1])
    check = report.checks[0]
    assert (report.verdict, len(check.timesteps)) == ("parity", 0)
    assert [row.name for row in check.final_state] == ["output", "h"]
    wrong = outputs[:, -1].copy()
    wrong[2, 1] += 1e-3
    report = rp.compare(layer, x, wrong)
    assert (report.verdict, report.exit_code) == ("diverged", 1)
    assert (report.checks[0].final_state[0].batch, report.checks[0].final_state[0].unit) == (2, 1)
    assert rp.compare(layer, x, outputs[:, -1], wrong).verdict == "diverged"


@pytest.mark.parametrize("timesteps", [100, 3000])
def test_the_last_output_of_a_long_expanding_sequence_proves_nothing(timesteps):
    layer, x, outputs = case(timesteps=timesteps, gain=6.0)
    report = rp.compare(layer, x, outputs[:, -1])
    assert (report.verdict, report.exit_code, bool(report)) == ("inconclusive", 3, False)
    assert rp.compare(layer, x, outputs)


def test_the_last_output_of_dead_units():
    layer = rp.SimpleRNN(-np.ones((3, 2)), np.eye(2), activation="relu")
    x = np.ones((1, 4, 3))
    assert rp.compare(layer, x, np.zeros((1, 2)))
    assert not rp.compare(layer, x, np.full((1, 2), 1e-3))


def test_the_last_output_of_another_run():
    layer, x, outputs = case()
    sequences = Sequences.of(layer, x)
    for last, verdict in ((outputs[:, -1], "parity"), (outputs[:, -2], "diverged")):
        check = judge(layer, sequences, Observations(outputs, (), last), Subject()).check
        assert check.verdict == verdict
        assert check.final_state[0].name == "output"


@pytest.mark.parametrize("last", [False, True])
def test_when_everything_is_masked_zeros_prove_nothing(last):
    layer, x, outputs = case()
    mask = np.zeros(x.shape[:2], bool)
    shape = outputs[:, -1].shape if last else outputs.shape
    report = rp.compare(layer, x, np.zeros(shape), np.zeros((4, 5)), mask)
    assert (report.verdict, report.exit_code) == ("inconclusive", 3)
    # More outputs would not help, which is said of last outputs elsewhere.
    assert (
        report.checks[0].summary == "every timestep is masked, so that there was nothing to compare"
    )
    wrong = rp.compare(layer, x, np.full(shape, 1.234567891e-3), np.zeros((4, 5)), mask)
    assert wrong.verdict == "diverged"


def test_a_users_activation_is_said_to_be_estimated():
    rng = np.random.default_rng(0)
    layer = random_layer(rng, activation=np.tanh)
    x = rng.normal(size=(4, 9, 3))
    outputs = rp.replay(layer, x).outputs
    check = rp.compare(layer, x, outputs).checks[0]
    assert check.verdict == "parity"
    assert any("estimated" in note for note in check.notes)


@pytest.mark.parametrize("value", ["abc", None, [[1.0, 2.0], [3.0]], [[1j]]])
@pytest.mark.parametrize("name", ["observed_outputs", "observed_final_state"])
def test_observed_things_that_are_no_numbers_are_refused(name, value):
    if name == "observed_final_state" and value is None:
        pytest.skip("no final state is no mistake")
    layer, x, outputs = case()
    arguments = {"observed_outputs": outputs, name: value}
    with pytest.raises(InputError, match=r"^observed [^\n]*expected [^\n]*received [^\n]*$"):
        rp.compare(layer, x, **arguments)


# The sentences, and the numbers beside them.


@pytest.mark.parametrize(
    ("outputs", "state", "summary"),
    [
        (
            (9, 4, 6),
            None,
            "observed outputs: expected shape (4, 9, 5), received (9, 4, 6); axis 0 (9) fits "
            "timesteps; axis 1 (4) fits batch; axis 2 (6) fits nothing",
        ),
        (
            (9, 4, 5),
            None,
            "observed outputs: expected shape (4, 9, 5), received (9, 4, 5); axis 0 (9) fits "
            "timesteps; axis 1 (4) fits batch; axis 2 (5) fits units; transpose(1, 0, 2) would "
            "help",
        ),
        (
            (4,),
            None,
            "observed outputs: expected shape (4, 9, 5), received (4,); axis 0 (4) fits batch",
        ),
        ((), None, "observed outputs: expected shape (4, 9, 5), received ()"),
        (
            (4, 8, 6),
            None,
            "observed outputs: expected shape (4, 9, 5), received (4, 8, 6); axis 0 (4) fits "
            "batch; axis 1 (8) fits nothing; axis 2 (6) fits nothing",
        ),
        (
            (4, 9, 5),
            (4, 4),
            "observed final state: expected shape (4, 5), received (4, 4)",
        ),
    ],
)
def test_another_shape_diverges(outputs, state, summary):
    """No units are told where they are not what is wrong."""
    layer, x, _ = case()
    report = rp.compare(layer, x, np.zeros(outputs), None if state is None else np.zeros(state))
    assert (report.verdict, report.exit_code, report.checks[0].summary) == ("diverged", 1, summary)
    assert report.checks[0].max_deviation is None
    assert str(report)


def three_units():
    """h = x (1, 2, 3) for x = 1, 10, 100, with nothing handed on."""
    kernel, nothing = [[1.0, 2.0, 3.0]], np.zeros((3, 3))
    layer = rp.SimpleRNN(kernel, nothing, activation="linear", dtype="float32")
    x = np.array([[[1.0], [10.0], [100.0]]])
    return layer, x, x * [1.0, 2.0, 3.0]


def test_units_that_are_missing_are_told_from_sequences_and_from_last_outputs():
    layer, x, outputs = three_units()
    for seen in (outputs[..., [0, 2]], outputs[:, -1, [0, 2]]):
        assert rp.compare(layer, x, seen).checks[0].summary.endswith("; missing: unit 1")


@pytest.mark.parametrize(("dtype", "digits"), [("float64", 17), ("float32", 9), ("float16", 9)])
def test_how_many_digits_to_print(dtype, digits):
    layer, x, _ = case(dtype=dtype, timesteps=30)
    printed = np.round(rp.replay(layer, x).outputs, 2)
    check = rp.compare(layer, x, printed).checks[0]
    assert check.summary == (
        "the observed numbers were printed with 2 decimals, within which they neither prove nor "
        f"refute parity in {dtype}: print {digits} significant digits (%.{digits}g)"
    )
    assert check.effective_bits == pytest.approx(6.6439, abs=1e-4)  # two decimal digits
    assert check.first_divergence is None


def cancelling(timesteps, dtype="float32"):
    """x = 2^24 and 2^24 - 1, of which the difference is 1: with h W three terms, 3 u 2^25 is 6."""
    layer = rp.SimpleRNN([[1.0], [-1.0]], [[0.0]], activation="linear", dtype=dtype)
    return layer, np.full((1, timesteps, 2), [2.0**24, 2.0**24 - 1]), np.ones((1, timesteps, 1))


WIDE = (
    "is as wide as 6.00 times the numbers themselves in float32 (more than 0.75), so that others "
    "would pass as well"
)


def test_a_bound_that_is_wider_than_the_numbers_is_told():
    layer, x, outputs = cancelling(1)
    check = rp.compare(layer, x, outputs, outputs[:, -1]).checks[0]
    assert check.verdict == "inconclusive"
    assert check.summary == f"the bound of unit 0 of the outputs {WIDE}"
    assert check.effective_bits is None


@pytest.mark.parametrize(("timesteps", "grown"), [(1, False), (2, True), (3, True)])
def test_more_outputs_would_help_where_a_bound_has_grown(timesteps, grown):
    layer, x, outputs = cancelling(timesteps)
    check = rp.compare(layer, x, outputs[:, -1]).checks[0]
    assert check.verdict == "inconclusive"
    assert ("observe the whole sequence of outputs" in check.summary) is grown


def test_a_last_output_that_is_off():
    layer, x, outputs = three_units()
    wrong = outputs[:, -1] + [0.0, 0.5, 0.0]
    found = judge(layer, Sequences.of(layer, x), Observations(wrong), Subject())
    check = found.check
    assert found.arithmetic.name == check.arithmetic == "float32"
    assert check.summary == (
        "the last output is off by 0.500, 10500 times as far as rounding over all timesteps can "
        "explain"
    )
    assert check.max_deviation == 0.5
    (row,) = check.final_state
    # An ULP at 200 is 2^-16.
    assert (row.max_ulp, row.max_deviation, row.batch, row.unit) == (2**15, 0.5, 0, 1)
    right = judge(layer, Sequences.of(layer, x), Observations(outputs[:, -1]), Subject()).check
    assert (right.max_ratio, right.effective_bits, right.max_deviation) == (0, np.inf, 0)
    assert right.summary == "the last output is within rounding, at 0 of its bound"


def test_a_final_state_that_is_off():
    layer, x, outputs = three_units()
    check = rp.compare(layer, x, outputs, outputs[:, -1] + [0.0, 0.5, 0.0]).checks[0]
    assert check.summary == "the final state h is off by 0.500 from what the outputs say"


U = 2.0**-24


@pytest.mark.parametrize(
    ("factor", "ratio"),
    [
        (0.0, 0.0),
        (1.0, 1.0),  # rounded once more
        (1.5, None),  # of another run, whose steps may have been rounded otherwise
    ],
)
def test_a_last_output_that_was_rounded_otherwise_may_be_another_runs(factor, ratio):
    layer = rp.SimpleRNN([[1.0]], [[0.5]], activation="linear", dtype="float32")
    x = np.array([[[1.0], [0.25], [0.625]]])
    outputs = np.array([[[1.0], [0.75], [1.0]]])
    last = np.array([[1 + factor * U]])
    check = judge(layer, Sequences.of(layer, x), Observations(outputs, (), last), Subject()).check
    assert check.verdict == "parity"
    (row,) = check.final_state
    assert row.max_deviation == factor * U
    if ratio is not None:
        assert row.max_ratio == ratio
    assert row.max_ratio <= 1


def test_a_held_state_has_its_name():
    arithmetic = Arithmetic(FLOAT32, FLOAT32)
    ball = Ball(np.array([[2.0]]), np.float32([[0.5]]), arithmetic)
    held = held_state("c", np.float32([[2.25]]), ball, np.array([[2.0]]), FLOAT32)
    assert (held.row.name, held.resolution.name) == ("c", "c")
    assert (held.row.max_ratio, held.resolution.worst) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("step_ratio", "why", "verdict", "bits", "summary"),
    [
        (0.0, "", "parity", np.inf, "every step is within rounding, the largest at 0 of its bound"),
        (1.0, "", "parity", 24, "every step is within rounding, the largest at 1.00 of its bound"),
        (2.0, "", "diverged", 23, "a step is 2.00 times as far off as rounding can explain"),
        (0.5, "nothing", "inconclusive", None, "nothing"),
    ],
)
def test_what_ratios_conclude(step_ratio, why, verdict, bits, summary):
    check = Check(Subject(), "inconclusive", "", dtype="float32")
    outputs = Resolution("outputs", np.array([0.0625]), np.array([False]), 0.0)
    found = concluded(check, step_ratio, why, [outputs])
    assert (found.verdict, found.effective_bits, found.summary) == (verdict, bits, summary)
    assert (found.max_ratio, found.resolution) == (step_ratio, 0.0625)


def test_a_wide_bound_is_told_of_a_check_that_passes():
    check = Check(Subject(), "inconclusive", "", dtype="float32")
    outputs = Resolution("outputs", np.array([0.5]), np.array([False]), 0.25)
    largest, *rest = concluded(check, 0.5, "", [outputs]).summary.split("; ")
    assert largest == "every step is within rounding, the largest at 0.50 of its bound"
    assert rest == wide_bounds([outputs])
    assert rest


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "parity"), (1.5, "diverged")])
def test_a_state_may_be_on_its_bound(ratio, verdict):
    row = StateRow("h", 0.5, 1, ratio, 0, 0)
    check = Check(Subject(), "inconclusive", "", dtype="float32", final_state=(row,))
    h = Resolution("h", np.array([0.0625]), np.array([False]), 0.0)
    assert concluded(check, 0.0, "", [h]).verdict == verdict


def test_a_last_output_of_another_shape():
    layer, x, outputs = three_units()
    observed = Observations(outputs, (), outputs[:, -1, :2])
    found = judge(layer, Sequences.of(layer, x), observed, Subject())
    start = "observed last output: expected shape (1, 3), received (1, 2)"
    assert found.check.summary.startswith(start)
    assert found.arithmetic.name == "float32"
    assert found.found is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_last_output_in_the_dtype_that_it_came_in(dtype):
    kernel, nothing = [[1.0, 2.0, 3.0]], np.zeros((3, 3))
    layer = rp.SimpleRNN(kernel, nothing, activation="linear", dtype=dtype)
    x = np.array([[[1.0], [10.0], [100.0]]])
    outputs = (x * [1.0, 2.0, 3.0]).astype(dtype)
    observed = Observations(outputs, (), outputs[:, -1])
    check = judge(layer, Sequences.of(layer, x), observed, Subject()).check
    assert (check.verdict, check.final_state[0].max_deviation) == ("parity", 0)


def test_faint_units_are_a_note_beside_the_others():
    check = Check(Subject(), "inconclusive", "", dtype="float32", notes=("another",))
    outputs = Resolution("outputs", np.array([0.5, 0.0625]), np.array([True, False]), 0.0)
    another, faint = concluded(check, 0.0, "", [outputs]).notes
    assert another == "another"
    assert faint.startswith("unit 0 of the outputs: next to nothing")


def test_no_unit_is_faint_where_all_are_masked_or_zeros():
    layer, x, outputs = case()
    zeros = np.zeros_like(outputs)
    check = rp.compare(layer, x, zeros, zeros[:, -1], mask=np.zeros(x.shape[:2], bool)).checks[0]
    assert (check.verdict, check.notes) == ("inconclusive", ())
    never = rp.SimpleRNN(
        np.zeros((3, 5)), np.eye(5), np.full(5, -1.0), activation="relu", dtype="float32"
    )
    check = rp.compare(never, x, zeros, zeros[:, -1]).checks[0]
    assert (check.verdict, check.notes) == ("parity", ())


def test_a_printed_last_output_within_its_bound_has_a_note():
    layer, x, outputs = case()
    check = rp.compare(layer, x, np.round(outputs[:, -1], 7)).checks[0]
    assert check.verdict == "parity"
    assert check.notes == (
        "the observed numbers were printed with 7 decimals: %.9g would show more",
    )
    assert rp.compare(layer, x, outputs[:, -1]).checks[0].notes == ()
