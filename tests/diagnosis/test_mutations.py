"""Every mistake is `diverged`: what Keras computed, against a replay with that mistake."""

from functools import cache
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

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


GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
STATES = {"SimpleRNN": (), "LSTM": (2,), "GRU": ()}


@cache
def keras_run(kind, activation, policy, options):
    """Everything that a layer was given, and what it computed, by the names of the API."""
    rng, gates = np.random.default_rng(0), GATES[kind]
    bias = (2, 3 * H) if kind == "GRU" and dict(options).get("reset_after", True) else (gates * H,)
    run = {
        "kernel": rng.normal(scale=0.5, size=(F, gates * H)),
        "recurrent_kernel": rng.normal(scale=0.35, size=(H, gates * H)),
        "bias": rng.normal(scale=0.5, size=bias),
        "inputs": rng.normal(size=(B, T, F)),
        "state": rng.uniform(-1, 1, (*STATES[kind], B, H)),
    }
    run = {name: array.astype(np.float32) for name, array in run.items()}
    run["mask"] = MASK if "zero_output_for_mask" in dict(options) else None
    returned = {"return_sequences": True, "return_state": True}
    make = getattr(tf.keras.layers, kind)
    layer = make(H, activation=activation, dtype=policy, **returned, **dict(options))
    layer.build((B, T, F))
    for name in WEIGHTS:
        getattr(layer.cell, name).assign(run[name])
    state = [tf.cast(one, layer.compute_dtype) for one in run["state"].reshape(-1, B, H)]
    found = layer(run["inputs"], mask=run["mask"], initial_state=state)
    run["outputs"], *final = (tensor.numpy() for tensor in found)
    run["final"] = np.reshape(final, run["state"].shape)
    options = {"zero_output_for_mask": False, "go_backwards": False, **dict(options)}
    return run | options | {"activation": activation, "dtype": layer.compute_dtype}


def verdict(mistake=None, activation="tanh", policy="float32", kind="SimpleRNN", **options):
    """The verdict on a run of Keras after `mistake`, a function from the run to what it changes."""
    run = dict(keras_run(kind, activation, policy, tuple(sorted(options.items()))))
    if mistake is not None:
        run |= mistake(SimpleNamespace(**run))
    names = (*WEIGHTS, "activation", "go_backwards", "zero_output_for_mask", "dtype")
    names += tuple({"recurrent_activation", "reset_after"} & set(run))
    layer = getattr(rp, kind)(**{name: run[name] for name in names})
    data = [run[name] for name in ("inputs", "outputs", "final", "mask", "state")]
    if mistake is None:
        return rp.compare(layer, *data).verdict
    # The same without the search for a cause, which takes longest where there is none.
    inputs, outputs, final, mask, state = data
    observed = Observations.of(layer, outputs, final)
    return judge(layer, Sequences.of(layer, inputs, mask, state), observed, Subject()).check.verdict


def changed(array, index, change):
    array = array.copy()
    array[index] += np.asarray(change, array.dtype)
    return array


def each_weight(change):
    return lambda r: {name: change(getattr(r, name)) for name in WEIGHTS}


def tfloat32(w):
    """Ten of the 23 stored bits stay."""
    return ((w.view(np.int32) + 0x1000) & ~0x1FFF).view(np.float32)


