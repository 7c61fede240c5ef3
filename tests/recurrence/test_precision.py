"""Rounding to a format, against NumPy, ml_dtypes, exact fractions and literals typed by hand."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from helpers import nearest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_parity.errors import InputError
from rnn_parity.recurrence.precision import (
    FORMATS,
    LAYER_DTYPES,
    precision_of,
    refuse_masked,
    weight,
)

pytestmark = pytest.mark.filterwarnings("error")

# significant bits, exponent of the smallest normal and of the largest number: IEEE 754 and the
# vendors' descriptions of bfloat16 and TF32
SHAPES = {
    "float64": (53, -1022, 1023),
    "float32": (24, -126, 127),
    "tfloat32": (11, -126, 127),
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
}


def one(precision, x):
    return float(FORMATS[precision].round(x))


@pytest.mark.parametrize("name", LAYER_DTYPES)
def test_the_numbers_of_a_format_are_those_of_its_dtype(name):
    info = ml_dtypes.finfo(name) if name == "bfloat16" else np.finfo(name)
    p = FORMATS[name]
    assert p.unit_roundoff == float(info.eps) / 2
    assert p.smallest_normal == float(info.smallest_normal)
    assert p.largest == float(info.max)


@pytest.mark.parametrize("name", ["float16", "float32"])
@settings(max_examples=200, deadline=None)
@given(x=st.floats())
def test_rounding_is_numpys(name, x):
    with np.errstate(over="ignore"):
        expected = np.float64(x).astype(name)
    np.testing.assert_array_equal(FORMATS[name].round(x), np.float64(expected))


@settings(max_examples=200, deadline=None)
@given(x=st.floats(width=32))
def test_rounding_to_bfloat16_is_that_of_ml_dtypes(x):
    expected = np.float32(x).astype(ml_dtypes.bfloat16).astype(np.float64)
    np.testing.assert_array_equal(FORMATS["bfloat16"].round(x), expected)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=200, deadline=None)
@given(x=st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_is_to_nearest_even(name, x):
    digits, smallest, largest = SHAPES[name]
    expected = nearest(Fraction(x), digits, smallest)
    if abs(expected) >= Fraction(2) ** (largest + 1):
        expected = math.copysign(math.inf, x)
    assert one(name, x) == expected


@pytest.mark.parametrize("name", SHAPES)
@given(x=st.floats(allow_nan=False))
def test_rounding_twice_is_rounding_once(name, x):
    assert one(name, one(name, x)) == one(name, x)


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("tfloat32", 1 + 2**-11, 1.0),  # half way: to even
        ("tfloat32", 1 + 3 * 2**-11, 1 + 2**-9),  # half way: to even, upwards
        ("tfloat32", 1 + 2**-11 + 2**-40, 1 + 2**-10),
        ("tfloat32", 3.14159274, 3.140625),
        ("tfloat32", 2**-136 * 1.25, 2**-136),  # the smallest subnormal
        ("tfloat32", 2**-137, 0.0),
        ("tfloat32", 3.4e38, 3.4e38 - 3.4e38 % 2.0**117),
        ("tfloat32", 2.0**128 - 2.0**116, math.inf),  # half way between the largest and 2**128
        ("bfloat16", 3.14159274, 3.140625),
        ("bfloat16", 1 + 2**-8, 1.0),
        ("bfloat16", 1 + 3 * 2**-8, 1 + 2**-6),
        ("bfloat16", 1 + 2**-8 + 2**-50, 1 + 2**-7),  # rounding to float32 first would lose it
        ("bfloat16", 1e39, math.inf),
        ("bfloat16", -3.4e38, -math.inf),
        ("bfloat16", 2**-133, 2**-133),
        ("bfloat16", 2**-134, 0.0),
        ("float16", 65519.99, 65504.0),
        ("float16", 65520.0, math.inf),
        ("float16", 2**-25, 0.0),
        ("float16", 3 * 2**-25, 2**-23),
        ("float32", 0.1, 0.100000001490116119384765625),
    ],
)
def test_rounding_by_hand(name, x, expected):
    assert one(name, x) == expected
    assert one(name, -x) == -expected


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_not_a_number_stays_so(name):
    rounded = FORMATS[name].round([math.nan, math.inf, -math.inf, -0.0, 0.0])
    np.testing.assert_array_equal(rounded, [math.nan, math.inf, -math.inf, -0.0, 0.0])
    assert list(np.signbit(rounded[3:])) == [True, False]


def test_rounding_returns_a_new_float64_array():
    x = np.array([1.0, 2.0])
    rounded = FORMATS["float64"].round(x)
    rounded[0] = 7
    assert x[0] == 1.0
    assert FORMATS["bfloat16"].round(np.float32([1, 2])).dtype == np.float64


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool", "float16", "float64"])
def test_every_real_dtype_is_rounded(kind):
    assert list(FORMATS["bfloat16"].round(np.array([0, 1], kind))) == [0.0, 1.0]


def test_bfloat16_arrays_are_real_numbers():
    x = np.array([0.1], ml_dtypes.bfloat16)
    assert FORMATS["float32"].round(x) == [0.10009765625]


@pytest.mark.parametrize("value", [["a"], [1j], [None], [object()]])
def test_other_things_are_refused(value):
    with pytest.raises(InputError, match=r"^inputs: expected real numbers, received dtype \S+$"):
        FORMATS["float32"].round(value, "inputs")


def test_what_numpy_masks_is_refused():
    """To drop that mask would compare what was meant to be left out."""
    masked = np.ma.masked_greater(np.arange(3.0), 1)
    words = (
        r"^inputs: [^\n]*received a numpy.ma.MaskedArray: pass its .data, and [^\n]*mask=[^\n]*$"
    )
    for refuse in (FORMATS["float32"].round, lambda a, n: weight(n, a, (3,), FORMATS["float32"])):
        with pytest.raises(InputError, match=words):
            refuse(masked, "inputs")
    for several in ({"a": np.ones(2), "b": masked}, [masked], (np.ones(2), masked)):
        with pytest.raises(InputError, match=words):
            refuse_masked(several, "inputs")
    assert FORMATS["float32"].round(np.ma.array([1.0, 2.0]), "inputs").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (np.float16, "float16"),
        (np.dtype("float32"), "float32"),
        ("bfloat16", "bfloat16"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (np.int64, "float32"),
        (np.bool_, "float32"),
        ("float64", "float64"),
    ],
)
def test_the_precision_of_a_dtype(dtype, name):
    assert precision_of(dtype) == FORMATS[name]


@pytest.mark.parametrize("dtype", ["float8", "int8", "tfloat32", "complex64"])
def test_the_dtype_of_no_layer_is_refused(dtype):
    expected = rf"^dtype: expected one of float16, .*float64, received '{dtype}'$"
    with pytest.raises(InputError, match=expected):
        precision_of(dtype)
