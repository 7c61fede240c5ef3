"""What is said of a check: the expected texts are written by hand."""

import dataclasses
import math

import numpy as np
import pytest
from sample_checks import DIVERGED, INCONCLUSIVE, NOT_COMPARED, PARITY, SUSPECT, row

import rnn_parity as rp
from rnn_parity.diagnosis.faults import FAULTS
from rnn_parity.report.checks import (
    cell_of,
    findings,
    label,
    model_output,
    overall,
    strictness,
    subject_lines,
    table,
    ulps,
)
from rnn_parity.report.page import PLAIN
from rnn_parity.report.report import Report
from rnn_parity.report.wording import bits, sentence
from rnn_parity.verdict.results import (
    BlindSpot,
    Cause,
    Divergence,
    ImpliedWeight,
    Mask,
    ModelOutput,
    PrintedDivergence,
    Sensitivity,
    StateRow,
    Subject,
)


def test_ulps_are_shown_while_they_mean_something():
    assert [ulps(n) for n in (0, 64, 65, 2**63 - 1)] == ["0", "64", "-", "-"]


def test_the_column_of_ulps_is_there_where_it_says_something_in_half_of_the_rows():
    def headers(*counts):
        rows = tuple(row(t, max_ulp=n) for t, n in enumerate(counts))
        check = dataclasses.replace(PARITY, timesteps=rows, final_state=())
        return table(check, PLAIN).headers

    assert "max\nULPs" in headers(3, 4, 1000)
    assert "max\nULPs" in headers(3, 1000)
    assert "max\nULPs" not in headers(3, 1000, 2000)
    assert len(headers(1000)) == len(headers(3)) - 1


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (None, "no mask"),
        (Mask("right", 3, 12), "mask right (3 of 12 steps)"),
        (Mask("none", 0, 12), "mask none (0 of 12 steps)"),
    ],
)
def test_the_head_of_a_check_says_what_was_masked(mask, said):
    _, facts = subject_lines(dataclasses.replace(PARITY, mask=mask))
    assert facts == f"float32, batch 32, timesteps 2, features 3, units 4, {said}"


def test_printed_digits_are_part_of_the_bound_of_what_is_beyond_them():
    first = PrintedDivergence(0, 3, 1, 0.25, 0.75, 1e-4)
    said = without_causes(first_divergence=first)["off by"]
    assert said == "0.500, 5000 x the bound 1.00e-04, the printed digits included"


def test_a_models_outputs_are_told_in_sentences():
    one = ModelOutput("out", "y:0", 2.24e-8, 21.84, False, None, "m.keras", "m.onnx")
    assert model_output(one) == (
        "model output out: y:0 of m.onnx is at most 2.24e-08 away (21.8 bits in common)"
    )
    off = dataclasses.replace(one, max_deviation=0.5, effective_bits=0.0, differs=True)
    start = "model output out: y:0 of m.onnx differs by up to 0.500 (0.0 bits in common)"
    assert model_output(off) == start
    found = dataclasses.replace(off, first_layer="last")
    assert model_output(found) == f"{start}, from the layer last on"
    lost = dataclasses.replace(off, tensor=None)
    assert model_output(lost) == "model output out: no output of m.onnx has its shape"


def test_a_bound_of_0_is_told_in_words():
    zero = Divergence(0, 0, 0, 0.5, 0.0, 1.2e-38)
    found = without_causes(first_divergence=zero)
    assert found["off by"] == "0.500, where rounding moves nothing"
    states = (StateRow("h", 0.125, 9, math.inf, 2, 5), StateRow("c", 0.125, 9, 4e37, 2, 5))
    text = " ".join(findings_of(first_divergence=None, final_state=states))
    assert text.count("0.125, beyond the bound") == 2
    assert [cell_of(x) for x in (4e37, 1e19, math.inf, math.nan)] == [
        *("beyond", "1.00e+19", "beyond", "nan")
    ]


def findings_of(**changes):
    return [text for _, text in findings(dataclasses.replace(DIVERGED, causes=(), **changes))]


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
        "of 5 checks, 1 diverged: encoder (SimpleRNN, mode xla) in net.keras; 1 suspect: s "
        "(SimpleRNN); 1 inconclusive: SimpleRNN; 1 not compared: decoder (LSTM, mode xla) in "
        "net.keras; 1 in parity"
    )
    assert overall((DIVERGED, NOT_COMPARED)) == (
        "of 2 checks of net.keras, 1 diverged: encoder (SimpleRNN, mode xla); 1 not compared: "
        "decoder (LSTM, mode xla)"
    )
    assert overall((PARITY, PARITY)) == "all 2 checks are in parity"
    assert overall((SUSPECT,) * 5).endswith(
        "5 suspect: s (SimpleRNN), s (SimpleRNN), s (SimpleRNN), 2 more"
    )


def test_a_divergence_says_where_how_large_why_and_what_to_do_in_this_order():
    headings = [heading for heading, _ in findings(DIVERGED)]
    where = ["first at", "observed", "expected", "off by"]
    assert headings == [*where, "cause", "more", "cause", "more", "to do", "to do"]


