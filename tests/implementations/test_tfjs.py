"""Layers in TensorFlow.js: what they compute, by hand, and what is refused."""

import os
import stat

import numpy as np
import pytest
import tfjs_models

import rnn_parity as rp
from rnn_parity.cli import main as cli
from rnn_parity.errors import (
    InputError,
    MissingPackageError,
    SourceFailedError,
    UnsupportedError,
)
from rnn_parity.implementations.request import Request
from rnn_parity.implementations.tfjs import node
from rnn_parity.implementations.tfjs.layer import implementation

FOUND = tfjs_models.found()


def f32(value):
    return np.array(value, np.float32)


ONE = (f32([[1]]), f32([[1]]), f32([0]))
COUNTING = rp.SimpleRNN(*ONE, activation="linear")
# Gates i = 1/2, f = 1, c = x, o = 0.2 (-1.5) + 1/2 = 1/5.
LSTM = rp.LSTM(
    f32([[0, 0, 1, 0]]), f32([[0, 0, 0, 0]]), f32([0, 3, 0, -1.5]), "linear", "hard_sigmoid_keras2"
)
# z = 1/2, r = 1/5; the candidate is x + r h + 2.
GRU = rp.GRU(
    f32([[0, 0, 1]]),
    f32([[0, 0, 1]]),
    f32([0, -1.5, 2]),
    "linear",
    "hard_sigmoid_keras2",
    reset_after=False,
)
X = f32([[[4], [8]]])


@pytest.fixture(scope="module")
def compute():
    return implementation("tfjs")


def near(array):
    return pytest.approx(np.asarray(array), rel=1e-6)


def test_the_layers_by_hand(compute):
    answer = compute(Request(COUNTING, f32([[[1], [2], [4]]])))
    assert answer.outputs[0, :, 0] == near([1, 3, 7])
    assert [s.tolist() for s in answer.final_state] == [[[7.0]]]
    assert answer.notes == (FOUND.name,)
    # c = 1/2 4 = 2, then 2 + 1/2 8 = 6; h = c / 5.
    answer = compute(Request(LSTM, X))
    assert answer.outputs[0, :, 0] == near([0.4, 1.2])
    assert [s[0, 0] for s in answer.final_state] == near([1.2, 6.0])
    # 1/2 (4 + 2) = 3, then 1/2 3 + 1/2 (8 + 3/5 + 2) = 6.8.
    assert compute(Request(GRU, X)).outputs[0, :, 0] == near([3.0, 6.8])


def test_options_by_hand(compute):
    def outputs(layer, x, **data):
        answer = compute(Request(layer, f32(x)[None, :, None], **data))
        return answer.outputs[0, :, 0].tolist(), [s[0, 0].tolist() for s in answer.final_state]

    back = rp.SimpleRNN(*ONE, activation="linear", go_backwards=True)
    assert outputs(back, [1, 2, 4]) == ([4, 6, 7], [7])
    mask = np.array([[True, False, True]])
    assert outputs(COUNTING, [1, 2, 4], mask=mask) == ([1, 1, 5], [5])
    assert outputs(COUNTING, [1, 2], initial_state=(f32([[10]]),)) == ([11, 13], [13])
    state = (f32([[7]]), f32([[1]]))
    assert outputs(LSTM, [4], initial_state=state) == (near([0.6]), near([0.6, 3]))


def layer_of(kind, seed=1, **options):
    rng = np.random.default_rng(seed)
    gates = len(kind.GATES)
    if kind is rp.GRU:
        options = {"reset_after": False, **options}
    weights = (rng.normal(size=(4, 5 * gates)), 0.4 * rng.normal(size=(5, 5 * gates)))
    return kind(*weights, rng.normal(size=5 * gates), dtype="float32", **options)


def data_of(kind, seed=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 7, 4)).astype(np.float32)
    return x, [rng.normal(size=(3, 5)).astype(np.float32) for _ in kind.STATES]


