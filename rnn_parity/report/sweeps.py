"""The report on a sweep: its verdict, its exit code, and what it shows."""

from __future__ import annotations

import shlex
import textwrap
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
from rnn_parity.system.choices import MODES
from rnn_parity.verdict.configuration import Configuration
from rnn_parity.verdict.order import Status, decisive, exit_code
from rnn_parity.verdict.plain_data import PlainData
from rnn_parity.verdict.results import Cause
from rnn_parity.verdict.sentences import number
from rnn_parity.verdict.sweep_results import Finding, Outcome, Swept

COUNTED: tuple[Status, ...] = (
    *("parity", "suspect", "diverged", "inconclusive"),
    *("failed", "refused"),
)
HEADERS = ("layer", "total", *COUNTED)
MOST_VALUES = 6
"""How many values of an option are listed where it is refused."""
MOST_OF_MESSAGE = 200
"""How much of a message with which something is refused is shown: TensorFlow's may be a page."""
MOST_IN_OPTION = 50
"""How long the values of one option in a command are: longer ones would be broken in the middle."""


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
                "looked_into": swept.looked_into,
                "seconds_of_looking": swept.seconds_of_looking,
                "not_handed_over": swept.not_handed_over,
                "left_out": [
                    {
                        "configuration": one.configuration.entry,
                        "message": one.outcome.summary,
                        "known": None if one.known is None else one.known.id,
                    }
                    for one in swept.left_out
                ],
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
            "behind": [one.entry for one in finding.behind],
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
        header = [environment_line(self.swept.environment)]
        header += [] if against is None else [f"what {against} computes, in place of Keras"]
        header += [text] if (text := self.restrictions()) else []
        return replace(
            words,
            title=self.title,
            header=tuple(header),
            overview=Table(HEADERS, (self.counts(),), left=(0,)),
            remarks=(self.speed(), *self.not_handed_over(), *self.leaving_out()),
            sections=tuple(map(self.section, failures)),
            counted=tuple(self.refused()),
            level="notice",
        )

    def refused(self) -> Iterator[Counted]:
        """What was asked for and refused, and what Keras refuses and was not asked for."""
        if found := refusals(self.swept.findings, self.options["against"] or ""):
            yield Counted(f"Refused by {self.refuser}:", found)
        if found := refusals(self.swept.left_out):
            heading = "Left out, because Keras refuses these options together:"
            yield Counted(heading, [(None, text) for _, text in found])

    def restrictions(self) -> str:
        """The values to which the sweep was confined, or those that it was without, if fewer."""
        kept: Mapping[str, Sequence[object]] = self.options.get("restricted", {})
        dropped: Mapping[str, Sequence[object]] = self.options.get("excluded", {})
        without = {n: vs for n, vs in dropped.items() if len(vs) < len(kept[n])}
        only = {name: values for name, values in kept.items() if name not in without}

        def listed(options: Mapping[str, Sequence[object]]) -> str:
            return ", ".join(f"{n}={' or '.join(map(str, vs))}" for n, vs in options.items())

        parts = (("only with", only), ("without", without))
        return "; ".join(f"{word} {listed(options)}" for word, options in parts if options)

    @property
    def refuser(self) -> str:
        """Who refused what was refused; a source's refusals begin with its name."""
        against = self.options["against"]
        refused = [o for o in self.swept.outcomes.values() if o.verdict == "refused"]
        by_source = [against and one.summary.startswith(f"{against}: ") for one in refused]
        names = ("Keras" if not all(by_source) else None, against if any(by_source) else None)
        return " or ".join(filter(None, names)) or "Keras"

    def counts(self) -> list[list[str]]:
        """A row for each layer: how many configurations, and what came of how many of them."""
        rows: dict[str, Counter[str]] = {}
        for configuration, outcome in self.swept.outcomes.items():
            rows.setdefault(configuration.layer, Counter())[outcome.verdict] += 1
        return [
            [layer, str(found.total()), *(str(found[verdict]) for verdict in COUNTED)]
            for layer, found in rows.items()
        ]

    def not_handed_over(self) -> tuple[str, ...]:
        """The options that were not combined, since a function would not be told of them."""
        found = self.swept.not_handed_over.items()
        parts = [f"{', '.join(options)}, its signature has no {name}" for name, options in found]
        return (f"left out: {'; '.join(parts)}",) if parts else ()

    def leaving_out(self) -> tuple[str, ...]:
        """The options with which another implementation is asked for what it does alone."""
        refused: dict[str, dict[str, None]] = {}
        for one, outcome in self.swept.outcomes.items():
            if outcome.verdict == "refused" and is_alone(one):
                ((name, value),) = one.varied.items()
                refused.setdefault(name, {})[str(value)] = None
        if self.options["against"] is None or not self.swept.checked:
            return ()
        options = [self.option_without(name, list(values)) for name, values in refused.items()]
        if not options:
            return ()
        return (f"options that leave out what is refused by itself: {' '.join(options)}",)

    def option_without(self, name: str, refused: Sequence[str]) -> str:
        """The shortest options of a sweep that leave these values of an option out."""
        checked = dict.fromkeys(str(one[name]) for one in self.swept.checked)
        if len(checked) == 1:
            return f"--exclude {name}"
        without = " ".join(f"--exclude {name}={piece}" for piece in in_pieces(refused))
        only = list(in_pieces(list(checked)))
        # --arg names an option once, --exclude as often as one likes.
        return min(
            [f"--arg {name}={piece}" for piece in only[: len(only) == 1]] + [without], key=len
        )

    def speed(self) -> str:
        """How fast it went, all in all and in each mode, and what else was done."""
        swept = self.swept
        before = len(swept.outcomes) - swept.new
        facts = [f"{configurations(before)} taken from the results file"] if before else []
        if swept.new:
            speed = f"{number(swept.new / swept.seconds)} per second"
            speed += f" by {swept.workers} workers" * (swept.workers > 1)
            facts.append(f"{configurations(swept.new)} in {swept.seconds:.0f} s, {speed}")
        # How Keras runs a layer is nothing to another implementation.
        modes = MODES if self.options["against"] is None else ()
        speeds = ", ".join(f"{m} {number(swept.speeds[m])}" for m in modes if m in swept.speeds)
        facts += [f"one worker per second: {speeds}"] if speeds else []
        if swept.looked_into:
            checks = f"{swept.looked_into} more check{'s' * (swept.looked_into > 1)}"
            time = f" in {swept.seconds_of_looking:.0f} s" * bool(swept.seconds_of_looking)
            facts.append(f"{checks}, not counted here, looked into what failed{time}")
        return "; ".join(facts)

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
        yield "example", described(configuration)
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
            yield "again", self.again(configuration)
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
        """The verdict, and what came of how many configurations, for how many reasons."""
        swept, words = self.swept, {"parity": "in parity", "failed": "failed"}
        words["refused"] = f"refused by {self.refuser}"
        counts = Counter(outcome.verdict for outcome in swept.outcomes.values())
        found = [
            f"{counts[verdict]} {words.get(verdict, verdict)}{self.reasons(verdict)}"
            for verdict in COUNTED
            if counts[verdict] or verdict == "parity"
        ]
        parts = [f"of {configurations(len(swept.outcomes))}, {', '.join(found)}"]
        if hidden := sum(not finding.members for finding in swept.findings):
            parts.append(f"{hidden} more finding{'s' * (hidden > 1)} behind what failed")
        if swept.unexplained:
            parts.append(f"{len(swept.unexplained)} of them not looked into")
        return sentence(self.verdict, "; ".join(filter(None, [few(swept), *parts])))

    def reasons(self, verdict: str) -> str:
        """For how many reasons, and how many of them are known."""
        found = [f for f in self.swept.findings if f.verdict == verdict and f.members]
        if not found or verdict == "refused":
            return ""
        known, count = sum(finding.known is not None for finding in found), len(found)
        if known == count:
            return f" ({count} known reason{'s' * (count > 1)})"
        which = f", {known} known" if known else ""
        return f" ({count} reason{'s' * (count > 1)}{which})"


