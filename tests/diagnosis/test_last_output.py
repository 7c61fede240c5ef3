"""The cause of a last output alone, which is Keras's default: named where it fits, else not."""

import numpy as np
import pytest
from corpus import every_kind, examined, right_run, simulate, simulate_with_states
from measure_causes import FREE
from mistakes import EVERY_MISTAKE, MISTAKES, OUTSIDE, set_to

from rnn_parity.report.checks import findings

SIZE = (8, 14, 5, 6)
COMMON = {
    ("SimpleRNN", "bias-dropped"): "",
    ("LSTM", "gates-permuted"): "i, c, f, o",
    ("LSTM", "forget-bias-doubled"): "1 more",
    ("LSTM", "hard-sigmoid-slope"): "Keras 3",
    ("GRU", "recurrent-activation-swapped"): "hard_sigmoid",
    ("SimpleRNN", "activation-swapped"): "relu",
    ("GRU", "recurrent-kernel-transposed"): "",
}
"""Seven common faults, by the kind of layer, and a word of the explanation."""
UNTOLD = {
    # Gates of tanh make numbers grow, and the bound with them; rounding moves less than that.
    ("recurrent-activation-swapped", "tanh"),
    ("weights-rounded", "4 decimals"),
    ("bias-differs", "of its numbers"),
    # What another state leaves after 14 timesteps may be next to nothing.
    ("state-leaked", "of the one before"),
}
NARROW = ("lower-precision", "weights-rounded")
NAMED = [
    one
    for one in EVERY_MISTAKE
    if one.values[1].fault not in (*FREE, *NARROW)
    and (one.values[1].fault, one.values[1].detail) not in UNTOLD
]


def causes(run, wrong, **options):
    check = examined(run, wrong, **options)
    assert check.verdict == "diverged"
    assert check.first_divergence is None
    assert "outputs say" not in check.summary
    return check.causes


def last_of(outputs):
    return np.ascontiguousarray(outputs[:, -1])


@pytest.mark.parametrize(("kind", "fault"), COMMON)
@pytest.mark.parametrize("seed", range(3))
def test_seven_common_faults_are_named(kind, fault, seed):
    detail = COMMON[kind, fault]
    mistake = next(
        m for m in MISTAKES if kind in m.kinds and m.fault == fault and detail in m.detail
    )
    run = mistake.right_run(kind, SIZE, seed)
    found = causes(run, last_of(mistake.observed(run)))
    assert [cause.fault for cause in found] == [fault]
    assert detail in found[0].explanation


@pytest.mark.parametrize(("kind", "mistake"), NAMED)
def test_what_a_whole_sequence_shows_is_named_of_the_last_output(kind, mistake):
    run = mistake.right_run(kind, SIZE, 1)
    right, wrong = simulate(run), mistake.observed(run)
    if wrong.shape != right.shape or np.array_equal(wrong[:, -1], right[:, -1]):
        pytest.skip("the last output does not show it")
    faults = {cause.fault for cause in causes(run, last_of(wrong))}
    # Outputs in another order of time end with the first one, and equal other mistakes.
    assert mistake.fault in faults
    assert not faults & set(FREE)


@every_kind
@pytest.mark.parametrize("seed", range(6))
def test_unrelated_numbers_have_no_cause(kind, seed):
    run = right_run((4, 6, 3, 4), seed, kind=kind)
    rng = np.random.default_rng(seed)
    right = last_of(simulate(run))
    wrong = right[rng.permutation(4)][:, rng.permutation(4)] * rng.uniform(0.5, 1.5, right.shape)
    assert causes(run, wrong.astype(np.float32)) == ()


@pytest.mark.parametrize("name", OUTSIDE["SimpleRNN"])
def test_mistakes_outside_the_catalogue_have_no_cause(name):
    run = right_run(SIZE, 2)
    rng = np.random.default_rng(0)
    changed = OUTSIDE["SimpleRNN"][name](run, rng)
    wrong = changed(simulate(run)) if callable(changed) else simulate(changed)
    check = examined(run, last_of(wrong))
    assert check.causes == ()


def test_a_single_number_is_no_evidence():
    """One sample of one unit: dozens of mistakes come near some number."""
    run = right_run((1, 3, 2, 1), 5)
    for wrong in np.linspace(-0.9, 0.9, 40, dtype=np.float32):
        check = examined(run, wrong.reshape(1, 1))
        assert check.causes == ()


def test_final_states_have_to_fit_as_well():
    run = right_run(SIZE, 3, kind="LSTM")
    outputs, (h, c) = simulate_with_states(run.but(order="icfo"))
    fits = examined(run, outputs[:, -1], (h, c))
    assert [cause.fault for cause in fits.causes] == ["gates-permuted"]
    assert examined(run, outputs[:, -1], (h, c + np.float32(0.01))).causes == ()


def test_a_mask_is_taken_into_account():
    run = right_run(SIZE, 4, kind="GRU", mask=True)
    assert [c.fault for c in causes(run, last_of(simulate(run.but(mask=None))))] == ["mask-ignored"]


def test_the_backward_half_of_a_bidirectional():
    run = right_run(SIZE, 5, kind="LSTM", go_backwards=True)
    wrong = np.ascontiguousarray(simulate(run)[:, 0])
    found = causes(run, wrong, backward_half=True)
    assert [cause.fault for cause in found] == ["backward-output-misplaced"]
    assert [cause.fault for cause in causes(run, wrong)] == ["outputs-not-reversed"]


def test_what_to_do_names_the_whole_sequence_where_nothing_fits():
    run = right_run(SIZE, 6)
    check = examined(run, last_of(simulate(run)) + np.float32(0.1))
    found = dict(findings(check))
    assert "observe the whole sequence of outputs" in found["to do"]
    assert found["more"].startswith("rnn-parity explain unexplained")


@pytest.mark.parametrize("decimals", [6, 4])
def test_printed_last_outputs(decimals):
    run = right_run(SIZE, 7, kind="LSTM")
    right, wrong = (
        np.round(last_of(simulate(r)).astype(float), decimals)
        for r in (run, set_to(recurrent_activation="hard_sigmoid")(run, None))
    )
    if decimals == 4:  # within six, the bound over all timesteps is wider than the last digit
        excused = examined(run, right)
        assert excused.verdict == "inconclusive"
        assert f"printed with {decimals} decimals" in excused.summary
    check = examined(run, wrong)
    assert [cause.fault for cause in check.causes] == ["recurrent-activation-swapped"]
    assert any("%.9g would show more" in note for note in check.notes)
