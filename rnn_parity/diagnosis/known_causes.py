"""Which known difference explains a check: the same table as in a sweep, and a sharper proof.

A sweep makes a configuration small until nothing but the mistake is left in it. A check is as it
is: its layer may have any other options, and other mistakes. So the mistake must account for all of
its numbers: made in the replay, or mended in the outputs, it must leave parity behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rnn_parity.diagnosis.known_differences import (
    KNOWN_DIFFERENCES,
    Held,
    KnownDifference,
)
from rnn_parity.recurrence.activations import CATALOGUE
from rnn_parity.recurrence.cells import KERAS_CELLS, Cell
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.recurrence.sequences import Sequences
from rnn_parity.recurrence.time_loop import replay
from rnn_parity.system.choices import LAYER_CLASSES
from rnn_parity.verdict.configuration import Configuration, Value
from rnn_parity.verdict.judge import Observations, judge
from rnn_parity.verdict.results import Cause, Check, Subject
from rnn_parity.verdict.sweep_results import Array, CallNumbers, Numbers, Outcome

OF_CONFIG = ("unroll", "stateful", "return_sequences", "return_state")
"""Options that a layer's own description tells, and its weights do not."""
MOST_STEPS = 1000
"""Timesteps up to which marks are looked for, which replay them one by one. Chosen: seconds."""


@np.errstate(all="ignore")
def known_difference_of(
    check: Check, call: LayerCall, sequences: Sequences, observed: Observations
) -> Cause | None:
    """The known difference that explains a check, as its cause; None where none does.

    `check` is that of `call`, in which a layer was given `sequences` and computed what was
    `observed`.
    """
    if check.verdict not in ("diverged", "inconclusive") or not may_be_known(call):
        return None
    return known_cause(check, call, sequences, observed)


def may_be_known(call: LayerCall) -> bool:
    """Whether this is a layer of Keras's with functions of Keras's, compared as a whole."""
    layer = call.weights
    if layer is None or type(layer) not in KERAS_CELLS.values() or call.unproven:
        return False
    whole = (*call.inputs.shape[:2], layer.units)
    named = all(CATALOGUE.get(one.name) is one for one in layer.activations)
    return named and call.outputs.shape == whole


def known_cause(
    check: Check, call: LayerCall, sequences: Sequences, observed: Observations
) -> Cause | None:
    """The known difference that explains a check, as its cause."""
    assert call.weights is not None
    one = configuration_of(call, call.weights)
    if not (call.made_by or check.subject.against):  # it is Keras that single steps are of
        observed = told_by_steps(call, call.weights, sequences, observed)
    held = call.weights, sequences, observed
    possible = [
        known
        for known in KNOWN_DIFFERENCES
        if check.verdict in ("diverged", *known.also)
        and known.concerns(one, call.made_by or check.subject.against)
    ]
    # What a wrapper is known for is told of the wrapper.
    for known in sorted(possible, key=lambda known: "wrapper" not in known.options):
        found = explanation(known, held, check)
        if found and (check.verdict == "diverged" or shows_marks(known, one, check, call)):
            text = f"{known.seen_in} is known for it: {known.wrong}; right: {known.right}"
            return Cause(known.id, text, found.effective_bits, known.remedy)
    return None


def told_by_steps(
    call: LayerCall, layer: Cell, sequences: Sequences, observed: Observations
) -> Observations:
    """What was observed, with the final state where single steps tell it.

    Outputs that are all zero tell nothing of the steps behind them. The layer itself can often be
    run on each input from a state that is not zero: where these steps are right, so is the state
    that they lead to.
    """
    if call.probe is None or observed.final_state or observed.outputs.any():
        return observed
    states = layer.precision.round(np.array(replay(layer, sequences).states))
    timesteps = call.inputs.shape[1]
    x = call.inputs.reshape(-1, 1, call.inputs.shape[2])
    each = np.repeat(states, timesteps, axis=1)
    outputs = call.probe(x, tuple(each))
    if outputs is None or outputs.shape != (len(x), 1, layer.units):
        return observed
    unmasked = Sequences.of(layer, x, None, each if len(each) > 1 else each[0])
    right = judge(layer, unmasked, Observations(outputs), Subject()).check.verdict == "parity"
    return replace(observed, final_state=tuple(states)) if right else observed


