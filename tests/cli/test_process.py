"""The command line as a process: pipes, signals, full disks, and what it imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnn_parity.system.files import write_text

ROOT = Path(__file__).parents[2]

FAKE = """
import importlib, os, signal, sys, threading
sys.path.insert(0, {tests!r})
from sample_checks import PARITY
from rnn_parity.report.report import Report
module = importlib.import_module("rnn_parity.api.functions")
def answer(*args, **kwargs):
    {body}
    return Report((PARITY,) * 2000)
module.check_generated = answer
from rnn_parity.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def process(body: str, *arguments: str, **settings) -> subprocess.Popen:
    script = FAKE.format(tests=str(ROOT / "tests"), body=body)
    command = [sys.executable, "-c", script, "check", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE, **settings},
    )


def test_a_reader_that_stops_early_gets_no_complaint():
    running = process("pass")
    assert running.stdout.readline().startswith("rnn-parity ")
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(300) == 0


def test_a_full_disk_behind_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        running = process("pass", stdout=full)
        _, err = running.communicate(timeout=300)
    assert err == "rnn-parity: error: cannot write the answer: No space left on device\n"
    assert running.returncode == 2


def test_a_closed_stdout_is_said_before_the_work():
    script = f"exec 1>&-; exec '{sys.executable}' -m rnn_parity check"
    done = subprocess.run(
        ["sh", "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=300
    )
    expected = "cannot write the answer: stdout is closed; name a file with -o"
    assert (done.returncode, done.stderr) == (2, f"rnn-parity: error: {expected}\n")


WORKS = "print('working', flush=True); threading.Event().wait()"


def test_control_c_ends_with_130_and_no_traceback(tmp_path):
    # Whatever started the tests may ignore SIGINT (a shell's `&`), and children inherit that.
    usual = "signal.signal(signal.SIGINT, signal.default_int_handler); "
    running = process(usual + WORKS, "-o", str(tmp_path / "a.json"))
    assert running.stderr.readline() == "working\n"
    running.send_signal(2)
    out, err = running.communicate(timeout=300)
    assert (running.returncode, out, err) == (130, "", "")
    assert os.listdir(tmp_path) == []


def test_signals_that_were_ignored_from_the_start_stay_ignored():
    """`nohup rnn-parity check &`: it goes on when the terminal is closed, and ends as usual."""
    body = "[os.kill(os.getpid(), number) for number in (1, 2)]"
    shell = "trap '' HUP INT; exec \"$@\""
    script = FAKE.format(tests=str(ROOT / "tests"), body=body)
    command = ["sh", "-c", shell, "sh", sys.executable, "-c", script, "check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


WRITER = """
import os, sys
from rnn_parity.system.files import write_text
fsync = os.fsync
def waiting(descriptor):
    print("written", flush=True)
    sys.stdin.readline()
    fsync(descriptor)
os.fsync = waiting
write_text(sys.argv[1], "from a process")
"""


def test_what_a_killed_writer_leaves_goes_with_the_next_write(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "answer.txt")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    killed, waiting = (subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(2))
    for writer in (killed, waiting):
        assert writer.stdout.readline() == "written\n"
    killed.kill()
    killed.communicate()
    assert len(os.listdir(tmp_path)) == 2
    write_text(str(tmp_path / "other.txt"), "from here")
    left = [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    assert [path.read_text() for path in left] == ["from a process"]
    waiting.communicate("go on\n", timeout=300)
    assert waiting.returncode == 0
    assert (tmp_path / "answer.txt").read_text() == "from a process"
    assert sorted(os.listdir(tmp_path)) == ["answer.txt", "other.txt"]


def imported(*arguments: str) -> tuple[int, str, str, set[str]]:
    command = [sys.executable, "-X", "importtime", "-m", "rnn_parity", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    lines = done.stderr.splitlines()
    modules = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    rest = "\n".join(line for line in lines if not line.startswith("import time:"))
    return done.returncode, done.stdout, rest, {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        *[
            ("--help", 0),
            ("check --help", 0),
            ("faults --help", 0),
            ("--version", 0),
            ("", 2),
            ("check --bogus", 2),
        ],
        *[("check --units 0", 2), ("check --mode jit", 2), ("check x.npz --units 3", 2)],
        *[("check --unsafe", 2), ("check --arg a=false", 2), ("check --calls 3 a.onnx", 2)],
    ],
)
def test_help_and_bad_usage_answer_without_heavy_imports(arguments, code):
    returncode, out, err, modules = imported(*arguments.split())
    assert returncode == code
    assert bool(out) is (code == 0)
    assert err.startswith("rnn-parity: error: ") is (code == 2)
    assert "argparse" in modules
    assert not modules & {"numpy", "tensorflow", "keras", "tabulate"}


@pytest.mark.parametrize("arguments", ["check --units 99999999", "check --input no.npy"])
def test_bad_input_answers_without_tensorflow(arguments):
    returncode, out, _, modules = imported(*arguments.split())
    assert (returncode, out) == (2, "")
    assert not modules & {"tensorflow", "keras"}


EARLY = """
import contextlib, io, sys
from rnn_parity.cli.main import main
for line in sys.argv[1].splitlines():
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(line.split())
    loaded = sorted({"tensorflow", "keras"} & {name.partition(".")[0] for name in sys.modules})
    print(code, said.getvalue().count("\\n"), loaded, line)
    assert not loaded
"""
"""Runs each line in one process, until one of them loads TensorFlow."""
ABOUT_SOURCES = [
    *("missing.onnx", "other.onnx", "missing.tflite", "other.tflite", "missing.safetensors"),
    *("other.safetensors", "weights.pt", "missing.npy", "other.npy", "other.npz", "none:f"),
    *("cmd:", "cmd:./none", "keras:none", "keras:openvino", "bogus"),
]
ABOUT_TARGETS = [
    *("missing.keras", "other.keras", "truncated.keras", "missing.h5", "other.h5", "missing.npz"),
    *("other.npz", "missing.onnx", "other.onnx", "net.tflite", "net.txt", "none*.keras"),
    *("missing.keras --training", "net.keras --training --mode predict"),
    *("net.keras net.npz --units 3", "net.keras other.keras --against missing.onnx"),
    *("truncated.keras --input missing.npy", "truncated.keras --input x=other.npy"),
    *("truncated.keras --input other.npz", "truncated.keras --mask-file missing.npy"),
]


@pytest.mark.parametrize("about", ["sources", "targets"])
def test_what_is_refused_is_refused_before_tensorflow_is_loaded(about, tmp_path):
    for ending in ("onnx", "tflite", "safetensors", "npy", "npz", "keras", "h5"):
        (tmp_path / f"other.{ending}").write_text("something else")
    (tmp_path / "truncated.keras").write_bytes(b"PK\x03\x04" + bytes(40))
    sources = [f"check net.keras --against {source}" for source in ABOUT_SOURCES]
    lines = sources if about == "sources" else [f"check {target}" for target in ABOUT_TARGETS]
    command = [sys.executable, "-c", EARLY, "\n".join(lines)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines() == [f"2 1 [] {line}" for line in lines]


def test_several_targets_that_cannot_be_read_do_not_load_tensorflow(tmp_path):
    (tmp_path / "other.keras").write_text("something else")
    returncode, out, err, modules = imported("check", str(tmp_path), "missing.keras", "-q")
    assert (returncode, err) == (2, "")
    assert out.count("ERROR: ") == 2
    assert not modules & {"tensorflow", "keras"}


def test_faults_are_listed_at_once_without_numpy():
    returncode, out, _, modules = imported("faults")
    assert (returncode, out.split()[0]) == (0, "fault")
    assert not modules & {"numpy", "tensorflow", "keras"}
