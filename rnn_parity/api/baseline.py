"""A report held against an earlier one: a job that fails when anything got worse.

What the earlier report says is believed only where its numbers fit together. Needs NumPy alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from json import JSONDecodeError
from typing import Any

from rnn_parity.errors import InputError
from rnn_parity.report.document import plain
from rnn_parity.report.report import Report
from rnn_parity.system.files import content, reason
from rnn_parity.system.limits import SHARE_OF_TEXT
from rnn_parity.verdict.consistency import contradiction, document_contradiction, parsed
from rnn_parity.verdict.order import WORST_FIRST

MOST_BITS = 1.0
"""How many effective bits may be lost: as much as another order of summation costs."""
KEY = ("path", "layer_class", "layer_name", "mode", "call", "against")
"""The entries of a subject that tell checks apart; so does the test, in what pytest wrote."""


def compared(report: Report, path: str | os.PathLike[str]) -> Report:
    """`report` with what got worse than in the JSON report in the file `path`.

    That is a verdict, a check that disappeared, or more than one effective bit. Raises
    `InputError`, one line, for a file that is no report of this program.
    """
    worse = tuple(regressions(read(os.fspath(path)), plain(report.checks)))
    notes = (*report.notes, *(f"worse than the baseline: {sentence}" for sentence in worse))
    return replace(report, notes=notes, worse=worse)


def read(path: str) -> list[Mapping[str, Any]]:
    """The checks in the JSON report `path`."""
    name, wanted = f"--baseline {path!r}", "a report that --format json wrote"
    where = f"{name}: expected {wanted}"
    try:
        text = content(path, name, wanted, SHARE_OF_TEXT)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where}, which cannot be read: {reason(error)}") from None
    try:
        document = parsed(text)
    except (ValueError, RecursionError) as error:
        no_json = (JSONDecodeError, RecursionError, UnicodeDecodeError)
        why = "" if isinstance(error, no_json) else f": {error}"
        raise InputError(f"{where}, received something else{why}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != Report.schema:
        raise InputError(f"{where}, {Report.schema}, received schema {schema!r}; write it again")
    checks = document.get("checks")
    if not isinstance(checks, list) or not all(map(is_check, checks)):
        raise InputError(f"{where}, received one with damaged checks; write it again")
    if not checks:
        raise InputError(f"{where}, received one without a check, which proves nothing")
    for i, check in enumerate(checks):
        if contradiction(check):
            which = f"check {i} ({label(check)})"
            raise InputError(f"{where}; {which} contradicts itself: {contradiction(check)}")
    wrong = document_contradiction(document)
    if wrong is not None:
        raise InputError(f"{where}; this one contradicts itself: {wrong}")
    return checks


def is_check(value: Any) -> bool:
    """Whether `value` has what is compared, whatever it says."""
    return isinstance(value, dict) and isinstance(value.get("subject"), dict)


def regressions(before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> list[str]:
    """What got worse between the checks of two reports, as sentences."""
    present, worse = keyed(now), []
    for key, old in keyed(before).items():
        name = label(old)
        new = present.get(key)
        if new is None:
            worse.append(f"{name}: it was {old['verdict']} and is no longer checked")
        elif WORST_FIRST.index(new["verdict"]) < WORST_FIRST.index(old["verdict"]):
            worse.append(f"{name}: was {old['verdict']}, is {new['verdict']}: {new['summary']}")
        elif lost(old, new) > MOST_BITS:
            bits = (float(check["effective_bits"]) for check in (old, new))
            worse.append("{}: effective bits fell from {:.1f} to {:.1f}".format(name, *bits))
    return worse


def keyed(checks: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """The checks by what tells them apart; those that nothing does are numbered."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for check in checks:
        parts = [str(check.get("test")), *(str(check["subject"].get(name)) for name in KEY)]
        key = next(key for n in count() if (key := (*parts, n)) not in found)
        found[key] = check
    return found


def lost(old: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    """How many effective bits went; 0 where either check has none."""
    if old["effective_bits"] is None or new["effective_bits"] is None:
        return 0.0
    before, after = float(old["effective_bits"]), float(new["effective_bits"])
    return 0.0 if before == after else before - after  # also where both are infinite


def label(check: Mapping[str, Any]) -> str:
    """What was checked, in a few words."""
    subject = check["subject"]
    parts = [subject.get(name) for name in ("path", "layer_name", "mode", "against")]
    return ", ".join(str(part) for part in (check.get("test"), *parts) if part)
