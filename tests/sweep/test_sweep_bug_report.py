"""The scripts that go with findings: run as they are, and the formulas that they are made of."""

import math
import re
import subprocess
import sys

import numpy as np
import pytest

from rnn_parity.sweep.bug_report import limit, literal, script
from rnn_parity.sweep.space import default_of
from rnn_parity.sweep.worker import check_configuration, numbers_of
from rnn_parity.system.environment import keras_version

KERAS = keras_version()


def ran(path, one):
    """What a configuration's script prints, and its exit code; alone, in a folder of its own."""
    text = script(one, check_configuration(one, 0), numbers_of(one, 0), "About this.", KERAS)
    file = path / "script.py"
    file.write_text(text)
    done = subprocess.run([sys.executable, "-I", file], cwd=path, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    assert "rnn_parity" not in text
    return done.returncode, done.stdout


def test_a_finding_is_shown_wrong_beside_right(tmp_path):
    changes = {"go_backwards": True, "unroll": True, "zero_output_for_mask": True, "mask": "right"}
    sizes = {"batch": 1, "timesteps": 2, "features": 1, "units": 1}
    code, out = ran(tmp_path, default_of("simple_rnn").but({**changes, **sizes}))
    assert code == 1
    assert out.startswith("TensorFlow ")
    assert "call 0, Keras:\n[[[0.]\n  [0.]]]\ncall 0, by hand:\n[[[ 0." in out


def test_what_a_wrapper_shows_is_shown_in_the_wrapper(tmp_path):
    """The forward half is right, the backward one zeroed where the mask is not."""
    changes = {"wrapper": "bidirectional", "unroll": True, "mask": "right"}
    sizes = {"batch": 1, "timesteps": 2, "features": 1, "units": 1}
    code, out = ran(tmp_path, default_of("simple_rnn").but({**changes, **sizes}))
    assert code == 1
    by_keras, by_hand = (
        np.array(eval(re.sub(r"(?<=[\d.\]])\s+(?=[\[\d-])", ", ", text)))
        for text in re.findall(r"(?:Keras|by hand):\n(\[\[\[.*?\]\]\])", out, re.DOTALL)
    )
    assert by_keras[..., 0] == pytest.approx(by_hand[..., 0], abs=1e-6)
    assert by_keras[0, :, 1].tolist() == [0, 0]
    assert (by_hand[0, :, 1] != 0).tolist() == [True, False]


@pytest.mark.parametrize(
    ("layer", "changes"),
    [
        ("gru", {"wrapper": "rnn", "go_backwards": True, "return_state": True, "mask": "left"}),
        ("lstm", {"wrapper": "stacked", "initial_state": "random", "mode": "graph"}),
        (
            "lstm",
            {
                "wrapper": "bidirectional",
                "initial_state": "random",
                "return_state": True,
                "mask": "random",
                "calls": 2,
            },
        ),
        (
            "simple_rnn",
            {
                "wrapper": "bidirectional",
                "merge_mode": "none",
                "return_sequences": False,
                "use_bias": False,
                "open_size": "batch",
            },
        ),
        ("gru", {"wrapper": "bidirectional", "merge_mode": "mul", "dtype": "float64"}),
        ("gru", {"wrapper": "bidirectional", "merge_mode": "ave", "dtype": "mixed_float16"}),
        (
            "lstm",
            {
                "mode": "graph",
                "mask": "random",
                "initial_state": "random",
                "calls": 2,
                "stateful": True,
                "return_sequences": False,
            },
        ),
        (
            "gru",
            {
                "mode": "predict",
                "dtype": "mixed_float16",
                "mask": "left",
                "zero_output_for_mask": True,
                "go_backwards": True,
                "open_size": "timesteps",
                "return_state": True,
            },
        ),
        ("gru", {"mode": "xla", "dtype": "float64", "reset_after": False, "use_bias": False}),
    ],
)
def test_what_is_right_is_right_in_a_script_too(tmp_path, layer, changes):
    one = default_of(layer).but({"units": 2, "features": 2, **changes})
    code, out = ran(tmp_path, one)
    # The limit is so near to the bound that it means something.
    assert (code, out.count("\n")) == (0, 2), out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_literals_are_exact(dtype):
    array = np.random.default_rng(0).normal(size=(3, 40, 11)).astype(dtype)
    again = eval(literal(array, dtype), {"np": np})
    assert again.dtype == dtype
    assert np.array_equal(again, array)


def test_the_limit_lies_between_rounding_and_the_difference():
    one = default_of("simple_rnn")
    (call,) = numbers_of(one, 0).calls
    wrong = type(call)(**{**vars(call), "outputs": call.expected + 0.5})
    assert limit((wrong,), 1e4) == pytest.approx(0.005)
    assert limit((wrong,), math.inf) == 1e-3
