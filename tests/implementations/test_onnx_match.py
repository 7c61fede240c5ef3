"""Which of a model's states is h and which is c: by name, by the last output, or by a note."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_models import B, F, H, T, arrays, model, node, saved  # noqa: E402  # after the skip

import rnn_parity as rp  # noqa: E402
from rnn_parity.implementations.onnx.operators import operator_layers  # noqa: E402
from rnn_parity.implementations.onnx.runtime import implementation  # noqa: E402
from rnn_parity.implementations.ports import answer_from_outputs  # noqa: E402
from rnn_parity.implementations.request import Request  # noqa: E402

X = np.random.default_rng(5).normal(size=(B, T, F)).astype(np.float32)
LAYER = operator_layers("LSTM", {}, arrays("LSTM"))["forward"]
STATE = np.random.default_rng(6).uniform(-1, 1, (B, H)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "model.onnx")


def of_lstm(path, inputs, outputs, finals="hc"):
    """What an LSTM gives whose states h and c have these names, in this order."""
    given = arrays("LSTM")
    cell = node("LSTM", {**given, "initial_h": 0, "initial_c": 0}, ["Y", "", ""])
    cell.input[5:] = inputs
    for name, final in zip(outputs, finals, strict=True):
        cell.output["Yhc".index(final)] = name
    shapes = {"X": (T, B, F)} | dict.fromkeys(inputs, (1, B, H))
    path = saved(model([cell], given, inputs=shapes, outputs=["Y", *outputs]), path)
    layer = operator_layers("LSTM", {}, given)["forward"]
    state = (STATE, STATE[::-1])
    found = implementation(path)(Request(layer, X, initial_state=state))
    final = found.final_state or None
    report = rp.compare(layer, X, found.outputs, final, initial_state=state)
    return report, (*found.notes[1:], *found.left_out)


@pytest.mark.parametrize(
    ("names", "notes"),
    [
        (("h", "second"), 0),  # what is not h is c
        (("first", "c"), 0),
        (("first", "second"), 1),
        (("h_0", "h_1"), 1),
        (("cell_0", "cell_1"), 1),
    ],
)
def test_initial_states_that_names_do_not_tell_apart(path, names, notes):
    report, said = of_lstm(path, names, ("Y_h", "Y_c"))
    assert report.verdict == "parity"
    assert len(said) == notes
    if notes:
        assert said[0] == (
            f"the inputs {names[0]} and {names[1]} are taken as the states h and c: their names do "
            "not tell which is which"
        )


def test_initial_states_that_are_not_given_need_no_names(path):
    given = arrays("LSTM")
    cell = node("LSTM", {**given, "initial_h": 0, "initial_c": 0})
    cell.input[5:] = ["a", "b"]
    shapes = {"X": (T, B, F), "a": (1, B, H), "b": (1, B, H)}
    path = saved(model([cell], given, inputs=shapes), path)
    found = implementation(path)(Request(operator_layers("LSTM", {}, given)["forward"], X))
    assert len(found.notes) == 1


@pytest.mark.parametrize("finals", ["hc", "ch"])
@pytest.mark.parametrize("names", [("first", "second"), ("h0", "h1"), ("c0", "c1")])
def test_a_final_h_is_the_last_output_whatever_it_is_called(path, names, finals):
    report, said = of_lstm(path, ("h", "c"), names, finals)
    assert (report.verdict, said) == ("parity", ())


def test_a_final_c_alone_is_not_compared(path):
    report, said = of_lstm(path, ("h", "c"), ["Y_c"], "c")
    assert report.verdict == "parity"
    assert said == ("Y_c, a state c without its h",)
    (check,) = rp.check(LAYER, X, against=path).checks
    assert (check.verdict, check.sensitivity) == ("inconclusive", None)
    assert check.summary.startswith(f"not compared: Y_c, a state c without its h of {path}; if ")
    assert rp.check(LAYER, X, against=f"{path}#Y").verdict == "parity"


def test_final_states_that_neither_names_nor_numbers_tell_apart():
    request = Request(operator_layers("LSTM", {}, arrays("LSTM"))["forward"], X)
    a, b, last = (np.full((B, H), value) for value in (0.1, 0.2, 0.3))
    note = "the outputs a and b are taken as the states h and c: their names do not tell which is"
    alone = answer_from_outputs(request, {"a": a, "b": b}, False)
    assert np.array_equal(alone.outputs, a)
    assert [state is one for state, one in zip(alone.final_state, (a, b), strict=True)]
    assert alone.notes[1].startswith(note)
    stale = answer_from_outputs(request, {"y": last, "a": a, "b": b}, False)
    assert (stale.outputs[0, 0], stale.notes[1][: len(note)]) == (0.3, note)
    told = answer_from_outputs(request, {"y": last, "a": a, "b": last}, False)
    assert [state[0, 0] for state in told.final_state] == [0.3, 0.1]
    assert len(told.notes) == 1
