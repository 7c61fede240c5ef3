"""What a fault makes of a computation: what a wrong loop computes; and where it makes nothing."""

import numpy as np
import pytest
from catalogue import BY_ID, computation, details, variants
from corpus import GATED, KINDS, every_kind, right_run, simulate
from helpers import in_blocks_of
from hiding import HIDDEN, TWO, hidden_run, kept, zeroed
from mistakes import BACK, EVERY_MISTAKE

import rnn_parity as rp
from rnn_parity.diagnosis.faults import Computation
from rnn_parity.diagnosis.faults.sequences import first_and_last, matching
from rnn_parity.diagnosis.faults.states import state_causes
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.sequences import NO_DROPOUT, Dropout, Sequences
from rnn_parity.recurrence.time_loop import replay

NOT_COMPUTED = ("lower-precision", "first-state-differs")
"""Where operands are rounded, a loop and the replay may round a tie either way; what the first step
computes is not known where only the later ones are judged."""
TOLD_BY_LOOPS = [one for one in EVERY_MISTAKE if one.values[1].fault not in NOT_COMPUTED]


OPTIONS = [{}, {"mask": True, "state": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("kind", "mistake"), TOLD_BY_LOOPS)
def test_a_variant_computes_what_the_wrong_loop_does(kind, mistake, options):
    run = mistake.right_run(kind, (8, 12, 6, 5), **options).astype(float)
    if run.bias is not None:
        run.bias[..., ::5] = 0  # of one unit, in every gate
    outputs, reference = mistake.observed(run), computation(run)
    fault = BY_ID[mistake.fault]
    tried = [*fault.variants(reference)]
    if fault.candidates and outputs.shape == simulate(run).shape:
        tried += fault.candidates(reference, outputs)
    found = [one for one in tried if near(one.computed(), outputs)]
    assert any(mistake.detail in one.detail for one in found)
    for one in found:
        # Brought into the form of its own steps, what was observed is what those compute.
        sequences, undone = one.undone(outputs)
        assert near(replay(one.layer, sequences).outputs, undone)
        flags = (getattr(one.layer, n, True) for n in ("reset_after", "zero_output_for_mask"))
        assert all(isinstance(flag, bool) for flag in flags)
    assert near(simulate(run), computation(run).computed())


def near(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=2e-6)


@every_kind
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_nothing_is_read_off_right_outputs(kind, options):
    run = right_run((4, 9, 6, 5), kind=kind, **options)
    for fault in ("features-permuted", "units-permuted", "dropout-active", "weights-differ"):
        assert variants(fault, computation(run), simulate(run)) == [], fault


@pytest.mark.parametrize(("fault", "kind", "size", "changes", "reason"), HIDDEN)
def test_what_hides_a_fault(fault, kind, size, changes, reason):
    reference = computation(hidden_run(kind, size, changes, np.float64))
    assert BY_ID[fault].blind(reference) == reason


def test_of_no_timestep_that_counts():
    reference = computation(hidden_run("SimpleRNN", TWO, {"mask": np.zeros((2, 3), bool)}))
    assert BY_ID["recurrent-kernel-transposed"].blind(reference).startswith("one timestep")


BY_COLUMNS = "written row by row and read column by column"
BY_ROWS = "written column by column, or transposed, and read row by row"
OF_KERNEL = [f"the kernel, {how}" for how in (BY_COLUMNS, BY_ROWS)]
OF_BOTH = [f"the kernel and the recurrent kernel, {how}" for how in (BY_COLUMNS, BY_ROWS)]
TIME_FIRST = "the outputs stand time first"
SQUARE, WIDE, TALL, TINY = (2, 3, 2, 2), (2, 3, 2, 3), (2, 3, 3, 2), (2, 3, 1, 1)
NONE, PLAIN, H_AND_C = [], [""], ["", "h alone", "c alone"]
STATE, STATEFUL = {"state": kept}, {"state": kept, "stateful": True}
NO_BIAS, MASK = {"bias": None}, {"mask": np.ones((2, 3), bool)}
ONES = {"bias": lambda b: np.repeat([0.0, 1.0, 0.0, 0.0], len(b) // 4)}
ALMOST_ONES = {"bias": lambda b: np.array([0.0, 0.0, 2.0, *[1.0] * (len(b) - 3)])}
K2, K3 = "the slope is that of Keras 2", "the slope is that of Keras 3"
K2_OF_GATES = f"{K2}, of the recurrent activation alone"
BEFORE, AFTER = (f"the gate is applied {when} the product" for when in ("before", "after"))
HARD_2, HARD_3 = "hard_sigmoid_keras2", "hard_sigmoid"
LESS, MORE = ["it is 1 less", "it is zeros"], ["it is 1 more", "it is added twice"]
SINGLE = ["kernel", "recurrent kernel", "bias"]
DOUBLE = ["kernel and recurrent kernel", "kernel and bias", "recurrent kernel and bias"]


def taken(orders, of=("they",)):
    verb = "are taken in the order"
    return [f"{which} {verb} {', '.join(order)}" for which in of for order in orders.split()]


VARIANTS = {
    "kernel-transposed": [
        *(("SimpleRNN", size, {}, NONE) for size in (TINY, WIDE, TALL)),
        *(("SimpleRNN", size, {}, PLAIN) for size in (SQUARE, (2, 3, 3, 3))),
    ],
    "recurrent-kernel-transposed": [
        ("SimpleRNN", TINY, {}, NONE),
        *(("SimpleRNN", size, {}, PLAIN) for size in (SQUARE, WIDE)),
    ],
    "units-permuted": [
        ("SimpleRNN", TINY, {}, NONE),
        ("SimpleRNN", SQUARE, {}, ["the unit order is [1, 0]"]),
    ],
    "features-permuted": [
        ("SimpleRNN", TINY, {}, NONE),
        ("SimpleRNN", SQUARE, {}, ["the order of the kernel's rows is [1, 0]"]),
    ],
    "time-shifted": [
        ("SimpleRNN", (2, 1, 2, 2), {}, NONE),
        ("SimpleRNN", (2, 2, 2, 2), {}, ["one step early", "one step late"]),
    ],
    "bias-dropped": [
        *((kind, TWO, NO_BIAS, NONE) for kind in KINDS),
        ("GRU", TWO, {}, ["", "that of the inputs"]),
        ("GRU", TWO, {"bias": zeroed(slice(None), 1)}, ["", "that of the inputs"]),
        *(("GRU", TWO, {"bias": zeroed(row)}, PLAIN) for row in (0, 1)),
        ("GRU, reset before", TWO, {}, PLAIN),
    ],
    "bias-doubled": [(kind, TWO, NO_BIAS, NONE) for kind in KINDS],
    "forget-bias-missing": [
        ("LSTM", TWO, NO_BIAS, NONE),
        *(("LSTM", TWO, bias, LESS) for bias in ({}, ALMOST_ONES)),
        ("LSTM", TWO, ONES, LESS[:1]),
    ],
    "forget-bias-doubled": [
        ("LSTM", TWO, NO_BIAS, NONE),
        *(("LSTM", TWO, bias, MORE) for bias in ({}, ALMOST_ONES)),
        ("LSTM", TWO, ONES, MORE[:1]),
    ],
    "initial-state-ignored": [
        *((kind, TWO, STATEFUL, NONE) for kind in KINDS),
        ("SimpleRNN", TWO, STATE, PLAIN),
        ("LSTM", TWO, STATE, H_AND_C),
    ],
    "state-not-carried": [
        *((kind, TWO, STATE, NONE) for kind in KINDS),
        ("SimpleRNN", TWO, STATEFUL, PLAIN),
        ("LSTM", TWO, STATEFUL, H_AND_C),
    ],
    "activation-swapped": [
        ("SimpleRNN", TWO, {}, [f"the activation is {n}" for n in ("linear", "relu", "sigmoid")])
    ],
    "recurrent-activation-swapped": [
        ("GRU", TWO, {}, [f"the recurrent activation is {n}" for n in (HARD_3, HARD_2, "tanh")])
    ],
    "hard-sigmoid-slope": [
        *((kind, TWO, {}, NONE) for kind in KINDS),
        ("SimpleRNN", TWO, {"activation": HARD_2}, [K3]),
        ("LSTM", TWO, {"activation": HARD_3}, [K2]),
        ("LSTM", TWO, {"recurrent_activation": HARD_2}, [K3]),
        (
            *("LSTM", TWO, {"activation": HARD_2, "recurrent_activation": HARD_3}),
            [K3, f"{K3}, of the activation alone", K2_OF_GATES],
        ),
    ],
    "gates-permuted": [("LSTM", TWO, {}, taken("iofc icfo")), ("GRU", TWO, {}, taken("rzh zhr"))],
    "gates-misaligned": [
        ("GRU", TWO, {}, taken("rzh", [f"those of the {which}" for which in SINGLE + DOUBLE])),
        ("GRU", TWO, NO_BIAS, taken("rzh", [f"those of the {which}" for which in SINGLE[:2]])),
    ],
    "update-gate-inverted": [
        ("GRU", TWO, NO_BIAS, PLAIN),
        ("GRU", TWO, {"recurrent_activation": "tanh"}, NONE),
    ],
    **{
        f"recurrent-bias-{how}": [("GRU", TWO, NO_BIAS, NONE), ("GRU, reset before", TWO, {}, NONE)]
        for how in ("dropped", "not-reset")
    },
    "reset-after-flipped": [
        *(("GRU", TWO, bias, [BEFORE]) for bias in ({}, NO_BIAS)),
        *(
            ("GRU, reset before", TWO, {"bias": bias}, [AFTER, f"{AFTER} and the bias"])
            for bias in (kept, zeroed(4))
        ),
        *(
            ("GRU, reset before", TWO, {"bias": bias}, [AFTER])
            for bias in (None, zeroed(slice(4, 6)))
        ),
    ],
    "mask-not-reversed": [
        *(("SimpleRNN", TWO, options, NONE) for options in ({}, BACK, MASK)),
        ("SimpleRNN", TWO, BACK | MASK, PLAIN),
    ],
    "masked-output-not-zeroed": [
        ("SimpleRNN", TWO, {}, NONE),
        ("SimpleRNN", TWO, {"zero_output_for_mask": True}, PLAIN),
    ],
    "batch-time-swapped": [
        ("LSTM", TWO, {}, [TIME_FIRST, "the recurrence ran along the batch"]),
        *(("SimpleRNN", TWO, options, [TIME_FIRST]) for options in (STATE, MASK)),
    ],
    "dropout-ignored": [("SimpleRNN", TWO, {}, NONE)],
    "weights-rounded": [("SimpleRNN", TWO, {}, ["all weights are rounded to 4 decimals"])],
}
CANDIDATES = {
    "kernel-misread": [
        ("SimpleRNN", SQUARE, {}, NONE),
        *(("SimpleRNN", size, {}, [*OF_KERNEL, *OF_BOTH]) for size in (WIDE, TALL)),
    ],
    **{
        fault: [
            ("LSTM", TWO, {**own, "state": kept}, H_AND_C),
            *(("LSTM", TWO, {**own, "state": one}, PLAIN) for one in (zeroed(0), zeroed(1), None)),
            ("LSTM", TWO, {**other, "state": kept}, NONE),
        ]
        for fault, own, other in (
            ("initial-state-ignored", {}, {"stateful": True}),
            ("state-not-carried", {"stateful": True}, {}),
        )
    },
}


@pytest.mark.parametrize("fault", VARIANTS)
def test_which_variants_there_are(fault):
    for kind, size, changes, expected in VARIANTS[fault]:
        reference = computation(hidden_run(kind, size, changes, np.float64))
        assert details(variants(fault, reference)) == expected, (kind, size, changes)


@pytest.mark.parametrize("fault", CANDIDATES)
def test_what_is_worth_trying(fault):
    for kind, size, changes, expected in CANDIDATES[fault]:
        reference = computation(hidden_run(kind, size, changes, np.float64))
        outputs = np.zeros((2, 3, size[-1]))
        assert details(variants(fault, reference, outputs)) == expected, (kind, size, changes)


@pytest.mark.parametrize("kind", GATED)
def test_every_order_of_the_gates_is_tried(kind):
    run = right_run(TWO, kind=kind, bias=False)
    reference, outputs = computation(run), np.zeros((2, 3, 2))
    count = {"ifco": 23, "zrh": 5}[run.ORDER]
    for fault, times in (("gates-permuted", 1), ("gates-misaligned", 2)):
        found = variants(fault, reference, outputs)
        assert len({one.layer.kernel.tobytes() for one in found}) >= count
        assert len(set(details(found))) == len(found) == times * count
        assert all(one.layer.bias is None for one in found)
    assert ", ".join(run.ORDER) not in "".join(details(variants("gates-permuted", reference)))


@pytest.mark.parametrize("which", ["activation", "recurrent_activation"])
def test_every_other_activation_is_tried_once(which):
    fault = f"{which.replace('_', '-')}-swapped"

    def tried(own):
        layer = right_run(TWO, kind="LSTM").layer().changed(**{which: CATALOGUE[own]})
        reference = Computation(layer, Sequences.of(layer, np.ones((2, 3, 2))))
        found = variants(fault, reference, np.zeros((2, 3, 2)))
        return [getattr(one.layer, which).name for one in found]

    names, hard = tried("selu"), {"hard_sigmoid", "hard_sigmoid_keras2"}
    assert len(names) == len(set(names))
    assert {*hard, "silu", "gelu", "softmax"} <= set(names)
    assert not {"selu", "swish"} & set(names)
    # Between the two of them the slope is a mistake of its own.
    others = tried("hard_sigmoid_keras2")
    assert len(others) == len(names) - 1
    assert not hard & set(others)


def test_a_cell_without_activations_applies_no_other():
    class Sum(Cell):
        GATES = ("h",)

        @staticmethod
        def formula(x, h, U, W, b):
            return x @ U + h @ W + b

    layer = Sum(np.ones((1, 1)), np.ones((1, 1)), dtype="float64")
    reference = Computation(layer, Sequences.of(layer, np.ones((1, 3, 1))))
    for fault in ("activation-swapped", "hard-sigmoid-slope"):
        assert variants(fault, reference) == []
    assert variants("activation-swapped", reference, np.zeros((1, 3, 1))) == []


@pytest.mark.parametrize(
    ("layer", "fault", "expected"),
    [
        (rp.GRU, "recurrent-bias-not-reset", [[[1.0] * 3, [0.0] * 3]]),
        (rp.GRU, "reset-after-flipped", [[1.0] * 3]),
        (rp.LSTM, "forget-bias-doubled", [[0.0, 1.0, 0.0, 0.0], [0.0, 2.0**-24, 0.0, 0.0]]),
    ],
)
def test_a_changed_bias_is_made_of_the_layers_numbers(layer, fault, expected):
    """1 + 2^-25 is 1 in float32."""
    bias = [[1.0] * 3, [2.0**-25] * 3] if layer is rp.GRU else [0.0, 2.0**-25, 0.0, 0.0]
    width = len(layer.GATES)
    made = layer(np.ones((1, width)), np.ones((1, width)), bias, dtype="float32")
    reference = Computation(made, Sequences.of(made, np.ones((1, 3, 1))))
    assert [one.layer.bias.tolist() for one in variants(fault, reference)] == expected


def test_dropout_left_out():
    reference = computation(right_run(TWO))
    x, state = np.full((1, 2, 2), 2.0), np.full((1, 2, 2), 4.0)
    dropped = reference.sequences_but(dropout=Dropout(x, state))
    found = variants("dropout-ignored", dropped)
    assert details(found) == ["", "that of the inputs", "that of the state"]
    every, of_inputs, of_state = (one.sequences.dropout for one in found)
    assert every is NO_DROPOUT
    assert (of_inputs.inputs, of_inputs.state is state) == (None, True)
    assert (of_state.inputs is x, of_state.state) == (True, None)
    for one in (Dropout(x, None), Dropout(None, state)):
        (every,) = variants("dropout-ignored", reference.sequences_but(dropout=one))
        assert every.sequences.dropout is NO_DROPOUT
    assert details(variants("batch-time-swapped", dropped)) == [TIME_FIRST]


def test_a_changed_computation_keeps_the_rest():
    layer = rp.SimpleRNN([[1.0]], [[1.0]], [1.0], "linear", dtype="float64")
    base = Computation(layer, Sequences.of(layer, [[[1.0], [2.0], [3.0]]]), stateful=True)
    c = base.but("doubled", rearrange=lambda y: 2 * y, undo=lambda c, y: (c.sequences, y / 2))
    other = c.layer_but("no bias", bias=None)
    later = c.sequences_but("from 3", initial_state=np.array([[[3.0]]]))
    # h = x + h + 1 with x = 1, 2, 3.
    for one, detail, expected in (
        (base, "", [2, 5, 9]),
        (c, "doubled", [4, 10, 18]),
        (other, "no bias", [2, 6, 12]),
        (later, "from 3", [10, 16, 24]),
    ):
        assert one.computed().ravel().tolist() == expected
        assert (one.detail, one.stateful, one.layer_but().detail) == (detail, True, "")
        assert one.sequences_but().detail == one.but().detail == ""
        sequences, outputs = one.undone(np.array([4.0, 10.0]))
        assert sequences is one.sequences
        assert outputs.tolist() == ([4, 10] if one is base else [2, 5])


# Orders that are read off the outputs.


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


@pytest.mark.parametrize(("batch", "timesteps"), [(1, 1), (3, 4), (9, 11)])
def test_eight_samples_and_timesteps_tell_the_order_of_the_units(batch, timesteps):
    layer = rp.SimpleRNN([[1.0, 2.0, 3.0]], np.zeros((3, 3)), dtype="float64", activation="linear")
    x = np.random.default_rng(0).uniform(1, 2, (batch, timesteps, 1))
    reference = Computation(layer, Sequences.of(layer, x))
    outputs = (x * [1.0, 2.0, 3.0])[..., [2, 0, 1]]
    seen = outputs.copy()
    seen[8:], seen[:, 8:] = 0, 0
    assert details(variants("units-permuted", reference, seen)) == ["the unit order is [2, 0, 1]"]
    outputs[7:, 7:] = 0
    assert len(variants("units-permuted", reference, outputs)) == (batch < 8)


# Outputs one step early or late.


def summing(timesteps, kind=rp.SimpleRNN, mask=None, zeroed=False, dropout=NO_DROPOUT):
    """h = x + h, all sums of 1, 2, 4, … from 100 on; and the same of an LSTM's c, from 50 on."""
    kernel, recurrent, bias, options = [[1.0]], [[1.0]], None, {}
    state = [[100.0]]
    if kind is rp.LSTM:  # c = c + x and h = c, whatever h was
        kernel, recurrent, bias = [[0.0, 0.0, 1.0, 0.0]], [[0.0] * 4], [1.0, 1.0, 0.0, 1.0]
        state, options = [[[100.0]], [[50.0]]], {"recurrent_activation": "linear"}
    options |= {"dtype": "float64", "zero_output_for_mask": zeroed}
    layer = kind(kernel, recurrent, bias, "linear", **options)
    x = 2.0 ** np.arange(timesteps).reshape(1, -1, 1)
    return Computation(layer, Sequences.of(layer, x, mask, state, dropout))


def undone(which, reference, outputs):
    one = variants("time-shifted", reference)[which]
    sequences, outputs = one.undone(np.reshape(outputs, (1, -1, 1)).astype(np.float32))
    mask = None if sequences.mask is None else sequences.mask.tolist()
    start = sequences.initial_state
    assert (start.dtype, start.shape) == (np.float64, (len(reference.layer.STATES), 1, 1))
    return start.ravel().tolist(), sequences.inputs.ravel().tolist(), mask, outputs.ravel().tolist()


HIDDEN_LAST, HIDDEN_MIDDLE = [[True, True, False]], [[True, False, True]]


@pytest.mark.parametrize(
    ("reference", "seen", "expected"),
    [
        # 101 is not observed, and the last number is of no step.
        (summing(4), [103.5, 107, 115, 7], ([101], [2, 4, 8], None, [103.5, 107, 115])),
        (summing(2), [103, 7], ([101], [2], None, [103])),
        (summing(4), [103, 107, 115, 7], ([103], [4, 8], None, [107, 115])),
        (summing(4, rp.LSTM), [53, 57, 65, 7], ([51, 51], [2, 4, 8], None, [53, 57, 65])),
        (
            summing(3, mask=HIDDEN_LAST),
            [103, 103, 7],
            ([100], [1, 2, 4], HIDDEN_LAST, [101, 103, 103]),
        ),
        # The second step is masked and repeats the first, which was observed so.
        (
            summing(3, mask=HIDDEN_MIDDLE),
            [101.5, 105, 7],
            ([100], [1, 2, 4], HIDDEN_MIDDLE, [101.5, 101.5, 105]),
        ),
        (
            summing(3, mask=HIDDEN_MIDDLE, zeroed=True),
            [0, 105, 7],
            ([100], [1, 2, 4], HIDDEN_MIDDLE, [101, 0, 105]),
        ),
    ],
)
def test_outputs_one_step_early(reference, seen, expected):
    assert undone(0, reference, seen) == expected


def test_outputs_one_step_late():
    reference = summing(4, mask=[[True, True, False, True]])
    found = undone(1, reference, [0, 101, 103, 103])
    assert found == ([100], [1, 2, 4], [[True, True, False]], [101, 103, 103])


@pytest.mark.parametrize("timesteps", [2, 4])
def test_outputs_one_step_early_keep_the_dropout(timesteps):
    dropout = Dropout(np.full((1, 1, 1), 2.0))
    early, _ = variants("time-shifted", summing(timesteps, dropout=dropout))
    assert early.undone(np.ones((1, timesteps, 1)))[0].dropout is dropout


def test_outputs_of_other_samples_or_units_are_left_as_they_are():
    reference = summing(3, mask=HIDDEN_LAST)
    early, _ = variants("time-shifted", reference)
    for shape in ((2, 3, 1), (1, 3, 2)):
        other = np.ones(shape)
        sequences, outputs = early.undone(other)
        assert sequences is reference.sequences
        assert outputs is other


# Final states.

STALE_MEANS = "the returned final state is not that of the last output"


def explained(reference, outputs, *states):
    batch = reference.sequences.shape[0]
    outputs = np.reshape(outputs, (batch, -1, 1))
    states = tuple(np.full((batch, 1), np.reshape(state, (-1, 1)), float) for state in states)
    found = state_causes(reference, outputs, states)
    assert all(cause.effective_bits is None for cause in found)
    return [(cause.fault, cause.explanation) for cause in found]


def stale(which):
    return [("final-state-stale", f"{STALE_MEANS}: {which}")]


def given_inputs(x, dtype="float64", state=None):
    """h = x + h."""
    layer = rp.SimpleRNN([[1.0]], [[1.0]], None, "linear", dtype=dtype)
    return Computation(layer, Sequences.of(layer, np.array(x)[..., np.newaxis], None, state))


SUMS = [101, 103, 107, 115]
SWAPPED_AS = [("states-swapped", "the states h and c are swapped, as they are returned")]
IN_C = summing(3, rp.LSTM).layer_but(bias=np.array([1.0, 1.0, 0.0, 2.0]))  # h = 2 c


@pytest.mark.parametrize("size", [1, 2, 8])
@pytest.mark.parametrize(
    ("reference", "outputs", "states", "expected"),
    [
        *(
            (summing(4), SUMS, [state], expected)
            for state, expected in (
                (115, []),
                (107, stale("h is that of timestep 2")),
                (103, stale("h is that of timestep 1")),
                (101, stale("h is that of timestep 0")),
                (100, stale("h is the initial state")),
                (104, []),
            )
        ),
        (summing(4), SUMS, [], []),
        *(
            (IN_C, [102, 106, 114], states, expected)
            for states, expected in (
                ([114, 57], []),
                ([57, 114], SWAPPED_AS),
                ([114, 53], stale("c is that of timestep 1")),
                ([114, 50], stale("c is the initial state")),
                ([100, 57], stale("h is the initial state")),
                ([102, 53], stale("h is that of timestep 0 and c is that of timestep 1")),
                ([106], stale("h is that of timestep 1")),
                ([114, 54], []),
                ([106, 54], []),
                ([57, 106], []),
                ([56, 114], []),
            )
        ),
        # Of the timesteps that a mask repeats, the last.
        (
            summing(4, mask=[[True, True, False, True]]),
            [101, 103, 103, 111],
            [103],
            stale("h is that of timestep 2"),
        ),
        (
            summing(3, mask=[[False, False, True]]),
            [0, 0, 104],
            [100],
            stale("h is that of timestep 1"),
        ),
        (summing(3, mask=[[False, False, True]]), [0, 0, 104], [104], []),
        # Every sample has the same one.
        *(
            (given_inputs([[1, 2], [4, 8]]), [1, 3, 4, 12], [[1, second]], expected)
            for second, expected in ((4, stale("h is that of timestep 0")), (5, []), (12, []))
        ),
        # The nearest of one block is not the nearest of all.
        (
            given_inputs([[101, 2, 1, 8]]),
            [101, 103, 104, 112],
            [103],
            stale("h is that of timestep 1"),
        ),
        *(
            (given_inputs([[1, 2, 4]], "bfloat16", [[100.0]]), [101, 103, 107], [state], expected)
            for state, expected in ((103, stale("h is that of timestep 1")), (105, []))
        ),
        # It may have been rounded once more.
        *(
            (given_inputs([[1, 2]], "float32"), [1, 3], [1 + off * 2.0**-24], expected)
            for off, expected in (
                (1.0, stale("h is that of timestep 0")),
                (-1.0, stale("h is that of timestep 0")),
                (1.5, []),
            )
        ),
    ],
)
def test_a_state_of_another_timestep(reference, outputs, states, expected, size, monkeypatch):
    in_blocks_of(monkeypatch, size)
    assert explained(reference, outputs, *states) == expected
