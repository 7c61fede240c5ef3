"""Whole Keras models and their exports, right ones and such with a mistake in one layer.

Weights are distinct and random, biases too. An export has a fixed batch, without which LiteRT's own
operators cannot hold a loop.
"""

import io
from contextlib import redirect_stdout

import numpy as np
import tensorflow as tf

from rnn_parity import keras_adapter
from rnn_parity.keras_adapter.building import as_litert, as_onnx
from rnn_parity.keras_adapter.parts import watched_layers

K, L = tf.keras, tf.keras.layers
BATCH = 4


def sequence():
    x = L.Input((9, 5))
    return K.Model(x, L.Dense(3, name="out")(L.LSTM(6, return_sequences=True, name="rnn")(x)))


def last_output():
    x = L.Input((9, 5))
    return K.Model(x, L.Dense(3, name="out")(L.GRU(6, name="rnn")(x)))


def stacked():
    return K.Sequential(
        [
            L.Input((9, 5)),
            L.LSTM(6, return_sequences=True, name="first"),
            L.Dropout(0.2),
            L.GRU(6, return_sequences=True, reset_after=False, name="second"),
            L.SimpleRNN(4, name="third"),
            L.Dense(2, activation="softmax"),
        ]
    )


def both_directions():
    return K.Sequential(
        [
            L.Input((9, 5)),
            L.Bidirectional(L.LSTM(6, return_sequences=True, name="lstm"), name="outer"),
            L.Bidirectional(L.GRU(4, name="gru"), merge_mode="sum", name="inner"),
            L.Dense(2),
        ]
    )


def masked():
    return K.Sequential(
        [
            L.Input((9,), dtype="int32"),
            L.Embedding(11, 5, mask_zero=True),
            L.LSTM(6, return_sequences=True, name="first"),
            L.GRU(4, name="second"),
            L.Dense(2),
        ]
    )


def masked_both_directions():
    return K.Sequential(
        [
            L.Input((9, 5)),
            L.Masking(),
            L.Bidirectional(L.GRU(4, return_sequences=True, name="gru"), name="both"),
            L.Dense(2),
        ]
    )


def attention():
    x = L.Input((9, 5))
    seen = L.LSTM(6, return_sequences=True, name="encoder")(x)
    context = L.Attention()([seen, seen])
    read = L.GRU(4, name="reader")(L.Concatenate()([seen, context]))
    return K.Model(x, L.Dense(2)(read))


def encoder_decoder():
    source, target = L.Input((9, 5), name="source"), L.Input((7, 3), name="target")
    _, h, c = L.LSTM(6, return_state=True, name="encoder")(source)
    read = L.LSTM(6, return_sequences=True, name="decoder")(target, initial_state=[h, c])
    return K.Model([source, target], L.Dense(3)(read))


def crnn():
    x = L.Input((8, 12, 1))
    y = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = L.BatchNormalization()(L.MaxPooling2D((2, 1))(y))
    y = L.Reshape((12, 16))(L.Permute((2, 1, 3))(y))
    y = L.Bidirectional(L.LSTM(6, return_sequences=True, name="lstm"), name="both")(y)
    return K.Model(x, L.Dense(5, activation="softmax")(y))


def stateful():
    return K.Sequential(
        [
            L.Input(batch_shape=(BATCH, 9, 5)),
            L.LSTM(6, stateful=True, return_sequences=True, name="rnn"),
            L.Dense(2),
        ]
    )


def several_inputs_and_outputs():
    words, numbers = L.Input((9,), dtype="int32", name="words"), L.Input((9, 3), name="numbers")
    joined = L.Concatenate()([L.Embedding(7, 4)(words), numbers])
    read = L.GRU(6, return_sequences=True, name="rnn")(joined)
    pooled = L.GlobalAveragePooling1D()(read)
    return K.Model(
        [words, numbers], [L.Dense(2, name="each")(read), L.Dense(3, name="all")(pooled)]
    )


def residual():
    x = L.Input((9, 6))
    y = L.LayerNormalization()(L.Add()([x, L.SimpleRNN(6, return_sequences=True, name="first")(x)]))
    y = L.Add()([y, L.GRU(6, return_sequences=True, name="second")(y)])
    return K.Model(x, L.Dense(2)(y))


