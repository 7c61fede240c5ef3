"""Implied weights of LSTM and GRU: a millionth in one weight of one gate, and silence otherwise."""

import numpy as np
import pytest
from rnn_parity.diagnosis.derivatives import Derivatives

import rnn_parity as rp
from rnn_parity.bounds.observed import observed_steps
from rnn_parity.diagnosis import implied_weights as implied
from rnn_parity.diagnosis.equations import changed_at, joined, pieces, stacked, value, where
from rnn_parity.recurrence.sequences import Sequences

KINDS = {"LSTM": (rp.LSTM, {}, 4, ()), "GRU": (rp.GRU, {}, 3, (2,))}
KINDS["GRU before"] = (rp.GRU, {"reset_after": False}, 3, ())
every_kind = pytest.mark.parametrize("kind", KINDS)


def random_weights(kind, rng, features, units):
    _, _, gates, rows = KINDS[kind]
    width = gates * units
    weights = {
        "kernel": rng.normal(scale=features**-0.5, size=(features, width)),
        "recurrent_kernel": rng.normal(scale=units**-0.5, size=(units, width)),
        "bias": rng.normal(scale=0.3, size=(*rows, width)),
    }
    return {name: array.astype(np.float32) for name, array in weights.items()}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def float32_loop(kind, weights, x):
    """The outputs of a plain loop in float32."""
    kernel, recurrent, bias = weights.values()
    units = len(recurrent)
    h = c = np.zeros((len(x), units), np.float32)
    outputs = []
    for t in range(x.shape[1]):
        if kind == "LSTM":
            i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            first, second = bias if kind == "GRU" else (bias, np.zeros_like(bias))
            xz, xr, xh = np.split(x[:, t] @ kernel + first, 3, axis=1)
            rz, rr, rh = np.split(h @ recurrent + second, 3, axis=1)
            z, r = sigmoid(xz + rz), sigmoid(xr + rr)
            part = r * rh if kind == "GRU" else (r * h) @ recurrent[:, 2 * units :]
            h = z * h + (1 - z) * np.tanh(xh + part)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def layer_of(kind, weights):
    make, options, _, _ = KINDS[kind]
    return make(*weights.values(), **options)


def case(kind, seed, size=(16, 100, 12, 10)):
    rng = np.random.default_rng(seed)
    weights = random_weights(kind, rng, size[2], size[3])
    return weights, rng.normal(size=size[:3]).astype(np.float32)


# Large enough to be certain, and small enough to be within rounding.
CHANGES = [
    *(("LSTM", "kernel", gate, amount) for gate, amount in ((0, 2e-6), (1, 5e-6), (3, 2e-6))),
    *(("LSTM", "recurrent_kernel", gate, 5e-6) for gate in range(4)),
    *(("GRU", "kernel", gate, amount) for gate, amount in ((0, 2e-6), (1, 5e-6))),
    *(("GRU", "recurrent_kernel", gate, 2e-6) for gate in range(3)),
    ("GRU before", "kernel", 0, 2e-6),
    *(("GRU before", "recurrent_kernel", gate, amount) for gate, amount in ((0, 5e-6), (1, 2e-6))),
]


@pytest.mark.parametrize(("kind", "name", "gate", "amount"), CHANGES)
def test_one_weight_of_one_gate(kind, name, gate, amount):
    weights, x = case(kind, 1)
    other = {n: w.copy() for n, w in weights.items()}
    index = (3, 10 * gate + 7)
    other[name][index] += np.float32(amount)
    check = rp.compare(layer_of(kind, weights), x, float32_loop(kind, other, x)).checks[0]
    assert check.verdict == "suspect"
    assert [cause.fault for cause in check.causes] == ["weights-differ"]
    assert f"{name}{list(index)} is" in check.causes[0].explanation
    (found,) = check.implied_weights
    assert (found.weight, found.index) == (name, index)
    assert found.sigma > 7
    assert found.implied - found.expected == pytest.approx(amount, rel=0.5)


