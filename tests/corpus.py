"""Recurrent layers as plain float32 loops that can be made to do the wrong thing.

Nothing of the loops comes from the package: what they compute is the oracle of the tests of
diagnosis. `mistakes` holds the mistakes. Gates are told apart by their letters.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.api.examination import examine
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.judge import Observations
from rnn_parity.verdict.results import Subject


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


ARRAYS = ("kernel", "recurrent_kernel", "bias", "x", "state")


@dataclass(frozen=True, eq=False)
class SimpleRNN:
    """A layer's call, and what its implementation does: by default the right thing, in float32.

    The class variables hold the letters of the gates and how many states there are.
    """

    ORDER: ClassVar[str] = "h"
    STATES: ClassVar[int] = 1

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

    def astype(self, dtype):
        """All numbers in another dtype."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return self.but(**{n: None if a is None else a.astype(dtype) for n, a in arrays.items()})

    @property
    def weights(self):
        return self.kernel, self.recurrent_kernel, self.bias

    @property
    def a(self):
        """The activation, as this implementation has it."""
        return self.function or FUNCTIONS[self.activation]

    def products(self, x, h):
        kernels = self.operand(self.kernel), self.operand(self.recurrent_kernel)
        return self.operand(x) @ kernels[0], self.operand(h) @ kernels[1]

    def step(self, x, states):
        """The states after a timestep, of which the first is the output."""
        z = sum(self.products(x, states[0]))
        return (self.a(z if self.bias is None else z + self.bias),)

    def layer(self):
        """The layer as the package knows it."""
        options = {
            name: getattr(self, name)
            for name in ("activation", "go_backwards", "zero_output_for_mask", *self.options())
        }
        kind = getattr(rp, type(self).__name__)
        return kind(*self.weights, **options, dtype=self.x.dtype.name)

    @staticmethod
    def options():
        """Options of this kind of layer alone."""
        return ()

    @classmethod
    def bias_shape(cls, units, options):
        return (len(cls.ORDER) * units,)


@dataclass(frozen=True, eq=False)
class Gated(SimpleRNN):
    """`order` is the order in which an implementation takes the gates to stand in the weights."""

    recurrent_activation: str = "sigmoid"
    order: str = ""

    @staticmethod
    def options():
        return ("recurrent_activation",)

    @property
    def s(self):
        return FUNCTIONS[self.recurrent_activation]

    def gates(self, z):
        letters = self.order or self.ORDER
        return dict(zip(letters, np.split(z, len(letters), axis=-1), strict=True))


@dataclass(frozen=True, eq=False)
class LSTM(Gated):
    ORDER: ClassVar[str] = "ifco"
    STATES: ClassVar[int] = 2

    def arguments(self, x, h):
        """What goes into each gate."""
        z = sum(self.products(x, h))
        return self.gates(z if self.bias is None else z + self.bias)

    def step(self, x, states):
        h, c = states
        z, s, a = self.arguments(x, h), self.s, self.a
        c = s(z["f"]) * c + s(z["i"]) * a(z["c"])
        return s(z["o"]) * a(c), c


@dataclass(frozen=True, eq=False)
class GRU(Gated):
    ORDER: ClassVar[str] = "zrh"

    reset_after: bool = True
    inverted: bool = False

    @staticmethod
    def options():
        return ("recurrent_activation", "reset_after")

    @classmethod
    def bias_shape(cls, units, options):
        return (2, 3 * units) if options.get("reset_after", True) else (3 * units,)

    def arguments(self, x, h):
        """What goes into each gate, from the inputs and from the state."""
        p, q = self.products(x, h)
        if self.bias is not None:
            p, q = (p + self.bias[0], q + self.bias[1]) if self.reset_after else (p + self.bias, q)
        return self.gates(p), self.gates(q)

    def step(self, x, states):
        (h,), s = states, self.s
        of_x, of_h = self.arguments(x, h)
        z, r = s(of_x["z"] + of_h["z"]), s(of_x["r"] + of_h["r"])
        if self.reset_after:
            candidate = self.a(of_x["h"] + r * of_h["h"])
        else:
            candidate = self.a(of_x["h"] + self.gates(self.products(x, r * h)[1])["h"])
        return ((1 - z) * h + z * candidate if self.inverted else z * h + (1 - z) * candidate,)


KINDS = {
    "SimpleRNN": (SimpleRNN, {}),
    "LSTM": (LSTM, {}),
    "GRU": (GRU, {"reset_after": True}),
    "GRU, reset before": (GRU, {"reset_after": False}),
}
"""Every kind of layer: its class and options."""
GATED = [kind for kind in KINDS if kind != "SimpleRNN"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def simulate(r):
    """The outputs `(B, T, H)` of a run in processing order."""
    return simulate_with_states(r)[0]


def simulate_with_states(r):
    """The outputs of a run, and the final states as a run takes them."""
    x, mask = r.x, r.mask
    if r.go_backwards:
        x = x[:, ::-1]
        mask = mask[:, ::-1] if mask is not None and r.reverse_mask else mask
    shape = r.STATES, len(x), len(r.recurrent_kernel)
    states = np.zeros(shape, x.dtype) if r.state is None else r.state.reshape(shape)
    y, outputs = np.zeros(shape[1:], x.dtype), []
    for t in range(x.shape[1]):
        new = np.stack([r.stored(s.astype(x.dtype)) for s in r.step(x[:, t], states)])
        if mask is None:
            states, y = new, new[0]
        else:
            keep = mask[:, t, None]
            hidden = 0 * y if r.zero_output_for_mask else y
            states, y = np.where(keep, new, states), np.where(keep, new[0], hidden)
        outputs.append(y)
    return np.stack(outputs, axis=1), states if r.STATES > 1 else states[0]


def right_run(
    size,
    seed=0,
    activation="tanh",
    mask=False,
    state=False,
    bias=True,
    gain=0.8,
    kind="SimpleRNN",
    **own,
):
    """A random layer and data for it; every weight is distinct and not zero.

    `seed` may be a generator.
    """
    batch, timesteps, features, units = size
    make, options = KINDS[kind]
    own = {**options, **own}
    rng = np.random.default_rng([seed, *size] if isinstance(seed, int) else seed)
    width, states = len(make.ORDER) * units, (make.STATES,) * (make.STATES > 1)
    arrays = {
        "kernel": rng.normal(size=(features, width)) / np.sqrt(features),
        "recurrent_kernel": rng.normal(size=(units, width)) * gain / np.sqrt(units),
        "bias": rng.normal(size=make.bias_shape(units, own)) * 0.3,
        "x": rng.normal(size=(batch, timesteps, features)),
        "state": rng.uniform(-1, 1, (*states, batch, units)),
    }
    run = make(**arrays, activation=activation, **own).astype(np.float32)
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


def call_of(run):
    """The layer as the package knows it, and its sequences."""
    layer = run.layer()
    return layer, Sequences.of(layer, run.x, run.mask, run.state)


def examined(run, outputs, final_state=None, **options):
    """The package's check of observed outputs, as of a run of that layer."""
    layer, sequences = call_of(run)
    observed = Observations.of(layer, outputs, final_state)
    return examine(layer, sequences, observed, Subject(), run.stateful, **options)


def reference(run):
    """The right outputs in float64, `(B, T, H)`."""
    return simulate(run.but(stored=nothing).astype(np.float64))
