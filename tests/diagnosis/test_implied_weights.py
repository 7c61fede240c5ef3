"""Implied weights: what cannot be seen in any single number, and silence where data say nothing.

What some samples raise others must confirm, or a probe.
"""

from pathlib import Path

import numpy as np
import pytest
from corpus import NARROW, call_of, every_kind, examined, right_run, simulate
from helpers import FUNCTIONS, random_weights, rounded, shuffled_loop
from mistakes import printed, weights_through

import rnn_parity as rp
from rnn_parity.diagnosis import causes
from rnn_parity.diagnosis import implied_weights as implied
from rnn_parity.diagnosis.equations import stacked, where
from rnn_parity.diagnosis.faults import Computation
from rnn_parity.diagnosis.few_units import by_themselves
from rnn_parity.diagnosis.implied_weights import NormalEquations
from rnn_parity.diagnosis.probe import probed
from rnn_parity.recurrence.sequences import Sequences

TRAINED = Path(__file__).parents[2] / "fixtures/trained_gru.npz"
"""A GRU trained on random walks in Keras 3.15: least squares alone named bias[1, 122] at 9.8."""
LARGE, MEDIUM = (4, 200, 64, 64), (16, 100, 12, 10)
BEFORE = "GRU, reset before"


def drawn(kind, seed, size=MEDIUM):
    """A right run whose numbers are the first that a generator draws."""
    return right_run(size, np.random.default_rng(seed), kind=kind, gain=1.0)


def changed(run, name, index, amount):
    """One weight changed, as float32 has it."""
    array = getattr(run, name).copy()
    array[index] = array[index].astype(float) + amount
    return run.but(**{name: array})


def entries(check):
    return [(w.weight, w.index) for w in check.implied_weights or ()]


def found_nothing(check):
    return (check.verdict, check.implied_weights, check.causes) == ("parity", None, ())


# One weight, or the rounding of all.

# Large enough to be certain, and small enough to be within rounding.
OF_GATES = [
    *(("LSTM", "kernel", gate, amount) for gate, amount in ((0, 2e-6), (1, 5e-6), (3, 2e-6))),
    *(("LSTM", "recurrent_kernel", gate, 5e-6) for gate in range(4)),
    *(("GRU", "kernel", gate, amount) for gate, amount in ((0, 2e-6), (1, 5e-6))),
    *(("GRU", "recurrent_kernel", gate, 2e-6) for gate in range(3)),
    (BEFORE, "kernel", 0, 2e-6),
    *((BEFORE, "recurrent_kernel", gate, amount) for gate, amount in ((0, 5e-6), (1, 2e-6))),
]


@pytest.mark.parametrize(
    ("run", "name", "index", "amount"),
    [
        *(
            pytest.param(right_run(LARGE, seed), name, index, 1e-6, id=f"{name}{seed}")
            for seed in range(3)
            for name, index in (("kernel", (3, 7)), ("recurrent_kernel", (60, 1)), ("bias", (5,)))
        ),
        *(
            pytest.param(drawn(kind, 1), name, (3, 10 * gate + 7), by, id=f"{kind} {name} {gate}")
            for kind, name, gate, by in OF_GATES
        ),
    ],
)
def test_one_weight_changed_by_a_millionth(run, name, index, amount):
    other = changed(run, name, index, amount)
    difference = float(getattr(other, name)[index]) - float(getattr(run, name)[index])
    check = examined(run, simulate(other))
    assert (check.verdict, entries(check)) == ("suspect", [(name, index)])
    (found,) = check.implied_weights
    assert found.sigma > 7
    assert found.implied - found.expected == pytest.approx(difference, rel=0.5)
    entry = f"{name}{list(index)}"
    assert entry in check.summary
    (cause,) = check.causes
    assert cause.fault == "weights-differ"
    assert f"{entry} is" in cause.explanation


@pytest.mark.parametrize(
    ("run", "decimals"),
    [
        *(
            pytest.param(right_run(size, 1), decimals, id=f"{size} {decimals}")
            for size in ((32, 28, 32, 16), LARGE, (16, 50, 20, 8))
            for decimals in (3, 5, 6)
        ),
        *(pytest.param(drawn(kind, 2), 6, id=kind) for kind in ("LSTM", "GRU", BEFORE)),
    ],
)
def test_weights_printed_with_few_decimals(run, decimals):
    check = examined(run, simulate(printed(decimals)(run, None)))
    assert check.verdict in ("suspect", "diverged")
    (cause,) = check.causes
    assert cause.fault == "weights-rounded"
    assert cause.explanation.endswith(f"rounded to {decimals} decimals")


