"""Measures how far real implementations of each activation are from the exact value.

Not a test. `measure_allowances.py [--quick] [NAME ...]` prints, for each activation,
dtype and implementation, in units of the dtype's unit roundoff u, underflow set aside:

    rel    the largest error / |y|                abs    the largest error
    a, b   the largest error / |y| where |y| >= 1/4, and the largest error elsewhere:
           `u (a |y| + b)` is an allowance
    extra  the largest error / `extra(z, |y|)`, where the catalogue has that term
    used   the largest part of the catalogue's allowance used: above 1 the constants are too small
    wrong  how many results are not finite where the exact value is (and at which input first)

Inputs are numbers of the dtype itself: all 65,536 for the 16-bit types, three million for float32
(uniform, normal, and log-spaced over the whole range). The reference is the catalogue's function in
float64; for float64 it is the same formula in 80-bit numbers (gelu: mpmath, on a few thousand).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import ml_dtypes
import mpmath
import numpy as np
import tensorflow as tf
import torch
from onnx_operators import ONNX, onnx_rnn, onnxruntime

from rnn_parity.implementations.onnx.operators import LOSES
from rnn_parity.recurrence.activations import CATALOGUE, Activation
from rnn_parity.recurrence.precision import FORMATS

DTYPES = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float64": np.float64,
}
WIDTHS = (1, 2, 16, 128, 512)

KERAS_2 = {
    "hard_sigmoid_keras2": lambda x: tf.clip_by_value(x * 0.2 + 0.5, 0.0, 1.0),
    "LeakyReLU": lambda x: tf.nn.leaky_relu(x, alpha=0.3),
    "ThresholdedReLU": lambda x: x * tf.cast(x > 1.0, x.dtype),
}
TORCH = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exponential": torch.exp,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.2),
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "hard_sigmoid": torch.nn.functional.hardsigmoid,
    "hard_silu": torch.nn.functional.hardswish,
    "hard_tanh": torch.nn.functional.hardtanh,
    "log_sigmoid": torch.nn.functional.logsigmoid,
    "tanh_shrink": torch.nn.functional.tanhshrink,
    "hard_shrink": torch.nn.functional.hardshrink,
    "soft_shrink": torch.nn.functional.softshrink,
}
for same in (
    "relu",
    "relu6",
    "softsign",
    "softplus",
    "elu",
    "celu",
    "selu",
    "silu",
    "gelu",
    "mish",
):
    TORCH[same] = getattr(torch.nn.functional, same)


def implementations(act: Activation, dtype: str) -> Iterator[tuple[str, Callable]]:
    """Every (name, NumPy array -> NumPy array) that computes this activation in this dtype."""
    function = KERAS_2.get(act.name) or getattr(keras.activations, act.name)
    for mode, f in {
        "TF eager": function,
        "TF graph": tf.function(function),
        "TF XLA": tf.function(function, jit_compile=True),
    }.items():
        yield mode, lambda x, f=f: f(tf.constant(x)).numpy()
    if act.name in TORCH:
        kind = getattr(torch, dtype)
        yield (
            "PyTorch",
            lambda x: TORCH[act.name](torch.tensor(wide(x)).to(kind)).to(torch.float64).numpy(),
        )
    if dtype == "float32":
        if act.name in ONNX:
            yield "ONNX Runtime", onnxruntime(*ONNX[act.name])
        if act.name in LOSES["RNN"]:
            # `used` is of the catalogue's allowance, to which `LOSES` adds what is found here as b.
            yield "ONNX RNN", onnx_rnn(ONNX[act.name][0])
        yield "NumPy", act.function


def wide(x: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # ml_dtypes, on NaN
        return x.astype(np.float64)


def points(dtype: str, count: int) -> np.ndarray:
    """Finite numbers of the dtype: all of them for 16 bits."""
    kind = DTYPES[dtype]
    if np.dtype(kind).itemsize == 2:
        x = np.arange(65536, dtype=np.uint16).view(kind)
    else:
        random, part = np.random.default_rng(0), count // 6
        largest = np.log2(FORMATS[dtype].largest)
        magnitudes = [
            np.exp2(random.uniform(low, high, part))
            for low, high in ((-30, 7), (FORMATS[dtype].min_exponent, largest))
        ]
        signed = [m * random.choice((-1, 1), part) for m in magnitudes]
        spreads = [random.uniform(-s, s, part) for s in (2, 20, 120)]
        corners = np.add.outer((0, 0.5, 1, 1.5, 2.5, 3, 6), np.arange(-50, 50) * 2.0**-24).ravel()
        x = np.concatenate([*signed, *spreads, random.normal(size=part), corners, -corners])
        x = x.astype(kind)
    return x[np.isfinite(wide(x))]


def vectors(dtype: str, count: int) -> Iterator[np.ndarray]:
    """Rows of several widths and scales, for functions of the whole unit axis."""
    random = np.random.default_rng(0)
    for width in WIDTHS:
        scale = np.geomspace(1e-3, 3e3, max(count // width // 20, 40))[:, None]
        yield (random.normal(size=(len(scale), width)) * scale).astype(DTYPES[dtype])
        # All but equal entries: every one of them counts in a sum.
        yield (1 + random.uniform(size=(len(scale), width)) * scale / 3e4).astype(DTYPES[dtype])


def exact(act: Activation, x: np.ndarray) -> np.ndarray:
    if x.dtype != np.float64:
        return act(wide(x))
    if act.name == "gelu":
        y = np.maximum(x, 0).astype(np.longdouble)
        for i in np.flatnonzero(np.abs(x) < 40):  # further out it is 0 or x
            with mpmath.workdps(40):
                y[i] = np.longdouble(str(mpmath.mpf(x[i]) * mpmath.ncdf(x[i])))
        return y
    with np.errstate(all="ignore"):
        return act.function(x.astype(np.longdouble))


def measure(act: Activation, x: np.ndarray, computed: np.ndarray, dtype: str) -> dict[str, object]:
    """The columns that the module's docstring explains, for one batch of inputs."""
    form, y = FORMATS[dtype], exact(act, x)
    fair = np.isfinite(y) & (np.abs(y) <= form.largest)
    fine = fair & np.isfinite(wide(computed))
    with np.errstate(all="ignore"):
        error = np.abs(computed.astype(y.dtype) - y) - form.smallest_normal
        error = np.where(fine, np.maximum(error, 0), 0) / form.unit_roundoff
        size, large = np.abs(y), np.abs(y) >= 0.25
        allowed = act.allowance(wide(x), wide(size), 1.0)
        extra = act.extra(wide(x), wide(size)) if act.extra else None
        row = {
            "rel": np.nanmax(np.where(error > 0, error / size, 0)),
            "abs": error.max(),
            "a": np.nanmax(np.where(large & (error > 0), error / size, 0)),
            "b": np.where(large, 0, error).max(),
            "extra": 0.0 if extra is None else np.nanmax(np.where(error > 0, error / extra, 0)),
            "used": np.nanmax(np.where(error > 0, error / allowed, 0)),
        }
    wrong = fair & ~fine
    return {k: float(v) for k, v in row.items()} | {
        "wrong": int(wrong.sum()),
        "first": float(np.min(np.abs(wide(x[wrong])))) if wrong.any() else None,
    }


