"""A finding as one script that anybody can run: Keras's numbers beside those worked out by hand."""

from __future__ import annotations

import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from math import sqrt
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.building import OF_RNN
from rnn_parity.recurrence.activations import Activation, named
from rnn_parity.recurrence.cells import KERAS_CELLS, read
from rnn_parity.recurrence.formula import ACTIVATIONS, Facts
from rnn_parity.system.files import reason, write_text
from rnn_parity.verdict.configuration import Configuration, Value
from rnn_parity.verdict.sweep_results import CallNumbers, Finding, Numbers, Outcome, Swept

CELLS = {
    "none": "[layer.cell]",
    "rnn": "[layer.cell]",
    "stacked": "[layer.cell.cells[0]]",
    "bidirectional": "[layer.forward_layer.cell, layer.backward_layer.cell]",
}
MERGED = {
    "concat": "np.concatenate(outputs, axis=-1)",
    "sum": "sum(outputs)",
    "mul": "outputs[0] * outputs[1]",
    "ave": "sum(outputs) / 2",
    "none": "*outputs",
}


def make_folder(path: str) -> None:
    """Make the folder of the scripts, unless it is there. Raises `InputError` where that fails."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise InputError(f"--repro {path!r}: cannot be made: {reason(error)}") from None


def write_scripts(swept: Swept, folder: str) -> dict[Configuration, str]:
    """Write a script for each finding that numbers show; their paths."""
    paths = {}
    keras = swept.environment["keras"] or ""
    shown = [f for f in swept.findings if f.verdict in ("diverged", "suspect")]
    for i, finding in enumerate(shown, 1):
        if finding.numbers is None:
            continue
        one = finding.configuration
        name = one.layer if finding.known is None else f"{one.layer}-{finding.known.id}"
        paths[one] = os.path.join(folder, f"{i}-{name}.py")
        about = description(finding, keras)
        write_text(paths[one], script(one, finding.outcome, finding.numbers, about, keras))
    return paths


def description(finding: Finding, keras: str) -> str:
    """What stands at the top of a script, fit for a docstring whatever a message quotes."""
    options = ", ".join(f"{name}={value}" for name, value in finding.configuration.changed.items())
    known = finding.known
    what = f"{known.wrong}. Right: {known.right}." if known else f"{finding.outcome.summary}."
    layer = finding.configuration.layer
    what = what.replace("\\", "\\\\").replace('"', "'")
    return f"Keras {keras}, {layer}{' with ' * bool(options)}{options}: {what}"


def script(
    configuration: Configuration, outcome: Outcome, numbers: Numbers, about: str, keras: str
) -> str:
    """A script that needs TensorFlow and NumPy alone, and exits with 1 where Keras is wrong.

    `about` says what is wrong; `keras` is the version that it was found in.
    """
    blocks = [
        f'"""{textwrap.fill(about, 96)}"""\n\n{IMPORTS}',
        "\n".join(data(configuration, outcome, numbers)),
        by_hand(configuration, numbers, keras),
        layer(configuration, numbers),
        called(configuration),
        RUN[str(configuration["mode"])],
        comparison(configuration),
    ]
    return "\n\n".join(block.rstrip("\n") + "\n" for block in blocks)


def data(configuration: Configuration, outcome: Outcome, numbers: Numbers) -> Iterator[str]:
    """The literal numbers."""
    dtype = "float64" if configuration["dtype"] == "float64" else "float32"
    parts = [part for part in (numbers.forward, numbers) if part is not None]
    rows = facts_of(configuration).bias_rows
    no_bias = f"np.zeros(({rows}, 1))" if rows else "0.0"
    yield "CALLS = ["
    for i, call in enumerate(numbers.calls):
        entries = {"inputs": literal(call.inputs, dtype)}
        if call.mask is not None:
            entries["mask"] = literal(call.mask, "bool")
        if i == 0 and configuration["initial_state"] != "zeros":
            states = [state for part in parts for state in part.calls[0].initial_state]
            entries["states"] = f"[{', '.join(literal(state, dtype) for state in states)}]"
        yield from ["    {", *(f'        "{name}": {text},' for name, text in entries.items())]
        yield "    },"
    yield "]"
    yield "WEIGHTS = ["
    for part in parts:
        bias = no_bias if part.bias is None else literal(part.bias, dtype)
        kernels = (part.kernel, part.recurrent_kernel)
        lines = [*(literal(kernel, dtype) for kernel in kernels), bias]
        yield from ["    (  # kernel, recurrent kernel, bias", *(f"        {x}," for x in lines)]
        yield "    ),"
    yield "]"
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


def by_hand(configuration: Configuration, numbers: Numbers, keras: str) -> str:
    """The recurrence in NumPy, in both directions where it runs in both."""
    own, formula = dict(configuration.values), formula_of(configuration)
    steps = "range(inputs.shape[1])"
    both = configuration.kind == "bidirectional"
    last = not own["return_sequences"]
    y, z = ("y[:, -1]", "z[:, -1]") if last else ("y", "z[:, ::-1]")
    text = BY_HAND.format(
        name="one_way" if both else "by_hand",
        activations="\n\n".join(activations(configuration, keras)),
        step=formula_source(formula),
        letters=", ".join(f"{a}={a}" for a in facts_of(configuration).activations),
        order=f"reversed({steps})" if own["go_backwards"] else steps,
        masked="0.0" if numbers.zeroed else "output",
    )
    return f"{text}\n\n{BOTH.format(y=y, z=z)}" if both else text


def formula_of(configuration: Configuration) -> Callable[..., Any]:
    """The formula of the cell."""
    return KERAS_CELLS[configuration.layer_class].formula_of(**dict(configuration.values))


def facts_of(configuration: Configuration) -> Facts:
    """What that formula does."""
    return read(KERAS_CELLS[configuration.layer_class], formula_of(configuration))


def activations(configuration: Configuration, keras: str) -> Iterator[str]:
    """The activations by their letters; `keras` is the version in which they have these names."""
    for letter in facts_of(configuration).activations:
        name = str(configuration[ACTIVATIONS[letter]])
        if name == "hard_sigmoid" and keras.startswith("2"):
            name = "hard_sigmoid_keras2"
        yield activation_source(named(name), letter)


def layer(configuration: Configuration, numbers: Numbers) -> str:
    """The Keras layer with its weights."""
    batch = None if configuration["open_size"] == "batch" else configuration["batch"]
    shape = (batch, None, configuration["features"])
    return LAYER.format(
        layer=constructed(configuration),
        shape=(None, *shape[::2]) if configuration["time_major"] else shape,
        cells=CELLS[str(configuration["wrapper"])],
        bias="" if numbers.bias is None else "    cell.bias.assign(b)\n",
    )


def constructed(configuration: Configuration) -> str:
    """The expression that makes the layer, and what it is wrapped in."""
    dtype, wrapper = configuration["dtype"], configuration["wrapper"]
    name, units = configuration.layer_class, configuration["units"]
    arguments = {**configuration.but({"wrapper": "none"}).arguments, "dtype": dtype}
    if dtype not in ("float32", "float64"):
        arguments["recurrent_initializer"] = "zeros"  # the default needs what 16 bits lack
    if wrapper in ("none", "bidirectional"):
        inner = written(name, [str(units)], arguments)
        merge = {"merge_mode": configuration.arguments.get("merge_mode"), "dtype": dtype}
        return inner if wrapper == "none" else written("Bidirectional", [inner], merge)
    own = {n: value for n, value in arguments.items() if n in (*OF_RNN, "dtype")}
    of_cell = {n: value for n, value in arguments.items() if n not in OF_RNN}
    cell = written(f"{name}Cell", [str(units)], of_cell)
    return written("RNN", [cell if wrapper == "rnn" else f"[{cell}]"], own)


def written(name: str, inside: list[str], arguments: Mapping[str, Value | None]) -> str:
    """A call of one of Keras's classes."""
    texts = [*inside, *(f"{key}={value!r}" for key, value in arguments.items())]
    lines = ",\n".join(textwrap.indent(text, "    ") for text in texts)
    return f"tf.keras.layers.{name}(\n{lines},\n)"


