"""The report on a sweep: its verdict, its exit code, and the JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnn_parity.errors import InputError, without_commands
from rnn_parity.report.report import FORMATS, Report
from rnn_parity.report.report import as_json as dumped
from rnn_parity.sweep.journal import as_json
from rnn_parity.sweep.one import WORST_FIRST, Outcome, Status
from rnn_parity.sweep.run import Finding, Swept
from rnn_parity.sweep.space import CLASSES, Configuration
from rnn_parity.sweep.text import Text, few
from rnn_parity.verdict.results import Cause


@dataclass(frozen=True, eq=False)
class SweepReport:
    """What a sweep found, and the options under which it did.

    With `allow_known`, known mistakes of Keras's are no reason to fail. `scripts` are the files
    that were written, by the smallest configurations that they run.
    """

    swept: Swept
    options: Mapping[str, Any]
    allow_known: bool = False
    scripts: Mapping[Configuration, str] = field(default_factory=dict)

    @property
    def verdicts(self) -> set[Status]:
        """All that occur, in the sweep and behind it."""
        swept = self.swept
        found = {outcome.verdict for outcome in swept.outcomes.values()}
        return (found | {finding.verdict for finding in swept.findings}) - {"refused"}

    @property
    def verdict(self) -> Status:
        """The verdict that decides, as in a `Report`; what Keras refused has none.

        Where a source failed and nothing diverged it is "failed".
        """
        found = self.verdicts or {"inconclusive"}
        return next(verdict for verdict in WORST_FIRST if verdict in found)

    @property
    def new(self) -> bool:
        """Whether anything diverged that is not known, as far as it was looked into."""
        swept = self.swept
        rest = any(swept.outcomes[one].verdict == "diverged" for one in swept.unexplained)
        return rest or any(f.verdict == "diverged" and f.known is None for f in swept.findings)

    @property
    def unproven(self) -> bool:
        """Whether anything is inconclusive for a reason that is not known, where that matters."""
        found = [f for f in self.swept.findings if f.verdict == "inconclusive"]
        known = [f for f in found if self.allow_known and f.known is not None]
        explained = {one for finding in known for one in finding.members}
        outcomes = self.swept.outcomes.items()
        rest = any(o.verdict == "inconclusive" and one not in explained for one, o in outcomes)
        return rest or len(known) < len(found)

    @property
    def exit_code(self) -> int:
        """0 parity, 1 diverged, suspect or failed, 3 nothing proven, as in a `Report`."""
        if "failed" in self.verdicts or "suspect" in self.verdicts:
            return 1
        if self.new or ("diverged" in self.verdicts and not self.allow_known):
            return 1
        return 3 if self.unproven or not self.verdicts else 0

    def render(self, format: str = "table", *, colour: bool = False) -> str:
        """The report as `table`, `json`, `markdown` or `github`, without a last newline.

        Raises `InputError` for another format.
        """
        if format not in FORMATS:
            raise InputError(f"format: expected one of {', '.join(FORMATS)}, received {format!r}")
        if format == "json":
            return self.to_json()
        text = Text(self.swept, self.verdict, self.options, self.scripts)
        if format == "github":
            return text.github()
        return without_commands(text.table(colour) if format == "table" else text.markdown())

    def to_json(self) -> str:
        """The document `rnn-parity/1` with all that was compared, and the key `sweep`."""
        swept, empty = self.swept, Report(())
        document = {
            "schema": Report.schema,
            "tool": empty.tool,
            "environment": swept.environment,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "notes": [note] if (note := few(swept)) else [],
            "checks": [self._check(one, outcome) for one, outcome in swept.checked.items()],
            "sweep": {
                **self.options,
                "count": len(swept.outcomes),
                "verdicts": Counter(o.verdict for o in swept.outcomes.values()),
                "new": swept.new,
                "seconds": swept.seconds,
                "workers": swept.workers,
                "per_second": swept.new / swept.seconds if swept.new else None,
                "per_second_by_mode": swept.speeds,
                "findings": list(map(self._finding, swept.findings)),
                "failed": self._messages("failed"),
                "refused": self._messages("refused"),
                "unexplained": list(map(as_json, swept.unexplained)),
            },
        }
        return dumped(document)

    def _messages(self, status: Status) -> list[dict[str, Any]]:
        """What was not compared, and the last line of why."""
        return [
            {"configuration": as_json(one), "message": outcome.summary}
            for one, outcome in self.swept.outcomes.items()
            if outcome.verdict == status
        ]

    def _check(
        self, configuration: Configuration, outcome: Outcome, causes: Sequence[Cause] = ()
    ) -> dict[str, Any]:
        return check(configuration, outcome, causes, self.options["against"])

    def _finding(self, finding: Finding) -> dict[str, Any]:
        return {
            "verdict": finding.verdict,
            "known": None if finding.known is None else finding.known.id,
            "smallest": self._check(finding.configuration, finding.outcome, finding.causes),
            "count": len(finding.members),
            "configurations": list(map(as_json, finding.members)),
            "script": self.scripts.get(finding.configuration),
        }


def check(
    configuration: Configuration, outcome: Outcome, causes: Sequence[Cause], against: str | None
) -> dict[str, Any]:
    """An entry of `checks`: the worst call of one configuration, computed by `against` or Keras.

    Causes are looked for in findings alone; everywhere else there are none.
    """
    subject = {
        "kind": "generated",
        "path": None,
        "layer_class": CLASSES[configuration.layer],
        "layer_name": None,
        "config": configuration.arguments,
        "mode": configuration["mode"] if against is None else None,
        "against": against,
        "call": outcome.call,
    }
    found = {name: value for name, value in vars(outcome).items() if name != "call"}
    own = {"subject": subject, "configuration": as_json(configuration), "causes": causes}
    sizes = {"shape": configuration.sizes, "dtype": configuration["dtype"]}
    return {**own, **sizes, **found, "timesteps": [], "final_state": [], "sensitivity": None}
