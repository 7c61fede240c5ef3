"""Padding of any length, on either side and in every sample, as Keras pads: never a crash.

Masked timesteps give no equations for the weights, and a sequence may begin with nothing else.
"""

import numpy as np
import pytest
from corpus import every_kind, examined, right_run, simulate

TIMESTEPS = 12


def padded(kind, batch, length, left=True, seed=0):
    """A right run, the first or last `length` timesteps of every sample masked."""
    run = right_run((batch, TIMESTEPS, 3, 5), seed, kind=kind)
    steps = np.arange(TIMESTEPS)
    keep = steps >= length if left else steps < TIMESTEPS - length
    return run.but(mask=np.tile(keep, (batch, 1)))


@every_kind
@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("left", [True, False])
def test_padding_of_every_length(kind, batch, left):
    for length in range(TIMESTEPS + 1):
        run = padded(kind, batch, length, left)
        check = examined(run, simulate(run))
        # Where every timestep is masked, there is nothing to prove.
        verdicts = {"parity"} if length < TIMESTEPS else {"parity", "inconclusive"}
        assert check.verdict in verdicts, length
        assert (check.implied_weights, check.causes) == (None, ())


@every_kind
@pytest.mark.parametrize(("batch", "timesteps", "length"), [(64, 40, 16), (512, 16, 8)])
def test_long_padding_in_many_samples(kind, batch, timesteps, length):
    run = right_run((batch, timesteps, 3, 5), 1, kind=kind)
    run = run.but(mask=np.tile(np.arange(timesteps) >= length, (batch, 1)))
    assert examined(run, simulate(run)).verdict == "parity"


@every_kind
def test_a_mistake_after_padding_is_named(kind):
    for length in (1, TIMESTEPS - 2):
        run = padded(kind, 4, length, seed=2)
        check = examined(run, simulate(run.but(bias=None)))
        assert check.verdict == "diverged"
        assert "bias-dropped" in [cause.fault for cause in check.causes]


@every_kind
@pytest.mark.parametrize("length", [0, 1, 3])
def test_what_is_not_finite_after_padding(kind, length):
    run = padded(kind, 3, length, seed=3)
    outputs = simulate(run)
    outputs[1, length + 1] = np.nan
    assert examined(run, outputs).verdict == "diverged"
    x = run.x.copy()
    x[0, -1] = np.nan
    last = run.but(x=x)
    check = examined(last, simulate(last))
    assert (check.verdict, len(check.notes)) == ("parity", 1)
    # All that is not masked of a sample is not finite: nothing of it was compared.
    x[0, length] = np.nan
    run = run.but(x=x)
    check = examined(run, simulate(run))
    assert (check.verdict, "sample 0" in check.summary) == ("inconclusive", True)
    # In every sample nothing but masked timesteps is finite.
    x[:, length] = np.nan
    check = examined(run.but(x=x), np.where(run.mask[..., None], np.nan, simulate(run)))
    assert check.verdict in ("parity", "inconclusive")


@every_kind
def test_an_entry_is_found_behind_padding(kind):
    run = right_run((8, 150, 16, 16), 4, kind=kind)
    run = run.but(mask=np.tile(np.arange(150) >= 50, (8, 1)))
    kernel = run.kernel.copy()
    kernel[2, 3] += np.float32(1e-6)
    check = examined(run, simulate(run.but(kernel=kernel)))
    assert check.verdict == "suspect"
    assert [(w.weight, w.index) for w in check.implied_weights] == [("kernel", (2, 3))]
