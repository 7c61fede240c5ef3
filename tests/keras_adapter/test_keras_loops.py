"""Layers that run inside others: in every slice, in loops, under names of their own, or nowhere."""

import numpy as np
import pytest
from keras_layers import (
    ADDS,
    COUNT,
    MASK,
    RNG,
    B,
    F,
    H,
    T,
    X,
    layers,
    plain,
    randomised,
    tf,
    verdicts,
)

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import keras_major

keras = tf.keras
SLICES = 2
MOVIE = RNG.normal(size=(B, SLICES, T, F)).astype("float32")
FOLDED = [(b, t) for b in range(B) for t in range(SLICES)]


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.SimpleRNN(H, name="inner")

    def build(self, shape):
        self.inner.build(shape)
        self.built = True

    def call(self, x, mask=None):
        return self.inner(x, mask=mask)


def not_compared(model, data=X, mode="graph"):
    observe = ka.observe_model if ka.is_model(model) else ka.observe_layer
    return {seen.layer_name: seen.not_compared for seen in observe(model, data, mode=mode)}


@pytest.mark.parametrize("mode", ka.MODES)
def test_every_slice_by_hand(mode):
    inner = layers.SimpleRNN(1, return_sequences=True, name="add", **ADDS)
    layer = layers.TimeDistributed(inner, name="each")
    movie = np.stack([COUNT, 10 * COUNT], axis=1)
    (seen,) = ka.observe_layer(layer, movie, mode=mode)
    assert (seen.layer_name, seen.call) == ("each/add", None)
    assert seen.inputs[..., 0].tolist() == [[1, 2, 4], [10, 20, 40]]
    assert seen.outputs[..., 0].tolist() == [[1, 3, 7], [10, 30, 70]]
    assert rp.check(layer, movie, mode=mode)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_every_slice_with_its_mask(mode):
    layer = layers.TimeDistributed(layers.LSTM(H), name="each")
    layer.build((B, SLICES, T, F))
    mask = RNG.random((B, SLICES, T)) < 0.6
    (seen,) = ka.observe_layer(layer, MOVIE, mask, mode=mode)
    for i, (b, t) in enumerate(FOLDED):
        assert np.array_equal(seen.inputs[i], MOVIE[b, t])
        assert np.array_equal(seen.mask[i], mask[b, t])
    (expected,) = plain(layer, MOVIE, mask=tf.constant(mask))
    np.testing.assert_allclose(seen.last_output.reshape(B, SLICES, H), expected, atol=1e-6)
    assert rp.check(layer, MOVIE, mask, mode=mode)


@pytest.mark.parametrize("mode", ["graph", "predict"])
def test_a_model_in_every_slice(mode):
    recurrent = layers.LSTM(H, return_sequences=True, name="lstm")
    both = layers.Bidirectional(layers.GRU(2, name="gru"), name="both")
    inner = keras.Sequential([keras.Input((T, F)), recurrent, both], name="inner")
    source = keras.Input((SLICES, T, F))
    each = layers.TimeDistributed(inner, name="each")(source)
    model = keras.Model(source, layers.SimpleRNN(3, name="top")(each))
    report = rp.check(model, MOVIE, mode=mode)
    parts = ["lstm", "both/forward/gru", "both/backward/gru", "both/merge"]
    names = [*(f"each/inner/{part}" for part in parts), "top"]
    assert verdicts(report) == dict.fromkeys(names, "parity")
    sizes = {check.subject.layer_name: check.shape.batch for check in report.checks}
    assert [sizes[name] for name in names] == [B * SLICES] * 4 + [B]


def test_a_layer_of_ones_own_in_every_slice():
    layer = layers.TimeDistributed(Block(name="block"), name="each")
    found = not_compared(randomised(layer, MOVIE.shape), MOVIE)
    assert list(found) == ["each/block/inner"]
    # Keras 2 runs such a layer in a loop of its own where it knows the size of the batch.
    assert ("loop of its own" in str(found["each/block/inner"])) == (keras_major() == 2)


def test_slices_that_depend_on_each_other_stay_apart():
    layer = layers.TimeDistributed(layers.SimpleRNN(H, stateful=True, name="rnn"), name="each")
    layer.build((B, SLICES, T, F))
    found = ka.observe_layer(layer, MOVIE, mode="eager")
    calls = found[-SLICES:]
    assert [seen.layer_name for seen in calls] == ["each/rnn"] * SLICES
    assert np.array_equal(calls[1].initial_state, calls[0].final_state)


def test_parts_are_selected_by_any_whole_part_of_their_names():
    both = layers.Bidirectional(layers.LSTM(F, return_sequences=True, name="lstm"), name="both")
    source = keras.Input((T, F))
    model = keras.Model(source, layers.LSTM(H, name="lstm")(both(source)))
    counts = {"both": 3, "backward": 1, "lstm": 3, "both/merge": 1, "forward/lstm": 1}
    for wanted, count in counts.items():
        assert len(ka.observe_model(model, X, layer_name=wanted)) == count
    with pytest.raises(InputError, match="one of both/forward/lstm, both/backward/lstm, both/me"):
        ka.observe_model(model, X, layer_name="bot")


