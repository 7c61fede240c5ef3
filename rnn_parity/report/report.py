"""The report on one or several checks: its verdict, its exit code, and what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, ClassVar, cast

from rnn_parity.errors import shown_lines
from rnn_parity.report.checks import (
    BLIND,
    FAILED,
    GONE,
    WORSE,
    allowance,
    blind_spots,
    blind_to_all,
    cause_of,
    changes_table,
    error_line,
    error_name,
    findings,
    known_differences,
    lost_outputs,
    model_output,
    of_passed,
    overall,
    overview,
    repeats,
    section,
    strictness,
    unread,
    verdict_sentence,
    worsened,
)
from rnn_parity.report.page import COMMAND_LINE, PLAIN, Facts, OptionNames, Page, Renderable, Style
from rnn_parity.report.wording import environment_line, sentence
from rnn_parity.system.environment import environment
from rnn_parity.verdict.order import Verdict, decisive, decisive_code, exit_code
from rnn_parity.verdict.plain_data import LATE, PlainData
from rnn_parity.verdict.results import (
    Baseline,
    BlindSpot,
    Check,
    ModelOutput,
    Subject,
    TargetError,
)


@dataclass(frozen=True, eq=False)
class Report(PlainData, Renderable):
    """What one or several checks found.

    `device` is where the layer ran, `notes` are sentences on the whole report. With `strict` a
    blind spot counts as nothing proven, unless it is one of the faults to `ignore`. `worse` is what
    got worse than in an earlier report, `gone` what is no longer compared, which fails as well, and
    `baseline` all that changed. With `allow_known`, a
    divergence that a known difference explains is no failure. `set_by` says which settings did
    that, by the names of `OptionNames`, where they are not the command line's. `errors` are the
    targets, and other implementations, that could not be checked, beside others that were: nothing
    is proven of them.
    `model_outputs` are the outputs of whole models beside those of their exports: no proof, but
    where they differ nothing is proven of the model.
    """

    checks: tuple[Check, ...] = field(metadata=LATE)
    device: str = "cpu"
    notes: tuple[str, ...] = ()
    strict: bool = False
    worse: tuple[str, ...] = ()
    allow_known: bool = False
    errors: tuple[TargetError, ...] = ()
    baseline: Baseline | None = None
    model_outputs: tuple[ModelOutput, ...] = ()
    ignore: tuple[str, ...] = ()
    set_by: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()

    schema: ClassVar[str] = "rnn-parity/1"

    @property
    def verdict(self) -> Verdict:
        """The verdict that decides: diverged, then suspect, then inconclusive (no checks, too).

        Where a target could not be checked, or the outputs of a model differ, not all is proven.
        """
        lost = self.errors or any(one.differs for one in self.model_outputs)
        unknown = {"inconclusive"} if lost else set()
        return cast(Verdict, decisive({check.verdict for check in self.checks} | unknown))

    @property
    def exit_code(self) -> int:
        """0 parity or allowed, 1 diverged, suspect, worse or gone, 2 a bad target, 3 not proven."""
        unproven = any(map(self.blind_to, self.checks))
        unproven = unproven or any(one.differs for one in self.model_outputs)
        found = {"parity" if self.allows(check) else check.verdict for check in self.checks}
        lost = self.worse or self.gone
        code = 1 if lost else exit_code(found | ({"inconclusive"} if unproven else set()))
        return decisive_code({code, *(error.exit_code for error in self.errors)})

    def allows(self, check: Check) -> bool:
        """Whether a check diverged and is no failure: a known difference explains all of it."""
        return self.allow_known and bool(known_differences(check))

    def blind_to(self, check: Check) -> tuple[str, ...]:
        """The faults that a check fails for being blind to: none but where the report is strict."""
        spots = blind_spots(check) if self.strict else ()
        return tuple(spot.fault for spot in spots if spot.fault not in self.ignore)

    @property
    def summary(self) -> str:
        """One sentence that a person can act on, see `sentence`."""
        return self.sentence(replace(COMMAND_LINE, **self.set_by))

    @property
    def counts(self) -> str:
        """How many checks found what, and how many targets could not be checked."""
        if self.errors:
            found = [overall(self.checks)] if self.checks else []
            return "; ".join([unread(self.errors), *found])
        if not self.checks:
            return ": ".join(("nothing was compared", *self.notes))
        return overall(self.checks)

    @property
    def environment(self) -> dict[str, str | None]:
        """The versions that the numbers depend on, the platform and the device."""
        return environment(self.device)

    def __bool__(self) -> bool:
        """Whether everything was proven to be within rounding, or is allowed: exit code 0."""
        return self.exit_code == 0

    def __repr__(self) -> str:
        """One line: the verdict of how many checks, and why."""
        count = f"{len(self.checks)} check{'s' * (len(self.checks) != 1)}"
        return f"<Report of {count}: {self.summary}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the picture of the worst check, why, and all numbers folded away.

        Of nothing that was checked, the text.
        """
        from rnn_parity.report.pictures import standalone, worst

        text = f"<pre>{escape(str(self))}</pre>"
        if not self.checks:
            return text
        check = worst(self.checks)
        why = "\n".join(f"{heading:<10}{said}" for heading, said in findings(check))
        style = "white-space:pre-wrap;max-width:90ch"
        numbers = f"<details><summary>All numbers</summary>{text}</details>"
        return f'{standalone(check)}<pre style="{style}">{escape(shown_lines(why))}</pre>{numbers}'

    def document(self) -> Mapping[str, Any]:
        """The document `rnn-parity/1`."""
        return {
            "schema": self.schema,
            "tool": self.tool,
            "environment": self.environment,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "notes": self.notes,
            "errors": self.errors,
            "baseline": self.baseline,
            "model_outputs": self.model_outputs,
            "checks": self.checks,
        }

    def page(self, style: Style = PLAIN) -> Page:
        """A section for each check; a quiet page has its sentences alone.

        Notes without checks are in the summary.
        """
        names = replace(style.names, **self.set_by)
        style = replace(style, names=names)
        again = repeats(self.checks)
        # Before the sentence: what the sections look at is known to it.
        sections = (
            ()
            if style.quiet
            else tuple(
                replace(
                    section(check, style, self.blind_to(check), self.allows(check)),
                    repeats=i in again,
                )
                for i, check in enumerate(self.checks)
            )
        )
        words = Page(
            verdict=self.word,
            sentence=self.sentence(names),
            reason=self.reason(names),
            worse=self.lost,
            unseen=self.unseen,
            errors=tuple(map(error_line, self.errors)),
            files=tuple(error.path or "" for error in self.errors),
            unchecked=tuple((error_name(error), error.exit_code) for error in self.errors),
            code=self.exit_code,
        )
        if style.quiet:
            return words
        notes = [f"note: {note}" for note in self.notes if self.checks]
        passed = [c for c, one in zip(self.checks, sections, strict=True) if one.passed]
        return replace(
            words,
            title=self.title,
            header=(environment_line(self.environment), *notes),
            outputs=tuple(map(model_output, self.model_outputs)),
            overview=overview(self.checks, self.errors),
            changed=changes_table(self.baseline),
            sections=sections,
            level=None if self.checks or self.errors else "warning",
            of_passed=of_passed(passed, style.names),
        )

    def reason(self, names: OptionNames) -> str:
        """Why the exit code is not the one that the verdict alone gives; empty where it is."""
        reasons = [allowance(self.checks, names)] if self.allow_known else []
        unproven = self.passed or self.verdict == "inconclusive"
        reasons += [lost_outputs(self.model_outputs)] if unproven else []
        spots = dict.fromkeys(spot.fault for c in self.checks for spot in self.ignored(c))
        reasons += [f"Ignored here: {', '.join(spots)}."] if spots and self.passed else []
        return " ".join(filter(None, reasons))

    @property
    def lost(self) -> Facts:
        """What is gone and what got worse, each with that word."""
        found = ((GONE, self.gone), (WORSE, self.worse))
        return tuple((word, sentence) for word, some in found for sentence in some)

    @property
    def unseen(self) -> Facts:
        """What of it no check shows: what is gone, and what got worse and is in parity."""
        changes = self.baseline.changes if self.baseline else ()
        failed = [one for one in changes if one.now not in (None, "parity")]
        seen = {f"{one.check}: {one.summary}" for one in failed}
        return tuple(one for one in self.lost if one[1] not in seen)

    def ignored(self, check: Check) -> Sequence[BlindSpot]:
        """The blind spots that do not count, although the report is strict."""
        spots = blind_spots(check) if self.strict and self.ignore else ()
        return [spot for spot in spots if spot.fault in self.ignore]

    @property
    def passed(self) -> bool:
        """Whether no check is anything but in parity, or allowed."""
        return all(check.verdict == "parity" or self.allows(check) for check in self.checks)

    @property
    def blind(self) -> tuple[str, ...]:
        """The faults for which alone the report fails: no check could have seen them."""
        if not self.passed or self.errors:
            return ()
        return tuple(dict.fromkeys(fault for c in self.checks for fault in self.blind_to(c)))

    def sentence(self, names: OptionNames = COMMAND_LINE) -> str:
        """The verdict, its cause, what it is about, and why.

        Of several checks in parity, with the fewest effective bits.
        """
        word, blind = self.word, self.blind
        if len(self.checks) == 1 and word in (BLIND, self.checks[0].verdict):
            (check,) = self.checks
            return verdict_sentence(check, blind, names, check.subject.path or "")
        bits = [c.effective_bits for c in self.checks if c.effective_bits is not None]
        fewest = min(bits) if bits and self.verdict == "parity" else None
        if word == BLIND:
            return sentence(BLIND, f"{strictness(blind, names)}; {self.counts}", fewest)
        summary = f"{self.counts}{blind_to_all(self.checks)}"
        if word in (WORSE, GONE):
            summary = f"{worsened(self.worse, self.gone)}; {summary}"
        return sentence(word, summary, fewest, cause_of(self.checks))

    @property
    def word(self) -> str:
        """What the sentence begins with: the verdict, or what fails although all is in parity."""
        if self.verdict == "parity" and self.lost:
            return WORSE if self.worse else GONE
        if self.verdict == "inconclusive" and any(error.has_failed for error in self.errors):
            return FAILED
        return BLIND if self.blind else self.verdict


def joined(reports: Mapping[str, Report], errors: Sequence[TargetError]) -> Report:
    """One report of those on several targets, by their paths, beside what could not be checked.

    A target in which nothing was compared has a check that says so: it never counts as passed.
    """
    checks = [
        check
        for path, report in reports.items()
        for check in report.checks or ([] if report.errors else [nothing_compared(path, report)])
    ]
    devices = [report.device for report in reports.values() if report.device != "cpu"]
    notes = [note for report in reports.values() if report.checks for note in report.notes]
    return Report(
        tuple(checks),
        device=next(iter(devices), "cpu"),
        notes=tuple(dict.fromkeys(notes)),
        errors=(*(one for report in reports.values() for one in report.errors), *errors),
        model_outputs=tuple(one for report in reports.values() for one in report.model_outputs),
    )


def nothing_compared(path: str, report: Report) -> Check:
    """The check of a target that has nothing to check."""
    reason = "; ".join(report.notes) or "it has nothing to check"
    return Check(Subject("model", path), "inconclusive", f"not compared: {reason}")
