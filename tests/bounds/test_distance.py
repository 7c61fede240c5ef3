"""How far two numbers are apart: absolutely, in ULPs, and against a bound."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_parity.bounds.arithmetic import Arithmetic
from rnn_parity.bounds.balls import Ball
from rnn_parity.bounds.distance import distance, ratios, ulps
from rnn_parity.recurrence.precision import FLOAT32, FORMATS

SINGLE = Arithmetic(FLOAT32, FLOAT32)

pytestmark = pytest.mark.filterwarnings("error")
nan, inf = math.nan, math.inf


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1.0, 1.5, 0.5),
        (-1.0, 1.0, 2.0),
        (0.0, -0.0, 0.0),
        (inf, inf, 0.0),
        (-inf, -inf, 0.0),
        (nan, nan, 0.0),
        (inf, -inf, inf),
        (inf, 1e308, inf),
        (nan, 1.0, inf),
        (1.0, nan, inf),
        (nan, inf, inf),
        (inf, nan, inf),
        (1e308, -1e308, inf),
    ],
)
def test_distance(a, b, expected):
    assert distance(np.array([a, 1.0]), np.array([b, 1.0])).tolist() == [expected, 0.0]
    assert distance(np.array([b]), np.array([a])).tolist() == [expected]


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_neighbours_are_one_ulp_apart(name, data):
    info = np.finfo(name)
    top = float(info.max) / 4  # of the largest numbers NumPy does not know the spacing
    x = data.draw(st.floats(-top, top, width=info.bits))
    # Below the normal numbers the spacing is that of the smallest of them.
    size = max(np.dtype(name).type(abs(x)), info.smallest_normal)
    spacing = np.array([np.spacing(size)], np.float64)
    assert ulps(spacing, np.array([x]), FORMATS[name]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "distance_", "x", "expected"),
    [
        ("float32", 2.0**-23, 1.0, 1.0),
        ("float32", 2.0**-23, 1.999, 1.0),
        ("float32", 2.0**-24, 0.999, 1.0),
        ("float32", 3 * 2.0**-22, -2.5, 3.0),
        ("float32", 2.0**-149, 0.0, 1.0),
        ("float32", 0.0, 0.0, 0.0),
        ("bfloat16", 2.0**-7, 1.0, 1.0),
        ("float16", 2.0**-24, 2.0**-20, 1.0),
        ("float64", 2.0**-52, 1.0, 1.0),
        ("float64", 2.0**-52, 1e-30, 2.0**-52 / 2.0**-152),
        ("float32", 0.0, inf, 0.0),
        ("float32", 0.0, nan, 0.0),
        ("float32", 1.0, 1e300, 2.0**-973),
    ],
)
def test_ulps_by_hand(name, distance_, x, expected):
    assert ulps(np.array([distance_]), np.array([x]), FORMATS[name]).tolist() == [expected]


@pytest.mark.parametrize(("d", "x"), [(inf, 1.0), (10.0, 0.0), (1e300, 0.0), (inf, inf)])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_ulps_of_the_absurd_are_no_small_number(name, d, x):
    found = float(ulps(np.array([d]), np.array([x]), FORMATS[name])[0])
    assert not found < 2.0**63


def test_ulps_leave_their_arguments_alone():
    d, x = np.array([2.0, 4.0]), np.array([1.0, 3.0])
    ulps(d, x, FORMATS["float32"])
    assert (d.tolist(), x.tolist()) == ([2.0, 4.0], [1.0, 3.0])


def test_ratios_by_hand():
    ball = Ball(np.array([1.0, 2.0, 3.0, inf, nan]), np.float32([0.5, 0.25, inf, 0.0, 0.0]), SINGLE)
    assert ratios(np.float32([0.25, 1.0, 7.0, 0.0, 0.0]), ball).tolist() == [0.5, 4.0, 0, 0, 0]
    assert ratios(np.float32([0, 0, 0, inf, inf]), ball).tolist() == [0, 0, 0, inf, inf]


def test_nothing_off_a_bound_of_nothing_is_a_ratio_of_nothing():
    ball = Ball(np.array([1.0, 2.0, 3.0]), np.float32([0.0, 0.0, 0.5]), SINGLE)
    assert ratios(np.float32([0.0, 0.25, 0.25]), ball).tolist() == [0, inf, 0.5]


def test_ratios_of_the_absurd_are_large():
    ball = Ball(np.array([0.0]), np.float32([1e-37]), SINGLE)
    assert ratios(np.float32([10.0]), ball)[0] > 1e30
    assert ratios(np.float32([inf]), ball)[0] == inf
