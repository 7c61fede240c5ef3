"""The files that `--input` and `--mask-file` name: read, and put together by the inputs' names.

What the names alone show to be wrong is refused without NumPy; files are read with it, late.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from rnn_parity.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays: TypeAlias = "NDArray[Any] | dict[str, NDArray[Any]]"
"""One array, or arrays by the names of a model's inputs."""
RANKS = (1, 2, 3, 4, 5)
"""How many axes the inputs of a model may have."""
BY_NAME = ".npz"
"""The extension of files that hold arrays by name."""
TENSOR = ".pb"
"""The extension of files of one tensor, which may say its name."""


def name_and_path(word: str) -> tuple[str | None, str]:
    """NAME=FILE in two; no name for a word without one, or that is a file's own name."""
    name, sign, path = word.partition("=")
    return (name, path) if sign and name and not os.path.exists(word) else (None, word)


def refuse_names(words: Sequence[str], option: str) -> None:
    """Raise `InputError` for a name that is given twice, and for a file of which none is known."""
    pairs = [name_and_path(word) for word in words]
    names = [name for name, _ in pairs]
    for name, path in pairs:
        if name is None and not path.lower().endswith((BY_NAME, TENSOR)) and len(pairs) > 1:
            raise nameless(option, path, len(pairs))
        if name is not None and path.lower().endswith(BY_NAME):
            raise InputError(
                f"{option} {name}={path}: a .npz holds arrays by name; leave out {name}= or name a "
                ".npy file"
            )
        if name is not None and names.count(name) > 1:
            raise twice(option, name)


def nameless(option: str, path: str, count: int) -> InputError:
    """What is said of a file that is one of `count`, and of which no name is known."""
    return InputError(
        f"{option} {path!r}: expected NAME=FILE, since {count} are given; say which input of the "
        "model it is for"
    )


def twice(option: str, name: str) -> InputError:
    """What is said of a name that is given twice."""
    return InputError(f"{option}: expected one array for {name!r}, received two")


def read_npy(path: str) -> Arrays:
    """The array in a `.npy` file."""
    from rnn_parity.system.files import read_array

    return read_array(path, "--input", RANKS)


def read_npz(path: str) -> Arrays:
    """The arrays in a `.npz` file by their names."""
    from rnn_parity.system.files import read_arrays

    return read_arrays(path, "--input")


def read_pb(path: str) -> Arrays:
    """The array in a `.pb` file, as ONNX's test data have them, by the tensor's own name if any."""
    from rnn_parity.implementations.onnx.model import read_tensor

    array, name = read_tensor(path, "--input")
    return {name: array} if name else array


READERS: Mapping[str, Callable[[str], Arrays]] = {
    ".npy": read_npy,
    BY_NAME: read_npz,
    TENSOR: read_pb,
}
"""Who reads a file of inputs, by its extension; any other is taken for a `.npy`."""


def read_inputs(words: Iterable[str]) -> Arrays:
    """What the words of `--input` name."""

    def read(path: str) -> Arrays:
        return READERS.get(os.path.splitext(path)[1].lower(), read_npy)(path)

    return together(words, read, "--input")


def read_masks(words: Iterable[str], shape: tuple[int, ...] | None = None) -> Arrays:
    """The masks that the words of `--mask-file` name, of this `shape` unless it is None."""
    from rnn_parity.system import files

    def read(path: str) -> Arrays:
        return files.read_mask(path, shape, "--mask-file")

    return together(words, read, "--mask-file")


def together(words: Iterable[str], read: Callable[[str], Arrays], option: str) -> Arrays:
    """The only array, where it has no name, or all arrays by their names.

    Raises `InputError` for a name that stands in two files.
    """
    found: dict[str, NDArray[Any]] = {}
    pairs = [name_and_path(word) for word in words]
    for name, path in pairs:
        one = read(path)
        if name is not None and isinstance(one, dict):
            (one,) = one.values()  # a name that was given goes before that in a .pb file
        if not isinstance(one, dict):
            if name is None and len(pairs) > 1:
                raise nameless(option, path, len(pairs))
            if name is None:
                return one
            one = {name: one}
        for known in found.keys() & one.keys():
            raise twice(option, known)
        found |= one
    return found
