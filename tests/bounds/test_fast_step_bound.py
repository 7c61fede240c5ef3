"""The quick way near the replay against the general one, which it must not be sharper than."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import loop, random_weights

import rnn_parity as rp
from rnn_parity.bounds import first_order as fast_step_bound
from rnn_parity.bounds.arithmetic import arithmetics
from rnn_parity.bounds.balls import SLACK
from rnn_parity.bounds.first_order import SMALL, Argument, Near, NotNearError
from rnn_parity.bounds.observed import Observed
from rnn_parity.bounds.step_bound import Steps
from rnn_parity.recurrence.activations import WIDE
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.precision import FLOAT32
from rnn_parity.recurrence.replay import blocks
from rnn_parity.recurrence.sequences import Dropout, Sequences
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Subject

pytestmark = pytest.mark.filterwarnings("error")
(ARITHMETIC,) = arithmetics(FLOAT32)


def both_ways(activation, scale=1.0, features=3, units=5, bias=True, change=0.0):
    """The quick steps (or None), and the general ball with what was observed, of one block."""
    rng = np.random.default_rng(3)
    weights = random_weights(rng, features, units, "float32", bias=bias)
    weights["kernel"] *= np.float32(scale)
    if bias:
        weights["bias"] *= np.float32(scale)
    x = rng.normal(size=(4, 20, features)).astype("float32")
    outputs = loop(weights, x, activation)
    outputs[1, 3, -1] += np.float32(change)
    layer = rp.SimpleRNN(**weights, activation=activation)
    sequences = Sequences.of(layer, x).samples(slice(0, 4))  # as a comparison takes them
    steps = Steps(layer, ARITHMETIC, sequences)
    observed = Observed(layer, sequences, outputs)
    block = next(blocks(layer, sequences))  # its buffers belong to the generator
    observed.advance(block.steps)
    ball = steps.observed(block, observed)
    assert Near.applies(steps, sequences)
    return Near(steps).steps(block, observed), ball, observed.outputs


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("sizes", [(2, 1), (3, 5), (70, 90)])
@pytest.mark.parametrize("bias", [True, False])
def test_both_ways_say_the_same(activation, sizes, bias):
    quick, ball, observed = both_ways(activation, 1.0, *sizes, bias)
    residual = np.abs(observed - ball.value)
    assert np.abs(quick.residual - residual).max() <= 1e-3 * ball.radius.min()
    # Never sharper than the general bound, and hardly wider.
    assert (quick.radius >= ball.radius * (1 - 1e-5)).all()
    assert (quick.radius <= ball.radius * 1.02).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-3, 30.0])
def test_numbers_of_any_size(scale):
    quick, ball, _ = both_ways("tanh", scale)
    assert (quick.radius >= ball.radius * (1 - 1e-5)).all()
    assert (quick.radius <= ball.radius * 1.05).all()


def test_a_small_change_shows_in_both():
    quick, ball, observed = both_ways("tanh", change=1e-5)
    worst = np.unravel_index((quick.residual / quick.radius).argmax(), ball.radius.shape)
    assert worst == (3, 1, 4)
    assert quick.residual[worst] == pytest.approx(abs(observed - ball.value)[worst], rel=1e-4)
    assert quick.residual[worst] > quick.radius[worst]


@pytest.mark.parametrize("change", [2 * SMALL, np.nan, np.inf])
def test_what_is_not_near_is_left_to_the_general_way(change):
    assert both_ways("tanh", change=change)[0] is None


def test_wide_bounds_are_left_to_the_general_way():
    assert both_ways("linear", 1e6)[0] is None


@pytest.mark.parametrize(
    ("options", "mask"),
    [
        ({"activation": "relu"}, None),
        ({"dtype": "float64"}, None),
        ({"dtype": "float16"}, None),
        ({"activation": np.tanh}, None),
        ({}, [[True, False, True]]),
    ],
)
def test_layers_without_a_quick_way(options, mask):
    layer = rp.SimpleRNN(np.ones((2, 3)), np.eye(3), **{"dtype": "float32"} | options)
    sequences = Sequences.of(layer, np.ones((1, 3, 2)), mask)
    steps = Steps(layer, arithmetics(layer.precision)[0], sequences)
    assert not Near.applies(steps, sequences)


def test_what_has_a_quick_way_without_a_mask_and_dropout():
    layer = rp.SimpleRNN(np.ones((2, 3)), np.eye(3), dtype="float32")
    plain = Sequences.of(layer, np.ones((1, 3, 2)))
    assert Near.applies(Steps(layer, ARITHMETIC, plain), plain)
    dropped = replace(plain, dropout=Dropout(np.ones((1, 1, 2)), None))
    assert not Near.applies(Steps(layer, ARITHMETIC, dropped), dropped)
    gated = rp.GRU(np.ones((2, 9)), np.ones((3, 9)), dtype="float32")
    assert not Near.applies(Steps(gated, ARITHMETIC, plain), plain)


def test_the_quick_radius_by_hand():
    """tanh(0.5) is off by D, nearly 2^-14; a rounding unit is 2^-24, and each step has two terms.

    |f''| is at most 4 / (3 sqrt 3), tanh may err by 8 units, and 2^-21 of D, of D W and of the
    argument's radius stand for float32's own roundings."""
    layer = rp.SimpleRNN([[1.0]], [[1.0]], activation="tanh", dtype="float32")
    sequences = Sequences.of(layer, np.float32([[[0.5], [0.0]]])).samples(slice(0, 1))
    y = np.tanh(0.5), np.tanh(np.tanh(0.5))
    outputs = np.float32([[[y[0] + 0.99 * SMALL], [y[1]]]])
    off = [float(outputs[0, t, 0]) - y[t] for t in (0, 1)]
    steps, observed = Steps(layer, ARITHMETIC, sequences), Observed(layer, sequences, outputs)
    block = next(blocks(layer, sequences))
    observed.advance(block.steps)
    found = Near(steps).steps(block, observed)
    u, bent = 2.0**-24 + 2.0**-53, 4 / (3 * np.sqrt(3))
    slopes = [1 - y[0] ** 2, 1 - y[1] ** 2]
    arguments = [2 * u * size + 2 * 2.0**-126 for size in (0.5, float(outputs[0, 0, 0]) + off[0])]
    left_out = 0.5 * bent * off[0] ** 2 + 2.0**-21 * (2 * off[0] + max(arguments))
    for t in (0, 1):
        exact = arguments[t] * (slopes[t] + 0.5 * bent * arguments[t])
        exact += 8 * u * y[t] + left_out
        assert exact <= found.radius[t, 0, 0] <= exact * (1 + 2.0**-17)
    assert found.deviation[:, 0, 0] == pytest.approx(np.abs(off), abs=1e-11)
    residuals = [abs(off[0]), abs(off[1] - slopes[1] * off[0])]
    assert found.residual[:, 0, 0] == pytest.approx(residuals, abs=2.0**-21 * SMALL)
    assert found.size[:, 0, 0] == pytest.approx(y)
    for array in (found.radius, found.deviation, found.residual, found.size):
        assert array.dtype == np.float32


def linear_steps(kernel, recurrent, x, changes):
    """The quick steps (or None) of one linear unit without bias, whose outputs are changed."""
    layer = rp.SimpleRNN([[kernel]], [[recurrent]], activation="linear")
    sequences = Sequences.of(layer, np.float32(x)[None, :, None]).samples(slice(0, 1))
    outputs = rp.replay(layer, sequences.inputs).outputs + np.float64(changes)[None, :, None]
    steps = Steps(layer, ARITHMETIC, sequences)
    observed = Observed(layer, sequences, outputs.astype(np.float32))
    block = next(blocks(layer, sequences))
    observed.advance(block.steps)
    return Near(steps).steps(block, observed)


def test_the_ends_of_the_quick_way():
    """All numbers are float32's: the replay of 1, 1 is 1, 1 + W; D is 2^-14 at most, so is D W."""
    assert linear_steps(1.0, 0.5, [1, 1], [SMALL, 0]) is not None
    assert linear_steps(1.0, 1.0, [1, 1], [-SMALL, 0]) is not None
    assert linear_steps(1.0, 0.5, [1, 1], [SMALL * (1 + 2.0**-9), 0]) is None
    # Small numbers that a large weight makes large are not near, whatever their sign.
    for change in (SMALL, -SMALL):
        assert linear_steps(1.0, 1 + 2.0**-9, [1, 1], [change, 0]) is None
        assert linear_steps(1.0, -1 - 2.0**-9, [1, 1], [change, 0]) is None


