"""Who does the work of a sweep: this process, others on this machine, or a Dask cluster.

Each stands behind a `concurrent.futures.Executor`. An item whose worker died is tried once more;
when that one dies too it is given up, with None as its result.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, TypeVar

from rnn_parity.errors import InputError, MissingPackageError, RnnParityError
from rnn_parity.sweep.interrupt import Insisting

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_ITEMS = 500
"""After this many a process makes place for a new one: XLA keeps every program that it compiled."""
MOST_DEATHS = 2
"""An item is given up when this many processes died over it."""
AHEAD_ON_DASK = 200
"""How many items are at a Dask scheduler at any time, so that its workers never wait for us."""
SECONDS_TO_CONNECT = 10
SECONDS_WITHOUT_WORKERS = 60
SECONDS_BETWEEN_LOOKS = 0.5
"""How often is looked whether anybody is left to do the work, while no result comes."""
SCHEDULER_GONE = "--dask: the scheduler is gone; a sweep with --resume goes on from what is done"


@contextmanager
def pool(workers: int | None = None, dask: str | None = None) -> Iterator[Pool]:
    """A pool of `workers` processes, or of the Dask scheduler at this address, or of this process.

    Raises `InputError` for a scheduler that does not answer, `MissingPackageError` without Dask.
    """
    if dask is not None:
        with connected(dask) as client:
            yield DaskPool(client)
    elif workers is not None:
        with Processes(workers) as processes:
            yield Pool(processes, workers, 2 * workers)
    else:
        yield Pool(InThisProcess(), 1, 1)


class Pool:
    """Workers behind an executor, `count` of which work at the same time.

    The executor has `ahead` items at any time, one for each worker or a few more.
    """

    def __init__(self, executor: Executor, count: int, ahead: int) -> None:
        self.executor, self.ahead, self._count = executor, ahead, count

    @property
    def count(self) -> int:
        """How many items are worked on at the same time."""
        return self._count

    def as_completed(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        """Each item with `function(item)`, as they are ready; everything can be pickled.

        Raises what `function` raises.
        """
        waiting, given = iter(items), dict[Future[Result], Item]()
        while True:
            for item in islice(waiting, self.ahead - len(given)):
                given[self.executor.submit(function, item)] = item
            if not given:
                return
            done, _ = wait(given, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
            if not done:
                self.check_alive()
            for future in done:
                yield given.pop(future), self.result_of(future)

    def result_of(self, future: Future[Result]) -> Result | None:
        """The result of a finished future; None where it killed its workers."""
        try:
            return future.result()
        except BrokenExecutor:
            return None

    def check_alive(self) -> None:
        """Raise `InputError` where nobody is left to do the work."""


class InThisProcess(Executor):
    """No workers: what is submitted is done at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is finished."""
        future: Future[Any] = Future()
        with Insisting():
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)
        return future


class Processes(Executor):
    """Processes on this machine, each behind a thread that waits for it.

    What is submitted is done by one of them; where it dies, by a new one. Each is a process pool of
    its own, which tells over which item it died; a larger pool breaks as a whole, over any item.
    """

    def __init__(self, count: int) -> None:
        self.threads = ThreadPoolExecutor(count)
        self.of_thread = threading.local()
        self.started: list[OneProcess] = []
        self.lock, self.is_ended = threading.Lock(), False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future of `fn(*args)`; its error is a `BrokenExecutor` when two processes died."""
        return self.threads.submit(self._tried, fn, *args, **kwargs)

    def _tried(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        for _ in range(MOST_DEATHS - 1):
            with suppress(BrokenExecutor):
                return self._process().result(fn, *args, **kwargs)
        return self._process().result(fn, *args, **kwargs)

    def _process(self) -> OneProcess:
        """The process of this thread; a new one in place of one that died or has done enough."""
        process: OneProcess | None = getattr(self.of_thread, "process", None)
        if process is not None:
            if not process.is_dead and process.items < MOST_ITEMS:
                return process
            process.end()
        with self.lock:
            if self.is_ended:
                raise BrokenExecutor
            self.of_thread.process = process = OneProcess()
            self.started.append(process)
        return process

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every process: at once after an error, for TensorFlow takes seconds in peace."""
        if kind is not None:
            with self.lock:
                self.is_ended = True
            for process in self.started:
                process.kill()
        self.shutdown()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Let every process finish what it is doing, and end."""
        self.threads.shutdown(wait, cancel_futures=cancel_futures)
        with ThreadPoolExecutor() as enders:
            enders.map(OneProcess.end, self.started)


class OneProcess:
    """A process that does one thing after the other; spawned, for TensorFlow survives no fork.

    Making place after `MOST_ITEMS` is not left to `max_tasks_per_child`, with which a process pool
    can hang: CPython issue 115634, in Python 3.11 to 3.14.
    """

    def __init__(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        theirs, self.lifeline = spawning.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(1, spawning, start_worker, (theirs,))
        self.items, self.is_dead = 0, False

    def result(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """`fn(*args)`. Raises `BrokenExecutor` when the process dies."""
        if hasattr(signal, "pthread_sigmask"):
            # Ctrl-C is the parent's to handle. What the thread blocks that starts a process is
            # blocked there too: until `start_worker` runs, it would end with a traceback.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.items += 1
        try:
            return self.pool.submit(fn, *args, **kwargs).result()
        except BrokenExecutor:
            self.is_dead = True
            raise

    def kill(self) -> None:
        """Have the process end at once."""
        self.lifeline.close()

    def end(self) -> None:
        """Let the process end, and wait for that."""
        self.pool.shutdown()
        self.lifeline.close()


def start_worker(lifeline: Connection) -> None:
    """Prepare a process for its work: it ends with its parent, and prints nothing to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # whatever Keras prints is not the answer
    threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()


def end_with(lifeline: Connection) -> None:
    """End this process when the other end of `lifeline` is closed, by its owner or his end."""
    with suppress(EOFError):
        lifeline.recv()
    os._exit(1)


class OnDask(Executor):
    """The workers of a Dask cluster. Results that are lost with their worker are waited for again.

    `Client.get_executor` of distributed 2026.8 may take one for an error when it is lost just then.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.one_suspect: asyncio.Lock | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future of `fn(*args)`, which fails where the scheduler gives it up or is gone."""
        future: Future[Any] = Future()
        self.client.loop.add_callback(self._settle, future, partial(fn, *args, **kwargs))
        return future

    async def _settle(self, future: Future[Any], work: Callable[[], Any]) -> None:
        try:
            future.set_result(await self._tried(work))
        except (Exception, asyncio.CancelledError) as error:
            future.set_exception(error)

    async def _tried(self, work: Callable[[], Any]) -> Any:
        """The result of `work`. What is given up is tried once more, one thing at a time.

        For a scheduler also blames what was only waiting at the worker that died.
        """
        from distributed import KilledWorker

        with suppress(KilledWorker):
            return await self._on_cluster(work)
        self.one_suspect = self.one_suspect or asyncio.Lock()  # belongs to the loop that runs this
        async with self.one_suspect:
            return await self._on_cluster(work)

    async def _on_cluster(self, work: Callable[[], Any]) -> Any:
        return await self.client.gather(self.client.submit(work, pure=False), asynchronous=True)


class DaskPool(Pool):
    """The workers of a Dask cluster. What the scheduler gives up as deadly is given up here."""

    def __init__(self, client: Any) -> None:
        super().__init__(OnDask(client), 1, AHEAD_ON_DASK)
        self.client = client
        self.alone_since: float | None = None

    @property
    def count(self) -> int:
        """The processes: whatever threads they have, they check one configuration at a time."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def result_of(self, future: Future[Result]) -> Result | None:
        """The result of a finished future; None where it killed its workers.

        Raises `InputError` where the scheduler is gone or the workers are not fit for the work.
        """
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker:
            return None
        except RnnParityError:
            raise
        except (CancelledError, asyncio.CancelledError):
            raise InputError(SCHEDULER_GONE) from None
        except Exception as error:
            raise InputError(
                f"--dask: a worker cannot do its work: {type(error).__name__}: {error}; install "
                "the same rnn-parity and TensorFlow there"
            ) from None

    def check_alive(self) -> None:
        """Raise `InputError` without a scheduler, or when it had no workers for a minute."""
        if self.client.status != "running":
            raise InputError(SCHEDULER_GONE)
        now = time.monotonic()
        if self.count:
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = now
        elif now - self.alone_since > SECONDS_WITHOUT_WORKERS:
            raise InputError(
                "--dask: the cluster has no workers left; a sweep with --resume goes on from there"
            )


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the Dask scheduler at `address`, with at least one worker."""
    try:
        from distributed import Client, Security, rpc
    except ImportError:
        raise MissingPackageError(
            "--dask: this needs Dask; install it with: pip install 'rnn-parity[dask]'"
        ) from None
    expected = f"--dask {address!r}: expected a running scheduler"

    async def kind_of_server() -> str:
        options = Security().get_connection_args("client")
        async with rpc(address, connection_args=options) as server:
            identity = await asyncio.wait_for(server.identity(), SECONDS_TO_CONNECT)
        return str(identity["type"])

    # Asked before there is a client: one that cannot connect is closed by the garbage collector
    # alone, which can block on a lock of the next client; and it waits for ever for another server.
    try:
        kind = asyncio.run(kind_of_server())
    except asyncio.TimeoutError:
        raise InputError(f"{expected}, received no answer in {SECONDS_TO_CONNECT} s") from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{expected}, received: {error}") from None
    if kind != "Scheduler":
        raise InputError(f"{expected}, received the address of a {kind.lower()}")
    client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    with client:
        try:
            client.wait_for_workers(1, timeout=SECONDS_TO_CONNECT)
        except asyncio.TimeoutError:
            raise InputError(f"{expected} with workers, received one without") from None
        yield client
