"""Mistakes of the weights: left out, transposed, rounded, narrower than they are, or others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.equations import (
    Rows,
    changed_at,
    has_equations,
    pieces,
    stacked,
    value,
    where,
)
from rnn_parity.diagnosis.faults.fault import (
    ORDER,
    UNITS,
    Computation,
    Fault,
    Outputs,
    Variants,
    are_equal,
)
from rnn_parity.diagnosis.few_units import by_themselves, cut
from rnn_parity.diagnosis.implied_weights import (
    FEWEST_SAMPLES,
    QUICK_ROWS,
    few_rows,
    rows,
    rows_of_units,
    total_rows,
)
from rnn_parity.recurrence.cells import Array, Cell
from rnn_parity.recurrence.precision import FORMATS, LAYER_DTYPES, Precision
from rnn_parity.verdict.sentences import other_value

DECIMALS = range(1, 9)
"""Decimals that weights may have been printed with. Chosen: more are within float32's rounding."""
PRINTED = 4
"""Decimals by which a check tries whether it would see rounded weights: PyTorch prints so many."""
NARROW = ("float32", "tfloat32", "float16", "bfloat16")
"""The formats that weights and products may have been rounded to, widest first."""
FEW = 8
"""Most entries, and units, that count as single differences. Chosen: more are another mistake."""
BIAS_STEPS = 120
"""Steps to first order towards the bias that outputs imply. Chosen: five are usual; of a GRU
without `reset_after`, whose reset gate reaches all units, each ten add a digit."""
TELLING_STEPS, NEARER = 6, 0.3
"""By this step less than that share of the squares is left, or no bias is the cause. Chosen."""
TELLING_UNITS = 8
"""Units that tell it. Chosen."""
DETERMINED = 1e-3
"""A bias that moves an output by less than this share of its own change does not show in it.
Chosen: a saturated gate's is 1e-12, and other gates' 1e-2."""
CONFIRMED = 2
"""Equations for each unknown bias of a unit: half of them confirm what the others imply."""
BIASES_SHOWN = 3
"""Values of another bias that are told. Chosen."""
SPREAD = 2 * FEW
"""Units, evenly spread, by which it is told that more are off, in timesteps that are not the first
ones. Chosen."""
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


def kernel_transposed(c: Computation) -> Variants:
    if c.layer.features == c.layer.units > 1:
        yield c.layer_but(kernel=transposed(c.layer, c.layer.kernel))


def gate_by_gate(layer: Cell, weights: Array, change: Callable[[Array], Array]) -> Array:
    """Each gate's block, changed."""
    return np.concatenate([change(g) for g in np.split(weights, len(layer.GATES), axis=1)], axis=1)


def by_columns(weights: Array) -> Array:
    """Numbers that were written row by row, read column by column."""
    return weights.reshape(-1).reshape(weights.shape, order="F")


def by_rows(weights: Array) -> Array:
    """Numbers that were written column by column, or transposed, read row by row."""
    read: Array = weights.T.reshape(weights.shape)
    return read


BY_COLUMNS = "written row by row and read column by column"
BY_ROWS = "written column by column, or transposed, and read row by row"
CUDNN = f"{BY_ROWS}, gate by gate"
"""How cuDNN keeps both matrices: Keras loads each gate's kernel through `.T.reshape(order="F")`."""


def axes_swapped(shape: tuple[int, ...], axes: tuple[int, ...]) -> Callable[[Array], Array]:
    """The numbers of an array with these axes, written down in another order of them."""
    return lambda weights: weights.reshape(shape).transpose(axes).reshape(weights.shape)


def misreadings(layer: Cell, weights: Array) -> Iterator[tuple[str, Array]]:
    """A matrix as its numbers are taken that stand in another order in memory, and how."""
    rows, gates, units = len(weights), len(layer.GATES), layer.units
    for how, way in ((BY_COLUMNS, by_columns), (BY_ROWS, by_rows)):
        yield how, way(weights)
        if gates > 1:
            yield f"{how}, gate by gate", gate_by_gate(layer, weights, way)
    if gates > 1:
        for how, shape, axes in (
            ("written gate after gate and read row by row", (rows, gates, units), (1, 0, 2)),
            ("written row by row and read gate after gate", (gates, rows, units), (1, 0, 2)),
            ("written gate by gate and read unit by unit", (rows, gates, units), (0, 2, 1)),
            (
                "written unit by unit and read gate by gate",
                (rows, units, gates),
                (0, 2, 1),
            ),
        ):
            yield how, axes_swapped(shape, axes)(weights)


