"""The parts of a script that shows a finding; `repro` fills them in."""

from __future__ import annotations

IMPORTS = """\
import math
import os
import sys
from importlib.metadata import version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf
"""

BY_HAND = """\
{activations}

{step}

def {name}(inputs, states, mask=None, weights=WEIGHTS[0]):
    # The recurrence as documented, in float64; outputs in the order of processing.
    U, W, b = weights
    outputs, output = [], np.zeros_like(states[0])
    for t in {order}:
        new = step(inputs[:, t].astype("float64"), *states, U=U, W=W, b=b, {letters})
        new = new if isinstance(new, tuple) else (new,)
        keep = np.ones((len(inputs), 1), bool) if mask is None else mask[:, t, None]
        output = np.where(keep, new[0], {masked})
        states = [np.where(keep, n, s) for n, s in zip(new, states)]
        outputs.append(output)
    return np.stack(outputs, axis=1), states
"""

BOTH = """\
def by_hand(inputs, states, mask=None):
    # Forwards and backwards: the latter on everything reversed, its outputs reversed again.
    n = len(states) // 2
    y, first = one_way(inputs, states[:n], mask)
    mask = None if mask is None else mask[:, ::-1]
    z, last = one_way(inputs[:, ::-1], states[n:], mask, WEIGHTS[1])
    return ({y}, {z}), [*first, *last]
"""

KERAS = """\
def call(data):
    options = {{"mask": data["mask"]}} if "mask" in data else {{}}
    if "states" in data:
        states = [tf.cast(s, layer.{dtype}) for s in data["states"]]
        options["initial_state"] = {nested}
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
layer = {layer}
layer.build({shape})
for cell, (U, W, b) in zip({cells}, WEIGHTS):
    cell.kernel.assign(U)
    cell.recurrent_kernel.assign(W)
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
package = tf.keras.layers.Layer.__module__.partition(".")[0]
print(f"TensorFlow {{tf.__version__}}, {{package}} {{version(package)}}, {layer}")
worst, zeros = 0.0, [np.zeros((len(CALLS[0]["inputs"]), {units}))] * {states}
carried = zeros
for number, data in enumerate(CALLS):
    results = run(data)
    results = tf.nest.flatten(results)
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