def merge(rows: list[dict]) -> dict:
    firsts = [r["first"] for r in rows if r["first"] is not None]
    worst = {k: max(r[k] for r in rows) for k in ("rel", "abs", "a", "b", "extra", "used")}
    return worst | {"wrong": sum(r["wrong"] for r in rows), "first": min(firsts, default=None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer points, float32 and 16 bit")
    parser.add_argument("names", nargs="*", metavar="NAME", help="activations (default: all)")
    options = parser.parse_args()
    packages = ("tensorflow", "keras", "torch", "onnxruntime", "numpy")
    print(", ".join(f"{p} {version(p)}" for p in packages))
    columns = ("rel", "abs", "a", "b", "extra", "used")
    print(f"{'activation':20}{'dtype':10}{'by':14}" + "".join(f"{c:>9}" for c in columns), "wrong")
    for name in options.names or CATALOGUE:
        act = CATALOGUE[name]
        if act.name == name:
            table(act, columns, 60_000 if options.quick else 3_000_000)


def table(act: Activation, columns: tuple[str, ...], count: int) -> None:
    for dtype in DTYPES:
        size = min(count, 6_000 if act.name == "gelu" else 300_000) if dtype == "float64" else count
        batches = list(vectors(dtype, size)) if act.coupling else [points(dtype, size)]
        for by, compute in implementations(act, dtype):
            try:
                with np.errstate(all="ignore"):
                    row = merge([measure(act, x, compute(x), dtype) for x in batches])
            except (ValueError, TypeError, tf.errors.OpError) as error:
                print(f"{act.name:20}{dtype:10}{by:14} cannot: {str(error).strip()[-200:]!r}")
                continue
            cells = "".join(f"{row[c]:9.3g}" for c in columns)
            wrong = f"{row['wrong']} from {row['first']:g}" if row["wrong"] else "0"
            print(f"{act.name:20}{dtype:10}{by:14}{cells} {wrong}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
