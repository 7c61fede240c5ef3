"""Where Keras, and what copies its layers, is known to compute something else than is documented.

Each place is proven by hand.

A finding of a sweep is one of these only if the same options matter and its numbers, or Keras's
message, bear the marks of this very mistake: anything else must not hide behind it. In a check, any
options may be set beside; there the numbers prove it once the mistake is made, or mended, in them
(`made_right`): what is left must be within rounding.

A known difference is added by one entry in `KNOWN_DIFFERENCES`, and by a function of its marks
where no other difference has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.recurrence.activations import Activation, Radius, custom
from rnn_parity.recurrence.cells import KERAS_CELLS, LSTM, WEIGHTS, Cell
from rnn_parity.recurrence.erf import erfc
from rnn_parity.recurrence.precision import FLOAT32, precision_of
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.system.choices import LAYER_CLASSES, MASKS
from rnn_parity.verdict.configuration import Configuration
from rnn_parity.verdict.judge import Observations
from rnn_parity.verdict.order import Status
from rnn_parity.verdict.sweep_results import (
    CallNumbers,
    DifferenceText,
    Numbers,
    Outcome,
)

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
Marks = Callable[[Configuration, Numbers], bool]
"""Whether the numbers of a smallest configuration show one mistake."""
Held = tuple[Cell, Sequences, Observations]
"""A layer, what it was given, and what is held against it."""
Righted = Callable[[Cell, Sequences, Observations], Iterator[tuple[Held, ...]]]
"""What a call with one mistake in it is once the layer makes the mistake, too, or the outputs are
mended; several where rounding decides. Each is one or several computations: the numbers show this
mistake and nothing else if none of them is diverged and the last is in parity."""

EVERY_LAYER = tuple(LAYER_CLASSES)
A_MASK = tuple(mask for mask in MASKS if mask != "none")
OF_THE_RECURRENCE = (
    *("dtype", "mask", "initial_state", "calls", "stateful", "return_sequences", "return_state"),
    *("use_bias", "unit_forget_bias", "recurrent_activation", "reset_after"),
    *("go_backwards", "zero_output_for_mask"),
)
"""What marks take into account that replay all calls with the mistake in them."""
OTHER_BACKENDS = ("keras:jax", "keras:torch", "keras:numpy", "keras:openvino")


@dataclass(frozen=True)
class KnownDifference(DifferenceText):
    """One mistake of Keras's: the options that matter, what is wrong and what would be right."""

    options: Mapping[str, tuple[str | int | float | bool, ...]]
    marks: Marks | None = None
    """What the numbers show where it diverged."""
    bits: tuple[float, float] | None = None
    """Between which effective bits it diverged, in place of marks."""
    message: str = ""
    """Words of the message with which it is refused, in place of marks."""
    layers: tuple[str, ...] = EVERY_LAYER
    against: tuple[str | None, ...] = (None,)
    """Who makes the mistake: None is Keras on TensorFlow, others are named as sources are."""
    beside: tuple[str, ...] = ()
    """Options that may matter too, where they decide how large or how exact the numbers are."""
    also: tuple[Status, ...] = ()
    """Verdicts that it gets, too, where the bounds are too wide to prove what the marks tell."""
    made_right: Righted | None = None
    """What proves in a check that nothing else is wrong; None where a check never shows it."""
    remedy: str = ""
    """What to do where a check shows it, or Keras refuses."""

    def matches(
        self,
        configuration: Configuration,
        outcome: Outcome,
        numbers: Numbers | None,
        against: str | None,
    ) -> bool:
        """Whether a smallest configuration shows this mistake and nothing else."""
        return (
            self.concerns(configuration, against)
            and self.options.keys() <= configuration.changed.keys()
            and configuration.changed.keys() <= {*self.options, *self.beside}
            and outcome.verdict in ("refused" if self.message else "diverged", *self.also)
            and self.shows(configuration, outcome, numbers)
        )

    def concerns(self, configuration: Configuration, against: str | None) -> bool:
        """Whether a configuration has the options that matter, whatever others it has."""
        own = dict(configuration.values)
        return (
            configuration.layer in self.layers
            and against in self.against
            and all(own.get(name) in values for name, values in self.options.items())
        )

    def shows(
        self, configuration: Configuration, outcome: Outcome, numbers: Numbers | None
    ) -> bool:
        """Whether what came of a configuration bears the marks of this mistake."""
        if self.message:
            return self.message in outcome.summary
        if self.bits is not None:
            least, most = self.bits
            return outcome.effective_bits is not None and least < outcome.effective_bits < most
        return self.marks is not None and numbers is not None and self.marks(configuration, numbers)


