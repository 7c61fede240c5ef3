"""Outputs that any program wrote to a file: `.npy`, `.npz`, `.csv`, or ONNX's `.pb` of one tensor.

A `.csv` has any of the usual separators, with or without a header. NumPy and the standard library
alone, but for a `.pb`. Nothing is unpickled, and no size is believed.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from itertools import chain, takewhile
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.cases.case import SHAPES
from rnn_parity.errors import InputError
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.recurrence.precision import real
from rnn_parity.system.files import entries_of, plain_file, read_array, read_entry, readable
from rnn_parity.system.limits import check_content

OUTPUTS = "outputs"
LAST_OUTPUT = "last_output"
STATES = ("final_state_h", "final_state_c")
"""The names that the arrays of a `.npz` have."""
COMPUTED = (OUTPUTS, LAST_OUTPUT, *STATES)
OF_ONNX = {"Y": OUTPUTS, "Y_h": STATES[0], "Y_c": STATES[1]}
"""What ONNX calls the outputs of its operators."""
GIVEN = (*(name for name in SHAPES if name not in COMPUTED), "meta")
"""What a recorded case holds beside what was computed: inputs, weights, masks."""
OF_A_STATE = re.compile(r"(^|[^a-z])[hc](n|ell|idden)?([^a-z]|$)|state", re.IGNORECASE)
"""The name of a state: h_n, Y_c, cell, hidden_state."""
SOURCE = re.compile(
    r"(?P<path>.+?\.(?:npy|npz|csv|pb))(?:\?axes=(?P<axes>[^#]*))?(?:#(?P<part>.+))?", re.IGNORECASE
)
WHOLE, LAST = "BTH", "BH"
"""The axes of all outputs and of the last one: batch, timesteps, units."""
LAST_ALONE = (
    "only the last output is known, and the verdict rests on it: the whole sequence of outputs "
    "would show every step"
)
READINGS = (WHOLE, "TBH", LAST)
"""The orders in which numbers without axes are looked for."""
SEPARATORS = (";", "\t", ",")
"""The first of these that stands in the first line; none of them stands for spaces."""
OF_TEXT = 4
"""A number takes 8 bytes, the shortest one in a text ("1,") takes 2."""
LONGEST_LINE = 2**24
"""While a line is read, each of its numbers takes some hundred bytes."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a file held: outputs of whatever shape, other arrays by name, the names of the rest.

    `is_table` tells that a text file's rows and columns need not be axes of the outputs. `part` is
    how the user would name the outputs alone; empty where that was done, or there is nothing else.
    """

    outputs: NDArray[Any]
    computed: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    is_table: bool = False
    part: str = ""


def implementation(source: str) -> Implementation:
    """The numbers in a file, as an implementation that computed them.

    `source` is its path, followed by `?axes=TBH` or another order of batch, timesteps and units, or
    of batch and units, where the numbers are not batch first, and by `#NAME` for the one array of a
    `.npz` that is to be compared. Raises `InputError` for a file that cannot be read as real
    numbers, and when asked where they can be read in several ways, or not with these axes. Numbers
    of another shape are a result.
    """
    match = SOURCE.fullmatch(source)
    path, axes, part = match.group("path", "axes", "part") if match else (source, None, None)
    if axes is not None and "".join(sorted(axes.upper())) not in ("BHT", "BH"):
        raise InputError(f"against {source!r}: expected axes of the letters B, T, H, such as TBH")
    return partial(
        answer_from_numbers, read_numbers(path, part), (axes or "").upper(), f"against {path!r}"
    )


def of_array(outputs: ArrayLike) -> Implementation:
    """Outputs `(B, T, H)`, or the last one `(B, H)`, as an implementation that computed them."""
    array = real(outputs, "observed outputs")
    return lambda request: Answer(array)


def read_numbers(path: str, part: str | None = None) -> Numbers:
    """What is in the file, or its array `part` alone; raises `InputError`, one line."""
    extension = os.path.splitext(path)[1].lower()
    if extension == ".npz":
        return read_npz(path, f"against {path!r}", part)
    if part is not None:
        raise InputError(f"against {path!r}: holds one array, none named {part!r}; leave #... out")
    if extension == ".npy":
        return Numbers(read_array(path, "against", (1, 2, 3, 4), "fiu", empty=True))
    if extension == ".pb":
        return Numbers(read_pb(path))
    return Numbers(read_csv(path, f"against {path!r}"), is_table=True)


def read_pb(path: str) -> NDArray[Any]:
    """The tensor in a `.pb` of ONNX; raises `InputError` for an LSTM's cell state."""
    from rnn_parity.implementations.onnx.model import read_tensor

    array, name = read_tensor(path, "against")
    if name == "Y_c":
        raise InputError(
            f"against {path!r}: expected outputs, received {name} alone, the state c; write it "
            "into a .npz beside Y_h: numpy.savez(FILE, Y_h=..., Y_c=...)"
        )
    return array


