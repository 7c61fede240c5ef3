"""What a report on a sweep says, for a terminal of 80 columns and for GitHub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnn_parity.errors import shown
from rnn_parity.report.markup import annotation, escaped, grid
from rnn_parity.report.table import environment_line, painted, wrap
from rnn_parity.report.wording import explain, number, sentence
from rnn_parity.sweep.one import Status
from rnn_parity.sweep.run import Finding, Swept
from rnn_parity.sweep.space import OF_RUN, Configuration
from rnn_parity.system.environment import own_version

COUNTED: tuple[Status, ...] = (
    *("parity", "suspect", "diverged", "inconclusive"),
    *("failed", "refused"),
)
HEADERS = ("layer", "checks", *COUNTED)


@dataclass(frozen=True, eq=False)
class Text:
    """The sentences of a report, which are the same in every form, and the forms."""

    swept: Swept
    verdict: Status
    options: Mapping[str, Any]
    scripts: Mapping[Configuration, str]

    def table(self, colour: bool) -> str:
        """For a terminal."""
        counts = columns([[*HEADERS], *self.counts()])
        blocks = ["\n".join(map(wrap, self.header())), counts, wrap(self.speed())]
        for i, finding in enumerate(self.failures(), 1):
            about = [wrap(f"  {name:<10}{text}", " " * 12) for name, text in self.about(finding)]
            blocks.append("\n".join([wrap(f"{i}. {title(finding)}"), *about]))
        refused = [wrap(f"{count:>5}  {text}", " " * 7) for count, text in self.refusals()]
        blocks += ["\n".join([self.refused(), *refused])] if refused else []
        return "\n\n".join([*blocks, painted(wrap(self.sentence()), self.verdict, colour)])

    def markdown(self) -> str:
        """For a job summary."""
        first, *rest = map(escaped, self.header())
        blocks = [f"## {first}", f"**{escaped(self.sentence())}**", *rest]
        blocks += [grid(HEADERS, self.counts(), ("layer",)), escaped(self.speed())]
        for finding in self.failures():
            about = [f"- {name}: {escaped(text)}" for name, text in self.about(finding)]
            blocks += [f"### {escaped(title(finding))}", "\n".join(about)]
        refused = [f"- {count}: {escaped(text)}" for count, text in self.refusals()]
        return "\n\n".join(
            [*blocks, *(["\n".join([self.refused(), "", *refused])] if refused else [])]
        )

    def github(self) -> str:
        """Workflow annotations: errors where Keras is wrong, unknown so far, or a source failed."""
        lines = []
        for finding in self.failures():
            new = finding.verdict == "failed"
            new |= finding.verdict == "diverged" and finding.known is None
            about = [title(finding), *(f"{name}: {text}" for name, text in self.about(finding))]
            lines.append(annotation("error" if new else "warning", "rnn-parity", "\n".join(about)))
        return "\n".join([*lines, annotation("notice", "rnn-parity", self.sentence())])

    def header(self) -> list[str]:
        """The tool, the versions, and what is checked where that is not Keras itself."""
        lines = [f"rnn-parity {own_version()}", environment_line(self.swept.environment)]
        against = self.options["against"]
        return lines if against is None else [*lines, f"{against} in place of Keras"]

    def refuses(self) -> str:
        """Who may refuse a configuration."""
        against = self.options["against"]
        return "Keras" if against is None else f"Keras or {against}"

    def refused(self) -> str:
        """What stands above the refusals."""
        return shown(f"Refused by {self.refuses()}, for these reasons:")

    def counts(self) -> list[list[str]]:
        """A row for each layer."""
        rows: dict[str, Counter[str]] = {}
        for configuration, outcome in self.swept.outcomes.items():
            rows.setdefault(configuration.layer, Counter())[outcome.verdict] += 1
        return [
            [layer, str(found.total()), *(str(found[verdict]) for verdict in COUNTED)]
            for layer, found in rows.items()
        ]

    def speed(self) -> str:
        """How fast it went, all in all and in each mode."""
        swept = self.swept
        modes = [f"{mode} {number(speed)}" for mode, speed in swept.speeds.items()]
        before = len(swept.outcomes) - swept.new
        facts = [f"{before} checks were known from before"] if before else []
        if swept.new:
            speed = number(swept.new / swept.seconds)
            facts.append(f"{swept.new} checks in {swept.seconds:.0f} s, {speed} per second")
            facts[-1] += f" by {swept.workers} workers" * (swept.workers > 1)
        return f"{'; '.join(facts)}; each worker per second: {', '.join(modes)}"

    def failures(self) -> list[Finding]:
        """What was asked for and is not in parity."""
        return [finding for finding in self.swept.findings if finding.verdict != "refused"]

    def about(self, finding: Finding) -> Iterator[tuple[str, str]]:
        """What a finding is, each with its heading."""
        configuration, outcome, known = finding.configuration, finding.outcome, finding.known
        yield "smallest", named(configuration)
        yield "found", outcome.summary
        first = outcome.first_divergence
        if first is not None:
            digits = 17 if configuration["dtype"] == "float64" else 9
            yield "observed", f"{first.observed:.{digits}g}, expected {first.expected:.{digits}g}"
        yield from map(explain, finding.causes)
        if known is not None:
            yield from [("wrong", known.wrong), ("right", known.right), ("seen in", known.keras)]
        if configuration["open_size"] == "none":
            yield "again", command(configuration, self.options)
        if configuration in self.scripts:
            yield "script", self.scripts[configuration]

    def refusals(self) -> list[tuple[int, str]]:
        """What was refused, how often and in which words; equal ones together."""
        alike: dict[tuple[str, ...], list[Finding]] = {}
        for finding in self.swept.findings:
            if finding.verdict == "refused":
                changed, message = finding.configuration.changed, finding.outcome.summary
                for value in changed.values():
                    message = message.replace(str(value), "")
                alike.setdefault((message, *changed), []).append(finding)
        return [(sum(len(f.members) for f in found), refusal(found)) for found in alike.values()]

    def sentence(self) -> str:
        """The last line of every form."""
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
            parts.append(f"{counts['refused']} more were refused by {self.refuses()}")
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


def columns(rows: Sequence[Sequence[str]]) -> str:
    """A table of which the first row is the header, names on the left and numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (rows[0], ["-" * width for width in widths], *rows[1:])
    ]
    return "\n".join(lines)


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


