"""What a report shows in whatever form: a page of tables, sections and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from rnn_parity.errors import InputError
from rnn_parity.report import FORMATS, check_installed
from rnn_parity.system.environment import own_version

if TYPE_CHECKING:
    from rnn_parity.verdict.results import Check

Level = Literal["notice", "warning", "error"]
"""How an annotation shows something."""
Row = Sequence[str]
Verdicts = Mapping[int | tuple[int, int], str]
"""Verdicts of rows by their number, and of cells by row and column."""
Facts = tuple[tuple[str, str], ...]
"""What is known of something, each fact with its heading."""
TOOL = "rnn-parity"
WIDTH = 80
"""How many columns a line has where there is no terminal."""
NARROWEST = 40
"""How many columns a line has at least: in fewer, no table and no sentence can be read. Chosen."""


@dataclass(frozen=True)
class Table:
    """Headers over groups of rows; the columns `left` hold words, all others numbers.

    Where there are `labels`, that many columns name the rows, and the others are alternatives: a
    form without room for all of them may show them in several tables. The cells of the column
    `elastic` may be broken into lines; those of the columns `names` are names, which may lose their
    middle in a form without room for them. `verdicts` are the verdicts by which rows, by their
    number, or cells, by row and column, may be coloured. `note` says what is left out.
    """

    headers: tuple[str, ...]
    groups: tuple[Sequence[Row], ...]
    left: tuple[int, ...] = ()
    labels: int = 0
    elastic: int | None = None
    note: str = ""
    names: tuple[int, ...] = ()
    verdicts: Verdicts = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """The rows of all groups."""
        return [row for group in self.groups for row in group]


@dataclass(frozen=True)
class Section:
    """One check, or one finding of a sweep.

    `facts` stand under the `heading`; `sentence` is the verdict where the heading does not say it.
    An annotation has the title `name`, and `reason` is why it warns alone. `code` is the exit code
    that this alone would give, and `file` what it is about. `check` is what a form with pictures
    draws. What `passed` may be left out of a brief page, and what `repeats` another section, of
    which it says nothing new, out of any that is read from the top down.
    """

    heading: str
    name: str
    level: Level
    verdict: str
    sentence: str = ""
    facts: tuple[str, ...] = ()
    findings: Facts = ()
    notes: tuple[str, ...] = ()
    table: Table | None = None
    reason: str = ""
    passed: bool = False
    code: int = 0
    file: str = ""
    check: Check | None = None
    repeats: bool = False


@dataclass(frozen=True)
class Counted:
    """Texts under a heading, each with how often it was met; None where nobody counted."""

    heading: str
    items: Sequence[tuple[int | None, str]]


@dataclass(frozen=True)
class Page:
    """All that is shown: `header` under the title, what became of the `outputs` of whole models, an
    overview and remarks on it, the sections.

    `sentence` says the verdict on the whole, `reason` why the exit code is not 0 although nothing
    failed, or is 0 although something did, `errors` what could not be checked (of these `files`;
    `unchecked` are names and exit codes of it), and `worse` what got worse than before or is
    gone, with that word, as it stands among all that `changed`; what no section shows of that is
    `unseen`. An annotation of the whole has this `level`; `code` is its exit code. `of_passed` says
    in a brief page what counts of the sections that it leaves out.
    """

    verdict: str = ""
    sentence: str = ""
    reason: str = ""
    title: str = ""
    header: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    overview: Table | None = None
    remarks: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    counted: tuple[Counted, ...] = ()
    errors: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    unchecked: tuple[tuple[str, int], ...] = ()
    worse: Facts = ()
    unseen: Facts = ()
    changed: Table | None = None
    level: Level | None = None
    code: int = 0
    of_passed: tuple[str, ...] = ()

    def to_read(self, verbose: bool) -> Page:
        """The page without what repeats other sections and, unless `verbose`, what passed."""
        page = replace(self, sections=tuple(one for one in self.sections if not one.repeats))
        return page if verbose else page.brief()

    def brief(self) -> Page:
        """The page without what passed, where it has several sections."""
        if len(self.sections) < 2 or not any(one.passed for one in self.sections):
            return self
        rest = tuple(one for one in self.sections if not one.passed)
        return replace(self, sections=rest, remarks=(*self.remarks, *self.of_passed))

    @property
    def conclusion(self) -> str:
        """The verdict on the whole and the reason together."""
        return " ".join(filter(None, (self.sentence, self.reason)))


@dataclass(frozen=True)
class OptionNames:
    """How a report names the options that show or allow more: those of the command line."""

    strict: str = "--strict"
    ignore: str = "--ignore FAULT"
    allow_known: str = "--allow-known"
    all_timesteps: str = "--every shows all"
    all_weights: str = "in --format json"
    all_checks: str = "-v shows all"


COMMAND_LINE = OptionNames()


@dataclass(frozen=True)
class Style:
    """What a form of output may be asked for: all timesteps, colour, the sentence alone.

    When `verbose`, all of several checks are shown whole, those that passed too. `width` is how
    many columns a line of text has.
    """

    every: bool = False
    colour: bool = False
    quiet: bool = False
    names: OptionNames = COMMAND_LINE
    verbose: bool = False
    width: int = WIDTH


PLAIN = Style()


class Renderable:
    """What every form of output can show: it has a page and a JSON document."""

    def page(self, style: Style = PLAIN) -> Page:
        """What is shown; no more than its sentences in a quiet style."""
        raise NotImplementedError

    def document(self) -> Mapping[str, Any]:
        """What the JSON document holds."""
        raise NotImplementedError

    @property
    def tool(self) -> dict[str, str]:
        """The name and the version of this program."""
        return {"name": TOOL, "version": own_version()}

    @property
    def title(self) -> str:
        """What stands at the top of a page."""
        return " ".join(self.tool.values())

    def __str__(self) -> str:
        """The table, without colour."""
        return self.render()

    def to_json(self) -> str:
        """The JSON document, on one line."""
        return self.render("json")

    def render(
        self,
        format: str = "table",
        *,
        every: bool = False,
        colour: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        width: int = WIDTH,
    ) -> str:
        """The text of one of the `FORMATS`, such as "table" or "json", without a last newline.

        `colour` paints verdicts and failing rows of a table with ANSI codes; `quiet` leaves the
        sentence of the verdict alone, in a table or Markdown, and `verbose` shows all of several
        checks there, those that passed too; `every` does, with all timesteps. The lines of a table
        have `width` columns, or `NARROWEST` where that is more. Raises `InputError` for another
        format, `MissingPackageError` for one whose package is not installed.
        """
        if format not in FORMATS:
            raise InputError(f"format: expected one of {', '.join(FORMATS)}, received {format!r}")
        check_installed(format)
        render = import_module(FORMATS[format].module).render
        width = max(width, NARROWEST)
        return str(render(self, Style(every, colour, quiet, verbose=verbose or every, width=width)))
