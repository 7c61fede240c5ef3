"""The equations that outputs give for the weights: the place of each weight, news of a memory."""

import numpy as np
from corpus import call_of, every_kind, right_run

from rnn_parity.diagnosis.equations import Memory, Rows, pieces, stacked, where
from rnn_parity.diagnosis.implied_weights import all_rows
from rnn_parity.recurrence.time_loop import replay


def small(kind, seed):
    """A layer, its sequences and what it computes."""
    layer, sequences = call_of(right_run((2, 6, 3, 2), seed, kind=kind))
    return layer, sequences, replay(layer, sequences).outputs


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


@every_kind
def test_the_beginning_is_what_the_whole_shows_first(kind):
    layer, sequences, outputs = small(kind, 3)
    rows = all_rows(layer, sequences, outputs.astype(np.float32))
    change = np.random.default_rng(4).normal(size=stacked(layer).shape)
    whole = rows.news(rows.changed(change))
    np.testing.assert_allclose(rows.beginning.changed(change), whole[:1], rtol=1e-12, atol=1e-15)
