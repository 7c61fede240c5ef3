"""Deviations, residuals and ratios per timestep, and where the first of them leaves its bound."""

import os

import numpy as np
import pytest
from helpers import in_blocks_of, loop, random_layer, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st

import rnn_parity as rp
from rnn_parity.system import threads

pytestmark = pytest.mark.filterwarnings("error")
seeds = st.integers(0, 2**32 - 1)


def case(seed=0, batch=4, timesteps=9, features=3, units=5, **options):
    """Weights, inputs and the outputs of a float32 loop."""
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, features, units)
    x = rng.normal(size=(batch, timesteps, features)).astype(np.float32)
    return rp.SimpleRNN(**weights, **options), x, loop(weights, x)


def test_the_numbers_of_a_comparison_by_hand():
    layer = rp.SimpleRNN([[1.0]], [[0.5]], activation="linear", dtype="float32")
    # right: 1, 2.5, 5.25; observed with 2**-3 too much at timestep 1 of sample 1
    x = np.float32([[1, 2, 4]] * 2)[..., None]
    observed = np.float32([[1, 2.5, 5.25], [1, 2.625, 5.25]])[..., None]
    check = rp.compare(layer, x, observed, [[5.25], [5.25]]).checks[0]
    rows = check.timesteps
    assert [r.timestep for r in rows] == [0, 1, 2]
    assert [r.max_deviation for r in rows] == [0, 0.125, 0]
    assert [r.max_residual for r in rows] == [0, 0.125, 0.0625]
    assert [r.max_ulp for r in rows] == [0, 2**-3 * 2**22, 0]
    assert [(r.batch, r.unit) for r in rows[1:]] == [(1, 0), (1, 0)]
    # the bound of two terms: 2 u (2 + 0.5)
    assert rows[1].max_ratio == pytest.approx(0.125 / (5 * 2.0**-24), rel=1e-3)
    first = check.first_divergence
    assert (first.timestep, first.batch, first.unit) == (1, 1, 0)
    assert (first.observed, first.expected) == (2.625, 2.5)
    assert first.bound == pytest.approx(5 * 2.0**-24, rel=1e-3)
    assert (check.max_deviation, check.verdict) == (0.125, "diverged")
    assert check.final_state[0].max_deviation == 0


@pytest.mark.parametrize("change", [1e-4, -1e-4, np.nan, np.inf, -np.inf, 1e30, 1e60, 1e300])
@settings(max_examples=10, deadline=None)
@given(seed=seeds, data=st.data())
def test_one_wrong_output_is_found_where_it_is(change, seed, data):
    layer, x, outputs = case(seed)
    where = tuple(data.draw(st.integers(0, n - 1)) for n in outputs.shape)
    outputs = outputs.astype(np.float64)
    outputs[where] += change
    check = rp.compare(layer, x, outputs).checks[0]
    first = check.first_divergence
    assert (first.batch, first.timestep, first.unit) == where
    np.testing.assert_equal(first.observed, outputs[where])
    assert check.verdict == "diverged"
    row = check.timesteps[where[1]]
    assert (row.batch, row.unit) == (where[0], where[2])
    assert row.max_deviation == pytest.approx(abs(change), rel=1e-2) or np.isnan(change)
    assert all(r.max_ratio <= 1 for r in check.timesteps[: where[1]])


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (1, 40, 1, 1), (7, 1, 3, 2), (3, 20, 70, 66)])
@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_a_float32_loop_is_within_rounding(activation, size, seed):
    batch, timesteps, features, units = size
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, features, units)
    x = rng.normal(size=(batch, timesteps, features)).astype(np.float32)
    state = rng.normal(size=(batch, units)).astype(np.float32)
    outputs = loop(weights, x, activation, state)
    layer = rp.SimpleRNN(**weights, activation=activation)
    report = rp.compare(layer, x, outputs, outputs[:, -1], initial_state=state)
    assert report.verdict == "parity"
    assert 0 <= report.checks[0].max_ratio <= 1


def test_every_sample_and_unit_counts_alike():
    layer, x, outputs = case(batch=6)
    outputs[4, 2, 3] += 1e-3
    order = np.array([3, 0, 4, 5, 2, 1])
    a, b = (rp.compare(layer, x[o], outputs[o]).checks[0] for o in (np.arange(6), order))
    assert b.first_divergence.batch == order.tolist().index(a.first_divergence.batch)
    np.testing.assert_allclose(a.timesteps.max_ratio, b.timesteps.max_ratio, rtol=1e-2)


