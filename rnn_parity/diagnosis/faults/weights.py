"""Mistakes of the weights: left out, transposed, rounded, narrower than they are, or others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnn_parity.diagnosis.equations import changed_at, has_equations, stacked, value, where
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants
from rnn_parity.diagnosis.implied_weights import rows, total_rows
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.precision import FORMATS, LAYER_DTYPES, Precision
from rnn_parity.verdict.sentences import other_value

DECIMALS = range(1, 9)
"""Decimals that weights may have been printed with. Chosen: more are within float32's rounding."""
PRINTED = 4
"""Decimals by which a check tries whether it would see rounded weights: PyTorch prints so many."""
NARROW = ("tfloat32", "float16", "bfloat16")
"""The formats that weights and products may have been rounded to, widest first."""
FEW = 8
"""Most entries, and units, that count as single differences. Chosen: more are another mistake."""
ROUNDS = 16
"""Times at most that the equations of single differences are set up. Chosen: twice `FEW`."""


def bias_dropped(c: Computation) -> Variants:
    """Without any bias; of several rows, also without that of the inputs alone."""
    bias = c.layer.bias
    if bias is None:
        return
    yield c.layer_but(bias=None)
    if bias.ndim == 2 and bias[0].any() and bias[1:].any():
        yield c.layer_but("that of the inputs", bias=np.stack([0 * bias[0], *bias[1:]]))


def bias_doubled(c: Computation) -> Variants:
    if c.layer.bias is not None:
        yield c.layer_but(bias=2 * c.layer.bias)


def zero_bias(c: Computation) -> str | None:
    return None if c.layer.bias is None or c.layer.bias.any() else "the bias is all zeros"


def transposed(layer: Cell, weights: Array) -> Array:
    """Each gate's square block, transposed."""
    gates = np.split(weights, len(layer.GATES), axis=1)
    return np.concatenate([gate.T for gate in gates], axis=1)


def misread(weights: Array) -> Array:
    """The numbers of the transposed matrix, read as if they were those of the matrix itself."""
    read: Array = weights.T.reshape(weights.shape)
    return read


MISREAD = "its numbers stand in memory as those of the transposed matrix"


def kernel_transposed(c: Computation) -> Variants:
    if c.layer.features == c.layer.units > 1:
        yield c.layer_but(kernel=transposed(c.layer, c.layer.kernel))


def kernel_misread(c: Computation, outputs: Outputs) -> Variants:
    yield from kernel_transposed(c)
    if len(c.layer.GATES) > 1 or c.layer.features != c.layer.units:
        yield c.layer_but(MISREAD, kernel=misread(c.layer.kernel))


def symmetric_kernel(c: Computation) -> str | None:
    square = c.layer.features == c.layer.units
    symmetric = square and np.array_equal(c.layer.kernel, transposed(c.layer, c.layer.kernel))
    return "the kernel is symmetric" if symmetric else None


def recurrent_kernel_transposed(c: Computation) -> Variants:
    if c.layer.units > 1:
        yield c.layer_but(recurrent_kernel=transposed(c.layer, c.layer.recurrent_kernel))


def recurrent_kernel_misread(c: Computation, outputs: Outputs) -> Variants:
    yield from recurrent_kernel_transposed(c)
    if len(c.layer.GATES) > 1:
        yield c.layer_but(MISREAD, recurrent_kernel=misread(c.layer.recurrent_kernel))


def unused_recurrent_kernel(c: Computation) -> str | None:
    if c.single_step:
        return "one timestep: the recurrent kernel is never used"
    w = c.layer.recurrent_kernel
    return (
        "the recurrent kernel is symmetric" if np.array_equal(w, transposed(c.layer, w)) else None
    )


def narrower(layer: Cell) -> list[Precision]:
    """The formats with fewer digits than the layer's own."""
    return [FORMATS[name] for name in NARROW if FORMATS[name].digits < layer.precision.digits]


def rounded(c: Computation, f: Callable[[Array], Array], detail: str) -> Computation:
    """Every weight through f, and read in the layer's own precision again."""
    layer, own = c.layer, c.layer.precision.round
    names = ("kernel", "recurrent_kernel", "bias", *(name for name, _ in layer.VECTORS.values()))
    arrays = {name: getattr(layer, name) for name in names}
    found = {name: None if array is None else own(f(array)) for name, array in arrays.items()}
    return c.layer_but(detail, **found)


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
    """Narrow products; or all of it in a narrower dtype, where all observed numbers have that."""
    yield from narrow_products(c)
    some = outputs[:8, :32].astype(np.float64)
    for p in narrower(c.layer):
        if p.name in LAYER_DTYPES and uses_all_digits(some, p):
            narrow = rounded(c, p.round, f"everything is computed in {p.name}")
            state = p.round(c.sequences.initial_state)
            yield narrow.layer_but(precision=p).sequences_but(narrow.detail, initial_state=state)


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


