"""A sweep from its options to what it found: hundreds of failures as a few findings.

Equal causes stand together: a failure belongs to a known cause when it has the options that matter
there. To be sure that it hides nothing else, each of these options in turn is given its default:
what still fails then is a failure of its own, and is looked into like the others. Of bounds that
are too wide in 16 bits, the dtype alone is the cause: any other option may tip the scale.

A finding is shown by the simplest configuration, which delta debugging finds (Zeller and
Hildebrandt, *Simplifying and isolating failure-inducing input*, IEEE Transactions on Software
Engineering 28, 2002) on the options that do not have their defaults. Its sizes are the usual ones
where these show it: in smaller ones, one mistake looks like another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import NamedTuple

from rnn_parity.diagnosis.known_differences import known_by_id, known_difference
from rnn_parity.errors import InputError
from rnn_parity.sweep.bug_report import write_scripts
from rnn_parity.sweep.journal import Journal
from rnn_parity.sweep.pool import Pool, Result
from rnn_parity.sweep.port_report import shown_findings, write_port_scripts
from rnn_parity.sweep.space import SPACES, Site, Space, combinations
from rnn_parity.sweep.worker import (
    cases_of,
    check_configuration,
    describe,
    explain_configuration,
    numbers_of,
)
from rnn_parity.system.environment import own_version
from rnn_parity.system.progress import Tick, on_terminal
from rnn_parity.verdict.configuration import SIZES, Configuration, Value
from rnn_parity.verdict.order import STATUSES, Status
from rnn_parity.verdict.sweep_results import Finding, Kind, Outcome, Swept

IDENTITY = ("numpy", "tensorflow", "keras", "device")
"""What outcomes depend on, besides this program and the seed."""

OutcomesOf = Callable[[Sequence[Configuration]], Mapping[Configuration, Outcome]]
"""The outcomes of some configurations, and maybe of more."""

MOST_GROUPS = 60
"""How many causes are looked into; with more of them, nothing is right."""

MOST_HEAD_STARTS = 6
"""How many groups' options are tried on a failure. Chosen: a failure has dozens of options."""

First = Callable[[Sequence[Configuration]], Configuration | None]
"""The first of some configurations that shows it; None where none does."""

FUNCTIONS = ("activation", "recurrent_activation")
"""Options each value of which may be wrong by itself."""
SEVERAL = 3
"""How many functions must show it before one of them stands for another: chosen."""
IN_16_BITS = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
UNRESOLVED: Kind = ("inconclusive", True)
"""What was compared and is within bounds that are too wide to prove anything."""
MIRRORED = {"left": "right", "right": "left"}
"""What a mask is to a layer that runs backwards, for one that runs forwards."""


def sweep(
    spaces: Mapping[str, Space],
    strength: int | None,
    limit: int | None,
    seed: int,
    pool: Pool,
    journal: Journal,
    against: str | None = None,
    folder: str | None = None,
    named: Collection[str] = (),
) -> Swept:
    """Check the combinations of each layer's options in its space, and look into what failed.

    A covering array of this `strength`, or everything for None; the first `limit` of them if given.
    What `journal` knows is not checked again. `against` names what is checked in place of Keras. A
    script for each finding is written to `folder`, which exists; `against` is a function then.
    `named` are the options whose values were asked for by name. Raises `InputError` for what cannot
    be swept, and for such a value that Keras does not take.
    """
    job = Job(pool, journal, seed, against)
    sites = [job.site(layer, space, named) for layer, space in spaces.items()]
    here = {name: sites[0].environment[name] for name in IDENTITY}
    journal.begin({"rnn-parity": own_version(), "seed": seed, "against": against, **here})
    before, start = set(journal.known), time.perf_counter()
    sites = [job.narrowed(site) for site in sites]
    configurations = [one for site in sites for one in combinations(site, strength, limit, seed)]
    known = job.outcomes(configurations, "sweep")
    seconds = time.perf_counter() - start
    outcomes = {one: known[one] for one in configurations}
    new, counted, start = len(outcomes.keys() - before), len(known), time.perf_counter()
    findings, unexplained = job.findings(outcomes, spaces)
    swept = Swept(
        sites[0].environment,
        outcomes,
        findings,
        unexplained,
        new,
        seconds,
        pool.count,
        looked_into=len(known) - counted,
        seconds_of_looking=time.perf_counter() - start,
        not_handed_over=sites[0].not_handed_over,
        left_out=tuple(left_out(one, outcome) for site in sites for one, outcome in site.left_out),
    )
    return swept if folder is None else replace(swept, scripts=job.scripts(swept, folder))


