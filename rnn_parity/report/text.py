"""Plain text, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tabulate import SEPARATING_LINE, tabulate

from rnn_parity.errors import shown, without_commands
from rnn_parity.report.page import Page, Renderable, Section, Style, Table

WIDTH = 80
NARROW = 14
"""The most that a line of a header takes where columns stand side by side."""
ROOM = len("timestep 99999")
"""What such a column always has: the longest cell that says where something diverged."""
COMMAND = "again"
"""The heading of a command line."""
COLOURS = {"parity": 32, "diverged": 31, "failed": 31, "suspect": 33, "inconclusive": 33}


def render(report: Renderable, style: Style) -> str:
    """The page as plain text; its sentence alone in a quiet style."""
    page = report.page(style)
    blocks = [conclusion(page, style.colour)] if style.quiet else whole(page, style.colour)
    end = at_the_end(page)
    return without_commands("\n\n".join([*blocks, *(end if style.quiet else map(wrap, end))]))


def conclusion(page: Page, colour: bool) -> str:
    """The sentence of the whole, on one line."""
    return painted(shown(page.conclusion), page.verdict, colour)


def at_the_end(page: Page) -> list[str]:
    """What could not be checked and what got worse, a line each."""
    errors = [f"ERROR: {shown(sentence)}" for sentence in page.errors]
    return [*errors, *(f"WORSE: {shown(sentence)}" for sentence in page.worse)]


def whole(page: Page, colour: bool) -> list[str]:
    """The blocks of the page: what the verdict rests on, and the verdict last."""
    blocks = ["\n".join(map(wrap, filter(None, (page.title, *page.header))))]
    blocks += [grid(page.overview)] if page.overview else []
    blocks += map(wrap, page.remarks)
    blocks += [section(one, colour, i) for i, one in enumerate(page.sections, 1)]
    if page.counted:
        items = [wrap(f"{count:>5}  {text}", " " * 7) for count, text in page.counted.items]
        blocks.append("\n".join([wrap(page.counted.heading), *items]))
    if len(page.sections) == 1 and page.sections[0].sentence:
        blocks.append(wrap(page.reason))  # the only section has said the rest
    else:
        blocks.append(painted(wrap(page.conclusion), page.verdict, colour))
    return list(filter(None, blocks))


def section(one: Section, colour: bool = False, number: int = 1) -> str:
    """What it is, its table, its notes, its verdict and what follows from it.

    A finding, whose heading is its verdict, is numbered.
    """
    follows = [fact(heading, text) for heading, text in one.findings]
    if not one.sentence:
        return "\n".join([wrap(f"{number}. {one.heading}"), *follows])
    top = [wrap(line) for line in (one.heading, *one.facts)]
    notes = [wrap(f"note: {note}") for note in one.notes]
    end = [painted(wrap(one.sentence), one.verdict, colour), *follows]
    blocks = [top, table_lines(one.table), notes, end]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def fact(heading: str, text: str) -> str:
    """A heading and what it says, beside it; a long command in lines that a shell joins."""
    if heading == COMMAND and "'" not in text:
        lines = textwrap.wrap(
            shown(text), WIDTH - 14, break_long_words=False, break_on_hyphens=False
        )
        text = " \\\n            ".join(lines)
        return f"  {heading:<10}{text}"
    return wrap(f"  {heading:<10}{text}", " " * 12)


def table_lines(table: Table | None) -> list[str]:
    """A table, then what it leaves out."""
    if table is None:
        return []
    return [grid(table), *([wrap(table.note)] if table.note else [])]


def grid(table: Table) -> str:
    """A table in as many columns as a terminal has."""
    if table.labels:
        return side_by_side(table)
    text = spacious(table)
    return text if all(len(line) <= WIDTH for line in text.splitlines()) else narrow(table)


def spacious(table: Table) -> str:
    """A table whose headers have room, a line between its groups."""
    rows: list[object] = []
    for group in filter(None, table.groups):
        rows += [SEPARATING_LINE, *group] if rows else group
    count = len(table.headers)
    align = ["left" if i in table.left else "right" for i in range(count)]
    widths: list[int | None] = [None] * count
    if table.elastic is not None:
        others = [max(map(len, column)) for column in zip(*table.rows, strict=True)]
        del others[table.elastic]
        widths[table.elastic] = WIDTH - sum(others) - 2 * (count - 1)
    return str(
        tabulate(rows, table.headers, disable_numparse=True, colalign=align, maxcolwidths=widths)
    )


def narrow(table: Table) -> str:
    """A table whose columns take no more than their cells."""
    widths = [max(map(len, column)) for column in zip(table.headers, *table.rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i in table.left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (table.headers, ["-" * width for width in widths], *table.rows)
    ]
    return "\n".join(lines)


def side_by_side(table: Table) -> str:
    """As many columns together as there is room for, each time with those that name the rows.

    The first of these goes where it names one thing alone.
    """
    rows, labels = table.rows, table.labels
    if sum(bool(row[0]) for row in rows) == 1:
        rows, labels = [row[1:] for row in rows], labels - 1
    names, start = table.headers[table.labels :], labels
    taken = [max(len(row[i]) for row in rows) for i in range(labels)]
    tables = []
    for headers in in_room(names, WIDTH - sum(taken) - 2 * (labels - 1)):
        stop = start + len(headers)
        cells = [[*row[:labels], *row[start:stop]] for row in rows]
        align = ["left"] * labels + ["right"] * len(headers)
        titles = [""] * labels + headers
        tables.append(tabulate(cells, titles, disable_numparse=True, colalign=align))
        start = stop
    return "\n\n".join(tables)


def in_room(names: Sequence[str], room: int) -> list[list[str]]:
    """The names as headers of several lines, as many together as there is room for."""
    found: list[list[str]] = []
    left = 0
    for name in names:
        lines = textwrap.wrap(shown(name), NARROW)
        # tabulate leaves 2 columns around a header and 2 between two cells.
        width = max(ROOM, *(len(line) + 2 for line in lines)) + 2
        if width > left:
            found.append([])
            left = room
        found[-1].append("\n".join(lines))
        left -= width
    return found


def wrap(text: str, indent: str = "  ") -> str:
    """`text` in lines of 80 columns, the further ones indented."""
    return textwrap.fill(shown(text), WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def painted(text: str, verdict: str, colour: bool) -> str:
    """`text` with its first word, the verdict, in its colour."""
    head, colon, rest = text.partition(":")
    return f"\033[{COLOURS[verdict]}m{head}\033[0m{colon}{rest}" if colour else text
