"""Other implementations on the command line and in a test suite, and the inputs they read."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_check import command as run
from fake_check import refused
from hand_case import OUTPUTS, make
from helpers import loop, random_weights
from plugin_suite import runner, section

from rnn_parity.api.generated import GeneratedLayer
from rnn_parity.api.recorded import record_generated
from rnn_parity.cases.case import write_case
from rnn_parity.cli import main as cli

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


class Touch:
    """What creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_line_names_sources(here, capsys):
    write_case("case.npz", make())
    np.save("right.npy", OUTPUTS)
    np.save("wrong.npy", OUTPUTS - 1)
    assert run("check case.npz --no-keras -q --against right.npy") == 0
    assert run("check case.npz --against right.npy --against wrong.npy --format json") == 1
    checks = json.loads(capsys.readouterr().out.partition("\n")[2])["checks"]
    assert [check["subject"]["against"] for check in checks] == ["right.npy", "wrong.npy"]
    assert [check["subject"]["mode"] for check in checks] == [None, None]


def test_a_generated_layer_and_its_recorded_inputs(here, capsys):
    small = "--batch 2 --timesteps 3 --features 2 --units 3"
    assert run("record", small, "-o case.npz --inputs-as x.csv -q") == 0
    with np.load("case.npz") as case:
        parts = {name: case[name] for name in ("kernel", "recurrent_kernel", "bias")}
        inputs = case["inputs"]
    assert (np.loadtxt("x.csv", delimiter=",").astype("f").reshape(2, 3, 2) == inputs).all()
    np.save("y.npy", loop(parts, inputs))
    assert run("check", small, "-q --against y.npy") == 0
    assert run("record", small, "-o case.npz --inputs-as x.npy -q --mode eager") == 0
    assert (np.load("x.npy") == inputs).all()


def test_recorded_inputs_of_several_calls_have_names_of_their_own(here):
    spec = GeneratedLayer(batch=1, timesteps=2, calls=2, arguments={"stateful": True})
    report = record_generated(spec, "c.npz", inputs_as="x.npy")
    names = ["c-call0.npz", "c-call1.npz", "x-call0.npy", "x-call1.npy"]
    assert report.notes == tuple(f"recorded {name}" for name in names)
    assert sorted(path.name for path in here.iterdir()) == names


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("check --against x", "against 'x': expected one of cmd:PROGRAM ARGS {input} {output}, "),
        ("check --against y.npy --mode xla", "--mode: Keras's own outputs are not checked with"),
        ("check CASE --against y.npy", "against 'y.npy': expected a .npy file of real numbers"),
        ("check CASE --against y.csv", "against 'y.csv': cannot be read: No such file"),
        ("check --against mine:f", "mine cannot be imported: ModuleNotFoundError"),
        ("check CASE --against model.json -o model.json", "would overwrite what is read"),
        ("record -o c.npz --against y.npy", "unrecognized arguments: --against"),
        ("record -o c.npz --inputs-as x.txt", "--inputs-as 'x.txt': expected a name that ends in"),
        ("record -o c.npz --inputs-as no/x.npy", "cannot write 'no/x.npy'"),
        ("record --input i.npy -o c.npz --inputs-as i.npy", "--inputs-as 'i.npy': would overwrite"),
    ],
)
def test_bad_usage_is_one_line(here, line, words, capsys):
    write_case("case.npz", make())
    (here / "model.json").write_text("1\n2\n")
    np.save("i.npy", np.zeros((1, 2, 1)))
    assert words in refused(capsys, line.replace("CASE", "case.npz"))
    assert sorted(path.name for path in here.iterdir()) == ["case.npz", "i.npy", "model.json"]


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        (
            "faulty:crashes",
            1,
            "against 'faulty:crashes': it failed: IndexError: list index out of range",
        ),
        ("faulty:ends", 1, "against 'faulty:ends': it failed: SystemExit: 0"),
        ("faulty:many", 1, "expected outputs and the final state h, received 2 states"),
        ("faulty:refuses", 2, "against 'faulty:refuses': it refused: NotImplementedError: not yet"),
        ("faulty:none", 2, "against 'faulty:none': expected a function of faulty"),
    ],
)
def test_a_crash_is_a_failure_and_a_refusal_is_none(here, source, code, words, capsys):
    write_case("case.npz", make())
    (here / "faulty.py").write_text(
        "def crashes(x): return [][3]\n"
        "def ends(x): raise SystemExit(0)\n"
        "def many(x): return x, x[:, -1], x[:, -1]\n"
        "def refuses(x): raise NotImplementedError('not yet')\n"
    )
    sys.modules.pop("faulty", None)
    assert cli.main(["check", "case.npz", "--no-keras", "--against", source]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import sys; sys.exit(3)", 1),
        ("import os; os.kill(os.getpid(), 11)", 1),
        ("pass", 1),  # it writes nothing
        ("import sys; open(sys.argv[2], 'w').write('no numbers')", 1),
    ],
)
def test_a_program_that_crashes_has_failed(here, program, code, capsys):
    write_case("case.npz", make())
    (here / "port.py").write_text(program)
    source = f"cmd:{sys.executable} port.py {{input}}.csv {{output}}.csv"
    assert cli.main(["check", "case.npz", "--no-keras", "--against", source]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "last.CKPT", "w.pkl", "w.pickle"])
def test_a_pickled_checkpoint_is_not_opened(here, name, capsys):
    (here / name).write_bytes(pickle.dumps(Touch(str(here / "ran"))))
    assert refused(capsys, "check --against", name) == (
        f"rnn-parity: error: {name!r}: a pickled checkpoint runs code of its own and is never "
        "loaded; save it with: safetensors.torch.save_file(module.state_dict(), "
        "'weights.safetensors')\n"
    )
    assert [path.name for path in here.iterdir()] == [name]


def test_a_case_is_held_against_outputs_without_heavy_imports(here):
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 32, 16)
    inputs = rng.normal(size=(32, 28, 32)).astype("float32")
    outputs = loop(weights, inputs)
    config = {"units": 16, "activation": "tanh", "use_bias": True}
    case = make(config=config, inputs=inputs, outputs=outputs, final_state=(), **weights)
    write_case("case.npz", case)
    np.save("y.npy", outputs)
    (here / "main.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from rnn_parity.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "assert not {'tensorflow', 'keras', 'torch', 'onnxruntime', 'pytest'} & set(sys.modules)\n"
        "sys.exit(code)\n"
    )
    command = [sys.executable, "main.py", "check", "case.npz", "--against", "y.npy", "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def test_the_fixture_takes_sources(pytester, monkeypatch):
    source = """
        def port(inputs):
            return RIGHT

        def test_right(rnn_parity):
            rnn_parity.check(WEIGHTS, INPUTS, against=[port, RIGHT])

        def test_wrong(rnn_parity):
            rnn_parity.check(WEIGHTS, INPUTS, against=[port, WITHOUT_BIAS])

        def test_bad(rnn_parity):
            rnn_parity.check(WEIGHTS, INPUTS, against="nothing.csv")
    """
    result = runner(pytester, monkeypatch)(source)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E*DIVERGED (bias-dropped): of 2 checks, 1 diverged: SimpleRNN (against array)*",
            "E*cause     bias-dropped: the bias is left out (all effective bits)",
            "E*InputError: against 'nothing.csv': cannot be read: No such file or directory",
        ]
    )
    failed = [line.split(" - ")[1].split(", ratio")[0] for line in section(result)]
    assert failed[:1] == ["SimpleRNN (against array)"]
