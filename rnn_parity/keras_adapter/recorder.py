"""What reaches a recurrent layer and what it produces, taken from the very run that is checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rnn_parity.keras_adapter.calls import Call, folded, observe
from rnn_parity.keras_adapter.instead import instead
from rnn_parity.keras_adapter.parts import is_time_distributed
from rnn_parity.keras_adapter.runtime import tensorflow_module
from rnn_parity.keras_adapter.tensors import Passed, passed

SCRATCH = ("scratch_graph", "keras_graph")
"""In the names of graphs in which Keras works out shapes, and computes nothing."""


@dataclass(eq=False)
class Recorder:
    """Replaces the `call` of layers on the instance, for the time of a `with recorder.attached()`.

    `layers` maps names to layers. `program(f)` is `f` followed by the return of all tensors that
    were recorded while it ran, so that graph modes give them back as outputs of the same graph.
    `calls` then tells which tensor belongs to which call. `silent` names the layers of which some
    call was not observed.
    """

    layers: Mapping[str, Any]
    calls: list[Call] = field(default_factory=list)
    graph: Any = None
    _passed: list[Passed] = field(default_factory=list, init=False)
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
            for found in (self.calls, self._passed, self._elsewhere):
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
            before = len(self._passed)
            result, calls = observe(layer, name, arguments, run, lambda: self._passed[before:])
            self._passed.append(passed(layer, arguments, result))
            self.calls += calls
            return result

        return recorded

    def _joined(self, arguments: Mapping[str, Any], run: Callable[[], Any]) -> Any:
        """The result of a `TimeDistributed`; the calls that it makes for each slice become one."""
        before = len(self.calls)
        result = run()
        inputs = tensorflow_module().nest.flatten(next(iter(arguments.values())))[0]
        self.calls[before:] = folded(self.calls[before:], inputs.shape[1])
        return result


def _graph() -> Any:
    tf = tensorflow_module()
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
