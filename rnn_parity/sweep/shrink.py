"""From a configuration that shows something to the smallest one that still does.

Delta debugging (Zeller and Hildebrandt, *Simplifying and isolating failure-inducing input*, IEEE
Transactions on Software Engineering 28, 2002) on the options that do not have their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rnn_parity.sweep.space import SIZES, SPACES, Configuration

First = Callable[[Sequence[Configuration]], Configuration | None]
"""The first of some configurations that shows it; None where none does."""

FUNCTIONS = ("activation", "recurrent_activation")
SEVERAL = 3
MIRRORED = {"left": "right", "right": "left"}


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
