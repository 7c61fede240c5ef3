"""Run a layer or a model in one of Keras's modes and bring back what its recurrent layers did.

Which of its implementations of a recurrence Keras runs, it chooses anew for every call. Sources:
"The requirements to use the cuDNN implementation" in the documentation of `keras.layers.LSTM` and
`GRU`; of Keras 3 `backend/tensorflow/rnn.py` (`cudnn_ok`, `_assert_valid_mask`), of Keras 2
`layers/rnn/gru_lstm_utils.py` (`is_cudnn_supported_inputs`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.keras_adapter import misfits
from rnn_parity.keras_adapter.dropout import MASKS, given_masks
from rnn_parity.keras_adapter.inputs import named_inputs
from rnn_parity.keras_adapter.misfits import in_plain_words
from rnn_parity.keras_adapter.parts import (
    input_shape,
    is_bidirectional,
    is_time_major,
    selected,
    state_structure,
    watched_layers,
)
from rnn_parity.keras_adapter.recording import RecordedCall, Recorder
from rnn_parity.keras_adapter.runtime import (
    device,
    keras_major,
    refusals,
    runner,
    tensorflow_module,
)
from rnn_parity.keras_adapter.substitution import HandOn, substituted
from rnn_parity.keras_adapter.weights import cell_weights
from rnn_parity.recurrence.layer_call import Handed, LayerCall, Merge, not_compared
from rnn_parity.recurrence.precision import real
from rnn_parity.system.progress import on_terminal

STATES = ("initial_state", "final_state")
"""Each is several arrays, "initial_state_0" and so on: h before an LSTM's c."""
FUSED = "Keras ran cuDNN's fused kernel in place of its own loop"
MERGED_BY_KERAS = "the merge of a Bidirectional is Keras's own, and no other implementation's"
CUDNN = "cudnn"
"""The fused kernel of NVIDIA's library: all timesteps at once, on a GPU."""
STANDARD = "standard"
"""Keras 2's counterpart of the fused kernel for other devices: a loop over a step of its own."""
LOOP = "loop"
"""The cell's step in a loop over the timesteps."""
UNROLLED = "unrolled"
"""The cell's step, written out once for each timestep."""


def observe_layer(
    layer: Any,
    inputs: ArrayLike | Sequence[ArrayLike],
    mask: ArrayLike | Sequence[ArrayLike] | None = None,
    initial_state: Any = None,
    mode: str = "graph",
    training: bool = False,
    dropout: Mapping[str, NDArray[Any]] | None = None,
) -> list[LayerCall]:
    """What every recurrent layer in a Keras layer did: in the layer itself, where it is one.

    `inputs` is `(B, T, F)` for one call (whatever a wrapper or another layer takes); a list of such
    arrays or an array `(calls, B, T, F)` for consecutive calls. `mask` is `(B, T)`, the same for
    every call, or one per call in the same two ways. `initial_state`, `(B, H)` (a list of them for
    a layer with several states, nested as Keras has them for a stack), is given to the first call
    only. A layer that is not built yet is built, with Keras's initial weights. With `training` the
    call is one in training, in which the layer, one with a single cell, takes the masks `dropout`,
    named as in a `LayerCall`, in place of drawing its own. The parts of wrappers and stacks are
    named as in `observe_model`. Raises `InputError` for what is no layer of `tf.keras` and for what
    Keras refuses.
    """
    _check_kind(layer, "Layer")
    rank = _rank(layer)
    calls = list(inputs) if _is_per_call(inputs, rank) else [inputs]  # type: ignore[arg-type]
    masks = list(mask) if _is_per_call(mask, rank and 2) else [mask] * len(calls)  # type: ignore[arg-type]
    if len(masks) != len(calls):
        raise InputError(f"mask: expected {len(calls)}, one per call, received {len(masks)}")
    data = [
        _layer_data(layer, x, m, initial_state if i == 0 else None)
        for i, (x, m) in enumerate(zip(calls, masks, strict=True))
    ]
    recorder = Recorder(watched_layers(layer))
    fixed = given_masks(layer, dropout) if dropout else nullcontext()
    what, first = (
        f"layer {layer.name!r} in mode {mode}",
        partial(misfits.of_layer, layer, data[0], bool(layer.built)),
    )
    told = in_plain_words(first)
    with on_terminal(f"running {what}"), told, refusals(what), fixed, recorder.attached():
        _build(layer, data[0]["inputs"].shape)
        found = _recorded_arrays(recorder, partial(_call_layer, layer, training), layer, mode, data)
    return _layer_calls(recorder, found, mode)


