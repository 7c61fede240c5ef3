"""Every mistake in a layer is `diverged`: a real Keras layer against a replay that is off by one."""

import ml_dtypes
import numpy as np
import pytest

import rnn_parity as rp

tf = pytest.importorskip("tensorflow")
B, T, F, H = 4, 12, 6, 6  # square, so that a transposed kernel fits
MASK = np.random.default_rng(1).random((B, T)) < 0.7
MASK[:, 3] = [False, True, False, True]
MASK[:, -1] = [True, False, True, True]


class Run:
    """What a Keras layer computed, and everything that the replay is given."""

    def __init__(self, activation="tanh", policy="float32", **options):
        rng = np.random.default_rng(0)
        self.weights = {
            "kernel": rng.normal(scale=0.5, size=(F, H)),
            "recurrent_kernel": rng.normal(scale=0.35, size=(H, H)),
            "bias": rng.normal(scale=0.5, size=H),
        }
        self.weights = {n: w.astype(np.float32) for n, w in self.weights.items()}
        self.weights["activation"] = activation
        self.options = {**options, "dtype": policy.removeprefix("mixed_")}
        self.inputs = rng.normal(size=(B, T, F)).astype(np.float32)
        self.state = rng.uniform(-1, 1, (B, H)).astype(np.float32)
        self.mask = MASK if "zero_output_for_mask" in options else None
        layer = tf.keras.layers.SimpleRNN(
            H,
            activation=activation,
            return_sequences=True,
            return_state=True,
            dtype=policy,
            **options,
        )
        layer.build((B, T, F))
        for name in ("kernel", "recurrent_kernel", "bias"):
            getattr(layer.cell, name).assign(self.weights[name])
        found = layer(self.inputs, mask=self.mask, initial_state=[tf.constant(self.state)])
        self.outputs, self.final = (np.array(tensor) for tensor in found)

    def verdict(self):
        layer = rp.SimpleRNN(**self.weights, **self.options)
        return rp.compare(
            layer, self.inputs, self.outputs, self.final, self.mask, self.state
        ).verdict

    def reweight(self, **changes):
        for name, change in changes.items():
            self.weights[name] = change(self.weights[name])


def one_entry(size):
    def change(w):
        w = w.copy()
        w[(2, 4)[: w.ndim]] += np.float32(size)
        return w

    return change


def to_bfloat16(w):
    return w.astype(ml_dtypes.bfloat16).astype(np.float32)


def to_tfloat32(w):
    # ten of the 23 stored bits stay
    return ((w.view(np.int32) + 0x1000) & ~0x1FFF).view(np.float32)


PERMUTED = [2, 0, 1, 5, 3, 4]
EVERY_WEIGHT = ("kernel", "recurrent_kernel", "bias")
WEIGHTS = {
    "bias dropped": {"bias": lambda w: None},
    "bias doubled": {"bias": lambda w: 2 * w},
    "bias negated": {"bias": lambda w: -w},
    "kernel transposed": {"kernel": np.transpose},
    "recurrent kernel transposed": {"recurrent_kernel": np.transpose},
    "kernels swapped": {},
    "features permuted": {"kernel": lambda w: w[PERMUTED]},
    "units permuted": {
        "kernel": lambda w: w[:, PERMUTED],
        "recurrent_kernel": lambda w: w[PERMUTED][:, PERMUTED],
        "bias": lambda w: w[PERMUTED],
    },
    "recurrent kernel without its diagonal": {
        "recurrent_kernel": lambda w: w - np.diag(w.diagonal())
    },
    **{f"one entry of {n}": {n: one_entry(1e-3)} for n in EVERY_WEIGHT},
    "three decimals": dict.fromkeys(EVERY_WEIGHT, lambda w: w.round(3)),
    "four decimals": dict.fromkeys(EVERY_WEIGHT, lambda w: w.round(4)),
    "bfloat16": dict.fromkeys(EVERY_WEIGHT, to_bfloat16),
    "float16": dict.fromkeys(EVERY_WEIGHT, lambda w: w.astype(np.float16).astype(np.float32)),
    "TF32": dict.fromkeys(EVERY_WEIGHT, to_tfloat32),
    "relu": {"activation": lambda name: "relu"},
    "linear": {"activation": lambda name: "linear"},
    "sigmoid": {"activation": lambda name: "sigmoid"},
    "hard_tanh": {"activation": lambda name: "hard_tanh"},
    "softsign": {"activation": lambda name: "softsign"},
}


@pytest.fixture(scope="module")
def cached():
    return {}


def copy_of(cached, **options):
    """A run that may be changed; Keras computes each only once."""
    key = repr(sorted(options.items()))
    if key not in cached:
        cached[key] = Run(**options)
    run = object.__new__(Run)
    run.__dict__.update(cached[key].__dict__)
    run.weights, run.options = dict(run.weights), dict(run.options)
    run.outputs, run.final = run.outputs.copy(), run.final.copy()
    return run


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"go_backwards": True},
        {"zero_output_for_mask": False},
        {"zero_output_for_mask": True, "go_backwards": True},
        {"activation": "relu"},
        {"activation": "hard_sigmoid"},
    ],
    ids=str,
)
def test_without_a_mistake_it_is_parity(cached, options):
    assert copy_of(cached, **options).verdict() == "parity"


