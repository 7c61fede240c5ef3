"""The command line: options in, one answer on stdout, an exit code out. Imports late."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rnn_parity.cli.data import name_and_path
from rnn_parity.cli.options import (
    OF_INPUT,
    Given,
    parser,
    refuse_each,
    refuse_target,
    target_kind,
    unique,
    views,
)
from rnn_parity.cli.targets import CASE, is_folder
from rnn_parity.errors import InputError, RnnParityError, SourceFailedError, shown_lines
from rnn_parity.system.choices import LAYER_CLASSES
from rnn_parity.system.limits import check_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnn_parity.report.report import Report
    from rnn_parity.sweep.journal import Journal

GATES_OF_TWO = 8
"""A wrapper or a stack holds two layers, of four gates at most, unless somebody asks for more."""
NARROWEST, WIDEST = 40, 160
"""How wide an answer is made at least and at most: longer lines are lost by the eye. Chosen."""
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
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `arguments` default to the process's own."""
    try:
        return run(arguments)
    except SystemExit as stop:  # argparse has answered --help or --version
        deliver("")
        return int(stop.code or 0)
    except KeyboardInterrupt:
        logging.disable()  # TensorFlow would complain about what it was not allowed to finish
        return INTERRUPTED
    except Exception as error:
        if sys.flags.dev_mode and not isinstance(error, (RnnParityError, MemoryError)):
            raise
        message, code = said(error)
        fail(message)
        return code


def said(error: Exception) -> tuple[str, int]:
    """What is said of an error, and its exit code."""
    if isinstance(error, RnnParityError):
        return str(error), 1 if isinstance(error, SourceFailedError) else 2
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); make --batch, --timesteps or the files smaller", 2
    return f"unexpected {type(error).__name__}: {error}; PYTHONDEVMODE=1 shows where", 2


def fail(message: str) -> None:
    """One line on stderr."""
    print("rnn-parity: error:", shown_lines(" ".join(message.split())), file=sys.stderr)


def run(arguments: Sequence[str] | None) -> int:
    """Parse the command line and do what it asks for; the exit code."""
    given = vars(parser().parse_args(arguments))
    commands = {"check": check, "record": check, "sweep": sweep}
    commands |= {"faults": list_faults, "explain": explain}
    return commands[given["command"]](given)


# The commands.


def list_faults(given: Given) -> int:
    """Answer with the catalogue of faults."""
    from rnn_parity.diagnosis.faults import FAULTS
    from rnn_parity.report.manual import Catalogue

    deliver(Catalogue(FAULTS).render(given["format"], width=columns()) + "\n")
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
        from rnn_parity.api.recorded import read_report

        read_report(given["baseline"])  # refused before the long work
    with contextlib.redirect_stdout(sys.stderr):  # whatever a model prints is not the answer
        looked_at = not given["quiet"] or given["strict"]
        report = find(each, looked_at)
    allowed = {name: given[name] for name in ("strict", "allow_known")}
    report = dataclasses.replace(report, **allowed)
    if "baseline" in given:
        from rnn_parity.api.recorded import against_baseline

        report = against_baseline(report, given["baseline"])
    output = None if given["command"] == "record" else given["output"]
    text = report.render(given["format"], **looks(output), **shows(given))
    if output is not None or given["format"] == "json":
        tell_errors(report)
    answer(text, output)
    return report.exit_code


def tell_errors(report: Report) -> None:
    """Say on stderr what could not be checked, where the answer goes to no reader at once."""
    from rnn_parity.report.checks import error_line

    for error in report.errors:
        fail(error_line(error))


def sweep(given: Given) -> int:
    """Sweep and answer; the exit code of the report."""
    check_output(given)
    from rnn_parity.report.sweeps import SweepReport
    from rnn_parity.sweep import bug_report, engine
    from rnn_parity.sweep.interrupt import Insisting
    from rnn_parity.sweep.journal import journal
    from rnn_parity.sweep.pool import pool
    from rnn_parity.sweep.space import SPACES

    refuse_sweep(given)
    against, folder, seed = given["source"], given["repro"], given["seed"]
    if folder is not None:
        bug_report.make_folder(folder)
    layers = list(SPACES) if given["layer"] == "all" else [given["layer"]]
    strength = None if given["strength"] == "full" else given["strength"]
    who = (given["workers"], given["dask"])
    asked = (layers, strength, given["limit"], seed)
    with (
        contextlib.redirect_stdout(sys.stderr),
        journal(given["resume"]) as known,
        told(known),
        pool(*who) as workers,
        Insisting(),
    ):
        swept = engine.sweep(*asked, workers, known, against, folder)
    options = {"layers": layers, "against": against, **named(given, "strength", "limit", "seed")}
    report = SweepReport(swept, options, given["allow_known"])
    text = report.render(given["format"], **looks(given["output"]))
    answer(text, given["output"])
    return report.exit_code


