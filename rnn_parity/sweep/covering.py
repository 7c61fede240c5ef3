"""Covering arrays: rows in which the values of any few options meet in every way that rules allow.

The algorithm is IPOG (Lei, Kacker, Kuhn, Okun and Lawrence, *IPOG/IPOG-D: efficient test generation
for multi-way combinatorial testing*, Software Testing, Verification and Reliability 18, 2008):
option after option is added to all rows, each time with the value that makes most new combinations
("horizontal growth"); those that are still missing go where rows are free, or to new rows
("vertical growth").

Options and their values are numbers here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Forbidden: TypeAlias = Mapping[int, frozenset[int]]
"""Values of some options that do not go together: no row has one of each."""
UNBROKEN: Forbidden = {0: frozenset()}
"""Nothing breaks it, unlike a rule about no option, which everything breaks."""
Rows: TypeAlias = NDArray[np.intp]
"""`(rows, options)`: the number of a value, or `FREE`."""

FREE = -1
"""In place of a value that is not chosen yet."""


def covering_array(
    sizes: Sequence[int],
    rules: Iterable[Forbidden],
    strength: int,
    seed: int,
    tick: Callable[[], object] = lambda: None,
) -> Rows:
    """Rows in which the values of any `strength` options meet in every way that is possible.

    Possible is what stands in a full row that breaks no rule; option i has `sizes[i]` values. Where
    the rules leave nothing there are no rows. `tick` is called for every option that is done.
    """
    rng = np.random.default_rng(seed)
    # The options with most values first: all of their combinations are needed in any case.
    order = sorted(range(len(sizes)), key=lambda option: -sizes[option])
    ordered = [sizes[option] for option in order]
    moved = [{order.index(option): rule[option] for option in rule} for rule in rules]
    closed = Rules(closure(moved, ordered), ordered)
    first = list(product(*map(range, ordered[:strength])))
    rows = np.full((len(first), len(sizes)), FREE)
    rows[:, :strength] = first
    rows = rng.permutation(rows[~closed.broken_by(rows)])
    for option in range(strength, len(sizes)):
        missing = Missing(option, strength, closed)
        grow_horizontally(rows, missing, rng)
        rows = grow_vertically(rows, missing)
        tick()
    fill(rows, closed, rng)
    found = np.empty_like(rows)
    found[:, order] = rows
    return found


# What rules forbid.


def closure(rules: Iterable[Forbidden], sizes: Sequence[int]) -> list[Forbidden]:
    """The rules and all that follows from them, so that rows which break none can be completed.

    By resolution: when each value of an option breaks a rule beside something, all of these things
    together are forbidden. Without that, the last value for a row could turn out to be none.
    """
    found = strictest(rules)
    while True:
        new = [one for option in range(len(sizes)) for one in resolved(found, option, sizes)]
        more = strictest([*found, *new])
        if more == found:
            return found
        found = more


def resolved(rules: Iterable[Forbidden], option: int, sizes: Sequence[int]) -> list[Forbidden]:
    """What is forbidden because it would leave `option` without a value."""
    found: list[Forbidden] = [{}]
    own = [rule for rule in rules if option in rule]
    for value in range(sizes[option]):
        beside = [
            {name: values for name, values in rule.items() if name != option}
            for rule in own
            if value in rule[option]
        ]
        found = strictest(both(one, other) for one in found for other in beside)
    return found


def both(one: Forbidden, other: Forbidden) -> Forbidden:
    """What breaks two rules."""
    shared = {option: one[option] & other[option] for option in one.keys() & other.keys()}
    return {**one, **other, **shared}


def strictest(rules: Iterable[Forbidden]) -> list[Forbidden]:
    """The rules without those that nothing breaks, or whatever breaks them breaks another, too."""
    found: list[Forbidden] = []
    for rule in rules:
        if all(rule.values()) and not any(includes(other, rule) for other in found):
            found = [other for other in found if not includes(rule, other)]
            found.append(rule)
    return found


def includes(rule: Forbidden, other: Forbidden) -> bool:
    """Whether everything that breaks `other` breaks `rule`."""
    return all(option in other and other[option] <= values for option, values in rule.items())


class Rules:
    """Rules that are ready to be held against many rows, and the `sizes` of the options."""

    def __init__(self, rules: Iterable[Forbidden], sizes: Sequence[int]) -> None:
        self.sizes = sizes
        self.tables: list[dict[int, NDArray[np.bool_]]] = []
        for rule in rules:
            # One place more than values, which is the one of `FREE`: it breaks no rule.
            tables = {option: np.zeros(sizes[option] + 1, bool) for option in rule}
            for option, table in tables.items():
                table[list(rule[option])] = True
            self.tables.append(tables)

    def broken_by(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of the rows break a rule."""
        broken = np.zeros(len(rows), bool)
        for tables in self.tables:
            conditions = [table[rows[:, option]] for option, table in tables.items()]
            broken |= np.logical_and.reduce([np.ones(len(rows), bool), *conditions])
        return broken

    def among(self, options: Iterable[int]) -> bool:
        """Whether there is a rule about some of these options alone."""
        return any(tables.keys() <= set(options) for tables in self.tables)

    def allowed(self, rows: Rows, option: int) -> NDArray[np.bool_]:
        """`(rows, values)`: which values of `option` each row can have."""
        trial, found = rows.copy(), []
        for value in range(self.sizes[option]):
            trial[:, option] = value
            found.append(~self.broken_by(trial))
        return np.stack(found, axis=1)


