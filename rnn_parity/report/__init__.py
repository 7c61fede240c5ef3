"""The only formatter: every form in which results are shown.

A new form of output is one line in `FORMATS` and a module, whose function `render(report, style)`
gives the text of a `page.Renderable`: a report on checks, on a sweep, or the list of faults.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from rnn_parity.errors import InputError, MissingPackageError


class Form(NamedTuple):
    """One form of output: its module, and how the names of files in it end (empty: no file is).

    Where a person cannot read the verdict in it at once it is not `legible`, and the command line
    says on stderr what failed. `package` is what it needs beside this package's own dependencies,
    and `extra` the name under which `pip install 'rnn-parity[extra]'` brings it.
    """

    module: str
    ending: str = ""
    legible: bool = True
    package: str = ""
    extra: str = ""


FORMATS = {
    "table": Form("rnn_parity.report.text", ".txt"),
    "json": Form("rnn_parity.report.document", ".json", legible=False),
    "markdown": Form("rnn_parity.report.markdown", ".md"),
    "github": Form("rnn_parity.report.github"),
    "junit": Form("rnn_parity.report.junit", ".xml", False, "junitparser", "junit"),
    "html": Form("rnn_parity.report.html", ".html", False, package="jinja2", extra="html"),
}
"""Each form of output, by the name that `--format` takes. Its module is imported on first use."""

PNG, SVG = ".png", ".svg"
"""How the name of a file with a picture ends."""


def form_of(path: str) -> str:
    """The name of the form in which the file `path` is written; `InputError` for another ending."""
    endings = {form.ending: name for name, form in FORMATS.items() if form.ending}
    for ending, name in endings.items():
        if path.lower().endswith(ending):
            return name
    *others, last = endings
    raise InputError(f"-o {path!r}: expected a name that ends in {', '.join(others)} or {last}")


def check_installed(name: str) -> None:
    """Raise `MissingPackageError` where a package that the form `name` needs is not installed."""
    form = FORMATS[name]
    if form.package and find_spec(form.package) is None:
        raise MissingPackageError(
            f"the form {name} needs the package {form.package}: "
            f"pip install 'rnn-parity[{form.extra}]'"
        )
