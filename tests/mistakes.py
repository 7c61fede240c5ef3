"""Mistakes, each as one change of the loops in `corpus`: every fault, and others that are none.

The tests of diagnosis take theirs from here: what is diverged and named (`test_faults`), what the
catalogue makes of a computation (`test_fault_variants`), what hides a fault (`test_blind_spots`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import pytest
from corpus import FUNCTIONS, GATED, KINDS, LSTM, NARROW, SimpleRNN, right_run, simulate

WEIGHTS = ("kernel", "recurrent_kernel", "bias")


@dataclass(frozen=True)
class Mistake:
    """`change(run, rng)` gives the wrong run, or a function of the right run's outputs.

    `detail` must stand in the explanation. `needs` are options of `right_run`.
    """

    fault: str
    change: Callable
    detail: str = ""
    needs: dict = field(default_factory=dict)
    kinds: tuple = tuple(KINDS)
    square: bool = False

    def right_run(self, kind, size, seed=0, **options):
        """A right run of a layer that this mistake can be made of."""
        size = (*size[:2], size[3], size[3]) if self.square else size
        return right_run(size, seed, kind=kind, **{**options, **self.needs})

    def observed(self, run, seed=0):
        changed = self.change(run, np.random.default_rng(seed))
        return simulate(changed) if isinstance(changed, SimpleRNN) else changed(simulate(run))


def but(**changes):
    """A run with other attributes, each made of the run."""
    return lambda r, g: r.but(**{name: make(r) for name, make in changes.items()})


def set_to(**changes):
    """A run with other attributes."""
    return lambda r, g: r.but(**changes)


def outputs_through(f):
    return lambda r, g: f


def weights_through(f):
    def change(r, rng):
        return r.but(**{n: None if getattr(r, n) is None else f(getattr(r, n)) for n in WEIGHTS})

    return change


def printed(decimals):
    """As float32 has what was printed."""
    return weights_through(lambda w: np.round(w.astype(float), decimals).astype(np.float32))


def rounded_throughout(name):
    """Weights, inputs, sums and results in a narrow format."""
    f = NARROW[name]
    return lambda r, g: weights_through(f)(r, g).but(
        operand=f, function=lambda z: FUNCTIONS[r.activation](f(z)), stored=f
    )


def computed_in(dtype):
    """Everything in a narrower dtype, operation by operation."""

    def change(r, rng):
        narrow = simulate(r.astype(dtype))
        return lambda y: narrow.astype(y.dtype)

    return change


def other_order(count, rng):
    """A permutation that moves something."""
    order = rng.permutation(count)
    return order if (order != np.arange(count)).any() else np.roll(order, 1)


def shuffled_units(r, rng):
    order = other_order(len(r.recurrent_kernel), rng)
    return lambda y: y[..., order]


def shuffled_features(r, rng):
    return r.but(kernel=r.kernel[other_order(len(r.kernel), rng)])


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


def early(y):
    return np.roll(y, -1, axis=1)


def along_the_batch(r, rng):
    return lambda y: simulate(r.but(x=r.x.swapaxes(0, 1))).swapaxes(0, 1)


def gate_block(r, gate):
    units = len(r.recurrent_kernel)
    return slice(r.ORDER.index(gate) * units, (r.ORDER.index(gate) + 1) * units)


def transposed(name):
    """The blocks of all gates."""

    def change(r, rng):
        blocks = np.split(getattr(r, name), len(r.ORDER), axis=1)
        return r.but(**{name: np.concatenate([b.T for b in blocks], axis=1)})

    return change


def misread(name):
    """Its numbers in the other order of memory."""

    def change(r, rng):
        w = getattr(r, name)
        return r.but(**{name: np.ravel(w, order="F").reshape(w.shape)})

    return change


def reordered(order, *names):
    """Only these weights have been brought into another order."""

    def change(r, rng):
        found = {}
        for name in names:
            parts = dict(zip(order, np.split(getattr(r, name), len(order), axis=-1), strict=True))
            found[name] = np.concatenate([parts[gate] for gate in r.ORDER], axis=-1)
        return r.but(**found)

    return change


def forget_bias(change):
    def changed(r, rng):
        bias = r.bias.copy()
        bias[gate_block(r, "f")] = change(bias[gate_block(r, "f")])
        return r.but(bias=bias)

    return changed


def bias_rows(change):
    return but(bias=lambda r: np.stack(change(*r.bias)))


def bias_inside(r):
    """A GRU's bias, that of the candidate inside the reset gate."""
    outside, inside = r.bias.copy(), 0 * r.bias
    inside[gate_block(r, "h")] = outside[gate_block(r, "h")]
    outside[gate_block(r, "h")] = 0
    return outside, inside


