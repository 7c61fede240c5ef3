"""Recorded cases: what one call of one layer computed, and everything needed to check it again.

A case is one `.npz` file that holds data only: float arrays, a boolean mask, and `meta`, a JSON
string. Everything is checked before it is used, and nothing is unpickled. This module alone writes
cases. It may import NumPy and the standard library; reading or writing never imports TensorFlow.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.cases.archive import (
    STATES,
    TEXTS,
    WEIGHTS,
    check_arrays,
    packed,
    stored,
    unpacked,
)
from rnn_parity.errors import InputError
from rnn_parity.recurrence.activation import Activation
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.layers import GRU, LAYERS, Layer
from rnn_parity.system import files
from rnn_parity.system.environment import environment, own_version
from rnn_parity.system.limits import check_content
from rnn_parity.system.reading import plain_file, reason

if TYPE_CHECKING:
    from rnn_parity.keras_adapter import Observation

DATA = ("inputs", "outputs", "mask", "last_output", "dropout_inputs", "dropout_recurrent")
OPTIONS = ("go_backwards", "zero_output_for_mask", "reset_after")


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded call of one recurrent layer, with the meaning that it had when it was recorded.

    `inputs` is `(B, T, F)`, `outputs` `(B, T, H)` in processing order, `kernel` `(F, G H)`,
    `recurrent_kernel` `(H, G H)`, `bias` `(G H,)`, `(2, G H)` or None, with G gates; `mask` is
    `(B, T)` or None, `last_output` `(B, H)` or None. The states are one `(B, H)` each, h before an
    LSTM's c; the initial ones None for zeros, the final ones empty where there are none. The masks
    of a call in training are `dropout_inputs` `(G, B, F)` and `dropout_recurrent` `(G, B, H)`, None
    for no dropout there. `dtype` is the compute dtype; bfloat16 numbers are held in float32, which
    has them all. `config` is the layer's description of itself, with the cell's own entries beside
    the others, `versions` what was installed. `recurrence`, a name of `layers.LAYERS`, is what the
    layer computes.
    """

    layer_class: str
    layer_name: str
    config: Mapping[str, Any]
    mode: str
    call: int | None
    dtype: str
    versions: Mapping[str, str | None]
    inputs: NDArray[Any]
    outputs: NDArray[Any]
    kernel: NDArray[Any]
    recurrent_kernel: NDArray[Any]
    bias: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
    initial_state: tuple[NDArray[Any], ...] | None = None
    final_state: tuple[NDArray[Any], ...] = ()
    last_output: NDArray[Any] | None = None
    dropout_inputs: NDArray[Any] | None = None
    dropout_recurrent: NDArray[Any] | None = None
    recurrence: str = "SimpleRNN"

    @property
    def stateful(self) -> bool:
        """Whether the layer kept its state from call to call."""
        return bool(self.config.get("stateful"))

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is there, by its name in the file."""
        return arrays_of(self, self)

    def activation(self, name: str) -> Activation:
        """The entry `name` of the config as the recorded Keras meant it.

        Raises `InputError` for the name of no known activation.
        """
        meant = self.config.get(name)
        if meant == "hard_sigmoid" and str(self.versions.get("keras")).startswith("2."):
            meant = "hard_sigmoid_keras2"
        if not isinstance(meant, str) or meant not in CATALOGUE:
            raise InputError(
                f"{name}: expected the name of one of Keras's activations, received {meant!r}; a "
                "case holds data only, no function"
            )
        return CATALOGUE[meant]

    def weights(self) -> Layer:
        """The recurrence that the recorded layer was to compute."""
        kind: Any = LAYERS[self.recurrence]
        options: dict[str, Any] = {}
        if "recurrent_activation" in kind.OPTIONS:
            options["recurrent_activation"] = self.activation("recurrent_activation")
        if issubclass(kind, GRU):
            options["reset_after"] = self.config.get("reset_after")
        layer: Layer = kind(
            self.kernel,
            self.recurrent_kernel,
            self.bias,
            self.activation("activation"),
            go_backwards=bool(self.config.get("go_backwards")),
            zero_output_for_mask=bool(self.config.get("zero_output_for_mask")),
            dtype=self.dtype,
            **options,
        )
        return layer


def arrays_of(weights: Layer | Case, data: Observation | Case) -> dict[str, NDArray[Any]]:
    """The arrays of a case by their names in the file; those of a state end in its name."""
    found = {name: getattr(weights, name) for name in WEIGHTS}
    found |= {name: getattr(data, name) for name in DATA}
    for name in STATES:
        found |= {f"{name}_{i}": a for i, a in zip("hc", getattr(data, name) or (), strict=False)}
    return {name: array for name, array in found.items() if array is not None}


def fields_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The same arrays as fields of a `Case`."""
    fields: dict[str, Any] = {n: a for n, a in arrays.items() if not n.startswith(STATES)}
    for name in STATES:
        states = tuple(arrays[key] for key in (f"{name}_h", f"{name}_c") if key in arrays)
        fields |= {name: states} if states else {}
    return fields