def named(configuration: Configuration) -> str:
    """What matters of a configuration, in words."""
    options = [f"{name}={value}" for name, value in configuration.changed.items()]
    sizes = [f"{name} {value}" for name, value in configuration.sizes.items()]
    return f"{configuration.layer} with {', '.join([*options, *sizes])}"


def refusal(found: list[Finding]) -> str:
    """The options that were refused, with all of their values, and the first message."""
    values: dict[str, dict[str, None]] = {}
    for finding in found:
        for name, value in finding.configuration.changed.items():
            values.setdefault(name, {})[str(value)] = None
    options = ", ".join(f"{name}={'|'.join(ones)}" for name, ones in values.items())
    known = f" (known: {found[0].known.id})" if found[0].known else ""
    return f"{options or 'every option'}: {found[0].outcome.summary}{known}"


def command(configuration: Configuration, options: Mapping[str, Any]) -> str:
    """The command line that checks this configuration again."""
    words = ["rnn-parity check", f"--layer {configuration.kind}"]
    run = {"mode": configuration["mode"], **configuration.sizes}
    run |= {name: value for name, value in configuration.changed.items() if name in OF_RUN}
    words += [f"--{name.replace('_', '-')} {value}" for name, value in run.items()]
    words += [f"--arg {name}={value}" for name, value in configuration.arguments.items()]
    words += [f"--{name} {options[name]}" for name in ("seed", "against") if options[name]]
    return " ".join(words)
