"""Another function in the place of a layer's method, for a while and on this one layer alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Method = Callable[..., Any]


@contextmanager
def instead(layer: Any, change: Callable[[Method], Method], name: str = "call") -> Iterator[None]:
    """The layer's method `name` is `change` of its own in this block, and its own after it."""
    method, kept = getattr(layer, name), {n: m for n, m in layer.__dict__.items() if n == name}
    changed = functools.wraps(method)(change(method))
    # Keras looks at the names of the arguments before it passes any.
    changed.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    # Straight into the instance's dictionary: Keras's own __setattr__ tracks what it is given.
    layer.__dict__[name] = changed
    try:
        yield
    finally:
        del layer.__dict__[name]
        layer.__dict__.update(kept)
