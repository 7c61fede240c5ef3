"""Hundreds of failures as a few findings: equal causes stand together.

A failure belongs to a known cause when it has the options that matter there. To be sure that it
hides nothing else, each of these options in turn is given its default: what still fails then is a
failure of its own, and is looked into like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rnn_parity.sweep.shrink import shrink
from rnn_parity.sweep.space import Configuration, Value
from rnn_parity.verdict.order import Status
from rnn_parity.verdict.sweep_results import Outcome

Run = Callable[[Sequence[Configuration]], Mapping[Configuration, Outcome]]

MOST_GROUPS = 60
"""So many causes are looked into; with more of them, nothing is right."""


@dataclass
class Group:
    """Failures with one cause: the smallest configuration that shows it, and who else does.

    `forms` are the options that matter, with the values with which they were met.
    """

    smallest: Configuration
    verdict: Status
    forms: list[Mapping[str, Value]] = field(default_factory=list)
    members: dict[Configuration, None] = field(default_factory=dict)

    def form_of(self, failure: Failure) -> Mapping[str, Value] | None:
        """The form that the failure has, if it has one."""
        forms = self.forms if failure.verdict == self.verdict else []
        return next(filter(failure.configuration.has, forms), None)


class Failure(NamedTuple):
    """A configuration that fails, and the one of the sweep that it comes from."""

    configuration: Configuration
    verdict: Status
    origin: Configuration


def grouped(
    outcomes: Mapping[Configuration, Outcome], run: Run, at_once: int = 1
) -> tuple[list[Group], list[Configuration]]:
    """The causes of what failed, and what was not looked into because they were too many.

    `run` gives the outcomes of more configurations, so many `at_once`; it may know them already.
    """
    groups: list[Group] = []
    waiting = [Failure(c, o.verdict, c) for c, o in outcomes.items() if o.verdict != "parity"]
    while waiting:
        explained, waiting = split(waiting, groups)
        waiting += hidden(explained, run)
        if waiting and not explained:
            if len(groups) == MOST_GROUPS:
                break
            add_group(groups, waiting[0], run, at_once)
    return groups, list(dict.fromkeys(failure.origin for failure in waiting))


def split(
    waiting: Sequence[Failure], groups: Sequence[Group]
) -> tuple[list[tuple[Failure, Mapping[str, Value]]], list[Failure]]:
    """The failures that a group explains, each with its form there, and the others."""
    explained, others = [], []
    for failure in waiting:
        found = ((group, group.form_of(failure)) for group in groups)
        group, form = next((pair for pair in found if pair[1] is not None), (None, None))
        if group is None or form is None:
            others.append(failure)
        else:
            group.members[failure.origin] = None
            explained.append((failure, form))
    return explained, others


def hidden(explained: Sequence[tuple[Failure, Mapping[str, Value]]], run: Run) -> list[Failure]:
    """What still fails when one of the options that explain a failure has its default."""
    origins = {
        (failure.configuration.without(name), failure.origin): None
        for failure, form in explained
        for name in form
    }
    outcomes = run(list(dict.fromkeys(one for one, _ in origins)))
    found = [Failure(one, outcomes[one].verdict, origin) for one, origin in origins]
    return [failure for failure in found if failure.verdict != "parity"]


def add_group(groups: list[Group], failure: Failure, run: Run, at_once: int) -> None:
    """Find out what matters of a failure: a new form of a known group, or a new group."""

    def first(ones: Sequence[Configuration]) -> Configuration | None:
        for start in range(0, len(ones), at_once):
            some = ones[start : start + at_once]
            outcomes = run(some)
            shown = (one for one in some if outcomes[one].verdict == failure.verdict)
            if (found := next(shown, None)) is not None:
                return found
        return None

    smallest = shrink(failure.configuration, first)
    known = (g for g in groups if (g.smallest, g.verdict) == (smallest, failure.verdict))
    group = next(known, None)
    if group is None:
        group = Group(smallest, failure.verdict)
        groups.append(group)
    group.forms.append({name: failure.configuration[name] for name in smallest.changed})
