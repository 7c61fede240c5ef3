"""What the tests of layers in training share."""

from keras_layers import B, F, H, keras

from rnn_parity import keras_adapter as ka
from rnn_parity.api.judging import judged

KERAS_3 = hasattr(keras, "ops")

BOTH = {"dropout": 0.4, "recurrent_dropout": 0.3}
TRAINED = [mode for mode in ka.MODES if mode != "predict"]
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}


def build(kind, **arguments):
    return ka.build_layer(kind, H, F, arguments, None, seed=1, batch=B)


def judge(found):
    return list(judged(found, "layer"))
