"""HTML: one file with pictures that needs nothing else, for a mail or the artifacts of a job.

The text is laid out by Jinja2, which escapes whatever comes from files; the pictures are SVG. The
file loads nothing and asks nobody: a policy in it forbids that, and every script but its own. It
stays below `MOST_BYTES` for some hundred checks: what does not fit is shown smaller, and said.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.resources import files
from itertools import takewhile
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rnn_parity.errors import MissingPackageError, shown
from rnn_parity.report.checks import (
    FAILED,
    NOT_COMPARED,
    RECORDED,
    is_recorded,
    recorded_and_now,
    verdict_and_bits,
    verdict_word,
)
from rnn_parity.report.manual import LINK, topics
from rnn_parity.report.page import Renderable, Section, Style
from rnn_parity.report.pictures import (
    DARK,
    LIGHT,
    RULES,
    SMALL,
    WHOLE,
    picture,
    thumbnail,
    weight_pictures,
)
from rnn_parity.report.wording import bits
from rnn_parity.verdict.order import STATUSES
from rnn_parity.verdict.results import BlindSpot, Check
from rnn_parity.verdict.sentences import number, ratio

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_BYTES = 2 * 2**20 - 2**14
"""What a page takes at most, as long as its words alone take less. Chosen: mails of it arrive, and
a browser shows it at once."""
ALWAYS_WHOLE = 5
"""So many sections, the worst, are shown whole however many there are."""
MARKS = {"parity": "✓", "diverged": "✕", "failed": "✕", "suspect": "?", "refused": "–"}
"""The sign beside a verdict, so that it is told apart without its colour; "~" for any other."""
LISTED = (
    *("#", "verdict", "layer", "file", "mode", RECORDED),
    *("ratio", "effective bits", "deviation"),
)
"""The columns of the list of all checks."""
CAUSED = ("cause", "more", "to do")
"""The headings of findings that say why, and what to do."""
EXPLAIN = re.compile(r"rnn-parity explain ([\w+-]+)")
"""Where a finding says where one reads more."""
TICKED = re.compile("`([^`\n]+)`")
"""What a sentence writes as code."""


def require() -> None:
    """Raises `MissingPackageError` where a package is missing that the page needs."""
    try:
        for name in ("jinja2", "markdown_it"):
            import_module(name)
    except ImportError:
        raise MissingPackageError(
            "the form html needs Jinja2 and markdown-it-py: pip install 'rnn-parity[html]'"
        ) from None


def render(report: Renderable, style: Style) -> str:
    """The page as an HTML document; its sentences alone in a quiet style."""
    page, layout = report.page(style), environment()
    every = sorted(enumerate(page.sections, 1), key=lambda one: rank(one[1].verdict))
    order = [one for one in every if not one[1].repeats]
    explained = explanations([section for _, section in order])
    parts = [
        Part(number, section, len(every) == 1, frozenset(explained), layout)
        for number, section in order
    ]
    document = layout.get_template("page.html")
    script = text_of("page.js")
    given = {
        "page": page,
        "headline": headline(page.sentence or page.verdict),
        # What passed and is not enough is shown as what was not proven.
        "state": "inconclusive" if page.reason and page.verdict == "parity" else page.verdict,
        "has_checks": any(section.check is not None for section in page.sections),
        "listing": listing(every, page.unchecked),
        "counts": counts(page.sections),
        "unchecked": len(page.errors),
        "explained": explained,
        "style": "".join([theme(), RULES, text_of("page.css")]),
        "script": script,
        "digest": b64encode(sha256(script.encode()).digest()).decode(),
    }
    room = MOST_BYTES - len(document.render(**given, parts=[], smaller=0).encode())
    # Whoever asks for every timestep gets it, however large the page becomes.
    shown_parts, smaller = fitted(parts, math.inf if style.every else room)
    return str(document.render(**given, parts=shown_parts, smaller=smaller))


def environment() -> Environment:
    """The templates; whatever they are given is escaped, and nothing of it acts unseen."""
    require()
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    def seen(value: Any) -> Any:
        return shown(value) if type(value) is str else value

    found = Environment(
        loader=PackageLoader("rnn_parity.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=seen,
    )
    found.filters["own"] = Markup  # what this package wrote itself

    def code(text: str) -> Markup:
        return Markup(TICKED.sub(r"<code>\1</code>", str(escape(shown(text)))))

    found.filters["code"] = code
    found.globals["mark"] = mark
    return found


def text_of(name: str) -> str:
    """One of the files beside the templates."""
    return (files("rnn_parity.report") / "templates" / name).read_text("utf-8")


def theme() -> str:
    """The colours of the pictures; dark ones on a screen alone."""

    def rule(palette: Mapping[str, str]) -> str:
        return ":root{" + "".join(f"--{name}:{colour};" for name, colour in palette.items()) + "}"

    return f"{rule(LIGHT)}\n@media screen and (prefers-color-scheme:dark){{{rule(DARK)}}}\n"


def mark(verdict: str) -> str:
    """The sign of a verdict."""
    return MARKS.get(verdict, "~")


def headline(sentence: str) -> tuple[str, str]:
    """The verdict with which a sentence begins, as a word, and the cause that stands beside it."""
    verdict, _, cause = sentence.partition(": ")[0].partition(" ")
    return verdict.lower(), cause


def rank(verdict: str) -> int:
    """Where a verdict stands among all, failures first."""
    known: tuple[str, ...] = STATUSES
    return known.index(verdict) if verdict in known else len(known)


def counts(sections: Sequence[Section]) -> list[tuple[str, int]]:
    """How many sections have which verdict, failures first."""
    found = [section.verdict for section in sections]
    return [(verdict, found.count(verdict)) for verdict in sorted({*found}, key=rank)]


# The list of checks.


@dataclass(frozen=True)
class Cell:
    """A cell of the list: what it shows, and by what it is sorted."""

    text: str
    key: float | str


def listing(
    order: Sequence[tuple[int, Section]], unchecked: Sequence[tuple[str, int]] = ()
) -> dict[str, Any] | None:
    """The headers and rows of the list of checks; None where sections are no checks, or but one.

    Sources among what is `unchecked`, which has names and exit codes, stand below them.
    """
    checks = {i: section.check for i, section in order if section.check is not None}
    if len(checks) < 2:
        return None
    files = short_paths([check.subject.path or "" for check in checks.values()])
    recorded = {
        id(now): then for then, now in recorded_and_now([*checks.values()]) if then is not now
    }
    beside = {id(then) for then in recorded.values()}
    rows: list[tuple[int, str, dict[str, Cell]]] = [
        (i, check.verdict, row_of(i, check, file, recorded.get(id(check))))
        for (i, check), file in zip(checks.items(), files, strict=True)
        if id(check) not in beside
    ]
    lost = [one for one in unchecked if one[0].startswith("against ")]
    rows += [(0, row["verdict"].text, row) for one in lost for row in [row_of_lost(*one)]]
    used = [any(row[name].text for _, _, row in rows) for name in LISTED]
    headers = [name for name, is_used in zip(LISTED, used, strict=True) if is_used]
    return {
        "headers": headers,
        "rows": [(i, verdict, [row[name] for name in headers]) for i, verdict, row in rows],
    }


def short_paths(paths: Sequence[str]) -> list[str]:
    """Paths without the folders that all of them share; empty ones stay so."""
    parts = [PurePath(path).parts for path in paths if path]
    levels = zip(*(folders[:-1] for folders in parts), strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len({*names}) == 1, levels))
    return [str(PurePath(*PurePath(path).parts[shared:])) if path else "" for path in paths]


def row_of(i: int, check: Check, file: str, then: Check | None = None) -> dict[str, Cell]:
    """The cells of one check, by the names of their columns; `then` is its case as recorded."""
    subject = check.subject
    layer = subject.layer_name or subject.layer_class or "-"
    call = "" if subject.call is None else f" call {subject.call}"
    against = f" against {subject.against}" if subject.against else ""
    against = f" {RECORDED}" if is_recorded(subject) else against
    return {
        "#": Cell(str(i), i),
        "verdict": Cell(verdict_word(check), rank(check.verdict)),
        "layer": Cell(layer + call + against, layer + call + against),
        "file": Cell(file, file),
        "mode": Cell(subject.mode or "", subject.mode or ""),
        RECORDED: recorded_cell(then),
        "ratio": measured(check.max_ratio, ratio),
        "effective bits": measured(check.effective_bits, bits),
        "deviation": measured(check.max_deviation, number),
    }


def row_of_lost(name: str, code: int) -> dict[str, Cell]:
    """The cells of a source that could not be compared, by the names of their columns."""
    word = FAILED if code == 1 else NOT_COMPARED
    empty = {column: Cell("", -1.0) for column in LISTED}
    known = {"verdict": Cell(word, rank(word)), "layer": Cell(name, name)}
    return {**empty, **known}


def recorded_cell(then: Check | None) -> Cell:
    """What was found of a case's recorded outputs; empty beside what is of no case."""
    if then is None:
        return Cell("", -1.0)
    return Cell(verdict_and_bits(verdict_word(then), then.effective_bits), rank(then.verdict))


