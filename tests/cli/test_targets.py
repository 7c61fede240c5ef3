"""Several targets: which files they stand for, and one report on all of them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from fake_check import command as run
from fake_check import refused
from hand_case import OUTPUTS, make

from rnn_parity.cases.case import write_case
from rnn_parity.cli.targets import expanded, kind_of

RNG = np.random.default_rng(16)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models: a stack of two layers, one without any, a stateful one, a broken file."""
    keras = pytest.importorskip("tensorflow").keras
    layers, folder = keras.layers, tmp_path_factory.mktemp("models")
    first, second = layers.LSTM(3, return_sequences=True, name="one"), layers.GRU(2, name="two")
    stateful = layers.SimpleRNN(2, stateful=True, name="memory")
    made = {
        "a_stack": [keras.Input((None, 3)), first, layers.Dense(4), second],
        "c_dense": [keras.Input((None, 3)), layers.Dense(2)],
        "d_stateful": [keras.Input((5, 3), batch_size=4), stateful],
    }
    for name, parts in made.items():
        net = keras.Sequential(parts)
        net.set_weights([RNG.normal(0, 0.5, w.shape) for w in net.get_weights()])
        net.save(folder / f"{name}.keras")
    whole = (folder / "a_stack.keras").read_bytes()
    (folder / "b_broken.keras").write_bytes(whole[: len(whole) // 2])
    return folder


def document(capsys, *arguments: object) -> dict:
    """The exit code and the document of a check; what is said on stderr under "said"."""
    code = run("check --format json", *arguments)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["exit_code"] == code
    return found | {"said": err}


def touched(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_targets_stand_in_the_given_order_and_globs_are_sorted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touched(tmp_path, "b.keras", "a.keras", "in/z.onnx", "in/deep/y.h5", "in/deep/note.txt")
    assert expanded(["b.keras", "a.keras"]) == ["b.keras", "a.keras"]
    assert expanded(["in/z.onnx", "*.keras"]) == ["in/z.onnx", "a.keras", "b.keras"]
    assert expanded(["**/*.h5"]) == ["in/deep/y.h5"]
    assert expanded(["in"]) == ["in/deep/y.h5", "in/z.onnx"]
    assert expanded([]) == []


def test_a_file_is_checked_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touched(tmp_path, "a.keras", "in/b.keras")
    os.symlink("a.keras", "link.keras")
    words = ["a.keras", "./a.keras", "in/../a.keras", "link.keras", "*.keras", "in", "in/b.keras"]
    assert expanded(words) == ["a.keras", "in/b.keras"]


def test_a_name_that_looks_like_a_glob_is_the_file_of_this_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touched(tmp_path, "net[1].keras", "net1.keras")
    assert expanded(["net[1].keras"]) == ["net[1].keras"]
    assert expanded(["net[12].keras"]) == ["net1.keras"]


def test_the_kinds(tmp_path):
    names = {"a.KERAS": "model", "a.h5": "model", "a.onnx": "onnx", "a.npz": "case"}
    names |= {"a.txt": "model", "*.keras": "nothing", str(tmp_path): "nothing"}
    assert {name: kind_of(name).report for name in names} == names
    assert kind_of(None).report == "generated"


def test_a_damaged_model_does_not_hide_the_others(models, capsys):
    found = document(capsys, "--timesteps 5", models / "[ab]*.keras", models / "d_stateful.keras")
    seen = [(Path(c["subject"]["path"]).name, c["subject"]["layer_name"]) for c in found["checks"]]
    stack = "a_stack.keras"
    assert seen == [(stack, "one"), (stack, "two"), ("d_stateful.keras", "memory")]
    assert {check["verdict"] for check in found["checks"]} == {"parity"}
    assert (found["exit_code"], found["verdict"]) == (2, "inconclusive")
    (error,) = found["errors"]
    assert error["path"] == str(models / "b_broken.keras")
    assert "truncated or damaged" in error["message"]
    said = found["said"].splitlines()
    assert said[0].startswith("rnn-parity: INCONCLUSIVE: 1 target could not be checked: ")
    assert said[1:] == [f"rnn-parity: ERROR: {error['message']}"]


def test_a_model_without_a_recurrent_layer_does_not_count_as_passed(models, capsys):
    found = document(capsys, models / "a_stack.keras", models / "c_dense.keras")
    assert (found["exit_code"], found["verdict"], found["errors"]) == (3, "inconclusive", [])
    assert found["checks"][-1]["summary"].endswith("c_dense.keras has no recurrent layer")


def test_models_and_cases_together_and_the_exit_code_of_a_divergence(models, tmp_path, capsys):
    write_case(tmp_path / "right.npz", make())
    found = document(capsys, models / "a_stack.keras", tmp_path)
    assert [check["subject"]["kind"] for check in found["checks"]] == ["model"] * 2 + ["case"] * 2
    assert found["exit_code"] == 0
    write_case(tmp_path / "wrong.npz", make(outputs=OUTPUTS + 1, final_state=()))
    found = document(capsys, models / "a_stack.keras", tmp_path, models / "b_broken.keras")
    assert (found["exit_code"], found["verdict"], len(found["errors"])) == (1, "diverged", 1)


def test_every_form_says_which_file_a_check_is_about(models, capsys):
    run("check --timesteps 5", models)
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) <= 80 + len(str(models))
    overview = [line.split() for line in table.splitlines()[4:9]]
    assert [row[1:4] for row in overview[1:4]] == [
        ["a_stack.keras", "one", "graph"],
        ["a_stack.keras", "two", "graph"],
        ["c_dense.keras", "-", "-"],
    ]
    said = " ".join(table.split())
    assert f"ERROR: {models / 'b_broken.keras'}: truncated or damaged" in said
    assert f"of 4 checks, 1 not compared: {models / 'c_dense.keras'}; 3 in parity" in said
    run("check --timesteps 5 --format github", models)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == [
        f"::error file={models / 'b_broken.keras'}",
        f"::warning file={models / 'c_dense.keras'}",
    ]
    assert len(lines) == 3
    assert lines[2].startswith("INCONCLUSIVE: 1 target could not be checked: ")
    run("check --timesteps 5 -q", models)
    first, _, last = capsys.readouterr().out.strip().split("\n")
    assert first.startswith("INCONCLUSIVE: 1 target could not be checked: ")
    assert last.startswith(f"ERROR: {models / 'b_broken.keras'}: ")


def test_nothing_under_a_name_or_a_pattern_is_one_line(tmp_path, capsys):
    said = refused(capsys, "check", tmp_path / "*.keras")
    assert said.endswith("matches no file; name one, or another pattern\n")
    assert "No such file" in refused(capsys, "check", tmp_path / "none.keras")
    assert "--against" in refused(capsys, "check net.tflite")
    found = document(capsys, tmp_path / "*.keras", tmp_path / "none.keras")
    assert (found["exit_code"], found["checks"], len(found["errors"])) == (2, [], 2)


def test_a_source_that_crashes_on_one_target_counts_as_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path / "a.npz", make())
    write_case(tmp_path / "b.npz", make(inputs=make().inputs * 2, outputs=OUTPUTS * 2))
    right = f"return np.array({OUTPUTS.tolist()}, 'float32')"
    program = f"import numpy as np\ndef port(x):\n    if abs(x).max() > 3: 1 / 0\n    {right}\n"
    (tmp_path / "crashing_port.py").write_text(program)
    found = document(capsys, "--against crashing_port:port a.npz b.npz")
    assert [check["verdict"] for check in found["checks"]] == ["parity"]
    (error,) = found["errors"]
    assert (error["path"], error["exit_code"], found["exit_code"]) == ("b.npz", 1, 1)


def test_the_long_names_of_options(models, tmp_path, capsys):
    path = tmp_path / "answer.txt"
    assert run("check --quiet --output", path, models / "a_stack.keras") == 0
    assert path.read_text().startswith("rnn-parity ")
    assert capsys.readouterr().out.startswith("PARITY: ")


def test_what_is_no_target_is_told_what_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("net.txt", "net.tflite", "net.onnx", "net.safetensors", "model.keras"):
        (tmp_path / name).write_bytes(b"x")
    checked = "expected a model (.keras, .h5, .hdf5, .onnx, .safetensors, model.json) or a case"
    recorded = "expected a model of Keras (.keras, .h5, .hdf5), received "
    lite = "rnn-parity check MODEL --against net.tflite"
    for arguments, *words in (
        ("check net.txt", checked, "received the ending '.txt'"),
        ("check net.tflite", checked, "received a LiteRT model", lite),
        ("record net.tflite -o c.npz", recorded, lite),
        ("record net.onnx -o c.npz", f"{recorded}the ending '.onnx'"),
        ("record net.safetensors -o c.npz", f"{recorded}the ending '.safetensors'"),
        ("check modle.keras", "No such file or directory; did you mean model.keras?"),
        ("check nothing", "nothing: cannot be read: No such file or directory\n"),
    ):
        said = refused(capsys, arguments)
        assert all(word in said for word in words), said


def test_a_single_target_that_cannot_be_read_is_in_the_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.npz").write_bytes(b"PK")
    assert run("check bad.npz -o a.json -o a.md") == 2
    assert "ERROR: case 'bad.npz'" in " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["exit_code"], found["verdict"]) == (2, "inconclusive")
    assert [error["path"] for error in found["errors"]] == ["bad.npz"]
    assert "bad.npz" in (tmp_path / "a.md").read_text()
    assert run("check bad.npz --format github") == 2
    assert capsys.readouterr().out.startswith("::error file=bad.npz,")
    assert run("check bad.npz") == 2
    assert capsys.readouterr().out == ""
