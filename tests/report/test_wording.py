"""Numbers and sentences of a report: the expected texts are written by hand."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_checks import DIVERGED, INCONCLUSIVE, NOT_COMPARED, PARITY, SUSPECT

from rnn_parity.diagnosis.faults import FAULTS
from rnn_parity.report.wording import (
    bits,
    findings,
    label,
    number,
    overall,
    ratio,
    sentence,
    strictness,
    ulps,
)
from rnn_parity.verdict.results import (
    BlindSpot,
    Cause,
    Divergence,
    ImpliedWeight,
    Sensitivity,
    StateRow,
    Subject,
)


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


def test_ulps_are_whole_until_they_are_too_many_to_read():
    assert [ulps(n) for n in (0, 999_999, 8_388_608)] == ["0", "999999", "8.39e+06"]
    assert ulps(2**63 - 1) == "inf"


def test_effective_bits_at_their_ends():
    given = (24.83, math.inf, -math.inf, -3.0, math.nan)
    assert [bits(x) for x in given] == ["24.8", "all", "0.0", "0.0", "0.0"]


def test_a_sentence_is_one_line_with_one_full_stop():
    assert (
        sentence("parity", "all is\n well.", 24.06) == "PARITY: all is well (24.1 effective bits)."
    )
    assert sentence("inconclusive", "nothing ran") == "INCONCLUSIVE: nothing ran."


def test_labels_tell_calls_and_modes_apart():
    subject = Subject(layer_class="SimpleRNN", layer_name="rnn", mode="xla", call=2)
    assert label(subject) == "rnn (SimpleRNN, mode xla, call 2)"
    assert label(Subject(layer_class="SimpleRNN")) == "SimpleRNN"
    assert label(Subject()) == "layer"


def test_the_overall_sentence_names_everything_that_did_not_pass():
    assert overall((PARITY, DIVERGED, NOT_COMPARED, INCONCLUSIVE, SUSPECT)) == (
        "of 5 checks, 1 diverged: encoder (SimpleRNN, mode xla); 1 suspect: s (SimpleRNN); "
        "1 inconclusive: SimpleRNN; 1 not compared: decoder (LSTM, mode xla); 1 in parity"
    )
    assert overall((PARITY, PARITY)) == "all 2 checks are in parity"
    assert overall((SUSPECT,) * 5).endswith(
        "5 suspect: s (SimpleRNN), s (SimpleRNN), s (SimpleRNN), 2 more"
    )


def test_a_divergence_says_where_how_large_why_and_what_to_do_in_this_order():
    headings = [heading for heading, _ in findings(DIVERGED)]
    where = ["first at", "observed", "expected", "off by"]
    assert headings == [*where, "cause", "cause", "to do", "to do"]


def to_do(*faults, **changes):
    causes = tuple(Cause(fault, "", None) for fault in faults)
    found = findings(dataclasses.replace(DIVERGED, causes=causes, **changes))
    return [text for heading, text in found if heading == "to do"]


def test_every_cause_has_its_remedy_once():
    assert to_do("bias-dropped") == ["add the bias to every step"]
    assert to_do("bias-dropped+mask-ignored", "mask-ignored") == [
        "bias-dropped: add the bias to every step",
        "mask-ignored: where the mask is false, keep the state and repeat the output",
    ]


def test_every_fault_of_the_catalogue_has_a_remedy():
    for fault in FAULTS:
        assert to_do(fault.id) == [fault.remedy]
        assert fault.remedy


def test_suspect_weights_are_shown_with_what_they_should_be():
    weights = (
        ImpliedWeight("kernel", (3, 7), 0.25, 0.250001, 86.04),
        *[ImpliedWeight("bias", (i,), 0.5, 0.75, 9.0) for i in range(6)],
    )
    found = findings(dataclasses.replace(SUSPECT, implied_weights=weights))
    shown = [text for heading, text in found if heading == "weights"]
    assert shown[0] == "kernel[3, 7]: expected 0.25, implied 0.250001 (86.0 standard errors)"
    assert shown[4] == "bias[3]: expected 0.5, implied 0.75 (9.00 standard errors)"
    assert shown[5:] == ["2 more in --format json"]
    assert found[-1][0] == "to do"


def test_strict_says_why_it_does_not_accept_what_passed():
    spots = Sensitivity((), (BlindSpot("mask-ignored", "no mask"), BlindSpot("x", "why")))
    blind = dataclasses.replace(PARITY, sensitivity=spots)
    assert strictness([PARITY, DIVERGED]) == ""
    assert strictness([blind, blind]) == ("With --strict, nothing is proven about mask-ignored, x.")
    assert strictness([SUSPECT]) == ""  # it fails without it


def without_causes(**changes):
    return dict(findings(dataclasses.replace(DIVERGED, causes=(), **changes)))


def test_the_remedy_follows_from_the_place():
    assert "the initial state" in without_causes()["to do"]
    later = without_causes(first_divergence=Divergence(7, 0, 0, 0.25, 0.75, 1e-6))
    assert later["to do"].startswith("look at the recurrent kernel")
    assert later["to do"].endswith("the timesteps before 7 are within their bounds")


def test_a_stale_final_state_is_located():
    stale = (StateRow("h", 0.125, 9, 4096.0, 2, 5), StateRow("output", 0.0, 0, 0.0, 0, 0))
    found = without_causes(first_divergence=None, final_state=stale)
    assert found["first at"] == "final h, batch 2, unit 5"
    assert found["off by"] == "0.125, 4100 x the bound"
    assert found["to do"].startswith("look at which state is returned")


def test_another_shape_has_no_place_and_no_guess():
    assert without_causes(first_divergence=None, final_state=()) == {}


def test_numbers_that_are_not_finite_are_shown_as_they_are():
    found = without_causes(first_divergence=Divergence(0, 0, 0, math.nan, 0.75, 1e-6))
    assert (found["observed"], found["off by"]) == ("nan", "nan, beyond the bound 1.00e-06")
    assert found["to do"].startswith("look for what gives nan there: an overflow")


def test_float64_is_shown_with_all_its_digits():
    first = Divergence(0, 0, 0, 0.1, 0.1 + 2**-52, 1e-17)
    found = without_causes(dtype="float64", first_divergence=first)
    assert found["observed"] == "0.10000000000000001"
    assert found["expected"].startswith("0.10000000000000023 ")


def test_a_passing_check_says_what_it_could_not_have_seen():
    seen = Sensitivity(
        ("bias-dropped", "kernel-transposed"), (BlindSpot("mask-ignored", "no mask"),)
    )
    assert findings(dataclasses.replace(PARITY, sensitivity=seen)) == [
        ("sees", "2 of 3 faults; blind to mask-ignored (no mask)")
    ]
