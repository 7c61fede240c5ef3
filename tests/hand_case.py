"""A case small enough to be worked out by hand, for the tests that read and write cases."""

import numpy as np

from rnn_parity.cases import Case

# By hand: h0 = 1*2 + 0*0.5 + 1 = 3, h1 = 3*2 + 3*0.5 + 1 = 8.5.
INPUTS, OUTPUTS = np.float32([[[1], [3]]]), np.float32([[[3], [8.5]]])
CONFIG = {
    "name": "a",
    "units": 1,
    "activation": "linear",
    "use_bias": True,
    "return_sequences": True,
    "return_state": True,
}
VERSIONS = {"tensorflow": "2.15.1", "keras": "2.15.0", "python": "3.11.0"}


def make(**changes):
    options = {
        "layer_class": "SimpleRNN",
        "layer_name": "a",
        "config": CONFIG,
        "mode": "graph",
        "call": None,
        "dtype": "float32",
        "versions": VERSIONS,
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "kernel": np.float32([[2]]),
        "recurrent_kernel": np.float32([[0.5]]),
        "bias": np.float32([1]),
        "final_state": (OUTPUTS[:, -1],),
    }
    return Case(**{**options, **changes})


def contents(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
