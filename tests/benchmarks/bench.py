"""Everything that people wait for, in one run: `bench.py [--json FILE] [--quick] [--only PART]`.

Contenders of one problem take turns in each round, each family in a process of its own, so that a
machine whose speed drifts changes all of them alike; the least time of each counts. Ratios are what
counts. On a busy machine `--clock cpu` compares the processor's time in place of the clock's.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_contenders import (
    COMPARE,
    GATES,
    REPLAY,
    TENSORFLOW,
    TORCH_64,
    Problem,
    Spent,
    best,
    observed,
    problem,
    workers,
)
from hand_case import make
from helpers import loop, random_weights
from tabulate import tabulate

import rnn_parity as rp
from rnn_parity.cases.case import write_case

HERE = Path(__file__).parent
SHAPES = [(32, 28, 32, 16), (64, 512, 128, 256), (1, 10_000, 64, 128), (16, 100, 512, 512)]
ROUNDS = 5
BUDGET = 8.0
"""Seconds after which no further round of a problem is begun."""
LONG = [("LSTM", 1, 200_000), ("GRU", 1, 200_000), ("LSTM", 4096, 28)]
MIB = 64.0
"""How much a check of memory maps may grow."""
PROGRAM = [sys.executable, "-m", "rnn_parity"]
BARE = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
layer = tf.keras.layers.SimpleRNN(16, return_sequences=True, return_state=True)
tf.function(layer)(np.random.random((32, 28, 32)).astype("float32"))
"""
Aims = list[tuple[str, float, float]]
"""What was aimed at: its name, what was measured, and the most that it may be."""


# Replay and compare, beside others.


def matrix_rate(dtype: str, clock: str) -> float:
    """Measured operations per second of a large matrix product."""
    a = np.random.default_rng(0).random((2048, 2048)).astype(dtype)
    return 2 * 2048**3 / getattr(best(lambda: a @ a, 1.0), clock)


def speed(options: argparse.Namespace) -> tuple[Any, Aims]:
    """Every contender on every problem."""
    rates = {dtype: matrix_rate(dtype, options.clock) for dtype in ("float32", "float64")}
    shown = ", ".join(f"{name}: {rate / 1e9:.1f}" for name, rate in rates.items())
    print(f"\nMatrix products, 10^9 operations a second, {shown}")
    who, found, aims = workers(os.cpu_count() or 1), [], []
    for shape in SHAPES[:1] if options.quick else SHAPES:
        for kind in GATES:
            p = observed(problem(kind, shape), who)
            times = in_turn(p, who, 2 if options.quick else ROUNDS)
            found.append({"layer": kind, "shape": shape, "flops": p.flops, "seconds": times})
            least = {name: one[options.clock] for name, one in times.items()}
            print_problem(p, least, rates)
            aims += aims_of(kind, shape, least)
    for one in who.values():
        one.stop()
    return {"rates": rates, "problems": found}, aims


def in_turn(p: Problem, who: dict[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """The least time of each contender, by either clock; all are made ready and run once before."""
    names = [(one, name) for one in who.values() for name in one.ask("prepare", p)]
    spent: dict[str, list[Spent]] = {name: [] for _, name in names}
    for worker, name in names:
        worker.ask("time", name, 0.0)
    start = time.perf_counter()
    for i in range(rounds):
        if i and time.perf_counter() - start > BUDGET:
            break
        for worker, name in names:
            spent[name].append(worker.ask("time", name, 0.02))
    return {
        name: {"wall": min(s.wall for s in all_), "cpu": min(s.cpu for s in all_)}
        for name, all_ in spent.items()
    }


def print_problem(p: Problem, least: dict[str, float], rates: dict[str, float]) -> None:
    """One table: times, ratios, and the share of the machine's rate of matrix products."""
    base = least[TENSORFLOW]
    rows = [
        [
            name,
            f"{1e3 * t:.3f}",
            f"{t / base:.2f}",
            f"{t / least[TORCH_64]:.2f}",
            *(f"{100 * p.flops / t / rates[dtype]:.0f}%" for dtype in ("float32", "float64")),
        ]
        for name, t in least.items()
    ]
    headers = ["", "ms", "over tf.function", "over PyTorch 64", "of sgemm rate", "of dgemm rate"]
    print(f"\n{p.kind}, (batch, timesteps, features, units) = {p.shape}")
    print(tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 5)))


