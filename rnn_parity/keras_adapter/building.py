"""Keras layers made here: from options, or from a recorded description; alone, to be exported.

Random weights hide nothing: they are distinct and non-zero. Wrappers and stacks are made from the
arguments of what is inside them, as Keras's own layers are.
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, MissingPackageError, misspelt, nearest, one_line
from rnn_parity.keras_adapter.parts import cells_of, input_shape
from rnn_parity.keras_adapter.runtime import quiet, refusals, tensorflow_module
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.cells import KERAS_CELLS, WEIGHTS, Cell
from rnn_parity.system.choices import LAYER_CLASSES, layer_word

POLICIES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")
OF_EVERY_CELL = ("units", "use_bias", "dropout", "recurrent_dropout", "dtype")
"""The arguments of every cell, beside the `OPTIONS` of its class in `recurrence`."""
OF_RNN = (
    "go_backwards",
    "return_sequences",
    "return_state",
    "stateful",
    "time_major",
    "unroll",
    "zero_output_for_mask",
)
"""The arguments that Keras's `RNN` takes beside the dtype; the others are its cells'."""
HARMLESS = (
    "name",
    "trainable",
    "seed",
    "implementation",
    "ragged",
    "batch_input_shape",
    "unit_forget_bias",
)
"""Entries that change nothing in a layer whose weights and dropout masks are given."""
HARMLESS_ENDINGS = ("_initializer", "_regularizer", "_constraint")
EXPORT_OPTIONS = {"stateful": False, "time_major": False, "return_sequences": True}
"""The states are inputs of the model, all that it takes is batch first, and it hides no output."""
RECURRENT_GAIN = 0.9
"""The recurrent kernel is this times an orthogonal matrix: the state neither dies nor explodes."""


def build_layer(
    layer_class: str,
    units: int,
    features: int,
    arguments: Mapping[str, Any],
    dtype: str | None,
    seed: int,
    batch: int | None,
) -> Any:
    """A built Keras layer whose weights come from `np.random.default_rng(seed)`.

    `layer_class` is a key of `LAYER_CLASSES` or `WRAPPERS`, `arguments` what its constructor takes,
    `dtype` one of `POLICIES` or None (Keras's default), `batch` the batch size, which a stateful
    layer needs. A weight whose initializer is named in `arguments` keeps what Keras initialised.
    Raises `InputError` for an unknown name and for whatever Keras refuses.
    """
    kinds = (*LAYER_CLASSES, *WRAPPERS)
    for name, known, value in (("layer", kinds, layer_class), ("dtype", POLICIES, dtype)):
        if value is not None and value not in known:
            expected = f"expected one of {', '.join(known)}"
            raise InputError(f"{name}: {misspelt(str(value), known, expected)}")
    make = WRAPPERS.get(layer_class)
    if make is None:
        make = getattr(tensorflow_module().keras.layers, LAYER_CLASSES[layer_class])
    layer = _construct(make, units, arguments, dtype)
    rng = np.random.default_rng(seed)
    with refusals(f"{make.__name__} with {units} units and {features} features"):
        _build(layer, input_shape(layer, batch, None, features), arguments)
        for cell in cells_of(layer):
            _randomise(cell, arguments, rng)
    return layer


def _build(layer: Any, shape: tuple[int | None, ...], arguments: Mapping[str, Any]) -> None:
    """`layer.build` without Keras's default for the recurrent kernel, which is replaced anyway.

    That default is orthogonal and needs a QR decomposition, which TensorFlow lacks for bfloat16.
    """
    cells = cells_of(layer)
    kept = [cell.recurrent_initializer for cell in cells]
    for cell in cells if "recurrent_initializer" not in arguments else ():
        cell.recurrent_initializer = tensorflow_module().keras.initializers.get("zeros")
    layer.build(shape)
    for cell, initializer in zip(cells, kept, strict=True):
        cell.recurrent_initializer = initializer


def _construct(
    make: Callable[..., Any], units: int, arguments: Mapping[str, Any], dtype: str | None
) -> Any:
    for name, flag in (("units", "--units"), ("dtype", "--dtype")):
        if name in arguments and (name == "units" or dtype is not None):
            raise InputError(f"argument {name}: given twice; use {flag} alone")
    _refuse_untrue(make, arguments)
    policy = {} if dtype is None else {"dtype": dtype}
    try:
        with quiet():
            return make(units, **arguments, **policy)
    except Exception as error:  # Keras refuses with whatever exception the argument provokes
        alone = _culprit(make, units, arguments)
        near = "".join(_meant(make, *one) for one in alone.items())
        name = ", ".join(f"{name}={value!r}" for name, value in (alone or arguments).items())
        raise InputError(
            f"argument {name or f'units={units}'}: {make.__name__} refused it: "
            f"{one_line(error)}{near}"
        ) from error


def _refuse_untrue(make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raise `InputError` for what is no bool where the default is one.

    Keras takes any word, and any number, for one of the two.
    """
    for name, value in arguments.items():
        if isinstance(_default_of(make, name), bool) and not isinstance(value, (bool, np.bool_)):
            quotes = " without quotes" if value in ("True", "False") else ""
            said = misspelt(str(value), ("True", "False"), f"expected True or False{quotes}")
            raise InputError(f"argument {name}: {said}")


def _default_of(make: Callable[..., Any], name: str) -> Any:
    """The default of an argument of the constructor `make`, or of one that it hands it on to."""
    layers = tensorflow_module().keras.layers
    kinds = [getattr(layers, kind) for kind in (*LAYER_CLASSES.values(), "RNN", "Layer")]
    for maker in (make, *(kind.__init__ for kind in kinds)):
        parameter = inspect.signature(maker).parameters.get(name)
        if parameter is not None:
            return parameter.default
    return None


def _culprit(make: Callable[..., Any], units: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The first argument that is refused on its own, since Keras's message may not name it."""
    for name, value in arguments.items():
        try:
            with quiet():
                make(units, **{name: value})
        except Exception:
            return {name: value}
    return {}


def _meant(make: Callable[..., Any], name: str, value: Any) -> str:
    """The argument, or the activation, that a mistyped one is nearest to."""
    layers = tensorflow_module().keras.layers
    makers = [make, *(getattr(layers, kind).__init__ for kind in LAYER_CLASSES.values())]
    known = {one for maker in makers for one in inspect.signature(maker).parameters}
    if name not in known:
        return nearest(name, sorted(known))
    return nearest(value, CATALOGUE) if "activation" in name and isinstance(value, str) else ""


def _randomise(cell: Any, arguments: Mapping[str, Any], rng: np.random.Generator) -> None:
    """Set kernel, recurrent kernel and bias, gate by gate for layers that have gates."""
    features, width = cell.kernel.shape
    units = cell.units
    values: dict[str, NDArray[np.float64]] = {
        "kernel": rng.normal(scale=np.sqrt(2.0 / (features + units)), size=(features, width)),
        "recurrent_kernel": RECURRENT_GAIN
        * np.concatenate([_orthogonal(units, rng) for _ in range(width // units)], axis=1),
    }
    if cell.bias is not None:
        shape = tuple(cell.bias.shape)
        values["bias"] = rng.uniform(0.1, 0.5, shape) * rng.choice([-1.0, 1.0], shape)
        if getattr(cell, "unit_forget_bias", False):
            values["bias"][units : 2 * units] += 1.0  # gates i, f, c, o
    if getattr(cell.activation, "__name__", "") == "exponential":
        # exp of a sum that feeds itself grows beyond every bound; of a negative one it cannot,
        # and of a small one not soon, whatever gates make of it.
        values["recurrent_kernel"] = -np.abs(values["recurrent_kernel"])
        if width > units:
            values = {name: value / 8 for name, value in values.items()}
    for name, value in values.items():
        initializer = "recurrent_initializer" if name[0] == "r" else f"{name}_initializer"
        if initializer not in arguments:
            getattr(cell, name).assign(value)


def _orthogonal(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random orthogonal matrix `(n, n)`: every direction keeps its length."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    orthogonal: NDArray[np.float64] = q * np.sign(np.diagonal(r))
    return orthogonal


def rnn(units: int, cell: str = "lstm", dtype: str | None = None, **options: Any) -> Any:
    """`RNN` around one cell; `options` are the arguments of both."""
    return _around(_cells([cell], units, dtype, options)[0], dtype, options)


def stacked(
    units: int, cells: Sequence[str] = ("lstm", "gru"), dtype: str | None = None, **options: Any
) -> Any:
    """`RNN` around a stack of cells, each with `units` units.

    An option that not every cell knows goes to those that do.
    """
    inside = _cells([cells] if isinstance(cells, str) else cells, units, dtype, options)
    stack = tensorflow_module().keras.layers.StackedRNNCells(inside, **_policy(dtype))
    return _around(stack, dtype, options)


def bidirectional(
    units: int,
    layer: str = "lstm",
    merge_mode: str | None = "concat",
    backward_layer: str | None = None,
    dtype: str | None = None,
    **options: Any,
) -> Any:
    """`Bidirectional` around a layer, or around two; `options` are the arguments of both."""
    layers = tensorflow_module().keras.layers
    arguments = {**options, **_policy(dtype)}
    forward = getattr(layers, _class_of("layer", layer))(units, **arguments)
    backward = None
    if backward_layer is not None:
        arguments["go_backwards"] = not options.get("go_backwards", False)
        backward = getattr(layers, _class_of("backward_layer", backward_layer))(units, **arguments)
    return layers.Bidirectional(forward, merge_mode, backward_layer=backward, **_policy(dtype))


WRAPPERS: Mapping[str, Callable[..., Any]] = {
    make.__name__: make for make in (rnn, stacked, bidirectional)
}


def _around(cell: Any, dtype: str | None, options: Mapping[str, Any]) -> Any:
    own = {name: value for name, value in options.items() if name in OF_RNN}
    return tensorflow_module().keras.layers.RNN(cell, **own, **_policy(dtype))


def _cells(
    names: Sequence[str], units: int, dtype: str | None, options: Mapping[str, Any]
) -> list[Any]:
    """The cells, each with those of the options that it knows; what none knows, Keras refuses."""
    layers = tensorflow_module().keras.layers
    makers = [getattr(layers, f"{_class_of('cell', name)}Cell") for name in names]
    known = [inspect.signature(make.__init__).parameters for make in makers]
    given = {name: value for name, value in options.items() if name not in OF_RNN}
    everywhere = {name for name in given if not any(name in one for one in known)}
    return [
        make(units, **{n: given[n] for n in given if n in own or n in everywhere}, **_policy(dtype))
        for make, own in zip(makers, known, strict=True)
    ]


def _class_of(argument: str, name: Any) -> str:
    """Keras's name of a layer class; raises `InputError` for one that is not replayed."""
    word = layer_word(str(name))
    if word not in LAYER_CLASSES:
        expected = f"expected one of {', '.join(LAYER_CLASSES)}"
        raise InputError(f"argument {argument}: {misspelt(str(name), LAYER_CLASSES, expected)}")
    return LAYER_CLASSES[word]


def _policy(dtype: str | None) -> dict[str, str]:
    return {} if dtype is None else {"dtype": dtype}


def rebuild_layer(
    layer_class: str,
    config: Mapping[str, Any],
    weights: Cell,
    batch: int,
    dropout: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> Any:
    """The layer that `config` describes, in the Keras installed now, with these weights.

    `layer_class` "RNN" stands for one around a cell, whose entries are among the others; every
    other class computes what Keras's own layer for these weights does. It is built for `batch`
    samples; where the masks of `dropout`, `(G, B, F)` and `(G, B, H)`, are not the same for all
    gates, so that each gate takes one of its own. Raises `InputError` for an entry that is not
    known to change nothing, and for what this Keras refuses.
    """
    kind = type(weights).__name__
    arguments = constructor_arguments(layer_class, kind, config)
    if any((masks != masks[0]).any() for masks in dropout.values()):
        arguments["implementation"] = 1
    with refusals(f"{layer_class} rebuilt from its config"):
        layer = constructed(layer_class, kind, arguments)
        layer.build(input_shape(layer, batch, None, weights.features))
        for name in WEIGHTS:
            if getattr(weights, name) is not None:
                getattr(layer.cell, name).assign(getattr(weights, name))
    return layer


def constructor_arguments(layer_class: str, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor arguments among the entries of `config`."""
    names = {*OF_EVERY_CELL, *KERAS_CELLS[kind].OPTIONS, *OF_RNN}
    known = {name: value for name, value in config.items() if name in names}
    for name in config.keys() - known.keys():
        if name not in HARMLESS and not name.endswith(HARMLESS_ENDINGS):
            raise InputError(
                f"{layer_class}: cannot be rebuilt with {name}={config[name]!r:.40}, which is not "
                f"an option of Keras's {kind}; leave Keras out with --no-keras"
            )
    if not known.get("time_major"):
        known.pop("time_major", None)  # an option of Keras 2 alone
    if "dtype" in known:
        known["dtype"] = policy_name(known["dtype"])
    for name, value in known.items():
        # Keras would make an object of whatever a mapping describes.
        if not isinstance(value, (str, int, float, type(None))):
            raise InputError(
                f"{layer_class}: expected a word or a number for {name}, received {value!r:.40}; "
                "leave Keras out with --no-keras"
            )
    return known


def constructed(layer_class: str, kind: str, arguments: Mapping[str, Any]) -> Any:
    """A layer of the class `kind`, or an `RNN` around its cell, not built yet."""
    # Keras's orthogonal default would need what TensorFlow lacks in bfloat16.
    zeros = dict.fromkeys(("kernel_initializer", "recurrent_initializer"), "zeros")
    layers = tensorflow_module().keras.layers
    if layer_class != "RNN":
        return getattr(layers, kind)(**arguments, **zeros)
    make = getattr(layers, f"{kind}Cell")
    of_cell = (*OF_EVERY_CELL, *KERAS_CELLS[kind].OPTIONS, "implementation")
    cell = make(**{n: arguments[n] for n in of_cell if n in arguments}, **zeros)
    return layers.RNN(cell, **{n: arguments[n] for n in (*OF_RNN, "dtype") if n in arguments})


def policy_name(dtype: Any) -> Any:
    """The name of a dtype policy, which both generations of Keras may describe as an object."""
    config = dtype.get("config") if isinstance(dtype, Mapping) else None
    return config.get("name") if isinstance(config, Mapping) else dtype


@dataclass(frozen=True)
class Sizes:
    """What an exported model takes: inputs `(batch, timesteps, F)`, maybe a mask and states."""

    batch: int
    timesteps: int
    mask: bool
    states: bool


def exported(format: str, layer: Cell, config: Mapping[str, Any], sizes: Sizes) -> bytes:
    """The layer that `config` describes, with these weights, as "onnx" or "litert" writes it.

    The model's inputs are named inputs, h, c and mask, and all of its sizes are fixed. Raises
    `InputError` for what the exporter refuses, `MissingPackageError` where it is not installed.
    """
    kind = type(layer).__name__
    built = rebuild_layer(kind, {**config, **EXPORT_OPTIONS}, layer, sizes.batch)
    with refusals(f"{format}: {kind}"), redirect_stdout(io.StringIO()):
        return WRITERS[format](alone(built, layer, sizes))


def alone(built: Any, layer: Cell, sizes: Sizes) -> Any:
    """A functional model of the built Keras layer, called once."""
    keras = tensorflow_module().keras

    def port(name: str, *shape: int, dtype: str | None = None) -> Any:
        dtype = dtype or built.compute_dtype
        return keras.Input(shape, batch_size=sizes.batch, name=name, dtype=dtype)

    inputs, options = [port("inputs", sizes.timesteps, layer.features)], {}
    if sizes.states:
        options["initial_state"] = [port(name, layer.units) for name in layer.STATES]
        inputs += options["initial_state"]
    if sizes.mask:
        options["mask"] = port("mask", sizes.timesteps, dtype="bool")
        inputs.append(options["mask"])
    model = keras.Model(inputs, built(inputs[0], **options))
    zeros = [np.zeros(one.shape, keras.backend.standardize_dtype(one.dtype)) for one in inputs]
    model(zeros)  # only what was called can be exported
    return model


def as_onnx(model: Any) -> bytes:
    """Keras 3's own export, through tf2onnx."""
    if find_spec("tf2onnx") is None:
        raise MissingPackageError(
            "onnx: exporting a layer needs tf2onnx; install it with: "
            "pip install 'rnn-parity[export]'"
        )
    if not hasattr(model, "export") or not hasattr(tensorflow_module().keras, "ops"):
        raise InputError("onnx: expected Keras 3.8 or later, which exports to ONNX")
    with TemporaryDirectory(prefix="rnn-parity-") as folder:
        path = os.path.join(folder, "model.onnx")
        model.export(path, format="onnx", verbose=False)
        return Path(path).read_bytes()


def as_litert(model: Any) -> bytes:
    """TensorFlow's converter to LiteRT, in float32 throughout."""
    content: bytes = tensorflow_module().lite.TFLiteConverter.from_keras_model(model).convert()
    return content


WRITERS: Mapping[str, Callable[[Any], bytes]] = {"onnx": as_onnx, "litert": as_litert}
