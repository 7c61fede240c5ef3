"""`tests/gpu.py` on a CPU: its table and its exit code. What cuDNN computes it cannot tell here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "gpu.py"


def ran(*arguments):
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("gpu") / "gpu.json"
    some = ["--layer", "lstm", "--mode", "graph", "--direction", "backwards", "--json", str(path)]
    done = ran(*some, "--mask", "none", "--mask", "right", "--dtype", "float32")
    return done, json.loads(path.read_text())


def test_the_table_says_what_ran_and_what_came_of_it(small):
    done, report = small
    assert done.returncode == 0
    assert [row["options"] for row in report["rows"]] == [
        ["lstm", "graph", mask, "backwards", "float32"] for mask in ("none", "right")
    ]
    for row in report["rows"]:
        assert row["verdict"] == "parity"
        assert 20 < row["bits"] < 40
        assert row["kernel"] in ("cudnn", "standard", "loop")
        shown = [*row["options"], row["kernel"], "parity", f"{row['bits']:.1f}"]
        assert any(line.split() == shown for line in done.stdout.splitlines())
    assert "2 of 2 ran, 0 are not as expected" in done.stdout


def test_without_a_gpu_it_says_so(small):
    done, report = small
    if report["device"] != "cpu":
        pytest.skip("there is a GPU here")
    assert "no GPU" in done.stdout
    assert all(row["kernel"] != "cudnn" for row in report["rows"])


def test_what_did_not_run_does_not_pass():
    done = ran("--layer", "gru", "--minutes", "0")
    assert done.returncode == 1
    assert "0 of 96 ran" in done.stdout
    assert done.stdout.count("not run") == 96
