"""The targets of a check: globs and folders as files, and what kind of target each of them is.

The standard library alone, so that bad usage answers at once.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rnn_parity.errors import InputError, nearest

Report: TypeAlias = Literal["generated", "model", "onnx", "tfjs", "state_dict", "case", "nothing"]
"""Which function of the command line checks it, see `cli.main.REPORTS`."""
OF_GENERATED = ("layer", "units", "features", "dtype", "mask", "initial_state")
OF_WEIGHTS = ("arguments",)
"""What a generated layer is given, and one of which a file holds the weights alone."""
OF_MODEL = ("layer_name", "unsafe", "custom")
OF_SEVERAL = ("workers", "dask")
OF_DATA = ("batch", "timesteps", "seed", "input", "mask_file")
NOT_OF_STATE_DICT = (*("unsafe", "custom", "mode", "no_keras", "inputs_as", "training", "calls"),)
NOT_OF_ONNX = (*NOT_OF_STATE_DICT, "mask_file", *OF_WEIGHTS)
NOT_OF_TFJS = (*NOT_OF_ONNX, "against")
FOR_CASES = (("no_keras",), "only for a case or a folder of cases; leave it out")
FOR_GENERATED = (OF_GENERATED, "only for a generated layer; leave out this or the TARGET")


@dataclass(frozen=True)
class TargetKind:
    """One kind of target: how its files end, who checks it, which options it would ignore and why.

    An option that would be ignored is refused. `called` is how messages call a file of it.
    """

    report: Report
    suffixes: tuple[str, ...] = ()
    refused: tuple[tuple[Sequence[str], str], ...] = ()
    called: str = ""


GENERATED = TargetKind(
    "generated",
    refused=(
        FOR_CASES,
        (OF_MODEL, "only for a model; add the TARGET or leave this out"),
        (OF_SEVERAL, "only for several targets; leave it out"),
    ),
)
MODEL = TargetKind(
    "model",
    (".keras",),
    (
        FOR_CASES,
        FOR_GENERATED,
        (
            OF_WEIGHTS,
            "only for a generated layer or weights alone (.h5); leave out this or the TARGET",
        ),
    ),
)
MODEL_OR_WEIGHTS = TargetKind("model", (".h5", ".hdf5"), (FOR_CASES, FOR_GENERATED))
ONNX = TargetKind(
    "onnx",
    (".onnx",),
    (
        (NOT_OF_ONNX, "not for an ONNX model, which runs by itself; leave it out"),
        FOR_GENERATED,
    ),
    "ONNX model",
)
TFJS = TargetKind(
    "tfjs",
    ("model.json",),
    (
        (NOT_OF_TFJS, "not for a TensorFlow.js model, which runs by itself; leave it out"),
        FOR_GENERATED,
    ),
)
STATE_DICT = TargetKind(
    "state_dict",
    (".safetensors", ".pt", ".pth", ".ckpt"),  # all but the first are pickled, and refused
    (
        (NOT_OF_STATE_DICT, "not for PyTorch's weights, which it runs; leave it out"),
        FOR_GENERATED,
    ),
)
CASE = TargetKind(
    "case",
    (".npz",),
    (
        (
            (*OF_GENERATED, *OF_WEIGHTS, "calls", *OF_MODEL, *OF_DATA, "training"),
            "settled by the case; leave it out",
        ),
    ),
    "case",
)
NOTHING = TargetKind("nothing")
"""A folder without anything to check, or a glob that matches no file."""
KINDS = (MODEL, MODEL_OR_WEIGHTS, ONNX, TFJS, STATE_DICT, CASE)
"""The kinds of files, by their suffixes: a new one is an entry here."""


def kind_of(target: str | None) -> TargetKind:
    """The kind of a target; what no suffix tells is left to the reader of models to refuse."""
    if target is None:
        return GENERATED
    if is_folder(target) or is_unmatched(target):
        return NOTHING
    if target.endswith(".json") or os.path.isfile(os.path.join(target, "model.json")):
        return TFJS
    name = target.lower()
    return next((kind for kind in KINDS if name.endswith(kind.suffixes)), MODEL)


def refuse_missing(target: str, kind: TargetKind) -> None:
    """Raise `InputError` for a file that is not there, before anything is imported to read it."""
    if target.lower().endswith(kind.suffixes) and not os.path.lexists(target):
        raise no_such_file(target, f"{kind.called} {target!r}" if kind.called else target)


def no_such_file(path: str, called: str) -> InputError:
    """The error of a file that is not there, which the message calls so; with the nearest one."""
    folder, missing = os.path.split(path)
    beside = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    near = nearest(missing, beside)
    return InputError(f"{called}: cannot be read: {os.strerror(errno.ENOENT)}{near}")


def is_folder(path: str) -> bool:
    """Whether this is a folder, and no model that is saved as one."""
    models = (os.path.join(path, name) for name in ("saved_model.pb", "model.json"))
    return os.path.isdir(path) and not any(map(os.path.exists, models))


def expanded(words: Iterable[str]) -> list[str]:
    """The targets that `words` stand for, in their order, each file once.

    A glob stands for what it matches, sorted; a folder for the files in it, and in the folders
    below it, that can be checked, sorted; each of them for itself where there is none. What is
    there under its own name is no glob. Raises `InputError` for a folder that cannot be read.
    """
    found: dict[str, str] = {}
    for word in words:
        for target in matches(word):
            for path in files_in(target) if is_folder(target) else [target]:
                found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def is_unmatched(word: str) -> bool:
    """Whether this is a glob, and no file by its own name."""
    return glob.has_magic(word) and not os.path.lexists(word)


def matches(word: str) -> list[str]:
    """The paths that a word names: those that it matches as a glob, or its own."""
    found = sorted(glob.glob(word, recursive=True)) if is_unmatched(word) else []
    return found or [word]


def files_in(folder: str) -> list[str]:
    """The files in a folder that can be checked, in the order of their names; itself without any.

    Raises `InputError` for a folder that cannot be read.
    """
    return sorted(checkable(folder)) or [folder]


def checkable(folder: str) -> Iterator[str]:
    """The files in a folder, and in the folders below it, whose suffix is one of `KINDS`."""

    def refuse(error: OSError) -> None:
        reason = error.strerror or error
        raise InputError(f"folder {folder!r}: cannot be read: {reason}") from None

    suffixes = tuple(suffix for kind in KINDS for suffix in kind.suffixes)
    for here, _, names in os.walk(folder, onerror=refuse):
        paths = (os.path.join(here, name) for name in names if name.lower().endswith(suffixes))
        yield from (path for path in paths if os.path.isfile(path))
