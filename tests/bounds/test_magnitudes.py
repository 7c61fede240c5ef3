"""Upper bounds of sums of absolute products: by hand, and never below what fractions say."""

from fractions import Fraction

import numpy as np
import pytest

from rnn_parity.bounds.magnitudes import Magnitudes, gamma, in_range, narrow, norms, rows_by

pytestmark = pytest.mark.filterwarnings("error")
DTYPES = [np.float32, np.float64]


def test_gamma_by_hand():
    assert gamma(1, 0.25) == 0.25 / 0.75
    assert gamma(3, 0.125) == 0.375 / 0.625
    assert gamma(4, 0.25) == gamma(5, 0.25) == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_by_hand(dtype):
    """Of 5 or 8 columns, k goes with k + 2, k + 4 and k + 6, as far as there are any."""
    for columns, expected in (
        ([3, 4], [5]),
        ([3, 1, 4, 1, 12], [13, np.sqrt(2)]),
        ([1, 2, 1, 4, 1, 5, 1, 2], [2, 7]),
        ([2], [2]),
    ):
        found = norms(np.array([[columns]], dtype))
        assert (found.shape, found.dtype) == ((1, 1, len(expected)), dtype)
        assert found[0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_squares_below_the_normal_range_are_covered(dtype):
    tiny = float(np.finfo(dtype).tiny)
    (found,) = norms(np.zeros((1, 4), dtype))[0] / np.sqrt(tiny)
    assert found == pytest.approx(np.sqrt(8))


def sixteenth(rows, columns=1, size=1.0):
    """A matrix whose first 16 rows are `size`, and the others zeros."""
    matrix = np.zeros((rows, columns))
    matrix[:16] = size
    return matrix


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("matrix", "size", "expected"),
    [
        (sixteenth(63), 1.0, 16),
        # In groups of four from 64 rows on: 16 times a norm of 2 by a norm of 1.
        (sixteenth(64), 1.0, 32),
        (sixteenth(64), 1e-3, 0.032),
        (-sixteenth(64), 1.0, 32),
        # Not where float32 cannot hold the squares of one of them.
        (sixteenth(64), 1e-10, 16e-10),
        (sixteenth(64), 1e16, 16e16),
        (sixteenth(64, size=1e-10), 1.0, 16e-10),
        (sixteenth(64, size=1e16), 1.0, 16e16),
    ],
)
def test_bounds_by_hand(dtype, matrix, size, expected):
    found = Magnitudes(dtype, matrix)(np.full((2, 3, len(matrix)), size, dtype))
    assert (found.shape, found.dtype) == ((2, 3, 1), dtype)
    assert found == pytest.approx(np.full((2, 3, 1), expected), rel=3e-5)


def test_each_column_must_be_in_range():
    ones = np.ones((1, 64), np.float32)
    matrix = sixteenth(64, columns=2) * [1, 1e-12]
    assert Magnitudes(np.float32, matrix)(ones)[0] == pytest.approx([16, 16e-12], rel=3e-5)
    matrix = sixteenth(64, columns=2) * [1, 0]  # where zeros are no hindrance
    assert Magnitudes(np.float32, matrix)(ones)[0, 0] == pytest.approx(32, rel=3e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 63, 64, 66, 130])
def test_no_bound_is_below_the_exact_sum(dtype, rows):
    rng = np.random.default_rng(rows)
    a = rng.uniform(0, 1, (20, rows)).astype(dtype)
    matrix = rng.normal(size=(rows, 2))
    found = Magnitudes(dtype, matrix)(a)
    for row, bound in zip(a, found, strict=True):
        for column, value in zip(matrix.T, bound, strict=True):
            exact = sum(
                Fraction(float(p)) * abs(Fraction(q)) for p, q in zip(row, column, strict=True)
            )
            assert Fraction(float(value)) >= exact
    # Equal entries leave no room between the two sides of Cauchy and Schwarz.
    thirds = np.full((1, rows), 1 / 3, dtype)
    (value,) = Magnitudes(dtype, np.full((rows, 1), -0.7))(thirds)[0]
    assert Fraction(float(value)) >= rows * Fraction(float(thirds[0, 0])) * Fraction(0.7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_entries_are_rounded_up_for_so_many_roundings(dtype):
    """As many as the matrix has rows, and 12 more."""
    eps = float(np.finfo(dtype).eps)
    found = Magnitudes(dtype, np.array([[1.0], [-2.0]])).absolute
    assert found.dtype == dtype
    assert found[:, 0].tolist() == pytest.approx([1 + 14 * eps, 2 + 28 * eps], rel=0, abs=eps / 2)


def test_the_range_of_squares():
    assert in_range(np.array([1e-8, 1.0, 1e14]))
    for outside in (0.0, 1e-9, 1e15, np.inf, np.nan):  # the ends are outside
        assert not in_range(np.array([1.0, outside]))
        assert not in_range(outside)


def test_rows_by_a_matrix():
    rows = np.arange(12.0).reshape(2, 2, 3)
    matrix = np.array([[1.0, 0, 2], [0, 1, 0], [10, 0, 0]])[:, :2]
    assert rows_by(rows, matrix).tolist() == [[[20, 1], [53, 4]], [[86, 7], [119, 10]]]


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_sizes_in_the_dtype_of_radii(wrong):
    with np.errstate(over="ignore"):
        found = narrow(np.array([-2.0, 1e39, wrong, 0.5]), np.float32)
        assert narrow(np.array([-2.0, wrong]), np.float32).tolist() == [2, 0]
    assert found.tolist() == [2, np.inf, 0, 0.5]
    assert found.dtype == np.float32
    assert narrow(np.array([-2.0, 3.0]), np.float64).tolist() == [2, 3]
