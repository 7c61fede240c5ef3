"""What remains of a report in a test session: a failure's message, a line each, one document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rnn_parity.report import Report
from rnn_parity.results import Check
from rnn_parity.table import environment_line, subject_lines, table, wrap
from rnn_parity.wording import bits, blind_spots, findings, label, ratio, verdict_of, word


def failure(report: Report) -> str:
    """The message of a failed report: verdict, place, cause and remedy first, then the numbers."""
    failed = [check for check in report.checks if fails(check, report.strict)]
    blocks = [wrap(report.render(quiet=True))]
    for check in failed:
        blocks += [wrap(title(check))] if len(report.checks) > 1 else []
        blocks += found(check)
    details = [numbers(check) for check in failed[:1]]
    if failed[1:]:
        details.append("The numbers of the others: --rnn-parity-report=FILE")
    return "\n\n".join(["\n".join(blocks), *details, environment_line(report.environment)])


def fails(check: Check, strict: bool) -> bool:
    """Whether this check is a reason for its report to be raised."""
    return check.verdict != "parity" or (strict and bool(blind_spots(check)))


def title(check: Check) -> str:
    """Which of several checks, and its verdict."""
    return f"{name_of(check)}: {verdict_of(check)}"


def name_of(check: Check) -> str:
    """The layer, or the recorded case of it."""
    case = f", {check.subject.path}" if check.subject.kind == "case" else ""
    against = f", {check.subject.against}" if check.subject.against else ""
    return f"{label(check.subject)}{case}{against}"


def found(check: Check) -> list[str]:
    """What follows from the verdict, line by line."""
    return [wrap(f"  {heading:<10}{text}", " " * 12) for heading, text in findings(check)]


def numbers(check: Check) -> str:
    """What was checked, its table and its notes."""
    notes = [wrap(f"note: {note}") for note in check.notes]
    return "\n".join([*map(wrap, subject_lines(check)), *table(check, every=False), *notes])


def lines(report: Report) -> list[tuple[str, str, bool]]:
    """A word, a line and whether it failed, for each check; one if nothing was compared."""
    if not report.checks:
        return [(report.verdict, report.summary, True)]
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
        facts.append(" ".join(check.summary.split()))
    elif fails(check, strict):
        facts.append(f"blind to {', '.join(spot.fault for spot in blind_spots(check))}")
    return ", ".join(facts)


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
        order = ("diverged", "inconclusive", "suspect", "parity")
        whole["verdict"] = next(verdict for verdict in order if verdict in verdicts)
    return json.dumps(whole, allow_nan=False)
