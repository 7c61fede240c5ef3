"""A `Bidirectional` that another implementation computes as a whole, written by hand in NumPy."""

import numpy as np
import pytest
from helpers import loop, random_weights

import rnn_parity as rp
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter import tensorflow_module

B, T, F, H = 2, 5, 3, 4


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return random_weights(rng, F, H), random_weights(rng, F, H)


@pytest.fixture
def inputs():
    return np.random.default_rng(1).normal(size=(B, T, F)).astype("float32")


def wrapper(weights, mode="concat", sequences=True):
    layers = tensorflow_module().keras.layers
    inner = layers.SimpleRNN(H, return_sequences=sequences, name="rnn")
    both = layers.Bidirectional(inner, mode, name="both")
    both.build((None, None, F))
    both.set_weights([array for one in weights for array in one.values()])
    return both


def merged(weights, x):
    """Both directions, each written as the textbook has it; the second reads from the end."""
    forward, backward = weights
    return np.concatenate([loop(forward, x), loop(backward, x[:, ::-1])[:, ::-1]], axis=-1)


@pytest.mark.parametrize("mode", ["concat", None])
def test_both_halves_are_checked(weights, inputs, mode):
    report = rp.check(wrapper(weights, mode), inputs, against=lambda x: merged(weights, x))
    assert (report.verdict, report.exit_code) == ("parity", 0)
    names = [check.subject.layer_name.split("/")[:2] for check in report.checks]
    assert names == [["both", "forward"], ["both", "backward"]]
    assert [len(check.timesteps) for check in report.checks] == [T, T]


def test_the_half_that_is_wrong_is_named(weights, inputs):
    without = (weights[0], {**weights[1], "bias": np.zeros(H, "f")})
    report = rp.check(wrapper(weights), inputs, against=merged(without, inputs))
    assert [check.verdict for check in report.checks] == ["parity", "diverged"]
    assert report.checks[1].causes[0].fault == "bias-dropped"


def test_backward_outputs_that_are_not_reversed_back(weights, inputs):
    outputs = merged(weights, inputs)
    outputs[..., H:] = outputs[:, ::-1, H:]
    report = rp.check(wrapper(weights), inputs, against=outputs)
    assert [check.verdict for check in report.checks] == ["parity", "diverged"]
    assert report.checks[1].causes[0].fault == "outputs-not-reversed"


def test_the_last_output_of_each(weights, inputs):
    sequence = merged(weights, inputs)
    last = np.concatenate([sequence[:, -1, :H], sequence[:, 0, H:]], axis=-1)
    layer = wrapper(weights, sequences=False)
    assert rp.check(layer, inputs, against=[last, sequence]).verdict == "parity"
    report = rp.check(layer, inputs, against=sequence[:, -1])
    assert [check.verdict for check in report.checks] == ["parity", "diverged"]
    with pytest.raises(InputError, match=r"\(2, 5, 8\), received \(2, 8\); name one of the two"):
        rp.check(wrapper(weights), inputs, against=last)


def test_final_states_are_those_of_the_forward_and_of_the_backward_layer(weights, inputs):
    outputs = merged(weights, inputs)
    states = (outputs[:, -1, :H], outputs[:, 0, H:])
    layer, as_pytorch = wrapper(weights), np.stack(states)
    assert rp.check(layer, inputs, against=lambda x: (outputs, *states)).exit_code == 0
    assert rp.check(layer, inputs, against=lambda x: (outputs, as_pytorch)).exit_code == 0
    report = rp.check(wrapper(weights), inputs, against=lambda x: (outputs, states[::-1]))
    assert [check.verdict for check in report.checks] == ["diverged", "diverged"]


def test_a_final_state_of_either_layer_is_left_out(weights, inputs):
    outputs = merged(weights, inputs)
    report = rp.check(wrapper(weights), inputs, against=lambda x: (outputs, outputs[:, -1, :H]))
    assert (report.verdict, report.exit_code) == ("inconclusive", 3)
    expected = "not compared: the final states, which may be of either layer of <lambda>; if what "
    assert all(check.summary.startswith(expected) for check in report.checks)


@pytest.mark.parametrize("mode", ["sum", "mul", "ave"])
def test_other_merges_do_not_tell_the_halves(weights, inputs, mode):
    outputs = merged(weights, inputs)[..., :H]
    with pytest.raises(InputError, match="a merge other than concat"):
        rp.check(wrapper(weights, mode), inputs, against=outputs)


