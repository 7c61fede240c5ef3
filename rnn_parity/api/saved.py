"""A Keras model, from a file or in memory, or weights alone: ready to be run, mode by mode.

A file that the Keras here cannot load is run by tf_keras, in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import keras_adapter
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.errors import InputError, RnnParityError
from rnn_parity.implementations import legacy_keras
from rnn_parity.implementations.python_function import custom_objects
from rnn_parity.implementations.whole_model import fixed_sizes
from rnn_parity.keras_adapter.inputs import data_of_calls, masks_for, refuse_fixed_sizes
from rnn_parity.keras_adapter.loading import OldKerasNeededError, Saved, describe, load_described
from rnn_parity.keras_adapter.observing import with_parts
from rnn_parity.keras_adapter.old_files import is_old, unlike_today
from rnn_parity.keras_adapter.weight_files import found_layers, other_layers, weight_calls
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.system.environment import keras_version

if TYPE_CHECKING:
    from rnn_parity.implementations.sources import Source

MOST_NAMES = 10
"""How many names a note lists: chosen, two lines of a terminal."""


@dataclass(frozen=True, eq=False)
class ModelRun:
    """A saved model, or weights alone, and what it is to be run on.

    `inputs` is the array for a model with one input, or arrays by the names of its inputs; what is
    not given is random and fits the model's signature, whose open sizes are `batch` and
    `timesteps`, by default those of the mask, 32 and 28. `mask` is `(B, T)`, or masks by the names
    of inputs. The model is called `calls` times in a row, on other random inputs each time and the
    same given ones; its states are zeros before the first call. `layer_name` selects one layer.
    With `safe_mode`, no code in the file is run, or that it names; `custom` names objects that it
    may name, written "module:Name", which are imported, from the current folder first. `arguments`
    are options of layers whose weights alone are in the file.
    """

    path: str
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]] | None = None
    mask: NDArray[np.bool_] | Mapping[str, NDArray[np.bool_]] | None = None
    layer_name: str | None = None
    seed: int = 0
    batch: int | None = None
    timesteps: int | None = None
    calls: int = 1
    safe_mode: bool = True
    training: bool = False
    custom: Sequence[str] = ()
    arguments: Mapping[str, Any] | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Batch and timesteps of what is made up."""
        masks = self.mask.values() if isinstance(self.mask, Mapping) else [self.mask]
        of_mask = next((mask.shape for mask in masks if mask is not None), None)
        batch, timesteps = of_mask or (GeneratedLayer.batch, GeneratedLayer.timesteps)
        return self.batch or batch, self.timesteps or timesteps


@dataclass(frozen=True, eq=False)
class Opened:
    """A Keras model and what it is given in consecutive calls of it.

    `inputs` has an entry for each call, `mask` is as in `observe_calls`; `path` is the file that it
    comes from, and `version` the Keras that wrote it. `notes` are about how it was opened.
    """

    model: Any
    inputs: Sequence[Any] = ()
    mask: Any = None
    layer_name: str | None = None
    training: bool = False
    notes: tuple[str, ...] = ()
    path: str | None = None
    version: str = ""

    @property
    def name(self) -> str:
        """What it is called where it has nothing to check."""
        return self.path or str(self.model.name)

    def calls(self, modes: Iterable[str]) -> Iterator[LayerCall]:
        """What passes through its recurrent layers in each mode.

        The states of a model from a file are zeros before the first call in a mode.
        """
        for mode in modes:
            if self.path is not None:
                keras_adapter.reset_states(self.model)
            calls = keras_adapter.observe_calls(
                self.model, self.inputs, mode, self.layer_name, self.mask, self.training
            )
            yield from told_of(calls, self.version) if is_old(self.version) else calls


def told_of(calls: Iterable[LayerCall], version: str) -> list[LayerCall]:
    """The calls with notes on what the Keras of this version, which wrote them, did otherwise."""
    told = [
        replace(call, notes=(*unlike_today({"config": call.config}, version), *call.notes))
        for call in calls
    ]
    return [one if one.merge is None else with_parts(one, told) for one in told]


@dataclass(frozen=True, eq=False)
class OpenedWeights(Opened):
    """The layers of which a file holds the weights alone, as `run` says."""

    run: ModelRun | None = None

    def calls(self, modes: Iterable[str]) -> Iterator[LayerCall]:
        """What each of the layers computes, in each mode."""
        run = self.run
        assert run is not None
        for mode in modes:
            yield from weight_calls(
                run.path,
                run.arguments or {},
                one_array(run.inputs, "--input"),
                one_array(run.mask, "--mask-file"),
                run.layer_name,
                mode,
                (*run.sizes, run.seed),
                run.training,
            )


