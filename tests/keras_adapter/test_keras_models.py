"""Whole models: every recurrent layer on what really reaches it, and files that are none."""

import numpy as np
import pytest
from keras_layers import RNG, B, F, H, T, X, functional, keras, layers, tf

from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError

KERAS_3 = hasattr(keras, "ops")
TOKENS = np.array([[3, 1, 0, 2, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 4, 0, 2, 1]])


def plain(layer, *args, **kwargs):
    return np.asarray(layer(*args, **kwargs))


@pytest.mark.parametrize("mode", ka.MODES)
def test_embedding_mask_and_dense(mode):
    embedding = layers.Embedding(5, F, mask_zero=True)
    rnn, dense = layers.SimpleRNN(H, name="rnn"), layers.Dense(2)
    tokens = keras.Input((T,), dtype="int32")
    model = functional(embedding, rnn, dense, inputs=tokens)
    before = plain(model, TOKENS)
    (seen,) = ka.observe_model(model, TOKENS, mode)
    assert (seen.layer_name, seen.call) == ("rnn", None)
    assert np.array_equal(seen.mask, TOKENS != 0)
    assert np.array_equal(seen.inputs, np.asarray(embedding.embeddings)[TOKENS])
    assert seen.outputs.shape == (B, T, H)
    kernel, bias = map(np.asarray, dense.get_weights())
    np.testing.assert_allclose(seen.last_output @ kernel + bias, before, atol=1e-5)
    assert np.array_equal(plain(model, TOKENS), before)


@pytest.mark.parametrize("mode", ["eager", "xla"])
def test_masking_then_two_recurrent_layers(mode):
    first = layers.SimpleRNN(H, return_sequences=True, name="first")
    second = layers.SimpleRNN(2, go_backwards=True, name="second")
    model = functional(layers.Masking(0.0), first, second)
    x = X.copy()
    x[0, 2:] = x[2, 0] = 0.0
    one, two = ka.observe_model(model, x, mode)
    assert (one.layer_name, two.layer_name) == ("first", "second")
    assert np.array_equal(one.mask, np.any(x, axis=-1))
    assert np.array_equal(two.mask, one.mask)
    assert np.array_equal(two.inputs, one.outputs)
    assert two.weights.go_backwards
    np.testing.assert_allclose(two.last_output, plain(model, x), atol=1e-6)


def test_nested_models_and_layer_name():
    inner = functional(layers.SimpleRNN(F, return_sequences=True, name="deep"), name="inner")
    middle = functional(layers.Dense(F), inner, name="middle")
    model = functional(middle, layers.SimpleRNN(H, name="top"))
    seen = ka.observe_model(model, X)
    assert [one.layer_name for one in seen] == ["middle/inner/deep", "top"]
    assert np.array_equal(seen[1].inputs, seen[0].outputs)
    for name in ("deep", "middle/inner/deep"):
        (one,) = ka.observe_model(model, X, layer_name=name)
        assert np.array_equal(one.outputs, seen[0].outputs)
    with pytest.raises(InputError, match="one of middle/inner/deep, top, received 'nope'"):
        ka.observe_model(model, X, layer_name="nope")


@pytest.mark.parametrize("mode", ["graph", "predict"])
def test_shared_layer_called_twice(mode):
    rnn = layers.SimpleRNN(F, return_sequences=True)
    one, two = ka.observe_model(functional(rnn, layers.Dense(F), rnn), X, mode)
    assert (one.call, two.call) == (0, 1)
    assert one.layer_name == two.layer_name == rnn.name
    assert np.array_equal(one.inputs, X)
    assert not np.array_equal(one.outputs, two.outputs)
    np.testing.assert_allclose(one.outputs, plain(rnn, X), atol=1e-6)


@pytest.mark.parametrize("mode", ka.MODES)
def test_initial_state_wired_from_another_layer(mode):
    source, state = keras.Input((T, F)), keras.Input((2,))
    start = layers.Dense(H, name="start")
    _, encoded = layers.SimpleRNN(H, return_state=True, name="encoder")(
        source, initial_state=start(state)
    )
    outputs = layers.SimpleRNN(H, return_sequences=True, name="decoder")(
        source, initial_state=[encoded]
    )
    model = keras.Model([source, state], outputs)
    given = RNG.normal(size=(B, 2)).astype("float32")
    encoder, decoder = ka.observe_model(model, [X, given], mode)
    np.testing.assert_allclose(*encoder.initial_state, plain(start, given), atol=1e-6)
    assert np.array_equal(decoder.initial_state, encoder.final_state)
    assert encoder.last_output is not None
    assert decoder.last_output is None
    np.testing.assert_allclose(decoder.outputs, plain(model, [X, given]), atol=1e-6)


