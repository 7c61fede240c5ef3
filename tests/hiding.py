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


TWO, ONE_STEP, ONE_UNIT = (2, 3, 2, 2), (2, 1, 2, 2), (2, 3, 2, 1)
UNUSED = "one timestep: the recurrent kernel is never used"
NO_STATE, NO_BIAS = "the initial state is zeros", "the bias is all zeros"
NOT_MASKED = "no timestep is masked"
FORGOTTEN = "one timestep from a state c of zeros: nothing is there to forget"
NOTHING_RESET = "one timestep from a state of zeros: nothing is there to reset"
ONE_RESET = "of one unit, the order of product and gate does not matter"
EQUAL = "gates have equal weights"
OF_CANDIDATE = "the recurrent bias of the candidate is all zeros"
PATTERN, PALINDROME = [[True, False, False], [True] * 3], [[True, False, True], [True] * 3]
TWICE = [[False] * 3, [True, False, True]]
FIRST = [[True, False, False]] * 2

HIDDEN = [
    *(
        (f"bias-{how}", "SimpleRNN", TWO, {"bias": zeroed(...)}, NO_BIAS)
        for how in ("dropped", "doubled")
    ),
    ("bias-dropped", "SimpleRNN", TWO, {"bias": zeroed(0)}, None),
    *(("bias-dropped", kind, TWO, {"bias": None}, None) for kind in KINDS),
    ("kernel-transposed", "SimpleRNN", TWO, {"kernel": symmetric}, "the kernel is symmetric"),
    ("kernel-transposed", "SimpleRNN", TWO, {}, None),
    ("kernel-transposed", "SimpleRNN", (2, 3, 3, 2), {}, None),
    (
        "recurrent-kernel-transposed",
        "SimpleRNN",
        TWO,
        {"recurrent_kernel": symmetric},
        "the recurrent kernel is symmetric",
    ),
    ("recurrent-kernel-transposed", "SimpleRNN", TWO, {}, None),
    ("recurrent-kernel-transposed", "SimpleRNN", ONE_STEP, {}, UNUSED),
    ("recurrent-kernel-transposed", "SimpleRNN", ONE_STEP, {"state": zeroed(0)}, None),
    ("recurrent-kernel-transposed", "SimpleRNN", TWO, {"mask": np.array(FIRST)}, UNUSED),
    ("recurrent-kernel-transposed", "SimpleRNN", TWO, {"mask": np.array(TWICE)}, None),
    ("recurrent-kernel-transposed", "LSTM", ONE_STEP, {"state": zeroed(0)}, UNUSED),
    ("initial-state-ignored", "SimpleRNN", TWO, {}, NO_STATE),
    ("initial-state-ignored", "SimpleRNN", TWO, {"state": kept}, None),
    ("state-not-carried", "SimpleRNN", TWO, {"stateful": True}, NO_STATE),
    ("initial-state-ignored", "LSTM", TWO, {}, NO_STATE),
    ("initial-state-ignored", "LSTM", TWO, {"state": zeroed(0)}, "the initial state h is zeros"),
    ("initial-state-ignored", "LSTM", TWO, {"state": zeroed(1)}, "the initial state c is zeros"),
    ("initial-state-ignored", "LSTM", TWO, {"state": kept}, None),
    ("states-swapped", "LSTM", TWO, {}, NO_STATE),
    *(("states-swapped", "LSTM", TWO, {"state": zeroed(s)}, None) for s in (0, 1)),
    ("states-swapped", "LSTM", TWO, {"state": kept}, None),
    (
        "states-swapped",
        "LSTM",
        TWO,
        {"state": lambda s: s[[0, 0]]},
        "the initial states h and c are equal",
    ),
    *(
        (f"forget-bias-{how}", "LSTM", size, changes, reason)
        for how in ("missing", "doubled")
        for size, changes, reason in (
            (TWO, {}, None),
            (TWO, {"bias": zeroed(slice(2, 4))}, "the forget gate's bias is all zeros"),
            (TWO, {"bias": zeroed(2)}, None),
            (TWO, {"bias": None}, None),
            (ONE_STEP, {}, FORGOTTEN),
            (ONE_STEP, {"state": zeroed(0)}, None),
            (ONE_STEP, {"state": zeroed(1)}, None),
        )
    ),
    *(
        ("gates-permuted", kind, TWO, {**dict.fromkeys(WEIGHTS, same), "bias": bias}, EQUAL)
        for kind, same in (("LSTM", equal_gates(4)), ("GRU", equal_gates(3)))
        for bias in (same, None)
    ),
    ("gates-misaligned", "GRU", TWO, dict.fromkeys(WEIGHTS, equal_gates(3)), EQUAL),
    ("gates-permuted", "GRU", TWO, {"kernel": equal_gates(3)}, None),
    ("gates-permuted", "GRU", ONE_STEP, {}, None),
    ("gates-misaligned", "GRU", ONE_STEP, {}, UNUSED),
    ("gates-misaligned", "GRU", TWO, {}, None),
    *(
        (fault, "GRU", TWO, {"bias": zeros}, reason)
        for fault, zeros, reason in (
            ("recurrent-bias-dropped", zeroed(1), "the recurrent bias is all zeros"),
            ("recurrent-bias-dropped", zeroed(1, slice(4, 6)), None),
            ("recurrent-bias-dropped", None, None),
            ("recurrent-bias-not-reset", zeroed(1), OF_CANDIDATE),
            ("recurrent-bias-not-reset", zeroed(1, slice(4, 6)), OF_CANDIDATE),
            ("recurrent-bias-not-reset", zeroed(1, slice(0, 4)), None),
            ("recurrent-bias-not-reset", None, None),
        )
    ),
    *(
        ("reset-after-flipped", kind, size, {"bias": bias}, reason)
        for kind, size, bias, reason in (
            ("GRU", TWO, kept, None),
            ("GRU", ONE_STEP, kept, None),  # a bias is there to reset
            ("GRU", ONE_UNIT, kept, None),
            ("GRU", ONE_STEP, None, NOTHING_RESET),
            ("GRU", TWO, None, None),
            ("GRU", ONE_UNIT, None, ONE_RESET),
            ("GRU", ONE_UNIT, zeroed(1, 2), ONE_RESET),
            ("GRU, reset before", ONE_UNIT, kept, ONE_RESET),
            ("GRU, reset before", ONE_STEP, kept, NOTHING_RESET),
            ("GRU, reset before", TWO, kept, None),
        )
    ),
    *(
        (fault, "SimpleRNN", TWO, {**BACK, "zero_output_for_mask": True, "mask": mask}, reason)
        for fault in ("mask-ignored", "mask-not-reversed", "masked-output-not-zeroed")
        for mask, reason in (
            (np.ones((2, 3), bool), NOT_MASKED),
            (
                np.array(PALINDROME),
                "the mask is the same backwards" if "reversed" in fault else None,
            ),
            (np.array(PATTERN), None),
        )
    ),
    *((f"mask-{how}", "SimpleRNN", TWO, BACK, NOT_MASKED) for how in ("ignored", "not-reversed")),
    *(
        (fault, "SimpleRNN", size, {}, reason)
        for fault in ("inputs-reversed", "outputs-not-reversed", "time-shifted")
        for size, reason in ((ONE_STEP, "there is one timestep"), ((1, 3, 2, 2), None))
    ),
    *(
        ("batch-time-swapped", "SimpleRNN", (*size, 2, 2), {}, reason)
        for size, reason in (
            ((1, 1), "there is one sample and one timestep"),
            ((2, 1), None),
            ((1, 3), None),
        )
    ),
]
"""What hides a fault, and what does not: the fault, the kind and size of a layer, how the run is
changed, and the reason that a person gets; None where the data do not hide it.
"""
