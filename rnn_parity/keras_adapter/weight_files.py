"""Weights alone: the recurrent layers that an HDF5 file holds, rebuilt from their arrays.

Two layouts are known. Keras 3, and Keras 2 from 2.12 on where the name ends in `.weights.h5`, has a
group for each object, whose arrays are numbered: `layers/lstm/cell/vars/0`. Before, a file listed
its layers (`layer_names`), and each of them the names of its arrays (`weight_names`), such as
`lstm/lstm_cell/kernel:0`, in Keras 1 `lstm_1_W_i:0`.

The shape of the recurrent kernel, `(H, G H)`, says which class it is; what the arrays do not say,
the activations first of all, is Keras's default, or what somebody says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rnn_parity.errors import InputError, one_line
from rnn_parity.keras_adapter.building import rebuild_layer
from rnn_parity.keras_adapter.observing import observe_layer
from rnn_parity.keras_adapter.old_files import (
    GATES,
    Array,
    attribute,
    check_listed,
    is_fused,
    is_old,
    modern_arrays,
    named_arrays,
    of_cudnn,
    text,
    unlike_today,
)
from rnn_parity.keras_adapter.parts import selected
from rnn_parity.recurrence.cells import KERAS_CELLS, WEIGHTS
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.system.limits import check_numbers

KINDS = {count: kind for kind, count in GATES.items()}
"""The class of a layer by the number of its gates."""
DTYPES = ("float16", "float32", "float64")
CELL = re.compile(r"(^|/)(cell|cells/[^/]+)$")
"""The end of the path of a cell among numbered arrays."""
CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "cell", "cells", "layer")
"""Parts of such a path that name what holds a layer, and no layer."""
KERAS_2_ARRAY = re.compile(r"(.*/)?(kernel|recurrent_kernel|bias)(_\d+)?(?::\d+)?")
KERAS_1_ARRAY = re.compile(r"(.+)_([WUb])(?:_([a-z]))?(?::\d+)?")
CELL_NAME = re.compile(r"(stacked_rnn_cells|\w+_cell)(_\d+)?$")
SIDE = re.compile(r"(forward|backward)_")
OPTIONS = (
    *("activation", "recurrent_activation", "reset_after", "go_backwards"),
    *("zero_output_for_mask", "unroll", "return_sequences", "return_state"),
)
"""What somebody may say of a layer whose weights alone are known."""
KERAS_1 = "1"
"""What wrote a file that lists its layers and does not say which Keras it was."""
HARD_SIGMOID_UNTIL = (2, 3)
"""From this version on Keras's LSTM and GRU have the sigmoid by default, and GRU `reset_after`."""


@dataclass(frozen=True, eq=False)
class FoundLayer:
    """A recurrent layer of which a file holds the weights alone.

    `name` is like "lstm" or "bidirectional/backward". `kernel` is `(F, G H)`, `recurrent_kernel`
    `(H, G H)`, `bias` `(G H,)`, `(2, G H)` for a GRU with `reset_after`, or None. `is_fused` says
    whether they were those of NVIDIA's kernel, `version` which Keras wrote the file, "" where
    that is 2.12 or later.
    """

    name: str
    kind: str
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    is_fused: bool = False
    version: str = ""

    @property
    def units(self) -> int:
        """The number of units."""
        return len(self.recurrent_kernel)


