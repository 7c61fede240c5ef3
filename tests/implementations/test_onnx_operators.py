"""ONNX's recurrent operators as layers, worked out by hand."""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.onnx.operators import directions, operator_layers
from rnn_parity.recurrence.cells import GRU, LSTM, SimpleRNN


def numbered(op_type, gates, units=2, features=1, count=1):
    """Weights whose hundreds tell the gate in ONNX's order, and whose tens tell the unit."""
    rows = np.array([[100 * g + 10 * j] for g in range(gates) for j in range(units)], float)
    W = np.stack([rows + np.arange(features)] * count).astype(np.float32)
    R = np.stack([1000 + rows + np.arange(units)] * count).astype(np.float32)
    Wb, Rb = rows[:, 0] + 0.5, 2 * rows[:, 0]
    B = np.stack([np.concatenate([Wb, Rb])] * count).astype(np.float32)
    return {"W": W, "R": R, "B": B}


def test_the_gates_of_an_lstm_are_put_in_order():
    # ONNX: i 0, o 1, f 2, c 3; Keras: i, f, c, o.
    layer = operator_layers("LSTM", {}, numbered("LSTM", 4))["forward"]
    assert isinstance(layer, LSTM)
    assert layer.kernel.tolist() == [[0, 10, 200, 210, 300, 310, 100, 110]]
    assert layer.recurrent_kernel.tolist() == [
        [1000, 1010, 1200, 1210, 1300, 1310, 1100, 1110],
        [1001, 1011, 1201, 1211, 1301, 1311, 1101, 1111],
    ]
    # Wb + Rb = 3 rows + 0.5
    assert layer.bias.tolist() == [0.5, 30.5, 600.5, 630.5, 900.5, 930.5, 300.5, 330.5]
    assert (layer.activation.name, layer.recurrent_activation.name) == ("tanh", "sigmoid")


def test_the_gates_of_a_gru_are_in_order():
    layer = operator_layers("GRU", {}, numbered("GRU", 3))["forward"]
    assert isinstance(layer, GRU)
    assert layer.kernel.tolist() == [[0, 10, 100, 110, 200, 210]]
    assert not layer.reset_after
    assert layer.bias.tolist() == [0.5, 30.5, 300.5, 330.5, 600.5, 630.5]


def test_a_gru_that_resets_after_keeps_both_biases():
    layer = operator_layers("GRU", {"linear_before_reset": 1}, numbered("GRU", 3))["forward"]
    assert layer.reset_after
    assert layer.bias.tolist() == [
        [0.5, 10.5, 100.5, 110.5, 200.5, 210.5],
        [0, 20, 200, 220, 400, 420],
    ]
    arrays = numbered("GRU", 3)
    del arrays["B"]
    assert operator_layers("GRU", {"linear_before_reset": 1}, arrays)["forward"].bias is None


def test_biases_that_cancel_are_added_one_by_one():
    # float32 has steps of 2**-14 near 1000: 0.3 + 1000 is rounded to 16388915 of them, and 999.9 is
    # 16382362; their difference is 6553. Where the two biases are added first it is 0.3 + 1638 of
    # them, rounded to steps of 2**-25.
    arrays = {"W": [[[1]]], "R": [[[0]]], "B": [[1000, -999.9]]}
    arrays = {name: np.array(array, np.float32) for name, array in arrays.items()}
    layer = operator_layers("RNN", {"activations": ["Relu"]}, arrays)["forward"]
    assert layer.bias.tolist() == [1638 / 2**14]
    x = np.full((1, 1, 1), 0.3, np.float32)
    for outputs in (6553 / 2**14, 0.3 + 1638 / 2**14):
        assert rp.compare(layer, x, np.full((1, 1, 1), outputs)).verdict == "parity"
    # Two products and two biases: 4 / 2**24 (0.3 + 1000 + 999.9) = 4.8e-4.
    for error in (-5e-4, 5e-4):
        observed = np.full((1, 1, 1), 0.3 + 1638 / 2**14 + error)
        assert rp.compare(layer, x, observed).verdict == "diverged"


def test_two_directions_are_two_layers():
    arrays = numbered("RNN", 1, count=2)
    arrays["W"][1] += 7
    found = operator_layers("RNN", {"direction": "bidirectional"}, arrays)
    assert list(found) == ["forward", "backward"]
    assert all(isinstance(layer, SimpleRNN) for layer in found.values())
    assert found["forward"].kernel.tolist() == [[0, 10]]
    assert found["backward"].kernel.tolist() == [[7, 17]]
    assert [layer.go_backwards for layer in found.values()] == [False, True]
    assert all(layer.zero_output_for_mask for layer in found.values())
    (name,) = operator_layers("RNN", {"direction": "reverse"}, numbered("RNN", 1))
    assert name == "backward"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_is_that_of_the_weights(dtype):
    arrays = {name: array.astype(dtype) for name, array in numbered("RNN", 1).items()}
    assert operator_layers("RNN", {}, arrays)["forward"].precision.name == dtype


@pytest.mark.parametrize(
    ("name", "alpha", "beta", "keras"),
    [
        ("Relu", None, None, "relu"),
        ("TANH", None, None, "tanh"),
        ("Sigmoid", None, None, "sigmoid"),
        ("Softsign", None, None, "softsign"),
        ("Softplus", None, None, "softplus"),
        ("Affine", 1.0, 0.0, "linear"),
        ("ScaledTanh", 1.0, 1.0, "tanh"),
        ("Elu", None, None, "elu"),
        ("ThresholdedRelu", None, None, "ThresholdedReLU"),
        ("LeakyRelu", 0.2, None, "leaky_relu"),
        ("LeakyRelu", 0.3, None, "LeakyReLU"),
        ("HardSigmoid", None, None, "hard_sigmoid_keras2"),
        ("HardSigmoid", 1 / 6, None, "hard_sigmoid"),
    ],
)
def test_activations_that_keras_has(name, alpha, beta, keras):
    attributes = {"activations": [name]}
    # What an attribute holds is a float32.
    attributes |= {} if alpha is None else {"activation_alpha": [float(np.float32(alpha))]}
    attributes |= {} if beta is None else {"activation_beta": [beta]}
    assert (
        operator_layers("RNN", attributes, numbered("RNN", 1))["forward"].activation.name == keras
    )


