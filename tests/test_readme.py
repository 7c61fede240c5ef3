"""The README is true: its commands and its Python run, and print what stands below them.

`python tests/test_readme.py` writes the answers of this machine into the README.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
NOT_RUN = {"pip install .": "it would change the environment of the tests"}
END = "\n--- end of a block ---\n"


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(README.read_text()) if kind == language]


def commands() -> list[tuple[str, str]]:
    """Every command of a console block, with the answer that stands below it."""
    found = [pair for body in blocks("console") for pair in COMMAND.findall(body)]
    return [(command, answer) for command, answer in found if command not in NOT_RUN]


def environment(folder: Path) -> dict[str, str]:
    """One in which `rnn-parity` is this checkout's."""
    script = folder / "rnn-parity"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rnn_parity "$@"\n')
    script.chmod(0o755)
    path = os.pathsep.join((str(folder), os.environ["PATH"]))
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run_python(folder: Path) -> list[str]:
    """What each Python block prints, all of them run as one program, beside the files in C."""
    for body in blocks("c"):
        name = body.removeprefix("/* ").partition(":")[0]
        (folder / name).write_text(body)
    program = folder / "program.py"
    program.write_text(f"\nprint({END!r}, end='')\n".join([*blocks("python"), ""]))
    done = subprocess.run(
        [sys.executable, program],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout.split(END)[:-1]


def run(command: str, folder: Path) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def comparable(text: str) -> list[str]:
    """The words, without what another machine computes: versions, measured numbers, padding."""
    text = re.sub(r"^(rnn-parity|Python) [\w.]+(, NumPy .*)?$", r"\1", text, flags=re.MULTILINE)
    rows = re.compile(r"^( *(?:final \w+|\d+))  .*\d$", re.MULTILINE)
    text = re.sub(r"-{3,}", "---", rows.sub(r"\1", text))
    return re.sub(r"-?\d+(\.\d+)?e[-+]\d+|-?\d+\.\d+|\d{3,}|<0\.01", "#", text).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def printed(folder):
    """Run before the commands: it also writes the files that they read."""
    return run_python(folder)


@pytest.mark.parametrize(("command", "answer"), commands())
def test_a_command_answers_what_stands_below_it(folder, printed, command, answer):
    if command.startswith("cc ") and shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    assert comparable(run(command, folder)) == comparable(answer)


def test_the_python_prints_what_stands_below_it(printed):
    answers = re.findall(
        r"^```python\n.*?^```\n\n```text\n(.*?)^```$", README.read_text(), re.M | re.S
    )
    assert answers
    for expected, answer in zip(answers, filter(None, printed), strict=True):
        assert comparable(answer) == comparable(expected)


def test_commands_that_are_not_run_are_in_the_readme():
    text = "".join(blocks("console"))
    assert all(f"$ {command}\n" in text for command in NOT_RUN)


def test_every_target_of_make_exists():
    named = set(re.findall(r"make (\w+)`", README.read_text()))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"check", "test"} <= named <= targets


def test_numbers_are_masked_and_words_are_not():
    assert comparable("at most 0.51 of 17 ") == comparable("at  most\n0.4 of 17")
    assert comparable("  3  1.2e-07  45  0.18  1  2") == comparable("  3  1.1e-07  7  <0.01  2  1")
    assert comparable("off by 1e-07") == comparable("off by -1.2e-07")
    assert comparable("sees 14 of 17") != comparable("sees 15 of 17")
    assert comparable("PARITY: 1.5") != comparable("DIVERGED: 1.5")


def rewrite(folder: Path) -> str:
    """The README with the answers that its commands and its Python give here."""
    printed = iter([text for text in run_python(folder) if text])

    def answered(match: re.Match[str]) -> str:
        command, answer = match.groups()
        return f"$ {command}\n{answer if command in NOT_RUN else run(command, folder)}"

    def filled(match: re.Match[str]) -> str:
        kind, body = match.groups()
        if kind == "console":
            body = COMMAND.sub(answered, body)
        elif kind == "text":
            body = next(printed)
        return f"```{kind}\n{body}```"

    return BLOCK.sub(filled, README.read_text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        README.write_text(rewrite(Path(name)))
