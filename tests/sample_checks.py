"""Hand-made checks for the tests of what a report says; no number here was computed."""

import math

from rnn_parity.verdict.results import (
    Cause,
    Check,
    Divergence,
    Shape,
    StateRow,
    Subject,
    TimestepRow,
)

TOOL = "1.2.3"
ENVIRONMENT = {
    "python": "3.11.7",
    "numpy": "2.4.6",
    "tensorflow": "2.21.0",
    "keras": None,
    "platform": "Linux",
    "device": "cpu",
}


def row(t: int, ratio: float = 0.296, **changes: object) -> TimestepRow:
    values = {"max_deviation": 1.25e-7, "max_ulp": 2, "max_residual": 1.19e-7, "batch": 3}
    values["bound"] = 4.02e-7
    return TimestepRow(timestep=t, max_ratio=ratio, unit=1, **{**values, **changes})


PARITY = Check(
    Subject("generated", None, "SimpleRNN", "simple_rnn", {"units": 4}, "graph"),
    "parity",
    "every step is within rounding",
    shape=Shape(32, 2, 3, 4),
    dtype="float32",
    arithmetic="float32",
    effective_bits=25.76,
    max_deviation=1.25e-7,
    max_ratio=0.296,
    timesteps=(row(0, 0.0, max_deviation=0.0, max_ulp=0, max_residual=0.0), row(1)),
    final_state=(StateRow("h", 0.0, 0, 0.0, 0, 0),),
)
DIVERGED = Check(
    Subject("model", "net.keras", "SimpleRNN", "encoder", {}, "xla"),
    "diverged",
    "a step is 12300 times as far off as rounding can explain",
    shape=Shape(1, 1, 1, 1),
    dtype="float32",
    arithmetic="float32",
    effective_bits=10.4,
    max_deviation=0.5,
    max_ratio=12345.0,
    timesteps=(row(0, 12345.0, max_deviation=0.5, max_ulp=8388608, max_residual=0.5),),
    final_state=(StateRow("h", 0.0, 0, 0.0, 0, 0),),
    first_divergence=Divergence(0, 3, 1, 0.25, 0.75, 4.05e-5),
    causes=(
        Cause("bias-dropped", "the bias was not added", 27.54, "add the bias to every step"),
        Cause(
            "kernel-transposed",
            "the kernel was transposed, which for these sizes fits",
            None,
            "multiply x @ kernel, the kernel stored as (features, units)",
        ),
    ),
)
NOT_COMPARED = Check(
    Subject("model", "net.keras", "LSTM", "decoder", {}, "xla"),
    "inconclusive",
    "not compared: LSTM is not replayed yet",
)
INCONCLUSIVE = Check(
    Subject(layer_class="SimpleRNN"),
    "inconclusive",
    "the bound is vacuous in float16",
    shape=Shape(1, 1, 5000, 1),
    dtype="float16",
    arithmetic="float16 sums",
    max_deviation=math.nan,
    max_ratio=math.inf,
    timesteps=(row(0, math.nan, max_deviation=math.inf, max_ulp=2**63 - 1, max_residual=math.nan),),
    notes=("the bound of the custom activation square is estimated, not proven",),
)
SUSPECT = Check(
    Subject(layer_class="SimpleRNN", layer_name="s"), "suspect", "one weight differs", max_ratio=0.1
)
