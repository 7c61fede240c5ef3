"""Exports of Keras models by programs that `make test` does not install, into `fixtures/exports`.

`python tests/record_exports.py torch` under Keras 3 with PyTorch: its exporter writes a loop out as
one node for each operation of each step. `python tests/record_exports.py litert` under TensorFlow
2.15: its converter writes LSTMs as one fused operator.
"""

import os
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "fixtures" / "exports"


def random_bias(layers, rng):
    """Give every bias of a model numbers other than zero."""
    for layer in layers:
        for one in layer.weights:
            if "bias" in one.name:
                one.assign(rng.normal(size=tuple(one.shape)) * 0.3)


def torch():
    """A SimpleRNN and an LSTM, exported to ONNX by PyTorch."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    keras.utils.set_random_seed(3)
    x = keras.Input((7, 4), name="x")
    y = keras.layers.SimpleRNN(5, return_sequences=True, name="first")(x)
    y = keras.layers.LSTM(3, return_sequences=True, name="second")(y)
    model = keras.Model(x, keras.layers.Dense(2, name="out")(y))
    random_bias(model.layers, np.random.default_rng(3))
    model(np.zeros((2, 7, 4), "float32"))
    model.save(FOLDER / "torch.keras")
    model.export(str(FOLDER / "torch.onnx"), format="onnx", verbose=False)


def litert():
    """An LSTM, two directions of another and a GRU, converted by TensorFlow 2.15."""
    import numpy as np
    import tensorflow as tf

    tf.keras.utils.set_random_seed(4)
    layers = tf.keras.layers
    x = tf.keras.Input((7, 4), name="x")
    y = layers.LSTM(5, return_sequences=True, name="first")(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True, name="lstm"), name="both")(y)
    y = layers.GRU(4, name="last")(y)
    model = tf.keras.Model(x, layers.Dense(2, name="out")(y))
    random_bias(model.layers, np.random.default_rng(4))
    model.save(FOLDER / "fused.h5")
    one = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((1, 7, 4)))
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder, save_format="tf", signatures=one)  # fixes the batch, which a GRU needs
        content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    (FOLDER / "fused.tflite").write_bytes(content)


if __name__ == "__main__":
    {"torch": torch, "litert": litert}[sys.argv[1]]()