def other_weights(c: Computation, outputs: Outputs) -> Variants:
    """The layer with the few other entries that the outputs imply, where a few suffice."""
    entries = implied_entries(c, outputs) if has_equations(c.layer) else {}
    if entries:
        layer = changed_at(c.layer, entries)
        told = [
            other_value(*where(c.layer, *at), value(c.layer, *at), new)
            for at, new in entries.items()
        ]
        yield c.but("; ".join(told), layer=layer)


@np.errstate(all="ignore")
def implied_entries(c: Computation, outputs: Outputs) -> dict[tuple[int, int], float]:
    """The other weights by their places in `stacked`; none where more than a few would be needed.

    Each round sets up the equations of the layer that the one before has found.
    """
    layer, entries = c.layer, dict[tuple[int, int], float]()
    before = np.zeros(layer.units)
    # What the sum of so many terms may be off, about; whether it is enough is judged exactly.
    unit = (layer.features + layer.units + 9) * layer.precision.unit_roundoff
    for _ in range(ROUNDS):
        found = total_rows(layer, c.sequences, outputs) or rows(layer, c.sequences, outputs)
        residual = np.abs(found.residual)
        off = (residual > unit * (found.size(stacked(layer)) + 1)).any(axis=(0, 1))
        if np.count_nonzero(off) > min(FEW, max(1, layer.units // 2)):
            return {}
        # While the entries found so far bring a unit nearer, no other one is looked for.
        worst = residual.max(axis=(0, 1))
        stuck = off & ~(worst <= before / 2)
        for j in sorted({j for _, j in entries} | set(np.flatnonzero(off).tolist())):
            changes = corrections(*found.of_unit(j), [k for k, u in entries if u == j], stuck[j])
            for k, change in changes.items():
                entries[k, j] = entries.get((k, j), value(c.layer, k, j)) + change
        if not 0 < len(entries) <= FEW:
            return {}
        layer, before = changed_at(c.layer, entries), worst
        if not off.any():
            break
    return entries


def corrections(a: Array, r: Array, known: list[int], more: bool) -> dict[int, float]:
    """By least squares on `|a d - r|`, the known entries of d, and the one that explains most."""
    places = list(known)
    if more and 5 * len(places) < np.count_nonzero(a.any(axis=1)):
        score = np.nan_to_num(np.abs(r @ a) / np.sqrt((a * a).sum(axis=0)))
        score[known] = -1
        places.append(int(score.argmax()))
    found = np.linalg.lstsq(a[:, places], r, rcond=None)[0]
    return dict(zip(places, found.tolist(), strict=True))


BIAS_AND_KERNEL_FAULTS = (
    Fault(
        "bias-dropped",
        "the bias is left out",
        "add the bias to every step",
        bias_dropped,
        zero_bias,
    ),
    Fault(
        "bias-doubled",
        "the bias is added twice",
        "add the bias once: is it in the input projection and in the step?",
        bias_doubled,
        zero_bias,
    ),
    Fault(
        "kernel-transposed",
        "the kernel is transposed",
        "multiply x @ kernel, the kernel stored as (features, units)",
        kernel_transposed,
        symmetric_kernel,
        kernel_misread,
    ),
    Fault(
        "recurrent-kernel-transposed",
        "the recurrent kernel is transposed",
        "multiply h @ recurrent_kernel, h from the left",
        recurrent_kernel_transposed,
        unused_recurrent_kernel,
        recurrent_kernel_misread,
    ),
)
ROUNDED = Fault(
    "weights-rounded",
    "the weights were rounded: printed with few decimals, or kept in a narrower format",
    "pass weights on in full: binary, or 9 digits (%.9g) for float32",
    printed_weights,
    candidates=rounded_weights,
    first=True,
)
DIFFERENT = Fault(
    "weights-differ",
    "some weights have other values",
    "export the weights again, or correct these entries",
    larger_weight,
    candidates=other_weights,
    alone=True,
    general=True,
)
NUMBER_FAULTS = (
    ROUNDED,
    Fault(
        "lower-precision",
        "the arithmetic is narrower than the layer's",
        "turn off reduced precision, such as TF32 or 16-bit matrix products",
        narrow_products,
        candidates=narrow_arithmetic,
        first=True,
    ),
    DIFFERENT,
)