@every_kind
def test_the_first_timestep_rules_out_no_rounding_that_is_the_likeliest(kind, monkeypatch):
    run = right_run((4, 9, 5, 6), 7, kind=kind)
    layer, sequences = call_of(run)
    found = []
    for nearest in (causes.NO_NEARER, np.inf):
        monkeypatch.setattr(causes, "NO_NEARER", nearest)
        for decimals in (4, 5, 6):
            outputs = simulate(printed(decimals)(run, None))
            rows = implied.quick_rows(layer, sequences, outputs)
            found.append(causes.likeliest_rounding(Computation(layer, sequences), rows).detail)
    assert found == 2 * [
        f"all weights are rounded to {decimals} decimals" for decimals in (4, 5, 6)
    ]


def test_narrow_weights_are_named_with_their_format():
    run = right_run((32, 28, 32, 16))
    run = run.but(**{n: np.float32(2.0**-9) * getattr(run, n) for n in ("kernel", "bias")})
    check = examined(run, simulate(weights_through(NARROW["float16"])(run, None)))
    assert check.verdict in ("suspect", "diverged")
    assert "float16" in check.causes[0].explanation


# Right runs imply nothing.


@pytest.mark.parametrize("seed", range(20))
def test_a_right_run_implies_nothing(seed):
    size = [(32, 28, 32, 16), LARGE, (64, 9, 5, 30), (1, 900, 3, 4)][seed % 4]
    activation = ["tanh", "relu", "sigmoid", "softplus", "silu"][seed % 5]
    run = right_run(size, seed, activation, mask=seed % 3 == 0, state=seed % 2 == 0)
    assert found_nothing(examined(run, simulate(run)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["LSTM", "GRU", BEFORE])
def test_a_right_run_with_gates_implies_nothing(kind, seed):
    run = drawn(kind, seed, [MEDIUM, (64, 9, 5, 30), (1, 900, 3, 4)][seed % 3])
    assert found_nothing(examined(run, simulate(run)))


@pytest.mark.parametrize("seed", [0, 3, 9, 10])
def test_rounding_that_a_long_memory_keeps_is_no_other_weight(seed):
    run = drawn("LSTM", seed)
    run.bias[10:20] += np.float32(5)  # forget gates of 0.993: c keeps what it rounds
    assert found_nothing(examined(run, simulate(run)))


def half_tanh(z):
    """A sigmoid as accurate as ONNX Runtime's: absolutely, so that its tail is mostly noise."""
    half = np.float32(0.5)
    return half * np.tanh(half * z) + half


# Those seeds of the first 1,000 that were called suspect when each output said as much of the
# weights as its own size allows; so were 6 of 9 where the error is absolute.
@pytest.mark.parametrize(
    ("function", "seed"),
    [(FUNCTIONS["sigmoid"], 158), (FUNCTIONS["sigmoid"], 755), *((half_tanh, n) for n in range(9))],
)
def test_the_tail_of_a_saturated_sigmoid_implies_nothing(function, seed, monkeypatch):
    monkeypatch.setitem(FUNCTIONS, "sigmoid", function)
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, 3, 2, bias=False)
    x = rounded(30 * rng.normal(size=(100, 4, 3)), "float32")
    y = shuffled_loop(rng, weights, x, "float32", "float32", False, "sigmoid")
    assert found_nothing(rp.compare(rp.SimpleRNN(**weights, activation="sigmoid"), x, y).checks[0])


@pytest.mark.parametrize("seed", range(10))
def test_a_weight_beyond_the_range_of_float16_was_not_rounded_to_it(seed):
    # float16 ends at 65504, so that rounding makes the weight infinite: no residual would be less.
    run = right_run((3, 5, 8, 4), seed, "relu")
    kernel, x = run.kernel.copy(), run.x.copy()
    kernel[2, 1] = 1e5
    x[:, :, 2] *= np.float32(1e-5)
    run = run.but(kernel=kernel, x=x)
    assert found_nothing(examined(run, simulate(run)))


