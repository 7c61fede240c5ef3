"""What reaches a recurrent layer and what it produces, taken from the very run that is checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rnn_parity.keras_adapter.build import is_time_major
from rnn_parity.keras_adapter.runtime import keras_major, tensorflow_module
from rnn_parity.keras_adapter.weights import unsupported


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one layer: the tensors that were seen, by the names of `Observation`."""

    layer: Any
    name: str
    not_compared: str | None
    tensors: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class Recorder:
    """Replaces the `call` of layers on the instance, for the time of a `with recorder.attached()`.

    `layers` maps names to layers. `program(f)` is `f` followed by the return of all tensors that
    were recorded while it ran, so that graph modes give them back as outputs of the same graph.
    `calls` then tells which tensor belongs to which call.
    """

    layers: Mapping[str, Any]
    calls: list[Call] = field(default_factory=list)
    graph: Any = None

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The layers record their calls in this block, and are as they were after it."""
        # Straight into the instance's dictionary: Keras's own __setattr__ tracks what it is given.
        for name, layer in self.layers.items():
            layer.__dict__["call"] = self._recording(name, layer, layer.call)
        try:
            yield
        finally:
            for layer in self.layers.values():
                del layer.__dict__["call"]

    def program(self, function: Callable[[Any], object]) -> Callable[[Any], dict[str, Any]]:
        """`function`, returning the recorded tensors under the keys "number/field"."""

        def run(data: Any) -> dict[str, Any]:
            # A graph mode may trace this more than once: the last trace is the one that runs.
            self.calls.clear()
            self.graph = _graph()
            function(data)
            # Keras 2's predict refuses to return nothing at all.
            results = {"end": tensorflow_module().zeros((1,))}
            for i, call in enumerate(self.calls):
                results.update({f"{i}/{key}": value for key, value in call.tensors.items()})
            return results

        return run

    def _recording(self, name: str, layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(call)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            if _graph() is not self.graph:
                # Inside a tf.function or loop of the model's own, or while Keras 3 works out the
                # shapes of an unbuilt model: tensors of that graph cannot leave it.
                return call(*args, **kwargs)
            arguments = signature.bind(*args, **kwargs).arguments
            reason = unsupported(layer) or _dropout(layer, arguments.get("training"))
            observe = _opaque if reason else _observed
            result, tensors = observe(layer, arguments, lambda: call(*args, **kwargs))
            self.calls.append(Call(layer, name, reason, tensors, _lost_mask(arguments)))
            return result

        return recorded


def _lost_mask(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """A note when the inputs carry a mask of Keras's that did not become the layer's argument.

    Keras 3 hands it over only to a layer that is called with a single tensor.
    """
    carried = getattr(next(iter(arguments.values())), "_keras_mask", None)
    if carried is None or arguments.get("mask") is not None:
        return ()
    given = " because it is also given an initial state" * ("initial_state" in arguments)
    return (
        f"the inputs carry a mask, but Keras does not hand it to this layer{given}: masked steps "
        "are computed like the others; pass mask= to the layer explicitly",
    )


def _graph() -> Any:
    tf = tensorflow_module()
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _dropout(layer: Any, training: Any) -> str | None:
    """Why a call with active dropout is not compared: its random masks are not observed."""
    if training in (None, False) or not (layer.cell.dropout or layer.cell.recurrent_dropout):
        return None
    return f"{type(layer).__name__} is called with training={training}, which makes dropout active"


def _opaque(
    layer: Any, arguments: Mapping[str, Any], call: Callable[[], Any]
) -> tuple[Any, dict[str, Any]]:
    """Of a layer that is not replayed: the first input and the first output alone."""
    flatten = tensorflow_module().nest.flatten
    result = call()
    inputs = flatten(next(iter(arguments.values())))[0]
    return result, {"inputs": inputs, "outputs": flatten(result)[0]}


def _observed(
    layer: Any, arguments: Mapping[str, Any], call: Callable[[], Any]
) -> tuple[Any, dict[str, Any]]:
    """The layer's result, unchanged, and everything that `Observation` holds of this call."""
    tf = tensorflow_module()
    before = _states(layer)
    tensors = {
        "inputs": next(iter(arguments.values())),
        "mask": arguments.get("mask"),
        **_numbered("initial_state", _initial_state(layer, arguments.get("initial_state"), before)),
    }
    result = call()
    returned = tf.nest.flatten(result)
    after = _states(layer)
    tensors["outputs"] = returned[0]
    if not layer.return_sequences:
        tensors["last_output"] = returned[0]
        tensors["outputs"] = _whole_sequence(layer, call, before, after)
    tensors |= _numbered("final_state", returned[1:] if layer.return_state else after)
    seen = {name: value for name, value in tensors.items() if value is not None}
    return result, {name: _batch_first(layer, name, value) for name, value in seen.items()}


def _numbered(name: str, states: list[Any]) -> dict[str, Any]:
    return {f"{name}_{i}": state for i, state in enumerate(states)}


def _initial_state(layer: Any, given: Any, stored: list[Any]) -> list[Any]:
    """The states that this call starts from, in the dtype that it computes with; none for zeros."""
    tf = tensorflow_module()
    if given is None:
        states = stored
    else:
        states = tf.nest.flatten(given)
        if stored and keras_major() == 2:
            # Keras 2 takes given states only while the stored ones are still zero.
            used = tf.reduce_any([tf.reduce_any(state != 0) for state in stored])
            pairs = zip(stored, states, strict=True)
            states = [tf.where(used, old, tf.cast(new, old.dtype)) for old, new in pairs]
    return [tf.cast(state, layer.compute_dtype) for state in states]


def _whole_sequence(
    layer: Any, call: Callable[[], Any], before: list[Any], after: list[Any]
) -> Any:
    """All outputs of the same call, by the same layer, from the same state."""
    kept = layer.return_state
    _assign(layer, before)
    layer.return_sequences, layer.return_state = True, True
    try:
        return tensorflow_module().nest.flatten(call())[0]
    finally:
        layer.return_sequences, layer.return_state = False, kept
        _assign(layer, after)


def _states(layer: Any) -> list[Any]:
    """A copy of a stateful layer's state, `[(B, H)]`; empty when the layer is not stateful."""
    tf = tensorflow_module()
    return [tf.identity(state) for state in layer.states] if layer.stateful else []


def _assign(layer: Any, values: list[Any]) -> None:
    for state, value in zip(layer.states or (), values, strict=False):
        state.assign(value)


def _batch_first(layer: Any, name: str, value: Any) -> Any:
    tf = tensorflow_module()
    if name == "mask":
        value = tf.cast(value, tf.bool)
    if is_time_major(layer) and name in ("inputs", "mask", "outputs"):
        value = tf.experimental.numpy.swapaxes(value, 0, 1)
    return value
