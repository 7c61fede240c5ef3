"""Who does the work: real processes and a real Dask cluster, parts of which are killed."""

import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import sweep_jobs as jobs

from rnn_parity.errors import InputError
from rnn_parity.sweep import pool as pools
from rnn_parity.sweep.pool import pool

LOCAL = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
TWENTY = {n: n * n for n in range(20)}


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, **LOCAL) as cluster:
        yield cluster


@pytest.fixture(params=["processes", "Dask"])
def who(request):
    """Two workers, of either kind."""
    if request.param == "processes":
        return {"workers": 2}
    return {"dask": request.getfixturevalue("cluster").scheduler_address}


def done(function, items=range(20), **who):
    """What comes of all items; each comes exactly once."""
    with pool(**who) as them:
        found = list(them.as_completed(function, items))
    assert len(found) == len(dict(found)) == len(items)
    return dict(found)


def python(folder, *lines):
    """A Python of its own that runs these lines as a script, and can be asked for the jobs."""
    script = folder / "script.py"
    script.write_text("if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in lines))
    return subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_this_process_does_it_alone_in_order():
    with pool() as here:
        assert here.count == 1
        assert list(here.as_completed(jobs.square, [3, 1])) == [(3, 9), (1, 1)]
    assert set(done(jobs.process_id).values()) == {os.getpid()}


def test_workers_share_the_work(who):
    """More of it than is handed out at once."""
    ids = set(done(jobs.process_id, range(210), **who).values())
    assert len(ids) == 2
    assert os.getpid() not in ids


def test_what_kills_every_worker_is_given_up(who):
    assert done(jobs.always_die_of_five, **who) == {**TWENTY, 5: None}


def test_an_error_is_the_same_error(who):
    with pytest.raises(InputError, match="five: expected another number"):
        done(jobs.refuse_five, **who)


@pytest.fixture
def nobody_left():
    """No process that a test starts goes on when it has ended."""
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.usefixtures("nobody_left")
class TestProcesses:
    def test_the_work_of_a_process_that_died_is_done_again(self, tmp_path):
        assert done(partial(jobs.die_of_five, folder=str(tmp_path)), workers=2) == TWENTY
        asked = [name.partition("-")[0] for name in os.listdir(tmp_path)]
        assert sorted(asked) == sorted([*map(str, range(20)), "5"])

    def test_an_error_here_ends_what_they_are_doing(self):
        def work():
            with pool(workers=2) as them:
                for _ in them.as_completed(jobs.for_ever_but_one, range(20)):
                    raise InputError("the disk is full")

        with pytest.raises(InputError, match="the disk is full"):
            work()

    def test_a_pool_can_be_used_again(self):
        with pool(workers=1) as one:
            assert dict(one.as_completed(jobs.square, [2])) == {2: 4}
            assert dict(one.as_completed(jobs.square, [3])) == {3: 9}

    def test_one_that_has_done_enough_makes_place(self, monkeypatch):
        monkeypatch.setattr(pools, "MOST_ITEMS", 4)
        ids = list(done(jobs.process_id, range(10), workers=1).values())
        assert [ids.count(one) for one in dict.fromkeys(ids)] == [4, 4, 2]

    def test_what_they_print_is_not_the_answer(self, tmp_path):
        running = python(
            tmp_path,
            "from rnn_parity.sweep.pool import pool",
            "from sweep_jobs import printed",
            "with pool(workers=1) as one:",
            "    print(dict(one.as_completed(printed, [1])))",
        )
        assert running.communicate() == ("{1: 1}\n", "not the answer\n")

    def test_ctrl_c_ends_them_at_once_and_they_say_nothing(self, tmp_path):
        running = python(
            tmp_path,
            "import signal",
            "from rnn_parity.sweep.pool import pool",
            "from sweep_jobs import for_ever_but_one",
            # Who starts the tests may ignore it, which a child inherits.
            "signal.signal(signal.SIGINT, signal.default_int_handler)",
            "try:",
            "    with pool(workers=1) as one:",
            "        for pair in one.as_completed(for_ever_but_one, [1, 2]):",
            "            print(*pair, flush=True)",
            "except KeyboardInterrupt:",
            "    print('interrupted')",
        )
        assert running.stdout.readline() == "1 1\n"
        os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it: to the workers as well
        assert running.communicate() == ("interrupted\n", "")

    def test_they_end_when_their_parent_is_killed(self, tmp_path):
        running = python(
            tmp_path,
            "import os",
            "from rnn_parity.sweep.pool import pool",
            "from sweep_jobs import process_id",
            "with pool(workers=1) as one:",
            "    print(*dict(one.as_completed(process_id, [1])).values(), flush=True)",
            "    os.kill(os.getpid(), 9)",
        )
        # The worker holds the other end of stderr: it is closed when the worker has ended.
        out, _ = running.communicate()
        assert running.returncode == -signal.SIGKILL
        left = Path(f"/proc/{int(out)}/cmdline")
        assert not left.exists() or not left.read_bytes()


@pytest.fixture
def two(cluster):
    """The pool of the cluster, both workers of which are there."""
    with pool(dask=cluster.scheduler_address) as them:
        them.client.wait_for_workers(2)
        yield them


def kill_a_worker(cluster):
    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)