def test_sequential_subclassed_and_dictionary_inputs():
    sequential = keras.Sequential([layers.SimpleRNN(H, name="a"), layers.Dense(1)])
    (seen,) = ka.observe_model(sequential, X)
    assert seen.layer_name == "a"

    class Block(layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.rnn = layers.SimpleRNN(H, name="rnn")

        def call(self, x):
            return self.rnn(x)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.block, self.unused = Block(), layers.SimpleRNN(H, name="unused")

        def call(self, x):
            return self.block(x["x"])

    for mode in ka.MODES:
        called, silent = ka.observe_model(Model(), {"x": X}, mode)
        assert called.layer_name == "block/rnn"
        assert called.outputs.shape == (B, T, H)
        assert silent.weights is None
        assert silent.not_compared.startswith("SimpleRNN 'unused' was not seen to run: ")


def test_stateful_model_and_mask_argument():
    inputs = keras.Input(batch_shape=(B, T, F))
    rnn = layers.SimpleRNN(H, stateful=True)
    model = functional(rnn, inputs=inputs)
    mask = TOKENS > 0
    (first,) = ka.observe_model(model, X, "graph", mask=mask)
    (second,) = ka.observe_model(model, X, "graph")
    assert np.array_equal(first.mask, mask)
    assert not np.any(first.initial_state)
    assert np.array_equal(second.initial_state, first.final_state)
    assert np.array_equal(rnn.states[0], *second.final_state)


class Branching(keras.Model):
    def __init__(self):
        super().__init__()
        self.rnn = layers.SimpleRNN(H)

    def call(self, x):
        if tf.reduce_sum(x) > 1e6:
            x = -x
        return self.rnn(x)


def test_python_branches_on_tensors_are_converted_where_keras_converts_them():
    model = Branching()
    model(X)
    (eager,) = ka.observe_model(model, X, "eager")
    if KERAS_3:
        with pytest.raises(TypeError, match="symbolic"):
            tf.function(model)(X)
        with pytest.raises(InputError, match="symbolic"):
            ka.observe_model(model, X, "graph")
    else:
        (graph,) = ka.observe_model(model, X, "graph")
        np.testing.assert_allclose(graph.outputs, eager.outputs, atol=1e-6)
        np.testing.assert_allclose(tf.function(model)(X), eager.last_output, atol=1e-6)


def test_layer_inside_a_tf_function_is_not_compared():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.rnn = layers.SimpleRNN(H, name="hidden")

        @tf.function
        def call(self, x):
            return self.rnn(x)

    for mode in ka.MODES:
        model = Model()
        for _ in range(2):
            (seen,) = ka.observe_model(model, X, mode)
            assert "calls it inside a tf.function or loop of its own" in seen.not_compared


def test_model_without_recurrent_layers_and_no_model():
    model = functional(layers.Dense(2))
    assert ka.is_model(model)
    assert ka.observe_model(model, X) == []
    assert not ka.is_model(model.layers[-1])
    with pytest.raises(InputError, match=r"expected a model of tf\.keras"):
        ka.observe_model(model.layers[-1], X)


def test_wrong_inputs_in_one_line():
    model = functional(layers.SimpleRNN(H))
    for mode in ka.MODES:
        with pytest.raises(InputError, match="inputs: expected shape") as caught:
            ka.observe_model(model, X[:, :, :2], mode)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ka.MODES)
def test_mask_that_keras_loses_is_noted(mode):
    """Keras 3 drops a propagated mask as soon as the layer is called with an initial state."""
    tokens, state = keras.Input((T,), dtype="int32"), keras.Input((H,))
    embedded = layers.Embedding(5, F, mask_zero=True)(tokens)
    rnn = layers.SimpleRNN(H, return_sequences=True)
    model = keras.Model([tokens, state], rnn(embedded, initial_state=state))
    given = np.ones((B, H), "float32")
    (seen,) = ka.observe_model(model, [TOKENS, given], mode)
    outputs = plain(model, [TOKENS, given])
    assert np.array_equal(outputs[0, 4], outputs[0, 5]) == (not KERAS_3)
    assert (seen.mask is None) == KERAS_3
    assert [note.split(":")[0] for note in seen.notes] == KERAS_3 * [
        "the inputs carry a mask, but Keras does not hand it to this layer because it is also "
        "given an initial state"
    ]
