"""What passes through one call of a layer, as tensors: what it is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnn_parity.keras_adapter.build import is_time_major
from rnn_parity.keras_adapter.dropout import Drawn
from rnn_parity.keras_adapter.parts import is_bidirectional
from rnn_parity.keras_adapter.runtime import keras_major, tensorflow_module


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


def passed(layer: Any, arguments: Mapping[str, Any], result: Any) -> Passed:
    """What passed through a call."""
    flatten = tensorflow_module().nest.flatten
    given = arguments.get("initial_state")
    states = [] if given is None else flatten(given)
    inputs = flatten(next(iter(arguments.values())))[0]
    return Passed(layer, inputs, arguments.get("mask"), states, flatten(result))


def observed(
    layer: Any, arguments: Mapping[str, Any], run: Callable[[], Any], masks: Drawn
) -> tuple[Any, dict[str, Any]]:
    """The layer's result, unchanged, and what `Observation` holds of this call but its dropout.

    Of that, `masks` gives what has been drawn; a mask for every timestep is on the inputs already.
    """
    before = states(layer)
    given = passed(layer, arguments, ())
    tensors = {
        "inputs": given.inputs,
        "mask": given.mask,
        **numbered("initial_state", initial_state(layer, given.initial_state, before)),
    }
    result = run()
    dropped = masks.of_every_step()
    if dropped is not None:
        tensors["inputs"] = given.inputs * dropped
    returned = tensorflow_module().nest.flatten(result)
    after = states(layer)
    tensors["outputs"] = returned[0]
    if not layer.return_sequences:
        tensors["last_output"] = returned[0]
        with masks.again():
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
