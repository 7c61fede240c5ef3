"""Every mistake is `diverged`: what Keras computed, against a replay with that mistake."""

from functools import cache
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
from corpus import GATED, KINDS, NARROW, every_kind

import rnn_parity as rp
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

tf = pytest.importorskip("tensorflow")
B, T, F, H = 4, 12, 6, 6  # square, so that a transposed kernel fits
MASK = np.random.default_rng(1).random((B, T)) < 0.7
MASK[:, [3, -1]] = [[False, True], [True, False], [False, True], [True, True]]
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
MASKED = {"zero_output_for_mask": False}
ZEROED = {"zero_output_for_mask": True}
BACKWARDS = {"go_backwards": True}
ALL_OPTIONS = [{}, BACKWARDS, MASKED, ZEROED, MASKED | BACKWARDS, ZEROED | BACKWARDS]


@cache
def keras_run(kind, activation, policy, options):
    """Everything that a layer was given, and what it computed, by the names of the API."""
    loop, own = KINDS[kind]
    rng, gates, states = np.random.default_rng(0), len(loop.ORDER), (2,) * (kind == "LSTM")
    run = {
        "kernel": rng.normal(scale=0.5, size=(F, gates * H)),
        "recurrent_kernel": rng.normal(scale=0.35, size=(H, gates * H)),
        "bias": rng.normal(scale=0.5, size=loop.bias_shape(H, own)),
        "inputs": rng.normal(size=(B, T, F)),
        "state": rng.uniform(-1, 1, (*states, B, H)),
    }
    run = {name: array.astype(np.float32) for name, array in run.items()}
    run["mask"] = MASK if "zero_output_for_mask" in dict(options) else None
    returned = {"return_sequences": True, "return_state": True}
    make = getattr(tf.keras.layers, loop.__name__)
    layer = make(H, activation=activation, dtype=policy, **returned, **own, **dict(options))
    layer.build((B, T, F))
    for name in WEIGHTS:
        getattr(layer.cell, name).assign(run[name])
    state = [tf.cast(one, layer.compute_dtype) for one in run["state"].reshape(-1, B, H)]
    found = layer(run["inputs"], mask=run["mask"], initial_state=state)
    run["outputs"], *final = (tensor.numpy() for tensor in found)
    run["final"] = np.reshape(final, run["state"].shape)
    options = {"zero_output_for_mask": False, "go_backwards": False, **own, **dict(options)}
    return run | options | {"activation": activation, "dtype": layer.compute_dtype}


def verdict(kind, mistake=None, activation="tanh", policy="float32", **options):
    """The verdict on a run of Keras after `mistake`, a function from the run to what it changes."""
    run = dict(keras_run(kind, activation, policy, tuple(sorted(options.items()))))
    if mistake is not None:
        run |= mistake(SimpleNamespace(**run))
    names = (*WEIGHTS, "activation", "go_backwards", "zero_output_for_mask", "dtype")
    names += tuple({"recurrent_activation", "reset_after"} & set(run))
    layer = getattr(rp, KINDS[kind][0].__name__)(**{name: run[name] for name in names})
    inputs, outputs, final, mask, state = (
        run[name] for name in ("inputs", "outputs", "final", "mask", "state")
    )
    if mistake is None:
        return rp.compare(layer, inputs, outputs, final, mask, state).verdict
    # A verdict alone: the search for a cause takes longest where there is none.
    observed = Observations.of(layer, outputs, final)
    return judge(layer, Sequences.of(layer, inputs, mask, state), observed, Subject()).check.verdict


def all_diverged(kind, mistakes, **options):
    found = {name: verdict(kind, mistake, **options) for name, mistake in mistakes.items()}
    assert set(found.values()) == {"diverged"}, found


def changed(array, index, change):
    array = array.copy()
    array[index] += np.asarray(change, array.dtype)
    return array


def each_weight(change):
    return lambda r: {name: change(getattr(r, name)) for name in WEIGHTS}


def gates(kind, array):
    letters = KINDS[kind][0].ORDER
    return dict(zip(letters, np.split(array, len(letters), axis=-1), strict=True))


def by_gate(kind, name, change, *only):
    """A weight with some of its gates changed, or all of them."""

    def mistake(r):
        parts = gates(kind, getattr(r, name))
        parts |= {gate: change(parts[gate]) for gate in only or parts}
        return {name: np.concatenate(list(parts.values()), axis=-1)}

    return mistake


def reordered(kind, order, names=WEIGHTS):
    def mistake(r):
        parts = {name: gates(kind, getattr(r, name)) for name in names}
        return {n: np.concatenate([parts[n][g] for g in order], axis=-1) for n in names}

    return mistake


