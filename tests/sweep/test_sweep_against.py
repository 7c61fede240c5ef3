"""`sweep --against SOURCE`: what somebody else computes, for every configuration of a layer."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError
from rnn_parity.implementations import keras_backend
from rnn_parity.sweep.engine import Job
from rnn_parity.sweep.journal import Journal
from rnn_parity.sweep.pool import pool
from rnn_parity.sweep.space import SPACES, default_of
from rnn_parity.sweep.worker import (
    check_configuration,
    describe,
    numbers_of,
    refuse_source,
    source_of,
)
from rnn_parity.system.environment import version_of
from rnn_parity.verdict.consistency import contradiction, document_contradiction

BOTH = (False, True)
SMALL = {
    **{name: values[:1] for name, values in SPACES["simple_rnn"].items()},
    "mask": ("none", "right", "left"),
    "initial_state": ("zeros", "random"),
    "mode": ("eager", "graph"),
    "go_backwards": BOTH,
    "zero_output_for_mask": BOTH,
    "use_bias": BOTH[::-1],
    "units": (2,),
}
DEFAULT = default_of("simple_rnn")

PORT = '''
import numpy as np


def port(inputs, layer, mask=None, initial_state=None, zeroed=True):
    """A loop of its own; refuses what it does not do."""
    if layer.go_backwards:
        raise NotImplementedError("this port runs forwards only")
    state = np.zeros((len(inputs), layer.units)) if initial_state is None else initial_state
    outputs, output = [], np.zeros((len(inputs), layer.units))
    for t in range(inputs.shape[1]):
        bias = 0.0 if layer.bias is None else layer.bias
        new = np.tanh(inputs[:, t] @ layer.kernel + state @ layer.recurrent_kernel + bias)
        keep = np.ones((len(inputs), 1), bool) if mask is None else mask[:, t, None]
        masked = np.zeros_like(new) if zeroed and layer.zero_output_for_mask else output
        output, state = np.where(keep, new, masked), np.where(keep, new, state)
        outputs.append(output)
    return np.stack(outputs, axis=1).astype("float32"), state.astype("float32")


def wrong(inputs, layer, mask=None, initial_state=None):
    return port(inputs, layer, mask, initial_state, zeroed=False)


def doubled(inputs, layer):
    return 2 * port(inputs, layer)[0]


def blind(inputs, mask=None):
    return inputs


def crashing(inputs, layer, mask=None, initial_state=None):
    if mask is not None and not mask.all():
        return [][3]
    if layer.bias is None:
        raise TypeError("no bias\\nhere")
    if initial_state is not None and initial_state.any():
        return None
    return port(inputs, layer, mask, initial_state)


def short(inputs, layer, mask=None, initial_state=None):
    return port(inputs, layer, mask, initial_state)[0][..., :1]


def many(inputs, layer):
    outputs, state = port(inputs, layer)
    return outputs, state, state, state
'''

FORWARDS = """

def forwards(inputs, layer):
    return port(inputs, layer)[0]
"""


@pytest.fixture
def small(monkeypatch):
    """A space of 3 * 2^4 combinations, and those again in another mode."""
    monkeypatch.setitem(SPACES, "simple_rnn", SMALL)


@pytest.fixture
def ports(tmp_path, monkeypatch):
    """The module `ports_of_mine` in the current folder; nothing of it is remembered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "ports_of_mine.py").write_text(PORT)
    yield tmp_path
    sys.modules.pop("ports_of_mine", None)
    source_of.cache_clear()


def swept(capsys, *arguments):
    code = cli.main(["sweep", "--format", "json", "--strength", "full", *arguments])
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == code
    return document


