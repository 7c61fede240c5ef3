"""Other implementations, asked to compute what reached a layer in place of Keras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.implementations.request import Answer, Request
from rnn_parity.implementations.sources import Source, sources, unproven
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.recurrence.precision import real
from rnn_parity.recurrence.sequences import Sequences, boolean, states

SIDES = ("forward", "backward")
EITHER_STATES = "the final states, which may be of either layer"
LAST_OUTPUT = "the last output"


@dataclass(frozen=True, eq=False)
class Both:
    """One call of a `Bidirectional` whose layers' outputs stand side by side.

    `parts` are what reached its two layers, which are `layers`; `merge` is what it did itself.
    """

    layer_name: str
    parts: tuple[LayerCall, ...]
    layers: tuple[Cell, ...]
    merge: LayerCall
    sequences: bool

    @classmethod
    def from_merge(cls, merge: LayerCall) -> Both | None:
        """The call that `merge` was part of, if it can be computed as a whole.

        A sum, a product or a mean does not tell what each layer computed; a mask and initial states
        are handed to each layer alone.
        """
        did = merge.merge
        if did is None or did.mode not in ("concat", None):
            return None
        if did.whole.mask is not None or did.whole.initial_state:
            return None
        name = merge.layer_name.removesuffix("/merge")
        parts = tuple(part for layer in merge.parts for part in layer)
        layers = tuple(part.weights for part in parts if part.weights is not None)
        if not len(layers) == len(parts) == len(SIDES):
            return None
        return cls(name, parts, layers, merge, did.sequences)


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
    for source in others:
        refuse_several(whole if source.merges else calls, [source])
    for call in whole:
        for source in others:
            yield from ((seen, source) for seen in computed_by(call, source))


def computed_by(call: LayerCall | Both, source: Source) -> Iterable[LayerCall]:
    """What `source` computes from what reached one layer, or the two of a `Bidirectional`."""
    if not isinstance(call, Both):
        return [layer_computed_by(call, source)]
    if source.merges:
        return halves_computed_by(call, source)
    return [layer_computed_by(seen, source) for seen in (*call.parts, call.merge)]


def refuse_several(calls: Sequence[LayerCall | Both], others: Iterable[Source]) -> None:
    """Raise `InputError` where a source cannot say which of several layers or calls it answers."""
    names = list(dict.fromkeys(seen.layer_name for seen in calls))
    for source in others:
        where = f"against {source.name!r}: expected one"
        if source.scope != "model" and len(names) > 1:
            more = f", ... {len(names) - 5} more" if len(names) > 5 else ""
            raise InputError(
                f"{where} recurrent layer, received {len(names)}: {', '.join(names[:5])}{more}; "
                "name the one that it computes (--layer-name)"
            )
        if source.scope == "call" and len(calls) > 1:
            raise InputError(
                f"{where} call of a layer, whose outputs it holds, received {len(calls)} of "
                f"{names[0]!r}; check one of them"
            )


def layer_computed_by(seen: LayerCall, source: Source) -> LayerCall:
    """What `source` computes from what reached the layer, in place of what Keras computed.

    Raises `InputError` for data that do not fit the layer and for what the source refuses,
    `SourceFailedError` where it crashes or gives back what is no answer.
    """
    if seen.weights is None:
        return seen
    if seen.dropout_inputs is not None or seen.dropout_recurrent is not None:
        reason = "the call ran in training, and no other implementation gets its dropout masks"
        return replace(seen, weights=None, not_compared=reason)
    data = (seen.inputs, seen.mask, seen.initial_state)
    Sequences.of(seen.weights, *data)  # what does not fit is refused before anybody is asked
    answer = source.compute(
        Request(seen.weights, *data, seen.layer_name, seen.config, model_inputs=seen.model_inputs)
    )
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
        notes=(*seen.notes, *answer.notes),
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
    """The calls, those of one call of a `Bidirectional` as one where that can be."""
    found = [Both.from_merge(seen) for seen in calls]
    inside = {id(one): both for both in found if both for one in (*both.parts, both.merge)}
    return list(dict.fromkeys(inside.get(id(seen), seen) for seen in calls))


def halves_computed_by(both: Both, source: Source) -> Iterator[LayerCall]:
    """What `source` computes as the outputs of a `Bidirectional`, as those of its two layers.

    They are `(B, T, H + H)`, the backward layer's reversed in time, or `(B, H + H)` where the
    wrapper returns no sequences. Raises `InputError` for others, and where the source fails.
    """
    first, answer = 0, None
    for i, (side, part, layer) in enumerate(zip(SIDES, both.parts, both.layers, strict=True)):
        # An answer with weights of its own has those of the layer that was asked for.
        if answer is None or answer.layer is not None:
            answer = whole_answer(both, layer, source)
        own = answer.outputs[..., first : first + layer.units]
        if side == "backward" and own.ndim == 3:
            own = own[:, ::-1]
        first += layer.units
        states = states_of_each(answer.final_state, layer)
        yield replace(
            part,
            weights=layer if answer.layer is None else answer.layer,
            outputs=own,
            last_output=None,
            final_state=states[i] if states else (),
            notes=(*part.notes, *answer.notes),
            made_by=answer.made_by,
            **reached(answer, part),
            unproven=unproven(naming_left_out(answer, bool(states)), source),
        )


def states_of_each(
    states: tuple[NDArray[Any], ...], layer: Cell
) -> tuple[tuple[NDArray[Any], ...], ...]:
    """The final states of the forward and the backward layer; none where that is not told.

    Those of the forward layer come first, as Keras returns them; or each holds those of both, as
    PyTorch's h_n does, `(2, B, H)`.
    """
    count = len(layer.STATES)
    if len(states) == len(SIDES) * count:
        return states[:count], states[count:]
    if len(states) == count and all(s.ndim == 3 and len(s) == len(SIDES) for s in states):
        return tuple(tuple(state[i] for state in states) for i in range(len(SIDES)))
    return ()


def naming_left_out(answer: Answer, states_are_compared: bool) -> Answer:
    """The answer, which names what it holds and neither layer's outputs are held against."""
    beside = [EITHER_STATES] if answer.final_state and not states_are_compared else []
    beside += [LAST_OUTPUT] if answer.last_output is not None else []
    return replace(answer, left_out=(*answer.left_out, *beside))


def whole_answer(both: Both, layer: Cell, source: Source) -> Answer:
    """What `source` answers when it is asked for both layers, of which `layer` is one."""
    seen, units = both.parts[0], sum(one.units for one in both.layers)
    config = both.merge.config
    answer = source.compute(
        Request(
            layer,
            seen.inputs,
            None,
            None,
            both.layer_name,
            config,
            both.layers,
            both.merge.model_inputs,
        )
    )
    batch, timesteps = seen.inputs.shape[:2]
    shapes = [(batch, timesteps, units)] + [(batch, units)] * (not both.sequences)
    if answer.outputs.shape in shapes:
        return answer
    raise InputError(
        f"against {source.name!r}: expected outputs of both layers of {both.layer_name} side by "
        f"side, {' or '.join(map(str, shapes))}, received {answer.outputs.shape}; name one of the "
        "two (--layer-name) if they are its own"
    )
