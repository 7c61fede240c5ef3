"""The layers inside a Keras model or wrapper: their names, cells, states and axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rnn_parity.errors import InputError, misspelt
from rnn_parity.keras_adapter.runtime import tensorflow_module


def watched_layers(root: Any) -> dict[str, Any]:
    """The recurrent layers in `root`, a layer or a model, with their paths; each layer once.

    A path is "inner/lstm" for a layer in a nested model or wrapper, "both/forward/lstm" for one of
    the two in a `Bidirectional`, which is itself there as "both/merge". A `TimeDistributed` around
    recurrent layers is there too, before them. A layer that is no model and holds no recurrent one
    stands for itself.
    """
    keras = tensorflow_module().keras
    seen: set[int] = set()
    if isinstance(root, keras.Model):
        return dict(_below(root, "", seen))
    return dict(_layer(root, root.name, seen)) or {root.name: root}


def selected(names: list[str], wanted: str) -> list[str]:
    """The names that a person means by `wanted`: a part's, or that of something that holds it.

    Raises `InputError` when there is none.
    """
    chosen = [name for name in names if f"/{wanted}/" in f"/{name}/"]
    if not chosen:
        expected = f"expected one of {', '.join(names) or '(no recurrent layer)'}"
        raise InputError(f"layer name: {misspelt(wanted, names, expected)}")
    return chosen


def is_bidirectional(layer: Any) -> bool:
    """Whether the layer runs two others, one of them backwards, and merges what they return."""
    return isinstance(layer, tensorflow_module().keras.layers.Bidirectional)


def is_time_distributed(layer: Any) -> bool:
    """Whether the layer runs another one on each of several slices of its inputs."""
    return isinstance(layer, tensorflow_module().keras.layers.TimeDistributed)


def stacked_cells(layer: Any) -> list[Any]:
    """The cells that an `RNN` runs one after the other in each step; none for another layer."""
    layers = tensorflow_module().keras.layers
    if type(layer) is not layers.RNN or type(layer.cell) is not layers.StackedRNNCells:
        return []
    return list(layer.cell.cells)


def cells_of(layer: Any) -> list[Any]:
    """All cells that a layer runs, in its two directions where it has them."""
    if is_bidirectional(layer):
        return [cell for part in directions(layer).values() for cell in cells_of(part)]
    return stacked_cells(layer) or [layer.cell]


def is_time_major(layer: Any) -> bool:
    """Whether the layer takes `(timesteps, batch, features)`, an option of Keras 2 alone."""
    return bool(getattr(getattr(layer, "forward_layer", layer), "time_major", False))


def input_shape(
    layer: Any, batch: int | None, timesteps: int | None, *rest: int
) -> tuple[Any, ...]:
    """The shape of a layer's inputs, in the order of axes that it takes."""
    return (timesteps, batch, *rest) if is_time_major(layer) else (batch, timesteps, *rest)


def state_structure(layer: Any) -> list[Any]:
    """The sizes of the states that a layer is given, nested as Keras has them."""
    if is_bidirectional(layer):
        return [size for part in directions(layer).values() for size in state_structure(part)]
    sizes = getattr(getattr(layer, "cell", None), "state_size", [])
    return list(sizes) if tensorflow_module().nest.is_nested(sizes) else [sizes]


def state_count(layer: Any) -> int:
    """How many states a layer is given."""
    return len(tensorflow_module().nest.flatten(state_structure(layer)))


def directions(layer: Any) -> Mapping[str, Any]:
    """The two layers of a `Bidirectional`."""
    return {"forward": layer.forward_layer, "backward": layer.backward_layer}


def _below(parent: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """What is watched of the layers that a model, or a layer with sublayers, holds."""
    keras = tensorflow_module().keras
    children = (
        parent.layers
        if isinstance(parent, keras.Model)
        else parent._flatten_layers(include_self=False, recursive=False)
    )
    for child in children:
        yield from _layer(child, path + child.name, seen)


def _layer(layer: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    layers = tensorflow_module().keras.layers
    if id(layer) in seen:
        return
    seen.add(id(layer))
    if isinstance(layer, layers.RNN) or hasattr(layer, "state_size"):
        yield name, layer
    elif is_bidirectional(layer):
        for side, inner in directions(layer).items():
            path = f"{name}/{side}/{inner.name.removeprefix(f'{side}_')}"
            if id(inner) not in seen:
                found = dict(_layer(inner, path, seen))
                yield from (found or {path: inner}).items()
        yield f"{name}/merge", layer
    else:
        inside = dict(_below(layer, f"{name}/", seen))
        if inside and is_time_distributed(layer):
            yield name, layer
        yield from inside.items()
