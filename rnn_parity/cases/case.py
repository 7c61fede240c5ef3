"""Recorded cases: what one call of one layer computed, and everything needed to check it again.

A case is one `.npz` file that holds data only: float arrays, a boolean mask, and `meta`, a JSON
string. Everything is checked before it is used, no size is believed before it is held against
another, nothing is unpickled, and every refusal is an `InputError` of one line. This module alone
writes cases. It needs NumPy and the standard library; reading or writing imports no TensorFlow.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from json import JSONDecodeError, dumps, loads
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.recurrence.activations import CATALOGUE, Activation
from rnn_parity.recurrence.formula import ACTIVATIONS
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.recurrence.layers import GRU, LAYERS, WEIGHTS, Layer
from rnn_parity.recurrence.precision import FORMATS, LAYER_DTYPES
from rnn_parity.system import files
from rnn_parity.system.environment import environment, own_version
from rnn_parity.system.files import entries_of, plain_file, read_entry, readable, reason
from rnn_parity.system.limits import check_content

SCHEMA = "rnn-parity/case/1"
SHAPES = {
    "inputs": "BTF",
    "outputs": "BTH",
    "kernel": "FG",
    "recurrent_kernel": "HG",
    "bias": "G",
    "mask": "BT",
    "initial_state_h": "BH",
    "initial_state_c": "BH",
    "final_state_h": "BH",
    "final_state_c": "BH",
    "last_output": "BH",
    "dropout_inputs": "NBF",
    "dropout_recurrent": "NBH",
}
"""The axes of a case's arrays; one letter stands for one size throughout a case, N for the number
of gates and G for the units of all of them. The bias of a GRU with `reset_after` is "2G"."""
REQUIRED = ("inputs", "outputs", "kernel", "recurrent_kernel")
STATES = ("initial_state", "final_state")
CHECKSUM_NAMES = {f"{name}_h": name for name in STATES}
"""What the checksum calls an array, where that is not its name."""

TEXTS = ("layer_class", "layer_name", "mode", "dtype", "recurrence")
LEFT_OUT = {"recurrence": "SimpleRNN"}
"""What meta left out while there was nothing else."""
DATA = ("inputs", "outputs", "mask", "last_output", "dropout_inputs", "dropout_recurrent")
"""The arrays that are fields of a case as they are; states and weights are several."""
SEQUENCE_OPTIONS = ("go_backwards", "zero_output_for_mask")
"""What changes the sequence that a layer computes, whatever its cell is."""


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded call of one recurrent layer, with the meaning that it had when it was recorded.

    `inputs` is `(B, T, F)`, `outputs` `(B, T, H)` in processing order, `kernel` `(F, G H)`,
    `recurrent_kernel` `(H, G H)`, `bias` `(G H,)`, `(2, G H)` or None, with G gates; `mask` is
    `(B, T)` or None, `last_output` `(B, H)` or None. The states are one `(B, H)` each, h before an
    LSTM's c; the initial ones None for zeros, the final ones empty where there are none. The masks
    of a call in training are `dropout_inputs` `(G, B, F)` and `dropout_recurrent` `(G, B, H)`, None
    for no dropout there. `dtype` is the compute dtype; bfloat16 numbers are held in float32, which
    has them all. `config` is the layer's description of itself, with the cell's own entries beside
    the others, `versions` what was installed. `recurrence`, a name of `layers.LAYERS`, is what the
    layer computes.
    """

    layer_class: str
    layer_name: str
    config: Mapping[str, Any]
    mode: str
    call: int | None
    dtype: str
    versions: Mapping[str, str | None]
    inputs: NDArray[Any]
    outputs: NDArray[Any]
    kernel: NDArray[Any]
    recurrent_kernel: NDArray[Any]
    bias: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
    initial_state: tuple[NDArray[Any], ...] | None = None
    final_state: tuple[NDArray[Any], ...] = ()
    last_output: NDArray[Any] | None = None
    dropout_inputs: NDArray[Any] | None = None
    dropout_recurrent: NDArray[Any] | None = None
    recurrence: str = "SimpleRNN"

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is there, by its name in the file."""
        return arrays_of(self, self)

    def activation(self, name: str) -> Activation:
        """The entry `name` of the config as the recorded Keras meant it.

        Raises `InputError` for the name of no known activation.
        """
        meant = self.config.get(name)
        if meant == "hard_sigmoid" and str(self.versions.get("keras")).startswith("2."):
            meant = "hard_sigmoid_keras2"
        if not isinstance(meant, str) or meant not in CATALOGUE:
            raise InputError(
                f"{name}: expected the name of one of Keras's activations, received {meant!r}; a "
                "case holds data only, no function"
            )
        return CATALOGUE[meant]

    def weights(self) -> Layer:
        """The recurrence that the recorded layer was to compute."""
        kind: Any = LAYERS[self.recurrence]
        options = {
            name: self.activation(name) if name in ACTIVATIONS.values() else self.config.get(name)
            for name in kind.OPTIONS
        }
        options |= {name: bool(self.config.get(name)) for name in SEQUENCE_OPTIONS}
        layer: Layer = kind(
            self.kernel, self.recurrent_kernel, self.bias, dtype=self.dtype, **options
        )
        return layer


def arrays_of(weights: Layer | Case, data: LayerCall | Case) -> dict[str, NDArray[Any]]:
    """The arrays of a case by their names in the file; those of a state end in its name."""
    found = {name: getattr(weights, name) for name in WEIGHTS}
    found |= {name: getattr(data, name) for name in DATA}
    for name in STATES:
        found |= {f"{name}_{i}": a for i, a in zip("hc", getattr(data, name) or (), strict=False)}
    return {name: array for name, array in found.items() if array is not None}


def fields_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays by their names in the file, as the fields of a `Case`."""
    fields: dict[str, Any] = {n: a for n, a in arrays.items() if not n.startswith(STATES)}
    for name in STATES:
        states = tuple(arrays[key] for key in (f"{name}_h", f"{name}_c") if key in arrays)
        fields |= {name: states} if states else {}
    return fields


