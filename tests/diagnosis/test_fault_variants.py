"""What a fault makes of a computation, entry by entry, and at which sizes it makes anything."""

import numpy as np
import pytest
from helpers import in_blocks_of

import rnn_parity as rp
from rnn_parity.diagnosis.faults import FAULTS, Computation
from rnn_parity.diagnosis.faults.order import first_and_last, matching
from rnn_parity.diagnosis.faults.states import state_causes
from rnn_parity.recurrence.sequences import NO_DROPOUT, Dropout, Sequences

BY_ID = {fault.id: fault for fault in FAULTS}


def numbers(*shape):
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


def right(
    features=2,
    units=2,
    batch=2,
    timesteps=3,
    kind=rp.SimpleRNN,
    stateful=False,
    layer=None,
    **options,
):
    """A call whose weights and inputs are the numbers from 1 on; `layer` sets others."""
    width = units * len(kind.GATES)
    weights = {
        "kernel": numbers(features, width),
        "recurrent_kernel": numbers(units, width),
        "bias": numbers(2, width) if kind is rp.GRU else numbers(width),
        "dtype": "float64",
        **(layer or {}),
    }
    made = kind(**weights)
    sequences = Sequences.of(made, numbers(batch, timesteps, features), **options)
    return Computation(made, sequences, stateful)


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


def blind(fault, computation):
    return BY_ID[fault].blind(computation)


def details(found):
    return [one.detail for one in found]


# The bias.


def test_a_bias_left_out_or_added_twice():
    (none,) = variants("bias-dropped", right())
    assert (none.layer.bias, none.detail) == (None, "")
    (twice,) = variants("bias-doubled", right())
    assert twice.layer.bias.tolist() == [2, 4]
    assert blind("bias-dropped", right()) is None
    zeros = right(layer={"bias": [0.0, 0.0]})
    assert blind("bias-doubled", zeros) == "the bias is all zeros"
    assert blind("bias-dropped", right(layer={"bias": [0.0, 2.0]})) is None


@pytest.mark.parametrize("kind", [rp.SimpleRNN, rp.LSTM, rp.GRU])
def test_a_layer_without_a_bias_has_no_mistake_of_it(kind):
    without = right(kind=kind, layer={"bias": None})
    assert variants("bias-dropped", without) == []
    assert variants("bias-doubled", without) == []
    assert blind("bias-dropped", without) is None
    for fault in ("forget-bias-missing", "forget-bias-doubled") if kind is rp.LSTM else ():
        assert variants(fault, without) == []


def test_of_two_biases_that_of_the_inputs_may_be_left_out():
    both = right(kind=rp.GRU, units=1)
    none, inputs = variants("bias-dropped", both)
    assert (none.layer.bias, none.detail) == (None, "")
    assert inputs.layer.bias.tolist() == [[0, 0, 0], [4, 5, 6]]
    assert inputs.detail == "that of the inputs"
    _, inputs = variants(
        "bias-dropped", right(kind=rp.GRU, units=1, layer={"bias": [[0, 2, 0], [4, 0, 6]]})
    )
    assert inputs.layer.bias.tolist() == [[0, 0, 0], [4, 0, 6]]
    for bias in ([[0, 0, 0], [4, 5, 6]], [[1, 2, 3], [0, 0, 0]]):
        assert len(variants("bias-dropped", right(kind=rp.GRU, units=1, layer={"bias": bias}))) == 1
    # Without reset_after there is one row.
    one = right(kind=rp.GRU, units=1, layer={"bias": [1, 2, 3], "reset_after": False})
    assert len(variants("bias-dropped", one)) == 1


# The kernels.


def test_a_symmetric_kernel_hides_its_transpose():
    symmetric = [[1.0, 5.0], [5.0, 2.0]]
    same = "the kernel is symmetric"
    assert blind("kernel-transposed", right(layer={"kernel": symmetric})) == same
    assert blind("kernel-transposed", right()) is None
    assert blind("kernel-transposed", right(features=3)) is None
    recurrent = right(layer={"recurrent_kernel": symmetric})
    assert blind("recurrent-kernel-transposed", recurrent) == "the recurrent kernel is symmetric"
    assert blind("recurrent-kernel-transposed", right()) is None


@pytest.mark.parametrize("fault", ["kernel-transposed", "recurrent-kernel-transposed"])
def test_square_gates_may_be_transposed_or_stand_in_the_other_order_of_memory(fault):
    outputs = np.zeros((2, 3, 2))
    assert details(variants(fault, right(), outputs)) == [""]
    transposed, misread = variants(fault, right(kind=rp.GRU), outputs)
    assert transposed.detail == ""
    assert misread.detail == "its numbers stand in memory as those of the transposed matrix"
    name = fault.removesuffix("-transposed").replace("-", "_")
    # The rows 1 to 6 and 7 to 12 column by column: 1 7 2 8 3 9, then 4 10 5 11 6 12.
    expected = [[1, 7, 2, 8, 3, 9], [4, 10, 5, 11, 6, 12]]
    assert getattr(misread.layer, name).tolist() == expected


