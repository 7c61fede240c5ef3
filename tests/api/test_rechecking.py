"""Cases checked again: Keras now, Keras then and the replay, and which of them changed."""

import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hand_case import OUTPUTS, VERSIONS, make

from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.judging import judged
from rnn_parity.api.recorded import (
    check_case,
    moved,
    record,
    record_generated,
    record_model,
    recorded,
    rerun,
    same_numbers,
)
from rnn_parity.cases.case import case_of, read_case, write_case
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import keras_major

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "fixtures/cases").rglob("*.npz"))
SMALL = {"batch": 2, "timesteps": 3, "features": 2, "units": 3}


@pytest.fixture
def path(tmp_path):
    name = tmp_path / "case.npz"
    write_case(name, make())
    return name


def test_the_same_numbers_are_those_of_every_array():
    then = recorded(make(last_output=OUTPUTS[:, -1]))
    assert same_numbers(then, recorded(make(last_output=OUTPUTS[:, -1].copy())))
    other = np.nextafter(OUTPUTS, np.float32(9))
    for change in (
        {"outputs": other},
        {"outputs": OUTPUTS.astype(np.float64)},
        {"last_output": None},
        {"last_output": other[:, -1]},
        {"final_state": ()},
        {"final_state": (other[:, -1],)},
    ):
        assert not same_numbers(then, replace(then, **change)), change


def test_blind_spots_are_worked_out_once_for_numbers_that_came_again(path):
    old, new = check_case(path).checks
    assert new.sensitivity is old.sensitivity
    (alone,) = judged([rerun(read_case(path), "graph")], "case", str(path))
    assert replace(new, notes=new.notes[:-1]) == alone
    changed = make(outputs=np.nextafter(OUTPUTS, np.float32(0)))
    write_case(path, changed)
    old, new = check_case(path).checks
    assert new.sensitivity is not old.sensitivity


FEW = ("gru-mask-left.npz", "lstm-stateful-call1.npz", "mask-zeros.npz")


@pytest.mark.parametrize("case", [one for one in CASES if one.name in FEW])
def test_faulty_runs_are_judged_once_for_both_and_each_says_what_it_says_alone(case, tmp_path):
    then = read_case(case)
    outputs = np.nextafter(then.outputs, np.float32(0))
    write_case(path := tmp_path / "case.npz", replace(then, outputs=outputs))
    old, new = check_case(path).checks
    assert new.sensitivity is not old.sensitivity
    assert new.sensitivity.work_out.runs is old.sensitivity.work_out.runs
    moved_case = read_case(path)
    for check, call in ((old, recorded(moved_case)), (new, rerun(moved_case, then.mode))):
        (alone,) = judged([call], "case")
        assert check.verdict == alone.verdict == "parity"
        assert check.sensitivity == alone.sensitivity
        assert check.sensitivity.visible


def test_the_recorded_outputs_alone(path):
    report = check_case(path, keras=False)
    (check,) = report.checks
    assert (report.verdict, report.exit_code, check.max_deviation) == ("parity", 0, 0)
    assert (check.subject.kind, check.subject.path) == ("case", str(path))
    assert check.subject.against == "recorded outputs, TensorFlow 2.15.1, Keras 2.15.0"


def test_wrong_recorded_outputs_diverge(path):
    write_case(path, make(outputs=np.float32([[[3], [8.25]]]), final_state=()))
    check = check_case(path, keras=False).checks[0]
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 1)
    assert (check.first_divergence.observed, check.first_divergence.expected) == (8.25, 8.5)


