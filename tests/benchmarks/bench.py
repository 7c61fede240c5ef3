"""Speed and memory, side by side in one run: `bench.py [--json FILE] [--quick]`.

`--layer NAME` times one layer class alone.

Every contender of a shape takes its turn in each round, so that a machine whose speed drifts
changes all of them alike; the median of each is compared. Ratios are what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from bench_contenders import Problem, contenders, problem
from hand_case import make
from helpers import loop, random_weights
from tabulate import tabulate

from rnn_parity.cases.case import write_case

KINDS = ["SimpleRNN", "LSTM", "GRU"]
SHAPES = [(32, 28, 32, 16), (64, 512, 128, 256), (1, 10_000, 64, 128), (16, 100, 512, 512)]
ROUNDS = 7
BUDGET = 20.0
"""Seconds after which no further round of a shape is begun (each contender has run twice)."""
LENGTHS = [2_000, 20_000, 200_000]

# (what, over what, at most, on which shapes)
GOALS = [
    ("rnn-parity: compare", "Keras, tf.function", {0: 1.0, 1: 2.5, 2: 1.0, 3: 2.5}),
    ("rnn-parity: compare", "Keras, eager", {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}),
    ("rnn-parity: compare", "notebook's loop, on variables", {0: 1 / 3}),
    ("rnn-parity: replay", "notebook's loop, on variables", {0: 0.5, 1: 2.5, 2: 0.5, 3: 2.5}),
    ("rnn-parity: replay", "notebook's loop, on arrays", {0: 0.5, 1: 2.5, 2: 0.5, 3: 2.5}),
]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(named: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median time of each, after one run to warm up."""
    times: dict[str, list[float]] = {name: [] for name in named}
    slow = {name for name, work in named.items() if seconds(work) > BUDGET / 10}
    start = time.perf_counter()
    for i in range(rounds):
        for name, work in named.items():
            # A very slow one (the eager layer on 10,000 steps) has its turn twice only.
            if i < 2 or (name not in slow and time.perf_counter() - start < BUDGET):
                # Short work is repeated within its turn: timers and caches settle.
                repeats = max(1, min(20, int(0.02 / max(seconds(work), 1e-6))))
                times[name].append(min(seconds(work) for _ in range(repeats)))
    return {name: median(found) for name, found in times.items()}


def matrix_rate(dtype: str) -> float:
    """Measured operations per second of a large matrix product."""
    a = np.random.default_rng(0).random((2048, 2048)).astype(dtype)
    return 2 * 2048**3 / min(seconds(lambda: a @ a) for _ in range(5))


def speed(kind: str, rounds: int) -> dict[str, object]:
    rates = {dtype: matrix_rate(dtype) for dtype in ("float32", "float64")}
    results = {}
    for shape in SHAPES:
        p = problem(kind, shape)
        results[str(shape)] = {"flops": p.flops, "seconds": interleaved(contenders(p), rounds)}
        print_shape(p, results[str(shape)]["seconds"], rates)
    return {"rates": rates, "shapes": results, "goals": goals(kind, results)}


def print_shape(p: Problem, times: dict[str, float], rates: dict[str, float]) -> None:
    base = times["Keras, tf.function"]
    rows = [
        [
            name,
            f"{1e3 * t:.3f}",
            f"{t / base:.2f}",
            f"{100 * p.flops / t / rates['float32']:.0f}%",
            f"{100 * p.flops / t / rates['float64']:.0f}%",
        ]
        for name, t in times.items()
    ]
    headers = ["", "ms", "over tf.function", "of sgemm rate", "of dgemm rate"]
    print(f"\n{p.kind}, (batch, timesteps, features, units) = {p.shape}")
    print(tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 4)))


def goals(kind: str, results: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, object]]:
    """The ratios that were aimed at, with what was measured."""
    found = []
    for what, over, limits in GOALS:
        for i, limit in limits.items():
            times = results[str(SHAPES[i])]["seconds"]
            if over in times:
                ratio = times[what] / times[over]
                goal = {"layer": kind, "what": what, "over": over, "shape": SHAPES[i]}
                found.append({**goal, "ratio": ratio, "goal": limit})
    return found


