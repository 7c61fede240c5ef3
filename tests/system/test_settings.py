"""The table `[tool.rnn_parity]`."""

import os
from pathlib import Path

import pytest

from rnn_parity.errors import InputError
from rnn_parity.system.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Settings("graph", False)),
        ("[tool.other]\nmode = 3", Settings("graph", False)),
        ("[tool.rnn_parity]\nmode = 'all'", Settings("all", False)),
        ("[tool.rnn_parity]\nstrict = true", Settings("graph", True)),
        ("[tool.rnn_parity]\nallow_known = true", Settings(allow_known=True)),
        ("[tool.rnn_parity]\nignore = ['a', 'b-*']", Settings(ignore=("a", "b-*"))),
        ("[tool.rnn_parity]\ncases = 'tests/cases'", Settings("graph", False, "tests/cases")),
    ],
)
def test_settings(tmp_path, text, expected):
    (tmp_path / "pyproject.toml").write_text(text)
    assert read_settings(tmp_path) == expected


@pytest.fixture
def below(tmp_path):
    """A folder three levels below one whose file has the table."""
    (tmp_path / "pyproject.toml").write_text("[tool.rnn_parity]\nstrict = true\n")
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    return folder


def test_the_nearest_file_with_the_table_counts(below, tmp_path):
    found = read_settings(below)
    assert (found, found.file) == (Settings(strict=True), tmp_path / "pyproject.toml")
    shown = "strict = true in [tool.rnn_parity] of ../../../pyproject.toml"
    assert found.named(below) == {"strict": shown}
    (below.parent / "pyproject.toml").write_text("[tool.other]\nstrict = false")
    assert read_settings(below).strict
    (below.parent / "pyproject.toml").write_text("[tool.rnn_parity]")
    found = read_settings(below)
    assert (found, found.file) == (Settings(), below.parent / "pyproject.toml")
    assert found.named(below) == {}


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_repository_ends_the_search(below, kind):
    root = below.parent
    if kind == "folder":
        (root / ".git").mkdir()
    else:
        (root / ".git").write_text("gitdir: elsewhere")
    assert read_settings(below) == Settings()
    (root / "pyproject.toml").write_text("[tool.rnn_parity]\nmode = 'xla'")
    assert read_settings(below) == Settings("xla")


def test_the_folder_may_be_relative(below, monkeypatch):
    monkeypatch.chdir(below)
    assert read_settings(Path()).strict


@pytest.mark.parametrize("text", ["[tool", "[tool.rnn-parity]", "[tool.rnn_parity]\nmood = 1"])
def test_a_broken_file_on_the_way_is_no_file_to_skip(below, text):
    (below.parent / "pyproject.toml").write_text(text)
    with pytest.raises(InputError) as error:
        read_settings(below)
    assert str(error.value).startswith(str(below.parent / "pyproject.toml"))
    assert "\n" not in str(error.value)


def test_no_file_means_the_defaults(tmp_path):
    assert read_settings(tmp_path) == Settings("graph", False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool", "expected a TOML file, received"),
        ("tool = 3", r"pyproject.toml \[tool\]: expected a table, received 3"),
        ("tool = []", r"pyproject.toml \[tool\]: expected a table, received \[\]"),
        ("[[tool]]", r"pyproject.toml \[tool\]: expected a table, received \[{}\]"),
        ("tool = '" + "x" * 1000 + "'", r"\[tool\]: expected a table, received 'x{39}$"),
        ("[tool.rnn_parity]\nstrikt = true", "; did you mean strict[?]"),
        ("[tool.rnn_parity]\nmode = 'grahp'", "; did you mean graph[?]"),
        ("[tool]\nrnn_parity = 3", "expected a table, received 3"),
        (
            "[tool.rnn_parity]\nmodus = 'xla'",
            "received 'modus'; did you mean mode[?] expected one of mode, strict, cases, allow",
        ),
        ("[tool.rnn_parity]\nmode = 'fast'", "expected mode one of eager, graph, xla"),
        ("[tool.rnn_parity]\nmode = []", r"expected mode one of .*, received \[\]"),
        ("[tool.rnn_parity]\nstrict = 1", "expected strict true or false, received 1"),
        (
            "[tool.rnn_parity]\nallow_known = 'no'",
            "expected allow_known true or false, received 'no",
        ),
        ("[tool.rnn_parity]\nignore = 'a'", "expected a list of faults in ignore, received 'a'"),
        ("[tool.rnn_parity]\nignore = ['']", "expected a list of faults in ignore, received"),
        ("[tool.rnn_parity]\ncases = ''", "expected the name of a folder in cases, received ''"),
        ("[tool.rnn-parity]", r"expected the table .tool.rnn_parity., received .tool.rnn-parity."),
        ("\xff", "expected a TOML file, received"),
        ("a = " + "[" * 100_000, "expected a TOML file, received"),
        ("a = " + "{a = " * 100_000, "expected a TOML file, received"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, message):
    (tmp_path / "pyproject.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message) as error:
        read_settings(tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(InputError, match="received a directory; name a file"):
        read_settings(tmp_path)
    (tmp_path / "pyproject.toml").rmdir()
    os.mkfifo(tmp_path / "pyproject.toml")
    with pytest.raises(InputError, match="received something that is not a plain file"):
        read_settings(tmp_path)
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "pyproject.toml").write_text("# " + "x" * 10_000)
    monkeypatch.setenv("RNN_PARITY_MOST_GIB", "0.001")
    with pytest.raises(InputError, match=r"at most 8\.19 KiB, received a file of 9\.77 KiB"):
        read_settings(tmp_path)
