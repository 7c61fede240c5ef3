"""`module:function`: a Python function of the inputs `(B, T, F)` that returns the outputs.

It returns outputs `(B, T, H)`, or the last one `(B, H)`, or a tuple of those and the final state: h
alone, `h, c` or the pair `(h, c)`. It refuses what it does not do with a `NotImplementedError`;
whatever else it raises is a mistake in it. It is also given `mask`, `initial_state` and `layer`
where its signature names them; `initial_state` is `(B, H)`, or the pair `(h, c)`, and `layer` the
weights and options, such as an `rnn_parity.LSTM`.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial, reduce
from typing import Any

import numpy as np

from rnn_parity.errors import InputError, SourceFailedError, misspelt, nearest
from rnn_parity.implementations.numbers import last_alone
from rnn_parity.implementations.request import Answer, Implementation, Request
from rnn_parity.recurrence.precision import real

PREFIXES = ("keras", "cmd")
"""What stands before a colon in other sources, and may be meant by a mistyped module."""


def implementation(source: str) -> Implementation:
    """The function `name` of a module, written `module:name`; the current folder is searched first.

    Raises `InputError` for a module that cannot be imported, and for one without that function.
    """
    return of_callable(function_of(source), source)


def function_of(source: str) -> Callable[..., Any]:
    """The function that `source` names; raises as `implementation` does."""
    where = f"against {source!r}"
    module_name, _, name = source.partition(":")
    near = nearest(module_name, (*PREFIXES, *modules_here())).replace("?", f":{name}?")
    with current_folder(), in_one_line(f"{where}: {module_name} cannot be imported", near):
        module = importlib.import_module(module_name)
    try:
        function = reduce(getattr, name.split("."), module)
    except AttributeError:
        function = None
    if not callable(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        some = ", ".join(known[:10]) or "none"
        expected = f"expected a function of {module_name}: {some}"
        raise InputError(f"{where}: {misspelt(name, known, expected)}")
    found: Callable[..., Any] = function
    return found


def modules_here() -> list[str]:
    """The modules of the current folder, one of which may be meant by a mistyped name."""
    with suppress(OSError):
        return [found.name for found in pkgutil.iter_modules([os.getcwd()])]
    return []


def custom_objects(sources: Sequence[str]) -> dict[str, Any]:
    """The classes and functions that `sources` name, written `module:Name`, by their own names.

    Their modules are imported, those of the current folder first. Raises `InputError` for a module
    that cannot be imported, and for one without that name.
    """
    found = {}
    for source in sources:
        where, (module_name, _, name) = f"--custom {source!r}", source.partition(":")
        if not module_name or not name.isidentifier():
            raise InputError(f"{where}: expected module:Name, such as layers:Attention")
        with current_folder(), in_one_line(f"{where}: {module_name} cannot be imported"):
            module = importlib.import_module(module_name)
        found[name] = getattr(module, name, None)
        if not callable(found[name]):
            received = f"one of type {type(found[name]).__name__}"
            raise InputError(
                f"{where}: expected a class or a function of {module_name}, received "
                f"{received if hasattr(module, name) else 'none'}"
            )
    return found


def of_callable(function: Callable[..., Any], name: str) -> Implementation:
    """A function as an implementation; `name` is what messages call it."""
    return partial(answer_of_function, function, name)


def answer_of_function(function: Callable[..., Any], name: str, request: Request) -> Answer:
    """Call the function.

    Raises `InputError` for what it refuses and `SourceFailedError` for whatever else it raises and
    for what is no answer, each in one line.
    """
    given, notes = options(function, request)
    with current_folder(), crash_or_refusal(function, f"against {name!r}"):
        # A copy, since a function may change what it is given.
        returned = function(np.array(request.inputs), **given)
        outputs, *states = returned if isinstance(returned, tuple) else (returned,)
        if len(states) == 1 and isinstance(states[0], (tuple, list)):
            states = [*states[0]] if len(request.layer.STATES) > 1 else states
        array = real(outputs, "what it returned")
        final = tuple(real(state, "the final state that it returned") for state in states)
        return Answer(array, final, (*notes, *last_alone(array, request.inputs)))


def options(
    function: Callable[..., Any], request: Request
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The keywords that the function takes, and notes on what is not handed over."""
    names = parameters(function)
    state: Any = request.initial_state
    if state is not None and len(state) == 1:
        (state,) = state
    values: dict[str, Any] = {"mask": request.mask, "initial_state": state}
    notes = [
        f"the {name.replace('_', ' ')} is not handed over: its signature has no {name}"
        for name, value in values.items()
        if value is not None and name not in names
    ]
    values["layer"] = request.layer
    return {name: value for name, value in values.items() if name in names}, tuple(notes)


def takes_layer(function: Callable[..., Any]) -> bool:
    """Whether the function is given the weights and options, so that it can compute any layer."""
    return "layer" in parameters(function)


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names in the function's signature; none where it is written in C and has no signature."""
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()


@contextmanager
def current_folder() -> Iterator[None]:
    """Modules of the current folder can be imported in this block, as with `python -m`."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


@contextmanager
def in_one_line(what: str, end: str = "") -> Iterator[None]:
    """Whatever is raised in this block, an attempt to end the process too, as an `InputError`.

    Its message begins with `what`, and has this `end`.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        raise InputError(f"{what}: {last_line(error)}{end}") from error


@contextmanager
def crash_or_refusal(function: Callable[..., Any], who: str) -> Iterator[None]:
    """What is raised in this block, in one line: as a refusal of `function`, or as its failure.

    A `NotImplementedError` says what is not done; anything else, an attempt to end the process too,
    is a mistake. What is said of an array that was returned stands for itself.
    """
    try:
        yield
    except NotImplementedError as error:
        raise InputError(f"{who}: it refused: {last_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise SourceFailedError(
            f"{who}: it failed: {last_line(error)}{place(function, error)}"
        ) from error


def last_line(error: BaseException) -> str:
    """The last line of a traceback, with what the error says on one line."""
    if type(error) is InputError:
        return str(error)
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {said}".rstrip(": ")


def place(function: Callable[..., Any], error: BaseException) -> str:
    """The line in the file of `function` that failed; empty where that is elsewhere."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    own = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == file]
    return f" ({os.path.basename(str(file))}, line {own[-1]})" if own else ""
