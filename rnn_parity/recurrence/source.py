"""The source text of a cell's formula and of activations, for a script that needs NumPy alone."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from rnn_parity.recurrence.activations import Activation

SPLIT = """\
def split(z, parts):
    return np.split(z, parts, axis=-1)
"""
REPLACED = {
    "erfc": "erfc = np.vectorize(math.erfc)\n",
    "sqrt": "from math import sqrt\n",
}
"""What a script takes in place of names that are not written out."""


def formula_source(formula: Callable[..., Any]) -> str:
    """A cell's formula as a function `step` of its letters, on plain arrays, and `split`."""
    text = textwrap.dedent(inspect.getsource(formula)).removeprefix("@staticmethod\n")
    text = re.sub(r"^def \w+\(", "def step(", text)
    return f"{SPLIT}\n\n{without_types(text)}"


def activation_source(activation: Activation, name: str) -> str:
    """An activation as a function `name` of an array, and what that needs."""
    function = activation.function
    if not isinstance(function, FunctionType):  # one of NumPy's own
        return f"{name} = np.{function.__name__}\n"
    parts = [*needed(function), f"{name} = {function.__name__}\n"]
    return "\n\n".join(dict.fromkeys(parts))


def needed(function: FunctionType) -> Iterator[str]:
    """The definitions of a function and of all that it uses of its module, what is used first."""
    module = sys.modules[function.__module__]
    for used in function.__code__.co_names:
        value = vars(module).get(used)
        if used in REPLACED:
            yield REPLACED[used]
        elif isinstance(value, FunctionType):
            yield from needed(value)
        elif isinstance(value, float):
            yield f"{used} = {value!r}\n"
    yield without_types(inspect.getsource(function))


def without_types(text: str) -> str:
    """A function's source without the annotations, which a script has no use for."""
    head, body = text.split('"""', 1) if '"""' in text else text.split("\n", 1)
    head = re.sub(r": (?:Any|Array(?: \| None)?)(?=[,=)\n]| =)", "", head)
    head = re.sub(r"\) -> \w+:", "):", head).replace(" = None", "=None")
    body = re.sub(r"^(    \w+): \w+ =", r"\1 =", body, flags=re.M)
    return f'{head}"""{body}' if '"""' in text else f"{head}\n{body}"