def misread(c: Computation, *names: str) -> Variants:
    """These matrices in another order of memory; what is transposed is a fault of its own."""
    layer = c.layer
    found = [dict(misreadings(layer, getattr(layer, name))) for name in names]
    for how in found[0]:
        arrays = {name: one[how] for name, one in zip(names, found, strict=True)}
        own = {name: getattr(layer, name) for name in names}
        if any(are_equal(arrays[n], own[n]) for n in names):
            continue
        if all(are_equal(arrays[n], transposed_if_square(layer, own[n])) for n in names):
            continue
        which = " and the ".join(name.replace("_", " ") for name in names)
        cudnn = ", as cuDNN has them" * (len(names) > 1 and how == CUDNN)
        yield c.layer_but(f"the {which}, {how}{cudnn}", **arrays)


def transposed_if_square(layer: Cell, weights: Array) -> Array:
    """Each gate's block transposed, where it is square."""
    return transposed(layer, weights) if len(weights) == layer.units else weights


def kernel_misread(c: Computation) -> Variants:
    if len(c.layer.kernel) > 1 and c.layer.units > 1:
        yield from islice(misread(c, "kernel"), 1)


def matrices_misread(c: Computation, outputs: Outputs) -> Variants:
    """Each matrix, and both of them."""
    yield from misread(c, "kernel")
    yield from misread(c, "recurrent_kernel")
    yield from misread(c, "kernel", "recurrent_kernel")


def kernels_swapped(c: Computation) -> Variants:
    if c.layer.features == c.layer.units:
        yield c.layer_but(kernel=c.layer.recurrent_kernel, recurrent_kernel=c.layer.kernel)


def equal_kernels(c: Computation) -> str | None:
    equal = np.array_equal(c.layer.kernel, c.layer.recurrent_kernel)
    return "kernel and recurrent kernel are equal" if equal else None


def symmetric_kernel(c: Computation) -> str | None:
    square = c.layer.features == c.layer.units
    symmetric = square and np.array_equal(c.layer.kernel, transposed(c.layer, c.layer.kernel))
    return "the kernel is symmetric" if symmetric else None


def recurrent_kernel_transposed(c: Computation) -> Variants:
    if c.layer.units > 1:
        yield c.layer_but(recurrent_kernel=transposed(c.layer, c.layer.recurrent_kernel))


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
            narrow = rounded(c, p.round, f"everything is computed, or stored, in {p.name}")
            state = p.round(c.sequences.initial_state)
            bits = float(outputs.size * (c.layer.precision.digits - p.digits))
            narrow = narrow.layer_but(narrow.detail, precision=p)
            yield replace(narrow.sequences_but(narrow.detail, initial_state=state), bits=bits)


def turn_it_off(layer: Cell) -> str:
    """What to do about a layer whose operands, or all of whose numbers, are narrower."""
    if layer.operands is not None:
        return "turn off reduced precision, such as TF32 or 16-bit matrix products"
    return f"compute in the layer's dtype, or check against weights cast to {layer.precision.name}"


@np.errstate(all="ignore")
def uses_all_digits(x: Array, p: Precision) -> bool:
    """Whether x is made of numbers of that format, and not only of some, as fixed point is."""
    for some in x[:1], x:
        if not np.array_equal(p.round(some), some, equal_nan=True):
            return False
    significand = np.ldexp(np.frexp(x[np.isfinite(x) & (x != 0)])[0], p.digits)
    # Limits such as 1 stand there often and have one bit in any format.
    telling = np.abs(significand) != 2.0 ** (p.digits - 1)
    return bool(np.count_nonzero(significand[telling] % 2) > np.count_nonzero(telling) / 4)


HALF = "half of it, one of two that are to be added"