def left_out(one: Configuration, outcome: Outcome) -> Finding:
    """What Keras refuses and no configuration asks for, as a finding without members."""
    return Finding(one, outcome, (), None, (), known_difference(one, outcome, None))


@dataclass(frozen=True)
class Job:
    """Checks configurations, each once: what the journal knows is not checked again."""

    pool: Pool
    journal: Journal
    seed: int
    against: str | None = None

    def site(self, layer: str, space: Space, named: Collection[str]) -> Site:
        """Where the work is done, as it takes a layer; the others are as in `describe`."""
        job = partial(describe, against=self.against, space=space, named=tuple(named))
        ((_, site),) = self.pool.as_completed(job, [layer])
        if site is None:
            raise InputError("workers: expected ones that stay alive, received two that died")
        return site

    def narrowed(self, site: Site) -> Site:
        """The site without what another implementation refuses, whatever it is combined with."""
        if self.against is None:
            return site  # what Keras does not take is found out without running it
        alone = [one for _, one in site.single_options()]
        found = self.outcomes([site.simplest, *alone], "single options")
        if found[site.simplest].verdict == "refused":
            return site  # whatever is added to it, it says nothing of what is added
        return site.without(one for one in alone if found[one].verdict == "refused")

    def outcomes(
        self, configurations: Sequence[Configuration], doing: str
    ) -> Mapping[Configuration, Outcome]:
        """As `known_with`, with a bar on a terminal that says what is `doing`."""
        from tqdm import tqdm

        count = len(self.unknown(configurations))
        bar = tqdm(None, doing, count, delay=1, leave=False, disable=None, unit=" checks")
        with bar:
            return self.known_with(configurations, bar.update)

    def known_with(
        self, configurations: Sequence[Configuration], tick: Tick
    ) -> Mapping[Configuration, Outcome]:
        """Every outcome that is known, with those of `configurations`, which are worked out if new.

        `tick` is called for each that is worked out.
        """
        todo = self.unknown(configurations)
        for configuration, outcome in self.of_each(check_configuration, todo):
            self.journal.add(configuration, outcome or self.died)
            tick()
        return self.journal.known

    def unknown(self, configurations: Sequence[Configuration]) -> list[Configuration]:
        """Those of the configurations whose outcomes are not known, each once."""
        return [one for one in dict.fromkeys(configurations) if one not in self.journal.known]

    def of_each(
        self, function: Callable[..., Result], configurations: Iterable[Configuration]
    ) -> Iterator[tuple[Configuration, Result | None]]:
        """Each configuration with what a worker's `function` tells of it, as they are ready."""
        job: Callable[[Configuration], Result]
        job = partial(function, seed=self.seed, against=self.against)
        return self.pool.as_completed(job, configurations)

    @property
    def died(self) -> Outcome:
        """What came of it where the process that ran it died, twice: a source in it failed."""
        status: Status = "inconclusive" if self.against is None else "failed"
        return Outcome(status, "not compared: the process that ran it died, twice")

    def findings(
        self, outcomes: Mapping[Configuration, Outcome], spaces: Mapping[str, Space]
    ) -> tuple[tuple[Finding, ...], tuple[Configuration, ...]]:
        """The causes behind what failed, the worst first, and what was not looked into."""
        with on_terminal("making small what failed") as tick:
            groups, rest = grouped(
                outcomes, lambda ones: self.known_with(ones, tick), self.pool.count, spaces
            )
        with on_terminal("looking for the causes"):
            found = [self.finding(group, outcomes) for group in groups]
        found.sort(key=lambda f: (STATUSES.index(f.verdict), f.known is not None, -len(f.members)))
        return tuple(found), tuple(rest)

    def scripts(self, swept: Swept, folder: str) -> dict[Configuration, str]:
        """Write a script for each finding that one can show, to `folder`; their paths."""
        if self.against is None:
            return write_scripts(swept, folder)
        shown = [finding.configuration for finding in shown_findings(swept)]
        cases = {one: found for one, found in self.of_each(cases_of, shown) if found}
        return write_port_scripts(swept, folder, self.against, cases)

    def finding(self, group: Group, outcomes: Mapping[Configuration, Outcome]) -> Finding:
        """A group with all that one check of its example says, which is what to check again."""
        one, plain = group.smallest, self.journal.known[group.smallest]
        members = tuple(group.members_that(is_own=True))
        others = group.members_that(is_own=False)
        behind = tuple(other for other in others if outcomes[other].verdict != "refused")
        numbers, told = None, None
        if plain.max_ratio is not None:
            ((_, numbers),) = self.of_each(numbers_of, [one])
        if plain.max_ratio is not None or plain.verdict == "diverged":
            ((_, told),) = self.of_each(explain_configuration, [one])
        explained, own = told or (plain, ())
        named = own[0].fault if own else None
        known = known_difference(one, plain, numbers, self.against) or known_by_id(named)
        causes = tuple(cause for cause in own if known is None or cause.fault == known.id)
        # Nothing is unexplained that is known: of that, the verdict alone is said.
        outcome = plain if known else replace(explained, seconds=plain.seconds)
        return Finding(one, outcome, causes, numbers, members, known, behind)


