"""A model of TensorFlow.js, run by it: what reached its recurrent layers, and what they computed.

It is run once on the inputs of the whole model; every recurrent layer is tapped by its name. What
it is given there is the mask that its input carries: TensorFlow.js also hands on masks that earlier
layers left behind, which is a mistake of its own that the layer's outputs then show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.implementations.tfjs.files import Entry, StoredModel, read_model
from rnn_parity.implementations.tfjs.node import (
    NAME,
    SHOWN,
    Arrays,
    Runtime,
    call_arrays,
    runtime,
    states_in,
)
from rnn_parity.recurrence.cells import KERAS_CELLS
from rnn_parity.recurrence.layer_call import Handed, LayerCall, Merge, not_compared
from rnn_parity.system.limits import check_numbers

STALE = (
    "TensorFlow.js gave this layer a mask that its input does not carry, which an earlier layer "
    "had left behind: see rnn-parity explain tfjs"
)
AGAIN = (
    "TensorFlow.js called this stateful layer once for each of its outputs, which moves its state "
    "on each time: see rnn-parity explain tfjs"
)
ALONE = "the layer ran by itself in TensorFlow.js, on what reaches it here"
PARTS = ("forward", "backward", "merge")
"""What is seen of a `Bidirectional`, by the ends of the paths."""
MASKED_SHARE = 0.25
"""How many timesteps are masked, so that a mask has runs of every kind."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One call of a recurrent layer, or of a `Bidirectional` ("both/merge"), in TensorFlow.js.

    `arrays` hold `inputs` `(B, T, F)`; `mask` `(B, T)`, which the input carries, and `handed_mask`,
    which the layer was given; `state/0`, the states before; `outputs` `(B, T, H)` and `last_output`
    `(B, H)`; `final/0`, the states after; of a `Bidirectional` `returned/0` and so on.
    """

    path: str
    arrays: Arrays
    moved: bool = False
    """Whether it was called before in the same run, and its state was moved on."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is known to differ in such a call."""
        mask, handed = self.arrays.get("mask"), self.arrays.get("handed_mask")
        carried = np.zeros(0) if mask is None else mask
        notes = [] if handed is None or np.array_equal(handed, carried) else [STALE]
        state = self.arrays.get("state/0")
        if mask is not None and state is not None and state.any() and not mask.all():
            notes.append(SHOWN)
        return (*notes, *[AGAIN] * self.moved)

    @property
    def reached(self) -> dict[str, Any]:
        """What reached the layer, as the fields of a `LayerCall`, but for the mask."""
        return {
            "inputs": self.arrays["inputs"],
            "initial_state": states_in(self.arrays, "state/") or None,
        }

    @property
    def computed(self) -> dict[str, Any]:
        """What the layer computed, as the fields of a `LayerCall`."""
        return {
            "outputs": self.arrays["outputs"],
            "last_output": self.arrays.get("last_output"),
            "final_state": states_in(self.arrays, "final/"),
        }


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a model: the calls of its recurrent layers, and what each layer computed."""

    calls: tuple[Seen, ...]
    values: Arrays

    def call(self, path: str, where: str) -> Seen:
        """The only call of a layer; raises `InputError` where there is none, or several."""
        found = [seen for seen in self.calls if seen.path == path]
        if len(found) != 1:
            names = ", ".join(dict.fromkeys(seen.path for seen in self.calls)) or "none"
            raise InputError(
                f"{where}: expected one call of a recurrent layer {path!r}, received "
                f"{len(found)}, of {names}"
            )
        return found[0]


def layer_values(path: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """The first output of every layer at the top of a model, by the layers' names.

    `inputs` are those of the model, by the names of its inputs, or in their order. Raises as
    `read_model` and `Runtime.ask` do.
    """
    model = read_model(path)
    return run(runtime(model.where), model, inputs).values


def run(found: Runtime, model: StoredModel, inputs: Mapping[str, NDArray[Any]]) -> Run:
    """Run a model once, on all samples together."""
    arrays = {f"input/{i}": array for i, array in enumerate(inputs.values())}
    answer, computed = asked(found, model, {"task": "model", "inputs": list(inputs)}, arrays)
    calls = [Seen(path, under(computed, f"call/{i}/")) for i, path in enumerate(answer["calls"])]
    return Run(tuple(once_each(calls, answer["once"])), under(computed, "value/"))


def once_each(calls: Sequence[Seen], once: Sequence[str]) -> Iterator[Seen]:
    """The calls, as one those of a layer that is to be called `once`, by its path.

    TensorFlow.js calls a layer again for each of its outputs that a model uses, and a stateful one
    moves on each time. It is judged on its last call, from the state before the first.
    """
    for path in dict.fromkeys(seen.path for seen in calls):
        own = [seen for seen in calls if seen.path == path]
        if path in once:
            first = {n: a for n, a in own[0].arrays.items() if n.startswith("state/")}
            moved = any(not np.array_equal(own[-1].arrays[name], a) for name, a in first.items())
            own = [Seen(path, own[-1].arrays | first, moved)]
        yield from own


def asked(
    found: Runtime, model: StoredModel, question: Mapping[str, Any], arrays: Arrays
) -> tuple[dict[str, Any], Arrays]:
    """What TensorFlow.js answers to a question about a model."""
    whole = {**question, "topology": model.topology, "specs": model.specs}
    weights = np.frombuffer(model.data, np.uint8)
    return found.ask(model.where, whole, {**arrays, "weights": weights})


def under(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


# `--against model.json`: its layers in place of those of a Keras model.


def implementation(source: str) -> Implementation:
    """The model in a `model.json` as an implementation of the layers of a Keras model.

    A layer is found by its name. Where the whole Keras model is checked, the whole TensorFlow.js
    model is run on the same inputs, and a layer is judged on what reached it there; otherwise the
    layer is called alone. Raises `InputError` for a file that is no model and for a layer that it
    does not have; `MissingPackageError` without Node or TensorFlow.js.
    """
    return Reference(read_model(source)).compute


class Reference:
    """A model that answers for the layers of another; its last run is kept."""

    def __init__(self, model: StoredModel) -> None:
        self.model, self.found = model, runtime(model.where)
        self._ran: tuple[Mapping[str, NDArray[Any]], Run] | None = None

    def compute(self, request: Request) -> Answer:
        """What the model's layer of the request's name computes."""
        if not request.model_inputs:
            answer = self._alone(request)
        elif request.side_by_side:
            answer = self._both(request, request.model_inputs)
        else:
            seen = self._seen(tfjs_path(request.layer_name), request.model_inputs)
            notes = (*seen.notes, *apart(request, seen))
            answer = Answer(**seen.computed, **seen.reached, notes=notes)
        notes = (f"{self.found.name}, {self.model.path}", *self.model.notes, *answer.notes)
        return replace(answer, notes=notes, made_by=NAME)

    def _seen(self, path: str, inputs: Mapping[str, NDArray[Any]]) -> Seen:
        """The call of a layer in the run of the whole model on `inputs`."""
        if self._ran is None or self._ran[0] is not inputs:
            self._ran = inputs, run(self.found, self.model, inputs)
        return self._ran[1].call(path, self.model.where)

    def _both(self, request: Request, inputs: Mapping[str, NDArray[Any]]) -> Answer:
        """What a `Bidirectional` computes, its layers' outputs side by side.

        They are those of all timesteps, if what it returned is made of them.
        """
        paths = (f"{request.layer_name}/{part}" for part in PARTS)
        forward, backward, merge = (self._seen(path, inputs) for path in paths)
        returned = states_in(merge.arrays, "returned/")
        outputs = np.concatenate(returned[: self._outputs_of(request.layer_name)], axis=-1)
        last = [one.arrays.get("last_output") for one in (forward, backward)]
        if all(one is not None for one in last):
            own = np.concatenate([one for one in last if one is not None], axis=-1)
            if np.array_equal(outputs, own, equal_nan=True):
                sequences = forward.arrays["outputs"], backward.arrays["outputs"][:, ::-1]
                outputs = np.concatenate(sequences, axis=-1)
        return Answer(
            outputs,
            (*forward.computed["final_state"], *backward.computed["final_state"]),
            (*forward.notes, *apart(request, forward)),
            inputs=forward.arrays["inputs"],
        )

    def _outputs_of(self, name: str) -> int:
        """How many outputs, before any states, a `Bidirectional` returns."""
        found = [one for one in self.model.entries if one.path == f"{name}/forward"]
        return 2 if merge_mode(found[0]) is None else 1

    def _alone(self, request: Request) -> Answer:
        """What the layer computes by itself, from the inputs of the request."""
        entry = self._entry(request)
        path, _, side = entry.path.rpartition("/") if entry.wrapper else (entry.path, "", "")
        question = {"task": "alone", "name": path, "side": side}
        _, found = asked(self.found, self.model, question, call_arrays(request))
        return Answer(found["outputs"], states_in(found, "state/"), (ALONE,))

    def _entry(self, request: Request) -> Entry:
        """The layer that is asked for: that of its name, or the only one there is."""
        entries, name = self.model.entries, tfjs_path(request.layer_name)
        found = [one for one in entries if one.path == name] or entries
        if len(found) != 1 or request.side_by_side:
            names = ", ".join(one.path for one in entries) or "none"
            raise InputError(
                f"{self.model.where}: expected a recurrent layer {name!r}, received {names}; name "
                "one of the two alike, or check the whole Keras model"
            )
        return found[0]


def tfjs_path(name: str) -> str:
    """The path here of a layer with this name in Keras: of "both/forward/lstm", "both/forward"."""
    parts = name.split("/")
    return "/".join(parts[:-1]) if parts[-2:-1] in (["forward"], ["backward"]) else name


def apart(request: Request, seen: Seen) -> Iterator[str]:
    """How far what reached a layer is from what reached it in Keras, in words."""
    inputs, reached = request.inputs, seen.arrays["inputs"]
    if inputs.shape == reached.shape:
        with np.errstate(invalid="ignore"):
            off = np.abs(inputs.astype(np.float64) - reached).max(initial=0.0)
        yield f"what reached it is at most {off:.3g} away from what reached it in Keras"
    else:
        yield f"what reached it has the shape {reached.shape} there and {inputs.shape} in Keras"
    everything = np.ones(inputs.shape[:2], bool)
    handed = seen.arrays.get("handed_mask", everything)
    if not np.array_equal(handed, everything if request.mask is None else request.mask):
        yield "TensorFlow.js gave it another mask than Keras; it is judged on that of Keras"


# `check model.json`: its layers, held against their own weights.


def recurrent_calls(
    model: StoredModel,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]] | None = None,
    batch: int = 32,
    timesteps: int = 28,
    seed: int = 0,
) -> tuple[str, list[LayerCall]]:
    """Who ran a model, and what its recurrent layers computed, with their own weights.

    `inputs` is the array for its only input, or arrays by name; the others are random, with
    `batch` and `timesteps` for their open axes. A `Bidirectional` gives three calls, the last of
    which is what it merged. Raises as `runtime` and `Runtime.ask` do, and `InputError` for inputs
    that do not fit.
    """
    found = runtime(model.where)
    ran = run(found, model, inputs_for(found, model, inputs, batch, timesteps, seed))
    return found.name, [call for entry in model.entries for call in calls_of(entry, model, ran)]


def calls_of(entry: Entry, model: StoredModel, ran: Run) -> list[LayerCall]:
    """The calls of a layer; behind those of a backward layer, what its `Bidirectional` merged.

    One that is not compared, with the reason, where the layer is not replayed or did not run.
    """
    about = (entry.layer_class, entry.path, dict(entry.config))
    seen = [one for one in ran.calls if one.path == entry.path]
    try:
        layer = model.layer(entry)
    except UnsupportedError as error:
        return [not_compared(*about, str(error))]
    if not seen:
        return [not_compared(*about, "the model was not seen to call it")]
    numbers = [i if len(seen) > 1 else None for i in range(len(seen))]
    calls = [
        replace(
            not_compared(*about, ""),
            call=number,
            weights=layer,
            not_compared=None,
            mask=one.arrays.get("mask"),
            notes=(*model.notes, *one.notes),
            made_by=NAME,
            **one.reached,
            **one.computed,
        )
        for number, one in zip(numbers, seen, strict=True)
    ]
    return calls + (merges_of(entry, ran) if entry.path.endswith("/backward") else [])


def merges_of(entry: Entry, ran: Run) -> list[LayerCall]:
    """What the `Bidirectional` of a backward layer did, call by call."""
    name, config = entry.path.rpartition("/")[0], dict(entry.wrapper or {})
    sequences = bool(entry.config.get("return_sequences"))
    states = KERAS_CELLS[entry.layer_class].STATES if entry.config.get("return_state") else ()
    sides = [[one for one in ran.calls if one.path == f"{name}/{s}"] for s in PARTS]
    return [
        replace(
            not_compared("Bidirectional", f"{name}/merge", config, ""),
            call=i if len(sides[0]) > 1 else None,
            merge=Merge(
                merge_mode(entry),
                sequences,
                states,
                handed(whole, states_in(whole.arrays, "returned/"), True),
                *(handed(one, returned(one, bool(states)), given(whole)) for one in parts),
            ),
        )
        for i, (*parts, whole) in enumerate(zip(*sides, strict=True))
    ]


def merge_mode(entry: Entry) -> str | None:
    """How the `Bidirectional` of a layer merges outputs."""
    mode: str | None = (entry.wrapper or {}).get("merge_mode", "concat")
    return mode


def returned(seen: Seen, with_states: bool) -> tuple[NDArray[Any], ...]:
    """What a layer of a `Bidirectional` returned to it."""
    arrays = seen.arrays
    states = states_in(arrays, "final/") if with_states else ()
    return (arrays.get("last_output", arrays["outputs"]), *states)


def given(seen: Seen) -> bool:
    """Whether a `Bidirectional` was given initial states: a stateful layer has its own."""
    return "state/0" in seen.arrays


def handed(seen: Seen, returned: Sequence[NDArray[Any]], with_states: bool) -> Handed:
    """What a `Bidirectional` or one of its layers was given, and returned."""
    arrays = seen.arrays
    states = states_in(arrays, "state/") if with_states else ()
    return Handed(arrays["inputs"], arrays.get("handed_mask"), states, returned)


# Inputs that fit.


def inputs_for(
    found: Runtime,
    model: StoredModel,
    given: NDArray[Any] | Mapping[str, NDArray[Any]] | None,
    batch: int,
    timesteps: int,
    seed: int,
) -> Arrays:
    """An array for each input of a model, by name: what is `given`, and random ones.

    These are random: integers below the rows of the table that an `Embedding` reads, zeros
    among them; otherwise normal, with whole timesteps at the value of a `Masking` layer.
    """
    answer, _ = asked(found, model, {"task": "describe"}, {})
    rng, arrays = np.random.default_rng(seed), Arrays()
    known = by_name(given, [one["name"] for one in answer["inputs"]], model.where)
    batch = next((len(array) for array in known.values()), batch)
    for one in answer["inputs"]:
        if one["name"] in known:
            arrays[one["name"]] = fitting(one, known[one["name"]], model.where)
            continue
        shape = [batch, *(timesteps if n is None else n for n in one["shape"][1:])]
        shape[0] = one["shape"][0] or batch
        check_numbers(prod(shape), model.where, "make --batch or --timesteps smaller", "inputs")
        arrays[one["name"]] = random_input(one, shape, rng)
    return arrays


def by_name(
    given: NDArray[Any] | Mapping[str, NDArray[Any]] | None, names: Sequence[str], where: str
) -> Mapping[str, NDArray[Any]]:
    """What is given by the names of a model's inputs; raises `InputError` for other names."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(names) > 1:
            raise InputError(
                f"{where}: takes {len(names)} inputs, {', '.join(names)}; say which one it is for: "
                f"--input {names[0]}=FILE"
            )
        return {names[0]: given}
    for name in given:
        if name not in names:
            raise InputError(f"{where}: expected inputs {', '.join(names)}, received {name!r}")
    return given


def fitting(one: Mapping[str, Any], array: NDArray[Any], where: str) -> NDArray[Any]:
    """`array` for one input of a model; raises `InputError` where its shape is another."""
    shape = one["shape"]
    pairs = zip(shape, array.shape, strict=False)
    if len(shape) != array.ndim or any(n not in (None, m) for n, m in pairs):
        wanted = tuple("any" if n is None else n for n in shape)
        raise InputError(
            f"{where}: expected an array of shape {wanted} for its input {one['name']}, received "
            f"{array.shape}"
        )
    return np.asarray(array)


def random_input(
    one: Mapping[str, Any], shape: Sequence[int], rng: np.random.Generator
) -> NDArray[Any]:
    """Random numbers for one input of a model, as TensorFlow.js describes it."""
    rows = one.get("rows")
    if rows is not None or one["dtype"] != "float32":
        integers = rng.integers(0, rows or 2, shape)
        integers[rng.random(shape) < MASKED_SHARE] = 0
        return integers.astype(np.int32)
    values: NDArray[Any] = rng.normal(size=shape).astype(np.float32)
    if "masked" in one and len(shape) > 2:
        values[rng.random(shape[:2]) < MASKED_SHARE] = one["masked"]
    return values
