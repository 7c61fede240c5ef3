"""Saved models on the command line: layers of a user's own, weights alone, and what is recorded."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_check import command as run
from fake_check import refused
from keras_layers import functional, keras, layers

from rnn_parity.cases.case import read_case

OWN = """
import tensorflow as tf

class Halving(tf.keras.layers.Layer):
    def call(self, inputs):
        return inputs / 2

def bent(x):
    return tf.tanh(x) + 0.1 * x

number = 3
"""
pytestmark = pytest.mark.skipif(not hasattr(keras, "ops"), reason="Keras 2 writes other files")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A model with a layer and an activation of the module `halving`, in the current folder."""
    (tmp_path / "halving.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("halving")
    functional(module.Halving(), layers.SimpleRNN(3, activation=module.bent)).save("own.keras")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    yield "own.keras"
    sys.modules.pop("halving", None)


def test_layers_of_ones_own(own, capsys):
    sys.modules.pop("halving")
    said = refused(capsys, "check", own)
    assert "uses 'Halving', which is not registered with Keras; name it with --custom" in said
    sys.modules.pop("halving", None)
    custom = "--custom halving:Halving --custom halving:bent"
    assert run("check", own, custom, "--batch 3 --format json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "parity"
    assert report["notes"] == [
        "--custom imported halving:Halving, and ran the code of its module",
        "--custom imported halving:bent, and ran the code of its module",
    ]


def test_a_layer_that_ends_the_program_has_not_passed(own, capsys):
    sys.modules.pop("halving")
    Path("halving.py").write_text(OWN.replace("return inputs / 2", "raise SystemExit(0)"))
    Path("twin.keras").write_bytes(Path(own).read_bytes())
    custom = "--custom halving:Halving --custom halving:bent"
    for targets, said in (
        ((own,), "rnn-parity: error: what was checked ended the program, with 0; it has to return"),
        ((own, "twin.keras"), "twin.keras: what was checked ended the program, with 0"),
    ):
        assert run("check", *targets, custom, "--batch 3") == 1
        assert said in " ".join("".join(capsys.readouterr()).split())
        sys.modules.pop("halving", None)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("halving", "expected module:Name, such as layers:Attention"),
        (":Halving", "expected module:Name"),
        ("halving:a-b", "expected module:Name"),
        ("no.such:Thing", "no.such cannot be imported: ModuleNotFoundError: No module named 'no'"),
        ("halving:Gone", "expected a class or a function of halving, received none"),
        ("halving:number", "expected a class or a function of halving, received one of type int"),
    ],
)
def test_what_is_no_layer_of_ones_own(own, capsys, source, said):
    message = refused(capsys, "check", own, "--custom", source)
    assert message.startswith(f"rnn-parity: error: --custom '{source}': {said}")


def test_weights_alone(tmp_path, capsys):
    path, case = tmp_path / "w.weights.h5", tmp_path / "c.npz"
    functional(layers.GRU(3, name="gru")).save_weights(path)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2, 3, 4)))
    given = ("--arg go_backwards=True --input", tmp_path / "x.npy")
    assert run("record", path, *given, "-q -o", case) == 0
    recorded = read_case(case)
    assert recorded.config["go_backwards"] is True
    assert (recorded.inputs.shape, recorded.layer_class) == ((2, 3, 4), "GRU")
    assert run("check", case, "-q") == 0
    capsys.readouterr()
    said = refused(capsys, "check", path, "--arg units=3")
    assert said.startswith(
        "rnn-parity: error: --arg units: expected one of activation, recurrent_a"
    )