def refused(address):
    """What is said of an address at which nothing can work; it leaves no client behind."""
    distributed = pytest.importorskip("distributed")
    with pytest.raises(InputError) as error:
        done(jobs.square, [1], dask=address)
    clients = [one for one in gc.get_objects() if isinstance(one, distributed.Client)]
    assert all(one.status == "closed" for one in clients)
    expected = f"--dask {address!r}: expected a running scheduler, received"
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(expected)


class TestDask:
    def test_a_worker_is_killed_in_the_middle(self, cluster, two):
        assert two.count == 2
        found = []
        for pair in two.as_completed(jobs.slow_square, range(100)):
            found.append(pair)
            if len(found) == 10:
                kill_a_worker(cluster)
        assert sorted(found) == [(n, n * n) for n in range(100)]

    def test_results_that_are_lost_with_their_worker_are_worked_out_again(self, cluster, two):
        found = []
        for pair in two.as_completed(jobs.slow_square, range(40)):
            found.append(pair)
            if len(found) == 1:
                time.sleep(1.5)  # both workers have done their part meanwhile
                kill_a_worker(cluster)
                time.sleep(0.3)  # and the other one does what is lost
        assert sorted(found) == [(n, n * n) for n in range(40)]

    def test_a_scheduler_is_killed_in_the_middle(self, tmp_path):
        pytest.importorskip("distributed")
        scheduler = python(
            tmp_path,
            "import distributed, time",
            f"with distributed.LocalCluster(n_workers=1, **{LOCAL!r}) as cluster:",
            "    print(cluster.scheduler_address, flush=True)",
            "    time.sleep(600)",
        )
        address, found = scheduler.stdout.readline().strip(), []

        def work():
            for pair in them.as_completed(jobs.slow_square, range(100)):
                found.append(pair)
                if len(found) == 10:
                    scheduler.kill()

        try:
            with pool(dask=address) as them, pytest.raises(InputError, match="scheduler is gone"):
                work()
        finally:
            scheduler.kill()
            scheduler.communicate()
        assert 10 <= len(found) < 100

    def test_all_workers_leave(self, monkeypatch):
        distributed = pytest.importorskip("distributed")
        monkeypatch.setattr(pools, "SECONDS_WITHOUT_WORKERS", 0.1)

        def work():
            for _ in them.as_completed(jobs.slow_square, range(1000)):
                cluster.scale(0)

        with (
            distributed.LocalCluster(n_workers=1, **LOCAL) as cluster,
            pool(dask=cluster.scheduler_address) as them,
            pytest.raises(
                InputError, match="the cluster has no workers left; a sweep with --resume"
            ),
        ):
            work()

    @pytest.fixture
    def in_a_second(self, monkeypatch):
        monkeypatch.setattr(pools, "SECONDS_TO_CONNECT", 1)

    def test_a_scheduler_without_workers(self, in_a_second):
        distributed = pytest.importorskip("distributed")
        with (
            distributed.LocalCluster(n_workers=0, **LOCAL) as cluster,
            pytest.raises(InputError, match="scheduler with workers, received one without"),
        ):
            done(jobs.square, [1], dask=cluster.scheduler_address)

    def test_nobody_answers(self, in_a_second):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            assert refused(f"tcp://127.0.0.1:{unused.getsockname()[1]}") == " no answer in 1 s"

    def test_another_server_takes_the_call_and_is_silent(self, in_a_second):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            assert refused(f"127.0.0.1:{silent.getsockname()[1]}") == " no answer in 1 s"

    def test_another_part_of_the_cluster(self, cluster):
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
    def test_what_is_no_address(self, address, reason):
        assert refused(address).startswith(f": {reason}")
