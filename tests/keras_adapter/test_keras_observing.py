"""The recorder returns what a plain call of the same Keras layer returns, and leaves no trace."""

import itertools

import numpy as np
import pytest

from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError

tf = ka.tensorflow_module()
keras = tf.keras
KERAS_3 = hasattr(keras, "ops")

B, T, F, H = 2, 5, 3, 4
RNG = np.random.default_rng(7)
X = RNG.normal(size=(3, B, T, F)).astype("float32")
MASK = np.array([[True, True, False, True, False], [False, False, True, True, True]])
STATE = RNG.normal(size=(B, H)).astype("float32")


def build(dtype=None, units=H, **arguments):
    return ka.build_layer("simple_rnn", units, F, arguments, dtype, seed=1, batch=B)


def plain_runner(layer, mode):
    """The layer as its user would run it in a mode."""
    if mode == "eager":
        return layer
    if mode != "predict":
        return tf.function(layer, jit_compile=True if mode == "xla" else None)

    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def call(self, x):
            return self.layer(x)

    model = Plain()
    return lambda x: model.predict(x, batch_size=B, verbose=0)


def arrays(result):
    return [np.asarray(value) for value in tf.nest.flatten(result)]


@pytest.mark.parametrize("mode", ka.MODES)
@pytest.mark.parametrize(("sequences", "state"), list(itertools.product([False, True], repeat=2)))
def test_recorded_is_what_a_plain_call_returns(mode, sequences, state):
    layer = build(return_sequences=sequences, return_state=state)
    expected = arrays(plain_runner(layer, mode)(X[0]))
    (seen,) = ka.observe_layer(layer, X[0], mode=mode)
    returned = [seen.outputs if sequences else seen.last_output]
    assert (seen.last_output is None) == sequences
    if state:
        returned += seen.final_state
    else:
        assert seen.final_state == ()
    assert len(returned) == len(expected)
    assert all(map(np.array_equal, returned, expected))
    assert seen.outputs.shape == (B, T, H)
    assert np.array_equal(seen.outputs[:, -1], expected[0][:, -1] if sequences else expected[0])
    assert np.array_equal(seen.inputs, X[0])
    assert seen.mask is seen.initial_state is seen.call is seen.not_compared is None
    assert (seen.layer_class, seen.layer_name, seen.mode) == ("SimpleRNN", layer.name, mode)


@pytest.mark.parametrize("mode", ka.MODES)
def test_whole_sequence_is_that_of_the_same_layer_returning_sequences(mode):
    short = build(go_backwards=True, activation="relu")
    long = build(go_backwards=True, activation="relu", return_sequences=True)
    (seen,) = ka.observe_layer(short, X[0], MASK, STATE, mode)
    (expected,) = ka.observe_layer(long, X[0], MASK, STATE, mode)
    assert np.array_equal(seen.outputs, expected.outputs)
    assert np.array_equal(seen.mask, MASK)
    assert np.array_equal(seen.initial_state, [STATE])


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"unroll": True},
        {"go_backwards": True},
        {"zero_output_for_mask": True},
        {"use_bias": False},
        {"activation": None},
    ],
    ids=str,
)
def test_options_masks_and_initial_states(mode, arguments):
    layer = build(return_sequences=True, return_state=True, **arguments)
    call = layer if mode == "eager" else tf.function(layer)
    outputs, state = arrays(
        call(tf.constant(X[0]), mask=tf.constant(MASK), initial_state=[tf.constant(STATE)])
    )
    (seen,) = ka.observe_layer(layer, X[0], MASK, STATE, mode)
    assert np.array_equal(seen.outputs, outputs)
    assert np.array_equal(seen.final_state, [state])
    assert np.array_equal(seen.inputs, X[0])
    assert (seen.weights.bias is None) == (arguments.get("use_bias") is False)
    assert seen.weights.zero_output_for_mask == arguments.get("zero_output_for_mask", False)
    assert seen.weights.go_backwards == arguments.get("go_backwards", False)