def test_one_layer_of_the_two_by_its_name(weights, inputs):
    keras = tensorflow_module().keras
    model = keras.Sequential([keras.Input((T, F)), wrapper(weights)])
    right = loop(weights[1], inputs[:, ::-1])
    report = rp.check(model, inputs, against=right, layer_name="backward")
    assert (report.verdict, len(report.checks)) == ("parity", 1)


def test_the_command_line(weights, inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    keras = tensorflow_module().keras
    keras.Sequential([keras.Input((T, F)), wrapper(weights)]).save("net.keras")
    np.save("x.npy", inputs)
    # One row for each timestep: the shape is known from that of the model's outputs.
    np.savetxt("y.csv", merged(weights, inputs).reshape(B * T, 2 * H))
    assert cli.main(["check", "net.keras", "--input", "x.npy", "--against", "y.csv", "-q"]) == 0
    np.savetxt("y.csv", merged(weights[::-1], inputs).reshape(B * T, 2 * H))
    assert cli.main(["check", "net.keras", "--input", "x.npy", "--against", "y.csv", "-q"]) == 1


def test_an_exported_operator(weights, inputs, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx_models import model, node

    given = {"W": "kernel", "R": "recurrent_kernel"}
    arrays = {n: np.stack([one[name].T for one in weights]) for n, name in given.items()}
    arrays["B"] = np.stack([np.concatenate([one["bias"], np.zeros(H, "f")]) for one in weights])
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["X"], perm=[1, 0, 2]),
        node("RNN", arrays, ["Y"], direction="bidirectional"),
        onnx.helper.make_node("Transpose", ["Y"], ["turned"], perm=[2, 0, 1, 3]),
        onnx.helper.make_node("Reshape", ["turned", "shape"], ["y"]),
    ]
    arrays["shape"] = np.array([B, T, 2 * H])
    path = str(tmp_path / "both.onnx")
    onnx.save(model(nodes, arrays, inputs={"x": (B, T, F)}, outputs=["y"]), path)
    report = rp.check(wrapper(weights), inputs, against=path)
    assert [check.verdict for check in report.checks] == ["parity", "parity"]
    report = rp.check(wrapper(weights[::-1]), inputs, against=path)
    assert [check.verdict for check in report.checks] == ["diverged", "diverged"]


def test_another_backend_runs_the_wrapper_itself(weights, inputs):
    pytest.importorskip("jax")
    keras = tensorflow_module().keras
    first = wrapper(weights)
    second = keras.layers.Bidirectional(keras.layers.LSTM(2, name="lstm"), "sum", name="added")
    model = keras.Sequential([keras.Input((T, F)), first, second])
    report = rp.check(model, inputs, against="keras:jax")
    verdicts = {check.subject.layer_name: check.verdict for check in report.checks}
    assert verdicts == {
        "both/forward/rnn": "parity",
        "both/backward/rnn": "parity",
        "added/forward/lstm": "parity",
        "added/backward/lstm": "parity",
    }
    assert report.exit_code == 0
    said = " ".join(str(report).split())
    assert "how the Bidirectional merges its two layers is no part of this check" in said
    both = rp.check(first, inputs, against=["keras:jax", lambda x: merged(weights, x)])
    assert (both.exit_code, len(both.checks)) == (0, 4)


def test_a_mask_is_handed_to_both_layers(weights, inputs):
    mask = np.array([[True] * T, [True] * 3 + [False] * 2])

    def masked(x, mask):
        return np.asarray(wrapper(weights)(x, mask=tensorflow_module().constant(mask)))

    report = rp.check(wrapper(weights), inputs, mask, against=masked)
    assert [check.verdict for check in report.checks] == ["parity", "parity"]
    report = rp.check(wrapper(weights), inputs, mask, against=masked(inputs, mask))
    assert [check.verdict for check in report.checks] == ["parity", "parity"]
    report = rp.check(wrapper(weights), inputs, mask, against=lambda x: merged(weights, x))
    assert [check.causes[0].fault for check in report.checks] == ["mask-ignored"] * 2
    pytest.importorskip("jax")
    assert rp.check(wrapper(weights), inputs, mask, against="keras:jax")


def test_states_are_handed_to_each_layer_alone(weights, inputs):
    states = [np.full((B, H), value, "f") for value in (0.25, -0.5)]
    outputs = np.asarray(wrapper(weights)(inputs, initial_state=states))
    report = rp.check(wrapper(weights), inputs, initial_state=states, against=outputs)
    assert [check.verdict for check in report.checks] == ["parity", "parity"]
    with pytest.raises(InputError, match="initial states, do not tell apart"):
        rp.check(wrapper(weights), inputs, initial_state=states, against=lambda x: outputs)
