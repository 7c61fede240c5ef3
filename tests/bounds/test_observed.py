"""Observed outputs as states: what a mask hides, and what a masked step must show."""

import numpy as np
import pytest
from helpers import in_blocks_of

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.observed import Observed
from rnn_parity.recurrence.precision import FLOAT32, FLOAT64
from rnn_parity.recurrence.sequences import Sequences

pytestmark = pytest.mark.filterwarnings("error")
T, F = True, False
# One unit, x U + b = x: linear, half of the state is kept. All numbers are exact in binary.
WEIGHTS = {"kernel": [[1.0]], "recurrent_kernel": [[0.5]], "activation": "linear"}
X = np.array([[[1.0], [2.0], [-4.0], [8.0]]])
STATE = [[16.0]]


def verdict(outputs, state, mask, **options):
    layer = rp.SimpleRNN(**WEIGHTS, **options)
    outputs = np.float32(outputs).reshape(1, 4, 1)
    return rp.compare(layer, X, outputs, np.float32([[state]]), [mask], STATE).verdict


# By hand: h = x + h / 2 from 16.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("mask", "zeroed", "outputs", "state"),
    [
        ([T, T, T, T], F, [9, 6.5, -0.75, 7.625], 7.625),
        ([T, F, T, T], F, [9, 9, 0.5, 8.25], 8.25),
        ([T, F, T, T], T, [9, 0, 0.5, 8.25], 8.25),
        ([F, T, F, T], F, [0, 10, 10, 13], 13),
        ([F, F, F, T], F, [0, 0, 0, 16], 16),
        ([T, T, F, F], F, [9, 6.5, 6.5, 6.5], 6.5),
        ([T, T, F, F], T, [9, 6.5, 0, 0], 6.5),
        ([F, F, F, F], F, [0, 0, 0, 0], 16),
        ([F, F, F, F], T, [0, 0, 0, 0], 16),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_masks_by_hand(mask, zeroed, outputs, state, size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    options = {"zero_output_for_mask": zeroed}
    # Where all is masked, nothing was computed that could be right.
    right = "parity" if any(mask) else "inconclusive"
    assert verdict(outputs, state, mask, **options) == right
    assert verdict(outputs, state + 1, mask, **options) == "diverged"
    for t in range(4):
        wrong = [o + (i == t) for i, o in enumerate(outputs)]
        assert verdict(wrong, state, mask, **options) == "diverged", t


@pytest.mark.parametrize(
    ("mask", "outputs", "state"),
    [
        # processing order: 8, -4, 2, 1; the mask is given in the order of the inputs
        ([T, T, T, T], [16, 4, 4, 3], 3),
        ([T, T, T, F], [0, 4, 4, 3], 3),
        ([F, T, T, T], [16, 4, 4, 4], 4),
    ],
)
def test_masks_backwards_by_hand(mask, outputs, state):
    assert verdict(outputs, state, mask, go_backwards=True) == "parity"
    assert verdict(outputs, state, mask) == "diverged"


def test_a_masked_output_that_is_not_zeroed():
    mask = [T, F, T, T]
    assert verdict([9, 9, 0.5, 8.25], 8.25, mask, zero_output_for_mask=True) == "diverged"
    assert verdict([9, 0, 0.5, 8.25], 8.25, mask) == "diverged"


def test_a_masked_first_step_shows_no_initial_state():
    assert verdict([16, 10, 1, 8.5], 8.5, [F, T, T, T]) == "diverged"
    assert verdict([0, 10, 1, 8.5], 8.5, [F, T, T, T]) == "parity"


# Block by block, by hand.

OUTPUTS = np.float32([[[1], [2], [3], [4]], [[5], [6], [7], [8]]])
INITIAL = np.float32([[0.25], [-0.5]])
KEEP = [[F, T, F, T], [T, F, F, F]]
ETA = 2.0**-126


def watched(monkeypatch, size, mask, **options):
    """Two samples of four steps, which go by in blocks of `size`."""
    in_blocks_of(monkeypatch, size)
    layer = rp.SimpleRNN(**WEIGHTS, dtype="float32", **options)
    sequences = Sequences.of(layer, np.ones((2, 4, 1)), mask, INITIAL)
    return Observed(layer, sequences, OUTPUTS)


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize(
    ("mask", "states"),
    [
        (None, [[0.25, 1, 2, 3, 4], [-0.5, 5, 6, 7, 8]]),
        (KEEP, [[0.25, 0.25, 2, 2, 4], [-0.5, 5, 5, 5, 5]]),
    ],
)
def test_the_states_around_each_step(monkeypatch, size, mask, states):
    observed = watched(monkeypatch, size, mask)
    assert observed.outputs.shape == (0, 2, 1)
    assert observed.keep is None
    assert observed.states[..., 0].tolist() == [[0.25, -0.5]]
    for start in range(0, 4, size):
        steps = slice(start, min(start + size, 4))
        observed.advance(steps)
        assert observed.outputs[..., 0].T.tolist() == OUTPUTS[:, steps, 0].tolist()
        around = np.array(states)[:, start : steps.stop + 1]
        assert observed.states[..., 0].T.tolist() == around.tolist()
        if mask is None:
            assert observed.keep is None
        else:
            assert observed.keep[..., 0].T.tolist() == np.array(mask)[:, steps].tolist()


def stepped(observed, arithmetic, size):
    """The balls of all steps, `t + 10 B +- (t + 1) / 8`, as `masked` shows them, and the state
    after each block."""
    shown, states = [], []
    t, sample = np.arange(4.0)[:, np.newaxis], np.arange(2)
    value = (t + 10 * sample)[..., np.newaxis]
    radius = ((t + 1) / 8 + 0 * sample)[..., np.newaxis].astype(arithmetic.radius_dtype)
    for start in range(0, 4, size):
        steps = slice(start, min(start + size, 4))
        observed.advance(steps)
        shown.append(observed.masked(Ball(value[steps], radius[steps], arithmetic), arithmetic))
        states.append(observed.state)
    for ball in (*shown, *states):
        assert (ball.radius.dtype, ball.arithmetic) == (arithmetic.radius_dtype, arithmetic)
    values, radii = (
        np.concatenate([getattr(ball, name)[..., 0] for ball in shown]).T.tolist()
        for name in ("value", "radius")
    )
    return values, radii, states


@pytest.mark.parametrize("arithmetic", [Arithmetic(p, p) for p in (FLOAT32, FLOAT64)])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_masked_step_repeats_the_ball_of_the_last_one(monkeypatch, size, arithmetic):
    values, radii, states = stepped(watched(monkeypatch, size, KEEP), arithmetic, size)
    eta = arithmetic.results.smallest_normal
    assert values == [[0, 1, 1, 3], [10, 10, 10, 10]]
    assert radii == [[eta, 0.25, 0.25, 0.5], [0.125] * 4]
    assert states[-1].value.tolist() == [[3], [10]]
    assert states[-1].radius.tolist() == [[0.5], [0.125]]


def test_a_state_that_no_step_has_made_is_the_initial_one(monkeypatch):
    """Handed on, it may be rounded once, and flushed to zero."""
    arithmetic = Arithmetic(FLOAT32, FLOAT32)
    _, _, states = stepped(watched(monkeypatch, 1, KEEP), arithmetic, 1)
    assert [state.value[:, 0].tolist() for state in states] == [
        [0.25, 10],
        [1, 10],
        [1, 10],
        [3, 10],
    ]
    assert [state.radius[1, 0] for state in states] == [0.125] * 4
    assert states[0].radius[0, 0] == pytest.approx(0.25 * 2.0**-24, rel=1e-6)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_masked_step_that_is_zeroed(monkeypatch, size):
    observed = watched(monkeypatch, size, KEEP, zero_output_for_mask=True)
    values, radii, states = stepped(observed, Arithmetic(FLOAT32, FLOAT32), size)
    assert values == [[0, 1, 0, 3], [10, 0, 0, 0]]
    assert radii == [[ETA, 0.25, ETA, 0.5], [0.125, ETA, ETA, ETA]]
    assert states[-1].value.tolist() == [[3], [10]]


def test_what_is_hidden_is_a_ball_of_the_arithmetic(monkeypatch):
    arithmetic = Arithmetic(FLOAT32, FLOAT32)
    observed = watched(monkeypatch, 4, KEEP)
    observed.advance(slice(0, 4))
    ball = Ball(np.ones((4, 2, 1)), np.ones((4, 2, 1), np.float32), arithmetic)
    assert observed.hidden(ball, arithmetic).arithmetic == arithmetic


def test_without_a_mask_each_step_shows_its_own_ball(monkeypatch):
    values, radii, states = stepped(watched(monkeypatch, 3, None), Arithmetic(FLOAT32, FLOAT32), 3)
    assert values == [[0, 1, 2, 3], [10, 11, 12, 13]]
    assert radii == [[0.125, 0.25, 0.375, 0.5]] * 2
    assert [state.value.tolist() for state in states] == [[[2], [12]], [[3], [13]]]
    assert states[-1].radius.tolist() == [[0.5], [0.5]]
