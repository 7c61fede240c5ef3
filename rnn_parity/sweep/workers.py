"""Who does the work: this process, others on this machine, or a Dask cluster.

A pool runs a function on every item and yields pairs of item and result as they come. An item whose
worker died is run once more; when that one dies too it is given up, with None as its result.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from rnn_parity.errors import InputError, MissingPackageError, RnnParityError

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_ITEMS = 500
"""After so many a process makes place for a new one: XLA keeps every program that it compiled."""
MOST_DEATHS = 2
"""An item is given up when so many workers died over it."""
SECONDS_TO_CONNECT = 10
SECONDS_WITHOUT_WORKERS = 60
AHEAD = 200
"""So many items are at a cluster's scheduler at any time."""


class Pool(Protocol):
    """Workers that take one item at a time."""

    @property
    def count(self) -> int:
        """So many of them work at the same time."""

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        """`function(item)` for every item, in any order; everything can be pickled."""


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
            yield item, function(item)


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


class Cluster:
    """The workers of a Dask cluster. What the scheduler gives up as deadly is given up here."""

    def __init__(self, client: Any) -> None:
        self.client = client

    @property
    def count(self) -> int:
        """The processes: whatever threads they have, they check one configuration at a time."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        """As `Pool.run`."""
        from distributed import as_completed

        waiting = iter(items)
        given = {self.submit(function, item): item for item in islice(waiting, AHEAD)}
        completed = as_completed(given, loop=self.client.loop)
        alone_since = time.monotonic()
        while given:
            for future in completed.next_batch(block=False):
                item = given.pop(future)
                for another in islice(waiting, 1):
                    new = self.submit(function, another)
                    given[new] = another
                    completed.add(new)
                yield item, settled(future)
            if self.count:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > SECONDS_WITHOUT_WORKERS:
                raise InputError("--dask: the cluster has no workers left; what is done is kept")
            time.sleep(0.02)

    def submit(self, function: Callable[[Item], Result], item: Item) -> Any:
        """A future of `function(item)`."""
        return self.client.submit(function, item, pure=False)


def settled(future: Any) -> Any:
    """What a finished future holds; None where it killed its workers."""
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise InputError("--dask: the scheduler is gone; what is done is kept")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return None
    if isinstance(error, RnnParityError):
        raise error
    raise InputError(
        f"--dask: a worker cannot do its work: {type(error).__name__}: {error}; install the same "
        "rnn-parity and TensorFlow there"
    )


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the Dask scheduler at `address`, with at least one worker."""
    try:
        from distributed import Client
    except ImportError:
        raise MissingPackageError(
            "--dask: this needs Dask; install it with: pip install 'rnn-parity[dask]'"
        ) from None
    expected = f"--dask {address!r}: expected a running scheduler"
    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{expected}, received: {error}") from None
    except AssertionError:  # so it says that its thread did not start in time
        raise InputError(f"{expected}, but this machine is too busy to ask: try again") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=SECONDS_TO_CONNECT)
        except TimeoutError:
            raise InputError(f"{expected} with workers, received one without") from None
        yield client
