"""The fixture `rnn_parity`: checks that raise an `AssertionError` led by the verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import ArrayLike

import rnn_parity
from rnn_parity import keras_adapter
from rnn_parity.api.functions import (
    DEFAULT_MODE,
    allowances,
    keras_report,
    modes_to_run,
    observe,
)
from rnn_parity.api.recorded import held, paths_of, told
from rnn_parity.errors import InputError, RnnParityError, shown_lines
from rnn_parity.pytest_plugin.outcome import failure, lines
from rnn_parity.recurrence.cells import Cell, SimpleRNN
from rnn_parity.report.checks import is_compared
from rnn_parity.report.report import Report

Returned = TypeVar("Returned")


class RnnParity:
    """What a test gets; every method returns the report, and raises it where it is false.

    `found` receives what the end of the session needs of each report; its JSON document only with
    `keep_documents`. `case_path` is where the test's case of a given name belongs, and `root` what
    messages name it from; `update` rewrites cases that changed. `mode` is the mode of a run unless
    a call names one; with `strict`, a check that is blind to some mistake raises, too, unless that
    is one of the faults to `ignore`; with `allow_known`, one that diverged for a known difference
    does not, unless a call says otherwise. `set_by` says which settings these are.
    """

    def __init__(
        self,
        found: list[dict[str, Any]],
        case_path: Callable[[str | None], Path],
        *,
        root: Path,
        update: bool = False,
        mode: str = "graph",
        strict: bool = False,
        allow_known: bool = False,
        ignore: tuple[str, ...] = (),
        set_by: Mapping[str, str] | None = None,
        keep_documents: bool = False,
    ) -> None:
        self._found = found
        self._case_path = case_path
        self._root = root
        self._update = update
        self._taken: set[Path] = set()
        self._mode = mode
        self._allowed = {"strict": strict, "allow_known": allow_known}
        self._ignore = ignore
        self._set_by = set_by or {}
        self._keep_documents = keep_documents

    def check(
        self,
        layer_or_model: Any,
        inputs: ArrayLike,
        mask: ArrayLike | None = None,
        initial_state: ArrayLike | None = None,
        against: Any = None,
        mode: str | None = None,
        layer_name: str | None = None,
        training: bool = False,
        allow_known: bool | None = None,
        strict: bool | None = None,
        ignore: str | Sequence[str] = (),
    ) -> Report:
        """Run a Keras layer (or every recurrent layer of a model): `rnn_parity.check`.

        With `against`, hold what other implementations compute against its replay instead; with
        `training`, call it in training. With `allow_known`, a divergence that a known difference
        explains does not raise; with `strict`, a blind spot does; None leaves these to the session.
        The faults to `ignore` are added to those of the session.
        Raises `AssertionError` unless everything is in parity, `InputError` for unusable input.
        """
        __tracebackhide__ = True
        allowed = without_internals(self._allowances, (strict, ignore, allow_known))
        # The session's mode is nothing to weights, which Keras does not run.
        usual = DEFAULT_MODE if isinstance(layer_or_model, Cell) else self._mode
        mode = usual if mode is None else mode
        data = (layer_or_model, inputs, mask, initial_state, against, mode, layer_name, training)
        return self._hold(without_internals(rnn_parity.check, data), allowed)

    def compare(
        self,
        weights: SimpleRNN,
        inputs: ArrayLike,
        outputs: ArrayLike,
        final_state: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        initial_state: ArrayLike | None = None,
        allow_known: bool | None = None,
        strict: bool | None = None,
        ignore: str | Sequence[str] = (),
    ) -> Report:
        """Hold outputs that some implementation computed against the replay of `weights`.

        As `rnn_parity.compare`; needs NumPy alone. `allow_known`, `strict` and `ignore` are as in
        `check`. Raises `AssertionError` unless everything is in parity, `InputError` for unusable
        input.
        """
        __tracebackhide__ = True
        allowed = without_internals(self._allowances, (strict, ignore, allow_known))
        data = (weights, inputs, outputs, final_state, mask, initial_state)
        return self._hold(without_internals(rnn_parity.compare, data), allowed)

    def regression(
        self,
        layer_or_model: Any,
        inputs: ArrayLike,
        name: str | None = None,
        mask: ArrayLike | None = None,
        initial_state: ArrayLike | None = None,
        mode: str | None = None,
        allow_known: bool | None = None,
        strict: bool | None = None,
        ignore: str | Sequence[str] = (),
    ) -> Report:
        """Check as `check` does, and hold the layer against the case recorded beside the test.

        A missing case is written, and the test fails. `name` tells several cases of one test apart.
        `allow_known`, `strict` and `ignore` are as in `check`.
        Raises `AssertionError` unless then and now are in parity and nothing else changed, which
        says all that is missing or changed (what cannot be read, too), whatever else diverged;
        `InputError` for unusable input.
        """
        __tracebackhide__ = True
        mode = self._mode if mode is None else mode
        allowed = without_internals(self._allowances, (strict, ignore, allow_known))
        data = (layer_or_model, inputs, name, mask, initial_state, mode, allowed["allow_known"])
        report, message, cases = without_internals(self._regression, data)
        return self._hold(report, allowed, message, cases)

    def _regression(
        self,
        layer_or_model: Any,
        inputs: Any,
        name: str | None,
        mask: Any,
        state: Any,
        mode: str,
        allow_known: bool,
    ) -> tuple[Report, str, list[str]]:
        """The report on then and now, the message of what is missing or changed, and the cases."""
        path = self._case_path(name)
        found = [
            seen
            for one in modes_to_run(mode)
            for seen in observe(layer_or_model, inputs, mask, state, one)
        ]
        paths = paths_of(path, len(found))
        if self._taken & {path, *paths}:
            raise InputError(
                f"name: expected another one for each case of a test, received {name!r} twice"
            )
        self._taken |= {path, *paths}
        in_model = keras_adapter.is_model(layer_or_model)
        results = [
            held(seen, file, self._shown(file), self._update, in_model, allow_known)
            for seen, file in zip(found, paths, strict=True)
        ]
        checks = [check for one in results for check in one.checks]
        return keras_report(checks), told(results), [os.path.realpath(file) for file in paths]

    def _shown(self, path: Path) -> str:
        """The name of a file as messages and reports show it."""
        return Path(os.path.relpath(path, self._root)).as_posix()

    def _allowances(
        self, strict: bool | None, ignore: str | Sequence[str], allow_known: bool | None
    ) -> dict[str, Any]:
        """What a call says, and what it leaves to the session, as fields of its report."""
        said = {"strict": strict, "allow_known": allow_known}
        here = allowances(bool(strict), ignore, bool(allow_known))
        ids = (*self._ignore, *here.get("ignore", ()))
        by_call = {name: text for name, text in here["set_by"].items() if said.get(name)}
        chosen = {name: self._allowed[name] if one is None else one for name, one in said.items()}
        return {**chosen, "ignore": ids, "set_by": {**self._set_by, **by_call}}

    def _hold(
        self,
        report: Report,
        allowed: Mapping[str, Any],
        message: str = "",
        cases: Sequence[str] = (),
    ) -> Report:
        """Keep what the session needs of `report`, and raise it where it is false.

        `message` stands for the report's own where everything that was compared is in parity, and
        below it elsewhere; `cases` are the recorded ones that it is held against.
        """
        __tracebackhide__ = True
        report = replace(report, **allowed)
        self._found.append(
            {
                "lines": lines(report),
                "cases": [*cases],
                "document": report.to_json() if self._keep_documents else None,
            }
        )
        if not report:
            compared = all(
                check.verdict == "parity" or report.allows(check)
                for check in report.checks
                if is_compared(check)
            )
            own = "" if message and compared else failure(report)
            raise AssertionError("\n\n".join(filter(None, (own, shown_lines(message)))))
        return report


def without_internals(function: Callable[..., Returned], data: Sequence[Any]) -> Returned:
    """`function(*data)`, with errors that show the caller's line and no line of this package."""
    __tracebackhide__ = True
    try:
        return function(*data)
    except RnnParityError as error:
        raise error.with_traceback(None) from None
