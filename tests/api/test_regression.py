"""A layer held against its recorded case, on observations made by hand: no Keras is run.

One unit, h[t] = x[t] + h[t-1] / 2 + 1/4.
"""

from dataclasses import replace

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.api.recorded import changed, difference, given, held, paths_of, told
from rnn_parity.cases.case import case_of, read_case, versions_now, write_case
from rnn_parity.errors import InputError
from rnn_parity.recurrence.layer_call import LayerCall

SEEN = LayerCall(
    layer_class="SimpleRNN",
    layer_name="rnn",
    config={"units": 1},
    mode="graph",
    call=None,
    weights=rp.SimpleRNN([[1.0]], [[0.5]], [0.25], activation=None, dtype="float32"),
    not_compared=None,
    inputs=np.array([[[1], [2], [3]]], np.float32),
    outputs=np.array([[[1.25], [2.875], [4.6875]]], np.float32),
)
WRONG = np.array([[[1], [2.5], [4.25]]], np.float32)


def verdicts(result):
    return [check.verdict for check in result.checks]


def test_of_several_cases_all_is_said_and_each_advice_once(tmp_path):
    paths = [tmp_path / f"{name}.npz" for name in "abcd"]
    for path in paths[:3]:
        held(SEEN, path, "", False)
    paths[1].write_bytes(b"PK")
    other = replace(SEEN, inputs=SEEN.inputs[:, :2], outputs=SEEN.outputs[:, :2])
    calls = (other, SEEN, SEEN, SEEN)
    results = [held(one, p, p.stem, False) for one, p in zip(calls, paths, strict=True)]
    lines = told(results).splitlines()
    assert lines[0] == "3 of 4 cases are missing, changed or damaged"
    heads = [line for line in lines[1:] if line[0] != " "]
    assert [head.rpartition(": ")[2] for head in heads] == ["a", "b", "d"]
    advice = [line.split()[:3] for line in lines if line.startswith("  to do ")]
    assert advice == [["to", "do", "if"], ["to", "do", "restore"], ["to", "do", "look"]]
    assert "record it again" not in "".join(lines)
    assert paths[3].exists()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "below" / "case.npz"


@pytest.fixture
def recorded(path):
    """A file that holds `SEEN`."""
    assert held(SEEN, path, "the case", False).message
    return path


def test_a_missing_case_is_written(path):
    result = held(SEEN, path, "the case", False)
    assert verdicts(result) == ["parity", "inconclusive"]
    assert result.message.startswith("no case was recorded yet; written now: the case\n")
    assert read_case(path).outputs.tolist() == [[[1.25], [2.875], [4.6875]]]


def test_the_same_is_in_parity(recorded):
    result = held(SEEN, recorded, "the case", False)
    assert (verdicts(result), result.message) == (["parity", "parity"], "")


def test_moved_within_rounding_is_in_parity(recorded):
    moved = np.nextafter(SEEN.outputs, np.float32(9))
    result = held(replace(SEEN, outputs=moved), recorded, "the case", False)
    assert (verdicts(result), result.message) == (["parity", "parity"], "")
    assert "within rounding" in result.checks[1].notes[-1]


def test_what_diverges_is_no_case(path):
    result = held(replace(SEEN, outputs=WRONG), path, "the case", False)
    assert (verdicts(result), result.message) == (["diverged"], "")
    assert not path.exists()


@pytest.mark.parametrize("update", [False, True])
def test_a_real_change_is_diverged_and_never_recorded(recorded, update):
    before = recorded.read_bytes()
    result = held(replace(SEEN, outputs=WRONG), recorded, "the case", update)
    assert (verdicts(result), result.message) == (["parity", "diverged"], "")
    assert "a real change" in result.checks[1].notes[-1]
    assert recorded.read_bytes() == before


def test_a_change_is_rewritten_only_when_asked_to(recorded):
    other = replace(SEEN, inputs=SEEN.inputs[:, :2], outputs=SEEN.outputs[:, :2])
    before = recorded.read_bytes()
    result = held(other, recorded, "the case", False)
    assert verdicts(result) == ["parity", "inconclusive"]
    assert "inputs: shape (1, 3, 1) then, (1, 2, 1) now" in result.message
    assert recorded.read_bytes() == before
    assert "rewritten" in held(other, recorded, "the case", True).message
    assert read_case(recorded).inputs.shape == (1, 2, 1)


def test_a_change_tells_the_versions_of_then_and_now(path):
    path.parent.mkdir()
    write_case(path, case_of(SEEN, {"tensorflow": "2.15.1", "keras": "2.15.0"}))
    other = replace(SEEN, inputs=SEEN.inputs[:, :2], outputs=SEEN.outputs[:, :2])
    since = "\n  recorded with TensorFlow 2.15.1, Keras 2.15.0, now TensorFlow "
    assert since in held(other, path, "the case", True).message
    assert "\n  then and now with TensorFlow " in held(SEEN, path, "the case", False).message


def fed(inputs):
    """`SEEN`, given other inputs, and what it makes of them."""
    a, b, c = (float(x) for x in inputs)
    outputs = [a + 0.25, b + 0.375 + a / 2, c + 0.4375 + b / 2 + a / 4]
    arrays = (np.array(numbers, np.float32).reshape(1, 3, 1) for numbers in (inputs, outputs))
    return replace(SEEN, **dict(zip(("inputs", "outputs"), arrays, strict=True)))


