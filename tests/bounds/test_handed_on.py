"""What a step hands on: the state, and the output that masked steps repeat.

XLA may compute a step twice, with its products fused differently: of `GRU(4)` on TensorFlow 2.21,
an output was -0.03956085443 and the state -0.03956085816, where exactly -0.03956083693 is right; a
`SimpleRNN(1, "mish")` on 2.15 showed the same.
"""

import numpy as np
import pytest

import rnn_parity as rp

B, T, F, H = 2, 4, 3, 5
RNG = np.random.default_rng(3)
X = RNG.normal(size=(B, T, F)).astype(np.float32)
MASK = np.array([[True, True, False, False], [False, True, True, False]])
KINDS = {"SimpleRNN": (rp.SimpleRNN, 1), "LSTM": (rp.LSTM, 4), "GRU": (rp.GRU, 3)}


def layer(name, **options):
    kind, gates = KINDS[name]
    options |= {"reset_after": False} if name == "GRU" else {}
    shapes = ((F, gates * H), (H, gates * H), (gates * H,))
    return kind(*(RNG.normal(size=shape).astype(np.float32) for shape in shapes), **options)


def ulps_away(array, count):
    return (array + count * np.spacing(np.abs(array))).astype(np.float32)


def observed(weights, mask):
    trace = rp.replay(weights, X, mask)
    state = trace.final_state if isinstance(trace.final_state, tuple) else (trace.final_state,)
    return trace.outputs.astype(np.float32), [one.astype(np.float32) for one in state]


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("name", KINDS)
def test_the_final_state(name, mask):
    weights = layer(name)
    outputs, (h, *c) = observed(weights, mask)
    for off, expected in ((0, True), (3, True), (3000, False)):
        report = rp.compare(weights, X, outputs, [ulps_away(h, off), *c], mask)
        assert (report.verdict == "parity") == expected, (off, report.summary)


@pytest.mark.parametrize("name", KINDS)
def test_a_masked_step(name):
    weights = layer(name)
    outputs, _ = observed(weights, MASK)
    for off, expected in ((0, True), (3, True), (3000, False)):
        moved = outputs.copy()
        moved[0, 2:] = ulps_away(outputs[0, 2:], off)
        report = rp.compare(weights, X, moved, mask=MASK)
        assert (report.verdict == "parity") == expected, (off, report.summary)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_handed_on_before_the_first_step(name):
    """Sample 1 begins masked: its output is zeros, and no number near them."""
    weights = layer(name)
    outputs, _ = observed(weights, MASK)
    outputs[1, 0, 0] = 1e-30
    assert rp.compare(weights, X, outputs, mask=MASK).verdict == "diverged"


@pytest.mark.parametrize("name", KINDS)
def test_zeros_of_masked_steps_are_zeros(name):
    weights = layer(name, zero_output_for_mask=True)
    outputs, state = observed(weights, MASK)
    assert rp.compare(weights, X, outputs, state, mask=MASK).verdict == "parity"
    outputs[0, 3, 0] = 1e-9
    assert rp.compare(weights, X, outputs, state, mask=MASK).verdict == "diverged"
