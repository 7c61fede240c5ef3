"""The step residual: each step from the observed state, and the radius of what was not observed."""

import numpy as np
import pytest
from helpers import loop, random_layer, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.bounds.step_bound import Steps, final_balls
from rnn_parity.recurrence.precision import FLOAT32, FLOAT64, FORMATS
from rnn_parity.recurrence.sequences import Dropout, Sequences
from rnn_parity.recurrence.time_loop import blocks

pytestmark = pytest.mark.filterwarnings("error")
SINGLE, DOUBLE = Arithmetic(FLOAT32, FLOAT32), Arithmetic(FLOAT64, FLOAT64)


def step_from(layer, x, states, arithmetic=SINGLE, radius=None):
    """The ball of every step of one block, `(T, B, H)`, from `states` `(T, B, H)`."""
    sequences = Sequences.of(layer, x)
    states = np.asarray(states, float)
    radius = np.zeros((), arithmetic.radius_dtype) if radius is None else radius
    before = Ball(states, radius, arithmetic)
    return Steps(layer, arithmetic, sequences).outputs(next(blocks(layer, sequences)), before)


def test_a_step_by_hand():
    layer = rp.SimpleRNN([[2.0]], [[0.5]], [0.25], activation="linear")
    x = [[[1.0], [-3.0], [0.5]]]
    # 2 x + h / 2 + 1/4, from states that have nothing to do with the replay's
    ball = step_from(layer, x, [[[8.0]], [[-6.0]], [[100.0]]])
    assert ball.value[:, 0, 0].tolist() == [6.25, -8.75, 51.25]
    # three terms: 3 u (sum of magnitudes), and one part in 2**10 for what computing may add
    magnitudes = np.array([2 + 4 + 0.25, 6 + 3 + 0.25, 1 + 50 + 0.25])
    np.testing.assert_allclose(ball.radius[:, 0, 0], 3 * 2.0**-24 * magnitudes, rtol=1e-3)


@pytest.mark.parametrize("far", [0.0, 1e-7, 1e-3, 10.0])
@pytest.mark.parametrize(("arithmetic", "dtype"), [(SINGLE, "float32"), (DOUBLE, "float64")])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_value_is_the_step_from_that_state(arithmetic, dtype, far, seed):
    """However near the replay's own states the given ones are."""
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, 3, 5, "linear", dtype)
    x = layer.precision.round(rng.normal(size=(2, 6, 3)))
    trace = rp.replay(layer, x)
    states = np.concatenate([np.zeros((2, 1, 5)), trace.outputs[:, :-1]], axis=1)
    states = layer.precision.round(states + far * rng.normal(size=states.shape)).swapaxes(0, 1)
    ball = step_from(layer, x, states, arithmetic)
    wide = (a.astype(np.longdouble) for a in (x.swapaxes(0, 1), layer.kernel, states))
    inputs, kernel, before = wide
    exact = inputs @ kernel + layer.bias + before @ layer.recurrent_kernel.astype(np.longdouble)
    # What computing the value costs leaves the implementation its part of the bound: half of it
    # where that computes in float64, too.
    share = 0.5 if dtype == "float64" else 0.05
    assert np.all(np.abs(ball.value - exact) <= share * ball.radius)


def test_a_radius_of_the_state_is_carried_through_the_step():
    layer = rp.SimpleRNN([[1.0]], [[-0.5]], activation="linear")
    radius = np.full((1, 1, 1), 0.125, np.float32)
    ball = step_from(layer, [[[1.0]]], [[[4.0]]], radius=radius)
    assert ball.value[0, 0, 0] == -1.0
    assert ball.radius[0, 0, 0] == pytest.approx(0.0625, rel=1e-4)
    assert ball.radius[0, 0, 0] > 0.0625