SWAP, PERMUTE = [1, 0, 2, 3], [2, 0, 1, 5, 3, 4]


def wrong_weights(kind):
    """Mistakes of the weights, and of the activations."""
    found = {
        "bias dropped": lambda r: {"bias": None},
        "bias doubled": lambda r: {"bias": 2 * r.bias},
        "bias negated": lambda r: {"bias": -r.bias},
        "kernel transposed": by_gate(kind, "kernel", np.transpose),
        "recurrent kernel transposed": by_gate(kind, "recurrent_kernel", np.transpose),
        "kernels swapped": lambda r: {"kernel": r.recurrent_kernel, "recurrent_kernel": r.kernel},
        "features permuted": lambda r: {"kernel": r.kernel[PERMUTE]},
        "units permuted": lambda r: {
            n: by_gate(kind, n, lambda w: w[..., PERMUTE])(r)[n] for n in WEIGHTS
        },
        "no recurrence": lambda r: {"recurrent_kernel": 0 * r.recurrent_kernel},
        "one kernel entry": lambda r: {"kernel": changed(r.kernel, (2, 4), 1e-3)},
        "one recurrent entry": lambda r: {
            "recurrent_kernel": changed(r.recurrent_kernel, (5, -6), -1e-3)
        },
        "one bias": lambda r: {"bias": changed(r.bias, (..., 3), 1e-3)},
        "three decimals": each_weight(lambda w: w.round(3)),
        "four decimals": each_weight(lambda w: w.round(4)),
        **{name: each_weight(narrow) for name, narrow in NARROW.items()},
        **{
            name: lambda r, name=name: {"activation": name}
            for name in ("relu", "linear", "sigmoid", "hard_tanh", "softsign")
        },
    }
    if kind in GATED:
        found |= {
            "recurrent activation": lambda r: {"recurrent_activation": "hard_sigmoid"},
            "another hard_sigmoid": lambda r: {"recurrent_activation": "hard_sigmoid_keras2"},
            "activations swapped": lambda r: {
                "activation": "sigmoid",
                "recurrent_activation": "tanh",
            },
        }
    return found


def returned_h(r, h):
    return {"final": h if r.final.ndim == 2 else np.stack([h, r.final[1]])}


WRONG_DATA = {
    "initial state ignored": lambda r: {"state": 0 * r.state},
    "initial states swapped": lambda r: {"state": r.state[..., SWAP, :]},
    "inputs reversed": lambda r: {"inputs": r.inputs[:, ::-1]},
    "outputs reversed": lambda r: {"outputs": r.outputs[:, ::-1]},
    "direction": lambda r: {"go_backwards": not r.go_backwards},
    "samples of the inputs swapped": lambda r: {"inputs": r.inputs[SWAP]},
    "samples of the outputs swapped": lambda r: {
        "outputs": r.outputs[SWAP],
        "final": r.final[..., SWAP, :],
    },
    "batch and time swapped": lambda r: {"outputs": r.outputs.swapaxes(0, 1)},
    "one step early": lambda r: {"outputs": np.roll(r.outputs, -1, axis=1)},
    "one step late": lambda r: {"outputs": np.roll(r.outputs, 1, axis=1)},
    "outputs permuted": lambda r: {
        "outputs": r.outputs[:, :, PERMUTE],
        "final": r.final[..., PERMUTE],
    },
    "state of the step before": lambda r: returned_h(r, r.outputs[:, -2]),
    "state of the first step": lambda r: returned_h(r, r.outputs[:, 0]),
    "initial state returned": lambda r: {"final": r.state},
    "outputs in float16": lambda r: {"outputs": r.outputs.astype(np.float16)},
    "one unit stuck": lambda r: {"outputs": r.outputs * [1, 1, 0, 1, 1, 1]},
    "outputs clipped": lambda r: {"outputs": r.outputs.clip(-0.9, 0.9)},
    "noise": lambda r: {
        "outputs": r.outputs + np.random.default_rng(2).normal(scale=1e-5, size=r.outputs.shape)
    },
}
WRONG_STATES = {
    "h as zeros": lambda r: {"state": r.state * np.float32([0, 1])[:, None, None]},
    "c as zeros": lambda r: {"state": r.state * np.float32([1, 0])[:, None, None]},
    "samples of h": lambda r: {"state": np.stack([r.state[0][SWAP], r.state[1]])},
    "samples of c": lambda r: {"state": np.stack([r.state[0], r.state[1][SWAP]])},
    "h and c": lambda r: {"state": r.state[::-1]},
    "h and c returned": lambda r: {"final": r.final[::-1]},
    "the initial c returned": lambda r: {"final": np.stack([r.final[0], r.state[1]])},
    "c off by 1e-5": lambda r: {"final": r.final + np.float32([0, 1e-5])[:, None, None]},
}
WRONG_MASKS = {
    "ignored": lambda r: {"mask": None},
    "inverted": lambda r: {"mask": ~r.mask},
    "not reversed": lambda r: {"mask": r.mask[:, ::-1]},
    "one step late": lambda r: {"mask": np.roll(r.mask, 1, axis=1)},
    "one step missed": lambda r: {"mask": changed(r.mask, (2, 3), True)},
    "zeroed or not": lambda r: {"zero_output_for_mask": not r.zero_output_for_mask},
    # Nothing is computed at a masked step: the output is handed on.
    "a masked output computed": lambda r: {
        "outputs": changed(r.outputs, masked_output(r), 1e-4),
    },
}


