"""The table `[tool.rnn_parity]` of a project's `pyproject.toml`. The standard library alone."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, fields
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
    any letters.
    """

    mode: str = "graph"
    strict: bool = False
    cases: str | None = None
    allow_known: bool = False
    ignore: tuple[str, ...] = ()


def read_settings(folder: Path) -> Settings:
    """The settings in `folder`/pyproject.toml; the defaults where it has none.

    Raises `InputError` for a file that cannot be read, an unknown key and an unknown value.
    """
    path = folder / "pyproject.toml"
    try:
        document = tomllib.loads(content(path, str(path), share=SHARE_OF_TEXT).decode())
    except FileNotFoundError:
        return Settings()
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a TOML file, received: {error}") from None
    tools = document.get("tool", {})
    if not isinstance(tools, dict):
        raise InputError(f"{path} [tool]: expected a table, received {tools!r:.40}")
    if MISSPELT in tools:
        raise InputError(f"{path}: expected the table {TABLE}, received [tool.{MISSPELT}]")
    return settings_of(tools.get("rnn_parity", {}), f"{path} {TABLE}")


def settings_of(found: Any, where: str) -> Settings:
    """The settings in the table `found`; `where` is what the messages call it."""
    known = [field.name for field in fields(Settings)]
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
    return Settings(**{**found, "ignore": tuple(found.get("ignore", ()))})


def is_name(value: Any) -> bool:
    """Whether a value is a text that says something."""
    return isinstance(value, str) and bool(value)


SET_HERE = {
    "strict": f"strict = true in {TABLE} of pyproject.toml",
    "allow_known": f"allow_known = true in {TABLE} of pyproject.toml",
    "ignore": f"ignore = [FAULT, ...] in {TABLE} of pyproject.toml",
}
"""How a report names the settings of a project."""
