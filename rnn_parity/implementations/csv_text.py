"""Tables of numbers as text: `.csv` with any of the usual separators, with or without a header."""

from __future__ import annotations

import io
import os
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.system.files import plain_file, reason
from rnn_parity.system.limits import check_content

SEPARATORS = (";", "\t", ",")
"""The first of these that stands in the first line; none of them stands for spaces."""
OF_TEXT = 4
"""A number takes 8 bytes, the shortest one in a text ("1,") takes 2."""
LONGEST_LINE = 2**24
"""While a line is read, each of its numbers takes some hundred bytes."""


def read_csv(path: str, where: str) -> NDArray[np.float64]:
    """The numbers in a text file, `(rows, columns)`; `nan` and `inf` are numbers.

    The first line may be a header; empty lines and those that begin with # are left out. Raises
    `InputError` with the line of a word, a missing value or a row of another length.
    """
    try:
        with plain_file(path, where) as file:
            check_content(os.fstat(file.fileno()).st_size, where, "text", OF_TEXT)
            return table(numbered(io.TextIOWrapper(file, "utf-8-sig"), where), where)
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise InputError(f"{where}: expected text in UTF-8, received other bytes") from None


def numbered(file: io.TextIOWrapper, where: str) -> Iterator[tuple[int, str]]:
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
    """The numbers in `lines`, all rows of the length of the first."""
    numbers, rows, columns = array("d"), 0, 0
    separator, last = None, ""
    for i, (number, line) in enumerate(lines):
        if i == 0:
            separator = next((sign for sign in SEPARATORS if sign in line), None)
            if is_header(cells_of(line, separator, "")):
                continue
        if rows == 0 and separator and line.rstrip(" \r\n").endswith(separator):
            last = separator  # as in every row, then
        row = numbers_in(cells_of(line, separator, last), f"{where}: line {number}")
        if rows and len(row) != columns:
            raise InputError(
                f"{where}: line {number}: expected {columns} numbers as in the lines before, "
                f"received {len(row)}"
            )
        numbers.extend(row)
        rows, columns = rows + 1, len(row)
    if rows == 0:
        raise InputError(f"{where}: expected rows of numbers, received a file without any")
    return np.array(numbers).reshape(rows, columns)


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


def numbers_in(cells: list[str], where: str) -> list[float]:
    """The numbers in a row; raises `InputError` for a cell that holds none."""
    found = [number_in(cell) for cell in cells]
    numbers = [number for number in found if number is not None]
    if len(numbers) == len(found):
        return numbers
    column = found.index(None)
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
