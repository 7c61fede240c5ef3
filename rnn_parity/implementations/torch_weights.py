"""PyTorch itself with the weights in a `.safetensors` file: a `state_dict` of a recurrent module.

GRU: `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`, `h' = (1 - z) n + z h`, which is Keras's with
`reset_after`. Source: the documentation of `torch.nn.RNN`, `LSTM` and `GRU`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.environment import version_of
from rnn_parity.errors import InputError
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.implementations.torch_state import (
    MODULES,
    Stored,
    agreement,
    choose,
    read,
    stored,
    with_both_biases,
)
from rnn_parity.keras_adapter.runtime import one_line
from rnn_parity.layers import Layer


def implementation(path: str) -> Implementation:
    """PyTorch's module for the layer, with the weights in `path`, on the CPU in their own dtype.

    Raises `InputError` for a file that is no such `state_dict` (a pickled one is not even opened),
    `MissingPackageError` without PyTorch or safetensors.
    """
    if not path.lower().endswith(".safetensors"):
        raise InputError(
            f"{path!r}: a pickled checkpoint runs code of its own and is never loaded; save it "
            "with: safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')"
        )
    modules = stored(path, read(path))

    def compute(request: Request) -> Answer:
        chosen = choose(path, modules, request.layer)
        outputs, states = run(path, chosen, request)
        dtype = str(chosen.tensors["weight_ih"].dtype).removeprefix("torch.")
        kind = f"nn.{MODULES[type(request.layer).__name__]}"
        notes = [f"PyTorch {version_of('torch')}, {kind} with {chosen.name}, {dtype}"]
        notes.append(agreement(chosen, request.layer))
        if request.mask is not None:
            notes.append("PyTorch's padding is filled as Keras fills masked steps")
        return Answer(outputs, states, tuple(notes), with_both_biases(chosen, request.layer))

    return compute


def run(
    path: str, stored: Stored, request: Request
) -> tuple[NDArray[Any], tuple[NDArray[Any], ...]]:
    """Outputs `(B, T, H)` in processing order and the final states `(B, H)`."""
    import torch

    layer, dtype = request.layer, stored.tensors["weight_ih"].dtype
    order = slice(None, None, -1 if layer.go_backwards else 1)

    def tensor(array: NDArray[Any]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(layer.precision.round(array))).to(dtype)

    x = tensor(request.inputs[:, order])
    mask = None if request.mask is None else request.mask[:, order]
    if mask is not None:
        lengths = torch.from_numpy(right_padded(mask))
        x = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
    states = tuple(tensor(state)[None] for state in request.initial_state or ())
    try:
        with torch.no_grad():
            y, last = module(torch, stored, layer)(x, *pair_or_one(states))
    except RuntimeError as error:  # such as a dtype that a kernel lacks
        raise InputError(f"{path!r}: PyTorch refused: {one_line(error)}") from error
    if mask is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, True, total_length=mask.shape[1])
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    last = last if isinstance(last, tuple) else (last,)
    outputs, *final = (array.to(wide).numpy() for array in (y, *(part[0] for part in last)))
    if mask is not None and not layer.zero_output_for_mask:
        outputs = np.where(mask[..., None], outputs, final[0][:, None])
    return outputs, tuple(final)


def pair_or_one(states: tuple[Any, ...]) -> tuple[Any, ...]:
    """The argument for the initial state: a pair for `nn.LSTM`, none where it is zeros."""
    return (states,) if len(states) > 1 else states


def module(torch: Any, stored: Stored, layer: Layer) -> Any:
    """PyTorch's module for `layer`, with the stored weights."""
    options = {"nonlinearity": nonlinearity(layer)} if type(layer).__name__ == "SimpleRNN" else {}
    made = getattr(torch.nn, MODULES[type(layer).__name__])(
        layer.features,
        layer.units,
        bias="bias_ih" in stored.tensors,
        batch_first=True,
        dtype=stored.tensors["weight_ih"].dtype,
        **options,
    )
    made.load_state_dict({f"{name}_l0": tensor for name, tensor in stored.tensors.items()})
    return made.eval()


def nonlinearity(layer: Layer) -> str:
    """The layer's activation, which a `state_dict` does not tell, if `nn.RNN` has it."""
    name = layer.activation.name
    if name not in ("tanh", "relu"):
        raise InputError(f"activation: expected tanh or relu, which nn.RNN has, received {name}")
    return name


def right_padded(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many steps of each sample count, `(B,)`; masked ones may only follow them."""
    lengths: NDArray[np.int64] = mask.sum(axis=1)
    if not np.array_equal(mask, np.arange(mask.shape[1]) < lengths[:, None]) or not lengths.all():
        raise InputError(
            "mask: expected one that PyTorch's packed sequences can express: in processing order "
            "at least one step, then the masked ones; received another; pad on the right (on the "
            "left with go_backwards)"
        )
    return lengths
