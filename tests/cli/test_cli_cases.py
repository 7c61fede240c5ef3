"""Cases on the command line: recording, checking again, and baselines."""

import json
from pathlib import Path

import pytest
from fake_check import command as run
from fake_check import refused
from hand_case import OUTPUTS, make

from rnn_parity.cases.case import read_case, write_case

SMALL = "--batch 2 --timesteps 3 --features 2 --units 3"


@pytest.fixture
def path(tmp_path):
    name = tmp_path / "case.npz"
    write_case(name, make())
    return name


def test_a_case_is_recorded_and_checked(tmp_path, capsys):
    path = tmp_path / "c.npz"
    assert run("record", SMALL, "--arg activation=relu --mode eager --seed 3 -q -o", path) == 0
    out, err = capsys.readouterr()
    assert out.startswith("PARITY: ")
    assert err == ""
    case = read_case(path)
    assert (case.config["activation"], case.mode, case.outputs.shape) == (
        "relu",
        "eager",
        (2, 3, 3),
    )
    assert run("check", path, "--format json") == 0
    then, now = json.loads(capsys.readouterr().out)["checks"]
    assert (then["verdict"], now["verdict"]) == ("parity", "parity")
    assert (now["subject"]["kind"], now["subject"]["mode"]) == ("case", "eager")


def test_another_mode(path, capsys):
    assert run("check --mode xla --format json", path) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["subject"]["mode"] for check in checks] == ["graph", "xla"]


def test_a_model_is_recorded(tmp_path, capsys):
    keras = pytest.importorskip("tensorflow").keras
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.SimpleRNN(2)])
    model.save(tmp_path / "m.keras")
    assert run("record", tmp_path / "m.keras", "--batch 2 -q -o", tmp_path / "c.npz") == 0
    assert read_case(tmp_path / "c.npz").inputs.shape == (2, 3, 2)


def test_what_is_not_replayed_is_not_recorded(tmp_path, capsys):
    path = tmp_path / "m.keras"
    keras = pytest.importorskip("tensorflow").keras
    keras.Sequential([keras.Input((3, 4, 2)), keras.layers.ConvLSTM1D(2, 2)]).save(path)
    assert run("record", path, "--batch 2 -q -o", tmp_path / "c.npz") == 3
    assert not (tmp_path / "c.npz").exists()


def test_recorded_outputs_alone(path, capsys):
    assert run("check --no-keras -q", path) == 0
    write_case(path, make(outputs=OUTPUTS + 1, final_state=()))
    assert run("check --no-keras -q", path) == 1


def test_folders(path, capsys):
    assert run("check --no-keras -q", path.parent) == 0
    (path.parent / "below").mkdir()
    (path.parent / "below" / "c.npz").write_bytes(b"")
    assert run("check --no-keras -q", path.parent) == 2
    write_case(path.parent / "b.npz", make(outputs=OUTPUTS + 1, final_state=()))
    capsys.readouterr()
    assert run("check --no-keras --format json", path.parent) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    found = [(check["subject"]["path"], check["verdict"]) for check in document["checks"]]
    folder = path.parent
    assert found == [(str(folder / "b.npz"), "diverged"), (str(path), "parity")]
    (error,) = document["errors"]
    assert (error["path"], error["exit_code"]) == (str(folder / "below" / "c.npz"), 2)
    verdict, *said = err.splitlines()
    assert verdict.startswith("rnn-parity: DIVERGED")
    assert said == [f"rnn-parity: ERROR: {error['message']}"]
    assert str(folder / "below" / "c.npz") in error["message"]


def test_an_empty_folder_proves_nothing(tmp_path, capsys):
    assert run("check --no-keras", tmp_path) == 3
    assert "has no model and no case (.npz)." in " ".join(capsys.readouterr().out.split())


def test_a_source_must_answer_for_all_cases_of_a_folder(path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path / "b.npz", make(layer_name="b"))
    (tmp_path / "port.py").write_text("def port(inputs): return inputs\n")
    said = refused(capsys, "check --against port:port", tmp_path)
    assert "expected one recurrent layer, received 2" in said


def test_a_baseline(path, tmp_path, capsys):
    report = tmp_path / "report.json"
    assert run("check --no-keras -o", report, path) == 0
    assert run("check --no-keras -q --baseline", report, path) == 0
    write_case(path, make(outputs=OUTPUTS * 2, final_state=()))
    assert run("check --no-keras -q --baseline", report, path) == 1
    assert "\nWORSE: " in capsys.readouterr().out
    assert run("check --no-keras --baseline", tmp_path / "none.json", path) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("check CASE --units 3", "--units: settled by the case; leave it out"),
        ("check CASE --input x.npy", "--input: settled by the case; leave it out"),
        ("check CASE --batch 3", "--batch: settled by the case; leave it out"),
        ("check CASE --layer-name a", "--layer-name: settled by the case; leave it out"),
        ("check CASE --no-keras --mode xla", "--mode: nothing runs with --no-keras"),
        ("check CASE -o CASE", "expected a name that ends in .txt, .json"),
        ("check --no-keras", "--no-keras: only for a case or a folder of cases"),
        ("check none.npz", "case 'none.npz': cannot be read: No such file or directory"),
        ("record", "required: -o"),
        ("record -o c.txt", "-o 'c.txt': expected a name that ends in .npz"),
        ("record -o none/c.npz", "cannot write 'none/c.npz'"),
        ("record CASE -o c.npz", "received a case (.npz)"),
        ("record --no-keras -o c.npz", "unrecognized arguments: --no-keras"),
    ],
)
def test_bad_usage(path, line, expected, capsys, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert expected in refused(capsys, line.replace("CASE", str(path)))
    assert [file.name for file in Path().iterdir()] == ["case.npz"]