@pytest.mark.parametrize("options", [{}, {"zero_output_for_mask": True}], ids=str)
@pytest.mark.parametrize("mistake", WEIGHTS)
def test_wrong_weights(cached, mistake, options):
    run = copy_of(cached, **options)
    run.reweight(**WEIGHTS[mistake])
    if mistake == "kernels swapped":
        w = run.weights
        w["kernel"], w["recurrent_kernel"] = w["recurrent_kernel"], w["kernel"]
    assert run.verdict() == "diverged"


def ignore_state(run):
    run.state = np.zeros_like(run.state)


def swap_states(run):
    run.state = run.state[[1, 0, 2, 3]]


def reverse_inputs(run):
    run.inputs = run.inputs[:, ::-1]


def reverse_outputs(run):
    run.outputs = run.outputs[:, ::-1]


def swap_samples(run):
    run.inputs = run.inputs[[1, 0, 2, 3]]


def swap_outputs(run):
    run.outputs, run.final = run.outputs[[1, 0, 2, 3]], run.final[[1, 0, 2, 3]]


def swap_batch_and_time(run):
    run.outputs = run.outputs.swapaxes(0, 1)


def one_step_early(run):
    run.outputs = np.roll(run.outputs, -1, axis=1)


def one_step_late(run):
    run.outputs = np.roll(run.outputs, 1, axis=1)


def permute_outputs(run):
    run.outputs, run.final = run.outputs[:, :, PERMUTED], run.final[:, PERMUTED]


def stale_state(run):
    run.final = run.outputs[:, -2]


def initial_state_returned(run):
    run.final = run.state


def state_of_the_first_step(run):
    run.final = run.outputs[:, 0]


def outputs_in_float16(run):
    run.outputs = run.outputs.astype(np.float16)


def one_unit_stuck(run):
    run.outputs[:, :, 2] = 0


def noise(run):
    run.outputs += np.random.default_rng(2).normal(scale=1e-5, size=run.outputs.shape)


def clipped(run):
    run.outputs = run.outputs.clip(-0.9, 0.9)


def four_decimals(run):
    run.outputs = run.outputs.round(4)


def flip_direction(run):
    run.options["go_backwards"] = not run.options.get("go_backwards", False)


DATA = [
    *(ignore_state, swap_states, reverse_inputs, reverse_outputs, swap_samples, swap_outputs),
    *(swap_batch_and_time, one_step_early, one_step_late, permute_outputs, stale_state),
    *(initial_state_returned, state_of_the_first_step, outputs_in_float16, one_unit_stuck),
    *(noise, clipped, four_decimals, flip_direction),
]


@pytest.mark.parametrize(
    "options",
    [{}, {"go_backwards": True}, {"zero_output_for_mask": False, "go_backwards": True}],
    ids=str,
)
@pytest.mark.parametrize("mistake", DATA)
def test_wrong_data(cached, mistake, options):
    run = copy_of(cached, **options)
    mistake(run)
    assert run.verdict() == "diverged"


def mask_ignored(run):
    run.mask = None


def mask_inverted(run):
    run.mask = ~run.mask


def mask_reversed(run):
    run.mask = run.mask[:, ::-1]


def mask_of_the_next_step(run):
    run.mask = np.roll(run.mask, 1, axis=1)


def mask_without_one_step(run):
    run.mask = run.mask.copy()
    run.mask[2, 3] = True


def zeroing_flipped(run):
    run.options["zero_output_for_mask"] = not run.options["zero_output_for_mask"]


def one_masked_output(run):
    """Nothing is computed there: the output is handed on."""
    masked = run.mask[:, ::-1] if run.options.get("go_backwards") else run.mask
    b, t = np.argwhere(~masked)[-1]
    run.outputs[b, t, 1] += 1e-6


@pytest.mark.parametrize("zeroed", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    "mistake",
    [
        *(mask_ignored, mask_inverted, mask_reversed, mask_of_the_next_step),
        *(mask_without_one_step, zeroing_flipped, one_masked_output),
    ],
)
def test_wrong_masks(cached, mistake, backwards, zeroed):
    run = copy_of(cached, zero_output_for_mask=zeroed, go_backwards=backwards)
    mistake(run)
    assert run.verdict() == "diverged"


def test_the_slope_of_hard_sigmoid(cached):
    run = copy_of(cached, activation="hard_sigmoid")
    keras_3 = hasattr(tf.keras, "ops")
    other = "hard_sigmoid_keras2" if keras_3 else "hard_sigmoid"
    run.weights["activation"] = other
    assert (run.verdict() == "diverged") == keras_3


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "mistake",
    ["bias dropped", "recurrent kernel transposed", "kernel transposed", "relu", "linear"],
)
def test_wrong_weights_in_16_bits(cached, policy, mistake):
    """Sums in 16 bits may be too coarse to refute it, but what is wrong never passes as right."""
    run = copy_of(cached, policy=policy)
    assert run.verdict() == "parity"
    run.reweight(**WEIGHTS[mistake])
    assert run.verdict() in ("diverged", "inconclusive")
