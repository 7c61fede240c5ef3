"""GitHub: an annotation for each problem, the verdict in a line, and the summary of the job."""

from __future__ import annotations

import os
from pathlib import Path

from rnn_parity.errors import InputError, shown, without_commands
from rnn_parity.report.page import TOOL, Renderable, Section, Style
from rnn_parity.report.text import conclusion, lost_line
from rnn_parity.system.files import reason

SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable that names the file whose Markdown GitHub shows on the page of a run."""
WORKSPACE = "GITHUB_WORKSPACE"
"""The variable that names the checkout, from which annotations name their files."""
MOST = 2**20
"""How many bytes GitHub takes of the summary of one step; with more it shows none of it."""
BETWEEN = "\n\n### "
"""What stands before each check in Markdown."""


def render(report: Renderable, style: Style) -> str:
    """A line for each section, error and loss where something is wrong; the verdict last.

    GitHub shows ten errors and ten warnings of a step: the errors come first.
    """
    page = report.page(style)
    problems = [one for one in page.sections if one.level != "notice" and not one.repeats]
    problems.sort(key=lambda one: one.level != "error")
    files = page.files or [""] * len(page.errors)
    lines = [
        annotation("error", TOOL, sentence, file)
        for sentence, file in zip(page.errors, files, strict=True)
    ]
    lines += [annotation("error", TOOL, lost_line(one)) for one in page.unseen]
    lines += map(section, problems)
    if page.level == "warning" or (page.code and not lines):
        lines.append(annotation("warning", TOOL, page.conclusion))
    # The line would be a second annotation if it began like one.
    return "\n".join([*lines, without_commands(conclusion(page, style.colour))])


def section(one: Section) -> str:
    """The verdict, what follows from it, and the notes."""
    lines = [one.sentence or one.heading, *(f"{heading}: {text}" for heading, text in one.findings)]
    lines += [f"note: {note}" for note in one.notes] + ([one.reason] if one.reason else [])
    return annotation(one.level, one.name, "\n".join(lines), one.file)


def annotation(level: str, title: str, message: str, file: str = "") -> str:
    """A workflow command, escaped as GitHub's runner undoes it."""
    place = f"file={of_property(in_workspace(file))}," if file else ""
    return f"::{level} {place}title={of_property(title)}::{escaped(message)}"


def escaped(text: str) -> str:
    """`text` as the message of a command."""
    text = shown(text, "\r\n")
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(sign, code)
    return text


def of_property(text: str) -> str:
    """`text` as a property of a command, which ends at a comma, and its properties at a colon."""
    return escaped(text).replace(":", "%3A").replace(",", "%2C")


def in_workspace(path: str) -> str:
    """A file as GitHub knows it: from the checkout, where it is in it."""
    root = os.environ.get(WORKSPACE)
    if root:
        place, above = Path(os.path.realpath(path)), Path(os.path.realpath(root))
        if place.is_relative_to(above):
            return place.relative_to(above).as_posix()
    return path


def check_summary() -> None:
    """Raise `InputError` where the job has a summary that cannot be written."""
    append("")


def summarise(report: Renderable) -> None:
    """Add the report to the summary of the job, where it has one, as Markdown.

    Raises `InputError` where it cannot be written.
    """
    if os.environ.get(SUMMARY):
        append(f"\n{shortened(report.render('markdown'))}\n")


def append(text: str) -> None:
    """Add `text` to the summary of the job, below what others wrote."""
    path = os.environ.get(SUMMARY)
    if not path:
        return
    try:
        with open(path, "ab") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise InputError(f"{SUMMARY}: cannot write {path!r}: {reason(error)}") from None


def shortened(markdown: str, most: int = MOST // 2) -> str:
    """The first checks of a report that is too long, whole ones, and how many are left out.

    Other programs may write to the summary of the step, too: half of it is left to them.
    """
    start, *rest = markdown.split(BETWEEN)
    room = most - len(start.encode())
    for count, part in enumerate(rest):
        room -= len((BETWEEN + part).encode())
        if room < 0:
            left = f"{len(rest) - count} of {len(rest)} checks are left out here."
            return BETWEEN.join([start, *rest[:count]]) + f"\n\n{left}"
    return markdown