@pytest.mark.parametrize(
    ("value", "radius", "rounded", "expected"),
    [
        # bfloat16 has 1, 1 + 2^-7, ..., and half of that below 1.
        (1.0, 0.0, 1.0, 0.0),
        (1.0, 2.0**-9, 1.0, 0.0),  # all of it becomes 1
        (1.0, 2.0**-8 + 2.0**-9, 1.0, 2.0**-7),  # above, 1 + 2^-7; below, 1 - 2^-7
        (1.0 + 2.0**-9, 2.0**-8, 1.0, 2.0**-7),  # above alone
        (1.0 + 2.0**-7 - 2.0**-9, 2.0**-8, 1.0 + 2.0**-7, 2.0**-7),  # below alone
        (-1.0 - 2.0**-9, 2.0**-8, -1.0, 2.0**-7),
    ],
)
def test_an_operand_next_to_a_tie_may_be_rounded_either_way(value, radius, rounded, expected):
    layer = rp.SimpleRNN([[1.0]], [[1.0]]).changed(operands=FORMATS["bfloat16"])
    steps = Steps(layer, SINGLE, Sequences.of(layer, [[[0.0]]]))
    for shape in ((1, 1, 1), ()):  # a number that is known has one radius, 0, for all
        if radius and not shape:
            continue
        ball = Ball(np.full((1, 1, 1), value), np.full(shape, radius, np.float32), SINGLE)
        found = steps.operand(ball)
        assert found.value.tolist() == [[[rounded]]]
        assert found.radius.tolist() == np.full(shape, expected).tolist()
        assert found.radius.dtype == np.float32
        assert found.arithmetic == SINGLE


def test_operands_are_taken_as_they_are_where_nobody_rounds_them():
    layer = rp.SimpleRNN([[1.0]], [[1.0]])
    ball = Ball(np.full((1, 1, 1), 1.001), np.full((1, 1, 1), 0.1, np.float32), SINGLE)
    assert Steps(layer, SINGLE, Sequences.of(layer, [[[0.0]]])).operand(ball) is ball


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), masked=st.booleans(), zeroed=st.booleans())
def test_the_last_output_lies_in_its_ball(seed, masked, zeroed):
    rng = np.random.default_rng(seed)
    weights, x = random_weights(rng, 3, 4), rng.normal(size=(5, 7, 3)).astype(np.float32)
    layer = rp.SimpleRNN(**weights, zero_output_for_mask=zeroed)
    mask = rng.random((5, 7)) < 0.6 if masked else None
    state = rng.uniform(-1, 1, (5, 4)).astype(np.float32)
    output, (final,) = final_balls(layer, Sequences.of(layer, x, mask, state), SINGLE)
    exact = rp.replay(layer, x, mask, state)
    np.testing.assert_allclose(output.value, exact.outputs[:, -1], atol=1e-12)
    np.testing.assert_allclose(final.value, exact.final_state, atol=1e-12)
    if masked:
        # A wholly masked sample is known exactly; a float32 loop over the others' own steps.
        assert not output.radius[~mask.any(axis=1)].any()
        hidden = (~mask[:, -1] & zeroed)[:, None]
        assert not output.radius[hidden[:, 0]].any()
        for i in range(5):
            kept = loop(weights, x[i : i + 1, mask[i]], state=state[i : i + 1])
            if kept.size:
                assert np.all(np.abs(kept[0, -1] - final.value[i]) <= final.radius[i])
    else:
        last = loop(weights, x, state=state)[:, -1]
        assert np.all(np.abs(last - output.value) <= output.radius)
    assert final.radius.max() < 1e-4


@pytest.mark.parametrize("arithmetic", [SINGLE, DOUBLE])
@pytest.mark.parametrize("mask", [None, [[True, False], [False, False]]])
def test_final_balls_are_in_the_arithmetic(arithmetic, mask):
    layer = rp.SimpleRNN([[2.0]], [[0.5]], [0.25], activation="linear")
    sequences = Sequences.of(layer, [[[1.0], [3.0]]] * 2, mask, [[8.0], [4.0]])
    output, (state,) = final_balls(layer, sequences, arithmetic)
    for ball in (output, state):
        assert (ball.arithmetic, ball.radius.dtype) == (arithmetic, arithmetic.radius_dtype)
    # 2 x + h / 2 + 1/4, twice or once or never
    expected = ([9.375, 8.375], [9.375, 8.375]) if mask is None else ([6.25, 0], [6.25, 4])
    assert (output.value[:, 0].tolist(), state.value[:, 0].tolist()) == expected


