"""Where the time of a sweep goes: `bench_sweep.py [--layer NAME] [--rows N] [--rounds N]`.

With `--dask`, how many configurations 1, 2 and 4 workers of a Dask cluster on this machine check in
a second, and what handing one out costs this process, in which the scheduler runs, too.

Of evenly spaced rows of a sweep's covering array, each is checked, and does what TensorFlow needs
for it alone: the layer is built, called in its mode, and nothing is recorded or compared. Seconds
are those of the processor, the least of several rounds in which both take turns, so that what else
a machine does counts little. What one call of a mode takes more than the next one, beside tracing,
is compiling. Of what is checked, judging is this program's alone; the rest of what it adds is the
second run for a whole sequence, and recording.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from tabulate import tabulate

from rnn_parity import keras_adapter
from rnn_parity.api import judging
from rnn_parity.api.generated import GeneratedLayer, random_inputs, random_mask, random_state
from rnn_parity.errors import InputError
from rnn_parity.keras_adapter.parts import is_time_major, state_structure
from rnn_parity.keras_adapter.runtime import quiet, runner
from rnn_parity.sweep.pool import pool
from rnn_parity.sweep.space import SPACES, combinations
from rnn_parity.sweep.worker import check_configuration, describe, generated_layer
from rnn_parity.verdict.configuration import Configuration

EMPTY = 1000
"""How many times nothing is done, to see what handing it out costs."""
PARTS = ("building", "tracing", "compiling", "running")


class Clock:
    """Seconds of the processor, by what they were for."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def timed(self, part: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        try:
            return work()
        finally:
            self.spent[part] += time.process_time() - start


def bare(one: Configuration) -> dict[str, float]:
    """What TensorFlow needs for a configuration: its seconds by part."""
    clock, tf = Clock(), keras_adapter.tensorflow_module()
    spec = generated_layer(one, 0)
    with quiet():
        try:
            layer, root, calls = clock.timed("building", partial(built, one, spec))
            traced = Clock()

            def program(data: dict[str, Any]) -> dict[str, Any]:
                eager = tf.executing_eagerly()
                result = traced.timed("eager" if eager else "tracing", lambda: call(root, data))
                values = {f"{i}": value for i, value in enumerate(tf.nest.flatten(result))}
                states = tf.nest.flatten(layer.states) if stores(layer) else []
                return values | {f"state {i}": state * 1 for i, state in enumerate(states)}

            run = runner(program, root, str(one["mode"]))
            clock.timed("first", lambda: [run(data) for data in calls])
            clock.spent["tracing"] = traced.spent["tracing"]
            clock.timed("running", lambda: [run(data) for data in calls])
        except (InputError, ValueError, TypeError, NotImplementedError, tf.errors.OpError):
            pass  # it is refused, which takes its time, too
    first = clock.spent.pop("first", 0.0)
    clock.spent["compiling"] = max(0.0, first - clock.spent["tracing"] - clock.spent["running"])
    return clock.spent


def stores(layer: Any) -> bool:
    """Whether a layer keeps its states."""
    return bool(getattr(layer, "stateful", False)) and hasattr(layer, "states")


def built(one: Configuration, spec: GeneratedLayer) -> tuple[Any, Any, list[dict[str, Any]]]:
    """The layer, what is called, and the arguments of each call."""
    rng, keras = np.random.default_rng(0), keras_adapter.tensorflow_module().keras
    inputs = random_inputs(spec, rng)
    mask = random_mask(spec.mask, spec.batch, spec.timesteps, rng)
    opened = one["open_size"]
    batch = None if opened == "batch" else spec.batch
    layer = keras_adapter.build_layer(
        spec.layer, spec.units, spec.features, spec.arguments, spec.dtype, 0, batch
    )
    given = {} if mask is None else {"mask": mask}
    if is_time_major(layer):
        inputs, given = inputs.swapaxes(1, 2), {n: m.swapaxes(0, 1) for n, m in given.items()}
    calls = [{"inputs": x, **given} for x in inputs]
    count = keras_adapter.state_count(layer)
    states = random_state(spec.initial_state, spec.batch, spec.units, rng, count)
    if states is not None:
        nest = keras_adapter.tensorflow_module().nest
        kind = layer.variable_dtype if layer.stateful else layer.compute_dtype
        calls[0]["initial_state"] = nest.map_structure(
            lambda state: keras_adapter.tensorflow_module().cast(state, kind),
            nest.pack_sequence_as(state_structure(layer), list(states)),
        )
    if opened == "none":
        return layer, layer, calls
    shape = (None if opened == "timesteps" else spec.timesteps, spec.features)
    x = keras.Input(shape, batch_size=batch, dtype=str(inputs.dtype))
    return layer, keras.Model(x, layer(x)), calls