def observe_model(
    model: Any,
    inputs: Any,
    mode: str = "graph",
    layer_name: str | None = None,
    mask: Any = None,
    training: bool = False,
    hand_on: HandOn | None = None,
) -> list[LayerCall]:
    """What passed through every recurrent layer of a Keras model, call by call as they ran.

    `inputs` is what the model takes: an array, a list or a dictionary. The rest, and what is
    raised, is as in `observe_calls`.
    """
    return observe_calls(model, [inputs], mode, layer_name, mask, training, hand_on)


def observe_calls(
    model: Any,
    calls: Sequence[Any],
    mode: str = "graph",
    layer_name: str | None = None,
    mask: Any = None,
    training: bool = False,
    hand_on: HandOn | None = None,
) -> list[LayerCall]:
    """What passed through every recurrent layer of a Keras model in consecutive calls of it.

    Each of `calls` is what the model takes: an array, a list or a dictionary; a stateful layer
    starts a call from the states of the one before. `mask` goes to the model as its own: `(B, T)`,
    or a list with a mask or None for each of its inputs; a note says where Keras hands a layer no
    mask, or another one. With `training` the calls are ones in training. Layers of nested models
    are named "inner/simple_rnn". A `Bidirectional` is taken apart into "both/forward/lstm",
    "both/backward/lstm" and "both/merge", a stack of cells into "rnn/cell_0/lstm_cell" and so on;
    the layers in a `TimeDistributed` are named "each/lstm", with all slices in one batch. What is
    not replayed is reported once, and so is a layer that was not seen to run. `layer_name` selects
    by the full name or by any whole part of it. With `hand_on`, in mode "eager" alone, each layer
    hands on what that makes of what it returned (`substituted`). Raises `InputError` for an unknown
    name, for what is no model of `tf.keras`, for a mask that reaches no recurrent layer, and for
    what Keras refuses.
    """
    _check_kind(model, "Model")
    layers = watched_layers(model)
    if not layers and layer_name is None:
        return []
    each = [] if mask is None else mask_of_each_input(mask)
    masks = [one for one in each if one is not None]
    if masks:
        refuse_no_mask(model)
    given = {"mask": masks} if masks else {}
    structure = tensorflow_module().nest.map_structure
    data = [{"inputs": structure(_filled, inputs), **given} for inputs in calls]
    masked = tuple(one is not None for one in each)
    recorder = Recorder(layers)
    handing_on = nullcontext() if hand_on is None else substituted(model, hand_on)
    # What is recorded is what the layer returned, before something else is handed on.
    what = f"model {model.name!r} in mode {mode}"
    told = in_plain_words(partial(misfits.of_model, model, calls[0], each))
    with on_terminal(f"running {what}"), told, refusals(what), recorder.attached(), handing_on:
        found = _recorded_arrays(
            recorder, partial(_call_model, model, training, masked), model, mode, data
        )
    # A mask that is handed to the whole model has no place among its inputs.
    alone = named_inputs(model, calls[0]) if not masks and len(calls) == 1 else {}
    seen = _layer_calls(recorder, found, mode, layer_name, alone)
    return told_of_masks(seen, masks, model.name) if masks else seen


def reset_states(model: Any) -> None:
    """Set the states of all stateful layers in a model to zeros."""
    for layer in watched_layers(model).values():
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_states"):
            layer.reset_states()


# The mask of a model. Keras attaches it to the inputs, and each layer hands on what it likes: one
# that does not support masks drops it, a Masking layer or an Embedding puts its own in its place.


def mask_of_each_input(mask: Any) -> list[NDArray[np.bool_] | None]:
    """The masks as booleans: one `(B, T)`, or those of a list that says of each input which."""
    is_one = not isinstance(mask, (list, tuple)) or all(np.ndim(row) == 1 for row in mask)
    each = [mask] if is_one else mask
    return [None if one is None else np.asarray(one, dtype=bool) for one in each]


def refuse_no_mask(model: Any) -> None:
    """Raise `InputError` for a model whose call takes no mask."""
    parameters = inspect.signature(model.call).parameters.values()
    if not any(one.name == "mask" or one.kind == one.VAR_KEYWORD for one in parameters):
        raise InputError(
            f"mask: model {model.name!r} ({type(model).__name__}) takes none: its call has no "
            "argument of this name; leave it out"
        )