def unrolled():
    x = L.Input((5, 4))
    y = L.LSTM(6, unroll=True, return_sequences=True, name="first")(x)
    return K.Model(x, L.Dense(2)(L.GRU(3, unroll=True, name="second")(y)))


def nested():
    x = L.Input((9, 5))
    inner = K.Sequential(
        [L.Input((9, 5)), L.LSTM(6, return_sequences=True, name="rnn")], name="inner"
    )
    return K.Model(x, L.Dense(2)(L.SimpleRNN(4, name="after")(inner(x))))


def shared():
    a, b = L.Input((9, 5), name="a"), L.Input((9, 5), name="b")
    rnn = L.LSTM(6, name="rnn")
    return K.Model([a, b], L.Dense(2)(L.Subtract()([rnn(a), rnn(b)])))


ARCHITECTURES = {
    make.__name__: make
    for make in (
        *(sequence, last_output, stacked, both_directions, masked, masked_both_directions),
        *(attention, encoder_decoder, crnn, stateful, several_inputs_and_outputs, residual),
        *(unrolled, nested, shared),
    )
}


def randomised(model, seed=0):
    """The model with distinct random weights."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "float" in str(variable.dtype):
            size = 0.3 if len(variable.shape) < 2 else variable.shape[0] ** -0.5
            values = rng.normal(size=tuple(variable.shape)) * size
            variable.assign(np.abs(values) + 0.5 if "variance" in variable.name else values)
    return model


def built(name):
    """An architecture by its name, with its weights."""
    return randomised(ARCHITECTURES[name]())


def exported(model, form):
    """The model as ONNX ("onnx") or LiteRT ("tflite") with a fixed batch."""
    ports = [
        K.Input(batch_shape=(BATCH, *one.shape[1:]), dtype=one.dtype, name=one.name)
        for one in model.inputs
    ]
    fixed = K.Model(ports, model(ports if len(ports) > 1 else ports[0]))
    zeros = [np.zeros(one.shape, one.dtype) for one in ports]
    fixed(zeros if len(zeros) > 1 else zeros[0])  # only what was called can be exported
    keras_adapter.reset_states(fixed)  # an export starts from the states that are stored
    with redirect_stdout(io.StringIO()):
        return as_onnx(fixed) if form == "onnx" else as_litert(fixed)


def recurrent(model):
    """The recurrent layers of a model, by the names that reports give them."""
    return {n: one for n, one in watched_layers(model).items() if isinstance(one, L.RNN)}


def inputs_of(model):
    """Random inputs of the model."""
    return keras_adapter.generate_inputs(model, BATCH, 9, 0)


# Mistakes of one layer; each returns the fault that it is, or None where none has a name.


def other_weights(layer):
    layer.cell.kernel.assign(layer.cell.kernel * 0.9 + 0.05)


def gates_permuted(layer):
    cell, gates = layer.cell, {"LSTMCell": 4, "GRUCell": 3}.get(type(layer.cell).__name__)
    if gates is None:
        cell.recurrent_kernel.assign(tf.transpose(cell.recurrent_kernel))
        return "recurrent-kernel-transposed"
    for weights in (cell.kernel, cell.recurrent_kernel, cell.bias):
        first, second, *rest = np.split(weights.numpy(), gates, -1)
        weights.assign(np.concatenate([second, first, *rest], -1))
    return "gates-permuted"


def other_direction(layer):
    layer.go_backwards = not layer.go_backwards
    return "inputs-reversed"


def other_activation(layer):
    is_simple = type(layer.cell).__name__ == "SimpleRNNCell"
    layer.cell.activation = K.activations.get("sigmoid" if is_simple else "relu")
    return "activation-swapped"


def mask_dropped(layer):
    call = layer.call

    def unmasked(sequence, initial_state=None, mask=None, training=False):
        return call(sequence, initial_state=initial_state, training=training)

    layer.__dict__["call"] = unmasked
    return "mask-ignored"


MISTAKES = {
    "weights": other_weights,
    "gates": gates_permuted,
    "direction": other_direction,
    "activation": other_activation,
    "mask": mask_dropped,
}


def mistaken(name, layer, mistake):
    """An architecture with a mistake in one of its layers, and the fault that it is."""
    model = built(name)
    fault = MISTAKES[mistake](recurrent(model)[layer])
    return model, fault
