"""Covering arrays, held against brute force: nothing that rules allow is left out."""

from itertools import combinations, product

import numpy as np
import pytest
from sweep_jobs import site

from rnn_parity.sweep.covering import UNBROKEN, closure, covering_array
from rnn_parity.sweep.space import RULES, SPACES, Rule
from rnn_parity.sweep.space import combinations as swept


def breaks(row, rules):
    """Whether a full row breaks a rule: it has one of the values of each option that it names."""
    return any(all(row[option] in rule[option] for option in rule) for rule in rules)


def possible(sizes, rules, strength):
    """Whatever stands in a full row that no rule forbids, in all rows that there are."""
    rows = [row for row in product(*map(range, sizes)) if not breaks(row, rules)]
    return {
        (options, tuple(row[option] for option in options))
        for options in combinations(range(len(sizes)), strength)
        for row in rows
    }


def covered(rows, strength):
    return {
        (options, tuple(row[option] for option in options))
        for options in combinations(range(rows.shape[1]), strength)
        for row in rows.tolist()
    }


def random_rules(rng, sizes):
    """A few rules about two or three options, some of which leave options little choice."""
    rules = []
    for _ in range(rng.integers(0, 7)):
        options = rng.choice(len(sizes), rng.integers(2, 4), replace=False).tolist()
        rules.append(
            {
                option: frozenset(
                    rng.choice(
                        sizes[option], rng.integers(1, max(sizes[option], 2)), False
                    ).tolist()
                )
                for option in options
            }
        )
    return rules


@pytest.mark.parametrize("strength", [1, 2, 3, 4])
def test_every_combination_that_is_possible_occurs_and_no_rule_is_broken(strength):
    rng = np.random.default_rng(strength)
    empty = 0
    for seed in range(60):
        sizes = rng.integers(1, 5, 7).tolist()
        rules = random_rules(rng, sizes)
        rows = covering_array(sizes, rules, strength, seed)
        assert not any(breaks(row, rules) for row in rows.tolist()), rules
        assert covered(rows, strength) == possible(sizes, rules, strength), (sizes, rules)
        empty += not len(rows)
    assert 0 < empty < 30  # rules that leave nothing, and rules that do


def test_rules_that_leave_an_option_no_value_only_together():
    """0 of the first option forbids 0 of the second, 1 of it 0 of the third: not both are 0."""
    rules = [{0: {0}, 1: {0}}, {0: {1}, 2: {0}}]
    rules = [{o: frozenset(v) for o, v in rule.items()} for rule in rules]
    assert {1: {0}, 2: {0}} in closure(rules, [2, 2, 2])
    # With a third value nothing follows.
    assert closure(rules, [3, 2, 2]) == rules
    rows = covering_array([2, 2, 2], rules, 2, 0).tolist()
    assert sorted(rows) == [[0, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]]


def test_what_nothing_breaks_and_what_everything_breaks():
    assert len(covering_array([2, 2], [UNBROKEN], 2, 0)) == 4
    assert len(covering_array([2, 2], [{}], 2, 0)) == 0
    assert len(covering_array([], [], 0, 0)) == 1


def test_one_seed_gives_one_array_and_every_option_is_counted():
    ticks = []
    one = covering_array([3, 2, 4, 2], [], 2, 5, lambda: ticks.append(1))
    assert len(ticks) == 2
    assert (covering_array([3, 2, 4, 2], [], 2, 5) == one).all()
    assert sorted(map(tuple, covering_array([3, 2, 4, 2], [], 2, 6).tolist())) != sorted(
        map(tuple, one.tolist())
    )


def test_a_real_layer_in_threes():
    """Every three options of an LSTM, in few more rows than the three largest ask for."""
    where = site("lstm")
    rows = [dict(one.values) for one in swept(where, 3, None, 0)]
    largest = sorted((len(values) for values in where.space.values()), reverse=True)
    assert len(rows) < 1.3 * np.prod(largest[:3])
    assert not any(rule.forbids(one) for one in swept(where, 3, None, 0) for rule in RULES)
    for names in combinations(SPACES["lstm"], 3):
        seen = {tuple(row[name] for name in names) for row in rows}
        lacking = set(product(*(where.space[name] for name in names))) - seen
        for values in lacking:
            one = dict(zip(names, values, strict=True))
            rules = [rule for rule in RULES if rule.together.keys() <= one.keys()]
            assert any(all(one[n] in vs for n, vs in r.together.items()) for r in rules), one


def test_fewer_options_than_the_strength_are_all_combined():
    found = swept(site(rules=(), unroll=(False, True), stateful=(False, True)), 3, None, 0)
    assert len(found) == 4


def test_a_rule_about_options_with_one_value():
    """Without a mask-less value, what a mask forbids is forbidden altogether; or never."""
    stacked = Rule({"wrapper": ("stacked",), "mask": ("left", "right")})
    space = {"wrapper": ("none", "stacked"), "calls": (1, 2)}
    found = swept(site(rules=(stacked,), mask=("left",), **space), 2, None, 0)
    assert {(one["wrapper"], one["calls"]) for one in found} == {("none", 1), ("none", 2)}
    found = swept(site(rules=(stacked,), mask=("none",), **space), 2, None, 0)
    assert len(found) == 4
    only = swept(
        site(rules=(stacked,), mask=("left",), wrapper=("stacked",), calls=(1, 2)), 1, None, 0
    )
    assert only == []