def call(root: Any, data: dict[str, Any]) -> Any:
    """The layer or the model on one call's data."""
    own = dict(data)
    return root(own.pop("inputs"), **own)


def checked(one: Configuration) -> dict[str, float]:
    """What a check needs: its seconds, and those of them in which it is judged."""
    clock, own = Clock(), judging.judged

    def timed(*given: Any, **options: Any) -> Any:
        return clock.timed("judging", lambda: list(own(*given, **options)))

    judging.judged = timed  # a check looks it up when it begins
    try:
        clock.timed("checked", partial(check_configuration, one, 0))
    finally:
        judging.judged = own
    return {"judging": 0.0, **clock.spent}


def measured(rows: list[Configuration], rounds: int) -> dict[str, dict[str, float]]:
    """By mode: the seconds of each part, and of checking, added up over the rows."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in rows:
        alone, ours = [], []
        for _ in range(rounds):
            alone.append(bare(one))
            ours.append(checked(one))
        least = min(alone, key=lambda spent: sum(spent.values()))
        mode = found[str(one["mode"])]
        for part in PARTS:
            mode[part] += least[part]
        # The second run is there to be taken away: a check runs everything once.
        for part, seconds in min(ours, key=lambda spent: spent["checked"]).items():
            mode[part] += seconds
        mode["rows"] += 1
    return found


def over_dask(rows: list[Configuration]) -> None:
    """Print the throughput of clusters on this machine."""
    from distributed import LocalCluster

    table = []
    for count in (1, 2, 4):
        settings = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": None}
        with (
            LocalCluster(**settings, silence_logs=50) as cluster,
            pool(dask=cluster.scheduler_address) as workers,
        ):
            job = partial(check_configuration, seed=0)
            for _ in workers.as_completed(job, rows[: 2 * count]):
                pass  # TensorFlow is imported
            start, cpu = time.perf_counter(), time.process_time()
            outcomes = [outcome for _, outcome in workers.as_completed(job, rows)]
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            busy = sum(outcome.seconds for outcome in outcomes if outcome is not None)
            start = time.process_time()
            many = sum(1 for _ in workers.as_completed(abs, range(EMPTY)))
            each = (time.process_time() - start) / many
        share = 100 * busy / seconds / count
        cells = [len(rows) / seconds, share, 1000 * cpu / len(rows), 1000 * each]
        table.append([count, *(f"{cell:.2f}" for cell in cells)])
    headers = ["workers", "per second", "% busy", "ms here for each", "ms here for nothing"]
    print(tabulate(table, headers, "pipe", disable_numparse=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layer", choices=SPACES, default="lstm")
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dask", action="store_true")
    given = parser.parse_args()
    start = time.process_time()
    site = describe(given.layer)
    described = time.process_time() - start
    start = time.process_time()
    whole = combinations(site, 3, None, 0)
    array = time.process_time() - start
    step = max(1, len(whole) // given.rows)
    rows = whole[::step][: given.rows]
    if given.dask:
        return over_dask(rows)
    for one in rows[:3]:
        check_configuration(one, 0)  # what is done once in a process
    found = measured(rows, given.rounds)
    total: dict[str, float] = defaultdict(float)
    for mode in found.values():
        for name, value in mode.items():
            total[name] += value
    table = []
    for name, spent in {**found, "all": total}.items():
        alone = sum(spent[part] for part in PARTS)
        each = [1000 * spent[part] / spent["rows"] for part in PARTS]
        of_all = [
            1000 * part / spent["rows"] for part in (alone, spent["checked"], spent["judging"])
        ]
        cells = [f"{value:.0f}" for value in [*each, *of_all]]
        table.append([name, f"{spent['rows']:.0f}", *cells, f"{spent['checked'] / alone:.2f}"])
    headers = ["mode", "rows", *PARTS, "TensorFlow", "checked", "of it judging", "ratio"]
    print(f"{given.layer}: {len(rows)} of {len(whole)} rows, milliseconds of the processor a row")
    print(tabulate(table, headers, "pipe", disable_numparse=True))
    print(f"once: describing {described:.1f} s, the covering array {array:.1f} s")
    each = total["checked"] / total["rows"]
    print(f"{len(whole)} rows: {each * len(whole):.0f} s of one processor")


if __name__ == "__main__":
    main()
