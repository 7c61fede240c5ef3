"""Documents whose numbers contradict each other are refused, and the message says which."""

import copy
import json
import math

import numpy as np
import pytest
from hand_case import OUTPUTS, make
from sample_checks import NOT_COMPARED, PARITY

import rnn_parity as rp
from rnn_parity.api.baseline import against_baseline, read_report
from rnn_parity.cases.case import write_case
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError
from rnn_parity.report.document import plain
from rnn_parity.report.report import Report
from rnn_parity.verdict.consistency import contradiction, document_contradiction, parsed

RNG = np.random.default_rng(3)
KERNELS = RNG.normal(size=(2, 3)), 0.5 * RNG.normal(size=(3, 3))
WEIGHTS = rp.SimpleRNN(*KERNELS, [0.1, 0.2, -0.3], dtype="float32")
X = RNG.normal(size=(2, 4, 2)).astype(np.float32)
RIGHT = rp.replay(WEIGHTS, X).outputs.astype(np.float32)


def reports():
    """Own reports of every kind of verdict, none of which contradicts itself."""
    wrong, nothing = RIGHT + np.float32(0.5), RIGHT.copy()
    nothing[1, 2, 0] = np.nan
    yield rp.compare(WEIGHTS, X, RIGHT, RIGHT[:, -1])
    yield rp.compare(WEIGHTS, X, RIGHT[:, -1], RIGHT[:, -1])
    yield rp.compare(WEIGHTS, X, RIGHT, RIGHT[:, -2])
    yield rp.compare(WEIGHTS, X, np.round(RIGHT.astype(float), 3))
    for outputs in (wrong, nothing, wrong[:, -1], RIGHT[..., :2], np.full_like(RIGHT, np.inf)):
        yield rp.compare(WEIGHTS, X, outputs)
    for outputs in (np.zeros((1, 2, 1)), np.ones((1, 2, 1))):
        yield rp.compare(rp.SimpleRNN([[0.0]], [[0.0]]), np.ones((1, 2, 1)), outputs)
    yield Report((PARITY, NOT_COMPARED))


@pytest.mark.parametrize("report", [*reports()], ids=lambda r: r.summary[:40])
def test_own_reports_are_read_again(tmp_path, report):
    (tmp_path / "b.json").write_text(report.to_json())
    assert len(read_report(str(tmp_path / "b.json"))) == len(report.checks)
    assert against_baseline(report, tmp_path / "b.json").worse == ()


DOCUMENT = json.loads(rp.compare(WEIGHTS, X, RIGHT, RIGHT[:, -1]).to_json())
DIVERGED = json.loads(rp.compare(WEIGHTS, X, RIGHT + np.float32(0.5)).to_json())


