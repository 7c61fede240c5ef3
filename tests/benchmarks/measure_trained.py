"""Layer checks of trained models: each layer runs its own weights, so each must be `parity`.

`measure_trained.py [--seeds N] [--data N]`. Random weights do not show what trained
ones do: slow states, saturated gates, units that have become alike. Three tasks, three cells,
stacked and `Bidirectional`; each model is checked on several data sets. Four seeds with seven data
sets are 672 checks (the merges of `Bidirectional` among them) and take some ten minutes on a core.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import rnn_parity as rp

L = tf.keras.layers
CELLS = (L.LSTM, L.GRU, L.SimpleRNN)
BATCH = 32


def every(x: np.ndarray, number: int) -> np.ndarray:
    """A batch of evenly spaced rows of x, another one for each number."""
    return x[number :: len(x) // BATCH][:BATCH]


def walks(seed: int, cell: Any, count: int) -> Iterator[tuple[str, Any, np.ndarray]]:
    """The next value of a random walk scaled to 0..1, from 60 before it, by two stacked layers."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.standard_normal(1500))
    walk = ((walk - walk.min()) / np.ptp(walk)).astype("float32")
    x = np.lib.stride_tricks.sliding_window_view(walk[:-1], 60)[..., np.newaxis].copy()
    layers = [cell(50, return_sequences=True), cell(50), L.Dense(1)]
    model = tf.keras.Sequential([tf.keras.Input((60, 1)), *layers])
    model.compile("adam", "mse")
    model.fit(x, walk[60:], batch_size=32, epochs=8, verbose=0)
    for i in range(count):
        yield "walks", model, every(x, 3 * i) if i else rng.random((BATCH, 60, 1), "float32")


def adding(seed: int, cell: Any, count: int) -> Iterator[tuple[str, Any, np.ndarray]]:
    """The sum of the two marked numbers of 40 (Hochreiter and Schmidhuber), in both directions."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.random((2000, 40)), np.zeros((2000, 40))], axis=2).astype("float32")
    marked = np.argsort(rng.random((2000, 40)), axis=1)[:, :2]
    np.put_along_axis(x[..., 1], marked, 1, axis=1)
    layers = [L.Bidirectional(cell(24, return_sequences=True)), cell(32), L.Dense(1)]
    model = tf.keras.Sequential([tf.keras.Input((40, 2)), *layers])
    model.compile(tf.keras.optimizers.Adam(3e-3), "mse")
    model.fit(x, (x[..., 0] * x[..., 1]).sum(1), batch_size=64, epochs=8, verbose=0)
    for i in range(count):
        yield "adding", model, every(x, i)


def tokens(seed: int, cell: Any, count: int) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Which of two words came first, in sentences of 5 to 30 tokens, padded on the left."""
    rng = np.random.default_rng(seed)
    x, y = np.zeros((2000, 30), "int32"), rng.integers(0, 2, 2000)
    for one, first in zip(x, y, strict=True):
        length = rng.integers(5, 31)
        one[30 - length :] = rng.integers(3, 50, length)
        places = 30 - length + np.sort(rng.choice(length, 2, replace=False))
        one[places] = (1, 2) if first else (2, 1)
    layers = [L.Embedding(50, 16, mask_zero=True), cell(32, return_sequences=True), cell(24)]
    model = tf.keras.Sequential([tf.keras.Input((30,)), *layers, L.Dense(1, "sigmoid")])
    model.compile(tf.keras.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(x, y, batch_size=64, epochs=8, verbose=0)
    for i in range(count):
        yield "tokens", model, every(x, i)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--data", type=int, default=7, help="data sets of each model")
    arguments = parser.parse_args()
    verdicts: Counter[str] = Counter()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for cell in CELLS:
            tf.keras.utils.set_random_seed(seed)
            for task in (walks, adding, tokens):
                for i, (name, model, x) in enumerate(task(seed, cell, arguments.data)):
                    for check in rp.check(model, x).checks:
                        verdicts[check.verdict] += 1
                        if check.verdict != "parity":
                            which = check.subject.layer_name
                            print(name, seed, cell.__name__, i, which, check.summary, flush=True)
            print(seed, cell.__name__, dict(verdicts), flush=True)


if __name__ == "__main__":
    main()
