"""What Keras refuses, in plain words: through Python, with real layers and models."""

import numpy as np
import pytest
import tensorflow as tf

import rnn_parity as rp
from rnn_parity.errors import InputError

X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
H = np.zeros((4, 6), "float32")
LAYERS = tf.keras.layers
KERAS_3 = hasattr(tf.keras, "ops")


def refused(layer, inputs=X, **data):
    with pytest.raises(InputError) as error:
        rp.check(layer, inputs, **data)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def lstm():
    layer = LAYERS.LSTM(6, return_sequences=True)
    layer.build((None, None, 3))
    return layer


@pytest.mark.parametrize("mode", ["eager", "graph", "predict"])
@pytest.mark.parametrize(
    ("state", "received"),
    [
        (H, "received 1 state"),
        ([H], "received 1 state"),
        ([H, H, H], "received 3 states"),
        ((H[:3], H[:3]), "received shape (3, 6)"),
        ((H, H[:, :5]), "received shape (4, 6), (4, 5)"),
    ],
)
def test_states_that_do_not_fit_an_lstm(lstm, state, received, mode):
    expected = "initial_state: expected (h, c) for LSTM, each of shape (4, 6), "
    assert refused(lstm, initial_state=state, mode=mode) == expected + received


def test_states_that_do_not_fit_other_layers():
    said = refused(LAYERS.GRU(6), initial_state=H[:3])
    assert said.startswith("initial_state: expected h for GRU, of shape (4, 6), received shape (3")
    both = LAYERS.Bidirectional(LAYERS.LSTM(6))
    assert refused(both, initial_state=[H, H]) == (
        "initial_state: expected forward (h, c), backward (h, c) for Bidirectional, each of shape "
        "(4, 6), received 2 states"
    )
    stack = LAYERS.RNN([LAYERS.LSTMCell(6), LAYERS.GRUCell(2)])
    assert refused(stack, initial_state=[H]) == (
        "initial_state: expected (h, c), h for RNN, each of shape (4, 6) or (4, 2), received 1 "
        "state"
    )


def test_inputs_that_do_not_fit_a_layer(lstm):
    assert refused(lstm, X[0]) == "inputs: expected shape (batch, timesteps, 3), received (5, 3)"
    assert refused(lstm, X[..., :2]) == (
        "inputs: expected shape (batch, timesteps, 3), received (4, 5, 2)"
    )
    unbuilt = refused(LAYERS.LSTM(6), X[0])
    assert unbuilt == "inputs: expected shape (batch, timesteps, features), received (5, 3)"


def test_masks_and_inputs_that_do_not_fit_a_model():
    model = tf.keras.Sequential([tf.keras.Input((5, 3), name="x"), LAYERS.LSTM(6)])
    assert refused(model, mask=np.ones((3, 5), bool)) == (
        "mask: expected shape (4, 5), the batch and timesteps of the inputs, received (3, 5)"
    )
    assert refused(model, X[..., :2]).endswith(" (None is any size), received (4, 5, 2)")
    assert refused(model, X[..., :2]).startswith("inputs: expected shape (None, 5, 3) for '")


def test_what_fits_is_refused_in_the_words_of_keras():
    stateful = LAYERS.LSTM(6, stateful=True)
    assert rp.check(stateful, X)
    assert "Keras refused: " in refused(stateful, X[:2])


def test_what_keras_takes_is_taken(lstm):
    assert rp.check(lstm, X, initial_state=(H, H))
    model = tf.keras.Sequential([tf.keras.Input((5, 3)), LAYERS.LSTM(6)])
    assert rp.check(model, X[:, :4])


def test_a_cell_of_somebodys_own_may_take_what_it_likes():
    class Cell(LAYERS.Layer):
        units, state_size, output_size = 6, 6, 6

        def call(self, inputs, states):
            raise ValueError("not these")

    said = refused(LAYERS.RNN(Cell()), X, initial_state=[H, H])
    assert said.startswith("layer 'rnn")
    assert "Keras refused: " in said


def test_the_class_of_a_layer_is_no_layer():
    assert refused(LAYERS.LSTM).endswith("received the class LSTM; make one of it: LSTM(...)")


def test_the_state_of_a_seed_generator_is_no_activation():
    layer = LAYERS.LSTM(6, dropout=0.5)
    layer.build((None, None, 3))
    if len(layer.variables) == 3:
        pytest.skip("this Keras holds no seed generator in layer.variables")
    with pytest.raises(InputError, match=r"received an array of shape \(2,\); layer.variables"):
        rp.LSTM(*layer.variables)
    with pytest.raises(InputError, match=r"take layer\.get_weights\(\)$"):
        rp.LSTM(*[np.asarray(one) for one in layer.variables])
    assert rp.LSTM(*layer.get_weights()).units == 6


def test_mistyped_words_of_a_layer_get_the_nearest_right_one():
    from rnn_parity import keras_adapter

    def built(kind="lstm", dtype=None, **arguments):
        with pytest.raises(InputError) as error:
            keras_adapter.build_layer(kind, 4, 3, arguments, dtype, 0, None)
        return str(error.value)

    assert built(activation="tahn").endswith("; did you mean tanh?")
    assert built(go_backward=True).endswith("; did you mean go_backwards?")
    assert built("bidirectional", merge_mod="sum").endswith("; did you mean merge_mode?")
    assert "; did you mean lstm? expected one of simple_rnn, lstm, " in built("lsmt")
    assert "; did you mean float32? expected one of " in built(dtype="flaot32")
    assert "; did you mean lstm? expected one of " in built("bidirectional", layer="LSMT")
    assert "did you mean" not in built(activation=3.5)
    if KERAS_3:  # Keras 2 takes it
        assert "did you mean" not in built(activation="LeakyReLU")
