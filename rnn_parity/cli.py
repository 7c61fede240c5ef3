"""The command line: options in, one answer on stdout, an exit code out. Imports late."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnn_parity.errors import InputError, RnnParityError
from rnn_parity.options import parser

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnn_parity.report import Report

MOST_BYTES = 8 * 2**30
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}

# Options that would change nothing are refused; those in none of these concern every target.
OF_GENERATED = (
    "layer",
    "units",
    "features",
    "arguments",
    "dtype",
    "mask",
    "initial_state",
    "calls",
)
OF_MODEL = ("layer_name", "unsafe")
OF_INPUT = ("batch", "timesteps", "features")
FLAGS = {"arguments": "--arg", "quiet": "-q"}


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
    """Parse, check, answer; the exit code of the report."""
    given = vars(parser().parse_args(arguments))
    refuse_combinations(given)
    check_output(given)
    with contextlib.redirect_stdout(sys.stderr):  # whatever a model prints is not the answer
        report = generated_report(given) if given["target"] is None else model_report(given)
    report = dataclasses.replace(report, strict=given["strict"])
    text = report.render(
        given["format"], every=given["every"], colour=wants_colour(given), quiet=given["quiet"]
    )
    if given["output"] is None:
        deliver(text + "\n")
    else:
        from rnn_parity.files import write_text

        write_text(given["output"], text + "\n")
    return report.exit_code


def refuse_combinations(given: Mapping[str, Any]) -> None:
    """Raise `InputError` for an option that would be ignored."""
    generated = given["target"] is None
    if generated:
        refuse(given, OF_MODEL, "only for a model; add the TARGET or leave this out")
    else:
        refuse(given, OF_GENERATED, "only for a generated layer; leave out this or the TARGET")
    if "input" in given:
        settled = OF_INPUT if generated else (*OF_INPUT, "seed")
        refuse(given, settled, "settled by --input; leave out one of the two")
    if given["format"] in ("json", "github"):
        refuse(given, ("quiet",), f"not possible with --format {given['format']}; leave it out")
    if given["format"] == "github" or given["quiet"]:
        refuse(given, ("every",), "there is no table to show; leave it out")


def refuse(given: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    """Raise `InputError` when one of the options `names` was given."""
    for name in names:
        if given.get(name, False) is not False:
            raise InputError(f"{FLAGS.get(name, '--' + name.replace('_', '-'))}: {why}")


def check_output(given: Mapping[str, Any]) -> None:
    """Raise `InputError` before the long work when the answer has nowhere to go."""
    output = given["output"]
    if output is None:
        if sys.stdout is None:
            raise InputError("cannot write the answer: stdout is closed; name a file with -o")
        return
    from rnn_parity.files import check_writable

    check_writable(output)
    for path in (given["target"], given.get("input"), given.get("mask_file")):
        if path and os.path.exists(path) and os.path.realpath(path) == os.path.realpath(output):
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

    from rnn_parity.check import check_generated

    return check_generated(spec, inputs=inputs, mask=mask, mode=given["mode"])


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

    from rnn_parity.check import check_model

    return check_model(target, inputs=inputs, mask=mask, mode=given["mode"], **options)


def refuse_target(target: str) -> None:
    """Raise `InputError` for a case or a folder; what is wrong with a model is said on loading."""
    models = "expected a model (.keras, .h5, .hdf5)"
    if target.lower().endswith(".npz"):
        raise InputError(f"{target!r}: {models}, received a case (.npz), which is not readable yet")
    if os.path.isdir(target) and not os.path.exists(os.path.join(target, "saved_model.pb")):
        raise InputError(f"{target!r}: {models}, received a folder; name one model file in it")


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
