"""Other implementations, asked to compute what reached a layer in place of Keras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.implementations.numbers import last_alone
from rnn_parity.implementations.request import Answer, Request
from rnn_parity.implementations.sources import Source, sources, unproven
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.recurrence.precision import real
from rnn_parity.recurrence.sequences import Sequences, boolean, states

SIDES = ("forward", "backward")
EITHER_STATES = "the final states, which may be of either layer"
LAST_OUTPUT = "the last output"
OF_MODEL = "outputs of a whole model cannot be judged from numbers alone, those of a layer can"
THE_INPUTS = "the outputs are exactly the inputs of the layer: was the wrong array written?"
MERGED = "how the Bidirectional merges its two layers is no part of this check"


@dataclass(frozen=True, eq=False)
class Both:
    """One call of layers whose outputs stand side by side: those of a `Bidirectional`.

    Or those of the directions, one or two, of an operator or a module of another framework. `parts`
    are what reached the layers, which are `layers`, and `reversed` tells whose outputs stand in the
    order of time against the order in which they were computed. `merge` is what a `Bidirectional`
    did itself; None for an operator.
    """

    layer_name: str
    parts: tuple[LayerCall, ...]
    layers: tuple[Cell, ...]
    reversed: tuple[bool, ...]
    merge: LayerCall | None
    sequences: bool

    @classmethod
    def from_merge(cls, merge: LayerCall) -> Both | None:
        """The call that `merge` was part of, if it can be computed as a whole.

        A sum, a product or a mean does not tell what each layer computed.
        """
        did = merge.merge
        if did is None or did.mode not in ("concat", None):
            return None
        name = merge.layer_name.removesuffix("/merge")
        parts = tuple(part for layer in merge.parts for part in layer)
        layers = tuple(part.weights for part in parts if part.weights is not None)
        if not len(layers) == len(parts) == len(SIDES):
            return None
        return cls(name, parts, layers, (False, True), merge, did.sequences)

    @classmethod
    def from_operator(cls, parts: tuple[LayerCall, ...]) -> Both:
        """The call of an operator, from those of its directions that are to be compared."""
        layers = tuple(part.weights for part in parts if part.weights is not None)
        name = parts[0].whole if len(parts) > 1 else parts[0].layer_name
        return cls(name, parts, layers, tuple(one.go_backwards for one in layers), None, True)

    def is_asked_as_whole(self, source: Source) -> bool:
        """Whether `source` answers for all of the layers at once.

        One that runs the very layers answers for each of them, in the order in which it computes;
        two initial states cannot be handed to one that computes, only to each direction.
        """
        if not source.merges or (source.scope == "model" and self.merge is None):
            return False
        has_states = any(part.initial_state is not None for part in self.parts)
        if self.merge is not None:
            return source.scope == "call" or not has_states
        return len(self.parts) == 1 or source.scope == "call" or not has_states

    def inside(self) -> tuple[LayerCall, ...]:
        """The calls of its layers, and of what merged their outputs."""
        return (*self.parts, *([self.merge] if self.merge else []))


def others_of(against: Any, training: bool = False) -> list[Source]:
    """The implementations that `against` stands for; none where Keras itself is checked.

    Raises `InputError` for any of a call in `training`.
    """
    if training and against is not None:
        raise InputError(
            "training: expected it without against, since no other implementation gets the dropout "
            "masks that Keras draws; leave out one of the two"
        )
    return [] if against is None else sources(against)


def call_to_compute(weights: Cell, inputs: ArrayLike, mask: Any, initial_state: Any) -> LayerCall:
    """One call of a layer of which there are the weights alone; nobody has computed it yet."""
    x = real(inputs, "inputs")
    state = None if initial_state is None else states(weights, initial_state, "initial_state")
    return LayerCall(
        layer_class=type(weights).__name__,
        layer_name="",
        config={},
        mode="",
        call=None,
        weights=weights,
        not_compared=None,
        inputs=x,
        outputs=np.zeros(0),
        mask=None if mask is None else boolean(mask, x.shape[:2]),
        initial_state=None if state is None else tuple(state),
    )


def calls_computed_by(
    calls: Sequence[LayerCall], others: Sequence[Source]
) -> Iterator[tuple[LayerCall, Source]]:
    """What each of `others` computes from what reached each layer, and who it is.

    A `Bidirectional` is asked for as a whole where that can be. Raises `InputError` as
    `refuse_several` and `layer_computed_by` do.
    """
    whole = grouped(calls)
    layers = {}
    for source in others:
        asked = asked_for(whole, source)
        refuse_several(asked, [source])
        layers[source] = layers_of(asked)
    for call in whole:
        for source in others:
            yield from ((seen, source) for seen in computed_by(call, source, layers[source]))


def computed_by(
    call: LayerCall | Both, source: Source, asked: Mapping[str, Cell]
) -> Iterable[LayerCall]:
    """What `source` computes from what reached one layer, or the two of a `Bidirectional`.

    `asked` are all layers that it is asked for.
    """
    if isinstance(call, Both) and call.is_asked_as_whole(source):
        return halves_computed_by(call, source)
    parts = call.parts if isinstance(call, Both) else [] if is_only_merged(call) else [call]
    return (layer_computed_by(seen, source, asked) for seen in parts)  # one that fails hides none


def is_only_merged(call: LayerCall) -> bool:
    """Whether the call is what a `Bidirectional` made of two layers that have calls of their own.

    What it made is Keras's, and no other implementation's.
    """
    return call.merge is not None and all(
        part.weights is not None for layer in call.parts for part in layer
    )


def layers_of(calls: Iterable[LayerCall | Both]) -> dict[str, Cell]:
    """The layers of calls that are replayed, by their names."""
    return {
        call.layer_name: call.weights
        for call in calls
        if isinstance(call, LayerCall) and call.weights is not None
    }


def asked_for(calls: Iterable[LayerCall | Both], source: Source) -> list[LayerCall | Both]:
    """What `source` is asked for: layers side by side as a whole where it answers so."""
    found: list[LayerCall | Both] = []
    for call in calls:
        whole = not isinstance(call, Both) or call.is_asked_as_whole(source)
        found += [call] if whole or not isinstance(call, Both) else call.parts
    return [one for one in found if isinstance(one, Both) or not is_only_merged(one)]


def refuse_several(calls: Sequence[LayerCall | Both], others: Iterable[Source]) -> None:
    """Raise `InputError` where a source cannot say which of several layers or calls it answers."""
    names = list(dict.fromkeys(seen.layer_name for seen in calls))
    for source in others:
        where = f"against {source.name!r}: expected one"
        if source.scope != "model" and len(names) > 1:
            if all(isinstance(one, LayerCall) and one.in_bidirectional for one in calls):
                raise InputError(
                    f"{where} layer's outputs, received the two of a Bidirectional, which a merge "
                    "other than concat, or initial states, do not tell apart: name one of them "
                    f"(--layer-name {names[0].rpartition('/')[2]}) and give its own outputs"
                )
            more = f", ... {len(names) - 5} more" if len(names) > 5 else ""
            able = ", or let its signature have `layer`: then it is asked for each"
            how = f"name the one that it computes (--layer-name){able * source.is_function}"
            if source.scope == "call":
                how += f": {OF_MODEL}"
            raise InputError(
                f"{where} recurrent layer, received {len(names)}: {', '.join(names[:5])}{more}; "
                f"{how}"
            )
        if source.scope == "call" and len(calls) > 1:
            raise InputError(
                f"{where} call of a layer, whose outputs it holds, received {len(calls)} of "
                f"{names[0]!r}; check one of them"
            )


def layer_computed_by(
    seen: LayerCall, source: Source, asked: Mapping[str, Cell] | None = None
) -> LayerCall:
    """What `source` computes from what reached the layer, in place of what Keras computed.

    `asked` are all layers that it is asked for. Raises `InputError` for data that do not fit the
    layer and for what the source refuses, `SourceFailedError` where it crashes or gives back what
    is no answer.
    """
    if seen.weights is None:
        return seen
    if seen.dropout_inputs is not None or seen.dropout_recurrent is not None:
        reason = "the call ran in training, and no other implementation gets its dropout masks"
        return replace(seen, weights=None, not_compared=reason)
    data = (seen.inputs, seen.mask, seen.initial_state)
    Sequences.of(seen.weights, *data)  # what does not fit is refused before anybody is asked
    config = {} if seen.whole else seen.config  # an operator's options are not Keras's
    request = Request(
        seen.weights,
        *data,
        seen.layer_name,
        config,
        model_inputs=seen.model_inputs,
        asked=asked or {},
    )
    answer = source.answer(request)
    weights = seen.weights if answer.layer is None else answer.layer
    if len(answer.final_state) > len(weights.STATES):
        raise SourceFailedError(
            f"against {source.name!r}: expected outputs and the final state "
            f"{', '.join(weights.STATES)}, received {len(answer.final_state)} states"
        )
    return replace(
        seen,
        weights=weights,
        outputs=answer.outputs,
        last_output=answer.last_output,
        final_state=answer.final_state,
        notes=(
            *seen.notes,
            *answer.notes,
            *(THE_INPUTS,) * np.array_equal(answer.outputs, seen.inputs),
            *(MERGED,) * seen.in_bidirectional,
        ),
        unproven=unproven(answer, source),
        made_by=answer.made_by,
        **reached(answer, seen),
    )


def reached(answer: Answer, seen: LayerCall) -> dict[str, Any]:
    """What reached the layer of an answer, where that is not what reached it in Keras.

    The initial state is Keras's where one of the two has none: to drop it is a mistake.
    """
    if answer.inputs is None:
        return {}
    both = answer.initial_state is not None and seen.initial_state is not None
    states = {"initial_state": answer.initial_state} if both else {}
    return {"inputs": answer.inputs, **states}


def grouped(calls: Sequence[LayerCall]) -> list[LayerCall | Both]:
    """The calls, those of one call of a `Bidirectional` or an operator as one where that can be."""
    found = [Both.from_merge(seen) for seen in calls]
    inside = {id(one): both for both in found if both for one in both.inside()}
    operators: dict[str, list[LayerCall]] = {}
    for seen in calls:
        if seen.whole and seen.weights is not None:
            operators.setdefault(seen.whole, []).append(seen)
    for parts in operators.values():
        both = Both.from_operator(tuple(parts))
        inside |= {id(one): both for one in parts}
    return list(dict.fromkeys(inside.get(id(seen), seen) for seen in calls))


def halves_computed_by(both: Both, source: Source) -> Iterator[LayerCall]:
    """What `source` computes as outputs side by side, as those of each of the layers.

    They are `(B, T, H + H)`, the backward layer's reversed in time, or `(B, H + H)` where a
    `Bidirectional` returns no sequences; an operator's may have its own axes. Raises `InputError`
    for others, and where the source fails.
    """
    first, answer = 0, None
    for i, (part, layer) in enumerate(zip(both.parts, both.layers, strict=True)):
        # An answer with weights of its own has those of the layer that was asked for.
        if answer is None or answer.layer is not None:
            answer = whole_answer(both, layer, source)
        own = answer.outputs
        if is_side_by_side(own, both):
            own = own[..., first : first + layer.units]
        if both.reversed[i] and own.ndim == 3:
            own = own[:, ::-1]
        first += layer.units
        states = states_of_each(answer.final_state, both)
        weights = layer if answer.layer is None else answer.layer
        if part.whole and own.ndim == 2:
            weights = weights.changed(zero_output_for_mask=False)  # the last one is the final h
        yield replace(
            part,
            weights=weights,
            outputs=own,
            last_output=None,
            final_state=states[i] if states else (),
            notes=(*part.notes, *answer.notes),
            made_by=answer.made_by,
            **reached(answer, part),
            unproven=unproven(naming_left_out(answer, bool(states)), source),
        )


def states_of_each(
    states: tuple[NDArray[Any], ...], both: Both
) -> tuple[tuple[NDArray[Any], ...], ...]:
    """The final states of each of the layers; none where that is not told.

    Those of the forward layer come first, as Keras returns them; or each holds those of all, as
    PyTorch's h_n and ONNX's Y_h do, `(2, B, H)`, or `(B, 2, H)` in ONNX's other layout.
    """
    count, sides = len(both.layers[0].STATES), len(both.layers)
    axis = 1 if both.parts[0].config.get("layout") else 0
    if len(states) <= count and all(s.ndim == 3 and s.shape[axis] == sides for s in states):
        return tuple(tuple(state.take(i, axis) for state in states) for i in range(sides))
    if len(states) == sides * count or (sides == 1 and len(states) < count):
        return tuple(states[i * count : (i + 1) * count] for i in range(sides))
    return ()


def naming_left_out(answer: Answer, states_are_compared: bool) -> Answer:
    """The answer, which names what it holds and neither layer's outputs are held against."""
    beside = [EITHER_STATES] if answer.final_state and not states_are_compared else []
    beside += [LAST_OUTPUT] if answer.last_output is not None else []
    return replace(answer, left_out=(*answer.left_out, *beside))


