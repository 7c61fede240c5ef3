"""Cells of a user's own in Keras's RNN: described once, by a formula, and checked like Keras's."""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.api.recorded import record
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter import observe_layer, tensorflow_module

tf = tensorflow_module()


class Weights(tf.keras.layers.Layer):
    """What the cells below have in common: their weights, random and none of them zero."""

    gates, states = 1, 1

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.output_size = units
        self.state_size = [units] * self.states if self.states > 1 else units

    def build(self, shape):
        def added(name, *size):
            normal = tf.keras.initializers.RandomNormal(stddev=0.4, seed=len(name))
            return self.add_weight(name=name, shape=size, initializer=normal)

        width = self.gates * self.units
        self.kernel = added("kernel", shape[-1], width)
        self.recurrent_kernel = added("recurrent_kernel", self.units, width)
        self.bias = added("bias", width)
        self.built = True

    def sums(self, x, h):
        return tf.split(x @ self.kernel + h @ self.recurrent_kernel + self.bias, self.gates, -1)


class MinimalCell(Weights):
    """The minimal gated unit of Zhou et al. 2016 (arXiv:1603.09420)."""

    gates = 2

    def call(self, x, states):
        h, n = states[0], self.units
        z = x @ self.kernel + self.bias
        f = tf.sigmoid(z[:, :n] + h @ self.recurrent_kernel[:, :n])
        new = tf.tanh(z[:, n:] + (f * h) @ self.recurrent_kernel[:, n:])
        h = (1 - f) * h + f * new
        return h, [h]


class AveragingCell(Weights):
    """Three states: an LSTM's two, and a running average of c."""

    gates, states = 3, 3

    def call(self, x, states):
        h, c, mean = states
        i, f, g = self.sums(x, h)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        mean = 0.5 * mean + 0.25 * c
        h = tf.sigmoid(i) * tf.tanh(c + mean)
        return h, [h, c, mean]


class HalvedCell(Weights):
    """An output that is not the state."""

    def call(self, x, states):
        (z,) = self.sums(x, states[0])
        h = tf.tanh(z)
        return 0.5 * h, [h]


class Minimal(rp.Cell):
    GATES = ("f", "h")
    keras_class = MinimalCell

    @staticmethod
    def formula(x, h, U, W, b, a, s):
        x_f, x_h = rp.split(x @ U + b, 2)
        W_f, W_h = rp.split(W, 2)
        f = s(x_f + h @ W_f)
        return (1 - f) * h + f * a(x_h + (f * h) @ W_h)


class Averaging(rp.Cell):
    GATES, STATES = ("i", "f", "g"), ("h", "c", "mean")
    keras_class = AveragingCell

    @staticmethod
    def formula(x, h, c, mean, U, W, b, a, s):
        i, f, g = rp.split(x @ U + h @ W + b, 3)
        c = s(f) * c + s(i) * a(g)
        mean = 0.5 * mean + 0.25 * c
        return s(i) * a(c + mean), c, mean


class Halved(rp.Cell):
    GATES = ("h",)
    keras_class = HalvedCell

    @staticmethod
    def formula(x, h, U, W, b, a):
        h = a(x @ U + h @ W + b)
        return 0.5 * h, h


CELLS = {"minimal": MinimalCell, "averaging": AveragingCell, "halved": HalvedCell}
every_cell = pytest.mark.parametrize("name", CELLS)
X = np.random.default_rng(0).normal(size=(6, 9, 3)).astype(np.float32)
MASK = np.random.default_rng(1).random((6, 9)) < 0.7


def layer_of(name, **options):
    options = {"return_sequences": True, "return_state": True, **options}
    return tf.keras.layers.RNN(CELLS[name](4), **options)


@every_cell
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_a_cell_in_an_rnn(name, mode):
    layer = layer_of(name)
    layer(X)
    report = rp.check(layer, X, MASK, mode=mode)
    assert report, report
    check = report.checks[0]
    assert len(check.final_state) == CELLS[name].states
    assert {"bias-dropped", "recurrent-kernel-transposed"} <= {*check.sensitivity.visible}


