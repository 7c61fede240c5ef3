"""Implied weights: what cannot be seen in any single number, and silence where data say nothing."""

import mpmath as mp
import numpy as np
import pytest
from corpus import NARROW, examined, right_run, simulate, weights_of

from rnn_parity import implied
from rnn_parity.leastsquares import certain, serial_variance, solve
from rnn_parity.sequences import Sequences

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
    return implied.differences(layer, equations, found), found


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


def test_least_squares_by_hand():
    # y = 2 + 3 t at t = 0 .. 11, exactly
    t = np.arange(12.0)
    difference, error = solve(np.stack([np.ones(12), t], axis=1), 2 + 3 * t)
    assert difference == pytest.approx([2, 3], abs=1e-12)
    assert error == pytest.approx([0, 0], abs=1e-12)
    # the mean of 6 zeros and 6 twos is 1; each error is 1 / (1 - 1/12), so HC3 is sqrt(12) / 11
    difference, error = solve(np.ones((12, 1)), np.repeat([0.0, 2.0], 6))
    assert difference == pytest.approx([1])
    assert error == pytest.approx([np.sqrt(12) / 11])
    # twice the same column tells neither of the two
    twice = np.stack([np.ones(12), np.ones(12), t - t.mean()], axis=1)
    difference, error = solve(twice, 3 * (t - t.mean()))
    assert np.isinf(error).tolist() == [True, True, False]
    assert difference == pytest.approx([0, 0, 3], abs=1e-12)
    assert solve(np.eye(9), np.ones(9)) is None


@pytest.mark.parametrize(("rows", "together"), [(160, 8), (512, 11), (896, 10), (4000, 1)])
def test_few_windows_ask_for_more_standard_errors(rows, together):
    # As rare by Student's distribution as 5.5 are by the normal one, within a factor.
    freedom, t = mp.mpf(1.5) * rows / together, certain(5.5, rows, together)
    student = mp.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t**2), regularized=True)
    assert 0.5 < student / mp.erfc(5.5 / mp.sqrt(2)) < 2


def test_the_noise_of_timesteps_that_go_together():
    # 64 timesteps of +1, then 64 of -1. Of the 128 - k pairs k timesteps apart, k have opposite
    # signs; Bartlett weighs them by 1 - k/64.
    steps = np.repeat([1.0, -1.0], 64).reshape(128, 1, 1)
    by_lags = 128 + 2 * sum((1 - k / 64) * ((128 - k) - 2 * k) for k in range(1, 64))
    assert serial_variance(steps, 64) == pytest.approx([by_lags])
    # Noise that alternates has windows that sum to 0; as independent, it is 1 for each step.
    assert serial_variance(np.resize([1.0, -1.0], (128, 1, 1)), 64) == pytest.approx([128])
    # Samples are independent of each other.
    both = np.concatenate([steps, steps], axis=1)
    assert serial_variance(both, 64) == pytest.approx([2 * by_lags])
