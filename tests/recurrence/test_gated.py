"""LSTM and GRU: the replay and the bounds, against the textbook, gate by gate."""

import numpy as np
import pytest
from gated import Exact, Rough, random_cell, run
from helpers import in_blocks_of
from hypothesis import given, settings
from hypothesis import strategies as st

import rnn_parity as rp
from rnn_parity.errors import InputError
from rnn_parity.recurrence.sequences import Dropout, Sequences
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

pytestmark = pytest.mark.filterwarnings("error")
KINDS = {"LSTM": {}, "GRU": {"reset_after": True}, "GRU before": {"reset_after": False}}
every_kind = pytest.mark.parametrize("name", KINDS)
seeds = st.integers(0, 2**32 - 1)


def cell_of(name, rng, features=3, units=4, **options):
    return random_cell(rng, name.split()[0], features, units, **KINDS[name], **options)


def case(name, seed, batch=3, timesteps=6, **options):
    """A cell, its inputs in float32 and its initial states as the package takes them."""
    rng = np.random.default_rng(seed)
    cell = cell_of(name, rng, **options)
    x = rng.normal(size=(batch, timesteps, 3)).astype(np.float32)
    states = rng.uniform(-1, 1, (2, batch, 4)).astype(np.float32)
    return cell, x, states if name == "LSTM" else states[0], rng


@every_kind
@settings(max_examples=10, deadline=None)
@given(seed=seeds, masked=st.booleans())
def test_the_replay_is_the_textbook(name, seed, masked):
    cell, x, states, rng = case(name, seed)
    mask = rng.random((3, 6)) < 0.6 if masked else None
    h0, c0 = (states, None) if name != "LSTM" else states
    outputs, h, c = run(cell, Exact(), x.astype(float), h0, c0, mask)
    trace = rp.replay(cell.layer(dtype="float32"), x, mask, states)
    np.testing.assert_allclose(trace.outputs, outputs, rtol=0, atol=1e-14)
    final = trace.final_state if name == "LSTM" else (trace.final_state,)
    for mine, theirs in zip(final, (h, c), strict=False):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-14)


@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=10, deadline=None)
@given(seed=seeds, gain=st.sampled_from([0.3, 1.0, 5.0]), fused=st.booleans())
def test_a_legitimate_order_of_sums_is_within_the_bound(name, dtype, seed, gain, fused):
    cell, x, states, rng = case(name, seed, gain=gain, dtype=dtype)
    h0, c0 = (states, None) if name != "LSTM" else states
    mask = rng.random((3, 6)) < 0.8
    outputs, h, c = run(cell, Rough(rng, dtype, fused), x.astype(float), h0, c0, mask)
    report = rp.compare(
        cell.layer(dtype=dtype), x, outputs, h if c is None else (h, c), mask, states
    )
    check = report.checks[0]
    assert check.max_ratio <= 1
    assert check.verdict == "parity"
    assert check.effective_bits > (24 if dtype == "float32" else 53)


@every_kind
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_sixteen_bits_throughout(name, seed):
    cell, x, states, rng = case(name, seed, dtype="float16")
    x, states = x.astype(np.float16), np.asarray(states).astype(np.float16)
    h0, c0 = (states, None) if name != "LSTM" else states
    outputs, _, _ = run(cell, Rough(rng, "float16"), x.astype(float), h0, c0)
    given = tuple(states) if name == "LSTM" else states
    check = rp.compare(cell.layer(dtype="float16"), x, outputs, None, None, given).checks[0]
    assert check.max_ratio <= 1


@every_kind
def test_a_small_error_is_beyond_the_bound(name):
    cell, x, states, _ = case(name, 0)
    h0, c0 = (states, None) if name != "LSTM" else states
    outputs, _, _ = run(cell, Exact(), x.astype(float), h0, c0)
    outputs[1, 2, 3] += 2e-5
    check = rp.compare(cell.layer(dtype="float32"), x, outputs, initial_state=states).checks[0]
    assert check.verdict == "diverged"
    first = check.first_divergence
    assert (first.timestep, first.batch, first.unit) == (2, 1, 3)


def test_a_wrong_cell_state_is_beyond_its_bound():
    cell, x, states, _ = case("LSTM", 0)
    outputs, h, c = run(cell, Exact(), x.astype(float), *states)
    layer = cell.layer(dtype="float32")
    good = rp.compare(layer, x, outputs, (h, c), initial_state=states)
    assert good
    assert [row.name for row in good.checks[0].final_state] == ["h", "c"]
    c[2, 1] += 1e-5
    check = rp.compare(layer, x, outputs, (h, c), initial_state=states).checks[0]
    assert check.verdict == "diverged"
    worst = check.final_state[1]
    assert (worst.name, worst.batch, worst.unit) == ("c", 2, 1)
    assert worst.max_deviation == pytest.approx(1e-5, rel=1e-6)


