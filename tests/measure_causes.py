"""How many mistakes are named, by what was observed of them: `python tests/measure_causes.py`.

Every mistake of `mistakes` on every kind of layer, and on the backward half of a `Bidirectional`,
in float32 and float16, of which the whole sequence of outputs was observed or the last one alone,
exact or printed with 9, 6 or 4 digits. The numbers cannot tell a mistake where they do not diverge,
where it moves none by more than ten units of the last printed digit, where a last output would
have to confirm free parameters, or where its bound is as wide as the numbers, or all of them tell
less than 24 bits. Prints what was missed, and the table of the manual; with `--chance N`, how many
of N unrelated last outputs get a cause, and how many of N wrong runs that look printed are excused.
"""

import argparse
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
from corpus import KINDS, examined, right_run, simulate
from mistakes import MISTAKES
from tabulate import tabulate

import rnn_parity as rp
from rnn_parity.verdict.resolution import LIMIT

SIZE = (6, 12, 5, 6)
DIGITS = {"exact": None, "9": 9, "6": 6, "4": 4}
HALF = "LSTM, backward half"
LAYERS = {**{kind: (kind, {}) for kind in KINDS}, HALF: ("LSTM", {"go_backwards": True})}
OBSERVED = ("sequence", "last")
DTYPES = ("float32", "float16")
FREE = ("weights-differ", "dropout-active", "features-permuted", "first-state-differs")
"""Mistakes with free parameters, which nothing confirms in a last output alone."""
OF_A_HALF = {"outputs-not-reversed": "backward-output-misplaced"}
"""What the mistake is called in the last output of a backward half."""
OUTCOMES = ("named", "not named", "wrongly", "cannot tell")


def written(y, digits):
    """As it comes out of a program that prints so many digits: `%.9g`, or decimals."""
    if digits is None:
        return y
    wide = y.astype(np.float64)
    return np.vectorize(lambda v: float(f"{v:.9g}"))(wide) if digits == 9 else wide.round(digits)


def outcome(mistake, right, wrong, check, digits):
    """What came of a check of the `wrong` numbers."""
    named = {one for cause in check.causes for one in cause.fault.split("+")}
    if named:
        return "named" if named & {mistake.fault, OF_A_HALF.get(mistake.fault)} else "wrongly"
    last = right.ndim == 2
    free = mistake.fault in FREE or (mistake.fault, mistake.detail) == (
        "bias-differs",
        "of its numbers",
    )
    moved = np.abs(right.astype(float) - wrong).max() if right.shape == wrong.shape else np.inf
    few = digits not in (None, 9) and not moved > 10 * 10.0**-digits
    wide = last and (check.resolution > LIMIT or bits(check, right, wrong) <= 24)
    hidden = check.verdict != "diverged" or few or wide or (last and free)
    return "cannot tell" if hidden else "not named"


def bits(check, right, wrong):
    """By how many bits last outputs tell the wrong numbers from the right ones."""
    row = check.final_state[0]
    radius = row.max_deviation / row.max_ratio
    with np.errstate(all="ignore"):
        far = np.abs(right.astype(float) - wrong) / radius
    return np.log2(np.clip(far, 1, 2**24)).sum()


def outcomes(task):
    """Of one mistake on one kind of layer: what came of each form in which it was observed."""
    index, layer, dtype, seed = task
    mistake, (kind, options) = MISTAKES[index], LAYERS[layer]
    found = []
    if kind not in mistake.kinds or options.items() & {
        (name, not value) for name, value in mistake.needs.items() if isinstance(value, bool)
    }:
        return found
    run = mistake.right_run(kind, SIZE, seed, **{"state": True, **options}).astype(dtype)
    right, wrong = simulate(run), mistake.observed(run)
    for what, (name, digits) in product(OBSERVED, DIGITS.items()):
        y, seen = (right, wrong) if what == "sequence" else (right[:, -1], wrong[:, -1])
        if what == "last" and wrong.shape != right.shape:
            continue
        begin = time.process_time()
        half = {"backward_half": True} if layer == HALF else {}
        check = examined(run, written(seen, digits), **half)
        told = outcome(mistake, y, seen, check, digits)
        causes = [cause.fault for cause in check.causes]
        label = (layer, dtype, what, name, mistake.fault, mistake.detail)
        found.append((label, told, causes, time.process_time() - begin))
    return found


def named_by_chance(seed):
    """Whether last outputs that have nothing to do with the layer get a cause."""
    rng = np.random.default_rng(seed)
    kind = [*KINDS][seed % len(KINDS)]
    size = (int(rng.integers(1, 7)), int(rng.integers(2, 9)), 3, int(rng.integers(1, 6)))
    run = right_run(size, rng, kind=kind, mask=bool(seed % 5 == 0) and size[0] > 1 and size[1] > 3)
    right = simulate(run)[:, -1]
    wrong = [
        rng.normal(size=right.shape) * np.abs(right).mean(),
        right[rng.permutation(len(right))][:, rng.permutation(right.shape[1])] + 0.03,
        right * rng.uniform(0.9, 1.1, right.shape),
        np.round(right + 0.05 * rng.normal(size=right.shape), 3),
    ][seed // 4 % 4]
    return len(examined(run, wrong.astype(np.float32)).causes) > 0


def excused_by_chance(seed):
    """Whether wrong numbers that merely look printed end in another verdict than diverged."""
    rng = np.random.default_rng(seed)
    kind = [*KINDS][seed % len(KINDS)]
    activation = ["relu", "tanh", "hard_sigmoid"][seed // 4 % 3]
    run = right_run((4, 9, 3, 4), rng, kind=kind, activation=activation)
    y = simulate(run)
    wrong = [
        simulate(run.but(kernel=run.kernel * np.float32(1e4))),
        np.round(127 * y) / np.float32(127),
        np.round(128 * y) / np.float32(128),
        np.where(y > 0.2, y, 0),
    ][seed // 12 % 4].astype(np.float32)
    off = np.abs(wrong.astype(float) - rp.replay(run.layer(), run.x).outputs).max()
    return off > 1e-3 and examined(run, wrong, why=False).verdict != "diverged"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--chance", type=int, metavar="N")
    given = parser.parse_args()
    if given.chance:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for what in (named_by_chance, excused_by_chance):
                found = [*pool.map(what, range(given.chance), chunksize=8)]
                print(f"{what.__name__}: {sum(found)} of {len(found)}", np.flatnonzero(found)[:9])
        return
    tasks = [*product(range(len(MISTAKES)), LAYERS, DTYPES, range(given.seeds))]
    table, slowest = {}, (0.0, ())
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(outcomes, tasks, chunksize=4):
            for label, told, causes, seconds in found:
                _, dtype, what, digits, *_ = label
                table.setdefault((what, digits, dtype), Counter())[told] += 1
                slowest = max(slowest, (seconds, label))
                if told in ("not named", "wrongly"):
                    print(told, *label, causes, flush=True)
    headers = ("observed", "digits", "dtype", *OUTCOMES)
    rows = [[*key, *(table[key][one] for one in OUTCOMES)] for key in sorted(table)]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
    told = sum(table.values(), Counter())
    share = told["named"] / (told["named"] + told["not named"] + told["wrongly"])
    print(f"named of what the numbers can tell: {share:.1%}; slowest: {slowest}")


if __name__ == "__main__":
    main()
