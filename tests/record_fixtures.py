"""Record the cases in fixtures/ with the TensorFlow that is installed.

Run once for each release whose numbers are to be kept. `cases/` holds what every release computes
alike, in a folder named after Keras's version; `changed/` what another generation of Keras does
not. With a pattern, such as "lstm*", only the cases whose names fit it are recorded.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.recorded import record_generated
from rnn_parity.cases.case import versions_now
from rnn_parity.keras_adapter import seed_masks

SMALL = {"batch": 3, "timesteps": 7, "features": 5, "units": 4}
NOTEBOOK = GeneratedLayer(batch=4)  # the notebook's sizes, but for the batch
SPECS = {
    "notebook": NOTEBOOK,
    "backwards": GeneratedLayer(**SMALL, arguments={"go_backwards": True}),
    "mask-right": GeneratedLayer(**SMALL, mask="right"),
    "mask-left": GeneratedLayer(**SMALL, mask="left", initial_state="random"),
    "mask-zeros": GeneratedLayer(**SMALL, mask="random", arguments={"zero_output_for_mask": True}),
    "mask-backwards": GeneratedLayer(**SMALL, mask="right", arguments={"go_backwards": True}),
    "stateful": GeneratedLayer(**SMALL, arguments={"stateful": True}, calls=2),
    "initial-state": GeneratedLayer(**SMALL, initial_state="random"),
    "no-bias": GeneratedLayer(**SMALL, arguments={"use_bias": False}),
    "unrolled": GeneratedLayer(**SMALL, arguments={"unroll": True}),
    "last-output": GeneratedLayer(
        **SMALL, arguments={"return_sequences": False, "return_state": False}
    ),
    **{
        name: GeneratedLayer(**SMALL, arguments={"activation": name})
        for name in ("relu", "sigmoid", "elu", "gelu", "softsign", "softmax")
    },
    **{
        name: GeneratedLayer(**SMALL, dtype=name)
        for name in ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")
    },
}

for kind in ("lstm", "gru"):
    gated = {"layer": kind, **SMALL}
    SPECS |= {
        f"{kind}-plain": GeneratedLayer(**gated),
        f"{kind}-backwards": GeneratedLayer(**gated, arguments={"go_backwards": True}),
        f"{kind}-mask-right": GeneratedLayer(**gated, mask="right"),
        f"{kind}-mask-left": GeneratedLayer(**gated, mask="left", initial_state="random"),
        f"{kind}-mask-zeros-backwards": GeneratedLayer(
            **gated, mask="random", arguments={"zero_output_for_mask": True, "go_backwards": True}
        ),
        f"{kind}-stateful": GeneratedLayer(
            **gated, mask="random", initial_state="random", arguments={"stateful": True}, calls=2
        ),
        f"{kind}-last-output": GeneratedLayer(
            **gated,
            initial_state="random",
            arguments={"return_sequences": False, "return_state": False, "use_bias": False},
        ),
        f"{kind}-activations": GeneratedLayer(
            **gated, arguments={"activation": "relu", "recurrent_activation": "softsign"}
        ),
        f"{kind}-unrolled": GeneratedLayer(**gated, arguments={"unroll": True}),
        **{
            f"{kind}-{name}": GeneratedLayer(**gated, dtype=name, initial_state="random")
            for name in ("float64", "mixed_float16", "mixed_bfloat16")
        },
    }
SPECS |= {
    f"gru-reset-before-{name}": GeneratedLayer(
        "gru",
        **SMALL,
        mask="random",
        initial_state="random",
        arguments={"reset_after": False},
        dtype=name,
    )
    for name in ("float32", "float16")
}

# Unrolled, since Keras 2 draws other masks in every step of a graph's loop.
for kind, rates in {
    "simple_rnn": ("dropout", "recurrent_dropout"),
    "lstm": ("dropout", "recurrent_dropout"),
    "gru": ("dropout", "recurrent_dropout"),
    "lstm-inputs": ("dropout",),
    "gru-state": ("recurrent_dropout",),
}.items():
    SPECS[f"{kind}-dropout"] = GeneratedLayer(
        kind.partition("-")[0],
        **SMALL,
        initial_state="random",
        arguments={**dict.fromkeys(rates, 0.3), "unroll": True},
    )

CHANGED = {
    "hard_sigmoid": GeneratedLayer(**SMALL, arguments={"activation": "hard_sigmoid"}),
    "lstm_hard_sigmoid": GeneratedLayer(
        "lstm", **SMALL, arguments={"recurrent_activation": "hard_sigmoid"}
    ),
}


def main(pattern: str = "*") -> int:
    version = f"keras-{versions_now()['keras']}"
    fixtures = Path(__file__).parents[1] / "fixtures"
    paths = {fixtures / "cases" / version / name: spec for name, spec in SPECS.items()}
    paths |= {fixtures / "changed" / f"{name}-{version}": s for name, s in CHANGED.items()}
    failures = 0
    seed_masks(0)
    for path, spec in paths.items():
        if not fnmatch(path.name, pattern):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = replace(spec, arguments={**spec.arguments, "name": path.name.split("-keras")[0]})
        in_training = path.name.endswith("-dropout")
        # What diverges is recorded, too: the exit code says so.
        report = record_generated(spec, f"{path}.npz", training=in_training, diverged=True)
        failures += not report
        print(path.name, report.render(quiet=True))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