def test_hand_computed_cell():
    layer = ka.build_layer("simple_rnn", 1, 1, {"activation": "linear"}, None, 0, None)
    for name, value in (("kernel", [[0.5]]), ("recurrent_kernel", [[0.25]]), ("bias", [0.125])):
        getattr(layer.cell, name).assign(value)
    (seen,) = ka.observe_layer(layer, np.array([[[1.0], [2.0]]]), mode="eager")
    # 0.5 * 1 + 0.125, then 0.5 * 2 + 0.25 * 0.625 + 0.125
    assert seen.outputs.tolist() == [[[0.625], [1.28125]]]
    assert seen.last_output.tolist() == [[1.28125]]
    assert seen.weights.kernel.tolist() == [[0.5]]
    assert seen.weights.recurrent_kernel.tolist() == [[0.25]]
    assert seen.weights.bias.tolist() == [0.125]
    assert seen.weights.activation.name == "linear"


@pytest.mark.parametrize("mode", ka.MODES)
@pytest.mark.parametrize("sequences", [False, True])
def test_stateful_over_three_calls(mode, sequences):
    layer, twin = (build(stateful=True, return_sequences=sequences) for _ in range(2))
    plain = plain_runner(twin, mode)
    previous = np.zeros((B, H), "float32")
    seen = ka.observe_layer(layer, list(X), mode=mode)
    assert [one.call for one in seen] == [0, 1, 2]
    for one, x in zip(seen, X, strict=True):
        expected = arrays(plain(x))[0]
        assert np.array_equal(one.outputs if sequences else one.last_output, expected)
        assert np.array_equal(one.initial_state, [previous])
        previous = np.asarray(twin.states[0])
        assert np.array_equal(one.final_state, [previous])
    assert np.array_equal(layer.states[0], twin.states[0])
    assert np.any(previous)


def test_stateful_layer_given_a_state():
    layer, twin = (build(stateful=True, return_sequences=True) for _ in range(2))
    for other in (STATE, 2 * STATE):
        expected = arrays(twin(tf.constant(X[0]), initial_state=[tf.constant(other)]))[0]
        (seen,) = ka.observe_layer(layer, X[0], initial_state=other, mode="eager")
        assert np.array_equal(seen.outputs, expected)
        first = X[0, :, 0] @ np.asarray(layer.cell.kernel) + np.asarray(layer.cell.bias)
        first += seen.initial_state[0] @ np.asarray(layer.cell.recurrent_kernel)
        np.testing.assert_allclose(seen.outputs[:, 0], np.tanh(first), rtol=1e-5)


def test_several_calls_as_one_array_with_a_mask_each():
    masks = np.stack([MASK, ~MASK, MASK])
    layer = build(return_sequences=True)
    seen = ka.observe_layer(layer, X, masks, STATE)
    assert [one.call for one in seen] == [0, 1, 2]
    assert all(np.array_equal(one.mask, mask) for one, mask in zip(seen, masks, strict=True))
    assert [one.initial_state is None for one in seen] == [False, True, True]
    with pytest.raises(InputError, match="mask: expected 3, one per call, received 2"):
        ka.observe_layer(layer, X, masks[:2])


