"""A `Bidirectional` that another implementation computes as a whole: which half is whose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnn_parity.errors import InputError
from rnn_parity.implementations.request import Answer, Request
from rnn_parity.implementations.sources import Source
from rnn_parity.keras_adapter import Observation
from rnn_parity.layers import Layer
from rnn_parity.merge import Merge

SIDES = ("forward", "backward")
STATES = "not compared: the final states, which may be of either layer"


@dataclass(frozen=True, eq=False)
class Both:
    """One call of a `Bidirectional` named `name`, whose layers' outputs stand side by side."""

    name: str
    config: dict[str, Any]
    merge: Merge
    parts: tuple[Observation, ...]
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> Both | None:
        """What was observed, if it is one such call and nothing else; None otherwise.

        A sum, a product or a mean does not tell what each layer computed; a mask and initial states
        are handed to each layer alone.
        """
        for seen in observations:
            merge = seen.merge
            if merge is None or merge.mode not in ("concat", None):
                continue
            name = seen.layer_name.removesuffix("/merge")
            starts = [f"{name}/{side}/" for side in SIDES]
            parts = [p for s in starts for p in observations if p.layer_name.startswith(s)]
            layers = [part.weights for part in parts if part.weights is not None]
            plain = merge.whole.mask is None and not merge.whole.initial_state
            if plain and len(layers) == len(parts) == len(observations) - 1 == len(SIDES):
                return cls(name, seen.config, merge, tuple(parts), tuple(layers))
        return None


def answered_by_half(both: Both, source: Source) -> Iterator[Observation]:
    """What `source` computes as the outputs of a `Bidirectional`, as those of its two layers.

    They are `(B, T, H + H)`, the backward layer's reversed in time, or `(B, H + H)` where the
    wrapper returns no sequences. Raises `InputError` for others, and where the source fails.
    """
    units, first = sum(layer.units for layer in both.layers), 0
    answer: Answer | None = None
    for side, part, layer in zip(SIDES, both.parts, both.layers, strict=True):
        # An answer with weights of its own has those of the layer that was asked for.
        if answer is None or answer.layer is not None:
            call = (layer, part.inputs, None, None, both.name, both.config, units)
            answer = source.compute(Request(*call))
        refuse_shape(both, source, answer, units)
        own = answer.outputs[..., first : first + layer.units]
        if side == "backward" and own.ndim == 3:
            own = own[:, ::-1]
        yield replace(
            part,
            weights=layer if answer.layer is None else answer.layer,
            outputs=own,
            last_output=None,
            final_state=(),
            notes=(*part.notes, *answer.notes, *(STATES,) * bool(answer.final_state)),
        )
        first += layer.units


def refuse_shape(both: Both, source: Source, answer: Answer, units: int) -> None:
    """Raise `InputError` for outputs that are not two layers' side by side."""
    batch, timesteps = both.parts[0].inputs.shape[:2]
    shapes = [(batch, timesteps, units)] + [(batch, units)] * (not both.merge.sequences)
    if answer.outputs.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        raise InputError(
            f"against {source.name!r}: expected outputs of both layers of {both.name} side by "
            f"side, {expected}, received {answer.outputs.shape}; name one of the two layers "
            "(--layer-name) if these are its own"
        )