UNUSED = "one timestep: the recurrent kernel is never used"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"timesteps": 1}, UNUSED),
        ({"timesteps": 2}, None),
        ({"timesteps": 1, "initial_state": [[0, 0], [0, 3]]}, None),
        ({"mask": [[True, False, False], [True, False, False]]}, UNUSED),
        ({"mask": [[False, False, False], [False, False, False]]}, UNUSED),
        ({"mask": [[False, False, False], [True, False, True]]}, None),
    ],
    ids=str,
)
def test_one_timestep_from_zeros_hides_the_recurrent_kernel(options, reason):
    assert blind("recurrent-kernel-transposed", right(**options)) == reason


def test_a_cell_state_that_is_not_zeros_hides_the_recurrent_kernel_nevertheless():
    state = [[[0, 0], [0, 0]], [[1, 2], [3, 4]]]
    computation = right(kind=rp.LSTM, timesteps=1, initial_state=state)
    assert blind("recurrent-kernel-transposed", computation) == UNUSED


# The initial state.

H, C, ZEROS = [[1, 2], [3, 4]], [[5, 6], [7, 8]], [[0, 0], [0, 0]]
STARTS = [("initial-state-ignored", False), ("state-not-carried", True)]


@pytest.mark.parametrize(("fault", "stateful"), STARTS)
def test_states_taken_as_zeros(fault, stateful):
    (one,) = variants(fault, right(stateful=stateful, initial_state=H))
    assert one.sequences.initial_state.tolist() == [ZEROS]
    assert one.detail == ""
    both = right(kind=rp.LSTM, stateful=stateful, initial_state=[H, C])
    for found in (variants(fault, both), variants(fault, both, np.zeros((2, 3, 2)))):
        assert details(found) == ["", "h alone", "c alone"]
        states = [one.sequences.initial_state.tolist() for one in found]
        assert states == [[ZEROS, ZEROS], [ZEROS, C], [H, ZEROS]]
    assert both.sequences.initial_state.tolist() == [H, C]


@pytest.mark.parametrize(("fault", "stateful"), STARTS)
@pytest.mark.parametrize("state", [[H, ZEROS], [ZEROS, C], [ZEROS, ZEROS]])
def test_states_of_which_at_most_one_is_not_zeros_are_not_told_apart(fault, stateful, state):
    computation = right(kind=rp.LSTM, stateful=stateful, initial_state=state)
    assert details(variants(fault, computation, np.zeros((2, 3, 2)))) == [""]


@pytest.mark.parametrize(("fault", "stateful"), STARTS)
def test_only_a_stateful_layer_carries_its_state(fault, stateful):
    other = right(stateful=not stateful, initial_state=H)
    assert variants(fault, other) == []
    assert variants(fault, other, np.zeros((2, 3, 2))) == []


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        (rp.SimpleRNN, [ZEROS], "the initial state is zeros"),
        (rp.SimpleRNN, [H], None),
        (rp.LSTM, [ZEROS, ZEROS], "the initial state is zeros"),
        (rp.LSTM, [H, ZEROS], "the initial state c is zeros"),
        (rp.LSTM, [ZEROS, C], "the initial state h is zeros"),
        (rp.LSTM, [H, C], None),
    ],
)
def test_zeros_hide_that_a_state_is_taken_as_zeros(kind, state, reason):
    computation = right(kind=kind, initial_state=state[0] if len(state) == 1 else state)
    assert blind("initial-state-ignored", computation) == reason


# Activations.


def activation_names(found, which="activation"):
    return [getattr(one.layer, which).name for one in found]


def test_other_activations():
    found = variants("activation-swapped", right())
    assert activation_names(found) == ["linear", "relu", "sigmoid"]
    assert details(found)[0] == "the activation is linear"
    found = variants("recurrent-activation-swapped", right(kind=rp.GRU))
    names = activation_names(found, "recurrent_activation")
    assert names == ["hard_sigmoid", "hard_sigmoid_keras2", "tanh"]
    assert details(found)[2] == "the recurrent activation is tanh"
    assert activation_names(found) == ["tanh"] * 3


@pytest.mark.parametrize(
    ("fault", "which"),
    [
        ("activation-swapped", "activation"),
        ("recurrent-activation-swapped", "recurrent_activation"),
    ],
)
def test_every_other_activation_is_tried_once(fault, which):
    outputs = np.zeros((2, 3, 2))
    found = variants(fault, right(kind=rp.LSTM, layer={which: "selu"}), outputs)
    names = activation_names(found, which)
    assert len(names) == len(set(names))
    assert {"hard_sigmoid", "hard_sigmoid_keras2", "silu", "gelu", "softmax"} <= set(names)
    assert not {"selu", "swish"} & set(names)
    # Between the two of them the slope is a mistake of its own.
    hard = right(kind=rp.LSTM, layer={which: "hard_sigmoid_keras2"})
    others = activation_names(variants(fault, hard, outputs), which)
    assert len(others) == len(names) - 1
    assert not {"hard_sigmoid", "hard_sigmoid_keras2"} & set(others)


TO_2, TO_3 = "the slope is that of Keras 2", "the slope is that of Keras 3"
K3, K2 = "hard_sigmoid", "hard_sigmoid_keras2"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"activation": K3}, [(TO_2, K2, "sigmoid")]),
        ({"recurrent_activation": K2}, [(TO_3, "tanh", K3)]),
        (
            {"activation": K2, "recurrent_activation": K3},
            [
                (TO_3, K3, K2),
                (f"{TO_3}, of the activation alone", K3, K3),
                (f"{TO_2}, of the recurrent activation alone", K2, K2),
            ],
        ),
    ],
    ids=str,
)
def test_the_slope_of_the_other_keras(options, expected):
    found = variants("hard-sigmoid-slope", right(kind=rp.LSTM, layer=options))
    names = [(one.layer.activation.name, one.layer.recurrent_activation.name) for one in found]
    assert [(d, *n) for d, n in zip(details(found), names, strict=True)] == expected