def told_of_masks(
    calls: Sequence[LayerCall], masks: Sequence[NDArray[np.bool_]], name: str
) -> list[LayerCall]:
    """The calls, with a note at each that none of the model's `masks` reached as it was given.

    Raises `InputError` where that is true of all of them.
    """
    compared = [one for one in calls if one.weights is not None]
    reached = [
        one.mask is not None and any(np.array_equal(one.mask, mask) for mask in masks)
        for one in compared
    ]
    if compared and not any(reached):
        names = ", ".join(dict.fromkeys(one.layer_name for one in compared))
        raise InputError(
            f"mask: the mask of model {name!r} does not reach {names}: "
            f"{why_not(compared[0])}; leave it out"
        )
    lost = {id(one) for one, got in zip(compared, reached, strict=True) if not got}
    return [
        replace(one, notes=(*one.notes, f"the mask of the model does not reach it: {why_not(one)}"))
        if id(one) in lost
        else one
        for one in calls
    ]


def why_not(call: LayerCall) -> str:
    """What reached a layer in place of the mask that its model was given."""
    if call.mask is None:
        return "no mask does; its input has none, or a layer before it drops it"
    return "another one does, which a layer before it computes, such as Masking or Embedding"


CallArrays: TypeAlias = list[tuple[RecordedCall, dict[str, NDArray[Any]]]]
"""Calls, each with the values of its tensors."""


def _recorded_arrays(
    recorder: Recorder,
    function: Callable[[Any], object],
    root: Any,
    mode: str,
    data: Sequence[Mapping[str, Any]],
) -> CallArrays:
    """All calls that were recorded while `function` ran on each of `data`."""
    program = runner(recorder.program(function), root, mode)
    found: CallArrays = []
    for one in data:
        arrays = _by_call(program(one))
        found += [(call, arrays[i]) for i, call in enumerate(recorder.calls)]
    return found


def _layer_calls(
    recorder: Recorder,
    found: CallArrays,
    mode: str,
    wanted: str | None = None,
    given: Mapping[str, NDArray[Any]] | None = None,
) -> list[LayerCall]:
    """What was found as data; the calls of what ran more than once are numbered.

    `given` is what the whole model was given, by the names of its inputs.
    """
    found = _named_once(found)
    silent = recorder.silent()
    if wanted is not None:
        names = [call.name for call, _ in found]
        chosen = selected(list(dict.fromkeys([*names, *silent])), wanted)
        found = [(call, arrays) for call, arrays in found if call.name in chosen]
        silent = [name for name in silent if name in chosen]
    names = [call.name for call, _ in found]
    numbers = [
        names[:i].count(name) if names.count(name) > 1 else None for i, name in enumerate(names)
    ]
    ran = [
        replace(_with_probe(layer_call(call, mode, number, arrays), call), model_inputs=given or {})
        for (call, arrays), number in zip(found, numbers, strict=True)
    ]
    not_run = [not_seen(recorder.layers[name], name, mode) for name in silent]
    return [one if one.merge is None else with_parts(one, ran) for one in ran] + not_run


