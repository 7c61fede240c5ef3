"""The weights that observed numbers imply: what a nearly right implementation really used.

For unit j and every step, `r = f'(z_j) (x dU[:, j] + h dW[:, j] + db_j)` to first order, where r is
the signed step residual: weighted least squares in `F + H + 1` unknowns, one problem for each unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.fit import observed_steps, part
from rnn_parity.inverse import inverse_activation
from rnn_parity.layers import Array, Layer
from rnn_parity.leastsquares import solve
from rnn_parity.magnitudes import rows_by
from rnn_parity.observed import Observed
from rnn_parity.replay import Block, operand
from rnn_parity.results import ImpliedWeight
from rnn_parity.sequences import Sequences

CERTAIN = 7.0
"""Standard errors from which on a difference is real."""
RELATIVE = 8
"""An implementation's own systematic rounding may look like so many u of the largest weight."""
MOST_SHOWN = 20
EXPLAINED = 0.01
"""Other weights fit when they leave so small a part of the residuals."""
MOST_UNITS = 64
"""Weights are estimated for so many units at most, those that are furthest off."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The equations: `design` `(N, F + H + 1)` holds x, h and 1 of each step.

    `residual`, `slope` and the `observed` outputs are `(N, H)`; a masked step has no row.
    """

    design: Array
    residual: Array
    slope: Array
    observed: Array

    def some(self, count: int) -> Rows:
        """So many of the equations at most, evenly spread."""
        every = slice(None, None, -(-len(self.design) // count) or 1)
        return Rows(*(getattr(self, field.name)[every] for field in fields(self)))

    @np.errstate(all="ignore")
    def even(self, weights: Array) -> Rows:
        """The same equations, each over what it rounds: otherwise large numbers alone decide."""
        terms = np.abs(self.design) @ np.abs(weights)
        size = np.abs(self.slope) * terms + np.abs(self.observed)
        good = np.isfinite(size) & (size > 0)
        residual, slope = (np.where(good, a / size, 0.0) for a in (self.residual, self.slope))
        return replace(self, residual=residual, slope=slope)

    @property
    def gradient(self) -> Array:
        """How the weights would have to change for smaller residuals, `(F + H + 1, H)`."""
        gradient: Array = self.design.T @ (self.residual * self.slope)
        return gradient

    def but_weights(self, change: Array) -> Rows:
        """The same equations, had the weights been others by `change`, to first order."""
        return replace(self, residual=self.residual - self.slope * (self.design @ change))


@dataclass(frozen=True, eq=False)
class Estimate:
    """Differences of the weights `(F + H + 1, H)` and their standard errors.

    A standard error is infinite where the data do not determine the entry.
    """

    difference: Array
    error: Array


def equations(layer: Layer, block: Block, observed: Observed, count: int | None = None) -> Rows:
    """The equations of a block's first `count` steps; a masked or not finite one gives none."""
    states, outputs = observed.states[:-1][:count], observed.outputs[:count]
    z = block.projection[:count] + rows_by(operand(layer, states), layer.recurrent_kernel)
    y = layer.activation(z)
    design = np.concatenate([block.inputs[:count], states, np.ones((*z.shape[:2], 1))], axis=2)
    good = np.isfinite(outputs).all(axis=2) & np.isfinite(z).all(axis=2)
    if observed.keep is not None:
        good &= observed.keep[:count, :, 0]
    seen = outputs[good]
    return Rows(design[good], seen - y[good], useful_slope(layer, z[good]), seen)


def useful_slope(layer: Layer, z: Array) -> Array:
    """`f'(z)`, 0 where f is saturated: there f's own systematic errors pass for large changes."""
    slope = layer.activation.slope(z)
    size = np.abs(slope)
    return np.where(size >= 0.25 * size.max(axis=0, initial=0), slope, 0.0)


@np.errstate(all="ignore")
def rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows:
    """The equations of as many steps as an estimate can use, the first ones."""
    batch, timesteps = sequences.shape
    enough = max(2048, 8 * (layer.features + layer.units + 1))
    steps = slice(0, min(timesteps, max(2, enough // batch)))
    few, seen = part(sequences, outputs, slice(0, enough // steps.stop + 1), steps)
    found = [equations(layer, *seen) for seen in observed_steps(layer, few, seen)]
    names = [field.name for field in fields(Rows)]
    return Rows(*(np.concatenate([getattr(r, name) for r in found]) for name in names))


@np.errstate(all="ignore")
def total_rows(layer: Layer, sequences: Sequences, outputs: NDArray[Any]) -> Rows | None:
    """The same without the first-order step, for weights that differ by much.

    `z = x U + h W + b` is read off the outputs through the inverse activation; None where that
    cannot be. A slope of 0 marks an output that tells nothing.
    """
    equations = rows(layer, sequences, outputs)
    z = inverse_activation(layer.activation.name, equations.observed)
    if z is None:
        return None
    known = np.isfinite(z)
    # An error of the output is an error of z over the slope: weights as in the residual's problem.
    slope = np.where(known, useful_slope(layer, np.where(known, z, 0.0)), 0.0)
    residual = np.where(known, z - equations.design @ stacked(layer), 0.0) * slope
    return replace(equations, residual=residual, slope=slope)


@np.errstate(all="ignore")
def scores(equations: Rows) -> Array:
    """How many standard errors each entry alone is off, `(F + H + 1, H)`: a cheap screen.

    Correlated entries show together, and an entry that differs shows whatever the others do.
    """
    weighted = equations.residual * equations.slope
    scatter = np.sqrt((equations.design**2).T @ (weighted**2))
    score: Array = np.abs(equations.gradient) / scatter
    return np.nan_to_num(score)


def suspicious(equations: Rows) -> bool:
    """Whether any single entry would explain the residuals better than chance."""
    return bool((scores(equations) > CERTAIN).any())


@np.errstate(all="ignore")
def estimate(equations: Rows, units: int = MOST_UNITS) -> Estimate:
    """Least squares for the `units` that are furthest off; too few equations say nothing."""
    shape = equations.design.shape[1], equations.residual.shape[1]
    found = Estimate(np.zeros(shape), np.full(shape, np.inf))
    furthest = np.argsort(-scores(equations).max(axis=0))[:units]
    for j in furthest if len(equations.design) >= 2 * shape[0] else ():
        solved = solve(equations.design * equations.slope[:, [j]], equations.residual[:, j])
        if solved is not None:
            found.difference[:, j], found.error[:, j] = solved
    return found


@np.errstate(all="ignore")
def fits(equations: Rows, found: Estimate) -> bool | None:
    """Whether weights of the same formula fit, judged by the units estimated; None if by none."""
    units = np.isfinite(found.error).any(axis=0)
    if not units.any():
        return None
    rest = equations.but_weights(found.difference).residual[:, units]
    return bool(np.std(rest) <= EXPLAINED * np.std(equations.residual[:, units]))


@np.errstate(all="ignore")
def systematic(layer: Layer, equations: Rows) -> Array:
    """So large a change of each weight, `(F + H + 1, H)`, may be the implementation's own errors.

    An activation errs the same way wherever its argument is the same, which is no noise: up to its
    allowance, over its slope, in z; and a weight takes all of that on itself at worst.
    """
    weights, u = stacked(layer), layer.precision.unit_roundoff
    z = equations.design @ weights
    slope = np.abs(useful_slope(layer, z))
    allowance = layer.activation.allowance(z, np.abs(equations.observed), u)
    error = np.where(slope > 0, allowance / slope, 0.0).sum(axis=0) / (slope > 0).sum(axis=0)
    size = np.sqrt((equations.design**2).mean(axis=0))
    own = np.nan_to_num(error / size[:, np.newaxis])
    smallest: Array = np.maximum(own, RELATIVE * u * np.abs(weights).max())
    return smallest


@np.errstate(all="ignore")
def differences(layer: Layer, equations: Rows, found: Estimate) -> tuple[ImpliedWeight, ...]:
    """The entries that differ beyond doubt, most certain first."""
    weights, smallest = stacked(layer), systematic(layer, equations)
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


def stacked(layer: Layer) -> Array:
    """Kernel, recurrent kernel and bias (zeros for none) in one array, `(F + H + 1, H)`."""
    bias = np.zeros(layer.units) if layer.bias is None else layer.bias
    return np.concatenate([layer.kernel, layer.recurrent_kernel, bias[np.newaxis]])


def unstacked(layer: Layer, weights: Array) -> Layer:
    """The layer with the weights of such an array."""
    kernel, recurrent_kernel, bias = np.split(weights, [layer.features, len(weights) - 1])
    return layer.changed(kernel=kernel, recurrent_kernel=recurrent_kernel, bias=bias[0])


def where(layer: Layer, k: int, j: int) -> tuple[str, tuple[int, ...]]:
    """The name and the index of a weight from its place in `stacked`."""
    if k < layer.features:
        return "kernel", (k, j)
    if k < layer.features + layer.units:
        return "recurrent_kernel", (k - layer.features, j)
    return "bias", (j,)


def told(layer: Layer, k: int, j: int, value: float) -> str:
    """What one weight is, in words, from its place in `stacked`."""
    name, index = where(layer, k, j)
    return f"{name}{list(index)} is {value:.9g} instead of {stacked(layer)[k, j]:.9g}"


def likelihood_gain(equations: Rows, other: Rows) -> float:
    """How much likelier the residuals are in `other`, as a logarithm."""
    ours, theirs = (float((r.residual**2).sum()) for r in (equations, other))
    return 0.5 * equations.residual.size * math.log(ours / theirs) if theirs > 0 else math.inf
