"""Progress of long work: a line where a person looks, and nothing anywhere else."""

import io
import sys

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
