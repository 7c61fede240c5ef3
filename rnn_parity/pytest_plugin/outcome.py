"""What remains of a report in a test session: a failure's message, a line each, one document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rnn_parity.errors import shown, without_commands
from rnn_parity.report.checks import (
    BLIND,
    FAILED,
    NOT_COMPARED,
    blindness,
    error_line,
    is_recorded,
    label,
    section,
    verdict_word,
)
from rnn_parity.report.document import as_json
from rnn_parity.report.page import Facts, OptionNames, Section, Style
from rnn_parity.report.report import Report
from rnn_parity.report.text import fact, table_lines, wrap
from rnn_parity.report.wording import bits, environment_line
from rnn_parity.verdict.order import decisive, decisive_code
from rnn_parity.verdict.results import Check
from rnn_parity.verdict.sentences import ratio

REPORT = "--rnn-parity-report=FILE"
OPTIONS = OptionNames(
    strict="--rnn-parity-strict",
    ignore="--rnn-parity-ignore=FAULT",
    allow_known="--rnn-parity-allow-known",
    all_timesteps=f"{REPORT} has all",
    all_weights=f"in {REPORT}",
)
"""The plugin's options that show or allow more."""
PLACE = ("observed", "expected", "off by")
"""What stands on the line of its place where several checks failed."""


def failure(report: Report) -> str:
    """The message of a failed report: verdict, place, cause and remedy first, then the numbers.

    Of several failed checks each says as much in fewer lines; the numbers are those of the first
    that has any.
    """
    failed = [check for check in report.checks if fails(check, report)]
    several = len(failed) > 1
    head = [wrap(report.page(Style(quiet=True, names=OPTIONS)).conclusion)]
    parts = [part(check, report) for check in failed]
    for check, one in zip(failed, parts, strict=True):
        head += ["", wrap(f"{name_of(check)}: {one.sentence}")] if len(report.checks) > 1 else []
        head += [fact(*found) for found in (compact(one.findings) if several else one.findings)]
    counted = [one for one in parts if one.table] or parts
    lost = [wrap(f"ERROR: {error_line(error)}") for error in report.errors]
    blocks = ["\n".join(head), *lost, *map(numbers, counted[:1])]
    if several and counted[0].table:
        blocks.append(f"Those are the numbers of the first; {REPORT} has all.")
    return without_commands("\n\n".join([*blocks, environment_line(report.environment)]))


def fails(check: Check, report: Report) -> bool:
    """Whether this check of a report is a reason to raise it."""
    passed = check.verdict == "parity" or report.allows(check)
    return not passed or bool(report.blind_to(check))


def part(check: Check, report: Report) -> Section:
    """What is shown of a check that fails."""
    style = Style(names=replace(OPTIONS, **report.set_by))
    return section(check, style, report.blind_to(check))


def name_of(check: Check) -> str:
    """The layer, or the recorded case of it."""
    case = f", {check.subject.path}" if check.subject.kind == "case" else ""
    against = f", {check.subject.against}" if is_recorded(check.subject) else ""
    return f"{label(check.subject)}{case}{against}"


def compact(found: Facts) -> Facts:
    """What follows from a verdict, with the numbers of a place on its line."""
    short: list[tuple[str, str]] = []
    for heading, text in found:
        if heading in PLACE and short:
            place, before = short.pop()
            short.append((place, f"{before}; {heading} {text.partition(' (')[0]}"))
        else:
            short.append((heading, text))
    return tuple(short)


def numbers(one: Section) -> str:
    """What was checked, its table and its notes."""
    notes = (f"note: {note}" for note in one.notes)
    top, end = map(wrap, (one.heading, *one.facts)), map(wrap, notes)
    return "\n".join([*top, *table_lines(one.table), *end])


def lines(report: Report) -> list[tuple[str, str, bool]]:
    """A word, a line and whether it failed, for each check; one if nothing was compared."""
    if not report.checks and not report.errors:
        return [(report.verdict, shown(report.counts), True)]
    found = [(word(c, report), line(c, report), fails(c, report)) for c in report.checks]
    return found + [
        (FAILED if one.has_failed else NOT_COMPARED, shown(error_line(one)), True)
        for one in report.errors
    ]


def word(check: Check, report: Report) -> str:
    """The verdict of a check; where it passed and fails for a blind spot, that it is blind."""
    return BLIND if report.blind_to(check) else verdict_word(check)


def line(check: Check, report: Report) -> str:
    """The layer, how near it is, and the cause or the reason where it fails."""
    facts = [name_of(check)]
    facts += [f"ratio {ratio(check.max_ratio)}"] if check.max_ratio is not None else []
    if check.effective_bits is not None:
        facts.append(f"{bits(check.effective_bits)} effective bits")
    if check.causes:
        facts.append(check.causes[0].fault + " (allowed)" * report.allows(check))
    elif check.verdict != "parity":
        facts.append(" ".join(check.summary.partition(";")[0].split()))
    elif fails(check, report):
        facts.append(f"blind to {', '.join(report.blind_to(check))}")
    elif nothing := blindness(check):
        facts.append(nothing.removeprefix(", "))
    return shown(", ".join(facts))


def merged(tests: Mapping[str, Sequence[str]]) -> str:
    """One document `rnn-parity/1` of those of each test; its checks name their `test`, too."""
    nothing = () if any(tests.values()) else ("no test used the fixture rnn_parity",)
    whole = json.loads(Report((), notes=nothing).to_json())
    documents = [(test, json.loads(text)) for test, texts in tests.items() for text in texts]
    for test, document in documents:
        whole["environment"] = document["environment"]
        whole["notes"] += [f"{test}: {note}" for note in document["notes"]]
        whole["errors"] += [{"test": test, **error} for error in document["errors"]]
        whole["checks"] += [{"test": test, **check} for check in document["checks"]]
    if documents:
        whole["exit_code"] = decisive_code([document["exit_code"] for _, document in documents])
        whole["verdict"] = decisive([document["verdict"] for _, document in documents])
    return as_json(whole)