def measured(x: float | None, form: Any) -> Cell:
    """The cell of a number; one that is not known stands before all others, NaN after them."""
    if x is None:
        return Cell("-", -1.0)
    return Cell(form(x), math.inf if math.isnan(x) else x)


# The sections, as large as there is room for.


class Part:
    """A section at each size that it may have, written once: 0 its words and a thumbnail, 1 its
    table and a smaller picture as well, 2 the whole.
    """

    def __init__(
        self, number: int, section: Section, alone: bool, explained: frozenset[str], layout: Any
    ) -> None:
        self.number, self.section, self.alone = number, section, alone
        self.explained, self.layout = explained, layout
        self.written: dict[int, str] = {}

    def at(self, size: int) -> str:
        """The section at a size, or at the largest that it has."""
        size = min(size, self.largest)
        if size not in self.written:
            self.written[size] = self.write(size)
        return self.written[size]

    @property
    def is_small(self) -> bool:
        """Whether a thumbnail is enough: of what passed, beside others."""
        return self.section.passed and not self.alone

    @property
    def largest(self) -> int:
        """The size beyond which nothing is added."""
        return 1 if self.is_small else 2

    def write(self, size: int) -> str:
        """The section as HTML."""
        section, check = self.section, self.section.check
        pictures: list[str] = []
        if check is not None and size > 0 and not self.is_small:
            drawn = picture(check, WHOLE if size > 1 else SMALL) if len(check.timesteps) else ""
            pictures = [*([drawn] if drawn else []), *weight_pictures(check)]
        small = "" if check is None or pictures else thumbnail(check)
        return str(
            self.layout.get_template("section.html").render(
                number=self.number,
                section=section,
                opened=not self.is_small,
                pictures=pictures,
                thumbnail=small,
                alone=self.alone,
                facts=[fact(*one, self.explained) for one in findings_of(section)],
                seen=seen_by(section),
                table=section.table if size > 0 else None,
            )
        )