def called(configuration: Configuration) -> str:
    """How the layer is called: on arrays, or in a functional model."""
    own = dict(configuration.values)
    if own["open_size"] != "none":
        sizes = {**own, str(own["open_size"]): None}
        shape = (sizes["timesteps"], own["features"])
        return OPEN.format(open_size=own["open_size"], shape=shape, batch=sizes["batch"])
    nested = own["wrapper"] == "stacked" and len(KERAS_CELLS[configuration.layer_class].STATES) > 1
    text = KERAS.format(
        dtype="variable_dtype" if own["stateful"] else "compute_dtype",
        nested="[states]" if nested else "states",
    )
    return f"{text}\n\n{TIME_MAJOR}" if own["time_major"] else text


def comparison(configuration: Configuration) -> str:
    """What is printed, and the exit code."""
    own = dict(configuration.values)
    both = own["wrapper"] == "bidirectional"
    outputs = "outputs" if own["return_sequences"] else "outputs[:, -1]"
    if both:
        outputs = MERGED[str(own["merge_mode"])]
    stored = own["stateful"] and not own["return_state"] and own["wrapper"] == "none"
    return COMPARE.format(
        layer=configuration.layer_class,
        units=own["units"],
        digits=17 if own["dtype"] == "float64" else 9,
        states=len(KERAS_CELLS[configuration.layer_class].STATES) * (1 + both),
        returned=f"{outputs}, *states" if own["return_state"] or stored else outputs,
        also="    results += layer.states\n" if stored else "",
        carried="states" if own["stateful"] else "zeros",
    )


# The parts of a script, which the functions above fill in.

IMPORTS = """\
import math
import os
import sys
from importlib.metadata import version


def stop(kind, error, trace):
    # Exit code 1 says that Keras is wrong; whatever else fails is one line and exit code 2.
    print(f"{os.path.basename(__file__)}: {kind.__name__}:", *str(error).split(), file=sys.stderr)
    sys.exit(2)


sys.excepthook = stop
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


# The source text of formulas and activations.


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
