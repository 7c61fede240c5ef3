"""The options of `rnn-parity sweep`. The standard library alone: `--help` answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rnn_parity.implementations.sources import KINDS

EPILOG = """\
exit codes: 0 parity; 1 diverged or suspect, or a source failed; 2 bad usage or
bad input; 3 something was not proven. What Keras refuses is counted apart and
changes none of them.

With --against, every configuration is built in Keras, and what the source
computes from the same weights and inputs is checked. A function is given `layer`,
too: the weights and the options. What the source refuses, a function with a
NotImplementedError, is counted as refused; whatever else it raises has failed."""


def add_sweep(
    commands: Any,
    size: Callable[[str], int],
    seed: Callable[[str], int],
    layers: Sequence[str],
    formats: Iterable[str],
) -> None:
    """The command that checks combinations of options; `size` and `seed` read their numbers."""

    def strength(text: str) -> int | str:
        return text if text == "full" else size(text)

    sweep = commands.add_parser(
        "sweep",
        help="check many combinations of a layer's options, and make small what diverges",
        description="Check combinations of all options of a recurrent layer in Keras.",
        epilog=EPILOG,
    )
    add = sweep.add_argument_group("what is checked").add_argument
    add("--layer", choices=(*layers, "all"), default="simple_rnn", help="default simple_rnn")
    add(
        "--strength",
        type=strength,
        default=3,
        metavar="T",
        help="every combination of any T options occurs (default 3); or full: all combinations",
    )
    add("--limit", type=size, metavar="N", help="check the first N of the shuffled combinations")
    add("--seed", type=seed, default=0, metavar="S", help="of the shuffle and of all data")
    able = ", ".join(kind.form for kind in KINDS if kind.any_weights)
    help = f"check this in place of Keras's outputs: {able}"
    add("--against", dest="source", metavar="SOURCE", help=help)
    add = sweep.add_argument_group("who does it").add_argument
    add("--workers", type=size, metavar="N", help="so many processes (default: this one alone)")
    add("--dask", metavar="ADDRESS", help="the workers of the Dask scheduler there instead")
    add = sweep.add_argument_group("what comes of it").add_argument
    add("--resume", metavar="FILE", help="add results to FILE, and do not repeat those in it")
    add("--repro", metavar="DIR", help="write a script for every finding that runs by itself")
    add(
        "--allow-known",
        action="store_true",
        help="do not fail for known mistakes of Keras's; they still count as diverged",
    )
    add("--format", choices=formats, default="table", help="of the answer (default table)")
    add("-o", dest="output", metavar="FILE", help="write it to FILE")
