"""Record the cases in fixtures/ with the TensorFlow that is installed.

Run once for each release whose numbers are to be kept. `cases/` holds what every release computes
alike, in a folder named after Keras's version; `changed/` what another generation of Keras does
not.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from rnn_parity.cases import versions_now
from rnn_parity.generate import GeneratedLayer
from rnn_parity.recheck import record_generated

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


CHANGED = {
    "hard_sigmoid": GeneratedLayer(**SMALL, arguments={"activation": "hard_sigmoid"}),
}


def main() -> int:
    version = f"keras-{versions_now()['keras']}"
    fixtures = Path(__file__).parents[1] / "fixtures"
    paths = {fixtures / "cases" / version / name: spec for name, spec in SPECS.items()}
    paths |= {fixtures / "changed" / f"{name}-{version}": s for name, s in CHANGED.items()}
    failures = 0
    for path, spec in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = replace(spec, arguments={**spec.arguments, "name": path.name.split("-keras")[0]})
        report = record_generated(spec, f"{path}.npz")
        failures += not report
        print(path.name, report.render(quiet=True))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
