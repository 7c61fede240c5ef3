"""What `--against` understands, in one table, and the implementation that a source stands for.

The standard library alone at the top, for the command line's help; each kind of source has a module
of its own, imported when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from rnn_parity.errors import InputError, nearest
from rnn_parity.system.progress import on_terminal

if TYPE_CHECKING:
    from rnn_parity.implementations.request import Answer, Implementation, Request
    from rnn_parity.implementations.whole_model import Export

Scope = Literal["call", "layer", "model"]
"""What one source can answer for: one call of one layer, one layer, or every layer of a model."""


@dataclass(frozen=True)
class Kind:
    """One kind of source: how it is written, what it is, and the module that implements it.

    A name of the module that begins with a dot is one of this package.

    A source is of this kind when it matches `pattern`, whose group is what the module is given. One
    that `merges` may compute a `Bidirectional` as a whole; others, each of its two layers alone.
    One for `any_weights` is given the layer's weights and options: it can answer for any layer.
    The module of one that `exports` has a function `export(argument)`, which gives an `Export` of a
    whole model, or None where the source is meant as one layer.
    """

    form: str
    meaning: str
    pattern: str
    module: str
    scope: Scope = "layer"
    merges: bool = True
    any_weights: bool = False
    exports: bool = False


KINDS = [
    Kind(
        "cmd:PROGRAM ARGS {input} {output}",
        "any program that reads and writes .npy, or {input}.csv {output}.csv",
        r"cmd:(.*)",
        ".command",
    ),
    Kind(
        "keras:BACKEND",
        "the same layer on jax, torch, numpy or openvino; or all that are installed",
        r"keras:(\w*)",
        ".keras_backend",
        "model",
        any_weights=True,
    ),
    Kind(
        "outputs.npy|.npz|.csv|.pb",
        "numbers that any program wrote; ?axes=TBH: timesteps first; #NAME: one array",
        r"(.+\.(?:npy|npz|csv|pb)(?:[?#].*)?)",
        ".numbers",
        "call",
    ),
    Kind(
        "onnx|litert",
        "the layer as Keras exports it to ONNX, or TensorFlow converts it to LiteRT",
        r"(onnx|litert)",
        ".exported",
        "model",
        merges=False,
        any_weights=True,
    ),
    Kind(
        "tfjs",
        "the layer in TensorFlow.js, run by Node",
        r"(tfjs)",
        ".tfjs.layer",
        "model",
        any_weights=True,
    ),
    Kind(
        "model.json",
        "a TensorFlow.js model (layers-model), run by Node, or the folder that holds it",
        r"(.+\.json)",
        ".tfjs.model",
        "model",
    ),
    Kind(
        "model.onnx",
        "an ONNX model, run by ONNX Runtime; #NAME: one output",
        r"(.+\.onnx(?:#.*)?)",
        ".onnx.runtime",
        exports=True,
    ),
    Kind(
        "model.tflite",
        "a LiteRT (TensorFlow Lite) model; #NAME: one output",
        r"(.+\.tflite(?:#.*)?)",
        ".litert",
        exports=True,
    ),
    Kind(
        "saved_model/",
        "a SavedModel folder, run by TensorFlow",
        r"(.+)[/\\]",
        ".saved_model",
        exports=True,
    ),
    Kind(
        "weights.safetensors",
        "the state_dict of a PyTorch nn.RNN, nn.LSTM or nn.GRU; #PREFIX: one of its layers",
        # Its module says what to do with a pickled one.
        r"(.+\.(?:safetensors|pt|pth|bin|ckpt|pkl|pickle)(?:#.*)?)",
        ".torch_weights",
        "model",
        merges=False,
    ),
    Kind(
        "module:function",
        "a Python function of the inputs that returns the outputs",
        r"([\w.]+:[\w.]+)",
        ".python_function",
        any_weights=True,
    ),
]
"""All kinds, in the order in which a source is held against them.