def whole_answer(both: Both, layer: Cell, source: Source) -> Answer:
    """What `source` answers when it is asked for all of the layers, of which `layer` is one."""
    seen, units = both.parts[0], sum(one.units for one in both.layers)
    config = {} if both.merge is None else both.merge.config
    beside = both.layers if len(both.layers) > 1 else ()
    state = None if beside else seen.initial_state
    answer = source.answer(
        Request(
            layer,
            seen.inputs,
            seen.mask,
            state,
            both.layer_name,
            config,
            beside,
            {} if both.merge is None else both.merge.model_inputs,
            not both.merge,
        )
    )
    if both.merge is None:
        outputs = in_keras_axes(answer.outputs, both, units)
        last = last_alone(outputs, seen.inputs) if answer.outputs.ndim > outputs.ndim else ()
        answer = replace(answer, outputs=outputs, notes=(*answer.notes, *last))
    batch, timesteps = seen.inputs.shape[:2]
    unclear = {shape for one in both.layers for shape in of_layer(batch, timesteps, one.units)}
    unclear.add((batch, units))  # the last ones, where each layer's might be another timestep's
    if is_side_by_side(answer.outputs, both) or answer.outputs.shape not in unclear:
        return answer
    shapes = of_layers(both)
    raise InputError(
        f"against {source.name!r}: expected outputs of both layers of {both.layer_name} side by "
        f"side, {' or '.join(map(str, shapes))}, received {answer.outputs.shape}; name one of the "
        "two (--layer-name) if they are its own"
    )


