"""How many mistakes are named, by what was observed of them: `python tests/measure_causes.py`.

Every mistake of `mistakes` on every kind of layer, of which the whole sequence of outputs was
observed or the last one alone, exact or printed with 9, 6 or 4 digits, in float32 or float16. The
numbers cannot tell a mistake where they do not diverge, or where it moves them by less than ten
units of the last printed digit. Prints the table of the manual.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict

import numpy as np
from corpus import examined, simulate
from mistakes import MISTAKES
from tabulate import tabulate

SIZE = (6, 12, 5, 6)
DIGITS = {"exact": None, "9": 9, "6": 6, "4": 4}
FREE = (
    "weights-differ",
    "dropout-active",
    "features-permuted",
    "bias-differs",
    "first-state-differs",
)
"""Mistakes with free parameters, which a last output alone does not name."""


def written(y, digits):
    """As it comes out of a program that prints so many digits."""
    if digits is None:
        return y
    if digits == 9:
        return np.vectorize(lambda v: float(f"{v:.9g}"))(y.astype(float))
    return np.round(y.astype(float), digits)


def outcome(mistake, right, wrong, check, digits, last):
    moved = np.abs(right - wrong).max() if right.shape == wrong.shape else np.inf
    named = {one for cause in check.causes for one in cause.fault.split("+")}
    if mistake.fault in named:
        return "named"
    if named:
        return "wrongly"
    if check.verdict != "diverged":
        return "cannot tell"
    if digits is not None and digits != 9 and not moved > 10 * 10.0**-digits:
        return "cannot tell"
    if last and mistake.fault in FREE:
        return "cannot tell"
    return "not named"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--fault", action="append")
    parser.add_argument("--digits", action="append")
    parser.add_argument("--what", action="append")
    given = parser.parse_args()
    table, misses, slow = defaultdict(Counter), [], []
    for seed in range(given.seeds):
        for m in MISTAKES:
            for kind in m.kinds:
                if (given.kind and kind not in given.kind) or (
                    given.fault and m.fault not in given.fault
                ):
                    continue
                run = m.right_run(kind, SIZE, seed, state=True)
                y, wrong = simulate(run), m.observed(run)
                for what in given.what or ("sequence", "last"):
                    if what == "last" and wrong.shape[1:] != y.shape[1:] and wrong.shape != y.shape:
                        continue
                    r, w = (y, wrong) if what == "sequence" else (y[:, -1], wrong[:, -1])
                    for name in given.digits or DIGITS:
                        begin = time.process_time()
                        check = examined(run, written(w, DIGITS[name]))
                        took = time.process_time() - begin
                        slow.append((took, kind, m.fault, what, name))
                        found = outcome(m, r, w, check, DIGITS[name], what == "last")
                        table[what, name][found] += 1
                        if found in ("not named", "wrongly"):
                            misses.append(
                                (
                                    found,
                                    kind,
                                    m.fault,
                                    m.detail,
                                    what,
                                    name,
                                    [c.fault for c in check.causes],
                                    check.summary[:90],
                                )
                            )
    for miss in misses:
        print(*miss)
    heads = ("named", "not named", "wrongly", "cannot tell")
    print(
        tabulate(
            [[*key, *(c[h] for h in heads)] for key, c in table.items()],
            ["observed", "digits", *heads],
        )
    )
    print(sum(s[0] for s in slow), sorted(slow)[-6:])


if __name__ == "__main__":
    sys.exit(main())
