"""Whole models: every recurrent layer on what really reaches it, and files that are none."""

import io
import os
import zipfile

import numpy as np
import pytest

from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError

tf = ka.tensorflow_module()
keras = tf.keras
layers = keras.layers
KERAS_3 = hasattr(keras, "ops")

B, T, F, H = 3, 6, 4, 5
RNG = np.random.default_rng(11)
X = RNG.normal(size=(B, T, F)).astype("float32")
TOKENS = np.array([[3, 1, 0, 2, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 4, 0, 2, 1]])


def functional(*stack, inputs=None, name=None):
    inputs = keras.Input((T, F)) if inputs is None else inputs
    x = inputs
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


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
    with pytest.raises(InputError) as caught:
        ka.observe_model(model, X, layer_name="nope")
    assert str(caught.value) == (
        "layer name: expected one of middle/inner/deep, top, received 'nope'"
    )


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
    np.testing.assert_allclose(encoder.initial_state, plain(start, given), atol=1e-6)
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


@pytest.mark.parametrize("mode", ["eager", "predict"])
def test_wrappers_and_other_layers_are_named(mode):
    model = functional(
        layers.Bidirectional(layers.SimpleRNN(H, return_sequences=True), name="both"),
        layers.LSTM(F, return_sequences=True, name="lstm"),
        layers.RNN(layers.StackedRNNCells([layers.GRUCell(F)]), return_sequences=True, name="gru"),
        layers.Reshape((T, F, 1)),
        layers.TimeDistributed(layers.SimpleRNN(F), name="each"),
        layers.TimeDistributed(layers.Dense(F)),
        layers.SimpleRNN(H, name="last"),
    )
    seen = {one.layer_name: one for one in ka.observe_model(model, X, mode)}
    assert {name: one.not_compared for name, one in seen.items()} == {
        "both": "Bidirectional is not replayed yet, nor are the layers inside it",
        "lstm": "LSTM is not replayed yet",
        "gru": "RNN with the cell StackedRNNCells is not replayed",
        "each": "TimeDistributed is not replayed yet, nor are the layers inside it",
        "last": None,
    }
    assert seen["both"].outputs.shape == (B, T, 2 * H)


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
    assert np.array_equal(rnn.states[0], second.final_state)


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
            assert seen.weights is None
            assert "calls it inside a tf.function or loop of its own" in seen.not_compared


def test_model_without_recurrent_layers_and_no_model():
    assert ka.observe_model(functional(layers.Dense(2)), X) == []
    with pytest.raises(InputError, match=r"expected a model of tf\.keras"):
        ka.observe_model(layers.Dense(2), X)


def test_wrong_inputs_in_one_line():
    model = functional(layers.SimpleRNN(H))
    for mode in ka.MODES:
        with pytest.raises(InputError, match="Keras refused: ") as caught:
            ka.observe_model(model, X[:, :, :2], mode)
        assert "\n" not in str(caught.value)


def test_signature_and_generated_inputs():
    tokens, numbers = keras.Input((None,), name="tokens"), keras.Input((None, F), name="numbers")
    state = keras.Input((H,), name="state")
    embedded = layers.Embedding(7, F, mask_zero=True)(tokens)
    masked = layers.Masking(-1.0)(numbers)
    outputs = layers.SimpleRNN(H)(layers.Add()([embedded, masked]), initial_state=state)
    model = keras.Model([tokens, numbers, state], outputs)
    signature = ka.input_signature(model)
    assert [(one.name, one.shape, one.dtype) for one in signature] == [
        ("tokens", (None, None), "float32"),
        ("numbers", (None, None, F), "float32"),
        ("state", (None, H), "float32"),
    ]
    made = ka.generate_inputs(model, batch=8, timesteps=9, seed=3)
    assert [one.shape for one in made] == [(8, 9), (8, 9, F), (8, H)]
    assert set(np.unique(made[0])) <= set(range(7))
    assert 0 in made[0]
    steps_masked = np.all(made[1] == -1.0, axis=-1)
    assert 0 < steps_masked.sum() < steps_masked.size
    assert np.all(made[2] != np.round(made[2]))
    again = ka.generate_inputs(model, batch=8, timesteps=9, seed=3)
    assert all(map(np.array_equal, made, again))
    (seen,) = ka.observe_model(model, made)
    assert np.array_equal(seen.initial_state, made[2].astype("float32"))


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


def test_generated_inputs_respect_fixed_sizes_and_integers():
    model = functional(
        layers.Embedding(3, F),
        layers.SimpleRNN(H),
        inputs=keras.Input(batch_shape=(2, T), dtype="int64"),
    )
    made = ka.generate_inputs(functional(model, inputs=keras.Input(batch_shape=(2, T))), 8, 9, 0)
    assert made.shape == (2, T)
    assert set(np.unique(made)) <= {0, 1, 2}
    assert ka.generate_inputs(model, 8, 9, 0).dtype == np.int64
    ka.observe_model(model, made)


