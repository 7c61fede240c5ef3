"""What a report says of a check: its name, its findings, its tables, and what to do."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile, zip_longest
from pathlib import PurePath

import numpy as np

from rnn_parity.diagnosis.known_differences import KNOWN_DIFFERENCES
from rnn_parity.errors import shown
from rnn_parity.report.page import (
    COMMAND_LINE,
    PLAIN,
    TOOL,
    Level,
    OptionNames,
    Row,
    Section,
    Style,
    Table,
    Verdicts,
)
from rnn_parity.report.wording import MORE, bits, caused, digits, either, more, sentence
from rnn_parity.verdict.order import WORST_FIRST, exit_code
from rnn_parity.verdict.results import (
    Baseline,
    BlindSpot,
    Check,
    Divergence,
    ImpliedWeight,
    Mask,
    MergeDivergence,
    ModelOutput,
    Sensitivity,
    StateRow,
    Subject,
    TargetError,
    TimestepRow,
    Timesteps,
    is_known,
)
from rnn_parity.verdict.sentences import COUNTLESS, number, ratio

LONGEST = 40
"""Tables with more timesteps than this are shortened."""
ENDS = 5
"""How many first, worst and last timesteps a shortened table keeps."""
MOST_WEIGHTS = 5
"""How many implied weights are shown; the JSON document has more."""
SHOWS_NOTHING = "these data would show no mistake at all"
MOST_NAMED = 3
"""How many of the checks that did not pass an overall sentence names."""
ULPS, NO_ULPS = "max\nULPs", "-"
MOST_ULPS = 64
"""Rounding moves a number by a few ULPs; more stand beside one that happens to be nearly 0, or one
that is wrong, and say nothing then. Chosen: with half as many, right rows of a few units lose them;
with twice as many, a column holds what means something and what does not.
"""
HEADERS = (
    "timestep",
    "max\ndeviation",
    ULPS,
    "max step\nresidual",
    "max\nratio",
    "at\nbatch",
    "at\nunit",
)
"""Each number is the largest of its timestep, of whatever element; the place is the ratio's."""
NOT_FINITE = "-"
"""What stands for the numbers of a timestep without any finite one: nothing was compared there."""
GAP = ["...", *[""] * (len(HEADERS) - 1)]
"""The row that stands for timesteps that are left out."""

RECORDED = "recorded"
"""What tells the outputs recorded in a case from those that its layer computes now."""
OVERVIEW = ("#", "layer", "mode", "verdict", "ratio", "effective\nbits")
OVERVIEW_OF_FILES = ("#", "file", "layer", "mode", "verdict", "ratio", "bits")
OVERVIEW_OF_CASES = ("#", "file", "layer", "mode", RECORDED, "now", "ratio\nnow")
BITS = "effective bits: how precise the numbers are; rnn-parity explain effective-bits"
BITS_OF_CASES = "beside each verdict its effective bits; rnn-parity explain effective-bits"
"""What stands under an overview."""
CHANGES = ("", "check", "before", "now")
COMPARED = ("verdict", "effective bits", "max deviation", "first divergence")
"""What stands side by side for each implementation."""
NOT_COMPARED = "not compared"
"""What stands in place of a verdict where there was nothing to hold it against."""
SOURCES = {"generated": "generated layer", "layer": ""}
LEVELS: dict[str, Level] = {"parity": "notice", "diverged": "error", "suspect": "error"}
"""How an annotation shows a verdict; any other is a warning."""


def section(
    check: Check, style: Style = PLAIN, blind: Sequence[str] = (), allowed: bool = False
) -> Section:
    """All that is shown of one check, which fails for the faults that it is `blind` to.

    Where it is `allowed`, it diverged for a known difference, which is no more than a warning.
    """
    title, *facts = subject_lines(check)
    found = (*findings(check, style.names), *seeing(blind, style.names))
    level = LEVELS.get(check.verdict, "warning")
    return Section(
        heading=title,
        name=f"{TOOL}: {label_in_file(check.subject)}",
        level="warning" if blind or allowed else level,
        verdict=BLIND if blind else check.verdict,
        sentence=verdict_sentence(check, blind, style.names),
        facts=tuple(facts),
        findings=found,
        notes=check.notes,
        table=table(check, style),
        reason=allowance([check], style.names) if allowed else "",
        code=0 if allowed else exit_code([check.verdict, *(["inconclusive"] if blind else [])]),
        file=check.subject.path or "",
        passed=check.verdict == "parity" and not blind,
        check=check,
    )


