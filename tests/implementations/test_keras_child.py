"""The processes behind Keras's other backends: time limit, crashes, orphans, and their messages."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.implementations.keras_backend import (
    Child,
    implementation,
    installed,
    question,
    receive,
    send,
)
from rnn_parity.implementations.request import Request

ROOT = Path(__file__).parents[2]

if not installed():
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

ONES = np.ones((1, 1), np.float32)
REQUEST = Request(rp.SimpleRNN(ONES, ONES), np.ones((1, 2, 1), np.float32))


def message():
    return question(REQUEST, "keras:numpy")


def gone(pid):
    """Whether the process ends, sooner or later."""
    for _ in range(2000):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().split()[2] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_the_time_limit(monkeypatch):
    monkeypatch.setenv("RNN_PARITY_TIME_LIMIT", "0.05")
    with pytest.raises(InputError) as caught:
        implementation("numpy")(REQUEST)
    expected = "no answer within 0.05 seconds; RNN_PARITY_TIME_LIMIT allows more"
    assert str(caught.value) == f"keras:numpy: {expected}"


def test_a_process_that_is_killed_is_one_line_and_is_started_anew():
    child = Child("numpy", 300)
    assert child.ask(message())["outputs"].shape == (1, 2, 1)
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    with pytest.raises(SourceFailedError, match=r"^keras:numpy: its process crashed with SIGKILL$"):
        child.ask(message())
    assert child.ask(message())["outputs"].shape == (1, 2, 1)


def test_a_crash_shows_the_last_line_that_was_written(tmp_path, monkeypatch):
    lines = ("import os, sys", "print('first\\nno such device\\n', file=sys.stderr)", "os._exit(7)")
    (tmp_path / "keras.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(InputError) as caught:
        Child("numpy", 300).ask(message())
    expected = "its process ended with exit code 7: no such device"
    assert str(caught.value) == f"keras:numpy: {expected}"


def test_what_a_backend_prints_does_not_get_among_the_answers(tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("print('hello')\nraise ImportError('half a Keras')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(InputError, match="keras:numpy: Keras refused: half a Keras") as caught:
        Child("numpy", 300).ask(message())
    assert not isinstance(caught.value, SourceFailedError)


PARENT = """
import numpy as np, time, rnn_parity as rp
from rnn_parity.implementations import keras_backend as kb
from rnn_parity.implementations.request import Request
child = kb.Child("numpy", 300)
layer = rp.SimpleRNN([[1.0]], [[1.0]])
child.ask(kb.question(Request(layer, np.ones((1, 2, 1))), "keras:numpy"))
print(child.process.pid, flush=True)
{then}
"""


@pytest.mark.parametrize("then", ["pass", "time.sleep(60)", "raise SystemExit(3)"])
def test_no_process_and_no_file_stays_behind(then, tmp_path):
    command = [sys.executable, "-c", PARENT.format(then=then)]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    pid = int(running.stdout.readline())
    assert os.listdir(tmp_path) == []
    if "sleep" in then:
        running.kill()
    running.communicate(timeout=300)
    assert gone(pid)


def test_messages_hold_arrays_alone():
    stream = io.BytesIO()
    send(stream, {"a": np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), "name": "x", "flag": True})
    whole = stream.getvalue()
    found = receive(io.BytesIO(whole))
    assert found["a"].tolist() == [[1, 2], [3, 4]]
    assert (found["a"].flags.c_contiguous, str(found["name"]), found["flag"].item()) == (
        True,
        "x",
        True,
    )
    for cut in (0, 5, len(whole) - 1):
        assert receive(io.BytesIO(whole[:cut])) is None
    stream = io.BytesIO()
    send(stream, {"a": np.array([{}], object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        receive(io.BytesIO(stream.getvalue()))
