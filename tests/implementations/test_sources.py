"""What `--against` takes, recognised by how it is written; anything else gets the list."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.cli import options
from rnn_parity.cli.main import main
from rnn_parity.errors import InputError
from rnn_parity.implementations.sources import KINDS, Kind, implementation, recognised, sources

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("source", "module", "argument", "scope"),
    [
        ("y.npy", ".numbers", "y.npy", "call"),
        ("a b/Y.NPZ", ".numbers", "a b/Y.NPZ", "call"),
        ("y.csv?axes=TBH", ".numbers", "y.csv?axes=TBH", "call"),
        ("onnx", ".exported", "onnx", "model"),
        ("litert", ".exported", "litert", "model"),
        ("net.onnx", ".onnx.runtime", "net.onnx", "layer"),
        ("net.tflite", ".litert", "net.tflite", "layer"),
        ("w.safetensors", ".torch_weights", "w.safetensors", "model"),
        ("keras:jax", ".keras_backend", "jax", "model"),
        (
            "cmd:./rnn -n 3 {input} {output}.npy",
            ".command",
            "./rnn -n 3 {input} {output}.npy",
            "layer",
        ),
        ("package.module:Class.method", ".python_function", "package.module:Class.method", "layer"),
    ],
)
def test_a_source_is_recognised(source, module, argument, scope):
    kind, given = recognised(source)
    assert (kind.module, given, kind.scope) == (module, argument, scope)


@pytest.mark.parametrize("source", ["", "x", "y.txt", "model.keras", "two words", "a:b:c", ".npy"])
def test_anything_else_gets_the_list(source):
    with pytest.raises(InputError) as error:
        implementation(source)
    message = str(error.value)
    assert message.startswith(f"against {source!r}: expected one of ")
    assert all(kind.form in message for kind in KINDS)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("./right.npi", "no such file or folder; did you mean ./right.npy? expected one of "),
        ("modle_sm", "no such file or folder; did you mean model_sm? expected one of "),
        ("modle_sm/", "no such file or folder; did you mean model_sm?"),
        ("no/such", "no such file or folder; expected one of "),
        ("ports.py", "a file of Python; did you mean ports:FUNCTION? expected one of "),
    ],
)
def test_a_path_that_is_not_there_is_named_first(source, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_sm").mkdir()
    for name in ("right.npy", "ports.py"):
        (tmp_path / name).touch()
    with pytest.raises(InputError) as error:
        implementation(source)
    assert str(error.value).startswith(f"against {source.rstrip('/')!r}: {said}")


def test_the_help_lists_every_kind_without_importing_numpy():
    code = "import sys; from rnn_parity.cli.main import main; main(['check', '--help']); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('numpy' in sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for kind in KINDS:
        assert f"\n    {kind.form}\n        {kind.meaning}\n" in done.stdout
    assert done.stdout.endswith("False\n")


def test_the_options_show_the_table_itself():
    assert options.KINDS is KINDS


def of(*values):
    return np.zeros(values)


def one(inputs):
    return inputs


@pytest.mark.parametrize(
    ("against", "names"),
    [
        (of(1, 2, 3), ["array"]),
        ([[[1.0], [2.0]]], ["array"]),
        ([of(1, 2, 3), of(1, 2, 3)], ["array 1", "array 2"]),
        (one, ["one"]),
        ([one, of(1, 2, 3), one], ["one 1", "array", "one 2"]),
        ("math:sqrt", ["math:sqrt"]),
        (("math:sqrt", one), ["math:sqrt", "one"]),
        (np.float64, ["float64"]),
    ],
)
def test_what_python_takes(against, names):
    assert [source.name for source in sources(against)] == names


def test_a_path_is_a_source(tmp_path):
    np.save(tmp_path / "y.npy", np.zeros((1, 2, 3)))
    (source,) = sources(tmp_path / "y.npy")
    assert (source.name, source.scope) == (str(tmp_path / "y.npy"), "call")


def test_an_empty_list_is_refused():
    with pytest.raises(InputError, match="expected at least one implementation"):
        sources([])


TOY = """
from rnn_parity.implementations.request import Answer

def implementation(factor):
    return lambda request: Answer(float(factor) * request.inputs, notes=(f"times {factor}",))
"""


@pytest.fixture
def toy_kind(tmp_path, monkeypatch):
    """A kind of source from outside the package: one module, and one entry in the table."""
    (tmp_path / "toy_source.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = Kind("times:FACTOR", "the inputs, times a factor", r"times:(.+)", "toy_source")
    KINDS.insert(0, kind)
    yield kind
    KINDS.remove(kind)


def test_a_kind_from_outside_the_package(toy_kind, capsys):
    # relu(2 x + 0 h) is twice the inputs, as long as they are positive.
    layer = rp.SimpleRNN([[2.0]], [[0.0]], activation="relu")
    x = np.arange(1.0, 7.0).reshape(2, 3, 1)
    report = rp.check(layer, x, against=["times:2", "times:3"])
    assert [check.verdict for check in report.checks] == ["parity", "diverged"]
    assert report.checks[0].subject.against == "times:2"
    assert report.checks[0].notes == ("times 2",)
    main(["check", "--help"])
    assert f"\n    {toy_kind.form}\n        {toy_kind.meaning}\n" in capsys.readouterr().out
