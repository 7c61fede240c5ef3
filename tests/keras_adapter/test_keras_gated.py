"""LSTM and GRU of Keras: their weights as data, what they compute, and every way in which they run.

The numbers by hand are of one unit with linear activations, so that every gate is its own sum.
"""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.api.functions import observe_generated
from rnn_parity.api.generated import GeneratedLayer

tf = ka.tensorflow_module()
keras = tf.keras
KERAS_3 = hasattr(keras, "ops")

B, T, F, H = 2, 5, 3, 4
X = np.random.default_rng(7).normal(size=(B, T, F)).astype("float32")
SMALL = {"batch": 2, "timesteps": 6, "features": 5, "units": 4}
ONES = np.ones((1, 2, 1), np.float32)


def build(kind, dtype=None, **arguments):
    return ka.build_layer(kind, H, F, arguments, dtype, seed=1, batch=B)


def linear(kind, kernel, recurrent_kernel, bias, **options):
    """One linear unit with these weights."""
    make = getattr(keras.layers, kind)
    options = {"return_sequences": True, "return_state": True, **options}
    layer = make(1, activation=None, recurrent_activation=None, **options)
    layer.build((1, None, 1))
    for name, value in (("kernel", kernel), ("recurrent_kernel", recurrent_kernel), ("bias", bias)):
        getattr(layer.cell, name).assign(value)
    return layer


def lstm_by_hand(**options):
    """z = (1, 3, 3, 4), so c = 3 * 0 + 1 * 3 and h = 4 * 3; then i = 1 + 12 / 2, c = 3 * 3 + 7 * 3
    and h = 4 * 30.
    """
    return linear("LSTM", [[1, 2, 3, 4]], [[0.5, 0, 0, 0]], [0, 1, 0, 0], **options)


@pytest.mark.parametrize("mode", ka.MODES)
def test_lstm_by_hand(mode):
    (seen,) = ka.observe_layer(lstm_by_hand(), ONES, mode=mode)
    assert seen.outputs.ravel().tolist() == [12, 120]
    assert [state.item() for state in seen.final_state] == [120, 30]
    report = rp.check(lstm_by_hand(), ONES, mode=mode)
    assert (report.verdict, report.checks[0].max_deviation) == ("parity", 0)
    assert [row.name for row in report.checks[0].final_state] == ["h", "c"]


GRU_BY_HAND = [
    # X = (1/2, 2, 4) and R = (0, 0, 2): hh = 4 + 2 * 2 and h = 8 / 2; then R_h = 4 + 2,
    # hh = 4 + 2 * 6 and h = 4 / 2 + 16 / 2.
    (True, [[0, 0, 1], [0, 0, 2]], [4, 10]),
    # h = 4 / 2; then hh = 4 + (2 * 2) and h = 2 / 2 + 8 / 2.
    (False, [0, 0, 1], [2, 5]),
]


@pytest.mark.parametrize("mode", ka.MODES)
@pytest.mark.parametrize(("reset_after", "bias", "expected"), GRU_BY_HAND)
def test_gru_by_hand(mode, reset_after, bias, expected):
    layer = linear("GRU", [[0.5, 2, 3]], [[0, 0, 1]], bias, reset_after=reset_after)
    (seen,) = ka.observe_layer(layer, ONES, mode=mode)
    assert seen.outputs.ravel().tolist() == expected
    assert seen.final_state[0].item() == expected[-1]
    report = rp.check(layer, ONES, mode=mode)
    assert (report.verdict, report.checks[0].max_deviation) == ("parity", 0)


def test_a_pair_of_states_is_h_before_c():
    # i = 1 + 2 / 2, c = 3 * 10 + 2 * 3 and h = 4 * 36
    report = rp.check(lstm_by_hand(), ONES[:, :1], initial_state=([[2.0]], [[10.0]]))
    assert (report.verdict, report.checks[0].max_deviation) == ("parity", 0)
    (seen,) = ka.observe_layer(lstm_by_hand(), ONES[:, :1], initial_state=([[2.0]], [[10.0]]))
    assert [state.item() for state in seen.initial_state] == [2, 10]
    assert [state.item() for state in seen.final_state] == [144, 36]


def cells():
    layers, v1 = keras.layers, tf.compat.v1.keras.layers
    sequence = {"return_sequences": True}
    yield rp.LSTM, layers.LSTM(H, **sequence)
    yield rp.GRU, layers.GRU(H, reset_after=False, **sequence)
    yield rp.SimpleRNN, layers.RNN(layers.SimpleRNNCell(H), **sequence)
    yield rp.LSTM, layers.RNN(layers.LSTMCell(H), go_backwards=True, **sequence)
    yield rp.GRU, layers.RNN(layers.GRUCell(H, use_bias=False), **sequence)
    yield rp.LSTM, v1.LSTM(H, implementation=0, **sequence)
    yield rp.GRU, v1.GRU(H, **sequence)
    yield rp.GRU, layers.RNN(v1.GRUCell(H), **sequence)


@pytest.mark.parametrize("index", range(8))
def test_the_weights_and_options_are_the_cells(index):
    kind, layer = list(cells())[index]
    report = rp.check(layer, X)
    assert report.verdict == "parity", report.summary
    found, cell = ka.layer_weights(layer), layer.cell
    assert type(found) is kind
    assert found.go_backwards == layer.go_backwards
    assert np.array_equal(found.kernel, np.asarray(cell.kernel))
    assert np.array_equal(found.recurrent_kernel, np.asarray(cell.recurrent_kernel))
    assert (found.bias is None) == (not cell.use_bias)
    assert found.bias is None or np.array_equal(found.bias, np.asarray(cell.bias))
    assert getattr(found, "reset_after", None) == getattr(cell, "reset_after", None)


@pytest.mark.skipif(KERAS_3, reason="the layers of TensorFlow 1 are those of Keras 3")
def test_defaults_of_tensorflow_1():
    lstm, gru = (getattr(tf.compat.v1.keras.layers, name)(H) for name in ("LSTM", "GRU"))
    for layer in (lstm, gru):
        layer.build((B, T, F))
    assert ka.layer_weights(lstm).recurrent_activation.name == "hard_sigmoid_keras2"
    assert not ka.layer_weights(gru).reset_after


def test_the_forget_gates_bias():
    with_one, without = (build("lstm", unit_forget_bias=unit) for unit in (True, False))
    apart = ka.layer_weights(with_one).bias - ka.layer_weights(without).bias
    np.testing.assert_allclose(apart, np.repeat([0, 1, 0, 0], H), atol=1e-6)
    named = ka.layer_weights(build("lstm", bias_initializer="zeros"))
    assert named.bias.tolist() == np.repeat([0.0, 1.0, 0.0, 0.0], H).tolist()


@pytest.mark.parametrize("kind", ["simple_rnn", "lstm", "gru"])
def test_generated_states_differ(kind):
    spec = GeneratedLayer(kind, **SMALL, initial_state="random")
    (seen,) = observe_generated(spec, None, None, "eager")
    assert len(seen.initial_state) == len(seen.final_state) == (2 if kind == "lstm" else 1)
    values = np.ravel(seen.initial_state)
    assert len(set(values.tolist())) == values.size
