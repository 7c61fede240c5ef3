"""A layer held against the cases recorded of it: nothing recorded yet, something changed, or not.

What a layer is given (inputs, mask, initial state, weights, options) must be what was recorded.
Then what it computed is held against the replay, now and as it was recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import keras_adapter
from rnn_parity.api.judging import judged
from rnn_parity.api.rechecking import then_and_now, versions_of
from rnn_parity.bounds.distance import distance
from rnn_parity.cases.case import Case, case_of, read_case, versions_now, write_case
from rnn_parity.errors import InputError
from rnn_parity.recurrence.activations import Activation
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.precision import FORMATS
from rnn_parity.system.files import reason
from rnn_parity.verdict.results import Check, Subject

COMPUTED = ("outputs", "last_output", "final_state")
OPTIONS = (
    *("activation", "recurrent_activation", "reset_after"),
    *("go_backwards", "zero_output_for_mask", "dtype"),
)
FROM_OTHERS = ("inputs", "initial_state")
"""What a layer inside a model is given by the layers before it, which rounds as they do."""
UPDATE = "--rnn-parity-update"


@dataclass(frozen=True)
class Held:
    """The checks of one layer call, and the message of what was missing or changed, if anything."""

    checks: Sequence[Check]
    message: str = ""


def paths_of(path: Path, count: int) -> list[Path]:
    """The files of `count` cases: `path` (.npz), or several beside it, numbered as they ran.

    Names would not do: Keras numbers the layers that have none through the whole process.
    """
    several = [path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(count)]
    return [path] if count == 1 else several


def held(seen: LayerCall, path: Path, shown: str, update: bool, in_model: bool = False) -> Held:
    """Hold `seen` against the case in `path`, which messages call `shown`.

    A missing case is written; with `update`, one that changed, cannot be read or was not in parity
    is written anew; neither of a layer that is not in parity now. What reaches a layer `in_model`
    may have moved by rounding on its way. Raises `InputError` for a case that cannot be read or
    written.
    """
    if seen.weights is None:
        return Held(list(judged([seen], "layer")))
    case = case_of(seen, versions_now(keras_adapter.device()))
    if not path.exists():
        return unproven(case, seen, path, shown, [], write=True)
    try:
        then = read_case(path)
    except InputError as error:
        if not update:
            raise
        return unproven(case, seen, path, shown, [str(error)], write=True)
    names = given(then, case)
    way = [name for name in names if in_model and rounded_alike(name, then, case)]
    changes = changed(then, case, [name for name in names if name not in way])
    if changes:
        old, new = versions_of(then.versions), versions_of(case.versions)
        since = f"recorded with {old}, now {new}" if old != new else f"then and now with {new}"
        return unproven(case, seen, path, shown, [*changes, since], write=update)
    moves = changed(then, case, way)
    notes = (*seen.notes, *(f"moved by rounding on the way to the layer: {one}" for one in moves))
    checks = then_and_now(then, shown, [replace(seen, notes=notes)])
    if update and checks[0].verdict != "parity":
        return unproven(case, seen, path, shown, [f"outputs: {checks[0].summary}"], write=True)
    return Held(checks)


def unproven(
    case: Case, seen: LayerCall, path: Path, shown: str, changes: list[str], write: bool
) -> Held:
    """What was `seen` cannot be held against a case that is missing or has `changes`."""
    (now,) = judged([seen], "layer")
    if now.verdict != "parity":
        return Held([now])
    if write:
        write_below(path, case)
    what = "changed since it was recorded" if changes else "no case was recorded yet"
    if not changes:
        todo = "look at it with rnn-parity check, commit it and run the test again"
    elif write:
        todo = "rewritten: commit it and run the test again"
    else:
        todo = f"if it is meant to change, run pytest with {UPDATE}, which rewrites the case"
    head = f"{what}: {shown}" if changes else f"{what}; written now: {shown}"
    subject = Subject("case", shown, case.layer_class, case.layer_name, case.config, case.mode)
    summary = "; ".join([what, *changes])
    message = "\n".join([head, *(f"  {change}" for change in changes), f"  to do     {todo}"])
    return Held([now, Check(subject, "inconclusive", summary)], message)


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
    pairs += [(name, option(before, name), option(after, name)) for name in OPTIONS]
    lines = [f"{name}: {old} then, {new} now" for name, old, new in pairs if old != new]
    arrays = [difference(name, then.arrays.get(name), now.arrays.get(name)) for name in names]
    return [*lines, *filter(None, arrays)]


def option(weights: Layer, name: str) -> Any:
    """One option of a layer, as a person names it; None for one that it has not."""
    if name == "dtype":
        return weights.precision.name
    value = getattr(weights, name, None)
    return value.name if isinstance(value, Activation) else value


def difference(name: str, then: NDArray[Any] | None, now: NDArray[Any] | None) -> str:
    """How one array changed: its first entry that did; empty when none did."""
    if then is None or now is None:
        return "" if then is now else f"{name}: none {'then' if then is None else 'now'}"
    if then.shape != now.shape:
        return f"{name}: shape {then.shape} then, {now.shape} now"
    differ = np.argwhere((then != now) & ~((then != then) & (now != now)))  # NaN is not itself
    if not len(differ):
        return ""
    first = tuple(int(i) for i in differ[0])
    old, new = (f"{float(array[first]):.9g}" for array in (then, now))
    where = f"{name}{list(first)}: {old} then, {new} now"
    return where if len(differ) == 1 else f"{where}, the first of {len(differ)} changed entries"
