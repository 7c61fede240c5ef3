"""Large batches over threads, in a process and in those that are forked from it."""

import os
import signal

import numpy as np
import pytest
from helpers import loop, random_weights

import rnn_parity as rp
from rnn_parity.system import threads

SECONDS = 120
"""A child that waits for threads which it does not have waits for ever."""


def large():
    """A comparison that is split over threads, at least two."""
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 16, 32)
    x = rng.normal(size=(256, 400, 16)).astype("float32")
    return rp.SimpleRNN(**weights), x, loop(weights, x)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_compares_as_its_parent_does(monkeypatch):
    monkeypatch.setattr(threads, "processors", lambda: 2)
    threads.pool.cache_clear()
    data = large()
    assert rp.compare(*data).verdict == "parity"
    assert threads.pool.cache_info().currsize == 1, "the comparison was not split"
    child = os.fork()
    if not child:
        code = 2
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            code = 0 if rp.compare(*data).verdict == "parity" else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    threads.pool.cache_clear()


def test_a_large_batch_is_cut_into_slices_of_about_one_size():
    """Of 128 samples at most; as many as there are processors, at least."""
    assert threads.slices(5, 2) == [slice(0, 2), slice(2, 5)]
    assert threads.slices(256, 2) == [slice(0, 128), slice(128, 256)]
    assert threads.slices(257, 2) == [slice(0, 85), slice(85, 171), slice(171, 257)]