@every_kind
@pytest.mark.parametrize("seed", range(6))
def test_a_right_run_implies_nothing(kind, seed):
    size = [(16, 100, 12, 10), (64, 9, 5, 30), (1, 900, 3, 4)][seed % 3]
    weights, x = case(kind, seed, size)
    check = rp.compare(layer_of(kind, weights), x, float32_loop(kind, weights, x)).checks[0]
    assert (check.verdict, check.implied_weights, check.causes) == ("parity", None, ())


@pytest.mark.parametrize("seed", [0, 3, 9, 10])
def test_rounding_that_a_long_memory_keeps_is_no_other_weight(seed):
    weights, x = case("LSTM", seed)
    weights["bias"][10:20] += np.float32(5)  # forget gates of 0.993: c keeps what it rounds
    check = rp.compare(layer_of("LSTM", weights), x, float32_loop("LSTM", weights, x)).checks[0]
    assert (check.verdict, check.implied_weights, check.causes) == ("parity", None, ())


@every_kind
def test_weights_printed_with_six_decimals(kind):
    weights, x = case(kind, 2)
    printed = {n: np.round(w.astype(float), 6).astype(np.float32) for n, w in weights.items()}
    check = rp.compare(layer_of(kind, weights), x, float32_loop(kind, printed, x)).checks[0]
    assert [cause.fault for cause in check.causes] == ["weights-rounded"]
    assert check.causes[0].explanation.endswith("rounded to 6 decimals")


def rows_of(layer, x, outputs):
    sequences = Sequences.of(layer, x)
    derivatives = Derivatives(layer, sequences)
    seen = observed_steps(layer, sequences, outputs)
    return joined([derivatives.equations(*one) for one in seen])


@every_kind
def test_the_derivative_is_that_of_the_step(kind):
    """Each weight moved a little, one at a time: what the residuals do, to first order."""
    weights, x = case(kind, 3, (2, 6, 3, 2))
    layer = layer_of(kind, weights)
    outputs = rp.replay(layer, x).outputs
    right, before = rows_of(layer, x, outputs), stacked(layer)
    for k in range(len(before)):
        for j in range(2):
            moved = changed_at(layer, {(k, j): value(layer, k, j) + 1e-6})
            change = stacked(moved) - before
            assert np.argwhere(change).tolist() == [[k, j]]
            # The layer with the moved weight, on the same states.
            residual = rows_of(moved, x, outputs).residual
            predicted = right.but_weights(change).residual
            np.testing.assert_allclose(residual, predicted, rtol=1e-4, atol=1e-13)


@every_kind
def test_the_gradient_is_that_of_the_squares(kind):
    """`gradient` holds, for every weight, the derivative that `but_weights` has forwards."""
    weights, x = case(kind, 4, (2, 6, 3, 2))
    layer = layer_of(kind, weights)
    rng = np.random.default_rng(0)
    outputs = rp.replay(layer, x).outputs + 1e-3 * rng.normal(size=(2, 6, 2))
    rows = rows_of(layer, x, outputs)
    change = rng.normal(size=stacked(layer).shape)
    predicted = rows.residual - rows.but_weights(change).residual
    assert np.vdot(rows.gradient, change) == pytest.approx(np.vdot(rows.residual, predicted))


@every_kind
def test_every_weight_has_a_place(kind):
    weights, _ = case(kind, 5, (2, 6, 3, 2))
    layer = layer_of(kind, weights)
    total = stacked(layer)
    assert len(total) == sum(piece.rows(layer) for piece in pieces(layer))
    places = [where(layer, k, j) for k in range(len(total)) for j in range(2)]
    assert len(set(places)) == total.size
    for name, index in places:
        assert np.isfinite(getattr(layer, name)[index])


def test_an_estimate_needs_no_more_equations_than_there_are():
    weights, x = case("LSTM", 6, (1, 3, 3, 2))
    layer = layer_of("LSTM", weights)
    rows = implied.rows(layer, Sequences.of(layer, x), rp.replay(layer, x).outputs)
    assert not np.isfinite(implied.estimate(rows).error).any()
