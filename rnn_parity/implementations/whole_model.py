"""A whole Keras model held against its export: where each recurrent layer is, and what it did.

Keras runs the model layer by layer, and each layer hands on, in place of what it computed, the
tensor of the export's own run that has the same numbers. So every layer is given what reached it in
the export, and what it should have made of that is known. A recurrent layer is found in the export
by its weights where an operator carries them, else by the numbers of its outputs, else by its
place: the tensor of its shape with which the layers after it are found again. To be found proves
nothing; what is found goes to the verdict as the outputs of any other implementation do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity import keras_adapter
from rnn_parity.errors import InputError
from rnn_parity.implementations.ports import Port
from rnn_parity.implementations.tensors import Match, Tensors, bits, distance, unit_distance
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.verdict.results import ModelOutput

Array = NDArray[Any]

FEWEST = 8
"""Fewer numbers than these may be near those of another tensor by chance, and are not looked for.

With 2**-8 for near and a thousand tensors, eight independent numbers are so in 1 of 10**13 runs,
two in 1 of 60; what is not looked for is what Keras computes.
"""
MOST_PLACES = 36
"""How many tensors are tried for the place of one layer; each try runs the model once.

Where a layer returns two things that are both lost (h and c), that is 6 tensors for each.
"""
MODEL = ""
"""The name under which the model's own outputs are handed on."""
FORGOTTEN = (
    "what went wrong in early timesteps alone, such as a mask or an initial state, may be "
    "forgotten by then"
)
NO_INPUTS = (
    "its inputs are no tensor of the export (a fused operator, or one that the runtime put "
    "together): Keras computed them from the nearest tensors before it"
)


@dataclass(frozen=True, eq=False)
class Run:
    """One run of an export: all of its tensors, its outputs among them, and what operators did.

    `operators` are the calls of recurrent operators that carry their own weights, `arithmetic`
    gives a layer as accurate as the runtime computes it, and notes on that.
    """

    tensors: Tensors
    outputs: Mapping[str, Array]
    operators: Sequence[LayerCall] = ()
    arithmetic: Callable[[Cell], tuple[Cell, tuple[str, ...]]] = lambda layer: (layer, ())


@dataclass(frozen=True, eq=False)
class Export:
    """An exported model: what it takes, and how to run it with every tensor to be seen.

    `where` begins its messages, `notes` are about the runtime.
    """

    where: str
    ports: Sequence[Port]
    run: Callable[[Mapping[str, Array]], Run]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Found:
    """A recurrent layer's call as the export computed it; `inputs` tells whether they were seen."""

    call: LayerCall
    inputs: bool = True


@dataclass(frozen=True, eq=False)
class WholeModel:
    """What became of a model in an export: its recurrent layers, and its outputs."""

    layers: tuple[Found, ...]
    outputs: tuple[ModelOutput, ...]


def whole_model(model: Any, inputs: Any, export: Export, mask: Any = None) -> WholeModel:
    """Every recurrent layer of a Keras model as `export` computes it from the same `inputs`.

    Raises `InputError` where the two do not belong together, and for what Keras or the export's
    runtime refuses.
    """
    refuse_not_finite(model, inputs)
    run = export.run(feeds(model, inputs, export))
    plain = Following(Tensors({}))
    keras_adapter.reset_states(model)
    before = keras_adapter.observe_model(model, inputs, "eager", mask=mask, hand_on=plain)
    follow = Follow(model, inputs, mask, run)
    calls, following = follow.everywhere()
    theirs = {key(call): call for call in before}
    layers = tuple(
        replace(one, call=noted(one.call, theirs.get(key(call)), export))
        for call in calls
        if call.merge is None
        for one in [follow.found(call)]
    )
    return WholeModel(layers, tuple(model_outputs(model, plain, following, run)))


def noted(call: LayerCall, theirs: LayerCall | None, export: Export) -> LayerCall:
    """The call with notes on the runtime, and on how far its inputs are from those in Keras."""
    if call.weights is None:
        return call
    notes = [*export.notes]
    if theirs is not None and theirs.inputs.shape == call.inputs.shape:
        moved = distance(call.inputs, theirs.inputs)
        notes.append(
            f"its inputs in the export have {bits(moved):.1f} bits in common with those in Keras"
            if moved
            else "its inputs in the export are those in Keras, bit for bit"
        )
    return replace(call, notes=(*call.notes, *notes), mode="", kernel=None, probe=None)


