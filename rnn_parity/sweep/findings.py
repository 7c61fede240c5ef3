"""Where Keras is known to be wrong. Each was proven by hand, and a sweep recognises it.

A finding is one of these only if the same options matter and its numbers (or Keras's message) bear
the marks of this very mistake: anything else must not hide behind it.
"""

from __future__ import annotations

from rnn_parity.sweep.known import (
    A_MASK,
    EVERY_LAYER,
    OF_THE_RECURRENCE,
    OTHER_BACKENDS,
    Known,
)
from rnn_parity.sweep.known_elsewhere import KNOWN_ELSEWHERE
from rnn_parity.sweep.marks import (
    computes,
    gelu_by_float32_factor,
    gelu_by_float32_root,
    leaky_relu_by_float32,
    says,
    squared_in_float16,
    sums_all_cumulative_sums,
    zeroed_by_the_mask_as_given,
)
from rnn_parity.sweep.numbers import Numbers
from rnn_parity.sweep.space import Configuration
from rnn_parity.verdict.sweep_results import Outcome

KNOWN_HERE = (
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
        beside=("dtype", "recurrent_activation"),
        also=("inconclusive",),
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
        marks=sums_all_cumulative_sums,
        beside=OF_THE_RECURRENCE,
        also=("inconclusive",),
        against=(None, *OTHER_BACKENDS, "onnx", "litert"),
    ),
    Known(
        "float32-constants-in-float64",
        EVERY_LAYER,
        {"activation": ("leaky_relu", "gelu"), "dtype": ("float64",)},
        "diverged",
        keras="2.15 to 3.15",
        wrong="constants are rounded to float32 first: leaky_relu(-1) gives -0.20000000298, with "
        "the slope float32(0.2); gelu is off by 5e-9, with float32(sqrt(2)), in TensorFlow 2.21 "
        "with float32(1 / sqrt(2))",
        right="-0.2, and gelu(z) = z (1 + erf(z / sqrt(2))) / 2, to the 16 digits of float64",
        marks=computes(
            {
                "leaky_relu": (leaky_relu_by_float32,),
                "gelu": (gelu_by_float32_root, gelu_by_float32_factor),
            }
        ),
        beside=OF_THE_RECURRENCE,
    ),
    Known(
        "squareplus-squares-in-float16",
        EVERY_LAYER,
        {"activation": ("squareplus",), "dtype": ("float16", "mixed_float16")},
        "diverged",
        keras="3.15",
        wrong="the argument is squared in float16, whose largest number is 65504: squareplus(256) "
        "is infinity",
        right="(256 + sqrt(256^2 + 4)) / 2 = 256.004, which float16 holds as 256",
        marks=squared_in_float16,
        beside=OF_THE_RECURRENCE,
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
    Known(
        "bidirectional-zeroed-by-the-mask-as-given",
        EVERY_LAYER,
        {"wrapper": ("bidirectional",), "unroll": (True,), "mask": A_MASK},
        "diverged",
        keras="2.15 to 3.15",
        wrong="the backward layer runs backwards with zero_output_for_mask and is zeroed by the "
        "mask in the order in which it was given: one linear unit without bias, all weights 1, "
        "inputs [1, 1, 1], mask [T, T, F] give [0, 1, 0] in place of the backward outputs",
        right="the mask is reversed with the inputs: [2, 1, 0], which the same layer gives without "
        "unroll",
        marks=zeroed_by_the_mask_as_given,
        beside=("dtype", "recurrent_activation"),
        also=("inconclusive",),
    ),
    Known(
        "mask-of-a-stack-of-one-cell",
        EVERY_LAYER,
        {"wrapper": ("stacked",), "mask": A_MASK},
        "refused",
        keras="3.15",
        wrong="the state of a stack of one cell is a list of one, the masked loop carries a tuple, "
        "and the call fails: RNN([SimpleRNNCell(1)]) with a mask",
        right="what RNN(SimpleRNNCell(1)) gives, and Keras 2 for the stack",
        marks=says("don't have the same nested structure"),
    ),
    Known(
        "unrolled-stack-of-one-lstm",
        ("lstm",),
        {"wrapper": ("stacked",), "unroll": (True,)},
        "refused",
        keras="3.15",
        wrong="unrolled, a stack of one LSTMCell is given only the first of its two states: "
        "RNN([LSTMCell(1)], unroll=True)",
        right="what the same layer gives without unroll",
        marks=says("list index out of range"),
    ),
    Known(
        "states-of-a-stateful-bidirectional",
        EVERY_LAYER,
        {"wrapper": ("bidirectional",), "stateful": (True,), "return_state": (True,)},
        "refused",
        keras="3.15",
        wrong="the shapes of the states are made by a generator, which is multiplied by the number "
        "of states: Bidirectional(SimpleRNN(1, stateful=True, return_state=True)) cannot be called",
        right="the output and the states of both layers, as in Keras 2",
        marks=says("unsupported operand type(s) for *: 'generator' and 'int'"),
    ),
    Known(
        "state-of-a-stateful-stack-in-a-graph",
        EVERY_LAYER,
        {
            "wrapper": ("stacked",),
            "stateful": (True,),
            "initial_state": ("random",),
            "mode": ("graph", "xla", "predict"),
        },
        "refused",
        keras="2.15",
        wrong="the stored states of a stack are a tuple and the given ones a list, and the choice "
        "between them cannot be made in a graph: RNN([SimpleRNNCell(1)], stateful=True) with "
        "initial_state in a tf.function",
        right="what the same call gives without tf.function, and what Keras 3 gives",
        marks=says("true_fn and false_fn arguments to tf.cond must have the same"),
    ),
)
"""The readable table: known upstream divergences, and calls that ought not to be refused."""

KNOWN = (*KNOWN_HERE, *KNOWN_ELSEWHERE)


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
