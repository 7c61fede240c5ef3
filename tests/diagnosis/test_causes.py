"""Diagnosis: pairs of faults, odd shapes and numbers, and silence where nothing explains them."""

from dataclasses import replace

import numpy as np
import pytest
from corpus import (
    GATED,
    NARROW,
    call_of,
    every_kind,
    examined,
    right_run,
    simulate,
    simulate_with_states,
)
from mistakes import MISTAKES, OF_ANY, OUTSIDE, early, observed

import rnn_parity as rp
from rnn_parity.diagnosis import causes as search
from rnn_parity.diagnosis import evidence
from rnn_parity.diagnosis.causes import explaining, places
from rnn_parity.diagnosis.evidence import SequenceEvidence
from rnn_parity.diagnosis.faults import Computation, faults_of, weights
from rnn_parity.recurrence.sequences import Sequences

SIZE = (8, 9, 5, 6)
SIZES = [(2, 5, 3, 4), (32, 28, 32, 16), (4, 200, 64, 64)]


def causes(run, outputs):
    check = examined(run, outputs)
    assert check.verdict == "diverged"
    return [cause.fault for cause in check.causes]


PAIRS = [
    ("SimpleRNN", "bias-dropped", "recurrent-kernel-transposed"),
    ("SimpleRNN", "bias-dropped", "outputs-not-reversed"),
    ("SimpleRNN", "recurrent-kernel-transposed", "initial-state-ignored"),
    ("SimpleRNN", "bias-doubled", "activation-swapped relu"),
    ("SimpleRNN", "initial-state-ignored", "time-shifted late"),
    ("SimpleRNN", "recurrent-kernel-transposed", "batch-time-swapped time first"),
    ("SimpleRNN", "bias-dropped", "units-permuted"),
    ("SimpleRNN", "bias-dropped", "weights-rounded bfloat16"),
    ("SimpleRNN", "recurrent-kernel-transposed", "lower-precision operands in tfloat32"),
    ("LSTM", "gates-permuted i, o, f, c", "forget-bias-missing 1 less"),
    ("LSTM", "initial-state-ignored", "gates-permuted i, c, f, o"),
    ("LSTM", "gates-permuted f, i, c, o", "units-permuted"),
    ("LSTM", "gates-permuted i, o, f, c", "time-shifted late"),
    ("LSTM", "bias-dropped", "outputs-not-reversed"),
    ("LSTM", "activation-swapped sigmoid", "recurrent-activation-swapped tanh"),
    ("LSTM", "gates-permuted i, o, f, c", "weights-rounded float16"),
    ("LSTM", "gates-permuted i, o, f, c", "lower-precision operands in bfloat16"),
    ("GRU", "gates-permuted r, z, h", "reset-after-flipped before"),
    ("GRU", "gates-permuted r, z, h", "recurrent-bias-dropped"),
    ("GRU", "gates-permuted r, z, h", "update-gate-inverted"),
    ("GRU", "recurrent-kernel-transposed", "update-gate-inverted"),
]


def change_of(kind, fault, _, detail):
    """That of the first such mistake."""
    some = (m for m in MISTAKES if kind in m.kinds and m.fault == fault and detail in m.detail)
    return next(some).change


@pytest.mark.parametrize("size", [(8, 9, 5, 6), (4, 40, 12, 6)], ids=str)
@pytest.mark.parametrize(("kind", "one", "other"), PAIRS)
def test_two_faults_at_once(kind, one, other, size):
    run = right_run(size, 3, kind=kind, state=True)
    both = one.partition(" "), other.partition(" ")
    found = causes(run, observed(run, *(change_of(kind, *fault) for fault in both)))
    pair = "+".join(fault for fault, *_ in both)
    if kind == "SimpleRNN":
        # TF32 and float16 have the same digits.
        assert {frozenset(f.split("+")) for f in found} == {frozenset(pair.split("+"))}
    else:
        # Weights and operands rounded alike differ by the inputs alone.
        assert pair in found
        assert {f.split("+")[0] for f in found} == {both[0][0]}


@pytest.mark.parametrize("size", [SIZE, (9, 9, 5, 6)], ids=str)
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM"])
def test_swapped_axes_of_any_shape(kind, size):
    run = right_run(size, kind=kind)
    assert causes(run, simulate(run).swapaxes(0, 1)) == ["batch-time-swapped"]


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        *(("SimpleRNN", s) for s in ((8, 9, 7), (9, 9, 6), (8, 10, 6), (3,), (), (8, 9, 6, 1))),
        ("LSTM", (8, 9, 24)),
    ],
)
def test_shapes_that_nothing_explains(kind, shape):
    assert causes(right_run(SIZE, kind=kind), np.ones(shape, np.float32)) == []