def test_a_layer_without_gates_has_one_slope():
    (one,) = variants("hard-sigmoid-slope", right(layer={"activation": K2}))
    assert (one.detail, one.layer.activation.name) == (TO_3, K3)
    assert variants("hard-sigmoid-slope", right()) == []


# What every variant keeps.


def test_a_changed_computation_keeps_the_rest():
    def doubled(y):
        return 2 * y

    def halved(c, y):
        return c.sequences, y / 2

    base = right(features=1, units=1, batch=1, stateful=True, layer={"activation": "linear"})
    c = base.but("doubled", rearrange=doubled, undo=halved)
    assert (base.detail, c.detail, c.stateful) == ("", "doubled", True)
    # h = x + h + 1 with x = 1, 2, 3.
    assert base.computed().tolist() == [[[2], [5], [9]]]
    assert c.computed().tolist() == [[[4], [10], [18]]]
    other = c.layer_but("no bias", bias=None)
    assert other.computed().tolist() == [[[2], [6], [12]]]
    assert (other.detail, other.stateful, c.layer_but().detail) == ("no bias", True, "")
    later = c.sequences_but("from 3", initial_state=np.array([[[3.0]]]))
    assert later.computed().tolist() == [[[10], [16], [24]]]
    assert (later.detail, later.stateful, c.sequences_but().detail) == ("from 3", True, "")
    assert c.but().detail == ""
    seen = np.array([[[4.0], [10.0], [18.0]]])
    for one in (c, other, later):
        sequences, outputs = one.undone(seen)
        assert sequences is one.sequences
        assert outputs.tolist() == [[[2], [5], [9]]]
    sequences, outputs = base.undone(seen)
    assert sequences is base.sequences
    assert outputs is seen


# Units.


def test_the_first_and_the_last_change_places():
    assert first_and_last(2).tolist() == [1, 0]
    assert first_and_last(5).tolist() == [4, 1, 2, 3, 0]


@pytest.mark.parametrize(
    ("seen", "order"),
    [
        ([[3, 9.1], [1, 2], [5, 6]], [2, 0, 1]),
        ([[1, 2], [5, 6], [3, 9]], None),  # nothing moved
        ([[3, 9], [3, 9], [1, 2]], None),  # no order
    ],
)
def test_the_order_of_the_nearest_rows(seen, order):
    found = matching(np.array(seen), np.array([[1, 2], [5, 6], [3, 9]]))
    assert (None if found is None else found.tolist()) == order


def test_a_row_is_near_by_its_largest_difference():
    # From (0, 0), (3, 0) is 3 off and (2, 2) is 2 off, though in sum 4.
    wanted = np.array([[3.0, 0.0], [2.0, 2.0]])
    assert matching(np.array([[0.0, 0.0], [3.0, 0.0]]), wanted).tolist() == [1, 0]


def three_units(batch, timesteps):
    """h = f(x (1, 2, 3)), with x as small as tells the units apart."""
    layer = rp.SimpleRNN([[1.0, 2.0, 3.0]], np.zeros((3, 3)), dtype="float64", activation="linear")
    x = np.random.default_rng(0).uniform(1, 2, (batch, timesteps, 1))
    return Computation(layer, Sequences.of(layer, x)), x * [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("batch", "timesteps"), [(1, 1), (3, 4), (9, 11)])
def test_the_order_of_the_units_is_read_off_the_outputs(batch, timesteps):
    computation, outputs = three_units(batch, timesteps)
    # What is seen after the first 8 samples and timesteps does not count.
    seen = outputs[..., [2, 0, 1]]
    seen[8:], seen[:, 8:] = 0, 0
    (one,) = variants("units-permuted", computation, seen)
    assert one.detail == "the unit order is [2, 0, 1]"
    assert one.computed()[:8, :8].tolist() == seen[:8, :8].tolist()
    sequences, undone = one.undone(outputs[..., [2, 0, 1]])
    assert sequences is computation.sequences
    assert undone.tolist() == outputs.tolist()
    assert variants("units-permuted", computation, outputs) == []
    # The first 8 of each do count.
    seen = outputs[..., [2, 0, 1]]
    seen[7:, 7:] = 0
    assert len(variants("units-permuted", computation, seen)) == (batch < 8)


# Gates.


def test_the_usual_orders_of_gates():
    lstm = right(kind=rp.LSTM, units=1, features=1)
    found = variants("gates-permuted", lstm)
    orders = ["i, o, f, c", "i, c, f, o"]
    assert details(found) == [f"they are taken in the order {order}" for order in orders]
    assert [one.layer.kernel.tolist() for one in found] == [[[1, 3, 4, 2]], [[1, 3, 2, 4]]]
    gru = right(kind=rp.GRU, units=1, features=1)
    found = variants("gates-permuted", gru)
    orders = ["r, z, h", "z, h, r"]
    assert details(found) == [f"they are taken in the order {order}" for order in orders]
    assert [one.layer.kernel.tolist() for one in found] == [[[2, 1, 3]], [[1, 3, 2]]]
    biases = [one.layer.bias.tolist() for one in found]
    assert biases == [[[2, 1, 3], [5, 4, 6]], [[1, 3, 2], [4, 6, 5]]]


