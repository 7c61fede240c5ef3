"""Outputs that any program wrote to a file: `.npy`, `.npz` or `.csv`.

NumPy and the standard library alone. Nothing is unpickled, and no size is believed.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.archive import entries_of, read_entry
from rnn_parity.errors import InputError
from rnn_parity.files import read_array
from rnn_parity.implementations.csv_text import read_csv, text
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.precision import real
from rnn_parity.reading import plain_file, reason

OUTPUTS = "outputs"
STATES = ("final_state_h", "final_state_c")
"""The names that the arrays of a `.npz` have."""
WHOLE, LAST = "BTH", "BH"
"""The axes of all outputs and of the last one: batch, timesteps, units."""
LAST_ALONE = (
    "only the last output is known, and the verdict rests on it: the whole sequence of outputs "
    "would show every step"
)
READINGS = (WHOLE, "TBH", LAST)
"""The orders in which numbers without axes are looked for."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a file held: outputs of whatever shape, states by name, and the names of the rest."""

    outputs: NDArray[Any]
    states: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def implementation(source: str) -> Implementation:
    """The numbers in a file, as an implementation that computed them.

    `source` is its path, followed by `?axes=TBH` or another order of batch, timesteps and units, or
    of batch and units, where the numbers are not batch first. Raises `InputError` for a file that
    cannot be read as real numbers, and when asked for sizes that they do not have.
    """
    path, _, axes = source.partition("?axes=")
    axes = axes.upper()
    if "?axes=" in source and "".join(sorted(axes)) not in ("BHT", "BH"):
        raise InputError(f"against {source!r}: expected axes of the letters B, T, H, such as TBH")
    return partial(answer, read(path), axes, f"against {path!r}")


def of_array(outputs: ArrayLike) -> Implementation:
    """Outputs `(B, T, H)`, or the last one `(B, H)`, as an implementation that computed them."""
    array = real(outputs, "observed outputs")
    return lambda request: Answer(array)


def read(path: str) -> Numbers:
    """What is in the file; raises `InputError`, one line."""
    extension = os.path.splitext(path)[1].lower()
    if extension == ".npz":
        return read_npz(path, f"against {path!r}")
    if extension == ".npy":
        return Numbers(read_array(path, "against", (1, 2, 3), "fiu"))
    return Numbers(read_csv(path, f"against {path!r}"))


def read_npz(path: str, where: str) -> Numbers:
    """What is in a `.npz`: a single array, which is the outputs, or several by their names."""
    try:
        with plain_file(path, where) as file, zipfile.ZipFile(file) as archive:
            entries = entries_of(archive, where)
            if len(entries) == 1:
                entries = dict.fromkeys([OUTPUTS], *entries.values())
            if OUTPUTS not in entries:
                raise InputError(
                    f"{where}: expected one array, or {', '.join((OUTPUTS, *STATES))}; received "
                    f"{', '.join(entries) or 'none'}"
                )
            found = {
                name: read_entry(archive, entries[name], "f", where)
                for name in (OUTPUTS, *STATES)
                if name in entries
            }
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {reason(error)}") from None
    # A damaged archive fails in the directory, the decompression or a header.
    except Exception:
        raise InputError(
            f"{where}: expected a .npz file of arrays, received a truncated or damaged one, or "
            "another kind of file; write it with numpy.savez"
        ) from None
    others = tuple(name for name in entries if name not in found)
    return Numbers(found.pop(OUTPUTS), found, others)


def answer(numbers: Numbers, axes: str, where: str, request: Request) -> Answer:
    """The numbers as the answer to `request`, with the axes that they must have."""
    batch, timesteps, _ = request.inputs.shape
    sizes = {"B": batch, "T": timesteps, "H": request.units}
    names = [name for name in STATES[: len(request.layer.STATES)] if name in numbers.states]
    ignored = [*numbers.others, *(name for name in numbers.states if name not in names)]
    notes = (f"not compared: {', '.join(ignored)} of the file",) if ignored else ()
    states = tuple(numbers.states[name] for name in names)
    outputs = arranged(numbers.outputs, sizes, axes, where)
    return Answer(outputs, states, (*notes, *last_alone(outputs, request)))


def last_alone(outputs: NDArray[Any], request: Request) -> tuple[str, ...]:
    """A note where the last of several outputs is all there is."""
    return (LAST_ALONE,) if outputs.ndim == 2 and request.inputs.shape[1] > 1 else ()


def arranged(array: NDArray[Any], sizes: Mapping[str, int], axes: str, where: str) -> NDArray[Any]:
    """Outputs `(B, T, H)`, or the last one `(B, H)`, from an array whose axes may be missing.

    An array with three axes is taken as it is, unless `axes` names them: another shape is a result.
    Raises `InputError` where no reading fits, and where several do.
    """
    if not axes and array.ndim == 3:
        return array
    fitting = [axes] if axes else [way for way in READINGS if array.shape in tables(way, sizes)]
    # An axis of size 1 may stand anywhere.
    different = {"".join(axis for axis in way if sizes[axis] > 1) for way in fitting}
    if len(different) > 1:
        ways = " or ".join(f"?axes={way}" for way in fitting)
        raise InputError(f"{where}: {written(array)} can be read in several ways: append {ways}")
    shape = tuple(sizes[axis] for axis in fitting[0]) if fitting else ()
    if not fitting or array.size != math.prod(shape):
        raise InputError(f"{where}: {expected(sizes, axes)}, received {written(array)}")
    target = WHOLE if "T" in fitting[0] else LAST
    order = [fitting[0].index(axis) for axis in target]
    found: NDArray[Any] = array.reshape(shape).transpose(order)
    return found


def tables(axes: str, sizes: Mapping[str, int]) -> set[tuple[int, ...]]:
    """The shapes in which an array with these axes is written down in rows."""
    first, *_, columns = (sizes[axis] for axis in axes)
    count = math.prod(sizes[axis] for axis in axes)
    if axes == "TBH":  # in other rows, timesteps first looks like batch first
        return {(first, count // first)}
    return {(first, count // first), (count // columns, columns), (1, count), (count, 1), (count,)}


def expected(sizes: Mapping[str, int], axes: str) -> str:
    """What would fit, in words."""
    batch, timesteps, units = (sizes[axis] for axis in WHOLE)
    if axes:
        return f"expected {' x '.join(f'{sizes[axis]} ({axis})' for axis in axes)} numbers"
    return (
        f"expected {batch * timesteps} rows of {units} numbers (one per timestep, sample after "
        f"sample), {batch} of {timesteps * units} (one per sample) or {batch} of {units} (the "
        "last output alone)"
    )


def written(array: NDArray[Any]) -> str:
    """The shape of an array as a file holds it."""
    rows, *columns = array.shape
    return f"{rows} rows of {columns[0]} numbers" if len(columns) == 1 else f"shape {array.shape}"


def encoded(array: NDArray[Any], extension: str) -> bytes:
    """`(B, T, N)` or `(B, N)` as the bytes of a `.npy` or a `.csv` file."""
    # bfloat16 is no dtype that other programs know; float32 holds all of its numbers.
    plain = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    if extension == ".csv":
        return text(plain).encode()
    buffer = BytesIO()
    np.save(buffer, np.ascontiguousarray(plain), allow_pickle=False)
    return buffer.getvalue()
