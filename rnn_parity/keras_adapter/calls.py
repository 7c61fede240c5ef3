"""One call of one layer: what reached it and what it returned, as tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnn_parity.keras_adapter.dropout import Drawn, noted
from rnn_parity.keras_adapter.parts import directions, is_bidirectional, stacked_cells
from rnn_parity.keras_adapter.runtime import tensorflow_module
from rnn_parity.keras_adapter.stacked import cell_tensors, widened
from rnn_parity.keras_adapter.tensors import Passed, observed, passed
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
    elif reason := not_replayed(layer):
        result, tensors = opaque(arguments, run)
        found = [Call(layer, name, reason, tensors)]
    else:
        with noted(layer, arguments.get("training")) as masks:
            kind = of_stack if stacked_cells(layer) else of_layer
            result, found = kind(layer, name, arguments, run, masks)
        found = [replace(call, not_compared=call.not_compared or masks.unseen()) for call in found]
    return result, [replace(call, notes=(*notes, *call.notes)) for call in found]


def of_layer(
    layer: Any, name: str, arguments: Mapping[str, Any], run: Callable[[], Any], masks: Drawn
) -> tuple[Any, list[Call]]:
    """`observe` of a layer that runs one cell."""
    result, tensors = observed(layer, arguments, run, masks)
    cell = layer.cell
    return result, [Call(layer, name, None, tensors | masks.of(cell), masks.notes(cell))]


def of_stack(
    layer: Any, name: str, arguments: Mapping[str, Any], run: Callable[[], Any], masks: Drawn
) -> tuple[Any, list[Call]]:
    """`observe` of a layer that runs a stack of cells, with a call for each of them."""
    with widened(layer) as widths:
        wide, tensors = observed(layer, arguments, run, masks)
    notes = narrow_stack(layer)
    found = [
        Call(
            layer,
            f"{name}/{part}",
            unsupported_cell(layer, cell),
            own | masks.of(cell),
            (*notes, *masks.notes(cell)),
            cell,
        )
        for part, cell, own in cell_tensors(layer, tensors, widths)
    ]
    return widths.narrow(wide), found


def merge(layer: Any, name: str, whole: Passed, inside: Sequence[Passed]) -> Call:
    """What a `Bidirectional` handed to its two layers, and made of what they returned."""
    tensors = {f"whole/{key}": value for key, value in whole.tensors().items()}
    kind, own = type(layer), tensorflow_module().keras.layers.Bidirectional
    if kind.call is not own.call or kind.__call__ is not own.__call__:
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


def not_replayed(layer: Any) -> str | None:
    """Why no call of this layer is compared; None where something is."""
    if not hasattr(layer, "cell") and hasattr(layer, "state_size"):
        return f"{type(layer).__name__} is called step by step by a layer of the model's own"
    return None if stacked_cells(layer) else unsupported(layer)


def opaque(arguments: Mapping[str, Any], run: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Of a layer that is not replayed: the first input and the first output alone."""
    flatten = tensorflow_module().nest.flatten
    result = run()
    inputs = flatten(next(iter(arguments.values())))[0]
    return result, {"inputs": inputs, "outputs": flatten(result)[0]}
