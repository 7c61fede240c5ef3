"""Progress of long work: a line where a person looks, and nothing anywhere else."""

import contextlib
import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from corpus import right_run

from rnn_parity.diagnosis.causes import causes
from rnn_parity.diagnosis.evidence import SequenceEvidence
from rnn_parity.diagnosis.faults import Computation
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.system import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "patience", "shown"),
    [
        (Terminal, 0.0, True),
        (Terminal, 3600.0, False),
        (io.StringIO, 0.0, False),
    ],
)
def test_a_line_on_a_terminal_alone_and_only_after_a_while(stream, patience, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr(progress, "PATIENCE", patience)
    with progress.on_terminal("diagnosis") as tick:
        for _ in range(3):
            tick()
    assert ("diagnosis" in sys.stderr.getvalue()) == shown


def test_diagnosis_tells_of_every_candidate_and_prints_nothing(capsys):
    run = right_run((2, 4, 3, 4))
    layer = run.layer()
    told = []
    right = Computation(layer, Sequences.of(layer, run.x))
    evidence = SequenceEvidence.around(right, np.full((2, 4, 4), 0.3, np.float32), None)
    assert causes(right, evidence, lambda: told.append(1)) == ()
    assert len(told) > 100
    assert capsys.readouterr() == ("", "")


def test_the_innermost_work_is_shown_and_its_line_goes(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "PERIOD", 0.001)

    def wait_for(text):
        while text not in sys.stderr.getvalue():
            time.sleep(0.001)

    with progress.on_terminal("outer"):
        wait_for("outer (")
        with progress.on_terminal("inner") as tick:
            tick()
            wait_for("inner (1 done, 0 s)")
            before = sys.stderr.getvalue()
            time.sleep(0.02)
            assert "outer" not in sys.stderr.getvalue()[len(before) :]
        sys.stderr.truncate(0)
        wait_for("outer (")
    assert sys.stderr.getvalue().endswith(progress.ERASE)


def test_the_line_reaches_a_terminal_while_stderr_is_closed_and_fits_it(monkeypatch):
    """As while TensorFlow is loaded."""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setenv("COLUMNS", "30")
    main, other = os.openpty()
    with os.fdopen(other, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress.on_terminal("loading " + "x" * 100):
            null = os.open(os.devnull, os.O_WRONLY)
            kept = os.dup(terminal.fileno())
            os.dup2(null, terminal.fileno())
            shown = os.read(main, 1000).decode()
            os.dup2(kept, terminal.fileno())
        os.close(null)
        os.close(kept)
    os.close(main)
    assert shown == progress.ERASE + ("rnn-parity: loading " + "x" * 100)[:29]


def test_where_there_is_no_stderr_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress.on_terminal("work") as tick:
        assert tick() is None


def test_loading_tensorflow_and_running_a_layer_are_told_on_a_terminal():
    """The real program; what it shows before a second is over depends on the machine."""
    code = (
        "from rnn_parity.system import progress; progress.PATIENCE = 0.0\n"
        "from rnn_parity.cli.main import main; main(['check', '--units', '2', '-q'])"
    )
    main, other = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=other, text=True
    ) as done:
        os.close(other)
        seen = b""
        with contextlib.suppress(OSError):  # Linux ends a terminal without anybody so
            while more := os.read(main, 4096):
                seen += more
        out = done.stdout.read()
    os.close(main)
    text = seen.decode()
    assert out.startswith("PARITY: ")
    assert out.count("\n") == 1
    assert text.index("loading TensorFlow") < text.index("running layer ")
    assert text.endswith(progress.ERASE)
