"""What was recorded: cases written and checked again.

A case is checked by holding Keras now, Keras then and the replay against each other. A layer under
test is held against its recorded cases, which are written where they are missing.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import keras_adapter
from rnn_parity.api.functions import generated_calls, keras_report, model_calls, modes_to_run
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.judging import judged, judged_sources, subject_of
from rnn_parity.bounds.distance import distance, ulps
from rnn_parity.cases.case import (
    SEQUENCE_OPTIONS,
    Case,
    case_of,
    read_case,
    versions_now,
    write_case,
)
from rnn_parity.diagnosis.blind_spots import share_runs
from rnn_parity.errors import InputError
from rnn_parity.implementations.against import others_of, refuse_several
from rnn_parity.implementations.numbers import encoded
from rnn_parity.keras_adapter.dropout import EACH_STEP, IN_TRAINING, MASKS
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.recurrence.precision import FORMATS, precision_of
from rnn_parity.report.checks import known_differences
from rnn_parity.report.report import Report
from rnn_parity.system.files import reason, write_bytes
from rnn_parity.verdict.results import Check, Mask, Subject
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
    others, name, case = others_of(against), os.fspath(path), read_case(path)
    if others:
        checks, errors = judged_sources([recorded(case)], "case", name, others)
        return Report(tuple(checks), errors=tuple(errors))
    found = case_checks(case, name, mode, keras)
    return keras_report(found) if keras else Report(tuple(found))


def refuse_cases(paths: Iterable[str], against: Any) -> None:
    """Raise `InputError` where an implementation cannot answer for all of several cases.

    What is wrong with a case that cannot be read is said when it is checked.
    """
    calls = []
    for path in paths:
        with contextlib.suppress(InputError):
            calls.append(recorded(read_case(path)))
    refuse_several(calls, others_of(against))


def case_checks(case: Case, path: str, mode: str | None, keras: bool) -> list[Check]:
    """The check of what was recorded, then one for each mode in which Keras runs now."""
    ways = modes_to_run(case.mode if mode is None else mode) if keras else ()
    return then_and_now(case, path, (rerun(case, one) for one in ways))


def then_and_now(case: Case, path: str, now: Iterable[LayerCall]) -> list[Check]:
    """What was recorded and each of `now`, held against the replay of the recorded weights."""
    then = recorded(case)
    (old,) = judged([then], "case", path)
    against = f"recorded outputs, {versions_of(case.versions)}"
    checks = [replace(old, subject=replace(old.subject, against=against))]
    for seen in now:
        new = seen_again(old, then, seen, path)
        checks.append(replace(new, notes=(*new.notes, change(case, old, new, seen))))
    return checks


def seen_again(old: Check, then: LayerCall, seen: LayerCall, path: str) -> Check:
    """The check of what is `seen` now; nothing that the `old` one says of `then` is worked out
    twice.
    """
    same, repeated = same_numbers(then, seen), is_rerun(then, seen)
    if same and repeated and old.verdict == "parity":
        notes = (*old.notes, *seen.notes[len(then.notes) :])
        return replace(old, subject=subject_of(seen, "case", path), notes=notes)
    (new,) = judged([seen], "case", path)
    if same and new.verdict == old.verdict:
        return replace(new, sensitivity=old.sensitivity)
    if repeated and len(then.final_state) == len(seen.final_state):
        share_runs(old.sensitivity, new.sensitivity)
    return new


def is_rerun(then: LayerCall, now: LayerCall) -> bool:
    """Whether both are of one case: the recorded layer, run again on the recorded arrays."""
    return now.inputs is then.inputs


def same_numbers(then: LayerCall, now: LayerCall) -> bool:
    """Whether two calls of one layer on the same data returned the very same numbers."""
    pairs = [(then.outputs, now.outputs), (then.last_output, now.last_output)]
    if len(then.final_state) != len(now.final_state):
        return False
    pairs += zip(then.final_state, now.final_state, strict=True)
    return all(
        one is other is None or (one is not None and other is not None and identical(one, other))
        for one, other in pairs
    )


def identical(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays have the same dtype and the same numbers."""
    return one.dtype == other.dtype and np.array_equal(one, other)


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
    from rnn_parity.keras_adapter.building import rebuild_layer

    then, masks = recorded(case), masks_of(case)
    layer = rebuild_layer(case.layer_class, case.config, case.weights(), len(case.inputs), masks)
    (now,) = keras_adapter.observe_layer(
        layer, case.inputs, case.mask, case.initial_state, mode, bool(masks), masks
    )
    computed = {name: getattr(now, name) for name in ("outputs", "last_output", "final_state")}
    notes = (*then.notes, *(note for note in now.notes if note not in (IN_TRAINING, EACH_STEP)))
    return replace(then, mode=mode, notes=notes, kernel=now.kernel, **computed)


