"""A case small enough to be worked out by hand, for the tests that read and write cases."""

import numpy as np

from rnn_parity.cases.case import Case

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


# By hand: z = (1, 3, 3, 4), so c = 3 * 0 + 1 * 3 and h = 4 * 3; then z_i = 1 + 12 / 2, so
# c = 3 * 3 + 7 * 3 and h = 4 * 30.
LSTM = {
    "layer_class": "LSTM",
    "recurrence": "LSTM",
    "config": {**CONFIG, "recurrent_activation": "linear"},
    "inputs": np.ones((1, 2, 1), np.float32),
    "outputs": np.float32([[[12], [120]]]),
    "kernel": np.float32([[1, 2, 3, 4]]),
    "recurrent_kernel": np.float32([[0.5, 0, 0, 0]]),
    "bias": np.float32([0, 1, 0, 0]),
    "initial_state": (np.float32([[0]]), np.float32([[0]])),
    "final_state": (np.float32([[120]]), np.float32([[30]])),
}
# By hand: X = (1/2, 2, 4) and R = (0, 0, 2), so hh = 4 + 2 * 2 and h = 8 / 2; then R_h = 4 + 2, so
# hh = 4 + 2 * 6 and h = 4 / 2 + 16 / 2.
GRU = {
    "layer_class": "GRU",
    "recurrence": "GRU",
    "config": {**CONFIG, "recurrent_activation": "linear", "reset_after": True},
    "inputs": np.ones((1, 2, 1), np.float32),
    "outputs": np.float32([[[4], [10]]]),
    "kernel": np.float32([[0.5, 2, 3]]),
    "recurrent_kernel": np.float32([[0, 0, 1]]),
    "bias": np.float32([[0, 0, 1], [0, 0, 2]]),
    "final_state": (np.float32([[10]]),),
}


def contents(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
