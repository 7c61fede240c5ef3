"""The first look at many faulty runs: each is computed as alone, and few digits are not missed."""

import numpy as np
import pytest
from catalogue import computation
from corpus import every_kind, right_run, simulate

from rnn_parity.diagnosis.faults import STALE, faults_of
from rnn_parity.diagnosis.first_look import diverging, first_outputs, in_groups, lanes
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.verdict.printed import maybe_printed

OPTIONS = {
    "plain": {},
    "masked": {"mask": True, "state": True, "zero_output_for_mask": True},
    "backwards, masked": {"go_backwards": True, "mask": True, "stateful": True, "state": True},
    "relu, no bias": {"activation": "relu", "bias": False},
}


def all_variants(reference):
    """Every variant of every fault whose outputs stand in their own order."""
    faults = [fault for fault in faults_of(reference.layer) if fault is not STALE]
    found = [variant for fault in faults for variant in fault.variants(reference)]
    return [variant for variant in found if variant.rearrange is None]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@every_kind
def test_variants_side_by_side_compute_what_each_computes_alone(kind, options):
    run = right_run((5, 9, 4, 4), kind=kind, **options)
    reference, samples = computation(run), np.array([3, 0, 4])
    found = all_variants(reference)
    together = first_outputs(found, reference, simulate(run), samples, 6)
    assert len(found) > 20
    for variant, outputs in zip(found, together, strict=True):
        right = replay(variant.layer, variant.sequences).outputs[samples, :6]
        # In float64 the order of sums differs; rounded to float32, hardly any number does.
        np.testing.assert_allclose(outputs, right, rtol=1e-6, atol=1e-12, err_msg=variant.detail)


@every_kind
def test_what_diverges_beside_others_diverges_alone_and_the_right_run_does_not(kind):
    run = right_run((4, 9, 4, 4), kind=kind, state=True, mask=True)
    reference, outputs, samples = computation(run), simulate(run), np.arange(4)
    found = [reference, *all_variants(reference)]
    data = reference, outputs, samples, 9
    together = diverging(found, *data)
    assert not together[0]
    assert sum(together) > len(found) / 2
    assert together == [diverging([one], *data)[0] for one in found]


@every_kind
def test_an_infinite_run_leaves_the_others_as_they_are(kind):
    run = right_run((4, 5, 4, 4), kind=kind)
    reference, outputs = computation(run), simulate(run)
    infinite = reference.layer_but(bias=np.full_like(reference.layer.bias, np.inf))
    huge = reference.layer_but(kernel=np.full_like(reference.layer.kernel, 1e30))
    found = diverging([infinite, reference, huge], reference, outputs, np.arange(4), 3)
    assert not found[1]


def test_as_many_go_together_as_memory_has_room_for():
    small = computation(right_run((2, 3, 4, 4), kind="LSTM"))
    assert lanes(small, 4, 32) > 60
    wide = small.layer_but(kernel=np.zeros((4000, 4000)), recurrent_kernel=np.zeros((1000, 4000)))
    assert lanes(wide, 4, 32) == 1
    assert list(in_groups(range(5), 2)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_few_digits_may_be_printed_and_others_are_not(dtype):
    x = np.random.default_rng(0).normal(size=(8, 64)).astype(dtype).astype(np.float64)
    assert not maybe_printed(x).any()
    for digits in (1, 3, 5):
        assert maybe_printed(np.round(x, digits).astype(dtype).astype(np.float64)).all()
        few = np.array([[float(f"{one:.{digits}g}") for one in row] for row in x])
        assert maybe_printed(few.astype(dtype).astype(np.float64)).all()
    # Some numbers of many digits are enough; zeros and halves tell nothing.
    mixed = np.round(x, 3)
    mixed[:, ::2] = x[:, ::2]
    assert not maybe_printed(mixed.astype(dtype).astype(np.float64)).any()
    assert maybe_printed(np.array([[0.0, 0.5, 1.0]])).all()
