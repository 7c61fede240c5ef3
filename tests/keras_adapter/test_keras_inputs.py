"""What a model takes, and inputs made up for it."""

import numpy as np
import pytest

from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError

keras = ka.tensorflow_module().keras
layers = keras.layers

T, F, H = 6, 4, 5


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
    assert np.array_equal(seen.initial_state[0], made[2].astype("float32"))


def test_generated_inputs_respect_fixed_sizes_and_integers():
    inner = keras.Input(batch_shape=(2, T), dtype="int64")
    model = keras.Model(inner, layers.SimpleRNN(H)(layers.Embedding(3, F)(inner)))
    outer = keras.Input(batch_shape=(2, T))
    made = ka.generate_inputs(keras.Model(outer, model(outer)), 8, 9, 0)
    assert made.shape == (2, T)
    assert set(np.unique(made)) <= {0, 1, 2}
    assert ka.generate_inputs(model, 8, 9, 0).dtype == np.int64
    ka.observe_model(model, made)


def test_model_without_signature():
    with pytest.raises(InputError, match="does not say which inputs it takes: pass them"):
        ka.generate_inputs(keras.Sequential([layers.SimpleRNN(H)]), 1, 1, 0)


def test_a_call_beyond_the_limit_is_refused_before_anything_is_made_up():
    layers = ka.tensorflow_module().keras.layers
    keras = ka.tensorflow_module().keras
    x = keras.Input((None, 5))
    model = keras.Model(x, layers.SimpleRNN(3)(x))
    with pytest.raises(
        InputError, match=r"received about 745 GiB; the largest is \(100000, 200000"
    ) as e:
        ka.generate_inputs(model, 100_000, 200_000, 0)
    assert "make --batch or --timesteps smaller, or set RNN_PARITY_MOST_GIB=" in str(e.value)
    x = keras.Input((4, 5), batch_size=2 * 10**8)
    model = keras.Model(x, layers.SimpleRNN(3)(x))
    with pytest.raises(InputError, match="the file sets its batch: save the model with an open"):
        ka.generate_inputs(model, 2, 4, 0)
    x = keras.Input((5,))
    model = keras.Model(x, layers.SimpleRNN(3)(layers.RepeatVector(10**8)(x)))
    with pytest.raises(InputError, match=r"the largest is \(32, 100000000, 5\)"):
        ka.generate_inputs(model, 32, 4, 0)
