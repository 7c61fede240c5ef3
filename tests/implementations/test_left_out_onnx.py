"""What an ONNX model computes beside the layer that it is held against."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402  # after the skip
from onnx_models import B, F, H, T, arrays, model, node, saved  # noqa: E402

import rnn_parity as rp  # noqa: E402
from rnn_parity.errors import InputError  # noqa: E402
from rnn_parity.implementations.onnx.operators import operator_layers  # noqa: E402

X = np.random.default_rng(5).normal(size=(B, T, F)).astype(np.float32)
FIRST = numpy_helper.from_array(np.array(0), "i")
AXIS = numpy_helper.from_array(np.array([1]), "j")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "model.onnx")


def checked(source, given, direction="forward"):
    layer = operator_layers("RNN", {"direction": direction}, given)["forward"]
    (check,) = rp.check(layer, X, against=source).checks
    return check


def left_out(path, name):
    return f"not compared: {name} of {path}; if what was compared is all that is meant, name it: "


def test_further_outputs_of_a_model(path):
    given = arrays("RNN")
    scores = helper.make_node("ReduceMax", ["Y"], ["scores"], axes=[3])
    saved(model([node("RNN", given), scores], given, outputs=["Y", "Y_h", "scores"]), path)
    check = checked(path, given)
    assert check.verdict == "inconclusive"
    assert check.summary.startswith(f"{left_out(path, 'the output scores')}--against '{path}#Y'")
    for part in ("Y", "Y,Y_h"):
        check = checked(f"{path}#{part}", given)
        assert (check.verdict, len(check.final_state)) == ("parity", part.count(",")), check.summary
    with pytest.raises(InputError, match=r"expected some of Y, Y_h, scores, received #y$"):
        checked(f"{path}#y", given)


def test_several_outputs_that_fit_are_asked_about(path):
    given = arrays("RNN")
    double = helper.make_node("Add", ["Y", "Y"], ["twice"])
    saved(model([node("RNN", given), double], given, outputs=["Y", "twice"]), path)
    with pytest.raises(InputError, match=r"export the layer alone, or name its output: FILE#NAME"):
        checked(path, given)
    assert checked(f"{path}#Y", given).verdict == "parity"
    assert checked(f"{path}#twice", given).verdict == "diverged"


def test_one_direction_of_a_bidirectional_operator(path):
    given = arrays("RNN", directions=2)
    both = node("RNN", given, ["both"], direction="bidirectional")
    half = helper.make_node("Gather", ["both", "i"], ["Y"], axis=1)
    made = model([both, half], given)
    made.graph.initializer.append(FIRST)
    saved(made, path)
    check = checked(path, given, "bidirectional")
    assert check.verdict == "inconclusive"
    assert check.summary.startswith(left_out(path, "one direction of the operator cell"))
    assert checked(f"{path}#Y", given, "bidirectional").verdict == "parity"


def test_an_operator_that_reaches_no_output(path):
    given = arrays("RNN")
    other = node("RNN", given, ["lost"], name="second")
    saved(model([node("RNN", given), other], given), path)
    check = checked(path, given)
    assert check.verdict == "inconclusive"
    assert check.summary.startswith(left_out(path, "the operator second, which reaches no output"))
    # One after the other they are one computation, all of which was compared.
    more = arrays("RNN", seed=1)
    more = {"W2": more["R"], "R2": more["R"], "B2": more["B"]}
    first = helper.make_node("Squeeze", ["lost", "j"], ["inner"])
    last = helper.make_node("RNN", ["inner", "W2", "R2", "B2"], ["Y"], "last", hidden_size=H)
    made = model([other, first, last], {**given, **more})
    made.graph.initializer.append(AXIS)
    saved(made, path)
    assert checked(path, given).verdict == "diverged"
    assert not any("not compared" in note for note in checked(path, given).notes)


def test_a_final_c_is_no_last_output(path):
    given = arrays("LSTM")
    saved(model([node("LSTM", given)], given, outputs=["Y_c"]), path)
    layer = operator_layers("LSTM", {}, given)["forward"]
    with pytest.raises(InputError, match=r"received Y_c \(1, 3, 4\); export the layer alone"):
        rp.check(layer, X, against=path)
