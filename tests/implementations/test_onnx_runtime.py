"""A layer's ONNX model as an implementation: what it is fed, what it gives, what is refused."""

import numpy as np
import pytest
from helpers import loop
from onnx_models import (
    FLOAT,
    INT32,
    STATE,
    B,
    F,
    H,
    T,
    X,
    arrays,
    helper,
    model,
    node,
    numpy_helper,
    onnx,
    saved,
)

import rnn_parity as rp
from rnn_parity.errors import InputError
from rnn_parity.implementations.onnx.operators import operator_layers
from rnn_parity.implementations.onnx.runtime import implementation
from rnn_parity.implementations.ports import answer_from_outputs, filled
from rnn_parity.implementations.request import Request

GIVEN = arrays("RNN")
LAYER = operator_layers("RNN", {}, GIVEN)["forward"].changed(zero_output_for_mask=False)
WEIGHTS = {
    "kernel": GIVEN["W"][0].T,
    "recurrent_kernel": GIVEN["R"][0].T,
    "bias": GIVEN["B"][0, :H] + GIVEN["B"][0, H:],
}
"""The same as the textbook has them, for a loop in NumPy."""
RIGHT = loop(WEIGHTS, X)
LOSS = "the bound allows for what ONNX Runtime's RNN loses of tanh near 0: 4 units of roundoff"
ONE = numpy_helper.from_array(np.array([1]), "one")


def close(array, expected):
    return array.shape == expected.shape and np.allclose(array, expected, rtol=0, atol=1e-6)


def ask(made, path, **more):
    return implementation(saved(made, path))(Request(LAYER, X, **more))


def squeezed(outputs=("y", "h")):
    """The operator with PyTorch's outputs: y without the axis of directions."""
    nodes = [node("RNN", GIVEN, ["Y", "h"]), helper.make_node("Squeeze", ["Y", "one"], ["y"])]
    made = model(nodes, GIVEN, inputs={"X": ("T", "N", F)}, outputs=outputs)
    made.graph.initializer.append(ONE)
    return made


def batch_first(shape, outputs=("out",)):
    """The same with the batch first, as Keras exports it."""
    made = squeezed()
    del made.graph.input[:], made.graph.output[:]
    turn = helper.make_node("Transpose", ["x"], ["X"], perm=[1, 0, 2])
    made.graph.node.insert(0, turn)
    made.graph.node.append(helper.make_node("Transpose", ["y"], ["out"], perm=[1, 0, 2]))
    made.graph.input.append(helper.make_tensor_value_info("x", FLOAT, shape))
    made.graph.output.extend(helper.make_tensor_value_info(name, FLOAT, None) for name in outputs)
    return made


def test_time_first(path):
    found = ask(squeezed(), path)
    assert close(found.outputs, RIGHT)
    assert [close(state, RIGHT[:, -1]) for state in found.final_state] == [True]
    assert found.notes[0].startswith("ONNX Runtime 1.")
    assert found.notes[1:] == (LOSS,)


@pytest.mark.parametrize("shape", [(B, T, F), (None, T, F), ("N", "T", F), (None, None, None)])
def test_batch_first(path, shape):
    found = ask(batch_first(shape, ("out", "h")), path)
    assert close(found.outputs, RIGHT)
    assert close(found.final_state[0], RIGHT[:, -1])
    assert found.notes[1:] == (LOSS,)


def test_axes_that_nothing_tells_apart(path):
    nodes = [helper.make_node("Relu", ["x"], ["Y"])]
    found = implementation(saved(model(nodes, {}, inputs={"x": (None, None, F)}), path))
    square = rp.SimpleRNN(np.eye(F), np.zeros((F, F)), activation="relu")
    answer = found(Request(square, X))
    assert np.array_equal(answer.outputs, np.maximum(X, 0))
    assert answer.notes[1] == "input x is taken as (batch, timesteps, features)"


def test_the_operator_as_it_is(path):
    given = arrays("LSTM")
    made = model([node("LSTM", given)], given, outputs=["Y", "Y_h", "Y_c"])
    layer = operator_layers("LSTM", {}, given)["forward"]
    found = implementation(saved(made, path))(Request(layer, X))
    assert (found.outputs.shape, len(found.final_state)) == ((B, T, H), 2)
    assert rp.compare(layer, X, found.outputs, found.final_state).verdict == "parity"