def aims_of(kind: str, shape: tuple[int, ...], least: dict[str, float]) -> Aims:
    """The two ratios that were aimed at."""
    small = shape == SHAPES[0]
    return [
        (f"{kind} {shape}: replay / torch float64", least[REPLAY] / least[TORCH_64], 0.9),
        (
            f"{kind} {shape}: compare / replay",
            least[COMPARE] / least[REPLAY],
            2.5 if small else 1.5,
        ),
    ]


# Start-up: whole processes.


def start_up(options: argparse.Namespace) -> tuple[Any, Aims]:
    """The command line beside a bare interpreter and a bare script: processor time.

    The package is compiled first, as `pip` leaves what it installs: a checkout may not be, and
    where `PYTHONDONTWRITEBYTECODE` is set it would be compiled anew by every process.
    """
    compileall.compile_dir(str(Path(rp.__file__).parent), quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "import numpy": [sys.executable, "-c", "import numpy"],
            "rnn-parity faults": [*PROGRAM, "faults"],
            "rnn-parity explain": [*PROGRAM, "explain"],
            "rnn-parity check --unknown": [*PROGRAM, "check", "--unknown"],
            "rnn-parity check missing.keras": [*PROGRAM, "check", "missing.keras"],
            "rnn-parity check CASE.npz --no-keras": [*PROGRAM, *small_case(folder)],
            "import TensorFlow, build, run": [sys.executable, "-c", BARE],
            "rnn-parity check": [*PROGRAM, "check"],
        }
        rounds = 2 if options.quick else ROUNDS
        spent = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                spent[name].append(child_cpu(command))
    times = {name: min(one) for name, one in spent.items()}
    numpy, bare = times["import numpy"], times["import TensorFlow, build, run"]
    aims = [(f"{name} / import numpy", times[name] / numpy, 1.5) for name in list(commands)[1:5]]
    aims += [
        ("case --no-keras, seconds", times["rnn-parity check CASE.npz --no-keras"], 0.35),
        ("rnn-parity check / bare TensorFlow", times["rnn-parity check"] / bare, 1.1),
    ]
    rows = [[name, f"{t:.3f}", f"{t / numpy:.2f}", f"{t / bare:.2f}"] for name, t in times.items()]
    table("Start-up", ["", "s of CPU", "over import numpy", "over bare TensorFlow"], rows)
    return times, aims