def compared(compute, layer, asked, mask=None):
    """The report on what TensorFlow.js computes with the layer `asked`, held against `layer`."""
    x, state = data_of(type(layer))
    answer = compute(Request(asked, x, mask, tuple(state)))
    final = list(answer.final_state) if len(state) > 1 else answer.final_state[0]
    given = state if len(state) > 1 else state[0]
    return rp.compare(layer, x, answer.outputs, final, mask=mask, initial_state=given)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", [rp.SimpleRNN, rp.LSTM, rp.GRU])
def test_random_layers_are_in_parity(compute, kind, backwards):
    layer = layer_of(kind, go_backwards=backwards)
    # At the first timestep that is processed, nothing is masked.
    mask = np.arange(7) < np.array([[7], [5], [3]])
    mask = mask[:, ::-1] if backwards else mask
    report = compared(compute, layer, layer, mask)
    assert report.verdict == "parity", report.summary


@pytest.mark.parametrize(
    "name", ["relu", "elu", "softplus", "gelu", "softmax", "silu", "hard_sigmoid_keras2"]
)
def test_activations_are_in_parity(compute, name):
    layer = layer_of(rp.SimpleRNN, activation=name)
    layer = layer.changed(recurrent_kernel=0.3 * layer.recurrent_kernel)  # none shall grow
    report = compared(compute, layer, layer)
    assert report.verdict == "parity", report.summary


def permuted(layer):
    """The gates of the recurrent kernel in another order."""
    gates = np.split(layer.recurrent_kernel, len(layer.GATES), axis=1)
    return layer.changed(recurrent_kernel=np.concatenate([*gates[1:], gates[0]], axis=1))


@pytest.mark.parametrize(
    ("kind", "mistake", "fault"),
    [
        (rp.SimpleRNN, lambda layer: layer.changed(bias=None), "bias-dropped"),
        (rp.SimpleRNN, lambda layer: layer.changed(go_backwards=False), "inputs-reversed"),
        (rp.LSTM, lambda layer: layer.changed(bias=None), "bias-dropped"),
        (rp.LSTM, permuted, "gates-misaligned"),
        (rp.GRU, lambda layer: layer.changed(go_backwards=False), "inputs-reversed"),
        (rp.GRU, permuted, "gates-misaligned"),
    ],
)
def test_a_mistake_is_found_and_named(compute, kind, mistake, fault):
    layer = layer_of(kind, go_backwards=True)
    report = compared(compute, layer, mistake(layer))
    assert report.verdict == "diverged"
    assert fault in [cause.fault for cause in report.checks[0].causes]


def test_the_hard_sigmoid_is_that_of_keras_2(compute):
    layer = layer_of(rp.LSTM, recurrent_activation="hard_sigmoid")
    report = compared(compute, layer, layer)
    assert report.verdict == "diverged"
    assert report.checks[0].causes[0].fault == "hard-sigmoid-slope"


def test_what_tensorflow_js_does_not_have_is_refused_by_name(compute):
    x, mask = f32([[[1, 2, 3, 4]]]), np.array([[True]])
    refused = {
        "no reset_after=True": layer_of(rp.GRU).changed(reset_after=True),
        "no zero_output_for_mask": layer_of(rp.SimpleRNN, zero_output_for_mask=True),
        "no activation leaky_relu": layer_of(rp.SimpleRNN, activation="leaky_relu"),
        "received float64": rp.SimpleRNN(np.ones((4, 2)), np.ones((2, 2)), dtype="float64"),
        "no backward_layer": (layer_of(rp.LSTM), layer_of(rp.LSTM)),
    }
    for said, layer in refused.items():
        first, both = (layer[0], layer) if isinstance(layer, tuple) else (layer, ())
        with pytest.raises(UnsupportedError, match=said):
            compute(Request(first, x, None if both else mask, side_by_side=both))
    # Without a mask, there is nothing to be zeroed.
    unmasked = compute(Request(layer_of(rp.SimpleRNN, zero_output_for_mask=True), x))
    assert unmasked.outputs.shape == (1, 1, 5)


