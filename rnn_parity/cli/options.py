"""The options of the command line, and which go together. The standard library alone.

So `--help` and bad usage answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from rnn_parity.cli.data import refuse_names
from rnn_parity.cli.targets import (
    CASE,
    GENERATED,
    MODEL,
    TargetKind,
    expanded,
    is_folder,
    kind_of,
    no_such_file,
)
from rnn_parity.errors import InputError, misspelt, nearest
from rnn_parity.implementations.sources import KINDS, recognised
from rnn_parity.report import FORMATS, PNG, SVG, form_of
from rnn_parity.system.choices import (
    ALL_MODES,
    INITIAL_STATES,
    LAYER_CLASSES,
    MASKS,
    MODES,
    WRAPPERS,
    layer_word,
)
from rnn_parity.system.environment import own_version

LARGEST = 2**31 - 1
"""The largest size, and the largest seed, that TensorFlow can count."""

CHECK_ENDS = """\
exit codes: 0 parity; 1 diverged or suspect, or an --against crashed; 2 bad
usage or bad input; 3 nothing was proven (inconclusive, nothing to compare, or
blind with --strict). With several checks, the first of 1, 2, 3, 0 that occurs.
With --allow-known, a divergence that a known difference explains counts as 0."""

SWEEP_ENDS = """\
exit codes: 0 parity; 1 diverged or suspect, or a source failed; 2 bad usage or
bad input; 3 something was not proven. What Keras refuses is counted apart and
changes none of them.

