"""LSTM and GRU on a GPU, where Keras hands them to cuDNN's fused kernel: `tests/gpu.py`.

Every combination of layer, mode, mask, direction and dtype is checked, float32 with and without
TF32, and a table says which kernel ran, the verdict and the effective bits. Options select a part
of it; `--minutes` ends it early and says what did not run. It needs a TensorFlow that sees the GPU:
`pip install -e . tensorflow[and-cuda]`. Without a GPU it says so, and checks Keras's own loops.

The exit code is 0 where all is in parity but what TF32 computes, which is expected to have fewer
bits; 1 where something else is not, or nothing ran.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tabulate import tabulate

from rnn_parity.api.functions import check_generated
from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.errors import RnnParityError
from rnn_parity.keras_adapter import device, tensorflow_module
from rnn_parity.verdict.results import Check

CHOICES = {
    "layer": ("lstm", "gru"),
    "mode": ("eager", "graph", "predict"),
    "mask": ("none", "right", "left", "random"),
    "direction": ("forwards", "backwards"),
    "dtype": ("float32", "float32 with TF32", "mixed_float16", "float16"),
}
"""All combinations: the fused kernel takes no mask, or padding on the right."""
SIZES = {"batch": 16, "timesteps": 40, "features": 32, "units": 64}
MINUTES = 8.0
TF32 = " with TF32"
HEADERS = ("layer", "mode", "mask", "direction", "dtype", "kernel", "verdict", "bits", "cause")


@dataclass(frozen=True)
class Row:
    """One check: its options, the kernel that ran, and what came of it."""

    options: tuple[str, ...]
    kernel: str = "-"
    verdict: str = "-"
    bits: float | None = None
    causes: Sequence[str] = field(default_factory=tuple)

    @property
    def expected(self) -> bool:
        """Whether it is in parity, or computed in TF32."""
        return self.verdict == "parity" or self.options[-1].endswith(TF32)

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table shows."""
        bits = "-" if self.bits is None else f"{self.bits:.1f}"
        return *self.options, self.kernel, self.verdict, bits, ", ".join(self.causes)


def checked(options: tuple[str, ...]) -> Row:
    """One combination, run and held against its replay."""
    layer, mode, mask, direction, dtype = options
    tensorflow_module().config.experimental.enable_tensor_float_32_execution(dtype.endswith(TF32))
    arguments = {"go_backwards": direction == "backwards"}
    spec = GeneratedLayer(
        layer, dtype=dtype.removesuffix(TF32), mask=mask, arguments=arguments, **SIZES
    )
    try:
        (check,) = check_generated(spec, mode=mode).checks
    except RnnParityError as error:
        return Row(options, verdict="refused", causes=(str(error),))
    return row_of(options, check)


def row_of(options: tuple[str, ...], check: Check) -> Row:
    """What the table says of a check."""
    causes = tuple(cause.fault for cause in check.causes)
    return Row(options, check.subject.kernel or "-", check.verdict, check.effective_bits, causes)


def rows(chosen: Sequence[Sequence[str]], minutes: float) -> Iterator[Row]:
    """All combinations, as far as time allows; those that did not run have no verdict."""
    end = time.monotonic() + 60 * minutes
    for options in itertools.product(*chosen):
        yield checked(options) if time.monotonic() < end else Row(options, verdict="not run")


def main() -> int:
    """Print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, values in CHOICES.items():
        parser.add_argument(f"--{name}", choices=values, action="append", help="only this")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="stop after so many")
    parser.add_argument("--json", type=Path, help="also write all numbers there")
    given = vars(parser.parse_args())
    where = device()
    print(f"TensorFlow {tensorflow_module().__version__} on: {where}")
    if where == "cpu":
        print("no GPU: these are Keras's own loops, and nothing is said of cuDNN")
    found = list(
        rows([given[name] or values for name, values in CHOICES.items()], given["minutes"])
    )
    print(tabulate([row.cells for row in found], HEADERS, disable_numparse=True))
    left = sum(row.verdict == "not run" for row in found)
    wrong = [row for row in found if not row.expected and row.verdict != "not run"]
    print(f"{len(found) - left} of {len(found)} ran, {len(wrong)} are not as expected")
    if given["json"]:
        report = {"device": where, "rows": [asdict(row) for row in found]}
        given["json"].write_text(json.dumps(report, indent=1))
    return 1 if wrong or left == len(found) else 0


if __name__ == "__main__":
    sys.exit(main())
