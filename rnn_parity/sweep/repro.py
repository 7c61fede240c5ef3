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
from rnn_parity.sweep.space import Configuration

CLASSES = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
STATES = {"simple_rnn": 1, "lstm": 2, "gru": 1}
IN_16_BITS = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")

IMPORTS = """\
import math
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf
"""

BY_HAND = """\
def a(z):  # the activation
    return {activation}


def s(z):  # the recurrent activation
    return {recurrent_activation}


{step}

def by_hand(inputs, states, mask=None):
    # The recurrence as documented, in float64; outputs in the order of processing.
    outputs, output = [], np.zeros_like(states[0])
    for t in {order}:
        new = step(inputs[:, t].astype("float64"), *states)
        keep = np.ones((len(inputs), 1), bool) if mask is None else mask[:, t, None]
        output = np.where(keep, new[0], {masked})
        states = [np.where(keep, n, s) for n, s in zip(new, states)]
        outputs.append(output)
    return np.stack(outputs, axis=1), states
"""

KERAS = """\
def call(data):
    options = {{"mask": data["mask"]}} if "mask" in data else {{}}
    if "states" in data:
        states = [tf.cast(s, layer.{dtype}) for s in data["states"]]
        options["initial_state"] = states
    return layer(data["inputs"], **options)
"""

TIME_MAJOR = """\
batch_major = call


def call(data):  # the layer takes and returns (timesteps, batch, ...)
    data = {**data, "inputs": tf.transpose(data["inputs"], (1, 0, 2))}
    if "mask" in data:
        data["mask"] = tf.transpose(data["mask"])
    first, *rest = tf.nest.flatten(batch_major(data))
    return [tf.transpose(first, (1, 0, 2)) if layer.return_sequences else first, *rest]
"""

RUN = {
    "eager": "run = call\n",
    "graph": "run = tf.function(call)\n",
    "xla": "run = tf.function(call, jit_compile=True)\n",
    "predict": """\
class Model(tf.keras.Model):
    def call(self, data):
        return call(data)


model = Model()


def run(data):
    return model.predict(data, batch_size=len(data["inputs"]), verbose=0)
""",
}

LAYER = """\
layer = tf.keras.layers.{layer}(
    {arguments},
)
layer.build({shape})
layer.cell.kernel.assign(U)
layer.cell.recurrent_kernel.assign(W)
{bias}"""

OPEN = """\
# The layer in a functional model, whose Input leaves the size of {open_size} open.
symbol = tf.keras.Input({shape}, batch_size={batch}, dtype=CALLS[0]["inputs"].dtype.name)
functional = tf.keras.Model(symbol, layer(symbol))


def call(data):
    return functional(data["inputs"], mask=data.get("mask"))
"""

COMPARE = """\
np.set_printoptions(precision={digits})
print(f"TensorFlow {{tf.__version__}}, Keras {{tf.keras.__version__}}, {layer}")
worst, zeros = 0.0, [np.zeros((len(CALLS[0]["inputs"]), {units}))] * {states}
carried = zeros
for number, data in enumerate(CALLS):
    results = run(data)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    outputs, states = by_hand(data["inputs"], data.get("states", carried), data.get("mask"))
    right = [{returned}]
{also}    for got, wanted in zip(results, right):
        got = np.array(tf.cast(got, "float64"))
        gap = np.abs(got - wanted).max()
        worst = max(worst, np.inf if np.isnan(gap) else gap)
        if not gap <= LIMIT:
            print(f"call {{number}}, Keras:\\n{{got}}\\ncall {{number}}, by hand:\\n{{wanted}}")
    carried = {carried}

print(f"largest difference {{worst:.3g}}; rounding explains less than {{LIMIT}}")
sys.exit(1 if worst > LIMIT else 0)
"""


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
    steps = "range(inputs.shape[1])"
    return BY_HAND.format(
        activation=formula(str(own["activation"]), keras),
        recurrent_activation=formula(str(own.get("recurrent_activation", "linear")), keras),
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
