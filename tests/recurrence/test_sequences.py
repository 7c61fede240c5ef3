"""Inputs, mask and initial state of a call: order, dtypes, and the one line that refuses them."""

import ml_dtypes
import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.errors import InputError
from rnn_parity.recurrence.sequences import (
    BLOCK_ELEMENTS,
    BLOCK_ROWS,
    NO_DROPOUT,
    Dropout,
    Sequences,
)

pytestmark = pytest.mark.filterwarnings("error")
LAYER = rp.SimpleRNN(np.ones((3, 2), np.float32), np.eye(2, dtype=np.float32))
BACKWARDS = rp.SimpleRNN(np.ones((3, 2)), np.eye(2), go_backwards=True)
INPUTS = np.arange(24.0).reshape(2, 4, 3)


def test_the_shape_is_batch_and_timesteps():
    assert Sequences.of(LAYER, INPUTS).shape == (2, 4)


def test_backwards_takes_inputs_and_mask_in_reverse():
    mask = [[True, True, False, False], [True, False, True, True]]
    found = Sequences.of(BACKWARDS, INPUTS, mask)
    assert found.inputs[0, 0].tolist() == [9.0, 10.0, 11.0]
    assert found.mask.tolist() == [[False, False, True, True], [True, True, False, True]]


def test_the_state_is_zeros_unless_given():
    assert Sequences.of(LAYER, INPUTS).initial_state.tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_the_state_is_rounded_to_the_layers_dtype():
    state = Sequences.of(LAYER, INPUTS, initial_state=np.full((2, 2), 0.1)).initial_state
    assert state[0, 0, 0] == 0.100000001490116119384765625


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "bool", ml_dtypes.bfloat16])
def test_any_real_inputs_are_taken(dtype):
    assert Sequences.of(LAYER, np.ones((1, 2, 3), dtype)).shape == (1, 2)


def test_memory_maps_are_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", INPUTS)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(Sequences.of(LAYER, mapped).inputs, mapped)
    assert np.shares_memory(Sequences.of(BACKWARDS, mapped).inputs, mapped)


@pytest.mark.parametrize("mask", [np.ones((2, 4), int), np.ones((2, 4)), [[1, 0, 1, 0]] * 2])
def test_a_mask_of_zeros_and_ones_is_a_mask(mask):
    assert Sequences.of(LAYER, INPUTS, mask).mask.dtype == bool


@pytest.mark.parametrize(
    ("inputs", "received"),
    [
        (np.ones((4, 3)), r"\(4, 3\)"),
        (np.ones((2, 4, 2)), r"\(2, 4, 2\)"),
        (np.ones((0, 4, 3)), r"\(0, 4, 3\)"),
        (np.ones((2, 0, 3)), r"\(2, 0, 3\)"),
        (np.ones((1, 2, 4, 3)), r"\(1, 2, 4, 3\)"),
        (1.0, r"\(\)"),
    ],
)
def test_inputs_of_another_shape_are_refused(inputs, received):
    expected = r"^inputs: expected shape \(batch, timesteps, 3\), all at least 1, received "
    with pytest.raises(InputError, match=expected + received + "$"):
        Sequences.of(LAYER, inputs)


@pytest.mark.parametrize(
    ("inputs", "dtype"),
    [("abc", "<U3"), ([None], "object"), (np.ones((2, 4, 3), "c8"), "complex64")],
)
def test_inputs_of_another_kind_are_refused(inputs, dtype):
    with pytest.raises(
        InputError, match=f"^inputs: expected real numbers, received dtype {dtype}$"
    ):
        Sequences.of(LAYER, inputs)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((4, 2), bool), r"expected shape \(2, 4\), received \(4, 2\)"),
        (np.ones(4, bool), r"expected shape \(2, 4\), received \(4,\)"),
        (np.full((2, 4), 0.5), r"expected booleans \(or only 0 and 1\), received other numbers"),
        (np.full((2, 4), np.nan), r"expected booleans \(or only 0 and 1\), received other numbers"),
        (np.full((2, 4), "a"), "expected real numbers, received dtype <U1"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, message):
    with pytest.raises(InputError, match=f"^mask: {message}$"):
        Sequences.of(LAYER, INPUTS, mask)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (np.ones(2), r"expected shape \(2, 2\), received \(2,\)"),
        (np.ones((2, 3)), r"expected shape \(2, 2\), received \(2, 3\)"),
        (np.ones((1, 2)), r"expected shape \(2, 2\), received \(1, 2\)"),
        (np.ones((2, 2), complex), "expected real numbers, received dtype complex128"),
    ],
)
def test_states_that_do_not_fit_are_refused(state, message):
    with pytest.raises(InputError, match=f"^initial_state: {message}$"):
        Sequences.of(LAYER, INPUTS, initial_state=state)


