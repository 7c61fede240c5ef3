"""Where Keras is known to be wrong. Each was proven by hand, and a sweep recognises it.

A finding is one of these only if exactly the same options matter and its numbers (or Keras's
message) bear the marks of this very mistake: anything else must not hide behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnn_parity.sweep.marks import (
    Marks,
    accurate_to_float32,
    repeated_where_zeros_are_due,
    says,
    shows_the_first_state,
    sums_of_sums,
    zeroed_by_the_mask_as_given,
)
from rnn_parity.sweep.numbers import Numbers
from rnn_parity.sweep.one import Outcome, Status
from rnn_parity.sweep.space import Configuration, Space

EVERY_LAYER = ("simple_rnn", "lstm", "gru")
A_MASK = ("right", "left", "random")
OTHER_BACKENDS = ("keras:jax", "keras:torch", "keras:numpy", "keras:openvino")
STEP_BY_STEP = ("keras:jax", "keras:numpy")
"""The backends whose `rnn` is written as JAX's."""
SHOWN = (
    "the output of a timestep that is masked before any other is the first state: one linear unit "
    "without bias, all weights 1, first state 3, inputs [1, 1], mask [F, T] give [3, 4]"
)
NOT_SHOWN = "it is zeros, as on TensorFlow: no output is there yet to be repeated, [0, 4]"


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
        against=(None, *OTHER_BACKENDS, "onnx", "litert"),
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
    Known(
        "float64-in-float32",
        EVERY_LAYER,
        {"dtype": ("float64",)},
        "diverged",
        keras="3.15",
        wrong="64-bit types become 32-bit ones on every backend but TensorFlow: a linear unit with "
        "the weight 0.1 and the input 1 gives 0.10000000149011612",
        right="0.1, to the 16 digits of the float64 that the layer was asked for",
        marks=accurate_to_float32,
        against=OTHER_BACKENDS,
    ),
    Known(
        "unrolled-zeros-repeat-the-output",
        EVERY_LAYER,
        {"unroll": (True,), "zero_output_for_mask": (True,), "mask": A_MASK},
        "diverged",
        keras="3.15",
        wrong="unrolled, zero_output_for_mask is ignored: one linear unit without bias, all "
        "weights 1, inputs [1, 1], mask [T, F] give [1, 1]",
        right="the output of a masked timestep is zeros: [1, 0], which the same layer gives "
        "without unroll",
        marks=repeated_where_zeros_are_due,
        against=STEP_BY_STEP,
    ),
    Known(
        "initial-state-in-place-of-zeros",
        EVERY_LAYER,
        {"mask": A_MASK, "initial_state": ("random",)},
        "diverged",
        keras="3.15",
        wrong=SHOWN,
        right=NOT_SHOWN,
        marks=shows_the_first_state,
        against=STEP_BY_STEP,
    ),
    Known(
        "stored-state-in-place-of-zeros",
        EVERY_LAYER,
        {"mask": A_MASK, "calls": (2, 3), "stateful": (True,)},
        "diverged",
        keras="3.15",
        wrong=f"{SHOWN}; so does the state that a stateful layer kept",
        right=NOT_SHOWN,
        marks=shows_the_first_state,
        against=STEP_BY_STEP,
    ),
    Known(
        "unrolled-backwards-mask-has-no-shape",
        EVERY_LAYER,
        {"unroll": (True,), "go_backwards": (True,), "mask": A_MASK},
        "refused",
        keras="3.15",
        wrong="unrolled, the mask is a tuple of timesteps by the time that it is reversed, and the "
        "call fails",
        right="the mask can be reversed as the inputs are, which works without unroll",
        marks=says("'tuple' object has no attribute 'shape'"),
        against=("keras:torch",),
    ),
    Known(
        "float64-and-float32-in-one-select",
        EVERY_LAYER,
        {"dtype": ("float64",), "mask": A_MASK},
        "refused",
        keras="3.15",
        wrong="a masked float64 layer chooses between new outputs in float32 and old ones in "
        "float64, which OpenVINO refuses",
        right="both have the layer's dtype, float64",
        marks=says("'element::Type::merge(result_et"),
        against=("keras:openvino",),
    ),
)
"""The readable table: known upstream divergences, and calls that ought not to be refused."""
