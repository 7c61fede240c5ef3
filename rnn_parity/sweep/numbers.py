"""The numbers of one configuration, as a person or a script works them out again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnn_parity.sweep.one import ALONE, observe, others
from rnn_parity.sweep.space import Configuration
from rnn_parity.verdict.sweep_results import Array, CallNumbers, Numbers

if TYPE_CHECKING:
    from rnn_parity.recurrence.layer_call import LayerCall


def numbers_of(configuration: Configuration, seed: int, against: str | None = None) -> Numbers:
    """Run a configuration again for its numbers; it must be one that can be compared.

    With `against`, the outputs are those of that source.
    """
    from rnn_parity.implementations.against import layer_computed_by

    with ALONE:
        observations = observe(configuration, seed)
        for source in others(against):
            observations = [layer_computed_by(seen, source) for seen in observations]
    found: Numbers | None = None
    parts = [seen for seen in observations if seen.weights is not None]
    for name in dict.fromkeys(seen.layer_name for seen in parts):
        found = numbers_in([seen for seen in parts if seen.layer_name == name], found)
    assert found is not None, "a failure has been compared"
    return found


def numbers_in(observations: Sequence[LayerCall], forward: Numbers | None) -> Numbers:
    """The numbers of one layer, all calls of which were observed."""
    from rnn_parity.recurrence.replay import replay
    from rnn_parity.recurrence.sequences import Sequences

    weights = observations[0].weights
    assert weights is not None
    calls = []
    for seen in observations:
        sequences = Sequences.of(weights, seen.inputs, seen.mask, seen.initial_state)
        trace = replay(weights, sequences)
        calls.append(
            CallNumbers(
                wide(seen.inputs),
                seen.mask,
                tuple(map(wide, seen.initial_state or ())),
                wide(seen.outputs),
                None if seen.last_output is None else wide(seen.last_output),
                tuple(map(wide, seen.final_state)),
                trace.outputs,
                trace.final_state if isinstance(trace.final_state, tuple) else (trace.final_state,),
            )
        )
    arrays = (weights.kernel, weights.recurrent_kernel, weights.bias)
    return Numbers(*arrays, tuple(calls), forward, weights.zero_output_for_mask)


def wide(array: NDArray[np.generic]) -> Array:
    """In float64, which holds every narrower number exactly."""
    return np.asarray(array).astype(np.float64)