CELL = rp.LSTM(np.ones((3, 8)), np.ones((2, 8)))


@pytest.mark.parametrize("batch", [1, 2])
def test_the_two_states_of_an_lstm_come_as_a_list_or_as_one_array(batch):
    h, c = np.ones((batch, 2)), np.full((batch, 2), 2.0)
    for given in ([h, c], (h, c), np.stack([h, c])):
        found = Sequences.of(CELL, INPUTS[:batch], initial_state=given).initial_state
        assert found.tolist() == [h.tolist(), c.tolist()]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([np.ones((2, 2)), np.ones((2, 3))], r"expected shape \(2, 2\), received \(2, 3\)"),
        ([np.ones((2, 2)), np.full((2, 2), "a")], "expected real numbers, received dtype <U1"),
        (
            [np.ones((2, 2))],
            r"expected \(h, c\), each of shape \(batch, 2\) for LSTM, received 1 state",
        ),
        (
            np.ones((2, 2)),
            r"expected \(h, c\), each of shape \(batch, 2\) for LSTM, received 1 state",
        ),
    ],
)
def test_two_states_that_do_not_fit_are_refused(state, message):
    with pytest.raises(InputError, match=f"^initial_state: {message}$"):
        Sequences.of(CELL, INPUTS, initial_state=state)


def test_dropout_of_inputs_or_of_the_state_alone():
    masks = np.full((1, 2, 3), 2, np.float32)
    assert Dropout.of(None, None) is NO_DROPOUT
    for found, other in [
        (Dropout.of(masks, None).inputs, Dropout.of(masks, None).state),
        (Dropout.of(None, masks).state, Dropout.of(None, masks).inputs),
    ]:
        assert (found.dtype, found.tolist()) == (np.float64, masks.tolist())
        assert other is None


def test_the_first_timesteps_of_some_samples_keep_what_belongs_to_them():
    mask = np.array([[True, False, True, True], [True, True, False, True]])
    state = np.array([[1.0, 2.0], [3.0, 4.0]])
    dropout = Dropout.of(np.arange(6.0).reshape(1, 2, 3), None)
    found = Sequences.of(LAYER, INPUTS, mask, state, dropout).first(3).samples(slice(1, 2))
    assert found.shape == (1, 3)
    assert found.inputs.tolist() == INPUTS[1:, :3].tolist()
    assert found.mask.tolist() == [[True, True, False]]
    assert found.initial_state.tolist() == [[[3.0, 4.0]]]
    assert found.dropout.inputs.tolist() == [[[3.0, 4.0, 5.0]]]
    assert found.dropout.state is None
    plain = Sequences.of(LAYER, INPUTS).first(3).samples(slice(0, 1))
    assert (plain.mask, plain.shape, plain.dropout) == (None, (1, 3), NO_DROPOUT)


@pytest.mark.parametrize(
    ("batch", "width", "step"),
    [
        (BLOCK_ROWS, BLOCK_ELEMENTS, 1),
        (100 * BLOCK_ROWS, BLOCK_ELEMENTS, 1),  # never less than one timestep
        (1, BLOCK_ELEMENTS, BLOCK_ROWS),
        (2, 64, BLOCK_ELEMENTS // 128),  # of few units, so many elements
    ],
)
def test_blocks_cover_the_sequence(batch, width, step):
    x = np.broadcast_to(np.float32(1), (batch, 2 * step + 1, 3))
    found = list(Sequences(x, None, np.zeros((1, 1, 1))).blocks(width))
    third = -(-(2 * step + 1) // 3)  # of about the same length
    assert found == [slice(0, third), slice(third, 2 * third), slice(2 * third, 2 * step + 1)]


@pytest.mark.parametrize(("width", "larger"), [(64, 2), (BLOCK_ELEMENTS, 1)])
def test_blocks_may_be_larger_where_units_are_few(width, larger):
    x = np.broadcast_to(np.float32(1), (2, 1 << 12, 3))
    sequences = Sequences(x, None, np.zeros((1, 1, 1)))
    usual, other = next(sequences.blocks(width)), next(sequences.blocks(width, 2))
    assert other.stop == larger * usual.stop


@pytest.mark.parametrize("name", ["inputs", "mask", "initial_state"])
def test_ragged_lists_are_refused_in_one_line(name):
    arguments = {"inputs": INPUTS, name: [[1.0, 2.0], [3.0]]}
    with pytest.raises(InputError, match=rf"^{name}: expected .*received [^\n]*$"):
        Sequences.of(LAYER, **arguments)
