"""What `--against` understands, in one table, and the implementation that a source stands for.

The standard library alone at the top, for the command line's help; each kind of source has a module
of its own, imported when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from rnn_parity.errors import InputError, RnnParityError, nearest
from rnn_parity.system.files import absent
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


FUNCTIONS = ".python_function"
"""The module of functions, each of which says itself what it is given."""

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
        FUNCTIONS,
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

    `export` gives it as the export of a whole model, where it may be one. `is_function` tells that
    a function of somebody's computes it, which can be changed.
    """

    name: str
    compute: Implementation
    scope: Scope = "layer"
    merges: bool = True
    export: Callable[[], Export | None] | None = None
    is_function: bool = False

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
    expected = f"expected one of {', '.join(kind.form for kind in KINDS)}"
    raise InputError(f"against {source!r}: {meant(source)}{expected}; see rnn-parity check --help")


def meant(source: str) -> str:
    """What may be meant by a source of no kind, and that there is no such path; empty for others.

    A path is told by a separator, or by a neighbour of nearly its name.
    """
    near = nearest(source, WORDS)
    if near:
        return f"no such source{near} "
    folder, name = os.path.split(source)
    if name.endswith(".py") and os.path.isfile(source):
        return f"a file of Python; did you mean {name.removesuffix('.py')}:FUNCTION? "
    if os.path.lexists(source):
        return ""
    missing = absent(source)
    return f"{missing}{'' if '?' in missing else ';'} " if folder or "?" in missing else ""


def sources(against: Any) -> list[Source]:
    """The implementations that `against` stands for, each with a name of its own.

    It is an array, a callable `f(inputs) -> outputs`, a source as the command line takes it, or a
    list of those. One of several that cannot be opened says so when it is asked, so that it does
    not hide the others; the only one raises at once.
    """
    given = [one for item in listed(against) for one in written_out(item)]
    if not given:
        raise InputError("against: expected at least one implementation, received none")
    found = list(map(source_of if len(given) == 1 else source_or_refusal, given))
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


def written_out(against: Any) -> list[Any]:
    """A source as its text, `keras:all` as those of all installed backends; the rest as it is.

    Raises `InputError` for text that is no source.
    """
    if not isinstance(against, (str, os.PathLike)):
        return [against]
    source = os.fspath(against)
    names = [f"keras:{one}" for one in backends()] if source == "keras:all" else [source]
    for name in names:
        recognised(name)
    return names


def source_of(against: Any) -> Source:
    """The one implementation that a text, a callable or an array stands for.

    Raises `InputError` or `MissingPackageError` where it cannot be opened.
    """
    if callable(against):
        return source_of_function(against, name_of(against))
    if not isinstance(against, str):
        from rnn_parity.implementations.numbers import of_array

        return Source(name_of(against), of_array(against), "call")
    kind, argument = recognised(against)
    module = module_of(kind)
    if kind.module == FUNCTIONS:
        return source_of_function(module.function_of(argument), against)
    export = partial(module.export, argument) if kind.exports else None
    return Source(against, module.implementation(argument), kind.scope, kind.merges, export)


def source_of_function(function: Callable[..., Any], name: str) -> Source:
    """A function as a source: for every layer of a model where it is given the layer, else for one.

    What it is given is one layer, so that it does not answer for the two of a `Bidirectional`.
    """
    from rnn_parity.implementations.python_function import of_callable, takes_layer

    if takes_layer(function):
        return Source(name, of_callable(function, name), "model", merges=False)
    return Source(name, of_callable(function, name), is_function=True)


def source_or_refusal(against: Any) -> Source:
    """The source, or where it cannot be opened one that says why, whatever it is asked."""
    try:
        return source_of(against)
    except RnnParityError as error:
        return Source(name_of(against), partial(refuse, error), "model", merges=False)


def refuse(error: RnnParityError, request: Request) -> Answer:
    """Raise `error`, which stands in the way of an answer."""
    raise error


def name_of(against: Any) -> str:
    """What reports call a source."""
    if isinstance(against, str):
        return against
    return getattr(against, "__name__", type(against).__name__) if callable(against) else "array"


def backends() -> list[str]:
    """Keras's other backends that are installed; raises `InputError` when none is."""
    keras = importlib.import_module("rnn_parity.implementations.keras_backend")
    found: list[str] = keras.installed()
    if not found:
        raise InputError("against 'keras:all': expected a backend besides TensorFlow, found none")
    return found