def found_layers(path: str | Path, layer_name: str | None = None) -> list[FoundLayer]:
    """The recurrent layers in a file of weights, in its order, or those that `layer_name` picks.

    The file is one that `loading.describe` has looked at. Raises `InputError`, naming the layer,
    for arrays that are those of no SimpleRNN, LSTM or GRU, and for a file of another layout.
    """
    import h5py  # type: ignore[import-untyped]  # comes with TensorFlow, without types

    try:
        with h5py.File(path, "r") as file:
            is_listed = any(key.startswith("layer_names") for key in file.attrs)
            if is_listed:
                check_listed(file, str(path))
            arrays = dict(_listed(file) if is_listed else _numbered(file))
            version = text(file.attrs.get("keras_version", KERAS_1)) if is_listed else ""
            if not arrays and not is_listed and "layers" not in file and "vars" not in file:
                raise InputError(
                    f"{path}: expected a whole model, or weights that Keras saved, received "
                    "neither: it has no 'model_config', no 'layer_names' and no 'layers'"
                )
    except InputError:
        raise
    except Exception as error:  # what is damaged may raise anything
        raise InputError(
            f"{path}: truncated or damaged ({one_line(error)}); save the weights again"
        ) from error
    names = list(arrays) if layer_name is None else selected(list(arrays), layer_name)
    found = [_found(f"{path}: layer {name!r}", name, arrays[name]) for name in names]
    return [replace(one, version=version) for one in found]


def other_layers(path: str | Path) -> list[str]:
    """The names of what else a file has weights of, none of them a recurrent layer's.

    The file is one of which `found_layers` has found them.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if not any(key.startswith("layer_names") for key in file.attrs):
            return [_without_containers(one) for one in _owners(file) if not CELL.search(one)]
        found = {name.split("/")[0] for name, _ in _listed(file)}
        names = attribute(file, "layer_names")
        return [
            name for name in names if name not in found and attribute(file[name], "weight_names")
        ]


def _numbered(file: Any) -> Iterator[tuple[str, list[Array]]]:
    """The arrays of each cell, where they are numbered."""
    cells = [owner for owner in _owners(file) if CELL.search(owner)]
    names = [_without_containers(cell) for cell in cells]
    for cell, name in zip(cells, names, strict=True):
        group = file[f"{cell}/vars"]
        several = names.count(name) > 1
        yield cell if several else name, [np.asarray(group[key]) for key in sorted(group, key=int)]


def _owners(file: Any) -> list[str]:
    """The paths of everything that has numbered arrays of its own."""
    import h5py

    owners: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and name.endswith("/vars") and len(item):
            owners.append(name.removesuffix("/vars"))

    file.visititems(note)
    return owners


def _without_containers(path: str) -> str:
    parts = [part for part in path.split("/") if part not in CONTAINERS]
    return "/".join(part.removesuffix("_layer") for part in parts) or path


def _listed(file: Any) -> Iterator[tuple[str, list[Array]]]:
    """The arrays of each recurrent layer, where layers and arrays are listed by their names."""
    for layer in attribute(file, "layer_names"):
        arrays = named_arrays(file[layer])
        groups = [*_of_keras_2(layer, arrays), *_of_keras_1(layer, arrays)]
        names = [name for name, _, _ in groups]
        for name, full, own in groups:
            yield full if names.count(name) > 1 else name, own


def _of_keras_2(layer: str, arrays: Mapping[str, Array]) -> Iterator[tuple[str, str, list[Array]]]:
    """The layers in the group `layer`: a short name, one that nothing else has, and the arrays."""
    groups: dict[tuple[str, str], dict[str, Array]] = {}
    for name, array in arrays.items():
        if match := KERAS_2_ARRAY.fullmatch(name):
            scope, role, number = match.groups(default="")
            groups.setdefault((scope.rstrip("/"), number), {})[role] = array
    for (scope, number), own in groups.items():
        if "recurrent_kernel" in own:
            short = _short_name(layer, scope)
            yield short, f"{short}/{scope}{number}", [own[role] for role in WEIGHTS if role in own]


def _short_name(layer: str, scope: str) -> str:
    """What a layer in the group `layer` is called, from the beginning of its arrays' names."""
    parts = [part for part in scope.split("/") if part and not CELL_NAME.match(part)]
    parts = parts[1:] if parts[:1] == [layer] else parts
    parts = [match[1] if (match := SIDE.match(part)) else part for part in parts]
    return "/".join([layer, *(part for part in parts if part != layer)])