def test_model_without_signature():
    with pytest.raises(InputError, match="does not say which inputs it takes: pass them"):
        ka.generate_inputs(keras.Sequential([layers.SimpleRNN(H)]), 1, 1, 0)


# --- files


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The same model in both formats."""
    folder = tmp_path_factory.mktemp("models")
    model = functional(layers.SimpleRNN(H, name="rnn"), layers.Dense(2))
    for suffix in ("keras", "h5"):
        model.save(folder / f"model.{suffix}")
    return model, folder


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_saved_model_gives_the_same_numbers(saved, suffix):
    model, folder = saved
    (expected,) = ka.observe_model(model, X)
    (seen,) = ka.observe_model(ka.load_model(folder / f"model.{suffix}"), X)
    assert seen.layer_name == "rnn"
    assert np.array_equal(seen.outputs, expected.outputs)


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        ka.load_model(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.keras", None, "cannot be read: No such file or directory"),
        ("empty.h5", b"", "expected a saved model, received an empty file"),
        ("text.keras", b"hello, world", "expected Keras content by the extension, received some"),
        (
            "hdf5.keras",
            b"\x89HDF\r\n\x1a\n12345",
            "received HDF5 content; give it its own extension",
        ),
        ("model.onnx", b"x", "expected a model file (.keras, .h5, .hdf5), received the extension"),
    ],
)
def test_files_that_are_no_models(tmp_path, name, content, expected):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert expected in refusal(tmp_path / name)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_truncated_files(saved, tmp_path, suffix):
    content = (saved[1] / f"model.{suffix}").read_bytes()
    path = tmp_path / f"half.{suffix}"
    path.write_bytes(content[: len(content) // 2])
    assert "truncated or damaged (" in refusal(path)


def test_directories(tmp_path):
    assert "received a directory" in refusal(tmp_path)
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"x")
    assert "received a SavedModel folder, which Keras 3 cannot load as layers" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\x03\x04")
    path.chmod(0)
    assert "cannot be read: Permission denied" in refusal(path)


def test_other_zip_and_weights_alone(saved, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "a")
    path = tmp_path / "zip.keras"
    path.write_bytes(buffer.getvalue())
    assert "expected a whole model, received one without 'metadata.json'" in refusal(path)
    weights = tmp_path / "model.weights.h5"
    saved[0].save_weights(weights)
    assert "received one without 'model_config'; save it with model.save()" in refusal(weights)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_lambda_is_refused_until_allowed(tmp_path, suffix):
    path = tmp_path / f"lambda.{suffix}"
    doubled = layers.Lambda(lambda x: 2.0 * x)
    functional(doubled, layers.SimpleRNN(H)).save(path)
    assert "holds Python code (a Lambda layer)" in refusal(path)
    assert "pass --unsafe to allow it, only for a file that you trust" in refusal(path)
    (seen,) = ka.observe_model(ka.load_model(path, safe_mode=False), X)
    assert np.array_equal(seen.inputs, 2.0 * X)


class Scale(layers.Layer):
    def call(self, x):
        return 2.0 * x


def bent(x):
    return tf.tanh(x) + 0.1 * x


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("custom", [Scale, bent], ids=["layer", "activation"])
def test_unregistered_objects_are_named(tmp_path, suffix, custom):
    path = tmp_path / f"custom.{suffix}"
    stack = [Scale()] if custom is Scale else []
    activation = {} if custom is Scale else {"activation": bent}
    functional(*stack, layers.SimpleRNN(H, **activation)).save(path)
    name = custom.__name__
    assert f"uses {name!r}, which is not registered with Keras" in refusal(path)
    if suffix == "h5" and custom is bent and not KERAS_3:
        return  # Keras 2 cannot read this file of its own
    model = ka.load_model(path, custom_objects={name: custom})
    assert ka.observe_model(model, X)[0].weights is not None


def test_file_of_another_keras(saved, tmp_path):
    """A model as the other generation writes it: its classes live in other modules."""
    source, path = saved[1] / "model.keras", tmp_path / "old.keras"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "metadata.json":
                content = b'{"keras_version": "%d.1.0"}' % (2 if KERAS_3 else 3)
            if name == "config.json":
                content = content.replace(b"Functional", b"Gone")
            new.writestr(name, content)
    other, here = ("2.1.0", "3") if KERAS_3 else ("3.1.0", "2")
    assert f"written by Keras {other}, and Keras {here} cannot load it; use the" in refusal(path)