def test_a_gate_is_not_taken_apart():
    first, _ = variants("gates-permuted", right(kind=rp.GRU, features=1))
    assert first.layer.kernel.tolist() == [[3, 4, 1, 2, 5, 6]]
    assert first.layer.recurrent_kernel.tolist() == [[3, 4, 1, 2, 5, 6], [9, 10, 7, 8, 11, 12]]


def test_every_order_of_the_gates():
    outputs = np.zeros((2, 3, 1))
    for kind, count in ((rp.GRU, 5), (rp.LSTM, 23)):
        found = variants("gates-permuted", right(kind=kind, units=1), outputs)
        assert len(set(details(found))) == count
        assert len({tuple(one.layer.bias.ravel()) for one in found}) == count
        assert ", ".join(kind.GATES) not in "".join(details(found))


def test_gates_in_another_order_without_any_bias():
    first, _ = variants("gates-permuted", right(kind=rp.GRU, units=1, layer={"bias": None}))
    assert first.layer.bias is None
    assert first.layer.kernel.tolist() == [[2, 1, 3], [5, 4, 6]]


EQUAL = "gates have equal weights"


def test_gates_of_equal_weights_hide_their_order():
    assert blind("gates-permuted", right(kind=rp.GRU)) is None
    # z and h alike are no order that is tried; r and z are.
    for kernel, reason in (([[1.0, 2.0, 1.0]], None), ([[1.0, 1.0, 2.0]], EQUAL)):
        same = {"kernel": kernel, "recurrent_kernel": kernel, "bias": kernel * 2}
        gru = right(kind=rp.GRU, features=1, units=1, layer=same)
        assert blind("gates-permuted", gru) == reason
        assert blind("gates-misaligned", gru) == reason
    alike = {"kernel": [[1.0, 1.0, 2.0]]}
    assert blind("gates-permuted", right(kind=rp.GRU, features=1, units=1, layer=alike)) is None
    once = right(kind=rp.GRU, timesteps=1)
    assert blind("gates-misaligned", once) == UNUSED
    assert blind("gates-permuted", once) is None


def test_some_of_the_weights_in_another_order_of_the_gates():
    found = variants("gates-misaligned", right(kind=rp.GRU, features=1, units=1))
    which = [
        "kernel",
        "recurrent kernel",
        "bias",
        "kernel and recurrent kernel",
        "kernel and bias",
        "recurrent kernel and bias",
    ]
    assert details(found) == [f"those of the {w} are taken in the order r, z, h" for w in which]
    assert found[1].layer.kernel.tolist() == [[1, 2, 3]]
    assert found[1].layer.recurrent_kernel.tolist() == [[2, 1, 3]]
    assert found[4].layer.kernel.tolist() == [[2, 1, 3]]
    assert found[4].layer.recurrent_kernel.tolist() == [[1, 2, 3]]
    assert found[4].layer.bias.tolist() == [[2, 1, 3], [5, 4, 6]]
    without = right(kind=rp.GRU, layer={"bias": None})
    assert len(variants("gates-misaligned", without)) == 2
    every = variants("gates-misaligned", without, np.zeros((2, 3, 2)))
    assert len(set(details(every))) == len(every) == 5 * 2


# LSTM.


def test_the_bias_of_the_forget_gate():
    lstm = right(kind=rp.LSTM, features=1)  # 1 to 8, of which 3 and 4 are the forget gate's
    for fault, expected in (
        ("forget-bias-missing", {"it is 1 less": [2, 3], "it is zeros": [0, 0]}),
        ("forget-bias-doubled", {"it is 1 more": [4, 5], "it is added twice": [6, 8]}),
    ):
        found = variants(fault, lstm)
        biases = {one.detail: one.layer.bias.tolist() for one in found}
        assert biases == {name: [1, 2, *f, 5, 6, 7, 8] for name, f in expected.items()}
        ones = right(kind=rp.LSTM, features=1, layer={"bias": [0, 0, 1, 1, 0, 0, 0, 0]})
        assert details(variants(fault, ones)) == list(expected)[:1]
        one = right(kind=rp.LSTM, features=1, layer={"bias": [0, 0, 1, 2, 0, 0, 0, 0]})
        assert details(variants(fault, one)) == list(expected)
    assert lstm.layer.bias.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    some = right(kind=rp.LSTM, features=1, layer={"bias": [5, 5, 0, 2, 5, 5, 5, 5]})
    _, zeros = variants("forget-bias-missing", some)
    assert zeros.layer.bias.tolist() == [5, 5, 0, 0, 5, 5, 5, 5]


def test_the_changed_bias_of_the_forget_gate_is_one_of_the_layers_numbers():
    layer = {"bias": [0.0, 2.0**-30, 0.0, 0.0], "dtype": "float32"}
    _, *_ = found = variants("forget-bias-doubled", right(kind=rp.LSTM, units=1, layer=layer))
    assert [one.layer.bias[1] for one in found] == [1.0, 2.0**-29]


NOTHING = "one timestep from a state c of zeros: nothing is there to forget"


