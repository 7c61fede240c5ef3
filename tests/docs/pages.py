"""The README and the pages of the manual, and what their commands and their Python really answer.

A block of ```python or ```console is run, in the order of the page; a block whose first line is a
comment that begins with a file's name (`# test_port.py`) is written to that file instead. What
Python prints stands in the ```text block below it, what a command prints below the command.

`python tests/docs/pages.py [PAGE ...]` writes the answers of this machine into the pages.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rnn_parity"
MANUAL = PACKAGE / "docs"
ARCHITECTURE, EVERY_FILE = MANUAL / "architecture.md", "## Every file\n\n"
ROOMS = (
    *("system", "recurrence", "bounds", "verdict", "diagnosis", "cases", "keras_adapter"),
    *("implementations", "report", "api", "sweep", "cli", "pytest_plugin"),
)
"""The folders of the package, from the ground floor up."""
PAGES = (ROOT / "README.md", *sorted(MANUAL.rglob("*.md")))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
NAMED_FILE = re.compile(r"(?:#|/\*) ([\w.]+\.\w+)\b")
NOT_RUN = {
    "pip install": "it would change the environment of the tests",
    "git clone": "it needs a network",
    "npm install": "it needs a network",
    "cd ": "it belongs to what was cloned",
    "make ": "it sets up environments of its own; its targets are tested by name",
}
"""The beginnings of commands that no test runs, and why."""
SET_BY_CI = ("CI", "BUILD_NUMBER", "COLUMNS")
"""The variables by which pytest knows a CI job, whose lines it does not shorten, and the width."""


def name_of(page: Path) -> str:
    return str(page.relative_to(MANUAL) if MANUAL in page.parents else page.name)


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text()) if kind == language]


def environment(folder: Path) -> dict[str, str]:
    """One in which `rnn-parity` is this checkout's, and pytest shortens lines as for a person."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, module in {"rnn-parity": "rnn_parity", "pytest": "pytest"}.items():
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        script.chmod(0o755)
    path = os.pathsep.join((str(programs), os.environ["PATH"]))
    inherited = {name: at for name, at in os.environ.items() if name not in SET_BY_CI}
    return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(command: str, folder: Path) -> str:
    """What a command prints, which must succeed without a word on stderr."""
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stderr[-500:]}"
    return done.stdout


def printed_by(code: str, names: dict[str, Any], folder: Path) -> str:
    """What a block of Python prints, run after the ones before it in the same page."""
    before, printed = Path.cwd(), io.StringIO()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "page", "exec"), names)
    finally:
        os.chdir(before)
    return printed.getvalue()


def answered(text: str, folder: Path) -> str:
    """The text of a page with the answers that its commands and its Python give here."""
    names: dict[str, Any] = {"__name__": "page"}
    printed = ""

    def answer(found: re.Match[str]) -> str:
        command = found[1]
        return f"$ {command}\n{run(command, folder) if is_run(command) else found[2]}"

    def filled(found: re.Match[str]) -> str:
        nonlocal printed
        kind, body = found.groups()
        file = NAMED_FILE.match(body)
        if file:
            (folder / file[1]).write_text(body)
        elif kind == "console":
            body = COMMAND.sub(answer, body)
        elif kind == "python":
            printed = printed_by(body, names, folder)
        elif kind == "text" and printed:
            body, printed = printed, ""
        return f"```{kind}\n{body}```"

    return BLOCK.sub(filled, text)


def files_by_room() -> str:
    """Every module of the package, by room, with the first sentence of its docstring."""
    sections = []
    for room in ROOMS:
        folder = PACKAGE / room
        lines = [
            f"- `{path.relative_to(ROOT)}`: {first_sentence(path)}"
            for path in sorted(folder.rglob("*.py"))
            if path.name != "__init__.py" or has_code(path)
        ]
        sections.append(
            "\n".join([f"**{room}**: {first_sentence(folder / '__init__.py')}", "", *lines])
        )
    return "\n\n".join(sections) + "\n"


def has_code(path: Path) -> bool:
    """Whether a module holds more than its docstring."""
    return len(ast.parse(path.read_text()).body) > 1


def first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".") + "."


def comparable(text: str) -> list[str]:
    """The words, without what another machine computes: versions, measured numbers, padding.

    Whether ULPs mean something in most rows of a table depends on the rounding, too.
    """
    text = re.sub(r"^(rnn-parity|Python) [\w.]+(, NumPy .*)?$", r"\1", text, flags=re.MULTILINE)
    rows = re.compile(r"^( *(?:final \w+|\d+))  .*\d$", re.MULTILINE)
    text = re.sub(r"^( *timestep +deviation) +ULPs", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^(-{3,} *)+$", "---", rows.sub(r"\1", text), flags=re.MULTILINE)
    return re.sub(r"-?\d+(\.\d+)?e[-+]\d+|-?\d+\.\d+|\d{3,}|<0\.01", "#", text).split()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # blocks of Python import this checkout, as commands do
    for page in map(Path.absolute, map(Path, sys.argv[1:])) if sys.argv[1:] else PAGES:
        with tempfile.TemporaryDirectory() as name:
            text = answered(page.read_text(), Path(name))
        before, heading, _ = text.partition(EVERY_FILE)
        page.write_text(before + (heading and heading + files_by_room()))
