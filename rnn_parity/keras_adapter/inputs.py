"""What a model takes, and inputs made to fit it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.runtime import tensorflow_module
from rnn_parity.system.limits import check_numbers

# One element in four, so that a mask has runs of every kind.
MASKED_SHARE = 0.25
Given: TypeAlias = NDArray[Any] | Mapping[str, NDArray[Any]] | None
"""One array, arrays by the names of a model's inputs, or none."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a model; None in `shape` stands for a size that the caller chooses."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


def input_signature(model: Any) -> list[InputSpec]:
    """The inputs of a functional or built sequential model, in order.

    Raises `InputError` for a model that does not know them (a subclassed one).
    """
    # Keras 3 has names of dtypes, Keras 2 TensorFlow's dtypes.
    return [
        InputSpec(one.name, tuple(one.shape), str(getattr(one.dtype, "name", one.dtype)))
        for one in _input_tensors(model)
    ]


def generate_inputs(
    model: Any, batch: int, timesteps: int, seed: int
) -> NDArray[Any] | list[NDArray[Any]]:
    """Random inputs that fit `input_signature`; one array, or a list where the model takes several.

    Open sizes become `batch` on the first axis and `timesteps` on the others. Inputs that an
    `Embedding` reads, and those of an integer dtype, are integers that it accepts, zeros among
    them; the others are normal, with whole timesteps at a `Masking` layer's value where it reads
    them directly. Raises `InputError` for what cannot be made up.
    """
    made: NDArray[Any] | list[NDArray[Any]]
    (made,) = data_of_calls(model, None, batch, timesteps, seed).calls
    return made


@dataclass(frozen=True, eq=False)
class ModelData:
    """What a model is given: one entry of `calls` for each call, as the model takes it.

    `shapes` are those of its inputs by name, empty for a model that does not name them; `generated`
    names the inputs that were made up although others were given.
    """

    calls: list[Any]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    generated: tuple[str, ...] = ()


def data_of_calls(
    model: Any, given: Given, batch: int, timesteps: int, seed: int, count: int = 1
) -> ModelData:
    """What `model` is given in each of `count` consecutive calls.

    `given` is the array for a model with one input, or arrays by the names of its inputs; they are
    the same in every call. What is not given is made up as by `generate_inputs`, anew for each
    call, in the sizes of what is. Integers and booleans stay what they are. Raises `InputError` for
    an unknown name, for an array that does not fit the model's signature, and for one array without
    a name where the model takes several.
    """
    if given is not None and not _says_inputs(model):
        return ModelData([_without_name(model, given)] * count)
    tensors, specs = _input_tensors(model), input_signature(model)
    arrays = _by_name(specs, given)
    batch, timesteps = _sizes(specs, arrays, batch, timesteps)
    rest = [
        (tensor, spec)
        for tensor, spec in zip(tensors, specs, strict=True)
        if spec.name not in arrays
    ]
    if rest:
        of_inputs = [spec.shape for spec in specs]
        _check_sizes(model, [*of_inputs, *_output_shapes(model)], batch, timesteps)
    rng = np.random.default_rng(seed)
    calls = []
    for _ in range(count):
        data = arrays | {
            spec.name: _generate(tensor, spec, _filled(spec.shape, batch, timesteps), rng)
            for tensor, spec in rest
        }
        calls.append([data[spec.name] for spec in specs])
    shapes = {spec.name: np.shape(x) for spec, x in zip(specs, calls[0], strict=True)}
    generated = tuple(spec.name for _, spec in rest) if arrays else ()
    return ModelData([_as_model_takes(model, data) for data in calls], shapes, generated)


def _without_name(model: Any, given: Any) -> Any:
    """What is given to a model that does not know its inputs, which is one array."""
    if isinstance(given, Mapping):
        raise InputError(
            f"--input: model {model.name!r} does not say how its inputs are called; give one "
            "array without a name"
        )
    return given


