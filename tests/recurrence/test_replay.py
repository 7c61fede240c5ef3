"""The free-running replay, against numbers worked out by hand."""

import numpy as np
import pytest
from helpers import in_blocks_of, random_layer
from hypothesis import given, settings
from hypothesis import strategies as st

import rnn_parity as rp
from rnn_parity.recurrence.time_loop import Block

pytestmark = pytest.mark.filterwarnings("error")
# One unit, two features. x U + b is 0.125, 0.625 and -0.9375, all exact in binary.
ONE = {"kernel": [[0.5], [-0.25]], "recurrent_kernel": [[0.75]], "bias": [0.125]}
X = [[[1.0, 2.0], [0.5, -1.0], [-2.0, 0.25]]]
# Two units, one feature; the transposed recurrent kernel gives other numbers.
TWO = {"kernel": [[1.0, -0.5]], "recurrent_kernel": [[0.5, 0.25], [-1.0, 0.125]], "bias": [0, 0.5]}
T, F = True, False


def column(trace):
    return trace.outputs[0, :, 0].tolist()


@pytest.mark.parametrize(
    ("options", "data", "outputs", "state"),
    [
        ({}, {}, [0.125, 0.71875, -0.3984375], -0.3984375),
        ({"bias": None}, {}, [0.0, 0.5, -0.6875], -0.6875),
        ({"activation": "relu"}, {}, [0.125, 0.71875, 0.0], 0.0),
        ({}, {"initial_state": [[-1.0]]}, [-0.625, 0.15625, -0.8203125], -0.8203125),
        ({"go_backwards": T}, {}, [-0.9375, -0.078125, 0.06640625], 0.06640625),
        # masked: the state stays, the output is the previous one, zeros before the first
        ({}, {"mask": [[T, F, T]]}, [0.125, 0.125, -0.84375], -0.84375),
        ({}, {"mask": [[T, T, F]]}, [0.125, 0.71875, 0.71875], 0.71875),
        (
            {},
            {"mask": [[F, T, T]], "initial_state": [[-1.0]]},
            [0.0, -0.125, -1.03125],
            -1.03125,
        ),
        ({}, {"mask": [[F, F, F]], "initial_state": [[-1.0]]}, [0.0, 0.0, 0.0], -1.0),
        (
            {"zero_output_for_mask": T},
            {"mask": [[T, F, T]]},
            [0.125, 0.0, -0.84375],
            -0.84375,
        ),
        ({"zero_output_for_mask": T}, {"mask": [[T, T, F]]}, [0.125, 0.71875, 0.0], 0.71875),
        ({"go_backwards": T}, {"mask": [[T, T, F]]}, [0.0, 0.625, 0.59375], 0.59375),
        (
            {"go_backwards": T, "zero_output_for_mask": T},
            {"mask": [[T, F, T]]},
            [-0.9375, 0.0, -0.578125],
            -0.578125,
        ),
    ],
)
def test_one_unit_by_hand(options, data, outputs, state):
    trace = rp.replay(rp.SimpleRNN(**{**ONE, "activation": "linear", **options}), X, **data)
    assert column(trace) == outputs
    assert trace.final_state.tolist() == [[state]]


def test_one_unit_with_tanh():
    # mpmath: tanh(1/8), tanh(5/8 + 3/4 h), tanh(-15/16 + 3/4 h)
    expected = [0.12435300177159620805, 0.61583329931980572671, -0.44273300776100170926]
    assert column(rp.replay(rp.SimpleRNN(**ONE), X)) == pytest.approx(expected, rel=1e-15)
    trace = rp.replay(rp.SimpleRNN(**ONE), X[:1], initial_state=[[-1.0]])
    expected = [-0.554599722349382294, 0.2060572139534275686]
    assert column(trace)[:2] == pytest.approx(expected, rel=1e-15)


def test_two_units_by_hand():
    layer = rp.SimpleRNN(**TWO, activation="linear")
    trace = rp.replay(layer, [[[1.0], [-2.0], [0.5]], [[0.0], [0.0], [0.0]]])
    assert trace.outputs[0].tolist() == [[1.0, 0.0], [-1.5, 1.75], [-2.0, 0.09375]]
    # the second sample: bias and state alone, h W = (-1/2, 1/16), then (-1/4, 9/128) - (1/16, 0)...
    assert trace.outputs[1].tolist() == [[0.0, 0.5], [-0.5, 0.5625], [-0.8125, 0.4453125]]
    assert trace.final_state.tolist() == [[-2.0, 0.09375], [-0.8125, 0.4453125]]


def test_two_units_rectified_by_hand():
    layer = rp.SimpleRNN(**TWO, activation="relu")
    trace = rp.replay(layer, [[[1.0], [-2.0], [0.5]]])
    # h1 = max((-1.5, 1.75), 0); h1 W = 1.75 (-1, 1/8)
    assert trace.outputs[0].tolist() == [[1.0, 0.0], [0.0, 1.75], [0.0, 0.46875]]


def test_each_sample_has_its_own_mask():
    layer = rp.SimpleRNN(**ONE, activation="linear")
    trace = rp.replay(layer, X * 3, [[T, T, T], [F, F, F], [F, T, F]])
    assert trace.outputs[:, :, 0].tolist() == [
        [0.125, 0.71875, -0.3984375],
        [0.0, 0.0, 0.0],
        [0.0, 0.625, 0.625],
    ]