def child_cpu(command: list[str]) -> float:
    """The processor time of a process and those that it started."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return used.ru_utime + used.ru_stime


def small_case(folder: str) -> list[str]:
    """The arguments that check a case of the default size, which needs NumPy alone."""
    rng = np.random.default_rng(0)
    weights, inputs = random_weights(rng, 32, 16), rng.normal(size=(32, 28, 32)).astype("float32")
    config = {"units": 16, "activation": "tanh", "use_bias": True}
    data = {"inputs": inputs, "outputs": loop(weights, inputs), "final_state": (), **weights}
    path = os.path.join(folder, "case.npz")
    write_case(path, make(config=config, **data))
    return ["check", path, "--no-keras"]


# Small checks, what is worked out late, and the recorded cases: processor time.


def small_checks(options: argparse.Namespace) -> tuple[Any, Aims]:
    """Many small checks; sensitivity and JSON of one; a diagnosis that ends without a cause."""
    args = compared("LSTM", (4, 10, 5, 6))
    count = 50 if options.quick else 500
    many = best(lambda: [rp.compare(*args) for _ in range(count)], 0.0).cpu * 500 / count
    args = compared("LSTM", SHAPES[0])
    compare = best(lambda: rp.compare(*args), 0.5).cpu
    whole = best(lambda: rp.compare(*args).to_json(), 0.5).cpu
    found = {"500 compares": many, "compare": compare, "sensitivity, JSON": whole - compare}
    aims = [
        ("500 compares of (4, 10, 5, 6) LSTMs, s of CPU", many, 4.0),
        ("sensitivity and JSON / compare, LSTM", (whole - compare) / compare, 3.0),
    ]
    for kind, shape, limit in without_a_cause(options.quick):
        layer, x, y, *_ = compared(kind, shape)
        shuffled = y[np.random.default_rng(1).permutation(len(y))]
        used = best(lambda one=(layer, x, shuffled): rp.compare(*one), 0.0).cpu
        found[f"diagnosis {kind} {shape}"] = used
        aims.append((f"diagnosis without a cause, {kind} {shape}, s of CPU", used, limit))
    table("Small checks", ["", "s of CPU"], [[name, f"{t:.4f}"] for name, t in found.items()])
    return found, aims


def without_a_cause(quick: bool) -> list[tuple[str, tuple[int, int, int, int], float]]:
    """Layers and sizes whose diagnosis has a limit."""
    sizes = [(SHAPES[0], 1.0)] if quick else [(SHAPES[0], 1.0), (SHAPES[1], 2.0)]
    return [(kind, shape, limit) for kind in GATES for shape, limit in sizes]


def compared(kind: str, shape: tuple[int, int, int, int]) -> tuple[Any, ...]:
    """The arguments of a `compare` in parity."""
    p = problem(kind, shape)
    layer = getattr(rp, kind)(*p.weights)
    trace = rp.replay(layer, p.inputs)
    return layer, p.inputs, trace.outputs.astype("float32"), None


def regression(options: argparse.Namespace) -> tuple[Any, Aims]:
    """The recorded cases, beside Keras that builds and runs their layers."""
    if options.quick:
        return {}, []
    cases = HERE.parents[1] / "fixtures" / "cases"
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "parity.txt")
        ours = child_cpu([*PROGRAM, "check", str(cases), "-o", output])
    theirs = child_cpu([sys.executable, str(HERE / "bench_regression.py"), str(cases)])
    table(
        "Recorded cases", ["", "s of CPU"], [["check", f"{ours:.1f}"], ["Keras", f"{theirs:.1f}"]]
    )
    return {"check": ours, "keras": theirs}, [("recorded cases / Keras itself", ours / theirs, 1.3)]


# Memory.


def memory(options: argparse.Namespace) -> tuple[Any, Aims]:
    """`compare` on memory-mapped files, each in a process of its own."""
    found = []
    for kind, batch, timesteps in LONG:
        length = timesteps // 20 if options.quick and batch == 1 else timesteps
        with tempfile.TemporaryDirectory() as folder:
            for what in ("write", "compare"):
                script = [sys.executable, str(HERE / "bench_long.py"), what, kind]
                out = subprocess.check_output([*script, str(batch), str(length), folder], text=True)
        found.append(json.loads(out))
    rows = [
        [r["layer"], f"{r['batch']:,}", f"{r['timesteps']:,}", f"{r['seconds']:.1f}",
         f"{r['growth_mib']:.1f}"]
        for r in found
    ]  # fmt: skip
    headers = ["", "batch", "timesteps", "seconds", "memory grown by (MiB)"]
    table("compare on memory-mapped files, 64 features, 128 units", headers, rows)
    names = [f"{r['layer']}, {r['batch']:,} x {r['timesteps']:,}: MiB grown" for r in found]
    return found, [(n, r["growth_mib"], MIB) for n, r in zip(names, found, strict=True)]


def table(title: str, headers: list[str], rows: list[list[str]]) -> None:
    """Print a table under its title."""
    align = ("left", *["right"] * (len(headers) - 1))
    print(f"\n{title}")
    print(tabulate(rows, headers, disable_numparse=True, colalign=align), flush=True)


PARTS: dict[str, Callable[[argparse.Namespace], tuple[Any, Aims]]] = {
    "speed": speed,
    "start_up": start_up,
    "small_checks": small_checks,
    "regression": regression,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write all numbers there")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="which time counts"
    )
    options = parser.parse_args()
    threads = os.cpu_count() or 1
    print(f"{platform.platform()}, {threads} processors, NumPy {np.__version__}")
    found: dict[str, Any] = {"threads": threads, "clock": options.clock}
    aims: Aims = []
    for name in options.only or PARTS:
        found[name], more = PARTS[name](options)
        aims += more
    rows = [[n, f"{m:.2f}", f"{most:.2f}", "yes" if m <= most else "NO"] for n, m, most in aims]
    table("Aims", ["", "measured", "at most", "met"], rows)
    found["aims"] = [{"what": n, "measured": m, "at_most": most} for n, m, most in aims]
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