def test_a_wide_bound_of_equal_numbers_is_left_to_the_general_way():
    """D is 0 throughout, but the bound of two terms, 2 * 2^-24 times their size, reaches 2^-8."""
    assert linear_steps(2.0**13, 0.0, [1, -1], [0, 0]) is not None
    assert linear_steps(2.0**16, 0.0, [1, -1], [0, 0]) is None


@pytest.mark.parametrize(("radius", "quick"), [(WIDE, False), (WIDE * (1 - 2.0**-24), True)])
def test_a_radius_from_which_the_ends_are_taken_is_left_to_the_general_way(
    radius, quick, monkeypatch
):
    layer = rp.SimpleRNN([[1.0]], [[0.5]], activation="linear", dtype="float32")
    sequences = Sequences.of(layer, np.ones((1, 2, 1), np.float32)).samples(slice(0, 1))
    block = next(blocks(layer, sequences))
    near = Near(Steps(layer, ARITHMETIC, sequences))
    monkeypatch.setattr(fast_step_bound, "gamma", lambda n, u: 1 / SLACK)
    z = Argument(np.zeros((2, 1, 1), np.float32), np.full((2, 1, 1), radius, np.float32), 2)
    if quick:
        assert near.output(layer.activation, z, block, 0.0).moved.tolist() == [[[0]], [[0]]]
    else:
        with pytest.raises(NotNearError):
            near.output(layer.activation, z, block, 0.0)


