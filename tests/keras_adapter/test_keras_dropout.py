"""The dropout masks of a call in training are those that Keras used, and nothing else changes."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from keras_layers import B, F, H, X, keras, layers, plain
from keras_training import BOTH, GATES, KERAS_3, build, judge

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.dropout import EACH_STEP


def test_other_masks_than_those_it_used_diverge():
    tf.keras.utils.set_random_seed(0)  # by chance masks may be their own mirror images
    layer = build("gru", return_sequences=True, unroll=True, **BOTH)
    (seen,) = ka.observe_layer(layer, X, mode="eager", training=True)
    state = seen.dropout_recurrent
    for other in (state[[1, 0, 2]], (state > 0).astype("float32"), state[:, ::-1], 0.5 * state):
        (check,) = judge([replace(seen, dropout_recurrent=other)])
        assert check.verdict == "diverged"


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_one_mask_for_all_gates(kind, mode):
    """Keras 2's path for cuDNN has one for every timestep, which the inputs are seen after."""
    layer = build(kind, dropout=0.4, return_sequences=True)
    (seen,) = ka.observe_layer(layer, X, mode=mode, training=True)
    assert judge([seen])[0].verdict == "parity"
    if KERAS_3:
        assert seen.dropout_inputs.shape == (GATES[kind], B, F)
        assert (seen.dropout_inputs == seen.dropout_inputs[0]).all()
        assert np.array_equal(seen.inputs, X)
    else:
        assert seen.notes == (EACH_STEP,)
        ratio = np.unique((seen.inputs / X).round(5))
        assert ratio.tolist() == pytest.approx([0, 1 / 0.6], abs=1e-5)


def adds(rates):
    """One unit that adds up: kernel and recurrent kernel 1, no bias, linear."""
    ones = {"kernel_initializer": "ones", "recurrent_initializer": "ones"}
    return layers.SimpleRNN(
        1, activation=None, use_bias=False, return_sequences=True, **ones, **rates
    )


@pytest.mark.parametrize("seed", range(4))
def test_by_hand_what_the_masks_do(seed):
    """At a rate of 1/2 a mask m is 0 or 2, and of inputs 1 the outputs are 1, 1 + m, 1 + m + mm."""
    keras.utils.set_random_seed(seed)
    ones = np.ones((1, 3, 1), "float32")
    (seen,) = ka.observe_layer(adds({"recurrent_dropout": 0.5}), ones, mode="eager", training=True)
    m = float(seen.dropout_recurrent[0, 0, 0])
    assert m in (0.0, 2.0)
    assert seen.outputs.ravel().tolist() == ([1, 1, 1] if m == 0 else [1, 3, 7])
    (seen,) = ka.observe_layer(adds({"dropout": 0.5}), ones, mode="eager", training=True)
    m = float(seen.dropout_inputs[0, 0, 0])
    assert seen.outputs.ravel().tolist() == ([0, 0, 0] if m == 0 else [2, 4, 6])


HALF, ONE = 0.5, 1.0
STEPS = {
    # z = h m W = 1/2, r = 1; the candidate is (r h m) W = 2; z h + (1 - z) 2, h without a mask.
    "gru": ([0.25, HALF, ONE], [2, 2, 2], 1.5),
    # r = 0: the candidate is 0.
    "gru, r dropped": ([0.25, HALF, ONE], [2, 0, 2], 0.5),
    # z = 0: the candidate alone.
    "gru, z dropped": ([0.25, HALF, ONE], [0, 2, 2], 2.0),
    # i = 1/2, f = 0, g = 2, o = 1: c = 0 * 1 + 1/2 * 2 = 1.
    "lstm, f dropped": ([0.25, HALF, ONE, HALF], [2, 0, 2, 2], 1.0),
    # i = 1/2, f = 1, g = 0, o = 1: c = 1 * 1 + 0.
    "lstm, c dropped": ([0.25, HALF, ONE, HALF], [2, 2, 0, 2], 1.0),
    # o = 0.
    "lstm, o dropped": ([0.25, HALF, ONE, HALF], [2, 2, 2, 0], 0.0),
}


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("name", STEPS)
def test_one_step_by_hand(name, reset_after):
    """One linear unit without inputs or biases, from a state of ones, with masks handed to it."""
    kind = name.partition(",")[0]
    weights, masks, expected = STEPS[name]
    own = {"reset_after": reset_after} if kind == "gru" else {}
    layer = ka.build_layer(
        kind,
        1,
        1,
        {"activation": None, "recurrent_activation": None, "use_bias": False}
        | {"recurrent_dropout": 0.5, "return_sequences": True, **own},
        None,
        seed=0,
        batch=1,
    )
    layer.cell.recurrent_kernel.assign([weights])
    masks = np.array(masks, "float32").reshape(-1, 1, 1)
    states = [np.ones((1, 1), "float32")] * (2 if kind == "lstm" else 1)
    (seen,) = ka.observe_layer(
        layer, np.zeros((1, 1, 1)), None, states, "graph", True, {"dropout_recurrent": masks}
    )
    assert seen.outputs.item() == expected
    assert np.array_equal(seen.dropout_recurrent, masks)
    assert judge([seen])[0].verdict == "parity"


