"""Several implementations at once: one that crashes or cannot be read does not hide the others."""

import json

import numpy as np
import pytest
from hand_case import OUTPUTS, make

import rnn_parity as rp
from rnn_parity.api.baseline import against_baseline
from rnn_parity.api.functions import check_generated
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.recorded import check_case
from rnn_parity.cases.case import write_case
from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.pytest_plugin.outcome import failure, lines, merged
from rnn_parity.report.report import joined

# By hand: 1 * 2 + 1 = 3, then 3 * 2 + 3 / 2 + 1 = 8.5.
LAYER = rp.SimpleRNN(np.float32([[2]]), np.float32([[0.5]]), np.float32([1]), activation="linear")
X, Y = np.float32([[[1], [3]]]), np.float32([[[3], [8.5]]])
FORMS = ("table", "json", "markdown", "github", "html", "junit")


def right(inputs):
    return Y


def wrong(inputs):
    return Y - 1


def crash(inputs):
    raise ValueError("no such gate")


def refuse(inputs):
    raise NotImplementedError("no LSTM")


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.npy"
    path.write_bytes(b"\x93NUMPY is not what follows")
    return str(path)


def check(*against):
    return rp.check(LAYER, X, against=list(against))


def test_a_crash_and_a_broken_file_stand_beside_what_was_judged(broken):
    report = check(crash, right, broken, wrong)
    assert [(c.subject.against, c.verdict) for c in report.checks] == [
        ("right", "parity"),
        ("wrong", "diverged"),
    ]
    assert [(one.against, one.exit_code) for one in report.errors] == [("crash", 1), (broken, 2)]
    assert "it failed: ValueError: no such gate" in report.errors[0].message
    assert (report.verdict, report.exit_code, bool(report)) == ("diverged", 1, False)


def test_a_crash_counts_as_a_mistake_and_a_broken_file_as_bad_input(broken):
    failed, unread, both = check(right, crash), check(right, broken), check(right, broken, crash)
    assert [one.exit_code for one in (failed, unread, both)] == [1, 2, 1]
    assert [one.verdict for one in (failed, unread, both)] == ["inconclusive"] * 3
    assert not any((failed, unread, both))
    assert failed.summary == "FAILED: 1 source failed: crash; 1 check is in parity."
    assert unread.summary.startswith("INCONCLUSIVE: 1 source could not be checked: ")
    assert check(wrong, broken).exit_code == 1
    assert check(right, refuse).exit_code == 2


def test_where_nobody_answers_each_says_why(broken):
    report = check(crash, refuse)
    assert (report.checks, report.exit_code) == ((), 1)
    assert [one.against for one in report.errors] == ["crash", "refuse"]
    assert "compared" not in report.summary


@pytest.mark.parametrize("form", FORMS)
def test_every_form_shows_the_verdicts_and_what_failed(form):
    if form in ("html", "junit"):
        pytest.importorskip({"html": "jinja2", "junit": "junitparser"}[form])
    text = check(right, crash, wrong).render(form)
    for words in ("no such gate", "against", "wrong"):
        assert words in text
    if form in ("table", "markdown", "html"):
        assert "failed" in text
    if form == "junit":
        assert 'errors="0" failures="2"' in text


def test_the_table_has_a_column_for_what_failed(broken):
    table = str(check(right, crash)).split("\n\n")[1].splitlines()
    assert table[0].split() == ["right", "crash"]
    assert table[2].split() == ["verdict", "parity", "failed"]
    assert table[3].split()[-1] == "-"
    assert "not compared" in str(check(right, broken))


def test_the_document_names_the_source():
    document = json.loads(check(right, crash).to_json())
    assert document["errors"] == [
        {
            "path": None,
            "message": document["errors"][0]["message"],
            "exit_code": 1,
            "against": "crash",
        }
    ]
    assert (document["exit_code"], document["verdict"]) == (1, "inconclusive")


