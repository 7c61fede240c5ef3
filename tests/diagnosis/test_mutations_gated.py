"""Every mistake is `diverged`: what Keras's LSTM and GRU computed, against a wrong replay."""

from itertools import permutations

import numpy as np
import pytest
from test_mutations import (
    ALL_OPTIONS,
    BACKWARDS,
    MASKED,
    SWAP,
    WEIGHTS,
    WRONG_DATA,
    WRONG_MASKS,
    ZEROED,
    changed,
    each_weight,
    tfloat32,
    verdict,
)

KINDS = {
    "LSTM": {"kind": "LSTM"},
    "GRU": {"kind": "GRU", "reset_after": True},
    "GRU, reset before": {"kind": "GRU", "reset_after": False},
}
GATES = {"LSTM": "ifco", "GRU": "zrh"}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def gates(array, kind):
    return dict(zip(GATES[kind], np.split(array, len(GATES[kind]), axis=-1), strict=True))


def but_gate(name, kind, gate, change):
    """One gate's weights changed."""

    def mistake(r):
        parts = gates(getattr(r, name), kind)
        parts[gate] = change(parts[gate])
        return {name: np.concatenate([parts[g] for g in GATES[kind]], axis=-1)}

    return mistake


def reordered(kind, order, names):
    def mistake(r):
        parts = {name: gates(getattr(r, name), kind) for name in names}
        return {n: np.concatenate([parts[n][g] for g in order], axis=-1) for n in names}

    return mistake


def transposed(name, kind):
    def mistake(r):
        parts = gates(getattr(r, name), kind)
        return {name: np.concatenate([parts[g].T for g in GATES[kind]], axis=-1)}

    return mistake


@EVERY_KIND
@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_without_a_mistake_it_is_parity(kind, options):
    assert verdict(**KINDS[kind], **options) == "parity"


@EVERY_KIND
def test_every_other_order_of_the_gates(kind):
    layer = KINDS[kind]["kind"]
    for order in permutations(GATES[layer]):
        for names in (WEIGHTS, *[(name,) for name in WEIGHTS]):
            found = verdict(reordered(layer, order, names), **KINDS[kind])
            right = "parity" if "".join(order) == GATES[layer] else "diverged"
            assert found == right, (order, names)


@EVERY_KIND
@pytest.mark.parametrize("options", [{}, ZEROED], ids=str)
def test_every_weight_of_every_gate_counts(kind, options):
    layer = KINDS[kind]["kind"]
    for name in WEIGHTS:
        for gate in GATES[layer]:
            for change in (lambda w: 0 * w, lambda w: -w, lambda w: w + np.float32(1e-3)):
                mistake = but_gate(name, layer, gate, change)
                assert verdict(mistake, **KINDS[kind], **options) == "diverged", (name, gate)


WRONG_WEIGHTS = {
    "no bias": lambda r: {"bias": None},
    "bias doubled": lambda r: {"bias": 2 * r.bias},
    "kernels swapped": lambda r: {"kernel": r.recurrent_kernel, "recurrent_kernel": r.kernel},
    "one kernel entry": lambda r: {"kernel": changed(r.kernel, (2, 4), 1e-3)},
    "one recurrent entry": lambda r: {
        "recurrent_kernel": changed(r.recurrent_kernel, (5, 13), -1e-3)
    },
    "four decimals": each_weight(lambda w: w.round(4)),
    "TF32": each_weight(tfloat32),
    "activation": lambda r: {"activation": "softsign"},
    "recurrent activation": lambda r: {"recurrent_activation": "hard_sigmoid"},
    "another hard_sigmoid": lambda r: {"recurrent_activation": "hard_sigmoid_keras2"},
    "activations swapped": lambda r: {"activation": "sigmoid", "recurrent_activation": "tanh"},
}


@EVERY_KIND
@pytest.mark.parametrize("mistake", WRONG_WEIGHTS)
def test_wrong_weights(kind, mistake):
    assert verdict(WRONG_WEIGHTS[mistake], **KINDS[kind]) == "diverged"
    for name in ("kernel", "recurrent_kernel"):
        assert verdict(transposed(name, KINDS[kind]["kind"]), **KINDS[kind]) == "diverged"


@pytest.mark.parametrize("kind", ["GRU", "GRU, reset before"])
def test_the_reset_gate_on_the_other_side(kind):
    def flipped(r):
        bias = np.stack([r.bias, 0 * r.bias]) if r.bias.ndim == 1 else r.bias.sum(axis=0)
        return {"reset_after": not r.reset_after, "bias": bias}

    assert verdict(flipped, **KINDS[kind]) == "diverged"


OF_ONE_STATE = ("samples of the outputs swapped", "outputs permuted", "initial states swapped")
NEVER_SO_LARGE = ("outputs clipped",)


@EVERY_KIND
@pytest.mark.parametrize("options", [{}, MASKED | BACKWARDS], ids=str)
def test_wrong_data(kind, options):
    left_out = () if KINDS[kind]["kind"] == "GRU" else OF_ONE_STATE + NEVER_SO_LARGE
    for name, mistake in WRONG_DATA.items():
        if name not in left_out and not (left_out and name.startswith("state of")):
            assert verdict(mistake, **KINDS[kind], **options) == "diverged", name


def swapped_samples(r):
    return {"outputs": r.outputs[SWAP], "final": r.final[..., SWAP, :]}


WRONG_STATES = {
    "samples of the outputs": swapped_samples,
    "h as zeros": lambda r: {"state": r.state * np.float32([0, 1])[:, None, None]},
    "c as zeros": lambda r: {"state": r.state * np.float32([1, 0])[:, None, None]},
    "samples of h": lambda r: {"state": np.stack([r.state[0][SWAP], r.state[1]])},
    "samples of c": lambda r: {"state": np.stack([r.state[0], r.state[1][SWAP]])},
    "h and c": lambda r: {"state": r.state[::-1]},
    "h and c returned": lambda r: {"final": r.final[::-1]},
    "the initial c returned": lambda r: {"final": np.stack([r.final[0], r.state[1]])},
    "c off by 1e-5": lambda r: {"final": r.final + np.float32([0, 1e-5])[:, None, None]},
}


@pytest.mark.parametrize("mistake", WRONG_STATES)
@pytest.mark.parametrize("options", [{}, MASKED | BACKWARDS], ids=str)
def test_wrong_states_of_an_lstm(mistake, options):
    assert verdict(WRONG_STATES[mistake], kind="LSTM", **options) == "diverged"


@EVERY_KIND
@pytest.mark.parametrize("options", ALL_OPTIONS[2:], ids=str)
def test_wrong_masks(kind, options):
    for name, mistake in WRONG_MASKS.items():
        assert verdict(mistake, **KINDS[kind], **options) == "diverged", name


@EVERY_KIND
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_wrong_weights_in_16_bits(kind, policy):
    """Sums in 16 bits may be too coarse to refute it, but what is wrong never passes as right."""
    assert verdict(policy=policy, **KINDS[kind]) == "parity"
    layer = KINDS[kind]["kind"]
    for mistake in (
        reordered(layer, GATES[layer][::-1], WEIGHTS),
        transposed("recurrent_kernel", layer),
        WRONG_WEIGHTS["no bias"],
    ):
        assert verdict(mistake, policy=policy, **KINDS[kind]) in ("diverged", "inconclusive")
