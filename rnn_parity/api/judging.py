"""One check for each call: of a recurrent layer, or of what a `Bidirectional` did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from rnn_parity.api.examination import examine
from rnn_parity.bounds.step_bound import handed_on_radii
from rnn_parity.diagnosis.known_causes import known_difference_of
from rnn_parity.errors import RnnParityError, SourceFailedError
from rnn_parity.implementations.against import calls_computed_by
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.sequences import Dropout, Sequences
from rnn_parity.verdict.bidirectional import judge_merge
from rnn_parity.verdict.judge import Observations
from rnn_parity.verdict.results import Check, Subject, TargetError

if TYPE_CHECKING:
    from rnn_parity.implementations.sources import Source
    from rnn_parity.recurrence.layer_call import LayerCall

COMPILED = ("xla", "predict")
"""The modes in which Keras may have XLA compile a layer together with what is around it."""


def judged(
    calls: Iterable[LayerCall],
    kind: str,
    path: str | None = None,
    others: Sequence[Source] = (),
    why: bool = True,
) -> Iterator[Check]:
    """One check for each call and each of `others`, who compute it in place of Keras.

    What is not replayed is named, never skipped. `why` is as in `examine`.
    """
    answered: Iterable[tuple[LayerCall, str | None]] = ((call, None) for call in calls)
    if others:
        found = calls_computed_by(list(calls), others)
        answered = ((call, source.name) for call, source in found)
    yield from judged_answers(answered, kind, path, why)


Job: TypeAlias = tuple[str, Iterable[Check]]
"""The name of another implementation, and its checks, which are made when they are asked for."""


def judged_sources(
    calls: Iterable[LayerCall], kind: str, path: str | None, others: Sequence[Source]
) -> tuple[list[Check], list[TargetError]]:
    """One check for each call and each of `others`, those of one call together.

    What cannot be compared of several is told as in `checks_of_each`.
    """
    checks, errors = checks_of_each(jobs_of(list(calls), kind, path, others), path)
    return by_call(checks), errors


def jobs_of(
    calls: Sequence[LayerCall], kind: str, path: str | None, others: Sequence[Source]
) -> list[Job]:
    """What each of `others` has to do: one check for each call."""
    return [(one.name, judged(calls, kind, path, [one])) for one in others]


def checks_of_each(jobs: Sequence[Job], path: str | None) -> tuple[list[Check], list[TargetError]]:
    """The checks of several sources, and why there are none of one that crashes or refuses.

    It does not hide the others, and what was checked before it did so stays. The only one raises,
    and so does what all of them say alike: that is about what they were given.
    """
    checks: list[Check] = []
    errors, raised = [], None
    for name, found in jobs:
        try:
            checks.extend(found)
        except RnnParityError as error:
            raised = error
            code = 1 if isinstance(error, SourceFailedError) else 2
            errors.append(TargetError(path, str(error), code, name))
    alike = len(errors) == len(jobs) and len({error.message for error in errors}) == 1
    if raised is not None and (len(jobs) == 1 or (alike and not checks)):
        raise raised
    return checks, errors


def by_call(checks: Iterable[Check]) -> list[Check]:
    """The checks, those of one call of a layer together, whoever computed it."""
    groups: dict[tuple[str | None, int | None], list[Check]] = {}
    for check in checks:
        groups.setdefault((check.subject.layer_name, check.subject.call), []).append(check)
    return [check for group in groups.values() for check in group]


def judged_answers(
    answered: Iterable[tuple[LayerCall, str | None]],
    kind: str,
    path: str | None = None,
    why: bool = True,
) -> Iterator[Check]:
    """One check for each call and who computed it, None for Keras."""
    earlier: dict[tuple[str, str | None, str | None], LayerCall] = {}
    for call, against in answered:
        subject = subject_of(call, kind, path, against)
        this = call.layer_name, call.mode, against
        before = earlier.get(this)
        earlier[this] = call
        yield judged_call(call, subject, why, before)


def judged_call(
    call: LayerCall, subject: Subject, why: bool = True, before: LayerCall | None = None
) -> Check:
    """What passed through a layer, held against the replay; `before` is the layer's last call."""
    if call.merge is not None and subject.against is None:
        spread = spreads_of(call) if call.mode in COMPILED else ()
        check = judge_merge(call.merge, subject, spread)
        return replace(check, notes=(*check.notes, *call.notes))
    if call.weights is None:
        return Check(subject, "inconclusive", f"not compared: {call.not_compared}")
    sequences = sequences_of(call, call.weights)
    observed = Observations(call.outputs, call.final_state, call.last_output)
    stateful = bool(call.config.get("stateful"))
    # Another implementation answered for the layer: to run Keras again would say nothing of it.
    probe = call.probe if subject.against is None else None
    check = examine(
        call.weights,
        sequences,
        observed,
        subject,
        stateful,
        why,
        probe,
        earlier_of(call, before),
        call.in_bidirectional and call.weights.go_backwards,
        lambda check: known_difference_of(check, call, sequences, observed),
    )
    check = replace(check, notes=(*check.notes, *call.notes))
    return doubted_as_a_whole(check, call.unproven) if call.unproven else check


def earlier_of(call: LayerCall, before: LayerCall | None) -> tuple[Sequences, NDArray[Any]] | None:
    """The call before of the same samples, whose states a layer may not have reset."""
    if before is None or before.weights is None or before.outputs.ndim != 3:
        return None
    if before.outputs.shape[0] != call.inputs.shape[0]:
        return None
    return sequences_of(before, before.weights), before.outputs


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


def sequences_of(call: LayerCall, weights: Cell) -> Sequences:
    """What a layer with these weights was given."""
    dropout = Dropout.of(call.dropout_inputs, call.dropout_recurrent)
    return Sequences.of(weights, call.inputs, call.mask, call.initial_state, dropout)


def spreads_of(call: LayerCall) -> list[list[NDArray[Any]]]:
    """For each layer of a `Bidirectional`, the spreads of what it returned; none if unknown.

    A layer that is a stack of cells returns the outputs of the last, and the states of all.
    """
    found = []
    assert call.merge is not None
    for cells, part in zip(call.parts, call.merge.parts.values(), strict=True):
        own = [
            handed_on_radii(cell.weights, sequences_of(cell, cell.weights), cell.outputs)
            for cell in cells
            if cell.weights is not None
        ]
        if not own or len(own) < len(cells):
            return []
        outputs = own[-1][0] if call.merge.sequences else own[-1][0][:, -1]
        states = [state for _, *of_one in own for state in of_one]
        found.append([outputs, *states][: len(part.returned)])
    return found


def subject_of(call: LayerCall, kind: str, path: str | None, against: str | None = None) -> Subject:
    """What was checked, with everything that the report says of it.

    How Keras ran is not said where another implementation, `against`, computed the call.
    """
    own = ("mode", "kernel") if against is None else ()
    names = ("layer_class", "layer_name", "config", "call", *own)
    return Subject(kind, path, against=against, **{name: getattr(call, name) for name in names})