def test_the_command_line(here):
    base = ["check", "--against", "tfjs", "--units", "3", "--timesteps", "4", "-q"]
    assert cli.main([*base, "--layer", "bidirectional"]) == 0
    assert cli.main([*base, "--layer", "simple_rnn", "--arg", "stateful=True", "--calls", "2"]) == 0
    assert cli.main([*base, "--layer", "gru"]) == 2
    shown = [*base, "--layer", "lstm", "--mask", "left", "--initial-state", "random"]
    assert cli.main(shown) == 1
    assert cli.main([*shown, "--allow-known"]) == 0


def test_a_state_that_is_shown_is_a_known_difference(compute):
    # One linear unit, all weights 1: the first step is masked, and shows the first state.
    answer = compute(Request(COUNTING, f32([[[1], [1]]]), np.array([[False, True]]), (f32([[3]]),)))
    assert answer.outputs[0, :, 0].tolist() == [3, 4]
    assert "tfjs-shows-the-initial-state" in answer.notes[-1]


# Node and its package.


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_node_is_missing_or_too_old(here, monkeypatch):
    monkeypatch.setenv("NODE", str(here / "nowhere"))
    with pytest.raises(MissingPackageError, match=r"Node 16 or later, found no '.*' that is Node"):
        implementation("tfjs")
    monkeypatch.setenv("NODE", program(here, "old", "echo v14.21.3"))
    with pytest.raises(MissingPackageError, match=r"found 14\.21\.3; install it from https"):
        implementation("tfjs")
    monkeypatch.setenv("NODE", program(here, "other", "echo axlisten 1.0"))
    with pytest.raises(MissingPackageError, match="that is Node"):
        implementation("tfjs")


def test_tensorflow_js_is_missing(here, monkeypatch):
    monkeypatch.delenv("NODE_PATH", raising=False)
    monkeypatch.setattr(node, "everywhere", dict)
    with pytest.raises(MissingPackageError, match="npm install @tensorflow/tfjs"):
        implementation("tfjs")


def test_tensorflow_js_is_found_in_the_folder_and_above(here, monkeypatch):
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(FOUND.main))))
    monkeypatch.delenv("NODE_PATH", raising=False)
    monkeypatch.setattr(node, "everywhere", dict)
    (here / "node_modules").symlink_to(package)
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    answer = implementation("tfjs")(Request(COUNTING, X))
    assert answer.outputs[0, :, 0].tolist() == [4, 12]


def failing(monkeypatch, here, text):
    """TensorFlow.js with a Node that does something else than answer."""
    own = FOUND.node
    script = f'case "$2" in answer) {text};; esac\nexec {own} "$@"'
    monkeypatch.setenv("NODE", program(here, "node", script))
    return implementation("tfjs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo out of memory >&2; exit 3", "exit code 3: out of memory"),
        ("kill -SEGV $$", "crashed with SIGSEGV"),
        ("exit 0", "ended well and gave no answer"),
        ('echo "{}" > "$3/answer.json"; exit 0', "ended well and gave no answer"),
    ],
)
def test_a_node_that_fails_is_one_line(here, monkeypatch, text, said):
    with pytest.raises(SourceFailedError, match=said):
        failing(monkeypatch, here, text)(Request(COUNTING, X))


def test_a_node_that_takes_too_long_is_ended(here, monkeypatch):
    monkeypatch.setenv("RNN_PARITY_TIME_LIMIT", "0.5")
    with pytest.raises(SourceFailedError, match=r"still running after 0\.5 seconds"):
        failing(monkeypatch, here, "sleep 60")(Request(COUNTING, X))


def test_what_tensorflow_js_refuses_is_passed_on():
    with pytest.raises(InputError, match=r"refused: .* is not a function"):
        FOUND.ask("tfjs", {"task": "layer", "kind": "lstmm"}, {})
