"""Dropout masks in the replay: a hand-written float32 loop that has them, right and wrong."""

import numpy as np
import pytest
from hand_case import make

import rnn_parity as rp
from rnn_parity.api.examination import examine
from rnn_parity.api.recorded import check_case
from rnn_parity.bounds import step_bound
from rnn_parity.cases.case import read_case, write_case
from rnn_parity.recurrence.sequences import NO_DROPOUT, Dropout, Sequences
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

B, T, F, H = 4, 7, 3, 5
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3, "GRU before": 3}
KEPT = np.float32(1 / (1 - 0.4))
every_kind = pytest.mark.parametrize("kind", GATES)
gated = pytest.mark.parametrize("kind", [kind for kind in GATES if kind != "SimpleRNN"])


def numbers(rng, *shape):
    return rng.normal(scale=0.6, size=shape).astype("float32")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Loop:
    """A layer of one kind with masks for a batch; `step` is the textbook's, gate by gate."""

    def __init__(self, kind, seed=0):
        rng, self.kind, gates = np.random.default_rng(seed), kind, GATES[kind]
        self.U, self.W = numbers(rng, gates, F, H), numbers(rng, gates, H, H)
        self.b, self.rb = numbers(rng, gates, H), numbers(rng, gates, H)
        self.x, self.h, self.c = numbers(rng, B, T, F), numbers(rng, B, H), numbers(rng, B, H)
        self.inputs, self.state = (
            KEPT * (rng.random((gates, B, n)) < 0.6).astype("float32") for n in (F, H)
        )
        self.on_carried = None  # a mask that has no business on `z h`

    def layer(self):
        kernel, recurrent, bias, other = (
            np.concatenate(list(w), axis=-1) for w in (self.U, self.W, self.b, self.rb)
        )
        if self.kind in ("SimpleRNN", "LSTM"):
            return getattr(rp, self.kind)(kernel, recurrent, bias)
        after = self.kind == "GRU"
        return rp.GRU(
            kernel, recurrent, np.stack([bias, other]) if after else bias, reset_after=after
        )

    def step(self, x, h, c):
        X = [x * m @ U + b for m, U, b in zip(self.inputs, self.U, self.b, strict=True)]
        R = [h * m @ W for m, W in zip(self.state, self.W, strict=True)]
        if self.kind == "SimpleRNN":
            return np.tanh(X[0] + R[0]), c
        if self.kind == "LSTM":
            i, f, g, o = (a + b for a, b in zip(X, R, strict=True))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            return sigmoid(o) * np.tanh(c), c
        if self.kind == "GRU":
            R = [r + b for r, b in zip(R, self.rb, strict=True)]
        z, r = sigmoid(X[0] + R[0]), sigmoid(X[1] + R[1])
        last = r * R[2] if self.kind == "GRU" else (r * (h * self.state[2])) @ self.W[2]
        carried = h if self.on_carried is None else h * self.on_carried
        return z * carried + (1 - z) * np.tanh(X[2] + last), c

    def outputs(self):
        h, c, found = self.h, self.c, []
        for t in range(T):
            h, c = self.step(self.x[:, t], h, c)
            found.append(h)
        return np.stack(found, axis=1)

    def sequences(self, dropout):
        states = (self.h, self.c)[: 1 + (self.kind == "LSTM")]
        return Sequences.of(self.layer(), self.x, None, states, dropout)

    def check(self, outputs, dropout=None):
        """The package's check of `outputs`, by default with the masks of this loop."""
        sequences = self.sequences(dropout or Dropout.of(self.inputs, self.state))
        return examine(self.layer(), sequences, Observations(outputs), Subject())

    def verdict(self, dropout):
        """The same without its causes, of what this loop computes."""
        observed = Observations(self.outputs())
        return judge(self.layer(), self.sequences(dropout), observed, Subject()).check.verdict


@every_kind
@pytest.mark.parametrize("seed", range(5))
def test_right_masks_are_in_parity(kind, seed):
    loop = Loop(kind, seed)
    check = loop.check(loop.outputs())
    assert check.verdict == "parity"
    assert "dropout-ignored" in check.sensitivity.visible


def test_under_masks_all_samples_are_looked_at_together(monkeypatch):
    monkeypatch.setattr(step_bound, "AT_A_TIME", 1)
    loop = Loop("LSTM")
    assert loop.check(loop.outputs()).verdict == "parity"


def half(a):
    return a.astype("float16").astype("float32")


