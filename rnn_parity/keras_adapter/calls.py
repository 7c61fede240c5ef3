"""One call of one layer: what reached it and what it returned, as tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnn_parity.keras_adapter.build import is_time_major
from rnn_parity.keras_adapter.parts import directions, is_bidirectional, stacked_cells
from rnn_parity.keras_adapter.runtime import keras_major, tensorflow_module
from rnn_parity.keras_adapter.stacked import cell_tensors, widened
from rnn_parity.keras_adapter.weights import unsupported, unsupported_cell


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one layer, or of one `cell` of a stack: the tensors that were seen, batch first.

    Their names are those of `Observation`; of a `Bidirectional` those of `Passed`, after
    "whole/", "forward/" or "backward/".
    """

    layer: Any
    name: str
    not_compared: str | None
    tensors: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    cell: Any = None


@dataclass(frozen=True, eq=False)
class Passed:
    """What a call was given, and all that it returned."""

    layer: Any
    inputs: Any
    mask: Any
    initial_state: Sequence[Any]
    returned: Sequence[Any]

    def tensors(self) -> dict[str, Any]:
        """Everything that is there, batch first."""
        given = {"inputs": self.inputs, "mask": self.mask}
        given |= numbered("initial_state", self.initial_state)
        seen = {name: value for name, value in given.items() if value is not None}
        sequences = sequence_outputs(self.layer)
        returned = [
            batch_first(self.layer, "outputs" if i < sequences else "state", value)
            for i, value in enumerate(self.returned)
        ]
        batches = {name: batch_first(self.layer, name, value) for name, value in seen.items()}
        return batches | numbered("returned", returned)


def observe(
    layer: Any,
    name: str,
    arguments: Mapping[str, Any],
    run: Callable[[], Any],
    inside: Callable[[], Iterable[Passed]],
) -> tuple[Any, list[Call]]:
    """The result of `run`, unchanged, which calls the layer, and all that is known of this call.

    `inside` tells which calls were seen in the meantime.
    """
    notes = lost_mask(arguments)
    if is_bidirectional(layer):
        result = run()
        found = [merge(layer, name, passed(layer, arguments, result), list(inside()))]
    elif reason := not_replayed(layer, arguments):
        result, tensors = opaque(arguments, run)
        found = [Call(layer, name, reason, tensors)]
    elif stacked_cells(layer):
        with widened(layer) as widths:
            wide, tensors = observed(layer, arguments, run)
        result, note = widths.narrow(wide), narrow_stack(layer)
        found = [
            Call(layer, f"{name}/{part}", unsupported_cell(layer, cell), own, note, cell)
            for part, cell, own in cell_tensors(layer, tensors, widths)
        ]
    else:
        result, tensors = observed(layer, arguments, run)
        found = [Call(layer, name, None, tensors)]
    return result, [replace(call, notes=(*notes, *call.notes)) for call in found]


def passed(layer: Any, arguments: Mapping[str, Any], result: Any) -> Passed:
    """What passed through a call."""
    flatten = tensorflow_module().nest.flatten
    given = arguments.get("initial_state")
    states = [] if given is None else flatten(given)
    inputs = flatten(next(iter(arguments.values())))[0]
    return Passed(layer, inputs, arguments.get("mask"), states, flatten(result))


def merge(layer: Any, name: str, whole: Passed, inside: Sequence[Passed]) -> Call:
    """What a `Bidirectional` handed to its two layers, and made of what they returned."""
    tensors = {f"whole/{key}": value for key, value in whole.tensors().items()}
    kind, own = type(layer), tensorflow_module().keras.layers.Bidirectional
    if kind.call is not own.call:
        reason = f"{kind.__name__} overrides Bidirectional's call, and its merge is not replayed"
        return Call(layer, name, reason, tensors)
    for side, part in directions(layer).items():
        calls = [call for call in inside if call.layer is part]
        if len(calls) != 1:
            reason = f"its {side} layer was seen to run {len(calls)} times, and not once"
            return Call(layer, name, reason, tensors)
        tensors |= {f"{side}/{key}": value for key, value in calls[0].tensors().items()}
    return Call(layer, name, None, tensors)


def folded(calls: list[Call], steps: int | None) -> list[Call]:
    """Calls in a loop over `steps` slices as calls with all slices in one batch.

    Sample b of slice t is b * steps + t of that batch. Calls that are not the same in every step,
    or that depend on the one before, stay as they are.
    """
    each, rest = divmod(len(calls), steps or 1)
    groups = [calls[i::each] for i in range(each)]
    alike = all(len({like(call) for call in group}) == 1 for group in groups)
    if steps is None or rest or not alike:
        return calls
    return [replace(group[0], tensors=stacked_batches(group)) for group in groups]


def like(call: Call) -> tuple[Any, ...]:
    """What two calls have in common that may be joined."""
    once = id(call) if getattr(call.layer, "stateful", False) else None
    shapes = ((name, *value.shape) for name, value in call.tensors.items())
    return call.name, call.not_compared, call.notes, once, *shapes


def stacked_batches(calls: Sequence[Call]) -> dict[str, Any]:
    """The tensors of several calls, their batches interleaved."""
    tf = tensorflow_module()
    joined = {}
    for name in calls[0].tensors:
        slices = tf.stack([call.tensors[name] for call in calls], axis=1)
        joined[name] = tf.reshape(slices, tf.concat([[-1], tf.shape(slices)[2:]], 0))
    return joined


