"""Where an answer goes: to a file, or to stdout, whoever reads it. Imports late."""

from __future__ import annotations

import io
import os
import sys

from rnn_parity.errors import InputError


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
