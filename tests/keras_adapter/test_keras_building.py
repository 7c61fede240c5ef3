"""Layers from options, their weights and activations as data, and TensorFlow kept quiet."""

import subprocess
import sys

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity import keras_adapter as ka
from rnn_parity.errors import InputError, UnsupportedError

tf = ka.tensorflow_module()
keras = tf.keras
KERAS_3 = hasattr(keras, "ops")

B, T, F, H = 2, 5, 3, 4
X = np.random.default_rng(7).normal(size=(1, B, T, F)).astype("float32")


def build(dtype=None, units=H, kind="simple_rnn", **arguments):
    return ka.build_layer(kind, units, F, arguments, dtype, seed=1, batch=B)


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_only_what_keras_own_classes_compute_is_replayed(name):
    own, cell = (getattr(keras.layers, found) for found in (name, f"{name}Cell"))
    called = {"call": lambda self, *args, **kwargs: own.call(self, *args, **kwargs)}
    doubled = {"__call__": lambda self, *args, **kwargs: 2 * own.__call__(self, *args, **kwargs)}
    described = (
        "RNN with the cell Cell is not replayed; how to describe one: rnn-parity explain cells"
    )
    for layer, reason in (
        (keras.layers.RNN(type("Cell", (cell,), {})(H)), described),
        (type("Mine", (own,), called)(H), f"Mine overrides {name}'s call and is not replayed"),
        (type("Two", (own,), doubled)(H), f"Two overrides {name}'s __call__ and is not replayed"),
    ):
        with pytest.raises(UnsupportedError, match=reason):
            ka.layer_weights(layer)
        report = rp.check(layer, X[0])
        assert (report.verdict, report.exit_code) == ("inconclusive", 3)
        assert report.checks[0].summary == f"not compared: {reason}"
    with pytest.raises(UnsupportedError, match="ConvLSTM1D is not replayed"):
        ka.layer_weights(keras.layers.ConvLSTM1D(2, 2))


@pytest.mark.parametrize("options", [{}, {"reset_after": False}], ids=str)
@pytest.mark.parametrize("kind", ["simple_rnn", "lstm", "gru"])
def test_weights_are_random_distinct_and_reproducible(kind, options):
    options = options if kind == "gru" else {}
    one, two = (build(kind=kind, **options).get_weights()[:3] for _ in range(2))
    values = np.concatenate([np.ravel(w) for w in one])
    assert all(map(np.array_equal, one, two))
    assert len(set(values.tolist())) == values.size
    assert np.all(values != 0)
    assert np.all(np.abs(one[2]) >= 0.1)
    found = ka.layer_weights(build(units=40, kind=kind, **options))
    for gate in np.split(found.recurrent_kernel, len(found.GATES), axis=1):
        np.testing.assert_allclose(np.linalg.svd(gate, compute_uv=False), 0.9, rtol=1e-5)


def test_layer_without_weights_is_refused():
    with pytest.raises(InputError, match="layer 'new': it has no weights yet; call it once, or"):
        ka.layer_weights(keras.layers.SimpleRNN(H, name="new"))


def test_named_initializers_are_honoured():
    weights = ka.layer_weights(build(bias_initializer="zeros", recurrent_initializer="identity"))
    assert not np.any(weights.bias)
    assert np.array_equal(weights.recurrent_kernel, np.eye(H))
    assert len(np.unique(weights.kernel)) == F * H


def test_exponential_stays_finite():
    layer = build(activation="exponential", units=16)
    (seen,) = ka.observe_layer(layer, np.random.default_rng(1).normal(size=(B, 300, F)))
    assert np.all(np.isfinite(seen.outputs))


@pytest.mark.skipif(KERAS_3, reason="names of layers are activations in Keras 2")
def test_keras_2_takes_layer_names_for_activations():
    assert ka.layer_weights(build(activation="LeakyReLU")).activation.proven
    steeper = keras.layers.LeakyReLU(alpha=0.5)
    assert not ka.layer_weights(build(activation=steeper)).activation.proven


@pytest.mark.parametrize(
    ("name", "at_one"),
    [
        ("tanh", 0.7615941559557649),
        ("relu", 1.0),
        ("softsign", 0.5),
        ("leaky_relu", 1.0),
        ("relu6", 1.0),
        ("silu", 0.7310585786300049),
        ("hard_sigmoid", 2 / 3 if KERAS_3 else 0.7),
    ],
)
def test_keras_names_become_named_activations(name, at_one):
    activation = ka.layer_weights(build(activation=name)).activation
    assert activation.proven
    assert activation(np.array([[1.0]])).item() == pytest.approx(at_one, rel=1e-12)
    assert activation.name == (name if KERAS_3 or name != "hard_sigmoid" else f"{name}_keras2")


