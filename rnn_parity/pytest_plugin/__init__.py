"""The pytest plugin: the fixture `rnn_parity`, its options, its summary and its JSON report.

    def test_encoder(rnn_parity):
        rnn_parity.check(layer, inputs)

Loading it imports neither NumPy nor TensorFlow: a test suite that does not use the fixture starts
as fast as without. What a check found travels on the test's report, which pytest-xdist carries from
its workers to the one process that prints and writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rnn_parity.pytest_plugin.fixture import RnnParity

FOUND: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""What the checks of a running test found, until its next report takes it along."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin."""
    group = parser.getgroup("rnn-parity", "recurrent layers held against their replay")
    group.addoption(
        "--rnn-parity-update",
        action="store_true",
        help="rewrite recorded cases that changed; their tests still fail, saying what changed",
    )
    group.addoption(
        "--rnn-parity-strict",
        action="store_true",
        help="a check that is blind to some mistake fails, too",
    )
    group.addoption(
        "--rnn-parity-allow-known",
        action="store_true",
        help="a check that diverged for a known mistake of Keras's does not fail",
    )
    group.addoption(
        "--rnn-parity-report",
        metavar="FILE",
        help="write the reports of all checks to FILE as one JSON document",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a report that cannot be written; gather in the process that prints."""
    path = config.getoption("rnn_parity_report")
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist
        return
    if path is not None:
        from rnn_parity.errors import InputError
        from rnn_parity.system.files import check_writable

        try:
            check_writable(path)
        except InputError as error:
            raise pytest.UsageError(f"--rnn-parity-report: {error}") from None
    config.pluginmanager.register(Gathered(path), "rnn-parity-gathered")


@pytest.fixture(name="rnn_parity")
def rnn_parity_fixture(request: pytest.FixtureRequest) -> RnnParity:
    """Checks that fail the test unless the recurrent layer is proven to be in parity.

    `check(layer, inputs)` runs a Keras layer or model; `compare(weights, inputs, outputs)` holds
    the outputs of any implementation against the replay; `regression(layer, inputs)` holds the
    layer against the case recorded beside the test, too.
    """
    from rnn_parity.errors import InputError
    from rnn_parity.pytest_plugin.fixture import RnnParity
    from rnn_parity.system.settings import read_settings

    config, found = request.config, request.node.stash.setdefault(FOUND, [])
    try:
        settings = read_settings(config.rootpath)
    except InputError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    return RnnParity(
        found,
        lambda name: case_path(request.node, settings.cases, name),
        root=config.rootpath,
        update=config.getoption("rnn_parity_update"),
        mode=settings.mode,
        strict=settings.strict or config.getoption("rnn_parity_strict"),
        allow_known=settings.allow_known or config.getoption("rnn_parity_allow_known"),
        keep_documents=config.getoption("rnn_parity_report") is not None,
    )


def case_path(item: pytest.Item, cases: str | None, name: str | None) -> Path:
    """The file of a test's case: in a folder named after the module, beside it or below `cases`."""
    module = item.path.with_suffix("")
    if cases is not None:
        module = item.config.rootpath / cases / os.path.relpath(module, item.config.rootpath)
    parts = [
        node.name for node in item.listchain() if isinstance(node, (pytest.Class, pytest.Item))
    ]
    return module / f"{safe_name('::'.join(parts) + ('' if name is None else f'#{name}'))}.npz"


def safe_name(text: str) -> str:
    """A file name for `text`, and for no other: letters, digits, - and _, any case of letters."""
    if re.fullmatch("[a-z0-9_]{1,80}", text):
        return text
    readable = re.sub("[^A-Za-z0-9_]+", "-", text)[:80].strip("-")
    return f"{readable}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hand what the checks found since the last report to this one."""
    report = yield
    found = item.stash.get(FOUND, None)
    if found:
        report.rnn_parity = [*found]  # type: ignore[attr-defined]  # pytest keeps what is added
        found.clear()
    return report


class Gathered:
    """What all checks of the session found, by test; prints it, and writes it where asked to."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.found: dict[str, list[dict[str, Any]]] = {}
        self.failure: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test found; a test that runs again starts anew."""
        if report.when == "setup":
            self.found.pop(report.nodeid, None)
        found = getattr(report, "rnn_parity", [])
        if found:
            self.found.setdefault(report.nodeid, []).extend(found)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the JSON document; a failure ends pytest with its code for wrong usage."""
        if self.path is None or session.config.option.collectonly:
            return
        from rnn_parity.errors import InputError
        from rnn_parity.pytest_plugin.outcome import merged
        from rnn_parity.system.files import write_text

        tests = {test: [one["document"] for one in found] for test, found in self.found.items()}
        try:
            write_text(self.path, merged(tests) + "\n")
        except InputError as error:
            self.failure = f"--rnn-parity-report: {error}"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line for each check, and where the JSON document is."""
        if terminalreporter.config.option.collectonly or not (self.found or self.path):
            return
        terminalreporter.write_sep("=", "rnn-parity")
        for test, found in self.found.items():
            for word, text, failed in (line for one in found for line in one["lines"]):
                terminalreporter.write(word.upper(), red=failed, green=not failed)
                terminalreporter.write_line(f" {test} - {text}")
        if self.failure:
            terminalreporter.write_line(self.failure, red=True)
        elif self.path:
            terminalreporter.write_line(f"reports written to {self.path}")
