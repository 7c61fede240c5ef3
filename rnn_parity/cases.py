"""Recorded cases: what one call of one layer computed, and everything needed to check it again.

A case is one `.npz` file that holds data only: float arrays, a boolean mask, and `meta`, a JSON
string. Everything is checked before it is used, and nothing is unpickled. This module alone writes
cases. It may import NumPy and the standard library; reading or writing never imports TensorFlow.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import files
from rnn_parity.activations import CATALOGUE, Activation
from rnn_parity.archive import MOST_BYTES, SHAPES, TEXTS, check_arrays, packed, unpacked
from rnn_parity.environment import environment, own_version
from rnn_parity.errors import InputError
from rnn_parity.layers import SimpleRNN

if TYPE_CHECKING:
    from rnn_parity.keras_adapter import Observation

WEIGHTS = ("kernel", "recurrent_kernel", "bias")


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded call of one recurrent layer, with the meaning that it had when it was recorded.

    `inputs` is `(B, T, F)`, `outputs` `(B, T, H)` in processing order, `kernel` `(F, H)`,
    `recurrent_kernel` `(H, H)`, `bias` `(H,)` or None, `mask` `(B, T)` or None, and the states and
    `last_output` `(B, H)` or None. `dtype` is the compute dtype; bfloat16 numbers are held in
    float32, which has them all. `config` is the layer's description of itself, with the cell's own
    entries beside the others, `versions` what was installed.
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
    initial_state: NDArray[Any] | None = None
    final_state: NDArray[Any] | None = None
    last_output: NDArray[Any] | None = None

    @property
    def stateful(self) -> bool:
        """Whether the layer kept its state from call to call."""
        return bool(self.config.get("stateful"))

    @property
    def activation(self) -> Activation:
        """The activation as the recorded Keras meant it; raises `InputError` for no known name."""
        name = self.config.get("activation")
        if name == "hard_sigmoid" and str(self.versions.get("keras")).startswith("2."):
            name = "hard_sigmoid_keras2"
        if not isinstance(name, str) or name not in CATALOGUE:
            raise InputError(
                f"activation: expected the name of one of Keras's, received {name!r}; a case holds "
                "data only, no function"
            )
        return CATALOGUE[name]

    def weights(self) -> SimpleRNN:
        """The recurrence that the recorded layer was to compute."""
        return SimpleRNN(
            self.kernel,
            self.recurrent_kernel,
            self.bias,
            self.activation,
            go_backwards=bool(self.config.get("go_backwards")),
            zero_output_for_mask=bool(self.config.get("zero_output_for_mask")),
            dtype=self.dtype,
        )


def case_of(observation: Observation, versions: Mapping[str, str | None]) -> Case:
    """The case that records `observation`, made while `versions` were installed.

    Raises `InputError` for a layer that is not replayed, or whose activation is a function of the
    user's own, which a file of data cannot hold.
    """
    weights = observation.weights
    if weights is None:
        raise InputError(f"not recorded: {observation.not_compared}")
    arrays: dict[str, Any] = {}
    for name in SHAPES:
        array = getattr(weights if name in WEIGHTS else observation, name)
        arrays[name] = None if array is None else stored(array, name, weights.precision.name)
    own = CATALOGUE.get(weights.activation.name) is weights.activation
    case = Case(
        layer_class=observation.layer_class,
        layer_name=observation.layer_name,
        config=flat(observation.config, weights),
        mode=observation.mode,
        call=observation.call,
        dtype=weights.precision.name,
        versions=dict(versions),
        **arrays,
    )
    if not own or case.activation is not weights.activation:
        raise InputError(
            f"layer {observation.layer_name!r}: expected an activation of Keras's own, received "
            f"{weights.activation.name}; a case holds data only, no function"
        )
    return case


def versions_now(device: str = "cpu") -> dict[str, str | None]:
    """What a case recorded now says about what it was recorded with."""
    return {**environment(device), "rnn-parity": own_version()}


def flat(config: Mapping[str, Any], weights: SimpleRNN) -> dict[str, Any]:
    """A layer's `config` with its cell's entries beside its own, and what it left out."""
    cell = config.get("cell") or {}
    merged = {**cell.get("config", {}), **config}
    merged.pop("cell", None)
    if not isinstance(merged.get("activation"), str):
        merged["activation"] = weights.activation.name  # Keras 2 describes LeakyReLU as a layer
    options = {name: getattr(weights, name) for name in ("go_backwards", "zero_output_for_mask")}
    sizes = {"units": weights.units, "use_bias": weights.bias is not None}
    return {**merged, **options, **sizes}


def stored(array: NDArray[Any], name: str, dtype: str) -> NDArray[Any]:
    """`array` as a file holds it; weights in the compute `dtype`, to which they are rounded."""
    if name == "mask":
        return np.ascontiguousarray(array, bool)
    wanted = dtype if name in WEIGHTS else array.dtype.name
    return np.ascontiguousarray(array, "float32" if wanted == "bfloat16" else wanted)


def write_case(path: str | os.PathLike[str], case: Case) -> None:
    """Write `case` to `path`, so that a crash leaves the old file or the new one.

    Raises `InputError` for a case that could not be read again, and for a path that cannot be
    written; then nothing is.
    """
    name = os.fspath(path)
    arrays = {n: a for n in SHAPES if (a := getattr(case, n)) is not None}
    meta: dict[str, Any] = {key: getattr(case, key) for key in (*TEXTS, "call")}
    meta |= {"config": dict(case.config), "versions": dict(case.versions)}
    check_arrays(arrays, case.config, f"case {name!r}")
    if sum(array.nbytes for array in arrays.values()) > MOST_BYTES // 2:
        raise InputError(f"case {name!r}: expected at most 512 MiB of arrays; record a smaller one")
    files.check_writable(name)
    target = files.resolved(name)
    if not files.is_replaceable(target):
        raise InputError(f"cannot write {name!r}: it is a device or a pipe; name a file")
    try:
        files.replace(target, packed(meta, arrays))
    except OSError as error:
        raise InputError(f"cannot write {name!r}: {files.reason(error)}") from None


def read_case(path: str | os.PathLike[str]) -> Case:
    """The case in the file `path`, once everything in it has been checked.

    Raises `InputError`, one line, for a file that is no case, is damaged or was changed, and for
    one that a newer version wrote.
    """
    name = os.fspath(path)
    where = f"case {name!r}"
    try:
        found = os.stat(name)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise InputError(f"{where}: expected a .npz file of at most 1 GiB; name another")
        with zipfile.ZipFile(name) as archive:
            meta, arrays = unpacked(archive, where)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {files.reason(error)}") from None
    # A damaged archive fails in the directory, the decompression, a header or the text.
    except Exception:
        raise InputError(
            f"{where}: expected a .npz file that `rnn-parity record` wrote, received a truncated "
            "or damaged one, or another kind of file; record it again"
        ) from None
    fields = {key: meta[key] for key in (*TEXTS, "call", "config", "versions")} | arrays
    case = Case(**fields)
    try:
        case.weights()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return case