def case_of(observation: Observation, versions: Mapping[str, str | None]) -> Case:
    """The case that records `observation`, made while `versions` were installed.

    Raises `InputError` for a layer that is not replayed, or whose activation is a function of the
    user's own, which a file of data cannot hold.
    """
    weights = observation.weights
    if weights is None:
        raise InputError(f"not recorded: {observation.not_compared}")
    dtype = weights.precision.name
    arrays = {n: stored(a, n, dtype) for n, a in arrays_of(weights, observation).items()}
    case = Case(
        layer_class=observation.layer_class,
        layer_name=observation.layer_name,
        config=flat(observation.config, weights),
        mode=observation.mode,
        call=observation.call,
        dtype=dtype,
        versions=dict(versions),
        recurrence=type(weights).__name__,
        **fields_of(arrays),
    )
    for name, activation in activations_of(weights).items():
        own = CATALOGUE.get(activation.name) is activation
        if not own or case.activation(name) is not activation:
            raise InputError(
                f"layer {observation.layer_name!r}: expected an activation of Keras's own, "
                f"received {activation.name}; a case holds data only, no function"
            )
    return case


def versions_now(device: str = "cpu") -> dict[str, str | None]:
    """What a case recorded now says about what it was recorded with."""
    return {**environment(device), "rnn-parity": own_version()}


def activations_of(weights: Layer) -> dict[str, Activation]:
    """The activations of a layer by their names in its config."""
    return dict(zip(("activation", "recurrent_activation"), weights.activations, strict=False))


def flat(config: Mapping[str, Any], weights: Layer) -> dict[str, Any]:
    """A layer's `config` with its cell's entries beside its own, and what it left out."""
    cell = config.get("cell") or {}
    merged = {**cell.get("config", {}), **config}
    merged.pop("cell", None)
    for name, activation in activations_of(weights).items():
        if not isinstance(merged.get(name), str):
            merged[name] = activation.name  # Keras 2 describes LeakyReLU as a layer
    options = {name: getattr(weights, name) for name in OPTIONS if hasattr(weights, name)}
    sizes = {"units": weights.units, "use_bias": weights.bias is not None}
    return {**merged, **options, **sizes}


def write_case(path: str | os.PathLike[str], case: Case) -> None:
    """Write `case` to `path`, so that a crash leaves the old file or the new one.

    Raises `InputError` for a case that could not be read again, and for a path that cannot be
    written; then nothing is.
    """
    name = os.fspath(path)
    arrays = case.arrays
    meta: dict[str, Any] = {key: getattr(case, key) for key in (*TEXTS, "call")}
    meta |= {key: dict(getattr(case, key)) for key in ("config", "versions")}
    check_arrays(arrays, meta, f"case {name!r}")
    # What is added around them must fit, too, when it is read again.
    check_content(2 * sum(array.nbytes for array in arrays.values()), f"case {name!r}", "arrays")
    files.check_writable(name)
    target = files.resolved(name)
    if not files.is_replaceable(target):
        raise InputError(f"cannot write {name!r}: it is a device or a pipe; name a file")
    try:
        files.replace(target, packed(meta, arrays))
    except OSError as error:
        raise InputError(f"cannot write {name!r}: {reason(error)}") from None


def read_case(path: str | os.PathLike[str]) -> Case:
    """The case in the file `path`, once everything in it has been checked.

    Raises `InputError`, one line, for a file that is no case, is damaged or was changed, and for
    one that a newer version wrote.
    """
    name = os.fspath(path)
    where = f"case {name!r}"
    try:
        with plain_file(name, where) as file, zipfile.ZipFile(file) as archive:
            meta, arrays = unpacked(archive, where)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {reason(error)}") from None
    # A damaged archive fails in the directory, the decompression, a header or the text.
    except Exception:
        raise InputError(
            f"{where}: expected a .npz file that `rnn-parity record` wrote, received a truncated "
            "or damaged one, or another kind of file; record it again"
        ) from None
    fields = {key: meta[key] for key in (*TEXTS, "call", "config", "versions")}
    case = Case(**fields, **fields_of(arrays))
    try:
        case.weights()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return case
