"""What reaches recurrent layers and what they return, as tensors of the very run that is checked.

A `Recorder` replaces the `call` of layers for a while. Of a `StackedRNNCells` every cell's outputs
are recorded, of a `Bidirectional` what it hands to its two layers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

from rnn_parity.keras_adapter.dropout import DropoutMasks, noted_masks
from rnn_parity.keras_adapter.parts import (
    directions,
    is_bidirectional,
    is_time_distributed,
    is_time_major,
    stacked_cells,
)
from rnn_parity.keras_adapter.runtime import instead, keras_major, tensorflow_module
from rnn_parity.keras_adapter.weights import unsupported, unsupported_cell

SCRATCH = ("scratch_graph", "keras_graph")
"""In the names of graphs in which Keras works out shapes, and computes nothing."""


@dataclass(frozen=True, eq=False)
class CallTensors:
    """The tensors that one call of a layer was given, and all that it returned."""

    layer: Any
    inputs: Any
    mask: Any
    initial_state: Sequence[Any]
    returned: Sequence[Any]

    def by_name(self) -> dict[str, Any]:
        """Everything that is there, batch first."""
        given = {"inputs": self.inputs, "mask": self.mask}
        given |= indexed_names("initial_state", self.initial_state)
        seen = {name: value for name, value in given.items() if value is not None}
        sequences = sequence_outputs(self.layer)
        returned = [
            batch_first(self.layer, "outputs" if i < sequences else "state", value)
            for i, value in enumerate(self.returned)
        ]
        batches = {name: batch_first(self.layer, name, value) for name, value in seen.items()}
        return batches | indexed_names("returned", returned)


def call_tensors(layer: Any, arguments: Mapping[str, Any], result: Any) -> CallTensors:
    """The tensors of a call, from its arguments by name and its result."""
    flatten = tensorflow_module().nest.flatten
    given = arguments.get("initial_state")
    states = [] if given is None else flatten(given)
    inputs = flatten(next(iter(arguments.values())))[0]
    return CallTensors(layer, inputs, arguments.get("mask"), states, flatten(result))


def recurrent_tensors(
    layer: Any, arguments: Mapping[str, Any], run: Callable[[], Any], masks: DropoutMasks
) -> tuple[Any, dict[str, Any]]:
    """The layer's result, unchanged, and what `LayerCall` holds of this call but its dropout.

    Of that, `masks` gives what has been drawn; a mask for every timestep is on the inputs already.
    """
    before = stored_states(layer)
    given = call_tensors(layer, arguments, ())
    tensors = {
        "inputs": given.inputs,
        "mask": given.mask,
        **indexed_names("initial_state", initial_state(layer, given.initial_state, before)),
    }
    result = run()
    dropped = masks.of_every_step()
    if dropped is not None:
        tensors["inputs"] = given.inputs * dropped
    returned = tensorflow_module().nest.flatten(result)
    after = stored_states(layer)
    tensors["outputs"] = returned[0]
    if not layer.return_sequences:
        tensors["last_output"] = returned[0]
        time = 0 if is_time_major(layer) else 1
        if given.inputs.shape[time] == 1:  # the last output is the whole sequence
            tensors["outputs"] = tensorflow_module().expand_dims(returned[0], time)
        else:
            with masks.again():
                tensors["outputs"] = whole_sequence(layer, run, before, after)
    tensors |= indexed_names("final_state", returned[1:] if layer.return_state else after)
    seen = {name: value for name, value in tensors.items() if value is not None}
    return result, {name: batch_first(layer, name, value) for name, value in seen.items()}


def indexed_names(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Several tensors of one name, numbered."""
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
    restore_states(layer, before)
    layer.return_sequences, layer.return_state = True, True
    try:
        return tensorflow_module().nest.flatten(run())[0]
    finally:
        layer.return_sequences, layer.return_state = False, kept
        restore_states(layer, after)


