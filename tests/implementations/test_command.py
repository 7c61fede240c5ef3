"""Programs: what they are given and may write, every way to fail, and nothing left behind."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from rnn_parity import LSTM, SimpleRNN
from rnn_parity.errors import InputError
from rnn_parity.implementations.command import implementation
from rnn_parity.implementations.request import Request
from rnn_parity.system.processes import TIME_LIMIT

B, T, F, H = 2, 3, 2, 2
INPUTS = np.arange(12, dtype="float32").reshape(B, T, F) / 3
PYTHON = f"'{sys.executable}'"


def request(kind=SimpleRNN, **given):
    width = H * len(kind.GATES)
    layer = kind(np.zeros((F, width)), np.zeros((H, width)))
    return Request(layer, INPUTS, **given)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with the temporary ones below it: they must all be gone at the end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield tmp_path
    assert list(temporary.iterdir()) == []


def shell(script, arguments="{input} {output}"):
    """A program whose `$1` is the input and whose `$2` the output."""
    Path("program.sh").write_text(script)
    return f"sh program.sh {arguments}"


def refusal(command, asked=None):
    with pytest.raises(InputError) as error:
        implementation(command)(asked or request())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("extension", ["", ".npy", ".csv"])
def test_what_is_given_comes_back(extension):
    command = shell('cp "$1" "$2"', f"{{input}}{extension} {{output}}{extension}")
    answer = implementation(command)(request())
    assert (answer.outputs.astype("float32") == INPUTS).all()
    assert (answer.final_state, answer.notes) == ((), ())


def test_text_has_a_row_for_each_timestep():
    command = shell('cp "$1" seen.csv; cp "$1" "$2"', "{input}.csv {output}.csv")
    implementation(command)(request())
    assert Path("seen.csv").read_text().split("\n") == [
        *("0,0.333333343", "0.666666687,1", "1.33333337,1.66666663"),
        *("2,2.33333325", "2.66666675,3", "3.33333325,3.66666675", ""),
    ]


def test_a_place_within_an_argument_and_no_shell():
    script = 'test "$1" = "a b;c*" && cp "${2#--in=}" "${3#--out=}"'
    command = shell(script, "'a b;c*' --in={input} --out={output}")
    assert (implementation(command)(request()).outputs == INPUTS).all()


def test_states_come_back_in_an_archive():
    code = "import sys, numpy as np; x = np.load(sys.argv[1]); y = sys.argv[2]; "
    code += "np.savez(y, outputs=x, final_state_h=x[:, -1])"
    answer = implementation(f'{PYTHON} -c "{code}" {{input}} {{output}}.npz')(request())
    assert [s.tolist() for s in answer.final_state] == [INPUTS[:, -1].tolist()]


def test_the_mask_and_the_states_for_a_program_that_wants_them():
    places = "{input} {output} {mask}.csv {initial_state_h}.csv {initial_state_c}.csv"
    command = shell('cp "$1" "$2"; cp "$3" m; cp "$4" h; cp "$5" c', places)
    h, c = np.full((B, H), 0.5), np.full((B, H), 0.25)
    mask = np.array([[True, True, False], [True, False, True]])
    answer = implementation(command)(request(LSTM, mask=mask, initial_state=(h, c)))
    assert answer.notes == ()
    found = [Path(name).read_text() for name in "mhc"]
    assert found == ["1,1,0\n1,0,1\n", "0.5,0.5\n0.5,0.5\n", "0.25,0.25\n0.25,0.25\n"]
    implementation(command)(request(LSTM))
    found = [Path(name).read_text() for name in "mhc"]
    assert found == ["1,1,1\n1,1,1\n", "0,0\n0,0\n", "0,0\n0,0\n"]


def test_what_is_not_handed_over_is_noted():
    asked = request(mask=np.ones((B, T), bool), initial_state=(np.ones((B, H)),))
    assert implementation(shell('cp "$1" "$2"'))(asked).notes == (
        "the mask is not handed over: the command has no {mask}",
        "the initial state is not handed over: the command has no {initial_state_h}",
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "expected {input} among the arguments"),
        ("cp {input} y.npy", "expected {output} among the arguments"),
        ("cp {output}", "expected {input} among the arguments"),
        ("cp '{input} {output}", "cannot be split into words: No closing quotation"),
        ("cp {input}.txt {output}", "expected {input}.npy, {input}.csv, received {input}.txt"),
        ("cp {input} {output}.txt", "expected {output}.npy, {output}.npz, {output}.csv, received"),
        ("./none {input} {output}", "expected a program that can be run, found none of that name"),
        ("./folder {input} {output}", "expected a program that can be run, found none"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_before_it_is_asked(folder, command, words):
    (folder / "folder").mkdir()
    with pytest.raises(InputError) as error:
        implementation(command)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_program(folder):
    (folder / "data").write_bytes(b"\x00\x01")
    (folder / "data").chmod(0o755)
    assert "cannot be started: Exec format error" in refusal("./data {input} {output}")


def test_a_state_that_the_layer_does_not_have():
    places = "{input} {output} {initial_state_c}"
    assert "there is no {initial_state_c}: the layer has none" in refusal(shell("", places))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "against 'cmd:sh': it ended with exit code 3"),
        ("echo one >&2; echo two; exit 1", "it ended with exit code 1: one / two"),
        ("seq 100000 >&2; exit 1", "it ended with exit code 1: 99998 / 99999 / 100000"),
        ("kill -SEGV $$", "it crashed with SIGSEGV"),
        ("echo no; kill -ABRT $$", "it crashed with SIGABRT: no"),
        ("true", "it ended well and wrote no {output}.npy"),
        ('mkdir "$2"', "'output.npy': expected a .npy file of real numbers, received a directory"),
        (': > "$2"', "received an empty file"),
        ('echo words > "$2"', "received another kind of file"),
        ('head -c 100 "$1" > "$2"', "received a truncated or damaged one"),
    ],
)
def test_a_program_that_fails_is_one_line(script, words):
    message = refusal(shell(script))
    assert words in message
    assert message.startswith("against 'cmd:sh': ")
    assert tempfile.gettempdir() not in message


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ("1,2\n3,\n", "output.csv': line 2, column 2: expected a number, received a missing value"),
        ("Segmentation fault\n", "expected rows of numbers, received a file without any"),
    ],
)
def test_bad_text_is_one_line(numbers, words):
    script = f"cat > \"$2\" <<'E'\n{numbers}E\n"
    assert words in refusal(shell(script, "{input} {output}.csv"))


def test_numbers_that_are_none_are_an_answer():
    script = 'echo "nan,inf,1,1,1,1,1,1,1,1,1,1" > "$2"'
    outputs = implementation(shell(script, "{input} {output}.csv"))(request()).outputs
    assert np.isnan(outputs[0, 0, 0])
    assert np.isinf(outputs[0, 0, 1])


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_time_limit_is_a_number_of_seconds(monkeypatch, limit):
    monkeypatch.setenv(TIME_LIMIT, limit)
    assert refusal(shell("true")) == f"{TIME_LIMIT}: expected seconds, received {limit!r}"
