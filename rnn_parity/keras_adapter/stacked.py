"""The cells of a `StackedRNNCells` one by one: every cell's outputs, from one and the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from rnn_parity.keras_adapter.instead import instead
from rnn_parity.keras_adapter.parts import stacked_cells
from rnn_parity.keras_adapter.runtime import tensorflow_module


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
        handed_on = own["outputs"]
        own = {name: own[name] for name in ("mask",) if name in own}
        own["inputs"] = (
            tensorflow_module().reverse(handed_on, [1]) if layer.go_backwards else handed_on
        )


def state_range(layer: Any, i: int) -> tuple[int, int]:
    """Where the states of cell `i` begin among those of the layer, and how many there are."""
    counts = [len(tensorflow_module().nest.flatten(c.state_size)) for c in stacked_cells(layer)]
    return sum(counts[:i]), counts[i]
