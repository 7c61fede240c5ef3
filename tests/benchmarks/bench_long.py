"""One `compare` on memory-mapped files in a process of its own: `bench_long.py TIMESTEPS FOLDER`.

Prints one line of JSON: the time, and by how much the process grew over its mapped file pages.
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


def own_memory() -> float:
    """MiB of this process's memory that is no mapped file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("needs /proc/self/status of Linux")


def write(layer: rp.SimpleRNN, timesteps: int, folder: Path) -> tuple[Path, Path]:
    """Inputs and the outputs of a plain float32 loop, a row at a time."""
    rng = np.random.default_rng(1)
    weights = (layer.kernel, layer.recurrent_kernel, layer.bias)
    kernel, recurrent_kernel, bias = (w.astype("float32") for w in weights)
    paths = folder / "x.npy", folder / "y.npy"
    shapes = (1, timesteps, FEATURES), (1, timesteps, UNITS)
    x, y = (
        np.lib.format.open_memmap(path, "w+", "float32", shape)
        for path, shape in zip(paths, shapes, strict=True)
    )
    h = np.zeros(UNITS, np.float32)
    for t in range(timesteps):
        x[0, t] = rng.standard_normal(FEATURES)
        h = np.tanh(x[0, t] @ kernel + h @ recurrent_kernel + bias)
        y[0, t] = h
    return paths


def main() -> None:
    timesteps, folder = int(sys.argv[1]), Path(sys.argv[2])
    rng = np.random.default_rng(0)
    layer = rp.SimpleRNN(
        rng.standard_normal((FEATURES, UNITS)).astype("float32") / 8,
        rng.standard_normal((UNITS, UNITS)).astype("float32") / 12,
        rng.uniform(-0.5, 0.5, UNITS).astype("float32"),
    )
    paths = write(layer, timesteps, folder)
    x, y = (np.load(path, mmap_mode="r") for path in paths)
    rp.compare(layer, x[:, :100], y[:, :100])  # what any first use costs
    before = peak = own_memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    report = rp.compare(layer, x, y)
    elapsed = time.perf_counter() - start
    done.set()
    watcher.join()
    if not report:
        raise SystemExit(str(report))
    growth = max(peak, own_memory()) - before
    print(json.dumps({"timesteps": timesteps, "seconds": elapsed, "growth_mib": growth}))


if __name__ == "__main__":
    main()