def _with_probe(one: LayerCall, call: RecordedCall) -> LayerCall:
    """The call with its probe, where the layer has one cell, no dropout and no memory."""
    dropped = one.dropout_inputs is not None or one.dropout_recurrent is not None
    if one.weights is None or call.cell is not None or call.layer.stateful or dropped:
        return one

    def probe(inputs: NDArray[Any], states: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
        x = inputs[:, ::-1] if call.layer.go_backwards else inputs
        try:
            (seen,) = observe_layer(call.layer, x, initial_state=list(states), mode=one.mode)
        except InputError:
            return None
        return seen.outputs

    return replace(one, probe=probe)


def _named_once(found: CallArrays) -> CallArrays:
    """The calls without those that are not compared for a reason that was given before."""
    kept: dict[Any, tuple[RecordedCall, dict[str, NDArray[Any]]]] = {}
    for i, (call, arrays) in enumerate(found):
        key = i if call.not_compared is None else (call.name, call.not_compared)
        kept.setdefault(key, (call, arrays))
    return list(kept.values())


def _call_layer(layer: Any, training: bool, data: Mapping[str, Any]) -> None:
    tf = tensorflow_module()
    inputs, options = data["inputs"], {}
    if not inputs.dtype.is_floating:  # Keras casts real numbers only
        inputs = tf.cast(inputs, layer.compute_dtype)
    if "mask" in data:
        options["mask"] = data["mask"]
    if is_time_major(layer):
        swap = partial(tf.experimental.numpy.swapaxes, axis1=0, axis2=1)
        inputs, options = swap(inputs), {name: swap(value) for name, value in options.items()}
    if "initial_state" in data:
        # Keras 3 casts it to the compute dtype itself, Keras 2 does when the layer is stateful.
        dtype = layer.variable_dtype if layer.stateful else layer.compute_dtype
        cast = partial(tf.cast, dtype=dtype)
        options["initial_state"] = tf.nest.map_structure(cast, data["initial_state"])
    layer(inputs, **options, **_in_training(training))


def _call_model(
    model: Any, training: bool, masked: Sequence[bool], data: Mapping[str, Any]
) -> None:
    """Call the model; `masked` says which of its inputs the masks in `data` are for."""
    options = {}
    if any(masked):
        masks = iter(data["mask"])
        each = [next(masks) if has_mask else None for has_mask in masked]
        options["mask"] = each[0] if len(each) == 1 else each
    model(data["inputs"], **options, **_in_training(training))


def _in_training(training: bool) -> dict[str, Any]:
    """The argument of a call in training; any other is left to Keras, and may have none."""
    return {"training": True} if training else {}


def _layer_data(layer: Any, inputs: Any, mask: Any, initial_state: Any) -> dict[str, Any]:
    """The arrays of one call."""
    data: dict[str, Any] = {"inputs": _filled(real(inputs, "inputs"))}
    if mask is not None:
        data["mask"] = np.asarray(mask, dtype=bool)
    if initial_state is not None:
        data["initial_state"] = _nested(layer, _state_arrays(initial_state))
    return data


def _filled(inputs: Any) -> NDArray[Any]:
    """The inputs as an array with numbers; TensorFlow may end the process over one without."""
    array = np.asarray(inputs)
    if 0 in array.shape:
        raise InputError(
            f"inputs: expected at least 1 along every axis, received shape {array.shape}"
        )
    return array


def _state_arrays(value: Any) -> list[Any]:
    """The states as Keras takes them: a list of arrays, nested for a stack of cells."""
    array = _array(value)
    return list(array) if isinstance(array, list) or array.ndim == 3 else [array]


def _array(value: Any) -> Any:
    """Numbers, however they are nested, as an array; a list of arrays stays a list."""
    first = value
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(value, (list, tuple)) and np.ndim(first) > 0:
        return [_array(one) for one in value]
    return np.asarray(value)


def _nested(layer: Any, states: list[Any]) -> list[Any]:
    """The states as Keras nests them, which a stack of cells has in a list for each cell."""
    nest = tensorflow_module().nest
    flat, structure = nest.flatten(states), state_structure(layer)
    fits = len(flat) == len(nest.flatten(structure))
    return nest.pack_sequence_as(structure, flat) if fits else states


def _build(layer: Any, shape: tuple[int, ...]) -> None:
    """Build the layer for inputs of this shape where that has not happened."""
    if not layer.built:
        layer.build(input_shape(layer, *shape))


def _rank(layer: Any) -> int | None:
    """How many axes the inputs of a layer have; None where only the layer itself knows."""
    layers = tensorflow_module().keras.layers
    return 3 if isinstance(layer, (layers.RNN, layers.Bidirectional)) else None


def _is_per_call(value: Any, rank: int | None) -> bool:
    return isinstance(value, (list, tuple)) or (rank is not None and np.ndim(value) == rank + 1)


def _by_call(results: Mapping[str, NDArray[Any]]) -> dict[int, dict[str, NDArray[Any]]]:
    """One dictionary for each call, from the keys "number/field" of a recorder's program."""
    arrays: dict[int, dict[str, NDArray[Any]]] = {}
    for key, value in results.items():
        number, _, name = key.partition("/")
        if name:
            arrays.setdefault(int(number), {})[name] = value
    return arrays


def is_model(value: Any) -> bool:
    """Whether `value` is a model of `tf.keras`, which holds layers, and not a layer by itself."""
    return isinstance(value, tensorflow_module().keras.Model)


def _check_kind(value: Any, kind: str) -> None:
    keras = tensorflow_module().keras
    expected = keras.Model if kind == "Model" else keras.layers.Layer
    if not isinstance(value, expected):
        received = f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, type):
            received = f"the class {value.__name__}; make one of it: {value.__name__}(...)"
        raise InputError(
            f"expected a {kind.lower()} of tf.keras, which is {expected.__module__.split('.')[0]} "
            f"here, received {received}"
        )


