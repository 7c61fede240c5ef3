"""`rnn-parity explain`: the manual in a terminal."""

import subprocess
import sys

import pytest
from fake_check import refused

from rnn_parity.cli.main import main


def test_all_pages_are_listed(capsys):
    assert main(["explain"]) == 0
    out = capsys.readouterr().out
    assert "\n  bias-dropped " in out
    assert out.endswith("rnn-parity explain TOPIC shows one of them.\n")


def test_a_page_is_as_wide_as_the_terminal(capsys, monkeypatch):
    for columns in (50, 70):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(["explain", "bound"]) == 0
        longest = max(map(len, capsys.readouterr().out.splitlines()))
        assert columns - 12 < longest <= columns


def test_an_unknown_topic_is_one_line(capsys):
    assert main(["explain", "bias-droped"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(
        "rnn-parity: error: explain 'bias-droped': there is no such page; did you"
    )
    assert "bias-dropped" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", ["'explain'", "'explain', 'bias-dropped'"])
def test_neither_numpy_nor_tensorflow_is_imported(arguments):
    code = (
        f"import sys; from rnn_parity.cli.main import main; assert main([{arguments}]) == 0; "
        "print({'numpy', 'tensorflow', 'keras'} & {*sys.modules}, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"


@pytest.mark.parametrize(
    ("topic", "where"), [("faults", "rnn-parity faults"), ("words", "rnn-parity explain")]
)
def test_a_group_of_pages_is_listed_elsewhere(topic, where, capsys):
    said = refused(capsys, "explain", topic)
    assert said.startswith(f"rnn-parity: error: explain '{topic}': is no page but a list; {where} ")
