"""One check for each observation: of a recurrent layer, or of what a `Bidirectional` did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rnn_parity.api.examination import examine
from rnn_parity.bounds.step_bound import handed_on_radii
from rnn_parity.implementations.against import answers
from rnn_parity.recurrence.layers import Layer
from rnn_parity.recurrence.sequences import Dropout, Sequences
from rnn_parity.verdict.judge import Observations
from rnn_parity.verdict.merge import examine_merge
from rnn_parity.verdict.results import Check, Subject

if TYPE_CHECKING:
    from rnn_parity.implementations.sources import Source
    from rnn_parity.keras_adapter import Observation

COMPILED = ("xla", "predict")
"""The modes in which Keras may have XLA compile a layer together with what is around it."""


def judged(
    observations: Iterable[Observation],
    kind: str,
    path: str | None = None,
    others: Sequence[Source] = (),
    why: bool = True,
) -> Iterable[Check]:
    """One check for each observation and each of `others`, who answer in place of Keras.

    What is not replayed is named, never skipped. `why` is as in `examine`.
    """
    found = list(observations)
    if not others:
        for seen in found:
            yield judged_one(seen, subject_of(seen, kind, path), why)
    for seen, source in answers(found, others):
        # How Keras ran is how the inputs were found; what is checked ran elsewhere.
        keras = subject_of(seen, kind, path)
        subject = replace(keras, mode=None, kernel=None, against=source.name)
        yield judged_one(seen, subject, why)


def judged_one(seen: Observation, subject: Subject, why: bool) -> Check:
    """What was observed, held against the replay."""
    if seen.merge is not None and subject.against is None:
        spread = spreads_of(seen) if seen.mode in COMPILED else ()
        check = examine_merge(seen.merge, subject, spread)
        return replace(check, notes=(*check.notes, *seen.notes))
    if seen.weights is None:
        return Check(subject, "inconclusive", f"not compared: {seen.not_compared}")
    sequences = sequences_of(seen, seen.weights)
    observed = Observations(seen.outputs, seen.final_state, seen.last_output)
    stateful = bool(seen.config.get("stateful"))
    # Another implementation answered for the layer: to run Keras again would say nothing of it.
    probe = seen.probe if subject.against is None else None
    check = examine(seen.weights, sequences, observed, subject, stateful, why, probe)
    check = replace(check, notes=(*check.notes, *seen.notes))
    return doubted_as_a_whole(check, seen.unproven) if seen.unproven else check


def doubted_as_a_whole(check: Check, unproven: str) -> Check:
    """A check of an implementation that holds more than was compared, which `unproven` names.

    What was compared may be proven to be another computation, never to be the whole of this one.
    """
    if check.verdict in ("diverged", "inconclusive"):
        return replace(check, notes=(*check.notes, unproven))
    return replace(
        check,
        verdict="inconclusive",
        summary=f"{unproven}; of what was compared, {check.summary}",
        effective_bits=None,
        sensitivity=None,
    )


def sequences_of(seen: Observation, weights: Layer) -> Sequences:
    """What a layer with these weights was given."""
    dropout = Dropout.of(seen.dropout_inputs, seen.dropout_recurrent)
    return Sequences.of(weights, seen.inputs, seen.mask, seen.initial_state, dropout)


def spreads_of(seen: Observation) -> list[list[NDArray[Any]]]:
    """For each layer of a `Bidirectional`, the spreads of what it returned; none if unknown.

    A layer that is a stack of cells returns the outputs of the last, and the states of all.
    """
    found = []
    assert seen.merge is not None
    for cells, part in zip(seen.parts, seen.merge.parts.values(), strict=True):
        own = [
            handed_on_radii(cell.weights, sequences_of(cell, cell.weights), cell.outputs)
            for cell in cells
            if cell.weights is not None
        ]
        if not own or len(own) < len(cells):
            return []
        outputs = own[-1][0] if seen.merge.sequences else own[-1][0][:, -1]
        states = [state for _, *of_one in own for state in of_one]
        found.append([outputs, *states][: len(part.returned)])
    return found


def subject_of(seen: Observation, kind: str, path: str | None) -> Subject:
    """What was checked, with everything that the report says of it."""
    shared = ("layer_class", "layer_name", "config", "mode", "call", "kernel")
    return Subject(kind, path, **{name: getattr(seen, name) for name in shared})