@every_kind
@settings(max_examples=10, deadline=None)
@given(seed=seeds, cut=st.integers(1, 5), size=st.integers(1, 7))
def test_a_split_sequence_is_the_whole_one(name, seed, cut, size):
    cell, x, states, _ = case(name, seed)
    layer = cell.layer(dtype="float64")
    whole = rp.replay(layer, x, initial_state=states)
    with pytest.MonkeyPatch.context() as patch:
        in_blocks_of(patch, size)
        first = rp.replay(layer, x[:, :cut], initial_state=states)
        second = rp.replay(layer, x[:, cut:], initial_state=first.final_state)
    both = np.concatenate([first.outputs, second.outputs], axis=1)
    np.testing.assert_allclose(both, whole.outputs, rtol=0, atol=1e-14)
    np.testing.assert_allclose(second.final_state, whole.final_state, rtol=0, atol=1e-14)


@every_kind
def test_the_blocks_of_a_check_carry_the_cell_state(name, monkeypatch):
    cell, x, states, _ = case(name, 1, timesteps=12)
    layer = cell.layer(dtype="float32")
    outputs = rp.replay(layer, x, initial_state=states).outputs.astype(np.float32)
    whole = rp.compare(layer, x, outputs, initial_state=states).checks[0]
    in_blocks_of(monkeypatch, 5)
    parts = rp.compare(layer, x, outputs, initial_state=states).checks[0]
    assert whole.verdict == parts.verdict == "parity"
    np.testing.assert_allclose(parts.timesteps.max_ratio, whole.timesteps.max_ratio, rtol=1e-3)


@every_kind
def test_go_backwards_is_the_reversed_input(name):
    cell, x, states, rng = case(name, 2)
    mask = rng.random((3, 6)) < 0.7
    back = rp.replay(cell.layer(go_backwards=True), x, mask, states)
    forth = rp.replay(cell.layer(), x[:, ::-1], mask[:, ::-1], states)
    np.testing.assert_array_equal(back.outputs, forth.outputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rp.LSTM(np.ones((3, 6)), np.ones((2, 6))), "expected 4 gates of equal size"),
        (lambda: rp.GRU(np.ones((3, 8)), np.ones((2, 8))), "expected 3 gates of equal size"),
        (
            lambda: rp.GRU(np.ones((3, 6)), np.ones((2, 6)), np.ones(6)),
            r"bias: expected shape \(2, 6\), received \(6,\)",
        ),
        (
            lambda: rp.GRU(np.ones((3, 6)), np.ones((2, 6)), np.ones((2, 6)), reset_after=False),
            r"bias: expected shape \(6,\), received \(2, 6\)",
        ),
        (
            lambda: rp.replay(
                rp.LSTM(np.ones((3, 8)), np.ones((2, 8))),
                np.ones((1, 2, 3)),
                initial_state=np.ones((1, 2)),
            ),
            r"initial_state: expected \(h, c\), each of shape \(batch, 2\) for LSTM, received 1 ",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@every_kind
@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_dropout_is_a_kernel_with_some_rows_left_out(name, seed):
    """Of one sample, a mask of 0 and 2 for a gate is a mask of the rows of that gate's kernels."""
    cell, x, states, rng = case(name, seed, batch=1)
    layer = cell.layer(dtype="float32")
    gates = list(cell.U)
    masks = [2.0 * (rng.random((len(gates), 1, n)) < 0.5) for n in (3, 4)]
    for g, gate in enumerate(gates):
        cell.U[gate] = masks[0][g, 0, :, np.newaxis] * cell.U[gate]
        cell.W[gate] = masks[1][g, 0, :, np.newaxis] * cell.W[gate]
    h0, c0 = (states, None) if name != "LSTM" else states
    sequences = Sequences.of(layer, x, None, states, Dropout(*masks))
    exact, _, _ = run(cell, Exact(), x.astype(float), h0, c0)
    np.testing.assert_allclose(replay(layer, sequences).outputs, exact, rtol=0, atol=1e-14)
    outputs, h, c = run(cell, Rough(rng, "float32"), x.astype(float), h0, c0)
    observed = Observations(outputs, (h,) if c is None else (h, c))
    check = judge(layer, sequences, observed, Subject()).check
    assert check.verdict == "parity"
    ignored = judge(layer, Sequences.of(layer, x, None, states), observed, Subject()).check
    assert ignored.verdict == "diverged"
