"""Keras on its other backends: what it computes, by hand, and what is refused."""

import io
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from processes import gone

import rnn_parity as rp
from rnn_parity.errors import InputError, MissingPackageError, SourceFailedError
from rnn_parity.implementations.keras_backend import (
    BACKENDS,
    Child,
    implementation,
    installed,
    question,
    receive,
    send,
)
from rnn_parity.implementations.request import Request
from rnn_parity.recurrence.activations import custom

if not installed():
    pytest.skip("Keras 3 is not installed", allow_module_level=True)


def f32(value):
    return np.array(value, np.float32)


ONE = (f32([[1]]), f32([[1]]), f32([0]))
COUNTING = rp.SimpleRNN(*ONE, activation="linear")
# Gates i = 1/2, f = 1, c = x, o = 1/4.
LSTM = rp.LSTM(
    f32([[0, 0, 1, 0]]), f32([[0, 0, 0, 0]]), f32([0, 3, 0, -1.5]), "linear", "hard_sigmoid"
)
# z = 1/2, r = 1/4; the candidate is x + r (h + 4), without reset_after x + r h + 2.
CANDIDATE = (f32([[0, 0, 1]]), f32([[0, 0, 1]]))
GRU = rp.GRU(*CANDIDATE, f32([[0, -1.5, 0], [0, 0, 4]]), "linear", "hard_sigmoid")
RESET_BEFORE = rp.GRU(*CANDIDATE, f32([0, -1.5, 2]), "linear", "hard_sigmoid", reset_after=False)
X = f32([[[4], [8]]])


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request):
    started(request.param)
    return request.param


@pytest.fixture(scope="module")
def compute(backend):
    """One process for all tests of a backend."""
    return started(backend)


@pytest.fixture(scope="module")
def numpy_backend():
    return started("numpy")


@cache
def started(name):
    if name not in installed():
        pytest.skip(f"{name} is not installed")
    return implementation(name)


def near(array):
    return pytest.approx(np.asarray(array), rel=1e-6)


def test_the_layers_by_hand(compute):
    answer = compute(Request(COUNTING, np.array([[[1.0], [2.0], [4.0]]], np.float32)))
    assert answer.outputs[0, :, 0] == near([1, 3, 7])
    assert [s.tolist() for s in answer.final_state] == [[[7.0]]]
    # c = 1/2 4 = 2, then 2 + 1/2 8 = 6; h = c / 4.
    answer = compute(Request(LSTM, X))
    assert answer.outputs[0, :, 0] == near([0.5, 1.5])
    assert [s[0, 0] for s in answer.final_state] == near([1.5, 6.0])
    # 1/2 (4 + 1/4 4) = 2.5, then 1/2 2.5 + 1/2 (8 + 1/4 6.5) = 6.0625.
    answer = compute(Request(GRU, X))
    assert answer.outputs[0, :, 0] == near([2.5, 6.0625])
    # 1/2 (4 + 2) = 3, then 1/2 3 + 1/2 (8 + 1/4 3 + 2) = 6.875.
    assert compute(Request(RESET_BEFORE, X)).outputs[0, :, 0] == near([3.0, 6.875])


def test_options_by_hand(compute):
    def outputs(layer, x, **data):
        answer = compute(Request(layer, np.array(x, np.float32)[None, :, None], **data))
        return answer.outputs[0, :, 0].tolist(), [s[0, 0].tolist() for s in answer.final_state]

    back = rp.SimpleRNN(*ONE, activation="linear", go_backwards=True)
    assert outputs(back, [1, 2, 4]) == ([4, 6, 7], [7])
    mask = np.array([[True, False, True]])
    assert outputs(COUNTING, [1, 2, 4], mask=mask) == ([1, 1, 5], [5])
    zeroed = rp.SimpleRNN(*ONE, activation="linear", zero_output_for_mask=True)
    assert outputs(zeroed, [1, 2, 4], mask=mask) == ([1, 0, 5], [5])
    assert outputs(COUNTING, [1, 2], initial_state=(np.array([[10.0]]),)) == ([11, 13], [13])
    state = (np.array([[7.0]]), np.array([[1.0]]))
    assert outputs(LSTM, [4], initial_state=state) == ([0.75], [0.75, 3])
    unrolled = outputs(COUNTING, [1, 2, 4], config={"unroll": True})
    assert unrolled == ([1, 3, 7], [7])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_dtypes_by_hand(compute, dtype):
    # 1/4 rounds to itself, 0.1 does not: 0.0999755859375 in float16, 0.10009765625 in bfloat16.
    tenth = {"float16": 0.0999755859375, "bfloat16": 0.10009765625}[dtype]
    layer = rp.SimpleRNN([[0.25]], [[0.5]], [0.0], activation="linear", dtype=dtype)
    answer = compute(Request(layer, np.array([[[0.1], [0.0]]])))
    assert answer.outputs[0, :, 0].tolist() == [tenth / 4, tenth / 8]


