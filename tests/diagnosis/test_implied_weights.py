"""Implied weights: what cannot be seen in any single number, and silence where data say nothing."""

import numpy as np
import pytest
from corpus import NARROW, examined, right_run, simulate, weights_of

from rnn_parity.diagnosis import implied_weights as implied
from rnn_parity.diagnosis.implied_weights import NormalEquations
from rnn_parity.recurrence.sequences import Sequences

LARGE = (4, 200, 64, 64)


def changed_by(run, name, index, amount):
    array = getattr(run, name).copy()
    array[index] = array[index].astype(float) + amount
    return run.but(**{name: array})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "index"), [("kernel", (3, 7)), ("recurrent_kernel", (60, 1)), ("bias", (5,))]
)
def test_one_weight_changed_by_a_millionth(name, index, seed):
    run = right_run(LARGE, seed)
    other = changed_by(run, name, index, 1e-6)
    difference = float(getattr(other, name)[index]) - float(getattr(run, name)[index])
    check = examined(run, simulate(other))
    assert (check.verdict, len(check.implied_weights)) == ("suspect", 1)
    (found,) = check.implied_weights
    assert (found.weight, found.index) == (name, index)
    assert found.sigma > 7
    assert found.implied - found.expected == pytest.approx(difference, rel=0.5)
    where = f"{name}{list(index)}"
    assert where in check.summary
    assert [cause.fault for cause in check.causes] == ["weights-differ"]
    assert where in check.causes[0].explanation


@pytest.mark.parametrize("size", [(32, 28, 32, 16), LARGE, (16, 50, 20, 8)], ids=str)
@pytest.mark.parametrize("decimals", [3, 5, 6])
def test_weights_printed_with_few_decimals(decimals, size):
    run = right_run(size, 1)
    printed = {
        n: np.round(getattr(run, n).astype(float), decimals).astype(np.float32)
        for n in ("kernel", "recurrent_kernel", "bias")
    }
    check = examined(run, simulate(run.but(**printed)))
    assert check.verdict in ("suspect", "diverged")
    assert [cause.fault for cause in check.causes] == ["weights-rounded"]
    assert check.causes[0].explanation.endswith(f"rounded to {decimals} decimals")


def test_narrow_weights_are_named_with_their_format():
    run = right_run((32, 28, 32, 16))
    small = {n: np.float32(2.0**-9) * getattr(run, n) for n in ("kernel", "bias")}
    run = run.but(**small)
    narrow = {n: NARROW["float16"](getattr(run, n)) for n in ("kernel", "bias")}
    narrow["recurrent_kernel"] = NARROW["float16"](run.recurrent_kernel)
    check = examined(run, simulate(run.but(**narrow)))
    assert check.verdict in ("suspect", "diverged")
    assert "float16" in check.causes[0].explanation


@pytest.mark.parametrize("seed", range(20))
def test_a_right_run_implies_nothing(seed):
    size = [(32, 28, 32, 16), LARGE, (64, 9, 5, 30), (1, 900, 3, 4)][seed % 4]
    activation = ["tanh", "relu", "sigmoid", "softplus", "silu"][seed % 5]
    run = right_run(size, seed, activation, mask=seed % 3 == 0, state=seed % 2 == 0)
    check = examined(run, simulate(run))
    assert (check.verdict, check.implied_weights, check.causes) == ("parity", None, ())


@pytest.mark.parametrize("seed", range(10))
def test_a_weight_beyond_the_range_of_float16_was_not_rounded_to_it(seed):
    # float16 ends at 65504, so that rounding makes the weight infinite: no residual would be less.
    run = right_run((3, 5, 8, 4), seed, "relu")
    kernel, x = run.kernel.copy(), run.x.copy()
    kernel[2, 1] = 1e5
    x[:, :, 2] *= np.float32(1e-5)
    run = run.but(kernel=kernel, x=x)
    check = examined(run, simulate(run))
    assert (check.verdict, check.causes) == ("parity", ())


def estimated(run, outputs):
    layer = weights_of(run)
    equations = implied.total_rows(layer, Sequences.of(layer, run.x, run.mask, run.state), outputs)
    found = implied.estimate(equations)
    return implied.differences(layer, found), found


