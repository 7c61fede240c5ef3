"""A report held against an earlier one."""

import json
import math
import os
from dataclasses import replace

import pytest

from rnn_parity.api.baseline import against_baseline, changes, read_report
from rnn_parity.errors import InputError
from rnn_parity.pytest_plugin.outcome import merged
from rnn_parity.report.report import Report
from rnn_parity.verdict.results import BlindSpot, Check, Sensitivity, Subject, TargetError


def check(verdict="parity", bits=27.0, name="a", path="c.npz", **subject):
    """A check of a float32 layer, whose largest ratio is the one that gives these bits."""
    which = Subject("case", path, "SimpleRNN", name, **subject)
    ratio = None if bits is None else 2.0 ** (24 - bits)
    return Check(which, verdict, "why", None, "float32", effective_bits=bits, max_ratio=ratio)


def held(tmp_path, before, now):
    (tmp_path / "b.json").write_text(Report(tuple(before)).to_json())
    return against_baseline(Report(tuple(now), notes=("a note",)), tmp_path / "b.json")


def test_the_same_report_is_no_worse(tmp_path):
    checks = [check(), check(mode="xla"), check(name="b", bits=None, verdict="inconclusive")]
    report = held(tmp_path, checks, checks)
    assert (report.exit_code, report.worse, report.baseline.changes) == (3, (), ())
    nothing = f"compared with {tmp_path / 'b.json'}, nothing changed in 3 checks"
    assert report.notes == ("a note", nothing)
    assert report.render() == Report(tuple(checks), notes=report.notes).render()


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("parity", "suspect"),
        ("parity", "inconclusive"),
        ("parity", "diverged"),
        ("inconclusive", "suspect"),
        ("suspect", "diverged"),
        ("inconclusive", "diverged"),
    ],
)
def test_a_worse_verdict_fails(tmp_path, before, now):
    bits = {"parity": 27, "suspect": 27, "inconclusive": None, "diverged": 10}
    old, new = check(before, bits[before]), check(now, bits[now])
    report = held(tmp_path, [old], [new])
    assert report.exit_code == 1
    assert report.worse == (f"c.npz, a: was {before}, is {now}: why",)
    better = held(tmp_path, [new], [old])
    assert better.worse == ()
    assert better.exit_code == Report((old,)).exit_code


@pytest.mark.parametrize(
    ("before", "now", "worse"),
    [
        (27.0, 26.0, False),
        (27.0, 25.9, True),
        (25.0, 27.0, False),
        (math.inf, math.inf, False),
        (math.inf, 30.0, True),
        (30.0, math.inf, False),
    ],
)
def test_effective_bits(tmp_path, before, now, worse):
    report = held(tmp_path, [check(bits=before)], [check(bits=now)])
    assert (bool(report.worse), report.exit_code) == (worse, int(worse))
    if worse:
        assert report.worse == (f"c.npz, a: effective bits fell from {before:.1f} to {now:.1f}",)


@pytest.mark.parametrize("other", ["name", "path", "mode", "call", "against"])
def test_a_check_that_disappeared_fails(tmp_path, other):
    report = held(tmp_path, [check(), check(**{other: "z"})], [check()])
    assert report.exit_code == 1
    assert report.worse == ()
    (sentence,) = report.gone
    assert "it was parity and is no longer checked" in sentence


def test_new_checks_are_welcome(tmp_path):
    assert held(tmp_path, [check()], [check(), check(name="new")]).worse == ()


def test_checks_that_nothing_tells_apart_are_counted(tmp_path):
    assert held(tmp_path, [check(), check()], [check()]).exit_code == 1


def session(path, **tests):
    """The checks in what pytest writes of `tests`: each one's checks, which have equal names."""
    texts = {f"t.py::{name}": [Report(tuple(found)).to_json()] for name, found in tests.items()}
    path.write_text(merged(texts))
    return read_report(path)


def test_the_checks_of_two_tests_are_told_apart(tmp_path):
    path, good, bad = tmp_path / "b.json", check(path=None), check("diverged", 10, path=None)
    before = session(path, a=[good], b=[bad])

    def said(now):
        return [(one.kind, f"{one.check}: {one.summary}") for one in changes(before, now)]

    assert said(session(path, b=[bad], a=[good])) == []
    assert said(session(path, a=[bad], b=[good])) == [
        ("worse", "t.py::a, a: was parity, is diverged: why"),
        ("better", "t.py::b, a: was diverged, is parity: why"),
    ]
    assert said(session(path, b=[good])) == [
        ("gone", "t.py::a, a: it was parity and is no longer checked"),
        ("better", "t.py::b, a: was diverged, is parity: why"),
    ]