@pytest.mark.parametrize(("kind", "errs"), [("SimpleRNN", 4), ("LSTM", 4), ("GRU", 4), (BEFORE, 2)])
def test_an_activation_that_always_errs_to_one_side_is_no_other_weight(kind, errs):
    run = right_run((16, 100, 4, 6), kind=kind)
    factor = 1 + errs * 2.0**-24  # tanh's allowance is 8
    y = simulate(run.but(function=lambda z: (np.tanh(z.astype(float)) * factor).astype(np.float32)))
    assert found_nothing(examined(run, y))


# What some samples raise and others confirm.


def test_a_trained_layer_that_runs_its_own_weights():
    with np.load(TRAINED) as data:
        layer = rp.GRU(data["kernel"], data["recurrent_kernel"], data["bias"])
        x, y = data["inputs"], data["outputs"]
    rows = implied.rows(layer, Sequences.of(layer, x), y, even=True)
    assert implied.scores(rows).max() > implied.SCREEN  # entries alone would be off
    assert found_nothing(rp.compare(layer, x, y).checks[0])


@pytest.mark.parametrize("samples", [16, 8, 4])
@pytest.mark.parametrize("index", [(3, 70), (17, 5), (20, 40)])
def test_a_true_change_is_found_in_all_samples_and_in_some(index, samples):
    run = drawn("GRU", 1, (16, 200, 32, 32))
    y = simulate(changed(run, "recurrent_kernel", index, 4e-6))
    check = examined(run.but(x=run.x[:samples]), y[:samples])
    assert check.verdict == "suspect"
    assert entries(check) == [("recurrent_kernel", index)]


@every_kind
def test_samples_that_disagree_prove_nothing(kind):
    run = right_run((8, 200, 32, 32), kind=kind)
    y, index = simulate(run), (5, 9)
    more, less, much = (
        simulate(changed(run, "kernel", index, amount)) for amount in (1.5e-6, -1.5e-6, 4.5e-6)
    )
    assert entries(examined(run, more)) == [("kernel", index)]
    half = (np.arange(8) % 4 < 2)[:, None, None]
    for others in (y, less, much):  # half of the samples are right, of another sign, of other sizes
        check = examined(run, np.where(half, more, others))
        assert (check.verdict, entries(check)) == ("parity", [])


@every_kind
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_few_samples(kind, samples):
    run = right_run((samples, 400, 32, 32), kind=kind)
    y = simulate(changed(run, "kernel", (5, 9), 2e-6))
    check = examined(run, y)
    # One sample has nobody to confirm what it raises; two are split in both ways.
    assert check.verdict == ("parity" if samples == 1 else "suspect")
    assert entries(check) == ([] if samples == 1 else [("kernel", (5, 9))])


def test_a_single_weight_is_not_taken_for_rounded_ones():
    # Its own rounding to 7 decimals, times what it is off by, is about what all roundings explain.
    run = drawn(BEFORE, 47)
    check = examined(run, simulate(changed(run, "kernel", (6, 24), -2e-6)))
    assert entries(check) == [("kernel", (6, 24))]
    assert [cause.fault for cause in check.causes] == ["weights-differ"]


@pytest.mark.parametrize("seed", range(4))
@every_kind
def test_several_entries_are_found_and_no_other(kind, seed):
    run = right_run((16, 100, 32, 32), seed, kind=kind)
    rng = np.random.default_rng(seed)
    other, true = run, set()
    for name in ("kernel", "recurrent_kernel", "recurrent_kernel"):
        index = tuple(int(rng.integers(n)) for n in getattr(run, name).shape)
        other = changed(other, name, index, rng.choice([-1, 1]) * rng.uniform(2e-6, 3e-6))
        true.add((name, index))
    check = examined(run, simulate(other))
    assert check.verdict == "suspect"
    assert set(entries(check)) <= true
    assert len(entries(check)) > 1


@pytest.mark.parametrize(("row", "gate"), [(0, 0), (1, 0), (1, 1), (0, 2), (1, 2)])
def test_of_two_biases_of_a_gate_only_the_sum_shows(row, gate):
    run, summed = right_run((8, 200, 16, 16), kind="GRU"), gate < 2
    change = 4e-6 if summed else 2e-6  # of the candidate more would be beyond the bound
    check = examined(run, simulate(changed(run, "bias", (row, 16 * gate + 5), change)))
    assert entries(check) == [("bias", (0 if summed else row, 16 * gate + 5))]
    assert ("only the sum of bias[0] and bias[1]" in check.causes[0].explanation) == summed


