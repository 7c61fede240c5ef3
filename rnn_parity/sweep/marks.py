"""By which numbers, or words, a known mistake is recognised.

Each function tells of a smallest configuration, what came of it and its numbers, if any, whether
they bear the marks of one mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.activations import custom
from rnn_parity.erf import erfc
from rnn_parity.layers import LAYERS
from rnn_parity.precision import precision_of
from rnn_parity.replay import replay
from rnn_parity.sequences import Sequences
from rnn_parity.sweep.numbers import Array, CallNumbers, Numbers
from rnn_parity.sweep.one import Outcome
from rnn_parity.sweep.space import CLASSES, Configuration

Marks = Callable[[Configuration, Outcome, Numbers | None], bool]


def zeroed_by_the_mask_as_given(
    configuration: Configuration, outcome: Outcome, numbers: Numbers | None
) -> bool:
    """Outputs are exactly 0 wherever the mask is False before it is reversed, unlike the replay."""
    (call,) = numbers.calls if numbers else (None,)
    if call is None or call.mask is None:
        return False
    zeros = np.all(call.outputs == 0, axis=-1)
    expected = np.all(call.expected == 0, axis=-1)
    return bool(zeros[~call.mask].all() and (zeros != expected).any())


def computes(functions: Mapping[str, Sequence[Callable[[Array], Array]]]) -> Marks:
    """The outputs are those of a layer whose activation, by its name, is another function."""

    def marks(configuration: Configuration, outcome: Outcome, numbers: Numbers | None) -> bool:
        if numbers is None:
            return False
        calls = numbers.calls
        wrong = max(np.abs(call.outputs - call.expected).max() for call in calls)
        # The last digits are the format's.
        u = precision_of(str(configuration["dtype"]).removeprefix("mixed_")).unit_roundoff
        for function in functions[str(configuration["activation"])]:
            outputs = with_activation(configuration, numbers, function)
            off = max(np.abs(c.outputs - y).max() for c, y in zip(calls, outputs, strict=True))
            if off < max(0.01 * wrong, 2 * u) and off < 0.1 * wrong:
                return True
        return False

    return marks


def squared_in_float16(
    configuration: Configuration, outcome: Outcome, numbers: Numbers | None
) -> bool:
    """The outputs leave the numbers just where those of a layer do that squares in float16."""
    if numbers is None:
        return False
    outputs = with_activation(configuration, numbers, squareplus_by_float16_squares)
    seen = [np.isfinite(call.outputs) for call in numbers.calls]
    return all(map(np.array_equal, map(np.isfinite, outputs), seen)) and not np.all(seen)


def with_activation(
    configuration: Configuration, numbers: Numbers, function: Callable[[Array], Array]
) -> list[Array]:
    """The outputs of all calls, had the layer this activation."""
    own = dict(configuration.values)
    options = ("recurrent_activation", "go_backwards", "zero_output_for_mask", "reset_after")
    weights = (numbers.kernel, numbers.recurrent_kernel, numbers.bias)
    kind: Any = LAYERS[CLASSES[configuration.layer]]
    given = {name: own[name] for name in options if name in own}
    layer = kind(*weights, activation=custom(function), **given)
    data = [(call.inputs, call.mask, call.initial_state or None) for call in numbers.calls]
    return [replay(layer, Sequences.of(layer, *call)).outputs for call in data]


def squareplus_by_float16_squares(z: Array) -> Array:
    """`(z + sqrt(z^2 + 4)) / 2`, infinite where `z^2 + 4` is beyond float16's 65504."""
    square = z * z + 4
    result: Array = np.where(square > 65504, np.inf, (z + np.sqrt(square)) / 2)
    return result


def keras_3_15_sparsemax(z: Array) -> Array:
    """Keras 3.15's own formula, in which the sums of the k largest are summed once more."""
    largest = -np.sort(-z, axis=-1)
    sums, k = np.cumsum(largest, axis=-1), np.arange(1, z.shape[-1] + 1)
    support = largest - (sums - 1) / k > 0
    total = np.where(support, sums, 0.0).sum(axis=-1, keepdims=True)
    result: Array = np.maximum(z - (total - 1) / support.sum(axis=-1, keepdims=True), 0.0)
    return result


def leaky_relu_by_float32(z: Array) -> Array:
    """`max(z, 0.2 z)` with the slope rounded to float32."""
    return np.maximum(z, float(np.float32(0.2)) * z)


def gelu_by_float32_root(z: Array) -> Array:
    """`z Phi(z)` with the square root of 2 rounded to float32."""
    return 0.5 * z * erfc(-z / float(np.float32(2**0.5)))


def gelu_by_float32_factor(z: Array) -> Array:
    """`z Phi(z)` with its reciprocal rounded to float32, as TensorFlow 2.21 has it."""
    return 0.5 * z * erfc(-z * float(np.float32(0.5**0.5)))


def accurate_to_float32(
    configuration: Configuration, outcome: Outcome, numbers: Numbers | None
) -> bool:
    """A float64 layer with no more than float32's precision, and no less."""
    return outcome.effective_bits is not None and 22 < outcome.effective_bits < 44


def repeated_where_zeros_are_due(
    configuration: Configuration, outcome: Outcome, numbers: Numbers | None
) -> bool:
    """Forwards: where the mask is False, every output is the one before, unlike the replay."""
    (call,) = numbers.calls if numbers else (None,)
    if call is None or call.mask is None:
        return False
    masked, right = ~call.mask[:, 1:], (call.expected != 0).any(axis=-1)
    repeated = (call.outputs[:, 1:] == call.outputs[:, :-1]).all(axis=-1)
    wrong = (call.outputs != 0).any(axis=-1) & ~right
    return bool(repeated[masked].all() and wrong[:, 1:][masked].any())


def shows_the_first_state(
    configuration: Configuration, outcome: Outcome, numbers: Numbers | None
) -> bool:
    """Forwards: before the first timestep that is not masked, the outputs are the first state."""
    calls = numbers.calls if numbers else ()
    # Zeros are shown by everybody.
    tell = [c for c in calls if c.mask is not None and any(s.any() for s in c.initial_state[:1])]
    return bool(tell) and all(map(shows_its_first_state, tell))


def shows_its_first_state(call: CallNumbers) -> bool:
    """As `shows_the_first_state`, in one call."""
    assert call.mask is not None
    leading: NDArray[np.bool_] = ~np.logical_or.accumulate(call.mask, axis=1)
    first = np.broadcast_to(call.initial_state[0][:, None], call.outputs.shape)
    due = (call.expected[leading] == 0).all() and (first[leading] != 0).any()
    return bool(due and (call.outputs[leading] == first[leading]).all())


def says(words: str) -> Marks:
    """Keras's message has these words."""
    return lambda configuration, outcome, numbers: words in outcome.summary
