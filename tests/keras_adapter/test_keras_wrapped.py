"""Wrappers and stacks made from options, on the command line too."""

import json

import numpy as np
import pytest
from keras_layers import B, F, H, layers, tf

from rnn_parity import keras_adapter as ka
from rnn_parity.cli import main as cli
from rnn_parity.errors import InputError


def build(kind, dtype=None, **arguments):
    return ka.build_layer(kind, H, F, arguments, dtype, 0, B)


def kinds(cells):
    return [type(cell).__name__ for cell in cells]


def test_one_cell():
    layer = build("rnn", cell="gru", reset_after=False, go_backwards=True)
    assert (type(layer.cell), layer.cell.reset_after) == (layers.GRUCell, False)
    assert (layer.go_backwards, layer.cell.units, ka.state_count(layer)) == (True, H, 1)
    assert type(build("rnn").cell) is layers.LSTMCell


def test_a_stack():
    layer = build("stacked", "float64", cells=["gru", "simple_rnn"], activation="relu", unroll=True)
    first, second = layer.cell.cells
    assert kinds([first, second]) == ["GRUCell", "SimpleRNNCell"]
    assert first.activation is second.activation is tf.keras.activations.relu
    assert layer.unroll
    assert layer.cell.compute_dtype == first.compute_dtype == layer.compute_dtype == "float64"
    assert tuple(second.kernel.shape) == (H, H)
    assert not np.array_equal(first.recurrent_kernel[:, :H], second.recurrent_kernel)
    gates = build("stacked", recurrent_activation="hard_sigmoid", cells=["simple_rnn", "lstm"])
    assert gates.cell.cells[1].recurrent_activation is tf.keras.activations.hard_sigmoid
    assert ka.state_count(gates) == 3
    assert kinds(build("stacked").cell.cells) == ["LSTMCell", "GRUCell"]


def test_both_directions():
    layer = build("bidirectional", layer="gru", merge_mode=None, return_sequences=True)
    forward, backward = layer.forward_layer, layer.backward_layer
    assert (layer.merge_mode, type(forward), type(backward)) == (None, layers.GRU, layers.GRU)
    assert not np.array_equal(forward.cell.kernel, backward.cell.kernel)
    two = build("bidirectional", "mixed_float16", layer="simple_rnn", backward_layer="gru")
    assert type(two.backward_layer) is layers.GRU
    assert two.backward_layer.go_backwards
    assert two.compute_dtype == two.forward_layer.compute_dtype == "float16"
    assert ka.state_count(two) == 2
    assert ka.state_count(build("bidirectional")) == 4


@pytest.mark.parametrize("kind", ka.WRAPPERS)
def test_weights_hide_nothing(kind):
    for weight in build(kind, "bfloat16").trainable_weights:
        value = np.asarray(weight).astype("float64")
        assert np.all(value != 0)


def test_what_is_no_layer_is_refused():
    with pytest.raises(InputError, match="layer: expected one of simple_rnn, lstm, gru, received"):
        build("bidirectional", layer="conv")
    with pytest.raises(
        InputError, match="cell: expected one of simple_rnn, lstm, gru, received '3'"
    ):
        build("stacked", cells=[3])
    with pytest.raises(InputError, match="argument nope=1: stacked refused it"):
        build("stacked", nope=1)
    with pytest.raises(InputError, match="merge_mode='max'"):
        build("bidirectional", merge_mode="max")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("--layer rnn --arg cell=gru", ["rnn"]),
        (
            "--layer stacked --arg cells=['gru','lstm']",
            ["rnn/cell_0/gru_cell", "rnn/cell_1/lstm_cell"],
        ),
        (
            "--layer bidirectional --arg merge_mode=sum",
            ["bidirectional/forward/lstm", "bidirectional/backward/lstm", "bidirectional/merge"],
        ),
    ],
)
def test_on_the_command_line(capsys, arguments, names):
    tf.keras.backend.clear_session()  # so that Keras counts its names from the start
    sizes = "--units 3 --features 2 --batch 2 --timesteps 4 --mask random --initial-state random"
    command = ["check", *arguments.split(), *sizes.split(), "--format", "json"]
    assert cli.main(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert [check["subject"]["layer_name"] for check in document["checks"]] == names
    assert {check["verdict"] for check in document["checks"]} == {"parity"}