def half_a_bias(c: Computation) -> Variants:
    if c.layer.bias is not None:
        yield c.layer_but(HALF, bias=0.5 * c.layer.bias)


def larger_bias(c: Computation) -> Variants:
    if c.layer.bias is not None:
        yield c.layer_but("each number of it is 0.1 more", bias=c.layer.bias + 0.1)


def parts_of_bias(layer: Cell) -> Iterator[tuple[str, Array]]:
    """The bias without some of its gates, in one row or in all of them, and what is left out."""
    assert layer.bias is not None
    table = layer.bias.reshape(-1, len(layer.GATES), layer.units)
    whose = {0: "input bias", 1: "recurrent bias"} if len(table) > 1 else {}
    parts = [(slice(None), "bias"), *((slice(row, row + 1), name) for row, name in whose.items())]
    for part, name in parts:
        for count in range(1, len(layer.GATES)):
            for gates in combinations(range(len(layer.GATES)), count):
                left = table.copy()
                left[part, list(gates)] = 0
                which = " and ".join(layer.GATES[g] for g in gates)
                of = f"the gate{'s' * (count > 1)} {which}"
                yield f"the {name} of {of} is left out", left.reshape(layer.bias.shape)


def other_bias(c: Computation, outputs: Outputs) -> Variants:
    """A part of the bias; then, of whole sequences, the one that the outputs imply."""
    layer = c.layer
    if layer.bias is None:
        return
    parts = [
        *half_a_bias(c),
        *(
            c.layer_but(detail, bias=left)
            for detail, left in parts_of_bias(layer)
            if not np.array_equal(left, layer.bias)
        ),
    ]
    yield from parts
    bias = implied_bias(c, outputs) if outputs.ndim == 3 and has_equations(layer) else None
    if bias is not None:
        implied = c.layer_but(told_of_bias(layer, bias), bias=bias)
        near = layer.precision.unit_roundoff**-0.5
        if all(differing(part.layer, implied.layer, near).any() for part in parts):
            yield implied


@np.errstate(all="ignore")
def implied_bias(c: Computation, outputs: Outputs) -> Array | None:
    """By least squares on the biases alone, to first order each time; None where too few equations
    would confirm it, where no bias comes near, or where those that differ are not determined, as
    that of a saturated gate.
    """
    if by_themselves(c.layer) and not bias_comes_near(c, outputs):
        return None
    layer, off, changed, units = c.layer, list[float](), list[bool](), list[int]()
    for step in range(BIAS_STEPS):
        # A few timesteps tell that no bias comes near, and a few units, where each has its own.
        some = few_rows if step < TELLING_STEPS else rows
        equations = some(layer, c.sequences, outputs)
        alone = equations.of_biases(layer)
        units = units or ([*range(layer.units)] if equations.mixed else furthest_off(equations))
        off.append(float((equations.residual[..., units] ** 2).sum()))
        near = len(off) >= TELLING_STEPS
        stuck = len(off) == TELLING_STEPS and not off[-1] < NEARER * off[0]
        if stuck or not np.isfinite(off[-1]) or alone.count < CONFIRMED * len(alone.designs):
            return None
        groups = [*np.unique(alone.groups).tolist()]
        group, who = groups[len(off) % len(groups)], range(layer.units) if near else units
        nearer = nearer_biases(layer, equations, alone, group, who)
        before, layer = layer, changed_at(layer, nearer)
        changed.append(bool(differing(before, layer, 1.0).any()))
        if near and not any(changed[-len(groups) :]):
            break
    alone = rows(layer, c.sequences, outputs).of_biases(layer)
    determined = telling_equations(layer, alone) >= CONFIRMED * len(alone.designs)
    differ = differing(c.layer, layer, layer.precision.unit_roundoff**-0.5)
    return layer.bias if differ.any() and determined[differ].all() else None


@np.errstate(all="ignore")
def bias_comes_near(c: Computation, outputs: Outputs) -> bool:
    """Whether another bias comes near the outputs of a few units, by a few timesteps."""
    units = np.array(furthest_off(few_rows(c.layer, c.sequences, outputs)))
    part, off = cut(c.layer, units), list[float]()
    for _ in range(TELLING_STEPS):
        equations = rows_of_units(part, c.sequences, outputs, QUICK_ROWS, units)
        off.append(float((equations.residual**2).sum()))
        alone = equations.of_biases(part)
        part = changed_at(part, nearer_biases(part, equations, alone, 0, range(len(units))))
    return off[-1] < NEARER * off[0]


