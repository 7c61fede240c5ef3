"""A program in C, right and with its mistakes, each found by name through the command line."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hand_case import make

from rnn_parity.cases.case import write_case
from rnn_parity.cli import main as cli

SOURCES = Path(__file__).parents[1] / "c_example"
B, T, F, H = 3, 7, 5, 4

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


class Program:
    """One of the C programs, a case of the layer that it computes, and the files that it reads.

    The recorded outputs of the case are noise: nothing here rests on another implementation.
    """

    def __init__(self, name, layer_class, gates, states, folder):
        self.name, self.folder = name, folder
        rng = np.random.default_rng(3)
        shapes = {"kernel": (F, gates * H), "recurrent_kernel": (H, gates * H)}
        weights = {n: rng.normal(size=s) for n, s in {**shapes, "bias": (gates * H,)}.items()}
        self.weights = {n: w.astype("float32") for n, w in weights.items()}
        initial = tuple(rng.uniform(-1, 1, (B, H)).astype("float32") for _ in range(states))
        config = {"units": H, "use_bias": True, "activation": "tanh"}
        self.case = make(
            layer_class=layer_class,
            recurrence=layer_class,
            config={**config, "recurrent_activation": "sigmoid"},
            inputs=rng.normal(size=(B, T, F)).astype("float32"),
            outputs=rng.normal(size=(B, T, H)).astype("float32"),
            initial_state=initial,
            final_state=(),
            **self.weights,
        )
        write_case(folder / "case.npz", self.case)
        self.state_files = ["{initial_state_h}.csv", "{initial_state_c}.csv"][:states]
        self.write_weights("%.9g")

    def write_weights(self, form):
        with open(self.folder / "weights.txt", "w") as file:
            for array in self.weights.values():
                np.savetxt(file, array, form)

    def compiled(self, mistake=None):
        program = self.folder / (mistake or "right")
        flags = [f"-D{mistake}"] if mistake else []
        command = ["cc", "-std=c99", *flags, "-o", program, SOURCES / f"{self.name}.c", "-lm"]
        subprocess.run(command, check=True, timeout=300)
        return program

    def command(self, mistake=None):
        sizes = " ".join(map(str, (B, T, F, H)))
        files = ["weights.txt", *self.state_files, "{input}.csv", "{output}.csv"]
        return f"cmd:{self.compiled(mistake)} {sizes} {' '.join(files)}"

    def check(self, capsys, *sources):
        options = [part for source in sources for part in ("--against", source)]
        code = cli.main(["check", "case.npz", "--format", "json", *options])
        out, err = capsys.readouterr()
        assert err.startswith("rnn-parity: ") if code else err == ""
        return json.loads(out)["checks"]

    def checked(self, capsys, mistake=None):
        (check,) = self.check(capsys, self.command(mistake))
        return check


@pytest.fixture
def simple_rnn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Program("simple_rnn", "SimpleRNN", 1, 1, tmp_path)


@pytest.fixture
def lstm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Program("lstm", "LSTM", 4, 2, tmp_path)


def test_the_right_program_is_in_parity(simple_rnn, capsys):
    check = simple_rnn.checked(capsys)
    assert (check["verdict"], check["arithmetic"]) == ("parity", "float32")
    assert check["effective_bits"] > 24
    assert check["subject"]["against"].startswith("cmd:")
    assert "initial-state-ignored" in check["sensitivity"]["visible"]


@pytest.mark.parametrize(
    "mistake",
    [
        "BIAS_DROPPED",
        "BIAS_DOUBLED",
        "RECURRENT_KERNEL_TRANSPOSED",
        "INITIAL_STATE_IGNORED",
        "ACTIVATION_SWAPPED",
        "TIME_SHIFTED",
        "FEATURES_PERMUTED",
    ],
)
def test_a_mistake_is_named(simple_rnn, capsys, mistake):
    check = simple_rnn.checked(capsys, mistake)
    assert check["verdict"] == "diverged"
    assert [cause["fault"] for cause in check["causes"]] == [mistake.lower().replace("_", "-")]


def test_weights_that_were_printed_short_are_named(simple_rnn, capsys):
    simple_rnn.write_weights("%.4f")
    check = simple_rnn.checked(capsys)
    assert check["verdict"] == "diverged"
    (cause,) = check["causes"]
    assert cause["fault"] == "weights-rounded"
    assert "4 decimals" in cause["explanation"]


def test_a_mistake_that_nobody_knows_gets_no_name(simple_rnn, capsys):
    check = simple_rnn.checked(capsys, "UPDATED_IN_PLACE")
    assert (check["verdict"], check["causes"]) == ("diverged", [])


def test_right_and_wrong_side_by_side(simple_rnn, capsys):
    sources = [simple_rnn.command(), simple_rnn.command("BIAS_DROPPED")]
    assert [c["verdict"] for c in simple_rnn.check(capsys, *sources)] == ["parity", "diverged"]


def test_a_right_lstm_is_in_parity(lstm, capsys):
    check = lstm.checked(capsys)
    assert (check["verdict"], check["arithmetic"]) == ("parity", "float32")
    assert check["effective_bits"] > 24


@pytest.mark.parametrize(
    "mistake",
    [
        "BIAS_DROPPED",
        "INITIAL_STATE_IGNORED",
        "ACTIVATION_SWAPPED",
        "GATES_PERMUTED",
        "FORGET_BIAS_DOUBLED",
        "RECURRENT_ACTIVATION_SWAPPED",
    ],
)
def test_a_mistake_in_an_lstm_is_named(lstm, capsys, mistake):
    check = lstm.checked(capsys, mistake)
    assert check["verdict"] == "diverged"
    assert [cause["fault"] for cause in check["causes"]] == [mistake.lower().replace("_", "-")]