def test_weights_in_any_memory_order(compute):
    # OpenVINO reads the bits of float16 numbers that are not in C order as integers.
    layer = rp.SimpleRNN([[1, 2], [3, 4]], np.zeros((2, 2)), activation="linear", dtype="float16")
    x = np.asfortranarray([[[1.0, 10.0]], [[0.0, 1.0]]])
    assert compute(Request(layer, x)).outputs[:, 0].tolist() == [[31, 42], [3, 4]]


@pytest.mark.parametrize("kind", [rp.SimpleRNN, rp.LSTM, rp.GRU])
def test_random_layers_are_in_parity(compute, kind):
    rng = np.random.default_rng(1)
    gates, states = len(kind.GATES), len(kind.STATES)
    bias = rng.normal(size=(2, 5 * gates) if kind is rp.GRU else 5 * gates)
    weights = (rng.normal(size=(4, 5 * gates)), 0.4 * rng.normal(size=(5, 5 * gates)), bias)
    layer = kind(*weights, dtype="float32", go_backwards=True)
    x = rng.normal(size=(3, 7, 4)).astype(np.float32)
    mask = np.arange(7) >= np.array([[0], [2], [4]])
    state = tuple(rng.normal(size=(3, 5)).astype(np.float32) for _ in range(states))
    answer = compute(Request(layer, x, mask, state))
    final = list(answer.final_state) if states > 1 else answer.final_state[0]
    given = list(state) if states > 1 else state[0]
    report = rp.compare(layer, x, answer.outputs, final, mask=mask, initial_state=given)
    assert report.verdict == "parity", report.summary


def test_the_notes_name_the_versions(compute, backend):
    (note,) = compute(Request(COUNTING, X)).notes
    assert note.startswith("Keras 3.")
    assert f" on {backend} " in note


def test_float64_is_float32_there(compute, backend):
    # 0.33333334 squared: float32's 1/3, and its product.
    layer = rp.SimpleRNN([[1 / 3]], [[0.0]], activation="linear", dtype="float64")
    x = np.array([[[1 / 3]]])
    answer = compute(Request(layer, x))
    assert answer.outputs[0, 0, 0] == pytest.approx(0.111111119389534, rel=1e-14)
    assert "float32" in answer.notes[1]
    assert rp.compare(layer, x, answer.outputs).verdict == "diverged"


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_unrolled_layers_do_not_zero_masked_outputs(name):
    """A finding: [1, 1, 5] where [1, 0, 5] is asked for."""
    layer = rp.SimpleRNN(*ONE, activation="linear", zero_output_for_mask=True)
    x, mask = np.array([[[1.0], [2.0], [4.0]]], np.float32), np.array([[True, False, True]])
    answer = started(name)(Request(layer, x, mask, config={"unroll": True}))
    assert answer.outputs[0, :, 0].tolist() == [1, 1, 5]
    report = rp.compare(layer, x, answer.outputs, mask=mask)
    assert report.verdict == "diverged"
    assert "masked-output-not-zeroed" in {cause.fault for cause in report.checks[0].causes}


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_a_masked_first_step_repeats_the_initial_state(name):
    """A finding: [10, 12] where TensorFlow and PyTorch give [0, 12]."""
    x, mask = np.array([[[1.0], [2.0]]], np.float32), np.array([[False, True]])
    state = np.array([[10.0]])
    answer = started(name)(Request(COUNTING, x, mask, (state,)))
    assert answer.outputs[0, :, 0].tolist() == [10, 12]
    report = rp.compare(COUNTING, x, answer.outputs, mask=mask, initial_state=state)
    assert (report.verdict, report.checks[0].first_divergence.timestep) == ("diverged", 0)


def test_openvino_misreads_a_slice_of_a_float16_array():
    """A finding: `W[:, 4:]` of a GRU without reset_after, ones, is read as 15360, 1.0's bits."""
    kernel = f32([[0, 0, 0, 0, 1, 1]])
    recurrent = f32([[0, 0, 0, 0, 1, 1]] * 2)
    layer = rp.GRU(kernel, recurrent, None, "linear", reset_after=False, dtype="float16")
    answer = started("openvino")(Request(layer, f32([[[2], [0]]])))
    # z = r = 1/2: h = 1, then 1/2 + 1/2 (1/2 + 1/2) = 1; but 1/2 15360 (1/2 + 1/2) = 7680.
    assert answer.outputs[0].tolist() == [[1, 1], [7680, 7680]]


