"""The step residual where the observed numbers are near the replayed ones, quickly, in float32.

Let D be observed minus replayed, and R the replayed output. The replay has `R = f(z)` already; a
step from the observed state has `z + D W` instead, so by Taylor it is `R + f'(z) (D W)` up to
`sup|f''| (D W)^2 / 2`. With D small, float32 does for all of this, and no second float64 matrix
product or activation is needed. The remainder and float32's roundings are added to the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.bounds.balls import SLACK
from rnn_parity.bounds.magnitudes import gamma, narrow, rows_by
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.activation import WIDE
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.layers import SimpleRNN
from rnn_parity.recurrence.precision import FLOAT32
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


class Near:
    """The quick way for one layer that computes in float32."""

    def __init__(self, steps: Steps) -> None:
        self.layer, self.bounds = steps.layer, steps
        self.matrix = steps.layer.recurrent_kernel.astype(np.float32)
        terms = steps.layer.features + steps.layer.units + (steps.layer.bias is not None)
        self.gamma = gamma(terms, steps.arithmetic.unit_sum) * SLACK
        self.underflow = terms * FLOAT32.smallest_normal

    @staticmethod
    def applies(steps: Steps, sequences: Sequences) -> bool:
        """Whether the layer has a quick way."""
        layer = steps.layer
        plain = sequences.mask is None and sequences.dropout is NO_DROPOUT
        plain &= steps.arithmetic.results == FLOAT32 and isinstance(layer, SimpleRNN)
        return plain and layer.activation in ACTIVATIONS

    def steps(self, block: Block, observed: Observed) -> NearSteps | None:
        """The steps of a block; None where D is not small or a bound not narrow."""
        difference = (observed.states - block.states).astype(np.float32)
        size = np.abs(difference)
        if not size.max() <= SMALL:
            return None
        carried = rows_by(difference[:-1], self.matrix)
        most = float(max(carried.max(), -carried.min()))
        radius = self.argument_radius(block, observed, size)
        if not (most <= SMALL and radius.max() < WIDE):
            return None
        # What is left out of D - f' (D W), and rounded in it.
        curvature = 0.5 * self.layer.activation.curvature
        left_out = curvature * most**2 + ROUNDING * (most + float(size.max()) + float(radius.max()))
        slope, y = self.output_radius(block, radius, left_out)
        carried *= slope
        residual = np.subtract(difference[1:], carried, out=carried)
        return NearSteps(size[1:], np.abs(residual, out=residual), radius, y)

    def argument_radius(self, block: Block, observed: Observed, size: Float32) -> Float32:
        """The radius of `z = x U + h W + b`, as `Sum.ball` has it."""
        # |D| among the magnitudes counts the error of the product D W.
        state = narrow(observed.states[:-1], np.float32)
        state += size[:-1]
        radius: Float32 = self.bounds.state.magnitude(state, self.bounds.every)
        radius += self.bounds.inputs.magnitude(narrow(block.inputs, np.float32), self.bounds.every)
        if self.layer.bias is not None:
            radius += np.abs(self.layer.bias).astype(np.float32)
        radius *= self.gamma
        radius += self.underflow
        return radius

    def output_radius(
        self, block: Block, radius: Float32, left_out: float
    ) -> tuple[NDArray[Any], Float32]:
        """Turn the radius of z into that of f(z), in place, as `apply` does; slope and `|f(z)|`."""
        activation = self.layer.activation
        assert activation.derivative is not None
        y: NDArray[Any] = block.outputs.astype(np.float32)
        slope = activation.derivative(y, y)
        radius *= slope + radius * np.float32(0.5 * activation.curvature)
        np.abs(y, out=y)
        radius += activation.allowance(y, y, self.bounds.arithmetic.unit * SLACK)
        radius += left_out + FLOAT32.smallest_normal
        return slope, y
