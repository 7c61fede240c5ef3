"""Wrong implementations by hand: a plain float32 loop, and one change of it for every mistake.

Nothing here comes from the package: what the loop computes is the oracle of the tests of diagnosis.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

import rnn_parity as rp
from rnn_parity.examine import examine
from rnn_parity.judge import Observations
from rnn_parity.results import Subject
from rnn_parity.sequences import Sequences

SIZES = [(2, 5, 3, 4), (32, 28, 32, 16), (4, 200, 64, 64)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def nothing(a):
    return a


FUNCTIONS = {
    "linear": nothing,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.minimum(np.maximum(z, 0), 6),
    "leaky_relu": lambda z: np.where(z > 0, z, np.float32(0.2) * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "softplus": lambda z: np.logaddexp(z, 0),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "silu": lambda z: z * sigmoid(z),
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "hard_sigmoid": lambda z: np.clip(z / np.float32(6) + np.float32(0.5), 0, 1),
    "hard_sigmoid_keras2": lambda z: np.clip(np.float32(0.2) * z + np.float32(0.5), 0, 1),
}


@dataclass(frozen=True, eq=False)
class Run:
    """A layer call, and what its implementation does: by default the right thing, in float32."""

    kernel: Any
    recurrent_kernel: Any
    bias: Any
    x: Any
    activation: str = "tanh"
    mask: Any = None
    state: Any = None
    go_backwards: bool = False
    zero_output_for_mask: bool = False
    stateful: bool = False
    function: Callable | None = None
    operand: Callable = nothing
    """What becomes of inputs, states and weights before they are multiplied."""
    stored: Callable = nothing
    """What becomes of a new state."""
    reverse_mask: bool = True

    def but(self, **changes):
        return replace(self, **changes)

    @property
    def weights(self):
        return self.kernel, self.recurrent_kernel, self.bias


def simulate(r):
    """The outputs `(B, T, H)` of a run in processing order."""
    f = r.function or FUNCTIONS[r.activation]
    x, mask = r.x, r.mask
    if r.go_backwards:
        x = x[:, ::-1]
        mask = mask[:, ::-1] if mask is not None and r.reverse_mask else mask
    shape = len(x), r.kernel.shape[1]
    h = np.zeros(shape, r.x.dtype) if r.state is None else r.state
    y, outputs = np.zeros(shape, r.x.dtype), []
    kernel, recurrent_kernel = r.operand(r.kernel), r.operand(r.recurrent_kernel)
    for t in range(x.shape[1]):
        z = r.operand(x[:, t]) @ kernel + r.operand(h) @ recurrent_kernel
        if r.bias is not None:
            z = z + r.bias
        new = r.stored(f(z).astype(r.x.dtype))
        if mask is None:
            h = y = new
        else:
            keep = mask[:, t, None]
            hidden = 0 * y if r.zero_output_for_mask else y
            h, y = np.where(keep, new, h), np.where(keep, new, hidden)
        outputs.append(y)
    return np.stack(outputs, axis=1)


def right_run(size, seed=0, activation="tanh", mask=False, state=False, bias=True, gain=0.8, **o):
    """A random layer and data for it; every weight is distinct and not zero."""
    batch, timesteps, features, units = size
    rng = np.random.default_rng([seed, *size])
    run = Run(
        kernel=rng.normal(size=(features, units)) / np.sqrt(features),
        recurrent_kernel=rng.normal(size=(units, units)) * gain / np.sqrt(units),
        bias=rng.normal(size=units) * 0.3,
        x=rng.normal(size=(batch, timesteps, features)),
        activation=activation,
        state=rng.uniform(-1, 1, (batch, units)),
        **o,
    )
    names = ("kernel", "recurrent_kernel", "bias", "x", "state")
    run = run.but(**{n: getattr(run, n).astype(np.float32) for n in names})
    if mask:
        keep = rng.random((batch, timesteps)) < 0.7
        keep[0, :3], keep[-1, 1:3] = (False, True, False), (False, True)
        run = run.but(mask=keep)
    return run.but(state=run.state if state else None, bias=run.bias if bias else None)


def tfloat32(w):
    """To nearest, ties to even, of float32's bits."""
    bits = w.astype(np.float32).view(np.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(np.float32)


def through(dtype):
    return lambda a: a.astype(dtype).astype(np.float32)


NARROW = {
    "tfloat32": tfloat32,
    "float16": through(np.float16),
    "bfloat16": through(ml_dtypes.bfloat16),
}


def weights_through(f):
    def change(r, rng):
        bias = None if r.bias is None else f(r.bias)
        return r.but(kernel=f(r.kernel), recurrent_kernel=f(r.recurrent_kernel), bias=bias)

    return change


def narrow_throughout(f):
    """Weights, inputs, sums and results in a narrow format."""
    return lambda r, rng: weights_through(f)(r, rng).but(
        operand=f, function=lambda z: FUNCTIONS[r.activation](f(z)), stored=f
    )


def other_order(count, rng):
    """A permutation that moves something."""
    order = rng.permutation(count)
    return order if (order != np.arange(count)).any() else np.roll(order, 1)


def shuffled_units(r, rng):
    order = other_order(r.kernel.shape[1], rng)
    return lambda y: y[..., order]


def dropped_inputs(r, rng):
    keep = rng.random((len(r.x), 1, r.x.shape[2])) < 0.7
    keep[0, 0, 0] = False
    return r.but(x=r.x * keep / np.float32(0.7))


def some_weights(r, rng):
    kernel, recurrent_kernel = r.kernel.copy(), r.recurrent_kernel.copy()
    kernel[1, 2] += np.float32(0.25)
    recurrent_kernel[2, 0] -= np.float32(0.125)
    return r.but(kernel=kernel, recurrent_kernel=recurrent_kernel)


def late(y):
    return np.concatenate([0 * y[:, :1], y[:, :-1]], axis=1)


@dataclass(frozen=True)
class Mistake:
    """`change(run, rng)` gives the wrong run, or a function of the right run's outputs.

    `detail` must stand in the explanation. `needs` are options of `right_run`.
    """

    fault: str
    change: Callable
    detail: str = ""
    needs: Any = None
    square: bool = False

    @property
    def options(self):
        return self.needs or {}

    def observed(self, run, seed=0):
        changed = self.change(run, np.random.default_rng(seed))
        return simulate(changed) if isinstance(changed, Run) else changed(simulate(run))


BACK, MASK, STATE = {"go_backwards": True}, {"mask": True}, {"state": True}
MISTAKES = [
    Mistake("bias-dropped", lambda r, g: r.but(bias=None)),
    Mistake("bias-doubled", lambda r, g: r.but(bias=r.bias + r.bias)),
    Mistake("kernel-transposed", lambda r, g: r.but(kernel=r.kernel.T), square=True),
    Mistake(
        "recurrent-kernel-transposed", lambda r, g: r.but(recurrent_kernel=r.recurrent_kernel.T)
    ),
    Mistake("initial-state-ignored", lambda r, g: r.but(state=None), needs=STATE),
    Mistake("state-not-carried", lambda r, g: r.but(state=None), needs={"stateful": True, **STATE}),
    Mistake("inputs-reversed", lambda r, g: r.but(go_backwards=False), needs=BACK),
    Mistake(
        "inputs-reversed",
        lambda r, g: r.but(go_backwards=True),
        needs={"go_backwards": False},
    ),
    Mistake("outputs-not-reversed", lambda r, g: lambda y: y[:, ::-1], needs=BACK),
    Mistake("mask-ignored", lambda r, g: r.but(mask=None), needs=MASK),
    Mistake("mask-not-reversed", lambda r, g: r.but(reverse_mask=False), needs={**MASK, **BACK}),
    Mistake(
        "masked-output-not-zeroed",
        lambda r, g: r.but(zero_output_for_mask=False),
        needs={**MASK, "zero_output_for_mask": True},
    ),
    *(
        Mistake("activation-swapped", lambda r, g, n=n: r.but(activation=n), f" {n}")
        for n in ("relu", "linear", "sigmoid", "softsign", "silu", "elu")
    ),
    Mistake(
        "hard-sigmoid-slope",
        lambda r, g: r.but(activation="hard_sigmoid_keras2"),
        "Keras 2",
        {"activation": "hard_sigmoid"},
    ),
    Mistake(
        "hard-sigmoid-slope",
        lambda r, g: r.but(activation="hard_sigmoid"),
        "Keras 3",
        {"activation": "hard_sigmoid_keras2"},
    ),
    Mistake("time-shifted", lambda r, g: lambda y: np.roll(y, -1, axis=1), "early"),
    Mistake("time-shifted", lambda r, g: late, "late"),
    Mistake("batch-time-swapped", lambda r, g: lambda y: y.swapaxes(0, 1), "time first"),
    Mistake(
        "batch-time-swapped",
        lambda r, g: lambda y: simulate(r.but(x=r.x.swapaxes(0, 1))).swapaxes(0, 1),
        "along the batch",
        {"mask": False, "state": False, "go_backwards": False},
    ),
    Mistake(
        "features-permuted",
        lambda r, g: r.but(kernel=r.kernel[other_order(len(r.kernel), g)]),
        "order",
    ),
    Mistake("units-permuted", shuffled_units, "order"),
    Mistake("dropout-active", dropped_inputs, "rate of 0.3"),
    *(
        Mistake("weights-rounded", weights_through(f), n, {"mask": False})
        for n, f in NARROW.items()
    ),
    *(
        Mistake(
            "weights-rounded",
            weights_through(lambda w, k=k: np.round(w.astype(float), k).astype(np.float32)),
            f"{k} decimals",
        )
        for k in (2, 3, 4)
    ),
    *(
        Mistake("lower-precision", lambda r, g, f=f: r.but(operand=f), f"operands in {n}")
        for n, f in NARROW.items()
    ),
    *(
        Mistake("lower-precision", narrow_throughout(NARROW[n]), f"in {n}")
        for n in ("float16", "bfloat16")
    ),
    Mistake("weights-differ", some_weights, "kernel[1, 2]"),
]
"""Every fault of the catalogue but the stale final state, which needs one."""


def stuck_unit(r, rng):
    return r.but(stored=lambda h: h * (np.arange(h.shape[1]) != 1).astype(np.float32))


def skipped_step(r, rng):
    """One timestep is left out, and the last output stands twice."""
    at = r.x.shape[1] // 2
    y = simulate(r.but(x=np.delete(r.x, at, axis=1)))
    return lambda _: np.concatenate([y, y[:, -1:]], axis=1)


def noise(size):
    return lambda r, g: lambda y: (y + size * g.normal(size=y.shape)).astype(np.float32)


def gaussian_weights(r, rng):
    shapes = r.kernel.shape, r.recurrent_kernel.shape
    kernels = [rng.normal(size=s).astype(np.float32) / np.float32(s[0] ** 0.5) for s in shapes]
    return r.but(kernel=kernels[0], recurrent_kernel=kernels[1])


def bias_after(r, rng):
    return r.but(bias=None, function=lambda z: FUNCTIONS[r.activation](z) + r.bias)


def other_batch(r, rng):
    return lambda y: y[other_order(len(y), rng)]


OUTSIDE = {
    "piecewise-linear tanh": lambda r, g: r.but(
        function=lambda z: np.interp(z, np.linspace(-4, 4, 17), np.tanh(np.linspace(-4, 4, 17)))
    ),
    "state clipped to [-0.9, 0.9]": lambda r, g: r.but(stored=lambda h: np.clip(h, -0.9, 0.9)),
    "one unit stuck at zero": stuck_unit,
    "noise of 1e-4": noise(1e-4),
    "noise of 1e-2": noise(1e-2),
    "shuffled batch": other_batch,
    "inputs scaled by 1.1": lambda r, g: r.but(x=r.x * np.float32(1.1)),
    "kernel scaled by 0.999": lambda r, g: r.but(kernel=r.kernel * np.float32(0.999)),
    "state decayed by 0.99": lambda r, g: r.but(stored=lambda h: h * np.float32(0.99)),
    "bias after the activation": bias_after,
    "bias negated": lambda r, g: r.but(bias=-r.bias),
    "relu of the inputs": lambda r, g: r.but(x=np.maximum(r.x, 0)),
    "inputs shifted by one step": lambda r, g: r.but(x=np.roll(r.x, 1, axis=1)),
    "one timestep skipped": skipped_step,
    "other Gaussian weights": gaussian_weights,
    "kernel columns permuted": lambda r, g: r.but(kernel=np.roll(r.kernel, 1, axis=1)),
    "states in 8-bit integers": lambda r, g: r.but(
        stored=lambda h: np.round(h * 127).astype(np.float32) / np.float32(127)
    ),
    "states in 7-bit fixed point": lambda r, g: r.but(
        stored=lambda h: np.round(h * 128).astype(np.float32) / np.float32(128)
    ),
    "recurrent dropout at every step": lambda r, g: r.but(
        stored=lambda h: h * (g.random(h.shape) < 0.8) / np.float32(0.8)
    ),
    "no recurrence": lambda r, g: r.but(recurrent_kernel=0 * r.recurrent_kernel),
    "leaky integration": lambda r, g: r.but(
        recurrent_kernel=r.recurrent_kernel
        + np.float32(0.1) * np.eye(len(r.recurrent_kernel), dtype=np.float32)
    ),
}
"""Mistakes that no fault of the catalogue is."""


def weights_of(run):
    """The layer as the package knows it."""
    options = {"go_backwards": run.go_backwards, "zero_output_for_mask": run.zero_output_for_mask}
    return rp.SimpleRNN(*run.weights, activation=run.activation, dtype="float32", **options)


def examined(run, outputs, final_state=None):
    """The package's check of observed outputs, as of a run of that layer."""
    layer = weights_of(run)
    sequences = Sequences.of(layer, run.x, run.mask, run.state)
    observed = Observations.of(layer, outputs, final_state)
    return examine(layer, sequences, observed, Subject(), run.stateful)


def reference(run):
    """The right outputs in float64, `(B, T, H)`."""
    names = ("kernel", "recurrent_kernel", "bias", "x", "state")
    wide = {n: None if getattr(run, n) is None else getattr(run, n).astype(float) for n in names}
    return simulate(run.but(**wide, stored=nothing))