SWAP, PERMUTE = [1, 0, 2, 3], [2, 0, 1, 5, 3, 4]
WRONG_WEIGHTS = {
    "bias dropped": lambda r: {"bias": None},
    "bias doubled": lambda r: {"bias": 2 * r.bias},
    "bias negated": lambda r: {"bias": -r.bias},
    "kernel transposed": lambda r: {"kernel": r.kernel.T},
    "recurrent kernel transposed": lambda r: {"recurrent_kernel": r.recurrent_kernel.T},
    "kernels swapped": lambda r: {"kernel": r.recurrent_kernel, "recurrent_kernel": r.kernel},
    "features permuted": lambda r: {"kernel": r.kernel[PERMUTE]},
    "units permuted": lambda r: {
        "kernel": r.kernel[:, PERMUTE],
        "recurrent_kernel": r.recurrent_kernel[PERMUTE][:, PERMUTE],
        "bias": r.bias[PERMUTE],
    },
    "no recurrence": lambda r: {"recurrent_kernel": 0 * r.recurrent_kernel},
    "one kernel entry": lambda r: {"kernel": changed(r.kernel, (2, 4), 1e-3)},
    "one recurrent entry": lambda r: {
        "recurrent_kernel": changed(r.recurrent_kernel, (5, 0), -1e-3)
    },
    "one bias": lambda r: {"bias": changed(r.bias, 3, 1e-3)},
    "three decimals": each_weight(lambda w: w.round(3)),
    "four decimals": each_weight(lambda w: w.round(4)),
    "bfloat16": each_weight(lambda w: w.astype(ml_dtypes.bfloat16).astype(np.float32)),
    "float16": each_weight(lambda w: w.astype(np.float16).astype(np.float32)),
    "TF32": each_weight(tfloat32),
    "relu": lambda r: {"activation": "relu"},
    "linear": lambda r: {"activation": "linear"},
    "sigmoid": lambda r: {"activation": "sigmoid"},
    "hard_tanh": lambda r: {"activation": "hard_tanh"},
    "softsign": lambda r: {"activation": "softsign"},
}
WRONG_DATA = {
    "initial state ignored": lambda r: {"state": 0 * r.state},
    "initial states swapped": lambda r: {"state": r.state[SWAP]},
    "inputs reversed": lambda r: {"inputs": r.inputs[:, ::-1]},
    "outputs reversed": lambda r: {"outputs": r.outputs[:, ::-1]},
    "direction": lambda r: {"go_backwards": not r.go_backwards},
    "samples of the inputs swapped": lambda r: {"inputs": r.inputs[SWAP]},
    "samples of the outputs swapped": lambda r: {
        "outputs": r.outputs[SWAP],
        "final": r.final[SWAP],
    },
    "batch and time swapped": lambda r: {"outputs": r.outputs.swapaxes(0, 1)},
    "one step early": lambda r: {"outputs": np.roll(r.outputs, -1, axis=1)},
    "one step late": lambda r: {"outputs": np.roll(r.outputs, 1, axis=1)},
    "outputs permuted": lambda r: {
        "outputs": r.outputs[:, :, PERMUTE],
        "final": r.final[:, PERMUTE],
    },
    "state of the step before": lambda r: {"final": r.outputs[:, -2]},
    "state of the first step": lambda r: {"final": r.outputs[:, 0]},
    "initial state returned": lambda r: {"final": r.state},
    "outputs in float16": lambda r: {"outputs": r.outputs.astype(np.float16)},
    "one unit stuck": lambda r: {"outputs": r.outputs * [1, 1, 0, 1, 1, 1]},
    "outputs clipped": lambda r: {"outputs": r.outputs.clip(-0.9, 0.9)},
    "noise": lambda r: {
        "outputs": r.outputs + np.random.default_rng(2).normal(scale=1e-5, size=r.outputs.shape)
    },
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


ALL_OPTIONS = [{}, BACKWARDS, MASKED, ZEROED, MASKED | BACKWARDS, ZEROED | BACKWARDS]


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_without_a_mistake_it_is_parity(options):
    assert verdict(**options) == "parity"


@pytest.mark.parametrize("options", [{}, ZEROED], ids=str)
@pytest.mark.parametrize("mistake", WRONG_WEIGHTS)
def test_wrong_weights(mistake, options):
    assert verdict(WRONG_WEIGHTS[mistake], **options) == "diverged"


@pytest.mark.parametrize("options", [{}, BACKWARDS, MASKED | BACKWARDS], ids=str)
@pytest.mark.parametrize("mistake", WRONG_DATA)
def test_wrong_data(mistake, options):
    assert verdict(WRONG_DATA[mistake], **options) == "diverged"


@pytest.mark.parametrize("options", ALL_OPTIONS[2:], ids=str)
@pytest.mark.parametrize("mistake", WRONG_MASKS)
def test_wrong_masks(mistake, options):
    assert verdict(WRONG_MASKS[mistake], **options) == "diverged"


@pytest.mark.parametrize("activation", ["relu", "linear", "sigmoid", "softplus"])
def test_another_activation(activation):
    assert verdict(activation=activation) == "parity"
    assert verdict(lambda r: {"activation": "tanh"}, activation=activation) == "diverged"


def test_the_slope_of_hard_sigmoid():
    slopes = ("hard_sigmoid", "hard_sigmoid_keras2")
    found = [verdict(lambda r, n=n: {"activation": n}, activation="hard_sigmoid") for n in slopes]
    keras_3 = hasattr(tf.keras, "ops")
    assert found == (["parity", "diverged"] if keras_3 else ["diverged", "parity"])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("mistake", ["bias dropped", "recurrent kernel transposed", "relu"])
def test_wrong_weights_in_16_bits(policy, mistake):
    """Sums in 16 bits may be too coarse to refute it, but what is wrong never passes as right."""
    assert verdict(policy=policy) == "parity"
    assert verdict(WRONG_WEIGHTS[mistake], policy=policy) in ("diverged", "inconclusive")
