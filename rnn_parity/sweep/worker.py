"""What a worker does for a sweep: it tries what its Keras takes, runs a configuration, checks it.

These functions run where the work is done: in this process, in another, or on another machine. So
their arguments and results are plain data.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_parity.diagnosis.known_causes import numbers_in
from rnn_parity.diagnosis.known_differences import known_by_id
from rnn_parity.errors import InputError, MissingPackageError, SourceFailedError, nearest
from rnn_parity.implementations.sources import KINDS, WORDS, Source, recognised, sources
from rnn_parity.sweep.space import (
    OF_KERAS,
    RULES,
    SPACES,
    Site,
    Space,
    default_of,
    example,
)
from rnn_parity.system.environment import keras_version
from rnn_parity.verdict.configuration import OF_RUN, OF_WRAPPER, Configuration, Value
from rnn_parity.verdict.order import WORST_FIRST, Status
from rnn_parity.verdict.results import Cause, Check
from rnn_parity.verdict.sweep_results import Numbers, Outcome

if TYPE_CHECKING:
    from rnn_parity.api.generated import GeneratedLayer
    from rnn_parity.cases.case import Case
    from rnn_parity.recurrence.layer_call import LayerCall

TOLD_BY = {"mask": ("mask",), "initial_state": ("initial_state", "stateful")}
"""Parameters of a Python function, and the options of which it is told by these alone."""
ALONE = Lock()
"""Keras's own settings belong to the process, and a Dask worker may have several threads."""


def check_configuration(
    configuration: Configuration, seed: int, against: str | None = None
) -> Outcome:
    """Check one configuration on data from `seed`; never raises for what it finds.

    With `against`, what that source computes is checked in place of Keras's outputs. Raises
    `InputError` for a source that is none, and `MissingPackageError` where TensorFlow, or a package
    that the source needs, is not installed. No cause is looked for: see `explain_configuration`.
    """
    from rnn_parity.keras_adapter.runtime import quiet

    with ALONE, quiet():
        start = time.perf_counter()
        outcome, _ = _checked(configuration, seed, against, why=False)
        if outcome.verdict == "refused":
            gc.collect()  # TensorFlow complains when what a refused call left unused is let go
        return replace(outcome, seconds=round(time.perf_counter() - start, 4))


def explain_configuration(
    configuration: Configuration, seed: int, against: str | None = None
) -> tuple[Outcome, tuple[Cause, ...]]:
    """Check a configuration again, and look for the mistakes that explain it; takes seconds."""
    from rnn_parity.keras_adapter.runtime import quiet

    with ALONE, quiet():
        return _checked(configuration, seed, against, why=True)


def _checked(
    configuration: Configuration, seed: int, against: str | None, why: bool
) -> tuple[Outcome, tuple[Cause, ...]]:
    from rnn_parity.api.judging import judged

    seen, sources = None, sources_named(against)
    try:
        seen = observe(configuration, seed)
        checks = list(judged(seen, "generated", others=sources, why=why))
    except MissingPackageError:
        raise
    except InputError as error:
        who = "" if seen is None or against is None else f"{against}: "
        status: Status = "failed" if isinstance(error, SourceFailedError) else "refused"
        return Outcome(status, who + own_words(error).removeprefix(who)), ()
    except Exception as error:  # a mistake of this program's own must not end the sweep
        return Outcome("inconclusive", f"not compared: {type(error).__name__}: {error}"), ()
    worst = min(checks, key=lambda check: (WORST_FIRST.index(check.verdict), is_known(check)))
    return summed_up(worst), worst.causes


def is_known(check: Check) -> bool:
    """Whether a known difference explains it: no other check may hide behind such a one."""
    return bool(check.causes) and known_by_id(check.causes[0].fault) is not None


def sources_named(against: str | None) -> list[Source]:
    """The source that answers in place of Keras, if one is named."""
    return [] if against is None else [source_of(against)]


def own_words(error: InputError) -> str:
    """Keras's own words, or a source's, without what this program says around them."""
    text = str(error)
    for words in ("Keras refused: ", "refused it: ", "it refused: ", "it failed: "):
        text = text.rpartition(words)[2]
    return text


def summed_up(check: Check) -> Outcome:
    """What a sweep keeps of a check; of a wrapper, the summary begins with its part."""
    part = str(check.subject.layer_name).split("/")[1:2]
    return Outcome(
        check.verdict,
        ": ".join((*part, check.summary)),
        max_ratio=check.max_ratio,
        effective_bits=check.effective_bits,
        arithmetic=check.arithmetic,
        call=check.subject.call,
        max_deviation=check.max_deviation,
        first_divergence=check.first_divergence,
    )


