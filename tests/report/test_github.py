"""GitHub: annotations of problems alone, escaped as its runner undoes it, and a job's summary."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_checks import DIVERGED, INCONCLUSIVE, NOT_COMPARED, PARITY, SUSPECT

from rnn_parity.errors import InputError
from rnn_parity.report.github import annotation, shortened, summarise
from rnn_parity.report.report import Report
from rnn_parity.verdict.results import ModelOutput, Subject, TargetError

ROOT = Path(__file__).parents[2]
CASES = ROOT / "fixtures" / "cases" / "keras-3.15.1"


def test_what_passed_is_said_in_a_readable_line_alone():
    text = Report((PARITY, PARITY)).render("github")
    assert text == "PARITY: all 2 checks are in parity (25.8 effective bits)."


def test_an_annotation_for_each_problem_and_the_verdict_last():
    report = Report((PARITY, NOT_COMPARED, DIVERGED, SUSPECT))
    first, second, third, last = report.render("github").splitlines()
    assert first.startswith(
        "::error file=net.keras,title=rnn-parity%3A encoder (SimpleRNN%2C mode xla) in net.keras::"
        "DIVERGED"
    )
    assert "%0Afirst at: timestep 0, batch 3, unit 1%0Aobserved: 0.25%0A" in first
    assert second == (
        "::error title=rnn-parity%3A s (SimpleRNN)::SUSPECT: one weight differs.%0A"
        "to do: compare the weights bit by bit: were they printed, cast or retrained?"
    )
    assert third == (
        "::warning file=net.keras,title=rnn-parity%3A decoder (LSTM%2C mode xla) in net.keras::"
        "INCONCLUSIVE: not compared: LSTM is not replayed yet."
    )
    assert last == report.render(quiet=True)


def test_notes_are_in_the_annotation():
    first, _ = Report((INCONCLUSIVE,)).render("github").splitlines()
    assert first.endswith(
        "%0Anote: the bound of the custom activation square is estimated, not proven"
    )


def test_no_checks_are_a_warning():
    first, second = Report(()).render("github").splitlines()
    assert first == "::warning title=rnn-parity::INCONCLUSIVE: nothing was compared."
    assert second == "INCONCLUSIVE: nothing was compared."


def test_targets_that_cannot_be_read_and_what_got_worse_are_errors():
    errors = (TargetError("a.keras", "a.keras: truncated"),)
    report = Report((PARITY,), errors=errors, worse=("x: was parity",))
    first, second, _ = report.render("github").splitlines()
    assert first == "::error file=a.keras,title=rnn-parity::a.keras: truncated"
    assert second == "::error title=rnn-parity::WORSE: x: was parity"


def test_outputs_of_a_model_that_differ_are_a_warning_although_its_layers_are_right():
    lost = ModelOutput("out", "output_0", 1.0, 0.0, True, "dense", "a.keras", "a.onnx")
    text = Report((PARITY,), model_outputs=(lost,)).render("github")
    assert text.startswith("::warning title=rnn-parity::INCONCLUSIVE: 1 check is in parity")
    assert "The model's output 'out' differs, first after the layer 'dense'" in text


def test_annotations_are_escaped_as_the_runner_undoes_it():
    # A message keeps colons and commas; a property may not. Percent signs go first.
    text = annotation("error", "50%: a, b\n", "100%\r\n::stop, %0A", "a,b:c.npz")
    file, title = "file=a%2Cb%3Ac.npz", "title=50%25%3A a%2C b%0A"
    assert text == f"::error {file},{title}::100%25%0D%0A::stop, %250A"


def test_the_readable_line_is_never_taken_for_a_command():
    check = dataclasses.replace(PARITY, verdict="inconclusive", summary="::stop::")
    for line in Report((check,)).render("github").splitlines():
        assert line.startswith(("::warning ", "INCONCLUSIVE: "))


def test_a_file_is_named_from_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    below = tmp_path / "tests"
    below.mkdir()
    monkeypatch.chdir(below)
    for path in ("net.keras", str(below / "net.keras")):
        check = dataclasses.replace(DIVERGED, subject=Subject("model", path, "SimpleRNN"))
        text = Report((check,)).render("github")
        assert text.startswith("::error file=tests/net.keras,title=")
    outside = dataclasses.replace(DIVERGED, subject=Subject("model", "/a/net.keras", "SimpleRNN"))
    assert Report((outside,)).render("github").startswith("::error file=/a/net.keras,title=")


def test_another_implementation_is_named():
    subject = Subject(layer_class="SimpleRNN", against="f|1")
    text = Report((dataclasses.replace(DIVERGED, subject=subject),)).render("github")
    assert text.startswith("::error title=rnn-parity%3A SimpleRNN (against f|1)::DIVERGED")


def test_the_summary_is_added_below_what_is_there(monkeypatch, tmp_path):
    summarise(Report((PARITY,)))  # without the variable there is no summary
    path = tmp_path / "summary.md"
    path.write_text("# mine")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    report = Report((PARITY, DIVERGED))
    summarise(report)
    assert path.read_text() == f"# mine\n{report.render('markdown')}\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "summary.md"))
    with pytest.raises(InputError, match="GITHUB_STEP_SUMMARY: cannot write"):
        summarise(report)


def test_a_summary_that_is_too_long_says_what_it_leaves_out():
    markdown = Report((DIVERGED,) * 50).render("markdown", every=True)
    assert shortened(markdown) == markdown
    short = shortened(markdown, most=8000)
    assert len(short.encode()) < 8100
    assert short.startswith(markdown[:4000])
    assert short.count("<details>") == short.count("</details>")
    kept = short.count("\n### ")
    assert short.endswith(f"\n\n{50 - kept} of 50 checks are left out here.")


def step(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A step of a job: the command line in a process, with the files that a runner gives it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GITHUB_WORKSPACE": str(folder)}
    environment["GITHUB_STEP_SUMMARY"] = str(folder / "summary.md")
    command = [sys.executable, "-m", "rnn_parity", "check", *arguments, "--format", "github"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_step_of_a_job(tmp_path):
    (tmp_path / "cases").mkdir()
    right = tmp_path / "cases" / "right.npz"
    right.write_bytes((CASES / "notebook.npz").read_bytes())
    (tmp_path / "cases" / "damaged.npz").write_bytes(right.read_bytes()[:500])
    done = step(tmp_path, "cases", "--no-keras", "-o", "parity.json", "-o", "parity.md")
    assert (done.returncode, done.stderr) == (2, "")
    first, last = done.stdout.splitlines()
    assert first.startswith("::error file=cases/damaged.npz,title=rnn-parity::")
    assert last.startswith("INCONCLUSIVE: 1 target could not be checked: cases/damaged.npz; 1 ")
    assert (tmp_path / "summary.md").read_text() == f"\n{(tmp_path / 'parity.md').read_text()}"
    done = step(tmp_path, "cases/right.npz", "--no-keras")
    assert (done.returncode, done.stdout.count("::")) == (0, 0)
    assert (tmp_path / "summary.md").read_text().count("## rnn-parity") == 2


def test_a_summary_that_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "summary.md").mkdir()
    done = step(tmp_path, "none.npz")
    assert (done.returncode, done.stdout) == (2, "")
    assert "GITHUB_STEP_SUMMARY: cannot write" in done.stderr