@pytest.mark.parametrize("names", [("h0", "c0"), ("c0", "h0"), ("initial_c", "initial_h")])
def test_states_are_told_apart_by_their_names(path, names):
    given = arrays("LSTM")
    inputs = {"X": (T, B, F)} | dict.fromkeys(names, (1, B, H))
    h, c = sorted(names, key=lambda name: "c" in name)
    cell = node("LSTM", {**given, "initial_h": 0, "initial_c": 0})
    cell.input[5:] = [h, c]
    outputs = ["Y", "Y_c", "Y_h"]
    layer = operator_layers("LSTM", {}, given)["forward"]
    state = (STATE, STATE[::-1])
    path = saved(model([cell], given, inputs=inputs, outputs=outputs), path)
    found = implementation(path)(Request(layer, X, initial_state=state))
    report = rp.compare(layer, X, found.outputs, found.final_state, initial_state=state)
    assert report.verdict == "parity", report


def with_state():
    given = {**GIVEN, "initial_h": 0}
    cell = node("RNN", given)
    return model([cell], GIVEN, inputs={"X": (T, B, F), "initial_h": (1, B, H)})


def test_a_state_that_is_not_given_is_zeros(path):
    assert close(ask(with_state(), path).outputs, RIGHT)
    given = ask(with_state(), path, initial_state=(STATE,))
    assert close(given.outputs, loop(WEIGHTS, X, state=STATE))


def test_a_state_that_the_model_does_not_take(path):
    with pytest.raises(InputError, match=r"inputs \(3, 5, 8\), initial h \(3, 4\), received X"):
        ask(squeezed(), path, initial_state=(STATE,))


def with_lengths():
    cell = node("RNN", {**GIVEN, "sequence_lens": 0})
    made = model([cell], GIVEN, outputs=["Y", "Y_h"])
    made.graph.input.append(helper.make_tensor_value_info("sequence_lens", INT32, [B]))
    return made


def test_a_mask_as_lengths(path):
    mask = np.arange(T) < np.array([[T], [2], [1]])
    expected = RIGHT.copy()
    expected[1, 2:], expected[2, 1:] = RIGHT[1, 1], RIGHT[2, 0]
    found = ask(with_lengths(), path, mask=mask)
    assert close(found.outputs, expected)
    assert close(found.final_state[0], expected[:, -1])
    assert found.notes[-1].endswith("zeros are filled as Keras fills masked steps")
    zeroed = LAYER.changed(zero_output_for_mask=True)
    found = implementation(path)(Request(zeroed, X, mask))
    assert close(found.outputs, expected * mask[:, :, None])
    assert found.notes[1:] == (LOSS,)
    assert close(implementation(path)(Request(LAYER, X)).outputs, RIGHT)


def test_an_empty_sequence_has_no_output_to_repeat(path):
    mask = np.arange(T) < np.array([[T], [0], [1]])
    assert not ask(with_lengths(), path, mask=mask).outputs[1].any()


def test_what_is_not_zero_beyond_a_length_stays():
    mask = np.arange(T) < np.array([[T], [2], [1]])
    assert np.array_equal(filled(Request(LAYER, X, mask), RIGHT), RIGHT)


def test_a_mask_that_lengths_cannot_say(path):
    with pytest.raises(InputError, match="expected the layer's inputs"):
        ask(with_lengths(), path, mask=np.arange(T) > np.array([[1], [2], [1]]))


def test_a_mask_of_its_own(path):
    made = batch_first((B, T, F))
    made.graph.node[-1].output[0] = "all"
    kept = [
        helper.make_node("Cast", ["mask"], ["number"], to=FLOAT),
        helper.make_node("Unsqueeze", ["number", "two"], ["column"]),
        helper.make_node("Mul", ["all", "column"], ["out"]),
    ]
    made.graph.node.extend(kept)
    made.graph.initializer.append(numpy_helper.from_array(np.array([2]), "two"))
    boolean = helper.make_tensor_value_info("mask", onnx.TensorProto.BOOL, [None, T])
    made.graph.input.append(boolean)
    mask = np.random.default_rng(0).random((B, T)) < 0.5
    assert close(ask(made, path, mask=mask).outputs, RIGHT * mask[:, :, None])
    assert close(ask(made, path).outputs, RIGHT)


