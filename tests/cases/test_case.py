"""Recorded cases: what is written is read again, and a crash leaves the old case or the new."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hand_case import CONFIG, GRU, INPUTS, LSTM, OUTPUTS, VERSIONS, contents, make

import rnn_parity as rp
from rnn_parity.cases.case import Case, case_of, read_case, versions_now, write_case
from rnn_parity.errors import InputError
from rnn_parity.recurrence.layer_call import LayerCall

ROOT = Path(__file__).parents[2]


def test_what_is_written_is_read_again(path):
    case = read_case(path)
    for field in dataclasses.fields(Case):
        written, read = getattr(make(), field.name), getattr(case, field.name)
        assert (written is None) == (read is None), field.name
        np.testing.assert_array_equal(read, written)
    assert case.final_state[0].dtype == np.float32
    assert rp.compare(case.weights(), case.inputs, case.outputs, case.final_state)


def test_the_file_is_what_the_format_says(path):
    found = contents(path)
    names = {"inputs", "outputs", "final_state_h", "kernel", "recurrent_kernel", "bias", "meta"}
    assert set(found) == names
    assert json.loads(str(found["meta"]))["schema"] == "rnn-parity/case/1"


def test_the_same_case_is_the_same_file(path, tmp_path):
    write_case(tmp_path / "again.npz", make())
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_every_optional_array_returns(tmp_path):
    mask = np.array([[True, False]])
    state = np.float32([[0.25]])
    write_case(
        tmp_path / "c.npz", make(mask=mask, initial_state=(state,), last_output=state, call=3)
    )
    case = read_case(tmp_path / "c.npz")
    assert (case.mask.dtype, case.mask.tolist()) == (bool, [[True, False]])
    assert (case.initial_state[0].tolist(), case.last_output.tolist()) == ([[0.25]], [[0.25]])
    assert case.call == 3


@pytest.mark.parametrize("gated", [GRU, LSTM], ids=["GRU", "LSTM"])
def test_a_gated_layer_is_read_again(gated, tmp_path):
    write_case(tmp_path / "c.npz", make(**gated))
    case = read_case(tmp_path / "c.npz")
    assert type(case.weights()).__name__ == case.recurrence == gated["recurrence"]
    assert case.arrays.keys() == make(**gated).arrays.keys()
    assert all(np.array_equal(case.arrays[name], a) for name, a in make(**gated).arrays.items())
    state = case.final_state if len(case.final_state) > 1 else case.final_state[0]
    report = rp.compare(case.weights(), case.inputs, case.outputs, state)
    assert (report.verdict, report.checks[0].max_deviation) == ("parity", 0)


def test_the_file_of_an_lstm_is_what_the_format_says(tmp_path):
    write_case(tmp_path / "c.npz", make(**LSTM))
    states = {f"{which}_state_{name}" for which in ("initial", "final") for name in "hc"}
    weights = {"kernel", "recurrent_kernel", "bias"}
    assert set(contents(tmp_path / "c.npz")) == {"inputs", "outputs", "meta", *weights, *states}


def test_options_of_a_gru_reach_the_weights():
    gru = {**GRU, "bias": np.float32([0, 0, 1])}
    options = {"reset_after": False, "recurrent_activation": "hard_sigmoid"}
    weights = make(**{**gru, "config": {**CONFIG, **options}}).weights()
    assert not weights.reset_after
    assert weights.recurrent_activation.name == "hard_sigmoid_keras2"


@pytest.mark.parametrize(
    ("keras", "slope"), [("2.15.0", 0.2), ("3.15.1", 1 / 6), ("2.21.0", 0.2), (None, 1 / 6)]
)
def test_hard_sigmoid_keeps_its_slope(keras, slope):
    case = make(config={**CONFIG, "activation": "hard_sigmoid"}, versions={"keras": keras})
    assert case.weights().activation(np.array([[1.0]])) == pytest.approx(0.5 + slope)


def test_options_reach_the_weights():
    options = {"go_backwards": True, "zero_output_for_mask": True, "stateful": True}
    case = make(config={**CONFIG, **options})
    assert case.weights().go_backwards
    assert case.weights().zero_output_for_mask
    assert case.config["stateful"]


def observation(weights, config, **arrays):
    return LayerCall("RNN", "r", config, "graph", None, weights, None, INPUTS, OUTPUTS, **arrays)


def test_an_observation_becomes_a_case():
    weights = rp.SimpleRNN([[2.0]], [[0.5]], [1.0], "relu", go_backwards=True, dtype="float32")
    config = {"name": "r", "cell": {"config": {"name": "c", "activation": "relu", "units": 1}}}
    case = case_of(observation(weights, config), VERSIONS)
    assert case.config == {
        "name": "r",
        "activation": "relu",
        "units": 1,
        "use_bias": True,
        "go_backwards": True,
        "zero_output_for_mask": False,
    }
    assert (case.kernel.dtype, case.kernel.tolist(), case.bias.tolist()) == ("float32", [[2]], [1])


def test_an_observation_of_a_gru_becomes_a_case():
    weights = rp.GRU(np.ones((1, 3)), np.ones((1, 3)), np.ones(3), reset_after=False)
    config = {"name": "r", "cell": {"config": {"activation": "tanh", "reset_after": False}}}
    state = np.float32([[0.5]])
    seen = observation(weights, config, initial_state=(state,), final_state=(state,))
    case = case_of(seen, VERSIONS)
    assert (case.recurrence, case.config["reset_after"]) == ("GRU", False)
    assert case.config["recurrent_activation"] == "sigmoid"
    assert [name for name in case.arrays if "state" in name] == ["initial_state_h", "final_state_h"]


def test_bfloat16_is_read_by_numpy_alone(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    weights = rp.SimpleRNN([[2.0]], [[0.5]], activation="relu", dtype="bfloat16")
    seen = observation(weights, {"activation": "relu"})
    narrow = {n: getattr(seen, n).astype(ml_dtypes.bfloat16) for n in ("inputs", "outputs")}
    write_case(tmp_path / "c.npz", case_of(dataclasses.replace(seen, **narrow), versions_now()))
    case = read_case(tmp_path / "c.npz")
    assert (case.dtype, case.outputs.dtype, case.outputs.tolist()) == (
        "bfloat16",
        np.float32,
        OUTPUTS.tolist(),
    )
    assert case.weights().precision.name == "bfloat16"


def test_a_function_is_no_data():
    weights = rp.SimpleRNN([[2.0]], [[0.5]], [1.0], activation=lambda z: z)
    with pytest.raises(InputError, match="'r': expected an activation of Keras's own"):
        case_of(observation(weights, {"activation": "mine"}), VERSIONS)


def test_a_function_for_the_gates_is_no_data():
    one = np.ones((1, 4))
    weights = rp.LSTM(one, one, recurrent_activation=lambda z: z)
    with pytest.raises(
        InputError, match="expected an activation of Keras's own, received <lambda>"
    ):
        case_of(observation(weights, {"recurrent_activation": "mine"}), VERSIONS)


def test_a_custom_function_of_a_known_name_is_no_data():
    def tanh(z):
        return z

    weights = rp.SimpleRNN([[2.0]], [[0.5]], [1.0], activation=tanh)
    with pytest.raises(InputError, match="expected an activation of Keras's own"):
        case_of(observation(weights, {"activation": "tanh"}), VERSIONS)


def test_what_is_not_replayed_is_not_recorded():
    seen = dataclasses.replace(observation(None, {}), not_compared="LSTM is not replayed yet")
    with pytest.raises(InputError, match="not recorded: LSTM is not replayed yet"):
        case_of(seen, VERSIONS)


def test_versions_name_this_program():
    assert {"python", "numpy", "tensorflow", "keras", "platform", "rnn-parity"} <= set(
        versions_now()
    )


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="No such file or directory"):
        write_case(tmp_path / "none" / "c.npz", make())
    with pytest.raises(InputError, match="device or a pipe"):
        write_case("/dev/null", make())
    with pytest.raises(InputError, match="kernel: expected shape"):
        write_case(tmp_path / "c.npz", make(kernel=np.ones((2, 2), np.float32)))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_case(path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_case(path, make(layer_name="b"))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["case.npz"]


WRITER = """
import sys
from rnn_parity.cases.case import read_case, write_case
from dataclasses import replace
case = read_case(sys.argv[1])
print("ready", flush=True)
while True:
    write_case(sys.argv[1], replace(case, layer_name=sys.argv[2]))
"""


def test_killed_writers_leave_a_complete_case(path):
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        for name in ("first", "second")
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        names = {read_case(path).layer_name for _ in range(100)}
    finally:
        for writer in writers:
            writer.kill()
        errors = [writer.communicate()[1] for writer in writers]
    assert errors == [b"", b""]
    assert names <= {"a", "first", "second"}
    assert read_case(path).layer_name in ("first", "second")


def test_reading_and_writing_need_numpy_alone(path):
    code = f"""
import sys
from rnn_parity.cases.case import read_case, write_case
write_case({str(path)!r}, read_case({str(path)!r}))
read_case({str(path)!r}).weights()
assert not {{"tensorflow", "keras", "ml_dtypes", "pytest"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)
