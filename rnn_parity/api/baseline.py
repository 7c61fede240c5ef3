"""A report held against an earlier one: what is new, gone, worse or better.

A job that compares with a report of before fails when anything got worse, be it that a check is no
longer there.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import count
from json import JSONDecodeError
from typing import Any

from rnn_parity.errors import InputError
from rnn_parity.report.checks import RECORDED
from rnn_parity.report.document import plain
from rnn_parity.report.report import Report
from rnn_parity.system.files import content, reason
from rnn_parity.system.limits import SHARE_OF_TEXT
from rnn_parity.verdict.consistency import contradiction, document_contradiction, parsed
from rnn_parity.verdict.order import WORST_FIRST
from rnn_parity.verdict.results import Baseline, Change

CHANGES = ("gone", "worse", "new", "better")
"""The kinds of changes, in the order in which a person needs them."""
MOST_BITS = 1.0
"""How many effective bits may be lost: as much as another order of summation costs."""
KEY = ("path", "layer_class", "layer_name", "mode", "call")
"""The entries of a subject that tell checks apart; so do the test, in what pytest wrote, and who
computed it."""


def against_baseline(report: Report, path: str | os.PathLike[str]) -> Report:
    """`report` with what changed since the JSON report in the file `path`, and what got worse.

    Worse is a verdict, or more than one effective bit less; a check that disappeared is gone, and
    fails as well: it was not compared. Raises `InputError`, one line, for a file that is no report
    of this program.
    """
    before = read_report(os.fspath(path))
    unread = {(same_path(error.path), error.against) for error in report.errors}
    found = changes(before, plain(report.checks), unread)
    found.sort(key=lambda one: CHANGES.index(one.kind))
    kept = len(before) - sum(one.before is not None for one in found)
    checks = f"{kept} check{'s' * (kept != 1)}"
    nothing = f"compared with {os.fspath(path)}, nothing changed in {checks}"
    return replace(
        report,
        notes=report.notes if found else (*report.notes, nothing),
        worse=sentences(found, "worse"),
        gone=sentences(found, "gone"),
        baseline=Baseline(os.fspath(path), tuple(found), kept),
    )


def sentences(found: Iterable[Change], kind: str) -> tuple[str, ...]:
    """The changes of one kind, each with the name of its check."""
    return tuple(f"{one.check}: {one.summary}" for one in found if one.kind == kind)


def read_report(path: str) -> list[Mapping[str, Any]]:
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
            which = f"check {i} ({check_name(check)})"
            raise InputError(f"{where}; {which} contradicts itself: {contradiction(check)}")
    wrong = document_contradiction(document)
    if wrong is not None:
        raise InputError(f"{where}; this one contradicts itself: {wrong}")
    return checks


def is_check(value: Any) -> bool:
    """Whether `value` has what is compared, whatever it says."""
    return isinstance(value, dict) and isinstance(value.get("subject"), dict)


def changes(
    before: Iterable[Mapping[str, Any]],
    now: Iterable[Mapping[str, Any]],
    unread: Collection[tuple[str | None, str | None]] = (),
) -> list[Change]:
    """What changed between the checks of two reports.

    Of the files `unread` (their `same_path`) there are none now, or none by a source that is named
    beside one.
    """
    was, present = keyed(before), keyed(now)
    found = []
    for key, old in was.items():
        new = present.get(key)
        if new is None:
            path, against = same_path(old["subject"].get("path")), old["subject"].get("against")
            unreadable = not {(path, None), (path, against)}.isdisjoint(unread)
            why = "could not be checked" if unreadable else "is no longer checked"
            found.append(change_of("gone", old, None, f"it was {old['verdict']} and {why}"))
        elif (kind := better_or_worse(old, new)) is not None:
            found.append(change_of(kind, old, new, moved_from(old, new)))
    new_ones = (check for key, check in present.items() if key not in was)
    return found + [change_of("new", None, new, f"is {new['verdict']}") for new in new_ones]


def better_or_worse(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Whether a check is better or worse than it was; None where it is neither."""
    ranks = [WORST_FIRST.index(check["verdict"]) for check in (old, new)]
    if ranks[0] != ranks[1]:
        return "better" if ranks[1] > ranks[0] else "worse"
    if lost(old, new) > MOST_BITS:
        return "worse"
    return "better" if lost(new, old) > MOST_BITS else None


def moved_from(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How a check that is better or worse than it was changed, as a sentence."""
    if old["verdict"] != new["verdict"]:
        return f"was {old['verdict']}, is {new['verdict']}: {new['summary']}"
    before, after = (float(check["effective_bits"]) for check in (old, new))
    return f"effective bits {'fell' if after < before else 'rose'} from {before:.1f} to {after:.1f}"


def change_of(
    kind: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, summary: str
) -> Change:
    """A change of the check that was `old` and is `new`; None for one that there is not."""
    name = check_name(old or new or {"subject": {}})
    return Change(kind, name, *verdict_and_bits(old), *verdict_and_bits(new), summary)


def verdict_and_bits(check: Mapping[str, Any] | None) -> tuple[str | None, float | None]:
    """What was found of a check; its effective bits may be a word, which JSON has for infinity."""
    if check is None:
        return None, None
    bits = check["effective_bits"]
    return check["verdict"], None if bits is None else float(bits)


def keyed(checks: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """The checks by what tells them apart; those that nothing does are numbered."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for check in checks:
        subject = check["subject"]
        known = {**subject, "path": same_path(subject.get("path"))}
        parts = [str(one) for one in (check.get("test"), *map(known.get, KEY), computer(subject))]
        key = next(key for n in count() if (key := (*parts, n)) not in found)
        found[key] = check
    return found


def same_path(path: Any) -> Any:
    """A path from the root of the file system, so that ./a.npz is a.npz, and so is its absolute
    path; anything else as it is.
    """
    return os.path.abspath(path) if isinstance(path, str) and path else path


def lost(old: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    """How many effective bits went; 0 where either check has none."""
    if old["effective_bits"] is None or new["effective_bits"] is None:
        return 0.0
    before, after = float(old["effective_bits"]), float(new["effective_bits"])
    return 0.0 if before == after else before - after  # also where both are infinite


def computer(subject: Mapping[str, Any]) -> str | None:
    """Who computed what was checked; of a recorded case, that it was recorded, whatever by."""
    is_recorded = subject.get("kind") == "case" and subject.get("mode") and subject.get("against")
    return RECORDED if is_recorded else subject.get("against")


def check_name(check: Mapping[str, Any]) -> str:
    """What was checked, in a few words."""
    subject = check["subject"]
    parts = [subject.get(name) for name in ("path", "layer_name", "mode")]
    words = (check.get("test"), *parts, computer(subject))
    return ", ".join(str(word) for word in words if word)