With --against, every configuration is built in Keras, and what the source
computes from the same weights and inputs is checked. A function is given `layer`,
too: the weights and the options. What the source refuses, a function with a
NotImplementedError, is counted as refused; whatever else it raises has failed."""

ONLY_FLAGS = {
    "--mode": "modes",
    "--dtype": "dtype policies",
    "--mask": "kinds of masks",
    "--initial-state": "kinds of initial states",
}
"""Options of a sweep that choose among the values that are combined, with what these are."""

Given: TypeAlias = Mapping[str, Any]
"""The options by their names; of a check and a recording, those alone that were given."""


VERSION = "version"
"""The option that belongs to the program, and not to a command."""


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
        first = next(iter(sys.argv[1:] if args is None else args), "")
        if self._subparsers is not None and first.startswith("--"):
            # Before argparse misses a command that was not what the word was meant for.
            self.refuse_unknown(first)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self.meant(unknown)}")
        return found, unknown

    def refuse_unknown(self, first: str) -> None:
        """Refuse an option that stands before the command and is none of this parser's own."""
        if first.partition("=")[0] not in self._option_string_actions:
            where = self.meant([first]) or "; the options of a command stand behind it"
            self.error(f"unrecognized arguments: {first}{where}")

    def meant(self, unknown: Sequence[str]) -> str:
        """The options that are nearest to the unknown ones, as the end of a message.

        One of no command is there for each of them.
        """
        words = [word[2:].partition("=")[0] for word in unknown if word.startswith("--")]
        known = [name[2:] for name in self._option_string_actions if name.startswith("--")]
        if not words:
            return ""
        found = [nearest(word, known) for word in words]
        near = [one.removeprefix("; did you mean ").rstrip("?") for one in found if one]
        if (not found[0] and nearest(words[0], [VERSION])) or words[0] == VERSION:
            return f"; did you mean rnn-parity --{VERSION}?"
        return f"; did you mean {', '.join(f'--{one}' for one in dict.fromkeys(near))}?" * bool(
            near
        )

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of the choices, with the one that is nearest to it."""
        known = action.choices
        if known is not None and value not in known:
            raise argparse.ArgumentError(action, not_among(str(value), [*map(str, known)]))

    def error(self, message: str) -> NoReturn:
        """Raises `InputError` where argparse would print its usage and exit."""
        join = "" if message.endswith("?") else ";"
        raise InputError(f"{message}{join} try {self.prog} --help")


def not_among(word: str, known: Sequence[str]) -> str:
    """What was expected in place of a word; a target without a command gets the usual one."""
    expected = f"expected one of {', '.join(known)}"
    if "check" in known and any(sign in word for sign in "./*"):
        return f"received {word!r}; did you mean check {word}? {expected}"
    return misspelt(word, known, expected)


ANNOTATIONS = "github"
"""The form of output that has neither a table nor fewer words."""

OF_CHECKS = (ANNOTATIONS, "junit")
"""The forms of output that show nothing but checks."""

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def parser() -> Parser:
    """The parser of the whole command line; a check's option that is not given has no attribute."""
    main = Parser(
        prog="rnn-parity", description="Does a Keras recurrent layer compute its recurrence?"
    )
    main.add_argument(f"--{VERSION}", action="version", version=f"rnn-parity {own_version()}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_check(commands)
    add_record(commands)
    faults = commands.add_parser(
        "faults",
        help="list the known mistakes: id, meaning, layers",
        description="List the known mistakes that a divergence is held against.",
    )
    lists = [name for name in FORMATS if name not in OF_CHECKS]
    faults.add_argument("--format", choices=lists, default="table", help="default table")
    explain = commands.add_parser(
        "explain",
        help="show a page of the manual: a fault, a known difference, a word of a report",
        description="Show a page of the manual; without TOPIC, list all pages.",
    )
    explain.add_argument("topic", nargs="*", metavar="TOPIC", help="such as bias-dropped")
    add_sweep(commands)
    return main


def add_check(commands: Commands) -> None:
    """The command that checks a generated layer, a model, or cases."""
    check = commands.add_parser(
        "check",
        help="replay a layer by hand and hold it to a proven bound, with no tolerance to choose",
        description="Replay a recurrent layer by hand and hold it to a proven bound.",
        epilog=CHECK_ENDS,
        argument_default=argparse.SUPPRESS,
    )
    models = "a model (.keras, .h5, .hdf5, .onnx, .safetensors, model.json)"
    cases = "a case (.npz), a folder or a glob"
    add_subject(check, f"{models}, {cases}; repeatable; without it, a layer is generated", "*")
    add = check.add_argument_group("cases").add_argument
    add("--no-keras", action="store_true", help="check the recorded outputs alone")
    add("--baseline", metavar="REPORT.json", help="fail where a check is worse than in that report")
    forms = "".join(f"\n  {kind.form}\n      {kind.meaning}" for kind in KINDS)
    add = check.add_argument_group(
        "other implementations",
        f"checked in place of Keras, on what reaches the layer; SOURCE is one of{forms}",
    ).add_argument
    add("--against", action="append", metavar="SOURCE", help="check this one; repeatable")
    add = check.add_argument_group("several targets").add_argument
    add("--workers", type=size, metavar="N", help="so many processes (default: this one alone)")
    add("--dask", metavar="ADDRESS", help="the workers of the Dask scheduler there instead")
    output = check.add_argument_group("output")
    add_files(output)
    output.add_argument(
        "--plot",
        metavar="FILE",
        help=f"draw the check as FILE ({PNG} {SVG}); of several, the worst",
    )
    add_answer(output)


def add_record(commands: Commands) -> None:
    """The command that writes cases."""
    record = commands.add_parser(
        "record",
        help="check, and write what was computed as a case (.npz) to be checked again later",
        description="Check a recurrent layer, and write a case of every call that is replayed.",
        epilog=CHECK_ENDS,
        argument_default=argparse.SUPPRESS,
    )
    add_subject(record, "a model (.keras, .h5, .hdf5); without it, a layer is generated")
    output = record.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        metavar="CASE.npz",
        required=True,
        help="the case; several layers, calls or modes get names that begin like it",
    )
    output.add_argument(
        "--inputs-as",
        metavar="X.npy",
        help="write the inputs as well, for other programs: .npy, or .csv with a row per timestep",
    )
    output.add_argument(
        "--diverged", action="store_true", help="record what diverged or is suspect, too"
    )
    add_answer(output)


