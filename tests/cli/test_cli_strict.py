"""`--strict` and `--ignore`: what a check is blind to, and what of it matters; as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_check import refused
from hand_case import make

from rnn_parity.cases.case import write_case

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a case that is blind to several faults."""
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path / "case.npz", make())
    return tmp_path


def checked(*arguments):
    """`rnn-parity check` of the case in a process of its own: exit code, stdout, stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rnn_parity", "check", "case.npz", "--no-keras", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def spots(document):
    return [one["fault"] for one in json.loads(document)["checks"][0]["sensitivity"]["blind"]]


def test_strict_is_green_where_what_it_is_blind_to_does_not_matter(project):
    code, document, said = checked("--strict", "--format", "json")
    assert (code, json.loads(document)["verdict"]) == (3, "parity")
    assert said.startswith("rnn-parity: BLIND: nothing is proven about ")
    blind = spots(document)
    assert "mask-ignored" in blind
    code, out, _ = checked("--strict", "-q", "--ignore", "mask*")
    assert (code, out.startswith("BLIND: ")) == (3, True)
    assert "mask-ignored" not in out.partition(" (with --strict)")[0]
    assert "Ignored here: mask-ignored" in out
    ignored = [part for one in blind for part in ("--ignore", one)]
    code, out, said = checked("--strict", "-q", *ignored)
    assert (code, said) == (0, "")
    assert out.startswith("PARITY: ")
    assert out.endswith(f"Ignored here: {', '.join(blind)}.\n")
    # Nothing is hidden: the document has all of them.
    assert spots(checked("--strict", "--format", "json", *ignored)[1]) == blind


def test_a_project_says_it_once(project):
    blind = spots(checked("--format", "json")[1])
    settings = f"[tool.rnn_parity]\nstrict = true\nignore = {json.dumps(blind[1:])}\n"
    (project / "pyproject.toml").write_text(settings)
    code, out, _ = checked("-q")
    assert code == 3
    named = f"{blind[0]} (with strict = true in [tool.rnn_parity] of pyproject.toml); "
    assert out.startswith(f"BLIND: nothing is proven about {named}")
    assert checked("-q", "--ignore", blind[0])[0] == 0


def test_a_project_says_it_for_all_its_folders(project, monkeypatch):
    (project / "pyproject.toml").write_text("[tool.rnn_parity]\nstrict = true\n")
    (project / "below").mkdir()
    (project / "case.npz").rename(project / "below" / "case.npz")
    monkeypatch.chdir(project / "below")
    code, out, _ = checked("-q")
    assert code == 3
    assert "(with strict = true in [tool.rnn_parity] of ../pyproject.toml)" in out


def test_a_divergence_is_never_ignored(project):
    write_case(project / "case.npz", make(outputs=make().outputs + 1, final_state=()))
    assert checked("-q", "--strict", "--ignore", "*")[0] == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "--strict --ignore mask-ignord",
            "'mask-ignord': no such fault; did you mean mask-ignored?",
        ),
        ("--strict --ignore a,b", "expected one fault, received several with commas; name each by"),
        ("--strict --ignore x*", "--ignore 'x*': expected the id of a fault, or a pattern with *"),
        ("--ignore mask*", "--ignore: no blind spot counts without --strict; add it, or leave"),
    ],
)
def test_what_cannot_be_ignored_is_one_line(project, capsys, line, words):
    assert words in refused(capsys, "check case.npz --no-keras", line)


def test_a_fault_of_a_project_that_there_is_not_is_one_line(project, capsys):
    (project / "pyproject.toml").write_text("[tool.rnn_parity]\nignore = ['mask-ignord']\n")
    said = refused(capsys, "check case.npz --no-keras")
    where = "pyproject.toml [tool.rnn_parity] ignore"
    assert f"{where} 'mask-ignord': no such fault; did you mean mask-ignored?" in said
