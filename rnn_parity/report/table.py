"""The tables of a report, and its plain text for a terminal of 80 columns."""

from __future__ import annotations

import heapq
import math
import textwrap
from collections.abc import Mapping, Sequence

from tabulate import SEPARATING_LINE, tabulate

from rnn_parity.errors import shown as shown_text
from rnn_parity.report.wording import (
    bits,
    findings,
    is_recorded,
    label,
    number,
    ratio,
    ulps,
    verdict_of,
    word,
)
from rnn_parity.verdict.results import Check, StateRow, Subject, TimestepRow

WIDTH = 80
LONGEST = 40
"""Tables with more timesteps than this are shortened."""
ENDS = 5
"""How many first, worst and last timesteps a shortened table keeps."""

HEADERS = ("timestep", "deviation", "ULPs", "step\nresidual", "ratio", "batch", "unit")
OVERVIEW = ("#", "layer", "mode", "verdict", "ratio", "effective\nbits")
FACTS = ("verdict", "effective bits", "max deviation", "first divergence")
"""What stands side by side for each implementation."""
NARROW = 14
"""The most that a line of an implementation's name takes."""
FAULT_HEADERS = ("fault", "meaning", "layers")
COLOURS = {"parity": 32, "diverged": 31, "failed": 31, "suspect": 33, "inconclusive": 33}
SOURCES = {"generated": "generated layer", "layer": ""}


def environment_line(environment: Mapping[str, str | None]) -> str:
    """The versions that the numbers depend on; what is not installed is left out."""
    names = {"python": "Python", "numpy": "NumPy", "tensorflow": "TensorFlow", "keras": "Keras"}
    found = [f"{name} {environment[key]}" for key, name in names.items() if environment[key]]
    return ", ".join([*found, str(environment["device"])])


def subject_lines(check: Check) -> list[str]:
    """What was checked: the layer and where it came from; its arithmetic and its sizes."""
    subject, shape = check.subject, check.shape
    source = f"{SOURCES.get(subject.kind, subject.kind)} {subject.path or ''}".strip()
    against = f"against {subject.against}" if is_recorded(subject) else ""
    facts = [check.dtype] if check.dtype else []
    if check.arithmetic and check.arithmetic != check.dtype:
        facts.append(f"computed in {check.arithmetic}")
    if shape:
        facts += [f"batch {shape.batch}, timesteps {shape.timesteps}"]
        facts += [f"features {shape.features}, units {shape.units}"]
    title = ", ".join(filter(None, [label(subject), source, against]))
    return [title, ", ".join(facts)] if facts else [title]


def timestep_cells(row: TimestepRow) -> list[str]:
    """One timestep as a row of the table."""
    numbers = [number(row.max_deviation), ulps(row.max_ulp), number(row.max_residual)]
    return [str(row.timestep), *numbers, ratio(row.max_ratio), str(row.batch), str(row.unit)]


def state_cells(row: StateRow) -> list[str]:
    """One final state as a row of the table; it has no step of its own."""
    numbers = [number(row.max_deviation), ulps(row.max_ulp), "-"]
    return [f"final {row.name}", *numbers, ratio(row.max_ratio), str(row.batch), str(row.unit)]


def shown(check: Check, every: bool) -> list[int]:
    """The timesteps to show: all, or the first, the worst, the first diverged and the last."""
    rows, count = check.timesteps, len(check.timesteps)
    if every or count <= LONGEST:
        return list(range(count))

    def badness(t: int) -> float:
        worst = rows[t].max_ratio
        return math.inf if math.isnan(worst) else worst

    keep = {*range(ENDS), *range(count - ENDS, count)}
    keep.update(heapq.nlargest(ENDS, range(count), key=badness))
    if check.first_divergence:
        keep.add(check.first_divergence.timestep)
    return sorted(keep)


def timestep_rows(check: Check, steps: Sequence[int]) -> list[list[str]]:
    """The rows of the timesteps `steps`, with a row of dots where some were left out."""
    rows: list[list[str]] = []
    before = -1
    for t in steps:
        if t > before + 1:
            rows.append(["..."] + [""] * (len(HEADERS) - 1))
        rows.append(timestep_cells(check.timesteps[t]))
        before = t
    return rows


def left_out(check: Check, steps: Sequence[int]) -> list[str]:
    """The sentence that says what a shortened table leaves out, when it does."""
    count = len(check.timesteps)
    kept = f"shown are the first {ENDS}, the {ENDS} largest ratios and the last {ENDS}"
    hidden = f"{count - len(steps)} of {count} timesteps left out; {kept} (--every shows all)"
    return [hidden] if len(steps) < count else []


def overview_rows(checks: Sequence[Check]) -> list[list[str]]:
    """One row for each check."""
    return [
        [
            str(i),
            short_name(c.subject),
            c.subject.mode or "-",
            word(c),
            "-" if c.max_ratio is None else ratio(c.max_ratio),
            "-" if c.effective_bits is None else bits(c.effective_bits),
        ]
        for i, c in enumerate(checks, 1)
    ]


