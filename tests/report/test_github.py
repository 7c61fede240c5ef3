"""GitHub's workflow annotations: one for each check, escaped as the runner undoes it."""

import dataclasses

from sample_checks import DIVERGED, INCONCLUSIVE, NOT_COMPARED, PARITY, SUSPECT

from rnn_parity.report.github import annotation
from rnn_parity.report.report import Report
from rnn_parity.verdict.results import Subject


def test_an_annotation_for_each_check():
    report = Report((PARITY, DIVERGED, NOT_COMPARED, SUSPECT))
    first, second, third, fourth = report.render("github").splitlines()
    assert first == (
        "::notice title=rnn-parity%3A simple_rnn (SimpleRNN%2C mode graph)::"
        "PARITY: every step is within rounding (25.8 effective bits)."
    )
    assert second.startswith(
        "::error title=rnn-parity%3A encoder (SimpleRNN%2C mode xla) in net.keras::DIVERGED"
    )
    assert "%0Afirst at: timestep 0, batch 3, unit 1%0Aobserved: 0.25%0A" in second
    assert third == (
        "::warning title=rnn-parity%3A decoder (LSTM%2C mode xla) in net.keras::"
        "INCONCLUSIVE: not compared: LSTM is not replayed yet."
    )
    assert fourth == (
        "::error title=rnn-parity%3A s (SimpleRNN)::SUSPECT: one weight differs.%0A"
        "to do: compare the weights bit by bit: were they printed, cast or retrained?"
    )


def test_notes_are_in_the_annotation():
    text = Report((INCONCLUSIVE,)).render("github")
    assert text.endswith(
        "%0Anote: the bound of the custom activation square is estimated, not proven"
    )


def test_no_checks_are_a_warning():
    text = Report(()).render("github")
    assert text == "::warning title=rnn-parity::INCONCLUSIVE: nothing was compared."


def test_annotations_are_escaped_as_the_runner_undoes_it():
    # A message keeps colons and commas; a property may not. Percent signs go first.
    text = annotation("error", "50%: a, b\n", "100%\r\n::stop, %0A")
    assert text == "::error title=50%25%3A a%2C b%0A::100%25%0D%0A::stop, %250A"


def test_another_implementation_is_named():
    subject = Subject(layer_class="SimpleRNN", against="f|1")
    text = Report((dataclasses.replace(DIVERGED, subject=subject),)).render("github")
    assert text.startswith("::error title=rnn-parity%3A SimpleRNN (against f|1)::DIVERGED")
