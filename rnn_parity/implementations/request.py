"""What another implementation is asked to compute, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import UnsupportedError
from rnn_parity.recurrence.cells import KERAS_CELLS, Cell


@dataclass(frozen=True, eq=False)
class Request:
    """One call of one recurrent layer, for another implementation to compute as well.

    `inputs` is `(B, T, F)` and `mask` `(B, T)` in the order in which the layer is given them
    (before `go_backwards` reverses it); `initial_state` holds one `(B, H)` array for each of the
    layer's states, h before an LSTM's c, or is None for zeros. `config` is Keras's own description
    of the layer, empty where only weights are known. `side_by_side` are the two layers of
    a `Bidirectional`, one of them `layer`, whose outputs are asked for together, the second's
    reversed in time; empty for a layer alone. `model_inputs` is what the whole model was given, by
    the names of its inputs, for who can run that; empty where there is none. `of_operator` tells
    that an operator of another framework is asked for, whose outputs may have the axes of ONNX's:
    `(T, D, B, H)`. `asked` are all layers that the implementation is asked for in this check, by
    their names.
    """

    layer: Cell
    inputs: NDArray[Any]
    mask: NDArray[np.bool_] | None = None
    initial_state: tuple[NDArray[Any], ...] | None = None
    layer_name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    side_by_side: tuple[Cell, ...] = ()
    model_inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    of_operator: bool = False
    asked: Mapping[str, Cell] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """How many units the outputs have."""
        return sum(layer.units for layer in self.side_by_side or (self.layer,))


@dataclass(frozen=True, eq=False)
class Answer:
    """What an implementation computed: outputs `(B, T, H)` in processing order.

    Where only the last output is known, `outputs` is `(B, H)`. `final_state` holds `(B, H)` arrays,
    h before c, as many as were returned; `last_output` `(B, H)` is what a run that returned no
    sequence gave, beside the `outputs` of one that did. `notes` are sentences for the report about
    what was done on the way; `layer` replaces the layer where the implementation has weights of its
    own. `left_out` names further layers, directions, outputs and states that the implementation
    holds beside these: what they compute is not proven by what is compared, so that the check is
    `inconclusive` unless the user named the part, as `part` would (`FILE#PART`; empty where nothing
    can be named). Other things in a file, such as the weights of a Dense layer, belong in a note.
    Where the layer was run in a whole model, `inputs` and `initial_state` are what reached it
    there, in place of what was asked. `made_by` is who answered, as known differences name it.
    """

    outputs: NDArray[Any]
    final_state: tuple[NDArray[Any], ...] = ()
    notes: tuple[str, ...] = ()
    layer: Cell | None = None
    left_out: tuple[str, ...] = ()
    part: str = ""
    last_output: NDArray[Any] | None = None
    inputs: NDArray[Any] | None = None
    initial_state: tuple[NDArray[Any], ...] | None = None
    made_by: str = ""


Implementation = Callable[[Request], Answer]
"""Raises `InputError`, one line, when it cannot compute what is asked."""


def path_and_part(source: str, *extensions: str) -> tuple[str, str | None]:
    """A file's path, with one of these extensions, and what is named after its #; None without."""
    pattern = rf"(.+?\.(?:{'|'.join(extensions)}))(?:#(.+))?"
    match = re.fullmatch(pattern, source, re.IGNORECASE)
    return (match[1], match[2]) if match else (source, None)


def keras_class(layer: Cell, who: str) -> str:
    """The name of the class in Keras that computes what the layer does.

    Raises `UnsupportedError` for a cell of a user's own, which `who`, the beginning of the message,
    does not have.
    """
    name = type(layer).__name__
    if KERAS_CELLS.get(name) is not type(layer):
        raise UnsupportedError(f"{who}: expected one of {', '.join(KERAS_CELLS)}, received {name}")
    return name
