"""Hundreds of failures as a few findings, each shown by the smallest configuration.

Equal causes stand together: a failure belongs to a known cause when it has the options that matter
there. To be sure that it hides nothing else, each of these options in turn is given its default:
what still fails then is a failure of its own, and is looked into like the others.

The smallest configuration is found by delta debugging (Zeller and Hildebrandt, *Simplifying and
isolating failure-inducing input*, IEEE Transactions on Software Engineering 28, 2002) on the
options that do not have their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rnn_parity.sweep.space import SIZES, SPACES, Configuration, Value
from rnn_parity.verdict.order import Status
from rnn_parity.verdict.sweep_results import Outcome

OutcomesOf = Callable[[Sequence[Configuration]], Mapping[Configuration, Outcome]]
"""The outcomes of some configurations, and maybe of more."""

MOST_GROUPS = 60
"""How many causes are looked into; with more of them, nothing is right."""

First = Callable[[Sequence[Configuration]], Configuration | None]
"""The first of some configurations that shows it; None where none does."""

FUNCTIONS = ("activation", "recurrent_activation")
"""Options each value of which may be wrong by itself."""
SEVERAL = 3
"""How many functions must show it before one of them stands for another: chosen."""
MIRRORED = {"left": "right", "right": "left"}
"""What a mask is to a layer that runs backwards, for one that runs forwards."""


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
    outcomes: Mapping[Configuration, Outcome], outcomes_of: OutcomesOf, at_once: int = 1
) -> tuple[list[Group], list[Configuration]]:
    """The causes of what failed, and what was not looked into because they were too many.

    `outcomes_of` is asked for more configurations, `at_once` of them at a time.
    """
    groups: list[Group] = []
    waiting = [Failure(c, o.verdict, c) for c, o in outcomes.items() if o.verdict != "parity"]
    while waiting:
        explained, waiting = split(waiting, groups)
        waiting += hidden(explained, outcomes_of)
        if waiting and not explained:
            if len(groups) == MOST_GROUPS:
                break
            add_group(groups, waiting[0], outcomes_of, at_once)
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


def hidden(
    explained: Sequence[tuple[Failure, Mapping[str, Value]]], outcomes_of: OutcomesOf
) -> list[Failure]:
    """What still fails when one of the options that explain a failure has its default."""
    origins = {
        (failure.configuration.without(name), failure.origin): None
        for failure, form in explained
        for name in form
    }
    outcomes = outcomes_of(list(dict.fromkeys(one for one, _ in origins)))
    found = [Failure(one, outcomes[one].verdict, origin) for one, origin in origins]
    return [failure for failure in found if failure.verdict != "parity"]


def add_group(groups: list[Group], failure: Failure, outcomes_of: OutcomesOf, at_once: int) -> None:
    """Find out what matters of a failure: a new form of a known group, or a new group."""

    def first(ones: Sequence[Configuration]) -> Configuration | None:
        for start in range(0, len(ones), at_once):
            some = ones[start : start + at_once]
            outcomes = outcomes_of(some)
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


def shrink(configuration: Configuration, first: First) -> Configuration:
    """The smallest configuration found: every option that does not matter has its default.

    Those that matter have the first value, and every size is the smallest, with which it shows.
    """
    while True:
        smaller = forwards(fewest_options(configuration, first), first)
        smaller = smallest_sizes(first_values(smaller, first), first)
        if smaller == configuration:
            return smaller
        configuration = smaller


def forwards(configuration: Configuration, first: First) -> Configuration:
    """Forwards with the mirrored mask, where that shows it too: it is the same thing, only simpler.

    `fewest_options` does not find it, for it leaves what it keeps as it is.
    """
    mirror = MIRRORED.get(str(configuration["mask"]))
    if not configuration["go_backwards"] or mirror not in SPACES[configuration.layer]["mask"]:
        return configuration
    simpler = configuration.without("go_backwards").but({"mask": mirror})
    return first([simpler]) or configuration


def fewest_options(configuration: Configuration, first: First) -> Configuration:
    """The algorithm ddmin: no single remaining option can be given its default."""
    default = Configuration.default(configuration.layer)
    kept, parts = list(configuration.changed), 2

    def only(names: list[str]) -> Configuration:
        return configuration.but({n: default[n] for n in configuration.changed if n not in names})

    if first([only([])]):
        return only([])
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        pieces = [kept[i : i + size] for i in range(0, len(kept), size)]
        without = [[name for name in kept if name not in piece] for piece in pieces]
        tries = [*pieces, *without] if parts > 2 else pieces
        smaller = [only(names) for names in tries]
        shown = first(smaller)
        if shown is not None:
            found = tries[smaller.index(shown)]
            parts = 2 if found in pieces else max(parts - 1, 2)
            kept = found
        elif parts >= len(kept):
            break
        else:
            parts = min(2 * parts, len(kept))
    return only(kept)


def first_values(configuration: Configuration, first: First) -> Configuration:
    """Every option that matters with its first value, after the default, that shows it.

    A function may be wrong by itself: it makes place for another only where several show the same.
    """
    space = SPACES[configuration.layer]
    for name, value in configuration.changed.items():
        before = [configuration.but({name: v}) for v in space[name][1 : space[name].index(value)]]
        if name in FUNCTIONS and not all(first([one]) for one in before[:SEVERAL]):
            continue
        configuration = first(before) or configuration
    return configuration


def smallest_sizes(configuration: Configuration, first: First) -> Configuration:
    """Every size as small as possible, one after the other."""
    for name in SIZES:
        tries = [configuration.but({name: n}) for n in range(1, int(configuration[name]))]
        configuration = first(tries) or configuration
    return configuration
