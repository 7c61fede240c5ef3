"""Mistakes of the numbers themselves: rounded, narrower than they should be, or simply others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnn_parity.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.implied import rows, stacked, told, total_rows, unstacked
from rnn_parity.layers import Array, Layer
from rnn_parity.leastsquares import pursued
from rnn_parity.precision import FORMATS, LAYER_DTYPES, Precision

DECIMALS = range(1, 9)
PRINTED = 4
"""The decimals of a check's own test whether it would see rounded weights."""
NARROW = ("tfloat32", "float16", "bfloat16")
FEW = 8
"""So many entries at most are single differences; more of them are another mistake."""


def narrower(layer: Layer) -> list[Precision]:
    """The formats with fewer digits than the layer's own."""
    return [FORMATS[name] for name in NARROW if FORMATS[name].digits < layer.precision.digits]


def rounded(c: Computation, f: Callable[[Array], Array], detail: str) -> Computation:
    """Every weight through f, and read in the layer's own precision again."""
    layer, own = c.layer, c.layer.precision.round
    return c.layer_but(
        detail,
        kernel=own(f(layer.kernel)),
        recurrent_kernel=own(f(layer.recurrent_kernel)),
        bias=None if layer.bias is None else own(f(layer.bias)),
    )


def printed(c: Computation, k: int) -> Computation:
    return rounded(c, lambda w: np.round(w, k), f"all weights are rounded to {k} decimals")


def printed_weights(c: Computation) -> Variants:
    yield printed(c, PRINTED)


def rounded_weights(c: Computation, outputs: Outputs | None = None) -> Variants:
    for p in narrower(c.layer):
        yield rounded(c, p.round, f"all weights are rounded to {p.name}")
    for k in DECIMALS:
        yield printed(c, k)


def narrow_products(c: Computation) -> Variants:
    for p in narrower(c.layer):
        yield c.layer_but(
            f"matrix products take their operands in {p.name}",
            kernel=p.round(c.layer.kernel),
            recurrent_kernel=p.round(c.layer.recurrent_kernel),
            operands=p,
        )


def narrow_arithmetic(c: Computation, outputs: Outputs) -> Variants:
    """Also everything in a narrower dtype, where every observed number is one of its numbers."""
    yield from narrow_products(c)
    some = outputs[:8, :32].astype(np.float64)
    for p in narrower(c.layer):
        if p.name in LAYER_DTYPES and uses_all_digits(some, p):
            narrow = rounded(c, p.round, f"everything is computed in {p.name}")
            state = p.round(c.sequences.initial_state)
            yield narrow.layer_but(narrow.detail, precision=p).sequences_but(
                narrow.detail, initial_state=state
            )


@np.errstate(all="ignore")
def uses_all_digits(x: Array, p: Precision) -> bool:
    """Whether x is made of numbers of that format, and not only of some, as fixed point is."""
    if not np.array_equal(p.round(x), x, equal_nan=True):
        return False
    significand = np.ldexp(np.frexp(x[np.isfinite(x) & (x != 0)])[0], p.digits)
    # Limits such as 1 stand there often and have one bit in any format.
    telling = np.abs(significand) != 2.0 ** (p.digits - 1)
    return bool(np.count_nonzero(significand[telling] % 2) > np.count_nonzero(telling) / 4)


def larger_weight(c: Computation) -> Variants:
    kernel = c.layer.kernel.copy()
    k, j = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    kernel[k, j] *= 1.01
    yield c.layer_but(f"kernel[{k}, {j}] is 1% larger", kernel=kernel)


@np.errstate(all="ignore")
def other_weights(c: Computation, outputs: Outputs) -> Variants:
    """The layer with the few other entries that the outputs imply, where a few suffice."""
    layer = c.layer
    found = total_rows(layer, c.sequences, outputs) or rows(layer, c.sequences, outputs)
    weights = stacked(layer)
    changed: dict[tuple[int, int], float] = {}
    magnitudes = np.abs(found.design) @ np.abs(weights)
    # What the sum of so many terms may be off, about; whether it is enough is judged exactly.
    unit = (len(weights) + 8) * layer.precision.unit_roundoff
    for j in range(layer.units):
        slope = found.slope[:, j]
        tolerance = unit * (np.abs(slope) * magnitudes[:, j] + 1)
        most = min(FEW - len(changed), np.count_nonzero(slope) // 5)
        some = pursued(found.design * slope[:, np.newaxis], found.residual[:, j], tolerance, most)
        if some is None:
            return
        changed.update({(k, j): weights[k, j] + d for k, d in zip(*some, strict=True)})
    detail = "; ".join(told(layer, k, j, value) for (k, j), value in changed.items())
    for place, value in changed.items():
        weights[place] = value
    if changed:
        yield c.but(detail, layer=unstacked(layer, weights))


FAULTS = (
    Fault(
        "weights-rounded",
        "the weights were rounded: printed with few decimals, or kept in a narrower format",
        printed_weights,
        candidates=rounded_weights,
    ),
    Fault(
        "lower-precision",
        "the arithmetic is narrower than the layer's",
        narrow_products,
        candidates=narrow_arithmetic,
    ),
    Fault(
        "weights-differ",
        "some weights have other values",
        larger_weight,
        candidates=other_weights,
        alone=True,
        general=True,
    ),
)
