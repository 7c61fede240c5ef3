"""The command line: options in, one answer on stdout, an exit code out. Imports late."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rnn_parity.cli.combinations import (
    OF_INPUT,
    is_case,
    is_onnx,
    refuse_combinations,
    refuse_target,
)
from rnn_parity.cli.delivery import answer, deliver, wants_colour
from rnn_parity.cli.options import parser
from rnn_parity.errors import InputError, RnnParityError, SourceFailedError, shown_lines
from rnn_parity.system.limits import check_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnn_parity.report.report import Report

GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}
GATES_OF_TWO = 8
"""A wrapper or a stack holds two layers, of four gates at most, unless somebody asks for more."""


INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended: 128, and the number of the signal."""


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
    jobs = {"check": check, "record": check, "sweep": sweep, "faults": list_faults}
    jobs["explain"] = explain
    return jobs[given["command"]](given)


def list_faults(given: Mapping[str, Any]) -> int:
    """Answer with the catalogue of faults."""
    from rnn_parity.diagnosis.faults import FAULTS
    from rnn_parity.report.catalogue import Catalogue

    deliver(Catalogue(FAULTS).render(given["format"]) + "\n")
    return 0


def explain(given: Mapping[str, Any]) -> int:
    """Answer with a page of the manual, or with the list of them."""
    from shutil import get_terminal_size

    from rnn_parity.report.manual import contents, explained

    width = get_terminal_size().columns
    topic = given["topic"]
    deliver((contents(width) if topic is None else explained(topic, width)) + "\n")
    return 0


def check(given: Mapping[str, Any]) -> int:
    """Check and answer; the exit code of the report."""
    refuse_combinations(given)
    given = with_settings(given)
    check_output(given)
    with contextlib.redirect_stdout(sys.stderr):  # whatever a model prints is not the answer
        report = find(given)
    report = dataclasses.replace(report, strict=given["strict"])
    if "baseline" in given:
        from rnn_parity.api.baseline import compared

        report = compared(report, given["baseline"])
    colour, quiet = wants_colour(given["output"]), given["quiet"]
    text = report.render(given["format"], every=given["every"], colour=colour, quiet=quiet)
    answer(text, None if given["command"] == "record" else given["output"])
    return report.exit_code


def sweep(given: Mapping[str, Any]) -> int:
    """Sweep and answer; the exit code of the report."""
    check_output(given)
    from rnn_parity.cli.sweep import report_on

    with contextlib.redirect_stdout(sys.stderr):
        report = report_on(given)
    text = report.render(given["format"], colour=wants_colour(given["output"]))
    answer(text, given["output"])
    return report.exit_code


def with_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with what `[tool.rnn_parity]` here sets and the command line leaves open."""
    from pathlib import Path

    from rnn_parity.system.settings import read_settings

    settings = read_settings(Path.cwd())
    # A case knows the mode that it was recorded in.
    open_ = {} if given["target"] is not None and is_case(given) else {"mode": settings.mode}
    return {**open_, **given, "strict": given["strict"] or settings.strict}


def find(given: Mapping[str, Any]) -> Report:
    """The report on whatever was named."""
    if "training" in given:
        from rnn_parity.keras_adapter import seed_masks

        seed_masks(given.get("seed", 0))
    if given["target"] is None:
        return generated_report(given)
    if is_onnx(given):
        from rnn_parity.api.onnx_check import check_onnx

        options = named(given, "layer_name", "batch", "timesteps", "seed")
        return check_onnx(given["target"], read_inputs(given, (1, 2, 3, 4)), **options)
    return case_report(given) if is_case(given) else model_report(given)


def case_report(given: Mapping[str, Any]) -> Report:
    """Check a case, or all cases in a folder."""
    from rnn_parity.api.rechecking import check_case, check_folder

    job = check_folder if os.path.isdir(given["target"]) else check_case
    keras = "no_keras" not in given
    return job(given["target"], mode=given.get("mode"), keras=keras, **named(given, "against"))


def check_output(given: Mapping[str, Any]) -> None:
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


def generated_report(given: Mapping[str, Any]) -> Report:
    """Check a generated layer."""
    from rnn_parity.api.generated import GeneratedLayer

    fields = [field.name for field in dataclasses.fields(GeneratedLayer)]
    options = named(given, *fields)
    if "arguments" in options:
        options["arguments"] = unique(options["arguments"])
    inputs = read_inputs(given, (3,))
    if inputs is not None:
        options.update(zip(OF_INPUT, inputs.shape, strict=True))
    spec = GeneratedLayer(**options)
    data = spec.calls * spec.batch * spec.timesteps * (spec.features + spec.units)
    gates = GATES.get(spec.layer, GATES_OF_TWO)
    check_size(data + gates * spec.units * (spec.features + spec.units + 1))
    mask = read_mask(given, (spec.batch, spec.timesteps))

    settled: dict[str, Any] = {"inputs": inputs, "mask": mask, "mode": given.get("mode", "graph")}
    settled |= named(given, "training")
    if given["command"] == "record":
        from rnn_parity.api.rechecking import record_generated

        return record_generated(spec, given["output"], **settled, **named(given, "inputs_as"))
    from rnn_parity.api.functions import check_generated

    return check_generated(spec, **settled, **named(given, "against"))


def named(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of the options `names` that were given."""
    return {name: given[name] for name in names if name in given}


def unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """The pairs of `--arg` by name; raises `InputError` for a name that was given twice."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--arg {name}: expected once, received {names.count(name)} times")
    return dict(pairs)


def model_report(given: Mapping[str, Any]) -> Report:
    """Check the recurrent layers of a saved model."""
    target = given["target"]
    refuse_target(target)
    options = named(given, "batch", "timesteps", "seed")
    check_size(options.get("batch", 1) * options.get("timesteps", 1))
    inputs = read_inputs(given, (2, 3, 4, 5))
    mask = read_mask(given, None if inputs is None else inputs.shape[:2])
    options |= {"layer_name": given.get("layer_name"), "safe_mode": not given["unsafe"]}

    options |= {"inputs": inputs, "mask": mask, "mode": given.get("mode", "graph")}
    options |= named(given, "training")
    if given["command"] == "record":
        from rnn_parity.api.rechecking import record_model

        return record_model(target, given["output"], **options, **named(given, "inputs_as"))
    from rnn_parity.api.functions import check_model

    return check_model(target, **options, **named(given, "against"))


def read_inputs(given: Mapping[str, Any], ndim: tuple[int, ...]) -> NDArray[Any] | None:
    """The array of `--input`, when it was given."""
    if "input" not in given:
        return None
    from rnn_parity.system.files import read_array

    return read_array(given["input"], "--input", ndim)


def read_mask(given: Mapping[str, Any], shape: tuple[int, ...] | None) -> NDArray[Any] | None:
    """The mask of `--mask-file`, when it was given; None for a `shape` that is not known yet."""
    if "mask_file" not in given:
        return None
    from rnn_parity.system.files import read_mask

    return read_mask(given["mask_file"], shape, "--mask-file")


def check_size(numbers: int) -> None:
    """Raise `InputError` when so many numbers, in the replay's float64, do not fit."""
    smaller = "make --batch, --timesteps, --features, --units or --calls smaller"
    check_numbers(numbers, "sizes", smaller)