def _as_model_takes(model: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    """The arrays of `model.inputs` in the structure that the model was made with.

    That is one array, a list, or a dictionary, in place of which Keras 3 takes no list.
    """
    structure = getattr(model, "_inputs_struct", getattr(model, "_nested_inputs", None))
    if not isinstance(structure, Mapping):
        return arrays[0] if len(arrays) == 1 else list(arrays)
    place = {id(tensor): i for i, tensor in enumerate(_input_tensors(model))}
    return {key: arrays[place[id(tensor)]] for key, tensor in structure.items()}


def refuse_fixed_sizes(model: Any, batch: int | None, timesteps: int | None) -> None:
    """Raise `InputError` for a size that was asked for and that `model` itself settles otherwise.

    A size that is None was not asked for; nor is one of a model that does not know its inputs.
    """
    specs = input_signature(model) if _says_inputs(model) else []
    for spec in specs:
        fixed = spec.shape[0] if spec.shape else None
        if batch is not None and fixed not in (None, batch):
            raise InputError(
                f"--batch: expected {fixed}, which the model sets for its input {spec.name!r}, "
                f"received {batch}; leave it out"
            )
    later = [size for spec in specs for size in spec.shape[1:]]
    if timesteps is not None and specs and None not in later and timesteps not in later:
        raise InputError(f"--timesteps: the model sets its sizes, {described(specs)}; leave it out")


def masks_for(model: Any, given: Given, data: ModelData) -> Any:
    """The mask of a model's call, `(B, T)`; for several inputs a list, with None for one without.

    `given` is one mask or masks by the names of inputs. Raises `InputError` for a name or a shape
    that does not fit, and for one mask without a name where the model takes several inputs: Keras
    would take it for the first.
    """
    if given is None or not data.shapes:
        return given
    named = _named(input_signature(model), given, "--mask-file")
    for name, mask in named.items():
        if mask.shape != data.shapes[name][:2]:
            raise InputError(
                f"--mask-file: expected shape {data.shapes[name][:2]}, the batch and timesteps of "
                f"the input {name!r}, received {mask.shape}"
            )
    found = [named.get(name) for name in data.shapes]
    return found[0] if len(found) == 1 else found


def described(specs: Iterable[InputSpec]) -> str:
    """The inputs of a model in words: names, shapes with None for an open size, dtypes."""
    return ", ".join(f"{spec.name} {spec.shape} {spec.dtype}" for spec in specs)


def _named(specs: Sequence[InputSpec], given: Any, option: str) -> dict[str, NDArray[Any]]:
    """What is `given` by the name of its input; raises `InputError` for names that do not fit."""
    known = {spec.name for spec in specs}
    if not isinstance(given, Mapping):
        if len(specs) > 1:
            raise InputError(
                f"{option}: the model takes {len(specs)} inputs, {described(specs)}; say which one "
                f"it is for: {option} {specs[0].name}=FILE"
            )
        return {specs[0].name: given}
    for name in given:
        if name not in known:
            raise InputError(
                f"{option}: expected names of the model's inputs, {described(specs)}; received "
                f"{name!r}"
            )
    return dict(given)


def _by_name(specs: Sequence[InputSpec], given: Given) -> dict[str, NDArray[Any]]:
    """The arrays that are given, each held against the signature of its input."""
    if given is None:
        return {}
    arrays = _named(specs, given, "--input")
    for spec in specs:
        if spec.name in arrays:
            _check_fits(spec, np.asarray(arrays[spec.name]))
    return arrays


def _check_fits(spec: InputSpec, array: NDArray[Any]) -> None:
    """Raise `InputError` for an array of another shape, or fractions where integers are read."""
    fits = array.ndim == len(spec.shape) and all(
        size in (None, n) for size, n in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"--input: expected shape {spec.shape} for the input {spec.name!r} (None is any size), "
            f"received {array.shape}"
        )
    if spec.dtype.startswith(("int", "uint")) and array.dtype.kind == "f":
        whole = np.isfinite(array) & (array == np.floor(array))
        if not whole.all():
            raise InputError(
                f"--input: expected whole numbers for the input {spec.name!r}, which is "
                f"{spec.dtype}, received {array[~whole][0]}"
            )


def _sizes(
    specs: Sequence[InputSpec], arrays: Mapping[str, NDArray[Any]], batch: int, timesteps: int
) -> tuple[int, int]:
    """Batch and timesteps for what is made up beside the given arrays: theirs, where they have any.

    Raises `InputError` where these have different numbers of samples.
    """
    batches = {name: array.shape[0] for name, array in arrays.items() if array.ndim}
    if len(set(batches.values())) > 1:
        raise InputError(
            "--input: expected the same number of samples in every array, received "
            + ", ".join(f"{name} {count}" for name, count in batches.items())
        )
    open_ = [
        array.shape[axis]
        for spec in specs
        if (array := arrays.get(spec.name)) is not None
        for axis, size in enumerate(spec.shape)
        if axis > 0 and size is None
    ]
    return next(iter(batches.values()), batch), next(iter(open_), timesteps)


def named_inputs(model: Any, inputs: Any) -> dict[str, NDArray[Any]]:
    """What a model is given, by the names of its inputs; nothing where it does not know them."""
    try:
        names = [spec.name for spec in input_signature(model)]
        if isinstance(inputs, dict):
            return {name: np.asarray(inputs[name]) for name in names if name in inputs}
        arrays = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        return dict(zip(names, map(np.asarray, arrays), strict=False))
    except (InputError, TypeError, ValueError):  # or they are no arrays, such as ragged ones
        return {}


def _filled(shape: Sequence[int | None], batch: int, timesteps: int) -> tuple[int, ...]:
    """`shape` with its open sizes settled."""
    first = [size or batch for size in shape[:1]]
    return (*first, *(size or timesteps for size in shape[1:]))


def _check_sizes(
    model: Any, shapes: Iterable[Sequence[int | None]], batch: int, timesteps: int
) -> None:
    """Raise `InputError` where a call of `model` would take more than may be computed."""
    known = [tuple(shape) for shape in shapes]
    sizes = [_filled(shape, batch, timesteps) for shape in known]
    largest = max(sizes, key=math.prod)
    advice = "make --batch or --timesteps smaller"
    if None not in known[sizes.index(largest)][:1]:
        advice = "the file sets its batch: save the model with an open one, or pass --input"
    total = sum(map(math.prod, sizes))
    check_numbers(total, f"model {model.name!r}", f"the largest is {largest}; {advice}")


def _output_shapes(model: Any) -> Iterator[Sequence[int | None]]:
    """The shapes of what the layers of a functional model compute, as far as they are known."""
    computing = (one for one in model.layers if type(one).__name__ != "InputLayer")
    for layer in computing:
        try:
            outputs = layer.output
        except (AttributeError, RuntimeError, ValueError):  # called never, or several times
            continue
        for output in outputs if isinstance(outputs, (list, tuple)) else [outputs]:
            shape = getattr(output, "shape", ())
            if all(isinstance(size, (int, type(None))) for size in shape):
                yield tuple(shape)


def _generate(
    tensor: Any, spec: InputSpec, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[Any]:
    layers = tensorflow_module().keras.layers
    readers = _readers(tensor)
    limits = [reader.input_dim for reader in readers if isinstance(reader, layers.Embedding)]
    if limits or spec.dtype.startswith(("int", "uint")):
        integers = rng.integers(0, min(limits, default=2), shape)
        integers[rng.random(shape) < MASKED_SHARE] = 0
        return integers.astype(spec.dtype)
    if not spec.dtype.startswith(("float", "bfloat")):
        raise InputError(
            f"input {spec.name!r}: cannot make up values of dtype {spec.dtype}; pass --input"
        )
    # 16-bit types are left to Keras's own cast: NumPy alone has no bfloat16.
    values = rng.normal(size=shape).astype("float64" if spec.dtype == "float64" else "float32")
    masking = [reader.mask_value for reader in readers if isinstance(reader, layers.Masking)]
    if masking and len(shape) > 2:
        values[rng.random(shape[:2]) < MASKED_SHARE] = masking[0]
    return values


def _says_inputs(model: Any) -> bool:
    """Whether the model knows which inputs it takes."""
    try:
        return bool(model.inputs)
    except (AttributeError, ValueError):  # Keras 3 raises one or the other for an unbuilt model
        return False


def _input_tensors(model: Any) -> list[Any]:
    if not _says_inputs(model):
        raise InputError(
            f"model {model.name!r} does not say which inputs it takes: pass them with --input"
        )
    return list(model.inputs)


def _readers(tensor: Any) -> list[Any]:
    """The layers that an input goes to, with all that they contain where they are models."""
    found = []
    for node in tensor._keras_history[0]._outbound_nodes:
        reader = getattr(node, "operation", None) or node.layer
        if hasattr(reader, "_flatten_layers"):
            found += reader._flatten_layers()
    return found
