"""Names, versions and messages that hold more than letters reach no terminal, page or runner."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from sample_checks import DIVERGED, INCONCLUSIVE, PARITY

from rnn_parity.cli.main import fail, main
from rnn_parity.errors import InputError, shown, shown_lines, without_commands
from rnn_parity.pytest_plugin import outcome
from rnn_parity.report.report import Report
from rnn_parity.report.sweeps import SweepReport
from rnn_parity.sweep.space import default_of
from rnn_parity.verdict.results import BlindSpot, Cause, Check, Sensitivity, Subject
from rnn_parity.verdict.sweep_results import Finding, Outcome, Swept

DAMAGED = Path(__file__).parents[2] / "fixtures" / "damaged"
EVIL = (
    "a\x1b[2J\x07\x9b31m\x7f\u202egnp.\u2066\x00\u2028\r\n::error title=x::y\t##[add-mask]z "
    "::stop-commands::t ##vso[task.x] \u200e\ufeff\U000e0041"
)
ACTS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def command_lines(text: str) -> list[str]:
    """The lines that GitHub's runner, Azure's or TeamCity's would take for a command."""
    marks = ("##[", "##vso[", "##teamcity[")
    return [
        line
        for line in re.split(r"[\r\n]", text)
        if line.lstrip().startswith("::") or any(mark in line for mark in marks)
    ]


def evil_checks() -> list[Check]:
    subject = Subject("model", EVIL, EVIL, EVIL, {EVIL: EVIL}, "graph", EVIL)
    blind = Sensitivity((), (BlindSpot(EVIL, EVIL),))
    causes = (Cause(EVIL, EVIL, 3.0, EVIL),)
    return [
        replace(check, subject=subject, summary=EVIL, notes=(EVIL,), causes=causes, **more)
        for check, more in (
            (PARITY, {"sensitivity": blind}),
            (DIVERGED, {}),
            (INCONCLUSIVE, {}),
        )
    ]


@pytest.mark.parametrize("format", ["table", "markdown", "github", "json"])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("quiet", [False, True])
def test_no_form_of_a_report_passes_them_on(format, count, quiet):
    checks = tuple(evil_checks()[:count])
    report = Report(checks, notes=(EVIL,), strict=True)
    worse = Report(checks, notes=(EVIL,), worse=(EVIL,))
    for text in (report.render(format, quiet=quiet), worse.render(format, quiet=quiet)):
        assert not ACTS.search(text)
        if format == "github":
            *annotations, verdict = text.split("\n")
            assert all(line.startswith(("::warning ", "::error ")) for line in annotations)
            assert not verdict.startswith("::")
            assert "##[" not in text
        else:
            assert not command_lines(text)
    if format == "json":
        document = json.loads(report.to_json())
        assert document["notes"] == [EVIL]
        assert [check["subject"]["layer_name"] for check in document["checks"]] == [EVIL] * count


def test_a_test_session_does_not_pass_them_on():
    report = Report(tuple(evil_checks()), strict=True)
    text = "\n".join([outcome.failure(report), *(line for _, line, _ in outcome.lines(report))])
    text += outcome.merged({EVIL: [report.to_json()]})
    assert not ACTS.search(text)
    assert not command_lines(text)


@pytest.mark.parametrize("format", ["table", "markdown", "github", "json"])
def test_a_sweep_does_not_pass_them_on(format):
    one = default_of("simple_rnn")
    diverged = Outcome("diverged", EVIL, seconds=0.1, max_ratio=2.0, effective_bits=4.0)
    refused = Outcome("refused", EVIL, seconds=0.1)
    other = one.but({"activation": "relu"})
    findings = (
        Finding(one, diverged, (Cause(EVIL, EVIL, 3.0),), None, (one,), None),
        Finding(other, refused, (), None, (other,), None),
    )
    versions = {"python": EVIL, "numpy": EVIL, "tensorflow": EVIL, "keras": EVIL, "device": EVIL}
    outcomes = {one: diverged, other: refused}
    swept = Swept(versions, outcomes, findings, (), 2, seconds=2.0, workers=2)
    report = SweepReport(replace(swept, scripts={one: EVIL}), {"against": EVIL, "seed": 0})
    text = report.render(format)
    assert not ACTS.search(text)
    if format != "github":
        assert not command_lines(text)


@pytest.mark.parametrize("name", ["workflow-command", "escape-in-layer-name"])
def test_the_name_of_a_layer_in_a_case(name, capsys):
    """Cases whose layers are named `::error title=pwn::msg` and `a<ESC>[31mRED...`."""
    assert main(["check", str(DAMAGED / f"{name}.npz"), "--no-keras"]) == 0
    out = capsys.readouterr().out
    assert not ACTS.search(out)
    assert not command_lines(out)
    assert ("\\x3a:error title=pwn::msg" if "workflow" in name else "a\\x1b[31mRED") in out


def test_a_message_does_not_pass_them_on(capsys):
    assert not ACTS.search(str(InputError(EVIL)))
    fail(EVIL)
    assert main(["check", f"{EVIL}.keras"]) == main(["check", "--layer", EVIL]) == 2
    err = capsys.readouterr().err
    assert not ACTS.search(err)
    assert not command_lines(err)
    assert len(err.splitlines()) == 3


def test_what_is_shown_as_itself():
    for text in ("größer, 時間 → 3 × 4", "naïve\u200d", "a::b c: d", "# ## title [x]", "\\x1b"):
        assert shown(text) == without_commands(text) == text
    assert shown("a\x1bb\x85\u202e\n") == "a\\x1bb\\x85\\u202e\\n"
    assert shown_lines("a\n  ::b\n\t::c") == "a\n  \\x3a:b\n\\t::c"


def test_a_word_that_is_broken_cannot_become_a_command():
    """A table is 80 columns wide, and a word that is longer goes on at the start of a line."""
    subject = Subject("model", "m.keras", "LSTM", "x" * 80 + "::error::y")
    for width in range(60, 81):
        name = "x" * width + "::error title=a::b"
        text = Report((replace(PARITY, subject=replace(subject, layer_name=name)),)).render()
        assert not command_lines(text)