def changed(document, path, value):
    """`document` with another value at a path such as checks.0.max_ratio."""
    document, (*way, last) = copy.deepcopy(document), path.split(".")
    place = document
    for name in way:
        place = place[int(name)] if name.isdigit() else place[name]
    place[int(last) if last.isdigit() else last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("checks.0.max_ratio", 7.5, "its verdict is parity beside a max_ratio of 7.5"),
        ("checks.0.max_ratio", "nan", "its verdict is parity beside a max_ratio of nan"),
        ("checks.0.max_ratio", None, "its verdict is parity beside no max_ratio"),
        ("checks.0.max_ratio", True, "its max_ratio is True, which is no number"),
        ("checks.0.max_ratio", "0.1", "its max_ratio is '0.1', which is no number"),
        ("checks.0.max_ratio", -0.5, "its max_ratio is negative, -0.5"),
        ("checks.0.max_ratio", 0.9, "its effective_bits are "),
        ("checks.0.resolution", 1.5, "its verdict is parity beside a resolution of 1.5"),
        ("checks.0.resolution", "inf", "its verdict is parity beside a resolution of inf"),
        ("checks.0.resolution", "nan", "its resolution is 'nan'"),
        ("checks.0.resolution", -1, "its resolution is -1"),
        ("checks.0.resolution", "narrow", "its resolution is 'narrow'"),
        ("checks.0.effective_bits", "nan", "its verdict is parity beside no effective_bits"),
        ("checks.0.effective_bits", None, "its verdict is parity beside no effective_bits"),
        ("checks.0.effective_bits", False, "its effective_bits is False, which is no number"),
        ("checks.0.effective_bits", 11.5, "its effective_bits are 11.5 beside a max_ratio of 0."),
        ("checks.0.effective_bits", "inf", "its effective_bits are inf beside a max_ratio of 0."),
        ("checks.0.max_deviation", -1e-9, "its max_deviation is negative, -1e-09"),
        ("checks.0.max_deviation", 0.5, "its max_deviation is 0.5, that of its rows "),
        ("checks.0.verdict", "passed", "its verdict is 'passed'"),
        ("checks.0.verdict", "diverged", "its verdict is diverged beside a "),
        ("checks.0.dtype", "float31", "its dtype is 'float31'"),
        ("checks.0.dtype", "float64", "its effective_bits are "),
        ("checks.0.shape", [2, 4, 2, 3], "its shape is none"),
        ("checks.0.shape.units", 2.5, "its shape is none"),
        ("checks.0.shape.timesteps", 5, "it has 4 rows of timesteps in a shape of 5"),
        ("checks.0.timesteps.2.max_ratio", 2.0, "row of timestep 2 has a max_ratio of 2 beside"),
        ("checks.0.timesteps.2.max_ratio", "nan", "its row of timestep 2 has a max_ratio of nan"),
        ("checks.0.timesteps.2.max_residual", -1, "row of timestep 2 has the max_residual -1"),
        ("checks.0.timesteps.2.max_ulp", "many", "row of timestep 2 has the max_ulp 'many'"),
        ("checks.0.timesteps.2.timestep", 3, "its row of timestep 2 is that of timestep 3"),
        ("checks.0.timesteps.2.unit", 3, "its row of timestep 2 has the unit 3"),
        ("checks.0.timesteps.2.batch", -1, "its row of timestep 2 has the batch -1"),
        ("checks.0.timesteps.2", 7, "its row of timestep 2 is none"),
        ("checks.0.final_state.0.max_ratio", 1.5, "its row of final state 0 has a max_ratio of 1"),
        ("checks.0.first_divergence", {}, "its verdict is parity beside a first_divergence"),
        ("verdict", "fine", "its verdict is 'fine'"),
        ("exit_code", True, "its exit_code is True"),
        ("exit_code", 7, "its exit_code is 7"),
    ],
)
def test_what_contradicts_itself_is_named(tmp_path, path, value, words):
    file = tmp_path / "b.json"
    file.write_text(json.dumps(changed(DOCUMENT, path, value)))
    with pytest.raises(InputError, match="contradicts itself: ") as caught:
        against_baseline(Report(()), file)
    assert words in str(caught.value), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("checks.0.verdict", "parity", "its verdict is parity beside a max_ratio of "),
        ("checks.0.max_ratio", 0.5, "its verdict is diverged beside a max_ratio of 0.5"),
        ("checks.0.sensitivity", {"visible": [], "blind": []}, "beside a sensitivity, which only"),
        ("checks.0.first_divergence.bound", 9.0, "its first_divergence, "),
        ("checks.0.first_divergence.unit", None, "has no place or no numbers"),
        ("checks.0.first_divergence.observed", "much", "has no place or no numbers"),
        ("verdict", "parity", "its verdict is parity, that of one of its checks diverged"),
        ("exit_code", 0, "its exit_code is 0 beside the verdict diverged"),
    ],
)
def test_a_divergence_that_is_none(path, value, words):
    document = changed(DIVERGED, path, value)
    found = contradiction(document["checks"][0]) or document_contradiction(document)
    assert words in found, found


def test_errors_are_no_success():
    error = {"path": "b.keras", "message": "truncated", "exit_code": 2}
    document = {**plain(Report((PARITY,)).document()), "errors": [error]}
    for verdict, code in (("parity", 2), ("inconclusive", 0), ("parity", 0)):
        wrong = document | {"verdict": verdict, "exit_code": code}
        found = document_contradiction(wrong)
        assert found == f"its exit_code is {code} and its verdict {verdict} beside errors"
    assert document_contradiction(document | {"verdict": "inconclusive", "exit_code": 2}) is None


