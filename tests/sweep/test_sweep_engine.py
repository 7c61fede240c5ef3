"""Configurations made small, by what is known to matter; failures told apart by their causes."""

import pytest

from rnn_parity.sweep import engine
from rnn_parity.sweep.engine import grouped, shrink, with_one_less
from rnn_parity.sweep.space import SPACES, default_of, simplest_of
from rnn_parity.verdict.sweep_results import Outcome

DEFAULT = default_of("simple_rnn")
BUSY = DEFAULT.but(
    {
        "activation": "gelu",
        "dtype": "float64",
        "mode": "predict",
        "mask": "random",
        "initial_state": "random",
        "calls": 3,
        "use_bias": False,
        "return_state": True,
        "go_backwards": True,
        "stateful": True,
        "unroll": True,
        "zero_output_for_mask": True,
        "timesteps": 8,
        "units": 17,
    }
)


def smallest(configuration, shows, asked=None):
    def first(ones):
        for one in ones:
            if asked is not None:
                asked.add(one)
            if shows(one):
                return one
        return None

    return shrink(configuration, first, SPACES[configuration.layer])


def test_everything_that_does_not_matter_has_its_default():
    asked = set()
    one = smallest(BUSY, lambda c: c["unroll"] and c["go_backwards"] and c["timesteps"] > 1, asked)
    assert one.changed == {"go_backwards": True, "unroll": True}
    assert one.sizes == {"batch": 3, "timesteps": 3, "features": 4, "units": 4}
    assert len(asked) < 40


def test_what_always_shows_is_the_default_itself():
    asked = set()
    assert smallest(BUSY, lambda c: True, asked).changed == {}
    assert len(asked) < 15


def test_no_option_that_is_left_can_be_left_out():
    """Any two of three will do: ddmin's answer is minimal, whichever it is."""

    def shows(c):
        return sum((bool(c["unroll"]), bool(c["stateful"]), c["calls"] > 1)) >= 2

    one = smallest(BUSY, shows)
    assert len(one.changed) == 2
    assert shows(one)
    assert not any(shows(one.without(name)) for name in one.changed)


def test_the_first_value_that_shows_it_stands_for_the_others():
    one = smallest(BUSY, lambda c: c["mask"] != "none" and c["calls"] > 1)
    assert one.changed == {"mask": "right", "calls": 2}
    one = smallest(BUSY, lambda c: c["mask"] == "random")
    assert one.changed == {"mask": "random"}


def test_what_a_mask_does_backwards_its_mirror_does_forwards():
    def shows(c):
        """The first timestep that is processed is masked."""
        return c["mask"] == ("right" if c["go_backwards"] else "left") and c["timesteps"] > 1

    one = smallest(BUSY.but({"mask": "right"}), shows)
    assert one.changed == {"mask": "left"}
    one = smallest(BUSY.but({"mask": "right"}), lambda c: shows(c) and c["go_backwards"])
    assert one.changed == {"mask": "right", "go_backwards": True}


def test_a_function_makes_place_only_where_several_show_the_same():
    wrong = ("leaky_relu", "gelu")
    one = smallest(BUSY, lambda c: c["activation"] in wrong and c["dtype"] == "float64")
    assert one.changed == {"activation": "gelu", "dtype": "float64"}
    one = smallest(BUSY, lambda c: c["activation"] != "tanh")
    assert one.changed == {"activation": "linear"}


def test_sizes_are_as_near_to_the_usual_ones_as_shows_it():
    """In the smallest ones, nearly every mistake looks like another."""
    one = smallest(BUSY, lambda c: c["units"] > 6 and c["timesteps"] > 1)
    assert one.sizes == {"batch": 3, "timesteps": 3, "features": 4, "units": 7}
    one = smallest(BUSY.but({"units": 1, "timesteps": 1}), lambda c: c["units"] < 3)
    assert one.sizes == {"batch": 3, "timesteps": 3, "features": 4, "units": 2}
    space = {**SPACES["simple_rnn"], "units": (1, 17), "timesteps": (1,)}
    start = simplest_of("simple_rnn", space)
    found = shrink(start, lambda ones: next(iter(ones), None), space)
    assert (found["units"], found["timesteps"]) == (17, 1)


def test_another_failure_of_the_same_verdict_is_another_finding():
    """Outputs of another shape diverge; where their shape is right by chance, their numbers do."""

    def shown(ones):
        ratios = {one: 9.0 if set(one.sizes.values()) == {1} else None for one in ones}
        return {one: Outcome("diverged", "", max_ratio=ratio) for one, ratio in ratios.items()}

    tiny = dict.fromkeys(("batch", "timesteps", "features", "units"), 1)
    for changes in ([{}, tiny], [tiny, {"units": 17}]):
        groups, _ = grouped(shown([DEFAULT.but(change) for change in changes]), shown)
        found = {group.kind: group.smallest for group in groups}
        assert found == {
            ("diverged", False): DEFAULT,
            ("diverged", True): DEFAULT.but(tiny),
        }


# Two mistakes of an imaginary Keras, and a refusal.


