"""Other implementations, asked to compute what reached a layer in place of Keras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.implementations.bidirectional import Both, answered_by_half, grouped
from rnn_parity.implementations.request import Request
from rnn_parity.implementations.sources import Source, sources, unproven
from rnn_parity.keras_adapter import Observation
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.precision import real
from rnn_parity.recurrence.sequences import Sequences, boolean, states


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


def given(weights: Layer, inputs: ArrayLike, mask: Any, initial_state: Any) -> Observation:
    """One call of a layer of which there are the weights alone; nobody has computed it yet."""
    x = real(inputs, "inputs")
    state = None if initial_state is None else states(weights, initial_state, "initial_state")
    return Observation(
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


def answers(
    observations: Sequence[Observation], others: Sequence[Source]
) -> Iterator[tuple[Observation, Source]]:
    """What each of `others` computes from what reached each layer, and who it is.

    A `Bidirectional` is asked for as a whole where that can be. Raises `InputError` as
    `refuse_several` and `answered` do.
    """
    calls = grouped(observations)
    for source in others:
        refuse_several(calls if source.merges else observations, [source])
    for call in calls:
        for source in others:
            yield from ((seen, source) for seen in asked(call, source))


def asked(call: Observation | Both, source: Source) -> Iterable[Observation]:
    """What `source` computes from what reached one layer, or the two of a `Bidirectional`."""
    if not isinstance(call, Both):
        return [answered(call, source)]
    if source.merges:
        return answered_by_half(call, source)
    return [answered(seen, source) for seen in (*call.parts, call.merge)]


def refuse_several(observations: Sequence[Observation | Both], others: Iterable[Source]) -> None:
    """Raise `InputError` where a source cannot say which of several layers or calls it answers."""
    names = list(dict.fromkeys(seen.layer_name for seen in observations))
    for source in others:
        where = f"against {source.name!r}: expected one"
        if source.scope != "model" and len(names) > 1:
            more = f", ... {len(names) - 5} more" if len(names) > 5 else ""
            raise InputError(
                f"{where} recurrent layer, received {len(names)}: {', '.join(names[:5])}{more}; "
                "name the one that it computes (--layer-name)"
            )
        if source.scope == "call" and len(observations) > 1:
            raise InputError(
                f"{where} call of a layer, whose outputs it holds, received {len(observations)} of "
                f"{names[0]!r}; check one of them"
            )


def answered(seen: Observation, source: Source) -> Observation:
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
    answer = source.compute(Request(seen.weights, *data, seen.layer_name, seen.config))
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
    )