def versions_of(found: Mapping[str, str | None]) -> str:
    """The versions that numbers depend on most."""
    return f"TensorFlow {found.get('tensorflow')}, Keras {found.get('keras')}"


@cache
def running_versions() -> str:
    """The versions that compute now: those of a process stay as they are once they are loaded."""
    return versions_of(versions_now())


def change(case: Case, old: Check, new: Check, now: LayerCall) -> str:
    """What changed since `case` was recorded: the numbers, and what they were held to prove."""
    since = f"recorded with {versions_of(case.versions)}, now {running_versions()}"
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
    diverged: bool = False,
    allow_known: bool = False,
) -> Report:
    """Write one case per call, and the report on what was recorded.

    One goes to `path`; several go beside it, with what tells them apart in the name: the layer,
    the call, the mode. A note says what was written, and what it replaces. What is not replayed is
    not recorded and stays `inconclusive`; what diverged or is suspect is not, either, unless
    `diverged` says to, or `allow_known` where a known difference explains it. With `inputs_as`, a
    name that ends in .npy or .csv, the inputs are written as well, for another program to read.
    Raises `InputError` for a case that cannot be held as data or written.
    """
    if Path(path).suffix != ".npz":
        raise InputError(f"-o {str(path)!r}: expected a name that ends in .npz; name a case")
    found = list(calls)
    names = file_names(Path(path), found)
    installed = versions_now(keras_adapter.device())
    cases = [None if seen.weights is None else case_of(seen, installed) for seen in found]
    checks = list(judged(found, kind))
    notes = [
        written(name, case, check, diverged, allow_known)
        for name, case, check in zip(names, cases, checks, strict=True)
        if case is not None
    ]
    notes += [f"recorded {name}" for name in write_inputs(found, inputs_as)]
    subjects = (replace(c.subject, path=name) for name, c in zip(names, checks, strict=True))
    checks = [replace(c, subject=one) for one, c in zip(subjects, checks, strict=True)]
    return keras_report(checks, tuple(notes))


def written(name: str, case: Case, check: Check, diverged: bool, allow_known: bool) -> str:
    """Write a case unless its `check` went wrong; the note that says what became of it."""
    if check.verdict in WRONG and not diverged and not accepted(check, allow_known):
        went = "diverged" if check.verdict == "diverged" else f"is {check.verdict}"
        return f"not recorded: {name}, whose layer {went}; {DIVERGED} records it anyhow"
    replaces = replaced_by(name)
    write_case(name, case)
    known = known_differences(check) if allow_known and not diverged else []
    why = f" although it diverged: {', '.join(known)}, a known difference" if known else ""
    return f"recorded {name}{why}{replaces}"


WRONG = ("diverged", "suspect")
DIVERGED = "--diverged"


def replaced_by(name: str) -> str:
    """What a case in the file `name` would replace, for a note; empty where there is none."""
    if not os.path.exists(name):
        return ""
    try:
        then = read_case(name)
    except InputError:
        return ", which replaces a file that was no case"
    return f", which replaces the case recorded with {versions_of(then.versions)}"


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
    for name, numbers in data:
        write_bytes(name, numbers)
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
    diverged: bool = False,
    allow_known: bool = False,
) -> Report:
    """Record the layer that `spec` describes, run as `check_generated` runs it."""
    calls = generated_calls(spec, inputs, mask, mode, training)
    return record(calls, path, "generated", inputs_as, diverged, allow_known)


