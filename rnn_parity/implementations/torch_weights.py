"""PyTorch itself with the weights in a `.safetensors` file: a `state_dict` of a recurrent module.

GRU: `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`, `h' = (1 - z) n + z h`, which is Keras's with
`reset_after`. Source: the documentation of `torch.nn.RNN`, `LSTM` and `GRU`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, one_line
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.implementations.torch_state import (
    KEY,
    MODULES,
    SOURCE,
    Stored,
    agreement,
    choose,
    named,
    read,
    stored,
    with_both_biases,
)
from rnn_parity.recurrence.layers import Layer
from rnn_parity.system.environment import version_of

CELL = re.compile(r"(.*?)\.?(?:(?:weight|bias)_[ih]h|recurrent_(?:kernel|bias)|weight_hr)")
"""A tensor of an `nn.RNNCell`, an `nn.LSTMCell` or an `nn.GRUCell`, or of a Keras layer."""
MOST_NAMED = 5
"""How many tensors of other layers a note names: enough to recognise the file."""


def implementation(source: str) -> Implementation:
    """PyTorch's module for the layer, with the weights in a file, on the CPU in their own dtype.

    `source` is its path, followed by `#PART` where it holds several layers: what the names of one
    layer's tensors begin with, end with, or both, such as `#encoder.`, `#_l0` or `#encoder.*_l0`.
    Those that are not run are named in the answer, unless the part leaves them out. Raises
    `InputError` for a file that is no such `state_dict` (a pickled one is not even opened),
    `MissingPackageError` without PyTorch or safetensors.
    """
    path, part = path_and_part(source)
    if not path.lower().endswith(".safetensors"):
        raise InputError(
            f"{path!r}: a pickled checkpoint runs code of its own and is never loaded; save it "
            "with: safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')"
        )
    tensors = read(path)
    modules = stored(path, tensors)
    candidates = named(path, modules, part)
    cells = cells_among(tensors) if part is None else ()
    others = other_tensors(tensors)

    def compute(request: Request) -> Answer:
        chosen = choose(path, candidates, request.layer)
        outputs, states = run(path, chosen, request)
        return Answer(
            outputs,
            states,
            tuple(notes(chosen, request, others)),
            with_both_biases(chosen, request.layer),
            left_out=(*(f"the layer {m.name}" for m in candidates if m is not chosen), *cells),
            part=f"{path}#{chosen.name}",
        )

    return compute


def notes(chosen: Stored, request: Request, others: str) -> Iterator[str]:
    """What ran, whether its weights are the layer's, and what else is in the file."""
    dtype = str(chosen.tensors["weight_ih"].dtype).removeprefix("torch.")
    kind = f"nn.{MODULES[type(request.layer).__name__]}"
    yield f"PyTorch {version_of('torch')}, {kind} with {chosen.name}, {dtype}"
    yield agreement(chosen, request.layer)
    if request.mask is not None:
        yield "PyTorch's padding is filled as Keras fills masked steps"
    if others:
        yield f"the file holds other tensors, too: {others}"


def path_and_part(source: str) -> tuple[str, str | None]:
    """A file's path, and what is named after the #."""
    match = SOURCE.fullmatch(source)
    return (match["path"], match["part"]) if match else (source, None)


def cells_among(tensors: Mapping[str, Any]) -> tuple[str, ...]:
    """The recurrent cells among tensors that no `nn.RNN`, `nn.LSTM` or `nn.GRU` has, by name."""
    found = (CELL.match(name) for name in tensors if KEY.fullmatch(name) is None)
    return tuple(dict.fromkeys(f"the cell {match[1] or match[0]}" for match in found if match))


def other_tensors(tensors: Mapping[str, Any]) -> str:
    """The names of the tensors that are no recurrent layer's, a few of them."""
    names = [name for name in tensors if KEY.fullmatch(name) is None]
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ", ".join([*names[:MOST_NAMED], *more])


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