def label(subject: Subject) -> str:
    """The name of a layer with everything that tells two checks of one report apart."""
    details = [subject.layer_class] if subject.layer_name and subject.layer_class else []
    details += [f"mode {subject.mode}"] if subject.mode else []
    details += [f"call {subject.call}"] if subject.call is not None else []
    if subject.against:
        details.append(RECORDED if is_recorded(subject) else f"against {subject.against}")
    name = subject.layer_name or subject.layer_class or "layer"
    return f"{name} ({', '.join(details)})" if details else name


def label_in_file(subject: Subject) -> str:
    """The name of a layer as in `label`, and the file that it is in."""
    if not subject.path:
        return label(subject)
    is_layer = subject.layer_name or subject.layer_class
    return f"{label(subject)} in {subject.path}" if is_layer else subject.path


def error_line(error: TargetError) -> str:
    """Which target or source could not be checked, and why: `FILE: against SOURCE: reason`.

    Most reasons begin with the name of what they are about.
    """
    message, path = error.message, error.path
    if error.against is None:
        return message if not path or path in message else f"{path}: {message}"
    against = f"against {error.against!r}: "
    for start in (f"{path}: ", against, f"{error.against}: "):
        message = message.removeprefix(start)
    return f"{path}: {against}{message}" if path else against + message


def error_name(error: TargetError) -> str:
    """The target that could not be checked, or the source that could not, and of which target."""
    where = f" in {error.path}" if error.path else ""
    return f"against {error.against}{where}" if error.against else error.path or TOOL


def unread(errors: Sequence[TargetError]) -> str:
    """How many targets and sources could not be checked, and which."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        kind = "source" if error.against else "target"
        failed = error.against is not None and error.has_failed
        said = "failed" if failed else "could not be checked"
        kinds.setdefault((kind, said), []).append(error.against or error.path or "")
    return "; ".join(
        f"{len(names)} {kind}{'s' * (len(names) > 1)} {said}: {first_names(names)}"
        for (kind, said), names in kinds.items()
    )


def is_recorded(subject: Subject) -> bool:
    """Whether these are the outputs recorded in a case, as opposed to another implementation's."""
    return subject.kind == "case" and subject.mode is not None and subject.against is not None


def is_compared(check: Check) -> bool:
    """Whether there was anything to compare."""
    return check.shape is not None or check.verdict != "inconclusive"


def verdict_word(check: Check) -> str:
    """The verdict of one check, as a word in a table."""
    return check.verdict if is_compared(check) else NOT_COMPARED


def verdict_sentence(
    check: Check,
    blind: Sequence[str] = (),
    names: OptionNames = COMMAND_LINE,
    subject: str = "",
) -> str:
    """The sentence of one check: its verdict and cause, the name of its `subject` if given, why.

    It begins with the faults that it is `blind` to.
    """
    nothing = "" if blind else blindness(check)
    summary = f"{check.summary}{nothing}"
    summary = f"{subject}: {summary}" if subject else summary
    if blind:
        summary = f"{strictness(blind, names)}; {summary}"
        return sentence(BLIND, summary, check.effective_bits)
    return sentence(check.verdict, summary, check.effective_bits, either(check.causes))


def blindness(check: Check) -> str:
    """That a check in parity would have shown no mistake, and why, to end its summary; else empty.

    What shows nothing shows no rounding either: elsewhere nobody asks, unless it is known, because
    the answer may take longer than the check itself.
    """
    found = check.sensitivity
    if found is None or not (check.max_ratio == 0 or is_known(found)):
        return ""
    spots = found.blind
    if found.visible or not spots:
        return ""
    (reason, _), *_ = Counter(spot.reason for spot in spots).most_common(1)
    return f", yet {SHOWS_NOTHING}: {reason}"


def blind_to_all(checks: Sequence[Check]) -> str:
    """Which of several checks in parity would have shown no mistake; empty where all would."""
    names = [label(check.subject) for check in checks if blindness(check)]
    which = "" if len(names) == len(checks) > 1 else f" ({first_names(names)})"
    return f", yet {SHOWS_NOTHING}{which}" if names else ""


def cause_of(checks: Sequence[Check]) -> str:
    """The causes of the checks whose verdict decides, in a few words, the most frequent first.

    One that not all of them have is named with how many do.
    """
    found = Counter(either(check.causes) for check in deciding(checks))
    named = [(cause, count) for cause, count in found.most_common() if cause]
    total = sum(found.values())
    return first_names([cause + of_total(count, total) for cause, count in named], "; ")


def deciding(checks: Sequence[Check]) -> list[Check]:
    """Those of the checks that have the verdict of all of them."""
    worst = min((WORST_FIRST.index(check.verdict) for check in checks), default=0)
    return [check for check in checks if check.verdict == WORST_FIRST[worst]]


def of_total(count: int, total: int) -> str:
    """In how many of several checks something is; nothing where it is in all."""
    return "" if count == total else f" in {count} of {total}"