def test_own_callables_are_evaluated_in_float64():
    def squash(x):
        return x / (1.0 + x * x)

    third = np.array([[1 / 3]])
    activation = ka.layer_weights(build(activation=squash)).activation
    assert not activation.proven
    assert activation.name == "squash"
    assert activation(third).item() == pytest.approx(0.3, rel=1e-15)
    slope = {"negative_slope": 0.125} if KERAS_3 else {"alpha": 0.125}
    leaky = ka.layer_weights(build(activation=keras.layers.LeakyReLU(**slope))).activation
    assert not leaky.proven
    # A layer called as such would round 1/3 to float32 first.
    assert leaky(-third).item() == pytest.approx(-1 / 24, rel=1e-15)


def test_activation_that_needs_float32_is_not_compared():
    (seen,) = ka.observe_layer(build(activation=lambda x: x * tf.constant(2.0)), X[0])
    assert seen.weights is None
    assert seen.not_compared.startswith("the activation <lambda> cannot be evaluated in float64: ")


BAD_ARGUMENTS = [
    ({"foo": 1}, "argument foo=1: SimpleRNN refused it: "),
    ({"go_backwards": True, "activation": "nope"}, "argument activation='nope': SimpleRNN refused"),
    ({"kernel_initializer": "nope"}, "argument kernel_initializer='nope': SimpleRNN refused"),
    ({"units": 3}, "argument units: given twice; use --units alone"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS, ids=str)
def test_bad_arguments_in_one_line(arguments, message):
    with pytest.raises(InputError) as caught:
        build(**arguments) if "units" not in arguments else ka.build_layer(
            "simple_rnn", H, F, arguments, None, 0, B
        )
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "int8"}, "dtype: expected one of float16, bfloat16, float32, float64, mixed_"),
        ({"layer_class": "elman"}, "layer: expected one of simple_rnn, lstm, gru, rnn, stacked, "),
        ({"arguments": {"dtype": "float64"}, "dtype": "float32"}, "argument dtype: given twice"),
        ({"units": -1}, "argument units=-1: SimpleRNN refused it: "),
    ],
    ids=str,
)
def test_bad_options_in_one_line(change, message):
    options = {
        "layer_class": "simple_rnn", "units": H, "features": F, "arguments": {},
        "dtype": None, "seed": 0, "batch": B,
    }  # fmt: skip
    with pytest.raises(InputError) as caught:
        ka.build_layer(**{**options, **change})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [MemoryError("1e14 bytes"), tf.errors.ResourceExhaustedError(None, None, "OOM")]
)
def test_lack_of_memory_is_one_line(monkeypatch, error):
    def fail(self, shape):
        raise error

    monkeypatch.setattr(keras.layers.SimpleRNN, "build", fail)
    with pytest.raises(InputError, match=r"4 units and 3 features: not enough memory \(.*smaller"):
        build()


def test_device_has_a_name():
    assert ka.device() == "cpu" or tf.config.list_physical_devices("GPU")


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_nothing_of_tensorflow_reaches_the_user():
    code = """
import sys
from rnn_parity import keras_adapter as ka
assert not {"tensorflow", "keras", "tf_keras"} & set(sys.modules)
layer = ka.build_layer("simple_rnn", 2, 2, {}, None, 0, None)
for mode in ka.MODES:
    ka.observe_layer(layer, [[[[1.0, 2.0]]]], mode=mode)
ka.device()
print("done", file=sys.stderr)
"""
    result = run_python(code)
    assert (result.stdout, result.stderr) == ("", "done\n")


def test_missing_tensorflow_is_one_line():
    code = """
import sys
sys.modules["tensorflow"] = None
from rnn_parity import errors, keras_adapter
try:
    keras_adapter.device()
except errors.MissingPackageError as error:
    print(error)
"""
    message = run_python(code).stdout
    assert message.startswith("this needs TensorFlow, which could not be imported (")
    assert message.endswith("install it with: pip install 'tensorflow>=2.15'\n")
    assert message.count("\n") == 1


def test_integer_inputs_and_config_are_plain():
    (seen,) = ka.observe_layer(build(), np.ones((B, T, F), int))
    assert seen.inputs.dtype == np.float32
    assert seen.config["units"] == H
    assert seen.config["activation"] == "tanh"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("reset_after", "Flase", "received 'Flase'; did you mean False? expected True or False"),
        ("use_bias", "no", "expected True or False, received 'no'"),
        ("go_backwards", 0, "expected True or False, received '0'"),
        ("return_state", "False", "expected True or False without quotes, received 'False'"),
        ("zero_output_for_mask", "Ture", "received 'Ture'; did you mean True?"),
    ],
)
@pytest.mark.parametrize("kind", ["gru", "rnn"])
def test_what_is_no_bool_is_refused_where_one_is_expected(kind, name, value, said):
    inside = {"cell": "gru"} if kind == "rnn" else {}
    with pytest.raises(InputError) as error:
        build(kind=kind, **inside, **{name: value})
    assert str(error.value).startswith(f"argument {name}: {said}")
    build(kind=kind, **inside, **{name: True})


def test_many_checks_in_one_process_get_no_advice_on_retracing():
    code = """
import numpy as np, tensorflow as tf
import rnn_parity as rp
for mode in ("graph", "predict"):
    for i in range(7):
        rp.check(tf.keras.layers.GRU(2), np.ones((1, 2, 1), "float32"), mode=mode)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "retracing" not in done.stdout + done.stderr