def verdict(one):
    if one["calls"] == 3 and one["unroll"]:
        return "refused"
    mask = one["mask"] != "none" and one["unroll"] and one["go_backwards"]
    return "diverged" if mask or one["activation"] == "sparsemax" else "parity"


def failures(*changes):
    return {one: Outcome(verdict(one), "") for one in map(DEFAULT.but, changes)}


def run(ones):
    return {one: Outcome(verdict(one), "") for one in ones}


def by_options(groups):
    return {tuple(sorted(found.smallest.changed)): found for found in groups}


SPARSE = {"activation": "sparsemax"}
MASKED = {"unroll": True, "go_backwards": True}


def test_many_failures_are_few_findings():
    outcomes = failures(
        *({**SPARSE, "mode": mode, "units": n} for mode in ("graph", "xla") for n in (1, 4, 17)),
        *({**MASKED, "mask": m, "calls": n} for m in ("left", "right", "random") for n in (1, 2)),
        {"calls": 3, "unroll": True, "use_bias": False},
        {"mode": "xla"},
    )
    groups, rest = grouped(outcomes, run)
    found = by_options(groups)
    assert rest == []
    assert set(found) == {
        ("activation",),
        ("go_backwards", "mask", "unroll"),
        ("calls", "unroll"),
    }
    assert len(found["activation",].members) == 6
    masked = found["go_backwards", "mask", "unroll"]
    assert len(masked.members) == 6
    assert masked.smallest["mask"] == "right"
    assert [one["mask"] for one in masked.forms] == ["left", "right", "random"]
    assert found["calls", "unroll"].verdict == "refused"


def test_a_failure_hides_no_other():
    """One that shows both belongs to both, also where Keras's refusal came first."""
    both = DEFAULT.but({**SPARSE, **MASKED, "mask": "left"})
    refused = DEFAULT.but({**SPARSE, "unroll": True, "calls": 3})
    outcomes = {one: Outcome(verdict(one), "") for one in (both, refused)}
    found = by_options(grouped(outcomes, run)[0])
    assert set(found["activation",].members) == {both, refused}
    assert set(found["go_backwards", "mask", "unroll"].members) == {both}
    assert set(found["calls", "unroll"].members) == {refused}
    # Each of them is counted once.
    own = [one for group in found.values() for one in group.members_that(is_own=True)]
    assert sorted(map(str, own)) == sorted(map(str, outcomes))
    assert found["activation",].members_that(is_own=False) == [refused]


def test_what_is_refused_with_an_option_less_is_no_finding():
    """Nobody asked for it: only what failed by itself did."""

    def one_of(c):
        if c.has(SPARSE):
            return "diverged"
        return "refused" if c["unroll"] and not c["return_state"] else "parity"

    def both(ones):
        return {c: Outcome(one_of(c), "") for c in ones}

    outcomes = both([DEFAULT.but({**SPARSE, "unroll": True})])
    (found,), rest = grouped(outcomes, both)
    assert (found.smallest.changed, found.verdict, rest) == (SPARSE, "diverged", [])


def test_a_refusal_is_not_explained_by_a_divergence():
    """Though it has the same options and goes when they go."""

    def one_of(c):
        return ("refused" if c["calls"] == 3 else "diverged") if c.has(SPARSE) else "parity"

    def both(ones):
        return {c: Outcome(one_of(c), "") for c in ones}

    found = by_options(grouped(both([DEFAULT.but(SPARSE | {"calls": n}) for n in (1, 3)]), both)[0])
    assert {name: one.verdict for name, one in found.items()} == {
        ("activation",): "diverged",
        ("activation", "calls"): "refused",
    }


def test_several_are_tried_at_once_where_several_can_be():
    """Whatever that is, what is found is the same."""
    asked = []

    def counting(ones):
        asked.append(len(ones))
        return run(ones)

    outcomes = failures({**SPARSE, "units": 17, "calls": 2}, {**MASKED, "mask": "left", "units": 4})
    alone, _ = grouped(outcomes, counting)
    turns = len(asked)
    together, _ = grouped(outcomes, counting, 3)
    assert [one.smallest for one in together] == [one.smallest for one in alone]
    assert len(asked) - turns < turns


def test_a_failure_like_others_is_looked_into_with_their_options(monkeypatch):
    """What is found is the same, and far fewer are asked for."""
    busy = {"dtype": "float16", "use_bias": False, "stateful": True, "calls": 2, "wrapper": "rnn"}
    outcomes = failures(
        *(
            {**busy, **MASKED, "mask": mask, "mode": mode}
            for mask in ("left", "random", "right")
            for mode in ("graph", "xla")
        ),
        *({**busy, **SPARSE, "initial_state": state} for state in ("zeros", "random")),
        {**busy, "calls": 3, "unroll": True},
    )
    asked = set()

    def counting(ones):
        asked.update(ones)
        return run(ones)

    found = by_options(grouped(outcomes, counting)[0])
    few = len(asked)
    asked.clear()
    monkeypatch.setattr(engine, "head_start", lambda failure, groups, first: failure.configuration)
    slowly = by_options(grouped(outcomes, counting)[0])
    assert few < len(asked)
    assert {name: (group.smallest, group.members) for name, group in found.items()} == {
        name: (group.smallest, group.members) for name, group in slowly.items()
    }
    assert len(found) == 3