def generated_layer(configuration: Configuration, seed: int) -> GeneratedLayer:
    """The layer and the data of a configuration, as `rnn-parity check` generates them."""
    from rnn_parity.api.generated import GeneratedLayer

    fields = ("dtype", "mask", "initial_state", "calls", "batch", "timesteps", "features", "units")
    options: dict[str, Any] = {name: configuration[name] for name in fields}
    return GeneratedLayer(
        configuration.kind, seed=seed, arguments=configuration.arguments, **options
    )


def observe(configuration: Configuration, seed: int) -> list[LayerCall]:
    """Run the layer: called on arrays, or in a functional model that leaves a size open."""
    from rnn_parity.api.functions import observe_generated

    spec, mode = generated_layer(configuration, seed), str(configuration["mode"])
    if configuration["open_size"] == "none":
        return observe_generated(spec, None, None, mode)
    return observe_functional(spec, mode, str(configuration["open_size"]))


def observe_functional(spec: GeneratedLayer, mode: str, open_size: str) -> list[LayerCall]:
    """Run the layer in a functional model whose `Input` does not say how large `open_size` is."""
    from rnn_parity import keras_adapter
    from rnn_parity.api.generated import random_inputs, random_mask
    from rnn_parity.keras_adapter.runtime import refusals

    batch = None if open_size == "batch" else spec.batch
    timesteps = None if open_size == "timesteps" else spec.timesteps
    rng = np.random.default_rng(spec.seed)
    data = random_inputs(spec, rng)[0]
    mask = random_mask(spec.mask, spec.batch, spec.timesteps, rng)
    layer = keras_adapter.build_layer(
        spec.layer, spec.units, spec.features, spec.arguments, spec.dtype, spec.seed, batch
    )
    keras = keras_adapter.tensorflow_module().keras
    with refusals("a functional model"):
        inputs = keras.Input((timesteps, spec.features), batch_size=batch, dtype=str(data.dtype))
        model = keras.Model(inputs, layer(inputs))
    return keras_adapter.observe_model(model, data, mode, mask=mask)


def numbers_of(configuration: Configuration, seed: int, against: str | None = None) -> Numbers:
    """Run a configuration again for its numbers; it must be one that can be compared.

    With `against`, the outputs are those of that source.
    """
    from rnn_parity.implementations.against import layer_computed_by

    with ALONE:
        observations = observe(configuration, seed)
        for source in sources_named(against):
            observations = [layer_computed_by(seen, source) for seen in observations]
    found: Numbers | None = None
    parts = [seen for seen in observations if seen.weights is not None]
    for name in dict.fromkeys(seen.layer_name for seen in parts):
        found = numbers_in([seen for seen in parts if seen.layer_name == name], found)
    assert found is not None, "a failure has been compared"
    return found


def cases_of(
    configuration: Configuration, seed: int, against: str | None = None
) -> tuple[Case, ...]:
    """Every call of a configuration as Keras computes it, whoever is `against`; to be written."""
    from rnn_parity import keras_adapter
    from rnn_parity.cases.case import case_of, versions_now

    with ALONE:
        calls = [seen for seen in observe(configuration, seed) if seen.weights is not None]
    return tuple(case_of(seen, versions_now(keras_adapter.device())) for seen in calls)


def describe(
    layer: str,
    against: str | None = None,
    space: Space | None = None,
    named: Collection[str] = (),
) -> Site:
    """The site that this process is. Takes seconds where TensorFlow is not imported yet.

    `space` is what is asked for, everything for None; the values of the options `named` are asked
    for by name. Other values that Keras does not take are not in the site's space. With `against`,
    options that only say how Keras runs have one value. Raises `InputError` and
    `MissingPackageError` for a source that cannot be asked, and `InputError` for a value that is
    asked for by name, or all values of an option, where Keras does not take them.
    """
    from rnn_parity import keras_adapter
    from rnn_parity.system.environment import environment

    sources_named(against)
    space = built(layer, SPACES[layer] if space is None else space, named)
    missing: dict[str, tuple[str, ...]] = {}
    if against is not None:
        space |= {name: space[name][:1] for name in OF_KERAS}
        missing, default = not_handed_over(against, layer, space, named), default_of(layer)
        space |= {name: (default[name],) for names in missing.values() for name in names}
    here = environment(keras_adapter.device())
    rules, left_out = [rule for rule in RULES if not rule.keras], []
    for rule in RULES:
        one = example(rule, layer, space) if rule.keras else None
        outcome = None if one is None else check_configuration(one, 0)
        if one is not None and outcome is not None and outcome.verdict == "refused":
            rules.append(rule)
            left_out.append((one, outcome))
    return Site(layer, here, space, tuple(rules), tuple(left_out), not_handed_over=missing)


