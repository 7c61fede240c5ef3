"""What a fault makes of a computation, entry by entry, and at which sizes it makes anything."""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.faults import FAULTS, Computation
from rnn_parity.sequences import Sequences

BY_ID = {fault.id: fault for fault in FAULTS}


def right(features=2, units=2, batch=2, timesteps=3, kind=rp.SimpleRNN, **options):
    """A call whose weights and inputs are the numbers from 1 on."""
    width = units * len(kind.GATES)

    def numbers(*shape):
        return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)

    layer = kind(numbers(features, width), numbers(units, width), numbers(width), dtype="float64")
    sequences = Sequences.of(layer, numbers(batch, timesteps, features), **options)
    return Computation(layer, sequences)


def variants(fault, computation, outputs=None):
    found = BY_ID[fault].variants(computation)
    if outputs is not None:
        found = BY_ID[fault].candidates(computation, outputs)
    return list(found)


SIZES = [
    ("kernel-transposed", {"features": 1, "units": 1}, 0),
    ("kernel-transposed", {"features": 2, "units": 2}, 1),
    ("kernel-transposed", {"features": 3, "units": 3}, 1),
    ("kernel-transposed", {"features": 1, "units": 2}, 0),
    ("kernel-transposed", {"features": 3, "units": 2}, 0),
    ("recurrent-kernel-transposed", {"units": 1}, 0),
    ("recurrent-kernel-transposed", {"units": 2}, 1),
    ("recurrent-kernel-transposed", {"units": 3}, 1),
    ("units-permuted", {"units": 1}, 0),
    ("units-permuted", {"units": 2}, 1),
    ("units-permuted", {"units": 3}, 1),
    ("features-permuted", {"features": 1}, 0),
    ("features-permuted", {"features": 2}, 1),
    ("time-shifted", {"timesteps": 1}, 0),
    ("time-shifted", {"timesteps": 2}, 2),
]


@pytest.mark.parametrize(("fault", "size", "count"), SIZES, ids=str)
def test_how_many_variants_there_are_at_a_size(fault, size, count):
    assert len(variants(fault, right(**size))) == count


def test_kernels_are_transposed_gate_by_gate():
    (one,) = variants("kernel-transposed", right())
    assert one.layer.kernel.tolist() == [[1, 3], [2, 4]]
    assert one.layer.recurrent_kernel.tolist() == [[1, 2], [3, 4]]
    (one,) = variants("recurrent-kernel-transposed", right(kind=rp.LSTM))
    expected = [[1, 9, 3, 11, 5, 13, 7, 15], [2, 10, 4, 12, 6, 14, 8, 16]]
    assert one.layer.recurrent_kernel.tolist() == expected
    assert one.layer.kernel.tolist() == right(kind=rp.LSTM).layer.kernel.tolist()


@pytest.mark.parametrize(("features", "units", "misread"), [(2, 2, 0), (3, 2, 1), (2, 3, 1)])
def test_a_square_kernel_in_the_other_order_of_memory_is_the_transposed_one(
    features, units, misread
):
    computation = right(features, units)
    found = variants("kernel-transposed", computation, np.zeros((2, 3, units)))
    details = [one.detail for one in found]
    assert sum("in memory" in detail for detail in details) == misread
    assert len(details) == 1


def test_a_kernel_in_the_other_order_of_memory():
    (one,) = variants("kernel-transposed", right(3, 2), np.zeros((2, 3, 2)))
    # The rows 1 2, 3 4, 5 6 column by column: 1 3 5 2 4 6.
    assert one.layer.kernel.tolist() == [[1, 3], [5, 2], [4, 6]]


def test_outputs_one_step_early_and_late():
    early, late = variants("time-shifted", right(timesteps=4))
    outputs = np.array([[[1.0], [2.0], [3.0], [4.0]], [[5.0], [6.0], [7.0], [8.0]]])
    assert early.detail == "one step early"
    assert early.rearrange(outputs)[..., 0].tolist() == [[2, 3, 4, 1], [6, 7, 8, 5]]
    assert late.detail == "one step late"
    assert late.rearrange(outputs)[..., 0].tolist() == [[0, 1, 2, 3], [0, 5, 6, 7]]
    assert outputs[0, :, 0].tolist() == [1, 2, 3, 4]


def test_units_and_features_that_change_places():
    (one,) = variants("units-permuted", right(units=3))
    assert one.rearrange(np.array([[[1.0, 2.0, 3.0]]])).tolist() == [[[3, 2, 1]]]
    _, outputs = one.undone(np.array([[[3.0, 2.0, 1.0]]]))
    assert outputs.tolist() == [[[1, 2, 3]]]
    (one,) = variants("features-permuted", right(features=3))
    assert one.layer.kernel.tolist() == [[5, 6], [3, 4], [1, 2]]


def test_other_orders_of_time():
    (one,) = variants("inputs-reversed", right(mask=[[True, True, False], [True, False, True]]))
    assert one.sequences.inputs[0].tolist() == [[5, 6], [3, 4], [1, 2]]
    assert one.sequences.mask.tolist() == [[False, True, True], [True, False, True]]
    (one,) = variants("outputs-not-reversed", right())
    assert one.rearrange(np.array([[[1.0], [2.0], [3.0]]])).tolist() == [[[3], [2], [1]]]


def test_gates_in_another_order():
    first, *_ = variants("gates-permuted", right(kind=rp.LSTM, units=1, features=1))
    # i, o, f, c stand where i, f, c, o are expected: f is the third, c the fourth, o the second.
    assert first.detail.endswith("i, o, f, c")
    assert first.layer.bias.tolist() == [1, 3, 4, 2]
    first, *_ = variants("gates-permuted", right(kind=rp.LSTM))
    assert first.layer.kernel.tolist()[0] == [1, 2, 5, 6, 7, 8, 3, 4]
