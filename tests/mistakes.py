"""Mistakes, each as one change of the loops in `corpus`: every fault, and others that are none.

The tests of diagnosis take theirs from here: what is diverged and named (`test_faults`), what the
catalogue makes of a computation (`test_fault_variants`), what hides a fault (`test_blind_spots`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import pytest
from corpus import (
    FUNCTIONS,
    GATED,
    KINDS,
    LSTM,
    NARROW,
    SimpleRNN,
    nothing,
    right_run,
    simulate,
    simulate_with_states,
)

WEIGHTS = ("kernel", "recurrent_kernel", "bias")


@dataclass(frozen=True)
class Mistake:
    """`change(run, rng)` gives the wrong run, or a function of the right run's outputs.

    `detail` must stand in the explanation. `needs` are options of `right_run`, or a square kernel.
    """

    fault: str
    kinds: tuple
    change: Callable
    detail: str = ""
    needs: dict = field(default_factory=dict)

    def right_run(self, kind, size, seed=0, **options):
        """A right run of a layer that this mistake can be made of."""
        options |= self.needs
        if options.pop("square", False):
            size = (*size[:2], size[3], size[3])
        return right_run(size, seed, kind=kind, **options)

    def observed(self, run):
        return observed(run, self.change)


def observed(run, *changes):
    """What a run puts out after these changes, of which the last may be of its outputs."""
    rng, outputs = np.random.default_rng(0), nothing
    for change in changes:
        changed = change(run, rng)
        if isinstance(changed, SimpleRNN):
            run = changed
        else:
            outputs = changed
    return outputs(simulate(run))


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
    """What comes after the last is not known: the last stands twice."""
    return np.concatenate([y[:, 1:], y[:, -1:]], axis=1)


def along_the_batch(r, rng):
    return lambda y: simulate(r.but(x=r.x.swapaxes(0, 1))).swapaxes(0, 1)


def gate_block(r, gate):
    units = len(r.recurrent_kernel)
    start = (getattr(r, "order", "") or r.ORDER).index(gate) * units
    return slice(start, start + units)


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


def read_by_columns(name):
    """Written row by row, and read column by column."""
    return but(
        **{name: lambda r: np.reshape(getattr(r, name).ravel(), getattr(r, name).shape, "F")}
    )


def gates_misread(name):
    """Each gate's block by itself, written column by column."""

    def change(r, rng):
        blocks = np.split(getattr(r, name), len(r.ORDER), axis=1)
        read = [np.ravel(b, order="F").reshape(b.shape) for b in blocks]
        return r.but(**{name: np.concatenate(read, axis=1)})

    return change


def stacked_gates(name):
    """The gates' blocks one after the other in memory."""

    def change(r, rng):
        w = getattr(r, name)
        return r.but(**{name: np.stack(np.split(w, len(r.ORDER), axis=1)).reshape(w.shape)})

    return change


def raw_cudnn(r, rng):
    """As Keras's loader finds cuDNN's weights: the transposed of each gate, in kernel's shape."""
    return transposed("recurrent_kernel")(gates_misread("kernel")(r, rng), rng)


def swapped_kernels(r, rng):
    return r.but(kernel=r.recurrent_kernel, recurrent_kernel=r.kernel)


def recurrent_bias_of_z_and_r(r, rng):
    bias = r.bias.copy()
    bias[1, : 2 * len(r.recurrent_kernel)] = 0
    return r.but(bias=bias)


def forget_bias_and(gate):
    """The bias of the forget gate and of another one as zeros."""

    def change(r, rng):
        bias = r.bias.copy()
        bias[gate_block(r, "f")] = bias[gate_block(r, gate)] = 0
        return r.but(bias=bias)

    return change


def shifted_inputs(steps):
    """Zeros in the gap."""

    def change(r, rng):
        x = np.zeros_like(r.x)
        late = r.x[:, ::-1] if r.go_backwards else r.x
        if steps > 0:
            x[:, steps:] = late[:, :-steps]
        else:
            x[:, :steps] = late[:, -steps:]
        return r.but(x=x[:, ::-1] if r.go_backwards else x)

    return change


def sample_after_sample(r, rng):
    """Nobody resets the states between samples."""

    def leaking(y):
        found = []
        state = None if r.state is None else r.state[..., :1, :]
        for b in range(len(r.x)):
            mask = None if r.mask is None else r.mask[b : b + 1]
            one = r.but(x=r.x[b : b + 1], mask=mask, state=state)
            outputs, state = simulate_with_states(one)
            found.append(outputs)
        return np.concatenate(found)

    return leaking