# What the export is given.


def feeds(model: Any, inputs: Any, export: Export) -> dict[str, Array]:
    """The arrays for the inputs of the export, by name.

    They are matched by their names where those are the same, then by shape. Raises `InputError`
    where the export takes others.
    """
    given = by_name(model, inputs)
    left, found = dict(given), {}
    for port in sorted(export.ports, key=lambda port: base(port.name) not in map(base, given)):
        fits = [name for name, array in left.items() if takes(port, array)]
        own = [name for name in fits if base(name) == base(port.name)]
        if not fits:
            raise InputError(f"{export.where}: {misfit(given, export.ports)}")
        array = left.pop((own or fits)[0])
        found[port.name] = np.ascontiguousarray(array, port.dtype)
    if left:
        raise InputError(f"{export.where}: {misfit(given, export.ports)}")
    return found


def by_name(model: Any, inputs: Any) -> dict[str, Array]:
    """What a model is given, by the names of its inputs."""
    arrays = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
    arrays = [np.asarray(one) for one in (arrays if isinstance(arrays, list) else [arrays])]
    names = list(inputs) if isinstance(inputs, Mapping) else input_names(model, len(arrays))
    return dict(zip(names, arrays, strict=True))


def refuse_not_finite(model: Any, inputs: Any) -> None:
    """Raise `InputError` for inputs by which no layer can be found."""
    for name, array in by_name(model, inputs).items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(
                f"input {name}: holds NaN or infinity, by which no layer is found in an export; "
                "give finite numbers"
            )


def input_names(model: Any, count: int) -> list[str]:
    """The names of a model's inputs; those of a model that does not say them are numbered."""
    try:
        return [spec.name for spec in keras_adapter.input_signature(model)]
    except InputError:
        return [f"input_{i}" for i in range(count)]


def takes_model(model: Any, inputs: Any, export: Export) -> bool:
    """Whether an export takes what the model takes; raises `InputError` for NaN among that."""
    refuse_not_finite(model, inputs)
    try:
        feeds(model, inputs, export)
    except InputError:
        return False
    return True


def fixed_sizes(model: Any, export: Export, batch: int, timesteps: int) -> tuple[int, int]:
    """The sizes for the open axes of the model's inputs; where the export fixes them, its own."""
    if not input_names(model, 0):
        return batch, timesteps
    for spec in keras_adapter.input_signature(model):
        fits = [p for p in export.ports if len(p.shape) == len(spec.shape)]
        own = [p for p in fits if base(p.name) == base(spec.name)] or fits
        for i, (size, fixed) in enumerate(
            zip(spec.shape, own[0].shape if own else (), strict=False)
        ):
            if size is None and fixed is not None:
                batch, timesteps = (fixed, timesteps) if i == 0 else (batch, fixed)
    return batch, timesteps


def base(name: str) -> str:
    """A tensor's name without what exporters add to it: "serving_default_x:0" is x."""
    return name.partition(":")[0].removeprefix("serving_default_")


def takes(port: Port, array: Array) -> bool:
    """Whether an input takes `array`, whatever the kind of its numbers."""
    return port.takes(array.shape, "fiub")


def misfit(given: Mapping[str, Array], ports: Sequence[Port]) -> str:
    """What the model takes and what the export takes, side by side."""
    model = ", ".join(f"{name} {array.shape}" for name, array in given.items())
    export = ", ".join(map(str, ports)) or "none"
    what = "name the export of this very model, or check with the --batch and --timesteps that it "
    sizes = {fixed_batch(array, port) for array in given.values() for port in ports} - {None}
    how = f"{what}fixes"
    if len(sizes) == 1:
        how = f"the export takes {sizes.pop()} samples at once and no others: give it as many"
    return f"expected the inputs of the model, {model}, received {export}; {how}"