def test_a_right_port_is_in_parity_wherever_it_answers(small, ports, capsys):
    found = swept(capsys, "--against", "ports_of_mine:port")
    assert (found["verdict"], found["exit_code"]) == ("parity", 0)
    # The mode is Keras's alone; of the rest, go_backwards is asked for once.
    assert len(found["checks"]) == 3 * 2 * 2 * 2
    assert {check["subject"]["against"] for check in found["checks"]} == {"ports_of_mine:port"}
    assert {check["subject"]["mode"] for check in found["checks"]} == {None}
    assert found["sweep"]["against"] == "ports_of_mine:port"
    assert [contradiction(check) for check in found["checks"]] == [None] * 24
    (refused,) = found["sweep"]["refused"]
    assert refused["configuration"]["go_backwards"] is True
    assert refused["message"] == (
        "ports_of_mine:port: NotImplementedError: this port runs forwards only"
    )


def test_what_crashes_has_failed_and_is_no_refusal(small, ports, capsys):
    found = swept(capsys, "--against", "ports_of_mine:crashing", "--resume", "a.jsonl")
    sweep, counts = found["sweep"], found["sweep"]["verdicts"]
    assert (found["verdict"], found["exit_code"]) == ("failed", 1)
    # Without a mask, with a bias, from zeros: zeroed or not. Alone, go_backwards is refused.
    assert (counts["parity"], counts["refused"]) == (2, 1)
    assert counts["failed"] == len(sweep["failed"]) == 22
    assert sweep["count"] == 25
    messages = {entry["message"].partition(": ")[2] for entry in sweep["failed"]}
    line = 1 + PORT.split("\n").index("        return [][3]")
    assert f"IndexError: list index out of range (ports_of_mine.py, line {line})" in messages
    assert f"TypeError: no bias here (ports_of_mine.py, line {line + 2})" in messages
    (last,) = (text for text in messages if "Error: " not in text)
    assert last.startswith("what it returned: expected an array, received None")
    assert found["notes"] == ["fewer than half of the configurations were checked, 2 of 25"]
    assert {finding["verdict"] for finding in sweep["findings"]} == {"failed", "refused"}
    again = swept(capsys, "--against", "ports_of_mine:crashing", "--resume", "a.jsonl")
    assert (again["sweep"]["new"], again["sweep"]["failed"]) == (0, sweep["failed"])
    assert document_contradiction(again) is None


def test_failures_are_said_in_every_format(small, ports, capsys):
    line = ["sweep", "--strength", "full", "--against", "ports_of_mine:crashing", "--resume", "a"]
    end = (
        "FAILED: fewer than half of the configurations were checked, 2 of 25; of 25 "
        "configurations, 2 in parity, 22 failed (3 reasons), 1 refused by ports_of_mine:crashing."
    )
    for name in ("table", "markdown", "github"):
        assert cli.main([*line, "--format", name]) == 1
        out = " ".join(capsys.readouterr().out.replace("|", " ").replace("\\_", "_").split())
        assert end in out.replace("\\", ""), out
        assert "IndexError: list index out of range" in out
        if name != "github":
            assert "layer total parity suspect diverged inconclusive failed refused" in out
            assert "simple_rnn 25 2 0 0 0 22 1" in out
        else:
            assert out.count("::error title=rnn-parity::FAILED, in ") == 3


def test_outputs_of_other_units_diverge(small, ports, capsys):
    found = swept(capsys, "--against", "ports_of_mine:short", "--strength", "1", "--limit", "5")
    assert (found["verdict"], found["exit_code"]) == ("diverged", 1)
    assert {check["verdict"] for check in found["checks"]} == {"diverged"}
    summaries = [check["summary"] for check in found["checks"]]
    assert all(text.endswith("; missing: unit 1") for text in summaries), summaries


def test_states_that_the_layer_does_not_have_are_a_failure(ports):
    outcome = check_configuration(DEFAULT, 0, "ports_of_mine:many")
    assert outcome.verdict == "failed"
    assert outcome.summary.endswith("expected outputs and the final state h, received 3 states")