def lost_mask(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """A note when the inputs carry a mask of Keras's that did not become the layer's argument.

    Keras 3 hands it over only to a layer that is called with a single tensor.
    """
    carried = getattr(next(iter(arguments.values())), "_keras_mask", None)
    if carried is None or arguments.get("mask") is not None:
        return ()
    given = " because it is also given an initial state" * (
        arguments.get("initial_state") is not None
    )
    return (
        f"the inputs carry a mask, but Keras does not hand it to this layer{given}: masked steps "
        "are computed like the others; pass mask= to the layer explicitly",
    )


def narrow_stack(layer: Any) -> tuple[str, ...]:
    """A note when the stack around a layer's cells has another dtype than the layer."""
    inner, outer = layer.cell.compute_dtype, layer.compute_dtype
    if inner == outer:
        return ()
    return (
        f"the StackedRNNCells in this {outer} layer has the dtype {inner}, to which Keras casts "
        f"what reaches its cells; make it with StackedRNNCells(cells, dtype={outer!r})",
    )


def not_replayed(layer: Any, arguments: Mapping[str, Any]) -> str | None:
    """Why nothing of this call is compared; None where something is."""
    kind = type(layer).__name__
    if not hasattr(layer, "cell"):
        if hasattr(layer, "state_size"):
            return f"{kind} is called step by step by a layer of the model's own"
        return unsupported(layer)
    cells = stacked_cells(layer)
    reason = None if cells else unsupported(layer)
    return reason or dropout(layer, arguments.get("training"), cells or [layer.cell])


def dropout(layer: Any, training: Any, cells: Sequence[Any]) -> str | None:
    """Why a call with active dropout is not compared: its random masks are not observed."""
    rates = [getattr(cell, n, 0) for cell in cells for n in ("dropout", "recurrent_dropout")]
    if training in (None, False) or not any(rates):
        return None
    return f"{type(layer).__name__} is called with training={training}, which makes dropout active"


def opaque(arguments: Mapping[str, Any], run: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Of a layer that is not replayed: the first input and the first output alone."""
    flatten = tensorflow_module().nest.flatten
    result = run()
    inputs = flatten(next(iter(arguments.values())))[0]
    return result, {"inputs": inputs, "outputs": flatten(result)[0]}


def observed(
    layer: Any, arguments: Mapping[str, Any], run: Callable[[], Any]
) -> tuple[Any, dict[str, Any]]:
    """The layer's result, unchanged, and everything that `Observation` holds of this call."""
    before = states(layer)
    given = passed(layer, arguments, ())
    tensors = {
        "inputs": given.inputs,
        "mask": given.mask,
        **numbered("initial_state", initial_state(layer, given.initial_state, before)),
    }
    result = run()
    returned = tensorflow_module().nest.flatten(result)
    after = states(layer)
    tensors["outputs"] = returned[0]
    if not layer.return_sequences:
        tensors["last_output"] = returned[0]
        tensors["outputs"] = whole_sequence(layer, run, before, after)
    tensors |= numbered("final_state", returned[1:] if layer.return_state else after)
    seen = {name: value for name, value in tensors.items() if value is not None}
    return result, {name: batch_first(layer, name, value) for name, value in seen.items()}


def numbered(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Several tensors of one name."""
    return {f"{name}_{i}": value for i, value in enumerate(values)}


def initial_state(layer: Any, given: Sequence[Any], stored: list[Any]) -> list[Any]:
    """The states that this call starts from, in the dtype that it computes with; none for zeros."""
    tf = tensorflow_module()
    found = list(given) or stored
    if given and stored and keras_major() == 2:
        # Keras 2 takes given states only while the stored ones are still zero.
        used = tf.reduce_any([tf.reduce_any(state != 0) for state in stored])
        pairs = zip(stored, given, strict=True)
        found = [tf.where(used, old, tf.cast(new, old.dtype)) for old, new in pairs]
    return [tf.cast(state, layer.compute_dtype) for state in found]


def whole_sequence(layer: Any, run: Callable[[], Any], before: list[Any], after: list[Any]) -> Any:
    """All outputs of the same call, by the same layer, from the same state."""
    kept = layer.return_state
    assign(layer, before)
    layer.return_sequences, layer.return_state = True, True
    try:
        return tensorflow_module().nest.flatten(run())[0]
    finally:
        layer.return_sequences, layer.return_state = False, kept
        assign(layer, after)


def states(layer: Any) -> list[Any]:
    """A copy of a stateful layer's state, `[(B, H)]`; empty when the layer is not stateful."""
    tf = tensorflow_module()
    return [tf.identity(state) for state in tf.nest.flatten(layer.states)] if layer.stateful else []


def assign(layer: Any, values: list[Any]) -> None:
    """Give a stateful layer back the state that it had."""
    if values:
        for state, value in zip(
            tensorflow_module().nest.flatten(layer.states), values, strict=True
        ):
            state.assign(value)


def sequence_outputs(layer: Any) -> int:
    """How many of the tensors that a layer returns are sequences."""
    two = is_bidirectional(layer) and layer.merge_mode is None
    return (1 + two) * bool(getattr(layer, "return_sequences", False))


def batch_first(layer: Any, name: str, value: Any) -> Any:
    """One of a layer's tensors with the batch axis first, and a mask as booleans."""
    tf = tensorflow_module()
    if name == "mask":
        value = tf.cast(value, tf.bool)
    if is_time_major(layer) and name in ("inputs", "mask", "outputs"):
        value = tf.experimental.numpy.swapaxes(value, 0, 1)
    return value