def read_npz(path: str, where: str, part: str | None) -> Numbers:
    """What is in a `.npz`: outputs, and what else was computed, by name; or `part` alone."""
    try:
        with readable(where), plain_file(path, where) as file, zipfile.ZipFile(file) as archive:
            entries = entries_of(archive, where)
            names = our_names(entries, part)
            name = outputs_among([*names], part, where)
            wanted = {name, *(COMPUTED if part is None else ())}
            found = {
                one: read_entry(archive, entries[own], "f", where)
                for one, own in names.items()
                if one in wanted
            }
    except InputError:
        raise
    # A damaged archive fails in the directory, the decompression or a header.
    except Exception:
        raise InputError(
            f"{where}: expected a .npz file of arrays, received a truncated or damaged one, or "
            "another kind of file; write it with numpy.savez"
        ) from None
    others = tuple(own for one, own in names.items() if one not in found)
    named = f"{path}#{names[name]}" if part is None else ""
    return Numbers(found.pop(name), found, others, part=named)


def our_names(names: Iterable[str], part: str | None) -> dict[str, str]:
    """The names of a file's arrays by what we call them: Y, Y_h and Y_c are those of ONNX.

    Without a Y, a Y_h beside a Y_c is the last output, and a final state as well.
    """
    found = {name: name for name in names}
    if part is not None or not ("Y" in found or {"Y_h", "Y_c"} <= {*found}):
        return found
    if not set(found).isdisjoint(COMPUTED):
        return found
    last = {} if "Y" in found else {OUTPUTS: "Y_h"}
    return last | {OF_ONNX.get(name, name): name for name in found}


def outputs_among(names: Sequence[str], part: str | None, where: str) -> str:
    """The array that is the outputs: `part`, or "outputs", or the only one.

    Raises `InputError` where there is none: what has the name of something else is never it.
    """
    if part is not None:
        if part not in names:
            raise InputError(f"{where}: expected one of {', '.join(names)}, received #{part}")
        only = part
    elif OUTPUTS in names or len(names) != 1:
        only = OUTPUTS
    else:
        (only,) = names
        if OF_A_STATE.search(only) and only not in (*COMPUTED, *GIVEN):
            raise InputError(
                f"{where}: expected outputs, received {only} alone, by its name a state; append "
                f"#{only} if it is the outputs"
            )
    if only in (*STATES, *GIVEN):
        raise InputError(
            f"{where}: expected outputs, received {only}{' alone' * (part is None)}, which is "
            "something else; write them too, named outputs"
        )
    if only not in names:
        raise InputError(
            f"{where}: expected one array, or {', '.join((OUTPUTS, *STATES))}; received "
            f"{', '.join(names) or 'none'}{'; append #NAME for the outputs' * bool(names)}"
        )
    return only


def answer_from_numbers(numbers: Numbers, axes: str, where: str, request: Request) -> Answer:
    """The numbers as the answer to `request`, with the axes that they must have."""
    batch, timesteps, _ = request.inputs.shape
    sizes = {"B": batch, "T": timesteps, "H": request.units}
    outputs, other = numbers.outputs, ""
    if outputs.ndim < 4 or axes or not request.of_operator:
        found = arranged(outputs, sizes, axes, where, numbers.is_table)
        if found is None:
            other = f"{where}: {expected(sizes)}, received {written(outputs)}"
        outputs = outputs if found is None else found
    names, computed = STATES[: len(request.layer.STATES)], numbers.computed
    states = states_of(computed, names)
    compared = [*names[: len(states)], *[LAST_OUTPUT] * (outputs.ndim == 3)]
    rest = [*numbers.others, *(name for name in computed if name not in compared)]
    known = [name for name in rest if name in GIVEN or not numbers.part]
    notes = (f"not compared: {', '.join(known)} of the file",) if known else ()
    return Answer(
        outputs,
        states,
        (*notes, *([other] if other else last_alone(outputs, request.inputs))),
        left_out=tuple(name for name in rest if name not in known),
        part=numbers.part,
        last_output=computed.get(LAST_OUTPUT) if outputs.ndim == 3 else None,
    )