def state_zeroed(part):
    def change(r, rng):
        state = r.state.copy()
        state[part] = 0
        return r.but(state=state)

    return change


BACK, MASK, STATE = {"go_backwards": True}, {"mask": True}, {"state": True}
ONE, AFTER, OF_LSTM = ("SimpleRNN",), ("GRU",), ("LSTM",)
BEFORE, OF_GRU, OF_GATED = ("GRU, reset before",), ("GRU", "GRU, reset before"), tuple(GATED)
TO_2, TO_3 = ("hard_sigmoid", "hard_sigmoid_keras2"), ("hard_sigmoid_keras2", "hard_sigmoid")

MISTAKES = [
    Mistake("bias-dropped", set_to(bias=None)),
    Mistake("bias-dropped", bias_rows(lambda b, c: (0 * b, c)), "of the inputs", kinds=AFTER),
    Mistake("bias-doubled", but(bias=lambda r: r.bias + r.bias)),
    Mistake("kernel-transposed", transposed("kernel"), square=True),
    Mistake("kernel-transposed", misread("kernel"), "in memory"),
    Mistake("recurrent-kernel-transposed", transposed("recurrent_kernel")),
    Mistake(
        "recurrent-kernel-transposed", misread("recurrent_kernel"), "in memory", kinds=OF_GATED
    ),
    Mistake("initial-state-ignored", set_to(state=None), needs=STATE),
    Mistake("initial-state-ignored", state_zeroed(0), "h alone", STATE, OF_LSTM),
    Mistake("initial-state-ignored", state_zeroed(1), "c alone", STATE, OF_LSTM),
    Mistake("state-not-carried", set_to(state=None), needs={"stateful": True, **STATE}),
    Mistake("inputs-reversed", set_to(go_backwards=False), needs=BACK),
    Mistake("inputs-reversed", set_to(go_backwards=True), needs={"go_backwards": False}),
    Mistake("outputs-not-reversed", outputs_through(lambda y: y[:, ::-1]), needs=BACK),
    Mistake("mask-ignored", set_to(mask=None), needs=MASK),
    Mistake("mask-not-reversed", set_to(reverse_mask=False), needs={**MASK, **BACK}),
    Mistake(
        "masked-output-not-zeroed",
        set_to(zero_output_for_mask=False),
        needs={**MASK, "zero_output_for_mask": True},
    ),
    *(
        Mistake("activation-swapped", set_to(activation=n), f" {n}")
        for n in ("relu", "linear", "sigmoid", "softsign", "silu", "elu", "hard_sigmoid")
    ),
    *(
        Mistake("recurrent-activation-swapped", set_to(recurrent_activation=n), n, kinds=OF_GATED)
        for n in ("hard_sigmoid", "hard_sigmoid_keras2", "tanh", "relu6")
    ),
    *(
        Mistake("hard-sigmoid-slope", set_to(activation=b), f"Keras {keras}", {"activation": a})
        for keras, (a, b) in ((2, TO_2), (3, TO_3))
    ),
    Mistake(
        "hard-sigmoid-slope",
        set_to(recurrent_activation=TO_2[1]),
        "Keras 2",
        {"recurrent_activation": TO_2[0]},
        OF_GATED,
    ),
    Mistake("time-shifted", outputs_through(early), "early"),
    Mistake("time-shifted", outputs_through(late), "late"),
    Mistake("batch-time-swapped", outputs_through(lambda y: y.swapaxes(0, 1)), "time first"),
    Mistake(
        "batch-time-swapped",
        along_the_batch,
        "along the batch",
        {"mask": False, "state": False, "go_backwards": False},
    ),
    Mistake("features-permuted", shuffled_features, "order"),
    Mistake("units-permuted", shuffled_units, "order"),
    Mistake("dropout-active", dropped_inputs, "rate of 0.3"),
    *(
        Mistake("weights-rounded", weights_through(f), n, {"mask": False})
        for n, f in NARROW.items()
    ),
    *(Mistake("weights-rounded", printed(k), f"{k} decimals") for k in (2, 3, 4)),
    *(Mistake("lower-precision", set_to(operand=f), f"operands in {n}") for n, f in NARROW.items()),
    *(
        Mistake("lower-precision", rounded_throughout(n), f"in {n}", kinds=ONE)
        for n in ("float16", "bfloat16")
    ),
    *(
        Mistake("lower-precision", computed_in(d), f"computed in {np.dtype(d).name}", {}, OF_GATED)
        for d in (np.float16, ml_dtypes.bfloat16)
    ),
    Mistake("weights-differ", some_weights, "kernel[1, 2]"),
    *(
        Mistake("gates-permuted", set_to(order=order), ", ".join(order), kinds=kinds)
        for kinds, orders in ((OF_LSTM, "iofc icfo fico ocfi"), (OF_GRU, "rzh hzr zhr"))
        for order in orders.split()
    ),
    Mistake("gates-misaligned", reordered("iofc", "bias"), "those of the bias", kinds=OF_LSTM),
    Mistake(
        "gates-misaligned",
        reordered("icfo", "kernel", "recurrent_kernel"),
        "those of the kernel and recurrent kernel",
        kinds=OF_LSTM,
    ),
    *(
        Mistake("gates-misaligned", reordered("rzh", name), f"of the {said}", kinds=OF_GRU)
        for name, said in (("recurrent_kernel", "recurrent kernel"), ("bias", "bias"))
    ),
    *(
        Mistake(f"forget-bias-{fault}", forget_bias(change), said, kinds=OF_LSTM)
        for fault, change, said in (
            ("missing", lambda b: b - np.float32(1), "1 less"),
            ("missing", lambda b: 0 * b, "zeros"),
            ("doubled", lambda b: b + np.float32(1), "1 more"),
            ("doubled", lambda b: b + b, "twice"),
        )
    ),
    Mistake("states-swapped", but(state=lambda r: r.state[::-1]), "", STATE, OF_LSTM),
    Mistake("update-gate-inverted", set_to(inverted=True), kinds=OF_GRU),
    Mistake("recurrent-bias-dropped", bias_rows(lambda b, c: (b, 0 * c)), kinds=AFTER),
    Mistake("recurrent-bias-not-reset", bias_rows(lambda b, c: (b + c, 0 * b)), kinds=AFTER),
    Mistake(
        "reset-after-flipped",
        lambda r, g: r.but(reset_after=False, bias=r.bias.sum(axis=0)),
        "before the product",
        kinds=AFTER,
    ),
    Mistake(
        "reset-after-flipped",
        lambda r, g: r.but(reset_after=True, bias=np.stack([r.bias, 0 * r.bias])),
        "after the product",
        kinds=BEFORE,
    ),
    Mistake(
        "reset-after-flipped",
        lambda r, g: r.but(reset_after=True, bias=np.stack(bias_inside(r))),
        "after the product and the bias",
        kinds=BEFORE,
    ),
    Mistake(
        "reset-after-flipped",
        but(reset_after=lambda r: not r.reset_after),
        needs={"bias": False},
        kinds=OF_GRU,
    ),
]
"""Every fault of the catalogue but two: the stale final state, which needs one, and dropout that is
left out, which needs masks (`bounds/test_dropout`).
"""
EVERY_MISTAKE = [
    pytest.param(kind, mistake, id=f"{kind}: {mistake.fault} {mistake.detail}")
    for mistake in MISTAKES
    for kind in mistake.kinds
]


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


