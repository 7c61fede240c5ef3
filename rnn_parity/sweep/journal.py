"""The results file of a sweep: JSON Lines, written as they come, read again to go on.

The first line says what the outcomes depend on, every other one holds a configuration and its
outcome. A process that is killed leaves at most a torn last line, which is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Any, BinaryIO

from rnn_parity.errors import InputError
from rnn_parity.report.document import plain
from rnn_parity.sweep.space import SPACES, default_of
from rnn_parity.system.files import reason
from rnn_parity.system.limits import check_content
from rnn_parity.verdict.configuration import SIZES, Configuration
from rnn_parity.verdict.consistency import NUMBERS, contradiction, is_whole, number, parsed
from rnn_parity.verdict.order import STATUSES
from rnn_parity.verdict.results import Divergence
from rnn_parity.verdict.sweep_results import NOT_COMPARED, Outcome

SCHEMA = "rnn-parity/sweep/4"


class ContradictionError(ValueError):
    """Numbers of one line that do not fit together."""


class Journal:
    """The outcomes that are known, and the file that they are added to, if there is one."""

    def __init__(self, path: str = "", file: BinaryIO | None = None) -> None:
        self.path, self.file = path, file
        self.known: dict[Configuration, Outcome] = {}

    def add(self, configuration: Configuration, outcome: Outcome) -> None:
        """Remember an outcome. Raises `InputError` when it cannot be written."""
        self.known[configuration] = outcome
        self.write({"configuration": configuration.entry, "outcome": plain(outcome)})

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one line."""
        if self.file is None:
            return
        data = json.dumps(line, allow_nan=False).encode() + b"\n"
        try:
            while data:  # a disk that is nearly full takes a part
                data = data[self.file.write(data) :]
        except OSError as error:
            raise InputError(
                f"--resume {self.path!r}: cannot be written: {reason(error)}; what is done is kept"
            ) from None

    def begin(self, header: Mapping[str, Any]) -> None:
        """Read what the file holds, and drop a torn last line; a new file gets its header.

        Raises `InputError` for a file that is none of a sweep, is damaged, or has another header.
        """
        if self.file is None:
            return
        header = {"schema": SCHEMA, **header}
        whole = newline = torn = b""
        if os.path.isfile(self.path):  # a device might never end
            check_content(os.path.getsize(self.path), f"--resume {self.path!r}")
            whole, newline, torn = self.file.read().rpartition(b"\n")
        if whole:
            self.read(whole.split(b"\n"), header)
        elif not json.dumps(header).encode().startswith(torn):
            raise self.unusable("received something else")
        if torn:
            self.file.truncate(len(whole + newline))
        if not whole:
            self.write(header)

    def read(self, lines: list[bytes], header: Mapping[str, Any]) -> None:
        """Take the outcomes from whole lines, one for each configuration."""
        for i, line in enumerate(lines, 1):
            try:
                entry = parsed(line)
                if i == 1:
                    self.compare(entry, header)
                    continue
                configuration = configuration_of(entry["configuration"])
                outcome = outcome_of(entry["outcome"])
            except ContradictionError as error:
                raise self.unusable(f"line {i} contradicts itself: {error}") from None
            except InputError:
                raise
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise self.unusable(f"line {i} is damaged") from None
            if configuration in self.known:
                raise self.unusable(f"line {i} has the configuration of an earlier one")
            self.known[configuration] = outcome

    def compare(self, found: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        """Raise `InputError` unless the outcomes in the file would come out the same here."""
        for name, here in header.items():
            there = found.get(name)
            if json.dumps(there) != json.dumps(here):  # unlike True and 1
                raise self.unusable(f"its {name} is {there}, here it is {here}")

    def unusable(self, why: str) -> InputError:
        """What is wrong with the file, in one line."""
        return InputError(
            f"--resume {self.path!r}: expected the results of such a sweep: {why}; name a new file"
        )


@contextmanager
def journal(path: str | None) -> Iterator[Journal]:
    """The journal in the file `path`, which need not exist; in memory alone for None.

    Raises `InputError` for a file that cannot be opened or is in use by another sweep.
    """
    if path is None:
        yield Journal()
        return
    try:
        file = open(path, "a+b", buffering=0)  # noqa: SIM115  # closed below
    except OSError as error:
        raise InputError(f"--resume {path!r}: cannot be opened: {reason(error)}") from None
    with file:
        lock(file, path)
        if os.path.isfile(path):
            file.seek(0)
        yield Journal(path, file)


def lock(file: BinaryIO, path: str) -> None:
    """Keep other sweeps away from `file`, where the system can."""
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"--resume {path!r}: another sweep is writing it") from None


def configuration_of(entry: Mapping[str, Any]) -> Configuration:
    """The configuration of an `entry`; raises `ValueError` or `KeyError` for anything else."""
    layer, values = entry["layer"], {}
    for name, known in SPACES[layer].items():
        value = entry[name]
        kinds = [type(one) for one in known]
        if type(value) not in kinds or not (value > 0 if name in SIZES else value in known):
            raise ValueError(f"{name}={value}")
        values[name] = value
    return default_of(layer).but(values)


def outcome_of(entry: Mapping[str, Any]) -> Outcome:
    """The inverse of `report.document.plain`; raises `ValueError` or `KeyError` for anything else.

    Raises `ContradictionError` where what is there does not fit together.
    """
    values = {field.name: entry[field.name] for field in fields(Outcome)}
    if values["verdict"] not in STATUSES:
        raise ValueError(values["verdict"])
    why = strayed(values) if values["verdict"] in NOT_COMPARED else contradiction(values)
    if why is not None or (why := mistyped(values)) is not None:
        raise ContradictionError(why)
    values |= {name: number(values[name]) for name in NUMBERS}
    first = values["first_divergence"]
    if first is not None:
        floats = {name: number(first[name]) for name in ("observed", "expected", "bound")}
        values["first_divergence"] = Divergence(**{**first, **floats})
    return Outcome(**values)


def strayed(values: Mapping[str, Any]) -> str | None:
    """What contradicts that nothing was compared, in words."""
    known = ("verdict", "summary", "seconds")
    found = [name for name, value in values.items() if value is not None and name not in known]
    return f"its verdict is {values['verdict']} beside {', '.join(found)}" if found else None


def mistyped(values: Mapping[str, Any]) -> str | None:
    """What is not of its type, in words."""
    seconds, call, arithmetic = (values[name] for name in ("seconds", "call", "arithmetic"))
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds < 0:
        return f"its seconds are {seconds!r:.40}"
    if call is not None and not is_whole(call):
        return f"its call is {call!r:.40}"
    if not isinstance(values["summary"], str) or not isinstance(arithmetic, (str, type(None))):
        return "its words are none"
    return None
