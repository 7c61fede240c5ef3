"""The weights that observed numbers imply: what a nearly right implementation really used.

For unit j and every step, `r = f'(z_j) (x dU[:, j] + h dW[:, j] + db_j)` to first order, where r is
the signed step residual: weighted least squares in `F + H + 1` unknowns, one problem for each unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.balls import Arithmetic, arithmetics, rows_by
from rnn_parity.fit import observed_steps, part
from rnn_parity.layers import Array, SimpleRNN
from rnn_parity.observed import Observed
from rnn_parity.replay import Block, operand
from rnn_parity.results import ImpliedWeight
from rnn_parity.sequences import Sequences

CERTAIN = 7.0
"""Standard errors from which on a difference is real."""
RELATIVE = 8
"""An implementation's own systematic rounding may look like so many u of the largest weight."""
MOST_SHOWN = 20


@dataclass(frozen=True, eq=False)
class Rows:
    """The equations: `design` `(N, F + H + 1)` holds x, h and 1 of each step.

    `residual`, `slope` and the `observed` outputs are `(N, H)`; a masked step has no row.
    """

    design: Array
    residual: Array
    slope: Array
    observed: Array


@dataclass(frozen=True, eq=False)
class Estimate:
    """Differences of the weights `(F + H + 1, H)` and their standard errors.

    A standard error is infinite where the data do not determine the entry.
    """

    difference: Array
    error: Array

    @property
    def determined(self) -> float:
        """The share of entries that the data determine."""
        return float(np.isfinite(self.error).mean())


def equations(layer: SimpleRNN, block: Block, observed: Observed) -> Rows:
    """The equations of one block; a masked or not finite step gives none."""
    z = block.projection + rows_by(operand(layer, observed.states[:-1]), layer.recurrent_kernel)
    y = layer.activation(z)
    ones = np.ones((*z.shape[:2], 1))
    design = np.concatenate([block.inputs, observed.states[:-1], ones], axis=2)
    good = np.isfinite(observed.outputs).all(axis=2) & np.isfinite(z).all(axis=2)
    if observed.keep is not None:
        good &= observed.keep[:, :, 0]
    seen = observed.outputs[good]
    return Rows(design[good], seen - y[good], useful_slope(layer, z[good]), seen)


