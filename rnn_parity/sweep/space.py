"""The options that a sweep combines, their values, and which combinations of them are checked.

A layer is added by one line in `SPACES`. The first value of an option is its default: what a
smallest configuration has wherever the option does not matter.

What is checked is a covering array of some strength, or the full product. With strength t, whatever
any t options are set to together occurs in at least one configuration (Kuhn, Kacker and Lei,
*Introduction to Combinatorial Testing*, chapter 2), unless a rule forbids it. The order is a
shuffle that depends on the seed alone, so that the first N are a fair sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from random import Random
from typing import TypeAlias

from rnn_parity.errors import InputError, misspelt
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.sweep.covering import UNBROKEN, Forbidden, covering_array
from rnn_parity.system.choices import INITIAL_STATES, MASKS, MODES
from rnn_parity.system.environment import keras_version
from rnn_parity.verdict.configuration import OF_WRAPPER, Configuration, Value
from rnn_parity.verdict.sweep_results import Outcome

Space: TypeAlias = Mapping[str, tuple[Value, ...]]

BOTH = (False, True)
OF_KERAS = ("mode", "open_size", *OF_WRAPPER)
"""How Keras runs it, which is nothing to another implementation that is given the same data."""

# Keras calls hard_sigmoid by one name, whatever its slope.
NAMES = tuple(name for name in CATALOGUE if name not in ("tanh", "hard_sigmoid_keras2"))
OF_KERAS_2 = tuple(name for name in NAMES if name[0].isupper())
"""Layer classes that Keras 2 takes for activations; they compute in float32."""
OLD = ("time_major", *OF_KERAS_2)
"""What messages do not offer: Keras 3 does not take it."""

COMMON: Space = {
    "activation": ("tanh", *NAMES),
    "dtype": ("float32", "float64", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16"),
    "mode": MODES,
    "mask": MASKS,
    "initial_state": INITIAL_STATES,
    "calls": (1, 2, 3),
    # Called on arrays; or in a functional model whose Input leaves this size open.
    "open_size": ("none", "timesteps", "batch"),
    # A cell in an RNN, a stack of this one cell, or a layer that runs in both directions; the
    # merge mode is nothing to the others.
    "wrapper": ("none", "rnn", "stacked", "bidirectional"),
    "merge_mode": ("concat", "sum", "mul", "ave", "none"),
    "use_bias": (True, False),
    "return_sequences": (True, False),
    "return_state": BOTH,
    "go_backwards": BOTH,
    "stateful": BOTH,
    "unroll": BOTH,
    "zero_output_for_mask": BOTH,
    # Inactive without training, but some versions choose their kernel by it.
    "dropout": (0.0, 0.25),
    "recurrent_dropout": (0.0, 0.25),
    "time_major": BOTH,
    "batch": (3, 1),
    "timesteps": (3, 1, 8),
    "features": (4, 1),
    "units": (4, 1, 17),
}
GATED: Space = {
    **COMMON,
    # Bounded ones: gates without a bound make the state grow until nothing can be proven.
    "recurrent_activation": ("sigmoid", "hard_sigmoid", "tanh", "softsign", "softmax"),
    "implementation": (2, 1),
    "use_cudnn": ("auto", False),
}
SPACES: Mapping[str, Space] = {
    "simple_rnn": COMMON,
    "lstm": {**GATED, "unit_forget_bias": (True, False)},
    "gru": {**GATED, "reset_after": (True, False)},
}

MOST_LISTED = 10**6
"""A full product up to this size is listed and shuffled; from a larger one, samples are drawn."""
MOST_TUPLES = 5_000_000
"""How many combinations of values a covering array may be asked for: these take half a minute, and
the sweep itself hours."""


@dataclass(frozen=True)
class Rule:
    """Values that do not go together: no configuration has one of each.

    Either `keras` may refuse them, which is tried out, or they cannot be run here.
    """

    together: Space
    keras: bool = False

    def forbids(self, one: Configuration) -> bool:
        """Whether a configuration has values that do not go together."""
        own = dict(one.values)
        return all(own.get(name) in values for name, values in self.together.items())


FLOAT16 = ("mixed_float16", "float16")
COMPILED = tuple(mode for mode in MODES if mode != "eager")
RULES = (
    Rule({"unroll": (True,), "open_size": ("timesteps",)}, keras=True),
    Rule({"stateful": (True,), "open_size": ("batch",)}, keras=True),
    Rule({"activation": OF_KERAS_2, "dtype": COMMON["dtype"][1:]}, keras=True),
    Rule({"activation": ("sparsemax",), "dtype": FLOAT16, "mode": COMPILED}, keras=True),
    Rule({"wrapper": ("bidirectional",), "go_backwards": (True,)}, keras=True),
    Rule({"wrapper": ("bidirectional",), "stateful": (True,), "return_state": (True,)}, keras=True),
    Rule({"wrapper": ("stacked",), "mask": COMMON["mask"][1:]}, keras=True),
    Rule({"wrapper": ("stacked",), "unroll": (True,)}, keras=True),
    Rule({"wrapper": ("rnn", "stacked"), "use_cudnn": (False,)}, keras=True),
    Rule({"wrapper": ("rnn", "stacked"), "implementation": (1,)}, keras=True),
    Rule({"open_size": ("timesteps", "batch"), "calls": (2, 3)}),
    Rule({"open_size": ("timesteps", "batch"), "initial_state": ("random",)}),
    Rule({"open_size": ("timesteps", "batch"), "time_major": (True,)}),
)


def default_of(layer: str) -> Configuration:
    """The first value of every option."""
    return simplest_of(layer, SPACES[layer])


def simplest_of(layer: str, space: Space) -> Configuration:
    """The first value that every option has in `space`."""
    defaults = tuple((name, values[0]) for name, values in SPACES[layer].items())
    simplest = tuple((name, space[name][0]) for name, _ in defaults)
    return Configuration(layer, simplest, defaults, simplest)


def example(rule: Rule, layer: str, space: Space) -> Configuration | None:
    """The smallest change of the simplest that breaks `rule`; None where `space` cannot."""
    possible = [
        (name, [value for value in space.get(name, ()) if value in values])
        for name, values in rule.together.items()
    ]
    if not all(values for _, values in possible):
        return None
    return simplest_of(layer, space).but({name: values[0] for name, values in possible})


@dataclass(frozen=True)
class Site:
    """Where the work is done: its versions and device, and what its Keras takes of a layer.

    `space` holds the values that it takes, `rules` what does not go together. `left_out` has an
    example of each rule that Keras itself refuses, with its words; no sweep asks for them. `alone`
    are the configurations that show which values another implementation refuses by themselves: they
    are asked for once. `not_handed_over` are the options that a Python function would not be told
    of, by what its signature lacks.
    """

    layer: str
    environment: Mapping[str, str | None]
    space: Space
    rules: tuple[Rule, ...]
    left_out: tuple[tuple[Configuration, Outcome], ...] = ()
    alone: tuple[Configuration, ...] = ()
    not_handed_over: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def single_options(self) -> Iterator[tuple[str, Configuration]]:
        """Every value but the first, alone: the name of its option, and the configuration."""
        for name, values in self.space.items():
            yield from ((name, self.simplest.but({name: value})) for value in values[1:])

    @property
    def simplest(self) -> Configuration:
        """The first value of every option."""
        return simplest_of(self.layer, self.space)

    def without(self, refused: Iterable[Configuration]) -> Site:
        """The site without the values that are refused alone: `refused` are `single_options`.

        Combined with others, such a value would hide whatever else these do.
        """
        ones = tuple(refused)
        alone = {item for one in ones for item in set(one.values) - set(one.simplest)}
        space = {
            name: tuple(value for value in values if (name, value) not in alone)
            for name, values in self.space.items()
        }
        return replace(self, space=space, alone=(*self.alone, *ones))


# What is asked for, in the words of a person.


@dataclass(frozen=True)
class Choice:
    """Some values of an option, or all of them, as `flag` and its argument name them in words."""

    flag: str
    name: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        own = self.flag == f"--{self.name.replace('_', '-')}"
        words = (() if own else (self.name,)) + ((",".join(self.words),) if self.words else ())
        return f"{self.flag} {'='.join(words)}"

    def values(self, known: Sequence[Value]) -> tuple[Value, ...]:
        """Those of the `known` values that are meant.

        Raises `InputError` for a word that is none of them.
        """
        meant = [(word, value_of(word, known)) for word in self.words]
        for word, value in meant:
            if value is None:
                expected = f"expected some of {offered(known)}"
                raise InputError(f"{self}: {misspelt(word, map(str, known), expected)}")
        return tuple(value for value in known if value in [one for _, one in meant])


def asked_spaces(
    layers: Sequence[str], only: Sequence[Choice], without: Sequence[Choice]
) -> dict[str, Space]:
    """The space of each layer: of some options `only` these values, and of others `without` them.

    Without any value, an option has its first, which is the simplest. Raises `InputError` for
    options and values that there are not, and where no value is left.
    """
    for choice in (*only, *without):
        known = list(dict.fromkeys(name for layer in layers for name in SPACES[layer]))
        if choice.name not in known:
            expected = f"expected an option of {' or '.join(layers)}: {offered(known)}"
            raise InputError(f"{choice}: {misspelt(choice.name, known, expected)}")
    for choice in only:
        if [one.name for one in only].count(choice.name) > 1:
            raise InputError(f"{choice}: {choice.name} is given twice; write all values as A,B")
    return {layer: asked_space(SPACES[layer], only, without) for layer in layers}


def asked_space(space: Space, only: Sequence[Choice], without: Sequence[Choice]) -> Space:
    """The `space` of one layer with what is asked for."""
    found = dict(space)
    for choice in only:
        if choice.name in space:
            found[choice.name] = choice.values(space[choice.name])
    for choice in without:
        if choice.name not in space:
            continue
        dropped = choice.values(space[choice.name]) if choice.words else found[choice.name][1:]
        found[choice.name] = tuple(v for v in found[choice.name] if v not in dropped)
        if not found[choice.name]:
            raise InputError(f"{choice}: leaves no value of {choice.name}; keep one")
    return found


def restricted(spaces: Mapping[str, Space]) -> dict[str, list[Value]]:
    """The options some values of which are left out of the spaces, with those that are left."""
    return {
        name: list(values)
        for layer, space in spaces.items()
        for name, values in space.items()
        if values != SPACES[layer][name]
    }


def excluded(spaces: Mapping[str, Space]) -> dict[str, list[Value]]:
    """The options some values of which are left out of the spaces, with those that are."""
    return {
        name: [value for value in SPACES[layer][name] if value not in values]
        for layer, space in spaces.items()
        for name, values in space.items()
        if values != SPACES[layer][name]
    }


def value_of(word: str, known: Sequence[Value]) -> Value | None:
    """The value that a word stands for, numbers in any form; None where there is no such value."""
    for value in known:
        if word == str(value):
            return value
    try:
        number = float(word)
    except ValueError:
        return None
    numbers = (value for value in known if isinstance(value, (int, float)))
    return next((one for one in numbers if not isinstance(one, bool) and one == number), None)


def offered(known: Iterable[Value]) -> str:
    """The options or values that a message names."""
    is_old = (keras_version() or "3").startswith("2")
    return ", ".join(str(one) for one in known if is_old or one not in OLD)


# What is combined.


def combinations(
    site: Site, strength: int | None, limit: int | None, seed: int
) -> list[Configuration]:
    """The configurations of a sweep, the first `limit` of them if given; all for no strength.

    What another implementation refuses alone is among them, each value once. Raises `InputError`
    for a strength that is not from 1 to the number of options, and for a full product that is too
    large to be listed and has no limit.
    """
    if strength is None and prod(map(len, site.space.values())) > MOST_LISTED:
        return drawn(site, limit, seed)
    found = everything(site) if strength is None else covering(site, strength, seed)
    found += site.alone
    Random(seed).shuffle(found)
    return found[:limit]


def covering(site: Site, strength: int, seed: int) -> list[Configuration]:
    """A covering array of the given strength."""
    from tqdm import tqdm

    free = {name: values for name, values in site.space.items() if len(values) > 1}
    if not 1 <= strength <= len(site.space):
        raise InputError(
            f"--strength: expected full, or an integer from 1 to {len(site.space)}, the number of "
            f"options, received {strength}"
        )
    strength = min(strength, len(free))  # the others are the same everywhere
    if tuples(free, strength) > MOST_TUPLES:
        raise InputError(
            f"--strength {strength}: expected one that asks for at most {MOST_TUPLES} combinations "
            f"of values, received {tuples(free, strength):.2g}; use --strength full --limit N"
        )
    sizes = [len(values) for values in free.values()]
    rules = [numbered(rule, site.space, list(free)) for rule in site.rules]
    with tqdm(desc="covering array", total=len(free), delay=1, leave=False, disable=None) as bar:
        bar.update(strength)
        rows = covering_array(sizes, rules, strength, seed, bar.update)
    named = ({n: free[n][i] for n, i in zip(free, row, strict=True)} for row in rows)
    return [configuration(site, row) for row in named]


def tuples(space: Space, strength: int) -> int:
    """How many combinations of values of `strength` options there are."""
    ways = [1] + [0] * strength  # of choosing values for 0, 1, ... of the options so far
    for values in space.values():
        ways = [ways[0], *(ways[k] + len(values) * ways[k - 1] for k in range(1, strength + 1))]
    return ways[strength]


def numbered(rule: Rule, space: Space, names: Sequence[str]) -> Forbidden:
    """A rule about `space` in numbers, of the options `names` and of their values.

    An option that is not among these has one value: where the rule names it, the rest is what
    counts; where it does not, nothing breaks the rule.
    """
    found = {
        name: frozenset(i for i, value in enumerate(space.get(name, ())) if value in values)
        for name, values in rule.together.items()
    }
    if not all(found.values()):
        return UNBROKEN
    return {names.index(name): values for name, values in found.items() if name in names}


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
    return not any(rule.forbids(one) for rule in site.rules)


def configuration(site: Site, row: Mapping[str, Value]) -> Configuration:
    """The configuration that has the values of `row`, and the only one where `row` has none."""
    return site.simplest.but(row)
