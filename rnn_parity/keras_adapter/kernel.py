"""Which of its implementations of a recurrence Keras runs: its choice, made anew for every call.

Sources: "The requirements to use the cuDNN implementation" in the documentation of
`keras.layers.LSTM` and `GRU`; of Keras 3 `backend/tensorflow/rnn.py` (`cudnn_ok`,
`_assert_valid_mask`), of Keras 2 `layers/rnn/gru_lstm_utils.py` (`is_cudnn_supported_inputs`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.keras_adapter.runtime import keras_major, tensorflow_module

CUDNN = "cudnn"
"""The fused kernel of NVIDIA's library: all timesteps at once, on a GPU."""
STANDARD = "standard"
"""Keras 2's counterpart of the fused kernel for other devices: a loop over a step of its own."""
LOOP = "loop"
"""The cell's step in a loop over the timesteps."""
UNROLLED = "unrolled"
"""The cell's step, written out once for each timestep."""


def kernel_of(layer: Any, mode: str, mask: NDArray[np.bool_] | None, has_gpu: bool) -> str:
    """Which of the four computes a call of `layer` with `mask` `(B, T)`, run in `mode`.

    With `has_gpu`, TensorFlow sees a GPU, which it then prefers.
    """
    if layer.unroll:
        return UNROLLED
    if not fits_cudnn(layer):
        return LOOP
    # In Keras 2 the runtime puts the fused kernel in, which XLA leaves out.
    compiled = mode == "xla" and keras_major() == 2
    if has_gpu and not compiled and (mask is None or is_right_padded(mask)):
        return CUDNN
    return STANDARD if keras_major() == 2 else LOOP


def fits_cudnn(layer: Any) -> bool:
    """Whether the options of a layer are those of the fused kernel, which has no others."""
    keras = tensorflow_module().keras
    if not isinstance(layer, (keras.layers.LSTM, keras.layers.GRU)):
        return False
    cell = layer.cell
    return bool(
        cell.activation in _meanings("tanh")
        and cell.recurrent_activation in _meanings("sigmoid")
        and not cell.recurrent_dropout
        and cell.use_bias
        and getattr(cell, "reset_after", True)
        and getattr(layer, "use_cudnn", True)  # Keras 2 does not ask
        and not layer.unroll
    )


def is_right_padded(mask: NDArray[np.bool_]) -> bool:
    """Whether every sample begins with steps that count and only ends with masked ones."""
    starts, falls = mask[:, 0], mask[:, :-1] >= mask[:, 1:]
    return bool(starts.all() and falls.all())


def _meanings(name: str) -> list[Any]:
    """The functions of this name that Keras takes for the same."""
    tf = tensorflow_module()
    homes = [tf, tf.keras.activations, getattr(tf.keras, "ops", tf)]
    return [getattr(home, name) for home in homes]
