"""Who does the work, with real processes, some of which are killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import sweep_jobs as jobs

from rnn_parity.errors import InputError
from rnn_parity.sweep import workers
from rnn_parity.sweep.workers import pool

TWENTY = {n: n * n for n in range(20)}


def run(function, items=range(20), **who):
    """What comes of all items; each comes exactly once."""
    with pool(**who) as them:
        found = list(them.run(function, items))
    assert len(found) == len(dict(found)) == len(items)
    return dict(found)


def test_this_process_does_it_alone_in_order():
    with pool() as here:
        assert here.count == 1
        assert list(here.run(jobs.square, [3, 1])) == [(3, 9), (1, 1)]
    assert set(run(jobs.process_id).values()) == {os.getpid()}


def test_processes_share_the_work():
    ids = set(run(jobs.process_id, workers=2).values())
    assert len(ids) == 2
    assert os.getpid() not in ids
    assert not multiprocessing.active_children()


def test_the_work_of_a_process_that_died_is_done_again(tmp_path):
    assert run(partial(jobs.die_of_five, folder=str(tmp_path)), workers=2) == TWENTY
    asked = [name.partition("-")[0] for name in os.listdir(tmp_path)]
    assert sorted(asked) == sorted([*map(str, range(20)), "5"])


def test_what_kills_every_process_is_given_up():
    assert run(jobs.always_die_of_five, workers=2) == {**TWENTY, 5: None}
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("who", [{}, {"workers": 2}])
def test_an_error_ends_the_work_and_the_workers(who):
    with pytest.raises(InputError, match="five: expected another number"):
        run(jobs.refuse_five, **who)
    assert not multiprocessing.active_children()


def test_a_pool_can_be_used_again():
    with pool(workers=1) as one:
        assert dict(one.run(jobs.square, [2])) == {2: 4}
        assert dict(one.run(jobs.square, [3])) == {3: 9}


def test_a_process_that_has_done_enough_makes_place(monkeypatch):
    monkeypatch.setattr(workers, "MOST_ITEMS", 4)
    ids = list(run(jobs.process_id, range(10), workers=1).values())
    assert [ids.count(one) for one in dict.fromkeys(ids)] == [4, 4, 2]
    assert not multiprocessing.active_children()


def test_what_workers_print_is_not_the_answer(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from rnn_parity.sweep.workers import pool\n"
        "from sweep_jobs import printed\n"
        "if __name__ == '__main__':\n"
        "    with pool(workers=1) as one:\n"
        "        print(dict(one.run(printed, [1])))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=env)
    assert (done.stdout, done.stderr) == ("{1: 1}\n", "not the answer\n")


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from rnn_parity.sweep.workers import pool\n"
        "from sweep_jobs import process_id\n"
        "if __name__ == '__main__':\n"
        "    with pool(workers=1) as one:\n"
        "        print(*dict(one.run(process_id, [1])).values(), flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # The worker holds the other end of stderr: it is closed when the worker has ended.
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=env)
    assert done.returncode == -signal.SIGKILL
    left = Path(f"/proc/{int(done.stdout)}/cmdline")
    assert not left.exists() or not left.read_bytes()
