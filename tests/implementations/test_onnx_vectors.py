"""The test vectors that ONNX publishes for its recurrent operators: models, inputs, outputs.

Each model is checked on its published inputs, and the published outputs against its weights.
"""

import numpy as np
import pytest

from rnn_parity.api.functions import check_onnx
from rnn_parity.cli import main as cli
from rnn_parity.implementations.onnx.model import read_tensor
from rnn_parity.implementations.onnx.operators import INPUTS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
collection = pytest.importorskip("onnx.backend.test.case.node")

NAMES = (
    *("simple_rnn_defaults", "simple_rnn_with_initial_bias", "rnn_seq_length"),
    *("simple_rnn_batchwise", "simple_rnn_reverse", "simple_rnn_bidirectional"),
    *("lstm_defaults", "lstm_with_initial_bias", "lstm_with_peepholes"),
    *("lstm_batchwise", "lstm_reverse", "lstm_bidirectional"),
    *("gru_defaults", "gru_with_initial_bias", "gru_seq_length"),
    *("gru_batchwise", "gru_reverse", "gru_bidirectional"),
)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A folder for each published case, by name, as ONNX lays it out."""
    with np.errstate(all="ignore"):
        cases = collection.collect_testcases()
    found = {}
    for case in cases:
        if case.model.graph.node[0].op_type not in INPUTS:
            continue
        name = case.name.removeprefix("test_")
        folder = found[name] = tmp_path_factory.mktemp(name)
        onnx.save(case.model, folder / "model.onnx")
        ((inputs, outputs),) = case.data_sets
        graph = case.model.graph
        for kind, arrays, values in (
            ("input", inputs, graph.input),
            ("output", outputs, graph.output),
        ):
            for i, (array, value) in enumerate(zip(arrays, values, strict=True)):
                tensor = onnx.numpy_helper.from_array(array, value.name)
                onnx.save_tensor(tensor, folder / f"{kind}_{i}.pb")
    return found


def inputs_of(folder):
    graph = onnx.load(folder / "model.onnx").graph
    return {
        value.name: read_tensor(str(folder / f"input_{i}.pb"), "--input")[0]
        for i, value in enumerate(graph.input)
    }


def folder_of(vectors, name):
    if name not in vectors:
        pytest.skip("this release of onnx does not have it")
    return vectors[name]


def test_these_are_all(vectors):
    # Older releases of the package have fewer.
    assert set(vectors) <= set(NAMES)
    assert {"rnn_seq_length", "lstm_defaults", "gru_seq_length"} <= set(vectors)


@pytest.mark.parametrize("name", NAMES)
def test_a_vector(vectors, name):
    folder = folder_of(vectors, name)
    path, inputs = str(folder / "model.onnx"), inputs_of(folder)
    count = 2 if name.endswith("bidirectional") else 1
    report = check_onnx(path, inputs)
    assert [check.verdict for check in report.checks] == ["parity"] * count, report
    published = outputs_of(folder)
    files = [str(path) for name, path in published.items() if name != "Y_c"]
    report = check_onnx(path, inputs, against=files)
    assert len(report.checks) == count * len(files)
    assert report.verdict == "parity", report


def test_the_command_line_takes_tensors_by_their_own_names(vectors, capsys):
    folder = folder_of(vectors, "gru_seq_length")
    inputs = [word for path in sorted(folder.glob("input_*.pb")) for word in ("--input", str(path))]
    command = ["check", str(folder / "model.onnx"), *inputs, "-q"]
    assert cli.main([*command, "--against", str(folder / "output_0.pb")]) == 0
    capsys.readouterr()
    tensor = onnx.TensorProto.FromString((folder / "input_0.pb").read_bytes())
    tensor.name = ""
    onnx.save_tensor(tensor, folder / "nameless.pb")
    assert cli.main([*command, "--input", str(folder / "nameless.pb")]) == 2
    assert "expected NAME=FILE, since " in capsys.readouterr().err
    command[3] = f"X={folder / 'nameless.pb'}"
    assert cli.main(command) == 0


@pytest.mark.parametrize("name", NAMES)
def test_all_published_outputs_at_once(vectors, name):
    folder = folder_of(vectors, name)
    path, inputs = str(folder / "model.onnx"), inputs_of(folder)
    arrays = {key: read_tensor(str(file), "")[0] for key, file in outputs_of(folder).items()}
    together = str(folder / "y.npz")
    np.savez(together, **arrays)
    # By its name alone, a state is none of the outputs.
    together += "#Y_h" if [*arrays] == ["Y_h"] else ""
    report = check_onnx(path, inputs, against=together)
    assert report.verdict == "parity", report
    states = [row.name for row in report.checks[0].final_state]
    assert ("c" in states) == ("Y_c" in arrays)
    for wrong in arrays:
        np.savez(folder / "y.npz", **arrays | {wrong: arrays[wrong] * np.float32(1.01)})
        assert check_onnx(path, inputs, against=together).verdict == "diverged", wrong


@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_the_file_fixes_are_used(vectors, name):
    folder = folder_of(vectors, name)
    report = check_onnx(str(folder / "model.onnx"))
    assert {check.verdict for check in report.checks} <= {"parity"}, report


def outputs_of(folder):
    graph = onnx.load(folder / "model.onnx").graph
    return {value.name: folder / f"output_{i}.pb" for i, value in enumerate(graph.output)}
