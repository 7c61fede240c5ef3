"""Markdown, for a job summary."""

from __future__ import annotations

from tabulate import tabulate

from rnn_parity.errors import shown, without_commands
from rnn_parity.report.page import Page, Renderable, Section, Style, Table
from rnn_parity.report.text import at_the_end, conclusion

DETAILS = "<details><summary>Timesteps and final state</summary>"


def render(report: Renderable, style: Style) -> str:
    """The page as Markdown; its sentence alone in a quiet style."""
    page = report.page(style)
    page = page.to_read(style.verbose)
    blocks = [conclusion(page, style.colour)] if style.quiet else [*whole(page)]
    return without_commands("\n\n".join([*blocks, *at_the_end(page)]))


def whole(page: Page) -> list[str]:
    """The blocks of the page: the verdict first, then what it rests on."""
    blocks = [f"## {escaped(page.title)}"] if page.title else []
    blocks += [f"**{escaped(page.conclusion)}**"] if page.conclusion else []
    blocks += map(escaped, (*page.header, *page.outputs))
    blocks += [grid(page.overview), escaped(page.overview.note)] if page.overview else []
    blocks += map(escaped, page.remarks)
    if page.changed:
        blocks += [grid(page.changed), escaped(page.changed.note)]
    for one in page.sections:
        blocks += section(one)
    for counted in page.counted:
        items = [
            f"- {escaped(text)}" if count is None else f"- {count}: {escaped(text)}"
            for count, text in counted.items
        ]
        blocks.append("\n".join([escaped(counted.heading), "", *items]))
    return [*filter(None, blocks)]


def section(one: Section) -> list[str]:
    """Heading, sentence, findings, and the table folded away."""
    blocks = [f"### {escaped(one.heading)}", *map(escaped, one.facts)]
    blocks += [f"**{escaped(one.sentence)}**"] if one.sentence else []
    found = [f"- {heading}: {escaped(text)}" for heading, text in one.findings]
    found += [f"- note: {escaped(note)}" for note in one.notes]
    blocks += ["\n".join(found)] if found else []
    if one.table:
        blocks += [DETAILS, grid(one.table)]
        blocks += [escaped(one.table.note)] if one.table.note else []
        blocks += ["</details>"]
    return blocks


def grid(table: Table) -> str:
    """A table, words on the left and numbers on the right."""
    headers, *rows = [[escaped(cell) for cell in row] for row in (table.headers, *table.rows)]
    align = ["left" if i in table.left else "right" for i in range(len(headers))]
    return str(tabulate(rows, headers, "pipe", disable_numparse=True, colalign=align))


def escaped(text: str) -> str:
    """`text` on one line, with the signs that Markdown or a table would take for its own."""
    text = shown(" ".join(text.split()))
    for sign in "\\`*_|[]<>":
        text = text.replace(sign, "\\" + sign)
    return text
