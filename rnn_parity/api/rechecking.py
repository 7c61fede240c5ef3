"""Record cases, and check them again: Keras now, Keras then and the replay against each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import keras_adapter
from rnn_parity.api.functions import modes, observe_generated, report
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.judging import judged
from rnn_parity.api.movement import change, versions_of
from rnn_parity.cases.case import Case, case_of, read_case, versions_now, write_case
from rnn_parity.errors import InputError
from rnn_parity.implementations.against import others_of, refuse_several
from rnn_parity.implementations.numbers import encoded
from rnn_parity.implementations.sources import Source
from rnn_parity.keras_adapter import Observation
from rnn_parity.keras_adapter.building import rebuild_layer
from rnn_parity.keras_adapter.dropout import EACH_STEP, IN_TRAINING, MASKS
from rnn_parity.report.report import Report
from rnn_parity.system.files import write_bytes
from rnn_parity.verdict.results import Check


def check_case(
    path: str | os.PathLike[str],
    *,
    mode: str | None = None,
    keras: bool = True,
    against: Any = None,
) -> Report:
    """Check the case in the file `path`: what was recorded, and what Keras computes now.

    Both are held against the replay of the recorded weights, with the meaning that they had then;
    a note says how far the two are from each other. `mode` runs Keras in another mode than the
    recorded one. Without `keras`, TensorFlow is not imported and the recorded outputs alone are
    checked; with `against`, as in `check`, what other implementations compute alone is. Raises
    `InputError` for what is no case, and for what Keras cannot rebuild.
    """
    others = others_of(against)
    keras = keras and not others
    checks = case_checks(read_case(path), os.fspath(path), mode, keras, others)
    return report(checks) if keras else Report(tuple(checks))


def check_folder(
    path: str | os.PathLike[str],
    *,
    mode: str | None = None,
    keras: bool = True,
    against: Any = None,
) -> Report:
    """Check every case (`.npz`) in a folder and the folders below it, in the order of their names.

    All of them are read before the first is run. Raises `InputError` as `check_case` does.
    """
    try:
        paths = sorted(str(file) for file in Path(path).rglob("*.npz") if file.is_file())
    except OSError as error:
        raise InputError(f"folder {os.fspath(path)!r}: cannot be read: {error}") from None
    cases = [(read_case(name), name) for name in paths]
    others = others_of(against)
    refuse_several([recorded(case) for case, _ in cases], others)
    keras = keras and not others
    checks = [
        check for case, name in cases for check in case_checks(case, name, mode, keras, others)
    ]
    notes = () if checks else (f"{os.fspath(path)} has no case (.npz)",)
    return report(checks, notes) if keras and checks else Report(tuple(checks), notes=notes)


def case_checks(
    case: Case, path: str, mode: str | None, keras: bool, others: Sequence[Source] = ()
) -> list[Check]:
    """The check of what was recorded, then one for each mode in which Keras runs now.

    In place of both, one for each of `others`.
    """
    if others:
        return list(judged([recorded(case)], "case", path, others))
    ways = modes(case.mode if mode is None else mode) if keras else ()
    return then_and_now(case, path, (run(case, one) for one in ways))


def then_and_now(case: Case, path: str, now: Iterable[Observation]) -> list[Check]:
    """What was recorded and each of `now`, held against the replay of the recorded weights."""
    (old,) = judged([recorded(case)], "case", path)
    against = f"recorded outputs, {versions_of(case.versions)}"
    checks = [replace(old, subject=replace(old.subject, against=against))]
    for seen in now:
        (new,) = judged([seen], "case", path)
        checks.append(replace(new, notes=(*new.notes, change(case, old, new, seen))))
    return checks


def recorded(case: Case) -> Observation:
    """What was recorded, as an observation."""
    return Observation(
        layer_class=case.layer_class,
        layer_name=case.layer_name,
        config=dict(case.config),
        mode=case.mode,
        call=case.call,
        weights=case.weights(),
        not_compared=None,
        inputs=case.inputs,
        outputs=case.outputs,
        mask=case.mask,
        initial_state=case.initial_state,
        last_output=case.last_output,
        final_state=case.final_state,
        dropout_inputs=case.dropout_inputs,
        dropout_recurrent=case.dropout_recurrent,
        notes=(IN_TRAINING,) * bool(masks_of(case)),
    )


def masks_of(case: Case) -> dict[str, NDArray[Any]]:
    """The dropout masks of a call in training, by name; none for any other."""
    masks = {name: getattr(case, name) for name in MASKS}
    return {name: array for name, array in masks.items() if array is not None}


def run(case: Case, mode: str) -> Observation:
    """What the layer computes in the Keras installed now, with the dropout masks of then."""
    then, masks = recorded(case), masks_of(case)
    layer = rebuild_layer(case.layer_class, case.config, case.weights(), len(case.inputs), masks)
    (now,) = keras_adapter.observe_layer(
        layer, case.inputs, case.mask, case.initial_state, mode, bool(masks), masks
    )
    computed = {name: getattr(now, name) for name in ("outputs", "last_output", "final_state")}
    notes = (*then.notes, *(note for note in now.notes if note not in (IN_TRAINING, EACH_STEP)))
    return replace(then, mode=mode, notes=notes, kernel=now.kernel, **computed)


def record(
    observations: Iterable[Observation],
    path: str | os.PathLike[str],
    kind: str = "layer",
    inputs_as: str | None = None,
) -> Report:
    """Write one case per observation, and the report on what was recorded.

    One goes to `path`; several go beside it, with what tells them apart in the name: the layer,
    the call, the mode. What is not replayed is not recorded and stays `inconclusive`. With
    `inputs_as`, a name that ends in .npy or .csv, the inputs are written as well, for another
    program to read. Raises `InputError` for a case that cannot be held as data or written.
    """
    if Path(path).suffix != ".npz":
        raise InputError(f"-o {str(path)!r}: expected a name that ends in .npz; name a case")
    found = list(observations)
    names = file_names(Path(path), found)
    installed = versions_now(keras_adapter.device())
    cases = [
        (name, case_of(seen, installed))
        for name, seen in zip(names, found, strict=True)
        if seen.weights is not None
    ]
    for name, case in cases:
        write_case(name, case)
    written = [name for name, _ in cases] + write_inputs(found, inputs_as)
    checks = [
        replace(check, subject=replace(check.subject, path=name))
        for name, check in zip(names, judged(found, kind), strict=True)
    ]
    return report(checks, tuple(f"recorded {name}" for name in written))


def write_inputs(observations: Sequence[Observation], path: str | None) -> list[str]:
    """Write what reached each layer that is replayed; the names of the files."""
    if path is None:
        return []
    names = file_names(Path(path), observations)
    data = [
        (name, encoded(seen.inputs, Path(name).suffix))
        for name, seen in zip(names, observations, strict=True)
        if seen.weights is not None
    ]
    for name, content in data:
        write_bytes(name, content)
    return [name for name, _ in data]


def file_names(path: Path, observations: Sequence[Observation]) -> list[str]:
    """A file name for each observation, distinct and without anything that a path would read."""
    parts = [(seen.layer_name, seen.call, seen.mode) for seen in observations]
    telling = [i for i in range(3) if len({part[i] for part in parts}) > 1]
    names = []
    for part in parts:
        words = [f"call{part[i]}" if i == 1 else str(part[i]) for i in telling]
        safe = [re.sub(r"[^A-Za-z0-9._]+", "_", word) for word in words]
        names.append(str(path.with_name("-".join((path.stem, *safe)) + path.suffix)))
    if len(set(names)) != len(names):
        raise InputError(f"{str(path)!r}: two layers would be recorded in one file; rename one")
    return names


def record_generated(
    spec: GeneratedLayer,
    path: str | os.PathLike[str],
    *,
    inputs: NDArray[Any] | None = None,
    mask: NDArray[np.bool_] | None = None,
    mode: str = "graph",
    inputs_as: str | None = None,
    training: bool = False,
) -> Report:
    """Record the layer that `spec` describes, run as `check_generated` runs it."""
    found = []
    for one in modes(mode, training=training):
        found += observe_generated(spec, inputs, mask, one, training)
    return record(found, path, "generated", inputs_as)


def record_model(
    path: str,
    out: str | os.PathLike[str],
    *,
    inputs: NDArray[Any] | None = None,
    mask: NDArray[np.bool_] | None = None,
    layer_name: str | None = None,
    mode: str = "graph",
    seed: int = 0,
    batch: int = 32,
    timesteps: int = 28,
    safe_mode: bool = True,
    inputs_as: str | None = None,
    training: bool = False,
) -> Report:
    """Record every recurrent layer of a saved model, run as `check_model` runs it."""
    model = keras_adapter.load_model(path, safe_mode=safe_mode)
    data = (
        keras_adapter.generate_inputs(model, batch, timesteps, seed) if inputs is None else inputs
    )
    found: list[Observation] = []
    for one in modes(mode, training=training):
        found += keras_adapter.observe_model(model, data, one, layer_name, mask, training)
    if not found:
        return report((), (f"{path} has no recurrent layer",))
    return record(found, out, "model", inputs_as)
