"""Mistakes, each as one change of the loop in `corpus`: every fault, and others that are none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from corpus import FUNCTIONS, NARROW, Run, simulate


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
    order = other_order(len(r.recurrent_kernel), rng)
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
        for n in ("relu", "linear", "sigmoid", "softsign", "silu", "elu", "hard_sigmoid")
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