def _of_keras_1(layer: str, arrays: Mapping[str, Array]) -> Iterator[tuple[str, str, list[Array]]]:
    """The weights of gated layers of Keras 1, which had three arrays for each gate."""
    groups: dict[str, list[Array]] = {}
    recurrent = set()
    for name, array in arrays.items():
        if match := KERAS_1_ARRAY.fullmatch(name):
            groups.setdefault(match[1], []).append(array)
            recurrent |= {match[1]} if match[2] == "U" else set()
    for scope in recurrent:
        own = groups[scope]
        kind = {3 * count: kind for kind, count in GATES.items()}.get(len(own))
        yield layer, f"{layer}/{scope}", modern_arrays(own, {"class_name": kind, "config": {}})


def _found(where: str, name: str, arrays: Sequence[Array]) -> FoundLayer:
    """The layer whose arrays these are; raises `InputError` where no class has such."""
    shapes = [array.shape for array in arrays]
    if len(arrays) not in (2, 3) or any(len(shape) != 2 for shape in shapes[:2]):
        raise InputError(
            f"{where}: expected a kernel (features, gates x units), a recurrent kernel (units, "
            f"gates x units) and maybe a bias, received arrays of shapes {shapes}; only SimpleRNN, "
            "LSTM and GRU can be told from their weights: --layer-name picks another layer"
        )
    for array in arrays:
        if array.dtype.name not in DTYPES:
            raise InputError(
                f"{where}: expected weights of {', '.join(DTYPES)}, received {array.dtype.name}"
            )
    kernel, recurrent, *rest = arrays
    units, width = recurrent.shape
    gates, left = divmod(width, units) if units else (0, 0)
    kind = KINDS.get(gates)
    if kind is None or left or kernel.shape[1] != width or not len(kernel):
        raise InputError(
            f"{where}: expected a recurrent kernel (units, 1, 3 or 4 x units) and a kernel as "
            f"wide, received shapes {shapes[1]} and {shapes[0]}; save the weights again"
        )
    fused = bool(rest and kind != "SimpleRNN" and is_fused(kernel, recurrent, rest[0]))
    if fused:
        kernel, recurrent, *rest = of_cudnn(kernel, recurrent, rest[0])
    bias = rest[0] if rest else None
    wanted = [(width,), *([(2, width)] if kind == "GRU" else [])]
    if bias is not None and bias.shape not in wanted:
        raise InputError(
            f"{where}: expected a bias of {kind} of shape {' or '.join(map(str, wanted))}, "
            f"received {bias.shape}; save the weights again"
        )
    return FoundLayer(name, kind, kernel, recurrent, bias, fused)


def weight_calls(
    path: str | Path,
    arguments: Mapping[str, Any],
    inputs: Array | None,
    mask: Array | None,
    layer_name: str | None,
    mode: str,
    sizes: tuple[int, int, int],
    training: bool = False,
) -> list[LayerCall]:
    """What every recurrent layer computes of which a file holds the weights alone.

    `arguments` are options that take the place of Keras's defaults in each layer that has them;
    `inputs` `(B, T, F)` and `mask` `(B, T)` go to every layer, random inputs where there are none:
    of `sizes`, a batch, timesteps and a seed. The rest is as in `observing.observe_model`. Raises
    `InputError` for an option that no layer has, or that its weights refute, and for inputs of
    another width.
    """
    found = found_layers(path, layer_name)
    _check_arguments(found, arguments)
    calls = []
    for one in found:
        data = _inputs(path, one, inputs, sizes)
        options = _options(one, arguments)
        cell = KERAS_CELLS[one.kind](
            one.kernel,
            one.recurrent_kernel,
            one.bias,
            **{name: options[name] for name in ("reset_after",) if name in options},
        )
        layer = rebuild_layer(one.kind, options, cell, len(data))
        seen = observe_layer(layer, data, mask, None, mode, training)
        notes = _notes(one, options, arguments)
        calls += [replace(call, layer_name=one.name, notes=(*notes, *call.notes)) for call in seen]
    return calls