def zeroed_by_the_mask_as_given(configuration: Configuration, numbers: Numbers) -> bool:
    """Outputs are exactly 0 wherever the mask is False before it is reversed, unlike the replay."""
    (call,) = numbers.calls
    if call.mask is None:
        return False
    zeros = np.all(call.outputs == 0, axis=-1)
    expected = np.all(call.expected == 0, axis=-1)
    return bool(zeros[~call.mask].all() and (zeros != expected).any())


def computes(functions: Mapping[str, Sequence[Function]]) -> Marks:
    """The outputs are those of a layer whose activation, by its name, is another function."""

    def marks(configuration: Configuration, numbers: Numbers) -> bool:
        return any(
            reproduced(configuration, numbers, with_activation(configuration, numbers, [function]))
            for function in functions[str(configuration["activation"])]
        )

    return marks


def sums_all_cumulative_sums(configuration: Configuration, numbers: Numbers) -> bool:
    """The outputs are those of Keras 3.15's sparsemax, wherever rounding puts the support's end."""
    u = unit_roundoff(configuration)
    ways = [
        partial(keras_3_15_sparsemax, other_way=places, unit_roundoff=u)
        for places in ((), (0,), (1,), (0, 1))
    ]
    return reproduced(configuration, numbers, with_activation(configuration, numbers, ways))


def reproduced(configuration: Configuration, numbers: Numbers, outputs: Sequence[Array]) -> bool:
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


def squared_in_float16(configuration: Configuration, numbers: Numbers) -> bool:
    """The outputs leave the numbers just where those of a layer do that squares in float16."""
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
    own = configuration.entry
    weights = (numbers.kernel, numbers.recurrent_kernel, numbers.bias)
    kind: Any = KERAS_CELLS[configuration.layer_class]
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
    layers: Sequence[Cell], call: CallNumbers, backwards: bool, zeroed: bool
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
        best = distance_to_observed(found, observed).argmin(axis=0)
        # (S, V, B, H), with S states and V layers to choose from.
        finals = np.stack([trace.states for trace in traces], axis=1)
        state = tuple(finals[:, best, samples])
        hidden = np.zeros_like(shown) if zeroed else shown
        shown = np.where(mask[:, now], found[best, samples], hidden)
        outputs.append(shown)
    return np.stack(outputs, axis=1)


def distance_to_observed(found: Array, observed: Array) -> Array:
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


FLOAT32_CONSTANTS: Mapping[str, Sequence[Function]] = {
    "leaky_relu": (leaky_relu_by_float32,),
    "gelu": (gelu_by_float32_root, gelu_by_float32_factor),
}
"""What Keras computes in place of an activation in float64."""


def repeated_where_zeros_are_due(configuration: Configuration, numbers: Numbers) -> bool:
    """Forwards: where the mask is False, every output is the one before, unlike the replay."""
    (call,) = numbers.calls
    if call.mask is None:
        return False
    masked, right = ~call.mask[:, 1:], (call.expected != 0).any(axis=-1)
    repeated = (call.outputs[:, 1:] == call.outputs[:, :-1]).all(axis=-1)
    wrong = (call.outputs != 0).any(axis=-1) & ~right
    return bool(repeated[masked].all() and wrong[:, 1:][masked].any())


def shows_the_first_state(configuration: Configuration, numbers: Numbers) -> bool:
    """Forwards: before the first timestep that is not masked, the outputs are the first state."""
    # Zeros are shown by everybody.
    masked = [call for call in numbers.calls if call.mask is not None]
    tell = [call for call in masked if any(state.any() for state in call.initial_state[:1])]
    return bool(tell) and all(map(shows_its_first_state, tell))


def shows_its_first_state(call: CallNumbers) -> bool:
    """Before the first timestep of a call that is not masked, the outputs are its first state."""
    assert call.mask is not None
    leading: NDArray[np.bool_] = ~np.logical_or.accumulate(call.mask, axis=1)
    first = np.broadcast_to(call.initial_state[0][:, None], call.outputs.shape)
    due = (call.expected[leading] == 0).all() and (first[leading] != 0).any()
    return bool(due and (call.outputs[leading] == first[leading]).all())


# A check of a call with one of these mistakes, made right.


