"""Other weights within rounding: what some samples raise others must confirm, or a probe."""

from pathlib import Path

import numpy as np
import pytest
from corpus import Run, right_run, simulate
from corpus_gated import GRU, LSTM
from test_implied_weights_gated import case, float32_loop, layer_of

import rnn_parity as rp
from rnn_parity.api.examination import examine
from rnn_parity.diagnosis import implied_weights as implied
from rnn_parity.diagnosis.equations import Rows, stacked, where
from rnn_parity.diagnosis.probe import probed
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.verdict.judge import Observations
from rnn_parity.verdict.results import Subject

TRAINED = Path(__file__).parents[2] / "fixtures/trained_gru.npz"
"""A GRU trained on random walks in Keras 3.15: least squares alone named bias[1, 122] at 9.8."""
SIZE = (4, 200, 16, 16)
KINDS = {
    "SimpleRNN": (Run, {}),
    "LSTM": (LSTM, {}),
    "GRU": (GRU, {}),
    "GRU before": (GRU, {"reset_after": False}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def right(kind, size=SIZE, seed=0):
    make, options = KINDS[kind]
    return right_run(size, seed, kind=make, **options)


def changed(run, name, index, amount):
    array = getattr(run, name).copy()
    array[index] += np.float32(amount)
    return run.but(**{name: array})


def checked(run, outputs, probe=None):
    layer = run.layer()
    sequences = Sequences.of(layer, run.x, run.mask, run.state)
    return examine(layer, sequences, Observations(outputs), Subject(), probe=probe)


def entries(check):
    return [(w.weight, w.index) for w in check.implied_weights or ()]


def probe_of(run):
    """An implementation that can be run on anything: a plain float32 loop."""

    def probe(inputs, states):
        x, state = inputs.astype(np.float32), np.stack(states).astype(np.float32)
        return simulate(run.but(x=x, state=state if len(state) > 1 else state[0]))

    return probe


def test_a_trained_layer_that_runs_its_own_weights():
    with np.load(TRAINED) as data:
        layer = rp.GRU(data["kernel"], data["recurrent_kernel"], data["bias"])
        x, y = data["inputs"], data["outputs"]
    rows = implied.rows(layer, Sequences.of(layer, x), y).even(stacked(layer))
    assert implied.scores(rows).max() > implied.SCREEN  # entries alone would be off
    check = rp.compare(layer, x, y).checks[0]
    assert (check.verdict, check.implied_weights, check.causes) == ("parity", None, ())


@pytest.mark.parametrize("samples", [16, 8, 4])
@pytest.mark.parametrize("index", [(3, 70), (17, 5), (20, 40)])
def test_a_true_change_is_found_in_all_samples_and_in_some(index, samples):
    weights, x = case("GRU", 1, (16, 200, 32, 32))
    other = {n: w.copy() for n, w in weights.items()}
    other["recurrent_kernel"][index] += np.float32(4e-6)
    y = float32_loop("GRU", other, x)
    check = rp.compare(layer_of("GRU", weights), x[:samples], y[:samples]).checks[0]
    assert check.verdict == "suspect"
    assert entries(check) == [("recurrent_kernel", index)]


@every_kind
def test_samples_that_disagree_prove_nothing(kind):
    run = right(kind, (8, 200, 32, 32))
    y, index = simulate(run), (5, 9)
    more, less, much = (
        simulate(changed(run, "kernel", index, amount)) for amount in (1.5e-6, -1.5e-6, 4.5e-6)
    )
    assert entries(checked(run, more)) == [("kernel", index)]
    half = (np.arange(8) % 4 < 2)[:, None, None]
    for others in (y, less, much):  # half of the samples are right, of another sign, of other sizes
        check = checked(run, np.where(half, more, others))
        assert (check.verdict, entries(check)) == ("parity", [])


@every_kind
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_few_samples(kind, samples):
    run = right(kind, (samples, 400, 32, 32))
    y = simulate(changed(run, "kernel", (5, 9), 2e-6))
    check = checked(run, y)
    # One sample has nobody to confirm what it raises; two are split in both ways.
    assert check.verdict == ("parity" if samples == 1 else "suspect")
    assert entries(check) == ([] if samples == 1 else [("kernel", (5, 9))])


PLACES = [("kernel", (5, 9)), ("recurrent_kernel", (3, 7)), ("recurrent_kernel", (6, 6))]


@pytest.mark.parametrize("kind", ["SimpleRNN", "GRU", "GRU before"])
@pytest.mark.parametrize(("name", "index"), PLACES)
def test_a_probe_settles_it(kind, name, index):
    run = right(kind, (2, 400, 32, 32), seed=3)
    other = changed(run, name, index, 6e-6)
    one = run.but(x=run.x.reshape(1, 800, 32))
    y = simulate(other.but(x=one.x))
    assert checked(one, y).verdict == "parity"
    check = checked(one, y, probe_of(other))
    assert (check.verdict, entries(check)) == ("suspect", [(name, index)])
    # The layer that is run has its own weights, whatever one sample or several of them say.
    assert checked(one, y, probe_of(run)).verdict == "parity"
    y = simulate(other)
    assert checked(run, y).verdict == "suspect"
    assert checked(run, y, probe_of(run)).verdict == "parity"


@every_kind
def test_a_probe_that_cannot_be_run_leaves_it_to_the_samples(kind):
    run = right(kind, (4, 200, 32, 32), seed=3)
    y = simulate(changed(run, "kernel", (5, 9), 3e-6))
    assert checked(run, y, lambda inputs, states: None).verdict == "suspect"
    assert checked(run, y, lambda x, s: np.full((len(x), 1, 32), np.nan)).verdict == "suspect"


@every_kind
def test_a_probe_of_every_weight(kind):
    """Each weight off by one part in a thousand: told from the right one, unless it cannot show."""
    run = right(kind, (1, 1, 3, 2), seed=5)
    layer, told = run.layer(), []
    for k, j in np.ndindex(len(stacked(layer)), 2):
        name, index = where(layer, k, j)
        other = changed(run, name, index, 1e-3)
        real = float(getattr(other, name)[index]) - float(getattr(run, name)[index])
        answer = probed(layer, k, j, real, probe_of(other))
        told.append(answer)
        # Right weights, half the change and the other sign are not what was implied.
        wrong = None if answer is None else False
        assert probed(layer, k, j, real, probe_of(run)) is wrong
        assert probed(layer, k, j, -real, probe_of(other)) is wrong
        assert probed(layer, k, j, 2.1 * real, probe_of(other)) is not True
        # What rounding may hide is not told.
        assert probed(layer, k, j, 1e-9, probe_of(run)) is None
    assert set(told) <= {True, None}
    assert told.count(True) >= 0.9 * len(told)


@pytest.mark.parametrize(
    ("kind", "errs"), [("SimpleRNN", 4), ("LSTM", 4), ("GRU", 4), ("GRU before", 2)]
)
def test_an_activation_that_always_errs_to_one_side_is_no_other_weight(kind, errs):
    run = right(kind, (16, 100, 4, 6))
    factor = 1 + errs * 2.0**-24  # tanh's allowance is 8
    y = simulate(run.but(function=lambda z: (np.tanh(z.astype(float)) * factor).astype(np.float32)))
    check = checked(run, y)
    assert (check.verdict, check.implied_weights) == ("parity", None)


def test_a_single_weight_is_not_taken_for_rounded_ones():
    # Its own rounding to 7 decimals, times what it is off by, is about what all roundings explain.
    weights, x = case("GRU before", 47, (16, 100, 12, 10))
    other = {n: w.copy() for n, w in weights.items()}
    other["kernel"][6, 24] -= np.float32(2e-6)
    y = float32_loop("GRU before", other, x)
    check = rp.compare(layer_of("GRU before", weights), x, y).checks[0]
    assert entries(check) == [("kernel", (6, 24))]
    assert [cause.fault for cause in check.causes] == ["weights-differ"]


@pytest.mark.parametrize("seed", range(4))
@every_kind
def test_several_entries_are_found_and_no_other(kind, seed):
    run = right(kind, (16, 100, 32, 32), seed)
    rng = np.random.default_rng(seed)
    other, true = run, set()
    for name in ("kernel", "recurrent_kernel", "recurrent_kernel"):
        index = tuple(int(rng.integers(n)) for n in getattr(run, name).shape)
        other = changed(other, name, index, rng.choice([-1, 1]) * rng.uniform(2e-6, 3e-6))
        true.add((name, index))
    check = checked(run, simulate(other))
    assert check.verdict == "suspect"
    assert set(entries(check)) <= true
    assert len(entries(check)) > 1


@pytest.mark.parametrize(("row", "gate"), [(0, 0), (1, 0), (1, 1), (0, 2), (1, 2)])
def test_of_two_biases_of_a_gate_only_the_sum_shows(row, gate):
    run, summed = right("GRU", (8, 200, 16, 16)), gate < 2
    change = 4e-6 if summed else 2e-6  # of the candidate more would be beyond the bound
    check = checked(run, simulate(changed(run, "bias", (row, 16 * gate + 5), change)))
    assert entries(check) == [("bias", (0 if summed else row, 16 * gate + 5))]
    assert ("only the sum of bias[0] and bias[1]" in check.causes[0].explanation) == summed


def test_more_entries_than_a_few_are_no_cause():
    run = right("SimpleRNN", (8, 200, 16, 16))
    other = run
    for j in range(12):
        other = changed(other, "kernel", (j, j), 1e-6)
    check = checked(run, simulate(other))
    assert check.verdict == "suspect"
    assert check.causes == ()
    assert set(entries(check)) <= {("kernel", (j, j)) for j in range(12)}


def test_the_news_of_a_memory_by_hand():
    # c keeps half of what it was off by; the second output shows twice as much of it as the first.
    shape = (4, 1, 1)
    ones = np.ones(shape)
    gain = np.array([1.0, 0.5, 1.0, 0.0]).reshape(shape)
    off = np.array([8.0, 4.0, 2.0, 1.0]).reshape(shape)  # rounded once, before the first step
    rows = Rows(
        (ones,), (ones,), gain * off, ones, ones[..., 0] > 0, 1, forget=0.5 * ones, gain=gain
    )
    assert rows.news(rows.residual).ravel().tolist() == [8, 0, 0, 0]
    # Without a memory all of a residual is news.
    direct = Rows((ones,), (ones,), off, ones, ones[..., 0] > 0)
    assert direct.news(off) is off
    assert direct.of_news is direct


@pytest.mark.parametrize("seed", [3, 6, 24])
def test_reset_gates_that_reach_all_units_are_told_from_other_weights(seed):
    weights, x = case("GRU before", seed, (16, 100, 12, 10))
    rng, true = np.random.default_rng(seed), set()
    other = {n: w.copy() for n, w in weights.items()}
    for _ in range(3):
        name = ["kernel", "recurrent_kernel", "bias"][rng.integers(3)]
        index = tuple(int(rng.integers(n)) for n in weights[name].shape)
        true.add((name, index))
        other[name][index] += np.float32(2e-6 * rng.choice([-1, 1]) * rng.uniform(0.5, 2))
    layer = layer_of("GRU before", weights)
    check = rp.compare(layer, x, float32_loop("GRU before", other, x)).checks[0]
    assert check.verdict in ("suspect", "diverged")
    if check.verdict == "suspect":
        assert set(entries(check)) <= true
        assert entries(check)


def beside(column, seed):
    """Noise of the column's shape that no multiple of the column, nor a constant, explains."""
    noise = np.random.default_rng(seed).normal(size=column.shape)
    known = np.stack([np.ones(column.size), column.ravel()], axis=1)
    return noise - (known @ np.linalg.lstsq(known, noise.ravel(), rcond=None)[0]).reshape(
        noise.shape
    )


def test_a_part_confirms_only_what_it_knows_itself():
    # 3 in each of four samples, beside noise of 1: 50 standard errors in each.
    column = np.random.default_rng(0).normal(size=(400, 4))
    noise = np.stack([beside(column[:, b], b) for b in range(4)], axis=1)
    matrix = np.stack([column, np.ones_like(column)], axis=-1)

    def agreed(noise):
        parts = implied.by_samples(matrix, 3 * column + noise)
        return implied.agreed(parts, sum(parts[1:], parts[0]), np.array([1])).tolist()

    assert agreed(noise) == [True, False]
    # One sample has the same estimate, but within an error as large.
    loud = noise * [1, 1, 1, 20]
    assert agreed(loud) == [False, False]


def test_a_change_is_explained_as_a_whole_by_each_part():
    predicted = np.random.default_rng(0).normal(size=(100, 4, 3))
    noise = np.stack([beside(predicted[:, b], b) for b in range(4)], axis=1)
    assert implied.shown_by_all_parts(predicted, predicted + noise)
    assert not implied.shown_by_all_parts(predicted, 3 * predicted + noise)  # more than the whole
    assert not implied.shown_by_all_parts(predicted, 0.3 * predicted + noise)  # less
    assert not implied.shown_by_all_parts(predicted, predicted + 10 * noise)  # no more than noise
    assert not implied.shown_by_all_parts(
        predicted[:, :1], predicted[:, :1] + noise[:, :1]
    )  # one sample


@pytest.mark.parametrize(
    ("kind", "size"),
    [("LSTM", (1, 100, 4, 16)), ("GRU", (1, 30, 4, 4)), ("GRU before", (1, 30, 4, 4))],
)
@pytest.mark.parametrize("seed", range(4))
def test_a_sample_confirms_nothing_that_its_copies_raise(kind, size, seed):
    """Equal samples round alike: what looks like other weights in one does so in all of them."""
    make, options = KINDS[kind]
    run = right_run(size, seed, gain=1.4, kind=make, **options)
    outputs = np.repeat(simulate(run), 64, axis=0)
    assert checked(run.but(x=np.repeat(run.x, 64, axis=0)), outputs).verdict == "parity"


@pytest.mark.parametrize("seed", [1, 6, 7, 8])
def test_nor_do_copies_of_different_lengths(seed):
    run = right_run((1, 30, 4, 4), seed, gain=1.4, kind=GRU, reset_after=False)
    mask = np.arange(30) < np.random.default_rng(seed).integers(15, 31, size=(32, 1))
    padded = run.but(x=np.repeat(run.x, 32, axis=0), mask=mask)
    assert checked(padded, simulate(padded)).verdict == "parity"


def test_steps_that_were_computed_before_are_left_out():
    run = right("GRU", (3, 8, 2, 2))
    run = run.but(x=run.x[[0, 1, 0]])
    sequences = Sequences.of(run.layer(), run.x, None, None)
    equations = implied.all_rows(run.layer(), sequences, simulate(run)).once()
    assert equations.good.all(axis=0).tolist() == [True, True, False]
    assert not equations.good[:, 2].any()
    assert not equations.residual[:, 2].any()
    assert equations.residual[:, :2].any()


def test_samples_differ_by_all_that_they_are_given():
    x, mask = np.zeros((6, 3, 1)), np.ones((6, 3), bool)
    x[1, 2], mask[2, 0] = 1.0, False
    states = np.zeros((6, 2))
    states[3, 1] = 1.0
    layer = rp.SimpleRNN(np.ones((1, 2)), np.ones((2, 2)))
    found = implied.distinct(Sequences.of(layer, x, mask, states))
    assert found.tolist() == [0, 1, 2, 3]