def case_of(call: LayerCall, versions: Mapping[str, str | None]) -> Case:
    """The case that records `call`, made while `versions` were installed.

    Raises `InputError` for a layer that is not replayed, or whose activation is a function of the
    user's own, which a file of data cannot hold.
    """
    weights = call.weights
    if weights is None:
        raise InputError(f"not recorded: {call.not_compared}")
    if type(weights).__name__ not in LAYERS:
        raise InputError(
            f"not recorded: a case holds one of {', '.join(LAYERS)}, received "
            f"{type(weights).__name__}"
        )
    dtype = weights.precision.name
    arrays = {n: stored(a, n, dtype) for n, a in arrays_of(weights, call).items()}
    case = Case(
        layer_class=call.layer_class,
        layer_name=call.layer_name,
        config=flat(call.config, weights),
        mode=call.mode,
        call=call.call,
        dtype=dtype,
        versions=dict(versions),
        recurrence=type(weights).__name__,
        **fields_of(arrays),
    )
    for name, activation in activations_of(weights).items():
        own = CATALOGUE.get(activation.name) is activation
        if not own or case.activation(name) is not activation:
            raise InputError(
                f"layer {call.layer_name!r}: expected an activation of Keras's own, "
                f"received {activation.name}; a case holds data only, no function"
            )
    return case


def versions_now(device: str = "cpu") -> dict[str, str | None]:
    """What a case recorded now says about what it was recorded with."""
    return {**environment(device), "rnn-parity": own_version()}


def activations_of(weights: Layer) -> dict[str, Activation]:
    """The activations of a layer by their names in its config."""
    return {ACTIVATIONS[letter]: found for letter, found in weights.letters.items()}