def _check_arguments(found: Sequence[FoundLayer], arguments: Mapping[str, Any]) -> None:
    known = {name for one in found for name in OPTIONS if _has(one, name)}
    for name, value in arguments.items():
        if found and name not in known:
            raise InputError(
                f"--arg {name}: expected one of {', '.join(o for o in OPTIONS if o in known)}; "
                "the weights say the rest"
            )
        is_word = name.endswith("activation")
        if not isinstance(value, str if is_word else bool):
            wanted = "the name of an activation" if is_word else "True or False"
            raise InputError(f"--arg {name}: expected {wanted}, received {value!r}")


def _has(one: FoundLayer, option: str) -> bool:
    """Whether the layer has an option that its weights leave open."""
    cells = {name for kind in KERAS_CELLS.values() for name in kind.OPTIONS}
    if option == "reset_after":
        return one.kind == "GRU" and one.bias is None
    return option not in cells or option in KERAS_CELLS[one.kind].OPTIONS


def _options(one: FoundLayer, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a layer with these weights."""
    options: dict[str, Any] = {
        "units": one.units,
        "use_bias": one.bias is not None,
        "return_sequences": True,
        "return_state": True,
        "dtype": one.kernel.dtype.name,
    }
    if "backward" in one.name.split("/"):
        options["go_backwards"] = True
    if one.kind == "GRU":
        by_default = not _is_before_2_3(one.version)
        options["reset_after"] = by_default if one.bias is None else one.bias.ndim == 2
    return options | {name: value for name, value in arguments.items() if _has(one, name)}


def _is_before_2_3(version: str) -> bool:
    """Whether a Keras of its own, and not TensorFlow's, wrote a file before 2.3."""
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version)
    if "tf" in version or numbers is None:
        return False
    return (int(numbers[1]), int(numbers[2] or 0)) < HARD_SIGMOID_UNTIL


def _inputs(
    path: str | Path, one: FoundLayer, inputs: Array | None, sizes: tuple[int, int, int]
) -> Array:
    features = len(one.kernel)
    if inputs is None:
        batch, timesteps, seed = sizes
        total = batch * timesteps * (features + one.units)
        check_numbers(total, f"{path}", "make --batch or --timesteps smaller")
        values = np.random.default_rng(seed).normal(size=(batch, timesteps, features))
        return values.astype(one.kernel.dtype)
    if inputs.ndim != 3 or inputs.shape[2] != features:
        raise InputError(
            f"--input: expected (batch, timesteps, {features}) by the weights of layer "
            f"{one.name!r}, received {inputs.shape}; --layer-name picks one layer"
        )
    return inputs


def _notes(
    one: FoundLayer, options: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[str, ...]:
    """What a person has to know of a layer that was rebuilt."""
    activations = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    open_ = [name for name in (*activations, "reset_after") if _has(one, name)]
    said = {name: options.get(name, activations.get(name)) for name in (*open_, "go_backwards")}
    words = ", ".join(f"{name} {value or False}" for name, value in said.items())
    rebuilt = (
        f"rebuilt from its weights alone as {one.kind} of {one.units} units, told by their shapes; "
        f"they do not say the rest, which is Keras's default or --arg: {words}"
    )
    notes = [rebuilt]
    if one.is_fused:
        notes.append(f"its weights were those of CuDNN{one.kind}, in whose place {one.kind} runs")
    is_open = "recurrent_activation" not in arguments and one.kind != "SimpleRNN"
    is_open = is_open and not one.is_fused
    if _is_before_2_3(one.version) and is_open:
        notes.append(
            f"Keras {one.version} wrote these weights, whose recurrent_activation was hard_sigmoid "
            "by default, clip(0.2 x + 0.5, 0, 1); the default of today, which ran, is another"
        )
    if one.version and is_old(one.version):
        notes += unlike_today({"config": options}, one.version)
    return tuple(notes)
