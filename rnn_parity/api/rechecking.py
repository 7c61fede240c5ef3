"""Record cases, and check them again: Keras now, Keras then and the replay against each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import keras_adapter
from rnn_parity.api.functions import generated_calls, keras_report, model_calls, modes_to_run
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.judging import judged
from rnn_parity.bounds.distance import distance, ulps
from rnn_parity.cases.case import Case, case_of, read_case, versions_now, write_case
from rnn_parity.errors import InputError
from rnn_parity.implementations.against import others_of, refuse_several
from rnn_parity.implementations.numbers import encoded
from rnn_parity.implementations.sources import Source
from rnn_parity.keras_adapter.building import rebuild_layer
from rnn_parity.keras_adapter.dropout import EACH_STEP, IN_TRAINING, MASKS
from rnn_parity.keras_adapter.observing import observe_layer
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.recurrence.precision import precision_of
from rnn_parity.report.report import Report
from rnn_parity.system.files import write_bytes
from rnn_parity.verdict.results import Check
from rnn_parity.verdict.sentences import number


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
    return keras_report(checks) if keras else Report(tuple(checks))


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
    return keras_report(checks, notes) if keras and checks else Report(tuple(checks), notes=notes)


def case_checks(
    case: Case, path: str, mode: str | None, keras: bool, others: Sequence[Source] = ()
) -> list[Check]:
    """The check of what was recorded, then one for each mode in which Keras runs now.

    In place of both, one for each of `others`.
    """
    if others:
        return list(judged([recorded(case)], "case", path, others))
    ways = modes_to_run(case.mode if mode is None else mode) if keras else ()
    return then_and_now(case, path, (rerun(case, one) for one in ways))


def then_and_now(case: Case, path: str, now: Iterable[LayerCall]) -> list[Check]:
    """What was recorded and each of `now`, held against the replay of the recorded weights."""
    (old,) = judged([recorded(case)], "case", path)
    against = f"recorded outputs, {versions_of(case.versions)}"
    checks = [replace(old, subject=replace(old.subject, against=against))]
    for seen in now:
        (new,) = judged([seen], "case", path)
        checks.append(replace(new, notes=(*new.notes, change(case, old, new, seen))))
    return checks


def recorded(case: Case) -> LayerCall:
    """What was recorded, as the call of a layer."""
    return LayerCall(
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


def rerun(case: Case, mode: str) -> LayerCall:
    """What the layer computes in the Keras installed now, with the dropout masks of then."""
    then, masks = recorded(case), masks_of(case)
    layer = rebuild_layer(case.layer_class, case.config, case.weights(), len(case.inputs), masks)
    (now,) = observe_layer(
        layer, case.inputs, case.mask, case.initial_state, mode, bool(masks), masks
    )
    computed = {name: getattr(now, name) for name in ("outputs", "last_output", "final_state")}
    notes = (*then.notes, *(note for note in now.notes if note not in (IN_TRAINING, EACH_STEP)))
    return replace(then, mode=mode, notes=notes, kernel=now.kernel, **computed)


def versions_of(found: Mapping[str, str | None]) -> str:
    """The versions that numbers depend on most."""
    return f"TensorFlow {found.get('tensorflow')}, Keras {found.get('keras')}"


def change(case: Case, old: Check, new: Check, now: LayerCall) -> str:
    """What changed since `case` was recorded: the numbers, and what they were held to prove."""
    since = f"recorded with {versions_of(case.versions)}, now {versions_of(versions_now())}"
    moved_by = movement(case, now)
    if old.verdict == new.verdict:
        verdicts = f"{new.verdict} with the replay then and now"
    else:
        verdicts = f"{old.verdict} with the replay then, {new.verdict} now"
    kind = ""
    if moved_by and old.verdict == new.verdict == "parity":
        kind = ", within rounding"
    elif new.verdict == "diverged" != old.verdict:
        kind = ", a real change"
    return f"{since}: {moved_by or 'the outputs are the same, bit for bit'}{kind}; {verdicts}"


def movement(case: Case, now: LayerCall) -> str:
    """How far the outputs and states moved since they were recorded; empty when they did not."""
    pairs = [
        ("outputs", case.outputs, now.outputs),
        ("last output", case.last_output, now.last_output),
        *(
            (f"final state {name}", then, found)
            for name, then, found in zip_longest("hc", case.final_state, now.final_state)
        ),
    ]
    return " and ".join(filter(None, (moved(*pair) for pair in pairs)))


def moved(name: str, then: NDArray[Any] | None, now: NDArray[Any] | None) -> str:
    """How far one array moved, empty for not at all, or that only one side has it."""
    if then is None or now is None:
        return "" if then is now else f"the {name} {'appeared' if then is None else 'disappeared'}"
    if then.shape != now.shape:
        return f"the {name} took shape {now.shape} instead of {then.shape}"
    before, after = then.astype(np.float64), now.astype(np.float64)
    if np.array_equal(before, after, equal_nan=True):
        return ""
    deviation = distance(after, before)
    precision = precision_of(now.dtype.name)
    far = float(ulps(deviation, before, precision).max())
    # From a number next to zero, any distance is as many units as the format has numbers.
    units = f" ({far:.0f} ULP)" if far < 2.0**precision.digits else ""
    return f"the {name} moved by at most {number(float(deviation.max()))}{units}"


def record(
    calls: Iterable[LayerCall],
    path: str | os.PathLike[str],
    kind: str = "layer",
    inputs_as: str | None = None,
) -> Report:
    """Write one case per call, and the report on what was recorded.

    One goes to `path`; several go beside it, with what tells them apart in the name: the layer,
    the call, the mode. What is not replayed is not recorded and stays `inconclusive`. With
    `inputs_as`, a name that ends in .npy or .csv, the inputs are written as well, for another
    program to read. Raises `InputError` for a case that cannot be held as data or written.
    """
    if Path(path).suffix != ".npz":
        raise InputError(f"-o {str(path)!r}: expected a name that ends in .npz; name a case")
    found = list(calls)
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
    return keras_report(checks, tuple(f"recorded {name}" for name in written))


def write_inputs(calls: Sequence[LayerCall], path: str | None) -> list[str]:
    """Write what reached each layer that is replayed; the names of the files."""
    if path is None:
        return []
    names = file_names(Path(path), calls)
    data = [
        (name, encoded(seen.inputs, Path(name).suffix))
        for name, seen in zip(names, calls, strict=True)
        if seen.weights is not None
    ]
    for name, content in data:
        write_bytes(name, content)
    return [name for name, _ in data]


def file_names(path: Path, calls: Sequence[LayerCall]) -> list[str]:
    """A file name for each call, distinct and without anything that a path would read."""
    parts = [(seen.layer_name, seen.call, seen.mode) for seen in calls]
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
    calls = generated_calls(spec, inputs, mask, mode, training)
    return record(calls, path, "generated", inputs_as)


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
    calls = list(
        model_calls(
            path, inputs, mask, layer_name, mode, seed, batch, timesteps, safe_mode, training
        )
    )
    if not calls:
        return keras_report((), (f"{path} has no recurrent layer",))
    return record(calls, out, "model", inputs_as)