def flat(config: Mapping[str, Any], weights: Layer) -> dict[str, Any]:
    """A layer's `config` with its cell's entries beside its own, and what it left out."""
    cell = config.get("cell") or {}
    merged = {**cell.get("config", {}), **config}
    merged.pop("cell", None)
    for name, activation in activations_of(weights).items():
        if not isinstance(merged.get(name), str):
            merged[name] = activation.name  # Keras 2 describes LeakyReLU as a layer
    own = (
        *SEQUENCE_OPTIONS,
        *(name for name in weights.OPTIONS if name not in ACTIVATIONS.values()),
    )
    options = {name: getattr(weights, name) for name in own}
    sizes = {"units": weights.units, "use_bias": weights.bias is not None}
    return {**merged, **options, **sizes}


def write_case(path: str | os.PathLike[str], case: Case) -> None:
    """Write `case` to `path`, so that a crash leaves the old file or the new one.

    Raises `InputError` for a case that could not be read again, and for a path that cannot be
    written; then nothing is.
    """
    name = os.fspath(path)
    arrays = case.arrays
    meta: dict[str, Any] = {key: getattr(case, key) for key in (*TEXTS, "call")}
    meta |= {key: dict(getattr(case, key)) for key in ("config", "versions")}
    check_arrays(arrays, meta, f"case {name!r}")
    # What is added around them must fit, too, when it is read again.
    check_content(2 * sum(array.nbytes for array in arrays.values()), f"case {name!r}", "arrays")
    files.check_writable(name)
    target = files.resolved(name)
    if not files.is_replaceable(target):
        raise InputError(f"cannot write {name!r}: it is a device or a pipe; name a file")
    try:
        files.replace(target, packed(meta, arrays))
    except OSError as error:
        raise InputError(f"cannot write {name!r}: {reason(error)}") from None


def read_case(path: str | os.PathLike[str]) -> Case:
    """The case in the file `path`, once everything in it has been checked.

    Raises `InputError`, one line, for a file that is no case, is damaged or was changed, and for
    one that a newer version wrote.
    """
    name = os.fspath(path)
    where = f"case {name!r}"
    try:
        with readable(where), plain_file(name, where) as file, zipfile.ZipFile(file) as archive:
            meta, arrays = unpacked(archive, where)
    except InputError:
        raise
    # A damaged archive fails in the directory, the decompression, a header or the text.
    except Exception:
        raise InputError(
            f"{where}: expected a .npz file that `rnn-parity record` wrote, received a truncated "
            "or damaged one, or another kind of file; record it again"
        ) from None
    fields = {key: meta[key] for key in (*TEXTS, "call", "config", "versions")}
    case = Case(**fields, **fields_of(arrays))
    try:
        case.weights()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return case


def stored(array: NDArray[Any], name: str, dtype: str) -> NDArray[Any]:
    """`array` as a file holds it; weights in the compute `dtype`, to which they are rounded."""
    if name == "mask":
        return np.ascontiguousarray(array, bool)
    wanted = dtype if name in WEIGHTS else array.dtype.name
    return np.ascontiguousarray(array, "float32" if wanted == "bfloat16" else wanted)