def test_a_failure_stays_one(tmp_path):
    report = held(tmp_path, [check("diverged", 10)], [check("diverged", 10)])
    assert (report.exit_code, report.worse) == (1, ())


def test_what_got_worse_is_shown(tmp_path):
    report = held(tmp_path, [check(), check(name="b")], [check()])
    sentence = "GONE: c.npz, b: it was parity and is no longer checked"
    assert report.render(quiet=True).endswith(f"\n\n{sentence}")
    assert report.render("github").startswith(f"::error title=rnn-parity::{sentence}\n")
    document = json.loads(report.render("json"))
    assert document["notes"] == ["a note"]
    assert document["exit_code"] == 1


def test_what_changed_is_a_table(tmp_path):
    before = [check(), check(name="gone"), check(name="b", bits=30.0), check("diverged", 10, "c")]
    now = [check(), check("suspect", 27, "b"), check("parity", 27, "c"), check(name="new")]
    report = held(tmp_path, before, now)
    assert [(one.kind, one.check) for one in report.baseline.changes] == [
        ("gone", "c.npz, gone"),
        ("worse", "c.npz, b"),
        ("new", "c.npz, new"),
        ("better", "c.npz, c"),
    ]
    assert report.baseline.unchanged == 1
    lines = str(report).splitlines()
    start = next(i for i, line in enumerate(lines) if " before " in line)
    assert [line.split() for line in lines[start + 2 : start + 6]] == [
        ["gone", "c.npz,", "gone", "parity", "27.0", "not", "checked"],
        ["worse", "c.npz,", "b", "parity", "30.0", "suspect", "27.0"],
        ["new", "c.npz,", "new", "not", "checked", "parity", "27.0"],
        ["better", "c.npz,", "c", "diverged", "10.0", "parity", "27.0"],
    ]
    assert lines[start + 6].startswith("1 unchanged, compared with")
    assert "| gone   | c.npz, gone | parity 27.0" in report.render("markdown")
    document = json.loads(report.to_json())["baseline"]
    assert (document["unchanged"], len(document["changes"])) == (1, 4)
    assert document["changes"][1]["summary"] == "was parity, is suspect: why"
    (tmp_path / "again.json").write_text(report.to_json())
    assert read_report(str(tmp_path / "again.json"))


def test_what_got_worse_is_annotated_once(tmp_path):
    before = [check(), check(name="b", bits=30.0), check(name="gone")]
    report = held(tmp_path, before, [check("diverged", 10), check(name="b", bits=25.0)])
    assert (len(report.worse), len(report.gone)) == (2, 1)
    *annotated, _ = report.render("github").splitlines()
    assert [line.startswith("::error ") for line in annotated] == [True] * 3
    assert sum("DIVERGED" in line or "is diverged" in line for line in annotated) == 1
    quiet = report.render(quiet=True)
    assert (quiet.count("WORSE: "), quiet.count("GONE: ")) == (2, 1)


def test_what_was_diverged_and_is_gone_is_gone(tmp_path):
    report = held(tmp_path, [check(), check("diverged", 10, "b")], [check()])
    assert (report.exit_code, report.worse, report.verdict) == (1, (), "parity")
    assert report.gone == ("c.npz, b: it was diverged and is no longer checked",)
    start = "GONE: 1 check is gone since the earlier report; "
    assert report.summary.startswith(start)
    (row,) = (line for line in str(report).splitlines() if line.startswith("gone "))
    assert row.split() == ["gone", "c.npz,", "b", "diverged", "10.0", "not", "checked"]
    assert f"\n\n{start}" in str(report)
    for text in (str(report), report.render("html"), report.render(quiet=True)):
        assert "WORSE" not in text
    assert 'type="gone"' in report.render("junit")


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_changes_are_shown_once(tmp_path, format):
    before = [check(), check(name="gone"), check(name="b", bits=30.0)]
    text = held(tmp_path, before, [check(), check(name="b", bits=25.0)]).render(format)
    assert text.count("c.npz, gone") == text.count("c.npz, b") == 1
    assert text.count("1 unchanged, compared with") == 1