def test_inputs_are_rounded_to_the_layers_dtype():
    layer = rp.SimpleRNN([[1.0]], [[0.0]], activation=None, dtype="float32")
    assert column(rp.replay(layer, [[[0.1]]])) == [0.100000001490116119384765625]
    layer = rp.SimpleRNN([[1.0]], [[0.0]], activation=None, dtype="bfloat16")
    assert column(rp.replay(layer, np.float32([[[0.1]]]))) == [0.10009765625]


def test_a_users_own_activation():
    layer = rp.SimpleRNN(**ONE, activation=lambda z: z * z)
    assert column(rp.replay(layer, X))[:2] == [0.015625, (0.625 + 0.75 * 0.015625) ** 2]


def test_inputs_that_are_not_finite_give_what_the_formula_gives():
    layer = rp.SimpleRNN([[1.0, 0.5], [1.0, -1.0]], np.eye(2) / 2, activation="linear")
    trace = rp.replay(layer, [[[np.inf, 1.0], [-np.inf, 2.0]], [[np.inf, np.inf], [1.0, 1.0]]])
    assert trace.outputs[0, 0].tolist() == [np.inf, np.inf]
    assert trace.outputs[1, 0, 0] == np.inf
    assert np.isnan(trace.outputs[[0, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]]).all()


# What holds for every layer. The sums of a step may be taken in another order: 1e-12.
seeds = st.integers(0, 2**32 - 1)
law = settings(max_examples=25, deadline=None)


def random_data(rng, batch=3, timesteps=8, features=3):
    x = rng.normal(size=(batch, timesteps, features))
    return x, rng.random((batch, timesteps)) < 0.7


def same(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@law
@given(seeds, st.integers(1, 7), st.booleans(), st.booleans())
def test_the_state_carries_a_sequence_in_two_halves(seed, cut, masked, zeroed):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, zero_output_for_mask=zeroed, dtype="float64")
    x, mask = random_data(rng)
    # a masked first step repeats an output that the second half does not know
    mask[:, cut] = True
    mask = mask if masked else np.ones_like(mask)
    whole = rp.replay(layer, x, mask)
    first = rp.replay(layer, x[:, :cut], mask[:, :cut])
    second = rp.replay(layer, x[:, cut:], mask[:, cut:], first.final_state)
    same(np.concatenate([first.outputs, second.outputs], axis=1), whole.outputs)
    same(second.final_state, whole.final_state)


@law
@given(seeds)
def test_backwards_is_forwards_on_reversed_inputs(seed):
    backwards = random_layer(np.random.default_rng(seed), go_backwards=True)
    forwards = random_layer(np.random.default_rng(seed))
    x, mask = random_data(np.random.default_rng(seed + 1))
    a, b = rp.replay(backwards, x, mask), rp.replay(forwards, x[:, ::-1], mask[:, ::-1])
    same(a.outputs, b.outputs)
    same(a.final_state, b.final_state)


@law
@given(seeds)
def test_samples_do_not_know_each_other(seed):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng)
    x, mask = random_data(rng)
    whole, order = rp.replay(layer, x, mask), rng.permutation(len(x))
    same(rp.replay(layer, x[order], mask[order]).outputs, whole.outputs[order])
    for i in range(len(x)):
        same(rp.replay(layer, x[i : i + 1], mask[i : i + 1]).outputs, whole.outputs[i : i + 1])


@law
@given(seeds, st.sampled_from([np.nan, np.inf, -1e30]), st.booleans())
def test_masked_inputs_cannot_matter(seed, value, backwards):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, go_backwards=backwards)
    x, mask = random_data(rng)
    clean = rp.replay(layer, x, mask)
    x[~mask] = value
    dirty = rp.replay(layer, x, mask)
    same(dirty.outputs, clean.outputs)
    same(dirty.final_state, clean.final_state)


@law
@given(seeds)
def test_a_mask_of_ones_is_no_mask(seed):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng)
    x, mask = random_data(rng)
    same(rp.replay(layer, x, np.ones_like(mask)).outputs, rp.replay(layer, x).outputs)


@pytest.mark.parametrize("size", [1, 7, 49, 50])
def test_the_size_of_a_block_does_not_matter(size, monkeypatch):
    rng = np.random.default_rng(5)
    layer = random_layer(rng)
    x, mask = random_data(rng, timesteps=50)
    for m in (None, mask):
        expected = rp.replay(layer, x, m)
        with monkeypatch.context() as patched:
            in_blocks_of(patched, size)
            found = rp.replay(layer, x, m)
        same(found.outputs, expected.outputs)
        same(found.final_state, expected.final_state)


def test_some_timesteps_of_a_block():
    """Every array keeps the numbers of these timesteps, and states those before and after each."""
    inputs, projection, outputs = (100.0 * i + np.arange(8.0).reshape(4, 1, 2) for i in range(3))
    states = 300 + np.arange(20.0).reshape(2, 5, 1, 2)
    part = Block(slice(7, 11), inputs, projection, outputs, states).part(slice(2, 4))
    assert part.steps == slice(9, 11)
    assert part.inputs.tolist() == inputs[2:].tolist()
    assert part.projection.tolist() == projection[2:].tolist()
    assert part.outputs.tolist() == outputs[2:].tolist()
    assert part.states.tolist() == states[:, 2:].tolist()
