"""The step residual where the observed numbers are near the replayed ones, quickly, in float32.

Let D be observed minus replayed, and R the replayed output. The replay has `R = f(z)` already; a
step from the observed state has `z + D W` instead, so by Taylor it is `R + f'(z) (D W)` up to
`sup|f''| (D W)^2 / 2`. With D small, float32 does for all of this, and no second float64 matrix
product or activation is needed. The remainder and float32's roundings are added to the bound. The
cell's formula is evaluated on first-order numbers, `Argument`: only a formula whose output is the
activation of a sum can be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.balls import SLACK
from rnn_parity.bounds.magnitudes import gamma, narrow
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.activations import CATALOGUE, WIDE, Activation
from rnn_parity.recurrence.formula import Bias, Lettered, Matrix, bound
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.products import rows_by
from rnn_parity.recurrence.replay import Block
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences

Float32 = NDArray[np.float32]

SMALL = 2.0**-14
"""How large D and D W may be; above it, the general way is taken."""
ROUNDING = 2.0**-21
"""More than the error of f' in float32, and of the few operations on D and D W."""
ACTIVATIONS = [CATALOGUE[name] for name in ("tanh", "sigmoid", "linear")]
"""Those whose slope is a polynomial of the output, at most 1, so that float32 does for it too."""


@dataclass(frozen=True, eq=False)
class NearSteps:
    """Absolute deviation and residual, the residual's bound, and the size `|y|` of the replayed
    numbers, all `(t, B, H)`.
    """

    deviation: Float32
    residual: Float32
    radius: Float32
    size: Float32


class NotNearError(Exception):
    """The quick way does not do: D is not small, a bound not narrow, or the formula another."""


@dataclass(frozen=True, eq=False)
class Argument(Lettered):
    """A sum, by how far it is moved and rounded: to first order, in float32, `(t, B, G H)`.

    `moved` is what D changes in it, None for nothing; `magnitude` bounds the sum of its `terms`
    absolute values.
    """

    moved: Float32 | None
    magnitude: Float32
    terms: int

    def __add__(self, other: Any) -> Argument:
        if isinstance(other, Bias):
            magnitude = self.magnitude
            for addend in other.addends:
                magnitude = magnitude + np.abs(addend).astype(np.float32)
            return replace(self, magnitude=magnitude, terms=self.terms + len(other.addends))
        if not isinstance(other, Argument):
            raise NotNearError
        moves = [a.moved for a in (self, other) if a.moved is not None]
        moved = sum(moves[1:], moves[0]) if moves else None
        return Argument(moved, self.magnitude + other.magnitude, self.terms + other.terms)

    __radd__ = __add__

    def not_near(self, *others: Any) -> Any:
        """Refuses an operation."""
        raise NotNearError

    __mul__ = __rmul__ = __sub__ = __rsub__ = __neg__ = __getitem__ = not_near


class NearState(Lettered):
    """The state h, which may be multiplied by W alone."""

    def not_near(self, *others: Any) -> Any:
        """Refuses an operation."""
        raise NotNearError

    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __neg__ = not_near


class NearOutput(NearState):
    """What `Near.output` found: how far D moves the output, its radius, and its size; nothing can
    be computed with it."""

    def __init__(self, moved: Float32, radius: Float32, size: Float32) -> None:
        self.moved, self.radius, self.size = moved, radius, size


class Near:
    """The quick way for one layer that computes in float32."""

    def __init__(self, steps: Steps) -> None:
        self.layer, self.bounds = steps.layer, steps
        self.matrix = steps.layer.recurrent_kernel.astype(np.float32)

    @staticmethod
    def applies(steps: Steps, sequences: Sequences) -> bool:
        """Whether the layer may have a quick way."""
        layer = steps.layer
        plain = sequences.mask is None and sequences.dropout is NO_DROPOUT and not layer.hidden
        plain &= steps.arithmetic.results == FLOAT32 and layer.operands is None
        known = all(activation in ACTIVATIONS for activation in layer.activations)
        return plain and len(layer.GATES) == 1 and known

    def steps(self, block: Block, observed: Observed) -> NearSteps | None:
        """The steps of a block; None where D is not small or a bound not narrow."""
        difference = (observed.states - block.states[0]).astype(np.float32)
        size = np.abs(difference)
        if not size.max() <= SMALL:
            return None
        try:
            found = self.evaluated(block, observed, difference, size)
        except NotNearError:
            return None
        residual = np.subtract(difference[1:], found.moved, out=found.moved)
        return NearSteps(size[1:], np.abs(residual, out=residual), found.radius, found.size)

    def evaluated(
        self, block: Block, observed: Observed, difference: Float32, size: Float32
    ) -> NearOutput:
        """The formula on first-order numbers, where h is moved by `difference`."""
        inputs = self.bounds.inputs.magnitude(narrow(block.inputs, np.float32), self.bounds.every)

        def product(h: Any, columns: slice) -> Argument:
            if h is not near_h:
                raise NotNearError
            # |D| among the magnitudes counts the error of the product D W.
            state = narrow(observed.states[:-1], np.float32)
            state += size[:-1]
            magnitude = self.bounds.state.magnitude(state, columns)
            moved = rows_by(difference[:-1], self.matrix[:, columns])
            return Argument(moved, magnitude, self.layer.units)

        def applied(activation: Activation) -> Any:
            return lambda z: self.output(activation, z, block, float(size.max()))

        letters = {
            "U": Matrix(lambda x, columns: x, self.bounds.every),
            "W": Matrix(product, self.bounds.every),
            "b": Bias(self.layer.bias, self.bounds.every, addends=self.layer.addends),
            **self.layer.vectors,
            **{letter: applied(one) for letter, one in self.layer.letters.items()},
        }
        near_h, x = NearState(), Argument(None, inputs, len(self.layer.kernel))
        (output,) = bound(self.layer.formula, letters)(x, near_h)
        if not isinstance(output, NearOutput):
            raise NotNearError
        return output

    def output(self, activation: Activation, z: Any, block: Block, largest: float) -> NearOutput:
        """The activation of an argument, which must be the output: its number is the replay's."""
        if not isinstance(z, Argument) or z.moved is None:
            raise NotNearError
        arithmetic, moved = self.bounds.arithmetic, z.moved
        radius: Float32 = z.magnitude * np.float32(gamma(z.terms, arithmetic.unit_sum) * SLACK)
        radius += z.terms * FLOAT32.smallest_normal
        most = float(max(moved.max(), -moved.min()))
        if not (most <= SMALL and radius.max() < WIDE):
            raise NotNearError
        # What is left out of D - f' (D W), and rounded in it.
        curvature = 0.5 * activation.curvature
        left_out = curvature * most**2 + ROUNDING * (most + largest + float(radius.max()))
        assert activation.derivative is not None
        y: NDArray[Any] = block.outputs.astype(np.float32)
        slope = activation.derivative(y, y)
        radius *= slope + radius * np.float32(curvature)
        np.abs(y, out=y)
        radius += activation.allowance(y, y, arithmetic.unit * SLACK)
        radius += left_out + FLOAT32.smallest_normal
        return NearOutput(moved * np.asarray(slope, np.float32), radius, y)
