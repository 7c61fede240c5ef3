"""Random data for a check that has none: inputs, masks and initial states that show mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.system.choices import INITIAL_STATES, MASKS
from rnn_parity.verdict.configuration import Configuration

RETURNED = {"return_sequences": True, "return_state": True}
"""What a layer returns unless somebody says otherwise: that shows the most."""
WRAPPED = {"rnn": "cell", "stacked": "cells", "bidirectional": "layer"}
"""The arguments of wrappers that name what is inside."""


@dataclass(frozen=True)
class GeneratedLayer:
    """A layer to build and the sizes of its random data; the defaults are the notebook's."""

    layer: str = "simple_rnn"
    units: int = 16
    batch: int = 32
    timesteps: int = 28
    features: int = 32
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    dtype: str | None = None
    mask: str = "none"
    initial_state: str = "zeros"
    calls: int = 1


def random_inputs(spec: GeneratedLayer, rng: np.random.Generator) -> NDArray[Any]:
    """Inputs for every call, `(calls, batch, timesteps, features)`, standard normal, float32.

    float64 for a float64 layer, whose inputs should use all of their digits.
    """
    shape = (spec.calls, spec.batch, spec.timesteps, spec.features)
    return rng.standard_normal(shape).astype("float64" if spec.dtype == "float64" else "float32")


def random_mask(
    kind: str, batch: int, timesteps: int, rng: np.random.Generator
) -> NDArray[np.bool_] | None:
    """A mask `(batch, timesteps)`; True marks the timesteps that count.

    "right" pads after each sample, "left" before it, "random" masks three of ten timesteps. Where
    there is room, at least one timestep is masked and one is not, so that the mask matters.
    """
    if kind not in MASKS:
        raise InputError(f"mask: expected one of {', '.join(MASKS)}, received {kind!r}")
    if kind == "none":
        return None
    lengths = rng.integers(1, timesteps + 1, size=(batch, 1))
    lengths[0] = max(1, timesteps // 2)
    steps = np.arange(timesteps)
    if kind == "right":
        return steps < lengths
    if kind == "left":
        return steps >= timesteps - lengths
    mask = rng.random((batch, timesteps)) < 0.7
    mask[0, 0] = False
    mask[0, timesteps // 2 :] = True
    return mask


def random_state(
    kind: str, batch: int, units: int, rng: np.random.Generator, count: int = 1
) -> tuple[NDArray[np.float32], ...] | None:
    """The first of each of `count` states, `(batch, units)`: None for zeros, else all different.

    Uniform in [-1, 1).
    """
    if kind not in INITIAL_STATES:
        raise InputError(
            f"initial state: expected one of {', '.join(INITIAL_STATES)}, received {kind!r}"
        )
    if kind == "zeros":
        return None
    return tuple(rng.uniform(-1, 1, (count, batch, units)).astype(np.float32))


@contextmanager
def known_refusals(spec: GeneratedLayer, mode: str) -> Iterator[None]:
    """A refusal of Keras's in this block that is a known difference names it, and the way out."""
    try:
        yield
    except UnsupportedError:
        raise
    except InputError as error:
        from rnn_parity.diagnosis.known_differences import known_refusal

        known = known_refusal(configuration_of(spec, mode), str(error))
        if known is None:
            raise
        way_out = f"{known.remedy}; more: " if known.remedy else ""
        raise InputError(
            f"{str(error).rstrip('.')}; {known.seen_in} is known for that, {known.id}: "
            f"{way_out}rnn-parity explain {known.id}"
        ) from error


def configuration_of(spec: GeneratedLayer, mode: str) -> Configuration:
    """The layer and its run in the words of a sweep: the options that known refusals ask for."""
    wrapper = spec.layer if spec.layer in WRAPPED else "none"
    inside = spec.arguments.get(WRAPPED.get(spec.layer, ""), spec.layer)
    run = {name: getattr(spec, name) for name in ("mask", "initial_state", "calls")}
    run["dtype"] = spec.dtype or "float32"
    values = {**RETURNED, **spec.arguments, **run, "mode": mode, "wrapper": wrapper}
    return Configuration(str(inside), tuple(values.items()), ())
