"""Cells of one's own, as a user describes them, and the loops that compute them step by step.

A loop knows nothing of the package: `step(cell, x, h, ...)` gives the output and the new states.
"""

from types import SimpleNamespace

import numpy as np

from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.formula import split


class Minimal(Cell):
    """A minimal gated unit."""

    GATES = ("f", "h")

    @staticmethod
    def formula(x, h, U, W, b, a, s):
        x_f, x_h = split(x @ U + b, 2)
        W_f, W_h = split(W, 2)
        f = s(x_f + h @ W_f)
        return (1 - f) * h + f * a(x_h + (f * h) @ W_h)

    @staticmethod
    def step(n, x, h):
        f = n.s(x @ n.U[0] + h @ n.W[0] + n.b[0])
        candidate = n.a(x @ n.U[1] + (f * h) @ n.W[1] + n.b[1])
        h = h - f * h + f * candidate
        return h, h


class Three(Cell):
    """Three states, with a constant in one of them, which reads the new c."""

    GATES = ("i", "f", "g")
    STATES = ("h", "c", "d")

    @staticmethod
    def formula(x, h, c, d, U, W, b, a, s):
        i, f, g = split(x @ U + h @ W + b, 3)
        c = s(f) * c + s(i) * a(g)
        d = 0.5 * d + 0.25 * c
        return s(i) * a(c + d), c, d

    @staticmethod
    def step(n, x, h, c, d):
        i, f, g = (x @ U + h @ W + b for U, W, b in zip(n.U, n.W, n.b, strict=True))
        c = n.s(f) * c + n.s(i) * n.a(g)
        d = d / 2 + c / 4
        h = n.s(i) * n.a(c + d)
        return h, h, c, d


class Averaged(Cell):
    """Its output is none of its states; one decays at each unit's own pace."""

    GATES = ("h", "o")
    STATES = ("h", "m")
    VECTORS = {"p": ("decay", 1)}  # noqa: RUF012

    @staticmethod
    def formula(x, h, m, U, W, b, p, a, s):
        z, o = split(x @ U + h @ W + b, 2)
        m = p * m + a(z)
        return s(o) * m - 0.5 * h, a(z), m

    @staticmethod
    def step(n, x, h, m):
        z, o = (x @ U + h @ W + b for U, W, b in zip(n.U, n.W, n.b, strict=True))
        m = n.p * m + n.a(z)
        return n.s(o) * m - h / 2, n.a(z), m


class Leaky(Cell):
    """One gate, a leak, and an output that is half of the state."""

    GATES = ("h",)

    @staticmethod
    def formula(x, h, U, W, b, a):
        h = 0.75 * h + 0.25 * a(x @ U + h @ W + b)
        return 0.5 * h, h

    @staticmethod
    def step(n, x, h):
        h = 3 * h / 4 + n.a(x @ n.U[0] + h @ n.W[0] + n.b[0]) / 4
        return h / 2, h


def layer_of(kind, rng, features=3, units=4, dtype="float64", **options):
    """A random layer of a class: distinct weights, a bias that is not zero."""
    width = units * len(kind.GATES)
    vectors = {name: rng.uniform(0.2, 0.9, units * gates) for name, gates in kind.VECTORS.values()}
    rows = (2,) if "reset_after" in kind.OPTIONS and options.get("reset_after", True) else ()
    kernel = 0.7 * rng.normal(size=(features, width))
    recurrent = rng.normal(size=(units, width)) / np.sqrt(units)
    bias = 0.3 * rng.normal(size=(*rows, width))
    return kind(kernel, recurrent, bias, dtype=dtype, **vectors, **options)


def loop(layer, x, states, mask=None, dtype="float32", **others):
    """The outputs and the final states of a layer's `step`, one timestep after the other.

    `others` are weights by name that the implementation takes in place of the layer's.
    """
    names = ("kernel", "recurrent_kernel", "bias", *(n for n, _ in layer.VECTORS.values()))
    weights = {name: others.get(name, getattr(layer, name)).astype(dtype) for name in names}
    gates = len(layer.GATES)
    U, W, b = (np.split(weights[name], gates, axis=-1) for name in names[:3])
    numbers = SimpleNamespace(U=U, W=W, b=b, a=np.tanh, s=lambda z: 1 / (1 + np.exp(-z)))
    vars(numbers).update({letter: weights[name] for letter, (name, _) in layer.VECTORS.items()})
    x, states = x.astype(dtype), [state.astype(dtype) for state in states]
    if layer.go_backwards:
        x, mask = x[:, ::-1], None if mask is None else mask[:, ::-1]
    y, outputs = np.zeros_like(states[0]), []
    for t in range(x.shape[1]):
        new, *after = layer.step(numbers, x[:, t], *states)
        keep = np.ones((len(x), 1), bool) if mask is None else mask[:, t, np.newaxis]
        y = np.where(keep, new, y)
        states = [np.where(keep, one, old) for one, old in zip(after, states, strict=True)]
        outputs.append(np.where(keep, y, 0) if layer.zero_output_for_mask else y)
    return np.stack(outputs, axis=1), states