def configurations(count: int) -> str:
    """So many configurations, in words."""
    return f"{count} configuration{'s' * (count != 1)}"


def some(values: Sequence[str]) -> str:
    """The first of these values, and how many more there are."""
    rest = len(values) - MOST_VALUES
    return ", ".join(values if rest <= 0 else [*values[:MOST_VALUES], f"{rest} more"])


def in_pieces(values: Sequence[str]) -> Iterator[str]:
    """Values with commas between them, in as many pieces as lines need to stay whole."""
    piece = ""
    for value in values:
        if piece and len(piece) + len(value) >= MOST_IN_OPTION:
            yield piece
            piece = ""
        piece += ("," if piece else "") + value
    yield piece


def few(swept: Swept) -> str:
    """What is said where fewer than half of the configurations came to a check; else nothing."""
    checked, total = len(swept.checked), len(swept.outcomes)
    if 2 * checked >= total:
        return ""
    return f"fewer than half of the configurations were checked, {checked} of {total}"


def title(finding: Finding) -> str:
    """The verdict, whether Keras is known for it, and how often it was met."""
    known = f", known: {finding.known.id}" if finding.known else ""
    count, behind = len(finding.members), len(finding.behind)
    places = [f"in {configurations(count)}"] if count else []
    places += [f"behind another failure in {behind}{' more' * bool(count)}"] if behind else []
    return f"{finding.verdict.upper()}{known}, {', '.join(places) or 'behind what was refused'}"


def described(configuration: Configuration) -> str:
    """What matters of a configuration, in words."""
    options = [f"{name}={value}" for name, value in configuration.changed.items()]
    sizes = [f"{name} {value}" for name, value in configuration.sizes.items()]
    return f"{configuration.layer} with {', '.join([*options, *sizes])}"


def is_alone(one: Configuration) -> bool:
    """Whether a single option, which is no size, has another value than the simplest."""
    return len(one.varied) == 1 and one == one.but(dict(one.simplest)).but(one.varied)


def refusals(findings: Sequence[Finding], against: str = "") -> list[tuple[int, str]]:
    """What was refused, how often and in which words; equal ones together.

    The words of `against` begin with its name, which a heading says already.
    """
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        if finding.verdict == "refused":
            changed, message = finding.configuration.varied, finding.outcome.summary
            for value in changed.values():
                message = message.replace(str(value), "")
            alike.setdefault((message, *changed), []).append(finding)
    return [
        (sum(len(f.members) for f in found), refusal(found, against)) for found in alike.values()
    ]


def refusal(found: Sequence[Finding], against: str) -> str:
    """The options that were refused, with some of their values, and the first message."""
    values: dict[str, dict[str, None]] = {}
    for finding in found:
        for one in finding.members or [finding.configuration]:
            for name in finding.configuration.varied:
                values.setdefault(name, {})[str(one[name])] = None
    options = " and ".join(f"{name}={some(list(ones))}" for name, ones in values.items())
    known = f" (known: {found[0].known.id})" if found[0].known else ""
    message = found[0].outcome.summary.removeprefix(f"{against}: ")
    message = textwrap.shorten(message, MOST_OF_MESSAGE, placeholder=" …")
    return f"{options or 'whatever the options'}: {message}{known}"
