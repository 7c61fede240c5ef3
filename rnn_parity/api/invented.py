"""Numbers from a file that are held against inputs which nobody gave, and what is said of that.

They belong to other inputs, unless the same seed made those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rnn_parity.errors import InputError
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.implementations.sources import Source
from rnn_parity.report.report import Report
from rnn_parity.verdict.results import Check

DIFFER = ("diverged", "suspect")
"""The verdicts that inputs of somebody else explain."""


def are_finished(source: Source) -> bool:
    """Whether a source holds numbers that were computed before, from whatever inputs."""
    return source.scope == "call"


def telling(others: Sequence[Source]) -> list[Source]:
    """The sources, of which those that hold numbers say that no inputs were given for them."""
    return [
        replace(one, compute=partial(answer, one.compute)) if are_finished(one) else one
        for one in others
    ]


def answer(compute: Implementation, request: Request) -> Answer:
    """What `compute` answers; a refusal says what is missing."""
    try:
        return compute(request)
    except InputError as error:
        what = "the inputs were invented; give those of these numbers with --input"
        raise type(error)(f"{error}; {what}") from error


def told(report: Report, others: Sequence[Source], seed: int) -> Report:
    """The report on invented inputs, which says so first where the numbers in a file differ."""
    names = [one.name for one in others if are_finished(one)]
    if not names:
        return report
    checks = tuple(
        invented(check, seed) if check.subject.against in names else check
        for check in report.checks
    )
    note = f"no inputs were given, and {', '.join(names)} held against random ones (--seed {seed})"
    return replace(report, checks=checks, notes=(*report.notes, note))


def invented(check: Check, seed: int) -> Check:
    """A check of numbers on invented inputs; where it differs, that is what to look at first."""
    if check.verdict not in DIFFER:
        return check
    why = (
        f"the inputs were invented (--seed {seed}), and {check.subject.against} is right only if "
        "it was computed from them; give its own inputs with --input"
    )
    return replace(check, summary=f"{why}; {check.summary}")
