"""LSTM and GRU as plain float32 loops that can be made to do the wrong thing; see `corpus`.

Gates are told apart by their letters; `order` is the order in which an implementation takes them to
stand in the weights.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from corpus import FUNCTIONS, Run


@dataclass(frozen=True, eq=False)
class Gated(Run):
    recurrent_activation: str = "sigmoid"
    order: str = ""

    @staticmethod
    def options():
        return ("recurrent_activation",)

    @property
    def s(self):
        return FUNCTIONS[self.recurrent_activation]

    def gates(self, z):
        return dict(zip(self.order or self.ORDER, np.split(z, self.GATES, axis=-1), strict=True))


@dataclass(frozen=True, eq=False)
class LSTM(Gated):
    GATES: ClassVar[int] = 4
    STATES: ClassVar[int] = 2
    ORDER: ClassVar[str] = "ifco"

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
    GATES: ClassVar[int] = 3
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