def add_subject(command: Parser, target: str, count: str = "?") -> None:
    """What is checked, on which data, and how Keras runs it."""
    command.add_argument("target", nargs=count, metavar="TARGET", default=None, help=target)
    add = command.add_argument_group("generated layer").add_argument
    layers = (*LAYER_CLASSES, *WRAPPERS)
    add("--layer", type=layer_word, choices=layers, help="its class (default simple_rnn)")
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
        help="an argument of the constructor, such as activation=relu; for weights alone too; "
        "repeatable",
    )
    add("--dtype", metavar="NAME", help="a Keras dtype policy, such as mixed_float16")
    add("--initial-state", choices=INITIAL_STATES, help="the first state (default zeros)")
    add("--calls", type=size, metavar="N", help="consecutive calls; of a model too (default 1)")
    data = command.add_argument_group("data")
    add, masks = data.add_argument, data.add_mutually_exclusive_group().add_argument
    add(
        "--input",
        action="append",
        metavar="[NAME=]FILE",
        help="inputs, batch first: X.npy, NAME=X.npy for one of several (repeatable), or X.npz by "
        "their names; otherwise random ones",
    )
    masks("--mask", choices=MASKS, help="generate a mask: padding, or random (default none)")
    masks(
        "--mask-file",
        action="append",
        metavar="[NAME=]M.npy",
        help="a mask, (batch, timesteps), true where it counts; of a model, its own",
    )
    add("--layer-name", metavar="NAME", help="check this layer of the model alone")
    add(
        "--unsafe",
        action="store_true",
        default=False,
        help="load a model with Lambda layers: runs its code",
    )
    add(
        "--custom",
        action="append",
        metavar="MODULE:NAME",
        help="a class or function that the model names: imports its module; repeatable",
    )
    add(
        "--mode",
        choices=(*MODES, ALL_MODES),
        help="how Keras runs it (default graph; a case's own)",
    )
    add("--training", action="store_true", help="call it in training, where dropout is active")


def add_files(group: argparse._ArgumentGroup) -> None:
    """The files in which the answer of a check or a sweep is written, too."""
    endings = " ".join(form.ending for form in FORMATS.values() if form.ending)
    group.add_argument(
        "-o",
        "--output",
        action="append",
        metavar="FILE",
        default=[],
        help=f"also write all of it to FILE, in the form of its ending ({endings}); repeatable",
    )


def add_answer(group: argparse._ArgumentGroup) -> None:
    """How the answer of a check is given."""
    add = group.add_argument
    add("--format", choices=FORMATS, default="table", help="of what stdout gets (default table)")
    add("--every", action="store_true", default=False, help="show all timesteps of a long table")
    how = group.add_mutually_exclusive_group().add_argument
    how("-q", "--quiet", action="store_true", default=False, help="print the verdict alone")
    how(
        "-v",
        "--verbose",
        action="store_true",
        default=False,
        help="show all of several checks, not those alone that are not in parity",
    )
    add("--strict", action="store_true", default=False, help="blind spots count as failures")
    add(
        "--ignore",
        action="append",
        metavar="FAULT",
        default=[],
        help="no failure with --strict: a blind spot that does not matter here, such as mask-*; "
        "repeatable",
    )
    add(
        "--allow-known",
        action="store_true",
        default=False,
        help="do not fail for known mistakes of Keras's; the verdict stays diverged",
    )


def add_sweep(commands: Commands) -> None:
    """The command that checks combinations of options."""
    sweep = commands.add_parser(
        "sweep",
        help="check many combinations of a layer's options, and make small what diverges",
        description="Check combinations of all options of a recurrent layer in Keras.",
        epilog=SWEEP_ENDS,
    )
    add = sweep.add_argument_group("what is checked").add_argument
    layers = (*LAYER_CLASSES, "all")
    add(
        "--layer",
        type=layer_word,
        choices=layers,
        default="simple_rnn",
        help="default simple_rnn",
    )
    add(
        "--strength",
        type=strength,
        default=3,
        metavar="T",
        help="every combination of any T options occurs (default 3); or full: all combinations",
    )
    add("--limit", type=size, metavar="N", help="check the first N of the shuffled combinations")
    add("--seed", type=seed, default=0, metavar="S", help="seed of the shuffle and of all data")
    for flag, of in ONLY_FLAGS.items():
        add(flag, type=words, metavar="VALUE,...", help=f"combine only these {of}")
    add(
        "--arg",
        dest="only",
        action="append",
        type=chosen,
        default=[],
        metavar="NAME=VALUE,...",
        help="combine only these values of an option, such as activation=tanh,relu; repeatable",
    )
    add(
        "--exclude",
        action="append",
        type=excluded,
        default=[],
        metavar="NAME[=VALUE,...]",
        help="leave out an option, such as unroll, or values, such as activation=selu; repeatable",
    )
    able = ", ".join(kind.form for kind in KINDS if kind.any_weights)
    help = f"check this in place of Keras's outputs: {able}"
    add("--against", dest="source", metavar="SOURCE", help=help)
    add = sweep.add_argument_group("who does it").add_argument
    add("--workers", type=size, metavar="N", help="work in N processes (default: in this one)")
    add("--dask", metavar="ADDRESS", help="work on the Dask cluster of the scheduler there")
    output = sweep.add_argument_group("what comes of it")
    add = output.add_argument
    add("--resume", metavar="FILE", help="add results to FILE, and do not repeat those in it")
    add("--repro", metavar="DIR", help="write a script for every finding that runs by itself")
    add(
        "--allow-known",
        action="store_true",
        help="do not fail for known mistakes of Keras's; they still count as diverged",
    )
    add("--format", choices=FORMATS, default="table", help="form of stdout (default table)")
    add_files(output)


