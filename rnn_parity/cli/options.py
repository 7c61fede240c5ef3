"""The options of the command line. The standard library alone, so that `--help` answers at once."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from rnn_parity.cli.sweep_options import add_sweep
from rnn_parity.errors import InputError
from rnn_parity.implementations.sources import KINDS
from rnn_parity.report import FORMATS
from rnn_parity.system.environment import own_version

LAYERS = ("simple_rnn", "lstm", "gru")
WRAPPERS = ("rnn", "stacked", "bidirectional")
MASKS = ("none", "right", "left", "random")
STATES = ("zeros", "random")
MODES = ("eager", "graph", "xla", "predict", "all")
LARGEST = 2**31 - 1

EPILOG = """\
exit codes: 0 parity; 1 diverged or suspect, or an --against crashed; 2 bad
usage or bad input; 3 nothing was proven (inconclusive, nothing to compare, or
blind with --strict). With several checks, the first of 1, 3, 0 that occurs."""


class Parser(argparse.ArgumentParser):
    """A parser that takes whole option names alone and says in one line what is wrong."""

    def __init__(self, **settings: object) -> None:
        """Take `argparse.ArgumentParser`'s keywords."""
        super().__init__(
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **settings,  # type: ignore[arg-type]  # argparse's own keywords, passed through
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what is unknown here, where the command is known that would have taken it."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raises `InputError` where argparse would print its usage and exit."""
        raise InputError(f"{message}; try {self.prog} --help")


def parser() -> Parser:
    """The parser of the whole command line; an option that was not given has no attribute."""
    main = Parser(
        prog="rnn-parity", description="Does a Keras recurrent layer compute its recurrence?"
    )
    main.add_argument("--version", action="version", version=f"rnn-parity {own_version()}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="replay a layer by hand and hold it to a proven bound, with no tolerance to choose",
        description="Replay a recurrent layer by hand and hold it to a proven bound.",
        epilog=EPILOG,
        argument_default=argparse.SUPPRESS,
    )
    check.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        default=None,
        help="a model (.keras, .h5, .hdf5, .onnx), a case (.npz) or a folder of cases; without it, "
        "a layer is generated",
    )
    add_layer(check.add_argument_group("generated layer"))
    add_data(check.add_argument_group("data"))
    add_case(check.add_argument_group("cases"))
    add_against(check)
    output = check.add_argument_group("output")
    output.add_argument("-o", dest="output", metavar="FILE", default=None, help="write it to FILE")
    add_output(output)
    add_record(commands)
    faults = commands.add_parser(
        "faults",
        help="list the known mistakes: id, meaning, layers",
        description="List the known mistakes that a divergence is held against.",
    )
    lists = [name for name in FORMATS if name != "github"]  # there is nothing to annotate
    faults.add_argument("--format", choices=lists, default="table", help="default table")
    explain = commands.add_parser(
        "explain",
        help="show a page of the manual: a fault, a known difference, a word of a report",
        description="Show a page of the manual; without TOPIC, list all pages.",
    )
    explain.add_argument("topic", nargs="?", metavar="TOPIC", help="such as bias-dropped")
    add_sweep(commands, size, seed, LAYERS, FORMATS)
    return main


def add_record(commands: argparse._SubParsersAction[Parser]) -> None:
    """The command that writes cases."""
    record = commands.add_parser(
        "record",
        help="check, and write what was computed as a case (.npz) to be checked again later",
        description="Check a recurrent layer, and write a case of every call that is replayed.",
        epilog=EPILOG,
        argument_default=argparse.SUPPRESS,
    )
    record.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        default=None,
        help="a model (.keras, .h5, .hdf5); without it, a layer is generated",
    )
    add_layer(record.add_argument_group("generated layer"))
    add_data(record.add_argument_group("data"))
    output = record.add_argument_group("output")
    output.add_argument(
        "-o",
        dest="output",
        metavar="CASE.npz",
        required=True,
        help="the case; several layers, calls or modes get names that begin like it",
    )
    output.add_argument(
        "--inputs-as",
        metavar="X.npy",
        help="write the inputs as well, for other programs: .npy, or .csv with a row per timestep",
    )
    add_output(output)