@dataclass(frozen=True, eq=False)
class OpenedElsewhere(Opened):
    """A file that tf_keras runs as `run` says, in a process of its own, and why."""

    run: ModelRun | None = None
    why: str = ""

    def calls(self, modes: Iterable[str]) -> Iterator[LayerCall]:
        """What passes through its recurrent layers in each mode."""
        run = self.run
        assert run is not None
        batch, timesteps = run.sizes
        job = legacy_keras.Job(
            path=os.path.abspath(run.path),
            modes=[*modes],
            layer_name=run.layer_name,
            batch=batch,
            timesteps=timesteps,
            asked=(run.batch, run.timesteps),
            seed=run.seed,
            calls=run.calls,
            safe_mode=run.safe_mode,
            training=run.training,
            custom=[*run.custom],
            folder=os.getcwd(),
        )
        try:
            yield from legacy_keras.legacy_calls(job, run.inputs, run.mask)
        except InputError as refusal:
            raise type(refusal)(f"{self.why}: {refusal}") from refusal


def opened(run: ModelRun, others: Sequence[Source] = ()) -> Opened:
    """The model, or the layers of which weights alone are known, ready to run.

    What is made up has the sizes that an export of it among `others` fixes. Raises `InputError` for
    a file that is neither or not a safe one, and for one that neither the Keras here nor tf_keras
    can load.
    """
    path = Path(run.path)
    saved = describe(path)  # before TensorFlow is loaded
    if run.training:
        keras_adapter.seed_masks(run.seed)
    if saved.config is None:
        return opened_weights(run)
    if run.arguments:
        raise InputError(
            f"--arg: only for weights alone or a generated layer, and {path} says itself what its "
            "layers are; leave it out"
        )
    keras_adapter.tensorflow_module()  # before others import it, and let it say what it likes
    objects = custom_objects(run.custom)
    notes = tuple(f"--custom imported {one}, and ran the code of its module" for one in run.custom)
    try:
        model = load_described(path, saved, run.safe_mode, objects)
    except OldKerasNeededError as error:
        return opened_elsewhere(run, error, notes)
    return opened_here(run, model, saved, notes, others)


def opened_here(
    run: ModelRun, model: Any, saved: Saved, notes: tuple[str, ...], others: Sequence[Source]
) -> Opened:
    """A model that the Keras here runs, with its data."""
    refuse_fixed_sizes(model, run.batch, run.timesteps)
    data = data_of_calls(
        model, run.inputs, *sizes_of(model, others, *run.sizes), run.seed, run.calls
    )
    notes += tuple(unlike_today(saved.config, saved.version)) if is_old(saved.version) else ()
    return Opened(
        model,
        data.calls,
        masks_for(model, run.mask, data),
        run.layer_name,
        run.training,
        (*notes, *made_up(run.path, data.generated)),
        run.path,
        saved.version,
    )


def sizes_of(model: Any, others: Sequence[Source], batch: int, timesteps: int) -> tuple[int, int]:
    """The batch and the timesteps to make up inputs for; those that an export of it fixes."""
    for source in others:
        with suppress(RnnParityError):  # why it has no export is said where that is looked for
            export = None if source.export is None else source.export()
            if export is not None:
                return fixed_sizes(model, export, batch, timesteps)
    return batch, timesteps


def made_up(path: str, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence on the inputs that were made up although others were given; none without."""
    return (f"{path}: not given, and random: {', '.join(names)}",) if names else ()


def opened_weights(run: ModelRun) -> Opened:
    """The layers of which a file holds the weights alone."""
    if run.custom:
        raise InputError(
            f"--custom: {run.path} holds weights alone, which name no code; leave it out"
        )
    if run.calls != 1:
        raise InputError(f"--calls: {run.path} holds weights alone; leave it out")
    is_picked = run.layer_name is not None
    rest = other_layers(run.path) if not is_picked and found_layers(run.path) else []
    shown = ", ".join(rest[:MOST_NAMES]) + ", ..." * (len(rest) > MOST_NAMES)
    note = f"{run.path} has weights of other layers, too, which are not checked: {shown}"
    notes = (note,) if rest else ()
    return OpenedWeights(None, training=run.training, notes=notes, path=run.path, run=run)


def one_array(given: Any, option: str) -> Any:
    """What is given to layers whose weights alone are known; raises `InputError` for names."""
    if isinstance(given, Mapping):
        raise InputError(
            f"{option}: weights alone do not say how inputs are called; give one array without a "
            "name"
        )
    return given


def opened_elsewhere(run: ModelRun, error: OldKerasNeededError, notes: tuple[str, ...]) -> Opened:
    """The file for tf_keras; raises `InputError` with `error` where it is not installed."""
    version = legacy_keras.installed()
    if version is None:
        raise InputError(f"{error}; tf_keras may load it: {legacy_keras.EXTRA}") from error
    ran = (
        f"tf_keras {version} ran this model, in a process of its own, for Keras "
        f"{keras_version()} cannot: {error}"
    )
    why = f"{error}; nor can tf_keras {version}"
    return OpenedElsewhere(
        None, training=run.training, notes=(*notes, ran), path=run.path, run=run, why=why
    )