# Formulas of one's own.

FORMULAS = {
    "in another order": (lambda x, h, U, W, b, a: a(b + h @ W + x @ U), True),
    "of the gates' activation": (lambda x, h, U, W, b, s: s(h @ W + (x @ U + b)), True),
    "an average": (lambda x, h, U, W, b, a: 0.25 * h + 0.75 * a(x @ U + h @ W + b), False),
    "a state added": (lambda x, h, U, W, b, a: a(h + x @ U + h @ W + b), False),
    "a difference": (lambda x, h, U, W, b, a: a(x @ U - h @ W + b), False),
    "the other difference": (lambda x, h, U, W, b, a: a(-(h @ W) + x @ U + b), False),
    "half of it": (lambda x, h, U, W, b, a: a((x @ U + h @ W + b) * 0.5), False),
    "a constant": (lambda x, h, U, W, b, a: a(x @ U + h @ W + b + 0.5), False),
    "W twice": (lambda x, h, U, W, b, a: a(x @ U + (h @ W) @ W + b), False),
    "W after an activation": (lambda x, h, U, W, b, a: a(x @ U + a(h @ W) @ W + b), False),
    "two activations": (lambda x, h, U, W, b, a: a(a(x @ U + h @ W + b)), False),
    "no activation": (lambda x, h, U, W, b: x @ U + h @ W + b, False),
    "half of the output": (lambda x, h, U, W, b, a: 0.5 * a(x @ U + h @ W + b), False),
    "a vector": (lambda x, h, U, W, b, p, a: a(x @ U + p * (h @ W) + b), False),
    "a vector added": (lambda x, h, U, W, b, p, a: a(p + x @ U + h @ W + b), False),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_only_the_activation_of_a_sum_has_a_quick_way(name):
    """Other formulas of one gate are judged in the general way; either way says the same."""
    formula, quick = FORMULAS[name]
    own = {"p": ("decay", 1)} if " vector" in name else {}
    members = {"GATES": ("h",), "VECTORS": own, "formula": staticmethod(formula)}
    mine = type("Mine", (Layer,), members)
    rng = np.random.default_rng(4)
    arrays = (rng.normal(size=shape) / 4 for shape in ((3, 4), (4, 4), (4,)))
    layer = mine(*arrays, dtype="float32", **{n: rng.normal(size=4) for n, _ in own.values()})
    sequences = Sequences.of(layer, rng.normal(size=(2, 30, 3)).astype(np.float32))
    sequences = sequences.samples(slice(0, 2))
    outputs = rp.replay(layer, sequences.inputs).outputs.astype(np.float32)
    steps, observed = Steps(layer, ARITHMETIC, sequences), Observed(layer, sequences, outputs)
    block = next(blocks(layer, sequences))
    observed.advance(block.steps)
    ball = steps.observed(block, observed)
    found = Near(steps).steps(block, observed)
    assert (found is not None) == quick
    if quick:
        assert (found.radius >= ball.radius * (1 - 1e-5)).all()
        residual = np.abs(observed.outputs - ball.value)
        assert np.abs(found.residual - residual).max() <= 1e-3 * ball.radius.min()
    assert judge(layer, sequences, Observations(outputs), Subject()).check.verdict == "parity"
    outputs[1, 20, 2] += np.float32(1e-4)
    check = judge(layer, sequences, Observations(outputs), Subject()).check
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 20)


def test_a_bias_in_two_parts_counts_as_both():
    """9 and -8.75 in place of 1/4: 18 more of magnitude in each sum."""
    layer = rp.SimpleRNN([[1.0]], [[0.5]], [0.25], "linear", dtype="float32")
    two = layer.changed(addends=(np.array([9.0]), np.array([-8.75])))
    radii = []
    for one in (layer, two):
        sequences = Sequences.of(one, np.ones((1, 2, 1), np.float32)).samples(slice(0, 1))
        observed = Observed(one, sequences, rp.replay(one, sequences.inputs).outputs)
        block = next(blocks(one, sequences))
        observed.advance(block.steps)
        radii.append(Near(Steps(one, ARITHMETIC, sequences)).steps(block, observed).radius[0, 0, 0])
    assert radii == pytest.approx([3 * 1.25 * 2.0**-24, 4 * 18.75 * 2.0**-24], rel=1e-2)


def test_what_a_large_weight_hides_is_no_parity():
    """tanh(10 + 1e6 h) is 1 for each h >= 0, so that the second output tells nothing of the first.

    An h that is wrong by 4e-5 is near, but 40 as D W.
    """
    layer = rp.SimpleRNN([[1.0]], [[1e6]], activation="tanh", dtype="float32")
    x = np.float32([[[1e-5], [10.0]]])
    right = np.float32([[[1e-5], [1.0]]])
    assert rp.compare(layer, x, right).verdict == "parity"
    wrong = right + np.float32([[[4.1234567e-5], [0.0]]])
    check = rp.compare(layer, x, wrong).checks[0]
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 0)
    assert check.max_ratio > 1e6