def states_of(
    computed: Mapping[str, NDArray[Any]], names: Sequence[str]
) -> tuple[NDArray[Any], ...]:
    """The final states of these names, h before c; a c without its h is none."""
    return tuple(computed[name] for name in takewhile(computed.__contains__, names))


def last_alone(outputs: NDArray[Any], inputs: NDArray[Any]) -> tuple[str, ...]:
    """A note where the last of several outputs is all there is."""
    return (LAST_ALONE,) if outputs.ndim == 2 and inputs.shape[1] > 1 else ()


def arranged(
    array: NDArray[Any], sizes: Mapping[str, int], axes: str, where: str, is_table: bool = False
) -> NDArray[Any] | None:
    """Outputs `(B, T, H)`, or the last one `(B, H)`, from an array whose axes may be missing.

    Another shape is a result: an array with three axes is taken as it is, unless `axes` names them,
    and so is another number of units, where the rows are those of all timesteps or of the last one
    (the rows of a text file `is_table` may be something else). None where no reading fits. Raises
    `InputError` where several do, and for numbers that cannot have the `axes` that were named.
    """
    if axes:
        return with_axes(array, sizes, axes, where)
    if array.ndim == 3 or has_other_units(array, sizes, is_table):
        every_step = array.ndim == 2 and len(array) == sizes["B"] * sizes["T"]
        return array.reshape(sizes["B"], sizes["T"], -1) if every_step else array
    fitting = [way for way in READINGS if array.shape in row_shapes(way, sizes)]
    # An axis of size 1 may stand anywhere.
    different = {"".join(axis for axis in way if sizes[axis] > 1) for way in fitting}
    if len(different) > 1:
        ways = " or ".join(f"?axes={way}" for way in fitting)
        raise InputError(f"{where}: {written(array)} can be read in several ways: append {ways}")
    if not fitting:
        return None
    return batch_first(array.reshape([sizes[axis] for axis in fitting[0]]), fitting[0])


def with_axes(array: NDArray[Any], sizes: Mapping[str, int], axes: str, where: str) -> NDArray[Any]:
    """The array with the axes that were named; where it has as many, they may be of any size."""
    shape = tuple(sizes[axis] for axis in axes)
    if array.ndim < 3 and array.size == math.prod(shape):
        array = array.reshape(shape)
    if array.ndim != len(axes):
        wanted = " x ".join(f"{sizes[axis]} ({axis})" for axis in axes)
        raise InputError(f"{where}: expected {wanted} numbers, received {written(array)}")
    return batch_first(array, axes)