def layer_and_cells(layer):
    return [layer, *([layer.cell] if hasattr(layer, "cell") else [])]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sequences", [True, False])
def test_the_layer_is_left_as_after_one_plain_call(sequences, training):
    observed, called = (build("lstm", return_sequences=sequences, **BOTH) for _ in range(2))
    before = [set(vars(one)) for one in layer_and_cells(observed)]
    if KERAS_3:
        state = observed.cell.seed_generator.state
        called.cell.seed_generator.state.assign(state)
    (seen,) = ka.observe_layer(observed, X, mode="eager", training=training)
    plain_result = plain(called, X, training=training)[0]
    methods = ("call", "get_dropout_mask", "get_dropout_mask_for_cell")
    for own, one in zip(before, layer_and_cells(observed), strict=True):
        assert not {n for n in set(vars(one)) - own if n in methods}
    if KERAS_3:
        returned = seen.outputs if sequences else seen.last_output
        assert np.array_equal(returned, plain_result)
        assert np.array_equal(state, called.cell.seed_generator.state)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_call_that_fails_leaves_no_masks_behind(mode):
    layer = build("simple_rnn", **BOTH)
    with pytest.raises(InputError, match="initial_state: expected h for SimpleRNN"):
        ka.observe_layer(layer, X, None, np.ones((B, H + 1)), mode, training=True)
    assert plain(layer, X[:1], training=True)[0].shape == (1, H)


def test_masks_that_were_not_seen_are_named():
    layer = build("simple_rnn", dropout=0.4)
    name = "get_dropout_mask" if KERAS_3 else "get_dropout_mask_for_cell"
    layer.cell.__dict__[name] = lambda *args, **kwargs: None
    (seen,) = ka.observe_layer(layer, X, mode="eager", training=True)
    assert (
        seen.not_compared == "SimpleRNN is called in training, but no mask of its dropout was seen"
    )


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("sequences", [True, False])
def test_masks_handed_to_one_mask_for_all_gates(sequences, mode):
    """Of Keras 2's path for cuDNN they are spread over the timesteps."""
    layer = build("gru", return_sequences=sequences, dropout=0.5)
    mask = np.array([[[0, 2, 2, 0], [2, 2, 0, 2], [2, 0, 0, 2]]] * 3, "float32")
    (seen,) = ka.observe_layer(layer, X, None, None, mode, True, {"dropout_inputs": mask})
    assert judge([seen])[0].verdict == "parity"
    if KERAS_3:
        assert np.array_equal(seen.dropout_inputs, mask)
    else:
        assert np.array_equal(seen.inputs, X * mask[0][:, np.newaxis])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_keras_3_fails_where_every_gate_has_a_mask_for_the_inputs_alone(kind):
    """It takes the list of masks for one: `expand_dims` of several is no mask of the inputs."""
    layer = build(kind, dropout=0.5, implementation=1, unroll=True)
    refused = pytest.raises(InputError, match="Keras refused") if KERAS_3 else nullcontext()
    with refused:
        rp.check(layer, X, mode="eager", training=True)


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 refuses a rate of 1")
@pytest.mark.parametrize("rate", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("kind", GATES)
def test_keras_3_drops_nothing_at_a_rate_of_1_in_layers_with_gates(kind, rate):
    """Their cells multiply with masks where `0 < rate < 1`, a SimpleRNN's where there are any."""
    layer = build(kind, return_sequences=True, **{rate: 1.0})
    (check,) = rp.check(layer, X, mode="eager", training=True).checks
    assert check.verdict == ("parity" if kind == "simple_rnn" else "diverged")
    assert [cause.fault for cause in check.causes] == ["dropout-ignored"] * (kind != "simple_rnn")
