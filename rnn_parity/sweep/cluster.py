"""The workers of a Dask cluster: `sweep --dask ADDRESS`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from rnn_parity.errors import InputError, MissingPackageError, RnnParityError
from rnn_parity.sweep.pool import Item, Result

SECONDS_TO_CONNECT = 10
SECONDS_WITHOUT_WORKERS = 60
AHEAD = 200
"""So many items are at the scheduler at any time."""
SCHEDULER_GONE = "--dask: the scheduler is gone; what is done is kept"


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
        # With results: one that is lost with its worker, after it was ready, is waited for again.
        completed = as_completed(
            given, loop=self.client.loop, with_results=True, raise_errors=False
        )
        alone_since = time.monotonic()
        while given:
            for future, result in completed.next_batch(block=False):
                item = given.pop(future)
                for another in islice(waiting, 1):
                    new = self.submit(function, another)
                    given[new] = another
                    completed.add(new)
                yield item, settled(future, result)
            if self.client.status != "running":
                raise InputError(SCHEDULER_GONE)
            if self.count:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > SECONDS_WITHOUT_WORKERS:
                raise InputError("--dask: the cluster has no workers left; what is done is kept")
            time.sleep(0.02)

    def submit(self, function: Callable[[Item], Result], item: Item) -> Any:
        """A future of `function(item)`."""
        return self.client.submit(function, item, pure=False)


def settled(future: Any, result: Any) -> Any:
    """The result of a finished future; None where it killed its workers."""
    from distributed import CancelledError, KilledWorker

    if isinstance(result, CancelledError):
        raise InputError(SCHEDULER_GONE)
    if future.status != "error":
        return result
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