def refuse_sweep(given: Given) -> None:
    """Raise `InputError` for options of a sweep that do not go together, or for its source."""
    from rnn_parity.sweep.worker import refuse_source

    against = given["source"]
    if given["workers"] is not None and given["dask"] is not None:
        raise InputError("--workers: the Dask cluster has its own; leave out one of the two")
    if against is not None:
        refuse_source(against)
        if given["repro"] is not None:
            raise InputError(
                "--repro: its scripts need TensorFlow and NumPy alone, and cannot run "
                f"{against}; leave it out: the report says how to check each finding again"
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
        print(f"rnn-parity: {done}, {kept if known.path else lost}", file=sys.stderr, flush=True)
        raise


# What a check is given.


def with_settings(given: Given, each: Sequence[Given]) -> tuple[Given, list[Given]]:
    """The options, and those of each target, with what `[tool.rnn_parity]` here sets.

    The command line comes before it.
    """
    from pathlib import Path

    from rnn_parity.system.settings import read_settings

    settings = read_settings(Path.cwd())
    allowed = {name: given[name] or getattr(settings, name) for name in ("strict", "allow_known")}
    # A case knows the mode that it was recorded in.
    open_ = [{} if target_kind(one) is CASE else {"mode": settings.mode} for one in each]
    settled: list[Given] = [{**more, **one} for more, one in zip(open_, each, strict=True)]
    return {**given, **allowed}, settled


def find(each: Sequence[Given], looked_at: bool = True) -> Report:
    """The report on all targets; one that cannot be checked does not hide the others.

    `looked_at` says whether blind spots are shown, or count.
    """
    if len(each) == 1:
        return report_on(each[0])
    from rnn_parity.report.report import joined
    from rnn_parity.verdict.results import TargetError

    refuse_for_cases(each)
    reports, errors = {}, []
    for one in each:
        try:
            reports[one["target"]] = released(report_on(one), looked_at)
        except Exception as error:
            if sys.flags.dev_mode and not isinstance(error, (RnnParityError, MemoryError)):
                raise
            errors.append(TargetError(one["target"], *said(error)))
    return joined(reports, errors)


def released(report: Report, looked_at: bool) -> Report:
    """The report without the copies of data from which its blind spots would be worked out late.

    Those of many targets would fill the memory: they are worked out at once, or never.
    """
    from rnn_parity.report.checks import blind_spots

    if looked_at:
        for check in report.checks:
            blind_spots(check)
        return report
    checks = (dataclasses.replace(check, sensitivity=None) for check in report.checks)
    return dataclasses.replace(report, checks=tuple(checks))


def report_on(given: Given) -> Report:
    """The report on one target, from the function for its kind."""
    return REPORTS[target_kind(given).report](given)


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
        return record_generated(spec, given["output"], **settled)
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
        return record_model(target, given["output"], **options)
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
    """Raise `InputError` before the long work when the answer has nowhere to go."""
    output = given["output"]
    if output is None:
        if sys.stdout is None:
            raise InputError("cannot write the answer: stdout is closed; name a file with -o")
        return
    from rnn_parity.system.files import check_writable

    read = [*targets, *(given.get(name) for name in ("baseline", "resume"))]
    for word in (*given.get("input", ()), *given.get("mask_file", ())):
        read.append(name_and_path(word)[1])
    for source in given.get("against", ()):
        read += [source, source.partition("?")[0].partition("#")[0]]
    for option, name in {"-o": output, "--inputs-as": given.get("inputs_as", output)}.items():
        check_writable(name)
        for path in filter(None, read):
            if os.path.exists(path) and os.path.realpath(path) == os.path.realpath(name):
                raise InputError(f"{option} {name!r}: would overwrite what is read; name another")


def answer(text: str, output: str | None) -> None:
    """Write the answer and a newline to the file `output`, or to stdout for None."""
    if output is None:
        return deliver(text + "\n")
    from rnn_parity.system.files import write_text

    write_text(output, text + "\n")


def shows(given: Given) -> dict[str, bool]:
    """How much of the checks is shown."""
    return {name: given[name] for name in ("every", "quiet", "verbose")}


def looks(output: str | None) -> dict[str, Any]:
    """The colour and the width of an answer; a file has no colour and the usual width."""
    return {} if output is not None else {"colour": wants_colour(output), "width": columns()}


def columns() -> int:
    """How many columns the terminal has that the answer goes to, or those of a usual one.

    As everywhere, the variable COLUMNS comes before what the terminal says.
    """
    from shutil import get_terminal_size

    return min(max(get_terminal_size().columns, NARROWEST), WIDEST)


def wants_colour(output: str | None) -> bool:
    """Whether the answer goes to a terminal whose user has not refused colour."""
    return output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


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
