"""Which combinations are checked: a covering array of some strength, or the full product.

With strength t, whatever any t options are set to together occurs in at least one configuration
(Kuhn, Kacker and Lei, *Introduction to Combinatorial Testing*, chapter 2), unless a rule forbids
it. The order is a shuffle that depends on the seed alone, so that the first N are a fair sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod
from random import Random
from typing import Any

from rnn_parity.errors import InputError
from rnn_parity.sweep.site import Site
from rnn_parity.sweep.space import Configuration, Rule, Space, Value

MOST_LISTED = 10**6
"""A full product up to this size is listed and shuffled; from a larger one, samples are drawn."""
MOST_TUPLES = 200_000
"""A covering array for so many value combinations takes a minute; for ten times more, an hour."""


def combinations(
    site: Site, strength: int | None, limit: int | None, seed: int
) -> list[Configuration]:
    """The configurations of a sweep, the first `limit` of them if given; all for no strength.

    What the site refuses is among them, one configuration for each reason. Raises `InputError` for
    a strength that is not from 1 to the number of options, and for a full product that is too large
    to be listed and has no limit.
    """
    if strength is None and prod(map(len, site.space.values())) > MOST_LISTED:
        return drawn(site, limit, seed)
    found = everything(site) if strength is None else covering(site, strength, seed)
    found += site.refused
    Random(seed).shuffle(found)
    return found[:limit]


def covering(site: Site, strength: int, seed: int) -> list[Configuration]:
    """A covering array of the given strength."""
    from covertable import criteria, make_async, sorters
    from tqdm import tqdm

    free = {name: values for name, values in site.space.items() if len(values) > 1}
    if not 1 <= strength <= len(free):
        raise InputError(
            f"--strength: expected full, or an integer from 1 to {len(free)}, the number of "
            f"options, received {strength}"
        )
    if tuples(free, strength) > MOST_TUPLES:
        raise InputError(
            f"--strength {strength}: expected one that asks for at most {MOST_TUPLES} combinations "
            f"of values, received {tuples(free, strength):.2g}; use --strength full --limit N"
        )
    # Numbers stand for the values: the library tells False and 0.0 apart no better than Python.
    array = make_async(
        {name: list(range(len(values))) for name, values in free.items()},
        strength=strength,
        # Arrays a tenth larger than with the criterion `greedy`, in a third of the time.
        criterion=criteria.simple,
        sorter=sorters.hash,
        salt=str(seed),
        constraints=[c for rule in site.rules if (c := constraint(rule, free)) is not None],
    )
    bar = tqdm(array, "covering array", delay=1, leave=False, disable=None, unit=" rows")
    return [configuration(site, {n: free[n][i] for n, i in row.items()}) for row in bar]


def tuples(space: Space, strength: int) -> int:
    """How many combinations of values of `strength` options there are."""
    ways = [1] + [0] * strength  # of choosing values for 0, 1, ... of the options so far
    for values in space.values():
        ways = [ways[0], *(ways[k] + len(values) * ways[k - 1] for k in range(1, strength + 1))]
    return ways[strength]


def constraint(rule: Rule, space: Space) -> dict[str, Any] | None:
    """A rule as the library reads it; None where some of its values are not in `space`."""
    conditions = []
    for name, values in rule.together.items():
        numbers = [i for i, value in enumerate(space.get(name, ())) if value in values]
        if not numbers:
            return None
        conditions.append({"operator": "in", "left": name, "values": numbers})
    return {"operator": "not", "condition": {"operator": "and", "conditions": conditions}}


def everything(site: Site) -> list[Configuration]:
    """The full product."""
    named = (dict(zip(site.space, values, strict=True)) for values in product(*site.space.values()))
    return [one for row in named if allowed(one := configuration(site, row), site)]


def drawn(site: Site, limit: int | None, seed: int) -> list[Configuration]:
    """The first `limit` different configurations of a random walk through the full product."""
    if limit is None or limit > MOST_LISTED:
        total = prod(map(len, site.space.values()))
        raise InputError(
            f"--strength full: expected a --limit of at most {MOST_LISTED}, since {site.layer} has "
            f"{total:.2g} combinations; add one"
        )
    random, found = Random(seed), dict[Configuration, None]()
    while len(found) < limit:
        one = configuration(site, {n: random.choice(vs) for n, vs in site.space.items()})
        if allowed(one, site):
            found[one] = None
    return list(found)


def allowed(one: Configuration, site: Site) -> bool:
    """Whether no rule forbids it."""
    return not any(map(one.breaks, site.rules))


def configuration(site: Site, row: Mapping[str, Value]) -> Configuration:
    """The configuration that has the values of `row`, and the only one where `row` has none."""
    only = {name: values[0] for name, values in site.space.items()}
    return Configuration.default(site.layer).but({**only, **row})
