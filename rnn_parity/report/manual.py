"""What there is to look up: the list of faults, and the manual as a terminal shows it.

The manual's pages stand in `rnn_parity/docs`; here they lose Markdown's signs. Needs neither NumPy
nor TensorFlow.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from rnn_parity.errors import InputError
from rnn_parity.report.page import PLAIN, Page, Renderable, Style, Table

if TYPE_CHECKING:
    from rnn_parity.diagnosis.catalogue import FaultText

GROUPS = {
    "": "How to use it, and how it works",
    "words": "Words and verdicts",
    "faults": "Faults: mistakes that a report names",
    "known-differences": "Known differences: where a released implementation errs",
}
"""The folders of the manual, and what their pages are about."""

HEADING = re.compile(r"(#+) (.*)")
ITEM = re.compile(r"(- |\d+\. )")
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
PAGE = re.compile(r"(?:.*/)?([\w-]+)\.md(?:#.*)?")
"""A link to another page, whose group is the topic."""
CODE_OR_EMPHASIS = re.compile(r"`([^`]*)`|\*\*([^*]+)\*\*|(?<!\w)\*([^*\s][^*]*)\*(?!\w)")
UNDERLINES = "=-"
"""What stands under a title, and under a heading in the page."""

LISTED = {
    "faults": "rnn-parity faults shows it, and rnn-parity explain FAULT one of them",
    "words": "rnn-parity explain shows it under Words and verdicts, and each of them by its name",
    "known-differences": "rnn-parity explain shows it at its end, and each of them by its name",
}
"""The groups that have no page of their own, and where they are listed."""

NEAR = 0.7
"""How alike a topic is that a mistyped word stands for, as `difflib` counts. Chosen: "residual" is
"step-residual", and "masks" is not "cases"."""
SHORTEST = 3
"""How many letters a word has at least that is looked for in the pages: fewer are in all."""
MOST_TOPICS = 4
"""How many pages are named for a word that has none."""
OF_PROJECT = ("architecture", "changes", "contributing", "measured")
"""The pages on how the program is made: they speak of everything, and to who works on it."""
LONGEST = 40
"""How much of a topic that is not known is shown again."""
PADDING = 2
"""How much wider than its header tabulate makes a column."""


@dataclass(frozen=True)
class Catalogue(Renderable):
    """All faults, as one table."""

    faults: Sequence[FaultText]

    def document(self) -> Mapping[str, Any]:
        """The document `rnn-parity/faults/1`."""
        rows = [{"id": f.id, "meaning": f.meaning, "layers": f.layers} for f in self.faults]
        return {"schema": "rnn-parity/faults/1", "faults": rows}

    def page(self, style: Style = PLAIN) -> Page:
        """The table alone."""
        rows = [(f.id, f.meaning, ", ".join(f.layers)) for f in self.faults]
        table = Table(("fault", "meaning", "layers"), (rows,), left=(0, 1, 2), elastic=1)
        return Page(overview=table)


def topics() -> dict[str, dict[str, str]]:
    """The pages of each group, by topic, in alphabetical order."""
    manual = files("rnn_parity") / "docs"
    return {
        group: {
            entry.name.removesuffix(".md"): entry.read_text("utf-8")
            for entry in sorted((manual / group).iterdir(), key=lambda entry: entry.name)
            if entry.name.endswith(".md")
        }
        for group in GROUPS
    }


def contents(width: int) -> str:
    """The list of all topics, by group, each with the title of its page."""
    blocks = []
    for group, pages in topics().items():
        room = 2 + max(map(len, pages), default=0)
        lines = [
            fill(f"  {topic:{room}}{title(page)}", width, " " * (room + 2))
            for topic, page in pages.items()
        ]
        blocks.append("\n".join([GROUPS[group], *lines]))
    return "\n\n".join([*blocks, "rnn-parity explain TOPIC shows one of them."])


def title(markdown: str) -> str:
    """What a page says about its topic in its first line, `# topic: title`."""
    return plain(markdown.partition("\n")[0].partition(": ")[2])


def explained(wanted: str, width: int) -> str:
    """The page on a topic, or the pages on several that are joined by `+`, as causes may be.

    Raises `InputError`, which names the nearest topic, for one that has no page.
    """
    pages = {topic: page for group in topics().values() for topic, page in group.items()}
    found = []
    for one in wanted.split("+"):
        topic = re.sub(r"[\s_]+", "-", one.strip().lower())
        if topic not in pages and topic in LISTED:
            raise InputError(f"explain {topic!r}: is no page but a list; {LISTED[topic]}")
        if topic not in pages:
            raise InputError(
                f"explain {one[:LONGEST]!r}: there is no such page{meant_by(topic, pages)} "
                "rnn-parity explain lists all"
            )
        found.append(rendered(topic, pages[topic], width))
    return "\n\n\n".join(found)


def meant_by(word: str, pages: Mapping[str, str]) -> str:
    """Which pages a word without one may be about, as the end of a sentence.

    A topic that is hardly mistyped; those that have the word in their names; those that speak of it
    most.
    """
    word = word[:LONGEST]
    near = difflib.get_close_matches(word, pages, 1, NEAR)
    if near:
        return f"; did you mean {near[0]}?"
    stem = word.removesuffix("s")
    if len(stem) < SHORTEST:
        return ";"
    named = [topic for topic in pages if topic.startswith(stem)]
    said = stem.replace("-", " ")
    counts = {one: text.lower().count(said) for one, text in pages.items() if one not in OF_PROJECT}
    speaking = sorted(filter(counts.get, counts), key=lambda topic: -counts[topic])
    found, why = (named, "see") if named else (speaking, "those that say most of it are")
    return f"; {why} {', '.join(found[:MOST_TOPICS])}, and" if found else ";"


def rendered(topic: str, markdown: str, width: int) -> str:
    """A page for a terminal, with the topics that it refers to at its end."""
    named = (PAGE.fullmatch(target) for _, target in LINK.findall(markdown))
    others = dict.fromkeys(found[1] for found in named if found and found[1] != topic)
    also = f"See also: rnn-parity explain {', '.join(others)}" if others else ""
    return "\n\n".join([*blocks(markdown.splitlines(), width), *filter(None, [fill(also, width)])])


def blocks(lines: list[str], width: int) -> Iterator[str]:
    """The paragraphs, lists, tables and program texts of a page, each laid out for a terminal."""
    inside = False

    def kind(line: str) -> str:
        nonlocal inside
        if line.startswith("```"):
            inside = not inside
            return "fence"
        if inside or line.startswith("    "):
            return "program"
        if not line.strip():
            return "blank"
        return "table" if line.startswith("|") else "text"

    for which, group in groupby(lines, kind):
        part = list(group)
        if which == "program":
            yield textwrap.indent(textwrap.dedent("\n".join(part)), "    ")
        elif which == "table":
            yield table(part, width)
        elif which == "text":
            yield text(part, width)


def text(lines: list[str], width: int) -> str:
    """A heading, a paragraph or a list; list items and headings begin lines of their own."""
    parts: list[list[str]] = []
    for line in lines:
        if not parts or ITEM.match(line) or HEADING.match(line) or HEADING.match(parts[-1][0]):
            parts.append([])
        parts[-1].append(line.strip())
    return "\n".join(paragraph(" ".join(part), width) for part in parts)


def paragraph(line: str, width: int) -> str:
    """One heading, list item or paragraph."""
    heading, item = HEADING.fullmatch(line), ITEM.match(line)
    if heading:
        name = fill(plain(heading[2]), width)
        longest = max(map(len, name.split("\n")))
        return f"{name}\n{UNDERLINES[len(heading[1]) > 1] * longest}"
    return fill(plain(line), width, " " * len(item[1]) if item else "")


def fill(line: str, width: int, indent: str = "") -> str:
    """A paragraph in lines that end between words."""
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def plain(line: str) -> str:
    """A line without the signs that make links, code and emphasis of words."""

    def shown_link(link: re.Match[str]) -> str:
        return link[1] if PAGE.fullmatch(link[2]) else f"{link[1]} ({link[2]})"

    def unmarked(text: re.Match[str]) -> str:
        code, bold, emphasis = text.groups()
        return str(emphasis or code) if bold is None else CODE_OR_EMPHASIS.sub(unmarked, bold)

    return CODE_OR_EMPHASIS.sub(unmarked, LINK.sub(shown_link, line))


def table(lines: list[str], width: int) -> str:
    """A table whose widest columns give way until it fits."""
    rows = [[plain(cell.strip()) for cell in line.strip("|").split("|")] for line in lines]
    headers, body = rows[0], rows[2:]
    room = [max(map(len, column)) for column in zip(headers, *body, strict=True)]
    room = [max(cells, len(title) + PADDING) for cells, title in zip(room, headers, strict=True)]
    while sum(room) + 2 * (len(room) - 1) > width and max(room) > PADDING + 1:
        room[room.index(max(room))] -= 1
    titles = [most - PADDING for most in room]
    return str(
        tabulate(body, headers, disable_numparse=True, maxcolwidths=room, maxheadercolwidths=titles)
    )
