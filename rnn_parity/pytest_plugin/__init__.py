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
from collections import Counter
from collections.abc import Generator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from rnn_parity.pytest_plugin.fixture import RnnParity
    from rnn_parity.system.settings import Settings

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
        "--rnn-parity-ignore",
        action="append",
        metavar="FAULT",
        default=[],
        help="a blind spot that does not matter here, such as mask-*; repeatable",
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
    group.addoption(
        "--rnn-parity-unused",
        action="store_true",
        help="fail where a recorded case is there that no test uses any more; needs a whole run",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse wrong settings and a report that cannot be written; gather where it is printed.

    And refuse to look for unused cases where a part of the tests runs, which uses a part of them.
    """
    path = config.getoption("rnn_parity_report")
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist
        return
    refuse_wrong_settings(config)
    if path is not None:
        from rnn_parity.errors import InputError
        from rnn_parity.system.files import check_writable

        try:
            check_writable(path)
        except InputError as error:
            raise pytest.UsageError(f"--rnn-parity-report: {error}") from None
    config.pluginmanager.register(Gathered(path), "rnn-parity-gathered")
    if config.getoption("rnn_parity_unused"):
        from rnn_parity.pytest_plugin.unused import Unused, refuse_part

        refuse_part(config)
        config.pluginmanager.register(Unused(config, case_folder, may_be_of), "rnn-parity-unused")


def refuse_wrong_settings(config: pytest.Config) -> None:
    """Raise pytest's error of usage, once, for what would be wrong in every test."""
    from rnn_parity.errors import InputError
    from rnn_parity.system.settings import read_settings

    try:
        allowances(config, read_settings(config.rootpath))
    except InputError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(name="rnn_parity")
def rnn_parity_fixture(request: pytest.FixtureRequest) -> RnnParity:
    """Checks that fail the test unless the recurrent layer is proven to be in parity.

    `check(layer, inputs)` runs a Keras layer or model; `compare(weights, inputs, outputs)` holds
    the outputs of any implementation against the replay; `regression(layer, inputs)` holds the
    layer against the case recorded beside the test, too.
    """
    from rnn_parity.pytest_plugin.fixture import RnnParity
    from rnn_parity.system.settings import read_settings

    config, found = request.config, request.node.stash.setdefault(FOUND, [])
    settings = read_settings(config.rootpath)  # what is wrong with them was refused before
    return RnnParity(
        found,
        lambda name: case_path(request.node, settings, name),
        root=config.rootpath,
        update=config.getoption("rnn_parity_update"),
        mode=settings.mode,
        **allowances(config, settings),
        keep_documents=config.getoption("rnn_parity_report") is not None,
    )


def allowances(config: pytest.Config, settings: Settings) -> dict[str, Any]:
    """What the session says on blind spots and known differences, and which setting says so.

    Raises `InputError` for what is to be ignored and is no fault.
    """
    from rnn_parity.diagnosis.catalogue import named_faults
    from rnn_parity.system.settings import TABLE

    given = {name: config.getoption(f"rnn_parity_{name}") for name in ("strict", "allow_known")}
    names = {
        "--rnn-parity-ignore": config.getoption("rnn_parity_ignore"),
        f"{settings.shown_file(config.rootpath)} {TABLE} ignore": settings.ignore,
    }
    said = settings.named(config.rootpath)
    return {
        **{name: there or getattr(settings, name) for name, there in given.items()},
        "ignore": tuple(id for where, some in names.items() for id in named_faults(some, where)),
        "set_by": {name: text for name, text in said.items() if not given[name]},
    }


def case_path(item: pytest.Item, settings: Settings, name: str | None) -> Path:
    """The file of a test's case."""
    parts = [
        node.name for node in item.listchain() if isinstance(node, (pytest.Class, pytest.Item))
    ]
    folder = case_folder(item.path, settings)
    return folder / f"{safe_name('::'.join(parts) + ('' if name is None else f'#{name}'))}.npz"


def case_folder(module: Path, settings: Settings) -> Path:
    """Where the cases of a module's tests are: in a folder of its name, beside it or in `cases`."""
    folder = module.with_suffix("")
    if settings.case_home is None:
        return folder
    project, home = settings.case_home
    return home / os.path.relpath(folder, project)


def safe_name(text: str) -> str:
    """A file name for `text`, and for no other: letters, digits, - and _, any case of letters."""
    if re.fullmatch("[a-z0-9_]{1,80}", text):
        return text
    return f"{readable(text)}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def readable(text: str) -> str:
    """What a person can read of a test in the name of a file."""
    return re.sub("[^A-Za-z0-9_]+", "-", text)[:80].strip("-")


def may_be_of(case: Path, test: str) -> bool:
    """Whether a file of this name may be a case of the test, its classes before it with `::`.

    The name that a case has beside its test is not known, nor how many there are.
    """
    start = readable(test)
    return case.stem == start or case.stem.startswith(f"{start}-") or len(start) >= 79


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
        self.ended: dict[str, str] = {}
        self.failure: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test found; a test that runs again starts anew."""
        if report.when == "setup":
            self.found.pop(report.nodeid, None)
            self.ended.pop(report.nodeid, None)
        before = self.ended.setdefault(report.nodeid, "passed")
        if before != "failed" and not report.passed:
            self.ended[report.nodeid] = ending(report)
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
        """One line for each check that failed its test, or each with -v; counts; the document."""
        if terminalreporter.config.option.collectonly or not (self.found or self.path):
            return
        verbose = terminalreporter.config.get_verbosity() > 0
        checks = [
            Line(word, f"{test} - {text}", failed, self.ended[test])
            for test, found in self.found.items()
            for one in found
            for word, text, failed in one["lines"]
        ]
        listed = [check for check in checks if verbose or check.fails]
        if listed:
            terminalreporter.write_sep("=", "rnn-parity")
        for check in listed:
            terminalreporter.write(check.word.upper(), **{check.colour: True})
            terminalreporter.write_line(" ".join(["", check.text, *filter(None, [check.excuse])]))
        if checks and not verbose:
            terminalreporter.write_line(f"rnn-parity: {counts(checks)}")
        if self.failure:
            terminalreporter.write_line(self.failure, red=True)
        elif self.path:
            terminalreporter.write_line(f"rnn-parity: reports written to {self.path}")


def ending(report: pytest.TestReport) -> str:
    """How a test that did not pass ended: "failed", "skipped" or "xfailed"."""
    return "xfailed" if report.skipped and hasattr(report, "wasxfail") else report.outcome


class Line(NamedTuple):
    """A check in the summary: its word, its line, whether it failed, and how its test ended."""

    word: str
    text: str
    failed: bool
    ended: str

    @property
    def fails(self) -> bool:
        """Whether it failed, and its test did."""
        return self.failed and self.ended == "failed"

    @property
    def excuse(self) -> str:
        """Why a check that is not in parity is no alarm; empty for any other."""
        if self.failed and not self.fails:
            return f"(test {self.ended})"
        return ""

    @property
    def colour(self) -> str:
        """Red for what fails, green for what is in parity, yellow for what is neither."""
        return "red" if self.fails else "green" if self.word == "parity" else "yellow"


def counts(checks: Sequence[Line]) -> str:
    """How many of the checks are in parity, how many failed, and what came of the others."""
    right, count = sum(one.word == "parity" for one in checks), len(checks)
    some = f"{right if right == count else f'{right} of {count}'} check{'s' * (count > 1)}"
    others = Counter(
        "failed" if one.fails else f"{one.word} {one.excuse or 'and allowed'}"
        for one in checks
        if one.word != "parity"
    )
    found = [f"{some} in parity", *(f"{number} {text}" for text, number in others.items())]
    return f"{', '.join(found)} (-v lists them)"
