"""The numbers of one configuration, as a person or a script works them out again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnn_parity.sweep.one import ALONE, observe, others
from rnn_parity.sweep.space import Configuration

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CallNumbers:
    """One call: what went in, what came out, and the replay; states h before an LSTM's c."""

    inputs: Array
    mask: NDArray[np.bool_] | None
    initial_state: tuple[Array, ...]
    outputs: Array
    last_output: Array | None
    final_state: tuple[Array, ...]
    expected: Array
    expected_state: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Numbers:
    """The weights of a layer, and its calls."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    calls: tuple[CallNumbers, ...]


def numbers_of(configuration: Configuration, seed: int, against: str | None = None) -> Numbers:
    """Run a configuration again for its numbers; it must be one that can be compared.

    Those of a `Bidirectional` are its backward layer's: what goes wrong forwards does so without a
    wrapper, and the merge has no weights.

    With `against`, the outputs are those of that source.
    """
    from rnn_parity.against import answered
    from rnn_parity.replay import replay
    from rnn_parity.sequences import Sequences

    with ALONE:
        observations = observe(configuration, seed)
        for source in others(against):
            observations = [answered(seen, source) for seen in observations]
    parts = [seen for seen in observations if seen.weights is not None]
    observations = [seen for seen in parts if seen.layer_name == parts[-1].layer_name]
    calls = []
    for seen in observations:
        assert seen.weights is not None, "a failure has been compared"
        sequences = Sequences.of(seen.weights, seen.inputs, seen.mask, seen.initial_state)
        trace = replay(seen.weights, sequences)
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
    weights = observations[0].weights
    assert weights is not None
    return Numbers(weights.kernel, weights.recurrent_kernel, weights.bias, tuple(calls))


def wide(array: NDArray[np.generic]) -> Array:
    """In float64, which holds every narrower number exactly."""
    return np.asarray(array).astype(np.float64)
