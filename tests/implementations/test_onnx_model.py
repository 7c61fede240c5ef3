"""ONNX files that cannot be used, and data beside them: one clear line for each."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_models import F, H, X, arrays, helper, model, node, onnx, saved

from rnn_parity.api.functions import check_onnx
from rnn_parity.errors import InputError
from rnn_parity.implementations.onnx.operators import operator_layers
from rnn_parity.implementations.onnx.runtime import implementation
from rnn_parity.implementations.request import Request

DAMAGED = Path(__file__).parents[2] / "fixtures" / "damaged"
GIVEN = arrays("RNN")


def recurrent(**attributes):
    """A model of one RNN."""
    return model([node("RNN", GIVEN, **attributes)], GIVEN)


def test_an_unknown_operator(path):
    made = model([helper.make_node("Erfc", ["X"], ["Y"])], {})
    with pytest.raises(InputError, match=r"cannot load it: No Op registered for Erfc"):
        implementation(saved(made, path))


def test_a_type_that_no_kernel_takes(path):
    with pytest.raises(InputError, match="ONNX Runtime cannot load it") as caught:
        implementation(saved(recurrent(layout=1), path))
    assert "\n" not in str(caught.value)


def test_a_truncated_file_says_so_wherever_it_ends(path):
    whole = recurrent().SerializeToString()
    for size in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        with open(path, "wb") as file:
            file.write(whole[:size])
        with pytest.raises(InputError) as caught:
            implementation(path)
        assert path in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\x93NUMPY", b"PK\x03\x04" * 9, b"not a model\n", b"\xff" * 99]
)
def test_another_kind_of_file(path, content):
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(InputError, match="expected an ONNX model, received another kind of file"):
        implementation(path)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        implementation(str(tmp_path / "none.onnx"))
    with pytest.raises(InputError, match=r"expected a \.onnx file, received a directory"):
        implementation(str(tmp_path))


def external(path, location):
    """Write a model whose weights are said to lie in the file `location`."""
    made = recurrent()
    for tensor in made.graph.initializer[:2]:
        data = tensor.raw_data
        onnx.external_data_helper.set_external_data(tensor, location, 0, len(data))
        tensor.ClearField("raw_data")
    onnx.save(made, path)
    return made


def test_external_data(path):
    request = Request(operator_layers("RNN", {}, GIVEN)["forward"], X)
    whole = implementation(saved(recurrent(), path))(request).outputs
    onnx.save(recurrent(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert os.path.getsize(os.path.join(os.path.dirname(path), "w.bin")) >= 4 * H * F
    assert np.array_equal(implementation(path)(request).outputs, whole)


def test_external_data_of_another_folder(path, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    outside = tmp_path / "w.bin"
    outside.write_bytes(bytes(10_000))
    inner = str(folder / "model.onnx")
    os.symlink(outside, folder / "link.bin")
    for location in ("../w.bin", str(outside), "link.bin", "sub/../../w.bin", ""):
        external(inner, location)
        with pytest.raises(InputError, match="external data"):
            implementation(inner)


def test_external_data_that_is_not_there(path, tmp_path):
    external(path, "w.bin")
    with pytest.raises(InputError, match=r"its external data 'w\.bin' is missing"):
        implementation(path)
    (tmp_path / "w.bin").write_bytes(bytes(7))
    with pytest.raises(InputError, match=r"received a file of 7 bytes; copy it again"):
        implementation(path)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra(path, missing):
    saved(recurrent(), path)
    code = (
        f"import sys; sys.modules[{missing!r}] = None; "
        "from rnn_parity.cli.main import main; "
        f"sys.exit(main(['check', {path!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    said = f"an ONNX model needs the package {missing}: pip install 'rnn-parity[onnx]'\n"
    assert done.stderr == f"rnn-parity: error: {said}"


def test_a_small_file_that_asks_for_a_large_batch():
    """28 timesteps of 20,000,000 samples, 2 features and 3 units: 42 GiB in float64, at least."""
    with pytest.raises(
        InputError, match=r"at most 8 GiB in float64, received about 4\d\.\d GiB"
    ) as e:
        check_onnx(str(DAMAGED / "batch-2e7.onnx"))
    assert "export it with open batch and time axes and make --batch or --times" in str(e.value)
    assert "or set RNN_PARITY_MOST_GIB=4" in str(e.value)


def test_sizes_of_what_is_made_up_and_of_what_is_inside(path):
    saved(model([node("RNN", GIVEN)], GIVEN, {"X": ("t", "b", F)}), path)
    with pytest.raises(InputError, match="make --batch or --timesteps smaller"):
        check_onnx(path, batch=10**6, timesteps=10**6)
    shape = onnx.numpy_helper.from_array(np.int64([10**5, 10**6]), "S")
    nodes = [helper.make_node("ConstantOfShape", ["S"], ["big"]), node("RNN", GIVEN)]
    made = model(nodes, GIVEN)
    made.graph.initializer.append(shape)
    with pytest.raises(InputError, match="received about 745 GiB; the largest is 'big'"):
        check_onnx(saved(made, path))


def test_a_sparse_tensor_that_claims_too_much(path):
    made = recurrent()
    values = onnx.numpy_helper.from_array(np.float32([1]), "sparse")
    indices = onnx.numpy_helper.from_array(np.int64([0]), "indices")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**6, 10**6]))
    with pytest.raises(InputError, match="the largest is 'sparse'"):
        check_onnx(saved(made, path))


def test_open_features():
    with pytest.raises(InputError, match="expected timesteps and batch to be open alone"):
        check_onnx(str(DAMAGED / "features-0.onnx"))


def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(InputError, match="received something that is not a plain file"):
        check_onnx(path)


def test_a_file_beyond_the_limit(path, monkeypatch):
    saved(recurrent(), path)
    monkeypatch.setenv("RNN_PARITY_MOST_GIB", "0.0000001")
    with pytest.raises(InputError, match="expected at most 26 bytes, received a file of"):
        check_onnx(path)


def calling(names):
    """Functions of the given names, each of which calls the next one twice."""
    made = []
    for name, inner in zip(names, [*names[1:], "Identity"], strict=True):
        domain = "" if inner == "Identity" else "own"
        nodes = [
            helper.make_node(inner, ["a"], ["b"], domain=domain),
            helper.make_node(inner, ["b"], ["c"], domain=domain),
        ]
        opsets = [helper.make_opsetid("", 14), helper.make_opsetid("own", 1)]
        made.append(helper.make_function("own", name, ["a"], ["c"], nodes, opsets))
    return made


@pytest.mark.parametrize("names", [[f"f{i}" for i in range(40)], ["f0", "f1", "f0"]])
def test_functions_that_would_become_a_billion_nodes(path, names):
    nodes = [helper.make_node("f0", ["X"], ["x"], domain="own"), node("RNN", GIVEN)]
    made = model(nodes, GIVEN, imports=[helper.make_opsetid("own", 1)])
    made.functions.extend(calling(names)[:2] if len(names) == 3 else calling(names))
    with pytest.raises(InputError, match="expected at most 1000000 nodes, its functions inlined"):
        check_onnx(saved(made, path))