def furthest_off(equations: Rows) -> list[int]:
    """The few units that are furthest off."""
    units: list[int] = np.argsort(-(equations.residual**2).sum((0, 1)))[:TELLING_UNITS].tolist()
    return units


def nearer_biases(
    layer: Cell, equations: Rows, alone: Rows, group: int, units: Sequence[int]
) -> dict[tuple[int, int], float]:
    """Some units' biases of one group of pieces by their places in `stacked`, one step of least
    squares nearer, by 1 at most.
    """
    found = {}
    own = np.flatnonzero(alone.groups == group)
    for j in units:
        a, r = alone.of_unit(j, group)
        change = np.linalg.lstsq(np.nan_to_num(a[:, own]), np.nan_to_num(r), rcond=1e-6)[0]
        for p, d in zip(own.tolist(), np.clip(change, -1, 1).tolist(), strict=True):
            if pieces(layer)[p].bias:
                k = int(equations.biases[p])
                found[k, j] = value(layer, k, j) + d
    return found


def telling_equations(layer: Cell, alone: Rows) -> NDArray[np.intp]:
    """For each number of the bias, how many equations it shows in; what only the sum of two shows
    stands at both.
    """
    assert layer.bias is not None
    found = np.zeros(layer.bias.shape, np.intp).reshape(-1, layer.width)
    for p, piece in enumerate(pieces(layer)):
        for j in range(layer.units):
            a, _ = alone.of_unit(j, int(alone.groups[p]))
            count = np.count_nonzero(np.abs(a[:, p]) > DETERMINED)
            for row in piece.bias:
                found[max(row, 0), piece.gate * layer.units + j] = count
    return found.reshape(layer.bias.shape)


def differing(one: Cell, other: Cell, roundings: float) -> NDArray[np.bool_]:
    """Which numbers of the biases of two layers differ, by more than so many roundings."""
    assert one.bias is not None
    assert other.bias is not None
    far: NDArray[np.bool_] = np.abs(one.bias - other.bias) > roundings * one.precision.unit_roundoff
    return far


def told_of_bias(layer: Cell, bias: Array) -> str:
    """In which gates an implied bias differs, and some of its values."""
    assert layer.bias is not None
    differ = differing(layer, layer.changed(bias=bias), layer.precision.unit_roundoff**-0.5)
    gates = differ.reshape(-1, len(layer.GATES), layer.units).any(axis=(0, 2))
    of = ""
    if len(layer.GATES) > 1 and not gates.all():
        which = " and ".join(layer.GATES[g] for g in np.flatnonzero(gates))
        of = f" in the gate{'s' * int(np.count_nonzero(gates) > 1)} {which}"
    places = [tuple(at) for at in np.argwhere(differ).tolist()]
    told = [
        other_value("bias", at, float(layer.bias[at]), float(f"{bias[at]:.4g}"))
        for at in places[:BIASES_SHOWN]
    ]
    more = f" and {len(places) - BIASES_SHOWN} more" if len(places) > BIASES_SHOWN else ""
    sums = "; of the gates z and r only the sum of both rows shows" * (layer.bias.ndim > 1)
    return f"{len(places)} of its numbers{of}: {', '.join(told)}{more}{sums}"


def larger_weight(c: Computation) -> Variants:
    kernel = c.layer.kernel.copy()
    k, j = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    kernel[k, j] *= 1.01
    yield c.layer_but(f"kernel[{k}, {j}] is 1% larger", kernel=kernel)