@dataclass
class Group:
    """Failures with one cause: the smallest configuration that shows it, and who else does.

    `forms` are the options that matter, with the values with which they were met. `members` tells
    of each configuration whether it shows it itself, or only with an option less: every failure is
    the own one of a single group.
    """

    smallest: Configuration
    kind: Kind
    forms: list[Mapping[str, Value]] = field(default_factory=list)
    members: dict[Configuration, bool] = field(default_factory=dict)

    @property
    def verdict(self) -> Status:
        """The verdict on all of them."""
        return self.kind[0]

    def add(self, failure: Failure) -> None:
        """Count a failure that this explains."""
        is_own = failure.configuration == failure.origin
        self.members[failure.origin] = is_own or self.members.get(failure.origin, False)

    def members_that(self, is_own: bool) -> list[Configuration]:
        """The members that show it themselves, or the others."""
        return [one for one, own in self.members.items() if own is is_own]

    def form_of(self, failure: Failure) -> Mapping[str, Value] | None:
        """The form that the failure has, if it has one."""
        forms = self.forms if failure.kind == self.kind else []
        return next(filter(failure.configuration.has, forms), None)


class Failure(NamedTuple):
    """A configuration that fails, and the one of the sweep that it comes from."""

    configuration: Configuration
    kind: Kind
    origin: Configuration


def grouped(
    outcomes: Mapping[Configuration, Outcome],
    outcomes_of: OutcomesOf,
    at_once: int = 1,
    spaces: Mapping[str, Space] = SPACES,
) -> tuple[list[Group], list[Configuration]]:
    """The causes of what failed, and what was not looked into because they were too many.

    `outcomes_of` is asked for more configurations of the `spaces`, `at_once` of them at a time.
    """
    groups: list[Group] = []
    waiting = [Failure(c, o.kind, c) for c, o in outcomes.items() if o.verdict != "parity"]
    while waiting:
        explained, waiting = split(waiting, groups)
        waiting += hidden(explained, outcomes_of)
        if waiting and not explained:
            if len(groups) == MOST_GROUPS:
                break
            space = spaces[waiting[0].configuration.layer]
            add_group(groups, waiting[0], outcomes_of, at_once, space)
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
            group.add(failure)
            explained.append((failure, form))
    return explained, others


def hidden(
    explained: Sequence[tuple[Failure, Mapping[str, Value]]], outcomes_of: OutcomesOf
) -> list[Failure]:
    """What still fails when one of the options that explain a failure has its default.

    What is refused then was not asked for.
    """
    origins = {
        (one, failure.origin): None
        for failure, form in explained
        for one in with_one_less(failure.configuration, form)
    }
    outcomes = outcomes_of(list(dict.fromkeys(one for one, _ in origins)))
    found = [Failure(one, outcomes[one].kind, origin) for one, origin in origins]
    return [failure for failure in found if failure.kind[0] not in ("parity", "refused")]


def with_one_less(
    configuration: Configuration, form: Mapping[str, Value]
) -> Iterator[Configuration]:
    """The configuration with the simplest value of one option of a form, of each in turn.

    Only the first time in its own mode, which may take seconds to compile: what the options of a
    form do in any mode, they do in the simplest one. Where the mode matters, it stays.
    """
    names = iter(form)
    for name in islice(names, 1):
        yield configuration.without(name)
    for name in names:
        one = configuration.without(name)
        yield one if "mode" in form else one.without("mode")


def add_group(
    groups: list[Group], failure: Failure, outcomes_of: OutcomesOf, at_once: int, space: Space
) -> None:
    """Find out what matters of a failure: a new form of a known group, or a new group."""

    def first(ones: Sequence[Configuration]) -> Configuration | None:
        for start in range(0, len(ones), at_once):
            some = ones[start : start + at_once]
            outcomes = outcomes_of(some)
            shown = (one for one in some if outcomes[one].kind == failure.kind)
            if (found := next(shown, None)) is not None:
                return found
        return None

    smallest = shrink(head_start(failure, groups, first), first, space)
    known = (g for g in groups if (g.smallest, g.kind) == (smallest, failure.kind))
    group = next(known, None)
    if group is None:
        group = Group(smallest, failure.kind)
        groups.append(group)
    names = what_matters(smallest, failure.kind)
    group.forms.append({name: failure.configuration[name] for name in names})


