"""Floating-point formats: unit roundoff, range, and rounding to them. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from rnn_parity.errors import InputError


@dataclass(frozen=True)
class Precision:
    """A binary format with `digits` significant bits and normal exponents from 2**min_exponent."""

    name: str
    digits: int
    min_exponent: int
    max_exponent: int

    @property
    def unit_roundoff(self) -> float:
        """Half the distance from 1 to the next number: 2**-24 for float32."""
        return 2.0**-self.digits

    @property
    def smallest_normal(self) -> float:
        """eta: below it an implementation may flush to zero."""
        return 2.0**self.min_exponent

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return (2.0 - 2.0 ** (1 - self.digits)) * 2.0**self.max_exponent

    def round(self, value: ArrayLike, name: str = "array") -> NDArray[np.float64]:
        """`value` rounded to this format (to nearest, ties to even), as a new float64 array.

        Raises `InputError` when `value` does not hold real numbers; `name` is what it is called.
        """
        return round_to(real(value, name), self)


FORMATS = {
    p.name: p
    for p in (
        Precision("float64", 53, -1022, 1023),
        Precision("float32", 24, -126, 127),
        Precision("tfloat32", 11, -126, 127),
        Precision("float16", 11, -14, 15),
        Precision("bfloat16", 8, -126, 127),
    )
}
FLOAT64, FLOAT32 = FORMATS["float64"], FORMATS["float32"]
LAYER_DTYPES = ("float16", "bfloat16", "float32", "float64")


def precision_of(dtype: DTypeLike | str) -> Precision:
    """The format of a compute dtype, by name or NumPy dtype; integers count as float32."""
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if not isinstance(dtype, str) and np.dtype(dtype).kind in "iub":
        name = "float32"
    if name not in LAYER_DTYPES:
        raise InputError(f"dtype: expected one of {', '.join(LAYER_DTYPES)}, received {name!r}")
    return FORMATS[name]


def real(value: ArrayLike, name: str) -> NDArray[Any]:
    """`value` as an array of real numbers (bfloat16 included); `InputError` for anything else.

    What NumPy masks is refused: to drop that mask would compare what was meant to be left out.
    """
    if value is None:
        raise InputError(f"{name}: expected an array, received None")
    refuse_masked(value, name)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, NotImplementedError):  # as tensors without numbers raise them
        uneven = isinstance(value, (list, tuple))
        what = "rows of unequal length" if uneven else f"a {type(value).__name__} without numbers"
        raise InputError(f"{name}: expected an array, received {what}") from None
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise InputError(f"{name}: expected real numbers, received dtype {array.dtype}")
    return array


def refuse_masked(value: Any, name: str) -> None:
    """Raise `InputError` for an array, or one of several, in which NumPy masks numbers."""
    parts = [*value.values()] if isinstance(value, dict) else value
    for one in parts if isinstance(parts, (list, tuple)) else [value]:
        if isinstance(one, np.ma.MaskedArray) and np.ma.is_masked(one):
            raise InputError(
                f"{name}: expected an array without masked numbers, received a "
                "numpy.ma.MaskedArray: pass its .data, and timesteps that do not count as mask= "
                "(batch, timesteps)"
            )


def weight(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], precision: Precision
) -> NDArray[np.float64]:
    """`value` in float64, rounded to `precision`; None in `shape` stands for any size >= 1."""
    array = real(value, name)
    wanted = str(shape).replace("None", "any")
    fits = array.ndim == len(shape) and all(
        size >= 1 and n in (None, size) for size, n in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise InputError(f"{name}: expected shape {wanted}, received {array.shape}")
    # The order in which BLAS multiplies a few rows by a matrix fastest.
    return np.asfortranarray(precision.round(array, name))


@np.errstate(all="ignore")
def round_to(x: NDArray[Any], precision: Precision) -> NDArray[np.float64]:
    """`x` rounded to `precision`, to nearest, ties to even, with subnormals and overflow."""
    if precision.name in ("float64", "float32", "float16"):
        return x.astype(precision.name).astype(np.float64)
    x = x.astype(np.float64)
    _, exponent = np.frexp(x)
    # One unit in the last place, which below the normal range no longer shrinks.
    ulp = np.ldexp(1.0, np.maximum(exponent - 1, precision.min_exponent) - precision.digits + 1)
    rounded: NDArray[np.float64] = np.where(np.isfinite(x), np.rint(x / ulp) * ulp, x)
    return np.where(np.abs(rounded) > precision.largest, np.copysign(np.inf, x), rounded)