def masked_output(run):
    b, t = np.argwhere(~(run.mask[:, ::-1] if run.go_backwards else run.mask))[-1]
    return b, t, 1


@every_kind
@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_without_a_mistake_it_is_parity(kind, options):
    assert verdict(kind, **options) == "parity"


@every_kind
@pytest.mark.parametrize("options", [{}, ZEROED], ids=str)
def test_wrong_weights(kind, options):
    all_diverged(kind, wrong_weights(kind), **options)


@every_kind
@pytest.mark.parametrize("options", [{}, ZEROED], ids=str)
def test_every_weight_of_every_gate_counts(kind, options):
    changes = {"0": lambda w: 0 * w, "-": lambda w: -w, "+": lambda w: w + np.float32(1e-3)}
    mistakes = {
        (name, gate, how): by_gate(kind, name, change, gate)
        for name in WEIGHTS
        for gate in KINDS[kind][0].ORDER
        for how, change in changes.items()
    }
    all_diverged(kind, mistakes, **options)


@pytest.mark.parametrize("kind", GATED)
def test_every_other_order_of_the_gates(kind):
    right = KINDS[kind][0].ORDER
    for order in map("".join, permutations(right)):
        for names in (WEIGHTS, *[(name,) for name in WEIGHTS]):
            found = verdict(kind, reordered(kind, order, names))
            assert found == ("parity" if order == right else "diverged"), (order, names)


@pytest.mark.parametrize("kind", ["GRU", "GRU, reset before"])
def test_the_reset_gate_on_the_other_side(kind):
    def flipped(r):
        bias = np.stack([r.bias, 0 * r.bias]) if r.bias.ndim == 1 else r.bias.sum(axis=0)
        return {"reset_after": not r.reset_after, "bias": bias}

    assert verdict(kind, flipped) == "diverged"


@every_kind
@pytest.mark.parametrize("options", [{}, BACKWARDS, MASKED | BACKWARDS], ids=str)
def test_wrong_data(kind, options):
    # No output of these LSTMs is so large that clipping changes it.
    own = {n: m for n, m in WRONG_DATA.items() if kind != "LSTM" or n != "outputs clipped"}
    all_diverged(kind, own | (WRONG_STATES if kind == "LSTM" else {}), **options)


@every_kind
@pytest.mark.parametrize("options", ALL_OPTIONS[2:], ids=str)
def test_wrong_masks(kind, options):
    all_diverged(kind, WRONG_MASKS, **options)


@pytest.mark.parametrize("activation", ["relu", "linear", "sigmoid", "softplus"])
def test_another_activation(activation):
    assert verdict("SimpleRNN", activation=activation) == "parity"
    tanh = verdict("SimpleRNN", lambda r: {"activation": "tanh"}, activation=activation)
    assert tanh == "diverged"


def test_the_slope_of_hard_sigmoid():
    found = [
        verdict("SimpleRNN", lambda r, n=n: {"activation": n}, activation="hard_sigmoid")
        for n in ("hard_sigmoid", "hard_sigmoid_keras2")
    ]
    keras_3 = hasattr(tf.keras, "ops")
    assert found == (["parity", "diverged"] if keras_3 else ["diverged", "parity"])


@every_kind
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_wrong_weights_in_16_bits(kind, policy):
    """Sums in 16 bits may be too coarse to refute it, but what is wrong never passes as right."""
    assert verdict(kind, policy=policy) == "parity"
    names = ("bias dropped", "recurrent kernel transposed", "relu")
    mistakes = {name: wrong_weights(kind)[name] for name in names}
    if kind in GATED:
        mistakes["order"] = reordered(kind, KINDS[kind][0].ORDER[::-1])
    for name, mistake in mistakes.items():
        assert verdict(kind, mistake, policy=policy) in ("diverged", "inconclusive"), name
