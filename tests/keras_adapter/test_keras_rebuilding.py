"""Layers built again from the description in a case, around cells and of every recurrence."""

from dataclasses import replace

import numpy as np
import pytest
from hand_case import CONFIG, make

from rnn_parity import keras_adapter
from rnn_parity.api.recorded import check_case, record
from rnn_parity.cases.case import read_case
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.building import rebuild_layer
from rnn_parity.recurrence.layers import GRU, LSTM


def test_a_rebuilt_layer_has_the_options():
    config = {
        **CONFIG,
        "activation": "relu",
        "go_backwards": True,
        "time_major": False,
        "kernel_initializer": "ones",
        "dtype": {"class_name": "Policy", "config": {"name": "mixed_float16"}},
    }
    layer = rebuild_layer("SimpleRNN", config, make().weights(), 3)
    assert (layer.go_backwards, layer.compute_dtype, layer.units) == (True, "float16", 1)
    assert layer.cell.activation.__name__ == "relu"
    assert [w.numpy().tolist() for w in layer.weights] == [[[2]], [[0.5]], [1]]


def test_a_rebuilt_gated_layer_has_the_options():
    gru = GRU(np.ones((2, 3)), np.ones((1, 3)), np.ones(3), reset_after=False, dtype="float32")
    config = {**CONFIG, "recurrent_activation": "relu", "reset_after": False}
    layer = rebuild_layer("GRU", config, gru, 3)
    assert (layer.reset_after, layer.cell.recurrent_activation.__name__) == (False, "relu")
    assert layer.cell.bias.shape == (3,)
    lstm = LSTM(np.ones((2, 4)), np.ones((1, 4)), np.arange(4), dtype="float32")
    config = {**CONFIG, "unit_forget_bias": True, "use_bias": True}
    layer = rebuild_layer("Mine", config, lstm, 3)
    assert (type(layer).__name__, layer.cell.bias.numpy().tolist()) == ("LSTM", [0, 1, 2, 3])


def test_what_cannot_be_rebuilt_is_named():
    with pytest.raises(InputError, match="Mine: cannot be rebuilt with secret=3"):
        rebuild_layer("Mine", {**CONFIG, "secret": 3}, make().weights(), 1)
    lstm = LSTM(np.ones((1, 4)), np.ones((1, 4)))
    with pytest.raises(
        InputError, match="reset_after=True, which is not an option of Keras's LSTM"
    ):
        rebuild_layer("LSTM", {**CONFIG, "reset_after": True}, lstm, 1)
    described = {"module": "os", "class_name": "function", "config": "getcwd"}
    for entry in ("dtype", "units"):  # Keras would make an object of it
        with pytest.raises(InputError, match=f"expected a word or a number for {entry}, received"):
            rebuild_layer("SimpleRNN", {**CONFIG, entry: described}, make().weights(), 1)
    with pytest.raises(InputError, match="SimpleRNN rebuilt from its config"):
        rebuild_layer("SimpleRNN", {**CONFIG, "units": -1}, make().weights(), 1)


@pytest.mark.parametrize("name", ["SimpleRNNCell", "LSTMCell", "GRUCell"])
def test_a_layer_around_a_cell(name, tmp_path):
    layers = pytest.importorskip("tensorflow").keras.layers
    cell = getattr(layers, name)(2, activation="relu", bias_initializer="ones")
    layer = layers.RNN(cell, return_sequences=True, return_state=True, zero_output_for_mask=True)
    x, mask = np.ones((2, 3, 2), np.float32), np.array([[True, False, True]] * 2)
    states = [np.full((2, 2), 0.5 - i, np.float32) for i in range(1 + (name == "LSTMCell"))]
    record(keras_adapter.observe_layer(layer, x, mask, states), tmp_path / "c.npz")
    case = read_case(tmp_path / "c.npz")
    assert (case.layer_class, f"{case.recurrence}Cell") == ("RNN", name)
    np.testing.assert_array_equal(case.initial_state, states)
    assert len(case.final_state) == len(states)
    then, now = check_case(tmp_path / "c.npz").checks
    assert (then.verdict, now.verdict) == ("parity", "parity")
    assert (now.subject.layer_class, now.subject.kernel) == ("RNN", "loop")
    assert "bit for bit" in now.notes[-1]


def test_what_is_not_replayed_stays_out(tmp_path):
    layers = pytest.importorskip("tensorflow").keras.layers

    class Mine(layers.LSTM):
        def call(self, *args, **kwargs):
            return super().call(*args, **kwargs)

    x = np.ones((2, 3, 2), np.float32)
    (a,), (b,) = (keras_adapter.observe_layer(layer, x) for layer in (layers.GRU(2), Mine(2)))
    seen = [replace(a, layer_name="a"), replace(b, layer_name="b")]
    report = record(seen, tmp_path / "c.npz")
    assert [c.verdict for c in report.checks] == ["parity", "inconclusive"]
    assert [p.name for p in tmp_path.iterdir()] == ["c-a.npz"]
