"""The equations that outputs give for the weights: derivatives, gradients, and what is where."""

import numpy as np
import pytest
from corpus import call_of, every_kind, right_run

from rnn_parity.diagnosis.equations import Memory, Rows, changed_at, pieces, stacked, value, where
from rnn_parity.diagnosis.implied_weights import all_rows
from rnn_parity.recurrence.time_loop import replay


def small(kind, seed):
    """A layer, its sequences and what it computes."""
    layer, sequences = call_of(right_run((2, 6, 3, 2), seed, kind=kind))
    return layer, sequences, replay(layer, sequences).outputs


@every_kind
def test_the_derivative_is_that_of_the_step(kind):
    """Each weight moved a little, one at a time: what the residuals do, to first order."""
    layer, sequences, outputs = small(kind, 3)
    right, before = all_rows(layer, sequences, outputs), stacked(layer)
    for k in range(len(before)):
        for j in range(2):
            moved = changed_at(layer, {(k, j): value(layer, k, j) + 1e-6})
            change = stacked(moved) - before
            assert np.argwhere(change).tolist() == [[k, j]]
            # The layer with the moved weight, on the same states.
            residual = all_rows(moved, sequences, outputs).residual
            predicted = right.but_weights(change).residual
            np.testing.assert_allclose(residual, predicted, rtol=1e-4, atol=1e-13)


@every_kind
def test_the_gradient_is_that_of_the_squares(kind):
    """`gradient` holds, for every weight, the derivative that `but_weights` has forwards."""
    layer, sequences, outputs = small(kind, 4)
    rng = np.random.default_rng(0)
    rows = all_rows(layer, sequences, outputs + 1e-3 * rng.normal(size=(2, 6, 2)))
    change = rng.normal(size=stacked(layer).shape)
    predicted = rows.residual - rows.but_weights(change).residual
    assert np.vdot(rows.gradient, change) == pytest.approx(np.vdot(rows.residual, predicted))


@every_kind
def test_every_weight_has_a_place(kind):
    layer, *_ = small(kind, 5)
    total = stacked(layer)
    assert len(total) == sum(piece.rows(layer) for piece in pieces(layer))
    places = [where(layer, k, j) for k in range(len(total)) for j in range(2)]
    assert len(set(places)) == total.size
    for name, index in places:
        assert np.isfinite(getattr(layer, name)[index])


def test_the_news_of_a_memory_by_hand():
    # c keeps half of what it was off by; the second output shows twice as much of it as the first.
    shape = (4, 1, 1)
    ones = np.ones(shape)
    gain = np.array([1.0, 0.5, 1.0, 0.0]).reshape(shape)
    off = np.array([8.0, 4.0, 2.0, 1.0]).reshape(shape)  # rounded once, before the first step
    memory = Memory((ones[None],), 0.5 * ones[None, None], 0.5 * gain[None])
    rows = Rows((ones,), (ones,), gain * off, ones, ones[..., 0] > 0, memory=memory)
    assert rows.news(rows.residual).ravel().tolist() == [8, 0, 0, 0]
    # Without a memory all of a residual is news.
    direct = Rows((ones,), (ones,), off, ones, ones[..., 0] > 0)
    assert direct.news(off) is off
    assert direct.of_news is direct
