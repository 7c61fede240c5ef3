"""The ways in which Keras runs a layer or a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import keras_major, tensorflow_module
from rnn_parity.system.choices import ALL_MODES, MODES

NEVER_TRAINS = "predict"

Program: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""From a nested structure of tensors to named tensors."""


def modes_of(name: str, training: bool = False) -> tuple[str, ...]:
    """The modes that a name stands for; "all" for every one of them, in training that trains.

    Raises `InputError` for any other name, and for a mode that never trains.
    """
    known = tuple(mode for mode in MODES if not training or mode != NEVER_TRAINS)
    if name not in (*known, ALL_MODES):
        why = f"; {NEVER_TRAINS} never trains" * training
        raise InputError(f"mode: expected one of {', '.join(known)}, all, received {name!r}{why}")
    return known if name == ALL_MODES else (name,)


def runner(program: Program, root: Any, mode: str) -> Callable[[Any], dict[str, NDArray[Any]]]:
    """`program` as it runs in `mode`: from nested arrays to named arrays.

    `root` is the layer or model that the program calls; `predict` compiles as it would for `root`.
    Every array has its batch axis first, because `predict` insists on it. Raises `InputError` for
    an unknown mode.
    """
    if mode not in MODES:
        raise InputError(f"mode: expected one of {', '.join(MODES)}, received {mode!r}")
    if mode == "predict":
        return _predictor(program, root)
    tf = tensorflow_module()
    call = program
    if mode != "eager":
        # Keras 2 lets autograph rewrite a user's `call` if it rewrites the function around it. With
        # Keras 3 it only reaches this package's own functions, slowly and in vain.
        jit = True if mode == "xla" else None
        call = tf.function(program, autograph=keras_major() == 2, jit_compile=jit)

    def run(data: Any) -> dict[str, NDArray[Any]]:
        results = call(tf.nest.map_structure(tf.convert_to_tensor, data))
        return {name: value.numpy() for name, value in results.items()}

    return run


def _predictor(program: Program, root: Any) -> Callable[[Any], dict[str, NDArray[Any]]]:
    tf = tensorflow_module()

    class Wrapper(tf.keras.Model):  # type: ignore[misc,name-defined]  # TensorFlow is untyped
        """A model that returns what the program returns."""

        def __init__(self) -> None:
            # The root's own cast is the one to observe, not one of this wrapper.
            super().__init__(autocast=False)
            self.root = root
            self.built = True

        def call(self, data: Any) -> Mapping[str, Any]:
            return program(data)

    model = Wrapper()
    if hasattr(root, "jit_compile"):
        model.jit_compile = root.jit_compile

    def run(data: Any) -> dict[str, NDArray[Any]]:
        batch = len(tf.nest.flatten(data)[0])
        results = model.predict(data, batch_size=batch, verbose=0)
        return {name: np.asarray(value) for name, value in results.items()}

    return run
