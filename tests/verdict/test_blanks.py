"""Numbers that are not finite in both: a note always, and no pass where they hide too much."""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.verdict.blanks import Blanks

RNG = np.random.default_rng(17)
KERNEL, RECURRENT = RNG.normal(size=(3, 2)), np.array([[0.5, 0.0], [0.0, -0.4]])
BIAS = np.array([0.1, -0.2])
X = RNG.normal(size=(4, 6, 3)).astype(np.float32)
DIAGONAL = rp.SimpleRNN(KERNEL, RECURRENT, BIAS, dtype="float32")
"""What no unit of it is told of another."""


def port(x, kernel=KERNEL, recurrent=RECURRENT, mask=None):
    """A loop of its own, in float32 but for the products."""
    state = np.zeros((len(x), kernel.shape[1]), np.float32)
    found = []
    for t in range(x.shape[1]):
        each = [np.multiply.outer(x[:, t, f], kernel[f]) for f in range(len(kernel))]
        new = np.tanh(sum(each) + state * np.diag(recurrent) + BIAS).astype(np.float32)
        state = new if mask is None else np.where(mask[:, [t]], new, state)
        found.append(state)
    return np.stack(found, axis=1)


def poisoned(*places):
    x = X.copy()
    for place in places:
        x[place] = np.nan
    return x


def compared(x, outputs=None, state=None, mask=None, layer=DIAGONAL):
    outputs = port(x, mask=mask) if outputs is None else outputs
    return rp.compare(layer, x, outputs, state, mask=mask).checks[0]


def test_a_few_are_no_more_than_a_note():
    check = compared(poisoned((1, 4)))
    assert check.verdict == "parity"
    assert check.notes == (
        "4 of 48 numbers of the outputs are not finite, in both: they prove nothing",
    )
    assert compared(X).notes == ()


def test_one_sample_of_which_nothing_is_known():
    """Whatever a port does with it, and with the state, it would be called right."""
    check = compared(poisoned((1, 0)))
    assert check.verdict == "inconclusive"
    assert check.summary == (
        "no expected number of sample 1 is finite, so that nothing was compared there"
    )
    assert check.effective_bits is None
    assert "12 of 48 numbers" in check.notes[0]


@pytest.mark.parametrize(("first", "verdict"), [(3, "parity"), (2, "inconclusive")])
def test_more_than_half(first, verdict):
    check = compared(poisoned((slice(None), first)))
    assert check.verdict == verdict
    if verdict == "inconclusive":
        words = "32 of 48 numbers of the outputs are not finite, more than half of them"
        assert check.summary == words


def test_one_number_that_is_finite_is_not_enough():
    x = np.full_like(X, np.nan)
    x[0, 0] = 1
    without_recurrence = np.stack([port(x[:, [t]])[:, 0] for t in range(6)], axis=1)
    check = compared(x, without_recurrence)
    assert (check.verdict, np.isfinite(without_recurrence).sum()) == ("inconclusive", 2)


@pytest.mark.parametrize("name", ["outputs", "c"])
def test_a_unit_of_which_nothing_is_known(name):
    count = np.array([[0, 3, 1, 3], [0, 2, 0, 2]])
    found = Blanks(name, count, np.array([3, 2]), beside=name == "c")
    where = "the outputs" if name == "outputs" else "final state c"
    assert found.unproven() == (
        f"no expected number of units 1, 3 of {where} is finite, so that nothing was compared there"
    )
    assert (found.blank, found.total) == (11, 20)
    assert not found.nothing_finite
    count[:, [1, 3]] -= 1
    assert Blanks(name, count, np.array([3, 2])).unproven() == ""


def test_a_wrong_number_is_still_wrong():
    x = poisoned((1, 0))
    outputs = port(x)
    outputs[2, 3, 1] += 0.01
    check = compared(x, outputs)
    assert (check.verdict, check.first_divergence.timestep) == ("diverged", 3)
    assert not any("in both" in note for note in check.notes)
    outputs = port(x)
    outputs[1, 3, 1] = 0.5
    assert compared(x, outputs).verdict == "diverged"