def test_more_entries_than_a_few_are_no_cause():
    run = right_run((8, 200, 16, 16))
    other = run
    for j in range(12):
        other = changed(other, "kernel", (j, j), 1e-6)
    check = examined(run, simulate(other))
    assert check.verdict == "suspect"
    assert check.causes == ()
    assert set(entries(check)) <= {("kernel", (j, j)) for j in range(12)}


@pytest.mark.parametrize("seed", [3, 6, 24])
def test_reset_gates_that_reach_all_units_are_told_from_other_weights(seed):
    run, rng = drawn(BEFORE, seed), np.random.default_rng(seed)
    other, true = run, set()
    for _ in range(3):
        name = ["kernel", "recurrent_kernel", "bias"][rng.integers(3)]
        index = tuple(int(rng.integers(n)) for n in getattr(run, name).shape)
        true.add((name, index))
        other = changed(other, name, index, 2e-6 * rng.choice([-1, 1]) * rng.uniform(0.5, 2))
    check = examined(run, simulate(other))
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


# Samples and steps that are alike confirm nothing.


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("kind", "size"),
    [("LSTM", (1, 100, 4, 16)), ("GRU", (1, 30, 4, 4)), (BEFORE, (1, 30, 4, 4))],
)
def test_a_sample_confirms_nothing_that_its_copies_raise(kind, size, seed):
    """Equal samples round alike: what looks like other weights in one does so in all of them."""
    run = right_run(size, seed, gain=1.4, kind=kind)
    outputs = np.repeat(simulate(run), 64, axis=0)
    assert examined(run.but(x=np.repeat(run.x, 64, axis=0)), outputs).verdict == "parity"


@pytest.mark.parametrize("seed", [1, 6, 7, 8])
def test_nor_do_copies_of_different_lengths(seed):
    run = right_run((1, 30, 4, 4), seed, gain=1.4, kind=BEFORE)
    mask = np.arange(30) < np.random.default_rng(seed).integers(15, 31, size=(32, 1))
    padded = run.but(x=np.repeat(run.x, 32, axis=0), mask=mask)
    assert examined(padded, simulate(padded)).verdict == "parity"


def test_steps_that_were_computed_before_are_left_out():
    run = right_run((3, 8, 2, 2), kind="GRU")
    run = run.but(x=run.x[[0, 1, 0]])
    equations = implied.all_rows(*call_of(run), simulate(run)).once()
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


# The units alone that a quick look shows.