def record_model(
    path: str,
    out: str | os.PathLike[str],
    *,
    mode: str = "graph",
    inputs_as: str | None = None,
    training: bool = False,
    diverged: bool = False,
    allow_known: bool = False,
    **run: Any,
) -> Report:
    """Record every recurrent layer of a saved model, run as `check_model` runs it."""
    from rnn_parity.api.saved import ModelRun

    calls, notes = model_calls(ModelRun(path, training=training, **run), mode)
    if not calls:
        return keras_report((), (*notes, f"{path} has no recurrent layer"))
    report = record(calls, out, "model", inputs_as, diverged, allow_known)
    return replace(report, notes=(*notes, *report.notes))


# A layer held against the cases recorded of it.


COMPUTED = ("outputs", "last_output", "final_state")
FROM_OTHERS = ("inputs", "initial_state")
"""What a layer inside a model is given by the layers before it, which rounds as they do."""
UPDATE = "--rnn-parity-update"
MEANT = f"if it is meant to change, run pytest with {UPDATE}, which rewrites the case"
RESTORE = f"restore it from version control, or run pytest with {UPDATE}, which rewrites it"


@dataclass(frozen=True)
class Held:
    """The checks of one layer call; of a case that was missing or changed, how, and what to do."""

    checks: Sequence[Check]
    said: tuple[str, ...] = ()
    to_do: str = ""

    @property
    def message(self) -> str:
        """What was missing or changed, for a person; empty where nothing was."""
        return told([self])


def told(results: Sequence[Held]) -> str:
    """What is missing or changed among the cases of one test's call, with each advice once."""
    found: dict[str, list[str]] = {}
    for one in results:
        if one.said:
            found.setdefault(one.to_do, []).extend(one.said)
    lines = [line for to_do, said in found.items() for line in (*said, f"  to do     {to_do}")]
    count = sum(bool(one.said) for one in results)
    head = [f"{count} of {len(results)} cases are missing, changed or damaged"] if count > 1 else []
    return "\n".join([*head, *lines])


def paths_of(path: Path, count: int) -> list[Path]:
    """The files of `count` cases: `path` (.npz), or several beside it, numbered as they ran.

    Names would not do: Keras numbers the layers that have none through the whole process.
    """
    several = [path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(count)]
    return [path] if count == 1 else several


def held(
    seen: LayerCall,
    path: Path,
    shown: str,
    update: bool,
    in_model: bool = False,
    allow_known: bool = False,
) -> Held:
    """Hold `seen` against the case in `path`, which messages call `shown`.

    A missing case is written; with `update`, one that changed, cannot be read or was not in parity
    is written anew; neither of a layer that is not in parity now, unless a known difference
    explains that and is allowed. What reaches a layer `in_model` may have moved by rounding on its
    way. A case that cannot be read counts as changed. Raises `InputError` for one that cannot be
    written.
    """
    if seen.weights is None:
        return Held(list(judged([seen], "layer")))
    case = case_of(seen, versions_now(keras_adapter.device()))
    replaced = partial(unproven, case, seen, path, shown, allow_known=allow_known)
    if not path.exists():
        return replaced([], write=True)
    try:
        then = read_case(path)
    except InputError as error:
        why = str(error).removesuffix("; record it again")  # said by hand in `RESTORE`
        return replaced([why], write=update, what="cannot be read", or_else=RESTORE)
    names = given(then, case)
    way = [name for name in names if in_model and rounded_alike(name, then, case)]
    changes = changed(then, case, [name for name in names if name not in way])
    if changes:
        old, new = versions_of(then.versions), versions_of(case.versions)
        since = f"recorded with {old}, now {new}" if old != new else f"then and now with {new}"
        return replaced([*changes, since], write=update)
    moves = changed(then, case, way)
    notes = (*seen.notes, *(f"moved by rounding on the way to the layer: {one}" for one in moves))
    checks = then_and_now(then, shown, [replace(seen, notes=notes)])
    if update and not accepted(checks[0], allow_known):
        return replaced([f"outputs: {checks[0].summary}"], write=True)
    return Held(checks)


def accepted(check: Check, allow_known: bool) -> bool:
    """Whether a layer computes what it should, but for a known difference where that is allowed."""
    return check.verdict == "parity" or (allow_known and bool(known_differences(check)))


