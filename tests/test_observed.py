"""Observed outputs as states: what a mask hides, and what a masked step must show."""

import numpy as np
import pytest
from helpers import in_blocks_of

import rnn_parity as rp

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
