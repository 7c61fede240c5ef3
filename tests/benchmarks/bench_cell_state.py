"""How the radius of an LSTM's c grows with the timesteps, with and without what the outputs tell.

`bench_cell_state.py` prints, for a float32 LSTM whose forget gate is open to 1e-6, the
largest radius of c after the last timestep beside its value, and the CPU time of the bounds.
"""

from __future__ import annotations

import time

import numpy as np
from tabulate import tabulate
from test_hidden_states import float32_run, open_lstm

from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.cells import LSTM
from rnn_parity.recurrence.sequences import Sequences


def bounded(layer: LSTM, x: np.ndarray, outputs: np.ndarray, seen: bool) -> tuple[float, float]:
    """The largest relative radius of the final c, and the seconds of CPU time."""
    sequences, start = Sequences.of(layer, x), time.process_time()
    steps = Steps(layer, arithmetics(layer.precision)[0], sequences)
    for block, observed in observed_steps(layer, sequences, outputs):
        if seen:
            steps.observed(block, observed)
        else:
            steps.outputs(block, Ball.exact(observed.states[:-1], steps.arithmetic))
    (c,) = steps.hidden
    return float((c.radius / np.abs(c.value)).max()), time.process_time() - start


def main() -> None:
    layer, rows = open_lstm(), []
    for timesteps in (2_000, 20_000, 200_000):
        x = np.random.default_rng(1).normal(size=(1, timesteps, 3)).astype(np.float32)
        outputs, _, _ = float32_run(layer, x, fused=True)
        (without, plain), (told, looked) = (bounded(layer, x, outputs, s) for s in (False, True))
        rows.append((timesteps, without, told, f"{looked / plain:.2f}"))
    headers = ("timesteps", "radius / c, carried", "with the outputs", "CPU time, ratio")
    print(tabulate(rows, headers, floatfmt=".2e"))


if __name__ == "__main__":
    main()
