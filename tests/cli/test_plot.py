"""`--plot`: one check as a picture, by the ending of its name."""

import os
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from fake_check import answer_with, command, refused
from hand_case import make
from sample_checks import DIVERGED, PARITY

from rnn_parity.cases.case import write_case
from rnn_parity.report.report import Report


@pytest.fixture
def case(tmp_path):
    name = tmp_path / "case.npz"
    write_case(name, make())
    return name


def run(case, *more):
    return command("check", case, "--no-keras", *more)


def test_a_picture_is_written_beside_the_answer(case, tmp_path, capsys):
    assert run(case, "-q") == 0
    answer = capsys.readouterr().out
    assert run(case, "-q --plot", tmp_path / "a.svg") == 0
    assert capsys.readouterr() == (answer, "")
    root = ET.parse(tmp_path / "a.svg").getroot()
    words = " ".join(" ".join(root.itertext()).split())
    assert "PARITY: every step is within rounding" in words
    assert "case.npz" in words


def test_the_ending_says_the_form(case, tmp_path, capsys):
    pytest.importorskip("resvg_py")
    assert run(case, "-q --plot", tmp_path / "a.PNG") == 0
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert "name that ends in .png or .svg" in refused(capsys, "check --plot a.gif")
    assert "name that ends in .png or .svg" in refused(capsys, "check --plot png")
    assert "--plot" in refused(capsys, "record -o a.npz --plot a.png")
    assert "--plot" in refused(capsys, "sweep --plot a.png")


def test_where_it_cannot_be_written_is_said_before_the_work(case, tmp_path, capsys, monkeypatch):
    answer_with(monkeypatch, None)
    message = refused(capsys, "check --plot", tmp_path / "none" / "a.svg")
    assert "cannot write" in message
    os.mkdir(tmp_path / "folder.svg")
    assert "it is a directory" in refused(capsys, "check --plot", tmp_path / "folder.svg")


def test_of_several_checks_the_worst_is_drawn_and_named(tmp_path, capsys, monkeypatch):
    answer_with(monkeypatch, lambda *_, **__: Report((PARITY, DIVERGED)))
    path = tmp_path / "a.svg"
    assert command("check -q --plot", path) == 1
    expected = "shows the worst of 2 checks: encoder (SimpleRNN, mode xla) in net.keras"
    assert capsys.readouterr().err == f"rnn-parity: {path} {expected}\n"
    assert "encoder" in path.read_text()


def test_where_nothing_was_checked_nothing_is_drawn(tmp_path, capsys, monkeypatch):
    answer_with(monkeypatch, lambda *_, **__: Report((), notes=("nothing here",)))
    path = tmp_path / "a.svg"
    assert command("check -q --plot", path) == 3
    assert "there is no check to draw" in capsys.readouterr().err
    assert not path.exists()


def test_a_page_on_stdout(case, capsys):
    pytest.importorskip("jinja2")
    pytest.importorskip("markdown_it")
    assert run(case, "--format html") == 0
    page = capsys.readouterr().out
    assert page.startswith("<!DOCTYPE html>\n")
    assert page.endswith("</html>\n")
    assert "<svg " in page


def test_a_wrong_case_is_drawn_as_wrong(tmp_path, capsys):
    case = make()
    outputs = np.array(case.outputs)
    outputs[0, 1, 0] += 0.25
    write_case(tmp_path / "wrong.npz", type(case)(**{**vars(case), "outputs": outputs}))
    assert run(tmp_path / "wrong.npz", "-q --plot", tmp_path / "a.svg") == 1
    assert "first: timestep 1, sample 0, unit 0" in (tmp_path / "a.svg").read_text()
