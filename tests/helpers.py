"""What several tests share: random layers, and implementations that sum in any legitimate order."""

from fractions import Fraction

import ml_dtypes
import numpy as np

import rnn_parity as rp
from rnn_parity.recurrence.sequences import Sequences

DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
FUNCTIONS = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
}


def random_weights(rng, features, units, dtype="float32", gain=0.8, bias=True):
    """Distinct random weights, representable in `dtype`, as keyword arguments of `SimpleRNN`."""
    shapes = {"kernel": (features, units), "recurrent_kernel": (units, units), "bias": (units,)}
    scales = {"kernel": 0.7, "recurrent_kernel": gain / np.sqrt(units), "bias": 0.3}
    values = {name: scales[name] * rng.normal(size=shape) for name, shape in shapes.items()}
    if not bias:
        values["bias"] = None
    return {n: None if v is None else v.astype(DTYPES[dtype]) for n, v in values.items()}


def random_layer(rng, features=3, units=4, activation="tanh", dtype="float32", **options):
    return rp.SimpleRNN(
        **random_weights(rng, features, units, dtype), activation=activation, dtype=dtype, **options
    )


def loop(weights, x, activation="tanh", state=None):
    """The textbook loop in the weights' own dtype: one more implementation, `(B, T, H)`."""
    dtype = weights["kernel"].dtype
    x, bias = x.astype(dtype), weights["bias"]
    shape = (len(x), weights["kernel"].shape[1])
    h = np.zeros(shape, dtype) if state is None else state.astype(dtype)
    outputs = np.empty((*x.shape[:2], shape[1]), dtype)
    for t in range(x.shape[1]):
        z = x[:, t] @ weights["kernel"] + h @ weights["recurrent_kernel"]
        h = FUNCTIONS[activation](z if bias is None else z + bias).astype(dtype)
        outputs[:, t] = h
    return outputs


def shuffled_loop(rng, weights, x, sums, results, fused, activation="tanh"):
    """The recurrence with all terms of a sum added in random order, in pairs chosen at random.

    Every partial sum is rounded to `sums`, the finished one and the activation's to `results`. A
    fused implementation does not round its products, the others do.
    """
    wide = {n: None if w is None else w.astype(np.float64) for n, w in weights.items()}
    h = np.zeros((len(x), weights["kernel"].shape[1]))
    outputs = []
    for t in range(x.shape[1]):
        terms = list(x[:, t, :, None].transpose(1, 0, 2) * wide["kernel"][:, None, :])
        terms += list(h[:, :, None].transpose(1, 0, 2) * wide["recurrent_kernel"][:, None, :])
        if not fused:
            terms = [rounded(term, sums) for term in terms]
        if wide["bias"] is not None:
            terms.append(np.broadcast_to(wide["bias"], h.shape))
        while len(terms) > 1:
            a, b = (terms.pop(rng.integers(len(terms))) for _ in range(2))
            terms.append(rounded(a + b, sums))
        z = rounded(rounded(terms[0], sums), results)
        h = rounded(FUNCTIONS[activation](z), results)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def rounded(x, dtype):
    """`x` rounded to `dtype` by NumPy or ml_dtypes, as float64."""
    return x.astype(DTYPES[dtype]).astype(np.float64)


def nearest(x, digits, min_exponent):
    """The number with so many significant bits nearest to the Fraction `x`, ties to even."""
    if x == 0:
        return Fraction(0)
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    if abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    ulp = Fraction(2) ** (max(exponent, min_exponent) - digits + 1)
    return round(x / ulp) * ulp


def in_blocks_of(monkeypatch, size):
    """Make every sequence go by in blocks of `size` timesteps."""

    def blocks(self, units, times=1):
        timesteps = self.shape[1]
        return (slice(t, min(t + size, timesteps)) for t in range(0, timesteps, size))

    monkeypatch.setattr(Sequences, "blocks", blocks)
