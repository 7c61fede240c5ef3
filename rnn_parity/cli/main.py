"""The command line: options in, one answer on stdout, an exit code out. Imports late."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rnn_parity.cli.options import (
    OF_INPUT,
    Given,
    is_case,
    is_onnx,
    is_state_dict,
    parser,
    refuse_combinations,
    refuse_target,
    unique,
)
from rnn_parity.errors import InputError, RnnParityError, SourceFailedError, shown_lines
from rnn_parity.system.choices import LAYER_CLASSES
from rnn_parity.system.limits import check_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnn_parity.report.report import Report
    from rnn_parity.sweep.journal import Journal

GATES_OF_TWO = 8
"""A wrapper or a stack holds two layers, of four gates at most, unless somebody asks for more."""
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
    except SourceFailedError as error:
        fail(str(error))
        return 1
    except RnnParityError as error:
        return fail(str(error))
    except MemoryError as error:
        return fail(f"not enough memory ({error}); make --batch, --timesteps or the files smaller")
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return fail(f"unexpected {type(error).__name__}: {error}; PYTHONDEVMODE=1 shows where")


def fail(message: str) -> int:
    """One line on stderr, and the exit code of bad usage."""
    print("rnn-parity: error:", shown_lines(" ".join(message.split())), file=sys.stderr)
    return 2


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

    deliver(Catalogue(FAULTS).render(given["format"]) + "\n")
    return 0


def explain(given: Given) -> int:
    """Answer with a page of the manual, or with the list of them."""
    from shutil import get_terminal_size

    from rnn_parity.report.manual import contents, explained

    width = get_terminal_size().columns
    topic = " ".join(given["topic"])
    deliver((explained(topic, width) if given["topic"] else contents(width)) + "\n")
    return 0


def check(given: Given) -> int:
    """Check, or record, and answer; the exit code of the report."""
    refuse_combinations(given)
    given = with_settings(given)
    check_output(given)
    with contextlib.redirect_stdout(sys.stderr):  # whatever a model prints is not the answer
        report = find(given)
    allowed = {name: given[name] for name in ("strict", "allow_known")}
    report = dataclasses.replace(report, **allowed)
    if "baseline" in given:
        from rnn_parity.api.recorded import against_baseline

        report = against_baseline(report, given["baseline"])
    colour, quiet = wants_colour(given["output"]), given["quiet"]
    text = report.render(given["format"], every=given["every"], colour=colour, quiet=quiet)
    answer(text, None if given["command"] == "record" else given["output"])
    return report.exit_code


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
    text = report.render(given["format"], colour=wants_colour(given["output"]))
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


def with_settings(given: Given) -> dict[str, Any]:
    """The options, with what `[tool.rnn_parity]` here sets and the command line leaves open."""
    from pathlib import Path

    from rnn_parity.system.settings import read_settings

    settings = read_settings(Path.cwd())
    # A case knows the mode that it was recorded in.
    open_ = {} if given["target"] is not None and is_case(given) else {"mode": settings.mode}
    allowed = {name: given[name] or getattr(settings, name) for name in ("strict", "allow_known")}
    return {**open_, **given, **allowed}


def find(given: Given) -> Report:
    """The report on whatever was named."""
    if "training" in given:
        from rnn_parity.keras_adapter import seed_masks

        seed_masks(given.get("seed", 0))
    if given["target"] is None:
        return generated_report(given)
    if is_onnx(given):
        from rnn_parity.api.functions import check_onnx

        options = named(given, "layer_name", "batch", "timesteps", "seed", "against")
        return check_onnx(given["target"], read_inputs(given, (1, 2, 3, 4)), **options)
    if is_state_dict(given):
        return state_dict_report(given)
    return case_report(given) if is_case(given) else model_report(given)


def state_dict_report(given: Given) -> Report:
    """Check PyTorch's weights."""
    from rnn_parity.api.functions import check_state_dict

    options = named(given, "layer_name", "batch", "timesteps", "seed", "against")
    inputs, arguments = read_inputs(given, (3,)), unique(given.get("arguments", ()))
    mask = read_mask(given, None)
    return check_state_dict(given["target"], inputs, mask, arguments, **options)


def case_report(given: Given) -> Report:
    """Check a case, or all cases in a folder."""
    from rnn_parity.api.recorded import check_case, check_folder

    job = check_folder if os.path.isdir(given["target"]) else check_case
    keras = "no_keras" not in given
    return job(given["target"], mode=given.get("mode"), keras=keras, **named(given, "against"))


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
    inputs = read_inputs(given, (3,))
    if inputs is not None:
        options.update(zip(OF_INPUT, inputs.shape, strict=True))
    spec = GeneratedLayer(**options)
    data = spec.calls * spec.batch * spec.timesteps * (spec.features + spec.units)
    kind = KERAS_CELLS.get(LAYER_CLASSES.get(spec.layer, ""))
    gates = GATES_OF_TWO if kind is None else len(kind.GATES)
    check_size(data + gates * spec.units * (spec.features + spec.units + 1))
    mask = read_mask(given, (spec.batch, spec.timesteps))
    settled = {"inputs": inputs, "mask": mask, **ways(given)}
    if given["command"] == "record":
        return record_generated(spec, given["output"], **settled)
    return check_generated(spec, **settled)


def model_report(given: Given) -> Report:
    """Check, or record, the recurrent layers of a saved model."""
    from rnn_parity.api.functions import check_model
    from rnn_parity.api.recorded import record_model

    target = given["target"]
    refuse_target(target)
    options = named(given, "batch", "timesteps", "seed")
    check_size(options.get("batch", 1) * options.get("timesteps", 1))
    inputs = read_inputs(given, (2, 3, 4, 5))
    mask = read_mask(given, None if inputs is None else inputs.shape[:2])
    options |= {"layer_name": given.get("layer_name"), "safe_mode": not given["unsafe"]}
    options |= {"inputs": inputs, "mask": mask, **ways(given)}
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


def read_inputs(given: Given, ndim: tuple[int, ...]) -> NDArray[Any] | None:
    """The array of `--input`, when it was given."""
    if "input" not in given:
        return None
    from rnn_parity.system.files import read_array

    return read_array(given["input"], "--input", ndim)


def read_mask(given: Given, shape: tuple[int, ...] | None) -> NDArray[Any] | None:
    """The mask of `--mask-file`, when it was given; None for a `shape` that is not known yet."""
    if "mask_file" not in given:
        return None
    from rnn_parity.system import files

    return files.read_mask(given["mask_file"], shape, "--mask-file")


def check_size(numbers: int) -> None:
    """Raise `InputError` when this many numbers, in the replay's float64, do not fit."""
    smaller = "make --batch, --timesteps, --features, --units or --calls smaller"
    check_numbers(numbers, "sizes", smaller)


# Where the answer goes.


def check_output(given: Given) -> None:
    """Raise `InputError` before the long work when the answer has nowhere to go."""
    output = given["output"]
    if output is None:
        if sys.stdout is None:
            raise InputError("cannot write the answer: stdout is closed; name a file with -o")
        return
    from rnn_parity.system.files import check_writable

    read = [given.get(name) for name in ("target", "input", "mask_file", "baseline", "resume")]
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