def test_a_process_that_dies_over_a_source_has_failed():
    with pool() as here:
        assert Job(here, Journal(), 0, "ports_of_mine:port").died.verdict == "failed"
        assert Job(here, Journal(), 0).died.verdict == "inconclusive"


def test_a_wrong_port_is_one_finding_that_names_it(small, ports, capsys):
    found = swept(capsys, "--against", "ports_of_mine:wrong")
    assert (found["verdict"], found["exit_code"]) == ("diverged", 1)
    failure, _ = found["sweep"]["findings"]
    smallest = failure["smallest"]
    assert smallest["configuration"]["zero_output_for_mask"] is True
    assert smallest["configuration"]["mask"] == "right"
    assert smallest["shape"] == {"batch": 3, "timesteps": 3, "features": 4, "units": 2}
    assert smallest["subject"]["against"] == "ports_of_mine:wrong"
    assert [cause["fault"] for cause in smallest["causes"]] == ["masked-output-not-zeroed"]
    # Zeroed or not, an output that is masked before any other is zero.
    rows = {json.dumps(c["configuration"]) for c in found["checks"] if c["verdict"] == "diverged"}
    assert {"right"} == {json.loads(row)["mask"] for row in rows}
    assert failure["known"] is None


def test_the_report_says_who_was_checked_and_how_to_do_it_again(small, ports, capsys):
    assert cli.main(["sweep", "--strength", "1", "--against", "ports_of_mine:port"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "cpu what ports_of_mine:port computes, in place of Keras layer total" in out
    assert "refused by ports_of_mine:port." in out
    assert cli.main(["sweep", "--strength", "4", "--against", "ports_of_mine:wrong"]) == 1
    out = capsys.readouterr().out
    again = out.partition("again")[2].partition("Refused")[0].replace("\\\n", " ")
    assert " ".join(again.split()).endswith(
        "zero_output_for_mask=True --against ports_of_mine:wrong"
    )
    # It is a command, and comes to the same cause.
    assert cli.main([*shlex.split(again)[1:], "--format", "json"]) == 1
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert [cause["fault"] for cause in check["causes"]] == ["masked-output-not-zeroed"]
    assert "cause     masked-output-not-zeroed" in out


def test_results_of_another_source_are_not_taken_for_these(small, ports, capsys):
    first = swept(capsys, "--against", "ports_of_mine:port", "--resume", "a.jsonl")
    again = swept(capsys, "--against", "ports_of_mine:port", "--resume", "a.jsonl")
    assert (first["sweep"]["new"], again["sweep"]["new"]) == (25, 0)
    assert again["checks"] == first["checks"]
    for other in (["--against", "ports_of_mine:wrong"], []):
        assert cli.main(["sweep", "--resume", "a.jsonl", *other]) == 2
        assert "its against is ports_of_mine:port, here it is" in capsys.readouterr().err


def test_processes_ask_the_source_too(small, ports, capsys):
    options = ("--strength", "full", "--limit", "4", "--workers", "1")
    found = swept(capsys, "--against", "ports_of_mine:doubled", *options)
    failure = found["sweep"]["findings"][0]
    assert (failure["verdict"], failure["smallest"]["configuration"]["units"]) == ("diverged", 2)
    assert found["sweep"]["count"] == 4


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "outputs.npy",
            "expected one of keras:BACKEND, onnx|litert, tfjs, module:function, which are given ",
        ),
        ("model.onnx", "received model.onnx, which stands for one layer: check a model with it"),
        ("model.tflite", "received model.tflite"),
        ("weights.safetensors", "received weights.safetensors"),
        ("cmd:true {input} {output}", "received cmd:PROGRAM ARGS {input} {output}"),
        ("keras:all", "expected one backend; sweep one after the other"),
        ("keras:tensorflow", "keras:tensorflow: expected one of keras:jax"),
        (
            "nothing",
            "against 'nothing': expected one of keras:BACKEND, onnx|litert, tfjs, module:fun",
        ),
        ("ports_of_mine:none", "expected a function of ports_of_mine: port, wrong, doubled, blind"),
        ("ports_of_mine:blind", "with a parameter `layer`, the weights of each configuration, "),
    ],
)
def test_what_cannot_answer_for_any_layer_is_refused(ports, capsys, source, words):
    assert cli.main(["sweep", "--against", source]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_scripts_are_for_keras_on_tensorflow(capsys, tmp_path):
    folder = str(tmp_path / "repro")
    assert cli.main(["sweep", "--against", "keras:jax", "--repro", folder]) == 2
    assert "--repro: its scripts call Keras or a module:function" in capsys.readouterr().err


def test_a_finding_about_a_function_is_a_case_and_a_script(small, ports, capsys):
    options = ("--exclude", "go_backwards", "--repro", "repro")
    found = swept(capsys, "--against", "ports_of_mine:wrong", *options)
    (finding,) = found["sweep"]["findings"]
    assert sorted(os.listdir("repro")) == ["1-simple_rnn.npz", "1-simple_rnn.py"]
    assert finding["script"] == os.path.join("repro", "1-simple_rnn.py")
    # Alone: without TensorFlow, and the case by the command line.
    blocked = "import sys; sys.modules['tensorflow'] = None; import runpy; "
    line = [sys.executable, "-c", f"{blocked}runpy.run_path({finding['script']!r})"]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(line, capture_output=True, text=True, env=path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("ports_of_mine:wrong:\n[[[")
    assert "masked-output-not-zeroed" in done.stdout
    case = os.path.join("repro", "1-simple_rnn.npz")
    assert cli.main(["check", case, "--against", "ports_of_mine:wrong", "--format", "json"]) == 1
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert [cause["fault"] for cause in check["causes"]] == ["masked-output-not-zeroed"]
    assert cli.main(["check", case, "--against", "ports_of_mine:port"]) == 0


def test_a_script_runs_from_anywhere_and_names_what_is_missing(small, ports, capsys, tmp_path):
    swept(capsys, "--against", "ports_of_mine:doubled", "--mask", "none", "--repro", "repro")
    script = tmp_path / "repro" / "1-simple_rnn.py"
    away = tmp_path / "away"
    away.mkdir()

    def run(**blocked):
        code = "".join(f"sys.modules[{name!r}] = None; " for name in blocked)
        line = [sys.executable, "-c", f"import runpy, sys; {code}runpy.run_path({str(script)!r})"]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(line, capture_output=True, text=True, env=path, cwd=away)

    assert run().returncode == 1
    assert "simple_rnn with" not in script.read_text()  # nothing is special
    assert "simple_rnn: " in script.read_text()
    for done in (run(rnn_parity=None), run(ports_of_mine=None)):
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
        assert done.stderr.startswith("1-simple_rnn.py: ModuleNotFoundError: import of ")
        assert "it needs ports_of_mine (here or in " in done.stderr
    (tmp_path / "repro" / "1-simple_rnn.npz").unlink()
    done = run()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No such file" in done.stderr


def test_a_script_that_cannot_compare_says_why_in_one_line(small, ports, capsys, tmp_path):
    """Exit code 1 is kept for a function that is wrong."""
    swept(capsys, "--against", "ports_of_mine:doubled", "--repro", "repro")
    case, port = tmp_path / "repro" / "1-simple_rnn.npz", tmp_path / "ports_of_mine.py"
    whole = case.read_bytes()

    def said():
        line = [sys.executable, "-B", str(case.with_suffix(".py"))]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(line, capture_output=True, text=True, env=path)
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
        return done.stderr

    returned = "def doubled(inputs, layer):\n    "
    for text, words in (
        ("", "AttributeError: module 'ports_of_mine' has no attribute 'doubled'"),
        ("def doubled(:", "SyntaxError: invalid syntax (ports_of_mine.py, line 1)"),
        (f"{returned}return None", "expected an array, received None"),
        (f"{returned}return {{}}['x']", "KeyError: 'x' (ports_of_mine.py, line 2)"),
        (f"{returned}raise SystemExit(0)", "SystemExit: 0 (ports_of_mine.py, line 2)"),
    ):
        port.write_text(text)
        assert words in said()
    port.write_text(PORT)
    for part in (whole[: len(whole) // 2], b"", b"no case"):
        case.write_bytes(part)
        assert "1-simple_rnn.npz as it was written" in said()


def test_a_crash_of_a_function_is_shown_by_its_script(small, ports, capsys):
    options = ("--exclude", "go_backwards", "--mask", "none,left", "--repro", "repro")
    found = swept(capsys, "--against", "ports_of_mine:crashing", *options)
    scripts = [finding["script"] for finding in found["sweep"]["findings"]]
    assert len(scripts) == len(set(scripts)) == 3
    said = set()
    for script in scripts:
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        said.add(done.stderr.split(": ")[1])
    assert said == {"IndexError", "TypeError", "InputError"}


def test_the_numbers_of_a_finding_are_those_of_the_source(ports):
    one = DEFAULT.but({"mask": "right", "zero_output_for_mask": True})
    (theirs,) = numbers_of(one, 0, "ports_of_mine:wrong").calls
    (keras,) = numbers_of(one, 0).calls
    assert (keras.outputs[~keras.mask] == 0).all()
    assert (theirs.outputs[~keras.mask] != 0).all()
    assert (theirs.inputs == keras.inputs).all()


def test_a_value_that_is_refused_alone_is_combined_with_nothing(ports):
    site = describe("simple_rnn", "ports_of_mine:port")
    assert (site.space["mode"], site.space["open_size"]) == (("eager",), ("none",))
    one = DEFAULT.but({"go_backwards": True})
    found = site.without([one])
    assert found.space == {**site.space, "go_backwards": (False,)}
    assert (found.alone, found.left_out) == ((one,), site.left_out)


def test_what_a_function_is_not_told_of_is_left_out(small, ports, capsys):
    """It would compute something else, and be called wrong for what nobody gave it."""
    line = ["sweep", "--strength", "1", "--against", "ports_of_mine:forwards"]
    (ports / "ports_of_mine.py").write_text(PORT + FORWARDS)
    assert cli.main(line) == 0
    out = " ".join(capsys.readouterr().out.split())
    left_out = "left out: initial_state, its signature has no initial_state; mask, its signature"
    assert f"{left_out} has no mask" in out
    site = describe("simple_rnn", "ports_of_mine:forwards")
    assert (site.space["mask"], site.space["initial_state"]) == (("none",), ("zeros",))
    for options in (("--mask", "right"), ("--mask", "none,left"), ("--exclude", "mask=none")):
        assert cli.main([*line, *options]) == 2
        err = capsys.readouterr().err
        assert "expected what ports_of_mine:forwards is told of, but its signature has no" in err
    assert cli.main([*line, "--mask", "none"]) == 0
    assert describe("simple_rnn", "ports_of_mine:port").not_handed_over == {}


@pytest.mark.skipif(
    version_of("jax") is None or not keras_backend.has_keras_3(), reason="no Keras 3 on JAX here"
)
def test_another_backend_is_started_once(monkeypatch):
    started, start = [], keras_backend.start

    def counted(*given):
        started.append(given)
        return start(*given)

    monkeypatch.setattr(keras_backend, "start", counted)
    source_of.cache_clear()
    for layer in ("simple_rnn", "gru"):
        outcome = check_configuration(default_of(layer), 0, "keras:jax")
        assert outcome.verdict == "parity", outcome.summary
    assert len(started) == 1
    source_of.cache_clear()


def test_a_file_is_refused_before_it_is_read():
    with pytest.raises(InputError, match="which are given the weights of every configuration"):
        refuse_source("/no/such/model.onnx")
