"""The file of a case: a `.npz` archive that is checked before anything in it is used.

NumPy and the standard library alone. Nothing is unpickled, no size is believed before it is held
against another, and every refusal is an `InputError` of one line.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from json import JSONDecodeError, dumps, loads
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.recurrence.layers import GRU, LAYERS
from rnn_parity.recurrence.precision import FORMATS, LAYER_DTYPES
from rnn_parity.system.limits import check_content
from rnn_parity.system.reading import ENCRYPTED

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
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
STATES = ("initial_state", "final_state")
CHECKSUM_NAMES = {f"{name}_h": name for name in STATES}
"""What the checksum calls an array, where that is not its name."""

TEXTS = ("layer_class", "layer_name", "mode", "dtype", "recurrence")
LEFT_OUT = {"recurrence": "SimpleRNN"}
"""What meta left out while there was nothing else."""
KINDS = {"b": "booleans", "f": "floats", "U": "text"}


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


def entries_of(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    """The entries of an archive of arrays by their names, which none of them may share.

    Raises `InputError` for two of one name, for encrypted ones, and for more than may be read.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in found:
            raise InputError(f"{where}: expected each array once, received two named {name!r}")
        if entry.flag_bits & ENCRYPTED:
            raise InputError(f"{where}: {name!r} is encrypted; write it without a password")
        found[name] = entry
    check_content(sum(entry.file_size for entry in found.values()), where, "arrays")
    return found


def read_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: str, where: str
) -> NDArray[Any]:
    """One array of the archive, read-only, after its header has been held against its size."""
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("not as numpy.savez writes it")
        header = np.lib.format.read_array_header_1_0(file)
        shape, is_fortran, dtype = header
        if dtype.kind not in kinds or dtype.name in ("longdouble", "float128"):
            raise InputError(
                f"{where}: {entry.filename}: expected {KINDS[kinds]}, received dtype {dtype}"
            )
        count = int(np.prod(shape, dtype=object))
        data = file.read(count * dtype.itemsize + 1)
    if len(data) != count * dtype.itemsize:
        raise ValueError("its size is not that of its shape")
    array: NDArray[Any] = np.frombuffer(data, dtype, count)
    return array.reshape(shape, order="F" if is_fortran else "C")


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