def test_alphas_are_consumed_by_the_activations_that_use_them():
    attributes = {
        "activations": ["HardSigmoid", "Elu", "Elu", "Sigmoid", "LeakyRelu", "LeakyRelu"],
        "activation_alpha": [float(np.float32(1 / 6)), 1.0, 1.0, *[float(np.float32(0.3))] * 2],
        "activation_beta": [0.5],
        "direction": "bidirectional",
    }
    found = operator_layers("LSTM", attributes, numbered("LSTM", 4, count=2))
    names = [(one.recurrent_activation.name, one.activation.name) for one in found.values()]
    assert names == [("hard_sigmoid", "elu"), ("sigmoid", "LeakyReLU")]


@pytest.mark.parametrize(
    ("op_type", "attributes", "more", "said"),
    [
        ("LSTM", {"input_forget": 1}, {}, "input_forget=1"),
        ("GRU", {"output_sequence": 1}, {}, "output_sequence=1"),
        ("RNN", {"direction": "sideways"}, {}, "received 'sideways'"),
        ("RNN", {"activations": ["LeakyRelu"]}, {}, "LeakyRelu alpha=0.01 is not replayed"),
        ("RNN", {"activations": ["Affine"]}, {}, "Affine alpha=None beta=None"),
        ("RNN", {"activations": ["Gelu"]}, {}, "the activation Gelu is not replayed"),
        ("GRU", {"activations": ["Tanh"]}, {}, "expected 2 of them for GRU, received Tanh"),
        ("RNN", {"activation_alpha": [1.0]}, {}, "as many as the activations use"),
    ],
)
def test_what_is_not_replayed_is_refused_by_name(op_type, attributes, more, said):
    arrays = numbered(op_type, {"RNN": 1, "LSTM": 4, "GRU": 3}[op_type])
    with pytest.raises(UnsupportedError) as caught:
        operator_layers(op_type, attributes, {**arrays, **more})
    assert said in str(caught.value)


def test_input_forget_of_0_is_none():
    assert operator_layers("LSTM", {"input_forget": 0}, numbered("LSTM", 4))


def test_an_alpha_of_a_fifth_is_none_in_float64():
    arrays = {name: array.astype(np.float64) for name, array in numbered("RNN", 1).items()}
    attributes = {"activations": ["LeakyRelu"], "activation_alpha": [float(np.float32(0.2))]}
    with pytest.raises(UnsupportedError, match=r"LeakyRelu alpha=0\.2000000029"):
        operator_layers("RNN", attributes, arrays)


@pytest.mark.parametrize("name", ["W", "R", "B"])
def test_weights_of_another_shape(name):
    arrays = numbered("LSTM", 4)
    arrays[name] = np.concatenate([arrays[name]] * 2)
    with pytest.raises(InputError, match=rf"{name} of LSTM: expected shape"):
        operator_layers("LSTM", {}, arrays)


def test_the_axes_of_both_layouts():
    rng = np.random.default_rng(0)
    T, B, H = 5, 3, 2
    arrays = numbered("LSTM", 4, count=2)
    arrays |= {"X": rng.normal(size=(T, B, 1)), "Y": rng.normal(size=(T, 2, B, H))}
    states = {name: rng.normal(size=(2, B, H)) for name in ("initial_h", "initial_c", "Y_h", "Y_c")}
    lengths = np.array([5, 2, 0])
    attributes = {"direction": "bidirectional"}
    first = directions("LSTM", attributes, {**arrays, **states, "sequence_lens": lengths})
    moved = {name: state.swapaxes(0, 1) for name, state in states.items()}
    moved |= {"X": arrays["X"].swapaxes(0, 1), "Y": arrays["Y"].transpose(2, 0, 1, 3)}
    second = directions("LSTM", {**attributes, "layout": 1}, {**arrays, **moved})
    for d, (one, other) in enumerate(zip(first, second, strict=True)):
        assert one.layer_name == other.layer_name == ("forward", "backward")[d]
        assert np.array_equal(one.inputs, arrays["X"].swapaxes(0, 1))
        assert np.array_equal(other.inputs, one.inputs)
        in_order = arrays["Y"][:: -1 if d else 1, d].swapaxes(0, 1)
        assert np.array_equal(one.outputs, in_order)
        assert np.array_equal(other.outputs, in_order)
        for found in (one, other):
            assert np.array_equal(found.initial_state[1], states["initial_c"][d])
            assert np.array_equal(found.final_state[0], states["Y_h"][d])
        assert one.mask.tolist() == [[True] * 5, [True] * 2 + [False] * 3, [False] * 5]
        assert other.mask is None


def test_one_of_two_initial_states():
    rng = np.random.default_rng(0)
    c = rng.normal(size=(1, 3, 2))
    arrays = {**numbered("LSTM", 4), "X": rng.normal(size=(5, 3, 1)), "initial_c": c}
    (found,) = directions("LSTM", {}, {**arrays, "Y_h": np.zeros((1, 3, 2))})
    assert not found.initial_state[0].any()
    assert np.array_equal(found.initial_state[1], c[0])