def add_against(check: Parser) -> None:
    """Other implementations, and what they can be."""
    forms = "".join(f"\n  {kind.form}\n      {kind.meaning}" for kind in KINDS)
    group = check.add_argument_group(
        "other implementations",
        f"checked in place of Keras, on what reaches the layer; SOURCE is one of{forms}",
    )
    group.add_argument(
        "--against", action="append", metavar="SOURCE", help="check this one; repeatable"
    )


def add_case(group: argparse._ArgumentGroup) -> None:
    """How recorded cases are checked, and what a report is held against."""
    add = group.add_argument
    add("--no-keras", action="store_true", help="check the recorded outputs alone")
    add("--baseline", metavar="REPORT.json", help="fail where a check is worse than in that report")


def add_layer(group: argparse._ArgumentGroup) -> None:
    """What layer to generate; `--batch`, `--timesteps` and `--seed` are for a model too."""
    add = group.add_argument
    add("--layer", choices=(*LAYERS, *WRAPPERS), help="its class (default simple_rnn)")
    add("--units", type=size, metavar="N", help="its units (default 16)")
    add("--features", type=size, metavar="N", help="features of its inputs (default 32)")
    add("--batch", type=size, metavar="N", help="samples; for a model too (default 32)")
    add("--timesteps", type=size, metavar="N", help="timesteps; for a model too (default 28)")
    add("--seed", type=seed, metavar="N", help="of all random numbers; for a model too (default 0)")
    add(
        "--arg",
        dest="arguments",
        action="append",
        type=argument,
        metavar="NAME=VALUE",
        help="a Keras constructor argument, such as activation=relu; repeatable",
    )
    add("--dtype", metavar="NAME", help="a Keras dtype policy, such as mixed_float16")
    add("--initial-state", choices=STATES, help="the first state (default zeros)")
    add("--calls", type=size, metavar="N", help="consecutive calls, for stateful=True (default 1)")


def add_data(group: argparse._ArgumentGroup) -> None:
    """What the layer or the model is run on, and how."""
    add = group.add_argument
    masks = group.add_mutually_exclusive_group().add_argument
    add("--input", metavar="X.npy", help="inputs, batch first; otherwise random ones")
    masks("--mask", choices=MASKS, help="generate a mask: padding, or random (default none)")
    masks("--mask-file", metavar="M.npy", help="a mask, (batch, timesteps), true where it counts")
    add("--layer-name", metavar="NAME", help="check this layer of the model alone")
    add(
        "--unsafe",
        action="store_true",
        default=False,
        help="load a model with Lambda layers: runs its code",
    )
    add("--mode", choices=MODES, help="how Keras runs it (default graph; a case's own)")
    add("--training", action="store_true", help="call it in training, where dropout is active")


def add_output(group: argparse._ArgumentGroup) -> None:
    """How the answer is given."""
    add = group.add_argument
    add("--format", choices=FORMATS, default="table", help="of the answer (default table)")
    add("--every", action="store_true", default=False, help="show all timesteps of a long table")
    add("-q", dest="quiet", action="store_true", default=False, help="print the verdict alone")
    add(
        "--strict",
        action="store_true",
        default=False,
        help="blind spots count as failures",
    )


def size(text: str) -> int:
    """An integer from 1 to what TensorFlow can count."""
    return integer(text, 1, LARGEST)


def seed(text: str) -> int:
    """An integer from 0 to the largest seed."""
    return integer(text, 0, LARGEST)


def integer(text: str, least: int, largest: int) -> int:
    """`text` as an integer of this range; raises argparse's error."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= largest:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise argparse.ArgumentTypeError(
            f"expected an integer from {least} to {largest}, received {shown!r}"
        )
    return number


def argument(text: str) -> tuple[str, object]:
    """NAME=VALUE, the value a Python literal or a bare word; raises argparse's error."""
    import ast
    import re

    name, _, value = text.partition("=")
    if not name.isidentifier() or not value:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, received {text!r}")
    if value not in ("True", "False", "None") and value.title() in ("True", "False", "None"):
        # As a word it would be a true value, whatever it says.
        raise argparse.ArgumentTypeError(
            f"expected {name}={value.title()}, with a capital, received {text!r}"
        )
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if re.fullmatch(r"[\w.>-]+", value):
            return name, value
    raise argparse.ArgumentTypeError(f"expected a Python literal or a bare word, received {text!r}")