def computing(functions: Mapping[str, Sequence[Function]]) -> Righted:
    """The layer with a function that Keras computes in place of its activation, by its name."""

    def made_right(
        layer: Cell, sequences: Sequences, observed: Observations
    ) -> Iterator[tuple[Held, ...]]:
        for function in functions[layer.activation.name]:
            yield ((with_function(layer, function), sequences, observed),)

    return made_right


def with_function(layer: Cell, function: Function) -> Cell:
    """A layer whose activation has another formula, which costs as much rounding."""
    return layer.changed(activation=replace(layer.activation, function=function))


def summing_all_sums(
    layer: Cell, sequences: Sequences, observed: Observations
) -> Iterator[tuple[Held, ...]]:
    """The layer with Keras 3.15's sparsemax."""
    wrong = layer.changed(activation=sparsemax_by_all_sums(layer))
    yield ((wrong, sequences, observed),)


def sparsemax_by_all_sums(layer: Cell) -> Activation:
    """Keras 3.15's sparsemax, with what its sums cost and what a tie may change."""
    u = layer.precision.unit_roundoff
    ways = [
        partial(keras_3_15_sparsemax, other_way=places, unit_roundoff=u)
        for places in ((0,), (1,), (0, 1))
    ]

    def coupling(z: Array, y: Array, rad: Radius) -> Radius:
        # The threshold is the sum of (k - j + 1) / k times the j-th largest, j from 1 to k.
        k = support_of(z)[1].sum(axis=-1, keepdims=True)
        tie = np.max([np.abs(way(z) - y) for way in ways], axis=0)
        spread = rad + (k + 2) / 2 * rad.max(axis=-1, keepdims=True) + tie
        of_rad: Radius = spread.astype(rad.dtype, copy=False)
        return of_rad

    def extra(z: Array, size: Radius) -> Array:
        # Each of the k cumulative sums is rounded k times in all, and their sum is divided by k.
        largest, support = support_of(z)
        sums = np.where(support, np.cumsum(np.abs(largest), axis=-1), 0.0)
        return np.broadcast_to(4 + 2 * sums.sum(axis=-1, keepdims=True), z.shape)

    function = keras_3_15_sparsemax
    return replace(layer.activation, function=function, coupling=coupling, extra=extra)