@pytest.mark.parametrize(
    ("bias", "options", "reason"),
    [
        ([1, 2, 3, 4], {}, None),
        ([1, 0, 3, 4], {}, "the forget gate's bias is all zeros"),
        (None, {}, None),
        ([1, 2, 3, 4], {"timesteps": 1}, NOTHING),
        ([1, 2, 3, 4], {"timesteps": 1, "initial_state": [[[0]], [[2]]]}, None),
        ([1, 2, 3, 4], {"timesteps": 1, "initial_state": [[[2]], [[0]]]}, None),
    ],
    ids=str,
)
def test_what_hides_the_bias_of_the_forget_gate(bias, options, reason):
    computation = right(kind=rp.LSTM, units=1, batch=1, layer={"bias": bias}, **options)
    assert blind("forget-bias-missing", computation) == reason


def test_the_two_states_of_an_lstm_swapped():
    (one,) = variants("states-swapped", right(kind=rp.LSTM, initial_state=[H, C]))
    assert one.sequences.initial_state.tolist() == [C, H]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ([H, C], None),
        ([H, ZEROS], None),
        ([ZEROS, C], None),
        ([ZEROS, ZEROS], "the initial state is zeros"),
        ([C, C], "the initial states h and c are equal"),
    ],
)
def test_equal_states_hide_that_they_are_swapped(state, reason):
    assert blind("states-swapped", right(kind=rp.LSTM, initial_state=state)) == reason


# GRU.

BEFORE = {"bias": [1.0, 2.0, 3.0], "reset_after": False}


def gru(units=1, **options):
    return right(kind=rp.GRU, features=1, units=units, **options)


def test_an_inverted_update_gate_has_negative_weights():
    (one,) = variants("update-gate-inverted", gru(units=2))
    assert one.layer.kernel.tolist() == [[-1, -2, 3, 4, 5, 6]]
    expected = [[-1, -2, 3, 4, 5, 6], [-7, -8, 9, 10, 11, 12]]
    assert one.layer.recurrent_kernel.tolist() == expected
    assert one.layer.bias.tolist() == expected
    base = gru(layer={"bias": None})
    (one,) = variants("update-gate-inverted", base)
    assert (one.layer.bias, one.layer.kernel.tolist()) == (None, [[-1, 2, 3]])
    assert base.layer.kernel.tolist() == [[1, 2, 3]]
    assert variants("update-gate-inverted", gru(layer={"recurrent_activation": "tanh"})) == []


def test_the_recurrent_bias_left_out_or_not_reset():
    (one,) = variants("recurrent-bias-dropped", gru())
    assert one.layer.bias.tolist() == [[1, 2, 3], [0, 0, 0]]
    (one,) = variants("recurrent-bias-not-reset", gru())
    assert one.layer.bias.tolist() == [[5, 7, 9], [0, 0, 0]]
    # 1 + 2**-25 is 1 in the layer's own numbers.
    single = {"bias": [[1.0] * 3, [2.0**-25] * 3], "dtype": "float32"}
    (one,) = variants("recurrent-bias-not-reset", gru(layer=single))
    assert one.layer.bias.tolist() == [[1, 1, 1], [0, 0, 0]]
    for layer in ({"bias": None}, BEFORE):
        for fault in ("recurrent-bias-dropped", "recurrent-bias-not-reset"):
            assert variants(fault, gru(layer=layer)) == []
            assert blind(fault, gru(layer=layer)) is None


def test_zeros_among_the_numbers_of_a_bias():
    layer = {"bias": [[-4, 2, 3], [4, 5, 0]]}
    (one,) = variants("recurrent-bias-dropped", gru(layer=layer))
    assert one.layer.bias.tolist() == [[-4, 2, 3], [0, 0, 0]]
    (one,) = variants("recurrent-bias-not-reset", gru(layer=layer))
    assert one.layer.bias.tolist() == [[0, 7, 3], [0, 0, 0]]
    _, inside = flipped(bias=[0, 2, 3], reset_after=False)
    assert inside[2] == [[0, 2, 0], [0, 0, 3]]


def test_zeros_hide_the_recurrent_bias():
    dropped, summed = "recurrent-bias-dropped", "recurrent-bias-not-reset"
    zeros = "the recurrent bias is all zeros"
    of_candidate = "the recurrent bias of the candidate is all zeros"
    for second, reasons in (
        ([4, 5, 6], (None, None)),
        ([0, 0, 0], (zeros, of_candidate)),
        ([4, 5, 0], (None, of_candidate)),
        ([0, 0, 6], (None, None)),
    ):
        layer = {"bias": [[1, 2, 3], second]}
        assert tuple(blind(f, gru(layer=layer)) for f in (dropped, summed)) == reasons


AFTER_PRODUCT = "the gate is applied after the product"


def flipped(**layer):
    found = variants("reset-after-flipped", gru(layer=layer))
    biases = [None if one.layer.bias is None else one.layer.bias.tolist() for one in found]
    after = [one.layer.reset_after for one in found]
    return list(zip(details(found), after, biases, strict=True))


