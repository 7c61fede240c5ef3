"""Where Keras is known to be wrong. Each was proven by hand, and a sweep recognises it.

A finding is one of these only if exactly the same options matter and its numbers (or Keras's
message) bear the marks of this very mistake: anything else must not hide behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_parity.activations import custom
from rnn_parity.layers import LAYERS
from rnn_parity.replay import replay
from rnn_parity.sequences import Sequences
from rnn_parity.sweep.numbers import Array, Numbers
from rnn_parity.sweep.one import Outcome, Status
from rnn_parity.sweep.space import CLASSES, Configuration, Space

Marks = Callable[[Configuration, Outcome, Numbers | None], bool]

EVERY_LAYER = ("simple_rnn", "lstm", "gru")
A_MASK = ("right", "left", "random")


@dataclass(frozen=True)
class Known:
    """One mistake of Keras's: the options that matter, what is wrong and what would be right."""

    id: str
    layers: tuple[str, ...]
    options: Space
    verdict: Status
    keras: str
    """The versions in which it was seen."""
    wrong: str
    right: str
    marks: Marks

    against: tuple[str | None, ...] = (None,)
    """Who makes the mistake: None is Keras on TensorFlow, others are named as sources are."""

    def matches(
        self,
        configuration: Configuration,
        outcome: Outcome,
        numbers: Numbers | None,
        against: str | None,
    ) -> bool:
        """Whether a smallest configuration shows this mistake and nothing else."""
        changed = configuration.changed
        return (
            configuration.layer in self.layers
            and against in self.against
            and changed.keys() == self.options.keys()
            and all(changed[name] in values for name, values in self.options.items())
            and outcome.verdict == self.verdict
            and self.marks(configuration, outcome, numbers)
        )


def known_as(
    configuration: Configuration,
    outcome: Outcome,
    numbers: Numbers | None,
    against: str | None = None,
) -> Known | None:
    """The known mistake that a smallest configuration shows, if it is one.

    `against` is who computed it, where that was not Keras on TensorFlow.
    """
    matching = (k for k in KNOWN if k.matches(configuration, outcome, numbers, against))
    return next(matching, None)


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


def sums_of_sums(configuration: Configuration, outcome: Outcome, numbers: Numbers | None) -> bool:
    """The outputs are those of a layer whose sparsemax is Keras 3.15's."""
    if numbers is None:
        return False
    weights = (numbers.kernel, numbers.recurrent_kernel, numbers.bias)
    kind: Any = LAYERS[CLASSES[configuration.layer]]
    wrong = kind(*weights, activation=custom(keras_3_15_sparsemax))
    first = numbers.calls[0]
    outputs = replay(wrong, Sequences.of(wrong, first.inputs, None, None)).outputs
    off = np.abs(first.outputs - outputs).max()
    # The last digits are float32's, or those of 16 bits.
    return bool(off < 0.01 * np.abs(first.outputs - first.expected).max())


def keras_3_15_sparsemax(z: Array) -> Array:
    """Keras 3.15's own formula, in which the sums of the k largest are summed once more."""
    largest = -np.sort(-z, axis=-1)
    sums, k = np.cumsum(largest, axis=-1), np.arange(1, z.shape[-1] + 1)
    support = largest - (sums - 1) / k > 0
    total = np.where(support, sums, 0.0).sum(axis=-1, keepdims=True)
    result: Array = np.maximum(z - (total - 1) / support.sum(axis=-1, keepdims=True), 0.0)
    return result


def accurate_to_float32(
    configuration: Configuration, outcome: Outcome, numbers: Numbers | None
) -> bool:
    """A float64 layer with no more than float32's precision, and no less."""
    return outcome.effective_bits is not None and 22 < outcome.effective_bits < 44


def says(words: str) -> Marks:
    """Keras's message has these words."""
    return lambda configuration, outcome, numbers: words in outcome.summary


KNOWN = (
    Known(
        "zeroed-by-the-mask-as-given",
        EVERY_LAYER,
        {
            "go_backwards": (True,),
            "unroll": (True,),
            "zero_output_for_mask": (True,),
            "mask": A_MASK,
        },
        "diverged",
        keras="2.15 to 3.15",
        wrong="unrolled, the inputs are taken last to first, but the outputs are zeroed by the "
        "mask in the order in which it was given: one linear unit without bias, all weights 1, "
        "inputs [1, 1, 1], mask [T, T, F] give [0, 1, 0]",
        right="the mask belongs to the inputs and is reversed with them: [0, 1, 2], which the same "
        "layer gives without unroll",
        marks=zeroed_by_the_mask_as_given,
    ),
    Known(
        "sparsemax-threshold",
        EVERY_LAYER,
        {"activation": ("sparsemax",)},
        "diverged",
        keras="3.15 (keras issue 23425)",
        wrong="the threshold tau is taken from the sum of all cumulative sums of the support: "
        "sparsemax([1, 1]) gives [0, 0]",
        right="tau is taken from the last of them, (1 + 1 - 1) / 2 = 1/2, so that the outputs sum "
        "to 1: [0.5, 0.5] (Martins and Astudillo 2016, arXiv:1602.02068)",
        marks=sums_of_sums,
    ),
    Known(
        "float32-constants-in-float64",
        EVERY_LAYER,
        {"activation": ("leaky_relu", "gelu"), "dtype": ("float64",)},
        "diverged",
        keras="2.15 to 3.15",
        wrong="constants are rounded to float32 first: leaky_relu(-1) gives -0.20000000298, with "
        "the slope float32(0.2); gelu is off by 5e-9, with float32(sqrt(2))",
        right="-0.2, and gelu(z) = z (1 + erf(z / sqrt(2))) / 2, to the 16 digits of float64",
        marks=accurate_to_float32,
    ),
    Known(
        "unrolled-last-output-is-not-zeroed",
        EVERY_LAYER,
        {
            "return_sequences": (False,),
            "unroll": (True,),
            "zero_output_for_mask": (True,),
            "mask": A_MASK,
        },
        "refused",
        keras="2.15",
        wrong="unrolled, only the last output is kept, and the mask of all timesteps is applied to "
        "it: the call fails because their shapes differ",
        right="the last timestep's mask belongs to the last output, as without unroll",
        marks=says("is not compatible with supplied shape"),
    ),
    Known(
        "sparsemax-of-float16-in-a-graph",
        EVERY_LAYER,
        {
            "activation": ("sparsemax",),
            "dtype": ("mixed_float16", "float16"),
            "mode": ("graph", "xla", "predict"),
        },
        "refused",
        keras="3.15",
        wrong="the numbers 1, 2, ... are made by tf.range in float16, which TensorFlow refuses in "
        "a graph: tf.function(lambda: tf.range(1, 3, dtype=tf.float16))() fails, eagerly it works",
        right="they can be made as integers and cast, so that a graph does what eager calls do",
        marks=says("Range[Tidx=DT_HALF]"),
    ),
)
"""The readable table: known upstream divergences, and calls that ought not to be refused."""
