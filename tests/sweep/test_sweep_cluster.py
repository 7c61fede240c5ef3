"""A real Dask cluster does the work; workers and schedulers of it are killed."""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import sweep_jobs as jobs

from rnn_parity.errors import InputError
from rnn_parity.sweep import cluster as dask_cluster
from rnn_parity.sweep.workers import pool

distributed = pytest.importorskip("distributed")

LOCAL = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}


def run(function, items, address):
    with pool(dask=address) as them:
        return list(them.run(function, items))


def refused(address):
    """What is said of an address at which nothing can work; it leaves no client behind."""
    with pytest.raises(InputError) as error:
        run(jobs.square, [1], address)
    clients = [one for one in gc.get_objects() if isinstance(one, distributed.Client)]
    assert all(one.status == "closed" for one in clients)
    expected = f"--dask {address!r}: expected a running scheduler, received"
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(expected)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, **LOCAL) as cluster:
        yield cluster


@contextmanager
def two_workers(cluster):
    with pool(dask=cluster.scheduler_address) as them:
        them.client.wait_for_workers(2)
        yield them


def kill_a_worker(cluster):
    victim = next(iter(cluster.workers.values()))
    os.kill(victim.pid, signal.SIGKILL)


def test_a_cluster_shares_the_work(cluster):
    found = run(jobs.process_id, range(300), cluster.scheduler_address)
    assert len(found) == len(dict(found)) == 300
    ids = set(dict(found).values())
    assert len(ids) == 2
    assert os.getpid() not in ids


def test_a_worker_is_killed_in_the_middle(cluster):
    found = []
    with two_workers(cluster) as them:
        assert them.count == 2
        for pair in them.run(jobs.slow_square, range(100)):
            found.append(pair)
            if len(found) == 10:
                kill_a_worker(cluster)
    assert sorted(found) == [(n, n * n) for n in range(100)]


def test_results_that_are_lost_with_their_worker_are_worked_out_again(cluster):
    found = []
    with two_workers(cluster) as them:
        for pair in them.run(jobs.slow_square, range(40)):
            found.append(pair)
            if len(found) == 1:
                time.sleep(1.5)  # both workers have done their part meanwhile
                kill_a_worker(cluster)
                time.sleep(0.3)  # and the other one does what is lost
    assert sorted(found) == [(n, n * n) for n in range(40)]


def test_an_error_is_the_same_error(cluster):
    with pytest.raises(InputError, match="five: expected another number"):
        run(jobs.refuse_five, range(20), cluster.scheduler_address)


def test_what_kills_every_worker_is_given_up(cluster):
    found = run(jobs.always_die_of_five, range(20), cluster.scheduler_address)
    assert sorted(found) == [(n, None if n == 5 else n * n) for n in range(20)]


def test_a_scheduler_is_killed_in_the_middle(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import distributed, time\n"
        "if __name__ == '__main__':\n"
        f"    with distributed.LocalCluster(n_workers=1, **{LOCAL!r}) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, script]
    found = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as scheduler:
        address = scheduler.stdout.readline().strip()

        def work():
            for pair in them.run(jobs.slow_square, range(100)):
                found.append(pair)
                if len(found) == 10:
                    scheduler.kill()

        try:
            with pool(dask=address) as them, pytest.raises(InputError, match="scheduler is gone"):
                work()
        finally:
            scheduler.kill()
    assert 10 <= len(found) < 100


def test_a_scheduler_without_workers(monkeypatch):
    monkeypatch.setattr(dask_cluster, "SECONDS_TO_CONNECT", 1)
    with (
        distributed.LocalCluster(n_workers=0, **LOCAL) as cluster,
        pytest.raises(InputError, match="scheduler with workers, received one without"),
    ):
        run(jobs.square, [1], cluster.scheduler_address)


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(dask_cluster, "SECONDS_TO_CONNECT", 1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert refused(f"tcp://127.0.0.1:{unused.getsockname()[1]}") == " no answer in 1 s"


def test_another_server_takes_the_call_and_is_silent(monkeypatch):
    monkeypatch.setattr(dask_cluster, "SECONDS_TO_CONNECT", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert refused(f"127.0.0.1:{silent.getsockname()[1]}") == " no answer in 1 s"


def test_another_part_of_the_cluster(cluster):
    nanny = next(iter(cluster.workers.values()))
    assert refused(nanny.address) == " the address of a nanny"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nowhere", "missing port number in address 'nowhere'"),
        ("tcp://", "missing port number in address ''"),
        ("ftp://127.0.0.1:1", "unknown address scheme 'ftp'"),
    ],
)
def test_what_is_no_address(address, reason):
    assert refused(address).startswith(f": {reason}")
