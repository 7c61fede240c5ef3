"""One rule for shapes: numbers that cannot be these outputs are a result, whoever computed them.

Only what cannot be read, or can be read in several ways, is bad input.
"""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.errors import InputError

B, T, H = 3, 5, 4
rng = np.random.default_rng(0)
LAYER = rp.SimpleRNN(*(np.float32(rng.normal(size=shape)) for shape in ((2, H), (H, H), (H,))))
X = np.float32(rng.normal(size=(B, T, 2)))
RIGHT = np.float32(rp.replay(LAYER, X).outputs)
WRONG = {
    "batch": RIGHT[:2],
    "timesteps": RIGHT[:, :3],
    "units": RIGHT[..., :2],
    "an axis of one": RIGHT[None],
    "one sample's rows": RIGHT[0],
    "a number": RIGHT[0, 0, :1],
    "nothing": RIGHT[:0],
}


def as_npy(folder, array):
    np.save(folder / "y.npy", array)
    return str(folder / "y.npy")


def as_npz(folder, array):
    np.savez(folder / "y.npz", outputs=array)
    return str(folder / "y.npz")


def as_csv(folder, array):
    rows = array.reshape(-1, array.shape[-1])
    np.savetxt(folder / "y.csv", rows, delimiter=",", fmt="%.9g")
    return str(folder / "y.csv")


def as_function(folder, array):
    return lambda inputs: array


def as_array(folder, array):
    return array


def as_onnx(folder, array):
    """A model that reads the layer's inputs, and returns this all the same."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceSum", ["X"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["none"]),
        helper.make_node("Add", ["none", "array"], ["Y"]),
    ]
    given = {"zero": np.float32(0), "array": np.float32(array)}
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("X", FLOAT, ["batch", "timesteps", 2])],
        [helper.make_tensor_value_info("Y", FLOAT, array.shape)],
        [onnx.numpy_helper.from_array(one, name) for name, one in given.items()],
    )
    opset = helper.make_opsetid("", 14)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), folder / "model.onnx")
    return str(folder / "model.onnx")


SOURCES = (as_npy, as_npz, as_csv, as_function, as_array, as_onnx)


@pytest.mark.parametrize("source", SOURCES)
def test_the_right_shape_is_in_parity(tmp_path, source):
    assert rp.check(LAYER, X, against=source(tmp_path, RIGHT)).verdict == "parity"


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", WRONG)
def test_another_shape_has_diverged(tmp_path, source, name):
    array = WRONG[name]
    if source is as_csv and name in ("an axis of one", "nothing"):
        pytest.skip("a text has rows alone, and needs one")
    report = rp.check(LAYER, X, against=source(tmp_path, array))
    assert (report.verdict, report.exit_code) == ("diverged", 1)
    assert "expected shape " in report.checks[0].summary
    assert report.checks[0].causes == ()


def test_a_note_says_which_rows_would_fit(tmp_path):
    (check,) = rp.check(LAYER, X, against=as_csv(tmp_path, RIGHT[:2])).checks
    assert "expected 15 rows of 4 numbers (one per timestep, sample after sample)" in str(
        check.notes
    )
    assert "received (10, 4)" in check.summary


def test_what_can_be_read_in_several_ways_is_bad_input(tmp_path):
    layer = rp.SimpleRNN(np.ones((2, H)), np.eye(H))
    path = as_npy(tmp_path, np.ones((3, 3 * H)))
    with pytest.raises(InputError, match=r"in several ways: append [?]axes=BTH or [?]axes=TBH"):
        rp.check(layer, np.ones((3, 3, 2)), against=path)


def test_a_file_that_is_no_file_of_numbers_is_bad_input(tmp_path):
    (tmp_path / "y.csv").write_text("a,b\nc,d\n")
    with pytest.raises(InputError, match="expected a number, received 'c'"):
        rp.check(LAYER, X, against=str(tmp_path / "y.csv"))


def test_an_onnx_model_of_several_other_outputs_does_not_say_which_is_meant(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = as_onnx(tmp_path, RIGHT[:2])
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("none"))
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    onnx.save(model, path)
    with pytest.raises(InputError, match="name its output: FILE#NAME"):
        rp.check(LAYER, X, against=path)


def test_axes_that_were_named_may_be_of_any_size(tmp_path):
    path = as_npy(tmp_path, RIGHT.swapaxes(0, 1)[:, :2])
    (check,) = rp.check(LAYER, X, against=f"{path}?axes=TBH").checks
    assert check.verdict == "diverged"
    assert "expected shape (3, 5, 4), received (2, 5, 4)" in check.summary