@pytest.mark.parametrize("size", [1, 2, 8, 9])
@pytest.mark.parametrize("masked", [False, True])
def test_the_size_of_a_block_does_not_matter(size, masked, monkeypatch):
    layer, x, outputs = case()
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.6 if masked else None
    outputs = rp.replay(layer, x, mask).outputs.astype(np.float32)
    outputs[2, 3, 1] += 1e-3
    expected = rp.compare(layer, x, outputs, mask=mask).checks[0]
    in_blocks_of(monkeypatch, size)
    found = rp.compare(layer, x, outputs, mask=mask).checks[0]
    equal(found, expected)


def equal(found, expected):
    assert found.verdict == expected.verdict
    first, wanted = found.first_divergence, expected.first_divergence
    assert (first.timestep, first.batch, first.unit) == (wanted.timestep, wanted.batch, wanted.unit)
    for name in ("max_deviation", "max_residual"):
        a, b = getattr(found.timesteps, name), getattr(expected.timesteps, name)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
    # How a block computes its bound may depend on what else is in it, a little.
    wanted = expected.timesteps.max_ratio
    np.testing.assert_allclose(found.timesteps.max_ratio, wanted, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("processors", [1, 2, 3, 16])
@pytest.mark.parametrize("masked", [False, True])
def test_threads_do_not_matter(processors, masked, monkeypatch):
    layer, x, _ = case(batch=7)
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.6 if masked else None
    whole = rp.replay(layer, x, mask)
    outputs, state = (a.astype(np.float32) for a in (whole.outputs, whole.final_state))
    outputs[[2, 5, 6], [3, 3, 7], [1, 0, 4]] += 1e-3
    state[4, 3] += 1e-1
    expected = rp.compare(layer, x, outputs, state, mask).checks[0]
    monkeypatch.setattr(threads, "SINGLE_WORK", 0)
    monkeypatch.setattr(threads, "THREADED_WORK", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    found = rp.compare(layer, x, outputs, state, mask).checks[0]
    equal(found, expected)
    again = rp.replay(layer, x, mask)
    np.testing.assert_allclose(again.outputs, whole.outputs, rtol=0, atol=1e-14)
    np.testing.assert_allclose(again.final_state, whole.final_state, rtol=0, atol=1e-14)
    for row, wanted in zip(found.final_state, expected.final_state, strict=True):
        assert (row.batch, row.unit) == (wanted.batch, wanted.unit) == (4, 3)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, value=st.sampled_from([np.nan, np.inf, 1e30]), zeroed=st.booleans())
def test_masked_inputs_cannot_matter(seed, value, zeroed):
    rng = np.random.default_rng(seed)
    layer, x, _ = case(seed, zero_output_for_mask=zeroed)
    mask = rng.random(x.shape[:2]) < 0.6
    outputs = rp.replay(layer, x, mask).outputs.astype(np.float32)
    clean = rp.compare(layer, x, outputs, mask=mask).checks[0]
    x[~mask] = value
    dirty = rp.compare(layer, x, outputs, mask=mask).checks[0]
    assert (clean.verdict, dirty.verdict) == ("parity", "parity")
    np.testing.assert_allclose(dirty.timesteps.max_ratio, clean.timesteps.max_ratio, rtol=1e-3)


def test_memory_maps_are_compared(tmp_path):
    layer, x, outputs = case()
    for name, array in (("x", x), ("y", outputs)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]
    assert rp.compare(layer, *mapped)
    np.testing.assert_array_equal(mapped[1], outputs)


@pytest.mark.parametrize("backwards", [False, True])
def test_arguments_are_not_changed(backwards):
    layer, x, outputs = case(go_backwards=backwards)
    mask, state = np.ones(x.shape[:2], bool), np.zeros((4, 5))
    mask[:, 2] = False
    arrays = [x, outputs, outputs[:, -1].copy(), mask, state]
    before = [a.copy() for a in arrays]
    rp.compare(layer, *arrays)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_integers_and_lists_are_numbers():
    layer = rp.SimpleRNN([[1]], [[2]], activation="linear")
    assert rp.compare(layer, [[[1], [2], [3]]], [[[1], [4], [11]]], [[11]])
    assert not rp.compare(layer, [[[1], [2], [3]]], [[[1], [4], [12]]])


def test_float64_inputs_are_rounded_first():
    weights = random_weights(np.random.default_rng(0), 3, 5)
    x = np.random.default_rng(1).normal(size=(4, 9, 3)) * 100
    layer = rp.SimpleRNN(**weights, activation="linear")
    assert rp.compare(layer, x, loop(weights, x.astype(np.float32), "linear"))
    exact = random_layer(np.random.default_rng(0), 3, 5, "linear", "float64")
    assert not rp.compare(exact, x, rp.replay(exact, x.astype(np.float32)).outputs)
