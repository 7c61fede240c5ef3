"""Record small models as old releases of Keras write them, and what these compute from them.

Needs nothing of this package, and runs where such a release does:

    Python 3.6, tensorflow==1.13.2, h5py<3, and keras==1.2.2, 2.0.8 or 2.3.1
    Python 3.11, tensorflow==2.15.1

Each adds to the archive that is named, fixtures/old_models.zip, what it can make: NAME-VERSION.h5
or .keras, and in NAME-VERSION.npz the `inputs` and the `outputs_0`, `outputs_1` and so on. All
weights are random and distinct, the biases too.
"""

import os
import sys
import tempfile
import zipfile

import keras
import numpy as np

layers, models, VERSION = keras.layers, keras.models, keras.__version__
STEPS, FEATURES = 5, 4


def randomized(model, seed=0):
    """The model with other weights; variances are above 0."""
    rng = np.random.RandomState(seed)
    for layer in model.layers:
        values = [rng.uniform(-0.8, 0.8, size=w.shape) for w in layer.get_weights()]
        names = [w.name for w in layer.weights]
        layer.set_weights([abs(v) if "variance" in names[i] else v for i, v in enumerate(values)])
    return model


def numbers(*shape):
    return np.random.RandomState(1).normal(size=shape).astype("float32")


X = numbers(2, STEPS, FEATURES)
WORDS = np.array([[1, 2, 3, 0, 0], [4, 5, 1, 2, 0]], "int32")


def stack(kind, **options):
    make = getattr(layers, kind)
    first = make(3, return_sequences=True, input_shape=(STEPS, FEATURES), **options)
    return models.Sequential([first, make(2, go_backwards=True, **options)])


def tagger(gates):
    words = layers.Input((STEPS,), name="words")
    h = layers.Embedding(6, FEATURES, mask_zero=True)(words)
    h = layers.Bidirectional(layers.LSTM(3, return_sequences=True, **gates), merge_mode="sum")(h)
    h = layers.GRU(2, return_sequences=True, dropout=0.1, **gates)(layers.Dropout(0.3)(h))
    return models.Model(words, layers.TimeDistributed(layers.Dense(2, activation="softmax"))(h))


def nested(gates):
    """A model that calls another one twice; compiled, with a loss that Keras 3 does not have."""
    inner = models.Sequential()
    inner.add(layers.LSTM(3, input_shape=(STEPS, FEATURES), return_sequences=True, **gates))
    inner.add(layers.Dense(FEATURES))
    inputs = layers.Input((STEPS, FEATURES))
    h = layers.Conv1D(FEATURES, 3, padding="same", activation="relu")(inputs)
    h = layers.BatchNormalization()(h)
    h = layers.GRU(2, activation="relu", kernel_regularizer="l2", **gates)(inner(inner(h)))
    model = models.Model(inputs, layers.Dense(2, kernel_constraint="max_norm")(h))
    model.compile("rmsprop", lambda wanted, found: keras.backend.mean(wanted - found))
    return model


def translator(gates):
    """An encoder whose states a decoder starts from."""
    inputs = layers.Input((STEPS, FEATURES))
    _, h, c = layers.LSTM(3, return_state=True, **gates)(inputs)
    decoder = layers.LSTM(3, return_sequences=True, **gates)
    return models.Model(inputs, decoder(inputs, initial_state=[h, c]))


def cells(gates):
    kinds = [layers.LSTMCell(3, **gates), layers.SimpleRNNCell(2)]
    inputs = layers.Input((STEPS, FEATURES))
    return models.Model(inputs, layers.RNN(kinds, return_sequences=True)(inputs))


def fused(lstm, gru, of_lstm, of_gru):
    first = lstm(3, return_sequences=True, input_shape=(STEPS, FEATURES), name="first", **of_lstm)
    both = layers.Bidirectional(gru(2, return_sequences=True, **of_gru), name="both")
    return models.Sequential([first, both, lstm(3, name="last", **of_lstm)])