def but_step(step):
    """The same layer with another formula."""
    return lambda r, rng: type("Other", (type(r),), {"step": step})(**vars(r))


def bare_cell_state(r, x, states):
    z, s = r.arguments(x, states[0]), r.s
    c = s(z["f"]) * states[1] + s(z["i"]) * r.a(z["c"])
    return s(z["o"]) * c, c


def tied_gates(r, x, states):
    z, s = r.arguments(x, states[0]), r.s
    c = (1 - s(z["i"])) * states[1] + s(z["i"]) * r.a(z["c"])
    return s(z["o"]) * r.a(c), c


def peepholes(r, x, states):
    z, s = r.arguments(x, states[0]), r.s
    c = s(z["f"] + states[1]) * states[1] + s(z["i"] + states[1]) * r.a(z["c"])
    return s(z["o"] + c) * r.a(c), c


def no_output_gate(r, x, states):
    c = LSTM.step(r, x, states)[1]
    return r.a(c), c


def no_reset(r, x, states):
    (h,), s = states, r.s
    of_x, of_h = r.arguments(x, h)
    z = s(of_x["z"] + of_h["z"])
    return (z * h + (1 - z) * r.a(of_x["h"] + of_h["h"]),)


def reset_of_everything(r, x, states):
    (h,), s = states, r.s
    of_x, of_h = r.arguments(x, h)
    z, reset = s(of_x["z"] + of_h["z"]), s(of_x["r"] + of_h["r"])
    return (z * h + (1 - z) * r.a(reset * (of_x["h"] + of_h["h"])),)