def test_masked_steps_count_neither_way():
    """A sample that is wholly masked was not meant to be compared; one that is NaN where it counts
    was, and what a mask repeats of it proves nothing either.
    """
    mask = np.ones((4, 6), bool)
    mask[3] = False
    assert compared(X, mask=mask).verdict == "parity"
    assert compared(poisoned((3, 2)), mask=mask).verdict == "parity"
    mask[1, 2:] = False
    check = compared(poisoned((1, 0), (1, 1)), mask=mask)
    assert check.verdict == "inconclusive"
    assert "no expected number of sample 1 is finite" in check.summary
    assert "4 of 28 numbers" in check.notes[0]
    mask[1] = [True] + [False] * 5
    assert compared(poisoned((1, 1)), mask=mask).verdict == "parity"


def test_the_last_output_alone():
    outputs = port(poisoned((1, 5)))[:, -1]
    check = compared(poisoned((1, 5)), outputs)
    assert check.verdict == "inconclusive"
    assert check.summary.startswith("no expected number of sample 1 is finite")
    assert check.notes[0].startswith("2 of 8 numbers of the last output are not finite, in both")
    whole = poisoned((slice(None), 5))
    assert "no expected number is finite" in compared(whole, port(whole)[:, -1]).summary


def test_a_final_state_beside_outputs():
    """Its sample was compared as long as it was finite; one without any finite number was not."""
    x = poisoned((1, 5))
    check = compared(x, state=port(x)[:, -1])
    assert check.verdict == "parity"
    assert [note.partition(" numbers")[0] for note in check.notes] == ["2 of 48"]
    x = poisoned((slice(None), 5))
    assert compared(x).verdict == "parity"
    check = compared(x, state=port(x)[:, -1])
    assert check.verdict == "inconclusive"
    assert check.summary.startswith("no expected number of final state h is finite")


def test_infinities_are_no_proof_either():
    layer = rp.SimpleRNN(KERNEL, RECURRENT, BIAS, activation="linear", dtype="float32")
    x = X.copy()
    x[1, :2] = np.inf
    with np.errstate(all="ignore"):
        outputs = rp.replay(layer, x).outputs.astype(np.float32)
    assert not np.isfinite(outputs[1]).any()
    assert rp.compare(layer, x, outputs).verdict == "inconclusive"


def test_rows_without_any_finite_number_show_none():
    report = rp.compare(DIAGONAL, poisoned((slice(None), 4)), port(poisoned((slice(None), 4))))
    assert report.verdict == "parity"
    for text in (report.render("table"), report.render("markdown")):
        row = next(line for line in text.splitlines() if line.strip(" |").startswith("5 "))
        assert set(row.split()) <= {"5", "-", "|"}, row
    rows = report.checks[0].timesteps
    assert [bool(np.isnan(row.bound)) for row in rows] == [False] * 4 + [True] * 2
    assert '"bound":"nan"' in report.to_json().replace(" ", "")


def test_a_row_points_at_a_number_that_was_compared():
    """Also where all that is finite is equal, and the first samples are not finite."""
    layer = rp.SimpleRNN(np.eye(1), np.zeros((1, 1)), activation="linear", dtype="float32")
    x = np.float32([[[1.0], [np.nan]], [[2.0], [4.0]]])
    row = rp.compare(layer, x, x).checks[0].timesteps[1]
    assert (row.max_ratio, row.batch) == (0, 1)
    assert row.bound > 0


def test_large_batches_are_put_together():
    x = np.tile(X, (600, 40, 1))
    x[77, 200:] = np.nan
    check = compared(x)
    assert check.verdict == "parity"
    assert check.notes[0].startswith("80 of 1152000 numbers of the outputs")
    x[77] = np.nan
    assert "no expected number of sample 77 is finite" in compared(x).summary