def widest_cell_state(seen):
    """The radius of one unit's c after 600 steps with an open forget gate, and nothing to add."""
    bias = [-20.0, 17.0, 0.5, 0.25]
    layer = rp.LSTM([[0.0] * 4], [[0.0] * 4], bias, dtype="float32")
    sequences = Sequences.of(layer, np.zeros((1, 600, 1), np.float32), None, ([[0.0]], [[0.5]]))
    outputs = rp.replay(layer, sequences.inputs, None, sequences.initial_state).outputs
    steps = Steps(layer, SINGLE, sequences)
    for block, observed in observed_steps(layer, sequences, outputs.astype(np.float32)):
        if seen:
            steps.observed(block, observed)
        else:
            steps.outputs(block, Ball.exact(observed.states[:-1], SINGLE))
    assert steps.hidden[0].value[0, 0] == pytest.approx(0.5, abs=1e-3)
    return float(steps.hidden[0].radius[0, 0])


def test_what_was_observed_tells_an_lstms_c():
    """A step adds some 7 units to c: 600 of them 4000, of which an output leaves a few dozen."""
    unknown = widest_cell_state(seen=False)
    assert 600 * 2.0**-25 < unknown < 600 * 32 * 2.0**-25
    assert widest_cell_state(seen=True) < unknown / 4


def halving_lstm(mask):
    """`c' = c / 2 + 1/4`, `h = tanh(c') / 2`, from c = 1 and 3; two steps of two samples."""
    bias = [0.0, 0.0, np.arctanh(0.5), 0.0]
    layer = rp.LSTM([[0.0] * 4], [[0.0] * 4], bias, dtype="float64")
    state = np.array([[0.25], [-0.5]]), np.array([[1.0], [3.0]])
    return layer, Sequences.of(layer, np.zeros((2, 2, 1)), mask, state)


@pytest.mark.parametrize("mask", [None, [[True, False], [False, False]]])
def test_the_cell_state_by_hand(mask):
    layer, sequences = halving_lstm(mask)
    expected = [0.625, 1.125] if mask is None else [0.75, 3.0]
    outputs = 0.5 * np.tanh([[0.75, 0.625], [1.75, 1.125]])
    if mask is not None:
        outputs = 0.5 * np.tanh([[0.75, 0.75], [0, 0]])
    output, (h, c) = final_balls(layer, sequences, DOUBLE)
    steps = Steps(layer, DOUBLE, sequences)
    for block, observed in observed_steps(layer, sequences, outputs[..., np.newaxis]):
        shown = steps.observed(block, observed)
    for ball in (c, *steps.hidden):
        assert ball.value[:, 0] == pytest.approx(expected, rel=1e-12)
        assert np.all(ball.radius < 1e-13)
        assert (ball.radius[1, 0] == 0) == (mask is not None)
        assert ball.arithmetic == DOUBLE
    assert h.value[:, 0] == pytest.approx([outputs[0, 1], outputs[1, 1] if mask is None else -0.5])
    assert output.value[:, 0] == pytest.approx(outputs[:, 1])
    assert shown.arithmetic == observed.state.arithmetic == DOUBLE
    assert pytest.approx(outputs) == shown.value[..., 0].T


def test_roundings_on_dropout_masks_by_hand():
    """2 x and h / 2 times 1.5 each: 3 and 6, whose operands were rounded once before."""
    layer = rp.SimpleRNN([[2.0]], [[0.5]], [0.25], activation="linear")
    masks = np.full((1, 1, 1), 1.5)
    sequences = Sequences.of(layer, [[[1.0]]], dropout=Dropout(masks, masks))
    before = Ball.exact(np.array([[[8.0]]]), SINGLE)
    ball = Steps(layer, SINGLE, sequences).outputs(next(blocks(layer, sequences)), before)
    assert ball.value.tolist() == [[[9.25]]]
    expected = 2.0**-24 * (3 * (3 + 6 + 0.25) + 3 + 6)
    assert expected <= ball.radius[0, 0, 0] <= expected * (1 + 2.0**-14)


def test_the_radius_of_a_state_is_rounded_with_it():
    """In bfloat16, x - h / 2 with x = 1 and h = 4 +- 1/8: up to 3.0625 for two roundings."""
    layer = rp.SimpleRNN([[1.0]], [[-0.5]], activation="linear")
    arithmetic = Arithmetic(FORMATS["bfloat16"], FORMATS["bfloat16"])
    radius = np.full((1, 1, 1), 0.125, np.float32)
    found = step_from(layer, [[[1.0]]], [[[4.0]]], arithmetic, radius).radius[0, 0, 0]
    g = 2 * 2.0**-8 / (1 - 2 * 2.0**-8)
    expected = g * 3.0625 + (1 + g) * 0.0625
    assert expected <= found <= expected * (1 + 2.0**-14)
