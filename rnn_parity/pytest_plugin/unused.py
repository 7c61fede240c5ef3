"""Recorded cases that no test uses any more: `--rnn-parity-unused`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest

from rnn_parity.errors import InputError, shown
from rnn_parity.system.settings import Settings, read_settings

OPTION = "--rnn-parity-unused"
PARTS = {"keyword": "-k", "markexpr": "-m", "lf": "--lf"}
"""The options of pytest that choose among the tests, by their names in its configuration."""


def refuse_part(config: pytest.Config) -> None:
    """Raise pytest's error of usage where not all tests of a module are asked for."""
    given = [name for key, name in PARTS.items() if getattr(config.option, key, None)]
    given += [word for word in config.args if "::" in word]
    if given:
        raise pytest.UsageError(
            f"{OPTION}: expected whole modules of tests, received {', '.join(given)}, which leaves "
            "some out; leave out one of the two"
        )


class Unused:
    """What the tests of a session used of the cases there are.

    A module is looked at when all of its tests ran and passed: of any other nobody knows what its
    tests would have used, but for the cases whose names are those of none of them. `case_folder`
    says where its cases are, from its path and the project's settings, `may_be_of` whether a file
    may be of a test.
    """

    def __init__(
        self,
        config: pytest.Config,
        case_folder: Callable[[Path, Settings], Path],
        may_be_of: Callable[[Path, str], bool],
    ) -> None:
        self.config = config
        self.case_folder = case_folder
        self.may_be_of = may_be_of
        self.tests: set[str] = set()
        self.passed: set[str] = set()
        self.failed: set[str] = set()
        self.used: set[str] = set()
        self.unused: list[Path] = []
        self.message = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the tests that are to run in this process."""
        self.tests |= {item.nodeid for item in session.items}

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Take those that are left out."""
        self.tests |= {item.nodeid for item in items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        """Take the tests that are to run in other processes."""
        self.tests |= {*ids}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test used, and whether it passed."""
        for one in getattr(report, "rnn_parity", []):
            self.used |= {*one["cases"]}
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        elif not report.passed:
            self.failed.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look for the cases; a session that passed fails where there are some."""
        if session.config.option.collectonly:
            return
        try:
            self.unused = sorted(path for path in self.cases() if str(path) not in self.used)
        except InputError as error:
            self.message = f"{OPTION}: {error}"
        if (self.unused or self.message) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def cases(self) -> Iterator[Path]:
        """The cases of the modules that were looked at, and of those that are gone."""
        root = self.config.rootpath
        settings = read_settings(root)
        modules = {root / test.partition("::")[0] for test in self.tests}
        folders = {self.case_folder(one, settings) for one in modules - self.unknown()}
        project, home = settings.case_home or (root, None)
        for below in {home} if home else {one.parent for one in modules}:
            for folder in [path for path in below.rglob("*") if path.is_dir()]:
                module = project / os.path.relpath(folder, home) if home else folder
                if self.is_test(module.name) and not module.with_suffix(".py").exists():
                    folders.add(folder)
        for folder in folders:
            yield from (Path(os.path.realpath(path)) for path in folder.glob("*.npz"))
        for module in self.unknown():
            yield from self.of_no_test(module, self.case_folder(module, settings))

    def of_no_test(self, module: Path, folder: Path) -> Iterator[Path]:
        """The cases in the folder of a module that have the name of none of its tests."""
        root = self.config.rootpath
        parts = [test.partition("::") for test in self.tests]
        tests = [name for path, _, name in parts if root / path == module]
        for path in folder.glob("*.npz"):
            if not any(self.may_be_of(path, test) for test in tests):
                yield Path(os.path.realpath(path))

    def is_test(self, name: str) -> bool:
        """Whether a module of this name would hold tests."""
        return any(fnmatch(f"{name}.py", one) for one in self.config.getini("python_files"))

    def unknown(self) -> set[Path]:
        """The modules some of whose tests did not run, or did not pass."""
        lost = self.tests - self.passed | self.failed
        return {self.config.rootpath / test.partition("::")[0] for test in lost}

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """A line for each of the cases, and for what nobody knows."""
        if terminalreporter.config.option.collectonly:
            return
        if self.unused:
            terminalreporter.write_sep("=", "cases that no test uses any more")
        for path in self.unused:
            terminalreporter.write_line(f"UNUSED {self.shown(path)}", red=True)
        for path in sorted(self.unknown()):
            why = "not all of its tests ran and passed"
            terminalreporter.write_line(f"rnn-parity: cases of {self.shown(path)}: unknown, {why}")
        if self.message:
            terminalreporter.write_line(self.message, red=True)
        elif not self.unused and not self.unknown():
            terminalreporter.write_line("rnn-parity: no unused case was found")
        elif self.unused:
            terminalreporter.write_line(
                f"rnn-parity: {len(self.unused)} unused; delete them, or check them by themselves"
            )

    def shown(self, path: Path) -> str:
        """The name of a file from the root of the tests."""
        root = Path(os.path.realpath(self.config.rootpath))
        real = Path(os.path.realpath(path))
        return shown(real.relative_to(root).as_posix() if root in real.parents else str(path))