def support_of(z: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Sparsemax's arguments in falling order, and which of them the threshold is taken from."""
    largest = -np.sort(-z, axis=-1)
    margin = largest - (np.cumsum(largest, axis=-1) - 1) / np.arange(1, z.shape[-1] + 1)
    return largest, margin > 0


def squaring_in_float16(
    layer: Cell, sequences: Sequences, observed: Observations
) -> Iterator[tuple[Held, ...]]:
    """The layer that squares in float16: everywhere, and up to the first number that is not finite.

    Behind that, no state is known, and nothing can be proven.
    """
    u = layer.precision.unit_roundoff
    finite = np.isfinite(observed.outputs.astype(np.float64)).all(axis=-1)
    known = before(layer, sequences, observed, np.logical_and.accumulate(finite, axis=1))
    for roundings in (0, -16, 16):
        function = partial(squareplus_by_float16_squares, largest=65504 * (1 + roundings * u))
        wrong = with_function(layer, function)
        yield (wrong, sequences, observed), (wrong, *known)


def before(
    layer: Cell, sequences: Sequences, observed: Observations, keep: NDArray[np.bool_]
) -> tuple[Sequences, Observations]:
    """A call in which all timesteps are masked that are not to be kept, `(B, T)`."""
    mask = keep if sequences.mask is None else keep & sequences.mask
    shown = shown_of(observed.outputs, mask, layer.zero_output_for_mask)
    return replace(sequences, mask=mask), Observations(shown)


def shown_of(outputs: NDArray[Any], mask: NDArray[np.bool_], zeroed: bool) -> NDArray[Any]:
    """What a call shows whose timesteps compute `outputs` where they are not masked."""
    shown = np.where(mask[..., None], outputs, 0)
    for t in range(1, 0 if zeroed else shown.shape[1]):
        shown[:, t] = np.where(mask[:, t, None], shown[:, t], shown[:, t - 1])
    return shown


def in_float32(
    layer: Cell, sequences: Sequences, observed: Observations
) -> Iterator[tuple[Held, ...]]:
    """The layer in float32, its weights and its first state rounded to that."""
    weights = {name: getattr(layer, name) for name in WEIGHTS}
    rounded = {name: FLOAT32.round(w) for name, w in weights.items() if w is not None}
    state = FLOAT32.round(sequences.initial_state)
    narrow = layer.changed(precision=FLOAT32, **rounded)
    yield ((narrow, replace(sequences, initial_state=state), observed),)


def zeroed_where_due(
    layer: Cell, sequences: Sequences, observed: Observations
) -> Iterator[tuple[Held, ...]]:
    """Backwards and unrolled: the outputs zeroed by the reversed mask.

    What the mask as given has zeroed is not known, unless it is shown elsewhere: a step from the
    state before stands for it. All else must be what Keras shows by that mask, bit for bit. Where
    nothing is shown of any step, nor of the final state, zeros prove nothing.
    """
    assert sequences.mask is not None
    mask, given = sequences.mask, sequences.mask[:, ::-1]
    found, known = known_steps(observed, mask, given)
    outputs = with_zeroed_steps(layer, sequences, found, known)
    shown = np.where(given[..., None], shown_of(outputs, mask, zeroed=False), 0)
    tells = bool(observed.final_state) or (mask & known).any()
    if tells and np.array_equal(shown, observed.outputs):
        right = np.where(mask[..., None], outputs, 0)
        yield ((layer, sequences, replace(observed, outputs=right)),)


def known_steps(
    observed: Observations, mask: NDArray[np.bool_], given: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """What the timesteps computed, and where that is shown: by themselves, by masked ones behind,
    or by a last output that was returned by itself, which Keras zeroes by the right mask.

    `given` is False where zeros are shown in place of it.
    """
    found, known = observed.outputs.copy(), given.copy()
    if observed.last_output is not None:
        returned = mask[:, -1] & ~given[:, -1]
        found[:, -1] = np.where(returned[:, None], observed.last_output, found[:, -1])
        known[:, -1] |= returned
    for t in reversed(range(found.shape[1] - 1)):
        repeated = ~known[:, t] & ~mask[:, t + 1] & known[:, t + 1]
        found[:, t] = np.where(repeated[:, None], found[:, t + 1], found[:, t])
        known[:, t] |= repeated
    return found, known


def with_zeroed_steps(
    layer: Cell, sequences: Sequences, outputs: NDArray[Any], known: NDArray[np.bool_]
) -> NDArray[Any]:
    """`outputs` with a step from the state before in place of what is not `known`."""
    assert sequences.mask is not None
    found, state = outputs.astype(np.float64), sequences.initial_state
    for t in range(outputs.shape[1]):
        now = slice(t, t + 1)
        mask = sequences.mask[:, now]
        given = (sequences.inputs[:, now], mask, state, sequences.dropout)
        # Rounded as an implementation rounds it, so that next to no error is handed on.
        state = layer.precision.round(np.array(replay(layer, Sequences(*given)).states))
        found[:, t] = np.where(known[:, now], found[:, t], state[0])
        state[0] = np.where(mask, found[:, t], state[0])
    return found


def zeros_where_masked(
    layer: Cell, sequences: Sequences, observed: Observations
) -> Iterator[tuple[Held, ...]]:
    """Zeros in place of outputs that repeat the one before; of none before, zeros or the state."""
    assert sequences.mask is not None
    masked, outputs = ~sequences.mask, observed.outputs
    first = np.stack([np.zeros_like(outputs[:, 0]), sequences.initial_state[0]])
    alike = [(outputs[:, 0] == one).all(axis=-1) for one in first]
    repeated = np.column_stack(
        [np.logical_or(*alike), (outputs[:, 1:] == outputs[:, :-1]).all(axis=-1)]
    )
    if repeated[masked].all():
        right = np.where(masked[..., None], 0, outputs)
        yield ((layer, sequences, mended(observed, right)),)


def zeros_before_the_first(
    layer: Cell, sequences: Sequences, observed: Observations
) -> Iterator[tuple[Held, ...]]:
    """Zeros in place of the first state, before the first timestep that is not masked."""
    assert sequences.mask is not None
    leading = ~np.logical_or.accumulate(sequences.mask, axis=1)
    state = np.broadcast_to(sequences.initial_state[0][:, None], observed.outputs.shape)
    if np.array_equal(observed.outputs[leading], state[leading]):
        right = np.where(leading[..., None], 0, observed.outputs)
        yield ((layer, sequences, mended(observed, right)),)


def mended(observed: Observations, outputs: NDArray[Any]) -> Observations:
    """Other outputs; a last output that was returned by itself changes where the sequence's does.

    It may come from another run, which rounds otherwise.
    """
    last = observed.last_output
    if last is not None:
        shown, right = observed.outputs[:, -1], outputs[:, -1]
        wrong = (shown != right).any(axis=-1, keepdims=True)
        last = np.where(wrong & (last == shown).all(axis=-1, keepdims=True), right, last)
    return replace(observed, outputs=outputs, last_output=last)


STEP_BY_STEP = ("keras:jax", "keras:numpy")
"""The backends whose `rnn` is written as JAX's."""
SHOWN = (
    "the output of a timestep that is masked before any other is the first state: one linear unit "
    "without bias, all weights 1, first state 3, inputs [1, 1], mask [F, T] give [3, 4]"
)
OWN_FUNCTION = "pass a function of your own as the activation, and name it when the model is loaded"
STATES_ARE_RIGHT = "do not use outputs of masked timesteps; the states are right"
NO_UNROLL = (
    "leave out unroll=True: it changes how the layer is computed, and should not change what"
)
TFJS = "TensorFlow.js"
NOT_SHOWN = "it is zeros, as on TensorFlow: no output is there yet to be repeated, [0, 4]"

KNOWN_DIFFERENCES = (
    KnownDifference(
        "zeroed-by-the-mask-as-given",
        {
            "go_backwards": (True,),
            "unroll": (True,),
            "zero_output_for_mask": (True,),
            "mask": A_MASK,
        },
        keras="2.15 to 3.15",
        wrong="unrolled, the inputs are taken last to first, but the outputs are zeroed by the "
        "mask in the order in which it was given: one linear unit without bias, all weights 1, "
        "inputs [1, 1, 1], mask [T, T, F] give [0, 1, 0]",
        right="the mask belongs to the inputs and is reversed with them: [0, 1, 2], which the same "
        "layer gives without unroll",
        marks=zeroed_by_the_mask_as_given,
        beside=("dtype", "recurrent_activation"),
        also=("inconclusive",),
        made_right=zeroed_where_due,
        remedy=NO_UNROLL,
    ),
    KnownDifference(
        "sparsemax-threshold",
        {"activation": ("sparsemax",)},
        keras="3.15 (keras issue 23425)",
        wrong="the threshold tau is taken from the sum of all cumulative sums of the support: "
        "sparsemax([1, 1]) gives [0, 0]",
        right="tau is taken from the last of them, (1 + 1 - 1) / 2 = 1/2, so that the outputs sum "
        "to 1: [0.5, 0.5] (Martins and Astudillo 2016, arXiv:1602.02068)",
        marks=sums_all_cumulative_sums,
        beside=OF_THE_RECURRENCE,
        also=("inconclusive",),
        against=(None, *OTHER_BACKENDS, "onnx", "litert"),
        made_right=summing_all_sums,
        remedy=OWN_FUNCTION,
    ),
    KnownDifference(
        "float32-constants-in-float64",
        {"activation": ("leaky_relu", "gelu"), "dtype": ("float64",)},
        keras="2.15 to 3.15",
        wrong="constants are rounded to float32 first: leaky_relu(-1) gives -0.20000000298, with "
        "the slope float32(0.2); gelu is off by 5e-9, with float32(sqrt(2)), in TensorFlow 2.21 "
        "with float32(1 / sqrt(2))",
        right="-0.2, and gelu(z) = z (1 + erf(z / sqrt(2))) / 2, to the 16 digits of float64",
        marks=computes(FLOAT32_CONSTANTS),
        beside=OF_THE_RECURRENCE,
        made_right=computing(FLOAT32_CONSTANTS),
        remedy=f"where the last digits matter, {OWN_FUNCTION}",
    ),
    KnownDifference(
        "squareplus-squares-in-float16",
        {"activation": ("squareplus",), "dtype": ("float16", "mixed_float16")},
        keras="3.15",
        wrong="the argument is squared in float16, whose largest number is 65504: squareplus(256) "
        "is infinity",
        right="(256 + sqrt(256^2 + 4)) / 2 = 256.004, which float16 holds as 256",
        marks=squared_in_float16,
        beside=OF_THE_RECURRENCE,
        made_right=squaring_in_float16,
        remedy="use mixed_bfloat16, which has float32's range, or keep the arguments below 255",
    ),
    KnownDifference(
        "unrolled-last-output-is-not-zeroed",
        {
            "return_sequences": (False,),
            "unroll": (True,),
            "zero_output_for_mask": (True,),
            "mask": A_MASK,
        },
        keras="2.15",
        wrong="unrolled, only the last output is kept, and the mask of all timesteps is applied to "
        "it: the call fails because their shapes differ",
        right="the last timestep's mask belongs to the last output, as without unroll",
        message="is not compatible with supplied shape",
    ),
    KnownDifference(
        "sparsemax-of-float16-in-a-graph",
        {
            "activation": ("sparsemax",),
            "dtype": ("mixed_float16", "float16"),
            "mode": ("graph", "xla", "predict"),
        },
        keras="3.15",
        wrong="the numbers 1, 2, ... are made by tf.range in float16, which TensorFlow refuses in "
        "a graph: tf.function(lambda: tf.range(1, 3, dtype=tf.float16))() fails, eagerly it works",
        right="they can be made as integers and cast, so that a graph does what eager calls do",
        message="Range[Tidx=DT_HALF]",
    ),
    KnownDifference(
        "bidirectional-zeroed-by-the-mask-as-given",
        {"wrapper": ("bidirectional",), "unroll": (True,), "mask": A_MASK},
        keras="2.15 to 3.15",
        wrong="the backward layer runs backwards with zero_output_for_mask and is zeroed by the "
        "mask in the order in which it was given: one linear unit without bias, all weights 1, "
        "inputs [1, 1, 1], mask [T, T, F] give [0, 1, 0] in place of the backward outputs",
        right="the mask is reversed with the inputs: [2, 1, 0], which the same layer gives without "
        "unroll",
        marks=zeroed_by_the_mask_as_given,
        beside=("dtype", "recurrent_activation"),
        also=("inconclusive",),
        made_right=zeroed_where_due,
        remedy=NO_UNROLL,
    ),
    KnownDifference(
        "mask-of-a-stack-of-one-cell",
        {"wrapper": ("stacked",), "mask": A_MASK},
        keras="3.15",
        wrong="the state of a stack of one cell is a list of one, the masked loop carries a tuple, "
        "and the call fails: RNN([SimpleRNNCell(1)]) with a mask",
        right="what RNN(SimpleRNNCell(1)) gives, and Keras 2 for the stack",
        message="don't have the same nested structure",
    ),
    KnownDifference(
        "unrolled-stack-of-one-lstm",
        {"wrapper": ("stacked",), "unroll": (True,)},
        layers=("lstm",),
        keras="3.15",
        wrong="unrolled, a stack of one LSTMCell is given only the first of its two states: "
        "RNN([LSTMCell(1)], unroll=True)",
        right="what the same layer gives without unroll",
        message="list index out of range",
    ),
    KnownDifference(
        "states-of-a-stateful-bidirectional",
        {"wrapper": ("bidirectional",), "stateful": (True,), "return_state": (True,)},
        keras="3.15",
        wrong="the shapes of the states are made by a generator, which is multiplied by the number "
        "of states: Bidirectional(SimpleRNN(1, stateful=True, return_state=True)) cannot be called",
        right="the output and the states of both layers, as in Keras 2",
        message="unsupported operand type(s) for *: 'generator' and 'int'",
        remedy="leave the states out, return_state=False (--arg return_state=False)",
    ),
    KnownDifference(
        "state-of-a-stateful-stack-in-a-graph",
        {
            "wrapper": ("stacked",),
            "stateful": (True,),
            "initial_state": ("random",),
            "mode": ("graph", "xla", "predict"),
        },
        keras="2.15",
        wrong="the stored states of a stack are a tuple and the given ones a list, and the choice "
        "between them cannot be made in a graph: RNN([SimpleRNNCell(1)], stateful=True) with "
        "initial_state in a tf.function",
        right="what the same call gives without tf.function, and what Keras 3 gives",
        message="true_fn and false_fn arguments to tf.cond must have the same",
    ),
    # On other backends than TensorFlow.
    KnownDifference(
        "float64-in-float32",
        {"dtype": ("float64",)},
        keras="3.15",
        wrong="64-bit types become 32-bit ones on every backend but TensorFlow: a linear unit with "
        "the weight 0.1 and the input 1 gives 0.10000000149011612",
        right="0.1, to the 16 digits of the float64 that the layer was asked for",
        bits=(22, 44),  # no more than float32's precision, and no less
        against=OTHER_BACKENDS,
        made_right=in_float32,
        remedy="use TensorFlow for float64, or do not rely on more than float32's 7 digits",
    ),
    KnownDifference(
        "unrolled-zeros-repeat-the-output",
        {"unroll": (True,), "zero_output_for_mask": (True,), "mask": A_MASK},
        keras="3.15",
        wrong="unrolled, zero_output_for_mask is ignored: one linear unit without bias, all "
        "weights 1, inputs [1, 1], mask [T, F] give [1, 1]",
        right="the output of a masked timestep is zeros: [1, 0], which the same layer gives "
        "without unroll",
        marks=repeated_where_zeros_are_due,
        against=STEP_BY_STEP,
        made_right=zeros_where_masked,
        remedy=NO_UNROLL,
    ),
    KnownDifference(
        "initial-state-in-place-of-zeros",
        {"mask": A_MASK, "initial_state": ("random",)},
        keras="3.15",
        wrong=SHOWN,
        right=NOT_SHOWN,
        marks=shows_the_first_state,
        against=STEP_BY_STEP,
        made_right=zeros_before_the_first,
        remedy=STATES_ARE_RIGHT,
    ),
    KnownDifference(
        "stored-state-in-place-of-zeros",
        {"mask": A_MASK, "calls": (2, 3), "stateful": (True,)},
        keras="3.15",
        wrong=f"{SHOWN}; so does the state that a stateful layer kept",
        right=NOT_SHOWN,
        marks=shows_the_first_state,
        against=STEP_BY_STEP,
        made_right=zeros_before_the_first,
        remedy=STATES_ARE_RIGHT,
    ),
    KnownDifference(
        "tfjs-shows-the-initial-state",
        {"mask": A_MASK, "initial_state": ("random",)},
        keras="4.22",
        program=TFJS,
        wrong=SHOWN,
        right=NOT_SHOWN,
        marks=shows_the_first_state,
        against=("tfjs",),
        made_right=zeros_before_the_first,
        remedy=STATES_ARE_RIGHT,
    ),
    KnownDifference(
        "tfjs-shows-the-stored-state",
        {"mask": A_MASK, "calls": (2, 3), "stateful": (True,)},
        keras="4.22",
        program=TFJS,
        wrong=f"{SHOWN}; so does the state that a stateful layer kept",
        right=NOT_SHOWN,
        marks=shows_the_first_state,
        against=("tfjs",),
        made_right=zeros_before_the_first,
        remedy=STATES_ARE_RIGHT,
    ),
    KnownDifference(
        "unrolled-backwards-mask-has-no-shape",
        {"unroll": (True,), "go_backwards": (True,), "mask": A_MASK},
        keras="3.15",
        wrong="unrolled, the mask is a tuple of timesteps by the time that it is reversed, and the "
        "call fails",
        right="the mask can be reversed as the inputs are, which works without unroll",
        message="'tuple' object has no attribute 'shape'",
        against=("keras:torch",),
    ),
    KnownDifference(
        "float64-and-float32-in-one-select",
        {"dtype": ("float64",), "mask": A_MASK},
        keras="3.15",
        wrong="a masked float64 layer chooses between new outputs in float32 and old ones in "
        "float64, which OpenVINO refuses",
        right="both have the layer's dtype, float64",
        message="'element::Type::merge(result_et",
        against=("keras:openvino",),
    ),
)
"""The readable table: known upstream differences, and calls that ought not to be refused."""


def known_difference(
    configuration: Configuration,
    outcome: Outcome,
    numbers: Numbers | None,
    against: str | None = None,
) -> KnownDifference | None:
    """The known difference that a smallest configuration shows, if it is one.

    `against` is who computed it, where that was not Keras on TensorFlow.
    """
    given = (configuration, outcome, numbers, against)
    return next((known for known in KNOWN_DIFFERENCES if known.matches(*given)), None)


def known_by_id(id: str | None) -> KnownDifference | None:
    """The known difference with this id, which a check has proven; None where there is none."""
    return next((known for known in KNOWN_DIFFERENCES if known.id == id), None)


def known_refusal(configuration: Configuration, message: str) -> KnownDifference | None:
    """The known difference for which Keras refuses a layer in these words; None where none is."""
    refused = (known for known in KNOWN_DIFFERENCES if known.message and known.message in message)
    return next((known for known in refused if known.concerns(configuration, None)), None)
