"""Large batches over threads: every sample is independent of the others."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

T = TypeVar("T")

SINGLE_WORK = 1 << 20
"""The number of multiplications up to which BLAS stays in one thread by itself."""
THREADED_WORK = 1 << 27
"""From this many multiplications on, splitting the batch over threads pays."""
MOST_SAMPLES = 128
"""Samples that go together at most: what is computed for all of them at once fills the memory, and
from so many rows on matrix products gain nothing. Chosen."""


def over_batch(batch: int, cost: int, work: Callable[[slice], T]) -> list[T]:
    """`work` on slices that cover the batch: one for each processor, or one where that is quicker;
    more where they would be too large.

    `cost` is how many multiplications the whole batch takes. The results stand in the order of the
    slices.
    """
    if cost < SINGLE_WORK:
        return [work(part) for part in slices(batch, 1)]
    # One BLAS thread in each of ours: the products of single timesteps are too small to share, and
    # on a busy machine its threads wait for each other many times as long as they work.
    with one_thread():
        if cost < THREADED_WORK or batch == 1:
            return [work(part) for part in slices(batch, 1)]
        with quick_turns():
            return by_threads(work, slices(batch, min(processors(), batch)))


def by_threads(work: Callable[[slice], T], parts: Sequence[slice]) -> list[T]:
    """`work` on all parts, each done by whoever is free: the calling thread, which can use again
    later what memory it takes, or one of the others.
    """
    waiting, found = deque(enumerate(parts)), dict[int, T]()

    def take_turns() -> None:
        while True:
            try:
                i, part = waiting.popleft()
            except IndexError:  # all are taken
                return
            found[i] = work(part)

    helpers = [pool().submit(take_turns) for _ in range(min(processors(), len(parts)) - 1)]
    try:
        take_turns()
    finally:
        waiting.clear()  # after an error, nobody goes on
        wait(helpers)
    for helper in helpers:
        helper.result()
    return [found[i] for i in range(len(parts))]


def slices(batch: int, least: int) -> list[slice]:
    """At least so many slices of a batch, of about the same size and none too large."""
    count = max(least, -(-batch // MOST_SAMPLES))
    if count == 1:
        return [slice(0, batch)]
    edges = np.linspace(0, batch, count + 1, dtype=int).tolist()
    return [slice(a, b) for a, b in pairwise(edges)]


def one_thread() -> AbstractContextManager[Any]:
    """Matrix products in the calling thread alone: small ones mostly wait for each other."""
    limits: AbstractContextManager[Any] = blas().limit(limits=1)
    return limits


@cache
def blas() -> Any:
    """The control of NumPy's BLAS; finding it among all loaded libraries may take 50 ms."""
    return ThreadpoolController().select(user_api="blas")


@cache
def pool() -> ThreadPoolExecutor:
    """The threads, kept: what a thread has allocated it uses again."""
    return ThreadPoolExecutor(processors())


# A forked process has none of its parent's threads, and would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)


@contextmanager
def quick_turns() -> Iterator[None]:
    """Let threads that do short work take turns at the interpreter without waiting for long."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