def test_the_reset_gate_on_the_other_side():
    before_product = "the gate is applied before the product"
    assert flipped() == [(before_product, False, [5, 7, 9])]
    assert flipped(bias=None) == [(before_product, False, None)]
    single = {"bias": [[1.0] * 3, [2.0**-25] * 3], "dtype": "float32"}
    assert flipped(**single) == [(before_product, False, [1, 1, 1])]
    assert flipped(**BEFORE) == [
        (AFTER_PRODUCT, True, [[1, 2, 3], [0, 0, 0]]),
        (f"{AFTER_PRODUCT} and the bias", True, [[1, 2, 0], [0, 0, 3]]),
    ]
    zero = {"bias": [1.0, 2.0, 0.0], "reset_after": False}
    assert flipped(**zero) == [(AFTER_PRODUCT, True, [[1, 2, 0], [0, 0, 0]])]
    without = {"bias": None, "reset_after": False}
    assert flipped(**without) == [(AFTER_PRODUCT, True, None)]


RESET = "one timestep from a state of zeros: nothing is there to reset"
ORDER = "of one unit, the order of product and gate does not matter"


@pytest.mark.parametrize(
    ("units", "timesteps", "layer", "reason"),
    [
        (2, 3, {}, None),
        (2, 1, {}, None),  # a bias is there to reset
        (1, 3, {}, None),
        (2, 1, {"bias": None}, RESET),
        (1, 1, {"bias": None}, RESET),
        (2, 3, {"bias": None}, None),
        (1, 3, {"bias": None}, ORDER),
        (1, 3, {"bias": [[1, 2, 3], [4, 5, 0]]}, ORDER),
        (1, 3, BEFORE, ORDER),
    ],
    ids=str,
)
def test_what_hides_the_side_of_the_reset_gate(units, timesteps, layer, reason):
    computation = gru(units=units, timesteps=timesteps, layer=layer)
    assert blind("reset-after-flipped", computation) == reason


# Time, masks and samples.

MASK = [[True, False, True], [True, True, True]]


def values(y):
    return y[..., 0].tolist()


def test_a_mask_ignored_or_not_reversed():
    (one,) = variants("mask-ignored", right(mask=MASK))
    assert one.sequences.mask is None
    backwards = {"go_backwards": True}
    asymmetric = [[True, False, False], [True, True, True]]
    (one,) = variants("mask-not-reversed", right(mask=asymmetric, layer=backwards))
    # In processing order the mask is reversed; not reversed, it is as it was given.
    assert one.sequences.mask.tolist() == asymmetric
    assert variants("mask-not-reversed", right(mask=asymmetric)) == []
    assert variants("mask-not-reversed", right(layer=backwards)) == []
    (one,) = variants("masked-output-not-zeroed", right(layer={"zero_output_for_mask": True}))
    assert one.layer.zero_output_for_mask is False
    assert variants("masked-output-not-zeroed", right()) == []


NOT_MASKED = "no timestep is masked"


@pytest.mark.parametrize(
    ("mask", "reasons"),
    [
        (None, (NOT_MASKED, NOT_MASKED)),
        ([[True] * 3] * 2, (NOT_MASKED, NOT_MASKED)),
        (MASK, (None, "the mask is the same backwards")),
        ([[True, False, False], [True, True, True]], (None, None)),
    ],
)
def test_what_hides_mistakes_of_the_mask(mask, reasons):
    computation = right(mask=mask)
    found = blind("mask-ignored", computation), blind("mask-not-reversed", computation)
    assert found == reasons
    assert blind("masked-output-not-zeroed", computation) == reasons[0]


def test_one_timestep_has_no_order_and_one_sample_no_batch():
    one = "there is one timestep"
    for fault in ("inputs-reversed", "outputs-not-reversed", "time-shifted"):
        assert blind(fault, right(timesteps=1)) == one
        assert blind(fault, right(batch=1)) is None
    swapped = "batch-time-swapped"
    assert blind(swapped, right(timesteps=1, batch=1)) == "there is one sample and one timestep"
    assert blind(swapped, right(timesteps=1)) is None
    assert blind(swapped, right(batch=1)) is None


def test_outputs_in_the_other_order_are_put_back():
    computation = right()
    (one,) = variants("outputs-not-reversed", computation)
    sequences, outputs = one.undone(np.array([[[1.0], [2.0], [3.0]]]))
    assert sequences is computation.sequences
    assert values(outputs) == [[3, 2, 1]]
    (one,) = variants("inputs-reversed", computation)
    assert one.sequences.mask is None


def test_batch_and_time_swapped():
    computation = right(kind=rp.LSTM)
    outputs, along = variants("batch-time-swapped", computation)
    assert outputs.detail == "the outputs stand time first"
    assert outputs.sequences is computation.sequences
    assert along.detail == "the recurrence ran along the batch"
    assert along.sequences.mask is None
    # The inputs are 1 to 12, two features in three timesteps of two samples.
    assert along.sequences.inputs[..., 0].tolist() == [[1, 7], [3, 9], [5, 11]]
    assert along.sequences.initial_state.tolist() == np.zeros((2, 3, 2)).tolist()
    y = np.array([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])
    for one in (outputs, along):
        assert values(one.rearrange(y)) == [[1, 4], [2, 5], [3, 6]]
        sequences, undone = one.undone(y)
        assert sequences is one.sequences
        assert values(undone) == [[1, 4], [2, 5], [3, 6]]
    for options in ({"mask": MASK}, {"initial_state": H}, {"dropout": DROPOUT}):
        found = variants("batch-time-swapped", right(**options))
        assert details(found) == ["the outputs stand time first"]


DROPOUT = Dropout(np.full((1, 2, 2), 2.0), np.full((1, 2, 2), 4.0))