def batch_first(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """An array with these axes as `(B, T, H)`, or as `(B, H)`."""
    target = WHOLE if "T" in axes else LAST
    found: NDArray[Any] = array.transpose([axes.index(axis) for axis in target])
    return found


def has_other_units(array: NDArray[Any], sizes: Mapping[str, int], is_table: bool) -> bool:
    """Whether it has a row for each timestep, or for each sample, of other units than the layer."""
    if array.ndim != 2 or any(array.shape in row_shapes(way, sizes) for way in READINGS):
        return False
    return len(array) == sizes["B"] * sizes["T"] or (len(array) == sizes["B"] and not is_table)


def row_shapes(axes: str, sizes: Mapping[str, int]) -> set[tuple[int, ...]]:
    """The shapes in which an array with these axes is written down in rows."""
    first, *_, columns = (sizes[axis] for axis in axes)
    count = math.prod(sizes[axis] for axis in axes)
    if axes == "TBH":  # in other rows, timesteps first looks like batch first
        return {(first, count // first)}
    return {(first, count // first), (count // columns, columns), (1, count), (count, 1), (count,)}


def expected(sizes: Mapping[str, int]) -> str:
    """What would fit, in words."""
    batch, timesteps, units = (sizes[axis] for axis in WHOLE)
    return (
        f"expected {batch * timesteps} rows of {units} numbers (one per timestep, sample after "
        f"sample), {batch} of {timesteps * units} (one per sample) or {batch} of {units} (the "
        "last output alone)"
    )


def written(array: NDArray[Any]) -> str:
    """The shape of an array as a file holds it."""
    if array.ndim == 0:
        return "a single number"
    rows, *columns = array.shape
    return f"{rows} rows of {columns[0]} numbers" if len(columns) == 1 else f"shape {array.shape}"


def encoded(array: NDArray[Any], extension: str) -> bytes:
    """`(B, T, N)` or `(B, N)` as the bytes of a `.npy` or a `.csv` file."""
    # bfloat16 is no dtype that other programs know; float32 holds all of its numbers.
    plain = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    if extension == ".csv":
        return csv_text(plain).encode()
    buffer = BytesIO()
    np.save(buffer, np.ascontiguousarray(plain), allow_pickle=False)
    return buffer.getvalue()


def read_csv(path: str, where: str) -> NDArray[np.float64]:
    """The numbers in a text file, `(rows, columns)`; `nan` and `inf` are numbers.

    The first line may be a header; empty lines and those that begin with # are left out. Raises
    `InputError` with the line of a word, a missing value or a row of another length.
    """
    try:
        with readable(where), plain_file(path, where) as file:
            check_content(os.fstat(file.fileno()).st_size, where, "text", OF_TEXT)
            return table(numbered_lines(io.TextIOWrapper(file, "utf-8-sig"), where), where)
    except UnicodeDecodeError:
        raise InputError(f"{where}: expected text in UTF-8, received other bytes") from None


def numbered_lines(file: io.TextIOWrapper, where: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
        if len(line) == LONGEST_LINE:
            raise InputError(
                f"{where}: line {number}: expected at most {LONGEST_LINE - 1} characters, received "
                "more; write one timestep in a line"
            )
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def table(lines: Iterator[tuple[int, str]], where: str) -> NDArray[np.float64]:
    """The numbers in `lines`, as NumPy's reader has them; all rows of the length of the first."""
    found = next(lines, None)
    separator = next((sign for sign in SEPARATORS if found and sign in found[1]), None)
    if found and is_header(cells_of(found[1], separator)):
        found = next(lines, None)
    if found is None:
        raise InputError(f"{where}: expected rows of numbers, received a file without any")
    # A separator at the end of the first row is there in every row, and no missing number.
    is_closed = separator and found[1].rstrip(" \r\n").endswith(separator)
    last = separator if separator and is_closed else ""
    columns, line = len(cells_of(found[1], separator, last)), found

    def rows() -> Iterator[str]:
        nonlocal line
        for line in chain([found], lines):
            yield row_of(line[1], last)

    try:
        numbers: NDArray[np.float64] = np.loadtxt(
            rows(), delimiter=separator, comments=None, ndmin=2
        )
    except (InputError, UnicodeDecodeError):
        raise
    except ValueError:
        cells = cells_of(line[1], separator, last)
        raise misread(cells, columns, f"{where}: line {line[0]}") from None
    return numbers


def row_of(line: str, last: str) -> str:
    """A line without its end, which is `last`, and without quotation marks."""
    return line.strip(" \r\n").replace('"', "").removesuffix(last)


def cells_of(line: str, separator: str | None, last: str = "") -> list[str]:
    """The cells of a line, which ends in `last`; spaces are between them without a separator."""
    return row_of(line, last).split(separator)


def is_header(cells: list[str]) -> bool:
    """Whether there is a word among the cells, as opposed to numbers and nothing."""
    return any(cell.strip() and number_in(cell) is None for cell in cells)


def number_in(cell: str) -> float | None:
    """The number that a cell holds; None for anything else."""
    try:
        return None if "_" in cell or not cell.isascii() else float(cell)
    except ValueError:
        return None


def misread(cells: list[str], columns: int, where: str) -> InputError:
    """What is wrong in a row: a cell that holds no number, or another length than the first's."""
    column = next((i for i, cell in enumerate(cells) if number_in(cell) is None), None)
    if column is None:
        return InputError(
            f"{where}: expected {columns} numbers as in the lines before, received {len(cells)}"
        )
    what = repr(cells[column].strip()[:40]) if cells[column].strip() else "a missing value"
    return InputError(f"{where}, column {column + 1}: expected a number, received {what}")


def csv_text(array: NDArray[Any]) -> str:
    """`(B, T, N)` or `(B, N)` as text, in rows of N numbers: one per timestep, sample after sample.

    All digits are there: 9 tell float32 numbers apart, 17 those of float64.
    """
    digits = 17 if array.dtype == np.float64 else 9
    buffer = io.StringIO()
    np.savetxt(buffer, array.reshape(-1, array.shape[-1]), f"%.{digits}g", delimiter=",")
    return buffer.getvalue()