def test_an_output_too_many_and_one_too_few():
    run = right_run(SIZE, state=True)
    outputs = simulate(run)
    with_state = np.concatenate([run.state[:, None], outputs], axis=1)
    assert causes(run, with_state) == ["time-shifted"]
    assert causes(run, outputs[:, 1:]) == ["time-shifted"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(value):
    run = right_run(SIZE)
    wrong = simulate(run.but(bias=None))
    wrong[2, 6, 1] = value
    check = examined(run, wrong)
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 0)
    assert [cause.fault for cause in check.causes] == ["bias-dropped"]
    wrong[3, 0, 1] = value  # from the first timestep on: the other samples tell
    assert causes(run, wrong) == ["bias-dropped"]
    wrong[:, 0] = value
    assert causes(run, wrong) == []
    run = right_run(SIZE, kind="GRU, reset before")
    wrong = simulate(run.but(order="rzh"))
    wrong[2, 6, 1] = value
    assert causes(run, wrong) == ["gates-permuted"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_right_up_to_a_number_that_is_not_finite_has_no_cause(value):
    run = right_run(SIZE)
    outputs = simulate(run)
    outputs[2, 6, 1] = value
    check = examined(run, outputs)
    first = check.first_divergence
    assert (check.verdict, check.causes) == ("diverged", ())
    assert (first.timestep, first.batch, first.unit) == (6, 2, 1)
    assert check.notes == ()  # every finite step is right: nothing is off, nothing grows


@pytest.mark.parametrize(
    ("off", "said"),
    [
        ([1, 1, 1], "all 3 timesteps"),
        ([0, 1, 1, 1], "3 of 4 timesteps (all but timestep 0)"),
        ([1, 0, 1, 0, 1], "3 of 5 timesteps (all but timesteps 1, 3)"),
        ([0, 1, 0, 0], "1 of 4 timesteps (1)"),
        ([0, 1] * 8, "8 of 16 timesteps (1, 3, 5, 7, 9, 11, ...)"),
    ],
)
def test_which_places_are_off_is_said_without_being_taken_for_a_number(off, said):
    assert places("timestep", np.array(off, bool)) == said


SLOW = (
    *("noise of 1e-4", "shuffled batch", "one timestep skipped", "kernel scaled by 0.999"),
    *("kernel columns permuted", "recurrent dropout at every step"),
)
"""Of what every layer can have, what those with gates are tried with: each takes long."""


@every_kind
def test_mistakes_outside_the_catalogue_have_no_cause(kind):
    for size in SIZES if kind == "SimpleRNN" else [SIZE]:
        run = right_run(size, kind=kind)
        for name, change in OUTSIDE[kind].items():
            if kind == "SimpleRNN" or name in SLOW or name not in OF_ANY:
                check = examined(run, observed(run, change))
                assert (check.verdict, check.causes) == ("diverged", ()), name
                assert "none of the" in check.summary


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softplus"])
def test_nor_have_they_with_another_activation(activation):
    for name, change in OUTSIDE["SimpleRNN"].items():
        run = right_run((8, 30, 10, 12), 1, activation, mask=name != "one timestep skipped")
        outputs = observed(run, change)
        if np.abs(outputs - simulate(run)).max() > 1e-4:
            assert causes(run, outputs) == [], name


def test_what_other_weights_would_fit_is_said():
    run = right_run((32, 28, 32, 16))
    scaled = examined(run, simulate(run.but(kernel=run.kernel * np.float32(0.999))))
    assert "other values in kernel would" in scaled.summary
    assert {w.weight for w in scaled.implied_weights} == {"kernel"}
    for w in scaled.implied_weights:
        assert abs(w.implied - 0.999 * w.expected) < 1e-6
    noisy = examined(run, observed(run, OF_ANY["noise of 1e-2"]))
    assert "no other weights would" in noisy.summary
    assert noisy.implied_weights is None


def test_equal_fits_of_one_fault_stand_together():
    run = right_run((4, 9, 5, 6), activation="tanh")
    (cause,) = examined(run, simulate(run.but(activation="relu"))).causes
    assert cause.fault == "activation-swapped"
    # No argument reaches 6 here.
    assert "relu" in cause.explanation
    assert "relu6" in cause.explanation


def test_no_cause_of_a_right_run():
    for mistake in MISTAKES:
        run = mistake.right_run(mistake.kinds[0], (4, 9, 5, 5))
        check = examined(run, simulate(run))
        assert (check.verdict, check.causes) == ("parity", ())


@pytest.mark.parametrize(("alone", "count"), [(0.4, 0), (100.0, 1)])
def test_a_second_fault_must_be_closer_by_far(alone, count):
    run = right_run(SIZE)
    reference = Computation(*call_of(run))
    seen = SequenceEvidence(reference, simulate(run), np.arange(3), slice(0, 9))
    one, other, *_ = faults_of(reference.layer)
    pair = iter([((one, other), reference, ("", ""))])
    assert len(explaining(pair, seen, {one: alone, other: 1e6})) == count


# Where states are hidden, or the first timestep tells nothing.


def test_a_divergence_after_hundreds_of_timesteps():
    """A hidden state is known at the beginning alone: what differs late is tried from there."""
    run = right_run((3, 400, 4, 5), kind="LSTM")
    mask = np.ones((3, 400), bool)
    mask[:, 380:390] = False
    masked = run.but(mask=mask)
    check = examined(masked, simulate(run))
    assert check.first_divergence.timestep == 380
    assert [cause.fault for cause in check.causes] == ["mask-ignored"]


@every_kind
def test_samples_that_are_all_masked(kind):
    run = right_run((4, 9, 5, 6), kind=kind, mask=True, state=True)
    run.mask[1] = False
    assert examined(run, simulate(run)).verdict == "parity"
    assert causes(run, simulate(run.but(state=None))) == ["initial-state-ignored"]


@pytest.mark.parametrize("name", NARROW)
def test_operands_next_to_a_tie_may_be_rounded_either_way(name):
    """`r h` is one, and not observed."""
    run = right_run((32, 60, 16, 16), kind="GRU, reset before")
    outputs = simulate(run.but(operand=NARROW[name]))
    (cause,) = examined(run, outputs).causes
    assert cause.fault == "lower-precision"
    assert f"operands in {name}" in cause.explanation


def test_outputs_one_step_early_of_numbers_that_grow():
    """The first output is not there, and what it was rounded to must not matter."""
    run = right_run((4, 60, 16, 16), 14, "relu", kind="GRU")
    assert causes(run, early(simulate(run))) == ["time-shifted"]


@pytest.mark.parametrize("what", ["plain", "NaN among the inputs", "left padded"])
@pytest.mark.parametrize("kind", GATED)
def test_one_step_refutes_nearly_all_candidates(kind, what, monkeypatch):
    """Thousands of pairs are tried: what is left takes a hundred times as long for each."""
    run = right_run((4, 20, 6, 8), 1, kind=kind, state=True)
    if what == "NaN among the inputs":
        run.x[0, 0, 1] = np.nan
    if what == "left padded":
        run = run.but(mask=np.tile(np.arange(20) >= 3, (4, 1)))
    with np.errstate(invalid="ignore"):
        outputs = np.nan_to_num(simulate(run), nan=0.25)
    outputs += np.float32(1e-3) * np.sin(np.arange(8, dtype=np.float32))
    tried, counted = [], evidence.closest_fit
    monkeypatch.setattr(evidence, "closest_fit", lambda *a: tried.append(1) or counted(*a))
    assert causes(run, outputs) == []
    assert len(tried) < 20


@pytest.mark.parametrize("factor", [2, 4 / 3, 0.5])
def test_inputs_that_are_scaled_are_not_dropped(factor):
    run = right_run((16, 8, 8, 6))
    assert causes(run, simulate(run.but(x=np.float32(factor) * run.x))) == []


@pytest.mark.parametrize("wrong", [0.55, -0.3])
def test_one_number_determines_no_cause(wrong):
    run = right_run((1, 1, 1, 1), 3)
    assert causes(run, np.full((1, 1, 1), wrong, np.float32)) == []


def test_zeros_are_no_evidence():
    layer = rp.SimpleRNN([[1.0]], [[-0.3]], [0.1], activation="relu", dtype="float32")
    wrong = rp.SimpleRNN([[-1.0]], [[-0.3]], [0.1], activation="relu", dtype="float32")
    x = np.float32([[[0.5], [-0.6]]])
    outputs = rp.replay(wrong, x).outputs.astype(np.float32)
    assert rp.compare(layer, x, outputs).checks[0].causes == ()


def test_few_numbers_that_may_be_printed_have_no_cause():
    layer = rp.SimpleRNN([[0.4]], [[0.3]], [0.1], dtype="float32")
    x = np.float32([[[0.7]]])
    seen = np.round(rp.replay(layer, x).outputs, 3).astype(np.float32)
    for outputs in (seen, seen[:, -1]):
        check = rp.compare(layer, x, outputs).checks[0]
        assert (check.verdict, check.causes) == ("diverged", ())
        assert "printed with 3 decimals they would be right" in check.summary
    assert "printed with" not in rp.compare(layer, x, seen + 0.125).checks[0].summary


@pytest.mark.parametrize(
    ("states", "fault"),
    [
        (lambda h, c, given: (c, h), "states-swapped"),
        (lambda h, c, given: (h, h), "state-mixed"),
        (lambda h, c, given: (c, c), "state-mixed"),
        (lambda h, c, given: given, "final-state-stale"),
        (lambda h, c, given: (h, given[1]), "final-state-stale"),
        (lambda h, c, given: (h, c + np.float32(0.1)), None),
    ],
)
def test_final_states_beside_a_right_last_output(states, fault):
    run = right_run(SIZE, 2, kind="LSTM", state=True)
    outputs, (h, c) = simulate_with_states(run)
    check = examined(run, outputs[:, -1], states(h, c, run.state))
    assert check.verdict == "diverged"
    assert [cause.fault for cause in check.causes] == [fault] * (fault is not None)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_pairs_are_not_tried_where_every_row_of_the_inputs_holds_no_number(value):
    """No first step refutes one of thousands there; a single mistake is still looked for."""
    rng, count = np.random.default_rng(0), 0

    def tick():
        nonlocal count
        count += 1

    weights = [np.float32(rng.normal(size=shape)) for shape in ((3, 16), (4, 16), (16,))]
    layer, x = rp.LSTM(*weights), rng.normal(size=(2, 5, 3))
    outputs = np.float32(rng.normal(size=(2, 5, 4)))
    for holds_none in (False, True):
        if holds_none:
            x[..., 1] = value
        reference, count = Computation(layer, Sequences.of(layer, x)), 0
        seen = SequenceEvidence.around(reference, outputs, None)
        assert search.causes(reference, seen, tick) == ()
        assert (count < 1000) == holds_none
        assert seen.tells_pairs != holds_none


# Divergences that start late.


def late_run(kind, start):
    """A run, and its outputs from timestep `start` on those of other samples."""
    run = right_run((20, 12, 5, 24), kind=kind)
    outputs = simulate(run)
    outputs[:, start:] = np.roll(outputs, 1, axis=0)[:, start:]
    return run, outputs


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_what_is_off_late_is_told_of_all_samples(kind):
    check = examined(*late_run(kind, 9))
    assert check.causes == ()
    assert any(
        "all 24 units, in all 20 samples, in 3 of 12 timesteps (9, 10, 11)" in note
        for note in check.notes
    )


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_what_is_off_late_in_one_sample_is_told_of_that_one(kind):
    run, outputs = late_run(kind, 9)
    right = simulate(run)
    right[7] = outputs[7]
    assert any("in 1 of 20 samples (7)" in note for note in examined(run, right).notes)


def test_a_computation_is_like_another_that_differs_by_nothing_that_counts():
    reference = Computation(*call_of(right_run((3, 4, 2, 3), kind="LSTM")))
    state = np.zeros_like(reference.sequences.initial_state)
    assert reference.sequences_but("no state", initial_state=state).is_like(reference)
    assert reference.layer_but(zero_output_for_mask=True).is_like(reference)
    assert not reference.sequences_but(initial_state=state + 1).is_like(reference)
    assert not reference.layer_but(bias=reference.layer.bias.copy()).is_like(reference)
    assert not reference.but(undo=lambda c, y: (c.sequences, y)).is_like(reference)
    mask = np.ones((3, 4), bool)
    masked = reference.sequences_but(mask=mask)
    assert not masked.is_like(reference)
    assert not masked.layer_but(zero_output_for_mask=True).is_like(masked)


# Other weights, by all samples together.


def implied_by(layer, x, outputs, mask=None):
    """The weights that outputs imply, and those as the cause."""
    reference = Computation(layer, Sequences.of(layer, x, mask), False)
    found = search.suspicion(reference, outputs)
    evidence = SequenceEvidence.around(reference, outputs, None)
    return getattr(found, "weights", ()), search.implied_causes(reference, found, evidence)


@pytest.mark.parametrize("kind", [rp.SimpleRNN, rp.LSTM])
def test_least_squares_on_all_samples_name_a_weight_that_is_hardly_beyond_its_bound(kind):
    """Most steps are within their bounds then, and those that are not are too few to name it."""
    rng = np.random.default_rng(5)
    gates = len(kind.GATES)
    kernel, recurrent, bias = (
        scale * rng.normal(size=size).astype(np.float32)
        for scale, size in ((0.5, (5, 8 * gates)), (0.3, (8, 8 * gates)), (0.3, 8 * gates))
    )
    layer = kind(kernel, recurrent, bias, dtype="float32")
    x = rng.normal(size=(64, 10, 5)).astype(np.float32)
    mask = np.arange(10) < rng.integers(4, 11, size=(64, 1))
    other = recurrent.copy()
    other[1, 3] += np.float32(2.5e-5)
    wrong = rp.replay(kind(kernel, other, bias, dtype="float32"), x, mask=mask).outputs
    wrong = wrong.astype(np.float32)
    weights, found = implied_by(layer, x, wrong, mask)
    assert [(one.weight, one.index) for one in weights] == [("recurrent_kernel", (1, 3))]
    assert weights[0].implied == pytest.approx(other[1, 3], abs=1e-6)
    (cause,) = found
    assert cause.fault == "weights-differ"
    assert cause.effective_bits > 23


def test_noise_implies_no_weights():
    run = right_run((16, 12, 5, 6))
    outputs = simulate(run) + 1e-4 * np.random.default_rng(0).normal(size=(16, 12, 6))
    assert implied_by(run.layer(), run.x, outputs) == ((), ())
    assert any("look like noise" in note for note in examined(run, outputs).notes)


def test_weights_that_explain_no_more_than_a_part_are_no_cause():
    run = right_run((64, 12, 5, 6))
    kernel = run.kernel.copy()
    kernel[1, 3] += np.float32(1e-3)
    outputs = simulate(run.but(kernel=kernel))
    outputs[3, 4, 5] += 0.01
    _, found = implied_by(run.layer(), run.x, outputs)
    assert found == ()


# What the verdict knows of the units that are off.


def other_entries(run, count):
    """The outputs with another entry of the kernel in the first gate of each of `count` units."""
    kernel, units = run.kernel.copy(), np.arange(count)
    kernel[units % len(kernel), units] += 0.25
    return simulate(run.but(kernel=kernel))


@every_kind
def test_other_entries_in_as_many_units_as_there_may_be_are_named(kind):
    run = right_run((8, 20, 6, 20), kind=kind)
    assert causes(run, other_entries(run, 8)) == ["weights-differ"]


def test_one_entry_of_a_reset_gate_is_named_though_all_units_are_off():
    run = right_run((8, 20, 6, 20), kind="GRU, reset before")
    kernel = run.kernel.copy()
    kernel[2, 23] += 0.001  # the gate r of unit 3
    outputs = simulate(run.but(kernel=kernel))
    check = examined(run, outputs)
    assert [cause.fault for cause in check.causes] == ["weights-differ"]
    assert "kernel[2, 23]" in check.causes[0].explanation


@pytest.mark.parametrize("count", [8, 9])
def test_no_entries_are_looked_for_where_more_units_are_clearly_off(count, monkeypatch):
    looked = []
    monkeypatch.setattr(weights, "implied_entries", lambda *data: looked.append(1) or {})
    run = right_run((8, 20, 6, 20), kind="LSTM")
    outputs = simulate(run)
    outputs[:, -1, :count] += 0.125
    assert causes(run, outputs) == []
    assert bool(looked) == (count <= 8)


def test_units_that_are_hardly_off_rule_nothing_out():
    reference = Computation(*call_of(right_run((3, 4, 2, 3))))
    ratios = {"unit": np.array([1.0, 2.0, np.inf])}
    seen = SequenceEvidence(reference, simulate(right_run((3, 4, 2, 3))), np.arange(1), slice(0, 4))
    assert seen.units_off == 0
    assert replace(seen, beyond=ratios).units_off == 1
