"""The command line: options in, one answer on stdout, an exit code out. Imports late."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnn_parity.combinations import OF_INPUT, is_case, refuse_combinations, refuse_target
from rnn_parity.errors import InputError, RnnParityError
from rnn_parity.options import parser

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnn_parity.report import Report

MOST_BYTES = 8 * 2**30
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `arguments` default to the process's own."""
    try:
        return run(arguments)
    except SystemExit as stop:  # argparse has answered --help or --version
        deliver("")
        return int(stop.code or 0)
    except KeyboardInterrupt:
        logging.disable()  # TensorFlow would complain about what it was not allowed to finish
        return 130
    except RnnParityError as error:
        return fail(str(error))
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return fail(f"unexpected {type(error).__name__}: {error}; PYTHONDEVMODE=1 shows where")


def fail(message: str) -> int:
    """One line on stderr, and the exit code of bad usage."""
    print("rnn-parity: error:", " ".join(message.split()), file=sys.stderr)
    return 2


def run(arguments: Sequence[str] | None) -> int:
    """Parse the command line and do what it asks for; the exit code."""
    given = vars(parser().parse_args(arguments))
    return {"check": check, "record": check, "faults": list_faults}[given["command"]](given)


def list_faults(given: Mapping[str, Any]) -> int:
    """Answer with the catalogue of faults."""
    from rnn_parity.faults import FAULTS
    from rnn_parity.report import catalogue

    deliver(catalogue(FAULTS, given["format"]) + "\n")
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
        from rnn_parity.baseline import compared

        report = compared(report, given["baseline"])
    text = report.render(
        given["format"], every=given["every"], colour=wants_colour(given), quiet=given["quiet"]
    )
    if given["output"] is None or given["command"] == "record":
        deliver(text + "\n")
    else:
        from rnn_parity.files import write_text

        write_text(given["output"], text + "\n")
    return report.exit_code


def with_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with what `[tool.rnn_parity]` here sets and the command line leaves open."""
    from pathlib import Path

    from rnn_parity.settings import read_settings

    settings = read_settings(Path.cwd())
    # A case knows the mode that it was recorded in.
    open_ = {} if given["target"] is not None and is_case(given) else {"mode": settings.mode}
    return {**open_, **given, "strict": given["strict"] or settings.strict}


def find(given: Mapping[str, Any]) -> Report:
    """The report on whatever was named."""
    if given["target"] is None:
        return generated_report(given)
    return case_report(given) if is_case(given) else model_report(given)


def case_report(given: Mapping[str, Any]) -> Report:
    """Check a case, or all cases in a folder."""
    from rnn_parity.recheck import check_case, check_folder

    job = check_folder if os.path.isdir(given["target"]) else check_case
    return job(given["target"], mode=given.get("mode"), keras="no_keras" not in given)


def check_output(given: Mapping[str, Any]) -> None:
    """Raise `InputError` before the long work when the answer has nowhere to go."""
    output = given["output"]
    if output is None:
        if sys.stdout is None:
            raise InputError("cannot write the answer: stdout is closed; name a file with -o")
        return
    from rnn_parity.files import check_writable

    check_writable(output)
    read = ("target", "input", "mask_file", "baseline")
    for path in filter(None, map(given.get, read)):
        if os.path.exists(path) and os.path.realpath(path) == os.path.realpath(output):
            raise InputError(f"-o {output!r}: would overwrite what is read; name another file")


def generated_report(given: Mapping[str, Any]) -> Report:
    """Check a generated layer."""
    from rnn_parity.generate import GeneratedLayer

    fields = [field.name for field in dataclasses.fields(GeneratedLayer)]
    options = {name: given[name] for name in fields if name in given}
    if "arguments" in options:
        options["arguments"] = unique(options["arguments"])
    inputs = read_inputs(given, (3,))
    if inputs is not None:
        options.update(zip(OF_INPUT, inputs.shape, strict=True))
    spec = GeneratedLayer(**options)
    data = spec.calls * spec.batch * spec.timesteps * (spec.features + spec.units)
    check_size(data + GATES[spec.layer] * spec.units * (spec.features + spec.units + 1))
    mask = read_mask(given, (spec.batch, spec.timesteps))

    settled: dict[str, Any] = {"inputs": inputs, "mask": mask, "mode": given.get("mode", "graph")}
    if given["command"] == "record":
        from rnn_parity.recheck import record_generated

        return record_generated(spec, given["output"], **settled)
    from rnn_parity.check import check_generated

    return check_generated(spec, **settled)


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
    options = {name: given[name] for name in ("batch", "timesteps", "seed") if name in given}
    check_size(options.get("batch", 1) * options.get("timesteps", 1))
    inputs = read_inputs(given, (2, 3, 4, 5))
    mask = read_mask(given, None if inputs is None else inputs.shape[:2])
    options |= {"layer_name": given.get("layer_name"), "safe_mode": not given["unsafe"]}

    options |= {"inputs": inputs, "mask": mask, "mode": given.get("mode", "graph")}
    if given["command"] == "record":
        from rnn_parity.recheck import record_model

        return record_model(target, given["output"], **options)
    from rnn_parity.check import check_model

    return check_model(target, **options)


def read_inputs(given: Mapping[str, Any], ndim: tuple[int, ...]) -> NDArray[Any] | None:
    """The array of `--input`, when it was given."""
    if "input" not in given:
        return None
    from rnn_parity.files import read_array

    return read_array(given["input"], "--input", ndim)


def read_mask(given: Mapping[str, Any], shape: tuple[int, ...] | None) -> NDArray[Any] | None:
    """The mask of `--mask-file`, when it was given; None for a `shape` that is not known yet."""
    if "mask_file" not in given:
        return None
    from rnn_parity.files import read_mask

    return read_mask(given["mask_file"], shape, "--mask-file")


def check_size(numbers: int) -> None:
    """Raise `InputError` when so many numbers, in the replay's float64, do not fit."""
    if numbers * 8 > MOST_BYTES:
        raise InputError(
            "sizes: expected inputs, outputs and weights of at most 8 GiB in float64, received "
            f"about {numbers * 8 / 2**30:.3g} GiB; make --batch, --timesteps, --features, --units "
            "or --calls smaller"
        )


def wants_colour(given: Mapping[str, Any]) -> bool:
    """Whether the answer goes to a terminal whose user has not refused colour."""
    return given["output"] is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


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
