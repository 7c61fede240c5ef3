"""The memory that `compare` takes: `bench_long.py write|compare KIND BATCH TIMESTEPS FOLDER`.

`write` makes memory-mapped inputs and outputs, `compare` holds them against the replay in a process
of its own and prints one line of JSON: the time, and by how much the process grew over its mapped
file pages.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

import rnn_parity as rp

FEATURES, UNITS = 64, 128
PART = 1 << 22
"""Numbers of outputs that are written at once."""


def own_memory() -> float:
    """MiB of this process's memory that is no mapped file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("needs /proc/self/status of Linux")


def layer(kind: str) -> rp.Cell:
    """A float32 layer whose numbers are of the usual size."""
    rng, gates = np.random.default_rng(0), {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}[kind]
    rows = (2,) if kind == "GRU" else ()
    return getattr(rp, kind)(
        rng.standard_normal((FEATURES, gates * UNITS)).astype("float32") / 8,
        rng.standard_normal((UNITS, gates * UNITS)).astype("float32") / 12,
        rng.uniform(-0.5, 0.5, (*rows, gates * UNITS)).astype("float32"),
    )


def write(kind: str, batch: int, timesteps: int, paths: tuple[Path, Path]) -> None:
    """Random inputs, and the outputs that the replay rounds to float32, part by part."""
    rng, one, state = np.random.default_rng(1), layer(kind), None
    x, y = (
        np.lib.format.open_memmap(path, "w+", "float32", (batch, timesteps, size))
        for path, size in zip(paths, (FEATURES, UNITS), strict=True)
    )
    part = max(1, PART // (batch * UNITS))
    for start in range(0, timesteps, part):
        steps = slice(start, min(start + part, timesteps))
        x[:, steps] = rng.standard_normal(x[:, steps].shape, "float32")
        trace = rp.replay(one, x[:, steps], initial_state=state)
        y[:, steps], state = trace.outputs, trace.final_state


def compare(kind: str, paths: tuple[Path, Path]) -> dict[str, float]:
    """The time of one `compare`, and the largest growth that was seen meanwhile."""
    one = layer(kind)
    x, y = (np.load(path, mmap_mode="r") for path in paths)
    rp.compare(one, x[:8, :100], y[:8, :100])  # what any first use costs
    before = peak = own_memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    report = rp.compare(one, x, y)
    elapsed = time.perf_counter() - start
    done.set()
    watcher.join()
    if not report:
        raise SystemExit(str(report))
    return {"seconds": elapsed, "growth_mib": max(peak, own_memory()) - before}


def main() -> None:
    what, kind, batch, timesteps, folder = sys.argv[1:]
    paths = Path(folder) / "x.npy", Path(folder) / "y.npy"
    if what == "write":
        write(kind, int(batch), int(timesteps), paths)
    else:
        sizes = {"layer": kind, "batch": int(batch), "timesteps": int(timesteps)}
        print(json.dumps({**sizes, **compare(kind, paths)}))


if __name__ == "__main__":
    main()
