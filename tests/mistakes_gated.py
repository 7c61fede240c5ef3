"""The mistakes of LSTM and GRU, each as one change of the loops in `corpus_gated`."""

import ml_dtypes
import numpy as np
from corpus import simulate
from corpus_gated import GRU, LSTM
from mistakes import MISTAKES, OUTSIDE, STATE, Mistake


def gate_block(r, gate):
    units = len(r.recurrent_kernel)
    return slice(r.ORDER.index(gate) * units, (r.ORDER.index(gate) + 1) * units)


def blocks_transposed(name):
    def change(r, rng):
        blocks = np.split(getattr(r, name), r.GATES, axis=1)
        return r.but(**{name: np.concatenate([b.T for b in blocks], axis=1)})

    return change


def misread(name):
    def change(r, rng):
        w = getattr(r, name)
        return r.but(**{name: np.ravel(w.T).reshape(w.shape)})

    return change


def reordered(order, *names):
    """Only these weights have been brought into another order."""

    def change(r, rng):
        found = {}
        for name in names:
            parts = dict(zip(order, np.split(getattr(r, name), r.GATES, axis=-1), strict=True))
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
    return lambda r, g: r.but(bias=np.stack(change(*r.bias)))


def throughout(dtype):
    """Everything in a narrower dtype, operation by operation."""

    def change(r, rng):
        names = ("kernel", "recurrent_kernel", "bias", "x", "state")
        arrays = {n: getattr(r, n) for n in names if getattr(r, n) is not None}
        narrow = simulate(r.but(**{n: a.astype(dtype) for n, a in arrays.items()}))
        return lambda y: narrow.astype(y.dtype)

    return change


def state_zeroed(part):
    def change(r, rng):
        state = r.state.copy()
        state[part] = 0
        return r.but(state=state)

    return change


OWN = ("kernel-transposed", "recurrent-kernel-transposed")
SHARED = [m for m in MISTAKES if m.fault not in OWN and not m.detail.startswith("in ")]
GATED = [
    *SHARED,
    Mistake("kernel-transposed", blocks_transposed("kernel"), square=True),
    Mistake("kernel-transposed", misread("kernel"), "in memory"),
    Mistake("recurrent-kernel-transposed", blocks_transposed("recurrent_kernel")),
    Mistake("recurrent-kernel-transposed", misread("recurrent_kernel"), "in memory"),
    *(
        Mistake("recurrent-activation-swapped", lambda r, g, n=n: r.but(recurrent_activation=n), n)
        for n in ("hard_sigmoid", "hard_sigmoid_keras2", "tanh", "relu6")
    ),
    Mistake(
        "hard-sigmoid-slope",
        lambda r, g: r.but(recurrent_activation="hard_sigmoid_keras2"),
        "Keras 2",
        {"recurrent_activation": "hard_sigmoid"},
    ),
    *(
        Mistake("lower-precision", throughout(dtype), f"computed in {np.dtype(dtype).name}")
        for dtype in (np.float16, ml_dtypes.bfloat16)
    ),
]
OF_LSTM = [
    *GATED,
    *(
        Mistake("gates-permuted", lambda r, g, o=o: r.but(order=o), ", ".join(o))
        for o in ("iofc", "icfo", "fico", "ocfi")
    ),
    Mistake("gates-misaligned", reordered("iofc", "bias"), "those of the bias"),
    Mistake(
        "gates-misaligned",
        reordered("icfo", "kernel", "recurrent_kernel"),
        "those of the kernel and recurrent kernel",
    ),
    Mistake("forget-bias-missing", forget_bias(lambda b: b - np.float32(1)), "1 less"),
    Mistake("forget-bias-missing", forget_bias(lambda b: 0 * b), "zeros"),
    Mistake("forget-bias-doubled", forget_bias(lambda b: b + np.float32(1)), "1 more"),
    Mistake("forget-bias-doubled", forget_bias(lambda b: b + b), "twice"),
    Mistake("initial-state-ignored", state_zeroed(0), "h alone", STATE),
    Mistake("initial-state-ignored", state_zeroed(1), "c alone", STATE),
    Mistake("states-swapped", lambda r, g: r.but(state=r.state[::-1]), "", STATE),
]
OF_GRU = [
    *GATED,
    *(
        Mistake("gates-permuted", lambda r, g, o=o: r.but(order=o), ", ".join(o))
        for o in ("rzh", "hzr", "zhr")
    ),
    Mistake("gates-misaligned", reordered("rzh", "recurrent_kernel"), "of the recurrent kernel"),
    Mistake("gates-misaligned", reordered("rzh", "bias"), "of the bias"),
    Mistake("update-gate-inverted", lambda r, g: r.but(inverted=True)),
]
AFTER, BEFORE = {"reset_after": True}, {"reset_after": False}
OF_GRU_AFTER = [
    *OF_GRU,
    Mistake("bias-dropped", bias_rows(lambda b, c: (0 * b, c)), "of the inputs", AFTER),
    Mistake("recurrent-bias-dropped", bias_rows(lambda b, c: (b, 0 * c)), "", AFTER),
    Mistake("recurrent-bias-not-reset", bias_rows(lambda b, c: (b + c, 0 * b)), "", AFTER),
    Mistake(
        "reset-after-flipped",
        lambda r, g: r.but(reset_after=False, bias=r.bias.sum(axis=0)),
        "before",
        AFTER,
    ),
]
OF_GRU_BEFORE = [
    *(Mistake(m.fault, m.change, m.detail, {**m.options, **BEFORE}, m.square) for m in OF_GRU),
    Mistake(
        "reset-after-flipped",
        lambda r, g: r.but(reset_after=True, bias=np.stack([r.bias, 0 * r.bias])),
        "after the product",
        BEFORE,
    ),
]


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


ALIKE = {
    n: m for n, m in OUTSIDE.items() if n not in ("bias after the activation", "leaky integration")
}
OUTSIDE_LSTM = {
    **ALIKE,
    "no activation of the cell state": but_step(bare_cell_state),
    "forget gate tied to the input gate": but_step(tied_gates),
    "peepholes": but_step(peepholes),
    "no output gate": but_step(no_output_gate),
}
OUTSIDE_GRU = {
    **ALIKE,
    "no reset gate": but_step(no_reset),
    "reset gate over the inputs too": but_step(reset_of_everything),
    "one gate for reset and update": but_step(one_gate_for_both),
}
KINDS = {
    "LSTM": (LSTM, {}, OF_LSTM, OUTSIDE_LSTM),
    "GRU": (GRU, AFTER, OF_GRU_AFTER, OUTSIDE_GRU),
    "GRU, reset before": (GRU, BEFORE, OF_GRU_BEFORE, OUTSIDE_GRU),
}
"""Class, options, mistakes of the catalogue, and others, of every kind of layer."""
