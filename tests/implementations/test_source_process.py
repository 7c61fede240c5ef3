"""Programs that hang, leave children behind, or run when this process is asked to end."""

import os
import signal
import subprocess
import sys
import time
from itertools import chain, count
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import gone

from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.system import processes as program_processes
from rnn_parity.system.processes import Unwinding, run_program

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    yield tmp_path
    assert list((tmp_path / "temporary").iterdir()) == []


HANGS = "echo working >&2; sleep 300 & echo $! $$ > pids; wait"


def hangs():
    """Whether the program has written all of its processes' ids."""
    return Path("pids").exists() and Path("pids").read_text().endswith("\n")


def pids():
    for _ in range(2000):
        if hangs():
            return [int(pid) for pid in Path("pids").read_text().split()]
        time.sleep(0.05)
    raise AssertionError("the program did not start")


def ran(script, limit=300.0):
    with Unwinding() as signals:
        run_program(["sh", "-c", script], limit, "the program", signals)


def test_a_program_that_hangs_is_ended_with_its_children(monkeypatch):
    # The limit is over as soon as the program hangs, however long that takes here.
    times = chain([0.0], (float(hangs()) for _ in count()))
    clock = SimpleNamespace(monotonic=lambda: next(times), sleep=time.sleep)
    monkeypatch.setattr(program_processes, "time", clock)
    with pytest.raises(InputError) as error:
        ran(HANGS, 0.5)
    assert str(error.value) == (
        "the program: it was still running after 0.5 seconds and was ended; "
        "RNN_PARITY_TIME_LIMIT allows more: working"
    )
    assert all(map(gone, pids()))


def test_a_child_that_stays_behind_is_ended():
    ran("sleep 300 & echo $! $$ > pids")
    assert all(map(gone, pids()))


def test_a_child_that_left_the_group_is_not_waited_for():
    with pytest.raises(SourceFailedError, match="ended with exit code 3: words"):
        ran("setsid sleep 300 & echo $! > pids; echo words; exit 3")
    (pid,) = pids()
    os.kill(pid, signal.SIGKILL)  # it was still there


def test_signals_are_handled_as_before_when_all_is_done():
    before = [signal.getsignal(number) for number in Unwinding.SIGNALS]
    ran("true")
    assert [signal.getsignal(number) for number in Unwinding.SIGNALS] == before


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ran("kill -HUP $PPID")
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def usual_interrupts():
    """Handled as Python does by itself, whatever these tests inherited (a shell's `&`)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_for_a_good_moment(usual_interrupts):
    done = []

    def interrupted():
        with Unwinding() as signals:
            os.kill(os.getpid(), signal.SIGINT)
            done.append("before the pause")
            signals.pause(0)
            done.append("after it")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["before the pause"]


@pytest.mark.parametrize(
    ("sent", "code", "delay"),
    [
        (signal.SIGINT, 130, 0),
        (signal.SIGINT, 130, 0.2),
        (signal.SIGTERM, 143, 0),
        (signal.SIGHUP, 129, 0.2),
    ],
)
def test_a_signal_ends_everything(folder, sent, code, delay):
    (folder / "program.sh").write_text(HANGS)
    source = "cmd:sh program.sh {input} {output}"
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "signal.signal(signal.SIGTERM, signal.SIG_DFL); "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "import sys; from rnn_parity.cli import main as cli; import numpy as np; "
        "from hand_case import make; from rnn_parity.cases.case import write_case; "
        "write_case('case.npz', make()); "
        f"sys.exit(cli.main(['check', 'case.npz', '--against', {source!r}]))"
    )
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    running = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ours = pids()
        time.sleep(delay)
        running.send_signal(sent)
        out, err = running.communicate(timeout=300)
    finally:
        running.kill()
    assert (out, err, running.returncode) == ("", "", code)
    assert all(map(gone, ours))