@pytest.mark.parametrize("mode", ["eager", "predict"])
def test_everything_in_one_model(mode):
    tokens = keras.Input((T,), dtype="int32")
    x = layers.Embedding(9, F, mask_zero=True)(tokens)
    shared = layers.LSTM(F, return_sequences=True, name="shared")
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True, name="gru"), name="both")
    x = layers.Add()([both(x), shared(x)])
    x = layers.Masking(0.0)(layers.Dense(F)(x))
    cells = [layers.LSTMCell(3, name="a"), layers.SimpleRNNCell(2, name="b")]
    x = layers.RNN(cells, name="rnn")(shared(x))
    model = keras.Model(tokens, x)
    data = RNG.integers(0, 9, (B, T)).astype("int32")
    data[:, 0] = 0
    report = rp.check(model, data, mode=mode)
    found = [(c.subject.layer_name, c.subject.call, c.verdict) for c in report.checks]
    assert sorted(found, key=str) == sorted(
        [
            ("both/forward/gru", None, "parity"),
            ("both/backward/gru", None, "parity"),
            ("both/merge", None, "parity"),
            ("shared", 0, "parity"),
            ("shared", 1, "parity"),
            ("rnn/cell_0/a", None, "parity"),
            ("rnn/cell_1/b", None, "parity"),
        ],
        key=str,
    )
    masks = {seen.layer_name: seen.mask for seen in ka.observe_model(model, data, mode)}
    assert np.array_equal(masks["both/backward/gru"], data != 0)


class Halves(layers.Layer):
    """A cell of a user's own: half of what was, and the inputs' mean."""

    state_size = output_size = units = 3

    def call(self, inputs, states, training=None):
        after = states[0] / 2 + tf.reduce_mean(inputs, axis=-1, keepdims=True)
        return after, [after]


@pytest.mark.parametrize("mode", ["eager", "predict"])
def test_what_is_not_replayed_is_named(mode):
    source = keras.Input((T, F))
    x = layers.RNN(Halves(), return_sequences=True, name="own")(source)
    cells = [layers.GRUCell(2, name="gru"), Halves(name="halves"), layers.LSTMCell(4, name="lstm")]
    x = layers.RNN(cells, return_sequences=True, name="rnn")(x)
    x = layers.Reshape((T, 2, 2, 1))(x)
    convolved = layers.ConvLSTM2D(1, 1, return_sequences=True, name="conv")
    x = layers.Bidirectional(convolved, name="both")(x)
    x = layers.ConvLSTM2D(1, 1, name="conv")(x)
    model = keras.Model(source, x)
    halves = (
        "RNN with the cell Halves is not replayed; how to describe one: rnn-parity explain cells"
    )
    assert not_compared(model, X, mode) == {
        "own": halves,
        "rnn/cell_0/gru": None,
        "rnn/cell_1/halves": halves,
        "rnn/cell_2/lstm": None,
        "both/forward/conv": "ConvLSTM2D is not replayed",
        "both/backward/conv": "ConvLSTM2D is not replayed",
        "both/merge": "the merge of a Bidirectional is Keras's own, and no other implementation's",
        "conv": "ConvLSTM2D is not replayed",
    }
    report = rp.check(model, X, mode=mode)
    assert (report.exit_code, verdicts(report)["both/merge"]) == (3, "parity")


class Loops(keras.Model):
    """Runs a cell step by step, and one layer twice: once where nobody can look."""

    def __init__(self):
        super().__init__()
        self.cell = layers.LSTMCell(F, name="cell")
        self.rnn = layers.GRU(F, return_sequences=True, name="rnn")

    def call(self, x):
        state = [tf.zeros((B, F))] * 2
        for t in range(T):
            output, state = self.cell(x[:, t], state)
        return output[:, tf.newaxis] + tf.function(self.rnn)(self.rnn(x))


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_what_runs_out_of_sight_is_named(mode):
    model = Loops()
    model(X)
    found = ka.observe_model(model, X, mode)
    assert [seen.layer_name for seen in found] == ["cell", "rnn", "rnn"]
    assert found[0].not_compared == "LSTMCell is called step by step by a layer of the model's own"
    assert found[1].not_compared is None
    assert "inside a tf.function or loop of its own" in found[2].not_compared


def test_a_layer_that_holds_recurrent_ones():
    block = randomised(Block(name="block"))
    (seen,) = ka.observe_layer(block, X, MASK)
    assert seen.layer_name == "block/inner"
    assert np.array_equal(seen.mask, MASK)
    (dense,) = ka.observe_layer(layers.Dense(2, name="dense"), X)
    assert (dense.layer_name, dense.not_compared) == ("dense", "Dense is not replayed")
