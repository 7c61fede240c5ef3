"""By which numbers, or words, a known mistake is recognised.

Each function tells of a smallest configuration, what came of it and its numbers, if any, whether
they bear the marks of one mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.activations import custom
from rnn_parity.recurrence.erf import erfc
from rnn_parity.recurrence.layers import LAYERS, LSTM, Layer
from rnn_parity.recurrence.precision import precision_of
from rnn_parity.recurrence.replay import replay
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.sweep.numbers import Array, CallNumbers, Numbers
from rnn_parity.sweep.space import CLASSES, Configuration
from rnn_parity.verdict.sweep_results import Outcome

Marks = Callable[[Configuration, Outcome, Numbers | None], bool]
Function = Callable[[Array], Array]


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


def computes(functions: Mapping[str, Sequence[Function]]) -> Marks:
    """The outputs are those of a layer whose activation, by its name, is another function."""

    def marks(configuration: Configuration, outcome: Outcome, numbers: Numbers | None) -> bool:
        return numbers is not None and any(
            explain(configuration, numbers, with_activation(configuration, numbers, [function]))
            for function in functions[str(configuration["activation"])]
        )

    return marks


def sums_all_cumulative_sums(
    configuration: Configuration, outcome: Outcome, numbers: Numbers | None
) -> bool:
    """The outputs are those of Keras 3.15's sparsemax, wherever rounding puts the support's end."""
    if numbers is None:
        return False
    u = unit_roundoff(configuration)
    ways = [
        partial(keras_3_15_sparsemax, other_way=places, unit_roundoff=u)
        for places in ((), (0,), (1,), (0, 1))
    ]
    return explain(configuration, numbers, with_activation(configuration, numbers, ways))


def explain(configuration: Configuration, numbers: Numbers, outputs: Sequence[Array]) -> bool:
    """Whether these are the observed outputs of all calls, and the replay's are far from them."""
    calls = numbers.calls
    wrong = max(np.abs(call.outputs - call.expected).max() for call in calls)
    off = max(np.abs(c.outputs - y).max() for c, y in zip(calls, outputs, strict=True))
    # The last digits are the format's, of numbers of this size.
    size = max(1.0, *(np.abs(call.outputs).max() for call in calls))
    last_digits = 2 * unit_roundoff(configuration) * size
    return bool(off < max(0.01 * wrong, last_digits) and off < 0.1 * wrong)


def unit_roundoff(configuration: Configuration) -> float:
    """That of the compute dtype."""
    return precision_of(str(configuration["dtype"]).removeprefix("mixed_")).unit_roundoff


def squared_in_float16(
    configuration: Configuration, outcome: Outcome, numbers: Numbers | None
) -> bool:
    """The outputs leave the numbers just where those of a layer do that squares in float16."""
    if numbers is None:
        return False
    u = unit_roundoff(configuration)
    ways = [
        partial(squareplus_by_float16_squares, largest=65504 * (1 + roundings * u))
        for roundings in (0, -16, 16)
    ]
    outputs = with_activation(configuration, numbers, ways)
    seen = [np.isfinite(call.outputs) for call in numbers.calls]
    return all(map(np.array_equal, map(np.isfinite, outputs), seen)) and not np.all(seen)


def with_activation(
    configuration: Configuration, numbers: Numbers, ways: Sequence[Function]
) -> list[Array]:
    """The outputs of all calls, had the layer this activation.

    Where a formula jumps, rounding decides on which side it comes out, and another processor
    rounds otherwise. `ways` are the results that rounding may lead to: each timestep of each sample
    takes the one that is nearest to what was observed.
    """
    own = dict(configuration.values)
    weights = (numbers.kernel, numbers.recurrent_kernel, numbers.bias)
    kind: Any = LAYERS[CLASSES[configuration.layer]]
    given = {name: own[name] for name in ("recurrent_activation", "reset_after") if name in own}
    uses = 2 if kind is LSTM else 1  # an LSTM's step applies it to the gate g, then to c
    layers = [
        kind(*weights, activation=custom(in_turn(functions)), **given)
        for functions in product(ways, repeat=uses)
    ]
    backwards, zeroed = bool(own["go_backwards"]), bool(own["zero_output_for_mask"])
    return [nearest_outputs(layers, call, backwards, zeroed) for call in numbers.calls]


def in_turn(functions: Sequence[Function]) -> Function:
    """One function that is each of them in turn."""
    turns = cycle(functions)
    return lambda z: next(turns)(z)


def nearest_outputs(
    layers: Sequence[Layer], call: CallNumbers, backwards: bool, zeroed: bool
) -> Array:
    """The outputs of a call, every timestep of every sample by the layer that comes nearest."""
    order = slice(None, None, -1 if backwards else 1)
    inputs, mask = call.inputs[:, order], np.ones(call.inputs.shape[:2], bool)
    if call.mask is not None:
        mask = call.mask[:, order]
    samples, state, outputs = np.arange(len(inputs)), call.initial_state or None, []
    shown = np.zeros_like(call.outputs[:, 0])
    for t, observed in enumerate(call.outputs.swapaxes(0, 1)):
        now = slice(t, t + 1)
        data = (inputs[:, now], mask[:, now], state)
        traces = [replay(layer, Sequences.of(layer, *data)) for layer in layers]
        found = np.stack([trace.outputs[:, 0] for trace in traces])
        best = apart(found, observed).argmin(axis=0)
        # (S, V, B, H), with S states and V layers to choose from.
        finals = np.stack([np.reshape(t.final_state, (-1, *shown.shape)) for t in traces], axis=1)
        state = tuple(finals[:, best, samples])
        hidden = np.zeros_like(shown) if zeroed else shown
        shown = np.where(mask[:, now], found[best, samples], hidden)
        outputs.append(shown)
    return np.stack(outputs, axis=1)


def apart(found: Array, observed: Array) -> Array:
    """How far each sample is from the observed one; infinite where only one of them is finite."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - observed)
    finite = np.isfinite(observed)
    difference = np.where(finite, difference, np.where(np.isfinite(found), np.inf, 0.0))
    farthest: Array = np.where(np.isnan(difference), np.inf, difference).max(axis=-1)
    return farthest


def squareplus_by_float16_squares(z: Array, largest: float = 65504.0) -> Array:
    """`(z + sqrt(z^2 + 4)) / 2`, infinite where `z^2 + 4` is beyond float16's largest number."""
    square = z * z + 4
    result: Array = np.where(square > largest, np.inf, (z + np.sqrt(square)) / 2)
    return result


def keras_3_15_sparsemax(
    z: Array, other_way: Sequence[int] = (), unit_roundoff: float = 0.0
) -> Array:
    """Keras 3.15's own formula, in which the sums of the k largest are summed once more.

    Where the end of the support is nearest to a tie (place 0), or next to that (place 1), and
    rounding may decide, it goes `other_way`.
    """
    largest = -np.sort(-z, axis=-1)
    sums, k = np.cumsum(largest, axis=-1), np.arange(1, z.shape[-1] + 1)
    margin = largest - (sums - 1) / k
    support = margin > 0
    # Each z is some additions, rounded; S_k is k more of numbers of this size, divided by k.
    rounding = unit_roundoff * (z.shape[-1] + 8) * (1 + np.abs(z).max(axis=-1, keepdims=True))
    for place in other_way:
        at = np.argsort(np.abs(margin), axis=-1, kind="stable")[..., place : place + 1]
        either = np.abs(np.take_along_axis(margin, at, -1)) <= rounding[..., : at.shape[-1]]
        np.put_along_axis(support, at, np.take_along_axis(support, at, -1) ^ either, -1)
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
