"""Stacks of cells, taken apart: numbers worked out by hand, and which cell is to blame."""

from itertools import pairwise

import numpy as np
import pytest
from keras_layers import (
    ADDS,
    COUNT,
    COUNT_MASK,
    MASK,
    F,
    H,
    T,
    X,
    layers,
    plain,
    randomised,
    states,
    tf,
    verdicts,
)

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError


def adding_stack(**options):
    cells = [layers.SimpleRNNCell(1, **ADDS, name=name) for name in ("first", "second")]
    return layers.RNN(cells, name="rnn", **{"return_sequences": True, **options})


@pytest.mark.parametrize("mode", ka.MODES)
def test_stack_by_hand(mode):
    layer = adding_stack(return_state=True)
    first, second = ka.observe_layer(layer, COUNT, COUNT_MASK, mode=mode)
    assert [first.layer_name, second.layer_name] == ["rnn/cell_0/first", "rnn/cell_1/second"]
    assert first.layer_class == second.layer_class == "SimpleRNNCell"
    # 1, masked, 1 + 4; the second cell adds those up: 1, masked, 1 + 5.
    assert first.outputs.ravel().tolist() == [1, 1, 5]
    assert second.inputs.ravel().tolist() == [1, 1, 5]
    assert second.outputs.ravel().tolist() == [1, 1, 6]
    assert [first.final_state, second.final_state] == [([[5]],), ([[6]],)]
    assert np.array_equal(second.mask, COUNT_MASK)
    assert verdicts(rp.check(layer, COUNT, COUNT_MASK, mode=mode)) == {
        "rnn/cell_0/first": "parity",
        "rnn/cell_1/second": "parity",
    }


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_stack_backwards_from_given_states_by_hand(unroll, sequences):
    layer = adding_stack(go_backwards=True, unroll=unroll, return_sequences=sequences)
    given = [[[10.0]], [[100.0]]]
    first, second = ka.observe_layer(layer, COUNT, None, [np.array(one) for one in given])
    # 10 + 4, + 2, + 1; then 100 + 14, + 16, + 17: in processing order.
    assert first.outputs.ravel().tolist() == [14, 16, 17]
    assert second.outputs.ravel().tolist() == [114, 130, 147]
    assert second.inputs.ravel().tolist() == [17, 16, 14]
    assert [first.initial_state, second.initial_state] == [([[10]],), ([[100]],)]
    assert second.weights.go_backwards
    last = None if sequences else [[147]]
    assert second.last_output is None or second.last_output.tolist() == last
    assert rp.check(layer, COUNT, None, [np.array(one) for one in given])


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("nested", [True, False])
def test_stack_of_all_cells(mode, nested):
    cells = [layers.LSTMCell(H), layers.GRUCell(3), layers.SimpleRNNCell(2)]
    layer = randomised(layers.RNN(cells, return_state=True, zero_output_for_mask=True, name="rnn"))
    h, c, second, third = states(H, H, 3, 2)
    given = [[h, c], second, third] if nested else [h, c, second, third]
    seen = ka.observe_layer(layer, X, MASK, given, mode)
    assert [one.layer_class for one in seen] == ["LSTMCell", "GRUCell", "SimpleRNNCell"]
    assert [len(one.initial_state) for one in seen] == [2, 1, 1]
    assert np.array_equal(seen[0].initial_state, [h, c])
    assert np.array_equal(*seen[2].initial_state, third)
    assert all(np.array_equal(b.inputs, a.outputs) for a, b in pairwise(seen))
    start = tf.nest.map_structure(tf.constant, [[h, c], second, third])
    output, *after = plain(layer, X, mask=tf.constant(MASK), initial_state=start)
    np.testing.assert_allclose(seen[2].last_output, output, atol=1e-6)
    recorded = [state for one in seen for state in one.final_state]
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(recorded, after, strict=True))
    assert seen[1].config["cell"]["config"]["units"] == 3
    assert set(verdicts(rp.check(layer, X, MASK, given, mode=mode)).values()) == {"parity"}
    assert not {"call"} & {*vars(layer), *vars(layer.cell), *vars(cells[0])}


@pytest.mark.parametrize("mode", ["eager", "xla"])
def test_what_follows_a_stack_gets_the_last_cell_alone(mode):
    source = tf.keras.Input((T, F))
    stack = layers.RNN([layers.GRUCell(H), layers.LSTMCell(2)], return_sequences=True)
    model = tf.keras.Model(source, layers.SimpleRNN(3)(stack(source)))
    _, second, last = ka.observe_model(model, X, mode)
    assert np.array_equal(last.inputs, second.outputs)
    np.testing.assert_allclose(last.last_output, plain(model, X)[0], atol=1e-6)


def test_stack_of_one_cell_and_of_one_cell_twice():
    cell = layers.LSTMCell(F)
    for cells in ([cell], [cell, cell]):
        layer = randomised(layers.RNN(cells, return_sequences=True))
        seen = ka.observe_layer(layer, X)
        assert len(seen) == len(cells)
        assert np.array_equal(seen[-1].outputs, plain(tf.function(layer), X)[0])
        assert rp.check(layer, X)


def test_stateful_stack():
    layer = randomised(layers.RNN([layers.LSTMCell(H), layers.GRUCell(2)], stateful=True))
    a, b, c, d = ka.observe_layer(layer, [X, X])
    assert [one.call for one in (a, b, c, d)] == [0, 0, 1, 1]
    assert np.array_equal(c.initial_state, a.final_state)
    assert np.array_equal(d.initial_state, b.final_state)
    assert np.array_equal(d.final_state[0], np.asarray(tf.nest.flatten(layer.states)[2]))


def test_wrong_cell_is_named(monkeypatch):
    layer = randomised(layers.RNN([layers.LSTMCell(H), layers.GRUCell(2)], name="rnn"))
    own = layers.GRUCell.call

    def call(self, inputs, states, training=None):
        output, after = own(self, inputs, states)
        return output * 0.99, after

    monkeypatch.setattr(layers.GRUCell, "call", call)
    assert list(verdicts(rp.check(layer, X)).values()) == ["parity", "diverged"]


def test_a_stack_of_another_dtype_is_found_and_explained():
    """`RNN([...], dtype="float64")` makes a stack of float32, which rounds what passes through.

    0.1 in float32 is 0.10000000149011612.
    """
    cell = layers.SimpleRNNCell(1, **ADDS, dtype="float64")
    layer = layers.RNN([cell], dtype="float64", return_sequences=True)
    x = np.full((1, 1, 1), 0.1)
    assert np.asarray(layer(x)).item() == 0.10000000149011612
    (check,) = rp.check(layer, x, mode="eager").checks
    assert check.verdict == "diverged"
    assert "StackedRNNCells(cells, dtype='float64')" in check.notes[0]
    stack = layers.StackedRNNCells(
        [layers.SimpleRNNCell(1, **ADDS, dtype="float64")], dtype="float64"
    )
    assert rp.check(layers.RNN(stack, dtype="float64", return_sequences=True), x)


def test_states_that_do_not_fit_are_refused():
    layer = randomised(layers.RNN([layers.LSTMCell(H), layers.GRUCell(2)]))
    with pytest.raises(InputError, match=r"each of shape \(3, 5\) or \(3, 2\)") as caught:
        ka.observe_layer(layer, X, None, states(H, H))
    assert "\n" not in str(caught.value)