def print_goals(found: list[dict[str, object]]) -> None:
    rows = [
        [g["layer"], g["what"], g["over"], g["shape"], f"{g['ratio']:.2f}", f"{g['goal']:.2f}",
         "yes" if g["ratio"] <= g["goal"] else "NO"]
        for g in found
    ]  # fmt: skip
    print("\nAims")
    print(
        tabulate(rows, ["", "", "over", "shape", "ratio", "at most", "met"], disable_numparse=True)
    )


def long_sequences() -> list[dict[str, float]]:
    """`compare` on memory-mapped files of growing length, each in a process of its own."""
    found = []
    for length in LENGTHS:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(__file__).with_name("bench_long.py")
            command = [sys.executable, str(script), str(length), folder]
            found.append(json.loads(subprocess.check_output(command, text=True)))
    rows = [
        [f"{r['timesteps']:,}", f"{r['seconds']:.3f}", f"{1e6 * r['seconds'] / r['timesteps']:.2f}",
         f"{r['growth_mib']:.1f}"]
        for r in found
    ]  # fmt: skip
    print("\ncompare on memory-mapped files, batch 1, 64 features, 128 units")
    headers = ["timesteps", "seconds", "us a timestep", "memory grown by (MiB)"]
    print(tabulate(rows, headers, disable_numparse=True, colalign=["right"] * 4))
    return found


BARE = """
import numpy as np, tensorflow as tf
layer = tf.keras.layers.SimpleRNN(16, return_sequences=True, return_state=True)
layer(np.random.random((32, 28, 32)).astype("float32"))
"""


def notebook_case(folder: str) -> list[str]:
    """The arguments that check a case of the notebook's size, which needs NumPy alone."""
    rng = np.random.default_rng(0)
    weights, inputs = random_weights(rng, 32, 16), rng.normal(size=(32, 28, 32)).astype("float32")
    config = {"units": 16, "activation": "tanh", "use_bias": True}
    data = {"inputs": inputs, "outputs": loop(weights, inputs), "final_state": (), **weights}
    path = os.path.join(folder, "case.npz")
    write_case(path, make(config=config, **data))
    return ["check", path, "--no-keras"]


def start_up(rounds: int) -> dict[str, float]:
    """Whole processes: the command line against a bare interpreter and a bare script."""
    with tempfile.TemporaryDirectory() as folder:
        return start_ups(rounds, [sys.executable, "-m", "rnn_parity"], notebook_case(folder))


def start_ups(rounds: int, program: list[str], case: list[str]) -> dict[str, float]:
    commands = {
        "import numpy": [sys.executable, "-c", "import numpy"],
        "rnn-parity --help": [*program, "--help"],
        "rnn-parity --version": [*program, "--version"],
        "rnn-parity check --unknown": [*program, "check", "--unknown"],
        "rnn-parity check case.npz": [*program, *case],
        "bare script": [sys.executable, "-c", BARE],
        "rnn-parity check": [*program, "check"],
    }
    runs = {
        name: lambda c=command: subprocess.run(c, capture_output=True, check=False)
        for name, command in commands.items()
    }
    times = interleaved(runs, rounds)
    base = dict.fromkeys(commands, "import numpy") | {"rnn-parity check": "bare script"}
    rows = [
        [name, f"{t:.3f}", f"{t / times[base[name]]:.2f} x {base[name]}"]
        for name, t in times.items()
    ]
    print("\nStart-up")
    print(tabulate(rows, ["", "seconds", "ratio"], disable_numparse=True))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write all numbers there")
    parser.add_argument("--layer", choices=KINDS, action="append", help="only this class")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    arguments = parser.parse_args()
    rounds = 2 if arguments.quick else ROUNDS
    print(f"{platform.platform()}, {os.cpu_count()} processors, NumPy {np.__version__}")
    found: dict[str, object] = {kind: speed(kind, rounds) for kind in arguments.layer or KINDS}
    print_goals([goal for one in found.values() for goal in one["goals"]])
    found["long"] = long_sequences()
    found["start_up"] = start_up(rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