def not_handed_over(
    against: str, layer: str, space: Space, named: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """The options of which a Python function would not be told, by what its signature lacks.

    Raises `InputError` for one that is asked for: it is among the `named`, or has no default.
    """
    if recognised(against)[0].module != ".python_function":
        return {}
    from rnn_parity.implementations.python_function import function_of, parameters

    taken, default = parameters(function_of(against)), default_of(layer)
    found: dict[str, tuple[str, ...]] = {}
    for missing in TOLD_BY.keys() - {*taken}:
        values = {name: [v for v in space[name] if v != default[name]] for name in TOLD_BY[missing]}
        found |= {missing: names} if (names := tuple(filter(values.get, values))) else {}
        for name in names:
            if name in named or default[name] not in space[name]:
                raise InputError(
                    f"{name}={values[name][0]}: expected what {against} is told of, but its "
                    f"signature has no {missing}; add it there, or leave {name} out"
                )
    return dict(sorted(found.items()))


def built(layer: str, space: Space, named: Collection[str] = ()) -> dict[str, tuple[Value, ...]]:
    """What Keras builds of a space, whatever is beside it.

    Raises `InputError` for a value of one of the options `named` that it does not build, and where
    that leaves an option without a value.
    """
    default, of_keras = default_of(layer), set(OF_RUN + OF_WRAPPER) - {"dtype"}
    asked = [(n, v) for n, vs in space.items() if n not in of_keras for v in vs if v != default[n]]
    refused = {item: why for item in asked if (why := not_built(default.but(dict([item]))))}
    taken = {n: tuple(v for v in vs if (n, v) not in refused) for n, vs in space.items()}
    for (name, value), why in refused.items():
        if name in named or not taken[name]:
            raise InputError(
                f"{name}={value}: expected a value that Keras {keras_version()} takes, received "
                f"one that it refuses: {why.rstrip('.')}; leave it out"
            )
    return taken


def not_built(configuration: Configuration) -> str:
    """Why Keras does not build this layer at all; empty where it does."""
    from rnn_parity import keras_adapter

    spec = generated_layer(configuration, 0)
    try:
        with ALONE:
            keras_adapter.build_layer(spec.layer, 1, 1, spec.arguments, spec.dtype, 0, 1)
    except MissingPackageError:
        raise
    except InputError as error:
        return own_words(error)
    return ""


def refuse_source(name: str) -> None:
    """Raise `InputError` for a source that cannot answer for any layer, whatever its weights."""
    able = ", ".join(kind.form for kind in KINDS if kind.any_weights)
    wanted = f"expected one of {able}, which are given the weights of every"
    try:
        kind, argument = recognised(name)
    except InputError:
        near = nearest(name, WORDS)
        expected = f"no such source{near} {wanted}" if near else wanted
        raise InputError(f"--against {name!r}: {expected} configuration") from None
    if not kind.any_weights:
        raise InputError(
            f"--against {name!r}: {wanted} configuration; received {kind.form}, which stands for "
            f"one layer: check a model with it, rnn-parity check MODEL --against {name}"
        )
    if (kind.module, argument) == (".keras_backend", "all"):
        raise InputError(f"--against {name!r}: expected one backend; sweep one after the other")


@cache
def source_of(name: str) -> Source:
    """The source with this name, ready to be asked, and kept: what it starts is started once.

    Raises `InputError` for what is no source that can answer for any layer, and for a Python
    function that does not take the weights; `MissingPackageError` for a package that it needs.
    """
    refuse_source(name)
    if recognised(name)[0].module == ".python_function":
        from rnn_parity.implementations.python_function import function_of, parameters

        taken = parameters(function_of(name))
        if "layer" not in taken:
            raise InputError(
                f"--against {name!r}: expected a function with a parameter `layer`, the weights of "
                f"each configuration, received one of ({', '.join(taken)}); add it"
            )
    (found,) = sources(name)
    return found