@pytest.mark.parametrize("mask", [False, True])
@every_kind
def test_equations_of_some_units_are_those_of_all(kind, mask):
    run = right_run((6, 40, 5, 4), kind=kind, mask=mask, state=True)
    (layer, sequences), y, units = call_of(run), simulate(run), np.array([1, 3])
    if kind == BEFORE:  # its reset gates reach all units
        assert not by_themselves(layer)
        return
    whole = implied.rows(layer, sequences, y, even=True)
    some = implied.rows(layer, sequences, y, even=True, units=units)
    np.testing.assert_array_equal(some.good, whole.good)
    np.testing.assert_allclose(some.residual, whole.residual[..., units], rtol=1e-5, atol=1e-9)
    scores = implied.scores(whole)[:, units]
    np.testing.assert_allclose(implied.scores(some), scores, rtol=1e-4, atol=1e-4)
    for j, unit in enumerate(units):
        for one, other in zip(some.of_unit(j), whole.of_unit(unit), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def suspicion_of(run, y, probe=None):
    return causes.suspicion(Computation(*call_of(run), stateful=False), y, probe)


@pytest.mark.parametrize("size", [(8, 60, 6, 9), (16, 200, 6, 9)], ids=["few", "many"])
@every_kind
def test_the_close_look_at_some_units_finds_what_one_at_all_does(kind, size, monkeypatch):
    """Also where there are more steps than a quick look takes, of which some show more units."""
    run = right_run(size, kind=kind)
    other = changed(changed(run, "kernel", (2, 7), 6e-6), "recurrent_kernel", (4, 3), 3e-6)
    y = simulate(other)
    found = suspicion_of(run, y)
    assert ("kernel", (2, 7)) in [(one.weight, one.index) for one in found.weights]
    monkeypatch.setattr(implied, "by_themselves", lambda layer: False)
    every = suspicion_of(run, y)
    assert [(one.weight, one.index) for one in every.weights] == [
        (one.weight, one.index) for one in found.weights
    ]
    for one, same in zip(found.weights, every.weights, strict=True):
        assert one.implied == pytest.approx(same.implied, abs=1e-9)
    assert found.causes == every.causes


def test_a_close_look_is_at_the_units_that_a_quick_one_shows(monkeypatch):
    run, seen, rows = right_run((8, 60, 6, 9), kind="GRU"), [], implied.some_rows
    y = simulate(changed(run, "kernel", (2, 7), 6e-6))
    monkeypatch.setattr(implied, "some_rows", lambda *a: (seen.append(a[5]), rows(*a))[1])
    assert suspicion_of(run, y) is not None
    assert [units.tolist() for units in seen] == [[7]]


@pytest.mark.parametrize("others", [[2], [2, 5]])
def test_more_steps_may_show_more_units(others, monkeypatch):
    run, seen, rows = right_run((16, 200, 6, 9), kind="GRU"), [], implied.some_rows
    y = simulate(changed(run, "kernel", (2, 2), 6e-6))
    loud = {True: np.array([2]), False: np.array(others)}
    monkeypatch.setattr(implied, "loud_units", lambda *a: loud[a[3] < 1000])
    monkeypatch.setattr(implied, "some_rows", lambda *a: (seen.append(a[5]), rows(*a))[1])
    assert suspicion_of(run, y) is not None
    assert [units.tolist() for units in seen] == [[2], others]


def test_what_the_equations_do_not_show_is_not_looked_at_closely(monkeypatch):
    run, counts = right_run((16, 200, 6, 9), kind="GRU"), []
    monkeypatch.setattr(implied, "loud_units", lambda *a: (counts.append(a[3]), np.array([2]))[1])
    assert suspicion_of(run, simulate(run)) is None
    assert len(counts) == 1


@pytest.mark.parametrize(("steps", "repeated"), [(40, 40), (400, 400), (400, 120)])
def test_few_steps_that_differ_are_looked_at_for_rounded_weights(steps, repeated, monkeypatch):
    """Repeated steps show nothing of their own: what is left of them is too few for one weight."""
    run = right_run((8, steps, 3, 4), kind="GRU")
    x = run.x.copy()
    x[:, :repeated] = 0
    run = run.but(x=x)
    asked = []
    monkeypatch.setattr(causes, "likeliest_rounding", lambda *a: asked.append(a))
    monkeypatch.setattr(implied, "loud_units", lambda *a: np.array([1]))
    monkeypatch.setattr(implied, "distinct", lambda sequences: np.arange(8))
    assert suspicion_of(run, simulate(run)) is None
    assert asked


@pytest.mark.parametrize(
    ("kind", "several", "looked_at"),
    [("SimpleRNN", True, False), ("SimpleRNN", False, True), (BEFORE, True, True)],
)
def test_units_that_vary_too_little_are_not_looked_at(kind, several, looked_at, monkeypatch):
    """But of a single sample, which a probe may confirm, and where each reaches the others."""
    run, seen, look = right_run((8, 200, 6, 9), kind=kind), [], implied.confirmed_in_unit
    other = changed(changed(run, "kernel", (2, 3), 8e-6), "kernel", (1, 7), 8e-6)
    x = run.x if several else run.x.reshape(1, 1600, 6)
    run, y = run.but(x=x), simulate(other.but(x=x))
    monkeypatch.setattr(implied, "varied", lambda outputs: np.arange(9) != 3)
    monkeypatch.setattr(implied, "confirmed_in_unit", lambda *a: (seen.append(a[5]), look(*a))[1])
    found = suspicion_of(run, y, probe_of(other))
    named = {one.index for one in found.weights}
    assert named == ({(1, 7)} if several else {(2, 3), (1, 7)})
    assert (3 in seen) == looked_at


def test_units_that_vary_too_little_make_no_room_for_others(monkeypatch):
    run = right_run((8, 200, 6, 12))
    equations = implied.rows(*call_of(run), simulate(run), even=True)
    monkeypatch.setattr(implied, "SCREEN", 0.0)
    seen = []
    nothing = np.zeros(len(equations.groups)), np.full(len(equations.groups), np.inf)
    monkeypatch.setattr(implied, "confirmed_in_unit", lambda *a: (seen.append(a[5]), nothing)[1])
    layer = run.layer()
    implied.confirmed(layer, equations)
    first, seen[:] = list(seen), []
    assert len(first) == implied.MOST_UNITS
    varied = ~np.isin(np.arange(12), first[:4])
    implied.confirmed(layer, equations, varied=varied)
    assert seen == first[4:]


@pytest.mark.parametrize(("size", "times"), [((8, 120, 6, 9), 1), ((8, 200, 6, 9), 2)])
def test_equations_are_set_up_once_where_all_steps_are_looked_at(size, times, monkeypatch):
    run, counts, rows = right_run(size, kind="GRU"), [], implied.some_rows
    y = simulate(changed(run, "kernel", (2, 7), 6e-6))
    monkeypatch.setattr(implied, "doubtful_units", lambda *a: None)
    monkeypatch.setattr(implied, "some_rows", lambda *a: (counts.append(a[3]), rows(*a))[1])
    found = suspicion_of(run, y)
    assert [one.index for one in found.weights] == [(2, 7)]
    assert len(counts) == times


# Least squares.


@pytest.mark.parametrize("size", [1, 15, 33, 100, 149])
def test_the_inverse_of_a_triangular_matrix(size):
    rng = np.random.default_rng(size)
    matrix = np.tril(rng.normal(size=(size, size)) / size) + np.diag(rng.uniform(1, 2, size))
    inverse = implied.inverse_of_lower(matrix)
    np.testing.assert_allclose(inverse @ matrix, np.eye(size), atol=1e-12)
    assert not np.triu(inverse, 1).any()


def normalized(a):
    a = a / np.sqrt((a * a).sum(axis=0))
    return a.T @ a


@pytest.mark.parametrize("beside", [0.5, 1e-2, 3e-4])
def test_a_gram_matrix_is_solved(beside):
    """Also where two columns are nearly the same, which nothing tells apart at the last."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 40))
    a[:, 30] = a[:, 5] + beside * a[:, 30]
    gram, moment = normalized(a), rng.normal(size=40)
    solution, spread, open_ = implied.solved(gram, moment)
    inverse = np.linalg.inv(gram)
    np.testing.assert_allclose(solution, inverse @ moment, rtol=1e-6)
    np.testing.assert_allclose(spread, np.diag(inverse), rtol=1e-6)
    assert not open_.any()
    assert (spread.max() > implied.SINGULAR) == (beside < 1e-3)


@pytest.mark.parametrize("beside", [0.0, 1e-6])
def test_what_a_gram_matrix_leaves_open(beside):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 40))
    a[:, 30] = a[:, 5] + beside * a[:, 30]
    gram, moment = normalized(a), rng.normal(size=40)
    solution, spread, open_ = implied.solved(gram, moment)
    assert np.flatnonzero(open_).tolist() == [5, 30]
    other = np.delete(np.arange(40), 30)
    inverse = np.linalg.inv(gram[np.ix_(other, other)])
    rest = np.delete(np.arange(40), [5, 30])
    expected = np.linalg.pinv(gram, rcond=1e-8)
    np.testing.assert_allclose(solution, expected @ moment, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(spread[rest], np.diag(inverse)[np.isin(other, rest)], rtol=1e-4)


def test_columns_may_be_dependent_together_where_none_is_of_those_before_it():
    """Kahan's matrix: no pivot of Cholesky's is small, and its smallest singular value is."""
    s, c = 0.9, np.sqrt(1 - 0.81)
    a = s ** np.arange(30)[:, np.newaxis] * (np.eye(30) - c * np.triu(np.ones((30, 30)), 1))
    gram = a.T @ a
    assert np.diag(np.linalg.cholesky(gram)).min() ** 2 > 1 / implied.SINGULAR
    assert implied.solved(gram, np.ones(30))[2].any()


# A probe.


def probe_of(run):
    """An implementation that can be run on anything: a plain float32 loop."""

    def probe(inputs, states):
        x, state = inputs.astype(np.float32), np.stack(states).astype(np.float32)
        return simulate(run.but(x=x, state=state if len(state) > 1 else state[0]))

    return probe


PLACES = [("kernel", (5, 9)), ("recurrent_kernel", (3, 7)), ("recurrent_kernel", (6, 6))]


@pytest.mark.parametrize("kind", ["SimpleRNN", "GRU", BEFORE])
@pytest.mark.parametrize(("name", "index"), PLACES)
def test_a_probe_settles_it(kind, name, index):
    run = right_run((2, 400, 32, 32), 3, kind=kind)
    other = changed(run, name, index, 6e-6)
    one = run.but(x=run.x.reshape(1, 800, 32))
    y = simulate(other.but(x=one.x))
    assert examined(one, y).verdict == "parity"
    check = examined(one, y, probe=probe_of(other))
    assert (check.verdict, entries(check)) == ("suspect", [(name, index)])
    # The layer that is run has its own weights, whatever one sample or several of them say.
    assert examined(one, y, probe=probe_of(run)).verdict == "parity"
    y = simulate(other)
    assert examined(run, y).verdict == "suspect"
    assert examined(run, y, probe=probe_of(run)).verdict == "parity"


@every_kind
def test_a_probe_that_cannot_be_run_leaves_it_to_the_samples(kind):
    run = right_run((4, 200, 32, 32), 3, kind=kind)
    y = simulate(changed(run, "kernel", (5, 9), 3e-6))
    assert examined(run, y, probe=lambda inputs, states: None).verdict == "suspect"
    assert (
        examined(run, y, probe=lambda x, s: np.full((len(x), 1, 32), np.nan)).verdict == "suspect"
    )


@every_kind
def test_a_probe_of_every_weight(kind):
    """Each weight off by one part in a thousand: told from the right one, unless it cannot show."""
    run = right_run((1, 1, 3, 2), 5, kind=kind)
    layer, told = run.layer(), []
    for k, j in np.ndindex(len(stacked(layer)), 2):
        name, index = where(layer, k, j)
        other = changed(run, name, index, 1e-3)
        real = float(getattr(other, name)[index]) - float(getattr(run, name)[index])
        settled = probed(layer, k, j, real, probe_of(other))
        told.append(settled)
        # Right weights, half the change and the other sign are not what was implied.
        wrong = None if settled is None else False
        assert probed(layer, k, j, real, probe_of(run)) is wrong
        assert probed(layer, k, j, -real, probe_of(other)) is wrong
        assert probed(layer, k, j, 2.1 * real, probe_of(other)) is not True
        # What rounding may hide is not told.
        assert probed(layer, k, j, 1e-9, probe_of(run)) is None
    assert set(told) <= {True, None}
    assert told.count(True) >= 0.9 * len(told)


# Estimates, and least squares.


def estimated(run, outputs):
    layer, sequences = call_of(run)
    equations = implied.total_rows(layer, sequences, outputs)
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
    other = changed(run, "kernel", (1, 3), 1e-3)
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


def test_an_estimate_needs_as_many_equations_as_there_are_unknowns():
    run = right_run((1, 3, 3, 2), kind="LSTM")
    assert not np.isfinite(implied.estimate(implied.rows(*call_of(run), simulate(run))).error).any()


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


@pytest.mark.parametrize("scale", [0.003, 0.01, 0.03])
def test_samples_that_hardly_differ_confirm_nothing(scale):
    # Without the rule about what varies, 5 of these 12 right runs are suspect.
    for seed in (2, 59, 64, *range(9)):
        rng = np.random.default_rng(seed)
        shapes = (4, 5), (5, 5), (5,)
        kernel, recurrent, bias = (np.float32(rng.normal(size=s)) * np.float32(0.3) for s in shapes)
        inputs = (rng.normal(size=(20, 60, 4)) * scale).astype(np.float32)
        h, outputs = np.zeros((20, 5), np.float32), []
        for t in range(60):
            h = np.tanh(inputs[:, t] @ kernel + h @ recurrent + bias)
            outputs.append(h)
        report = rp.compare(rp.SimpleRNN(kernel, recurrent, bias), inputs, np.stack(outputs, 1))
        assert report.verdict == "parity", seed


def test_one_wrong_number_implies_no_other_weights():
    # Without the rule about the equation that is furthest off, seed 25 has other weights.
    named = []
    for seed in (3, 25, 31):
        rng = np.random.default_rng(seed)
        run = drawn("LSTM", seed, (3, 7, 4, 6))
        outputs = simulate(run).copy()
        outputs[rng.integers(3), 6, rng.integers(6)] += 10 ** rng.uniform(-5.5, -1)
        named += [(seed, cause.fault) for cause in examined(run, outputs).causes]
    assert named == []