def summing(timesteps, kind=rp.SimpleRNN, mask=None, zeroed=False, dropout=NO_DROPOUT):
    """h = x + h, all sums of 1, 2, 4, … from 100 on; and the same of an LSTM's c, from 50 on."""
    g = len(kind.GATES)
    kernel, bias = [[1.0]], None
    states, options = [[[100.0]]], {}
    if kind is rp.LSTM:  # c = c + x and h = c, whatever h was
        kernel, bias = [[0.0, 0.0, 1.0, 0.0]], [1.0, 1.0, 0.0, 1.0]
        states, options = [[[100.0]], [[50.0]]], {"recurrent_activation": "linear"}
    recurrent = [[1.0]] if g == 1 else [[0.0] * 4]
    layer = kind(
        kernel,
        recurrent,
        bias,
        "linear",
        dtype="float64",
        zero_output_for_mask=zeroed,
        **options,
    )
    x = 2.0 ** np.arange(timesteps).reshape(1, -1, 1)
    state = states if len(states) > 1 else states[0]
    return Computation(layer, Sequences.of(layer, x, mask, state, dropout))


def test_the_sums_that_the_next_tests_are_about():
    assert values(summing(4).computed()) == [[101, 103, 107, 115]]
    assert values(summing(4, rp.LSTM).computed()) == [[51, 53, 57, 65]]


def undone_early(computation, outputs):
    early, _ = variants("time-shifted", computation)
    return early.undone(np.reshape(outputs, (1, -1, 1)).astype(np.float32))


@pytest.mark.parametrize("timesteps", [3, 4])
def test_outputs_one_step_early_are_steps_from_the_first_of_them(timesteps):
    computation = summing(timesteps)
    # 101 is not observed, and the last number is of no step.
    sequences, outputs = undone_early(computation, [103.5, 107, 115, 7][4 - timesteps :])
    first = 103.5 if timesteps == 4 else 107
    assert sequences.initial_state.tolist() == [[[first]]]
    assert sequences.initial_state.dtype == np.float64
    assert values(sequences.inputs) == [[4.0, 8.0][: timesteps - 2]]
    assert values(outputs) == [[107, 115][4 - timesteps :]]
    assert sequences.mask is None


def test_of_two_outputs_one_step_early_the_first_is_replayed():
    sequences, outputs = undone_early(summing(2), [103, 7])
    assert sequences.initial_state.tolist() == [[[101]]]
    assert (values(sequences.inputs), values(outputs)) == ([[2]], [[103]])
    assert sequences.mask is None


def test_an_lstms_outputs_one_step_early_follow_a_replayed_one():
    sequences, outputs = undone_early(summing(4, rp.LSTM), [53, 57, 65, 7])
    assert sequences.initial_state.tolist() == [[[51]], [[51]]]
    assert (values(sequences.inputs), values(outputs)) == ([[2, 4, 8]], [[53, 57, 65]])
    assert sequences.mask is None


@pytest.mark.parametrize("timesteps", [2, 4])
def test_outputs_one_step_early_keep_the_dropout(timesteps):
    dropout = Dropout(np.full((1, 1, 1), 2.0))
    sequences, _ = undone_early(summing(timesteps, dropout=dropout), np.ones(timesteps))
    assert sequences.dropout is dropout


@pytest.mark.parametrize(
    ("mask", "zeroed", "seen", "expected"),
    [
        ([[True, True, False]], False, [103, 103, 7], [101, 103, 103]),
        # The second step is masked and repeats the first, which was observed so.
        ([[True, False, True]], False, [101.5, 105, 7], [101.5, 101.5, 105]),
        ([[True, False, True]], True, [0, 105, 7], [101, 0, 105]),
    ],
)
def test_masked_outputs_one_step_early(mask, zeroed, seen, expected):
    computation = summing(3, mask=mask, zeroed=zeroed)
    sequences, outputs = undone_early(computation, seen)
    assert sequences is computation.sequences
    assert values(outputs) == [expected]


def test_outputs_of_other_samples_or_units_are_left_as_they_are():
    computation = summing(3, mask=[[True, True, False]])
    early, _ = variants("time-shifted", computation)
    for shape in ((2, 3, 1), (1, 3, 2)):
        other = np.ones(shape)
        sequences, outputs = early.undone(other)
        assert sequences is computation.sequences
        assert outputs is other


def test_outputs_one_step_late():
    computation = summing(4, mask=[[True, True, False, True]])
    _, late = variants("time-shifted", computation)
    sequences, outputs = late.undone(np.array([[[0.0], [101.0], [103.0], [103.0]]]))
    assert values(outputs) == [[101, 103, 103]]
    assert values(sequences.inputs) == [[1, 2, 4]]
    assert sequences.mask.tolist() == [[True, True, False]]
    assert sequences.initial_state.tolist() == [[[100]]]


# Final states.

STALE_MEANS = "the returned final state is not that of the last output"


def explained(computation, outputs, *states):
    outputs = np.reshape(outputs, (1, -1, 1))
    states = tuple(np.full((1, 1), float(state)) for state in states)
    found = state_causes(computation, outputs, states)
    assert all(cause.effective_bits is None for cause in found)
    return [(cause.fault, cause.explanation) for cause in found]


def stale(which):
    return [("final-state-stale", f"{STALE_MEANS}: {which}")]


