"""The catalogue of activations: its names, spreads and allowances. Values: `test_functions`."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnn_parity as rp
from rnn_parity.errors import InputError, UnsupportedError
from rnn_parity.recurrence.activations import CATALOGUE, REFUSED, Activation, custom, named

ENTRIES = sorted({activation.name for activation in CATALOGUE.values()})
# Keras 2.15 resolves a name in the modules `activations` and `layers.activation`; these work.
# The slopes of hard_sigmoid differ: Keras 2's has a name of its own here.
KERAS_2_NAMES = {
    *("elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "linear", "log_softmax", "mish"),
    *("relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish"),
    *("tanh", "ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU"),
}


def test_no_activation_of_keras_is_left_out():
    activations = pytest.importorskip("keras").activations
    names = {n for n in dir(activations) if n[0] != "_"} - {"get", "serialize", "deserialize"}
    assert names - set(CATALOGUE) == names & {"glu", "threshold"}
    assert names >= {"elu", "exponential", "gelu", "hard_sigmoid", "linear", "relu", "selu", "tanh"}


def test_every_name_that_keras_2_accepts_is_known():
    assert set(CATALOGUE) >= KERAS_2_NAMES
    assert "PReLU" in REFUSED  # the one other name that works


def rows(z):
    return np.array(z, float).reshape(1, -1)


numbers = st.floats(-40, 40) | st.sampled_from([-3, -2.5, -1, -0.5, 0, 0.5, 1, 2.5, 3, 6])
radii = st.floats(0, 10) | st.floats(-12, 1).map(lambda e: 10.0**e)


@pytest.mark.parametrize("name", ENTRIES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_the_spread_encloses_every_value_in_the_interval(name, data):
    activation = CATALOGUE[name]
    z = rows(data.draw(st.lists(numbers, min_size=1, max_size=4)))
    rad = rows([data.draw(radii) for _ in range(z.size)])
    part = rows([data.draw(st.floats(-1, 1)) for _ in range(z.size)])
    y = activation(z)
    spread = activation.spread(z, y, rad)
    moved = np.abs(activation(z + part * rad) - y)
    # The last term is the rounding of the two values compared here.
    assert np.all(moved <= spread * (1 + 1e-12) + 1e-15 * (1 + np.abs(y) + moved))


@pytest.mark.parametrize("name", [n for n in ENTRIES if not CATALOGUE[n].coupling])
def test_the_spread_is_no_wider_than_the_values(name):
    z, rad = np.linspace(-8, 8, 321), np.full(321, 1e-6)
    activation = CATALOGUE[name]
    y = activation(z)
    moved = np.abs(activation(z + np.linspace(-1, 1, 41)[:, None] * rad) - y).max(axis=0)
    assert np.all(activation.spread(z, y, rad) <= 1.001 * moved + 1e-11)


def test_the_spread_across_a_turning_point_and_a_jump():
    silu, shrink = CATALOGUE["silu"], CATALOGUE["hard_shrink"]
    # From silu(-20) = -4e-8 down to the minimum, and up again to silu(-1) = -0.26894.
    z = np.array([-20.0])
    spread = silu.spread(z, silu(z), np.array([19.0]))
    assert spread[0] == pytest.approx(0.2784645, abs=1e-6)
    z = np.array([0.5 - 1e-9])
    assert shrink.spread(z, shrink(z), np.array([1e-8]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("name", ENTRIES)
def test_radii_may_be_float32(name):
    activation = CATALOGUE[name]
    z = np.random.default_rng(0).normal(size=(50, 4)) * 3
    rad = np.geomspace(1e-6, 0.1, 200).reshape(50, 4).astype(np.float32)
    y = activation(z)
    single = activation.spread(z, y, rad)
    assert single.dtype == np.float32
    double = activation.spread(z, y, rad.astype(np.float64))
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=2.0**-20, atol=1e-40)
    size = np.abs(y)
    single = activation.allowance(z, size.astype(np.float32), 2.0**-24)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, activation.allowance(z, size, 2.0**-24), rtol=1e-6)


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_infinite_radius_bounds_everything_and_nothing_warns(name, dtype):
    activation = CATALOGUE[name]
    z = np.array([[-800.0, -1.0, 0.0, 2.0, 800.0]])
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        y = activation(z)
        everything = activation.spread(z, y, np.full(z.shape, np.inf, dtype))
        unknown = activation.spread(z, y, np.full(z.shape, np.nan, dtype))
    for point in (-30.0, 0.0, 30.0):
        assert np.all(everything * (1 + 1e-6) >= np.abs(activation(np.full(z.shape, point)) - y))
    assert np.all(np.isnan(unknown))


@pytest.mark.parametrize("name", CATALOGUE)
def test_writing_into_an_array(name):
    activation, z = CATALOGUE[name], np.array([[-2.0, 0.25, 3.0]])
    expected = activation(z).copy()
    for out in (np.empty_like(z), z):
        assert activation(z, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_names():
    assert named(None) is CATALOGUE["linear"]
    assert named("swish") is named("silu")
    assert named("hard_swish").name == "hard_silu"
    assert named(CATALOGUE["tanh"]) is CATALOGUE["tanh"]
    assert named(np.cos).name == "cos"
    with pytest.raises(
        InputError, match=r"received 'tan'; did you mean tanh[?] expected one of .*tanh"
    ):
        named("tan")
    with pytest.raises(InputError, match="received 3"):
        named(3)


@pytest.mark.parametrize("name", REFUSED)
def test_names_of_keras_that_no_layer_can_use(name):
    with pytest.raises(UnsupportedError, match=f"'{name}' cannot be a recurrent layer's, because"):
        named(name)


def test_a_users_own_activation_is_an_estimate():
    activation = custom(lambda z: 2.0 * z.astype(np.float32), name="double")
    assert isinstance(activation, Activation)
    assert not activation.proven
    assert activation.name == "double"
    z = np.array([[1.0, -3.0]])
    y = activation(z)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, [[2.0, -6.0]])
    np.testing.assert_allclose(activation.spread(z, y, np.full((1, 2), 0.5)), 1.0)
    named_ones = CATALOGUE.values()
    assert activation.absolute > max(a.absolute for a in named_ones)
    assert activation.relative > max(a.relative for a in named_ones)


def test_an_activation_described_elsewhere_has_a_proven_bound():
    """arctan, whose slope is 1 / (1 + z^2) and whose second derivative is below 2/3."""
    arctan = Activation("arctan", np.arctan, 4, 0, None, lambda z, y: 1 / (1 + z * z), 0.65)
    rng = np.random.default_rng(0)
    kernel, recurrent, x = (
        rng.normal(size=size).astype(np.float32) for size in ((3, 4), (4, 4), (5, 6, 3))
    )
    layer = rp.SimpleRNN(kernel, recurrent, None, arctan)
    h, outputs = np.zeros((5, 4), np.float32), []
    for t in range(6):
        h = np.arctan(x[:, t] @ kernel + h @ recurrent)
        outputs.append(h)
    outputs = np.stack(outputs, axis=1)
    report = rp.compare(layer, x, outputs)
    assert report.verdict == "parity", report
    assert report.checks[0].notes == ()
    outputs[1, 2, 3] *= np.float32(1 + 2.0**-18)
    assert rp.compare(layer, x, outputs).checks[0].first_divergence.timestep == 2


def test_a_users_own_activation_must_keep_the_shape():
    with pytest.raises(InputError, match=r"activation mean: expected a result of shape \(1, 3\)"):
        custom(np.mean)(np.ones((1, 3)))
    with pytest.raises(InputError, match="expected real numbers, received dtype complex128"):
        custom(lambda z: z * 1j)(np.ones((1, 3)))


@pytest.mark.parametrize("name", [n for n in ENTRIES if n != "ThresholdedReLU"])
def test_tensorflow_stays_within_the_allowance(name):
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")
    keras_2 = {
        "hard_sigmoid_keras2": lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0),
        "LeakyReLU": lambda x: tf.nn.leaky_relu(x, alpha=0.3),
    }
    function = keras_2.get(name) or getattr(keras.activations, name, None)
    if function is None or (name == "hard_sigmoid" and keras.__version__ < "3"):
        pytest.skip(f"Keras {keras.__version__} has no such {name}")
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(size=2000), random.uniform(-90, 85, 1000)])
    x = np.append(x, random.choice([-1, 1], 1000) * 2 ** random.uniform(-100, 60, 1000))
    x = x[x < 85].reshape(-1, 1) if name == "exponential" else x.reshape(-1, 8)
    if name == "sparsemax":  # one entry far ahead: Keras 3.15 is wrong elsewhere
        x = np.concatenate([x % 1 - 3, x[:, :1] % 1], axis=1)
    x = x.astype(np.float32)
    z, activation = x.astype(np.float64), CATALOGUE[name]
    y = activation(z)
    error = np.abs(function(tf.constant(x)).numpy() - y)
    allowed = activation.allowance(z, np.abs(y), 2.0**-24) + 2.0**-126
    assert np.all(error <= allowed)
