"""Layers, data and answers that the tests of wrappers and stacks share."""

import numpy as np

from rnn_parity import keras_adapter as ka

tf = ka.tensorflow_module()
keras, layers = tf.keras, tf.keras.layers

B, T, F, H = 3, 6, 4, 5
RNG = np.random.default_rng(13)
X = RNG.normal(size=(B, T, F)).astype("float32")
MASK = RNG.random((B, T)) < 0.6
MASK[0] = [False, True, True, False, True, False]

# One unit that adds up its inputs: kernel and recurrent kernel 1, no bias, linear.
ADDS = {"activation": None, "use_bias": False}
ADDS |= {"kernel_initializer": "ones", "recurrent_initializer": "ones"}
COUNT = np.array([[[1.0], [2.0], [4.0]]], "float32")
COUNT_MASK = np.array([[True, False, True]])


def randomised(layer, shape=(B, T, F)):
    """The layer with distinct random weights, its biases included."""
    layer.build(shape)
    for weight in layer.trainable_weights:
        weight.assign(RNG.normal(scale=0.5, size=weight.shape))
    return layer


def functional(*stack, inputs=None, name=None):
    """A model of these layers, one after the other, on inputs `(T, F)` or others."""
    x = inputs = keras.Input((T, F)) if inputs is None else inputs
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


def states(*units):
    return [RNG.normal(size=(B, n)).astype("float32") for n in units]


def verdicts(report):
    return {check.subject.layer_name: check.verdict for check in report.checks}


def plain(layer, *args, **kwargs):
    return [np.asarray(value) for value in tf.nest.flatten(layer(*args, **kwargs))]