# What rows have, and what they lack.


class Missing:
    """The combinations of the values of `option` with those of options before it that no row has.

    `table` `(values, combinations)` tells which are missing; its last column stands for whatever
    a row has where it is free.
    """

    def __init__(self, option: int, strength: int, rules: Rules) -> None:
        self.option, self.rules = option, rules
        self.groups = np.array(list(combinations(range(option), strength - 1)), np.intp)
        sizes = np.array(rules.sizes)[self.groups]
        counts = sizes.prod(axis=1, dtype=np.intp)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.weights = np.ones_like(self.groups)
        for i in range(strength - 3, -1, -1):
            self.weights[:, i] = self.weights[:, i + 1] * sizes[:, i + 1]
        self.table = np.ones((rules.sizes[option], self.starts[-1] + 1), bool)
        self.table[:, -1] = False
        for i, group in enumerate(self.groups):
            if rules.among((*group, option)):
                self.drop_impossible(i)

    def drop_impossible(self, i: int) -> None:
        """Take the combinations that rules forbid out of a group of options."""
        columns = np.arange(self.starts[i], self.starts[i + 1])
        rows = np.full((len(columns), len(self.rules.sizes)), FREE)
        rows[:, self.groups[i]] = self.values(i, columns)
        self.table[:, columns] = self.rules.allowed(rows, self.option).T

    def values(self, i: int, columns: NDArray[np.intp]) -> NDArray[np.intp]:
        """`(columns, options)`: the values of the options in group `i` that columns stand for."""
        codes = (columns - self.starts[i])[:, None] // self.weights[i]
        values: NDArray[np.intp] = codes % np.array(self.rules.sizes)[self.groups[i]]
        return values

    def columns(self, rows: Rows) -> NDArray[np.intp]:
        """`(rows, groups)`: the columns that stand for what is in each row."""
        found = np.tile(self.starts[:-1], (len(rows), 1))
        free = np.zeros_like(found, bool)
        for options, weights in zip(self.groups.T, self.weights.T, strict=True):
            values = rows[:, options]
            found += values * weights
            free |= values == FREE
        found[free] = -1
        return found

    def combinations(self) -> list[tuple[NDArray[np.intp], NDArray[np.intp], int, int]]:
        """What is missing: the options, their values, and where it stands in `table`."""
        found = []
        for value, column in zip(*np.nonzero(self.table), strict=True):
            i = int(np.searchsorted(self.starts, column, "right")) - 1
            values = self.values(i, np.array([column]))[0]
            options = np.append(self.groups[i], self.option)
            found.append((options, np.append(values, value), int(value), int(column)))
        return found


def grow_horizontally(rows: Rows, missing: Missing, rng: np.random.Generator) -> None:
    """Give each row the value that makes most new combinations, by lot if there are several.

    A row in which none is new stays free.
    """
    allowed = missing.rules.allowed(rows, missing.option)
    lots = rng.random(allowed.shape)
    for i, columns in enumerate(missing.columns(rows)):
        new = np.count_nonzero(missing.table[:, columns], axis=1) * allowed[i]
        if new.any():
            value = (new + lots[i]).argmax()
            rows[i, missing.option] = value
            missing.table[value, columns] = False


def grow_vertically(rows: Rows, missing: Missing) -> Rows:
    """The rows with all that was missing: where they are free, or in new rows."""
    for options, values, value, column in missing.combinations():
        if not missing.table[value, column]:
            continue  # it came with one before
        place = place_for(rows, options, values, missing.rules)
        if place is None:
            place = len(rows)
            rows = np.append(rows, np.full((1, rows.shape[1]), FREE), axis=0)
        rows[place, options] = values
        missing.table[value, missing.columns(rows[[place]])] = False
    return rows


def place_for(
    rows: Rows, options: NDArray[np.intp], values: NDArray[np.intp], rules: Rules
) -> int | None:
    """The first row that can have these values of these options, if there is one."""
    there = rows[:, options]
    fits = np.flatnonzero(((there == values) | (there == FREE)).all(axis=1))
    trial = rows[fits]
    trial[:, options] = values
    possible = fits[~rules.broken_by(trial)]
    return int(possible[0]) if len(possible) else None


def fill(rows: Rows, rules: Rules, rng: np.random.Generator) -> None:
    """Put any value that rules allow where rows are free."""
    for option in range(rows.shape[1]):
        lots = rng.random((len(rows), rules.sizes[option])) * rules.allowed(rows, option)
        rows[:, option] = np.where(rows[:, option] == FREE, lots.argmax(axis=1), rows[:, option])