def layer_call(
    call: RecordedCall, mode: str, number: int | None, arrays: Mapping[str, NDArray[Any]]
) -> LayerCall:
    """What passed through `call`; `arrays` holds the values of its tensors, by their names."""
    weights, reason, merge = None, call.not_compared, None
    if is_bidirectional(call.layer):
        whole = handed_arrays(arrays, "whole")
        fields: dict[str, Any] = {"inputs": whole.inputs, "outputs": whole.returned[0]}
        if reason is None:
            merge, reason = merge_of(call.layer, arrays), MERGED_BY_KERAS
    else:
        names = [name for name in arrays if not name.startswith(STATES)]
        fields = {name: arrays[name] for name in names}
        # Gates first, where `predict` and a loop over slices want the batch.
        fields |= {name: arrays[name].swapaxes(0, 1) for name in MASKS if name in arrays}
        fields |= {name: found for name in STATES if (found := indexed_arrays(arrays, name))}
    if reason is None:
        try:
            layer = call.layer
            cell = layer.cell if call.cell is None else call.cell
            weights = cell_weights(cell, layer.go_backwards, layer.zero_output_for_mask)
        except UnsupportedError as error:  # its activation cannot be evaluated
            reason = str(error)
    kernel = None
    if weights is not None:
        kernel = kernel_of(call.layer, mode, fields.get("mask"), device() != "cpu")
    return LayerCall(
        layer_class=type(call.layer if call.cell is None else call.cell).__name__,
        layer_name=call.name,
        config=_config(call.layer, call.cell),
        mode=mode,
        call=number,
        weights=weights,
        not_compared=reason,
        notes=call.notes + (FUSED,) * (kernel == CUDNN),
        merge=merge,
        kernel=kernel,
        **fields,
    )


def merge_of(layer: Any, arrays: Mapping[str, NDArray[Any]]) -> Merge:
    """What a `Bidirectional` did, from the arrays of its call."""
    parts = {side: handed_arrays(arrays, side) for side in ("whole", "forward", "backward")}
    count = len(parts["forward"].returned) - 1
    names = {1: ("h",), 2: ("h", "c")}.get(count, tuple(f"state {i}" for i in range(count)))
    return Merge(layer.merge_mode, bool(layer.return_sequences), names, **parts)


def with_parts(merge: LayerCall, found: Sequence[LayerCall]) -> LayerCall:
    """What a `Bidirectional` did, with what its two layers did in the same call."""
    whole = merge.layer_name.removesuffix("/merge")
    call = [one for one in found if one.call == merge.call]
    sides = (f"{whole}/forward/", f"{whole}/backward/")
    parts = [tuple(one for one in call if one.layer_name.startswith(side)) for side in sides]
    return replace(merge, parts=tuple(parts))


def handed_arrays(arrays: Mapping[str, NDArray[Any]], side: str) -> Handed:
    """What passed through the wrapper, or through one of its layers."""
    own = {
        name.removeprefix(f"{side}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{side}/")
    }
    return Handed(
        own["inputs"],
        own.get("mask"),
        indexed_arrays(own, "initial_state"),
        indexed_arrays(own, "returned"),
    )


def indexed_arrays(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[NDArray[Any], ...]:
    """The arrays "name_0", "name_1" and so on."""
    keys = (f"{name}_{i}" for i in range(len(arrays)))
    return tuple(arrays[key] for key in keys if key in arrays)


def not_seen(layer: Any, name: str, mode: str) -> LayerCall:
    """A recurrent layer of the model whose calls, if any, could not be observed."""
    kind = type(layer).__name__
    reason = (
        f"{kind} {name!r} was not seen to run: the model does not call it, or calls it inside a "
        "tf.function or loop of its own"
    )
    return not_compared(kind, name, _config(layer), reason, mode)


def _config(layer: Any, cell: Any = None) -> dict[str, Any]:
    """The layer's own description of itself in JSON's types; what has none becomes a string.

    Of a stack of cells, that of a layer around this `cell` alone.
    """
    try:
        config = layer.get_config()
        if cell is not None:
            config["cell"] = {"class_name": type(cell).__name__, "config": cell.get_config()}
    except Exception:  # a user's own class need not describe itself
        return {}
    plain: dict[str, Any] = json.loads(json.dumps(config, default=str, skipkeys=True))
    return plain


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
    """The functions that Keras means by this name, in all places where it has one."""
    tf = tensorflow_module()
    homes = [tf, tf.keras.activations, getattr(tf.keras, "ops", tf)]
    return [getattr(home, name) for home in homes]
