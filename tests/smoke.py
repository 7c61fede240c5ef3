"""Whether an installed rnn-parity works by itself: `make dist` runs this in an empty environment.

Its argument is the folder with the wheel and the source distribution.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import rnn_parity

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).with_name("rnn-parity")
CASE = ROOT / "fixtures" / "cases" / "keras-3.15.1" / "gru-plain.npz"
PACKAGE = {
    path.relative_to(ROOT).as_posix()
    for pattern in ("**/*.py", "docs/**/*.md", "report/templates/*", "py.typed")
    for path in (ROOT / "rnn_parity").glob(pattern)
}
"""Every file of the package in the repository."""


def output_of(*arguments: str) -> str:
    """What the installed program prints, in a folder without the repository."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(PROGRAM), *arguments]
        return subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, timeout=300
        ).stdout


def check_files(folder: Path) -> None:
    """The wheel and the source distribution hold every file of the package, this version's."""
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with ZipFile(wheel) as archive:
        assert {*archive.namelist()} >= PACKAGE, PACKAGE - {*archive.namelist()}
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert {*PACKAGE, "README.md", "LICENSE", "pyproject.toml"} <= names
    assert f"-{rnn_parity.__version__}-" in wheel.name


def check_program() -> None:
    """The commands that need no TensorFlow answer as they do in the repository."""
    assert "site-packages" in str(files("rnn_parity"))
    assert output_of("--version") == f"rnn-parity {rnn_parity.__version__}\n"
    assert "bias-dropped" in output_of("faults")
    assert "bias-dropped" in output_of("explain")
    assert "bias" in output_of("explain", "bias-dropped")
    assert output_of("check", str(CASE), "--no-keras", "-q").startswith("PARITY")


if __name__ == "__main__":
    check_files(Path(sys.argv[1]).resolve())
    check_program()
    print(f"rnn-parity {rnn_parity.__version__} works where nothing but its wheel is installed")