def test_what_is_known_may_be_allowed():
    cause = {"fault": "sparsemax-threshold", "explanation": "known", "effective_bits": None}
    allowed = changed(changed(DIVERGED, "exit_code", 0), "checks.0.causes", [cause])
    assert document_contradiction(allowed) is None


def sweep_document(**changes):
    checks = [{**DOCUMENT["checks"][0], "configuration": {}, "dtype": "mixed_float16"}]
    verdicts = {"parity": 1, "refused": 2, "failed": 1}
    counts = {"count": 4, "verdicts": verdicts, "refused": [{}, {}], "failed": [{}]}
    return {"verdict": "failed", "exit_code": 1, "checks": checks, "sweep": {**counts, **changes}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"count": 5}, "its count is 5 and it holds 4"),
        ({"failed": []}, "it counts 1 failed and holds 0"),
        ({"refused": 2}, "it counts 2 refused and holds -1"),
        ({"verdicts": {"parity": 45}}, "it counts 45 parity and holds 1"),
        ({"verdicts": {"parity": True, "refused": 2, "failed": 1}}, "it counts True parity"),
        ({"verdicts": None}, "its sweep has no verdicts"),
    ],
)
def test_the_counts_of_a_sweep(changes, words):
    found = document_contradiction(sweep_document(**changes))
    assert found == words or found.startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": [1, NaN]}', r"a\[1\] is nan, which is no number in JSON"),
        ('{"a": {"b": -Infinity}}', "a.b is -inf, which is no number in JSON"),
        ('{"a": 1e999}', "a is inf, which is no number in JSON"),
        ('{"verdict": "diverged", "verdict": "parity"}', "verdict stands there twice"),
        ("{", "Expecting property name"),
    ],
)
def test_what_json_does_not_have(text, words):
    with pytest.raises(ValueError, match=words):
        parsed(text)
    assert parsed('{"a": [1, "nan", null, true]}') == {"a": [1, "nan", None, True]}


def test_numbers_of_infinity_and_none_are_words():
    rows = plain(rp.compare(WEIGHTS, X, np.full_like(RIGHT, np.nan)).checks)
    assert contradiction(rows[0]) is None
    check = {"verdict": "diverged", "max_ratio": "nan", "effective_bits": "nan"}
    assert contradiction(check) is None
    check = {"verdict": "diverged", "max_ratio": 2.0, "effective_bits": "nan"}
    assert contradiction(check) == "its effective_bits are nan beside a max_ratio of 2"
    equal = {"verdict": "parity", "max_ratio": 0.0, "effective_bits": "inf", "dtype": "float32"}
    assert contradiction(equal) is None
    assert contradiction({**equal, "effective_bits": 30.0}) is not None


def test_the_bits_of_a_ratio():
    # -log2(2**-24 / 2) = 25, and a hundredth of a bit is not asked about.
    check = {"verdict": "parity", "max_ratio": 0.5, "effective_bits": 25.0, "dtype": "float32"}
    assert contradiction(check) is None
    assert contradiction({**check, "effective_bits": 25.02}) is not None
    assert contradiction({**check, "max_ratio": math.ldexp(1, -2000)}) is not None
    for wrong in ("float64", "float16", "bfloat16"):
        assert contradiction({**check, "dtype": wrong}) is not None
    # Which of its dtypes a sweep computed in, it does not say.
    assert contradiction({**check, "dtype": "mixed_float16", "configuration": {}}) is None


def test_bits_that_are_no_number_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_case("case.npz", make(outputs=OUTPUTS))
    line = ["check", "case.npz", "--no-keras"]
    assert cli.main([*line, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (tmp_path / "b.json").write_text(json.dumps(document))
    assert cli.main([*line, "--baseline", "b.json"]) == 0
    document["checks"][0]["effective_bits"] = math.nan
    (tmp_path / "b.json").write_text(json.dumps(document))
    capsys.readouterr()
    assert cli.main([*line, "--baseline", "b.json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("checks[0].effective_bits is nan, which is no number in JSON\n")
