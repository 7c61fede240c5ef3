"""The report on one or several checks: its verdict, its exit code, and every form of output."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rnn_parity.errors import InputError, shown, without_commands
from rnn_parity.report.markup import annotation, check_annotation, fault_grid, markdown
from rnn_parity.report.table import environment_line, fault_table, overview, painted, section, wrap
from rnn_parity.report.wording import blind_spots, overall, sentence, strictness, verdict_of
from rnn_parity.system.environment import environment, own_version
from rnn_parity.verdict.results import Check, Verdict

if TYPE_CHECKING:
    from rnn_parity.diagnosis.faults import Fault

FORMATS = ("table", "json", "markdown", "github")


@dataclass(frozen=True)
class Report:
    """What one or several checks found.

    `device` is where the layer ran, `notes` are sentences on the whole report. With `strict` a
    blind spot counts as nothing proven.
    """

    checks: tuple[Check, ...]
    device: str = "cpu"
    notes: tuple[str, ...] = ()
    strict: bool = False

    schema: ClassVar[str] = "rnn-parity/1"

    @property
    def verdict(self) -> Verdict:
        """The verdict that decides: diverged, then suspect, then inconclusive (no checks, too)."""
        found = {check.verdict for check in self.checks} or {"inconclusive"}
        order: tuple[Verdict, ...] = ("diverged", "suspect", "inconclusive")
        return next((verdict for verdict in order if verdict in found), "parity")

    @property
    def exit_code(self) -> int:
        """0 parity, 1 diverged or suspect, 3 nothing proven: the first of 1, 3, 0 of the checks."""
        codes = {self._code(check) for check in self.checks} or {3}
        return next(code for code in (1, 3, 0) if code in codes)

    def _code(self, check: Check) -> int:
        if check.verdict in ("diverged", "suspect"):
            return 1
        return 3 if check.verdict == "inconclusive" or (self.strict and blind_spots(check)) else 0

    @property
    def summary(self) -> str:
        """One sentence that a person can act on."""
        if not self.checks:
            return ": ".join(("nothing was compared", *self.notes))
        return self.checks[0].summary if len(self.checks) == 1 else overall(self.checks)

    @property
    def tool(self) -> dict[str, str]:
        """The name and the version of this program."""
        return {"name": "rnn-parity", "version": own_version()}

    @property
    def environment(self) -> dict[str, str | None]:
        """The versions that the numbers depend on, the platform and the device."""
        return environment(self.device)

    def __bool__(self) -> bool:
        """Whether everything was proven to be within rounding: exit code 0."""
        return self.exit_code == 0

    def __repr__(self) -> str:
        """One line: the verdict of how many checks, and why."""
        count = f"{len(self.checks)} check{'s' * (len(self.checks) != 1)}"
        return f"<Report of {count}: {self.verdict}, {' '.join(self.summary.split())}>"

    def __str__(self) -> str:
        """The table, without colour."""
        return self.render()

    def to_json(self) -> str:
        """The document `rnn-parity/1`, on one line."""
        document = {
            "schema": self.schema,
            "tool": self.tool,
            "environment": self.environment,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "notes": self.notes,
            "checks": self.checks,
        }
        return as_json(document)

    def render(
        self,
        format: str = "table",
        *,
        every: bool = False,
        colour: bool = False,
        quiet: bool = False,
    ) -> str:
        """The report as `table`, `json`, `markdown` or `github`, without a last newline.

        `every` shows all timesteps of a table; `colour` paints the verdict of a table with ANSI
        codes; `quiet` leaves the sentence of the verdict alone, in a table or Markdown.
        Raises `InputError` for another format.
        """
        if format not in FORMATS:
            raise InputError(f"format: expected one of {', '.join(FORMATS)}, received {format!r}")
        if format == "json":
            return self.to_json()
        if format == "github":
            return self._github()
        if quiet:
            text = painted(self._sentence(), self.verdict, colour)
        elif format == "markdown":
            text = markdown(self._header(), self._sentence(), self.checks, every)
        else:
            text = self._table(every, colour)
        return without_commands(text)

    def _sentence(self) -> str:
        """The last line of every report."""
        return shown(" ".join(filter(None, (self._verdict(), self._strictness()))))

    def _verdict(self) -> str:
        if len(self.checks) == 1:
            return verdict_of(self.checks[0])
        bits = [c.effective_bits for c in self.checks if c.effective_bits is not None]
        fewest = min(bits) if bits and self.verdict == "parity" else None
        return sentence(self.verdict, self.summary, fewest)

    def _strictness(self) -> str:
        """Why the exit code is not 0 although nothing else failed."""
        if not self.strict or self.verdict != "parity":
            return ""
        return strictness(self.checks)

    def _header(self) -> list[str]:
        """The tool, the versions, and the notes, which without checks are in the summary."""
        title = " ".join(self.tool.values())
        notes = [f"note: {note}" for note in self.notes if self.checks]
        return [title, environment_line(self.environment), *notes]

    def _table(self, every: bool, colour: bool) -> str:
        blocks = ["\n".join(map(wrap, self._header()))]
        blocks += [overview(self.checks)] if len(self.checks) > 1 else []
        blocks += [section(check, every, colour) for check in self.checks]
        if len(self.checks) != 1:
            blocks += [painted(wrap(self._sentence()), self.verdict, colour)]
        elif self._strictness():
            blocks += [wrap(self._strictness())]
        return "\n\n".join(blocks)

    def _github(self) -> str:
        lines = [check_annotation(check, self.strict) for check in self.checks]
        return "\n".join(lines or [annotation("warning", "rnn-parity", self._sentence())])


def catalogue(faults: Sequence[Fault], format: str = "table") -> str:
    """The known mistakes as `table`, `json` or `markdown`, without a last newline."""
    if format == "json":
        rows = [{"id": f.id, "meaning": f.meaning, "layers": f.layers} for f in faults]
        return json.dumps({"schema": "rnn-parity/faults/1", "faults": rows})
    cells = [(f.id, f.meaning, ", ".join(f.layers)) for f in faults]
    return fault_grid(cells) if format == "markdown" else fault_table(cells)


def as_json(document: Any) -> str:
    """`document` on one line; what a terminal or a workflow runner would obey is escaped."""
    text = json.dumps(plain(document), allow_nan=False)
    return text.replace("\x7f", "\\u007f").replace("##", "#\\u0023")


def plain(value: Any) -> Any:
    """`value` as JSON holds it: no NaN or infinity, nothing but its own types."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if is_dataclass(value) and not isinstance(value, type) and not isinstance(value, Sequence):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)):
        return [plain(item) for item in value]
    # NumPy's arrays and numbers; whatever else a layer's configuration holds is named.
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)
