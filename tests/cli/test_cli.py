"""The command line: what it asks for, where the answer goes, and the exit code."""

import dataclasses
import io
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fake_check import answer_with, recorded, run
from sample_checks import DIVERGED, NOT_COMPARED, PARITY, SUSPECT

from rnn_parity.api import generated as generate
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError
from rnn_parity.report import FORMATS
from rnn_parity.report.report import Report
from rnn_parity.verdict.results import BlindSpot, Sensitivity


@pytest.fixture
def calls(monkeypatch):
    return recorded(monkeypatch)


def answers(monkeypatch, *checks):
    answer_with(monkeypatch, lambda *args, **kwargs: Report(checks))


def test_without_options_the_defaults_of_the_generated_layer_hold(calls, capsys):
    assert run() == 0
    assert calls == [(generate.GeneratedLayer(), {"inputs": None, "mask": None, "mode": "graph"})]
    out, err = capsys.readouterr()
    assert out == str(Report((PARITY,))) + "\n"
    assert err == ""


def test_every_option_of_a_generated_layer_arrives(calls):
    given = "--layer lstm --units 5 --batch 4 --timesteps 3 --features 2 --seed 7 --dtype float16"
    more = "--mask left --initial-state random --calls 2 --mode all --arg a=relu --arg b=[1,None]"
    assert run(f"{given} {more}") == 0
    ((spec, options_),) = calls
    arguments = {"a": "relu", "b": [1, None]}
    assert spec == generate.GeneratedLayer(
        "lstm", 5, 4, 3, 2, 7, arguments, "float16", "left", "random", 2
    )
    assert options_["mode"] == "all"


def test_the_project_may_set_what_the_command_line_leaves_open(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.rnn_parity]\nmode = "xla"\nstrict = true\n')
    assert run("-q") == 0
    assert run("--mode eager") == 0
    assert [options["mode"] for _, options in calls] == ["xla", "eager"]


def test_a_project_may_be_strict(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blind = Sensitivity((), (BlindSpot("mask-ignored", "no timestep is masked"),))
    answers(monkeypatch, dataclasses.replace(PARITY, sensitivity=blind))
    assert run() == 0
    (tmp_path / "pyproject.toml").write_text("[tool.rnn_parity]\nstrict = true\n")
    assert run() == 3


def test_data_settle_the_sizes(calls, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 3, 2), np.float32))
    np.save(tmp_path / "m.npy", np.ones((4, 3), bool))
    assert run(f"--input {tmp_path}/x.npy --mask-file {tmp_path}/m.npy") == 0
    ((spec, options_),) = calls
    assert (spec.batch, spec.timesteps, spec.features) == (4, 3, 2)
    assert options_["inputs"].shape == (4, 3, 2)
    assert options_["mask"].all()


