"""The results file: nothing lost, nothing done twice, whatever happened to the file."""

import json
import math
import os
import subprocess
import sys

import pytest

from rnn_parity.errors import InputError
from rnn_parity.results import Divergence
from rnn_parity.sweep.journal import journal
from rnn_parity.sweep.one import Outcome
from rnn_parity.sweep.space import Configuration

HEADER = {"seed": 0, "keras": "3.15.1"}
ONE = Configuration.default("simple_rnn")
TWO = Configuration.default("lstm").but({"units": 2, "mask": "left", "dropout": 0.25})
OUTCOME = Outcome(
    "diverged",
    "a step is off",
    seconds=0.25,
    max_ratio=math.inf,
    effective_bits=12.5,
    arithmetic="float32",
    call=1,
    max_deviation=math.nan,
    first_divergence=Divergence(1, 0, 0, math.nan, 0.5, 1e-7),
)
REFUSED = Outcome("refused", "Keras says no: \u00e9 \u2014 'x'")


def written(path, *pairs, header=HEADER):
    with journal(str(path)) as file:
        file.begin(header)
        for pair in pairs:
            file.add(*pair)


def known(path, header=HEADER):
    with journal(str(path)) as file:
        file.begin(header)
        return dict(file.known)


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "a.jsonl"
    written(path, (ONE, OUTCOME), (TWO, REFUSED))
    found = known(path)
    assert list(found) == [ONE, TWO]
    # NaN is not equal to itself, but looks the same.
    assert repr(found[ONE]) == repr(OUTCOME)
    assert found[TWO] == REFUSED
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_without_a_file_it_remembers():
    with journal(None) as file:
        file.begin(HEADER)
        file.add(ONE, OUTCOME)
        assert file.known == {ONE: OUTCOME}


@pytest.mark.parametrize("lost", [1, 20, 400])
def test_a_torn_last_line_is_dropped_and_written_anew(tmp_path, lost):
    path = tmp_path / "a.jsonl"
    written(path, (ONE, REFUSED), (TWO, REFUSED))
    path.write_bytes(path.read_bytes()[:-lost])
    assert list(known(path)) == [ONE]
    written(path, (TWO, REFUSED))
    assert known(path) == {ONE: REFUSED, TWO: REFUSED}


def test_a_torn_header_is_written_anew(tmp_path):
    path = tmp_path / "a.jsonl"
    written(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:17])
    assert known(path) == {}
    assert path.read_bytes() == whole


def test_of_two_equal_lines_the_first_counts(tmp_path):
    path = tmp_path / "a.jsonl"
    written(path, (ONE, REFUSED), (ONE, OUTCOME))
    assert known(path) == {ONE: REFUSED}


def refused(path, *words, header=HEADER):
    before = path.read_bytes()
    with pytest.raises(InputError) as error:
        known(path, header)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), error.value
    assert path.read_bytes() == before


def test_results_of_another_sweep_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    written(path, (ONE, REFUSED))
    refused(path, "its seed is 0, here it is 1", header={**HEADER, "seed": 1})
    refused(path, "its keras is 3.15.1, here it is 2.15.0", header={**HEADER, "keras": "2.15.0"})


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0], "{", *lines[1:]],
        lambda lines: [lines[0], "[]", *lines[1:]],
        lambda lines: [lines[0], lines[1].replace('"mode": "eager"', '"mode": "fast"')],
        lambda lines: [lines[0], lines[1].replace('"units": 4', '"units": 0')],
        lambda lines: [lines[0], lines[1].replace('"refused"', '"fine"')],
        lambda lines: [lines[0], lines[1].replace('"seconds"', '"minutes"')],
        lambda lines: [lines[0], lines[1].replace("simple_rnn", "conv_lstm")],
        lambda lines: [lines[0], "[" * 100_000],
    ],
)
def test_a_damaged_line_is_named(tmp_path, change):
    path = tmp_path / "a.jsonl"
    written(path, (ONE, REFUSED))
    lines = change(path.read_text().splitlines())
    path.write_text("\n".join(lines) + "\n")
    refused(path, "line 2 is damaged")


@pytest.mark.parametrize("content", ["hello\n", "hello", '{"schema": "rnn-parity/1"}\n', "7\n"])
def test_other_files_are_left_alone(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    refused(path, "expected the results of such a sweep")


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path, tmp_path / "no" / "a.jsonl"):
        with pytest.raises(InputError, match=r"--resume .*: cannot be opened: "):
            known(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_line():
    with pytest.raises(InputError, match=r"No space left on device; what is done is kept$"):
        written("/dev/full", (ONE, REFUSED))


def test_two_sweeps_do_not_write_one_file(tmp_path):
    path = str(tmp_path / "a.jsonl")
    code = "from rnn_parity.sweep.journal import journal\nwith journal({!r}): {}"
    holding = subprocess.Popen(
        [sys.executable, "-c", code.format(path, "print('held', flush=True); input()")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holding.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another sweep is writing it"):
        known(path)
    holding.communicate("\n")
    assert known(path) == {}
