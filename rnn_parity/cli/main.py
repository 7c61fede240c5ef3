"""The command line: options in, one answer on stdout, an exit code out. Imports late."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from rnn_parity.cli.data import name_and_path
from rnn_parity.cli.options import (
    ANNOTATIONS,
    OF_INPUT,
    ONLY_FLAGS,
    Given,
    answer_files,
    parser,
    refuse_each,
    refuse_target,
    refuse_two_pools,
    target_kind,
    unique,
    views,
)
from rnn_parity.cli.targets import CASE, STATE_DICT, TFJS, is_folder, refuse_missing
from rnn_parity.errors import InputError, RnnParityError, SourceFailedError, Terminated, shown_lines
from rnn_parity.system.choices import LAYER_CLASSES
from rnn_parity.system.limits import check_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnn_parity.report.page import Renderable
    from rnn_parity.report.report import Report
    from rnn_parity.report.sweeps import SweepReport
    from rnn_parity.sweep.journal import Journal
    from rnn_parity.sweep.space import Choice
    from rnn_parity.verdict.results import TargetError

GATES_OF_TWO = 8
"""A wrapper or a stack holds two layers, of four gates at most, unless somebody asks for more."""
NARROWEST, WIDEST = 40, 160
"""How wide an answer is made at least and at most: longer lines are lost by the eye. Chosen."""
JOINER = "\0"
"""Stands for a space at which no line may end; messages have no control characters."""
INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended: 128, and the number of the signal."""


# Exit codes, and errors in one line.


def program() -> NoReturn:
    """The command line as a process of its own, which ends when it is interrupted."""
    code = main()
    if code == INTERRUPTED:
        # TensorFlow would take seconds to let go of what nobody needs any more.
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    # Else the interpreter would look for cycles among all that TensorFlow has made, to let it go.
    gc.freeze()
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `arguments` default to the process's own."""
    try:
        return run(arguments)
    except KeyboardInterrupt:
        logging.disable()  # TensorFlow would complain about what it was not allowed to finish
        return INTERRUPTED
    except Terminated as stop:
        return int(stop.code or 0)
    except (Exception, SystemExit) as error:
        if sys.flags.dev_mode and not isinstance(error, (RnnParityError, MemoryError)):
            raise
        message, code = said(error)
        fail(message)
        return code


def said(error: Exception | SystemExit) -> tuple[str, int]:
    """What is said of an error, and its exit code."""
    if isinstance(error, SystemExit):  # code of others: there is no answer, whatever it meant by it
        ended = f"what was checked ended the program, with {error.code!r}"
        return f"{ended}; it has to return what it computed", 1
    if isinstance(error, RnnParityError):
        return str(error), 1 if isinstance(error, SourceFailedError) else 2
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); make --batch, --timesteps or the files smaller", 2
    return f"unexpected {type(error).__name__}: {error}; PYTHONDEVMODE=1 shows where", 2


def fail(message: str) -> None:
    """Say on stderr why there is no answer."""
    tell("rnn-parity: error:", " ".join(message.split()))


def tell(*words: str) -> None:
    """One line on stderr; on a terminal in as many as it takes, without a break in a name."""
    text = shown_lines(" ".join(words))
    if sys.stderr is not None and sys.stderr.isatty():
        text = in_lines(text, error_columns())
    print(text, file=sys.stderr)