@pytest.mark.parametrize("seed", range(4))
def test_in_16_bits_an_operand_is_rounded_on_its_mask(seed):
    """Sums in float32, results in float16: where terms cancel, what is left is of the operands."""
    rng = np.random.default_rng(seed)
    U, W, x, h = (half(numbers(rng, *s)) for s in ((40, 32), (32, 32), (64, 1, 40), (64, 32)))
    masks = [half(KEPT * (rng.random((1, 64, n)) < 0.6)) for n in (40, 32)]
    products = [
        half(half(a * m[0]) @ w) for a, m, w in zip((x[:, 0], h), masks, (U, W), strict=True)
    ]
    outputs = half(sum(products))[:, np.newaxis]
    layer = rp.SimpleRNN(U, W, activation=None, dtype="float16")
    sequences = Sequences.of(layer, x, None, h, Dropout.of(*masks))
    check = judge(layer, sequences, Observations(outputs), Subject()).check
    assert (check.verdict, check.arithmetic) == ("parity", "float16, sums in float32")


@every_kind
def test_masks_left_out_are_named(kind):
    loop = Loop(kind)
    right = Dropout.of(loop.inputs, loop.state)
    loop.inputs, loop.state = np.ones_like(loop.inputs), np.ones_like(loop.state)
    (cause,) = loop.check(loop.outputs(), right).causes
    assert cause.fault == "dropout-ignored"
    loop = Loop(kind)
    loop.state = np.ones_like(loop.state)
    (cause,) = loop.check(loop.outputs(), right).causes
    assert "that of the state" in cause.explanation


def swapped_gates(loop):
    loop.state = loop.state[[1, 0, *range(2, len(loop.state))]]


def one_for_all_gates(loop):
    loop.inputs = np.stack([loop.inputs[0]] * len(loop.inputs))


@gated
@pytest.mark.parametrize("change", [swapped_gates, one_for_all_gates])
def test_masks_of_other_gates_diverge(kind, change):
    loop = Loop(kind)
    right = Dropout.of(loop.inputs, loop.state)
    change(loop)
    assert loop.verdict(right) == "diverged"


def unscaled(loop):
    loop.inputs = (loop.inputs > 0).astype("float32")


def scaled_by_the_wrong_share(loop):
    loop.state = loop.state * np.float32(0.6 / 0.4)


def of_another_sample(loop):
    loop.inputs = loop.inputs[:, ::-1]


def one_unit_more(loop):
    g, b, k = np.argwhere(loop.state == 0)[0]
    loop.state[g, b, k] = KEPT


@every_kind
@pytest.mark.parametrize(
    "change", [unscaled, scaled_by_the_wrong_share, of_another_sample, one_unit_more]
)
def test_other_masks_diverge(kind, change):
    loop = Loop(kind)
    right = Dropout.of(loop.inputs.copy(), loop.state.copy())
    change(loop)
    assert loop.verdict(right) == "diverged"


@pytest.mark.parametrize("kind", ["GRU", "GRU before"])
def test_a_mask_on_the_state_that_is_carried_over_diverges(kind):
    loop = Loop(kind)
    loop.on_carried = loop.state[0]
    assert loop.verdict(Dropout.of(loop.inputs, loop.state)) == "diverged"


@every_kind
def test_outputs_one_step_early_are_named_with_masks_too(kind):
    loop = Loop(kind)
    causes = loop.check(np.roll(loop.outputs(), -1, axis=1)).causes
    assert [cause.fault for cause in causes] == ["time-shifted"]


def test_no_masks_are_no_dropout_for_some_samples_too():
    assert Dropout.of(None, None) is NO_DROPOUT
    assert NO_DROPOUT.samples(slice(1)) is NO_DROPOUT


# By hand, with masks of 2 for the inputs and m for the state: h0 = 1*2*2 + 1 = 5, then
# h1 = 3*2*2 + 5*m*0.5 + 1.
@pytest.mark.parametrize(("m", "last"), [(0, 13), (2, 18)])
def test_a_case_with_masks(tmp_path, m, last):
    masks = {"dropout_inputs": np.float32([[[2]]]), "dropout_recurrent": np.float32([[[m]]])}
    outputs = np.float32([[[5], [last]]])
    path = tmp_path / "case.npz"
    write_case(path, make(outputs=outputs, final_state=(outputs[:, -1],), **masks))
    case = read_case(path)
    assert {name: getattr(case, name).tolist() for name in masks} == {
        "dropout_inputs": [[[2.0]]],
        "dropout_recurrent": [[[float(m)]]],
    }
    (check,) = check_case(path, keras=False).checks
    assert check.verdict == "parity"
    assert any("in training" in note for note in check.notes)
    write_case(path, make(outputs=outputs, final_state=(outputs[:, -1],)))
    assert check_case(path, keras=False).verdict == "diverged"