def one_gate_for_both(r, x, states):
    (h,), s = states, r.s
    of_x, of_h = r.arguments(x, h)
    z = s(of_x["z"] + of_h["z"])
    return (z * h + (1 - z) * r.a(of_x["h"] + z * of_h["h"]),)


OF_ANY = {
    "piecewise-linear tanh": set_to(
        function=lambda z: np.interp(z, np.linspace(-4, 4, 17), np.tanh(np.linspace(-4, 4, 17)))
    ),
    "state clipped to [-0.9, 0.9]": set_to(stored=lambda h: np.clip(h, -0.9, 0.9)),
    "one unit stuck at zero": stuck_unit,
    "noise of 1e-4": noise(1e-4),
    "noise of 1e-2": noise(1e-2),
    "shuffled batch": other_batch,
    "inputs scaled by 1.1": but(x=lambda r: r.x * np.float32(1.1)),
    "kernel scaled by 0.999": but(kernel=lambda r: r.kernel * np.float32(0.999)),
    "state decayed by 0.99": set_to(stored=lambda h: h * np.float32(0.99)),
    "bias negated": but(bias=lambda r: -r.bias),
    "relu of the inputs": but(x=lambda r: np.maximum(r.x, 0)),
    "inputs shifted by one step": but(x=lambda r: np.roll(r.x, 1, axis=1)),
    "one timestep skipped": skipped_step,
    "other Gaussian weights": gaussian_weights,
    "kernel columns permuted": but(kernel=lambda r: np.roll(r.kernel, 1, axis=1)),
    "states in 8-bit integers": set_to(
        stored=lambda h: np.round(h * 127).astype(np.float32) / np.float32(127)
    ),
    "states in 7-bit fixed point": set_to(
        stored=lambda h: np.round(h * 128).astype(np.float32) / np.float32(128)
    ),
    "recurrent dropout at every step": lambda r, g: r.but(
        stored=lambda h: h * (g.random(h.shape) < 0.8) / np.float32(0.8)
    ),
    "no recurrence": but(recurrent_kernel=lambda r: 0 * r.recurrent_kernel),
}
OF_A_GRU = {
    "no reset gate": but_step(no_reset),
    "reset gate over the inputs too": but_step(reset_of_everything),
    "one gate for reset and update": but_step(one_gate_for_both),
}
OUTSIDE = {
    "SimpleRNN": {
        **OF_ANY,
        "bias after the activation": bias_after,
        "leaky integration": but(
            recurrent_kernel=lambda r: (
                r.recurrent_kernel
                + np.float32(0.1) * np.eye(len(r.recurrent_kernel), dtype=np.float32)
            )
        ),
    },
    "LSTM": {
        **OF_ANY,
        "no activation of the cell state": but_step(bare_cell_state),
        "forget gate tied to the input gate": but_step(tied_gates),
        "peepholes": but_step(peepholes),
        "no output gate": but_step(no_output_gate),
    },
    **{kind: {**OF_ANY, **OF_A_GRU} for kind in OF_GRU},
}
"""Mistakes of each kind of layer that no fault of the catalogue is."""