A kind of one's own is one more entry, before `module:function`, and a module with a function
`implementation(argument)` that returns an `Implementation`.
"""


WORDS = ("onnx", "litert", "tfjs")
"""The sources that are one word, and what may be meant by a mistyped one."""


@dataclass(frozen=True, eq=False)
class Source:
    """One implementation to check: what reports call it, how to ask it, what it can answer for.

    `export` gives it as the export of a whole model, where it may be one.
    """

    name: str
    compute: Implementation
    scope: Scope = "layer"
    merges: bool = True
    export: Callable[[], Export | None] | None = None

    def answer(self, request: Request) -> Answer:
        """What it computes; a line on a terminal says so while it does."""
        with on_terminal(f"asking {self.name}"):
            return self.compute(request)


def unproven(answer: Answer, source: Source) -> str:
    """Why parity is not proven by what `source` answered, whatever the numbers; empty if it is."""
    if not answer.left_out:
        return ""
    how = f"name it: --against '{answer.part}'" if answer.part else "let it give that alone"
    return (
        f"not compared: {', '.join(answer.left_out)} of {source.name}; if what was compared is all "
        f"that is meant, {how}"
    )


def implementation(source: str) -> Implementation:
    """The implementation that `source` names, ready to be asked.

    Raises `InputError`, one line, for what is not understood and for what its module refuses, and
    `MissingPackageError` where its module needs a package that is not installed.
    """
    kind, argument = recognised(source)
    found: Implementation = module_of(kind).implementation(argument)
    return found


def module_of(kind: Kind) -> Any:
    """The module that implements a kind of source."""
    return importlib.import_module(kind.module, __package__)


def recognised(source: str) -> tuple[Kind, str]:
    """The kind of `source`, and what its module is given."""
    if os.path.isfile(os.path.join(source, "model.json")):
        source = os.path.join(source, "model.json")
    elif os.path.isdir(source):
        source = os.path.join(source, "")
    for kind in KINDS:
        match = re.fullmatch(kind.pattern, source, re.DOTALL | re.IGNORECASE)
        if match:
            return kind, match[1]
    forms = ", ".join(kind.form for kind in KINDS)
    near = nearest(source, WORDS)
    join = near or ";"
    raise InputError(
        f"against {source!r}: expected one of {forms}{join} see rnn-parity check --help"
    )


def sources(against: Any) -> list[Source]:
    """The implementations that `against` stands for, each with a name of its own.

    It is an array, a callable `f(inputs) -> outputs`, a source as the command line takes it, or a
    list of those.
    """
    found = [source for one in listed(against) for source in sources_of(one)]
    if not found:
        raise InputError("against: expected at least one implementation, received none")
    total, seen = Counter(source.name for source in found), Counter[str]()
    for i, source in enumerate(found):
        seen[source.name] += 1
        if total[source.name] > 1:
            name = f"{source.name} {seen[source.name]}"
            found[i] = replace(source, name=name)
    return found


def listed(against: Any) -> list[Any]:
    """The members of a list of implementations; anything else, an array as nested lists, is one."""
    if not isinstance(against, (list, tuple)):
        return [against]
    several = not against or any(
        isinstance(one, (str, os.PathLike)) or callable(one) or hasattr(one, "__array__")
        for one in against
    )
    return list(against) if several else [against]


def sources_of(against: Any) -> Iterator[Source]:
    """One implementation; those of all installed backends for `keras:all`."""
    if isinstance(against, (str, os.PathLike)):
        source = os.fspath(against)
        names = [f"keras:{one}" for one in backends()] if source == "keras:all" else [source]
        for name in names:
            kind, argument = recognised(name)
            module = module_of(kind)
            export = partial(module.export, argument) if kind.exports else None
            yield Source(name, module.implementation(argument), kind.scope, kind.merges, export)
    elif callable(against):
        from rnn_parity.implementations.python_function import of_callable

        name = getattr(against, "__name__", type(against).__name__)
        yield Source(name, of_callable(against, name))
    else:
        from rnn_parity.implementations.numbers import of_array

        yield Source("array", of_array(against), "call")


def backends() -> list[str]:
    """Keras's other backends that are installed; raises `InputError` when none is."""
    keras = importlib.import_module("rnn_parity.implementations.keras_backend")
    found: list[str] = keras.installed()
    if not found:
        raise InputError("against 'keras:all': expected a backend besides TensorFlow, found none")
    return found
