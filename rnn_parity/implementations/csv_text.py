"""Tables of numbers as text: `.csv` with any of the usual separators, with or without a header."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.archive import MOST_BYTES
from rnn_parity.errors import InputError
from rnn_parity.files import reason

SEPARATORS = (";", "\t", ",")
"""The first of these that stands in the first line; none of them stands for spaces."""


def read_csv(path: str, where: str) -> NDArray[np.float64]:
    """The numbers in a text file, `(rows, columns)`; `nan` and `inf` are numbers.

    The first line may be a header; empty lines and those that begin with # are left out. Raises
    `InputError` with the line of a word, a missing value or a row of another length.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise InputError(f"{where}: expected a plain file of at most 1 GiB; name another")
        with open(path, encoding="utf-8-sig") as file:
            return table(numbered(file), where)
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise InputError(f"{where}: expected text in UTF-8, received other bytes") from None


def numbered(file: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    for number, line in enumerate(file, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def table(lines: Iterator[tuple[int, str]], where: str) -> NDArray[np.float64]:
    """The numbers in `lines`, all rows of the length of the first."""
    rows: list[NDArray[np.float64]] = []
    separator, last = None, ""
    for i, (number, line) in enumerate(lines):
        if i == 0:
            separator = next((sign for sign in SEPARATORS if sign in line), None)
            if is_header(cells_of(line, separator, "")):
                continue
        if not rows and separator and line.rstrip(" \r\n").endswith(separator):
            last = separator  # as in every row, then
        row = numbers_in(cells_of(line, separator, last), f"{where}: line {number}")
        if rows and len(row) != len(rows[0]):
            raise InputError(
                f"{where}: line {number}: expected {len(rows[0])} numbers as in the lines before, "
                f"received {len(row)}"
            )
        rows.append(row)
    if not rows:
        raise InputError(f"{where}: expected rows of numbers, received a file without any")
    return np.stack(rows)


def cells_of(line: str, separator: str | None, last: str) -> list[str]:
    """The cells of a line, which ends in `last`; spaces are between them without a separator."""
    return line.strip(" \r\n").replace('"', "").removesuffix(last).split(separator)


def is_header(cells: list[str]) -> bool:
    """Whether there is a word among the cells, as opposed to numbers and nothing."""
    return any(cell.strip() and number_in(cell) is None for cell in cells)


def number_in(cell: str) -> float | None:
    """The number that a cell holds; None for anything else."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def numbers_in(cells: list[str], where: str) -> NDArray[np.float64]:
    """The numbers in a row; raises `InputError` for a cell that holds none."""
    numbers = [number_in(cell) for cell in cells]
    if None not in numbers:
        return np.array(numbers, np.float64)
    column = numbers.index(None)
    what = repr(cells[column].strip()[:40]) if cells[column].strip() else "a missing value"
    raise InputError(f"{where}, column {column + 1}: expected a number, received {what}")


def text(array: NDArray[Any]) -> str:
    """`(B, T, N)` or `(B, N)` as text, in rows of N numbers: one per timestep, sample after sample.

    All digits are there: 9 tell float32 numbers apart, 17 those of float64.
    """
    digits = 17 if array.dtype == np.float64 else 9
    buffer = io.StringIO()
    np.savetxt(buffer, array.reshape(-1, array.shape[-1]), f"%.{digits}g", delimiter=",")
    return buffer.getvalue()