def in_lines(text: str, width: int) -> str:
    """`text` in lines of `width` columns that end between words, not in what is quoted."""
    import re
    import textwrap

    # What is quoted, a path with spaces in it too, is one word.
    joined = re.sub(r"(?<!\w)'[^']*'(?!\w)", lambda quoted: quoted[0].replace(" ", JOINER), text)
    lines = textwrap.fill(
        joined, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return lines.replace(JOINER, " ")


def error_columns() -> int:
    """How many columns the terminal has that stderr is; COLUMNS comes first, as everywhere."""
    from shutil import get_terminal_size

    with contextlib.suppress(OSError, ValueError):
        if not os.environ.get("COLUMNS"):
            return max(os.get_terminal_size(sys.stderr.fileno()).columns, NARROWEST)
    return max(get_terminal_size().columns, NARROWEST)


def run(arguments: Sequence[str] | None) -> int:
    """Parse the command line and do what it asks for; the exit code."""
    try:
        given = vars(parser().parse_args(arguments))
    except SystemExit as stop:  # argparse has answered --help or --version
        deliver("")
        return int(stop.code or 0)
    commands = {"check": check, "record": check, "sweep": sweep}
    commands |= {"faults": list_faults, "explain": explain}
    return commands[given["command"]](given)


# The commands.


def list_faults(given: Given) -> int:
    """Answer with the catalogue of faults."""
    from rnn_parity.diagnosis.catalogue import CATALOGUE
    from rnn_parity.report.manual import Catalogue

    deliver(Catalogue(CATALOGUE).render(given["format"], width=columns()) + "\n")
    return 0


def explain(given: Given) -> int:
    """Answer with a page of the manual, or with the list of them."""
    from rnn_parity.report.manual import contents, explained

    width = columns()
    topic = " ".join(given["topic"])
    deliver((explained(topic, width) if given["topic"] else contents(width)) + "\n")
    return 0


def check(given: Given) -> int:
    """Check, or record, and answer; the exit code of the report."""
    each = views(given)
    refuse_each(each)
    check_output(given, [one["target"] for one in each])
    given, each = with_settings(given, each)
    if "baseline" in given:
        from rnn_parity.api.baseline import read_report

        read_report(given["baseline"])  # refused before the long work
    allowed = allowances(given)
    with contextlib.redirect_stdout(sys.stderr):  # whatever a model prints is not the answer
        files = given["command"] == "check" and bool(answer_files(given))
        looked_at = not given["quiet"] or given["strict"] or files
        report = find(each, looked_at, files or given["format"] == ANNOTATIONS)
    report = dataclasses.replace(report, **allowed)
    if "baseline" in given:
        from rnn_parity.api.baseline import against_baseline

        report = against_baseline(report, given["baseline"])
    tell_failure(report, given["format"])
    if given["command"] == "record" and given["quiet"] and report.exit_code:
        for note in report.notes:  # a person has to know what there is no case of
            tell("rnn-parity:", note)
    answer(report, given, **shows(given))
    if "plot" in given:
        draw(report, given["plot"])
    return report.exit_code


def sweep(given: Given) -> int:
    """Sweep and answer; the exit code of the report."""
    check_output(given)
    from rnn_parity.report.sweeps import SweepReport
    from rnn_parity.sweep import bug_report, engine
    from rnn_parity.sweep.interrupt import Insisting
    from rnn_parity.sweep.journal import journal
    from rnn_parity.sweep.pool import pool
    from rnn_parity.sweep.space import SPACES, asked_spaces, excluded, restricted

    refuse_sweep(given)
    against, folder, seed = given["source"], given["repro"], given["seed"]
    layers = list(SPACES) if given["layer"] == "all" else [given["layer"]]
    only, without = choices(given)
    spaces, named_options = asked_spaces(layers, only, without), [one.name for one in only]
    if folder is not None:
        bug_report.make_folder(folder)
    strength = None if given["strength"] == "full" else given["strength"]
    who = (given["workers"], given["dask"])
    asked = (spaces, strength, given["limit"], seed)
    with (
        contextlib.redirect_stdout(sys.stderr),
        journal(given["resume"]) as known,
        told(known),
        pool(*who) as workers,
        Insisting(),
    ):
        swept = engine.sweep(*asked, workers, known, against, folder, named_options)
    options = {"layers": layers, "against": against, **named(given, "strength", "limit", "seed")}
    options |= {"restricted": restricted(spaces), "excluded": excluded(spaces)}
    report = SweepReport(swept, options, given["allow_known"])
    tell_failure(report, given["format"])
    answer(report, given)
    return report.exit_code


def choices(given: Given) -> tuple[list[Choice], list[Choice]]:
    """What a sweep is asked for alone, and what it is asked to leave out."""
    from rnn_parity.sweep.space import Choice

    names = {flag: flag[2:].replace("-", "_") for flag in ONLY_FLAGS}
    by_flag = ((flag, name, given[name]) for flag, name in names.items() if given[name])
    only = [Choice(*one) for one in by_flag]
    only += [Choice("--arg", *pair) for pair in given["only"]]
    return only, [Choice("--exclude", *pair) for pair in given["exclude"]]


def refuse_sweep(given: Given) -> None:
    """Raise `InputError` for options of a sweep that do not go together, or for its source."""
    from rnn_parity.implementations.sources import recognised
    from rnn_parity.sweep.space import OF_KERAS
    from rnn_parity.sweep.worker import refuse_source

    against = given["source"]
    refuse_two_pools(given)
    if against is not None:
        refuse_source(against)
        for choice in choices(given)[0]:
            if choice.name in OF_KERAS:
                raise InputError(
                    f"{choice}: Keras's own outputs are not checked with --against {against}, so "
                    "that it does not matter how Keras runs a layer; leave it out"
                )
        if given["repro"] is not None and recognised(against)[0].module != ".python_function":
            raise InputError(
                f"--repro: its scripts call Keras or a module:function, and cannot run {against}; "
                "leave it out: the report says how to check each finding again"
            )


@contextlib.contextmanager
def told(known: Journal) -> Iterator[None]:
    """Whoever interrupts a sweep in this block is told how to go on with it."""
    try:
        yield
    except KeyboardInterrupt:
        done = f"interrupted after {len(known.known)} checks"
        kept = f"which are kept: --resume {known.path} goes on from there"
        lost = "which are lost: with --resume FILE they would be kept, to go on from there"
        tell(f"rnn-parity: {done}, {kept if known.path else lost}")
        sys.stderr.flush()
        raise


# What a check is given.


def with_settings(given: Given, each: Sequence[Given]) -> tuple[Given, list[Given]]:
    """The options, and those of each target, with what `[tool.rnn_parity]` here or above sets.

    The command line comes before it.
    """
    from pathlib import Path

    from rnn_parity.system.settings import TABLE, read_settings

    here = Path.cwd()
    settings = read_settings(here)
    names = ("strict", "allow_known")
    allowed: dict[str, Any] = {name: given[name] or getattr(settings, name) for name in names}
    said = settings.named(here)
    allowed["set_by"] = {name: said[name] for name in names if name in said and not given[name]}
    in_file = f"{settings.shown_file(here)} {TABLE} ignore"
    allowed["ignore"] = {"--ignore": given["ignore"], in_file: settings.ignore}
    # A case knows the mode that it was recorded in.
    open_ = [{} if target_kind(one) is CASE else {"mode": settings.mode} for one in each]
    each = [{**more, **one, **allowed} for more, one in zip(open_, each, strict=True)]
    return {**given, **allowed}, each


def allowances(given: Given) -> dict[str, Any]:
    """What changes the exit code of a report and no verdict, as its fields.

    Raises `InputError` for what is to be ignored and is no fault, or would not count anyhow.
    """
    found = {name: given[name] for name in ("strict", "allow_known", "set_by")}
    if given["ignore"]["--ignore"] and not given["strict"]:
        raise InputError("--ignore: no blind spot counts without --strict; add it, or leave it out")
    if not any(given["ignore"].values()):
        return found
    from rnn_parity.diagnosis.faults import named_faults

    ids = [id for where, names in given["ignore"].items() for id in named_faults(names, where)]
    return {**found, "ignore": tuple(ids)}


def find(each: Sequence[Given], looked_at: bool, kept: bool) -> Report:
    """The report on all targets; one that cannot be checked does not hide the others.

    `looked_at` says whether blind spots are shown, or count. Where reports are `kept`, there is one
    of a single target that cannot be checked, too.
    """
    if len(each) == 1 and (not kept or each[0]["target"] is None):
        return report_on(each[0])
    from rnn_parity.report.report import Report, joined

    if len(each) == 1:
        answer = report_or_error(each[0], looked_at)
        return answer if isinstance(answer, Report) else joined({}, [answer])
    refuse_for_cases(each)
    job = partial(report_or_error, looked_at=looked_at)
    who = (each[0].get("workers"), each[0].get("dask"))
    if who == (None, None):
        found = [job(one) for one in each]
    else:
        from rnn_parity.cli.spread import spread

        found = spread(job, each, *who)
    pairs = [(one["target"], answer) for one, answer in zip(each, found, strict=True)]
    reports = {target: answer for target, answer in pairs if isinstance(answer, Report)}
    return joined(reports, [answer for answer in found if not isinstance(answer, Report)])


def report_or_error(given: Given, looked_at: bool) -> Report | TargetError:
    """The report on one of several targets, or why there is none; `looked_at` is as in `find`."""
    from rnn_parity.verdict.results import TargetError

    try:
        return released(report_on(given), looked_at)
    except Terminated:
        raise
    except (Exception, SystemExit) as error:
        if sys.flags.dev_mode and not isinstance(error, (RnnParityError, MemoryError)):
            raise
        return TargetError(given["target"], *said(error))


def released(report: Report, looked_at: bool) -> Report:
    """The report without the copies of data from which its blind spots would be worked out late.

    Those of many targets would fill the memory: they are worked out at once, or never.
    """
    from rnn_parity.report.checks import blind_spots, blindness

    if looked_at:
        for check in report.checks:
            blind_spots(check)
        return report
    checks = (
        check if blindness(check) else dataclasses.replace(check, sensitivity=None)
        for check in report.checks
    )
    return dataclasses.replace(report, checks=tuple(checks))


def report_on(given: Given) -> Report:
    """The report on one target, from the function for its kind."""
    kind, target = target_kind(given), given["target"]
    if target is not None and kind not in (STATE_DICT, TFJS):
        refuse_missing(target, kind)
    return REPORTS[kind.report](given)


def refuse_for_cases(each: Sequence[Given]) -> None:
    """Raise `InputError` for an implementation that cannot answer for all of several cases."""
    cases = [one["target"] for one in each if target_kind(one) is CASE]
    if "against" in each[0] and cases:
        from rnn_parity.api.recorded import refuse_cases

        refuse_cases(cases, each[0]["against"])


def nothing_report(given: Given) -> Report:
    """The report on a folder in which there is nothing to check."""
    from rnn_parity.report.report import Report

    target = given["target"]
    if not is_folder(target):
        raise InputError(f"{target!r}: matches no file; name one, or another pattern")
    return Report((), notes=(f"{target} has no model and no case (.npz)",))


def state_dict_report(given: Given) -> Report:
    """Check PyTorch's weights."""
    from rnn_parity.api.functions import check_state_dict

    options = named(given, "layer_name", "batch", "timesteps", "seed", "against")
    inputs, arguments = read_inputs(given), unique(given.get("arguments", ()))
    return check_state_dict(given["target"], inputs, read_masks(given), arguments, **options)


def case_report(given: Given) -> Report:
    """Check a case."""
    from rnn_parity.api.recorded import check_case

    keras = "no_keras" not in given
    return check_case(
        given["target"], mode=given.get("mode"), keras=keras, **named(given, "against")
    )


def onnx_report(given: Given) -> Report:
    """Check the recurrent operators of an ONNX model."""
    from rnn_parity.api.functions import check_onnx

    options = named(given, "layer_name", "batch", "timesteps", "seed", "against")
    return check_onnx(given["target"], read_inputs(given), **options)


def tfjs_report(given: Given) -> Report:
    """Check the recurrent layers of a TensorFlow.js model."""
    from rnn_parity.api.functions import check_tfjs

    options = named(given, "layer_name", "batch", "timesteps", "seed")
    return check_tfjs(given["target"], read_inputs(given), **options)


def generated_report(given: Given) -> Report:
    """Check, or record, a generated layer."""
    from rnn_parity.api.functions import check_generated
    from rnn_parity.api.generated import GeneratedLayer
    from rnn_parity.api.recorded import record_generated
    from rnn_parity.recurrence.cells import KERAS_CELLS

    fields = [field.name for field in dataclasses.fields(GeneratedLayer)]
    options = named(given, *fields)
    if "arguments" in options:
        options["arguments"] = unique(options["arguments"])
    inputs = only_array(read_inputs(given), "--input")
    if inputs is not None:
        if inputs.ndim != 3:
            raise InputError(
                f"--input: expected 3 axes (batch, timesteps, features), received shape "
                f"{inputs.shape}"
            )
        options.update(zip(OF_INPUT, inputs.shape, strict=True))
    spec = GeneratedLayer(**options)
    data = spec.calls * spec.batch * spec.timesteps * (spec.features + spec.units)
    kind = KERAS_CELLS.get(LAYER_CLASSES.get(spec.layer, ""))
    gates = GATES_OF_TWO if kind is None else len(kind.GATES)
    check_size(data + gates * spec.units * (spec.features + spec.units + 1))
    mask = only_array(read_masks(given, (spec.batch, spec.timesteps)), "--mask-file")
    settled = {"inputs": inputs, "mask": mask, **ways(given)}
    if given["command"] == "record":
        kept = named(given, "diverged", "allow_known")
        return record_generated(spec, given["output"], **settled, **kept)
    return check_generated(spec, **settled)


def model_report(given: Given) -> Report:
    """Check, or record, the recurrent layers of a saved model."""
    from rnn_parity.api.functions import check_model
    from rnn_parity.api.recorded import record_model

    target = given["target"]
    refuse_target(target, given["command"])
    options = named(given, "batch", "timesteps", "seed", "calls")
    sizes = [options.get(name, 1) for name in ("batch", "timesteps", "calls")]
    check_size(math.prod(sizes))
    options |= {"layer_name": given.get("layer_name"), "safe_mode": not given["unsafe"]}
    options |= {"inputs": read_inputs(given), "mask": read_masks(given), **ways(given)}
    options |= named(given, "custom")
    if "arguments" in given:
        options["arguments"] = unique(given["arguments"])
    if given["command"] == "record":
        kept = named(given, "diverged", "allow_known")
        return record_model(target, given["output"], **options, **kept)
    return check_model(target, **options)


def ways(given: Given) -> dict[str, Any]:
    """How the layer is run, and what is checked or written beside; only what was given."""
    beside = "inputs_as" if given["command"] == "record" else "against"
    return {"mode": given.get("mode", "graph"), **named(given, "training", beside)}


def named(given: Given, *names: str) -> dict[str, Any]:
    """Those of the options `names` that were given."""
    return {name: given[name] for name in names if name in given}


def read_inputs(given: Given) -> Any:
    """The array of `--input`, or arrays by name; None where it was not given."""
    if "input" not in given:
        return None
    from rnn_parity.cli import data

    return data.read_inputs(given["input"])


def read_masks(given: Given, shape: tuple[int, ...] | None = None) -> Any:
    """The mask of `--mask-file`, or masks by name; None where it was not given.

    None for a `shape` that is not known yet.
    """
    if "mask_file" not in given:
        return None
    from rnn_parity.cli import data

    return data.read_masks(given["mask_file"], shape)


def only_array(found: Any, option: str) -> NDArray[Any] | None:
    """The array for a generated layer, which has one input and no name for it."""
    if isinstance(found, dict):
        names = ", ".join(found)
        raise InputError(f"{option}: a generated layer takes one array, received names: {names}")
    only: NDArray[Any] | None = found
    return only


def check_size(numbers: int) -> None:
    """Raise `InputError` when this many numbers, in the replay's float64, do not fit."""
    smaller = "make --batch, --timesteps, --features, --units or --calls smaller"
    check_numbers(numbers, "sizes", smaller)


REPORTS: dict[str, Callable[[Given], Report]] = {
    "generated": generated_report,
    "model": model_report,
    "onnx": onnx_report,
    "tfjs": tfjs_report,
    "state_dict": state_dict_report,
    "case": case_report,
    "nothing": nothing_report,
}
"""Who checks a target, by its kind in `cli.targets`."""


# Where the answer goes.


def check_output(given: Given, targets: Sequence[str | None] = ()) -> None:
    """Raise before the long work when the answer has nowhere to go, or cannot be written so.

    `InputError`, or `MissingPackageError` for what a form of output needs.
    """
    from rnn_parity.report import check_installed

    files = answer_files(given)
    for form in (given["format"], *files.values()):
        check_installed(form)
    if given["format"] == ANNOTATIONS:
        from rnn_parity.report.github import check_summary

        check_summary()
    written: list[tuple[str, str | None]] = [("-o", path) for path in files]
    if given["command"] == "record":
        written = [("-o", given["output"]), ("--inputs-as", given.get("inputs_as"))]
    elif sys.stdout is None and not files:
        raise InputError("cannot write the answer: stdout is closed; name a file with -o")
    if "plot" in given:
        from rnn_parity.report.pictures import require

        require(given["plot"])
        written.append(("--plot", given["plot"]))
    read = [*targets, *(given.get(name) for name in ("baseline", "resume"))]
    for word in (*given.get("input", ()), *given.get("mask_file", ())):
        read.append(name_and_path(word)[1])
    for source in given.get("against", ()):
        read += [source, source.partition("?")[0].partition("#")[0]]
    refuse_written(written, [path for path in read if path])


def refuse_written(written: Sequence[tuple[str, str | None]], read: Sequence[str]) -> None:
    """Raise `InputError` for a file that cannot be written, or that is one of those `read`.

    Each of those that are `written` stands beside its option.
    """
    from rnn_parity.system.files import check_writable

    for option, name in written:
        if name is None:
            continue
        check_writable(name)
        for path in read:
            if os.path.exists(path) and os.path.realpath(path) == os.path.realpath(name):
                raise InputError(f"{option} {name!r}: would overwrite what is read; name another")


def answer(
    report: Renderable,
    given: Given,
    every: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Give stdout the answer in the form of `--format`, and each file of `-o` in its own, whole.

    A file has no colour, the usual width, and more than the sentence. Whoever reads stdout gets the
    answer even where a file cannot be written any more.
    """
    from rnn_parity.system.files import write_text

    shown = {"every": every, "verbose": verbose}
    text = report.render(
        given["format"], colour=wants_colour(), width=columns(), quiet=quiet, **shown
    )
    files = {path: report.render(form, **shown) for path, form in answer_files(given).items()}
    try:
        deliver(text + "\n")
    finally:
        for path, whole in files.items():
            write_text(path, whole + "\n")
    if given["format"] == ANNOTATIONS:
        from rnn_parity.report.github import summarise

        summarise(report)


def draw(report: Report, path: str) -> None:
    """Draw the check of a report, or the worst of several, as the file `path`."""
    from rnn_parity.report.checks import label_in_file
    from rnn_parity.report.pictures import image, worst
    from rnn_parity.system.files import write_bytes

    if not report.checks:
        return fail(f"--plot {path!r}: there is no check to draw")
    check = worst(report.checks)
    write_bytes(path, image(check, path))
    if len(report.checks) > 1:
        which = f"the worst of {len(report.checks)} checks: {label_in_file(check.subject)}"
        tell(f"rnn-parity: {path} shows {which}")


def shows(given: Given) -> dict[str, bool]:
    """How much of the checks is shown."""
    return {name: given[name] for name in ("every", "quiet", "verbose")}


def columns() -> int:
    """How many columns the terminal has that the answer goes to, or those of a usual one.

    As everywhere, the variable COLUMNS comes before what the terminal says.
    """
    from shutil import get_terminal_size

    return min(max(get_terminal_size().columns, NARROWEST), WIDEST)


def wants_colour() -> bool:
    """Whether the answer goes to a terminal whose user has not refused colour."""
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def tell_failure(report: Report | SweepReport, form: str) -> None:
    """Say on stderr what failed, where stdout has it in a form that no person reads."""
    from rnn_parity.report import FORMATS

    if report.exit_code and not FORMATS[form].legible:
        for line in report.render(quiet=True).split("\n\n"):
            tell("rnn-parity:", line)


def deliver(text: str) -> None:
    """Write the answer to stdout; quiet when its reader has gone, `InputError` when it is full."""
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is still buffered must not raise again when Python shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise InputError(f"cannot write the answer: {error.strerror}") from None