@every_cell
def test_options_of_the_layer(name):
    layer = layer_of(name, go_backwards=True, zero_output_for_mask=True, stateful=True)
    start = [np.float32(np.random.default_rng(2).normal(size=(6, 4)))] * CELLS[name].states
    layer(X)
    assert rp.check(layer, X, MASK, start if len(start) > 1 else start[0])


@every_cell
def test_another_cell_than_described_diverges(name):
    layer = layer_of(name)
    layer(X)
    call = layer.cell.call
    layer.cell.call = lambda x, states: call(1.001 * x, states)
    assert rp.check(layer, X, mode="eager").verdict == "diverged"


@every_cell
def test_the_fixture_knows_them(name, rnn_parity):
    layer = layer_of(name)
    layer(X)
    assert rnn_parity.check(layer, X)
    with pytest.raises(InputError, match="one of SimpleRNN, LSTM, GRU, received"):
        rnn_parity.regression(layer, X)


def test_record_refuses_them_by_name(tmp_path):
    layer = layer_of("minimal")
    layer(X)
    calls = observe_layer(layer, X)
    with pytest.raises(InputError, match=r"not recorded: a case holds one of .* received Minimal"):
        record(calls, tmp_path / "case.npz")
    assert not list(tmp_path.iterdir())


def test_a_weight_that_is_not_found_is_no_zeros():
    """A cell that keeps its bias under another name than the description has, and forgets it."""

    class Forgetful(tf.keras.layers.Layer):
        state_size = output_size = 4

        def build(self, shape):
            self.kernel = self.add_weight(name="kernel", shape=(3, 4))
            self.recurrent_kernel = self.add_weight(name="recurrent_kernel", shape=(4, 4))
            self.b = self.add_weight(name="bias", shape=(4,), initializer="ones")

        def call(self, x, states):
            h = tf.tanh(x @ self.kernel + states[0] @ self.recurrent_kernel)
            return 0.5 * h, [h]

    class Biased(Halved):
        keras_class = Forgetful

    layer = tf.keras.layers.RNN(Forgetful(), return_sequences=True)
    layer(X)
    with pytest.raises(InputError, match="Forgetful: expected its weight 'bias' as an attribute"):
        rp.check(layer, X)
    layer.cell.bias = None  # it says that it has none
    assert rp.check(layer, X).verdict == "parity"
    assert Biased.keras_class is Forgetful


def test_states_of_other_sizes_are_named():
    class Counting(Weights):
        """Its second state counts the timesteps."""

        states = 2

        def call(self, x, states):
            (z,) = self.sums(x, states[0])
            return tf.tanh(z), [tf.tanh(z), states[1] + 1]

    class Described(rp.Cell):
        GATES, keras_class = ("h",), Counting

        @staticmethod
        def formula(x, h, U, W, b, a):
            return a(x @ U + h @ W + b)

    check = rp.check(tf.keras.layers.RNN(Counting(4)), X).checks[0]
    assert check.verdict == "inconclusive"
    assert "states of sizes [4, 4], where Described describes h" in check.summary


def test_the_newest_description_counts():
    """As in a notebook, where a class is defined again; and for a cell of Keras's own."""

    class Thirds(Weights):
        def call(self, x, states):
            (z,) = self.sums(x, states[0])
            return tf.tanh(z) / 3, [tf.tanh(z) / 3]

    def described(factor):
        def formula(x, h, U, W, b, a):
            return factor * a(x @ U + h @ W + b)

        return type("Mine", (rp.Cell,), {"GATES": "h", "keras_class": Thirds, "formula": formula})

    layer = tf.keras.layers.RNN(Thirds(4), return_sequences=True)
    layer(X)
    first = described(0.5)
    assert rp.check(layer, X).verdict == "diverged"
    second = described(1 / 3)
    assert rp.check(layer, X).verdict == "parity"
    assert first is not second


def test_a_cell_that_nobody_described_is_named():
    class Unknown(MinimalCell):
        pass

    layer = tf.keras.layers.RNN(Unknown(4), return_sequences=True)
    layer(X)
    check = rp.check(layer, X).checks[0]
    assert check.verdict == "inconclusive"
    assert "the cell Unknown is not replayed; how to describe one" in check.summary