def test_layers_with_other_options_are_told_apart():
    """Keras 2 refuses `use_cudnn`, which a SimpleRNN never had."""
    no_cudnn = default_of("lstm").but({"use_cudnn": False})
    outcomes = {no_cudnn: Outcome("refused", ""), DEFAULT.but(SPARSE): Outcome("refused", "")}

    def refused(ones):
        failing = {True: Outcome("refused", ""), False: Outcome("parity", "")}
        return {c: failing[c.has({"use_cudnn": False}) or c.has(SPARSE)] for c in ones}

    groups, _ = grouped(outcomes, refused)
    assert [set(group.members) for group in groups] == [{one} for one in outcomes]


def test_what_fails_by_default_is_one_finding():
    outcomes = {DEFAULT.but({"calls": n}): Outcome("diverged", "") for n in (1, 2, 3)}
    groups, _ = grouped(outcomes, lambda ones: {one: Outcome("diverged", "") for one in ones})
    (found,) = groups
    assert found.smallest.changed == {}
    assert len(found.members) == 3


def test_too_many_causes_are_not_all_looked_into(monkeypatch):
    monkeypatch.setattr(engine, "MOST_GROUPS", 1)
    outcomes = failures(SPARSE, {**MASKED, "mask": "left"})
    groups, rest = grouped(outcomes, run)
    assert len(groups) == 1
    assert rest == [DEFAULT.but({**MASKED, "mask": "left"})]


@pytest.mark.parametrize("outcome", [Outcome("suspect", ""), Outcome("inconclusive", "")])
def test_other_verdicts_are_grouped_too(outcome):
    def weak(ones):
        right = Outcome("parity", "")
        return {one: outcome if one["dtype"] == "float16" else right for one in ones}

    failing = [DEFAULT.but({"dtype": "float16", "calls": n}) for n in (1, 2)]
    (found,), _ = grouped(weak(failing), weak)
    assert (found.verdict, found.smallest.changed) == (outcome.verdict, {"dtype": "float16"})


def test_bounds_too_wide_in_16_bits_are_one_finding_whatever_tips_the_scale():
    """And hide nothing: what diverges without the 16 bits is a finding of its own."""
    wide = ({"activation": "gelu"}, {"use_bias": False}, {"initial_state": "random"})

    def one_of(c):
        if c["dtype"].endswith("float16") and any(map(c.has, wide)):
            return "inconclusive"
        return "diverged" if c["unroll"] else "parity"

    def both(ones):
        return {c: Outcome(one_of(c), "", max_ratio=0.5) for c in ones}

    dtypes = ("mixed_bfloat16", "float16")
    failing = [DEFAULT.but({**one, "dtype": d, "mode": "xla"}) for one in wide for d in dtypes]
    hiding = failing[0].but({"unroll": True})
    groups, rest = grouped(both([*failing, hiding]), both)
    found = {group.verdict: group for group in groups}
    assert (len(groups), rest) == (2, [])
    assert set(found["inconclusive"].members) == {*failing, hiding}
    assert sorted(form["dtype"] for form in found["inconclusive"].forms) == sorted(dtypes)
    assert found["diverged"].smallest.changed == {"unroll": True}
    assert found["diverged"].members == {hiding: False}


def test_a_mode_that_matters_stays_when_an_option_is_taken_away():
    form = {"unroll": True, "mask": "left", "dtype": "float64"}
    busy = DEFAULT.but({**form, "mode": "xla"})
    first, *others = with_one_less(busy, form)
    assert first == busy.without("unroll")
    assert others == [busy.without(name).without("mode") for name in ("mask", "dtype")]
    form |= {"mode": "xla"}
    assert [*with_one_less(busy, form)] == [busy.without(name) for name in form]


# Within what was asked for.


def test_what_was_left_out_is_not_asked_for():
    asked = set()
    space = {**SPACES["simple_rnn"], "mask": ("left", "right"), "activation": ("relu", "elu")}
    space |= {"units": (4,), "timesteps": (8, 3)}
    start = simplest_of("simple_rnn", space)
    assert start.changed == {"mask": "left", "activation": "relu"}
    assert start.varied == {}

    def first(ones):
        asked.update(ones)
        return next((one for one in ones if one["mask"] == "right" and one["unroll"]), None)

    one = start.but({"mask": "right", "unroll": True, "activation": "elu", "calls": 3})
    found = shrink(one, first, space)
    assert found.varied == {"mask": "right", "unroll": True}
    assert (found["activation"], found["units"], found["timesteps"]) == ("relu", 4, 3)
    assert found["batch"] == 3
    assert {(c["mask"], c["activation"]) for c in asked} <= {
        (mask, f) for mask in ("left", "right") for f in ("relu", "elu")
    }
    assert {c["units"] for c in asked} == {4}
