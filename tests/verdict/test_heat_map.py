"""Heat maps are small whatever the sequence, and nothing above its bound is lost in them."""

import copy
import json
import pickle

import numpy as np
import pytest
from helpers import in_blocks_of, loop, random_weights

import rnn_parity as rp
from rnn_parity.verdict.results import MOST_CELLS, HeatMap

SIZES = [(1, 1), (5, 3), (96, 96), (97, 95), (1000, 513)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("block", [1, 7, 64, 10**6])
def test_every_cell_is_the_largest_of_what_falls_into_it(size, block):
    ratio = np.random.default_rng(0).random(size)
    heat = HeatMap.empty(*size)
    for t in range(0, size[0], block):
        heat.include(t, ratio[t : t + block])
    rows, columns = heat.ratio.shape
    assert (rows, columns) == tuple(min(n, MOST_CELLS) for n in size)
    assert (heat.timesteps[0], heat.timesteps[-1]) == (0, size[0])
    assert (heat.units[0], heat.units[-1]) == (0, size[1])
    for i in range(rows):
        for j in range(0, columns, 7):
            t = slice(heat.timesteps[i], heat.timesteps[i + 1])
            u = slice(heat.units[j], heat.units[j + 1])
            assert heat.ratio[i, j] == ratio[t, u].max()


@pytest.mark.parametrize("bad", [1.001, np.inf, np.nan])
@pytest.mark.parametrize(("t", "unit"), [(0, 0), (123_456, 77), (199_999, 511)])
def test_one_bad_number_among_a_hundred_million_is_seen(t, unit, bad):
    heat = HeatMap.empty(200_000, 512)
    block = np.full((1000, 512), 0.25, np.float32)
    for first in range(0, 200_000, 1000):
        heat.include(first, block)
    block[t % 1000, unit] = bad
    heat.include(t - t % 1000, block)
    ((i, j),) = np.argwhere(~(heat.ratio <= 1))
    assert heat.timesteps[i] <= t < heat.timesteps[i + 1]
    assert heat.units[j] <= unit < heat.units[j + 1]
    np.testing.assert_equal(heat.ratio[i, j], np.float32(bad))


def test_what_is_no_number_stays_so_whatever_comes_after():
    heat = HeatMap.empty(300, 2)
    heat.include(0, np.array([[np.nan, np.inf]]))
    heat.include(1, np.ones((299, 2)))
    assert np.isnan(heat.ratio[0, 0])
    assert heat.ratio[0, 1] == np.inf
    assert np.isnan(heat.beside(HeatMap.empty(300, 2)).ratio[0, 0])


def compared(change=0.0, size=(3, 120, 5, 4)):
    batch, timesteps, features, units = size
    rng = np.random.default_rng(1)
    weights = random_weights(rng, features, units)
    x = rng.normal(size=(batch, timesteps, features)).astype(np.float32)
    y = loop(weights, x)
    y[2, 77, 3] += change
    return rp.compare(rp.SimpleRNN(**weights), x, y)


@pytest.mark.parametrize("block", [5, 1000])
def test_a_check_has_one(block, monkeypatch):
    in_blocks_of(monkeypatch, block)
    check = compared(0.5).checks[0]
    heat = check.heat_map
    ratios = np.array([row.max_ratio for row in check.timesteps])
    assert heat.ratio.max() == check.max_ratio == ratios.max()
    first = check.first_divergence
    i = np.searchsorted(heat.timesteps, first.timestep, "right") - 1
    assert (first.timestep, first.unit) == (77, 3)
    assert heat.ratio[i, 3] > 1
    assert check.timesteps[77].bound == pytest.approx(first.bound)
    assert compared().checks[0].heat_map.ratio.max() <= 1


def test_where_no_sequence_was_compared_there_is_none():
    layer = rp.SimpleRNN([[0.5]], [[0.25]], [0.1])
    x = np.ones((2, 3, 1))
    last = rp.replay(layer, x).outputs[:, -1]
    assert rp.compare(layer, x, last).checks[0].heat_map is None


def test_it_is_pickled_copied_and_not_written():
    report = compared(0.5)
    for other in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report)):
        assert np.array_equal(other.checks[0].heat_map.ratio, report.checks[0].heat_map.ratio)
        assert other.to_json() == report.to_json()
    entry = json.loads(report.to_json())["checks"][0]
    assert "heat_map" not in entry
    assert entry["timesteps"][77]["bound"] > 0
    assert repr(report.checks[0].heat_map) == "HeatMap(96 x 4)"