def overall(checks: Sequence[Check]) -> str:
    """How many checks found what, with the names of those that did not pass; no verdict word."""
    groups: dict[str, list[str]] = {kind: [] for kind in (*WORST_FIRST, NOT_COMPARED, "parity")}
    paths = {check.subject.path for check in checks}
    only = paths.pop() if len(paths) == 1 else None
    named, where = (label_in_file, "") if only is None else (label, f" of {only}")
    # A cause that all have stands before this sentence, and not once more in it.
    causes = {either(check.causes) for check in deciding(checks)}
    several = len(causes | {either(check.causes) for check in checks if check.causes}) > 1
    for check in checks:
        cause = f" ({either(check.causes)})" if several and check.causes else ""
        groups[verdict_word(check)].append(f"{named(check.subject)}{cause}")
    passed, count = len(groups.pop("parity")), len(checks)
    if passed == count:
        return (
            f"1 check{where} is in parity"
            if count == 1
            else f"all {count} checks{where} are in parity"
        )
    parts = [
        f"{len(names)} {kind}: {first_names(names)}" for kind, names in groups.items() if names
    ]
    parts += [f"{passed} in parity"] if passed else []
    return f"of {count} check{'s' * (count > 1)}{where}, {'; '.join(parts)}"


def first_names(names: Sequence[str], comma: str = ", ") -> str:
    """The first names, and how many more there are."""
    hidden = len(names) - MOST_NAMED
    return comma.join([*names[:MOST_NAMED], *([f"{hidden} more"] if hidden > 0 else [])])


def findings(check: Check, names: OptionNames = COMMAND_LINE) -> list[tuple[str, str]]:
    """What follows the verdict, each with its heading, in the order in which a person needs it."""
    place = []
    if check.verdict == "diverged":
        place = place_of_divergence(check.first_divergence, check.dtype) or places_of_states(check)
    weights = implied_weights(check.implied_weights or (), check.dtype, names)
    to_do = [("to do", text) for text in remedies(check)]
    why = caused(check.causes)
    if check.verdict == "diverged" and not why:
        why = [more(UNEXPLAINED, ", on how to go on")]
    found = [*place, *why, *weights, *to_do, *sensitivity_facts(check.sensitivity)]
    return found if check.effective_bits is None else with_bits_explained(found)