# The types of values; each raises argparse's error, which names the option.


def words(text: str) -> tuple[str, ...]:
    """Words with commas between them."""
    found = tuple(word.strip() for word in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"expected VALUE or VALUE,VALUE, received {text!r}")
    return found


def chosen(text: str) -> tuple[str, tuple[str, ...]]:
    """NAME=VALUE,VALUE: an option of a sweep, and some of its values in words."""
    name, equals, values = text.partition("=")
    if not name.isidentifier() or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE or NAME=VALUE,VALUE, not {text!r}")
    return name, words(values)


def excluded(text: str) -> tuple[str, tuple[str, ...]]:
    """NAME, or NAME=VALUE,VALUE."""
    return chosen(text) if "=" in text else (text.strip(), ())


def size(text: str) -> int:
    """An integer from 1 to what TensorFlow can count."""
    return integer(text, 1)


def seed(text: str) -> int:
    """An integer from 0 to the largest seed."""
    return integer(text, 0)


def strength(text: str) -> int | str:
    """The strength of a covering array, or "full" for the full product."""
    return text if text == "full" else size(text)


def integer(text: str, least: int) -> int:
    """`text` as an integer from `least` on."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= LARGEST:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise argparse.ArgumentTypeError(
            f"expected an integer from {least} to {LARGEST}, received {shown!r}"
        )
    return number


def argument(text: str) -> tuple[str, object]:
    """NAME=VALUE, the value a Python literal or a bare word."""
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


def unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """The pairs of `--arg` by name; raises `InputError` for a name that was given twice."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--arg {name}: expected once, received {names.count(name)} times")
    return dict(pairs)


# Which options go together: one that would change nothing is refused.

OF_INPUT = ("batch", "timesteps", "features")
RATES = ("dropout", "recurrent_dropout")
RECORDED = ("generated", "model")
"""What can be recorded as a case, of the kinds of targets."""
FLAGS = {"arguments": "--arg", "quiet": "-q"}
"""Options whose names are not those of their values."""


def views(given: Given) -> list[Given]:
    """The options as they are for each target alone, which is None for a generated layer."""
    words = given["target"]
    if not isinstance(words, list):
        return [given]
    targets: Sequence[str | None] = expanded(words) or [None]
    return [{**given, "target": target} for target in targets]


def answer_files(given: Given) -> dict[str, str]:
    """The files of `-o` that get the answer, each with its form; `record` writes a case there.

    Raises `InputError` for an ending that stands for no form, and for a file that is named twice.
    """
    if given["command"] == "record":
        return {}
    places = [os.path.realpath(path) for path in given["output"]]
    for path, place in zip(given["output"], places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"-o {path!r}: expected once, received {places.count(place)} times")
    return {path: form_of(path) for path in given["output"]}


def refuse_combinations(given: Given) -> None:
    """Raise `InputError` for an option that would be ignored, or done wrong, of any target."""
    if "against" in given:
        refuse(given, ("mode",), "Keras's own outputs are not checked with --against; leave it out")
        for source in given["against"]:
            recognised(source)
    if given["command"] == "record":
        refuse_recording(given)
    if not given.get("plot", SVG).lower().endswith((PNG, SVG)):
        raise InputError(
            f"--plot {given['plot']!r}: expected a name that ends in {PNG} or {SVG}; name another"
        )
    for option in ("input", "mask_file"):
        refuse_names(given.get(option, ()), f"--{option.replace('_', '-')}")
    form = given["format"]
    if form == ANNOTATIONS or not FORMATS[form].legible:
        refuse(given, ("quiet",), f"not possible with --format {form}; leave it out")
    whole = {*answer_files(given).values(), *(() if given["quiet"] else (form,))}
    if not whole - {ANNOTATIONS}:
        refuse(given, ("every",), "there is no table to show; leave it out")


