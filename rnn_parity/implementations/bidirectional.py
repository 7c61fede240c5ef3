"""A `Bidirectional` that another implementation computes as a whole: which half is whose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.implementations.request import Answer, Request
from rnn_parity.implementations.sources import Source, unproven
from rnn_parity.keras_adapter import Observation
from rnn_parity.recurrence.layers import Layer

SIDES = ("forward", "backward")
STATES = "the final states, which may be of either layer"
LAST_OUTPUT = "the last output"


@dataclass(frozen=True, eq=False)
class Both:
    """One call of a `Bidirectional` whose layers' outputs stand side by side.

    `parts` are what reached its two layers, which are `layers`; `merge` is what it did itself.
    """

    layer_name: str
    parts: tuple[Observation, ...]
    layers: tuple[Layer, ...]
    merge: Observation
    sequences: bool

    @classmethod
    def of(cls, merge: Observation) -> Both | None:
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


def grouped(observations: Sequence[Observation]) -> list[Observation | Both]:
    """The observations, those of one call of a `Bidirectional` as one where that can be."""
    found = [Both.of(seen) for seen in observations]
    inside = {id(one): both for both in found if both for one in (*both.parts, both.merge)}
    calls = [inside.get(id(seen), seen) for seen in observations]
    return list(dict.fromkeys(calls))


def answered_by_half(both: Both, source: Source) -> Iterator[Observation]:
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
            unproven=unproven(with_left_out(answer, bool(states)), source),
        )


def states_of_each(
    states: tuple[NDArray[Any], ...], layer: Layer
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


def with_left_out(answer: Answer, states_are_compared: bool) -> Answer:
    """The answer, which names what it holds and neither layer's outputs are held against."""
    beside = [STATES] if answer.final_state and not states_are_compared else []
    beside += [LAST_OUTPUT] if answer.last_output is not None else []
    return replace(answer, left_out=(*answer.left_out, *beside))


def whole_answer(both: Both, layer: Layer, source: Source) -> Answer:
    """What `source` answers when it is asked for both layers, of which `layer` is one."""
    seen, units = both.parts[0], sum(one.units for one in both.layers)
    config = both.merge.config
    answer = source.compute(
        Request(layer, seen.inputs, None, None, both.layer_name, config, both.layers)
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
