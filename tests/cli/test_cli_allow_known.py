"""`--allow-known`: what Keras is known for is reported, and is no failure."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_check import command as run

pytest.importorskip("tensorflow")

ZEROED = "--mask right --arg go_backwards=True --arg unroll=True --arg zero_output_for_mask=True"
SMALL = "--batch 3 --timesteps 4 --features 2 --units 3"
LAYER = f"--layer gru --arg name=one --arg use_bias=False {SMALL} {ZEROED}"
ID = "zeroed-by-the-mask-as-given"


def test_a_known_difference_is_no_failure(capsys):
    assert run("check -q", LAYER) == 1
    assert "known difference" not in capsys.readouterr().out
    assert run("check -q --allow-known", LAYER) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"DIVERGED ({ID}): ")
    assert out.endswith(f"With --allow-known, {ID} is a known difference and no failure.\n")


def test_the_document_has_it_as_a_cause(capsys):
    assert run("check --allow-known --format json", LAYER) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["exit_code"]) == ("diverged", 0)
    (cause,) = document["checks"][0]["causes"]
    assert cause["fault"] == ID
    assert "Keras 2.15 to 3.15" in cause["explanation"]
    assert "unroll=True" in cause["remedy"]


def test_a_case_is_recorded_and_checked(tmp_path, capsys):
    path = tmp_path / "case.npz"
    assert run("record --allow-known -q", LAYER, "-o", path) == 0
    assert run("check", path) == 1
    assert capsys.readouterr().out.count(f"cause     {ID}: ") == 1  # recorded and now are the same
    assert run("check --allow-known", path) == 0
    assert run("check --allow-known --no-keras", path) == 0


def test_what_diverged_is_not_recorded_unless_told_to(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = Path("case.npz")
    assert run("record -q", LAYER, "-o", path) == 1
    out, err = capsys.readouterr()
    assert out.startswith("DIVERGED")
    said = f"not recorded: {path}, whose layer diverged; --diverged records it anyhow"
    assert err == f"rnn-parity: {said}\n"
    assert list(tmp_path.iterdir()) == []
    assert run("record", LAYER, "-o", path) == 1
    assert f"note: {said}" in " ".join(capsys.readouterr().out.split())
    assert run("record --diverged", LAYER, "-o", path) == 1
    assert f"note: recorded {path}" in " ".join(capsys.readouterr().out.split())
    before = path.read_bytes()
    # What is there stays where nothing is recorded.
    assert run("record", LAYER, "-o", path) == 1
    assert path.read_bytes() == before


def test_a_project_that_allows_it_records_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.rnn_parity]\nallow_known = true\n")
    assert run("record -q", LAYER, "-o case.npz") == 0
    assert (tmp_path / "case.npz").exists()


def test_a_report_that_was_allowed_is_a_baseline(tmp_path):
    path = tmp_path / "report.json"
    assert run("check --allow-known -o", path, LAYER) == 0
    assert run("check --allow-known -q", LAYER, "--baseline", path) == 0
    assert run("check -q", LAYER, "--baseline", path) == 1


def test_a_project_may_allow_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.rnn_parity]\nallow_known = true\n")
    assert run("check -q", LAYER) == 0


def test_what_is_not_known_still_fails(tmp_path):
    """The same options, and outputs that are zeroed everywhere."""
    path = tmp_path / "outputs.npy"
    np.save(path, np.zeros((3, 4, 3), "float32"))
    assert run("check -q --allow-known", LAYER, f"--against {path}") == 1