@pytest.mark.parametrize("mode", ka.MODES)
@pytest.mark.parametrize("dtype", ka.POLICIES)
def test_dtype_policies(mode, dtype):
    layer = build(dtype, return_sequences=False, return_state=True)
    compute = dtype.removeprefix("mixed_")
    expected = arrays(plain_runner(layer, mode)(X[0]))
    (seen,) = ka.observe_layer(layer, X[0], mode=mode)
    assert np.array_equal(seen.last_output, expected[0])
    assert np.array_equal(seen.final_state, [expected[1]])
    assert seen.inputs.dtype.name == seen.outputs.dtype.name == compute
    assert np.array_equal(seen.inputs, tf.cast(X[0], compute).numpy())
    assert seen.weights.precision.name == compute
    # float32 variables of a mixed policy are what the layer uses only after rounding.
    kernel = tf.cast(tf.convert_to_tensor(layer.cell.kernel), compute)
    assert np.array_equal(seen.weights.kernel, tf.cast(kernel, "float64").numpy())


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("timesteps", [1, T])
def test_a_layer_runs_again_for_its_sequence_where_it_has_more_than_one_step(mode, timesteps):
    layer, ran = build(stateful=True), []
    call = layer.call

    def counted(inputs, *args, **kwargs):
        ran.append(layer.return_sequences)
        return call(inputs, *args, **kwargs)

    layer.call = counted
    x = X[0, :, :timesteps]
    (seen,) = ka.observe_layer(layer, x, mode=mode)
    assert ran == [False] + [True] * (timesteps > 1)
    expected = np.asarray(build(stateful=True, return_sequences=True)(tf.constant(x)))
    assert np.allclose(seen.outputs, expected, atol=1e-6)
    assert np.array_equal(seen.last_output, seen.outputs[:, -1])
    assert np.array_equal(layer.states[0], seen.last_output)


def test_layer_is_as_it_was():
    layer = build(stateful=True)
    ka.observe_layer(layer, X[0], mode="eager")
    weights = [w.copy() for w in layer.get_weights()]
    attributes = set(layer.__dict__)
    state = np.asarray(layer.states[0]).copy()
    with pytest.raises(InputError):
        ka.observe_layer(layer, X[0, :, :, :1])
    ka.observe_layer(layer, X[0], mode="eager")
    assert set(layer.__dict__) == attributes
    assert (layer.return_sequences, layer.return_state) == (False, False)
    # The state moves as two plain calls move it; nothing else does.
    twin = build(stateful=True)
    twin(X[0]), twin(X[0])
    assert np.array_equal(layer.states[0], twin.states[0])
    assert not np.array_equal(layer.states[0], state)
    assert all(map(np.array_equal, weights[:3], layer.get_weights()[:3]))


@pytest.mark.skipif(KERAS_3, reason="time_major is an option of Keras 2")
@pytest.mark.parametrize("mode", ["eager", "predict"])
def test_time_major(mode):
    layer, usual = build(time_major=True, return_sequences=True), build(return_sequences=True)
    (seen,) = ka.observe_layer(layer, X[0], MASK, STATE, mode)
    (expected,) = ka.observe_layer(usual, X[0], MASK, STATE, mode)
    for name in ("inputs", "mask", "initial_state", "outputs"):
        assert np.array_equal(getattr(seen, name), getattr(expected, name)), name


@pytest.mark.parametrize("mode", ka.MODES)
@pytest.mark.parametrize(
    ("arguments", "inputs", "why"),
    [
        ({}, X[0, :, 0], "inputs: expected shape (batch, timesteps, "),
        ({}, X[0, :, :, :2], "inputs: expected shape (batch, timesteps, "),
        ({"stateful": True}, np.concatenate([X[0], X[1]]), "layer 'NAME' in mode MODE: Keras refu"),
    ],
    ids=["rank", "width", "stateful batch"],
)
def test_refused_inputs_in_one_line(mode, arguments, inputs, why):
    layer = build(**arguments)
    with pytest.raises(InputError) as caught:
        ka.observe_layer(layer, inputs, mode=mode)
    assert str(caught.value).startswith(why.replace("NAME", layer.name).replace("MODE", mode))
    assert "\n" not in str(caught.value)
    assert "call" not in layer.__dict__


def test_unsupported_by_xla():
    layer = build(activation=lambda x: tf.strings.to_number(tf.strings.as_string(x)))
    with pytest.raises(InputError) as caught:
        ka.observe_layer(layer, X[0], mode="xla")
    assert "in mode xla: Keras refused: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_mode_and_what_is_no_layer():
    with pytest.raises(InputError, match="mode: expected one of eager, graph, xla, predict"):
        ka.observe_layer(build(), X[0], mode="jit")
    with pytest.raises(InputError, match=r"expected a layer of tf\.keras, .* received builtins"):
        ka.observe_layer("layer", X[0])