def test_a_model_and_its_options(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("net.keras", "net.h5"):
        Path(name).touch()
    assert run("net.keras") == 0
    assert run("net.h5 --layer-name rnn --unsafe --mode xla --batch 2 --seed 3") == 0
    none = {"inputs": None, "mask": None}
    assert calls == [
        ("net.keras", {**none, "mode": "graph", "layer_name": None, "safe_mode": True}),
        (
            "net.h5",
            {**none, "mode": "xla", "layer_name": "rnn", "safe_mode": False, "batch": 2, "seed": 3},
        ),
    ]


@pytest.mark.parametrize(
    ("checks", "strict", "code"),
    [
        ((PARITY,), False, 0),
        ((DIVERGED,), False, 1),
        ((NOT_COMPARED,), False, 3),
        ((), False, 3),
        ((NOT_COMPARED, DIVERGED), False, 1),
        ((SUSPECT,), False, 1),
        ((SUSPECT,), True, 1),
    ],
)
def test_exit_codes(monkeypatch, capsys, checks, strict, code):
    answers(monkeypatch, *checks)
    assert run("--format json" + " --strict" * strict) == code
    assert json.loads(capsys.readouterr().out)["exit_code"] == code


def test_formats_and_quiet(monkeypatch, capsys):
    answers(monkeypatch, DIVERGED)
    report = Report((DIVERGED,))
    for name, form in FORMATS.items():
        if form.package and find_spec(form.package) is None:
            continue
        run(f"--format {name}")
        assert capsys.readouterr().out == report.render(name) + "\n"
    run("-q")
    assert capsys.readouterr().out == report.render(quiet=True) + "\n"


def test_faults_are_listed_from_the_catalogue(capsys):
    def answer(form):
        assert cli.main(["faults", "--format", form]) == 0
        return capsys.readouterr().out

    document = json.loads(answer("json"))
    assert document["schema"] == "rnn-parity/faults/1"
    assert document["faults"][0] == {
        "id": "bias-dropped",
        "meaning": "the bias is left out",
        "layers": ["SimpleRNN", "LSTM", "GRU"],
    }
    ids = [fault["id"] for fault in document["faults"]]
    assert len(set(ids)) == len(ids) >= 22
    table = answer("table")
    assert cli.main(["faults"]) == 0
    assert capsys.readouterr().out == table
    assert max(map(len, table.splitlines())) <= 80
    lines = [line.split()[0] for line in table.splitlines()[2:] if not line.startswith(" ")]
    assert lines == ids
    markdown = answer("markdown").splitlines()
    assert [line.split("|")[1].strip() for line in markdown[2:]] == ids


def test_every_shows_all_timesteps(monkeypatch, capsys):
    answers(monkeypatch, dataclasses.replace(PARITY, timesteps=PARITY.timesteps * 30))
    run()
    assert "left out" in capsys.readouterr().out
    run("--every")
    assert "left out" not in capsys.readouterr().out


def test_a_folder_is_not_recorded_but_a_saved_model_is_left_to_the_loader(calls, capsys, tmp_path):
    assert cli.main(["record", str(tmp_path), "-o", "c.npz"]) == 2
    assert "received a folder; name one model file in it" in capsys.readouterr().err
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert run(str(tmp_path)) == 0


def test_the_size_limit_counts_everything(calls):
    gib = 2**30 // 8  # float64 numbers in one GiB
    cli.check_size(8 * gib)
    with pytest.raises(InputError, match="8 GiB"):
        cli.check_size(8 * gib + 1)
    # One sample: calls x timesteps x (features + units), beside few weights.
    assert run("--batch 1 --timesteps 1000000 --features 60 --units 3 --calls 17") == 0
    assert run("--batch 1 --timesteps 1000000 --features 60 --units 3 --calls 18") == 2
    assert run("net.keras --batch 100000 --timesteps 100000") == 2


def test_errors_of_the_check_are_one_line(monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise InputError("units: expected\n  something else")

    answer_with(monkeypatch, refuse)
    assert run() == 2
    assert capsys.readouterr().err == "rnn-parity: error: units: expected something else\n"


def test_too_little_memory_is_said(monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise MemoryError("Unable to allocate 8 GiB")

    answer_with(monkeypatch, refuse)
    assert run() == 2
    said = "not enough memory (Unable to allocate 8 GiB); make --batch, --timesteps or the files"
    assert said in capsys.readouterr().err


def test_an_unexpected_error_is_never_taken_for_a_verdict(monkeypatch, capsys):
    answers(monkeypatch)
    monkeypatch.setattr(Report, "render", lambda *args, **kwargs: 1 / 0)
    assert run() == 2
    err = capsys.readouterr().err
    assert err.startswith("rnn-parity: error: unexpected ZeroDivisionError: division by zero; ")
    assert err.count("\n") == 1


def test_files_get_the_answer_in_the_form_of_their_ending_beside_stdout(calls, capsys, tmp_path):
    report, forms = Report((PARITY,)), {".txt": "table", ".json": "json", ".MD": "markdown"}
    files = [tmp_path / f"answer{ending}" for ending in forms]
    assert run(" ".join(["--format json", *(f"-o {path}" for path in files)])) == 0
    assert capsys.readouterr().out == report.to_json() + "\n"
    for path, form in zip(files, forms.values(), strict=True):
        assert path.read_text() == report.render(form) + "\n"
    assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in files)


def test_files_hold_all_of_the_answer_where_stdout_is_quiet(calls, capsys, tmp_path):
    path = tmp_path / "answer.txt"
    assert run(f"-q --every -o {path}") == 0
    report = Report((PARITY,))
    assert path.read_text() == report.render(every=True) + "\n"
    assert capsys.readouterr().out == report.render(quiet=True) + "\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-o a.json -o a.csv", "-o 'a.csv': expected a name that ends in .txt, .json"),
        ("-o json", "-o 'json': expected a name that ends in"),
        ("-o a.json -o ./a.json", "-o 'a.json': expected once, received 2 times"),
    ],
)
def test_a_file_whose_form_nobody_knows_is_refused(
    calls, capsys, monkeypatch, tmp_path, line, words
):
    monkeypatch.chdir(tmp_path)
    for command in ("check", "sweep"):
        assert cli.main([command, *line.split()]) == 2
        assert words in capsys.readouterr().err
    assert (calls, os.listdir(tmp_path)) == ([], [])


