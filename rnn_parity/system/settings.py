"""The table `[tool.rnn_parity]` of a project's `pyproject.toml`. The standard library alone.

The nearest file that has the table counts, from a folder upward to the root of its repository.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rnn_parity.errors import InputError, misspelt
from rnn_parity.system.choices import ALL_MODES, MODES
from rnn_parity.system.files import content
from rnn_parity.system.limits import SHARE_OF_TEXT

# Python has it from 3.11 on; pytest brings its forerunner along before that.
tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

TABLE, MISSPELT = "[tool.rnn_parity]", "rnn-parity"


@dataclass(frozen=True)
class Settings:
    """What a project may set; the command line comes before it.

    `cases` is the folder of the cases that its tests record, from that of pyproject.toml; None
    stands for beside each test. `ignore` names the faults that no check needs to see, with * for
    any letters. `file` is the pyproject.toml that says so, None where none does.
    """

    mode: str = "graph"
    strict: bool = False
    cases: str | None = None
    allow_known: bool = False
    ignore: tuple[str, ...] = ()
    file: Path | None = field(default=None, compare=False)

    @property
    def case_home(self) -> tuple[Path, Path] | None:
        """The project's folder, and that of its cases, below which its paths are repeated.

        None where cases stand beside each test.
        """
        if self.file is None or self.cases is None:
            return None
        return self.file.parent, self.file.parent / self.cases

    def shown_file(self, start: Path) -> str:
        """The file from the folder `start`, for a message; where none has the table, its name."""
        return "pyproject.toml" if self.file is None else os.path.relpath(self.file, start)

    def named(self, start: Path) -> dict[str, str]:
        """How a report names the settings that the file makes, by `OptionNames`' names."""
        said = {"strict": "strict = true", "allow_known": "allow_known = true"}
        return {
            name: f"{text} in {TABLE} of {self.shown_file(start)}"
            for name, text in said.items()
            if getattr(self, name)
        }


def read_settings(folder: Path) -> Settings:
    """The settings of the nearest pyproject.toml with the table, from `folder` upward.

    The search ends where a repository begins (`.git`) and at the root of the file system; the
    defaults where nothing is found. Raises `InputError` for a file on the way that cannot be read,
    an unknown key and an unknown value.
    """
    for above in up_to_repository(folder.absolute()):
        table = table_in(above / "pyproject.toml")
        if table is not None:
            return settings_of(table, above / "pyproject.toml")
    return Settings()


def up_to_repository(folder: Path) -> Iterator[Path]:
    """`folder` and those above it, up to the root of the repository or of the file system."""
    for above in (folder, *folder.parents):
        yield above
        if os.path.lexists(above / ".git"):  # a folder; in a second working tree, a file
            return


def table_in(path: Path) -> Any:
    """What the file `path` has as its table, whatever that is; None where it has none."""
    try:
        document = tomllib.loads(content(path, str(path), share=SHARE_OF_TEXT).decode())
    except FileNotFoundError:
        return None
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a TOML file, received: {error}") from None
    tools = document.get("tool", {})
    if not isinstance(tools, dict):
        raise InputError(f"{path} [tool]: expected a table, received {tools!r:.40}")
    if MISSPELT in tools:
        raise InputError(f"{path}: expected the table {TABLE}, received [tool.{MISSPELT}]")
    return tools.get("rnn_parity")


def settings_of(found: Any, path: Path) -> Settings:
    """The settings in the table `found` of the file `path`."""
    where, known = f"{path} {TABLE}", [one.name for one in fields(Settings) if one.compare]
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected a table, received {found!r:.40}")
    for key, value in found.items():
        if key not in known:
            said = misspelt(key, known, f"expected one of {', '.join(known)}")
            raise InputError(f"{where}: {said}")
        if key == "mode" and value not in (*MODES, ALL_MODES):
            modes = ", ".join((*MODES, ALL_MODES))
            expected = f"expected mode one of {modes}"
            if isinstance(value, str):
                raise InputError(f"{where}: {misspelt(value, (*MODES, ALL_MODES), expected)}")
            raise InputError(f"{where}: {expected}, received {value!r:.40}")
        if key in ("strict", "allow_known") and not isinstance(value, bool):
            raise InputError(f"{where}: expected {key} true or false, received {value!r}")
        if key == "cases" and not (isinstance(value, str) and value):
            raise InputError(f"{where}: expected the name of a folder in cases, received {value!r}")
        if key == "ignore" and not (isinstance(value, list) and all(map(is_name, value))):
            raise InputError(f"{where}: expected a list of faults in ignore, received {value!r}")
    return Settings(**{**found, "ignore": tuple(found.get("ignore", ())), "file": path})


def is_name(value: Any) -> bool:
    """Whether a value is a text that says something."""
    return isinstance(value, str) and bool(value)
