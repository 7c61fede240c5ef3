"""Who does the work: this process, others on this machine, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from rnn_parity.errors import RnnParityError
from rnn_parity.sweep.cluster import Cluster, connected
from rnn_parity.sweep.interrupt import Insisting, spared
from rnn_parity.sweep.pool import Item, Pool, Result

MOST_ITEMS = 500
"""After so many a process makes place for a new one: XLA keeps every program that it compiled."""
MOST_DEATHS = 2
"""An item is given up when so many workers died over it."""


@contextmanager
def pool(workers: int | None = None, dask: str | None = None) -> Iterator[Pool]:
    """So many processes, or the workers of the Dask scheduler at this address, or this process.

    Raises `InputError` for a scheduler that does not answer, `MissingPackageError` without Dask.
    """
    if dask is not None:
        with connected(dask) as client:
            yield Cluster(client)
    elif workers is not None:
        processes = Processes(workers)
        try:
            yield processes
        except KeyboardInterrupt:
            processes.kill()
            raise
        finally:
            processes.end()
    else:
        yield Here()


class Here:
    """No workers: one item after the other, in this process."""

    count = 1

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        """As `Pool.run`."""
        for item in items:
            with Insisting():
                result = function(item)
            yield item, result


class Processes:
    """Processes on this machine. They are spawned: TensorFlow does not survive a fork."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.idle = [Worker() for _ in range(count)]
        self.busy: dict[Connection, tuple[Worker, Any, int]] = {}

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        """As `Pool.run`."""
        waiting = deque((item, 0) for item in items)
        while waiting or self.busy:
            while waiting and self.idle:
                item, deaths = waiting.popleft()
                worker = self.idle.pop()
                worker.give(function, item)
                self.busy[worker.connection] = (worker, item, deaths)
            ready = set(wait(list(self.busy)))
            for connection in [one for one in self.busy if one in ready]:
                worker, item, deaths = self.busy.pop(connection)
                try:
                    reply = worker.connection.recv()
                except (EOFError, ConnectionError):
                    self.idle.append(Worker())
                    if deaths + 1 < MOST_DEATHS:
                        waiting.append((item, deaths + 1))
                    else:
                        yield item, None
                    continue
                self.idle.append(worker.renewed())
                if isinstance(reply, RnnParityError):
                    raise reply
                yield item, reply

    def kill(self) -> None:
        """Have every process end at once: TensorFlow takes seconds to do so in peace."""
        for worker in [*self.idle, *(worker for worker, _, _ in self.busy.values())]:
            worker.process.terminate()

    def end(self) -> None:
        """End every process: the idle ones in peace, the others whatever they are doing."""
        busy = [worker for worker, _, _ in self.busy.values()]
        for worker in busy:
            worker.process.terminate()
        for worker in [*self.idle, *busy]:
            worker.end()


class Worker:
    """One process that is given one item at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        with spared():
            self.process.start()
        self.items = 0
        theirs.close()

    def give(self, function: Callable[[Any], object], item: object) -> None:
        """Have `function(item)` worked out; that a worker has died is found out afterwards."""
        self.items += 1
        with suppress(ConnectionError):
            self.connection.send((function, item))

    def renewed(self) -> Worker:
        """This worker, or a new one in its place when it has done enough."""
        if self.items < MOST_ITEMS:
            return self
        self.end()
        return Worker()

    def end(self) -> None:
        """End the process, which has nothing to do, or wait for its end."""
        self.connection.close()
        self.process.join()


def serve(connection: Connection) -> None:
    """The life of a worker: it ends when the other end of `connection` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    os.dup2(2, 1)  # whatever Keras prints is not the answer
    while True:
        try:
            function, item = connection.recv()
        except EOFError:
            return
        try:
            result = function(item)
        except RnnParityError as error:
            result = error
        connection.send(result)
