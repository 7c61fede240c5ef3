"""A finding about a Python function as a case, and a script that calls the function on it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from typing import Any

from rnn_parity.cases.case import Case, write_case
from rnn_parity.implementations.python_function import function_of, parameters
from rnn_parity.recurrence.formula import ACTIVATIONS
from rnn_parity.sweep.bug_report import description
from rnn_parity.system.files import write_text
from rnn_parity.verdict.configuration import Configuration
from rnn_parity.verdict.sweep_results import Finding, Swept

SHOWN = ("diverged", "suspect", "failed")
"""The verdicts of the findings that get a script."""
STATES = {1: 'data["initial_state_h"]', 2: '(data["initial_state_h"], data["initial_state_c"])'}


def shown_findings(swept: Swept) -> list[Finding]:
    """The findings that a script can show."""
    return [finding for finding in swept.findings if finding.verdict in SHOWN]


def write_port_scripts(
    swept: Swept, folder: str, against: str, cases: Mapping[Configuration, tuple[Case, ...]]
) -> dict[Configuration, str]:
    """Write a case and a script for each finding about the function `against`; the scripts' paths.

    `cases` are all calls of a configuration as Keras computes them.
    """
    paths = {}
    for i, finding in enumerate(shown_findings(swept), 1):
        one, call = finding.configuration, finding.outcome.call or 0
        if call >= len(cases.get(one, ())):
            continue  # the process that was to record it died
        case, name = cases[one][call], f"{i}-{one.layer}"
        paths[one] = os.path.join(folder, f"{name}.py")
        write_case(os.path.join(folder, f"{name}.npz"), case)
        about = description(finding, swept.environment["keras"] or "")
        write_text(paths[one], port_script(case, against, f"{name}.npz", about, way_from(folder)))
    return paths


def way_from(folder: str) -> str:
    """The current folder, where the function is, as seen from `folder`: both may move together."""
    try:
        return os.path.relpath(os.curdir, folder)
    except ValueError:  # another drive
        return os.path.abspath(os.curdir)


def port_script(case: Case, against: str, file: str, about: str, way: str = os.curdir) -> str:
    """A script that calls the function `against` on what is recorded in `file`, beside it.

    It exits with 1 where the function is wrong, with 2 and one line where there is nothing to
    compare: something is missing that it needs, which is no TensorFlow, or the function fails.
    `way` leads from its folder to the function's.
    """
    module, _, name = against.partition(":")
    layer = case.weights()
    options: dict[str, Any] = {"dtype": case.dtype}
    for option in (*layer.OPTIONS, "go_backwards", "zero_output_for_mask"):
        value = getattr(layer, option)
        options[option] = value.name if option in ACTIVATIONS.values() else value
    count = len(case.initial_state or ())
    given = {
        "layer": "layer",
        "mask": "mask" if case.mask is not None else "None",
        "initial_state": "state" if count else "None",
    }
    taken = parameters(function_of(against))
    values = [f"{n}={value}" for n, value in given.items() if n in taken]
    return SCRIPT.format(
        about=textwrap.fill(about, 96),
        file=file,
        module=module,
        stem=module.rpartition(".")[2],
        function=f"{module}.{name}",
        against=against,
        way=way,
        kind=type(layer).__name__,
        bias="None" if case.bias is None else 'data["bias"]',
        options="".join(f"        {n}={value!r},\n" for n, value in options.items()),
        mask="None" if case.mask is None else 'data["mask"]',
        state=STATES.get(count, "None"),
        values=", ".join(["inputs.copy()", *values]),
    )


SCRIPT = '''\
"""{about}

Inputs, weights and Keras's outputs are in {file}, beside this script. It exits with 1 where
{against} is wrong, and with 2 where there is nothing to compare: something is missing that it
needs, or the function fails.
"""

import os
import sys
import traceback
from pathlib import Path

SCRIPT = Path(__file__).resolve()
CASE = SCRIPT.with_name("{file}")
SOURCE = SCRIPT.parent.joinpath({way!r}).resolve()  # where the function was
sys.path[:0] = [os.getcwd(), str(SOURCE)]


def stop(error, needs):
    """Say in one line what failed, where it did so, and what to look at."""
    calls = traceback.extract_tb(error.__traceback__)
    lines = [call.lineno for call in calls if Path(call.filename).stem == "{stem}"]
    place = f" ({stem}.py, line {{lines[-1]}})" if lines else ""
    text = f"{{type(error).__name__}}: {{error}}{{place}}; {{needs}}"
    print(f"{{SCRIPT.name}}:", " ".join(text.split()), file=sys.stderr)
    sys.exit(2)


try:
    import numpy as np
    import {module}

    import rnn_parity as rp
except (Exception, SystemExit) as error:
    stop(error, f"it needs {module} (here or in {{SOURCE}}), rnn_parity and NumPy")
try:
    with np.load(CASE) as case:
        data = dict(case)
    layer = rp.{kind}(
        data["kernel"],
        data["recurrent_kernel"],
        {bias},
{options}    )
    inputs, mask, state = data["inputs"], {mask}, {state}
    wanted = data["outputs"]
except Exception as error:
    stop(error, f"it needs {{CASE}} as it was written")
try:
    returned = {function}({values})
    outputs, *states = returned if isinstance(returned, tuple) else (returned,)
    final = states[0] if len(states) == 1 else tuple(states) or None
    report = rp.compare(layer, inputs, outputs, final, mask=mask, initial_state=state)
except (Exception, SystemExit) as error:
    stop(error, "{against} has to return real outputs, and the final states if any")
print("{against}:", outputs, "Keras:", wanted, sep="\\n")
print(report)
sys.exit(report.exit_code)
'''