def unproven(
    case: Case,
    seen: LayerCall,
    path: Path,
    shown: str,
    changes: list[str],
    write: bool,
    allow_known: bool,
    what: str = "changed since it was recorded",
    or_else: str = "",
) -> Held:
    """What was `seen` cannot be held against a case that is missing or has `changes`.

    `what` says in short which kind of changes these are, and `or_else` what to do about them.
    """
    (now,) = judged([seen], "layer")
    if not accepted(now, allow_known):
        return Held([now])
    if write:
        write_below(path, case)
    what = what if changes else "no case was recorded yet"
    if not changes:
        todo = "look at it with rnn-parity check, commit it and run the test again"
    elif write:
        todo = "rewritten: commit it and run the test again"
    else:
        todo = or_else or MEANT
    head = f"{what}: {shown}" if changes else f"{what}; written now: {shown}"
    said = (head, *(f"  {change}" for change in changes))
    subject = Subject("case", shown, case.layer_class, case.layer_name, case.config, case.mode)
    summary = "; ".join([what, *changes])
    return Held([now, Check(subject, "inconclusive", summary)], said, todo)


def write_below(path: Path, case: Case) -> None:
    """Write `case` to `path`, with the folders above it; raises `InputError` where it cannot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {reason(error)}") from None
    write_case(path, case)


def given(then: Case, now: Case) -> list[str]:
    """The names of the arrays that the layer was given, then or now."""
    return [name for name in {**then.arrays, **now.arrays} if not name.startswith(COMPUTED)]


def rounded_alike(name: str, then: Case, now: Case) -> bool:
    """Whether an array that other layers computed is the same but for their rounding.

    How far that goes nobody can say without replaying them. Half of the digits, relative to the
    largest entry, is far beyond what rounding does and far below what a person changes.
    """
    old, new = then.arrays.get(name), now.arrays.get(name)
    if not name.startswith(FROM_OTHERS) or old is None or new is None or old.shape != new.shape:
        return False
    limit = math.sqrt(FORMATS[now.dtype].unit_roundoff) * np.abs(old).max()
    return bool((distance(old, new) <= limit).all())


def changed(then: Case, now: Case, names: Sequence[str]) -> list[str]:
    """How a layer's options and the arrays of these names differ then and now, one line each."""
    before, after = then.weights(), now.weights()
    pairs = [("recurrence", then.recurrence, now.recurrence)]
    names_of_options = dict.fromkeys((*before.OPTIONS, *after.OPTIONS, *SEQUENCE_OPTIONS, "dtype"))
    pairs += [(name, option(before, name), option(after, name)) for name in names_of_options]
    lines = [f"{name}: {old} then, {new} now" for name, old, new in pairs if old != new]
    arrays = [difference(name, then.arrays.get(name), now.arrays.get(name)) for name in names]
    return [*lines, *filter(None, arrays)]


def option(weights: Cell, name: str) -> Any:
    """One option of a layer, as a person names it; None for one that it has not."""
    if name == "dtype":
        return weights.precision.name
    value = getattr(weights, name, None)
    return value.name if isinstance(value, Activation) else value


def difference(name: str, then: NDArray[Any] | None, now: NDArray[Any] | None) -> str:
    """How one array changed: its first entry that did; empty when none did."""
    if then is None or now is None:
        return "" if then is now else f"{name}: {kind(name, then)} then, {kind(name, now)} now"
    if then.shape != now.shape:
        return f"{name}: shape {then.shape} then, {now.shape} now"
    differ = np.argwhere((then != now) & ~((then != then) & (now != now)))  # NaN is not itself
    if not len(differ):
        return ""
    first = tuple(int(i) for i in differ[0])
    old, new = (f"{float(array[first]):.9g}" for array in (then, now))
    where = f"{name}{list(first)}: {old} then, {new} now"
    return where if len(differ) == 1 else f"{where}, the first of {len(differ)} changed entries"


def kind(name: str, array: NDArray[Any] | None) -> str:
    """What an array is, in a word or two, beside one that is not there."""
    if array is None:
        return "none"
    pattern = Mask.of(array).pattern if name == "mask" else "none"
    return "one" if pattern == "none" else pattern
