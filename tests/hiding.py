"""What hides each fault, and what only nearly does: runs of the loops in `corpus`, with reasons."""

import numpy as np
from corpus import KINDS, right_run
from mistakes import BACK, WEIGHTS


def hidden_run(kind, size, changes, dtype=np.float32):
    """A right run from states of zeros, changed: an attribute set, or made of what it was."""
    run = right_run(size, kind=kind, state=True)
    changes = {"state": None, **changes}
    made = {n: c(getattr(run, n)) if callable(c) else c for n, c in changes.items()}
    return run.but(**made).astype(dtype)


def zeroed(*index):
    """The same array with zeros there."""

    def change(a):
        a = a.copy()
        a[index] = 0
        return a

    return change


def kept(a):
    return a


def symmetric(w):
    return (w + w.T) / 2


def equal_gates(count):
    """All gates as the first: weights of one gate, repeated."""
    return lambda w: np.concatenate([w[..., : w.shape[-1] // count]] * count, axis=-1)


def mask(*samples):
    """A mask from one word of 0 and 1 for each sample."""
    return {"mask": np.array([[digit == "1" for digit in word] for word in samples])}


TWO, ONE_STEP, ONE_UNIT = (2, 3, 2, 2), (2, 1, 2, 2), (2, 3, 2, 1)
UNUSED = "one timestep: the recurrent kernel is never used"
NO_STATE, NO_BIAS = "the initial state is zeros", "the bias is all zeros"
NOT_MASKED, PALINDROME = "no timestep is masked", "the mask is the same backwards"
FORGOTTEN = "one timestep from a state c of zeros: nothing is there to forget"
NOTHING_RESET = "one timestep from a state of zeros: nothing is there to reset"
ONE_RESET = "of one unit, the order of product and gate does not matter"
EQUAL = "gates have equal weights"
OF_CANDIDATE = "the recurrent bias of the candidate is all zeros"
STATE = {"state": kept}
H_ZERO, C_ZERO = {"state": zeroed(0)}, {"state": zeroed(1)}
FORGET, CANDIDATE = slice(2, 4), slice(4, 6)
BACKWARDS = {**BACK, "zero_output_for_mask": True}
LIKE_4, LIKE_3 = equal_gates(4), equal_gates(3)

FORGET_BIAS = [
    ("LSTM", TWO, {}, None),
    ("LSTM", TWO, {"bias": zeroed(FORGET)}, "the forget gate's bias is all zeros"),
    ("LSTM", TWO, {"bias": zeroed(2)}, None),
    ("LSTM", TWO, {"bias": None}, None),
    ("LSTM", ONE_STEP, {}, FORGOTTEN),
    ("LSTM", ONE_STEP, H_ZERO, None),
    ("LSTM", ONE_STEP, C_ZERO, None),
]
TIME = [("SimpleRNN", ONE_STEP, {}, "there is one timestep"), ("SimpleRNN", (1, 3, 2, 2), {}, None)]
BY_FAULT = {
    "bias-dropped": [
        ("SimpleRNN", TWO, {"bias": zeroed(...)}, NO_BIAS),
        ("SimpleRNN", TWO, {"bias": zeroed(0)}, None),
        *((kind, TWO, {"bias": None}, None) for kind in KINDS),
    ],
    "bias-doubled": [("SimpleRNN", TWO, {"bias": zeroed(...)}, NO_BIAS)],
    "kernel-transposed": [
        ("SimpleRNN", TWO, {"kernel": symmetric}, "the kernel is symmetric"),
        ("SimpleRNN", TWO, {}, None),
        ("SimpleRNN", (2, 3, 3, 2), {}, None),
    ],
    "recurrent-kernel-transposed": [
        ("SimpleRNN", TWO, {"recurrent_kernel": symmetric}, "the recurrent kernel is symmetric"),
        ("SimpleRNN", TWO, {}, None),
        ("SimpleRNN", ONE_STEP, {}, UNUSED),
        ("SimpleRNN", ONE_STEP, {"state": zeroed(0)}, None),
        ("SimpleRNN", TWO, mask("100", "100"), UNUSED),
        ("SimpleRNN", TWO, mask("000", "101"), None),
        ("LSTM", ONE_STEP, H_ZERO, UNUSED),
    ],
    "initial-state-ignored": [
        ("SimpleRNN", TWO, {}, NO_STATE),
        ("SimpleRNN", TWO, STATE, None),
        ("LSTM", TWO, {}, NO_STATE),
        ("LSTM", TWO, H_ZERO, "the initial state h is zeros"),
        ("LSTM", TWO, C_ZERO, "the initial state c is zeros"),
        ("LSTM", TWO, STATE, None),
    ],
    "state-not-carried": [("SimpleRNN", TWO, {"stateful": True}, NO_STATE)],
    "states-swapped": [
        ("LSTM", TWO, {}, NO_STATE),
        *(("LSTM", TWO, state, None) for state in (H_ZERO, C_ZERO, STATE)),
        ("LSTM", TWO, {"state": lambda s: s[[0, 0]]}, "the initial states h and c are equal"),
    ],
    "forget-bias-missing": FORGET_BIAS,
    "forget-bias-doubled": FORGET_BIAS,
    "gates-permuted": [
        ("LSTM", TWO, dict.fromkeys(WEIGHTS, LIKE_4), EQUAL),
        ("LSTM", TWO, {**dict.fromkeys(WEIGHTS, LIKE_4), "bias": None}, EQUAL),
        ("GRU", TWO, dict.fromkeys(WEIGHTS, LIKE_3), EQUAL),
        ("GRU", TWO, {"kernel": LIKE_3}, None),
        ("GRU", ONE_STEP, {}, None),
    ],
    "gates-misaligned": [
        ("GRU", TWO, dict.fromkeys(WEIGHTS, LIKE_3), EQUAL),
        ("GRU", ONE_STEP, {}, UNUSED),
        ("GRU", TWO, {}, None),
    ],
    "recurrent-bias-dropped": [
        ("GRU", TWO, {"bias": zeroed(1)}, "the recurrent bias is all zeros"),
        ("GRU", TWO, {"bias": zeroed(1, CANDIDATE)}, None),
        ("GRU", TWO, {"bias": None}, None),
    ],
    "recurrent-bias-not-reset": [
        ("GRU", TWO, {"bias": zeroed(1)}, OF_CANDIDATE),
        ("GRU", TWO, {"bias": zeroed(1, CANDIDATE)}, OF_CANDIDATE),
        ("GRU", TWO, {"bias": zeroed(1, slice(0, 4))}, None),
        ("GRU", TWO, {"bias": None}, None),
    ],
    "reset-after-flipped": [
        *(("GRU", size, {}, None) for size in (TWO, ONE_STEP, ONE_UNIT)),  # a bias to reset
        ("GRU", ONE_STEP, {"bias": None}, NOTHING_RESET),
        ("GRU", TWO, {"bias": None}, None),
        ("GRU", ONE_UNIT, {"bias": None}, ONE_RESET),
        ("GRU", ONE_UNIT, {"bias": zeroed(1, 2)}, ONE_RESET),
        ("GRU, reset before", ONE_UNIT, {}, ONE_RESET),
        ("GRU, reset before", ONE_STEP, {}, NOTHING_RESET),
        ("GRU, reset before", TWO, {}, None),
    ],
    **{
        fault: [
            ("SimpleRNN", TWO, {**BACKWARDS, **mask("111", "111")}, NOT_MASKED),
            ("SimpleRNN", TWO, {**BACKWARDS, **mask("101", "111")}, palindrome),
            ("SimpleRNN", TWO, {**BACKWARDS, **mask("100", "111")}, None),
            ("SimpleRNN", TWO, BACKWARDS, NOT_MASKED),
        ]
        for fault, palindrome in (
            ("mask-ignored", None),
            ("mask-not-reversed", PALINDROME),
            ("masked-output-not-zeroed", None),
        )
    },
    **dict.fromkeys(("inputs-reversed", "outputs-not-reversed", "time-shifted"), tuple(TIME)),
    "batch-time-swapped": [
        ("SimpleRNN", (1, 1, 2, 2), {}, "there is one sample and one timestep"),
        ("SimpleRNN", ONE_STEP, {}, None),
        ("SimpleRNN", (1, 3, 2, 2), {}, None),
    ],
}
HIDDEN = [(fault, *row) for fault, rows in BY_FAULT.items() for row in rows]
"""What hides a fault, and what does not: the fault, the kind and size of a layer, how the run is
changed, and the reason that a person gets; None where the data do not hide it.
"""
