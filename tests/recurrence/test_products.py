"""The products of a layer, with and without dropout masks, by hand."""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.bounds.magnitudes import BoundedProduct
from rnn_parity.recurrence.precision import FORMATS
from rnn_parity.recurrence.products import Product, operand, panels

pytestmark = pytest.mark.filterwarnings("error")
# A GRU of one unit: the gates z, r and h are columns 0, 1 and 2.
KERNEL = np.array([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]])
LAYER = rp.GRU(KERNEL, [[1.0, 2.0, 3.0]], None, dtype="float32", reset_after=False)
ROWS = np.array([[[3.0, 4.0], [5.0, 6.0]]])  # one timestep of two samples
# For each gate, the features that a sample keeps.
MASKS = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[2, 0], [0, 2]]], float)


def test_operands_are_rounded_where_the_layer_rounds_them():
    """bfloat16 has 1 + 2^-7, but not 1 + 2^-9."""
    numbers = np.array([[[1 + 2.0**-9, 1 + 2.0**-7]]])
    assert operand(LAYER, numbers) is numbers
    rounding = LAYER.changed(operands=FORMATS["bfloat16"])
    assert operand(rounding, numbers).tolist() == [[[1, 1 + 2.0**-7]]]
    found = Product(rounding, KERNEL)(numbers, slice(0, 1))
    assert found.tolist() == [[[1 + 2 * (1 + 2.0**-7)]]]
    # The product with a mask is what is rounded: 3/4 (1 + 2^-7) lies halfway, and goes up to 194.
    masks = np.full((3, 1, 2), 0.75)
    assert Product(rounding, KERNEL, masks)(numbers, slice(0, 1)).tolist() == [
        [[0.75 + 2 * 194 / 256]]
    ]


def test_products_of_some_columns():
    assert Product(LAYER, KERNEL)(ROWS, slice(1, 3)).tolist() == [[[110, 1100], [170, 1700]]]
    masked = Product(LAYER, KERNEL, MASKS)
    assert masked(ROWS, slice(0, 3)).tolist() == [[[3, 80, 600], [12, 50, 2400]]]
    assert masked(ROWS, slice(1, 2)).tolist() == [[[80], [50]]]
    assert masked.gates(slice(1, 3)) == [(1, slice(1, 2)), (2, slice(2, 3))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_magnitudes_of_some_columns(dtype):
    """Upper bounds of |a| |M| in the dtype of a, at most some roundings above."""
    rows = ROWS.astype(dtype)
    plain = BoundedProduct(LAYER, -KERNEL, None, [(0, 2), (2, 3)], dtype)
    for columns, expected in (
        (slice(0, 2), [[11, 110], [17, 170]]),
        (slice(2, 3), [[1100], [1700]]),
    ):
        found = plain.magnitude(rows, columns)
        assert found.dtype == dtype
        assert found[0] == pytest.approx(np.array(expected), rel=1e-5)
    masked = BoundedProduct(LAYER, -KERNEL, MASKS, [(0, 3)], dtype)
    found = masked.magnitude(rows, slice(0, 3))
    assert found.dtype == dtype
    assert found[0] == pytest.approx(np.array([[3, 80, 600], [12, 50, 2400]]), rel=1e-5)
    assert masked.magnitude(rows, slice(2, 3))[0] == pytest.approx(
        np.array([[600], [2400]]), rel=1e-5
    )


def test_panels_of_a_matrix():
    """32 columns each, which begin with a line of the cache, for few rows by a large matrix."""
    matrix = np.arange(512.0 * 96).reshape(512, 96)
    assert panels(matrix, 20) is None  # 983,040 multiplications
    found = panels(matrix, 21)
    assert found.shape == (3, 512, 32)
    assert found.ctypes.data % 64 == 0
    for i, panel in enumerate(found):
        assert panel[0, 0] == 32 * i
        assert panel[511, 31] == 511 * 96 + 32 * i + 31
    assert panels(matrix, 32) is not None
    assert panels(matrix, 33) is None
    deep = np.zeros((1024, 64))
    assert panels(deep, 16) is not None
    assert panels(deep, 17) is None
    assert panels(np.zeros((512, 100)), 21) is None