def fault_table(cells: Sequence[Sequence[str]]) -> str:
    """The id, the meaning and the layers of each fault, in 80 columns."""
    ids, layers = (max(len(row[column]) for row in cells) for column in (0, 2))
    widths = [None, WIDTH - ids - layers - 4, None]  # 2 columns between two cells
    return str(tabulate(cells, FAULT_HEADERS, disable_numparse=True, maxcolwidths=widths))


def short_name(subject: Subject) -> str:
    """What a person calls the layer, shortened to fit a column."""
    call = "" if subject.call is None else f" call {subject.call}"
    call += " then" if is_recorded(subject) else ""
    name = shown_text(subject.layer_name or subject.layer_class or "layer")
    room = 26 - len(call)
    return (name if len(name) <= room else f"{name[: room - 12]}...{name[-9:]}") + call


def implementations(checks: Sequence[Check]) -> list[str]:
    """The other implementations that were checked, in the order in which they come."""
    subjects = [check.subject for check in checks]
    return list(dict.fromkeys(s.against for s in subjects if s.against and not is_recorded(s)))


def comparison_rows(checks: Sequence[Check], names: Sequence[str]) -> list[list[str]]:
    """The layer (before its first fact), a fact, and a cell for each of the implementations."""
    layers: dict[tuple[str | None, str], dict[str | None, list[str]]] = {}
    for check in checks:
        place = layers.setdefault((check.subject.path, short_name(check.subject)), {})
        place[check.subject.against] = facts(check)
    return [
        [name if i == 0 else "", fact, *(cells[i] for cells in map(found.get, names) if cells)]
        for (_, name), found in layers.items()
        for i, fact in enumerate(FACTS)
    ]


def facts(check: Check) -> list[str]:
    """What stands in an implementation's column."""
    first = "-" if check.verdict != "diverged" else "final state"
    if check.first_divergence is not None:
        first = f"timestep {check.first_divergence.timestep}"
    return [
        word(check),
        "-" if check.effective_bits is None else bits(check.effective_bits),
        "-" if check.max_deviation is None else number(check.max_deviation),
        first,
    ]


def comparison(checks: Sequence[Check]) -> str:
    """Several implementations side by side, in as many tables as 80 columns need."""
    names = implementations(checks)
    rows = comparison_rows(checks, names)
    labels = 2 if sum(bool(row[0]) for row in rows) > 1 else 1
    room = WIDTH - max(map(len, FACTS)) - (labels - 1) * (max(len(row[0]) for row in rows) + 2)
    tables, start = [], 2
    for some in in_room(names, room):
        cells = [[*row[2 - labels : 2], *row[start : start + len(some)]] for row in rows]
        headers, align = [""] * labels + some, ["left"] * labels + ["right"] * len(some)
        tables.append(tabulate(cells, headers, disable_numparse=True, colalign=align))
        start += len(some)
    return "\n\n".join(tables)


def in_room(names: Sequence[str], room: int) -> list[list[str]]:
    """The names as headers of several lines, as many together as there is room for."""
    found: list[list[str]] = []
    left = 0
    for name in names:
        lines = textwrap.wrap(shown_text(name), NARROW)
        # tabulate leaves 2 columns around a header and 2 between two cells.
        width = max(len("timestep 99999"), *(len(line) + 2 for line in lines)) + 2
        if width > left:
            found.append([])
            left = room
        found[-1].append("\n".join(lines))
        left -= width
    return found


def overview(checks: Sequence[Check]) -> str:
    """The compact table that stands before several checks."""
    if len(implementations(checks)) > 1:
        return comparison(checks)
    align = ("right", "left", "left", "left", "right", "right")
    rows = overview_rows(checks)
    return str(tabulate(rows, OVERVIEW, disable_numparse=True, colalign=align))


def table(check: Check, every: bool) -> list[str]:
    """The table of timesteps and final states, then what it leaves out; nothing without rows."""
    steps = shown(check, every)
    rows: list[object] = list(timestep_rows(check, steps))
    rows += [SEPARATING_LINE] if rows and check.final_state else []
    rows += [state_cells(row) for row in check.final_state]
    if not rows:
        return []
    align = ("right",) * len(HEADERS)
    text = tabulate(rows, HEADERS, disable_numparse=True, colalign=align)
    return [text, *map(wrap, left_out(check, steps))]


def section(check: Check, every: bool, colour: bool) -> str:
    """All of one check: what it is, its table, its notes, its verdict and what follows from it."""
    top = [wrap(line) for line in subject_lines(check)]
    body = table(check, every)
    notes = [wrap(f"note: {note}") for note in check.notes]
    end = [painted(wrap(verdict_of(check)), check.verdict, colour)]
    end += [wrap(f"  {heading:<10}{text}", " " * 12) for heading, text in findings(check)]
    blocks = ["\n".join(block) for block in (top, body, notes, end) if block]
    return "\n\n".join(blocks)


def wrap(text: str, indent: str = "  ") -> str:
    """`text` in lines of 80 columns, the further ones indented."""
    return textwrap.fill(shown_text(text), WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def painted(text: str, verdict: str, colour: bool) -> str:
    """`text` with its first word, the verdict, in its colour."""
    head, colon, rest = text.partition(":")
    return f"\033[{COLOURS[verdict]}m{head}\033[0m{colon}{rest}" if colour else text
