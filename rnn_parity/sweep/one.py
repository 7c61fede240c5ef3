"""One configuration: built, run and checked by the Keras installed here; what came of it, as data.

These functions run where the work is done: in this process, in another, or on another machine. So
their arguments and results are plain data.
"""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_parity.errors import InputError, MissingPackageError, SourceFailedError
from rnn_parity.sweep.source import source_of
from rnn_parity.sweep.space import Configuration
from rnn_parity.verdict.order import WORST_FIRST, Status
from rnn_parity.verdict.results import Cause, Check
from rnn_parity.verdict.sweep_results import Outcome

if TYPE_CHECKING:
    from rnn_parity.api.generated import GeneratedLayer
    from rnn_parity.implementations.sources import Source
    from rnn_parity.recurrence.layer_call import LayerCall

# Keras's own settings belong to the process, and a Dask worker may have several threads.
ALONE = Lock()


def check_one(configuration: Configuration, seed: int, against: str | None = None) -> Outcome:
    """Check one configuration on data from `seed`; never raises for what it finds.

    With `against`, what that source computes is checked in place of Keras's outputs. Raises
    `InputError` for a source that is none, and `MissingPackageError` where TensorFlow, or a package
    that the source needs, is not installed. No cause is looked for: see `explained`.
    """
    from rnn_parity.keras_adapter.runtime import quiet

    with ALONE, quiet():
        start = time.perf_counter()
        outcome, _ = _checked(configuration, seed, against, why=False)
        if outcome.verdict == "refused":
            gc.collect()  # TensorFlow complains when what a refused call left unused is let go
        return replace(outcome, seconds=round(time.perf_counter() - start, 4))


def explained(
    configuration: Configuration, seed: int, against: str | None = None
) -> tuple[Outcome, tuple[Cause, ...]]:
    """Check one again, and look for the mistakes that explain it; takes seconds."""
    from rnn_parity.keras_adapter.runtime import quiet

    with ALONE, quiet():
        return _checked(configuration, seed, against, why=True)


def _checked(
    configuration: Configuration, seed: int, against: str | None, why: bool
) -> tuple[Outcome, tuple[Cause, ...]]:
    from rnn_parity.api.judging import judged

    seen, sources = None, others(against)
    try:
        seen = observe(configuration, seed)
        checks = list(judged(seen, "generated", others=sources, why=why))
    except MissingPackageError:
        raise
    except InputError as error:
        who = "" if seen is None or against is None else f"{against}: "
        status: Status = "failed" if isinstance(error, SourceFailedError) else "refused"
        return Outcome(status, who + said(error).removeprefix(who)), ()
    except Exception as error:  # a mistake of this program's own must not end the sweep
        return Outcome("inconclusive", f"not compared: {type(error).__name__}: {error}"), ()
    worst = min(checks, key=lambda check: WORST_FIRST.index(check.verdict))
    return outcome(worst), worst.causes


def others(against: str | None) -> list[Source]:
    """The source of this name, who answers in place of Keras; none for None."""
    return [] if against is None else [source_of(against)]


def said(error: InputError) -> str:
    """Keras's own words, or a source's, without what this program says around them."""
    text = str(error)
    for words in ("Keras refused: ", "refused it: ", "it refused: ", "it failed: "):
        text = text.rpartition(words)[2]
    return text


def outcome(check: Check) -> Outcome:
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


def generated(configuration: Configuration, seed: int) -> GeneratedLayer:
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

    spec, mode = generated(configuration, seed), str(configuration["mode"])
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
