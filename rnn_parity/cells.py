"""The recurrences: one step of each cell, beside its formula. Read this page first.

Row vectors: `x_t` is `(F,)`, `h_t` is `(H,)`; U is the kernel, W the recurrent kernel, b the bias,
f the activation. A step gets the input projection `x = x_t U + b` and the recurrent product
`r = h_{t-1} W`, both for a whole batch, `(..., H)`. The formulas serve plain arrays (the replay)
and balls (the bound) alike. Source: the documentation of `keras.layers.SimpleRNN`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def simple_rnn(f: Callable[[Any], T], x: Any, r: Any) -> T:
    """SimpleRNN: `h_t = f(x_t U + h_{t-1} W + b)`."""
    return f(x + r)
