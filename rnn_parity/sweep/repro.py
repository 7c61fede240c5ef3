"""A finding as one script that anybody can run: Keras's numbers beside those worked out by hand."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from rnn_parity.sweep.formulas import STEPS, formula
from rnn_parity.sweep.numbers import CallNumbers, Numbers
from rnn_parity.sweep.one import Outcome
from rnn_parity.sweep.space import CLASSES, Configuration
from rnn_parity.sweep.templates import (
    BY_HAND,
    COMPARE,
    GATES,
    IMPORTS,
    KERAS,
    LAYER,
    OPEN,
    RUN,
    TIME_MAJOR,
)

STATES = {"simple_rnn": 1, "lstm": 2, "gru": 1}


def script(
    configuration: Configuration, outcome: Outcome, numbers: Numbers, about: str, keras: str
) -> str:
    """A script that needs TensorFlow and NumPy alone, and exits with 1 where Keras is wrong.

    `about` says what is wrong; `keras` is the version that it was found in.
    """
    blocks = [
        f'"""{textwrap.fill(about, 96)}"""\n\n{IMPORTS}',
        "\n".join(data(configuration, outcome, numbers)),
        by_hand(configuration, keras),
        layer(configuration, numbers),
        called(configuration),
        RUN[str(configuration["mode"])],
        comparison(configuration),
    ]
    return "\n\n".join(block.rstrip("\n") + "\n" for block in blocks)


def data(configuration: Configuration, outcome: Outcome, numbers: Numbers) -> Iterator[str]:
    """The literal numbers."""
    dtype = "float64" if configuration["dtype"] == "float64" else "float32"
    yield "CALLS = ["
    for i, call in enumerate(numbers.calls):
        entries = {"inputs": literal(call.inputs, dtype)}
        if call.mask is not None:
            entries["mask"] = literal(call.mask, "bool")
        if i == 0 and configuration["initial_state"] != "zeros":
            entries["states"] = f"[{', '.join(literal(s, dtype) for s in call.initial_state)}]"
        yield from ["    {", *(f'        "{name}": {text},' for name, text in entries.items())]
        yield "    },"
    yield "]"
    yield f"U = {literal(numbers.kernel, dtype)}  # kernel"
    yield f"W = {literal(numbers.recurrent_kernel, dtype)}  # recurrent kernel"
    yield f"b = {0.0 if numbers.bias is None else literal(numbers.bias, dtype)}  # bias"
    yield f"LIMIT = {limit(numbers.calls, outcome.max_ratio or 1.0):.1e}"


def literal(array: NDArray[np.generic], dtype: str) -> str:
    """`array` as Python, exact when it is read again as `dtype`."""
    with np.printoptions(floatmode="unique", threshold=10**9, linewidth=10**9):
        text = np.array2string(array.astype(dtype), separator=", ")
    return f'np.array({" ".join(text.split())}, "{dtype}")'


def limit(calls: tuple[CallNumbers, ...], max_ratio: float) -> float:
    """Half way, on a logarithmic scale, from what rounding explains to the largest difference."""
    gaps = [np.abs(call.outputs - call.expected).max() for call in calls]
    gaps += [
        np.abs(ours - theirs).max()
        for call in calls
        for ours, theirs in zip(call.final_state, call.expected_state, strict=False)
    ]
    gap = max(float(gap) for gap in gaps)
    return gap / sqrt(max_ratio) if np.isfinite(gap) and np.isfinite(max_ratio) else 1e-3


def by_hand(configuration: Configuration, keras: str) -> str:
    """The recurrence in NumPy."""
    kind, own = configuration.layer, dict(configuration.values)
    before = kind == "gru" and not own["reset_after"]
    gated = "recurrent_activation" in own
    steps = "range(inputs.shape[1])"
    return BY_HAND.format(
        activation=formula(str(own["activation"]), keras),
        gates=GATES.format(formula(str(own["recurrent_activation"]), keras)) if gated else "",
        step=STEPS["gru, reset_after=False" if before else kind],
        order=f"reversed({steps})" if own["go_backwards"] else steps,
        masked="0.0" if own["zero_output_for_mask"] else "output",
    )


def layer(configuration: Configuration, numbers: Numbers) -> str:
    """The Keras layer with its weights."""
    arguments = {**configuration.arguments, "dtype": configuration["dtype"]}
    if arguments["dtype"] not in ("float32", "float64"):
        arguments["recurrent_initializer"] = "zeros"  # the default needs what 16 bits lack
    texts = [
        str(configuration["units"]),
        *(f"{name}={value!r}" for name, value in arguments.items()),
    ]
    batch = None if configuration["open_size"] == "batch" else configuration["batch"]
    shape = (batch, None, configuration["features"])
    return LAYER.format(
        layer=CLASSES[configuration.layer],
        arguments=",\n    ".join(texts),
        shape=(None, *shape[::2]) if configuration["time_major"] else shape,
        bias="" if numbers.bias is None else "layer.cell.bias.assign(b)\n",
    )


def called(configuration: Configuration) -> str:
    """How the layer is called: on arrays, or in a functional model."""
    own = dict(configuration.values)
    if own["open_size"] != "none":
        sizes = {**own, str(own["open_size"]): None}
        shape = (sizes["timesteps"], own["features"])
        return OPEN.format(open_size=own["open_size"], shape=shape, batch=sizes["batch"])
    text = KERAS.format(dtype="variable_dtype" if own["stateful"] else "compute_dtype")
    return f"{text}\n\n{TIME_MAJOR}" if own["time_major"] else text


def comparison(configuration: Configuration) -> str:
    """What is printed, and the exit code."""
    own = dict(configuration.values)
    outputs = "outputs" if own["return_sequences"] else "outputs[:, -1]"
    stored = own["stateful"] and not own["return_state"]
    return COMPARE.format(
        layer=CLASSES[configuration.layer],
        units=own["units"],
        digits=17 if own["dtype"] == "float64" else 9,
        states=STATES[configuration.layer],
        returned=f"{outputs}, *states" if own["return_state"] or stored else outputs,
        also="    results += layer.states\n" if stored else "",
        carried="states" if own["stateful"] else "zeros",
    )
