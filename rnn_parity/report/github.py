"""GitHub's workflow annotations: one for each check or finding, errors where something is wrong."""

from __future__ import annotations

from rnn_parity.errors import shown
from rnn_parity.report.page import TOOL, Renderable, Section, Style


def render(report: Renderable, style: Style) -> str:
    """A line for each section, error and what got worse, and for the whole where it has a level."""
    page = report.page()
    lines = [section(one) for one in page.sections]
    lines += [annotation(page.level, TOOL, page.conclusion)] if page.level else []
    lines += [annotation("error", TOOL, sentence) for sentence in (*page.errors, *page.worse)]
    return "\n".join(lines)


def section(one: Section) -> str:
    """The verdict, what follows from it, and the notes."""
    lines = [one.sentence or one.heading, *(f"{heading}: {text}" for heading, text in one.findings)]
    lines += [f"note: {note}" for note in one.notes] + ([one.reason] if one.reason else [])
    return annotation(one.level, one.name, "\n".join(lines))


def annotation(level: str, title: str, message: str) -> str:
    """A workflow command, escaped as GitHub's runner undoes it."""
    title, message = (shown(part, "\r\n") for part in (title, message))
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        title, message = title.replace(sign, code), message.replace(sign, code)
    # A property ends at a comma and its commands at a colon.
    title = title.replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{message}"
