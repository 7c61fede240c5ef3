"""What passed through a `Bidirectional` and its two layers in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Handed:
    """What a layer was given, and all that it returned: outputs before states, batch first.

    `inputs` is `(B, T, ...)`, `mask` `(B, T)` or None. `initial_state` is empty where none was
    given.
    """

    inputs: NDArray[Any]
    mask: NDArray[np.bool_] | None
    initial_state: Sequence[NDArray[Any]]
    returned: Sequence[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Merge:
    """One call of a `Bidirectional` and of its two layers.

    `mode` is its merge mode; `sequences` tells whether the layers return sequences `(B, T, ...)`.
    `states` names the states that one of the two returns (none where they are not returned).
    """

    mode: str | None
    sequences: bool
    states: Sequence[str]
    whole: Handed
    forward: Handed
    backward: Handed

    @property
    def parts(self) -> dict[str, Handed]:
        """The two layers."""
        return {"forward": self.forward, "backward": self.backward}