def refuse_two_pools(given: Given) -> None:
    """Raise `InputError` for processes here and elsewhere at once."""
    if given.get("workers") is not None and given.get("dask") is not None:
        raise InputError("--workers: the Dask cluster has its own; leave out one of the two")


def refuse_for_target(given: Given) -> None:
    """Raise `InputError` for an option that would be ignored of this target."""
    kind = target_kind(given)
    for names, why in kind.refused:
        refuse(given, names, why)
    if "no_keras" in given:
        refuse(given, ("mode",), "nothing runs with --no-keras; leave out one of the two")
    if kind is not CASE:
        refuse_training(given)
    if "input" in given:
        settled = OF_INPUT if kind is GENERATED else (*OF_INPUT, "seed")
        refuse(given, settled, "settled by --input; leave out one of the two")


def target_kind(given: Given) -> TargetKind:
    """The kind of the target; what is recorded is a layer or a model of Keras's."""
    kind = kind_of(given["target"])
    return kind if given["command"] == "check" or kind.report in RECORDED else MODEL


def refuse_each(each: Sequence[Given]) -> None:
    """Raise `InputError` for an option that one of the targets would ignore, naming the target.

    And for another implementation that answers for one layer, where several models are checked.
    """
    refuse_combinations(each[0])
    refuse_two_pools(each[0])
    for one in each:
        try:
            refuse_for_target(one)
        except InputError as error:
            if len(each) == 1:
                raise
            raise InputError(f"{one['target']}: {error}") from None
    models = [one["target"] for one in each if target_kind(one) is not CASE]
    if len(each) > 1 and models:
        for source in each[0].get("against", ()):
            if not recognised(source)[0].any_weights:
                raise InputError(
                    f"--against {source}: stands for one layer or model, received {len(each)} "
                    "targets; check them one by one"
                )


def refuse_recording(given: Given) -> None:
    """Raise `InputError` for names under which nothing can be recorded."""
    if not given["output"].endswith(".npz"):
        raise InputError(f"-o {given['output']!r}: expected a name that ends in .npz; name a case")
    if not given.get("inputs_as", ".npy").endswith((".npy", ".csv")):
        named = given["inputs_as"]
        raise InputError(f"--inputs-as {named!r}: expected a name that ends in .npy or .csv")


def refuse_training(given: Given) -> None:
    """Raise `InputError` where `--training` would change nothing, or nobody could follow it."""
    arguments = dict(given.get("arguments", ()))
    if given["target"] is None and not any(arguments.get(rate) for rate in RATES):
        refuse(given, ("training",), "there is no dropout; add --arg dropout=RATE, or leave it out")
    if given.get("mode") == "predict":
        refuse(given, ("training",), "predict never trains; choose another --mode, or leave it out")
    if "against" in given:
        refuse(
            given,
            ("training",),
            "no other implementation gets the dropout masks that Keras draws; leave out one of "
            "--training and --against",
        )


def refuse(given: Given, names: Iterable[str], why: str) -> None:
    """Raise `InputError` when one of the options `names` was given."""
    for name in names:
        if given.get(name, False) is not False:
            raise InputError(f"{FLAGS.get(name, '--' + name.replace('_', '-'))}: {why}")


CHECKED = "a model (.keras, .h5, .hdf5, .onnx, .safetensors, model.json) or a case (.npz)"
RECORDED_MODELS = "a model of Keras (.keras, .h5, .hdf5)"
OF_KERAS = (".keras", ".h5", ".hdf5")


def refuse_target(target: str, command: str) -> None:
    """Raise `InputError` for what `command` does not take as a model of Keras's.

    What is wrong with one is said on loading, and that there is none.
    """
    expected = f"{target!r}: expected {CHECKED if command == 'check' else RECORDED_MODELS}"
    name = target.lower()
    if name.endswith(".tflite"):
        raise InputError(
            f"{expected}, received a LiteRT model, which a model is held against: rnn-parity check "
            f"MODEL --against {target}"
        )
    if name.endswith(".npz"):
        raise InputError(f"{expected}, received a case (.npz)")
    if not os.path.lexists(target):
        raise no_such_file(target, target)
    if is_folder(target):
        raise InputError(f"{expected}, received a folder; name one model file in it")
    if os.path.isfile(target) and not name.endswith(OF_KERAS):
        ending = os.path.splitext(name)[1]
        received = f"the ending {ending!r}" if ending else "a file without an ending"
        raise InputError(f"{expected}, received {received}")