def what_matters(smallest: Configuration, kind: Kind) -> Collection[str]:
    """The options that make failures like this one the same finding.

    Whether a bound is narrow beside every number in 16 bits depends on all of them: any option may
    make the difference, and none but the dtype is the cause.
    """
    if kind == UNRESOLVED and smallest["dtype"] in IN_16_BITS:
        return ("dtype",)
    return smallest.varied


def head_start(failure: Failure, groups: Sequence[Group], first: First) -> Configuration:
    """The failure with the options of a group alone, where that shows it; else the whole failure.

    Most failures that are not explained have a cause like others before them: the same options, in
    other values. That is one look in place of the dozens that find these options anew.
    """
    largest = sorted(groups, key=lambda group: -len(group.members))
    like = (set(group.smallest.varied) for group in largest if group.kind == failure.kind)
    one = failure.configuration
    smaller = [with_only(one, names) for names in like if names and names < set(one.varied)]
    return first(list(dict.fromkeys(smaller))[:MOST_HEAD_STARTS]) or one


def with_only(configuration: Configuration, names: Collection[str]) -> Configuration:
    """The configuration with the simplest value of every option but these, sizes aside."""
    for name in configuration.varied:
        configuration = configuration if name in names else configuration.without(name)
    return configuration


def shrink(configuration: Configuration, first: First, space: Space) -> Configuration:
    """The simplest configuration found: what does not matter of it is as simple as in `space`.

    Options that matter have the first value, and sizes are the most usual, with which it shows.
    """
    # First of all in the simplest mode, in which nothing is compiled: the dozens of tries to come
    # take seconds each in others.
    configuration = first([configuration.without("mode")]) or configuration
    while True:
        smaller = forwards(fewest_options(configuration, first), first, space)
        smaller = usual_sizes(first_values(smaller, first, space), first, space)
        if smaller == configuration:
            return smaller
        configuration = smaller


def forwards(configuration: Configuration, first: First, space: Space) -> Configuration:
    """Forwards with the mirrored mask, where that shows it too: it is the same thing, only simpler.

    `fewest_options` does not find it, for it leaves what it keeps as it is.
    """
    mirror = MIRRORED.get(str(configuration["mask"]))
    if "go_backwards" not in configuration.varied or mirror not in space["mask"]:
        return configuration
    simpler = configuration.without("go_backwards").but({"mask": mirror})
    return first([simpler]) or configuration


def fewest_options(configuration: Configuration, first: First) -> Configuration:
    """The algorithm ddmin: no single remaining option can be given its simplest value."""
    kept, parts = list(configuration.varied), 2

    if first([with_only(configuration, [])]):
        return with_only(configuration, [])
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        pieces = [kept[i : i + size] for i in range(0, len(kept), size)]
        without = [[name for name in kept if name not in piece] for piece in pieces]
        tries = [*pieces, *without] if parts > 2 else pieces
        smaller = [with_only(configuration, names) for names in tries]
        shown = first(smaller)
        if shown is not None:
            found = tries[smaller.index(shown)]
            parts = 2 if found in pieces else max(parts - 1, 2)
            kept = found
        elif parts >= len(kept):
            break
        else:
            parts = min(2 * parts, len(kept))
    return with_only(configuration, kept)


def first_values(configuration: Configuration, first: First, space: Space) -> Configuration:
    """Every option that matters with its first value, after the simplest, that shows it.

    A function may be wrong by itself: it makes place for another only where several show the same.
    """
    for name, value in configuration.varied.items():
        before = [configuration.but({name: v}) for v in space[name][1 : space[name].index(value)]]
        if name in FUNCTIONS and not all(first([one]) for one in before[:SEVERAL]):
            continue
        configuration = first(before) or configuration
    return configuration


def usual_sizes(configuration: Configuration, first: First, space: Space) -> Configuration:
    """Every size as near to the usual one as shows it, one after the other.

    The usual sizes are small, and yet enough to tell causes apart: of one unit, one feature or one
    timestep there is nothing that could be swapped, shifted or reversed. Of some that were chosen,
    it is the nearest of these, preferably a larger one.
    """
    for name in SIZES:
        usual, own = int(dict(configuration.defaults)[name]), int(configuration[name])
        is_chosen = space[name] != SPACES[configuration.layer][name]
        sizes = map(int, space[name]) if is_chosen else range(usual, own, 1 if own > usual else -1)
        nearest = sorted({*sizes, own}, key=lambda size: (size < usual, abs(size - usual)))
        tries = [configuration.but({name: size}) for size in nearest[: nearest.index(own)]]
        configuration = first(tries) or configuration
    return configuration
