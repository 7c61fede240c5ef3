"""The only door to TensorFlow and Keras: build, load, extract weights, run and observe.

TensorFlow is imported inside functions, never by importing this package. Everything goes through
`tf.keras`, so Keras 3 and Keras 2 (TensorFlow 2.15, or `TF_USE_LEGACY_KERAS=1`) work alike.
"""

from rnn_parity.keras_adapter.building import POLICIES, WRAPPERS, build_layer
from rnn_parity.keras_adapter.dropout import seed_masks
from rnn_parity.keras_adapter.inputs import InputSpec, generate_inputs, input_signature
from rnn_parity.keras_adapter.loading import load_model
from rnn_parity.keras_adapter.observing import is_model, observe_layer, observe_model
from rnn_parity.keras_adapter.parts import state_count
from rnn_parity.keras_adapter.runtime import device, modes_of, tensorflow_module
from rnn_parity.keras_adapter.weight_files import weight_calls
from rnn_parity.keras_adapter.weights import layer_weights
from rnn_parity.system.choices import LAYER_CLASSES, MODES

__all__ = [
    "LAYER_CLASSES",
    "MODES",
    "POLICIES",
    "WRAPPERS",
    "InputSpec",
    "build_layer",
    "device",
    "generate_inputs",
    "input_signature",
    "is_model",
    "layer_weights",
    "load_model",
    "modes_of",
    "observe_layer",
    "observe_model",
    "seed_masks",
    "state_count",
    "tensorflow_module",
    "weight_calls",
]