def fixed_batch(array: Array, port: Port) -> int | None:
    """How many samples an input takes that takes `array` but for their number; None for others."""
    size = port.shape[0] if port.shape else None
    if size is None or len(port.shape) != array.ndim or size == len(array):
        return None
    return size if port.takes((size, *array.shape[1:]), "fiub") else None


# Where the layers are.


def key(call: LayerCall) -> tuple[str, int]:
    """Which call of which layer this is."""
    return call.layer_name, call.call or 0


@dataclass(eq=False)
class Following:
    """Hands on the tensors that are what layers returned, in place of what they returned.

    `taken` are the tensors to hand on for layers that are found by their weights or their place;
    `matches` says, in the order of the calls, which tensors were found for each of them.
    """

    tensors: Tensors
    taken: Mapping[tuple[str, int], Sequence[Match | None]] = field(default_factory=dict)
    matches: dict[tuple[str, int], list[Match | None]] = field(default_factory=dict)
    results: dict[tuple[str, int], Sequence[Array]] = field(default_factory=dict)

    def __call__(self, name: str, results: Sequence[Array]) -> Sequence[Array]:
        """What the layer `name` hands on in place of `results`."""
        this = (name, sum(one == name for one, _ in self.matches))
        found = [self.tensors.match(one) if one.size >= FEWEST else None for one in results]
        for i, match in enumerate(self.taken.get(this, ())):
            found[i] = match or found[i]
        self.matches[this], self.results[this] = found, results
        return [one if m is None else m.array for one, m in zip(results, found, strict=True)]

    def after(self, this: tuple[str, int]) -> int:
        """How many of the calls after `this` one returned what is a tensor of the run."""
        keys = [k for k in self.matches if k[0] != MODEL]
        return sum(any(self.matches[k]) for k in keys[keys.index(this) + 1 :])

    def count_after(self, this: tuple[str, int]) -> int:
        """How many calls came after `this` one, that of the model itself left out."""
        keys = [k for k in self.matches if k[0] != MODEL]
        return len(keys) - keys.index(this) - 1

    def used(self) -> set[str]:
        """The tensors that were found to be what some layer returned."""
        return {m.tensor for matches in self.matches.values() for m in matches if m}


