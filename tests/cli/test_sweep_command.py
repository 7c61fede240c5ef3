"""`rnn-parity sweep` as a person runs it: real sweeps, interrupted ones, and what is in the way."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_check import command, refused

from rnn_parity import keras_adapter
from rnn_parity.sweep import engine, worker
from rnn_parity.sweep.space import SPACES

ROOT = Path(__file__).parents[2]
KERAS_3 = hasattr(keras_adapter.tensorflow_module().keras, "ops")
BOTH = (False, True)
SMALL = {
    **{name: values[:1] for name, values in SPACES["simple_rnn"].items()},
    "mask": ("none", "right"),
    "go_backwards": BOTH,
    "unroll": BOTH,
    "zero_output_for_mask": BOTH,
    "stateful": BOTH,
    "open_size": ("none", "batch"),
    "units": (2,),
}


@pytest.fixture
def small(monkeypatch):
    """A space of 2^6 combinations, a quarter of which contradict themselves."""
    monkeypatch.setitem(SPACES, "simple_rnn", SMALL)


def swept(*arguments):
    """The document of a sweep."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = command("sweep --format json", *arguments)
    document = json.loads(out.getvalue())
    assert document["exit_code"] == code
    return document


def keys(entries):
    return [json.dumps(entry["configuration"], sort_keys=True) for entry in entries]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with the results of all combinations, and the two documents that came of them: of
    the first 20, and of all."""
    folder = tmp_path_factory.mktemp("results")
    resume = ("--strength full --resume", folder / "results.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPACES, "simple_rnn", SMALL)
        first = swept(*resume, "--limit 20")
        whole = swept(*resume, "--allow-known --repro", folder / "repro")
    return folder, first, whole


def test_a_sweep_finds_what_is_known_and_nothing_else(results):
    folder, first, found = results
    assert found["exit_code"] == 0
    # Stateful with an open batch is refused, and not asked for.
    assert "refused" not in found["sweep"]["verdicts"]
    (left_out,) = found["sweep"]["left_out"]
    assert (left_out["configuration"]["stateful"], left_out["known"]) == (True, None)
    assert "batch size" in left_out["message"]
    assert len(found["checks"]) == len(set(keys(found["checks"]))) == 64 - 16
    # Four options at once, times what is left of stateful and open_size.
    assert found["sweep"]["verdicts"]["diverged"] == 3
    assert first["sweep"]["looked_into"] > 0
    (masked,) = found["sweep"]["findings"]
    assert (masked["known"], masked["count"]) == ("zeroed-by-the-mask-as-given", 3)
    assert masked["smallest"]["shape"] == {"batch": 3, "timesteps": 3, "features": 4, "units": 2}
    (script,) = (folder / "repro").iterdir()
    assert masked["script"] == str(script)
    done = subprocess.run([sys.executable, "-I", script], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr


def test_what_is_done_is_not_done_again(results, small, monkeypatch):
    folder, first, whole = results
    path = folder / "results.jsonl"
    assert first["sweep"]["new"] == 20
    assert 0 < whole["sweep"]["new"] <= 48 - 20
    assert keys(whole["checks"])[: len(first["checks"])] == keys(first["checks"])
    monkeypatch.setattr(engine, "check_configuration", pytest.fail)
    again = swept("--strength full --allow-known --resume", path)
    assert again["sweep"]["new"] == 0
    assert again["checks"] == whole["checks"]
    assert again["sweep"]["looked_into"] == 0
    alike = [{**f, "script": None} for f in whole["sweep"]["findings"]]
    assert again["sweep"]["findings"] == alike
    lines = path.read_text().splitlines()[1:]
    assert len({json.dumps(json.loads(line)["configuration"]) for line in lines}) == len(lines)


def test_known_mistakes_fail_unless_they_are_allowed(results, small, capsys):
    assert command("sweep --strength full --resume", results[0] / "results.jsonl") == 1
    assert "1. DIVERGED, known: zeroed-by-the-mask-as-given" in capsys.readouterr().out


def test_the_first_so_many(small):
    found, again = (swept("--strength 2 --limit 5 --seed 1") for _ in range(2))
    assert found["sweep"]["count"] == 5
    assert keys(again["checks"]) == keys(found["checks"])


def test_the_command_of_a_finding_names_its_cause(results, small, capsys):
    """One unit in two steps shows nothing but zeros; a check asks for more numbers."""
    assert command("sweep --strength full --resume", results[0] / "results.jsonl") == 1
    out = capsys.readouterr().out
    assert "none of the" not in out  # what is known is not called unexplained
    again = out.partition("again")[2].partition("\n\n")[0].replace("\\\n", " ")
    assert command(" ".join(again.split()[1:]), "--format json") == 1
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert check["causes"][0]["fault"] == "zeroed-by-the-mask-as-given"


def test_what_is_left_out_is_checked_nowhere(small):
    found = swept("--strength 2 --exclude unroll --arg go_backwards=True --mask right")
    ones = [check["configuration"] for check in found["checks"]]
    assert {(one["unroll"], one["go_backwards"], one["mask"]) for one in ones} == {
        (False, True, "right")
    }
    assert len({one["stateful"] for one in ones}) == 2
    assert found["sweep"]["restricted"] == {
        "mask": ["right"],
        "go_backwards": [True],
        "unroll": [False],
    }
    assert found["sweep"]["excluded"]["mask"] == ["none"]


def test_a_sweep_that_is_killed_goes_on(tmp_path):
    path = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "rnn_parity", "sweep", "--strength", "2", "--limit", "14"]
    command += ["--resume", str(path), "--format", "json", "--workers", "2"]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)
    while not path.exists() or path.read_bytes().count(b"\n") < 5:
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    done = path.read_bytes().rpartition(b"\n")[0].splitlines()
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    document = json.loads(finished.stdout)
    assert document["sweep"]["count"] == 14
    assert document["sweep"]["new"] <= 14 - (len(done) - 1)
    assert path.read_bytes().splitlines()[: len(done)] == done


def test_a_cluster_whose_worker_is_killed_checks_everything_once(monkeypatch):
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**settings, silence_logs=50) as cluster:
        seen, add = [], engine.Journal.add

        def adding(journal, *entry):
            seen.append(entry)
            if len(seen) == 8:
                os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
            add(journal, *entry)

        monkeypatch.setattr(engine.Journal, "add", adding)
        found = swept("--strength", "1", "--dask", cluster.scheduler_address)
    document = found["sweep"]
    assert len(seen) > 8
    assert document["count"] == len(found["checks"]) + len(document["refused"])
    every = keys(found["checks"]) + keys(document["refused"])
    assert len(set(every)) == len(every) == document["count"]
    # Every activation that Keras knows by its name; those of layer classes are Keras 2's alone.
    names = [name for name in SPACES["simple_rnn"]["activation"] if name.islower()]
    assert document["count"] >= len(names) > 20
    assert not any("died" in check["summary"] for check in found["checks"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--layer conv_lstm", "received 'conv_lstm'"),
        ("--strength 0", "expected an integer from 1 to"),
        ("--strength much", "expected an integer from 1 to"),
        ("--limit 0", "expected an integer from 1 to"),
        ("--workers 0", "expected an integer from 1 to"),
        ("--workers 2 --dask tcp://x:1", "--workers: the Dask cluster has its own"),
        (
            "--against onxn",
            "expected one of keras:BACKEND, onnx|litert, tfjs, module:function, which",
        ),
        ("--against onxn", "; did you mean onnx?"),
        ("--against net.tflite", "rnn-parity check MODEL --against net.tflite"),
        ("--bogus", "unrecognized arguments: --bogus; try rnn-parity sweep --help"),
        ("--resume /no/such/folder/a.jsonl", "--resume '/no/such/folder/a.jsonl': cannot be"),
        ("--repro /dev/null", "--repro '/dev/null': cannot be made: File exists"),
        ("-o /no/such/folder/a.json", "cannot write '/no/such/folder/a.json'"),
        ("--strength 99", "--strength: expected full, or an integer from 1 to"),
        ("--strength full", "--strength full: expected a --limit"),
        (
            "--mode eagr",
            "--mode eagr: received 'eagr'; did you mean eager? expected some of eager, graph, xla",
        ),
        ("--arg activation", "expected NAME=VALUE or NAME=VALUE,VALUE, not 'activation'"),
        ("--exclude maks", "did you mean mask?"),
        ("--arg time_major=True,", "expected VALUE or VALUE,VALUE, received 'True,'"),
        (
            "--against onnx --mode xla",
            "--mode xla: Keras's own outputs are not checked with --against onnx, so that it does "
            "not matter how Keras runs a layer; leave it out",
        ),
    ],
)
def test_bad_usage(capsys, arguments, words):
    assert words in refused(capsys, "sweep", arguments)


def test_a_full_disk_under_the_results(small, capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    err = refused(capsys, "sweep", "--strength", "1", "--resume", "/dev/full")
    assert "--resume '/dev/full': cannot be written: No space left on device" in err


def test_a_sweep_writes_files_beside_stdout(small, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = command("sweep --strength 1 -o sweep.json -o sweep.md")
    out = capsys.readouterr().out
    assert out.startswith("rnn-parity ")
    document = json.loads((tmp_path / "sweep.json").read_text())
    assert document["exit_code"] == code
    assert (tmp_path / "sweep.md").read_text().startswith("## rnn-parity ")


def test_the_answer_does_not_overwrite_the_results(small, capsys, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{}\n")
    assert "would overwrite what is read" in refused(
        capsys, "sweep", "--resume", str(path), "-o", str(path)
    )


def test_without_dask_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    err = refused(capsys, "sweep", "--dask", "tcp://127.0.0.1:1")
    assert "pip install 'rnn-parity[dask]'" in err


def test_what_was_compared_with_nothing_is_not_proven(small, monkeypatch):
    monkeypatch.setattr(worker, "observe", lambda *_: [][0])
    found = swept("--strength", "1")
    assert (found["exit_code"], found["verdict"]) == (3, "inconclusive")
