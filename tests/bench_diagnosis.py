"""How well mistakes are found and named, beside what the tolerances of other tools make of them.

`python tests/bench_diagnosis.py [--quick]` prints tables; it needs TensorFlow and PyTorch.
"""

import argparse
import itertools
import os
import sys
import time
from collections import Counter

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import torch
from corpus import MISTAKES, OUTSIDE, SIZES, Mistake, examined, reference, right_run, simulate
from tabulate import tabulate

import rnn_parity as rp
from rnn_parity.check import check_generated
from rnn_parity.generate import GeneratedLayer

CHANGED = 1e-4
"""A fault counts when it moves some output by so much of the largest."""
TOOLS = {
    "numpy.testing.assert_allclose": {"rtol": 1e-7, "atol": 0},
    "torch.testing.assert_close": {"rtol": 1.3e-6, "atol": 1e-5},
    "Keras (1e-6)": {"rtol": 1e-6, "atol": 1e-6},
    "ONNX (1e-3)": {"rtol": 1e-3, "atol": 1e-7},
}
OPTIONS = [
    {},
    {"mask": True},
    {"state": True},
    {"mask": True, "state": True, "go_backwards": True},
    {"mask": True, "zero_output_for_mask": True},
]


def says_other(tool, observed, expected):
    """Whether a tool with these tolerances calls the outputs different."""
    same_shape = observed.shape == expected.shape
    return not (same_shape and np.allclose(observed, expected, **TOOLS[tool]))


def cases(quick):
    """Every mistake on every size, activation and set of options that it can be made with."""
    sizes, activations = (SIZES[:2], ["tanh"]) if quick else (SIZES, ["tanh", "relu", "sigmoid"])
    some = OPTIONS[:2] if quick else OPTIONS
    every = itertools.product(range(len(MISTAKES)), sizes, activations, some)
    for seed, (i, size, activation, options) in enumerate(every):
        mistake, options = MISTAKES[i], {"activation": activation, **options}
        if mistake.fault == "activation-swapped" and mistake.detail == f" {activation}":
            continue
        if mistake.square:
            size = (*size[:2], size[3], size[3])
        if mistake.fault == "dropout-active":
            options["mask"] = False
        yield mistake, right_run(size, seed, **{**options, **mistake.options})


def injected(quick):
    """Faults of the catalogue: found and named, and what the other tools say."""
    count, missed, slow = Counter(), Counter(), 0.0
    failures = []
    for mistake, run in cases(quick):
        right, observed = simulate(run), mistake.observed(run)
        if right.shape == observed.shape:
            moved = np.abs(right - observed).max() / np.abs(right).max()
            if not moved > CHANGED:
                continue
        start = time.perf_counter()
        check = examined(run, observed)
        slow = max(slow, time.perf_counter() - start)
        named = [cause.fault for cause in check.causes]
        fits = any(mistake.detail in c.explanation for c in check.causes)
        count["runs"] += 1
        count["diverged"] += check.verdict == "diverged"
        count["named"] += mistake.fault in named and fits
        count["wrong"] += any(name != mistake.fault for name in named)
        if named != [mistake.fault] or not fits:
            failures.append(f"{where(run)}: {mistake.fault} {mistake.detail} -> {named}")
        for tool in TOOLS:
            missed[tool] += not says_other(tool, observed, reference(run))
    n = count["runs"]
    print(f"\n{n} injected faults of the catalogue")
    share = [[k, f"{count[k]} of {n}", f"{100 * count[k] / n:.2f}%"] for k in list(count)[1:]]
    print(tabulate(share), f"\nlongest diagnosis {slow:.2f} s")
    print(*failures, sep="\n")
    missed["rnn-parity"] = n - count["diverged"]
    return missed, n


def where(run):
    options = [n for n in ("mask", "state") if getattr(run, n) is not None]
    options += [n for n in ("go_backwards", "zero_output_for_mask") if getattr(run, n)]
    return f"{(*run.x.shape, run.kernel.shape[1])} {run.activation} {' '.join(options)}"


def outside(quick):
    """Mistakes that are not in the catalogue: no cause may be named."""
    named, total, verdicts = [], 0, Counter()
    for size, activation in itertools.product(SIZES[: 2 if quick else 3], ["tanh", "relu"]):
        for name, change in OUTSIDE.items():
            run = right_run(size, 7, activation=activation)
            check = examined(run, Mistake("", change).observed(run))
            total, verdicts[check.verdict] = total + 1, verdicts[check.verdict] + 1
            if check.causes:
                named.append(f"{where(run)}: {name} -> {check.causes[0].explanation}")
    print(f"\n{total} mistakes outside the catalogue: {dict(verdicts)}, {len(named)} given a cause")
    print(*named, sep="\n")


