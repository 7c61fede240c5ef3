"""Several targets over processes and over Dask: the same report, whatever happens to a worker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_check import command, refused
from hand_case import OUTPUTS, make

from rnn_parity.cases.case import write_case
from rnn_parity.cli import spread

ROOT = Path(__file__).parents[2]
PORT = '''
import os
import signal
import numpy as np


def port(inputs, layer):
    """By hand; kills its process over a layer with three units."""
    if layer.units == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    h, outputs = np.zeros((len(inputs), layer.units)), []
    for t in range(inputs.shape[1]):
        h = inputs[:, t] @ layer.kernel + h @ layer.recurrent_kernel + layer.bias
        outputs.append(h)
    return np.stack(outputs, axis=1)


def waiting(inputs, layer):
    import time
    open("started", "w").close()
    time.sleep(600)
'''


def wide_case(units):
    """A case of a layer that adds up nothing but its bias."""
    zeros = np.zeros((units, units), np.float32)
    bias = np.arange(1, units + 1, dtype=np.float32)
    config = {**make().config, "units": units}
    outputs = np.broadcast_to(bias, (1, 2, units))
    arrays = {"kernel": zeros[:1], "recurrent_kernel": zeros, "bias": bias, "outputs": outputs}
    return make(config=config, final_state=(bias[None],), **arrays)


@pytest.fixture
def cases(tmp_path, monkeypatch):
    """A folder of cases, in parity, diverged and damaged, in which a port stands, too."""
    monkeypatch.chdir(tmp_path)
    write_case(str(tmp_path / "a.npz"), make())
    write_case(str(tmp_path / "b.npz"), make(outputs=OUTPUTS + 1))
    (tmp_path / "c.npz").write_bytes(b"PK no case")
    for i in range(4):
        write_case(str(tmp_path / f"d{i}.npz"), make())
    (tmp_path / "ports.py").write_text(PORT)
    return tmp_path


def document(capsys, *arguments):
    """The exit code, the document and what is said of a check."""
    code = command("check --format json", *arguments)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["exit_code"] == code
    return found, err


def test_the_report_is_that_of_one_process_in_the_same_order(cases, capsys):
    alone, said = document(capsys, ". --no-keras")
    spread_out, also_said = document(capsys, ". --no-keras --workers 2")
    assert spread_out == alone
    assert also_said == said
    paths = [check["subject"]["path"] for check in alone["checks"]]
    assert [Path(path).name for path in paths] == [
        "a.npz",
        "b.npz",
        *(f"d{i}.npz" for i in range(4)),
    ]
    assert [error["path"][-5:] for error in alone["errors"]] == ["c.npz"]
    assert alone["checks"][1]["causes"] == spread_out["checks"][1]["causes"]
    assert alone["checks"][0]["sensitivity"]["blind"]


def test_a_process_that_dies_over_a_target_is_an_error(cases, capsys):
    write_case(str(cases / "e.npz"), wide_case(3))
    (cases / "c.npz").unlink()
    found, said = document(capsys, ". --against ports:port --workers 2")
    (error,) = found["errors"]
    assert (Path(error["path"]).name, error["exit_code"]) == ("e.npz", 1)
    assert error["message"] == "the process that checked it died, twice"
    assert found["exit_code"] == 1
    assert "e.npz" in said
    assert len(found["checks"]) == 6


def test_layers_that_keras_runs_in_processes_of_their_own(tmp_path, capsys):
    keras = pytest.importorskip("tensorflow").keras
    rng = np.random.default_rng(5)
    for name, layer in {"one": keras.layers.LSTM(3), "two": keras.layers.GRU(2)}.items():
        net = keras.Sequential([keras.Input((4, 3)), layer])
        net.set_weights([rng.normal(0, 0.5, weight.shape) for weight in net.get_weights()])
        net.save(tmp_path / f"{name}.keras")
    alone, _ = document(capsys, tmp_path)
    assert document(capsys, tmp_path, "--workers 1")[0] == alone
    assert [check["verdict"] for check in alone["checks"]] == ["parity", "parity"]


def test_a_cluster_gives_the_same_report(cases, capsys):
    distributed = pytest.importorskip("distributed")
    alone, _ = document(capsys, ". --no-keras")
    settings = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**settings, silence_logs=50) as cluster:
        found, _ = document(capsys, ". --no-keras --dask", cluster.scheduler_address)
    assert found == alone


def test_workers_with_other_versions_are_refused(cases, capsys, monkeypatch):
    here = {**spread.versions(), "keras": "2.0"}
    monkeypatch.setattr(spread, "versions", lambda: here)
    said = refused(capsys, "check . --no-keras --workers 1")
    assert "expected workers with keras 2.0, as here, received one with" in said


def test_an_interrupt_ends_all_processes(cases):
    arguments = ["check", ".", "--against", "ports:waiting", "--workers", "2"]
    # A job in the background ignores this signal, and so would all that it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(
        [sys.executable, "-m", "rnn_parity", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    while not (cases / "started").exists():
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(300) == 130
    for _ in range(100):
        try:
            os.killpg(running.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("a process is left")
    assert b"Traceback" not in running.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--workers 2", "--workers: only for several targets; leave it out"),
        ("--dask tcp://x:1", "--dask: only for several targets; leave it out"),
        (". --workers 2 --dask tcp://x:1", "--workers: the Dask cluster has its own"),
        (". --workers 0", "expected an integer from 1 to"),
        (". --no-keras --dask tcp://127.0.0.1:1", "expected a running scheduler"),
    ],
)
def test_bad_usage(cases, capsys, arguments, words):
    if "127.0.0.1" in arguments:
        pytest.importorskip("distributed")
    assert words in refused(capsys, f"check {arguments}")
