"""What any correct arithmetic can make of a formula is within its bound, for every cell.

A formula is evaluated once more, on numbers each of whose operations errs by nearly as much as it
may, either way or not at all (as a fused one does not); hidden states are computed once for the
output, and once more for what is carried to the next step.
"""

import numpy as np
import pytest
from own_cells import Averaged, Leaky, Minimal, Three, layer_of

import rnn_parity as rp
from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.step_bound import final_balls
from rnn_parity.recurrence.cells import GRU, LSTM, Cell, PeepholeLSTM, SimpleRNN
from rnn_parity.recurrence.formula import Bias, Lettered, Matrix, bound, split
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

pytestmark = pytest.mark.filterwarnings("error")
KINDS = {kind.__name__: (kind, {}) for kind in (SimpleRNN, LSTM, GRU, PeepholeLSTM)}
KINDS |= {kind.__name__: (kind, {}) for kind in (Minimal, Three, Averaged, Leaky)}
KINDS |= {
    "GRU before": (GRU, {"reset_after": False}),
    "LSTM, silu": (LSTM, {"activation": "silu"}),
    "LSTM, softmax": (LSTM, {"activation": "softmax", "recurrent_activation": "hard_sigmoid"}),
    "Three, relu": (Three, {"activation": "relu"}),
}
NEARLY = 0.98


class Erring(Lettered):
    """A number that errs in every operation."""

    def __init__(self, value, machine):
        self.value, self.machine = value, machine

    @property
    def shape(self):
        return self.value.shape

    def __getitem__(self, part):
        return Erring(self.value[part], self.machine)

    def __add__(self, other):
        return self.made(np.add, other.array if isinstance(other, Bias) else other)

    def __mul__(self, other):
        return self.made(np.multiply, other)

    def __sub__(self, other):
        return self.made(np.subtract, other)

    def __rsub__(self, other):
        return self.made(lambda a, b: b - a, other)

    def __neg__(self):
        return Erring(-self.value, self.machine)

    __radd__, __rmul__ = __add__, __mul__

    def made(self, operation, other):
        value = other.value if isinstance(other, Erring) else other
        if isinstance(value, float):
            value = float(self.machine.arithmetic.results.round(value))
        return Erring(self.machine.rounded(operation(self.value, value)), self.machine)


class Machine:
    """The arithmetic in which numbers err."""

    def __init__(self, layer, rng, arithmetic):
        self.layer, self.rng, self.arithmetic = layer, rng, arithmetic
        every = slice(0, layer.width)
        letters = {letter: self.applied(one) for letter, one in layer.letters.items()}
        letters |= {"b": Bias(layer.bias, every), **layer.vectors}
        letters |= {"U": Matrix(self.product(layer.kernel), every)}
        letters |= {"W": Matrix(self.product(layer.recurrent_kernel), every)}
        self.step = bound(layer.formula, letters)

    def off(self, size):
        return NEARLY * size * self.rng.choice([-1, 0, 1], np.shape(size))

    def rounded(self, value):
        return value + self.off(self.arithmetic.results.unit_roundoff * np.abs(value))

    def applied(self, activation):
        def apply(z):
            y = activation(z.value)
            u = self.arithmetic.results.unit_roundoff
            return Erring(y + self.off(activation.allowance(z.value, np.abs(y), u)), self)

        return apply

    def product(self, matrix):
        def times(a, columns):
            part = matrix[:, columns]
            sizes = np.abs(a.value) @ np.abs(part)
            sum_ = a.value @ part + self.off(len(part) * self.arithmetic.sums.unit_roundoff * sizes)
            return Erring(self.rounded(sum_) if self.arithmetic.narrow else sum_, self)

        return times

    def run(self, x, states, mask):
        """The outputs `(B, T, H)` and the final states."""
        own_output, outputs = self.layer.facts.own_output, []
        y = np.zeros_like(states[0])
        for t in range(x.shape[1]):
            given = [Erring(a, self) for a in (x[:, t], *states)]
            shown, carried = self.step(*given)[0], self.step(*given)
            new = carried[1:] if own_output else (shown, *carried[1:])
            keep = mask[:, t, np.newaxis]
            states = [np.where(keep, a.value, old) for a, old in zip(new, states, strict=True)]
            y = np.where(keep, shown.value, y)
            outputs.append(y)
        return np.stack(outputs, axis=1), states


@pytest.mark.parametrize(
    ("dtype", "masked", "steps"),
    [
        ("float32", False, 300),
        ("float32", True, 300),
        ("bfloat16", True, 40),
        ("float16", False, 40),
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_no_correct_arithmetic_leaves_its_bound(name, dtype, masked, steps):
    kind, options = KINDS[name]
    rng = np.random.default_rng(5)
    layer = layer_of(kind, rng, dtype=dtype, **options)
    if "f" in kind.GATES and layer.bias.ndim == 1:  # a state that is kept for long
        first = kind.GATES.index("f") * 4
        layer.bias[first : first + 4] += 6
    x = layer.precision.round(rng.normal(size=(3, steps, 3)))
    states = list(layer.precision.round(rng.uniform(-1, 1, (len(kind.STATES), 3, 4))))
    mask = rng.random((3, steps)) < (0.8 if masked else 2)
    sequences = Sequences.of(
        layer, x, mask if masked else None, states[0] if len(states) == 1 else states
    )
    for arithmetic in arithmetics(layer.precision):
        outputs, final = Machine(layer, rng, arithmetic).run(x, states, mask)
        observed = Observations(outputs, tuple(final))
        check = judge(layer, sequences, observed, Subject()).check
        assert 0.05 < check.max_ratio <= 1, (arithmetic.name, check.summary)
        few = sequences.first(12)
        outputs, final = Machine(layer, rng, arithmetic).run(x[:, :12], states, mask)
        balls = final_balls(layer, few, arithmetic)
        for seen, ball in zip((outputs[:, -1], *final), (balls[0], *balls[1]), strict=True):
            assert np.all(np.abs(seen - ball.value) <= ball.radius)


def negated(x, h, c, U, W, b, a, s):
    """An output that no arithmetic rounds."""
    z, g = split(x @ U + h @ W + b, 2)
    return -h, s(z) * c + a(g)


def test_an_output_that_is_known_exactly():
    members = {"GATES": ("z", "g"), "STATES": ("h", "c"), "formula": staticmethod(negated)}
    layer = layer_of(type("Negated", (Cell,), members), np.random.default_rng(0), dtype="float32")
    rng = np.random.default_rng(1)
    x, states = (np.float32(rng.normal(size=shape)) for shape in ((2, 5, 3), (2, 2, 4)))
    signs = np.float32([-1, 1, -1, 1, -1])[:, np.newaxis]
    outputs = signs * states[0][:, np.newaxis]
    assert rp.compare(layer, x, outputs, initial_state=states).verdict == "parity"
    outputs[0, 2, 1] = np.nextafter(outputs[0, 2, 1], np.float32(0))
    check = rp.compare(layer, x, outputs, initial_state=states).checks[0]
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 2)
