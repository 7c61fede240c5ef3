"""Mistakes of masks: that of the timesteps, and those of dropout.

Which inputs were dropped is read off what was observed, to first order, in a few steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnn_parity.bounds.observed import observed_part
from rnn_parity.diagnosis.equations import has_equations, pieces
from rnn_parity.diagnosis.faults.fault import Computation, Fault, Outputs, Variants, backwards
from rnn_parity.diagnosis.implied_weights import all_rows
from rnn_parity.recurrence.layers import Array, Layer
from rnn_parity.recurrence.sequences import NO_DROPOUT, Sequences

STEPS = 8
"""First-order steps after which the scales of the inputs have arrived, or will not. Chosen."""
FIRST_TIMESTEPS = 8
"""Timesteps that tell which inputs were dropped, and as many more for each feature per unit."""


def mask_ignored(c: Computation) -> Variants:
    yield c.sequences_but(mask=None)


def nothing_masked(c: Computation) -> str | None:
    mask = c.sequences.mask
    return "no timestep is masked" if mask is None or mask.all() else None


def mask_not_reversed(c: Computation) -> Variants:
    if c.layer.go_backwards and c.sequences.mask is not None:
        yield c.sequences_but(mask=backwards(c.sequences.mask))


def mask_symmetric(c: Computation) -> str | None:
    mask = c.sequences.mask
    same = mask is not None and np.array_equal(mask, backwards(mask))
    return nothing_masked(c) or ("the mask is the same backwards" if same else None)


def masked_output_not_zeroed(c: Computation) -> Variants:
    if c.layer.zero_output_for_mask:
        yield c.layer_but(zero_output_for_mask=False)


MASK_FAULTS = (
    Fault(
        "mask-ignored",
        "masked timesteps are computed like others",
        "where the mask is false, keep the state and repeat the output",
        mask_ignored,
        nothing_masked,
    ),
    Fault(
        "mask-not-reversed",
        "the inputs are reversed and the mask is not",
        "reverse the mask together with the inputs",
        mask_not_reversed,
        mask_symmetric,
    ),
    Fault(
        "masked-output-not-zeroed",
        "the output of a masked timestep repeats the one before instead of zeros",
        "write zeros for masked timesteps (zero_output_for_mask)",
        masked_output_not_zeroed,
        nothing_masked,
    ),
)


def every_second_input(c: Computation) -> Variants:
    """As if those rows of the kernel were zeros, and the others doubled."""
    keep = np.arange(c.layer.features) % 2
    kernel = c.layer.kernel * (2.0 * keep)[:, np.newaxis]
    yield c.layer_but("inputs are dropped", kernel=kernel)


def dropouts(c: Computation, outputs: Outputs) -> Variants:
    """Input dropout: each sample has one mask of zeros and 1 / (1 - rate) for all its timesteps."""
    layer, s = c.layer, c.sequences
    if s.dropout is not NO_DROPOUT or not has_equations(layer):
        return
    scales = implied_scales(c, outputs)
    used = scales[scales > 0.5]
    scale = np.median(used) if len(used) else 0.0
    if not scale > 1.001:
        return
    rate = round(1 - 1 / float(scale), 3)
    factor = layer.precision.round(np.where(scales > scale / 2, 1 / (1 - rate), 0.0))
    inputs = layer.precision.round(s.inputs * factor[:, np.newaxis])
    yield c.sequences_but(f"inputs are dropped at a rate of {rate}", inputs=inputs)


@np.errstate(all="ignore")
def implied_scales(c: Computation, outputs: Outputs) -> Array:
    """What the inputs seem to be multiplied with, `(B, F)`: approached step by step."""
    layer, s = c.layer, c.sequences
    count = FIRST_TIMESTEPS + FIRST_TIMESTEPS * layer.features // layer.units
    few = observed_part(layer, s, outputs, slice(None), slice(0, count))
    scales = np.ones((s.shape[0], layer.features))
    for _ in range(STEPS):
        scales = np.clip(scales + missing(layer, scales, *few), -1.0, 8.0)
    return scales


def missing(layer: Layer, scales: Array, sequences: Sequences, outputs: Outputs) -> Array:
    """What is missing in the `scales` `(B, F)` that the inputs seem to be multiplied with."""
    scaled = replace(sequences, inputs=sequences.inputs * scales[:, np.newaxis])
    equations = all_rows(layer, scaled, outputs)
    x = sequences.inputs.swapaxes(0, 1)[..., np.newaxis]
    owed = []
    for feature, row in enumerate(layer.kernel):
        products = np.split(x[:, :, feature] * row, len(layer.GATES), axis=-1)
        changes = [products[one.gate] if one.inputs else None for one in pieces(layer)]
        owed.append(equations.shown(changes))
    design = np.stack(owed, axis=-1)
    change = np.zeros_like(scales)
    for b in range(len(change)):
        a, r = design[:, b].reshape(-1, layer.features), equations.residual[:, b].ravel()
        if np.isfinite(a).all():
            change[b] = np.linalg.lstsq(a, r, rcond=None)[0]
    return change


def without_dropout(c: Computation) -> Variants:
    """Without any of it; then, where inputs and state have some, without that of each alone."""
    masks = c.sequences.dropout
    if masks is NO_DROPOUT:
        return
    yield c.sequences_but(dropout=NO_DROPOUT)
    if masks.inputs is not None and masks.state is not None:
        yield c.sequences_but("that of the inputs", dropout=replace(masks, inputs=None))
        yield c.sequences_but("that of the state", dropout=replace(masks, state=None))


DROPOUT_FAULTS = (
    Fault(
        "dropout-active",
        "dropout is applied, as in training",
        "run the layer with training=False",
        every_second_input,
        candidates=dropouts,
        alone=True,
    ),
    Fault(
        "dropout-ignored",
        "dropout is left out in training",
        "multiply inputs and state with the masks of a call in training",
        without_dropout,
    ),
)