def stored_states(layer: Any) -> list[Any]:
    """A copy of a stateful layer's state, `[(B, H)]`; empty when the layer is not stateful."""
    tf = tensorflow_module()
    return [tf.identity(state) for state in tf.nest.flatten(layer.states)] if layer.stateful else []


def restore_states(layer: Any, values: list[Any]) -> None:
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


@dataclass(eq=False)
class Widths:
    """How many numbers each cell contributes to a widened output."""

    sizes: list[int] = field(default_factory=list)

    def slices(self, wide: Any) -> list[Any]:
        """The part of each cell, along the last axis."""
        edges = accumulate(self.sizes, initial=0)
        return [wide[..., start:stop] for start, stop in pairwise(edges)]

    def narrow(self, result: Any) -> Any:
        """What the layer would have returned: the last cell's outputs, and the states."""
        nest = tensorflow_module().nest
        wide, *rest = nest.flatten(result)
        return nest.pack_sequence_as(result, [self.slices(wide)[-1], *rest])


@contextmanager
def widened(layer: Any) -> Iterator[Widths]:
    """The layer's stack returns the outputs of all its cells side by side in this block.

    Keras's own code computes every step as it does without; the states are not touched. In a loop
    of a graph nothing else could bring the outputs of the inner cells to the outside.
    """
    stack, widths = layer.cell, Widths()
    outputs: list[Any] = []

    def noting(call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            output, states = call(*args, **kwargs)
            outputs.append(output)
            return output, states

        return noted

    def widening(call: Callable[..., Any]) -> Callable[..., Any]:
        def wide(*args: Any, **kwargs: Any) -> Any:
            outputs.clear()
            last, states = call(*args, **kwargs)
            every = [*outputs[:-1], last]
            widths.sizes[:] = [int(output.shape[-1]) for output in every]
            tf = tensorflow_module()
            return tf.concat([tf.cast(output, last.dtype) for output in every], -1), states

        return wide

    with ExitStack() as replaced:
        # A cell may stand in a stack more than once.
        for cell in {id(cell): cell for cell in stacked_cells(layer)}.values():
            replaced.enter_context(instead(cell, noting))
        replaced.enter_context(instead(stack, widening))
        yield widths


def cell_tensors(
    layer: Any, tensors: Mapping[str, Any], widths: Widths
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """The name of each cell, the cell, and its own part of the `tensors` of a widened call.

    The inputs of a cell are the outputs of the one before, in the order of the layer's inputs.
    """
    outputs = [name for name in ("outputs", "last_output") if name in tensors]
    wide = {name: widths.slices(tensors[name]) for name in outputs}
    own = {name: tensors[name] for name in ("inputs", "mask") if name in tensors}
    for i, cell in enumerate(stacked_cells(layer)):
        own |= {name: parts[i] for name, parts in wide.items()}
        first, count = state_range(layer, i)
        for name in ("initial_state", "final_state"):
            found = {f"{name}_{k}": tensors.get(f"{name}_{first + k}") for k in range(count)}
            own |= {key: state for key, state in found.items() if state is not None}
        yield f"cell_{i}/{getattr(cell, 'name', type(cell).__name__)}", cell, own
        next_inputs = own["outputs"]
        own = {name: own[name] for name in ("mask",) if name in own}
        own["inputs"] = (
            tensorflow_module().reverse(next_inputs, [1]) if layer.go_backwards else next_inputs
        )


def state_range(layer: Any, i: int) -> tuple[int, int]:
    """Where the states of cell `i` begin among those of the layer, and how many there are."""
    counts = [len(tensorflow_module().nest.flatten(c.state_size)) for c in stacked_cells(layer)]
    return sum(counts[:i]), counts[i]


@dataclass(frozen=True, eq=False)
class RecordedCall:
    """One call of one layer, or of one `cell` of a stack: the tensors that were seen, batch first.

    Their names are those of `LayerCall`; of a `Bidirectional` those of `CallTensors`, after
    "whole/", "forward/" or "backward/".
    """

    layer: Any
    name: str
    not_compared: str | None
    tensors: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    cell: Any = None


def recorded_calls(
    layer: Any,
    name: str,
    arguments: Mapping[str, Any],
    run: Callable[[], Any],
    inside: Callable[[], Iterable[CallTensors]],
) -> tuple[Any, list[RecordedCall]]:
    """The result of `run`, which calls the layer, unchanged, and all that is known of this call.

    `inside` tells which calls were seen in the meantime.
    """
    notes = lost_mask(arguments)
    if is_bidirectional(layer):
        result = run()
        found = [
            bidirectional_call(layer, name, call_tensors(layer, arguments, result), list(inside()))
        ]
    elif reason := not_replayed(layer):
        result = run()
        seen = call_tensors(layer, arguments, result)
        first = {"inputs": seen.inputs, "outputs": seen.returned[0]}
        found = [RecordedCall(layer, name, reason, first)]
    else:
        with noted_masks(layer, arguments.get("training")) as masks:
            record = stack_calls if stacked_cells(layer) else single_cell_call
            result, found = record(layer, name, arguments, run, masks)
        found = [replace(call, not_compared=call.not_compared or masks.unseen()) for call in found]
    return result, [replace(call, notes=(*notes, *call.notes)) for call in found]


def single_cell_call(
    layer: Any, name: str, arguments: Mapping[str, Any], run: Callable[[], Any], masks: DropoutMasks
) -> tuple[Any, list[RecordedCall]]:
    """`recorded_calls` of a layer that runs one cell."""
    result, tensors = recurrent_tensors(layer, arguments, run, masks)
    cell = layer.cell
    return result, [
        RecordedCall(layer, name, None, tensors | masks.of_cell(cell), masks.notes(cell))
    ]


def stack_calls(
    layer: Any, name: str, arguments: Mapping[str, Any], run: Callable[[], Any], masks: DropoutMasks
) -> tuple[Any, list[RecordedCall]]:
    """`recorded_calls` of a layer that runs a stack of cells, with a call for each of them."""
    with widened(layer) as widths:
        wide, tensors = recurrent_tensors(layer, arguments, run, masks)
    notes = narrow_stack(layer)
    found = [
        RecordedCall(
            layer,
            f"{name}/{part}",
            unsupported_cell(layer, cell),
            own | masks.of_cell(cell),
            (*notes, *masks.notes(cell)),
            cell,
        )
        for part, cell, own in cell_tensors(layer, tensors, widths)
    ]
    return widths.narrow(wide), found


def bidirectional_call(
    layer: Any, name: str, whole: CallTensors, inside: Sequence[CallTensors]
) -> RecordedCall:
    """What a `Bidirectional` handed to its two layers, and made of what they returned."""
    tensors = {f"whole/{key}": value for key, value in whole.by_name().items()}
    kind, own = type(layer), tensorflow_module().keras.layers.Bidirectional
    if kind.call is not own.call or kind.__call__ is not own.__call__:
        reason = f"{kind.__name__} overrides Bidirectional's call, and its merge is not replayed"
        return RecordedCall(layer, name, reason, tensors)
    for side, part in directions(layer).items():
        calls = [call for call in inside if call.layer is part]
        if len(calls) != 1:
            reason = f"its {side} layer was seen to run {len(calls)} times, and not once"
            return RecordedCall(layer, name, reason, tensors)
        tensors |= {f"{side}/{key}": value for key, value in calls[0].by_name().items()}
    return RecordedCall(layer, name, None, tensors)


def folded_slices(calls: list[RecordedCall], steps: int | None) -> list[RecordedCall]:
    """Calls in a loop over `steps` slices as calls with all slices in one batch.

    Sample b of slice t is b * steps + t of that batch. Calls that are not the same in every step,
    or that depend on the one before, stay as they are.
    """
    each, rest = divmod(len(calls), steps or 1)
    groups = [calls[i::each] for i in range(each)]
    alike = all(len({what_slices_share(call) for call in group}) == 1 for group in groups)
    if steps is None or rest or not alike:
        return calls
    return [replace(group[0], tensors=stacked_batches(group)) for group in groups]


def what_slices_share(call: RecordedCall) -> tuple[Any, ...]:
    """What two calls of one layer have in common that may be joined."""
    once = id(call) if getattr(call.layer, "stateful", False) else None
    shapes = ((name, *value.shape) for name, value in call.tensors.items())
    return call.name, call.not_compared, call.notes, once, *shapes


def stacked_batches(calls: Sequence[RecordedCall]) -> dict[str, Any]:
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


@dataclass(eq=False)
class Recorder:
    """Replaces the `call` of layers on the instance, for the time of a `with recorder.attached()`.

    `layers` maps names to layers. `program(f)` is `f` followed by the return of all tensors that
    were recorded while it ran, so that graph modes give them back as outputs of the same graph.
    `calls` then tells which tensor belongs to which call. `silent` names the layers of which some
    call was not observed.
    """

    layers: Mapping[str, Any]
    calls: list[RecordedCall] = field(default_factory=list)
    graph: Any = None
    _tensors: list[CallTensors] = field(default_factory=list, init=False)
    _elsewhere: set[str] = field(default_factory=set, init=False)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The layers record their calls in this block, and are as they were after it."""
        with ExitStack() as replaced:
            for name, layer in self.layers.items():
                replaced.enter_context(instead(layer, partial(self._recording, name, layer)))
            yield

    def program(self, function: Callable[[Any], object]) -> Callable[[Any], dict[str, Any]]:
        """`function`, returning the recorded tensors under the keys "number/field"."""

        def run(data: Any) -> dict[str, Any]:
            # A graph mode may trace this more than once: the last trace is the one that runs.
            for found in (self.calls, self._tensors, self._elsewhere):
                found.clear()
            self.graph = _graph()
            function(data)
            # Keras 2's predict refuses to return nothing at all.
            results = {"end": tensorflow_module().zeros((1,))}
            for i, call in enumerate(self.calls):
                results.update({f"{i}/{key}": value for key, value in call.tensors.items()})
            return results

        return run

    def silent(self) -> list[str]:
        """The layers that were not seen to run, or ran where nothing can be observed as well."""
        seen = {id(call.layer) for call in self.calls}
        return [
            name
            for name, layer in self.layers.items()
            if not is_time_distributed(layer) and (name in self._elsewhere or id(layer) not in seen)
        ]

    def _recording(self, name: str, layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(call)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            run = partial(call, *args, **kwargs)
            if _graph() is not self.graph:
                # Inside a tf.function or loop of the model's own, or while Keras 3 works out the
                # shapes of an unbuilt model: tensors of that graph cannot leave it.
                if not any(word in getattr(_graph(), "name", "") for word in SCRATCH):
                    self._elsewhere.add(name)
                return run()
            arguments = signature.bind(*args, **kwargs).arguments
            if is_time_distributed(layer):
                return self._joined(arguments, run)
            before = len(self._tensors)
            result, calls = recorded_calls(
                layer, name, arguments, run, lambda: self._tensors[before:]
            )
            self._tensors.append(call_tensors(layer, arguments, result))
            self.calls += calls
            return result

        return recorded

    def _joined(self, arguments: Mapping[str, Any], run: Callable[[], Any]) -> Any:
        """The result of a `TimeDistributed`; the calls that it makes for each slice become one."""
        before = len(self.calls)
        result = run()
        inputs = tensorflow_module().nest.flatten(next(iter(arguments.values())))[0]
        self.calls[before:] = folded_slices(self.calls[before:], inputs.shape[1])
        return result


def _graph() -> Any:
    tf = tensorflow_module()
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