def test_what_keras_refuses_is_one_line_and_the_process_goes_on(numpy_backend):
    layer = rp.SimpleRNN(*ONE, activation="LeakyReLU")  # a name of Keras 2's alone
    with pytest.raises(InputError, match=r"keras:numpy: Keras refused: .*LeakyReLU") as caught:
        numpy_backend(Request(layer, X))
    assert "\n" not in str(caught.value)
    assert numpy_backend(Request(COUNTING, X)).outputs[0, :, 0].tolist() == [4, 12]


def test_the_users_own_activation_is_refused(numpy_backend):
    layer = rp.SimpleRNN(*ONE, activation=custom(np.cbrt, "cbrt"))
    with pytest.raises(InputError, match="expected an activation of Keras's own, received cbrt"):
        numpy_backend(Request(layer, X))


def test_hard_sigmoid_of_keras_2_is_asked_of_keras_3_by_its_name(numpy_backend):
    layer = rp.SimpleRNN(*ONE, activation="hard_sigmoid_keras2")
    x = np.array([[[1.0]]])
    assert numpy_backend(Request(layer, x)).outputs[0, 0, 0] == near(1 / 6 + 1 / 2)


def test_unknown_and_missing_backends(monkeypatch):
    with pytest.raises(InputError, match="keras:mxnet: expected one of keras:jax, keras:torch"):
        implementation("mxnet")
    monkeypatch.setitem(BACKENDS, "absent_package", "absent_package")
    assert "absent_package" not in installed()
    with pytest.raises(MissingPackageError, match=r"pip install 'rnn-parity\[absent_package\]'"):
        implementation("absent_package")


ROOT = Path(__file__).parents[2]

ONES = np.ones((1, 1), np.float32)
REQUEST = Request(rp.SimpleRNN(ONES, ONES), np.ones((1, 2, 1), np.float32))


def message():
    return question(REQUEST, "keras:numpy")


def test_the_time_limit(monkeypatch):
    monkeypatch.setenv("RNN_PARITY_TIME_LIMIT", "0.05")
    with pytest.raises(InputError) as caught:
        implementation("numpy")(REQUEST)
    expected = "no answer within 0.05 seconds; RNN_PARITY_TIME_LIMIT allows more"
    assert str(caught.value) == f"keras:numpy: {expected}"


def test_a_process_that_is_killed_is_one_line_and_is_started_anew():
    child = Child("numpy", 300)
    assert child.ask(message())["outputs"].shape == (1, 2, 1)
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    with pytest.raises(SourceFailedError, match=r"^keras:numpy: its process crashed with SIGKILL$"):
        child.ask(message())
    assert child.ask(message())["outputs"].shape == (1, 2, 1)


def test_a_crash_shows_the_last_line_that_was_written(tmp_path, monkeypatch):
    lines = ("import os, sys", "print('first\\nno such device\\n', file=sys.stderr)", "os._exit(7)")
    (tmp_path / "keras.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(InputError) as caught:
        Child("numpy", 300).ask(message())
    expected = "its process ended with exit code 7: no such device"
    assert str(caught.value) == f"keras:numpy: {expected}"


def test_what_a_backend_prints_does_not_get_among_the_answers(tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("print('hello')\nraise ImportError('half a Keras')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(InputError, match="keras:numpy: Keras refused: half a Keras") as caught:
        Child("numpy", 300).ask(message())
    assert not isinstance(caught.value, SourceFailedError)


PARENT = """
import numpy as np, time, rnn_parity as rp
from rnn_parity.implementations import keras_backend as kb
from rnn_parity.implementations.request import Request
child = kb.Child("numpy", 300)
layer = rp.SimpleRNN([[1.0]], [[1.0]])
child.ask(kb.question(Request(layer, np.ones((1, 2, 1))), "keras:numpy"))
print(child.process.pid, flush=True)
{then}
"""


@pytest.mark.parametrize("then", ["pass", "time.sleep(60)", "raise SystemExit(3)"])
def test_no_process_and_no_file_stays_behind(then, tmp_path):
    command = [sys.executable, "-c", PARENT.format(then=then)]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    pid = int(running.stdout.readline())
    assert os.listdir(tmp_path) == []
    if "sleep" in then:
        running.kill()
    running.communicate(timeout=300)
    assert gone(pid)


def test_messages_hold_arrays_alone():
    stream = io.BytesIO()
    send(stream, {"a": np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), "name": "x", "flag": True})
    whole = stream.getvalue()
    found = receive(io.BytesIO(whole))
    assert found["a"].tolist() == [[1, 2], [3, 4]]
    assert (found["a"].flags.c_contiguous, str(found["name"]), found["flag"].item()) == (
        True,
        "x",
        True,
    )
    for cut in (0, 5, len(whole) - 1):
        assert receive(io.BytesIO(whole[:cut])) is None
    stream = io.BytesIO()
    send(stream, {"a": np.array([{}], object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        receive(io.BytesIO(stream.getvalue()))
