"""The dropout masks of a call in training: taken from the very call that draws them, or handed in.

Every mask is drawn once, holds zeros and `1 / (1 - rate)`, and serves all timesteps of the call.
With implementation 1, which a recurrent dropout enforces, each gate has one of its own; otherwise
one serves all gates. Sources: of Keras 3 `layers/rnn/dropout_rnn_cell.py` (the masks are drawn
before the loop), of Keras 2 `layers/rnn/dropout_rnn_cell_mixin.py` (in the first step), and the
`call` of each cell. Keras 2 departs from it in two ways. For an LSTM or a GRU that could run on
cuDNN it asks the layer instead of its cell, for a mask of the whole sequence, `(B, T, F)`. And in a
loop of a graph it draws new masks in every step, because `ContextValueCache.setdefault` does not
look for those of the graph around the loop, as `ContextValueCache.__getitem__` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.keras_adapter.parts import cells_of, is_time_major
from rnn_parity.keras_adapter.runtime import Method, instead, keras_major, tensorflow_module

MASKS = {"dropout_inputs": "dropout", "dropout_recurrent": "recurrent_dropout"}
"""What the masks are called here, with Keras's name of the rate."""
IN_TRAINING = "the call ran in training; the replay takes the very dropout masks that it used"
EACH_STEP = (
    "the call ran in training; here Keras 2 draws another dropout mask for every timestep, and the "
    "inputs of this check are those after it"
)
REDRAWN = (
    "here Keras 2 draws new dropout masks in every step of the loop, where it documents, and the "
    "replay takes, one for all timesteps of a call; mode eager and unroll=True keep to it"
)


@dataclass(frozen=True, eq=False)
class DropoutMasks:
    """The masks that were used first in a call of `layer`: by their owner's id and their name.

    The owner is a cell, or the layer itself, see above. They count where the call is `training`.
    `redrawn` are the keys of those in whose place others were used later.
    """

    layer: Any
    training: bool
    found: dict[tuple[int, str], Any] = field(default_factory=dict)
    redrawn: set[tuple[int, str]] = field(default_factory=set)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Further calls of the layer use the same masks in this block, and draw none."""
        with ExitStack() as replaced:
            for owner, name in mask_methods(self.layer):
                if (id(owner), name) in self.found:
                    masks = self.found[id(owner), name]
                    replaced.enter_context(instead(owner, partial(always, masks), method(name)))
            yield

    def of_cell(self, cell: Any) -> dict[str, Any]:
        """The masks of a cell by name, `(B, G, F)` and `(B, G, H)`, as its G gates use them."""
        if not self.training:
            return {}
        stack = tensorflow_module().stack
        found = {name: self.found.get((id(cell), name)) for name in MASKS}
        return {n: stack(by_gate(cell, m), axis=1) for n, m in found.items() if m is not None}

    def of_every_step(self) -> Any:
        """The mask of a whole sequence, shaped as the layer's inputs; None where there is none."""
        masks = self.found.get((id(self.layer), "dropout_inputs")) if self.training else None
        return None if masks is None else masks[0]

    def notes(self, cell: Any) -> tuple[str, ...]:
        """What a report says about them."""
        if self.of_every_step() is not None:
            return (EACH_STEP,)
        redrawn = any((id(cell), name) in self.redrawn for name in MASKS)
        return ((IN_TRAINING,) + (REDRAWN,) * redrawn) * bool(self.of_cell(cell))

    def unseen(self) -> str | None:
        """Why a call is not compared of which some mask was not seen; None where all were."""
        for cell in cells_of(self.layer) if self.training else ():
            for name, rate in MASKS.items():
                owners = (id(cell), id(self.layer))
                if getattr(cell, rate, 0) and not any((o, name) in self.found for o in owners):
                    kind = type(self.layer).__name__
                    return f"{kind} is called in training, but no mask of its {rate} was seen"
        return None


@contextmanager
def noted_masks(layer: Any, training: Any) -> Iterator[DropoutMasks]:
    """Notes the masks that the layer uses in this block; `training` is the call's argument."""
    # Where a graph decides, Keras 2's masks do.
    is_training = bool(tensorflow_module().is_symbolic_tensor(training) or training)
    drawn = DropoutMasks(layer, is_training)

    def noting(key: tuple[int, str], draw: Method) -> Method:
        def drawing(*args: Any, **kwargs: Any) -> Any:
            masks = draw(*args, **kwargs)
            if masks is not None and drawn.found.setdefault(key, masks) is not masks:
                drawn.redrawn.add(key)
            return masks

        return drawing

    with ExitStack() as replaced:
        for owner, name in mask_methods(layer):
            note = partial(noting, (id(owner), name))
            replaced.enter_context(instead(owner, note, method(name)))
        try:
            yield drawn
        except Exception:  # after which Keras 3 would use the masks of this call in the next one
            for owner, name in mask_methods(layer):
                getattr(owner, f"reset_{MASKS[name]}_mask")()
            raise


@contextmanager
def given_masks(layer: Any, masks: Mapping[str, NDArray[Any]]) -> Iterator[None]:
    """The layer uses these masks, `(G, B, F)` and `(G, B, H)`, and draws none in this block."""
    with ExitStack() as replaced:
        for owner, name in mask_methods(layer):
            if name in masks:
                change = partial(as_drawn, owner, masks[name])
                replaced.enter_context(instead(owner, change, method(name)))
        yield


def seed_masks(seed: int) -> None:
    """Every mask that is drawn in this process from now on follows from `seed`."""
    tensorflow_module().keras.utils.set_random_seed(seed)


def mask_methods(layer: Any) -> list[tuple[Any, str]]:
    """Who may be asked for masks in a call of this layer, with the name of each."""
    owners = {id(owner): owner for owner in (layer, *cells_of(layer))}
    return [(o, name) for o in owners.values() for name in MASKS if hasattr(o, method(name))]


def method(name: str) -> str:
    """What Keras calls the method that gives the masks of this name."""
    return f"get_{MASKS[name]}_mask" + "_for_cell" * (keras_major() == 2)


def by_gate(cell: Any, masks: Any) -> list[Any]:
    """A mask for each of a cell's gates."""
    several = list(masks) if isinstance(masks, (list, tuple)) else [masks]
    gates = cell.kernel.shape[-1] // cell.units
    return several if getattr(cell, "implementation", 2) == 1 else several[:1] * gates


def always(masks: Any, draw: Method) -> Method:
    """A method that gives these masks, whatever it is asked for."""
    return lambda *args, **kwargs: masks


def as_drawn(owner: Any, masks: NDArray[Any], draw: Method) -> Method:
    """`masks` as Keras would have drawn them: a list where there is one for each gate."""
    found: list[NDArray[Any]] = []

    def drawn(inputs: Any, training: Any = None, count: int = 1) -> Any:
        # The same ones for every step; as data, they belong to no graph.
        if not found:
            time = 0 if is_time_major(owner) else 1
            whole = masks if inputs.shape.rank == 2 else np.expand_dims(masks, 1 + time)
            found.extend(whole.astype(inputs.dtype.as_numpy_dtype))
        return found if getattr(owner, "dropout_mask_count", count) > 1 else found[0]

    return drawn
