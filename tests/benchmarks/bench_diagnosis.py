"""How well mistakes are found and named, beside what the tolerances of other tools make of them.

`bench_diagnosis.py [--quick] [--layer gru]` prints tables; it needs TensorFlow and
PyTorch.
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
from corpus import GRU, LSTM, examined, reference, right_run, simulate
from mistakes import MISTAKES, OF_ANY, OUTSIDE, observed
from tabulate import tabulate

import rnn_parity as rp
from rnn_parity.api.functions import check_generated
from rnn_parity.api.generated import GeneratedLayer

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

SIZES = [(2, 5, 3, 4), (32, 28, 32, 16), (4, 200, 64, 64)]
LAYERS = {"simple_rnn": ["SimpleRNN"], "lstm": ["LSTM"], "gru": ["GRU", "GRU, reset before"]}


def says_other(tool, observed, expected):
    """Whether a tool with these tolerances calls the outputs different."""
    same_shape = observed.shape == expected.shape
    return not (same_shape and np.allclose(observed, expected, **TOOLS[tool]))


def cases(layer, quick):
    """Every mistake on every size, activation and set of options that it can be made with."""
    sizes, activations = (SIZES[:2], ["tanh"]) if quick else (SIZES, ["tanh", "relu", "sigmoid"])
    some = OPTIONS[:2] if quick else OPTIONS
    mistakes = [(kind, m) for kind in LAYERS[layer] for m in MISTAKES if kind in m.kinds]
    every = itertools.product(range(len(mistakes)), sizes, activations, some)
    for seed, (i, size, activation, options) in enumerate(every):
        kind, mistake = mistakes[i]
        options = {"activation": activation, **options}
        if mistake.fault == "activation-swapped" and mistake.detail == f" {activation}":
            continue
        if mistake.fault == "dropout-active":
            options["mask"] = False
        yield mistake, mistake.right_run(kind, size, seed, **options)


def injected(layer, quick):
    """Faults of the catalogue: found and named, and what the other tools say."""
    count, missed, slow = Counter(), Counter(), 0.0
    failures = []
    for mistake, run in cases(layer, quick):
        right, wrong = simulate(run), mistake.observed(run)
        if right.shape == wrong.shape:
            moved = np.abs(right - wrong).max() / np.abs(right).max()
            if not moved > CHANGED:
                continue
        start = time.process_time()
        check = examined(run, wrong)
        slow = max(slow, time.process_time() - start)
        named = [cause.fault for cause in check.causes]
        fits = any(mistake.detail in c.explanation for c in check.causes)
        count["runs"] += 1
        count["diverged"] += check.verdict == "diverged"
        count["named"] += mistake.fault in named and fits
        count["wrong"] += any(name != mistake.fault for name in named)
        if named != [mistake.fault] or not fits:
            failures.append(f"{where(run)}: {mistake.fault} {mistake.detail} -> {named}")
        for tool in TOOLS:
            missed[tool] += not says_other(tool, wrong, reference(run))
    n = count["runs"]
    print(f"\n{n} injected faults of the catalogue, {layer}")
    share = [[k, f"{count[k]} of {n}", f"{100 * count[k] / n:.2f}%"] for k in list(count)[1:]]
    print(tabulate(share), f"\nlongest diagnosis {slow:.2f} s of processor time")
    print(*failures, sep="\n")
    missed["rnn-parity"] = n - count["diverged"]
    return missed, n


def where(run):
    options = [n for n in ("mask", "state") if getattr(run, n) is not None]
    options += [n for n in ("go_backwards", "zero_output_for_mask") if getattr(run, n)]
    return f"{(*run.x.shape, len(run.recurrent_kernel))} {run.activation} {' '.join(options)}"


def outside(layer, quick):
    """Mistakes that are not in the catalogue: no cause may be named."""
    named, total, verdicts = [], 0, Counter()
    for size, activation in itertools.product(SIZES[: 2 if quick else 3], ["tanh", "relu"]):
        for kind in LAYERS[layer]:
            for name, change in OUTSIDE[kind].items():
                run = right_run(size, 7, activation, kind=kind)
                check = examined(run, observed(run, change))
                total, verdicts[check.verdict] = total + 1, verdicts[check.verdict] + 1
                if check.causes:
                    named.append(f"{where(run)}: {name} -> {check.causes[0].explanation}")
    found = f"{dict(verdicts)}, {len(named)} given a cause"
    print(f"\n{total} mistakes outside the catalogue, {layer}: {found}")
    print(*named, sep="\n")


def torch_run(run):
    """The same layer in PyTorch."""
    units, features = len(run.recurrent_kernel), len(run.kernel)
    kind, order, biases = torch.nn.RNN, [0], (run.bias, 0 * run.bias)
    if isinstance(run, LSTM):
        kind, order = torch.nn.LSTM, [0, 1, 2, 3]
    elif isinstance(run, GRU):
        kind, order, biases = torch.nn.GRU, [1, 0, 2], run.bias
    options = {"nonlinearity": run.activation} if kind is torch.nn.RNN else {}
    rnn = kind(features, units, batch_first=True, **options)
    with torch.no_grad():
        weights = (run.kernel.T, run.recurrent_kernel.T, *biases)
        for parameter, value in zip(rnn.parameters(), weights, strict=True):
            gates = np.split(value, len(order))
            parameter.copy_(torch.from_numpy(np.concatenate([gates[g] for g in order])))
        return rnn(torch.from_numpy(run.x))[0].numpy()


def unmodified(layer, quick):
    """Right runs of TensorFlow and PyTorch: whatever is not parity is a false alarm."""
    rng = np.random.default_rng(0)
    verdicts, alarms, per_tool = Counter(), [], Counter()
    for seed in range(60 if quick else 600):
        size = tuple(int(2 ** rng.uniform(0, top)) for top in (6, 8.5, 6.5, 6.5))
        activation = rng.choice(["tanh", "relu"]) if layer == "simple_rnn" else "tanh"
        gain = rng.choice([0.3, 0.8, 1.5, 3.0] if activation == "tanh" else [0.3, 0.8])
        run = right_run(size, seed, activation, gain=gain, kind=LAYERS[layer][0])
        run = run.but(x=run.x * np.float32(rng.choice([0.01, 1, 5])))
        outputs = torch_run(run)
        check = examined(run, outputs)
        verdicts[f"PyTorch {check.verdict}"] += 1
        if check.verdict != "parity":
            alarms.append(f"PyTorch {seed} {where(run)} {gain}: {check.verdict} {check.summary}")
        per_tool["rnn-parity"] += check.verdict in ("diverged", "suspect")
        for tool in TOOLS:
            per_tool[tool] += says_other(tool, outputs, reference(run))
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
        arguments = {"activation": str(rng.choice(names)), "go_backwards": bool(seed % 3 == 0)}
        if layer == "gru":
            arguments["reset_after"] = bool(seed % 2)
        spec = GeneratedLayer(
            layer=layer,
            units=units,
            batch=batch,
            timesteps=timesteps,
            features=features,
            seed=seed,
            arguments=arguments,
            mask=str(rng.choice(["none", "none", "right", "left", "random"])),
            initial_state=str(rng.choice(["zeros", "random"])),
        )
        mode = str(rng.choice(["eager", "eager", "graph", "graph", "xla"]))
        check = check_generated(spec, mode=mode).checks[0]
        verdicts[f"TensorFlow {mode} {check.verdict}"] += 1
        if check.verdict != "parity":
            alarms.append(f"{mode} {spec}: {check.verdict} {check.summary}")
    print(f"\n{sum(verdicts.values())} unmodified runs, {layer}: {dict(sorted(verdicts.items()))}")
    print(*alarms, sep="\n")
    return per_tool, 60 if quick else 600


def times(layer, quick):
    """Diagnosis where nothing explains the numbers (the longest way), and sensitivity."""
    names = ("batch", "timesteps", "features", "units")
    for size in [(32, 28, 32, 16), (64, 512, 128, 256)][: 1 if quick else 2]:
        run = right_run(size, kind=LAYERS[layer][0])
        outputs = observed(run, OF_ANY["shuffled batch"])
        start, used = time.perf_counter(), time.process_time()
        examined(run, outputs)
        took, used = time.perf_counter() - start, time.process_time() - used
        print(f"{layer}: diagnosis of {size}: {took:.2f} s, of the processor {used:.2f} s")
        spec = GeneratedLayer(layer, **dict(zip(names, size, strict=True)))
        check_generated(spec)
        start = time.perf_counter()
        check = check_generated(spec).checks[0]
        middle = time.perf_counter()
        seen = check.sensitivity
        blind = [spot.fault for spot in seen.blind]
        took, more = middle - start, time.perf_counter() - middle
        print(f"check of {size}: {took:.3f} s; sensitivity {more:.3f} s, {more / took:.2f} times")
        print(f"  sees {len(seen.visible)}, blind to {blind}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the corpus")
    parts = (times, outside, injected, unmodified)
    parser.add_argument("--only", choices=[part.__name__ for part in parts])
    parser.add_argument("--layer", choices=LAYERS, help="one of the layers instead of all")
    options = parser.parse_args()
    print(f"rnn-parity {rp.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}")
    for layer in [options.layer] if options.layer else LAYERS:
        found = {
            part.__name__: part(layer, options.quick)
            for part in parts
            if options.only in (None, part.__name__)
        }
        if options.only is None:
            compared(layer, *found["injected"], *found["unmodified"])


def compared(layer, missed, faults, alarms, runs):
    """The same judged by the tolerances of other tools."""
    lines = [[tool, missed[tool], alarms[tool]] for tool in ("rnn-parity", *TOOLS)]
    head = [layer, f"missed of {faults} faults", f"false alarms of {runs} right runs"]
    print(tabulate(lines, head))


if __name__ == "__main__":
    main()