def other_weights(c: Computation, outputs: Outputs) -> Variants:
    """The layer with the few other entries that the outputs imply, where a few suffice."""
    known = outputs.ndim == 3 and has_equations(c.layer)
    entries = implied_entries(c, outputs) if known else {}
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
    data, before = (c.sequences, outputs), np.zeros(layer.units)
    # What the sum of so many terms may be off, about; whether it is enough is judged exactly.
    unit = (layer.features + layer.units + 9) * layer.precision.unit_roundoff
    digits = c.unsure_step(outputs)
    most = min(FEW, max(1, layer.units // 2))

    def off_in(layer: Cell, found: Rows) -> NDArray[np.bool_]:
        allowed = unit * (found.size(stacked(layer)) + 1) + digits
        return np.asarray((np.abs(found.residual) > allowed).any(axis=(0, 1)))

    # A few timesteps tell that more units are off.
    if np.count_nonzero(off_in(layer, few_rows(layer, *data))) > most:
        return {}
    # So do a few units, where the first timesteps are right.
    if by_themselves(layer) and layer.units > SPREAD:
        units = np.linspace(0, layer.units - 1, SPREAD).astype(int)
        count = FEWEST_SAMPLES * c.sequences.shape[1]
        part = cut(layer, units)
        if np.count_nonzero(off_in(part, rows_of_units(part, *data, count, units))) > most:
            return {}
    for _ in range(ROUNDS):
        found = total_rows(layer, *data) or rows(layer, *data)
        residual, off = np.abs(found.residual), off_in(layer, found)
        if np.count_nonzero(off) > most:
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
    by = {at: new - value(c.layer, *at) for at, new in entries.items()}
    return entries if all_confirmed(found, by) else {}


def all_confirmed(equations: Rows, changes: Mapping[tuple[int, int], float]) -> bool:
    """Whether the changes, by entry, rest on more than a few numbers: each shows in more equations
    of its unit, by two at least, than it has changes, and most of it is implied without the
    equation that is furthest off. One wrong number among right ones implies nothing else.

    The `equations` are those of the layer with the changes.
    """
    for unit in {j for _, j in changes}:
        places = [k for k, j in changes if j == unit]
        change = np.array([changes[k, unit] for k in places])
        a, r = equations.of_unit(unit)
        a = a[:, places]
        if (np.count_nonzero(a, axis=0) < len(places) + 2).any():
            return False
        r = r + a @ change
        others = np.arange(len(r)) != np.abs(r).argmax()
        again = np.linalg.lstsq(a[others], r[others], rcond=None)[0]
        if not (np.abs(again - change) <= np.abs(change) / 2).all():
            return False
    return True


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
        "add the bias to every step",
        bias_dropped,
        zero_bias,
        reach=UNITS,
    ),
    Fault(
        "bias-doubled",
        "add the bias once: is it in the input projection and in the step?",
        bias_doubled,
        zero_bias,
        reach=UNITS,
    ),
    Fault(
        "kernel-transposed",
        "multiply x @ kernel, the kernel stored as (features, units)",
        kernel_transposed,
        symmetric_kernel,
        reach=ORDER,
    ),
    Fault(
        "recurrent-kernel-transposed",
        "multiply h @ recurrent_kernel, h from the left",
        recurrent_kernel_transposed,
        unused_recurrent_kernel,
        reach=ORDER,
    ),
    Fault(
        "kernel-misread",
        "write and read matrices row by row, (features, units) and all gates side by side",
        kernel_misread,
        candidates=matrices_misread,
        reach=ORDER,
    ),
    Fault(
        "kernels-swapped",
        "multiply x @ kernel and h @ recurrent_kernel",
        kernels_swapped,
        equal_kernels,
        reach=ORDER,
    ),
)
ROUNDED = Fault(
    "weights-rounded",
    "pass weights on in full: binary, or 9 digits (%.9g) for float32",
    printed_weights,
    candidates=rounded_weights,
    first=True,
    reach=UNITS,
)
DIFFERENT = Fault(
    "weights-differ",
    "export the weights again, or correct these entries",
    larger_weight,
    candidates=other_weights,
    alone=True,
    general=True,
)
BIAS = Fault(
    "bias-differs",
    "compare how the biases are exported, and whether all of them are added",
    larger_bias,
    candidates=other_bias,
    alone=True,
    general=True,
)
NUMBER_FAULTS = (
    ROUNDED,
    Fault(
        "lower-precision",
        turn_it_off,
        narrow_products,
        candidates=narrow_arithmetic,
        first=True,
        reach=UNITS,
    ),
    BIAS,
    DIFFERENT,
)
