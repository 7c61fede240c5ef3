"""How often numbers that nobody rounded look as if they had been printed: by chance, that is.

`measure_printed.py [COUNT]` prints the ways in which they do, of 1,000 arrays.
"""

import sys
from collections import Counter

import numpy as np

from rnn_parity.verdict.printed import prints

SHAPES = [(1, 1, 1), (1, 1, 4), (2, 4, 3), (2, 5, 4), (4, 20, 8), (32, 28, 16)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


KINDS = {
    "tanh": np.tanh,
    "saturated": lambda z: np.tanh(8 * z),
    "nearly saturated": lambda z: np.tanh(3 + np.abs(z) / 4),
    "sigmoid": sigmoid,
    "sigmoid near a half": lambda z: sigmoid(z / 1000),
    "relu": lambda z: np.maximum(z, 0),
    "large": lambda z: 1000 * z,
    "small": lambda z: z / 1000,
    "hard sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "sparse": lambda z: np.where(np.abs(z) > 1.5, np.tanh(z), 0),
    "8-bit integers": lambda z: np.round(np.tanh(z) * 127) / np.float32(127),
    "8-bit fixed point": lambda z: np.round(np.tanh(z) * 128) / 128,
    "float16": lambda z: np.tanh(z).astype(np.float16),
}


def by_chance(count, seed=0):
    """The prints that `count` arrays of float32, of every kind and shape in turn, seem to have."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        kind = list(KINDS.values())[i % len(KINDS)]
        z = rng.normal(size=SHAPES[i // len(KINDS) % len(SHAPES)]).astype(np.float32)
        found += prints(kind(z).astype(np.float32))
    return found


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    ways = by_chance(number)
    print(f"{len(ways)} prints of {number} arrays that nobody printed", Counter(map(str, ways)))
