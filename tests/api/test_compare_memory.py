"""How much memory a check takes: less than its data, which stay on disk, and batches in slices."""

import gc
import tracemalloc

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.system.files import LARGE, room_for
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

FEATURES, UNITS = 256, 32
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}


def layer(kind):
    rng, width = np.random.default_rng(0), GATES[kind] * UNITS
    rows = (2,) if kind == "GRU" else ()
    kernel = rng.standard_normal((FEATURES, width)) / 16
    recurrent_kernel = rng.standard_normal((UNITS, width)) / 4
    bias = rng.uniform(-0.5, 0.5, (*rows, width))
    return getattr(rp, kind)(kernel, recurrent_kernel, bias, dtype="float32")


def mapped(folder, name, shape):
    return np.lib.format.open_memmap(folder / name, "w+", "float32", shape)


def peak(work):
    """The most memory that Python and NumPy have asked for meanwhile."""
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["SimpleRNN", "GRU"])
def test_long_sequences_stay_on_disk(kind, tmp_path):
    """All of it, blind spots included, for which inputs are shifted and reshaped."""
    one, timesteps = layer(kind), 18_000
    x = mapped(tmp_path, "x.npy", (1, timesteps, FEATURES))
    x[...] = np.random.default_rng(1).standard_normal(x.shape, "float32")
    y = rp.replay(one, x).outputs.astype("float32")
    assert x.nbytes > LARGE
    used, report = peak(lambda: rp.compare(one, x, y))
    assert report.verdict == "parity"
    assert {"inputs-shifted", "inputs-reshaped"} <= set(report.checks[0].sensitivity.visible)
    assert used < x.nbytes


def test_nothing_of_a_long_lstm_waits_for_the_garbage_collector():
    """Cycles of objects with arrays in them would fill the memory until it comes along."""
    one, found = layer("LSTM"), []
    for timesteps in (1_000, 4_000):
        x = np.random.default_rng(1).standard_normal((1, timesteps, FEATURES), "float32")
        y = rp.replay(one, x).outputs.astype("float32")
        gc.collect()
        gc.disable()
        try:
            judge(one, Sequences.of(one, x), Observations.of(one, y), Subject())
            found.append(gc.collect())
        finally:
            gc.enable()
    assert found[1] <= 1.5 * found[0] + 100


def test_nothing_of_a_look_at_hidden_states_waits_for_the_garbage_collector():
    """Its pieces are the largest arrays of a comparison, in each slice of the batch."""
    one, x = layer("LSTM"), np.random.default_rng(1).standard_normal((512, 8, FEATURES), "float32")
    y = rp.replay(one, x).outputs.astype("float32")
    data = one, Sequences.of(one, x), Observations.of(one, y), Subject()
    judge(*data)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        judge(*data)
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < y.nbytes / 2


def test_a_large_batch_takes_hardly_more_than_a_small_one():
    one = layer("LSTM")
    found = []
    for batch in (512, 2048):
        x = np.random.default_rng(1).standard_normal((batch, 4, FEATURES), "float32")
        y = rp.replay(one, x).outputs.astype("float32")
        used, report = peak(lambda x=x, y=y: rp.compare(one, x, y))
        assert report.verdict == "parity"
        found.append(used / x.nbytes)
    assert found[1] < found[0] * 1.5  # for each sample


def test_room_for_large_arrays_is_on_disk():
    small, large = np.ones(3, "float32"), np.broadcast_to(np.float32(1), (4, LARGE // 16))
    assert type(room_for(small)) is np.ndarray
    used, found = peak(lambda: room_for(large))
    assert used < 1 << 20
    assert (found.shape, found.dtype) == (large.shape, large.dtype)
    found[:, ::2] = 2
    assert not found[:, 1::2].any()
    assert (found[:, ::2] == 2).all()
