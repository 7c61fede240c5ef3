"""A report's verdict, exit code and JSON document."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest
from sample_checks import DIVERGED, INCONCLUSIVE, NOT_COMPARED, PARITY, SUSPECT

from rnn_parity.report.document import plain
from rnn_parity.report.report import Report, joined
from rnn_parity.system import environment
from rnn_parity.verdict.results import (
    BlindSpot,
    Cause,
    ImpliedWeight,
    LaterSensitivity,
    ModelOutput,
    Sensitivity,
    Subject,
    TargetError,
    Timesteps,
)

BLIND = dataclasses.replace(
    PARITY, sensitivity=Sensitivity((), (BlindSpot("mask-ignored", "no timestep is masked"),))
)


@pytest.mark.parametrize(
    ("checks", "verdict", "code", "strict_code"),
    [
        ((), "inconclusive", 3, 3),
        ((PARITY,), "parity", 0, 0),
        ((DIVERGED,), "diverged", 1, 1),
        ((NOT_COMPARED,), "inconclusive", 3, 3),
        ((SUSPECT,), "suspect", 1, 1),
        ((BLIND,), "parity", 0, 3),
        ((PARITY, NOT_COMPARED), "inconclusive", 3, 3),
        ((NOT_COMPARED, DIVERGED, PARITY), "diverged", 1, 1),
        ((PARITY, SUSPECT), "suspect", 1, 1),
        ((SUSPECT, INCONCLUSIVE), "suspect", 1, 1),
        ((SUSPECT, DIVERGED), "diverged", 1, 1),
    ],
)
def test_verdict_and_exit_code(checks, verdict, code, strict_code):
    report = Report(checks)
    assert (report.verdict, report.exit_code, bool(report)) == (verdict, code, code == 0)
    strict = Report(checks, strict=True)
    assert (strict.verdict, strict.exit_code) == (verdict, strict_code)
    assert bool(strict) is (strict_code == 0)


def known(id="sparsemax-threshold", check=DIVERGED):
    return dataclasses.replace(check, causes=(*check.causes, Cause(id, "", None)))


@pytest.mark.parametrize(
    ("checks", "code", "allowed"),
    [
        ((known(),), 1, 0),
        ((known(), PARITY), 1, 0),
        ((known("bias-dropped"),), 1, 1),
        ((known("sparsemax-threshold+bias-dropped"),), 1, 1),
        ((known(), DIVERGED), 1, 1),
        ((known(), SUSPECT), 1, 1),
        ((known(check=SUSPECT),), 1, 1),
        ((known(), NOT_COMPARED), 1, 3),
        ((known(check=INCONCLUSIVE),), 3, 3),
        ((), 3, 3),
    ],
)
def test_known_differences_may_be_allowed(checks, code, allowed):
    report = Report(checks)
    allowing = dataclasses.replace(report, allow_known=True)
    assert (report.exit_code, allowing.exit_code, bool(allowing)) == (code, allowed, not allowed)
    assert allowing.verdict == report.verdict
    before, after = (json.loads(one.to_json()) for one in (report, allowing))
    assert after == {**before, "exit_code": allowed}


def test_what_is_allowed_is_said():
    said = "With --allow-known, sparsemax-threshold is a known difference and no failure."
    one, two = Report((known(),), allow_known=True), Report((known(), BLIND), allow_known=True)
    for report in (one, two):
        for format in ("table", "markdown", "github"):
            text = report.render(format).replace("\\", "")
            times = 2 if format == "github" else 1  # the annotation, and the last line
            assert " ".join(text.split()).count(said) == times, format
        assert report.render(quiet=True).endswith(said)
        assert said not in str(dataclasses.replace(report, allow_known=False))
    assert one.render("github").startswith("::warning ")
    assert dataclasses.replace(one, allow_known=False).render("github").startswith("::error ")
    strict = dataclasses.replace(two, strict=True)
    assert strict.exit_code == 3
    blind = "BLIND: nothing is proven about mask-ignored (with --strict); of 2 checks, 1 diverged: "
    assert strict.render(quiet=True).startswith(blind)
    assert strict.render(quiet=True).endswith(said)
    worse = dataclasses.replace(one, worse=("it was parity",))
    assert worse.exit_code == 1


def test_the_summary_is_the_checks_own_or_an_overall_one():
    end = "(25.8 effective bits)."
    assert Report((PARITY,)).summary == f"PARITY: every step is within rounding {end}"
    assert Report((PARITY, PARITY)).summary == f"PARITY: all 2 checks are in parity {end}"
    assert Report(()).summary == "INCONCLUSIVE: nothing was compared."


def test_the_cause_and_the_file_come_first():
    fit = "a step is 12300 times as far off as rounding can explain (10.4 effective bits)."
    one = "DIVERGED (bias-dropped or kernel-transposed): "
    assert Report((DIVERGED,)).summary == f"{one}net.keras: {fit}"
    assert Report((DIVERGED,)).render(quiet=True) == Report((DIVERGED,)).summary
    both = Report((PARITY, DIVERGED)).summary
    assert both.startswith(f"{one}of 2 checks, 1 diverged: encoder (SimpleRNN, mode xla) in net.k")
    causes = tuple(Cause(fault, "", None) for fault in ("a", "b", "c", "d"))
    many = dataclasses.replace(DIVERGED, causes=causes)
    assert Report((many,)).summary.startswith("DIVERGED (a, b or 2 more): ")
    other = dataclasses.replace(SUSPECT, causes=causes[:1])
    assert Report((other, many, PARITY)).summary == (
        "DIVERGED (a, b or 2 more): of 3 checks, 1 diverged: encoder (SimpleRNN, mode xla) in "
        "net.keras (a, b or 2 more); 1 suspect: s (SimpleRNN) (a); 1 in parity."
    )


def test_a_cause_that_not_all_have_says_how_many_do():
    bare = dataclasses.replace(DIVERGED, causes=())
    some = Report((bare, DIVERGED, bare)).summary
    cause = "bias-dropped or kernel-transposed"
    assert some.startswith(f"DIVERGED ({cause} in 1 of 3): of 3 checks of net.keras, 3 diverged: ")
    assert some.count(cause) == 2, "in front, and at the one check that has it"
    alike = dataclasses.replace(
        DIVERGED, causes=tuple(dataclasses.replace(c, effective_bits=20.0) for c in DIVERGED.causes)
    )
    same = Report((DIVERGED, alike)).summary
    assert same.startswith(f"DIVERGED ({cause}): of 2 checks of net.keras, 2 diverged: ")
    assert same.count(cause) == 1


def parsed(report: Report) -> dict:
    def refuse(literal: str) -> None:
        raise AssertionError(f"not JSON: {literal}")

    return json.loads(report.to_json(), parse_constant=refuse)


def test_the_document_has_the_promised_keys():
    document = parsed(Report((DIVERGED,), device="gpu:0"))
    assert set(document) == {
        *("schema", "tool", "environment", "verdict", "exit_code", "notes", "errors", "checks"),
        *("model_outputs", "baseline"),
    }
    assert document["schema"] == "rnn-parity/1"
    assert set(document["tool"]) == {"name", "version"}
    assert set(document["environment"]) == {
        *("python", "numpy", "tensorflow", "keras", "platform", "device"),
    }
    assert document["environment"]["device"] == "gpu:0"
    (check,) = document["checks"]
    assert set(check) == {
        *("subject", "shape", "dtype", "arithmetic", "verdict", "summary", "effective_bits"),
        *(
            "max_deviation",
            "max_ratio",
            "resolution",
            "timesteps",
            "final_state",
            "first_divergence",
        ),
        *("causes", "implied_weights", "sensitivity", "notes", "mask"),
    }
    assert set(check["subject"]) == {
        *("kind", "path", "layer_class", "layer_name", "config", "mode", "against", "call"),
        "kernel",
    }


def test_the_documents_values():
    check = parsed(Report((DIVERGED,)))["checks"][0]
    assert check["shape"] == {"batch": 1, "timesteps": 1, "features": 1, "units": 1}
    assert check["timesteps"] == [
        {
            "timestep": 0,
            "max_deviation": 0.5,
            "max_ulp": 8388608,
            "max_residual": 0.5,
            "max_ratio": 12345.0,
            "batch": 3,
            "unit": 1,
            "bound": 4.02e-07,
        }
    ]
    assert check["final_state"] == [
        {"name": "h", "max_deviation": 0, "max_ulp": 0, "max_ratio": 0, "batch": 0, "unit": 0}
    ]
    assert check["first_divergence"] == {
        **{"timestep": 0, "batch": 3, "unit": 1},
        **{"observed": 0.25, "expected": 0.75, "bound": 4.05e-5},
    }
    assert check["causes"][0] == {
        "fault": "bias-dropped",
        "explanation": "the bias was not added",
        "effective_bits": 27.54,
        "remedy": "add the bias to every step",
    }
    assert check["implied_weights"] is None
    assert check["sensitivity"] is None


def test_sensitivity_and_implied_weights():
    weights = (ImpliedWeight("kernel", (3, 7), 0.25, 0.5, 86.0),)
    check = parsed(Report((dataclasses.replace(BLIND, implied_weights=weights),)))["checks"][0]
    blind = [{"fault": "mask-ignored", "reason": "no timestep is masked"}]
    assert check["sensitivity"] == {"visible": [], "blind": blind}
    assert check["implied_weights"] == [
        {"weight": "kernel", "index": [3, 7], "expected": 0.25, "implied": 0.5, "sigma": 86.0}
    ]


def test_numbers_that_json_does_not_have_become_strings():
    row = parsed(Report((INCONCLUSIVE,)))["checks"][0]["timesteps"][0]
    assert (row["max_deviation"], row["max_residual"]) == ("inf", "nan")
    assert plain(-math.inf) == "-inf"


def test_what_a_configuration_may_hold():
    config = {
        1: np.float32(0.5),
        "a": np.arange(2),
        "b": {np.int64(3)},
        "f": math.sqrt,
        "c": (1, None),
    }
    subject = Subject(config={**config, "x": np.bool_(True), "n": np.float64("nan")})
    found = parsed(Report((dataclasses.replace(PARITY, subject=subject),)))["checks"][0]["subject"]
    assert found["config"] == {
        **{"1": 0.5, "a": [0, 1], "b": [3], "f": "<built-in function sqrt>", "c": [1, None]},
        **{"x": True, "n": "nan"},
    }


def test_rows_kept_as_columns_are_written_as_rows():
    ones = np.ones(3)
    rows = Timesteps(
        ones / 2, ones * 4, ones / 8, ones / 4, np.arange(3), np.arange(3) + 1, ones / 2
    )
    check = dataclasses.replace(PARITY, timesteps=rows)
    assert parsed(Report((check,)))["checks"][0]["timesteps"][2] == {
        "timestep": 2,
        "max_deviation": 0.5,
        "max_ulp": 4,
        "max_residual": 0.125,
        "max_ratio": 0.25,
        "batch": 2,
        "unit": 3,
        "bound": 0.5,
    }


def test_versions_come_from_metadata(monkeypatch):
    versions = {"numpy": "1.0", "tensorflow-cpu": "2.0", "keras": "3.0", "tf-keras": "4.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise environment.importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(environment.importlib.metadata, "version", version)
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    found = environment.environment("cpu")
    assert (found["numpy"], found["tensorflow"], found["keras"]) == ("1.0", "2.0", "3.0")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    assert environment.environment("cpu")["keras"] == "4.0"
    versions.clear()
    found = environment.environment("cpu")
    assert (found["tensorflow"], found["keras"]) == (None, None)
    assert environment.own_version() == "unknown"


def test_strict_and_quiet_still_say_why_blind_spots_fail():
    quiet = Report((BLIND,), strict=True).render(quiet=True)
    assert quiet == (
        "BLIND: nothing is proven about mask-ignored (with --strict); every step is within "
        "rounding (25.8 effective bits)."
    )
    assert "with --strict" not in Report((BLIND,)).render(quiet=True)
    assert "BLIND: nothing is proven about" in str(Report((BLIND,), strict=True))
    both = Report((BLIND, PARITY), strict=True).render("markdown")
    assert "BLIND: nothing is proven about mask-ignored (with --strict); all 2 checks" in both
    assert Report((BLIND,), strict=True).render("github").startswith("::warning ")
    assert Report((BLIND,)).render("github").startswith("PARITY: ")


def test_what_is_ignored_does_not_fail_and_is_said():
    spots = Sensitivity((), (BlindSpot("mask-ignored", "no mask"), BlindSpot("x", "why")))
    both = dataclasses.replace(PARITY, sensitivity=spots)
    assert Report((both,), strict=True, ignore=("mask-ignored",)).exit_code == 3
    report = Report((both,), strict=True, ignore=("mask-ignored", "x", "y"))
    assert (report.exit_code, bool(report), report.verdict) == (0, True, "parity")
    assert report.render(quiet=True).endswith("effective bits). Ignored here: mask-ignored, x.")
    assert "Ignored here: mask-ignored, x." in str(report)
    assert report.render("github").count("::") == 0
    # Without strict nothing counts, and there is nothing to say.
    assert "Ignored" not in str(dataclasses.replace(report, strict=False))
    wrong = dataclasses.replace(report, checks=(both, DIVERGED))
    assert (wrong.exit_code, "Ignored" in wrong.render(quiet=True)) == (1, False)


def test_the_setting_that_made_a_report_strict_is_named():
    report = Report((BLIND,), strict=True, set_by={"strict": "strict=True"})
    assert "BLIND: nothing is proven about mask-ignored (with strict=True)" in str(report)


def test_a_sensitivity_is_worked_out_once_and_only_when_it_is_shown():
    asked = []

    def work_out():
        asked.append(1)
        return Sensitivity(("bias-dropped",), (BlindSpot("mask-ignored", "no mask"),))

    report = Report((dataclasses.replace(PARITY, sensitivity=LaterSensitivity(work_out)),))
    assert (report.exit_code, report.render(quiet=True).startswith("PARITY"), asked) == (
        0,
        True,
        [],
    )
    assert parsed(report)["checks"][0]["sensitivity"] == {
        "visible": ["bias-dropped"],
        "blind": [{"fault": "mask-ignored", "reason": "no mask"}],
    }
    assert "sees      1 of 2 possible faults" in str(report)
    assert asked == [1]


def test_targets_that_could_not_be_checked_are_no_success():
    error = TargetError("b.keras", "b.keras: truncated")
    report = Report((PARITY,), errors=(error,))
    assert (report.verdict, report.exit_code, bool(report)) == ("inconclusive", 2, False)
    said = "1 target could not be checked: b.keras; 1 check is in parity"
    assert report.summary == f"INCONCLUSIVE: {said}."
    crashed = dataclasses.replace(error, exit_code=1)
    codes = [((DIVERGED,), 1), ((SUSPECT,), 1), ((NOT_COMPARED,), 2), ((), 2)]
    for checks, code in codes:
        assert Report(checks, errors=(error,)).exit_code == code
        assert Report(checks, errors=(error, crashed)).exit_code == 1
    document = json.loads(report.to_json())
    assert document["errors"] == [
        {"path": "b.keras", "message": "b.keras: truncated", "exit_code": 2, "against": None}
    ]
    for text in (str(report), report.render("markdown"), report.render(quiet=True)):
        assert text.endswith("\n\nERROR: b.keras: truncated")
    annotated = "::error file=b.keras,title=rnn-parity::b.keras: truncated\n"
    assert report.render("github").startswith(annotated)


def test_the_reports_of_several_targets_as_one():
    nothing = Report((), notes=("d.keras has no recurrent layer",))
    one = Report((PARITY,), device="gpu:0", notes=("a note",))
    report = joined({"a.npz": Report((PARITY,)), "b": one, "d.keras": nothing}, ())
    assert [check.verdict for check in report.checks] == ["parity", "parity", "inconclusive"]
    assert report.checks[2].subject.path == "d.keras"
    assert report.checks[2].summary == "not compared: d.keras has no recurrent layer"
    assert (report.device, report.notes, report.exit_code) == ("gpu:0", ("a note",), 3)


@pytest.mark.parametrize("folder", ["", "a/very/long/way/to/the/models/"])
def test_the_overview_of_several_files_fits_a_terminal(folder):
    names = ["short", "bidirectional_7/backward/lstm_cell_of_a_long_name", "rnn"]
    files = ["one.keras", "in/a_file_with_a_very_long_name_v2.keras", "x.h5"]
    checks = [
        dataclasses.replace(
            check, subject=dataclasses.replace(check.subject, path=folder + file, layer_name=name)
        )
        for check, file, name in zip((PARITY, NOT_COMPARED, DIVERGED), files, names, strict=True)
    ]
    table = str(Report(tuple(checks))).split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 80
    cells = [line.split()[1:3] for line in table[2:-1]]
    assert cells == [
        ["one.keras", "short"],
        ["in/a_fi...2.keras", "bidirec...ng_name"],
        ["x.h5", "rnn"],
    ]


def test_outputs_that_differ_count_beside_other_targets():
    lost = ModelOutput("out", "output_0", 1.0, 0.0, True, "dense", "a.keras", "a.onnx")
    one = Report((PARITY,), model_outputs=(lost,))
    assert (one.verdict, one.exit_code) == ("inconclusive", 3)
    whole = joined({"a.keras": one, "b.keras": Report((PARITY,))}, [])
    assert (whole.verdict, whole.exit_code) == ("inconclusive", 3)
    assert "first after the layer 'dense'" in " ".join(str(whole).split())
