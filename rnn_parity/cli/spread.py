"""Several targets over processes on this machine, or over a Dask cluster, as a sweep is spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from rnn_parity.errors import InputError
from rnn_parity.report.report import Report
from rnn_parity.sweep.interrupt import Insisting
from rnn_parity.sweep.pool import pool
from rnn_parity.system.environment import environment, own_version
from rnn_parity.verdict.results import TargetError

Given: TypeAlias = Mapping[str, Any]
Checked: TypeAlias = "Report | TargetError"
MATTER = ("numpy", "tensorflow", "keras")
"""What the numbers of a report depend on, which says it once for all of its targets."""


class Job(NamedTuple):
    """The options of one target, and its place among all of them."""

    place: int
    given: Given


def spread(
    check: Callable[[Given], Checked],
    each: Sequence[Given],
    workers: int | None,
    dask: str | None,
) -> list[Checked]:
    """What `check` says of each target, in their order; it can be pickled and raises nothing.

    Over which a process dies, twice, that cannot be checked. Raises `InputError` for a scheduler
    that does not answer, and for workers with other versions than here.
    """
    from tqdm import tqdm

    jobs = [Job(i, given) for i, given in enumerate(each)]
    found: dict[int, Checked] = {}
    with pool(workers, dask) as workers_of, Insisting():
        results = workers_of.as_completed(partial(checked_here, check), jobs)
        bar = tqdm(
            results, "targets", len(jobs), delay=1, leave=False, disable=None, unit=" targets"
        )
        for job, answer in bar:
            found[job.place] = died(job.given) if answer is None else same_versions(*answer)
    return [found[job.place] for job in jobs]


def checked_here(
    check: Callable[[Given], Checked], job: Job
) -> tuple[dict[str, str | None], Checked]:
    """The versions here, where a worker runs this, and what it says of its target."""
    return versions(), check(job.given)


def versions() -> dict[str, str | None]:
    """The versions that numbers and reports depend on."""
    here = environment("cpu")
    return {"rnn-parity": own_version(), **{name: here[name] for name in MATTER}}


def same_versions(there: Mapping[str, str | None], answer: Checked) -> Checked:
    """The answer of a worker. Raises `InputError` for one that has other versions than here."""
    for name, here in versions().items():
        if there[name] != here:
            raise InputError(
                f"--dask: expected workers with {name} {here}, as here, received one with "
                f"{there[name]}; install the same there"
            )
    return answer


def died(given: Given) -> TargetError:
    """What is said of a target over which two processes died; a source that they asked failed."""
    message = "the process that checked it died, twice"
    return TargetError(given["target"], message, 1 if "against" in given else 2)
