"""The results file: nothing lost, nothing done twice, whatever happened to the file."""

import json
import math
import os
import subprocess
import sys

import pytest

from rnn_parity.errors import InputError
from rnn_parity.sweep.journal import journal
from rnn_parity.sweep.space import default_of
from rnn_parity.verdict.results import Divergence
from rnn_parity.verdict.sweep_results import Outcome

HEADER = {"seed": 0, "keras": "3.15.1"}
ONE = default_of("simple_rnn")
TWO = default_of("lstm").but({"units": 2, "mask": "left", "dropout": 0.25})
OUTCOME = Outcome(
    "diverged",
    "a step is off",
    seconds=0.25,
    max_ratio=math.inf,
    effective_bits=-math.inf,
    arithmetic="float32",
    call=1,
    max_deviation=math.nan,
    first_divergence=Divergence(1, 0, 0, math.nan, 0.5, 1e-7),
)
REFUSED = Outcome("refused", "Keras says no: \u00e9 \u2014 'x'")
FAILED = Outcome("failed", "mine:f: IndexError: list index out of range (mine.py, line 3)")
PARITY = Outcome("parity", "right", 0.5, 0.25, 26.0, "float32", 0, 1e-7)


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
    three, four = TWO.but({"calls": 2}), TWO.but({"calls": 3})
    written(path, (ONE, OUTCOME), (TWO, REFUSED), (three, FAILED), (four, PARITY))
    found = known(path)
    assert list(found) == [ONE, TWO, three, four]
    # NaN is not equal to itself, but looks the same.
    assert repr(found[ONE]) == repr(OUTCOME)
    assert [found[one] for one in (TWO, three, four)] == [REFUSED, FAILED, PARITY]
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_without_a_file_it_remembers():
    with journal(None) as file:
        file.begin(HEADER)
        file.add(ONE, OUTCOME)
        assert file.known == {ONE: OUTCOME}


def test_the_largest_ratio_is_read_again(tmp_path):
    """Beside a bound next to nothing a ratio is hardly less than infinite, and a number still."""
    ratio = 1.5e308
    far = Outcome("diverged", "", max_ratio=ratio, effective_bits=53 - math.log2(ratio))
    path = tmp_path / "a.jsonl"
    written(path, (ONE, far))
    assert known(path) == {ONE: far}
    text = path.read_text()
    assert text.count("1.5e+308") == 1
    path.write_text(text.replace("1.5e+308", str(2**1024)))
    refused(path, "line 2 contradicts itself: its max_ratio is 1797693134862315907729305")


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


def test_two_lines_of_one_configuration_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    written(path, (ONE, REFUSED), (TWO, REFUSED), (ONE, OUTCOME))
    refused(path, "line 4 has the configuration of an earlier one")


@pytest.mark.parametrize(
    ("outcome", "old", "new", "words"),
    [
        (PARITY, '"max_ratio": 0.25', '"max_ratio": 7.5', "its verdict is parity beside a max_rat"),
        (PARITY, '"max_ratio": 0.25', '"max_ratio": true', "its max_ratio is True, which is no nu"),
        (PARITY, '"max_ratio": 0.25', '"max_ratio": "0"', "its max_ratio is '0', which is no numb"),
        (PARITY, '"effective_bits": 26.0', '"effective_bits": 20.0', "its effective_bits are 20 b"),
        (PARITY, '"verdict": "parity"', '"verdict": "refused"', "its verdict is refused beside ma"),
        (PARITY, '"verdict": "parity"', '"verdict": "failed"', "its verdict is failed beside max_"),
        (PARITY, '"seconds": 0.5', '"seconds": -1', "its seconds are -1"),
        (PARITY, '"seconds": 0.5', '"seconds": true', "its seconds are True"),
        (PARITY, '"call": 0', '"call": 0.5', "its call is 0.5"),
        (PARITY, '"summary": "right"', '"summary": 7', "its words are none"),
        (OUTCOME, '"verdict": "diverged"', '"verdict": "parity"', "parity beside a max_ratio of i"),
        (OUTCOME, '"bound": 1e-07', '"bound": null', "its first_divergence has no place or no num"),
        (REFUSED, '"verdict": "refused"', '"verdict": "parity"', "parity beside no max_ratio"),
    ],
)
def test_a_line_that_contradicts_itself_is_named(tmp_path, outcome, old, new, words):
    path = tmp_path / "a.jsonl"
    written(path, (TWO, REFUSED), (ONE, outcome))
    text = path.read_text()
    assert text.count(old) == 1 + (outcome is REFUSED)
    path.write_text(new.join(text.rsplit(old, 1)))
    refused(path, "line 3 contradicts itself: ", words)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"calls": 1', '"calls": true'),
        ('"units": 4', '"units": 2.5'),
        ('"units": 4', '"units": true'),
        ('"units": 4', '"units": 0'),
        ('"use_bias": true', '"use_bias": 1'),
        ('"mode": "eager"', '"mode": "fast"'),
        ('"verdict": "refused"', '"verdict": "fine"'),
        ('"verdict": "refused"', '"verdict": "refused", "verdict": "refused"'),
        ('"seconds": 0.0', '"minutes": 0.0'),
        ('"seconds": 0.0', '"seconds": NaN'),
        ('"seconds": 0.0', '"seconds": ' + 100_000 * "["),
        ("simple_rnn", "conv_lstm"),
        ('{"configuration"', '{\n{"configuration"'),
        ('{"configuration"', '[]\n{"configuration"'),
        ('{"configuration"', 100_000 * "[" + '{"configuration"'),
    ],
    ids=lambda text: text[:30],
)
def test_a_damaged_line_is_named(tmp_path, old, new):
    path = tmp_path / "a.jsonl"
    written(path, (ONE, REFUSED))
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    refused(path, "line 2 is damaged")


def test_true_is_no_seed(tmp_path):
    path = tmp_path / "a.jsonl"
    written(path, (ONE, REFUSED), header={**HEADER, "seed": True})
    refused(path, "its seed is True, here it is 1", header={**HEADER, "seed": 1})


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
