"""A sweep from its options to what it found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from rnn_parity.diagnosis.known_differences import known_difference
from rnn_parity.errors import InputError
from rnn_parity.sweep.journal import Journal
from rnn_parity.sweep.pool import Pool, Result
from rnn_parity.sweep.shrink import Group, grouped
from rnn_parity.sweep.space import Configuration, Site, combinations
from rnn_parity.sweep.worker import check_configuration, describe, explain_configuration, numbers_of
from rnn_parity.system.environment import own_version
from rnn_parity.verdict.order import STATUSES, Status
from rnn_parity.verdict.results import Cause
from rnn_parity.verdict.sweep_results import Finding, Outcome, Swept

WITNESSES = 4
"""How many members of a finding are asked whether its cause is theirs; each takes seconds."""
IDENTITY = ("numpy", "tensorflow", "keras", "device")
"""What outcomes depend on, besides this program and the seed."""


def sweep(
    layers: Sequence[str],
    strength: int | None,
    limit: int | None,
    seed: int,
    pool: Pool,
    journal: Journal,
    against: str | None = None,
) -> Swept[Configuration]:
    """Check the combinations of each layer's options, and look into what failed.

    A covering array of this `strength`, or everything for None; the first `limit` of them if given.
    What `journal` knows is not checked again. `against` names what is checked in place of Keras.
    Raises `InputError` for what cannot be swept.
    """
    job = Job(pool, journal, seed, against)
    sites = [job.site(layer) for layer in layers]
    here = {name: sites[0].environment[name] for name in IDENTITY}
    journal.begin({"rnn-parity": own_version(), "seed": seed, "against": against, **here})
    before, start = set(journal.known), time.perf_counter()
    sites = [job.narrowed(site) for site in sites]
    configurations = [one for site in sites for one in combinations(site, strength, limit, seed)]
    known = job.outcomes(configurations, "sweep")
    seconds = time.perf_counter() - start
    outcomes = {one: known[one] for one in configurations}
    new = len(outcomes.keys() - before)
    findings, unexplained = job.findings(outcomes)
    return Swept(sites[0].environment, outcomes, findings, unexplained, new, seconds, pool.count)


@dataclass(frozen=True)
class Job:
    """Checks configurations, each once: what the journal knows is not checked again."""

    pool: Pool
    journal: Journal
    seed: int
    against: str | None = None

    def site(self, layer: str) -> Site:
        """Where the work is done, as it takes a layer."""
        ((_, site),) = self.pool.as_completed(partial(describe, against=self.against), [layer])
        if site is None:
            raise InputError("workers: expected ones that stay alive, received two that died")
        return site

    def narrowed(self, site: Site) -> Site:
        """The site without what another implementation refuses, whatever it is combined with."""
        if self.against is None:
            return site  # what Keras does not take is found out without running it
        alone = [one for _, one in site.single_options()]
        found = self.outcomes(alone, "single options")
        return site.without(one for one in alone if found[one].verdict == "refused")

    def outcomes(
        self, configurations: Sequence[Configuration], doing: str
    ) -> Mapping[Configuration, Outcome]:
        """Every outcome that is known, with those of `configurations`, which are worked out if new.

        The bar on a terminal says what is `doing`.
        """
        from tqdm import tqdm

        todo = [one for one in dict.fromkeys(configurations) if one not in self.journal.known]
        results = self.of_each(check_configuration, todo)
        bar = tqdm(results, doing, len(todo), delay=1, leave=False, disable=None, unit=" checks")
        for configuration, outcome in bar:
            self.journal.add(configuration, outcome or self.died)
        return self.journal.known

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
        self, outcomes: Mapping[Configuration, Outcome]
    ) -> tuple[tuple[Finding[Configuration], ...], tuple[Configuration, ...]]:
        """The causes behind what failed, the worst first, and what was not looked into."""
        groups, rest = grouped(
            outcomes, lambda ones: self.outcomes(ones, "causes"), self.pool.count
        )
        found = [self.finding(group, outcomes) for group in groups]
        found.sort(key=lambda f: (STATUSES.index(f.verdict), f.known is not None, -len(f.members)))
        return tuple(found), tuple(rest)

    def finding(
        self, group: Group, outcomes: Mapping[Configuration, Outcome]
    ) -> Finding[Configuration]:
        """A group with the numbers of its smallest configuration, by which it is recognised."""
        outcome, numbers = self.journal.known[group.smallest], None
        causes: tuple[Cause, ...] = ()
        if outcome.max_ratio is not None:
            ((_, numbers),) = self.of_each(numbers_of, [group.smallest])
            outcome, causes = self.with_causes(group, outcomes)
        known = known_difference(group.smallest, outcome, numbers, self.against)
        return Finding(group.smallest, outcome, causes, numbers, tuple(group.members), known)

    def with_causes(
        self, group: Group, outcomes: Mapping[Configuration, Outcome]
    ) -> tuple[Outcome, tuple[Cause, ...]]:
        """The outcome of a group's smallest configuration, and the causes that it shares."""
        asked = dict.fromkeys([group.smallest, *witnesses(group, outcomes)])
        told = dict(self.of_each(explain_configuration, asked))
        known = self.journal.known[group.smallest]
        outcome, causes = told.pop(group.smallest) or (known, ())
        return replace(outcome, seconds=known.seconds), shared(
            causes, [one[1] for one in told.values() if one is not None]
        )


def witnesses(group: Group, outcomes: Mapping[Configuration, Outcome]) -> list[Configuration]:
    """Members that show the finding itself, not what it hid behind: those with the most numbers."""
    alike = [one for one in group.members if outcomes[one].verdict == group.verdict]
    return sorted(alike, key=lambda one: -prod(map(int, one.sizes.values())))[:WITNESSES]


def shared(causes: tuple[Cause, ...], others: Iterable[tuple[Cause, ...]]) -> tuple[Cause, ...]:
    """The causes that explain others as well: a few numbers fit many by chance."""
    seen = [{cause.fault for cause in found} for found in others]
    return tuple(cause for cause in causes if all(cause.fault in one for one in seen))