def test_too_few_steps_determine_nothing():
    run = right_run((2, 5, 3, 4))
    real, found = estimated(run, simulate(run.but(kernel=2 * run.kernel)))
    assert not np.isfinite(found.error).any()
    assert not found.difference.any()
    assert real == ()


def test_features_that_are_constant_leave_only_their_entries_open():
    run = right_run((16, 50, 6, 4))
    x = run.x.copy()
    x[:, :, 2], x[:, :, 4] = 0.5, 0.0  # one like the bias, one never used
    run = run.but(x=x)
    other = changed_by(run, "kernel", (1, 3), 1e-3)
    real, found = estimated(run, simulate(other))
    open_ = [2, 4, -1]
    assert np.isinf(found.error[open_]).all()
    assert not found.difference[open_].any()
    assert np.isfinite(np.delete(found.error, [2, 4, 10], axis=0)).all()
    (entry,) = real
    assert (entry.weight, entry.index) == ("kernel", (1, 3))
    assert entry.implied - entry.expected == pytest.approx(1e-3, rel=0.01)


def test_dead_units_and_their_weights_are_left_open():
    run = right_run((16, 50, 6, 4), activation="relu")
    bias = run.bias.copy()
    bias[2] = -100
    run = run.but(bias=bias)
    _, found = estimated(run, simulate(run))
    assert np.isinf(found.error[:, 2]).all()
    assert np.isinf(found.error[6 + 2]).all()  # the state of unit 2 is always 0
    assert np.isfinite(found.error[:6, [0, 1, 3]]).all()
    assert np.abs(found.difference).max() < 1e-5


def solve(a, r, **options):
    return NormalEquations.of(a, np.asarray(r, float)).solve(**options)


def test_least_squares_by_hand():
    # y = 2 + 3 t at t = 0 .. 11, exactly
    t = np.arange(12.0)
    line = np.stack([np.ones(12), t], axis=1)
    difference, error = solve(line, 2 + 3 * t)
    assert difference == pytest.approx([2, 3], abs=1e-12)
    assert error == pytest.approx([0, 0], abs=1e-6)
    # the mean of 6 zeros and 6 twos is 1; the squares of what is left are 12, with 11 to choose
    difference, error = solve(np.ones((12, 1)), np.repeat([0.0, 2.0], 6))
    assert difference == pytest.approx([1])
    assert error == pytest.approx([np.sqrt(12 / 11 / 12)])
    # twice the same column tells neither of the two
    twice = np.stack([np.ones(12), np.ones(12), t - t.mean()], axis=1)
    difference, error = solve(twice, 3 * (t - t.mean()))
    assert np.isinf(error).tolist() == [True, True, False]
    assert difference == pytest.approx([0, 0, 3], abs=1e-12)
    # a column alone: the mean of 2 + 3 t; the error of the one left out is infinite
    difference, error = solve(line, 2 + 3 * t, unknowns=np.array([0]))
    assert difference == pytest.approx([2 + 3 * 5.5, 0])
    assert np.isinf(error).tolist() == [False, True]


def test_least_squares_need_more_equations_than_unknowns():
    for rows, known in ((16, False), (17, True)):
        a = np.random.default_rng(0).normal(size=(rows, 9))
        assert np.isfinite(solve(a, a.sum(axis=1))[1]).all() == known
    # rows of zeros say nothing
    a[0] = 0
    assert np.isinf(solve(a, a.sum(axis=1))[1]).all()


def test_least_squares_of_parts():
    rng = np.random.default_rng(1)
    a, r = rng.normal(size=(60, 3)), rng.normal(size=60)
    first, rest = NormalEquations.of(a[:20], r[:20]), NormalEquations.of(a[20:], r[20:])
    assert np.allclose((first + rest).solve(), solve(a, r))
    assert np.allclose((NormalEquations.of(a, r) - first).solve(), solve(a[20:], r[20:]))
    # of nothing, nothing is known
    assert np.isinf((first - first).solve()[1]).all()


def test_the_most_telling_unknowns():
    a = np.random.default_rng(2).normal(size=(400, 6)) * [1, 100, 1, 1, 0, 1]
    equations = NormalEquations.of(a, 3 * a[:, 2] - 2 * a[:, 5] + 0.01 * a[:, 1])
    assert equations.telling(3).tolist() == [1, 2, 5]
    assert equations.telling(2).tolist() == [2, 5]
    assert equations.telling(0).tolist() == []
