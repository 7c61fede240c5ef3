"""Where Keras is known to be wrong on other backends than TensorFlow. Each was proven by hand."""

from __future__ import annotations

from rnn_parity.sweep.known import A_MASK, EVERY_LAYER, OTHER_BACKENDS, Known
from rnn_parity.sweep.marks import (
    accurate_to_float32,
    repeated_where_zeros_are_due,
    says,
    shows_the_first_state,
)

STEP_BY_STEP = ("keras:jax", "keras:numpy")
"""The backends whose `rnn` is written as JAX's."""
SHOWN = (
    "the output of a timestep that is masked before any other is the first state: one linear unit "
    "without bias, all weights 1, first state 3, inputs [1, 1], mask [F, T] give [3, 4]"
)
NOT_SHOWN = "it is zeros, as on TensorFlow: no output is there yet to be repeated, [0, 4]"

KNOWN_ELSEWHERE = (
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
