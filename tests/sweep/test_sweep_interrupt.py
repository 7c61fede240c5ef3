"""Ctrl-C ends a sweep, even where it is swallowed, and says how to go on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rnn_parity.sweep.interrupt import Insisting

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no such signals here")
ROOT = Path(__file__).parents[2]

# Who starts the tests may ignore SIGINT, which a child inherits.
START = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
SWALLOWED = (
    START
    + """
import time
from rnn_parity.sweep.interrupt import Insisting

class Object:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep({seconds})

try:
    with Insisting():
        Object()
        print("swallowed", flush=True)
        time.sleep({then})
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
)
SWEEP = (
    START
    + """
import time
from rnn_parity.sweep import engine, worker
from rnn_parity.sweep.space import SPACES

SPACES["simple_rnn"] = {{
    **{{name: values[:1] for name, values in SPACES["simple_rnn"].items()}},
    "mask": ("none", "right"),
    "zero_output_for_mask": (False, True),
    "units": (2,),
}}
shrink = engine.shrink

def shrinking(*given):
    os.write(1, b"shrinking\\n")
    found = shrink(*given)
    if not {swallows}:
        time.sleep(60)  # it is interrupted before it ends, however fast it was
    return found

class Object:
    def __del__(self):
        if {swallows}:
            os.write(1, b"in a finalizer\\n")
            signal.pause()

checked = worker._checked

def checks(*given, **more):
    Object()
    return checked(*given, **more)

def late(*given):
    worker._checked = checks
    return shrinking(*given)

engine.shrink = late if {swallows} else shrinking
sys.argv[:] = ["rnn-parity", "sweep", "--strength", "full", "--against", "port:wrong", {resume}]
runpy.run_module("rnn_parity", run_name="__main__", alter_sys=True)
"""
)
PORT = """
import numpy as np

def wrong(inputs, layer, mask=None, initial_state=None):
    return np.zeros((len(inputs), inputs.shape[1], layer.units), "float32")
"""


def python(code, folder):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("seconds", "then"), [(0.01, 0), (0.01, 30)])
def test_an_interrupt_in_a_finalizer_ends_the_block(tmp_path, seconds, then):
    out, err = python(SWALLOWED.format(seconds=seconds, then=then), tmp_path).communicate()
    assert out == "swallowed\ninterrupted\nTrue\n"
    assert "Exception ignored in" in err


def test_it_leaves_alone_what_others_handle():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Insisting():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted_within():
    with Insisting():
        with Insisting():
            os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the inner block ended in peace")


def test_one_within_another():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_within()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("swallows", "resume"),
    [(False, '"--resume", "a.jsonl"'), (True, "")],
    ids=["kept", "swallowed"],
)
def test_ctrl_c_while_a_sweep_shrinks(tmp_path, swallows, resume):
    (tmp_path / "port.py").write_text(PORT)
    running = python(SWEEP.format(swallows=swallows, resume=resume), tmp_path)
    assert running.stdout.readline() == "shrinking\n"
    if swallows:
        assert running.stdout.readline() == "in a finalizer\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out.replace("in a finalizer\n", "")) == (130, "")
    first, *rest = err.splitlines()
    assert first.startswith("rnn-parity: interrupted after ")
    assert rest == []
    if resume:
        count = len((tmp_path / "a.jsonl").read_text().splitlines()) - 1
        assert f"after {count} checks, which are kept: --resume a.jsonl goes on from there" in first
        for line in (tmp_path / "a.jsonl").read_text().splitlines():
            json.loads(line)
    else:
        assert first.endswith(
            "which are lost: with --resume FILE they would be kept, to go on from there"
        )