def other_first_state(r, rng):
    return r.but(state=rng.uniform(-1, 1, r.state.shape).astype(r.state.dtype))


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


def flipped(bias):
    """The reset gate on the other side, the bias through a function."""
    return but(reset_after=lambda r: not r.reset_after, bias=lambda r: bias(r.bias))


def state_zeroed(part):
    def change(r, rng):
        state = r.state.copy()
        state[part] = 0
        return r.but(state=state)

    return change


BACK, MASK, STATE = {"go_backwards": True}, {"mask": True}, {"state": True}
ONE, AFTER, OF_LSTM = ("SimpleRNN",), ("GRU",), ("LSTM",)
BEFORE, OF_GRU, OF_GATED = ("GRU, reset before",), ("GRU", "GRU, reset before"), tuple(GATED)
ANY = tuple(KINDS)
HARD = ((2, "hard_sigmoid", "hard_sigmoid_keras2"), (3, "hard_sigmoid_keras2", "hard_sigmoid"))
SWAPPED = ("relu", "linear", "sigmoid", "softsign", "silu", "elu", "hard_sigmoid")
SWAPPED_OF_GATES = ("hard_sigmoid", "hard_sigmoid_keras2", "tanh", "relu6")
AS_IT_IS = {"mask": False, "state": False, "go_backwards": False}
ZEROED = {**MASK, "zero_output_for_mask": True}
ALL_BUT_BIAS = ("kernel", "recurrent_kernel")

