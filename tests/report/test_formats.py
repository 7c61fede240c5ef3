"""Every form of output shows every kind of report; one from outside the package is added."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from sample_checks import DIVERGED, PARITY
from test_sweeps import WHOLE

from rnn_parity.cli.main import main
from rnn_parity.diagnosis.catalogue import CATALOGUE
from rnn_parity.errors import InputError, MissingPackageError
from rnn_parity.report import FORMATS, Form
from rnn_parity.report.manual import Catalogue
from rnn_parity.report.report import Report

CASES = Path(__file__).parents[2] / "fixtures" / "cases" / "keras-3.15.1"
REPORTS = {
    "checks": Report((PARITY, DIVERGED)),
    "nothing": Report(()),
    "sweep": WHOLE,
    "faults": Catalogue(CATALOGUE),
}
TOY = """
def render(report, style):
    page = report.page(style)
    facts = [f"{key}={text}" for one in page.sections for key, text in one.findings]
    return "\\n".join([f"toy {page.verdict} {page.sentence}", *facts])
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A form of output that the package knows nothing of: a module, and its name."""
    (tmp_path / "toy_format.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FORMATS, "toy", Form("toy_format", ".toy"))


@pytest.mark.parametrize("kind", REPORTS)
def test_every_form_shows_every_kind(kind):
    for name, form in FORMATS.items():
        if form.package and find_spec(form.package) is None:
            continue  # tests/report/test_junit.py and its like say so
        assert isinstance(REPORTS[kind].render(name), str)
    assert str(REPORTS[kind]) == REPORTS[kind].render("table")
    assert json.loads(REPORTS[kind].to_json()) == json.loads(REPORTS[kind].render("json"))


@pytest.mark.parametrize("kind", REPORTS)
def test_another_form_is_refused_by_name(kind):
    expected = r"format: expected one of table, json, markdown, github, .*received 'xml'"
    with pytest.raises(InputError, match=expected):
        REPORTS[kind].render("xml")


@pytest.mark.usefixtures("toy")
def test_a_form_from_outside_shows_checks_and_sweeps_alike():
    first, *facts = REPORTS["checks"].render("toy").splitlines()
    assert first.startswith(
        "toy diverged DIVERGED (bias-dropped or kernel-transposed): of 2 checks, 1 d"
    )
    assert "to do=bias-dropped: add the bias to every step" in facts
    first, *facts = WHOLE.render("toy").splitlines()
    assert first.startswith("toy diverged DIVERGED: of 4 configurations, 1 in parity, 1 diverged")
    assert "cause=time-shifted: one step late (28.0 effective bits)" in facts


@pytest.mark.usefixtures("toy")
def test_a_form_from_outside_is_an_option_of_the_command_line(capsys, tmp_path):
    case = str(CASES / "notebook.npz")
    asked = [case, "--no-keras", "--format", "toy", "-o", str(tmp_path / "a.toy")]
    assert main(["check", *asked]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"toy parity PARITY: {case}: every step is within rounding")
    assert (tmp_path / "a.toy").read_text() == said
    assert main(["faults", "--format", "toy"]) == 0


def test_a_package_that_is_missing_is_named_before_the_work(capsys, monkeypatch, tmp_path):
    missing = Form("toy_format", ".toy", package="no_such_package", extra="toys")
    monkeypatch.setitem(FORMATS, "toy", missing)
    expected = "the form toy needs the package no_such_package: pip install 'rnn-parity[toys]'"
    for asked in (["--format", "toy"], ["-o", str(tmp_path / "a.toy")]):
        for command in (["check", "none.npz"], ["sweep"]):
            assert main([*command, *asked]) == 2
            assert capsys.readouterr().err == f"rnn-parity: error: {expected}\n"
    with pytest.raises(MissingPackageError, match="no_such_package"):
        REPORTS["checks"].render("toy")
