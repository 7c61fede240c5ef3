"""The implementation that a sweep checks in place of Keras: `sweep --against SOURCE`."""

from __future__ import annotations

from functools import cache

from rnn_parity.errors import InputError
from rnn_parity.implementations.sources import KINDS, Source, recognised, sources


def refuse_source(name: str) -> None:
    """Raise `InputError` for a source that cannot answer for any layer, whatever its weights."""
    kind, argument = recognised(name)
    if not kind.any_weights:
        able = ", ".join(kind.form for kind in KINDS if kind.any_weights)
        raise InputError(
            f"--against {name!r}: expected {able}, which are given every configuration's weights; "
            f"received {kind.form}, which is not; check it by itself: rnn-parity check --against"
        )
    if (kind.module, argument) == (".keras_backend", "all"):
        raise InputError(f"--against {name!r}: expected one backend; sweep one after the other")


@cache
def source_of(name: str) -> Source:
    """The source of this name, ready to be asked, and kept: what it starts is started once.

    Raises `InputError` and `MissingPackageError` as `implementation` does, and `InputError` for a
    Python function that does not take the weights.
    """
    refuse_source(name)
    if recognised(name)[0].module == ".python_function":
        from rnn_parity.implementations.python_function import function_of, parameters

        taken = parameters(function_of(name))
        if "layer" not in taken:
            raise InputError(
                f"--against {name!r}: expected a function with a parameter `layer`, the weights of "
                f"each configuration, received one of ({', '.join(taken)}); add it"
            )
    (found,) = sources(name)
    return found