@dataclass(eq=False)
class Follow:
    """The search for the layers of one model in one run of its export."""

    model: Any
    inputs: Any
    mask: Any
    run: Run
    taken: dict[tuple[str, int], Sequence[Match | None]] = field(default_factory=dict)
    operators: dict[tuple[str, int], LayerCall] = field(default_factory=dict)

    def once(self, taken: Mapping[Any, Any]) -> tuple[list[LayerCall], Following]:
        """What the layers return, and what was found of it, with these tensors `taken`."""
        following = Following(self.run.tensors, taken)
        keras_adapter.reset_states(self.model)  # an export starts from zeros
        calls = keras_adapter.observe_model(
            self.model, self.inputs, "eager", mask=self.mask, hand_on=following
        )
        return calls, following

    def everywhere(self) -> tuple[list[LayerCall], Following]:
        """What the layers return where every one is given what reached it in the export."""
        calls, following = self.once({})
        self.operators = by_weights(calls, self.run.operators)
        for this, operator in self.operators.items():
            if this in following.matches:
                self.taken[this] = returned_by(operator, following.results[this])
        calls, following = self.once(self.taken)
        while (missing := self.missing(calls, following)) is not None:
            self.taken[missing] = self.placed(missing, following)
            calls, following = self.once(self.taken)
        return calls, following

    def missing(self, calls: Sequence[LayerCall], following: Following) -> tuple[str, int] | None:
        """The first call of a recurrent layer that is found nowhere and has not been placed."""
        recurrent = {key(call) for call in calls if call.merge is None}
        for this, matches in following.matches.items():
            if this in recurrent and this not in self.taken and matches[0] is None:
                return this
        return None

    def placed(self, this: tuple[str, int], following: Following) -> Sequence[Match | None]:
        """The tensors that stand where what the layer returns should: with them most is found.

        None where no tensors of those shapes let more of what follows be found.
        """
        best: Sequence[Match | None] = ()
        before = following.after(this)
        most, rest = before, following.count_after(this)
        for tried in self.places(this, following):
            _, found = self.once({**self.taken, this: tried})
            if found.after(this) > most:
                best, most = tried, found.after(this)
            if most == rest:
                break
        if most == before and not rest:
            best = next((t for t in self.places(this, following) if self.is_output(t)), ())
        return best

    def is_output(self, tried: Sequence[Match | None]) -> bool:
        """Whether tensors are among what the export itself returns."""
        return all(m is None or m.tensor in self.run.outputs for m in tried)

    def places(
        self, this: tuple[str, int], following: Following
    ) -> Iterator[Sequence[Match | None]]:
        """The tensors that may be what the layer returns, where that is found nowhere.

        Those named after the layer come first, then the nearest.
        """
        results, used = following.results[this], following.used()
        apart = distinct_results(results)
        each = int(MOST_PLACES ** (1 / len(apart)))
        candidates = []
        for i in apart:
            near = [m for m in self.run.tensors.matches(results[i]) if m.tensor not in used]
            own = sorted(distinct(near), key=lambda m: this[0].rpartition("/")[2] not in m.tensor)
            candidates.append(own[:each])
        for chosen in product(*candidates):
            if len({m.tensor for m in chosen}) == len(chosen):
                yield spread(results, dict(zip(apart, chosen, strict=True)))

    def found(self, call: LayerCall) -> Found:
        """The call as the export computed it; one that is not compared where it is not found."""
        if call.weights is None:
            return Found(call)
        weights, notes = self.run.arithmetic(call.weights)
        call = replace(call, weights=weights, notes=(*call.notes, *notes))
        operator = self.operators.get(key(call))
        if operator is not None:
            return Found(as_operator(call, operator))
        x = self.located(call.inputs)
        states = [one for one in call.initial_state or () if np.any(one)]
        is_seen = x is not None and all(self.located(one) for one in states)
        given = replace(call, inputs=call.inputs if x is None else x.array)
        if not is_seen:
            given = replace(given, notes=(*given.notes, NO_INPUTS))
        return Found(self.with_outputs(given), is_seen)

    def with_outputs(self, call: LayerCall) -> LayerCall:
        """The call with the outputs and final states that are tensors of the run."""
        assert call.weights is not None
        backwards = call.weights.go_backwards
        sequence = self.located(call.outputs, backwards)
        last = None if call.last_output is None else self.located(call.last_output)
        if sequence is None and last is None:
            taken = next(iter(self.taken.get(key(call), ())), None)
            if taken is None:
                return nowhere(call, self.run.tensors)
            note = f"found by its place, as the tensor {taken.tensor}"
            return seen_as(call, taken.array, note)
        states = [self.located(one) for one in call.final_state]
        final = tuple(one.array for one in states if one) if all(states) else ()
        if sequence is None:
            assert last is not None
            sequence = self.ending_in(last, call.outputs, backwards)
        if sequence is None:
            assert last is not None
            note = f"found by its numbers, the last output alone, as the tensor {last.tensor}: "
            return replace(seen_as(call, last.array, note + FORGOTTEN), final_state=final)
        note = f"found by its numbers, as the tensor {sequence.tensor}"
        seen = seen_as(call, sequence.array, note)
        return replace(seen, last_output=None if last is None else last.array, final_state=final)

    def ending_in(self, last: Match, outputs: Array, backwards: bool) -> Match | None:
        """The sequence whose last output is exactly the one that was found, if one is there.

        A layer that went wrong in its first timesteps alone may have forgotten that in the end.
        """
        candidates = self.run.tensors.matches(outputs, backwards)
        ends = (match for match in candidates if np.array_equal(match.array[:, -1], last.array))
        return next(ends, None)

    def located(self, array: Array, reversed_too: bool = False) -> Match | None:
        """The tensor that is `array`, whose batch may be that of the model and slices of it."""
        found = self.run.tensors.match(array, reversed_too)
        batch = len(next(iter(self.run.outputs.values())))
        if found is None and len(array) > batch and len(array) % batch == 0:
            folded = array.reshape(batch, len(array) // batch, *array.shape[1:])
            found = self.run.tensors.match(folded)
            return found and replace(found, array=found.array.reshape(array.shape))
        return found


def seen_as(call: LayerCall, outputs: Array, note: str) -> LayerCall:
    """The call with these outputs, a sequence or the last one, and nothing of Keras's own."""
    return replace(
        call, outputs=outputs, last_output=None, final_state=(), notes=(*call.notes, note)
    )


def nowhere(call: LayerCall, tensors: Tensors) -> LayerCall:
    """The call of a layer that the export's tensors do not hold, with the nearest of them."""
    near = [
        m
        for one in (call.outputs, call.last_output)
        if one is not None
        for m in tensors.matches(one)
    ]
    nearest = min(near, key=lambda match: match.distance, default=None)
    reason = "it was found nowhere in the export, by its weights, its numbers or its place"
    if nearest is None:
        reason += f": no tensor has the shape of its outputs, {call.outputs.shape}"
    elif not all(np.isfinite(m.array).all() for m in near):
        lost = next(m.tensor for m in near if not np.isfinite(m.array).all())
        reason += f"; numbers of the export are not finite, those of the tensor {lost} among them"
    else:
        reason += f"; the nearest tensor, {nearest.tensor}, is off by {nearest.distance:.2g} of it"
    return replace(call, weights=None, not_compared=reason)


def distinct_results(results: Sequence[Array]) -> list[int]:
    """Which of what a layer returns is not told by what comes before: a last output is the h."""
    found: list[int] = []
    for i in range(len(results)):
        if not any(told_by(results[j], results[i]) is not None for j in found):
            found.append(i)
    return found


def told_by(first: Array, other: Array) -> slice | int | None:
    """Where `other` stands in the second axis of `first`; None where it is something else."""
    if first.shape == other.shape and np.array_equal(first, other):
        return slice(None)
    if first.ndim == 3 and first[:, -1].shape == other.shape:
        return -1 if np.array_equal(first[:, -1], other) else None
    return None


def spread(results: Sequence[Array], chosen: Mapping[int, Match]) -> list[Match | None]:
    """The tensors chosen for some of what a layer returns, for all that they tell of it."""
    found: list[Match | None] = []
    for one in results:
        told = ((told_by(results[i], one), match) for i, match in chosen.items())
        where = next(((place, match) for place, match in told if place is not None), None)
        found.append(where and replace(where[1], array=where[1].array[:, where[0]]))
    return found


def distinct(matches: Sequence[Match]) -> Iterator[Match]:
    """The matches without those whose numbers were there before, in another order of axes."""
    kept: list[Match] = []
    for one in matches:
        if not any(np.array_equal(one.array, other.array) for other in kept):
            kept.append(one)
            yield one


# Operators that carry their weights.


def by_weights(
    calls: Sequence[LayerCall], operators: Sequence[LayerCall]
) -> dict[tuple[str, int], LayerCall]:
    """The operator of each call that has one, those with most weights in common first.

    What is left over goes together where there is one of each with those sizes. A layer that is
    called more than once has several operators with its weights, which follow its calls.
    """
    layers = [call for call in calls if call.weights is not None]
    pairs = sorted(
        (
            (-in_common(a, b), i, j)
            for i, a in enumerate(layers)
            for j, b in enumerate(operators)
            if alike(a, b)
        ),
    )
    found: dict[int, int] = {}
    for share, i, j in pairs:
        if share < 0 and i not in found and j not in found.values():
            found[i] = j
    for i, one in enumerate(layers):
        rest = [j for _, k, j in pairs if k == i and j not in found.values()]
        rivals = [k for k, other in enumerate(layers) if k not in found and alike(one, other)]
        if i not in found and len(rest) == 1 and rivals == [i]:
            found[i] = rest[0]
    return {key(layers[i]): operators[j] for i, j in found.items()}


def alike(layer: LayerCall, operator: LayerCall) -> bool:
    """Whether the cells and their sizes are those of each other."""
    a, b = layer.weights, operator.weights
    assert a is not None
    assert b is not None
    same = len(a.STATES) == len(b.STATES) and a.kernel.shape == b.kernel.shape
    return same and layer.inputs.shape == operator.inputs.shape


def in_common(layer: LayerCall, operator: LayerCall) -> float:
    """The share of the numbers in kernels and recurrent kernels that are the same, in any order."""
    a, b = (
        np.concatenate([c.weights.kernel.ravel(), c.weights.recurrent_kernel.ravel()])
        for c in (layer, operator)
        if c.weights is not None
    )
    shared = Counter(a.astype(np.float32).tolist()) & Counter(b.astype(np.float32).tolist())
    return sum(shared.values()) / a.size


def returned_by(operator: LayerCall, results: Sequence[Array]) -> list[Match | None]:
    """What an operator computed, as what its layer returns: outputs, then states."""
    sequence = results[0].ndim == 3
    outputs = operator.outputs if sequence else operator.outputs[:, -1]
    arrays = [outputs, *operator.final_state][: len(results)]
    found: list[Match | None] = [
        Match(operator.layer_name, one, distance(one, wanted))
        for one, wanted in zip(arrays, results, strict=False)
    ]
    return found + [None] * (len(results) - len(found))


def as_operator(call: LayerCall, operator: LayerCall) -> LayerCall:
    """The call of a layer as the operator with its weights computed it, from what reached that."""
    note = f"found by its weights, as the operator {operator.layer_name}"
    seen = seen_as(call, operator.outputs, note)
    states = operator.final_state if call.final_state else ()
    ways = [operator.inputs, operator.inputs[:, ::-1]]
    # An exporter may reverse what reaches the operator, in place of the operator's direction.
    inputs = min(ways, key=lambda way: distance(way, call.inputs))
    # Where the layer starts from zeros, so must the operator, whatever it was given.
    given = any(map(np.any, call.initial_state or ()))
    state = operator.initial_state if given else call.initial_state
    return replace(seen, inputs=inputs, initial_state=state, final_state=states)


# What the model returns.


def model_outputs(
    model: Any, plain: Following, following: Following, run: Run
) -> Iterator[ModelOutput]:
    """How far each of the model's outputs is from that of the export in its place.

    That is the one of its name, or else, where the export has as many, the one that stands in its
    order. Its axes are those of the model's, but for axes of 1.
    """
    names = list(getattr(model, "output_names", None) or [model.layers[-1].name])
    results = plain.results[MODEL, 0]
    theirs = list(run.outputs)
    for i, one in enumerate(results):
        name = names[i] if len(names) == len(results) else f"output {i}"
        own = [other for other in theirs if base(other) == name]
        placed = theirs[i : i + 1] if len(theirs) == len(results) else []
        tensor = next(iter(own or placed), None)
        array = None if tensor is None else in_shape(run.outputs[tensor], one.shape)
        if array is None:
            yield ModelOutput(name, None, np.inf, 0.0, True, first_lost(following))
            continue
        deviation = largest_deviation(array, one)
        far = unit_distance(array, one)
        differs = not far <= run.tensors.nearness.same
        layer = first_lost(following) if differs else None
        yield ModelOutput(name, tensor, deviation, bits(far), differs, layer)


def largest_deviation(theirs: Array, ours: Array) -> float:
    """How far the export's numbers are from Keras's at most, in the same shape.

    Infinite where theirs alone are not finite, NaN where ours are not.
    """
    if not np.isfinite(ours).all():
        return float("nan")
    with np.errstate(all="ignore"):
        found = float(np.abs(theirs.astype(float) - ours.astype(float)).max(initial=0.0))
    return found if np.isfinite(found) else float("inf")


def in_shape(array: Array, shape: tuple[int, ...]) -> Array | None:
    """`array` in this shape where the two differ by axes of 1 alone; None otherwise."""
    plain = [tuple(n for n in one if n != 1) for one in (array.shape, shape)]
    return array.reshape(shape) if plain[0] == plain[1] else None


def first_lost(following: Following) -> str | None:
    """The first layer whose outputs are not in the run, and after which none are as they should.

    One that is fused with the layers after it is found together with the last of them.
    """
    lost = None
    for (name, _), matches in following.matches.items():
        if name == MODEL:
            continue
        near = [m is not None and m.distance <= following.tensors.nearness.near for m in matches]
        lost = None if any(near) else lost or name
        if not any(near) and any(matches):
            return lost
    return lost
