"""The report on a sweep: its verdict, its exit code, and what it shows."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnn_parity.report.page import (
    PLAIN,
    TOOL,
    Counted,
    Level,
    Page,
    Renderable,
    Section,
    Style,
    Table,
)
from rnn_parity.report.report import Report
from rnn_parity.report.wording import caused, digits, environment_line, more, sentence
from rnn_parity.verdict.configuration import Configuration
from rnn_parity.verdict.order import Status, decisive, exit_code
from rnn_parity.verdict.plain_data import PlainData
from rnn_parity.verdict.results import Cause
from rnn_parity.verdict.sentences import number
from rnn_parity.verdict.sweep_results import NOT_COMPARED, Finding, Outcome, Swept

COUNTED: tuple[Status, ...] = (
    *("parity", "suspect", "diverged", "inconclusive"),
    *("failed", "refused"),
)
HEADERS = ("layer", "checked", *COUNTED)


@dataclass(frozen=True, eq=False)
class SweepReport(PlainData, Renderable):
    """What a sweep found, and the options under which it did.

    With `allow_known`, known mistakes of Keras's are no reason to fail.
    """

    swept: Swept
    options: Mapping[str, Any]
    allow_known: bool = False

    @property
    def verdict(self) -> Status:
        """The verdict that decides, of the sweep and of what turned up behind it."""
        swept = self.swept
        found = {outcome.verdict for outcome in swept.outcomes.values()}
        return decisive(found | {finding.verdict for finding in swept.findings})

    @property
    def exit_code(self) -> int:
        """0 parity, 1 diverged, suspect or failed, 3 nothing proven; what is allowed is parity."""
        swept = self.swept
        allowed = [finding for finding in swept.findings if self.allows(finding)]
        explained = {(one, finding.verdict) for finding in allowed for one in finding.members}
        explained -= {(one, "diverged") for one in swept.unexplained}
        found = {
            o.verdict for one, o in swept.outcomes.items() if (one, o.verdict) not in explained
        }
        found |= {finding.verdict for finding in swept.findings if not self.allows(finding)}
        return exit_code(found | ({"parity"} if allowed else set()))

    def allows(self, finding: Finding) -> bool:
        """Whether a finding is no reason to fail."""
        known = self.allow_known and finding.known is not None
        return known and finding.verdict in ("diverged", "inconclusive")

    def document(self) -> Mapping[str, Any]:
        """The document `rnn-parity/1` with all that was compared, and the key `sweep`."""
        swept = self.swept
        return {
            "schema": Report.schema,
            "tool": self.tool,
            "environment": swept.environment,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "notes": [note] if (note := few(swept)) else [],
            "checks": [self.check_entry(one, outcome) for one, outcome in swept.checked.items()],
            "sweep": {
                **self.options,
                "count": len(swept.outcomes),
                "checked": len(swept.checked),
                "verdicts": Counter(o.verdict for o in swept.outcomes.values()),
                "new": swept.new,
                "seconds": swept.seconds,
                "workers": swept.workers,
                "per_second": swept.new / swept.seconds if swept.new else None,
                "per_second_by_mode": swept.speeds,
                "findings": list(map(self.finding_entry, swept.findings)),
                "failed": self.messages("failed"),
                "refused": self.messages("refused"),
                "unexplained": [one.entry for one in swept.unexplained],
            },
        }

    def messages(self, status: Status) -> list[dict[str, Any]]:
        """What was not compared, and the last line of why."""
        return [
            {"configuration": one.entry, "message": outcome.summary}
            for one, outcome in self.swept.outcomes.items()
            if outcome.verdict == status
        ]

    def finding_entry(self, finding: Finding) -> dict[str, Any]:
        """An entry of `sweep.findings`."""
        return {
            "verdict": finding.verdict,
            "known": None if finding.known is None else finding.known.id,
            "smallest": self.check_entry(finding.configuration, finding.outcome, finding.causes),
            "count": len(finding.members),
            "configurations": [one.entry for one in finding.members],
            "script": self.swept.scripts.get(finding.configuration),
        }

    def check_entry(
        self, configuration: Configuration, outcome: Outcome, causes: Sequence[Cause] = ()
    ) -> dict[str, Any]:
        """An entry of `checks`: the worst call of one configuration, by another source or Keras.

        Causes are looked for in findings alone; everywhere else there are none.
        """
        against = self.options["against"]
        subject = {
            "kind": "generated",
            "path": None,
            "layer_class": configuration.layer_class,
            "layer_name": None,
            "config": configuration.arguments,
            "mode": configuration["mode"] if against is None else None,
            "against": against,
            "call": outcome.call,
        }
        found = {name: value for name, value in vars(outcome).items() if name != "call"}
        own = {"subject": subject, "configuration": configuration.entry, "causes": causes}
        sizes = {"shape": configuration.sizes, "dtype": configuration["dtype"]}
        return {**own, **sizes, **found, "timesteps": [], "final_state": [], "sensitivity": None}

    def page(self, style: Style = PLAIN) -> Page:
        """A row for each layer, a section for each finding, and what was refused."""
        words = Page(verdict=self.verdict, sentence=self.sentence, code=self.exit_code)
        if style.quiet:
            return words
        against = self.options["against"]
        failures = [finding for finding in self.swept.findings if finding.verdict != "refused"]
        refused = refusals(self.swept.findings)
        header = [environment_line(self.swept.environment)]
        header += [] if against is None else [f"{against} in place of Keras"]
        header += [f"only with {', '.join(only)}"] if (only := self.restrictions()) else []
        return replace(
            words,
            title=self.title,
            header=tuple(header),
            overview=Table(HEADERS, (self.counts(),), left=(0,)),
            remarks=(self.speed(), *self.leaving_out()),
            sections=tuple(map(self.section, failures)),
            counted=Counted(f"Refused by {self.refuser}, for these reasons:", refused)
            if refused
            else None,
            level="notice",
        )

    def restrictions(self) -> list[str]:
        """What the sweep was asked for alone."""
        found: Mapping[str, Sequence[object]] = self.options.get("restricted", {})
        return [f"{name}={' or '.join(map(str, values))}" for name, values in found.items()]

    @property
    def refuser(self) -> str:
        """Who may refuse a configuration."""
        against = self.options["against"]
        return "Keras" if against is None else f"Keras or {against}"

    def counts(self) -> list[list[str]]:
        """A row for each layer: what was checked, what came of it, and what was not."""
        rows: dict[str, Counter[str]] = {}
        for configuration, outcome in self.swept.outcomes.items():
            rows.setdefault(configuration.layer, Counter())[outcome.verdict] += 1
        checked = {one: sum(rows[one][v] for v in COUNTED if v not in NOT_COMPARED) for one in rows}
        return [
            [layer, str(checked[layer]), *(str(found[verdict]) for verdict in COUNTED)]
            for layer, found in rows.items()
        ]

    def leaving_out(self) -> tuple[str, ...]:
        """The options with which another implementation is asked for what it does alone."""
        refused: dict[str, dict[str, None]] = {}
        for finding in self.swept.findings:
            if finding.verdict == "refused" and len(finding.configuration.varied) == 1:
                ((name, value),) = finding.configuration.varied.items()
                refused.setdefault(name, {})[str(value)] = None
        if self.options["against"] is None or not self.swept.checked:
            return ()
        options = [self.option_without(name, list(values)) for name, values in refused.items()]
        return (f"without what is refused by itself: {' '.join(options)}",) if options else ()

    def option_without(self, name: str, refused: Sequence[str]) -> str:
        """The shortest option of a sweep that leaves these values of an option out."""
        checked = dict.fromkeys(str(one[name]) for one in self.swept.checked)
        if len(checked) == 1:
            return f"--exclude {name}"
        some = (f"--arg {name}={','.join(checked)}", f"--exclude {name}={','.join(refused)}")
        return min(some, key=len)

    def speed(self) -> str:
        """How fast it went, all in all and in each mode."""
        swept = self.swept
        modes = [f"{mode} {number(speed)}" for mode, speed in swept.speeds.items()]
        before = len(swept.outcomes) - swept.new
        facts = [f"{before} configurations were known from before"] if before else []
        if swept.new:
            speed = number(swept.new / swept.seconds)
            facts.append(f"{swept.new} configurations in {swept.seconds:.0f} s, {speed} per second")
            facts[-1] += f" by {swept.workers} workers" * (swept.workers > 1)
        return f"{'; '.join(facts)}; each worker per second: {', '.join(modes)}"

    def section(self, finding: Finding) -> Section:
        """A finding: an error where it is not known, or where a source failed."""
        new = finding.verdict == "failed"
        new |= finding.verdict == "diverged" and finding.known is None
        level: Level = "error" if new else "warning"
        facts = tuple(self.facts(finding))
        code = 0 if self.allows(finding) else exit_code([finding.verdict])
        return Section(title(finding), TOOL, level, finding.verdict, findings=facts, code=code)

    def facts(self, finding: Finding) -> Iterator[tuple[str, str]]:
        """What a finding is, each fact with its heading."""
        configuration, outcome, known = finding.configuration, finding.outcome, finding.known
        yield "smallest", described(configuration)
        yield "found", outcome.summary
        first = outcome.first_divergence
        if first is not None:
            form = digits(configuration["dtype"])
            yield "observed", f"{first.observed:{form}}, expected {first.expected:{form}}"
        # What is known is said in full below.
        yield from caused(c for c in finding.causes if known is None or c.fault != known.id)
        if known is not None:
            yield from [("wrong", known.wrong), ("right", known.right), ("seen in", known.versions)]
            yield more(known.id)
        if configuration["open_size"] == "none":
            yield "again", self.again(finding.telling or configuration)
        if configuration in self.swept.scripts:
            yield "script", self.swept.scripts[configuration]

    def again(self, configuration: Configuration) -> str:
        """The command that checks a configuration by itself, on the same data."""
        given = {name: self.options[name] for name in ("seed", "against")}
        words = list(configuration.words)
        if given["against"] is not None:
            at = words.index("--mode")  # how Keras runs it is nothing to another implementation
            del words[at : at + 2]
        words += [word for n, value in given.items() if value for word in (f"--{n}", str(value))]
        return shlex.join(words)

    @property
    def sentence(self) -> str:
        """The verdict, and how many checks found what for how many reasons."""
        counts = Counter(outcome.verdict for outcome in self.swept.outcomes.values())
        parts = list(filter(None, [few(self.swept)]))
        parts.append(f"of {len(self.swept.checked)} checks, {counts['parity']} in parity")
        for verdict in ("suspect", "inconclusive", "diverged"):
            if counts[verdict]:
                parts.append(f"{counts[verdict]} {verdict}{self.reasons(verdict)}")
        if counts["failed"]:
            against = self.options["against"]
            parts.append(f"{counts['failed']} more failed in {against}{self.reasons('failed')}")
        if counts["refused"]:
            parts.append(f"{counts['refused']} more were refused by {self.refuser}")
        if self.swept.unexplained:
            parts.append(f"{len(self.swept.unexplained)} were not looked into")
        return sentence(self.verdict, "; ".join(parts))

    def reasons(self, verdict: str) -> str:
        """For how many reasons, and how many of them are known."""
        found = [finding for finding in self.swept.findings if finding.verdict == verdict]
        if not found:
            return ""
        known = sum(finding.known is not None for finding in found)
        which = f", {known} of them known" if known else ""
        return f" (for {len(found)} reason{'s' * (len(found) > 1)}{which})"


def few(swept: Swept) -> str:
    """What is said where fewer than half of the configurations came to a check; else nothing."""
    checked, total = len(swept.checked), len(swept.outcomes)
    if 2 * checked >= total:
        return ""
    return f"fewer than half of the configurations were checked, {checked} of {total}"


def title(finding: Finding) -> str:
    """The verdict, whether Keras is known for it, and how often it was met."""
    known = f", known: {finding.known.id}" if finding.known else ""
    count = len(finding.members)
    return f"{finding.verdict.upper()}{known}, in {count} configuration{'s' * (count != 1)}"


def described(configuration: Configuration) -> str:
    """What matters of a configuration, in words."""
    options = [f"{name}={value}" for name, value in configuration.changed.items()]
    sizes = [f"{name} {value}" for name, value in configuration.sizes.items()]
    return f"{configuration.layer} with {', '.join([*options, *sizes])}"


def refusals(findings: Sequence[Finding]) -> list[tuple[int, str]]:
    """What was refused, how often and in which words; equal ones together."""
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        if finding.verdict == "refused":
            changed, message = finding.configuration.varied, finding.outcome.summary
            for value in changed.values():
                message = message.replace(str(value), "")
            alike.setdefault((message, *changed), []).append(finding)
    return [(sum(len(f.members) for f in found), refusal(found)) for found in alike.values()]


def refusal(found: Sequence[Finding]) -> str:
    """The options that were refused, with all of their values, and the first message."""
    values: dict[str, dict[str, None]] = {}
    for finding in found:
        for name, value in finding.configuration.varied.items():
            values.setdefault(name, {})[str(value)] = None
    options = " and ".join(f"{name}={', '.join(ones)}" for name, ones in values.items())
    known = f" (known: {found[0].known.id})" if found[0].known else ""
    return f"{options or 'every option'}: {found[0].outcome.summary}{known}"
