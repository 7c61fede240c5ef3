"""What remains of a report in a test session: a failure's message, a line each, one document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rnn_parity.errors import shown, without_commands
from rnn_parity.report.report import Report, as_json
from rnn_parity.report.table import environment_line, subject_lines, table, wrap
from rnn_parity.report.wording import (
    bits,
    blind_spots,
    findings,
    is_recorded,
    label,
    ratio,
    verdict_of,
    word,
)
from rnn_parity.verdict.results import Check

REPORT = "--rnn-parity-report=FILE"
INSTEAD = {
    "With --strict,": "With --rnn-parity-strict,",
    "--every shows all": f"{REPORT} has all",
    "in --format json": f"in {REPORT}",
}
"""What a report says of the command line's options, and what that is here."""
PLACE = ("observed", "expected", "off by")
"""What stands on the line of its place where several checks failed."""


def failure(report: Report) -> str:
    """The message of a failed report: verdict, place, cause and remedy first, then the numbers.

    Of several failed checks each says as much in fewer lines; the numbers are those of the first.
    """
    failed = [check for check in report.checks if fails(check, report.strict)]
    several = len(failed) > 1
    head = [wrap(in_pytest(report.render(quiet=True)))]
    for check in failed:
        name = ["", wrap(title(check))] if len(report.checks) > 1 else []
        head += [*name, *found(compact(findings(check)) if several else findings(check))]
    blocks = ["\n".join(head), *map(numbers, failed[:1])]
    if several:
        blocks.append(f"Those are the numbers of the first; {REPORT} has all.")
    return without_commands("\n\n".join([*blocks, environment_line(report.environment)]))


def in_pytest(text: str) -> str:
    """`text` with the plugin's options in place of the command line's."""
    for option, own in INSTEAD.items():
        text = text.replace(option, own)
    return text


def fails(check: Check, strict: bool) -> bool:
    """Whether this check is a reason for its report to be raised."""
    return check.verdict != "parity" or (strict and bool(blind_spots(check)))


def title(check: Check) -> str:
    """Which of several checks, and its verdict."""
    return f"{name_of(check)}: {verdict_of(check)}"


def name_of(check: Check) -> str:
    """The layer, or the recorded case of it."""
    case = f", {check.subject.path}" if check.subject.kind == "case" else ""
    against = f", {check.subject.against}" if is_recorded(check.subject) else ""
    return f"{label(check.subject)}{case}{against}"


def compact(facts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """What follows from a verdict, with the numbers of a place on its line."""
    short: list[tuple[str, str]] = []
    for heading, text in facts:
        if heading in PLACE and short:
            place, before = short.pop()
            short.append((place, f"{before}; {heading} {text.partition(' (')[0]}"))
        else:
            short.append((heading, text))
    return short


def found(facts: Sequence[tuple[str, str]]) -> list[str]:
    """What follows from a verdict, line by line."""
    return [wrap(in_pytest(f"  {heading:<10}{text}"), " " * 12) for heading, text in facts]


def numbers(check: Check) -> str:
    """What was checked, its table and its notes."""
    rows = map(in_pytest, table(check, every=False))
    notes = [wrap(f"note: {note}") for note in check.notes]
    return "\n".join([*map(wrap, subject_lines(check)), *rows, *notes])


def lines(report: Report) -> list[tuple[str, str, bool]]:
    """A word, a line and whether it failed, for each check; one if nothing was compared."""
    if not report.checks:
        return [(report.verdict, shown(report.summary), True)]
    return [(word(c), line(c, report.strict), fails(c, report.strict)) for c in report.checks]


def line(check: Check, strict: bool) -> str:
    """The layer, how near it is, and the cause or the reason where it fails."""
    facts = [name_of(check)]
    facts += [f"ratio {ratio(check.max_ratio)}"] if check.max_ratio is not None else []
    if check.effective_bits is not None:
        facts.append(f"{bits(check.effective_bits)} effective bits")
    if check.causes:
        facts.append(check.causes[0].fault)
    elif check.verdict != "parity":
        facts.append(" ".join(check.summary.partition(";")[0].split()))
    elif fails(check, strict):
        facts.append(f"blind to {', '.join(spot.fault for spot in blind_spots(check))}")
    return shown(", ".join(facts))


def merged(tests: Mapping[str, Sequence[str]]) -> str:
    """One document `rnn-parity/1` of those of each test; its checks name their `test`, too."""
    nothing = () if any(tests.values()) else ("no test used the fixture rnn_parity",)
    whole = json.loads(Report((), notes=nothing).to_json())
    documents = [(test, json.loads(text)) for test, texts in tests.items() for text in texts]
    for test, document in documents:
        whole["environment"] = document["environment"]
        whole["notes"] += [f"{test}: {note}" for note in document["notes"]]
        whole["checks"] += [{"test": test, **check} for check in document["checks"]]
    if documents:
        codes = {document["exit_code"] for _, document in documents}
        verdicts = {document["verdict"] for _, document in documents}
        whole["exit_code"] = next(code for code in (1, 3, 0) if code in codes)
        order = ("diverged", "suspect", "inconclusive", "parity")
        whole["verdict"] = next(verdict for verdict in order if verdict in verdicts)
    return as_json(whole)