def test_without_keras_tensorflow_is_not_imported(path):
    code = f"""
import sys
from rnn_parity.api.recorded import check_case
assert check_case({str(path)!r}, keras=False)
assert not {{"tensorflow", "keras", "tf_keras"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_then_and_now(path):
    pytest.importorskip("tensorflow")
    then, now = check_case(path).checks
    assert (then.verdict, now.verdict) == ("parity", "parity")
    assert (now.subject.against, now.subject.mode, now.max_deviation) == (None, "graph", 0)
    (note,) = now.notes
    assert note.startswith("recorded with TensorFlow 2.15.1, Keras 2.15.0, now TensorFlow ")
    assert note.endswith("the same, bit for bit; parity with the replay then and now")


def test_every_mode(path):
    modes = [check.subject.mode for check in check_case(path, mode="all").checks]
    assert modes == ["graph", "eager", "graph", "xla", "predict"]
    with pytest.raises(InputError, match="mode: expected one of"):
        check_case(path, mode="fast")


def test_wrong_then_and_right_now(path):
    write_case(path, make(outputs=np.float32([[[3], [8.25]]]), final_state=()))
    then, now = check_case(path).checks
    assert (then.verdict, now.verdict) == ("diverged", "parity")
    assert "the outputs moved by at most 0.250 (262144 ULP)" in now.notes[0]  # 0.25 / 2**-20
    assert now.notes[0].endswith("diverged with the replay then, parity now")


def test_moved():
    x = np.float32([[1, 2]])
    assert moved("outputs", x, x.copy()) == ""
    assert moved("outputs", x, np.float32([[1, 2 + 2**-21]])) == (
        "the outputs moved by at most 4.77e-07 (2 ULP)"
    )
    assert moved("outputs", 0 * x, x) == "the outputs moved by at most 2.00"
    assert moved("state", None, None) == ""
    assert moved("state", None, x) == "the state appeared"
    assert moved("state", x, None) == "the state disappeared"
    assert moved("state", x, x[0]) == "the state took shape (2,) instead of (1, 2)"


def test_nan_then_and_now_is_no_movement():
    assert moved("outputs", np.float32([np.nan]), np.float32([np.nan])) == ""


@pytest.mark.parametrize("case", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_recorded_in_every_release_and_right_now(case):
    report = check_case(case)
    assert report.exit_code == 0, str(report)
    assert [check.verdict for check in report.checks] == ["parity", "parity"]


def test_there_are_cases_of_both_generations():
    cases = [read_case(case) for case in CASES]
    recorded_with = {(case.versions["keras"].split(".")[0], case.recurrence) for case in cases}
    assert recorded_with == set(product("23", ("SimpleRNN", "LSTM", "GRU")))
    assert sum(p.stat().st_size for p in (ROOT / "fixtures").rglob("*.npz")) < 2 * 2**20
    assert read_case(ROOT / "fixtures/cases/keras-2.15.0/notebook.npz").inputs.shape[1:] == (28, 32)


def changed(name, generation):
    (case,) = (ROOT / "fixtures/changed").glob(f"{name}-keras-{generation}*.npz")
    return case


@pytest.mark.parametrize("name", ["hard_sigmoid", "lstm_hard_sigmoid"])
def test_hard_sigmoid_of_the_other_generation(name):
    then, now = check_case(changed(name, 5 - keras_major())).checks
    assert (then.verdict, now.verdict) == ("parity", "diverged")
    assert [cause.fault for cause in now.causes] == ["hard-sigmoid-slope"]
    assert f"the slope is that of Keras {keras_major()}" in now.causes[0].explanation
    assert "a real change; parity with the replay then, diverged now" in now.notes[-1]


@pytest.mark.parametrize("name", ["hard_sigmoid", "lstm_hard_sigmoid"])
def test_hard_sigmoid_of_this_generation(name):
    assert check_case(changed(name, keras_major()))


def test_what_is_recorded_is_what_ran(tmp_path):
    spec = GeneratedLayer(**SMALL, mask="random", initial_state="random")
    report = record_generated(spec, tmp_path / "c.npz")
    assert (report.exit_code, report.notes) == (0, (f"recorded {tmp_path / 'c.npz'}",))
    case = read_case(tmp_path / "c.npz")
    np.testing.assert_array_equal(case.outputs[:, -1], case.final_state[0])
    assert not case.mask.all()
    assert case.initial_state[0].any()
    then, now = check_case(tmp_path / "c.npz").checks
    assert (then.verdict, now.verdict) == ("parity", "parity")
    assert "bit for bit" in now.notes[-1]


def test_what_a_recording_replaces_is_said(tmp_path):
    path = tmp_path / "c.npz"
    record([recorded(make())], path)
    (note,) = record([recorded(make())], path).notes
    versions = read_case(path).versions
    assert note == (
        f"recorded {path}, which replaces the case recorded with TensorFlow "
        f"{versions['tensorflow']}, Keras {versions['keras']}"
    )
    path.write_bytes(b"something else")
    (note,) = record([recorded(make())], path).notes
    assert note == f"recorded {path}, which replaces a file that was no case"


def test_of_several_what_diverged_alone_is_not_recorded(tmp_path):
    right = replace(recorded(make()), layer_name="right")
    wrong = replace(recorded(make(outputs=OUTPUTS + 1, final_state=())), layer_name="wrong")
    report = record([right, wrong], tmp_path / "c.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["c-right.npz"]
    assert report.exit_code == 1
    assert [note.partition(" ")[0] for note in report.notes] == ["recorded", "not"]
    assert record([wrong], tmp_path / "w.npz", diverged=True).exit_code == 1
    assert read_case(tmp_path / "w.npz").layer_name == "wrong"


def test_one_case_per_call(tmp_path):
    spec = GeneratedLayer(**SMALL, arguments={"stateful": True}, calls=2)
    record_generated(spec, tmp_path / "c.npz")
    first, second = (read_case(tmp_path / f"c-call{i}.npz") for i in range(2))
    assert second.config["stateful"]
    np.testing.assert_array_equal(second.initial_state, first.final_state)
    assert check_case(tmp_path / "c-call1.npz")


def test_one_case_per_layer_and_mode(tmp_path):
    keras = pytest.importorskip("tensorflow").keras
    model = keras.Sequential(
        [
            keras.Input((3, 2)),
            keras.layers.SimpleRNN(2, return_sequences=True, name="a"),
            keras.layers.GRU(2, return_sequences=True, reset_after=False, name="g"),
            keras.layers.LSTM(2, name="l"),
        ]
    )
    model.save(tmp_path / "m.keras")
    report = record_model(str(tmp_path / "m.keras"), tmp_path / "c.npz", batch=2)
    assert [c.verdict for c in report.checks] == ["parity"] * 3
    assert sorted(p.name for p in tmp_path.glob("*.npz")) == [f"c-{n}.npz" for n in "agl"]
    for name, recurrence in (("a", "SimpleRNN"), ("g", "GRU"), ("l", "LSTM")):
        assert read_case(tmp_path / f"c-{name}.npz").recurrence == recurrence
        _, now = check_case(tmp_path / f"c-{name}.npz").checks
        assert now.verdict == "parity"
        assert "bit for bit" in now.notes[-1]


def test_names_are_safe_and_distinct(tmp_path):
    seen = [replace(recorded(make()), layer_name=name) for name in ("../x/y", "b")]
    record(seen, tmp_path / "c.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c-.._x_y.npz", "c-b.npz"]
    seen = [replace(recorded(make()), layer_name=name) for name in ("x/y", "x y")]
    with pytest.raises(InputError, match="two layers would be recorded in one file"):
        record(seen, tmp_path / "d.npz")
    with pytest.raises(InputError, match=r"ends in \.npz"):
        record(seen[:1], tmp_path / "d.txt")


def test_a_case_can_be_made_of_what_was_recorded():
    case = case_of(recorded(make()), VERSIONS)
    assert case.config["activation"] == "linear"
    np.testing.assert_array_equal(case.outputs, OUTPUTS)
