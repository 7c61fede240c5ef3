"""The files that `--input` and `--mask-file` name: read, and put together by the inputs' names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.system import files

Arrays: TypeAlias = NDArray[Any] | dict[str, NDArray[Any]]
"""One array, or arrays by the names of a model's inputs."""
RANKS = (1, 2, 3, 4, 5)
"""How many axes the inputs of a model may have."""


def read_npy(path: str) -> Arrays:
    """The array in a `.npy` file."""
    return files.read_array(path, "--input", RANKS)


def read_npz(path: str) -> Arrays:
    """The arrays in a `.npz` file by their names."""
    return files.read_arrays(path, "--input")


READERS: Mapping[str, Callable[[str], Arrays]] = {".npy": read_npy, ".npz": read_npz}
"""Who reads a file of inputs, by its extension; any other is taken for a `.npy`."""


def name_and_path(word: str) -> tuple[str | None, str]:
    """NAME=FILE in two; no name for a word without one, or that is a file's own name."""
    name, sign, path = word.partition("=")
    return (name, path) if sign and name and not os.path.exists(word) else (None, word)


def read_inputs(words: Iterable[str] | None) -> Arrays | None:
    """What the words of `--input` name; None without any."""
    return None if words is None else together(words, read, "--input")


def read_masks(words: Iterable[str] | None, shape: tuple[int, ...] | None = None) -> Arrays | None:
    """The masks that the words of `--mask-file` name, of this `shape`; None without any."""

    def read_mask(path: str) -> Arrays:
        return files.read_mask(path, shape, "--mask-file")

    return None if words is None else together(words, read_mask, "--mask-file")


def read(path: str) -> Arrays:
    """What a file of inputs holds."""
    return READERS.get(os.path.splitext(path)[1].lower(), read_npy)(path)


def together(words: Iterable[str], reader: Callable[[str], Arrays], option: str) -> Arrays:
    """The only array, which has no name, or all arrays by their names.

    Raises `InputError` for a name that is given twice, and for an array without a name beside
    others.
    """
    given = [name_and_path(word) for word in words]
    found: dict[str, NDArray[Any]] = {}
    for name, path in given:
        one = reader(path)
        if not isinstance(one, dict):
            if name is None and len(given) == 1:
                return one
            if name is None:
                raise InputError(
                    f"{option} {path!r}: expected NAME=FILE, since {len(given)} are given; say "
                    "which input of the model it is for"
                )
            one = {name: one}
        elif name is not None:
            raise InputError(
                f"{option} {name}={path}: holds arrays by name, {', '.join(one)}; leave out "
                f"{name}= or name a .npy file"
            )
        for twice in found.keys() & one.keys():
            raise InputError(f"{option}: expected one array for {twice!r}, received two")
        found |= one
    return found
