"""Which combinations a sweep checks: held against brute force, and counted by hand."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from sweep_jobs import site

from rnn_parity.errors import InputError
from rnn_parity.sweep import space as module
from rnn_parity.sweep.space import (
    RULES,
    SPACES,
    Choice,
    Rule,
    asked_spaces,
    combinations,
    default_of,
    example,
    excluded,
    restricted,
    tuples,
)
from rnn_parity.verdict.sweep_results import Outcome

BOTH = (False, True)
SMALL = {
    "mask": ("none", "right", "left"),
    "open_size": ("none", "timesteps", "batch"),
    "calls": (1, 2),
    "unroll": BOTH,
    "stateful": BOTH,
    "go_backwards": BOTH,
}


def forbidden(row):
    """The rules that apply to these options, written out."""
    opened = row.get("open_size", "none")
    return (
        (opened == "timesteps" and row.get("unroll"))
        or (opened == "batch" and row.get("stateful"))
        or (opened != "none" and row.get("calls", 1) > 1)
    )


@pytest.mark.parametrize("strength", [1, 2, 3, 4])
def test_whatever_so_many_options_are_set_to_occurs(strength):
    found = combinations(site(**SMALL), strength, None, 0)
    rows = [{name: one[name] for name in SMALL} for one in found]
    assert not any(map(forbidden, rows))
    for names in itertools.combinations(SMALL, strength):
        seen = {tuple(row[name] for name in names) for row in rows}
        for values in itertools.product(*(SMALL[name] for name in names)):
            if not forbidden(dict(zip(names, values, strict=True))):
                assert values in seen, dict(zip(names, values, strict=True))
    assert len(rows) < 144


def test_a_real_layer_in_pairs():
    """Every pair of the whole space; the largest two options give a lower limit of its size."""
    where = site()
    rows = [dict(one.values) for one in combinations(where, 2, None, 0)]
    missing = [
        (a, x, b, y)
        for a, b in itertools.combinations(SPACES["simple_rnn"], 2)
        for x, y in itertools.product(where.space[a], where.space[b])
        if not any(row[a] == x and row[b] == y for row in rows)
        and not any(
            rule.together.keys() == {a, b} and x in rule.together[a] and y in rule.together[b]
            for rule in RULES
        )
    ]
    assert not missing
    assert 29 * 6 <= len(rows) < 300


def test_everything_is_counted_by_hand():
    """Of 3 * 3 * 2 * 2 * 2 * 2 = 144 the rules forbid: for each of 3 masks and 2 directions,
    with open timesteps 4 of 8 by 2 calls and 2 of the other 4 by unroll, the same for batch.
    """
    found = combinations(site(**SMALL), None, None, 0)
    assert len(found) == len(set(found)) == 144 - 3 * 2 * (6 + 6)
    assert not any(forbidden(dict(one.values)) for one in found)


@pytest.mark.parametrize("strength", [2, None])
def test_a_limit_takes_the_first_of_the_same_shuffle(strength):
    where = site(**SMALL)
    whole = combinations(where, strength, None, 7)
    assert combinations(where, strength, 5, 7) == whole[:5]
    assert combinations(where, strength, None, 7) == whole
    assert combinations(where, strength, None, 8) != whole
    assert whole != sorted(whole, key=lambda one: str(one.values))


def test_samples_of_what_is_too_large_to_list():
    found = combinations(site(), None, 50, 3)
    assert len(set(found)) == 50
    assert combinations(site(), None, 20, 3) == found[:20]
    assert not any(rule.forbids(one) for one in found for rule in RULES)
    with pytest.raises(InputError, match=r"--strength full: expected a --limit"):
        combinations(site(), None, None, 0)


@pytest.mark.parametrize("strength", [0, 99])
def test_a_strength_that_cannot_be(strength):
    expected = f"expected full, or an integer from 1 to {len(SPACES['simple_rnn'])}, .* {strength}"
    with pytest.raises(InputError, match=expected):
        combinations(site(**SMALL), strength, None, 0)


def test_a_strength_that_asks_for_too_much():
    # (2 of 2) * (2 of 3) * ... by hand: a + b + c and ab + ac + bc of 2, 3 and 4
    three = {"a": (1, 2), "b": (1, 2, 3), "c": (1, 2, 3, 4)}
    assert [tuples(three, k) for k in (1, 2, 3)] == [9, 6 + 8 + 12, 24]
    with pytest.raises(InputError, match=r"--strength 8: expected one that asks for at most"):
        combinations(site(), 8, None, 0)


def test_the_array_does_not_depend_on_the_process():
    code = (
        "from sweep_jobs import site; from rnn_parity.sweep.space import combinations; "
        "print(combinations(site(mask=('none', 'right'), unroll=(False, True), calls=(1, 2, 3)), "
        "2, None, 0))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(answers) == 1


def test_what_a_source_refuses_alone_is_among_them_once_and_what_keras_refuses_is_not():
    where, default = site(**SMALL), default_of("simple_rnn")
    by_keras = default.but({"unroll": True, "open_size": "timesteps"})
    by_source = default.but({"mask": "left"})
    where = replace(where, left_out=((by_keras, Outcome("refused", "no")),)).without([by_source])
    found = combinations(where, 2, None, 0)
    assert (found.count(by_source), found.count(by_keras)) == (1, 0)
    assert [one for one in found if one["mask"] == "left"] == [by_source]


def test_every_layer_has_defaults_that_break_no_rule():
    for layer, space in SPACES.items():
        one = default_of(layer)
        assert one.changed == {}
        assert not any(rule.forbids(one) for rule in RULES)
        assert set(one.sizes) == {"batch", "timesteps", "features", "units"}
        assert len(space) == len(set(space))


def test_a_rule_is_shown_by_its_smallest_example():
    rule = Rule({"unroll": (True,), "open_size": ("timesteps",)})
    one = example(rule, "lstm", SPACES["lstm"])
    assert one.changed == {"unroll": True, "open_size": "timesteps"}
    assert rule.forbids(one)
    assert not rule.forbids(one.without("unroll"))
    assert example(rule, "lstm", {**SPACES["lstm"], "unroll": (False,)}) is None
    gated = Rule({"use_cudnn": (False,), "mask": ("left",)})
    assert example(gated, "simple_rnn", SPACES["simple_rnn"]) is None
    assert not gated.forbids(default_of("simple_rnn").but({"mask": "left"}))


def test_what_reaches_the_constructor():
    one = default_of("gru").but({"reset_after": False, "mask": "left", "units": 1})
    returned = {"return_sequences": True, "return_state": False}
    assert one.arguments == {**returned, "reset_after": False}
    assert one.kind == "gru"
    wrapped = one.but({"wrapper": "bidirectional", "merge_mode": "none"})
    assert wrapped.kind == "bidirectional"
    own = {"layer": "gru", "merge_mode": None}
    assert wrapped.arguments == {**own, **returned, "reset_after": False}
    wrapped = one.but({"wrapper": "stacked", "merge_mode": "sum"})
    assert wrapped.arguments == {"cells": "gru", **returned, "reset_after": False}
    assert one.has({"mask": "left", "units": 1})
    assert not one.has({"mask": "left", "units": 4})


# What is asked for, in words.


def asked(layers, only=(), without=()):
    chosen = [Choice("--arg", *one) for one in only]
    return asked_spaces(layers, chosen, [Choice("--exclude", *one) for one in without])


def test_some_values_alone_in_the_order_of_the_space():
    spaces = asked(
        ["simple_rnn", "lstm"],
        [("activation", ("relu", "tanh")), ("implementation", ("1",)), ("dropout", ("0.250",))],
        [("mask", ()), ("dtype", ("float16", "bfloat16")), ("calls", ("1",))],
    )
    for layer, space in spaces.items():
        assert space["activation"] == ("tanh", "relu")
        assert space["dropout"] == (0.25,)
        assert space["mask"] == ("none",)
        assert space["dtype"] == ("float32", "float64", "mixed_float16", "mixed_bfloat16")
        assert space["calls"] == (2, 3)
        assert space["stateful"] == SPACES[layer]["stateful"]
    assert spaces["lstm"]["implementation"] == (1,)
    assert "implementation" not in spaces["simple_rnn"]
    assert restricted(spaces)["mask"] == ["none"]
    assert excluded(spaces)["mask"] == ["right", "left", "random"]
    assert restricted(asked(["gru"])) == excluded(asked(["gru"])) == {}


def test_true_is_no_number():
    assert asked(["gru"], [("use_bias", ("True",))])["gru"]["use_bias"] == (True,)
    with pytest.raises(InputError, match="use_bias=1: expected some of True, False, received '1'"):
        asked(["gru"], [("use_bias", ("1",))])


@pytest.mark.parametrize(
    ("only", "without", "words"),
    [
        ([("activatoin", ("tanh",))], [], "--arg activatoin=tanh: .* did you mean activation"),
        ([("activation", ("rleu",))], [], "--arg activation=rleu: .* did you mean relu"),
        ([], [("activation", ("selu", "seluu"))], "--exclude activation=selu,seluu: .*'seluu'"),
        ([], [("reset_after", ())], "--exclude reset_after: .*expected an option of simple_rnn"),
        ([], [("mask", ("none", "left", "right", "random"))], "leaves no value of mask"),
        ([("mask", ("left",)), ("mask", ("right",))], [], "mask is given twice"),
        ([("units", ("32",))], [], "expected some of 4, 1, 17, received '32'"),
    ],
)
def test_what_cannot_be_asked_for(only, without, words):
    with pytest.raises(InputError, match=words):
        asked(["simple_rnn"], only, without)


def test_messages_offer_nothing_that_keras_does_not_take(monkeypatch):
    for version, is_offered in (("3.15.1", False), (None, False), ("2.15.0", True)):
        monkeypatch.setattr(module, "keras_version", lambda version=version: version)
        for only, old in (("activation", "LeakyReLU"), ("activatoin", "time_major")):
            with pytest.raises(InputError) as error:
                asked(["gru"], [(only, ("rleu",))])
            assert (f" {old}," in str(error.value)) is is_offered


def test_a_choice_is_named_as_it_was_given():
    assert str(Choice("--mode", "mode", ("eager", "xla"))) == "--mode eager,xla"
    assert str(Choice("--initial-state", "initial_state", ("zeros",))) == "--initial-state zeros"
    assert str(Choice("--arg", "units", ("1",))) == "--arg units=1"
    assert str(Choice("--exclude", "mask")) == "--exclude mask"