def fitted(parts: Sequence[Part], room: float) -> tuple[list[str], int]:
    """The parts, as large as fits into so many bytes, and how many are smaller than they might be.

    The first ones get all they want; then all of them grow to one size before any to the next.
    """
    sizes = [0] * len(parts)
    left = room - sum(len(part.at(0).encode()) for part in parts)
    turns = [(2, i) for i in range(min(ALWAYS_WHOLE, len(parts)))]
    turns += [(size, i) for size in (1, 2) for i in range(len(parts))]
    for size, i in turns:
        if size > sizes[i]:
            more = len(parts[i].at(size).encode()) - len(parts[i].at(sizes[i]).encode())
            if more > left:
                break
            sizes[i], left = size, left - more
    found = [part.at(size) for part, size in zip(parts, sizes, strict=True)]
    return found, sum(1 for part, size in zip(parts, sizes, strict=True) if size < part.largest)


# What a section says.


@dataclass(frozen=True)
class Fact:
    """A heading and what it says; `links` are the topics of the manual that this page explains."""

    heading: str
    text: str
    links: tuple[str, ...] = ()


def findings_of(section: Section) -> list[tuple[str, str]]:
    """The findings of a section; of a check the cause first, without what stands in `Seen`."""
    if section.check is None:
        return list(section.findings)
    findings = [one for one in section.findings if one[0] != "sees"]
    return sorted(findings, key=lambda one: one[0] not in CAUSED)


def fact(heading: str, text: str, explained: frozenset[str]) -> Fact:
    """A finding; where it refers to the manual, with the topics that stand in this page."""
    return Fact(heading, text, tuple(topic for topic in named(text) if topic in explained))


def named(text: str) -> list[str]:
    """The topics of the manual that a finding refers to."""
    found = EXPLAIN.search(text)
    return found[1].split("+") if found else []


@dataclass(frozen=True)
class Seen:
    """How many mistakes a check in parity would have shown, and those that it is blind to, by the
    reason.
    """

    visible: int
    blind: Mapping[str, list[BlindSpot]]

    @property
    def total(self) -> int:
        """How many mistakes were thought of."""
        return self.visible + sum(map(len, self.blind.values()))


def seen_by(section: Section) -> Seen | None:
    """What a check in parity would have shown; None for any other section."""
    if section.check is None or section.check.sensitivity is None:
        return None
    reasons: dict[str, list[BlindSpot]] = {}
    for spot in section.check.sensitivity.blind:
        reasons.setdefault(spot.reason, []).append(spot)
    return Seen(len(section.check.sensitivity.visible), reasons)


def explanations(sections: Sequence[Section]) -> dict[str, tuple[str, str]]:
    """The pages of the manual that findings refer to, by topic: title and HTML, each page once."""
    texts = [text for section in sections for heading, text in section.findings]
    wanted = dict.fromkeys(topic for text in texts for topic in named(text))
    pages = {topic: page for group in topics().values() for topic, page in group.items()}
    return {topic: as_html(pages[topic]) for topic in wanted if topic in pages}


def as_html(markdown: str) -> tuple[str, str]:
    """A page of the manual: its title, and the rest as HTML, whose links to pages are words."""
    from markdown_it import MarkdownIt

    first, _, rest = markdown.partition("\n")
    rest = LINK.sub(lambda link: link[1], rest).replace("\n## ", "\n#### ")
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    return first.removeprefix("# "), str(reader.render(rest))
