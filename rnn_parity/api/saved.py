"""A saved Keras model, or weights alone, run by the Keras here, or by tf_keras where it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import keras_adapter
from rnn_parity.errors import InputError
from rnn_parity.implementations import legacy_keras
from rnn_parity.implementations.python_function import custom_objects
from rnn_parity.keras_adapter.inputs import generate_inputs
from rnn_parity.keras_adapter.loading import OldKerasNeededError, Saved, describe, load_described
from rnn_parity.keras_adapter.old_files import is_old, unlike_today
from rnn_parity.keras_adapter.weight_files import found_layers, other_layers, weight_calls
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.system.environment import keras_version

MOST_NAMES = 10
"""How many names a note lists: chosen, two lines of a terminal."""


@dataclass(frozen=True)
class SavedModel:
    """A file that holds a model or weights alone, and how it is run.

    `inputs` are what the model takes; without them, random ones are made, of `batch` and
    `timesteps`, with `seed`. `mask` is `(B, T)`, `layer_name` picks a layer. With `safe_mode`, no
    code in the file is run, or that it names; `custom` names objects that it may name, written
    "module:Name", which are imported. `arguments` are options of layers whose weights alone are in
    the file.
    """

    path: str
    inputs: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
    layer_name: str | None = None
    seed: int = 0
    batch: int = 32
    timesteps: int = 28
    safe_mode: bool = True
    training: bool = False
    custom: Sequence[str] = ()
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Opened:
    """How to run what is in a file, mode by mode, and sentences about how it was opened."""

    calls: Callable[[Sequence[str]], Iterable[LayerCall]]
    notes: tuple[str, ...] = ()


def opened(model: SavedModel) -> Opened:
    """The model, or the layers of which weights alone are known, ready to run.

    Raises `InputError` for a file that is neither or not a safe one, and for one that neither the
    Keras here nor tf_keras can load.
    """
    path = Path(model.path)
    saved = describe(path)
    if saved.config is None:
        return _weights(model)
    if model.arguments:
        raise InputError(
            f"--arg: only for weights alone or a generated layer, and {path} says itself what its "
            "layers are; leave it out"
        )
    keras_adapter.tensorflow_module()  # before others import it, and let it say what it likes
    objects = custom_objects(model.custom)
    notes = tuple(
        f"--custom imported {one}, and ran the code of its module" for one in model.custom
    )
    try:
        loaded = load_described(path, saved, model.safe_mode, objects)
    except OldKerasNeededError as error:
        return _with_tf_keras(model, error, notes)
    notes += tuple(unlike_today(saved.config, saved.version)) if is_old(saved.version) else ()
    return Opened(lambda modes: _calls(model, loaded, saved, modes), notes)


def _calls(
    model: SavedModel, loaded: Any, saved: Saved, modes: Sequence[str]
) -> Iterator[LayerCall]:
    """What passes through the recurrent layers of a model that runs here."""
    data: Any = model.inputs
    if data is None:
        data = generate_inputs(loaded, model.batch, model.timesteps, model.seed)
    for mode in modes:
        for call in keras_adapter.observe_model(
            loaded, data, mode, model.layer_name, model.mask, model.training
        ):
            described = {"config": call.config}
            told = unlike_today(described, saved.version) if is_old(saved.version) else ()
            yield replace(call, notes=(*told, *call.notes))


def _weights(model: SavedModel) -> Opened:
    """The layers of which a file holds the weights alone."""
    if model.custom:
        raise InputError(
            f"--custom: {model.path} holds weights alone, which name no code; leave it out"
        )
    sizes = (model.batch, model.timesteps, model.seed)

    def calls(modes: Sequence[str]) -> Iterator[LayerCall]:
        for mode in modes:
            yield from weight_calls(
                model.path,
                model.arguments or {},
                model.inputs,
                model.mask,
                model.layer_name,
                mode,
                sizes,
                model.training,
            )

    is_picked = model.layer_name is not None
    others = other_layers(model.path) if not is_picked and found_layers(model.path) else []
    shown = ", ".join(others[:MOST_NAMES]) + ", ..." * (len(others) > MOST_NAMES)
    note = f"{model.path} has weights of other layers, too, which are not checked: {shown}"
    return Opened(calls, (note,) if others else ())


def _with_tf_keras(model: SavedModel, error: OldKerasNeededError, notes: tuple[str, ...]) -> Opened:
    """The same file for tf_keras; raises `InputError` with `error` where it is not installed."""
    version = legacy_keras.installed()
    if version is None:
        raise InputError(f"{error}; tf_keras may load it: {legacy_keras.EXTRA}") from error
    ran = (
        f"tf_keras {version} ran this model, in a process of its own, for Keras "
        f"{keras_version()} cannot: {error}"
    )

    def calls(modes: Sequence[str]) -> list[LayerCall]:
        job = legacy_keras.Job(
            path=os.path.abspath(model.path),
            modes=[*modes],
            layer_name=model.layer_name,
            batch=model.batch,
            timesteps=model.timesteps,
            seed=model.seed,
            safe_mode=model.safe_mode,
            training=model.training,
            custom=[*model.custom],
            folder=os.getcwd(),
        )
        try:
            return legacy_keras.legacy_calls(job, model.inputs, model.mask)
        except InputError as refusal:
            raise type(refusal)(f"{error}; nor can tf_keras {version}: {refusal}") from refusal

    return Opened(calls, (*notes, ran))