# 2**-12 of the largest entry, 3, are half of the digits of float32: 0.00073.
@pytest.mark.parametrize(("off_by", "same"), [(2.0**-20, True), (0.0007, True), (0.0008, False)])
def test_what_earlier_layers_computed_may_be_rounded(recorded, off_by, same):
    before, moved = recorded.read_bytes(), fed([1, 2 + off_by, 3])
    result = held(moved, recorded, "the case", True, in_model=True)
    assert (result.message == "") is same
    assert (recorded.read_bytes() == before) is same
    if same:
        assert verdicts(result) == ["parity", "parity"]
        (note,) = (note for note in result.checks[1].notes if "on the way to the layer" in note)
        assert "moved by rounding on the way to the layer: inputs[0, 1, 0]: 2 then, 2.0" in note


def test_what_a_layer_is_given_by_a_test_is_not_rounded(recorded):
    message = held(fed([1, 2 + 2.0**-20, 3]), recorded, "the case", False).message
    assert "inputs[0, 1, 0]: 2 then, 2.00000095 now\n" in message


def test_a_damaged_case_is_rewritten_only_when_asked_to(recorded):
    recorded.write_bytes(b"PK")
    result = held(SEEN, recorded, "the case", False)
    assert verdicts(result) == ["parity", "inconclusive"]
    assert result.message.startswith("cannot be read: the case\n  case ")
    assert "truncated or damaged" in result.message
    assert recorded.read_bytes() == b"PK"
    assert "truncated or damaged" in held(SEEN, recorded, "the case", True).message
    assert held(SEEN, recorded, "the case", False).message == ""


def test_recorded_outputs_that_diverge_are_rewritten_only_when_asked_to(path):
    path.parent.mkdir()
    write_case(path, case_of(replace(SEEN, outputs=WRONG), versions_now()))
    result = held(SEEN, path, "the case", False)
    assert (verdicts(result), result.message) == (["diverged", "parity"], "")
    assert "rewritten" in held(SEEN, path, "the case", True).message
    assert verdicts(held(SEEN, path, "the case", False)) == ["parity", "parity"]


def test_what_is_not_replayed_is_not_recorded(path):
    unknown = replace(SEEN, weights=None, not_compared="LSTM is not replayed yet")
    result = held(unknown, path, "the case", False)
    assert (verdicts(result), result.message) == (["inconclusive"], "")
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*case.npz") as error:
        held(SEEN, tmp_path / "file" / "case.npz", "the case", False)
    assert "\n" not in str(error.value)


def test_options_are_compared():
    weights = rp.SimpleRNN([[1.0]], [[0.5]], None, activation="relu", go_backwards=True)
    then = case_of(SEEN, {})
    now = case_of(replace(SEEN, weights=weights), {})
    assert changed(then, now, given(then, now)) == [
        "activation: linear then, relu now",
        "go_backwards: False then, True now",
        "dtype: float32 then, float64 now",
        "bias: one then, none now",
    ]
    assert changed(then, then, given(then, then)) == []


def test_options_and_states_of_gated_layers_are_compared():
    one = np.ones((1, 3))
    options = {"activation": None, "recurrent_activation": None, "dtype": "float32"}
    before, after = rp.GRU(one, one, **options), rp.GRU(one, one, **options, reset_after=False)
    state = (np.zeros((1, 1)),)
    then = case_of(replace(SEEN, weights=before), {})
    now = case_of(replace(SEEN, weights=after, initial_state=state, final_state=state), {})
    assert changed(then, now, given(then, now)) == [
        "reset_after: True then, False now",
        "initial_state_h: none then, one now",
    ]
    lines = changed(case_of(SEEN, {}), then, given(case_of(SEEN, {}), then))
    assert lines[0] == "recurrence: SimpleRNN then, GRU now"
    assert "recurrent_activation: None then, linear now" in lines


@pytest.mark.parametrize(
    ("then", "now", "text"),
    [
        (None, None, ""),
        ([1.0], None, "a: one then, none now"),
        (None, [1.0], "a: none then, one now"),
        ([1.0], [1.0], ""),
        ([np.nan], [np.nan], ""),
        ([1.0, np.nan], [1.0, 2.0], "a[1]: nan then, 2 now"),
        ([True, False], [True, True], "a[1]: 0 then, 1 now"),
        ([1.0], [1.0, 2.0], "a: shape (1,) then, (2,) now"),
        ([[1.0, 2.0]], [[0.5, 2.5]], "a[0, 0]: 1 then, 0.5 now, the first of 2 changed entries"),
    ],
)
def test_a_difference_names_its_first_entry(then, now, text):
    arrays = [None if x is None else np.array(x) for x in (then, now)]
    assert difference("a", *arrays) == text


def test_several_cases_are_numbered(tmp_path):
    assert paths_of(tmp_path / "a.npz", 1) == [tmp_path / "a.npz"]
    assert paths_of(tmp_path / "a.npz", 2) == [tmp_path / "a-0.npz", tmp_path / "a-1.npz"]