def doubled():
    """Operations of TensorFlow around layers."""
    inputs = layers.Input((STEPS, FEATURES))
    h = layers.LSTM(3, return_sequences=True)(inputs * 2.0)
    return models.Model(inputs, layers.GRU(2)(h * 0.5 + 1.0))


class Folder:
    """Models in a folder of their own, until they are packed."""

    def __init__(self, path):
        self.path = path

    def file(self, name, suffix):
        return os.path.join(self.path, f"{name}-{VERSION}.{suffix}")

    def add(self, name, model, inputs=X, computes=None, suffix="h5"):
        model.save(self.file(name, suffix))
        self.add_outputs(name, computes or model, inputs)

    def add_outputs(self, name, model, inputs=X):
        outputs = model.predict(inputs)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        found = {f"outputs_{i}": one for i, one in enumerate(outputs)}
        np.savez(self.file(name, "npz"), inputs=inputs, **found)


def record_keras_1(folder):
    """Weights alone: Keras 2 reads these, and not the description of a model."""
    for kind in ("LSTM", "GRU"):
        model = models.Sequential()
        make = getattr(layers, kind)
        model.add(make(3, input_shape=(STEPS, FEATURES), inner_activation="sigmoid"))
        name = f"weights_{kind.lower()}"
        randomized(model).save_weights(folder.file(name, "h5"))
        folder.add_outputs(name, model)


def record_keras_2(folder):
    gates = {"recurrent_activation": "sigmoid"}
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        folder.add(kind.lower(), randomized(stack(kind)))
    folder.add("tagger", randomized(tagger(gates)), WORDS)
    folder.add("nested", randomized(nested(gates)))
    folder.add("translator", randomized(translator(gates)))
    if VERSION != "2.0.8":
        folder.add("cells", randomized(cells(gates)))
    model = randomized(stack("LSTM", **gates))
    model.save_weights(folder.file("weights", "h5"))
    folder.add_outputs("weights", model)


def record_tensorflow(folder):
    import tensorflow as tf

    gates = {"recurrent_activation": "sigmoid"}
    old = tf.compat.v1.keras.layers
    model = randomized(fused(old.CuDNNLSTM, old.CuDNNGRU, {}, {}))
    # Keras 2's own conversion of the weights: the fused layers need a GPU.
    plain = fused(layers.LSTM, layers.GRU, gates, {**gates, "reset_after": True})
    model.save_weights(folder.file("cudnn_weights", "h5"))
    plain.load_weights(folder.file("cudnn_weights", "h5"))
    folder.add("cudnn", model, computes=plain)
    folder.add_outputs("cudnn_weights", plain)
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both")
    inputs = layers.InputLayer((STEPS, FEATURES))
    archive = randomized(models.Sequential([inputs, layers.LSTM(3, return_sequences=True), both]))
    folder.add("archive", archive, suffix="keras")
    archive.save_weights(folder.file("archive_weights", "weights.h5"))
    folder.add("archive_nested", randomized(nested(gates)), suffix="keras")
    axes = layers.Input((2, FEATURES), batch_size=STEPS)
    time_first = models.Model(axes, layers.LSTM(3, time_major=True, return_sequences=True)(axes))
    folder.add("time_major", randomized(time_first), np.ascontiguousarray(X.swapaxes(0, 1)))
    folder.add("operations", randomized(doubled()))
    folder.add("archive_operations", randomized(doubled()), suffix="keras")


def main(archive):
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        if VERSION.startswith("1."):
            record_keras_1(folder)
        else:
            record_keras_2(folder)
        if VERSION.startswith("2.15"):
            record_tensorflow(folder)
        with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as packed:
            for name in sorted(os.listdir(path)):
                packed.write(os.path.join(path, name), name)


if __name__ == "__main__":
    main(sys.argv[1])