def to_do(*causes):
    found = findings(dataclasses.replace(DIVERGED, causes=causes))
    return [text for heading, text in found if heading == "to do"]


def test_every_cause_has_its_remedy_once():
    bias = Cause("bias-dropped", "", None, "add the bias")
    assert to_do(bias) == to_do(bias, bias) == ["add the bias"]
    other = Cause("mask-ignored", "", None, "honour the mask")
    assert to_do(bias, other, bias) == [
        "bias-dropped: add the bias",
        "mask-ignored: honour the mask",
    ]
    assert to_do(Cause("unknown", "", None)) == []


def test_every_fault_of_the_catalogue_gives_its_remedy_to_a_cause():
    layer = rp.SimpleRNN([[1.0]], [[1.0]])
    for fault in FAULTS:
        advice = fault.advice(layer)
        assert advice
        assert fault.cause("as it is", layer) == Cause(fault.id, "as it is", None, advice)


def test_every_cause_is_followed_by_where_one_reads_more_on_it():
    pair = Cause("bias-dropped+mask-ignored", "both", None)
    found = findings(
        dataclasses.replace(SUSPECT, causes=(pair, Cause("mask-ignored", "one", 20.0)))
    )
    assert found == [
        ("cause", "bias-dropped+mask-ignored: both"),
        ("more", "rnn-parity explain bias-dropped+mask-ignored"),
        ("cause", "mask-ignored: one (20.0 effective bits)"),
        ("more", "rnn-parity explain mask-ignored"),
    ]


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
    words = "nothing is proven about mask-ignored, x (with --strict)"
    assert strictness(["mask-ignored", "x", "mask-ignored"]) == words
    report = Report((PARITY, blind, blind), strict=True)
    assert report.blind == ("mask-ignored", "x")
    assert report.render(quiet=True).startswith(f"BLIND: {words}; all 3 checks are in parity")
    # What fails without it is not called blind.
    for failed in (DIVERGED, SUSPECT):
        assert Report((failed, blind), strict=True).blind == ()
        assert "BLIND" not in Report((failed, blind), strict=True).render(quiet=True)


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
    found = without_causes(first_divergence=None, final_state=())
    assert found == {"more": "rnn-parity explain unexplained, on how to go on, or effective-bits"}


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
        ("sees", "2 of 3 possible faults; blind to mask-ignored (no mask)"),
        ("more", "rnn-parity explain FAULT, on each of them, or effective-bits"),
    ]
    all_seen = Sensitivity(("bias-dropped",), ())
    assert findings(dataclasses.replace(PARITY, sensitivity=all_seen)) == [
        ("sees", "1 of 1 possible faults")
    ]


SATURATED = rp.SimpleRNN([[100.0], [200.0], [300.0]], [[50.0]], [10.0], dtype="float32")


def saturated():
    """Whatever is computed is 1."""
    x = 1 + np.random.default_rng(0).random((4, 6, 3), dtype=np.float32)
    return rp.compare(SATURATED, x, np.ones((4, 6, 1), np.float32))


def test_a_pass_that_would_have_shown_nothing_says_so():
    report = saturated()
    words = "yet these data would show no mistake at all: the outputs are saturated at their limits"
    assert (report.verdict, report.exit_code, report.checks[0].sensitivity.visible) == (
        "parity",
        0,
        (),
    )
    assert words in report.summary
    assert words in report.render(quiet=True)
    assert words in " ".join(report.render("table").split())
    assert words in report.render("junit")
    assert "yet these data" not in report.checks[0].summary
    assert "yet these data" not in compared().summary


def compared():
    rng = np.random.default_rng(1)
    layer = rp.SimpleRNN(rng.normal(size=(3, 2)), rng.normal(size=(2, 2)), rng.normal(size=2))
    x = rng.normal(size=(4, 6, 3))
    return rp.compare(layer, x, rp.replay(layer, x).outputs)


def test_of_several_checks_those_are_named_that_show_nothing():
    blind, seeing = saturated().checks[0], compared().checks[0]
    both = Report((blind, seeing))
    assert both.summary.startswith(
        "PARITY: all 2 checks are in parity, yet these data would show no mistake at all (SimpleRNN"
    )
    assert Report((blind, blind)).summary.partition(" (")[0].endswith("show no mistake at all")
    assert "yet" not in Report((seeing, seeing)).summary


def test_nobody_asks_a_large_check_for_its_summary():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(3, 8)), rng.normal(size=(8, 8)) / 4, rng.normal(size=8)
    layer = rp.SimpleRNN(*weights, dtype="float32")
    x = rng.normal(size=(8, 20, 3))
    report = rp.compare(layer, x, rp.replay(layer, x).outputs.astype(np.float32))
    assert report.verdict == "parity"
    assert "yet" not in report.summary
    assert repr(report.checks[0].sensitivity) == "Sensitivity(...)"