def test_the_only_source_raises_as_ever(broken):
    with pytest.raises(SourceFailedError, match="no such gate"):
        check(crash)
    with pytest.raises(InputError, match="truncated or damaged"):
        check(broken)


def test_what_all_say_alike_is_about_the_inputs():
    with pytest.raises(InputError, match=r"inputs: expected .*, received"):
        rp.check(LAYER, np.ones((1, 2, 5)), against=[right, wrong])


def test_a_case_and_several_targets(tmp_path, broken):
    path = str(tmp_path / "case.npz")
    write_case(path, make())
    np.save(tmp_path / "y.npy", OUTPUTS)
    report = check_case(path, against=[str(tmp_path / "y.npy"), broken])
    assert [c.verdict for c in report.checks] == ["parity"]
    assert [(one.path, one.against) for one in report.errors] == [(path, broken)]
    both = joined({path: report, "b.npz": report}, [])
    assert (len(both.checks), len(both.errors), both.exit_code) == (2, 2, 2)
    nothing = joined({path: check_case(path, against=[crash, broken])}, [])
    assert (nothing.checks, nothing.exit_code) == ((), 1)


def test_what_was_judged_before_a_crash_stays():
    """A Bidirectional is asked layer by layer by a function that is given the layer."""

    def once(inputs, layer):
        if layer.go_backwards:
            raise ValueError("forwards alone")
        return np.float32(rp.replay(layer, inputs).outputs)

    def each(inputs, layer):
        return np.float32(rp.replay(layer, inputs).outputs)

    spec = GeneratedLayer("bidirectional", units=3, batch=2, timesteps=4, features=2)
    report = check_generated(spec, against=[once, each])
    found = [(c.subject.layer_name.split("/")[1], c.subject.against) for c in report.checks]
    assert found == [("forward", "once"), ("forward", "each"), ("backward", "each")]
    assert {c.verdict for c in report.checks} == {"parity"}
    assert (report.exit_code, report.errors[0].against) == (1, "once")
    assert str(report).count("failed") >= 2


def test_a_function_that_is_given_the_layer_answers_for_all_of_a_model():
    keras = pytest.importorskip("keras")
    layers = [
        keras.layers.LSTM(3, return_sequences=True, name="a"),
        keras.layers.GRU(2, return_sequences=True, name="b"),
    ]
    model = keras.Sequential([keras.Input((4, 2)), *layers])
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)

    def each(inputs, layer):
        return np.float32(rp.replay(layer, inputs).outputs)

    def biased(inputs, layer):
        return np.float32(rp.replay(layer.changed(bias=layer.bias + 1), inputs).outputs)

    report = rp.check(model, x, against=[each, biased])
    assert [(c.subject.layer_name, c.verdict) for c in report.checks] == [
        ("a", "parity"),
        ("a", "diverged"),
        ("b", "parity"),
        ("b", "diverged"),
    ]
    with pytest.raises(InputError, match=r"--layer-name.*, or let its signature have `layer`"):
        rp.check(model, x, against=right)


def test_a_baseline_tells_that_a_source_could_not_be_checked(tmp_path, broken):
    (tmp_path / "before.json").write_text(check(right, wrong).to_json())
    report = against_baseline(check(right, crash), tmp_path / "before.json")
    assert [one.kind for one in report.baseline.changes] == ["gone"]
    before = check(right, right).to_json().replace("right 2", "crash").replace("right 1", "right")
    (tmp_path / "before.json").write_text(before)
    report = against_baseline(check(right, crash), tmp_path / "before.json")
    assert "it was parity and could not be checked" in report.gone[0]


def test_a_failed_test_says_it(broken):
    report = check(right, crash, broken)
    assert "ERROR: against 'crash': it failed: ValueError: no such gate" in failure(report)
    words = [(word, failed) for word, _, failed in lines(report)]
    assert words == [("parity", False), ("failed", True), ("not compared", True)]
    document = json.loads(merged({"test_a": [report.to_json()]}))
    assert [one["test"] for one in document["errors"]] == ["test_a"] * 2
