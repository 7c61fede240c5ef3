"""A suspicion about the weights of a layer that Keras runs is settled by running it once more."""

from dataclasses import replace

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity import keras_adapter
from rnn_parity.api.judging import judged_call, subject_of
from rnn_parity.diagnosis.probe import SIZES, alone, one_step

tf = pytest.importorskip("tensorflow")
CLASSES = ["SimpleRNN", "LSTM", "GRU"]
SHAPE = (4, 200, 24)


def built(name, units=16, features=24, **options):
    """A Keras layer with random weights, the bias included."""
    layer = getattr(tf.keras.layers, name)(units, **options)
    layer.build((4, None, features))
    rng = np.random.default_rng(0)
    layer.set_weights([0.2 * rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def seen_of(layer, mode="graph", **options):
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    (seen,) = keras_adapter.observe_layer(layer, x, mode=mode, **options)
    return seen


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("options", [{"return_sequences": True}, {"go_backwards": True}], ids=str)
def test_a_probe_runs_the_very_layer(name, mode, options):
    seen = seen_of(built(name, **options), mode)
    inputs, states, unit, cut = alone(seen.weights, 3, 5)
    outputs = seen.probe(inputs, states)
    assert outputs.shape == (len(SIZES), 1, 16)
    # Only the feature and the unit that the entry belongs to are not zero.
    expected = one_step(*cut(seen.weights))
    assert (np.abs(outputs[:, 0, 5] - expected.value[:, unit]) <= expected.radius[:, unit]).all()


@pytest.mark.parametrize(("name", "gate", "amount"), [("SimpleRNN", 0, 2e-6), ("LSTM", 3, 4e-6)])
def test_what_samples_suspect_a_right_layer_refutes(name, gate, amount):
    seen = seen_of(built(name, return_sequences=True))
    kernel = seen.weights.kernel.copy()
    kernel[3, 16 * gate + 5] += amount
    # The outputs of another entry, as if Keras had shown them: exact, then rounded once.
    outputs = rp.replay(seen.weights.changed(kernel=kernel), seen.inputs).outputs
    told = replace(seen, outputs=outputs.astype(np.float32))
    subject = subject_of(told, "layer", None)
    without = judged_call(replace(told, probe=None), subject)
    assert without.verdict == "suspect", without.summary
    assert judged_call(told, subject).verdict == "parity"
    # Of another implementation, Keras's own layer says nothing.
    elsewhere = replace(subject, against="another")
    assert judged_call(told, elsewhere).verdict == "suspect"


def test_what_another_call_would_change_has_no_probe():
    layers = tf.keras.layers
    stateful = built("LSTM", stateful=True, return_sequences=True)
    assert seen_of(stateful).probe is None
    dropped = built("SimpleRNN", dropout=0.5, return_sequences=True)
    assert seen_of(dropped, training=True).probe is None
    assert seen_of(dropped).probe is not None
    stack = layers.RNN([layers.SimpleRNNCell(16), layers.SimpleRNNCell(16)])
    x = np.zeros(SHAPE, np.float32)
    assert [one.probe for one in keras_adapter.observe_layer(stack, x)] == [None, None]


def test_what_keras_refuses_is_no_answer():
    seen = seen_of(built("GRU", return_sequences=True))
    assert seen.probe(np.zeros((2, 1, 7)), [np.zeros((2, 16))]) is None
