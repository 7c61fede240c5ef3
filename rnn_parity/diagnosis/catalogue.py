"""The catalogue of faults in words: what each mistake is, and which layers can have it.

What a fault does to a computation stands in `diagnosis.faults`. The standard library alone, so that
`rnn-parity faults` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rnn_parity.errors import InputError, nearest
from rnn_parity.system.choices import LAYER_CLASSES

EVERY_LAYER = tuple(LAYER_CLASSES.values())
"""Keras's layers. What all of them can have, a cell of one's own can have, too."""
GATED, OF_LSTM, OF_GRU = ("LSTM", "GRU"), ("LSTM",), ("GRU",)


@dataclass(frozen=True)
class FaultText:
    """One known mistake: a stable id, what is wrong, and the classes of layers that can have it."""

    id: str
    meaning: str
    layers: tuple[str, ...] = EVERY_LAYER


CATALOGUE = (
    FaultText("bias-dropped", "the bias is left out"),
    FaultText("bias-doubled", "the bias is added twice"),
    FaultText("kernel-transposed", "the kernel is transposed"),
    FaultText("recurrent-kernel-transposed", "the recurrent kernel is transposed"),
    FaultText("kernel-misread", "the numbers of a matrix are taken in another order of memory"),
    FaultText("kernels-swapped", "the kernel and the recurrent kernel are swapped"),
    FaultText("initial-state-ignored", "the initial state is taken as zeros"),
    FaultText("state-not-carried", "a stateful layer starts each call from zeros"),
    FaultText("state-leaked", "a state is left over from what was computed before"),
    FaultText(
        "first-state-differs",
        "only the first step of a sample is off: it starts from another state, or is another step",
    ),
    FaultText("activation-swapped", "another activation is applied"),
    FaultText("hard-sigmoid-slope", "hard_sigmoid has the slope of the other Keras version"),
    FaultText("gates-permuted", "the gates stand in another order", GATED),
    FaultText("gates-misaligned", "some of the weights have their gates in another order", GATED),
    FaultText("recurrent-activation-swapped", "another activation is applied to the gates", GATED),
    FaultText("forget-bias-missing", "the forget gate's bias is left out", OF_LSTM),
    FaultText("forget-bias-doubled", "the forget gate's bias is added twice", OF_LSTM),
    FaultText("states-swapped", "the states h and c are swapped", OF_LSTM),
    FaultText("state-mixed", "one of the states h and c is taken for the other one, too", OF_LSTM),
    FaultText("update-gate-inverted", "the update gate keeps what it should replace", OF_GRU),
    FaultText(
        "reset-after-flipped",
        "the reset gate is applied on the other side of the recurrent product",
        OF_GRU,
    ),
    FaultText("recurrent-bias-dropped", "the recurrent bias is left out", OF_GRU),
    FaultText(
        "recurrent-bias-not-reset",
        "the recurrent bias of the candidate is added outside the reset gate",
        OF_GRU,
    ),
    FaultText(
        "inputs-reversed",
        "the inputs are taken in the other order: go_backwards not honoured, or twice",
    ),
    FaultText("outputs-not-reversed", "the outputs stand in the other order of time"),
    FaultText(
        "backward-output-misplaced",
        "the backward half of a Bidirectional is taken at the wrong end",
    ),
    FaultText("mask-ignored", "masked timesteps are computed like others"),
    FaultText("mask-not-reversed", "the inputs are reversed and the mask is not"),
    FaultText(
        "masked-output-not-zeroed",
        "the output of a masked timestep repeats the one before instead of zeros",
    ),
    FaultText(
        "masked-output-zeroed",
        "the output of a masked timestep is zeros instead of the one before",
    ),
    FaultText("time-shifted", "the outputs stand one timestep early or late"),
    FaultText("batch-time-swapped", "the batch axis and the time axis are swapped"),
    FaultText(
        "inputs-shifted",
        "the inputs reach the layer one timestep late or early, with zeros in the gap",
    ),
    FaultText(
        "inputs-reshaped",
        "the axes of the inputs are reshaped where they should be transposed",
    ),
    FaultText("final-state-stale", "the returned final state is not that of the last output"),
    FaultText("units-permuted", "the units stand in another order"),
    FaultText("features-permuted", "the features stand in another order"),
    FaultText("dropout-active", "dropout is applied, as in training"),
    FaultText("dropout-ignored", "dropout is left out in training"),
    FaultText(
        "weights-rounded",
        "the weights were rounded: printed with few decimals, or kept in a narrower format",
    ),
    FaultText("lower-precision", "the arithmetic is narrower than the layer's"),
    FaultText("bias-differs", "another bias is added"),
    FaultText("weights-differ", "some weights have other values"),
)
"""Every fault, in the order in which causes and blind spots are listed."""
TEXTS = {text.id: text for text in CATALOGUE}


def named_faults(patterns: Iterable[str], where: str) -> tuple[str, ...]:
    """The ids of the faults that one of the patterns names, in which * stands for any letters.

    Raises `InputError`, which begins with `where`, for a pattern that names none.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for one in patterns:
        if not isinstance(one, str) or not any(fnmatchcase(id, one) for id in TEXTS):
            raise InputError(f"{where} {one!r}: {no_fault(str(one))}")
    return tuple(id for id in TEXTS if any(fnmatchcase(id, one) for one in patterns))


def no_fault(word: str) -> str:
    """What is said of a word that names no fault."""
    if "," in word:
        first = word.partition(",")[0].strip()
        return (
            "expected one fault, received several with commas; name each by itself: --ignore "
            f"{first} --ignore ..., or ignore=[{first!r}, ...]"
        )
    near = "" if "*" in word else nearest(word, TEXTS)
    near = near or nearest(word.rstrip("*"), beginnings()).replace("?", "*?")
    expected = "expected the id of a fault, or a pattern with *, such as mask-*"
    return f"{f'no such fault{near} ' if near else ''}{expected}; rnn-parity faults lists them"


def beginnings() -> list[str]:
    """What may stand before a *: the first words of the ids."""
    words = (id.split("-") for id in TEXTS)
    return list(dict.fromkeys("-".join(one[:n]) for one in words for n in range(1, len(one))))
