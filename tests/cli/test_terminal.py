"""The command line on a real terminal: its width, its colours, and stderr that stays empty."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

CASES = Path(__file__).parents[2] / "fixtures" / "cases" / "keras-3.15.1"
CODE = re.compile(r"\033\[\d+m")


def on_terminal(columns: int, *arguments: str) -> tuple[str, int]:
    """What the program shows on a terminal of so many columns, and its exit code."""
    main, other = os.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    command = [sys.executable, "-m", "rnn_parity", *arguments]
    with subprocess.Popen(command, stdout=other, stderr=other, env=inherited) as running:
        os.close(other)
        seen = b""
        try:
            while more := os.read(main, 65536):
                seen += more
        except OSError:  # Linux ends a terminal without anybody so
            pass
    os.close(main)
    return seen.decode().replace("\r\n", "\n"), running.returncode


def lines(text: str) -> list[str]:
    return CODE.sub("", text).splitlines()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_check_takes_the_width_of_the_terminal(columns):
    case = str(CASES / "lstm-plain.npz")
    text, code = on_terminal(columns, "check", case, "--no-keras")
    assert code == 0
    assert columns - 15 < max(map(len, lines(text))) <= columns
    assert "\033[32mPARITY\033[0m: " in text


def test_a_folder_is_an_overview_with_the_names_of_its_files(tmp_path):
    names = sorted(path.name for path in CASES.glob("gru-*.npz"))[:10]
    for name in names:
        (tmp_path / name).write_bytes((CASES / name).read_bytes())
    text, code = on_terminal(160, "check", str(tmp_path), "--no-keras")
    assert code == 0
    assert len(names) == 10
    assert all(f"  {name} " in text for name in names)
    assert text.count("\033[32mparity\033[0m") == 10
    assert len(lines(text)) < 30
    everything, code = on_terminal(80, "check", str(tmp_path), "--no-keras", "-v")
    assert code == 0
    assert len(lines(everything)) > 200
    quiet, code = on_terminal(80, "check", str(tmp_path / names[0]), "--no-keras", "--quiet")
    assert code == 0
    assert f"{names[0]}: every step is within rounding" in quiet


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_a_mistake_on_a_terminal_is_plain_and_ends_lines_between_words(columns):
    text, code = on_terminal(columns, "chekc")
    assert code == 2
    assert "\033" not in text
    assert max(map(len, text.splitlines())) <= columns
    assert text.splitlines()[1:] == [] or text.splitlines()[1].startswith("  ")
    plain = [sys.executable, "-m", "rnn_parity", "chekc"]
    anywhere = subprocess.run(plain, capture_output=True, text=True, check=False).stderr
    assert anywhere.count("\n") == 1
    assert text.split() == anywhere.split()


def test_a_path_is_not_broken_on_a_terminal(tmp_path):
    path = f"a folder/with spaces/{'long-' * 20}name.npz"
    text, code = on_terminal(60, "check", path, "--no-keras")
    assert code == 2
    assert path in text