ROWS = {
    "bias-dropped": [
        (ANY, set_to(bias=None)),
        (AFTER, bias_rows(lambda b, c: (0 * b, c)), "of the inputs"),
    ],
    "bias-doubled": [(ANY, but(bias=lambda r: r.bias + r.bias))],
    "kernel-transposed": [
        (ANY, transposed("kernel"), "", {"square": True}),
    ],
    "recurrent-kernel-transposed": [(ANY, transposed("recurrent_kernel"))],
    "kernel-misread": [
        (ANY, misread("kernel"), "the kernel, written column by column, or transposed"),
        (ANY, read_by_columns("kernel"), "the kernel, written row by row"),
        (OF_GATED, misread("recurrent_kernel"), "the recurrent kernel, written column by column"),
        (OF_GATED, gates_misread("kernel"), "gate by gate"),
        (OF_GATED, stacked_gates("kernel"), "the kernel, written gate after gate"),
        (OF_GATED, raw_cudnn, "cuDNN"),
    ],
    "kernels-swapped": [(ANY, swapped_kernels, "", {"square": True})],
    "bias-differs": [
        (ANY, but(bias=lambda r: np.float32(0.5) * r.bias), "half of it"),
        (ANY, but(bias=lambda r: r.bias + np.float32(0.2) * np.cos(r.bias * 9)), "of its numbers"),
        (ONE, but(bias=lambda r: -r.bias), "of its numbers"),
        (AFTER, recurrent_bias_of_z_and_r, "the recurrent bias of the gates z and r is left out"),
        (OF_LSTM, forget_bias_and("o"), "the bias of the gates f and o is left out"),
    ],
    "initial-state-ignored": [
        (ANY, set_to(state=None), "", STATE),
        (OF_LSTM, state_zeroed(0), "h alone", STATE),
        (OF_LSTM, state_zeroed(1), "c alone", STATE),
    ],
    "state-leaked": [(ANY, sample_after_sample, "of the one before", {"mask": False})],
    "first-state-differs": [(ANY, other_first_state, "", STATE)],
    "state-mixed": [
        (OF_LSTM, but(state=lambda r: r.state[[0, 0]]), "h is taken", STATE),
        (OF_LSTM, but(state=lambda r: r.state[[1, 1]]), "c is taken", STATE),
    ],
    "masked-output-zeroed": [
        (ANY, set_to(zero_output_for_mask=True), "", {**MASK, "zero_output_for_mask": False})
    ],
    "inputs-shifted": [
        (ANY, shifted_inputs(1), "late"),
        (ANY, shifted_inputs(-1), "early"),
    ],
    "inputs-reshaped": [
        (ANY, but(x=lambda r: r.x.swapaxes(1, 2).reshape(r.x.shape)), "features first"),
        (ANY, but(x=lambda r: r.x.swapaxes(0, 1).reshape(r.x.shape)), "timesteps first"),
    ],
    "state-not-carried": [(ANY, set_to(state=None), "", {"stateful": True, **STATE})],
    "inputs-reversed": [
        (ANY, set_to(go_backwards=False), "", BACK),
        (ANY, set_to(go_backwards=True), "", {"go_backwards": False}),
    ],
    "outputs-not-reversed": [(ANY, outputs_through(lambda y: y[:, ::-1]), "", BACK)],
    "mask-ignored": [(ANY, set_to(mask=None), "", MASK)],
    "mask-not-reversed": [(ANY, set_to(reverse_mask=False), "", {**MASK, **BACK})],
    "masked-output-not-zeroed": [(ANY, set_to(zero_output_for_mask=False), "", ZEROED)],
    "activation-swapped": [(ANY, set_to(activation=n), f" {n}") for n in SWAPPED],
    "recurrent-activation-swapped": [
        (OF_GATED, set_to(recurrent_activation=n), n) for n in SWAPPED_OF_GATES
    ],
    "hard-sigmoid-slope": [
        (kinds, set_to(**{which: other}), f"Keras {keras}", {which: own})
        for kinds, which in ((ANY, "activation"), (OF_GATED, "recurrent_activation"))
        for keras, own, other in HARD
    ],
    "time-shifted": [(ANY, outputs_through(early), "early"), (ANY, outputs_through(late), "late")],
    "batch-time-swapped": [
        (ANY, outputs_through(lambda y: y.swapaxes(0, 1)), "time first"),
        (ANY, along_the_batch, "along the batch", AS_IT_IS),
    ],
    "features-permuted": [(ANY, shuffled_features, "order")],
    "units-permuted": [(ANY, shuffled_units, "order")],
    "dropout-active": [(ANY, dropped_inputs, "rate of 0.3")],
    "weights-rounded": [
        *((ANY, weights_through(f), n, {"mask": False}) for n, f in NARROW.items()),
        *((ANY, printed(k), f"{k} decimals") for k in (2, 3, 4)),
    ],
    "lower-precision": [
        *((ANY, set_to(operand=f), f"operands in {n}") for n, f in NARROW.items()),
        *((ONE, rounded_throughout(n), f"in {n}") for n in ("float16", "bfloat16")),
        (OF_GATED, computed_in(np.float16), "computed, or stored, in float16"),
        (OF_GATED, computed_in(ml_dtypes.bfloat16), "computed, or stored, in bfloat16"),
    ],
    "weights-differ": [(ANY, some_weights, "kernel[1, 2]")],
    "gates-permuted": [
        (kinds, set_to(order=order), ", ".join(order))
        for kinds, orders in ((OF_LSTM, "iofc icfo fico ocfi"), (OF_GRU, "rzh hzr zhr"))
        for order in orders.split()
    ],
    "gates-misaligned": [
        (OF_LSTM, reordered("iofc", "bias"), "those of the bias"),
        (OF_LSTM, reordered("icfo", *ALL_BUT_BIAS), "those of the kernel and recurrent kernel"),
        (OF_GRU, reordered("rzh", "recurrent_kernel"), "of the recurrent kernel"),
        (OF_GRU, reordered("rzh", "bias"), "of the bias"),
    ],
    "forget-bias-missing": [
        (OF_LSTM, forget_bias(lambda b: b - np.float32(1)), "1 less"),
        (OF_LSTM, forget_bias(lambda b: 0 * b), "zeros"),
    ],
    "forget-bias-doubled": [
        (OF_LSTM, forget_bias(lambda b: b + np.float32(1)), "1 more"),
        (OF_LSTM, forget_bias(lambda b: b + b), "twice"),
    ],
    "states-swapped": [(OF_LSTM, but(state=lambda r: r.state[::-1]), "", STATE)],
    "update-gate-inverted": [(OF_GRU, set_to(inverted=True))],
    "recurrent-bias-dropped": [(AFTER, bias_rows(lambda b, c: (b, 0 * c)))],
    "recurrent-bias-not-reset": [(AFTER, bias_rows(lambda b, c: (b + c, 0 * b)))],
    "reset-after-flipped": [
        (AFTER, flipped(lambda b: b.sum(axis=0)), "before the product"),
        (BEFORE, flipped(lambda b: np.stack([b, 0 * b])), "after the product"),
        (BEFORE, flipped(lambda b: np.stack([0 * b, b])), "after the product and the bias"),
        (OF_GRU, flipped(lambda b: None), "", {"bias": False}),
    ],
}
"""Of each fault: the kinds of layers, the change, what the explanation says, and what it needs.

Two faults are elsewhere: the stale final state, and dropout that is left out, which needs masks
(`bounds/test_dropout`).
"""
MISTAKES = [Mistake(fault, *row) for fault, rows in ROWS.items() for row in rows]
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
