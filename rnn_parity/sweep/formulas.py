"""The recurrences and activations as text: what a script of its own computes them with.

They are written for the reader of a bug report, in NumPy and `math` alone, and hold for numbers of
ordinary size; `cells` and `functions` are what the checks themselves rest on.
"""

from __future__ import annotations

SLOPE = {"2": "np.clip(0.2 * z + 0.5, 0, 1)", "3": "np.clip(z / 6 + 0.5, 0, 1)"}
"""hard_sigmoid, by the generation of Keras."""

ACTIVATIONS = {
    "linear": "z",
    "tanh": "np.tanh(z)",
    "sigmoid": "1 / (1 + np.exp(-z))",
    "relu": "np.maximum(z, 0)",
    "relu6": "np.clip(z, 0, 6)",
    "ThresholdedReLU": "np.where(z > 1, z, 0)",
    "leaky_relu": "np.where(z > 0, z, 0.2 * z)",
    "LeakyReLU": "np.where(z > 0, z, 0.3 * z)",
    "hard_tanh": "np.clip(z, -1, 1)",
    "hard_silu": f"z * {SLOPE['3']}",
    "hard_shrink": "np.where(np.abs(z) > 0.5, z, 0)",
    "soft_shrink": "np.sign(z) * np.maximum(np.abs(z) - 0.5, 0)",
    "softsign": "z / (1 + np.abs(z))",
    "softplus": "np.log1p(np.exp(z))",
    "log_sigmoid": "-np.log1p(np.exp(-z))",
    "elu": "np.where(z > 0, z, np.expm1(z))",
    "celu": "np.where(z > 0, z, np.expm1(z))",
    "selu": "1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z))",
    "exponential": "np.exp(z)",
    "silu": "z / (1 + np.exp(-z))",
    "gelu": "z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2",
    "mish": "z * np.tanh(np.log1p(np.exp(z)))",
    "tanh_shrink": "z - np.tanh(z)",
    "squareplus": "(z + np.sqrt(z * z + 4)) / 2",
    "sparse_plus": "np.where(z < -1, 0, np.where(z < 1, (z + 1) ** 2 / 4, z))",
    "sparse_sigmoid": "np.clip((z + 1) / 2, 0, 1)",
    "softmax": "np.exp(z) / np.exp(z).sum(-1, keepdims=True)",
    "log_softmax": "z - np.log(np.exp(z).sum(-1, keepdims=True))",
    # The threshold is the largest of (the sum of the k largest - 1) / k.
    "sparsemax": "np.maximum(z - np.max((np.cumsum(-np.sort(-z), -1) - 1)"
    " / np.arange(1, z.shape[-1] + 1), -1, keepdims=True), 0)",
}
ALIASES = {
    "swish": "silu",
    "hard_swish": "hard_silu",
    "ELU": "elu",
    "ReLU": "relu",
    "Softmax": "softmax",
}

STEPS = {
    "simple_rnn": """\
def step(x, weights, h):
    U, W, b = weights
    return (a(x @ U + h @ W + b),)
""",
    "lstm": """\
def step(x, weights, h, c):
    U, W, b = weights
    i, f, g, o = np.split(x @ U + h @ W + b, 4, axis=-1)
    c = s(f) * c + s(i) * a(g)
    return s(o) * a(c), c
""",
    "gru": """\
def step(x, weights, h):
    U, W, b = weights
    xz, xr, xh = np.split(x @ U + b[0], 3, axis=-1)
    hz, hr, hh = np.split(h @ W + b[1], 3, axis=-1)
    z, r = s(xz + hz), s(xr + hr)
    return (z * h + (1 - z) * a(xh + r * hh),)
""",
    "gru, reset_after=False": """\
def step(x, weights, h):
    U, W, b = weights
    n = h.shape[-1]
    xz, xr, xh = np.split(x @ U + b, 3, axis=-1)
    z, r = s(xz + h @ W[:, :n]), s(xr + h @ W[:, n : 2 * n])
    return (z * h + (1 - z) * a(xh + (r * h) @ W[:, 2 * n :]),)
""",
}


def formula(activation: str, keras: str) -> str:
    """An expression in z; `keras` is the version in which the activation has this name."""
    if activation == "hard_sigmoid":
        return SLOPE["2" if keras.startswith("2") else "3"]
    return ACTIVATIONS[ALIASES.get(activation, activation)]