def with_bits_explained(findings: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The findings, whose last word on where one reads more names the effective bits, too."""
    last = max((i for i, (heading, _) in enumerate(findings) if heading == MORE), default=None)
    return [
        (heading, f"{text}, or effective-bits") if i == last else (heading, text)
        for i, (heading, text) in enumerate(findings)
    ]


BLIND = "blind"
"""What a strict report calls a check that passed and could not have seen everything."""
WORSE = "worse"
"""What checks that pass are called where something is worse than in an earlier report."""
GONE = "gone"
"""What they are called where nothing is worse, and a check of the earlier report is missing."""
FAILED = "failed"
"""What a report is called where another implementation crashed and nothing is worse than that."""
UNEXPLAINED = "unexplained"
"""The page of the manual on what no known mistake explains."""


def place_of_divergence(first: Divergence | None, dtype: str | None) -> list[tuple[str, str]]:
    """Where it first diverged, and how far beyond the bound."""
    if first is None:
        return []
    form = digits(dtype)
    gap = abs(first.observed - first.expected)
    times = gap / first.bound if first.bound > 0 else math.inf
    off_by = f"{number(gap)}, {beyond(times)} the bound {number(first.bound)}{first.included}"
    if math.isfinite(gap) and times >= COUNTLESS:
        off_by = f"{number(gap)}, where rounding moves nothing"
    return [
        ("first at", f"timestep {first.timestep}, batch {first.batch}, unit {first.unit}"),
        ("observed", f"{first.observed:{form}}"),
        ("expected", f"{first.expected:{form}} ({first.origin})"),
        ("off by", off_by),
    ]


def places_of_states(check: Check) -> list[tuple[str, str]]:
    """The final states beyond their bound (NaN included)."""
    return [
        item
        for row in check.final_state
        if not row.max_ratio <= 1
        for item in (
            ("first at", f"final {row.name}, batch {row.batch}, unit {row.unit}"),
            ("off by", f"{number(row.max_deviation)}, {beyond(row.max_ratio)} the bound"),
        )
    ]


def beyond(times: float) -> str:
    """How far beyond, as a multiple where it is a number."""
    return f"{ratio(times)} x" if times < COUNTLESS else "beyond"


def implied_weights(
    weights: Sequence[ImpliedWeight], dtype: str | None, names: OptionNames
) -> list[tuple[str, str]]:
    """The weights that the outputs imply, the most certain ones."""
    form = digits(dtype)
    found = [
        f"{w.weight}{list(w.index)}: expected {w.expected:{form}}, implied {w.implied:{form}} "
        f"({number(w.sigma)} standard errors)"
        for w in weights[:MOST_WEIGHTS]
    ]
    hidden = len(weights) - MOST_WEIGHTS
    found += [f"{hidden} more {names.all_weights}"] if hidden > 0 else []
    return [("weights", text) for text in found]


def remedies(check: Check) -> list[str]:
    """What to change: by cause, else as far as the place tells; nothing where it does not."""
    if check.causes:
        known = dict.fromkeys((cause.fault, cause.remedy) for cause in check.causes if cause.remedy)
        return [text if len(known) == 1 else f"{fault}: {text}" for fault, text in known]
    if check.verdict == "suspect":
        return ["compare the weights bit by bit: were they printed, cast or retrained?"]
    first = check.first_divergence
    if first is None:
        return [of_the_last(check)] if places_of_states(check) else []
    if isinstance(first, MergeDivergence):
        return ["look at the wrapper itself: its two layers are checked on their own"]
    if not math.isfinite(first.observed):
        origin = "an overflow, a division by zero, or memory that was never written"
        return [f"look for what gives {first.observed} there: {origin}"]
    if first.timestep == 0:
        if len(check.timesteps) > 1 and all(row.max_ratio <= 1 for row in check.timesteps[1:]):
            return ["look at what the first step starts from: every later one is within its bound"]
        return ["look at the inputs, the kernel, the bias and the initial state first"]
    before = f"the timesteps before {first.timestep} are within their bounds"
    return [f"look at the recurrent kernel, the state and the mask first: {before}"]


def of_the_last(check: Check) -> str:
    """What to do about a final state that is off, or a last output that is all there is."""
    if len(check.timesteps):
        return "look at which state is returned: every output is within its bound"
    if check.shape is not None and check.shape.timesteps == 1:
        return "look at the inputs, the kernel, the bias and the initial state first"
    return "observe the whole sequence of outputs: it shows the first step that is off, and more"


def sensitivity_facts(sensitivity: Sensitivity | None) -> list[tuple[str, str]]:
    """Which mistakes a passing check could have shown, and where one reads more on the others."""
    if sensitivity is None:
        return []
    visible, blind = len(sensitivity.visible), sensitivity.blind
    # Which faults are possible depends on the options of the layer, so that totals differ.
    found = f"{visible} of {visible + len(blind)} possible faults"
    if not blind:
        return [("sees", found)]
    reasons: dict[str, list[str]] = {}
    for spot in blind:
        reasons.setdefault(spot.reason, []).append(spot.fault)
    spots = "; ".join(f"{', '.join(faults)} ({reason})" for reason, faults in reasons.items())
    return [("sees", f"{found}; blind to {spots}"), more("FAULT", ", on each of them")]


def blind_spots(check: Check) -> tuple[BlindSpot, ...]:
    """What a passing check could not have seen; nothing for any other check."""
    return () if check.sensitivity is None else check.sensitivity.blind


def strictness(faults: Iterable[str], names: OptionNames = COMMAND_LINE) -> str:
    """Why a strict report does not accept checks that passed, blind to these `faults`."""
    return f"nothing is proven about {', '.join(dict.fromkeys(faults))} (with {names.strict})"


def worsened(worse: Sequence[str], gone: Sequence[str]) -> str:
    """How many checks are worse than in an earlier report, and how many are gone."""
    counts = ((len(worse), "worse than before"), (len(gone), "gone since the earlier report"))
    return ", ".join(
        f"{count} check{'s are' if count > 1 else ' is'} {what}" for count, what in counts if count
    )


def seeing(blind: Sequence[str], names: OptionNames = COMMAND_LINE) -> list[tuple[str, str]]:
    """What to do about the faults that a check fails for being blind to; nothing without any."""
    what = f"use data that would show these faults, or, where one does not matter, {names.ignore}"
    return [("to do", what)] if blind else []


def model_output(one: ModelOutput) -> str:
    """A model's output beside that of its export, in a line."""
    start = f"model output {one.name}"
    if one.tensor is None:
        return f"{start}: no output of {one.against} has its shape"
    far, shared = number(one.max_deviation), f"{bits(one.effective_bits)} bits in common"
    theirs = f"{start}: {one.tensor} of {one.against}"
    layer = f", from the layer {one.first_layer} on" if one.first_layer is not None else ""
    if not_finite(one):
        return f"{theirs} holds NaN or infinity where Keras's is finite{layer}"
    if not one.differs:
        return f"{theirs} is at most {far} away ({shared})"
    return f"{theirs} differs by up to {far} ({shared}){layer}"


def not_finite(one: ModelOutput) -> bool:
    """Whether an export's output holds what is no finite number where Keras's is finite."""
    return one.tensor is not None and one.max_deviation == math.inf


def lost_outputs(outputs: Sequence[ModelOutput]) -> str:
    """Why its recurrent layers do not make a model right; nothing where outputs agree."""
    lost = [one for one in outputs if one.differs]
    if not lost:
        return ""
    first = next((one.first_layer for one in lost if one.first_layer), None)
    where = f", first after the layer '{first}'" if first else ""
    names = ", ".join(dict.fromkeys(f"'{one.name}'" for one in lost))
    verb = "output" if len(lost) == 1 else "outputs"
    broken = any(map(not_finite, lost))
    why = ": numbers of the export are not finite where Keras's are" if broken else ""
    return f"The model's {verb} {names} differ{'s' * (len(lost) == 1)}{where}{why}."


def known_differences(check: Check) -> list[str]:
    """The ids of the known differences that explain a divergence; none for any other check."""
    ids = {known.id for known in KNOWN_DIFFERENCES}
    causes = check.causes if check.verdict == "diverged" else ()
    return [cause.fault for cause in causes if cause.fault in ids]


def allowance(checks: Sequence[Check], names: OptionNames = COMMAND_LINE) -> str:
    """Which divergences are no failure where known differences are allowed; nothing without one."""
    ids = list(dict.fromkeys(one for check in checks for one in known_differences(check)))
    if not ids:
        return ""
    verb, what = ("is", "a known difference") if len(ids) == 1 else ("are", "known differences")
    return f"With {names.allow_known}, {', '.join(ids)} {verb} {what} and no failure."


def cell_of(times: float) -> str:
    """A ratio in a table; a bound of next to nothing is told in a word, not as 8e+37 times."""
    return "beyond" if times >= COUNTLESS else ratio(times)


def ulps(n: int) -> str:
    """A number of ULPs, where it means something."""
    return str(n) if n <= MOST_ULPS else NO_ULPS


def subject_lines(check: Check) -> list[str]:
    """What was checked: the layer and where it came from; its arithmetic and its sizes."""
    subject, shape = check.subject, check.shape
    source = f"{SOURCES.get(subject.kind, subject.kind)} {subject.path or ''}".strip()
    against = str(subject.against) if is_recorded(subject) else ""
    facts = [check.dtype] if check.dtype else []
    if check.arithmetic and check.arithmetic != check.dtype:
        facts.append(f"computed in {check.arithmetic}")
    if shape:
        facts += [f"batch {shape.batch}, timesteps {shape.timesteps}"]
        facts += [f"features {shape.features}, units {shape.units}"]
        facts += [masked(check.mask)]
    name = label(subject) if subject.layer_name or subject.layer_class or not source else ""
    title = ", ".join(filter(None, [name, source, against]))
    return [title, ", ".join(facts)] if facts else [title]


def masked(mask: Mask | None) -> str:
    """Which steps were masked, and how many."""
    if mask is None:
        return "no mask"
    return f"mask {mask.pattern} ({mask.masked} of {mask.steps} steps)"


def table(check: Check, style: Style) -> Table | None:
    """The table of timesteps and final states; None without rows."""
    steps = steps_shown(check, style.every)
    rows = [None if t is None else check.timesteps[t] for t in with_gaps(steps)]
    groups = (
        [GAP if row is None else timestep_cells(row) for row in rows],
        [state_cells(row) for row in check.final_state],
    )
    if not any(groups):
        return None
    ratios = [0.0 if row is None else row.max_ratio for row in (*rows, *check.final_state)]
    failing: Verdicts = {i: check.verdict for i, one in enumerate(ratios) if not one <= 1}
    note = left_out(check, steps, style.names)
    return without_ulps(Table(HEADERS, groups, note=note, verdicts=failing))


def without_ulps(table: Table) -> Table:
    """The table without the column of ULPs where they mean something in few of the rows."""
    place = HEADERS.index(ULPS)
    cells = [row[place] for row in table.rows if row[place]]
    return table if 2 * cells.count(NO_ULPS) <= len(cells) else without_column(table, place)


def without_column(table: Table, place: int) -> Table:
    """The table without one of its columns, which names no verdict; those after it move up."""

    def moved(columns: Sequence[int]) -> tuple[int, ...]:
        return tuple(i - (i > place) for i in columns if i != place)

    verdicts: Verdicts = {
        at if isinstance(at, int) else (at[0], moved(at[1:])[0]): verdict
        for at, verdict in table.verdicts.items()
    }
    return replace(
        table,
        headers=tuple(without(table.headers, place)),
        groups=tuple([without(row, place) for row in rows] for rows in table.groups),
        left=moved(table.left),
        names=moved(table.names),
        verdicts=verdicts,
    )


def without(row: Row, place: int) -> list[str]:
    """A row without its cell at `place`."""
    return [*row[:place], *row[place + 1 :]]


def steps_shown(check: Check, every: bool) -> list[int]:
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


def left_out(check: Check, steps: Sequence[int], names: OptionNames) -> str:
    """The sentence that says what a shortened table leaves out, when it does."""
    count = len(check.timesteps)
    kept = f"shown are the first {ENDS}, the {ENDS} largest ratios and the last {ENDS}"
    hidden = f"{count - len(steps)} of {count} timesteps left out; {kept} ({names.all_timesteps})"
    return hidden if len(steps) < count else ""


def with_gaps(steps: Sequence[int]) -> list[int | None]:
    """The timesteps `steps`, with None where some were left out."""
    found: list[int | None] = []
    for before, t in zip([-1, *steps], steps, strict=False):
        found += [t] if t == before + 1 else [None, t]
    return found


def timestep_cells(row: TimestepRow) -> list[str]:
    """One timestep as a row of the table; dashes where no number was finite, as it should be."""
    if math.isnan(row.bound) and row.max_ratio == row.max_deviation == 0:
        return [str(row.timestep), *[NOT_FINITE] * (len(HEADERS) - 1)]
    numbers = [number(row.max_deviation), ulps(row.max_ulp), number(row.max_residual)]
    return [str(row.timestep), *numbers, cell_of(row.max_ratio), str(row.batch), str(row.unit)]


def state_cells(row: StateRow) -> list[str]:
    """One final state as a row of the table; it has no step of its own."""
    numbers = [number(row.max_deviation), ulps(row.max_ulp), "-"]
    return [f"final {row.name}", *numbers, cell_of(row.max_ratio), str(row.batch), str(row.unit)]


def of_passed(checks: Sequence[Check], names: OptionNames = COMMAND_LINE) -> tuple[str, ...]:
    """What counts of checks that passed where they are left out: their blind spots and notes."""
    if not checks:
        return ()
    one = len(checks) == 1
    lines = [f"{len(checks)} check{'s' * (not one)} in parity left out ({names.all_checks})"]
    spots: dict[str, int] = Counter(spot.fault for c in checks for spot in blind_spots(c))
    if spots:
        lines[0] += f"; blind to {counted(spots, len(checks))}"
    return (*lines, *notes_on(checks))


def notes_on(checks: Sequence[Check]) -> list[str]:
    """The notes on checks that are left out, each with the names of the layers that it is about:
    none where it is about all of several.
    """
    names = short_names(checks)
    about: dict[str, dict[tuple[str, str], None]] = {}
    for check, name in zip(checks, names, strict=True):
        for note in check.notes:
            about.setdefault(note, {})[name] = None
    found = []
    for note, of in about.items():
        everywhere = len(of) == len({*names}) > 1
        told = "" if everywhere else f"{first_names(without_details([*of], names))}: "
        found.append(f"note: {told}{note}")
    return found


def short_names(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """The name of each layer, or of its file, and whatever else tells these checks apart."""
    subjects, files = [check.subject for check in checks], short_files(checks)
    modes = {subject.mode for subject in subjects}
    others = {subject.against for subject in subjects if not is_recorded(subject)}
    layers = {one.path: {o.layer_name for o in subjects if o.path == one.path} for one in subjects}

    def name(one: Subject) -> str:
        if files and len(layers[one.path]) == 1:
            return files[one.path]
        return name_in_overview(one) + (f" in {files[one.path]}" if files else "")

    def detail(one: Subject) -> str:
        source = f" against {one.against}" if len(others) > 1 and one.against in others else ""
        return source + (f" in mode {one.mode}" if len(modes) > 1 and one.mode else "")

    return [(name(one), detail(one)) for one in subjects]


def without_details(some: Sequence[tuple[str, str]], names: Sequence[tuple[str, str]]) -> list[str]:
    """The names of `some` checks, those alone that have all the checks of this name."""
    found: dict[str, None] = {}
    for name, detail in some:
        details = {other for one, other in names if one == name}
        whole = details <= {other for one, other in some if one == name}
        found[name if whole else name + detail] = None
    return [*found]


def counted(faults: Mapping[str, int], total: int) -> str:
    """Faults, together with those that as many checks are blind to."""
    alike: dict[int, list[str]] = {}
    for fault, count in faults.items():
        alike.setdefault(count, []).append(fault)
    groups = sorted(alike.items(), reverse=True)
    return "; ".join(f"{', '.join(ids)}{in_checks(count, total)}" for count, ids in groups)


def in_checks(count: int, total: int) -> str:
    """In how many of several checks something was met; nothing where it was met in all."""
    return "" if count == total else f" ({count} of them)"


def overview(checks: Sequence[Check], errors: Sequence[TargetError] = ()) -> Table | None:
    """The compact table that stands before several checks, one row or column for each.

    Where they are of several files, a column says which. A source of which `errors` tell has a
    column as well.
    """
    names, files = implementations(checks), short_files(checks)
    lost = [error for error in errors if error.against] if names else []
    names = list(dict.fromkeys([*names, *(str(error.against) for error in lost)]))
    if len(names) > 1:
        rows = comparison_rows(checks, names, lost)
        cells: Verdicts = {(i, j): row[j] for i, row in enumerate(rows) for j in range(2, len(row))}
        return Table(
            ("layer", "", *names), (rows,), (0, 1), 2, note=BITS, names=(0,), verdicts=cells
        )
    if len(checks) < 2:
        return None
    if recorded_and_now(checks):
        return overview_of_cases(checks, files)
    rows = [
        [
            str(i),
            *([files[c.subject.path]] if files else []),
            name_in_overview(c.subject),
            c.subject.mode or "-",
            verdict_word(c),
            "-" if c.max_ratio is None else cell_of(c.max_ratio),
            "-" if c.effective_bits is None else bits(c.effective_bits),
        ]
        for i, c in enumerate(checks, 1)
    ]
    headers = OVERVIEW_OF_FILES if files else OVERVIEW
    words, place = tuple(range(1, len(headers) - 2)), headers.index("verdict")
    verdicts: Verdicts = {(i, place): row[place] for i, row in enumerate(rows)}
    names_of = words[: 1 + bool(files)]
    return Table(headers, (rows,), left=words, note=BITS, names=names_of, verdicts=verdicts)


def recorded_and_now(checks: Sequence[Check]) -> list[tuple[Check | None, Check]]:
    """What was recorded beside each check of what is computed now, in their order; nothing where no
    check is of what was recorded, or none of what is computed now.

    Where a case is checked without Keras, what was recorded is all there is.
    """
    recorded = {key_of_case(one): one for one in checks if is_recorded(one.subject)}
    now = [one for one in checks if not is_recorded(one.subject)]
    again = {key_of_case(one) for one in now}
    if not recorded or not now:
        return []
    pairs = []
    for one in checks:
        then = recorded.get(key_of_case(one))
        if one is not then:
            pairs.append((then, one))
        elif key_of_case(one) not in again:
            pairs.append((one, one))
    return pairs


def key_of_case(check: Check) -> tuple[str | None, str | None]:
    """What the checks of one case have in common."""
    return check.subject.path, check.subject.layer_name


def overview_of_cases(checks: Sequence[Check], files: Mapping[str | None, str]) -> Table:
    """The overview of recorded cases: what was recorded and what is computed now, in one row."""
    rows: list[Row] = []
    verdicts: dict[int | tuple[int, int], str] = {}
    place = OVERVIEW_OF_CASES.index(RECORDED)
    for i, (then, now) in enumerate(recorded_and_now(checks)):
        found = (then, None if then is now else now)
        told = [verdict_and_bits(word_of(one), bits_of(one), "-") for one in found]
        ratio_now = None if found[1] is None else now.max_ratio
        subject = replace(now.subject, against=None)
        rows.append(
            [
                str(i + 1),
                files.get(subject.path, ""),
                name_in_overview(subject),
                subject.mode or "-",
                *told,
                "-" if ratio_now is None else cell_of(ratio_now),
            ]
        )
        verdicts |= {(i, place + j): word_of(one) or "" for j, one in enumerate(found)}
    words = tuple(range(1, len(OVERVIEW_OF_CASES) - 1))
    table = Table(
        OVERVIEW_OF_CASES, (rows,), words, note=BITS_OF_CASES, names=(1, 2), verdicts=verdicts
    )
    return table if files else without_column(table, 1)


def word_of(check: Check | None) -> str | None:
    """The verdict of a check that there may be, as a word in a table."""
    return None if check is None else verdict_word(check)


def bits_of(check: Check | None) -> float | None:
    """The effective bits of a check that there may be."""
    return None if check is None else check.effective_bits


def repeats(checks: Sequence[Check]) -> set[int]:
    """The places of those checks of recorded outputs that show nothing else than what is computed
    now: the same numbers and the same cause.
    """
    pairs = recorded_and_now(checks)
    same = {id(then) for then, now in pairs if then is not now and then and equal(then, now)}
    differ = {id(then) for then, now in pairs if then is not now and then and not equal(then, now)}
    return {i for i, one in enumerate(checks) if id(one) in same - differ}


def equal(then: Check, now: Check) -> bool:
    """Whether two checks say the same, whatever their notes."""
    names = ("verdict", "summary", "final_state", "first_divergence", "causes", "implied_weights")
    if any(getattr(then, name) != getattr(now, name) for name in names):
        return False
    one, other = then.timesteps, now.timesteps
    if not (isinstance(one, Timesteps) and isinstance(other, Timesteps)):
        return one == other
    columns = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(np.array_equal(a, b) for a, b in columns)


def changes_table(baseline: Baseline | None) -> Table | None:
    """What changed since an earlier report, a row for each change; None without one."""
    if baseline is None or not baseline.changes:
        return None
    rows = [
        [
            one.kind,
            shown(one.check),
            verdict_and_bits(one.before, one.bits_before),
            verdict_and_bits(one.now, one.bits_now),
        ]
        for one in baseline.changes
    ]
    note = f"{baseline.unchanged} unchanged, compared with {shown(baseline.path)}"
    kinds: Verdicts = {(i, 0): row[0] for i, row in enumerate(rows)}
    return Table(CHANGES, (rows,), left=(0, 1, 2, 3), elastic=1, note=note, verdicts=kinds)


def verdict_and_bits(
    verdict: str | None, effective_bits: float | None, without: str = "not checked"
) -> str:
    """What a check was found to be, in a cell, or that it is `without` one."""
    found = [] if effective_bits is None else [bits(effective_bits)]
    return " ".join([verdict or without, *found])


def files_of(checks: Sequence[Check]) -> list[str]:
    """The files that the checks are about, in their order."""
    paths = (check.subject.path for check in checks)
    return list(dict.fromkeys(path for path in paths if path is not None))


def short_files(checks: Sequence[Check]) -> dict[str | None, str]:
    """Each of several files without the folders that all of them share.

    Nothing where all checks are of one file.
    """
    files = files_of(checks)
    if len(files) < 2:
        return {}
    parts = {path: PurePath(path).parts for path in files}
    levels = zip(*(folders[:-1] for folders in parts.values()), strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))
    found: dict[str | None, str] = {None: "-"}
    for path in files:
        found[path] = shown(str(PurePath(*parts[path][shared:])))
    return found


def name_in_overview(subject: Subject) -> str:
    """What a person calls the layer."""
    call = "" if subject.call is None else f" call {subject.call}"
    call += f" {RECORDED}" if is_recorded(subject) else ""
    return shown(subject.layer_name or subject.layer_class or "-") + call


def implementations(checks: Sequence[Check]) -> list[str]:
    """The other implementations that were checked, in the order in which they come."""
    subjects = [check.subject for check in checks]
    return list(dict.fromkeys(s.against for s in subjects if s.against and not is_recorded(s)))


def comparison_rows(
    checks: Sequence[Check], names: Sequence[str], errors: Sequence[TargetError] = ()
) -> list[list[str]]:
    """The layer (before its first fact), a fact, and a cell for each of the implementations.

    One of those that `errors` are about has no more than a word, where it was not checked.
    """
    layers: dict[tuple[str | None, str], dict[str | None, list[str]]] = {}
    files = short_files(checks)
    for check in checks:
        place = layers.setdefault((check.subject.path, name_in_overview(check.subject)), {})
        place[check.subject.against] = implementation_facts(check)
    for error in errors:
        word = FAILED if error.has_failed else NOT_COMPARED
        for (path, _), place in layers.items():
            if path == error.path:
                place.setdefault(error.against, [word, *["-"] * (len(COMPARED) - 1)])
    nothing = [""] * len(COMPARED)
    return [
        [heading, fact, *(found.get(source, nothing)[i] for source in names)]
        for (path, name), found in layers.items()
        for i, (heading, fact) in enumerate(
            zip_longest([name, files.get(path, "")], COMPARED, fillvalue="")
        )
    ]


def implementation_facts(check: Check) -> list[str]:
    """What stands in an implementation's column."""
    return [
        verdict_word(check),
        "-" if check.effective_bits is None else bits(check.effective_bits),
        "-" if check.max_deviation is None else number(check.max_deviation),
        first_divergence(check),
    ]


def first_divergence(check: Check) -> str:
    """Where a check first diverged, as a cell of the overview."""
    if check.verdict != "diverged":
        return "-"
    if check.first_divergence is not None:
        return f"timestep {check.first_divergence.timestep}"
    off = [row.name for row in check.final_state if not row.max_ratio <= 1]
    if not off and not len(check.timesteps):
        return "shape"
    return "last output" if "output" in off else "final state"