def test_the_table_of_changes_fits_a_terminal(tmp_path):
    path = "/a/rather/long/folder/of/a/project/on/a/machine/with/many/folders/of/cases/gru.npz"
    report = held(tmp_path, [check()], [check(), check(path=path, mode="graph")])
    table = str(report).partition(" before ")[2].partition("unchanged")[0].splitlines()
    assert max(map(len, table)) <= 80


def test_what_cannot_be_read_now_is_gone_and_hides_nothing(tmp_path):
    (tmp_path / "b.json").write_text(Report((check(path="a.npz"), check(path="b.npz"))).to_json())
    error = TargetError("a.npz", "a.npz: damaged")
    now = Report((check(path="b.npz"),), errors=(error,))
    report = against_baseline(now, tmp_path / "b.json")
    assert report.exit_code == 1
    assert report.gone == ("a.npz, a: it was parity and could not be checked",)
    # A report beside errors is a baseline for what was checked in it.
    (tmp_path / "b.json").write_text(now.to_json())
    report = against_baseline(Report(now.checks), tmp_path / "b.json")
    assert (report.exit_code, report.baseline.changes) == (0, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "received something else"),
        ("[" * 100000, "received something else"),
        ("[]", "received schema None"),
        ('{"schema": "rnn-parity/2"}', "received schema 'rnn-parity/2'"),
        ('{"schema": "rnn-parity/1"}', "damaged checks"),
        ('{"schema": "rnn-parity/1", "checks": [{"verdict": "parity"}]}', "damaged checks"),
        (
            '{"schema": "rnn-parity/1", "checks": '
            '[{"subject": {}, "verdict": "parity", "effective_bits": "many", "max_ratio": 1}]}',
            "check 0 () contradicts itself: its effective_bits is 'many', which is no number",
        ),
        ('{"schema": "rnn-parity/1", "checks": []}', "one without a check, which proves nothing"),
        ('{"schema": "rnn-parity/1", "schema": ""}', "something else: schema stands there twice"),
    ],
)
def test_what_is_no_report(tmp_path, text, expected):
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(InputError, match="expected a report that --format json wrote") as caught:
        against_baseline(Report(()), tmp_path / "b.json")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        against_baseline(Report(()), tmp_path / "none.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="received something that is not a plain file"):
        against_baseline(Report(()), tmp_path / "pipe.json")


def test_a_case_that_was_recorded_again_is_the_same_check(tmp_path):
    def then(version):
        against = f"TensorFlow {version}"
        subject = Subject("case", "c.npz", "GRU", "a", mode="graph", against=against)
        return replace(check(), subject=subject)

    report = held(tmp_path, [then("2.15")], [then("2.21")])
    assert (report.worse, report.baseline.changes) == ((), ())


def test_the_same_file_by_another_path_is_the_same_check(tmp_path):
    report = held(tmp_path, [check(path="./below/../c.npz")], [check(path="c.npz")])
    assert (report.exit_code, report.baseline.changes) == (0, ())


def test_what_is_gone_is_said_before_what_is_blind(tmp_path):
    blind = replace(check(), sensitivity=Sensitivity((), (BlindSpot("mask-ignored", "why"),)))
    report = replace(held(tmp_path, [blind, check(name="b")], [blind]), strict=True)
    assert report.exit_code == 1
    assert report.summary.startswith("GONE: 1 check is gone since the earlier report; ")


def test_what_got_worse_is_said_first(tmp_path):
    before = [check(), check(name="b"), check(name="c", bits=30)]
    report = held(tmp_path, before, [check(), check(name="c")])
    lost = "1 check is worse than before, 1 check is gone since the earlier report"
    assert report.summary.startswith(f"WORSE: {lost}; ")
    assert report.verdict == "parity"


def test_one_file_may_be_written_in_several_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("./c.npz", "in/../c.npz", str(tmp_path / "c.npz")):
        for pair in (("c.npz", path), (path, "c.npz")):
            report = held(tmp_path, *([check(path=one)] for one in pair))
            assert (report.baseline.changes, report.baseline.unchanged) == ((), 1)
    other = held(tmp_path, [check()], [check(path=str(tmp_path / "in" / "c.npz"))])
    assert [one.kind for one in other.baseline.changes] == ["gone", "new"]
