"""The public functions on real Keras layers and models."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import rnn_parity as rp
from rnn_parity.errors import InputError
from rnn_parity.pytest_plugin.fixture import RnnParity

layers = tf.keras.layers


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def filled(layer, rng):
    """Every weight of a built layer or model, zero biases too, replaced by a random one."""
    layer.set_weights(
        [(0.4 * rng.normal(size=w.shape)).astype(w.dtype) for w in layer.get_weights()]
    )
    return layer


def rnn(rng, shape=(2, 5, 3), units=4, **options):
    layer = layers.SimpleRNN(units, return_sequences=True, **options)
    layer.build(shape)
    return filled(layer, rng)


def inputs_for(rng, shape=(2, 5, 3)):
    return rng.normal(size=shape).astype("float32")


def weights_of(layer, **options):
    kernel, recurrent_kernel, bias = layer.get_weights()
    return rp.SimpleRNN(kernel, recurrent_kernel, bias, **options)


def test_a_layer_is_in_parity_and_its_report_says_so(rng):
    report = rp.check(rnn(rng), inputs_for(rng))
    assert (bool(report), report.verdict, report.exit_code) == (True, "parity", 0)
    (check,) = report.checks
    assert (check.subject.kind, check.subject.mode) == ("layer", "graph")
    assert (check.shape.batch, check.shape.timesteps, check.shape.units) == (2, 5, 4)
    assert [row.timestep for row in check.timesteps] == [0, 1, 2, 3, 4]
    assert check.timesteps[3].max_deviation < 1e-6
    assert "PARITY" in str(report)


def test_all_modes_give_one_check_each(rng):
    report = rp.check(rnn(rng), inputs_for(rng), mode="all")
    modes = [check.subject.mode for check in report.checks]
    assert (report.verdict, modes) == ("parity", ["eager", "graph", "xla", "predict"])


@pytest.mark.parametrize("as_type", [np.asarray, np.ndarray.tolist])
def test_masks_and_initial_states_reach_the_layer(rng, as_type):
    layer, x = rnn(rng), inputs_for(rng)
    mask = np.array([[True, True, False, False, True], [False, False, False, False, False]])
    state = inputs_for(rng, (2, 4))
    report = rp.check(layer, x, as_type(mask), as_type(state))
    assert report.verdict == "parity"
    seen = report.checks[0].sensitivity.visible
    assert {"mask-ignored", "initial-state-ignored"} <= set(seen)


def test_a_mask_and_a_state_change_what_is_replayed(rng):
    layer, x = rnn(rng), inputs_for(rng)
    mask = np.array([[True, True, False, True, True], [True, False, True, True, True]])
    observed = layer(x).numpy()
    assert rp.check(layer, x, against=observed).verdict == "parity"
    masked = rp.check(layer, x, mask, against=observed)
    assert (masked.verdict, masked.checks[0].first_divergence.timestep) == ("diverged", 1)
    started = rp.check(layer, x, None, np.ones((2, 4), "float32"), against=observed)
    assert started.checks[0].first_divergence.timestep == 0


def test_numbers_of_another_implementation_are_refuted_with_their_cause(rng):
    layer, x = rnn(rng, (4, 20, 3), units=12), inputs_for(rng, (4, 20, 3))
    weights = dict(zip(("kernel", "recurrent", "bias"), layer.get_weights(), strict=True))
    state, outputs = np.zeros((4, 12), "float32"), []
    for t in range(20):
        state = np.tanh(x[:, t] @ weights["kernel"] + state @ weights["recurrent"])
        outputs.append(state)
    report = rp.check(layer, x, against=np.stack(outputs, axis=1))
    assert (report.verdict, report.exit_code) == ("diverged", 1)
    assert [cause.fault for cause in report.checks[0].causes] == ["bias-dropped"]


def test_replay_takes_a_layer_or_its_weights(rng):
    layer, x = rnn(rng), inputs_for(rng)
    ours, theirs = rp.replay(layer, x), rp.replay(weights_of(layer), x)
    np.testing.assert_array_equal(ours.outputs, theirs.outputs)
    np.testing.assert_allclose(ours.outputs, layer(x).numpy(), atol=1e-6)
    np.testing.assert_array_equal(ours.final_state, ours.outputs[:, -1])


def test_compare_catches_a_stale_state(rng):
    layer, x = rnn(rng), inputs_for(rng)
    outputs = layer(x).numpy()
    assert rp.compare(weights_of(layer), x, outputs, outputs[:, -1]).verdict == "parity"
    report = rp.compare(weights_of(layer), x, outputs, outputs[:, -2])
    assert (report.verdict, report.checks[0].causes[0].fault) == ("diverged", "final-state-stale")


def test_the_layers_of_a_model_are_checked_on_what_reaches_them(rng):
    words = layers.Input((6,), dtype="int32")
    embedded = layers.Embedding(9, 3, mask_zero=True)(words)
    sequence = layers.SimpleRNN(4, return_sequences=True, name="first")(embedded)
    model = tf.keras.Model(words, layers.SimpleRNN(2, name="second")(sequence))
    filled(model, rng)
    report = rp.check(model, np.array([[1, 2, 3, 0, 0, 0], [4, 0, 5, 6, 7, 8]], "int32"))
    assert report.verdict == "parity"
    assert [check.subject.layer_name for check in report.checks] == ["first", "second"]
    assert "mask-ignored" in report.checks[0].sensitivity.visible


def test_a_model_without_recurrent_layers_proves_nothing(rng):
    inputs = layers.Input((3,))
    model = tf.keras.Model(inputs, layers.Dense(2)(inputs))
    report = rp.check(model, inputs_for(rng, (2, 3)))
    assert (report.checks, report.exit_code) == ((), 3)
    assert "nothing was compared" in report.summary


def test_a_layer_that_is_not_replayed_is_named(rng):
    inputs = layers.Input((5, 3))
    images = layers.Reshape((5, 3, 1))(inputs)
    model = tf.keras.Model(inputs, layers.ConvLSTM1D(2, 2, name="memory")(images))
    report = rp.check(filled(model, rng), inputs_for(rng))
    assert (report.exit_code, bool(report)) == (3, False)
    assert "memory (ConvLSTM1D" in str(report)
    assert "not compared" in report.summary


def test_notes_are_passed_on_and_shown(rng):
    layer = rnn(rng, activation=lambda z: z / (1 + z * z))
    report = rp.check(layer, inputs_for(rng))
    assert report.verdict == "parity"
    (note,) = report.checks[0].notes
    assert "estimated, not proven" in note
    for form in ("table", "markdown", "json"):
        assert "estimated" in report.render(form)


def test_a_stateful_layer_carries_its_state_from_check_to_check(rng):
    # Keras 2 must be told the batch size when the layer is made.
    sized = {} if hasattr(tf.keras, "ops") else {"batch_input_shape": (2, 5, 3)}
    layer, x = rnn(rng, stateful=True, **sized), inputs_for(rng)
    first = rp.check(layer, x)
    again = rp.check(layer, x)
    assert (first.verdict, again.verdict) == ("parity", "parity")
    assert "state-not-carried" in again.checks[0].sensitivity.visible
    blind = [spot.fault for spot in first.checks[0].sensitivity.blind]
    assert "state-not-carried" in blind


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "jit"}, "mode: expected one of eager, graph, xla, predict, all, received 'jit'"),
        ({"mask": np.ones((2, 4), bool)}, ""),
        ({"initial_state": np.ones((2, 3), "float32")}, ""),
    ],
)
def test_bad_input_is_one_line(rng, arguments, words):
    with pytest.raises(InputError) as error:
        rp.check(rnn(rng), inputs_for(rng), **arguments)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_name_of_a_layer_is_its_own_or_none(rng):
    layer, x = rnn(rng, name="mine"), inputs_for(rng)
    assert rp.check(layer, x, layer_name="mine").verdict == "parity"
    with pytest.raises(InputError) as caught:
        rp.check(layer, x, layer_name="nonsense")
    assert str(caught.value) == (
        "layer_name: expected a model, or 'mine', the name of the layer itself, received "
        "'nonsense'; leave it out"
    )


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"layer_name": "a"}, "layer_name: expected none for weights, received 'a'"),
        ({"mode": "xla"}, "mode: expected none for weights, which Keras does not run, not 'xla'"),
        ({"mode": "fast"}, "mode: expected none for weights, which Keras does not run, not 'fast'"),
    ],
)
def test_what_means_nothing_to_weights_is_refused(rng, option, words):
    weights, x = weights_of(rnn(rng)), inputs_for(rng)
    with pytest.raises(InputError) as caught:
        rp.check(weights, x, against=np.zeros((2, 5, 4)), **option)
    assert str(caught.value) == words


def test_the_mode_of_a_test_session_is_nothing_to_weights(rng, tmp_path):
    layer, x = rnn(rng), inputs_for(rng)
    fixture = RnnParity([], lambda name: tmp_path, root=tmp_path, mode="xla")
    assert fixture.check(weights_of(layer), x, against=layer(x).numpy()).verdict == "parity"


def test_a_model_takes_no_initial_state(rng):
    inputs = layers.Input((5, 3))
    model = tf.keras.Model(inputs, layers.SimpleRNN(2)(inputs))
    with pytest.raises(InputError, match="expected none for a model"):
        rp.check(model, inputs_for(rng), initial_state=np.ones((2, 2)))


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (2, 5, 0)])
def test_inputs_without_numbers_are_refused_before_tensorflow_sees_them(rng, shape):
    """TensorFlow ends the process over inputs of no features."""
    message = "^inputs: expected at least 1 along every axis, received shape "
    model = tf.keras.Sequential([tf.keras.Input((5, 3)), layers.SimpleRNN(4)])
    for target in (layers.SimpleRNN(4), model):
        with pytest.raises(InputError, match=message):
            rp.check(target, np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ([[[1.0]], [[1.0], [2.0]]], "an array, received rows of unequal length"),
        (None, r"an array, \(batch, timesteps, features\) for a layer, received none"),
        ("abc", "real numbers, received dtype <U3"),
        (tf.keras.Input((5, 3)), "(an array|real numbers), received"),
    ],
)
def test_what_holds_no_real_numbers_is_refused_in_words(inputs, what):
    with pytest.raises(InputError, match=f"^inputs: expected {what}"):
        rp.check(layers.SimpleRNN(4), inputs)


@pytest.mark.parametrize(
    ("weights", "received"),
    [
        (np.ones((2, 3)), "a ndarray"),
        (rp.SimpleRNN, "the class SimpleRNN"),
        (layers.LSTM, "the class LSTM"),
    ],
)
def test_what_cannot_stand_for_weights_is_refused_in_words(weights, received):
    with pytest.raises(InputError, match=f"^weights: expected a SimpleRNN, .*received {received}$"):
        rp.compare(weights, np.ones((2, 3, 4)), np.ones((2, 3, 5)))


def test_a_path_is_no_weights():
    with pytest.raises(InputError, match=r"^weights: expected .* received the path '"):
        rp.compare("model.keras", np.ones((2, 3, 4)), np.ones((2, 3, 5)))


def test_strict_and_what_does_not_matter_change_whether_a_report_is_true(rng):
    layer, x = rnn(rng), inputs_for(rng)
    blind = [one.fault for one in rp.check(layer, x).checks[0].sensitivity.blind]
    assert "mask-ignored" in blind
    strict = rp.check(layer, x, strict=True)
    assert (strict.verdict, bool(strict)) == ("parity", False)
    assert "(with strict=True)" in str(strict)
    assert not rp.check(layer, x, strict=True, ignore="mask*")
    assert rp.check(layer, x, strict=True, ignore=blind)
    with pytest.raises(InputError, match=r"ignore 'maks': no such fault; did you mean mask[*][?]"):
        rp.check(layer, x, ignore=["maks"])


@pytest.mark.parametrize("path", ["three.keras", Path("three.keras")])
def test_a_path_is_no_layer(path):
    """Whoever gives one is told how to load it, before anything else is missed."""
    for call in (
        lambda: rp.check(path),
        lambda: rp.check(path, np.ones((1, 2, 3))),
        lambda: rp.replay(path, np.ones((1, 2, 3))),
    ):
        with pytest.raises(InputError, match=r"keras.models.load_model\('three.keras'\), or on"):
            call()


def test_inputs_have_to_be_given():
    with pytest.raises(InputError, match=r"inputs: expected an array, .*, received none"):
        rp.check(rp.SimpleRNN([[1.0]], [[1.0]]), against=[[[1.0]]])