@np.errstate(all="ignore")
def rows(
    layer: SimpleRNN, sequences: Sequences, outputs: NDArray[Any], arithmetic: Arithmetic
) -> Rows:
    """The equations of as many steps as the estimate can use, the first ones."""
    batch, timesteps = sequences.shape
    enough = max(2048, 8 * (layer.features + layer.units + 1))
    steps = slice(0, min(timesteps, max(2, enough // batch)))
    samples = slice(0, enough // steps.stop + 1)
    few, seen = part(sequences, outputs, samples, steps)
    found = [
        equations(layer, block, observed)
        for block, observed, _ in observed_steps(layer, few, seen, arithmetic)
    ]
    names = [field.name for field in fields(Rows)]
    return Rows(*(np.concatenate([getattr(r, name) for r in found]) for name in names))


@np.errstate(all="ignore")
def estimate(equations: Rows) -> Estimate:
    """Least squares for every unit; needs more equations than unknowns to say anything."""
    design, count = equations.design, len(equations.design)
    unknowns, units = design.shape[1], equations.residual.shape[1]
    difference = np.zeros((unknowns, units))
    error = np.full((unknowns, units), np.inf)
    if count < 2 * unknowns:
        return Estimate(difference, error)
    for j in range(units):
        weighted = design * equations.slope[:, j : j + 1]
        found = solve(weighted, equations.residual[:, j])
        if found is not None:
            difference[:, j], error[:, j] = found
    return Estimate(difference, error)


def solve(a: Array, r: Array) -> tuple[Array, Array] | None:
    """`min |a d - r|`: the solution and its standard errors, infinite where a leaves it open."""
    scale = np.sqrt((a * a).sum(axis=0))
    used = np.flatnonzero(scale > 1e-9 * scale.max())
    if len(used) == 0:
        return None
    a = a[:, used] / scale[used]
    gram, right = a.T @ a, a.T @ r
    freedom = np.count_nonzero(a.any(axis=1)) - len(used)
    if freedom < 8:
        return None
    inverse, open_ = inverted(gram)
    solution = inverse @ right
    projected = a @ inverse
    # Errors that do not rely on equal noise in all rows (MacKinnon and White 1985, HC3).
    leverage = np.minimum((projected * a).sum(axis=1), 0.99)
    noise = (r - a @ solution) / (1 - leverage)
    errors = np.where(open_, np.inf, np.sqrt(((projected * noise[:, np.newaxis]) ** 2).sum(axis=0)))
    difference, error = np.zeros(len(scale)), np.full(len(scale), np.inf)
    difference[used], error[used] = solution / scale[used], errors / scale[used]
    difference[~np.isfinite(error)] = 0
    return difference, error


def inverted(gram: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The (pseudo-)inverse of a Gram matrix with ones on its diagonal, and what it leaves open."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-9 * values[-1]
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    # An entry is determined when no direction that was left out moves it.
    return inverse, (vectors[:, ~kept] ** 2).sum(axis=1) > 1e-6


def suspicious(equations: Rows) -> bool:
    """Whether any single entry would explain the residuals better than chance: a cheap screen.

    The score of each entry alone, in standard errors; correlated entries show together.
    """
    weighted = equations.residual * equations.slope
    scatter = np.sqrt((equations.design**2).T @ (weighted**2))
    with np.errstate(all="ignore"):
        score = (equations.design.T @ weighted) / scatter
    return bool((np.abs(score) > CERTAIN).any())


def useful_slope(layer: SimpleRNN, z: Array) -> Array:
    """`f'(z)`, 0 where f is saturated: there f's own systematic errors pass for large changes."""
    slope = layer.activation.slope(z)
    size = np.abs(slope)
    return np.where(size >= 0.25 * size.max(axis=0, initial=0), slope, 0.0)


def inverse_activation(name: str, y: Array) -> Array | None:
    """`z` with `f(z) = y`, NaN where y tells no z; None for an activation that tells none."""
    inverses: dict[str, Callable[[Array], Array]] = {
        "linear": lambda y: y,
        "tanh": lambda y: np.where(np.abs(y) < 1 - 1e-4, np.arctanh(y), np.nan),
        "sigmoid": lambda y: np.where(np.abs(y - 0.5) < 0.4999, np.log(y / (1 - y)), np.nan),
        "relu": lambda y: np.where(y > 0, y, np.nan),
        "leaky_relu": lambda y: np.where(y > 0, y, y / 0.2),
        "elu": lambda y: np.where(y > 0, y, np.where(y > -0.9999, np.log1p(y), np.nan)),
        "softsign": lambda y: y / (1 - np.abs(y)),
        "softplus": lambda y: np.where(y > 1e-4, y + np.log(-np.expm1(-y)), np.nan),
        "exponential": np.log,
        "hard_tanh": lambda y: np.where(np.abs(y) < 1, y, np.nan),
        "hard_sigmoid": lambda y: np.where(np.abs(y - 0.5) < 0.5, 6 * y - 3, np.nan),
    }
    with np.errstate(all="ignore"):
        return inverses[name](y) if name in inverses else None


@np.errstate(all="ignore")
def total_weights(layer: SimpleRNN, sequences: Sequences, outputs: NDArray[Any]) -> Estimate | None:
    """The same without the first-order step, for weights that differ by much.

    `z = x U + h W + b` is read off the outputs through the inverse activation; None where that
    cannot be.
    """
    equations = rows(layer, sequences, outputs, arithmetics(layer.precision)[0])
    z = inverse_activation(layer.activation.name, equations.observed)
    if z is None or len(z) < 2 * equations.design.shape[1]:
        return None
    known = np.isfinite(z)
    # An error of the output is an error of z over the slope: weights as in the residual's problem.
    slope = np.where(known, useful_slope(layer, np.where(known, z, 0.0)), 0.0)
    residual = np.where(known, z - equations.design @ stacked(layer), 0.0) * slope
    return estimate(Rows(equations.design, residual, slope, equations.observed))


def differences(layer: SimpleRNN, found: Estimate) -> tuple[ImpliedWeight, ...]:
    """The entries that differ beyond doubt, most certain first."""
    weights = stacked(layer)
    smallest = RELATIVE * layer.precision.unit_roundoff * np.abs(weights).max()
    with np.errstate(all="ignore"):
        sigma = np.abs(found.difference) / found.error
    real = np.argwhere((sigma > CERTAIN) & (np.abs(found.difference) > smallest))
    order = sorted(real.tolist(), key=lambda kj: -sigma[kj[0], kj[1]])
    return tuple(
        ImpliedWeight(
            *where(layer, k, j),
            expected=float(weights[k, j]),
            implied=float(weights[k, j] + found.difference[k, j]),
            sigma=float(sigma[k, j]),
        )
        for k, j in order
    )


def stacked(layer: SimpleRNN) -> Array:
    """Kernel, recurrent kernel and bias (zeros for none) in one array, `(F + H + 1, H)`."""
    bias = np.zeros(layer.units) if layer.bias is None else layer.bias
    return np.concatenate([layer.kernel, layer.recurrent_kernel, bias[np.newaxis]])


def where(layer: SimpleRNN, k: int, j: int) -> tuple[str, tuple[int, ...]]:
    """The name and the index of a weight from its place in `stacked`."""
    if k < layer.features:
        return "kernel", (k, j)
    if k < layer.features + layer.units:
        return "recurrent_kernel", (k - layer.features, j)
    return "bias", (j,)


def with_weights(equations: Rows, layer: SimpleRNN, other: SimpleRNN) -> Rows:
    """The same equations, had `other` weights been the layer's, to first order."""
    change = equations.design @ (stacked(other) - stacked(layer))
    return replace(equations, residual=equations.residual - equations.slope * change)


def likelihood_gain(equations: Rows, other: Rows) -> float:
    """How much likelier the residuals are in `other`, as a logarithm."""
    ours, theirs = (float((r.residual**2).sum()) for r in (equations, other))
    return 0.5 * equations.residual.size * math.log(ours / theirs) if theirs > 0 else math.inf