def explanation(known: KnownDifference, held: Held, check: Check) -> Check | None:
    """The check of what a known difference leaves once it is made right; None where it is wrong.

    Of a check that diverged it must be in parity. Where bounds were too wide to prove anything,
    they are so again.
    """
    if known.bits is not None:
        least, most = known.bits
        if check.effective_bits is None or not least < check.effective_bits < most:
            return None
    enough = ("parity",) if check.verdict == "diverged" else ("parity", "inconclusive")
    for righted in () if known.made_right is None else known.made_right(*held):
        checks = [judge(*computation, Subject()).check for computation in righted]
        if all(one.verdict != "diverged" for one in checks) and checks[-1].verdict in enough:
            return checks[-1]
    return None


def shows_marks(known: KnownDifference, one: Configuration, check: Check, call: LayerCall) -> bool:
    """Whether the numbers bear the marks that a sweep asks for, where bounds cannot tell."""
    dropped = call.dropout_inputs is not None or call.dropout_recurrent is not None
    if dropped or call.inputs.shape[1] > MOST_STEPS:
        return False
    return known.shows(one, Outcome(check.verdict, check.summary), numbers_in([call]))


def configuration_of(call: LayerCall, layer: Cell) -> Configuration:
    """A call in the words of a sweep: the options that any known difference asks for.

    What is only known of a call, and not of how it came to be, has the word that says least: a mask
    is random, and a later call of a layer that keeps its state is the second.
    """
    (kind,) = (name for name, of in LAYER_CLASSES.items() if of == type(layer).__name__)
    config = {name: bool(call.config.get(name)) for name in OF_CONFIG}
    kept = config["stateful"] and bool(call.call)
    given = any(np.any(state) for state in call.initial_state or ()) and not kept
    masked = call.mask is not None and not call.mask.all()
    values: dict[str, Value] = {
        **config,
        **{name: option_of(layer, name) for name in layer.OPTIONS},
        "dtype": layer.precision.name,
        "mask": "random" if masked else "none",
        "initial_state": "random" if given else "zeros",
        "calls": 2 if kept else 1,
        "mode": call.mode,
        "wrapper": "bidirectional" if call.in_bidirectional and layer.go_backwards else "none",
        "go_backwards": layer.go_backwards,
        "zero_output_for_mask": layer.zero_output_for_mask,
    }
    return Configuration(kind, tuple(values.items()), ())


def option_of(layer: Cell, name: str) -> Value:
    """An option of a layer, an activation by its name."""
    value = getattr(layer, name)
    return value if isinstance(value, bool) else str(value.name)


def numbers_in(calls: Sequence[LayerCall], forward: Numbers | None = None) -> Numbers:
    """The numbers of one layer in some of its calls."""
    layer = calls[0].weights
    assert layer is not None
    numbers = []
    for call in calls:
        trace = replay(layer, Sequences.of(layer, call.inputs, call.mask, call.initial_state))
        numbers.append(
            CallNumbers(
                wide(call.inputs),
                call.mask,
                tuple(map(wide, call.initial_state or ())),
                wide(call.outputs),
                tuple(map(wide, call.final_state)),
                trace.outputs,
                trace.states,
            )
        )
    arrays = (layer.kernel, layer.recurrent_kernel, layer.bias)
    return Numbers(*arrays, tuple(numbers), forward, layer.zero_output_for_mask)


def wide(array: NDArray[np.generic]) -> Array:
    """In float64, which holds every narrower number exactly."""
    return np.asarray(array).astype(np.float64)
