"""What a `Bidirectional` merges and hands on, worked out by hand on a few numbers."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from rnn_parity.recurrence.layer_call import Handed, Merge
from rnn_parity.verdict.bidirectional import judge_merge
from rnn_parity.verdict.results import Subject

X = np.arange(6.0, dtype="float32").reshape(1, 3, 2)
MASK = np.array([[True, False, True]])
# One unit, three timesteps; the backward layer's first output belongs to the last timestep.
FORWARD = np.array([[[1.0], [2.0], [3.0]]], "float32")
BACKWARD = np.array([[[10.0], [20.0], [40.0]]], "float32")
MERGED = {
    "concat": [[[1, 40], [2, 20], [3, 10]]],
    "sum": [[[41], [22], [13]]],
    "mul": [[[40], [40], [30]]],
    "ave": [[[20.5], [11], [6.5]]],
}


def handed(*returned, states=(), x=X, mask=None):
    return Handed(x, mask, states, returned)


def merge_of(mode, *whole, sequences=True, forward=FORWARD, backward=BACKWARD, dtype="float32"):
    whole = [np.array(one, dtype) for one in whole]
    return Merge(mode, sequences, (), handed(*whole), handed(forward), handed(backward))


def check(merge):
    return judge_merge(merge, Subject(layer_class="Bidirectional"))


@pytest.mark.parametrize("mode", MERGED)
def test_every_merge_mode(mode):
    found = check(merge_of(mode, MERGED[mode]))
    assert (found.verdict, found.max_ratio, len(found.timesteps)) == ("parity", 0, 3)
    assert found.effective_bits == np.inf
    assert (found.shape.features, found.shape.units) == (2, 2 if mode == "concat" else 1)


def test_two_outputs_are_not_merged():
    merge = merge_of(None, [[[1], [2], [3]]], [[[40], [20], [10]]])
    assert check(merge).verdict == "parity"
    assert check(merge_of(None, [[[1], [2], [3]]], BACKWARD)).verdict == "diverged"


@pytest.mark.parametrize("mode", MERGED)
def test_backward_outputs_that_are_not_reversed(mode):
    wrong = {
        "concat": [[[1, 10], [2, 20], [3, 40]]],
        "sum": [[[11], [22], [43]]],
        "mul": [[[10], [40], [120]]],
        "ave": [[[5.5], [11], [21.5]]],
    }
    found = check(merge_of(mode, wrong[mode]))
    first = found.first_divergence
    assert (found.verdict, first.timestep, first.batch) == ("diverged", 0, 0)
    assert first.unit == (1 if mode == "concat" else 0)
    assert (first.observed, first.expected) == (
        wrong[mode][0][0][first.unit],
        MERGED[mode][0][0][first.unit],
    )
    assert "first at timestep 0" in found.summary
    assert first.origin == "from what the two layers returned"
    assert [row.max_ratio > 1 for row in found.timesteps] == [True, False, True]


@pytest.mark.parametrize(("mode", "other"), [("sum", "ave"), ("ave", "mul"), ("mul", "sum")])
def test_another_merge_mode(mode, other):
    assert check(merge_of(mode, MERGED[other])).verdict == "diverged"


def test_halves_the_other_way_round():
    assert check(merge_of("concat", np.flip(MERGED["concat"], -1))).verdict == "diverged"


@pytest.mark.parametrize(
    ("mode", "right", "wrong"),
    [
        # 1 + 2**-23 and 2**-24 add up to a tie; 3 ULPs off is too far for one rounding.
        ("sum", 1 + 2.0**-23, 1 + 4 * 2.0**-23),
        ("mul", (1 + 2.0**-23) * 2.0**-24, (1 + 4 * 2.0**-23) * 2.0**-24),
        ("ave", (1 + 2.0**-23) / 2, (1 + 4 * 2.0**-23) / 2),
        ("concat", 1 + 2.0**-23, 1 + 2 * 2.0**-23),
    ],
)
def test_one_rounding_is_allowed_and_no_more(mode, right, wrong):
    parts = {
        "forward": np.full((1, 1, 1), 1 + 2.0**-23, "float32"),
        "backward": np.full((1, 1, 1), 2.0**-24, "float32"),
    }
    side = (2.0**-24,) * (mode == "concat")
    assert check(merge_of(mode, [[[right, *side]]], **parts)).verdict == "parity"
    assert check(merge_of(mode, [[[wrong, *side]]], **parts)).verdict == "diverged"


def test_a_sum_may_be_fused_with_the_product_before_it():
    """`x x - 1` for x = 1 + 3 * 2**-23: the product is rounded first, as it is returned, or not."""
    parts = {
        "forward": np.full((1, 1, 1), 1 + 6 * 2.0**-23, "float32"),
        "backward": np.full((1, 1, 1), -1, "float32"),
    }
    merge = merge_of("sum", [[[6 * 2.0**-23 + 9 * 2.0**-46]]], **parts)
    assert check(merge).verdict == "diverged"
    spreads = [[np.full((1, 1, 1), spread)] for spread in (2.0**-24, 0)]
    assert judge_merge(merge, Subject(), spreads).verdict == "parity"
    wrong = merge_of("sum", [[[8 * 2.0**-23]]], **parts)
    assert judge_merge(wrong, Subject(), spreads).verdict == "diverged"


def test_parts_are_rounded_to_the_format_of_the_wrapper():
    # 1 + 2**-9 and 1 + 3 * 2**-9 lie between neighbours of bfloat16, which are 2**-7 apart.
    parts = {
        "forward": np.full((1, 1, 1), 1 + 2.0**-9, "float32"),
        "backward": np.full((1, 1, 1), 1 + 3 * 2.0**-9, "float32"),
    }
    found = check(merge_of("concat", [[[1, 1 + 2.0**-7]]], dtype=ml_dtypes.bfloat16, **parts))
    assert (found.verdict, found.dtype, found.max_ratio) == ("parity", "bfloat16", 0)
    wrong = merge_of("concat", [[[1, 1]]], dtype=ml_dtypes.bfloat16, **parts)
    assert check(wrong).verdict == "diverged"


def test_last_outputs_are_not_reversed():
    parts = {"forward": FORWARD[:, 2], "backward": BACKWARD[:, 2], "sequences": False}
    found = check(merge_of("sum", [[43]], **parts))
    assert (found.verdict, found.timesteps) == ("parity", ())
    assert [row.name for row in found.final_state] == ["output"]
    found = check(merge_of("sum", [[42]], **parts))
    assert found.verdict == "diverged"
    assert found.summary == "the last output is not the sum of the parts' outputs: off by 1.00"


def test_images_over_time_are_merged_along_the_last_axis():
    forward = np.arange(8.0, dtype="float32").reshape(1, 2, 2, 2)
    backward = forward[:, ::-1] + 10
    whole = np.array([[[[0, 1, 10, 11], [2, 3, 12, 13]], [[4, 5, 14, 15], [6, 7, 16, 17]]]])
    found = check(merge_of("concat", whole, forward=forward, backward=backward))
    assert (found.verdict, len(found.timesteps), found.shape.units) == ("parity", 2, 4)
    assert (
        check(merge_of("concat", whole[..., ::-1], forward=forward, backward=backward)).verdict
        == "diverged"
    )


def with_states(*returned, given=(), forward=(), backward=()):
    h = [np.full((1, 1), value, "float32") for value in (5, 6, 7, 8)]
    merge = merge_of("sum", MERGED["sum"])
    start = [
        np.full((1, 1), value, "float32") for value in (given, forward, backward) for value in value
    ]
    a, b = len(given), len(given) + len(forward)
    return replace(
        merge,
        states=("h", "c"),
        whole=handed(merge.whole.returned[0], *(h[i] for i in returned), states=start[:a]),
        forward=handed(FORWARD, h[0], h[1], states=start[a:b]),
        backward=handed(BACKWARD, h[2], h[3], states=start[b:]),
    )


def test_returned_states_are_the_layers():
    found = check(with_states(0, 1, 2, 3))
    assert found.verdict == "parity"
    names = ["forward h", "forward c", "backward h", "backward c"]
    assert [row.name for row in found.final_state] == names
    found = check(with_states(0, 1, 3, 3))
    assert found.verdict == "diverged"
    assert found.summary == "the backward h returned is not the layer's: off by 1.00"
    assert check(with_states(2, 3, 0, 1)).verdict == "diverged"
    found = check(with_states(0, 1, 2))
    assert (found.verdict, found.max_ratio) == ("diverged", None)
    assert found.summary.startswith("merged outputs and states: expected shapes ")


def test_each_layer_gets_its_half_of_the_initial_states():
    right = with_states(0, 1, 2, 3, given=(1, 2, 3, 4), forward=(1, 2), backward=(3, 4))
    assert check(right).verdict == "parity"
    for forward, backward in [((3, 4), (1, 2)), ((1, 2), (1, 2)), ((1, 2), ())]:
        given = {"given": (1, 2, 3, 4), "forward": forward, "backward": backward}
        found = check(with_states(0, 1, 2, 3, **given))
        assert found.verdict == "diverged"
        assert found.summary.endswith("layer was not given its half of the initial states")


def test_each_layer_gets_the_inputs_and_the_mask():
    merge = merge_of("sum", MERGED["sum"])
    masked = replace(merge.whole, mask=MASK)
    assert check(merge).verdict == "parity"
    right = replace(
        merge,
        whole=masked,
        forward=replace(merge.forward, mask=MASK),
        backward=replace(merge.backward, mask=MASK),
    )
    assert check(right).verdict == "parity"
    for other in (None, ~MASK):
        found = check(replace(right, backward=replace(right.backward, mask=other)))
        assert found.summary == "the backward layer was given another mask than the wrapper"
        assert (found.verdict, found.max_ratio) == ("diverged", 0)
    reversed_ = replace(merge, backward=replace(merge.backward, inputs=X[:, ::-1]))
    found = check(reversed_)
    assert found.summary == "the backward layer was given other inputs than the wrapper"
    narrow = replace(merge.forward, inputs=X.astype("float16"))
    assert check(replace(merge, forward=narrow)).verdict == "parity"


def test_numbers_that_are_not_finite():
    forward = np.array([[[np.inf], [np.nan], [1.0]]], "float32")
    found = check(merge_of("sum", [[[np.inf], [np.nan], [11]]], forward=forward))
    assert found.verdict == "inconclusive"
    found = check(merge_of("concat", [[[np.inf, 40], [np.nan, 20], [1, 10]]], forward=forward))
    assert found.verdict == "parity"
    found = check(merge_of("concat", [[[np.inf, 40], [2, 20], [1, 10]]], forward=forward))
    assert (found.verdict, found.first_divergence.timestep) == ("diverged", 1)


def test_shapes_that_do_not_fit():
    found = check(merge_of("concat", MERGED["sum"]))
    assert found.verdict == "diverged"
    assert "expected shapes [(1, 3, 2)], received [(1, 3, 1)]" in found.summary


def test_merged_numbers_of_which_a_sample_or_most_are_not_finite_prove_nothing():
    nothing = np.full((1, 3, 1), np.nan, "float32")
    found = check(merge_of("sum", nothing, forward=nothing))
    assert (found.verdict, len(found.notes)) == ("inconclusive", 1)
    assert found.summary.startswith("no expected number of the outputs is finite")
    some = np.array([[[1.0], [np.nan], [1.0]]], "float32")
    found = check(merge_of("sum", [[[41], [np.nan], [11]]], forward=some))
    assert found.notes == (
        "1 of 3 numbers of the outputs are not finite, in both: they prove nothing",
    )