def packed(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of the file, the same for the same case."""
    entries: dict[str, Any] = dict(arrays)
    complete = {"schema": SCHEMA, **meta}
    complete["checksum"] = checksum(complete, arrays)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **entries, meta=np.array(dumps(complete)))
    return buffer.getvalue()


def checksum(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over everything that a case says, in one order."""
    rest = {key: value for key, value in meta.items() if key != "checksum"}
    digest = sha256(dumps(rest, sort_keys=True).encode())
    named = {CHECKSUM_NAMES.get(name, name): array for name, array in arrays.items()}
    for name in sorted(named):
        array = np.ascontiguousarray(named[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def unpacked(
    archive: zipfile.ZipFile, where: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The description and the arrays in an open archive; what is damaged may raise anything."""
    entries = entries_of(archive, where)
    if "meta" not in entries:
        raise InputError(f"{where}: expected a case, received an archive without meta")
    meta = read_meta(str(read_entry(archive, entries.pop("meta"), "U", where)), where)
    for name in (*entries, *REQUIRED):
        if name not in SHAPES or name not in entries:
            what = "an unknown" if name in entries else "no"
            raise InputError(f"{where}: expected the arrays of a case, received {what} {name!r}")
    arrays = {
        name: read_entry(archive, entry, "b" if name == "mask" else "f", where)
        for name, entry in entries.items()
    }
    if checksum(meta, arrays) != meta["checksum"]:
        raise InputError(f"{where}: its checksum fails: it was changed or damaged; record it again")
    meta = {**LEFT_OUT, **meta}
    check_arrays(arrays, meta, where)
    check_description(arrays, meta, where)
    return meta, arrays


def read_meta(text: str, where: str) -> dict[str, Any]:
    """What `meta` says, each entry of its type."""
    try:
        meta = loads(text)
    except (JSONDecodeError, RecursionError):
        raise InputError(f"{where}: expected JSON in meta, received something else") from None
    schema = meta.get("schema") if isinstance(meta, dict) else None
    if schema != SCHEMA:
        raise InputError(
            f"{where}: expected schema {SCHEMA}, received {schema!r}; update rnn-parity, or record "
            "the case again"
        )
    types: dict[str, Any] = {**dict.fromkeys((*TEXTS, "checksum"), str), "config": dict}
    types |= {"versions": dict, "call": (int, type(None))}
    found = {**LEFT_OUT, **meta}
    for key, kind in types.items():
        if key not in found or not isinstance(found[key], kind):
            raise InputError(f"{where}: expected {key!r} in meta, received {found.get(key)!r:.40}")
    for key, names in (("dtype", LAYER_DTYPES), ("recurrence", tuple(LAYERS))):
        if found[key] not in names:
            expected = ", ".join(names)
            raise InputError(f"{where}: expected {key} {expected}, received {found[key]!r}")
    return dict(meta)


def check_arrays(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` when two arrays, or the weights and the config, contradict each other."""
    layer, config = LAYERS[meta["recurrence"]], meta["config"]
    both_rows = issubclass(layer, GRU) and config.get("reset_after")
    sizes: dict[str, int] = {"2": 2, "N": len(layer.GATES)}
    for name, axes in {**SHAPES, "bias": "2G" if both_rows else "G"}.items():
        if name not in arrays:
            continue
        shape = arrays[name].shape
        wanted = [sizes.get(axis) for axis in axes]
        fits = len(shape) == len(axes) and all(
            n >= 1 and n == sizes.setdefault(axis, n) for axis, n in zip(axes, shape, strict=True)
        )
        if not fits:
            expected = str(tuple(wanted)).replace("None", "any")
            raise InputError(f"{where}: {name}: expected shape {expected}, received {shape}")
        if name == "outputs":
            sizes["G"] = len(layer.GATES) * sizes["H"]
    for name in STATES:
        states = [state for state in "hc" if f"{name}_{state}" in arrays]
        if states not in ([], [*layer.STATES]):
            raise InputError(
                f"{where}: {name}: expected {', '.join(layer.STATES)} or none, received "
                f"{', '.join(states)}"
            )
    described = (config.get("units", sizes["H"]), bool(config.get("use_bias", "bias" in arrays)))
    if described != (sizes["H"], "bias" in arrays):
        raise InputError(f"{where}: expected units and use_bias of its config, received other ones")


def check_description(
    arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], where: str
) -> None:
    """Raise `InputError` where meta says what its own entries or the weights refute."""
    name, recurrence = meta["layer_class"], meta["recurrence"]
    if name in LAYERS and name != recurrence:
        raise InputError(f"{where}: expected the recurrence {name} of a {name}, not {recurrence}")
    precision = FORMATS[meta["dtype"]]
    for weight in (name for name in WEIGHTS if name in arrays):
        if not np.array_equal(precision.round(arrays[weight]), arrays[weight], equal_nan=True):
            raise InputError(
                f"{where}: {weight}: expected numbers of {precision.name}, the dtype that meta "
                "names, received others"
            )
