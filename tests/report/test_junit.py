"""JUnit XML: held against what Jenkins and GitLab document that they read."""

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sample_checks import DIVERGED, INCONCLUSIVE, NOT_COMPARED, PARITY, SUSPECT
from test_sweeps import WHOLE

from rnn_parity.report.report import Report
from rnn_parity.verdict.results import BlindSpot, ModelOutput, Sensitivity, Subject, TargetError

pytest.importorskip("junitparser", reason="the extra junit is not installed")

ROOT = Path(__file__).parents[2]
CASES = ROOT / "fixtures" / "cases" / "keras-3.15.1"
BLIND = dataclasses.replace(
    PARITY, sensitivity=Sensitivity((), (BlindSpot("mask-ignored", "no timestep is masked"),))
)
KNOWN = {
    "testsuites": ({"testsuite"}, set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"properties", "testcase", "system-out", "system-err"},
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
    ),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, set()),
    "testcase": (
        {"skipped", "error", "failure", "system-out", "system-err"},
        {"name"},
        {"time", "classname", "group"},
    ),
    "failure": (set(), set(), {"type", "message"}),
    "error": (set(), set(), {"type", "message"}),
    "system-out": (set(), set(), set()),
}
"""What Jenkins's xUnit plugin accepts (junit-10.xsd): children, required and other attributes."""


def check_element(element):
    children, required, optional = KNOWN[element.tag]
    assert {child.tag for child in element} <= children
    assert required <= {*element.attrib} <= required | optional
    for child in element:
        check_element(child)


def suite_of(report):
    """The only suite of a report, when all that the two programs ask for is there."""
    text = report.render("junit")
    assert text.isascii()
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    check_element(root)
    (suite,) = root
    cases = suite.findall("testcase")
    # GitLab takes of several with one name the first alone.
    names = Counter((case.get("classname"), case.get("name")) for case in cases)
    assert names.most_common(1)[0][1] == 1
    assert suite.get("tests") == str(len(cases))
    for kind in ("failure", "error"):
        found = suite.findall(f"testcase/{kind}")
        assert suite.get(f"{kind}s") == str(len(found))
        # GitLab shows the text, not the message: that begins like it.
        assert all(one.text.startswith(one.get("message")) for one in found)
    assert (report.exit_code == 0) is not bool(
        suite.findall("testcase/failure") + suite.findall("*/error")
    )
    return suite


def outcomes(suite):
    """Each test case with the verdict for which it is no success, and how."""
    return {
        case.get("name"): next(
            ((one.tag, one.get("type")) for one in case if one.tag in ("failure", "error")), None
        )
        for case in suite.findall("testcase")
    }


def test_a_test_case_for_each_check():
    suite = suite_of(Report((PARITY, DIVERGED, NOT_COMPARED, SUSPECT, INCONCLUSIVE)))
    assert outcomes(suite) == {
        "simple_rnn (SimpleRNN, mode graph)": None,
        "encoder (SimpleRNN, mode xla) in net.keras": ("failure", "diverged"),
        "decoder (LSTM, mode xla) in net.keras": ("error", "inconclusive"),
        "s (SimpleRNN)": ("failure", "suspect"),
        "SimpleRNN": ("error", "inconclusive"),
    }
    text = suite.find("testcase/failure").text
    assert text.startswith("DIVERGED (bias-dropped or kernel-transposed): a step is 12300 times")
    for words in ("first at: timestep 0", "cause: bias-dropped", "float32, batch 1", "12300"):
        assert words in text


def test_what_passed_says_what_it_could_have_seen():
    text = suite_of(Report((BLIND,))).find("testcase/system-out").text
    assert text.startswith("PARITY: every step is within rounding")
    assert "sees: 0 of 1 possible faults; blind to mask-ignored" in text


def test_versions_are_properties():
    suite = suite_of(Report((PARITY,), device="gpu:0"))
    found = {one.get("name"): one.get("value") for one in suite.findall("properties/property")}
    assert found["rnn-parity"] == "1.2.3"
    assert (found["tensorflow"], found["device"]) == ("2.21.0", "gpu:0")
    assert (found["verdict"], found["exit_code"]) == ("parity", "0")
    assert "keras" not in found  # it is not installed in these tests


def test_a_blind_check_is_an_error_under_strict_alone():
    assert outcomes(suite_of(Report((BLIND,)))) == {"simple_rnn (SimpleRNN, mode graph)": None}
    strict = suite_of(Report((BLIND, PARITY), strict=True))
    first, second = outcomes(strict).values()
    assert (first, second) == (("error", "blind"), None)
    assert strict.find("testcase/error").get("message").startswith("BLIND: nothing is proven")


def test_checks_with_one_name_are_numbered():
    names = [*outcomes(suite_of(Report((PARITY, PARITY, PARITY))))]
    name = "simple_rnn (SimpleRNN, mode graph)"
    assert names == [name, f"{name} (2)", f"{name} (3)"]


def test_what_is_wrong_beside_checks_is_a_test_case():
    lost = ModelOutput("out", "output_0", 1.0, 0.0, True, "dense", "a.keras", "a.onnx")
    assert outcomes(suite_of(Report(())))["all"] == ("error", "inconclusive")
    assert outcomes(suite_of(Report((PARITY,), model_outputs=(lost,))))["all"] == (
        "error",
        "inconclusive",
    )
    errors = (TargetError("a.keras", "a.keras: truncated"),)
    found = outcomes(suite_of(Report((PARITY,), errors=errors, worse=("x: was parity",))))
    assert found["a.keras"] == ("error", "error")
    assert found["baseline: x"] == ("failure", "worse")


def test_a_sweep_has_a_test_case_for_each_finding_and_one_for_all():
    suite = suite_of(WHOLE)
    found = outcomes(suite)
    assert found["all"] is None
    failed = [one for one in found.values() if one]
    assert failed
    assert {kind for kind, _ in failed} <= {"failure", "error"}
    assert {case.get("classname") for case in suite.findall("testcase")} == {"rnn-parity.sweep"}


def test_names_that_xml_cannot_hold_are_escaped():
    name = "a\x00\ufffe\ud800<&]]>\x1b[31m\n::error::é"
    check = dataclasses.replace(DIVERGED, subject=Subject("model", "x.keras", "LSTM", name))
    text = Report((check,)).render("junit")
    assert not any(line.strip().startswith("::") for line in text.splitlines())
    (found,) = outcomes(suite_of(Report((check,))))
    assert found.startswith(r"a\x00\ufffe\ud800<&]]>\x1b[31m\n")
    assert "é" in found


def test_files_of_a_job_in_a_process(tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", "rnn_parity", "check", str(CASES / "notebook.npz")]
    files = [part for name in ("junit.xml", "parity.json", "parity.txt") for part in ("-o", name)]
    command += ["--no-keras", *files]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["junit.xml", "parity.json", "parity.txt"]
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    check_element(root)
    assert len(root.findall("*/testcase")) == 1
    assert done.stdout == (tmp_path / "parity.txt").read_text()