@pytest.mark.parametrize("size", [1, 2, 8])
def test_a_state_of_another_timestep(size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    computation, outputs = summing(4), [101, 103, 107, 115]
    assert explained(computation, outputs, 115) == []
    assert explained(computation, outputs, 107) == stale("h is that of timestep 2")
    assert explained(computation, outputs, 103) == stale("h is that of timestep 1")
    assert explained(computation, outputs, 101) == stale("h is that of timestep 0")
    assert explained(computation, outputs, 100) == stale("h is the initial state")
    assert explained(computation, outputs, 104) == []
    assert explained(computation, outputs) == []


@pytest.mark.parametrize("size", [1, 2, 8])
def test_two_states_of_which_one_is_of_another_timestep(size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    # c = 1 * c + 1 * x with x = 1, 2, 4 from 10 on; o = 2 makes h = 2 c.
    layer = rp.LSTM(
        [[0.0, 0.0, 1.0, 0.0]],
        [[0.0] * 4],
        [1.0, 1.0, 0.0, 2.0],
        "linear",
        "linear",
        dtype="float64",
    )
    x = np.array([[[1.0], [2.0], [4.0]]])
    computation = Computation(layer, Sequences.of(layer, x, None, [[[5.0]], [[10.0]]]))
    outputs = [22, 26, 34]
    assert values(computation.computed()) == [outputs]
    assert explained(computation, outputs, 34, 17) == []
    swapped = [("states-swapped", "the states h and c are swapped, as they are returned")]
    assert explained(computation, outputs, 17, 34) == swapped
    assert explained(computation, outputs, 34, 13) == stale("c is that of timestep 1")
    assert explained(computation, outputs, 34, 10) == stale("c is the initial state")
    assert explained(computation, outputs, 5, 17) == stale("h is the initial state")
    both = "h is that of timestep 0 and c is that of timestep 1"
    assert explained(computation, outputs, 22, 13) == stale(both)
    assert explained(computation, outputs, 26) == stale("h is that of timestep 1")
    assert explained(computation, outputs, 34, 14) == []
    assert explained(computation, outputs, 26, 14) == []
    assert explained(computation, outputs, 17, 26) == []
    assert explained(computation, outputs, 16, 34) == []


def test_a_state_that_a_mask_repeats_is_that_of_the_last_timestep_with_it():
    computation = summing(4, mask=[[True, True, False, True]])
    assert explained(computation, [101, 103, 103, 111], 103) == stale("h is that of timestep 2")
    computation = summing(3, mask=[[False, False, True]])
    assert explained(computation, [0, 0, 104], 100) == stale("h is that of timestep 1")
    assert explained(computation, [0, 0, 104], 104) == []


def test_a_state_is_one_of_all_samples():
    layer = rp.SimpleRNN([[1.0]], [[1.0]], None, "linear", dtype="float64")
    computation = Computation(layer, Sequences.of(layer, [[[1.0], [2.0]], [[4.0], [8.0]]]))
    outputs = np.array([[[1.0], [3.0]], [[4.0], [12.0]]])
    (cause,) = state_causes(computation, outputs, (np.array([[1.0], [4.0]]),))
    assert cause.explanation.endswith("h is that of timestep 0")
    assert state_causes(computation, outputs, (np.array([[1.0], [5.0]]),)) == ()
    assert state_causes(computation, outputs, (np.array([[1.0], [12.0]]),)) == ()


def test_a_stale_state_of_a_layer_in_bfloat16():
    layer = rp.SimpleRNN([[1.0]], [[1.0]], None, "linear", dtype="bfloat16")
    x = np.array([[[1.0], [2.0], [4.0]]])
    computation = Computation(layer, Sequences.of(layer, x, None, [[100.0]]))
    assert explained(computation, [101, 103, 107], 103) == stale("h is that of timestep 1")
    assert explained(computation, [101, 103, 107], 105) == []


def test_the_nearest_state_of_one_block_is_not_the_nearest_of_all(monkeypatch):
    in_blocks_of(monkeypatch, 2)
    layer = rp.SimpleRNN([[1.0]], [[1.0]], None, "linear", dtype="float64")
    computation = Computation(layer, Sequences.of(layer, [[[101.0], [2.0], [1.0], [8.0]]]))
    assert explained(computation, [101, 103, 104, 112], 103) == stale("h is that of timestep 1")


@pytest.mark.parametrize(("off", "is_it"), [(1.0, True), (-1.0, True), (1.5, False)])
def test_a_returned_state_may_have_been_rounded_once_more(off, is_it):
    layer = rp.SimpleRNN([[1.0]], [[1.0]], None, "linear", dtype="float32")
    computation = Computation(layer, Sequences.of(layer, [[[1.0], [2.0]]]))
    found = explained(computation, [1, 3], 1 + off * 2.0**-24)
    assert found == (stale("h is that of timestep 0") if is_it else [])


def test_early_outputs_of_several_samples():
    layer = rp.SimpleRNN([[1.0]], [[1.0]], None, "linear", dtype="float64")
    computation = Computation(layer, Sequences.of(layer, [[[1.0], [2.0]], [[4.0], [8.0]]]))
    early, _ = variants("time-shifted", computation)
    sequences, outputs = early.undone(np.array([[[3.0], [7.0]], [[12.0], [7.0]]]))
    assert sequences.initial_state.tolist() == [[[1], [4]]]
    assert (values(sequences.inputs), values(outputs)) == ([[2], [8]], [[3], [12]])
