"""Where a sweep's work is done, and what the Keras installed there takes of a layer's options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rnn_parity.errors import InputError, MissingPackageError
from rnn_parity.sweep.one import ALONE, check_one, generated, others
from rnn_parity.sweep.space import (
    OF_KERAS,
    OF_RUN,
    OF_WRAPPER,
    RULES,
    SPACES,
    Configuration,
    Rule,
    Space,
    example,
)


@dataclass(frozen=True)
class Site:
    """Where the work is done: its versions and device, and what its Keras takes of a layer.

    `space` holds the values that it does not refuse alone, `rules` what does not go together, and
    `refused` one configuration for everything that it does not take.
    """

    layer: str
    environment: Mapping[str, str | None]
    space: Space
    rules: tuple[Rule, ...]
    refused: tuple[Configuration, ...]


def describe(layer: str, against: str | None = None) -> Site:
    """The site that this process is. Takes seconds where TensorFlow is not imported yet.

    With `against`, options that only say how Keras runs have one value. Raises as `source_of` does.
    """
    from rnn_parity import keras_adapter
    from rnn_parity.system.environment import environment

    others(against)
    default = Configuration.default(layer)
    unknown = [
        default.but({name: value})
        for name, values in SPACES[layer].items()
        for value in values[1:]
        if name not in set(OF_RUN + OF_WRAPPER) - {"dtype"}
        and not builds(default.but({name: value}))
    ]
    alone = {item for one in unknown for item in one.changed.items()}
    space = {
        name: tuple(value for value in values if (name, value) not in alone)
        for name, values in SPACES[layer].items()
    }
    if against is not None:
        space |= {name: space[name][:1] for name in OF_KERAS}
    tried = [(rule, example(rule, layer, space)) for rule in RULES if rule.keras]
    broken = [(rule, one) for rule, one in tried if one and refuses(one, against)]
    rules = [rule for rule in RULES if not rule.keras] + [rule for rule, _ in broken]
    refused = (*unknown, *(one for _, one in broken))
    return Site(layer, environment(keras_adapter.device()), space, tuple(rules), refused)


def refuses(configuration: Configuration, against: str | None) -> bool:
    """Whether Keras, or the source in its place, refuses it."""
    return check_one(configuration, 0, against).verdict == "refused"


def narrowed(site: Site, refused: Iterable[Configuration]) -> Site:
    """The site without the values that are refused alone; `refused` differ from the default in one.

    Combined with others, such a value would hide whatever else these do.
    """
    ones = tuple(refused)
    alone = {item for one in ones for item in one.changed.items()}
    space = {
        name: tuple(value for value in values if (name, value) not in alone)
        for name, values in site.space.items()
    }
    return replace(site, space=space, refused=(*site.refused, *ones))


def builds(configuration: Configuration) -> bool:
    """Whether Keras builds this layer at all."""
    from rnn_parity import keras_adapter

    spec = generated(configuration, 0)
    try:
        with ALONE:
            keras_adapter.build_layer(spec.layer, 1, 1, spec.arguments, spec.dtype, 0, 1)
    except MissingPackageError:
        raise
    except InputError:
        return False
    return True
