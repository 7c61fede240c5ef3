"""The process behind `keras_backend`: recurrent layers in another of Keras's backends.

`python -m rnn_parity.implementations.keras_child`, with KERAS_BACKEND set, answers requests from
its standard input until that ends. A message, both ways, is its length in 8 bytes and a `.npz`
archive; nothing is unpickled. Keras is imported here and not by `keras_adapter`, which is the door
to the Keras of TensorFlow: a process can have one backend only, so this one has nothing but Keras.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.errors import one_line

Message = dict[str, NDArray[Any]]
OPTION, STATE, BACKWARD = "option_", "state_", "backward_"
"""What the names of the constructor's arguments, of the states, and of all that belongs to the
second layer of a `Bidirectional` begin with."""
WEIGHTS = ("kernel", "recurrent_kernel", "bias")


def send(stream: BinaryIO, message: Mapping[str, ArrayLike]) -> None:
    """Write arrays, texts and numbers to `stream`."""
    buffer = io.BytesIO()
    # C order: OpenVINO misreads others as float16.
    arrays: dict[str, Any] = {n: np.asarray(value, order="C") for n, value in message.items()}
    np.savez(buffer, **arrays)
    stream.write(len(buffer.getbuffer()).to_bytes(8, "big"))
    stream.write(buffer.getbuffer())
    stream.flush()


def receive(stream: BinaryIO) -> Message | None:
    """The next message, or None where `stream` ends before it is complete."""
    header = stream.read(8)
    size = int.from_bytes(header, "big")
    data = stream.read(size) if len(header) == 8 else b""
    if not data or len(data) < size:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return dict(archive)


def main() -> None:
    """Answer requests until standard input ends."""
    # What a backend prints must not get among the answers.
    with os.fdopen(0, "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        while (request := receive(requests)) is not None:
            try:
                answer: Mapping[str, ArrayLike] = computed(request)
            except Exception as error:  # Keras and its backends refuse with any exception
                answer = {"error": one_line(error)}
            send(answers, answer)


def computed(request: Message) -> dict[str, ArrayLike]:
    """The outputs `(B, T, H)` in processing order, and the last states `(B, H)`.

    Of a `Bidirectional`, its outputs `(B, T, H + H)` alone.
    """
    from keras import layers, ops

    dtype = str(request["dtype"])
    second = {n.removeprefix(BACKWARD): a for n, a in request.items() if n.startswith(BACKWARD)}
    layer = made(request, return_state=not second)
    if second:
        other = made(second, return_state=False)
        layer = layers.Bidirectional(layer, "concat", backward_layer=other, dtype=dtype)
    layer.build(request["inputs"].shape)
    if second:
        assign(layer.forward_layer, request)
        assign(layer.backward_layer, second)
    else:
        assign(layer, request)
    options: dict[str, Any] = {}
    if "mask" in request:
        options["mask"] = ops.convert_to_tensor(request["mask"], "bool")
    states = sorted(name for name in request if name.startswith(STATE))
    if states:
        options["initial_state"] = [ops.convert_to_tensor(request[n], dtype) for n in states]
    found = layer(ops.convert_to_tensor(request["inputs"], dtype), **options)
    results = [ops.convert_to_numpy(one) for one in ([found] if second else found)]
    names = ("outputs", *(f"{STATE}{i}" for i in range(len(results) - 1)))
    return {name: storable(array) for name, array in zip(names, results, strict=True)}


def made(request: Message, return_state: bool) -> Any:
    """Keras's layer that a message describes, without its weights."""
    from keras import layers

    arguments = {
        name.removeprefix(OPTION): value.item()
        for name, value in request.items()
        if name.startswith(OPTION)
    }
    # Zeros, because Keras's default for the recurrent kernel does not exist in all dtypes.
    zeros = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
    returned = {"return_sequences": True, "return_state": return_state}
    kind = getattr(layers, str(request["layer_class"]))
    return kind(**arguments, **zeros, **returned, dtype=str(request["dtype"]))


def assign(layer: Any, request: Message) -> None:
    """Give a layer the weights that a message holds."""
    for name in request.keys() & set(WEIGHTS):
        getattr(layer.cell, name).assign(request[name])


def storable(array: NDArray[Any]) -> NDArray[Any]:
    """`array` in a dtype that a `.npz` archive knows; float32 has all numbers of bfloat16."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


if __name__ == "__main__":
    main()
