"""What a failed test says, on checks made by hand."""

import dataclasses

from sample_checks import DIVERGED, NOT_COMPARED, PARITY, row

from rnn_parity.pytest_plugin.outcome import failure, lines
from rnn_parity.report.report import Report
from rnn_parity.verdict.results import BlindSpot, ImpliedWeight, Sensitivity

REPORT = "--rnn-parity-report=FILE"
BLIND = dataclasses.replace(
    PARITY, sensitivity=Sensitivity(("bias-doubled",), (BlindSpot("bias-dropped", "no bias"),))
)
PLACE = (
    "  first at  timestep 0, batch 3, unit 1; observed 0.25; expected 0.75; off by\n"
    "            0.500, 12300 x the bound 4.05e-05\n"
)


WHY = "(bias-dropped or kernel-transposed)"


def blocks(report):
    return failure(report).split("\n\n")


def test_each_of_several_failed_checks_says_its_verdict_place_and_cause():
    other = dataclasses.replace(DIVERGED, causes=(), summary="nothing explains it")
    head, first, second, third, table, rest, _ = blocks(
        Report((DIVERGED, PARITY, other, NOT_COMPARED))
    )
    said = " ".join(head.split())
    assert said.startswith(f"DIVERGED {WHY[:-1]} in 1 of 2): of 4 checks, 2 diverged: ")
    verdict, causes = first.split(PLACE)
    assert verdict == (
        "encoder (SimpleRNN, mode xla): DIVERGED (bias-dropped or kernel-transposed): a\n"
        "  step is 12300 times as far off as rounding can explain (10.4 effective bits).\n"
    )
    assert causes.splitlines()[0] == (
        "  cause     bias-dropped: the bias was not added (27.5 effective bits)"
    )
    assert second.startswith("encoder (SimpleRNN, mode xla): DIVERGED: nothing explains it (10.4")
    assert PLACE in second
    assert (
        third == "decoder (LSTM, mode xla): INCONCLUSIVE: not compared: LSTM is not replayed yet."
    )
    assert table.startswith("encoder (SimpleRNN, mode xla), model net.keras\n")
    assert rest == f"Those are the numbers of the first; {REPORT} has all."


def test_the_only_failed_check_says_all():
    head, block, table, _ = blocks(Report((PARITY, DIVERGED)))
    assert head.startswith(f"DIVERGED {WHY}: of 2 checks, 1 diverged: ")
    assert "  observed  0.25\n  expected  0.75 (one step from the observed state before)\n" in block
    assert REPORT not in table


def test_options_are_those_of_pytest():
    (head, *_) = blocks(Report((BLIND,), strict=True))
    said = " ".join(head.split())
    assert "BLIND: nothing is proven about bias-dropped (with --rnn-parity-strict); " in said
    many = tuple(row(t) for t in range(60))
    weights = (ImpliedWeight("bias", (0,), 0.0, 1.0, 9.0),) * 6
    text = failure(
        Report((dataclasses.replace(DIVERGED, timesteps=many, implied_weights=weights),))
    )
    assert f"({REPORT} has all)" in text
    assert f"  weights   1 more in {REPORT}\n" in text
    assert "--every" not in text
    assert "--format" not in text


def test_a_line_for_each_check():
    assert lines(Report((BLIND, NOT_COMPARED), strict=True)) == [
        (
            "blind",
            "simple_rnn (SimpleRNN, mode graph), ratio 0.30, 25.8 effective bits, "
            "blind to bias-dropped",
            True,
        ),
        (
            "not compared",
            "decoder (LSTM, mode xla), not compared: LSTM is not replayed yet",
            True,
        ),
    ]
    assert not lines(Report((BLIND,)))[0][2]
    assert lines(Report((), notes=("x",))) == [("inconclusive", "nothing was compared: x", True)]


def test_a_check_that_would_have_shown_nothing_says_so_in_its_line():
    spots = tuple(BlindSpot(fault, "all outputs are zeros") for fault in ("a", "b"))
    nothing = dataclasses.replace(PARITY, sensitivity=Sensitivity((), spots))
    ((word, text, failed),) = lines(Report((nothing,)))
    assert (word, failed) == ("parity", False)
    assert text.endswith("yet these data would show no mistake at all: all outputs are zeros")
    assert "yet" not in lines(Report((BLIND,)))[0][1]
