"""The only door to TensorFlow and Keras: build, load, extract weights, run and observe.

TensorFlow is imported inside functions, never by importing this package, and the package's own
modules when one of the names below is used. Everything goes through `tf.keras`, so Keras 3 and
Keras 2 (TensorFlow 2.15, or `TF_USE_LEGACY_KERAS=1`) work alike.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnn_parity.keras_adapter.building import POLICIES, WRAPPERS, build_layer
    from rnn_parity.keras_adapter.dropout import seed_masks
    from rnn_parity.keras_adapter.inputs import (
        InputSpec,
        data_of_calls,
        generate_inputs,
        input_signature,
        masks_for,
        refuse_fixed_sizes,
    )
    from rnn_parity.keras_adapter.loading import load_model
    from rnn_parity.keras_adapter.observing import (
        is_model,
        observe_calls,
        observe_layer,
        observe_model,
        reset_states,
    )
    from rnn_parity.keras_adapter.parts import state_count
    from rnn_parity.keras_adapter.runtime import device, modes_of, tensorflow_module
    from rnn_parity.keras_adapter.saved_model import GRAPH, SavedModel
    from rnn_parity.keras_adapter.substitution import recurrent_alone
    from rnn_parity.keras_adapter.weight_files import weight_calls
    from rnn_parity.keras_adapter.weights import layer_weights
    from rnn_parity.system.choices import LAYER_CLASSES, MODES

__all__ = [
    "GRAPH",
    "LAYER_CLASSES",
    "MODES",
    "POLICIES",
    "WRAPPERS",
    "InputSpec",
    "SavedModel",
    "build_layer",
    "data_of_calls",
    "device",
    "generate_inputs",
    "input_signature",
    "is_model",
    "layer_weights",
    "load_model",
    "masks_for",
    "modes_of",
    "observe_calls",
    "observe_layer",
    "observe_model",
    "recurrent_alone",
    "refuse_fixed_sizes",
    "reset_states",
    "seed_masks",
    "state_count",
    "tensorflow_module",
    "weight_calls",
]

_NAMES_BY_MODULE = {
    "keras_adapter.building": (
        "POLICIES",
        "WRAPPERS",
        "build_layer",
    ),
    "keras_adapter.dropout": ("seed_masks",),
    "keras_adapter.inputs": (
        "InputSpec",
        "data_of_calls",
        "generate_inputs",
        "input_signature",
        "masks_for",
        "refuse_fixed_sizes",
    ),
    "keras_adapter.loading": ("load_model",),
    "keras_adapter.observing": (
        "is_model",
        "observe_calls",
        "observe_layer",
        "observe_model",
        "reset_states",
    ),
    "keras_adapter.parts": ("state_count",),
    "keras_adapter.runtime": (
        "device",
        "modes_of",
        "tensorflow_module",
    ),
    "keras_adapter.saved_model": (
        "GRAPH",
        "SavedModel",
    ),
    "keras_adapter.substitution": ("recurrent_alone",),
    "keras_adapter.weight_files": ("weight_calls",),
    "keras_adapter.weights": ("layer_weights",),
    "system.choices": (
        "LAYER_CLASSES",
        "MODES",
    ),
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    """A name of this package, imported from its module on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"rnn_parity.{_MODULES[name]}"), name)