def test_a_failure_is_said_on_stderr_where_stdout_is_for_programs(monkeypatch, capsys, tmp_path):
    answers(monkeypatch, DIVERGED)
    said = f"rnn-parity: {Report((DIVERGED,)).render(quiet=True)}\n"
    assert run("--format json") == 1
    assert capsys.readouterr().err == said
    assert run(f"-o {tmp_path}/a.json") == 1
    out, err = capsys.readouterr()
    assert (out.startswith("rnn-parity "), err) == (True, "")


def test_stdout_has_the_answer_although_a_file_cannot_be_written(monkeypatch, capsys, tmp_path):
    def fills_the_disk(*args, **kwargs):
        (tmp_path / "answer.txt").symlink_to("/dev/full")
        return Report((DIVERGED,))

    answer_with(monkeypatch, fills_the_disk)
    assert run(f"-o {tmp_path}/answer.txt -q") == 2
    out, err = capsys.readouterr()
    assert out == Report((DIVERGED,)).render(quiet=True) + "\n"
    assert "No space left on device" in err


def test_where_the_answer_cannot_go_is_said_before_the_work(calls, capsys, tmp_path):
    source = tmp_path / "net.keras"
    source.write_bytes(b"model")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "answer.txt").symlink_to(source)
    for path, words in (
        (tmp_path / "folder.txt", "it is a directory"),
        (tmp_path / "no" / "answer.txt", "No such file or directory"),
    ):
        assert run(f"-o {tmp_path}/right.json -o {path}") == 2
        assert words in capsys.readouterr().err
    assert run(f"{source} -o {tmp_path}/answer.txt") == 2
    assert "would overwrite what is read" in capsys.readouterr().err
    assert source.read_bytes() == b"model"
    assert calls == []


def test_a_full_disk_is_one_line(calls, capsys, tmp_path):
    path = tmp_path / "full.txt"
    path.symlink_to("/dev/full")
    assert run(f"-o {path}") == 2
    expected = f"rnn-parity: error: cannot write '{path}': No space left on device\n"
    assert capsys.readouterr().err == expected


def test_what_a_model_prints_is_not_part_of_the_answer(monkeypatch, capsys):
    def chatty(*args, **kwargs):
        print("a lambda layer says hello")
        return Report((PARITY,))

    answer_with(monkeypatch, chatty)
    assert run("--format json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"] == "parity"
    assert err == "a lambda layer says hello\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"),
    [
        (Terminal, None, True),
        (Terminal, "", True),
        (Terminal, "1", False),
        (io.StringIO, None, False),
    ],
)
def test_colour_is_for_terminals(calls, monkeypatch, tmp_path, stream, no_color, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys, "stdout", stream())
    run()
    assert ("\033[32mPARITY\033[0m" in sys.stdout.getvalue()) is coloured
    run(f"-o {tmp_path}/answer.txt")
    assert "\033" not in (tmp_path / "answer.txt").read_text()


@pytest.mark.parametrize(("columns", "longest"), [("60", 60), ("110", 110), ("400", 160)])
def test_an_answer_is_as_wide_as_the_terminal(
    calls, monkeypatch, capsys, tmp_path, columns, longest
):
    monkeypatch.setenv("COLUMNS", columns)
    answer_with(monkeypatch, lambda *a, **k: Report((wordy(),)))
    run()
    widths = [max(map(len, capsys.readouterr().out.splitlines()))]
    run(f"-o {tmp_path}/answer.txt")
    widths.append(max(map(len, (tmp_path / "answer.txt").read_text().splitlines())))
    assert longest - 10 < widths[0] <= longest
    assert 70 < widths[1] <= 80


def wordy():
    return dataclasses.replace(PARITY, summary="word " * 100)
