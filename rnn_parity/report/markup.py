"""A report as GitHub reads it: Markdown for a job summary, and workflow annotations."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from rnn_parity.errors import shown as shown_text
from rnn_parity.report.table import (
    FAULT_HEADERS,
    HEADERS,
    OVERVIEW,
    comparison_rows,
    implementations,
    left_out,
    overview_rows,
    shown,
    state_cells,
    subject_lines,
    timestep_rows,
)
from rnn_parity.report.wording import findings, label, strictness, verdict_of
from rnn_parity.verdict.results import Check


def escaped(text: str) -> str:
    """`text` on one line, with the signs that Markdown or a table would take for its own."""
    text = shown_text(" ".join(text.split()))
    for sign in "\\`*_|[]<>":
        text = text.replace(sign, "\\" + sign)
    return text


def grid(headers: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str]) -> str:
    """A Markdown table; the columns named in `words` are aligned to the left."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    titles = [header.replace("\n", " ") for header in headers]
    align = ["left" if title in words else "right" for title in titles]
    return str(tabulate(cells, titles, "pipe", disable_numparse=True, colalign=align))


def fault_grid(cells: Sequence[Sequence[str]]) -> str:
    """The id, the meaning and the layers of each fault."""
    return grid(FAULT_HEADERS, cells, FAULT_HEADERS)


def check_markdown(check: Check, every: bool) -> str:
    """One check: heading, sentence, findings, and the table folded away."""
    title, *facts = map(escaped, subject_lines(check))
    blocks = [f"### {title}", *facts, f"**{escaped(verdict_of(check))}**"]
    found = [f"- {heading}: {escaped(text)}" for heading, text in findings(check)]
    found += [f"- note: {escaped(note)}" for note in check.notes]
    blocks += ["\n".join(found)] if found else []
    steps = shown(check, every)
    rows = timestep_rows(check, steps) + [state_cells(row) for row in check.final_state]
    if rows:
        blocks += ["<details><summary>Timesteps and final state</summary>", grid(HEADERS, rows, ())]
        blocks += [escaped(line) for line in left_out(check, steps)] + ["</details>"]
    return "\n\n".join(blocks)


def markdown(header: Sequence[str], sentence: str, checks: Sequence[Check], every: bool) -> str:
    """The whole report for a job summary; `header` is its title and what stands under it."""
    title, *rest = map(escaped, header)
    blocks = [f"## {title}", f"**{escaped(sentence)}**", *rest]
    names = implementations(checks)
    if len(names) > 1:
        rows = comparison_rows(checks, names)
        headers = ("layer", "", *map(escaped, names))
        blocks.append(grid(headers, rows, ("layer", "")))
    elif len(checks) > 1:
        blocks.append(grid(OVERVIEW, overview_rows(checks), ("layer", "mode", "verdict")))
    return "\n\n".join(blocks + [check_markdown(check, every) for check in checks])


def annotation(level: str, title: str, message: str) -> str:
    """A workflow command, escaped as GitHub's runner undoes it."""
    title, message = (shown_text(part, "\r\n") for part in (title, message))
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        title, message = title.replace(sign, code), message.replace(sign, code)
    # A property ends at a comma and its commands at a colon.
    title = title.replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{message}"


def check_annotation(check: Check, strict: bool) -> str:
    """One check as an annotation: an error where it fails, a warning where it proves nothing."""
    levels = {"parity": "notice", "diverged": "error", "suspect": "error"}
    reason = strictness([check]) if strict else ""
    level = "warning" if check.verdict == "parity" and reason else levels.get(check.verdict)
    lines = [verdict_of(check), *(f"{heading}: {text}" for heading, text in findings(check))]
    lines += [f"note: {note}" for note in check.notes] + ([reason] if reason else [])
    title = f"rnn-parity: {label(check.subject)}"
    return annotation(level or "warning", title, "\n".join(lines))
