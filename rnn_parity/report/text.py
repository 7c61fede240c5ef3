"""Plain text, as wide as a terminal, or 80 columns where there is none."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from tabulate import SEPARATING_LINE, tabulate

from rnn_parity.errors import shown, without_commands
from rnn_parity.report.names import fitted, least_room
from rnn_parity.report.page import PLAIN, WIDTH, Page, Renderable, Row, Section, Style, Table

NARROW = 14
"""The most that a line of a header takes where columns stand side by side."""
ROOM = len("timestep 99999")
"""What such a column always has: the longest cell that says where something diverged."""
LEAST = 9
"""What a column of names keeps, so that something can still be read in it."""
WIDEST_LABEL = 1 / 3
"""How much of a line the names of rows take at most where columns stand side by side."""
JOINT = "\x1f"
"""What stands for a space at which no line ends; `shown` leaves none in a text."""
COMMAND = "again"
"""The heading of a command line."""
COLOURS = {
    **{"parity": 32, "diverged": 31, "failed": 31, "suspect": 33, "inconclusive": 33},
    **{"blind": 33, "worse": 31, "gone": 31, "not compared": 33},
    **{"ERROR": 31, "WORSE": 31, "GONE": 31},
}


def render(report: Renderable, style: Style) -> str:
    """The page as plain text; its sentence alone in a quiet style."""
    page = report.page(style)
    blocks = [conclusion(page, style.colour)] if style.quiet else whole(page, style)
    end = at_the_end(page)
    if not style.quiet:
        end = [wrap(line, width=style.width) for line in end]
    end = [painted(line, line.partition(":")[0], style.colour) for line in end]
    return without_commands("\n\n".join([*blocks, *end]))


def conclusion(page: Page, colour: bool) -> str:
    """The sentence of the whole, on one line."""
    return painted(shown(page.conclusion), page.verdict, colour)


def at_the_end(page: Page) -> list[str]:
    """What could not be checked, a line each; what got worse or is gone, if no table says it."""
    errors = [f"ERROR: {shown(sentence)}" for sentence in page.errors]
    return errors if page.changed else [*errors, *map(lost_line, page.worse)]


def lost_line(one: tuple[str, str]) -> str:
    """What got worse or is gone: that word, then what it is about and how."""
    word, sentence = one
    return f"{word.upper()}: {shown(sentence)}"


def whole(page: Page, style: Style) -> list[str]:
    """The blocks of the page: what the verdict rests on, and the verdict last.

    What passed is left out, unless the style is verbose.
    """
    alone = len(page.sections) == 1 and not page.errors
    page = page.to_read(style.verbose)

    def filled(text: str, indent: str = "  ") -> str:
        return wrap(text, indent, style.width)

    blocks = ["\n".join(map(filled, filter(None, (page.title, *page.header, *page.outputs))))]
    blocks.append("\n".join(table_lines(page.overview, style)))
    blocks += together(map(filled, page.remarks))
    blocks += [section(one, style, i) for i, one in enumerate(page.sections, 1)]
    for counted in page.counted:
        items = [filled(f"{count or '-':>5}  {text}", " " * 7) for count, text in counted.items]
        blocks.append("\n".join([filled(counted.heading), *items]))
    blocks.append("\n".join(table_lines(page.changed, style)))
    if alone and page.sections[0].sentence and not page.worse:
        blocks.append(filled(page.reason))  # the only section has said the rest
    else:
        blocks.append(painted(filled(page.conclusion), page.verdict, style.colour))
    return list(filter(None, blocks))


def together(remarks: Iterable[str]) -> list[str]:
    """Remarks as blocks; a note stands right under what is before it."""
    found: list[str] = []
    for text in remarks:
        if found and text.startswith("note: "):
            found[-1] += f"\n{text}"
        else:
            found.append(text)
    return found


def section(one: Section, style: Style = PLAIN, number: int = 1) -> str:
    """What it is, its table, its notes, its verdict and what follows from it.

    A finding, whose heading is its verdict, is numbered.
    """
    colour, width = style.colour, style.width
    follows = [fact(heading, text, width) for heading, text in one.findings]
    if not one.sentence:
        heading = painted(wrap(one.heading, width=width - len(f"{number}. ")), one.verdict, colour)
        return "\n".join([f"{number}. {heading}", *follows])
    top = [wrap(line, width=width) for line in (one.heading, *one.facts)]
    notes = [wrap(f"note: {note}", width=width) for note in one.notes]
    end = [painted(wrap(one.sentence, width=width), one.verdict, colour), *follows]
    blocks = [top, table_lines(one.table, style), notes, end]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def fact(heading: str, text: str, width: int = WIDTH) -> str:
    """A heading and what it says, beside it; a long command in lines that a shell joins."""
    if heading == COMMAND and "'" not in text:
        whole = joined(shown(text))
        lines = textwrap.wrap(whole, width - 14, break_long_words=False, break_on_hyphens=False)
        text = " \\\n            ".join(lines).replace(JOINT, " ")
        return f"  {heading:<10}{text}"
    return wrap(f"  {heading:<10}{text}", " " * 12, width)


def table_lines(table: Table | None, style: Style = PLAIN) -> list[str]:
    """A table, then what it leaves out."""
    if table is None:
        return []
    return [grid(table, style), *([wrap(table.note, width=style.width)] if table.note else [])]


def grid(table: Table, style: Style = PLAIN) -> str:
    """A table in as many columns as a line has."""
    if table.labels:
        return side_by_side(table, style)
    layout, found = next(
        (one for one in ways(table, style.width) if fits(one[0](one[1], style.width), style.width)),
        (narrow, table),
    )
    return layout(coloured(found) if style.colour else found, style.width)


def ways(table: Table, width: int) -> Iterator[tuple[Callable[[Table, int], str], Table]]:
    """How a table can be laid out, the most readable way first: long names are cut, then broken."""
    for broken in (False, True):
        for layout in (spacious, narrow):
            yield layout, table
            yield layout, with_names_in(table, excess(layout(table, width), width), broken)


def fits(text: str, width: int) -> bool:
    """Whether no line is wider."""
    return excess(text, width) <= 0


def excess(text: str, width: int) -> int:
    """By how much the widest line is wider; negative where there is room."""
    return max(map(len, text.splitlines())) - width


def with_names_in(table: Table, excess: int, broken: bool = True) -> Table:
    """The table whose columns of names are narrower by `excess` together, the widest first.

    Unless they may be `broken` into lines, none is narrower than what tells its names apart. A name
    needs to differ among the rows that have the same names before it.
    """
    cells = {i: [row[i] for row in table.rows] for i in table.names}
    before = {i: [tuple(row[j] for j in table.names if j < i) for row in table.rows] for i in cells}
    room = {i: max(map(len, names), default=0) for i, names in cells.items()}
    least = {i: LEAST if broken else least_room(cells[i], LEAST, before[i]) for i in cells}
    for _ in range(excess):
        wide = [i for i in room if room[i] > least[i]]
        if wide:
            room[max(wide, key=lambda i: room[i])] -= 1
    short = {i: iter(fitted(cells[i], room[i], before[i])) for i in cells}
    return with_cells(table, lambda _, i, cell: next(short[i]) if i in short else cell)


def coloured(table: Table) -> Table:
    """The table whose rows and cells of a verdict are in its colour."""

    def paint(row: int, column: int, cell: str) -> str:
        verdict = table.verdicts.get(row, table.verdicts.get((row, column), ""))
        return f"\033[{COLOURS[verdict]}m{cell}\033[0m" if cell and verdict in COLOURS else cell

    return with_cells(table, paint)


def with_cells(table: Table, change: Callable[[int, int, str], str]) -> Table:
    """The table with `change(row, column, cell)` in place of each cell, row after row."""
    count, groups = 0, []
    for group in table.groups:
        rows = [
            [change(i, j, cell) for j, cell in enumerate(row)] for i, row in enumerate(group, count)
        ]
        groups.append(rows)
        count += len(rows)
    return replace(table, groups=tuple(groups))


def spacious(table: Table, width: int) -> str:
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
        widths[table.elastic] = max(LEAST, width - sum(others) - 2 * (count - 1))
    return str(
        tabulate(rows, table.headers, disable_numparse=True, colalign=align, maxcolwidths=widths)
    )


def narrow(table: Table, width: int) -> str:
    """A table whose columns take no more than their cells."""
    head, body = lines_of(table.headers), [line for row in table.rows for line in lines_of(row)]
    widths = [max(map(visible, column)) for column in zip(*head, *body, strict=True)]
    lines = [*head, ["-" * width for width in widths], *body]
    return "\n".join("  ".join(justified(line, widths, table.left)).rstrip() for line in lines)


def lines_of(row: Row) -> list[tuple[str, ...]]:
    """The lines of a row some of whose cells have several."""
    return list(zip_longest(*(cell.split("\n") for cell in row), fillvalue=""))


def justified(line: Row, widths: Sequence[int], left: Sequence[int]) -> list[str]:
    """The cells of a line, each as wide as its column, words on the left, numbers on the right."""
    room = [width - visible(cell) for cell, width in zip(line, widths, strict=True)]
    return [
        cell + " " * more if i in left else " " * more + cell
        for i, (cell, more) in enumerate(zip(line, room, strict=True))
    ]


def visible(cell: str) -> int:
    """How many columns a cell takes; its colour takes none."""
    return len(re.sub(r"\033\[\d+m", "", cell))


def side_by_side(table: Table, style: Style = PLAIN) -> str:
    """As many columns together as there is room for, each time with those that name the rows.

    The first of these goes where it names one thing alone.
    """
    longest = max((len(row[i]) for row in table.rows for i in table.names), default=0)
    table = with_names_in(table, longest - int(style.width * WIDEST_LABEL))
    plain, labels = table.rows, table.labels
    rows = (coloured(table) if style.colour else table).rows
    start = labels
    if sum(bool(row[0]) for row in rows) == 1:
        plain, rows, labels = [r[1:] for r in plain], [r[1:] for r in rows], labels - 1
    names, start = table.headers[table.labels :], labels
    taken = [max(map(len, "\n".join(r[i] for r in plain).split("\n"))) for i in range(labels)]
    tables = []
    for headers in in_room(names, style.width - sum(taken) - 2 * (labels - 1)):
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


def wrap(text: str, indent: str = "  ", width: int = WIDTH) -> str:
    """`text` in lines of `width` columns, the further ones indented."""
    lines = textwrap.fill(
        joined(shown(text)), width, subsequent_indent=indent, break_on_hyphens=False
    )
    return lines.replace(JOINT, " ")


def joined(text: str) -> str:
    """`text` whose options of several words stay on one line, with `JOINT` for a space."""
    return re.sub(r"(--(?:arg|exclude)) (?=\w)", rf"\1{JOINT}", text)


def painted(text: str, verdict: str, colour: bool) -> str:
    """`text` with its first word, the verdict, in its colour."""
    head = re.match(r"\w+", text)
    if not colour or head is None or verdict not in COLOURS:
        return text
    return f"\033[{COLOURS[verdict]}m{head[0]}\033[0m{text[head.end() :]}"