def torch_run(run):
    """The same layer in PyTorch."""
    features, units = run.kernel.shape
    rnn = torch.nn.RNN(features, units, nonlinearity=run.activation, batch_first=True)
    weights = (run.kernel.T, run.recurrent_kernel.T, run.bias, 0 * run.bias)
    with torch.no_grad():
        for parameter, value in zip(rnn.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(value.copy()))
        return rnn(torch.from_numpy(run.x))[0].numpy()


def unmodified(quick):
    """Right runs of TensorFlow and PyTorch: whatever is not parity is a false alarm."""
    rng = np.random.default_rng(0)
    verdicts, alarms, per_tool = Counter(), [], Counter()
    for seed in range(60 if quick else 600):
        size = tuple(int(2 ** rng.uniform(0, top)) for top in (6, 8.5, 6.5, 6.5))
        activation = rng.choice(["tanh", "relu"])
        gain = rng.choice([0.3, 0.8, 1.5, 3.0] if activation == "tanh" else [0.3, 0.8])
        run = right_run(size, seed, activation, gain=gain)
        run = run.but(x=run.x * np.float32(rng.choice([0.01, 1, 5])))
        observed = torch_run(run)
        check = examined(run, observed)
        verdicts[f"PyTorch {check.verdict}"] += 1
        if check.verdict != "parity":
            alarms.append(f"PyTorch {seed} {where(run)} {gain}: {check.verdict} {check.summary}")
        per_tool["rnn-parity"] += check.verdict in ("diverged", "suspect")
        for tool in TOOLS:
            per_tool[tool] += says_other(tool, observed, reference(run))
    for seed in range(50 if quick else 450):
        batch, timesteps, features, units = (
            int(2 ** rng.uniform(0, top)) for top in (5.5, 7.5, 6, 6)
        )
        names = [
            "tanh",
            "relu",
            "sigmoid",
            "softplus",
            "elu",
            "silu",
            "softsign",
            "gelu",
            "selu",
            "exponential",
        ]
        spec = GeneratedLayer(
            units=units,
            batch=batch,
            timesteps=timesteps,
            features=features,
            seed=seed,
            arguments={"activation": str(rng.choice(names)), "go_backwards": bool(seed % 3 == 0)},
            mask=str(rng.choice(["none", "none", "right", "left", "random"])),
            initial_state=str(rng.choice(["zeros", "random"])),
        )
        mode = str(rng.choice(["eager", "eager", "graph", "graph", "xla"]))
        check = check_generated(spec, mode=mode).checks[0]
        verdicts[f"TensorFlow {mode} {check.verdict}"] += 1
        if check.verdict != "parity":
            alarms.append(f"{mode} {spec}: {check.verdict} {check.summary}")
    print(f"\n{sum(verdicts.values())} unmodified runs: {dict(sorted(verdicts.items()))}")
    print(*alarms, sep="\n")
    return per_tool, 60 if quick else 600


def times():
    """Diagnosis where nothing explains the numbers (the longest way), and sensitivity."""
    for size in [(32, 28, 32, 16), (64, 512, 128, 256)]:
        run = right_run(size)
        observed = Mistake("", OUTSIDE["shuffled batch"]).observed(run)
        start = time.perf_counter()
        examined(run, observed)
        print(f"diagnosis of {size}: {time.perf_counter() - start:.2f} s")
    for size in [(32, 28, 32, 16), (64, 512, 128, 256)]:
        names = ("batch", "timesteps", "features", "units")
        check_generated(GeneratedLayer(**dict(zip(names, size, strict=True))))
        start = time.perf_counter()
        check = check_generated(GeneratedLayer(**dict(zip(names, size, strict=True)))).checks[0]
        middle = time.perf_counter()
        seen = check.sensitivity
        blind = [spot.fault for spot in seen.blind]
        took, more = middle - start, time.perf_counter() - middle
        print(f"check of {size}: {took:.3f} s; sensitivity {more:.3f} s, {more / took:.2f} times")
        print(f"  sees {len(seen.visible)}, blind to {blind}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the corpus")
    parser.add_argument("--only", choices=["injected", "outside", "unmodified", "times"])
    options = parser.parse_args()
    print(f"rnn-parity {rp.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}")
    wanted = [options.only] if options.only else ["times", "outside", "injected", "unmodified"]
    if "times" in wanted:
        times()
    if "outside" in wanted:
        outside(options.quick)
    found = {
        name: function(options.quick)
        for name, function in (("injected", injected), ("unmodified", unmodified))
        if name in wanted
    }
    if len(found) == 2:
        (missed, faults), (alarms, runs) = found["injected"], found["unmodified"]
        lines = [[tool, missed[tool], alarms[tool]] for tool in ("rnn-parity", *TOOLS)]
        head = ["tool", f"missed of {faults} faults", f"false alarms of {runs} right runs"]
        print(tabulate(lines, head))


if __name__ == "__main__":
    main()