def test_a_mask_that_the_model_does_not_take_is_said(path):
    found = ask(squeezed(), path, mask=np.ones((B, T), bool))
    assert found.notes[-1] == "the model has no input for the mask, which was not passed on"


@pytest.mark.parametrize("outputs", [("h",), ("last", "h"), ("last",)])
def test_the_last_output_alone(path, outputs):
    made = squeezed(outputs)
    made.graph.node.append(helper.make_node("Squeeze", ["h"], ["last"]))
    found = ask(made, path)
    assert close(found.outputs, RIGHT[:, -1])
    assert len(found.final_state) == len(outputs) - 1
    assert "return_sequences=True" in found.notes[-1]


def test_through_the_public_check(path):
    report = rp.check(LAYER, X, against=saved(squeezed(), path))
    assert report.verdict == "parity", report
    swapped = rp.SimpleRNN(WEIGHTS["kernel"], WEIGHTS["recurrent_kernel"].T, WEIGHTS["bias"])
    report = rp.check(swapped, X, against=path)
    causes = [cause.fault for cause in report.checks[0].causes]
    assert (report.verdict, causes) == ("diverged", ["recurrent-kernel-transposed"])


def test_float16(path):
    half = {name: array.astype(np.float16) for name, array in GIVEN.items()}
    made = model([node("RNN", half)], half, outputs=["Y"])
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    found = implementation(saved(made, path))(
        Request(operator_layers("RNN", {}, half)["forward"], X)
    )
    assert (found.outputs.dtype, found.outputs.shape) == (np.float16, (B, T, H))


@pytest.mark.parametrize("shape", [(1, T, F), (B, T + 2, F), (1, 1, F)])
def test_sizes_that_are_fixed(path, shape):
    with pytest.raises(InputError) as caught:
        ask(batch_first(shape), path)
    assert f"inputs (3, 5, 8), received x {shape}; export it with open batch" in str(caught.value)


def test_other_inputs_and_outputs_side_by_side(path):
    words = helper.make_tensor_value_info("words", onnx.TensorProto.INT64, [None, 7])
    made = model([helper.make_node("Identity", ["words"], ["Y"])], {}, inputs={})
    made.graph.input.append(words)
    made.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(InputError, match=r"inputs \(3, 5, 8\), received words \(any, 7\); export"):
        ask(made, path)
    wanted = (
        "expected the layer's outputs (3, 5, 4), or the last one (3, 4), and final states (3, 4), "
    )
    advice = "; export the layer alone, or name its output: FILE#NAME"
    made = model([helper.make_node("Relu", ["X"], ["scores"])], {}, outputs=["scores"])
    # The only output is what was computed: another shape is a result.
    found = ask(made, path)
    assert found.outputs.shape == (5, 3, 8)
    assert f"{wanted}received scores (5, 3, 8){advice}" in found.notes
    both = [helper.make_node("Relu", ["X"], [name]) for name in ("a", "b")]
    with pytest.raises(InputError) as caught:
        ask(model(both, {}, outputs=["a", "b"]), path)
    assert str(caught.value).endswith(f"{wanted}received a (5, 3, 8), b (5, 3, 8){advice}")


LSTM_LAYER = operator_layers("LSTM", {}, arrays("LSTM"))["forward"]


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
    (check,) = rp.check(LSTM_LAYER, X, against=path).checks
    assert (check.verdict, check.sensitivity) == ("inconclusive", None)
    assert check.summary.startswith(f"not compared: Y_c, a state c without its h of {path}; if ")
    assert rp.check(LSTM_LAYER, X, against=f"{path}#Y").verdict == "parity"


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


FIRST = numpy_helper.from_array(np.array(0), "i")
AXIS = numpy_helper.from_array(np.array([1]), "j")


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
