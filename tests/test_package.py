"""What `import rnn_parity` offers, and what it leaves unimported."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import rnn_parity

ROOT = Path(__file__).parent.parent


def test_what_make_mutants_names_exists():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has none")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    for module, tests in settings.items():
        assert (ROOT / "rnn_parity" / f"{module}.py").is_file()
        assert all((ROOT / "tests" / f"{name}.py").is_file() for name in tests)
    listed = tomllib.loads((ROOT / "tests" / "mutants_equivalent.toml").read_text())
    for one in listed["equivalent"]:
        assert one["module"] in settings
        assert one["reason"]
        source = " ".join((ROOT / "rnn_parity" / f"{one['module']}.py").read_text().split())
        for before, after in one["changes"]:
            assert before != after
            assert " ".join(before.split()) in source


def in_a_new_process(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    return done.stdout.strip()


def test_importing_imports_neither_numpy_nor_tensorflow():
    code = (
        "import sys, rnn_parity; print(sorted({'numpy', 'tensorflow', 'keras'} & {*sys.modules}))"
    )
    assert in_a_new_process(code) == "[]"


def test_every_public_name_is_there_without_tensorflow():
    code = (
        "import sys, rnn_parity as rp; "
        "print(*(type(getattr(rp, name)).__name__ for name in rp.__all__)); "
        "assert 'tensorflow' not in sys.modules"
    )
    kinds = in_a_new_process(code).split()
    assert kinds[-5:] == ["str", *["function"] * 4]
    assert {*kinds[:-5]} == {"type", "_LiteralGenericAlias"}
    assert kinds.count("_LiteralGenericAlias") == 1  # Verdict


def test_completion_shows_what_is_for_people_alone():
    names = in_a_new_process("import rnn_parity as rp; rp.SimpleRNN; print(*dir(rp))").split()
    assert names == sorted(rnn_parity.__all__)
    assert not {"importlib", "annotations", "TYPE_CHECKING", "Any", "recurrence"} & {*names}


def test_what_a_report_consists_of_can_be_named_in_an_annotation():
    x = np.ones((2, 3, 1))
    layer = rnn_parity.SimpleRNN([[0.5]], [[0.25]], [0.1])
    trace = rnn_parity.replay(layer, x)
    assert isinstance(trace, rnn_parity.Trace)
    right = rnn_parity.compare(layer, x, trace.outputs, trace.final_state).checks[0]
    wrong = rnn_parity.compare(layer, x, trace.outputs + 1).checks[0]
    assert isinstance(right, rnn_parity.Check)
    assert isinstance(right.subject, rnn_parity.Subject)
    assert isinstance(right.shape, rnn_parity.Shape)
    assert isinstance(right.timesteps[0], rnn_parity.TimestepRow)
    assert isinstance(right.heat_map, rnn_parity.HeatMap)
    assert isinstance(right.final_state[0], rnn_parity.StateRow)
    assert isinstance(right.sensitivity, rnn_parity.Sensitivity)
    assert isinstance(right.sensitivity.blind[0], rnn_parity.BlindSpot)
    assert isinstance(wrong.first_divergence, rnn_parity.Divergence)
    assert right.verdict in get_args(rnn_parity.Verdict)


def test_the_package_says_that_it_has_types():
    assert (ROOT / "rnn_parity" / "py.typed").is_file()


def test_the_names_come_from_their_modules():
    module = importlib.import_module("rnn_parity.api.functions")
    assert rnn_parity.check is module.check
    assert rnn_parity.Report is importlib.import_module("rnn_parity.report.report").Report
    assert rnn_parity.SimpleRNN is importlib.import_module("rnn_parity.recurrence.cells").SimpleRNN


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'ConvLSTM'"):
        rnn_parity.ConvLSTM  # noqa: B018


def test_star_import_gives_the_public_names():
    names = in_a_new_process(
        "from rnn_parity import *; print(*sorted(n for n in dir() if n[0] != '_'))"
    )
    assert names.split() == sorted(n for n in rnn_parity.__all__ if n != "__version__")