def is_side_by_side(outputs: NDArray[Any], both: Both) -> bool:
    """Whether outputs are those of all of the layers; of one layer they are whatever they are.

    What is neither theirs nor one layer's own has another shape, which is a result.
    """
    return outputs.shape in of_layers(both) or (len(both.layers) == 1 and 0 < outputs.ndim < 4)


def of_layers(both: Both) -> list[tuple[int, ...]]:
    """The shapes that outputs of the layers side by side may have."""
    batch, timesteps = both.parts[0].inputs.shape[:2]
    shapes = of_layer(batch, timesteps, sum(one.units for one in both.layers))
    return shapes if both.merge is None or not both.sequences else shapes[:1]


def of_layer(batch: int, timesteps: int, units: int) -> list[tuple[int, ...]]:
    """The shapes of all outputs and of the last one."""
    return [(batch, timesteps, units), (batch, units)]


def in_keras_axes(outputs: NDArray[Any], both: Both, units: int) -> NDArray[Any]:
    """An operator's outputs as `(B, T, D H)`, or its last ones as `(B, D H)`, of D directions.

    They may have ONNX's axes, `(T, D, B, H)` and `(D, B, H)`, or in layout 1 `(B, T, D, H)` and
    `(B, D, H)`. What fits neither stays as it is.
    """
    batch, timesteps = both.parts[0].inputs.shape[:2]
    sides, each = len(both.layers), both.layers[0].units
    batch_first = bool(both.parts[0].config.get("layout"))
    whole = (batch, timesteps, sides, each) if batch_first else (timesteps, sides, batch, each)
    last = (batch, sides, each) if batch_first else (sides, batch, each)
    if outputs.shape == whole:
        found = outputs if batch_first else outputs.transpose(2, 0, 1, 3)
        return found.reshape(batch, timesteps, units)
    if outputs.shape == last and outputs.shape != (batch, timesteps, units):
        found = outputs if batch_first else outputs.swapaxes(0, 1)
        return found.reshape(batch, units)
    return outputs
