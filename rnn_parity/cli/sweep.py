"""`rnn-parity sweep`: from the options of the command line to a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rnn_parity.errors import InputError
from rnn_parity.report.sweeps import SweepReport
from rnn_parity.sweep.interrupt import Insisting
from rnn_parity.sweep.journal import Journal, journal
from rnn_parity.sweep.pool import pool
from rnn_parity.sweep.repro import script
from rnn_parity.sweep.run import sweep
from rnn_parity.sweep.source import refuse_source
from rnn_parity.sweep.space import SPACES, Configuration
from rnn_parity.system.files import reason, write_text
from rnn_parity.verdict.sweep_results import Finding, Swept

OPTIONS = ("strength", "limit", "seed")


def report_on(given: Mapping[str, Any]) -> SweepReport[Configuration]:
    """Sweep as the options say. Raises `InputError`, one line, for what is in the way."""
    if given["workers"] is not None and given["dask"] is not None:
        raise InputError("--workers: the Dask cluster has its own; leave out one of the two")
    against = given["source"]
    if against is not None:
        refuse_source(against)
        if given["repro"] is not None:
            raise InputError(
                "--repro: its scripts need TensorFlow and NumPy alone, and cannot run "
                f"{against}; leave it out: the report says how to check each finding again"
            )
    layers = list(SPACES) if given["layer"] == "all" else [given["layer"]]
    if given["repro"] is not None:
        make_folder(given["repro"])
    strength = None if given["strength"] == "full" else given["strength"]
    who = (given["workers"], given["dask"])
    with journal(given["resume"]) as known, told(known), pool(*who) as workers, Insisting():
        swept = sweep(layers, strength, given["limit"], given["seed"], workers, known, against)
    scripts = {} if given["repro"] is None else write_scripts(swept, given["repro"])
    options = {"layers": layers, "against": against, **{name: given[name] for name in OPTIONS}}
    return SweepReport(swept, options, given["allow_known"], scripts)


@contextmanager
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


def make_folder(path: str) -> None:
    """Make the folder, unless it is there."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise InputError(f"--repro {path!r}: cannot be made: {reason(error)}") from None


def write_scripts(swept: Swept[Configuration], folder: str) -> dict[Configuration, str]:
    """Write a script for each finding that numbers show; their paths."""
    paths = {}
    keras = swept.environment["keras"] or ""
    shown = [f for f in swept.findings if f.verdict in ("diverged", "suspect")]
    for i, finding in enumerate(shown, 1):
        if finding.numbers is None:
            continue
        one = finding.configuration
        name = one.layer if finding.known is None else f"{one.layer}-{finding.known.id}"
        paths[one] = os.path.join(folder, f"{i}-{name}.py")
        about = description(finding, keras)
        write_text(paths[one], script(one, finding.outcome, finding.numbers, about, keras))
    return paths


def description(finding: Finding[Configuration], keras: str) -> str:
    """What stands at the top of a script."""
    options = ", ".join(f"{name}={value}" for name, value in finding.configuration.changed.items())
    known = finding.known
    what = f"{known.wrong}. Right: {known.right}." if known else f"{finding.outcome.summary}."
    return f"Keras {keras}, {finding.configuration.layer} with {options}: {what}"
